/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The result of a Bayesian plan as JSON (docs/interfaces.md): posterior, probabilities, the next
 * patient, the table of other priors (always), and the hyper-posterior from which a node computes
 * its own patients' results. Absent numbers are null, and a warning says why.
 */
#include "bayes_model.h"

#include <math.h>
#include <stdio.h>

#include <base/json.h>
#include <stats/report.h>

#define GRID_LEAST 1e-9 /* weights below are not published */

struct writer {
    const struct bayes_model *model;
    const struct nof1_history *history;
    struct nof1_arena *arena;
    struct bayes_result *result;
    const struct nof1_bayes_posterior *p;
    struct nof1_bayes_mixture mean, next; /* of the mean effect and of the next patient's */
    json_t *warnings;
    int benefit;      /* +1, -1, or 0 when the charter does not say */
};

struct summary { double mean, sd, median, low, high; };

/* How much of tau^2 and omega^2 adds to the variance: none, patients', and that of new strata. */
static const double no_spread[2] = {0.0, 0.0}, patients[2] = {1.0, 0.0},
                    new_stratum[2] = {1.0, 1.0};

/* ---- summaries ---- */

/* Of the mean effect or of the next patient's, by its mixture. */
static nof1_rc effect_summary(struct summary *out, const struct nof1_bayes_mixture *m, double level,
                              bool has_sd)
{
    double mean = 0.0, variance = 0.0, half = 0.5 * (1.0 - level);
    for (size_t i = 0; i < m->parts; i++) {
        mean += m->weight[i] * m->mean[i];
    }
    for (size_t i = 0; i < m->parts; i++) {
        double e = m->mean[i] - mean;
        variance += m->weight[i] * (m->sd[i] * m->sd[i] + e * e);
    }
    out->mean = mean;
    out->sd = has_sd ? sqrt(variance) : NAN;
    TRY(nof1_bayes_mixture_quantile(&out->median, m, 0.5));
    TRY(nof1_bayes_mixture_quantile(&out->low, m, half));
    return nof1_bayes_mixture_quantile(&out->high, m, 1.0 - half);
}

static void axis_summary(struct summary *out, const struct nof1_bayes_posterior *p, size_t axis,
                         double level, bool has_sd)
{
    const struct nof1_bayes_marginal *marginal = &p->marginal[axis];
    nof1_bayes_marginal_moments(marginal, &out->mean, &out->sd);
    out->sd = has_sd ? out->sd : NAN;
    out->median = nof1_bayes_marginal_quantile(marginal, 0.5);
    out->low = nof1_bayes_marginal_quantile(marginal, 0.5 * (1.0 - level));
    out->high = nof1_bayes_marginal_quantile(marginal, 0.5 * (1.0 + level));
}

static json_t *summary_row(const char *term, const struct summary *s)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o}", "quantity", term, "mean",
                     nof1_json_number(s->mean), "sd", nof1_json_number(s->sd), "median",
                     nof1_json_number(s->median), "low", nof1_json_number(s->low), "high",
                     nof1_json_number(s->high));
}

static json_t *estimate_row(const char *term, const struct summary *s)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:o}", "term", term, "estimate", nof1_json_number(s->mean),
                     "std.error", nof1_json_number(s->sd), "conf.low", nof1_json_number(s->low),
                     "conf.high", nof1_json_number(s->high));
}

/* P(effect beyond `least` in the direction of benefit). */
static double beyond(const struct writer *w, const struct nof1_bayes_mixture *m, double least)
{
    return w->benefit == 0  ? NAN
           : w->benefit > 0 ? nof1_bayes_mixture_upper(m, least)
                            : nof1_bayes_mixture_lower(m, -least);
}

static json_t *probabilities(const struct writer *w, const struct nof1_bayes_mixture *m)
{
    double above = nof1_bayes_mixture_upper(m, 0.0);
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "above.zero", nof1_json_number(above),
                     "above.mcid",
                     nof1_json_number(nof1_bayes_mixture_upper(m, w->model->mcid)),
                     "below.minus.mcid",
                     nof1_json_number(nof1_bayes_mixture_lower(m, -w->model->mcid)),
                     "benefit", nof1_json_number(beyond(w, m, 0.0)), "benefit.mcid",
                     nof1_json_number(beyond(w, m, w->model->mcid)));
}

