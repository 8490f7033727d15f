/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Kenward-Roger adjustment of the Gaussian mixed model (Kenward & Roger 1997; the computation of
 * Halekoh & Hojsgaard, J Stat Softw 59(9) 2014, whose numbers it must equal). All matrices are for
 * sigma = 1; the adjusted covariance is proportional to sigma^2 and the degrees of freedom do not
 * depend on it. Parameters: sigma^2 (V_0 = I) and the entries of G; sums with V_0 follow from
 * V_0 = H - sum Gamma_j V_j.
 */
#include <stats/gaussian_parts.h>

#include <math.h>
#include <stats/matrix.h>
#include <string.h>

#define LEAST_EIGENVALUE 1e-10 /* of Gamma: below, it counts as singular */

/* Leading p*p block of a matrix of the given width. */
static void copy_block(double *out, const double *from, size_t p, size_t width)
{
    for (size_t i = 0; i < p * p; i++) {
        out[i] = from[(i / p) * width + i % p];
    }
}

static void fill_blocks(struct kr *kr, const struct nof1_gaussian_sums *sums, size_t terms,
                        size_t width)
{
    for (size_t j = 0; j < terms; j++) {
        copy_block(kr->first[j + 1], sums->first[j], kr->p, width);
        for (size_t k = 0; k < terms; k++) {
            copy_block(kr->second[(j + 1) * PARAMETERS + k + 1],
                       sums->second[j * NOF1_TERMS_MAX + k], kr->p, width);
            kr->trace2[(j + 1) * PARAMETERS + k + 1] = sums->trace2[j * NOF1_TERMS_MAX + k];
        }
    }
}

