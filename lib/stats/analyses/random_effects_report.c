/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The result of a two-stage plan as JSON, with the keys of docs/interfaces.md. Absent numbers are
 * null, and a warning says why; nothing here is computed from more than totals.
 */
#include "random_effects.h"

#include <math.h>
#include <stdio.h>

#include <base/json.h>
#include <stats/distributions.h>
#include <stats/report.h>

static json_t *number(double x)
{
    return nof1_json_number(x);
}

/* ---- estimates ---- */

/* The keys of a row about one effect: estimate to conf.high. Steals nothing; NULL when out of
 * memory. */
static json_t *effect_row(const char *key, const char *name, const struct re_model *model,
                          const struct nof1_two_stage_fit *fit, double estimate, double se)
{
    double df = fit->knapp_hartung ? fit->df : INFINITY;
    double half = 0.5 * (1.0 - model->fit.level);
    double critical = fit->knapp_hartung ? nof1_t_quantile(half, df) : nof1_normal_quantile(half);
    double statistic = estimate / se;
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", key, name, "estimate", number(estimate),
                     "std.error", number(se), "statistic", number(statistic), "df", number(df),
                     "p.value", number(nof1_t_two_sided(statistic, df)), "conf.low",
                     number(estimate - critical * se), "conf.high",
                     number(estimate + critical * se));
}

static json_t *estimate_row(const struct re_model *model, const struct nof1_two_stage_fit *fit,
                            size_t i)
{
    return effect_row("term", model->column[i].term, model, fit, fit->beta[i],
                      sqrt(fit->covariance[i * fit->columns + i]));
}

/* The effect at x = (1, 0, ..., 1 at column i, ..., 0), numeric moderators at the charter's centre:
 * what predict(rma) gives there. i = 0: the reference level. */
static json_t *level_row(const struct re_model *model, const struct nof1_two_stage_fit *fit,
                         const char *level, size_t i)
{
    double x[NOF1_TWO_STAGE_COLUMNS] = {1.0};
    for (size_t c = 1; c < fit->columns; c++) {
        x[c] = c == i ? 1.0 : model->column[c].level < 0 ? model->column[c].centre : 0.0;
    }
    double estimate = 0.0;
    double variance = 0.0;
    for (size_t a = 0; a < fit->columns; a++) {
        estimate += x[a] * fit->beta[a];
        for (size_t b = 0; b < fit->columns; b++) {
            variance += x[a] * x[b] * fit->covariance[a * fit->columns + b];
        }
    }
    return effect_row("level", level, model, fit, estimate, sqrt(variance));
}

/* The effect in each level of each factor among the moderators, other factors at their reference:
 * one table a factor. */
static json_t *level_tables(const struct re_model *model, const struct nof1_two_stage_fit *fit)
{
    json_t *tables = json_array();
    const struct nof1_study *study = model->base.study;
    for (size_t i = 1; i < model->columns; i++) {
        const struct re_column *column = &model->column[i];
        if (column->level < 0) {
            continue;
        }
        const struct nof1_covariate *covariate = &study->charter->covariate[column->covariate];
        bool first = model->column[i - 1].level < 0 || model->column[i - 1].covariate !=
                                                           column->covariate;
        json_t *cells = first ? json_array() : json_object_get(
            json_array_get(tables, json_array_size(tables) - 1), "cells");
        if (first) {
            json_array_append_new(
                cells, level_row(model, fit, covariate->level[column->reference], 0));
        }
        json_array_append_new(cells, level_row(model, fit, covariate->level[column->level], i));
        if (first) {
            json_array_append_new(
                tables, json_pack("{s:s,s:s+,s:[ssssssss],s:o}", "by", covariate->name, "title",
                                  "Effect by ", covariate->name, "columns", "level", "estimate",
                                  "std.error", "statistic", "df", "p.value", "conf.low",
                                  "conf.high", "cells", cells));
        }
    }
    return tables;
}

/* Test that all moderators are 0: F with Knapp-Hartung, else chi-square. */
static json_t *moderator_test(const struct nof1_two_stage_fit *fit, double r_squared)
{
    size_t p = fit->columns;
    size_t m = p - 1;
    double l[NOF1_TWO_STAGE_SQUARE] = {0};
    double z[NOF1_TWO_STAGE_COLUMNS] = {0};
    double q = 0.0;
    for (size_t i = 0; i < m; i++) { /* Cholesky of the moderators' covariance, and L z = beta */
        z[i] = fit->beta[i + 1];
        for (size_t j = 0; j <= i; j++) {
            double sum = fit->covariance[(i + 1) * p + j + 1];
            for (size_t k = 0; k < j; k++) {
                sum -= l[i * m + k] * l[j * m + k];
            }
            l[i * m + j] = i == j ? sqrt(sum) : sum / l[j * m + j];
        }
        for (size_t j = 0; j < i; j++) {
            z[i] -= l[i * m + j] * z[j];
        }
        z[i] /= l[i * m + i];
        q += z[i] * z[i];
    }
    bool f = fit->knapp_hartung;
    double statistic = f ? q / (double)m : q;
    double pvalue = f ? nof1_f_upper(statistic, (double)m, fit->df)
                      : nof1_chi_square_upper(statistic, (double)m);
    return json_pack("{s:o,s:I,s:o,s:o,s:o}", "statistic", number(statistic), "df1", (json_int_t)m,
                     "df2", number(f ? fit->df : NAN), "p.value", number(pvalue), "r.squared",
                     number(r_squared));
}

