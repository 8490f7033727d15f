/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The minimum of a criterion that totals give at will, with or without serial correlation: see
 * ar1_form.h. A pure function of totals.
 */
#include <math.h>
#include <stats/ar1_form.h>
#include <stats/gaussian_fit.h>
#include <stats/optimise.h>
#include <string.h>

#define DIFFERENCE 1e-4 /* step of the differenced Hessian */
#define STARTS 6

static bool gradient_at(double *f, double *gradient, double *hessian,
                        const struct nof1_ar1_problem *p, const double *x)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_gaussian_point point;
    struct nof1_gaussian_sums sums;
    double gamma[NOF1_TERMS_MAX] = {0};
    nof1_gaussian_square(gamma, x, p->shape);
    bool fine = arena != NULL && p->sums(p->context, &sums, gamma) &&
                nof1_gaussian_point(&point, arena, &sums, p->shape, gamma, p->reml, true) ==
                    NOF1_OK &&
                isfinite(point.f);
    if (fine) {
        nof1_gaussian_chain(gradient, hessian, x, p->shape, point.slope, point.observed);
        *f = point.f;
    }
    nof1_arena_free(arena);
    return fine;
}

static bool evaluate(void *context, const double *x, double *f, double *gradient, double *hessian)
{
    const struct nof1_ar1_problem *p = context;
    size_t n = nof1_gaussian_terms(p->shape);
    for (size_t i = 0; i < n; i++) {
        bool rho = p->shape->correlated && i + 1 == n;
        double limit = !rho ? p->root_limit : p->shape->positive ? 25 : 12;
        if (!(fabs(x[i]) <= limit)) {
            return false;
        }
    }
    if (!gradient_at(f, gradient, hessian, p, x)) {
        return false;
    }
    double side[2][NOF1_TERMS_MAX], unused[NOF1_TERMS_MAX * NOF1_TERMS_MAX], at[NOF1_TERMS_MAX];
    for (size_t i = 0; i < n && p->shape->correlated; i++) {
        for (size_t k = 0; k < 2; k++) {
            double g;
            memcpy(at, x, n * sizeof *at);
            at[i] += k == 0 ? -DIFFERENCE : DIFFERENCE;
            if (!gradient_at(&g, side[k], unused, p, at)) {
                return false;
            }
        }
        for (size_t j = 0; j < n; j++) {
            hessian[i * n + j] = (side[1][j] - side[0][j]) / (2 * DIFFERENCE);
        }
    }
    for (size_t i = 0; i < n * n; i++) {
        size_t j = (i % n) * n + i / n;
        hessian[i] = hessian[j] = 0.5 * (hessian[i] + hessian[j]);
    }
    return true;
}

nof1_rc_value nof1_ar1_minimise(double *x, double *f, double *decrement,
                                const struct nof1_ar1_problem *given, struct nof1_arena *arena)
{
    static const double rho[STARTS] = {0.2, -0.3, 1.2, 0.2, 1.2, 2.5};
    struct nof1_ar1_problem problem = *given;
    const struct nof1_gaussian_shape *shape = problem.shape;
    size_t terms = nof1_gaussian_terms(shape);
    struct nof1_objective objective = {terms, 1, &problem, evaluate};
    size_t starts = shape->correlated ? STARTS : shape->effects > 0 ? 2 : 1;
    *f = INFINITY;
    for (size_t k = 0; k < starts; k++) {
        double at[NOF1_TERMS_MAX] = {0}, value, left = 0;
        memcpy(at, problem.start, terms * sizeof *at);
        for (size_t j = 0; j < terms; j++) {
            at[j] *= (shape->correlated ? k >= 3 : k == 1) ? 0.2 : 1;
        }
        if (shape->correlated) {
            at[terms - 1] = rho[k];
        }
        nof1_rc_value rc = nof1_minimise(&objective, arena, at, &value, &left, 1e-22);
        if (rc == NOF1_E_NO_MEMORY) {
            return rc;
        }
        if (rc == NOF1_OK && value < *f - 1e-9) {
            *f = value;
            *decrement = left;
            memcpy(x, at, terms * sizeof *x);
        }
    }
    return isfinite(*f) ? NOF1_OK : NOF1_E_MODEL;
}
