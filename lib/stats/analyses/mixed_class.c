/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The class form: one round, exact. In a design class (equal numbers of rows of both arms) V is
 * constant, so the likelihood depends on the data through the minimal sufficient sums only: per class
 * the first and second moments of trial mean m and arm difference d and their products with whatever
 * varies between the class' trials; once for all classes the products of what Z does not explain.
 * What the class makes constant is never released.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mixed.h"

/* ---- what varies --------------------------------------------------------------------------- */

struct class_builder {
    struct mixed_model *model;
    struct nof1_arena *arena;
    struct mixed_feature *feature;
    struct mixed_coordinate *coordinate;
    size_t *residual;
    double *constant; /* [cell][columns * effects] */
    bool scheduled;
};

static bool is_period(const struct mixed_column *column)
{
    return column->kind == MIXED_PERIOD || column->kind == MIXED_PERIOD_LEVEL;
}

static double scheduled_mean(const struct mixed_column *column, const struct nof1_class *plan)
{
    double sum = 0;
    for (size_t i = 0; i < plan->schedule_rows; i++) {
        sum += column->kind == MIXED_PERIOD ? (double)plan->schedule_period[i]
                                            : plan->schedule_period[i] == column->level;
    }
    return sum / (double)plan->schedule_rows;
}

static size_t add_feature(struct class_builder *b, size_t column, size_t coordinate, bool level)
{
    struct mixed_model *m = b->model;
    const struct mixed_column *own = &m->column[column];
    for (size_t f = 1; f < m->features && level; f++) {
        const struct mixed_column *other = &m->column[b->feature[f].column];
        if (b->feature[f].level && other->covariate == own->covariate && other->kind == own->kind &&
            other->level == own->level) {
            return f;
        }
    }
    b->feature[m->features] =
        (struct mixed_feature){column, coordinate, level, mixed_sparse(own)};
    return m->features++;
}

static void set_constant(struct class_builder *b, size_t column, size_t k)
{
    struct mixed_model *m = b->model;
    for (size_t c = 0; c < m->cells; c++) {
        const struct mixed_cell *cell = &m->cell[c];
        const struct mixed_column *own = &m->column[column];
        double share = (double)cell->n[1] / (double)(cell->n[0] + cell->n[1]);
        double value = own->kind == MIXED_INTERCEPT   ? (k == 0 ? 1 : 0)
                       : own->kind == MIXED_TREATMENT ? (k == 0 ? share : 1)
                                                      : scheduled_mean(own, cell->plan);
        b->constant[(c * m->columns + column) * m->effects + k] = value;
    }
}

static void describe_column(struct class_builder *b, size_t column)
{
    struct mixed_model *m = b->model;
    const struct mixed_column *own = &m->column[column];
    bool level = mixed_trial_level(m, own), constant = own->kind == MIXED_INTERCEPT;
    bool treatment = own->kind == MIXED_TREATMENT && !own->by_treatment;
    for (size_t k = 0; k < m->effects; k++) {
        struct mixed_coordinate *at = &b->coordinate[column * m->effects + k];
        bool fixed_mean = k == 0 && b->scheduled && is_period(own) && !own->by_treatment;
        if (constant || treatment || fixed_mean) {
            set_constant(b, column, k);
        } else if (level && k == 1 && !own->by_treatment) {
            at->zero = true;
        } else {
            at->feature = add_feature(b, column, k, level);
            at->by_share = level && own->by_treatment && k == 0;
        }
    }
    bool outside = !constant && !(level && !own->by_treatment) &&
                   !(m->effects == 2 && (treatment || level));
    if (outside) {
        b->residual[m->residuals++] = column;
    }
}

/* May a row of a complete class lack a value of some column? */
static bool rows_may_drop(const struct mixed_model *m)
{
    const struct nof1_study *study = m->base.study;
    for (size_t c = 0; c < m->columns; c++) {
        const struct mixed_column *own = &m->column[c];
        if (own->kind == MIXED_TIME || own->kind == MIXED_CYCLE ||
            own->kind == MIXED_CYCLE_LEVEL) {
            return true;
        }
        if (own->kind != MIXED_NUMERIC && own->kind != MIXED_FACTOR_LEVEL) {
            continue;
        }
        char name[256];
        snprintf(name, sizeof name, "missing:%s",
                 study->charter->covariate[own->covariate].name);
        if (!mixed_trial_level(m, own) || nof1_census_count(study, name) > 0) {
            return true;
        }
    }
    return false;
}

