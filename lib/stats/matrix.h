/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small dense symmetric matrices (at most a few dozen rows), row-major double arrays owned by the
 * caller. No allocation, no error state. Golub & Van Loan, Matrix Computations, chapters 4 and 8.
 */
#ifndef NOF1_STATS_MATRIX_H
#define NOF1_STATS_MATRIX_H

#include <stdbool.h>
#include <stddef.h>

/* Replace the lower triangle of a[n*n] by its Cholesky factor L (a = L L'); the upper triangle is
 * set to 0. False when a is not positive definite (a is then unspecified). */
bool nof1_cholesky(double *a, size_t n);
/* log det(L L'). */
double nof1_cholesky_log_det(const double *l, size_t n);
/* Solve L L' x = b in place. */
void nof1_cholesky_solve(double *x, const double *l, size_t n);
/* out[n*n] = (L L')^-1, symmetric. */
void nof1_cholesky_inverse(double *out, const double *l, size_t n);
/* Eigenvalues (ascending) and orthonormal eigenvectors (column k of vector[n*n] belongs to
 * value[k]) of the symmetric a[n*n], which is destroyed. Cyclic Jacobi: small eigenvalues keep
 * relative accuracy. */
void nof1_symmetric_eigen(double *a, double *value, double *vector, size_t n);
/* Moore-Penrose inverse of the symmetric a[n*n], after scaling to unit diagonal; eigenvalues below
 * `tolerance` count as 0. Returns the rank. `work` holds 3 n*n + 2 n doubles. */
size_t nof1_symmetric_pseudo_inverse(double *out, const double *a, size_t n, double tolerance,
                                     double *work);
/* x' y. */
double nof1_dot(const double *x, const double *y, size_t n);
/* x' A y. */
double nof1_bilinear(const double *x, const double *a, const double *y, size_t n);
/* out = A B, all n*n; out is neither a nor b. */
void nof1_multiply(double *out, const double *a, const double *b, size_t n);
/* tr(A B). */
double nof1_trace_product(const double *a, const double *b, size_t n);
/* The first column of the positive semidefinite a[n*n] that is, up to `tolerance` of its own
 * square, a combination of the columns before it; n when there is none. `work` holds n*n doubles.
 */
size_t nof1_first_aliased(const double *a, size_t n, double tolerance, double *work);

#endif
