/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The fitted generalised linear mixed model as JSON, with broom's names (docs/interfaces.md).
 * Never writes a number that is not finite: it is null and a warning says why.
 */
#include <base/json.h>
#include <math.h>
#include <stats/distributions.h>
#include <stats/report.h>
#include <stdio.h>

#include "glmm_model.h"

struct writer {
    struct nof1_arena *arena;
    const struct glmm_model *model;
    const struct nof1_history *history;
    const struct glmm_fit *fit;
    struct nof1_report report;
};

static const struct mixed_column *column_of(const struct glmm_model *m, size_t i)
{
    return i < m->cuts ? &m->design.column[0]
                       : &m->design.column[i - m->cuts + (m->cuts > 0 ? 1 : 0)];
}

/* What parameter i gains from parameter j when covariates are no longer taken about their centre:
 * an intercept loses centre times slope, a threshold gains it. */
static double uncentre(const struct glmm_model *m, size_t i, size_t j)
{
    if (i == j) {
        return 1;
    }
    if (j < m->cuts) {
        return 0;
    }
    const struct mixed_column *slope = column_of(m, j), *own = column_of(m, i);
    bool moves = own->kind == (slope->by_treatment ? MIXED_TREATMENT : MIXED_INTERCEPT) &&
                 !own->by_treatment;
    return moves ? (i < m->cuts ? 1 : -1) * slope->centre : 0;
}

static json_t *estimate_row(struct writer *w, size_t i)
{
    const struct glmm_model *m = w->model;
    const struct glmm_fit *fit = w->fit;
    size_t p = m->parameters;
    double estimate = 0, variance = 0;
    for (size_t j = 0; j < m->fixed; j++) {
        double a = uncentre(m, i, j);
        estimate += a != 0 ? a * fit->theta[j] : 0;
        for (size_t k = 0; k < m->fixed && a != 0; k++) {
            variance += a * uncentre(m, i, k) * fit->covariance[j * p + k];
        }
    }
    double error = fit->known[i] && variance > 0 ? sqrt(variance) : NAN;
    return nof1_report_estimate(&w->report, m->name[i], fit->known[i] ? estimate : NAN, error,
                                INFINITY, m->level);
}

/* Columns that have no value in the data are left out, as R drops them; thresholds stay. */
static void write_estimates(struct writer *w, json_t *out)
{
    const struct glmm_model *m = w->model;
    json_t *rows = json_array();
    bool empty = false;
    for (size_t i = 0; i < m->fixed; i++) {
        empty = empty || (i < m->cuts && !w->fit->known[i]);
        if (w->fit->known[i] || i < m->cuts || w->fit->effect_only) {
            nof1_report_append(&w->report, rows, estimate_row(w, i));
        }
    }
    nof1_report_put(&w->report, out, "estimates", rows);
    nof1_warn(w->report.warnings, empty, "empty_category",
              "a category was never observed: the threshold beside it does not exist");
}

static void write_components(struct writer *w, json_t *out)
{
    const double *s = w->fit->theta + w->model->fixed;
    json_t *rows = json_array();
    if (w->model->shape.effects == 1) {
        nof1_report_component(&w->report, rows, "trial", "(Intercept)", NULL,
                              w->fit->effect_only ? NAN : s[0] * s[0], 0);
    } else {
        double a = s[0] * s[0] + s[1] * s[1], c = s[1] * (s[0] + s[2]),
               b = s[1] * s[1] + s[2] * s[2], product = sqrt(a) * sqrt(b);
        double correlation = product > 0 ? fmax(-1, fmin(1, c / product)) : NAN;
        nof1_report_component(&w->report, rows, "trial", "(Intercept)", NULL, a, 0);
        nof1_report_component(&w->report, rows, "trial", "treatment", NULL, b, 0);
        nof1_report_component(&w->report, rows, "trial", "(Intercept)", "treatment", c,
                              correlation);
        nof1_warn(w->report.warnings, !isfinite(correlation), "correlation",
                  "a variance is zero: the correlation does not exist");
    }
    nof1_report_put(&w->report, out, "variance_components", rows);
}

