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
    size_t n = m->features + m->coordinates, first = m->features;
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
    for (size_t k = 0; k < m->coordinates; k++) {
        phi[first + k] = phi[(first + k) * n] = *total++;
    }
    if (m->isotropic) { /* only their sum over contrasts is known, and only it is used */
        phi[first * n + first] = *total++;
        for (size_t k = 1; k < m->coordinates; k++) {
            phi[(first + k) * n + first + k] =
                *total * (double)(k + 1) / (double)(2 * k * (m->coordinates - 1));
        }
        total++;
    }
    for (size_t k = 0; k < m->coordinates && !m->isotropic; k++) {
        for (size_t l = 0; l <= k; l++) {
            phi[(first + k) * n + first + l] = phi[(first + l) * n + first + k] = *total++;
        }
    }
    for (size_t f = 1; f < first; f++) {
        for (size_t k = 0; k < m->coordinates; k++) {
            phi[f * n + first + k] = phi[(first + k) * n + f] = *total++;
        }
    }
}

/* Coordinate k of column c (c = columns: the response) is scale * (1, features, m, d)[index]. */
static size_t locate(double *scale, const struct mixed_model *m, const struct mixed_cell *cell,
                     size_t c, size_t k)
{
    if (c == m->columns) {
        return m->features + k;
    }
    const struct mixed_coordinate *at = &m->coordinate[c * m->coordinates + k];
    if (at->zero) {
        *scale = 0;
    } else if (at->feature == 0 || at->scaled) {
        *scale *= cell->constant[c * m->coordinates + k];
    }
    return at->feature;
}

/* Moments of m - shift instead of m, so that no later step subtracts large numbers. */
static void shift_moments(double *phi, const struct mixed_model *m, double shift)
{
    size_t n = m->features + m->coordinates, at = m->features;
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

/* V_j, and the rows that this group counts: those of arm 0 with ratios, without the cycles' own. */
nof1_rc_value mixed_cell_structure(struct nof1_gaussian_group *out, double *scale,
                                   const struct mixed_model *m, const struct mixed_cell *cell,
                                   struct nof1_arena *arena)
{
    static const unsigned char arm[NOF1_ARMS_MAX] = {0, 1, 2, 3, 4, 5, 6, 7};
    size_t q = m->coordinates, rows = mixed_cell_rows(m, cell), n[NOF1_ARMS_MAX] = {rows};
    double work[(NOF1_EFFECTS_MAX + 2) * NOF1_ARMS_MAX];
    double *term = nof1_arena_alloc(arena, m->terms * q * q + 1, sizeof *term);
    ENSURE(term != NULL, NOF1_E_NO_MEMORY);
    struct nof1_gaussian_shape shape = m->shape;
    struct nof1_gaussian_cells cells = {q, q > 1 ? cell->n : n, arm, NULL};
    shape.by_cycle = false; /* complete cycles touch the mean alone */
    size_t first = nof1_gaussian_block(&shape) * q * q;
    nof1_gaussian_scale(scale, &cells);
    nof1_gaussian_structure(term, &shape, &cells, work);
    *out = (struct nof1_gaussian_group){.rank = q, .term = term, .rows = (double)rows};
    if (m->shape.by_cycle) {
        memmove(term + first + q * q, term + first, m->shape.by_arm * q * q * sizeof *term);
        memset(term + first, 0, q * q * sizeof *term);
        term[first] = (double)m->cycle_rows;
        out->rows -= (double)rows / (double)m->cycle_rows - 1;
    }
    if (m->shape.ratios > 0) {
        out->rows = (double)(q + cell->n[0] - 1);
    }
    return NOF1_OK;
}

static nof1_rc read_cell(struct nof1_gaussian_group *out, const struct mixed_model *m,
                         const struct mixed_cell *cell, const double *total, double trials,
                         double shift, struct nof1_arena *arena)
{
    size_t n = m->features + m->coordinates, q = m->coordinates, width = (m->columns + 1) * q;
    double *phi = nof1_arena_alloc(arena, n * n, sizeof *phi);
    double *between = nof1_arena_alloc(arena, width * width, sizeof *between);
    ENSURE(phi != NULL && between != NULL, NOF1_E_NO_MEMORY);
    read_moments(phi, m, total, trials);
    shift_moments(phi, m, shift);
    double scale[NOF1_ARMS_MAX];
    TRY(mixed_cell_structure(out, scale, m, cell, arena));
    out->trials = trials;
    for (size_t i = 0; i < width; i++) {
        for (size_t j = 0; j < width; j++) {
            double si = scale[i % q], sj = scale[j % q];
            size_t fi = locate(&si, m, cell, i / q, i % q);
            size_t fj = locate(&sj, m, cell, j / q, j % q);
            between[i * width + j] = si * sj * phi[fi * n + fj];
        }
    }
    out->between = between;
    return NOF1_OK;
}

static const double *read_residual(double *residual, const struct mixed_model *m,
                                   const double *total)
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
    residual[y * width + y] = *total++;
    return total;
}

