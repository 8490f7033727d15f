/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Administration: who may connect, the admin socket's commands, and the commands that need no
 * running coordinator (init, charter sign, revoke).
 */
#include "coordinator_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/json.h>
#include <base/log.h>
#include <coordinator/charters.h>
#include <crypto/key.h>
#include <sys/files.h>

#define LIST_LIMIT ((size_t)1 << 20)
#define CHARTER_LIMIT ((size_t)8 << 20)

/* ---- who may connect ------------------------------------------------------------------------- */

static void path_in(char out[512], const char *folder, const char *name)
{
    snprintf(out, 512, "%s/%s", folder, name);
}

/* The folder's list, as text with a final NUL; empty when there is no file. */
static nof1_rc read_revoked(struct nof1_buffer *out, const char *folder, struct nof1_error *error)
{
    char path[512];
    path_in(path, folder, NOF1_COORDINATOR_REVOKED);
    struct nof1_error missing = {0};
    if (nof1_file_read(out, path, LIST_LIMIT, &missing) != NOF1_OK &&
        strstr(missing.message, "No such file") == NULL) {
        *error = missing;
        return missing.rc;
    }
    return nof1_buffer_append(out, "", 1);
}

static bool is_listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = list; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        if (size == length && strncmp(line, name, length) == 0) {
            return true;
        }
        line += size + (line[size] == '\n' ? 1 : 0);
    }
    return false;
}

static bool on_list(const struct nof1_allowed *list, size_t count, const char *spiffe)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].spiffe, spiffe) == 0) {
            return true;
        }
    }
    return false;
}

static void add_allowed(struct nof1_allowed *list, size_t *count, const char *revoked,
                        struct nof1_allowed entry)
{
    if (entry.spiffe != NULL && entry.spiffe[0] != '\0' && !is_listed(revoked, entry.spiffe) &&
        !on_list(list, *count, entry.spiffe)) {
        list[(*count)++] = entry;
    }
}

static void add_sites(struct nof1_allowed *list, size_t *count, const char *revoked,
                      const struct nof1_charter *charter)
{
    for (size_t i = 0; charter != NULL && i < charter->sites; i++) {
        if (!charter->site[i].left) {
            add_allowed(list, count, revoked,
                        (struct nof1_allowed){.spiffe = charter->site[i].edge_spiffe,
                                              .id = charter->site[i].id,
                                              .role = NOF1_ROLE_SITE});
        }
    }
}

/* The charter pins signing keys, which are not TLS keys: those rotate under the CA. So no key is
 * pinned here, and every plan and every frame carries a signature under its pinned key. */
nof1_rc nof1_coordinator_allowed(const struct nof1_allowed **out, size_t *count,
                                 struct nof1_arena *arena, const struct coordinator *coordinator,
                                 struct nof1_error *error)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    struct nof1_buffer revoked = {0};
    size_t next = coordinator->offer.charter == NULL ? 0 : coordinator->offer.charter->sites;
    struct nof1_allowed *list = nof1_arena_alloc(
        arena, charter->sites + charter->statisticians + next + 1, sizeof *list);
    ENSURE(list != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = read_revoked(&revoked, coordinator->settings->folder, error);
    *count = 0;
    if (rc == NOF1_OK) { /* those of the next charter, too: they say whether they approve it */
        add_sites(list, count, (const char *)revoked.data, charter);
        add_sites(list, count, (const char *)revoked.data, coordinator->offer.charter);
    }
    for (size_t i = 0; rc == NOF1_OK && i < charter->statisticians; i++) {
        add_allowed(list, count, (const char *)revoked.data,
                    (struct nof1_allowed){.spiffe = charter->statistician[i].spiffe,
                                          .id = charter->statistician[i].id,
                                          .role = NOF1_ROLE_STATISTICIAN});
    }
    nof1_buffer_free(&revoked);
    *out = list;
    return rc;
}

/* ---- the admin socket ------------------------------------------------------------------------ */

