/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The two-stage analysis against metafor (random_effects/make.R, random_effects/expected.json): nine
 * estimators, both tests, the Q-profile interval, prediction intervals, every form of release.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/registry.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/random_effects/"

static double expected(const json_t *fit, const char *key, size_t i)
{
    const json_t *value = json_object_get(fit, key);
    if (json_is_array(value)) {
        value = json_array_get(value, i);
    } else if (i > 0) {
        value = NULL;
    }
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void same(const char *what, double got, double want, double tolerance, double floor)
{
    if (isnan(want)) {
        return;
    }
    cr_expect(test_close(got, want, tolerance, floor), "%s: got %.17g, expected %.17g (%.2g)", what,
              got, want, fabs(got - want) / fmax(fabs(want), floor));
}

/* A study from a file of the folder, or from CSV text. */
static struct test_study *study_of(struct nof1_arena *arena, const char *csv, const char *text)
{
    char path[512];
    char yaml[1024];
    snprintf(yaml, sizeof yaml, "analysis: random_effects\n%s\n", text);
    if (strchr(csv, ',') != NULL) {
        return test_trials_from_text(arena, csv, yaml, &nof1_random_effects);
    }
    snprintf(path, sizeof path, FOLDER "%s", csv);
    return test_trials_from_csv(arena, path, yaml, &nof1_random_effects);
}

static json_t *run(struct nof1_arena *arena, const char *csv, const char *text,
                   nof1_rc_value expected_rc)
{
    struct test_study *study = study_of(arena, csv, text);
    struct nof1_error error = {0};
    json_t *result = NULL;
    nof1_rc_value rc = test_study_run(&result, arena, study, &error);
    cr_expect(rc == expected_rc, "%s: %s %s", text, nof1_rc_code(rc), error.message);
    return rc == NOF1_OK ? result : NULL;
}

/* floor: the size of a standard error, so that numbers near 0 are compared on the data's scale. */
static void compare(const char *name, const json_t *result, const json_t *want, double tolerance)
{
    char what[256];
    const char *method = json_string_value(json_object_get(want, "method"));
    const char *test = json_string_value(json_object_get(want, "test"));
    json_t *estimates = json_object_get(result, "estimates");
    double v = expected(want, "k", 0) > 1 ? 0.0 : 1.0;
    for (size_t i = 0; i < json_array_size(estimates); i++) {
        const json_t *row = json_array_get(estimates, i);
        snprintf(what, sizeof what, "%s %s %s [%zu]", name, method, test, i);
        double se = expected(want, "se", i);
        same(what, test_number(row, "estimate"), expected(want, "beta", i), tolerance, se);
        same(what, test_number(row, "std.error"), se, tolerance, 0);
        same(what, test_number(row, "p.value"), expected(want, "p", i), 100 * tolerance, 1e-6);
        same(what, test_number(row, "conf.low"), expected(want, "low", i), tolerance, se);
        same(what, test_number(row, "conf.high"), expected(want, "high", i), tolerance, se);
    }
    static const struct { const char *ours, *theirs; } pairs[] = {
        {"heterogeneity/tau.squared", "tau2"},
        {"heterogeneity/std.error", "se_tau2"},
        {"heterogeneity/conf.low", "tau2_low"},
        {"heterogeneity/conf.high", "tau2_high"},
        {"heterogeneity/i.squared", "i2"},
        {"heterogeneity/h.squared", "h2"},
        {"heterogeneity/cochran.qe", "q"},
        {"heterogeneity/p.value", "qp"},
        {"fit/logLik", "loglik"},
        {"moderators/statistic", "qm"},
        {"moderators/p.value", "qmp"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        snprintf(what, sizeof what, "%s %s %s %s", name, method, test, pairs[i].ours);
        same(what, test_number(result, pairs[i].ours), expected(want, pairs[i].theirs, 0),
             tolerance * (strstr(pairs[i].ours, "p.value") != NULL ? 100 : 1), v);
    }
    const json_t *prediction =
        json_object_get(json_object_get(result, "heterogeneity"), "prediction");
    double se = expected(want, "se", 0);
    snprintf(what, sizeof what, "%s %s %s prediction", name, method, test);
    same(what, test_number(prediction, "metafor/low"), expected(want, "pi_low", 0), tolerance, se);
    same(what, test_number(prediction, "metafor/high"), expected(want, "pi_high", 0), tolerance, se);
    same(what, test_number(prediction, "hts/low"), expected(want, "hts_low", 0), tolerance, se);
    same(what, test_number(prediction, "hts/high"), expected(want, "hts_high", 0), tolerance, se);
}

Test(random_effects, equals_metafor)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i, j;
    json_t *one, *fit;
    json_array_foreach(json_object_get(file, "cases"), i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        json_array_foreach(json_object_get(one, "fits"), j, fit)
        {
            struct nof1_arena *arena = nof1_arena_new();
            char text[512];
            const char *extra = strcmp(name, "offset.csv") == 0 ? "\ncharter: {centre: 1e8}" : "";
            snprintf(text, sizeof text, "%s\nmethod: %s\ntest: %s%s",
                     json_string_value(json_object_get(one, "text")),
                     json_string_value(json_object_get(fit, "method")),
                     json_string_value(json_object_get(fit, "test")), extra);
            json_t *result = run(arena, json_string_value(json_object_get(one, "file")), text, NOF1_OK);
            if (result != NULL) {
                compare(name, result, fit, 1e-9);
                same(name, test_number(result, "within/sigma.squared"), expected(one, "sigma2", 0),
                     1e-11, 0);
                same(name, test_number(result, "within/df"), expected(one, "df", 0), 1e-15, 0);
                json_decref(result);
            }
            nof1_arena_free(arena);
        }
    }
    json_decref(file);
}

static bool warned(const json_t *result, const char *part)
{
    size_t i;
    json_t *text;
    json_array_foreach(json_object_get(result, "warnings"), i, text)
    {
        if (strstr(json_string_value(text), part) != NULL) {
            return true;
        }
    }
    return false;
}

static bool flag(const json_t *result, const char *key)
{
    return json_is_true(json_object_get(json_object_get(result, "fit"), key));
}

static const json_t *case_of(const json_t *file, const char *name)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(file, "cases"), i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "name")), name) == 0) {
            return one;
        }
    }
    return NULL;
}

