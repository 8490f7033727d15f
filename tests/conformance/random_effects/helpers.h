/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the suites of the two-stage analysis share: studies from files or text, runs, comparisons.
 */
#ifndef NOF1_TEST_RANDOM_EFFECTS_H
#define NOF1_TEST_RANDOM_EFFECTS_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/registry.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/random_effects/"

static inline double expected(const json_t *fit, const char *key, size_t i)
{
    const json_t *value = json_object_get(fit, key);
    if (json_is_array(value)) {
        value = json_array_get(value, i);
    } else if (i > 0) {
        value = NULL;
    }
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static inline void same(const char *what, double got, double want, double tolerance, double floor)
{
    if (isnan(want)) {
        return;
    }
    cr_expect(test_close(got, want, tolerance, floor), "%s: got %.17g, expected %.17g (%.2g)", what,
              got, want, fabs(got - want) / fmax(fabs(want), floor));
}

/* A study from a file of the folder, or from CSV text. */
static inline struct test_study *study_of(struct nof1_arena *arena, const char *csv,
                                          const char *text)
{
    const char *yaml = nof1_arena_printf(arena, "analysis: random_effects\n%s\n", text);
    if (strchr(csv, ',') != NULL) {
        return test_trials_from_text(arena, csv, yaml, &nof1_random_effects);
    }
    const char *path = nof1_arena_printf(arena, "%s%s", FOLDER, csv);
    return test_trials_from_csv(arena, path, yaml, &nof1_random_effects);
}

static inline json_t *run(struct nof1_arena *arena, const char *csv, const char *text,
                   nof1_rc_value expected_rc)
{
    struct test_study *study = study_of(arena, csv, text);
    static const size_t outer[] = {0, 2}; /* levels a and c */
    if (strstr(text, "stratum: stratum") != NULL) {
        study->plan.strata = 2;
        study->plan.stratum = outer;
    }
    struct nof1_error error = {0};
    json_t *result = NULL;
    nof1_rc_value rc = test_study_run(&result, arena, study, &error);
    cr_expect(rc == expected_rc, "%s: %s %s", text, nof1_rc_code(rc), error.message);
    return rc == NOF1_OK ? result : NULL;
}

static inline bool warned(const json_t *result, const char *part)
{
    size_t i;
    json_t *warning;
    json_array_foreach(json_object_get(result, "warnings"), i, warning)
    {
        if (strstr(json_string_value(json_object_get(warning, "text")), part) != NULL) {
            return true;
        }
    }
    return false;
}

static inline bool flag(const json_t *result, const char *key)
{
    return json_is_true(json_object_get(json_object_get(result, "fit"), key));
}

#endif
