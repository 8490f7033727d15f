/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What baseline_treatment releases in one round is minimal and sufficient: over random series on
 * one schedule and random parameters the doubly centred matrix of log-likelihoods (dense, trial by
 * trial) has the rank of the number of sums released, and the sums add nothing to it. And what
 * cannot be fitted is refused in words.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stats/matrix.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pooled.h"
#include "rank.h"
#include "support.h"

#define SETS 90
#define POINTS 60
#define ROWS 12
#define RELEASED_MAX 40

struct rank_case {
    const char *plan;
    bool serial, level, change, second_class;
    size_t released;
};

static const struct rank_case cases[] = {
    {"random: {trial: [intercept]}\n", false, true, false, false, 6},
    {"random: {trial: [intercept, level_change]}\n", false, true, true, false, 8},
    {"random: {trial: []}\nresidual: ar1\n", true, false, false, false, 11},
    {"random: {trial: [intercept]}\nresidual: ar1\n", true, true, false, false, 14},
    {"random: {trial: [intercept]}\n", false, true, false, true, 7},
};

static struct test_study *make_study(struct nof1_arena *arena, const struct rank_case *c)
{
    struct nof1_buffer text = {0};
    cr_assert(nof1_buffer_printf(&text, "trial,period,treatment,y\n") == NOF1_OK);
    for (int i = 0; i < 10; i++) {
        int start = c->second_class && i >= 5 ? 5 : 7;
        for (int t = 1; t <= ROWS; t++) {
            cr_assert(nof1_buffer_printf(&text, "%d,%d,%d,%d\n", i + 1, t, t >= start, t) ==
                      NOF1_OK);
        }
    }
    char *csv = nof1_arena_printf(arena, "%.*s", (int)text.length, (const char *)text.data);
    char *plan = nof1_arena_printf(
        arena, "analysis: baseline_treatment\nby: period\nincomplete: class\n%s", c->plan);
    nof1_buffer_free(&text);
    return test_trials_from_text(arena, csv, plan, NULL);
}

/* theta: beta[4], g11, g21, g22, sigma2, rho. */
static double trial_likelihood(const struct nof1_trial *t, const struct rank_case *c,
                               const double *theta)
{
    double v[ROWS * ROWS], r[ROWS], x[ROWS], sum;
    size_t n = t->rows, start = 0;
    while (t->treatment[start] == 0) {
        start++;
    }
    for (size_t i = 0; i < n; i++) {
        double a = t->treatment[i];
        r[i] = t->outcome[0][i] - theta[0] - theta[1] * (double)i / 4 - theta[2] * a -
               theta[3] * a * ((double)i - (double)start) / 4;
        for (size_t j = 0; j < n; j++) {
            double b = t->treatment[j], far = fabs((double)i - (double)j);
            v[i * n + j] = theta[7] * (c->serial ? pow(theta[8], far) : i == j);
            v[i * n + j] += c->level ? theta[4] : 0;
            v[i * n + j] += c->change ? theta[5] * (a + b) + theta[6] * a * b : 0;
        }
    }
    memcpy(x, r, sizeof x);
    cr_assert(nof1_cholesky(v, n));
    nof1_cholesky_solve(x, v, n);
    sum = nof1_cholesky_log_det(v, n);
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * r[i];
    }
    return -sum / 2;
}

static void random_outcomes(struct test_study *s, struct test_random *random)
{
    for (size_t i = 0; i < s->trials; i++) {
        double *y = (double *)(uintptr_t)s->trial[i].outcome[0];
        double u = test_random_normal(random), d = test_random_normal(random);
        for (size_t k = 0; k < s->trial[i].rows; k++) {
            y[k] = u + d * s->trial[i].treatment[k] + test_random_normal(random);
        }
    }
}

static void released_of(double *out, size_t elements, struct test_study *s,
                        const struct nof1_model *model, struct nof1_arena *arena)
{
    double term[RELEASED_MAX];
    char *scratch = nof1_arena_alloc(arena, model->scratch + (ROWS + 1) * model->scratch_row, 1);
    memset(out, 0, elements * sizeof *out);
    for (size_t i = 0; i < s->trials; i++) {
        cr_assert(model->analysis->group_of(model, &s->trial[i], scratch) >= 0);
        cr_assert(model->analysis->contribute(model, 1, NULL, &s->trial[i], scratch, term) ==
                  NOF1_OK);
        for (size_t e = 0; e < elements; e++) {
            out[e] += term[e];
        }
    }
}

static void random_parameters(double theta[9], struct test_random *random)
{
    double a = 0.3 + test_random_uniform(random), b = test_random_normal(random);
    for (size_t j = 0; j < 4; j++) {
        theta[j] = test_random_normal(random);
    }
    theta[4] = a * a;
    theta[5] = a * b;
    theta[6] = b * b + 0.2 + test_random_uniform(random);
    theta[7] = 0.5 + 2 * test_random_uniform(random);
    theta[8] = 1.6 * test_random_uniform(random) - 0.8;
}

