/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From the totals of the two-stage or one-stage release to a posterior (docs/statistics.md,
 * `bayes`). Pure functions of model and totals. Means are taken out of the sums before anything is
 * squared.
 */
#include "bayes_model.h"

#include <math.h>
#include <string.h>

#include "mixed.h"
#include "random_effects.h"

static const struct nof1_bayes_prior none = {NOF1_BAYES_FIXED, 0.0, 1.0};

/* The power by which the tail of the posterior of a standard deviation falls: the prior's, and
 * one for each unit of data. */
static double tail_power(const struct nof1_bayes_prior *prior, double units)
{
    return units + (prior->family == NOF1_BAYES_HALF_CAUCHY ? 2.0
                    : prior->family == NOF1_BAYES_HALF_T    ? prior->df + 1.0
                    : prior->family == NOF1_BAYES_JEFFREYS  ? 1.0
                                                            : INFINITY);
}

unsigned bayes_moments(const struct nof1_bayes_prior *prior, double units)
{
    double tail = tail_power(prior, units);
    return tail > 3.0 ? 2 : tail > 2.0 ? 1 : 0;
}

/* The axis of a standard deviation under its prior; units: see bayes_moments. */
static struct nof1_bayes_axis axis_of(const struct nof1_bayes_prior *prior, double scale, bool even,
                                      double units)
{
    bool heavy = prior->family == NOF1_BAYES_HALF_CAUCHY || prior->family == NOF1_BAYES_HALF_T;
    scale = scale > 0.0 ? scale : 1.0;
    if (heavy && even) { /* such a prior has poles at its scale */
        scale = fmin(scale, prior->scale);
    }
    return (struct nof1_bayes_axis){*prior, scale, even, tail_power(prior, units) < 4.5,
                                    bayes_moments(prior, units)};
}

static nof1_rc integrate(struct bayes_result *out, struct nof1_arena *arena,
                         struct nof1_bayes_problem *problem, struct nof1_error *error)
{
    nof1_rc_value rc = nof1_bayes_integrate(&out->posterior, arena, problem);
    if (rc == NOF1_E_MODEL) {
        return nof1_fail(error, NOF1_E_MODEL, "%s",
                         out->zero_within
                             ? "the posterior cannot be normalised: no variation inside any trial, "
                               "and none between trials either; use descriptive"
                             : "the priors' scales and the data's lie too far apart for the "
                               "posterior to be found: give the priors in the outcome's unit");
    }
    return rc;
}

/* Sigma as data tell it: without any variation it is 0, and known. */
static void choose_sigma(struct bayes_result *out, struct nof1_bayes_prior *sigma, bool *known,
                         const struct bayes_model *model)
{
    *sigma = model->sigma;
    out->zero_within = !(out->ss > 0.0) && out->df > 0.0;
    *known = model->plug_in || out->zero_within;
    if (*known) {
        *sigma = (struct nof1_bayes_prior){NOF1_BAYES_FIXED,
                                           out->zero_within ? 0.0 : sqrt(out->ss / out->df), 1.0};
    }
}

/* ---- two-stage ---- */

struct by_stratum { double trials[NOF1_BAYES_STRATA], sum[NOF1_BAYES_STRATA], square; };

/* Sums of a class by stratum, about shift; column 0 of x is 1, column s indicates stratum s. */
static struct by_stratum split(const struct nof1_two_stage_power *sum, size_t strata, double shift)
{
    long double c = shift, n = sum->xx[0], y = sum->xy[0];
    struct by_stratum out = {.trials = {sum->xx[0]}, .sum = {sum->xy[0]}};
    for (size_t s = 1; s < strata; s++) {
        out.trials[s] = sum->xx[s];
        out.sum[s] = sum->xy[s];
        out.trials[0] -= sum->xx[s];
        out.sum[0] -= sum->xy[s];
    }
    for (size_t s = 0; s < strata; s++) {
        out.sum[s] = (double)((long double)out.sum[s] - c * (long double)out.trials[s]);
    }
    out.square = fmax(0.0, (double)((long double)sum->yy - 2 * c * y + c * c * n));
    return out;
}

/* One trial in each stratum has no scatter: what rounding leaves must not pass for one. */
static struct nof1_bayes_cell cell_of(const struct by_stratum *sums, double u, size_t strata)
{
    struct nof1_bayes_cell cell = {.u = u};
    long double scatter = sums->square;
    bool repeated = false;
    for (size_t s = 0; s < strata; s++) {
        cell.trials[s] = sums->trials[s];
        if (sums->trials[s] > 0.0) {
            cell.mean[s] = sums->sum[s] / sums->trials[s];
            scatter -= (long double)sums->sum[s] * (long double)sums->sum[s] /
                       (long double)sums->trials[s];
            repeated = repeated || sums->trials[s] > 1.0;
        }
    }
    cell.scatter = repeated ? fmax(0.0, (double)scatter) : 0.0;
    return cell;
}

