/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The mixed model beyond reference data: both forms agree on random series, order does not matter
 * to the last bit, degenerate data end in a code, the form follows budget and census.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

/* A complete series of `trials` trials with `cycles` cycles of random order. */
static char *series_csv(struct nof1_arena *arena, uint64_t seed, int trials, int cycles, double su,
                        double tau, double sigma)
{
    struct test_random random = {seed};
    struct nof1_buffer text = {0};
    cr_assert(nof1_buffer_printf(&text, "trial,cycle,period,treatment,y,age\n") == NOF1_OK);
    for (int i = 0; i < trials; i++) {
        double u = su * test_random_normal(&random), d = -1 + tau * test_random_normal(&random);
        double age = floor(20 + 50 * test_random_uniform(&random));
        int first = 0;
        for (int k = 0; k < 2 * cycles; k++) {
            first = k % 2 == 0 ? test_random_uniform(&random) < 0.5 : 1 - first;
            double y = 50 + u + d * first + sigma * test_random_normal(&random);
            cr_assert(nof1_buffer_printf(&text, "%d,%d,%d,%d,%.3f,%.0f\n", i + 1, k / 2 + 1, k + 1,
                                         first, y, age) == NOF1_OK);
        }
    }
    char *csv = nof1_arena_printf(arena, "%.*s", (int)text.length, (const char *)text.data);
    nof1_buffer_free(&text);
    return csv;
}

static nof1_rc_value run_text(json_t **out, struct nof1_arena *arena, const char *csv,
                              const char *plan, struct nof1_error *error)
{
    struct test_study *s = test_trials_from_text(arena, csv, plan, NULL);
    *out = NULL;
    return test_study_run(out, arena, s, error);
}

static double log_lik(const json_t *result)
{
    return test_number(result, "fit/logLik");
}

static bool converged(const json_t *result)
{
    return json_is_true(json_object_get(json_object_get(result, "fit"), "converged"));
}

Test(mixed_forms, forms_agree_on_random_series)
{
    static const char *const random[2] = {"[intercept]", "[intercept, treatment]"};
    static const char *const method[2] = {"method: REML", "method: ML\ndf: z"};
    static const double su[3] = {0, 0.5, 4}, tau[3] = {0, 0.5, 3};
    int apart = 0, slow = 0, compared = 0;
    for (uint64_t seed = 0; seed < 216; seed++) {
        struct nof1_arena *arena = nof1_arena_new();
        const char *csv = series_csv(arena, 1000 + seed, 4 + (int)(seed % 20), 2 + (int)(seed % 3),
                                     su[seed / 2 % 3], tau[seed / 6 % 3], 1);
        char plan[2][256];
        json_t *result[2];
        struct nof1_error error = {0};
        nof1_rc_value rc[2];
        for (int form = 0; form < 2; form++) {
            snprintf(plan[form], sizeof plan[form],
                     "analysis: mixed_model\nrandom: {trial: %s}\n%s\nincomplete: %s\n"
                     "charter: {centre: 50}\n",
                     random[seed % 2], method[seed / 18 % 2], form == 0 ? "class" : "score");
            rc[form] = run_text(&result[form], arena, csv, plan[form], &error);
        }
        cr_expect(rc[0] == NOF1_OK && rc[1] == NOF1_OK, "seed %d: %s %s", (int)seed,
                  nof1_rc_code(rc[0]), error.message);
        if (rc[0] == NOF1_OK && rc[1] == NOF1_OK) {
            double a = log_lik(result[0]), b = log_lik(result[1]);
            bool same = test_close(a, b, 1e-9, 1);
            compared++;
            slow += !converged(result[1]) || !converged(result[0]);
            apart += !same;
            if (!same || !converged(result[1])) {
                printf("seed %d: class %.12g score %.12g rounds %g decrement %g %s\n", (int)seed, a,
                       b, test_number(result[1], "fit/rounds"),
                       test_number(result[1], "fit/gradient"),
                       converged(result[0]) ? "" : "class!");
            }
        }
        json_decref(result[0]);
        json_decref(result[1]);
        nof1_arena_free(arena);
    }
    cr_expect(apart == 0 && slow == 0, "%d apart, %d slow of %d", apart, slow, compared);
}

