/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Fields and warnings of a result. Never writes a number that is not finite.
 */
#include "report.h"

#include <base/json.h>
#include <math.h>
#include <stats/cells.h>
#include <stats/distributions.h>
#include <stdio.h>

void nof1_report_put(struct nof1_report *report, json_t *object, const char *key, json_t *value)
{
    report->failed =
        report->failed || value == NULL || json_object_set_new(object, key, value) != 0;
}

void nof1_report_number(struct nof1_report *report, json_t *object, const char *key, double value)
{
    nof1_report_put(report, object, key, nof1_json_number(value));
}

void nof1_report_append(struct nof1_report *report, json_t *array, json_t *value)
{
    report->failed = report->failed || value == NULL || json_array_append_new(array, value) != 0;
}

json_t *nof1_report_estimate(struct nof1_report *report, const char *term, double estimate,
                             double error, double df, double level)
{
    double reach = nof1_t_quantile((1 - level) / 2, df) * error;
    json_t *row = json_object();
    nof1_report_put(report, row, "term", json_string(term));
    nof1_report_number(report, row, "estimate", estimate);
    nof1_report_number(report, row, "std.error", error);
    nof1_report_number(report, row, "statistic", estimate / error);
    nof1_report_number(report, row, "df", df);
    nof1_report_number(report, row, "p.value", nof1_t_two_sided(estimate / error, df));
    nof1_report_number(report, row, "conf.low", estimate - reach);
    nof1_report_number(report, row, "conf.high", estimate + reach);
    return row;
}

void nof1_report_component(struct nof1_report *report, json_t *rows, const char *group,
                           const char *term1, const char *term2, double estimate,
                           double correlation)
{
    json_t *row = json_object();
    nof1_report_put(report, row, "group", json_string(group));
    nof1_report_put(report, row, "term1", term1 == NULL ? json_null() : json_string(term1));
    nof1_report_put(report, row, "term2", term2 == NULL ? json_null() : json_string(term2));
    nof1_report_number(report, row, "estimate", estimate);
    if (term2 == NULL) {
        nof1_report_number(report, row, "sd", sqrt(fmax(0, estimate)));
    } else {
        nof1_report_number(report, row, "cor", correlation);
    }
    nof1_report_append(report, rows, row);
}

void nof1_warn(json_t *warnings, bool when, const char *code, const char *text)
{
    if (when) {
        json_array_append_new(warnings, json_pack("{s:s,s:s}", "code", code, "text", text));
    }
}

void nof1_warn_left_out(json_t *warnings, const struct nof1_history *history,
                        const struct nof1_study *study, const char *why)
{
    char text[240];
    const struct nof1_limits *limits = &study->charter->limits;
    double shown = nof1_cells_left_out(limits, history->counts.left_out);
    if (isnan(shown)) {
        snprintf(text, sizeof text, "fewer than %u trials left out: %s", limits->min_cell, why);
    } else {
        snprintf(text, sizeof text, "%s%.0f trial%s left out: %s",
                 limits->open || limits->rounding < 2 ? "" : "about ", shown,
                 shown == 1.0 ? "" : "s", why);
    }
    nof1_warn(warnings, history->counts.left_out > 0, "left_out", text);
}
