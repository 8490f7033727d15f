/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What must hold when a case is over: see check.h.
 */
#include "check.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include <sys/store.h>

struct tally {
    uint64_t entries;
    int64_t last;
    bool ordered, readable;
    unsigned released, charged, accepted;
};

static nof1_rc_value count_entry(void *context, const struct nof1_entry *entry)
{
    struct tally *tally = context;
    tally->entries++;
    tally->ordered = tally->ordered && entry->seq == tally->entries && entry->at >= tally->last;
    tally->last = entry->at;
    json_t *body = json_loadb((const char *)entry->body.data, entry->body.length, 0, NULL);
    tally->readable = tally->readable && json_is_object(body);
    json_decref(body);
    tally->released += strcmp(entry->kind, "result.released") == 0;
    tally->charged += strcmp(entry->kind, "query.charged") == 0;
    return NOF1_OK;
}

static bool sound(const char *path)
{
    sqlite3 *database = NULL;
    sqlite3_stmt *statement = NULL;
    bool good =
        sqlite3_open_v2(path, &database, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(database, "PRAGMA integrity_check", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW &&
        strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0;
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return good;
}

static bool count_ledger(struct tally *tally, const char *path)
{
    struct nof1_store *store NOF1_CLEANUP(nof1_store_closep) = NULL;
    struct nof1_error error = {0};
    *tally = (struct tally){.ordered = true, .readable = true};
    return sound(path) && nof1_store_open_read(&store, path, &error) == NOF1_OK &&
           nof1_store_entries(store, 1, count_entry, tally) == NOF1_OK && tally->ordered &&
           tally->readable;
}

/* Ledgers in one piece, the result released once and charged once everywhere. */
const char *check_stores(const struct consortium *c, bool released)
{
    char path[600];
    struct tally tally;
    snprintf(path, sizeof path, "%s/coordinator/coordinator.sqlite", c->folder);
    if (!count_ledger(&tally, path)) {
        return "the coordinator's ledger is not whole";
    }
    if (released && tally.released != 2) { /* the census and the query */
        return "the coordinator's ledger does not hold each release once";
    }
    for (int s = 0; s < SITES; s++) {
        snprintf(path, sizeof path, "%s/%d/site.sqlite", c->folder, s);
        if (!count_ledger(&tally, path)) {
            return "a site's ledger is not whole";
        }
        if (released && tally.charged != 2) { /* likewise */
            return "a site's ledger does not hold the charge once";
        }
    }
    return NULL;
}

const char *check_budgets(const struct consortium *c)
{
    static char why[300];
    for (int s = 0; s < SITES; s++) {
        char answer[8192] = "";
        if (!ask_vault(c, s, "{\"command\":\"status\"}\n", answer, sizeof answer)) {
            return "a vault does not answer its admin socket";
        }
        json_t *status = json_loads(answer, 0, NULL);
        const json_t *budget = json_object_get(json_object_get(status, "status"), "budget");
        json_int_t queries = json_integer_value(json_object_get(budget, "queries"));
        json_decref(status);
        if (queries != 1) {
            snprintf(why, sizeof why, "site %d charged %d queries", s, (int)queries);
            return why;
        }
    }
    return NULL;
}

/* Everything that is not about when and where; signatures differ in length, so the bytes do. */
json_t *read_result(const struct consortium *c)
{
    char path[600];
    snprintf(path, sizeof path, "%s/result.json", c->folder);
    json_t *result = json_load_file(path, 0, NULL);
    json_object_del(result, "provenance");
    json_t *site;
    size_t index;
    json_array_foreach(json_object_get(json_object_get(result, "privacy"), "sites_each"), index,
                       site)
    {
        json_object_del(site, "bytes_in");
        json_object_del(site, "bytes_out");
    }
    return result;
}

const char *check_result(const struct consortium *c, const json_t *expected, const char *folder)
{
    json_t *result = read_result(c);
    bool same = result != NULL && json_equal(result, expected);
    if (!same && result != NULL) {
        char path[600];
        snprintf(path, sizeof path, "%s/different.json", folder);
        (void)json_dump_file(result, path, JSON_INDENT(1) | JSON_SORT_KEYS);
        snprintf(path, sizeof path, "%s/expected.json", folder);
        (void)json_dump_file(expected, path, JSON_INDENT(1) | JSON_SORT_KEYS);
    }
    json_decref(result);
    return same ? NULL : "the result is not that of the undisturbed run";
}
