/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-node policy show | check | edit | approve: the site's own limits, as text that the steward
 * writes, with a second person's approval (docs/protocol.md, "What a site adds by itself").
 */
#include <node/steward.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/json.h>
#include <node/admin.h>
#include <sys/files.h>

#define TEXT_LIMIT ((size_t)1 << 20)

struct policies {
    const struct nof1_charter *charter;
    const struct nof1_policy_version *version, *active; /* active NULL: none */
    size_t count;
};

static nof1_rc load_charter(const struct nof1_charter **out, struct nof1_steward *steward,
                            const char *path)
{
    struct nof1_slice bytes;
    const char *place = path != NULL ? path
                                     : nof1_arena_printf(steward->arena, "%s/%s", steward->folder,
                                                         NOF1_NODE_CHARTER);
    ENSURE(place != NULL, NOF1_E_NO_MEMORY);
    return nof1_node_charter(out, &bytes, steward->arena, place, &steward->error);
}

static nof1_rc load(struct policies *out, struct nof1_steward *steward)
{
    TRY(load_charter(&out->charter, steward, NULL));
    TRY(nof1_policy_versions(&out->version, &out->count, steward->arena, steward->store));
    out->active = nof1_policy_active(out->version, out->count);
    return NOF1_OK;
}

/* Limits of a text beside the charter; text NULL: the charter's. node: may be NULL. */
static nof1_rc limits_of(struct nof1_limits *out, const struct nof1_node **node,
                         const struct nof1_charter *charter, struct nof1_arena *arena,
                         const char *name, const struct nof1_slice *text, bool strict,
                         struct nof1_error *error)
{
    *node = NULL;
    if (text != NULL) {
        TRY(nof1_yaml_read(node, arena, name, *text, error));
    }
    return nof1_policy_site(out, &charter->limits, *node, strict, error);
}

/* ---- differences ------------------------------------------------------------ */

static json_t *changes_json(const struct nof1_limits *before, const struct nof1_limits *after)
{
    json_t *changes = json_array();
    for (const struct nof1_limit *row = nof1_limit_rows(); changes != NULL && row->key; ++row) {
        double old = nof1_limit_get(before, row), now = nof1_limit_get(after, row);
        if (old != now) {
            bool stricter = row->larger_is_stricter ? now > old : now < old;
            json_array_append_new(changes, json_pack("{s:s, s:f, s:f, s:s}", "key", row->key, "old",
                                                     old, "new", now, "becomes",
                                                     stricter ? "stricter" : "looser"));
        }
    }
    return changes;
}

static void show_changes(const json_t *changes)
{
    size_t at;
    const json_t *change;
    json_array_foreach((json_t *)(uintptr_t)changes, at, change) {
        printf("  %-20s %.6g -> %.6g (%s)\n", json_string_value(json_object_get(change, "key")),
               json_number_value(json_object_get(change, "old")),
               json_number_value(json_object_get(change, "new")),
               json_string_value(json_object_get(change, "becomes")));
    }
    if (json_array_size(changes) == 0) {
        printf("  no limit changes\n");
    }
}

static size_t lines_of(struct nof1_slice *line, size_t room, struct nof1_slice text)
{
    size_t count = 0, start = 0;
    for (size_t i = 0; i < text.length; ++i) {
        if (text.data[i] == '\n' || i + 1 == text.length) {
            size_t end = text.data[i] == '\n' ? i : i + 1;
            if (count < room) {
                line[count] = nof1_slice_of(text.data + start, end - start);
            }
            ++count;
            start = i + 1;
        }
    }
    return count;
}

static void show_lines(char sign, const struct nof1_slice *line, size_t from, size_t to)
{
    for (size_t i = from; i < to; ++i) {
        printf("  %c %.*s\n", sign, (int)line[i].length, (const char *)line[i].data);
    }
}

