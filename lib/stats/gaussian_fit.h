/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From the sums of the Gaussian mixed model to its criterion, derivatives and inference. sigma^2 is
 * profiled out: for given Gamma and beta its optimum is known exactly. -2 log-likelihood with the
 * constants of lme4:
 *   ML    log|H| + N (1 + log(2 pi Q / N)),                    Q = r'H^-1 r
 *   REML  log|H| + log|X'H^-1 X| + (N-p) (1 + log(2 pi Q / (N-p)))
 * Small-sample inference: Kenward & Roger, Biometrics 53 (1997) 983-997, with the expected
 * information, as pbkrtest computes it.
 */
#ifndef NOF1_STATS_GAUSSIAN_FIT_H
#define NOF1_STATS_GAUSSIAN_FIT_H

#include <stats/gaussian.h>

/* A point of the criterion. Arrays live in the arena given. */
struct nof1_gaussian_point {
    size_t p, terms;
    struct nof1_gaussian_shape shape;
    bool reml;
    double rows;             /* N */
    double n;                /* N - p for REML, N for ML */
    double gamma[NOF1_TERMS_MAX];
    double *c;               /* [p*p] X'H^-1 X */
    double *c_inverse;       /* [p*p] */
    double log_det, log_det_c;
    double *beta; /* [p] C^-1 X'H^-1 response: beta-hat, or its distance when the response is r */
    double *score;           /* [p] X'H^-1 r; zeros when the response is y (r at beta-hat) */
    double q;                /* r'H^-1 r */
    double sigma2;           /* q / n */
    double f;                /* -2 log-likelihood, profiled over sigma^2 */
    double slope[NOF1_TERMS_MAX];    /* df/dGamma_j */
    double trace[NOF1_TERMS_MAX];    /* its expected part: tr(H^-1 V_j) - [REML] tr(C^-1 P_j) */
    double square[NOF1_TERMS_MAX];   /* r'H^-1 V_j H^-1 r */
    double expected[NOF1_TERMS_MAX * NOF1_TERMS_MAX]; /* E d2f/dGamma2, sigma^2 profiled */
    double observed[NOF1_TERMS_MAX * NOF1_TERMS_MAX]; /* d2f/dGamma2 exactly; response y only */
};

/* Copy the sums of some columns (ascending, the response last). out is placed in the arena.
 * Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_gaussian_select(struct nof1_gaussian_sums *out, struct nof1_gaussian_shape *out_shape,
                             const struct nof1_gaussian_sums *sums,
                             const struct nof1_gaussian_shape *shape, const size_t *column,
                             size_t columns, struct nof1_arena *arena);

/* `whole`: the response is y and all cross products are present; beta is profiled out and
 * `observed` is filled. Otherwise the response is r = y - X beta and only X'H^-1 r, r'H^-1 r,
 * r'H^-1 V_j H^-1 r are read of it. Errors: NOF1_E_MODEL when X'H^-1 X is singular, N <= p or Q is
 * not positive. */
nof1_rc nof1_gaussian_point(struct nof1_gaussian_point *out, struct nof1_arena *arena,
                            const struct nof1_gaussian_sums *sums,
                            const struct nof1_gaussian_shape *shape, const double *gamma, bool reml,
                            bool whole);

/* The unconstrained parameters root[terms] of the criterion's minimiser. Random effects: Gamma =
 * S^2 for the symmetric S with lower triangle 11, 21, 22, ...; S covers the boundary (singular
 * Gamma) smoothly. Variances: their square root. Ratios: the ratio of standard deviations. rho: its
 * atanh, or its logit when it is positive. */
void nof1_gaussian_square(double *gamma, const double *root,
                          const struct nof1_gaussian_shape *shape);
/* Gradient and Hessian [terms*terms] in root from those in gamma (chain rule); curvature has stride
 * NOF1_TERMS_MAX. */
void nof1_gaussian_chain(double *gradient, double *hessian, const double *root,
                         const struct nof1_gaussian_shape *shape, const double *slope,
                         const double *curvature);
/* The nearest semidefinite S, and a singular one where an |eigenvalue| is below
 * tolerance * max(1, largest): that eigenvalue becomes 0; likewise the variances. Returns the
 * number set to 0; root is updated. The criterion's one-sided derivative by the variance in that
 * direction goes to *derivative (minimum over them). */