/* ---- order ---------------------------------------------------------------------------------- */

Test(mixed_forms, order_of_trials_changes_no_bit)
{
    static const char *const forms[5] = {
        "class", "score", "pool", "cycles",
        "class\nresidual: ar1\nby: period\nrandom: {trial: [intercept]}"};
    for (int form = 0; form < 5; form++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        char plan[256];
        snprintf(plan, sizeof plan,
                 "analysis: mixed_model\nincomplete: %s\ncharter: {centre: 50}\n", forms[form]);
        const char *csv = series_csv(arena, 7, 17, 3, 3, 1, 1);
        struct test_study *s = test_trials_from_text(arena, csv, plan, NULL);
        char *text[3];
        struct test_random random = {99};
        for (int run = 0; run < 3; run++) {
            json_t *result = NULL;
            cr_assert(test_study_run(&result, arena, s, &error) == NOF1_OK, "%s", error.message);
            text[run] = json_dumps(result, JSON_REAL_PRECISION(17) | JSON_SORT_KEYS);
            json_decref(result);
            cr_expect(strcmp(text[run], text[0]) == 0, "%s differs after shuffling", forms[form]);
            for (size_t i = s->trials; i-- > 1;) {
                size_t j = (size_t)(test_random_uniform(&random) * (double)(i + 1));
                struct nof1_trial swap = s->trial[i];
                s->trial[i] = s->trial[j];
                s->trial[j] = swap;
            }
        }
        free(text[0]);
        free(text[1]);
        free(text[2]);
        nof1_arena_free(arena);
    }
}

/* ---- degenerate data ------------------------------------------------------------------------ */

struct degenerate {
    const char *what, *csv, *plan;
    nof1_rc_value rc;
    const char *message; /* a part of it */
};

#define HEAD "trial,period,treatment,y,a,b\n"
#define SLOPE "random: {trial: [intercept, treatment]}\n"
#define LEVEL "random: {trial: [intercept]}\n"
#define FOUR(t, y1, y2, y3, y4)                                                                    \
    #t ",1,0," #y1 "," #t ",1\n" #t ",2,1," #y2 "," #t ",1\n" #t ",3,1," #y3 "," #t ",1\n" #t      \
       ",4,0," #y4 "," #t ",1\n"

static const char three[] = HEAD FOUR(1, 3, 5, 4, 1) FOUR(2, 7, 8, 9, 6) FOUR(3, 2, 2, 5, 4);