/* Cells of the classes that have trials. False when they do not cover the census. */
static bool find_cells(struct mixed_model *m, struct mixed_cell *cell, bool exclude)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_charter *charter = study->charter;
    uint64_t covered = 0, trials = mixed_census(study, "trials");
    for (size_t c = 0; c < charter->classes; c++) {
        const struct nof1_class *plan = &charter->class_[c];
        char name[256];
        snprintf(name, sizeof name, "class:%s", plan->name);
        uint64_t here = mixed_census(study, name);
        size_t reference = plan->n[study->plan->reference], active = plan->n[study->plan->active];
        bool enough = charter->limits.open || here >= charter->limits.min_class_patients;
        if (here == 0) {
            continue;
        }
        if (reference + active == 0 || (m->effects == 2 && (reference == 0 || active == 0)) ||
            !enough) {
            if (exclude) {
                continue;
            }
            return false;
        }
        cell[m->cells++] =
            (struct mixed_cell){plan->name, {reference, active}, plan, NULL, here};
        covered += here;
    }
    return m->cells > 0 && (exclude || covered == trials);
}

static bool all_scheduled(const struct mixed_model *m)
{
    for (size_t c = 0; c < m->cells; c++) {
        if (m->cell[c].plan->schedule_rows != m->cell[c].n[0] + m->cell[c].n[1]) {
            return false;
        }
    }
    return true;
}

size_t mixed_cell_elements(const struct mixed_model *m)
{
    size_t f = m->features - 1, q = m->effects;
    return f + f * (f + 1) / 2 + q + q * (q + 1) / 2 + f * q;
}

static size_t global_elements(const struct mixed_model *m)
{
    return m->residuals * (m->residuals + 1) / 2 + m->residuals + 1;
}

static nof1_rc name_groups(struct mixed_model *m, struct nof1_arena *arena)
{
    const char **group = nof1_arena_alloc(arena, m->cells, sizeof *group);
    ENSURE(group != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < m->cells; c++) {
        group[c] = nof1_arena_printf(arena, "class:%s", m->cell[c].name);
        ENSURE(group[c] != NULL, NOF1_E_NO_MEMORY);
    }
    m->base.groups = m->cells;
    m->base.group = group;
    m->base.group_is_class = true;
    m->base.max_rounds = 1;
    m->base.max_elements = m->cells * mixed_cell_elements(m) + global_elements(m);
    return NOF1_OK;
}

nof1_rc_value mixed_class_prepare(struct mixed_model *m, struct nof1_arena *arena, bool *possible)
{
    const struct nof1_charter *charter = m->base.study->charter;
    size_t width = m->columns * m->effects;
    struct mixed_cell *cell = nof1_arena_alloc(arena, charter->classes + 1, sizeof *cell);
    struct class_builder b = {.model = m, .arena = arena};
    b.feature = nof1_arena_alloc(arena, width + 1, sizeof *b.feature);
    b.coordinate = nof1_arena_alloc(arena, width, sizeof *b.coordinate);
    b.residual = nof1_arena_alloc(arena, m->columns, sizeof *b.residual);
    b.constant = nof1_arena_alloc(arena, (charter->classes + 1) * width, sizeof *b.constant);
    ENSURE(cell != NULL && b.feature != NULL && b.coordinate != NULL && b.residual != NULL &&
               b.constant != NULL,
           NOF1_E_NO_MEMORY);
    m->cells = 0;
    m->cell = cell;
    *possible = find_cells(m, cell, strcmp(m->rule, "exclude") == 0);
    b.scheduled = *possible && all_scheduled(m);
    for (size_t c = 0; c < m->columns && *possible && !b.scheduled; c++) {
        *possible = !(is_period(&m->column[c]) || m->column[c].kind == MIXED_PREVIOUS) ||
                    charter->missing != NOF1_MISSING_ROWS;
    }
    if (charter->missing == NOF1_MISSING_ROWS && rows_may_drop(m)) {
        *possible = false;
    }
    if (!*possible) {
        return NOF1_OK;
    }
    m->features = 1;
    m->residuals = 0;
    for (size_t c = 0; c < m->columns; c++) {
        describe_column(&b, c);
    }
    for (size_t c = 0; c < m->cells; c++) {
        cell[c].constant = b.constant + c * width;
    }
    m->feature = b.feature;
    m->coordinate = b.coordinate;
    m->residual = b.residual;
    return name_groups(m, arena);
}

/* ---- one trial ----------------------------------------------------------------------------- */

