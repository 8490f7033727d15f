/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the simulator watches and what it can be asked: one answer a round, the trace, the stores,
 * and the sums that pooling all trials in one place would give.
 */
#include "sim_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/hex.h>
#include <core/census_analysis.h>
#include <crypto/ring.h>

#include <math.h>

void sim_violate(struct sim *sim, const char *format, ...)
{
    va_list arguments;
    if (sim->violation[0] != 0) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(sim->violation, sizeof sim->violation, format, arguments);
    va_end(arguments);
    sim_note(sim, "VIOLATED: %s", sim->violation);
}

const char *sim_violation(const struct sim *sim)
{
    return sim->violation;
}

const char *sim_name(const struct sim *sim, size_t node)
{
    return node < sim->options.sites ? sim->charter->site[node].id : "coordinator";
}

/* ---- one answer a round ---------------------------------------------------------------------- */

static bool same_round(const struct sim_answer *a, const struct sim_answer *b)
{
    return a->site == b->site && a->round == b->round &&
           memcmp(a->query, b->query, 32) == 0 && memcmp(a->attempt, b->attempt, 32) == 0;
}

static void watch_masked(struct sim *sim, size_t from, const Nof1__V1__Frame *frame)
{
    struct sim_answer answer = {.site = from, .round = frame->masked->round};
    memcpy(answer.query, frame->query.data, 32);
    if (frame->attempt.len == 32) {
        memcpy(answer.attempt, frame->attempt.data, 32);
    }
    SIM_MUST(nof1_sha256(answer.digest, nof1_slice_of(frame->masked->vector.data,
                                                      frame->masked->vector.len)) == NOF1_OK);
    for (size_t i = 0; i < sim->answers; i++) {
        if (same_round(&sim->answer[i], &answer)) {
            if (memcmp(sim->answer[i].digest, answer.digest, 32) != 0) {
                sim_violate(sim, "%s answered round %u twice, differently", sim_name(sim, from),
                            answer.round);
            }
            return;
        }
    }
    if (sim->answers == sim->answer_capacity) {
        sim->answer_capacity = sim->answer_capacity == 0 ? 64 : 2 * sim->answer_capacity;
        sim->answer = realloc(sim->answer, sim->answer_capacity * sizeof answer);
        SIM_MUST(sim->answer != NULL);
    }
    sim->answer[sim->answers++] = answer;
}

/* A plan is charged before its first masked vector leaves. */
static void watch_charge(struct sim *sim, size_t from, const Nof1__V1__Frame *frame)
{
    char key[80] = "plan/";
    for (size_t i = 0; i < 32; i++) {
        snprintf(key + 5 + 2 * i, 3, "%02x", frame->query.data[i]);
    }
    if (sim_store_get(&sim->node[from].store, key).length == 0) {
        sim_violate(sim, "%s answered a plan that it has not charged", sim_name(sim, from));
    }
}

void sim_watch(struct sim *sim, size_t from, const Nof1__V1__Frame *frame)
{
    if (from < sim->options.sites && frame->body_case == NOF1__V1__FRAME__BODY_MASKED) {
        watch_masked(sim, from, frame);
        watch_charge(sim, from, frame);
    }
}

static bool first_of_its_query(const struct sim *sim, size_t index)
{
    const struct sim_answer *answer = &sim->answer[index];
    for (size_t i = 0; i < index; i++) {
        if (sim->answer[i].site == answer->site &&
            memcmp(sim->answer[i].query, answer->query, 32) == 0) {
            return false;
        }
    }
    return true;
}

bool sim_budgets_kept(struct sim *sim)
{
    for (size_t s = 0; s < sim->options.sites; s++) {
        json_t *status = sim->node[s].site == NULL ? NULL : nof1_site_status(sim->node[s].site);
        json_t *budget = json_object_get(status, "budget");
        json_int_t charged = json_integer_value(json_object_get(budget, "queries"));
        json_int_t answered = 0;
        for (size_t i = 0; i < sim->answers; i++) {
            answered += sim->answer[i].site == s && first_of_its_query(sim, i) ? 1 : 0;
        }
        bool known = status != NULL;
        json_decref(status);
        if (known && charged < answered - 1) { /* the census is free */
            return false;
        }
    }
    return true;
}

/* ---- the trace ------------------------------------------------------------------------------- */

