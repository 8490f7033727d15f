/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sufficiency and minimality of the one-round forms: over random outcomes on one design and random
 * parameters, the doubly centred matrix of log-likelihoods (dense, trial by trial) has exactly as
 * many singular values as outcome numbers are released, and those numbers span it.
 */
#include <criterion/criterion.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stats/matrix.h>
#include <stdio.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

#define SETS 60 /* at least POINTS */
#define POINTS 60
#define ROWS 6
#define THETA 15 /* beta[4], L of G = LL' [6], sigma2, cycle, arm, residual of arm 1, rho */
#define RELEASED_MAX 40

struct layout_case {
    const char *plan;
    size_t columns;  /* of X: 2 intercept, treatment; 3 with period */
    bool slope, second_class;
    size_t released;
    bool cycle, arm, ratio; /* variances of cycles, of arms; of residuals by arm */
    bool three;             /* arms; columns then are intercept and two indicators */
    bool serial, no_level;  /* correlated residuals; without a random effect */
};

#define SERIAL "residual: ar1\nby: period\nincomplete: class\n"

static const struct layout_case cases[] = {
    {"", 2, true, false, 6, .cycle = false},
    {"", 2, true, true, 11, .cycle = false},
    {"random: {trial: [intercept]}\n", 2, false, false, 4, .cycle = false},
    {"random: {trial: [intercept]}\n", 2, false, true, 6, .cycle = false},
    {"fixed: [treatment, period]\n", 3, true, false, 9, .cycle = false},
    {"fixed: [treatment, period]\n", 3, true, true, 16, .cycle = false},
    {"fixed: [treatment, age, \"treatment:age\"]\ncharter: {missing: exclude}\n", 4, true, false, 8,
     .cycle = false},
    {"random: {trial: [intercept], \"trial:cycle\": [intercept], \"trial:treatment\": "
     "[intercept]}\n",
     2, false, false, 6, .cycle = true, .arm = true},
    {"random: {trial: [intercept], \"trial:cycle\": [intercept], \"trial:treatment\": "
     "[intercept]}\n",
     2, false, true, 10, .cycle = true, .arm = true},
    {"random: {trial: [intercept, treatment], \"trial:cycle\": [intercept]}\n", 2, true, false, 7,
     .cycle = true},
    {"random: {trial: [intercept, treatment], \"trial:cycle\": [intercept]}\n", 2, true, true, 12,
     .cycle = true},
    {"residual: by_treatment\n", 2, true, false, 7, .ratio = true},
    {"residual: by_treatment\n", 2, true, true, 12, .ratio = true},
    {"others: [2]\nrandom: {trial: [intercept], \"trial:treatment\": [intercept]}\n", 3, false,
     false, 6, .arm = true, .three = true},
    {"others: [2]\n", 3, true, false, 10, .three = true},
    {SERIAL "random: {trial: []}\n", 2, false, false, 8, .serial = true, .no_level = true},
    {SERIAL "random: {trial: [intercept]}\n", 2, false, false, 13, .serial = true},
    {SERIAL "random: {trial: [intercept]}\n", 2, false, true, 20, .serial = true},
    {SERIAL "random: {trial: [intercept]}\nfixed: [treatment, period]\n", 3, false, false, 15,
     .serial = true},
    {SERIAL "random: {trial: []}\nfixed: [treatment, period]\n", 3, false, false, 10,
     .serial = true, .no_level = true},
    {SERIAL "others: [2]\nrandom: {trial: [intercept]}\n", 3, false, false, 18, .three = true,
     .serial = true},
};

/* Twelve trials of three cycles in random order; with a second class ten more of two cycles. */
static struct test_study *make_design(struct nof1_arena *arena, const struct layout_case *c)
{
    struct test_random random = {5};
    struct nof1_buffer text = {0};
    cr_assert(nof1_buffer_printf(&text, "trial,cycle,period,treatment,y,age\n") == NOF1_OK);
    for (int i = 0; i < (c->second_class ? 22 : 12); i++) {
        double age = floor(20 + 50 * test_random_uniform(&random));
        int first = 0;
        for (int k = 0; k < (i < 12 ? 6 : 4); k++) {
            int arms = c->three ? 3 : 2;
            first = k % arms == 0 ? (int)(test_random_uniform(&random) * arms) : (first + 1) % arms;
            cr_assert(nof1_buffer_printf(&text, "%d,%d,%d,%d,%d,%.0f\n", i + 1, k / arms + 1,
                                         k + 1, first, k, age) == NOF1_OK);
        }
    }
    char *csv = nof1_arena_printf(arena, "%.*s", (int)text.length, (const char *)text.data);
    char *plan = nof1_arena_printf(arena, "analysis: mixed_model\n%s", c->plan);
    nof1_buffer_free(&text);
    return test_trials_from_text(arena, csv, plan, NULL);
}