/* ---- strata ---- */

static nof1_rc stratum_posterior(struct nof1_bayes_posterior *out, const struct writer *w, size_t s)
{
    *out = *w->p;
    out->node = nof1_arena_alloc(w->arena, out->nodes, sizeof *out->node);
    ENSURE(out->node != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < out->nodes; i++) {
        out->node[i] = w->p->node[i];
        out->node[i].mean = nof1_bayes_two_stratum(&w->result->two, out->node[i].at, s);
    }
    return NOF1_OK;
}

static void put_chance(const struct writer *w, json_t *chances, const struct nof1_bayes_mixture *m,
                       const char *whose)
{
    json_t *row = probabilities(w, m);
    json_object_set_new(row, "effect of", json_string(whose));
    json_array_append_new(chances, row);
}

/* Each stratum's mean effect, and the next patient of it. */
static nof1_rc write_strata(const struct writer *w, json_t *estimates, json_t *quantities,
                            json_t *chances, bool tail)
{
    for (size_t s = 0; s < w->result->strata; s++) {
        struct nof1_bayes_posterior p;
        struct nof1_bayes_mixture mean, next;
        struct summary summary;
        char text[200];
        TRY(stratum_posterior(&p, w, s));
        TRY(nof1_bayes_mixture(&mean, w->arena, &p, no_spread));
        TRY(nof1_bayes_mixture(&next, w->arena, &p, patients));
        TRY(effect_summary(&summary, &mean, w->model->level, true));
        snprintf(text, sizeof text, "stratum:%s", w->result->stratum[s]);
        json_array_append_new(estimates, estimate_row(text, &summary));
        put_chance(w, chances, &mean, text);
        snprintf(text, sizeof text, "next patient of %s", w->result->stratum[s]);
        TRY(effect_summary(&summary, &next, w->model->level, tail));
        json_array_append_new(quantities, summary_row(text, &summary));
        put_chance(w, chances, &next, text);
    }
    return NOF1_OK;
}

/* ---- hyper-posterior ---- */

/* Nodes of one (tau, sigma) as one normal, for the mean effect and for each stratum's. */
struct group {
    double tau, sigma2, weight, origin[NOF1_BAYES_STRATA], first[NOF1_BAYES_STRATA],
        second[NOF1_BAYES_STRATA];
};
struct groups { struct group *group; int32_t low[2], high[2]; size_t columns, all, effects; };

static void gather(struct groups *groups, const struct writer *w,
                   const struct nof1_bayes_node *node)
{
    size_t row = (size_t)(node->index[0] - groups->low[0]);
    struct group *group =
        &groups->group[row * groups->columns + (size_t)(node->index[1] - groups->low[1])];
    bool fresh = group->weight == 0.0;
    group->tau = node->at[0];
    group->sigma2 = node->at[1] * node->at[1];
    group->weight += node->weight;
    for (size_t s = 0; s < groups->effects; s++) {
        struct nof1_bayes_normal mean =
            w->result->strata > 0 ? nof1_bayes_two_stratum(&w->result->two, node->at, s)
                                  : node->mean;
        group->origin[s] = fresh ? mean.mean : group->origin[s];
        double e = mean.mean - group->origin[s];
        group->first[s] += node->weight * e;
        group->second[s] += node->weight * (e * e + mean.variance);
    }
}

