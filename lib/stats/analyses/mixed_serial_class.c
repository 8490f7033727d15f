/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The mixed model with correlated residuals in one round, where the census says that every trial
 * has the periods of a charter class, one row each, and no random effect but the trial's level:
 * then V is the same in all trials of equal periods, whatever the order of treatments, and the
 * likelihood depends on bilinear sums alone (ar1_form.h): x'A x, x'A y, y'A y of all trials, and,
 * per pattern of periods, the sums and products of the functionals spanning 1'P(rho). With steps of
 * one length and a random level these are 13 numbers of outcomes, without it 8. What others
 * determine is left out.
 */
#include <math.h>
#include <stdio.h>
#include <stats/matrix.h>
#include <string.h>

#include "mixed_serial.h"

#define ROWS_MOST 1024 /* of all patterns together: squares of it are kept in memory */

/* ---- which columns, which trials ----------------------------------------------------------- */

static bool kind_of(enum serial_kind *kind, const struct mixed_model *m,
                    const struct mixed_column *column)
{
    bool period = column->kind == MIXED_PERIOD || column->kind == MIXED_PERIOD_LEVEL;
    *kind = SERIAL_CONSTANT;
    if (column->by_treatment) {
        return false;
    }
    if (column->kind == MIXED_INTERCEPT || period) {
        return true;
    }
    *kind = column->kind == MIXED_TREATMENT ? SERIAL_VARYING : SERIAL_LEVEL;
    /* without a random level sums by pattern would be more than the least */
    return column->kind == MIXED_TREATMENT || (mixed_trial_level(m, column) && m->effects == 1);
}

static nof1_rc sort_columns(struct mixed_serial *s, const struct mixed_model *m,
                            struct nof1_arena *arena, bool *possible)
{
    enum serial_kind *kind = nof1_arena_alloc(arena, m->columns, sizeof *kind);
    size_t *varying = nof1_arena_alloc(arena, m->columns, sizeof *varying);
    size_t *level = nof1_arena_alloc(arena, m->columns, sizeof *level);
    ENSURE(kind != NULL && varying != NULL && level != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < m->columns && *possible; c++) {
        *possible = kind_of(&kind[c], m, &m->column[c]);
        if (kind[c] == SERIAL_VARYING) {
            varying[s->varying++] = c;
        } else if (kind[c] == SERIAL_LEVEL) {
            level[s->levels++] = c;
        }
    }
    s->kind = kind;
    s->varying_column = varying;
    s->level_column = level;
    return NOF1_OK;
}

static size_t arm_rows(const struct mixed_model *m, const struct nof1_class *plan, size_t arm)
{
    const struct nof1_study *study = m->base.study;
    for (size_t t = 0; t < study->charter->treatments; t++) {
        if (nof1_plan_arm(study->plan, t) == (int)arm) {
            return plan->n[t];
        }
    }
    return 0;
}

/* Does the class fix the occasions of a trial: its periods differ, and all its rows are on arms of
 * the plan? */
static bool fixes_times(const struct mixed_model *m, const struct nof1_class *plan)
{
    size_t rows = 0;
    for (size_t k = 0; k < m->arms; k++) {
        rows += arm_rows(m, plan, k);
    }
    for (size_t i = 1; i < plan->schedule_rows; i++) {
        if (plan->schedule_period[i] <= plan->schedule_period[i - 1]) {
            return false;
        }
    }
    return rows > 0 && rows == plan->schedule_rows && plan->schedule_period[0] > 0;
}

static bool same_periods(const struct nof1_class *a, const struct nof1_class *b)
{
    return a->schedule_rows == b->schedule_rows &&
           memcmp(a->schedule_period, b->schedule_period,
                  a->schedule_rows * sizeof *a->schedule_period) == 0;
}

static uint64_t class_trials(const struct nof1_study *study, size_t c)
{
    char name[256];
    snprintf(name, sizeof name, "class:%s", study->charter->class_[c].name);
    return mixed_census(study, name);
}

