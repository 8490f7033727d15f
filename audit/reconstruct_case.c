/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Made-up patients, their sums, and the linearised attack: how many directions of the unknowns the
 * sums leave open at the truth.
 */
#include "reconstruct.h"

#include <gsl/gsl_linalg.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <string.h>

#define RANK_TOLERANCE 1e-11

static double outcome(const struct reconstruct *asked, double mean, gsl_rng *rng)
{
    if (asked->levels == 0) {
        return mean + gsl_ran_gaussian(rng, 1);
    }
    double top = (double)(asked->levels - 1);
    double y = round(top * (0.5 + 0.25 * mean) + gsl_ran_gaussian(rng, top / 5));
    return fmin(top, fmax(0, y));
}

static void make_pair(struct reconstruct_case *c, size_t i, gsl_rng *rng)
{
    double effect = 0.5 * gsl_ran_gaussian(rng, 1), level = 0.5 * gsl_ran_gaussian(rng, 1);
    double a = outcome(c->asked, level, rng), b = outcome(c->asked, level + effect, rng);
    if (c->asked->form == RECONSTRUCT_SLOPE) {
        c->x[2 * i] = a;
        c->x[2 * i + 1] = b;
    } else {
        c->x[i] = b - a;
    }
}

/* Some periods of either arm, at least one; d is the difference of their means. */
static void make_series(struct reconstruct_case *c, size_t i, gsl_rng *rng)
{
    double effect = 0.5 * gsl_ran_gaussian(rng, 1), level = 0.5 * gsl_ran_gaussian(rng, 1);
    double mean[2];
    for (size_t arm = 0; arm < 2; arm++) {
        size_t k = 1;
        for (size_t p = 1; p < c->asked->periods; p++) {
            k += gsl_rng_uniform(rng) >= c->asked->missing ? 1 : 0;
        }
        c->k[i][arm] = k;
        mean[arm] = 0;
        for (size_t p = 0; p < k; p++) {
            mean[arm] += outcome(c->asked, level + (arm == 1 ? effect : 0), rng);
        }
        mean[arm] /= (double)k;
    }
    c->u[i] = 1 / (double)c->k[i][0] + 1 / (double)c->k[i][1];
    c->x[i] = mean[1] - mean[0];
}

double reconstruct_effect(const struct reconstruct_case *c, const double *x, size_t patient)
{
    return c->asked->form == RECONSTRUCT_SLOPE ? x[2 * patient + 1] - x[2 * patient] : x[patient];
}

const char *reconstruct_name(enum reconstruct_form form)
{
    static const char *const name[RECONSTRUCT_FORMS] = {"difference", "slope", "basis",
                                                        "regression", "share"};
    return name[form];
}

static void slope_sums(double *sum, const struct reconstruct_case *c, const double *x)
{
    for (size_t i = 0; i < c->asked->n; i++) {
        const double a = x[2 * i], b = x[2 * i + 1];
        sum[0] += a;
        sum[1] += a * a;
        sum[2] += b;
        sum[3] += b * b;
        sum[4] += a * b;
    }
}

void reconstruct_sums(double *sum, const struct reconstruct_case *c, const double *x)
{
    memset(sum, 0, RECONSTRUCT_SUMS * sizeof *sum);
    if (c->asked->form == RECONSTRUCT_SLOPE) {
        slope_sums(sum, c, x);
        return;
    }
    for (size_t k = 0; k < c->asked->scalars; k++) {
        for (size_t i = 0; i < c->asked->n; i++) {
            sum[k] += c->weight[k][i] * x[i] * (c->square[k] ? x[i] : 1);
        }
    }
}

static double covariate_of(const struct reconstruct *asked, gsl_rng *rng)
{
    return asked->points > 0 ? (double)gsl_rng_uniform_int(rng, asked->points)
                             : gsl_ran_gaussian(rng, 1);
}

