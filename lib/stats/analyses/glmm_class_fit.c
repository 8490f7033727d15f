/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The coordinator's side of the class form of `glmm`. The released sums of functions of the total s
 * are spread over s by weighted least squares, weights being the fitted distribution of s: pseudo
 * counts a(s), from which the log-likelihood effect * sum y_B + sum a(s) h(s) is maximised. Exact
 * scores of later rounds correct it. What the functions leave out has expectation 0 and a known
 * variance: fit.approximation_se.
 */
#include <math.h>
#include <stats/matrix.h>
#include <string.h>

#include "glmm_model.h"

#define REWEIGHTS 4

struct pseudo {
    const struct glmm_model *m;
    const double *total; /* of round 1 */
    const uint64_t *trials;
    double **count;      /* [class][totals] a(s) */
    double **chance;     /* [class][totals] weights */
    double shift[3];     /* added to the gradient by correction rounds */
    double memory[GLMM_CLASS_MEMORY];
};

static bool evaluate(void *context, const double *x, double *f, double *gradient, double *hessian)
{
    struct pseudo *p = context;
    double jet[10], sum[10] = {0};
    if (!(fabs(x[2]) < 50)) {
        return false;
    }
    for (size_t c = 0; c < p->m->classes; c++) {
        const struct glmm_class *class_ = &p->m->class_[c];
        for (size_t s = 0; s < class_->totals; s++) {
            if (p->count[c][s] == 0) {
                continue;
            }
            if (glmm_total_jet(jet, p->m, class_, x, s, p->memory) != NOF1_OK) {
                return false;
            }
            for (size_t i = 0; i < 10; i++) {
                sum[i] += p->count[c][s] * jet[i];
            }
        }
    }
    *f = -sum[0] - x[1] * p->total[0];
    for (size_t i = 0, at = 4; i < 3; i++) {
        gradient[i] = -sum[1 + i] - (i == 1 ? p->total[0] : 0) - p->shift[i];
        *f -= p->shift[i] * x[i];
        for (size_t j = 0; j <= i; j++, at++) {
            hessian[i * 3 + j] = hessian[j * 3 + i] = -sum[at];
        }
    }
    return isfinite(*f);
}

/* The functions at s: 1, s about a middle, and the basis. */
static void functions_of(double *g, const struct glmm_model *m, const struct glmm_class *c,
                         double middle, size_t s)
{
    size_t extra = m->functions - 1;
    g[0] = 1;
    g[1] = ((double)s - middle) / (double)c->totals;
    for (size_t j = 0; j < extra; j++) {
        g[2 + j] = c->basis[s * extra + j];
    }
}

/* Weighted products of the functions, inverted up to its rank. */
static void invert_products(double *inverse, const struct glmm_model *m, const struct glmm_class *c,
                            const double *weight, double middle)
{
    size_t k = m->functions + 1;
    double g[16], a[256] = {0}, work[3 * 256 + 32];
    for (size_t s = 0; s < c->totals; s++) {
        functions_of(g, m, c, middle, s);
        for (size_t i = 0; i < k * k; i++) {
            a[i] += weight[s] * g[i / k] * g[i % k];
        }
    }
    (void)nof1_symmetric_pseudo_inverse(inverse, a, k, 1e-14, work);
}

/* a(s): the weighted least-squares spread of the released sums. */
static void spread_counts(struct pseudo *p, size_t class_)
{
    const struct glmm_model *m = p->m;
    const struct glmm_class *c = &m->class_[class_];
    size_t k = m->functions + 1;
    double inverse[256], sum[16], solved[16] = {0}, g[16];
    const double *released = p->total + 1 + class_ * m->functions;
    double n = (double)p->trials[class_], middle = n > 0 ? released[0] / n : 0;
    invert_products(inverse, m, c, p->chance[class_], middle);
    sum[0] = n;
    sum[1] = 0;
    memcpy(sum + 2, released + 1, (m->functions - 1) * sizeof *sum);
    for (size_t i = 0; i < k * k; i++) {
        solved[i / k] += inverse[i] * sum[i % k];
    }
    for (size_t s = 0; s < c->totals; s++) {
        double at = 0;
        functions_of(g, m, c, middle, s);
        for (size_t i = 0; i < k; i++) {
            at += g[i] * solved[i];
        }
        p->count[class_][s] = at * p->chance[class_][s];
    }
}

