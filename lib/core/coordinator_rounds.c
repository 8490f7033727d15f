/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rounds and closing (docs/protocol.md, "Messages", 3 and 4): open a round, add the masked vectors,
 * check the check elements, let the analysis say what comes next, announce the last total, collect
 * every attestation. Counts each site once a round; the order of arrival does not matter because
 * the ring is exact. A total is never released from here.
 */
#include <core/coordinator_parts.h>

#include <string.h>

#include <core/release.h>
#include <crypto/transcript.h>

static ProtobufCBinaryData binary(const void *data, size_t length)
{
    return (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)data};
}

static const struct closed_round *last_closed(const struct attempt *attempt)
{
    return &attempt->closed[attempt->closed_count - 1];
}

static nof1_rc write_stage(const struct run *run, struct attempt *attempt, Nof1__V1__Frame *frame)
{
    frame->query = binary(run->h_q, NOF1_HASH_BYTES);
    frame->attempt = binary(attempt->nonce, NOF1_HASH_BYTES);
    return nof1_frame_write(&attempt->current, attempt->round_arena, frame);
}

/* ---- opening a round ------------------------------------------------------------------------- */

static nof1_rc write_round_open(const struct run *run, struct attempt *attempt,
                                const Nof1__V1__Masked **previous)
{
    Nof1__V1__RoundOpen open = NOF1__V1__ROUND_OPEN__INIT;
    open.round = attempt->round;
    uint64_t *bits =
        nof1_arena_alloc(attempt->round_arena, attempt->parameters + 1, sizeof *bits);
    ENSURE(bits != NULL, NOF1_E_NO_MEMORY);
    if (attempt->parameters > 0) {
        memcpy(bits, attempt->parameter, attempt->parameters * sizeof *bits);
    }
    open.n_parameter = attempt->parameters;
    open.parameter = bits;
    if (attempt->round > 0) {
        const struct closed_round *last = last_closed(attempt);
        open.previous_total = binary(last->total, last->elements * NOF1_RING_BYTES);
    }
    open.n_previous = previous == NULL ? 0 : run->query->sites;
    open.previous = (Nof1__V1__Masked **)(uintptr_t)previous;
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.body_case = NOF1__V1__FRAME__BODY_ROUND_OPEN;
    frame.round_open = &open;
    return write_stage(run, attempt, &frame);
}

/* Round 0 is always re-added by every site; later rounds when the plan says verify = full,
 * which it does while all vectors of a round are small. */
static bool resend_previous(const struct run *run, const struct attempt *attempt)
{
    if (attempt->round == 0) {
        return false;
    }
    return last_closed(attempt)->round == 0 || run->query->study.plan->verify_full;
}

