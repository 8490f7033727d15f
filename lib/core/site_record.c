/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a site remembers across restarts, as canonical JSON behind the store port, and its ledger
 * entries. Keys: "plan/HEX" (a charged plan), "atoms/FAMILY", "census/EPOCH", "paused",
 * "approval/HEX", "declined/HEX", "stopped", "used/HEX". Budgets are counted from the charged
 * plans, so that a plan and its charge are one durable write. No key of a patient enters the
 * ledger.
 */
#include <core/site_parts.h>

#include <stdlib.h>
#include <string.h>

#include <base/document.h>
#include <base/json.h>
#include <core/census.h>

static nof1_rc add_json(struct nof1_site *site, enum nof1_action_kind kind, const char *key,
                        json_t *value)
{
    json_t *owned NOF1_CLEANUP(nof1_json_freep) = value;
    struct nof1_buffer bytes NOF1_CLEANUP(nof1_buffer_free) = {0};
    ENSURE(owned != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_canonical_write(&bytes, owned));
    return nof1_actions_add(site->actions,
                            (struct nof1_action){.kind = kind, .key = key, .peer = "",
                                                 .bytes = nof1_buffer_slice(&bytes)});
}

nof1_rc nof1_site_put(struct nof1_site *site, const char *key, json_t *value)
{
    return add_json(site, NOF1_ACTION_PUT, key, value);
}

nof1_rc nof1_site_append(struct nof1_site *site, const char *kind, const uint8_t *h_q,
                         json_t *fields)
{
    json_t *entry = fields == NULL ? json_object() : fields;
    bool ok = entry != NULL && json_object_set_new(entry, "kind", json_string(kind)) == 0 &&
              json_object_set_new(entry, "site", json_string(site->config.id)) == 0 &&
              json_object_set_new(entry, "time", json_integer(site->now)) == 0;
    if (ok && h_q != NULL) {
        char hex[SITE_HEX];
        nof1_hex_text(hex, h_q, NOF1_HASH_BYTES);
        ok = json_object_set_new(entry, "query", json_string(hex)) == 0;
    }
    if (!ok) {
        json_decref(entry);
        return NOF1_E_NO_MEMORY;
    }
    return add_json(site, NOF1_ACTION_APPEND, kind, entry);
}

struct site_record *nof1_site_record(const struct nof1_site *site, const uint8_t *h_q)
{
    for (struct site_record *r = site->records; r != NULL; r = r->next) {
        if (memcmp(r->h_q, h_q, sizeof r->h_q) == 0) {
            return r;
        }
    }
    return NULL;
}

/* ---- writing a record ------------------------------------------------------------ */

static json_t *round_json(const struct site_record_round *round)
{
    char hex[SITE_HEX];
    nof1_hex_text(hex, round->total, NOF1_HASH_BYTES);
    json_t *parameters = json_array();
    for (size_t p = 0; p < round->parameters; p++) {
        if (json_array_append_new(parameters, nof1_json_double(round->parameter[p])) != 0) {
            json_decref(parameters);
            return NULL;
        }
    }
    return json_pack("{s:b, s:o, s:s}", "answered", round->answered ? 1 : 0, "parameters",
                     parameters, "total", round->known ? hex : "");
}

