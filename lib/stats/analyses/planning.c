/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Size of a series (Senn 2019, Stat Methods Med Res 28:372): with n patients of k cycles each, sd
 * psi of the patients' true effects and sd sigma of a period, Var(mean effect) = (psi^2 + 2 sigma^2
 * / k) / n, tested by t on n - 1 df; what is learnt about one patient has variance 1 / (1 / psi^2 +
 * k / (2 sigma^2)). Answered by `nof1 planning` from the plan alone: it must never see data, so
 * `prepare` refuses a study that has a charter.
 */
#include <math.h>

#include <base/json.h>
#include <stats/distributions.h>
#include <stats/options.h>
#include <stats/power.h>
#include <stats/registry.h>
#include <stats/report.h>

#define MOST_GRID 50
#define MOST_PATIENTS 1000000.0
#define MOST_CYCLES 1000.0

struct planning {
    struct nof1_model base; /* first */
    double effect, psi, sigma, alpha, power, precision;
    bool two_sided;
    size_t patients, cycles; /* lengths of the grid; 0: solved for */
    double patient[MOST_GRID], cycle[MOST_GRID];
};

struct point {
    double n, k, se, df, power, half_width;
};

static const struct nof1_option options[] = {
    {"effect", NOF1_OPT_NUMBER, "units of the outcome", "0", -1e300, 1e300,
     "mean difference to be found; required for power"},
    {"sd_effect", NOF1_OPT_NUMBER, "units of the outcome", "0", 0, 1e300,
     "sd of the patients' true effects (psi)"},
    {"sd_within", NOF1_OPT_NUMBER, "units of the outcome", "0", 0, 1e300,
     "sd of one period's value within a patient (sigma); required"},
    {"patients", NOF1_OPT_NAMES, "numbers", "[]", 2, MOST_PATIENTS,
     "patients of the table; empty: find the least"},
    {"cycles", NOF1_OPT_NAMES, "numbers", "[1, 2, 3, 4]", 1, MOST_CYCLES,
     "cycles a patient of the table; empty: find the least for each number of patients"},
    {"power", NOF1_OPT_NUMBER, "power", "0.8", 0.01, 0.9999, "power to reach"},
    {"precision", NOF1_OPT_NUMBER, "0: reach the power", "0", 0, 1e300,
     "half width of the confidence interval to reach, instead of a power"},
    {"level", NOF1_OPT_NUMBER, "confidence level", "0.95", 0.5, 0.9999,
     "1 - error of the test; level of the interval"},
    {"sides", NOF1_OPT_CHOICE, "two_sided|one_sided", "two_sided", 0, 0, "of the test"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

/* ---- options ---- */

static nof1_rc check_whole(const double *number, size_t count, const char *key,
                           struct nof1_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (number[i] != floor(number[i])) {
            return nof1_fail(error, NOF1_E_PLAN, "%s: expected whole numbers", key);
        }
    }
    return NOF1_OK;
}

static nof1_rc read_options(struct planning *model, const struct nof1_node *given,
                            struct nof1_error *error)
{
    const struct nof1_analysis *self = &nof1_planning;
    size_t word = 0;
    double level;
    TRY(nof1_option_number(&model->effect, self, given, "effect", error));
    TRY(nof1_option_number(&model->psi, self, given, "sd_effect", error));
    TRY(nof1_option_number(&model->sigma, self, given, "sd_within", error));
    TRY(nof1_option_number(&model->power, self, given, "power", error));
    TRY(nof1_option_number(&model->precision, self, given, "precision", error));
    TRY(nof1_option_number(&level, self, given, "level", error));
    model->alpha = 1.0 - level;
    TRY(nof1_option_choice(&word, self, given, "sides", error));
    model->two_sided = word == 0;
    TRY(nof1_option_numbers(model->patient, &model->patients, MOST_GRID, self, given, "patients",
                            error));
    TRY(nof1_option_numbers(model->cycle, &model->cycles, MOST_GRID, self, given, "cycles", error));
    TRY(check_whole(model->patient, model->patients, "patients", error));
    TRY(check_whole(model->cycle, model->cycles, "cycles", error));
    if (!(model->sigma > 0.0)) {
        return nof1_fail(error, NOF1_E_PLAN, "sd_within: give the sd of a period within a patient");
    }
    if (model->effect == 0.0 && !(model->precision > 0.0)) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "effect: give the difference to be found, or a precision to reach");
    }
    if (model->patients == 0 && model->cycles == 0) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "cycles: give patients or cycles; only one of them can be found");
    }
    return NOF1_OK;
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    if (study->charter != NULL) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "analysis: planning needs no data and asks no site: nof1 planning PLAN");
    }
    struct planning *model = nof1_arena_alloc(arena, 1, sizeof *model);
    ENSURE(model != NULL, NOF1_E_NO_MEMORY);
    TRY(read_options(model, study->plan->options, error));
    model->base = (struct nof1_model){.analysis = &nof1_planning, .study = study,
                                      .form = "planning"};
    *out = &model->base;
    return NOF1_OK;
}

/* ---- numbers ---- */

