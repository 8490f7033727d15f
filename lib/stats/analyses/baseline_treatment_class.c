/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `baseline_treatment` in one round. In a charter class the occasions of every trial are the class'
 * periods, so X, Z and V are public and the likelihood depends on the data through: per class
 * the sums and products of the functionals spanning Z'P y, once the other functionals spanning X'P
 * y and the squares y'A y, A being the matrices of which P(rho) is a combination (ar1.h). All that
 * others determine is left out, so that one class with a random level releases 8 numbers for
 * independent residuals [with a random change] and 14 for AR(1) [with a random level].
 */
#include <math.h>
#include <stdio.h>
#include <stats/matrix.h>
#include <string.h>

#include "baseline_treatment.h"
#include "mixed.h"

#define ROWS_MOST 1024 /* of all classes together: squares of it are kept in memory */

/* ---- the cells ----------------------------------------------------------------------------- */

/* Occasions of a class; false when its periods do not fix them. */
static bool cell_times(double *time, const struct bt_cell *cell)
{
    for (size_t i = 0; i < cell->rows; i++) {
        time[i] = cell->plan->schedule_period[i];
        if (i > 0 && time[i] <= time[i - 1]) {
            return false;
        }
    }
    return true;
}

static nof1_rc fill_cell(struct bt_cell *cell, const struct bt_model *m, struct nof1_arena *arena,
                         bool *possible)
{
    size_t n = cell->rows, width = m->columns + 1 + m->effects;
    double *time = nof1_arena_alloc(arena, n, sizeof *time);
    double *column = nof1_arena_alloc(arena, n * width, sizeof *column);
    ENSURE(time != NULL && column != NULL, NOF1_E_NO_MEMORY);
    *possible = cell_times(time, cell);
    for (size_t i = 0; i < n && *possible; i++) {
        for (size_t c = 0; c < width; c++) {
            if (c == m->columns) {
                continue;
            }
            enum bt_column kind =
                c < m->columns ? m->column[c] : m->effect[c - m->columns - 1];
            column[c * n + i] =
                bt_column_value(kind, time[i], i >= cell->baseline, time[cell->baseline]);
        }
    }
    cell->time = time;
    cell->column = column;
    return NOF1_OK;
}

/* The classes that have trials; false when they do not cover the census. */
static nof1_rc find_cells(struct bt_model *m, struct nof1_arena *arena, bool *possible)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_charter *charter = study->charter;
    struct bt_cell *cell = nof1_arena_alloc(arena, charter->classes + 1, sizeof *cell);
    ENSURE(cell != NULL, NOF1_E_NO_MEMORY);
    uint64_t covered = 0;
    *possible = m->by_period && study->census != NULL && study->plan->strata == 0;
    for (size_t c = 0; c < charter->classes && *possible; c++) {
        const struct nof1_class *plan = &charter->class_[c];
        char name[256];
        snprintf(name, sizeof name, "class:%s", plan->name);
        uint64_t here = mixed_census(study, name);
        size_t n0 = plan->n[study->plan->reference], n1 = plan->n[study->plan->active];
        if (here == 0) {
            continue;
        }
        *possible = n0 > 0 && n1 > 0 && plan->schedule_rows == n0 + n1 &&
                    m->all_rows + n0 + n1 <= ROWS_MOST &&
                    (charter->limits.open || here >= charter->limits.min_class_patients);
        if (*possible) {
            struct bt_cell *own = &cell[m->cells++];
            *own = (struct bt_cell){.name = plan->name, .rows = n0 + n1, .baseline = n0,
                                    .plan = plan, .offset = m->all_rows};
            m->all_rows += n0 + n1;
            TRY(fill_cell(own, m, arena, possible));
        }
        covered += here;
    }
    *possible = *possible && m->cells > 0 && covered == mixed_census(study, "trials");
    m->cell = cell;
    return NOF1_OK;
}

static nof1_rc find_form(struct bt_model *m, struct nof1_arena *arena)
{
    struct nof1_occasions *cell = nof1_arena_alloc(arena, m->cells, sizeof *cell);
    ENSURE(cell != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < m->cells; c++) {
        cell[c] = (struct nof1_occasions){m->cell[c].rows, m->cell[c].offset, m->cell[c].time};
    }
    return nof1_ar1_form(&m->form, cell, m->cells, m->residual != BT_IID, arena);
}

