/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Internal to the analysis `glmm` (docs/statistics.md; the likelihood of a trial is stats/glmm.h).
 * Rounds of the score form: round 1 sums of the outcome by arm, from which the start follows; then
 * derivatives of the approximated log-likelihood at theta. In an open lab every such round carries
 * the Hessian; elsewhere only the last. The class form releases sum y_B and, per design class, K
 * functions of the trial's total. An ordinal row is two binary ones with the thresholds for
 * intercepts: log(G(b) - G(a)) = log G(b) + log(1 - G(a)) + log(1 - exp(a - b)).
 */
#ifndef NOF1_STATS_GLMM_MODEL_H
#define NOF1_STATS_GLMM_MODEL_H

#include <math.h>
#include <stats/glmm.h>

#include "mixed.h"

#define GLMM_LEVELS_MAX 24
#define GLMM_PARAMETERS_MAX (MIXED_COLUMNS_MAX + GLMM_LEVELS_MAX + 3)
#define GLMM_ROWS_MAX 4096.0 /* rows of one trial that the bounds allow for */

enum glmm_family { GLMM_BINOMIAL, GLMM_POISSON, GLMM_ORDINAL };
enum glmm_form { GLMM_NEWTON, GLMM_SCORE, GLMM_CLASS };

/* A design class: equal numbers of rows on both arms. One group. */
struct glmm_class {
    size_t n[2];
    uint64_t trials;
    size_t totals;       /* possible totals of a trial, 0 .. totals - 1 */
    double *basis;       /* [totals * (functions - 1)]; the first function is s itself */
    const double *likely; /* [totals] weights: how often a total is met over the public box */
};

struct glmm_model {
    struct nof1_model base;
    struct mixed_model design; /* the fixed columns only */
    enum glmm_family family;
    enum glmm_form form;
    struct nof1_glmm_shape shape;
    size_t cuts;              /* ordinal: thresholds, in place of the intercept; else 0 */
    size_t fixed, parameters; /* fixed effects with thresholds; all entries of theta */
    const char *const *name;  /* [fixed] */
    bool exposed;
    struct mixed_column exposure;
    double lower, quantum;    /* of the outcome */
    double level;
    const char *formula;
    bool treatment_wanted;
    size_t classes, functions; /* class form: K functions of a total; 1: of s alone */
    double step;               /* of the functions' values */
    struct glmm_class *class_;
};

/* ---- glmm_prepare.c ---- */
nof1_rc glmm_prepare(struct glmm_model **out, struct nof1_arena *arena,
                     const struct nof1_study *study, struct nof1_error *error);

/* ---- glmm_trial.c ---- */
struct glmm_rows {
    struct nof1_series series;
    double *column;   /* [c * rows + i] */
    double *exposure; /* [rows] log exposure */
    double *outcome;  /* [rows] y, or the category 0 .. cuts */
    struct nof1_glmm_cells cells;
    double *memory;   /* for nof1_glmm_trial */
};
/* The rows with every column and the exposure observed. False when an outcome is no count, no
 * category, or an exposure is not positive. scratch as announced by the model. */
bool glmm_rows_of(struct glmm_rows *out, const struct glmm_model *m, const struct nof1_trial *trial,
                  void *scratch);
/* Group rows that are alike into out->cells. */
void glmm_cells_of(struct glmm_rows *out, const struct glmm_model *m, void *scratch, size_t rows);
size_t glmm_scratch(const struct glmm_model *m);
size_t glmm_scratch_row(const struct glmm_model *m);
/* Log-likelihood of the rows in out->cells as a jet, with the terms of y alone. */
bool glmm_jet_of(double *jet, const struct glmm_model *m, const struct glmm_rows *rows,
                 const double *theta);

/* ---- glmm_score.c ---- */
/* Offsets in the first round: pairs of the design's columns, rows by arm, exposure by arm, then
 * sums of y by arm, or counts of the categories above the first, the reference arm's first. */
struct glmm_start_map {
    size_t rows, exposure, outcome, elements;
};
struct glmm_start_map glmm_start_map(const struct glmm_model *m);
/* Does the round carry value and Hessian? Otherwise score and, as a design sum, information. */
/* Largest size of a parameter's column (1 for roots of the covariance), as its step is chosen. */
double glmm_column_reach(const struct glmm_model *m, size_t parameter);
bool glmm_round_is_full(const struct glmm_model *m, uint32_t round);
size_t glmm_round_elements(const struct glmm_model *m, uint32_t round);
nof1_rc_value glmm_score_layout(const struct glmm_model *m, uint32_t round,
                                struct nof1_arena *arena, struct nof1_layout *out);
