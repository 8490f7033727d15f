/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whole queries over the simulated consortium: what goes over the wire, in which order, and how
 * each kind of fault ends (docs/protocol.md, "Messages").
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <sim.h>

/* ---- helpers --------------------------------------------------------------------------------- */

/* The lines appear in this order, other lines may stand between. NULL ends the list. */
static void expect_lines(const char *trace, const char *const *lines)
{
    const char *at = trace;
    for (size_t i = 0; lines[i] != NULL; i++) {
        const char *found = strstr(at, lines[i]);
        cr_expect(found != NULL, "no \"%s\" where it should be in\n%s", lines[i], at);
        if (found == NULL) {
            return;
        }
        at = found + strlen(lines[i]);
    }
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

static json_int_t attempt_of(struct sim *sim, const uint8_t h_q[32])
{
    json_t *status = nof1_coordinator_status(sim_coordinator(sim), h_q);
    json_int_t attempt = json_integer_value(json_object_get(status, "attempt"));
    json_decref(status);
    return attempt;
}

static void expect_state(struct sim *sim, const uint8_t h_q[32], const char *state)
{
    cr_expect(sim_until_final(sim, h_q), "the query hangs\n%s", sim_trace(sim));
    cr_expect_str_eq(sim_state(sim, h_q), state, "%s instead of %s\n%s", sim_state(sim, h_q), state,
                     sim_trace(sim));
    cr_expect_str_eq(sim_violation(sim), "");
}

static void expect_refusal(struct sim *sim, const uint8_t h_q[32], const char *code)
{
    json_t *result = sim_result(sim, h_q);
    json_t *refusal = json_object_get(result, "refusal");
    cr_expect_not_null(refusal);
    const char *found = json_string_value(json_object_get(refusal, "code"));
    cr_expect(found != NULL && strcmp(found, code) == 0, "%s instead of %s", found, code);
    cr_expect_not_null(json_object_get(refusal, "rule"));
    cr_expect_not_null(json_object_get(refusal, "text"));
    cr_expect_not_null(json_object_get(refusal, "remedy"));
    cr_expect_not_null(json_object_get(refusal, "retry_after"));
    json_decref(result);
}

static void expect_released(struct sim *sim, const uint8_t h_q[32], json_int_t attempt)
{
    expect_state(sim, h_q, "released");
    cr_expect(sim_pooled_equal(sim, h_q), "the totals are not those of pooling");
    cr_expect(attempt_of(sim, h_q) == attempt, "attempt %lld instead of %lld\n%s",
              (long long)attempt_of(sim, h_q), (long long)attempt, sim_trace(sim));
}

/* Everything of the n-th frame of a kind between two nodes. */
struct one_frame {
    Nof1__V1__Frame__BodyCase kind;
    size_t from, to;
    uint32_t round;
    bool any_round;
    enum sim_fate fate;
    size_t left; /* how many to hit */
};

static enum sim_fate hit_frame(void *context, struct sim *sim, size_t from, size_t to,
                               const Nof1__V1__Frame *frame)
{
    struct one_frame *one = context;
    (void)sim;
    uint32_t round = frame->body_case == NOF1__V1__FRAME__BODY_ROUND_OPEN ? frame->round_open->round
                     : frame->body_case == NOF1__V1__FRAME__BODY_MASKED   ? frame->masked->round
                                                                          : 0;
    if (one->left == 0 || frame->body_case != one->kind || from != one->from || to != one->to ||
        (!one->any_round && round != one->round)) {
        return SIM_DELIVER;
    }
    one->left -= 1;
    return one->fate;
}

static enum sim_fate every_frame_twice(void *context, struct sim *sim, size_t from, size_t to,
                                       const Nof1__V1__Frame *frame)
{
    (void)context, (void)sim, (void)from, (void)to, (void)frame;
    return SIM_TWICE;
}

static enum sim_fate some_overtaken(void *context, struct sim *sim, size_t from, size_t to,
                                    const Nof1__V1__Frame *frame)
{
    (void)context, (void)from, (void)to, (void)frame;
    return test_random_uniform(sim_random(sim)) < 0.3 ? SIM_OVERTAKE : SIM_DELIVER;
}

struct nth_action {
    size_t node, count, at; /* die before action number `at` of `node` */
    bool store;
};

static bool crash_at(void *context, struct sim *sim, size_t node, const struct nof1_action *action)
{
    struct nth_action *nth = context;
    (void)sim, (void)action;
    return !nth->store && node == nth->node && ++nth->count == nth->at;
}

static bool store_fails_at(void *context, struct sim *sim, size_t node)
{
    struct nth_action *nth = context;
    (void)sim;
    return nth->store && node == nth->node && ++nth->count == nth->at;
}

/* ---- the happy path -------------------------------------------------------------------------- */

Test(sim, happy_path)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 1});
    uint8_t h_q[32];
    sim_start(sim);
    sim_trace_clear(sim);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    expect_released(sim, h_q, 1);
    sim_run(sim, sim_now(sim) + 100);
    static const char *const lines[] = {
        "submit", "coordinator > site000 QueryOffer", "coordinator > site001 QueryOffer",
        "coordinator > site002 QueryOffer", "site000 > coordinator KeyAd",
        "site001 > coordinator KeyAd", "site002 > coordinator KeyAd",
        "coordinator > site000 Roster 3", "coordinator > site002 Roster 3",
        "coordinator > site000 RoundOpen 0", "coordinator > site002 RoundOpen 0",
        "site000 > coordinator Masked 0", "site001 > coordinator Masked 0",
        "site002 > coordinator Masked 0", "coordinator > site000 RoundOpen 1",
        "site000 > coordinator Masked 1", "site002 > coordinator Masked 1",
        "coordinator > site000 Close 1", "site000 > coordinator Attest 1",
        "site002 > coordinator Attest 1", "coordinator > site000 End released",
        "coordinator > site002 End released", "coordinator = released", NULL};
    expect_lines(sim_trace(sim), lines);
    /* one round trip a stage, one frame a site and direction: nothing else was said */
    cr_expect_eq(count_of(sim_trace(sim), " > "), 3 * (4 + 1 + 4 + 1), "%s", sim_trace(sim));
    sim_free(sim);
}

