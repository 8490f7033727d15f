/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A round is opened (docs/protocol.md, "Messages", 3): previous totals, thresholds, replayed
 * parameters, transcript; then this site's numbers, masked and signed. One answer a round:
 * identical bytes get the same answer again, anything else ends the attempt. Write-ahead: what a
 * round costs is stored before its answer leaves.
 */
#include <core/site_parts.h>

#include <string.h>

#define DAY (INT64_C(86400) * 1000)

/* A charged plan remembers every round it may have. */
static nof1_rc new_record(struct site_record **out, struct nof1_site *site,
                          const struct site_attempt *attempt)
{
    struct site_record *record = nof1_arena_alloc(site->arena, 1, sizeof *record);
    size_t rounds = (size_t)attempt->query->model->max_rounds + 1;
    ENSURE(record != NULL, NOF1_E_NO_MEMORY);
    *record = (struct site_record){.epoch = attempt->epoch->id, .day = site->now / DAY,
                                   .census = attempt->query->census, .rounds = rounds,
                                   .round = nof1_arena_alloc(site->arena, rounds,
                                                             sizeof *record->round),
                                   .next = site->records};
    ENSURE(record->round != NULL, NOF1_E_NO_MEMORY);
    memcpy(record->h_q, attempt->h_q, sizeof record->h_q);
    TRY(nof1_site_note_noise(record, site, attempt->query));
    site->records = record;
    *out = record;
    return NOF1_OK;
}

/* Mask, sign, store what it costs, remember, send after the delay: the only place where vectors are
 * made that leave. */
static nof1_rc answer(struct nof1_site *site, struct site_attempt *attempt, uint32_t round,
                      size_t elements, struct nof1_ring *y, struct nof1_slice request)
{
    uint8_t digest[NOF1_HASH_BYTES], signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    if (!site_is_alone(site, attempt)) {
        TRY(nof1_masker_apply(attempt->masker, attempt->transcript, elements, y));
    }
    uint8_t *vector = nof1_arena_alloc(attempt->arena, elements, NOF1_RING_BYTES);
    ENSURE(vector != NULL, NOF1_E_NO_MEMORY);
    for (size_t e = 0; e < elements; e++) {
        nof1_ring_write(vector + e * NOF1_RING_BYTES, &y[e]);
    }
    attempt->own_vector = nof1_slice_of(vector, elements * NOF1_RING_BYTES);
    const struct nof1_statement statement = {.site = site->config.id, .h_q = attempt->h_q,
                                             .h_r = attempt->h_roster, .round = round,
                                             .transcript = attempt->transcript};
    TRY(nof1_masked_digest(digest, &statement, attempt->own_vector));
    TRY(nof1_sign(signature, &length, site->config.key, digest));
    attempt->own_signature = nof1_arena_copy(attempt->arena, nof1_slice_of(signature, length));
    ENSURE(attempt->own_signature.data != NULL, NOF1_E_NO_MEMORY);
    Nof1__V1__Masked masked = NOF1__V1__MASKED__INIT;
    masked.site = (char *)(uintptr_t)site->config.id;
    masked.round = round;
    masked.transcript = (ProtobufCBinaryData){NOF1_HASH_BYTES, attempt->transcript};
    masked.vector = (ProtobufCBinaryData){attempt->own_vector.length, vector};
    masked.signature = (ProtobufCBinaryData){length, signature};
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = (ProtobufCBinaryData){NOF1_HASH_BYTES, attempt->h_q};
    frame.attempt = (ProtobufCBinaryData){NOF1_HASH_BYTES, attempt->nonce};
    frame.body_case = NOF1__V1__FRAME__BODY_MASKED;
    frame.masked = &masked;
    attempt->request = nof1_arena_copy(attempt->arena, request);
    ENSURE(attempt->request.data != NULL, NOF1_E_NO_MEMORY);
    attempt->round = round;
    attempt->elements = elements;
    char hex[SITE_HEX];
    nof1_hex_text(hex, digest, sizeof digest);
    TRY(nof1_site_append(site, "round.answered", attempt->h_q,
                         json_pack("{s:I, s:I, s:s}", "round", (json_int_t)round, "elements",
                                   (json_int_t)elements, "digest", hex)));
    TRY(nof1_site_write(site, &frame, attempt->arena, &attempt->reply));
    return nof1_site_answer(site, attempt, attempt->delay, attempt->reply);
}