/* The strata of residuals besides the one that V does not change: groups of rank 1. */
static nof1_rc read_stratum(struct nof1_gaussian_group *out, const struct mixed_model *m,
                            size_t stratum, const double *products,
                            const struct nof1_history *history, struct nof1_arena *arena)
{
    double *term = nof1_arena_alloc(arena, m->terms, sizeof *term), dimensions = 0;
    ENSURE(term != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < m->cells; c++) {
        const struct mixed_cell *cell = &m->cell[c];
        double rows = (double)mixed_cell_rows(m, cell);
        dimensions += (double)history->counts.group_trials[c] *
                      (m->shape.by_cycle ? rows / (double)m->cycle_rows - 1
                                         : (double)cell->n[stratum] - 1);
    }
    if (m->shape.by_cycle) {
        term[nof1_gaussian_block(&m->shape)] = (double)m->cycle_rows;
    } else {
        term[m->terms - m->shape.ratios + stratum - 1] = 1;
    }
    *out = (struct nof1_gaussian_group){
        .trials = dimensions, .rows = 1, .rank = 1, .between = products, .term = term};
    return NOF1_OK;
}

/* Reads all strata. *kept: the residual that V does not change (the reference arm's, or within
 * cycles); the others are groups. */
static nof1_rc read_strata(struct nof1_gaussian_group *group, const double **kept,
                           const struct mixed_model *m, const double *total,
                           const struct nof1_history *history, struct nof1_arena *arena)
{
    size_t size = (m->columns + 1) * (m->columns + 1), strata = mixed_strata(m);
    size_t own = m->shape.by_cycle ? 1 : 0;
    for (size_t t = 0; t < strata; t++) {
        double *residual = nof1_arena_alloc(arena, size, sizeof *residual);
        ENSURE(residual != NULL, NOF1_E_NO_MEMORY);
        total = read_residual(residual, m, total);
        if (t == own) {
            *kept = residual;
        } else {
            TRY(read_stratum(group++, m, t, residual, history, arena));
        }
    }
    return NOF1_OK;
}

nof1_rc_value mixed_class_fit(const struct mixed_model *m, const struct nof1_history *history,
                              struct nof1_arena *arena, struct mixed_fit *fit,
                              struct nof1_error *error)
{
    const double *total = history->round[0].total;
    size_t groups = (m->centred ? 3 : m->cells) + mixed_strata(m) - 1;
    struct nof1_gaussian_group *group = nof1_arena_alloc(arena, groups, sizeof *group);
    const double *residual = NULL;
    ENSURE(group != NULL, NOF1_E_NO_MEMORY);
    if (history->counts.trials == 0) {
        return nof1_fail(error, NOF1_E_MODEL, "no trial belongs to a class");
    }
    if (m->centred) {
        TRY(mixed_site_groups(group, fit, m, total, history, arena, error));
    } else {
        fit->shift = overall_mean(m, history);
    }
    for (size_t c = 0; c < m->cells && !m->centred; c++) {
        TRY(read_cell(&group[c], m, &m->cell[c], total + c * mixed_cell_elements(m),
                      (double)history->counts.group_trials[c], fit->shift, arena));
    }
    TRY(read_strata(group + (m->centred ? 3 : m->cells), &residual, m,
                    total + m->cells * mixed_cell_elements(m), history, arena));
    struct mixed_totals totals = {m->shape, groups, group, residual, NULL};
    return mixed_totals_fit(m, &totals, (double)history->counts.trials, arena, fit, error);
}