static nof1_rc gather_all(struct groups *groups, const struct writer *w)
{
    const struct nof1_bayes_posterior *p = w->p;
    groups->effects = w->result->strata > 0 ? w->result->strata : 1;
    for (size_t a = 0; a < 2; a++) {
        groups->low[a] = INT32_MAX;
        groups->high[a] = INT32_MIN;
        for (size_t i = 0; i < p->nodes; i++) {
            int32_t at = p->node[i].index[a];
            groups->low[a] = at < groups->low[a] ? at : groups->low[a];
            groups->high[a] = at > groups->high[a] ? at : groups->high[a];
        }
    }
    groups->columns = (size_t)(groups->high[1] - groups->low[1] + 1);
    size_t rows = (size_t)(groups->high[0] - groups->low[0] + 1);
    groups->all = rows * groups->columns;
    groups->group = nof1_arena_alloc(w->arena, groups->all, sizeof *groups->group);
    ENSURE(groups->group != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < p->nodes; i++) {
        gather(groups, w, &p->node[i]);
    }
    return NOF1_OK;
}

struct grid {
    json_t *tau, *sigma2, *weight, *mean[NOF1_BAYES_STRATA], *variance[NOF1_BAYES_STRATA];
};

static void write_group(struct grid *grid, const struct group *group, size_t effects)
{
    if (!(group->weight > GRID_LEAST)) {
        return;
    }
    json_array_append_new(grid->tau, json_real(group->tau));
    json_array_append_new(grid->sigma2, json_real(group->sigma2));
    json_array_append_new(grid->weight, json_real(group->weight));
    for (size_t s = 0; s < effects; s++) {
        double e = group->first[s] / group->weight;
        json_array_append_new(grid->mean[s], json_real(group->origin[s] + e));
        json_array_append_new(grid->variance[s],
                              json_real(fmax(0.0, group->second[s] / group->weight - e * e)));
    }
}

static nof1_rc hyper_posterior(json_t **out, const struct writer *w)
{
    struct groups groups;
    TRY(gather_all(&groups, w));
    struct grid grid = {json_array(), json_array(), json_array(), {0}, {0}};
    for (size_t s = 0; s < groups.effects; s++) {
        grid.mean[s] = json_array();
        grid.variance[s] = json_array();
    }
    for (size_t g = 0; g < groups.all; g++) {
        write_group(&grid, &groups.group[g], groups.effects);
    }
    *out = json_pack("{s:o,s:o,s:o}", "tau", grid.tau, "sigma.squared", grid.sigma2, "weight",
                     grid.weight);
    json_t *strata = json_array();
    for (size_t s = 0; s < groups.effects; s++) {
        const char *name = w->result->strata > 0 ? w->result->stratum[s] : NULL;
        json_array_append_new(strata, json_pack("{s:s?,s:o,s:o}", "stratum", name, "mu.mean",
                                                grid.mean[s], "mu.variance", grid.variance[s]));
    }
    json_object_set_new(*out, "effects", strata);
    return NOF1_OK;
}

/* ---- tables ---- */

static json_t *table(const char *title, const char *const *column, size_t columns, json_t *cells)
{
    json_t *names = json_array();
    for (size_t c = 0; c < columns; c++) {
        json_array_append_new(names, json_string(column[c]));
    }
    return json_pack("{s:s,s:o,s:o}", "title", title, "columns", names, "cells", cells);
}

static nof1_rc posterior_table(const struct writer *w, json_t *tables, const struct summary *mu)
{
    static const char *const columns[] = {"quantity", "mean", "sd", "median", "low", "high"};
    const struct bayes_model *m = w->model;
    const struct bayes_result *r = w->result;
    struct summary s;
    json_t *cells = json_array();
    bool tail = bayes_moments(&m->tau, r->trials) == 2, strata_tail = tail;
    if (m->borrow) {
        strata_tail = tail && bayes_moments(&m->spread, (double)r->strata) == 2;
    }
    const char *const third = m->one_stage ? "intercept_sd" : "omega";
    json_array_append_new(tables, table("Posterior", columns, 6, cells));
    json_array_append_new(cells, summary_row("mu", mu));
    TRY(effect_summary(&s, &w->next, m->level, strata_tail));
    json_array_append_new(cells, summary_row("next patient", &s));
    axis_summary(&s, w->p, 0, m->level, tail);
    json_array_append_new(cells, summary_row("tau", &s));
    bool plug_in = m->plug_in || r->zero_within;
    axis_summary(&s, w->p, 1, m->level,
                     plug_in || bayes_moments(&m->sigma, r->df + r->trials) == 2);
    json_array_append_new(cells, summary_row("sigma", &s));
    if (m->one_stage || m->borrow) {
        double units = m->one_stage ? r->trials : (double)r->strata;
        axis_summary(&s, w->p, 2, m->level, bayes_moments(&m->spread, units) == 2);
        json_array_append_new(cells, summary_row(third, &s));
    }
    if (m->one_stage) {
        axis_summary(&s, w->p, 3, m->level, true);
        json_array_append_new(cells, summary_row("correlation", &s));
    }
    return NOF1_OK;
}

