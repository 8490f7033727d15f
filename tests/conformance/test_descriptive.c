/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Descriptives against base R (descriptive/make.R), and the suppression of small cells.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/cells.h>
#include <stats/registry.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/descriptive/"

static void same(const char *what, const json_t *got, const json_t *want, const char *key)
{
    double a = test_number(got, key);
    double b = test_number(want, key);
    cr_expect((isnan(a) && isnan(b)) || test_close(a, b, 1e-12, 0),
              "%s %s: got %.17g, expected %.17g", what, key, a, b);
}

static void same_cell(const char *what, const json_t *got, const json_t *want)
{
    static const char *const key[] = {"rows", "trials", "missing", "mean", "sd"};
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        same(what, got, want, key[i]);
    }
}

static const json_t *table(const json_t *result, const char *by)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(result, "tables"), i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "by")), by) == 0) {
            return json_object_get(one, "cells");
        }
    }
    return NULL;
}

static const json_t *cell_of(const json_t *cells, const char *level)
{
    size_t i;
    json_t *one;
    json_array_foreach(cells, i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "level")), level) == 0) {
            return one;
        }
    }
    return NULL;
}

/* A study with the bounds of the constants. steps: the outcome's quantum is 1 and bins: 0. */
static struct test_study *study_of(struct nof1_arena *arena, const json_t *one, const char *extra)
{
    char path[512];
    char yaml[512];
    bool steps = strstr(json_string_value(json_object_get(one, "name")), "steps") != NULL;
    snprintf(path, sizeof path, FOLDER "%s", json_string_value(json_object_get(one, "file")));
    snprintf(yaml, sizeof yaml,
             "analysis: descriptive\nbins: %d\nby: [arm, period]\nhistogram: yes\ncharter: "
             "{centre: %.17g%s}\n",
             steps ? 0 : (int)test_number(one, "bins"), test_number(one, "centre"), extra);
    struct test_study *study = test_trials_from_csv(arena, path, yaml, &nof1_descriptive);
    struct nof1_outcome *outcome = nof1_arena_alloc(arena, 1, sizeof *outcome);
    *outcome = study->charter.outcome[0];
    outcome->lower = test_number(one, "lower") + (steps ? 0.5 : 0.0);
    outcome->upper = test_number(one, "upper") - (steps ? 0.5 : 0.0);
    outcome->quantum = steps ? 1.0 : 0.0;
    study->charter.outcome = outcome;
    return study;
}

static json_t *run(struct nof1_arena *arena, struct test_study *study)
{
    struct nof1_error error = {0};
    json_t *result = NULL;
    nof1_rc_value rc = test_study_run(&result, arena, study, &error);
    cr_assert(rc == NOF1_OK, "%s %s", nof1_rc_code(rc), error.message);
    return result;
}

static void compare_histogram(const char *name, const json_t *result, const json_t *one)
{
    const json_t *arms = json_object_get(json_object_get(result, "histogram"), "arms");
    const json_t *quantiles = json_object_get(result, "quantiles");
    static const char *const key[] = {"q25", "median", "q75"};
    for (size_t a = 0; a < 2; a++) {
        const json_t *got = json_object_get(json_array_get(arms, a), "counts");
        const json_t *want = json_array_get(json_object_get(one, "counts"), a);
        cr_assert(json_array_size(got) == json_array_size(want));
        for (size_t b = 0; b < json_array_size(want); b++) {
            cr_expect(json_number_value(json_array_get(got, b)) ==
                          json_number_value(json_array_get(want, b)),
                      "%s arm %zu bin %zu", name, a, b);
        }
    }
    for (size_t l = 0; l < 3; l++) {
        const json_t *want = json_array_get(json_object_get(one, "quartiles"), l);
        for (size_t q = 0; q < 3; q++) {
            double got = test_number(json_array_get(quantiles, l), key[q]);
            cr_expect(test_close(got, json_number_value(json_array_get(want, q)), 1e-12, 1.0),
                      "%s %s: %.17g", name, key[q], got);
        }
    }
}

Test(descriptive, equals_base_r)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i, p;
    json_t *one, *period;
    json_array_foreach(json_object_get(file, "cases"), i, one)
    {
        struct nof1_arena *arena = nof1_arena_new();
        const char *name = json_string_value(json_object_get(one, "name"));
        json_t *result = run(arena, study_of(arena, one, ""));
        same_cell(name, json_array_get(table(result, "all"), 0), json_object_get(one, "all"));
        for (size_t a = 0; a < 2; a++) {
            same_cell(name, json_array_get(table(result, "arm"), a),
                      json_array_get(json_object_get(one, "arm"), a));
        }
        json_array_foreach(json_object_get(one, "period"), p, period)
        {
            char level[32];
            snprintf(level, sizeof level, "%d", (int)test_number(period, "level"));
            same_cell(name, cell_of(table(result, "period"), level), period);
        }
        static const char *const key[] = {"trials", "mean", "sd"};
        for (size_t k = 0; k < 3; k++) {
            double got = test_number(json_object_get(result, "difference"), key[k]);
            double want = test_number(json_object_get(one, "difference"), key[k]);
            cr_expect(test_close(got, want, 1e-12, 0), "%s difference %s %.17g %.17g", name, key[k],
                      got, want);
        }
        compare_histogram(name, result, one);
        json_decref(result);
        nof1_arena_free(arena);
    }
    json_decref(file);
}

