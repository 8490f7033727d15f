/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The Gaussian mixed model y = X beta + Z b + e, V = sigma^2 H, H = I + Z Gamma Z', as sums over
 * trials (docs/statistics.md, "the least that suffices"). With Z = Q R (Q orthonormal, R rank x q) a
 * column u of [X y] is u = Q a + residual, and every sum of the likelihood, its derivatives and the
 * Kenward-Roger matrices is a bilinear form in the a of a trial plus residual products, which V does
 * not change. So the same code evaluates one trial (score rounds) and the totals of a design class.
 * Nothing here is ever divided by a variance: all sums are for sigma = 1.
 */
#ifndef NOF1_STATS_GAUSSIAN_H
#define NOF1_STATS_GAUSSIAN_H

#include <stdbool.h>
#include <stddef.h>

#include <nof1/error.h>
#include <nof1/slice.h>

#define NOF1_EFFECTS_MAX 2 /* random effects of a trial: intercept, treatment */
#define NOF1_TERMS_MAX 3   /* entries of Gamma's lower triangle: 11, 21, 22 */

/* columns: those of X, then the response as the last. effects: columns of Z. */
struct nof1_gaussian_shape {
    size_t columns, effects;
};

/* Trials with the same Z'Z. between[(column * rank + k) * (columns * rank) + (column' * rank + k')]
 * = sum over trials of a a'. */
struct nof1_gaussian_group {
    double trials; /* number of trials */
    double rows;   /* rows of ONE trial */
    size_t rank;
    double root[NOF1_EFFECTS_MAX * NOF1_EFFECTS_MAX]; /* R, row-major, stride effects */
    const double *between;
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

size_t nof1_gaussian_terms(size_t effects);
/* Doubles of memory that the sums of a shape need. */
size_t nof1_gaussian_sums_size(const struct nof1_gaussian_shape *shape);
/* Zero the sums and point them into memory of that size. */
void nof1_gaussian_sums_place(struct nof1_gaussian_sums *sums,
                              const struct nof1_gaussian_shape *shape, double *memory);
/* Add a group at gamma (11 [, 21, 22]), a positive semidefinite matrix. residual[columns*columns]
 * (may be NULL) is added to cross. */
void nof1_gaussian_add(struct nof1_gaussian_sums *sums, const struct nof1_gaussian_shape *shape,
                       const double *gamma, const struct nof1_gaussian_group *group,
                       const double *residual);

/* One trial: the projection of its columns. arm[rows] is the second column of Z when effects is 2.
 * column[c * rows + i] (c < columns) is overwritten by its residual. a[c * rank + k] receives the
 * coordinates. Returns the group (trials 1, between NULL). */
struct nof1_gaussian_group nof1_gaussian_project(const struct nof1_gaussian_shape *shape,
                                                 size_t rows, const unsigned char *arm,
                                                 double *column, double *a);
/* The group constants of a trial with n[0] reference and n[1] active rows. */
struct nof1_gaussian_group nof1_gaussian_design(size_t effects, const size_t n[2]);

#endif
