/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Internal to the one-stage Gaussian mixed model (docs/statistics.md; lib/stats/gaussian.h holds
 * its algebra). One evaluation of the likelihood serves all forms; the forms differ in what is
 * released: score   rounds at (beta, S): X'H^-1 r and the quadratic forms of r, design sums beside
 *   class   one round: per design class the moments of trial mean and arm difference, or (SERIAL,
 *           correlated residuals) bilinear sums of all trials and of those with equal periods
 *   cycles  one round: per number of complete cycles the moments of the cycle difference
 *   pool    one round on a public weight basis, then score rounds of the pooled differences
 * The last two fit `y ~ 0 + trial + treatment + (0 + treatment | trial)` on period values.
 */
#ifndef NOF1_STATS_MIXED_H
#define NOF1_STATS_MIXED_H

#include <nof1/analysis.h>
#include <stats/ar1.h>
#include <stats/gaussian_fit.h>
#include <stats/optimise.h>
#include <stats/series.h>

#define MIXED_COLUMNS_MAX 32
#define MIXED_RATIO_LEAST 0.01 /* of residual standard deviations between arms */

enum mixed_kind {
    MIXED_INTERCEPT,
    MIXED_TREATMENT,
    MIXED_PERIOD,
    MIXED_PERIOD_LEVEL,
    MIXED_TIME,
    MIXED_CYCLE,
    MIXED_CYCLE_LEVEL,
    MIXED_PREVIOUS,
    MIXED_NUMERIC,
    MIXED_FACTOR_LEVEL,
    MIXED_SITE,  /* indicator of a site, or */
    MIXED_BLOCK, /* a block, of the charter's index `level` */
    MIXED_ABSENT /* 1 where the covariate is missing and its centre was taken */
};

struct mixed_column {
    enum mixed_kind kind;
    size_t covariate;  /* NUMERIC, FACTOR_LEVEL */
    int32_t level;     /* period, cycle or factor level that the column indicates */
    bool by_treatment; /* multiplied by the indicator of `arm` */
    size_t arm;        /* TREATMENT, PREVIOUS and by_treatment: the arm, 1 .. arms - 1 */
    const char *name;  /* as R names it */
    const char *term;  /* of the plan's `fixed`; NULL: the intercept */
    double centre;     /* NUMERIC, TIME: subtracted; mixed_report.c undoes it */
};

enum mixed_df { MIXED_Z, MIXED_SATTERTHWAITE, MIXED_KENWARD_ROGER };
enum mixed_form { MIXED_SCORE, MIXED_CLASS, MIXED_CYCLES, MIXED_POOL, MIXED_SERIAL };

/* Coordinate k (0 trial mean, then of each arm its mean less that of the arms before it) of a
 * column in a class: scale * feature, or the constant itself when feature is 0 (the feature "1").
 */
struct mixed_coordinate {
    size_t feature;
    bool scaled;   /* scale = the constant; else 1 */
    bool zero;
};

/* A quantity that varies between the trials of a class. */
struct mixed_feature {
    size_t column;     /* coordinate `coordinate` of this column, or */
    size_t coordinate;
    bool level;        /* the column's own (trial-level) value */
    uint16_t sparse;   /* mixed_sparse */
};

struct mixed_cell { /* a class or a number of complete cycles: one group */
    const char *name;
    size_t n[NOF1_ARMS_MAX];    /* rows by arm (class) or cycles in n[0] */
    const struct nof1_class *plan;
    const double *constant;     /* [columns * coordinates] constant coordinates (class) */
    uint64_t trials;            /* of the census */
};

