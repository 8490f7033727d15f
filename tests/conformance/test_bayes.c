/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bayesian posteriors against slow Gauss-Legendre rules in R and against Markov chains
 * (bayes/make.R, bayes/reference.R, bayes/expected.json); what the warnings say, degenerate data,
 * and that a plan releases the numbers of random_effects or mixed_model and no others.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/registry.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/bayes/"

static struct test_study *study_of(struct nof1_arena *arena, const char *csv, const char *text)
{
    const char *charter = strstr(text, "charter:") != NULL  ? ""
                          : strstr(text, "stratum") != NULL ? "charter: {stratum: stratum}"
                          : strstr(text, "one_stage") != NULL
                              ? "charter: {classes: true, centre: 50}"
                              : "";
    const char *yaml = nof1_arena_printf(arena, "analysis: bayes\n%s\n%s\n", text, charter);
    if (strchr(csv, ',') != NULL) {
        return test_trials_from_text(arena, csv, yaml, &nof1_bayes);
    }
    const char *path = nof1_arena_printf(arena, "%s%s", FOLDER, csv);
    return test_trials_from_csv(arena, path, yaml, &nof1_bayes);
}

static json_t *run(struct nof1_arena *arena, const char *csv, const char *text,
                   nof1_rc_value expected)
{
    struct nof1_error error = {0};
    json_t *result = NULL;
    nof1_rc_value rc = test_study_run(&result, arena, study_of(arena, csv, text), &error);
    cr_expect(rc == expected, "%s %s: %s %s", csv, text, nof1_rc_code(rc), error.message);
    return rc == NOF1_OK ? result : NULL;
}

static double at(const json_t *object, const char *key, size_t i)
{
    const json_t *value = json_array_get(json_object_get(object, key), i);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void same(const char *what, double got, double want, double tolerance, double floor)
{
    cr_expect(test_close(got, want, tolerance, floor), "%s: got %.15g, expected %.15g (%.2g)", what,
              got, want, fabs(got - want) / fmax(fabs(want), floor));
}

/* The row of a table whose first column is `name`. */
static const json_t *row_of(const json_t *result, size_t table, const char *key, const char *name)
{
    const json_t *cells =
        json_object_get(json_array_get(json_object_get(result, "tables"), table), "cells");
    size_t i;
    json_t *row;
    json_array_foreach(cells, i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, key)), name) == 0) {
            return row;
        }
    }
    return NULL;
}

/* mean, sd, median, low, high. */
static void compare_row(const char *what, const json_t *row, const json_t *want, const char *key,
                        double tolerance)
{
    static const char *const columns[] = {"mean", "sd", "median", "low", "high"};
    double sd = at(want, key, 1);
    for (size_t c = 0; c < 5 && c < json_array_size(json_object_get(want, key)); c++) {
        char text[400];
        const json_t *value = json_object_get(row, columns[c]);
        if (json_is_null(value) && c == 1) {
            continue; /* no second moment: the reference cut its tail */
        }
        snprintf(text, sizeof text, "%s %s %s", what, key, columns[c]);
        same(text, json_number_value(value), at(want, key, c), tolerance,
             fmax(sd, 1e-3 * fabs(at(want, key, 0))));
    }
}

