/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The fixed part of the mixed model: from the plan's `fixed` list to columns named as R names them,
 * and from one trial to their values. Treatment contrasts, treatment coded 0 reference, 1 active.
 */
#include <base/document.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mixed.h"

struct column_list {
    struct mixed_model *model;
    struct nof1_arena *arena;
    struct mixed_column *column;
    size_t count;
    const struct nof1_node *place; /* of the term, for messages */
    struct nof1_error *error;
};

static nof1_rc add_column(struct column_list *list, struct mixed_column column, const char *name)
{
    if (list->count == MIXED_COLUMNS_MAX - 1) {
        return nof1_fail(list->error, NOF1_E_PLAN, "fixed: more than %d columns",
                         MIXED_COLUMNS_MAX - 1);
    }
    const char *arm = mixed_arm_suffix(list->model, column.arm);
    column.name = column.by_treatment
                      ? nof1_arena_printf(list->arena, "treatment%s:%s", arm, name)
                      : nof1_arena_text(list->arena, name);
    ENSURE(column.name != NULL, NOF1_E_NO_MEMORY);
    column.term = column.kind == MIXED_INTERCEPT ? NULL : list->place->text;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->column[i].name, column.name) == 0) {
            return nof1_fail(list->error, NOF1_E_PLAN, "fixed: %s stands twice", column.name);
        }
    }
    list->column[list->count++] = column;
    return NOF1_OK;
}

/* Periods are numbered 1..P; P is known from the charter only. */
static int32_t largest_period(const struct nof1_charter *charter)
{
    int32_t largest = (int32_t)(charter->max_periods * charter->treatments);
    for (size_t c = 0; c < charter->classes; c++) {
        const struct nof1_class *k = &charter->class_[c];
        if (k->schedule_rows > 0 && k->schedule_period[k->schedule_rows - 1] > largest) {
            largest = k->schedule_period[k->schedule_rows - 1];
        }
    }
    return largest;
}

static nof1_rc add_levels(struct column_list *list, enum mixed_kind kind, int32_t levels,
                          const char *what, size_t by_treatment)
{
    if (levels < 2) {
        return nof1_fail(list->error, NOF1_E_PLAN, "fixed: factor(%s) has fewer than two levels",
                         what);
    }
    if (levels > MIXED_COLUMNS_MAX - 1) {
        return nof1_fail(list->error, NOF1_E_PLAN,
                         "fixed: factor(%s) has %d levels, at most %d: number the %ss 1, 2, ... "
                         "without gaps, or write %s for a linear trend",
                         what, (int)levels, MIXED_COLUMNS_MAX - 1, what, what);
    }
    for (int32_t level = 2; level <= levels; level++) {
        char name[64];
        snprintf(name, sizeof name, "factor(%s)%d", what, (int)level);
        struct mixed_column column = {.kind = kind, .level = level,
                                      .by_treatment = by_treatment > 0, .arm = by_treatment};
        TRY(add_column(list, column, name));
    }
    return NOF1_OK;
}

/* The charter's rule "centre" comes with an indicator of the patients it was applied to. */
static nof1_rc add_indicator(struct column_list *list, size_t index)
{
    const struct nof1_study *study = list->model->base.study;
    const char *name = study->charter->covariate[index].name;
    char text[256];
    snprintf(text, sizeof text, "missing:%s", name);
    if (study->charter->missing != NOF1_MISSING_CENTRE || nof1_census_count(study, text) == 0) {
        return NOF1_OK;
    }
    snprintf(text, sizeof text, "missing(%s)", name);
    struct mixed_column column = {.kind = MIXED_ABSENT, .covariate = index};
    return add_column(list, column, text);
}

