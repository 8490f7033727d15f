/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rank tests of sufficiency: over random data sets (rows) and parameters (columns) the doubly
 * centred matrix of log likelihoods has the rank of the minimal sufficient statistic; appended sums
 * that raise the rank tell more than the likelihood uses.
 */
#ifndef NOF1_TEST_RANK_H
#define NOF1_TEST_RANK_H

#include <stddef.h>

/* Numerical rank of the row-major matrix (sets x points) after subtracting column means, and row
 * means too when `rows` is set; columns are scaled to unit length. The matrix is overwritten;
 * sets >= points. */
size_t test_rank(double *matrix, size_t sets, size_t points, int rows);

#endif
