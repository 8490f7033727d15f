/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One trial of a randomisation test: the sums of its cycle differences, or its statistic
 * standardised over the assignments that its design could have drawn (mean 0, variance 1 when
 * treatment does nothing). Signs are drawn from the trial's private seed: drawn from a seed that
 * others know, the sums would be linear equations for the differences.
 */
#include "randomisation_test.h"

#include <math.h>

#include <stats/stream.h>

/* ---- phases: every assignment with as many phases of each treatment ---- */

/* Row i continues the phase of row i - 1. */
static bool same_phase(const struct nof1_series *s, size_t i)
{
    return s->period[i] != 0 && s->period[i] == s->period[i - 1] && s->arm[i] == s->arm[i - 1];
}

/* Means of the phases, in place of the rows; returns how many. */
static size_t phase_means(struct nof1_series *s, size_t n[2])
{
    size_t phases = 0;
    for (size_t i = 0; i < s->rows;) {
        size_t end = i + 1;
        double sum = 0.0;
        for (; end < s->rows && same_phase(s, end); end++) {
            sum += s->y[end] - s->y[i];
        }
        s->y[phases] = s->y[i] + sum / (double)(end - i);
        s->arm[phases] = s->arm[i];
        n[s->arm[i] == 1] += 1;
        phases++;
        i = end;
    }
    return phases;
}

/* Difference of phase means over its standard deviation under random assignment of the same numbers
 * of phases: S^2 m / (m0 m1), S^2 with m - 1 (sampling without replacement). */
static double phases_score(struct nof1_series *s)
{
    size_t n[2] = {0, 0};
    size_t phases = phase_means(s, n);
    double m = (double)phases, sum[2] = {0.0, 0.0}, ss = 0.0;
    for (size_t i = 0; i < phases; i++) {
        sum[s->arm[i] == 1] += s->y[i];
    }
    double mean = (sum[0] + sum[1]) / m;
    for (size_t i = 0; i < phases; i++) {
        ss += (s->y[i] - mean) * (s->y[i] - mean);
    }
    double difference = sum[1] / (double)n[1] - sum[0] / (double)n[0];
    double variance = ss / (m - 1.0) * m / ((double)n[0] * (double)n[1]);
    return variance > 0.0 ? difference / sqrt(variance) : 0.0;
}

/* ---- start: the day on which treatment began was drawn ---- */

/* The row at which treatment starts; 0 when the rows are not reference first and then active. */
static size_t start_of(const struct nof1_series *s)
{
    size_t start = 0;
    while (start < s->rows && s->arm[start] == 0) {
        start++;
    }
    for (size_t i = start; i < s->rows; i++) {
        if (s->arm[i] != 1) {
            return 0;
        }
    }
    return start;
}

/* Mean after less mean before, for a start at row `at`. */
static double start_statistic(const struct nof1_series *s, size_t at)
{
    double before = 0.0, after = 0.0;
    for (size_t i = 0; i < s->rows; i++) {
        *(i < at ? &before : &after) += s->y[i] - s->y[0];
    }
    return after / (double)(s->rows - at) - before / (double)at;
}

static double start_score(const struct nof1_series *s, size_t least)
{
    size_t starts = s->rows - 2 * least + 1;
    double mean = 0.0, ss = 0.0;
    for (size_t j = 0; j < starts; j++) { /* Welford */
        double x = start_statistic(s, least + j), step = x - mean;
        mean += step / (double)(j + 1);
        ss += step * (x - mean);
    }
    double variance = ss / (double)starts;
    return variance > 0.0 ? (start_statistic(s, start_of(s)) - mean) / sqrt(variance) : 0.0;
}

/* ---- cycles ---- */

static void moments(double *out, const double *d, size_t n, double fourth_unit)
{
    out[0] = (double)n;
    out[1] = out[2] = out[3] = 0.0;
    for (size_t i = 0; i < n; i++) {
        double square = d[i] * d[i];
        out[1] += d[i];
        out[2] += square;
        out[3] += square * (square / fourth_unit);
    }
}

static nof1_rc draw(double *out, size_t draws, const struct nof1_trial *trial, const double *d,
                    size_t n)
{
    struct nof1_stream stream;
    ENSURE(trial->seed != NULL, NOF1_E_BUG);
    nof1_stream_start(&stream, trial->seed);
    for (size_t b = 0; b < draws; b++) {
        out[b] = 0.0;
        for (size_t i = 0; i < n; i++) {
            out[b] += nof1_stream_bit(&stream) == 1 ? d[i] : -d[i];
        }
    }
    return NOF1_OK;
}

static nof1_rc cycles(double *out, const struct rt_model *model, const struct nof1_trial *trial,
                      const struct nof1_series *series, void *scratch)
{
    size_t rows = trial->rows;
    double *d = (double *)((char *)scratch + rows * NOF1_SERIES_SCRATCH_ROW);
    size_t n = nof1_cycle_differences(d, series);
    moments(out, d, n, model->fourth_unit);
    ENSURE(isfinite(out[3]), NOF1_E2403);
    return model->draws == 0 ? NOF1_OK : draw(out + 3, model->draws, trial, d, n);
}

/* ---- the contract ---- */

int nof1_rt_group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    const struct rt_model *model = (const struct rt_model *)base;
    struct nof1_series series;
    struct nof1_cycle_difference difference;
    nof1_series_of(&series, base->study, trial, scratch);
    bool used = series.n[0] > 0 && series.n[1] > 0;
    if (used && model->design == RT_CYCLES) {
        nof1_cycle_difference(&difference, &series);
        used = difference.k > 0;
    } else if (used && model->design == RT_START) {
        size_t start = start_of(&series);
        used = start >= model->least && series.rows - start >= model->least &&
               series.rows > 2 * model->least;
    }
    return used ? 0 : NOF1_LEFT_OUT;
}

nof1_rc_value nof1_rt_contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                 const struct nof1_trial *trial, void *scratch, double *out)
{
    (void)round;
    (void)theta;
    const struct rt_model *model = (const struct rt_model *)base;
    struct nof1_series series;
    nof1_series_of(&series, base->study, trial, scratch);
    if (model->design == RT_CYCLES) {
        return cycles(out, model, trial, &series, scratch);
    }
    out[0] = model->design == RT_PHASES ? phases_score(&series)
                                        : start_score(&series, model->least);
    ENSURE(isfinite(out[0]), NOF1_E2403);
    return NOF1_OK;
}
