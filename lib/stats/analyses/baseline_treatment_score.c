/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `baseline_treatment` by rounds: any schedule, gaps and starts. Parameters of a round: beta (in
 * two parts, so that 40 significant bits each give all of a double) and x, the unconstrained
 * covariance parameters. Released: p + terms + 1 outcome sums (X'H^-1 r, r'H^-1 V_j H^-1 r, r'H^-1
 * r) and the design sums from which criterion, expected information and Kenward-Roger follow.
 */
#include <math.h>
#include <stats/matrix.h>
#include <stats/optimise.h>
#include <string.h>

#include "baseline_treatment.h"
#include "mixed.h"

#define FAR 0.05 /* decrement above which the model of second order is not trusted */
#define RHO_LIMIT 14 /* of car1: rho is within 1e-6 of 0 or 1, where its scale has no end */
#define ROWS_MAX 4096.0 /* rows of one trial that the bounds allow for */

/* ---- one walk for layout, terms and totals, so that they cannot differ ---------------------- */

static double column_bound(enum bt_column column)
{
    return column == BT_TREND || column == BT_SLOPE ? BT_TIME : 1;
}

/* To what a term of an outcome with a quantum is rounded outside an open lab, as in score rounds of
 * mixed_model: real weights are known, so exact sums of whole numbers could be solved for patients
 * whose start is their own (docs/disclosure.md, "Score rounds of the mixed model"). 0: exact. */
static double term_step(const struct bt_model *m)
{
    const struct nof1_charter *charter = m->base.study->charter;
    double quantum = charter->outcome[m->base.study->plan->outcome].quantum;
    bool exact = charter->limits.open || !(quantum > 0);
    return exact ? 0 : ldexp(1, ilogb(quantum / fmax(1, charter->max_periods)));
}

static double score_step(const struct bt_model *m, size_t column)
{
    double x = column_bound(m->column[column]);
    return term_step(m) * fmin(1, ldexp(1, ilogb(x)));
}

struct walk {
    const struct bt_model *model;
    struct nof1_arena *arena;
    struct nof1_element *element; /* written by layout */
    double *out;                  /* written by contribute */
    const double *total;          /* read by advance */
    size_t count;
    bool failed;
};

static void visit(struct walk *w, double *value, enum nof1_role role, double bound, double unit,
                  const char *what, size_t i, size_t j)
{
    if (w->element != NULL) {
        int exponent;
        (void)frexp(unit, &exponent);
        const char *name = nof1_arena_printf(w->arena, "%s %zu %zu", what, i, j);
        w->failed = w->failed || name == NULL;
        w->element[w->count] = (struct nof1_element){
            .name = name, .role = role, .group = -1, .block = 0, .block_size = 2,
            .bound = fmin(0x1p96, bound),
            .quantum = role == NOF1_OUTCOME ? ldexp(1, exponent - 61) : 0};
    }
    if (w->out != NULL) {
        w->out[w->count] = *value;
        w->failed = w->failed || !isfinite(*value);
    }
    if (w->total != NULL) {
        *value = w->total[w->count];
    }
    w->count++;
}

/* The element before is rounded to `step` at least. */
static void round_last(struct walk *w, double step)
{
    if (w->element != NULL) {
        struct nof1_element *last = &w->element[w->count - 1];
        last->quantum = fmax(last->quantum, step);
    }
}

/* The lower triangle of the columns' block, and its mirror image when totals are read. */
static void visit_design(struct walk *w, double *matrix, double power, const char *what)
{
    const struct bt_model *m = w->model;
    size_t width = m->columns + 1;
    for (size_t i = 0; i < m->columns; i++) {
        for (size_t j = 0; j <= i; j++) {
            double bound = column_bound(m->column[i]) * column_bound(m->column[j]);
            visit(w, &matrix[i * width + j], NOF1_DESIGN, bound * pow(ROWS_MAX, power) * 0x1p40, 1,
                  what, i, j);
            matrix[j * width + i] = matrix[i * width + j];
        }
    }
}

static const char *matrix_name(struct walk *w, size_t j, size_t k)
{
    if (w->element == NULL) {
        return "";
    }
    const char *name = k < w->model->terms ? nof1_arena_printf(w->arena, "H %zu*%zu", j, k)
                                           : nof1_arena_printf(w->arena, "H %zu", j);
    w->failed = w->failed || name == NULL;
    return name == NULL ? "" : name;
}

