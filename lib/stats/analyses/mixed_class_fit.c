/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The class form at the coordinator: from the released moments of (1, features, m, d) of each class
 * back to the bilinear forms of the likelihood, and to its optimum.
 */
#include <math.h>
#include <string.h>

#include "mixed.h"

/* Second moments of (1, features, m, d) from the elements of a cell. */
static void read_moments(double *phi, const struct mixed_model *m, const double *total,
                         double trials)
{
    size_t n = m->features + m->effects, first = m->features;
    memset(phi, 0, n * n * sizeof *phi);
    phi[0] = trials;
    for (size_t f = 1; f < first; f++) {
        phi[f] = phi[f * n] = *total++;
    }
    for (size_t f = 1; f < first; f++) {
        for (size_t g = 1; g <= f; g++) {
            phi[f * n + g] = phi[g * n + f] = *total++;
        }
    }
    for (size_t k = 0; k < m->effects; k++) {
        phi[first + k] = phi[(first + k) * n] = *total++;
    }
    for (size_t k = 0; k < m->effects; k++) {
        for (size_t l = 0; l <= k; l++) {
            phi[(first + k) * n + first + l] = phi[(first + l) * n + first + k] = *total++;
        }
    }
    for (size_t f = 1; f < first; f++) {
        for (size_t k = 0; k < m->effects; k++) {
            phi[f * n + first + k] = phi[(first + k) * n + f] = *total++;
        }
    }
}

/* Coordinate k of column c (c = columns: the response) is scale * (1, features, m, d)[index]. */
static size_t locate(double *scale, const struct mixed_model *m, const struct mixed_cell *cell,
                     const struct nof1_gaussian_group *group, size_t c, size_t k)
{
    *scale = k == 0 ? group->root[0] : group->root[3];
    if (c == m->columns) {
        return m->features + k;
    }
    const struct mixed_coordinate *at = &m->coordinate[c * m->effects + k];
    double share = (double)cell->n[1] / (double)(cell->n[0] + cell->n[1]);
    if (at->zero) {
        *scale = 0;
    } else if (at->feature == 0) {
        *scale *= cell->constant[c * m->effects + k];
    } else if (at->by_share) {
        *scale *= share;
    }
    return at->feature;
}

/* Moments of m - shift instead of m, so that no later step subtracts large numbers. */
static void shift_moments(double *phi, const struct mixed_model *m, double shift)
{
    size_t n = m->features + m->effects, at = m->features;
    long double c = shift;
    phi[at * n + at] = (double)((long double)phi[at * n + at] - 2 * c * (long double)phi[at] +
                                c * c * (long double)phi[0]);
    for (size_t g = 0; g < n; g++) {
        if (g != at) {
            double moved = (double)((long double)phi[at * n + g] - c * (long double)phi[g]);
            phi[at * n + g] = phi[g * n + at] = moved;
        }
    }
}

/* The mean of m over all trials, to 24 bits. */
static double overall_mean(const struct mixed_model *m, const struct nof1_history *history)
{
    size_t f = m->features - 1;
    double sum = 0;
    for (size_t c = 0; c < m->cells; c++) {
        sum += history->round[0].total[c * mixed_cell_elements(m) + f + f * (f + 1) / 2];
    }
    return (double)(float)(sum / (double)history->counts.trials);
}

static nof1_rc read_cell(struct nof1_gaussian_group *out, const struct mixed_model *m,
                         const struct mixed_cell *cell, const double *total, double trials,
                         double shift, struct nof1_arena *arena)
{
    size_t n = m->features + m->effects, q = m->effects, width = (m->columns + 1) * q;
    double *phi = nof1_arena_alloc(arena, n * n, sizeof *phi);
    double *between = nof1_arena_alloc(arena, width * width, sizeof *between);
    ENSURE(phi != NULL && between != NULL, NOF1_E_NO_MEMORY);
    read_moments(phi, m, total, trials);
    shift_moments(phi, m, shift);
    *out = nof1_gaussian_design(q, cell->n);
    out->trials = trials;
    for (size_t i = 0; i < width; i++) {
        for (size_t j = 0; j < width; j++) {
            double si, sj;
            size_t fi = locate(&si, m, cell, out, i / q, i % q);
            size_t fj = locate(&sj, m, cell, out, j / q, j % q);
            between[i * width + j] = si * sj * phi[fi * n + fj];
        }
    }
    out->between = between;
    return NOF1_OK;
}

static void read_residual(double *residual, const struct mixed_model *m, const double *total)
{
    size_t width = m->columns + 1, y = m->columns;
    for (size_t i = 0; i < m->residuals; i++) {
        for (size_t j = 0; j <= i; j++) {
            size_t a = m->residual[i], b = m->residual[j];
            residual[a * width + b] = residual[b * width + a] = *total++;
        }
    }
    for (size_t i = 0; i < m->residuals; i++) {
        size_t a = m->residual[i];
        residual[a * width + y] = residual[y * width + a] = *total++;
    }
    residual[y * width + y] = *total;
}

nof1_rc_value mixed_class_fit(const struct mixed_model *m, const struct nof1_history *history,
                              struct nof1_arena *arena, struct mixed_fit *fit,
                              struct nof1_error *error)
{
    const double *total = history->round[0].total;
    size_t width = m->columns + 1;
    struct nof1_gaussian_group *group = nof1_arena_alloc(arena, m->cells, sizeof *group);
    double *residual = nof1_arena_alloc(arena, width * width, sizeof *residual);
    ENSURE(group != NULL && residual != NULL, NOF1_E_NO_MEMORY);
    if (history->counts.trials == 0) {
        return nof1_fail(error, NOF1_E_MODEL, "no trial belongs to a class");
    }
    fit->shift = overall_mean(m, history);
    for (size_t c = 0; c < m->cells; c++) {
        TRY(read_cell(&group[c], m, &m->cell[c], total + c * mixed_cell_elements(m),
                      (double)history->counts.group_trials[c], fit->shift, arena));
    }
    read_residual(residual, m, total + m->cells * mixed_cell_elements(m));
    struct mixed_totals totals = {{width, m->effects}, m->cells, group, residual};
    return mixed_totals_fit(m, &totals, (double)history->counts.trials, arena, fit, error);
}
