/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the two-stage analysis share: the prepared model and one trial's numbers.
 * Private to lib/stats/analyses/random_effects*.c.
 *
 * Release forms (docs/statistics.md): CLASS, one round of sums per within-trial variance class;
 * BASIS, sums under R fixed public weights, then correction rounds; OWN, rounds of power sums at
 * one tau^2 each, when every trial has its own variance.
 */
#ifndef NOF1_RANDOM_EFFECTS_H
#define NOF1_RANDOM_EFFECTS_H

#include <nof1/analysis.h>
#include <stats/series.h>
#include <stats/two_stage.h>

enum re_release { RE_CLASS, RE_BASIS, RE_OWN };
enum re_effect { RE_DIFFERENCE, RE_LEVEL, RE_SLOPE };
#define RE_PHASES_REACH 64 /* most |change of level or slope|, in ranges of the outcome */

/* Trials with the same u = v / sigma^2: u = 1/k (cycles) or 1/ka + 1/kb (periods). Patterns with
 * the same u are one class, because the likelihood cannot tell them apart. */
struct re_class {
    uint64_t numerator, denominator; /* u in lowest terms */
    double u;
    uint64_t trials; /* by the census, over the plan's blocks; 0 when it is unknown */
    const char *name;
};

/* A column of x: 0 is the intercept. */
struct re_column {
    const char *term;
    size_t covariate;
    int level;        /* indicator of this level of a factor; -1: numeric */
    int reference;    /* the level that a factor's indicators are compared with */
    double centre;    /* subtracted from numeric columns before any sum */
    double bound;
};

/* A sum over trials of x_i x_j, x_i y or y y that a release carries (times a weight). */
enum re_kind { RE_XX, RE_XY, RE_YY };
struct re_product {
    enum re_kind kind;
    size_t i, j;
    const char *name;
    double bound;     /* of one trial's product */
    enum nof1_role role;
    uint16_t
        sparse; /* 0: every trial feeds it; 1: not; 1 + n: as a level of factor n of the layout */
};

#define RE_BASIS_MOST 3

struct re_model {
    struct nof1_model base;           /* first */
    struct nof1_two_stage_options fit;
    bool own, cycles, complete_only, imported, census_exact;
    bool forced_rounds;               /* incomplete: score */
    enum re_release release;
    enum re_effect effect;            /* other than difference: of phases, own variances */
    bool by_period;                   /* what measures time in phases */
    size_t classes;
    struct re_class *class_;
    int *class_of;                    /* [ka * (most + 1) + kb] or [k]; -1: none */
    uint32_t most;                    /* most periods of an arm, or most cycles */
    size_t columns;
    struct re_column column[NOF1_TWO_STAGE_COLUMNS];
    size_t products;
    struct re_product *product;
    size_t weights;                   /* R */
    double lambda[RE_BASIS_MOST];
    double range;                     /* upper - lower of the outcome */
    double scale; /* OWN: power of two near the range; y and v are divided by it */
    double centre;                    /* IMPORTED: added back to the intercept */
};

/* One trial's numbers. left_out: it takes no part. */
struct re_trial {
    bool left_out;
    size_t rows;
    double d, ss, df, u, v;           /* v: own variance */
    int class_;
    double x[NOF1_TWO_STAGE_COLUMNS];
};
void re_trial_of(struct re_trial *out, const struct re_model *model, const struct nof1_trial *trial,
                 void *scratch);

/* random_effects_phases.c: d, ss, df, u of a change at the start of treatment. */
void re_phases_of(struct re_trial *out, const struct re_model *model,
                  const struct nof1_trial *trial, const struct nof1_series *series);

/* random_effects_release.c: which sums leave. */
/* The census counts patterns of the charter's first two treatments, so it says something about a
 * plan only when there are no others. */
bool re_census_usable(const struct nof1_study *study);
nof1_rc re_prepare_release(struct re_model *model, struct nof1_arena *arena,
                           struct nof1_error *error);
/* Outcome numbers of one weight of the basis. */
size_t re_basis_size(const struct re_model *model);
/* Outcome numbers of a correction round about d (linear) and about d^2 (quadratic). */
void re_correction_size(const struct re_model *model, size_t *linear, size_t *quadratic);
/* random_effects_layout.c */
/* BASIS: step to which a trial's w*d is rounded, w*d^2 to its square; 0: not rounded. */
double re_term_step(const struct re_model *model);
nof1_rc_value re_layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                        struct nof1_layout *out);
nof1_rc_value re_contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                            const struct nof1_trial *trial, void *scratch, double *out);
double re_weight(const struct nof1_model *base, const double *theta, const struct nof1_trial *trial,
                 void *scratch);
size_t re_layout_size(const struct re_model *model, uint32_t round);
double re_product_value(const struct re_product *product, const double *x, double y);
/* The way back: a total into its place; then what the products left out follows from the others. */
void re_product_store(struct nof1_two_stage_power *out, const struct re_product *product,
                      double value, size_t columns);
void re_power_complete(struct nof1_two_stage_power *out, const struct re_model *model);

/* random_effects_totals.c: what the totals say. */
struct re_pooled { double ss, df, sigma_squared, rows; };
struct re_result {
    struct nof1_two_stage_fit fit;    /* in units of the outcome */
    struct re_pooled pooled;
    bool zero_within;                 /* no variation inside any trial */
    double r_squared;                 /* percent of tau^2 that the moderators explain; NAN */
    bool exact;
    double approximation; /* bound of the basis' error in standard errors; 0 when exact */
    bool rounds_short;                /* the rounds ended before the estimate or its interval */
};
/* random_effects_oracle.c: sums at any tau^2 from the totals, for the engine of two_stage.h. */
struct re_basis {
    const struct re_model *model;
    const struct nof1_history *history;
    double trials, sigma;             /* y is used in units of sigma, v in units of sigma^2 */
    double shift;                     /* sums of d are about this effect */
    struct nof1_two_stage_power sum[RE_BASIS_MOST];
    double error;                     /* largest relative error of w, w^2 at the last point asked */
};

/* What rounded terms may move the effect by, in standard errors: one of them errs by step/sqrt(12).
 */
double re_basis_rounding(const struct re_basis *basis, double lambda);
struct nof1_two_stage_oracle re_basis_oracle(struct re_basis *basis, const struct re_model *model,
                                             const struct nof1_history *history);
struct re_own {
    const struct re_model *model;
    const struct nof1_history *history;
    double wanted;                    /* tau^2 of the round to ask for next */
};
struct nof1_two_stage_oracle re_own_oracle(struct re_own *own, const struct re_model *model,
                                           const struct nof1_history *history);

/* The classes that have trials, with the sums of CLASS; v of the cells is *u, to be multiplied by
 * sigma^2. */
nof1_rc re_class_cells(struct nof1_two_stage_cells *out, double **u, const struct re_model *model,
                       const struct nof1_history *history, struct nof1_arena *arena);
nof1_rc_value re_advance(const struct nof1_model *base, const struct nof1_history *history,
                         struct nof1_arena *arena, struct nof1_next *out, struct nof1_error *error);
nof1_rc re_result_of(struct re_result *out, const struct re_model *model,
                     const struct nof1_history *history, struct nof1_arena *arena,
                     struct nof1_error *error);
/* random_effects_report.c */
nof1_rc_value re_report(const struct nof1_model *base, const struct nof1_history *history,
                        struct nof1_arena *arena, json_t **out, struct nof1_error *error);

#endif
