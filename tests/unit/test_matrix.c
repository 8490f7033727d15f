/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small matrices: factorisations against their definition on random and on graded matrices.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stats/matrix.h>
#include <string.h>

#include "support.h"

#define N 6

static void random_positive(double *a, struct test_random *random, size_t n)
{
    double b[N * N];
    for (size_t i = 0; i < n * n; i++) {
        b[i] = test_random_normal(random);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            a[i * n + j] = i == j ? 0.1 : 0;
            for (size_t k = 0; k < n; k++) {
                a[i * n + j] += b[i * n + k] * b[j * n + k];
            }
        }
    }
}

Test(matrix, cholesky_inverts)
{
    struct test_random random = {1};
    for (int run = 0; run < 200; run++) {
        size_t n = 1 + (size_t)run % N;
        double a[N * N], l[N * N], inverse[N * N], product[N * N];
        random_positive(a, &random, n);
        memcpy(l, a, sizeof l);
        cr_expect(nof1_cholesky(l, n));
        nof1_cholesky_inverse(inverse, l, n);
        nof1_multiply(product, a, inverse, n);
        for (size_t i = 0; i < n * n; i++) {
            cr_expect(test_close(product[i], i / n == i % n, 1e-10, 1), "run %d", run);
        }
        cr_expect(test_close(nof1_trace_product(a, inverse, n), (double)n, 1e-10, 1));
    }
    double indefinite[4] = {1, 2, 2, 1};
    cr_expect(!nof1_cholesky(indefinite, 2));
}

Test(matrix, eigenvalues_rebuild_the_matrix)
{
    struct test_random random = {2};
    for (int run = 0; run < 100; run++) {
        size_t n = 1 + (size_t)run % N;
        double a[N * N], copy[N * N], value[N], vector[N * N];
        random_positive(a, &random, n);
        memcpy(copy, a, sizeof copy);
        nof1_symmetric_eigen(copy, value, vector, n);
        for (size_t i = 0; i < n * n; i++) {
            double sum = 0, dot = 0;
            for (size_t k = 0; k < n; k++) {
                sum += vector[(i / n) * n + k] * value[k] * vector[(i % n) * n + k];
                dot += vector[k * n + i / n] * vector[k * n + i % n];
            }
            cr_expect(test_close(sum, a[i], 1e-12, 1), "run %d", run);
            cr_expect(test_close(dot, i / n == i % n, 1e-13, 1), "run %d", run);
        }
        for (size_t k = 1; k < n; k++) {
            cr_expect(value[k - 1] <= value[k]);
        }
    }
    double graded[4] = {1e16, 1, 1, 1e-2}, value[2], vector[4];
    nof1_symmetric_eigen(graded, value, vector, 2);
    cr_expect(test_close(value[0], 1e-2 - 1e-16, 1e-12, 0), "%g", value[0]);
}

Test(matrix, pseudo_inverse_and_aliases_see_rank)
{
    /* third column = first + second; units far apart */
    double x[4][3] = {{1, 0, 1e6}, {1, 2e-3, 1.002e6}, {1, -1e-3, 0.999e6}, {1, 5e-3, 1.005e6}};
    double a[9] = {0}, work[40], inverse[9];
    for (size_t i = 0; i < 9; i++) {
        for (size_t r = 0; r < 4; r++) {
            a[i] += x[r][i / 3] * x[r][i % 3];
        }
    }
    cr_expect(nof1_first_aliased(a, 3, 1e-11, work) == 2);
    double independent[4] = {a[0], a[1], a[3], a[4]};
    cr_expect(nof1_first_aliased(independent, 2, 1e-11, work) == 2);
    cr_expect(nof1_symmetric_pseudo_inverse(inverse, a, 3, 1e-12, work) == 2);
}
