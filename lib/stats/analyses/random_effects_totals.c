/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From totals to the fit of a two-stage plan, and to the parameter of the next round. Pure
 * functions of model and history, replayed by every vault and by the auditor.
 */
#include "random_effects.h"

#include <math.h>
#include <string.h>

/* ---- products back to matrices ---- */

void re_product_store(struct nof1_two_stage_power *out, const struct re_product *product,
                      double value, size_t columns)
{
    switch (product->kind) {
    case RE_XX:
        out->xx[product->i * columns + product->j] = value;
        out->xx[product->j * columns + product->i] = value;
        return;
    case RE_XY:
        out->xy[product->i] = value;
        return;
    case RE_YY:
        out->yy = value;
        return;
    }
}

void re_power_complete(struct nof1_two_stage_power *out, const struct re_model *model)
{
    /* The square of an indicator is the indicator; two levels of one factor exclude each other. */
    for (size_t i = 1; i < model->columns; i++) {
        if (model->column[i].level >= 0) {
            out->xx[i * model->columns + i] = out->xx[i];
        }
    }
}

/* ---- units ---- */

/* The fit was made with y / unit and v / unit^2: back to the outcome's units. */
static void rescale(struct nof1_two_stage_fit *fit, double unit)
{
    double square = unit * unit;
    for (size_t i = 0; i < fit->columns; i++) {
        fit->beta[i] *= unit;
    }
    for (size_t i = 0; i < fit->columns * fit->columns; i++) {
        fit->covariance[i] *= square;
    }
    fit->tau_squared *= square;
    fit->tau_squared_se *= square;
    fit->tau_squared_low *= square;
    fit->tau_squared_high *= square;
    fit->typical_variance *= square;
    fit->score_at_zero /= square;
    fit->log_lik_ml -= fit->trials * log(unit);
    fit->log_lik_reml -= fit->df * log(unit);
}

/* The intercept of uncentred columns, and of uncentred imported effects. */
static void uncentre(struct nof1_two_stage_fit *fit, const struct re_model *model)
{
    size_t p = fit->columns;
    double c[NOF1_TWO_STAGE_COLUMNS] = {1.0};
    for (size_t i = 1; i < p; i++) {
        c[i] = -model->column[i].centre;
        fit->beta[0] += c[i] * fit->beta[i];
    }
    double row[NOF1_TWO_STAGE_COLUMNS] = {0};
    for (size_t j = 0; j < p; j++) {
        for (size_t i = 0; i < p; i++) {
            row[j] += c[i] * fit->covariance[i * p + j];
        }
    }
    double corner = 0.0;
    for (size_t j = 0; j < p; j++) {
        corner += row[j] * c[j];
        fit->covariance[j] = row[j];
        fit->covariance[j * p] = row[j];
    }
    fit->covariance[0] = corner;
    fit->beta[0] += model->centre;
}

static nof1_rc not_enough(const struct re_model *model, struct nof1_error *error)
{
    return nof1_fail(error, NOF1_E_MODEL,
                     model->columns > 1
                         ? "the effects cannot identify the moderators: too few trials, a level "
                           "without trials, or columns that determine each other"
                         : "no trial has an effect with a usable variance");
}

/* ---- classes ---- */

/* Without any variation inside trials the weights have no scale. The limit of v -> 0 exists for the
 * estimators that do not divide by v: total variance RSS / (k - p), or RSS / k by ML. */
