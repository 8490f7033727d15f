/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What every analysis' result is written with: fields whose loss is noticed, and warnings in one
 * shape, {"code": a word for programs, "text": a sentence for people}.
 */
#ifndef NOF1_STATS_REPORT_H
#define NOF1_STATS_REPORT_H

#include <jansson.h>
#include <nof1/analysis.h>
#include <stdbool.h>

/* A result being written: `failed` once any value could not be made or stored. */
struct nof1_report {
    json_t *warnings;
    bool failed;
};

/* Put `value` (taken; NULL: failed) into `object` under `key`. */
void nof1_report_put(struct nof1_report *report, json_t *object, const char *key, json_t *value);
/* Put a number; null when it is not finite. */
void nof1_report_number(struct nof1_report *report, json_t *object, const char *key, double value);
/* Append `value` (taken; NULL: failed) to `array`. */
void nof1_report_append(struct nof1_report *report, json_t *array, json_t *value);
/* A row of "estimates" with broom's names: normal when df is infinite (df is null then). `error` is
 * the standard error, NAN when there is none. */
json_t *nof1_report_estimate(struct nof1_report *report, const char *term, double estimate,
                             double error, double df, double level);
/* Append a row of "variance_components" as broom.mixed has them: the variance of term1 (NULL: of
 * the residuals) with its sd, or with term2 the covariance of both with their correlation. */
void nof1_report_component(struct nof1_report *report, json_t *rows, const char *group,
                           const char *term1, const char *term2, double estimate,
                           double correlation);

/* Append the warning to the list when `when`. */
void nof1_warn(json_t *warnings, bool when, const char *code, const char *text);
/* Warn of the trials left out, if any: "N trials left out: WHY"; outside an open lab "about N" or
 * "fewer than" min_cell. */
void nof1_warn_left_out(json_t *warnings, const struct nof1_history *history,
                        const struct nof1_study *study, const char *why);

#endif
