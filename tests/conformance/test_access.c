/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Recruitment and waiting times against base R (access/make.R); small cells, small strata, and what
 * is refused.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/cells.h>
#include <stats/registry.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/access/"

/* A study whose census counts the patients of make.R's strata. */
static struct test_study *study_of(struct nof1_arena *arena, const json_t *file,
                                   const char *options)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml, "analysis: access\n%s\ncharter: {stratum: ward}\n", options);
    struct test_study *study = test_trials_from_csv(arena, FOLDER "wards.csv", yaml, &nof1_access);
    const json_t *strata = json_object_get(file, "recruited");
    size_t n = json_array_size(strata);
    const char **name = nof1_arena_alloc(arena, 2 * n, sizeof *name);
    uint64_t *count = nof1_arena_alloc(arena, 2 * n * study->plan.blocks, sizeof *count);
    for (size_t s = 0; s < n; s++) {
        const json_t *one = json_array_get(strata, s);
        const char *level = json_string_value(json_object_get(one, "level"));
        name[2 * s] = nof1_arena_printf(arena, "stratum:%s", level);
        name[2 * s + 1] = nof1_arena_printf(arena, "y/stratum:%s", level);
        count[2 * s] = count[2 * s + 1] = (uint64_t)test_number(one, "patients");
    }
    cr_assert(study->plan.blocks == 1);
    study->census = (struct nof1_census){.epoch = 1, .blocks = 1, .elements = 2 * n,
                                         .element = name, .count = count};
    study->study.census = &study->census;
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

static const json_t *row(const json_t *result, size_t table, size_t at)
{
    return json_array_get(
        json_object_get(json_array_get(json_object_get(result, "tables"), table), "cells"), at);
}

/* Waiting row `at` against R's counts, by the table's own columns. */
static void same_cells(const json_t *result, size_t at, const json_t *want)
{
    const json_t *columns =
        json_object_get(json_array_get(json_object_get(result, "tables"), 1), "columns");
    const json_t *cells = json_object_get(want, "cells");
    cr_assert(json_array_size(columns) == 2 + json_array_size(cells));
    for (size_t c = 0; c < json_array_size(cells); c++) {
        const char *key = json_string_value(json_array_get(columns, c + 2));
        cr_expect(test_number(row(result, 1, at), key) ==
                      json_number_value(json_array_get(cells, c)),
                  "%s %s: %g", json_string_value(json_object_get(want, "level")), key,
                  test_number(row(result, 1, at), key));
    }
}

Test(access, counts_equal_base_r)
{
    static const struct { const char *options, *key;
    } cases[] = {
        {"time: [wait]\nbreaks: [30, 90, 180]\nexpected: {east: 3, north: 3, south: 3, west: 1}",
         "three"},
        {"time: [wait]\nbreaks: [60]\nexpected: {east: 0.3, north: 0.3, south: 0.3, west: 0.1}",
         "one"}};
    json_t *file = test_json(FOLDER "expected.json");
    for (size_t i = 0; i < 2; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        json_t *result = run(arena, study_of(arena, file, cases[i].options));
        size_t s;
        json_t *want;
        json_array_foreach(json_object_get(file, cases[i].key), s, want)
        {
            cr_expect(test_number(row(result, 1, s), "trials") == test_number(want, "trials"));
            same_cells(result, s, want);
        }
        json_array_foreach(json_object_get(file, "recruited"), s, want)
        {
            cr_expect(test_number(row(result, 0, s), "recruited") == test_number(want, "patients"));
            cr_expect(test_close(test_number(row(result, 0, s), "share"),
                                 test_number(want, "share"), 1e-14, 0));
            cr_expect(test_close(test_number(row(result, 0, s), "ratio"),
                                 test_number(want, "ratio"), 1e-14, 0));
        }
        cr_expect(json_array_size(json_object_get(result, "warnings")) == 0);
        json_decref(result);
        nof1_arena_free(arena);
    }
    json_decref(file);
}

/* Outside a lab: the ward of 5 patients joins its neighbour, small cells vanish with a companion.
 */
