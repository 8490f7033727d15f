/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What analyses of one number a trial share (summary_test, goal_attainment): the sums of the
 * numbers, Student's t on them, the share of responders with its exact interval, and the result as
 * JSON. Also the walk that lays out, writes and reads the numbers of a round in one order. Nothing
 * here looks at a trial.
 */
#ifndef NOF1_STATS_SUMMARY_H
#define NOF1_STATS_SUMMARY_H

#include <base/json.h>
#include <nof1/analysis.h>

#define SUMMARY_MOST_ROWS 0x1p20

/* One walk for layout, terms and totals, so that they cannot differ. */
struct summary_walk {
    struct nof1_arena *arena;
    struct nof1_element *element; /* written by layout */
    double *out;                  /* written by contribute */
    const double *total;          /* read by advance and report */
    size_t count;
    bool failed;                  /* no memory, or a term that is not finite */
};
void summary_visit(struct summary_walk *walk, const char *name, struct nof1_element element,
                   double *value);

/* Options of a plan, which are complete when an analysis sees them. */
const char *summary_choice(const struct nof1_study *study, const char *key);
/* "; lower is better, so values below 0 favour B", or nothing without a direction. */
const char *summary_direction(struct nof1_arena *arena, const struct nof1_study *study, int benefit,
                              const char *none);
/* +1 or -1: the plan's `benefit`, else the charter's; 0: not stated. */
int summary_benefit(const struct nof1_study *study);
/* Exact (Clopper-Pearson) interval of a share of n. Bounds 0 and 1 where it ends there. */
void summary_binomial(double *low, double *high, double count, double n, double level);

enum summary_form { SUMMARY_MEAN, SUMMARY_UNITS, SUMMARY_RESPONDER };
enum summary_scale { SUMMARY_RAW, SUMMARY_WITHIN, SUMMARY_CHARTER };

/* First member of the analysis' model. */
struct summary_model {
    struct nof1_model base;
    enum summary_form form;
    enum summary_scale scale; /* of a further, standardised row */
    double level, null;       /* of confidence; the mean that the test is against */
    double bound;             /* |number| of a trial, or of a unit of it */
    double ss_factor;         /* sd within = sqrt(ss_factor * ss / df) */
    double share_least;       /* responders: counts below are not shown; 0: all are */
    const char *term;
};

/* One trial's numbers, or all totals. */
struct summary_terms {
    double rows, units; /* units: cycles; 1 for a trial of one number */
    double x, square;   /* sum of the numbers and of their squares */
    double df, ss;      /* within trials */
    double responder;   /* 1 or 0 */
};
void summary_walk_terms(struct summary_walk *walk, const struct summary_model *model,
                        struct summary_terms *terms);
size_t summary_size(const struct summary_model *model);
nof1_rc summary_layout(const struct summary_model *model, struct nof1_arena *arena,
                       struct nof1_layout *out);
/* Writes terms to out. Errors: NOF1_E2403. */
nof1_rc summary_write(const struct summary_model *model, struct summary_terms *terms, double *out);
/* `advance` of every analysis of one round. */
nof1_rc_value summary_advance(const struct nof1_model *base, const struct nof1_history *history,
                              struct nof1_arena *arena, struct nof1_next *out,
                              struct nof1_error *error);
/* The result. `estimand` and `text` (the model) are new references and borrowed text. Errors:
 * NOF1_E_MODEL without any trial. */
nof1_rc summary_report(const struct summary_model *model, const struct nof1_history *history,
                       json_t *estimand, json_t *warnings, const char *text, json_t **out,
                       struct nof1_error *error);

#endif
