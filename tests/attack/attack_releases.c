/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attacks by a statistician with a valid account: plans, each harmless alone, whose totals isolate
 * patients together; too many numbers; elements that one site feeds; strata, epochs, budgets.
 */
#include "attack_atoms.h"

/* ---- one release ----------------------------------------------------------------------------- */

/* A11: five patients, and more sums than they have numbers. The control's five sums of d under five
 * public weights are five linear equations; here the class sums already hold a patient's share. */
static void too_many_numbers(struct attack_result *r)
{
    static const struct hand_options tight = {.limits = "{max_release_ratio: 0.09}"};
    struct hand *h = hand_new(&tight);
    double truth[256], rest[256], other[256];
    if (crowd_until(r, h, &everybody, 1)) {
        /* the attacker holds all patients but one, as the ratio assumes that it may not */
        size_t n = h->elements - 2;
        memcpy(rest, h->value + 2, n * sizeof *rest);
        truth_of(h, 0, 0, 1, 1, NULL, truth);
        for (size_t s = 0; s < SITES; s++) {
            size_t first = s == 0 ? 1 : 0;
            truth_of(h, s, first, h->epoch[s].trials - first, 1, NULL, other);
            for (size_t e = 0; e < n; e++) {
                rest[e] -= other[e];
            }
        }
        r->won = found(rest, truth, n, 1e-9);
    }
    hand_free(h);
}

/* A12: a stratum that lives in two sites, one of which colludes. */
static void element_of_one_site(struct attack_result *r)
{
    static const struct hand_options options = {.preset = "ultra-rare", .patient_cap = 8,
                                                .patients = {8, 8, 8, 8, 8}};
    static const size_t from[SITES] = {0}, count[SITES] = {8, 8, 8, 8, 8};
    struct hand *h = hand_new(&options);
    struct atoms atoms;
    double truth[256], mine[256];
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < 8; p++) {
            set_sex(h, s, p, s >= 3 ? 1 : 0);
        }
    }
    start_atoms(&atoms);
    freeze(h, &atoms, from, count);
    double *sums = ask(r, h, &atoms, titled(h, "men", "strata: [M]\n"));
    if (sums != NULL) {
        size_t n = h->elements - 2;
        truth_of(h, 3, 0, 8, 1, NULL, truth);
        truth_of(h, 4, 0, 8, 1, NULL, mine);
        for (size_t e = 0; e < n; e++) {
            sums[e] -= mine[e];
        }
        r->won = found(sums, truth, n, 1e-9);
    }
    hand_free(h);
}

/* ---- two releases ---------------------------------------------------------------------------- */

/* A13: everybody, then one stratum; one man is the rest. */
static void stratum_difference(struct attack_result *r)
{
    static const struct hand_options options = {.patient_cap = 8, .patients = {8, 8, 8, 8, 8}};
    static const size_t from[SITES] = {0}, count[SITES] = {8, 8, 8, 8, 8};
    struct hand *h = hand_new(&options);
    struct atoms atoms;
    double truth[256];
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < 8; p++) {
            set_sex(h, s, p, s == 2 && p == 3 ? 1 : 0);
        }
    }
    start_atoms(&atoms);
    freeze(h, &atoms, from, count);
    double *all = ask(r, h, &atoms, titled(h, "all", ""));
    cr_assert_not_null(all);
    double *women = ask(r, h, &atoms, titled(h, "women", "strata: [F]\n"));
    if (women != NULL) {
        size_t n = h->elements - 2;
        truth_of(h, 2, 3, 1, 1, NULL, truth);
        for (size_t e = 0; e < n; e++) {
            all[e] -= women[e];
        }
        /* the plan of women leaves him out, so his truth is taken by hand: the one trial's numbers
         */
        if (truth[0] == 0) {
            hand_query(h, hand_complete(h, titled(h, "all again", ""), atoms.n, atoms.key));
            truth_of(h, 2, 3, 1, 1, NULL, truth);
        }
        r->won = found(all, truth, n, 1e-9);
    }
    hand_free(h);
}

