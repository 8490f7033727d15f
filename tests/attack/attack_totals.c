/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Counting out: the attacker holds the sums of one class of binary trials and lists every histogram
 * of totals that gives them. The prize is the histogram: how many patients had 0, 1, ... events.
 */
#include "attack_crowd.h"

#include <stats/analyses/glmm_model.h>

#include "counting.h"

#define TOTALS 7

static void histogram_of_totals(struct attack_result *r)
{
    struct hand_options options = {
        .binary = true, .analyses = "[glmm]",
        .outcome = "{kind: binary, unit: points, bounds: [0, 1], quantum: 1, centre: 0, "
                   "sd_within: 0.5, sd_between: 0.2, benefit: lower}",
        .plan = "plan: 1\ntitle: totals\noutcome: y\ntreatment: {reference: \"A\", active: "
                "[\"B\"]}\nanalysis: glmm\nincomplete: class\ngather_by: 2h\ndeadline: 10m\n"};
    if (attack_is_control()) { /* an open lab's functions are not coarse */
        options.preset = "open";
        options.lab = true;
    }
    struct hand *h = hand_new(&options);
    const struct glmm_model *m = glmm_of(h->query->model);
    struct counting *s = calloc(1, sizeof *s);
    int truth[TOTALS] = {0}, patients = 0;
    cr_assert(m->classes == 1 && m->class_[0].totals == TOTALS &&
              m->functions <= COUNTING_FUNCTIONS);
    if (crowd_until(r, h, &everybody, 1)) {
        s->totals = TOTALS;
        s->functions = m->functions;
        for (size_t t = 0; t < TOTALS; t++) {
            s->value[t][0] = (double)t;
            for (size_t j = 1; j < m->functions; j++) {
                s->value[t][j] = m->class_[0].basis[t * (m->functions - 1) + j - 1];
            }
        }
        memcpy(s->sum, h->value + 2 + 1, m->functions * sizeof *s->sum);
        for (size_t i = 0; i < SITES; i++) {
            for (size_t p = 0; p < h->epoch[i].trials; p++) {
                double total = 0;
                for (size_t row = 0; row < ROWS; row++) {
                    total += h->epoch[i].trial[p].outcome[0][row];
                }
                truth[(size_t)total]++;
                patients++;
            }
        }
        test_counting(s, patients);
        cr_assert(s->found > 0, "the attacker has misread the sums");
        snprintf(r->code, sizeof r->code, s->found > 7 ? "many" : "few");
        r->won = s->found == 1 && memcmp(truth, s->first, sizeof truth) == 0;
    }
    free(s);
    hand_free(h);
}

const struct attack attacks_by_counting[] = {
    {"B23", "histogram of binary totals counted out", "many", "", histogram_of_totals},
    {0},
};
