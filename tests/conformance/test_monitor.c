/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Monitoring against formulas and a second integration in R (monitor/make.R), published boundaries,
 * the sums' sufficiency, and looks that have nothing to say.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/boundary.h>
#include <stats/registry.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/monitor/"

static enum nof1_spending type_of(const char *text)
{
    return strcmp(text, "pocock") == 0 ? NOF1_SPEND_POCOCK : NOF1_SPEND_OBRIEN_FLEMING;
}

Test(monitor, boundaries_equal_a_second_integration)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i, k;
    json_t *one, *number;
    json_array_foreach(json_object_get(file, "bounds"), i, one)
    {
        double t[NOF1_MOST_LOOKS], bound[NOF1_MOST_LOOKS];
        enum nof1_spending type = type_of(json_string_value(json_object_get(one, "type")));
        double alpha = test_number(one, "alpha");
        json_array_foreach(json_object_get(one, "t"), k, number)
        {
            t[k] = json_number_value(number);
            double spent = json_number_value(json_array_get(json_object_get(one, "spent"), k));
            cr_expect(test_close(nof1_spent(type, alpha, t[k]), spent, 1e-12, 0));
        }
        size_t looks = json_array_size(json_object_get(one, "t"));
        cr_assert(nof1_boundaries(bound, type, alpha, looks, t) == NOF1_OK);
        json_array_foreach(json_object_get(one, "bound"), k, number)
        {
            cr_expect(test_close(bound[k], json_number_value(number), 1e-9, 0),
                      "design %zu look %zu: %.15g, expected %.15g", i, k + 1, bound[k],
                      json_number_value(number));
        }
    }
    json_decref(file);
}

/* Five equal looks, two-sided 0.05: Jennison & Turnbull 2000, table 7.1 ff.; Reboussin et al. 2000.
 */
Test(monitor, boundaries_equal_published_ones)
{
    static const double t[] = {0.2, 0.4, 0.6, 0.8, 1.0};
    static const double published[2][5] = {{4.877, 3.357, 2.680, 2.290, 2.031},
                                           {2.438, 2.427, 2.410, 2.397, 2.386}};
    for (size_t type = 0; type < 2; type++) {
        double bound[5];
        cr_assert(nof1_boundaries(bound, (enum nof1_spending)type, 0.05, 5, t) == NOF1_OK);
        for (size_t k = 0; k < 5; k++) {
            cr_expect(fabs(bound[k] - published[type][k]) < 6e-4, "%g", bound[k]);
        }
    }
}

Test(monitor, boundaries_refuse_fractions_that_do_not_ascend)
{
    static const double t[][3] = {{0.5, 0.5, 1}, {0.5, 0.4, 1}, {0, 0.5, 1}, {0.5, 0.7, 1.1},
                                  {0.5, 0.505, 1}, {NAN, 0.5, 1}};
    double bound[3];
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        cr_expect(nof1_boundaries(bound, NOF1_SPEND_POCOCK, 0.05, 3, t[i]) == NOF1_E_PLAN, "%zu",
                  i);
    }
    static const double early[] = {0.01, 1.0}; /* O'Brien-Fleming spends 1e-110 there */
    cr_assert(nof1_boundaries(bound, NOF1_SPEND_OBRIEN_FLEMING, 0.05, 2, early) == NOF1_OK);
    cr_expect(isinf(bound[0]) && fabs(bound[1] - 1.959963984540054) < 1e-9, "%.15g", bound[1]);
}

