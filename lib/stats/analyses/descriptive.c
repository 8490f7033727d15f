/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Descriptives in one round (docs/statistics.md, `descriptive`): rows, trials, missing values, mean
 * and sd by arm and by period, each trial's arm difference, a histogram on a public grid and
 * quantiles read from it. Sums are taken about the charter's centre. No minimum, maximum or exact
 * quantile exists here: each is one patient's value.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <base/document.h>
#include <base/json.h>
#include <stats/cells.h>
#include <stats/registry.h>
#include <stats/report.h>
#include <stats/series.h>

#define MOST_BINS 200
#define MOST_PERIODS 400
#define MOST_ROWS 0x1p20

struct descriptive {
    struct nof1_model base; /* first */
    bool by_arm, by_period;
    size_t periods;         /* period cells 1..periods; 0 is "without a number" */
    size_t bins;
    bool histogram;
    double first, width;    /* lower end of the grid, width of a bin */
    bool steps;             /* bins are steps of the scale */
    double range;
};

static const struct nof1_option options[] = {
    {"by", NOF1_OPT_NAMES, "auto, arm, period", "[auto]", 0, 0,
     "tables besides all rows together; auto: arm, in an "
     "open lab arm and period"},
    {"histogram", NOF1_OPT_CHOICE, "auto|yes|no", "auto", 0, 0,
     "histogram and grid quantiles; auto: in an open lab only, "
     "because bins are many numbers about few patients"},
    {"bins", NOF1_OPT_NUMBER, "0: one bin a step of the scale", "10", 0, MOST_BINS,
     "bins of the histogram between the charter's bounds"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

/* ---- the plan ---- */

static nof1_rc read_by(struct descriptive *model, const struct nof1_study *study,
                       struct nof1_error *error)
{
    const struct nof1_node *by = nof1_node_get(study->plan->options, "by");
    bool automatic = by == NULL || (by->items == 1 && strcmp(by->item[0].text, "auto") == 0);
    model->by_arm = automatic;
    model->by_period = automatic && study->charter->limits.open;
    for (size_t i = 0; !automatic && i < by->items; i++) {
        const char *text = by->item[i].text;
        if (strcmp(text, "arm") == 0) {
            model->by_arm = true;
        } else if (strcmp(text, "period") == 0) {
            model->by_period = true;
        } else {
            return nof1_fail(error, NOF1_E_PLAN, "by: %.40s is neither arm nor period", text);
        }
    }
    model->periods = 2 * (size_t)study->charter->max_periods;
    if (model->by_period && (model->periods == 0 || model->periods > MOST_PERIODS)) {
        return nof1_fail(error, NOF1_E_PLAN, "by: the charter's max_periods does not allow period");
    }
    model->periods = model->by_period ? model->periods : 0;
    return NOF1_OK;
}

static nof1_rc read_grid(struct descriptive *model, const struct nof1_study *study,
                         struct nof1_error *error)
{
    const struct nof1_outcome *outcome = &study->charter->outcome[study->plan->outcome];
    model->range = outcome->upper - outcome->lower;
    if (outcome->kind == NOF1_EFFECT || !(model->range > 0.0) || !isfinite(model->range)) {
        return nof1_fail(error, NOF1_E_PLAN, "outcome: %s has no scale to describe", outcome->name);
    }
    int64_t bins = 10;
    if (nof1_node_get(study->plan->options, "bins") != NULL &&
        nof1_node_integer(&bins, study->plan->options, "bins", 0, MOST_BINS, error) != NOF1_OK) {
        return nof1_fail(error, NOF1_E_PLAN, "bins: must be a whole number from 0 to %d",
                         MOST_BINS);
    }
    model->bins = (size_t)bins;
    model->first = outcome->lower;
    model->steps = bins == 0;
    if (model->steps) {
        double steps = outcome->quantum > 0.0 ? round(model->range / outcome->quantum) : INFINITY;
        if (!(steps < MOST_BINS)) {
            return nof1_fail(error, NOF1_E_PLAN, "bins: 0 needs an outcome of less than %d steps",
                             MOST_BINS);
        }
        model->bins = (size_t)steps + 1;
        model->first -= 0.5 * outcome->quantum;
    }
    const struct nof1_node *wish = nof1_node_get(study->plan->options, "histogram");
    bool automatic = wish == NULL || strcmp(wish->text, "auto") == 0;
    model->histogram = automatic ? study->charter->limits.open : strcmp(wish->text, "yes") == 0;
    model->width = bins == 0 ? outcome->quantum : model->range / (double)bins;
    return NOF1_OK;
}

/* ---- one trial ---- */

struct cell {
    double rows, trials, missing, sum, square;
};

/* All numbers of one trial, or all totals. */
struct numbers {
    struct cell all, arm[2];
    double pairs, difference, difference_square;
    struct cell period[MOST_PERIODS + 1];
    double bin[2][MOST_BINS], bin_trials[2][MOST_BINS];
};

/* Only what the model uses: most of the room is never looked at. */
static void clear(struct numbers *out, const struct descriptive *model)
{
    memset(out, 0, offsetof(struct numbers, period));
    memset(out->period, 0, (model->periods + 1) * sizeof *out->period);
    for (size_t arm = 0; arm < 2; arm++) {
        memset(out->bin[arm], 0, model->bins * sizeof **out->bin);
        memset(out->bin_trials[arm], 0, model->bins * sizeof **out->bin_trials);
    }
}

static void cell_add(struct cell *cell, double y)
{
    cell->rows += 1.0;
    cell->trials = 1.0;
    cell->sum += y;
    cell->square += y * y;
}

static size_t period_cell(const struct descriptive *model, int32_t period)
{
    return period > 0 && (size_t)period <= model->periods ? (size_t)period : 0;
}

/* Intervals (a, b], the first one closed; values on a break within 1e-7 of a bin belong to the
 * lower bin, as in R's hist. */
static size_t bin_of(const struct descriptive *model, double y)
{
    double place = ceil((y - model->first) / model->width - 1e-7) - 1.0;
    if (place < 0.0) {
        return 0;
    }
    return place < (double)model->bins ? (size_t)place : model->bins - 1;
}

static void add_missing(struct numbers *out, const struct descriptive *model,
                        const struct nof1_trial *trial)
{
    const struct nof1_plan *plan = model->base.study->plan;
    for (size_t i = 0; i < trial->rows; i++) {
        bool active = trial->treatment[i] == plan->active;
        if (isnan(trial->outcome[plan->outcome][i]) &&
            (active || trial->treatment[i] == plan->reference)) {
            out->all.missing += 1.0;
            out->arm[active].missing += 1.0;
            out->period[period_cell(model, trial->period[i])].missing += 1.0;
        }
    }
}

static void numbers_of(struct numbers *out, const struct descriptive *model,
                       const struct nof1_trial *trial, void *scratch)
{
    clear(out, model);
    struct nof1_series series;
    nof1_series_of(&series, model->base.study, trial, scratch);
    const double *raw = trial->outcome[model->base.study->plan->outcome];
    for (size_t i = 0; i < series.rows; i++) {
        cell_add(&out->all, series.y[i]);
        cell_add(&out->arm[series.arm[i]], series.y[i]);
        cell_add(&out->period[period_cell(model, series.period[i])], series.y[i]);
        size_t bin = bin_of(model, raw[series.row[i]]);
        out->bin[series.arm[i]][bin] += 1.0;
        out->bin_trials[series.arm[i]][bin] = 1.0;
    }
    add_missing(out, model, trial);
    struct nof1_period_difference difference;
    nof1_period_difference(&difference, &series);
    if (difference.k[0] > 0 && difference.k[1] > 0) {
        out->pairs = 1.0;
        out->difference = difference.d;
        out->difference_square = difference.d * difference.d;
    }
}

static int group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    struct nof1_series series;
    nof1_series_of(&series, base->study, trial, scratch);
    return series.rows > 0 ? 0 : NOF1_LEFT_OUT;
}

/* ---- one walk for layout, terms and totals, so that they cannot differ ---- */

struct walk {
    struct nof1_arena *arena;
    struct nof1_element *element; /* written by layout */
    double *out;                  /* written by contribute */
    const double *total;          /* read by report */
    size_t count;
    bool failed;
};

static void visit(struct walk *walk, const char *prefix, const char *name,
                  struct nof1_element element, double *value)
{
    if (walk->element != NULL) {
        element.name = nof1_arena_printf(walk->arena, "%s%s", prefix, name);
        walk->failed = walk->failed || element.name == NULL;
        walk->element[walk->count] = element;
    }
    if (walk->out != NULL) {
        walk->out[walk->count] = *value;
        walk->failed = walk->failed || !isfinite(*value);
    }
    if (walk->total != NULL) {
        *value = walk->total[walk->count];
    }
    walk->count++;
}

static void visit_cell(struct walk *walk, const struct descriptive *model, const char *prefix,
                       uint16_t block, bool sparse, struct cell *cell)
{
    struct nof1_element design = {.role = NOF1_DESIGN, .group = -1, .bound = MOST_ROWS};
    struct nof1_element outcome = {.role = NOF1_OUTCOME, .group = -1, .block = block,
                                   .block_size = 2, .sparse = sparse};
    outcome.bound = MOST_ROWS * model->range;
    visit(walk, prefix, "rows", design, &cell->rows);
    visit(walk, prefix, "trials", design, &cell->trials);
    visit(walk, prefix, "missing", design, &cell->missing);
    visit(walk, prefix, "sum y", outcome, &cell->sum);
    outcome.bound *= model->range;
    visit(walk, prefix, "sum y^2", outcome, &cell->square);
}

static void visit_bins(struct walk *walk, const struct descriptive *model, struct numbers *numbers)
{
    struct nof1_element element = {.role = NOF1_OUTCOME, .group = -1, .bound = MOST_ROWS,
                                   .block = 1, .block_size = 2};
    for (size_t arm = 0; arm < 2; arm++) {
        for (size_t b = 0; b < model->bins; b++) {
            char prefix[64]; /* tells the grid: other grids have other sums */
            snprintf(prefix, sizeof prefix, "arm:%zu/%s:%zu of %zu/", arm,
                     model->steps ? "step" : "bin", b + 1, model->bins);
            visit(walk, prefix, "rows", element, &numbers->bin[arm][b]);
            visit(walk, prefix, "trials", element, &numbers->bin_trials[arm][b]);
        }
    }
}

static void visit_all(struct walk *walk, const struct descriptive *model, struct numbers *numbers)
{
    bool any_arm = model->base.study->charter->any_arm;
    if (model->by_arm) {
        visit_cell(walk, model, "arm:0/", 2, any_arm, &numbers->arm[0]);
        visit_cell(walk, model, "arm:1/", 3, any_arm, &numbers->arm[1]);
    } else {
        visit_cell(walk, model, "all/", 2, false, &numbers->all);
    }
    for (size_t p = 0; model->by_period && p <= model->periods; p++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "period:%zu/", p);
        visit_cell(walk, model, prefix, (uint16_t)(5 + p), true, &numbers->period[p]);
    }
    /* Trials with an observation at all: the arms' counts overlap. */
    struct nof1_element design = {.role = NOF1_DESIGN, .group = -1, .bound = 1.0};
    if (model->by_arm) {
        visit(walk, "all/", "trials", design, &numbers->all.trials);
    }
    visit(walk, "difference/", "trials", design, &numbers->pairs);
    struct nof1_element outcome = {.role = NOF1_OUTCOME, .group = -1, .bound = model->range,
                                   .block = 4, .block_size = 1, .sparse = any_arm};
    visit(walk, "difference/", "sum d", outcome, &numbers->difference);
    outcome.bound *= model->range;
    visit(walk, "difference/", "sum d^2", outcome, &numbers->difference_square);
    if (model->histogram) {
        visit_bins(walk, model, numbers);
    }
}