/* The class of the whole trial: rows of every treatment and the multiset of periods. */
static bool in_class(const struct nof1_study *study, const struct nof1_trial *trial,
                     const struct nof1_class *plan)
{
    const double *y = trial->outcome[study->plan->outcome];
    size_t n[8] = {0}, rows = 0, next = 0;
    for (size_t i = 0; i < trial->rows; i++) {
        if (isnan(y[i]) || trial->treatment[i] >= 8) {
            continue;
        }
        n[trial->treatment[i]]++;
        rows++;
        /* rows come in order of period */
        if (plan->schedule_rows > 0) {
            if (next >= plan->schedule_rows || plan->schedule_period[next] != trial->period[i]) {
                return false;
            }
            next++;
        }
    }
    return memcmp(n, plan->n, sizeof n) == 0 && next == plan->schedule_rows;
}

static int class_group_of(const struct mixed_model *m, const struct nof1_trial *trial,
                          void *scratch)
{
    struct nof1_series series;
    double *column;
    mixed_rows(&series, &column, m, trial, scratch);
    for (size_t c = 0; c < m->cells; c++) {
        if (in_class(m->base.study, trial, m->cell[c].plan)) {
            bool complete =
                series.n[0] == m->cell[c].n[0] && series.n[1] == m->cell[c].n[1];
            return complete ? (int)c : NOF1_LEFT_OUT;
        }
    }
    return NOF1_LEFT_OUT;
}

/* Coordinate k of column c: the trial mean, or the arm difference. */
static double coordinate_of(const struct nof1_gaussian_group *g, const double *a, size_t c,
                            size_t k)
{
    return a[c * g->rank + k] / (k == 0 ? g->root[0] : g->root[3]);
}

static nof1_rc features_of(double *feature, const struct mixed_model *m,
                           const struct nof1_series *series, const double *a,
                           const struct nof1_gaussian_group *group, const struct nof1_trial *trial)
{
    for (size_t f = 1; f < m->features; f++) {
        const struct mixed_feature *own = &m->feature[f];
        if (!own->level) {
            feature[f] = coordinate_of(group, a, own->column, own->coordinate);
            continue;
        }
        const struct nof1_charter *charter = m->base.study->charter;
        const struct mixed_column *c = &m->column[own->column];
        feature[f] = mixed_covariate(charter, trial, c, series->row[0]);
        for (size_t i = 1; i < series->rows; i++) { /* the charter says: constant in a trial */
            ENSURE(feature[f] == mixed_covariate(charter, trial, c, series->row[i]), NOF1_E2403);
        }
    }
    return NOF1_OK;
}

