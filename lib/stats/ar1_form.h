/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the one-round forms of models with serial correlation share. Where trials have public
 * occasions, P(rho) = R^-1 (ar1.h) is a combination of a few known matrices A: I and, for each step
 * g between occasions, even_g and odd_g. So all of the likelihood follows from y'A y and a few
 * linear functionals of y, of which only independent ones are released.
 */
#ifndef NOF1_STATS_AR1_FORM_H
#define NOF1_STATS_AR1_FORM_H

#include <stats/ar1.h>

/* A growing independent set: the raw vectors, and orthogonal ones of length 1 of the same span. */
struct nof1_span {
    double *raw, *unit;
    size_t count, size; /* vectors, length */
};
/* Memory for so many vectors. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_span_new(struct nof1_span *out, size_t most, size_t size, struct nof1_arena *arena);
/* Add a vector unless it is a combination of those there (to 1e-9 of its length): then false. work:
 * size doubles. */
bool nof1_span_add(struct nof1_span *span, const double *vector, double *work);
/* out[count]: the vector as a combination of the first `count` raw ones (least squares); it is
 * overwritten. */
void nof1_span_solve(double *out, const struct nof1_span *span, size_t count, double *vector);
/* The shortest vector out[size] whose inner products with raw[count][size] are t. Errors:
 * NOF1_E_NO_MEMORY; NOF1_E_MODEL when raw is not independent. */
nof1_rc nof1_span_shortest(double *out, const double *raw, const double *t, size_t count,
                           size_t size, struct nof1_arena *arena);

/* The occasions of the trials of one class, ascending; `offset` of its rows in a vector of all. */
struct nof1_occasions {
    size_t rows, offset;
    const double *time;
};
struct nof1_ar1_form {
    size_t cells, rows; /* rows of all cells together */
    const struct nof1_occasions *cell;
    size_t gaps;
    const double *gap;  /* distinct steps, in order of appearance */
    size_t matrices;    /* 1 + 2 gaps: 0 I, 1 + 2g even, 2 + 2g odd; 1 without correlation */
    size_t squares;     /* independent ones */
    const size_t *square;
    const double *square_of; /* [matrices * squares]: each matrix from those kept */
};
/* Find steps and matrices of these cells. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_ar1_form(struct nof1_ar1_form *out, const struct nof1_occasions *cell, size_t cells,
                      bool correlated, struct nof1_arena *arena);
/* out[rows] = A v for matrix `a` on the rows of a cell. */
void nof1_ar1_apply(double *out, const struct nof1_ar1_form *form,
                    const struct nof1_occasions *cell, size_t a, const double *v);
/* P = sum of value[a] A, dP/drho = sum of slope[a] A. False when undefined. */
bool nof1_ar1_weights(double *value, double *slope, const struct nof1_ar1_form *form, double rho);

/* The criterion of totals, minimised from several starts: serial correlation and a random level
 * explain the same data in part. Where rho is a parameter the Hessian is differenced from exact
 * gradients. */
struct nof1_ar1_problem {
    const struct nof1_gaussian_shape *shape;
    bool reml;
    const double *start; /* [terms] */
    double root_limit;
    void *context;
    /* The sums at gamma, in memory of the context. False when they do not exist. */
    bool (*sums)(void *context, struct nof1_gaussian_sums *out, const double *gamma);
};

/* x[terms] of the minimum, the criterion and the last decrement. Errors: NOF1_E_MODEL when there is
 * no minimum; NOF1_E_NO_MEMORY. */
nof1_rc nof1_ar1_minimise(double *x, double *f, double *decrement,
                          const struct nof1_ar1_problem *problem, struct nof1_arena *arena);

#endif