/* The lines between the first and the last that differ. */
static nof1_rc show_text_change(struct nof1_arena *arena, struct nof1_slice before,
                                struct nof1_slice after)
{
    size_t old = lines_of(NULL, 0, before), now = lines_of(NULL, 0, after), first = 0, last = 0;
    struct nof1_slice *a = nof1_arena_alloc(arena, old + 1, sizeof *a);
    struct nof1_slice *b = nof1_arena_alloc(arena, now + 1, sizeof *b);
    ENSURE(a != NULL && b != NULL, NOF1_E_NO_MEMORY);
    (void)lines_of(a, old, before);
    (void)lines_of(b, now, after);
    while (first < old && first < now && nof1_slice_equal(a[first], b[first])) {
        ++first;
    }
    while (last < old - first && last < now - first &&
           nof1_slice_equal(a[old - 1 - last], b[now - 1 - last])) {
        ++last;
    }
    show_lines('-', a, first, old - last);
    show_lines('+', b, first, now - last);
    return NOF1_OK;
}

/* ---- show ------------------------------------------------------------ */

/* Where an effective limit comes from. `vault`: what the running vault says, NULL when none runs.
 */
static const char *origin(struct nof1_arena *arena, const struct nof1_limit *row, double effective,
                          const struct policies *policies, double own, const struct nof1_node *node)
{
    double charter = nof1_limit_get(&policies->charter->limits, row);
    if (effective == charter) {
        return "charter";
    }
    if (effective != own || node == NULL) {
        return "the file that nof1-vault was started with (--policy)";
    }
    const struct nof1_node *place = nof1_node_get(node, row->key);
    return place != NULL ? nof1_arena_printf(arena, "policy version %u, line %u",
                                             policies->active->version, place->line)
                         : nof1_arena_printf(arena, "policy version %u, its preset",
                                             policies->active->version);
}

static nof1_rc effective_json(json_t **out, struct nof1_steward *steward,
                              const struct policies *policies)
{
    struct nof1_limits own;
    const struct nof1_node *node = NULL;
    NOF1_CLEANUP(nof1_json_freep) json_t *reply = NULL;
    TRY(limits_of(&own, &node, policies->charter, steward->arena, "policy",
                  policies->active == NULL ? NULL : &policies->active->text, false,
                  &steward->error));
    struct nof1_error kept = steward->error;
    (void)!nof1_steward_ask(steward, &reply, json_pack("{s:s}", "command", "status"));
    steward->error = kept;
    const json_t *running = json_object_get(reply, "limits");
    json_t *limits = json_object();
    for (const struct nof1_limit *row = nof1_limit_rows(); limits != NULL && row->key; ++row) {
        double mine = nof1_limit_get(&own, row);
        const json_t *said = json_object_get(running, row->key);
        double effective = said == NULL ? mine : json_number_value(said);
        json_object_set_new(
            limits, row->key,
            json_pack("{s:f, s:s*, s:f, s:s, s:s}", "value", effective, "from",
                      origin(steward->arena, row, effective, policies, mine, node), "charter",
                      nof1_limit_get(&policies->charter->limits, row), "code",
                      nof1_rc_code(row->code), "help", row->help));
    }
    *out = limits;
    return limits == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

static const char *state_of(const struct policies *policies, size_t i)
{
    const struct nof1_policy_version *version = &policies->version[i];
    return version == policies->active      ? "in force"
           : version->approved_by != NULL   ? "replaced"
           : i + 1 == policies->count       ? "waits for approval"
                                            : "withdrawn for a later proposal";
}

static json_t *versions_json(struct nof1_arena *arena, const struct policies *policies)
{
    json_t *versions = json_array();
    for (size_t i = 0; versions != NULL && i < policies->count; ++i) {
        const struct nof1_policy_version *v = &policies->version[i];
        json_t *one = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "version",
                                (json_int_t)v->version, "state", state_of(policies, i), "sha256",
                                v->digest, "edited_by", v->edited_by, "edited_account",
                                v->edited_account, "edited_at",
                                nof1_steward_time(arena, v->edited_at));
        if (one != NULL && v->approved_by != NULL) {
            json_object_set_new(one, "approved_by", json_string(v->approved_by));
            json_object_set_new(one, "approved_account", json_string(v->approved_account));
            json_object_set_new(one, "approved_at",
                                json_string(nof1_steward_time(arena, v->approved_at)));
        }
        json_array_append_new(versions, one);
    }
    return versions;
}

