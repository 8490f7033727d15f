/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the stratified analysis share: the model that a plan becomes, one trial's table
 * of events by treatment, and the totals of a round. Strata are the trials themselves.
 */
#ifndef NOF1_STATS_STRATIFIED_H
#define NOF1_STATS_STRATIFIED_H

#include <nof1/analysis.h>

enum strat_measure { STRAT_OR, STRAT_RR, STRAT_RD, STRAT_IRR };
enum strat_method { STRAT_MH, STRAT_PETO, STRAT_CONDITIONAL };

struct strat_model {
    struct nof1_model base; /* first */
    enum strat_measure measure;
    enum strat_method method;
    bool homogeneity; /* Breslow-Day and Tarone (a second round), or Peto's Q */
    bool any;         /* one row an arm: did any row have an event? */
    int exposure;     /* covariate, or -1: each row is one unit of exposure */
    double level;
    double most;      /* events of one trial, at most */
};

/* Events a and c in n1 and n0 rows (or units of exposure), active and reference. */
struct strat_table {
    size_t rows;
    double a, n1, c, n0;
};

/* Numbers of a round, of one trial or in all. Which are used depends on measure and method. */
struct strat_sums {
    double rows, weight;           /* design: rows; sum n1 n0 / N (RD) */
    double r, s, pr, qs, v;        /* Mantel-Haenszel, and the hypergeometric variance */
    double u, p, q;                /* RD; u is O - E of Peto and the score of a round */
    double square, informative;    /* sum (O - E)^2 / V over tables with a variance, their number */
    double log_ratio, log_ratio2;  /* log of the exposures' ratio, and its square */
};

struct summary_walk;

/* False: the trial lacks an arm (or its exposure) and belongs to no stratum. */
bool strat_table_of(struct strat_table *out, const struct strat_model *model,
                    const struct nof1_trial *trial, void *scratch);
/* One trial's numbers of round 1, and of a later round at the log ratio theta. */
void strat_terms(struct strat_sums *out, const struct strat_model *model,
                 const struct strat_table *table, uint32_t round, double theta);
/* The numbers of a round in their order. */
void strat_walk(struct summary_walk *walk, const struct strat_model *model, uint32_t round,
                struct strat_sums *sums);
size_t strat_size(const struct strat_model *model, uint32_t round);
/* Totals of round r >= 1 of the history. */
void strat_totals(struct strat_sums *out, const struct strat_model *model,
                  const struct nof1_history *history, uint32_t round);

/* Where the iteration of the conditional likelihood stands after the rounds of a history. */
struct strat_search {
    bool done, converged, separated, closed; /* closed: exact without iteration */
    double estimate, se;                     /* log ratio; NAN when there is none */
    double step;                             /* the last step; NAN before there was one */
    double correction;                       /* its second-order part, or all of it */
    double next;                             /* where the next round is evaluated */
};
void strat_search(struct strat_search *out, const struct strat_model *model,
                  const struct nof1_history *history);

nof1_rc_value strat_report(const struct nof1_model *base, const struct nof1_history *history,
                           struct nof1_arena *arena, json_t **out, struct nof1_error *error);

#endif
