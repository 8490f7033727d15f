/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * glmm against exact optima of the same approximated likelihood (glmm/make.R: written
 * independently, checked against glmer and clmm2, polished by Newton steps), its other forms
 * against its own score form, and its degenerate cases.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/glmm/"

static double at(const json_t *object, const char *key, size_t i)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_array(value)) {
        value = json_array_get(value, i);
    }
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static double component(const json_t *result, size_t i)
{
    return at(json_array_get(json_object_get(result, "variance_components"), i), "estimate", 0);
}

static double gap(double a, double b, double unit)
{
    double error = fabs(a - b) / unit;
    return isnan(error) ? INFINITY : error;
}

struct worst {
    double estimate, error, sd, value;
};

static struct worst compare(const json_t *reference, const json_t *result)
{
    struct worst w = {0};
    const json_t *terms = json_object_get(reference, "terms"),
                 *var = json_object_get(reference, "var");
    for (size_t i = 0; i < json_array_size(terms); i++) {
        const char *term = json_string_value(json_array_get(terms, i));
        double se = at(reference, "std.error", i);
        w.estimate = fmax(w.estimate, gap(test_estimate(result, term, "estimate"),
                                          at(reference, "estimate", i), se));
        w.error = fmax(w.error, gap(test_estimate(result, term, "std.error"), se, se));
    }
    bool slope = json_is_array(var) && json_array_size(var) == 3;
    static const size_t place[3] = {0, 2, 1}; /* ours: variances, then the covariance */
    double top = sqrt(fmax(at(reference, "var", 0), slope ? at(reference, "var", 2) : 0));
    for (size_t i = 0; i < (slope ? 3 : 1); i++) {
        double theirs = at(reference, "var", i), ours = component(result, place[i]);
        double error =
            i == 1 ? gap(ours, theirs, top * top) : gap(sqrt(ours), sqrt(theirs), fmax(top, 1e-3));
        w.sd = fmax(w.sd, error);
    }
    double value = at(reference, "logLik", 0);
    w.value = gap(test_number(result, "fit/logLik"), value, fabs(value));
    return w;
}

