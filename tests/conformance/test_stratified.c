/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Events with trials as strata against metafor, survival and glm (stratified/make.R): published and
 * simulated data, zero cells, separation, few rounds, order, and the rank test of conditional
 * Poisson regression.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/registry.h>

#include "pooled.h"
#include "rank.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/stratified/"

static json_t *run(struct nof1_arena *arena, struct test_study *study)
{
    struct nof1_error error = {0};
    json_t *result = NULL;
    nof1_rc_value rc = test_study_run(&result, arena, study, &error);
    cr_assert(rc == NOF1_OK, "%s %s", nof1_rc_code(rc), error.message);
    return result;
}

static struct test_study *study_of(struct nof1_arena *arena, const json_t *one, const char *extra)
{
    char path[512], yaml[512];
    bool any = test_number(one, "any") > 0, exposure = test_number(one, "exposure") > 0;
    const char *measure = json_string_value(json_object_get(one, "measure"));
    const char *method = json_string_value(json_object_get(one, "method"));
    bool tested = strcmp(measure, "OR") == 0 && strcmp(method, "conditional") != 0;
    snprintf(path, sizeof path, FOLDER "%s", json_string_value(json_object_get(one, "file")));
    snprintf(yaml, sizeof yaml,
             "analysis: stratified\nmeasure: %s\nmethod: %s\nlevel: %g\nhomogeneity: %s\n"
             "events: %s\n%scharter: {kind: %s, missing: rows%s}\n",
             measure, method, test_number(one, "level"), tested ? "true" : "false",
             any ? "any" : "rows", exposure ? "exposure: [exposure]\n" : "",
             json_string_value(json_object_get(one, "kind")), extra);
    return test_trials_from_csv(arena, path, yaml, &nof1_stratified);
}

static const json_t *find_test(const json_t *result, const char *name)
{
    size_t i, j;
    json_t *table, *cell;
    json_array_foreach(json_object_get(result, "tables"), i, table)
    {
        json_array_foreach(json_object_get(table, "cells"), j, cell)
        {
            const char *here = json_string_value(json_object_get(cell, "test"));
            if (here != NULL && strstr(here, name) != NULL) {
                return cell;
            }
        }
    }
    return NULL;
}

/* A test of R's: `key` and `key.p` of the constants. */
static void compare_test(const char *name, const json_t *result, const json_t *expected,
                         const char *test, const char *key)
{
    char p[32];
    snprintf(p, sizeof p, "%s.p", key);
    if (isnan(test_number(expected, key))) {
        return;
    }
    const json_t *cell = find_test(result, test);
    cr_expect(test_close(test_number(cell, "statistic"), test_number(expected, key), 1e-9, 1e-6) &&
                  test_close(test_number(cell, "p.value"), test_number(expected, p), 1e-9, 1e-9),
              "%s %s: %.17g, expected %.17g", name, test, test_number(cell, "statistic"),
              test_number(expected, key));
}

static void compare(const json_t *one, const json_t *result)
{
    static const char *const key[] = {"estimate", "std.error", "statistic",
                                      "p.value",  "conf.low",  "conf.high"};
    const char *name = json_string_value(json_object_get(one, "name"));
    const json_t *expected = json_object_get(one, "expected");
    double se = test_number(expected, "std.error");
    for (size_t k = 0; k < sizeof key / sizeof *key; k++) {
        double got = test_estimate(result, "treatment", key[k]);
        double want = test_number(expected, key[k]);
        double floor = k == 3 ? 0 : k == 2 ? 1 : se;
        cr_expect(test_close(got, want, 1e-9, floor), "%s %s: got %.17g, expected %.17g", name,
                  key[k], got, want);
    }
    compare_test(name, result, expected, "Mantel-Haenszel", "mh");
    compare_test(name, result, expected, "Breslow-Day", "bd");
    compare_test(name, result, expected, "Tarone", "tarone");
    compare_test(name, result, expected, "Q (", "q");
}

Test(stratified, equals_metafor_and_survival)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(file, "cases"), i, one)
    {
        struct nof1_arena *arena = nof1_arena_new();
        json_t *result = run(arena, study_of(arena, one, ""));
        compare(one, result);
        cr_expect(json_is_true(json_object_get(json_object_get(result, "fit"), "exact")));
        json_decref(result);
        nof1_arena_free(arena);
    }
    cr_assert(i == 26, "%zu", i);
    json_decref(file);
}