static nof1_rc hex_parameters(json_t **out, const double *parameter, size_t parameters)
{
    json_t *list = json_array();
    ENSURE(list != NULL, NOF1_E_NO_MEMORY);
    *out = list;
    for (size_t i = 0; i < parameters; i++) {
        uint8_t bytes[8];
        uint64_t bits;
        memcpy(&bits, &parameter[i], sizeof bits);
        for (size_t b = 0; b < 8; b++) {
            bytes[b] = (uint8_t)(bits >> (56 - 8 * b));
        }
        ENSURE(json_array_append_new(list, nof1_hex_json(bytes, 8)) == 0, NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

static nof1_rc log_opened(struct nof1_coordinator *coordinator, const struct run *run)
{
    const struct attempt *attempt = run->attempt;
    json_t *parameters = NULL;
    TRY(hex_parameters(&parameters, attempt->parameter, attempt->parameters));
    return nof1_record_entry(
        coordinator, run, "round.opened",
        json_pack("{s:i, s:o, s:o, s:o}", "round", (int)attempt->round, "parameters", parameters,
                  "roster", nof1_hex_json(attempt->h_roster, NOF1_HASH_BYTES), "transcript",
                  nof1_hex_json(attempt->transcript, NOF1_HASH_BYTES)));
}

/* The vectors of the round that is over move to previous_arena, a new round_arena begins. */
static nof1_rc open_round(struct nof1_coordinator *coordinator, struct run *run, uint32_t round)
{
    struct attempt *attempt = run->attempt;
    attempt->round = round;
    if (round > 0) {
        nof1_arena_free(attempt->previous_arena);
        attempt->previous_arena = attempt->round_arena;
        attempt->round_arena = nof1_arena_new();
        ENSURE(attempt->round_arena != NULL, NOF1_E_NO_MEMORY);
    }
    TRY(write_round_open(run, attempt, resend_previous(run, attempt) ? attempt->masked : NULL));
    memset(attempt->masked, 0, run->query->sites * sizeof *attempt->masked);
    attempt->answer_by = coordinator->now + coordinator->config.round_timeout;
    TRY(log_opened(coordinator, run));
    return nof1_run_broadcast(coordinator, run, attempt->current);
}

nof1_rc nof1_run_first_round(struct nof1_coordinator *coordinator, struct run *run)
{
    struct attempt *attempt = run->attempt;
    attempt->elements = attempt->opening.elements;
    attempt->parameters = 0;
    attempt->layout = (struct nof1_layout){0};
    return open_round(coordinator, run, 0);
}

/* ---- masked vectors -------------------------------------------------------------------------- */

static bool masked_belongs(const struct nof1_coordinator *coordinator, const struct run *run,
                           size_t index, const Nof1__V1__Masked *masked)
{
    const struct attempt *attempt = run->attempt;
    const struct nof1_member *member = &coordinator->config.charter->site[run->query->site[index]];
    const struct nof1_statement statement = {.site = member->id, .h_q = run->h_q,
                                             .h_r = attempt->h_roster, .round = masked->round,
                                             .transcript = masked->transcript.data};
    uint8_t digest[NOF1_HASH_BYTES];
    return strcmp(masked->site, member->id) == 0 && masked->round == attempt->round &&
           masked->vector.len == attempt->elements * NOF1_RING_BYTES &&
           memcmp(masked->transcript.data, attempt->transcript, NOF1_HASH_BYTES) == 0 &&
           nof1_masked_digest(digest, &statement,
                              nof1_slice_of(masked->vector.data, masked->vector.len)) == NOF1_OK &&
           nof1_run_signed(coordinator, run, index, digest, masked->signature);
}

nof1_rc nof1_run_masked(struct nof1_coordinator *coordinator, struct run *run, size_t index,
                        const Nof1__V1__Frame *frame, struct nof1_slice bytes)
{
    struct attempt *attempt = run->attempt;
    if (run->state != RUN_ROUNDS || attempt->masked[index] != NULL ||
        !masked_belongs(coordinator, run, index, frame->masked)) {
        return NOF1_OK; /* the first answer counts, and only once */
    }
    TRY(nof1_frame_read(&frame, attempt->round_arena, bytes, NULL));
    attempt->masked[index] = frame->masked;
    return frame->masked->round == 0 ? NOF1_OK : nof1_epochs_used(coordinator, run);
}

/* ---- closing a round ------------------------------------------------------------------------- */

static nof1_rc keep_signatures(const struct run *run, struct attempt *attempt,
                               struct closed_round *closed)
{
    size_t sites = run->query->sites;
    closed->digest = nof1_arena_alloc(attempt->arena, sites, sizeof *closed->digest);
    closed->signature = nof1_arena_alloc(attempt->arena, sites, sizeof *closed->signature);
    ENSURE(closed->digest != NULL && closed->signature != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < sites; i++) {
        const Nof1__V1__Masked *masked = attempt->masked[i];
        const struct nof1_statement statement = {.site = masked->site, .h_q = run->h_q,
                                                 .h_r = attempt->h_roster,
                                                 .round = attempt->round,
                                                 .transcript = attempt->transcript};
        TRY(nof1_masked_digest(closed->digest[i], &statement,
                               nof1_slice_of(masked->vector.data, masked->vector.len)));
        closed->signature[i] = nof1_arena_copy(
            attempt->arena, nof1_slice_of(masked->signature.data, masked->signature.len));
        ENSURE(closed->signature[i].data != NULL, NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

static nof1_rc add_vectors(const struct run *run, struct attempt *attempt,
                           struct closed_round *closed)
{
    size_t m = attempt->elements;
    closed->total = nof1_arena_alloc(attempt->arena, m, NOF1_RING_BYTES);
    closed->value = nof1_arena_alloc(attempt->arena, m, sizeof(double));
    ENSURE(closed->total != NULL && closed->value != NULL, NOF1_E_NO_MEMORY);
    for (size_t e = 0; e < m; e++) {
        struct nof1_ring sum = {{0}};
        for (size_t i = 0; i < run->query->sites; i++) {
            struct nof1_ring term;
            nof1_ring_read(&term, attempt->masked[i]->vector.data + e * NOF1_RING_BYTES);
            nof1_ring_add(&sum, &term);
        }
        nof1_ring_write(closed->total + e * NOF1_RING_BYTES, &sum);
        closed->value[e] = nof1_ring_decode(&sum);
    }
    return NOF1_OK;
}

static nof1_rc close_round(struct nof1_coordinator *coordinator, struct run *run)
{
    struct attempt *attempt = run->attempt;
    struct closed_round *closed = &attempt->closed[attempt->closed_count];
    *closed = (struct closed_round){.round = attempt->round, .elements = attempt->elements,
                                    .parameters = attempt->parameters,
                                    .parameter = attempt->parameter, .layout = attempt->layout};
    memcpy(closed->transcript, attempt->transcript, NOF1_HASH_BYTES);
    TRY(add_vectors(run, attempt, closed));
    TRY(keep_signatures(run, attempt, closed));
    TRY(nof1_total_hash(closed->total_hash,
                        nof1_slice_of(closed->total, closed->elements * NOF1_RING_BYTES)));
    attempt->closed_count += 1;
    json_t *parameters = NULL;
    TRY(hex_parameters(&parameters, closed->parameter, closed->parameters));
    return nof1_record_entry(coordinator, run, "round.closed",
                             json_pack("{s:i, s:o, s:o}", "round", (int)closed->round, "total",
                                       nof1_hex_json(closed->total_hash, NOF1_HASH_BYTES),
                                       "parameters", parameters));
}

static bool all_present(const void *const *answer, size_t sites)
{
    for (size_t i = 0; i < sites; i++) {
        if (answer[i] == NULL) {
            return false;
        }
    }
    return true;
}

/* ---- what comes next ------------------------------------------------------------------------- */

static nof1_rc begin_close(struct nof1_coordinator *coordinator, struct run *run)
{
    struct attempt *attempt = run->attempt;
    const struct closed_round *last = last_closed(attempt);
    TRY(nof1_transcript_next(attempt->transcript, attempt->transcript, (uint64_t)last->round + 1, 0,
                             NULL, last->total_hash));
    Nof1__V1__Close close = NOF1__V1__CLOSE__INIT;
    close.round = last->round;
    close.total = binary(last->total, last->elements * NOF1_RING_BYTES);
    close.n_masked = run->query->sites;
    close.masked = (Nof1__V1__Masked **)(uintptr_t)attempt->masked;
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.body_case = NOF1__V1__FRAME__BODY_CLOSE;
    frame.close = &close;
    TRY(write_stage(run, attempt, &frame));
    run->state = RUN_CLOSING;
    run->since = coordinator->now;
    attempt->answer_by = coordinator->now + coordinator->config.round_timeout;
    return nof1_run_broadcast(coordinator, run, attempt->current);
}

static nof1_rc round_parameters(struct attempt *attempt, const struct nof1_next *next)
{
    double *rounded =
        nof1_arena_alloc(attempt->arena, next->parameters + 1, sizeof *rounded);
    ENSURE(rounded != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < next->parameters; i++) {
        rounded[i] = nof1_round_parameter(next->parameter[i]);
    }
    attempt->parameter = rounded;
    attempt->parameters = next->parameters;
    return NOF1_OK;
}

static nof1_rc next_round(struct nof1_coordinator *coordinator, struct run *run,
                          const struct nof1_next *next)
{
    struct attempt *attempt = run->attempt;
    const struct nof1_model *model = run->query->model;
    uint32_t round = last_closed(attempt)->round + 1;
    TRY(round_parameters(attempt, next));
    if (model->analysis->in_domain != NULL && attempt->parameters > 0 &&
        !model->analysis->in_domain(model, attempt->parameter, attempt->parameters)) {
        return nof1_run_refuse(coordinator, run, NOF1_E2306, "");
    }
    TRY(model->analysis->layout(model, round, attempt->arena, &attempt->layout));
    attempt->elements = NOF1_CHECK_ELEMENTS + attempt->layout.elements;
    TRY(nof1_transcript_next(attempt->transcript, attempt->transcript, round, attempt->parameters,
                             attempt->parameter, last_closed(attempt)->total_hash));
    if (round == 1) {
        TRY(nof1_run_atoms(coordinator, run, false));
        TRY(nof1_epochs_use(coordinator, run));
    }
    return open_round(coordinator, run, round);
}

static nof1_rc advance(struct nof1_coordinator *coordinator, struct run *run)
{
    struct attempt *attempt = run->attempt;
    const struct nof1_model *model = run->query->model;
    struct nof1_history history;
    struct nof1_next next = {0};
    struct nof1_error error = {0};
    TRY(nof1_attempt_history(&history, attempt));
    nof1_rc_value rc = model->analysis->advance(model, &history, attempt->arena, &next, &error);
    if (rc == NOF1_E_NO_MEMORY) {
        return rc;
    }
    if (rc != NOF1_OK) {
        return nof1_run_refuse(coordinator, run, rc, error.message);
    }
    if (next.done) {
        return begin_close(coordinator, run);
    }
    if (last_closed(attempt)->round >= model->max_rounds) {
        return nof1_run_refuse(coordinator, run, NOF1_E2302, "");
    }
    return next_round(coordinator, run, &next);
}

static bool element_is(const struct closed_round *closed, size_t element, uint64_t count)
{
    struct nof1_ring expected;
    struct nof1_ring found;
    nof1_ring_read(&found, closed->total + element * NOF1_RING_BYTES);
    return nof1_ring_encode(&expected, (double)count) == NOF1_OK &&
           nof1_ring_equal(&expected, &found);
}

/* [0] wrong: a fault. [0] right and the rest noise: a site objects. Round 0 knows no trials yet;
 * there the noise shows because a count is a small integer. */
static nof1_rc_value check_total(struct run *run)
{
    struct attempt *attempt = run->attempt;
    const struct closed_round *last = last_closed(attempt);
    if (!element_is(last, 0, run->query->sites)) {
        return NOF1_E2501;
    }
    if (last->round > 0) {
        return element_is(last, 1, attempt->counts.trials) ? NOF1_OK : NOF1_E2505;
    }
    nof1_rc_value rc = nof1_opening_counts(&attempt->counts, attempt->arena, run->query->model,
                                           &attempt->opening, last->value);
    return rc == NOF1_OK || rc == NOF1_E_NO_MEMORY ? rc : NOF1_E2505;
}

nof1_rc nof1_run_rounds(struct nof1_coordinator *coordinator, struct run *run)
{
    struct attempt *attempt = run->attempt;
    while (run->state == RUN_ROUNDS &&
           all_present((const void *const *)attempt->masked, run->query->sites)) {
        TRY(close_round(coordinator, run));
        nof1_rc_value rc = check_total(run);
        if (rc == NOF1_E2501) {
            return nof1_run_abort(coordinator, run, rc);
        }
        if (rc == NOF1_E2505) {
            return nof1_run_object(coordinator, run);
        }
        TRY(rc);
        TRY(advance(coordinator, run));
    }
    if (run->state == RUN_ROUNDS && coordinator->now >= run->attempt->answer_by) {
        return nof1_run_abort(coordinator, run, NOF1_E_UNREACHABLE);
    }
    return NOF1_OK;
}

/* ---- closing --------------------------------------------------------------------------------- */

static bool attest_belongs(const struct nof1_coordinator *coordinator, const struct run *run,
                           size_t index, const Nof1__V1__Attest *attest)
{
    const struct attempt *attempt = run->attempt;
    const struct nof1_member *member = &coordinator->config.charter->site[run->query->site[index]];
    const struct nof1_statement statement = {.site = member->id, .h_q = run->h_q,
                                             .h_r = attempt->h_roster, .round = attest->round,
                                             .transcript = attest->transcript.data};
    uint8_t digest[NOF1_HASH_BYTES];
    return strcmp(attest->site, member->id) == 0 && attest->round == attempt->round &&
           memcmp(attest->roster.data, attempt->h_roster, NOF1_HASH_BYTES) == 0 &&
           memcmp(attest->transcript.data, attempt->transcript, NOF1_HASH_BYTES) == 0 &&
           nof1_attest_digest(digest, &statement) == NOF1_OK &&
           nof1_run_signed(coordinator, run, index, digest, attest->signature);
}

nof1_rc nof1_run_attest(struct nof1_coordinator *coordinator, struct run *run, size_t index,
                        const Nof1__V1__Frame *frame, struct nof1_slice bytes)
{
    struct attempt *attempt = run->attempt;
    if (run->state != RUN_CLOSING || attempt->attest[index] != NULL ||
        !attest_belongs(coordinator, run, index, frame->attest)) {
        return NOF1_OK; /* the first answer counts, and only once */
    }
    TRY(nof1_frame_read(&frame, attempt->arena, bytes, NULL));
    attempt->attest[index] = frame->attest;
    return NOF1_OK;
}

nof1_rc nof1_run_close(struct nof1_coordinator *coordinator, struct run *run)
{
    struct attempt *attempt = run->attempt;
    if (all_present((const void *const *)attempt->attest, run->query->sites)) {
        return nof1_release(coordinator, run);
    }
    if (coordinator->now >= attempt->answer_by) {
        return nof1_run_abort(coordinator, run, NOF1_E_UNREACHABLE);
    }
    return NOF1_OK;
}