/* ---- round 0 ------------------------------------------------------------ */

static nof1_rc first_round(struct nof1_site *site, struct site_attempt *attempt,
                           const Nof1__V1__RoundOpen *open, struct nof1_slice bytes)
{
    ENSURE(open->n_parameter == 0 && open->previous_total.len == 0 && open->n_previous == 0,
           NOF1_E2503);
    const struct nof1_plan *plan = attempt->query->study.plan;
    TRY(nof1_site_check_budget(site, attempt->query)); /* others may be charged since the offer */
    TRY(nof1_opening_layout(&attempt->opening, attempt->arena, attempt->query->model,
                            plan->atoms));
    nof1_site_set_delay(site, attempt, attempt->opening.elements);
    TRY(nof1_loads_of(&attempt->loads, attempt->arena, attempt->query->model));
    size_t rounds = (size_t)attempt->query->model->max_rounds + 1;
    attempt->total = nof1_arena_alloc(attempt->arena, rounds, sizeof *attempt->total);
    struct nof1_ring *y =
        nof1_arena_alloc(site->scratch, attempt->opening.elements, sizeof *y);
    ENSURE(attempt->total != NULL && y != NULL, NOF1_E_NO_MEMORY);
    attempt->history.round = attempt->total;
    TRY(nof1_site_assign(site, attempt));
    TRY(nof1_site_count(site, attempt, y));
    if (attempt->record == NULL) { /* charged now, before the first vector leaves */
        TRY(new_record(&attempt->record, site, attempt));
        TRY(nof1_site_put_record(site, attempt->record));
        TRY(nof1_site_put_used(site, attempt));
        TRY(nof1_site_append(site, "query.charged", attempt->h_q, NULL));
    }
    return answer(site, attempt, 0, attempt->opening.elements, y, bytes);
}

/* ---- what round 0 has shown ------------------------------------------------------------ */

static nof1_rc check_opened(struct nof1_site *site, struct site_attempt *attempt,
                            struct nof1_opened *opened)
{
    uint64_t *charged[2];
    const struct nof1_query *query = attempt->query;
    bool again = attempt->record->opened;
    if (!query->census && !again &&
        nof1_site_family(site, query->study.plan)->version != attempt->family_version) {
        return nof1_fail(&site->error, NOF1_E2503, "another plan of the family was opened");
    }
    TRY(nof1_site_charged(site, attempt, charged));
    /* a re-run's ratio is charged already, to atoms that have moved on */
    attempt->own.charged = again ? NULL : charged[1];
    *opened = (struct nof1_opened){.limits = &site->config.policy, .query = query,
                                   .opening = &attempt->opening, .loads = &attempt->loads,
                                   .counts = &attempt->counts, .total = attempt->opening_total,
                                   .charged = again ? NULL : charged[0]};
    TRY(nof1_check_opening(opened, &site->error));
    return again ? NOF1_OK : nof1_site_check_outside(site, attempt, opened);
}

/* From now on this plan's numbers may be known: split the atoms, charge the ratio. */
static nof1_rc open_record(struct nof1_site *site, struct site_attempt *attempt,
                           const struct nof1_opened *opened, const uint8_t *total_hash)
{
    struct site_record *record = attempt->record;
    if (record->opened) {
        return NOF1_OK;
    }
    size_t trials = attempt->epoch->trials;
    record->part = nof1_arena_alloc(site->arena, trials + 1, sizeof *record->part);
    record->move = nof1_arena_alloc(site->arena, attempt->moves + 1, sizeof *record->move);
    ENSURE(record->part != NULL && record->move != NULL, NOF1_E_NO_MEMORY);
    memcpy(record->part, attempt->part, trials * sizeof *record->part);
    for (record->moves = 0; record->moves < attempt->moves; record->moves++) {
        record->move[record->moves] = attempt->move[record->moves];
    }
    memcpy(record->changed, attempt->changed, sizeof record->changed);
    record->parts = trials;
    record->opened = true;
    record->round[0].known = true;
    record->round[0].answered = true;
    memcpy(record->round[0].total, total_hash, NOF1_HASH_BYTES);
    /* both at once: a plan whose atoms are split must be known as opened, even when this round is
     * refused in the end */
    TRY(attempt->query->census ? NOF1_OK : nof1_site_split(site, attempt, opened));
    return nof1_site_put_record(site, record);
}

