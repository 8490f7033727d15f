/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Binary outcomes, counts and adverse events with every trial its own stratum
 * (docs/statistics.md, `stratified`): Mantel-Haenszel odds ratio, risk ratio, risk difference and
 * rate ratio, Peto's odds ratio, conditional logistic and conditional Poisson regression. Levels of
 * patients cancel, any number of rows will do, zero cells need no correction. This file reads the
 * plan; it must never look at more than one trial.
 */
#include "stratified.h"

#include <math.h>
#include <string.h>

#include <base/document.h>
#include <stats/options.h>
#include <stats/registry.h>
#include <stats/series.h>

#include "summary.h"

#define LAB_ROUNDS 40

static const struct nof1_option options[] = {
    {"measure", NOF1_OPT_CHOICE, "auto|OR|RR|RD|IRR", "auto", 0, 0,
     "odds ratio, risk ratio, risk difference, rate ratio; auto: OR of a binary outcome, IRR of a "
     "count"},
    {"method", NOF1_OPT_CHOICE, "mantel_haenszel|peto|conditional", "mantel_haenszel", 0, 0,
     "mantel_haenszel: every measure; peto: OR; conditional: OR (exact conditional logistic) and "
     "IRR (conditional Poisson)"},
    {"events", NOF1_OPT_CHOICE, "rows|any", "rows", 0, 0,
     "rows: every row counts; any: one answer an arm, whether any of its rows had an event (OR, "
     "RR, RD; also of counts)"},
    {"exposure", NOF1_OPT_NAMES, "a numeric charter covariate", "[]", 0, 0,
     "IRR: a row's exposure, e.g. days at risk; without it each row is one unit"},
    {"homogeneity", NOF1_OPT_FLAG, NULL, "false", 0, 0,
     "test that the ratio is the same in all trials: Breslow-Day and Tarone (mantel_haenszel OR, a "
     "second round) or Peto's Q"},
    {"rounds", NOF1_OPT_NUMBER, "2 to 10", "3", 2, 10,
     "conditional: rounds at most, charged up front; an open lab iterates until convergence"},
    {"benefit", NOF1_OPT_CHOICE, "charter|higher|lower", "charter", 0, 0,
     "which direction of the outcome is better"},
    {"level", NOF1_OPT_NUMBER, "confidence level", "0.95", 0.5, 0.9999, "confidence level"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

/* ---- the plan ---- */

static nof1_rc read_measure(struct strat_model *model, const struct nof1_study *study,
                            struct nof1_error *error)
{
    static const char *const name[] = {"OR", "RR", "RD", "IRR"};
    const struct nof1_outcome *outcome = &study->charter->outcome[study->plan->outcome];
    const char *text = summary_choice(study, "measure");
    bool count = outcome->kind == NOF1_COUNT;
    model->any = strcmp(summary_choice(study, "events"), "any") == 0;
    if (!count && outcome->kind != NOF1_BINARY) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "outcome: %s is neither binary nor a count; use mixed_model or "
                         "summary_test", outcome->name);
    }
    model->measure = count && !model->any ? STRAT_IRR : STRAT_OR;
    for (int m = STRAT_OR; m <= STRAT_IRR; m++) {
        if (strcmp(text, name[m]) == 0) {
            model->measure = (enum strat_measure)m;
        }
    }
    if (model->measure != STRAT_IRR && count && !model->any) {
        return nof1_fail(error, NOF1_E_PLAN, "measure: %s of a count needs events: any; or use IRR",
                         text);
    }
    if (model->measure == STRAT_IRR && model->any) {
        return nof1_fail(error, NOF1_E_PLAN, "events: IRR counts events; use events: rows");
    }
    model->most = SUMMARY_MOST_ROWS * fmax(outcome->upper, 1.0);
    return NOF1_OK;
}

