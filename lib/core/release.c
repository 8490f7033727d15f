/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The release gate. The result is report() on the attested totals plus what was spent to get it
 * (`privacy`) and where it came from (`provenance`); the evidence holds every public byte from
 * which both follow: key advertisements, parameters, totals, signed digests, attestations. Neither
 * holds a masked vector or a number of a single site.
 */
#include <core/release.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <core/census_analysis.h>
#include <core/derive.h>
#include <core/epochs.h>
#include <core/entropy.h>
#include <core/ratio.h>
#include <crypto/transcript.h>
#include <stats/cells.h>
#include <stats/report.h>

#define FEW_SITES 5

nof1_rc nof1_attempt_history(struct nof1_history *out, struct attempt *attempt)
{
    size_t rounds = attempt->closed_count - 1;
    struct nof1_round_total *total = nof1_arena_alloc(attempt->arena, rounds + 1, sizeof *total);
    ENSURE(total != NULL, NOF1_E_NO_MEMORY);
    for (size_t r = 0; r < rounds; r++) {
        const struct closed_round *closed = &attempt->closed[r + 1];
        total[r] = (struct nof1_round_total){
            .parameters = closed->parameters,
            .elements = closed->elements - NOF1_CHECK_ELEMENTS,
            .parameter = closed->parameter,
            .total = closed->value + NOF1_CHECK_ELEMENTS,
        };
    }
    *out = (struct nof1_history){.counts = attempt->counts, .rounds = rounds, .round = total};
    return NOF1_OK;
}

/* ---- privacy --------------------------------------------------------------------------------- */

static uint64_t scalars_of(const struct attempt *attempt, enum nof1_role role)
{
    uint64_t scalars = 0;
    for (size_t r = 0; r < attempt->closed_count; r++) {
        const struct nof1_layout *layout = &attempt->closed[r].layout;
        for (size_t e = 0; e < layout->elements; e++) {
            scalars += layout->element[e].role == role ? 1 : 0;
        }
    }
    return scalars;
}

/* What the release spends: the largest share of released outcome numbers among the numbers that the
 * patients hold, and the bits that remain open about discrete outcomes (null: the rule is not
 * needed). */
static nof1_rc measures(json_t **ratio, json_t **bits, const struct nof1_coordinator *coordinator,
                        const struct run *run)
{
    const struct nof1_model *model = run->query->model;
    const struct nof1_counts *counts = &run->attempt->counts;
    struct nof1_loads loads = {0};
    double left = INFINITY;
    TRY(nof1_loads_of(&loads, run->attempt->arena, model));
    uint64_t spent = nof1_ratio_groups(&loads, model->groups, counts->patients,
                                       counts->group_patients, 0, NULL);
    if (!run->census) {
        (void)nof1_entropy_allows(&left, model, &loads,
                                  coordinator->config.charter->limits.min_entropy_bits,
                                  counts->patients, counts->group_patients, 0, NULL);
    }
    *ratio = spent >= NOF1_RATIO_NONE ? json_null()
                                      : nof1_json_number((double)spent / (double)NOF1_RATIO_UNIT);
    *bits = nof1_json_number(left);
    return NOF1_OK;
}

/* Totals over the roster, as every site of it has seen them. */
static json_t *groups_json(const struct run *run)
{
    const struct nof1_counts *counts = &run->attempt->counts;
    json_t *list = json_array();
    for (size_t g = 0; list != NULL && g < run->query->model->groups; g++) {
        list = nof1_json_row(list, json_pack("{s:s, s:I, s:I, s:I}", "group",
                                             run->query->model->group[g], "patients",
                                             (json_int_t)counts->group_patients[g], "trials",
                                             (json_int_t)counts->group_trials[g], "sites",
                                             (json_int_t)counts->group_sites[g]));
    }
    return list;
}

static json_t *sites_each(const struct nof1_coordinator *coordinator, const struct run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < run->query->sites; i++) {
        const size_t site = run->query->site[i];
        list = nof1_json_row(list, json_pack("{s:s, s:I, s:I}", "site",
                                        coordinator->config.charter->site[site].id, "bytes_in",
                                        (json_int_t)run->attempt->bytes_in[i], "bytes_out",
                                        (json_int_t)run->attempt->bytes_out[i]));
    }
    return list;
}

