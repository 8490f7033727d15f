/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Kenward-Roger adjustment of the Gaussian mixed model (Kenward & Roger 1997; the computation of
 * Halekoh & Hojsgaard, J Stat Softw 59(9) 2014, whose numbers it must equal). All matrices are for
 * sigma = 1; the adjusted covariance is proportional to sigma^2 and the degrees of freedom do not
 * depend on it. Parameters: sigma^2 (V_0 = I) and the entries of G; sums with V_0 follow from
 * V_0 = H - sum Gamma_j V_j.
 */
#include <stats/gaussian_fit.h>

#include <math.h>
#include <stats/matrix.h>
#include <string.h>

#define PARAMETERS (NOF1_TERMS_MAX + 1)

struct kr {
    size_t p, parameters;
    double *first[PARAMETERS];               /* P_j = X'H^-1 V_j H^-1 X */
    double *second[PARAMETERS * PARAMETERS]; /* Q_jk, symmetrised */
    double trace2[PARAMETERS * PARAMETERS];
    double weight[PARAMETERS * PARAMETERS];  /* twice the inverse expected information */
    double *middle[PARAMETERS];              /* C^-1 P_j C^-1 */
};

static void copy_design(double *out, const double *from, size_t p)
{
    for (size_t i = 0; i < p * p; i++) {
        out[i] = from[(i / p) * (p + 1) + i % p];
    }
}

static void fill_blocks(struct kr *kr, const struct nof1_gaussian_sums *sums, size_t terms)
{
    for (size_t j = 0; j < terms; j++) {
        copy_design(kr->first[j + 1], sums->first[j], kr->p);
        for (size_t k = 0; k < terms; k++) {
            copy_design(kr->second[(j + 1) * PARAMETERS + k + 1],
                        sums->second[j * NOF1_TERMS_MAX + k], kr->p);
            kr->trace2[(j + 1) * PARAMETERS + k + 1] = sums->trace2[j * NOF1_TERMS_MAX + k];
        }
    }
}

/* Parameter 0 by linearity. */
static void fill_residual(struct kr *kr, const struct nof1_gaussian_sums *sums,
                          const struct nof1_gaussian_point *point)
{
    size_t size = kr->p * kr->p, m = kr->parameters;
    double trace = sums->rows;
    memcpy(kr->first[0], point->c, size * sizeof(double));
    for (size_t j = 1; j < m; j++) {
        trace -= point->gamma[j - 1] * sums->trace[j - 1];
        for (size_t i = 0; i < size; i++) {
            kr->first[0][i] -= point->gamma[j - 1] * kr->first[j][i];
        }
    }
    kr->trace2[0] = trace;
    memcpy(kr->second[0], kr->first[0], size * sizeof(double));
    for (size_t k = 1; k < m; k++) {
        double *row = kr->second[k]; /* Q_0k */
        memcpy(row, kr->first[k], size * sizeof(double));
        double trace_row = sums->trace[k - 1];
        for (size_t j = 1; j < m; j++) {
            trace_row -= point->gamma[j - 1] * kr->trace2[j * PARAMETERS + k];
            for (size_t i = 0; i < size; i++) {
                row[i] -= point->gamma[j - 1] * kr->second[j * PARAMETERS + k][i];
            }
        }
        memcpy(kr->second[k * PARAMETERS], row, size * sizeof(double));
        kr->trace2[k] = kr->trace2[k * PARAMETERS] = trace_row;
        kr->trace2[0] -= point->gamma[k - 1] * trace_row;
        for (size_t i = 0; i < size; i++) {
            kr->second[0][i] -= point->gamma[k - 1] * row[i];
        }
    }
}

