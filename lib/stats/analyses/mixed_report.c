/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The fitted mixed model as JSON, with broom's names and lme4's constants (docs/interfaces.md).
 * Never writes a number that is not finite: it is null and a warning says why.
 */
#include <base/json.h>
#include <math.h>
#include <stats/distributions.h>
#include <stats/report.h>
#include <stdio.h>
#include <string.h>

#include "mixed.h"

struct writer {
    struct nof1_arena *arena;
    const struct mixed_model *model;
    const struct nof1_history *history;
    const struct mixed_fit *fit;
    struct nof1_report report;
};

/* The matrix that takes the coefficients of centred covariates to those of the covariates as they
 * are: the intercept (or treatment) loses centre times the slope. */
static nof1_rc uncentre_of(double **out, const struct writer *w)
{
    size_t p = w->fit->used;
    *out = nof1_arena_alloc(w->arena, p * p + 1, sizeof **out);
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < p; i++) {
        enum mixed_kind kind = w->model->column[w->fit->use[i]].kind;
        for (size_t j = 0; j < p; j++) {
            const struct mixed_column *slope = &w->model->column[w->fit->use[j]];
            bool same = w->model->column[w->fit->use[i]].arm == slope->arm;
            bool moves = slope->by_treatment ? kind == MIXED_TREATMENT && same
                                             : kind == MIXED_INTERCEPT;
            (*out)[i * p + j] = i == j ? 1 : moves ? -slope->centre : 0;
        }
    }
    return NOF1_OK;
}

static nof1_rc write_estimates(struct writer *w, json_t *out)
{
    const struct mixed_fit *fit = w->fit;
    size_t p = fit->used;
    double *covariance = nof1_arena_alloc(w->arena, p * p + p + 1, sizeof *covariance);
    ENSURE(covariance != NULL, NOF1_E_NO_MEMORY);
    double *df = covariance + p * p, *uncentre;
    TRY(uncentre_of(&uncentre, w));
    if (w->model->df == MIXED_SATTERTHWAITE) {
        TRY(nof1_gaussian_satterthwaite(df, w->arena, &fit->sums, &fit->point, uncentre));
    }
    if (w->model->df == MIXED_KENWARD_ROGER) {
        TRY(nof1_gaussian_kenward_roger(covariance, df, w->arena, &fit->sums, &fit->point,
                                        uncentre));
    } else {
        TRY(nof1_gaussian_congruence(covariance, fit->point.c_inverse, uncentre, p, w->arena));
        for (size_t i = 0; i < p * p; i++) {
            covariance[i] *= fit->point.sigma2;
        }
    }
    double scale = fit->sigma2 / fit->point.sigma2; /* of the step that was not released */
    const struct nof1_study *study = w->model->base.study;
    double centre = study->charter->outcome[study->plan->outcome].centre;
    json_t *rows = json_array();
    for (size_t i = 0; i < p; i++) {
        const struct mixed_column *column = &w->model->column[fit->use[i]];
        double estimate = column->kind == MIXED_INTERCEPT ? centre + fit->shift : 0;
        for (size_t j = 0; j < p; j++) {
            estimate += uncentre[i * p + j] * fit->beta[j];
        }
        double variance = covariance[i * p + i] * scale;
        double freedom = w->model->df == MIXED_Z ? INFINITY : df[i];
        nof1_warn(w->report.warnings,
                  column->kind == MIXED_PREVIOUS && variance > 0 &&
                      nof1_t_two_sided(estimate / sqrt(variance), freedom) < 0.1,
                  "carryover_suspected",
                  "the treatment of the period before seems to matter (p < 0.1): carryover is "
                  "suspected, and an analysis without it may be biased");
        nof1_report_append(&w->report, rows,
                           nof1_report_estimate(&w->report, column->name, estimate,
                                                variance >= 0 ? sqrt(variance) : NAN,
                                                freedom, w->model->level));
    }
    nof1_report_put(&w->report, out, "estimates", rows);
    TRY(mixed_tables(out, w->arena, w->model, fit, uncentre));
    if (w->model->test_variances || w->model->test_terms) {
        TRY(mixed_ratio_tests(out, w->arena, w->model, fit, uncentre));
    }
    return w->model->profile
               ? mixed_profile(out, w->arena, w->model, fit, uncentre, centre + fit->shift)
               : NOF1_OK;
}