void sim_describe(char *out, size_t size, const Nof1__V1__Frame *frame)
{
    switch (frame->body_case) {
    case NOF1__V1__FRAME__BODY_HELLO:
        snprintf(out, size, "Hello");
        break;
    case NOF1__V1__FRAME__BODY_QUERY_OFFER:
        snprintf(out, size, "QueryOffer");
        break;
    case NOF1__V1__FRAME__BODY_KEY_AD:
        snprintf(out, size, "KeyAd");
        break;
    case NOF1__V1__FRAME__BODY_ROSTER:
        snprintf(out, size, "Roster %zu", frame->roster->n_key_ad);
        break;
    case NOF1__V1__FRAME__BODY_ROUND_OPEN:
        snprintf(out, size, "RoundOpen %u", frame->round_open->round);
        break;
    case NOF1__V1__FRAME__BODY_MASKED:
        snprintf(out, size, "Masked %u", frame->masked->round);
        break;
    case NOF1__V1__FRAME__BODY_CLOSE:
        snprintf(out, size, "Close %u", frame->close->round);
        break;
    case NOF1__V1__FRAME__BODY_ATTEST:
        snprintf(out, size, "Attest %u", frame->attest->round);
        break;
    case NOF1__V1__FRAME__BODY_REFUSAL:
        snprintf(out, size, "Refusal %s", frame->refusal->code);
        break;
    case NOF1__V1__FRAME__BODY_END:
        snprintf(out, size, "End%s%s", frame->end->released ? " released" : " ",
                 frame->end->code);
        break;
    case NOF1__V1__FRAME__BODY_CENSUS_NOTICE:
        snprintf(out, size, "CensusNotice %u", frame->census_notice->epoch);
        break;
    default:
        snprintf(out, size, "?");
        break;
    }
}

const char *sim_trace(const struct sim *sim)
{
    return sim->trace.data == NULL ? "" : (const char *)sim->trace.data;
}

void sim_trace_clear(struct sim *sim)
{
    sim->trace.length = 0;
    if (sim->trace.data != NULL) {
        sim->trace.data[0] = 0;
    }
}

size_t sim_frames(const struct sim *sim)
{
    return sim->frames;
}

/* ---- stores ---------------------------------------------------------------------------------- */

struct nof1_slice sim_stored(struct sim *sim, size_t node, const char *key)
{
    return sim_store_get(&sim->node[node].store, key);
}

size_t sim_ledger_length(const struct sim *sim, size_t node)
{
    return sim->node[node].store.entries;
}

const char *sim_ledger_entry(const struct sim *sim, size_t node, size_t index, const char **kind)
{
    const struct sim_pair *entry = &sim->node[node].store.entry[index];
    if (kind != NULL) {
        *kind = entry->key;
    }
    return nof1_arena_printf(sim->arena, "%.*s", (int)entry->value.length,
                             (const char *)entry->value.data);
}

/* ---- pooling --------------------------------------------------------------------------------- */

static double to_quantum(double value, double quantum)
{
    return quantum > 0 ? nearbyint(value / quantum) * quantum : value;
}

struct pooling {
    const struct nof1_query *query;
    uint32_t round;
    const double *theta;
    struct nof1_layout layout;
    struct nof1_ring *sum; /* [2 + elements] */
    struct nof1_arena *arena;
};

static void add_value(struct nof1_ring *sum, double value)
{
    struct nof1_ring term;
    SIM_MUST(nof1_ring_encode(&term, value) == NOF1_OK);
    nof1_ring_add(sum, &term);
}

static void add_trial(struct pooling *pooling, const struct nof1_trial *trial)
{
    const struct nof1_model *model = pooling->query->model;
    const struct nof1_plan *plan = pooling->query->study.plan;
    void *scratch = nof1_arena_alloc(pooling->arena, 1,
                                     model->scratch + trial->rows * model->scratch_row + 16);
    double *out = nof1_arena_alloc(pooling->arena, pooling->layout.elements + 1, sizeof *out);
    SIM_MUST(scratch != NULL && out != NULL);
    if (!nof1_in_analysis_set(pooling->query->study.charter, plan->outcome, trial) ||
        model->analysis->group_of(model, trial, scratch) < 0) {
        return;
    }
    add_value(&pooling->sum[1], 1);
    SIM_MUST(model->analysis->contribute(model, pooling->round, pooling->theta, trial, scratch,
                                         out) == NOF1_OK);
    for (size_t e = 0; e < pooling->layout.elements; e++) {
        add_value(&pooling->sum[2 + e],
                  to_quantum(out[e], pooling->layout.element[e].quantum));
    }
}

