/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Tests of several linear hypotheses about the fixed effects: see gaussian_fit.h. A contrast l'beta
 * has variance sigma^2 l'C^-1 l; its derivative by covariance parameter j is l'C^-1 P_j C^-1 l.
 */
#include <stats/gaussian_parts.h>

#include <math.h>
#include <stats/matrix.h>
#include <string.h>

/* l_i' m l_j of rows of L. */
static double form(const double *m, const double *l, size_t i, size_t j, size_t p)
{
    return nof1_bilinear(l + i * p, m, l + j * p, p);
}

/* (L beta)'(L m L')^-1 (L beta) / rows; inverse [rows * rows] receives (L m L')^-1. */
static nof1_rc quadratic(double *out, double *inverse, const double *m, const double *beta,
                         const double *l, size_t rows, size_t p, struct nof1_arena *arena)
{
    double *factor = nof1_arena_alloc(arena, rows * rows + rows, sizeof *factor);
    ENSURE(factor != NULL, NOF1_E_NO_MEMORY);
    double *value = factor + rows * rows;
    for (size_t i = 0; i < rows; i++) {
        value[i] = 0;
        for (size_t k = 0; k < p; k++) {
            value[i] += l[i * p + k] * beta[k];
        }
        for (size_t j = 0; j < rows; j++) {
            factor[i * rows + j] = form(m, l, i, j, p);
        }
    }
    ENSURE(nof1_cholesky(factor, rows), NOF1_E_MODEL);
    nof1_cholesky_inverse(inverse, factor, rows);
    *out = nof1_bilinear(value, inverse, value, rows) / (double)rows;
    return NOF1_OK;
}

nof1_rc_value nof1_gaussian_wald_test(double *statistic, struct nof1_arena *arena,
                                      const struct nof1_gaussian_point *point, const double *beta,
                                      const double *l, size_t rows)
{
    double *inverse = nof1_arena_alloc(arena, rows * rows, sizeof *inverse);
    ENSURE(inverse != NULL, NOF1_E_NO_MEMORY);
    TRY(quadratic(statistic, inverse, point->c_inverse, beta, l, rows, point->p, arena));
    *statistic /= point->sigma2;
    return NOF1_OK;
}

/* A1 = sum W_jk tr(T_j) tr(T_k), A2 = sum W_jk tr(T_j T_k), T_j = (L C^-1 L')^-1 L C^-1 P_j C^-1
 * L'. */
