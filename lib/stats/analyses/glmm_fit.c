/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The coordinator's side of the score form of `glmm`: start values from the first round, Newton's
 * method (Hessians released) or structured secants (lib/stats/optimise.h) afterwards, and what
 * cannot be estimated: refused in words, or left out as R leaves out an empty level.
 */
#include <math.h>
#include <stats/matrix.h>
#include <string.h>

#include "glmm_model.h"

#define RUNAWAY 20.0    /* log odds or log rates that no data of a trial can support */
#define ZERO_ROOT 1e-5  /* of the covariance: below it is a boundary */
#define SEPARATED 2.0   /* the same, from which an estimate without information is suspect */
#define FAR_CUT 40.0    /* a threshold beyond every observed category */

static size_t pairs_of(size_t n)
{
    return n * (n + 1) / 2;
}

/* ---- the first round ----------------------------------------------------------------------- */

static nof1_rc refuse_separation(struct nof1_error *error, const char *what)
{
    return nof1_fail(error, NOF1_E_MODEL,
                     "the data separate: %s, so that an estimate grows without bound; write "
                     "analysis: stratified (Mantel-Haenszel or conditional)",
                     what);
}

static size_t design_column(const struct glmm_model *m, size_t parameter)
{
    return parameter - m->cuts + (m->cuts > 0 ? 1 : 0);
}

/* A typical change of a column: 1 for an indicator, else its standard deviation over the rows. */
static double column_unit(const struct glmm_model *m, const double *total, size_t c, double rows)
{
    enum mixed_kind kind = m->design.column[c].kind;
    if (kind != MIXED_NUMERIC && kind != MIXED_TIME && kind != MIXED_PERIOD &&
        kind != MIXED_CYCLE) {
        return 1;
    }
    double mean = total[pairs_of(c)] / rows; /* with the intercept, which stands first */
    return sqrt(fmax(0, total[pairs_of(c) + c] / rows - mean * mean));
}

/* Columns without any value are left out; the others must not depend on each other. */
static nof1_rc find_columns(struct glmm_fit *fit, const struct glmm_model *m, const double *total,
                            struct nof1_arena *arena, struct nof1_error *error)
{
    size_t p = m->design.columns, n = 0;
    double *a = nof1_arena_alloc(arena, 2 * p * p + 1, sizeof *a);
    ENSURE(a != NULL, NOF1_E_NO_MEMORY);
    size_t use[MIXED_COLUMNS_MAX];
    for (size_t c = 0; c < p; c++) {
        if (total[pairs_of(c) + c] > 0) {
            use[n++] = c;
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) {
            a[i * n + j] = a[j * n + i] = total[pairs_of(use[i]) + use[j]];
        }
    }
    size_t aliased = nof1_first_aliased(a, n, 1e-10, a + p * p);
    if (aliased < n) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "fixed: %s is a combination of the terms before it in these data; leave "
                         "it out",
                         m->design.column[use[aliased]].name);
    }
    for (size_t i = m->cuts; i < m->fixed; i++) {
        size_t c = design_column(m, i);
        fit->known[i] = total[pairs_of(c) + c] > 0;
        fit->tie[i] = fit->known[i] ? (int)fit->free++ : -1;
        fit->unit[i] = column_unit(m, total, c, fit->rows);
    }
    return NOF1_OK;
}

static double log_odds(double share)
{
    return log(share) - log1p(-share);
}

/* Binary outcomes and counts: intercept and treatment from the sums by arm. */
static nof1_rc start_sums(struct glmm_fit *fit, const struct glmm_model *m, const double *total,
                          struct nof1_error *error)
{
    struct glmm_start_map map = glmm_start_map(m);
    bool binary = m->family == GLMM_BINOMIAL;
    const double *n = total + (m->exposed ? map.exposure : map.rows), *y = total + map.outcome;
    double all = y[0] + y[1];
    if (all <= 0 || (binary && all >= n[0] + n[1])) {
        return nof1_fail(error, NOF1_E_MODEL, "all outcomes are equal: nothing can be estimated");
    }
    for (size_t arm = 0; arm < 2 && m->treatment_wanted; arm++) {
        if (n[arm] > 0 && (y[arm] <= 0 || (binary && y[arm] >= n[arm]))) {
            return refuse_separation(error, arm == 0
                                                ? "all outcomes of the reference arm are equal"
                                                : "all outcomes of the active arm are equal");
        }
    }
    double level[3];
    for (size_t arm = 0; arm < 3; arm++) {
        double rate = arm == 2 ? all / (n[0] + n[1]) : n[arm] > 0 ? y[arm] / n[arm] : NAN;
        level[arm] = binary ? log_odds(rate) : log(rate);
    }
    bool arms = m->treatment_wanted && isfinite(level[0]) && isfinite(level[1]);
    for (size_t c = 0; c < m->design.columns && fit->tie[c] >= 0; c++) {
        const struct mixed_column *column = &m->design.column[c];
        bool treatment = column->kind == MIXED_TREATMENT && !column->by_treatment;
        fit->theta[c] = column->kind == MIXED_INTERCEPT ? (arms ? level[0] : level[2])
                        : treatment && arms             ? level[1] - level[0]
                                                        : 0;
    }
    return NOF1_OK;
}

