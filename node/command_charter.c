/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-node charter show | approve | refuse: the agreements of this site, what an offered one would
 * change, and the steward's decision about it. Nothing is approved without its hash, which the
 * consortium tells by another way than the charter came.
 */
#include <node/steward.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/hex.h>
#include <base/json.h>
#include <base/time.h>
#include <node/admin.h>
#include <node/charter_store.h>
#include <sys/files.h>

#define HEX (2 * 32 + 1)

/* ---- what is there --------------------------------------------------------------------------- */

struct found {
    struct nof1_steward *steward;
    const struct nof1_charter *in_force, *next; /* NULL: none */
    json_t *list; /* [{state, version, hash, effective, by, at, changes}] */
};

static nof1_rc add_charter(struct found *found, const struct nof1_charter *charter,
                           const char *state, const char *by, int64_t at)
{
    char hex[HEX], effective[NOF1_TIME_TEXT];
    nof1_hex_text(hex, charter->hash, sizeof charter->hash);
    nof1_time_text(effective, charter->effective_at);
    json_t *changes = NULL;
    if (found->in_force != NULL && strcmp(state, "in force") != 0) {
        TRY(nof1_charter_changes(&changes, found->in_force, charter));
    }
    json_t *one = json_pack("{s:s, s:I, s:s, s:s, s:s*, s:s*, s:o*}", "state", state, "version",
                            (json_int_t)charter->version, "hash", hex, "effective", effective,
                            "by", by, "at",
                            at == 0 ? NULL : nof1_steward_time(found->steward->arena, at),
                            "changes", changes);
    return one != NULL && json_array_append_new(found->list, one) == 0 ? NOF1_OK
                                                                      : NOF1_E_NO_MEMORY;
}

