/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The lattice attack on a real release: decimals under public real weights. The attacker holds the
 * totals of one plan and the census, and nothing else; the prize is the effect of a patient who is
 * alone in his pattern of missing periods.
 */
#include "attack_crowd.h"

#include <audit/reconstruct.h>

static double series_of(const struct nof1_trial *trial, size_t k[2])
{
    double sum[2] = {0};
    k[0] = k[1] = 0;
    for (size_t row = 0; row < trial->rows; row++) {
        if (!isnan(trial->outcome[0][row])) {
            sum[trial->treatment[row]] += trial->outcome[0][row];
            k[trial->treatment[row]] += 1;
        }
    }
    return sum[1] / (double)k[1] - sum[0] / (double)k[0];
}

/* The case as the auditor's tool wants it: periods and totals are what the attacker has, x is kept
 * for the comparison only. */
static void case_of(struct reconstruct_case *c, struct reconstruct *asked, const struct hand *h)
{
    memset(c, 0, sizeof *c);
    c->asked = asked;
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < h->epoch[s].trials; p++) {
            size_t i = asked->n++;
            c->x[i] = series_of(&h->epoch[s].trial[p], c->k[i]);
            c->u[i] = 1 / (double)c->k[i][0] + 1 / (double)c->k[i][1];
        }
    }
    c->numbers = asked->n;
    c->sd = 5; /* planned */
    for (size_t r = 0; r < asked->scalars / 2; r++) {
        c->lambda[r] = r == 0 ? 0.1 : r == 1 ? 0.3162 : 1;
    }
}

/* `prefix`: of the weighted sums' names; `plan`: NULL for random_effects. */
static void alone_in_pattern(struct attack_result *r, const char *prefix, const char *analyses,
                             const char *plan)
{
    struct hand_options options = {
        .analyses = analyses,
        .plan = plan,
        .patients = {5, 5, 5, 5, 5},
        .patient_cap = 5,
        .missing = true,
        .lambdas = "[0.1, 0.3162, 1]",
        .outcome = "{kind: continuous, unit: points, bounds: [0, 100], quantum: 1, centre: 50, "
                   "sd_within: 5, sd_between: 5, benefit: lower}"};
    if (attack_is_control()) { /* a charter that hides the step of its outcome: nothing is rounded
                                */
        options.outcome = "{kind: continuous, unit: points, bounds: [0, 100], centre: 50, "
                          "sd_within: 5, sd_between: 5, benefit: lower}";
    }
    struct hand *h = hand_new(&options);
    struct reconstruct asked = {.form = RECONSTRUCT_BASIS, .scalars = 6, .levels = 101};
    struct reconstruct_case *c = calloc(1, sizeof *c);
    struct reconstruct_lattice lattice;
    cr_assert_str_eq(h->query->model->form, "pool");
    if (crowd_until(r, h, &everybody, 1)) {
        struct nof1_layout layout = {0};
        case_of(c, &asked, h);
        MUST(h->query->analysis->layout(h->query->model, 1, h->arena, &layout));
        for (size_t e = 0, k = 0; e < layout.elements; e++) {
            bool weighted = strncmp(layout.element[e].name, prefix, strlen(prefix)) == 0 &&
                            layout.element[e].role == NOF1_OUTCOME;
            if (weighted && k < 6) {
                c->sum[k++] = h->value[2 + e];
            }
        }
        reconstruct_reduce(&lattice, c);
        snprintf(r->code, sizeof r->code, "rounded");
        r->won = lattice.exposed > 0 && lattice.exposed == lattice.singles;
    }
    free(c);
    hand_free(h);
}

static void patient_alone_in_pattern(struct attack_result *r)
{
    alone_in_pattern(r, "basis:", NULL, NULL);
}

static void alone_in_the_mixed_model(struct attack_result *r)
{
    alone_in_pattern(r, "lambda:", "[mixed_model]",
                     "plan: 1\ntitle: pooled\noutcome: y\ntreatment: {reference: \"A\", active: "
                     "[\"B\"]}\nanalysis: mixed_model\nincomplete: pool\ngather_by: 2h\n"
                     "deadline: 10m\n");
}

/* A moderator's own values: ages are whole numbers, too. In the control sums of w x and w x^2 are
 * not rounded, as by a charter that does not say the step of a covariate. The prize is the age of a
 * patient who is alone in his pattern. */
static void covariate_alone_in_pattern(struct attack_result *r)
{
    static const struct hand_options options = {
        .patients = {5, 5, 5, 5, 5}, .patient_cap = 5, .missing = true,
        .lambdas = "[0.1, 0.3162, 0.9487]",
        .covariate = "{kind: numeric, bounds: [0, 100], centre: 50, within: false}",
        .outcome = "{kind: continuous, unit: points, bounds: [0, 100], quantum: 1, centre: 50, "
                   "sd_within: 5, sd_between: 5, benefit: lower}",
        .plan = "plan: 1\ntitle: ages\noutcome: y\ntreatment: {reference: \"A\", active: "
                "[\"B\"]}\nanalysis: random_effects\nmoderators: [sex]\nincomplete: pool\n"
                "gather_by: 2h\ndeadline: 10m\n"};
    struct hand *h = hand_new(&options);
    struct reconstruct asked = {.form = RECONSTRUCT_BASIS, .scalars = 6, .levels = 101};
    struct reconstruct_case *c = calloc(1, sizeof *c);
    struct reconstruct_lattice lattice;
    if (attack_is_control()) {
        ((struct nof1_covariate *)(uintptr_t)h->charter->covariate)[0].quantum = 0;
        hand_query(h, hand_complete(h, options.plan, 0, NULL));
    }
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < h->epoch[s].trials; p++) {
            double *age = (double *)(uintptr_t)h->epoch[s].trial[p].covariate[0];
            double years = 20 + (double)(test_random_next(&h->random) % 61);
            for (size_t row = 0; row < ROWS; row++) {
                age[row] = years;
            }
        }
        hand_start(h, s);
    }
    if (crowd_until(r, h, &everybody, 1)) {
        struct nof1_layout layout = {0};
        case_of(c, &asked, h);
        c->sd = 18;
        for (size_t s = 0, i = 0; s < SITES; s++) {
            for (size_t p = 0; p < h->epoch[s].trials; p++, i++) {
                c->x[i] = h->epoch[s].trial[p].covariate[0][0] - 50;
                c->k[i][0] = c->k[i][1] = 1; /* in steps of one year */
            }
        }
        MUST(h->query->analysis->layout(h->query->model, 1, h->arena, &layout));
        asked.scalars = 0;
        for (size_t e = 0; e < layout.elements; e++) {
            const char *name = layout.element[e].name, *of = strstr(name, "/w*sex");
            if (strncmp(name, "basis:", 6) == 0 && of != NULL && strchr(of + 6, 'd') == NULL) {
                c->sum[asked.scalars++] = h->value[2 + e];
            }
        }
        cr_assert_eq(asked.scalars, 4u);
        c->lambda[1] = 0.9487; /* two weights: the first and the last */
        reconstruct_reduce(&lattice, c);
        snprintf(r->code, sizeof r->code, "rounded");
        r->won = lattice.exposed > 0 && lattice.exposed == lattice.singles;
    }
    free(c);
    hand_free(h);
}

const struct attack attacks_by_lattice[] = {
    {"B36", "ages out of weighted sums of a moderator", "rounded", "", covariate_alone_in_pattern},
    {"B22", "decimals under public weights", "rounded", "", patient_alone_in_pattern},
    {"B24", "decimals in the pooled mixed model", "rounded", "", alone_in_the_mixed_model},
    {0},
};
