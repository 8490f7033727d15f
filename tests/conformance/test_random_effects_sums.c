/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which sums a two-stage plan releases (docs/statistics.md, "the least that suffices"): classes of
 * equal precision, what small classes forbid, and that the released sums are exactly what the
 * likelihood uses: the rank of the likelihood over random data and parameters is their number.
 */
#include "random_effects/helpers.h"

#include <gsl/gsl_linalg.h>

static struct nof1_model *prepared(struct nof1_arena *arena, struct test_study *study,
                                   struct nof1_layout *layout)
{
    struct nof1_model *model = NULL;
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_random_effects.prepare(&model, arena, &study->study, &error);
    cr_assert(rc == NOF1_OK, "%s", error.message);
    cr_assert(nof1_random_effects.layout(model, 1, arena, layout) == NOF1_OK);
    cr_assert(layout->elements == model->max_elements || model->max_rounds > 1);
    return model;
}

static size_t outcomes_of(const struct nof1_layout *layout)
{
    size_t count = 0;
    for (size_t e = 0; e < layout->elements; e++) {
        count += layout->element[e].role == NOF1_OUTCOME;
    }
    return count;
}

Test(random_effects, patterns_of_equal_precision_are_one_class)
{
    struct nof1_arena *arena = nof1_arena_new();
    const char *csv = "trial,period,treatment,y\n"
                      "a,1,0,1\na,2,1,3\na,3,1,4\n"            /* 1 + 2 periods */
                      "b,1,0,2\nb,2,1,3\nb,3,0,4\n"            /* 2 + 1 periods */
                      "c,1,0,2\nc,2,1,3\nc,3,0,4\nc,4,1,9\n"; /* 2 + 2 periods */
    struct test_study *study = study_of(arena, csv, "incomplete: pool");
    struct nof1_layout layout;
    struct nof1_model *model = prepared(arena, study, &layout);
    cr_expect(model->groups == 2 && model->group_is_class && model->max_rounds == 1);
    cr_expect(strcmp(model->group[0], "class:3/2") == 0, "%s", model->group[0]);
    cr_expect(strcmp(model->group[1], "class:1/1") == 0, "%s", model->group[1]);
    cr_expect(outcomes_of(&layout) == 5); /* 2 C + 1 */
    nof1_arena_free(arena);
}

/* Two classes, one of them of two trials: two sums of d would be solved for each class. */
Test(random_effects, small_classes_are_never_solvable)
{
    struct nof1_arena *arena = nof1_arena_new();
    char csv[4096] = "trial,period,treatment,y\n";
    size_t length = strlen(csv);
    for (int i = 0; i < 30; i++) {
        int periods = i < 28 ? 4 : 3;
        for (int p = 1; p <= periods; p++) {
            length += (size_t)snprintf(csv + length, sizeof csv - length, "t%02d,%d,%d,%d\n", i, p,
                                       p % 2, (i * 7 + p * p * 5) % 11);
        }
    }
    struct test_study *study =
        study_of(arena, csv, "charter: {open: false, min_class_patients: 8, lambda: [0.2, 1, 5]}");
    struct nof1_layout layout;
    struct nof1_model *model = prepared(arena, study, &layout);
    cr_expect(model->max_rounds == 1 && model->groups == 1);
    cr_expect(outcomes_of(&layout) == 3, "%zu", outcomes_of(&layout)); /* one weight, and squares */
    study->charter.limits.min_class_patients = 2;
    model = prepared(arena, study, &layout);
    cr_expect(model->groups == 2 && outcomes_of(&layout) == 5);
    nof1_arena_free(arena);
}

/* ---- minimal sufficiency: the released sums are exactly what the likelihood uses ---- */

#define DATA_SETS 40
#define POINTS 30
#define MOST_SUMS 8

/* log density of k differences with common mean, variance sigma2 each and covariance tau2, from the
 * whole covariance matrix. */
