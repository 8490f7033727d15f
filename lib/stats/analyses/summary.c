/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Student's t on one number a trial, from their count, sum and sum of squares; see summary.h. The
 * two sums are minimal and sufficient for the normal model of the numbers.
 */
#include "summary.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>

#include <base/document.h>
#include <base/json.h>
#include <stats/distributions.h>
#include <stats/report.h>

void summary_visit(struct summary_walk *walk, const char *name, struct nof1_element element,
                   double *value)
{
    if (walk->element != NULL) {
        element.name = nof1_arena_text(walk->arena, name);
        walk->failed = walk->failed || element.name == NULL;
        walk->element[walk->count] = element;
    }
    if (walk->out != NULL) {
        walk->out[walk->count] = *value;
        walk->failed = walk->failed || !isfinite(*value);
    }
    if (walk->total != NULL) {
        *value = walk->total[walk->count];
    }
    walk->count++;
}

/* ---- plan and JSON ---- */

const char *summary_choice(const struct nof1_study *study, const char *key)
{
    const struct nof1_node *node = nof1_node_get(study->plan->options, key);
    return node == NULL ? "" : node->text;
}

int summary_benefit(const struct nof1_study *study)
{
    const char *wish = summary_choice(study, "benefit");
    if (strcmp(wish, "higher") == 0) {
        return 1;
    }
    return strcmp(wish, "lower") == 0 ? -1 : study->charter->outcome[study->plan->outcome].benefit;
}

const char *summary_direction(struct nof1_arena *arena, const struct nof1_study *study, int benefit,
                              const char *none)
{
    if (benefit == 0) {
        return "";
    }
    const char *text = nof1_arena_printf(
        arena, "; %s is better, so values %s %s favour %s", benefit > 0 ? "higher" : "lower",
        benefit > 0 ? "above" : "below", none, study->charter->treatment[study->plan->active]);
    return text == NULL ? "" : text;
}

/* ---- the numbers of the round ---- */

void summary_walk_terms(struct summary_walk *walk, const struct summary_model *model,
                        struct summary_terms *terms)
{
    struct nof1_element design = {.role = NOF1_DESIGN, .group = -1, .bound = SUMMARY_MOST_ROWS};
    struct nof1_element outcome = {.role = NOF1_OUTCOME, .group = -1, .block = 1, .block_size = 1,
                                   .bound = 1.0};
    summary_visit(walk, "rows", design, &terms->rows);
    if (model->form == SUMMARY_RESPONDER) {
        summary_visit(walk, "responders", outcome, &terms->responder);
        return;
    }
    double most = model->form == SUMMARY_UNITS ? SUMMARY_MOST_ROWS : 1.0;
    if (model->form == SUMMARY_UNITS) {
        summary_visit(walk, "cycles", design, &terms->units);
    }
    outcome.bound = most * model->bound;
    summary_visit(walk, "sum d", outcome, &terms->x);
    outcome.bound *= model->bound;
    summary_visit(walk, "sum d^2", outcome, &terms->square);
    if (model->scale == SUMMARY_WITHIN) {
        outcome.bound = SUMMARY_MOST_ROWS * model->bound * model->bound;
        outcome.block = 2;
        summary_visit(walk, "df within", design, &terms->df);
        summary_visit(walk, "ss within", outcome, &terms->ss);
    }
}

size_t summary_size(const struct summary_model *model)
{
    struct summary_walk walk = {0};
    struct summary_terms terms = {0};
    summary_walk_terms(&walk, model, &terms);
    return walk.count;
}

nof1_rc_value summary_layout(const struct summary_model *model, struct nof1_arena *arena,
                             struct nof1_layout *out)
{
    struct summary_terms terms = {0};
    struct summary_walk walk = {.arena = arena,
                                .element = nof1_arena_alloc(arena, summary_size(model),
                                                            sizeof *walk.element)};
    ENSURE(walk.element != NULL, NOF1_E_NO_MEMORY);
    summary_walk_terms(&walk, model, &terms);
    ENSURE(!walk.failed, NOF1_E_NO_MEMORY);
    *out = (struct nof1_layout){walk.count, walk.element};
    return NOF1_OK;
}

nof1_rc_value summary_write(const struct summary_model *model, struct summary_terms *terms,
                            double *out)
{
    struct summary_walk walk = {.out = out};
    summary_walk_terms(&walk, model, terms);
    ENSURE(!walk.failed, NOF1_E2403);
    return NOF1_OK;
}