struct mixed_model {
    struct nof1_model base;
    enum mixed_form form;
    size_t columns; /* p */
    const struct mixed_column *column;
    size_t arms;           /* of the plan: reference, active ... */
    size_t effects, terms;
    struct nof1_gaussian_shape shape;
    bool reml;
    enum mixed_df df;
    bool df_chosen;               /* by us: the plan says df: auto */
    double level;
    double start[NOF1_TERMS_MAX]; /* S of the first evaluation */
    double scale;                 /* planning sd within trials */
    double reach;                 /* largest |outcome - centre| */
    double beta_limit, root_limit;
    const char *formula;
    const char *rule;             /* why this form */
    bool treatment_wanted;        /* a treatment column exists */
    bool test_variances, test_terms; /* likelihood-ratio tests */
    bool profile;                 /* intervals */
    bool by_period;               /* what measures time between correlated residuals */
    bool centred;                 /* sites are fixed effects, absorbed by their means at the site */
    /* class, cycles */
    size_t cells;
    const struct mixed_cell *cell;
    size_t features;              /* feature[0] is the constant 1 */
    const struct mixed_feature *feature;
    size_t coordinates;           /* 1, or the number of arms */
    bool isotropic;               /* arms differ by chance alone, equal rows: squares as one sum */
    size_t cycle_rows;            /* rows of every cycle, where cycles have a variance */
    const struct mixed_coordinate *coordinate; /* [columns * coordinates] */
    size_t residuals;             /* columns with a part outside Z */
    const size_t *residual;
    /* serial */
    const struct mixed_serial *serial; /* mixed_serial.h */
    /* pool */
    size_t basis;                 /* R: public weights of the first round; 0: score rounds only */
    size_t patterns;              /* distinct (periods of arm 0, periods of arm 1) of the census */
    const struct mixed_cell *pattern;
};

/* ---- mixed_design.c: the columns of X ---- */
nof1_rc mixed_columns(struct mixed_model *model, struct nof1_arena *arena,
                      const struct nof1_node *fixed, struct nof1_error *error);
/* What R appends to `treatment` for an arm: nothing when the plan has one active treatment. */
const char *mixed_arm_suffix(const struct mixed_model *model, size_t arm);
/* The treatment of an arm of the plan. */
const char *mixed_arm_name(const struct mixed_model *model, size_t arm);
/* Doubles of scratch per row of the trial that mixed_rows needs besides the series. */
size_t mixed_row_doubles(const struct mixed_model *model);
/* The rows of a trial with every column observed. On return series holds those rows only and
 * column[c * rows + i] the value of column c, with the outcome (minus centre) as column p.
 * scratch: rows * (series + mixed_row_doubles) bytes. */
void mixed_rows(struct nof1_series *series, double **column, const struct mixed_model *model,
                const struct nof1_trial *trial, void *scratch);
/* The value of a covariate's column in a row of the trial; NAN when missing. */
double mixed_covariate(const struct nof1_charter *charter, const struct nof1_trial *trial,
                       const struct mixed_column *column, size_t row);
/* Is the column the same in all rows of a trial? */
bool mixed_trial_level(const struct mixed_model *model, const struct mixed_column *column);
/* How many trials a sum with the column may miss: 0: none for its design; 1: many (sparse); 1 + n:
 * so as a level of factor n of the layout (nof1_element.factor). */
uint16_t mixed_sparse(const struct mixed_column *column);
/* Largest |value| that the charter allows. */
double mixed_column_bound(const struct mixed_model *model, const struct mixed_column *column);

/* ---- mixed_prepare.c ---- */
nof1_rc_value mixed_prepare(struct nof1_model **out, struct nof1_arena *arena,
                            const struct nof1_study *study, struct nof1_error *error);
/* Census count of "OUTCOME/WHAT"; 0 when the census does not have it. */
uint64_t mixed_census(const struct nof1_study *study, const char *what);
/* The step to which linear terms of weighted sums are rounded: the outcome's quantum over the most
 * periods. 0 (exact): an open lab, or a continuous outcome. Exact sums of decimals under public
 * real weights give away single patterns to a lattice reduction (docs/disclosure.md). */
double mixed_term_step(const struct nof1_study *study);

/* ---- forms: each fills the same slots ---- */
nof1_rc mixed_class_prepare(struct mixed_model *model, struct nof1_arena *arena, bool *possible);
/* The class of the whole trial: rows of every treatment and the multiset of periods. */
bool mixed_in_class(const struct nof1_study *study, const struct nof1_trial *trial,
                    const struct nof1_class *plan);
/* May a row of a complete class lack a value of some column? */
bool mixed_rows_may_drop(const struct mixed_model *model);
/* The pooled forms replace the columns by the treatment alone: trials and cycles are absorbed. */
nof1_rc mixed_cycles_prepare(struct mixed_model *model, struct nof1_arena *arena,
                             struct nof1_error *error);
/* What the sums of trials could tell at most, by patterns of observed periods in the census: of
 * each pattern its moments of `effects` numbers, or its trials' numbers when it has fewer trials. 0
 * when the census does not describe the plan's trials. */