static void check_rank(const struct rank_case *c)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    struct nof1_model *model;
    struct nof1_layout layout;
    struct test_study *s = make_study(arena, c);
    struct test_random random = {77};
    double theta[POINTS][9];
    cr_assert(s->analysis->prepare(&model, arena, &s->study, &error) == NOF1_OK, "%s",
              error.message);
    cr_assert(model->analysis->layout(model, 1, arena, &layout) == NOF1_OK);
    size_t width = POINTS + layout.elements;
    double *likelihood = calloc(SETS * POINTS, sizeof *likelihood);
    double *both = calloc(SETS * width, sizeof *both);
    cr_assert(likelihood != NULL && both != NULL && width <= SETS);
    for (size_t k = 0; k < POINTS; k++) {
        random_parameters(theta[k], &random);
    }
    for (size_t set = 0; set < SETS; set++) {
        random_outcomes(s, &random);
        released_of(&both[set * width + POINTS], layout.elements, s, model, arena);
        for (size_t k = 0; k < POINTS; k++) {
            double sum = 0;
            for (size_t i = 0; i < s->trials; i++) {
                sum += trial_likelihood(&s->trial[i], c, theta[k]);
            }
            likelihood[set * POINTS + k] = both[set * width + k] = sum;
        }
    }
    size_t rank = test_rank(likelihood, SETS, POINTS, 1), joint = test_rank(both, SETS, width, 0);
    cr_expect(layout.elements == c->released, "%s: %zu released", c->plan, layout.elements);
    cr_expect(rank == c->released, "%s: rank %zu", c->plan, rank);
    cr_expect(joint == c->released, "%s: joint rank %zu", c->plan, joint);
    free(likelihood);
    free(both);
    nof1_arena_free(arena);
}

Test(baseline_treatment_sums, are_minimal_sufficient)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_rank(&cases[i]);
    }
}

/* ---- what has no answer --------------------------------------------------------------------- */

struct odd_case {
    const char *name, *plan, *csv, *says; /* says NULL: it has an answer */
};

#define HEAD "trial,period,time,treatment,y\n"
#define ONE                                                                                        \
    "a,1,1,0,1\na,1,2,0,2.5\na,1,3,0,1.5\na,2,4,1,4\na,2,5,1,4.2\na,2,6,1,5.5\na,2,7,1,5\n"
#define TWO                                                                                        \
    "b,1,1,0,2\nb,1,2,0,2.2\nb,1,3,0,3.5\nb,2,4,1,5\nb,2,5,1,5.1\nb,2,6,1,5.9\nb,2,7,1,7\n"

static const struct odd_case odd[] = {
    {"one trial", "", HEAD ONE, "one trial"},
    {"one trial alone", "random: {trial: []}\n", HEAD ONE, NULL},
    {"one trial, ar1", "random: {trial: []}\nresidual: ar1\n", HEAD ONE, NULL},
    {"two trials", "", HEAD ONE TWO, NULL},
    {"equal outcomes", "",
     HEAD
     "a,1,1,0,5\na,1,2,0,5\na,2,3,1,5\na,2,4,1,5\nb,1,1,0,5\nb,1,2,0,5\nb,2,3,1,5\nb,2,4,1,5\n",
     "equal"},
    {"equal outcomes, ar1", "residual: ar1\n",
     HEAD
     "a,1,1,0,5\na,1,2,0,5\na,2,3,1,5\na,2,4,1,5\nb,1,1,0,5\nb,1,2,0,5\nb,2,3,1,5\nb,2,4,1,5\n",
     "equal"},
    {"one row in each treatment phase", "",
     HEAD
     "a,1,1,0,5\na,1,2,0,6\na,1,3,0,5\na,2,4,1,5\nb,1,1,0,5\nb,1,2,0,7\nb,1,3,0,7\nb,2,4,1,5\n",
     "slope_change"},
    {"one row in each phase", "fixed: []\nchange: [level]\nrandom: {trial: [intercept]}\n",
     HEAD "a,1,1,0,5\na,2,4,1,5\nb,1,1,0,6\nb,2,4,1,7\nc,1,1,0,4\nc,2,4,1,7\n", NULL},
    {"one row in each phase, trend", "change: [level]\n",
     HEAD "a,1,1,0,5\na,2,4,1,5\nb,1,1,0,6\nb,2,4,1,7\nc,1,1,0,4\nc,2,4,1,7\n", "level_change"},
    {"treatment first", "",
     HEAD "a,1,1,1,5\na,1,2,1,6\na,2,3,0,5\nb,1,1,1,5\nb,1,2,1,7\nb,2,3,0,7\n", "no trial"},
    {"equal times, ar1", "residual: ar1\n",
     HEAD "a,1,1,0,5\na,1,1,0,6\na,2,3,1,5\nb,1,2,0,5\nb,1,2,0,7\nb,2,3,1,7\n", "no trial"},
    {"fractional steps, ar1", "residual: ar1\n",
     HEAD "a,1,1.5,0,5\na,1,2,0,6\na,2,3,1,5\nb,1,2.5,0,5\nb,1,3,0,7\nb,2,4,1,7\n", "no trial"},
    {"a wrong change", "change: [trend]\n", HEAD ONE TWO, "change"},
    {"a random effect that is not fixed", "change: [level]\nrandom: {trial: [slope_change]}\n",
     HEAD ONE TWO, "slope"},
    {"kenward_roger with ar1", "residual: ar1\ndf: kenward_roger\n", HEAD ONE TWO, "iid"},
};

