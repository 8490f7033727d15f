/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The analysis `mixed_model`: one-stage Gaussian mixed model with random intercept and, optionally,
 * random treatment effect per trial; ML or REML; Kenward-Roger or normal inference. This file is
 * the contract (nof1/analysis.h); the parts are mixed_*.c, the algebra lib/stats/gaussian*.
 */
#include <math.h>

#include <stats/registry.h>

#include "mixed.h"

static const struct mixed_slots *slots_of(const struct mixed_model *m)
{
    static const struct mixed_slots *const slots[] = {
        [MIXED_SCORE] = &mixed_score_slots,
        [MIXED_CLASS] = &mixed_class_slots,
        [MIXED_CYCLES] = &mixed_cycles_slots,
        [MIXED_POOL] = &mixed_pool_slots,
        [MIXED_SERIAL] = &mixed_serial_slots};
    return slots[m->form];
}

static nof1_rc_value model_prepare(struct nof1_model **out, struct nof1_arena *arena,
                                   const struct nof1_study *study, struct nof1_error *error)
{
    TRY(mixed_prepare(out, arena, study, error));
    (*out)->analysis = &nof1_mixed_model;
    return NOF1_OK;
}

static int model_group_of(const struct nof1_model *model, const struct nof1_trial *trial,
                          void *scratch)
{
    return slots_of(mixed_of(model))->group_of(mixed_of(model), trial, scratch);
}

static nof1_rc_value model_layout(const struct nof1_model *model, uint32_t round,
                                  struct nof1_arena *arena, struct nof1_layout *out)
{
    return slots_of(mixed_of(model))->layout(mixed_of(model), round, arena, out);
}

static nof1_rc_value model_contribute(const struct nof1_model *model, uint32_t round,
                                      const double *theta, const struct nof1_trial *trial,
                                      void *scratch, double *out)
{
    const struct mixed_model *m = mixed_of(model);
    return slots_of(m)->contribute(m, round, theta, trial, scratch, out);
}

static nof1_rc_value model_advance(const struct nof1_model *model,
                                   const struct nof1_history *history, struct nof1_arena *arena,
                                   struct nof1_next *out, struct nof1_error *error)
{
    const struct mixed_model *m = mixed_of(model);
    struct mixed_fit fit = {0};
    *out = (struct nof1_next){0};
    if (m->form == MIXED_SCORE) {
        return mixed_score_advance(m, history, arena, out, &fit, error);
    }
    if (m->form == MIXED_POOL) {
        return mixed_pool_advance(m, history, arena, out, &fit, error);
    }
    *out = (struct nof1_next){.done = history->rounds >= 1};
    return NOF1_OK;
}

static bool model_in_domain(const struct nof1_model *model, const double *theta, size_t parameters)
{
    const struct mixed_model *m = mixed_of(model);
    if (m->form == MIXED_CLASS || m->form == MIXED_CYCLES || m->form == MIXED_SERIAL) {
        return parameters == 0;
    }
    if (parameters == 0) { /* the basis round of the pooled form */
        return m->form == MIXED_POOL;
    }
    if (parameters != 2 * m->columns + m->terms) {
        return false;
    }
    for (size_t i = 0; i < parameters; i++) {
        bool intercept = i % m->columns == 0; /* may be as far from the centre as an outcome */
        double limit = i >= 2 * m->columns ? m->root_limit
                       : intercept         ? m->beta_limit + m->reach
                                           : m->beta_limit;
        if (!(fabs(theta[i]) <= limit)) {
            return false;
        }
    }
    return true;
}

/* Information of the trial on the treatment effect: 1 / (Gamma of the effect + u). */
static double model_weight(const struct nof1_model *model, const double *theta,
                           const struct nof1_trial *trial, void *scratch)
{
    const struct mixed_model *m = mixed_of(model);
    struct nof1_period_difference d = {0};
    struct nof1_series series;
    double gamma[NOF1_TERMS_MAX] = {0};
    double *column;
    if (m->form == MIXED_CLASS || m->form == MIXED_CYCLES || m->form == MIXED_SERIAL ||
        theta == NULL) {
        return 1; /* no round of these forms has parameters */
    }
    nof1_gaussian_square(gamma, theta + 2 * m->columns, &m->shape);
    if (m->form == MIXED_POOL) {
        nof1_series_of(&series, m->base.study, trial, scratch);
        nof1_period_difference(&d, &series);
    } else {
        mixed_rows(&series, &column, m, trial, scratch);
        d.k[0] = series.n[0];
        d.k[1] = series.n[1];
    }
    if (!m->treatment_wanted) {
        return (double)series.rows;
    }
    if (d.k[0] == 0 || d.k[1] == 0) {
        return 0;
    }
    double variance = m->form == MIXED_POOL ? gamma[0] : m->effects == 2 ? gamma[2] : 0;
    return 1 / (variance + 1 / (double)d.k[0] + 1 / (double)d.k[1]);
}

