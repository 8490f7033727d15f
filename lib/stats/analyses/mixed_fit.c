/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What all forms of the mixed model share: which columns the data identify, the minimum where group
 * totals allow to evaluate the likelihood at will, and the boundary of the variances.
 */
#include <math.h>
#include <stats/matrix.h>
#include <string.h>

#include "mixed.h"

static nof1_rc refuse_counts(const struct mixed_model *m, const struct nof1_gaussian_sums *sums,
                             double trials, struct nof1_error *error)
{
    if (sums->rows < 1 && m->shape.correlated) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "residual: no trial has times that the correlation allows: %ss missing, "
                         "two rows of a trial in one%s; write %s, or residual: iid",
                         m->by_period ? "period" : "time",
                         m->shape.positive ? "" : ", or steps that are not whole numbers",
                         m->by_period ? "by: time" : "residual: car1, by: period");
    }
    if (sums->rows < 1) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "no row has the outcome and every term of fixed: is a column of them "
                         "(period, cycle, time, a covariate) empty or not in the source?");
    }
    if (trials < 2) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "a series needs at least two trials; one trial is analysed at its site");
    }
    if (m->arms > 2 || m->terms > nof1_gaussian_block(&m->shape)) {
        return NOF1_OK; /* mixed_refuse_structure looks at the information */
    }
    if (sums->within < 1) {
        return nof1_fail(error, NOF1_E2601,
                         m->effects == 2
                             ? "every trial has as many rows as random effects, so that the "
                               "treatment's variance and the residual variance cannot be told "
                               "apart; use random: {trial: [intercept]}"
                             : "every trial has one row, so that trials and residuals cannot be "
                               "told apart; use descriptive");
    }
    if (m->effects == 2 && sums->within + trials >= sums->rows) { /* each trial has rank 1 */
        return nof1_fail(error, NOF1_E_MODEL,
                         "random: no trial has rows on both treatments, so that the treatment's "
                         "variance between trials cannot be estimated; use random: {trial: "
                         "[intercept]}");
    }
    return NOF1_OK;
}

static nof1_rc refuse_columns(const struct mixed_fit *fit, const struct mixed_model *m,
                              struct nof1_arena *arena, struct nof1_error *error)
{
    size_t p = fit->used, width = fit->shape.columns;
    double *c = nof1_arena_alloc(arena, 2 * p * p + 1, sizeof *c);
    ENSURE(c != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < p * p; i++) {
        c[i] = fit->sums.cross[(i / p) * width + i % p];
    }
    size_t aliased = nof1_first_aliased(c, p, 1e-11, c + p * p);
    if (aliased < p) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "fixed: '%s' is a combination of the terms before it in these data; "
                         "leave it out",
                         m->column[fit->use[aliased]].name);
    }
    if (fit->sums.rows <= (double)p) {
        return nof1_fail(error, NOF1_E2308, "%zu fixed effects need more rows than that", p);
    }
    return NOF1_OK;
}

static bool is_level(const struct mixed_column *column)
{
    return column->kind == MIXED_PERIOD_LEVEL || column->kind == MIXED_CYCLE_LEVEL ||
           column->kind == MIXED_FACTOR_LEVEL || column->kind == MIXED_SITE ||
           column->kind == MIXED_BLOCK;
}

static bool same_factor(const struct mixed_column *a, const struct mixed_column *b)
{
    return a->kind == b->kind && a->covariate == b->covariate &&
           a->by_treatment == b->by_treatment && (!a->by_treatment || a->arm == b->arm);
}

/* Did every row have one of these levels, none the first one of the factor? Then Xv = 0 for v = the
 * intercept (or treatment) minus the levels. */