static const char *effect_name(const struct mixed_model *m, struct nof1_arena *arena, size_t k)
{
    const char *name = k == 0 ? "(Intercept)"
                              : nof1_arena_printf(arena, "treatment%s", mixed_arm_suffix(m, k));
    return name == NULL ? "treatment" : name;
}

/* The free covariance of a trial's effects: variances, then covariances. */
static void write_block(struct writer *w, json_t *rows)
{
    const struct mixed_model *m = w->model;
    const struct mixed_fit *fit = w->fit;
    const double *g = fit->gamma;
    size_t effects = fit->shape.effects;
    for (size_t k = 0; k < effects; k++) {
        nof1_report_component(&w->report, rows, "trial", effect_name(m, w->arena, k), NULL,
                              fit->sigma2 * g[k * (k + 3) / 2], 0);
    }
    bool exists = true;
    for (size_t k = 1; k < effects; k++) {
        for (size_t l = 0; l < k; l++) {
            double product = sqrt(g[k * (k + 3) / 2]) * sqrt(g[l * (l + 3) / 2]);
            double covariance = g[k * (k + 1) / 2 + l];
            double correlation = product > 0 ? fmax(-1, fmin(1, covariance / product)) : NAN;
            exists = exists && isfinite(correlation);
            nof1_report_component(&w->report, rows, "trial", effect_name(m, w->arena, l),
                                  effect_name(m, w->arena, k), fit->sigma2 * covariance,
                                  correlation);
        }
    }
    nof1_warn(w->report.warnings, !exists, "correlation",
              "a variance is zero: the correlation does not exist");
}

static void write_residuals(struct writer *w, json_t *rows)
{
    const struct mixed_fit *fit = w->fit;
    size_t first = nof1_gaussian_terms(&fit->shape) - fit->shape.ratios;
    if (fit->shape.ratios == 0) {
        nof1_report_component(&w->report, rows, "Residual", NULL, NULL, fit->sigma2, 0);
        return;
    }
    for (size_t k = 0; k <= fit->shape.ratios; k++) {
        nof1_report_component(&w->report, rows, "Residual", mixed_arm_name(w->model, k), NULL,
                              fit->sigma2 * (k == 0 ? 1 : 1 + fit->gamma[first + k - 1]), 0);
    }
}

static void write_components(struct writer *w, json_t *out)
{
    const struct mixed_fit *fit = w->fit;
    json_t *rows = json_array();
    size_t at = nof1_gaussian_block(&fit->shape);
    if (w->model->form == MIXED_CYCLES || w->model->form == MIXED_POOL) {
        nof1_report_component(&w->report, rows, "trial", "treatment", NULL,
                              fit->sigma2 * fit->gamma[0], 0);
    } else {
        write_block(w, rows);
    }
    if (fit->shape.by_cycle) {
        nof1_report_component(&w->report, rows, "trial:cycle", "(Intercept)", NULL,
                              fit->sigma2 * fit->gamma[at++], 0);
    }
    if (fit->shape.by_arm) {
        nof1_report_component(&w->report, rows, "trial:treatment", "(Intercept)", NULL,
                              fit->sigma2 * fit->gamma[at], 0);
    }
    write_residuals(w, rows);
    if (fit->shape.correlated) {
        nof1_report_number(&w->report, out, "residual_correlation",
                           fit->gamma[w->model->terms - 1]);
    }
    nof1_report_put(&w->report, out, "variance_components", rows);
}