static const struct degenerate degenerate[] = {
    {"one trial", HEAD FOUR(1, 3, 5, 4, 1), SLOPE, NOF1_E_MODEL, "two trials"},
    {"one cycle each", HEAD "1,1,0,3,,\n1,2,1,4,,\n2,1,1,5,,\n2,2,0,2,,\n3,1,0,7,,\n3,2,1,6,,\n",
     SLOPE, NOF1_E2601, "random: {trial: [intercept]}"},
    {"one row each", HEAD "1,1,0,3,,\n2,1,1,5,,\n3,1,0,7,,\n4,1,1,6,,\n",
     LEVEL "incomplete: score\ncharter: {any_arm: true}\n", NOF1_E2601, "descriptive"},
    {"all outcomes equal", HEAD FOUR(1, 3, 3, 3, 3) FOUR(2, 3, 3, 3, 3) FOUR(3, 3, 3, 3, 3), SLOPE,
     NOF1_E_MODEL, "variation"},
    {"no variation within", HEAD FOUR(1, 3, 5, 5, 3) FOUR(2, 7, 8, 8, 7) FOUR(3, 2, 6, 6, 2), SLOPE,
     NOF1_E_MODEL, "variation"},
    {"active arm missing", HEAD "1,1,0,3,,\n1,2,0,4,,\n2,1,0,5,,\n2,2,0,2,,\n3,3,1,,,\n",
     LEVEL "incomplete: score\n", NOF1_E_MODEL, "active"},
    {"reference arm missing", HEAD "1,1,1,3,,\n1,2,1,4,,\n2,1,1,5,,\n2,2,1,2,,\n3,3,0,,,\n",
     LEVEL "incomplete: score\n", NOF1_E_MODEL, "treatment"},
    {"constant covariate", three, LEVEL "fixed: [treatment, b]\n", NOF1_E_MODEL, "'b'"},
    {"unknown term", three, LEVEL "fixed: [treatment, nosuch]\n", NOF1_E_PLAN, "nosuch"},
    {"term twice", three, LEVEL "fixed: [treatment, a, a]\n", NOF1_E_PLAN, "twice"},
    {"unknown effect", three, "random: {trial: [intercept, period]}\n", NOF1_E_PLAN, "random"},
    {"crossed random effect", three, "random: {site: [intercept]}\n", NOF1_E_PLAN, "random"},
    {"Kenward-Roger with ML", three, "method: ML\ndf: kenward_roger\n", NOF1_E_PLAN, "REML"},
    {"slope without treatment", three, SLOPE "fixed: [a]\n", NOF1_E_PLAN, "treatment"},
    {"unknown residual", three, "residual: ar2\n", NOF1_E_PLAN, "residual"},
    {"correlation without times", three, "residual: ar1\n", NOF1_E_MODEL, "residual"},
    {"Kenward-Roger with ar1", three, "residual: ar1\ndf: kenward_roger\n", NOF1_E_PLAN, "df: z"},
    {"level out of range", three, "level: 1.5\n", NOF1_E_PLAN, "level"},
    {"covariate in pool", three, "incomplete: pool\nfixed: [treatment, a]\n", NOF1_E_PLAN, "pool"},
    {"cycles without cycles", three, "incomplete: cycles\n", NOF1_E_PLAN, "cycles"},
};

Test(mixed_forms, degenerate_data_end_in_a_code)
{
    static const char *const forms[2] = {"", "incomplete: score\n"};
    for (size_t i = 0; i < sizeof degenerate / sizeof *degenerate; i++) {
        for (int form = 0; form < 2; form++) {
            const struct degenerate *d = &degenerate[i];
            struct nof1_arena *arena = nof1_arena_new();
            struct nof1_error error = {0};
            json_t *result;
            const char *how = strstr(d->plan, "incomplete") == NULL ? forms[form] : "";
            char *plan = nof1_arena_printf(arena, "analysis: mixed_model\nreference: \"0\"\n"
                                                  "active: \"1\"\n%s%s", d->plan, how);
            nof1_rc_value rc = run_text(&result, arena, d->csv, plan, &error);
            cr_expect(rc == d->rc && strstr(error.message, d->message) != NULL, "%s %s: %s %s",
                      d->what, how, nof1_rc_code(rc), error.message);
            json_decref(result);
            nof1_arena_free(arena);
        }
    }
}

