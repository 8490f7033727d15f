/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The steward's commands: see admin.h. Nothing here is ever sent to anybody else.
 */
#include <node/admin.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/hex.h>
#include <base/json.h>
#include <base/time.h>
#include <core/policy.h>
#include <crypto/transcript.h>
#include <node/sources/csv.h>
#include <node/store.h>
#include <node/vault.h>
#include <node/withdraw.h>
#include <sys/clock.h>
#include <sys/files.h>
#include <sys/local.h>

#define MOST_TEXT ((size_t)8 << 20)
#define ANSWER_TIMEOUT 10000 /* milliseconds */

static nof1_rc read_text(struct nof1_slice *out, struct nof1_arena *arena, const char *path,
                         struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    TRY(nof1_file_read(&bytes, path, MOST_TEXT, error));
    *out = nof1_arena_copy(arena, nof1_buffer_slice(&bytes));
    ENSURE(out->data != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* ---- charter ------------------------------------------------------------------------------------
 */

nof1_rc_value nof1_node_charter(const struct nof1_charter **out, struct nof1_slice *bytes,
                                struct nof1_arena *arena, const char *path,
                                struct nof1_error *error)
{
    struct nof1_slice text;
    TRY(read_text(&text, arena, path, error));
    if (text.length > 0 && text.data[0] == '{' &&
        nof1_charter_read(out, arena, text, error) == NOF1_OK) {
        *bytes = text;
        return NOF1_OK;
    }
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer canonical = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_charter *draft = NULL;
    struct nof1_charter *charter = nof1_arena_alloc(arena, 1, sizeof *charter);
    ENSURE(charter != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_yaml_read(&node, arena, path, text, error));
    TRY(nof1_charter_from_node(&draft, arena, node, error));
    TRY(nof1_charter_canonical(&canonical, draft));
    *charter = *draft;
    TRY(nof1_charter_hash(charter->hash, nof1_buffer_slice(&canonical)));
    *bytes = nof1_arena_copy(arena, nof1_buffer_slice(&canonical));
    ENSURE(bytes->data != NULL, NOF1_E_NO_MEMORY);
    *out = charter;
    return NOF1_OK;
}

static void show_dictionary(FILE *out, const struct nof1_charter *charter)
{
    fprintf(out, "treatments: ");
    for (size_t t = 0; t < charter->treatments; ++t) {
        fprintf(out, "%s%s", t == 0 ? "" : ", ", charter->treatment[t]);
    }
    fprintf(out, "\noutcomes:\n");
    for (size_t o = 0; o < charter->outcomes; ++o) {
        const struct nof1_outcome *outcome = &charter->outcome[o];
        fprintf(out, "  %-16s %s, %.15g to %.15g %s\n", outcome->name,
                nof1_outcome_kind_text(outcome->kind), outcome->lower, outcome->upper,
                outcome->unit);
    }
    for (size_t c = 0; c < charter->covariates; ++c) {
        const struct nof1_covariate *v = &charter->covariate[c];
        fprintf(out, "%s  %s", c == 0 ? "covariates:\n" : "", v->name);
        if (v->quantum > 0) {
            fprintf(out, ": coded in steps of %.15g", v->quantum);
        }
        fprintf(out, "\n");
    }
    fprintf(out, "analyses:\n");
    for (size_t a = 0; a < charter->analyses; ++a) {
        fprintf(out, "  %s\n", charter->analysis[a]);
    }
}

static void show_members(FILE *out, const struct nof1_charter *charter)
{
    fprintf(out, "sites (in blocks; only whole blocks can be asked):\n");
    for (size_t b = 0; b < charter->blocks; ++b) {
        fprintf(out, "  %s:", charter->block[b].id);
        for (size_t s = 0; s < charter->block[b].sites; ++s) {
            const struct nof1_member *site = &charter->site[charter->block[b].site[s]];
            fprintf(out, "%s %s (at most %u patients)", s == 0 ? "" : ",", site->id,
                    site->patient_cap);
        }
        fprintf(out, "\n");
    }
    fprintf(out, "may ask:\n");
    for (size_t p = 0; p < charter->statisticians; ++p) {
        fprintf(out, "  %s  %s\n", charter->statistician[p].id, charter->statistician[p].spiffe);
    }
}

void nof1_node_show_charter(FILE *out, const struct nof1_charter *charter)
{
    char hex[65];
    char effective[NOF1_TIME_TEXT];
    nof1_hex_text(hex, charter->hash, sizeof charter->hash);
    nof1_time_text(effective, charter->effective_at);
    fprintf(out, "hash: %s\nstudy: %s, version %u%s\neffective: %s\n", hex, charter->study,
            charter->version, charter->lab ? " (LAB ONLY: no vault in service accepts it)" : "",
            effective);
    show_dictionary(out, charter);
    show_members(out, charter);
    fprintf(out, "limits:\n");
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; ++row) {
        fprintf(out, "  %-20s %-8.6g %s\n", row->key, nof1_limit_get(&charter->limits, row),
                row->help);
    }
}

/* ---- source -------------------------------------------------------------------------------------
 */

/* The table and, with a charter, the epoch in arena. */
static nof1_rc load_source(struct nof1_table **table, struct nof1_epoch *epoch,
                           struct nof1_freeze_report *report, const struct nof1_charter *charter,
                           const struct nof1_node_source *source, uint32_t id,
                           struct nof1_arena *arena, struct nof1_error *error)
{
    struct nof1_slice text;
    const struct nof1_node *node = NULL;
    const struct nof1_map *map = NULL;
    TRY(read_text(&text, arena, source->map, error));
    TRY(nof1_yaml_read(&node, arena, source->map, text, error));
    TRY(nof1_map_read(&map, arena, node, error));
    const char *path = source->path == NULL ? map->path : source->path;
    if (path == NULL) {
        return nof1_fail_at(
            error, NOF1_E_USAGE, source->map, 0, 0,
            "name the data file, here (source: {path: ...}) or on the command line");
    }
    if (strcmp(map->driver, "csv") != 0) {
        return nof1_fail_at(error, NOF1_E_INPUT, source->map, 0, 0,
                            "driver '%s' found, csv expected", map->driver);
    }
    TRY(nof1_csv_load(table, map, path, error));
    if (charter == NULL) {
        return NOF1_OK;
    }
    size_t site = NOF1_NONE;
    if (source->site != NULL && (site = nof1_charter_site(charter, source->site)) == NOF1_NONE) {
        return nof1_fail(error, NOF1_E2104, "there is no site '%s' on the charter", source->site);
    }
    return nof1_table_freeze(epoch, arena, *table, charter, site, id, report, error);
}

static void show_source(FILE *out, const struct nof1_table *table,
                        const struct nof1_freeze_report *report)
{
    fprintf(out,
            "%s: %zu rows of %zu trials kept, %zu rows of run-in, washout and baseline left out\n",
            table->file, table->rows, table->trials, table->left_out_phase);
    for (size_t o = 0; o < table->outcomes; ++o) {
        fprintf(out, "  outcome %s: %zu values, %zu missing\n", table->outcome[o].name,
                table->rows - table->outcome[o].missing, table->outcome[o].missing);
    }
    if (report != NULL && report->first_missing != NULL) {
        fprintf(
            out,
            "  not in this source, though on the charter: %zu outcomes, %zu covariates (%s%s)\n",
            report->missing_outcomes, report->missing_covariates, report->first_missing,
            report->missing_outcomes + report->missing_covariates > 1 ? ", ..." : "");
    }
}

nof1_rc_value nof1_node_check_source(FILE *out, const struct nof1_node_source *source,
                                     struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_table_freep) struct nof1_table *table = NULL;
    const struct nof1_charter *charter = NULL;
    struct nof1_freeze_report report = {0};
    struct nof1_epoch epoch = {0};
    struct nof1_slice bytes;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    if (source->charter != NULL) {
        TRY(nof1_node_charter(&charter, &bytes, arena, source->charter, error));
    }
    TRY(load_source(&table, &epoch, &report, charter, source, 1, arena, error));
    show_source(out, table, charter == NULL ? NULL : &report);
    return NOF1_OK;
}