static nof1_rc read_method(struct strat_model *model, const struct nof1_study *study,
                           struct nof1_error *error)
{
    const char *text = summary_choice(study, "method");
    bool ratio = model->measure == STRAT_OR || model->measure == STRAT_IRR;
    model->method = strcmp(text, "peto") == 0          ? STRAT_PETO
                    : strcmp(text, "conditional") == 0 ? STRAT_CONDITIONAL
                                                       : STRAT_MH;
    if (model->method == STRAT_PETO && model->measure != STRAT_OR) {
        return nof1_fail(error, NOF1_E_PLAN, "method: peto estimates OR only; use mantel_haenszel");
    }
    if (model->method == STRAT_CONDITIONAL && !ratio) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "method: conditional estimates OR and IRR only; use mantel_haenszel");
    }
    model->homogeneity = strcmp(summary_choice(study, "homogeneity"), "true") == 0;
    if (model->homogeneity &&
        (model->measure != STRAT_OR || model->method == STRAT_CONDITIONAL)) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "homogeneity: there is a test for OR by mantel_haenszel or peto only; use "
                         "homogeneity: false");
    }
    return NOF1_OK;
}

static nof1_rc read_exposure(struct strat_model *model, const struct nof1_study *study,
                             struct nof1_error *error)
{
    const struct nof1_charter *charter = study->charter;
    const struct nof1_node *list = nof1_node_get(study->plan->options, "exposure");
    model->exposure = -1;
    if (list == NULL || list->items == 0) {
        return NOF1_OK;
    }
    const char *name = list->item[0].text;
    if (list->items > 1) {
        return nof1_fail(error, NOF1_E_PLAN, "exposure: one covariate expected");
    }
    if (model->measure != STRAT_IRR) {
        return nof1_fail(error, NOF1_E_PLAN, "exposure: for measure: IRR only");
    }
    for (size_t c = 0; c < charter->covariates; c++) {
        if (strcmp(charter->covariate[c].name, name) == 0) {
            model->exposure = (int)c;
        }
    }
    if (model->exposure < 0 || charter->covariate[model->exposure].kind != NOF1_NUMERIC) {
        return nof1_fail(error, NOF1_E_PLAN, "exposure: the charter has no numeric covariate %s",
                         name);
    }
    return NOF1_OK;
}

static nof1_rc read_rounds(struct strat_model *model, const struct nof1_study *study,
                           struct nof1_error *error)
{
    size_t rounds;
    TRY(nof1_option_count(&rounds, &nof1_stratified, study->plan->options, "rounds", error));
    model->base.max_rounds = model->homogeneity && model->method == STRAT_MH ? 2 : 1;
    if (model->method == STRAT_CONDITIONAL) {
        model->base.max_rounds = study->charter->limits.open ? LAB_ROUNDS : (uint32_t)rounds;
    }
    return NOF1_OK;
}

/* Homogeneity, rounds and what is made of the totals do not matter: elements have names. */
static nof1_rc name_sums(struct strat_model *model, struct nof1_arena *arena)
{
    static const char *const measure[] = {"OR", "RR", "RD", "IRR"};
    const struct nof1_charter *charter = model->base.study->charter;
    model->base.sums = nof1_arena_printf(
        arena, "%s of trials as strata, %s%s%s%s", measure[model->measure], model->base.form,
        model->any ? ", any event" : "", model->exposure < 0 ? "" : ", exposure ",
        model->exposure < 0 ? "" : charter->covariate[model->exposure].name);
    ENSURE(model->base.sums != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    static const char *const all[] = {"all"};
    static const char *const form[] = {"mantel_haenszel", "peto", "conditional"};
    struct strat_model *model = nof1_arena_alloc(arena, 1, sizeof *model);
    ENSURE(model != NULL, NOF1_E_NO_MEMORY);
    TRY(read_measure(model, study, error));
    TRY(read_method(model, study, error));
    TRY(read_exposure(model, study, error));
    TRY(nof1_option_number(&model->level, &nof1_stratified, study->plan->options, "level", error));
    model->base = (struct nof1_model){.analysis = &nof1_stratified,
                                      .study = study,
                                      .form = form[model->method],
                                      .groups = 1,
                                      .group = all,
                                      .scratch = 64,
                                      .scratch_row = NOF1_SERIES_SCRATCH_ROW,
                                      .fixed_parameters = 1};
    TRY(read_rounds(model, study, error));
    size_t first = strat_size(model, 1), later = strat_size(model, 2);
    model->base.max_elements = first > later ? first : later;
    *out = &model->base;
    return name_sums(model, arena);
}

/* ---- rounds ---- */

static int group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    struct strat_table table;
    return strat_table_of(&table, (const struct strat_model *)base, trial, scratch)
               ? 0
               : NOF1_LEFT_OUT;
}