/* Tiny and odd series: any result is finite or null with a warning, any failure has a message. */
Test(mixed_forms, tiny_series_never_crash)
{
    static const char *const forms[4] = {"auto", "score", "pool", "cycles"};
    int fitted = 0;
    for (uint64_t seed = 0; seed < 160; seed++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        json_t *result;
        char plan[256];
        snprintf(plan, sizeof plan,
                 "analysis: mixed_model\nrandom: {trial: [intercept%s]}\nincomplete: %s\n"
                 "charter: {centre: 50}\n",
                 seed % 2 == 0 || seed % 4 > 1 ? ", treatment" : "", forms[seed % 4]);
        const char *csv = series_csv(arena, seed, 2 + (int)(seed / 4 % 3), 1 + (int)(seed / 12 % 3),
                                     3, 1, seed % 5 == 0 ? 1e-9 : 1);
        nof1_rc_value rc = run_text(&result, arena, csv, plan, &error);
        cr_expect(rc == NOF1_OK || error.message[0] != '\0', "seed %d", (int)seed);
        cr_expect(rc == NOF1_OK || rc == NOF1_E_MODEL || rc == NOF1_E2601 || rc == NOF1_E2308,
                  "seed %d: %s %s", (int)seed, nof1_rc_code(rc), error.message);
        if (rc == NOF1_OK) {
            double estimate = test_estimate(result, "treatment", "estimate");
            cr_expect(fabs(estimate) < 20, "seed %d: %g", (int)seed, estimate);
            cr_expect(test_estimate(result, "treatment", "std.error") > 0, "seed %d", (int)seed);
            fitted++;
        }
        json_decref(result);
        nof1_arena_free(arena);
    }
    cr_expect(fitted > 60, "only %d fitted", fitted);
}

/* Correlated residuals in one round and by score rounds: the same optimum, or a message. */
Test(mixed_forms, correlated_forms_agree_or_say_why)
{
    static const char *const random[2] = {"[]", "[intercept]"};
    int fitted = 0, apart = 0;
    for (uint64_t seed = 0; seed < 96; seed++) {
        struct nof1_arena *arena = nof1_arena_new();
        json_t *result[2];
        nof1_rc_value rc[2];
        int trials = seed % 3 == 0 ? 1 + (int)(seed / 3 % 3) : 8 + (int)(seed % 7);
        const char *csv = series_csv(arena, 300 + seed, trials, 1 + (int)(seed / 4 % 4), 2, 0,
                                     seed % 8 == 7 ? 0 : 1);
        for (int form = 0; form < 2; form++) {
            struct nof1_error error = {0};
            char *plan = nof1_arena_printf(
                arena, "analysis: mixed_model\nresidual: %s\nby: period\nrandom: {trial: %s}\n"
                "method: %s\nincomplete: %s\nfixed: [treatment%s]\ncharter: {centre: 50}\n",
                seed % 5 == 4 ? "car1" : "ar1", random[seed % 2], seed % 4 < 2 ? "REML" : "ML",
                form == 0 ? "class" : "score", seed % 6 == 5 ? ", period" : "");
            rc[form] = run_text(&result[form], arena, csv, plan, &error);
            bool said = rc[form] == NOF1_OK || error.message[0] != '\0';
            cr_expect(said, "seed %d form %d: %s", (int)seed, form, nof1_rc_code(rc[form]));
        }
        if (rc[0] == NOF1_OK && rc[1] == NOF1_OK) {
            double a = log_lik(result[0]), b = log_lik(result[1]);
            bool edge = json_is_true(
                json_object_get(json_object_get(result[0], "fit"), "boundary"));
            fitted++;
            /* rounds find one minimum; where there are several, class is not the worse */
            apart += !test_close(a, b, 1e-8, 1) && !edge && a < b;
            cr_expect(a > b - 1e-6 * fmax(1, fabs(b)), "%d: class %.9g, %.9g", (int)seed, a, b);
        }
        json_decref(result[0]);
        json_decref(result[1]);
        nof1_arena_free(arena);
    }
    cr_expect(fitted > 40 && apart == 0, "%d fitted, %d apart", fitted, apart);
}

static char *gappy_csv(struct nof1_arena *arena, uint64_t seed, int trials);

/* ---- the form ------------------------------------------------------------------------------- */

static const char *form_of(struct nof1_arena *arena, const char *csv, const char *plan,
                           struct nof1_model **model, struct nof1_error *error)
{
    struct test_study *s = test_trials_from_text(arena, csv, plan, NULL);
    *model = NULL;
    *error = (struct nof1_error){0};
    nof1_rc_value rc = s->analysis->prepare(model, arena, &s->study, error);
    return rc == NOF1_OK ? (*model)->form : "none";
}