/* Thresholds from the counts of categories; those beside an empty category coincide. */
static nof1_rc start_counts(struct glmm_fit *fit, const struct glmm_model *m, const double *total,
                            struct nof1_error *error)
{
    struct glmm_start_map map = glmm_start_map(m);
    double count[GLMM_LEVELS_MAX + 1] = {0}, below = 0;
    size_t filled = 0, cuts = m->cuts;
    count[0] = fit->rows;
    for (size_t k = 1; k <= cuts; k++) {
        count[k] = total[map.outcome + k - 1] + total[map.outcome + cuts + k - 1];
        count[0] -= count[k];
    }
    for (size_t k = 0; k <= cuts; k++) {
        filled += count[k] > 0;
    }
    if (filled < 2) {
        return nof1_fail(error, NOF1_E_MODEL, "all outcomes are equal: nothing can be estimated");
    }
    for (size_t k = 0; k < cuts; k++) {
        below += count[k];
        bool empty = count[k] <= 0, first = below <= 0, last = below >= fit->rows;
        fit->known[k] = !empty && !last;
        fit->theta[k] = first ? -FAR_CUT : last ? FAR_CUT : log_odds(below / fit->rows);
        fit->tie[k] = first || last ? -1 : empty ? fit->tie[k - 1] : (int)fit->free++;
    }
    return NOF1_OK;
}

nof1_rc_value glmm_start(struct glmm_fit *fit, const struct glmm_model *m, const double *total,
                         struct nof1_arena *arena, struct nof1_error *error)
{
    struct glmm_start_map map = glmm_start_map(m);
    *fit = (struct glmm_fit){.rows = total[map.rows] + total[map.rows + 1], .value = NAN,
                             .separating = -1};
    if (!(fit->rows > 0)) {
        return nof1_fail(error, NOF1_E_MODEL, "no row has all fixed terms and the exposure");
    }
    if (m->cuts > 0) {
        TRY(start_counts(fit, m, total, error));
    }
    TRY(find_columns(fit, m, total, arena, error));
    if (m->cuts == 0) {
        TRY(start_sums(fit, m, total, error));
    }
    for (size_t t = m->fixed; t < m->parameters; t++) {
        bool diagonal = t != m->fixed + 1;
        fit->tie[t] = (int)fit->free++;
        fit->known[t] = true;
        fit->theta[t] = diagonal ? 0.7 : 0;
    }
    return NOF1_OK;
}

static nof1_rc refuse_growing(const char *term, struct nof1_error *error)
{
    return nof1_fail(error, NOF1_E_MODEL,
                     "the data separate: the estimate of %s grows without bound; leave the term "
                     "out, or write analysis: stratified (Mantel-Haenszel or conditional)",
                     term);
}

nof1_rc_value glmm_refuse_runaway(const struct glmm_model *m, const double *theta,
                                  struct nof1_error *error)
{
    for (size_t i = 0; i < m->parameters; i++) {
        if (i >= m->fixed) {
            if (fabs(theta[i]) > RUNAWAY) {
                return refuse_separation(
                    error, "within trials nearly all outcomes are equal (the standard deviation "
                           "between trials is beyond 20)");
            }
            continue;
        }
        bool unit = i < m->cuts || m->design.column[design_column(m, i)].kind == MIXED_TREATMENT;
        bool cut_far = i < m->cuts && fabs(theta[i]) == FAR_CUT;
        if (unit && !cut_far && fabs(theta[i]) > RUNAWAY) {
            return refuse_growing(m->name[i], error);
        }
    }
    return NOF1_OK;
}

/* ---- later rounds -------------------------------------------------------------------------- */