static void compare(const char *what, const json_t *result, const json_t *want, double tolerance)
{
    static const char *const chance[] = {"above.zero", "above.mcid", "below.minus.mcid"};
    same(what, test_number(result, "fit/log.marginal.likelihood"),
         json_number_value(json_object_get(want, "evidence")), tolerance, 1.0);
    compare_row(what, row_of(result, 0, "quantity", "mu"), want, "mu", tolerance);
    compare_row(what, row_of(result, 0, "quantity", "next patient"), want, "next", tolerance);
    compare_row(what, row_of(result, 0, "quantity", "tau"), want, "tau", tolerance);
    compare_row(what, row_of(result, 0, "quantity", "sigma"), want, "sigma", tolerance);
    compare_row(what, row_of(result, 0, "quantity", "omega"), want, "omega", tolerance);
    compare_row(what, row_of(result, 0, "quantity", "intercept_sd"), want, "level", tolerance);
    compare_row(what, row_of(result, 0, "quantity", "correlation"), want, "correlation",
                tolerance);
    for (size_t c = 0; c < 3; c++) {
        double average = json_number_value(
            json_object_get(row_of(result, 1, "effect of", "patients on average"), chance[c]));
        double next = json_number_value(
            json_object_get(row_of(result, 1, "effect of", "the next patient"), chance[c]));
        same(chance[c], average, at(want, "above", c), tolerance, 1.0);
        same(chance[c], next, at(want, "above_next", c), tolerance, 1.0);
    }
    cr_expect(test_number(result, "fit/quadrature_error") <= 1e-8, "%s", what);
    const json_t *strata = json_object_get(want, "strata");
    for (size_t s = 0; s < json_array_size(strata); s++) {
        const json_t *row = json_array_get(json_object_get(result, "estimates"), s + 1);
        const json_t *one = json_array_get(strata, s);
        double sd = json_number_value(json_array_get(one, 1));
        same("stratum", json_number_value(json_object_get(row, "estimate")),
             json_number_value(json_array_get(one, 0)), tolerance, sd);
        same("stratum sd", json_number_value(json_object_get(row, "std.error")), sd, tolerance, sd);
    }
}

/* Within four Monte Carlo standard errors of the chain. */
static void compare_chain(const char *what, const json_t *result, const json_t *chain)
{
    static const char *const ours[] = {"mu", "next patient", "tau", "sigma"};
    static const char *const theirs[] = {"mu", "next", "tau", "sigma"};
    for (size_t q = 0; q < 4 && chain != NULL; q++) {
        double mean = json_number_value(
            json_object_get(row_of(result, 0, "quantity", ours[q]), "mean"));
        cr_expect(fabs(mean - at(chain, theirs[q], 0)) <= 4.0 * at(chain, theirs[q], 1),
                  "%s %s: %g, chain %g (%g)", what, ours[q], mean, at(chain, theirs[q], 0),
                  at(chain, theirs[q], 1));
    }
}

static void compare_all(const char *model, double tolerance)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i;
    json_t *want;
    cr_expect(json_array_size(json_object_get(file, model)) >= 1);
    json_array_foreach(json_object_get(file, model), i, want)
    {
        struct nof1_arena *arena = nof1_arena_new();
        const char *csv = json_string_value(json_object_get(want, "file"));
        const char *text = json_string_value(json_object_get(want, "text"));
        char what[500];
        snprintf(what, sizeof what, "%s %s", csv, text);
        json_t *result = run(arena, csv, text, NOF1_OK);
        if (result != NULL) {
            compare(what, result, want, tolerance);
            compare_chain(what, result, json_object_get(want, "chain"));
            json_decref(result);
        }
        nof1_arena_free(arena);
    }
    json_decref(file);
}

Test(bayes, two_stage_equals_slow_quadrature_and_chains)
{
    compare_all("two_stage", 1e-8);
}

Test(bayes, one_stage_equals_slow_quadrature)
{
    compare_all("one_stage", 1e-8);
}

static bool warned(const json_t *result, const char *code)
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

static bool finite_or_null(const json_t *value)
{
    size_t i;
    const char *key;
    json_t *item;
    if (json_is_real(value)) {
        return isfinite(json_real_value(value));
    }
    if (json_is_array(value)) {
        json_array_foreach((json_t *)(uintptr_t)value, i, item)
        {
            if (!finite_or_null(item)) {
                return false;
            }
        }
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        if (!finite_or_null(item)) {
            return false;
        }
    }
    return true;
}

#define HEAD "trial,cycle,period,treatment,y\n"
#define STILL "a,1,1,0,5\na,1,2,1,7\na,2,3,0,5\na,2,4,1,7\n"

