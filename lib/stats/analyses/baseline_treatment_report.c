/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The fitted baseline-treatment model as JSON, with broom's names and the constants of nlme and
 * lme4 (docs/interfaces.md). Never writes a number that is not finite: it is null and a warning
 * says why.
 */
#include <base/json.h>
#include <math.h>
#include <stats/distributions.h>
#include <stats/report.h>
#include <stdio.h>

#include "baseline_treatment.h"

struct writer {
    struct nof1_arena *arena;
    const struct bt_model *model;
    const struct nof1_history *history;
    const struct bt_fit *fit;
    struct nof1_report report;
};

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
        double centre =
            m->column[i] == BT_INTERCEPT ? study->charter->outcome[study->plan->outcome].centre : 0;
        double estimate = w->fit->beta[i] + centre;
        double error = variance[i] >= 0 ? sqrt(variance[i]) : NAN;
        nof1_report_append(&w->report, rows,
                           nof1_report_estimate(&w->report, bt_column_name[m->column[i]], estimate,
                                                error, df[i], m->level));
    }
    nof1_report_put(&w->report, out, "estimates", rows);
    return NOF1_OK;
}

static void write_components(struct writer *w, json_t *out)
{
    const struct bt_model *m = w->model;
    const double *g = w->fit->gamma, sigma2 = w->fit->sigma2;
    json_t *rows = json_array();
    bool missing = false;
    for (size_t i = 0; i < m->effects; i++) {
        double own = g[i * (i + 1) / 2 + i];
        nof1_report_component(&w->report, rows, "trial", bt_column_name[m->effect[i]], NULL,
                              sigma2 * own, 0);
        for (size_t j = 0; j < i; j++) {
            double product = sqrt(own) * sqrt(g[j * (j + 1) / 2 + j]);
            double cross = g[i * (i + 1) / 2 + j];
            double correlation = product > 0 ? fmax(-1, fmin(1, cross / product)) : NAN;
            missing = missing || !(product > 0);
            nof1_report_component(&w->report, rows, "trial", bt_column_name[m->effect[j]],
                                  bt_column_name[m->effect[i]], sigma2 * cross, correlation);
        }
    }
    nof1_warn(w->report.warnings, missing, "correlation",
              "a variance is zero: the correlation does not exist");
    nof1_report_component(&w->report, rows, "Residual", NULL, NULL, sigma2, 0);
    nof1_report_put(&w->report, out, "variance_components", rows);
    if (m->shape.correlated) {
        nof1_report_number(&w->report, out, "residual_correlation", g[m->terms - 1]);
    }
}

static void write_warnings(struct writer *w)
{
    const struct bt_fit *fit = w->fit;
    nof1_warn(w->report.warnings, fit->boundary > 0, "boundary",
              "the estimated covariance of the random effects is singular (a variance of zero or a "
              "correlation of one)");
    if (fit->edge) {
        nof1_warn(w->report.warnings, true, "correlation_limit",
                  "the serial correlation of the residuals is at the limit of its range: standard "
                  "errors are not reliable; compare residual: iid");
    }
    nof1_warn(
        w->report.warnings, fit->approximation > 0, "approximate",
        "sums are rounded, or the rounds ended before the optimum was reached: the effect may "
        "differ from it by about approximation_se standard errors");
    if (w->history->counts.left_out > 0) {
        nof1_warn(
            w->report.warnings, true, "left_out",
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
    nof1_report_put(&w->report, o, "nobs", json_integer((json_int_t)llround(rows)));
    nof1_report_put(&w->report, o, "trials", json_integer((json_int_t)counts->trials));
    nof1_report_put(&w->report, o, "sites", json_integer((json_int_t)counts->sites));
    nof1_report_number(&w->report, o, "logLik", -fit->f / 2);
    nof1_report_number(&w->report, o, "deviance",
                       m->reml ? fit->point.log_det +
                                     rows * (1 + log(6.283185307179586476925 * q / rows))
                               : fit->f);
    nof1_report_put(&w->report, o, "REMLcrit", m->reml ? nof1_json_number(fit->f) : json_null());
    nof1_report_number(&w->report, o, "AIC", fit->f + 2 * parameters);
    nof1_report_number(&w->report, o, "BIC", fit->f + log(rows) * parameters);
    nof1_report_put(&w->report, o, "rounds", json_integer((json_int_t)w->history->rounds));
    nof1_report_put(&w->report, o, "converged", json_boolean(fit->converged));
    nof1_report_put(&w->report, o, "boundary", json_boolean(fit->boundary > 0 || fit->edge));
    nof1_report_number(&w->report, o, "gradient", sqrt(fmax(0, fit->decrement)));
    nof1_report_put(&w->report, o, "exact",
                    json_boolean(fit->approximation == 0 && fit->converged));
    nof1_report_number(&w->report, o, "approximation_se", fit->approximation);
    nof1_report_put(&w->report, out, "fit", o);
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
    nof1_report_put(&w->report, o, "sentence", json_string(text));
    nof1_report_put(
        &w->report, o, "population",
        json_string(vary ? "patients of whom the series is a sample; effects vary between patients"
                         : "the patients of the series; one effect common to all"));
    nof1_report_put(&w->report, o, "weights",
                    json_string("information of each trial under the fitted model"));
    nof1_report_put(&w->report, out, "estimand", o);
}

nof1_rc_value bt_report(json_t **out, struct nof1_arena *arena, const struct bt_model *model,
                        const struct nof1_history *history, const struct bt_fit *fit)
{
    static const char *const df_name[] = {"", "z", "satterthwaite", "kenward_roger"};
    struct writer w = {arena, model, history, fit, {json_array(), false}};
    json_t *o = json_object();
    ENSURE(o != NULL && w.report.warnings != NULL, NOF1_E_NO_MEMORY);
    nof1_report_put(&w.report, o, "analysis", json_string("baseline_treatment"));
    nof1_report_put(&w.report, o, "form", json_string(model->base.form));
    nof1_report_put(&w.report, o, "model", json_string(model->formula));
    nof1_report_put(&w.report, o, "method", json_string(model->reml ? "REML" : "ML"));
    nof1_report_put(&w.report, o, "df_method", json_string(df_name[model->df]));
    nof1_rc_value rc = write_estimates(&w, o);
    write_components(&w, o);
    write_fit(&w, o);
    write_estimand(&w, o);
    write_warnings(&w);
    nof1_report_put(&w.report, o, "warnings", w.report.warnings);
    if (rc != NOF1_OK || w.report.failed) {
        json_decref(o);
        return rc != NOF1_OK ? rc : NOF1_E_NO_MEMORY;
    }
    *out = o;
    return NOF1_OK;
}
