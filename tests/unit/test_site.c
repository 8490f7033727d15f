/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The site's session, driven by hand: the happy path, re-runs, silent objections, budgets,
 * approvals and the difference rule. Violations of the protocol are in test_site_gather.c and
 * test_site_rounds.c.
 */
#include "hand_query.h"

#include <core/atoms.h>

/* ---- the happy path ------------------------------------------------------------ */

static struct nof1_slice stored_at(struct hand *h, size_t site, const char *key)
{
    for (size_t i = 0; i < h->stores[site]; i++) {
        if (strcmp(h->store[site][i].key, key) == 0) {
            return h->store[site][i].value;
        }
    }
    return (struct nof1_slice){0};
}

Test(site, census_and_query_are_attested)
{
    struct hand *h = hand_new(&plain);
    struct nof1_study study = {h->charter, h->census, h->query->study.plan};
    cr_expect_eq(nof1_census_count(&study, "patients"), 20);
    cr_expect_eq(nof1_census_count(&study, "y/sites"), 5);
    cr_expect_eq(nof1_census_count(&study, "y/class:3x3"), 20);
    cr_expect_eq(nof1_census_count(&study, "y/cycles:3"), 20);
    cr_expect_eq(nof1_census_count(&study, "y/pattern:3:3"), 20);
    cr_expect_eq(nof1_census_count(&study, "y/incomplete"), 0);
    cr_expect_eq(nof1_census_count(&study, "y/dominated"), 0);
    cr_expect_eq(nof1_census_count(&study, "stratum:F") + nof1_census_count(&study, "stratum:M"),
                 20);
    uint32_t last = hand_run(h);
    cr_expect_eq(last, h->query->study.plan->max_rounds);
    hand_end(h, true);
    for (size_t s = 0; s < SITES; s++) {
        cr_expect_not_null(strstr(h->last_entry[s], "\"released\":true"));
    }
    json_t *status = nof1_site_status(h->site[0]);
    json_t *queries = json_object_get(status, "queries");
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(queries, 0), "state")),
                     "released");
    cr_expect_eq(
        json_integer_value(json_object_get(json_object_get(status, "budget"), "queries")), 1);
    json_decref(status);
    hand_free(h);
}

Test(site, rounds_with_parameters_are_replayed_to_the_end)
{
    struct hand *h = hand_new(&rounds);
    cr_expect_gt(hand_run(h), 1);
    hand_free(h);
}

Test(site, identical_requests_get_the_same_answer_again)
{
    struct hand *h = hand_new(&plain);
    hand_gather(h);
    const Nof1__V1__Frame *again = hand_offer(h, 0);
    cr_expect_eq(memcmp(again->key_ad->x25519.data, h->ad[0]->x25519.data, 32), 0);
    cr_expect_null(hand_roster(h, 0, h->ad, SITES), "a repeated roster needs no answer");
    hand_round(h, 0);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, 0, &open);
    struct nof1_slice first, second;
    const struct nof1_event event = {.kind = NOF1_EVENT_FRAME, .bytes = hand_bytes(h, &frame)};
    hand_event(h, 0, event, &first);
    cr_expect_eq(h->puts, 0);
    hand_event(h, 0, event, &second);
    cr_expect(nof1_slice_equal(first, second));
    hand_free(h);
}

/* Restart every site between two runs of one plan: same totals, no second charge. */
Test(site, a_rerun_is_free_and_gives_the_same_totals)
{
    struct hand *h = hand_new(&plain);
    hand_run(h);
    struct nof1_slice total = h->total;
    struct nof1_slice atoms = stored_at(h, 0, "atoms/y");
    hand_end(h, false);
    for (size_t s = 0; s < SITES; s++) {
        hand_start(h, s);
    }
    hand_attempt(h);
    hand_run(h);
    cr_expect(nof1_slice_equal(total, h->total));
    cr_expect(nof1_slice_equal(atoms, stored_at(h, 0, "atoms/y")), "atoms are split once");
    json_t *status = nof1_site_status(h->site[0]);
    cr_expect_eq(
        json_integer_value(json_object_get(json_object_get(status, "budget"), "queries")), 1);
    json_decref(status);
    hand_free(h);
}

