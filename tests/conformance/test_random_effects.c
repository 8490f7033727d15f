/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The two-stage analysis against metafor (random_effects/make.R, random_effects/expected.json):
 * nine estimators, both tests, the Q-profile interval, prediction intervals, every form of release.
 */
#include "random_effects/helpers.h"

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
    same(what, test_number(prediction, "metafor/high"), expected(want, "pi_high", 0), tolerance,
         se);
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
            const char *extra = strcmp(name, "offset.csv") == 0 ? "\ncharter: {centre: 1e8}"
                                : strcmp(name, "strata") == 0   ? "\ncharter: {stratum: stratum}"
                                                                : "";
            snprintf(text, sizeof text, "%s\nmethod: %s\ntest: %s%s",
                     json_string_value(json_object_get(one, "text")),
                     json_string_value(json_object_get(fit, "method")),
                     json_string_value(json_object_get(fit, "test")), extra);
            json_t *result =
                run(arena, json_string_value(json_object_get(one, "file")), text, NOF1_OK);
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
                cr_expect(error_in_se(result, fit) < 0.05, "%s: %g", text,
                          error_in_se(result, fit));
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

    static const struct {
        const char *name;
        const char *test;
        double ratio;
        int rounds;
    } cases[] = {
        {"patterns", "z", 0.33, 4},   {"patterns", "knha", 0.33, 3}, {"patterns", "z", 0.12, 2},
        {"patterns", "z", 0.0626, 1}, {"patterns", "z", 0.01, 1},    {"missing", "z", 0.5, 1},
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

/* Moderators by the basis, beside the class form of the same data (which equals rma). */
Test(random_effects, basis_carries_moderators)
{
    static const char *const moderators[] = {"[age]", "[stratum]", "[age, stratum]"};
    static const char *const method[] = {"REML", "DL", "HE", "SJ", "PM"};
    for (size_t i = 0; i < 15; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        char text[256];
        snprintf(text, sizeof text, "incomplete: pool\nmethod: %s\nmoderators: %s", method[i / 3],
                 moderators[i % 3]);
        json_t *exact = run(arena, "patterns.csv", text, NOF1_OK);
        strncat(text, "\ncharter: {open: false, min_class_patients: 8}",
                sizeof text - strlen(text) - 1);
        json_t *basis = run(arena, "patterns.csv", text, NOF1_OK);
        cr_expect(strcmp(json_string_value(json_object_get(basis, "release")), "basis") == 0);
        cr_expect(!flag(basis, "exact"));
        double bound = test_number(basis, "fit/approximation_se");
        const json_t *row;
        size_t r;
        json_array_foreach(json_object_get(exact, "estimates"), r, row)
        {
            const char *term = json_string_value(json_object_get(row, "term"));
            double se = test_estimate(exact, term, "std.error");
            double error = fabs(test_estimate(basis, term, "estimate") -
                                test_estimate(exact, term, "estimate")) / se;
            cr_expect(error > 0.0 && error <= bound && error < 0.05, "%s %s: %g se of %g", text,
                      term, error, bound);
        }
        cr_expect(r >= 2);
        json_decref(exact);
        json_decref(basis);
        nof1_arena_free(arena);
    }
}

/* ---- degenerate inputs: a result or a code, never NaN ---- */

Test(random_effects, refuses_with_a_code)
{
    static const char *const one_cycle = "trial,cycle,period,treatment,y\na,1,1,0,1\na,1,2,1,3\n"
                                         "b,1,1,0,1\nb,1,2,1,2\n";
    static const char *const one_arm = "trial,cycle,period,treatment,y\na,1,1,0,1\na,1,2,1,\n"
                                       "b,1,1,0,1\nb,1,2,1,\n";
    static const char *const flat =
        "trial,cycle,period,treatment,y\na,1,1,0,1\na,1,2,1,1\na,2,3,0,1\na,2,4,1,1\n"
        "b,1,1,0,1\nb,1,2,1,1\nb,2,3,0,1\nb,2,4,1,1\n";
    static const char *const rigid =
        "trial,cycle,period,treatment,y\na,1,1,0,1\na,1,2,1,2\na,2,3,0,1\na,2,4,1,2\n"
        "b,1,1,0,1\nb,1,2,1,4\nb,2,3,0,1\nb,2,4,1,4\n";
    static const struct { const char *csv, *text; nof1_rc_value rc; } cases[] = {
        {one_cycle, "incomplete: cycles", NOF1_E2601},
        {one_cycle, "incomplete: pool", NOF1_E2601},
        {one_arm, "incomplete: pool", NOF1_E_MODEL},
        {flat, "incomplete: cycles", NOF1_E_MODEL},
        {rigid, "incomplete: cycles\nmethod: DL", NOF1_E_MODEL},
        {rigid, "incomplete: cycles\nmethod: FE", NOF1_E_MODEL},
        {rigid, "incomplete: cycles\nwithin_variance: own", NOF1_E_MODEL},
        {"complete.csv", "moderators: [nothing]", NOF1_E_PLAN},
        {"complete.csv", "moderators: [age, age]", NOF1_E_MODEL},
        {"one.csv", "incomplete: cycles\nmoderators: [age]", NOF1_E_MODEL},
        {"bcg.csv", "variance: v\nwithin_variance: pooled", NOF1_E_PLAN},
        {"patterns.csv", "moderators: [age]\ncharter: {open: false, min_class_patients: 8, "
                         "max_release_ratio: 0.01}", NOF1_E_PLAN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        json_t *result = run(arena, cases[i].csv, cases[i].text, cases[i].rc);
        cr_expect(result == NULL);
        json_decref(result);
        nof1_arena_free(arena);
    }
}

Test(random_effects, own_variances_of_steps_stay_in_the_lab)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct test_study *study = study_of(arena, "complete.csv", "within_variance: own");
    struct nof1_outcome outcome = study->charter.outcome[0];
    outcome.quantum = 1;
    study->charter.outcome = &outcome;
    struct nof1_model *model = NULL;
    struct nof1_error error = {0};
    cr_expect(nof1_random_effects.prepare(&model, arena, &study->study, &error) == NOF1_OK);
    study->charter.lab = false;
    cr_expect(nof1_random_effects.prepare(&model, arena, &study->study, &error) == NOF1_E2311);
    outcome.quantum = 0;
    cr_expect(nof1_random_effects.prepare(&model, arena, &study->study, &error) == NOF1_OK);
    nof1_arena_free(arena);
}

/* Without variation inside trials REML is the t test of the differences. */
Test(random_effects, no_variation_within_trials_is_the_limit)
{
    struct nof1_arena *arena = nof1_arena_new();
    const char *csv = "trial,cycle,period,treatment,y\n"
                      "a,1,1,0,1\na,1,2,1,2\na,2,3,0,5\na,2,4,1,6\n"
                      "b,1,1,0,1\nb,1,2,1,4\nb,2,3,0,2\nb,2,4,1,5\n"
                      "c,1,1,0,1\nc,1,2,1,3\nc,2,3,0,2\nc,2,4,1,4\nc,3,5,0,2\nc,3,6,1,4\n";
    static const char *const method[] = {"REML", "HE", "SJ", "PM", "EB", "ML"};
    for (size_t i = 0; i < 6; i++) {
        char text[128];
        snprintf(text, sizeof text, "incomplete: cycles\nmethod: %s\ntest: z", method[i]);
        json_t *result = run(arena, csv, text, NOF1_OK);
        double tau2 = i == 5 ? 2.0 / 3.0 : 1.0; /* differences 1, 3, 2 */
        same(text, test_estimate(result, "treatment", "estimate"), 2, 1e-14, 0);
        same(text, test_number(result, "heterogeneity/tau.squared"), tau2, 1e-14, 0);
        same(text, test_estimate(result, "treatment", "std.error"), sqrt(tau2 / 3), 1e-14, 0);
        cr_expect(json_is_null(json_object_get(json_object_get(result, "heterogeneity"),
                                               "cochran.qe")));
        cr_expect(warned(result, "no variation inside any trial"));
        json_decref(result);
    }
    nof1_arena_free(arena);
}

Test(random_effects, own_variance_of_zero_leaves_the_trial_out)
{
    struct nof1_arena *arena = nof1_arena_new();
    static const char head[] = "trial,cycle,period,treatment,y\n"
                               "a,1,1,0,1\na,1,2,1,2\na,2,3,0,5\na,2,4,1,7\n"
                               "b,1,1,0,1\nb,1,2,1,4\nb,2,3,0,2\nb,2,4,1,6\n"
                               "c,1,1,0,1\nc,1,2,1,0\nc,2,3,0,2\nc,2,4,1,4\n";
    static const char rigid[] = "d,1,1,0,1\nd,1,2,1,5\nd,2,3,0,2\nd,2,4,1,6\n";
    char all[512];
    snprintf(all, sizeof all, "%s%s", head, rigid);
    json_t *three = run(arena, head, "within_variance: own\nincomplete: cycles", NOF1_OK);
    json_t *four = run(arena, all, "within_variance: own\nincomplete: cycles", NOF1_OK);
    cr_expect(warned(four, "1 trial left out") && !warned(three, "left out"));
    same("estimate", test_estimate(four, "treatment", "estimate"),
         test_estimate(three, "treatment", "estimate"), 1e-12, 0);
    same("trials", test_number(four, "fit/trials"), 3, 0, 0);
    json_decref(three);
    json_decref(four);
    nof1_arena_free(arena);
}

Test(random_effects, short_of_rounds_says_so)
{
    static const struct {
        int rounds;
        bool converged;
    } cases[] = {{1, false}, {2, false}, {8, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        char text[128];
        snprintf(text, sizeof text, "variance: v\nwithin_variance: own\ncharter: "
                                    "{max_rounds_query: %d}", cases[i].rounds);
        json_t *result = run(arena, "bcg.csv", text, NOF1_OK);
        cr_expect(flag(result, "converged") == cases[i].converged, "%d rounds", cases[i].rounds);
        cr_expect(warned(result, "rounds ended"));
        cr_expect(!isnan(test_estimate(result, "treatment", "estimate")));
        cr_expect(json_is_null(json_object_get(json_object_get(result, "heterogeneity"),
                                               "conf.high")));
        json_decref(result);
        nof1_arena_free(arena);
    }
}

Test(random_effects, few_trials_warn_and_leave_out_what_does_not_exist)
{
    struct nof1_arena *arena = nof1_arena_new();
    json_t *one = run(arena, "one.csv", "incomplete: cycles", NOF1_OK);
    cr_expect(warned(one, "one trial in all"));
    /* No df for t: normal, as rma does. */
    double se = test_estimate(one, "treatment", "std.error");
    cr_expect(se > 0.0 && warned(one, "normal intervals instead of Knapp-Hartung"));
    cr_expect_float_eq(test_estimate(one, "treatment", "conf.high") -
                           test_estimate(one, "treatment", "conf.low"),
                       2.0 * 1.9599639845400545 * se, 1e-12 * se);
    cr_expect(!isnan(test_estimate(one, "treatment", "estimate")));
    json_t *two = run(arena, "two.csv", "incomplete: cycles", NOF1_OK);
    cr_expect(warned(two, "two trials"));
    cr_expect(isnan(test_number(two, "heterogeneity/prediction/hts/low")));
    cr_expect(!isnan(test_number(two, "heterogeneity/prediction/metafor/low")));
    json_t *none = run(arena, "tau0.csv", "incomplete: cycles", NOF1_OK);
    cr_expect(test_number(none, "heterogeneity/tau.squared") == 0 && flag(none, "boundary"));
    cr_expect(warned(none, "boundary") && warned(none, "Knapp-Hartung"));
    cr_expect(test_number(none, "fit/score_at_zero") < 0);
    json_t *empty = run(arena, "empty.csv", "incomplete: cycles\ntest: z", NOF1_OK);
    cr_expect(warned(empty, "interval of tau^2 is empty") && !warned(empty, "Knapp-Hartung"));
    json_decref(empty);
    json_decref(one);
    json_decref(two);
    json_decref(none);
    nof1_arena_free(arena);
}

/* The charter's centre of an imported effect is an inner matter. */
Test(random_effects, imported_effects_do_not_depend_on_the_centre)
{
    json_t *file = test_json(FOLDER "expected.json");
    static const char *const name[] = {"bcg", "bcg latitude"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *one = case_of(file, name[i]);
        const json_t *fit = json_array_get(json_object_get(one, "fits"), 15); /* REML, knha */
        struct nof1_arena *arena = nof1_arena_new();
        char text[256];
        snprintf(text, sizeof text, "%s\nmethod: %s\ncharter: {centre: -0.7}",
                 json_string_value(json_object_get(one, "text")),
                 json_string_value(json_object_get(fit, "method")));
        json_t *result = run(arena, "bcg.csv", text, NOF1_OK);
        compare(name[i], result, fit, 1e-9);
        json_decref(result);
        nof1_arena_free(arena);
    }
    json_decref(file);
}