static nof1_rc two_classes(struct bayes_result *out, const struct re_model *stage,
                           const struct nof1_history *history, struct nof1_arena *arena,
                           double *spread)
{
    struct nof1_two_stage_cells cells;
    double *u, trials = 0.0, sum = 0.0, square = 0.0;
    TRY(re_class_cells(&cells, &u, stage, history, arena));
    struct nof1_bayes_cell *cell = nof1_arena_alloc(arena, cells.cells + 1, sizeof *cell);
    ENSURE(cell != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < cells.cells; c++) {
        trials += cells.sum[c].xx[0];
        sum += cells.sum[c].xy[0];
    }
    out->two.shift = trials > 0.0 ? (double)(float)(sum / trials) : 0.0;
    for (size_t c = 0; c < cells.cells; c++) {
        struct by_stratum sums = split(&cells.sum[c], stage->columns, out->two.shift);
        cell[c] = cell_of(&sums, u[c], stage->columns);
        square += sums.square;
    }
    out->two.cells = cells.cells;
    out->two.cell = cell;
    out->trials = trials;
    *spread = trials > 0.0 ? sqrt(square / trials) : 0.0;
    return NOF1_OK;
}

struct basis { struct re_basis sums; struct nof1_two_stage_oracle oracle; };

static nof1_rc_value basis_sums(void *self, double lambda, struct nof1_bayes_weighted *out)
{
    struct basis *basis = self;
    struct nof1_two_stage_sums sums;
    size_t strata = basis->sums.model->columns;
    double sigma = basis->sums.sigma;
    TRY(basis->oracle.weighted(&basis->sums, lambda, &sums));
    struct by_stratum cell = split(&sums.w[1], strata, 0.0);
    *out = (struct nof1_bayes_weighted){.wyy = cell.square * sigma * sigma,
                                        .log_sum = sums.log_sum};
    for (size_t s = 0; s < strata; s++) {
        ENSURE(cell.trials[s] >= 0.0, NOF1_E_MODEL);
        out->w[s] = cell.trials[s];
        out->wy[s] = cell.sum[s] * sigma;
    }
    return NOF1_OK;
}

static nof1_rc two_basis(struct bayes_result *out, const struct re_model *stage,
                         const struct nof1_history *history, struct nof1_arena *arena,
                         double *spread)
{
    struct basis *basis = nof1_arena_alloc(arena, 1, sizeof *basis);
    ENSURE(basis != NULL, NOF1_E_NO_MEMORY);
    basis->oracle = re_basis_oracle(&basis->sums, stage, history);
    out->two.sums = basis_sums;
    out->two.sums_self = basis;
    out->two.shift = basis->sums.shift;
    out->trials = basis->sums.trials;
    *spread = basis->sums.sigma;
    return NOF1_OK;
}

/* The basis' relative error of weights, at the posterior's heaviest node, in standard errors. */
static double basis_error(const struct bayes_result *out)
{
    const struct nof1_bayes_posterior *p = &out->posterior;
    const struct nof1_bayes_node *best = &p->node[0];
    struct basis *basis = out->two.sums_self;
    struct nof1_bayes_weighted unused;
    for (size_t i = 1; i < p->nodes; i++) {
        best = p->node[i].weight > best->weight ? &p->node[i] : best;
    }
    double lambda = best->at[0] * best->at[0] / (best->at[1] * best->at[1]);
    return basis_sums(basis, lambda, &unused) == NOF1_OK
               ? basis->sums.error * sqrt(basis->sums.trials)
               : 0.0;
}

static nof1_rc name_strata(struct bayes_result *out, const struct re_model *stage,
                           struct nof1_arena *arena)
{
    const struct nof1_study *study = stage->base.study;
    const char **name = nof1_arena_alloc(arena, stage->columns, sizeof *name);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    const struct nof1_covariate *covariate = &study->charter->covariate[stage->column[1].covariate];
    name[0] = covariate->level[study->plan->strata > 0 ? study->plan->stratum[0] : 0];
    for (size_t s = 1; s < stage->columns; s++) {
        name[s] = covariate->level[stage->column[s].level];
    }
    out->strata = stage->columns;
    out->stratum = name;
    return NOF1_OK;
}

/* The smallest relative variance of an effect; 1 where only weights know them. */
static double least_u(const struct nof1_bayes_two *two)
{
    double least = INFINITY;
    for (size_t c = 0; c < two->cells; c++) {
        least = fmin(least, two->cell[c].u);
    }
    return isfinite(least) ? least : 1.0;
}