Test(sim, result_says_what_was_spent_and_where_it_came_from)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 4, .patients = 5, .seed = 2});
    uint8_t h_q[32];
    sim_start(sim);
    struct nof1_slice plan = sim_plan(sim, NULL);
    cr_assert_eq(sim_submit(sim, plan, h_q), NOF1_OK);
    expect_released(sim, h_q, 1);
    json_t *result = sim_result(sim, h_q);
    const json_t *privacy = json_object_get(result, "privacy");
    const json_t *provenance = json_object_get(result, "provenance");
    cr_expect_eq(json_integer_value(json_object_get(result, "schema_version")), 1);
    cr_expect_eq(json_integer_value(json_object_get(privacy, "sites")), 4);
    cr_expect_eq(json_integer_value(json_object_get(privacy, "patients")), 20);
    cr_expect_eq(json_integer_value(json_object_get(privacy, "trials")), 20);
    cr_expect_gt(json_integer_value(json_object_get(privacy, "scalars")), 0);
    cr_expect_gt(json_integer_value(json_object_get(privacy, "rounds")), 0);
    cr_expect_gt(json_number_value(json_object_get(privacy, "ratio")), 0);
    cr_expect_not_null(json_object_get(privacy, "entropy_bits"));
    const json_t *group = json_array_get(json_object_get(privacy, "classes"), 0);
    cr_expect_gt(json_integer_value(json_object_get(group, "patients")), 0);
    cr_expect_eq(json_array_size(json_object_get(privacy, "sites_each")), 4);
    const json_t *each = json_array_get(json_object_get(privacy, "sites_each"), 3);
    cr_expect_gt(json_integer_value(json_object_get(each, "bytes_in")), 32);
    cr_expect_gt(json_integer_value(json_object_get(each, "bytes_out")), 32);
    cr_expect_eq(json_integer_value(json_object_get(provenance, "epoch")), 1);
    cr_expect_eq(json_integer_value(json_object_get(provenance, "attempt")), 1);
    cr_expect_eq(strlen(json_string_value(json_object_get(provenance, "plan"))), 64u);
    cr_expect_not_null(json_object_get(result, "estimates"));
    json_int_t index = json_integer_value(json_object_get(provenance, "ledger_index"));
    const char *kind = NULL;
    sim_ledger_entry(sim, 4, (size_t)index, &kind);
    cr_expect_str_eq(kind, "result.released");

    /* the same plan once more: from the store, no frame, no budget */
    size_t frames = sim_frames(sim);
    cr_expect_eq(sim_submit(sim, plan, NULL), NOF1_OK);
    sim_run(sim, sim_now(sim) + 1000);
    cr_expect_eq(sim_frames(sim), frames);
    /* ... also after a restart */
    sim_crash(sim, 4, 10);
    sim_run(sim, sim_now(sim) + 10000);
    json_t *again = sim_result(sim, h_q);
    cr_expect(json_equal(result, again));
    json_decref(again);
    json_decref(result);
    sim_free(sim);
}