static nof1_rc object(struct nof1_site *site, struct site_attempt *attempt, nof1_rc_value code)
{
    if (attempt->objection != NOF1_OK) {
        return NOF1_OK;
    }
    attempt->objection = code;
    attempt->record->objected = code; /* a re-run sees no charges any more: it must not pass */
    /* the reason stays here: on the wire the sum fails for all alike */
    return nof1_site_append(site, "query.objected", attempt->h_q,
                            json_pack("{s:s, s:s}", "code", nof1_rc_code(code), "reason",
                                      nof1_rc_sentence(code)));
}

static nof1_rc second_round(struct nof1_site *site, struct site_attempt *attempt,
                            const uint8_t *total_hash)
{
    struct nof1_opened opened;
    TRY(check_opened(site, attempt, &opened));
    nof1_rc_value rc = attempt->record->objected;
    rc = rc == NOF1_OK ? nof1_check_own(&opened, &attempt->own, &site->error) : rc;
    if (site_fatal(rc)) {
        return rc;
    }
    /* silent whatever the rule: a forged total would else be compared with the counts of each site
     * by name, again and again */
    if (rc != NOF1_OK) {
        TRY(object(site, attempt, rc));
    }
    return open_record(site, attempt, &opened, total_hash);
}

/* ---- later rounds ------------------------------------------------------------ */

/* The parameters offered are those that advance() gives here, to 40 significant bits; a re-run
 * repeats the very bits of the first run. */
static nof1_rc check_offered(struct nof1_site *site, struct site_attempt *attempt,
                             const struct nof1_next *next, const double *offered, size_t count)
{
    const struct nof1_query *query = attempt->query;
    const struct site_record_round *earlier = &attempt->record->round[attempt->round + 1];
    bool close = !next->done && next->parameters == count;
    /* the domain first: a parameter outside it is worth its own name in the ledger */
    if (close && count > 0 && query->analysis->in_domain != NULL &&
        !query->analysis->in_domain(query->model, offered, count)) {
        return nof1_fail(&site->error, NOF1_E2306, "%s", "");
    }
    for (size_t p = 0; close && p < count; p++) {
        close = nof1_parameter_close(offered[p], next->parameter[p]);
    }
    if (close && earlier->answered) {
        close = earlier->parameters == count &&
                (count == 0 || memcmp(earlier->parameter, offered, count * sizeof *offered) == 0);
    }
    if (!close) {
        return nof1_fail(&site->error, NOF1_E2305, "%s", "");
    }
    return NOF1_OK;
}

static nof1_rc read_parameters(const double **out, struct nof1_arena *arena,
                               const Nof1__V1__RoundOpen *open)
{
    double *parameter = nof1_arena_alloc(arena, open->n_parameter + 1, sizeof *parameter);
    ENSURE(parameter != NULL, NOF1_E_NO_MEMORY);
    if (open->n_parameter > 0) {
        memcpy(parameter, open->parameter, open->n_parameter * sizeof *parameter);
    }
    *out = parameter;
    return NOF1_OK;
}

static nof1_rc replay(struct nof1_site *site, struct site_attempt *attempt,
                      const Nof1__V1__RoundOpen *open)
{
    const struct nof1_query *query = attempt->query;
    struct nof1_next next = {0};
    if (open->round > query->model->max_rounds) {
        return nof1_fail(&site->error, NOF1_E2302, "the plan has fewer rounds");
    }
    TRY(read_parameters(&attempt->parameter, attempt->arena, open));
    attempt->parameters = open->n_parameter;
    TRY(query->analysis->advance(query->model, &attempt->history, attempt->arena, &next,
                                 &site->error));
    return check_offered(site, attempt, &next, attempt->parameter, open->n_parameter);
}

static nof1_rc keep_parameters(struct nof1_site *site, struct site_attempt *attempt,
                               uint32_t round)
{
    struct site_record_round *kept = &attempt->record->round[round];
    if (!kept->answered) {
        kept->parameter = nof1_arena_alloc(site->arena, attempt->parameters + 1, sizeof(double));
        ENSURE(kept->parameter != NULL, NOF1_E_NO_MEMORY);
        memcpy(kept->parameter, attempt->parameter, attempt->parameters * sizeof(double));
        kept->parameters = attempt->parameters;
        kept->answered = true;
    }
    return nof1_site_put_record(site, attempt->record);
}

