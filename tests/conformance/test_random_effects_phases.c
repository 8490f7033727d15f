/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Changes of level and slope of trials that start treatment at different times, each by its own
 * least squares, against lm and metafor (random_effects_phases/make.R): 1e-9. What cannot be told
 * is left out and counted, or refused in words.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/random_effects_phases/"

Test(random_effects_phases, equal_lm_and_metafor)
{
    json_t *expected = test_json(FOLDER "expected.json");
    cr_assert(json_array_size(expected) == 12);
    for (size_t i = 0; i < json_array_size(expected); i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        const json_t *r = json_array_get(expected, i);
        const char *plan = json_string_value(json_object_get(r, "options"));
        json_t *result = NULL;
        struct test_study *s = test_trials_from_csv(arena, FOLDER "staggered.csv", plan, NULL);
        nof1_rc_value rc = test_study_run(&result, arena, s, &error);
        cr_assert(rc == NOF1_OK, "%s: %s %s", plan, nof1_rc_code(rc), error.message);
        const json_t *row = json_array_get(json_object_get(result, "estimates"), 0);
        double b = test_number(row, "estimate") / test_number(r, "estimate") - 1;
        double e = test_number(row, "std.error") / test_number(r, "error") - 1;
        double q = test_number(result, "heterogeneity/cochran.qe") / test_number(r, "q") - 1;
        cr_expect(fabs(b) < 1e-9 && fabs(e) < 1e-9, "%s: %.1e %.1e", plan, b, e);
        double t = test_number(result, "heterogeneity/tau.squared") - test_number(r, "tau2");
        cr_expect(fabs(q) < 1e-9, "%s: Q %.1e", plan, q);
        cr_expect(fabs(t) < 1e-9, "%s: tau2 %.1e", plan, t);
        cr_expect_str_eq(json_string_value(json_object_get(result, "form")), "score");
        cr_expect(test_number(result, "fit/trials") == 26);
        json_decref(result);
        nof1_arena_free(arena);
    }
    json_decref(expected);
}

struct odd_case {
    const char *name, *plan, *csv, *says; /* says NULL: it has an answer */
};

#define HEAD "trial,period,time,treatment,y\n"
#define GOOD(t, y)                                                                                 \
    #t ",1,1,0," #y "\n" #t ",2,2,0,3\n" #t ",3,3,0,2\n" #t ",4,4,1,6\n" #t ",5,5,1,8\n" #t        \
       ",6,6,1,7\n"
#define FLAT(t)                                                                                    \
    #t ",1,1,0,5\n" #t ",2,2,0,5\n" #t ",3,3,0,5\n" #t ",4,4,1,5\n" #t ",5,5,1,5\n" #t ",6,6,1,5\n"

static const struct odd_case odd[] = {
    {"two good", "", HEAD GOOD(a, 1) GOOD(b, 2), NULL},
    {"one good", "", HEAD GOOD(a, 1), NULL},
    {"one of two without variation", "", HEAD GOOD(a, 1) FLAT(b), NULL},
    {"none with variation", "", HEAD FLAT(a) FLAT(b), "trial"},
    {"treatment first", "",
     HEAD "a,1,1,1,1\na,2,2,1,3\na,3,3,1,2\na,4,4,0,1\na,5,5,0,4\na,6,6,0,2\n", "trial"},
    {"one time in a phase", "", HEAD "a,1,1,0,1\na,2,2,1,3\na,3,3,1,2\na,4,4,1,1\na,5,5,1,4\n",
     "trial"},
    {"pool", "incomplete: pool\n", HEAD GOOD(a, 1) GOOD(b, 2), "score"},
    {"no such effect", "effect: jump\n", HEAD GOOD(a, 1) GOOD(b, 2), "effect"},
};

Test(random_effects_phases, leave_out_or_say_why)
{
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct nof1_error error = {0};
        json_t *result = NULL;
        const char *effect = strstr(odd[i].plan, "effect") == NULL ? "effect: level_change\n" : "";
        char *plan =
            nof1_arena_printf(arena, "analysis: random_effects\n%s%s", effect, odd[i].plan);
        struct test_study *s = test_trials_from_text(arena, odd[i].csv, plan, NULL);
        nof1_rc_value rc = test_study_run(&result, arena, s, &error);
        if (odd[i].says == NULL) {
            cr_expect(rc == NOF1_OK, "%s: %s %s", odd[i].name, nof1_rc_code(rc), error.message);
            cr_expect(rc != NOF1_OK ||
                          isfinite(test_estimate(result, "level_change", "estimate")),
                      "%s", odd[i].name);
        } else {
            cr_expect(rc != NOF1_OK && strstr(error.message, odd[i].says) != NULL, "%s: %s %s",
                      odd[i].name, nof1_rc_code(rc), error.message);
        }
        json_decref(result);
        nof1_arena_free(arena);
    }
}

Test(random_effects_phases, order_changes_no_bit)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    struct test_study *s = test_trials_from_csv(
        arena, FOLDER "staggered.csv", "analysis: random_effects\neffect: slope_change\n", NULL);
    json_t *first = NULL, *second = NULL;
    cr_assert(test_study_run(&first, arena, s, &error) == NOF1_OK, "%s", error.message);
    for (size_t i = 0; i < s->trials / 2; i++) {
        struct nof1_trial swap = s->trial[i];
        s->trial[i] = s->trial[s->trials - 1 - i];
        s->trial[s->trials - 1 - i] = swap;
    }
    cr_assert(test_study_run(&second, arena, s, &error) == NOF1_OK, "%s", error.message);
    cr_expect(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    nof1_arena_free(arena);
}