static nof1_rc add_covariate(struct column_list *list, size_t index, const char *label,
                             size_t by_treatment)
{
    const struct nof1_covariate *c = &list->model->base.study->charter->covariate[index];
    if (by_treatment == 0) {
        TRY(add_indicator(list, index));
    }
    if (c->kind == NOF1_NUMERIC) {
        struct mixed_column column = {.kind = MIXED_NUMERIC, .covariate = index,
                                      .by_treatment = by_treatment > 0, .arm = by_treatment};
        return add_column(list, column, label);
    }
    for (size_t level = 1; level < c->levels; level++) {
        char *name = nof1_arena_printf(list->arena, "%s%s", label, c->level[level]);
        ENSURE(name != NULL, NOF1_E_NO_MEMORY);
        struct mixed_column column = {.kind = MIXED_FACTOR_LEVEL, .covariate = index,
                                      .level = (int32_t)level,
                                      .by_treatment = by_treatment > 0, .arm = by_treatment};
        TRY(add_column(list, column, name));
    }
    return NOF1_OK;
}

static bool find_covariate(const struct nof1_charter *charter, const char *name, size_t *index)
{
    for (size_t c = 0; c < charter->covariates; c++) {
        if (strcmp(charter->covariate[c].name, name) == 0) {
            *index = c;
            return true;
        }
    }
    return false;
}

const char *mixed_arm_name(const struct mixed_model *m, size_t arm)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_plan *plan = study->plan;
    return study->charter->treatment[arm == 0   ? plan->reference
                                     : arm == 1 ? plan->active
                                                : plan->other[arm - 2]];
}

const char *mixed_arm_suffix(const struct mixed_model *model, size_t arm)
{
    return model->base.study->plan->others == 0 || arm == 0 ? "" : mixed_arm_name(model, arm);
}

struct simple_term {
    const char *name;
    enum mixed_kind kind;
};

/* A column for each active arm where the term names the arm. */
static nof1_rc add_simple(struct column_list *list, const struct simple_term *simple, size_t by)
{
    bool arms = simple->kind == MIXED_TREATMENT || simple->kind == MIXED_PREVIOUS;
    for (size_t arm = 1; arm < (arms ? list->model->arms : 2); arm++) {
        struct mixed_column column = {.kind = simple->kind, .by_treatment = by > 0,
                                      .arm = by > 0 ? by : arm, .level = (int32_t)arm};
        char *name = nof1_arena_printf(list->arena, "%s%s", simple->name,
                                       arms ? mixed_arm_suffix(list->model, arm) : "");
        ENSURE(name != NULL, NOF1_E_NO_MEMORY);
        TRY(add_column(list, column, name));
    }
    return NOF1_OK;
}

static nof1_rc add_place(struct column_list *list, enum mixed_kind kind, size_t index,
                         const char *what, const char *id, size_t by_treatment)
{
    struct mixed_column column = {.kind = kind, .level = (int32_t)index,
                                  .by_treatment = by_treatment > 0, .arm = by_treatment};
    char *name = nof1_arena_printf(list->arena, "%s%s", what, id);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    return add_column(list, column, name);
}

/* Sums by site exist in an open lab only; elsewhere sites are absorbed at the site. */
static nof1_rc add_sites(struct column_list *list, size_t by_treatment)
{
    struct mixed_model *m = list->model;
    const struct nof1_charter *charter = m->base.study->charter;
    bool open = charter->limits.open && charter->sites <= MIXED_SITE_COLUMNS;
    if (!open && by_treatment > 0) {
        return nof1_fail_at(list->error, NOF1_E_PLAN, list->place->file, list->place->line,
                            list->place->column,
                            "fixed: treatment:site needs sums by site, which exist in an open lab "
                            "of at most %d sites only; leave it out",
                            MIXED_SITE_COLUMNS);
    }
    m->centred = m->centred || !open;
    for (size_t s = 1; s < charter->sites && open; s++) {
        TRY(add_place(list, MIXED_SITE, s, "site", charter->site[s].id, by_treatment));
    }
    return NOF1_OK;
}

