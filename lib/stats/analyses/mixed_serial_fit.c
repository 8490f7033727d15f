/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From the totals of the one-round form with correlated residuals to the fit. For any two columns
 * the likelihood reads sum m'A n of all trials (A: mixed_serial.h) and, per pattern of periods, the
 * symmetric matrix of sum (f_k'm)(f_l'n); both are put together once from totals and public values.
 * With P = R^-1, D = dP/drho, P1 = sum phi_k f_k, D1 = sum delta_k f_k, g = 1'P1, d = 1'D1 and
 * K = Gamma / (1 + Gamma g), u = phi'f'm, v = delta'f'm of a column:
 *   m'H^-1 n               = m'P n - K u u'
 *   m'H^-1 11'H^-1 n       = u u' / (1 + Gamma g)^2
 *   m'H^-1 (dR/drho) H^-1 n = -(m'D n - K (u v' + v u') + K^2 d u u')
 */
#include <math.h>
#include <stats/matrix.h>
#include <string.h>

#include "mixed_serial.h"

struct serial_totals {
    const struct mixed_model *model;
    const struct mixed_serial *serial;
    const uint64_t *trials;     /* of each pattern */
    size_t width, q;            /* columns and outcome; most functionals */
    double *plain;              /* [width * width][matrices] sum m'A n */
    double *product;            /* [width * width][patterns][q * q] */
    double *f;                  /* [w][patterns][q] sum f_k'w */
    double *fixed;              /* [columns][patterns][q] f_k'c of a constant column */
    double *level;              /* [levels][patterns] */
    double *level_f;            /* [levels][w][patterns][q] */
    double *series;             /* [w][rows]: has the released functionals of sums */
    double *weight;             /* [2 * matrices] */
    double *memory, *work;      /* of the sums; of nof1_ar1_add */
    double *blank;              /* a response of zeros, and Z */
};

static double *plain_of(const struct serial_totals *t, size_t c, size_t d)
{
    return t->plain + (c * t->width + d) * t->serial->form.matrices;
}

static double *product_of(const struct serial_totals *t, size_t c, size_t d, size_t p)
{
    size_t patterns = t->serial->form.cells;
    return t->product + ((c * t->width + d) * patterns + p) * t->q * t->q;
}

static double *f_of(const struct serial_totals *t, size_t w, size_t p)
{
    return t->f + (w * t->serial->form.cells + p) * t->q;
}

static double *fixed_of(const struct serial_totals *t, size_t c, size_t p)
{
    return t->fixed + (c * t->serial->form.cells + p) * t->q;
}

static double *level_f_of(const struct serial_totals *t, size_t a, size_t w, size_t p)
{
    return t->level_f + ((a * (t->serial->varying + 1) + w) * t->serial->form.cells + p) * t->q;
}

static size_t column_of(const struct serial_totals *t, size_t w)
{
    return w < t->serial->varying ? t->serial->varying_column[w] : t->model->columns;
}