/* What the attacker knows of the weights: all of it. */
static void make_weights(struct reconstruct_case *c, gsl_rng *rng)
{
    const struct reconstruct *asked = c->asked;
    bool regression = asked->form == RECONSTRUCT_REGRESSION;
    for (size_t k = 0; k < asked->scalars; k++) {
        bool product = asked->form == RECONSTRUCT_SLOPE && k == 4;
        c->square[k] = regression ? k + 1 == asked->scalars : k % 2 == 1 || product;
    }
    for (size_t i = 0; i < asked->n && asked->form != RECONSTRUCT_SLOPE; i++) {
        for (size_t k = 0; k < asked->scalars; k++) {
            bool first = asked->form == RECONSTRUCT_SHARE && i == 0;
            bool covariate = regression && k > 0 && !c->square[k];
            c->weight[k][i] = asked->form == RECONSTRUCT_BASIS ? 1 / (c->lambda[k / 2] + c->u[i])
                              : first ? asked->share / (1 - asked->share) * (double)(asked->n - 1)
                              : covariate ? covariate_of(asked, rng)
                                          : 1;
        }
        if (asked->form == RECONSTRUCT_SHARE || regression) {
            c->u[i] = regression ? (double)i : i == 0;
        }
    }
    c->judged = asked->form == RECONSTRUCT_SHARE ? 1 : asked->n;
}

void reconstruct_make(struct reconstruct_case *c, const struct reconstruct *asked, gsl_rng *rng)
{
    size_t weights = asked->scalars / 2;
    memset(c, 0, sizeof *c);
    c->asked = asked;
    c->numbers = asked->form == RECONSTRUCT_SLOPE ? 2 * asked->n : asked->n;
    for (size_t r = 0; r < weights && r < RECONSTRUCT_WEIGHTS; r++) {
        c->lambda[r] = 0.1 * pow(40, weights < 2 ? 0.5 : (double)r / (double)(weights - 1));
    }
    double sum = 0, squares = 0;
    for (size_t i = 0; i < asked->n; i++) {
        if (asked->form == RECONSTRUCT_BASIS) {
            make_series(c, i, rng);
        } else {
            make_pair(c, i, rng);
        }
        double d = reconstruct_effect(c, c->x, i);
        sum += d;
        squares += d * d;
    }
    make_weights(c, rng);
    double n = (double)asked->n;
    c->sd = sqrt(fmax(squares / n - sum / n * sum / n, 1e-6));
    reconstruct_sums(c->sum, c, c->x);
    for (size_t k = 0; asked->quantum > 0 && k < asked->scalars; k++) {
        double step = c->square[k] ? 2 * asked->quantum : asked->quantum;
        c->sum[k] = step * round(c->sum[k] / step);
    }
}

/* Derivatives by central differences: the sums are quadratic, so these are exact. */
size_t reconstruct_free(const struct reconstruct_case *c)
{
    size_t rows = c->numbers, columns = c->asked->scalars;
    size_t most =
        rows > columns ? rows : columns; /* the decomposition wants at least as many rows */
    gsl_matrix *jacobian = gsl_matrix_calloc(most, columns),
               *v = gsl_matrix_alloc(columns, columns);
    gsl_vector *singular = gsl_vector_alloc(columns), *work = gsl_vector_alloc(columns);
    double x[2 * RECONSTRUCT_PATIENTS], up[RECONSTRUCT_SUMS], down[RECONSTRUCT_SUMS];
    memcpy(x, c->x, sizeof x);
    for (size_t i = 0; i < rows; i++) {
        x[i] = c->x[i] + 0.5;
        reconstruct_sums(up, c, x);
        x[i] = c->x[i] - 0.5;
        reconstruct_sums(down, c, x);
        x[i] = c->x[i];
        for (size_t k = 0; k < columns; k++) {
            gsl_matrix_set(jacobian, i, k, up[k] - down[k]);
        }
    }
    gsl_linalg_SV_decomp(jacobian, v, singular, work);
    size_t rank = 0;
    for (size_t k = 0; k < columns; k++) {
        rank += gsl_vector_get(singular, k) > RANK_TOLERANCE * gsl_vector_get(singular, 0) ? 1 : 0;
    }
    gsl_matrix_free(jacobian);
    gsl_matrix_free(v);
    gsl_vector_free(singular);
    gsl_vector_free(work);
    return rows - (rank < rows ? rank : rows);
}