static nof1_rc add_blocks(struct column_list *list, size_t by_treatment)
{
    const struct nof1_study *study = list->model->base.study;
    const struct nof1_plan *plan = study->plan;
    for (size_t b = 1; b < plan->blocks; b++) {
        TRY(add_place(list, MIXED_BLOCK, plan->block[b], "block",
                      study->charter->block[plan->block[b]].id, by_treatment));
    }
    return NOF1_OK;
}

/* by_treatment: 0, or the arm whose indicator multiplies the term. */
static nof1_rc add_term(struct column_list *list, const char *term, size_t by_treatment)
{
    static const struct simple_term simple[] = {{"treatment", MIXED_TREATMENT},
                                                {"period", MIXED_PERIOD},
                                                {"time", MIXED_TIME},
                                                {"cycle", MIXED_CYCLE},
                                                {"previous_treatment", MIXED_PREVIOUS}};
    const struct nof1_charter *charter = list->model->base.study->charter;
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++) {
        if (strcmp(term, simple[i].name) == 0) {
            return add_simple(list, &simple[i], by_treatment);
        }
    }
    if (strcmp(term, "factor(period)") == 0) {
        return add_levels(list, MIXED_PERIOD_LEVEL, largest_period(charter), "period",
                          by_treatment);
    }
    if (strcmp(term, "factor(cycle)") == 0) {
        return add_levels(list, MIXED_CYCLE_LEVEL, (int32_t)charter->max_cycles, "cycle",
                          by_treatment);
    }
    if (strcmp(term, "site") == 0) {
        return add_sites(list, by_treatment);
    }
    if (strcmp(term, "block") == 0) {
        return add_blocks(list, by_treatment);
    }
    size_t index;
    const char *covariate = term;
    if (strcmp(term, "stratum") == 0 && charter->stratum_covariate != NULL) {
        covariate = charter->stratum_covariate;
    }
    if (find_covariate(charter, covariate, &index)) {
        return add_covariate(list, index, term, by_treatment);
    }
    return nof1_fail_at(list->error, NOF1_E_PLAN, list->place->file, list->place->line,
                        list->place->column,
                        "fixed: '%s' is not treatment, period, factor(period), time, cycle, "
                        "factor(cycle), previous_treatment, stratum, site, block, a charter "
                        "covariate or treatment:COVARIATE",
                        term);
}

/* Far from zero a covariate is nearly a multiple of the intercept: take it about the charter's
 * centre. An interaction needs the treatment's own column for that, or the model would change. */
static void centre_columns(struct column_list *list)
{
    bool treatment = false, interaction = false;
    for (size_t c = 0; c < list->count; c++) {
        treatment = treatment || list->column[c].kind == MIXED_TREATMENT;
        interaction =
            interaction ||
            ((list->column[c].kind == MIXED_NUMERIC || list->column[c].kind == MIXED_TIME) &&
             list->column[c].by_treatment);
    }
    for (size_t c = 0; c < list->count && (treatment || !interaction); c++) {
        struct mixed_column *column = &list->column[c];
        if (column->kind == MIXED_TIME) {
            column->centre = list->model->base.study->charter->time_centre;
        }
        if (column->kind == MIXED_NUMERIC) {
            column->centre =
                list->model->base.study->charter->covariate[column->covariate].centre;
        }
    }
}