/* Remove the last row: one trial leaves its class. */
static char *without_last_row(char *csv)
{
    size_t length = strlen(csv) - 1;
    while (csv[length - 1] != '\n') {
        length--;
    }
    csv[length] = '\0';
    return csv;
}

Test(mixed_forms, form_follows_census_and_budget)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_model *model;
    struct nof1_error error;
    char *few = without_last_row(series_csv(arena, 1, 12, 3, 3, 1, 1));
    char *many = without_last_row(series_csv(arena, 2, 60, 3, 3, 1, 1));
    const char *whole = series_csv(arena, 3, 12, 3, 3, 1, 1);
    const char *closed = "analysis: mixed_model\ncharter: {open: false, any_arm: false, missing: "
                         "exclude, min_class_patients: 8, max_release_ratio: 0.5}\n";
    const char *open = "analysis: mixed_model\n";
    cr_expect_str_eq(form_of(arena, whole, closed, &model, &error), "class");
    cr_expect(model->groups == 1 && model->group_is_class && model->max_rounds == 1);
    /* one trial of another pattern: by rounds or weights its numbers could be solved for */
    cr_expect_str_eq(form_of(arena, many, closed, &model, &error), "class");
    cr_expect_str_eq(model->incomplete, "exclude");
    cr_expect_str_eq(form_of(arena, few, closed, &model, &error), "class");
    cr_expect_str_eq(model->incomplete, "exclude");
    const char *pool = "analysis: mixed_model\nincomplete: pool\ncharter: {open: false, any_arm: "
                       "false, missing: exclude, min_class_patients: 8, max_release_ratio: 0.5}\n";
    cr_expect_str_eq(form_of(arena, many, pool, &model, &error), "none");
    cr_expect(strstr(error.message, "could be solved") != NULL, "%s", error.message);
    const char *gaps = gappy_csv(arena, 1, 80);
    cr_expect_str_eq(form_of(arena, gaps, closed, &model, &error), "pool");
    cr_expect(model->max_rounds <= 2, "few weight classes leave one correction at most: %u",
              model->max_rounds);
    cr_expect_str_eq(form_of(arena, few, open, &model, &error), "class", "no class minimum");
    const char *exclude = "analysis: mixed_model\nincomplete: exclude\ncharter: {open: false, "
                          "min_class_patients: 8, max_release_ratio: 0.5, any_arm: false}\n";
    cr_expect_str_eq(form_of(arena, few, exclude, &model, &error), "class");
    cr_expect(model->groups == 1);
    const char *strict = "analysis: mixed_model\nfixed: [treatment, age]\ncharter: {open: false, "
                         "min_class_patients: 8, max_release_ratio: 0.33, missing: exclude}\n";
    cr_expect_str_eq(form_of(arena, few, strict, &model, &error), "class");
    cr_expect_str_eq(model->incomplete, "exclude");
    const char *none = "analysis: mixed_model\nfixed: [treatment, age]\ncharter: {open: false, "
                       "min_class_patients: 12, max_release_ratio: 0.33, missing: exclude}\n";
    cr_expect_str_eq(form_of(arena, few, none, &model, &error), "none");
    cr_expect(strstr(error.message, "pool and cycles fit") != NULL, "%s", error.message);
    cr_expect_str_eq(form_of(arena, whole, strict, &model, &error), "class");
    cr_expect(model->fixed_parameters == 3);
    nof1_arena_free(arena);
}

Test(mixed_forms, exclude_leaves_out_and_counts_only_classes)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    json_t *kept, *whole;
    char *csv = series_csv(arena, 11, 12, 3, 3, 1, 1);
    size_t end = strlen(csv);
    const char *exclude = "analysis: mixed_model\nincomplete: exclude\ncharter: {open: false, "
                          "min_class_patients: 8, any_arm: false, centre: 50}\n";
    const char *plain = "analysis: mixed_model\ncharter: {centre: 50}\n";
    char *shorter = without_last_row(nof1_arena_text(arena, csv));
    for (int row = 0; row < 6; row++) { /* the same data without trial 12 */
        csv = without_last_row(csv);
    }
    cr_assert(strlen(csv) < end);
    cr_assert(run_text(&kept, arena, shorter, exclude, &error) == NOF1_OK, "%s", error.message);
    cr_assert(run_text(&whole, arena, csv, plain, &error) == NOF1_OK, "%s", error.message);
    cr_expect(test_number(kept, "fit/trials") == 11);
    cr_expect(test_estimate(kept, "treatment", "estimate") ==
              test_estimate(whole, "treatment", "estimate"));
    json_decref(kept);
    json_decref(whole);
    nof1_arena_free(arena);
}