static double column_value(const struct nof1_trial *t, size_t column, size_t row, bool aged,
                           bool three)
{
    if (three) {
        return column == 0 || t->treatment[row] == column;
    }
    double arm = t->treatment[row], age = t->covariate[0][row] / 50;
    switch (column) {
    case 0:
        return 1;
    case 1:
        return arm;
    case 2:
        return aged ? age : (double)t->period[row] / 4;
    default:
        return arm * age;
    }
}

/* z_i'G z_j, z the intercept and (slope) the indicator of each arm but the first. */
static double effects_of(const struct nof1_trial *t, const struct layout_case *c,
                         const double *root, size_t i, size_t j)
{
    double sum = 0;
    size_t effects = c->no_level ? 0 : !c->slope ? 1 : c->three ? 3 : 2;
    for (size_t k = 0; k < effects; k++) {
        double a = 0, b = 0;
        for (size_t e = k; e < effects; e++) {
            double l = root[e * (e + 1) / 2 + k];
            a += e == 0 || t->treatment[i] == e ? l : 0;
            b += e == 0 || t->treatment[j] == e ? l : 0;
        }
        sum += a * b;
    }
    return sum;
}

/* Log-likelihood of one trial, dense. */
static double trial_likelihood(const struct nof1_trial *t, const struct layout_case *c,
                               const double *theta)
{
    double v[ROWS * ROWS], r[ROWS], x[ROWS];
    size_t n = t->rows;
    for (size_t i = 0; i < n; i++) {
        r[i] = t->outcome[0][i];
        for (size_t k = 0; k < c->columns; k++) {
            r[i] -= theta[k] * column_value(t, k, i, c->columns == 4, c->three);
        }
        for (size_t j = 0; j < n; j++) {
            double sigma2 = theta[c->ratio && t->treatment[i] == 1 ? 13 : 10];
            double far = fabs((double)i - (double)j),
                   residual = c->serial ? pow(theta[14], far) : i == j;
            v[i * n + j] = effects_of(t, c, theta + 4, i, j) + sigma2 * residual;
            v[i * n + j] += c->cycle && t->cycle[i] == t->cycle[j] ? theta[11] : 0;
            v[i * n + j] += c->arm && t->treatment[i] == t->treatment[j] ? theta[12] : 0;
        }
    }
    memcpy(x, r, sizeof x);
    cr_assert(nof1_cholesky(v, n));
    nof1_cholesky_solve(x, v, n);
    double sum = nof1_cholesky_log_det(v, n);
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

static void released_of(double *out, size_t *outcomes, struct test_study *s,
                        const struct nof1_model *model, struct nof1_arena *arena)
{
    struct nof1_layout layout;
    double term[256];
    char *scratch = nof1_arena_alloc(arena, model->scratch + 16 * model->scratch_row, 1);
    cr_assert(model->analysis->layout(model, 1, arena, &layout) == NOF1_OK);
    memset(out, 0, RELEASED_MAX * sizeof *out);
    for (size_t i = 0; i < s->trials; i++) {
        cr_assert(model->analysis->group_of(model, &s->trial[i], scratch) >= 0);
        cr_assert(model->analysis->contribute(model, 1, NULL, &s->trial[i], scratch, term) ==
                  NOF1_OK);
        *outcomes = 0;
        for (size_t e = 0; e < layout.elements; e++) {
            if (layout.element[e].role == NOF1_OUTCOME) {
                out[(*outcomes)++] += term[e];
            }
        }
    }
}

static void centre(gsl_matrix *m)
{
    for (int pass = 0; pass < 2; pass++) {
        size_t outer = pass == 0 ? m->size1 : m->size2, inner = pass == 0 ? m->size2 : m->size1;
        for (size_t i = 0; i < outer; i++) {
            double mean = 0;
            for (size_t j = 0; j < inner; j++) {
                mean += *(pass == 0 ? gsl_matrix_ptr(m, i, j) : gsl_matrix_ptr(m, j, i));
            }
            for (size_t j = 0; j < inner; j++) {
                *(pass == 0 ? gsl_matrix_ptr(m, i, j) : gsl_matrix_ptr(m, j, i)) -=
                    mean / (double)inner;
            }
        }
    }
}

static size_t rank_of(gsl_matrix *m)
{
    gsl_matrix *v = gsl_matrix_alloc(m->size2, m->size2);
    gsl_vector *value = gsl_vector_alloc(m->size2);
    gsl_linalg_SV_decomp_jacobi(m, v, value);
    /* signal ends above 1e-4, rounding begins below 1e-8 */
    size_t rank = 0;
    while (rank < value->size && gsl_vector_get(value, rank) > 1e-6 * gsl_vector_get(value, 0)) {
        rank++;
    }
    gsl_matrix_free(v);
    gsl_vector_free(value);
    return rank;
}

static void check_case(const struct layout_case *c)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    struct nof1_model *model;
    struct test_study *s = make_design(arena, c);
    struct test_random random = {77};
    double theta[POINTS][THETA], released[RELEASED_MAX];
    size_t outcomes = 0;
    cr_assert(s->analysis->prepare(&model, arena, &s->study, &error) == NOF1_OK, "%s",
              error.message);
    cr_assert(strcmp(model->form, "class") == 0);
    for (size_t k = 0; k < POINTS; k++) {
        for (size_t j = 0; j < 4; j++) {
            theta[k][j] = test_random_normal(&random);
        }
        for (size_t j = 4; j < 10; j++) {
            bool diagonal = j == 4 || j == 6 || j == 9;
            theta[k][j] =
                diagonal ? 0.3 + test_random_uniform(&random) : test_random_normal(&random);
        }
        for (size_t j = 10; j < THETA; j++) {
            theta[k][j] = 0.5 + 2 * test_random_uniform(&random);
        }
        theta[k][14] = 1.6 * test_random_uniform(&random) - 0.8;
    }
    gsl_matrix *likelihood = gsl_matrix_alloc(SETS, POINTS);
    gsl_matrix *both = gsl_matrix_calloc(SETS, POINTS + RELEASED_MAX);
    for (size_t set = 0; set < SETS; set++) {
        random_outcomes(s, &random);
        released_of(released, &outcomes, s, model, arena);
        for (size_t k = 0; k < POINTS; k++) {
            double sum = 0;
            for (size_t i = 0; i < s->trials; i++) {
                sum += trial_likelihood(&s->trial[i], c, theta[k]);
            }
            gsl_matrix_set(likelihood, set, k, sum);
            gsl_matrix_set(both, set, k, sum);
        }
        for (size_t e = 0; e < outcomes; e++) {
            gsl_matrix_set(both, set, POINTS + e, released[e]);
        }
    }
    centre(likelihood);
    for (size_t k = 0; k < both->size2; k++) { /* columns only: the sums' level means nothing */
        double mean = 0;
        for (size_t set = 0; set < both->size1; set++) {
            mean += gsl_matrix_get(both, set, k) / (double)both->size1;
        }
        for (size_t set = 0; set < both->size1; set++) {
            *gsl_matrix_ptr(both, set, k) -= mean;
        }
    }
    size_t likelihood_rank = rank_of(likelihood);
    gsl_matrix *transposed = gsl_matrix_alloc(both->size2, both->size1);
    gsl_matrix_transpose_memcpy(transposed, both);
    size_t joint = rank_of(transposed);
    cr_expect(outcomes == c->released, "%s: %zu released", c->plan, outcomes);
    cr_expect(likelihood_rank == c->released, "%s: rank %zu", c->plan, likelihood_rank);
    cr_expect(joint == c->released, "%s: joint rank %zu", c->plan, joint);
    gsl_matrix_free(likelihood);
    gsl_matrix_free(both);
    gsl_matrix_free(transposed);
    nof1_arena_free(arena);
}

Test(mixed_sufficient, released_sums_are_minimal_sufficient)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_case(&cases[i]);
    }
}