/* ---- sensitivity ---- */

#define PRIORS 7

/* The plan's prior, and others about its scale. */
static void other_priors(struct nof1_bayes_prior out[PRIORS], const struct bayes_model *model)
{
    const struct nof1_outcome *outcome =
        &model->base.study->charter->outcome[model->base.study->plan->outcome];
    double s = model->tau.family == NOF1_BAYES_FIXED     ? (outcome->upper - outcome->lower) / 4.0
               : model->tau.family == NOF1_BAYES_UNIFORM ? model->tau.scale / 2.0
                                                         : model->tau.scale;
    out[0] = model->tau;
    out[1] = (struct nof1_bayes_prior){NOF1_BAYES_HALF_NORMAL, s / 4.0, 1.0};
    out[2] = (struct nof1_bayes_prior){NOF1_BAYES_HALF_NORMAL, s / 2.0, 1.0};
    out[3] = (struct nof1_bayes_prior){NOF1_BAYES_HALF_NORMAL, 2.0 * s, 1.0};
    out[4] = (struct nof1_bayes_prior){NOF1_BAYES_HALF_CAUCHY, s, 1.0};
    out[5] = (struct nof1_bayes_prior){NOF1_BAYES_UNIFORM, 4.0 * s, 1.0};
    out[6] = (struct nof1_bayes_prior){NOF1_BAYES_FIXED, 0.0, 1.0};
}

struct sensitivity { double low, high, chance_low, chance_high; };

static nof1_rc sensitivity_row(struct writer *w, json_t *cells, struct sensitivity *range,
                               const struct nof1_bayes_prior *prior)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    struct bayes_result other;
    struct summary mu, tau;
    char text[64];
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = bayes_posterior(&other, w->model, prior, w->history, arena, NULL);
    if (rc == NOF1_E_MODEL) { /* no variation at all under tau = 0 */
        return NOF1_OK;
    }
    TRY(rc);
    const struct nof1_bayes_posterior *p = &other.posterior;
    struct nof1_bayes_mixture mixture;
    TRY(nof1_bayes_mixture(&mixture, arena, p, no_spread));
    TRY(effect_summary(&mu, &mixture, w->model->level, true));
    axis_summary(&tau, p, 0, w->model->level, true);
    double benefit = beyond(w, &mixture, 0.0), mcid = beyond(w, &mixture, w->model->mcid);
    double above = nof1_bayes_mixture_upper(&mixture, 0.0);
    if (prior->family != NOF1_BAYES_FIXED) {
        range->low = fmin(range->low, mu.mean);
        range->high = fmax(range->high, mu.mean);
        range->chance_low = fmin(range->chance_low, above);
        range->chance_high = fmax(range->chance_high, above);
    }
    bayes_prior_text(text, prior);
    json_array_append_new(
        cells, json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "prior of tau", text, "mu",
                         nof1_json_number(mu.mean), "sd", nof1_json_number(mu.sd), "low",
                         nof1_json_number(mu.low), "high", nof1_json_number(mu.high), "tau",
                         nof1_json_number(tau.median), "benefit", nof1_json_number(benefit),
                         "benefit.mcid", nof1_json_number(mcid), "log.marginal",
                         nof1_json_number(p->log_evidence)));
    return NOF1_OK;
}