/* ---- budgets that end before the optimum ----------------------------------------------------- */

/* Trials lose every fifth or so row, so that patterns differ. */
static char *gappy_csv(struct nof1_arena *arena, uint64_t seed, int trials)
{
    char *csv = series_csv(arena, seed, trials, 4, 4, 2, 2);
    struct test_random random = {seed};
    struct nof1_buffer text = {0};
    for (char *line = csv; *line != '\0';) {
        size_t length = strcspn(line, "\n") + 1;
        bool keep = line == csv || test_random_uniform(&random) > 0.2;
        if (keep) {
            cr_assert(nof1_buffer_append(&text, line, length) == NOF1_OK);
        }
        line += length;
    }
    char *out = nof1_arena_printf(arena, "%.*s", (int)text.length, (const char *)text.data);
    nof1_buffer_free(&text);
    return out;
}

Test(mixed_forms, a_short_budget_states_its_error)
{
    static const char *const forms[2] = {"pool", "score"};
    double worst[2] = {0, 0}, inexact[2] = {0, 0};
    for (uint64_t seed = 0; seed < 40; seed++) {
        for (int form = 0; form < 2; form++) {
            struct nof1_arena *arena = nof1_arena_new();
            struct nof1_error error = {0};
            json_t *exact, *budget;
            char plan[256];
            char *csv = gappy_csv(arena, seed, form == 0 ? 16 : 46);
            snprintf(plan, sizeof plan, "analysis: mixed_model\nincomplete: %s\ncharter: "
                                          "{centre: 50}\n", forms[form]);
            cr_assert(run_text(&exact, arena, csv, plan, &error) == NOF1_OK, "%s", error.message);
            snprintf(plan, sizeof plan,
                     "analysis: mixed_model\nincomplete: %s\ncharter: {centre: 50, %s}\n",
                     forms[form], form == 0 ? "open: false, max_release_ratio: 0.35"
                                            : "max_rounds_query: 5");
            cr_assert(run_text(&budget, arena, csv, plan, &error) == NOF1_OK, "%s", error.message);
            double se = test_estimate(exact, "treatment", "std.error");
            double miss = fabs(test_estimate(budget, "treatment", "estimate") -
                               test_estimate(exact, "treatment", "estimate")) / se;
            double stated = test_number(budget, "fit/approximation_se");
            bool is_exact = json_is_true(json_object_get(json_object_get(budget, "fit"), "exact"));
            cr_expect(converged(exact), "%s seed %d", forms[form], (int)seed);
            cr_expect(is_exact == (stated == 0), "%s seed %d", forms[form], (int)seed);
            cr_expect(miss <= stated + 1e-9, "%s seed %d: %g se, stated %g", forms[form], (int)seed,
                      miss, stated);
            worst[form] = fmax(worst[form], miss);
            inexact[form] += !is_exact;
            json_decref(exact);
            json_decref(budget);
            nof1_arena_free(arena);
        }
    }
    cr_expect(worst[0] < 0.02, "pool: %g se", worst[0]);
    cr_expect(worst[1] < 0.02, "score: %g se", worst[1]);
    cr_expect(inexact[0] > 20 && inexact[1] > 20, "not short: %g %g", inexact[0], inexact[1]);
}

