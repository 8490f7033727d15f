/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The p value of a randomisation test and how far it may be off (docs/statistics.md,
 * `randomisation_test`). Under within-cycle randomisation the sum T of the differences is a sum of
 * independent signs times |d|: variance V = sum d^2, fourth cumulant -2 sum d^4, all odd ones zero.
 */
#include "randomisation_test.h"

#include <math.h>

#include <base/json.h>
#include <stats/distributions.h>
#include <stats/report.h>

/* Measured against complete enumeration (make.R): the largest error in 95 % of simulated series of
 * 6 to 20 differences, normal to very heavy-tailed, is below this multiple of (sum d^4 / V^2)^2. */
#define MOMENTS_ERROR 0.4

struct outcome_of_test {
    double estimate, se, statistic, low, high;
    double p, p_error; /* p_error: Monte Carlo standard error, or the moments' stated error; NAN */
    double n;          /* differences, or trials */
    const double *total;
};

/* P(T* >= T) for z = T / sqrt V >= 0 by the first Edgeworth term, in the exponent so that a tail
 * stays positive: P(Z > z) exp(-g (z^3 - 3 z) phi(z) / (12 P(Z > z))), g = sum d^4 / V^2. */
static double edgeworth_tail(double z, double g)
{
    double tail = nof1_normal_upper(z);
    double density = exp(-0.5 * z * z) * 0.39894228040143267794;
    return tail > 0.0 ? tail * exp(-g * z * (z * z - 3.0) * density / (12.0 * tail)) : 0.0;
}

/* One-sided P(T* >= t), or P(|T*| >= |t|). No p value is below that of the one assignment drawn. */
static void moments_p(struct outcome_of_test *out, const struct rt_model *model)
{
    double t = out->total[1], v = out->total[2], g = out->total[3] / v * (model->fourth_unit / v);
    double sign = model->side == RT_LESS ? -1.0 : 1.0;
    double above = model->side == RT_TWO_SIDED ? fabs(t) : sign * t;
    double z = (above - model->step) / sqrt(v);
    double tail = z >= 0.0 ? edgeworth_tail(z, g) : 1.0 - edgeworth_tail(-z, g);
    double sides = model->side == RT_TWO_SIDED ? 2.0 : 1.0;
    out->p = fmin(1.0, fmax(sides * tail, sides * exp2(-out->n)));
    out->p_error = fmin(1.0, MOMENTS_ERROR * g * g);
}

static void monte_carlo_p(struct outcome_of_test *out, const struct rt_model *model)
{
    double t = out->total[1], v = out->total[2], b = (double)model->draws;
    double close = 1e-9 * sqrt(v); /* equal but for the rounding of the differences */
    double as_far = 0.0;
    for (size_t i = 0; i < model->draws; i++) {
        double drawn = out->total[3 + i];
        bool counts = model->side == RT_GREATER ? drawn >= t - close
                      : model->side == RT_LESS  ? drawn <= t + close
                                                : fabs(drawn) >= fabs(t) - close;
        as_far += counts ? 1.0 : 0.0;
    }
    out->p = (1.0 + as_far) / (b + 1.0);
    out->p_error = sqrt(out->p * (1.0 - out->p) / b);
}

/* Effects delta with |T - n delta| <= z sqrt(V - 2 T delta + n delta^2): the test inverted, with
 * the normal law. */
static void invert(struct outcome_of_test *out, const struct rt_model *model)
{
    double t = out->total[1], n = out->n, z = nof1_normal_quantile(0.5 * (1.0 - model->level));
    double ss = fmax(out->total[2] - t * t / n, 0.0);
    double half = n > z * z ? z * sqrt(ss / (n * (n - z * z))) : NAN;
    out->low = out->estimate - half;
    out->high = out->estimate + half;
}

static void cycles_test(struct outcome_of_test *out, const struct rt_model *model)
{
    out->n = out->total[0];
    out->estimate = out->total[1] / out->n;
    out->se = sqrt(out->total[2]) / out->n;
    out->statistic = out->total[2] > 0.0 ? out->total[1] / sqrt(out->total[2]) : 0.0;
    invert(out, model);
    if (!(out->total[2] > 0.0)) {
        out->p = 1.0;
        out->p_error = NAN;
    } else if (model->draws > 0) {
        monte_carlo_p(out, model);
    } else {
        moments_p(out, model);
    }
}

static void scores_test(struct outcome_of_test *out, const struct rt_model *model)
{
    out->estimate = out->se = out->low = out->high = out->p_error = NAN;
    out->statistic = out->total[0] / sqrt(out->n);
    out->p = model->side == RT_TWO_SIDED ? nof1_t_two_sided(out->statistic, INFINITY)
             : model->side == RT_GREATER ? nof1_normal_upper(out->statistic)
                                         : nof1_normal_lower(out->statistic);
}

/* ---- JSON ---- */

