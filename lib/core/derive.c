/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Totals of one plan out of the release of another: see derive.h. Nothing is computed from totals
 * here, they are only found again under their names, so a derived result has the bits that rounds
 * of its own would have given.
 */
#include <core/derive.h>

#include <string.h>

#include <jansson.h>

#include <base/hex.h>
#include <base/json.h>
#include <crypto/ring.h>

static bool same_indices(size_t count, const size_t *a, size_t others, const size_t *b)
{
    return count == others && (count == 0 || memcmp(a, b, count * sizeof *a) == 0);
}

static bool same_epochs(const struct nof1_plan *a, const struct nof1_plan *b)
{
    bool same = a->blocks == b->blocks;
    for (size_t i = 0; same && i < a->blocks; i++) {
        same = nof1_plan_block_epoch(a, i) == nof1_plan_block_epoch(b, i);
    }
    return same;
}

bool nof1_derive_same_series(const struct nof1_plan *a, const struct nof1_plan *b)
{
    return same_epochs(a, b) && a->outcome == b->outcome && a->reference == b->reference &&
           a->active == b->active && same_indices(a->others, a->other, b->others, b->other) &&
           same_indices(a->strata, a->stratum, b->strata, b->stratum) &&
           same_indices(a->blocks, a->block, b->blocks, b->block);
}

static bool same_groups(const struct nof1_model *a, const struct nof1_model *b)
{
    bool same = a->groups == b->groups;
    for (size_t g = 0; same && g < a->groups; g++) {
        same = strcmp(a->group[g], b->group[g]) == 0;
    }
    return same;
}

/* The elements of one round by their names. */
static nof1_rc find_elements(double *out, const struct nof1_layout *wanted,
                             const struct nof1_layout *there, const double *total)
{
    for (size_t e = 0; e < wanted->elements; e++) {
        size_t at = 0;
        while (at < there->elements &&
               strcmp(there->element[at].name, wanted->element[e].name) != 0) {
            at++;
        }
        ENSURE(at < there->elements, NOF1_E_NOT_FOUND);
        out[e] = total[at];
    }
    return NOF1_OK;
}

static bool same_parameters(const struct nof1_next *next, const struct nof1_round_total *round)
{
    bool same = next->parameters == round->parameters;
    for (size_t i = 0; same && i < next->parameters; i++) {
        same = nof1_parameter_close(round->parameter[i], next->parameter[i]);
    }
    return same;
}

static nof1_rc derive_round(struct nof1_round_total *out, const struct nof1_model *model,
                            const struct nof1_model *earlier, const struct nof1_round_total *from,
                            uint32_t round, struct nof1_arena *arena)
{
    struct nof1_layout wanted = {0};
    struct nof1_layout there = {0};
    TRY(model->analysis->layout(model, round, arena, &wanted));
    TRY(earlier->analysis->layout(earlier, round, arena, &there));
    ENSURE(there.elements == from->elements, NOF1_E_NOT_FOUND);
    double *total = nof1_arena_alloc(arena, wanted.elements + 1, sizeof *total);
    ENSURE(total != NULL, NOF1_E_NO_MEMORY);
    *out = (struct nof1_round_total){.parameters = from->parameters, .elements = wanted.elements,
                                     .parameter = from->parameter, .total = total};
    return find_elements(total, &wanted, &there, from->total);
}

nof1_rc nof1_derive(struct nof1_history *out, const struct nof1_model *model,
                    const struct nof1_model *earlier, const struct nof1_history *history,
                    struct nof1_arena *arena)
{
    ENSURE(model->sums != NULL && earlier->sums != NULL &&
               strcmp(model->sums, earlier->sums) == 0 && same_groups(model, earlier),
           NOF1_E_NOT_FOUND);
    struct nof1_round_total *round =
        nof1_arena_alloc(arena, (size_t)model->max_rounds + 1, sizeof *round);
    ENSURE(round != NULL, NOF1_E_NO_MEMORY);
    *out = (struct nof1_history){.counts = history->counts, .round = round};
    while (out->rounds < model->max_rounds) {
        struct nof1_next next = {0};
        TRY(model->analysis->advance(model, out, arena, &next, NULL));
        if (next.done) {
            return NOF1_OK;
        }
        ENSURE(out->rounds < history->rounds, NOF1_E_NOT_FOUND);
        ENSURE(same_parameters(&next, &history->round[out->rounds]), NOF1_E_NOT_FOUND);
        TRY(derive_round(&round[out->rounds], model, earlier, &history->round[out->rounds],
                         (uint32_t)out->rounds + 1, arena));
        out->rounds++;
    }
    return NOF1_OK;
}

