/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attacks on what leaves before any threshold is looked at: the counts of round 0, which coordinator
 * and members see of every plan that is offered, also of one that is refused in the end. And the one
 * site that lies in them.
 */
#include "attack_crowd.h"

static const char events_plan[] =
    "plan: 1\ntitle: events\noutcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"
    "analysis: stratified\nmeasure: OR\ngather_by: 2h\ndeadline: 10m\n";

static const struct hand_options binary = {
    .binary = true, .analyses = "[stratified]", .patient_cap = 8, .patients = {5, 5, 5, 5, 5},
    .outcome = "{kind: binary, unit: points, bounds: [0, 1], quantum: 1, centre: 0, "
               "sd_within: 0.5, sd_between: 0.2, benefit: lower}",
    .plan = events_plan};

/* Nobody has an event, but the first patient of s0 has one under `arm` (2: none). */
static void one_event(struct hand *h, uint8_t arm)
{
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < h->epoch[s].trials; p++) {
            const struct nof1_trial *trial = &h->epoch[s].trial[p];
            double *y = (double *)(uintptr_t)trial->outcome[0];
            bool done = false;
            for (size_t row = 0; row < trial->rows; row++) {
                y[row] = s == 0 && p == 0 && !done && trial->treatment[row] == arm;
                done = done || y[row] > 0;
            }
        }
        hand_start(h, s);
    }
    hand_attempt(h);
}

/* How many sites feed the two sums that only events of the one or the other arm feed. */
static void events_by_sites(struct attack_result *r)
{
    double seen[2][256];
    size_t elements = 0;
    for (uint8_t arm = 0; arm < 2; arm++) {
        struct hand *h = hand_new(&binary);
        one_event(h, arm);
        cr_assert(crowd_until(r, h, &everybody, 0), "%s", r->code);
        elements = h->elements;
        cr_assert_leq(elements, 256u);
        memcpy(seen[arm], h->value, elements * sizeof(double));
        hand_free(h);
    }
    r->won = memcmp(seen[0], seen[1], elements * sizeof(double)) != 0;
    snprintf(r->code, sizeof r->code, "%s", r->won ? "" : "same");
}

/* A stratum of which the census says that it is one patient: the plan is bound to be refused, but
 * round 0 is answered first. What it says of "sites" is then said of that patient. */
static void count_of_one_patient(struct attack_result *r)
{
    struct hand_options options = binary;
    options.patient_cap = 12;
    struct hand *h = hand_new(&options);
    for (size_t s = 0; s < SITES; s++) {
        h->epoch[s].id += 1;
        for (size_t p = 0; p < h->epoch[s].trials; p++) {
            double *sex = (double *)(uintptr_t)h->epoch[s].trial[p].covariate[0];
            for (size_t row = 0; row < ROWS; row++) {
                sex[row] = s == 0 && p == 0 ? 1 : 0;
            }
        }
    }
    one_event(h, 1);
    hand_census(h);
    hand_query(h, hand_complete(h, nof1_arena_printf(h->arena, "%sstrata: [M]\n", events_plan), 0,
                                NULL));
    if (crowd_until(r, h, &everybody, 0)) {
        (void)hand_advance(h, 0);
        double of_b = h->value[h->opening.sparse_sites], of_a = h->value[h->opening.sparse_sites + 1];
        r->won = h->value[h->opening.group_patients] == 1 && of_b == 1 && of_a == 0;
    }
    hand_free(h);
}

const struct attack attacks_on_openings[] = {
    {"B27", "events counted by the sites that have them", "same", "pretend", events_by_sites},
    {"B28", "round 0 of one patient", "E2205", "pretend rules", count_of_one_patient},
    {0},
};