nof1_rc_value mixed_columns(struct mixed_model *model, struct nof1_arena *arena,
                            const struct nof1_node *fixed, struct nof1_error *error)
{
    struct column_list list = {model, arena, NULL, 0, fixed, error};
    list.column = nof1_arena_alloc(arena, MIXED_COLUMNS_MAX, sizeof *list.column);
    ENSURE(list.column != NULL, NOF1_E_NO_MEMORY);
    TRY(add_column(&list, (struct mixed_column){.kind = MIXED_INTERCEPT}, "(Intercept)"));
    static const char prefix[] = "treatment:";
    for (size_t i = 0; fixed != NULL && i < fixed->items; i++) {
        const char *term = fixed->item[i].text;
        if (fixed->item[i].kind != NOF1_SCALAR) {
            return nof1_fail(error, NOF1_E_PLAN, "fixed: each term is a name");
        }
        list.place = &fixed->item[i];
        if (strncmp(term, prefix, sizeof prefix - 1) == 0) {
            for (size_t arm = 1; arm < model->arms; arm++) {
                TRY(add_term(&list, term + sizeof prefix - 1, arm));
            }
        } else {
            TRY(add_term(&list, term, 0));
        }
    }
    centre_columns(&list);
    if (model->centred) { /* the sites' own levels take the intercept's place */
        memmove(list.column, list.column + 1, --list.count * sizeof *list.column);
    }
    model->column = list.column;
    model->columns = list.count;
    return NOF1_OK;
}

bool mixed_trial_level(const struct mixed_model *model, const struct mixed_column *column)
{
    if (column->kind == MIXED_SITE || column->kind == MIXED_BLOCK) {
        return true;
    }
    return (column->kind == MIXED_NUMERIC || column->kind == MIXED_FACTOR_LEVEL ||
            column->kind == MIXED_ABSENT) &&
           !model->base.study->charter->covariate[column->covariate].varies_within;
}

uint16_t mixed_sparse(const struct mixed_column *column)
{
    if (column->kind == MIXED_FACTOR_LEVEL) {
        return (uint16_t)(2 + column->covariate);
    }
    return column->kind == MIXED_PERIOD_LEVEL || column->kind == MIXED_CYCLE_LEVEL ||
           column->kind == MIXED_NUMERIC || column->kind == MIXED_PREVIOUS ||
           column->kind == MIXED_ABSENT || column->kind == MIXED_SITE ||
           column->kind == MIXED_BLOCK;
}

double mixed_column_bound(const struct mixed_model *model, const struct mixed_column *column)
{
    const struct nof1_charter *charter = model->base.study->charter;
    switch (column->kind) {
    case MIXED_PERIOD:
        return fmax(1, largest_period(charter));
    case MIXED_CYCLE:
        return fmax(1, charter->max_cycles);
    case MIXED_TIME:
        return 0x1p20;
    case MIXED_NUMERIC: {
        const struct nof1_covariate *c = &charter->covariate[column->covariate];
        return fmax(fabs(c->lower - column->centre), fabs(c->upper - column->centre));
    }
    default:
        return 1;
    }
}

size_t mixed_row_doubles(const struct mixed_model *model)
{
    return model->columns + 1;
}

/* 1 when the latest earlier period was on the arm, 0 when it was not or there was none. */
static double previous_arm(const struct nof1_trial *trial, const struct nof1_plan *plan, size_t row,
                           int32_t arm)
{
    int32_t period = trial->period[row], latest = 0;
    double value = 0;
    for (size_t i = 0; i < trial->rows && trial->period[i] < period; i++) {
        if (trial->treatment[i] != NOF1_NO_ARM && trial->period[i] >= latest) {
            latest = trial->period[i];
            value = nof1_plan_arm(plan, trial->treatment[i]) == arm;
        }
    }
    return value;
}

static bool in_block(const struct nof1_block *block, size_t site)
{
    for (size_t s = 0; s < block->sites; s++) {
        if (block->site[s] == site) {
            return true;
        }
    }
    return false;
}

double mixed_covariate(const struct nof1_charter *charter, const struct nof1_trial *trial,
                       const struct mixed_column *column, size_t row)
{
    if (column->kind == MIXED_SITE) {
        return trial->site == (size_t)column->level;
    }
    if (column->kind == MIXED_BLOCK) {
        return in_block(&charter->block[column->level], trial->site);
    }
    const struct nof1_covariate *c = &charter->covariate[column->covariate];
    double value = trial->covariate[column->covariate][row];
    if (column->kind == MIXED_ABSENT) {
        return isnan(value);
    }
    if (isnan(value) && charter->missing == NOF1_MISSING_CENTRE) {
        value = c->kind == NOF1_NUMERIC ? c->centre : 0;
    }
    if (column->kind == MIXED_FACTOR_LEVEL && !isnan(value)) {
        return value == (double)column->level;
    }
    return column->kind == MIXED_NUMERIC ? value - column->centre : value;
}