static void write_fit(struct writer *w, json_t *out)
{
    const struct glmm_fit *fit = w->fit;
    const struct nof1_counts *counts = &w->history->counts;
    double free = (double)fit->free;
    json_t *o = json_object();
    nof1_report_put(&w->report, o, "nobs", json_integer((json_int_t)llround(fit->rows)));
    nof1_report_put(&w->report, o, "trials", json_integer((json_int_t)counts->trials));
    nof1_report_put(&w->report, o, "sites", json_integer((json_int_t)counts->sites));
    nof1_report_number(&w->report, o, "logLik", fit->value);
    nof1_report_number(&w->report, o, "deviance", -2 * fit->value);
    nof1_report_number(&w->report, o, "AIC", -2 * fit->value + 2 * free);
    nof1_report_number(&w->report, o, "BIC", -2 * fit->value + log(fit->rows) * free);
    nof1_report_put(&w->report, o, "rounds", json_integer((json_int_t)w->history->rounds));
    nof1_report_put(&w->report, o, "converged", json_boolean(fit->converged));
    nof1_report_put(&w->report, o, "boundary", json_boolean(fit->boundary));
    nof1_report_number(&w->report, o, "gradient", sqrt(fmax(0, fit->decrement)));
    nof1_report_put(&w->report, o, "exact",
                    json_boolean(fit->approximation == 0 && fit->converged));
    nof1_report_number(&w->report, o, "approximation_se", fit->approximation);
    nof1_report_put(&w->report, out, "fit", o);
    if (fit->boundary) {
        nof1_warn(
            w->report.warnings, true, "boundary",
            "the estimated covariance of the random effects is singular; with a variance of zero "
            "the model is the ordinary generalised linear one");
    }
    if (fit->separating >= 0) {
        const char *text = nof1_arena_printf(
            w->arena, "the estimate of %s has next to no information and may grow without "
                             "bound: the data may separate along it",
            w->model->name[fit->separating]);
        nof1_warn(w->report.warnings, true, "separation", text == NULL ? "" : text);
    }
    nof1_warn(w->report.warnings, !fit->converged, "not_converged",
              "the rounds ended before the optimum; fit.gradient says how far from it");
    nof1_warn(w->report.warnings, fit->approximation > 0, "approximate",
              "what was released does not determine the optimum: estimates may differ from it by "
              "about approximation_se standard errors");
    nof1_warn(w->report.warnings, fit->effect_only, "effect_only",
              "two sums were released: they determine the effect, not intercept and variance");
    nof1_warn(w->report.warnings, !fit->effect_only && !isfinite(fit->value), "likelihood",
              "the value of the likelihood is not released in this form");
}

static void write_estimand(struct writer *w, json_t *out)
{
    static const char *const what[] = {"log odds ratio of", "log rate ratio of",
                                       "log odds ratio of a higher category of"};
    const struct nof1_study *study = w->model->base.study;
    char text[512];
    json_t *o = json_object();
    snprintf(text, sizeof text, "%s %s, treatment %s against %s", what[w->model->family],
             study->plan->outcome_name, study->charter->treatment[study->plan->active],
             study->charter->treatment[study->plan->reference]);
    nof1_report_put(&w->report, o, "sentence", json_string(text));
    nof1_report_put(
        &w->report, o, "population",
        json_string(w->model->shape.effects == 2
                        ? "a patient with average random effects; effects vary between patients"
                        : "a patient of average level; one effect common to all, given the level"));
    nof1_report_put(&w->report, o, "weights",
                    json_string("information of each trial under the fitted model"));
    nof1_report_put(&w->report, out, "estimand", o);
}

nof1_rc_value glmm_report_json(json_t **out, struct nof1_arena *arena, const struct glmm_model *m,
                               const struct nof1_history *history, const struct glmm_fit *fit)
{
    static const char *const family[] = {"binomial(logit)", "poisson(log)", "ordinal(logit)"};
    struct writer w = {arena, m, history, fit, {json_array(), false}};
    json_t *o = json_object();
    ENSURE(o != NULL && w.report.warnings != NULL, NOF1_E_NO_MEMORY);
    nof1_report_put(&w.report, o, "analysis", json_string("glmm"));
    nof1_report_put(&w.report, o, "form", json_string(m->base.form));
    nof1_report_put(&w.report, o, "model", json_string(m->formula));
    nof1_report_put(&w.report, o, "family", json_string(family[m->family]));
    nof1_report_put(
        &w.report, o, "method",
        json_string(m->shape.nodes == 1 ? "Laplace" : "adaptive Gauss-Hermite quadrature"));
    nof1_report_put(&w.report, o, "quadrature", json_integer((json_int_t)m->shape.nodes));
    nof1_report_put(&w.report, o, "df_method", json_string("z"));
    write_estimates(&w, o);
    write_components(&w, o);
    write_fit(&w, o);
    write_estimand(&w, o);
    nof1_report_put(&w.report, o, "warnings", w.report.warnings);
    if (w.report.failed) {
        json_decref(o);
        return NOF1_E_NO_MEMORY;
    }
    *out = o;
    return NOF1_OK;
}