static nof1_rc two_posterior(struct bayes_result *out, const struct bayes_model *model,
                             const struct nof1_bayes_prior *tau,
                             const struct nof1_history *history, struct nof1_arena *arena,
                             struct nof1_error *error)
{
    const struct re_model *stage = (const struct re_model *)model->inner;
    const double *total = history->round[0].total;
    struct nof1_bayes_two *two = &out->two;
    struct nof1_bayes_prior sigma_prior;
    double spread;
    out->ss = total[0];
    out->df = total[1];
    out->rows = total[2];
    if (!(out->df > 0.0)) {
        return nof1_fail(error, NOF1_E2601, "no trial repeats a treatment: no variance within "
                                            "trials; use descriptive");
    }
    TRY(stage->release == RE_CLASS ? two_classes(out, stage, history, arena, &spread)
                                   : two_basis(out, stage, history, arena, &spread));
    if (!(out->trials > 0.0)) {
        return nof1_fail(error, NOF1_E_MODEL, "no trial has an effect");
    }
    two->strata = model->borrow ? stage->columns : 1;
    two->trials = out->trials;
    two->ss = out->ss;
    two->df = out->df;
    two->mean = model->mean[1];
    two->sd = model->sd[1];
    two->last_tau = NAN;
    choose_sigma(out, &sigma_prior, &two->sigma_known, model);
    if (out->zero_within && stage->release != RE_CLASS) {
        return nof1_fail(error, NOF1_E_MODEL, "no variation inside any trial; use descriptive");
    }
    double sigma = sqrt(out->ss / out->df);
    bool even = sigma > 0.0;
    spread = fmax(spread, even ? 0.1 * sigma : 1e-3 * two->sd);
    double noise = even ? fmax(sigma * sqrt(least_u(two)), 1e-3 * spread) : spread;
    struct nof1_bayes_problem problem = {
        3,
        {axis_of(tau, noise, even, out->trials),
         axis_of(&sigma_prior, sigma, false, out->df + out->trials),
         axis_of(model->borrow ? &model->spread : &none, noise, even, (double)two->strata)},
        nof1_bayes_two_density, two, false};
    TRY(integrate(out, arena, &problem, error));
    out->approximation = stage->release == RE_CLASS ? 0.0 : basis_error(out);
    return model->borrow ? name_strata(out, stage, arena) : NOF1_OK;
}

/* ---- one-stage ---- */

/* Moments of (reference mean, difference) from those of (trial mean, difference). */
static void one_class(struct nof1_bayes_class *out, const struct mixed_cell *cell,
                      const double *total, double trials)
{
    long double n = trials, f = (long double)cell->n[1] / (long double)(cell->n[0] + cell->n[1]);
    long double m = total[0] / n, d = total[1] / n;
    long double mm = total[2] - n * m * m, dm = total[3] - n * d * m, dd = total[4] - n * d * d;
    double c11 = fmax(0.0, (double)(mm - 2 * f * dm + f * f * dd)), c22 = fmax(0.0, (double)dd);
    double most = sqrt(c11) * sqrt(c22), c12 = fmin(most, fmax(-most, (double)(dm - f * dd)));
    *out = (struct nof1_bayes_class){.n = {(double)cell->n[0], (double)cell->n[1]},
                                     .trials = trials,
                                     .mean = {(double)(m - f * d), (double)d},
                                     .scatter = {c11, c12, c22}};
    if (trials == 1.0) { /* what rounding leaves must not pass for scatter */
        memset(out->scatter, 0, sizeof out->scatter);
    }
}

static nof1_rc one_classes(struct bayes_result *out, const struct mixed_model *mixed,
                           const struct nof1_history *history, struct nof1_arena *arena,
                           double shift[2])
{
    struct nof1_bayes_class *class_ = nof1_arena_alloc(arena, mixed->cells + 1, sizeof *class_);
    ENSURE(class_ != NULL, NOF1_E_NO_MEMORY);
    const double *total = history->round[0].total;
    size_t size = mixed_cell_elements(mixed);
    ENSURE(size == 5 && mixed->base.max_elements == mixed->cells * size + 1, NOF1_E_BUG);
    for (size_t c = 0; c < mixed->cells; c++) {
        double trials = (double)history->counts.group_trials[c];
        const struct mixed_cell *cell = &mixed->cell[c];
        if (trials > 0.0) {
            one_class(&class_[out->one.classes++], cell, total + c * size, trials);
            out->trials += trials;
            out->rows += trials * (double)(cell->n[0] + cell->n[1]);
        }
    }
    out->one.class_ = class_;
    out->ss = total[mixed->cells * size];
    out->df = out->rows - 2.0 * out->trials;
    for (size_t k = 0; k < 2; k++) {
        double sum = 0.0;
        for (size_t c = 0; c < out->one.classes; c++) {
            sum += class_[c].trials * class_[c].mean[k];
        }
        shift[k] = out->trials > 0.0 ? sum / out->trials : 0.0;
        for (size_t c = 0; c < out->one.classes; c++) {
            class_[c].mean[k] -= shift[k];
        }
    }
    return NOF1_OK;
}

