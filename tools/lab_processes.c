/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Real programs for the lab: see lab_processes.h. Each gets a folder of its own below one that only
 * this user can open; the CA's key stays in memory.
 */
#include <tools/lab_processes.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <node/store.h>
#include <poll.h>
#include <sys/clock.h>
#include <sys/daemon.h>
#include <sys/files.h>
#include <tools/children.h>
#include <tools/lab_ca.h>
#include <tools/remote.h>

#define START_TIMEOUT 30000 /* milliseconds until the coordinator listens */
#define LOG_MAX (64u << 20)
#define RUN_TIMEOUT 3600 /* seconds; the plan's own deadline comes first */

struct processes {
    struct nof1_lab *lab;
    struct nof1_error *error;
    const char *folder;
    struct nof1_lab_ca *ca;
    struct nof1_children children;
    int signals;
    char target[64];
};

static const char *place(const struct processes *p, const char *name)
{
    return nof1_arena_printf(p->lab->arena, "%s/%s", p->folder, name);
}

static nof1_rc write_file(const struct processes *p, const char *name, struct nof1_slice bytes,
                          mode_t mode)
{
    const char *path = place(p, name);
    ENSURE(path != NULL, NOF1_E_NO_MEMORY);
    return nof1_file_write(path, bytes, mode, p->error);
}

static nof1_rc write_key(const struct processes *p, const char *name, const struct nof1_key *key)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer pem = {0};
    TRY(nof1_key_write_pem(&pem, key));
    return write_file(p, name, nof1_buffer_slice(&pem), 0600);
}

static nof1_rc issue(const struct processes *p, const char *role, const char *id, const char *ip)
{
    const char *cert = nof1_arena_printf(p->lab->arena, "%s/%s-%s.pem", p->folder, role, id);
    const char *key = nof1_arena_printf(p->lab->arena, "%s/%s-%s.key", p->folder, role, id);
    ENSURE(cert != NULL && key != NULL, NOF1_E_NO_MEMORY);
    return nof1_lab_ca_issue(p->ca, role, id, ip, cert, key, p->error);
}

/* Everything that is public, and the coordinator's own. */
static nof1_rc write_common(struct processes *p)
{
    struct nof1_lab *lab = p->lab;
    uint8_t signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    TRY(nof1_lab_ca_new(&p->ca, lab->charter->study));
    TRY(nof1_lab_ca_write(p->ca, place(p, "ca.pem"), p->error));
    TRY(write_file(p, "charter.json", nof1_buffer_slice(&lab->charter_bytes), 0644));
    TRY(nof1_sign(signature, &length, lab->coordinator, lab->charter->hash));
    TRY(write_file(p, "charter.json.sig", nof1_slice_of(signature, length), 0644));
    TRY(nof1_file_folder(place(p, "coordinator"), p->error));
    TRY(write_key(p, "coordinator/coordinator.key", lab->coordinator));
    TRY(issue(p, "coordinator", lab->charter->coordinator.id, "127.0.0.1"));
    return issue(p, "statistician", NOF1_LAB_STATISTICIAN, NULL);
}

static nof1_rc start_coordinator(struct processes *p)
{
    const char *id = p->lab->charter->coordinator.id;
    const char *cert = nof1_arena_printf(p->lab->arena, "%s/coordinator-%s.pem", p->folder, id);
    const char *key = nof1_arena_printf(p->lab->arena, "%s/coordinator-%s.key", p->folder, id);
    const char *const argument[] = {"serve",
                                    "--dir",
                                    place(p, "coordinator"),
                                    "--listen",
                                    "127.0.0.1:0",
                                    "--ca",
                                    place(p, "ca.pem"),
                                    "--cert",
                                    cert,
                                    "--key",
                                    key,
                                    "--charter",
                                    place(p, "charter.json"),
                                    "--port-file",
                                    place(p, "port"),
                                    NULL};
    ENSURE(cert != NULL && key != NULL, NOF1_E_NO_MEMORY);
    return nof1_children_start(&p->children, "nof1-coordinator", argument,
                               place(p, "coordinator.log"), p->error);
}