/* ---- silent objections ------------------------------------------------------------ */

/* Round 1 after an objection of site 0: [0] still counts everybody, the rest is noise for all, and
 * every site, the objecting one included, then reports that a site objects. */
static void expect_objection(const char *name, const struct hand_options *options,
                             void (*change)(struct hand *h), const char *code)
{
    struct hand *h = hand_new(options);
    if (change != NULL) {
        change(h);
    }
    until(h, 1);
    hand_round(h, 1);
    char expected[64];
    snprintf(expected, sizeof expected, "\"code\":\"%s\"", code);
    cr_expect_not_null(strstr(h->last_entry[0], "query.objected"), "%s", name);
    cr_expect_not_null(strstr(h->last_entry[0], expected), "%s: %s", name, h->last_entry[0]);
    cr_expect_null(strstr(h->last_entry[1], "query.objected"), "%s", name);
    cr_expect_eq(h->value[0], SITES, "%s: the check element is kept", name);
    cr_expect_neq(h->value[1], (double)h->history.counts.trials, "%s", name);
    json_t *status = nof1_site_status(h->site[0]);
    json_t *query = json_array_get(json_object_get(status, "queries"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(query, "code")), code, "%s", name);
    json_decref(status);
    for (size_t s = 0; s < SITES; s++) {
        const Nof1__V1__Frame *reply = hand_close(h, s, 1);
        cr_expect_str_eq(reply->refusal->code, "E2505", "%s: site %zu", name, s);
        cr_expect_null(strstr(reply->refusal->text, code), "%s: site %zu", name, s);
    }
    hand_free(h);
}

static void no_share(struct hand *h)
{
    h->policy[0].max_site_share = 0.15;
    hand_start(h, 0);
}

static void more_others(struct hand *h)
{
    h->policy[0].min_others = 17;
    hand_start(h, 0);
}

static void less_ratio(struct hand *h)
{
    h->policy[0].max_net_ratio = 0.05;
    hand_start(h, 0);
}

static void no_weight(struct hand *h)
{
    h->policy[0].max_trial_share = 1e-3;
    h->policy[0].open = false;
    hand_start(h, 0);
}

static void value_out_of_bounds(struct hand *h)
{
    double *y = (double *)(uintptr_t)h->epoch[0].trial[0].outcome[0];
    y[0] = 1e30;
}

Test(site, objections_are_silent)
{
    expect_objection("site share", &plain, no_share, "E2207");
    expect_objection("others", &plain, more_others, "E2212");
    expect_objection("net ratio", &plain, less_ratio, "E2212");
    expect_objection("value", &plain, value_out_of_bounds, "E2403");
}

/* In a round with parameters. */
Test(site, a_heavy_trial_silences_its_site)
{
    struct hand *h = hand_new(&rounds);
    no_weight(h);
    hand_gather(h);
    uint32_t round = 0;
    hand_round(h, 0);
    while (h->parameters == 0 && hand_advance(h, round)) {
        hand_round(h, ++round);
    }
    cr_expect_not_null(strstr(h->last_entry[0], "E2208"), "%s", h->last_entry[0]);
    cr_expect_null(strstr(h->last_entry[1], "query.objected"));
    hand_free(h);
}

static const char mixed_plan[] =
    "plan: 1\ntitle: B against A\noutcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"
    "analysis: mixed_model\nfixed: [treatment]\nrandom: {trial: [intercept]}\n"
    "incomplete: score\ngather_by: 2h\ndeadline: 10m\n";

/* One series of six periods at site 0, one of two periods at each other site: it has more than 40 %
 * of the weight, but one fifth of the trials. The total of the first round with parameters shows
 * it. */
