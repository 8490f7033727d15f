/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parameters in which the criterion of the Gaussian mixed model is minimised: see
 * gaussian_fit.h. Gamma = S S with S symmetric needs no constraint, and a variance of zero or a
 * correlation of one is an ordinary minimum.
 */
#include <stats/gaussian_fit.h>

#include <math.h>
#include <stats/matrix.h>
#include <string.h>

#define RHO_FAR 0.95 /* no step of least squares leads beyond: R is not linear in rho */

/* Index of entry (i, k) of a lower triangle. */
static size_t entry(size_t i, size_t k)
{
    return i >= k ? i * (i + 1) / 2 + k : k * (k + 1) / 2 + i;
}

/* Terms but for rho, which comes last. */
static size_t variances_of(const struct nof1_gaussian_shape *shape)
{
    return nof1_gaussian_terms(shape) - shape->correlated;
}

/* Terms from this one on are residual ratios, or rho. */
static size_t first_ratio(const struct nof1_gaussian_shape *shape)
{
    return variances_of(shape) - shape->ratios;
}

/* rho and its first two derivatives by the unconstrained parameter. */
static double rho_of(double d[2], double x, bool positive)
{
    double rho = positive ? 1 / (1 + exp(-x)) : tanh(x);
    d[0] = positive ? rho * (1 - rho) : 1 - rho * rho;
    d[1] = d[0] * (positive ? 1 - 2 * rho : -2 * rho);
    return rho;
}

void nof1_gaussian_square(double *gamma, const double *root,
                          const struct nof1_gaussian_shape *shape)
{
    size_t effects = shape->effects, block = nof1_gaussian_block(shape);
    for (size_t i = 0; i < effects; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t k = 0; k < effects; k++) {
                sum += root[entry(i, k)] * root[entry(j, k)];
            }
            gamma[entry(i, j)] = sum;
        }
    }
    for (size_t j = block; j < variances_of(shape); j++) {
        gamma[j] = root[j] * root[j] - (j >= first_ratio(shape) ? 1 : 0);
    }
    if (shape->correlated) {
        double unused[2];
        gamma[variances_of(shape)] = rho_of(unused, root[variances_of(shape)], shape->positive);
    }
}

/* d Gamma_ij / d S_kl, k >= l: with E the symmetric unit of kl, Gamma' = E S + S E. */
static double derivative_of(const double *root, size_t i, size_t j, size_t k, size_t l)
{
    double d = (i == k ? root[entry(l, j)] : 0) + (j == k ? root[entry(i, l)] : 0);
    if (k != l) {
        d += (i == l ? root[entry(k, j)] : 0) + (j == l ? root[entry(i, k)] : 0);
    }
    return d;
}

/* Unit (symmetric, of entry kl) at (i, j). */
static double unit(size_t k, size_t l, size_t i, size_t j)
{
    return (i == k && j == l) || (i == l && j == k);
}

/* d2 Gamma_ij / d S_u d S_v = (E_u E_v + E_v E_u)_ij */
static double second_of(const size_t u[2], const size_t v[2], size_t i, size_t j, size_t effects)
{
    double sum = 0;
    for (size_t k = 0; k < effects; k++) {
        sum += unit(u[0], u[1], i, k) * unit(v[0], v[1], k, j) +
               unit(v[0], v[1], i, k) * unit(u[0], u[1], k, j);
    }
    return sum;
}

static void chain_block(double *hessian, size_t terms, size_t effects, const double *slope)
{
    for (size_t a = 0; a < effects * effects; a++) {
        for (size_t b = 0; b < effects * effects; b++) {
            size_t u[2] = {a / effects, a % effects}, v[2] = {b / effects, b % effects};
            if (u[1] > u[0] || v[1] > v[0]) {
                continue;
            }
            double sum = 0;
            for (size_t i = 0; i < effects; i++) {
                for (size_t j = 0; j <= i; j++) {
                    sum += slope[entry(i, j)] * second_of(u, v, i, j, effects);
                }
            }
            hessian[entry(u[0], u[1]) * terms + entry(v[0], v[1])] += sum;
        }
    }
}