static nof1_rc write_line(struct nof1_buffer *reply, json_t *value)
{
    ENSURE(value != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = nof1_json_write(reply, value, false);
    json_decref(value);
    return rc;
}

static json_t *links(const struct coordinator *coordinator)
{
    json_t *list = json_array();
    for (const struct site_link *link = coordinator->links; link != NULL; link = link->next) {
        if (link->up) {
            json_array_append_new(list, json_string(link->site));
        }
    }
    return list;
}

static nof1_rc publish(struct coordinator *coordinator, struct nof1_buffer *reply)
{
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_charters_publish(coordinator, &error);
    return write_line(reply, rc == NOF1_OK
                                 ? json_pack("{s:b}", "ok", 1)
                                 : json_pack("{s:b, s:s, s:s}", "ok", 0, "code", nof1_rc_code(rc),
                                             "message", error.message));
}

nof1_rc nof1_coordinator_admin(struct coordinator *coordinator, struct nof1_slice line,
                               struct nof1_buffer *reply)
{
    json_t *request =
        json_loadb((const char *)line.data, line.length, JSON_REJECT_DUPLICATES, NULL);
    const char *given = json_string_value(json_object_get(request, "command"));
    char command[32] = "";
    if (given != NULL) {
        snprintf(command, sizeof command, "%s", given);
    }
    json_decref(request);
    if (strcmp(command, "status") == 0) {
        json_t *queries = nof1_coordinator_status(coordinator->session, NULL);
        json_t *epochs = nof1_coordinator_epochs(coordinator->session);
        return write_line(reply, json_pack("{s:b, s:o, s:o, s:o, s:o}", "ok", 1, "charter",
                                           nof1_charters_status(coordinator), "links",
                                           links(coordinator), "epochs",
                                           epochs == NULL ? json_array() : epochs, "queries",
                                           queries == NULL ? json_array() : queries));
    }
    if (strcmp(command, "publish") == 0) {
        return publish(coordinator, reply);
    }
    coordinator->refresh = coordinator->refresh || strcmp(command, "refresh") == 0;
    coordinator->stop = coordinator->stop || strcmp(command, "shutdown") == 0;
    if (strcmp(command, "refresh") == 0 || strcmp(command, "shutdown") == 0) {
        return write_line(reply, json_pack("{s:b}", "ok", 1));
    }
    return write_line(reply, json_pack("{s:b, s:s, s:s}", "ok", 0, "code",
                                       nof1_rc_code(NOF1_E_USAGE), "message", "no such command"));
}

nof1_rc nof1_coordinator_ask(struct nof1_buffer *reply, const char *folder, const char *command,
                             struct nof1_error *error)
{
    char path[512];
    char line[64];
    path_in(path, folder, NOF1_COORDINATOR_ADMIN);
    snprintf(line, sizeof line, "{\"command\":\"%s\"}", command);
    return nof1_socket_ask(reply, path, nof1_slice_text(line), 10000, error);
}

/* ---- commands without a running coordinator -------------------------------------------------- */

static nof1_rc read_key(struct nof1_key **out, const char *folder, struct nof1_error *error)
{
    char path[512];
    struct nof1_buffer pem = {0};
    path_in(path, folder, NOF1_COORDINATOR_KEY);
    TRY(nof1_file_private(path, error));
    nof1_rc_value rc = nof1_file_read(&pem, path, 65536, error);
    rc = rc == NOF1_OK ? nof1_key_read_pem(out, nof1_buffer_slice(&pem), error) : rc;
    nof1_buffer_free(&pem);
    return rc;
}

nof1_rc nof1_coordinator_spki(struct nof1_buffer *out, const char *folder,
                              struct nof1_error *error)
{
    struct nof1_key *key = NULL;
    TRY(read_key(&key, folder, error));
    nof1_rc_value rc = nof1_key_spki(out, key);
    nof1_key_free(key);
    return rc;
}

static nof1_rc make_key(const char *folder, struct nof1_error *error)
{
    char path[512];
    struct nof1_key *key = NULL;
    struct nof1_buffer pem = {0};
    path_in(path, folder, NOF1_COORDINATOR_KEY);
    nof1_rc_value rc = nof1_key_generate(&key);
    rc = rc == NOF1_OK ? nof1_key_write_pem(&pem, key) : rc;
    rc = rc == NOF1_OK ? nof1_file_write(path, nof1_buffer_slice(&pem), 0600, error) : rc;
    nof1_key_free(key);
    nof1_buffer_free(&pem);
    return rc;
}

nof1_rc nof1_coordinator_init(struct nof1_buffer *spki, const char *folder,
                              struct nof1_error *error)
{
    struct nof1_key *key = NULL;
    struct nof1_buffer der = {0};
    struct nof1_error missing = {0};
    TRY(nof1_file_folder(folder, error));
    nof1_rc_value rc = read_key(&key, folder, &missing);
    if (rc == NOF1_E_INPUT) {
        TRY(make_key(folder, error));
        rc = read_key(&key, folder, &missing);
    }
    if (rc != NOF1_OK) {
        *error = missing;
        return rc;
    }
    rc = nof1_key_spki(&der, key);
    for (size_t i = 0; rc == NOF1_OK && i < der.length; i++) {
        rc = nof1_buffer_printf(spki, "%02x", der.data[i]);
    }
    nof1_key_free(key);
    nof1_buffer_free(&der);
    return rc;
}

static nof1_rc write_signature(const struct nof1_charter *charter, const struct nof1_key *key,
                               const char *out, struct nof1_error *error)
{
    uint8_t signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    char path[512];
    struct nof1_buffer own = {0};
    nof1_rc_value rc = nof1_key_spki(&own, key);
    bool same =
        rc == NOF1_OK && nof1_slice_equal(nof1_buffer_slice(&own), charter->coordinator.spki);
    nof1_buffer_free(&own);
    if (!same) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "the charter names another coordinator key: put the key that init "
                         "printed under coordinator: {key: ...}");
    }
    TRY(nof1_sign(signature, &length, key, charter->hash));
    snprintf(path, sizeof path, "%s.sig", out);
    return nof1_file_write(path, nof1_slice_of(signature, length), 0644, error);
}