Test(site, a_trial_heavier_than_those_of_others_silences_its_site)
{
    static const struct hand_options one_each = {.plan = mixed_plan, .analyses = "[mixed_model]",
                                                 .preset = "open", .lab = true, .missing = true,
                                                 .patients = {1, 1, 1, 1, 1}};
    struct hand *h = hand_new(&one_each);
    h->policy[0].max_trial_share = 0.33;
    h->policy[0].open = false;
    for (size_t s = 0; s < SITES; s++) {
        const struct nof1_trial *trial = &h->epoch[s].trial[0];
        double *y = (double *)(uintptr_t)trial->outcome[0];
        bool seen[2] = {false, false};
        for (size_t r = 0; r < ROWS; r++) {
            size_t arm = trial->treatment[r];
            y[r] = s > 0 && seen[arm] ? (double)NAN : (double)(r + 3 * s * arm);
            seen[arm] = true;
        }
        h->epoch[s].id = 2;
        hand_start(h, s);
    }
    hand_census(h);
    hand_query(h, hand_complete(h, mixed_plan, 0, NULL));
    hand_gather(h);
    uint32_t round = 0, heavy = 0, with_parameters = 0;
    hand_round(h, 0);
    while (heavy == 0 && hand_advance(h, round)) {
        hand_round(h, ++round);
        with_parameters += h->parameters > 0 ? 1 : 0;
        heavy = strstr(h->last_entry[0], "E2208") != NULL ? with_parameters : 0;
    }
    cr_expect_eq(heavy, 2, "silent in round %u with parameters", heavy);
    cr_expect_null(strstr(h->last_entry[1], "query.objected"));
    hand_free(h);
}

/* ---- budgets, approvals, the difference rule
 * ------------------------------------------------------------ */

static const char *plan_named(struct hand *h, const char *title, const char *more)
{
    return nof1_arena_printf(h->arena,
                             "plan: 1\ntitle: %s\noutcome: y\ntreatment: {reference: \"A\", "
                             "active: [\"B\"]}\nanalysis: random_effects\n%sgather_by: 2h\n"
                             "deadline: 10m\n",
                             title, more);
}

static const char *refusal_of(const Nof1__V1__Frame *frame)
{
    cr_assert_not_null(frame);
    return frame->body_case == NOF1__V1__FRAME__BODY_REFUSAL ? frame->refusal->code : "";
}

/* The list that the last plan leaves, as the coordinator makes it. */
static size_t atoms_after(struct hand *h, const char *const **atom)
{
    size_t atoms = 0;
    uint64_t used[8] = {0}, left[8] = {0};
    const struct nof1_plan *plan = h->query->study.plan;
    used[0] = 20;
    MUST(nof1_atoms_after(atom, &atoms, h->arena, plan, h->query->model->groups, used, left, true));
    return atoms;
}

Test(site, budgets_count_distinct_plans_and_survive_restarts)
{
    struct hand_options options = plain;
    options.limits = "{max_queries_epoch: 3, max_queries_day: 2}";
    struct hand *h = hand_new(&options);
    for (size_t i = 0; i < 2; i++) { /* charged when round 0 is answered, released or not */
        hand_query(h, hand_complete(h, plan_named(h, i == 0 ? "first" : "second", ""), 0, NULL));
        hand_gather(h);
        cr_expect_eq(h->puts, 0, "nothing is charged before an answer");
        hand_round(h, 0);
        hand_end(h, false);
        hand_start(h, 0);
    }
    struct nof1_slice second = h->plan;
    hand_query(h, hand_complete(h, plan_named(h, "third", ""), 0, NULL));
    cr_expect_str_eq(refusal_of(hand_offer(h, 0)), "E2304");
    hand_query(h, second);
    cr_expect_eq(hand_offer(h, 0)->body_case, NOF1__V1__FRAME__BODY_KEY_AD, "a re-run is free");
    h->now += 86400 * 1000;
    hand_query(h, hand_complete(h, plan_named(h, "third", ""), 0, NULL));
    hand_gather(h);
    hand_round(h, 0);
    hand_end(h, false);
    h->now += 86400 * 1000;
    hand_query(h, hand_complete(h, plan_named(h, "fourth", ""), 0, NULL));
    cr_expect_str_eq(refusal_of(hand_offer(h, 0)), "E2303");
    hand_free(h);
}