Test(sim, ledger_tells_the_story_and_no_site)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 3});
    uint8_t h_q[32];
    sim_start(sim);
    size_t from = sim_ledger_length(sim, 3);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    expect_released(sim, h_q, 1);
    static const char *const kinds[] = {"query.submitted", "round.opened", "round.closed",
                                        "round.opened", "round.closed", "result.released"};
    cr_assert_eq(sim_ledger_length(sim, 3) - from, sizeof kinds / sizeof *kinds, "%s",
                 sim_trace(sim));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *kind = NULL;
        const char *entry = sim_ledger_entry(sim, 3, from + i, &kind);
        cr_expect_str_eq(kind, kinds[i]);
        cr_expect_null(strstr(entry, "site0"), "a site in %s", entry);
        cr_expect_not_null(strstr(entry, "\"time\":\"2026-05-01T"), "%s", entry);
    }
    sim_free(sim);
}

Test(sim, any_number_of_sites_gives_the_bits_of_pooling)
{
    static const size_t sites[] = {3, 4, 9, 30};
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++) {
        struct sim *sim = sim_new(&(struct sim_options){
            .sites = sites[i], .patients = 4, .seed = 40 + i, .missing = true, .jitter = 40,
            .block_sites = sites[i] > 8 ? 4 : 0, .quiet = true, .round_timeout = 60000});
        uint8_t h_q[32];
        sim_start(sim);
        cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
        expect_released(sim, h_q, 1);
        sim_free(sim);
    }
}

/* ---- links ----------------------------------------------------------------------------------- */