static nof1_rc privacy_of(json_t **out, const struct nof1_coordinator *coordinator,
                          const struct run *run)
{
    const struct attempt *attempt = run->attempt;
    const struct nof1_charter *charter = coordinator->config.charter;
    json_t *ratio = NULL;
    json_t *bits = NULL;
    TRY(measures(&ratio, &bits, coordinator, run));
    double left_out = nof1_cells_left_out(&charter->limits, attempt->counts.left_out);
    *out = json_pack(
        "{s:s, s:I, s:I, s:i, s:o, s:o, s:i, s:I, s:I, s:o, s:s, s:o, s:o}", "policy",
        charter->limits.open ? "open: lab, no disclosure control" : "charter", "scalars",
        (json_int_t)scalars_of(attempt, NOF1_OUTCOME), "design_scalars",
        (json_int_t)scalars_of(attempt, NOF1_DESIGN), "rounds", (int)attempt->closed_count - 1,
        "ratio", ratio, "entropy_bits", bits, "sites", (int)run->query->sites, "trials",
        (json_int_t)attempt->counts.trials, "patients", (json_int_t)attempt->counts.patients,
        "left_out", isnan(left_out) ? json_null() : json_integer((json_int_t)left_out), "form",
        run->query->model->form == NULL ? "" : run->query->model->form, "classes",
        groups_json(run), "sites_each",
        sites_each(coordinator, run));
    return *out == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

static json_t *provenance_of(const struct nof1_coordinator *coordinator, const struct run *run)
{
    const struct nof1_plan *plan = run->query->study.plan;
    return json_pack("{s:s, s:o, s:o, s:s, s:i, s:I}", "plan", run->hex, "charter",
                     nof1_hex_json(coordinator->config.charter->hash, NOF1_HASH_BYTES), "epoch",
                     nof1_epochs_json(plan->epoch, plan->block_epoch, plan->blocks), "software",
                     coordinator->software, "attempt", (int)run->attempt_number, "ledger_index",
                     (json_int_t)coordinator->entries);
}

/* ---- evidence -------------------------------------------------------------------------------- */

static json_t *hex_of(ProtobufCBinaryData bytes)
{
    return nof1_hex_json(bytes.data, bytes.len);
}

static json_t *key_ads_json(const struct run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < run->query->sites; i++) {
        const Nof1__V1__KeyAd *ad = run->attempt->key_ad[i];
        list = nof1_json_row(list,
                             json_pack("{s:s, s:o, s:o, s:o, s:o}", "site", ad->site, "attempt",
                                       hex_of(ad->attempt), "x25519", hex_of(ad->x25519), "nonce",
                                       hex_of(ad->nonce), "signature", hex_of(ad->signature)));
    }
    return list;
}

static json_t *doubles_json(const double *value, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < count; i++) {
        list = nof1_json_row(list, nof1_json_double(value[i]));
    }
    return list;
}

static json_t *masked_json(const struct run *run, const struct closed_round *closed)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < run->query->sites; i++) {
        const struct nof1_slice signature = closed->signature[i];
        list = nof1_json_row(list,
                        json_pack("{s:s, s:o, s:o}", "site", run->attempt->key_ad[i]->site,
                                  "digest", nof1_hex_json(closed->digest[i], NOF1_HASH_BYTES),
                                  "signature", nof1_hex_json(signature.data, signature.length)));
    }
    return list;
}

static json_t *rounds_json(const struct run *run)
{
    const struct attempt *attempt = run->attempt;
    json_t *list = json_array();
    for (size_t r = 0; list != NULL && r < attempt->closed_count; r++) {
        const struct closed_round *closed = &attempt->closed[r];
        list = nof1_json_row(
            list, json_pack("{s:i, s:o, s:o, s:o, s:o}", "round", (int)closed->round, "parameters",
                            doubles_json(closed->parameter, closed->parameters), "total",
                            nof1_hex_json(closed->total, closed->elements * NOF1_RING_BYTES),
                            "transcript", nof1_hex_json(closed->transcript, NOF1_HASH_BYTES),
                            "masked", masked_json(run, closed)));
    }
    return list;
}