static void write_fit(struct writer *w, json_t *out)
{
    const struct mixed_fit *fit = w->fit;
    const struct nof1_counts *counts = &w->history->counts;
    double parameters = (double)(fit->used + w->model->terms + 1) + fit->absorbed;
    double f = fit->f + fit->constant, rows = fit->point.rows + fit->absorbed;
    json_t *o = json_object();
    nof1_report_put(&w->report, o, "nobs", json_integer((json_int_t)llround(rows)));
    nof1_report_put(&w->report, o, "trials", json_integer((json_int_t)counts->trials));
    nof1_report_put(&w->report, o, "sites", json_integer((json_int_t)counts->sites));
    nof1_report_number(&w->report, o, "logLik", -f / 2);
    nof1_report_number(&w->report, o, "deviance",
                       fit->absorbed > 0 ? NAN
                       : w->model->reml  ? fit->deviance
                                         : f);
    nof1_report_put(&w->report, o, "REMLcrit", w->model->reml ? nof1_json_number(f) : json_null());
    nof1_report_number(&w->report, o, "AIC", f + 2 * parameters);
    nof1_report_number(&w->report, o, "BIC", f + log(rows) * parameters);
    nof1_report_put(&w->report, o, "rounds", json_integer((json_int_t)w->history->rounds));
    nof1_report_put(&w->report, o, "converged", json_boolean(fit->converged));
    nof1_report_put(&w->report, o, "boundary", json_boolean(fit->boundary > 0 || fit->edge));
    nof1_report_number(&w->report, o, "gradient", sqrt(fit->decrement));
    nof1_report_put(&w->report, o, "boundary_derivative",
                    fit->boundary > 0 ? nof1_json_number(fit->derivative) : json_null());
    nof1_report_put(&w->report, o, "exact",
                    json_boolean(fit->approximation == 0 && fit->converged));
    nof1_report_number(&w->report, o, "approximation_se", fit->approximation);
    nof1_report_put(&w->report, out, "fit", o);
}

static void write_warnings(struct writer *w)
{
    const struct mixed_fit *fit = w->fit;
    nof1_warn(w->report.warnings, fit->boundary > 0, "boundary",
              "the estimated covariance of the random effects is singular (a variance of zero or a "
              "correlation of one)");
    nof1_warn(w->report.warnings, fit->edge, "correlation_limit",
              "the serial correlation of the residuals is at the limit of its range: standard "
              "errors do not hold; write residual: iid, or another random part");
    nof1_warn(
        w->report.warnings, w->model->df_chosen && w->model->df == MIXED_Z, "normal",
        w->model->shape.correlated
            ? "correlated residuals: intervals and p values are normal (z), somewhat too "
              "narrow with few patients"
            : "maximum likelihood: intervals and p values are normal (z), somewhat too narrow "
              "with few patients; method: REML has kenward_roger");
    if (strcmp(w->model->rule, "exclude") == 0) {
        nof1_warn_left_out(w->report.warnings, w->history, w->model->base.study,
                           "not in a complete class");
    }
    double level = fit->point.rows * fit->shift * fit->shift;
    bool sums = w->model->form == MIXED_CLASS || w->model->form == MIXED_SERIAL;
    nof1_warn(w->report.warnings, sums && level > 1e8 * fit->point.q, "centre",
              "the charter's centre is so far from the outcomes that digits of the variances are "
              "lost; correct it, or write incomplete: score");
    nof1_warn(
        w->report.warnings, fit->approximation > 0, "approximate",
        "sums are rounded, or the rounds ended before the optimum was reached: the effect may "
        "differ from it by about approximation_se standard errors");
    nof1_warn(
        w->report.warnings, fit->absorbed > 0, "absorbed",
        w->model->centred
            ? "sites are fixed effects, taken off at each site: their estimates and the "
              "maximum-likelihood deviance are not given"
            : "trials (and cycles) are fixed effects here: the maximum-likelihood deviance is "
              "not given");
}