static json_t *estimates_json(const struct outcome_of_test *test)
{
    return json_pack("[{s:s,s:o,s:o,s:o,s:o,s:o,s:o}]", "term", "treatment", "estimate",
                     nof1_json_number(test->estimate), "std.error", nof1_json_number(test->se),
                     "statistic", nof1_json_number(test->statistic), "p.value",
                     nof1_json_number(test->p), "conf.low", nof1_json_number(test->low),
                     "conf.high", nof1_json_number(test->high));
}

static json_t *test_json(const struct rt_model *model, const struct outcome_of_test *test)
{
    static const char *const design[] = {"within cycles", "over phases", "start of treatment"};
    static const char *const side[] = {"two-sided", "greater", "less"};
    bool cycles = model->design == RT_CYCLES;
    json_t *object = json_pack(
        "{s:s,s:s,s:s,s:o,s:o,s:o}", "design", design[model->design], "alternative",
        side[model->side], "method",
        !cycles ? "standardised scores" : model->draws > 0 ? "Monte Carlo" : "moments",
        cycles ? "differences" : "trials", nof1_json_number(test->n), "statistic",
        nof1_json_number(test->total[cycles ? 1 : 0]), "p.value", nof1_json_number(test->p));
    if (object != NULL && cycles) {
        json_object_set_new(object, model->draws > 0 ? "p.std.error" : "p.error",
                            nof1_json_number(test->p_error));
    }
    if (object != NULL && model->draws > 0) {
        json_object_set_new(object, "draws", json_integer((json_int_t)model->draws));
    }
    return object;
}

static json_t *tables_json(const struct rt_model *model, json_t *test)
{
    bool cycles = model->design == RT_CYCLES;
    return json_pack("[{s:s,s:[s,s,s,s,s,s],s:[O]}]", "title", "Randomisation test", "columns",
                     "design", "method", cycles ? "differences" : "trials", "statistic", "p.value",
                     model->draws > 0 ? "p.std.error" : "p.error", "cells", test);
}

static json_t *warnings_json(const struct rt_model *model, const struct outcome_of_test *test)
{
    bool cycles = model->design == RT_CYCLES;
    bool any = !cycles || test->total[2] > 0.0;
    json_t *warnings = json_array();
    nof1_warn(warnings, !any, "zero_within", "every cycle difference is zero: p is 1");
    nof1_warn(warnings, cycles && any && isnan(test->low), "no_interval",
              "too few differences for an interval");
    nof1_warn(warnings, cycles && any && model->draws == 0 && test->p_error > 0.02, "approximate",
              "few or very unequal differences: p from moments may be off by p.error");
    nof1_warn(warnings, model->draws > 0, "monte_carlo",
              "Monte Carlo: another site secret gives another p, within p.std.error");
    nof1_warn(warnings, !cycles, "test_only",
              "a test only: scores have no unit, so there is no estimate of the effect");
    nof1_warn(warnings, !cycles && test->n < 10.0, "few_trials",
              "fewer than 10 trials: the sum of scores is only roughly normal");
    return warnings;
}

static const char *const sentence[] = {
    "no effect in any cycle, tested by the mean cycle difference (active minus reference) under "
    "all orders within cycles; interval by the normal law",
    "no effect in any phase, tested by each trial's difference of phase means under all "
    "assignments with as many active phases",
    "no effect in any trial, tested by mean after less mean before under all starts that leave the "
    "least rows on both sides"};

nof1_rc_value nof1_rt_report(const struct nof1_model *base, const struct nof1_history *history,
                             struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    (void)arena;
    const struct rt_model *model = (const struct rt_model *)base;
    if (history->rounds == 0 || history->counts.trials == 0) {
        return nof1_fail(error, NOF1_E_MODEL, "no trial has what design %s permutes",
                         model->design == RT_CYCLES   ? "cycles"
                         : model->design == RT_PHASES ? "phases"
                                                      : "start");
    }
    struct outcome_of_test test = {.total = history->round[0].total,
                                   .n = (double)history->counts.trials};
    if (model->design == RT_CYCLES) {
        cycles_test(&test, model);
    } else {
        scores_test(&test, model);
    }
    json_t *row = test_json(model, &test);
    *out = json_pack(
        "{s:o,s:o,s:o,s:{s:o,s:I,s:I,s:I,s:b},s:{s:s,s:s,s:s},s:s,s:o}", "estimates",
        estimates_json(&test), "tables", tables_json(model, row), "randomisation", row, "fit",
        "nobs", nof1_json_number(test.n), "trials", (json_int_t)history->counts.trials, "sites",
        (json_int_t)history->counts.sites, "rounds", (json_int_t)history->rounds, "converged", true,
        "estimand", "sentence", sentence[model->design], "population",
        model->design == RT_CYCLES ? "patients with a complete cycle"
                                   : "patients whose trial has the design's form",
        "weights", model->design == RT_CYCLES ? "each cycle 1" : "each trial's score 1", "form",
        base->form, "warnings", warnings_json(model, &test));
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}
