/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rank by singular values: see rank.h.
 */
#include "rank.h"

#include <criterion/criterion.h>
#include <gsl/gsl_linalg.h>
#include <math.h>

static void centre(double *x, size_t n, size_t stride)
{
    double mean = 0.0;
    for (size_t i = 0; i < n; i++) {
        mean += x[i * stride] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        x[i * stride] -= mean;
    }
}

static void scale(double *x, size_t n, size_t stride)
{
    double square = 0.0;
    for (size_t i = 0; i < n; i++) {
        square += x[i * stride] * x[i * stride];
    }
    for (size_t i = 0; i < n && square > 0.0; i++) {
        x[i * stride] /= sqrt(square);
    }
}

size_t test_rank(double *matrix, size_t sets, size_t points, int rows)
{
    cr_assert(sets >= points);
    for (size_t j = 0; j < points; j++) {
        centre(matrix + j, sets, points);
    }
    for (size_t i = 0; rows && i < sets; i++) {
        centre(matrix + i * points, points, 1);
    }
    for (size_t j = 0; j < points; j++) {
        scale(matrix + j, sets, points);
    }
    gsl_matrix_view a = gsl_matrix_view_array(matrix, sets, points);
    gsl_matrix *v = gsl_matrix_alloc(points, points);
    gsl_vector *value = gsl_vector_alloc(points);
    gsl_vector *work = gsl_vector_alloc(points);
    gsl_linalg_SV_decomp(&a.matrix, v, value, work);
    size_t rank = 0;
    while (rank < points && gsl_vector_get(value, rank) > 1e-7 * gsl_vector_get(value, 0)) {
        rank++;
    }
    gsl_matrix_free(v);
    gsl_vector_free(value);
    gsl_vector_free(work);
    return rank;
}