static void visit_all(struct walk *w, struct nof1_gaussian_sums *s)
{
    const struct bt_model *m = w->model;
    size_t p = m->columns, width = p + 1;
    double reach = 2 * m->reach, wide = ROWS_MAX * ROWS_MAX * 0x1p40, step = term_step(m);
    visit(w, &s->rows, NOF1_DESIGN, ROWS_MAX, 1, "rows", 0, 0);
    visit(w, &s->log_det, NOF1_DESIGN, wide, 1, "log det H", 0, 0);
    visit_design(w, s->cross, 1, "H");
    for (size_t j = 0; j < m->terms; j++) {
        visit(w, &s->trace[j], NOF1_DESIGN, wide, 1, "trace", j, j);
        visit_design(w, s->first[j], 2, matrix_name(w, j, m->terms));
        for (size_t k = 0; k <= j; k++) {
            size_t jk = j * NOF1_TERMS_MAX + k;
            visit(w, &s->trace2[jk], NOF1_DESIGN, wide * wide, 1, "trace", j, k);
            s->trace2[k * NOF1_TERMS_MAX + j] = s->trace2[jk];
            visit_design(w, s->second[jk], 3, matrix_name(w, j, k));
        }
    }
    for (size_t i = 0; i < p; i++) {
        reach += m->beta_limit * column_bound(m->column[i]);
    }
    for (size_t i = 0; i < p; i++) {
        visit(w, &s->cross[i * width + p], NOF1_OUTCOME,
              ROWS_MAX * column_bound(m->column[i]) * reach * 0x1p20, m->scale, "score", i, i);
        round_last(w, score_step(m, i));
        s->cross[p * width + i] = s->cross[i * width + p];
    }
    for (size_t j = 0; j < m->terms; j++) {
        visit(w, &s->first[j][p * width + p], NOF1_OUTCOME, wide * reach * reach,
              m->scale * m->scale, "square", j, j);
        round_last(w, step * step);
    }
    visit(w, &s->cross[p * width + p], NOF1_OUTCOME, ROWS_MAX * reach * reach * 0x1p20,
          m->scale * m->scale, "square residual", 0, 0);
    round_last(w, step * step);
}

size_t bt_score_elements(const struct bt_model *m)
{
    size_t p = m->columns, pairs = p * (p + 1) / 2, jk = m->terms * (m->terms + 1) / 2;
    return 2 + pairs * (1 + m->terms + jk) + 2 * m->terms + jk + p + 1;
}

static nof1_rc sums_new(struct nof1_gaussian_sums *sums, const struct bt_model *m,
                        struct nof1_arena *arena)
{
    double *memory = nof1_arena_alloc(arena, nof1_gaussian_sums_size(&m->shape), sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    nof1_gaussian_sums_place(sums, &m->shape, memory);
    return NOF1_OK;
}

nof1_rc_value bt_score_layout(const struct bt_model *m, struct nof1_arena *arena,
                              struct nof1_layout *out)
{
    struct nof1_gaussian_sums sums;
    TRY(sums_new(&sums, m, arena));
    struct walk w = {.model = m, .arena = arena};
    w.element = nof1_arena_alloc(arena, bt_score_elements(m), sizeof *w.element);
    ENSURE(w.element != NULL, NOF1_E_NO_MEMORY);
    visit_all(&w, &sums);
    ENSURE(!w.failed, NOF1_E_NO_MEMORY);
    ENSURE(w.count == bt_score_elements(m), NOF1_E_BUG);
    *out = (struct nof1_layout){w.count, w.element};
    return NOF1_OK;
}

nof1_rc_value bt_score_contribute(const struct bt_model *m, const double *theta,
                                  const struct nof1_trial *trial, void *scratch, double *out)
{
    struct nof1_gaussian_sums sums;
    struct bt_rows rows;
    double *memory = scratch, gamma[NOF1_TERMS_MAX];
    size_t p = m->columns;
    nof1_gaussian_sums_place(&sums, &m->shape, memory);
    ENSURE(bt_rows_of(&rows, m, trial, memory + nof1_gaussian_sums_size(&m->shape)), NOF1_E_BUG);
    double *y = rows.column + p * rows.rows;
    for (size_t c = 0; c < 2 * p; c++) { /* the large part of beta first */
        for (size_t i = 0; theta[c] != 0 && i < rows.rows; i++) {
            y[i] -= theta[c] * rows.column[(c % p) * rows.rows + i];
        }
    }
    nof1_gaussian_square(gamma, theta + 2 * p, &m->shape);
    struct nof1_ar1_trial t = {rows.rows, rows.time, rows.column};
    ENSURE(nof1_ar1_add(&sums, &m->shape, gamma, &t, 1, rows.work), NOF1_E2403);
    struct walk w = {.model = m, .out = out};
    visit_all(&w, &sums);
    ENSURE(!w.failed, NOF1_E2403);
    return NOF1_OK;
}

/* ---- the coordinator's side ---------------------------------------------------------------- */

struct bt_visit {
    struct nof1_gaussian_sums sums;
    struct nof1_gaussian_point point;
    double *x; /* beta, covariance parameters */
};

static nof1_rc look(struct bt_visit *v, struct nof1_evaluation *e, const struct bt_model *m,
                    const struct nof1_round_total *round, double trials, struct nof1_arena *arena,
                    struct nof1_error *error)
{
    size_t p = m->columns, n = p + m->terms;
    TRY(sums_new(&v->sums, m, arena));
    struct walk w = {.model = m, .total = round->total, .arena = arena};
    visit_all(&w, &v->sums);
    TRY(bt_refuse(m, &v->sums, trials, error));
    v->x = nof1_arena_alloc(arena, 2 * n + n * n, sizeof *v->x);
    ENSURE(v->x != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < p; i++) {
        v->x[i] = round->parameter[i] + round->parameter[p + i];
    }
    memcpy(v->x + p, round->parameter + 2 * p, m->terms * sizeof *v->x);
    double gamma[NOF1_TERMS_MAX], *gradient = v->x + n, *hessian = gradient + n;
    double inner_gradient[NOF1_TERMS_MAX], inner[NOF1_TERMS_MAX * NOF1_TERMS_MAX];
    nof1_gaussian_square(gamma, v->x + p, &m->shape);
    if (nof1_gaussian_point(&v->point, arena, &v->sums, &m->shape, gamma, m->reml, false) !=
        NOF1_OK) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "no residual variation is left: all outcomes are equal, or an exact "
                         "function of fixed terms and random effects");
    }
    nof1_gaussian_chain(inner_gradient, inner, v->x + p, &m->shape, v->point.slope,
                        v->point.expected);
    for (size_t i = 0; i < p; i++) {
        gradient[i] = -2 * v->point.score[i] / v->point.sigma2;
        for (size_t j = 0; j < p; j++) {
            hessian[i * n + j] = 2 * v->point.c[i * p + j] / v->point.sigma2;
        }
    }
    for (size_t i = 0; i < m->terms; i++) {
        gradient[p + i] = inner_gradient[i];
        for (size_t j = 0; j < m->terms; j++) {
            hessian[(p + i) * n + p + j] = inner[i * m->terms + j];
        }
    }
    *e = (struct nof1_evaluation){v->x, v->point.f, gradient, hessian};
    return NOF1_OK;
}