Test(bayes, degenerate_data_are_results_or_refusals)
{
    static const struct {
        const char *csv, *text;
        nof1_rc_value rc;
        const char *warning;
    } cases[] = {
        {"one.csv", "", NOF1_OK, "one_trial"},
        {"one.csv", "priors: {tau: {half_cauchy: 3}}", NOF1_OK, "no_sd"},
        {"two.csv", "priors: {mu: {normal: [0, 0.1]}}", NOF1_OK, "prior_dominates"},
        {HEAD STILL, "", NOF1_OK, "zero_within"},
        {HEAD STILL "b,1,1,0,1\nb,1,2,1,9\nb,2,3,0,1\nb,2,4,1,9\n", "", NOF1_OK, "zero_within"},
        {HEAD STILL "b,1,1,0,1\nb,1,2,1,3\nb,2,3,0,1\nb,2,4,1,3\n", "", NOF1_E_MODEL, NULL},
        {HEAD "a,1,1,0,5\na,1,2,1,7\n", "", NOF1_E2601, NULL},
        {"complete.csv", "priors: {tau: {half_normal: -1}}", NOF1_E_PLAN, NULL},
        {"complete.csv", "priors: {tau: {gamma: 1}}", NOF1_E_PLAN, NULL},
        {"complete.csv", "priors: {mu: {normal: [0, 0]}}", NOF1_E_PLAN, NULL},
        {"complete.csv", "priors: {omga: {half_normal: 1}}", NOF1_E_INPUT, NULL},
        {"complete.csv", "borrow: stratum\ncharter: {centre: 50}", NOF1_E_PLAN, NULL},
        {"complete.csv", "model: one_stage\nincomplete: pool", NOF1_E_PLAN, NULL},
        {"complete.csv", "incomplete: class", NOF1_E_PLAN, NULL},
        /* every number fixed; a prior far below the data, with a tail that reaches them */
        {"complete.csv", "priors: {tau: {fixed: 1}, sigma: plug_in}", NOF1_OK, "benefit"},
        {"one.csv", "priors: {tau: {half_cauchy: 1e-6}}", NOF1_OK, "one_trial"},
        {"complete.csv", "priors: {tau: {half_normal: 1e-9}}", NOF1_OK, "prior_dominates"},
        {"complete.csv", "priors: {sigma: {uniform: 1e-6}}", NOF1_E_MODEL, NULL},
        {"one.csv", "model: one_stage\npriors: {intercept_sd: {fixed: 8}}", NOF1_OK, "one_trial"},
        {"one.csv", "model: one_stage", NOF1_OK, "one_trial"},
        {"two.csv", "model: one_stage", NOF1_OK, "benefit"},
        {HEAD "a,1,1,0,5\na,1,2,1,7\n", "model: one_stage", NOF1_E_MODEL, NULL},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct nof1_arena *arena = nof1_arena_new();
        json_t *result = run(arena, cases[c].csv, cases[c].text, cases[c].rc);
        if (result != NULL) {
            cr_expect(finite_or_null(result));
            cr_expect(warned(result, cases[c].warning), "%s %s: no %s", cases[c].csv,
                      cases[c].text, cases[c].warning);
            cr_expect(json_array_size(json_object_get(
                          json_array_get(json_object_get(result, "tables"), 2), "cells")) >= 5);
        }
        json_decref(result);
        nof1_arena_free(arena);
    }
}

Test(bayes, order_of_trials_changes_no_bit)
{
    static const char *const text[] = {"", "model: one_stage\npriors: {intercept_sd: {fixed: 8}}"};
    for (size_t m = 0; m < 2; m++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct test_study *study = study_of(arena, "complete.csv", text[m]);
        struct nof1_error error = {0};
        json_t *first = NULL, *second = NULL;
        cr_assert(test_study_run(&first, arena, study, &error) == NOF1_OK, "%s", error.message);
        for (size_t i = 0; i < study->trials / 2; i++) {
            struct nof1_trial swap = study->trial[i];
            study->trial[i] = study->trial[study->trials - 1 - i];
            study->trial[study->trials - 1 - i] = swap;
        }
        cr_assert(test_study_run(&second, arena, study, &error) == NOF1_OK, "%s", error.message);
        cr_expect(json_equal(first, second));
        json_decref(first);
        json_decref(second);
        nof1_arena_free(arena);
    }
}