static nof1_rc_value layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                            struct nof1_layout *out)
{
    (void)round;
    const struct descriptive *model = (const struct descriptive *)base;
    struct numbers *numbers = nof1_arena_alloc(arena, 1, sizeof *numbers);
    struct walk walk = {.arena = arena,
                        .element = nof1_arena_alloc(arena, base->max_elements,
                                                    sizeof *walk.element)};
    ENSURE(numbers != NULL && walk.element != NULL, NOF1_E_NO_MEMORY);
    visit_all(&walk, model, numbers);
    ENSURE(!walk.failed, NOF1_E_NO_MEMORY);
    *out = (struct nof1_layout){walk.count, walk.element};
    return NOF1_OK;
}

static nof1_rc_value contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                const struct nof1_trial *trial, void *scratch, double *out)
{
    (void)round;
    (void)theta;
    const struct descriptive *model = (const struct descriptive *)base;
    struct numbers numbers;
    numbers_of(&numbers, model, trial, scratch);
    struct walk walk = {.out = out};
    visit_all(&walk, model, &numbers);
    ENSURE(!walk.failed, NOF1_E2403);
    return NOF1_OK;
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    static const char *const all[] = {"all"};
    struct descriptive *model = nof1_arena_alloc(arena, 1, sizeof *model);
    struct numbers *numbers = nof1_arena_alloc(arena, 1, sizeof *numbers);
    ENSURE(model != NULL && numbers != NULL, NOF1_E_NO_MEMORY);
    model->base = (struct nof1_model){.analysis = &nof1_descriptive, .study = study,
                                      .form = "descriptive", .groups = 1, .group = all,
                                      .max_rounds = 1, .scratch = 64,
                                      .scratch_row = NOF1_SERIES_SCRATCH_ROW,
                                      .fixed_parameters = 1, .sums = "descriptive"};
    TRY(read_by(model, study, error));
    TRY(read_grid(model, study, error));
    struct walk walk = {0};
    visit_all(&walk, model, numbers);
    model->base.max_elements = walk.count;
    *out = &model->base;
    return NOF1_OK;
}