double mixed_knowable(const struct nof1_study *study, struct nof1_arena *arena, size_t effects);
nof1_rc mixed_pool_prepare(struct mixed_model *model, struct nof1_arena *arena,
                           struct nof1_error *error);
/* Elements of one class; those of all classes come first, then the residual sums. */
size_t mixed_cell_elements(const struct mixed_model *model);
/* Of them, squares and products of the response's coordinates; rows of one trial of the cell. */
size_t mixed_cell_squares(const struct mixed_model *model);
size_t mixed_cell_rows(const struct mixed_model *model, const struct mixed_cell *cell);
/* Sets of residual sums: by arm when variances differ by arm; of cycles and within them; else one.
 */
size_t mixed_strata(const struct mixed_model *model);
/* ---- mixed_site.c: sites as fixed effects, absorbed by their means ---- */
struct mixed_fit;
#define MIXED_SITE_COLUMNS 20 /* most sites with columns of their own, in an open lab */
/* NOF1_E_PLAN unless the model is one that the absorbed form fits. */
nof1_rc mixed_site_check(const struct mixed_model *model, struct nof1_error *error);
nof1_rc_value mixed_site_value(const struct nof1_model *model, const struct nof1_trial *trial,
                               void *scratch, double *out);
size_t mixed_site_elements(const struct mixed_model *model);
void mixed_site_write(double *out, const struct mixed_model *model, const double *b,
                      const struct nof1_trial *trial);
/* Two groups: differences between trials of one site, and means of sites. */
nof1_rc mixed_site_groups(struct nof1_gaussian_group group[3], struct mixed_fit *fit,
                          const struct mixed_model *model, const double *total,
                          const struct nof1_history *history, struct nof1_arena *arena,
                          struct nof1_error *error);
/* V_j in the coordinates of a class, and their scale. */
nof1_rc_value mixed_cell_structure(struct nof1_gaussian_group *out, double *scale,
                                   const struct mixed_model *model, const struct mixed_cell *cell,
                                   struct nof1_arena *arena);
nof1_rc_value mixed_class_layout(const struct mixed_model *model, uint32_t round,
                                 struct nof1_arena *arena, struct nof1_layout *out);
struct mixed_slots {
    int (*group_of)(const struct mixed_model *, const struct nof1_trial *, void *scratch);
    nof1_rc_value (*layout)(const struct mixed_model *, uint32_t round, struct nof1_arena *,
                            struct nof1_layout *);
    nof1_rc_value (*contribute)(const struct mixed_model *, uint32_t round, const double *theta,
                                const struct nof1_trial *, void *scratch, double *out);
};
extern const struct mixed_slots mixed_score_slots, mixed_class_slots, mixed_cycles_slots,
    mixed_pool_slots, mixed_serial_slots;

/* A fitted model, whatever the form. Arrays in the arena. */
struct mixed_fit {
    struct nof1_gaussian_shape shape;   /* of the used columns and the response */
    struct nof1_gaussian_sums sums;     /* used columns only */
    struct nof1_gaussian_point point;   /* at the last evaluation */
    size_t used;                        /* columns that have any observation */
    const size_t *use;                  /* [used] index in model->column */
    double *beta;                       /* [used] */
    double root[NOF1_TERMS_MAX];        /* S */
    double gamma[NOF1_TERMS_MAX];
    double sigma2, f;
    double shift;                       /* subtracted from outcomes besides the centre */
    double deviance;                    /* ML deviance at the estimates */
    double decrement;                   /* at the last evaluation */
    const struct mixed_totals *totals;  /* used columns only; NULL where a fit takes rounds */
    bool converged, edge;               /* edge: rho at the limit of its domain */
    size_t boundary;                    /* number of directions without variance */
    double derivative;                  /* one-sided derivative of f there */
    double approximation;               /* bound of the error of beta in se; 0: exact */
    double absorbed;                    /* fixed effects of trials or cycles that were absorbed */
    double constant;                    /* what they add to the criterion */
};

/* What the model cannot be fitted to: columns, degrees of freedom. Reduces sums to the used
 * columns. Errors: NOF1_E_MODEL, NOF1_E2601, NOF1_E2308. */
nof1_rc mixed_reduce(struct mixed_fit *fit, const struct mixed_model *model,
                     struct nof1_arena *arena, const struct nof1_gaussian_sums *sums,
                     const struct nof1_gaussian_shape *shape, double trials,
                     struct nof1_error *error);

