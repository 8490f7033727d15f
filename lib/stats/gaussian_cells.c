/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From the rows of one trial to the coordinates of gaussian.h. Rows of one arm and one cycle have
 * the same row of Z; Q is the orthonormal basis of such cells whose first vector is the constant
 * and whose others compare a cell with all cells before it (Helmert), so that an offset common to
 * all rows leaves every coordinate but the first alone.
 */
#include <stats/gaussian.h>

#include <math.h>
#include <string.h>

void nof1_gaussian_scale(double *scale, const struct nof1_gaussian_cells *cells)
{
    double before = 0;
    for (size_t c = 0; c < cells->cells; c++) {
        double n = (double)cells->n[c];
        scale[c] = c == 0 ? 0 : sqrt(n * before / (before + n));
        before += n;
    }
    scale[0] = sqrt(before);
}

/* Coordinates of a column that is value[c] in all rows of cell c. */
static void rotate_cells(double *a, const double *value, const struct nof1_gaussian_cells *cells)
{
    double before = (double)cells->n[0], mean = value[0];
    for (size_t c = 1; c < cells->cells; c++) {
        double n = (double)cells->n[c], all = before + n;
        a[c] = sqrt(n * before / all) * (value[c] - mean);
        mean += (value[c] - mean) * (n / all);
        before = all;
    }
    a[0] = sqrt(before) * mean;
}

/* term += factor * (u v' + v u') / 2 */
static void add_product(double *term, const double *u, const double *v, double factor, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        for (size_t l = 0; l < n; l++) {
            term[k * n + l] += factor * (u[k] * v[l] + v[k] * u[l]) / 2;
        }
    }
}

/* V of the random effects: intercept, and the indicator of each arm but the first. */
static double *add_effects(double *term, size_t effects, const struct nof1_gaussian_cells *cells,
                           double *work)
{
    size_t n = cells->cells;
    double *value = work + effects * n;
    for (size_t e = 0; e < effects; e++) {
        for (size_t c = 0; c < n; c++) {
            value[c] = e == 0 || cells->arm[c] == e;
        }
        rotate_cells(work + e * n, value, cells);
    }
    for (size_t e = 0; e < effects; e++) {
        for (size_t f = 0; f <= e; f++, term += n * n) {
            add_product(term, work + e * n, work + f * n, e == f ? 1 : 2, n);
        }
    }
    return term;
}

/* V of an intercept for each arm, or each cycle, of the trial. */
static double *add_intercepts(double *term, bool by_cycle, const struct nof1_gaussian_cells *cells,
                              double *work)
{
    size_t n = cells->cells;
    for (size_t level = 0; level < (by_cycle ? n : NOF1_ARMS_MAX); level++) {
        bool any = false;
        for (size_t c = 0; c < n; c++) {
            work[n + c] = by_cycle ? cells->cycle[c] == level : cells->arm[c] == level;
            any = any || work[n + c] > 0;
        }
        if (any) {
            rotate_cells(work, work + n, cells);
            add_product(term, work, work, 1, n);
        }
    }
    return term + n * n;
}

/* V of the residuals of one arm: Q'DQ, D the indicator of its rows. */
static double *add_ratio(double *term, size_t arm, const struct nof1_gaussian_cells *cells,
                         double *work)
{
    size_t n = cells->cells;
    for (size_t c = 0; c < n; c++) {
        if (cells->arm[c] == arm) {
            memset(work + n, 0, n * sizeof *work);
            work[n + c] = 1 / sqrt((double)cells->n[c]);
            rotate_cells(work, work + n, cells);
            add_product(term, work, work, 1, n);
        }
    }
    return term + n * n;
}

void nof1_gaussian_structure(double *term, const struct nof1_gaussian_shape *shape,
                             const struct nof1_gaussian_cells *cells, double *work)
{
    size_t size = cells->cells * cells->cells;
    memset(term, 0, nof1_gaussian_terms(shape) * size * sizeof *term);
    term = add_effects(term, shape->effects, cells, work);
    if (shape->by_cycle) {
        term = add_intercepts(term, true, cells, work);
    }
    if (shape->by_arm) {
        term = add_intercepts(term, false, cells, work);
    }
    for (size_t arm = 1; arm <= shape->ratios; arm++) {
        term = add_ratio(term, arm, cells, work);
    }
}

/* Mean about the first value; u becomes its deviations. */
static double centre_column(double *u, size_t rows)
{
    double sum = 0;
    for (size_t i = 1; i < rows; i++) {
        sum += u[i] - u[0];
    }
    double mean = u[0] + sum / (double)rows;
    for (size_t i = 0; i < rows; i++) {
        u[i] -= mean;
    }
    return mean;
}

void nof1_gaussian_rotate(double *a, double *column, size_t columns, size_t rows,
                          const unsigned short *cell, const struct nof1_gaussian_cells *cells,
                          double *work)
{
    size_t n = cells->cells;
    for (size_t c = 0; c < columns; c++, a += n) {
        double *u = &column[c * rows], mean = centre_column(u, rows);
        memset(work, 0, n * sizeof *work);
        for (size_t i = 0; i < rows && n > 1; i++) {
            work[cell[i]] += u[i];
        }
        for (size_t k = 0; k < n && n > 1; k++) {
            work[k] /= (double)cells->n[k];
        }
        rotate_cells(a, work, cells);
        a[0] = sqrt((double)rows) * mean;
        for (size_t i = 0; i < rows && n > 1; i++) {
            u[i] -= work[cell[i]];
        }
    }
}
