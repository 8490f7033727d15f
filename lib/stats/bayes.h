/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bayesian hierarchical models by deterministic quadrature (docs/statistics.md, `bayes`): the mean
 * effect is integrated out exactly, standard deviations and the correlation by nested trapezoidal
 * rules after double-exponential substitutions (Takahasi & Mori 1974; Trefethen & Weideman 2014).
 * Everything is computed from sums; this file never sees a trial.
 */
#ifndef NOF1_STATS_BAYES_H
#define NOF1_STATS_BAYES_H

#include <stdbool.h>
#include <stddef.h>

#include <nof1/error.h>
#include <nof1/slice.h>

/* ---- priors ---- */

enum nof1_bayes_family {
    NOF1_BAYES_FIXED,       /* the value itself */
    NOF1_BAYES_HALF_NORMAL, /* |N(0, scale^2)| */
    NOF1_BAYES_HALF_CAUCHY,
    NOF1_BAYES_HALF_T,      /* scale * |t_df| */
    NOF1_BAYES_UNIFORM,     /* 0 to scale */
    NOF1_BAYES_JEFFREYS,    /* density 1/x, improper */
    NOF1_BAYES_LKJ          /* of a correlation: proportional to (1 - x^2)^(scale - 1) */
};
struct nof1_bayes_prior { enum nof1_bayes_family family; double scale, df; };
/* Log density at x, normalised unless improper. */
double nof1_bayes_log_prior(const struct nof1_bayes_prior *prior, double x);
/* The x with P(X <= x) = p; of proper priors of a standard deviation. */
double nof1_bayes_prior_quantile(const struct nof1_bayes_prior *prior, double p);

/* ---- quadrature ---- */

#define NOF1_BAYES_AXES 4

/* A number to integrate over: a standard deviation (lower 0, upper INFINITY), or one from lower to
 * upper; or fixed at lower. scale: a guess of its size. */
struct nof1_bayes_axis { double lower, upper, scale; bool fixed; };

/* The normal posterior of the mean effect, given the numbers integrated over. */
struct nof1_bayes_normal { double mean, variance; };

/* log(prior * likelihood) at a point, the mean effect integrated out; -INFINITY is allowed. `mean`
 * (may be NULL) receives the posterior of the effect. */
typedef double nof1_bayes_density(void *self, const double *at, struct nof1_bayes_normal *mean);

struct nof1_bayes_problem {
    size_t axes;
    struct nof1_bayes_axis axis[NOF1_BAYES_AXES];
    nof1_bayes_density *density;
    void *self;
    bool quick;       /* 1e-3 of four numbers is enough: for tables of many posteriors */
};

struct nof1_bayes_node {
    double at[NOF1_BAYES_AXES];
    double x[3];      /* of the first three numbers, in the substituted variable */
    double step[3];   /* of the first three axes' rules, there */
    double weight;    /* probability; all sum to 1 */
    struct nof1_bayes_normal mean;
    unsigned odd;     /* bit a: the node is not part of axis a's rule of half as many points */
};

struct nof1_bayes_posterior {
    size_t axes, nodes;
    struct nof1_bayes_axis axis[NOF1_BAYES_AXES];
    struct nof1_bayes_node *node;
    double log_evidence;
    double error;     /* estimated relative error of the integrals */
};

/* Integrate. Nodes below 1e-14 of the largest are dropped. Errors: NOF1_E_MODEL when the density is
 * nowhere positive or cannot be normalised (an improper posterior), NOF1_E_NO_MEMORY. */
nof1_rc nof1_bayes_integrate(struct nof1_bayes_posterior *out, struct nof1_arena *arena,
                             const struct nof1_bayes_problem *problem);

/* ---- summaries ---- */

/* The t with P(number of axis 0, 1 or 2 <= t) = probability, by the indefinite integral of the sinc
 * interpolant, which is as exact as the rule itself (Stenger 1993). */
nof1_rc nof1_bayes_axis_quantile(double *out, const struct nof1_bayes_posterior *p, size_t axis,
                                 double probability);
/* The x with F(x) = probability, by Newton's steps inside a bracket that only shrinks; F and its
 * derivative by `distribution`. start, scale: where and how wide it is, about. */
struct nof1_bayes_target { const struct nof1_bayes_posterior *posterior; size_t axis; double spread; };
typedef double nof1_bayes_distribution(const struct nof1_bayes_target *target, double x,
                                       double *density);
nof1_rc nof1_bayes_solve(double *out, nof1_bayes_distribution *distribution,
                         const struct nof1_bayes_target *target, double probability, double start,
                         double scale);
/* The mixture of normals N(mean, variance + spread * tau^2) over nodes: the mean effect (spread 0) or
 * the next patient's (spread 1). */
double nof1_bayes_mean_upper(const struct nof1_bayes_posterior *p, double spread, double t);
nof1_rc nof1_bayes_mean_quantile(double *out, const struct nof1_bayes_posterior *p, double spread,
                                 double probability);

/* ---- the two-stage model ---- */

#define NOF1_BAYES_STRATA 8

/* y_i ~ N(mu_s, tau^2 + sigma^2 u_i), mu_s ~ N(mu, omega^2), mu ~ N(m, s^2); ss / sigma^2 chi-square
 * with df degrees of freedom. Axes: tau, sigma, omega. Sums of trials in cells of equal u, or by
 * `sums`, which answers for weights 1 / (lambda + u), lambda = tau^2 / sigma^2. */
struct nof1_bayes_cell {
    double u;
    double trials[NOF1_BAYES_STRATA], sum[NOF1_BAYES_STRATA], square; /* about shift */
};
struct nof1_bayes_weighted { /* log_sum: sum log(lambda + u); sums about shift */
    double w[NOF1_BAYES_STRATA], wy[NOF1_BAYES_STRATA], wyy, log_sum;
};
struct nof1_bayes_two {
    size_t strata, cells;
    const struct nof1_bayes_cell *cell;
    nof1_rc_value (*sums)(void *self, double lambda, struct nof1_bayes_weighted *out);
    void *sums_self;             /* used when cells is 0 */
    double shift, trials, ss, df;
    double mean, sd;             /* prior of mu */
    struct nof1_bayes_prior tau, sigma, omega;
    bool sigma_known;            /* sigma is plugged in: ss says nothing more */
    /* state of the last (tau, sigma) */
    double last_tau, last_sigma, weight[NOF1_BAYES_STRATA], effect[NOF1_BAYES_STRATA], kernel;
};
nof1_bayes_density nof1_bayes_two_density;
/* Posterior of stratum s' mean effect at a node. */
struct nof1_bayes_normal nof1_bayes_two_stratum(struct nof1_bayes_two *two, const double *at,
                                                size_t stratum);

/* ---- the one-stage model ---- */

/* y = (alpha + a_i) + (mu + b_i) treatment + e, (a, b) with standard deviations (sd, tau) and
 * correlation rho. Axes: tau, sigma, sd, rho. A class holds trials with n[0] and n[1] rows: mean and
 * scatter (sums of squares about the mean) of the reference arm's mean and of the difference. */
struct nof1_bayes_class { double n[2], trials, mean[2], scatter[3]; }; /* 11, 21, 22 */
struct nof1_bayes_one {
    size_t classes;
    const struct nof1_bayes_class *class_;
    double ss, df;               /* residual */
    double shift;                /* added back to the effect */
    double mean[2], sd[2];       /* priors of alpha and mu, about what was subtracted */
    struct nof1_bayes_prior tau, sigma, level, correlation;
};
nof1_bayes_density nof1_bayes_one_density;

#endif