Test(site, a_plan_may_wait_for_the_steward)
{
    const struct hand_options manual = {.manual = true};
    struct hand *h = hand_new(&manual);
    struct nof1_event approve = {.kind = NOF1_EVENT_APPROVE, .flag = true};
    cr_expect_null(hand_offer(h, 0), "the census needs no approval, a plan does");
    cr_expect_null(hand_offer(h, 0));
    approve.bytes = nof1_slice_of(h->h_q, 32);
    cr_expect_eq(hand_event(h, 0, approve, NULL)->body_case, NOF1__V1__FRAME__BODY_KEY_AD);
    cr_expect_null(hand_offer(h, 1));
    approve.flag = false;
    cr_expect_str_eq(refusal_of(hand_event(h, 1, approve, NULL)), "E2313");
    hand_start(h, 0); /* the approval is remembered */
    hand_attempt(h);
    cr_expect_eq(hand_offer(h, 0)->body_case, NOF1__V1__FRAME__BODY_KEY_AD);
    hand_free(h);
}

/* After a release nobody is in atom "0": plans against the old list are refused, plans against the
 * new one count the ratio of both. */
Test(site, releases_split_atoms_and_add_up_their_ratio)
{
    struct hand *h = hand_new(&plain);
    const char *const *atom = NULL;
    hand_run(h);
    hand_end(h, true);
    size_t atoms = atoms_after(h, &atom);
    cr_expect_eq(atoms, 1);
    cr_expect_str_neq(atom[0], "0");
    hand_query(h, hand_complete(h, plan_named(h, "again", "method: ML\n"), 0, NULL));
    cr_expect_str_eq(refusal_of(hand_offer(h, 0)), "E2210");
    size_t released = 0;
    const char *code = "";
    while (code[0] == 0 && released < 5) {
        hand_query(h, hand_complete(h, plan_named(h, released % 2 ? "odd" : "even",
                                                  released < 2 ? "method: ML\n"
                                                               : "method: DL\n"),
                                    atoms, atom));
        hand_gather(h);
        hand_round(h, 0);
        cr_assert(hand_advance(h, 0));
        code = refusal_of(hand_open(h, 0, 1));
        if (code[0] == 0) {
            hand_round(h, 1);
            for (size_t s = 0; s < SITES; s++) {
                cr_expect_str_eq(refusal_of(hand_close(h, s, 1)), "");
            }
            hand_end(h, true);
            atoms = atoms_after(h, &atom);
            released++;
        }
    }
    cr_expect_str_eq(code, "E2301", "2 of 20 numbers a plan: the fourth exceeds 0.33");
    cr_expect_eq(released, 2);
    hand_free(h);
}

/* Round 1 was answered but never closed: its numbers may be known, so the atoms are split all the
 * same, a plan that differs from it is measured against it, and only its own re-run passes. */
Test(site, an_unfinished_plan_counts)
{
    struct hand *h = hand_new(&plain);
    struct nof1_slice first = h->plan;
    hand_gather(h);
    hand_round(h, 0);
    hand_advance(h, 0);
    hand_round(h, 1);
    hand_end(h, false);
    hand_query(h, hand_complete(h, plan_named(h, "other", "method: ML\n"), 0, NULL));
    cr_expect_str_eq(refusal_of(hand_offer(h, 0)), "E2210");
    hand_query(h, first);
    hand_run(h);
    hand_free(h);
}

/* Series that changed since their last release form an atom of their own; the others keep theirs.
 */