static nof1_rc sign_charter(uint8_t hash[32], struct nof1_arena *arena, const struct nof1_key *key,
                            const char *charter_path, const char *out, struct nof1_error *error)
{
    struct nof1_buffer text = {0};
    struct nof1_buffer bytes = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_charter *draft = NULL;
    const struct nof1_charter *charter = NULL;
    nof1_rc_value rc = nof1_file_read(&text, charter_path, CHARTER_LIMIT, error);
    rc = rc == NOF1_OK
             ? nof1_yaml_read(&node, arena, charter_path, nof1_buffer_slice(&text), error)
             : rc;
    rc = rc == NOF1_OK ? nof1_charter_from_node(&draft, arena, node, error) : rc;
    rc = rc == NOF1_OK ? nof1_charter_canonical(&bytes, draft) : rc;
    rc = rc == NOF1_OK ? nof1_charter_read(&charter, arena, nof1_buffer_slice(&bytes), error) : rc;
    rc = rc == NOF1_OK ? write_signature(charter, key, out, error) : rc;
    rc = rc == NOF1_OK ? nof1_file_write(out, nof1_buffer_slice(&bytes), 0644, error) : rc;
    if (rc == NOF1_OK) {
        memcpy(hash, charter->hash, 32);
    }
    nof1_buffer_free(&text);
    nof1_buffer_free(&bytes);
    return rc;
}

nof1_rc nof1_coordinator_sign(uint8_t hash[32], const char *folder, const char *charter,
                              const char *out, struct nof1_error *error)
{
    struct nof1_key *key = NULL;
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(read_key(&key, folder, error));
    nof1_rc_value rc = sign_charter(hash, arena, key, charter, out, error);
    nof1_key_free(key);
    return rc;
}

nof1_rc nof1_coordinator_revoke(const char *folder, const char *spiffe, struct nof1_error *error)
{
    char path[512];
    struct nof1_identity identity;
    struct nof1_buffer list = {0};
    struct nof1_buffer reply = {0};
    struct nof1_error ignored = {0};
    TRY(nof1_spiffe_read(&identity, spiffe, error));
    TRY(read_revoked(&list, folder, error));
    list.length--; /* its NUL */
    nof1_rc_value rc = nof1_buffer_printf(&list, "%s\n", spiffe);
    path_in(path, folder, NOF1_COORDINATOR_REVOKED);
    rc = rc == NOF1_OK ? nof1_file_write(path, nof1_buffer_slice(&list), 0600, error) : rc;
    nof1_buffer_free(&list);
    if (rc == NOF1_OK) {
        nof1_rc_value told = nof1_coordinator_ask(&reply, folder, "refresh", &ignored);
        (void)told; /* none runs: it reads the list at its start */
        nof1_buffer_free(&reply);
    }
    return rc;
}