/* A14: the same plan before and after one patient came. */
static void epoch_difference(struct attack_result *r)
{
    static const size_t from[SITES] = {0}, before[SITES] = {7, 8, 8, 8, 8},
                        now[SITES] = {8, 8, 8, 8, 8};
    static const struct hand_options options = {.patient_cap = 8, .patients = {8, 8, 8, 8, 8}};
    struct hand *h = hand_new(&options);
    struct nof1_epoch whole[SITES];
    struct atoms atoms;
    double truth[256];
    memcpy(whole, h->epoch, sizeof whole);
    start_atoms(&atoms);
    freeze(h, &atoms, from, before);
    double *old = ask(r, h, &atoms, titled(h, "before", ""));
    cr_assert_not_null(old);
    for (size_t s = 0; s < SITES; s++) {
        uint32_t id = h->epoch[s].id;
        h->epoch[s] = whole[s];
        h->epoch[s].id = id;
    }
    freeze(h, &atoms, from, now);
    double *sums = ask(r, h, &atoms, titled(h, "after", ""));
    if (sums != NULL) {
        size_t n = h->elements - 2;
        truth_of(h, 0, 7, 1, 1, NULL, truth);
        for (size_t e = 0; e < n; e++) {
            sums[e] -= old[e];
        }
        r->won = found(sums, truth, n, 1e-9);
    }
    hand_free(h);
}

/* ---- three and four releases ----------------------------------------------------------------- */

/* S(a, b) + S(b, c) - S(a, b, c) = S(b): every pair of plans differs by ten patients or more, but b
 * is two. a and c leave and come back between epochs; blocks that join and leave do the same. */
static void three_releases(struct attack_result *r)
{
    static const struct hand_options options = {.patient_cap = 14,
                                                .patients = {14, 14, 14, 14, 14}};
    static const size_t from[3][SITES] = {{0}, {0, 7, 7, 7, 7}, {0}};
    static const size_t count[3][SITES] = {{2, 7, 7, 7, 7}, {2, 7, 7, 7, 7}, {2, 14, 14, 14, 14}};
    struct hand *h = hand_new(&options);
    struct nof1_epoch whole[SITES];
    struct atoms atoms;
    double *sum[3] = {0}, truth[256];
    memcpy(whole, h->epoch, sizeof whole);
    start_atoms(&atoms);
    for (size_t i = 0; i < 3; i++) {
        for (size_t s = 0; s < SITES; s++) {
            uint32_t id = h->epoch[s].id;
            h->epoch[s] = whole[s];
            h->epoch[s].id = id;
        }
        freeze(h, &atoms, from[i], count[i]);
        sum[i] = ask(r, h, &atoms, titled(h, i == 0 ? "a b" : i == 1 ? "b c" : "a b c", ""));
        if (sum[i] == NULL) {
            hand_free(h);
            return;
        }
    }
    size_t n = h->elements - 2;
    truth_of(h, 0, 0, 2, 1, NULL, truth);
    for (size_t e = 0; e < n; e++) {
        sum[0][e] += sum[1][e] - sum[2][e];
    }
    r->won = found(sum[0], truth, n, 1e-9);
    hand_free(h);
}

/* S(all) - S(F), then S(all') - S(F'), where one patient changed sides: four releases. */
static void four_releases(struct attack_result *r)
{
    static const struct hand_options options = {.patient_cap = 12,
                                                .patients = {12, 12, 12, 12, 12}};
    static const size_t from[SITES] = {0}, count[SITES] = {12, 12, 12, 12, 12};
    struct hand *h = hand_new(&options);
    struct atoms atoms;
    double *sum[4] = {0}, truth[256];
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < 12; p++) {
            set_sex(h, s, p, p % 2 == 0 ? 0 : 1);
        }
    }
    start_atoms(&atoms);
    freeze(h, &atoms, from, count);
    for (size_t i = 0; i < 4; i++) {
        sum[i] = ask(r, h, &atoms, titled(h, i % 2 == 0 ? "all" : "women",
                                          i % 2 == 0 ? "" : "strata: [F]\n"));
        if (sum[i] == NULL) {
            hand_free(h);
            return;
        }
        if (i == 1) {
            set_sex(h, 1, 2, 1);
            freeze(h, &atoms, from, count);
        }
    }
    size_t n = h->elements - 2;
    hand_query(h, hand_complete(h, titled(h, "truth", ""), atoms.n, atoms.key));
    truth_of(h, 1, 2, 1, 1, NULL, truth);
    for (size_t e = 0; e < n; e++) {
        sum[0][e] += -sum[1][e] - sum[2][e] + sum[3][e];
        sum[0][e] = -sum[0][e];
    }
    r->won = found(sum[0], truth, n, 1e-9);
    hand_free(h);
}