/* Per class the functionals A z; then, over all classes, the A x that these do not determine. */
static nof1_rc find_functionals(struct bt_model *m, struct bt_cell *cell, struct nof1_arena *arena)
{
    size_t size = m->all_rows, a_count = m->form.matrices;
    struct nof1_span all;
    TRY(nof1_span_new(&all, a_count * (m->columns + m->cells * m->effects) + 1, size, arena));
    double *vector = nof1_arena_alloc(arena, 2 * size, sizeof *vector);
    ENSURE(vector != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < m->cells; c++) {
        size_t n = cell[c].rows, before = all.count;
        for (size_t k = 0; k < m->effects * a_count; k++) {
            const double *z = cell[c].column + (m->columns + 1 + k / a_count) * n;
            memset(vector, 0, size * sizeof *vector);
            nof1_ar1_apply(vector + cell[c].offset, &m->form, &m->form.cell[c], k % a_count, z);
            (void)nof1_span_add(&all, vector, vector + size);
        }
        cell[c].inner = all.count - before;
        double *own = nof1_arena_alloc(arena, cell[c].inner * n + 1, sizeof *own);
        ENSURE(own != NULL, NOF1_E_NO_MEMORY);
        for (size_t k = 0; k < cell[c].inner; k++) {
            memcpy(own + k * n, all.raw + (before + k) * size + cell[c].offset, n * sizeof *own);
        }
        cell[c].functional = own;
    }
    size_t before = all.count;
    for (size_t k = 0; k < m->columns * a_count; k++) {
        for (size_t c = 0; c < m->cells; c++) {
            const double *x = cell[c].column + (k / a_count) * cell[c].rows;
            nof1_ar1_apply(vector + cell[c].offset, &m->form, &m->form.cell[c], k % a_count, x);
        }
        (void)nof1_span_add(&all, vector, vector + size);
    }
    m->outer = all.count - before;
    m->functional = all.raw + before * size;
    return NOF1_OK;
}

/* Products of equal functionals enter the likelihood alike, whatever the start of treatment. */
static void find_owners(struct bt_cell *cell, size_t cells)
{
    for (size_t c = 0; c < cells; c++) {
        size_t bytes = cell[c].inner * cell[c].rows * sizeof(double), first = 0;
        while (first < c && (cell[first].rows != cell[c].rows ||
                             cell[first].inner != cell[c].inner ||
                             memcmp(cell[first].functional, cell[c].functional, bytes) != 0)) {
            first++;
        }
        cell[c].owner = first;
        cell[first].shared = cell[first].shared || first != c;
    }
}

nof1_rc_value bt_class_prepare(struct bt_model *m, struct nof1_arena *arena, bool *possible)
{
    TRY(find_cells(m, arena, possible));
    if (!*possible) {
        return NOF1_OK;
    }
    struct bt_cell *cell = (struct bt_cell *)m->cell; /* ours until prepared */
    const char **group = nof1_arena_alloc(arena, m->cells, sizeof *group);
    ENSURE(group != NULL, NOF1_E_NO_MEMORY);
    TRY(find_form(m, arena));
    TRY(find_functionals(m, cell, arena));
    find_owners(cell, m->cells);
    for (size_t c = 0; c < m->cells; c++) {
        group[c] = nof1_arena_printf(arena, "class:%s", m->cell[c].name);
        ENSURE(group[c] != NULL, NOF1_E_NO_MEMORY);
    }
    m->base.groups = m->cells;
    m->base.group = group;
    m->base.group_is_class = true;
    return NOF1_OK;
}

/* ---- one trial ----------------------------------------------------------------------------- */

/* Elements of cell c: its sums, then the products when it owns them. */
static size_t cell_elements(const struct bt_model *m, size_t c)
{
    size_t q = m->cell[c].inner;
    return q + (m->cell[c].owner == c ? q * (q + 1) / 2 : 0);
}

static size_t place_of(const struct bt_model *m, size_t c)
{
    size_t at = 0;
    for (size_t before = 0; before < c; before++) {
        at += cell_elements(m, before);
    }
    return at;
}

size_t bt_class_elements(const struct bt_model *m)
{
    return place_of(m, m->cells) + m->outer + m->form.squares;
}

int bt_class_group_of(const struct bt_model *m, const struct nof1_trial *trial, void *scratch)
{
    struct bt_rows rows;
    if (!bt_rows_of(&rows, m, trial, scratch)) {
        return NOF1_LEFT_OUT;
    }
    for (size_t c = 0; c < m->cells; c++) {
        const struct bt_cell *cell = &m->cell[c];
        if (cell->rows == rows.rows && cell->baseline == rows.baseline &&
            memcmp(cell->time, rows.time, rows.rows * sizeof *rows.time) == 0 &&
            memcmp(cell->column, rows.column, m->columns * rows.rows * sizeof *rows.column) == 0) {
            return (int)c;
        }
    }
    return NOF1_LEFT_OUT;
}