static nof1_rc totals_new(struct serial_totals *t, const struct mixed_model *m,
                          const struct nof1_history *history, struct nof1_arena *arena)
{
    const struct mixed_serial *s = m->serial;
    size_t width = m->columns + 1, patterns = s->form.cells, q = s->inner_most, most = 0;
    size_t vectors = s->varying + 1;
    *t = (struct serial_totals){m, s, history->counts.group_trials, width, q,
                                NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    for (size_t p = 0; p < patterns; p++) {
        most = s->form.cell[p].rows > most ? s->form.cell[p].rows : most;
    }
    struct nof1_gaussian_shape narrow = m->shape;
    narrow.columns = 1;
    const size_t size[] = {width * width * s->form.matrices,
                           width * width * patterns * q * q,
                           vectors * patterns * q,
                           m->columns * patterns * q,
                           s->levels * patterns + 1,
                           s->levels * vectors * patterns * q + 1,
                           vectors * s->form.rows,
                           2 * s->form.matrices,
                           2 * nof1_gaussian_sums_size(&m->shape),
                           nof1_ar1_work(&narrow) + most * nof1_ar1_work_row(&narrow),
                           2 * most};
    double **const to[] = {&t->plain,  &t->product, &t->f,      &t->fixed, &t->level, &t->level_f,
                           &t->series, &t->weight,  &t->memory, &t->work,  &t->blank};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        *to[i] = nof1_arena_alloc(arena, size[i], sizeof **to[i]);
        ENSURE(*to[i] != NULL, NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* One total to its place; those about what is known are completed afterwards. */
static void read_item(struct serial_totals *t, const struct serial_item *item, double total,
                      double *outer)
{
    const struct mixed_serial *s = t->serial;
    size_t p = (size_t)item->group, q = t->q;
    double *place;
    switch (item->sum) {
    case SERIAL_SUM_LEVEL:
        t->level[item->a * s->form.cells + p] = total;
        return;
    case SERIAL_SUM_LEVELS: /* times (f_k'1)(f_l'1), later */
        product_of(t, s->level_column[item->a], s->level_column[item->b], p)[0] = total;
        return;
    case SERIAL_SUM_F:
        f_of(t, item->a, p)[item->k] = total;
        return;
    case SERIAL_SUM_LEVEL_F:
        level_f_of(t, item->b, item->a, p)[item->k] = total;
        return;
    case SERIAL_SUM_PRODUCT:
        place = product_of(t, column_of(t, item->a), column_of(t, item->b), p);
        place[item->k * q + item->l] = place[item->l * q + item->k] =
            item->k == item->l ? total : total / 2;
        return;
    case SERIAL_SUM_OUTER:
        outer[item->a * (s->outer + 1) + item->k] = total;
        return;
    default: /* the kept matrices stand first until all are made of them */
        plain_of(t, column_of(t, item->a), column_of(t, item->b))[item->k] = total;
    }
}

/* Add the constants that were taken off the functionals of varying columns. */
static void complete_known(struct serial_totals *t, size_t p)
{
    const struct mixed_model *m = t->model;
    const struct mixed_serial *s = t->serial;
    double n = (double)t->trials[p];
    for (size_t w = 0; w <= s->varying; w++) {
        double known = mixed_serial_known(m, p, w, 0);
        for (size_t v = 0; v <= w; v++) {
            double *to = product_of(t, column_of(t, v), column_of(t, w), p);
            double other = mixed_serial_known(m, p, v, 0);
            for (size_t k = 0; k < t->q; k++) { /* only f_1 is ever known */
                double half = (k == 0 ? 1 : 0.5);
                double cross = half * (known * f_of(t, v, p)[k] + other * f_of(t, w, p)[k]);
                to[k] += cross;
                to[k * t->q] += k == 0 ? 0 : cross;
            }
            to[0] += n * known * other;
        }
    }
    for (size_t w = 0; w < s->varying; w++) {
        double known = mixed_serial_known(m, p, w, 0);
        f_of(t, w, p)[0] += n * known;
        for (size_t a = 0; a < s->levels; a++) {
            level_f_of(t, a, w, p)[0] += known * t->level[a * s->form.cells + p];
        }
    }
}

/* Every matrix from those kept. */
static void complete_squares(struct serial_totals *t)
{
    const struct nof1_ar1_form *form = &t->serial->form;
    for (size_t w = 0; w <= t->serial->varying; w++) {
        for (size_t v = 0; v <= w; v++) {
            double *to = plain_of(t, column_of(t, v), column_of(t, w));
            for (size_t a = 0; a < form->matrices; a++) {
                t->weight[a] = nof1_dot(form->square_of + a * form->squares, to, form->squares);
            }
            memcpy(to, t->weight, form->matrices * sizeof *to);
        }
    }
}

/* Series whose inner products with the released functionals are the sums of a vector. */
static nof1_rc make_series(struct serial_totals *t, const double *outer, struct nof1_arena *arena)
{
    const struct mixed_serial *s = t->serial;
    size_t size = s->form.rows, count = s->outer;
    for (size_t p = 0; p < s->form.cells; p++) {
        count += s->pattern[p].inner;
    }
    double *raw = nof1_arena_alloc(arena, count * size + count + 1, sizeof *raw);
    ENSURE(raw != NULL, NOF1_E_NO_MEMORY);
    double *sum = raw + count * size;
    for (size_t w = 0; w <= s->varying; w++) {
        size_t at = 0;
        for (size_t p = 0; p < s->form.cells && t->model->effects > 0; p++) {
            const struct nof1_occasions *cell = &s->form.cell[p];
            for (size_t k = 0; k < s->pattern[p].inner; k++, at++) {
                memcpy(raw + at * size + cell->offset, s->pattern[p].functional + k * cell->rows,
                       cell->rows * sizeof *raw);
                sum[at] = f_of(t, w, p)[k];
            }
        }
        for (size_t k = 0; k < s->outer; k++, at++) {
            memcpy(raw + at * size, s->functional + k * size, size * sizeof *raw);
            sum[at] = outer[w * (s->outer + 1) + k];
        }
        TRY(nof1_span_shortest(t->series + w * size, raw, sum, at, size, arena));
    }
    return NOF1_OK;
}

/* ---- pairs of columns ---------------------------------------------------------------------- */

/* The symmetric product of f'c, of a constant column or of the intercept, and the sum of f'd. */
static void outer_product(double *to, const double *left, const double *right, double factor,
                          size_t q)
{
    for (size_t k = 0; k < q; k++) {
        for (size_t l = 0; l < q; l++) {
            to[k * q + l] = 0.5 * factor * (left[k] * right[l] + left[l] * right[k]);
        }
    }
}

static size_t index_of(const size_t *list, size_t column)
{
    size_t i = 0;
    while (list[i] != column) {
        i++;
    }
    return i;
}

/* A constant column with any other, plain: c'A applied to what stands for the other's sum. */
static void constant_plain(struct serial_totals *t, size_t c, size_t d)
{
    const struct mixed_serial *s = t->serial;
    const struct nof1_ar1_form *form = &s->form;
    enum serial_kind kind = d == t->model->columns ? SERIAL_VARYING : s->kind[d];
    for (size_t p = 0; p < form->cells; p++) {
        const struct nof1_occasions *cell = &form->cell[p];
        const double *with = s->constant + d * form->rows + cell->offset;
        double factor = (double)t->trials[p];
        if (kind == SERIAL_VARYING) {
            size_t w = d == t->model->columns ? s->varying : index_of(s->varying_column, d);
            with = t->series + w * form->rows + cell->offset;
            factor = 1;
        } else if (kind == SERIAL_LEVEL) { /* the intercept's values, times the level */
            with = s->constant + cell->offset;
            factor = t->level[index_of(s->level_column, d) * form->cells + p];
        }
        for (size_t a = 0; a < form->matrices; a++) {
            nof1_ar1_apply(t->blank, form, cell, a, s->constant + c * form->rows + cell->offset);
            plain_of(t, c, d)[a] += factor * nof1_dot(t->blank, with, cell->rows);
        }
    }
}

static void constant_product(struct serial_totals *t, size_t c, size_t d, size_t p)
{
    const struct mixed_serial *s = t->serial;
    enum serial_kind kind = d == t->model->columns ? SERIAL_VARYING : s->kind[d];
    const double *right = fixed_of(t, d < t->model->columns ? d : 0, p);
    double factor = (double)t->trials[p];
    if (kind == SERIAL_VARYING) {
        right = f_of(t, d == t->model->columns ? s->varying : index_of(s->varying_column, d), p);
        factor = 1;
    } else if (kind == SERIAL_LEVEL) {
        right = fixed_of(t, 0, p); /* of the intercept */
        factor = t->level[index_of(s->level_column, d) * s->form.cells + p];
    }
    outer_product(product_of(t, c, d, p), fixed_of(t, c, p), right, factor, t->q);
}

/* A column of the trial's level with another of those or a vector. v 1'A n = v n'(A 1), A 1 being a
 * combination of the functionals. */
static void level_pair(struct serial_totals *t, size_t c, size_t d, size_t p)
{
    const struct mixed_serial *s = t->serial;
    const struct nof1_ar1_form *form = &s->form;
    size_t a = index_of(s->level_column, c), inner = s->pattern[p].inner;
    const double *one = fixed_of(t, 0, p), *right = one;
    double *to = product_of(t, c, d, p), factor = 1;
    if (d < t->model->columns && s->kind[d] == SERIAL_LEVEL) {
        factor = to[0];
    } else {
        size_t w = d == t->model->columns ? s->varying : index_of(s->varying_column, d);
        right = level_f_of(t, a, w, p);
    }
    outer_product(to, one, right, factor, t->q);
    plain_of(t, c, d)[0] += factor * right[0];
    for (size_t g = 0; g < form->gaps; g++) {
        double sum = factor * nof1_dot(s->pattern[p].neighbours + g * inner, right, inner);
        plain_of(t, c, d)[1 + 2 * g] += sum;
        plain_of(t, c, d)[2 + 2 * g] += sum;
    }
}

static void mirror(struct serial_totals *t, size_t from_c, size_t from_d)
{
    const struct mixed_serial *s = t->serial;
    memcpy(plain_of(t, from_d, from_c), plain_of(t, from_c, from_d),
           s->form.matrices * sizeof *t->plain);
    memcpy(product_of(t, from_d, from_c, 0), product_of(t, from_c, from_d, 0),
           s->form.cells * t->q * t->q * sizeof *t->product);
}

static void make_pairs(struct serial_totals *t)
{
    const struct mixed_serial *s = t->serial;
    size_t y = t->model->columns;
    for (size_t c = 0; c < t->width; c++) {
        for (size_t d = 0; d < t->width; d++) {
            enum serial_kind own = c == y ? SERIAL_VARYING : s->kind[c];
            enum serial_kind other = d == y ? SERIAL_VARYING : s->kind[d];
            bool constant = own == SERIAL_CONSTANT && (other != SERIAL_CONSTANT || d <= c);
            bool level = own == SERIAL_LEVEL &&
                         (other == SERIAL_VARYING || (other == SERIAL_LEVEL && d <= c));
            bool vectors = own == SERIAL_VARYING && other == SERIAL_VARYING && c <= d;
            if (constant) {
                constant_plain(t, c, d);
            }
            for (size_t p = 0; p < s->form.cells && constant; p++) {
                constant_product(t, c, d, p);
            }
            for (size_t p = 0; p < s->form.cells && level; p++) {
                level_pair(t, c, d, p);
            }
            if ((constant || level || vectors) && c != d) {
                mirror(t, c, d);
            }
        }
    }
}

/* Take `shift` times the intercept off the outcome: far outcomes would cost digits later. */
static void shift_all(struct serial_totals *t, double shift)
{
    size_t y = t->model->columns, matrices = t->serial->form.matrices;
    size_t size = t->serial->form.cells * t->q * t->q;
    for (size_t i = 0; i < matrices + size; i++) {
        bool first = i < matrices;
        size_t at = first ? i : i - matrices;
        double *yy = (first ? plain_of(t, y, y) : product_of(t, y, y, 0)) + at;
        double one = (first ? plain_of(t, 0, 0) : product_of(t, 0, 0, 0))[at];
        double with = (first ? plain_of(t, 0, y) : product_of(t, 0, y, 0))[at];
        *yy += shift * (shift * one - 2 * with);
        for (size_t c = 0; c < y; c++) {
            double off = shift * (first ? plain_of(t, 0, c) : product_of(t, 0, c, 0))[at];
            (first ? plain_of(t, c, y) : product_of(t, c, y, 0))[at] -= off;
            (first ? plain_of(t, y, c) : product_of(t, y, c, 0))[at] -= off;
        }
    }
}

static nof1_rc read_totals(struct serial_totals *t, double *shift, const double *total,
                           struct nof1_arena *arena)
{
    const struct mixed_serial *s = t->serial;
    double *outer = nof1_arena_alloc(arena, (s->varying + 1) * (s->outer + 1), sizeof *outer);
    ENSURE(outer != NULL, NOF1_E_NO_MEMORY);
    for (size_t e = 0; e < s->items; e++) {
        read_item(t, &s->item[e], total[e], outer);
    }
    for (size_t p = 0; p < s->form.cells && t->model->effects > 0; p++) {
        complete_known(t, p);
    }
    complete_squares(t);
    for (size_t c = 0; c < t->model->columns; c++) {
        for (size_t p = 0; p < s->form.cells && s->kind[c] == SERIAL_CONSTANT; p++) {
            const struct nof1_occasions *cell = &s->form.cell[p];
            for (size_t k = 0; k < s->pattern[p].inner; k++) {
                fixed_of(t, c, p)[k] = nof1_dot(s->pattern[p].functional + k * cell->rows,
                                           s->constant + c * s->form.rows + cell->offset,
                                           cell->rows);
            }
        }
    }
    TRY(make_series(t, outer, arena));
    make_pairs(t);
    size_t y = t->model->columns;
    *shift = plain_of(t, 0, y)[0] / plain_of(t, 0, 0)[0];
    shift_all(t, *shift);
    return NOF1_OK;
}

/* ---- the sums at gamma --------------------------------------------------------------------- */

/* What the design alone determines, of one pattern: |H|, traces, rows. */
static bool add_design(struct nof1_gaussian_sums *out, const struct serial_totals *t,
                       const double *gamma, size_t p)
{
    const struct nof1_occasions *cell = &t->serial->form.cell[p];
    struct nof1_gaussian_shape shape = t->model->shape;
    struct nof1_gaussian_sums one;
    double n = (double)t->trials[p];
    size_t terms = t->model->terms;
    shape.columns = 1;
    for (size_t i = 0; i < cell->rows; i++) {
        t->blank[i] = 0;
        t->blank[cell->rows + i] = 1;
    }
    nof1_gaussian_sums_place(&one, &shape, t->memory + nof1_gaussian_sums_size(&t->model->shape));
    struct nof1_ar1_trial trial = {cell->rows, cell->time, t->blank};
    if (!nof1_ar1_add(&one, &shape, gamma, &trial, 1, t->work)) {
        return false;
    }
    out->rows += n * one.rows;
    out->within += n * one.within;
    out->log_det += n * one.log_det;
    for (size_t j = 0; j < terms; j++) {
        out->trace[j] += n * one.trace[j];
        for (size_t k = 0; k < terms; k++) {
            out->trace2[j * NOF1_TERMS_MAX + k] += n * one.trace2[j * NOF1_TERMS_MAX + k];
        }
    }
    return true;
}

/* x'T y, symmetric T with stride q. */
static double form_of(const double *x, const double *matrix, const double *y, size_t n, size_t q)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++) {
        sum += x[k] * nof1_dot(matrix + k * q, y, n);
    }
    return sum;
}

/* The part that the trial's random level changes. */
static bool add_level(struct nof1_gaussian_sums *out, const struct serial_totals *t, double gamma,
                      size_t p)
{
    const struct mixed_serial *s = t->serial;
    const struct serial_pattern *own = &s->pattern[p];
    double phi[SERIAL_INNER_MOST] = {1}, delta[SERIAL_INNER_MOST] = {0};
    const double *slope = t->weight + s->form.matrices, *one = fixed_of(t, 0, p);
    for (size_t g = 0; g < s->form.gaps; g++) {
        for (size_t k = 0; k < own->inner; k++) {
            double map = own->neighbours[g * own->inner + k];
            phi[k] += map * (t->weight[1 + 2 * g] + t->weight[2 + 2 * g]);
            delta[k] += map * (slope[1 + 2 * g] + slope[2 + 2 * g]);
        }
    }
    double g = nof1_dot(phi, one, own->inner), d = nof1_dot(delta, one, own->inner);
    double kappa = 1 / (1 + gamma * g), k = gamma * kappa;
    for (size_t i = 0; i < t->width * t->width; i++) {
        const double *matrix = product_of(t, i / t->width, i % t->width, p);
        double uu = form_of(phi, matrix, phi, own->inner, t->q);
        double uv = form_of(phi, matrix, delta, own->inner, t->q);
        out->cross[i] -= k * uu;
        out->first[0][i] += kappa * kappa * uu;
        out->first[1][i] += 2 * k * uv - k * k * d * uu;
    }
    return 1 + gamma * g > 0;
}

static bool sums_at(void *context, struct nof1_gaussian_sums *out, const double *gamma)
{
    const struct serial_totals *t = context;
    const struct mixed_model *m = t->model;
    const struct nof1_ar1_form *form = &t->serial->form;
    size_t rho = m->terms - 1;
    const double *slope = t->weight + form->matrices;
    nof1_gaussian_sums_place(out, &m->shape, t->memory);
    if (!nof1_ar1_weights(t->weight, t->weight + form->matrices, form, gamma[rho])) {
        return false;
    }
    for (size_t i = 0; i < t->width * t->width; i++) {
        const double *plain = t->plain + i * form->matrices;
        out->cross[i] = nof1_dot(plain, t->weight, form->matrices);
        out->first[rho][i] = -nof1_dot(plain, slope, form->matrices);
    }
    for (size_t p = 0; p < form->cells; p++) {
        if (!add_design(out, t, gamma, p) ||
            (m->effects > 0 && !add_level(out, t, gamma[0], p))) {
            return false;
        }
    }
    return true;
}

/* ---- the fit ------------------------------------------------------------------------------- */

struct reduced {
    struct serial_totals *totals;
    const struct mixed_fit *fit;
    double *memory;
};

/* The sums of the used columns, column by column of the whole. */
static bool reduced_at(void *context, struct nof1_gaussian_sums *out, const double *gamma)
{
    const struct reduced *r = context;
    const struct mixed_model *m = r->totals->model;
    struct nof1_gaussian_sums all;
    size_t width = r->fit->used + 1;
    if (!sums_at(r->totals, &all, gamma)) {
        return false;
    }
    nof1_gaussian_sums_place(out, &r->fit->shape, r->memory);
    out->rows = all.rows;
    out->within = all.within;
    out->log_det = all.log_det;
    memcpy(out->trace, all.trace, sizeof out->trace);
    memcpy(out->trace2, all.trace2, sizeof out->trace2);
    for (size_t i = 0; i < width * width; i++) {
        size_t from = r->fit->use[i / width] * m->shape.columns + r->fit->use[i % width];
        out->cross[i] = all.cross[from];
        for (size_t j = 0; j < m->terms; j++) {
            out->first[j][i] = all.first[j][from];
        }
    }
    return true;
}

static nof1_rc evaluate_final(struct mixed_fit *fit, struct reduced *r, struct nof1_arena *arena)
{
    const struct mixed_model *m = r->totals->model;
    double gamma[NOF1_TERMS_MAX] = {0};
    nof1_gaussian_square(gamma, fit->root, &m->shape);
    ENSURE(reduced_at(r, &fit->sums, gamma), NOF1_E_MODEL);
    TRY(nof1_gaussian_point(&fit->point, arena, &fit->sums, &fit->shape, gamma, m->reml, true));
    fit->beta = fit->point.beta;
    fit->sigma2 = fit->point.sigma2;
    fit->f = fit->point.f;
    mixed_finish(fit);
    return NOF1_OK;
}

nof1_rc_value mixed_serial_fit(const struct mixed_model *m, const struct nof1_history *history,
                               struct nof1_arena *arena, struct mixed_fit *fit,
                               struct nof1_error *error)
{
    struct serial_totals totals;
    struct nof1_gaussian_sums sums;
    double gamma[NOF1_TERMS_MAX] = {0};
    if (history->counts.trials == 0) {
        return nof1_fail(error, NOF1_E_MODEL, "no trial belongs to a class");
    }
    TRY(totals_new(&totals, m, history, arena));
    TRY(read_totals(&totals, &fit->shift, history->round[0].total, arena));
    nof1_gaussian_square(gamma, m->start, &m->shape);
    ENSURE(sums_at(&totals, &sums, gamma), NOF1_E_MODEL);
    TRY(mixed_reduce(fit, m, arena, &sums, &m->shape, (double)history->counts.trials, error));
    TRY(mixed_refuse_structure(fit, m, gamma, arena, error));
    struct reduced r = {&totals, fit, nof1_arena_alloc(arena, nof1_gaussian_sums_size(&m->shape),
                                                       sizeof *r.memory)};
    ENSURE(r.memory != NULL, NOF1_E_NO_MEMORY);
    struct nof1_ar1_problem problem = {&fit->shape, m->reml, m->start, m->root_limit, &r,
                                       reduced_at};
    nof1_rc_value rc = nof1_ar1_minimise(fit->root, &fit->f, &fit->decrement, &problem, arena);
    if (rc == NOF1_E_MODEL) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "no residual variation is left: all outcomes are equal, or an exact "
                         "function of the fixed terms (or the charter's centre is so far from "
                         "them that no digit of the variation is left)");
    }
    TRY(rc);
    fit->converged = fit->decrement < 1e-13;
    TRY(evaluate_final(fit, &r, arena));
    if (fit->boundary > 0) {
        TRY(evaluate_final(fit, &r, arena));
    }
    double rho = fit->gamma[m->terms - 1];
    fit->edge = fabs(rho) > 1 - 1e-6 || (m->shape.positive && rho < 1e-6);
    fit->converged = fit->converged || (fit->edge && fit->decrement < 1e-8);
    return NOF1_OK;
}
