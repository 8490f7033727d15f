/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The class form's elements: their names, roles, blocks and bounds. See mixed_class.c.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mixed.h"

struct element_list {
    const struct mixed_model *model;
    struct nof1_arena *arena;
    struct nof1_element *element;
    size_t count;
    int group;
    bool failed;
};

static void add(struct element_list *list, enum nof1_role role, uint16_t block, uint16_t size,
                double bound, uint16_t sparse, const char *name)
{
    list->failed = list->failed || name == NULL;
    list->element[list->count++] = (struct nof1_element){
        .name = name, .role = role, .group = list->group, .block = block, .block_size = size,
        .sparse = sparse > 0, .bound = fmin(0x1p96, bound),
        .factor = (uint16_t)(sparse > 1 ? sparse - 1 : 0)};
}

/* Coordinate k: the mean, or the difference of an arm from those before it. */
static void difference_name(char text[16], const struct mixed_model *m, size_t k, const char *mean,
                            const char *difference)
{
    if (k > 0 && m->coordinates > 2) {
        snprintf(text, 16, "%s%zu", difference, k);
    } else {
        snprintf(text, 16, "%s", k == 0 ? mean : difference);
    }
}

static const char *feature_name(const struct element_list *list, size_t f)
{
    const struct mixed_model *m = list->model;
    const struct mixed_feature *own = &m->feature[f];
    const char *name = m->column[own->column].name;
    if (own->level) {
        const struct mixed_column *c = &m->column[own->column];
        return c->by_treatment ? strchr(name, ':') + 1 : name;
    }
    char part[16];
    difference_name(part, m, own->coordinate, "mean", "difference");
    const char *text = nof1_arena_printf(list->arena, "%s(%s)", part, name);
    return text == NULL ? "" : text;
}

static double feature_bound(const struct mixed_model *m, size_t f)
{
    return 2 * mixed_column_bound(m, &m->column[m->feature[f].column]);
}

/* Of the differences their sums and products; of all coordinates the products about the means of
 * the trial's site, which sites of one trial do not feed; and the logarithm of each site's trials.
 */
static void add_site_cell(struct element_list *list, double y, char b[NOF1_ARMS_MAX][16])
{
    const struct mixed_model *m = list->model;
    const char *cell = m->base.group[0];
    uint16_t q = (uint16_t)m->coordinates;
    for (size_t k = 1; k < m->coordinates; k++) {
        add(list, NOF1_OUTCOME, 0, q, 2 * y, false,
            nof1_arena_printf(list->arena, "%s/sum %s", cell, b[k]));
    }
    for (size_t k = 1; k < m->coordinates; k++) {
        for (size_t l = 1; l <= k; l++) {
            add(list, NOF1_OUTCOME, 0, q, 4 * y * y, false,
                nof1_arena_printf(list->arena, "%s/sum %s*%s", cell, b[k], b[l]));
        }
    }
    for (size_t k = 0; k < m->coordinates; k++) {
        for (size_t l = 0; l <= k; l++) {
            add(list, NOF1_OUTCOME, 0, q, 16 * y * y, true,
                nof1_arena_printf(list->arena, "%s/within sites %s*%s", cell, b[k], b[l]));
        }
    }
    add(list, NOF1_DESIGN, 0, q, 64, false,
        nof1_arena_printf(list->arena, "%s/sum log trials of a site", cell));
}