Test(mixed_forms, pool_needs_no_census_of_patterns)
{
    double worst = 0, rounds = 0;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        json_t *basis, *plain;
        char *csv = gappy_csv(arena, 500 + seed, 20);
        cr_assert(run_text(&basis, arena, csv, "analysis: mixed_model\nincomplete: pool\n",
                           &error) == NOF1_OK, "%s", error.message);
        cr_assert(run_text(&plain, arena, csv, "analysis: mixed_model\nincomplete: pool\n"
                           "charter: {lambda: []}\n", &error) == NOF1_OK, "%s", error.message);
        cr_expect(converged(basis) && converged(plain), "seed %d: %g %g", (int)seed,
                  test_number(basis, "fit/gradient"), test_number(plain, "fit/gradient"));
        worst = fmax(worst, fabs(test_estimate(basis, "treatment", "estimate") -
                                 test_estimate(plain, "treatment", "estimate")));
        worst = fmax(worst, fabs(log_lik(basis) - log_lik(plain)));
        rounds += test_number(basis, "fit/rounds") / 30;
        json_decref(basis);
        json_decref(plain);
        nof1_arena_free(arena);
    }
    cr_expect(worst < 1e-9, "%g apart", worst);
    cr_expect(rounds < 6, "%g rounds", rounds);
}

/* Weights of the share rule: 1 / (variance of the effect + 1/n0 + 1/n1), none without both arms. */
Test(mixed_forms, weights_follow_information)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_model *model;
    struct nof1_error error = {0};
    const char *csv = HEAD FOUR(1, 3, 5, 4, 1) "2,1,0,7,,\n2,2,1,8,,\n3,1,0,2,,\n";
    struct test_study *s = test_trials_from_text(
        arena, csv, "analysis: mixed_model\nincomplete: score\n", NULL);
    cr_assert(s->analysis->prepare(&model, arena, &s->study, &error) == NOF1_OK);
    void *scratch = nof1_arena_alloc(arena, model->scratch + 8 * model->scratch_row, 1);
    double theta[7] = {0, 0, 0, 0, 2, 0, 1.5}; /* S diagonal: effect variance 2.25 */
    double expected[3] = {1 / (2.25 + 1), 1 / (2.25 + 2), 0};
    for (size_t i = 0; i < 3; i++) {
        double weight = s->analysis->weight(model, theta, &s->trial[i], scratch);
        cr_expect(test_close(weight, expected[i], 1e-14, 1), "trial %zu: %g", i, weight);
    }
    cr_expect(s->analysis->in_domain(model, theta, 7));
    theta[6] = 2e4;
    cr_expect(!s->analysis->in_domain(model, theta, 7), "beyond the variance box");
    theta[6] = 1;
    theta[1] = 1e9;
    cr_expect(!s->analysis->in_domain(model, theta, 7), "beyond the beta box");
    theta[1] = NAN;
    cr_expect(!s->analysis->in_domain(model, theta, 7));
    cr_expect(!s->analysis->in_domain(model, theta, 6));
    nof1_arena_free(arena);
}

/* ---- layouts --------------------------------------------------------------------------------- */

static void check_layout(const struct nof1_model *model, uint32_t round, struct nof1_arena *arena)
{
    struct nof1_layout layout;
    size_t outcomes = 0;
    cr_assert(model->analysis->layout(model, round, arena, &layout) == NOF1_OK);
    cr_expect(layout.elements > 0 && layout.elements <= model->max_elements);
    for (size_t e = 0; e < layout.elements; e++) {
        const struct nof1_element *element = &layout.element[e];
        int exponent;
        outcomes += element->role == NOF1_OUTCOME;
        cr_expect(element->bound > 0 && element->bound <= 0x1p96, "%s", element->name);
        cr_expect(element->block_size >= 1, "%s", element->name);
        cr_expect(element->group >= -1 && element->group < (int)model->groups, "%s", element->name);
        cr_expect(element->quantum == 0 || frexp(element->quantum, &exponent) == 0.5, "%s",
                  element->name);
        for (size_t f = 0; f < e; f++) {
            cr_expect_str_neq(layout.element[f].name, element->name, "twice");
        }
    }
    cr_expect(outcomes > 0);
}