static nof1_rc_value advance(const struct nof1_model *base, const struct nof1_history *history,
                             struct nof1_arena *arena, struct nof1_next *out,
                             struct nof1_error *error)
{
    (void)base;
    (void)arena;
    (void)error;
    *out = (struct nof1_next){.done = history->rounds > 0};
    return NOF1_OK;
}

/* ---- the result ---- */

static json_t *number(double x)
{
    return nof1_json_number(x);
}

/* sd with n - 1. */
static double deviation(double n, double sum, double square)
{
    return n > 1.0 ? sqrt(fmax(square - sum * sum / n, 0.0) / (n - 1.0)) : NAN;
}

static json_t *cell_json(const struct descriptive *model, const char *level,
                         const struct cell *cell, const char *code)
{
    if (code != NULL) {
        return json_pack("{s:s,s:s}", "level", level, "suppressed", code);
    }
    const struct nof1_study *study = model->base.study;
    double centre = study->charter->outcome[study->plan->outcome].centre;
    double mean = cell->rows > 0.0 ? centre + cell->sum / cell->rows : NAN;
    bool few = !study->charter->limits.open && cell->missing > 0.0 &&
               cell->missing < (double)study->charter->limits.min_cell;
    double missing = few ? NAN : cell->missing;
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o}", "level", level, "rows", number(cell->rows),
                     "trials", number(cell->trials), "missing", number(missing), "mean",
                     number(mean), "sd", number(deviation(cell->rows, cell->sum, cell->square)));
}

