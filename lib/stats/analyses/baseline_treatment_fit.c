/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From the totals of the class form to the fit. Series that have the released sums stand for the
 * data: per class one series for the sums (those functionals determine X'H^-1 y) and as many as a
 * class has functionals for the products; what depends on y'P y alone comes from the released
 * squares. All derivatives are then those of ar1.h.
 */
#include <math.h>
#include <stats/matrix.h>
#include <string.h>

#include "baseline_treatment.h"

/* ---- what cannot be fitted ------------------------------------------------------------------ */

nof1_rc_value bt_refuse(const struct bt_model *m, const struct nof1_gaussian_sums *sums,
                        double trials, struct nof1_error *error)
{
    size_t p = m->columns, width = p + 1;
    double c[BT_COLUMNS * BT_COLUMNS], work[BT_COLUMNS * BT_COLUMNS];
    if (trials < 1) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "no trial has a baseline phase followed by a treatment phase with times "
                         "that the model can use; check the times, or write by: period");
    }
    if (m->effects > 0 && trials < 2) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "one trial: write random: {trial: []}; variation between trials cannot be "
                         "estimated");
    }
    for (size_t i = 0; i < p * p; i++) {
        c[i] = sums->cross[(i / p) * width + i % p];
    }
    size_t aliased = nof1_first_aliased(c, p, 1e-10, work);
    if (aliased < p) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "%s cannot be told from the columns before it: a phase has too few "
                         "different times; write %s",
                         bt_column_name[m->column[aliased]],
                         m->column[aliased] == BT_SLOPE   ? "change: [level]"
                         : m->column[aliased] == BT_LEVEL ? "change: [slope]"
                                                          : "fixed: []");
    }
    double spare = sums->rows - (double)p;
    if (spare <= (double)m->terms) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "%.0f observations are too few for %zu fixed effects and %zu variance "
                         "parameters; write fewer changes or random effects",
                         sums->rows, p, m->terms + 1);
    }
    return NOF1_OK;
}

/* ---- series that have the released sums ------------------------------------------------------ */

struct stand_in {
    const struct bt_model *model;
    const struct nof1_history *history;
    double *sum;     /* [all_rows] */
    double **series; /* [cell] inner * rows */
    double *square;  /* [matrices] y'A y for every matrix */
    double *weight;  /* [2 * matrices] of P and dP/drho */
    double *column;  /* a copy of a cell's columns, with y */
    double *work, *memory;
    struct nof1_arena *arena;
};

/* Series with the class' products: an eigenvector of the product matrix each. */
static nof1_rc series_of(double *out, const struct bt_cell *cell, const double *product,
                         struct nof1_arena *arena)
{
    size_t q = cell->inner;
    double *matrix = nof1_arena_alloc(arena, 2 * q * q + 2 * q + 1, sizeof *matrix);
    ENSURE(matrix != NULL, NOF1_E_NO_MEMORY);
    double *vector = matrix + q * q, *value = vector + q * q, *t = value + q;
    for (size_t i = 0; i < q; i++) {
        for (size_t j = 0; j <= i; j++) {
            matrix[i * q + j] = matrix[j * q + i] = *product++;
        }
    }
    nof1_symmetric_eigen(matrix, value, vector, q);
    for (size_t k = 0; k < q; k++) {
        for (size_t i = 0; i < q; i++) {
            t[i] = vector[i * q + k] * sqrt(fmax(0, value[k]));
        }
        TRY(nof1_span_shortest(out + k * cell->rows, cell->functional, t, q, cell->rows, arena));
    }
    return NOF1_OK;
}

