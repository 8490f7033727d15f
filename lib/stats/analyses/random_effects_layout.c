/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What one trial adds to each round of the two-stage analysis, and the names of those numbers.
 * Reads one trial, allocates nothing while contributing. Sums of schedules and observed cells are
 * DESIGN; everything that an outcome (or a patient's trait) enters is OUTCOME.
 */
#include "random_effects.h"

#include <math.h>
#include <stdio.h>

#define MOST_ROWS 0x1p30
/* Own variances, in units of scale^2: outside these a trial has no usable variance. */
#define LEAST_VARIANCE 0x1p-28
#define LARGEST_VARIANCE 0x1p48
/* Rounding of the terms of iterated sums, in units of the outcome's range: far below 1e-9 of any
 * sum, far above the digits that would name a single trial's variance. */
#define TERM_QUANTUM 0x1p-50

/* ---- one trial's numbers ---- */

/* Every row belongs to a cycle in which both arms were observed. */
static bool complete(const struct nof1_series *series)
{
    for (size_t i = 0; i < series->rows; i++) {
        bool other = false;
        for (size_t j = 0; j < series->rows && !other; j++) {
            other = series->cycle[j] == series->cycle[i] && series->arm[j] != series->arm[i];
        }
        if (series->cycle[i] == 0 || !other) {
            return false;
        }
    }
    return series->rows > 0;
}

static void columns_of(struct re_trial *out, const struct re_model *model,
                       const struct nof1_trial *trial)
{
    out->x[0] = 1.0;
    for (size_t i = 1; i < model->columns && trial->rows > 0; i++) {
        const struct re_column *column = &model->column[i];
        double value = trial->covariate[column->covariate][0];
        if (isnan(value) && model->base.study->charter->missing != NOF1_MISSING_CENTRE) {
            out->left_out = true;
            value = column->centre;
        }
        if (column->level >= 0) {
            out->x[i] = value == (double)column->level ? 1.0 : 0.0;
        } else {
            out->x[i] = isnan(value) ? 0.0 : value - column->centre;
        }
    }
}

static void effect_of(struct re_trial *out, const struct re_model *model,
                      const struct nof1_trial *trial)
{
    const struct nof1_plan *plan = model->base.study->plan;
    bool usable = trial->rows == 1 && trial->variance != NULL &&
                  trial->variance[plan->outcome] != NULL &&
                  nof1_series_in_strata(model->base.study, trial);
    out->left_out = !usable;
    if (usable) {
        out->rows = 1;
        out->d = trial->outcome[plan->outcome][0] - model->centre;
        out->v = trial->variance[plan->outcome][0];
        out->df = 1.0;
        out->left_out = !isfinite(out->d) || !isfinite(out->v);
    }
}

static void cycles_of(struct re_trial *out, const struct re_model *model,
                      const struct nof1_series *series)
{
    struct nof1_cycle_difference cycle;
    nof1_cycle_difference(&cycle, series);
    out->left_out = cycle.k == 0 || (model->complete_only && !complete(series));
    if (cycle.k > 0) {
        out->d = cycle.d;
        out->ss = cycle.ss;
        out->df = (double)(cycle.k - 1);
        out->u = 1.0 / (double)cycle.k;
    }
    if (!model->own && !out->left_out) {
        out->class_ = cycle.k <= model->most ? model->class_of[cycle.k] : -1;
        out->left_out = out->class_ < 0;
    }
}

static void periods_of(struct re_trial *out, const struct re_model *model,
                       const struct nof1_series *series)
{
    struct nof1_period_difference period;
    nof1_period_difference(&period, series);
    size_t a = period.k[0];
    size_t b = period.k[1];
    out->left_out = a == 0 || b == 0;
    if (!out->left_out) {
        out->d = period.d;
        out->ss = period.ss;
        out->df = (double)(a + b - 2);
        out->u = 1.0 / (double)a + 1.0 / (double)b;
    }
    if (!model->own && !out->left_out) {
        bool known = a <= model->most && b <= model->most;
        out->class_ = known ? model->class_of[a * ((size_t)model->most + 1) + b] : -1;
        out->left_out = out->class_ < 0;
    }
}

void re_trial_of(struct re_trial *out, const struct re_model *model, const struct nof1_trial *trial,
                 void *scratch)
{
    *out = (struct re_trial){.class_ = -1};
    if (model->imported) {
        effect_of(out, model, trial);
    } else {
        struct nof1_series series;
        nof1_series_of(&series, model->base.study, trial, scratch);
        out->rows = series.rows;
        if (model->effect != RE_DIFFERENCE) {
            re_phases_of(out, model, trial, &series);
        } else if (model->cycles) {
            cycles_of(out, model, &series);
        } else {
            periods_of(out, model, &series);
        }
        out->v = out->df > 0.0 ? out->ss / out->df * out->u : 0.0;
    }
    columns_of(out, model, trial);
    if (model->own && !out->left_out) {
        out->d /= model->scale;
        out->v /= model->scale * model->scale;
        /* Never weight 1/0: a trial without variation of its own is left out and counted. */
        out->left_out = !(out->v >= LEAST_VARIANCE && out->v <= LARGEST_VARIANCE);
    }
}

double re_product_value(const struct re_product *product, const double *x, double y)
{
    switch (product->kind) {
    case RE_XX:
        return x[product->i] * x[product->j];
    case RE_XY:
        return x[product->i] * y;
    case RE_YY:
        return y * y;
    }
    return NAN;
}

/* ---- writing a layout and its terms by the same walk, so that they cannot differ ---- */

struct walk {
    struct nof1_arena *arena;        /* layout: names and elements are written */
    struct nof1_element *element;
    double *out;                     /* contribute: values are written */
    size_t count;
    bool failed;
};

static void put(struct walk *walk, struct nof1_element element, const char *prefix,
                const char *name, double value)
{
    if (walk->element != NULL) {
        element.name = nof1_arena_printf(walk->arena, "%s%s", prefix, name);
        walk->failed = walk->failed || element.name == NULL;
        walk->element[walk->count] = element;
    }
    if (walk->out != NULL) {
        walk->out[walk->count] = value;
        walk->failed = walk->failed || !isfinite(value);
    }
    walk->count++;
}

static struct nof1_element design(double bound)
{
    return (struct nof1_element){.role = NOF1_DESIGN, .group = -1, .bound = bound};
}

static struct nof1_element outcome(double bound, uint16_t block, uint16_t block_size)
{
    return (struct nof1_element){.role = NOF1_OUTCOME, .group = -1, .bound = bound, .block = block,
                                 .block_size = block_size};
}

static void set_sparse(struct nof1_element *element, const struct re_product *product)
{
    element->sparse = product->sparse > 0;
    element->factor = (uint16_t)(product->sparse > 1 ? product->sparse - 1 : 0);
}

static void walk_within(struct walk *walk, const struct re_model *model,
                        const struct re_trial *trial)
{
    double spread = model->cycles ? 2.0 * model->range : model->range;
    struct nof1_element ss = outcome(2.0 * (double)(model->most + 1) * spread * spread, 2, 1);
    ss.sparse = model->class_of[model->cycles ? 1 : (size_t)model->most + 2] >= 0;
    put(walk, ss, "", "sum within-trial squares", trial->ss);
    put(walk, design(2.0 * (double)(model->most + 1)), "", "within-trial df", trial->df);
    put(walk, design(MOST_ROWS), "", "rows", (double)trial->rows);
}

static void walk_classes(struct walk *walk, const struct re_model *model,
                         const struct re_trial *trial)
{
    walk_within(walk, model, trial);
    for (size_t c = 0; c < model->classes; c++) {
        bool mine = trial->class_ == (int)c;
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%s/", model->class_[c].name);
        struct nof1_element count = design(1.0);
        count.group = (int)c;
        put(walk, count, prefix, "trials", mine ? 1.0 : 0.0);
        for (size_t i = 0; i < model->products; i++) {
            const struct re_product *product = &model->product[i];
            struct nof1_element element = outcome(product->bound, 1, (uint16_t)model->columns);
            element.role = product->role;
            element.group = (int)c;
            set_sparse(&element, product);
            double value = mine ? re_product_value(product, trial->x, trial->d) : 0.0;
            put(walk, element, prefix, product->name, value);
        }
    }
}

/* Decimals under real weights: every class's sum is a whole number of steps, which a lattice
 * reduction finds in exact weighted sums (docs/disclosure.md). Terms rounded to about that step
 * tell no more than the entropy rule charges. */
double re_term_step(const struct re_model *model)
{
    const struct nof1_charter *charter = model->base.study->charter;
    double quantum = charter->outcome[model->base.study->plan->outcome].quantum;
    bool exact = charter->limits.open || !(quantum > 0.0);
    return exact ? 0.0 : ldexp(1.0, ilogb(quantum / (double)model->most));
}

/* The step of a column's values: 0 when they are exact, 1 for indicators. */
static double column_step(const struct re_model *model, size_t i)
{
    bool numeric = i > 0 && model->column[i].level < 0;
    return numeric ? model->base.study->charter->covariate[model->column[i].covariate].quantum
                   : 1.0;
}

/* A moderator's own sums tell its values as those of the outcome tell outcomes: to their own step.
 */
static double product_step(const struct re_model *model, const struct re_product *product,
                           double step)
{
    double of_i = column_step(model, product->i), of_j = column_step(model, product->j);
    if (product->kind == RE_YY) {
        return step * step;
    }
    if (product->kind == RE_XY) {
        return of_i > 1.0 && step > 0.0 ? ldexp(step, ilogb(of_i)) : step;
    }
    return product->role == NOF1_DESIGN || !(of_i * of_j > 0.0) ? 0.0
                                                                : ldexp(1.0, ilogb(of_i * of_j));
}

static void walk_basis(struct walk *walk, const struct re_model *model,
                       const struct re_trial *trial)
{
    walk_within(walk, model, trial);
    put(walk, design(1.0), "", "trials", 1.0);
    double step = re_term_step(model);
    for (size_t r = 0; r < model->weights; r++) {
        double w = 1.0 / (model->lambda[r] + trial->u);
        double most = 1.0 / (model->lambda[r] + 1.0 / (double)model->most);
        char prefix[32];
        snprintf(prefix, sizeof prefix, "basis:%zu/w", r + 1);
        put(walk, design(most), prefix, "", w);
        snprintf(prefix, sizeof prefix, "basis:%zu/w*", r + 1);
        for (size_t i = 0; i < model->products; i++) {
            const struct re_product *product = &model->product[i];
            struct nof1_element element =
                outcome(most * product->bound, 1, (uint16_t)model->columns);
            element.role = product->role;
            element.quantum = product_step(model, product, step);
            set_sparse(&element, product);
            put(walk, element, prefix, product->name,
                w * re_product_value(product, trial->x, trial->d));
        }
    }
}

/* Exact sums at lambda = tau^2 / sigma^2; the order is that of correction_read. */
static void walk_correction(struct walk *walk, const struct re_model *model,
                            const struct re_trial *trial, double lambda)
{
    double w = 1.0 / (lambda + trial->u);
    double most = (double)model->most;
    double range = model->range;
    size_t linear, quadratic;
    re_correction_size(model, &linear, &quadratic);
    put(walk, design(most), "", "w", w);
    put(walk, design(most * most), "", "w^2", w * w);
    put(walk, design(most * most * most), "", "w^3", w * w * w);
    put(walk, design(1e3), "", "log", -log(w));
    struct nof1_element element = outcome(most * range, 1, 1);
    element.quantum = ldexp(1.0, ilogb(range) - 50);
    put(walk, element, "", "w*d", w * trial->d);
    element.bound = most * most * range;
    if (linear == 2) {
        put(walk, element, "", "w^2*d", w * w * trial->d);
    }
    element.quantum = ldexp(1.0, 2 * ilogb(range) - 60);
    element.bound = most * most * range * range;
    if (linear == 2) {
        put(walk, element, "", "w^2*d^2", w * w * trial->d * trial->d);
    }
    if (linear == 1 || quadratic == 2) {
        put(walk, element, "", "w*d^2", w * trial->d * trial->d);
    }
}

static void walk_power(struct walk *walk, const struct re_model *model,
                       const struct re_trial *trial, const char *prefix, double weight,
                       double bound, double quantum, bool squares_only)
{
    struct nof1_element element = outcome(bound, 1, (uint16_t)(model->columns + 1));
    element.quantum = quantum;
    put(walk, element, prefix, "1", weight);
    for (size_t i = 0; i < model->products; i++) {
        const struct re_product *product = &model->product[i];
        if (squares_only && product->kind != RE_XX) {
            continue;
        }
        double factor = product->kind == RE_XY   ? 1.0 / model->scale
                        : product->kind == RE_YY ? 1.0 / (model->scale * model->scale)
                                                 : 1.0;
        element.bound = fmin(0x1p96, bound * product->bound * factor);
        set_sparse(&element, product);
        put(walk, element, prefix, product->name,
            weight * re_product_value(product, trial->x, trial->d));
    }
}

/* Power sums of own variances at tau^2 (in units of scale^2). */
static void walk_own(struct walk *walk, const struct re_model *model, const struct re_trial *trial,
                     uint32_t round, double tau2)
{
    enum nof1_two_stage_method method = model->fit.method;
    bool likelihood = method == NOF1_TS_ML || method == NOF1_TS_REML;
    double most = 1.0 / LEAST_VARIANCE;
    double w = 1.0 / (trial->v + tau2);
    walk_power(walk, model, trial, "w*", w, most, TERM_QUANTUM, false);
    walk_power(walk, model, trial, "w^2*", w * w, most * most, TERM_QUANTUM, false);
    walk_power(walk, model, trial, "w^3*", w * w * w, most * most * most, TERM_QUANTUM,
               !likelihood);
    if (likelihood) {
        struct nof1_element element = outcome(1e3, 1, (uint16_t)(model->columns + 1));
        element.quantum = TERM_QUANTUM;
        put(walk, element, "", "log", log(trial->v + tau2));
    }
    if (round > 1) {
        return;
    }
    put(walk, design(MOST_ROWS), "", "rows", (double)trial->rows);
    if (method == NOF1_TS_HE || method == NOF1_TS_SJ ||
        (method == NOF1_TS_REML && model->columns > 1)) {
        walk_power(walk, model, trial, "", 1.0, 1.0, 0x1p-70, method == NOF1_TS_REML);
    }
    if (method == NOF1_TS_HE) {
        walk_power(walk, model, trial, "v*", trial->v, LARGEST_VARIANCE, 0x1p-70, true);
        walk_power(walk, model, trial, "v^2*", trial->v * trial->v,
                   LARGEST_VARIANCE * LARGEST_VARIANCE, 0x1p-100, true);
    }
}

static void walk_round(struct walk *walk, const struct re_model *model,
                       const struct re_trial *trial, uint32_t round, double theta)
{
    if (model->release == RE_CLASS) {
        walk_classes(walk, model, trial);
    } else if (model->release == RE_OWN) {
        walk_own(walk, model, trial, round, theta);
    } else if (round == 1) {
        walk_basis(walk, model, trial);
    } else {
        walk_correction(walk, model, trial, theta);
    }
}

size_t re_layout_size(const struct re_model *model, uint32_t round)
{
    struct walk walk = {0};
    struct re_trial nobody = {.class_ = -1, .u = 1.0, .v = 1.0};
    walk_round(&walk, model, &nobody, round, 0.0);
    return walk.count;
}

nof1_rc_value re_layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                        struct nof1_layout *out)
{
    const struct re_model *model = (const struct re_model *)base;
    size_t size = re_layout_size(model, round);
    struct walk walk = {.arena = arena,
                        .element = nof1_arena_alloc(arena, size, sizeof *walk.element)};
    ENSURE(walk.element != NULL, NOF1_E_NO_MEMORY);
    struct re_trial nobody = {.class_ = -1, .u = 1.0, .v = 1.0};
    walk_round(&walk, model, &nobody, round, 0.0);
    ENSURE(!walk.failed, NOF1_E_NO_MEMORY);
    *out = (struct nof1_layout){size, walk.element};
    return NOF1_OK;
}

nof1_rc_value re_contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                            const struct nof1_trial *trial, void *scratch, double *out)
{
    const struct re_model *model = (const struct re_model *)base;
    struct re_trial numbers;
    re_trial_of(&numbers, model, trial, scratch);
    ENSURE(!numbers.left_out, NOF1_E_BUG);
    struct walk walk = {.out = out};
    walk_round(&walk, model, &numbers, round, round > 1 ? theta[0] : 0.0);
    ENSURE(!walk.failed, NOF1_E2403);
    return NOF1_OK;
}

double re_weight(const struct nof1_model *base, const double *theta, const struct nof1_trial *trial,
                 void *scratch)
{
    const struct re_model *model = (const struct re_model *)base;
    struct re_trial numbers;
    re_trial_of(&numbers, model, trial, scratch);
    if (numbers.left_out) {
        return 0.0;
    }
    double tau2 = theta == NULL ? 0.0 : theta[0];
    return 1.0 / ((model->release == RE_OWN ? numbers.v : numbers.u) + tau2);
}