static json_t *table_json(const struct descriptive *model, const char *by,
                          const char *const *level, const struct cell *cell, size_t n)
{
    const char *code[MOST_PERIODS + 1];
    nof1_cells_suppress(code, &model->base.study->charter->limits, &cell->trials,
                        sizeof *cell / sizeof(double), n);
    json_t *cells = json_array();
    for (size_t i = 0; i < n; i++) {
        char numbered[32];
        snprintf(numbered, sizeof numbered, "%zu", i);
        if (level == NULL && i == 0 && cell->rows + cell->missing == 0.0) {
            continue; /* no row without a period number */
        }
        json_array_append_new(cells, cell_json(model, level == NULL ? numbered : level[i], &cell[i],
                                               code[i]));
    }
    return json_pack("{s:s,s:{s:[s]},s:o}", "by", by, "counts", "n", "trials", "cells", cells);
}

/* Of the counts as they are shown: a quantile of exact bins would tell a hidden or rounded one. */
static json_t *quantiles_json(const struct descriptive *model, const char *level,
                              const json_t *counts, const json_t *more)
{
    double bin[MOST_BINS];
    bool hidden[MOST_BINS];
    const struct nof1_limits *limits = &model->base.study->charter->limits;
    for (size_t b = 0; b < model->bins; b++) {
        const json_t *count = json_array_get(counts, b), *other = json_array_get(more, b);
        hidden[b] = json_is_null(count) || json_is_null(other);
        bin[b] = nof1_cells_bin(limits, count) + (more == NULL ? 0 : nof1_cells_bin(limits, other));
    }
    double quantile[3];
    for (size_t q = 0; q < 3; q++) {
        quantile[q] = nof1_cells_quantile(bin, hidden, model->bins, model->first, model->width,
                                          0.25 * (double)(q + 1));
    }
    return json_pack("{s:s,s:o,s:o,s:o}", "level", level, "q25", number(quantile[0]), "median",
                     number(quantile[1]), "q75", number(quantile[2]));
}