/* Patterns of the classes that have trials; those with too few are taken out again. */
static size_t gather(struct serial_pattern *pattern, int *of, const struct mixed_model *m)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_charter *charter = study->charter;
    size_t count = 0, kept = 0;
    for (size_t c = 0; c < charter->classes; c++) {
        const struct nof1_class *plan = &charter->class_[c];
        uint64_t here = class_trials(study, c);
        size_t p = 0;
        of[c] = -1;
        if (here == 0 || !fixes_times(m, plan)) {
            continue;
        }
        while (p < count && !same_periods(pattern[p].plan, plan)) {
            p++;
        }
        if (p == count) {
            pattern[count++] = (struct serial_pattern){.plan = plan, .same = true};
        }
        for (size_t k = 0; k < m->arms; k++) {
            pattern[p].same = pattern[p].same &&
                              arm_rows(m, plan, k) == arm_rows(m, pattern[p].plan, k);
        }
        pattern[p].trials += here;
        of[c] = (int)p;
    }
    for (size_t p = 0; p < count; p++) {
        bool keep = charter->limits.open || pattern[p].trials >= charter->limits.min_class_patients;
        for (size_t c = 0; c < charter->classes; c++) {
            of[c] = of[c] != (int)p ? of[c] : keep ? (int)kept : -1;
        }
        if (keep) {
            pattern[kept++] = pattern[p];
        }
    }
    return kept;
}

static nof1_rc find_patterns(struct mixed_serial *s, size_t *count, const struct mixed_model *m,
                             struct nof1_arena *arena, bool *possible)
{
    const struct nof1_study *study = m->base.study;
    size_t classes = study->charter->classes;
    struct serial_pattern *pattern = nof1_arena_alloc(arena, classes + 1, sizeof *pattern);
    int *of = nof1_arena_alloc(arena, classes + 1, sizeof *of);
    ENSURE(pattern != NULL && of != NULL, NOF1_E_NO_MEMORY);
    *count = gather(pattern, of, m);
    uint64_t covered = 0;
    size_t rows = 0;
    for (size_t p = 0; p < *count; p++) {
        covered += pattern[p].trials;
        rows += pattern[p].plan->schedule_rows;
    }
    bool exclude = strcmp(m->rule, "exclude") == 0;
    *possible = *count > 0 && rows <= ROWS_MOST && study->plan->strata == 0 &&
                (exclude || covered == mixed_census(study, "trials"));
    s->pattern = pattern;
    s->pattern_of = of;
    return NOF1_OK;
}

static nof1_rc find_form(struct mixed_serial *s, size_t count, struct nof1_arena *arena)
{
    struct nof1_occasions *cell = nof1_arena_alloc(arena, count, sizeof *cell);
    ENSURE(cell != NULL, NOF1_E_NO_MEMORY);
    size_t offset = 0;
    for (size_t p = 0; p < count; p++) {
        size_t rows = s->pattern[p].plan->schedule_rows;
        double *time = nof1_arena_alloc(arena, rows, sizeof *time);
        ENSURE(time != NULL, NOF1_E_NO_MEMORY);
        for (size_t i = 0; i < rows; i++) {
            time[i] = s->pattern[p].plan->schedule_period[i];
        }
        cell[p] = (struct nof1_occasions){rows, offset, time};
        offset += rows;
    }
    return nof1_ar1_form(&s->form, cell, count, true, arena);
}

/* ---- functionals --------------------------------------------------------------------------- */

static nof1_rc fill_constants(struct mixed_serial *s, const struct mixed_model *m,
                              struct nof1_arena *arena)
{
    size_t size = s->form.rows;
    double *value = nof1_arena_alloc(arena, m->columns * size, sizeof *value);
    ENSURE(value != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < m->columns; c++) {
        const struct mixed_column *column = &m->column[c];
        for (size_t p = 0; p < s->form.cells && s->kind[c] == SERIAL_CONSTANT; p++) {
            const struct nof1_occasions *cell = &s->form.cell[p];
            for (size_t i = 0; i < cell->rows; i++) {
                value[c * size + cell->offset + i] =
                    column->kind == MIXED_INTERCEPT ? 1
                    : column->kind == MIXED_PERIOD  ? cell->time[i]
                                                    : cell->time[i] == column->level;
            }
        }
    }
    s->constant = value;
    return NOF1_OK;
}