/* The coordinator chooses its port and writes it down. */
static nof1_rc await_port(struct processes *p)
{
    int64_t since = nof1_clock_monotonic();
    const char *path = place(p, "port");
    for (;;) {
        NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
        if (access(path, R_OK) == 0 && nof1_file_read(&text, path, 16, NULL) == NOF1_OK &&
            text.length > 0) {
            char digits[17] = "";
            memcpy(digits, text.data, text.length < 16 ? text.length : 16);
            snprintf(p->target, sizeof p->target, "127.0.0.1:%ld", strtol(digits, NULL, 10));
            return NOF1_OK;
        }
        TRY(nof1_children_check(&p->children, p->error));
        struct pollfd slot = {.fd = p->signals, .events = POLLIN};
        if (poll(&slot, 1, 5) > 0 || nof1_clock_monotonic() - since > START_TIMEOUT) {
            return nof1_fail(p->error, NOF1_E_UNREACHABLE, "the coordinator did not start");
        }
    }
}

/* The site's folder with its frozen epoch. */
static nof1_rc prepare_site(struct processes *p, size_t number)
{
    struct nof1_lab_site *site = &p->lab->site[number];
    struct nof1_clock clock = {0};
    struct nof1_store *store NOF1_CLEANUP(nof1_store_closep) = NULL;
    const char *folder = nof1_arena_printf(p->lab->arena, "%s/%zu", p->folder, number);
    const char *database =
        nof1_arena_printf(p->lab->arena, "%s/%zu/site.sqlite", p->folder, number);
    const char *key = nof1_arena_printf(p->lab->arena, "%zu/vault.key", number);
    ENSURE(folder != NULL && database != NULL && key != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_file_folder(folder, p->error));
    TRY(write_key(p, key, site->key));
    TRY(nof1_store_open(&store, database, p->error));
    return nof1_epoch_save(store, &site->epoch, p->lab->charter, nof1_clock_now(&clock), p->error);
}

static nof1_rc start_vault(struct processes *p, size_t number)
{
    struct nof1_arena *arena = p->lab->arena;
    const char *folder = nof1_arena_printf(arena, "%s/%zu", p->folder, number);
    const char *key = nof1_arena_printf(arena, "%s/vault.key", folder);
    const char *socket = nof1_arena_printf(arena, "%s/%zu/edge.sock", p->folder, number);
    const char *log = nof1_arena_printf(arena, "%s/%zu-vault.log", p->folder, number);
    ENSURE(folder != NULL && key != NULL && socket != NULL && log != NULL, NOF1_E_NO_MEMORY);
    const char *const argument[] = {"--dir",
                                    folder,
                                    "--charter",
                                    place(p, "charter.json"),
                                    "--site",
                                    p->lab->site[number].id,
                                    "--key",
                                    key,
                                    "--socket",
                                    socket,
                                    p->lab->site_policy == NULL ? NULL : "--policy",
                                    place(p, "policy.yaml"),
                                    NULL};
    return nof1_children_start(&p->children, p->lab->charter->lab ? "nof1-lab-site" : "nof1-vault",
                               argument, log, p->error);
}

static nof1_rc start_edge(struct processes *p, size_t number)
{
    struct nof1_arena *arena = p->lab->arena;
    const char *id = p->lab->site[number].id;
    const char *socket = nof1_arena_printf(arena, "%s/%zu/edge.sock", p->folder, number);
    const char *cert = nof1_arena_printf(arena, "%s/site-%s.pem", p->folder, id);
    const char *key = nof1_arena_printf(arena, "%s/site-%s.key", p->folder, id);
    const char *log = nof1_arena_printf(arena, "%s/%zu-edge.log", p->folder, number);
    ENSURE(socket != NULL && cert != NULL && key != NULL && log != NULL, NOF1_E_NO_MEMORY);
    TRY(issue(p, "site", id, NULL));
    const char *const argument[] = {
        "--socket", socket, "--target", p->target, "--ca", place(p, "ca.pem"),
        "--cert",   cert,   "--key",    key,       NULL};
    return nof1_children_start(&p->children, "nof1-edge", argument, log, p->error);
}

static nof1_rc start_all(struct processes *p)
{
    TRY(write_common(p));
    if (p->lab->site_policy != NULL) {
        const char *text = nof1_arena_printf(p->lab->arena, "preset: %s\n", p->lab->site_policy);
        ENSURE(text != NULL, NOF1_E_NO_MEMORY);
        TRY(write_file(p, "policy.yaml", nof1_slice_text(text), 0644));
    }
    TRY(start_coordinator(p));
    for (size_t s = 0; s < p->lab->sites; ++s) {
        TRY(prepare_site(p, s));
        TRY(start_vault(p, s));
    }
    TRY(await_port(p));
    for (size_t s = 0; s < p->lab->sites; ++s) {
        TRY(start_edge(p, s));
    }
    return NOF1_OK;
}