Test(sim, reconnected_site_gets_the_same_bytes)
{
    static const struct one_frame cases[] = {
        {NOF1__V1__FRAME__BODY_QUERY_OFFER, 5, 1, 0, false, SIM_BREAK, 1},
        {NOF1__V1__FRAME__BODY_KEY_AD, 1, 5, 0, false, SIM_BREAK, 1},
        {NOF1__V1__FRAME__BODY_ROSTER, 5, 1, 0, false, SIM_BREAK, 1},
        {NOF1__V1__FRAME__BODY_ROUND_OPEN, 5, 1, 0, false, SIM_BREAK, 1},
        {NOF1__V1__FRAME__BODY_MASKED, 1, 5, 0, false, SIM_BREAK, 1},
        {NOF1__V1__FRAME__BODY_ROUND_OPEN, 5, 1, 1, false, SIM_BREAK, 1},
        {NOF1__V1__FRAME__BODY_MASKED, 1, 5, 1, false, SIM_BREAK, 1},
        {NOF1__V1__FRAME__BODY_CLOSE, 5, 1, 0, true, SIM_BREAK, 1},
        {NOF1__V1__FRAME__BODY_ATTEST, 1, 5, 0, true, SIM_BREAK, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sim *sim = sim_new(&(struct sim_options){.sites = 5, .patients = 4, .seed = 50});
        struct one_frame one = cases[i];
        uint8_t h_q[32];
        sim_start(sim);
        sim_trace_clear(sim);
        sim_set_faults(sim, &(struct sim_faults){.context = &one, .frame = hit_frame});
        cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
        expect_released(sim, h_q, 1);
        cr_expect_eq(one.left, 0u, "case %zu was not reached", i);
        static const char *const lines[] = {"site001 down", "site001 up", "coordinator > site001",
                                            "site001 > coordinator", "coordinator = released",
                                            NULL};
        expect_lines(sim_trace(sim), lines);
        sim_free(sim);
    }
}

Test(sim, lost_site_aborts_the_attempt_and_the_deadline_ends_the_query)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 4, .patients = 4, .seed = 6});
    uint8_t h_q[32];
    sim_start(sim);
    sim_trace_clear(sim);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    int64_t submitted = sim_now(sim);
    sim_run(sim, sim_now(sim) + 11); /* the roster is frozen, round 0 is open */
    sim_break(sim, 2, -1);
    sim_run(sim, sim_now(sim) + 6000);
    cr_expect_str_eq(sim_state(sim, h_q), "gathering");
    json_t *status = nof1_coordinator_status(sim_coordinator(sim), h_q);
    json_t *awaited = json_object_get(status, "awaited");
    cr_expect_eq(json_array_size(awaited), 1u);
    cr_expect_str_eq(json_string_value(json_array_get(awaited, 0)), "site002");
    json_decref(status);
    expect_state(sim, h_q, "expired");
    expect_refusal(sim, h_q, "E1010");
    cr_expect(sim_now(sim) - submitted <= 601000, "the run's deadline is ten minutes");
    static const char *const lines[] = {"RoundOpen 0", "site002 down",
                                        "coordinator > site000 End E1007", "coordinator = expired",
                                        NULL};
    expect_lines(sim_trace(sim), lines);
    sim_free(sim);
}

Test(sim, lost_site_comes_back_and_the_next_attempt_succeeds)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 4, .patients = 4, .seed = 7});
    uint8_t h_q[32];
    sim_start(sim);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    sim_run(sim, sim_now(sim) + 11);
    sim_break(sim, 2, 60000);
    expect_released(sim, h_q, 2);
    sim_free(sim);
}

Test(sim, duplicates_and_reordering_are_harmless)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct sim *sim = sim_new(
            &(struct sim_options){.sites = 3, .patients = 6, .seed = seed, .jitter = 20});
        uint8_t h_q[32];
        sim_start(sim);
        sim_set_faults(sim, &(struct sim_faults){
                                .frame = seed % 2 == 0 ? every_frame_twice : some_overtaken});
        cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
        expect_state(sim, h_q, "released");
        cr_expect(sim_pooled_equal(sim, h_q));
        sim_free(sim);
    }
}

Test(sim, gathering_waits_and_ends)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 8});
    uint8_t h_q[32];
    sim_start(sim);
    sim_break(sim, 1, -1);
    sim_run(sim, sim_now(sim) + 1000);
    int64_t submitted = sim_now(sim);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    sim_run(sim, sim_now(sim) + 3600 * 1000);
    cr_expect_str_eq(sim_state(sim, h_q), "gathering");
    expect_state(sim, h_q, "expired");
    cr_expect_eq(sim_now(sim) - submitted, 2 * 3600 * 1000, "gather_by is two hours");
    expect_refusal(sim, h_q, "E1010");
    /* submitted again when the site is back, the same plan runs */
    sim_up(sim, 1);
    sim_run(sim, sim_now(sim) + 1000);
    sim_break(sim, 0, 5000);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    expect_released(sim, h_q, 1);
    sim_free(sim);
}

