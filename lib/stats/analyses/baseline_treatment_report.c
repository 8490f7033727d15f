/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The fitted baseline-treatment model as JSON, with broom's names and the constants of nlme and lme4
 * (docs/interfaces.md). Never writes a number that is not finite: it is null and a warning says why.
 */
#include <base/json.h>
#include <math.h>
#include <stats/distributions.h>
#include <stdio.h>

#include "baseline_treatment.h"

struct writer {
    struct nof1_arena *arena;
    const struct bt_model *model;
    const struct nof1_history *history;
    const struct bt_fit *fit;
    json_t *warnings;
    bool failed;
};

static void put(struct writer *w, json_t *object, const char *key, json_t *value)
{
    w->failed = w->failed || value == NULL || json_object_set_new(object, key, value) != 0;
}

static void put_number(struct writer *w, json_t *object, const char *key, double value)
{
    put(w, object, key, nof1_json_number(value));
}

static void append(struct writer *w, json_t *array, json_t *value)
{
    w->failed = w->failed || value == NULL || json_array_append_new(array, value) != 0;
}

static void warn(struct writer *w, const char *code, const char *text)
{
    json_t *warning = json_object();
    put(w, warning, "code", json_string(code));
    put(w, warning, "text", json_string(text));
    append(w, w->warnings, warning);
}

static nof1_rc inference(double *variance, double *df, struct writer *w)
{
    const struct bt_fit *fit = w->fit;
    size_t p = w->model->columns;
    double covariance[BT_COLUMNS * BT_COLUMNS];
    double scale = fit->sigma2 / fit->point.sigma2; /* of the step that was not released */
    for (size_t i = 0; i < p; i++) {
        df[i] = INFINITY;
        variance[i] = fit->point.c_inverse[i * p + i] * fit->sigma2;
    }
    if (w->model->df == BT_SATTERTHWAITE) {
        return nof1_gaussian_satterthwaite(df, w->arena, &fit->sums, &fit->point, NULL);
    }
    if (w->model->df != BT_KENWARD_ROGER) {
        return NOF1_OK;
    }
    TRY(nof1_gaussian_kenward_roger(covariance, df, w->arena, &fit->sums, &fit->point, NULL));
    for (size_t i = 0; i < p; i++) {
        variance[i] = covariance[i * p + i] * scale;
    }
    return NOF1_OK;
}

static nof1_rc write_estimates(struct writer *w, json_t *out)
{
    const struct bt_model *m = w->model;
    const struct nof1_study *study = m->base.study;
    double variance[BT_COLUMNS], df[BT_COLUMNS];
    TRY(inference(variance, df, w));
    json_t *rows = json_array();
    for (size_t i = 0; i < m->columns; i++) {
        json_t *row = json_object();
        double centre =
            m->column[i] == BT_INTERCEPT ? study->charter->outcome[study->plan->outcome].centre : 0;
        double estimate = w->fit->beta[i] + centre;
        double error = variance[i] >= 0 ? sqrt(variance[i]) : NAN;
        double reach = nof1_t_quantile((1 - m->level) / 2, df[i]) * error;
        put(w, row, "term", json_string(bt_column_name[m->column[i]]));
        put_number(w, row, "estimate", estimate);
        put_number(w, row, "std.error", error);
        put_number(w, row, "statistic", estimate / error);
        put_number(w, row, "df", df[i]); /* null: the normal distribution */
        put_number(w, row, "p.value", nof1_t_two_sided(estimate / error, df[i]));
        put_number(w, row, "conf.low", estimate - reach);
        put_number(w, row, "conf.high", estimate + reach);
        append(w, rows, row);
    }
    put(w, out, "estimates", rows);
    return NOF1_OK;
}

static void add_component(struct writer *w, json_t *rows, const char *group, const char *term1,
                          const char *term2, double estimate, double correlation)
{
    json_t *row = json_object();
    put(w, row, "group", json_string(group));
    put(w, row, "term1", term1 == NULL ? json_null() : json_string(term1));
    put(w, row, "term2", term2 == NULL ? json_null() : json_string(term2));
    put_number(w, row, "estimate", estimate);
    if (term2 == NULL) {
        put_number(w, row, "sd", sqrt(fmax(0, estimate)));
    } else {
        put_number(w, row, "cor", correlation);
    }
    append(w, rows, row);
}

static void write_components(struct writer *w, json_t *out)
{
    const struct bt_model *m = w->model;
    const double *g = w->fit->gamma, sigma2 = w->fit->sigma2;
    json_t *rows = json_array();
    bool missing = false;
    for (size_t i = 0; i < m->effects; i++) {
        double own = g[i * (i + 1) / 2 + i];
        add_component(w, rows, "trial", bt_column_name[m->effect[i]], NULL, sigma2 * own, 0);
        for (size_t j = 0; j < i; j++) {
            double product = sqrt(own) * sqrt(g[j * (j + 1) / 2 + j]);
            double cross = g[i * (i + 1) / 2 + j];
            double correlation = product > 0 ? fmax(-1, fmin(1, cross / product)) : NAN;
            missing = missing || !(product > 0);
            add_component(w, rows, "trial", bt_column_name[m->effect[j]],
                          bt_column_name[m->effect[i]], sigma2 * cross, correlation);
        }
    }
    if (missing) {
        warn(w, "correlation", "a variance is zero: the correlation does not exist");
    }
    add_component(w, rows, "Residual", NULL, NULL, sigma2, 0);
    put(w, out, "variance_components", rows);
    if (m->shape.correlated) {
        put_number(w, out, "residual_correlation", g[m->terms - 1]);
    }
}

