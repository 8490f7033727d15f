/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Log-likelihood of one trial under a generalised linear mixed model with normal random effects, by
 * adaptive Gauss-Hermite quadrature (one effect) or Laplace's approximation (one node; one or two
 * effects), with exact first and second derivatives of the approximation itself: mode and scale of
 * the quadrature are differentiated too. Pinheiro & Bates (1995), J Comput Graph Stat 4:12, with
 * the canonical links logit and log. Allocates nothing, never looks at more than one trial.
 */
#ifndef NOF1_STATS_GLMM_H
#define NOF1_STATS_GLMM_H

#include <nof1/slice.h>

#define NOF1_GLMM_NODES_MAX 101

enum nof1_glmm_family { NOF1_GLMM_BINOMIAL, NOF1_GLMM_POISSON };

/* theta: columns fixed effects, then the symmetric root S of the random effects' covariance (11, or
 * 11, 21, 22). Random effects: b = S u, u standard normal; predictor x'beta + offset +
 * b_1 + arm b_2. */
struct nof1_glmm_shape {
    enum nof1_glmm_family family;
    size_t columns, effects, nodes;
    const double *node, *log_weight; /* [nodes]: nof1_glmm_quadrature */
};

/* Rows of a trial with equal columns, offset and arm, counted together: n rows, y their sum. */
struct nof1_glmm_cells {
    size_t cells;
    const double *x; /* [cells * columns] */
    const double *n, *y, *offset;
    const uint8_t *arm; /* read when there are two effects */
};

/* Number of entries of theta. */
size_t nof1_glmm_parameters(const struct nof1_glmm_shape *shape);
/* A value with its gradient [P] and the lower triangle of its Hessian, row by row: doubles in all.
 */
size_t nof1_glmm_jet(size_t parameters);
/* Doubles of memory that nof1_glmm_trial needs for `cells` cells. */
size_t nof1_glmm_memory(const struct nof1_glmm_shape *shape, size_t cells);

/* Nodes (ascending) and log w + z^2 / 2 of the Gauss-Hermite rule with the standard normal weight,
 * 1 <= nodes <= NOF1_GLMM_NODES_MAX. Nodes from GSL, polished by Newton's method; weights by
 * Christoffel's formula, accurate in the tails. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_glmm_quadrature(double *node, double *log_weight, size_t nodes);

/* Log-likelihood of the trial at theta, without terms of y alone, as a jet of
 * nof1_glmm_jet(nof1_glmm_parameters(shape)) doubles in out. False when it is not finite. */
bool nof1_glmm_trial(double *out, const struct nof1_glmm_shape *shape, const double *theta,
                     const struct nof1_glmm_cells *cells, double *memory);

#endif
