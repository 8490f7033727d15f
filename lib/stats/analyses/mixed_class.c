/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The class form: one round, exact. In a design class (equal numbers of rows of both arms) V is
 * constant, so the likelihood depends on the data through the minimal sufficient sums only: per
 * class the first and second moments of trial mean m and arm difference d and their products with
 * whatever varies between the class' trials; once for all classes the products of what Z does not
 * explain. What the class makes constant is never released.
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

/* Coordinate k of the indicator of an arm: its share of the rows; then, of the arms in order, its
 * mean less that of the arms before it. */
static double arm_coordinate(const struct mixed_cell *cell, size_t arm, size_t k, size_t arms)
{
    double before = 0, all = 0;
    for (size_t j = 0; j < arms; j++) {
        before += j < k ? (double)cell->n[j] : 0;
        all += (double)cell->n[j];
    }
    if (k == 0) {
        return (double)cell->n[arm] / all;
    }
    return k == arm ? 1 : arm < k ? -(double)cell->n[arm] / before : 0;
}

static void set_constant(struct class_builder *b, size_t column, size_t k)
{
    struct mixed_model *m = b->model;
    for (size_t c = 0; c < m->cells; c++) {
        const struct mixed_cell *cell = &m->cell[c];
        const struct mixed_column *own = &m->column[column];
        double value = own->kind == MIXED_INTERCEPT ? (k == 0 ? 1 : 0)
                       : is_period(own) && !own->by_treatment
                           ? scheduled_mean(own, cell->plan)
                           : arm_coordinate(cell, own->arm, k, m->arms);
        b->constant[(c * m->columns + column) * m->coordinates + k] = value;
    }
}

static void describe_column(struct class_builder *b, size_t column)
{
    struct mixed_model *m = b->model;
    const struct mixed_column *own = &m->column[column];
    bool level = mixed_trial_level(m, own), constant = own->kind == MIXED_INTERCEPT;
    bool treatment = own->kind == MIXED_TREATMENT && !own->by_treatment;
    for (size_t k = 0; k < m->coordinates; k++) {
        struct mixed_coordinate *at = &b->coordinate[column * m->coordinates + k];
        bool fixed_mean = k == 0 && b->scheduled && is_period(own) && !own->by_treatment;
        if (constant || treatment || fixed_mean) {
            set_constant(b, column, k);
        } else if (level && k > 0 && !own->by_treatment) {
            at->zero = true;
        } else {
            at->feature = add_feature(b, column, k, level);
            at->scaled = level && own->by_treatment;
            if (at->scaled) {
                set_constant(b, column, k);
            }
        }
    }
    bool outside = !constant && !(level && !own->by_treatment) &&
                   !(m->coordinates > 1 && (treatment || level));
    if (outside) {
        b->residual[m->residuals++] = column;
    }
}

bool mixed_rows_may_drop(const struct mixed_model *m)
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

/* Rows of one cycle when trials of the class consist of complete cycles, each with the same number
 * of rows of every arm; 0 when the class does not say so. Its schedule numbers the periods, one for
 * each arm of a cycle. */
static size_t rows_of_cycle(const struct mixed_model *m, const struct nof1_class *plan)
{
    size_t in_period = 0, periods = 0;
    for (size_t i = 0, run = 0; i < plan->schedule_rows; i++) {
        run++;
        bool last = i + 1 == plan->schedule_rows ||
                    plan->schedule_period[i + 1] != plan->schedule_period[i];
        if (!last) {
            continue;
        }
        if (in_period != 0 && run != in_period) {
            return 0;
        }
        in_period = run;
        run = 0;
        periods++;
    }
    return periods > 0 && periods % m->arms == 0 ? in_period * m->arms : 0;
}

/* May a class of these rows by arm be one cell? With cycles: complete ones, the same in all
 * classes. */
static bool is_cell(struct mixed_model *m, const struct mixed_cell *cell)
{
    size_t rows = 0, equal = 0;
    for (size_t k = 0; k < m->arms; k++) {
        rows += cell->n[k];
        equal += cell->n[k] == cell->n[0];
        if (m->coordinates > 1 && cell->n[k] == 0) {
            return false;
        }
    }
    if (m->shape.by_cycle) {
        size_t cycle = rows_of_cycle(m, cell->plan);
        if (cycle == 0 || equal < m->arms || (m->cycle_rows != 0 && cycle != m->cycle_rows)) {
            return false;
        }
        m->cycle_rows = cycle;
    }
    m->isotropic = m->isotropic && equal == m->arms;
    return rows > 0;
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
        struct mixed_cell here = {.name = plan->name, .plan = plan,
                                  .trials = mixed_census(study, name)};
        for (size_t t = 0; t < charter->treatments; t++) {
            int arm = nof1_plan_arm(study->plan, t);
            if (arm >= 0) {
                here.n[arm] = plan->n[t];
            }
        }
        bool enough = charter->limits.open || here.trials >= charter->limits.min_class_patients;
        if (here.trials == 0) {
            continue;
        }
        if (!enough || !is_cell(m, &here)) {
            if (exclude) {
                continue;
            }
            return false;
        }
        cell[m->cells++] = here;
        covered += here.trials;
    }
    return m->cells > 0 && (exclude || covered == trials);
}