/* A vault that runs takes the new epoch up at once; one that does not, at its start. */
static nof1_rc tell_vault(const char *folder, struct nof1_arena *arena, FILE *out)
{
    const char *socket = nof1_arena_printf(arena, "%s/%s", folder, NOF1_SITE_ADMIN);
    NOF1_CLEANUP(nof1_json_freep) json_t *request = json_pack("{s:s}", "command", "reload");
    NOF1_CLEANUP(nof1_json_freep) json_t *reply = NULL;
    struct nof1_error ignored = {.rc = NOF1_OK};
    ENSURE(socket != NULL && request != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = nof1_node_ask(&reply, socket, request, &ignored);
    fprintf(out, rc == NOF1_OK
                     ? "the vault has taken it up\n"
                     : "no vault runs in this folder; it takes the epoch up when it starts\n");
    return NOF1_OK;
}

nof1_rc_value nof1_node_freeze(uint32_t *id, const char *folder,
                               const struct nof1_node_source *source, FILE *out,
                               struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_table_freep) struct nof1_table *table = NULL;
    NOF1_CLEANUP(nof1_store_closep) struct nof1_store *store = NULL;
    const struct nof1_charter *charter = NULL;
    struct nof1_freeze_report report = {0};
    struct nof1_epoch epoch = {0};
    struct nof1_slice bytes;
    struct nof1_clock clock = {0};
    size_t withdrawn = 0;
    int64_t due = 0;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const char *approved = nof1_arena_printf(arena, "%s/%s", folder, NOF1_NODE_CHARTER);
    const char *database = nof1_arena_printf(arena, "%s/%s", folder, NOF1_SITE_STORE);
    ENSURE(approved != NULL && database != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_charter_promote(&due, folder, nof1_clock_now(&clock), error));
    TRY(nof1_node_charter(&charter, &bytes, arena,
                          source->charter == NULL ? approved : source->charter, error));
    TRY(nof1_file_folder(folder, error));
    TRY(nof1_store_open(&store, database, error));
    TRY(nof1_epoch_current(id, store));
    ++*id;
    TRY(load_source(&table, &epoch, &report, charter, source, *id, arena, error));
    TRY(nof1_withdrawn_leave_out(&withdrawn, &epoch, arena, store));
    TRY(nof1_store_last_time(&clock.last, store));
    TRY(nof1_epoch_save(store, &epoch, charter, nof1_clock_now(&clock), error));
    show_source(out, table, &report);
    if (withdrawn > 0) {
        fprintf(out, "  %zu trial%s left out: withdrawn\n", withdrawn, withdrawn == 1 ? "" : "s");
    }
    fprintf(out, "epoch %u frozen: the source is not read again in it\n", (unsigned)*id);
    return tell_vault(folder, arena, out);
}