Test(mixed_forms, layouts_are_well_formed)
{
    static const char *const plans[] = {
        "", "random: {trial: [intercept]}\n", "incomplete: score\n", "incomplete: pool\n",
        "incomplete: cycles\n",
        "fixed: [treatment, \"factor(period)\", previous_treatment]\n",
        "fixed: [treatment, period, age, \"treatment:age\"]\ncharter: {missing: exclude}\n",
        "fixed: [treatment, \"factor(period)\", time, cycle, age, \"treatment:age\"]\n"
        "incomplete: score\n"};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        struct nof1_model *model;
        char plan[256];
        snprintf(plan, sizeof plan, "analysis: mixed_model\n%s", plans[i]);
        struct test_study *s = test_trials_from_text(
            arena, series_csv(arena, 5, 12, 3, 1, 1, 1), plan, NULL);
        cr_assert(s->analysis->prepare(&model, arena, &s->study, &error) == NOF1_OK, "%s",
                  error.message);
        check_layout(model, 1, arena);
        if (model->max_rounds > 1) {
            check_layout(model, 2, arena);
        }
        nof1_arena_free(arena);
    }
}

static bool has_warning(const json_t *result, const char *code)
{
    size_t i;
    json_t *warning;
    json_array_foreach(json_object_get(result, "warnings"), i, warning)
    {
        if (strcmp(json_string_value(json_object_get(warning, "code")), code) == 0) {
            return true;
        }
    }
    return false;
}

Test(mixed_forms, a_far_centre_is_reported)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    json_t *result;
    const char *csv = series_csv(arena, 21, 12, 3, 0.1, 0.1, 0.05);
    for (int centred = 0; centred < 2; centred++) {
        char plan[128];
        snprintf(plan, sizeof plan, "analysis: mixed_model\ncharter: {centre: %d}\n",
                 centred ? 50 : -10000);
        cr_assert(run_text(&result, arena, csv, plan, &error) == NOF1_OK, "%s", error.message);
        cr_expect(has_warning(result, "centre") == !centred, "centred %d", centred);
        json_decref(result);
    }
    nof1_arena_free(arena);
}

/* Trials of six periods in two orders; what the period before leaves behind is `carryover`. */
static const char *carryover_csv(struct nof1_arena *arena, double carryover)
{
    static const int order[2][6] = {{0, 1, 1, 0, 0, 1}, {1, 1, 0, 0, 1, 0}};
    uint64_t state = 99;
    const char *csv = "trial,cycle,period,treatment,y\n";
    for (int t = 0; t < 16; t++) {
        for (int p = 0; p < 6; p++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            double noise = (double)(state >> 40) * 0x1p-24 - 0.5;
            int arm = order[t % 2][p], before = p == 0 ? 0 : order[t % 2][p - 1];
            csv = nof1_arena_printf(arena, "%st%d,%d,%d,%d,%.6f\n", csv, t, p / 2 + 1, p + 1, arm,
                                    10 + t % 5 + arm + carryover * before + noise);
            cr_assert_not_null(csv);
        }
    }
    return csv;
}

Test(mixed_forms, carryover_that_shows_is_suspected)
{
    struct nof1_arena *arena = nof1_arena_new();
    for (int there = 0; there < 2; there++) {
        struct nof1_error error = {0};
        json_t *result;
        cr_assert(run_text(&result, arena, carryover_csv(arena, there ? 1.5 : 0),
                           "analysis: mixed_model\nfixed: [treatment, previous_treatment]\n"
                           "random: {trial: [intercept]}\n",
                           &error) == NOF1_OK,
                  "%s", error.message);
        cr_expect(has_warning(result, "carryover"));
        cr_expect_eq(has_warning(result, "carryover_suspected"), there == 1, "%d", there);
        json_decref(result);
    }
    nof1_arena_free(arena);
}
