/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The effect of a trial of one baseline and one treatment phase: its own least-squares fit of a
 * line in each phase with one residual variance (y ~ time + level change + slope change), whenever
 * treatment started. So trials of different schedules, each with its own start, need no common
 * class. Reads one trial, allocates nothing.
 */
#include <math.h>

#include "random_effects.h"

struct line {
    double n, time, y;           /* rows, means */
    double times, cross, squares; /* about the means; squares: residual */
    double slope;
};

static double time_of(const struct re_model *model, const struct nof1_series *s, size_t i)
{
    if (!model->by_period) {
        return s->time[i];
    }
    return s->period[i] > 0 ? (double)s->period[i] : NAN;
}

/* The first time on treatment, whether or not the outcome was observed there. */
static double start_of(const struct re_model *model, const struct nof1_trial *trial)
{
    double start = INFINITY;
    for (size_t i = 0; i < trial->rows; i++) {
        double period = trial->period[i] > 0 ? (double)trial->period[i] : NAN;
        double time = model->by_period ? period : trial->time[i];
        if (trial->treatment[i] == model->base.study->plan->active && time < start) {
            start = time;
        }
    }
    return start;
}

static bool fit_line(struct line *out, const struct re_model *model, const struct nof1_series *s,
                     size_t arm, double start)
{
    *out = (struct line){0};
    for (size_t i = 0; i < s->rows; i++) {
        double time = time_of(model, s, i) - start;
        if (s->arm[i] != arm) {
            continue;
        }
        if (!isfinite(time) || (arm == 0) != (time < 0)) {
            return false; /* a missing time, or baseline after the start */
        }
        out->n += 1;
        out->time += time;
        out->y += s->y[i];
    }
    out->time = out->n > 0 ? out->time / out->n : NAN;
    out->y = out->n > 0 ? out->y / out->n : NAN;
    for (size_t i = 0; i < s->rows; i++) {
        double t = time_of(model, s, i) - start - out->time, y = s->y[i] - out->y;
        out->times += s->arm[i] == arm ? t * t : 0;
        out->cross += s->arm[i] == arm ? t * y : 0;
    }
    out->slope = out->times > 0 ? out->cross / out->times : NAN;
    for (size_t i = 0; i < s->rows; i++) {
        double t = time_of(model, s, i) - start - out->time;
        double rest = s->y[i] - out->y - out->slope * t;
        out->squares += s->arm[i] == arm ? rest * rest : 0;
    }
    return out->n >= 2 && out->times > 0;
}

void re_phases_of(struct re_trial *out, const struct re_model *model,
                  const struct nof1_trial *trial, const struct nof1_series *series)
{
    struct line line[2];
    double start = start_of(model, trial), unit = 0;
    out->left_out = !isfinite(start) || !fit_line(&line[0], model, series, 0, start) ||
                    !fit_line(&line[1], model, series, 1, start) || series->rows < 5;
    if (out->left_out) {
        return;
    }
    for (size_t k = 0; k < 2; k++) {
        double at_start = line[k].y - line[k].slope * line[k].time;
        double value = model->effect == RE_LEVEL ? at_start : line[k].slope;
        out->d += k == 0 ? -value : value;
        unit += model->effect == RE_LEVEL
                    ? 1 / line[k].n + line[k].time * line[k].time / line[k].times
                    : 1 / line[k].times;
    }
    out->ss = line[0].squares + line[1].squares;
    out->df = (double)series->rows - 4;
    out->u = unit;
    out->left_out = !(fabs(out->d) <= RE_PHASES_REACH * model->range);
}