/* NOF1_E2601 when the design cannot tell the variances apart: their information, at a point inside,
 * is singular. For models beyond intercept and slope, whose counts mixed_reduce looks at. */
nof1_rc mixed_refuse_structure(const struct mixed_fit *fit, const struct mixed_model *model,
                               const double *gamma, struct nof1_arena *arena,
                               struct nof1_error *error);

/* ---- mixed_round.c: score rounds outside an open lab ---- */
/* The step to which a trial's term of X'H^-1 r is rounded; 0: exact. */
double mixed_score_step(const struct mixed_model *model, size_t column);
/* One trial's matrices, lower triangles one after the other. Entries with a numeric covariate are
 * rounded to its step times the power of two below the trial's weight, in open labs not. */
void mixed_round_matrices(double *matrix, size_t matrices, const struct mixed_model *model);
/* What both may change: of a coefficient, or by half the information's error of its standard error,
 * in standard errors; the largest of the used columns. 0: nothing is rounded. */
double mixed_rounding(const struct mixed_model *model, const struct mixed_fit *fit);

/* ---- mixed_project.c: one trial in the coordinates of its cells ---- */
struct mixed_projection {
    size_t cells;
    size_t *n, *cycle;
    int32_t *number; /* of each cycle met */
    unsigned char *arm;
    unsigned short *cell;     /* [rows] */
    double *a, *term, *work;
    double *residual;         /* [arms][width * width]; all in the first without ratios */
    double rows;
    double free[NOF1_ARMS_MAX]; /* residual dimensions of each arm */
};
size_t mixed_cells_most(const struct mixed_model *model);
/* Doubles of memory of a projection, without its rows; the place of those (a double a row). */
size_t mixed_project_size(const struct mixed_model *model);
double *mixed_project_rows(const struct mixed_model *model, double *memory);
/* column is overwritten by its residuals within cells. Errors: NOF1_E2403: more cycles than the
 * charter says. */
nof1_rc mixed_project(struct mixed_projection *out, const struct mixed_model *model,
                      const struct nof1_series *series, double *column, double *memory);
void mixed_projection_add(struct nof1_gaussian_sums *sums, const struct mixed_model *model,
                          const double *gamma, const struct mixed_projection *projection);
/* Residual products of an arm other than the reference, of so many dimensions. */
void mixed_add_ratio(struct nof1_gaussian_sums *sums, const struct nof1_gaussian_shape *shape,
                     const double *gamma, size_t arm, double dimensions, const double *products);

/* ---- mixed_serial.c: correlated residuals. Doubles of memory: fixed part, and for each row;
 * `memory` is such, not initialised. ---- */
size_t mixed_serial_size(const struct mixed_model *model);
size_t mixed_serial_row(const struct mixed_model *model);
/* The time of a row that the correlation takes; NAN when missing. */
double mixed_serial_time(const struct mixed_model *model, const struct nof1_series *series,
                         size_t row);
/* Are times such that the correlation exists: none equal, whole steps for ar1? memory: 2 doubles a
 * row. */
bool mixed_serial_fits(const struct mixed_model *model, const struct nof1_series *series,
                       double *memory);
/* Add a trial's sums at gamma; false when they do not exist. */
bool mixed_serial_add(struct nof1_gaussian_sums *sums, const struct mixed_model *model,
                      const double *gamma, const struct nof1_series *series, const double *column,
                      double *memory);

/* ---- mixed_serial_class.c, mixed_serial_fit.c: the same in one round. Doubles of memory beside a
 * trial's rows. ---- */
nof1_rc mixed_serial_prepare(struct mixed_model *model, struct nof1_arena *arena, bool *possible);
size_t mixed_serial_class_size(const struct mixed_model *model);
nof1_rc mixed_serial_fit(const struct mixed_model *model, const struct nof1_history *history,
                         struct nof1_arena *arena, struct mixed_fit *fit, struct nof1_error *error);

/* ---- what pool takes from score: rounds at (beta, S) and their evaluation ---- */
struct mixed_visit {
    struct mixed_fit fit; /* sums, point */
    double *x;            /* [used + terms]: beta, S */
};
nof1_rc mixed_score_layout(const struct mixed_model *model, struct nof1_arena *arena,
                           struct nof1_layout *out);