/* Counts of one arm: hidden ones are null; outside the lab the others are rounded. */
static json_t *counts_json(const struct descriptive *model, const double *bin,
                           const double *bin_trials)
{
    const struct nof1_limits *limits = &model->base.study->charter->limits;
    const char *code[MOST_BINS];
    nof1_cells_suppress(code, limits, bin_trials, 1, model->bins);
    json_t *counts = json_array();
    for (size_t b = 0; b < model->bins; b++) {
        json_array_append_new(counts,
                              code[b] != NULL ? json_null()
                                              : json_real(nof1_cells_rounded(limits, bin[b])));
    }
    return counts;
}

static json_t *histogram_json(const struct descriptive *model, const struct numbers *numbers,
                              const char *const level[2])
{
    json_t *breaks = json_array();
    for (size_t b = 0; b <= model->bins; b++) {
        json_array_append_new(breaks, json_real(model->first + model->width * (double)b));
    }
    json_t *arms = json_array();
    for (size_t a = 0; a < 2; a++) {
        json_array_append_new(
            arms, json_pack("{s:s,s:o}", "level", level[a], "counts",
                            counts_json(model, numbers->bin[a], numbers->bin_trials[a])));
    }
    return json_pack("{s:o,s:o}", "breaks", breaks, "arms", arms);
}

static json_t *tables_json(const struct descriptive *model, const struct numbers *numbers,
                           const char *const level[2])
{
    static const char *const all[] = {"all"};
    json_t *tables = json_array();
    json_array_append_new(tables, table_json(model, "all", all, &numbers->all, 1));
    if (model->by_arm) {
        json_array_append_new(tables, table_json(model, "arm", level, numbers->arm, 2));
    }
    if (model->by_period) {
        json_array_append_new(tables, table_json(model, "period", NULL, numbers->period,
                                                 model->periods + 1));
    }
    return tables;
}

static json_t *quantile_list(const struct descriptive *model, const json_t *histogram,
                             const char *const level[2])
{
    const json_t *arms = json_object_get(histogram, "arms");
    const json_t *counts[2] = {json_object_get(json_array_get(arms, 0), "counts"),
                               json_object_get(json_array_get(arms, 1), "counts")};
    json_t *list = json_array();
    json_array_append_new(list, quantiles_json(model, "all", counts[0], counts[1]));
    json_array_append_new(list, quantiles_json(model, level[0], counts[0], NULL));
    json_array_append_new(list, quantiles_json(model, level[1], counts[1], NULL));
    return list;
}