nof1_rc_value bt_class_contribute(const struct bt_model *m, const struct nof1_trial *trial,
                                  void *scratch, double *out)
{
    struct bt_rows rows;
    int group = bt_class_group_of(m, trial, scratch);
    ENSURE(group >= 0 && bt_rows_of(&rows, m, trial, scratch), NOF1_E_BUG);
    size_t n = rows.rows, elements = bt_class_elements(m);
    const double *y = rows.column + m->columns * n;
    memset(out, 0, elements * sizeof *out);
    const struct bt_cell *cell = &m->cell[group];
    double *at = out + place_of(m, (size_t)group);
    for (size_t k = 0; k < cell->inner; k++) {
        at[k] = nof1_dot(cell->functional + k * n, y, n);
    }
    double *product = out + place_of(m, cell->owner) + cell->inner;
    for (size_t k = 0; k < cell->inner; k++) {
        for (size_t l = 0; l <= k; l++) {
            *product++ = at[k] * at[l];
        }
    }
    double *once = out + elements - m->outer - m->form.squares;
    for (size_t k = 0; k < m->outer; k++) {
        once[k] = nof1_dot(m->functional + k * m->all_rows + cell->offset, y, n);
    }
    for (size_t k = 0; k < m->form.squares; k++) {
        nof1_ar1_apply(rows.work, &m->form, &m->form.cell[group], m->form.square[k], y);
        once[m->outer + k] = nof1_dot(rows.work, y, n);
    }
    for (size_t e = 0; e < elements; e++) {
        ENSURE(isfinite(out[e]), NOF1_E2403);
    }
    return NOF1_OK;
}

/* ---- layout -------------------------------------------------------------------------------- */

static double length_of(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += fabs(v[i]);
    }
    return sum;
}

nof1_rc_value bt_class_layout(const struct bt_model *m, struct nof1_arena *arena,
                              struct nof1_layout *out)
{
    size_t elements = bt_class_elements(m), e = 0;
    struct nof1_element *element = nof1_arena_alloc(arena, elements, sizeof *element);
    ENSURE(element != NULL, NOF1_E_NO_MEMORY);
    double y = m->reach;
    for (size_t c = 0; c < m->cells; c++) {
        const struct bt_cell *cell = &m->cell[c];
        struct nof1_element like = {.role = NOF1_OUTCOME, .group = (int)c, .block = 0,
                                    .block_size = (uint16_t)cell->inner};
        for (size_t k = 0; k < cell->inner; k++, e++) {
            element[e] = like;
            element[e].name = nof1_arena_printf(arena, "class:%s/sum z%zu", cell->name, k + 1);
            element[e].bound = y * length_of(cell->functional + k * cell->rows, cell->rows);
        }
        size_t first = e - cell->inner;
        like.group = cell->shared ? -1 : (int)c;
        for (size_t k = 0; k < cell->inner && cell->owner == c; k++) {
            for (size_t l = 0; l <= k; l++, e++) {
                element[e] = like;
                element[e].name =
                    nof1_arena_printf(arena, "class:%s/sum z%zu*z%zu", cell->name, k + 1, l + 1);
                element[e].bound = element[first + k].bound * element[first + l].bound;
            }
        }
    }
    for (size_t k = 0; k < m->outer; k++, e++) {
        element[e] = (struct nof1_element){
            .name = nof1_arena_printf(arena, "sum x%zu", k + 1), .role = NOF1_OUTCOME, .group = -1,
            .block = 1, .block_size = (uint16_t)m->outer,
            .bound = y * length_of(m->functional + k * m->all_rows, m->all_rows)};
    }
    for (size_t k = 0; k < m->form.squares; k++, e++) {
        element[e] = (struct nof1_element){
            .name = nof1_arena_printf(arena, "sum y*y %zu", k + 1), .role = NOF1_OUTCOME,
            .group = -1, .block = 2, .block_size = (uint16_t)m->form.squares,
            .bound = 4 * y * y * (double)m->all_rows};
    }
    for (size_t i = 0; i < elements; i++) {
        ENSURE(element[i].name != NULL, NOF1_E_NO_MEMORY);
        element[i].bound = fmin(0x1p96, element[i].bound);
    }
    *out = (struct nof1_layout){elements, element};
    return NOF1_OK;
}
