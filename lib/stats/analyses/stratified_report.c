/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From totals to the result of a stratified plan: estimates on the log scale (risk differences on
 * their own), ratios with intervals, tests. Also the search of the conditional likelihoods'
 * maximum, a safeguarded Newton iteration whose every step is a function of the history.
 */
#include "stratified.h"

#include <math.h>
#include <stdio.h>

#include <stats/distributions.h>
#include <stats/report.h>

#include "summary.h"

#define FURTHEST 40.0 /* of a log ratio */
#define CONVERGED 2e-11

/* ---- the conditional likelihoods ---- */

/* The first round gives the Mantel-Haenszel ratio, R/S. With the same ratio of exposures in every
 * trial it is the maximum already: sum x1 and sum x0 are binomial. */
static void search_start(struct strat_search *out, const struct strat_model *model,
                         const struct nof1_history *history)
{
    struct strat_sums t;
    strat_totals(&t, model, history, 1);
    *out = (struct strat_search){.estimate = NAN, .se = NAN, .step = NAN, .correction = NAN};
    out->separated = !(t.r > 0.0 && t.s > 0.0);
    out->done = out->separated;
    if (out->separated) {
        return;
    }
    out->estimate = fmin(fmax(log(t.r) - log(t.s), -FURTHEST), FURTHEST);
    out->next = out->estimate;
    double n = (double)history->counts.trials;
    double spread = n * t.log_ratio2 - t.log_ratio * t.log_ratio;
    if (model->measure == STRAT_IRR && spread <= 1e-11 * n * (t.log_ratio2 + n)) {
        double ratio = exp(t.log_ratio / n);
        double active = t.r * (1.0 + ratio), reference = t.s * (1.0 + 1.0 / ratio);
        out->se = sqrt(1.0 / active + 1.0 / reference);
        out->done = out->closed = out->converged = true;
    }
}

/* Halley's correction to a Newton step, with the information's slope from the last two rounds. */
static void correct_step(struct strat_search *out, const struct strat_sums *now,
                         const struct strat_sums *before, double apart)
{
    double slope = (now->v - before->v) / apart;
    double correction = -0.5 * slope / now->v * out->step * out->step;
    double information = now->v + slope * out->step;
    if (!isfinite(correction) || fabs(correction) > 0.25 * fabs(out->step) ||
        !(information > 0.0)) {
        return;
    }
    out->correction = correction;
    out->step += correction;
    out->se = 1.0 / sqrt(information);
}

/* The score falls: its root lies between low and high, and no step is longer than 4. */
static double bisect(double here, double low, double high)
{
    low = fmax(low, here - 4.0);
    high = fmin(high, here + 4.0);
    return low == here ? 0.5 * (here + high) : 0.5 * (here + low);
}

void strat_search(struct strat_search *out, const struct strat_model *model,
                  const struct nof1_history *history)
{
    search_start(out, model, history);
    double low = -2.0 * FURTHEST, high = 2.0 * FURTHEST;
    struct strat_sums t = {0}, before;
    for (uint32_t r = 2; r <= history->rounds && !out->done; r++) {
        before = t;
        strat_totals(&t, model, history, r);
        double here = history->round[r - 1].parameter[0];
        low = t.u >= 0.0 ? fmax(low, here) : low;
        high = t.u <= 0.0 ? fmin(high, here) : high;
        out->step = t.u / t.v;
        out->se = t.v > 0.0 ? 1.0 / sqrt(t.v) : NAN;
        out->correction = out->step;
        if (r > 2) {
            correct_step(out, &t, &before, here - history->round[r - 2].parameter[0]);
        }
        double next = here + out->step;
        bool safe = t.v > 0.0 && next >= low && next <= high && fabs(out->step) <= 4.0;
        out->estimate = out->next = safe ? next : bisect(here, low, high);
        out->done = safe && fabs(out->step) <= CONVERGED * fmax(1.0, fabs(here));
        out->converged = out->done || (safe && fabs(out->step) <= 1e-5 * out->se &&
                                       fabs(out->correction) <= 1e-10 * out->se);
    }
}

/* ---- estimates ---- */

struct strat_result {
    double estimate, se;
    bool separated, exact;
    double approximation; /* in standard errors */
};

static void result_mh(struct strat_result *out, const struct strat_model *model,
                      const struct strat_sums *t)
{
    if (model->measure == STRAT_RD) {
        out->estimate = t->u / t->weight;
        out->se = sqrt(fmax(out->estimate * t->p + t->q, 0.0)) / t->weight;
        return;
    }
    out->separated = !(t->r > 0.0 && t->s > 0.0);
    if (out->separated) {
        return;
    }
    out->estimate = log(t->r) - log(t->s);
    if (model->measure != STRAT_OR) {
        out->se = sqrt(fmax(t->v, 0.0) / t->r / t->s);
        return;
    }
    /* P + Q = 1: sum PS = S - sum QS, sum QR = R - sum PR */
    double both = (t->s - t->qs) + (t->r - t->pr);
    out->se = sqrt(0.5 * (t->pr / t->r / t->r + both / t->r / t->s + t->qs / t->s / t->s));
}

