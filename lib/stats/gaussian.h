/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The Gaussian mixed model y = X beta + Z b + e, V = sigma^2 H, H = I + Z Gamma Z', as sums over
 * trials (docs/statistics.md, "the least that suffices"). With Z = Q R (Q orthonormal, R rank x q)
 * a column u of [X y] is u = Q a + residual, and every sum of the likelihood, its derivatives and
 * the Kenward-Roger matrices is a bilinear form in the a of a trial plus residual products, which V
 * does not change (or, with ratios, only multiplies: they are groups of rank 1). So the same code
 * evaluates one trial (score rounds) and the totals of a design class. Nothing here is ever divided
 * by a variance: all sums are for sigma = 1.
 */
#ifndef NOF1_STATS_GAUSSIAN_H
#define NOF1_STATS_GAUSSIAN_H

#include <stdbool.h>
#include <stddef.h>

#include <nof1/error.h>
#include <nof1/slice.h>

#define NOF1_EFFECTS_MAX 4 /* random effects of a trial with free covariance: intercept, arms */
#define NOF1_TERMS_MAX 12  /* covariance parameters of H */
#define NOF1_ARMS_MAX 8

/* columns: those of X, then the response as the last. The covariance parameters of
 * H = I + sum gamma_j V_j, in this order:
 *   Gamma's lower triangle 11, 21, 22, 31, ... of the random effects (intercept, arm 1, arm 2, ...)
 *   by_cycle: variance of cycles within a trial; by_arm: variance of arms within a trial
 *   ratios: residual variance of arm 1, 2, ... over that of arm 0, minus 1
 *   correlated: rho of the residuals of a trial, H = R(rho) + Z Gamma Z' (stats/ar1.h fills the
 * sums), in (-1, 1), or in (0, 1) when `positive` */
struct nof1_gaussian_shape {
    size_t columns, effects;
    bool by_cycle, by_arm;
    size_t ratios;
    bool correlated, positive;
};

/* Independent vectors with the same covariance: trials with the same Z'Z, or contrasts within them.
 */
struct nof1_gaussian_group {
    double trials; /* number of vectors */
    double rows;   /* rows of ONE of them */
    size_t rank;
    double root[4]; /* term NULL: R of Z = Q R, row-major, stride effects (at most 2) */
    /* [(column * rank + k) * (columns * rank) + (column' * rank + k')] = sum over trials of a a' */
    const double *between;
    const double *a;    /* between NULL: the coordinates [column * rank + k] of one trial */
    const double *term; /* [terms][rank * rank]: V_j in the coordinates of Q */
};

/* The evaluation vector at Gamma. M = [X y]; V_j = dH/dGamma_j for j = 11, 21, 22. */
struct nof1_gaussian_sums {
    double rows;    /* sum n */
    double within;  /* sum n - rank */
    double log_det; /* sum log|H| */
    double trace[NOF1_TERMS_MAX];                    /* tr(H^-1 V_j) */
    double trace2[NOF1_TERMS_MAX * NOF1_TERMS_MAX];  /* tr(H^-1 V_j H^-1 V_k) */
    double *cross;                                   /* M'H^-1 M */
    double *first[NOF1_TERMS_MAX];                   /* M'H^-1 V_j H^-1 M */
    double *second[NOF1_TERMS_MAX * NOF1_TERMS_MAX]; /* symmetrised M'H^-1 V_j H^-1 V_k H^-1 M */
};

size_t nof1_gaussian_terms(const struct nof1_gaussian_shape *shape);
/* Entries of the lower triangle of the random effects' covariance. */
size_t nof1_gaussian_block(const struct nof1_gaussian_shape *shape);
/* Doubles of memory that the sums of a shape need. */
size_t nof1_gaussian_sums_size(const struct nof1_gaussian_shape *shape);
/* Doubles of work that nof1_gaussian_add needs for a rank above 2. */
size_t nof1_gaussian_work_size(const struct nof1_gaussian_shape *shape, size_t rank);
/* Zero the sums and point them into memory of that size. */
void nof1_gaussian_sums_place(struct nof1_gaussian_sums *sums,
                              const struct nof1_gaussian_shape *shape, double *memory);
/* Add a group at gamma[terms], for which H is positive definite. residual[columns*columns] (may be
 * NULL) is added to cross. work: NULL when the rank is at most 2. */
void nof1_gaussian_add(struct nof1_gaussian_sums *sums, const struct nof1_gaussian_shape *shape,
                       const double *gamma, const struct nof1_gaussian_group *group,
                       const double *residual, double *work);

/* Rows with the same Z: cell c has n[c] > 0 rows, all of one arm and one cycle (numbered from 0).
 */
struct nof1_gaussian_cells {
    size_t cells;
    const size_t *n;
    const unsigned char *arm;
    const size_t *cycle; /* read when the shape has by_cycle */
};
/* Q of the cells: the mean of all rows, then each cell's mean less that of the cells before it.
 * scale[cells]: coordinate k of a column is scale[k] times that mean or difference. */
void nof1_gaussian_scale(double *scale, const struct nof1_gaussian_cells *cells);
/* term[terms][cells * cells]: V_j in the coordinates of Q. work: cells doubles per effect and 1. */
void nof1_gaussian_structure(double *term, const struct nof1_gaussian_shape *shape,
                             const struct nof1_gaussian_cells *cells, double *work);
/* The projection of one trial's columns: cell[rows] names each row's cell; column[c * rows + i]
 * (c < columns) is overwritten by its residual within cells, a[c * cells + k] receives the
 * coordinates. work: cells doubles. */
void nof1_gaussian_rotate(double *a, double *column, size_t columns, size_t rows,
                          const unsigned short *cell, const struct nof1_gaussian_cells *cells,
                          double *work);

#endif
