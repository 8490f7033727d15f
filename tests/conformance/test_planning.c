/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Planning against power.t.test and integrate (planning/make.R): tails of the noncentral t, the
 * table, and the least numbers found.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <base/document.h>
#include <stats/power.h>
#include <stats/registry.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/planning/"

static nof1_rc_value plan(json_t **out, const char *yaml, struct nof1_error *error)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_plan plan = {.analysis = "planning"};
    const struct nof1_study study = {.plan = &plan};
    const struct nof1_history history = {0};
    struct nof1_model *model = NULL;
    cr_assert(nof1_yaml_read(&plan.options, arena, "test", nof1_slice_text(yaml), error) ==
              NOF1_OK);
    nof1_rc_value rc = nof1_planning.prepare(&model, arena, &study, error);
    if (rc == NOF1_OK) {
        rc = nof1_planning.report(model, &history, arena, out, error);
    }
    nof1_arena_free(arena);
    return rc;
}

static const json_t *rows_of(const json_t *result)
{
    return json_object_get(json_array_get(json_object_get(result, "tables"), 0), "cells");
}

Test(planning, tails_equal_integration_in_r)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(file, "tails"), i, one)
    {
        double p = NAN;
        cr_assert(nof1_noncentral_t_upper(&p, test_number(one, "c"), test_number(one, "df"),
                                          test_number(one, "ncp")) == NOF1_OK);
        cr_expect(fabs(p - test_number(one, "p")) < 1e-11,
                  "df %g c %g ncp %g: %.15g, expected %.15g", test_number(one, "df"),
                  test_number(one, "c"), test_number(one, "ncp"), p, test_number(one, "p"));
    }
    json_decref(file);
    double p;
    cr_expect(nof1_noncentral_t_upper(&p, -1, 5, 0) == NOF1_E_MODEL);
    cr_expect(nof1_noncentral_t_upper(&p, 1, 0.5, 0) == NOF1_E_MODEL);
    cr_expect(nof1_noncentral_t_upper(&p, NAN, 5, 0) == NOF1_E_MODEL);
    cr_expect(nof1_noncentral_t_upper(&p, 1.96, 1e8, 2.8) == NOF1_OK);
    cr_expect(fabs(p - 0.5 * erfc((1.96 - 2.8) / sqrt(2))) < 1e-7, "%.15g", p);
}

static void same(const json_t *got, const json_t *want, const char *key, const char *other)
{
    double a = test_number(got, key), b = test_number(want, other);
    cr_expect(test_close(a, b, 1e-9, 1e-4), "%s: got %.17g, expected %.17g", key, a, b);
}

Test(planning, table_equals_power_t_test)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i, r;
    json_t *one, *want;
    json_array_foreach(json_object_get(file, "grid"), i, one)
    {
        char yaml[512];
        struct nof1_error error = {0};
        json_t *result = NULL;
        snprintf(yaml, sizeof yaml,
                 "effect: %.17g\nsd_effect: %.17g\nsd_within: %.17g\nlevel: %.17g\nsides: "
                 "%s_sided\npatients: [2, 3, 8, 25, 120]\ncycles: [1, 2, 3, 6]\n",
                 test_number(one, "effect"), test_number(one, "psi"), test_number(one, "sigma"),
                 1.0 - test_number(one, "alpha"),
                 json_string_value(json_object_get(one, "sides")));
        cr_assert(plan(&result, yaml, &error) == NOF1_OK, "%s", error.message);
        cr_assert(json_array_size(rows_of(result)) == 20);
        json_array_foreach(json_object_get(one, "rows"), r, want)
        {
            const json_t *row = json_array_get(rows_of(result), r);
            same(row, want, "patients", "patients");
            same(row, want, "cycles", "cycles");
            same(row, want, "std.error", "se");
            same(row, want, "half.width", "half");
            same(row, want, "power", "power");
            same(row, want, "patient.sd", "patient");
        }
        json_decref(result);
    }
    json_decref(file);
}