/* Effect and tau^2 only: what correction rounds make exact. */
static double error_in_se(const json_t *result, const json_t *fit)
{
    return fabs(test_estimate(result, "treatment", "estimate") - expected(fit, "beta", 0)) /
           expected(fit, "se", 0);
}

Test(random_effects, correction_rounds_end_at_the_exact_optimum)
{
    json_t *file = test_json(FOLDER "expected.json");
    static const char *const name[] = {"missing", "patterns"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *one = case_of(file, name[i]);
        size_t j;
        json_t *fit;
        json_array_foreach(json_object_get(one, "fits"), j, fit)
        {
            const char *method = json_string_value(json_object_get(fit, "method"));
            bool unweighted = strcmp(method, "HE") == 0 || strcmp(method, "SJ") == 0;
            struct nof1_arena *arena = nof1_arena_new();
            char text[128];
            snprintf(text, sizeof text, "incomplete: score\nmethod: %s\ntest: %s", method,
                     json_string_value(json_object_get(fit, "test")));
            const char *csv = json_string_value(json_object_get(one, "file"));
            json_t *result = run(arena, csv, text, NOF1_OK);
            cr_expect(flag(result, "exact") != unweighted, "%s %s", name[i], text);
            cr_expect(test_number(result, "fit/rounds") <= 6);
            if (!unweighted) {
                same(text, test_estimate(result, "treatment", "estimate"), expected(fit, "beta", 0),
                     1e-9, expected(fit, "se", 0));
                same(text, test_estimate(result, "treatment", "std.error"), expected(fit, "se", 0),
                     1e-9, 0);
                same(text, test_number(result, "heterogeneity/tau.squared"),
                     expected(fit, "tau2", 0), 1e-9, 0);
            } else {
                cr_expect(error_in_se(result, fit) < 0.05, "%s: %g", text, error_in_se(result, fit));
                cr_expect(error_in_se(result, fit) <= test_number(result, "fit/approximation_se"));
            }
            json_decref(result);
            nof1_arena_free(arena);
        }
    }
    json_decref(file);
}