static nof1_rc fit_without_within(struct re_result *out, const struct re_model *model,
                                  const struct nof1_two_stage_options *options,
                                  struct nof1_two_stage_cells *cells, double *v,
                                  struct nof1_error *error)
{
    enum nof1_two_stage_method method = model->fit.method;
    if (method == NOF1_TS_FE || method == NOF1_TS_DL || method == NOF1_TS_HS) {
        return nof1_fail(error, NOF1_E_MODEL, "no variation inside any trial: method %s would "
                                              "divide by 0; use REML or descriptive",
                         nof1_two_stage_method_text(method));
    }
    struct nof1_two_stage_options flat = *options;
    flat.method = NOF1_TS_FE;
    flat.interval = false;
    double total = 1.0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t c = 0; c < cells->cells; c++) {
            v[c] = total;
        }
        struct nof1_two_stage_oracle oracle = nof1_two_stage_cells_oracle(cells);
        nof1_rc_value rc = nof1_two_stage_fit(&out->fit, &flat, &oracle);
        if (rc == NOF1_E_MODEL || !(out->fit.df > 0.0) || !(out->fit.q > 0.0)) {
            return nof1_fail(error, NOF1_E_MODEL, "no variation inside any trial, and none or too "
                                                  "few trials to tell the variation between them");
        }
        TRY(rc);
        if (pass == 0) {
            total = out->fit.q / (method == NOF1_TS_ML ? out->fit.trials : out->fit.df);
        }
    }
    struct nof1_two_stage_fit *fit = &out->fit;
    fit->tau_squared = total;
    fit->tau_squared_se = total * sqrt(2.0 / (method == NOF1_TS_ML ? fit->trials : fit->df));
    fit->q = NAN;
    fit->q_p = NAN;
    fit->i_squared = NAN;
    fit->h_squared = NAN;
    fit->typical_variance = 0.0;
    out->zero_within = true;
    return NOF1_OK;
}

/* R^2 of the moderators (Raudenbush 2009): by how much they lower tau^2, in percent of the tau^2
 * without them. */
static nof1_rc explained(struct re_result *out, const struct nof1_two_stage_options *options,
                         const struct nof1_two_stage_cells *cells)
{
    if (options->method == NOF1_TS_FE) {
        return NOF1_OK;
    }
    struct nof1_two_stage_options without = *options;
    without.columns = 1;
    without.interval = false;
    struct nof1_two_stage_cells corner = *cells; /* its first column is the intercept's */
    corner.columns = 1;
    struct nof1_two_stage_oracle oracle = nof1_two_stage_cells_oracle(&corner);
    struct nof1_two_stage_fit fit;
    TRY(nof1_two_stage_fit(&fit, &without, &oracle));
    double lowered = 100.0 * (fit.tau_squared - out->fit.tau_squared) / fit.tau_squared;
    out->r_squared = fit.tau_squared > 0.0 ? fmax(0.0, lowered) : NAN;
    return NOF1_OK;
}

nof1_rc_value re_class_cells(struct nof1_two_stage_cells *out, double **u,
                             const struct re_model *model, const struct nof1_history *history,
                             struct nof1_arena *arena)
{
    struct nof1_two_stage_power *sum = nof1_arena_alloc(arena, model->classes, sizeof *sum);
    *u = nof1_arena_alloc(arena, model->classes, sizeof **u);
    ENSURE(sum != NULL && *u != NULL, NOF1_E_NO_MEMORY);
    const double *t = history->round[0].total + 3;
    *out = (struct nof1_two_stage_cells){model->columns, 0, *u, sum};
    for (size_t c = 0; c < model->classes; c++) {
        struct nof1_two_stage_power *cell = &sum[out->cells];
        cell->xx[0] = *t++;
        for (size_t i = 0; i < model->products; i++) {
            re_product_store(cell, &model->product[i], *t++, model->columns);
        }
        re_power_complete(cell, model);
        if (cell->xx[0] > 0.0) {
            (*u)[out->cells++] = model->class_[c].u;
        }
    }
    return NOF1_OK;
}

static nof1_rc fit_classes(struct re_result *out, const struct re_model *model,
                           const struct nof1_history *history, struct nof1_arena *arena,
                           struct nof1_error *error)
{
    struct nof1_two_stage_cells cells;
    double *v;
    TRY(re_class_cells(&cells, &v, model, history, arena));
    struct nof1_two_stage_options options = model->fit;
    for (size_t c = 0; c < cells.cells; c++) {
        options.trials += cells.sum[c].xx[0];
        v[c] *= out->pooled.sigma_squared;
    }
    if (!(out->pooled.sigma_squared > 0.0)) {
        return fit_without_within(out, model, &options, &cells, v, error);
    }
    out->exact = true;
    struct nof1_two_stage_oracle oracle = nof1_two_stage_cells_oracle(&cells);
    nof1_rc_value rc = nof1_two_stage_fit(&out->fit, &options, &oracle);
    if (rc == NOF1_OK && model->columns > 1) {
        return explained(out, &options, &cells);
    }
    return rc == NOF1_E_MODEL ? not_enough(model, error) : rc;
}

