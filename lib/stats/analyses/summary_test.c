/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One number a patient, then Student's t (docs/statistics.md, `summary_test`): the difference of
 * the two treatments, one-sample t over trials; paired t over complete cycles; both also in units
 * of the sd within trials; and the share of patients whose difference exceeds an MCID. Choice of
 * the estimand after Araujo, Julious & Senn 2016 (PLOS ONE 11:e0167167). The sums of the
 * differences and of their squares are minimal: nothing else of an outcome may be released here.
 */
#include <math.h>
#include <string.h>

#include <stats/options.h>
#include <stats/registry.h>
#include <stats/report.h>
#include <stats/series.h>

#include "summary.h"

struct summary_test {
    struct summary_model base; /* first */
    bool cycles;
    int benefit;
    double mcid, slack; /* responder: benefit * d - mcid > slack */
};

static const struct nof1_option options[] = {
    {"form", NOF1_OPT_CHOICE, "difference|paired|responder", "difference", 0, 0,
     "difference: one-sample t over trials; paired: paired t over all complete cycles, taken as "
     "independent; responder: share of trials whose difference exceeds mcid"},
    {"difference", NOF1_OPT_CHOICE, "periods|cycles", "periods", 0, 0,
     "a trial's difference: of the means of its periods, or mean over its complete cycles"},
    {"standardise", NOF1_OPT_CHOICE, "none|within|charter", "none", 0, 0,
     "a further row in units of the sd within trials: pooled from the data, or the charter's"},
    {"mcid", NOF1_OPT_NUMBER, "number of 0 or more, in units of the outcome", "", 0, 1e300,
     "responder: least important difference; a responder's is larger, in the direction of benefit; "
     "outside an open lab a multiple of 1 or 5 times a power of ten, at most 1/8 planning sd"},
    {"benefit", NOF1_OPT_CHOICE, "charter|higher|lower", "charter", 0, 0,
     "which direction of the outcome is better"},
    {"null_value", NOF1_OPT_NUMBER, "number", "0", 0, 0, "mean difference that is tested against"},
    {"level", NOF1_OPT_NUMBER, "confidence level", "0.95", 0.5, 0.9999, "confidence level"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

/* ---- the plan ---- */

/* Thresholds are whole multiples of this: 1 or 5 times a power of ten, at most an eighth of the
 * planning sd. With a free threshold the next plan halves the last one's interval, and as many
 * plans as the ratio allows find one patient's difference to as many bits. */
static double threshold_step(const struct nof1_outcome *outcome)
{
    double sd = fmax(outcome->sd_within, outcome->sd_between);
    double most = sd > 0.0 ? sd / 8.0 : (outcome->upper - outcome->lower) / 100.0;
    double power = pow(10.0, floor(log10(most)));
    return 5.0 * power <= most ? 5.0 * power : power;
}

static nof1_rc check_threshold(const struct summary_test *model, const struct nof1_study *study,
                               struct nof1_error *error)
{
    const struct nof1_outcome *outcome = &study->charter->outcome[study->plan->outcome];
    double step = threshold_step(outcome), steps = round(model->mcid / step);
    if (study->charter->limits.open || fabs(model->mcid - steps * step) <= 1e-9 * step) {
        return NOF1_OK;
    }
    return nof1_fail(
        error, NOF1_E_PLAN,
        "mcid: %.15g found, a multiple of %.15g expected for %s: finer thresholds would "
        "tell single patients' differences",
        model->mcid, step, outcome->name);
}

static nof1_rc read_responder(struct summary_test *model, const struct nof1_study *study,
                              struct nof1_error *error)
{
    struct nof1_error none = {0}; /* it has no default */
    if (nof1_option_number(&model->mcid, &nof1_summary_test, study->plan->options, "mcid", &none) !=
        NOF1_OK) {
        return nof1_fail(error, NOF1_E_PLAN, "mcid: form responder needs the least important "
                                             "difference, e.g. mcid: 1");
    }
    if (model->benefit == 0) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "benefit: the charter does not say which direction of %s is better; write "
                         "benefit: higher or benefit: lower", study->plan->outcome_name);
    }
    if (strcmp(summary_choice(study, "standardise"), "none") != 0) {
        return nof1_fail(error, NOF1_E_PLAN, "standardise: a share has no unit; use none");
    }
    return check_threshold(model, study, error);
}