void nof1_gaussian_chain(double *gradient, double *hessian, const double *root,
                         const struct nof1_gaussian_shape *shape, const double *slope,
                         const double *curvature)
{
    size_t terms = nof1_gaussian_terms(shape), effects = shape->effects, last = variances_of(shape);
    double rho[2] = {0};
    double jacobian[NOF1_TERMS_MAX][NOF1_TERMS_MAX] = {{0}}; /* [gamma][root] */
    for (size_t i = 0; i < effects; i++) {
        for (size_t j = 0; j <= i; j++) {
            for (size_t k = 0; k < effects; k++) {
                for (size_t l = 0; l <= k; l++) {
                    jacobian[entry(i, j)][entry(k, l)] = derivative_of(root, i, j, k, l);
                }
            }
        }
    }
    for (size_t j = nof1_gaussian_block(shape); j < last; j++) {
        jacobian[j][j] = 2 * root[j];
    }
    if (shape->correlated) {
        (void)rho_of(rho, root[last], shape->positive);
        jacobian[last][last] = rho[0];
    }
    for (size_t i = 0; i < terms; i++) {
        gradient[i] = 0;
        for (size_t j = 0; j < terms; j++) {
            gradient[i] += jacobian[j][i] * slope[j];
        }
        for (size_t k = 0; k < terms; k++) {
            double sum = 0;
            for (size_t j = 0; j < terms; j++) {
                for (size_t l = 0; l < terms; l++) {
                    sum += jacobian[j][i] * curvature[j * NOF1_TERMS_MAX + l] * jacobian[l][k];
                }
            }
            hessian[i * terms + k] = sum;
        }
    }
    chain_block(hessian, terms, effects, slope);
    for (size_t j = nof1_gaussian_block(shape); j < terms; j++) {
        hessian[j * terms + j] += slope[j] * (j < last ? 2 : rho[1]);
    }
}

#define MATRIX (NOF1_EFFECTS_MAX * NOF1_EFFECTS_MAX)

static void eigen_of(double *value, double *vector, const double *root, size_t effects)
{
    double matrix[MATRIX];
    for (size_t i = 0; i < effects * effects; i++) {
        matrix[i] = root[entry(i / effects, i % effects)];
    }
    if (effects > 0) {
        nof1_symmetric_eigen(matrix, value, vector, effects);
    }
}

static void compose(double *root, const double *value, const double *vector, size_t effects)
{
    for (size_t i = 0; i < effects; i++) {
        for (size_t k = 0; k <= i; k++) {
            root[entry(i, k)] = 0;
            for (size_t l = 0; l < effects; l++) {
                root[entry(i, k)] +=
                    vector[i * effects + l] * fabs(value[l]) * vector[k * effects + l];
            }
        }
    }
}

/* Derivative by the variance along column k of vector. */
static double slope_along(const double *slope, const double *vector, size_t effects, size_t k)
{
    double sum = 0;
    for (size_t i = 0; i < effects; i++) {
        for (size_t j = 0; j <= i; j++) {
            sum += slope[entry(i, j)] * vector[i * effects + k] * vector[j * effects + k];
        }
    }
    return sum;
}

size_t nof1_gaussian_snap(double *root, const struct nof1_gaussian_shape *shape, double tolerance,
                          const double *slope, double *derivative)
{
    double value[NOF1_EFFECTS_MAX] = {0}, vector[MATRIX], largest = 1;
    size_t effects = shape->effects, snapped = 0, end = first_ratio(shape);
    eigen_of(value, vector, root, effects);
    for (size_t k = 0; k < effects; k++) {
        largest = fmax(largest, fabs(value[k]));
    }
    for (size_t j = nof1_gaussian_block(shape); j < end; j++) {
        largest = fmax(largest, fabs(root[j]));
    }
    *derivative = INFINITY;
    for (size_t k = 0; k < effects; k++) {
        if (fabs(value[k]) < tolerance * largest) {
            value[k] = 0;
            snapped++;
            *derivative = fmin(*derivative, slope_along(slope, vector, effects, k));
        }
    }
    compose(root, value, vector, effects);
    for (size_t j = nof1_gaussian_block(shape); j < variances_of(shape); j++) {
        root[j] = fabs(root[j]);
        if (j < end && root[j] < tolerance * largest) {
            root[j] = 0;
            snapped++;
            *derivative = fmin(*derivative, slope[j]);
        }
    }
    return snapped;
}

bool nof1_gaussian_root(double *root, const double *gamma, const struct nof1_gaussian_shape *shape,
                        double least)
{
    double value[NOF1_EFFECTS_MAX], vector[MATRIX];
    bool inside = true;
    eigen_of(value, vector, gamma, shape->effects);
    for (size_t k = 0; k < shape->effects; k++) {
        inside = inside && value[k] >= least;
        value[k] = sqrt(fmax(value[k], least));
    }
    compose(root, value, vector, shape->effects);
    for (size_t j = nof1_gaussian_block(shape); j < variances_of(shape); j++) {
        double square = gamma[j] + (j >= first_ratio(shape) ? 1 : 0);
        inside = inside && square >= least;
        root[j] = sqrt(fmax(square, least));
    }
    if (shape->correlated) {
        double rho = gamma[variances_of(shape)];
        double kept = fmax(shape->positive ? 1 - RHO_FAR : -RHO_FAR, fmin(RHO_FAR, rho));
        inside = inside && kept == rho;
        root[variances_of(shape)] = shape->positive ? log(kept / (1 - kept)) : atanh(kept);
    }
    return inside;
}