static json_t *attests_json(const struct run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < run->query->sites; i++) {
        const Nof1__V1__Attest *attest = run->attempt->attest[i];
        list = nof1_json_row(list, json_pack("{s:s, s:i, s:o, s:o}", "site", attest->site, "round",
                                        (int)attest->round, "transcript",
                                        hex_of(attest->transcript), "signature",
                                        hex_of(attest->signature)));
    }
    return list;
}

static json_t *evidence_of(const struct nof1_coordinator *coordinator, const struct run *run)
{
    return json_pack("{s:s, s:s%, s:o, s:s, s:o, s:o, s:o, s:o, s:i}", "query", run->hex, "plan",
                     (const char *)run->plan.data, run->plan.length, "signature",
                     nof1_hex_json(run->signature.data, run->signature.length), "statistician",
                     run->statistician, "charter",
                     nof1_hex_json(coordinator->config.charter->hash, NOF1_HASH_BYTES), "key_ads",
                     key_ads_json(run), "rounds", rounds_json(run), "attests", attests_json(run),
                     "attempt", (int)run->attempt_number);
}

/* ---- the census ------------------------------------------------------------------------------ */

static nof1_rc census_bytes(struct nof1_buffer *out, const struct nof1_coordinator *coordinator,
                            const struct run *run)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    const struct attempt *attempt = run->attempt;
    const struct closed_round *closed = &attempt->closed[attempt->closed_count - 1];
    const struct nof1_census *census = NULL;
    TRY(nof1_census_from_totals(&census, attempt->arena, charter, run->query->study.plan,
                                closed->value + NOF1_CHECK_ELEMENTS));
    return nof1_census_canonical(out, census, charter);
}

static nof1_rc store_census(struct nof1_coordinator *coordinator, const struct run *run)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    TRY(census_bytes(&bytes, coordinator, run));
    struct nof1_slice census = nof1_buffer_slice(&bytes);
    TRY(nof1_coordinator_keep_census(coordinator, census, NULL));
    const struct nof1_plan *plan = run->query->study.plan;
    struct nof1_arena *arena = coordinator->actions->arena;
    const char *text = nof1_epochs_text(arena, plan->epoch, plan->block_epoch, plan->blocks);
    const char *key = text == NULL ? NULL : nof1_arena_printf(arena, "census/%s", text);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_actions_add(coordinator->actions, (struct nof1_action){.kind = NOF1_ACTION_PUT,
                                                                    .key = key,
                                                                    .bytes = census}));
    return nof1_atom_lists_epoch(coordinator);
}

/* Only once the release is in the ledger. */
static nof1_rc tell_census(struct nof1_coordinator *coordinator, const struct run *run)
{
    for (size_t i = 0; i < run->query->sites; i++) {
        if (nof1_run_ready(coordinator, run, i)) {
            TRY(nof1_coordinator_send_census(coordinator, run->query->site[i],
                                             coordinator->census));
        }
    }
    return NOF1_OK;
}

/* ---- release --------------------------------------------------------------------------------- */

static nof1_rc complete(json_t *result, const struct nof1_coordinator *coordinator,
                        const struct run *run)
{
    json_t *privacy = NULL;
    TRY(privacy_of(&privacy, coordinator, run));
    bool kept = json_object_set_new(result, "schema_version", json_integer(1)) == 0;
    kept = json_object_set_new(result, "privacy", privacy) == 0 && kept;
    kept = json_object_set_new(result, "provenance", provenance_of(coordinator, run)) == 0 && kept;
    return kept ? NOF1_OK : NOF1_E_NO_MEMORY;
}

/* Of the whole result, what the framework adds included: nothing small, whatever analysis made it.
 */
static nof1_rc gate(const json_t *result, const struct run *run, struct nof1_error *error)
{
    const struct nof1_query *query = run->query;
    return nof1_cells_gate(result, &query->study.charter->limits,
                           !query->census && query->analysis->tables, error);
}

/* Is the term the covariate, alone or after a colon (treatment:age)? */
static bool is_term(const char *text, const char *name)
{
    size_t length = text == NULL ? 0 : strlen(text), own = strlen(name);
    return length >= own && strcmp(text + length - own, name) == 0 &&
           (length == own || text[length - own - 1] == ':');
}