/* ---- the weight basis ---- */

/* A correction round at lambda has been made. */
static bool corrected_at(const struct nof1_history *history, double lambda, double close)
{
    for (size_t r = 1; r < history->rounds; r++) {
        if (fabs(history->round[r].parameter[0] - lambda) <= close) {
            return true;
        }
    }
    return false;
}

/* Closeness of lambda at which a correction is exact to 1e-9 of everything reported. */
static double close_enough(const struct re_model *model, double lambda)
{
    double u = model->class_[0].u;
    for (size_t c = 1; c < model->classes; c++) {
        u = fmin(u, model->class_[c].u);
    }
    return 1e-10 * (lambda + u);
}

/* Moment estimators need Q at tau^2 = 0 exactly too. */
static bool needs_zero(const struct re_model *model)
{
    return model->fit.method == NOF1_TS_DL || model->fit.method == NOF1_TS_HS;
}

static nof1_rc fit_basis(struct re_result *out, double *lambda, const struct re_model *model,
                         const struct nof1_history *history, struct nof1_error *error)
{
    if (!(out->pooled.sigma_squared > 0.0)) {
        return nof1_fail(error, NOF1_E_MODEL, "no variation inside any trial; use summary_test");
    }
    struct re_basis basis;
    struct nof1_two_stage_oracle oracle = re_basis_oracle(&basis, model, history);
    struct nof1_two_stage_options options = model->fit;
    options.trials = basis.trials;
    nof1_rc_value rc = nof1_two_stage_fit(&out->fit, &options, &oracle);
    if (rc == NOF1_E_MODEL) {
        return not_enough(model, error);
    }
    TRY(rc);
    *lambda = out->fit.tau_squared;
    struct nof1_two_stage_sums sums;
    TRY(oracle.weighted(&basis, *lambda, &sums));
    double close = close_enough(model, *lambda);
    bool unweighted = model->fit.method == NOF1_TS_HE || model->fit.method == NOF1_TS_SJ;
    double rounding = re_basis_rounding(&basis, *lambda);
    out->exact = (rounding == 0.0 && history->rounds == 1 && basis.error < 1e-12) ||
                 (!unweighted && corrected_at(history, *lambda, 10.0 * close) &&
                  (!needs_zero(model) || corrected_at(history, 0.0, 0.0)));
    /* |sum (w - w~) e| <= error sum w |e| <= error sqrt(sum w) sqrt(sum w e^2), and the last sum is
     * k on average: so much of a standard error. */
    out->approximation = out->exact ? 0.0 : basis.error * sqrt(basis.trials) + rounding;
    rescale(&out->fit, basis.sigma);
    out->fit.beta[0] += basis.shift;
    return NOF1_OK;
}

static nof1_rc advance_basis(struct nof1_next *out, double *theta, const struct re_model *model,
                             const struct nof1_history *history, struct nof1_error *error)
{
    struct re_result result;
    memset(&result, 0, sizeof result);
    result.pooled.ss = history->round[0].total[0];
    result.pooled.df = history->round[0].total[1];
    result.pooled.sigma_squared = result.pooled.ss / result.pooled.df;
    double lambda = 0.0;
    TRY(fit_basis(&result, &lambda, model, history, error));
    if (needs_zero(model) && !corrected_at(history, 0.0, 0.0)) {
        lambda = 0.0;
    }
    out->done = corrected_at(history, lambda, close_enough(model, lambda));
    out->parameters = out->done ? 0 : 1;
    out->parameter = theta;
    theta[0] = lambda;
    return NOF1_OK;
}

/* ---- own variances ---- */