static void write_cell(double *out, const struct mixed_model *m, const double *feature,
                       const double *b)
{
    for (size_t f = 1; f < m->features; f++) {
        *out++ = feature[f];
    }
    for (size_t f = 1; f < m->features; f++) {
        for (size_t g = 1; g <= f; g++) {
            *out++ = feature[f] * feature[g];
        }
    }
    for (size_t k = 0; k < m->effects; k++) {
        *out++ = b[k];
    }
    for (size_t k = 0; k < m->effects; k++) {
        for (size_t l = 0; l <= k; l++) {
            *out++ = b[k] * b[l];
        }
    }
    for (size_t f = 1; f < m->features; f++) {
        for (size_t k = 0; k < m->effects; k++) {
            *out++ = feature[f] * b[k];
        }
    }
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static void write_residual(double *out, const struct mixed_model *m, const double *column,
                           size_t rows)
{
    const double *y = &column[m->columns * rows];
    for (size_t i = 0; i < m->residuals; i++) {
        for (size_t j = 0; j <= i; j++) {
            *out++ = dot(&column[m->residual[i] * rows], &column[m->residual[j] * rows], rows);
        }
    }
    for (size_t i = 0; i < m->residuals; i++) {
        *out++ = dot(&column[m->residual[i] * rows], y, rows);
    }
    *out = dot(y, y, rows);
}

static nof1_rc_value class_contribute(const struct mixed_model *m, uint32_t round,
                                      const double *theta, const struct nof1_trial *trial,
                                      void *scratch, double *out)
{
    (void)round;
    (void)theta;
    struct nof1_gaussian_shape shape = {m->columns + 1, m->effects};
    double *a = scratch, *feature = a + 2 * shape.columns, *column;
    double b[NOF1_EFFECTS_MAX];
    struct nof1_series series;
    int cell = class_group_of(m, trial, feature + m->features);
    ENSURE(cell >= 0, NOF1_E_BUG);
    mixed_rows(&series, &column, m, trial, feature + m->features);
    struct nof1_gaussian_group group =
        nof1_gaussian_project(&shape, series.rows, series.arm, column, a);
    TRY(features_of(feature, m, &series, a, &group, trial));
    for (size_t k = 0; k < m->effects; k++) {
        b[k] = coordinate_of(&group, a, m->columns, k);
    }
    memset(out, 0, m->base.max_elements * sizeof *out);
    write_cell(out + (size_t)cell * mixed_cell_elements(m), m, feature, b);
    write_residual(out + m->cells * mixed_cell_elements(m), m, column, series.rows);
    for (size_t e = 0; e < m->base.max_elements; e++) {
        ENSURE(isfinite(out[e]), NOF1_E2403);
    }
    return NOF1_OK;
}

/* ---- layout -------------------------------------------------------------------------------- */

struct element_list {
    const struct mixed_model *model;
    struct nof1_arena *arena;
    struct nof1_element *element;
    size_t count;
    int group;
    bool failed;
};

static void add(struct element_list *list, enum nof1_role role, uint16_t block, uint16_t size,
                double bound, bool sparse, const char *name)
{
    list->failed = list->failed || name == NULL;
    list->element[list->count++] = (struct nof1_element){
        name, role, list->group, block, size, sparse, fmin(0x1p96, bound), 0};
}

static const char *feature_name(const struct element_list *list, size_t f)
{
    const struct mixed_model *m = list->model;
    const struct mixed_feature *own = &m->feature[f];
    static const char *const part[2] = {"mean", "difference"};
    const char *name = m->column[own->column].name;
    if (own->level) {
        const struct mixed_column *c = &m->column[own->column];
        return c->by_treatment ? name + sizeof "treatment:" - 1 : name;
    }
    const char *text = nof1_arena_printf(list->arena, "%s(%s)", part[own->coordinate], name);
    return text == NULL ? "" : text;
}

static double feature_bound(const struct mixed_model *m, size_t f)
{
    return 2 * mixed_column_bound(m, &m->column[m->feature[f].column]);
}

static void add_cell(struct element_list *list, size_t c, double y)
{
    static const char *const b[2] = {"m", "d"};
    const struct mixed_model *m = list->model;
    const char *cell = m->base.group[c];
    uint16_t q = (uint16_t)m->effects;
    list->group = (int)c;
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
    for (size_t k = 0; k < m->effects; k++) {
        add(list, NOF1_OUTCOME, 0, q, 2 * y, false,
            nof1_arena_printf(list->arena, "%s/sum %s", cell, b[k]));
    }
    for (size_t k = 0; k < m->effects; k++) {
        for (size_t l = 0; l <= k; l++) {
            add(list, NOF1_OUTCOME, 0, q, 4 * y * y, false,
                nof1_arena_printf(list->arena, "%s/sum %s*%s", cell, b[k], b[l]));
        }
    }
    for (size_t f = 1; f < m->features; f++) {
        for (size_t k = 0; k < m->effects; k++) {
            add(list, NOF1_OUTCOME, 0, q, 2 * y * feature_bound(m, f), m->feature[f].sparse,
                nof1_arena_printf(list->arena, "%s/sum %s*%s", cell, feature_name(list, f), b[k]));
        }
    }
}

static void add_residuals(struct element_list *list, double y)
{
    const struct mixed_model *m = list->model;
    size_t size = m->residuals + 1, rows = 0;
    for (size_t c = 0; c < m->cells; c++) {
        size_t here = m->cell[c].n[0] + m->cell[c].n[1];
        size = here - m->effects < size ? here - m->effects : size;
        rows = here > rows ? here : rows;
    }
    uint16_t block = (uint16_t)(size < 1 ? 1 : size);
    list->group = -1;
    for (size_t i = 0; i < m->residuals; i++) {
        const struct mixed_column *x = &m->column[m->residual[i]];
        for (size_t j = 0; j <= i; j++) {
            const struct mixed_column *z = &m->column[m->residual[j]];
            double bound = 4 * (double)rows * mixed_column_bound(m, x) * mixed_column_bound(m, z);
            add(list, NOF1_DESIGN, 1, block, bound, mixed_sparse(x) || mixed_sparse(z),
                nof1_arena_printf(list->arena, "within %s*%s", x->name, z->name));
        }
    }
    for (size_t i = 0; i < m->residuals; i++) {
        const struct mixed_column *x = &m->column[m->residual[i]];
        add(list, NOF1_OUTCOME, 1, block, 4 * (double)rows * y * mixed_column_bound(m, x),
            mixed_sparse(x), nof1_arena_printf(list->arena, "within %s*y", x->name));
    }
    add(list, NOF1_OUTCOME, 1, block, 4 * (double)rows * y * y, false, "within y*y");
}

static nof1_rc_value class_layout(const struct mixed_model *m, uint32_t round,
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
    add_residuals(&list, y);
    ENSURE(!list.failed, NOF1_E_NO_MEMORY);
    ENSURE(list.count == m->base.max_elements, NOF1_E_BUG);
    *out = (struct nof1_layout){list.count, list.element};
    return NOF1_OK;
}

const struct mixed_slots mixed_class_slots = {class_group_of, class_layout, class_contribute};