/* ---- crashes --------------------------------------------------------------------------------- */

/* Crash one node before its k-th action (or let its k-th transaction fail), for every k there is.
 */
static void crash_everywhere(size_t node, bool store)
{
    size_t k = 1;
    bool reached = true;
    for (; reached && k < 400; k++) {
        /* a deployed site's answers wait, so that they leave in another step than they are made in
         */
        struct sim *sim = sim_new(&(struct sim_options){
            .sites = 3, .patients = 6, .seed = 9, .answer_delay = node < 3 ? 10 : 0});
        struct nth_action nth = {.node = node, .at = k, .store = store};
        uint8_t h_q[32];
        sim_start(sim);
        struct nof1_slice plan = sim_plan(sim, NULL);
        sim_set_faults(sim, &(struct sim_faults){.context = &nth, .crash = crash_at,
                                                 .store = store_fails_at});
        (void)sim_submit(sim, plan, h_q);
        sim_run(sim, sim_now(sim) + 5000);
        if (sim_state(sim, h_q)[0] == 0) {
            /* the crash came before the plan was stored: the statistician was told nothing */
            cr_assert_eq(sim_submit(sim, plan, h_q), NOF1_OK);
        }
        expect_state(sim, h_q, "released");
        cr_expect(sim_pooled_equal(sim, h_q), "node %zu action %zu", node, k);
        cr_expect(sim_budgets_kept(sim), "node %zu action %zu", node, k);
        cr_expect_str_eq(sim_violation(sim), "", "node %zu action %zu", node, k);
        reached = nth.count >= k;
        sim_free(sim);
    }
    cr_expect(k > 5 && k < 400, "k went up to %zu", k);
}

Test(sim, coordinator_crashes_anywhere)
{
    crash_everywhere(3, false);
}

Test(sim, coordinator_store_fails_anywhere)
{
    crash_everywhere(3, true);
}

Test(sim, site_crashes_anywhere)
{
    crash_everywhere(1, false);
}

Test(sim, site_store_fails_anywhere)
{
    crash_everywhere(1, true);
}

Test(sim, restarted_site_makes_a_second_attempt)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 10});
    uint8_t h_q[32];
    sim_start(sim);
    sim_trace_clear(sim);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    sim_run(sim, sim_now(sim) + 17);
    sim_crash(sim, 2, 50);
    expect_released(sim, h_q, 2);
    static const char *const lines[] = {"RoundOpen 0", "site002 crashes", "site002 restarts",
                                        "site002 up", "site002 > coordinator Refusal E2503",
                                        "End E2503", "coordinator > site002 QueryOffer",
                                        "coordinator = released", NULL};
    expect_lines(sim_trace(sim), lines);
    sim_free(sim);
}

Test(sim, vault_restarted_behind_its_edge)
{
    /* in the middle of opening, of round 0, of round 1, of closing */
    static const int64_t when[] = {2, 7, 12, 17, 22, 27};
    for (size_t i = 0; i < sizeof when / sizeof *when; i++) {
        struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 17});
        uint8_t h_q[32];
        sim_start(sim);
        cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
        int64_t submitted = sim_now(sim);
        sim_run(sim, sim_now(sim) + when[i]);
        sim_swap(sim, 1);
        expect_state(sim, h_q, "released");
        cr_expect(sim_pooled_equal(sim, h_q));
        cr_expect_lt(sim_now(sim) - submitted, 1000, "no time-out had to be waited for\n%s",
                     sim_trace(sim));
        sim_free(sim);
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

Test(sim, policy_refusal_ends_the_query_with_rule_and_remedy)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 5, .patients = 1, .seed = 11,
                                                    .preset = "ultra-rare"});
    uint8_t h_q[32];
    sim_start(sim);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    expect_state(sim, h_q, "refused");
    expect_refusal(sim, h_q, "E2205");
    sim_free(sim);
}