static void write_warnings(struct writer *w)
{
    const struct bt_fit *fit = w->fit;
    if (fit->boundary > 0) {
        warn(w, "boundary",
             "the estimated covariance of the random effects is singular (a variance of zero or a "
             "correlation of one)");
    }
    if (fit->edge) {
        warn(w, "correlation_limit",
             "the serial correlation of the residuals is at the limit of its range: standard "
             "errors are not reliable; compare residual: iid");
    }
    if (fit->approximation > 0) {
        warn(w, "approximate",
             "the rounds ended before the optimum was reached: the effect may differ from it by "
             "about approximation_se standard errors");
    }
    if (w->history->counts.left_out > 0) {
        warn(w, "left_out",
             "trials without a baseline phase followed by a treatment phase, without times, or "
             "with times that the correlation does not allow (equal; fractional steps in ar1) "
             "took no part");
    }
}

static void write_fit(struct writer *w, json_t *out)
{
    const struct bt_fit *fit = w->fit;
    const struct bt_model *m = w->model;
    const struct nof1_counts *counts = &w->history->counts;
    double parameters = (double)(m->columns + m->terms + 1), rows = fit->point.rows;
    double q = fit->sigma2 * fit->point.n;
    json_t *o = json_object();
    put(w, o, "nobs", json_integer((json_int_t)llround(rows)));
    put(w, o, "trials", json_integer((json_int_t)counts->trials));
    put(w, o, "sites", json_integer((json_int_t)counts->sites));
    put_number(w, o, "logLik", -fit->f / 2);
    put_number(w, o, "deviance",
               m->reml ? fit->point.log_det + rows * (1 + log(6.283185307179586476925 * q / rows))
                       : fit->f);
    put(w, o, "REMLcrit", m->reml ? nof1_json_number(fit->f) : json_null());
    put_number(w, o, "AIC", fit->f + 2 * parameters);
    put_number(w, o, "BIC", fit->f + log(rows) * parameters);
    put(w, o, "rounds", json_integer((json_int_t)w->history->rounds));
    put(w, o, "converged", json_boolean(fit->converged));
    put(w, o, "boundary", json_boolean(fit->boundary > 0 || fit->edge));
    put_number(w, o, "gradient", sqrt(fmax(0, fit->decrement)));
    put(w, o, "exact", json_boolean(fit->approximation == 0 && fit->converged));
    put_number(w, o, "approximation_se", fit->approximation);
    put(w, out, "fit", o);
}

static void write_estimand(struct writer *w, json_t *out)
{
    const struct bt_model *m = w->model;
    const struct nof1_study *study = m->base.study;
    char text[512];
    bool vary = false;
    for (size_t k = 0; k < m->effects; k++) {
        vary = vary || m->effect[k] != BT_INTERCEPT;
    }
    json_t *o = json_object();
    snprintf(text, sizeof text,
             "change in %s from the course before %s to that under %s, at the first treatment row "
             "(level_change) and per unit of time since (slope_change)",
             study->plan->outcome_name, study->charter->treatment[study->plan->active],
             study->charter->treatment[study->plan->active]);
    put(w, o, "sentence", json_string(text));
    put(w, o, "population",
        json_string(vary ? "patients of whom the series is a sample; effects vary between patients"
                         : "the patients of the series; one effect common to all"));
    put(w, o, "weights", json_string("information of each trial under the fitted model"));
    put(w, out, "estimand", o);
}

nof1_rc_value bt_report(json_t **out, struct nof1_arena *arena, const struct bt_model *model,
                        const struct nof1_history *history, const struct bt_fit *fit)
{
    static const char *const df_name[] = {"", "z", "satterthwaite", "kenward_roger"};
    struct writer w = {arena, model, history, fit, json_array(), false};
    json_t *o = json_object();
    ENSURE(o != NULL && w.warnings != NULL, NOF1_E_NO_MEMORY);
    put(&w, o, "analysis", json_string("baseline_treatment"));
    put(&w, o, "form", json_string(model->base.form));
    put(&w, o, "model", json_string(model->formula));
    put(&w, o, "method", json_string(model->reml ? "REML" : "ML"));
    put(&w, o, "df_method", json_string(df_name[model->df]));
    nof1_rc_value rc = write_estimates(&w, o);
    write_components(&w, o);
    write_fit(&w, o);
    write_estimand(&w, o);
    write_warnings(&w);
    put(&w, o, "warnings", w.warnings);
    if (rc != NOF1_OK || w.failed) {
        json_decref(o);
        return rc != NOF1_OK ? rc : NOF1_E_NO_MEMORY;
    }
    *out = o;
    return NOF1_OK;
}
