/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One trial of `baseline_treatment` as rows in order of time. Never allocates; never looks beyond
 * one trial.
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
