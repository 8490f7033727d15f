/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Common parts of the steward's commands: see steward.h. Nothing here is ever sent to anybody.
 */
#include <node/steward.h>

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <base/json.h>
#include <base/time.h>
#include <node/admin.h>
#include <node/vault.h>
#include <sys/clock.h>
#include <sys/files.h>

#define NAME_MAX_LENGTH 60

int nof1_steward_missing(const char *what)
{
    fprintf(stderr, NOF1_NODE_PROGRAM ": %s is missing (see " NOF1_NODE_PROGRAM " --help)\n", what);
    return 2;
}

const char *nof1_steward_time(struct nof1_arena *arena, int64_t milliseconds)
{
    char text[NOF1_TIME_TEXT];
    nof1_time_text(text, milliseconds / 1000);
    return nof1_arena_text(arena, text);
}

/* The account that the command was given from: behind sudo the one before it. */
static const char *account_name(void)
{
    const char *before = geteuid() == 0 ? getenv("SUDO_USER") : NULL;
    const struct passwd *entry = getpwuid(getuid());
    return before != NULL && before[0] != '\0' ? before
           : entry == NULL                     ? "unknown"
                                               : entry->pw_name;
}

static bool plain_name(const char *name)
{
    size_t length = strlen(name);
    bool plain = length > 0 && length <= NAME_MAX_LENGTH;
    for (size_t i = 0; plain && i < length; ++i) {
        plain = name[i] >= ' ' && name[i] <= '~' && name[i] != '"' && name[i] != '\\';
    }
    return plain && name[0] != ' ' && name[length - 1] != ' ';
}

nof1_rc_value nof1_steward_person(struct nof1_steward *steward)
{
    const char *account = account_name();
    const char *name = steward->by == NULL ? account : steward->by;
    if (!plain_name(name) || !plain_name(account)) {
        return nof1_fail(&steward->error, NOF1_E_USAGE,
                         "--by: expected 1 to %d ASCII characters without quotes", NAME_MAX_LENGTH);
    }
    steward->person.name = nof1_arena_text(steward->arena, name);
    steward->person.account = nof1_arena_text(steward->arena, account);
    ENSURE(steward->person.name != NULL && steward->person.account != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

nof1_rc_value nof1_steward_open(struct nof1_steward *steward, bool read_only)
{
    struct nof1_clock clock = {0};
    steward->arena = nof1_arena_new();
    ENSURE(steward->arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_steward_person(steward));
    const char *path =
        nof1_arena_printf(steward->arena, "%s/%s", steward->folder, NOF1_SITE_STORE);
    ENSURE(path != NULL, NOF1_E_NO_MEMORY);
    TRY(read_only ? nof1_store_open_read(&steward->store, path, &steward->error)
                  : nof1_store_open(&steward->store, path, &steward->error));
    TRY(nof1_store_last_time(&clock.last, steward->store));
    steward->now = nof1_clock_now(&clock);
    return NOF1_OK;
}

static void print_failure(const struct nof1_error *error)
{
    json_t *value = json_pack("{s:b, s:s, s:s, s:s}", "ok", 0, "code", nof1_rc_code(error->rc),
                              "message", error->message, "remedy", nof1_rc_remedy(error->rc));
    if (value != NULL && error->file[0] != '\0') {
        json_object_set_new(value, "file", json_string(error->file));
        json_object_set_new(value, "line", json_integer(error->line));
        json_object_set_new(value, "column", json_integer(error->column));
    }
    (void)!nof1_steward_print(value);
}

int nof1_steward_close(struct nof1_steward *steward, nof1_rc_value rc)
{
    int code = 0;
    nof1_store_close(steward->store);
    if (rc != NOF1_OK) {
        if (steward->error.rc == NOF1_OK) {
            (void)nof1_fail(&steward->error, rc, "%s", nof1_rc_sentence(rc));
        }
        if (steward->json) {
            print_failure(&steward->error);
        }
        code = nof1_report_error(NOF1_NODE_PROGRAM, &steward->error);
    }
    nof1_arena_free(steward->arena);
    steward->store = NULL;
    steward->arena = NULL;
    return code;
}

nof1_rc_value nof1_steward_ask(struct nof1_steward *steward, json_t **reply, json_t *request)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *owned = request;
    const char *path = steward->admin != NULL
                           ? steward->admin
                           : nof1_arena_printf(steward->arena, "%s/%s", steward->folder,
                                               NOF1_SITE_ADMIN);
    ENSURE(owned != NULL && path != NULL, NOF1_E_NO_MEMORY);
    return nof1_node_ask(reply, path, owned, &steward->error);
}

nof1_rc_value nof1_steward_reload(struct nof1_steward *steward, bool *running)
{
    struct nof1_error ignored = {0};
    NOF1_CLEANUP(nof1_json_freep) json_t *reply = NULL;
    int lock = -1;
    /* a vault that runs holds the folder's lock, wherever its socket is */
    *running = nof1_file_lock(&lock, steward->folder, "vault.lock", &ignored) != NOF1_OK;
    if (!*running) {
        (void)close(lock);
        return NOF1_OK;
    }
    nof1_rc_value rc =
        nof1_steward_ask(steward, &reply, json_pack("{s:s}", "command", "reload"));
    if (rc != NOF1_OK) {
        return nof1_fail(&steward->error, rc,
                         "the change is stored, but the running vault did not take it up: restart "
                         "nof1-vault, or give the command again with --admin PATH");
    }
    return NOF1_OK;
}

nof1_rc_value nof1_steward_print(json_t *value)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *owned = value;
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    ENSURE(owned != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_json_write(&text, owned, true));
    printf("%.*s\n", (int)text.length, (const char *)text.data);
    return NOF1_OK;
}

nof1_rc_value nof1_steward_write(struct nof1_steward *steward, size_t puts,
                                 const struct nof1_steward_put *put, const char *kind,
                                 json_t *fields)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *entry = fields == NULL ? json_object() : fields;
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    ENSURE(entry != NULL &&
               json_object_set_new(entry, "kind", json_string(kind)) == 0 &&
               json_object_set_new(entry, "by", json_string(steward->person.name)) == 0 &&
               json_object_set_new(entry, "account", json_string(steward->person.account)) == 0 &&
               json_object_set_new(entry, "time", json_integer(steward->now)) == 0,
           NOF1_E_NO_MEMORY);
    TRY(nof1_canonical_write(&bytes, entry));
    TRY(nof1_store_begin(steward->store));
    nof1_rc_value rc = NOF1_OK;
    for (size_t i = 0; rc == NOF1_OK && i < puts; ++i) {
        rc = nof1_store_put(steward->store, put[i].key, put[i].value);
    }
    rc = rc == NOF1_OK ? nof1_store_append(steward->store, steward->now, kind,
                                           nof1_buffer_slice(&bytes), NULL)
                       : rc;
    rc = rc == NOF1_OK ? nof1_store_commit(steward->store) : rc;
    if (rc != NOF1_OK) {
        nof1_store_rollback(steward->store);
    }
    return rc;
}
