/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Random-effects model of effects, y_i ~ N(x_i'beta, v_i + tau^2) with known v_i, fitted from sums
 * only: power sums of the weights w = 1/(v + tau^2). The conventions (estimators of tau^2 and their
 * standard errors, Knapp-Hartung, Q-profile interval, I^2, H^2, log likelihoods) are those of
 * Viechtbauer's metafor 3.8 (rma.uni, confint.rma.uni), at the exact optimum instead of its
 * stopping point. This file never sees a trial: whoever has the sums (one release of class sums, or
 * rounds) is an oracle.
 */
#ifndef NOF1_STATS_TWO_STAGE_H
#define NOF1_STATS_TWO_STAGE_H

#include <stdbool.h>
#include <stddef.h>

#include <nof1/error.h>

#define NOF1_TWO_STAGE_COLUMNS 8 /* most columns of x, the intercept included */
#define NOF1_TWO_STAGE_SQUARE (NOF1_TWO_STAGE_COLUMNS * NOF1_TWO_STAGE_COLUMNS)

enum nof1_two_stage_method {
    NOF1_TS_FE, NOF1_TS_DL, NOF1_TS_HE, NOF1_TS_HS, NOF1_TS_SJ,
    NOF1_TS_ML, NOF1_TS_REML, NOF1_TS_EB, NOF1_TS_PM
};

/* Sums over trials of a weight times xx', xy, y^2. xx is p x p, row-major; x[0] = 1, so xx[0] is
 * the sum of the weight itself. */
struct nof1_two_stage_power {
    double xx[NOF1_TWO_STAGE_SQUARE];
    double xy[NOF1_TWO_STAGE_COLUMNS];
    double yy;
};

/* Everything at one tau^2. */
struct nof1_two_stage_sums {
    double tau_squared;                 /* the point at which the sums really are */
    struct nof1_two_stage_power w[4];   /* [a]: weight w^a; [0] only from `unweighted` */
    double log_sum;                     /* sum of log(v + tau^2) */
    double v1[NOF1_TWO_STAGE_SQUARE];   /* sum v xx', only from `unweighted` */
    double v2[NOF1_TWO_STAGE_SQUARE];   /* sum v^2 xx', only from `unweighted` */
};

/* Where sums come from. A call returns NOF1_E_NOT_FOUND when a further round is needed first; the
 * fit then stops with that code and is simply started again later: it is deterministic. */
struct nof1_two_stage_oracle {
    void *self;
    /* w[1..3] and log_sum at tau2 >= 0 (or at a point within `resolution` of it). */
    nof1_rc_value (*weighted)(void *self, double tau2, struct nof1_two_stage_sums *out);
    /* w[0], v1, v2: all of them for HE, w[0] for SJ, w[0].xx for REML with p > 1. */
    nof1_rc_value (*unweighted)(void *self, struct nof1_two_stage_sums *out);
    double resolution;  /* relative spacing of the points it can answer; 0: any double */
    bool cheap;         /* asking costs no round: scan for the global optimum */
};

struct nof1_two_stage_options {
    enum nof1_two_stage_method method;
    bool knapp_hartung;
    double level;          /* of confidence, 0.95 */
    bool interval;         /* Q-profile interval of tau^2 */
    double fixed;          /* tau^2 to use instead of estimating it; NAN: estimate */
    size_t columns;        /* p */
    double trials;         /* k */
};

/* Numbers that do not exist are NAN. Matrices p x p, row-major. */
struct nof1_two_stage_fit {
    size_t columns;
    double trials, df;                      /* k; k - p */
    double beta[NOF1_TWO_STAGE_COLUMNS];
    double covariance[NOF1_TWO_STAGE_SQUARE]; /* scaled by Knapp-Hartung's factor if asked for */
    bool knapp_hartung;                     /* asked for, and k > p */
    double knapp_hartung_factor;            /* RSS / (k - p); 1 without Knapp-Hartung */
    double tau_squared, tau_squared_se, tau_squared_low, tau_squared_high;
    bool interval_empty;                    /* Q(0) lies below the lower quantile */
    double q, q_p;                          /* Cochran's Q_E and its p value */
    double typical_variance, i_squared, h_squared; /* i_squared in percent */
    double log_lik_ml, log_lik_reml;        /* the latter for REML only, with log |X'X| / 2 */
    double score_at_zero;                   /* d log lik / d tau^2 at 0 (ML, REML) */
    bool boundary;                          /* tau^2 = 0 is where the estimate was cut off */
    bool converged;
};

/* Fit. Errors: NOF1_E_NOT_FOUND (a round is needed), NOF1_E_MODEL (no more trials than columns, or
 * columns that determine each other). k = 1 with p = 1 is a result with tau^2 = 0. */
nof1_rc nof1_two_stage_fit(struct nof1_two_stage_fit *out,
                           const struct nof1_two_stage_options *options,
                           const struct nof1_two_stage_oracle *oracle);

/* An oracle over cells of equal v. sum[c] holds the unweighted sums of cell c. */
struct nof1_two_stage_cells {
    size_t columns, cells;
    const double *v;
    const struct nof1_two_stage_power *sum;
};
struct nof1_two_stage_oracle nof1_two_stage_cells_oracle(struct nof1_two_stage_cells *cells);

/* out += factor * in, all p x p, p and 1 entries. */
void nof1_two_stage_add(struct nof1_two_stage_power *out, const struct nof1_two_stage_power *in,
                        double factor, size_t columns);

/* "REML" -> NOF1_TS_REML. false when there is no such method. */
bool nof1_two_stage_method_of(const char *text, enum nof1_two_stage_method *out);
const char *nof1_two_stage_method_text(enum nof1_two_stage_method method);

#endif