static double one_spread(const struct nof1_bayes_one *one, size_t k, double trials)
{
    double square = 0.0;
    for (size_t c = 0; c < one->classes; c++) {
        const struct nof1_bayes_class *class_ = &one->class_[c];
        square += class_->scatter[k == 0 ? 0 : 2];
        square += class_->trials * class_->mean[k] * class_->mean[k];
    }
    return sqrt(square / trials);
}

/* The smallest standard error, in sigmas, of a reference arm's mean (0) or of a difference (1). */
static double least_noise(const struct nof1_bayes_one *one, size_t k)
{
    double least = INFINITY;
    for (size_t c = 0; c < one->classes; c++) {
        const double *n = one->class_[c].n;
        least = fmin(least, 1.0 / n[0] + (k == 1 ? 1.0 / n[1] : 0.0));
    }
    return sqrt(least);
}

static nof1_rc one_posterior(struct bayes_result *out, const struct bayes_model *model,
                             const struct nof1_bayes_prior *tau,
                             const struct nof1_history *history, struct nof1_arena *arena,
                             struct nof1_error *error)
{
    const struct mixed_model *mixed = mixed_of(model->inner);
    const struct nof1_plan *plan = model->base.study->plan;
    double centre = model->base.study->charter->outcome[plan->outcome].centre, shift[2];
    struct nof1_bayes_one *one = &out->one;
    bool known;
    TRY(one_classes(out, mixed, history, arena, shift));
    if (!(out->trials > 0.0)) {
        return nof1_fail(error, NOF1_E_MODEL, "no trial belongs to a class");
    }
    struct nof1_bayes_prior sigma_prior, correlation = model->correlation;
    choose_sigma(out, &sigma_prior, &known, model);
    if (!(out->df > 0.0) && sigma_prior.family == NOF1_BAYES_JEFFREYS) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "no trial repeats a treatment: rows do not tell sigma; "
                         "give it a proper prior, as in priors: {sigma: "
                         "{half_normal: scale}}");
    }
    one->ss = known ? 0.0 : out->ss;
    one->df = known ? 0.0 : out->df;
    one->shift = shift[1];
    for (size_t k = 0; k < 2; k++) {
        one->mean[k] = model->mean[k] - shift[k] - (k == 0 ? centre : 0.0);
        one->sd[k] = model->sd[k];
    }
    double sigma = out->df > 0.0 ? sqrt(out->ss / out->df) : 0.0, n = out->trials;
    double level = one_spread(one, 0, n), effect = one_spread(one, 1, n);
    bool even = sigma > 0.0;
    bool zero = (tau->family == NOF1_BAYES_FIXED && tau->scale == 0.0) ||
                (model->spread.family == NOF1_BAYES_FIXED && model->spread.scale == 0.0);
    if (zero) { /* no correlation without two variances */
        correlation = none;
    }
    double least = fmax(0.1 * sigma, 1e-6 * one->sd[1]);
    level = even ? fmax(sigma * least_noise(one, 0), 1e-3 * level) : fmax(level, least);
    effect = even ? fmax(sigma * least_noise(one, 1), 1e-3 * effect) : fmax(effect, least);
    struct nof1_bayes_problem problem = {
        4,
        {axis_of(tau, effect, even, n),
         axis_of(&sigma_prior, even ? sigma : effect, false, out->df + n),
         axis_of(&model->spread, level, even, n), axis_of(&correlation, 1.0, false, 0.0)},
        nof1_bayes_one_density, one, tau != &model->tau};
    return integrate(out, arena, &problem, error);
}

nof1_rc_value bayes_posterior(struct bayes_result *out, const struct bayes_model *model,
                              const struct nof1_bayes_prior *tau,
                              const struct nof1_history *history, struct nof1_arena *arena,
                              struct nof1_error *error)
{
    memset(out, 0, sizeof *out);
    ENSURE(history->rounds > 0, NOF1_E_BUG);
    const struct nof1_bayes_prior *prior = tau == NULL ? &model->tau : tau;
    return model->one_stage ? one_posterior(out, model, prior, history, arena, error)
                            : two_posterior(out, model, prior, history, arena, error);
}