Test(access, hides_small_cells_and_joins_small_strata)
{
    json_t *file = test_json(FOLDER "expected.json");
    struct nof1_arena *arena = nof1_arena_new();
    struct test_study *study = study_of(arena, file, "time: [wait]\nbreaks: [30, 90, 180]");
    study->charter.limits.open = false;
    study->charter.limits.min_class_patients = study->charter.limits.min_atom_patients = 8;
    study->charter.limits.min_cell = 5;
    study->charter.limits.rounding = 5;
    json_t *result = run(arena, study);
    cr_expect(json_array_size(json_object_get(
                  json_array_get(json_object_get(result, "tables"), 0), "cells")) == 3);
    cr_expect_str_eq(json_string_value(json_object_get(row(result, 0, 2), "level")), "south+west");
    cr_expect(test_number(row(result, 0, 2), "trials") == 18);
    cr_expect(test_number(row(result, 0, 0), "recruited") == 25); /* 26 rounded */
    for (size_t s = 0; s < 3; s++) {
        const char *key;
        json_t *value;
        size_t hidden = 0, shown = 0;
        json_object_foreach((json_t *)(uintptr_t)row(result, 1, s), key, value)
        {
            hidden += json_is_null(value);
            if (json_is_real(value)) {
                shown++;
                cr_expect(fmod(json_real_value(value), 5.0) == 0.0, "%s", key);
            }
        }
        cr_expect(hidden != 1 && hidden + shown == 5, "row %zu: %zu hidden", s, hidden);
    }
    cr_expect(json_is_null(json_object_get(row(result, 1, 0), "no time"))); /* 1 trial */
    cr_expect(json_array_size(json_object_get(result, "warnings")) == 3);
    /* every element has a group of its own stratum, and counts as outcome: the ratio sees it */
    struct nof1_model *model = NULL;
    struct nof1_layout layout = {0};
    cr_assert(nof1_access.prepare(&model, arena, &study->study, NULL) == NOF1_OK);
    cr_assert(nof1_access.layout(model, 1, arena, &layout) == NOF1_OK && layout.elements == 13);
    for (size_t e = 1; e < layout.elements; e++) {
        cr_expect(layout.element[e].role == NOF1_OUTCOME && !layout.element[e].sparse &&
                  layout.element[e].group == (int)((e - 1) / 4));
    }
    json_decref(result);
    json_decref(file);
    nof1_arena_free(arena);
}

Test(access, suppression_leaves_no_single_gap)
{
    const struct nof1_limits limits = {.min_cell = 8, .rounding = 5};
    static const struct { double count[4]; const char *code; } cases[] = {
        {{20, 30, 40, 50}, "...."}, {{7, 30, 40, 50}, "12.."}, {{7, 0, 0, 0}, "12.."},
        {{1, 2, 40, 50}, "11.."}, {{50, 40, 3, 40}, ".21."}, {{1, 1, 40, 50}, "112."},
        {{7, 7, 0, 9}, "11.2"}, {{7, 7, 0, 0}, "112."}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *code[4];
        nof1_cells_suppress(code, &limits, cases[i].count, 1, 4);
        for (size_t c = 0; c < 4; c++) {
            char got = code[c] == NULL ? '.' : code[c][4];
            cr_expect(got == cases[i].code[c], "%zu %zu: %c", i, c, got);
        }
    }
    cr_expect(nof1_cells_rounded(&limits, 12) == 10 && nof1_cells_rounded(&limits, 13) == 15);
}

Test(access, refuses_what_it_cannot_count)
{
    static const char *const bad[] = {
        "time: [ward]", "time: [wait, ward]", "time: [nothing]", "time: [wait]\nbreaks: [5, 5]",
        "time: [wait]\nbreaks: []", "time: [wait]\nbreaks: [x]", "expected: {east: 1}",
        "expected: {east: 1, north: 0, south: 1, west: 1}",
        "expected: {east: 1, north: 1, south: 1, west: 1, moon: 1}"};
    json_t *file = test_json(FOLDER "expected.json");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        json_t *result = NULL;
        cr_expect(test_study_run(&result, arena, study_of(arena, file, bad[i]), &error) ==
                      NOF1_E_PLAN,
                  "%s", bad[i]);
        nof1_arena_free(arena);
    }
    struct nof1_arena *arena = nof1_arena_new();
    struct test_study *study = study_of(arena, file, "");
    study->charter.stratum_covariate = NULL;
    struct nof1_error error = {0};
    json_t *result = NULL;
    cr_expect(test_study_run(&result, arena, study, &error) == NOF1_E_PLAN);
    study = study_of(arena, file, ""); /* recruitment alone: no outcome number at all */
    result = run(arena, study);
    cr_expect(json_array_size(json_object_get(result, "tables")) == 1);
    cr_expect(json_array_size(json_object_get(result, "warnings")) == 1);
    json_decref(result);
    json_decref(file);
    nof1_arena_free(arena);
}