static nof1_rc stand_in_new(struct stand_in *s, const struct bt_model *m,
                            const struct nof1_history *history, struct nof1_arena *arena)
{
    const double *total = history->round[0].total;
    size_t size = m->all_rows, count = m->outer, at = 0, most = 0;
    size_t width = m->columns + 1 + m->effects;
    *s = (struct stand_in){.model = m, .history = history, .arena = arena};
    for (size_t c = 0; c < m->cells; c++) {
        count += m->cell[c].inner;
        most = m->cell[c].rows > most ? m->cell[c].rows : most;
    }
    double *raw = nof1_arena_alloc(arena, count * size + count + size, sizeof *raw);
    s->series = nof1_arena_alloc(arena, m->cells, sizeof *s->series);
    s->square = nof1_arena_alloc(arena, m->form.matrices, sizeof *s->square);
    s->weight = nof1_arena_alloc(arena, 2 * m->form.matrices, sizeof *s->weight);
    s->column = nof1_arena_alloc(arena, width * most, sizeof *s->column);
    s->work = nof1_arena_alloc(
        arena, nof1_ar1_work(&m->shape) + most * nof1_ar1_work_row(&m->shape), sizeof *s->work);
    s->memory = nof1_arena_alloc(arena, 2 * nof1_gaussian_sums_size(&m->shape), sizeof *s->memory);
    ENSURE(raw != NULL && s->series != NULL && s->square != NULL && s->weight != NULL &&
               s->column != NULL && s->work != NULL && s->memory != NULL,
           NOF1_E_NO_MEMORY);
    double *t = raw + count * size;
    s->sum = t + count;
    for (size_t c = 0; c < m->cells; c++) {
        const struct bt_cell *cell = &m->cell[c];
        s->series[c] = nof1_arena_alloc(arena, cell->inner * cell->rows + 1, sizeof *s->sum);
        ENSURE(s->series[c] != NULL, NOF1_E_NO_MEMORY);
        for (size_t k = 0; k < cell->inner; k++, at++) {
            memcpy(raw + at * size + cell->offset, cell->functional + k * cell->rows,
                   cell->rows * sizeof *raw);
            t[at] = *total++;
        }
        if (cell->owner == c) {
            TRY(series_of(s->series[c], cell, total, arena));
            total += cell->inner * (cell->inner + 1) / 2;
        }
    }
    for (size_t k = 0; k < m->outer; k++, at++) {
        memcpy(raw + at * size, m->functional + k * size, size * sizeof *raw);
        t[at] = *total++;
    }
    TRY(nof1_span_shortest(s->sum, raw, t, count, size, arena));
    for (size_t a = 0; a < m->form.matrices; a++) {
        for (size_t k = 0; k < m->form.squares; k++) {
            s->square[a] += m->form.square_of[a * m->form.squares + k] * total[k];
        }
    }
    return NOF1_OK;
}

/* ---- the sums at gamma ---------------------------------------------------------------------- */

/* Sums of one series with the columns of a cell. */
static bool one_series(struct nof1_gaussian_sums *out, const struct stand_in *s,
                       const struct nof1_gaussian_shape *shape, const struct bt_cell *cell,
                       const double *y, const double *gamma)
{
    size_t n = cell->rows, p = s->model->columns, width = p + 1 + s->model->effects;
    double *memory = s->memory + nof1_gaussian_sums_size(&s->model->shape);
    memcpy(s->column, cell->column, n * width * sizeof *y);
    if (y != NULL) {
        memcpy(s->column + p * n, y, n * sizeof *y);
    }
    nof1_gaussian_sums_place(out, shape, memory);
    struct nof1_ar1_trial trial = {n, cell->time, s->column};
    return nof1_ar1_add(out, shape, gamma, &trial, 1, s->work);
}

/* Add factor times part of a matrix: the columns' block, their products with y, or y with y. */
enum part { DESIGN, LINEAR, SQUARE };
static void add_part(double *to, const double *from, size_t p, enum part part, double factor)
{
    for (size_t i = 0; i <= p; i++) {
        for (size_t j = 0; j <= p; j++) {
            enum part own = i == p && j == p ? SQUARE : i == p || j == p ? LINEAR : DESIGN;
            if (own == part) {
                to[i * (p + 1) + j] += factor * from[i * (p + 1) + j];
            }
        }
    }
}

static void add_sums(struct nof1_gaussian_sums *to, const struct nof1_gaussian_sums *from,
                     const struct bt_model *m, enum part part, double factor)
{
    size_t p = m->columns;
    add_part(to->cross, from->cross, p, part, factor);
    to->rows += part == DESIGN ? factor * from->rows : 0;
    to->log_det += part == DESIGN ? factor * from->log_det : 0;
    for (size_t j = 0; j < m->terms; j++) {
        add_part(to->first[j], from->first[j], p, part, factor);
        to->trace[j] += part == DESIGN ? factor * from->trace[j] : 0;
        for (size_t k = 0; k < m->terms; k++) {
            size_t jk = j * NOF1_TERMS_MAX + k;
            to->trace2[jk] += part == DESIGN ? factor * from->trace2[jk] : 0;
            if (k <= j) {
                add_part(to->second[jk], from->second[jk], p, part, factor);
            }
        }
    }
}

/* y'P y and y'(dP/drho) y from the released squares. */
static bool plain_squares(double *value, double *slope, const struct stand_in *s, double rho)
{
    const struct nof1_ar1_form *form = &s->model->form;
    double *d = s->weight + form->matrices;
    if (!nof1_ar1_weights(s->weight, d, form, rho)) {
        return false;
    }
    *value = *slope = 0;
    for (size_t a = 0; a < form->matrices; a++) {
        *value += s->weight[a] * s->square[a];
        *slope += d[a] * s->square[a];
    }
    return true;
}

