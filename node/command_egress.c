/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-node egress, preview, status, pause, resume, approve, refuse: what left this site, what a
 * plan would make leave, and the decisions about it. The list comes from the ledger, where the
 * vault writes every frame before it leaves.
 */
#include <node/steward.h>

#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <base/time.h>
#include <node/vault.h>

/* ---- egress ------------------------------------------------------------ */

struct egress {
    struct nof1_arena *arena;
    int64_t since; /* milliseconds */
    json_t *approved; /* query -> who */
    json_t *list;
};

static const char *who_approved(const struct egress *egress, const json_t *entry,
                                const char *query)
{
    const char *what = json_string_value(json_object_get(entry, "what"));
    if (query == NULL || what == NULL || strcmp(what, "refusal") == 0) {
        return "";
    }
    const char *by = json_string_value(json_object_get(egress->approved, query));
    return by == NULL ? "the limits" : by;
}

static nof1_rc add_sent(struct egress *egress, const struct nof1_entry *entry, const json_t *body)
{
    const char *query = json_string_value(json_object_get(body, "query"));
    json_t *one = json_pack("{s:s, s:O, s:O, s:O, s:s, s:s*, s:O*, s:O*, s:I}", "time",
                            nof1_steward_time(egress->arena, entry->at), "what",
                            json_object_get(body, "what"), "bytes", json_object_get(body, "bytes"),
                            "digest", json_object_get(body, "digest"), "approved_by",
                            who_approved(egress, body, query), "query", query, "round",
                            json_object_get(body, "round"), "code", json_object_get(body, "code"),
                            "entry", (json_int_t)entry->seq);
    return one != NULL && json_array_append_new(egress->list, one) == 0 ? NOF1_OK
                                                                       : NOF1_E_NO_MEMORY;
}

static nof1_rc_value visit_entry(void *context, const struct nof1_entry *entry)
{
    struct egress *egress = context;
    bool sent = strcmp(entry->kind, "frame.sent") == 0;
    if (!sent && strcmp(entry->kind, "query.approved") != 0) {
        return NOF1_OK;
    }
    NOF1_CLEANUP(nof1_json_freep)
    json_t *body = json_loadb((const char *)entry->body.data, entry->body.length, 0, NULL);
    ENSURE(body != NULL, NOF1_E_STORE);
    if (!sent) {
        const char *query = json_string_value(json_object_get(body, "query"));
        const char *by = json_string_value(json_object_get(body, "by"));
        return query == NULL || json_object_set_new(egress->approved, query,
                                                    json_string(by == NULL || by[0] == '\0'
                                                                    ? "the steward"
                                                                    : by)) == 0
                   ? NOF1_OK
                   : NOF1_E_NO_MEMORY;
    }
    return entry->at >= egress->since ? add_sent(egress, entry, body) : NOF1_OK;
}

static void show_list(const json_t *list)
{
    size_t at;
    const json_t *row;
    json_int_t total = 0;
    printf("%-20s %-8s %-5s %-9s %-16s %-16s %s\n", "time", "what", "round", "bytes", "sha256",
           "query", "approved by");
    json_array_foreach((json_t *)(uintptr_t)list, at, row) {
        const json_t *round = json_object_get(row, "round");
        const char *query = json_string_value(json_object_get(row, "query"));
        char number[24] = "-";
        if (round != NULL) {
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(round));
        }
        total += json_integer_value(json_object_get(row, "bytes"));
        printf("%-20s %-8s %-5s %-9lld %-16.16s %-16.16s %s\n",
               json_string_value(json_object_get(row, "time")),
               json_string_value(json_object_get(row, "what")), number,
               (long long)json_integer_value(json_object_get(row, "bytes")),
               json_string_value(json_object_get(row, "digest")), query == NULL ? "-" : query,
               json_string_value(json_object_get(row, "approved_by")));
    }
    printf("%zu messages, %lld bytes; masked vectors tell nothing without all other sites'\n",
           json_array_size(list), (long long)total);
}