static nof1_rc propose(struct nof1_next *next, const struct bt_model *m, const double *x,
                       struct nof1_arena *arena)
{
    size_t p = m->columns;
    double *theta = nof1_arena_alloc(arena, 2 * p + m->terms + 1, sizeof *theta);
    ENSURE(theta != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < p; i++) {
        int exponent;
        double fraction = frexp(x[i], &exponent);
        theta[i] = ldexp(rint(ldexp(fraction, 30)), exponent - 30);
        theta[p + i] = x[i] - theta[i];
    }
    memcpy(theta + 2 * p, x + p, m->terms * sizeof *theta);
    next->parameter = theta;
    next->parameters = 2 * p + m->terms;
    return NOF1_OK;
}

/* Keep S semidefinite (S and |S| have the same square) and rho off its limits. */
static void fold(double *x, const struct bt_model *m)
{
    static const double none[NOF1_TERMS_MAX] = {0};
    double unused;
    (void)nof1_gaussian_snap(x, &m->shape, 0, none, &unused);
    if (m->shape.correlated) {
        double limit = m->residual == BT_AR1 ? 9 : 18;
        x[m->terms - 1] = fmax(-limit, fmin(limit, x[m->terms - 1]));
    }
}

/* What rounding moves the effects by, in their standard errors: a trial is an error of up to half a
 * step in every score. */
static double rounding(const struct bt_model *m, const struct nof1_gaussian_point *point)
{
    double trials = 0, worst = 0;
    size_t p = m->columns;
    if (term_step(m) > 0) {
        trials = (double)mixed_census(m->base.study, "trials");
    }
    for (size_t i = 0; i < p; i++) {
        double square = 0;
        for (size_t j = 0; j < p; j++) {
            double error = point->c_inverse[i * p + j] * score_step(m, j);
            square += error * error * trials / 12;
        }
        double variance = point->sigma2 * point->c_inverse[i * p + i];
        worst = variance > 0 ? fmax(worst, sqrt(square / variance)) : worst;
    }
    return worst;
}

