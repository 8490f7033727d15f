/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sequential monitoring of a series (docs/statistics.md, `monitor`). With d the differences of
 * complete cycles, S = sum d and V = sum d^2 (two numbers a look):
 *   anytime: E = sqrt(rho / (V + rho)) exp(S^2 / (2 (V + rho))), a nonnegative supermartingale when
 *     treatments are randomised within cycles (de la Pena 1999; Howard et al. 2021, Ann Stat
 *     49:1055): valid at every look, however many there are;
 *   spending: |S| / sqrt V against a Lan-DeMets boundary at this look's information fraction.
 * Must never release anything that tells one look's new patients from few: batches are the
 * framework's (E2210), which answers a look only when enough patients changed.
 */
#include <math.h>
#include <string.h>

#include <base/json.h>
#include <gsl/gsl_sf_lambert.h>
#include <stats/boundary.h>
#include <stats/distributions.h>
#include <stats/options.h>
#include <stats/registry.h>
#include <stats/report.h>
#include <stats/series.h>

#define MOST_CYCLES 0x1p20

struct monitor {
    struct nof1_model base; /* first */
    bool spending;
    enum nof1_spending type;
    double alpha, rho, planned, most_information, range;
    size_t earlier;
    double fraction[NOF1_MOST_LOOKS]; /* of the earlier looks */
};

/* What a look knows, from the totals. */
struct look {
    double n, s, v;
    double fraction; /* this look's; NAN: not used */
    double bound;    /* for |Z|, or for log E */
    double z, log_e;
    double low, high;
    bool stop;
};

static const struct nof1_option options[] = {
    {"method", NOF1_OPT_CHOICE, "anytime|spending", "anytime", 0, 0,
     "anytime: e-value and confidence sequence, valid at any number of looks; spending: a "
     "Lan-DeMets boundary"},
    {"level", NOF1_OPT_NUMBER, "confidence level", "0.95", 0.5, 0.9999,
     "1 - two-sided error over all looks together"},
    {"planned", NOF1_OPT_NUMBER, "complete cycles", "100", 1, 1e9,
     "complete cycles of all patients at the planned end"},
    {"rho", NOF1_OPT_NUMBER, "0: narrowest at the planned end", "0", 0, 1e30,
     "anytime: mixture variance, in squared units of the outcome; fix it before the first look"},
    {"boundary", NOF1_OPT_CHOICE, "obrien_fleming|pocock", "obrien_fleming", 0, 0,
     "spending: how the error is spent"},
    {"max_information", NOF1_OPT_NUMBER, "0: the fraction is complete cycles / planned", "0", 0,
     1e30, "spending: information 1/Var(effect) at the planned end"},
    {"looks", NOF1_OPT_NAMES, "information fractions, ascending", "[]", 0, 1,
     "spending: the fractions of the earlier looks, as their results print them"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

/* ---- the plan ---- */

static nof1_rc read_looks(struct monitor *model, const struct nof1_study *study,
                          struct nof1_error *error)
{
    const struct nof1_node *given = study->plan->options;
    TRY(nof1_option_numbers(model->fraction, &model->earlier, NOF1_MOST_LOOKS - 1, &nof1_monitor,
                            given, "looks", error));
    for (size_t k = 0; k < model->earlier; k++) {
        double before = k == 0 ? 0.0 : model->fraction[k - 1];
        if (!(model->fraction[k] - before >= NOF1_LEAST_FRACTION) || model->fraction[k] >= 1.0) {
            return nof1_fail(error, NOF1_E_PLAN,
                             "looks: fractions must ascend by at least %g and stay below 1",
                             NOF1_LEAST_FRACTION);
        }
    }
    /* The same frozen data are one look: each earlier one had an epoch of its own. */
    if (!study->charter->lab && study->plan->epoch > 0 && model->earlier >= study->plan->epoch) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "looks: %zu earlier looks need %zu earlier epochs, this is epoch %u",
                         model->earlier, model->earlier, study->plan->epoch);
    }
    return NOF1_OK;
}

/* The rho that makes the sequence narrowest where V has its planned value (Howard et al. 2021,
 * proposition 3): V / (-W_{-1}(-alpha^2 / e) - 1). */
static nof1_rc choose_rho(struct monitor *model, const struct nof1_outcome *outcome,
                          struct nof1_error *error)
{
    if (model->rho > 0.0) {
        return NOF1_OK;
    }
    double planned = model->planned * 2.0 * outcome->sd_within * outcome->sd_within;
    model->rho = planned / (-gsl_sf_lambert_Wm1(-model->alpha * model->alpha * exp(-1.0)) - 1.0);
    if (!(model->rho > 0.0) || !isfinite(model->rho)) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "rho: give a number: the charter plans no sd within patients for %s",
                         outcome->name);
    }
    return NOF1_OK;
}

