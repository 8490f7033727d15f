/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One trial in the coordinates of its cells (rows of one arm, and of one cycle where cycles have a
 * variance): what the score form adds at each evaluation. Allocates nothing.
 */
#include <math.h>
#include <string.h>

#include "mixed.h"

/* Do rows of different arms, or cycles, have different rows of Z? */
static bool by_arm(const struct mixed_model *m)
{
    return m->shape.effects > 1 || m->shape.by_arm || m->shape.ratios > 0 || m->shape.by_cycle;
}

size_t mixed_cells_most(const struct mixed_model *m)
{
    size_t cycles = m->shape.by_cycle ? m->base.study->charter->max_cycles : 1;
    return by_arm(m) ? m->arms * (cycles > 1 ? cycles : 1) : 1;
}

size_t mixed_project_size(const struct mixed_model *m)
{
    size_t n = mixed_cells_most(m), width = m->columns + 1;
    return 4 * n + width * n + m->terms * n * n + (NOF1_EFFECTS_MAX + 3) * n +
           nof1_gaussian_work_size(&m->shape, n) + width * width * NOF1_ARMS_MAX;
}

double *mixed_project_rows(const struct mixed_model *m, double *memory)
{
    return memory + mixed_project_size(m);
}

static void place(struct mixed_projection *p, const struct mixed_model *m, double *memory)
{
    size_t n = mixed_cells_most(m), width = m->columns + 1;
    p->n = (size_t *)(void *)memory;
    p->cycle = p->n + n;
    p->number = (int32_t *)(void *)(p->cycle + n);
    p->arm = (unsigned char *)(void *)(memory + 3 * n);
    p->a = memory + 4 * n;
    p->term = p->a + width * n;
    p->work = p->term + m->terms * n * n;
    p->residual = p->work + (NOF1_EFFECTS_MAX + 3) * n + nof1_gaussian_work_size(&m->shape, n);
    p->cell = (unsigned short *)(void *)mixed_project_rows(m, memory);
}

/* Index of the row's cycle among those met. */
static size_t cycle_of(struct mixed_projection *p, int32_t number, size_t *cycles)
{
    for (size_t c = 0; c < *cycles; c++) {
        if (p->number[c] == number) {
            return c;
        }
    }
    p->number[*cycles] = number;
    return (*cycles)++;
}

/* Cells in order of arm, so that cells of the reference come first. */
static nof1_rc find_cells(struct mixed_projection *p, const struct mixed_model *m,
                          const struct nof1_series *s)
{
    size_t most = mixed_cells_most(m), cycles = 0;
    p->cells = 0;
    memset(p->n, 0, most * sizeof *p->n);
    for (unsigned arm = 0; arm < m->arms; arm++) {
        for (size_t i = 0; i < s->rows; i++) {
            if (s->arm[i] != arm) {
                continue;
            }
            bool met = m->shape.by_cycle;
            for (size_t c = 0; met && c < cycles; c++) {
                met = p->number[c] != s->cycle[i];
            }
            ENSURE(!met || cycles < most, NOF1_E2403);
            size_t cycle = m->shape.by_cycle ? cycle_of(p, s->cycle[i], &cycles) : 0, at = 0;
            while (at < p->cells && !(p->cycle[at] == cycle && (!by_arm(m) || p->arm[at] == arm))) {
                at++;
            }
            ENSURE(at < most, NOF1_E2403);
            p->cells += at == p->cells;
            p->cycle[at] = cycle;
            p->arm[at] = (unsigned char)arm;
            p->cell[i] = (unsigned short)at;
            p->n[at]++;
        }
    }
    return NOF1_OK;
}

/* Products of the residual columns, of each arm apart when their variances differ. */
static void add_residuals(struct mixed_projection *p, const struct mixed_model *m,
                          const struct nof1_series *s, const double *column)
{
    size_t width = m->columns + 1, size = width * width;
    memset(p->residual, 0, size * NOF1_ARMS_MAX * sizeof *p->residual);
    for (size_t i = 0; i < s->rows; i++) {
        double *to = p->residual + (m->shape.ratios > 0 ? s->arm[i] * size : 0);
        for (size_t c = 0; c < width; c++) {
            for (size_t d = 0; d <= c; d++) {
                to[c * width + d] += column[c * s->rows + i] * column[d * s->rows + i];
            }
        }
    }
    for (size_t k = 0; k < NOF1_ARMS_MAX; k++) {
        for (size_t c = 0; c < width; c++) {
            for (size_t d = 0; d < c; d++) {
                p->residual[k * size + d * width + c] = p->residual[k * size + c * width + d];
            }
        }
    }
}

nof1_rc_value mixed_project(struct mixed_projection *p, const struct mixed_model *m,
                            const struct nof1_series *s, double *column, double *memory)
{
    place(p, m, memory);
    TRY(find_cells(p, m, s));
    memset(p->free, 0, sizeof p->free);
    for (size_t c = 0; c < p->cells; c++) {
        p->free[p->arm[c]] -= 1;
    }
    for (size_t k = 0; k < NOF1_ARMS_MAX; k++) {
        p->free[k] += (double)s->n[k];
    }
    p->rows = (double)s->rows;
    struct nof1_gaussian_cells cells = {p->cells, p->n, p->arm, p->cycle};
    nof1_gaussian_rotate(p->a, column, m->columns + 1, s->rows, p->cell, &cells, p->work);
    nof1_gaussian_structure(p->term, &m->shape, &cells, p->work);
    add_residuals(p, m, s, column);
    return NOF1_OK;
}

void mixed_projection_add(struct nof1_gaussian_sums *sums, const struct mixed_model *m,
                          const double *gamma, const struct mixed_projection *p)
{
    size_t size = (m->columns + 1) * (m->columns + 1);
    struct nof1_gaussian_group group = {
        .trials = 1, .rank = p->cells, .a = p->a, .term = p->term,
        .rows = m->shape.ratios == 0 ? p->rows : (double)p->cells + p->free[0]};
    nof1_gaussian_add(sums, &m->shape, gamma, &group, p->residual, p->work);
    for (size_t k = 1; k <= m->shape.ratios; k++) {
        mixed_add_ratio(sums, &m->shape, gamma, k, p->free[k], p->residual + k * size);
    }
}

void mixed_add_ratio(struct nof1_gaussian_sums *sums, const struct nof1_gaussian_shape *shape,
                     const double *gamma, size_t arm, double dimensions, const double *products)
{
    double term[NOF1_TERMS_MAX] = {0};
    term[nof1_gaussian_terms(shape) - shape->ratios + arm - 1] = 1;
    struct nof1_gaussian_group group = {
        .trials = dimensions, .rows = 1, .rank = 1, .between = products, .term = term};
    if (dimensions > 0) {
        nof1_gaussian_add(sums, shape, gamma, &group, NULL, NULL);
    }
}