/* previous_treatment is a sensitivity analysis: what it assumes, and which plan is the main one. */
static void write_carryover(struct writer *w, json_t *estimand)
{
    for (size_t c = 0; c < w->model->columns; c++) {
        if (w->model->column[c].kind != MIXED_PREVIOUS) {
            continue;
        }
        nof1_report_put(
            &w->report, estimand, "note",
            json_string("adjusted for the treatment of the period before (none in the first), a "
                        "carryover of one period that is the same in all patients"));
        nof1_warn(
            w->report.warnings, true, "carryover",
            "sensitivity analysis: an estimated carryover costs precision and has little power "
            "to show itself; the main analysis is the same plan without previous_treatment, with "
            "washout or the first part of each period left out");
        return;
    }
}

static void write_estimand(struct writer *w, json_t *out)
{
    const struct nof1_study *study = w->model->base.study;
    const struct nof1_charter *charter = study->charter;
    char text[512];
    json_t *o = json_object();
    int length = snprintf(text, sizeof text, "mean difference in %s, treatment %s",
                          study->plan->outcome_name, charter->treatment[study->plan->active]);
    for (size_t k = 0; k < study->plan->others && length < (int)sizeof text - 80; k++) {
        length += snprintf(text + length, sizeof text - (size_t)length, "%s%s",
                           k + 1 == study->plan->others ? " and " : ", ",
                           charter->treatment[study->plan->other[k]]);
    }
    if (length < (int)sizeof text) {
        snprintf(text + length, sizeof text - (size_t)length, " minus %s",
                 charter->treatment[study->plan->reference]);
    }
    nof1_report_put(&w->report, o, "sentence", json_string(text));
    nof1_report_put(
        &w->report, o, "population",
        json_string(w->model->effects > 1 || w->model->shape.by_arm ||
                            w->model->form == MIXED_CYCLES || w->model->form == MIXED_POOL
                        ? "patients of whom the series is a sample; effects vary between patients"
                        : "the patients of the series; one effect common to all"));
    nof1_report_put(&w->report, o, "weights",
                    json_string("information of each trial under the fitted model"));
    write_carryover(w, o);
    nof1_report_put(&w->report, out, "estimand", o);
}

nof1_rc_value mixed_report_json(json_t **out, struct nof1_arena *arena,
                                const struct mixed_model *model, const struct nof1_history *history,
                                const struct mixed_fit *fit)
{
    static const char *const df_name[] = {"z", "satterthwaite", "kenward_roger"};
    struct writer w = {arena, model, history, fit, {json_array(), false}};
    json_t *o = json_object();
    ENSURE(o != NULL && w.report.warnings != NULL, NOF1_E_NO_MEMORY);
    nof1_report_put(&w.report, o, "analysis", json_string("mixed_model"));
    nof1_report_put(&w.report, o, "form", json_string(model->base.form));
    nof1_report_put(&w.report, o, "model", json_string(model->formula));
    nof1_report_put(&w.report, o, "method", json_string(model->reml ? "REML" : "ML"));
    nof1_report_put(&w.report, o, "df_method", json_string(df_name[model->df]));
    if (model->profile) {
        nof1_report_put(&w.report, o, "interval_method",
                        json_string("profile of the maximum-likelihood deviance"));
    }
    nof1_rc_value rc = write_estimates(&w, o);
    write_components(&w, o);
    write_fit(&w, o);
    write_warnings(&w);
    write_estimand(&w, o);
    nof1_report_put(&w.report, o, "warnings", w.report.warnings);
    if (rc != NOF1_OK || w.report.failed) {
        json_decref(o);
        return rc != NOF1_OK ? rc : NOF1_E_NO_MEMORY;
    }
    *out = o;
    return NOF1_OK;
}