static void show_text(const json_t *limits, const json_t *versions)
{
    const char *key;
    const json_t *row;
    size_t at;
    printf("%-20s %-10s %-10s %s\n", "limit", "effective", "charter", "from");
    json_object_foreach((json_t *)(uintptr_t)limits, key, row) {
        printf("%-20s %-10.6g %-10.6g %s\n", key, json_number_value(json_object_get(row, "value")),
               json_number_value(json_object_get(row, "charter")),
               json_string_value(json_object_get(row, "from")));
    }
    printf("versions of this site's policy:%s\n", json_array_size(versions) == 0 ? " none" : "");
    json_array_foreach((json_t *)(uintptr_t)versions, at, row) {
        const char *approved = json_string_value(json_object_get(row, "approved_by"));
        printf("  %-3d %s, written %s by %s",
               (int)json_integer_value(json_object_get(row, "version")),
               json_string_value(json_object_get(row, "state")),
               json_string_value(json_object_get(row, "edited_at")),
               json_string_value(json_object_get(row, "edited_by")));
        if (approved != NULL) {
            printf(", approved %s by %s", json_string_value(json_object_get(row, "approved_at")),
                   approved);
        }
        printf("\n");
    }
}

static nof1_rc print_version(struct nof1_steward *steward, const struct policies *policies,
                             const char *number)
{
    for (size_t i = 0; i < policies->count; ++i) {
        const struct nof1_policy_version *v = &policies->version[i];
        if (v->version == strtoul(number, NULL, 10)) {
            return fwrite(v->text.data, 1, v->text.length, stdout) == v->text.length ? NOF1_OK
                                                                                     : NOF1_E_IO;
        }
    }
    return nof1_fail(&steward->error, NOF1_E_NOT_FOUND, "there is no version %s; see policy show",
                     number);
}

static nof1_rc show(struct nof1_steward *steward, const char *number)
{
    struct policies policies = {0};
    json_t *limits = NULL;
    TRY(nof1_steward_open(steward, true));
    TRY(load(&policies, steward));
    if (number != NULL) {
        return print_version(steward, &policies, number);
    }
    TRY(effective_json(&limits, steward, &policies));
    json_t *versions = versions_json(steward->arena, &policies);
    if (steward->json) {
        return nof1_steward_print(
            json_pack("{s:b, s:o, s:o}", "ok", 1, "limits", limits, "versions", versions));
    }
    show_text(limits, versions);
    json_decref(limits);
    json_decref(versions);
    return NOF1_OK;
}

/* ---- check ------------------------------------------------------------ */