Test(descriptive, hides_small_cells_and_those_that_would_tell_them)
{
    json_t *file = test_json(FOLDER "expected.json");
    const json_t *one = json_array_get(json_object_get(file, "cases"), 1);
    struct nof1_arena *arena = nof1_arena_new();
    struct test_study *study = study_of(arena, one, ", open: false");
    study->charter.limits.min_cell = 20; /* 24 trials, two thirds of them reach period 6 */
    study->charter.limits.rounding = 5;
    json_t *result = run(arena, study);
    const json_t *cells = table(result, "period");
    size_t i, below = 0, margin = 0;
    json_t *cell;
    json_array_foreach(cells, i, cell)
    {
        const char *code = json_string_value(json_object_get(cell, "suppressed"));
        below += code != NULL && strcmp(code, "E2401") == 0;
        margin += code != NULL && strcmp(code, "E2402") == 0;
        cr_expect(code != NULL || test_number(cell, "trials") >= 20);
        cr_expect(code == NULL || json_object_get(cell, "mean") == NULL);
    }
    cr_expect(below == 4 && margin == 0, "%zu %zu", below, margin);
    study->charter.limits.min_cell = 16; /* only the last two periods (8 trials) are small */
    json_t *fewer = run(arena, study);
    cr_expect(json_object_get(cell_of(table(fewer, "period"), "6"), "suppressed") == NULL);
    const json_t *arms = json_object_get(json_object_get(fewer, "histogram"), "arms");
    json_array_foreach(json_object_get(json_array_get(arms, 0), "counts"), i, cell)
    {
        cr_expect(json_is_null(cell) || fmod(json_number_value(cell), 5.0) == 0.0);
    }
    cr_expect(json_array_size(json_object_get(fewer, "warnings")) == 2);
    struct nof1_error error = {0};
    json_t *const both[] = {result, fewer};
    for (size_t r = 0; r < 2; r++) { /* the gate works the quantiles out again */
        study->charter.limits.min_cell = r == 0 ? 20 : 16;
        cr_expect(nof1_cells_gate(both[r], &study->charter.limits, true, &error) == NOF1_OK, "%s",
                  error.message);
    }
    study->charter.limits.min_cell = 1;
    json_t *shown = run(arena, study);
    cr_expect(nof1_cells_gate(shown, &study->charter.limits, true, &error) == NOF1_OK, "%s",
              error.message);
    study->charter.limits.rounding = 1; /* quantiles of the exact counts under rounded ones */
    json_t *exact = run(arena, study);
    json_object_set(shown, "quantiles", json_object_get(exact, "quantiles"));
    study->charter.limits.rounding = 5;
    cr_expect(nof1_cells_gate(shown, &study->charter.limits, true, &error) == NOF1_E2401);
    json_decref(shown);
    json_decref(exact);
    json_decref(result);
    json_decref(fewer);
    json_decref(file);
    nof1_arena_free(arena);
}

Test(descriptive, refuses_what_it_cannot_describe)
{
    static const struct { const char *options; double quantum; nof1_rc_value rc; } cases[] = {
        {"by: [patient]", 0, NOF1_E_PLAN}, {"bins: 0", 0, NOF1_E_PLAN},
        {"bins: 0", 1e-6, NOF1_E_PLAN},    {"bins: 1000", 0, NOF1_E_PLAN},
        {"by: [arm]", 0, NOF1_OK},         {"by: []", 0, NOF1_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        char yaml[128];
        snprintf(yaml, sizeof yaml, "analysis: descriptive\n%s\n", cases[i].options);
        struct test_study *study = test_trials_from_text(
            arena, "trial,period,treatment,y\na,1,0,1\na,2,1,\nb,1,1,3\nb,2,0,2\n", yaml,
            &nof1_descriptive);
        struct nof1_outcome *outcome = nof1_arena_alloc(arena, 1, sizeof *outcome);
        *outcome = study->charter.outcome[0];
        outcome->quantum = cases[i].quantum;
        study->charter.outcome = outcome;
        struct nof1_error error = {0};
        json_t *result = NULL;
        nof1_rc_value rc = test_study_run(&result, arena, study, &error);
        cr_expect(rc == cases[i].rc, "%s: %s", cases[i].options, nof1_rc_code(rc));
        if (result != NULL) {
            cr_expect(test_number(json_array_get(table(result, "all"), 0), "rows") == 3);
            cr_expect(test_number(json_array_get(table(result, "all"), 0), "missing") == 1);
        }
        json_decref(result);
        nof1_arena_free(arena);
    }
}