static bool same(const struct nof1_charter *a, const struct nof1_charter *b)
{
    return a != NULL && memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

static nof1_rc_value visit_offer(void *context, const char *key, struct nof1_slice value)
{
    struct found *found = context;
    struct nof1_steward *steward = found->steward;
    const struct nof1_charter *charter = NULL;
    const char *hex = key + strlen("charter-offer/"), *by = NULL;
    int64_t at = 0;
    struct nof1_slice bytes = nof1_arena_copy(steward->arena, value);
    const char *refused = nof1_arena_printf(steward->arena, "charter-refused/%s", hex);
    ENSURE(bytes.data != NULL && refused != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_charter_read(&charter, steward->arena, bytes, &steward->error));
    if (same(found->in_force, charter) || same(found->next, charter) ||
        (found->in_force != NULL && charter->version <= found->in_force->version)) {
        return NOF1_OK; /* shown by its file, or overtaken */
    }
    TRY(nof1_charter_decision(&by, &at, steward->arena, steward->store, refused));
    return add_charter(found, charter, by != NULL ? "refused" : "offered, not approved", by, at);
}

static nof1_rc find_charters(struct found *found)
{
    struct nof1_steward *steward = found->steward;
    const struct nof1_store_reader reader = nof1_store_reader(steward->store);
    char hex[HEX];
    const char *by = NULL;
    found->list = json_array();
    ENSURE(found->list != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_charter_in_folder(&found->in_force, steward->arena, steward->folder,
                               NOF1_NODE_CHARTER, &steward->error));
    TRY(nof1_charter_in_folder(&found->next, steward->arena, steward->folder,
                               NOF1_NODE_CHARTER_NEXT, &steward->error));
    const struct nof1_charter *file[2] = {found->in_force, found->next};
    for (size_t i = 0; i < 2; i++) {
        if (file[i] == NULL) {
            continue;
        }
        int64_t at = 0;
        nof1_hex_text(hex, file[i]->hash, sizeof file[i]->hash);
        const char *key = nof1_arena_printf(steward->arena, "charter-approved/%s", hex);
        ENSURE(key != NULL, NOF1_E_NO_MEMORY);
        TRY(nof1_charter_decision(&by, &at, steward->arena, steward->store, key));
        TRY(add_charter(found, file[i], i == 0 ? "in force" : "approved, not in force yet", by,
                        at));
    }
    return reader.each(reader.self, "charter-offer/", visit_offer, found);
}

/* ---- show ------------------------------------------------------------ */

static const char *text_of(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

static void show_changes(const json_t *changes)
{
    size_t at;
    const json_t *one;
    json_array_foreach((json_t *)(uintptr_t)changes, at, one) {
        const char *old = text_of(one, "old"), *now = text_of(one, "new");
        if (old == NULL) {
            printf("  + %s: %s\n", text_of(one, "what"), now);
        } else if (now == NULL) {
            printf("  - %s: %s\n", text_of(one, "what"), old);
        } else {
            printf("    %s: %s -> %s\n", text_of(one, "what"), old, now);
        }
    }
}

static void show_one(const struct nof1_steward *steward, const json_t *one)
{
    const char *state = text_of(one, "state"), *by = text_of(one, "by");
    bool refused = strcmp(state, "refused") == 0;
    printf("version %d: %s%s%s\n  hash %s\n  effective %s\n",
           (int)json_integer_value(json_object_get(one, "version")), state,
           by == NULL ? "" : refused ? " by " : ", approved by ", by == NULL ? "" : by,
           text_of(one, "hash"), text_of(one, "effective"));
    const json_t *changes = json_object_get(one, "changes");
    if (changes != NULL && !refused) {
        printf("  what it changes:\n");
        show_changes(changes);
    }
    if (state[0] == 'o') {
        printf("  decide: nof1-node charter approve --dir %s --hash HASH (as the consortium told "
               "it), or charter refuse\n",
               steward->folder);
    }
}

static void show_list(const struct nof1_steward *steward, const json_t *list)
{
    size_t at;
    const json_t *one;
    json_array_foreach((json_t *)(uintptr_t)list, at, one) {
        show_one(steward, one);
    }
    if (json_array_size(list) == 0) {
        printf("no charter: nof1-node charter approve FILE --dir %s --hash HASH\n",
               steward->folder);
    }
}

static nof1_rc show_file(struct nof1_steward *steward, const char *file)
{
    const struct nof1_charter *charter = NULL, *before = NULL;
    struct nof1_slice bytes;
    steward->arena = nof1_arena_new();
    ENSURE(steward->arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_node_charter(&charter, &bytes, steward->arena, file, &steward->error));
    nof1_node_show_charter(stdout, charter);
    if (steward->folder != NULL) {
        TRY(nof1_charter_in_folder(&before, steward->arena, steward->folder, NOF1_NODE_CHARTER,
                                   &steward->error));
    }
    if (before != NULL) {
        NOF1_CLEANUP(nof1_json_freep) json_t *changes = NULL;
        TRY(nof1_charter_changes(&changes, before, charter));
        printf("what it changes, against version %u in force:\n", before->version);
        show_changes(changes);
    }
    return NOF1_OK;
}

static nof1_rc show(struct nof1_steward *steward)
{
    struct found found = {.steward = steward};
    TRY(nof1_steward_open(steward, true));
    nof1_rc_value rc = find_charters(&found);
    NOF1_CLEANUP(nof1_json_freep) json_t *list = found.list;
    TRY(rc);
    if (steward->json) {
        return nof1_steward_print(json_pack("{s:b, s:O}", "ok", 1, "charters", list));
    }
    show_list(steward, list);
    return NOF1_OK;
}

/* ---- approve ------------------------------------------------------------ */

/* From a file, or from what was offered under this hash. */
static nof1_rc load(const struct nof1_charter **out, struct nof1_slice *bytes,
                    struct nof1_steward *steward, const char *file, const char *hash)
{
    if (file != NULL) {
        TRY(nof1_node_charter(out, bytes, steward->arena, file, &steward->error));
        return nof1_charter_read(out, steward->arena, *bytes, &steward->error); /* keys and all */
    }
    const char *key = nof1_arena_printf(steward->arena, "charter-offer/%s", hash);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = nof1_store_get(bytes, steward->arena, steward->store, key);
    if (rc == NOF1_E_NOT_FOUND) {
        return nof1_fail(&steward->error, rc,
                         "no charter with this hash was offered; nof1-node charter show lists what "
                         "was, or name the file");
    }
    TRY(rc);
    return nof1_charter_read(out, steward->arena, *bytes, &steward->error);
}

/* A vault that runs would end on a charter that is not for it. */
static nof1_rc check_own_site(struct nof1_steward *steward, const struct nof1_charter *charter)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *reply = NULL;
    struct nof1_error kept = steward->error;
    (void)!nof1_steward_ask(steward, &reply, json_pack("{s:s}", "command", "status"));
    steward->error = kept;
    const char *id = json_string_value(json_object_get(json_object_get(reply, "status"), "site"));
    size_t site = id == NULL ? NOF1_NONE : nof1_charter_site(charter, id);
    if (id != NULL && (site == NOF1_NONE || charter->site[site].left)) {
        return nof1_fail(&steward->error, NOF1_E_CONFIG,
                         "site %s %s: there is nothing to approve here, and the vault has nothing "
                         "to answer once it is in force",
                         id, site == NOF1_NONE ? "is not on this charter" : "leaves with it");
    }
    return NOF1_OK;
}

static nof1_rc write_decision(struct nof1_steward *steward, const char *what,
                              const struct nof1_charter *charter, const char *reason)
{
    char hex[HEX], kind[32];
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer note = {0};
    nof1_hex_text(hex, charter->hash, sizeof charter->hash);
    snprintf(kind, sizeof kind, "charter.%s", what);
    const char *key = nof1_arena_printf(steward->arena, "charter-%s/%s", what, hex);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_buffer_printf(&note, "{\"by\":\"%s\",\"time\":%lld}", steward->person.name,
                           (long long)steward->now));
    const struct nof1_steward_put put = {key, nof1_buffer_slice(&note)};
    json_t *fields = json_pack("{s:s, s:I, s:s*}", "charter", hex, "version",
                               (json_int_t)charter->version, "reason", reason);
    ENSURE(fields != NULL, NOF1_E_NO_MEMORY);
    return nof1_steward_write(steward, 1, &put, kind, fields);
}