/* ---- heterogeneity ---- */

static json_t *pair(double low, double high)
{
    return json_pack("{s:o,s:o}", "low", number(low), "high", number(high));
}

/* For the next patient: metafor's convention (normal, or t with k - p under Knapp-Hartung) and that
 * of Higgins, Thompson & Spiegelhalter 2009 (t with k - 2). */
static json_t *prediction(const struct re_model *model, const struct nof1_two_stage_fit *fit)
{
    double half = 0.5 * (1.0 - model->fit.level);
    double spread = sqrt(fit->covariance[0] + fit->tau_squared);
    bool exists = model->fit.method != NOF1_TS_FE && fit->columns == 1;
    double a = fit->knapp_hartung ? nof1_t_quantile(half, fit->df) : nof1_normal_quantile(half);
    double b = nof1_t_quantile(half, fit->trials - 2.0);
    a = exists ? a * spread : NAN;
    b = exists ? b * spread : NAN;
    double mu = fit->beta[0];
    return json_pack("{s:o,s:o}", "metafor", pair(mu - a, mu + a), "hts", pair(mu - b, mu + b));
}

static json_t *heterogeneity(const struct re_model *model, const struct re_result *result)
{
    const struct nof1_two_stage_fit *fit = &result->fit;
    return json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "tau.squared", number(fit->tau_squared),
        "std.error", number(fit->tau_squared_se), "conf.low", number(fit->tau_squared_low),
        "conf.high", number(fit->tau_squared_high), "i.squared", number(fit->i_squared),
        "h.squared", number(fit->h_squared), "cochran.qe", number(fit->q), "df.residual",
        number(fit->df), "p.value", number(fit->q_p), "prediction", prediction(model, fit));
}

/* ---- fit, estimand, warnings ---- */

static json_t *fit_object(const struct re_model *model, const struct nof1_history *history,
                          const struct re_result *result)
{
    const struct nof1_two_stage_fit *fit = &result->fit;
    bool ml = model->fit.method == NOF1_TS_ML;
    bool reml = model->fit.method == NOF1_TS_REML;
    double log_lik = ml ? fit->log_lik_ml : reml ? fit->log_lik_reml : NAN;
    double parameters = (double)fit->columns + 1.0;
    double n = ml ? fit->trials : fit->df;
    return json_pack(
        "{s:o,s:I,s:I,s:s,s:s,s:o,s:o,s:o,s:o,s:I,s:b,s:b,s:b,s:o,s:o}", "nobs",
        number(result->pooled.rows), "trials", (json_int_t)history->counts.trials, "sites",
        (json_int_t)history->counts.sites, "method", nof1_two_stage_method_text(model->fit.method),
        "test", fit->knapp_hartung ? "knha" : "z", "logLik", number(log_lik),
        reml ? "REMLcrit" : "deviance", number(-2.0 * log_lik), "AIC",
        number(-2.0 * log_lik + 2.0 * parameters), "BIC",
        number(-2.0 * log_lik + parameters * log(n)), "rounds", (json_int_t)history->rounds,
        "converged", fit->converged, "boundary", fit->boundary, "exact", result->exact,
        "approximation_se", number(result->approximation), "score_at_zero",
        number(ml || reml ? fit->score_at_zero : NAN));
}

static const char *model_text(const struct re_model *model)
{
    if (model->effect != RE_DIFFERENCE) {
        return "y_i ~ N(x_i'beta, v_i + tau^2): change at the start of treatment by the trial's "
               "own "
               "least squares, outcome ~ time + level change + slope change, v_i its own variance";
    }
    if (model->release == RE_OWN) {
        return "y_i ~ N(x_i'beta, v_i + tau^2), v_i the trial's own variance";
    }
    return model->cycles ? "d_i ~ N(x_i'beta, tau^2 + sigma^2 / k_i): mean difference of k_i "
                           "complete cycles, "
                           "sigma^2 pooled within trials"
                         : "d_i ~ N(x_i'beta, tau^2 + sigma^2 (1/a_i + 1/b_i)): difference of "
                           "means of a_i and "
                           "b_i periods, sigma^2 pooled within trials";
}