/* Does an option name the covariate, itself or in its list? */
static bool uses(const struct nof1_plan *plan, const char *name)
{
    bool used = false;
    for (size_t o = 0; plan->options != NULL && o < plan->options->items; o++) {
        const struct nof1_node *option = &plan->options->item[o];
        used = used || is_term(option->text, name);
        for (size_t i = 0; i < option->items; i++) {
            used = used || is_term(option->item[i].text, name);
        }
    }
    return used;
}

/* Who compares with a fit of the pooled data needs the values that the sites had. */
static void warn_coded(json_t *warnings, const struct nof1_study *study)
{
    for (size_t c = 0; c < study->charter->covariates; c++) {
        const struct nof1_covariate *v = &study->charter->covariate[c];
        char text[512], step[NOF1_DOUBLE_TEXT];
        if (!(v->quantum > 0) || !uses(study->plan, v->name)) {
            continue;
        }
        nof1_double_short(step, v->quantum);
        snprintf(text, sizeof text,
                 "%.64s is coded in steps of %s: compare with floor(%.64s / %s + 0.5) * %s, within "
                 "the charter's bounds",
                 v->name, step, v->name, step, step);
        nof1_warn(warnings, true, "coded", text);
    }
}

/* What the analysis has to say. Caller frees. */
static nof1_rc report(json_t **out, const struct run *run, const struct nof1_history *history,
                      struct nof1_arena *arena, struct nof1_error *error)
{
    const struct nof1_model *model = run->query->model;
    TRY(model->analysis->report(model, history, arena, out, error));
    nof1_warn(json_object_get(*out, "warnings"), run->query->sites < FEW_SITES, "few_sites",
              "fewer than five sites: how far sites differ, and whether others would, cannot be "
              "told");
    if (!run->query->census) {
        warn_coded(json_object_get(*out, "warnings"), &run->query->study);
    }
    return NOF1_OK;
}

nof1_rc nof1_release(struct nof1_coordinator *coordinator, struct run *run)
{
    struct nof1_history history;
    struct nof1_error error = {0};
    NOF1_CLEANUP(nof1_json_freep) json_t *result = NULL;
    TRY(nof1_attempt_history(&history, run->attempt));
    nof1_rc_value rc = report(&result, run, &history, run->attempt->arena, &error);
    rc = rc == NOF1_OK ? complete(result, coordinator, run) : rc;
    rc = rc == NOF1_OK ? gate(result, run, &error) : rc;
    if (rc == NOF1_E_NO_MEMORY) {
        return rc;
    }
    if (rc != NOF1_OK) {
        return nof1_run_refuse(coordinator, run, rc, error.message);
    }
    if (run->census) {
        TRY(store_census(coordinator, run));
    }
    TRY(nof1_epochs_used(coordinator, run));
    TRY(nof1_run_atoms(coordinator, run, true));
    TRY(nof1_run_release(coordinator, run, json_incref(result), evidence_of(coordinator, run)));
    return run->census ? tell_census(coordinator, run) : NOF1_OK;
}

/* ---- answered by an earlier release ---------------------------------------------------------- */

struct evidence_copy {
    struct nof1_arena *arena;
    struct nof1_slice bytes;
};