static void fill_weights(struct kr *kr, const struct nof1_gaussian_point *point, double *work)
{
    size_t p = kr->p, m = kr->parameters;
    double information[PARAMETERS * PARAMETERS], inverse[PARAMETERS * PARAMETERS];
    double eigen[3 * PARAMETERS * PARAMETERS + 2 * PARAMETERS];
    for (size_t j = 0; j < m; j++) {
        nof1_multiply(work, point->c_inverse, kr->first[j], p);
        nof1_multiply(kr->middle[j], work, point->c_inverse, p);
    }
    for (size_t j = 0; j < m; j++) {
        for (size_t k = 0; k < m; k++) {
            size_t jk = j * PARAMETERS + k;
            information[j * m + k] =
                kr->trace2[jk] - 2 * nof1_trace_product(point->c_inverse, kr->second[jk], p) +
                nof1_trace_product(kr->middle[j], kr->first[k], p);
        }
    }
    (void)nof1_symmetric_pseudo_inverse(inverse, information, m, 1e-12, eigen);
    for (size_t i = 0; i < m * m; i++) {
        kr->weight[(i / m) * PARAMETERS + i % m] = 2 * inverse[i];
    }
}

/* C^-1 + 2 C^-1 U C^-1, U = sum W_jk (Q_jk - P_j C^-1 P_k). */
static void adjusted(double *out, const struct kr *kr, const struct nof1_gaussian_point *point,
                     double *work)
{
    size_t p = kr->p, size = p * p;
    double *u = work, *left = work + size, *right = work + 2 * size;
    memset(u, 0, size * sizeof *u);
    for (size_t j = 0; j < kr->parameters; j++) {
        nof1_multiply(left, kr->first[j], point->c_inverse, p);
        for (size_t k = 0; k < kr->parameters; k++) {
            size_t jk = j * PARAMETERS + k;
            nof1_multiply(right, left, kr->first[k], p);
            for (size_t i = 0; i < size; i++) {
                u[i] += kr->weight[jk] * (kr->second[jk][i] - right[i]);
            }
        }
    }
    nof1_multiply(left, point->c_inverse, u, p);
    nof1_multiply(right, left, point->c_inverse, p);
    for (size_t i = 0; i < size; i++) {
        out[i] = point->c_inverse[i] + right[i] + right[(i % p) * p + i / p];
    }
}

/* For one coefficient both A1 and A2 of Kenward & Roger equal A, and their formula is 2 / A. */
static double single_df(const struct kr *kr, const struct nof1_gaussian_point *point, size_t i)
{
    size_t at = i * kr->p + i;
    double a = 0, variance = point->c_inverse[at];
    for (size_t j = 0; j < kr->parameters; j++) {
        for (size_t k = 0; k < kr->parameters; k++) {
            a += kr->weight[j * PARAMETERS + k] * kr->middle[j][at] * kr->middle[k][at];
        }
    }
    a /= variance * variance;
    return a > 0 ? 2 / a : INFINITY;
}

nof1_rc_value nof1_gaussian_kenward_roger(double *covariance, double *df, struct nof1_arena *arena,
                                          const struct nof1_gaussian_sums *sums,
                                          const struct nof1_gaussian_point *point)
{
    struct kr kr = {.p = point->p, .parameters = point->terms + 1};
    size_t size = point->p * point->p;
    double *memory =
        nof1_arena_alloc(arena, size * (PARAMETERS * (PARAMETERS + 2) + 3), sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    for (size_t j = 0; j < PARAMETERS; j++) {
        kr.first[j] = memory + j * size;
        kr.middle[j] = memory + (PARAMETERS + j) * size;
    }
    for (size_t j = 0; j < PARAMETERS * PARAMETERS; j++) {
        kr.second[j] = memory + (2 * PARAMETERS + j) * size;
    }
    double *work = memory + PARAMETERS * (PARAMETERS + 2) * size;
    fill_blocks(&kr, sums, point->terms);
    fill_residual(&kr, sums, point);
    fill_weights(&kr, point, work);
    adjusted(covariance, &kr, point, work);
    for (size_t i = 0; i < size; i++) {
        covariance[i] *= point->sigma2;
    }
    for (size_t i = 0; i < point->p; i++) {
        df[i] = single_df(&kr, point, i);
    }
    return NOF1_OK;
}