int glmm_score_group_of(const struct glmm_model *m, const struct nof1_trial *trial, void *scratch);
nof1_rc_value glmm_score_contribute(const struct glmm_model *m, uint32_t round, const double *theta,
                                    const struct nof1_trial *trial, void *scratch, double *out);
/* Information of the trial on the treatment effect (without one, on the level) at theta, and the
 * element of the score rounds that sums it. */
double glmm_weight(const struct glmm_model *m, const double *theta, const struct nof1_trial *trial,
                   void *scratch);
size_t glmm_weight_element(const struct glmm_model *m);

/* ---- glmm_fit.c ---- */
struct glmm_fit {
    size_t free;                      /* parameters that the data identify */
    int tie[GLMM_PARAMETERS_MAX];     /* parameter -> free one, or -1: fixed */
    double theta[GLMM_PARAMETERS_MAX];
    double covariance[GLMM_PARAMETERS_MAX * GLMM_PARAMETERS_MAX]; /* [parameters^2], 0: fixed */
    bool known[GLMM_PARAMETERS_MAX];  /* false: no estimate exists */
    double value;                     /* log-likelihood; NAN: not known */
    double rows, decrement, approximation;
    double unit[GLMM_PARAMETERS_MAX]; /* score forms: a typical change of the column */
    int separating;                   /* a fixed effect that the data may separate along, or -1 */
    bool converged, boundary, effect_only;
};
/* Reads the first round. Refuses what cannot be estimated. */
nof1_rc glmm_start(struct glmm_fit *fit, const struct glmm_model *m, const double *total,
                   struct nof1_arena *arena, struct nof1_error *error);
nof1_rc glmm_score_advance(struct glmm_fit *fit, struct nof1_next *next, const struct glmm_model *m,
                           const struct nof1_history *history, struct nof1_arena *arena,
                           struct nof1_error *error);
/* NOF1_E_MODEL when a parameter runs away. */
nof1_rc glmm_refuse_runaway(const struct glmm_model *m, const double *theta,
                            struct nof1_error *error);
/* Put the root of the covariance on the boundary where it is one; covariance of the estimates from
 * the Hessian [free^2] of minus the log-likelihood. */
nof1_rc glmm_finish(struct glmm_fit *fit, const struct glmm_model *m, const double *hessian,
                    struct nof1_arena *arena);

/* What rounding each trial's terms to glmm_quantum may have changed, in standard errors. */
double glmm_rounding(const struct glmm_fit *fit, const struct glmm_model *m, double trials);

/* ---- glmm_class.c ---- */
nof1_rc glmm_class_prepare(struct glmm_model *m, struct nof1_arena *arena,
                           bool exclude, bool *possible);
nof1_rc_value glmm_class_layout(const struct glmm_model *m, uint32_t round,
                                struct nof1_arena *arena, struct nof1_layout *out);
int glmm_class_group_of(const struct glmm_model *m, const struct nof1_trial *trial, void *scratch);
nof1_rc_value glmm_class_contribute(const struct glmm_model *m, uint32_t round, const double *theta,
                                    const struct nof1_trial *trial, void *scratch, double *out);
nof1_rc glmm_class_advance(struct glmm_fit *fit, struct nof1_next *next, const struct glmm_model *m,
                           const struct nof1_history *history, struct nof1_arena *arena,
                           struct nof1_error *error);

/* The log-likelihood h of a trial of the class with total s and no active outcomes, as a jet; a
 * trial's own is h(s) + effect * active outcomes. memory: GLMM_CLASS_MEMORY doubles. */
#define GLMM_CLASS_MEMORY 512
nof1_rc glmm_total_jet(double *jet, const struct glmm_model *m, const struct glmm_class *c,
                       const double *theta, size_t total, double *memory);
/* log of the number of ways to the total, each weighted by exp(effect * active outcomes). */
double glmm_total_ways(const struct glmm_model *m, const struct glmm_class *c, double effect,
                       size_t total);

/* ---- glmm_report.c ---- */
nof1_rc glmm_report_json(json_t **out, struct nof1_arena *arena, const struct glmm_model *m,
                         const struct nof1_history *history, const struct glmm_fit *fit);

/* Step to which a trial's term is rounded where the sum is not of integers; reach: of the term's
 * column. Outcomes being few whole numbers, exact sums of irrational functions of them tell which
 * (docs/disclosure.md, "Generalised mixed models"); outside an open lab a term keeps eight bits, at
 * a cost of about a hundredth of a standard error. */
static inline double glmm_quantum(const struct glmm_model *m, double reach)
{
    return m->base.study->charter->limits.open ? 0x1p-50
                                               : ldexp(1, ilogb(fmax(reach, 0x1p-40)) - 8);
}

static inline const struct glmm_model *glmm_of(const struct nof1_model *model)
{
    return (const struct glmm_model *)(const void *)model;
}

#endif