static nof1_rc_value layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                            struct nof1_layout *out)
{
    const struct strat_model *model = (const struct strat_model *)base;
    struct strat_sums sums = {0};
    struct summary_walk walk = {.arena = arena,
                                .element = nof1_arena_alloc(arena, strat_size(model, round),
                                                            sizeof *walk.element)};
    ENSURE(walk.element != NULL, NOF1_E_NO_MEMORY);
    strat_walk(&walk, model, round, &sums);
    ENSURE(!walk.failed, NOF1_E_NO_MEMORY);
    *out = (struct nof1_layout){walk.count, walk.element};
    return NOF1_OK;
}

static nof1_rc_value contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                const struct nof1_trial *trial, void *scratch, double *out)
{
    const struct strat_model *model = (const struct strat_model *)base;
    struct strat_table table;
    struct strat_sums sums;
    struct summary_walk walk = {.out = out};
    ENSURE(strat_table_of(&table, model, trial, scratch), NOF1_E_BUG);
    strat_terms(&sums, model, &table, round, round > 1 ? theta[0] : 0.0);
    strat_walk(&walk, model, round, &sums);
    ENSURE(!walk.failed, NOF1_E2403);
    return NOF1_OK;
}

static nof1_rc next_at(struct nof1_next *out, struct nof1_arena *arena, double theta)
{
    double *parameter = nof1_arena_alloc(arena, 1, sizeof *parameter);
    ENSURE(parameter != NULL, NOF1_E_NO_MEMORY);
    *parameter = theta;
    *out = (struct nof1_next){false, 1, parameter};
    return NOF1_OK;
}

static nof1_rc_value advance(const struct nof1_model *base, const struct nof1_history *history,
                             struct nof1_arena *arena, struct nof1_next *out,
                             struct nof1_error *error)
{
    (void)error;
    const struct strat_model *model = (const struct strat_model *)base;
    *out = (struct nof1_next){.done = history->rounds >= base->max_rounds};
    if (history->rounds == 0 || out->done) {
        return NOF1_OK;
    }
    if (model->method == STRAT_CONDITIONAL) {
        struct strat_search search;
        strat_search(&search, model, history);
        out->done = search.done;
        return search.done ? NOF1_OK : next_at(out, arena, search.next);
    }
    struct strat_sums total;
    strat_totals(&total, model, history, 1);
    out->done = !(total.r > 0.0 && total.s > 0.0);
    return out->done ? NOF1_OK : next_at(out, arena, log(total.r) - log(total.s));
}

/* The log ratio. */
static bool in_domain(const struct nof1_model *base, const double *theta, size_t parameters)
{
    (void)base;
    return parameters == 0 || (parameters == 1 && fabs(theta[0]) <= 100.0);
}

/* By exposure, as Mantel-Haenszel weights are under no effect. */
static double weight(const struct nof1_model *base, const double *theta,
                     const struct nof1_trial *trial, void *scratch)
{
    (void)theta;
    struct strat_table t;
    return strat_table_of(&t, (const struct strat_model *)base, trial, scratch)
               ? t.n1 * t.n0 / (t.n1 + t.n0)
               : 0.0;
}

const struct nof1_analysis nof1_stratified = {
    .id = "stratified",
    .version = 1,
    .summary = "events with trials as strata: Mantel-Haenszel, Peto, conditional logit and Poisson",
    .option = options,
    .prepare = prepare,
    .group_of = group_of,
    .layout = layout,
    .contribute = contribute,
    .advance = advance,
    .in_domain = in_domain,
    .weight = weight,
    .report = strat_report,
};
