/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The contract of an analysis: pure functions over one trial, public documents and earlier totals.
 * An analysis cannot select, count or leak patients; thresholds, encoding, masking, budgets,
 * logging and retries belong to lib/core.
 *
 * Round 0 belongs to the framework: it counts trials, patients, sites per group. Rounds 1, 2, ...
 * belong to the analysis. `advance` and `report` are functions of the whole history, so that a
 * vault, a restarted coordinator and an auditor recompute the same bits from the same totals.
 */
#ifndef NOF1_ANALYSIS_H
#define NOF1_ANALYSIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <nof1/study.h>
#include <nof1/trial.h>

#define NOF1_LEFT_OUT (-1)
#define NOF1_NO_ELEMENT SIZE_MAX

enum nof1_role {
    NOF1_DESIGN, /* function of schedules and of which cells are observed; or noisy (site_noise) */
    NOF1_OUTCOME /* function of outcomes: counts towards the release ratio */
};

/* One number of a round. */
struct nof1_element {
    const char *name;     /* stable, e.g. "class:3x3/sum b1*b2" */
    enum nof1_role role;
    int group;            /* the group whose trials feed it, or -1: all groups */
    uint16_t block;       /* which block of the per-trial statistic it sums (release ratio) */
    uint16_t block_size;  /* numbers per trial in that block */
    bool sparse;          /* not fed by every trial of its group: sites and patients feeding it are
                           * counted */
    double bound;         /* |one trial's contribution| <= bound <= 2^96, from charter bounds */
    double quantum;       /* power of two to which each trial's term is rounded; 0: not rounded */
    uint16_t factor;      /* sparse elements of one group with an equal number above 0 are levels of
                           * one factor: patients feeding none are counted, too; 0: none */
};

struct nof1_layout {
    size_t elements;
    const struct nof1_element *element;
};

/* Totals of round 0 that an analysis may use. group arrays have model->groups entries. */
struct nof1_counts {
    uint64_t sites, trials, patients, left_out;
    const uint64_t *group_patients;
    const uint64_t *group_trials;
    const uint64_t *group_sites;
};

struct nof1_round_total {
    size_t parameters, elements;
    const double *parameter; /* theta of this round, as used (40 significant bits) */
    const double *total;     /* decoded sums, correctly rounded */
};

struct nof1_history {
    struct nof1_counts counts;
    size_t rounds;                        /* number of finished rounds after round 0 */
    const struct nof1_round_total *round; /* round[0] is round 1 */
};

struct nof1_next {
    bool done;               /* true: report can be made; no further round */
    size_t parameters;
    const double *parameter; /* theta of the next round; arena memory; not yet rounded */
};

/* Prepared from public documents only; immutable; identical at every site. Analyses embed it as the
 * first member of their own struct. */
struct nof1_model {
    const struct nof1_analysis *analysis;
    const struct nof1_study *study;
    const char *form;       /* "class" | "score" | "pool" | "cycles" | ... as labelled in output */
    const char *incomplete; /* word of the option `incomplete` that asks for it; NULL: the form */
    size_t groups;              /* >= 1 */
    const char *const *group;   /* names: "all", "class:3x3", "stratum:F" ... */
    bool group_is_class;        /* min_class_patients applies to every group */
    uint32_t max_rounds;        /* after round 0 */
    size_t max_elements;        /* most elements of any round */
    size_t scratch;             /* bytes of scratch that contribute needs for a trial of r rows: */
    size_t scratch_row;         /*   scratch + r * scratch_row */
    uint32_t fixed_parameters;  /* intercept + treatment + columns varying between patients */
    size_t site_means; /* numbers of site_value, which contribute takes about the mean of the
                        * trial's own site: such sums are not invariant to the split of
                        * trials over sites. One group. 0: none */
    bool random;                /* contribute draws from trial->seed, and from nothing else */
    const char *question; /* with site_noise: what is asked, in words; the noise of a site is the
                           * same for every plan that asks it (layout, charter, epoch alike) */
    double rho;                 /* with site_noise: what an answer costs, in zCDP */
    const char *sums;           /* Which trials add, and what: models with equal text about the same
                                 * series add the same numbers to elements of equal name, whatever
                                 * analysis they belong to, so one's release answers the other
                                 * (core/derive.h). NULL: it answers no other. */
};