static bool base_unused(const struct mixed_model *m, const struct nof1_gaussian_sums *sums,
                        size_t width, const struct mixed_column *factor)
{
    double v[MIXED_COLUMNS_MAX] = {0}, square = 0, anchor = 0;
    for (size_t c = 0; c < m->columns; c++) {
        const struct mixed_column *column = &m->column[c];
        enum mixed_kind kind = factor->by_treatment ? MIXED_TREATMENT : MIXED_INTERCEPT;
        bool is_anchor = column->kind == kind &&
                         (kind == MIXED_INTERCEPT || column->arm == factor->arm);
        v[c] = is_level(column) && same_factor(column, factor) ? -1 : is_anchor;
        anchor = is_anchor ? sums->cross[c * width + c] : anchor;
    }
    for (size_t i = 0; i < m->columns * m->columns; i++) {
        size_t a = i / m->columns, b = i % m->columns;
        square += v[a] * v[b] * sums->cross[a * width + b];
    }
    return anchor > 0 && square <= 1e-12 * anchor;
}

/* As R does with levels that no row has: the first used level becomes the base of its factor. */
static bool is_new_base(const struct mixed_model *m, const struct nof1_gaussian_sums *sums,
                        size_t width, size_t column)
{
    for (size_t c = 0; c < column; c++) {
        if (is_level(&m->column[c]) && same_factor(&m->column[c], &m->column[column]) &&
            sums->cross[c * width + c] > 0) {
            return false;
        }
    }
    return is_level(&m->column[column]) && base_unused(m, sums, width, &m->column[column]);
}

nof1_rc_value mixed_reduce(struct mixed_fit *fit, const struct mixed_model *m,
                           struct nof1_arena *arena, const struct nof1_gaussian_sums *sums,
                           const struct nof1_gaussian_shape *shape, double trials,
                           struct nof1_error *error)
{
    size_t *use = nof1_arena_alloc(arena, m->columns + 1, sizeof *use);
    ENSURE(use != NULL, NOF1_E_NO_MEMORY);
    TRY(refuse_counts(m, sums, trials, error));
    fit->used = 0;
    for (size_t c = 0; c < m->columns; c++) {
        if (sums->cross[c * shape->columns + c] > 0) {
            if (!is_new_base(m, sums, shape->columns, c)) {
                use[fit->used++] = c;
            }
        } else if (m->column[c].kind == MIXED_TREATMENT) {
            return nof1_fail(error, NOF1_E_MODEL,
                             "no row is on the active treatment: its effect cannot be estimated");
        } else if (m->column[c].kind == MIXED_NUMERIC) {
            return nof1_fail(error, NOF1_E_MODEL,
                             "fixed: '%s' has one value in these data; leave it out",
                             m->column[c].name);
        }
    }
    use[fit->used] = m->columns;
    fit->use = use;
    TRY(nof1_gaussian_select(&fit->sums, &fit->shape, sums, shape, use, fit->used + 1, arena));
    return refuse_columns(fit, m, arena, error);
}