static struct test_study *study_of(struct nof1_arena *arena, const json_t *one, const char *method)
{
    char path[512], yaml[512], looks[128] = "";
    size_t k;
    json_t *number;
    json_array_foreach(json_object_get(one, "looks"), k, number)
    {
        size_t used = strlen(looks);
        snprintf(looks + used, sizeof looks - used, "%s%.17g", k == 0 ? "" : ", ",
                 json_number_value(number));
    }
    snprintf(path, sizeof path, FOLDER "%s", json_string_value(json_object_get(one, "file")));
    snprintf(yaml, sizeof yaml,
             "analysis: monitor\nmethod: %s\nlevel: %.17g\nrho: %.17g\nboundary: %s\nplanned: "
             "%.17g\nlooks: [%s]\ncharter: {centre: %.17g}\n",
             method, 1.0 - test_number(one, "alpha"), test_number(one, "rho"),
             json_string_value(json_object_get(one, "boundary")), test_number(one, "planned"),
             looks, test_number(one, "centre"));
    struct test_study *study = test_trials_from_csv(arena, path, yaml, &nof1_monitor);
    struct nof1_outcome *outcome = nof1_arena_alloc(arena, 1, sizeof *outcome);
    *outcome = study->charter.outcome[0];
    outcome->upper = outcome->lower + test_number(one, "range");
    study->charter.outcome = outcome;
    study->charter.lab = true;
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

static void same(const json_t *one, const char *what, double got, const char *key)
{
    double want = test_number(one, key);
    cr_expect((isnan(got) && isnan(want)) || test_close(got, want, 1e-9, 1e-2),
              "%s %s: got %.17g, expected %.17g",
              json_string_value(json_object_get(one, "name")), what, got, want);
}

Test(monitor, looks_equal_the_formulas)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(file, "looks"), i, one)
    {
        struct nof1_arena *arena = nof1_arena_new();
        json_t *any = run(arena, study_of(arena, one, "anytime"));
        json_t *spend = run(arena, study_of(arena, one, "spending"));
        same(one, "cycles", test_number(any, "monitoring/cycles"), "n");
        same(one, "estimate", test_estimate(any, "treatment", "estimate"), "estimate");
        same(one, "se", test_estimate(any, "treatment", "std.error"), "se");
        same(one, "z", test_estimate(spend, "treatment", "statistic"), "z");
        same(one, "log e", test_number(any, "monitoring/log.e.value"), "log_e");
        same(one, "low", test_estimate(any, "treatment", "conf.low"), "low");
        same(one, "high", test_estimate(any, "treatment", "conf.high"), "high");
        same(one, "fraction", test_number(spend, "monitoring/fraction"), "fraction");
        same(one, "bound", test_number(spend, "monitoring/boundary.z"), "bound");
        same(one, "repeated low", test_estimate(spend, "treatment", "conf.low"), "inv_low");
        same(one, "repeated high", test_estimate(spend, "treatment", "conf.high"), "inv_high");
        bool stop = test_number(one, "log_e") >= -log(test_number(one, "alpha"));
        const char *decision =
            json_string_value(json_object_get(json_object_get(any, "monitoring"), "decision"));
        cr_expect_str_eq(decision, stop ? "stop" : "continue");
        bool crossed = fabs(test_number(one, "z")) >= test_number(one, "bound");
        decision =
            json_string_value(json_object_get(json_object_get(spend, "monitoring"), "decision"));
        cr_expect_str_eq(decision, crossed ? "stop" : "continue");
        json_decref(any);
        json_decref(spend);
        nof1_arena_free(arena);
    }
    json_decref(file);
}

Test(monitor, order_of_trials_changes_no_bit)
{
    json_t *file = test_json(FOLDER "expected.json");
    const json_t *one = json_array_get(json_object_get(file, "looks"), 0);
    struct nof1_arena *arena = nof1_arena_new();
    struct test_study *study = study_of(arena, one, "anytime");
    json_t *first = run(arena, study);
    for (size_t i = 0; i < study->trials / 2; i++) {
        struct nof1_trial swap = study->trial[i];
        study->trial[i] = study->trial[study->trials - 1 - i];
        study->trial[study->trials - 1 - i] = swap;
    }
    json_t *second = run(arena, study);
    cr_expect(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    json_decref(file);
    nof1_arena_free(arena);
}

/* Two different sets of differences with equal n, S and V give one result: these are sufficient,
 * and a change in either of S and V changes it: none can be spared. */
Test(monitor, needs_two_sums_and_no_more)
{
    static const struct { double d[3]; bool same; } other[] = {
        {{3.0, 0.0, 0.0}, true}, {{-1.0, 2.0, 2.0}, true}, {{1.0, 1.0, 1.0}, false},
        {{-3.0, 0.0, 0.0}, false}};
    double first = NAN;
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        char csv[512] = "trial,cycle,period,treatment,y\n";
        for (size_t t = 0; t < 3; t++) {
            size_t used = strlen(csv);
            snprintf(csv + used, sizeof csv - used, "p%zu,1,1,0,5\np%zu,1,2,1,%g\n", t, t,
                     5 + other[i].d[t]);
        }
        struct test_study *study = test_trials_from_text(
            arena, csv, "analysis: monitor\nrho: 2\nlevel: 0.8\n", &nof1_monitor);
        json_t *result = run(arena, study);
        double log_e = test_number(result, "monitoring/log.e.value");
        first = i == 0 ? log_e : first;
        double estimate = test_estimate(result, "treatment", "estimate");
        cr_expect(other[i].same == (fabs(log_e - first) < 1e-12 && fabs(estimate - 1) < 1e-12),
                  "%zu: %g %g", i, log_e, estimate);
        json_decref(result);
        nof1_arena_free(arena);
    }
}

