/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The elements of the one-round form with correlated residuals: names, roles, blocks and bounds.
 * See mixed_serial_class.c. Depends on the model alone.
 */
#include <math.h>

#include "mixed_serial.h"

static double length_of(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += fabs(v[i]);
    }
    return sum;
}

static const char *vector_name(const struct mixed_model *m, size_t w)
{
    return w < m->serial->varying ? m->column[m->serial->varying_column[w]].name : "y";
}

static double level_bound(const struct mixed_model *m, size_t a)
{
    return mixed_column_bound(m, &m->column[m->serial->level_column[a]]);
}

/* Of a term's factor: level, or functional of a vector. */
static double factor_bound(const struct mixed_model *m, const struct serial_item *item, size_t w,
                           size_t k)
{
    const struct mixed_serial *s = m->serial;
    size_t n = s->form.cell[item->group].rows;
    const double *f = s->pattern[item->group].functional + k * n;
    return length_of(f, n) * (w < s->varying ? 1 : m->reach);
}

static const char *item_name(const struct mixed_model *m, struct nof1_arena *arena,
                             const struct serial_item *item)
{
    const struct mixed_serial *s = m->serial;
    const char *group = item->group < 0 ? "" : m->base.group[item->group];
    const char *a = "", *b = "";
    if (item->sum == SERIAL_SUM_LEVEL || item->sum == SERIAL_SUM_LEVELS) {
        a = m->column[s->level_column[item->a]].name;
        b = m->column[s->level_column[item->b]].name;
    } else {
        a = vector_name(m, item->a);
        b = item->sum == SERIAL_SUM_LEVEL_F ? m->column[s->level_column[item->b]].name
                                            : vector_name(m, item->b);
    }
    switch (item->sum) {
    case SERIAL_SUM_LEVEL:
        return nof1_arena_printf(arena, "%s/sum %s", group, a);
    case SERIAL_SUM_LEVELS:
        return nof1_arena_printf(arena, "%s/sum %s*%s", group, a, b);
    case SERIAL_SUM_F:
        return nof1_arena_printf(arena, "%s/sum f%zu(%s)", group, item->k + 1, a);
    case SERIAL_SUM_LEVEL_F:
        return nof1_arena_printf(arena, "%s/sum %s*f%zu(%s)", group, b, item->k + 1, a);
    case SERIAL_SUM_PRODUCT:
        return nof1_arena_printf(arena, "%s/sum f%zu(%s)*f%zu(%s)", group, item->k + 1, a,
                                 item->l + 1, b);
    case SERIAL_SUM_OUTER:
        return nof1_arena_printf(arena, "sum x%zu*%s", item->k + 1, a);
    default:
        return nof1_arena_printf(arena, "sum %s*%s %zu", a, b, item->k + 1);
    }
}

/* Numbers of a trial in what all trials sum: no more than its rows. */
static uint16_t common_size(const struct mixed_serial *s)
{
    size_t size = s->outer + (s->varying + 1) * s->form.squares;
    for (size_t p = 0; p < s->form.cells; p++) {
        size = s->form.cell[p].rows < size ? s->form.cell[p].rows : size;
    }
    return (uint16_t)size;
}

static struct nof1_element element_of(const struct mixed_model *m, const struct serial_item *item)
{
    const struct mixed_serial *s = m->serial;
    size_t y = s->varying, inner = item->group < 0 ? 1 : s->pattern[item->group].inner;
    bool levels = item->sum == SERIAL_SUM_LEVEL || item->sum == SERIAL_SUM_LEVELS;
    bool pair = item->sum == SERIAL_SUM_PRODUCT || item->sum == SERIAL_SUM_SQUARE;
    bool outcome = !levels && (item->a == y || (pair && item->b == y));
    struct nof1_element e = {.role = outcome ? NOF1_OUTCOME : NOF1_DESIGN, .group = item->group,
                             .block_size = (uint16_t)inner};
    if (levels || item->sum == SERIAL_SUM_LEVEL_F) {
        size_t at = levels ? item->a : item->b;
        uint16_t sparse = mixed_sparse(&m->column[s->level_column[at]]);
        e.sparse = sparse > 0;
        e.factor = (uint16_t)(sparse > 1 ? sparse - 1 : 0);
        e.bound = level_bound(m, at) *
                  (levels ? item->sum == SERIAL_SUM_LEVELS ? level_bound(m, item->b) : 1
                          : factor_bound(m, item, item->a, item->k));
        e.sparse = e.sparse || (item->sum == SERIAL_SUM_LEVELS &&
                                mixed_sparse(&m->column[s->level_column[item->b]]));
    } else if (item->sum == SERIAL_SUM_F) {
        e.bound = factor_bound(m, item, item->a, item->k);
    } else if (item->sum == SERIAL_SUM_PRODUCT) {
        e.bound =
            factor_bound(m, item, item->a, item->k) * factor_bound(m, item, item->b, item->l) +
            factor_bound(m, item, item->a, item->l) * factor_bound(m, item, item->b, item->k);
    } else if (item->sum == SERIAL_SUM_OUTER) {
        e.block = 1;
        e.block_size = common_size(s);
        e.bound = length_of(s->functional + item->k * s->form.rows, s->form.rows) *
                  (item->a == y ? m->reach : 1);
    } else {
        e.block = 1;
        e.block_size = common_size(s);
        e.bound = 4 * (double)s->form.rows * (item->a == y ? m->reach : 1) *
                  (item->b == y ? m->reach : 1);
    }
    e.bound = fmin(0x1p96, e.bound);
    return e;
}

nof1_rc_value mixed_serial_layout(const struct mixed_model *m, uint32_t round,
                                 struct nof1_arena *arena, struct nof1_layout *out)
{
    (void)round;
    const struct mixed_serial *s = m->serial;
    struct nof1_element *element = nof1_arena_alloc(arena, s->items, sizeof *element);
    ENSURE(element != NULL, NOF1_E_NO_MEMORY);
    for (size_t e = 0; e < s->items; e++) {
        element[e] = element_of(m, &s->item[e]);
        element[e].name = item_name(m, arena, &s->item[e]);
        ENSURE(element[e].name != NULL, NOF1_E_NO_MEMORY);
    }
    *out = (struct nof1_layout){s->items, element};
    return NOF1_OK;
}