nof1_rc_value mixed_refuse_structure(const struct mixed_fit *fit, const struct mixed_model *m,
                                     const double *gamma, struct nof1_arena *arena,
                                     struct nof1_error *error)
{
    double information[NOF1_TERMS_MAX * NOF1_TERMS_MAX], out[NOF1_TERMS_MAX * NOF1_TERMS_MAX];
    double work[3 * NOF1_TERMS_MAX * NOF1_TERMS_MAX + 2 * NOF1_TERMS_MAX];
    struct nof1_gaussian_point point;
    size_t n = m->terms;
    if (nof1_gaussian_point(&point, arena, &fit->sums, &fit->shape, gamma, true, false) !=
        NOF1_OK) {
        return NOF1_OK; /* no residual variation: said elsewhere */
    }
    if (m->effects > 0 && point.expected[0] <= 1e-9 * fit->sums.trace2[0]) {
        return nof1_fail(
            error, NOF1_E2601,
            "fixed, random: the fixed terms leave no variation between trials (as many "
            "sites as trials, or nearly), so that their variance cannot be estimated; "
            "leave out site or block");
    }
    if (m->arms == 2 && n == nof1_gaussian_block(&m->shape)) {
        return NOF1_OK;
    }
    if (nof1_gaussian_point(&point, arena, &fit->sums, &fit->shape, gamma, m->reml, false) !=
        NOF1_OK) {
        return NOF1_OK;
    }
    for (size_t i = 0; i < n * n; i++) {
        information[i] = point.expected[i / n * NOF1_TERMS_MAX + i % n];
    }
    if (nof1_symmetric_pseudo_inverse(out, information, n, 1e-9, work) < n) {
        return nof1_fail(
            error, NOF1_E2601,
            m->shape.correlated
                ? "random, residual: the data cannot tell random effects from serial "
                  "correlation (too few times a trial); write a smaller random, {trial: "
                  "[]}, or residual: iid"
                : "random, residual: the data cannot tell the variances apart (as many "
                  "random effects as rows, an arm or cycle with one row each, or a "
                  "treatment that few patients took); leave out \"trial:cycle\" or "
                  "\"trial:treatment\", or write random: {trial: [intercept]}, "
                  "residual: iid");
    }
    return NOF1_OK;
}

/* ---- evaluation at will -------------------------------------------------------------------- */

struct objective {
    const struct mixed_model *model;
    struct mixed_totals totals;
    struct nof1_gaussian_sums sums;
    double *memory;              /* of the sums */
    struct nof1_arena *arena;    /* scratch of points; refreshed for every evaluation */
    struct nof1_gaussian_point point;
};

void mixed_totals_sum(struct nof1_gaussian_sums *sums, double *memory,
                      const struct mixed_totals *totals, const double *gamma)
{
    nof1_gaussian_sums_place(sums, &totals->shape, memory);
    for (size_t g = 0; g < totals->groups; g++) {
        nof1_gaussian_add(sums, &totals->shape, gamma, &totals->group[g],
                          g == 0 ? totals->residual : NULL, totals->work);
    }
}

static bool evaluate(void *context, const double *x, double *f, double *gradient, double *hessian)
{
    struct objective *o = context;
    double gamma[NOF1_TERMS_MAX];
    for (size_t j = 0; j < o->model->terms; j++) {
        if (!(fabs(x[j]) <= o->model->root_limit)) {
            return false;
        }
    }
    nof1_gaussian_square(gamma, x, &o->model->shape);
    mixed_totals_sum(&o->sums, o->memory, &o->totals, gamma);
    nof1_arena_free(o->arena);
    o->arena = nof1_arena_new();
    if (o->arena == NULL ||
        nof1_gaussian_point(&o->point, o->arena, &o->sums, &o->totals.shape, gamma, o->model->reml,
                            true) != NOF1_OK) {
        return false;
    }
    *f = o->point.f;
    nof1_gaussian_chain(gradient, hessian, x, &o->model->shape, o->point.slope,
                        o->point.observed);
    return true;
}

#define STARTS (NOF1_TERMS_MAX + 6)

/* Index of the k-th variance of the root parameters; NOF1_TERMS_MAX when there are fewer. */
static size_t variance_at(const struct nof1_gaussian_shape *shape, size_t k)
{
    size_t block = nof1_gaussian_block(shape), all = nof1_gaussian_terms(shape) - shape->ratios;
    size_t at = k < shape->effects ? k * (k + 3) / 2 : block + k - shape->effects;
    return at < all ? at : NOF1_TERMS_MAX;
}

/* Starting values of S around the planning value; the minimum of the best is kept: each variance
 * small beside the others, each large, all small. */