static void add_cell(struct element_list *list, size_t c, double y)
{
    char b[NOF1_ARMS_MAX][16];
    const struct mixed_model *m = list->model;
    const char *cell = m->base.group[c];
    uint16_t q = (uint16_t)m->coordinates;
    list->group = (int)c;
    for (size_t k = 0; k < q; k++) {
        difference_name(b[k], m, k, "m", "d");
    }
    if (m->centred) {
        add_site_cell(list, y, b);
        return;
    }
    for (size_t f = 1; f < m->features; f++) {
        add(list, NOF1_DESIGN, 0, q, feature_bound(m, f), m->feature[f].sparse,
            nof1_arena_printf(list->arena, "%s/sum %s", cell, feature_name(list, f)));
    }
    for (size_t f = 1; f < m->features; f++) {
        for (size_t g = 1; g <= f; g++) {
            add(list, NOF1_DESIGN, 0, q, feature_bound(m, f) * feature_bound(m, g),
                m->feature[f].sparse || m->feature[g].sparse,
                nof1_arena_printf(list->arena, "%s/sum %s*%s", cell, feature_name(list, f),
                                  feature_name(list, g)));
        }
    }
    for (size_t k = 0; k < m->coordinates; k++) {
        add(list, NOF1_OUTCOME, 0, q, 2 * y, false,
            nof1_arena_printf(list->arena, "%s/sum %s", cell, b[k]));
    }
    for (size_t k = 0; k < m->coordinates && !m->isotropic; k++) {
        for (size_t l = 0; l <= k; l++) {
            add(list, NOF1_OUTCOME, 0, q, 4 * y * y, false,
                nof1_arena_printf(list->arena, "%s/sum %s*%s", cell, b[k], b[l]));
        }
    }
    if (m->isotropic) {
        add(list, NOF1_OUTCOME, 0, q, 4 * y * y, false,
            nof1_arena_printf(list->arena, "%s/sum m*m", cell));
        add(list, NOF1_OUTCOME, 0, q, 8 * (double)q * y * y, false,
            nof1_arena_printf(list->arena, "%s/sum %s", cell,
                              q > 2 ? "contrasts squared" : "d*d"));
    }
    for (size_t f = 1; f < m->features; f++) {
        for (size_t k = 0; k < m->coordinates; k++) {
            add(list, NOF1_OUTCOME, 0, q, 2 * y * feature_bound(m, f), m->feature[f].sparse,
                nof1_arena_printf(list->arena, "%s/sum %s*%s", cell, feature_name(list, f), b[k]));
        }
    }
}

/* Residual dimensions of a stratum in a trial of the cell. */
static size_t dimensions_of(const struct mixed_model *m, const struct mixed_cell *cell,
                            size_t stratum)
{
    size_t rows = mixed_cell_rows(m, cell);
    if (m->shape.ratios > 0) {
        return cell->n[stratum] - 1;
    }
    size_t cycles = m->shape.by_cycle ? rows / m->cycle_rows - 1 : 0;
    return m->shape.by_cycle && stratum == 0 ? cycles : rows - m->coordinates - cycles;
}

static void add_residuals(struct element_list *list, double y, size_t stratum)
{
    const struct mixed_model *m = list->model;
    size_t size = m->residuals + 1, rows = 0;
    for (size_t c = 0; c < m->cells; c++) {
        size_t here = dimensions_of(m, &m->cell[c], stratum);
        size = here < size ? here : size;
        size_t all = mixed_cell_rows(m, &m->cell[c]);
        rows = all > rows ? all : rows;
    }
    uint16_t block = (uint16_t)(size < 1 ? 1 : size), number = (uint16_t)(1 + stratum);
    const char *what = m->shape.by_cycle && stratum == 0 ? "cycles" : "within";
    if (m->shape.ratios > 0) {
        what = nof1_arena_printf(list->arena, "within %s", mixed_arm_name(m, stratum));
    }
    list->group = -1;
    for (size_t i = 0; i < m->residuals; i++) {
        const struct mixed_column *x = &m->column[m->residual[i]];
        for (size_t j = 0; j <= i; j++) {
            const struct mixed_column *z = &m->column[m->residual[j]];
            double bound = 4 * (double)rows * mixed_column_bound(m, x) * mixed_column_bound(m, z);
            add(list, NOF1_DESIGN, number, block, bound, mixed_sparse(x) || mixed_sparse(z),
                nof1_arena_printf(list->arena, "%s %s*%s", what, x->name, z->name));
        }
    }
    for (size_t i = 0; i < m->residuals; i++) {
        const struct mixed_column *x = &m->column[m->residual[i]];
        add(list, NOF1_OUTCOME, number, block, 4 * (double)rows * y * mixed_column_bound(m, x),
            mixed_sparse(x), nof1_arena_printf(list->arena, "%s %s*y", what, x->name));
    }
    add(list, NOF1_OUTCOME, number, block, 4 * (double)rows * y * y, false,
        nof1_arena_printf(list->arena, "%s y*y", what));
}

nof1_rc_value mixed_class_layout(const struct mixed_model *m, uint32_t round,
                                 struct nof1_arena *arena, struct nof1_layout *out)
{
    (void)round;
    double y = m->reach;
    struct element_list list = {m, arena, NULL, 0, 0, false};
    list.element = nof1_arena_alloc(arena, m->base.max_elements, sizeof *list.element);
    ENSURE(list.element != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < m->cells; c++) {
        add_cell(&list, c, y);
    }
    for (size_t t = 0; t < mixed_strata(m); t++) {
        add_residuals(&list, y, t);
    }
    ENSURE(!list.failed, NOF1_E_NO_MEMORY);
    ENSURE(list.count == m->base.max_elements, NOF1_E_BUG);
    *out = (struct nof1_layout){list.count, list.element};
    return NOF1_OK;
}