/* 1 and the neighbours of each step, less what they determine. */
static nof1_rc find_inner(struct serial_pattern *pattern, const struct nof1_ar1_form *form,
                          const struct nof1_occasions *cell, struct nof1_arena *arena)
{
    size_t n = cell->rows;
    struct nof1_span span;
    TRY(nof1_span_new(&span, 1 + form->gaps, n, arena));
    double *map = nof1_arena_alloc(arena, form->gaps * (1 + form->gaps) + 1, sizeof *map);
    double *one = nof1_arena_alloc(arena, 3 * n, sizeof *one);
    ENSURE(map != NULL && one != NULL, NOF1_E_NO_MEMORY);
    double *vector = one + n;
    for (size_t i = 0; i < n; i++) {
        one[i] = 1;
    }
    (void)nof1_span_add(&span, one, vector);
    for (size_t g = 0; g < form->gaps; g++) {
        nof1_ar1_apply(vector, form, cell, 1 + 2 * g, one);
        double length = 0;
        for (size_t i = 0; i < n; i++) {
            length += vector[i];
        }
        if (length > 0) {
            (void)nof1_span_add(&span, vector, vector + n);
        }
    }
    for (size_t g = 0; g < form->gaps; g++) {
        nof1_ar1_apply(vector, form, cell, 1 + 2 * g, one);
        nof1_span_solve(map + g * span.count, &span, span.count, vector);
    }
    pattern->inner = span.count;
    pattern->functional = span.raw;
    pattern->neighbours = map;
    return NOF1_OK;
}

/* Functionals of constant columns that those of the patterns do not determine. */
static nof1_rc find_outer(struct mixed_serial *s, const struct mixed_model *m,
                          struct nof1_arena *arena)
{
    size_t size = s->form.rows, most = 0;
    struct nof1_span span;
    for (size_t p = 0; p < s->form.cells; p++) {
        most += s->pattern[p].inner;
    }
    TRY(nof1_span_new(&span, most + m->columns * s->form.matrices, size, arena));
    double *vector = nof1_arena_alloc(arena, 2 * size + 1, sizeof *vector);
    ENSURE(vector != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < s->form.cells && m->effects > 0; p++) {
        const struct nof1_occasions *cell = &s->form.cell[p];
        for (size_t k = 0; k < s->pattern[p].inner; k++) {
            memset(vector, 0, size * sizeof *vector);
            memcpy(vector + cell->offset, s->pattern[p].functional + k * cell->rows,
                   cell->rows * sizeof *vector);
            (void)nof1_span_add(&span, vector, vector + size);
        }
    }
    size_t before = span.count;
    for (size_t c = 0; c < m->columns; c++) {
        for (size_t a = 0; a < s->form.matrices && s->kind[c] == SERIAL_CONSTANT; a++) {
            double length = 0;
            for (size_t p = 0; p < s->form.cells; p++) {
                const struct nof1_occasions *cell = &s->form.cell[p];
                nof1_ar1_apply(vector + cell->offset, &s->form, cell, a,
                               s->constant + c * size + cell->offset);
            }
            for (size_t i = 0; i < size; i++) {
                length += fabs(vector[i]);
            }
            if (length > 0) {
                (void)nof1_span_add(&span, vector, vector + size);
            }
        }
    }
    s->outer = span.count - before;
    s->functional = span.raw + before * size;
    return NOF1_OK;
}

/* ---- the numbers --------------------------------------------------------------------------- */

double mixed_serial_known(const struct mixed_model *m, size_t pattern, size_t w, size_t k)
{
    const struct mixed_serial *s = m->serial;
    if (w == s->varying || k > 0 || !s->pattern[pattern].same) {
        return 0;
    }
    size_t arm = m->column[s->varying_column[w]].arm;
    return (double)arm_rows(m, s->pattern[pattern].plan, arm);
}

/* f_k'w is the same in all trials of the pattern. */
static bool is_known(const struct mixed_serial *s, int p, size_t w, size_t k)
{
    return w < s->varying && k == 0 && s->pattern[p].same;
}

static void put(struct mixed_serial *s, struct serial_item *list, struct serial_item item)
{
    if (list != NULL) {
        list[s->items] = item;
    }
    s->items++;
}

static void list_products(struct mixed_serial *s, struct serial_item *list, int p, size_t a,
                          size_t b)
{
    for (size_t k = 0; k < s->pattern[p].inner; k++) {
        for (size_t l = 0; l <= k; l++) {
            /* about what is known, a term with two known factors or none left is 0 */
            bool known = (is_known(s, p, a, k) || is_known(s, p, b, l)) &&
                         (is_known(s, p, a, l) || is_known(s, p, b, k));
            if (!known) {
                put(s, list, (struct serial_item){SERIAL_SUM_PRODUCT, p, a, b, l, k});
            }
        }
    }
}