/* Distribution of the total at x; a floor keeps the products invertible. */
static nof1_rc distribute(struct pseudo *p, const double *x)
{
    double jet[10];
    for (size_t c = 0; c < p->m->classes; c++) {
        const struct glmm_class *class_ = &p->m->class_[c];
        for (size_t s = 0; s < class_->totals; s++) {
            TRY(glmm_total_jet(jet, p->m, class_, x, s, p->memory));
            double chance = exp(jet[0] + glmm_total_ways(p->m, class_, x[1], s));
            p->chance[c][s] = fmax(chance, p->m->family == GLMM_BINOMIAL ? 1e-6 : 1e-300);
        }
        spread_counts(p, c);
    }
    return NOF1_OK;
}

/* Largest error of a fixed effect, in standard errors, to be expected of the functions left out. */
static nof1_rc expected_error(double *out, struct pseudo *p, const double *x,
                              const double *covariance)
{
    const struct glmm_model *m = p->m;
    double inverse[256], g[16], jet[10], miss[9] = {0};
    size_t k = m->functions + 1;
    for (size_t c = 0; c < m->classes; c++) {
        const struct glmm_class *class_ = &m->class_[c];
        double along[16][3] = {{0}}, solved[16][3] = {{0}};
        invert_products(inverse, m, class_, p->chance[c], 0);
        for (int pass = 0; pass < 2; pass++) {
            for (size_t s = 0; s < class_->totals; s++) {
                TRY(glmm_total_jet(jet, m, class_, x, s, p->memory));
                functions_of(g, m, class_, 0, s);
                double rest[3];
                for (size_t t = 0; t < 3; t++) {
                    rest[t] = jet[1 + t];
                    for (size_t i = 0; i < k; i++) {
                        along[i][t] += pass == 0 ? p->chance[c][s] * g[i] * jet[1 + t] : 0;
                        rest[t] -= g[i] * solved[i][t];
                    }
                }
                for (size_t i = 0; i < 9 && pass == 1; i++) {
                    miss[i] += (double)p->trials[c] * p->chance[c][s] * rest[i / 3] * rest[i % 3];
                }
            }
            for (size_t i = 0; i < k * k && pass == 0; i++) {
                for (size_t t = 0; t < 3; t++) {
                    solved[i / k][t] += inverse[i] * along[i % k][t];
                }
            }
        }
    }
    *out = 0;
    for (size_t i = 0; i < 2; i++) {
        double variance = nof1_bilinear(covariance + 3 * i, miss, covariance + 3 * i, 3);
        *out = fmax(*out, sqrt(fmax(0, variance) / fmax(covariance[4 * i], 1e-300)));
    }
    return NOF1_OK;
}

/* ---- start, refusals, the two-sum form ----------------------------------------------------- */

static nof1_rc read_sums(struct glmm_fit *fit, double sum[2], double rows[2],
                         const struct glmm_model *m, const struct nof1_history *history,
                         struct nof1_error *error)
{
    const double *total = history->round[0].total;
    *fit = (struct glmm_fit){.value = NAN, .separating = -1};
    sum[0] = -total[0];
    sum[1] = total[0];
    rows[0] = rows[1] = 0;
    for (size_t c = 0; c < m->classes; c++) {
        double trials = (double)history->counts.group_trials[c];
        sum[0] += total[1 + c * m->functions];
        rows[0] += trials * (double)m->class_[c].n[0];
        rows[1] += trials * (double)m->class_[c].n[1];
    }
    fit->rows = rows[0] + rows[1];
    bool binary = m->family == GLMM_BINOMIAL;
    for (size_t arm = 0; arm < 2; arm++) {
        if (sum[arm] <= 0 || (binary && sum[arm] >= rows[arm])) {
            return nof1_fail(error, NOF1_E_MODEL,
                             "the data separate: all outcomes of the %s arm are equal; write "
                             "analysis: stratified (Mantel-Haenszel or conditional)",
                             arm == 0 ? "reference" : "active");
        }
    }
    for (size_t i = 0; i < 3; i++) {
        fit->tie[i] = (int)i;
        fit->known[i] = m->functions > 1;
    }
    fit->free = 3;
    return NOF1_OK;
}

/* Poisson with equal shares of rows: given the totals the active sums are binomial. */
static void effect_only(struct glmm_fit *fit, const double sum[2], const double rows[2])
{
    fit->effect_only = fit->converged = true;
    fit->known[1] = true;
    fit->theta[1] = log(sum[1] / rows[1]) - log(sum[0] / rows[0]);
    fit->covariance[4] = 1 / sum[0] + 1 / sum[1];
}

