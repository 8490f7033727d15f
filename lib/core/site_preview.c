/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a plan would make this site add (docs/protocol.md, "Messages", 3, and "Numbers"), for the
 * steward before approving: every number of rounds 0 and 1 and their encoding before the masks. The
 * masks cannot be shown ahead: each is used once and belongs to the attempt. Nothing here is sent,
 * stored or charged.
 */
#include <core/site_parts.h>

#include <string.h>

#include <base/hex.h>
#include <base/json.h>
#include <crypto/hash.h>

/* length, SHA-256 and the bytes themselves. */
static nof1_rc bytes_json(json_t **out, struct nof1_slice bytes)
{
    uint8_t digest[NOF1_HASH_BYTES];
    TRY(nof1_sha256(digest, bytes));
    *out = json_pack("{s:I, s:o, s:o}", "length", (json_int_t)bytes.length, "sha256",
                     nof1_hex_json(digest, sizeof digest), "hex",
                     nof1_hex_json(bytes.data, bytes.length));
    return *out == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

struct preview_round {
    uint32_t round;
    size_t elements;
    const char **name, **role; /* [elements] */
    const struct nof1_ring *y;
};

static nof1_rc round_json(json_t **out, struct nof1_arena *arena,
                          const struct preview_round *round)
{
    json_t *numbers = json_array(), *encoding = NULL;
    uint8_t *bytes = nof1_arena_alloc(arena, round->elements, NOF1_RING_BYTES);
    bool ok = numbers != NULL && bytes != NULL;
    for (size_t e = 0; ok && e < round->elements; e++) {
        nof1_ring_write(bytes + e * NOF1_RING_BYTES, &round->y[e]);
        ok = json_array_append_new(
                 numbers, json_pack("{s:s, s:s, s:f}", "name", round->name[e], "role",
                                    round->role[e], "value", nof1_ring_decode(&round->y[e]))) == 0;
    }
    nof1_rc_value rc = ok ? bytes_json(&encoding,
                                       nof1_slice_of(bytes, round->elements * NOF1_RING_BYTES))
                          : NOF1_E_NO_MEMORY;
    if (rc != NOF1_OK) {
        json_decref(numbers);
        return rc;
    }
    *out = json_pack("{s:I, s:o, s:o}", "round", (json_int_t)round->round, "numbers", numbers,
                     "unmasked", encoding);
    return *out == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

static nof1_rc name_round(struct preview_round *round, struct nof1_arena *arena, size_t elements)
{
    round->elements = elements;
    round->name = nof1_arena_alloc(arena, elements + 1, sizeof *round->name);
    round->role = nof1_arena_alloc(arena, elements + 1, sizeof *round->role);
    ENSURE(round->name != NULL && round->role != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* Round 0 of an attempt of its own, as first_round makes it. */
static nof1_rc preview_opening(json_t **out, struct nof1_site *site, struct site_attempt *attempt)
{
    struct nof1_arena *arena = site->scratch;
    struct preview_round round = {.round = 0};
    const struct nof1_model *model = attempt->query->model;
    TRY(nof1_opening_layout(&attempt->opening, arena, model, attempt->query->study.plan->atoms));
    TRY(nof1_loads_of(&attempt->loads, arena, model));
    struct nof1_ring *y = nof1_arena_alloc(arena, attempt->opening.elements, sizeof *y);
    ENSURE(y != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_site_assign(site, attempt));
    TRY(nof1_site_count(site, attempt, y));
    TRY(name_round(&round, arena, attempt->opening.elements));
    double *count = nof1_arena_alloc(arena, round.elements, sizeof *count);
    ENSURE(count != NULL, NOF1_E_NO_MEMORY);
    for (size_t e = 0; e < round.elements; e++) {
        round.name[e] = attempt->opening.name[e];
        round.role[e] = "count";
        count[e] = nof1_ring_decode(&y[e]);
    }
    round.y = y;
    attempt->opening_total = count; /* until the totals are known: this site alone */
    return round_json(out, arena, &round);
}

/* The parameters of round 1: those of everybody once round 0 is known, else as if there were no
 * other site. */
static nof1_rc first_parameters(const double **theta, size_t *parameters, struct nof1_site *site,
                                struct site_attempt *attempt, const struct site_attempt *live)
{
    const struct nof1_query *query = attempt->query;
    struct nof1_next next = {0};
    struct nof1_error ignored = {0};
    struct nof1_history history = {.rounds = 0};
    if (live->opening_total != NULL) {
        attempt->counts = live->counts;
    } else {
        TRY(nof1_opening_counts(&attempt->counts, site->scratch, query->model, &attempt->opening,
                                attempt->opening_total));
    }
    history.counts = attempt->counts;
    TRY(query->analysis->advance(query->model, &history, site->scratch, &next, &ignored));
    double *rounded = nof1_arena_alloc(site->scratch, next.parameters + 1, sizeof *rounded);
    ENSURE(rounded != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < next.parameters; p++) {
        rounded[p] = nof1_round_parameter(next.parameter[p]);
    }
    *theta = rounded;
    *parameters = next.parameters;
    return NOF1_OK;
}

static nof1_rc preview_first(json_t **out, struct nof1_site *site, struct site_attempt *attempt,
                             const double *theta)
{
    static const char *const check[NOF1_CHECK_ELEMENTS] = {"sites", "trials used"};
    struct preview_round round = {.round = 1};
    struct nof1_layout layout = {0};
    TRY(attempt->query->analysis->layout(attempt->query->model, 1, site->scratch, &layout));
    TRY(name_round(&round, site->scratch, layout.elements + NOF1_CHECK_ELEMENTS));
    struct nof1_ring *y = nof1_arena_alloc(site->scratch, round.elements, sizeof *y);
    ENSURE(y != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_site_contribute(site, attempt, 1, theta, &layout, y));
    for (size_t e = 0; e < round.elements; e++) {
        const struct nof1_element *element =
            e < NOF1_CHECK_ELEMENTS ? NULL : &layout.element[e - NOF1_CHECK_ELEMENTS];
        round.name[e] = element == NULL ? check[e] : element->name;
        round.role[e] = element == NULL                  ? "check"
                        : element->role == NOF1_OUTCOME ? "outcome"
                                                        : "design";
    }
    round.y = y;
    return round_json(out, site->scratch, &round);
}

/* Round 1 is left out, with the reason, where it cannot be computed from this site alone. */
static nof1_rc add_first(json_t *root, struct nof1_site *site, struct site_attempt *attempt,
                         const struct site_attempt *live)
{
    const double *theta = NULL;
    size_t parameters = 0;
    json_t *first = NULL;
    nof1_rc_value rc = first_parameters(&theta, &parameters, site, attempt, live);
    rc = rc == NOF1_OK ? preview_first(&first, site, attempt, theta) : rc;
    if (site_fatal(rc)) {
        return rc;
    }
    if (rc != NOF1_OK) {
        return json_object_set_new(root, "round_1_not_shown",
                                   json_string(nof1_rc_sentence(rc))) == 0
                   ? NOF1_OK
                   : NOF1_E_NO_MEMORY;
    }
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t p = 0; ok && p < parameters; p++) {
        ok = json_array_append_new(list, json_real(theta[p])) == 0;
    }
    ok = json_object_set_new(first, "parameters", list) == 0 && ok;
    ok = json_object_set_new(first, "parameters_known",
                             json_boolean(parameters == 0 || live->opening_total != NULL)) == 0 &&
         ok;
    return json_array_append_new(json_object_get(root, "rounds"), first) == 0 && ok
               ? NOF1_OK
               : NOF1_E_NO_MEMORY;
}

static nof1_rc fill(json_t *root, struct nof1_site *site, struct site_attempt *attempt,
                    const struct site_attempt *live)
{
    json_t *opening = NULL, *masked = NULL;
    TRY(preview_opening(&opening, site, attempt));
    ENSURE(json_array_append_new(json_object_get(root, "rounds"), opening) == 0, NOF1_E_NO_MEMORY);
    TRY(add_first(root, site, attempt, live));
    if (live->own_vector.length > 0) {
        TRY(bytes_json(&masked, live->own_vector));
        ENSURE(json_object_set_new(masked, "round", json_integer(live->round)) == 0 &&
                   json_object_set_new(root, "masked", masked) == 0,
               NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

nof1_rc nof1_site_preview(json_t **out, struct nof1_site *site, const uint8_t h_q[32],
                          struct nof1_error *error)
{
    const struct site_attempt *live = nof1_site_attempt(
        site, (ProtobufCBinaryData){NOF1_HASH_BYTES, (uint8_t *)(uintptr_t)h_q});
    if (live == NULL) {
        return nof1_fail(error, NOF1_E_NOT_FOUND,
                         "no plan with this hash waits or runs here; see nof1-node status");
    }
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    struct site_attempt *attempt =
        arena == NULL ? NULL : nof1_arena_alloc(arena, 1, sizeof *attempt);
    const struct nof1_plan *plan = live->query->study.plan;
    char hex[SITE_HEX];
    ENSURE(attempt != NULL, NOF1_E_NO_MEMORY);
    *attempt = (struct site_attempt){.arena = arena,
                                     .query = live->query,
                                     .epoch = live->epoch,
                                     .round = -1,
                                     .record = live->record};
    memcpy(attempt->h_q, live->h_q, sizeof attempt->h_q);
    if (!live->query->census) {
        attempt->family_version = nof1_site_family(site, plan)->version;
    }
    nof1_hex_text(hex, h_q, NOF1_HASH_BYTES);
    json_t *root = json_pack("{s:s, s:s, s:s, s:s, s:I, s:[]}", "query", hex, "analysis",
                             plan->analysis, "title", plan->title, "outcome",
                             plan->outcome_name == NULL ? "" : plan->outcome_name, "max_rounds",
                             (json_int_t)live->query->model->max_rounds, "rounds");
    ENSURE(root != NULL, NOF1_E_NO_MEMORY);
    site->scratch = arena;
    nof1_rc_value rc = fill(root, site, attempt, live);
    site->scratch = NULL;
    if (rc != NOF1_OK) {
        json_decref(root);
        return error->rc == NOF1_OK ? nof1_fail(error, rc, "%s", nof1_rc_sentence(rc)) : rc;
    }
    *out = root;
    return NOF1_OK;
}
