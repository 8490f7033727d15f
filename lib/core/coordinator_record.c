/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the coordinator stores and what it logs (docs/architecture.md, "Durability"). One record
 * a query, rewritten when its state changes, is all a restart needs: an unfinished query is re-run.
 * Ledger entries are canonical JSON and hold totals' hashes, codes and public parameters; never a
 * site-level number, never a text that came from a site.
 */
#include <core/coordinator_parts.h>

#include <stdlib.h>
#include <string.h>

#include <base/document.h>
#include <base/json.h>
#include <base/time.h>

static const char *const state_text[] = {
    "gathering", "opening", "rounds", "closing", "released", "refused", "objected", "expired",
};

const char *nof1_run_state_text(enum run_state state)
{
    return state_text[state];
}

json_t *nof1_json_row(json_t *list, json_t *row)
{
    if (list != NULL && row != NULL && json_array_append_new(list, row) == 0) {
        return list;
    }
    if (list == NULL) {
        json_decref(row);
    }
    json_decref(list);
    return NULL;
}

nof1_rc nof1_record_put(struct nof1_coordinator *coordinator, const char *folder, const char *hex,
                        const json_t *value, bool canonical)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    ENSURE(value != NULL, NOF1_E_NO_MEMORY);
    if (canonical) {
        TRY(nof1_canonical_write(&text, value));
    } else {
        TRY(nof1_json_write(&text, value, false));
    }
    struct nof1_arena *arena = coordinator->actions->arena;
    const char *key = nof1_arena_printf(arena, "%s/%s", folder, hex);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    return nof1_actions_add(coordinator->actions,
                            (struct nof1_action){.kind = NOF1_ACTION_PUT, .key = key,
                                                 .bytes = nof1_buffer_slice(&text)});
}

nof1_rc nof1_record_run(struct nof1_coordinator *coordinator, const struct run *run)
{
    NOF1_CLEANUP(nof1_json_freep)
    json_t *record = json_pack("{s:s%, s:o, s:s, s:b, s:i, s:i, s:I, s:I, s:s}", "plan",
                               (const char *)run->plan.data, run->plan.length, "signature",
                               nof1_hex_json(run->signature.data, run->signature.length),
                               "statistician", run->statistician, "census", (int)run->census,
                               "attempt", (int)run->attempt_number, "faults", (int)run->faults,
                               "submitted", (json_int_t)run->submitted, "started",
                               (json_int_t)run->started, "state", nof1_run_state_text(run->state));
    return nof1_record_put(coordinator, "query", run->hex, record, true);
}

static bool read_state(enum run_state *out, const char *text)
{
    for (size_t i = 0; i < sizeof state_text / sizeof *state_text; i++) {
        if (strcmp(text, state_text[i]) == 0) {
            *out = (enum run_state)i;
            return true;
        }
    }
    return false;
}

static nof1_rc fill_record(struct stored_run *out, struct nof1_arena *arena, json_t *record)
{
    const char *plan = NULL;
    const char *signature = NULL;
    const char *statistician = NULL;
    const char *state = NULL;
    size_t plan_length = 0;
    int census = 0;
    int attempt = 0;
    int faults = 0;
    json_int_t submitted = 0;
    json_int_t started = 0;
    ENSURE(json_unpack(record, "{s:s%, s:s, s:s, s:b, s:i, s:i, s:I, s:I, s:s}", "plan", &plan,
                       &plan_length, "signature", &signature, "statistician", &statistician,
                       "census", &census, "attempt", &attempt, "faults", &faults,
                       "submitted", &submitted, "started", &started, "state", &state) == 0,
           NOF1_E_STORE);
    size_t signed_bytes = strlen(signature) / 2;
    uint8_t *bytes = nof1_arena_alloc(arena, signed_bytes + 1, 1);
    *out = (struct stored_run){
        .plan = nof1_arena_copy(arena, nof1_slice_of(plan, plan_length)),
        .signature = nof1_slice_of(bytes, signed_bytes),
        .statistician = nof1_arena_text(arena, statistician),
        .census = census != 0,
        .attempt_number = (uint32_t)attempt,
        .faults = (uint32_t)faults,
        .submitted = submitted,
        .started = started,
    };
    ENSURE(bytes != NULL && out->plan.data != NULL && out->statistician != NULL,
           NOF1_E_NO_MEMORY);
    ENSURE(nof1_hex_read(bytes, signed_bytes, signature) && read_state(&out->state, state),
           NOF1_E_STORE);
    return NOF1_OK;
}

nof1_rc nof1_record_read(struct stored_run *out, struct nof1_arena *arena, struct nof1_slice bytes)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *record =
        json_loadb((const char *)bytes.data, bytes.length, 0, NULL);
    ENSURE(record != NULL, NOF1_E_STORE);
    return fill_record(out, arena, record);
}

/* Who acted: the statistician who submitted, else the coordinator; by the hash of the pinned key.
 */
static json_t *actor_of(const struct nof1_coordinator *coordinator, const struct run *run,
                        const char *kind)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    struct nof1_slice spki = charter->coordinator.spki;
    const char *role = "coordinator";
    for (size_t i = 0; i < charter->statisticians && strcmp(kind, "query.submitted") == 0; i++) {
        if (strcmp(charter->statistician[i].id, run->statistician) == 0) {
            spki = charter->statistician[i].spki;
            role = "statistician";
        }
    }
    uint8_t fingerprint[NOF1_HASH_BYTES] = {0};
    if (nof1_sha256(fingerprint, spki) != NOF1_OK) {
        return NULL;
    }
    return json_pack("{s:s, s:o}", "role", role, "key",
                     nof1_hex_json(fingerprint, sizeof fingerprint));
}

nof1_rc nof1_record_entry(struct nof1_coordinator *coordinator, const struct run *run,
                          const char *kind, json_t *fields)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *entry = fields;
    char time[NOF1_TIME_TEXT];
    nof1_time_text(time, coordinator->now / 1000);
    ENSURE(entry != NULL, NOF1_E_NO_MEMORY);
    NOF1_CLEANUP(nof1_json_freep) json_t *common =
        json_pack("{s:s, s:s, s:i, s:s, s:o}", "kind", kind, "query", run->hex, "attempt",
                  (int)run->attempt_number, "time", time, "actor",
                  actor_of(coordinator, run, kind));
    ENSURE(common != NULL && json_object_update(entry, common) == 0, NOF1_E_NO_MEMORY);
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    TRY(nof1_canonical_write(&text, entry));
    TRY(nof1_actions_add(coordinator->actions,
                         (struct nof1_action){.kind = NOF1_ACTION_APPEND, .key = kind,
                                              .bytes = nof1_buffer_slice(&text)}));
    coordinator->entries += 1;
    NOF1_CLEANUP(nof1_json_freep) json_t *count =
        json_pack("{s:I}", "entries", (json_int_t)coordinator->entries);
    return nof1_record_put(coordinator, "ledger", "entries", count, true);
}