static nof1_rc fit_own(struct re_result *out, double *wanted, const struct re_model *model,
                       const struct nof1_history *history, bool last, struct nof1_error *error)
{
    struct re_own own;
    struct nof1_two_stage_oracle oracle = re_own_oracle(&own, model, history);
    struct nof1_two_stage_options options = model->fit;
    options.trials = (double)history->counts.trials;
    nof1_rc_value rc = nof1_two_stage_fit(&out->fit, &options, &oracle);
    *wanted = own.wanted;
    if (rc == NOF1_E_NOT_FOUND && last) {
        out->rounds_short = true;
        options.interval = false;
        rc = nof1_two_stage_fit(&out->fit, &options, &oracle);
    }
    if (rc == NOF1_E_NOT_FOUND && last) {
        const struct nof1_round_total *round = &history->round[history->rounds - 1];
        options.fixed = history->rounds > 1 ? round->parameter[0] : 0.0;
        rc = nof1_two_stage_fit(&out->fit, &options, &oracle);
    }
    if (rc == NOF1_E_MODEL) {
        return not_enough(model, error);
    }
    TRY(rc);
    out->exact = out->fit.converged;
    rescale(&out->fit, model->scale);
    return NOF1_OK;
}

static nof1_rc advance_own(struct nof1_next *out, double *theta, const struct re_model *model,
                           const struct nof1_history *history, struct nof1_error *error)
{
    struct re_result result;
    memset(&result, 0, sizeof result);
    nof1_rc_value rc = fit_own(&result, theta, model, history, false, error);
    if (rc == NOF1_E_NOT_FOUND && theta[0] <= 0x1p40) {
        out->parameters = 1;
        out->parameter = theta;
        return NOF1_OK;
    }
    out->done = true;
    return rc == NOF1_E_NOT_FOUND ? NOF1_OK : rc;
}

/* ---- the contract ---- */

nof1_rc_value re_advance(const struct nof1_model *base, const struct nof1_history *history,
                         struct nof1_arena *arena, struct nof1_next *out, struct nof1_error *error)
{
    const struct re_model *model = (const struct re_model *)base;
    *out = (struct nof1_next){0};
    if (history->rounds == 0) {
        return NOF1_OK;
    }
    if (history->rounds >= base->max_rounds || model->release == RE_CLASS) {
        out->done = true;
        return NOF1_OK;
    }
    double *theta = nof1_arena_alloc(arena, 1, sizeof *theta);
    ENSURE(theta != NULL, NOF1_E_NO_MEMORY);
    return model->release == RE_BASIS ? advance_basis(out, theta, model, history, error)
                                      : advance_own(out, theta, model, history, error);
}

/* Elements of round 1 before `rows` of an own-variance layout. */
static size_t own_rows_index(const struct re_model *model)
{
    bool likelihood = model->fit.method == NOF1_TS_ML || model->fit.method == NOF1_TS_REML;
    size_t squares = 0;
    for (size_t i = 0; i < model->products; i++) {
        squares += model->product[i].kind == RE_XX;
    }
    size_t full = 1 + model->products;
    return likelihood ? 3 * full + 1 : 2 * full + 1 + squares;
}

nof1_rc re_result_of(struct re_result *out, const struct re_model *model,
                     const struct nof1_history *history, struct nof1_arena *arena,
                     struct nof1_error *error)
{
    memset(out, 0, sizeof *out);
    out->r_squared = NAN;
    ENSURE(history->rounds > 0, NOF1_E_BUG);
    const double *t = history->round[0].total;
    if (model->release == RE_OWN) {
        double wanted;
        out->pooled = (struct re_pooled){NAN, NAN, NAN, t[own_rows_index(model)]};
        TRY(fit_own(out, &wanted, model, history, true, error));
        uncentre(&out->fit, model);
        return NOF1_OK;
    }
    if (!(t[1] > 0.0)) {
        return nof1_fail(error, NOF1_E2601, "no trial repeats a treatment: no variance within "
                                            "trials; use summary_test");
    }
    out->pooled = (struct re_pooled){t[0], t[1], t[0] / t[1], t[2]};
    if (model->release == RE_CLASS) {
        TRY(fit_classes(out, model, history, arena, error));
    } else {
        double lambda;
        TRY(fit_basis(out, &lambda, model, history, error));
    }
    uncentre(&out->fit, model);
    return NOF1_OK;
}