/* The approval is durable before the file: what the vault runs under was approved. */
static nof1_rc accept(struct nof1_steward *steward, const struct nof1_charter *charter,
                      struct nof1_slice bytes, bool *later)
{
    const struct nof1_charter *before = NULL;
    TRY(nof1_charter_in_folder(&before, steward->arena, steward->folder, NOF1_NODE_CHARTER,
                               &steward->error));
    TRY(nof1_charter_acceptable(before, charter, steward->arena, steward->store,
                                &steward->error));
    TRY(check_own_site(steward, charter));
    TRY(write_decision(steward, "approved", charter, NULL));
    *later = before != NULL && charter->effective_at * 1000 > steward->now;
    const char *next = nof1_arena_printf(steward->arena, "%s/%s", steward->folder,
                                         NOF1_NODE_CHARTER_NEXT);
    const char *place = nof1_arena_printf(steward->arena, "%s/%s", steward->folder,
                                          NOF1_NODE_CHARTER);
    ENSURE(next != NULL && place != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_file_write(*later ? next : place, bytes, 0644, &steward->error));
    if (!*later) {
        (void)unlink(next); /* what was approved before is overtaken */
    }
    return NOF1_OK;
}

static nof1_rc approve(struct nof1_steward *steward, const char *file, const char *hash)
{
    const struct nof1_charter *charter = NULL;
    struct nof1_slice bytes;
    char hex[HEX], effective[NOF1_TIME_TEXT];
    bool later = false, running = false;
    TRY(nof1_file_folder(steward->folder, &steward->error));
    TRY(nof1_steward_open(steward, false));
    TRY(load(&charter, &bytes, steward, file, hash));
    nof1_hex_text(hex, charter->hash, sizeof charter->hash);
    if (strcmp(hex, hash) != 0) {
        return nof1_fail_at(&steward->error, NOF1_E_USAGE, file, 0, 0,
                            "this charter's hash is %s, not the one given; do not approve it "
                            "before the consortium has told you this hash",
                            hex);
    }
    TRY(accept(steward, charter, bytes, &later));
    TRY(nof1_steward_reload(steward, &running));
    nof1_time_text(effective, charter->effective_at);
    if (steward->json) {
        return nof1_steward_print(json_pack("{s:b, s:s, s:I, s:s, s:b, s:b}", "ok", 1, "charter",
                                            hex, "version", (json_int_t)charter->version,
                                            "effective", effective, "in_force", later ? 0 : 1,
                                            "vault_runs", running ? 1 : 0));
    }
    printf("approved: %s/%s\n", steward->folder,
           later ? NOF1_NODE_CHARTER_NEXT : NOF1_NODE_CHARTER);
    if (later) {
        printf("it replaces the one in force at %s\n", effective);
    }
    return NOF1_OK;
}

/* ---- refuse ------------------------------------------------------------ */