static json_t *numbers_json(const uint32_t *number, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < count; i++) {
        if (json_array_append_new(list, json_integer(number[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *record_json(const struct site_record *record)
{
    json_t *rounds = json_array();
    bool ok = rounds != NULL;
    for (size_t r = 0; ok && r < record->rounds; r++) {
        ok = json_array_append_new(rounds, round_json(&record->round[r])) == 0;
    }
    if (!ok) {
        json_decref(rounds);
        return NULL;
    }
    char question[SITE_HEX];
    nof1_hex_text(question, record->question, NOF1_HASH_BYTES);
    return json_pack(
        "{s:I, s:I, s:b, s:b, s:b, s:s, s:o, s:s, s:o, s:o, s:o, s:[I, I, I]}", "epoch",
        (json_int_t)record->epoch, "day", (json_int_t)record->day, "census", record->census ? 1 : 0,
        "opened", record->opened ? 1 : 0, "closed", record->closed ? 1 : 0, "objected",
        record->objected == NOF1_OK ? "" : nof1_rc_code(record->objected), "rho",
        nof1_json_double(record->rho), "question", question, "rounds", rounds, "parts",
        numbers_json(record->part, record->parts), "moved",
        numbers_json(record->move, record->moves), "changed", (json_int_t)record->changed[0],
        (json_int_t)record->changed[1], (json_int_t)record->changed[2]);
}

nof1_rc nof1_site_put_record(struct nof1_site *site, const struct site_record *record)
{
    char hex[SITE_HEX];
    nof1_hex_text(hex, record->h_q, NOF1_HASH_BYTES);
    const char *key = nof1_arena_printf(site->scratch, "plan/%s", hex);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    return nof1_site_put(site, key, record_json(record));
}

/* ---- reading back ------------------------------------------------------------ */

struct reading {
    struct nof1_site *site;
    struct nof1_arena *arena; /* of the document being read */
    struct nof1_error *error;
};

static nof1_rc read_rounds(struct site_record *record, struct nof1_arena *arena,
                           const struct nof1_node *list, struct nof1_error *error)
{
    record->rounds = list->items;
    record->round = nof1_arena_alloc(arena, list->items, sizeof *record->round);
    ENSURE(record->round != NULL, NOF1_E_NO_MEMORY);
    for (size_t r = 0; r < list->items; r++) {
        struct site_record_round *round = &record->round[r];
        const struct nof1_node *parameters = nof1_node_get(&list->item[r], "parameters");
        const char *total = NULL;
        ENSURE(parameters != NULL, NOF1_E_STORE);
        TRY(nof1_node_flag(&round->answered, &list->item[r], "answered", error));
        TRY(nof1_node_text(&total, &list->item[r], "total", error));
        round->known = nof1_hex_read(round->total, NOF1_HASH_BYTES, total);
        round->parameters = parameters->items;
        round->parameter = nof1_arena_alloc(arena, parameters->items, sizeof *round->parameter);
        ENSURE(round->parameter != NULL, NOF1_E_NO_MEMORY);
        for (size_t p = 0; p < parameters->items; p++) {
            TRY(nof1_scalar_double(&round->parameter[p], &parameters->item[p], error));
        }
    }
    return NOF1_OK;
}

static nof1_rc read_numbers(uint32_t **out, size_t *count, struct nof1_arena *arena,
                            const struct nof1_node *list)
{
    *count = list == NULL ? 0 : list->items;
    *out = nof1_arena_alloc(arena, *count + 1, sizeof **out);
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < *count; i++) {
        (*out)[i] = (uint32_t)strtoul(list->item[i].text, NULL, 10);
    }
    return NOF1_OK;
}

/* Stores written before the field was there hold nothing that changed in part. */
static nof1_rc read_changed(struct site_record *record, const struct nof1_node *node)
{
    const struct nof1_node *changed = nof1_node_get(node, "changed");
    if (changed == NULL) {
        return NOF1_OK;
    }
    ENSURE(changed->items == SITE_CHANGED, NOF1_E_STORE);
    for (size_t c = 0; c < SITE_CHANGED; c++) {
        record->changed[c] = strtoull(changed->item[c].text, NULL, 10);
    }
    return NOF1_OK;
}

/* Stores written before the field was there hold no objection. */
static nof1_rc read_objected(struct site_record *record, const struct nof1_node *node,
                             struct nof1_error *error)
{
    const char *code = "";
    if (nof1_node_get(node, "objected") != NULL) {
        TRY(nof1_node_text(&code, node, "objected", error));
    }
    record->objected = code[0] == 0 ? NOF1_OK : nof1_rc_from_code(code);
    ENSURE(record->objected != NOF1_RC_COUNT, NOF1_E_STORE);
    return NOF1_OK;
}

/* Stores written before the fields were there hold no noisy counts. */
static nof1_rc read_noise(struct site_record *record, const struct nof1_node *node,
                          struct nof1_error *error)
{
    const char *question = "";
    if (nof1_node_get(node, "rho") == NULL) {
        return NOF1_OK;
    }
    TRY(nof1_node_double(&record->rho, node, "rho", error));
    TRY(nof1_node_text(&question, node, "question", error));
    ENSURE(nof1_hex_read(record->question, NOF1_HASH_BYTES, question), NOF1_E_STORE);
    return NOF1_OK;
}

static nof1_rc read_record(struct site_record *record, struct nof1_arena *arena,
                           const struct nof1_node *node, struct nof1_error *error)
{
    int64_t epoch = 0;
    const struct nof1_node *rounds = nof1_node_get(node, "rounds");
    const struct nof1_node *parts = nof1_node_get(node, "parts");
    ENSURE(rounds != NULL && parts != NULL, NOF1_E_STORE);
    TRY(nof1_node_integer(&epoch, node, "epoch", 0, UINT32_MAX, error));
    TRY(nof1_node_integer(&record->day, node, "day", 0, INT32_MAX, error));
    TRY(nof1_node_flag(&record->census, node, "census", error));
    TRY(nof1_node_flag(&record->opened, node, "opened", error));
    TRY(nof1_node_flag(&record->closed, node, "closed", error));
    record->epoch = (uint32_t)epoch;
    TRY(read_objected(record, node, error));
    TRY(read_changed(record, node));
    TRY(read_noise(record, node, error));
    TRY(read_numbers(&record->part, &record->parts, arena, parts));
    TRY(read_numbers(&record->move, &record->moves, arena, nof1_node_get(node, "moved")));
    return read_rounds(record, arena, rounds, error);
}

static nof1_rc_value visit_record(void *context, const char *key, struct nof1_slice value)
{
    struct reading *reading = context;
    struct nof1_site *site = reading->site;
    const struct nof1_node *node = NULL;
    struct site_record *record = nof1_arena_alloc(site->arena, 1, sizeof *record);
    ENSURE(record != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_canonical_read(&node, reading->arena, value, reading->error));
    if (!nof1_hex_read(record->h_q, NOF1_HASH_BYTES, key + strlen("plan/"))) {
        return nof1_fail(reading->error, NOF1_E_STORE, "a stored plan has no hash");
    }
    TRY(read_record(record, site->arena, node, reading->error));
    record->next = site->records;
    site->records = record;
    return NOF1_OK;
}

static nof1_rc_value visit_paused(void *context, const char *key, struct nof1_slice value)
{
    struct reading *reading = context;
    if (strcmp(key, "paused") == 0) {
        reading->site->paused = nof1_slice_equal(value, nof1_slice_text("{\"paused\":true}"));
    }
    return NOF1_OK;
}

nof1_rc nof1_site_add_census(struct nof1_site *site, const struct nof1_census *census)
{
    struct nof1_census *kept = nof1_arena_alloc(site->arena, 1, sizeof *kept);
    ENSURE(kept != NULL, NOF1_E_NO_MEMORY);
    *kept = *census;
    kept->earlier = site->census;
    site->census = kept;
    return NOF1_OK;
}

static nof1_rc_value visit_census(void *context, const char *key, struct nof1_slice value)
{
    struct reading *reading = context;
    struct nof1_site *site = reading->site;
    const struct nof1_census *census = NULL;
    (void)key;
    if (value.length == 0) {
        return NOF1_OK;
    }
    nof1_rc_value rc = nof1_census_read(&census, site->arena, site->config.charter, value, NULL,
                                        reading->error);
    if (rc == NOF1_E_DECODE) { /* under an earlier charter version it is no census any more */
        return NOF1_OK;
    }
    TRY(rc);
    return nof1_site_add_census(site, census);
}

nof1_rc nof1_site_restore(struct nof1_site *site, struct nof1_error *error)
{
    const struct nof1_store_reader *store = &site->config.store;
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    struct reading reading = {site, arena, error};
    if (store->each != NULL) {
        TRY(store->each(store->self, "plan/", visit_record, &reading));
        TRY(store->each(store->self, "paused", visit_paused, &reading));
        TRY(store->each(store->self, "census/", visit_census, &reading));
        TRY(nof1_site_restore_steward(site, error));
    }
    return nof1_site_restore_atoms(site, error);
}
