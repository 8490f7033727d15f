/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a site refuses from the first round on: requests out of order, false totals and vectors,
 * other parameters, re-runs that differ, each with its code.
 */
#include "hand_violation.h"

static const Nof1__V1__Frame *round_before_roster(struct hand *h)
{
    hand_offer(h, 0);
    return hand_open(h, 0, 0);
}

static const Nof1__V1__Frame *round_skipped(struct hand *h)
{
    hand_gather(h);
    hand_round(h, 0);
    return hand_open(h, 0, 2);
}

static const Nof1__V1__Frame *round_of_other_attempt(struct hand *h)
{
    hand_gather(h);
    hand_round(h, 0);
    h->nonce[0] ^= 1;
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *round_after_restart(struct hand *h)
{
    hand_gather(h);
    hand_start(h, 0);
    return hand_open(h, 0, 0);
}

static const Nof1__V1__Frame *opening_with_parameters(struct hand *h)
{
    static uint64_t parameter[1];
    hand_gather(h);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, 0, &open);
    open.n_parameter = 1;
    open.parameter = parameter;
    return hand_send(h, 0, &frame);
}

static const Nof1__V1__Frame *round_changed(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    hand_advance(h, 1);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, 1, &open);
    open.n_parameter = 0;
    return hand_send(h, 0, &frame);
}

static const Nof1__V1__Frame *round_zero_again(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    return hand_open(h, 0, 0);
}