/* ---- the running vault --------------------------------------------------------------------------
 */

static nof1_rc await_line(struct nof1_slice *line, struct nof1_socket *socket,
                          struct nof1_error *error)
{
    int64_t since = nof1_clock_monotonic();
    for (;;) {
        bool got = false;
        nof1_rc_value rc = nof1_socket_receive(socket, line, &got);
        if (rc != NOF1_OK) {
            return nof1_fail(error, NOF1_E_UNREACHABLE, "the vault closed the connection");
        }
        if (got) {
            return NOF1_OK;
        }
        struct pollfd slot = {.fd = nof1_socket_fd(socket), .events = nof1_socket_events(socket)};
        (void)poll(&slot, 1, 100);
        TRY(nof1_socket_flush(socket));
        if (nof1_clock_monotonic() - since > ANSWER_TIMEOUT) {
            return nof1_fail(error, NOF1_E_UNREACHABLE, "the vault does not answer");
        }
    }
}

static nof1_rc exchange(json_t **reply, struct nof1_socket *socket, const char *text,
                        struct nof1_error *error)
{
    struct nof1_slice line = {0};
    TRY(nof1_socket_send(socket, nof1_slice_text(text)));
    TRY(await_line(&line, socket, error));
    *reply = json_loadb((const char *)line.data, line.length, 0, NULL);
    if (*reply == NULL) {
        return nof1_fail(error, NOF1_E_DECODE, "the vault's answer is no JSON");
    }
    if (json_is_true(json_object_get(*reply, "ok"))) {
        return NOF1_OK;
    }
    const char *code = json_string_value(json_object_get(*reply, "code"));
    const char *message = json_string_value(json_object_get(*reply, "message"));
    nof1_rc_value rc = code == NULL ? NOF1_RC_COUNT : nof1_rc_from_code(code);
    return nof1_fail(error, rc == NOF1_RC_COUNT || rc == NOF1_OK ? NOF1_E_DECODE : rc, "%s",
                     message == NULL ? "the vault refused" : message);
}

nof1_rc_value nof1_node_ask(json_t **reply, const char *path, const json_t *request,
                            struct nof1_error *error)
{
    struct nof1_socket *socket = NULL;
    char *text = json_dumps(request, JSON_COMPACT | JSON_ENSURE_ASCII);
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = nof1_socket_connect(&socket, path, NOF1_LINES, (uid_t)-1, error);
    if (rc == NOF1_OK) {
        rc = exchange(reply, socket, text, error);
        nof1_socket_close(socket);
    }
    free(text);
    return rc;
}