static void check_case(const char *file)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    char path[512];
    snprintf(path, sizeof path, FOLDER "%s", file);
    json_t *reference = test_json(path), *result = NULL;
    const char *name = json_string_value(json_object_get(reference, "name"));
    snprintf(path, sizeof path, FOLDER "%s.csv",
             json_string_value(json_object_get(reference, "data")));
    struct test_study *s = test_trials_from_csv(
        arena, path, json_string_value(json_object_get(reference, "options")), NULL);
    nof1_rc_value rc = test_study_run(&result, arena, s, &error);
    cr_expect(rc == NOF1_OK, "%s: %s %s", name, nof1_rc_code(rc), error.message);
    if (rc == NOF1_OK) {
        struct worst w = compare(reference, result);
        const json_t *fit = json_object_get(result, "fit");
        cr_expect(w.estimate <= 1e-7 && w.error <= 1e-6 && w.sd <= 1e-6 && w.value <= 1e-9,
                  "%s: beta %.1e se %.1e sd %.1e logLik %.1e", name, w.estimate, w.error, w.sd,
                  w.value);
        cr_expect(strcmp(json_string_value(json_object_get(result, "form")),
                         json_string_value(json_object_get(reference, "form"))) == 0,
                  "%s: form", name);
        cr_expect(test_number(result, "fit/nobs") == at(reference, "nobs", 0), "%s: nobs", name);
        cr_expect(test_number(result, "fit/trials") == at(reference, "trials", 0), "%s: trials",
                  name);
        cr_expect(json_is_true(json_object_get(fit, "converged")), "%s: converged", name);
        cr_expect(json_is_true(json_object_get(fit, "boundary")) ==
                      json_is_true(json_object_get(reference, "boundary")),
                  "%s: boundary", name);
        if (getenv("NOF1_TEST_VERBOSE") != NULL) {
            printf("%-18s rounds %2.0f beta %.1e se %.1e sd %.1e logLik %.1e\n", name,
                   test_number(result, "fit/rounds"), w.estimate, w.error, w.sd, w.value);
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

Test(glmm, equals_the_exact_optimum)
{
    struct dirent **entry;
    int count = scandir(FOLDER, &entry, only_json, alphasort);
    cr_assert(count >= 20, "fixtures are missing");
    for (int i = 0; i < count; i++) {
        check_case(entry[i]->d_name);
        free(entry[i]);
    }
    free(entry);
}

static json_t *run_file(struct nof1_arena *arena, const char *data, const char *options,
                        bool reversed)
{
    struct nof1_error error = {0};
    char path[512];
    json_t *result = NULL;
    snprintf(path, sizeof path, FOLDER "%s.csv", data);
    struct test_study *s = test_trials_from_csv(arena, path, options, NULL);
    for (size_t i = 0; reversed && i < s->trials / 2; i++) {
        struct nof1_trial swap = s->trial[i];
        s->trial[i] = s->trial[s->trials - 1 - i];
        s->trial[s->trials - 1 - i] = swap;
    }
    nof1_rc_value rc = test_study_run(&result, arena, s, &error);
    cr_assert(rc == NOF1_OK, "%s %s: %s", data, options, error.message);
    return result;
}

struct form_case {
    const char *data, *options, *closed; /* closed: as policies other than open allow */
    double tolerance;                    /* of estimates, in standard errors */
};

/* What other policies release, beside the exact optimum of the open form. */
Test(glmm, other_forms_are_as_close_as_they_say)
{
    static const struct form_case cases[] = {
        {"logit", "analysis: glmm\ncharter: {kind: binary}\n",
         "analysis: glmm\nincomplete: class\ncharter: {kind: binary, open: false, "
         "max_release_ratio: 0.33}\n",
         0.1},
        {"logit_covariates", "analysis: glmm\ncharter: {kind: binary}\n",
         "analysis: glmm\ncharter: {kind: binary, open: false, max_release_ratio: 1}\n", 0.03},
        {"poisson", "analysis: glmm\ncharter: {kind: count, centre: 2}\n",
         "analysis: glmm\ncharter: {kind: count, centre: 2, open: false, max_release_ratio: "
         "0.33}\n",
         1e-3},
        {"poisson_exposure", "analysis: glmm\nexposure: hours\ncharter: {kind: count}\n",
         "analysis: glmm\nexposure: hours\ncharter: {kind: count, open: false, max_release_ratio: "
         "1}\n",
         0.03},
        {"verbagg",
         "analysis: glmm\nincomplete: score\nquadrature: 1\nrandom: {trial: [intercept, "
         "treatment]}\ncharter: {kind: binary}\n",
         "analysis: glmm\nquadrature: 1\nrandom: {trial: [intercept, treatment]}\ncharter: {kind: "
         "binary, open: false, max_release_ratio: 1}\n",
         0.03},
        {"ordinal", "analysis: glmm\ncharter: {kind: ordinal}\n",
         "analysis: glmm\ncharter: {kind: ordinal, open: false, max_release_ratio: 0.5}\n", 0.03},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct form_case *c = &cases[i];
        struct nof1_arena *arena = nof1_arena_new();
        json_t *exact = run_file(arena, c->data, c->options, false);
        json_t *released = run_file(arena, c->data, c->closed, false);
        double se = test_estimate(exact, "treatment", "std.error");
        double off = gap(test_estimate(released, "treatment", "estimate"),
                         test_estimate(exact, "treatment", "estimate"), se);
        double said = test_number(released, "fit/approximation_se");
        cr_expect(off <= c->tolerance, "%s %s: off by %.1e, said %.1e", c->data,
                  json_string_value(json_object_get(released, "form")), off, said);
        cr_expect(off <= 5 * said + 1e-9, "%s: off by %.1e, said %.1e", c->data, off, said);
        if (getenv("NOF1_TEST_VERBOSE") != NULL) {
            printf("%s %s rounds %g off %.1e said %.1e\n", c->data,
                   json_string_value(json_object_get(released, "form")),
                   test_number(released, "fit/rounds"), off, said);
        }
        json_decref(exact);
        json_decref(released);
        nof1_arena_free(arena);
    }
}

/* Two sums determine the effect on counts: equal to the whole model's. */
Test(glmm, effect_on_counts_from_two_sums)
{
    struct nof1_arena *arena = nof1_arena_new();
    json_t *exact = run_file(arena, "poisson", "analysis: glmm\ncharter: {kind: count}\n", false);
    json_t *two = run_file(
        arena, "poisson",
        "analysis: glmm\ncharter: {kind: count, open: false, max_release_ratio: 0.05}\n", false);
    cr_expect(gap(test_estimate(two, "treatment", "estimate"),
                  test_estimate(exact, "treatment", "estimate"), 1) < 1e-9);
    cr_expect(gap(test_estimate(two, "treatment", "std.error"),
                  test_estimate(exact, "treatment", "std.error"), 1) < 1e-9);
    cr_expect(isnan(test_estimate(two, "(Intercept)", "estimate")));
    json_decref(exact);
    json_decref(two);
    nof1_arena_free(arena);
}

Test(glmm, order_of_trials_changes_no_bit)
{
    static const char *const cases[][2] = {
        {"logit", "analysis: glmm\ncharter: {kind: binary}\n"},
        {"ordinal", "analysis: glmm\ncharter: {kind: ordinal}\n"},
        {"poisson", "analysis: glmm\nincomplete: class\ncharter: {kind: count, open: false}\n"},
    };
    for (size_t i = 0; i < 3; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        json_t *a = run_file(arena, cases[i][0], cases[i][1], false);
        json_t *b = run_file(arena, cases[i][0], cases[i][1], true);
        cr_expect(json_equal(a, b), "%s", cases[i][0]);
        json_decref(a);
        json_decref(b);
        nof1_arena_free(arena);
    }
}

/* ---- degenerate data ----------------------------------------------------------------------- */

struct degenerate {
    const char *what, *options;
    int (*y)(int trial, int row, int arm);
    int trials;
    const char *says; /* part of the refusal; NULL: a result */
};

static int y_zero(int t, int r, int a) { (void)t; (void)r; (void)a; return 0; }
static int y_arm(int t, int r, int a) { (void)t; (void)r; return a; }
static int y_active(int t, int r, int a) { return a != 0 && (t + r) % 3 == 0; }
static int y_trial(int t, int r, int a) { (void)r; (void)a; return t % 2; }
static int y_mixed(int t, int r, int a) { return (t * 5 + r * 3 + a * (r % 3 > 0)) % 7 < 3;
}

static int y_middle(int t, int r, int a)
{
    return 1 + 2 * y_mixed(t, r, a) + (y_mixed(t, r, a) != 0 && (t + r) % 2 != 0);
}
static int y_covariate(int t, int r, int a) { return t % 4 == 0 || y_mixed(t, r, a); }
static int y_balanced(int t, int r, int a) { (void)t; return (r / 2 + a) % 2; }

static json_t *run_made(const struct degenerate *c, nof1_rc_value *rc, struct nof1_error *error,
                        struct nof1_arena *arena)
{
    struct nof1_buffer text = {0};
    json_t *result = NULL;
    cr_assert(nof1_buffer_printf(&text, "trial,cycle,period,treatment,y,x,age\n") == NOF1_OK);
    for (int t = 0; t < c->trials; t++) {
        for (int r = 0; r < 8; r++) {
            int arm = (r + t) % 2;
            cr_assert(nof1_buffer_printf(&text, "%d,%d,%d,%d,%d,%d,%d\n", t + 1, r / 2 + 1, r + 1,
                                         arm, c->y(t, r, arm), t % 4 == 0,
                                         t % 4 == 0 ? 70 + t % 9 : 40 + t % 7) == NOF1_OK);
        }
    }
    char *csv = nof1_arena_printf(arena, "%.*s", (int)text.length, (const char *)text.data);
    nof1_buffer_free(&text);
    struct test_study *s = test_trials_from_text(arena, csv, c->options, NULL);
    *rc = test_study_run(&result, arena, s, error);
    return result;
}

static bool has_null_estimate(const json_t *result)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(result, "estimates"), i, row)
    {
        if (json_is_null(json_object_get(row, "estimate"))) {
            return true;
        }
    }
    return false;
}