/* Data and priors in another unit: the same work, and the same digits in that unit. */
Test(bayes, units_do_not_matter)
{
    static const double units[] = {1e-6, 1e6};
    static const char *const models[] = {
        "charter: {bounds: [%.17g, %.17g], centre: 0}\nmodel: two_stage",
        "charter: {bounds: [%.17g, %.17g], centre: 0, classes: true}\nmodel: one_stage"};
    for (size_t m = 0; m < 2; m++) {
        json_t *result[3];
        struct nof1_arena *arena = nof1_arena_new();
        for (size_t u = 0; u < 3; u++) {
            double unit = u == 0 ? 1.0 : units[u - 1];
            const char *csv = HEAD;
            for (int i = 0; i < 20; i++) { /* five trials of two cycles */
                csv = nof1_arena_printf(arena, "%st%d,%d,%d,%d,%.17g\n", csv, i / 4, 1 + i % 4 / 2,
                                        1 + i % 4, i % 2, unit * ((i * 7 % 11) + 2 * (i % 2)));
            }
            const char *text = nof1_arena_printf(arena, models[m], -20 * unit, 20 * unit);
            if (m == 1) {
                text = nof1_arena_printf(arena, "%s\npriors: {intercept_sd: {fixed: %.17g}}", text,
                                         3 * unit);
            }
            result[u] = run(arena, csv, text, NOF1_OK);
            cr_assert(result[u] != NULL);
            cr_expect(test_number(result[u], "fit/nodes") == test_number(result[0], "fit/nodes"));
            for (size_t c = 0; c < 4; c++) {
                static const char *const rows[] = {"mu", "next patient", "tau", "sigma"};
                static const char *const columns[] = {"mean", "sd", "low", "high"};
                for (size_t k = 0; k < 4; k++) {
                    double want = json_number_value(json_object_get(
                        row_of(result[0], 0, "quantity", rows[c]), columns[k]));
                    double got = json_number_value(json_object_get(
                        row_of(result[u], 0, "quantity", rows[c]), columns[k]));
                    same(rows[c], got / unit, want, 1e-10, 1e-3);
                }
            }
        }
        for (size_t u = 0; u < 3; u++) {
            json_decref(result[u]);
        }
        nof1_arena_free(arena);
    }
}

/* The same elements, in name, role, bound and block. */
Test(bayes, releases_what_the_inner_analysis_releases)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    struct test_study *ours = study_of(arena, "complete.csv", "");
    const char *path = FOLDER "complete.csv";
    struct test_study *theirs = test_trials_from_csv(
        arena, path, "analysis: random_effects\ntest: z\n", &nof1_random_effects);
    struct nof1_model *model[2];
    struct nof1_layout layout[2];
    cr_assert(nof1_bayes.prepare(&model[0], arena, &ours->study, &error) == NOF1_OK);
    cr_assert(nof1_random_effects.prepare(&model[1], arena, &theirs->study, &error) == NOF1_OK);
    cr_assert(nof1_bayes.layout(model[0], 1, arena, &layout[0]) == NOF1_OK);
    cr_assert(nof1_random_effects.layout(model[1], 1, arena, &layout[1]) == NOF1_OK);
    cr_assert(layout[0].elements == layout[1].elements);
    cr_expect(model[0]->max_rounds == 1);
    for (size_t e = 0; e < layout[0].elements; e++) {
        const struct nof1_element *a = &layout[0].element[e], *b = &layout[1].element[e];
        cr_expect(strcmp(a->name, b->name) == 0 && a->role == b->role && a->bound == b->bound &&
                  a->block == b->block && a->block_size == b->block_size && a->group == b->group);
    }
    nof1_arena_free(arena);
}