Test(random_effects, basis_stays_within_its_public_bound)
{
    json_t *file = test_json(FOLDER "expected.json");
    static const struct { const char *name; const char *test; double ratio; int rounds; } cases[] = {
        {"patterns", "z", 0.33, 4},    {"patterns", "knha", 0.33, 3}, {"patterns", "z", 0.12, 2},
        {"patterns", "z", 0.0626, 1},  {"patterns", "z", 0.01, 1},    {"missing", "z", 0.5, 1},
        {"missing", "knha", 0.33, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const json_t *one = case_of(file, cases[i].name);
        size_t j;
        json_t *fit;
        json_array_foreach(json_object_get(one, "fits"), j, fit)
        {
            if (strcmp(json_string_value(json_object_get(fit, "method")), "REML") != 0 ||
                strcmp(json_string_value(json_object_get(fit, "test")), cases[i].test) != 0) {
                continue;
            }
            struct nof1_arena *arena = nof1_arena_new();
            char text[256];
            snprintf(text, sizeof text,
                     "incomplete: pool\ntest: %s\ncharter: {open: false, min_class_patients: 8, "
                     "max_release_ratio: %g}",
                     cases[i].test, cases[i].ratio);
            json_t *result = run(arena, json_string_value(json_object_get(one, "file")), text,
                                 NOF1_OK);
            double bound = test_number(result, "fit/approximation_se");
            cr_expect(strcmp(json_string_value(json_object_get(result, "release")), "basis") == 0);
            cr_expect((int)test_number(result, "fit/rounds") == cases[i].rounds, "%s %s: %g rounds",
                      cases[i].name, text, test_number(result, "fit/rounds"));
            cr_expect(!flag(result, "exact") && error_in_se(result, fit) <= bound, "%s: %g of %g",
                      text, error_in_se(result, fit), bound);
            cr_expect(warned(result, "approximate"));
            json_decref(result);
            nof1_arena_free(arena);
        }
    }
    json_decref(file);
}

/* ---- what leaves ---- */

static struct nof1_model *prepared(struct nof1_arena *arena, struct test_study *study,
                                   struct nof1_layout *layout)
{
    struct nof1_model *model = NULL;
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_random_effects.prepare(&model, arena, &study->study, &error);
    cr_assert(rc == NOF1_OK, "%s", error.message);
    cr_assert(nof1_random_effects.layout(model, 1, arena, layout) == NOF1_OK);
    cr_assert(layout->elements == model->max_elements || model->max_rounds > 1);
    return model;
}

static size_t outcomes_of(const struct nof1_layout *layout)
{
    size_t count = 0;
    for (size_t e = 0; e < layout->elements; e++) {
        count += layout->element[e].role == NOF1_OUTCOME;
    }
    return count;
}

Test(random_effects, patterns_of_equal_precision_are_one_class)
{
    struct nof1_arena *arena = nof1_arena_new();
    const char *csv = "trial,period,treatment,y\n"
                      "a,1,0,1\na,2,1,3\na,3,1,4\n"            /* 1 + 2 periods */
                      "b,1,0,2\nb,2,1,3\nb,3,0,4\n"            /* 2 + 1 periods */
                      "c,1,0,2\nc,2,1,3\nc,3,0,4\nc,4,1,9\n"; /* 2 + 2 periods */
    struct test_study *study = study_of(arena, csv, "incomplete: pool");
    struct nof1_layout layout;
    struct nof1_model *model = prepared(arena, study, &layout);
    cr_expect(model->groups == 2 && model->group_is_class && model->max_rounds == 1);
    cr_expect(strcmp(model->group[0], "class:3/2") == 0, "%s", model->group[0]);
    cr_expect(strcmp(model->group[1], "class:1/1") == 0, "%s", model->group[1]);
    cr_expect(outcomes_of(&layout) == 5); /* 2 C + 1 */
    nof1_arena_free(arena);
}

/* Two classes, one of them of two trials: two sums of d would be solved for each class. */
Test(random_effects, small_classes_are_never_solvable)
{
    struct nof1_arena *arena = nof1_arena_new();
    char csv[4096] = "trial,period,treatment,y\n";
    size_t length = strlen(csv);
    for (int i = 0; i < 30; i++) {
        int periods = i < 28 ? 4 : 3;
        for (int p = 1; p <= periods; p++) {
            length += (size_t)snprintf(csv + length, sizeof csv - length, "t%02d,%d,%d,%d\n", i, p,
                                       p % 2, (i * 7 + p * p * 5) % 11);
        }
    }
    struct test_study *study =
        study_of(arena, csv, "charter: {open: false, min_class_patients: 8, lambda: [0.2, 1, 5]}");
    struct nof1_layout layout;
    struct nof1_model *model = prepared(arena, study, &layout);
    cr_expect(model->max_rounds == 1 && model->groups == 1);
    cr_expect(outcomes_of(&layout) == 3, "%zu", outcomes_of(&layout)); /* one weight, and squares */
    study->charter.limits.min_class_patients = 2;
    model = prepared(arena, study, &layout);
    cr_expect(model->groups == 2 && outcomes_of(&layout) == 5);
    nof1_arena_free(arena);
}