static double log_density(const double *d, size_t k, double mu, double tau2, double sigma2)
{
    double l[4][4] = {{0}};
    double z[4];
    double value = 0;
    for (size_t i = 0; i < k; i++) {
        z[i] = d[i] - mu;
        for (size_t j = 0; j <= i; j++) {
            double sum = tau2 + (i == j ? sigma2 : 0);
            for (size_t m = 0; m < j; m++) {
                sum -= l[i][m] * l[j][m];
            }
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
        for (size_t j = 0; j < i; j++) {
            z[i] -= l[i][j] * z[j];
        }
        z[i] /= l[i][i];
        value -= log(l[i][i]) + 0.5 * z[i] * z[i];
    }
    return value;
}

static double likelihood(const struct test_study *study, double mu, double tau2, double sigma2)
{
    double value = 0;
    for (size_t t = 0; t < study->trials; t++) {
        const struct nof1_trial *trial = &study->trial[t];
        double d[4];
        for (size_t c = 0; c < trial->rows / 2; c++) {
            double step = trial->outcome[0][2 * c + 1] - trial->outcome[0][2 * c];
            d[c] = trial->treatment[2 * c + 1] == 1 ? step : -step;
        }
        value += log_density(d, trial->rows / 2, mu, tau2, sigma2);
    }
    return value;
}

static void centre_columns(gsl_matrix *m)
{
    for (size_t j = 0; j < m->size2; j++) {
        double mean = 0, square = 0;
        for (size_t i = 0; i < m->size1; i++) {
            mean += gsl_matrix_get(m, i, j) / (double)m->size1;
        }
        for (size_t i = 0; i < m->size1; i++) {
            *gsl_matrix_ptr(m, i, j) -= mean;
            square += pow(gsl_matrix_get(m, i, j), 2);
        }
        for (size_t i = 0; i < m->size1 && square > 0; i++) {
            *gsl_matrix_ptr(m, i, j) /= sqrt(square);
        }
    }
}

/* Rank of the first `columns` columns from `first` on, centred over data sets. */
static size_t rank_of(const gsl_matrix *all, size_t first, size_t columns)
{
    gsl_matrix *m = gsl_matrix_alloc(DATA_SETS, columns);
    gsl_matrix *v = gsl_matrix_alloc(columns, columns);
    gsl_vector *s = gsl_vector_alloc(columns);
    for (size_t i = 0; i < DATA_SETS; i++) {
        for (size_t j = 0; j < columns; j++) {
            gsl_matrix_set(m, i, j, gsl_matrix_get(all, i, first + j));
        }
    }
    centre_columns(m);
    cr_assert(gsl_linalg_SV_decomp_jacobi(m, v, s) == 0);
    size_t rank = 0;
    for (size_t j = 0; j < columns; j++) {
        rank += gsl_vector_get(s, j) > 1e-9 * gsl_vector_get(s, 0);
    }
    gsl_matrix_free(m);
    gsl_matrix_free(v);
    gsl_vector_free(s);
    return rank;
}

/* Fill the trials with new numbers, and a row of `all` with released sums and log likelihoods. */
static void fill_row(gsl_matrix *all, size_t row, struct test_study *study,
                     const struct nof1_model *model, const struct nof1_layout *layout,
                     struct test_random *random)
{
    double scratch[512], term[32], sum[MOST_SUMS] = {0};
    for (size_t t = 0; t < study->trials; t++) {
        double *y = (double *)(uintptr_t)study->trial[t].outcome[0];
        for (size_t r = 0; r < study->trial[t].rows; r++) {
            y[r] = test_random_normal(random);
        }
        cr_assert(model->analysis->contribute(model, 1, NULL, &study->trial[t], scratch, term) ==
                  NOF1_OK);
        for (size_t e = 0, s = 0; e < layout->elements; e++) {
            if (layout->element[e].role == NOF1_OUTCOME) {
                sum[s++] += term[e];
            }
        }
    }
    for (size_t s = 0; s < MOST_SUMS; s++) {
        gsl_matrix_set(all, row, s, sum[s]);
    }
    struct test_random point = {99};
    double base = likelihood(study, 0, 1, 1);
    for (size_t j = 0; j < POINTS; j++) {
        double mu = test_random_normal(&point);
        double tau2 = exp(test_random_normal(&point));
        double value = likelihood(study, mu, tau2, exp(test_random_normal(&point)));
        gsl_matrix_set(all, row, MOST_SUMS + j, value - base);
    }
}

Test(random_effects, class_release_is_minimal_and_sufficient)
{
    static const int cycles[][2] = {{3, 3}, {2, 3}}; /* one class; two classes */
    for (size_t c = 0; c < 2; c++) {
        struct nof1_arena *arena = nof1_arena_new();
        char csv[8192] = "trial,cycle,period,treatment,y\n";
        size_t length = strlen(csv);
        for (int i = 0; i < 14; i++) {
            for (int p = 0; p < 2 * cycles[c][i % 2]; p++) {
                length += (size_t)snprintf(csv + length, sizeof csv - length, "t%02d,%d,%d,%d,%d\n",
                                           i, p / 2 + 1, p + 1, (p + i) % 2, (i + p) % 5);
            }
        }
        struct test_study *study = study_of(arena, csv, "incomplete: cycles");
        struct nof1_layout layout;
        const struct nof1_model *model = prepared(arena, study, &layout);
        size_t claim = 2 * model->groups + 1;
        cr_assert(model->groups == c + 1 && outcomes_of(&layout) == claim);
        gsl_matrix *all = gsl_matrix_alloc(DATA_SETS, MOST_SUMS + POINTS);
        struct test_random random = {7 + c};
        for (size_t i = 0; i < DATA_SETS; i++) {
            fill_row(all, i, study, model, &layout, &random);
        }
        cr_expect(rank_of(all, 0, claim) == claim);
        cr_expect(rank_of(all, MOST_SUMS, POINTS) == claim, "likelihood has rank %zu, claim %zu",
                  rank_of(all, MOST_SUMS, POINTS), claim);
        /* columns beyond the claim are 0: all sums and all likelihoods together */
        cr_expect(rank_of(all, 0, MOST_SUMS + POINTS) == claim);
        gsl_matrix_free(all);
        nof1_arena_free(arena);
    }
}
