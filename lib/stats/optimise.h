/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Minimisers that cannot diverge: a safeguarded Newton method where the function can be evaluated
 * at will, and an ask/tell form for evaluations that cost a round, replayed from all earlier
 * evaluations (so that anybody recomputes the same next point). Nocedal & Wright, Numerical
 * Optimization (2006), chapters 3 and 6.2 (SR1), applied to the structured Hessian B(x) + E with B
 * known and E learnt from secants (Dennis, Gay & Welsch 1981).
 */
#ifndef NOF1_STATS_OPTIMISE_H
#define NOF1_STATS_OPTIMISE_H

#include <nof1/slice.h>

/* One evaluation. Arrays of n, n and n*n. hessian is exact (minimise) or the known part B (ask). */
struct nof1_evaluation {
    const double *x;
    double f;
    const double *gradient;
    const double *hessian;
};

/* step = -|H|^-1 g: after scaling to unit diagonal, eigenvalues are replaced by their absolute
 * value, at least `floor`. Returns the decrement g'|H|^-1 g and, when `curved` is not NULL, whether
 * H was positive definite. `work` holds 2 n*n + 3 n doubles. */
double nof1_newton_step(double *step, const double *gradient, const double *hessian, size_t n,
                        double floor, bool *curved, double *work);

struct nof1_objective {
    size_t n;
    double longest; /* a step's largest entry is at most longest * max(1, largest |x|) */
    void *context;
    /* False outside the domain. */
    bool (*evaluate)(void *context, const double *x, double *f, double *gradient, double *hessian);
};

/* Minimise from x (in: start, out: minimum). Stops at a decrement below `tolerance` or when
 * rounding prevents further descent. *decrement: the last one, *f: the minimum. Errors:
 * NOF1_E_MODEL when the start is outside the domain or 500 steps did not suffice; NOF1_E_NO_MEMORY.
 */
nof1_rc nof1_minimise(const struct nof1_objective *objective, struct nof1_arena *arena, double *x,
                      double *f, double *decrement, double tolerance);

struct nof1_ask {
    size_t best;      /* index of the best evaluation */
    double decrement; /* there, in the metric of the model's Hessian */
    double *step;     /* full step from the best evaluation, [n] */
    double fraction;  /* of it to take: below 1 after rejected points */
};

/* The next point after `count` >= 1 evaluations is x[best] + fraction * step. The secant between
 * evaluations `skip` - 1 and earlier is not used. bounded = index of the first variable to which
 * the step length rule applies (with `longest` as above). Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_ask(struct nof1_ask *out, struct nof1_arena *arena,
                 const struct nof1_evaluation *evaluation, size_t count, size_t n, size_t skip,
                 size_t bounded, double longest);

#endif
