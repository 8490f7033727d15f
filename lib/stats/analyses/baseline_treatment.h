/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the analysis `baseline_treatment` share: the prepared model, one trial's rows,
 * the fit. Private to lib/stats/analyses/baseline_treatment*.c.
 *
 * Forms (docs/statistics.md): CLASS, one round of the minimal sufficient sums, when the charter's
 * classes fix every trial's occasions; SCORE, rounds of scores at (beta, S, rho), any schedule.
 */
#ifndef NOF1_BASELINE_TREATMENT_H
#define NOF1_BASELINE_TREATMENT_H

#include <nof1/analysis.h>
#include <stats/ar1_form.h>
#include <stats/gaussian_fit.h>
#include <stats/series.h>

#define BT_COLUMNS 4 /* intercept, time, level change, slope change */
#define BT_EFFECTS 3 /* intercept, level change, slope change */
#define BT_TIME 0x1p20

enum bt_column { BT_INTERCEPT, BT_TREND, BT_LEVEL, BT_SLOPE };
enum bt_residual { BT_IID, BT_AR1, BT_CAR1 };
enum bt_df { BT_AUTO, BT_Z, BT_SATTERTHWAITE, BT_KENWARD_ROGER };

/* A class of the charter whose occasions are public: periods are times. */
struct bt_cell {
    const char *name;
    size_t rows, baseline;      /* rows, of which so many before the start */
    const struct nof1_class *plan;
    const double *time;         /* [rows] */
    const double *column;       /* [(columns + 1 + effects) * rows]: X, zeros, Z */
    size_t inner;               /* functionals of Z'P y */
    const double *functional;   /* [inner * rows] raw vectors */
    size_t offset;              /* of the cell's rows in a vector of all cells */
    size_t owner; /* first cell with the same functionals: products are summed there */
    bool shared;                /* an owner of several cells */
};

struct bt_model {
    struct nof1_model base;          /* first */
    bool reml, by_period, score;
    enum bt_residual residual;
    enum bt_df df;
    double level;
    enum bt_column column[BT_COLUMNS];
    enum bt_column effect[BT_EFFECTS];
    size_t columns, effects, terms;
    struct nof1_gaussian_shape shape; /* columns + 1, effects, correlated */
    double start[NOF1_TERMS_MAX];     /* S, then rho on its own scale */
    double scale, reach, beta_limit, root_limit;
    const char *formula;
    /* class form */
    size_t cells, all_rows;
    const struct bt_cell *cell;
    struct nof1_ar1_form form;       /* steps and matrices */
    size_t outer;                    /* functionals of all cells besides theirs */
    const double *functional;        /* [outer * all_rows] */
};

static inline const struct bt_model *bt_of(const struct nof1_model *model)
{
    return (const struct bt_model *)(const void *)model;
}

extern const char *const bt_column_name[BT_COLUMNS];

/* One trial's rows with an observed outcome, in order of time. column: X, y, Z. */
struct bt_rows {
    size_t rows, baseline;
    double *time, *column;
    double *work; /* what is left of the scratch */
};
/* False when the trial takes no part: a phase without an observation, a missing time, treatment
 * before baseline, equal times or (ar1) fractional steps with serial correlation. */
bool bt_rows_of(struct bt_rows *out, const struct bt_model *model, const struct nof1_trial *trial,
                void *scratch);
double bt_column_value(enum bt_column column, double time, bool active, double start);
size_t bt_scratch(const struct bt_model *model);
size_t bt_scratch_row(const struct bt_model *model);

struct bt_fit {
    struct nof1_gaussian_sums sums;
    struct nof1_gaussian_point point;
    double beta[BT_COLUMNS];
    double x[NOF1_TERMS_MAX], gamma[NOF1_TERMS_MAX];
    double sigma2, f, decrement, approximation;
    bool converged, edge; /* edge: rho at the limit of its domain */
    size_t boundary;
};

/* baseline_treatment_class.c */
nof1_rc bt_class_prepare(struct bt_model *model, struct nof1_arena *arena, bool *possible);
int bt_class_group_of(const struct bt_model *model, const struct nof1_trial *trial, void *scratch);
nof1_rc bt_class_layout(const struct bt_model *model, struct nof1_arena *arena,
                        struct nof1_layout *out);
nof1_rc bt_class_contribute(const struct bt_model *model, const struct nof1_trial *trial,
                            void *scratch, double *out);
size_t bt_class_elements(const struct bt_model *model);
/* baseline_treatment_fit.c */
nof1_rc bt_class_fit(const struct bt_model *model, const struct nof1_history *history,
                     struct nof1_arena *arena, struct bt_fit *fit, struct nof1_error *error);
nof1_rc bt_refuse(const struct bt_model *model, const struct nof1_gaussian_sums *sums,
                  double trials, struct nof1_error *error);
/* Round x to the boundary where it is one; fills gamma, boundary, edge. */
void bt_settle(struct bt_fit *fit, const struct bt_model *model);
/* baseline_treatment_score.c */
size_t bt_score_elements(const struct bt_model *model);
nof1_rc bt_score_layout(const struct bt_model *model, struct nof1_arena *arena,
                        struct nof1_layout *out);
nof1_rc bt_score_contribute(const struct bt_model *model, const double *theta,
                            const struct nof1_trial *trial, void *scratch, double *out);
nof1_rc bt_score_advance(const struct bt_model *model, const struct nof1_history *history,
                         struct nof1_arena *arena, struct nof1_next *next, struct bt_fit *fit,
                         struct nof1_error *error);
/* baseline_treatment_report.c */
nof1_rc bt_report(json_t **out, struct nof1_arena *arena, const struct bt_model *model,
                  const struct nof1_history *history, const struct bt_fit *fit);

#endif
