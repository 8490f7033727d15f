/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What `feasibility` counts, before any noise: a patient once, in the right cell; and what it
 * refuses. Noise and budget are in test_noise.c and test_noise_site.c.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/registry.h>

#include "pooled.h"
#include "support.h"

#define CSV NOF1_SOURCE_DIR "/tests/conformance/access/wards.csv"

static struct test_study *study_of(struct nof1_arena *arena, const char *options)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml, "analysis: feasibility\n%s\ncharter: {stratum: ward}\n", options);
    struct test_study *study = test_trials_from_csv(arena, CSV, yaml, &nof1_feasibility);
    study->charter.limits.dp_delta = 1e-6;
    return study;
}

static const json_t *cells_of(const json_t *result)
{
    return json_object_get(json_array_get(json_object_get(result, "tables"), 0), "cells");
}

/* Without noise the cells are the exact counts of patients, each by its first trial. */
Test(feasibility, counts_patients_once)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct test_study *study = study_of(arena, "by: [ward, \"observed:y\"]");
    struct nof1_error error = {0};
    json_t *result = NULL;
    const struct nof1_covariate *ward = NULL;
    size_t column = 0, i;
    for (size_t c = 0; c < study->charter.covariates; c++) {
        if (strcmp(study->charter.covariate[c].name, "ward") == 0) {
            ward = &study->charter.covariate[c];
            column = c;
        }
    }
    cr_assert_not_null(ward);
    for (size_t t = 3; t < study->trials; t += 4) { /* some patients have two trials */
        study->patient[t] = study->patient[t - 3];
    }
    nof1_rc_value rc = test_study_run(&result, arena, study, &error);
    cr_assert_eq(rc, NOF1_OK, "%s %s", nof1_rc_code(rc), error.message);
    json_t *cell;
    double all = 0;
    json_array_foreach(cells_of(result), i, cell)
    {
        const char *level = json_string_value(json_object_get(cell, "ward"));
        bool yes = strcmp(json_string_value(json_object_get(cell, "observed:y")), "yes") == 0;
        double want = 0;
        for (size_t t = 0; t < study->trials; t++) {
            bool first = true;
            for (size_t j = 0; j < t; j++) {
                first = first && study->patient[j] != study->patient[t];
            }
            double value = study->trial[t].covariate[column][0];
            const char *own = isnan(value) ? "missing" : ward->level[(size_t)value];
            want += first && yes && strcmp(own, level) == 0 ? 1 : 0;
        }
        cr_expect_eq(test_number(cell, "noisy"), want, "%s %d: %g, %g", level, yes,
                     test_number(cell, "noisy"), want);
        all += want;
    }
    cr_expect(all > 0 && all < test_number(result, "fit/trials"));
    cr_expect_eq(all, test_number(result, "fit/nobs"));
    cr_expect_leq(test_number(result, "noise/epsilon"), 1);
    json_decref(result);
    nof1_arena_free(arena);
}

Test(feasibility, refuses_what_it_cannot_count)
{
    static const char *const bad[][2] = {
        {"by: []", "by: name 1 to 3"}, {"by: [nothing]", "by: nothing"},
        {"by: [ward, ward]", "named twice"}, {"by: [\"observed:z\"]", "by: observed:z"},
        {"by: [ward]\nepsilon: 9", "epsilon"}, {"by: [ward]\nlevel: 2", "level"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        json_t *result = NULL;
        nof1_rc_value rc = test_study_run(&result, arena, study_of(arena, bad[i][0]), &error);
        cr_expect_eq(rc, NOF1_E_PLAN, "%s", bad[i][0]);
        cr_expect_not_null(strstr(error.message, bad[i][1]), "%s: %s", bad[i][0], error.message);
        nof1_arena_free(arena);
    }
}
