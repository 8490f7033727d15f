/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Makes a whole study in memory from one CSV: see pooled.h. For fixtures, so every fault aborts.
 */
#include <base/document.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pooled.h"
#include "pooled_census.h"
#include "support.h"
#include "table.h"

static bool list_has(const struct nof1_node *list, const char *text)
{
    for (size_t i = 0; list != NULL && i < list->items; i++) {
        if (strcmp(list->item[i].text, text) == 0) {
            return true;
        }
    }
    return false;
}

static double double_or(const struct nof1_node *map, const char *key, double absent)
{
    const struct nof1_node *node = map == NULL ? NULL : nof1_node_get(map, key);
    return node == NULL ? absent : strtod(node->text, NULL);
}

static const char *text_or(const struct nof1_node *map, const char *key, const char *absent)
{
    const struct nof1_node *node = map == NULL ? NULL : nof1_node_get(map, key);
    return node == NULL ? absent : node->text;
}

static bool flag_or(const struct nof1_node *map, const char *key, bool absent)
{
    return strcmp(text_or(map, key, absent ? "true" : "false"), "true") == 0;
}

static const struct nof1_node *yaml(struct nof1_arena *arena, const char *text)
{
    const struct nof1_node *node = NULL;
    struct nof1_error error = {0};
    if (nof1_yaml_read(&node, arena, "test", nof1_slice_text(text), &error) != NOF1_OK) {
        table_fault("yaml", error.message);
    }
    return node;
}

static const char *const own_keys[] = {"analysis", "outcome", "variance", "reference", "active",
                                       "others",   "charter", "title",    NULL};

