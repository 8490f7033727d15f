/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bayesian hierarchical models by deterministic quadrature (docs/statistics.md, `bayes`): the mean
 * effect is integrated out exactly, standard deviations and the correlation by the trapezoidal
 * rule on a lattice after substitutions that make it converge geometrically (Takahasi & Mori 1974;
 * Trefethen & Weideman 2014). Everything is computed from sums; this file never sees a trial.
 */
#ifndef NOF1_STATS_BAYES_H
#define NOF1_STATS_BAYES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    NOF1_BAYES_LKJ          /* of a correlation r, (1 - r^2)^(scale - 1); x is atanh r */
};
struct nof1_bayes_prior { enum nof1_bayes_family family; double scale, df; };
/* Log density at x, normalised unless improper. */
double nof1_bayes_log_prior(const struct nof1_bayes_prior *prior, double x);
/* The x with P(X <= x) = p; of proper priors of a standard deviation. */
double nof1_bayes_prior_quantile(const struct nof1_bayes_prior *prior, double p);

/* ---- quadrature ---- */

#define NOF1_BAYES_AXES 4
#define NOF1_BAYES_WINDOW 4096 /* points along an axis, at most */

/* A number to integrate over: a standard deviation under its prior, or (NOF1_BAYES_LKJ) the inverse
 * hyperbolic tangent of a correlation; NOF1_BAYES_FIXED holds it at prior.scale. */
struct nof1_bayes_axis {
    struct nof1_bayes_prior prior;
    double scale;     /* a guess of its size, above 0 */
    bool even; /* the likelihood is an even, smooth function of it (with correlations of either
                  sign), as it is of tau wherever sigma is above 0 */
    bool heavy;       /* its tail is so heavy that it takes a second sinh */
    unsigned moments; /* 0 to 2: those that the rule must reach in its tail */
};
/* The number at x of the substituted variable, -reach to reach (from 0 when even), and the log
 * of its derivative. */
double nof1_bayes_axis_value(const struct nof1_bayes_axis *axis, double x, double *log_derivative);
double nof1_bayes_axis_reach(const struct nof1_bayes_axis *axis);

/* The normal posterior of the mean effect, given the numbers integrated over. */
struct nof1_bayes_normal { double mean, variance; };

/* log likelihood at a point, the mean effect integrated out over its prior; -INFINITY is allowed.
 * `mean` receives the posterior of the effect. */
typedef double nof1_bayes_density(void *self, const double *at, struct nof1_bayes_normal *mean);

struct nof1_bayes_problem {
    size_t axes;
    struct nof1_bayes_axis axis[NOF1_BAYES_AXES];
    nof1_bayes_density *density;
    void *self;
    bool quick;       /* 1e-4 is enough: for tables of many posteriors */
};

struct nof1_bayes_node {
    double at[NOF1_BAYES_AXES], weight; /* weights are probabilities and sum to 1 */
    struct nof1_bayes_normal mean;
    int32_t index[NOF1_BAYES_AXES];     /* the substituted variable is index * step */
};

/* The distribution of one axis' number: point i stands at (first + i) * step of the substituted
 * variable. An even axis runs over the whole line, where |number| has a corner at 0: means take the
 * integral of the sinc interpolant over the positive half (weights `folded`). */
struct nof1_bayes_marginal {
    struct nof1_bayes_axis axis;
    double step, *value, *weight, *folded; /* value: a correlation, not its atanh */
    long first;
    size_t points;
};

struct nof1_bayes_posterior {
    size_t axes, nodes, even, evaluated;
    struct nof1_bayes_axis axis[NOF1_BAYES_AXES];
    struct nof1_bayes_marginal marginal[NOF1_BAYES_AXES]; /* from all that were evaluated */
    struct nof1_bayes_node *node; /* a sublattice as exact as the rule; first `even`, which have
                                     even indices only: a coarse rule of their own */
    double even_weight;
    double log_evidence;
    double error;     /* estimated relative error of the integrals */
};

/* Integrate over all that is above 1e-10 of the largest (1e-16 with three axes). Errors:
 * NOF1_E_MODEL when the density is nowhere positive or does not fall towards the ends of an axis,
 * NOF1_E_NO_MEMORY. */
nof1_rc nof1_bayes_integrate(struct nof1_bayes_posterior *out, struct nof1_arena *arena,
                             const struct nof1_bayes_problem *problem);

/* ---- summaries ---- */

/* sd may be NULL. */
void nof1_bayes_marginal_moments(const struct nof1_bayes_marginal *m, double *mean, double *sd);
/* The x with P(number <= x) = probability, by the indefinite integral of the sinc interpolant,
 * which is as exact as the rule of every second point (Stenger 1993). */
double nof1_bayes_marginal_quantile(const struct nof1_bayes_marginal *m, double probability);

/* 2 S - 1, S the integral of the sinc function up to `index`: the weight of a point in the mean
 * of an odd function over the positive half of an even axis; 1 on others. */
double nof1_bayes_fold(const struct nof1_bayes_axis *axis, long index);

/* The mixture of normals N(mean, variance + wide[0] * tau^2 + wide[1] * omega^2) over nodes: the
 * mean effect (0, 0), the next patient's (1, 0) or, where strata vary, that of one of a new
 * stratum (1, 1). The first `even` parts are a coarse rule. */
struct nof1_bayes_mixture { size_t parts, even; double *weight, *mean, *sd, even_weight; };
nof1_rc nof1_bayes_mixture(struct nof1_bayes_mixture *out, struct nof1_arena *arena,
                           const struct nof1_bayes_posterior *p, const double wide[2]);
/* P(effect > t), P(effect < t), and the t with P(effect <= t) = probability. */
double nof1_bayes_mixture_upper(const struct nof1_bayes_mixture *m, double t);
double nof1_bayes_mixture_lower(const struct nof1_bayes_mixture *m, double t);
nof1_rc nof1_bayes_mixture_quantile(double *out, const struct nof1_bayes_mixture *m,
                                    double probability);

/* ---- the two-stage model ---- */

#define NOF1_BAYES_STRATA 8

/* y_i ~ N(mu_s, tau^2 + sigma^2 u_i), mu_s ~ N(mu, omega^2), mu ~ N(m, s^2); ss / sigma^2 chi-
 * square with df degrees of freedom. Axes: tau, sigma, omega. Sums of trials in cells of equal
 * u, or by `sums`, which answers for weights 1 / (lambda + u), lambda = tau^2 / sigma^2. */
struct nof1_bayes_cell {
    double u;
    double trials[NOF1_BAYES_STRATA], mean[NOF1_BAYES_STRATA]; /* about shift */
    double scatter;                                            /* about means */
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
 * correlation rho. Axes: tau, sigma, sd, atanh rho. A class holds trials with n[0] and n[1]
 * rows: mean and scatter (sums of squares about the mean) of the reference arm's mean and of the
 * difference. */
struct nof1_bayes_class { double n[2], trials, mean[2], scatter[3]; }; /* 11, 21, 22 */
struct nof1_bayes_one {
    size_t classes;
    const struct nof1_bayes_class *class_;
    double ss, df;               /* residual */
    double shift;                /* added back to the effect */
    double mean[2], sd[2];       /* priors of alpha and mu, about what was subtracted */
};
nof1_bayes_density nof1_bayes_one_density;

#endif