Test(glmm, degenerate_data_are_results_or_say_what_to_do)
{
#define BINARY "analysis: glmm\ncharter: {kind: binary}\n"
#define COUNT "analysis: glmm\ncharter: {kind: count}\n"
#define ORDINAL "analysis: glmm\ncharter: {kind: ordinal}\n"
    static const struct degenerate cases[] = {
        {"all equal", BINARY, y_zero, 6, "all outcomes are equal"},
        {"no events", COUNT, y_zero, 6, "all outcomes are equal"},
        {"separate arms", BINARY, y_arm, 6, "stratified"},
        {"no event on the reference", COUNT, y_active, 6, "stratified"},
        {"no event on the reference, class",
         "analysis: glmm\nincomplete: class\ncharter: {kind: count}\n", y_active, 6, "stratified"},
        {"separate trials", BINARY, y_trial, 6, "stratified"},
        {"ordinal, separate arms", ORDINAL, y_arm, 6, "stratified"},
        {"one trial", BINARY, y_mixed, 1, NULL},
        {"two trials", BINARY, y_mixed, 2, NULL},
        {"one trial, ordinal", ORDINAL, y_mixed, 1, NULL},
        {"empty middle category", ORDINAL, y_middle, 12, NULL},
        {"no variance between trials", BINARY, y_balanced, 9, NULL},
        {"random slope without variance",
         "analysis: glmm\nquadrature: 1\nrandom: {trial: [intercept, treatment]}\ncharter: {kind: "
         "binary}\n",
         y_balanced, 9, NULL},
        {"continuous", "analysis: glmm\n", y_mixed, 6, "mixed_model"},
        {"family of another kind", "analysis: glmm\nfamily: poisson\ncharter: {kind: binary}\n",
         y_mixed, 6, "kind count"},
        {"quadrature with a slope",
         "analysis: glmm\nrandom: {trial: [intercept, treatment]}\ncharter: {kind: binary}\n",
         y_mixed, 6, "quadrature: 1"},
        {"no such exposure", "analysis: glmm\nexposure: hours\ncharter: {kind: count}\n", y_mixed,
         6, "no covariate"},
        {"aliased columns",
         "analysis: glmm\nfixed: [treatment, period, factor(period)]\ncharter: {kind: binary}\n",
         y_mixed, 12, "combination"},
        {"as many numbers as tables",
         "analysis: glmm\nincomplete: score\ncharter: {kind: binary, open: false, "
         "max_release_ratio: 0.5}\n",
         y_mixed, 40, "counted out"},
        {"totals that can be counted out",
         "analysis: glmm\nincomplete: class\ncharter: {kind: binary, open: false, "
         "max_release_ratio: 0.5}\n",
         y_mixed, 8, "counted out"},
        {"separate by a number", "analysis: glmm\nfixed: [treatment, x]\ncharter: {kind: binary}\n",
         y_covariate, 40, "estimate of x"},
        {"separate by a level",
         "analysis: glmm\nfixed: [treatment, x]\ncharter: {kind: binary, factors: [x]}\n",
         y_covariate, 40, "estimate of x1"},
        {"separate by an age", "analysis: glmm\nfixed: [treatment, age]\ncharter: {kind: binary}\n",
         y_covariate, 40, NULL},
        {"separate by a level, ordinal",
         "analysis: glmm\nfixed: [treatment, x]\ncharter: {kind: ordinal, factors: [x]}\n",
         y_covariate, 40, "estimate of x1"},
        {"too few patients",
         "analysis: glmm\nincomplete: score\ncharter: {kind: binary, open: false, "
         "max_release_ratio: 0.33}\n",
         y_mixed, 6, "stratified"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        nof1_rc_value rc;
        json_t *result = run_made(&cases[i], &rc, &error, arena);
        if (cases[i].says == NULL) {
            cr_expect(rc == NOF1_OK, "%s: %s", cases[i].what, error.message);
            cr_expect(result == NULL || json_is_true(json_object_get(json_object_get(result, "fit"),
                                                                     "converged")),
                      "%s: converged", cases[i].what);
        } else {
            cr_expect((rc == NOF1_E_MODEL || rc == NOF1_E_PLAN) &&
                          strstr(error.message, cases[i].says) != NULL,
                      "%s: %s %s", cases[i].what, nof1_rc_code(rc), error.message);
        }
        if (strstr(cases[i].what, "variance") != NULL && result != NULL) {
            cr_expect(json_is_true(json_object_get(json_object_get(result, "fit"), "boundary")),
                      "%s", cases[i].what);
        }
        if (strstr(cases[i].what, "empty") != NULL && result != NULL) {
            cr_expect(has_null_estimate(result), "%s", cases[i].what);
        }
        json_decref(result);
        nof1_arena_free(arena);
    }
}