static nof1_rc read_options(struct monitor *model, const struct nof1_study *study,
                            struct nof1_error *error)
{
    const struct nof1_node *given = study->plan->options;
    const struct nof1_outcome *outcome = &study->charter->outcome[study->plan->outcome];
    size_t word = 0;
    double level;
    TRY(nof1_option_choice(&word, &nof1_monitor, given, "method", error));
    model->spending = word == 1;
    TRY(nof1_option_choice(&word, &nof1_monitor, given, "boundary", error));
    model->type = word == 1 ? NOF1_SPEND_POCOCK : NOF1_SPEND_OBRIEN_FLEMING;
    TRY(nof1_option_number(&level, &nof1_monitor, given, "level", error));
    model->alpha = 1.0 - level;
    TRY(nof1_option_number(&model->planned, &nof1_monitor, given, "planned", error));
    TRY(nof1_option_number(&model->rho, &nof1_monitor, given, "rho", error));
    TRY(nof1_option_number(&model->most_information, &nof1_monitor, given, "max_information",
                           error));
    TRY(read_looks(model, study, error));
    model->range = outcome->upper - outcome->lower;
    if (outcome->kind == NOF1_EFFECT || !(model->range > 0.0) || !isfinite(model->range)) {
        return nof1_fail(error, NOF1_E_PLAN, "outcome: %s has no cycles to monitor", outcome->name);
    }
    if (study->charter->max_cycles == 0) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "analysis: monitor compares within cycles, the data have no cycle column");
    }
    return model->spending ? NOF1_OK : choose_rho(model, outcome, error);
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    static const char *const all[] = {"all"};
    struct monitor *model = nof1_arena_alloc(arena, 1, sizeof *model);
    ENSURE(model != NULL, NOF1_E_NO_MEMORY);
    TRY(read_options(model, study, error));
    model->base = (struct nof1_model){.analysis = &nof1_monitor, .study = study,
                                      .form = model->spending ? "spending" : "anytime",
                                      .groups = 1, .group = all, .max_rounds = 1,
                                      .max_elements = 3, .scratch = 64,
                                      .scratch_row = NOF1_SERIES_SCRATCH_ROW,
                                      .fixed_parameters = 1};
    *out = &model->base;
    return NOF1_OK;
}

/* ---- one trial ---- */

static int group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    struct nof1_series series;
    struct nof1_cycle_difference difference;
    nof1_series_of(&series, base->study, trial, scratch);
    nof1_cycle_difference(&difference, &series);
    return difference.k > 0 ? 0 : NOF1_LEFT_OUT;
}

static nof1_rc_value layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                            struct nof1_layout *out)
{
    (void)round;
    double range = ((const struct monitor *)base)->range;
    struct nof1_element *element = nof1_arena_alloc(arena, 3, sizeof *element);
    ENSURE(element != NULL, NOF1_E_NO_MEMORY);
    element[0] = (struct nof1_element){.name = "cycles", .role = NOF1_DESIGN, .group = -1,
                                       .bound = MOST_CYCLES};
    element[1] = (struct nof1_element){.name = "sum d", .role = NOF1_OUTCOME, .group = -1,
                                       .block_size = 1, .bound = MOST_CYCLES * range};
    element[2] = element[1];
    element[2].name = "sum d^2";
    element[2].bound *= range;
    *out = (struct nof1_layout){3, element};
    return NOF1_OK;
}

static nof1_rc_value contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                const struct nof1_trial *trial, void *scratch, double *out)
{
    (void)round;
    (void)theta;
    struct nof1_series series;
    struct nof1_cycle_difference difference;
    nof1_series_of(&series, base->study, trial, scratch);
    nof1_cycle_difference(&difference, &series);
    double k = (double)difference.k;
    out[0] = k;
    out[1] = k * difference.d;
    out[2] = difference.ss + k * difference.d * difference.d;
    ENSURE(isfinite(out[1]) && isfinite(out[2]), NOF1_E2403);
    return NOF1_OK;
}

static nof1_rc_value advance(const struct nof1_model *base, const struct nof1_history *history,
                             struct nof1_arena *arena, struct nof1_next *out,
                             struct nof1_error *error)
{
    (void)base;
    (void)arena;
    (void)error;
    *out = (struct nof1_next){.done = history->rounds > 0};
    return NOF1_OK;
}

/* ---- the look ---- */