/* ---- covariates that name a patient ---------------------------------------------------------- */

/* A covariate of which few patients have a level of their own, as a patient number or a date of
 * birth would give it, used by the plan's `lines`: patient p of site 1, and as many as `mates` of
 * the sites after it, which collude and take their own off. `level` is that of the few. Won: an
 * outcome sum, or what it lacks of the sum over everybody, is the patient's own number. */
struct marked {
    const char *lines;
    size_t mates;
    double level;
};

static void outcome_sums(struct attack_result *r, const struct hand *h, const double *sum,
                         const double *truth)
{
    struct nof1_layout layout = {0};
    MUST(h->query->analysis->layout(h->query->model, 1, h->arena, &layout));
    for (size_t e = 0; e < layout.elements; e++) {
        bool outcome = layout.element[e].role == NOF1_OUTCOME;
        for (size_t g = 0; outcome && g < layout.elements; g++) {
            double rest = sum[g] - sum[e];
            r->won = r->won ||
                     (layout.element[g].role == NOF1_OUTCOME &&
                      (found(sum + e, truth + e, 1, 1e-9) || found(&rest, truth + g, 1, 1e-9)));
        }
    }
}

static void named_by(struct attack_result *r, const struct marked *marked)
{
    static const struct hand_options options = {.patient_cap = 12,
                                                .patients = {12, 12, 12, 12, 12}};
    static const size_t from[SITES] = {0}, count[SITES] = {12, 12, 12, 12, 12};
    struct hand *h = hand_new(&options);
    struct atoms atoms;
    double truth[256], mine[256];
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < 12; p++) {
            bool few = p == 2 && s >= 1 && s <= 1 + marked->mates;
            set_sex(h, s, p, few ? marked->level : 1 - marked->level);
        }
    }
    start_atoms(&atoms);
    freeze(h, &atoms, from, count);
    double *sum = ask(r, h, &atoms, titled(h, "identifier", marked->lines));
    if (sum != NULL) {
        truth_of(h, 1, 2, 1, 1, NULL, truth);
        for (size_t s = 2; s <= 1 + marked->mates; s++) {
            truth_of(h, s, 2, 1, 1, NULL, mine);
            for (size_t e = 0; e < h->elements - 2; e++) {
                sum[e] -= mine[e];
            }
        }
        outcome_sums(r, h, sum, truth);
    }
    hand_free(h);
}

static void stratum_is_a_patient(struct attack_result *r)
{
    named_by(r, &(struct marked){"strata: [M]\n", 0, 1});
}

static void moderator_is_a_patient(struct attack_result *r)
{
    named_by(r, &(struct marked){"moderators: [sex]\n", 0, 1});
}

static void moderator_is_a_patient_a_site(struct attack_result *r)
{
    named_by(r, &(struct marked){"moderators: [sex]\n", 2, 1});
}

static void moderator_leaves_a_patient(struct attack_result *r)
{
    named_by(r, &(struct marked){"moderators: [sex]\n", 0, 0});
}

/* ---- budgets --------------------------------------------------------------------------------- */

/* A18: three plans are offered before the first is charged; the site allows two a day. */
static void budget_race(struct attack_result *r)
{
    struct hand_options options = plain;
    options.limits = "{max_queries_day: 2}";
    struct hand *h = hand_new(&options);
    struct nof1_slice plan[3], signature[3];
    uint8_t h_q[3][32], nonce[3][32];
    for (size_t i = 0; i < 3; i++) {
        static const char *const title[] = {"a", "b", "c"};
        hand_query(h, hand_complete(h, titled(h, title[i], ""), 0, NULL));
        hand_gather(h);
        plan[i] = h->plan;
        signature[i] = h->plan_signature;
        memcpy(h_q[i], h->h_q, 32);
        memcpy(nonce[i], h->nonce, 32);
    }
    size_t answered = 0;
    for (size_t i = 0; i < 3; i++) {
        h->plan = plan[i];
        h->plan_signature = signature[i];
        memcpy(h->h_q, h_q[i], 32);
        memcpy(h->nonce, nonce[i], 32);
        answered += refused(r, hand_open(h, 0, 0)) ? 0 : 1;
    }
    r->won = answered == 3;
    hand_free(h);
}