static bool any_suppressed(const json_t *tables)
{
    size_t i, j;
    json_t *table, *cell;
    json_array_foreach(tables, i, table)
    {
        json_array_foreach(json_object_get(table, "cells"), j, cell)
        {
            if (json_object_get(cell, "suppressed") != NULL) {
                return true;
            }
        }
    }
    return false;
}

static json_t *difference_json(const struct numbers *numbers)
{
    double n = numbers->pairs;
    double sd = deviation(n, numbers->difference, numbers->difference_square);
    return json_pack("{s:o,s:o,s:o,s:o}", "trials", number(n), "mean",
                     number(numbers->difference / n), "sd", number(sd), "std.error",
                     number(sd / sqrt(n)));
}

/* The whole: the sum of the arms when these were released, which count rows once. */
static void complete_all(struct numbers *numbers)
{
    numbers->all.rows = numbers->arm[0].rows + numbers->arm[1].rows;
    numbers->all.missing = numbers->arm[0].missing + numbers->arm[1].missing;
    numbers->all.sum = numbers->arm[0].sum + numbers->arm[1].sum;
    numbers->all.square = numbers->arm[0].square + numbers->arm[1].square;
}

static nof1_rc_value report(const struct nof1_model *base, const struct nof1_history *history,
                            struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    const struct descriptive *model = (const struct descriptive *)base;
    if (history->rounds == 0 || history->counts.trials == 0) {
        return nof1_fail(error, NOF1_E_MODEL, "no trial has an observed outcome");
    }
    struct numbers *numbers = nof1_arena_alloc(arena, 1, sizeof *numbers);
    ENSURE(numbers != NULL, NOF1_E_NO_MEMORY);
    struct walk walk = {.total = history->round[0].total};
    visit_all(&walk, model, numbers);
    if (model->by_arm) {
        complete_all(numbers);
    }
    const struct nof1_study *study = base->study;
    const char *const level[2] = {study->charter->treatment[study->plan->reference],
                                  study->charter->treatment[study->plan->active]};
    json_t *tables = tables_json(model, numbers, level);
    json_t *warnings = json_array();
    json_t *histogram = model->histogram ? histogram_json(model, numbers, level) : json_null();
    json_t *quantiles = model->histogram ? quantile_list(model, histogram, level) : json_null();
    nof1_warn(
        warnings, model->histogram && !study->charter->limits.open, "rounded",
        "counts of the histogram are rounded; quantiles are those of the counts shown, in which "
        "a hidden one stands for half of min_cell, and null within a hidden bin");
    nof1_warn(warnings, any_suppressed(tables), "hidden_cells",
              "cells with few trials are not shown (E2401), nor those that would tell them "
              "(E2402)");
    *out = json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:{s:o,s:I,s:I,s:I,s:b},s:{s:s,s:s,s:s},s:s,s:o}", "estimates",
        json_array(), "tables", tables, "difference", difference_json(numbers), "histogram",
        histogram, "quantiles", quantiles, "fit", "nobs", number(numbers->all.rows), "trials",
        (json_int_t)history->counts.trials, "sites", (json_int_t)history->counts.sites, "rounds",
        (json_int_t)history->rounds, "converged", true, "estimand", "sentence",
        "description of the observed rows; sd with n - 1; quantiles read from the histogram",
        "population", "patients with an observed outcome on either treatment", "weights",
        "each row 1; the difference: each trial 1", "form", base->form, "warnings", warnings);
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

const struct nof1_analysis nof1_descriptive = {
    .id = "descriptive",
    .version = 1,
    .summary = "rows, trials, missing values, mean, sd, histogram by arm and period",
    .option = options,
    .prepare = prepare,
    .group_of = group_of,
    .layout = layout,
    .contribute = contribute,
    .advance = advance,
    .tables = true,
    .report = report,
};