static const struct nof1_epoch *asked_epoch(const struct sim *sim, const struct nof1_query *query,
                                            size_t site)
{
    const struct nof1_plan *plan = query->study.plan;
    const struct nof1_epoch *epoch = &sim->epoch[site];
    size_t block = nof1_charter_block_of(sim->charter, site), place = 0;
    while (plan->block[place] != block) {
        place++;
    }
    while (epoch != NULL && epoch->id != nof1_plan_block_epoch(plan, place)) {
        epoch = epoch->earlier;
    }
    SIM_MUST(epoch != NULL);
    return epoch;
}

static void pool_round(struct sim *sim, struct pooling *pooling)
{
    const struct nof1_model *model = pooling->query->model;
    SIM_MUST(model->analysis->layout(model, pooling->round, pooling->arena, &pooling->layout) ==
             NOF1_OK);
    pooling->sum =
        nof1_arena_alloc(pooling->arena, pooling->layout.elements + 2, sizeof *pooling->sum);
    SIM_MUST(pooling->sum != NULL);
    add_value(&pooling->sum[0], (double)pooling->query->sites);
    for (size_t i = 0; i < pooling->query->sites; i++) {
        const struct nof1_epoch *epoch = asked_epoch(sim, pooling->query, pooling->query->site[i]);
        for (size_t t = 0; t < epoch->trials; t++) {
            add_trial(pooling, &epoch->trial[t]);
        }
    }
}

static bool same_hex(const struct pooling *pooling, const char *hex)
{
    size_t elements = pooling->layout.elements + 2;
    if (hex == NULL || strlen(hex) != 64 * elements) {
        return false;
    }
    for (size_t e = 0; e < elements; e++) {
        uint8_t bytes[32];
        char text[65];
        nof1_ring_write(bytes, &pooling->sum[e]);
        for (size_t b = 0; b < 32; b++) {
            snprintf(text + 2 * b, 3, "%02x", bytes[b]);
        }
        if (strncmp(text, hex + 64 * e, 64) != 0) {
            return false;
        }
    }
    return true;
}

static const double *read_theta(struct nof1_arena *arena, const json_t *list)
{
    double *theta = nof1_arena_alloc(arena, json_array_size(list) + 1, sizeof *theta);
    SIM_MUST(theta != NULL);
    for (size_t i = 0; i < json_array_size(list); i++) {
        uint64_t bits = strtoull(json_string_value(json_array_get(list, i)), NULL, 16);
        memcpy(&theta[i], &bits, sizeof bits);
    }
    return theta;
}

static bool pooled_rounds(struct sim *sim, const struct nof1_query *query, const json_t *rounds)
{
    bool same = json_array_size(rounds) > 1;
    for (size_t r = 1; same && r < json_array_size(rounds); r++) {
        const json_t *round = json_array_get(rounds, r);
        NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
        struct pooling pooling = {
            .query = query, .round = (uint32_t)r, .arena = arena,
            .theta = read_theta(arena, json_object_get(round, "parameters"))};
        pool_round(sim, &pooling);
        same = same_hex(&pooling, json_string_value(json_object_get(round, "total")));
    }
    return same;
}

static json_t *evidence_of(struct sim *sim, const char *hex)
{
    char key[80];
    snprintf(key, sizeof key, "evidence/%s", hex);
    struct nof1_slice stored = sim_stored(sim, sim->options.sites, key);
    return json_loadb((const char *)stored.data, stored.length, 0, NULL);
}

bool sim_pooled_equal(struct sim *sim, const uint8_t h_q[32])
{
    char hex[65];
    nof1_hex_text(hex, h_q, 32);
    json_t *evidence = evidence_of(sim, hex);
    const char *from = json_string_value(json_object_get(evidence, "derived_from"));
    if (from != NULL) { /* no totals of its own: those that it rests on */
        json_t *first = evidence_of(sim, from);
        json_decref(evidence);
        evidence = first;
    }
    const char *plan = json_string_value(json_object_get(evidence, "plan"));
    const struct nof1_census *census = NULL;
    struct nof1_query *query = NULL;
    bool same = plan != NULL &&
                nof1_census_read_all(&census, sim->arena, sim->charter,
                                     nof1_coordinator_census(sim_coordinator(sim)), NULL) ==
                    NOF1_OK &&
                nof1_query_new(&query, sim->charter, census, nof1_slice_text(plan), NULL) ==
                    NOF1_OK &&
                pooled_rounds(sim, query, json_object_get(evidence, "rounds"));
    nof1_query_free(query);
    json_decref(evidence);
    return same;
}