/* A20: the same question again, in the hope of other random numbers to average over: s3, which
 * colludes, forgets its secret between the runs. */
static void fresh_draws(struct attack_result *r)
{
    struct hand_options options = plain;
    options.analyses = "[randomisation_test]";
    options.plan = "plan: 1\ntitle: again\noutcome: y\ntreatment: {reference: \"A\", active: "
                   "[\"B\"]}\nanalysis: randomisation_test\nmethod: monte_carlo\n"
                   "draws: 99\ngather_by: 2h\ndeadline: 10m\n";
    options.preset = "open"; /* no other policy lets the signed sums out at all */
    options.lab = true;
    struct hand *h = hand_new(&options);
    cr_assert(crowd_until(r, h, &everybody, 1), "%s", r->code);
    struct nof1_slice first = h->total;
    cr_assert_eq(hand_close(h, 0, 1)->body_case, NOF1__V1__FRAME__BODY_ATTEST);
    hand_end(h, false);
    h->secret[3] = "fedcba9876543210fedcba9876543210";
    hand_start(h, 3);
    hand_attempt(h);
    if (crowd_until(r, h, &everybody, 1)) {
        const Nof1__V1__Frame *reply = hand_close(h, 0, 1);
        r->won = !refused(r, reply) && !nof1_slice_equal(first, h->total);
    }
    hand_free(h);
}

/* The same noisy count again and again, under new attempts: noise drawn anew averages away. */
static void averaging(struct attack_result *r)
{
    static const size_t runs = 128;
    const struct hand_options options = {
        .analyses = "[feasibility]",
        .plan = "plan: 1\ntitle: how many\noutcome: y\ntreatment: {reference: \"A\", active: "
                "[\"B\"]}\nanalysis: feasibility\nby: [sex]\ngather_by: 2h\ndeadline: 10m\n"};
    struct hand *h = hand_new(&options);
    double truth = 0, sum = 0, first = 0;
    bool same = true;
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < h->epoch[s].trials; p++) {
            truth += h->epoch[s].trial[p].covariate[0][0] == 0;
        }
    }
    for (size_t run = 0; run < runs; run++) {
        cr_assert(crowd_until(r, h, &everybody, 1), "%s", r->code);
        first = run == 0 ? h->value[2] : first;
        same = same && h->value[2] == first;
        sum += h->value[2];
        hand_end(h, false);
        hand_attempt(h);
    }
    r->won = !same && fabs(sum / (double)runs - truth) < 3; /* sd of one answer: 7.2 */
    snprintf(r->code, sizeof r->code, "%s", same ? "same" : "");
    hand_free(h);
}

const struct attack attacks_on_releases[] = {
    {"A11", "more numbers than the ratio allows", "E2301", "E2301 E2212", too_many_numbers},
    {"A12", "stratum in two sites, one colludes", "E2209", "rules", element_of_one_site},
    {"A13", "everybody less a stratum", "E2210", "rules", stratum_difference},
    {"A14", "before and after one patient came", "E2210", "rules", epoch_difference},
    {"A18", "plans side by side", "E2304", "E2304", budget_race},
    {"A20", "the same question for other random draws", "E2502", "E2502", fresh_draws},
    {"B34", "averaging re-runs", "same", "noise E2502", averaging},
    {"B11", "S(a,b) + S(b,c) - S(a,b,c)", "E2210", "rules", three_releases},
    {"B12", "two strata before and after a change of sides", "E2210", "rules", four_releases},
    {"B25", "stratum that is one patient", "E2205", "rules", stratum_is_a_patient},
    {"B26", "moderator that marks one patient", "E2209", "rules", moderator_is_a_patient},
    {"B40", "moderator that marks a patient in each of three sites, two of which collude", "E2209",
     "rules", moderator_is_a_patient_a_site},
    {"B41", "moderator that marks all patients but one", "E2209", "rules",
     moderator_leaves_a_patient},
    {0},
};
