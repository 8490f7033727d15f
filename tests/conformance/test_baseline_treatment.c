/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * baseline_treatment against exact optima (baseline_treatment/make.R: nlme run tight, polished by
 * Newton steps on dense matrices; Kenward-Roger by pbkrtest, Satterthwaite by lmerTest): estimates,
 * standard errors, variances, correlation and criterion 1e-8, small-sample inference 1e-6.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/baseline_treatment/"

static double at(const json_t *object, const char *key, size_t i)
{
    const json_t *value = json_array_get(json_object_get(object, key), i);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static double gap(double a, double b, double floor)
{
    double error = fabs(a - b) / fmax(fabs(b), floor);
    return isnan(error) ? INFINITY : error;
}

struct worst {
    double beta, error, variance, criterion, df;
};

static void compare_terms(struct worst *w, const json_t *reference, const json_t *result)
{
    bool kr = strcmp(json_string_value(json_object_get(result, "df_method")), "kenward_roger") == 0;
    bool z = strcmp(json_string_value(json_object_get(result, "df_method")), "z") == 0;
    size_t i;
    json_t *term;
    json_array_foreach(json_object_get(reference, "terms"), i, term)
    {
        const char *name = json_string_value(term);
        double se = at(reference, "std.error", i), got = test_estimate(result, name, "std.error");
        w->beta = fmax(w->beta, gap(test_estimate(result, name, "estimate"),
                                    at(reference, "estimate", i), se));
        if (kr) {
            w->df = fmax(w->df, gap(got, at(reference, "kr.std.error", i), 0));
        } else {
            w->error = fmax(w->error, gap(got, se, 0));
        }
        if (!z) {
            w->df = fmax(w->df, gap(test_estimate(result, name, "df"),
                                    at(reference, kr ? "kr.df" : "satterthwaite.df", i), 0));
        }
    }
}

/* Variance components come in the order of the lower triangle but for variances first in a row. */
static double component(const json_t *result, const char *term1, const char *term2)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(result, "variance_components"), i, row)
    {
        const char *t1 = json_string_value(json_object_get(row, "term1"));
        const char *t2 = json_string_value(json_object_get(row, "term2"));
        if (t1 != NULL && strcmp(t1, term1) == 0 && (t2 == NULL) == (term2 == NULL) &&
            (t2 == NULL || strcmp(t2, term2) == 0)) {
            return test_number(row, "estimate");
        }
        if (t1 == NULL && term1[0] == 0) {
            return test_number(row, "estimate");
        }
    }
    return NAN;
}

static void compare_variances(struct worst *w, const json_t *reference, const json_t *result)
{
    static const char *const name[] = {"(Intercept)", "level_change", "slope_change"};
    double sigma2 = test_number(reference, "sigma2");
    w->variance = gap(component(result, "", NULL), sigma2, 0);
    size_t entries = json_array_size(json_object_get(reference, "var"));
    for (size_t i = 0, j = 0; j < entries; i++) {
        for (size_t k = 0; k <= i; k++, j++) {
            double got = component(result, name[k], i == k ? NULL : name[i]);
            w->variance = fmax(w->variance, gap(got, at(reference, "var", j), sigma2));
        }
    }
    if (json_is_number(json_object_get(reference, "rho"))) {
        w->variance = fmax(w->variance, gap(test_number(result, "residual_correlation"),
                                            test_number(reference, "rho"), 0.1));
    }
}

static void check_case(const char *file)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    char path[512];
    snprintf(path, sizeof path, FOLDER "%s", file);
    json_t *reference = test_json(path), *result = NULL;
    const char *name = json_string_value(json_object_get(reference, "name"));
    const char *form = json_string_value(json_object_get(reference, "form"));
    snprintf(path, sizeof path, FOLDER "%s.csv",
             json_string_value(json_object_get(reference, "data")));
    struct test_study *s = test_trials_from_csv(
        arena, path, json_string_value(json_object_get(reference, "options")), NULL);
    nof1_rc_value rc = test_study_run(&result, arena, s, &error);
    cr_expect(rc == NOF1_OK, "%s: %s %s", name, nof1_rc_code(rc), error.message);
    if (rc == NOF1_OK) {
        struct worst w = {0};
        compare_terms(&w, reference, result);
        compare_variances(&w, reference, result);
        w.criterion = gap(-2 * test_number(result, "fit/logLik"),
                          test_number(reference, "criterion"), 1);
        cr_expect(w.beta <= 1e-8 && w.error <= 1e-8 && w.variance <= 1e-8 && w.criterion <= 1e-9 &&
                      w.df <= 1e-6,
                  "%s: beta %.1e se %.1e variance %.1e criterion %.1e df %.1e", name, w.beta,
                  w.error, w.variance, w.criterion, w.df);
        cr_expect(form == NULL ||
                      strcmp(form, json_string_value(json_object_get(result, "form"))) == 0,
                  "%s: form", name);
        cr_expect(test_number(result, "fit/nobs") == test_number(reference, "nobs"), "%s", name);
        cr_expect(json_is_true(json_object_get(json_object_get(result, "fit"), "converged")),
                  "%s: converged", name);
        if (getenv("NOF1_TEST_VERBOSE") != NULL) {
            printf("%-22s rounds %2.0f beta %.1e se %.1e var %.1e crit %.1e df %.1e\n", name,
                   test_number(result, "fit/rounds"), w.beta, w.error, w.variance, w.criterion,
                   w.df);
        }
        json_decref(result);
    }
    json_decref(reference);
    nof1_arena_free(arena);
}

static int only_json(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0;
}

Test(baseline_treatment, equals_the_exact_optimum)
{
    struct dirent **entry;
    int count = scandir(FOLDER, &entry, only_json, alphasort);
    cr_assert(count > 20, "fixtures are missing");
    for (int i = 0; i < count; i++) {
        check_case(entry[i]->d_name);
        free(entry[i]);
    }
    free(entry);
}
