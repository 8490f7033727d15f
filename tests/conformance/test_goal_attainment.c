/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Goal attainment T scores and effects in units of each patient's MCID against formulas in base R
 * (goal_attainment/make.R); patients without goals or MCID; refusals.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/registry.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/goal_attainment/"

/* The loader knows one outcome: make outcomes 1 and 2 of the covariates g1 and g3. */
static void add_goals(struct test_study *study, struct nof1_arena *arena)
{
    static const char *const more[] = {"g1", "g3"};
    struct nof1_outcome *outcome = nof1_arena_alloc(arena, 3, sizeof *outcome);
    for (size_t k = 0; k < 3; k++) {
        outcome[k] = study->charter.outcome[0];
        outcome[k].name = k == 0 ? outcome[k].name : more[k - 1];
        outcome[k].lower = -2;
        outcome[k].upper = 2;
    }
    study->charter.outcome = outcome;
    study->charter.outcomes = 3;
    for (size_t i = 0; i < study->trials; i++) {
        const double **column = nof1_arena_alloc(arena, 3, sizeof *column);
        column[0] = study->trial[i].outcome[0];
        for (size_t k = 1; k < 3; k++) {
            for (size_t c = 0; c < study->charter.covariates; c++) {
                if (strcmp(study->charter.covariate[c].name, more[k - 1]) == 0) {
                    column[k] = study->trial[i].covariate[c];
                }
            }
        }
        study->trial[i].outcome = column;
    }
}

static struct test_study *study_of(struct nof1_arena *arena, const char *options)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml, "analysis: goal_attainment\noutcome: g2\n%s\n", options);
    struct test_study *study = test_trials_from_csv(arena, FOLDER "goals.csv", yaml,
                                                    &nof1_goal_attainment);
    add_goals(study, arena);
    return study;
}

Test(goal_attainment, equals_the_formulas)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i;
    json_t *one, *want;
    const char *key;
    json_array_foreach(json_object_get(file, "cases"), i, one)
    {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        json_t *result = NULL;
        const char *name = json_string_value(json_object_get(one, "name"));
        struct test_study *study = study_of(arena, json_string_value(json_object_get(one, "yaml")));
        nof1_rc_value rc = test_study_run(&result, arena, study, &error);
        cr_assert(rc == NOF1_OK, "%s: %s %s", name, nof1_rc_code(rc), error.message);
        double se = test_number(one, "expected/std.error");
        json_object_foreach(json_object_get(one, "expected"), key, want)
        {
            const char *term = json_string_value(json_object_get(one, "term"));
            double got = test_estimate(result, term, key);
            bool p = strcmp(key, "p.value") == 0;
            cr_expect(test_close(got, json_number_value(want), p || isnan(se) ? 1e-10 : 1e-12,
                                 isnan(se) || p ? 0 : se),
                      "%s %s: got %.17g, expected %.17g", name, key, got, json_number_value(want));
        }
        json_decref(result);
        nof1_arena_free(arena);
    }
    cr_assert(i == 8);
    json_decref(file);
}

Test(goal_attainment, patients_without_goals_or_mcid_are_left_out)
{
    static const struct { const char *options; double trials; } cases[] = {
        {"goals: [g2]\nweights: [w]", 2}, {"form: mcid\nmcid: [m]", 2}};
    for (size_t i = 0; i < 2; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        char yaml[256];
        snprintf(yaml, sizeof yaml,
                 "analysis: goal_attainment\noutcome: g2\n%s\ncharter: {missing: rows}\n",
                 cases[i].options);
        struct test_study *study = test_trials_from_text(
            arena,
            "trial,period,treatment,g2,w,m\na,1,0,-1,1,1\na,2,1,2,1,1\n"
            "b,1,0,0,2,0.5\nb,2,1,1,2,0.5\n"
            "c,1,0,-1,0,\nc,2,1,2,0,\nd,1,0,1,1,1\nd,2,0,2,1,1\n",
            yaml, &nof1_goal_attainment);
        json_t *result = NULL;
        study->charter.lab = true;
        nof1_rc_value rc = test_study_run(&result, arena, study, &error);
        cr_assert(rc == NOF1_OK, "%s", error.message);
        cr_expect(test_number(result, "fit/trials") == cases[i].trials);
        double mean = i == 0 ? (30.0 + 10.0) / 2 : (3.0 + 2.0) / 2;
        double got = test_estimate(result, i == 0 ? "treatment" : "treatment / MCID", "estimate");
        cr_expect(test_close(got, mean, 1e-12, 0), "%g", got);
        cr_expect(json_array_size(json_object_get(result, "warnings")) == 1);
        json_decref(result);
        nof1_arena_free(arena);
    }
}

/* All goals in one direction; outside the lab in one family, so that one budget covers them. */
static void refused_goal(const char *options, const char *family, int benefit, const char *word)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    json_t *result = NULL;
    struct test_study *study = study_of(arena, options);
    struct nof1_outcome *goal = (struct nof1_outcome *)(uintptr_t)study->charter.outcome;
    goal[0].benefit = 1;
    goal[1].benefit = benefit;
    goal[1].family = family == NULL ? goal[0].family : family;
    cr_expect(test_study_run(&result, arena, study, &error) == NOF1_E_PLAN);
    cr_expect(strstr(error.message, word) != NULL, "%s", error.message);
    nof1_arena_free(arena);
}

Test(goal_attainment, refusals_name_the_field)
{
    static const struct { const char *options, *field; } cases[] = {
        {"goals: [g1, g2, g9]", "goals"},         {"goals: [g1, g3]", "outcome"},
        {"goals: [g2, g2]", "goals"},             {"goals: [g1, g2]\nweights: [w1]", "weights"},
        {"weights: [heavy]", "weights"},          {"weights: [-1]", "weights"},
        {"form: mcid", "mcid"},                   {"form: mcid\nmcid: [none]", "mcid"},
        {"form: mcid\nmcid: [g1]", "mcid"},         {"form: responder\nmcid: [mcid]", "benefit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        json_t *result = NULL;
        cr_expect(test_study_run(&result, arena, study_of(arena, cases[i].options), &error) ==
                      NOF1_E_PLAN,
                  "%s", cases[i].options);
        cr_expect(strstr(error.message, cases[i].field) == error.message, "%s: %s",
                  cases[i].options, error.message);
        nof1_arena_free(arena);
    }
    refused_goal("goals: [g1, g2]\ncharter: {open: false}", "other", 1, "family");
    refused_goal("goals: [g1, g2]", NULL, -1, "better");
    /* weights so unlike that one sum would hold two */
    refused_goal("goals: [g1, g2]\nweights: [1, 0.000001]\ncharter: {open: false}", NULL, 1,
                 "weights");
    refused_goal("goals: [g1, g2]\nweights: [11, 1]\ncharter: {open: false}", NULL, 1, "weights");
}