static size_t starts_of(double start[STARTS][NOF1_TERMS_MAX], const struct mixed_model *m)
{
    size_t count = 1, size = sizeof start[0];
    memcpy(start[0], m->start, size);
    for (size_t k = 0; variance_at(&m->shape, k) < NOF1_TERMS_MAX; k++) {
        memcpy(start[count], m->start, size);
        start[count++][variance_at(&m->shape, k)] *= 0.1;
    }
    for (size_t k = 0; k < 2 && variance_at(&m->shape, k) < NOF1_TERMS_MAX; k++) {
        memcpy(start[count], m->start, size);
        start[count++][variance_at(&m->shape, k)] *= 4;
    }
    memcpy(start[count], m->start, size);
    for (size_t k = 0; variance_at(&m->shape, k) < NOF1_TERMS_MAX; k++) {
        start[count][variance_at(&m->shape, k)] *= 0.1;
    }
    return count + 1;
}

static nof1_rc minimise_all(struct mixed_fit *fit, struct objective *o, struct nof1_arena *arena)
{
    double start[STARTS][NOF1_TERMS_MAX];
    size_t starts = starts_of(start, o->model);
    bool found = false;
    struct nof1_objective objective = {o->model->terms, 1, o, evaluate};
    for (size_t k = 0; k < starts; k++) {
        double f, decrement;
        if (nof1_minimise(&objective, arena, start[k], &f, &decrement, 1e-26) != NOF1_OK) {
            continue;
        }
        /* Of equal minima keep the first, so that rounding does not choose. */
        if (!found || f < fit->f - 1e-9 * fmax(1, fabs(fit->f))) {
            fit->f = f;
            fit->decrement = decrement;
            memcpy(fit->root, start[k], sizeof fit->root);
            found = true;
        }
    }
    return found ? NOF1_OK : NOF1_E_MODEL;
}

static nof1_rc reduce_totals(struct mixed_totals *out, const struct mixed_totals *totals,
                             const struct mixed_fit *fit, struct nof1_arena *arena)
{
    size_t width = fit->used + 1, all = totals->shape.columns;
    *out = (struct mixed_totals){fit->shape, totals->groups, NULL, NULL, totals->work};
    struct nof1_gaussian_group *group = nof1_arena_alloc(arena, totals->groups, sizeof *group);
    double *residual = nof1_arena_alloc(arena, width * width, sizeof *residual);
    ENSURE(group != NULL && residual != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < width * width; i++) {
        residual[i] = totals->residual[fit->use[i / width] * all + fit->use[i % width]];
    }
    for (size_t g = 0; g < totals->groups; g++) {
        group[g] = totals->group[g];
        size_t rank = group[g].rank, n = width * rank;
        double *between = nof1_arena_alloc(arena, n * n, sizeof *between);
        ENSURE(between != NULL, NOF1_E_NO_MEMORY);
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < n; j++) {
                size_t from = fit->use[i / rank] * rank + i % rank;
                size_t to = fit->use[j / rank] * rank + j % rank;
                between[i * n + j] = totals->group[g].between[from * all * rank + to];
            }
        }
        group[g].between = between;
    }
    out->group = group;
    out->residual = residual;
    return NOF1_OK;
}