static bool sums_at(void *context, struct nof1_gaussian_sums *out, const double *gamma)
{
    const struct stand_in *s = context;
    const struct bt_model *m = s->model;
    size_t p = m->columns, last = (p + 1) * (p + 1) - 1, rho = m->terms - 1;
    struct nof1_gaussian_shape plain = {.columns = p + 1, .correlated = m->shape.correlated};
    struct nof1_gaussian_sums one;
    nof1_gaussian_sums_place(out, &m->shape, s->memory);
    double value, slope;
    if (!plain_squares(&value, &slope, s, m->shape.correlated ? gamma[rho] : 0)) {
        return false;
    }
    out->cross[last] = value;
    if (m->shape.correlated) {
        out->first[rho][last] = -slope;
    }
    for (size_t c = 0; c < m->cells; c++) {
        const struct bt_cell *cell = &m->cell[c];
        if (!one_series(&one, s, &m->shape, cell, s->sum + cell->offset, gamma)) {
            return false;
        }
        add_sums(out, &one, m, DESIGN, (double)s->history->counts.group_trials[c]);
        add_sums(out, &one, m, LINEAR, 1);
        for (size_t k = 0; k < cell->inner && cell->owner == c; k++) {
            const double *y = s->series[c] + k * cell->rows;
            if (!one_series(&one, s, &m->shape, cell, y, gamma)) {
                return false;
            }
            add_sums(out, &one, m, SQUARE, 1);
            /* less the part that the squares already hold */
            if (!one_series(&one, s, &plain, cell, y, m->shape.correlated ? &gamma[rho] : NULL)) {
                return false;
            }
            out->cross[last] -= one.cross[last];
            if (m->shape.correlated) {
                out->first[rho][last] -= one.first[0][last];
            }
        }
    }
    return true;
}

/* ---- the fit -------------------------------------------------------------------------------- */

nof1_rc_value bt_class_fit(const struct bt_model *m, const struct nof1_history *history,
                           struct nof1_arena *arena, struct bt_fit *fit, struct nof1_error *error)
{
    struct stand_in s;
    struct nof1_ar1_problem problem = {&m->shape, m->reml, m->start, m->root_limit, &s, sums_at};
    double gamma[NOF1_TERMS_MAX] = {0};
    TRY(stand_in_new(&s, m, history, arena));
    nof1_gaussian_square(gamma, m->start, &m->shape);
    ENSURE(sums_at(&s, &fit->sums, gamma), NOF1_E_MODEL);
    TRY(bt_refuse(m, &fit->sums, (double)history->counts.trials, error));
    nof1_rc_value rc = nof1_ar1_minimise(fit->x, &fit->f, &fit->decrement, &problem, arena);
    if (rc == NOF1_E_MODEL) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "no residual variation is left: all outcomes are equal, or an exact "
                         "function of fixed terms and random effects (or the charter's centre is "
                         "so far away that no digit of the variation is left)");
    }
    TRY(rc);
    fit->converged = fit->decrement < 1e-13;
    bt_settle(fit, m);
    fit->converged = fit->converged || (fit->edge && fit->decrement < 1e-8);
    nof1_gaussian_square(gamma, fit->x, &m->shape);
    ENSURE(sums_at(&s, &fit->sums, gamma), NOF1_E_MODEL);
    TRY(nof1_gaussian_point(&fit->point, arena, &fit->sums, &m->shape, gamma, m->reml, true));
    memcpy(fit->beta, fit->point.beta, m->columns * sizeof *fit->beta);
    memcpy(fit->gamma, fit->point.gamma, sizeof fit->gamma);
    fit->sigma2 = fit->point.sigma2;
    fit->f = fit->point.f;
    return NOF1_OK;
}

void bt_settle(struct bt_fit *fit, const struct bt_model *m)
{
    static const double none[NOF1_TERMS_MAX] = {0};
    double unused;
    fit->boundary = nof1_gaussian_snap(fit->x, &m->shape, 1e-4, none, &unused);
    nof1_gaussian_square(fit->gamma, fit->x, &m->shape);
    if (m->shape.correlated) {
        double rho = fit->gamma[m->terms - 1];
        fit->edge = fabs(rho) > 1 - 1e-6 || (m->residual == BT_CAR1 && rho < 1e-6);
    }
}