Test(site, what_changed_is_an_atom_of_its_own)
{
    struct hand *h = hand_new(&plain);
    const char *const *atom = NULL;
    hand_run(h);
    hand_end(h, true);
    cr_assert_eq(atoms_after(h, &atom), 1);
    char changed[NOF1_ATOM_TEXT];
    nof1_atom_changed(changed, atom[0], NOF1_ATOM_ANEW);
    const char *const both[] = {atom[0], changed};
    for (size_t s = 0; s < SITES; s++) {
        *(double *)(uintptr_t)h->epoch[s].trial[0].outcome[0] += 1; /* one patient a site */
        h->epoch[s].id = 2;
        hand_start(h, s);
    }
    hand_census(h);
    hand_query(h, hand_complete(h, plan_named(h, "epoch 2", ""), 1, atom));
    until(h, 1);
    for (size_t s = 0; s < SITES; s++) {
        cr_expect_str_eq(refusal_of(hand_open(h, s, 1)), "E2210", "the changed are not listed");
    }
    hand_end(h, false);
    hand_query(h, hand_complete(h, plan_named(h, "epoch 2", ""), 2, both));
    hand_gather(h);
    hand_round(h, 0);
    hand_advance(h, 0);
    cr_expect_eq(h->value[h->opening.atom_first], 15);
    cr_expect_eq(h->value[h->opening.atom_first + 4], 5);
    cr_expect_str_eq(refusal_of(hand_open(h, 0, 1)), "E2210", "five changed patients are too few");
    hand_free(h);
}

/* A frame that is none, and a notice of a census, change nothing. */
Test(site, noise_is_ignored)
{
    struct hand *h = hand_new(&plain);
    Nof1__V1__CensusNotice notice = NOF1__V1__CENSUS_NOTICE__INIT;
    notice.epoch = 1;
    notice.census = raw("{}", 2);
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.body_case = NOF1__V1__FRAME__BODY_CENSUS_NOTICE;
    frame.census_notice = &notice;
    cr_expect_null(hand_send(h, 0, &frame));
    for (size_t length = 0; length < 200; length++) {
        uint8_t bytes[200];
        hand_fill(&h->random, bytes, length);
        cr_expect_null(hand_event(h, 0,
                                  (struct nof1_event){.kind = NOF1_EVENT_FRAME,
                                                      .bytes = nof1_slice_of(bytes, length)},
                                  NULL));
    }
    hand_event(h, 0, (struct nof1_event){.kind = NOF1_EVENT_LINK_DOWN}, NULL);
    hand_run(h);
    hand_free(h);
}

Test(site, identity_is_checked_at_the_start)
{
    struct hand *h = hand_new(&plain);
    struct nof1_site *site = NULL;
    struct nof1_site_config config = {.id = "s0", .charter = h->charter, .policy = h->policy[0],
                                      .key = h->key[1], .epoch = &h->epoch[0],
                                      .entropy = {hand_fill, &h->entropy[0]}};
    cr_expect_eq(nof1_site_new(&site, &config, NULL), NOF1_E2104, "another key");
    config.id = "s9";
    cr_expect_eq(nof1_site_new(&site, &config, NULL), NOF1_E2104, "not on the charter");
    config.id = "s0";
    config.key = h->key[0];
    config.policy.open = true;
    cr_expect_eq(nof1_site_new(&site, &config, NULL), NOF1_E_CONFIG, "open outside the lab");
    hand_free(h);
    struct hand *lab = hand_new(&rounds);
    config = (struct nof1_site_config){.id = "s0", .charter = lab->charter,
                                       .policy = lab->policy[0], .key = lab->key[0],
                                       .epoch = &lab->epoch[0],
                                       .entropy = {hand_fill, &lab->entropy[0]}};
    cr_expect_eq(nof1_site_new(&site, &config, NULL), NOF1_E_CONFIG, "a deployed vault");
    hand_free(lab);
}