static nof1_rc egress(struct nof1_steward *steward, const char *since)
{
    int64_t seconds = 0;
    TRY(nof1_steward_open(steward, true));
    if (since != NULL && !nof1_time_read(&seconds, since)) {
        return nof1_fail(&steward->error, NOF1_E_USAGE,
                         "--since: '%.40s' found, YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ expected",
                         since);
    }
    NOF1_CLEANUP(nof1_json_freep) json_t *approved = json_object();
    NOF1_CLEANUP(nof1_json_freep) json_t *list = json_array();
    struct egress visit = {steward->arena, since == NULL ? INT64_MIN : seconds * 1000, approved,
                           list};
    ENSURE(approved != NULL && list != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_store_entries(steward->store, 1, visit_entry, &visit));
    if (steward->json) {
        return nof1_steward_print(json_pack("{s:b, s:O}", "ok", 1, "egress", list));
    }
    show_list(list);
    return NOF1_OK;
}

int nof1_command_egress(int argc, char **argv)
{
    struct nof1_steward steward = {0};
    const char *since = NULL;
    const struct nof1_argument options[] = {
        {"dir", "DIR", &steward.folder, NULL, "the vault's folder", true},
        {"since", "TIME", &since, NULL, "from then on: YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ", false},
        {"json", NULL, NULL, &steward.json, "answer as JSON", false},
        NOF1_ARGUMENTS_END};
    int code = nof1_command_line(
        &(struct nof1_usage_text){"nof1-node egress --dir DIR [--since TIME]", "", options, 0}, 0,
        NULL, argc, argv, 2);
    return code >= 0 ? code : nof1_steward_close(&steward, egress(&steward, since));
}

/* ---- preview ------------------------------------------------------------ */

static void show_round(const json_t *round)
{
    size_t at;
    const json_t *number;
    const json_t *bytes = json_object_get(round, "unmasked");
    const json_t *parameters = json_object_get(round, "parameters");
    printf("round %lld: this site's own numbers\n",
           (long long)json_integer_value(json_object_get(round, "round")));
    if (json_array_size(parameters) > 0) {
        printf("  at parameters");
        json_array_foreach((json_t *)(uintptr_t)parameters, at, number) {
            printf(" %.10g", json_number_value(number));
        }
        printf("%s\n",
               json_is_true(json_object_get(round, "parameters_known"))
                   ? ""
                   : " (as if there were this site alone; the true ones follow from round 0)");
    }
    json_array_foreach((json_t *)(uintptr_t)json_object_get(round, "numbers"), at, number) {
        printf("  %-9s %22.15g  %s\n", json_string_value(json_object_get(number, "role")),
               json_number_value(json_object_get(number, "value")),
               json_string_value(json_object_get(number, "name")));
    }
    printf("  encoded: %lld bytes, SHA-256 %s\n"
           "  what leaves is this plus the masks of the attempt, which look random\n",
           (long long)json_integer_value(json_object_get(bytes, "length")),
           json_string_value(json_object_get(bytes, "sha256")));
}

static void show_preview(const json_t *preview)
{
    size_t at;
    const json_t *round, *masked = json_object_get(preview, "masked");
    const char *missing = json_string_value(json_object_get(preview, "round_1_not_shown"));
    long long rounds = (long long)json_integer_value(json_object_get(preview, "max_rounds"));
    printf("%s: %s\n%s of outcome %s, at most %lld round%s after round 0\n",
           json_string_value(json_object_get(preview, "query")),
           json_string_value(json_object_get(preview, "title")),
           json_string_value(json_object_get(preview, "analysis")),
           json_string_value(json_object_get(preview, "outcome")), rounds, rounds == 1 ? "" : "s");
    json_array_foreach((json_t *)(uintptr_t)json_object_get(preview, "rounds"), at, round) {
        show_round(round);
    }
    if (missing != NULL) {
        printf("round 1 cannot be shown from this site's data alone: %s\n", missing);
    }
    if (masked != NULL) {
        printf("round %lld left: %lld masked bytes, SHA-256 %s\n",
               (long long)json_integer_value(json_object_get(masked, "round")),
               (long long)json_integer_value(json_object_get(masked, "length")),
               json_string_value(json_object_get(masked, "sha256")));
    }
}

