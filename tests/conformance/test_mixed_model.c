/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The mixed model against exact optima (mixed_model/make.R: lmer run tight, then polished by Newton
 * steps on dense matrices; Kenward-Roger by pbkrtest, Satterthwaite by lmerTest): estimates and
 * standard errors 1e-9, variances 1e-8, criterion 1e-9, Kenward-Roger 1e-6.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/mixed_model/"

struct worst {
    double estimate, error, variance, criterion, kr_error, kr_df, sat_df;
};

static double at(const json_t *object, const char *key, size_t i)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_array(value)) {
        value = json_array_get(value, i);
    }
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static const char *term_of(const json_t *reference, size_t i)
{
    const json_t *terms = json_object_get(reference, "terms");
    return json_string_value(json_is_array(terms) ? json_array_get(terms, i) : terms);
}

static size_t term_count(const json_t *reference)
{
    const json_t *terms = json_object_get(reference, "terms");
    return json_is_array(terms) ? json_array_size(terms) : 1;
}

static double gap(double a, double b, double floor)
{
    double error = fabs(a - b) / fmax(fabs(b), floor);
    return isnan(error) ? INFINITY : error;
}

static double component(const json_t *result, const char *group, const char *term1,
                        const char *term2)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(result, "variance_components"), i, row)
    {
        const char *t1 = json_string_value(json_object_get(row, "term1"));
        const char *t2 = json_string_value(json_object_get(row, "term2"));
        bool same = strcmp(json_string_value(json_object_get(row, "group")), group) == 0 &&
                    (t1 == NULL) == (term1 == NULL) && (t2 == NULL) == (term2 == NULL) &&
                    (t1 == NULL || strcmp(t1, term1) == 0) &&
                    (t2 == NULL || strcmp(t2, term2) == 0);
        if (same) {
            return test_number(row, "estimate");
        }
    }
    return NAN;
}

static void compare_terms(struct worst *w, const json_t *reference, const json_t *result)
{
    for (size_t i = 0; i < term_count(reference); i++) {
        const char *term = term_of(reference, i);
        double se = at(reference, "std.error", i);
        w->estimate = fmax(w->estimate, gap(test_estimate(result, term, "estimate"),
                                            at(reference, "estimate", i), se));
        if (json_object_get(reference, "satterthwaite.df") != NULL) {
            w->sat_df = fmax(w->sat_df, gap(test_estimate(result, term, "df"),
                                            at(reference, "satterthwaite.df", i), 0));
        }
        if (json_object_get(reference, "kr.df") == NULL) {
            w->error = fmax(w->error, gap(test_estimate(result, term, "std.error"), se, 0));
            continue;
        }
        w->kr_error = fmax(w->kr_error, gap(test_estimate(result, term, "std.error"),
                                            at(reference, "kr.std.error", i), 0));
        w->kr_df = fmax(w->kr_df,
                        gap(test_estimate(result, term, "df"), at(reference, "kr.df", i), 0));
    }
}

static void compare_variances(struct worst *w, const json_t *reference, const json_t *result)
{
    double sigma2 = at(reference, "sigma2", 0);
    const json_t *var = json_object_get(reference, "var");
    bool slope = json_is_array(var) && json_array_size(var) == 3;
    w->variance = gap(component(result, "Residual", NULL, NULL), sigma2, 0);
    const char *first =
        component(result, "trial", "(Intercept)", NULL) >= 0 ? "(Intercept)" : "treatment";
    w->variance = fmax(w->variance, gap(component(result, "trial", first, NULL),
                                        at(reference, "var", 0), sigma2));
    if (slope) {
        w->variance = fmax(w->variance, gap(component(result, "trial", "treatment", NULL),
                                            at(reference, "var", 2), sigma2));
        w->variance = fmax(w->variance, gap(component(result, "trial", "(Intercept)", "treatment"),
                                            at(reference, "var", 1), sigma2));
    }
}

static void check_case(const char *file, bool *failed)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    char path[512];
    snprintf(path, sizeof path, FOLDER "%s", file);
    json_t *reference = test_json(path), *result = NULL;
    const char *name = json_string_value(json_object_get(reference, "name"));
    const char *data = json_string_value(json_object_get(reference, "data"));
    snprintf(path, sizeof path, FOLDER "%s.csv", data != NULL ? data : name);
    struct test_study *s = test_trials_from_csv(
        arena, path, json_string_value(json_object_get(reference, "options")), NULL);
    nof1_rc_value rc = test_study_run(&result, arena, s, &error);
    cr_expect(rc == NOF1_OK, "%s: %s %s", name, nof1_rc_code(rc), error.message);
    if (rc == NOF1_OK) {
        struct worst w = {0};
        compare_terms(&w, reference, result);
        compare_variances(&w, reference, result);
        double criterion = -2 * test_number(result, "fit/logLik");
        w.criterion = gap(criterion, at(reference, "criterion", 0), 1);
        const char *form = json_string_value(json_object_get(reference, "form"));
        bool fine = w.estimate <= 1e-9 && w.error <= 1e-9 && w.variance <= 1e-8 &&
                    w.criterion <= 1e-9 && w.kr_error <= 1e-6 && w.kr_df <= 1e-6 &&
                    w.sat_df <= 1e-6;
        cr_expect(fine, "%s: beta %.1e se %.1e variance %.1e criterion %.1e kr se %.1e df %.1e",
                  name, w.estimate, w.error, w.variance, w.criterion, w.kr_error, w.kr_df);
        cr_expect(form == NULL ||
                      strcmp(form, json_string_value(json_object_get(result, "form"))) == 0,
                  "%s: form", name);
        cr_expect(test_number(result, "fit/nobs") == at(reference, "nobs", 0), "%s: nobs", name);
        cr_expect(json_is_true(json_object_get(json_object_get(result, "fit"), "converged")),
                  "%s: converged", name);
        cr_expect(json_is_true(json_object_get(json_object_get(result, "fit"), "boundary")) ==
                      json_is_true(json_object_get(reference, "boundary")),
                  "%s: boundary", name);
        *failed = *failed || !fine;
        if (getenv("NOF1_TEST_VERBOSE") != NULL) {
            printf("%-18s rounds %2.0f beta %.1e se %.1e var %.1e crit %.1e kr %.1e %.1e sat %.1e "
                   "decr %.1e\n",
                   name, test_number(result, "fit/rounds"), w.estimate, w.error, w.variance,
                   w.criterion, w.kr_error, w.kr_df, w.sat_df, test_number(result, "fit/gradient"));
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

Test(mixed_model, equals_the_exact_optimum)
{
    struct dirent **entry;
    int count = scandir(FOLDER, &entry, only_json, alphasort);
    bool failed = false;
    cr_assert(count > 30, "fixtures are missing");
    for (int i = 0; i < count; i++) {
        check_case(entry[i]->d_name, &failed);
        free(entry[i]);
    }
    free(entry);
    cr_expect(!failed);
}