static void say_progress(void *self, const char *state, const json_t *status)
{
    struct processes *p = self;
    const char *before = p->lab->said;
    if (before != NULL && strcmp(before, state) == 0) {
        return;
    }
    p->lab->said = nof1_arena_text(p->lab->arena, state);
    const json_t *round = json_object_get(status, "round");
    if (json_is_integer(round)) {
        nof1_lab_say(p->lab, "%s (round %lld)", state, (long long)json_integer_value(round));
    } else {
        nof1_lab_say(p->lab, "%s", state);
    }
}

/* gRPC starts here, after the last program: nothing may be started after it. */
static nof1_rc run_plans(json_t **result, struct processes *p)
{
    const struct nof1_remote remote = {
        .target = p->target,
        .files = {.ca = place(p, "ca.pem"),
                  .cert = place(p, "statistician-" NOF1_LAB_STATISTICIAN ".pem"),
                  .key = place(p, "statistician-" NOF1_LAB_STATISTICIAN ".key")},
        .statistician = NOF1_LAB_STATISTICIAN,
        .key = p->lab->statistician,
        .wait = RUN_TIMEOUT,
        .stop_fd = p->signals,
        .progress = say_progress,
        .self = p};
    TRY(nof1_rpc_start(p->error));
    nof1_rc_value rc = NOF1_OK;
    *result = json_array();
    for (size_t i = 0; rc == NOF1_OK && i < p->lab->plans; ++i) {
        json_t *one = NULL;
        rc = nof1_remote_run(&one, &remote, p->lab->plan[i], p->error);
        if (rc == NOF1_OK && json_array_append_new(*result, one) != 0) {
            rc = NOF1_E_NO_MEMORY;
        }
    }
    nof1_rpc_stop();
    return rc;
}

static nof1_rc start_and_run(json_t **result, struct processes *p)
{
    const char *parent = getenv("TMPDIR");
    char folder[64]; /* short: names of sockets are */
    parent = parent == NULL || *parent == '\0' || strlen(parent) > 40 ? "/tmp" : parent;
    snprintf(folder, sizeof folder, "%s/nof1-lab-XXXXXX", parent);
    TRY(nof1_signals_open(&p->signals));
    if (mkdtemp(folder) == NULL) {
        return nof1_fail(p->error, NOF1_E_IO, "no folder can be made in %s", parent);
    }
    p->folder = nof1_arena_text(p->lab->arena, folder);
    ENSURE(p->folder != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_children_init(&p->children, p->lab->arena, 2 * p->lab->sites + 1, p->error));
    nof1_lab_say(p->lab, "starting a coordinator and %zu sites with mutual TLS on loopback",
                 p->lab->sites);
    TRY(start_all(p));
    return run_plans(result, p);
}

/* The coordinator's log holds no site's number: --out keeps it for those who measure. */
static void keep_log(const struct processes *p)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer log = {0};
    const char *out = p->lab->options->out;
    const char *kept =
        out == NULL ? NULL : nof1_arena_printf(p->lab->arena, "%s/coordinator.log", out);
    if (kept != NULL && (mkdir(out, 0777) == 0 || errno == EEXIST) &&
        nof1_file_read(&log, place(p, "coordinator.log"), LOG_MAX, NULL) == NOF1_OK &&
        nof1_file_write(kept, nof1_buffer_slice(&log), 0644, NULL) != NOF1_OK) {
        nof1_lab_say(p->lab, "%s could not be written", kept);
    }
}

nof1_rc_value nof1_lab_processes(json_t **result, struct nof1_lab *lab, struct nof1_error *error)
{
    struct processes p = {.lab = lab, .error = error, .signals = -1};
    nof1_rc_value rc = start_and_run(result, &p);
    struct nof1_error why = {.rc = NOF1_OK};
    if (rc != NOF1_OK && nof1_children_check(&p.children, &why) != NOF1_OK) {
        nof1_lab_say(lab, "%s", why.message);
    }
    nof1_children_stop(&p.children);
    nof1_lab_ca_free(p.ca);
    if (p.folder != NULL) {
        keep_log(&p);
    }
    if (p.folder != NULL) {
        nof1_remove_tree(p.folder);
    }
    if (p.signals >= 0) {
        (void)close(p.signals);
    }
    return rc;
}
