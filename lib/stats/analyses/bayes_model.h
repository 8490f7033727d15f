/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to lib/stats/analyses/bayes*.c: the prepared Bayesian plan. What leaves a site is what
 * the two-stage or the one-stage analysis releases in one round of sums; this analysis owns no sum.
 */
#ifndef NOF1_BAYES_MODEL_H
#define NOF1_BAYES_MODEL_H

#include <nof1/analysis.h>
#include <stats/bayes.h>

struct bayes_model {
    struct nof1_model base;          /* first; a copy of inner's, with one round */
    struct nof1_model *inner;        /* random_effects or mixed_model: layout and contributions */
    bool one_stage, borrow, plug_in;
    double mcid, level;
    double mean[2], sd[2];           /* priors of the intercept and of the effect */
    struct nof1_bayes_prior tau, sigma, spread, correlation; /* spread: of strata, or intercepts */
};

/* bayes_prior.c: reads `priors`; what it lacks is taken from the outcome's range.
 * Errors: NOF1_E_PLAN naming the prior. */
nof1_rc bayes_read_priors(struct bayes_model *model, const struct nof1_study *study,
                          struct nof1_error *error);
/* "half_normal 5" in out. */
void bayes_prior_text(char out[64], const struct nof1_bayes_prior *prior);
json_t *bayes_priors_json(const struct bayes_model *model);

/* The posterior and what it came from. */
struct bayes_result {
    struct nof1_bayes_posterior posterior;
    struct nof1_bayes_two two;       /* two_stage */
    struct nof1_bayes_one one;       /* one_stage */
    double trials, rows, ss, df;
    bool zero_within;
    double approximation;            /* of the weight basis, in standard errors; 0: exact */
    size_t strata;
    const char *const *stratum;      /* names */
};
/* How many moments (0 to 2) the posterior of a standard deviation has: its tail is the prior's,
 * thinned by one power per unit of data. */
unsigned bayes_moments(const struct nof1_bayes_prior *prior, double units);
/* bayes_posterior.c. tau: the prior to use instead of the plan's, quickly; NULL: the plan's.
 * Errors: NOF1_E_MODEL, NOF1_E2601. */
nof1_rc bayes_posterior(struct bayes_result *out, const struct bayes_model *model,
                        const struct nof1_bayes_prior *tau, const struct nof1_history *history,
                        struct nof1_arena *arena, struct nof1_error *error);
/* bayes_report.c */
nof1_rc_value bayes_report(const struct nof1_model *base, const struct nof1_history *history,
                           struct nof1_arena *arena, json_t **out, struct nof1_error *error);

#endif
