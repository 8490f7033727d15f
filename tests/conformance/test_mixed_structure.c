/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Variances of cycles, arms and residuals by treatment, three or more treatments, and correlated
 * residuals against exact optima (mixed_structure/make.R, mixed_serial/make.R): estimates, errors
 * of z and criterion 1e-9, variances 1e-8, Kenward-Roger and Satterthwaite 1e-6.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/"

static double number_at(const json_t *array, size_t i)
{
    const json_t *value = json_is_array(array) ? json_array_get(array, i) : array;
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* Largest |ours - theirs| / max(|theirs|, floor); infinite when the numbers of them differ. */
static double worst(const json_t *rows, const char *key, const json_t *theirs, const json_t *floor)
{
    double most = 0;
    if (json_array_size(rows) != json_array_size(theirs)) {
        return INFINITY;
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        double ours = test_number(json_array_get(rows, i), key), b = number_at(theirs, i);
        double scale = floor == NULL ? fabs(b) : fmax(fabs(b), number_at(floor, i));
        double gap = fabs(ours - b) / scale;
        most = isnan(gap) || gap > most ? gap : most;
        if (isnan(most)) {
            return INFINITY;
        }
    }
    return most;
}

static void check_test(const char *name, const json_t *result, const json_t *theirs)
{
    const json_t *tables = json_object_get(result, "tables");
    const json_t *row =
        json_array_get(json_object_get(json_array_get(tables, 1), "cells"), 0);
    double f = test_number(row, "statistic"), df = test_number(row, "df2");
    cr_expect(fabs(f / number_at(theirs, 0) - 1) < 1e-6, "%s: F %.10g", name, f);
    cr_expect(fabs(df / number_at(theirs, 1) - 1) < 1e-6, "%s: df %.10g", name, df);
}

static void check_case(const char *folder, const char *file)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    char path[512];
    snprintf(path, sizeof path, FOLDER "%s/%s", folder, file);
    json_t *r = test_json(path), *result = NULL;
    const char *name = json_string_value(json_object_get(r, "name"));
    snprintf(path, sizeof path, FOLDER "%s/%s.csv", folder, name);
    struct test_study *s =
        test_trials_from_csv(arena, path, json_string_value(json_object_get(r, "options")), NULL);
    nof1_rc_value rc = test_study_run(&result, arena, s, &error);
    cr_assert(rc == NOF1_OK, "%s: %s %s", name, nof1_rc_code(rc), error.message);
    const json_t *rows = json_object_get(result, "estimates"), *df = json_object_get(r, "df");
    const json_t *test = json_object_get(r, "test"), *errors = json_object_get(r, "error");
    bool adjusted = df != NULL;
    double beta = worst(rows, "estimate", json_object_get(r, "estimate"), errors);
    double se = worst(rows, "std.error", errors, NULL);
    double variance = worst(json_object_get(result, "variance_components"), "estimate",
                            json_object_get(r, "components"), json_object_get(r, "components"));
    double criterion = test_number(r, "criterion");
    double gap =
        fabs(-2 * test_number(result, "fit/logLik") - criterion) / fmax(1, fabs(criterion));
    cr_expect(beta < 1e-9, "%s: beta %.1e", name, beta);
    cr_expect(se < (adjusted ? 1e-6 : 1e-9), "%s: error %.1e", name, se);
    cr_expect(variance < 1e-8 || json_is_true(json_object_get(r, "boundary")), "%s: variances %.1e",
              name, variance);
    cr_expect(gap < 1e-9, "%s: criterion %.1e", name, gap);
    cr_expect(!adjusted || worst(rows, "df", df, NULL) < 1e-6, "%s: df", name);
    cr_expect_str_eq(json_string_value(json_object_get(result, "form")),
                     json_string_value(json_object_get(r, "form")), "%s", name);
    cr_expect(json_is_true(json_object_get(json_object_get(result, "fit"), "boundary")) ==
                  json_is_true(json_object_get(r, "boundary")),
              "%s: boundary", name);
    const json_t *rho = json_object_get(r, "rho");
    cr_expect(rho == NULL || fabs(test_number(result, "residual_correlation") -
                                  json_number_value(rho)) < 1e-8,
              "%s: correlation", name);
    if (test != NULL) {
        check_test(name, result, test);
    }
    json_decref(result);
    json_decref(r);
    nof1_arena_free(arena);
}

static int only_json(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0;
}

static void check_folder(const char *folder, int least)
{
    struct dirent **entry;
    char path[512];
    snprintf(path, sizeof path, FOLDER "%s", folder);
    int count = scandir(path, &entry, only_json, alphasort);
    cr_assert(count >= least, "fixtures are missing");
    for (int i = 0; i < count; i++) {
        check_case(folder, entry[i]->d_name);
        free(entry[i]);
    }
    free(entry);
}

Test(mixed_structure, equals_the_exact_optimum)
{
    check_folder("mixed_structure", 17);
    check_folder("mixed_serial", 22);
}