/* One documented option of a plan. */
enum nof1_option_kind {
    NOF1_OPT_CHOICE,
    NOF1_OPT_NUMBER,
    NOF1_OPT_NAMES,
    NOF1_OPT_MAP,
    NOF1_OPT_FLAG
};
struct nof1_option {
    const char *key;
    enum nof1_option_kind kind;
    const char *choices;      /* "ML|REML" for CHOICE; free text describing values otherwise */
    const char *default_text; /* YAML text of the default, e.g. "REML" or "[treatment]" */
    double lower, upper;      /* NUMBER */
    const char *help;
};

struct nof1_analysis {
    const char *id;
    uint32_t version;
    const char *summary;                /* one line for `nof1 catalog` */
    const struct nof1_option *option;   /* terminated by key == NULL */
    bool many_arms;                     /* a plan may name several active treatments */
    bool tables; /* publishes counts cut to the charter's min_cell, rounding */

    /* Check options against charter and census, choose the form, build the model in `arena`.
     * Options of the plan are complete (defaults filled). When the plan says incomplete: auto, the
     * form chosen is model->form; nof1 writes it (model->incomplete) into the plan before signing.
     * Errors: NOF1_E_PLAN (names field and remedy), NOF1_E_MODEL, NOF1_E2404, NOF1_E2601. */
    nof1_rc_value (*prepare)(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error);
    /* The group of a trial, or NOF1_LEFT_OUT. */
    int (*group_of)(const struct nof1_model *model, const struct nof1_trial *trial, void *scratch);
    /* The numbers of round r >= 1. Depends on model and r only. */
    nof1_rc_value (*layout)(const struct nof1_model *model, uint32_t round,
                            struct nof1_arena *arena, struct nof1_layout *out);
    /* Write ONE trial's terms to out[elements] (all of them, zeros included). Called only for
     * trials with group_of >= 0. Must not allocate. Errors: NOF1_E2403 when a term is not finite.
     */
    nof1_rc_value (*contribute)(const struct nof1_model *model, uint32_t round,
                                const double *theta, const struct nof1_trial *trial,
                                void *scratch, double *out);
    /* The numbers of a trial whose mean over its site contribute needs: out[model->site_means].
     * NULL: site_means is 0. Must not allocate. */
    nof1_rc_value (*site_value)(const struct nof1_model *model, const struct nof1_trial *trial,
                                void *scratch, double *out);
    /* A site's share of the noise of a round, added once a site, also by one without trials:
     * out[elements] from the private `seed` of 32 bytes alone. NULL: sums carry no noise. */
    nof1_rc_value (*site_noise)(const struct nof1_model *model, uint32_t round, const uint8_t *seed,
                                double *out);
    /* The next theta, or done. Pure function of model and history.
     * Errors: NOF1_E_MODEL, NOF1_E2601, NOF1_E2308 with a message. */
    nof1_rc_value (*advance)(const struct nof1_model *model, const struct nof1_history *history,
                             struct nof1_arena *arena, struct nof1_next *out,
                             struct nof1_error *error);
    /* |theta| inside its domain (variances >= 0, charter boxes)? NULL: rounds have no parameters.
     */
    bool (*in_domain)(const struct nof1_model *model, const double *theta, size_t parameters);
    /* The trial's weight at theta (NULL: no share rule), for max_trial_share. */
    double (*weight)(const struct nof1_model *model, const double *theta,
                     const struct nof1_trial *trial, void *scratch);
    /* The element of a round with parameters whose term in a trial goes with its weight: what a
     * site adds to it and its total tell how much the others weigh. NULL, or NOF1_NO_ELEMENT in a
     * form without one: trials are counted instead. */
    size_t (*weight_element)(const struct nof1_model *model);
    /* The result: an object with the keys of interfaces.md (estimates, variance_components, fit,
     * heterogeneity, warnings, estimand, form). New reference in *out. Never NaN: absent numbers
     * are null and a warning says why. */
    nof1_rc_value (*report)(const struct nof1_model *model, const struct nof1_history *history,
                            struct nof1_arena *arena, json_t **out, struct nof1_error *error);
};

/* The registry (lib/stats/analyses/registry.def). NULL when there is no such analysis. */
const struct nof1_analysis *nof1_analysis_find(const char *id);
/* All of them, terminated by NULL. */
const struct nof1_analysis *const *nof1_analysis_all(void);

#endif