size_t mixed_score_elements(const struct mixed_model *model);
/* The element "H column*column". */
size_t mixed_score_diagonal(const struct mixed_model *model, size_t column);
void mixed_score_write(double *out, const struct mixed_model *model,
                       const struct nof1_gaussian_sums *sums);
nof1_rc mixed_score_visit(struct mixed_visit *visit, struct nof1_evaluation *evaluation,
                          const struct mixed_model *model, const struct nof1_round_total *total,
                          double trials, struct nof1_arena *arena, struct nof1_error *error);
nof1_rc mixed_score_propose(struct nof1_next *next, const struct mixed_model *model,
                            const size_t *use, size_t used, const double *x,
                            struct nof1_arena *arena);
nof1_rc mixed_score_conclude(struct mixed_fit *fit, const struct mixed_model *model,
                             const struct mixed_visit *best, const struct nof1_ask *ask,
                             struct nof1_arena *arena);

nof1_rc mixed_pool_advance(const struct mixed_model *model, const struct nof1_history *history,
                           struct nof1_arena *arena, struct nof1_next *next,
                           struct mixed_fit *fit, struct nof1_error *error);
nof1_rc mixed_score_advance(const struct mixed_model *model, const struct nof1_history *history,
                            struct nof1_arena *arena, struct nof1_next *next,
                            struct mixed_fit *fit, struct nof1_error *error);
nof1_rc mixed_class_fit(const struct mixed_model *model, const struct nof1_history *history,
                        struct nof1_arena *arena, struct mixed_fit *fit, struct nof1_error *error);
nof1_rc mixed_cycles_fit(const struct mixed_model *model, const struct nof1_history *history,
                         struct nof1_arena *arena, struct mixed_fit *fit,
                         struct nof1_error *error);

/* Likelihood of group totals, minimised where it can be evaluated at will. */
struct mixed_totals {
    struct nof1_gaussian_shape shape;
    size_t groups;
    const struct nof1_gaussian_group *group;
    const double *residual; /* [columns * columns] */
    double *work;           /* of nof1_gaussian_add; mixed_totals_fit fills it */
};
nof1_rc mixed_totals_fit(const struct mixed_model *model, const struct mixed_totals *totals,
                         double trials, struct nof1_arena *arena, struct mixed_fit *fit,
                         struct nof1_error *error);
/* The sums of all groups at gamma, placed into memory. */
void mixed_totals_sum(struct nof1_gaussian_sums *sums, double *memory,
                      const struct mixed_totals *totals, const double *gamma);
/* NOF1_E_MODEL when an entry of S is beyond the limit: the residual variance tends to 0;
 * refuse_root also when that of an arm does. */
nof1_rc mixed_refuse_large(const double *root, const struct mixed_model *model, double limit,
                           struct nof1_error *error);
nof1_rc mixed_refuse_root(const double *root, const struct mixed_model *model, double limit,
                          struct nof1_error *error);
/* Round S to the boundary where it is one, and finish sigma2, gamma, deviance. */
void mixed_finish(struct mixed_fit *fit);

/* ---- mixed_contrasts.c: `tables` of the result, with three or more treatments. uncentre: see
 * mixed_report.c. Errors: NOF1_E_NO_MEMORY. ---- */
nof1_rc mixed_tables(json_t *out, struct nof1_arena *arena, const struct mixed_model *model,
                     const struct mixed_fit *fit, const double *uncentre);

/* ---- mixed_profile.c: refits of totals, without a round. Both add a table; the latter replaces
 * conf.low and conf.high of the estimates. offset: added to the intercept. Errors:
 * NOF1_E_NO_MEMORY; NOF1_E_MODEL when no restricted minimum was found. ---- */
nof1_rc mixed_ratio_tests(json_t *out, struct nof1_arena *arena, const struct mixed_model *model,
                          const struct mixed_fit *fit, const double *uncentre);
nof1_rc mixed_profile(json_t *out, struct nof1_arena *arena, const struct mixed_model *model,
                      const struct mixed_fit *fit, const double *uncentre, double offset);

/* ---- mixed_report.c ---- */
nof1_rc mixed_report_json(json_t **out, struct nof1_arena *arena, const struct mixed_model *model,
                          const struct nof1_history *history, const struct mixed_fit *fit);

static inline const struct mixed_model *mixed_of(const struct nof1_model *model)
{
    return (const struct mixed_model *)(const void *)model;
}

#endif