/* Gradient and Hessian of minus the log-likelihood by the free parameters. */
static nof1_rc reduce(struct nof1_evaluation *e, const struct glmm_fit *start,
                      const struct glmm_model *m, uint32_t round,
                      const struct nof1_round_total *total, struct nof1_arena *arena)
{
    size_t n = start->free, p = m->parameters;
    double *x = nof1_arena_alloc(arena, 2 * n + n * n, sizeof *x), *gradient = x + n;
    ENSURE(x != NULL, NOF1_E_NO_MEMORY);
    double *hessian = gradient + n;
    bool full = glmm_round_is_full(m, round);
    const double *score = total->total + (full ? 1 : 0), *matrix = score + p;
    for (size_t i = 0, at = 0; i < p; i++) {
        int a = start->tie[i];
        for (size_t j = 0; j <= i; j++, at++) {
            int b = start->tie[j];
            double value = full ? -matrix[at] : matrix[at];
            if (a >= 0 && b >= 0) {
                hessian[(size_t)a * n + (size_t)b] += value;
                hessian[(size_t)b * n + (size_t)a] += i == j ? 0 : value;
            }
        }
        if (a >= 0) {
            gradient[a] -= score[i];
            x[a] = total->parameter[i];
        }
    }
    *e = (struct nof1_evaluation){x, full ? -total->total[0] : 0, gradient, hessian};
    return NOF1_OK;
}

static void spread(double *theta, const struct glmm_fit *start, const double *x, size_t p)
{
    for (size_t i = 0; i < p; i++) {
        theta[i] = start->tie[i] >= 0 ? x[start->tie[i]] : start->theta[i];
    }
}

struct eigen2 {
    double value[2], c, s; /* vectors (c, s), (-s, c) */
};

static struct eigen2 eigen_of(const double *root)
{
    double angle = 0.5 * atan2(2 * root[1], root[0] - root[2]);
    struct eigen2 e = {.c = cos(angle), .s = sin(angle)};
    double mean = (root[0] + root[2]) / 2, half = hypot((root[0] - root[2]) / 2, root[1]);
    e.value[0] = mean + half;
    e.value[1] = mean - half;
    return e;
}

static void compose(double *root, const struct eigen2 *e)
{
    root[0] = e->value[0] * e->c * e->c + e->value[1] * e->s * e->s;
    root[1] = (e->value[0] - e->value[1]) * e->c * e->s;
    root[2] = e->value[0] * e->s * e->s + e->value[1] * e->c * e->c;
}

/* S and |S| are the same covariance; visit |S| only. Returns how many eigenvalues were set to 0. */
static size_t fold(double *root, size_t effects, double zero)
{
    size_t count = 0;
    if (effects == 1) {
        root[0] = fabs(root[0]) < zero ? 0 : fabs(root[0]);
        return root[0] == 0;
    }
    struct eigen2 e = eigen_of(root);
    if (e.value[0] >= 0 && e.value[1] >= zero) {
        return 0;
    }
    for (size_t k = 0; k < 2; k++) {
        e.value[k] = fabs(e.value[k]) < zero ? 0 : fabs(e.value[k]);
        count += e.value[k] == 0;
    }
    compose(root, &e);
    return count;
}

nof1_rc_value glmm_finish(struct glmm_fit *fit, const struct glmm_model *m, const double *hessian,
                          struct nof1_arena *arena)
{
    size_t n = fit->free, p = m->parameters, effects = m->shape.effects;
    double *memory = nof1_arena_alloc(arena, 5 * n * n + 2 * n + 1, sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    double *inverse = memory, *copy = memory + n * n;
    fit->boundary = fold(fit->theta + m->fixed, effects, ZERO_ROOT) > 0;
    memcpy(copy, hessian, n * n * sizeof *copy);
    for (size_t i = 0; i < n && fit->boundary && effects == 1; i++) { /* sigma is not free */
        size_t last = (size_t)fit->tie[m->fixed];
        copy[i * n + last] = copy[last * n + i] = 0;
    }
    (void)nof1_symmetric_pseudo_inverse(inverse, copy, n, 1e-12, copy + n * n);
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j < p; j++) {
            bool both = fit->tie[i] >= 0 && fit->tie[j] >= 0;
            fit->covariance[i * p + j] =
                both ? inverse[(size_t)fit->tie[i] * n + (size_t)fit->tie[j]] : 0;
        }
    }
    return NOF1_OK;
}

double glmm_rounding(const struct glmm_fit *fit, const struct glmm_model *m, double trials)
{
    double largest = 0;
    size_t p = m->parameters;
    for (size_t i = 0; i < p && !m->base.study->charter->limits.open; i++) {
        double sum = 0;
        for (size_t j = 0; j < p; j++) {
            double term = fit->covariance[i * p + j] * glmm_quantum(m, glmm_column_reach(m, j));
            sum += term * term;
        }
        largest = fmax(largest, sum / fmax(fit->covariance[i * p + i], 1e-300));
    }
    return sqrt(largest * trials / 12);
}