static nof1_rc traces(double a[2], const struct kr *kr, const double *inverse, const double *l,
                      size_t rows, struct nof1_arena *arena)
{
    size_t size = rows * rows;
    double *memory = nof1_arena_alloc(arena, size * (kr->parameters + 1), sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    double *middle = memory + kr->parameters * size, trace[PARAMETERS] = {0};
    for (size_t j = 0; j < kr->parameters; j++) {
        for (size_t i = 0; i < size; i++) {
            middle[i] = form(kr->middle[j], l, i / rows, i % rows, kr->p);
        }
        nof1_multiply(memory + j * size, inverse, middle, rows);
        for (size_t i = 0; i < rows; i++) {
            trace[j] += memory[j * size + i * rows + i];
        }
    }
    a[0] = a[1] = 0;
    for (size_t j = 0; j < kr->parameters; j++) {
        for (size_t k = 0; k < kr->parameters; k++) {
            double w = kr->weight[j * PARAMETERS + k];
            a[0] += w * trace[j] * trace[k];
            a[1] += w * nof1_trace_product(memory + j * size, memory + k * size, rows);
        }
    }
    return NOF1_OK;
}

/* Scale of F and its denominator degrees of freedom (Kenward & Roger 1997, section 3). */
static void scale_of(double *scale, double *df, const double a[2], double q)
{
    *scale = 1;
    *df = INFINITY;
    if (!(a[1] > 0)) {
        return;
    }
    double b = (a[0] + 6 * a[1]) / (2 * q);
    double g = ((q + 1) * a[0] - (q + 4) * a[1]) / ((q + 2) * a[1]);
    double below = 3 * q + 2 * (1 - g), c1 = g / below, c2 = (q - g) / below;
    double c3 = (q + 2 - g) / below;
    double expected = 1 / (1 - a[1] / q);
    double variance = 2 / q * (1 + c1 * b) / ((1 - c2 * b) * (1 - c2 * b) * (1 - c3 * b));
    double rho = variance / (2 * expected * expected);
    *df = 4 + (q + 2) / (q * rho - 1);
    *scale = *df / (expected * (*df - 2));
}

nof1_rc_value nof1_gaussian_kenward_roger_test(double *statistic, double *df,
                                               struct nof1_arena *arena,
                                               const struct nof1_gaussian_sums *sums,
                                               const struct nof1_gaussian_point *point,
                                               const double *beta, const double *l, size_t rows)
{
    struct kr kr;
    double *work, a[2], scale, unused;
    double *covariance = nof1_arena_alloc(arena, point->p * point->p, sizeof *covariance);
    double *inverse = nof1_arena_alloc(arena, rows * rows, sizeof *inverse);
    ENSURE(covariance != NULL && inverse != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_gaussian_parts(&kr, &work, arena, sums, point, false));
    TRY(quadratic(&unused, inverse, point->c_inverse, beta, l, rows, point->p, arena));
    TRY(traces(a, &kr, inverse, l, rows, arena));
    nof1_gaussian_adjusted(covariance, &kr, point, work);
    TRY(quadratic(statistic, inverse, covariance, beta, l, rows, point->p, arena));
    scale_of(&scale, df, a, (double)rows);
    *statistic *= scale / point->sigma2;
    return NOF1_OK;
}

/* Degrees of freedom of one contrast: 2 v^2 / var(v). */
static double contrast_df(const struct kr *kr, const struct nof1_gaussian_point *point,
                          const double *l)
{
    double v = form(point->c_inverse, l, 0, 0, kr->p), a = 0;
    for (size_t j = 0; j < kr->parameters; j++) {
        for (size_t k = 0; k < kr->parameters; k++) {
            a += kr->weight[j * PARAMETERS + k] * form(kr->middle[j], l, 0, 0, kr->p) *
                 form(kr->middle[k], l, 0, 0, kr->p);
        }
    }
    return a > 0 ? 2 * v * v / a : INFINITY;
}

/* From the df of independent t statistics to that of their mean square; 2 as lmerTest when none
 * exceeds 2. */
static double pooled_df(const double *df, size_t rows)
{
    bool equal = true;
    double sum = 0;
    for (size_t i = 0; i < rows; i++) {
        equal = equal && fabs(df[i] - df[0]) < 1e-8;
        sum += df[i] > 2 ? (isinf(df[i]) ? 1 : df[i] / (df[i] - 2)) : 0;
        if (!(df[i] > 2)) {
            return 2;
        }
    }
    return equal ? df[0] : sum > (double)rows ? 2 * sum / (sum - (double)rows) : INFINITY;
}

nof1_rc_value nof1_gaussian_satterthwaite_test(double *statistic, double *df,
                                               struct nof1_arena *arena,
                                               const struct nof1_gaussian_sums *sums,
                                               const struct nof1_gaussian_point *point,
                                               const double *beta, const double *l, size_t rows)
{
    struct kr kr;
    size_t p = point->p;
    double *work, *memory = nof1_arena_alloc(arena, 2 * rows * rows + 2 * rows + p, sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    double *covariance = memory, *vector = memory + rows * rows, *value = vector + rows * rows;
    double *each = value + rows, *contrast = each + rows;
    TRY(nof1_gaussian_wald_test(statistic, arena, point, beta, l, rows));
    TRY(nof1_gaussian_parts(&kr, &work, arena, sums, point, true));
    for (size_t i = 0; i < rows * rows; i++) {
        covariance[i] = form(point->c_inverse, l, i / rows, i % rows, p);
    }
    nof1_symmetric_eigen(covariance, value, vector, rows);
    for (size_t k = 0; k < rows; k++) {
        memset(contrast, 0, p * sizeof *contrast);
        for (size_t i = 0; i < rows; i++) {
            for (size_t c = 0; c < p; c++) {
                contrast[c] += vector[i * rows + k] * l[i * p + c];
            }
        }
        each[k] = contrast_df(&kr, point, contrast);
    }
    *df = pooled_df(each, rows);
    return NOF1_OK;
}

nof1_rc_value nof1_gaussian_contrast(double *variance, double *df, struct nof1_arena *arena,
                                     const struct nof1_gaussian_sums *sums,
                                     const struct nof1_gaussian_point *point, bool adjust,
                                     const double *l)
{
    struct kr kr;
    double *work, *covariance = nof1_arena_alloc(arena, point->p * point->p, sizeof *covariance);
    ENSURE(covariance != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_gaussian_parts(&kr, &work, arena, sums, point, !adjust));
    memcpy(covariance, point->c_inverse, point->p * point->p * sizeof *covariance);
    if (adjust) {
        nof1_gaussian_adjusted(covariance, &kr, point, work);
    }
    *variance = point->sigma2 * form(covariance, l, 0, 0, point->p);
    *df = contrast_df(&kr, point, l);
    return NOF1_OK;
}
