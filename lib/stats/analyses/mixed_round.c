/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Score rounds outside an open lab: to what terms are rounded, so that sums tell no patient who is
 * alone in his pattern of rows (docs/disclosure.md, "Score rounds of the mixed model"), and what
 * that costs. Terms of the outcome are rounded by their element's quantum; those of X'H^-1 X with a
 * numeric covariate here, because their step goes with the weights of a round.
 */
#include <float.h>
#include <math.h>

#include "mixed.h"

double mixed_score_step(const struct mixed_model *m, size_t column)
{
    double x = mixed_column_bound(m, &m->column[column]), step = mixed_term_step(m->base.study);
    return x > 0 ? step * fmin(1, ldexp(1, ilogb(x))) : 0;
}

/* The step of a covariate's values: a power of two; 0: exact. */
static double value_step(const struct mixed_model *m, const struct mixed_column *column)
{
    const struct nof1_charter *charter = m->base.study->charter;
    double quantum =
        column->kind == MIXED_NUMERIC ? charter->covariate[column->covariate].quantum : 0;
    return charter->limits.open || !(quantum > 0) ? 0 : ldexp(1, ilogb(quantum));
}

/* The column that has 1 wherever the covariate's has its value. */
static size_t indicator_of(const struct mixed_model *m, size_t i)
{
    const struct mixed_column *column = &m->column[i];
    for (size_t j = 0; column->by_treatment && j < m->columns; j++) {
        if (m->column[j].kind == MIXED_TREATMENT && m->column[j].arm == column->arm) {
            return j;
        }
    }
    return 0; /* the intercept */
}

static size_t place_of(size_t i, size_t j)
{
    size_t row = i > j ? i : j;
    return row * (row + 1) / 2 + (i > j ? j : i);
}

void mixed_round_matrices(double *matrix, size_t matrices, const struct mixed_model *m)
{
    size_t p = m->columns;
    for (size_t i = 0; i < p; i++) {
        double of_i = value_step(m, &m->column[i]);
        for (size_t j = 0; j <= i; j++) {
            double of_j = value_step(m, &m->column[j]);
            size_t k = of_i > 0 ? indicator_of(m, i) : i, l = of_j > 0 ? indicator_of(m, j) : j;
            double step = (of_i > 0 ? of_i : 1) * (of_j > 0 ? of_j : 1);
            for (size_t b = 0; b < matrices && (of_i > 0 || of_j > 0); b++) {
                double *one = matrix + b * p * (p + 1) / 2;
                double weight = one[place_of(k, l)];
                double unit = weight == 0 || !isfinite(weight) ? 0 : ldexp(step, ilogb(weight));
                double *term = &one[place_of(i, j)];
                *term = unit > 0 ? rint(*term / unit) * unit : *term;
            }
        }
    }
}

double mixed_rounding(const struct mixed_model *m, const struct mixed_fit *fit)
{
    const struct nof1_gaussian_point *point = &fit->point;
    double trials = (double)mixed_census(m->base.study, "trials"), worst = 0;
    size_t p = fit->used;
    for (size_t i = 0; i < p; i++) {
        double square = 0, information = 0;
        for (size_t j = 0; j < p; j++) {
            double error = point->c_inverse[i * p + j] * mixed_score_step(m, fit->use[j]);
            square += error * error * trials / 12;
        }
        double step = value_step(m, &m->column[fit->use[i]]);
        size_t one = indicator_of(m, fit->use[i]);
        for (size_t j = 0; j < p && step > 0; j++) {
            information = fit->use[j] == one ? point->c[j * p + j] : information;
        }
        double of_error = step * step * information / sqrt(12 * fmax(1, trials));
        worst = fmax(worst, sqrt(square / fmax(DBL_MIN, point->sigma2 *
                                                            point->c_inverse[i * p + i])) +
                                of_error / (2 * fmax(DBL_MIN, point->c[i * p + i])));
    }
    return worst;
}