/* Parameter 0 by linearity. */
static void fill_residual(struct kr *kr, const struct nof1_gaussian_sums *sums,
                          const struct nof1_gaussian_point *point, size_t width)
{
    size_t size = kr->p * kr->p, m = kr->parameters;
    double trace = sums->rows;
    copy_block(kr->first[0], sums->cross, kr->p, width);
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

/* The inverse of the observed information [m*m] at a singular Gamma. The criterion has no minimum
 * in the entries of Gamma there, only on their boundary: the information is taken in the root S of
 * Gamma = S S, where the gradient vanishes, and J inverse J' with J = dGamma/dS is what may vary. A
 * variance of zero stays zero, as for lmerTest in lme4's theta. */
static void boundary_inverse(double *inverse, const double *information,
                             const struct nof1_gaussian_point *point)
{
    size_t m = point->terms + 1, terms = point->terms;
    double root[NOF1_TERMS_MAX], hessian[NOF1_TERMS_MAX * NOF1_TERMS_MAX];
    double curvature[NOF1_TERMS_MAX * NOF1_TERMS_MAX] = {0}, unused[NOF1_TERMS_MAX];
    double unit[NOF1_TERMS_MAX] = {0}, jacobian[PARAMETERS * PARAMETERS] = {1};
    double work[PARAMETERS * PARAMETERS], eigen[3 * PARAMETERS * PARAMETERS + 2 * PARAMETERS];
    (void)nof1_gaussian_root(root, point->gamma, &point->shape, 0);
    for (size_t j = 0; j < terms; j++) {
        unit[j] = 1;
        nof1_gaussian_chain(jacobian + (j + 1) * m + 1, hessian, root, &point->shape, unit,
                            curvature);
        unit[j] = 0;
    }
    for (size_t j = 0; j < terms * terms; j++) {
        curvature[(j / terms) * NOF1_TERMS_MAX + j % terms] =
            information[(j / terms + 1) * m + j % terms + 1];
    }
    nof1_gaussian_chain(unused, hessian, root, &point->shape, point->slope, curvature);
    nof1_multiply(work, information, jacobian, m); /* row 0: by sigma^2 and S */
    for (size_t j = 0; j < terms; j++) {
        work[(j + 1) * m] = work[j + 1];
        memcpy(work + (j + 1) * m + 1, hessian + j * terms, terms * sizeof *hessian);
    }
    (void)nof1_symmetric_pseudo_inverse(inverse, work, m, 1e-12, eigen);
    nof1_multiply(work, jacobian, inverse, m);
    for (size_t j = 0; j < m * m; j++) {
        inverse[j] = 0;
        for (size_t k = 0; k < m; k++) {
            inverse[j] += work[(j / m) * m + k] * jacobian[(j % m) * m + k];
        }
    }
}

/* Twice the inverse of the expected information, or, given 2 AI, of the observed one: 2 AI - EI. */
static void fill_weights(struct kr *kr, const struct nof1_gaussian_point *point,
                         const double *twice, double *work)
{
    size_t p = kr->p, m = kr->parameters;
    double information[PARAMETERS * PARAMETERS] = {0}, inverse[PARAMETERS * PARAMETERS];
    double eigen[3 * PARAMETERS * PARAMETERS + 2 * PARAMETERS];
    for (size_t j = 0; j < m; j++) {
        nof1_multiply(work, point->c_inverse, kr->first[j], p);
        nof1_multiply(kr->middle[j], work, point->c_inverse, p);
    }
    for (size_t j = 0; j < m; j++) {
        for (size_t k = 0; k < m; k++) {
            size_t jk = j * PARAMETERS + k;
            information[j * m + k] = kr->trace2[jk];
            if (point->reml) {
                information[j * m + k] +=
                    nof1_trace_product(kr->middle[j], kr->first[k], p) -
                    2 * nof1_trace_product(point->c_inverse, kr->second[jk], p);
            }
            if (twice != NULL) {
                information[j * m + k] = twice[jk] - information[j * m + k];
            }
        }
    }
    double root[NOF1_TERMS_MAX];
    if (twice == NULL || point->shape.correlated ||
        nof1_gaussian_root(root, point->gamma, &point->shape, LEAST_EIGENVALUE)) {
        (void)nof1_symmetric_pseudo_inverse(inverse, information, m, 1e-12, eigen);
    } else {
        boundary_inverse(inverse, information, point);
    }
    for (size_t i = 0; i < m * m; i++) {
        kr->weight[(i / m) * PARAMETERS + i % m] = 2 * inverse[i];
    }
}

/* C^-1 + 2 C^-1 U C^-1, U = sum W_jk (Q_jk - P_j C^-1 P_k). */
void nof1_gaussian_adjusted(double *out, const struct kr *kr,
                            const struct nof1_gaussian_point *point, double *work)
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

nof1_rc_value nof1_gaussian_congruence(double *out, const double *m, const double *l, size_t p,
                                       struct nof1_arena *arena)
{
    double *left = nof1_arena_alloc(arena, p * p + 1, sizeof *left);
    ENSURE(left != NULL, NOF1_E_NO_MEMORY);
    nof1_multiply(left, l, m, p);
    for (size_t i = 0; i < p * p; i++) {
        out[i] = 0;
        for (size_t k = 0; k < p; k++) {
            out[i] += left[(i / p) * p + k] * l[(i % p) * p + k];
        }
    }
    return NOF1_OK;
}

/* Everything that single_df reads, for L beta instead of beta. */
static nof1_rc combine(struct kr *kr, double **c_inverse, struct nof1_arena *arena,
                       const struct nof1_gaussian_point *point, const double *l)
{
    *c_inverse = point->c_inverse;
    if (l == NULL) {
        return NOF1_OK;
    }
    size_t p = kr->p;
    *c_inverse = nof1_arena_alloc(arena, p * p + 1, sizeof **c_inverse);
    ENSURE(*c_inverse != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_gaussian_congruence(*c_inverse, point->c_inverse, l, p, arena));
    for (size_t j = 0; j < kr->parameters; j++) {
        double *combined = nof1_arena_alloc(arena, p * p + 1, sizeof *combined);
        ENSURE(combined != NULL, NOF1_E_NO_MEMORY);
        TRY(nof1_gaussian_congruence(combined, kr->middle[j], l, p, arena));
        kr->middle[j] = combined;
    }
    return NOF1_OK;
}

/* For one coefficient both A1 and A2 of Kenward & Roger equal A, and their formula is 2 / A. */
static double single_df(const struct kr *kr, const double *c_inverse, size_t i)
{
    size_t at = i * kr->p + i;
    double a = 0, variance = c_inverse[at];
    for (size_t j = 0; j < kr->parameters; j++) {
        for (size_t k = 0; k < kr->parameters; k++) {
            a += kr->weight[j * PARAMETERS + k] * kr->middle[j][at] * kr->middle[k][at];
        }
    }
    a /= variance * variance;
    return a > 0 ? 2 / a : INFINITY;
}

/* Point the blocks into the arena and fill them from the leading p columns of the sums. `work`
 * receives 3 p*p doubles of scratch. */
static nof1_rc kr_new(struct kr *kr, double **work, struct nof1_arena *arena,
                      const struct nof1_gaussian_sums *sums,
                      const struct nof1_gaussian_point *point, size_t p)
{
    size_t size = p * p;
    double *memory =
        nof1_arena_alloc(arena, size * (PARAMETERS * (PARAMETERS + 2) + 3), sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    *kr = (struct kr){.p = p, .parameters = point->terms + 1};
    for (size_t j = 0; j < PARAMETERS; j++) {
        kr->first[j] = memory + j * size;
        kr->middle[j] = memory + (PARAMETERS + j) * size;
    }
    for (size_t j = 0; j < PARAMETERS * PARAMETERS; j++) {
        kr->second[j] = memory + (2 * PARAMETERS + j) * size;
    }
    *work = memory + PARAMETERS * (PARAMETERS + 2) * size;
    fill_blocks(kr, sums, point->terms, point->p + 1);
    fill_residual(kr, sums, point, point->p + 1);
    return NOF1_OK;
}

nof1_rc_value nof1_gaussian_kenward_roger(double *covariance, double *df, struct nof1_arena *arena,
                                          const struct nof1_gaussian_sums *sums,
                                          const struct nof1_gaussian_point *point,
                                          const double *l)
{
    struct kr kr;
    double *work, *c_inverse;
    TRY(kr_new(&kr, &work, arena, sums, point, point->p));
    fill_weights(&kr, point, NULL, work);
    nof1_gaussian_adjusted(covariance, &kr, point, work);
    if (l != NULL) {
        memcpy(work, covariance, point->p * point->p * sizeof *work);
        TRY(nof1_gaussian_congruence(covariance, work, l, point->p, arena));
    }
    TRY(combine(&kr, &c_inverse, arena, point, l));
    for (size_t i = 0; i < point->p * point->p; i++) {
        covariance[i] *= point->sigma2;
    }
    for (size_t i = 0; i < point->p; i++) {
        df[i] = single_df(&kr, c_inverse, i);
    }
    return NOF1_OK;
}

/* 2 AI: 2 r'H^-1 V_j P V_k H^-1 r / sigma^2 for all parameters; `all` holds the blocks with the
 * response as last column. */
static void average_information(double *out, const struct kr *all,
                                const struct nof1_gaussian_point *point, double *a, double *row)
{
    size_t p = point->p, width = p + 1;
    for (size_t i = 0; i < p; i++) {
        a[i] = -point->beta[i];
    }
    a[p] = 1;
    for (size_t j = 0; j < all->parameters; j++) {
        for (size_t i = 0; i < p; i++) {
            row[j * p + i] = 0;
            for (size_t k = 0; k < width; k++) {
                row[j * p + i] += all->first[j][i * width + k] * a[k];
            }
        }
    }
    for (size_t j = 0; j < all->parameters; j++) {
        for (size_t k = 0; k < all->parameters; k++) {
            size_t jk = j * PARAMETERS + k;
            out[jk] = 2 / point->sigma2 *
                      (nof1_bilinear(a, all->second[jk], a, width) -
                       nof1_bilinear(row + j * p, point->c_inverse, row + k * p, p));
        }
    }
}

nof1_rc_value nof1_gaussian_parts(struct kr *out, double **work, struct nof1_arena *arena,
                                  const struct nof1_gaussian_sums *sums,
                                  const struct nof1_gaussian_point *point, bool observed)
{
    double twice[PARAMETERS * PARAMETERS] = {0};
    TRY(kr_new(out, work, arena, sums, point, point->p));
    if (observed) {
        struct kr all;
        double *unused;
        double *vector = nof1_arena_alloc(arena, point->p * (PARAMETERS + 1) + 1, sizeof *vector);
        ENSURE(vector != NULL, NOF1_E_NO_MEMORY);
        TRY(kr_new(&all, &unused, arena, sums, point, point->p + 1));
        average_information(twice, &all, point, vector, vector + point->p + 1);
    }
    fill_weights(out, point, observed ? twice : NULL, *work);
    return NOF1_OK;
}

nof1_rc_value nof1_gaussian_satterthwaite(double *df, struct nof1_arena *arena,
                                          const struct nof1_gaussian_sums *sums,
                                          const struct nof1_gaussian_point *point,
                                          const double *l)
{
    struct kr design;
    double *work, *c_inverse;
    TRY(nof1_gaussian_parts(&design, &work, arena, sums, point, true));
    TRY(combine(&design, &c_inverse, arena, point, l));
    for (size_t i = 0; i < point->p; i++) {
        df[i] = single_df(&design, c_inverse, i);
    }
    return NOF1_OK;
}

nof1_rc_value nof1_gaussian_igls(double *root, bool *solved, bool *inside,
                                 struct nof1_arena *arena,
                                 const struct nof1_gaussian_sums *sums,
                                 const struct nof1_gaussian_point *point, const double *square,
                                 double q, double least)
{
    struct kr kr;
    double *work, squares[PARAMETERS], solution[PARAMETERS] = {0};
    TRY(kr_new(&kr, &work, arena, sums, point, point->p));
    fill_weights(&kr, point, NULL, work);
    squares[0] = q;
    for (size_t j = 0; j < point->terms; j++) {
        squares[j + 1] = square[j];
        squares[0] -= point->gamma[j] * square[j];
    }
    for (size_t j = 0; j < kr.parameters; j++) {
        for (size_t k = 0; k < kr.parameters; k++) {
            solution[j] += kr.weight[j * PARAMETERS + k] * squares[k] / 2;
        }
    }
    *solved = solution[0] > 0;
    for (size_t j = 1; j < kr.parameters && *solved; j++) {
        solution[j] /= solution[0];
        *solved = isfinite(solution[j]);
    }
    *inside = *solved && nof1_gaussian_root(root, solution + 1, &point->shape, least);
    return NOF1_OK;
}