/* The best evaluation so far and the full step from it. */
struct search {
    size_t best;
    double decrement, fraction, *step;
    bool stalled;
};

/* Halves after rejected points; equal up to rounding counts as better. */
static nof1_rc newton(struct search *s, const struct nof1_evaluation *e, size_t count, size_t n,
                      struct nof1_arena *arena)
{
    double *work = nof1_arena_alloc(arena, 2 * n * n + 4 * n + 1, sizeof *work), before = INFINITY;
    ENSURE(work != NULL, NOF1_E_NO_MEMORY);
    *s = (struct search){.fraction = 1, .step = work + 2 * n * n + 3 * n};
    for (size_t k = 0; k < count; k++) {
        double noise = 1e-12 * fmax(1, fabs(e[s->best].f));
        if (k > 0 && !(e[k].f <= e[s->best].f + noise)) {
            s->fraction *= 0.3;
            continue;
        }
        s->best = k;
        s->fraction = 1;
        s->decrement = nof1_newton_step(s->step, e[k].gradient, e[k].hessian, n, 1e-7, NULL, work);
        s->stalled = s->decrement < 1e-12 && s->decrement > 0.25 * before;
        before = s->decrement;
    }
    double longest = 0;
    for (size_t i = 0; i < n; i++) {
        longest = fmax(longest, fabs(s->step[i]));
    }
    s->fraction *= fmin(1, 3 / fmax(longest, 1e-300));
    return NOF1_OK;
}

/* Without values: the squared score in the metric of the information takes their place. */
static nof1_rc secant(struct search *s, struct nof1_evaluation *e, size_t count, size_t n,
                      struct nof1_arena *arena)
{
    double *work = nof1_arena_alloc(arena, 2 * n * n + 4 * n + 1, sizeof *work);
    ENSURE(work != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < count; k++) {
        e[k].f = nof1_newton_step(work + 2 * n * n + 3 * n, e[k].gradient, e[k].hessian, n, 1e-7,
                                  NULL, work);
    }
    struct nof1_ask ask;
    TRY(nof1_ask(&ask, arena, e, count, n, 1, 0, 1));
    *s = (struct search){ask.best, ask.decrement, ask.fraction, ask.step, false};
    return NOF1_OK;
}

/* Data that separate along a column leave its estimate next to no information, however flat the
 * likelihood has become: a standard error of many log odds or log rates for a typical change of the
 * column. Refused when nothing else is possible; noted when the rounds have ended on the way. */
static nof1_rc find_separation(struct glmm_fit *fit, const struct glmm_model *m,
                               const double *hessian, struct nof1_arena *arena,
                               struct nof1_error *error)
{
    size_t n = fit->free;
    double *scaled = nof1_arena_alloc(arena, 2 * n * n + n, sizeof *scaled), worst = 0;
    ENSURE(scaled != NULL, NOF1_E_NO_MEMORY);
    double *vector = scaled + n * n, *value = vector + n * n;
    fit->separating = -1;
    for (size_t i = 0; i < n * n; i++) {
        scaled[i] = hessian[i] / sqrt(fmax(fabs(hessian[i / n * (n + 1)]), 1e-290)) /
                    sqrt(fmax(fabs(hessian[i % n * (n + 1)]), 1e-290));
    }
    nof1_symmetric_eigen(scaled, value, vector, n);
    for (size_t i = m->cuts; i < m->fixed; i++) {
        double variance = 0;
        size_t at = fit->tie[i] >= 0 ? (size_t)fit->tie[i] : 0;
        for (size_t k = 0; k < n && fit->tie[i] >= 0; k++) {
            variance += vector[at * n + k] * vector[at * n + k] / fmax(fabs(value[k]), 1e-16);
        }
        double reach = fit->unit[i] * sqrt(variance / fmax(fabs(hessian[at * (n + 1)]), 1e-290));
        bool own = m->design.column[design_column(m, i)].kind != MIXED_INTERCEPT;
        if (own && fabs(fit->theta[i]) * fit->unit[i] > SEPARATED && reach > fmax(worst, 1.5)) {
            worst = reach;
            fit->separating = (int)i;
        }
    }
    if (worst <= RUNAWAY) {
        return NOF1_OK;
    }
    return refuse_growing(m->name[fit->separating], error);
}