/* The total of the treatment's own element of X' H^-1 X, else the rows. */
static size_t model_weight_element(const struct nof1_model *model)
{
    const struct mixed_model *m = mixed_of(model);
    size_t first = m->form == MIXED_POOL ? 1 : 0; /* pool puts one element before those of score */
    for (size_t i = 0; i < m->columns; i++) {
        if (m->column[i].kind == MIXED_TREATMENT) {
            return first + mixed_score_diagonal(m, i);
        }
    }
    return first;
}

static nof1_rc_value model_report(const struct nof1_model *model,
                                  const struct nof1_history *history, struct nof1_arena *arena,
                                  json_t **out, struct nof1_error *error)
{
    const struct mixed_model *m = mixed_of(model);
    struct mixed_fit fit = {0};
    struct nof1_next next = {.done = history->rounds >= 1};
    if (m->form == MIXED_SCORE) {
        TRY(mixed_score_advance(m, history, arena, &next, &fit, error));
    } else if (m->form == MIXED_POOL) {
        TRY(mixed_pool_advance(m, history, arena, &next, &fit, error));
    }
    ENSURE(next.done, NOF1_E_BUG);
    if (m->form == MIXED_CLASS) {
        TRY(mixed_class_fit(m, history, arena, &fit, error));
    } else if (m->form == MIXED_CYCLES) {
        TRY(mixed_cycles_fit(m, history, arena, &fit, error));
    } else if (m->form == MIXED_SERIAL) {
        TRY(mixed_serial_fit(m, history, arena, &fit, error));
    }
    return mixed_report_json(out, arena, m, history, &fit);
}

static const struct nof1_option options[] = {
    {"fixed", NOF1_OPT_NAMES,
     "treatment, period, factor(period), time, cycle, factor(cycle), previous_treatment, stratum, "
     "site, block, charter covariates, treatment:COVARIATE",
     "[treatment]", 0, 0, "Fixed effects besides the intercept, which is implied."},
    {"random", NOF1_OPT_MAP,
     "{trial: [intercept]} or {trial: [intercept, treatment]}, and beside it \"trial:cycle\": "
     "[intercept], \"trial:treatment\": [intercept]",
     "{trial: [intercept, treatment]}", 0, 0,
     "Random effects of a trial, with unrestricted covariance."},
    {"residual", NOF1_OPT_CHOICE, "iid|by_treatment|ar1|car1", "iid", 0, 0,
     "Independent, with one variance or one for each treatment; or correlated by rho^distance "
     "within "
     "a trial (then random may be {trial: []}, and df is z): ar1 for whole distances (gaps "
     "allowed, rho may be negative), car1 for any distance, rho between 0 and 1."},
    {"by", NOF1_OPT_CHOICE, "time|period", "time", 0, 0,
     "What measures distance between correlated residuals: the time column, or the number of the "
     "period, with which one round suffices. No two rows of a trial may be equal in it."},
    {"method", NOF1_OPT_CHOICE, "REML|ML", "REML", 0, 0, "Restricted or full maximum likelihood."},
    {"df", NOF1_OPT_CHOICE, "auto|kenward_roger|satterthwaite|z", "auto", 0, 0,
     "Small-sample inference by Kenward and Roger (REML only) or Satterthwaite (forms of one round "
     "only), or the normal distribution; auto: kenward_roger for REML and independent residuals, "
     "else z."},
    {"tests", NOF1_OPT_NAMES, "variances, fixed", "[]", 0, 0,
     "Likelihood-ratio tests (class form): of each variance of a random effect, by method, p from "
     "the "
     "mixture of chi-squares that a boundary has; of each term of fixed, by maximum likelihood."},
    {"interval", NOF1_OPT_CHOICE, "wald|profile", "wald", 0, 0,
     "Confidence intervals: estimate and standard error, or (class form) the profile of the "
     "maximum-likelihood deviance, of standard deviations too."},
    {"level", NOF1_OPT_NUMBER, "between 0 and 1", "0.95", 0, 1, "Level of confidence intervals."},
    {"incomplete", NOF1_OPT_CHOICE, "auto|class|exclude|score|pool|cycles", "auto", 0, 0,
     "What to release when data are incomplete: class (one round, needs every trial in a charter "
     "class), score (the model as written, by rounds), pool (period differences on a public weight "
     "basis), cycles (differences of complete cycles), exclude (drop trials outside the classes); "
     "auto chooses class, else score within the budget, else pool, exclude, cycles, the first that "
     "the data allow."},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

const struct nof1_analysis nof1_mixed_model = {
    .id = "mixed_model",
    .version = 1,
    .summary = "one-stage mixed model: random intercept and treatment effect per trial",
    .option = options,
    .many_arms = true,
    .prepare = model_prepare,
    .group_of = model_group_of,
    .layout = model_layout,
    .contribute = model_contribute,
    .site_value = mixed_site_value,
    .advance = model_advance,
    .in_domain = model_in_domain,
    .weight = model_weight,
    .weight_element = model_weight_element,
    .report = model_report};