struct sequence {
    double n, s, v, rho, threshold;
};

/* log E of the hypothesis that the effect is delta, less the threshold. */
static double beyond(double delta, void *context)
{
    const struct sequence *q = context;
    double s = q->s - q->n * delta;
    double v = fmax(q->v - 2.0 * q->s * delta + q->n * delta * delta, 0.0) + q->rho;
    return 0.5 * log(q->rho / v) + 0.5 * s * s / v - q->threshold;
}

/* The end of the confidence sequence from the estimate towards `limit`, the largest effect that the
 * outcome's bounds allow; NAN when the data rule out no effect there (log E falls again for effects
 * very far away, where rho is too small to say anything). */
static double sequence_end(const struct sequence *q, double limit)
{
    double estimate = q->s / q->n, end = NAN;
    struct sequence copy = *q;
    if (beyond(limit, &copy) > 0.0 &&
        nof1_root(&end, beyond, &copy, fmin(estimate, limit), fmax(estimate, limit), 1e-15) !=
            NOF1_OK) {
        end = NAN;
    }
    return end;
}

static void look_anytime(struct look *look, const struct monitor *model)
{
    struct sequence q = {look->n, look->s, look->v, model->rho, 0.0};
    look->log_e = beyond(0.0, &q);
    q.threshold = look->bound = -log(model->alpha);
    look->low = sequence_end(&q, -model->range);
    look->high = sequence_end(&q, model->range);
    look->stop = look->log_e >= look->bound;
}

/* Effects delta with |S - n delta| <= bound sqrt(V - 2 S delta + n delta^2). */
static void repeated_interval(struct look *look)
{
    double b2 = look->bound * look->bound, n = look->n;
    double ss = fmax(look->v - look->s * look->s / n, 0.0);
    bool bounded = isfinite(b2) && n > b2;
    double half = bounded ? look->bound * sqrt(ss / (n * (n - b2))) : NAN;
    look->low = look->s / n - half;
    look->high = look->s / n + half;
}

/* A look at no new information cannot stop: nothing is left to spend on it. */
static nof1_rc look_spending(struct look *look, const struct monitor *model)
{
    double fraction[NOF1_MOST_LOOKS], bound[NOF1_MOST_LOOKS];
    double before = model->earlier == 0 ? 0.0 : model->fraction[model->earlier - 1];
    double information = look->n * look->n / look->v;
    look->fraction = fmin(1.0, model->most_information > 0.0 ? information / model->most_information
                                                             : look->n / model->planned);
    if (!(look->fraction - before >= NOF1_LEAST_FRACTION)) {
        look->bound = look->low = look->high = INFINITY;
        return NOF1_OK;
    }
    memcpy(fraction, model->fraction, model->earlier * sizeof *fraction);
    fraction[model->earlier] = look->fraction;
    TRY(nof1_boundaries(bound, model->type, model->alpha, model->earlier + 1, fraction));
    look->bound = bound[model->earlier];
    look->stop = fabs(look->z) >= look->bound;
    repeated_interval(look);
    return NOF1_OK;
}

/* ---- the result ---- */

static json_t *estimates_json(const struct look *look, double p)
{
    return json_pack("[{s:s,s:o,s:o,s:o,s:o,s:o,s:o}]", "term", "treatment", "estimate",
                     nof1_json_number(look->s / look->n), "std.error",
                     nof1_json_number(sqrt(look->v) / look->n), "statistic",
                     nof1_json_number(look->z), "p.value", nof1_json_number(p), "conf.low",
                     nof1_json_number(look->low), "conf.high", nof1_json_number(look->high));
}

static json_t *looks_json(const struct monitor *model, const struct look *look)
{
    json_t *list = json_array();
    for (size_t k = 0; list != NULL && k < model->earlier; k++) {
        json_array_append_new(list, json_real(model->fraction[k]));
    }
    json_array_append_new(list, nof1_json_number(look->fraction));
    return list;
}

static json_t *monitoring_json(const struct monitor *model, const struct look *look)
{
    const char *decision = look->stop ? "stop" : "continue";
    if (!model->spending) {
        return json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o}", "decision", decision, "method", "anytime",
                         "e.value", nof1_json_number(exp(look->log_e)), "log.e.value",
                         nof1_json_number(look->log_e), "stop.at.e.value",
                         nof1_json_number(1.0 / model->alpha), "rho",
                         nof1_json_number(model->rho), "cycles", nof1_json_number(look->n));
    }
    double spent = nof1_spent(model->type, model->alpha, look->fraction);
    return json_pack("{s:s,s:s,s:i,s:o,s:o,s:o,s:o,s:o,s:o}", "decision", decision, "method",
                     model->type == NOF1_SPEND_POCOCK ? "spending, Pocock type"
                                                      : "spending, O'Brien-Fleming type",
                     "look", (int)model->earlier + 1, "fraction", nof1_json_number(look->fraction),
                     "looks", looks_json(model, look), "boundary.z", nof1_json_number(look->bound),
                     "error.spent", nof1_json_number(spent), "information",
                     nof1_json_number(look->v > 0.0 ? look->n * look->n / look->v : NAN), "cycles",
                     nof1_json_number(look->n));
}