nof1_rc_value summary_advance(const struct nof1_model *base, const struct nof1_history *history,
                              struct nof1_arena *arena, struct nof1_next *out,
                              struct nof1_error *error)
{
    (void)base;
    (void)arena;
    (void)error;
    *out = (struct nof1_next){.done = history->rounds > 0};
    return NOF1_OK;
}

/* ---- statistics ---- */

/* The p quantile of a beta distribution, polished: GSL's stops early in the tails. */
static double beta_quantile(double p, double a, double b)
{
    double x = gsl_cdf_beta_Pinv(p, a, b);
    for (int i = 0; i < 20; i++) {
        double density = gsl_ran_beta_pdf(x, a, b);
        double off = p < 0.5 ? gsl_cdf_beta_P(x, a, b) - p : (1.0 - p) - gsl_cdf_beta_Q(x, a, b);
        double next = density > 0.0 ? x - off / density : x;
        if (!(next > 0.0) || !(next < 1.0) || fabs(next - x) <= 2.0 * DBL_EPSILON * x) {
            break;
        }
        x = next;
    }
    return x;
}

void summary_binomial(double *low, double *high, double count, double n, double level)
{
    double half = 0.5 * (1.0 - level);
    *low = count <= 0.0 ? 0.0 : beta_quantile(half, count, n - count + 1.0);
    *high = count >= n ? 1.0 : beta_quantile(1.0 - half, count + 1.0, n - count);
}

struct t_test {
    double n, mean, sd, se, statistic, df, p, low, high;
    bool constant; /* no variation beyond rounding */
};

static void t_test_of(struct t_test *t, const struct summary_model *model, double n, double sum,
                      double square)
{
    *t = (struct t_test){.n = n, .mean = sum / n, .df = n - 1.0, .sd = NAN, .se = NAN,
                         .statistic = NAN, .p = NAN, .low = NAN, .high = NAN};
    if (n < 2.0) {
        return;
    }
    /* n square - sum^2, each product with its rounding error kept */
    double a = n * square, b = sum * sum;
    double ss = ((a - b) + (fma(n, square, -a) - fma(sum, sum, -b))) / n;
    t->constant = ss <= 8.0 * DBL_EPSILON * square;
    t->sd = t->constant ? 0.0 : sqrt(ss / t->df);
    t->se = t->sd / sqrt(n);
    if (t->constant) {
        return;
    }
    double critical = nof1_t_quantile(0.5 * (1.0 - model->level), t->df);
    t->statistic = (t->mean - model->null) / t->se;
    t->p = nof1_t_two_sided(t->statistic, t->df);
    t->low = t->mean - critical * t->se;
    t->high = t->mean + critical * t->se;
}

static json_t *t_row(const char *term, const struct t_test *t, double divisor)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "term", term, "estimate",
                     nof1_json_number(t->mean / divisor), "std.error",
                     nof1_json_number(t->se / divisor), "statistic", nof1_json_number(t->statistic),
                     "df", t->df > 0.0 ? nof1_json_number(t->df) : json_null(), "p.value",
                     nof1_json_number(t->p), "conf.low", nof1_json_number(t->low / divisor),
                     "conf.high", nof1_json_number(t->high / divisor));
}

static void t_warnings(json_t *list, const struct summary_model *model, const struct t_test *t)
{
    const char *what = model->form == SUMMARY_UNITS ? "cycle" : "trial";
    char text[160];
    snprintf(text, sizeof text, "one %s in all: no standard error, test or interval", what);
    nof1_warn(list, t->n == 1.0, "one_trial", text);
    snprintf(text, sizeof text, "the number of every %s is the same: no test and no interval",
             what);
    nof1_warn(list, t->constant, "constant", text);
}

/* sd within trials, or NAN. */
static double within_of(const struct summary_model *model, const struct summary_terms *total)
{
    const struct nof1_study *study = model->base.study;
    if (model->scale == SUMMARY_CHARTER) {
        return study->charter->outcome[study->plan->outcome].sd_within;
    }
    bool exists = model->scale == SUMMARY_WITHIN && total->df > 0.0 && total->ss > 0.0;
    return exists ? sqrt(model->ss_factor * total->ss / total->df) : NAN;
}