static bool all_scheduled(const struct mixed_model *m)
{
    for (size_t c = 0; c < m->cells; c++) {
        if (m->cell[c].plan->schedule_rows != mixed_cell_rows(m, &m->cell[c])) {
            return false;
        }
    }
    return true;
}

size_t mixed_cell_elements(const struct mixed_model *m)
{
    size_t f = m->features - 1, q = m->coordinates;
    if (m->centred) {
        return mixed_site_elements(m);
    }
    return f + f * (f + 1) / 2 + q + mixed_cell_squares(m) + f * q;
}

size_t mixed_cell_squares(const struct mixed_model *m)
{
    return m->isotropic ? 2 : m->coordinates * (m->coordinates + 1) / 2;
}

size_t mixed_cell_rows(const struct mixed_model *m, const struct mixed_cell *cell)
{
    size_t rows = 0;
    for (size_t k = 0; k < m->arms; k++) {
        rows += cell->n[k];
    }
    return rows;
}

size_t mixed_strata(const struct mixed_model *m)
{
    return m->shape.ratios > 0 ? m->arms : m->shape.by_cycle ? 2 : 1;
}

static size_t global_elements(const struct mixed_model *m)
{
    return mixed_strata(m) * (m->residuals * (m->residuals + 1) / 2 + m->residuals + 1);
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
    m->base.site_means = m->centred ? m->coordinates : 0;
    return NOF1_OK;
}