Test(monitor, says_what_it_cannot_do)
{
    static const struct { const char *csv, *options; nof1_rc_value rc; bool spending; } cases[] = {
        {"trial,cycle,period,treatment,y\na,1,1,0,5\na,1,2,1,5\nb,1,1,0,4\nb,1,2,1,4\n", "rho: 1",
         NOF1_OK, false}, /* every difference zero */
        {"trial,cycle,period,treatment,y\na,1,1,0,5\na,1,2,1,5\nb,1,1,0,4\nb,1,2,1,4\n",
         "method: spending", NOF1_OK, true},
        {"trial,cycle,period,treatment,y\na,1,1,0,5\na,1,2,1,7\n", "rho: 1", NOF1_OK, false},
        {"trial,cycle,period,treatment,y\na,1,1,0,5\na,1,2,1,7\n",
         "method: spending\nlooks: [0.5]", NOF1_OK, true}, /* a fraction before the last look's */
        {"trial,cycle,period,treatment,y\na,1,1,0,5\na,2,2,1,7\n", "rho: 1", NOF1_E_MODEL, false},
        {"trial,period,treatment,y\na,1,0,5\na,2,1,7\n", "rho: 1", NOF1_E_PLAN, false},
        {"trial,cycle,period,treatment,y\na,1,1,0,5\na,1,2,1,7\n",
         "method: spending\nlooks: [0.5, 0.4]", NOF1_E_PLAN, false},
        {"trial,cycle,period,treatment,y\na,1,1,0,5\na,1,2,1,7\n", "method: spending\nlooks: [x]",
         NOF1_E_PLAN, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        char yaml[160];
        snprintf(yaml, sizeof yaml, "analysis: monitor\n%s\n", cases[i].options);
        struct test_study *study = test_trials_from_text(arena, cases[i].csv, yaml, &nof1_monitor);
        study->charter.lab = true;
        struct nof1_error error = {0};
        json_t *result = NULL;
        nof1_rc_value rc = test_study_run(&result, arena, study, &error);
        cr_expect(rc == cases[i].rc, "%zu: %s %s", i, nof1_rc_code(rc), error.message);
        if (rc == NOF1_OK) {
            const json_t *monitoring = json_object_get(result, "monitoring");
            cr_expect_str_eq(json_string_value(json_object_get(monitoring, "decision")),
                             "continue");
            cr_expect(json_array_size(json_object_get(result, "warnings")) > 0, "%zu", i);
            cr_expect(isnan(test_estimate(result, "treatment", "conf.low")) || i == 1, "%zu", i);
        }
        json_decref(result);
        nof1_arena_free(arena);
    }
}

/* Earlier looks had epochs of their own. */
Test(monitor, counts_looks_by_epochs)
{
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct test_study *study = test_trials_from_text(
            arena, "trial,cycle,period,treatment,y\na,1,1,0,5\na,1,2,1,7\n",
            "analysis: monitor\nmethod: spending\nlooks: [0.1, 0.3]\nplanned: 2\n", &nof1_monitor);
        study->charter.lab = false;
        study->plan.epoch = epoch;
        struct nof1_error error = {0};
        struct nof1_model *model = NULL;
        nof1_rc_value rc = nof1_monitor.prepare(&model, arena, &study->study, &error);
        cr_expect(rc == (epoch < 3 ? NOF1_E_PLAN : NOF1_OK), "%u: %s", epoch, error.message);
        nof1_arena_free(arena);
    }
}