static void list_pattern(struct mixed_serial *s, struct serial_item *list, int p)
{
    for (size_t a = 0; a < s->levels; a++) {
        put(s, list, (struct serial_item){SERIAL_SUM_LEVEL, p, a, 0, 0, 0});
        for (size_t b = 0; b <= a; b++) {
            put(s, list, (struct serial_item){SERIAL_SUM_LEVELS, p, a, b, 0, 0});
        }
    }
    for (size_t w = 0; w <= s->varying; w++) {
        for (size_t k = 0; k < s->pattern[p].inner; k++) {
            if (!is_known(s, p, w, k)) {
                put(s, list, (struct serial_item){SERIAL_SUM_F, p, w, 0, k, 0});
            }
            for (size_t b = 0; b < s->levels && !is_known(s, p, w, k); b++) {
                put(s, list, (struct serial_item){SERIAL_SUM_LEVEL_F, p, w, b, k, 0});
            }
        }
        for (size_t v = 0; v <= w; v++) {
            list_products(s, list, p, v, w);
        }
    }
}

static void list_items(struct mixed_serial *s, const struct mixed_model *m,
                       struct serial_item *list)
{
    s->items = 0;
    for (size_t p = 0; p < s->form.cells && m->effects > 0; p++) {
        list_pattern(s, list, (int)p);
    }
    for (size_t w = 0; w <= s->varying; w++) {
        for (size_t k = 0; k < s->outer; k++) {
            put(s, list, (struct serial_item){SERIAL_SUM_OUTER, -1, w, 0, k, 0});
        }
        for (size_t v = 0; v <= w; v++) {
            for (size_t a = 0; a < s->form.squares; a++) {
                put(s, list, (struct serial_item){SERIAL_SUM_SQUARE, -1, v, w, a, 0});
            }
        }
    }
}

static nof1_rc name_groups(struct mixed_model *m, const struct mixed_serial *s,
                           struct nof1_arena *arena)
{
    const char **group = nof1_arena_alloc(arena, s->form.cells, sizeof *group);
    ENSURE(group != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < s->form.cells; p++) {
        group[p] = nof1_arena_printf(arena, "class:%s", s->pattern[p].plan->name);
        ENSURE(group[p] != NULL, NOF1_E_NO_MEMORY);
    }
    m->base.groups = s->form.cells;
    m->base.group = group;
    m->base.group_is_class = true;
    m->base.max_rounds = 1;
    m->base.max_elements = s->items;
    return NOF1_OK;
}

nof1_rc_value mixed_serial_prepare(struct mixed_model *m, struct nof1_arena *arena, bool *possible)
{
    struct mixed_serial *s = nof1_arena_alloc(arena, 1, sizeof *s);
    size_t patterns = 0;
    ENSURE(s != NULL, NOF1_E_NO_MEMORY);
    *possible = m->by_period && m->effects <= 1 && !m->centred &&
                !(m->base.study->charter->missing == NOF1_MISSING_ROWS && mixed_rows_may_drop(m));
    TRY(sort_columns(s, m, arena, possible));
    if (*possible) {
        TRY(find_patterns(s, &patterns, m, arena, possible));
    }
    if (!*possible) {
        return NOF1_OK;
    }
    TRY(find_form(s, patterns, arena));
    TRY(fill_constants(s, m, arena));
    struct serial_pattern *pattern = (struct serial_pattern *)s->pattern; /* ours until prepared */
    for (size_t p = 0; p < patterns; p++) {
        TRY(find_inner(&pattern[p], &s->form, &s->form.cell[p], arena));
        s->inner_most = pattern[p].inner > s->inner_most ? pattern[p].inner : s->inner_most;
    }
    if (s->inner_most > SERIAL_INNER_MOST) {
        *possible = false;
        return NOF1_OK;
    }
    TRY(find_outer(s, m, arena));
    list_items(s, m, NULL);
    struct serial_item *item = nof1_arena_alloc(arena, s->items, sizeof *item);
    ENSURE(item != NULL, NOF1_E_NO_MEMORY);
    list_items(s, m, item);
    s->item = item;
    m->serial = s;
    return name_groups(m, s, arena);
}

/* ---- one trial ----------------------------------------------------------------------------- */

size_t mixed_serial_class_size(const struct mixed_model *m)
{
    const struct mixed_serial *s = m->serial;
    return s == NULL ? 0 : (s->varying + 1) * s->inner_most + s->levels;
}