/* A number beyond the levels belongs to none: infinite, so that the site refuses (E2403) instead of
 * counting it to the first level. */
static double indicator(int32_t number, int32_t level, int32_t levels)
{
    return number <= 0 ? NAN : number > levels ? INFINITY : number == level;
}

/* NAN when missing. */
static double value_of(const struct mixed_model *model, const struct nof1_trial *trial,
                       const struct mixed_column *column, const struct nof1_series *s, size_t i)
{
    const struct nof1_study *study = model->base.study;
    double period = s->period[i] > 0 ? (double)s->period[i] : NAN;
    double cycle = s->cycle[i] > 0 ? (double)s->cycle[i] : NAN;
    switch (column->kind) {
    case MIXED_INTERCEPT:
        return 1;
    case MIXED_TREATMENT:
        return s->arm[i] == column->level;
    case MIXED_PERIOD:
        return period;
    case MIXED_PERIOD_LEVEL:
        return indicator(s->period[i], column->level, largest_period(study->charter));
    case MIXED_TIME:
        return s->time[i] - column->centre;
    case MIXED_CYCLE:
        return cycle;
    case MIXED_CYCLE_LEVEL:
        return indicator(s->cycle[i], column->level, (int32_t)study->charter->max_cycles);
    case MIXED_PREVIOUS:
        return isnan(period) ? NAN : previous_arm(trial, study->plan, s->row[i], column->level);
    default:
        return mixed_covariate(study->charter, trial, column, s->row[i]);
    }
}

static bool fill_row(double *row, const struct mixed_model *model, const struct nof1_trial *trial,
                     const struct nof1_series *s, size_t i)
{
    if ((model->shape.by_cycle && s->cycle[i] <= 0) ||
        (model->shape.correlated && isnan(mixed_serial_time(model, s, i)))) {
        return false;
    }
    for (size_t c = 0; c < model->columns; c++) {
        const struct mixed_column *column = &model->column[c];
        double value = value_of(model, trial, column, s, i);
        if (isnan(value)) {
            return false;
        }
        row[c] = column->by_treatment && s->arm[i] != column->arm ? 0 : value;
    }
    row[model->columns] = s->y[i];
    return true;
}

static void keep_row(struct nof1_series *s, size_t to, size_t from)
{
    s->y[to] = s->y[from];
    s->time[to] = s->time[from];
    s->cycle[to] = s->cycle[from];
    s->period[to] = s->period[from];
    s->row[to] = s->row[from];
    s->arm[to] = s->arm[from];
    s->n[s->arm[to]]++;
}

void mixed_rows(struct nof1_series *series, double **column, const struct mixed_model *model,
                const struct nof1_trial *trial, void *scratch)
{
    double *value = scratch;
    size_t width = model->columns + 1, kept = 0;
    nof1_series_of(series, model->base.study, trial, value + trial->rows * width);
    memset(series->n, 0, sizeof series->n);
    double row[MIXED_COLUMNS_MAX];
    size_t stride = series->rows;
    for (size_t i = 0; i < series->rows; i++) {
        if (!fill_row(row, model, trial, series, i)) {
            continue;
        }
        for (size_t c = 0; c < width; c++) {
            value[c * stride + kept] = row[c];
        }
        keep_row(series, kept++, i);
    }
    for (size_t c = 1; c < width && kept < stride; c++) {
        memmove(&value[c * kept], &value[c * stride], kept * sizeof *value);
    }
    series->rows = kept;
    *column = value;
}