/* Commands to the running vault need no store. */
static nof1_rc ask_vault(struct nof1_steward *steward, json_t **reply, const char *command,
                         const char *query)
{
    steward->arena = nof1_arena_new();
    ENSURE(steward->arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_steward_person(steward));
    return nof1_steward_ask(steward, reply,
                            json_pack("{s:s, s:s*, s:s}", "command", command, "query", query, "by",
                                      steward->person.name));
}

static nof1_rc preview(struct nof1_steward *steward, const char *query)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *reply = NULL;
    TRY(ask_vault(steward, &reply, "preview", query));
    json_t *shown = json_object_get(reply, "preview");
    if (steward->json) {
        return nof1_steward_print(json_incref(shown));
    }
    show_preview(shown);
    return NOF1_OK;
}

int nof1_command_preview(int argc, char **argv)
{
    const char *query = NULL;
    struct nof1_steward steward = {0};
    const struct nof1_argument options[] = {
        {"dir", "DIR", &steward.folder, NULL, "the vault's folder", false},
        {"admin", "PATH", &steward.admin, NULL,
         "the vault's admin socket; default DIR/" NOF1_SITE_ADMIN, false},
        {"json", NULL, NULL, &steward.json, "answer as JSON, with the bytes", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text text = {"nof1-node preview QUERY --dir DIR", "", options, 0};
    int code = nof1_command_line(&text, 1, &query, argc, argv, 2);
    if (code >= 0) {
        return code;
    }
    if (steward.folder == NULL && steward.admin == NULL) {
        return nof1_steward_missing("--dir DIR");
    }
    return nof1_steward_close(&steward, preview(&steward, query));
}

/* ---- status, pause, resume, approve, refuse -------------------------------------- */

static nof1_rc ask(struct nof1_steward *steward, const char *command, const char *query)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *reply = NULL;
    TRY(ask_vault(steward, &reply, command, query));
    json_t *status = json_object_get(reply, "status");
    if (status != NULL) {
        return nof1_steward_print(json_incref(status));
    }
    return steward->json ? nof1_steward_print(json_pack("{s:b}", "ok", 1)) : NOF1_OK;
}

int nof1_command_ask(int argc, char **argv, const char *command, bool with_query)
{
    const char *query = NULL;
    bool decision = strcmp(command, "status") != 0;
    struct nof1_steward steward = {0};
    const struct nof1_argument options[] = {
        {"dir", "DIR", &steward.folder, NULL, "the vault's folder", false},
        {"admin", "PATH", &steward.admin, NULL,
         "the vault's admin socket; default DIR/" NOF1_SITE_ADMIN, false},
        {"json", NULL, NULL, &steward.json, "answer as JSON", false},
        {decision ? "by" : NULL, "NAME", &steward.by, NULL,
         "your name, for the ledger; default: the account", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text text = {with_query ? "nof1-node approve|refuse QUERY --dir DIR"
                                                    : "nof1-node status|pause|resume --dir DIR",
                                         with_query ? "A refusal is final.\n" : "", options, 0};
    int code = nof1_command_line(&text, with_query ? 1 : 0, &query, argc, argv, 2);
    if (code >= 0) {
        return code;
    }
    if (steward.folder == NULL && steward.admin == NULL) {
        return nof1_steward_missing("--dir DIR");
    }
    return nof1_steward_close(&steward, ask(&steward, command, query));
}