static nof1_rc read_file(struct nof1_slice *out, struct nof1_steward *steward, const char *path)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    TRY(nof1_file_read(&bytes, path, TEXT_LIMIT, &steward->error));
    *out = nof1_arena_copy(steward->arena, nof1_buffer_slice(&bytes));
    ENSURE(bytes.length == 0 || out->data != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* Changes of a text against what is in force, shown or as JSON. */
static nof1_rc compare(json_t **changes, struct nof1_steward *steward,
                       const struct policies *policies, const char *name, struct nof1_slice text)
{
    struct nof1_limits before, after;
    const struct nof1_node *node = NULL;
    const struct nof1_slice *old = policies->active == NULL ? NULL : &policies->active->text;
    TRY(limits_of(&after, &node, policies->charter, steward->arena, name, &text, true,
                  &steward->error));
    TRY(limits_of(&before, &node, policies->charter, steward->arena, "policy", old, false,
                  &steward->error));
    *changes = changes_json(&before, &after);
    ENSURE(*changes != NULL, NOF1_E_NO_MEMORY);
    if (!steward->json) {
        printf("limits, against those in force:\n");
        show_changes(*changes);
        printf("text:\n");
        return show_text_change(steward->arena, old == NULL ? nof1_slice_of(NULL, 0) : *old, text);
    }
    return NOF1_OK;
}

static nof1_rc check(struct nof1_steward *steward, const char *file, const char *charter)
{
    struct policies policies = {0};
    struct nof1_slice text;
    json_t *changes = NULL;
    if (charter == NULL) {
        TRY(nof1_steward_open(steward, true));
        TRY(load(&policies, steward));
    } else {
        steward->arena = nof1_arena_new();
        ENSURE(steward->arena != NULL, NOF1_E_NO_MEMORY);
        TRY(load_charter(&policies.charter, steward, charter));
    }
    TRY(read_file(&text, steward, file));
    TRY(compare(&changes, steward, &policies, file, text));
    if (steward->json) {
        return nof1_steward_print(json_pack("{s:b, s:o}", "ok", 1, "changes", changes));
    }
    json_decref(changes);
    printf("%s: good\n", file);
    return NOF1_OK;
}

/* ---- edit ------------------------------------------------------------ */

static nof1_rc template_text(struct nof1_buffer *out, const struct nof1_charter *charter)
{
    TRY(nof1_buffer_printf(out, "# This site's own limits, see nof1-policy(5). Only stricter than "
                                "the charter's values,\n# which stand below; a key that is left "
                                "out stays the charter's.\n"));
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; ++row) {
        char value[NOF1_DOUBLE_TEXT];
        nof1_double_short(value, nof1_limit_get(&charter->limits, row));
        TRY(nof1_buffer_printf(out, "# %s: %s  # %s\n", row->key, value, row->help));
    }
    return nof1_buffer_printf(out, "preset: standard\n");
}

static nof1_rc run_editor(struct nof1_steward *steward, const char *path)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "exec ${VISUAL:-${EDITOR:-vi}} \"$0\"", path, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 0) {
        return nof1_fail(&steward->error, NOF1_E_IO,
                         "the editor failed; set EDITOR, or use --file FILE");
    }
    return NOF1_OK;
}

/* The latest text, or one to start from, through the steward's editor. */
static nof1_rc edited_text(struct nof1_slice *out, const char **path, struct nof1_steward *steward,
                           const struct policies *policies)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    *path = nof1_arena_printf(steward->arena, "%s/policy.draft.yaml", steward->folder);
    ENSURE(*path != NULL, NOF1_E_NO_MEMORY);
    if (access(*path, F_OK) != 0) { /* a draft that was not accepted is taken up again */
        if (policies->count > 0) {
            struct nof1_slice last = policies->version[policies->count - 1].text;
            TRY(nof1_buffer_append(&text, last.data, last.length));
        } else {
            TRY(template_text(&text, policies->charter));
        }
        TRY(nof1_file_write(*path, nof1_buffer_slice(&text), 0600, &steward->error));
    }
    TRY(run_editor(steward, *path));
    return read_file(out, steward, *path);
}

static nof1_rc edit(struct nof1_steward *steward, const char *file)
{
    struct policies policies = {0};
    struct nof1_slice text;
    json_t *changes = NULL;
    const char *draft = NULL;
    uint32_t version = 0;
    TRY(nof1_steward_open(steward, false));
    TRY(load(&policies, steward));
    TRY(file != NULL ? read_file(&text, steward, file)
                     : edited_text(&text, &draft, steward, &policies));
    TRY(compare(&changes, steward, &policies, file == NULL ? draft : file, text));
    nof1_rc_value rc = nof1_policy_propose(&version, steward->store, text, &steward->person,
                                           steward->now, &steward->error);
    if (rc != NOF1_OK) {
        json_decref(changes);
        return rc;
    }
    if (draft != NULL) {
        (void)unlink(draft);
    }
    if (steward->json) {
        return nof1_steward_print(json_pack("{s:b, s:I, s:o}", "ok", 1, "version",
                                            (json_int_t)version, "changes", changes));
    }
    json_decref(changes);
    printf("version %u waits for another person: nof1-node policy approve %u --dir %s --by NAME\n",
           version, version, steward->folder);
    return NOF1_OK;
}

