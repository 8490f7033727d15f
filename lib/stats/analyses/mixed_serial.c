/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The mixed model with serially correlated residuals (nlme's corAR1 and corCAR1): one trial's sums
 * in order of time, by lib/stats/ar1.h. Allocates nothing; never looks beyond one trial.
 */
#include <math.h>
#include <string.h>

#include "mixed.h"

static size_t width_of(const struct mixed_model *m)
{
    return m->columns + 1 + m->effects;
}

size_t mixed_serial_size(const struct mixed_model *m)
{
    return m->shape.correlated ? nof1_ar1_work(&m->shape) : 0;
}

size_t mixed_serial_row(const struct mixed_model *m)
{
    return m->shape.correlated ? 2 + width_of(m) + nof1_ar1_work_row(&m->shape) : 0;
}

double mixed_serial_time(const struct mixed_model *m, const struct nof1_series *s, size_t row)
{
    if (!m->by_period) {
        return s->time[row];
    }
    return s->period[row] > 0 ? (double)s->period[row] : NAN;
}

/* Rows by time: order[i] is the i-th. */
static void sort_rows(size_t *order, double *time, const struct mixed_model *m,
                      const struct nof1_series *s)
{
    for (size_t i = 0; i < s->rows; i++) {
        double t = mixed_serial_time(m, s, i);
        size_t at = i;
        while (at > 0 && time[at - 1] > t) {
            time[at] = time[at - 1];
            order[at] = order[at - 1];
            at--;
        }
        time[at] = t;
        order[at] = i;
    }
}

bool mixed_serial_fits(const struct mixed_model *m, const struct nof1_series *s, double *memory)
{
    size_t *order = (size_t *)(void *)(memory + s->rows);
    sort_rows(order, memory, m, s);
    for (size_t i = 0; i + 1 < s->rows; i++) {
        double gap = memory[i + 1] - memory[i];
        if (!(gap > 0) || (!m->shape.positive && gap != floor(gap))) {
            return false;
        }
    }
    return true;
}

bool mixed_serial_add(struct nof1_gaussian_sums *sums, const struct mixed_model *m,
                      const double *gamma, const struct nof1_series *s, const double *column,
                      double *memory)
{
    size_t n = s->rows, *order = (size_t *)(void *)(memory + n);
    double *time = memory, *sorted = memory + 2 * n;
    sort_rows(order, time, m, s);
    for (size_t c = 0; c <= m->columns; c++) {
        for (size_t i = 0; i < n; i++) {
            sorted[c * n + i] = column[c * n + order[i]];
        }
    }
    for (size_t k = 0; k < m->effects; k++) {
        double *z = sorted + (m->columns + 1 + k) * n;
        for (size_t i = 0; i < n; i++) {
            z[i] = k == 0 || s->arm[order[i]] == k;
        }
    }
    struct nof1_ar1_trial trial = {n, time, sorted};
    return nof1_ar1_add(sums, &m->shape, gamma, &trial, 1, sorted + width_of(m) * n);
}