static nof1_rc pseudo_new(struct pseudo **out, const struct glmm_model *m,
                          const struct nof1_history *history, struct nof1_arena *arena)
{
    struct pseudo *p = nof1_arena_alloc(arena, 1, sizeof *p);
    ENSURE(p != NULL, NOF1_E_NO_MEMORY);
    p->m = m;
    p->total = history->round[0].total;
    p->trials = history->counts.group_trials;
    p->count = nof1_arena_alloc(arena, 2 * m->classes, sizeof *p->count);
    ENSURE(p->count != NULL, NOF1_E_NO_MEMORY);
    p->chance = p->count + m->classes;
    for (size_t c = 0; c < m->classes; c++) {
        p->count[c] = nof1_arena_alloc(arena, 2 * m->class_[c].totals, sizeof **p->count);
        ENSURE(p->count[c] != NULL, NOF1_E_NO_MEMORY);
        p->chance[c] = p->count[c] + m->class_[c].totals;
    }
    *out = p;
    return NOF1_OK;
}

/* The maximum for fixed pseudo counts; the exact score at `round` sets the shift before it. */
static nof1_rc maximise(struct pseudo *p, double *x, struct glmm_fit *fit, struct nof1_arena *arena,
                        struct nof1_error *error)
{
    const struct nof1_objective objective = {3, 1, p, evaluate};
    double f;
    if (nof1_minimise(&objective, arena, x, &f, &fit->decrement, 1e-22) != NOF1_OK) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "the released sums do not determine the model; write analysis: "
                         "stratified (Mantel-Haenszel or conditional)");
    }
    x[2] = fabs(x[2]);
    fit->value = -f;
    for (size_t i = 0; i < 3; i++) {
        fit->theta[i] = x[i];
    }
    return glmm_refuse_runaway(p->m, x, error);
}

static bool is_whole(const struct glmm_model *m)
{
    for (size_t c = 0; c < m->classes; c++) {
        if (m->class_[c].totals > m->functions + 1) {
            return false;
        }
    }
    return true;
}

static nof1_rc conclude(struct glmm_fit *fit, struct pseudo *p, double *x, double step,
                        double trials, struct nof1_arena *arena)
{
    double f, gradient[3], hessian[9];
    ENSURE(evaluate(p, x, &f, gradient, hessian), NOF1_E_MODEL);
    TRY(glmm_finish(fit, p->m, hessian, arena));
    fit->converged = fit->decrement < 1e-12;
    fit->value = p->m->family == GLMM_BINOMIAL && step < 0 ? -f : NAN;
    if (is_whole(p->m)) {
        return NOF1_OK;
    }
    if (step >= 0) { /* corrected: what the last correction changed */
        fit->approximation = step < 1e-9 ? 0 : step;
        fit->approximation += glmm_rounding(fit, p->m, trials);
        return NOF1_OK;
    }
    return expected_error(&fit->approximation, p, x, fit->covariance);
}

nof1_rc_value glmm_class_advance(struct glmm_fit *fit, struct nof1_next *next,
                                 const struct glmm_model *m, const struct nof1_history *history,
                                 struct nof1_arena *arena, struct nof1_error *error)
{
    double sum[2], rows[2], *x = nof1_arena_alloc(arena, 3, sizeof *x), step = -1;
    struct pseudo *p;
    *next = (struct nof1_next){.done = history->rounds >= m->base.max_rounds};
    ENSURE(x != NULL, NOF1_E_NO_MEMORY);
    if (history->rounds == 0) {
        return NOF1_OK;
    }
    TRY(read_sums(fit, sum, rows, m, history, error));
    if (m->functions == 1) {
        effect_only(fit, sum, rows);
        return NOF1_OK;
    }
    TRY(pseudo_new(&p, m, history, arena));
    for (size_t arm = 0; arm < 2; arm++) {
        double rate = sum[arm] / rows[arm];
        double level = m->family == GLMM_BINOMIAL ? log(rate / (1 - rate)) : log(rate);
        x[arm] = arm == 0 ? level : level - x[0];
    }
    x[2] = 0.7;
    for (int i = 0; i < REWEIGHTS; i++) {
        TRY(distribute(p, x));
        TRY(maximise(p, x, fit, arena, error));
    }
    for (size_t r = 1; r < history->rounds; r++) {
        double f, gradient[3], hessian[9], before[3];
        memset(p->shift, 0, sizeof p->shift);
        ENSURE(evaluate(p, history->round[r].parameter, &f, gradient, hessian), NOF1_E_MODEL);
        for (size_t i = 0; i < 3; i++) {
            p->shift[i] = history->round[r].total[i] + gradient[i];
        }
        memcpy(before, x, sizeof before);
        TRY(maximise(p, x, fit, arena, error));
        step = 0;
        for (size_t i = 0; i < 2; i++) {
            step = fmax(step, fabs(x[i] - before[i]) * sqrt(hessian[4 * i]));
        }
    }
    if (next->done) {
        return conclude(fit, p, x, step, (double)history->counts.trials, arena);
    }
    next->parameter = x;
    next->parameters = 3;
    return NOF1_OK;
}