static void result_of(struct strat_result *out, const struct strat_model *model,
                      const struct nof1_history *history)
{
    struct strat_sums t;
    strat_totals(&t, model, history, 1);
    *out = (struct strat_result){.estimate = NAN, .se = NAN, .exact = true,
                                 .approximation = NAN};
    if (model->method == STRAT_MH) {
        result_mh(out, model, &t);
    } else if (model->method == STRAT_PETO) {
        out->separated = !(t.v > 0.0);
        out->estimate = out->separated ? NAN : t.u / t.v;
        out->se = out->separated ? NAN : 1.0 / sqrt(t.v);
    } else {
        struct strat_search search;
        strat_search(&search, model, history);
        out->separated = search.separated;
        out->estimate = search.estimate;
        out->se = search.se;
        out->exact = search.converged || search.separated;
        out->approximation = out->exact ? NAN : fabs(search.correction) / search.se;
    }
}

/* An interval and a test need a standard error above 0. */
static json_t *estimate_row(const struct strat_model *model, const struct strat_result *result)
{
    double se = result->se > 0.0 ? result->se : NAN;
    double z = result->estimate / se;
    double half = nof1_normal_quantile(0.5 * (1.0 - model->level)) * se;
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "term", "treatment", "estimate",
                     nof1_json_number(result->estimate), "std.error", nof1_json_number(result->se),
                     "statistic", nof1_json_number(z), "df", json_null(), "p.value",
                     nof1_json_number(nof1_t_two_sided(z, INFINITY)), "conf.low",
                     nof1_json_number(result->estimate - half), "conf.high",
                     nof1_json_number(result->estimate + half));
}

/* ---- tables ---- */

static const char *const measure_name[] = {"odds ratio", "risk ratio", "risk difference",
                                           "rate ratio"};

/* The ratio itself, or nothing for a difference. */
static json_t *ratio_table(const struct strat_model *model, const json_t *row)
{
    double x = json_number_value(json_object_get(row, "estimate"));
    bool exists = json_is_number(json_object_get(row, "estimate"));
    const json_t *low = json_object_get(row, "conf.low"), *high = json_object_get(row, "conf.high");
    bool interval = json_is_number(low) && json_is_number(high);
    return json_pack("{s:s,s:[s,s,s,s],s:[{s:s,s:o,s:o,s:o}]}", "title", "Ratio", "columns",
                     "measure", "estimate", "conf.low", "conf.high", "cells", "measure",
                     measure_name[model->measure], "estimate",
                     nof1_json_number(exists ? exp(x) : NAN), "conf.low",
                     nof1_json_number(interval ? exp(json_number_value(low)) : NAN), "conf.high",
                     nof1_json_number(interval ? exp(json_number_value(high)) : NAN));
}

static void add_test(json_t *cells, const char *name, double statistic, double df)
{
    bool exists = isfinite(statistic) && df > 0.0;
    json_array_append_new(
        cells,
        json_pack("{s:s,s:o,s:o,s:o}", "test", name, "statistic",
                  nof1_json_number(exists ? statistic : NAN), "df", nof1_json_number(df), "p.value",
                  nof1_json_number(exists ? nof1_chi_square_upper(statistic, df) : NAN)));
}

static json_t *tests_table(const struct strat_model *model, const struct nof1_history *history)
{
    struct strat_sums t, later = {0};
    strat_totals(&t, model, history, 1);
    json_t *cells = json_array();
    double u = t.r - t.s; /* a less its mean, summed */
    if (model->method == STRAT_MH && (model->measure == STRAT_OR || model->measure == STRAT_IRR)) {
        add_test(cells,
                 model->measure == STRAT_OR ? "Cochran-Mantel-Haenszel" : "Mantel-Haenszel",
                 t.v > 0.0 ? u * u / t.v : NAN, 1.0);
    }
    if (model->homogeneity && model->method == STRAT_PETO) {
        double q = t.v > 0.0 ? fmax(t.square - t.u * t.u / t.v, 0.0) : NAN;
        add_test(cells, "Q (homogeneity)", q, t.informative - 1.0);
    }
    if (model->homogeneity && model->method == STRAT_MH && history->rounds > 1) {
        strat_totals(&later, model, history, 2);
        double df = later.informative - 1.0;
        add_test(cells, "Breslow-Day (homogeneity)", later.square, df);
        add_test(cells, "Tarone (homogeneity)",
                 fmax(later.square - later.u * later.u / later.v, 0.0), df);
    }
    return json_pack("{s:s,s:[s,s,s,s],s:o}", "title", "Tests", "columns", "test", "statistic",
                     "df", "p.value", "cells", cells);
}

/* ---- words ---- */

static const char *const scale_name[] = {"log odds ratio", "log risk ratio", "risk difference",
                                         "log rate ratio"};