static nof1_rc mean_report(json_t *result, const struct summary_model *model,
                           const struct nof1_history *history, const struct summary_terms *total)
{
    double n = model->form == SUMMARY_UNITS ? total->units : (double)history->counts.trials;
    struct t_test t;
    t_test_of(&t, model, n, total->x, total->square);
    json_t *estimates = json_object_get(result, "estimates");
    json_t *warnings = json_object_get(result, "warnings");
    json_array_append_new(estimates, t_row(model->term, &t, 1.0));
    double within = within_of(model, total);
    if (model->scale != SUMMARY_RAW) {
        if (!isnan(within)) {
            json_array_append_new(estimates, t_row("treatment / sd within", &t, within));
        }
        nof1_warn(warnings, isnan(within), "zero_within",
                  "no variation within trials is observed: nothing to standardise by");
        nof1_warn(warnings, !isnan(within), "standardised",
                  "the interval of the standardised mean takes the sd within as known");
    }
    t_warnings(warnings, model, &t);
    json_t *summary = json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o}", "n", nof1_json_number(n), "mean", nof1_json_number(t.mean),
        "sd", nof1_json_number(t.sd), "dz", nof1_json_number(t.sd > 0.0 ? t.mean / t.sd : NAN),
        "sd.within", nof1_json_number(within), "null_value", nof1_json_number(model->null));
    ENSURE(summary != NULL, NOF1_E_NO_MEMORY);
    ENSURE(json_object_set_new(result, "summary", summary) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc responder_report(json_t *result, const struct summary_model *model,
                                const struct nof1_history *history, double count)
{
    double n = (double)history->counts.trials;
    double low, high;
    bool hidden = count < model->share_least || n - count < model->share_least;
    summary_binomial(&low, &high, count, n, model->level);
    double unknown = hidden ? NAN : 0.0;
    json_t *row =
        json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "term", "responders", "estimate",
                  nof1_json_number(count / n + unknown), "std.error", json_null(), "statistic",
                  json_null(), "df", json_null(), "p.value", json_null(), "conf.low",
                  nof1_json_number(low + unknown), "conf.high", nof1_json_number(high + unknown));
    json_t *share = json_pack("{s:o,s:o}", "count", nof1_json_number(count + unknown), "trials",
                              nof1_json_number(n));
    ENSURE(row != NULL && share != NULL, NOF1_E_NO_MEMORY);
    json_array_append_new(json_object_get(result, "estimates"), row);
    ENSURE(json_object_set_new(result, "responders", share) == 0, NOF1_E_NO_MEMORY);
    nof1_warn(json_object_get(result, "warnings"), hidden, "hidden_cells",
              "few patients respond, or few do not: the share is not shown (E2401)");
    return NOF1_OK;
}

nof1_rc_value summary_report(const struct summary_model *model, const struct nof1_history *history,
                             json_t *estimand, json_t *warnings, const char *text, json_t **out,
                             struct nof1_error *error)
{
    json_t *result = json_pack("{s:[],s:o,s:o,s:s,s:s}", "estimates", "estimand", estimand,
                               "warnings", warnings, "form", model->base.form, "model", text);
    ENSURE(result != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = NOF1_OK;
    if (history->rounds == 0 || history->counts.trials == 0) {
        rc = nof1_fail(error, NOF1_E_MODEL, "no trial has both treatments observed");
    } else {
        struct summary_terms total = {0};
        struct summary_walk walk = {.total = history->round[0].total};
        summary_walk_terms(&walk, model, &total);
        json_t *fit = json_pack("{s:o,s:I,s:I,s:I,s:b}", "nobs", nof1_json_number(total.rows),
                                "trials", (json_int_t)history->counts.trials, "sites",
                                (json_int_t)history->counts.sites, "rounds",
                                (json_int_t)history->rounds, "converged", true);
        rc = json_object_set_new(result, "fit", fit) == 0 ? NOF1_OK : NOF1_E_NO_MEMORY;
        if (rc == NOF1_OK) {
            rc = model->form == SUMMARY_RESPONDER
                     ? responder_report(result, model, history, total.responder)
                     : mean_report(result, model, history, &total);
        }
    }
    if (rc != NOF1_OK) {
        json_decref(result);
        return rc;
    }
    *out = result;
    return NOF1_OK;
}