static nof1_rc_value copy_evidence(void *context, const char *key, struct nof1_slice value)
{
    struct evidence_copy *copy = context;
    (void)key;
    copy->bytes = nof1_arena_copy(copy->arena, value);
    return copy->bytes.data == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

/* The totals of `earlier` as totals of `run`. Errors: NOF1_E_NOT_FOUND when they do not follow. */
static nof1_rc derive_from(struct nof1_history *out, const struct nof1_coordinator *coordinator,
                           const struct run *run, const struct run *earlier,
                           struct nof1_arena *arena)
{
    const struct nof1_store_reader *store = &coordinator->config.store;
    const struct nof1_plan *plan = run->query->study.plan;
    struct nof1_query *query = NULL;
    struct evidence_copy copy = {.arena = arena};
    const char *key = nof1_arena_printf(arena, "evidence/%s", earlier->hex);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = nof1_query_new(&query, coordinator->config.charter,
                                      nof1_coordinator_censuses(coordinator),
                                      earlier->plan, NULL);
    if (rc != NOF1_OK) { /* of an earlier charter or epoch */
        return rc == NOF1_E_NO_MEMORY ? rc : NOF1_E_NOT_FOUND;
    }
    struct nof1_history history;
    rc = nof1_derive_same_series(plan, query->study.plan) ? NOF1_OK : NOF1_E_NOT_FOUND;
    rc = rc == NOF1_OK ? store->each(store->self, key, copy_evidence, &copy) : rc;
    rc = rc == NOF1_OK && copy.bytes.length == 0 ? NOF1_E_NOT_FOUND : rc;
    rc = rc == NOF1_OK ? nof1_derive_read(&history, query, copy.bytes, arena) : rc;
    rc = rc == NOF1_OK ? nof1_derive(out, run->query->model, query->model, &history, arena) : rc;
    nof1_query_free(query);
    return rc;
}

/* What it cost the patients: nothing beyond the release that it rests on. */
static nof1_rc complete_derived(json_t *result, const struct nof1_coordinator *coordinator,
                                const struct run *run, const struct run *earlier)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *privacy =
        json_copy(json_object_get(earlier->result, "privacy"));
    NOF1_CLEANUP(nof1_json_freep) json_t *spent =
        json_pack("{s:i, s:i, s:i, s:s, s:[], s:s}", "scalars", 0, "design_scalars", 0, "rounds", 0,
                  "form", run->query->model->form == NULL ? "" : run->query->model->form,
                  "sites_each", "derived_from", earlier->hex);
    json_t *provenance = provenance_of(coordinator, run);
    bool kept = spent != NULL && json_object_update(privacy, spent) == 0;
    kept = json_object_set_new(provenance, "derived_from", json_string(earlier->hex)) == 0 && kept;
    kept = json_object_set_new(result, "provenance", provenance) == 0 && kept;
    kept = json_object_set(result, "privacy", privacy) == 0 && kept;
    kept = json_object_set_new(result, "schema_version", json_integer(1)) == 0 && kept;
    return kept ? NOF1_OK : NOF1_E_NO_MEMORY;
}

static nof1_rc release_derived(struct nof1_coordinator *coordinator, struct run *run,
                               const struct run *earlier, const struct nof1_history *history,
                               struct nof1_arena *arena)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *result = NULL;
    struct nof1_error error = {0};
    nof1_rc_value rc = report(&result, run, history, arena, &error);
    rc = rc == NOF1_OK ? complete_derived(result, coordinator, run, earlier) : rc;
    rc = rc == NOF1_OK ? gate(result, run, &error) : rc;
    if (rc == NOF1_E_NO_MEMORY) {
        return rc;
    }
    if (rc != NOF1_OK) {
        return nof1_run_refuse(coordinator, run, rc, error.message);
    }
    json_t *evidence = json_pack(
        "{s:s, s:s%, s:o, s:s, s:o, s:s}", "query", run->hex, "plan", (const char *)run->plan.data,
        run->plan.length, "signature", nof1_hex_json(run->signature.data, run->signature.length),
        "statistician", run->statistician, "charter",
        nof1_hex_json(coordinator->config.charter->hash, NOF1_HASH_BYTES), "derived_from",
        earlier->hex);
    return nof1_run_release(coordinator, run, json_incref(result), evidence);
}

nof1_rc nof1_run_derive(struct nof1_coordinator *coordinator, struct run *run)
{
    if (run->query->model->sums == NULL || coordinator->config.store.each == NULL) {
        return NOF1_OK;
    }
    for (const struct run *earlier = coordinator->runs; earlier != NULL; earlier = earlier->next) {
        bool evidence = earlier->state == RUN_RELEASED && !earlier->census &&
                        json_object_get(json_object_get(earlier->result, "provenance"),
                                        "derived_from") == NULL;
        if (earlier == run || !evidence) {
            continue;
        }
        NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
        ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
        struct nof1_history history;
        nof1_rc_value rc = derive_from(&history, coordinator, run, earlier, arena);
        if (rc == NOF1_OK) {
            return release_derived(coordinator, run, earlier, &history, arena);
        }
        ENSURE(rc != NOF1_E_NO_MEMORY, rc);
    }
    return NOF1_OK;
}