static nof1_rc evaluate(struct point *p, const struct planning *model)
{
    p->se = sqrt((model->psi * model->psi + 2.0 * model->sigma * model->sigma / p->k) / p->n);
    p->df = p->n - 1.0;
    p->half_width = nof1_t_quantile(0.5 * model->alpha, p->df) * p->se;
    p->power = NAN;
    return model->effect == 0.0 ? NOF1_OK
                                : nof1_t_power(&p->power, model->effect, p->se, p->df,
                                               model->alpha, model->two_sided);
}

static bool reached(const struct point *p, const struct planning *model)
{
    return model->precision > 0.0 ? p->half_width <= model->precision : p->power >= model->power;
}

/* The least whole number in [least, most] that reaches the aim, by doubling and halving: power
 * grows, width falls with both. NAN when `most` does not reach it. */
static nof1_rc solve(struct point *p, double *unknown, double least, double most,
                     const struct planning *model)
{
    double below = least - 1.0, above = least;
    for (;;) {
        *unknown = above;
        TRY(evaluate(p, model));
        if (reached(p, model)) {
            break;
        }
        if (above >= most) {
            *p = (struct point){p->n, p->k, NAN, NAN, NAN, NAN};
            *unknown = NAN;
            return NOF1_OK;
        }
        below = above;
        above = fmin(most, 2.0 * above);
    }
    while (above - below > 1.0) {
        *unknown = floor(0.5 * (above + below));
        TRY(evaluate(p, model));
        *(reached(p, model) ? &above : &below) = *unknown;
    }
    *unknown = above;
    return evaluate(p, model);
}

/* ---- the result ---- */

static json_t *whole(double x)
{
    return isfinite(x) ? json_integer((json_int_t)x) : json_null();
}

static json_t *point_json(const struct point *p, const struct planning *model)
{
    double precision = p->k / (2.0 * model->sigma * model->sigma);
    double between = model->psi * model->psi;
    double individual = between > 0.0 ? 1.0 / (1.0 / between + precision) : 0.0;
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "patients", whole(p->n), "cycles",
                     whole(p->k), "std.error", nof1_json_number(p->se), "half.width",
                     nof1_json_number(p->half_width), "power", nof1_json_number(p->power),
                     "patient.sd", nof1_json_number(sqrt(individual)), "periods",
                     whole(2.0 * p->n * p->k));
}

static nof1_rc add_point(json_t *rows, const struct planning *model, size_t i, size_t j)
{
    struct point p = {.n = model->patients > 0 ? model->patient[i] : NAN,
                      .k = model->cycles > 0 ? model->cycle[j] : NAN};
    if (model->patients == 0) {
        TRY(solve(&p, &p.n, 2.0, MOST_PATIENTS, model));
    } else if (model->cycles == 0) {
        TRY(solve(&p, &p.k, 1.0, MOST_CYCLES, model));
    } else {
        TRY(evaluate(&p, model));
    }
    return json_array_append_new(rows, point_json(&p, model)) == 0 ? NOF1_OK : NOF1_E_NO_MEMORY;
}

static json_t *warnings_json(const struct planning *model, const json_t *rows)
{
    json_t *warnings = json_array();
    bool unreached = false;
    for (size_t r = 0; r < json_array_size(rows); r++) {
        unreached = unreached ||
                    json_is_null(json_object_get(json_array_get(rows, r), "std.error"));
    }
    nof1_warn(warnings, unreached, "unreached",
              model->cycles == 0
                  ? "no number of cycles reaches the aim with so few patients: their "
                    "effects differ too much"
                  : "a million patients do not reach the aim");
    return warnings;
}

static nof1_rc_value report(const struct nof1_model *base, const struct nof1_history *history,
                            struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    (void)history;
    (void)arena;
    (void)error;
    const struct planning *model = (const struct planning *)base;
    NOF1_CLEANUP(nof1_json_freep) json_t *rows = json_array();
    ENSURE(rows != NULL, NOF1_E_NO_MEMORY);
    size_t cycles = model->cycles == 0 ? 1 : model->cycles;
    size_t points = cycles * (model->patients == 0 ? 1 : model->patients);
    for (size_t p = 0; p < points; p++) {
        TRY(add_point(rows, model, p / cycles, p % cycles));
    }
    *out = json_pack(
        "{s:[],s:[{s:s,s:[s,s,s,s,s,s],s:O}],s:{s:o,s:o,s:o,s:o,s:o,s:o,s:s},s:{s:s,s:s,s:s},s:s,"
        "s:o}",
        "estimates", "tables", "title", "Size of a series", "columns", "patients", "cycles",
        "std.error", "half.width", "power", "patient.sd", "cells", rows, "planning", "effect",
        nof1_json_number(model->effect), "sd_effect", nof1_json_number(model->psi), "sd_within",
        nof1_json_number(model->sigma), "level", nof1_json_number(1.0 - model->alpha), "power",
        nof1_json_number(model->power), "precision", nof1_json_number(model->precision), "sides",
        model->two_sided ? "two_sided" : "one_sided", "estimand", "sentence",
        "mean effect over patients, from each patient's mean cycle difference, t on patients - 1 "
        "df; patient.sd: of one patient's effect given the series",
        "population", "patients to be recruited", "weights", "each patient 1", "form", base->form,
        "warnings", warnings_json(model, rows));
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

const struct nof1_analysis nof1_planning = {
    .id = "planning",
    .version = 1,
    .summary = "sample size, cycles, power and precision of a series; no data: nof1 planning PLAN",
    .option = options,
    .prepare = prepare,
    .report = report,
};