static nof1_rc sensitivity_table(struct writer *w, json_t *tables, double sd)
{
    static const char *const columns[] = {"prior of tau", "mu", "sd", "low", "high", "tau",
                                          "benefit", "benefit.mcid"};
    struct nof1_bayes_prior prior[PRIORS];
    struct sensitivity range = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    json_t *cells = json_array();
    json_array_append_new(tables, table("Sensitivity to the prior of tau (its own first)", columns,
                                        8, cells));
    other_priors(prior, w->model);
    for (size_t i = 0; i < PRIORS; i++) {
        TRY(sensitivity_row(w, cells, &range, &prior[i]));
    }
    nof1_warn(w->warnings,
              range.high - range.low > 0.5 * sd || range.chance_high - range.chance_low > 0.1,
              "prior_sensitive", "the conclusion depends on the prior of tau: see the table");
    return NOF1_OK;
}

/* ---- warnings ---- */

static nof1_rc prior_warnings(struct writer *w, const struct summary *mu)
{
    const struct bayes_model *m = w->model;
    struct summary tau;
    axis_summary(&tau, w->p, 0, 0.9, true);
    double width = nof1_bayes_prior_quantile(&m->tau, 0.95) -
                   nof1_bayes_prior_quantile(&m->tau, 0.05);
    const struct nof1_study *study = m->base.study;
    enum nof1_outcome_kind kind = study->charter->outcome[study->plan->outcome].kind;
    nof1_warn(
        w->warnings, kind != NOF1_CONTINUOUS, "normal_model",
        "the outcome is not continuous: its means are modelled as normal; glmm models it as it "
        "is");
    nof1_warn(w->warnings, w->result->trials == 1.0, "one_trial",
              "one trial in all: only the prior tells how effects vary between patients");
    nof1_warn(w->warnings, m->tau.family != NOF1_BAYES_FIXED && tau.high - tau.low > 0.8 * width,
              "prior_dominates", "prior dominates: the data tell little about tau");
    nof1_warn(w->warnings, mu->sd * mu->sd > 0.5 * m->sd[1] * m->sd[1], "prior_dominates",
              "prior dominates: the data tell less about the mean effect than its prior");
    nof1_warn(w->warnings, w->result->zero_within, "zero_within",
              "no variation inside any trial: sigma is taken as 0");
    nof1_warn(
        w->warnings, w->benefit == 0, "benefit",
        "the charter does not say which direction is better: see above.mcid and below.minus.mcid");
    nof1_warn(w->warnings, bayes_moments(&m->tau, w->result->trials) < 2, "no_sd",
              "under this prior tau has no standard deviation");
    nof1_warn(w->warnings, w->result->approximation > 0.0, "approximate",
              "sums by a weight basis: approximate, see fit.approximation_se");
    nof1_warn(w->warnings, w->p->error > 1e-8, "quadrature",
              "the integrals did not reach 1e-8: see fit.quadrature_error");
    nof1_warn_left_out(w->warnings, w->history, study, "no effect by this form");
    return NOF1_OK;
}

/* ---- the result ---- */

static json_t *fit_object(const struct writer *w)
{
    const struct bayes_result *r = w->result;
    bool improper = w->model->sigma.family == NOF1_BAYES_JEFFREYS && !w->model->plug_in &&
                    !r->zero_within;
    return json_pack(
        "{s:o,s:I,s:I,s:I,s:s,s:o,s:b,s:o,s:I,s:b,s:b,s:o}", "nobs", nof1_json_number(r->rows),
        "trials", (json_int_t)w->history->counts.trials, "sites",
        (json_int_t)w->history->counts.sites, "rounds", (json_int_t)w->history->rounds, "method",
        "quadrature", "log.marginal.likelihood", nof1_json_number(w->p->log_evidence),
        "log.marginal.up_to_constant", improper, "quadrature_error", nof1_json_number(w->p->error),
        "nodes", (json_int_t)w->p->evaluated, "converged", w->p->error <= 1e-8, "exact",
        r->approximation == 0.0, "approximation_se", nof1_json_number(r->approximation));
}