/* ---- approve ------------------------------------------------------------ */

static nof1_rc approve(struct nof1_steward *steward, const char *number)
{
    struct policies policies = {0};
    json_t *changes = NULL;
    bool running = false;
    char *end = NULL;
    uint32_t version = (uint32_t)strtoul(number, &end, 10);
    if (*end != '\0') {
        return nof1_fail(&steward->error, NOF1_E_USAGE, "VERSION: a whole number expected, found "
                         "'%.40s'; see policy show", number);
    }
    TRY(nof1_steward_open(steward, false));
    TRY(load(&policies, steward));
    if (policies.count > 0 && policies.version[policies.count - 1].version == version) {
        TRY(compare(&changes, steward, &policies, "policy",
                    policies.version[policies.count - 1].text));
    }
    NOF1_CLEANUP(nof1_json_freep) json_t *owned = changes;
    TRY(nof1_policy_accept(steward->store, version, &steward->person, steward->now,
                           &steward->error));
    TRY(nof1_steward_reload(steward, &running));
    if (steward->json) {
        return nof1_steward_print(json_pack("{s:b, s:I, s:O, s:b}", "ok", 1, "version",
                                            (json_int_t)version, "changes", owned, "vault_runs",
                                            running ? 1 : 0));
    }
    printf("version %u is in force%s\n", version,
           running ? ", in the running vault too" : "; no vault runs in this folder now");
    return NOF1_OK;
}

/* ---- the words of the command line ----------------------------------------------------------- */

int nof1_command_policy(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[2] : "";
    bool showing = strcmp(verb, "show") == 0, editing = strcmp(verb, "edit") == 0;
    const char *word = NULL, *file = NULL, *charter = NULL, *number = NULL;
    struct nof1_steward steward = {0};
    const struct nof1_argument options[] = {NOF1_STEWARD_OPTIONS(&steward),
                                            {editing   ? "file"
                                             : showing ? "text"
                                                       : NULL,
                                             editing ? "FILE" : "N", editing ? &file : &number,
                                             NULL,
                                             editing ? "take this text instead of opening $EDITOR"
                                                     : "print the text of version N byte for byte",
                                             false},
                                            NOF1_ARGUMENTS_END};
    const struct nof1_argument check_options[] = {
        {"dir", "DIR", &steward.folder, NULL,
         "the vault's folder: its charter, its policy in force", false},
        {"charter", "FILE", &charter, NULL, "check against this charter instead", false},
        {"json", NULL, NULL, &steward.json, "answer as JSON", false},
        NOF1_ARGUMENTS_END};
    if (showing || editing) {
        const struct nof1_usage_text text = {showing
                                                 ? "nof1-node policy show --dir DIR [--text N]"
                                                 : "nof1-node policy edit --dir DIR [--file FILE]",
                                             "", options, 0};
        int code = nof1_command_line(&text, 0, NULL, argc, argv, 3);
        return code >= 0 ? code
                         : nof1_steward_close(&steward, showing ? show(&steward, number)
                                                                : edit(&steward, file));
    }
    if (strcmp(verb, "check") == 0) {
        const struct nof1_usage_text text = {
            "nof1-node policy check FILE --dir DIR | --charter FILE", "", check_options, 0};
        int code = nof1_command_line(&text, 1, &word, argc, argv, 3);
        if (code >= 0) {
            return code;
        }
        return steward.folder == NULL && charter == NULL
                   ? nof1_steward_missing("--dir DIR or --charter FILE")
                   : nof1_steward_close(&steward, check(&steward, word, charter));
    }
    if (strcmp(verb, "approve") == 0) {
        const struct nof1_usage_text text = {"nof1-node policy approve VERSION --dir DIR --by NAME",
                                             "", options, 0};
        int code = nof1_command_line(&text, 1, &word, argc, argv, 3);
        return code >= 0 ? code : nof1_steward_close(&steward, approve(&steward, word));
    }
    return nof1_steward_missing("policy show, check, edit or approve");
}
