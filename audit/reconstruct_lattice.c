/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The lattice attack on sums under public real weights. Outcomes are decimals, so every pattern's
 * sum D_g of d is a whole number of steps, and sum_g w_g D_g is known to about 50 bits: few whole
 * numbers D_g give it. Lenstra, Lenstra, Lovasz (1982) with Kannan's embedding finds them in no
 * time.
 */
#include "reconstruct.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES 32
#define DIMENSION (RECONSTRUCT_WHOLE + 1)
#define COLUMNS (2 * RECONSTRUCT_WHOLE + 1)
#define DELTA 0.99L

struct lattice {
    size_t rows, columns;
    long double b[DIMENSION][COLUMNS];
    long double mu[DIMENSION][DIMENSION], norm[DIMENSION]; /* Gram-Schmidt */
    long double star[DIMENSION][COLUMNS];
};

static long double dot(const long double *a, const long double *b, size_t n)
{
    long double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Row i against those before it. */
static void orthogonalise(struct lattice *l, size_t i)
{
    memcpy(l->star[i], l->b[i], sizeof l->b[i]);
    for (size_t j = 0; j < i; j++) {
        l->mu[i][j] = l->norm[j] > 0 ? dot(l->b[i], l->star[j], l->columns) / l->norm[j] : 0;
        for (size_t k = 0; k < l->columns; k++) {
            l->star[i][k] -= l->mu[i][j] * l->star[j][k];
        }
    }
    l->norm[i] = dot(l->star[i], l->star[i], l->columns);
}

static void size_reduce(struct lattice *l, size_t i)
{
    for (size_t j = i; j-- > 0;) {
        long double q = roundl(l->mu[i][j]);
        if (q != 0) {
            for (size_t k = 0; k < l->columns; k++) {
                l->b[i][k] -= q * l->b[j][k];
            }
            for (size_t k = 0; k < j; k++) {
                l->mu[i][k] -= q * l->mu[j][k];
            }
            l->mu[i][j] -= q;
        }
    }
}

static void reduce(struct lattice *l)
{
    size_t i = 1;
    orthogonalise(l, 0);
    for (size_t step = 0; i < l->rows && step < 100000; step++) {
        orthogonalise(l, i);
        size_reduce(l, i);
        orthogonalise(l, i);
        if (l->norm[i] >= (DELTA - l->mu[i][i - 1] * l->mu[i][i - 1]) * l->norm[i - 1]) {
            i += 1;
            continue;
        }
        long double row[COLUMNS];
        memcpy(row, l->b[i], sizeof row);
        memcpy(l->b[i], l->b[i - 1], sizeof row);
        memcpy(l->b[i - 1], row, sizeof row);
        orthogonalise(l, i - 1);
        i = i > 1 ? i - 1 : 1;
    }
}

bool reconstruct_whole(double *found, const struct reconstruct_whole *w)
{
    struct lattice *l = w->unknowns <= RECONSTRUCT_WHOLE && w->sums <= RECONSTRUCT_WHOLE
                            ? calloc(1, sizeof *l) : NULL;
    bool ok = false;
    if (l == NULL) {
        return false;
    }
    size_t n = w->unknowns, last = n + w->sums;
    l->rows = n + 1;
    l->columns = last + 1;
    for (size_t r = 0; r < w->sums; r++) {
        long double total = w->total[r], size = fabsl(total), error;
        for (size_t g = 0; g < n; g++) {
            long double a = w->weight[r][g];
            l->b[g][n + r] = a;
            total -= a * (long double)w->expected[g];
            size += fabsl(a) * (long double)(fabs(w->expected[g]) + w->spread[g]);
        }
        error = fmaxl(size * 0x1p-49L, (long double)w->error[r]);
        for (size_t g = 0; g < n; g++) {
            l->b[g][n + r] /= error;
        }
        l->b[n][n + r] = -total / error;
    }
    for (size_t g = 0; g < n; g++) {
        l->b[g][g] = 1 / (long double)w->spread[g];
    }
    l->b[n][last] = 1;
    reduce(l);
    for (size_t i = 0; i < l->rows && !ok; i++) {
        if (fabsl(fabsl(l->b[i][last]) - 1) < 1e-6L) {
            ok = true;
            for (size_t g = 0; g < n; g++) {
                found[g] = (double)(l->b[i][g] * l->b[i][last]) * w->spread[g] + w->expected[g];
            }
        }
    }
    free(l);
    return ok;
}

/* Patients of equal u: their number, the step of d (1 / least common multiple of their periods),
 * what is to be found. */
struct pattern {
    double u, step, d, squares;
    size_t patients, last;
};

static size_t multiple(size_t a, size_t b)
{
    size_t m = a;
    while (m % b != 0) {
        m += a;
    }
    return m;
}

/* Every patient has covariates of his own. */
static size_t patients_of(struct pattern *pattern, const struct reconstruct_case *c)
{
    for (size_t i = 0; i < c->asked->n && i < CLASSES; i++) {
        pattern[i] = (struct pattern){.u = c->u[i], .step = 1, .d = c->x[i], .patients = 1,
                                      .last = i};
    }
    return c->asked->n <= CLASSES ? c->asked->n : 0;
}

static size_t patterns_of(struct pattern *pattern, const struct reconstruct_case *c)
{
    size_t classes = 0, steps[CLASSES] = {0};
    if (c->asked->form == RECONSTRUCT_REGRESSION) {
        return patients_of(pattern, c);
    }
    for (size_t i = 0; i < c->asked->n; i++) {
        size_t g = 0;
        while (g < classes && fabs(pattern[g].u - c->u[i]) > 1e-12) {
            g++;
        }
        if (g == CLASSES) {
            return 0;
        }
        if (g == classes) {
            pattern[classes++] = (struct pattern){.u = c->u[i]};
            steps[g] = 1;
        }
        steps[g] = multiple(steps[g], multiple(c->k[i][0], c->k[i][1]));
        pattern[g].step = 1 / (double)steps[g];
        pattern[g].d += c->x[i];
        pattern[g].squares += c->x[i] * c->x[i];
        pattern[g].patients += 1;
        pattern[g].last = i;
    }
    return classes;
}

/* Linear sums, and the one at r with the weight of a pattern in it. */
static size_t linear_sums(const struct reconstruct_case *c)
{
    size_t linear = c->asked->form == RECONSTRUCT_REGRESSION ? c->asked->scalars - 1
                                                             : c->asked->scalars / 2;
    return linear < RECONSTRUCT_WEIGHTS ? linear : RECONSTRUCT_WEIGHTS;
}

static double weight_of(const struct reconstruct_case *c, const struct pattern *pattern, size_t r)
{
    return c->asked->form == RECONSTRUCT_REGRESSION ? c->weight[r][pattern->last]
                                                    : 1 / (c->lambda[r] + pattern->u);
}

/* Whole numbers of steps with sum_g w_rg step_g N_g = total_r for all r. expected and spread: of
 * N_g, from the design alone. */
static bool find(double *found, const struct reconstruct_case *c, const struct pattern *pattern,
                 size_t classes, bool squares, const double *expected, const double *spread)
{
    struct reconstruct_whole *w = calloc(1, sizeof *w);
    bool regression = c->asked->form == RECONSTRUCT_REGRESSION, ok = false;
    if (w == NULL) {
        return false;
    }
    w->unknowns = classes;
    w->sums = linear_sums(c);
    for (size_t r = 0; r < w->sums; r++) {
        w->total[r] = c->sum[regression ? r : 2 * r + (squares ? 1 : 0)];
        w->error[r] = (squares ? 1 : 0.5) * c->asked->quantum;
        for (size_t g = 0; g < classes; g++) {
            double step = squares ? pattern[g].step * pattern[g].step : pattern[g].step;
            w->weight[r][g] = weight_of(c, &pattern[g], r) * step;
        }
    }
    memcpy(w->expected, expected, classes * sizeof *expected);
    memcpy(w->spread, spread, classes * sizeof *spread);
    ok = reconstruct_whole(found, w);
    free(w);
    return ok;
}

void reconstruct_reduce(struct reconstruct_lattice *out, const struct reconstruct_case *c)
{
    struct pattern pattern[CLASSES];
    double expected[CLASSES], spread[CLASSES], found[CLASSES];
    bool regression = c->asked->form == RECONSTRUCT_REGRESSION;
    size_t classes = (regression || c->asked->form == RECONSTRUCT_BASIS) && c->asked->levels > 0
                         ? patterns_of(pattern, c) : 0;
    *out = (struct reconstruct_lattice){.done = classes > 0, .classes = classes};
    for (int squares = 0; classes > 0 && squares < (regression ? 1 : 2); squares++) {
        for (size_t g = 0; g < classes; g++) {
            double step = squares ? pattern[g].step * pattern[g].step : pattern[g].step;
            double n = (double)pattern[g].patients, sd = squares ? c->sd * c->sd : c->sd;
            expected[g] = squares ? round(n * sd / step) : 0;
            spread[g] = fmax(1, sqrt((squares ? 2 : 1) * n) * sd / step);
        }
        if (!find(found, c, pattern, classes, squares == 1, expected, spread)) {
            continue;
        }
        for (size_t g = 0; g < classes; g++) {
            double step = squares ? pattern[g].step * pattern[g].step : pattern[g].step;
            double truth = squares ? pattern[g].squares : pattern[g].d;
            bool right = fabs(found[g] - truth / step) < 0.25;
            out->linear += right && !squares ? 1 : 0;
            out->squares += right && squares ? 1 : 0;
            out->exposed += right && !squares && pattern[g].patients == 1 ? 1 : 0;
        }
    }
    for (size_t g = 0; g < classes; g++) {
        out->singles += pattern[g].patients == 1 ? 1 : 0;
    }
}