static nof1_rc check_refusable(struct nof1_steward *steward, const struct nof1_charter *charter,
                               const char *reason)
{
    const struct nof1_charter *file[2] = {NULL, NULL};
    for (const char *c = reason == NULL ? "" : reason; *c != '\0'; ++c) {
        if (*c < ' ' || *c > '~') {
            return nof1_fail(&steward->error, NOF1_E_USAGE, "--reason: expected ASCII characters");
        }
    }
    TRY(nof1_charter_in_folder(&file[0], steward->arena, steward->folder, NOF1_NODE_CHARTER,
                               &steward->error));
    TRY(nof1_charter_in_folder(&file[1], steward->arena, steward->folder, NOF1_NODE_CHARTER_NEXT,
                               &steward->error));
    if (same(file[0], charter) || same(file[1], charter)) {
        return nof1_fail(&steward->error, NOF1_E_CONFIG,
                         "this charter is approved here: an approval cannot be taken back; "
                         "nof1-node pause stops every answer");
    }
    return NOF1_OK;
}

static nof1_rc refuse(struct nof1_steward *steward, const char *file, const char *hash,
                      const char *reason)
{
    const struct nof1_charter *charter = NULL;
    struct nof1_slice bytes;
    char hex[HEX];
    bool running = false;
    TRY(nof1_steward_open(steward, false));
    TRY(load(&charter, &bytes, steward, file, hash));
    TRY(check_refusable(steward, charter, reason));
    nof1_hex_text(hex, charter->hash, sizeof charter->hash);
    TRY(write_decision(steward, "refused", charter, reason == NULL ? "" : reason));
    TRY(nof1_steward_reload(steward, &running)); /* it tells the coordinator, without the reason */
    if (steward->json) {
        return nof1_steward_print(json_pack("{s:b, s:s}", "ok", 1, "charter", hex));
    }
    printf("refused: version %u of %s, %s; it cannot be approved here any more\n"
           "the coordinator is told that it is refused, not why; the one in force stays\n",
           charter->version, charter->study, hex);
    return NOF1_OK;
}

/* ---- the words of the command line ----------------------------------------------------------- */

static int run_show(int argc, char **argv)
{
    const char *file = NULL;
    struct nof1_steward steward = {0};
    const struct nof1_argument options[] = {
        {"dir", "DIR", &steward.folder, NULL,
         "the vault's folder: what is in force, approved, offered, refused", false},
        {"json", NULL, NULL, &steward.json, "answer as JSON", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text text = {"nof1-node charter show [FILE] [--dir DIR]", "", options,
                                         1};
    int code = nof1_command_line(&text, 1, &file, argc, argv, 3);
    if (code >= 0) {
        return code;
    }
    return file == NULL && steward.folder == NULL
               ? nof1_steward_missing("FILE or --dir DIR")
               : nof1_steward_close(&steward, file != NULL ? show_file(&steward, file)
                                                           : show(&steward));
}

int nof1_command_charter(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[2] : "";
    const char *file = NULL, *hash = NULL, *reason = NULL;
    bool refusing = strcmp(verb, "refuse") == 0;
    struct nof1_steward steward = {0};
    const struct nof1_argument options[] = {
        NOF1_STEWARD_OPTIONS(&steward),
        {"hash", "HASH", &hash, NULL, "64 hex digits, as told by the consortium", !refusing},
        {refusing ? "reason" : NULL, "TEXT", &reason, NULL,
         "for this site's ledger, in ASCII; never sent", false},
        NOF1_ARGUMENTS_END};
    if (strcmp(verb, "show") == 0) {
        return run_show(argc, argv);
    }
    if (!refusing && strcmp(verb, "approve") != 0) {
        return nof1_steward_missing("charter show, approve or refuse");
    }
    const struct nof1_usage_text text = {
        refusing ? "nof1-node charter refuse [FILE] --dir DIR [--hash HASH]"
                 : "nof1-node charter approve [FILE] --dir DIR --hash HASH",
        refusing ? "The version cannot be approved here any more.\n" : "", options, 1};
    int code = nof1_command_line(&text, 1, &file, argc, argv, 3);
    if (code >= 0) {
        return code;
    }
    if (file == NULL && hash == NULL) {
        return nof1_steward_missing("FILE or --hash HASH");
    }
    return nof1_steward_close(&steward, refusing ? refuse(&steward, file, hash, reason)
                                                 : approve(&steward, file, hash));
}
