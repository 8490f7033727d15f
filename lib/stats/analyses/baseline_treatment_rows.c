/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One trial of `baseline_treatment` as rows in order of time, and the map between the parameters that
 * are optimised and those of the covariance. Never allocates; never looks beyond one trial.
 */
#include <math.h>
#include <string.h>

#include "baseline_treatment.h"

double bt_column_value(enum bt_column column, double time, bool active, double start)
{
    switch (column) {
    case BT_INTERCEPT:
        return 1;
    case BT_TREND:
        return time;
    case BT_LEVEL:
        return active;
    default:
        return active ? time - start : 0;
    }
}

static size_t width_of(const struct bt_model *m)
{
    return m->columns + 1 + m->effects;
}

size_t bt_scratch(const struct bt_model *m)
{
    return (nof1_ar1_work(&m->shape) + nof1_gaussian_sums_size(&m->shape) + 16) * sizeof(double);
}

size_t bt_scratch_row(const struct bt_model *m)
{
    return (1 + width_of(m) + nof1_ar1_work_row(&m->shape)) * sizeof(double) +
           NOF1_SERIES_SCRATCH_ROW;
}

static double time_of(const struct bt_model *m, const struct nof1_trial *trial, size_t row)
{
    if (!m->by_period) {
        return trial->time[row];
    }
    return trial->period[row] > 0 ? (double)trial->period[row] : NAN;
}

/* The first time on treatment, whether or not the outcome was observed there. */
static double start_of(const struct bt_model *m, const struct nof1_trial *trial)
{
    double start = INFINITY;
    for (size_t i = 0; i < trial->rows; i++) {
        double time = time_of(m, trial, i);
        if (trial->treatment[i] == m->base.study->plan->active && time < start) {
            start = time;
        }
    }
    return start;
}

/* Rows come in order of period and time; with a missing period the order may be another. */
static void sort_rows(double *time, size_t *row, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        double t = time[i];
        size_t r = row[i], at = i;
        while (at > 0 && time[at - 1] > t) {
            time[at] = time[at - 1];
            row[at] = row[at - 1];
            at--;
        }
        time[at] = t;
        row[at] = r;
    }
}

/* Are times such that the model's correlation exists? */
static bool times_fit(const struct bt_model *m, const double *time, size_t n)
{
    for (size_t i = 0; m->residual != BT_IID && i + 1 < n; i++) {
        double gap = time[i + 1] - time[i];
        if (!(gap > 0) || (m->residual == BT_AR1 && gap != floor(gap))) {
            return false;
        }
    }
    return true;
}

bool bt_rows_of(struct bt_rows *out, const struct bt_model *m, const struct nof1_trial *trial,
                void *scratch)
{
    const struct nof1_plan *plan = m->base.study->plan;
    struct nof1_series s;
    size_t n, width = width_of(m);
    *out = (struct bt_rows){.time = scratch};
    nof1_series_of(&s, m->base.study, trial, out->time + trial->rows * (1 + width));
    n = out->rows = s.rows;
    out->column = out->time + n;
    out->baseline = s.n[0];
    if (s.n[0] == 0 || s.n[1] == 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        out->time[i] = time_of(m, trial, s.row[i]);
        if (isnan(out->time[i])) {
            return false;
        }
    }
    sort_rows(out->time, s.row, n);
    double start = start_of(m, trial);
    double centre = m->base.study->charter->outcome[plan->outcome].centre;
    for (size_t i = 0; i < n; i++) {
        bool active = trial->treatment[s.row[i]] == plan->active;
        if (active != (i >= out->baseline) || (!active && out->time[i] >= start)) {
            return false;
        }
        for (size_t c = 0; c < m->columns; c++) {
            out->column[c * n + i] = bt_column_value(m->column[c], out->time[i], active, start);
        }
        out->column[m->columns * n + i] = trial->outcome[plan->outcome][s.row[i]] - centre;
        for (size_t k = 0; k < m->effects; k++) {
            out->column[(m->columns + 1 + k) * n + i] =
                bt_column_value(m->effect[k], out->time[i], active, start);
        }
    }
    out->work = out->column + width * n; /* the series is no longer needed */
    return times_fit(m, out->time, n);
}

/* rho of its unconstrained parameter: ar1 in (-1, 1), car1 in (0, 1). */
static double rho_of(const struct bt_model *m, double x)
{
    return m->residual == BT_AR1 ? tanh(x) : 1 / (1 + exp(-x));
}

void bt_gamma(double *gamma, const struct bt_model *m, const double *x)
{
    struct nof1_gaussian_shape free_ = m->shape;
    free_.correlated = false;
    if (m->effects > 0) {
        nof1_gaussian_square(gamma, x, &free_);
    }
    if (m->shape.correlated) {
        gamma[m->terms - 1] = rho_of(m, x[m->terms - 1]);
    }
}

void bt_chain(double *gradient, double *hessian, const struct bt_model *m, const double *x,
              const double *slope, const double *curvature)
{
    struct nof1_gaussian_shape free_ = m->shape;
    free_.correlated = false;
    size_t n = m->terms, block = nof1_gaussian_terms(&free_);
    double inner[NOF1_TERMS_MAX * NOF1_TERMS_MAX], jacobian[NOF1_TERMS_MAX * NOF1_TERMS_MAX] = {0};
    if (block > 0) {
        nof1_gaussian_chain(gradient, inner, x, &free_, slope, curvature);
    }
    for (size_t i = 0; i < n * n; i++) {
        hessian[i] = 0;
    }
    for (size_t i = 0; i < block; i++) {
        memcpy(hessian + i * n, inner + i * block, block * sizeof *inner);
    }
    if (!m->shape.correlated) {
        return;
    }
    /* columns of dGamma/dx: the gradient is linear in slope */
    for (size_t j = 0; j < block; j++) {
        double unit[NOF1_TERMS_MAX] = {0}, none[NOF1_TERMS_MAX * NOF1_TERMS_MAX] = {0};
        unit[j] = 1;
        nof1_gaussian_chain(jacobian + j * NOF1_TERMS_MAX, inner, x, &free_, unit, none);
    }
    double rho = rho_of(m, x[block]);
    double first = m->residual == BT_AR1 ? 1 - rho * rho : rho * (1 - rho);
    double second = first * (m->residual == BT_AR1 ? -2 * rho : 1 - 2 * rho);
    gradient[block] = slope[block] * first;
    hessian[block * n + block] =
        curvature[block * NOF1_TERMS_MAX + block] * first * first + slope[block] * second;
    for (size_t i = 0; i < block; i++) {
        double sum = 0;
        for (size_t j = 0; j < block; j++) {
            sum += jacobian[j * NOF1_TERMS_MAX + i] * curvature[j * NOF1_TERMS_MAX + block];
        }
        hessian[i * n + block] = hessian[block * n + i] = sum * first;
    }
}