static const char *model_text(const struct strat_model *model)
{
    if (model->method == STRAT_PETO) {
        return "log odds ratio, Peto's one-step method, strata: trials";
    }
    if (model->method == STRAT_CONDITIONAL) {
        return model->measure == STRAT_OR
                   ? "log odds ratio, exact conditional logistic regression, strata: trials"
                   : "log rate ratio, conditional Poisson regression, strata: trials";
    }
    static const char *const text[] = {"log odds ratio, Mantel-Haenszel, strata: trials",
                                       "log risk ratio, Mantel-Haenszel, strata: trials",
                                       "risk difference, Mantel-Haenszel, strata: trials",
                                       "log rate ratio, Mantel-Haenszel, strata: trials"};
    return text[model->measure];
}

static json_t *estimand(const struct strat_model *model, struct nof1_arena *arena)
{
    static const char *const weights[] = {"Mantel-Haenszel", "hypergeometric variance",
                                          "conditional likelihood"};
    const struct nof1_study *study = model->base.study;
    const char *sentence = nof1_arena_printf(
        arena, "%s (active versus reference) within patients%s, taken as the same in all of them%s",
        scale_name[model->measure], model->any ? " of any event on a treatment" : "",
        summary_direction(arena, study, summary_benefit(study), "0"));
    return json_pack("{s:s,s:s,s:s,s:s}", "sentence", sentence == NULL ? "" : sentence,
                     "population", "patients with both treatments observed", "weights",
                     weights[model->method], "scale", scale_name[model->measure]);
}

static void warn_none(json_t *list, const struct strat_model *model, const struct strat_sums *t,
                      const struct strat_result *result)
{
    bool ratio = model->method != STRAT_PETO && model->measure != STRAT_RD;
    const char *none = "no trial tells the ratio: there is no event, or nothing but events, on "
                       "both treatments of every trial";
    nof1_warn(list, ratio && t->r <= 0.0 && t->s <= 0.0, "no_information", none);
    nof1_warn(list, model->method == STRAT_PETO && result->separated, "no_information", none);
    nof1_warn(list, ratio && t->r <= 0.0 && t->s > 0.0, "separation",
              "separation: the ratio is estimated as 0; measure: RD and method: peto exist");
    nof1_warn(list, ratio && t->r > 0.0 && t->s <= 0.0, "separation",
              "separation: the ratio is estimated as infinite; measure: RD and method: peto "
              "exist");
    nof1_warn(list, model->measure == STRAT_RD && !(result->se > 0.0), "zero_variance",
              "no trial has a variance: no test and no interval");
}

static json_t *warnings(const struct strat_model *model, const struct nof1_history *history,
                        const struct strat_result *result)
{
    json_t *list = json_array();
    struct strat_sums t;
    strat_totals(&t, model, history, 1);
    warn_none(list, model, &t, result);
    nof1_warn_left_out(list, history, model->base.study,
                       model->exposure < 0 ? "only one of the treatments observed"
                                           : "no exposure to one of the treatments");
    nof1_warn(list, history->counts.trials == 1, "one_trial",
              "one trial in all: the estimate is this patient's");
    nof1_warn(list, !result->exact, "approximate",
              "the rounds ended near the conditional likelihood's maximum, within "
              "fit.approximation_se standard errors; a further round costs two numbers");
    return list;
}

/* ---- the result ---- */

static json_t *fit_json(const struct nof1_history *history, const struct strat_result *result,
                        const struct strat_sums *total)
{
    return json_pack("{s:o,s:I,s:I,s:I,s:b,s:b,s:b,s:o}", "nobs", nof1_json_number(total->rows),
                     "trials", (json_int_t)history->counts.trials, "sites",
                     (json_int_t)history->counts.sites, "rounds", (json_int_t)history->rounds,
                     "converged", result->exact, "exact", result->exact, "separation",
                     result->separated, "approximation_se",
                     nof1_json_number(result->approximation));
}

nof1_rc_value strat_report(const struct nof1_model *base, const struct nof1_history *history,
                           struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    const struct strat_model *model = (const struct strat_model *)base;
    if (history->rounds == 0 || history->counts.trials == 0) {
        return nof1_fail(error, NOF1_E_MODEL, "no trial has both treatments observed");
    }
    struct strat_result result;
    struct strat_sums total;
    result_of(&result, model, history);
    strat_totals(&total, model, history, 1);
    json_t *row = estimate_row(model, &result);
    ENSURE(row != NULL, NOF1_E_NO_MEMORY);
    json_t *tables = json_array();
    if (model->measure != STRAT_RD) {
        json_array_append_new(tables, ratio_table(model, row));
    }
    json_t *tests = tests_table(model, history);
    if (json_array_size(json_object_get(tests, "cells")) > 0) {
        json_array_append(tables, tests);
    }
    json_decref(tests);
    *out = json_pack("{s:[o],s:o,s:o,s:o,s:s,s:s,s:s,s:o}", "estimates", row, "tables", tables,
                     "fit", fit_json(history, &result, &total), "estimand", estimand(model, arena),
                     "form", base->form, "measure", measure_name[model->measure], "model",
                     model_text(model), "warnings", warnings(model, history, &result));
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}
