/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The analysis `glmm`: generalised linear mixed models for binary, count and ordinal outcomes,
 * equal to lme4::glmer and ordinal::clmm2 at the optimum of the same approximated likelihood. This
 * file is the contract (nof1/analysis.h); the parts are glmm_*.c, the likelihood lib/stats/glmm.c.
 */
#include <math.h>

#include <stats/registry.h>

#include "glmm_model.h"

static nof1_rc_value model_prepare(struct nof1_model **out, struct nof1_arena *arena,
                                   const struct nof1_study *study, struct nof1_error *error)
{
    struct glmm_model *m;
    TRY(glmm_prepare(&m, arena, study, error));
    m->base.analysis = &nof1_glmm;
    *out = &m->base;
    return NOF1_OK;
}

static int model_group_of(const struct nof1_model *model, const struct nof1_trial *trial,
                          void *scratch)
{
    const struct glmm_model *m = glmm_of(model);
    return m->form == GLMM_CLASS ? glmm_class_group_of(m, trial, scratch)
                                 : glmm_score_group_of(m, trial, scratch);
}

static nof1_rc_value model_layout(const struct nof1_model *model, uint32_t round,
                                  struct nof1_arena *arena, struct nof1_layout *out)
{
    const struct glmm_model *m = glmm_of(model);
    return m->form == GLMM_CLASS ? glmm_class_layout(m, round, arena, out)
                                 : glmm_score_layout(m, round, arena, out);
}

static nof1_rc_value model_contribute(const struct nof1_model *model, uint32_t round,
                                      const double *theta, const struct nof1_trial *trial,
                                      void *scratch, double *out)
{
    const struct glmm_model *m = glmm_of(model);
    return m->form == GLMM_CLASS ? glmm_class_contribute(m, round, theta, trial, scratch, out)
                                 : glmm_score_contribute(m, round, theta, trial, scratch, out);
}

static nof1_rc advance(struct glmm_fit *fit, struct nof1_next *out, const struct glmm_model *m,
                       const struct nof1_history *history, struct nof1_arena *arena,
                       struct nof1_error *error)
{
    return m->form == GLMM_CLASS ? glmm_class_advance(fit, out, m, history, arena, error)
                                 : glmm_score_advance(fit, out, m, history, arena, error);
}

static nof1_rc_value model_advance(const struct nof1_model *model,
                                   const struct nof1_history *history, struct nof1_arena *arena,
                                   struct nof1_next *out, struct nof1_error *error)
{
    struct glmm_fit *fit = nof1_arena_alloc(arena, 1, sizeof *fit);
    ENSURE(fit != NULL, NOF1_E_NO_MEMORY);
    return advance(fit, out, glmm_of(model), history, arena, error);
}

static bool model_in_domain(const struct nof1_model *model, const double *theta, size_t parameters)
{
    const struct glmm_model *m = glmm_of(model);
    if (parameters != 0 && parameters != m->parameters) {
        return false;
    }
    for (size_t i = 0; i < parameters; i++) {
        bool ordered = i == 0 || i >= m->cuts || theta[i] >= theta[i - 1];
        if (!(fabs(theta[i]) <= 1e6) || !ordered) {
            return false;
        }
    }
    return true;
}

static double model_weight(const struct nof1_model *model, const double *theta,
                           const struct nof1_trial *trial, void *scratch)
{
    return theta == NULL ? 1 : glmm_weight(glmm_of(model), theta, trial, scratch);
}

static size_t model_weight_element(const struct nof1_model *model)
{
    return glmm_weight_element(glmm_of(model));
}

static nof1_rc_value model_report(const struct nof1_model *model,
                                  const struct nof1_history *history, struct nof1_arena *arena,
                                  json_t **out, struct nof1_error *error)
{
    struct nof1_next next = {0};
    struct glmm_fit *fit = nof1_arena_alloc(arena, 1, sizeof *fit);
    ENSURE(fit != NULL, NOF1_E_NO_MEMORY);
    TRY(advance(fit, &next, glmm_of(model), history, arena, error));
    ENSURE(next.done, NOF1_E_BUG);
    return glmm_report_json(out, arena, glmm_of(model), history, fit);
}

static const struct nof1_option options[] = {
    {"family", NOF1_OPT_CHOICE, "auto|binomial|poisson|ordinal", "auto", 0, 0,
     "Binomial with logit, Poisson with log, or cumulative logit; auto follows the outcome's "
     "kind."},
    {"fixed", NOF1_OPT_NAMES,
     "treatment, period, factor(period), time, cycle, factor(cycle), previous_treatment, stratum, "
     "charter covariates, treatment:COVARIATE",
     "[treatment]", 0, 0, "Fixed effects besides the intercept or the thresholds."},
    {"random", NOF1_OPT_MAP, "{trial: [intercept]} or {trial: [intercept, treatment]}",
     "{trial: [intercept]}", 0, 0,
     "Random effects of a trial; with treatment the likelihood is Laplace's (quadrature: 1)."},
    {"exposure", NOF1_OPT_NAMES, "a numeric charter covariate", "[]", 0, 0,
     "Poisson: the covariate whose logarithm is an offset."},
    {"quadrature", NOF1_OPT_NUMBER, "1 to 101", "9", 1, NOF1_GLMM_NODES_MAX,
     "Nodes of adaptive Gauss-Hermite quadrature; 1 is Laplace's approximation."},
    {"level", NOF1_OPT_NUMBER, "between 0 and 1", "0.95", 0, 1, "Level of confidence intervals."},
    {"incomplete", NOF1_OPT_CHOICE, "auto|class|score|exclude", "auto", 0, 0,
     "What to release: class (few functions of trials' totals, in one round; needs equal numbers "
     "of "
     "rows), score (the model as written, by rounds), exclude (class, without trials outside the "
     "classes); auto takes score in an open lab, else class when the data allow it, else score."},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

const struct nof1_analysis nof1_glmm = {
    .id = "glmm",
    .version = 1,
    .summary = "mixed model for binary, count and ordinal outcomes, by adaptive quadrature",
    .option = options,
    .prepare = model_prepare,
    .group_of = model_group_of,
    .layout = model_layout,
    .contribute = model_contribute,
    .advance = model_advance,
    .in_domain = model_in_domain,
    .weight = model_weight,
    .weight_element = model_weight_element,
    .report = model_report};