/* The last evaluation plus the last step, which no round has verified. */
static nof1_rc conclude(struct bt_fit *fit, const struct bt_model *m, const struct bt_visit *best,
                        const struct nof1_ask *ask)
{
    size_t p = m->columns;
    double take = ask->decrement < 0.01 ? ask->fraction : 0, change = 0;
    fit->sums = best->sums;
    fit->point = best->point;
    fit->decrement = ask->decrement;
    fit->converged = ask->decrement < 1e-13;
    fit->approximation = (fit->converged ? 0 : sqrt(ask->decrement)) + rounding(m, &best->point);
    for (size_t i = 0; i < p; i++) {
        fit->beta[i] = best->x[i] + take * ask->step[i];
        change -= 2 * take * ask->step[i] * best->point.score[i];
    }
    for (size_t j = 0; j < m->terms; j++) {
        fit->x[j] = best->x[p + j] + take * ask->step[p + j];
    }
    bt_settle(fit, m);
    fit->converged = fit->converged || (fit->edge && ask->decrement < 1e-6);
    for (size_t j = 0; j < m->terms; j++) {
        change -= best->point.square[j] * (fit->gamma[j] - best->point.gamma[j]);
    }
    fit->sigma2 = (best->point.q + change) / best->point.n;
    fit->f = best->point.f - (take > 0 ? ask->decrement / 2 : 0);
    return NOF1_OK;
}

/* Far from the optimum: the least-squares beta at the visited covariance, which is exact, and the
 * covariance whose expected squares equal those at that beta, known up to a
 * term of expectation 0. After the first round x is left alone where this would lead to the
 * boundary. */
static nof1_rc far_step(double *x, const struct bt_model *m, const struct bt_visit *v, bool first,
                        struct nof1_arena *arena)
{
    const struct nof1_gaussian_point *point = &v->point;
    size_t p = m->columns;
    double b[BT_COLUMNS + 1] = {0}, square[NOF1_TERMS_MAX], q = point->q;
    double root[NOF1_TERMS_MAX] = {0};
    bool usable = m->terms > 0, inside = false;
    for (size_t i = 0; i < p; i++) {
        b[i] = point->beta[i];
        q -= b[i] * point->score[i];
    }
    for (size_t j = 0; j < m->terms; j++) {
        double part = nof1_bilinear(b, v->sums.first[j], b, p + 1);
        square[j] = point->square[j] - part;
        usable = usable && part < 0.5 * point->square[j];
    }
    if (usable && q > 0) {
        TRY(nof1_gaussian_igls(root, &usable, &inside, arena, &v->sums, point, square, q, 0.01));
    }
    if (!first && !inside) {
        return NOF1_OK;
    }
    for (size_t i = 0; i < p; i++) {
        x[i] = v->x[i] + b[i];
    }
    memcpy(x + p, usable && q > 0 ? root : v->x + p, m->terms * sizeof *x);
    return NOF1_OK;
}

nof1_rc_value bt_score_advance(const struct bt_model *m, const struct nof1_history *history,
                               struct nof1_arena *arena, struct nof1_next *next,
                               struct bt_fit *fit, struct nof1_error *error)
{
    size_t rounds = history->rounds, p = m->columns, n = p + m->terms;
    double *x = nof1_arena_alloc(arena, n, sizeof *x);
    struct bt_visit *visited = nof1_arena_alloc(arena, rounds + 1, sizeof *visited);
    struct nof1_evaluation *evaluation = nof1_arena_alloc(arena, rounds + 1, sizeof *evaluation);
    ENSURE(x != NULL && visited != NULL && evaluation != NULL, NOF1_E_NO_MEMORY);
    next->done = false;
    if (rounds == 0) {
        memcpy(x + p, m->start, m->terms * sizeof *x);
        return propose(next, m, x, arena);
    }
    for (size_t r = 0; r < rounds; r++) {
        TRY(look(&visited[r], &evaluation[r], m, &history->round[r],
                 (double)history->counts.trials, arena, error));
    }
    if (rounds == 1) {
        TRY(far_step(x, m, &visited[0], true, arena));
        return propose(next, m, x, arena);
    }
    /* Curvature in rho is learnt near the optimum only: far from it secants mislead. */
    size_t skip = m->shape.correlated ? 5 : 2;
    struct nof1_ask ask;
    TRY(nof1_ask(&ask, arena, evaluation, rounds, n, skip, p, 1));
    const struct bt_visit *best = &visited[ask.best];
    bool stalled = false; /* rounding of the parameters allows no further descent */
    if (rounds > 2 && ask.decrement < 1e-13) {
        struct nof1_ask before;
        TRY(nof1_ask(&before, arena, evaluation, rounds - 1, n, skip, p, 1));
        stalled = ask.decrement > 0.25 * before.decrement;
    }
    bool limit = m->residual == BT_CAR1 && fabs(best->x[n - 1]) > RHO_LIMIT && ask.decrement < 1e-6;
    next->done = ask.decrement < 1e-18 || stalled || limit || rounds >= m->base.max_rounds;
    if (next->done) {
        return conclude(fit, m, best, &ask);
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = best->x[i] + ask.fraction * ask.step[i];
    }
    if (ask.decrement > FAR && ask.best == rounds - 1 && rounds <= 4) {
        TRY(far_step(x, m, best, false, arena));
    }
    fold(x + p, m);
    return propose(next, m, x, arena);
}
