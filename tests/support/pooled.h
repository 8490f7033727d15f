/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Runs an analysis on an array of trials in one process: every round of the contract, with ring
 * encoding and parameter rounding as in production, but without sessions, masks and thresholds. And
 * a loader that makes a study (charter, census, plan, limits open) from one CSV. Tests only.
 */
#ifndef NOF1_TEST_POOLED_H
#define NOF1_TEST_POOLED_H

#include <jansson.h>
#include <nof1/analysis.h>

/* Prepare, count groups, run rounds until done or model->max_rounds, report. patient[i] numbers the
 * patient of trial i (NULL: each trial is its own). All errors of the analysis are returned.
 * New reference in *out. */
nof1_rc_value test_pooled_run(json_t **out, struct nof1_arena *arena,
                              const struct nof1_study *study, const struct nof1_trial *trials,
                              const uint32_t *patient, size_t count, struct nof1_error *error);
/* The same up to the report: the model and what its rounds have released. */
nof1_rc_value test_pooled_history(struct nof1_model **model, struct nof1_history *history,
                                  struct nof1_arena *arena, const struct nof1_study *study,
                                  const struct nof1_trial *trials, const uint32_t *patient,
                                  size_t count, struct nof1_error *error);

struct test_study {
    struct nof1_study study;       /* points at the three below */
    struct nof1_charter charter;
    struct nof1_census census;
    struct nof1_plan plan;
    const struct nof1_analysis *analysis;
    size_t trials;
    struct nof1_trial *trial;
    uint32_t *patient;
};

/* Columns of the CSV: trial[, patient][, cycle][, period][, time], treatment, the outcome, and any
 * other column as a covariate (numeric, or a factor with sorted levels when a value is not a number
 * or `factors` names it). Empty or NA is missing. Trials in order of appearance.
 * `text` is YAML: the analysis' options, plus
 *   analysis (required), outcome: y, variance: COLUMN (an imported table of effects),
 *   reference, active (default: the two smallest treatment names), others: [further active ones],
 *   charter: {centre, sd_within, sd_between, any_arm, missing: rows|centre|exclude, factors: [],
 *             lambda: [], classes: true, stratum: COVARIATE, open: true, min_class_patients,
 *             max_release_ratio, max_rounds_query, kind: continuous|binary|count|ordinal}
 * Missing options get the analysis' defaults; unknown ones abort. One block, census as of the CSV.
 * `analysis` may be given to bypass the registry (NULL: find it). Aborts the test on bad fixtures.
 */
struct test_study *test_trials_from_csv(struct nof1_arena *arena, const char *path,
                                        const char *text, const struct nof1_analysis *analysis);
/* The same from CSV text in memory. */
struct test_study *test_trials_from_text(struct nof1_arena *arena, const char *csv,
                                         const char *text, const struct nof1_analysis *analysis);
/* test_pooled_run on such a study. */
nof1_rc_value test_study_run(json_t **out, struct nof1_arena *arena, struct test_study *s,
                             struct nof1_error *error);
/* The element `key` (e.g. "estimate") of the estimate named `term`; NAN when absent or null. */
double test_estimate(const json_t *result, const char *term, const char *key);
/* A number by path "fit/logLik"; NAN when absent or null. */
double test_number(const json_t *result, const char *path);

#endif