static nof1_rc read_scale(struct summary_test *model, const struct nof1_study *study,
                          struct nof1_error *error)
{
    const char *text = summary_choice(study, "standardise");
    model->base.scale = strcmp(text, "within") == 0    ? SUMMARY_WITHIN
                        : strcmp(text, "charter") == 0 ? SUMMARY_CHARTER
                                                       : SUMMARY_RAW;
    /* a cycle's difference has twice the variance of a period */
    model->base.ss_factor = model->cycles ? 0.5 : 1.0;
    if (model->base.scale == SUMMARY_CHARTER &&
        !(study->charter->outcome[study->plan->outcome].sd_within > 0.0)) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "standardise: the charter's sd_within of %s is 0; use within",
                         study->plan->outcome_name);
    }
    return NOF1_OK;
}

static nof1_rc read_plan(struct summary_test *model, const struct nof1_study *study,
                         struct nof1_error *error)
{
    const struct nof1_outcome *outcome = &study->charter->outcome[study->plan->outcome];
    const char *form = summary_choice(study, "form");
    model->base.form = strcmp(form, "paired") == 0      ? SUMMARY_UNITS
                       : strcmp(form, "responder") == 0 ? SUMMARY_RESPONDER
                                                        : SUMMARY_MEAN;
    model->cycles = model->base.form == SUMMARY_UNITS ||
                    strcmp(summary_choice(study, "difference"), "cycles") == 0;
    model->benefit = summary_benefit(study);
    TRY(nof1_option_number(&model->base.level, &nof1_summary_test, study->plan->options, "level",
                           error));
    TRY(nof1_option_number(&model->base.null, &nof1_summary_test, study->plan->options,
                           "null_value", error));
    model->base.bound = outcome->upper - outcome->lower;
    model->slack = 1e-9 * model->base.bound;
    if (outcome->kind == NOF1_EFFECT) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "outcome: %s is an imported table of effects; use random_effects",
                         outcome->name);
    }
    if (!(model->base.bound > 0.0) || !isfinite(model->base.bound)) {
        return nof1_fail(error, NOF1_E_PLAN, "outcome: the charter gives %s no bounds",
                         outcome->name);
    }
    if (model->cycles && study->charter->max_cycles == 0) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "difference: the charter has no cycles; use difference: periods and "
                         "form: difference");
    }
    TRY(read_scale(model, study, error));
    return model->base.form == SUMMARY_RESPONDER ? read_responder(model, study, error) : NOF1_OK;
}

/* Which number a trial has; null value, level, unit and, but for responders, direction come after.
 */
static nof1_rc name_sums(struct summary_test *model, struct nof1_arena *arena)
{
    const char *number = model->base.form == SUMMARY_UNITS ? "every cycle"
                         : model->cycles                   ? "cycles"
                                                           : "periods";
    model->base.base.sums =
        model->base.form == SUMMARY_RESPONDER
            ? nof1_arena_printf(arena, "responders by difference of %s, %d times above %.17g",
                                number, model->benefit, model->mcid)
            : nof1_arena_printf(arena, "difference of %s", number);
    ENSURE(model->base.base.sums != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    static const char *const all[] = {"all"};
    static const char *const form[] = {"difference", "paired", "responder"};
    struct summary_test *model = nof1_arena_alloc(arena, 1, sizeof *model);
    ENSURE(model != NULL, NOF1_E_NO_MEMORY);
    TRY(read_plan(model, study, error));
    const struct nof1_limits *limits = &study->charter->limits;
    model->base.share_least = limits->open ? 0.0 : (double)limits->min_cell;
    model->base.term = "treatment";
    model->base.base = (struct nof1_model){.analysis = &nof1_summary_test, .study = study,
                                           .form = form[model->base.form], .groups = 1,
                                           .group = all, .max_rounds = 1, .scratch = 64,
                                           .scratch_row = NOF1_SERIES_SCRATCH_ROW,
                                           .fixed_parameters = 1};
    model->base.base.max_elements = summary_size(&model->base);
    *out = &model->base.base;
    return name_sums(model, arena);
}

/* ---- one trial ---- */

/* False: no difference by this form. */
static bool terms_of(struct summary_terms *out, const struct summary_test *model,
                     const struct nof1_trial *trial, void *scratch)
{
    struct nof1_series series;
    struct nof1_period_difference periods;
    nof1_series_of(&series, model->base.base.study, trial, scratch);
    nof1_period_difference(&periods, &series);
    *out = (struct summary_terms){.rows = (double)series.rows, .units = 1.0, .x = periods.d,
                                  .ss = periods.ss,
                                  .df = (double)(periods.k[0] + periods.k[1]) - 2.0};
    bool exists = periods.k[0] > 0 && periods.k[1] > 0;
    if (model->cycles) {
        struct nof1_cycle_difference cycles;
        nof1_cycle_difference(&cycles, &series);
        exists = cycles.k > 0;
        out->x = cycles.d;
        out->ss = cycles.ss;
        out->df = (double)cycles.k - 1.0;
        out->units = (double)cycles.k;
    }
    out->square = out->x * out->x;
    if (model->base.form == SUMMARY_UNITS) {
        out->square = out->units * out->square + out->ss;
        out->x *= out->units;
    }
    out->responder = (double)model->benefit * out->x - model->mcid > model->slack;
    return exists;
}

static int group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    struct summary_terms terms;
    return terms_of(&terms, (const struct summary_test *)base, trial, scratch) ? 0 : NOF1_LEFT_OUT;
}