size_t nof1_gaussian_snap(double *root, const struct nof1_gaussian_shape *shape, double tolerance,
                          const double *slope, double *derivative);

/* The root of gamma, eigenvalues and variances (1 + ratios) raised to `least`. False when one was.
 * rho (correlated) is kept within +-0.95, or 0.05 .. 0.95 when positive. */
bool nof1_gaussian_root(double *root, const double *gamma, const struct nof1_gaussian_shape *shape,
                        double least);

/* out = L m L', all [p*p]. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_gaussian_congruence(double *out, const double *m, const double *l, size_t p,
                                 struct nof1_arena *arena);

/* Adjusted covariance of L beta-hat [p*p] and the degrees of freedom of each of its entries [p]; L
 * [p*p], NULL: the identity. `sums` must be those of the point. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_gaussian_kenward_roger(double *covariance, double *df, struct nof1_arena *arena,
                                    const struct nof1_gaussian_sums *sums,
                                    const struct nof1_gaussian_point *point, const double *l);

/* Test of rank(L) linear hypotheses L beta = 0, L [rows * p] of full rank. statistic is F (scaled,
 * for Kenward-Roger) on `rows` and *df denominator degrees of freedom. Kenward & Roger 1997
 * sections 3-4; Satterthwaite: Fai & Cornelius (J Stat Comput Simul 54 (1996) 363-378), as
 * lmerTest::contestMD. Errors: NOF1_E_NO_MEMORY; NOF1_E_MODEL when the covariance of L beta is
 * singular. */
nof1_rc nof1_gaussian_kenward_roger_test(double *statistic, double *df, struct nof1_arena *arena,
                                         const struct nof1_gaussian_sums *sums,
                                         const struct nof1_gaussian_point *point,
                                         const double *beta, const double *l, size_t rows);
nof1_rc nof1_gaussian_satterthwaite_test(double *statistic, double *df, struct nof1_arena *arena,
                                         const struct nof1_gaussian_sums *sums,
                                         const struct nof1_gaussian_point *point,
                                         const double *beta, const double *l, size_t rows);
/* One contrast l [p]: variance and df by Kenward & Roger (adjust) or Satterthwaite (needs whole
 * sums). */
nof1_rc nof1_gaussian_contrast(double *variance, double *df, struct nof1_arena *arena,
                               const struct nof1_gaussian_sums *sums,
                               const struct nof1_gaussian_point *point, bool adjust,
                               const double *l);
/* (L beta)' (L Phi L')^-1 (L beta) / rows, Phi = sigma^2 C^-1. */
nof1_rc nof1_gaussian_wald_test(double *statistic, struct nof1_arena *arena,
                                const struct nof1_gaussian_point *point, const double *beta,
                                const double *l, size_t rows);

/* One step of iterative generalised least squares (Goldstein 1986): the (sigma^2, G) whose expected
 * squares at this point equal the observed ones, as root[terms], S of Gamma = G / sigma^2. Near the
 * optimum from anywhere when data are nearly balanced. square[terms] and q as in the point, at
 * beta-hat. *inside: sigma^2 is positive and Gamma's eigenvalues are at least `least`; where they
 * are not, root has them raised to it (or is not written, when sigma^2 <= 0: *solved false).
 * Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_gaussian_igls(double *root, bool *solved, bool *inside, struct nof1_arena *arena,
                           const struct nof1_gaussian_sums *sums,
                           const struct nof1_gaussian_point *point, const double *square, double q,
                           double least);
/* Satterthwaite's degrees of freedom of each entry of L beta-hat [p] (L as above): v^2 / (g'H^-1
 * g), g the gradient of its variance v by (sigma^2, G), H the observed Hessian of -2
 * log-likelihood; at a singular G in its root, where the gradient vanishes: a variance of zero
 * stays zero (lmerTest). `sums` must be whole (response y). Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_gaussian_satterthwaite(double *df, struct nof1_arena *arena,
                                    const struct nof1_gaussian_sums *sums,
                                    const struct nof1_gaussian_point *point, const double *l);

#endif