static json_t *estimand(const struct re_model *model)
{
    const char *what = "mean over patients of the patient's own effect (active minus reference)";
    if (model->columns > 1) {
        what =
            "regression of the patient's own effect (active minus reference) on patients' traits";
    } else if (model->fit.method == NOF1_TS_FE) {
        what = "weighted mean of the effects of these patients (active minus reference)";
    }
    if (model->effect != RE_DIFFERENCE) {
        what = model->effect == RE_LEVEL
                   ? "mean over patients of the patient's own change of level at the start of "
                     "treatment, beyond the trend of the baseline"
                   : "mean over patients of the patient's own change of slope at the start of "
                     "treatment";
    }
    const char *weights = model->release == RE_BASIS
                              ? "1 / (tau^2 + v_i), by a fixed public basis of weights"
                              : "1 / (tau^2 + v_i)";
    return json_pack("{s:s,s:s,s:s}", "sentence", what, "population",
                     model->effect != RE_DIFFERENCE
                         ? "patients with two times and more in each phase, five in all"
                     : model->complete_only ? "patients with complete trials"
                     : model->cycles      ? "patients with at least one complete cycle"
                                          : "patients with both treatments observed",
                     "weights", model->fit.method == NOF1_TS_FE ? "1 / v_i" : weights);
}

static json_t *warnings(const struct re_model *model, const struct nof1_history *history,
                        const struct re_result *result)
{
    json_t *list = json_array();
    const struct nof1_two_stage_fit *fit = &result->fit;
    bool random = model->fit.method != NOF1_TS_FE;
    nof1_warn(list, fit->trials == 1.0, "one_trial",
              "one trial in all: variation between patients cannot be told");
    nof1_warn(list, fit->trials == 2.0, "two_trials",
              "two trials: intervals are very wide and the "
              "Higgins-Thompson-Spiegelhalter interval does not exist");
    nof1_warn(list, fit->boundary, "boundary",
              "tau^2 is estimated at its boundary, 0: the data show no variation of "
              "effects between patients beyond chance");
    nof1_warn(list, fit->interval_empty, "interval_empty",
              "the Q-profile interval of tau^2 is empty (Q is very small); "
              "reported as 0 to 0");
    nof1_warn(list, model->fit.knapp_hartung && !fit->knapp_hartung, "knapp_hartung",
              "no residual degrees of freedom: normal intervals instead of Knapp-Hartung");
    nof1_warn(list, fit->knapp_hartung && fit->knapp_hartung_factor < 1.0, "knapp_hartung_narrow",
              "the Knapp-Hartung standard error is smaller than the normal one here");
    nof1_warn(list, model->fit.knapp_hartung && !random, "knapp_hartung_fixed",
              "Knapp-Hartung is not meant for method FE");
    nof1_warn(list, random && fit->columns > 1, "prediction",
              "prediction intervals are given without moderators only");
    nof1_warn(list, model->own && !model->imported, "own_variances",
              model->effect == RE_DIFFERENCE ? "own variances from a few cycles are unreliable; "
                                               "within_variance: pooled is the safer "
                                               "form"
                                             : "own variances from a few occasions are unreliable; "
                                               "analysis: baseline_treatment fits "
                                               "one variance for all");
    nof1_warn(list, result->zero_within, "zero_within",
              "no variation inside any trial: Q, I^2, H^2 do not exist");
    nof1_warn(list, result->rounds_short, "rounds_short",
              fit->converged ? "the rounds ended before the interval of tau^2 was found"
                             : "the rounds ended before tau^2 was found");
    nof1_warn(list, !result->exact && model->release == RE_BASIS, "approximate",
              "sums by a weight basis: the estimate is approximate, see fit.approximation_se");
    nof1_warn(
        list, model->release == RE_BASIS, "weight_basis",
        "Q, I^2, the log likelihood and the interval of tau^2 come from the weight basis and are "
        "approximate");
    nof1_warn_left_out(list, history, model->base.study,
                       model->own ? "no effect, or no usable variance of their own"
                                  : "no effect by this form");
    return list;
}

nof1_rc_value re_report(const struct nof1_model *base, const struct nof1_history *history,
                        struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    const struct re_model *model = (const struct re_model *)base;
    static const char *const release[] = {"class", "basis", "own"};
    struct re_result result;
    TRY(re_result_of(&result, model, history, arena, error));
    json_t *estimates = json_array();
    for (size_t i = 0; i < model->columns; i++) {
        json_array_append_new(estimates, estimate_row(model, &result.fit, i));
    }
    json_t *object = json_pack(
        "{s:o,s:o,s:o,s:{s:o,s:o},s:o,s:s,s:s,s:s,s:o}", "estimates", estimates, "heterogeneity",
        heterogeneity(model, &result), "fit", fit_object(model, history, &result), "within",
        "sigma.squared", number(result.pooled.sigma_squared), "df", number(result.pooled.df),
        "estimand", estimand(model), "form", base->form, "release", release[model->release],
        "model", model_text(model), "warnings", warnings(model, history, &result));
    ENSURE(object != NULL, NOF1_E_NO_MEMORY);
    if (model->columns > 1) {
        json_object_set_new(object, "moderators", moderator_test(&result.fit, result.r_squared));
        json_object_set_new(object, "tables", level_tables(model, &result.fit));
    }
    *out = object;
    return NOF1_OK;
}