/* This site's part of the element that tells of weights, for the check in the round after. */
static nof1_rc keep_own_element(struct site_attempt *attempt, const struct nof1_layout *layout,
                                const struct nof1_ring *y)
{
    const struct nof1_query *query = attempt->query;
    if (query->analysis->weight_element == NULL || attempt->parameters == 0) {
        return NOF1_OK;
    }
    size_t element = query->analysis->weight_element(query->model);
    if (element == NOF1_NO_ELEMENT) {
        return NOF1_OK;
    }
    ENSURE(element < layout->elements, NOF1_E_BUG);
    attempt->own_element = nof1_ring_decode(&y[NOF1_CHECK_ELEMENTS + element]);
    return NOF1_OK;
}

/* Values that must not leave (E2403) and weights that would dominate (E2208) silence the site. */
static nof1_rc fill_vector(struct nof1_site *site, struct site_attempt *attempt, uint32_t round,
                           const struct nof1_layout *layout, struct nof1_ring *y)
{
    const struct nof1_query *query = attempt->query;
    nof1_rc_value rc = attempt->objection;
    if (rc == NOF1_OK && query->analysis->weight != NULL && attempt->parameters > 0) {
        rc = nof1_site_weights(site, attempt, attempt->parameter);
    }
    if (rc == NOF1_OK) {
        rc = nof1_site_contribute(site, attempt, round, attempt->parameter, layout, y);
    }
    if (rc == NOF1_OK) {
        return keep_own_element(attempt, layout, y);
    }
    if (site_fatal(rc)) {
        return rc;
    }
    TRY(object(site, attempt, rc));
    return nof1_site_object(site, layout->elements + NOF1_CHECK_ELEMENTS, y);
}

static nof1_rc later_round(struct nof1_site *site, struct site_attempt *attempt,
                           const Nof1__V1__RoundOpen *open, struct nof1_slice bytes)
{
    const struct nof1_query *query = attempt->query;
    struct nof1_slice total = nof1_slice_of(open->previous_total.data, open->previous_total.len);
    uint8_t total_hash[NOF1_HASH_BYTES];
    if (attempt->round == 0 || query->study.plan->verify_full || open->n_previous > 0) {
        TRY(nof1_site_verify(site, attempt, open->n_previous, open->previous, total));
    }
    TRY(nof1_site_take_total(site, attempt, total, total_hash));
    if (open->round == 1) {
        TRY(second_round(site, attempt, total_hash));
    }
    TRY(replay(site, attempt, open));
    TRY(nof1_transcript_next(attempt->transcript, attempt->transcript, open->round,
                             attempt->parameters, attempt->parameter, total_hash));
    struct nof1_layout layout = {0};
    TRY(query->analysis->layout(query->model, open->round, site->scratch, &layout));
    size_t elements = layout.elements + NOF1_CHECK_ELEMENTS;
    nof1_site_set_delay(site, attempt, elements);
    struct nof1_ring *y = nof1_arena_alloc(site->scratch, elements, sizeof *y);
    ENSURE(y != NULL, NOF1_E_NO_MEMORY);
    TRY(fill_vector(site, attempt, open->round, &layout, y));
    TRY(keep_parameters(site, attempt, open->round));
    return answer(site, attempt, open->round, elements, y, bytes);
}

nof1_rc nof1_site_round(struct nof1_site *site, struct site_attempt *attempt,
                        const Nof1__V1__Frame *frame, struct nof1_slice bytes)
{
    const Nof1__V1__RoundOpen *open = frame->round_open;
    ENSURE(attempt->phase == SITE_ROUNDS, NOF1_E2503);
    if ((int64_t)open->round <= attempt->round) {
        ENSURE((int64_t)open->round == attempt->round &&
                   nof1_slice_equal(bytes, attempt->request),
               NOF1_E2310);
        return nof1_site_is_answering(site, attempt) ? NOF1_OK /* it is on its way */
                                              : nof1_site_resend(site, attempt->reply);
    }
    ENSURE(!nof1_site_is_answering(site, attempt), NOF1_E2503); /* goes on without the answer */
    ENSURE((int64_t)open->round == attempt->round + 1, NOF1_E2503);
    return open->round == 0 ? first_round(site, attempt, open, bytes)
                            : later_round(site, attempt, open, bytes);
}
