/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One difference a trial against base R (summary_test/make.R), degenerate data, the suppression of
 * small shares, order, and the rank test of the two sums.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/registry.h>

#include "pooled.h"
#include "rank.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/summary_test/"

static json_t *run(struct nof1_arena *arena, struct test_study *study, nof1_rc_value want)
{
    struct nof1_error error = {0};
    json_t *result = NULL;
    nof1_rc_value rc = test_study_run(&result, arena, study, &error);
    cr_assert(rc == want, "%s %s", nof1_rc_code(rc), error.message);
    return result;
}

static struct test_study *text(struct nof1_arena *arena, const char *csv, const char *options)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml, "analysis: summary_test\n%s\n", options);
    return test_trials_from_text(arena, csv, yaml, &nof1_summary_test);
}

Test(summary_test, equals_base_r)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i;
    json_t *one, *want;
    const char *key;
    json_array_foreach(json_object_get(file, "cases"), i, one)
    {
        struct nof1_arena *arena = nof1_arena_new();
        char path[512], yaml[512];
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *term = json_string_value(json_object_get(one, "term"));
        snprintf(path, sizeof path, FOLDER "%s", json_string_value(json_object_get(one, "file")));
        snprintf(yaml, sizeof yaml, "analysis: summary_test\n%s\n",
                 json_string_value(json_object_get(one, "yaml")));
        struct test_study *study = test_trials_from_csv(arena, path, yaml, &nof1_summary_test);
        struct nof1_outcome outcome = study->charter.outcome[0];
        outcome.centre = strstr(path, "offset") != NULL ? 1e6 : 0;
        study->charter.outcome = &outcome;
        json_t *result = run(arena, study, NOF1_OK);
        double se = test_number(one, "expected/std.error");
        json_object_foreach(json_object_get(one, "expected"), key, want)
        {
            double got = test_estimate(result, term, key), there = json_number_value(want);
            double floor = strcmp(key, "p.value") == 0 ? 0 : isnan(se) ? 1e-3 : se;
            cr_expect(test_close(got, there, 1e-10, floor), "%s %s: got %.17g, expected %.17g",
                      name, key, got, there);
        }
        json_decref(result);
        nof1_arena_free(arena);
    }
    cr_assert(i >= 30);
    json_decref(file);
}