/* Three rounds, six numbers: close enough to be used, and the distance is stated. */
Test(stratified, few_rounds_state_how_near_they_are)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i, fits = 0;
    json_t *one;
    json_array_foreach(json_object_get(file, "cases"), i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "method")), "conditional") != 0) {
            continue;
        }
        struct nof1_arena *arena = nof1_arena_new();
        json_t *result = run(arena, study_of(arena, one, ", open: false"));
        double stated = test_number(result, "fit/approximation_se");
        double se = test_number(one, "expected/std.error");
        double off = fabs(test_estimate(result, "treatment", "estimate") -
                          test_number(one, "expected/estimate")) / se;
        cr_expect(test_number(result, "fit/rounds") <= 3);
        cr_expect(off <= (isnan(stated) ? 1e-9 : stated + 1e-9), "%s: off by %g, stated %g",
                  json_string_value(json_object_get(one, "name")), off, stated);
        cr_expect(off < 1e-4 && test_close(test_estimate(result, "treatment", "std.error"), se,
                                           1e-4, 0));
        fits++;
        json_decref(result);
        nof1_arena_free(arena);
    }
    cr_assert(fits == 8, "%zu", fits);
    json_decref(file);
}

Test(stratified, degenerate_data_are_results)
{
    static const struct {
        const char *csv, *options, *kind, *warning;
        double estimate; /* NAN: null */
    } cases[] = {
        /* double-zero trials, no event at all */
        {"a,1,0,0\na,2,1,0\nb,1,0,0\nb,2,1,0\n", "measure: OR", "binary", "no trial tells", NAN},
        {"a,1,0,0\na,2,1,0\nb,1,0,0\nb,2,1,0\n", "method: peto", "binary", "no trial tells", NAN},
        {"a,1,0,0\na,2,1,0\n", "method: conditional", "binary", "no trial tells", NAN},
        {"a,1,0,0\na,2,1,0\nb,1,0,0\nb,2,1,0\n", "measure: RD", "binary", "no test", 0},
        {"a,1,0,0\na,2,1,0\n", "measure: IRR", "count", "no trial tells", NAN},
        /* nothing but events */
        {"a,1,0,1\na,2,1,1\n", "measure: OR", "binary", "no trial tells", NAN},
        {"a,1,0,1\na,2,1,1\n", "measure: RR", "binary", "one trial", 0},
        /* separation */
        {"a,1,0,0\na,2,1,1\nb,1,0,0\nb,2,1,1\n", "measure: OR", "binary", "infinite", NAN},
        {"a,1,0,0\na,2,1,1\nb,1,0,0\nb,2,1,1\n", "method: conditional", "binary", "infinite", NAN},
        {"a,1,0,1\na,2,1,0\nb,1,0,1\nb,2,1,0\n", "measure: RR", "binary", "estimated as 0", NAN},
        {"a,1,0,2\na,2,1,0\n", "method: conditional", "count", "estimated as 0", NAN},
        {"a,1,0,0\na,2,1,1\nb,1,0,0\nb,2,1,1\n", "method: peto", "binary", NULL, 2},
        {"a,1,0,0\na,2,1,1\nb,1,0,0\nb,2,1,1\n", "measure: RD", "binary", "no test", 1},
        /* one arm only is left out */
        {"a,1,0,1\na,2,1,2\nb,1,0,1\nb,2,0,5\n", "measure: IRR", "count", "left out", M_LN2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        char csv[256], yaml[256];
        snprintf(csv, sizeof csv, "trial,period,treatment,y\n%s", cases[i].csv);
        snprintf(yaml, sizeof yaml, "analysis: stratified\n%s\ncharter: {kind: %s}\n",
                 cases[i].options, cases[i].kind);
        struct test_study *study = test_trials_from_text(arena, csv, yaml, &nof1_stratified);
        struct nof1_outcome outcome = study->charter.outcome[0];
        outcome.lower = 0;
        outcome.upper = 9;
        study->charter.outcome = &outcome;
        json_t *result = run(arena, study);
        double got = test_estimate(result, "treatment", "estimate");
        cr_expect(isnan(cases[i].estimate) ? isnan(got)
                                           : fabs(got - cases[i].estimate) < 1e-12,
                  "%zu: %g", i, got);
        char *warnings = json_dumps(json_object_get(result, "warnings"), 0);
        cr_expect(cases[i].warning == NULL || strstr(warnings, cases[i].warning) != NULL,
                  "%zu: %s", i, warnings);
        free(warnings);
        json_decref(result);
        nof1_arena_free(arena);
    }
}

Test(stratified, refusals_name_the_field)
{
    static const struct { const char *options, *kind, *field; } cases[] = {
        {"measure: OR", "continuous", "outcome"},
        {"measure: OR", "count", "measure"},
        {"measure: IRR\nevents: any", "count", "events"},
        {"method: peto\nmeasure: RR", "binary", "method"},
        {"method: conditional\nmeasure: RD", "binary", "method"},
        {"homogeneity: true\nmeasure: RR", "binary", "homogeneity"},
        {"exposure: [x]\nmeasure: OR", "binary", "exposure"},
        {"exposure: [z]", "count", "exposure"},
        {"exposure: [x, x]", "count", "exposure"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        char yaml[256];
        json_t *result = NULL;
        snprintf(yaml, sizeof yaml, "analysis: stratified\n%s\ncharter: {kind: %s}\n",
                 cases[i].options, cases[i].kind);
        struct test_study *study = test_trials_from_text(
            arena, "trial,period,treatment,y,x\na,1,0,1,2\na,2,1,0,3\n", yaml, &nof1_stratified);
        cr_expect(test_study_run(&result, arena, study, &error) == NOF1_E_PLAN, "%s",
                  cases[i].options);
        cr_expect(strstr(error.message, cases[i].field) == error.message, "%s", error.message);
        nof1_arena_free(arena);
    }
}

Test(stratified, order_of_trials_changes_no_bit)
{
    json_t *file = test_json(FOLDER "expected.json");
    for (size_t k = 0; k < json_array_size(json_object_get(file, "cases")); k += 3) {
        struct nof1_arena *arena = nof1_arena_new();
        struct test_study *study = study_of(
            arena, json_array_get(json_object_get(file, "cases"), k), "");
        json_t *first = run(arena, study);
        for (size_t i = 0; i < study->trials / 2; i++) {
            struct nof1_trial trial = study->trial[i];
            study->trial[i] = study->trial[study->trials - 1 - i];
            study->trial[study->trials - 1 - i] = trial;
        }
        json_t *second = run(arena, study);
        cr_expect(json_equal(first, second));
        json_decref(first);
        json_decref(second);
        nof1_arena_free(arena);
    }
    json_decref(file);
}

/* Equal exposure ratios: the conditional likelihood is that of two sums (their total and the active
 * one), and R and S, the sums released, are these up to public factors. Unequal ones need more. */
Test(stratified, two_sums_suffice_for_equal_exposure_ratios)
{
    enum { SETS = 60, POINTS = 12, ALL = POINTS + 2, TRIALS = 5 };
    static double likelihood[SETS * POINTS], joint[SETS * ALL];
    for (int equal = 0; equal < 2; equal++) {
        struct test_random random = {9};
        for (size_t s = 0; s < SETS; s++) {
            double a[TRIALS], c[TRIALS], ratio[TRIALS], r = 0, q = 0;
            for (size_t i = 0; i < TRIALS; i++) {
                a[i] = floor(9 * test_random_uniform(&random));
                c[i] = floor(9 * test_random_uniform(&random));
                ratio[i] = equal ? 1.5 : 0.5 + (double)i;
                r += a[i] / (1 + ratio[i]);
                q += c[i] * ratio[i] / (1 + ratio[i]);
            }
            for (size_t k = 0; k < POINTS; k++) {
                double beta = -2 + 0.35 * (double)k, sum = 0;
                for (size_t i = 0; i < TRIALS; i++) {
                    sum += a[i] * beta - (a[i] + c[i]) * log1p(exp(beta) * ratio[i]);
                }
                likelihood[s * POINTS + k] = joint[s * ALL + k] = sum;
            }
            joint[s * ALL + POINTS] = r;
            joint[s * ALL + POINTS + 1] = q;
        }
        size_t rank = test_rank(likelihood, SETS, POINTS, 1);
        cr_expect(equal ? rank == 2 : rank > 2, "%zu", rank);
        cr_expect(!equal || test_rank(joint, SETS, ALL, 0) == 2);
    }
}