static const char *model_text(const struct bayes_model *model)
{
    if (model->one_stage) {
        return "y = (alpha + a_i) + (mu + b_i) treatment + e, (a_i, b_i) normal with sd "
               "(intercept_sd, tau) and a correlation, e ~ N(0, sigma^2)";
    }
    return model->borrow
               ? "d_i ~ N(mu_s, tau^2 + sigma^2 u_i), mu_s ~ N(mu, omega^2), sigma^2 from "
                 "within trials"
               : "d_i ~ N(mu, tau^2 + sigma^2 u_i), sigma^2 from within trials";
}

static json_t *estimand(const struct writer *w)
{
    const struct nof1_study *study = w->model->base.study;
    const struct nof1_charter *charter = study->charter;
    char text[512];
    snprintf(text, sizeof text, "mean over patients of the patient's own effect on %s, %s minus %s",
             study->plan->outcome_name, charter->treatment[study->plan->active],
             charter->treatment[study->plan->reference]);
    return json_pack("{s:s,s:s,s:s}", "sentence", text, "population",
                     "patients of whom the series is a sample; effects vary between patients",
                     "weights", "posterior");
}

static nof1_rc fill(struct writer *w, json_t *object)
{
    json_t *estimates = json_array(), *tables = json_array(), *hyper;
    struct summary mu;
    json_object_set_new(object, "estimates", estimates);
    json_object_set_new(object, "tables", tables);
    TRY(nof1_bayes_mixture(&w->mean, w->arena, w->p, no_spread));
    TRY(nof1_bayes_mixture(&w->next, w->arena, w->p, w->model->borrow ? new_stratum : patients));
    TRY(effect_summary(&mu, &w->mean, w->model->level, true));
    json_array_append_new(estimates, estimate_row("treatment", &mu));
    TRY(prior_warnings(w, &mu));
    TRY(posterior_table(w, tables, &mu));
    json_t *chances = json_array();
    static const char *const columns[] = {"effect of", "benefit", "benefit.mcid", "above.zero",
                                          "above.mcid", "below.minus.mcid"};
    json_array_append_new(tables, table("Probabilities", columns, 6, chances));
    put_chance(w, chances, &w->mean, "patients on average");
    put_chance(w, chances, &w->next, "the next patient");
    TRY(write_strata(w, estimates, json_object_get(json_array_get(tables, 0), "cells"), chances,
                     bayes_moments(&w->model->tau, w->result->trials) == 2));
    TRY(sensitivity_table(w, tables, mu.sd));
    json_object_set_new(object, "fit", fit_object(w));
    json_object_set_new(object, "priors", bayes_priors_json(w->model));
    json_object_set_new(object, "mcid", json_real(w->model->mcid));
    json_object_set_new(object, "benefit", json_integer(w->benefit));
    TRY(hyper_posterior(&hyper, w));
    json_object_set_new(object, "hyper_posterior", hyper);
    const struct nof1_study *study = w->model->base.study;
    const struct nof1_plan *plan = study->plan;
    json_object_set_new(object, "outcome", json_string(plan->outcome_name));
    json_object_set_new(object, "treatment",
                        json_pack("{s:s,s:s}", "reference",
                                  study->charter->treatment[plan->reference], "active",
                                  study->charter->treatment[plan->active]));
    json_object_set_new(object, "estimand", estimand(w));
    return NOF1_OK;
}

nof1_rc_value bayes_report(const struct nof1_model *base, const struct nof1_history *history,
                           struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    const struct bayes_model *model = (const struct bayes_model *)base;
    const struct nof1_study *study = base->study;
    struct bayes_result result;
    TRY(bayes_posterior(&result, model, NULL, history, arena, error));
    struct writer w = {.model = model, .history = history, .arena = arena, .result = &result,
                       .p = &result.posterior, .warnings = json_array(),
                       .benefit = study->charter->outcome[study->plan->outcome].benefit};
    NOF1_CLEANUP(nof1_json_freep)
    json_t *object = json_pack("{s:s,s:s,s:s,s:o}", "analysis", "bayes", "form", base->form,
                               "model", model_text(model), "warnings", w.warnings);
    ENSURE(object != NULL, NOF1_E_NO_MEMORY);
    TRY(fill(&w, object));
    *out = object;
    object = NULL;
    return NOF1_OK;
}