Test(summary_test, degenerate_data_are_results)
{
    static const struct {
        const char *csv, *options;
        double estimate, se; /* NAN: null */
        double trials;
    } cases[] = {
        {"a,1,1,0,1\na,1,2,1,3\n", "form: difference", 2, NAN, 1},
        {"a,1,1,0,1\na,1,2,1,3\n", "form: paired", 2, NAN, 1},
        {"a,1,1,0,1\na,1,2,1,3\nb,1,1,0,2\nb,1,2,1,4\n", "form: difference", 2, 0, 2},
        {"a,1,1,0,1\na,1,2,1,3\nb,1,1,0,2\nb,1,2,0,4\n", "form: difference", 2, NAN, 1},
        {"a,1,1,0,0\na,1,2,1,0\nb,1,1,0,0\nb,1,2,1,0\n", "standardise: within", 0, 0, 2},
        {"a,1,1,0,1\na,1,2,1,3\nb,1,1,0,2\nb,2,2,1,4\n", "form: paired", 2, NAN, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        char csv[256];
        snprintf(csv, sizeof csv, "trial,cycle,period,treatment,y\n%s", cases[i].csv);
        struct test_study *study = text(arena, csv, cases[i].options);
        struct nof1_outcome outcome = study->charter.outcome[0];
        outcome.lower = -10;
        outcome.upper = 10;
        study->charter.outcome = &outcome;
        json_t *result = run(arena, study, NOF1_OK);
        double se = test_estimate(result, "treatment", "std.error");
        cr_expect(test_estimate(result, "treatment", "estimate") == cases[i].estimate, "%zu", i);
        cr_expect(isnan(cases[i].se) ? isnan(se) : se == cases[i].se, "%zu: %g", i, se);
        cr_expect(isnan(test_estimate(result, "treatment", "p.value")), "%zu", i);
        cr_expect(test_number(result, "fit/trials") == cases[i].trials, "%zu", i);
        cr_expect(json_array_size(json_object_get(result, "warnings")) > 0, "%zu", i);
        json_decref(result);
        nof1_arena_free(arena);
    }
}

Test(summary_test, refusals_name_the_field)
{
    static const struct { const char *options, *field; } cases[] = {
        {"form: responder", "mcid"},
        {"form: responder\nmcid: 1", "benefit"},
        {"form: responder\nmcid: 1\nbenefit: lower\nstandardise: within", "standardise"},
        {"standardise: charter\ncharter: {sd_within: 0}", "standardise"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        json_t *result = NULL;
        struct test_study *study = text(
            arena, "trial,cycle,period,treatment,y\na,1,1,0,1\na,1,2,1,3\n", cases[i].options);
        cr_expect(test_study_run(&result, arena, study, &error) == NOF1_E_PLAN, "%zu", i);
        cr_expect(strstr(error.message, cases[i].field) == error.message, "%s", error.message);
        nof1_arena_free(arena);
    }
}

/* Outside the lab a share of few, or of nearly all, is not shown. */
Test(summary_test, hides_small_shares)
{
    static const double mcid[] = {0.5, 5, 8}; /* 9, 5 and 2 of 9 trials respond */
    for (size_t i = 0; i < 3; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        char csv[1024] = "trial,cycle,period,treatment,y\n", options[128];
        for (int t = 1; t <= 9; t++) {
            size_t used = strlen(csv);
            snprintf(csv + used, sizeof csv - used, "t%d,1,1,0,0\nt%d,1,2,1,%d.2\n", t, t,
                     t > 8 ? 9 : t);
        }
        snprintf(options, sizeof options,
                 "form: responder\nmcid: %g\nbenefit: higher\ncharter: {open: false}", mcid[i]);
        struct test_study *study = text(arena, csv, options);
        study->charter.limits.min_cell = 3;
        json_t *result = run(arena, study, NOF1_OK);
        double share = test_estimate(result, "responders", "estimate");
        cr_expect(i == 1 ? share > 0 && share < 1 : isnan(share), "%g", share);
        cr_expect(i == 1 || isnan(test_number(result, "responders/count")));
        json_decref(result);
        nof1_arena_free(arena);
    }
}

Test(summary_test, order_of_trials_changes_no_bit)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct test_study *study = test_trials_from_csv(
        arena, FOLDER "missing.csv", "analysis: summary_test\nstandardise: within\n",
        &nof1_summary_test);
    json_t *first = run(arena, study, NOF1_OK);
    for (size_t i = 0; i < study->trials / 2; i++) {
        struct nof1_trial trial = study->trial[i];
        study->trial[i] = study->trial[study->trials - 1 - i];
        study->trial[study->trials - 1 - i] = trial;
    }
    json_t *second = run(arena, study, NOF1_OK);
    cr_expect(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    nof1_arena_free(arena);
}

/* d_i ~ N(mu, sigma^2): the likelihood has rank 2, and the two sums add nothing to it. */
Test(summary_test, two_sums_are_minimal_sufficient)
{
    enum { SETS = 60, POINTS = 20, ALL = POINTS + 2 };
    static double likelihood[SETS * POINTS], joint[SETS * ALL];
    struct test_random random = {5};
    double mu[POINTS], sd[POINTS];
    for (size_t k = 0; k < POINTS; k++) {
        mu[k] = test_random_normal(&random);
        sd[k] = 0.5 + test_random_uniform(&random);
    }
    for (size_t s = 0; s < SETS; s++) {
        double sum = 0, square = 0, d[9];
        for (size_t i = 0; i < 9; i++) {
            d[i] = test_random_normal(&random);
            sum += d[i];
            square += d[i] * d[i];
        }
        for (size_t k = 0; k < POINTS; k++) {
            double log_lik = 0;
            for (size_t i = 0; i < 9; i++) {
                log_lik -= log(sd[k]) + 0.5 * pow((d[i] - mu[k]) / sd[k], 2);
            }
            likelihood[s * POINTS + k] = joint[s * ALL + k] = log_lik;
        }
        joint[s * ALL + POINTS] = sum;
        joint[s * ALL + POINTS + 1] = square;
    }
    cr_expect(test_rank(likelihood, SETS, POINTS, 1) == 2);
    cr_expect(test_rank(joint, SETS, ALL, 0) == 2);
}
