/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Refits of class sums (mixed_refit/make.R): profile intervals against confint of lme4, which
 * interpolates, within 1e-5 of a standard deviation; likelihood-ratio tests 1e-6. What rounds fit
 * is refused.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/mixed_refit/"
#define PLAN                                                                                       \
    "analysis: mixed_model\nreference: a\nactive: b\ncharter: {centre: 20}\ntests: [variances, "   \
    "fixed]\ninterval: profile\n"

static double pair_at(const json_t *array, size_t i, size_t k)
{
    return json_number_value(json_array_get(json_array_get(array, i), k));
}

static void check_ends(const json_t *rows, const json_t *theirs, const char *what)
{
    cr_assert_eq(json_array_size(rows), json_array_size(theirs), "%s", what);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        double low = test_number(row, "conf.low") - pair_at(theirs, i, 0);
        double high = test_number(row, "conf.high") - pair_at(theirs, i, 1);
        cr_expect(fabs(low) < 1e-5 && fabs(high) < 1e-5, "%s %zu: %.1e %.1e", what, i, low, high);
    }
}

static const json_t *cells(const json_t *result, size_t table)
{
    return json_object_get(json_array_get(json_object_get(result, "tables"), table), "cells");
}

static void check_test(const json_t *row, const json_t *theirs, const char *what)
{
    double statistic = test_number(row, "statistic"), p = test_number(row, "p.value");
    double a = json_number_value(json_array_get(theirs, 0));
    double b = json_number_value(json_array_get(theirs, 1));
    cr_expect(fabs(statistic / a - 1) < 1e-6 && fabs(p / b - 1) < 1e-6, "%s: %.12g %.12g", what,
              statistic, p);
}

Test(mixed_refit, equals_confint_and_likelihood_ratios)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    json_t *r = test_json(FOLDER "slope.json"), *result = NULL;
    struct test_study *s = test_trials_from_csv(arena, FOLDER "slope.csv", PLAN, NULL);
    nof1_rc_value rc = test_study_run(&result, arena, s, &error);
    cr_assert(rc == NOF1_OK, "%s %s", nof1_rc_code(rc), error.message);
    cr_expect(test_number(result, "fit/rounds") == 1);
    check_test(json_array_get(cells(result, 0), 0), json_object_get(r, "variance"), "variance");
    check_test(json_array_get(cells(result, 0), 1), json_object_get(r, "term"), "term");
    check_ends(json_object_get(result, "estimates"), json_object_get(r, "fixed"), "fixed");
    check_ends(cells(result, 1), json_object_get(r, "sd"), "sd");
    json_decref(result);
    json_decref(r);
    nof1_arena_free(arena);
}

Test(mixed_refit, is_refused_where_a_refit_takes_rounds)
{
    static const char *const plan[] = {PLAN "incomplete: score\n",
                                       PLAN "residual: ar1\nby: period\ndf: z\n"};
    for (size_t i = 0; i < 2; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        json_t *result = NULL;
        struct test_study *s = test_trials_from_csv(arena, FOLDER "slope.csv", plan[i], NULL);
        nof1_rc_value rc = test_study_run(&result, arena, s, &error);
        cr_expect(rc == NOF1_E_PLAN, "%zu: %s", i, nof1_rc_code(rc));
        cr_expect(strstr(error.message, "interval: wald") != NULL, "%s", error.message);
        json_decref(result);
        nof1_arena_free(arena);
    }
}