static int serial_group_of(const struct mixed_model *m, const struct nof1_trial *trial,
                           void *scratch)
{
    const struct mixed_serial *s = m->serial;
    const struct nof1_charter *charter = m->base.study->charter;
    struct nof1_series series;
    double *column;
    for (size_t c = 0; c < charter->classes; c++) {
        if (s->pattern_of[c] < 0 || !mixed_in_class(m->base.study, trial, &charter->class_[c])) {
            continue;
        }
        mixed_rows(&series, &column, m, trial, scratch);
        return series.rows == charter->class_[c].schedule_rows ? s->pattern_of[c] : NOF1_LEFT_OUT;
    }
    return NOF1_LEFT_OUT;
}

/* One trial's numbers from which all terms are made. */
struct serial_trial {
    const struct mixed_model *model;
    size_t pattern, rows, inner;
    const double *column;
    double *f;     /* [(varying + 1) * inner], about what is known */
    double *level; /* [levels] */
    double *work;  /* [rows] */
};

static const double *vector_of(const struct serial_trial *t, size_t w)
{
    const struct mixed_serial *s = t->model->serial;
    size_t column = w < s->varying ? s->varying_column[w] : t->model->columns;
    return t->column + column * t->rows;
}

static double term_of(const struct serial_trial *t, const struct serial_item *item)
{
    const struct mixed_serial *s = t->model->serial;
    const struct nof1_occasions *cell = &s->form.cell[t->pattern];
    const double *fa = t->f + item->a * t->inner, *fb = t->f + item->b * t->inner;
    switch (item->sum) {
    case SERIAL_SUM_LEVEL:
        return t->level[item->a];
    case SERIAL_SUM_LEVELS:
        return t->level[item->a] * t->level[item->b];
    case SERIAL_SUM_F:
        return fa[item->k];
    case SERIAL_SUM_LEVEL_F:
        return t->level[item->b] * fa[item->k];
    case SERIAL_SUM_PRODUCT:
        return fa[item->k] * fb[item->l] + (item->k != item->l ? fa[item->l] * fb[item->k] : 0);
    case SERIAL_SUM_OUTER:
        return nof1_dot(s->functional + item->k * s->form.rows + cell->offset,
                        vector_of(t, item->a), t->rows);
    default:
        nof1_ar1_apply(t->work, &s->form, cell, s->form.square[item->k], vector_of(t, item->b));
        return nof1_dot(t->work, vector_of(t, item->a), t->rows);
    }
}

static nof1_rc_value serial_contribute(const struct mixed_model *m, uint32_t round,
                                       const double *theta, const struct nof1_trial *trial,
                                       void *scratch, double *out)
{
    (void)round;
    (void)theta;
    const struct mixed_serial *s = m->serial;
    struct nof1_series series;
    double *memory = scratch, *column;
    struct serial_trial t = {.model = m, .f = memory, .work = memory + mixed_serial_class_size(m)};
    int group = serial_group_of(m, trial, t.work + trial->rows);
    ENSURE(group >= 0, NOF1_E_BUG);
    mixed_rows(&series, &column, m, trial, t.work + trial->rows);
    t.pattern = (size_t)group;
    t.rows = series.rows;
    t.column = column;
    t.inner = s->pattern[group].inner;
    t.level = t.f + (s->varying + 1) * t.inner;
    for (size_t i = 0; i < t.rows; i++) { /* in order of period by the class */
        ENSURE((double)series.period[i] == s->form.cell[group].time[i], NOF1_E2403);
    }
    for (size_t w = 0; w <= s->varying; w++) {
        for (size_t k = 0; k < t.inner; k++) {
            t.f[w * t.inner + k] =
                nof1_dot(s->pattern[group].functional + k * t.rows, vector_of(&t, w), t.rows) -
                mixed_serial_known(m, t.pattern, w, k);
        }
    }
    for (size_t a = 0; a < s->levels; a++) {
        const double *value = column + s->level_column[a] * t.rows;
        t.level[a] = value[0];
        for (size_t i = 1; i < t.rows; i++) { /* the charter says: constant in a trial */
            ENSURE(value[i] == value[0], NOF1_E2403);
        }
    }
    for (size_t e = 0; e < s->items; e++) {
        bool mine = s->item[e].group < 0 || s->item[e].group == group;
        out[e] = mine ? term_of(&t, &s->item[e]) : 0;
        ENSURE(isfinite(out[e]), NOF1_E2403);
    }
    return NOF1_OK;
}

const struct mixed_slots mixed_serial_slots = {serial_group_of, mixed_serial_layout,
                                               serial_contribute};