nof1_rc_value mixed_class_prepare(struct mixed_model *m, struct nof1_arena *arena, bool *possible)
{
    const struct nof1_charter *charter = m->base.study->charter;
    const struct nof1_gaussian_shape *shape = &m->shape;
    bool arms = shape->effects > 1 || shape->by_arm || shape->ratios > 0;
    m->coordinates = arms ? m->arms : 1;
    m->isotropic = shape->by_arm && shape->ratios == 0;
    m->cycle_rows = 0;
    if (shape->correlated ||
        (shape->by_cycle && shape->ratios > 0)) { /* one sum of squares for each pair of both */
        *possible = false;
        return NOF1_OK;
    }
    size_t width = m->columns * m->coordinates;
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
    if (charter->missing == NOF1_MISSING_ROWS && mixed_rows_may_drop(m)) {
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

bool mixed_in_class(const struct nof1_study *study, const struct nof1_trial *trial,
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

/* Does every cycle have the same number of rows of each arm? */
static bool whole_cycles(const struct mixed_model *m, const struct nof1_series *s)
{
    for (size_t i = 0; i < s->rows; i++) {
        size_t n[NOF1_ARMS_MAX] = {0};
        for (size_t j = 0; j < s->rows; j++) {
            n[s->arm[j]] += s->cycle[j] == s->cycle[i];
        }
        for (size_t k = 0; k < m->arms; k++) {
            if (n[k] * m->arms != m->cycle_rows) {
                return false;
            }
        }
    }
    return true;
}

static int class_group_of(const struct mixed_model *m, const struct nof1_trial *trial,
                          void *scratch)
{
    struct nof1_series series;
    double *column;
    mixed_rows(&series, &column, m, trial, scratch);
    for (size_t c = 0; c < m->cells; c++) {
        if (mixed_in_class(m->base.study, trial, m->cell[c].plan)) {
            bool complete = !m->shape.by_cycle || whole_cycles(m, &series);
            for (size_t k = 0; k < m->arms; k++) {
                complete = complete && series.n[k] == m->cell[c].n[k];
            }
            return complete ? (int)c : NOF1_LEFT_OUT;
        }
    }
    return NOF1_LEFT_OUT;
}

static nof1_rc features_of(double *feature, const struct mixed_model *m,
                           const struct nof1_series *series, const double *a,
                           const double *scale, const struct nof1_trial *trial)
{
    for (size_t f = 1; f < m->features; f++) {
        const struct mixed_feature *own = &m->feature[f];
        if (!own->level) {
            feature[f] = a[own->column * m->coordinates + own->coordinate] / scale[own->coordinate];
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
    for (size_t k = 0; k < m->coordinates; k++) {
        *out++ = b[k];
    }
    double contrasts = 0; /* squared length of the arms' means about their mean, times 2 */
    for (size_t k = 1; k < m->coordinates && m->isotropic; k++) {
        contrasts += b[k] * b[k] * (double)(2 * k) / (double)(k + 1);
    }
    for (size_t k = 0; k < m->coordinates && !m->isotropic; k++) {
        for (size_t l = 0; l <= k; l++) {
            *out++ = b[k] * b[l];
        }
    }
    if (m->isotropic) {
        *out++ = b[0] * b[0];
        *out++ = contrasts;
    }
    for (size_t f = 1; f < m->features; f++) {
        for (size_t k = 0; k < m->coordinates; k++) {
            *out++ = feature[f] * b[k];
        }
    }
}

/* Product of two columns of residuals in a stratum: rows of one arm; or means of cycles (times
 * their rows), then rows about them; or all rows. */
static double dot(const struct mixed_model *m, const struct nof1_series *s, size_t stratum,
                  const double *a, const double *b)
{
    double sum = 0, means = 0;
    for (size_t i = 0; i < s->rows; i++) {
        sum += m->shape.ratios > 0 && s->arm[i] != stratum ? 0 : a[i] * b[i];
    }
    for (size_t i = 0; i < s->rows && m->shape.by_cycle; i++) {
        double here = 0;
        for (size_t j = 0; j < s->rows; j++) {
            here += s->cycle[j] == s->cycle[i] ? b[j] : 0;
        }
        means += a[i] * here / (double)m->cycle_rows;
    }
    return !m->shape.by_cycle ? sum : stratum == 0 ? means : sum - means;
}

static double *write_residual(double *out, const struct mixed_model *m,
                              const struct nof1_series *s, const double *column, size_t stratum)
{
    size_t rows = s->rows;
    const double *y = &column[m->columns * rows];
    for (size_t i = 0; i < m->residuals; i++) {
        for (size_t j = 0; j <= i; j++) {
            *out++ = dot(m, s, stratum, &column[m->residual[i] * rows],
                         &column[m->residual[j] * rows]);
        }
    }
    for (size_t i = 0; i < m->residuals; i++) {
        *out++ = dot(m, s, stratum, &column[m->residual[i] * rows], y);
    }
    *out++ = dot(m, s, stratum, y, y);
    return out;
}

/* One trial's coordinates: b of the response, a of all columns with their scale, and the columns,
 * which become residuals. */
struct class_trial {
    struct nof1_series series;
    double *a, *column, b[NOF1_ARMS_MAX], scale[NOF1_ARMS_MAX];
    int cell;
};

static nof1_rc reduce(struct class_trial *t, const struct mixed_model *m,
                      const struct nof1_trial *trial, double *memory)
{
    static const unsigned char arms[NOF1_ARMS_MAX] = {0, 1, 2, 3, 4, 5, 6, 7};
    size_t q = m->coordinates, n[NOF1_ARMS_MAX] = {0};
    double *rows = memory + (m->columns + 1) * q, *end = rows + trial->rows;
    double work[NOF1_ARMS_MAX];
    unsigned short *arm = (unsigned short *)(void *)rows;
    t->a = memory;
    t->cell = class_group_of(m, trial, end);
    ENSURE(t->cell >= 0, NOF1_E_BUG);
    mixed_rows(&t->series, &t->column, m, trial, end);
    for (size_t i = 0; i < t->series.rows; i++) {
        arm[i] = q > 1 ? t->series.arm[i] : 0;
        n[arm[i]]++;
    }
    struct nof1_gaussian_cells cells = {q, n, arms, NULL};
    nof1_gaussian_scale(t->scale, &cells);
    nof1_gaussian_rotate(t->a, t->column, m->columns + 1, t->series.rows, arm, &cells, work);
    for (size_t k = 0; k < q; k++) {
        t->b[k] = t->a[m->columns * q + k] / t->scale[k];
    }
    return NOF1_OK;
}

nof1_rc_value mixed_site_value(const struct nof1_model *model, const struct nof1_trial *trial,
                               void *scratch, double *out)
{
    const struct mixed_model *m = mixed_of(model);
    struct class_trial t;
    TRY(reduce(&t, m, trial, scratch));
    memcpy(out, t.b, m->coordinates * sizeof *out);
    return NOF1_OK;
}

static nof1_rc_value class_contribute(const struct mixed_model *m, uint32_t round,
                                      const double *theta, const struct nof1_trial *trial,
                                      void *scratch, double *out)
{
    (void)round;
    (void)theta;
    double *feature = scratch;
    struct class_trial t;
    TRY(reduce(&t, m, trial, feature + m->features));
    TRY(features_of(feature, m, &t.series, t.a, t.scale, trial));
    memset(out, 0, m->base.max_elements * sizeof *out);
    if (m->centred) {
        mixed_site_write(out, m, t.b, trial);
    } else {
        write_cell(out + (size_t)t.cell * mixed_cell_elements(m), m, feature, t.b);
    }
    double *residual = out + m->cells * mixed_cell_elements(m);
    for (size_t k = 0; k < mixed_strata(m); k++) {
        residual = write_residual(residual, m, &t.series, t.column, k);
    }
    for (size_t e = 0; e < m->base.max_elements; e++) {
        ENSURE(isfinite(out[e]), NOF1_E2403);
    }
    return NOF1_OK;
}

const struct mixed_slots mixed_class_slots = {class_group_of, mixed_class_layout,
                                              class_contribute};