Test(sim, paused_site_refuses)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 12});
    uint8_t h_q[32];
    sim_start(sim);
    sim_event(sim, 1, &(struct nof1_event){.kind = NOF1_EVENT_PAUSE, .flag = true});
    struct nof1_slice plan = sim_plan(sim, NULL);
    cr_assert_eq(sim_submit(sim, plan, h_q), NOF1_OK);
    expect_state(sim, h_q, "refused");
    expect_refusal(sim, h_q, "E2313");
    /* let go, the same plan runs */
    sim_event(sim, 1, &(struct nof1_event){.kind = NOF1_EVENT_PAUSE, .flag = false});
    cr_assert_eq(sim_submit(sim, plan, h_q), NOF1_OK);
    expect_released(sim, h_q, 1);
    sim_free(sim);
}

Test(sim, silent_objection_names_nobody)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 5, .patients = 40, .seed = 13,
                                                    .preset = "ultra-rare"});
    uint8_t h_q[32];
    for (size_t s = 1; s < 5; s++) {
        sim_epoch(sim, s)->trials = 4;
        sim_epoch(sim, s)->patients = 4;
    }
    sim_start(sim);
    size_t from = sim_ledger_length(sim, 5);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    expect_state(sim, h_q, "objected");
    expect_refusal(sim, h_q, "E2505");
    for (size_t i = from; i < sim_ledger_length(sim, 5); i++) {
        cr_expect_null(strstr(sim_ledger_entry(sim, 5, i, NULL), "site0"));
    }
    json_t *result = sim_result(sim, h_q);
    char *text = json_dumps(result, 0);
    cr_expect_null(strstr(text, "site0"));
    free(text);
    json_decref(result);
    /* final: asked again, the answer stands and nothing is sent */
    size_t frames = sim_frames(sim);
    sim_run(sim, sim_now(sim) + 1000);
    frames = sim_frames(sim);
    cr_expect_eq(sim_submit(sim, sim_plan(sim, NULL), NULL), NOF1_OK);
    cr_expect_str_eq(sim_state(sim, h_q), "objected");
    cr_expect_geq(sim_frames(sim), frames);
    sim_free(sim);
}

Test(sim, steward_approves_by_hand)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 14,
                                                    .manual_approval = true});
    uint8_t h_q[32];
    sim_start(sim);
    sim_trace_clear(sim);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    sim_run(sim, sim_now(sim) + 3600 * 1000);
    cr_expect_str_eq(sim_state(sim, h_q), "opening");
    for (size_t s = 0; s < 3; s++) {
        sim_event(sim, s, &(struct nof1_event){.kind = NOF1_EVENT_APPROVE, .flag = true,
                                               .bytes = nof1_slice_of(h_q, 32)});
    }
    expect_released(sim, h_q, 1);
    sim_free(sim);
}

Test(sim, plans_that_cannot_run_are_rejected_at_once)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 15});
    uint8_t h_q[32];
    sim_start(sim);
    struct nof1_slice plan = sim_plan(sim, NULL);
    uint8_t other[4096];
    cr_assert_lt(plan.length, sizeof other);
    memcpy(other, plan.data, plan.length);
    /* not signed by anybody on the charter */
    struct nof1_event event = {.kind = NOF1_EVENT_SUBMIT, .peer = "ada", .bytes = plan,
                               .signature = nof1_slice_of("no signature", 12)};
    sim_event(sim, 3, &event);
    json_t *all = nof1_coordinator_status(sim_coordinator(sim), NULL);
    cr_expect_eq(json_array_size(all), 1u, "only the census");
    json_decref(all);
    event.peer = "eve";
    sim_event(sim, 3, &event);
    /* damaged bytes */
    other[plan.length / 2] ^= 1;
    cr_expect_neq(sim_submit(sim, nof1_slice_of(other, plan.length), h_q), NOF1_OK);
    cr_expect_str_eq(sim_state(sim, h_q), "");
    sim_free(sim);
}