static nof1_rc_value layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                            struct nof1_layout *out)
{
    (void)round;
    return summary_layout((const struct summary_model *)base, arena, out);
}

static nof1_rc_value contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                const struct nof1_trial *trial, void *scratch, double *out)
{
    (void)round;
    (void)theta;
    struct summary_terms terms;
    ENSURE(terms_of(&terms, (const struct summary_test *)base, trial, scratch), NOF1_E_BUG);
    return summary_write((const struct summary_model *)base, &terms, out);
}

static double weight(const struct nof1_model *base, const double *theta,
                     const struct nof1_trial *trial, void *scratch)
{
    (void)theta;
    const struct summary_test *model = (const struct summary_test *)base;
    struct summary_terms terms;
    if (!terms_of(&terms, model, trial, scratch)) {
        return 0.0;
    }
    return model->base.form == SUMMARY_UNITS ? terms.units : 1.0;
}

/* ---- the result ---- */

static json_t *estimand(const struct summary_test *model, struct nof1_arena *arena)
{
    static const char *const what[] = {
        "mean over these patients of the patient's own difference (active minus reference)",
        "mean difference (active minus reference) over all complete cycles of these patients",
        ("share of these patients whose own difference (active minus reference) exceeds the MCID "
         "towards benefit")};
    bool responder = model->base.form == SUMMARY_RESPONDER;
    const char *direction = summary_direction(arena, model->base.base.study,
                                              responder ? 0 : model->benefit, "0");
    const char *sentence = nof1_arena_printf(arena, "%s%s", what[model->base.form], direction);
    return json_pack("{s:s,s:s,s:s,s:o}", "sentence", sentence == NULL ? "" : sentence,
                     "population",
                     model->cycles ? "patients with at least one complete cycle"
                                   : "patients with both treatments observed",
                     "weights", model->base.form == SUMMARY_UNITS ? "each cycle 1" : "each trial 1",
                     "mcid", nof1_json_number(responder ? model->mcid : NAN));
}

static nof1_rc_value report(const struct nof1_model *base, const struct nof1_history *history,
                            struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    static const char *const text[] = {
        "d_i ~ N(mu, sigma^2), one difference a trial: one-sample t",
        "d_ij ~ N(mu, sigma^2), one difference a complete cycle: paired t",
        "d_i > MCID, one difference a trial: exact (Clopper-Pearson) interval of a share"};
    const struct summary_test *model = (const struct summary_test *)base;
    json_t *warnings = json_array();
    nof1_warn_left_out(warnings, history, base->study,
                       model->cycles ? "no complete cycle" : "no difference of treatments");
    nof1_warn(warnings, model->base.form == SUMMARY_UNITS, "independent_cycles",
              "cycles count as independent: valid for the hypothesis of no effect in anybody; "
              "where effects vary between patients use form: difference");
    nof1_warn(warnings, model->base.form == SUMMARY_RESPONDER, "observed",
              "observed differences vary by chance too: this is the share of observed, not of "
              "true, responders");
    return summary_report(&model->base, history, estimand(model, arena), warnings,
                          text[model->base.form], out, error);
}

const struct nof1_analysis nof1_summary_test = {
    .id = "summary_test",
    .version = 1,
    .summary = "one difference a patient: t test, paired t over cycles, share of responders",
    .option = options,
    .prepare = prepare,
    .group_of = group_of,
    .layout = layout,
    .contribute = contribute,
    .advance = summary_advance,
    .weight = weight,
    .tables = true,
    .report = report,
};