static nof1_rc evaluate_final(struct mixed_fit *fit, const struct mixed_model *m,
                              const struct mixed_totals *totals, struct nof1_arena *arena)
{
    double *memory =
        nof1_arena_alloc(arena, nof1_gaussian_sums_size(&totals->shape), sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    double gamma[NOF1_TERMS_MAX];
    nof1_gaussian_square(gamma, fit->root, &m->shape);
    mixed_totals_sum(&fit->sums, memory, totals, gamma);
    TRY(nof1_gaussian_point(&fit->point, arena, &fit->sums, &totals->shape, gamma, m->reml, true));
    fit->beta = fit->point.beta;
    fit->sigma2 = fit->point.sigma2;
    fit->f = fit->point.f;
    mixed_finish(fit);
    return NOF1_OK;
}

nof1_rc_value mixed_refuse_large(const double *root, const struct mixed_model *m, double limit,
                                 struct nof1_error *error)
{
    for (size_t j = 0; j < m->terms; j++) {
        if (fabs(root[j]) > limit) {
            return nof1_fail(error, NOF1_E_MODEL,
                             "no variation within trials is left (or it is beyond the charter's "
                             "variance_ratio_box): the residual variance cannot be estimated");
        }
    }
    return NOF1_OK;
}

nof1_rc_value mixed_refuse_root(const double *root, const struct mixed_model *m, double limit,
                                struct nof1_error *error)
{
    size_t first = m->terms - m->shape.ratios;
    TRY(mixed_refuse_large(root, m, limit, error));
    for (size_t j = first; j < m->terms; j++) {
        if (fabs(root[j]) <= 1.001 * MIXED_RATIO_LEAST) { /* parameters are rounded */
            return nof1_fail(error, NOF1_E_MODEL,
                             "residual: by_treatment: outcomes on %s hardly vary within patients "
                             "beside those on %s; write residual: iid",
                             mixed_arm_name(m, j + 1 - first), mixed_arm_name(m, 0));
        }
    }
    return NOF1_OK;
}

static nof1_rc place_work(struct mixed_totals *totals, struct nof1_arena *arena)
{
    size_t most = 1;
    for (size_t g = 0; g < totals->groups; g++) {
        size_t here = nof1_gaussian_work_size(&totals->shape, totals->group[g].rank);
        most = here > most ? here : most;
    }
    totals->work = nof1_arena_alloc(arena, most, sizeof *totals->work);
    return totals->work == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

nof1_rc_value mixed_totals_fit(const struct mixed_model *m, const struct mixed_totals *given,
                               double trials, struct nof1_arena *arena, struct mixed_fit *fit,
                               struct nof1_error *error)
{
    struct nof1_gaussian_sums sums;
    double gamma[NOF1_TERMS_MAX];
    double *memory =
        nof1_arena_alloc(arena, 2 * nof1_gaussian_sums_size(&given->shape), sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    struct mixed_totals all = *given, *totals = &all;
    TRY(place_work(totals, arena));
    nof1_gaussian_square(gamma, m->start, &m->shape);
    mixed_totals_sum(&sums, memory, totals, gamma);
    TRY(mixed_reduce(fit, m, arena, &sums, &totals->shape, trials, error));
    TRY(mixed_refuse_structure(fit, m, gamma, arena, error));
    struct objective o = {.model = m, .memory = memory};
    TRY(reduce_totals(&o.totals, totals, fit, arena));
    nof1_rc_value rc = minimise_all(fit, &o, arena);
    nof1_arena_free(o.arena);
    if (rc == NOF1_E_MODEL) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "no residual variation is left: all outcomes are equal, or an exact "
                         "function of fixed terms and random effects (or the charter's centre is "
                         "so far away that no digit of the variation is left)");
    }
    TRY(rc);
    TRY(mixed_refuse_root(fit->root, m, 0.5 * m->root_limit, error));
    fit->converged = fit->decrement < 1e-14;
    struct mixed_totals *kept = nof1_arena_alloc(arena, 1, sizeof *kept);
    ENSURE(kept != NULL, NOF1_E_NO_MEMORY);
    *kept = o.totals;
    fit->totals = kept;
    TRY(evaluate_final(fit, m, &o.totals, arena));
    return fit->boundary > 0 ? evaluate_final(fit, m, &o.totals, arena) : NOF1_OK;
}

void mixed_finish(struct mixed_fit *fit)
{
    size_t snapped = nof1_gaussian_snap(fit->root, &fit->shape, 1e-4, fit->point.slope,
                                        &fit->derivative);
    fit->boundary = snapped;
    nof1_gaussian_square(fit->gamma, fit->root, &fit->shape);
    double rows = fit->point.rows, q = fit->sigma2 * fit->point.n;
    fit->deviance = fit->point.log_det + rows * (1 + log(6.283185307179586476925 * q / rows));
}