/* ---- stored evidence ------------------------------------------------------------------------- */

static nof1_rc decode_total(double **out, size_t *elements, const json_t *round,
                            struct nof1_arena *arena)
{
    const char *hex = json_string_value(json_object_get(round, "total"));
    ENSURE(hex != NULL && strlen(hex) % (2 * NOF1_RING_BYTES) == 0, NOF1_E_STORE);
    *elements = strlen(hex) / (2 * NOF1_RING_BYTES);
    *out = nof1_arena_alloc(arena, *elements + 1, sizeof **out);
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    for (size_t e = 0; e < *elements; e++) {
        uint8_t bytes[NOF1_RING_BYTES];
        char one[2 * NOF1_RING_BYTES + 1] = {0};
        struct nof1_ring sum;
        memcpy(one, &hex[e * 2 * NOF1_RING_BYTES], 2 * NOF1_RING_BYTES);
        ENSURE(nof1_hex_read(bytes, sizeof bytes, one), NOF1_E_STORE);
        nof1_ring_read(&sum, bytes);
        (*out)[e] = nof1_ring_decode(&sum);
    }
    return NOF1_OK;
}

static nof1_rc read_round(struct nof1_round_total *out, const json_t *round,
                          struct nof1_arena *arena)
{
    double *total = NULL;
    size_t elements = 0;
    const json_t *parameters = json_object_get(round, "parameters");
    TRY(decode_total(&total, &elements, round, arena));
    ENSURE(elements >= NOF1_CHECK_ELEMENTS, NOF1_E_STORE);
    double *parameter = nof1_arena_alloc(arena, json_array_size(parameters) + 1, sizeof *parameter);
    ENSURE(parameter != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < json_array_size(parameters); i++) {
        const char *hex = json_string_value(json_array_get(parameters, i));
        ENSURE(hex != NULL && nof1_double_unhex(&parameter[i], hex), NOF1_E_STORE);
    }
    *out = (struct nof1_round_total){.parameters = json_array_size(parameters),
                                     .elements = elements - NOF1_CHECK_ELEMENTS,
                                     .parameter = parameter,
                                     .total = total + NOF1_CHECK_ELEMENTS};
    return NOF1_OK;
}

static nof1_rc read_history(struct nof1_history *out, const struct nof1_query *query,
                            const json_t *rounds, struct nof1_arena *arena)
{
    struct nof1_opening opening;
    double *total = NULL;
    size_t elements = 0;
    size_t count = json_array_size(rounds);
    ENSURE(count >= 1, NOF1_E_STORE);
    TRY(nof1_opening_layout(&opening, arena, query->model,
                            query->study.plan->atoms == 0 ? 1 : query->study.plan->atoms));
    TRY(decode_total(&total, &elements, json_array_get(rounds, 0), arena));
    ENSURE(elements == opening.elements, NOF1_E_STORE);
    TRY(nof1_opening_counts(&out->counts, arena, query->model, &opening, total));
    struct nof1_round_total *round = nof1_arena_alloc(arena, count, sizeof *round);
    ENSURE(round != NULL, NOF1_E_NO_MEMORY);
    for (size_t r = 1; r < count; r++) {
        TRY(read_round(&round[r - 1], json_array_get(rounds, r), arena));
    }
    out->rounds = count - 1;
    out->round = round;
    return NOF1_OK;
}

nof1_rc nof1_derive_read(struct nof1_history *out, const struct nof1_query *query,
                         struct nof1_slice evidence, struct nof1_arena *arena)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *stored =
        json_loadb((const char *)evidence.data, evidence.length, JSON_DECODE_ANY, NULL);
    *out = (struct nof1_history){0};
    return read_history(out, query, json_object_get(stored, "rounds"), arena);
}