static const Nof1__V1__Frame *total_announced_wrong(struct hand *h)
{
    until(h, 1);
    uint8_t *bytes = (uint8_t *)(uintptr_t)h->total.data;
    bytes[NOF1_RING_BYTES + 16] ^= 1;
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *vector_tampered(struct hand *h)
{
    until(h, 1);
    tamper(h, 2, 1, 5, 3); /* not signed by its site */
    hand_add(h);
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *vector_own_changed(struct hand *h)
{
    until(h, 1);
    tamper(h, 0, 1, 5, 0);
    hand_add(h);
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *vector_left_out(struct hand *h)
{
    until(h, 1);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, 1, &open);
    open.n_previous = SITES - 1;
    return hand_send(h, 0, &frame);
}

static const Nof1__V1__Frame *vector_twice(struct hand *h)
{
    until(h, 1);
    h->masked[2] = h->masked[1];
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *vector_replayed(struct hand *h)
{
    const Nof1__V1__Masked *old[SITES];
    until(h, 1);
    memcpy(old, h->masked, sizeof old);
    hand_attempt(h);
    until(h, 1);
    h->masked[3] = old[3];
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *site_missing_in_sum(struct hand *h)
{
    until(h, 1);
    tamper(h, 2, 0, -1, 2);
    hand_add(h);
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *negative_counts(struct hand *h)
{
    until(h, 1);
    tamper(h, 2, 2, -1000, 2);
    hand_add(h);
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *trials_do_not_add_up(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    tamper(h, 2, 1, 1, 2);
    hand_add(h);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *sum_out_of_bounds(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    tamper(h, 2, h->elements - 1, 0x1p90, 2);
    hand_add(h);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *rerun_with_other_data(struct hand *h)
{
    hand_run(h);
    hand_attempt(h);
    until(h, 1);
    hand_round(h, 1);
    tamper(h, 2, 2, 1, 2);
    hand_add(h);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *rerun_with_other_counts(struct hand *h)
{
    hand_run(h);
    hand_attempt(h);
    until(h, 1);
    tamper(h, 2, 3, 1, 2);
    hand_add(h);
    return hand_open(h, 0, 1);
}

/* ---- parameters */

static const Nof1__V1__Frame *two_units_off(struct hand *h)
{
    return shifted(h, 2);
}

static const Nof1__V1__Frame *not_rounded(struct hand *h)
{
    until(h, 1);
    while (h->parameters == 0) {
        hand_round(h, 1);
        cr_assert(hand_advance(h, 1));
    }
    double *parameter = nof1_arena_alloc(h->arena, h->parameters, sizeof *parameter);
    memcpy(parameter, h->parameter, h->parameters * sizeof *parameter);
    parameter[0] = parameter[0] == 0 ? 0x1p-1000 : nextafter(parameter[0], 1e9);
    h->parameter = parameter;
    return hand_open(h, 0, (uint32_t)h->history.rounds + 1);
}

static const Nof1__V1__Frame *outside_the_domain(struct hand *h)
{
    until(h, 1);
    while (h->parameters == 0) {
        hand_round(h, 1);
        cr_assert(hand_advance(h, 1));
    }
    double *parameter = nof1_arena_alloc(h->arena, h->parameters, sizeof *parameter);
    for (size_t p = 0; p < h->parameters; p++) {
        parameter[p] = -0x1p-20; /* a pole scan: a negative variance */
    }
    h->parameter = parameter;
    return hand_open(h, 0, (uint32_t)h->history.rounds + 1);
}

/* The first run's bits must come back, even where another unit would be close enough. */
static const Nof1__V1__Frame *rerun_with_other_parameters(struct hand *h)
{
    hand_run(h);
    hand_attempt(h);
    return shifted(h, 1);
}

static const Nof1__V1__Frame *closed_too_early(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *round_after_the_last(struct hand *h)
{
    uint32_t round = 0;
    hand_gather(h);
    hand_round(h, 0);
    while (hand_advance(h, round)) {
        hand_round(h, ++round);
    }
    return hand_open(h, 0, round + 1);
}

/* ---- the close */

static const Nof1__V1__Frame *close_of_other_round(struct hand *h)
{
    until(h, 1);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *close_tampered(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    tamper(h, 2, 2, 1, 2);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *close_changed(struct hand *h)
{
    hand_run(h);
    tamper(h, 2, 2, 1, 2);
    hand_add(h);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *after_the_deadline(struct hand *h)
{
    until(h, 1);
    h->now += 11 * 60 * 1000;
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *timer_after_the_deadline(struct hand *h)
{
    until(h, 1);
    h->now += 11 * 60 * 1000;
    return hand_event(h, 0, (struct nof1_event){.kind = NOF1_EVENT_TIMER}, NULL);
}

static const struct violation_row violations[] = {
    {"round before the roster", round_before_roster, "E2503", &plain},
    {"round skipped", round_skipped, "E2503", &plain},
    {"round of an unknown attempt", round_of_other_attempt, "E2503", &plain},
    {"round after a restart", round_after_restart, "E2503", &plain},
    {"parameters in round 0", opening_with_parameters, "E2503", &plain},
    {"second content for a round", round_changed, "E2310", &plain},
    {"round 0 again", round_zero_again, "E2310", &plain},
    {"announced total", total_announced_wrong, "E2504", &plain},
    {"vector not signed by its site", vector_tampered, "E2504", &plain},
    {"own vector changed", vector_own_changed, "E2504", &plain},
    {"vector left out", vector_left_out, "E2504", &plain},
    {"vector shown twice", vector_twice, "E2504", &plain},
    {"vector of an earlier attempt", vector_replayed, "E2503", &plain},
    {"a site missing in the sum", site_missing_in_sum, "E2501", &plain},
    {"negative counts", negative_counts, "E2501", &plain},
    {"a site objects", trials_do_not_add_up, "E2505", &plain},
    {"sum out of bounds", sum_out_of_bounds, "E2501", &plain},
    {"other data in a re-run", rerun_with_other_data, "E2502", &plain},
    {"other counts in a re-run", rerun_with_other_counts, "E2502", &plain},
    {"parameters off by two units", two_units_off, "E2305", &rounds},
    {"parameters not rounded", not_rounded, "E2305", &rounds},
    {"a negative variance", outside_the_domain, "E2306", &rounds},
    {"other parameters in a re-run", rerun_with_other_parameters, "E2305", &rounds},
    {"closed too early", closed_too_early, "E2305", &rounds},
    {"a round too many", round_after_the_last, "E2302", &plain},
    {"close of a round not answered", close_of_other_round, "E2503", &plain},
    {"close with other vectors", close_tampered, "E2504", &plain},
    {"second content of a close", close_changed, "E2310", &plain},
    {"deadline", after_the_deadline, "E1010", &plain},
    {"deadline, by timer", timer_after_the_deadline, "E1010", &plain},
};

Test(site_rounds, violations_are_refused_with_their_code_and_without_a_number, .timeout = 300)
{
    expect_refusals(violations, sizeof violations / sizeof violations[0]);
}

Test(site_rounds, one_unit_of_difference_is_accepted)
{
    struct hand *h = hand_new(&rounds);
    const Nof1__V1__Frame *reply = shifted(h, 1);
    cr_expect_eq(reply->body_case, NOF1__V1__FRAME__BODY_MASKED);
    hand_free(h);
}

/* Round 0's total has split the atoms when round 1 turns out to be refused: both are in the store,
 * or a site that restarts would take its own patients for those of another release. */
Test(site_rounds, a_plan_refused_in_round_1_runs_again_after_a_restart)
{
    struct hand *h = hand_new(&plain);
    double wrong = 7;
    until(h, 1);
    const size_t parameters = h->parameters;
    const double *parameter = h->parameter;
    h->parameters = parameters + 1;
    h->parameter = &wrong;
    cr_assert_eq(parameters, 0);
    const Nof1__V1__Frame *reply = hand_open(h, 0, 1);
    cr_assert_not_null(reply);
    cr_assert_eq(reply->body_case, NOF1__V1__FRAME__BODY_REFUSAL);
    cr_expect_str_eq(reply->refusal->code, "E2305");
    h->parameters = parameters;
    h->parameter = parameter;
    for (size_t s = 0; s < SITES; s++) {
        hand_start(h, s);
    }
    hand_attempt(h);
    cr_expect_eq(hand_run(h), 1);
    json_t *status = nof1_site_status(h->site[0]);
    const json_t *budget = json_object_get(status, "budget");
    cr_expect_eq(json_integer_value(json_object_get(budget, "queries")), 1, "charged once");
    json_decref(status);
    hand_free(h);
}