/* Column `key` of the rows equals the list; null stands for "not reached". */
static void same_column(const char *yaml, const char *key, const json_t *want, const char *tag)
{
    struct nof1_error error = {0};
    json_t *result = NULL;
    size_t i;
    json_t *number;
    cr_assert(plan(&result, yaml, &error) == NOF1_OK, "%s", error.message);
    bool missing = false;
    json_array_foreach(want, i, number)
    {
        const json_t *got = json_object_get(json_array_get(rows_of(result), i), key);
        missing = missing || json_is_null(number);
        cr_expect(json_is_null(number) ? json_is_null(got)
                                       : json_number_value(got) == json_number_value(number),
                  "%s %s %zu: %g, expected %g", tag, key, i, json_number_value(got),
                  json_number_value(number));
    }
    cr_expect(missing == (json_array_size(json_object_get(result, "warnings")) > 0));
    json_decref(result);
}

Test(planning, finds_the_least_numbers)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(file, "solved"), i, one)
    {
        char common[160], yaml[256];
        snprintf(common, sizeof common, "effect: 1\nsd_effect: %g\nsd_within: 1.5\npower: %g\n",
                 test_number(one, "psi"), test_number(one, "power"));
        snprintf(yaml, sizeof yaml, "%scycles: [1, 2, 3, 4]\n", common);
        same_column(yaml, "patients", json_object_get(one, "patients"), common);
        snprintf(yaml, sizeof yaml, "%spatients: [10, 20, 50]\ncycles: []\n", common);
        same_column(yaml, "cycles", json_object_get(one, "cycles"), common);
        snprintf(yaml, sizeof yaml, "%sprecision: 0.6\ncycles: [1, 2, 3, 4]\n", common);
        same_column(yaml, "patients", json_object_get(one, "precise"), common);
    }
    json_decref(file);
}

Test(planning, refuses_what_it_cannot_plan)
{
    static const char *const bad[] = {
        "effect: 1\n", "sd_within: 1\n", "effect: 1\nsd_within: 1\ncycles: []\n",
        "effect: 1\nsd_within: 1\npatients: [1]\n", "effect: 1\nsd_within: 1\npatients: [2.5]\n",
        "effect: 1\nsd_within: -1\n", "effect: x\nsd_within: 1\n",
        "effect: 1\nsd_within: 1\nlevel: 1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct nof1_error error = {0};
        json_t *result = NULL;
        cr_expect(plan(&result, bad[i], &error) == NOF1_E_PLAN, "%s", bad[i]);
    }
    static const struct { const char *yaml; double patients; } odd[] = {
        {"effect: 1e6\nsd_within: 1e-6\ncycles: [1]\n", 2},
        {"effect: 1e-9\nsd_within: 1\ncycles: [1]\n", NAN}, /* not with a million */
        {"sd_within: 1\nprecision: 1e9\ncycles: [1]\n", 2}};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct nof1_error error = {0};
        json_t *result = NULL;
        cr_assert(plan(&result, odd[i].yaml, &error) == NOF1_OK, "%s", error.message);
        double n = test_number(json_array_get(rows_of(result), 0), "patients");
        cr_expect((isnan(n) && isnan(odd[i].patients)) || n == odd[i].patients, "%zu: %g", i, n);
        json_decref(result);
    }
    /* a study with data is told where to go */
    struct nof1_arena *arena = nof1_arena_new();
    struct test_study *study = test_trials_from_text(
        arena, "trial,cycle,period,treatment,y\na,1,1,0,5\na,1,2,1,7\n",
        "analysis: planning\nsd_within: 1\n", &nof1_planning);
    struct nof1_error error = {0};
    json_t *result = NULL;
    cr_expect(test_study_run(&result, arena, study, &error) == NOF1_E_PLAN);
    cr_expect(strstr(error.message, "nof1 planning") != NULL);
    nof1_arena_free(arena);
}