/* The same row for people. */
static json_t *table_json(const struct monitor *model, json_t *monitoring)
{
    const char *columns = model->spending ? "look fraction boundary.z error.spent"
                                          : "cycles e.value stop.at.e.value rho";
    json_t *names = json_array();
    json_array_append_new(names, json_string("decision"));
    for (const char *at = columns; at != NULL && *at != '\0';) {
        size_t length = strcspn(at, " ");
        json_array_append_new(names, json_stringn(at, length));
        at += length + (at[length] == ' ');
    }
    return json_pack("[{s:s,s:o,s:[O]}]", "title", "Monitoring", "columns", names, "cells",
                     monitoring);
}

static json_t *warnings_json(const struct monitor *model, const struct look *look)
{
    json_t *warnings = json_array();
    nof1_warn(warnings, !(look->v > 0.0), "zero_within",
              "every cycle difference is zero: there is nothing to test");
    nof1_warn(warnings, !isfinite(look->low) || !isfinite(look->high), "one_sided",
              "too few cycles for an interval with both ends: the missing end is null");
    nof1_warn(warnings, !model->spending && !isfinite(exp(look->log_e)), "overflow",
              "the e-value is beyond what a number can hold: see log.e.value");
    nof1_warn(warnings, model->spending && isinf(look->bound), "early_look",
              isinf(look->low) ? "this look's information fraction is not 0.01 beyond the last of "
                                 "looks: it cannot stop; correct looks or planned, or wait"
                               : "nothing measurable is spent at so early a look: it cannot stop");
    nof1_warn(
        warnings, model->spending, "looks",
        "the boundary holds for the looks listed; every look at this outcome must be among them");
    return warnings;
}

static nof1_rc_value report(const struct nof1_model *base, const struct nof1_history *history,
                            struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    (void)arena;
    const struct monitor *model = (const struct monitor *)base;
    if (history->rounds == 0 || history->counts.trials == 0) {
        return nof1_fail(error, NOF1_E_MODEL, "no trial has a complete cycle");
    }
    const double *total = history->round[0].total;
    struct look look = {.n = total[0], .s = total[1], .v = total[2], .fraction = NAN};
    look.z = look.v > 0.0 ? look.s / sqrt(look.v) : 0.0;
    if (model->spending && look.v > 0.0) {
        TRY(look_spending(&look, model));
    } else if (model->spending) {
        look.bound = look.low = look.high = NAN;
    } else {
        look_anytime(&look, model);
    }
    double p = model->spending ? nof1_t_two_sided(look.z, INFINITY) : fmin(1.0, exp(-look.log_e));
    json_t *monitoring = monitoring_json(model, &look);
    *out = json_pack(
        "{s:o,s:o,s:o,s:{s:o,s:I,s:I,s:I,s:b},s:{s:s,s:s,s:s},s:s,s:o}", "estimates",
        estimates_json(&look, p), "tables", table_json(model, monitoring), "monitoring", monitoring,
        "fit", "nobs",
        nof1_json_number(look.n), "trials", (json_int_t)history->counts.trials, "sites",
        (json_int_t)history->counts.sites, "rounds", (json_int_t)history->rounds, "converged", true,
        "estimand", "sentence",
        model->spending
            ? "mean difference of complete cycles, active minus reference; interval and decision "
              "hold over all looks, p.value is nominal"
            : "mean difference of complete cycles, active minus reference; e-value, p.value and "
              "interval hold at every look, by the randomisation within cycles",
        "population", "patients with a complete cycle at this look", "weights", "each cycle 1",
        "form", base->form, "warnings", warnings_json(model, &look));
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

const struct nof1_analysis nof1_monitor = {
    .id = "monitor",
    .version = 1,
    .summary = "continue or stop: e-value and confidence sequence, or a Lan-DeMets boundary",
    .option = options,
    .prepare = prepare,
    .group_of = group_of,
    .layout = layout,
    .contribute = contribute,
    .advance = advance,
    .report = report,
};