static nof1_rc conclude(struct glmm_fit *fit, const struct glmm_model *m,
                        const struct nof1_evaluation *last, const double *step, double decrement,
                        double trials, struct nof1_arena *arena, struct nof1_error *error)
{
    double x[GLMM_PARAMETERS_MAX];
    fit->decrement = decrement;
    /* after a last Newton step the error is of the order of the decrement itself */
    fit->approximation = decrement < 1e-12 ? 0 : decrement < 0.1 ? decrement : sqrt(decrement);
    double take = decrement < 1 ? 1 : 0;
    for (size_t i = 0; i < fit->free; i++) {
        x[i] = last->x[i] + take * step[i];
    }
    spread(fit->theta, fit, x, m->parameters);
    fit->value = -last->f + take * decrement / 2;
    TRY(find_separation(fit, m, last->hessian, arena, error));
    TRY(glmm_finish(fit, m, last->hessian, arena));
    double rounding = glmm_rounding(fit, m, trials);
    fit->converged = decrement < (m->form == GLMM_SCORE ? 1e-2 : 1e-12);
    fit->approximation += rounding;
    return NOF1_OK;
}

static nof1_rc propose(struct nof1_next *next, const struct glmm_model *m,
                       const struct glmm_fit *start, const double *x, struct nof1_arena *arena,
                       struct nof1_error *error)
{
    double *theta = nof1_arena_alloc(arena, m->parameters, sizeof *theta);
    ENSURE(theta != NULL, NOF1_E_NO_MEMORY);
    spread(theta, start, x, m->parameters);
    (void)fold(theta + m->fixed, m->shape.effects, 0);
    TRY(glmm_refuse_runaway(m, theta, error));
    next->parameter = theta;
    next->parameters = m->parameters;
    return NOF1_OK;
}

/* Thresholds must stay in order: the largest fraction of the step that keeps them so. */
static double ordered_fraction(const struct glmm_model *m, const struct glmm_fit *start,
                               const double *x, const double *step, double fraction)
{
    double a[GLMM_PARAMETERS_MAX], b[GLMM_PARAMETERS_MAX];
    for (int i = 0; i < 60; i++, fraction /= 2) {
        double moved[GLMM_PARAMETERS_MAX];
        for (size_t k = 0; k < start->free; k++) {
            moved[k] = x[k] + fraction * step[k];
        }
        spread(a, start, x, m->parameters);
        spread(b, start, moved, m->parameters);
        bool ordered = true;
        for (size_t k = 1; k < m->cuts; k++) {
            double gap = a[k] - a[k - 1];
            ordered = ordered && (gap <= 0 || b[k] - b[k - 1] > 0.1 * gap);
        }
        if (ordered) {
            return fraction;
        }
    }
    return 0;
}

nof1_rc_value glmm_score_advance(struct glmm_fit *fit, struct nof1_next *next,
                                 const struct glmm_model *m, const struct nof1_history *history,
                                 struct nof1_arena *arena, struct nof1_error *error)
{
    size_t rounds = history->rounds;
    *next = (struct nof1_next){0};
    if (rounds == 0) {
        return NOF1_OK;
    }
    TRY(glmm_start(fit, m, history->round[0].total, arena, error));
    size_t count = rounds - 1, n = fit->free;
    double x[GLMM_PARAMETERS_MAX];
    for (size_t i = 0; i < m->parameters; i++) {
        if (fit->tie[i] >= 0) {
            x[fit->tie[i]] = fit->theta[i];
        }
    }
    if (count == 0) {
        return propose(next, m, fit, x, arena, error);
    }
    struct nof1_evaluation *e = nof1_arena_alloc(arena, count, sizeof *e);
    ENSURE(e != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < count; k++) {
        TRY(reduce(&e[k], fit, m, (uint32_t)k + 2, &history->round[k + 1], arena));
    }
    struct search s;
    bool last = rounds >= m->base.max_rounds;
    if (m->form == GLMM_NEWTON) {
        TRY(newton(&s, e, count, n, arena));
        last = last || s.decrement < 1e-18 || s.stalled;
    } else if (last) { /* the round with the Hessian */
        TRY(newton(&s, e + count - 1, 1, n, arena));
        s.best = count - 1;
    } else {
        TRY(secant(&s, e, count, n, arena));
    }
    if (last) {
        next->done = true;
        return conclude(fit, m, &e[s.best], s.step, s.decrement,
                        (double)history->counts.trials, arena, error);
    }
    double fraction = ordered_fraction(m, fit, e[s.best].x, s.step, s.fraction);
    for (size_t i = 0; i < n; i++) {
        x[i] = e[s.best].x[i] + fraction * s.step[i];
    }
    return propose(next, m, fit, x, arena, error);
}