static bool is_own_key(const char *key)
{
    for (size_t i = 0; own_keys[i] != NULL; i++) {
        if (strcmp(own_keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* The analysis' options as a map with every default filled in. */
static const struct nof1_node *complete_options(struct nof1_arena *arena,
                                                const struct nof1_analysis *analysis,
                                                const struct nof1_node *given)
{
    size_t known = 0;
    while (analysis->option[known].key != NULL) {
        known++;
    }
    struct nof1_node *map = nof1_arena_alloc(arena, 1, sizeof *map);
    struct nof1_node *item = nof1_arena_alloc(arena, known + 1, sizeof *item);
    *map = (struct nof1_node){.kind = NOF1_MAP, .file = "test", .items = known, .item = item};
    for (size_t i = 0; i < known; i++) {
        const struct nof1_option *option = &analysis->option[i];
        const struct nof1_node *value = nof1_node_get(given, option->key);
        if (value == NULL) {
            const char *text = nof1_arena_printf(arena, "value: %s", option->default_text);
            value = nof1_node_get(yaml(arena, text), "value");
        }
        item[i] = *value;
        item[i].key = option->key;
    }
    for (size_t i = 0; i < given->items; i++) {
        if (!is_own_key(given->item[i].key) && nof1_node_get(map, given->item[i].key) == NULL) {
            table_fault("unknown option", given->item[i].key);
        }
    }
    return map;
}

struct loader {
    struct table table;
    struct test_study *out;
    const struct nof1_node *plan, *charter;
    size_t trial, patient, cycle, period, time, treatment, outcome, variance;
    size_t covariate[32];
};

static bool is_special(const struct loader *l, size_t column)
{
    return column == l->trial || column == l->patient || column == l->cycle ||
           column == l->period || column == l->time || column == l->treatment ||
           column == l->outcome || column == l->variance;
}

static void find_columns(struct loader *l)
{
    const struct table *t = &l->table;
    l->trial = table_column(t, "trial");
    l->patient = table_column(t, "patient");
    l->cycle = table_column(t, "cycle");
    l->period = table_column(t, "period");
    l->time = table_column(t, "time");
    l->treatment = table_column(t, "treatment");
    l->outcome = table_column(t, text_or(l->plan, "outcome", "y"));
    const char *variance = text_or(l->plan, "variance", "");
    l->variance = variance[0] == '\0' ? SIZE_MAX : table_column(t, variance);
    if (l->trial == SIZE_MAX || l->outcome == SIZE_MAX) {
        table_fault("no column", "trial or outcome");
    }
}

static void column_range(const struct table *t, size_t column, double *lower, double *upper)
{
    *lower = INFINITY;
    *upper = -INFINITY;
    for (size_t r = 0; r < t->rows; r++) {
        double value = table_number(t, r, column);
        *lower = fmin(*lower, isnan(value) ? *lower : value);
        *upper = fmax(*upper, isnan(value) ? *upper : value);
    }
    if (!(*lower <= *upper)) {
        *lower = *upper = 0;
    }
}

static void make_outcome(struct loader *l)
{
    struct nof1_outcome *o = nof1_arena_alloc(l->table.arena, 1, sizeof *o);
    double lower, upper;
    column_range(&l->table, l->outcome, &lower, &upper);
    double range = upper - lower > 0 ? upper - lower : 1;
    o->name = l->table.name[l->outcome];
    o->family = o->name;
    o->unit = "";
    o->lower = lower - 1.5 * range;
    o->upper = upper + 1.5 * range;
    o->centre = double_or(l->charter, "centre", 0);
    o->sd_within = double_or(l->charter, "sd_within", range / 8);
    o->sd_between = double_or(l->charter, "sd_between", range / 8);
    const char *kind = text_or(l->charter, "kind", "continuous");
    o->kind = l->variance != SIZE_MAX             ? NOF1_EFFECT
              : strcmp(kind, "binary") == 0       ? NOF1_BINARY
              : strcmp(kind, "count") == 0        ? NOF1_COUNT
              : strcmp(kind, "ordinal") == 0      ? NOF1_ORDINAL
                                                  : NOF1_CONTINUOUS;
    if (o->kind == NOF1_ORDINAL) { /* its bounds are its categories */
        o->lower = lower;
        o->upper = upper;
        o->quantum = 1;
    }
    l->out->charter.outcome = o;
    l->out->charter.outcomes = 1;
}

static void make_covariates(struct loader *l)
{
    const struct table *t = &l->table;
    struct nof1_covariate *covariate = nof1_arena_alloc(t->arena, 32, sizeof *covariate);
    size_t n = 0;
    const struct nof1_node *factors =
        l->charter == NULL ? NULL : nof1_node_get(l->charter, "factors");
    for (size_t c = 0; c < t->columns && n < 32; c++) {
        if (is_special(l, c)) {
            continue;
        }
        struct nof1_covariate *v = &covariate[n];
        l->covariate[n++] = c;
        v->name = t->name[c];
        if (list_has(factors, v->name) || !table_is_numeric(t, c)) {
            v->kind = NOF1_FACTOR;
            v->level = table_levels(t, c, &v->levels);
            continue;
        }
        v->kind = NOF1_NUMERIC;
        column_range(t, c, &v->lower, &v->upper);
        v->centre = (v->lower + v->upper) / 2;
        for (size_t r = 1; r < t->rows; r++) {
            v->varies_within =
                v->varies_within ||
                (strcmp(table_cell(t, r, l->trial), table_cell(t, r - 1, l->trial)) == 0 &&
                 strcmp(table_cell(t, r, c), table_cell(t, r - 1, c)) != 0);
        }
    }
    l->out->charter.covariate = covariate;
    l->out->charter.covariates = n;
}

/* Rows of one trial in order of (period, time, file order). */
static void sort_rows(const struct loader *l, size_t *row, size_t rows)
{
    const struct table *t = &l->table;
    for (size_t i = 1; i < rows; i++) {
        size_t moving = row[i], j = i;
        int32_t period = table_integer(t, moving, l->period);
        double time = table_number(t, moving, l->time);
        while (j > 0) {
            int32_t before = table_integer(t, row[j - 1], l->period);
            double before_time = table_number(t, row[j - 1], l->time);
            if (before < period || (before == period && !(before_time > time))) {
                break;
            }
            row[j] = row[j - 1];
            j--;
        }
        row[j] = moving;
    }
}

static double *outcome_column(const struct loader *l, const size_t *row, size_t rows, size_t column)
{
    double *out = nof1_arena_alloc(l->table.arena, rows, sizeof *out);
    for (size_t i = 0; i < rows; i++) {
        out[i] = table_number(&l->table, row[i], column);
    }
    return out;
}

static double covariate_value(const struct loader *l, size_t v, size_t row)
{
    const struct nof1_covariate *covariate = &l->out->charter.covariate[v];
    if (covariate->kind == NOF1_FACTOR) {
        return table_level(covariate->level, covariate->levels,
                           table_cell(&l->table, row, l->covariate[v]));
    }
    return table_number(&l->table, row, l->covariate[v]);
}

static void fill_trial(const struct loader *l, struct nof1_trial *trial, const size_t *row,
                       size_t rows)
{
    const struct table *t = &l->table;
    struct nof1_arena *arena = t->arena;
    const struct nof1_charter *charter = &l->out->charter;
    int32_t *cycle = nof1_arena_alloc(arena, rows, sizeof *cycle);
    int32_t *period = nof1_arena_alloc(arena, rows, sizeof *period);
    uint8_t *treatment = nof1_arena_alloc(arena, rows, 1);
    double **outcome = nof1_arena_alloc(arena, 1, sizeof *outcome);
    double **variance = nof1_arena_alloc(arena, 1, sizeof *variance);
    double **covariate = nof1_arena_alloc(arena, charter->covariates + 1, sizeof *covariate);
    for (size_t i = 0; i < rows; i++) {
        cycle[i] = table_integer(t, row[i], l->cycle);
        period[i] = table_integer(t, row[i], l->period);
        double arm = l->treatment == SIZE_MAX
                         ? NAN
                         : table_level(charter->treatment, charter->treatments,
                                       table_cell(t, row[i], l->treatment));
        treatment[i] = isnan(arm) ? NOF1_NO_ARM : (uint8_t)arm;
    }
    outcome[0] = outcome_column(l, row, rows, l->outcome);
    variance[0] = l->variance == SIZE_MAX ? NULL : outcome_column(l, row, rows, l->variance);
    for (size_t v = 0; v < charter->covariates; v++) {
        covariate[v] = nof1_arena_alloc(arena, rows, sizeof **covariate);
        for (size_t i = 0; i < rows; i++) {
            covariate[v][i] = covariate_value(l, v, row[i]);
        }
    }
    *trial = (struct nof1_trial){rows, cycle, period, outcome_column(l, row, rows, l->time),
                                 treatment, (const double *const *)outcome,
                                 (const double *const *)variance,
                                 (const double *const *)covariate};
}

static uint32_t patient_number(const struct loader *l, size_t trial, const size_t *first)
{
    size_t column = l->patient == SIZE_MAX ? l->trial : l->patient;
    for (size_t i = 0; i < trial; i++) {
        if (strcmp(table_cell(&l->table, first[i], column),
                   table_cell(&l->table, first[trial], column)) == 0) {
            return l->out->patient[i];
        }
    }
    return (uint32_t)trial;
}

static void make_trials(struct loader *l)
{
    const struct table *t = &l->table;
    struct nof1_arena *arena = t->arena;
    bool *taken = nof1_arena_alloc(arena, t->rows + 1, sizeof *taken);
    size_t *row = nof1_arena_alloc(arena, t->rows + 1, sizeof *row);
    size_t *first = nof1_arena_alloc(arena, t->rows + 1, sizeof *first);
    l->out->trial = nof1_arena_alloc(arena, t->rows + 1, sizeof *l->out->trial);
    l->out->patient = nof1_arena_alloc(arena, t->rows + 1, sizeof *l->out->patient);
    for (size_t r = 0; r < t->rows; r++) {
        size_t rows = 0;
        for (size_t k = r; k < t->rows && !taken[r]; k++) {
            if (strcmp(table_cell(t, k, l->trial), table_cell(t, r, l->trial)) == 0) {
                row[rows++] = k;
            }
        }
        for (size_t k = 0; k < rows; k++) {
            taken[row[k]] = true;
        }
        if (rows > 0) {
            first[l->out->trials] = row[0];
            sort_rows(l, row, rows);
            fill_trial(l, &l->out->trial[l->out->trials], row, rows);
            l->out->patient[l->out->trials] = patient_number(l, l->out->trials, first);
            l->out->trials++;
        }
    }
}

static void make_limits(struct loader *l)
{
    struct nof1_limits *limits = &l->out->charter.limits;
    limits->open = flag_or(l->charter, "open", true);
    limits->min_class_patients = (uint32_t)double_or(l->charter, "min_class_patients", 1);
    limits->max_rounds_query = (uint32_t)double_or(l->charter, "max_rounds_query", 100);
    limits->max_release_ratio = double_or(l->charter, "max_release_ratio", 0.33);
    limits->min_sites = 1;
    limits->min_element_sites = 1;
    limits->max_params_ratio = 1;
}

static void make_charter(struct loader *l)
{
    struct nof1_charter *charter = &l->out->charter;
    struct nof1_arena *arena = l->table.arena;
    static const double lambda[] = {0.2, 1, 5};
    charter->study = "test";
    charter->version = 1;
    charter->lab = true;
    charter->any_arm = flag_or(l->charter, "any_arm", true);
    const char *rule = text_or(l->charter, "missing", "rows");
    charter->missing = strcmp(rule, "centre") == 0    ? NOF1_MISSING_CENTRE
                       : strcmp(rule, "exclude") == 0 ? NOF1_MISSING_EXCLUDE
                                                      : NOF1_MISSING_ROWS;
    charter->time_centre = double_or(l->charter, "time_centre", 0);
    charter->beta_box = double_or(l->charter, "beta_box", 100);
    charter->variance_ratio_box = double_or(l->charter, "variance_ratio_box", 1e8);
    charter->stratum_covariate = text_or(l->charter, "stratum", NULL);
    charter->lambda = lambda;
    charter->lambdas = 3;
    const struct nof1_node *given = l->charter == NULL ? NULL : nof1_node_get(l->charter, "lambda");
    if (given != NULL) {
        double *own = nof1_arena_alloc(arena, given->items + 1, sizeof *own);
        for (size_t i = 0; i < given->items; i++) {
            own[i] = strtod(given->item[i].text, NULL);
        }
        charter->lambda = own;
        charter->lambdas = given->items;
    }
    struct nof1_member *site = nof1_arena_alloc(arena, 1, sizeof *site);
    struct nof1_block *block = nof1_arena_alloc(arena, 1, sizeof *block);
    size_t *member = nof1_arena_alloc(arena, 1, sizeof *member);
    *site = (struct nof1_member){.id = "s1", .edge_spiffe = "", .patient_cap = 1000000};
    *block = (struct nof1_block){"b1", 1, member};
    charter->site = site;
    charter->block = block;
    charter->sites = charter->blocks = 1;
    if (l->treatment != SIZE_MAX) {
        charter->treatment = table_levels(&l->table, l->treatment, &charter->treatments);
    }
    make_limits(l);
}

static size_t treatment_index(const struct loader *l, const char *key, size_t absent)
{
    const struct nof1_charter *charter = &l->out->charter;
    const char *name = text_or(l->plan, key, NULL);
    double index = name == NULL ? (double)absent
                                : table_level(charter->treatment, charter->treatments, name);
    if (isnan(index)) {
        table_fault("unknown treatment", name);
    }
    return (size_t)index;
}

static void make_plan(struct loader *l, const struct nof1_analysis *analysis)
{
    struct nof1_plan *plan = &l->out->plan;
    size_t *block = nof1_arena_alloc(l->table.arena, 1, sizeof *block);
    plan->title = "test";
    plan->analysis = analysis->id;
    plan->analysis_version = analysis->version;
    plan->outcome_name = l->out->charter.outcome[0].name;
    plan->reference = treatment_index(l, "reference", 0);
    plan->active = treatment_index(l, "active", 1);
    const struct nof1_node *others = nof1_node_get(l->plan, "others");
    for (size_t i = 0; others != NULL && i < others->items; i++) {
        const struct nof1_charter *charter = &l->out->charter;
        plan->other[plan->others++] =
            (size_t)table_level(charter->treatment, charter->treatments, others->item[i].text);
    }
    plan->options = complete_options(l->table.arena, analysis, l->plan);
    plan->block = block;
    plan->blocks = 1;
    plan->epoch = 1;
    plan->max_rounds = 100;
}

static void measure_schedule(struct test_study *s)
{
    for (size_t i = 0; i < s->trials; i++) {
        size_t k[8] = {0};
        for (size_t r = 0; r < s->trial[i].rows; r++) {
            int32_t cycle = s->trial[i].cycle[r];
            s->charter.max_cycles = cycle > 0 && (uint32_t)cycle > s->charter.max_cycles
                                        ? (uint32_t)cycle
                                        : s->charter.max_cycles;
            int32_t period = s->trial[i].period[r];
            uint8_t arm = s->trial[i].treatment[r];
            bool opens = r == 0 || s->trial[i].period[r - 1] != period || period == 0;
            k[arm & 7] += opens;
            uint32_t least = (uint32_t)k[arm & 7];
            s->charter.max_periods =
                s->charter.max_periods < least ? least : s->charter.max_periods;
            uint32_t half = period > 0 ? ((uint32_t)period + 1) / 2 : 0;
            s->charter.max_periods = s->charter.max_periods < half ? half : s->charter.max_periods;
        }
    }
}

struct test_study *test_trials_from_text(struct nof1_arena *arena, const char *csv,
                                         const char *text, const struct nof1_analysis *analysis)
{
    struct loader l = {.table = {.arena = arena}};
    l.plan = yaml(arena, text);
    l.charter = nof1_node_get(l.plan, "charter");
    l.out = nof1_arena_alloc(arena, 1, sizeof *l.out);
    if (analysis == NULL) {
        analysis = nof1_analysis_find(text_or(l.plan, "analysis", ""));
    }
    if (analysis == NULL) {
        table_fault("no such analysis", text_or(l.plan, "analysis", "(none)"));
    }
    l.out->analysis = analysis;
    table_read(&l.table, csv);
    find_columns(&l);
    make_charter(&l);
    make_outcome(&l);
    make_covariates(&l);
    make_plan(&l, analysis);
    make_trials(&l);
    measure_schedule(l.out);
    test_pooled_census(l.out, flag_or(l.charter, "classes", true), arena);
    l.out->study = (struct nof1_study){&l.out->charter, &l.out->census, &l.out->plan};
    return l.out;
}

struct test_study *test_trials_from_csv(struct nof1_arena *arena, const char *path,
                                        const char *text, const struct nof1_analysis *analysis)
{
    struct nof1_slice bytes = test_file(arena, path);
    return test_trials_from_text(arena, (const char *)bytes.data, text, analysis);
}