static bool all_finite(const json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;
    bool fine = !json_is_real(value) || isfinite(json_real_value(value));
    if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            fine = fine && all_finite(item);
        }
    }
    json_array_foreach((json_t *)(uintptr_t)value, i, item)
    {
        fine = fine && all_finite(item);
    }
    return fine;
}

Test(baseline_treatment_sums, what_has_no_answer_is_refused)
{
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        json_t *result = NULL;
        char *plan = nof1_arena_printf(arena, "analysis: baseline_treatment\n%s", odd[i].plan);
        struct test_study *s = test_trials_from_text(arena, odd[i].csv, plan, NULL);
        nof1_rc_value rc = test_study_run(&result, arena, s, &error);
        if (odd[i].says == NULL) {
            cr_expect(rc == NOF1_OK && all_finite(result), "%s: %s", odd[i].name, error.message);
            json_decref(result);
        } else {
            cr_expect(rc != NOF1_OK && strstr(error.message, odd[i].says) != NULL, "%s: %d %s",
                      odd[i].name, (int)rc, error.message);
        }
        nof1_arena_free(arena);
    }
}

/* ---- rounding outside an open lab ------------------------------------------------------------ */

static json_t *fit_whole_numbers(struct nof1_arena *arena, const char *csv, bool open)
{
    struct nof1_error error = {0};
    json_t *result = NULL;
    struct test_study *s = test_trials_from_text(
        arena, csv,
        nof1_arena_printf(
            arena,
            "analysis: baseline_treatment\nincomplete: score\nchange: [level]\n"
            "random: {trial: [intercept]}\ncharter: {open: %s, max_release_ratio: 20, "
            "min_class_patients: 0, any_arm: false, centre: 5, sd_within: 1, "
            "sd_between: 1}\n",
            open ? "true" : "false"),
        NULL);
    struct nof1_outcome *o = (struct nof1_outcome *)(uintptr_t)s->charter.outcome;
    o->quantum = 1;
    s->charter.max_periods = 14;
    cr_assert(test_study_run(&result, arena, s, &error) == NOF1_OK, "%s", error.message);
    return result;
}

/* The effect of rounded sums is that of exact ones within what the result says, and the result says
 * that it is not exact. */
Test(baseline_treatment_sums, rounding_is_small_and_said)
{
    double most = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct test_random random = {seed};
        struct nof1_buffer text = {0};
        cr_assert(nof1_buffer_printf(&text, "trial,period,time,treatment,y\n") == NOF1_OK);
        for (int i = 0; i < 60; i++) {
            double level = test_random_normal(&random);
            int start = 4 + i % 5, rows = 8 + i % 7;
            for (int t = 1; t <= rows; t++) {
                double y = 5 + level + 0.8 * (t >= start) + test_random_normal(&random);
                cr_assert(nof1_buffer_printf(&text, "%d,%d,%d,%d,%.0f\n", i + 1, t, t,
                                             t >= start, y) == NOF1_OK);
            }
        }
        char *csv = nof1_arena_printf(arena, "%.*s", (int)text.length, (const char *)text.data);
        json_t *exact = fit_whole_numbers(arena, csv, true);
        json_t *rounded = fit_whole_numbers(arena, csv, false);
        double se = test_estimate(exact, "level_change", "std.error");
        double apart = fabs(test_estimate(exact, "level_change", "estimate") -
                            test_estimate(rounded, "level_change", "estimate")) / se;
        double said = test_number(rounded, "fit/approximation_se");
        most = fmax(most, apart / said);
        cr_expect(apart < 0.1 && said > 0 && said < 0.2, "%g apart, %g said", apart, said);
        cr_expect_not(json_is_true(json_object_get(json_object_get(rounded, "fit"), "exact")));
        cr_expect_eq(test_number(exact, "fit/approximation_se"), 0);
        json_decref(exact);
        json_decref(rounded);
        nof1_buffer_free(&text);
        nof1_arena_free(arena);
    }
    cr_expect(most > 0.01 && most < 3, "%g", most);
}
