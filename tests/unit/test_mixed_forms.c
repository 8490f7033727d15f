/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The mixed model beyond reference data: both forms agree on random series, order does not matter to
 * the last bit, degenerate data end in a code, the form follows budget and census.
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
        for (int k = 0; k < 2 * cycles; k++) {
            static int first;
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

static bool converged(const json_t *result)
{
    return json_is_true(json_object_get(json_object_get(result, "fit"), "converged"));
}

Test(mixed_model, forms_agree_on_random_series)
{
    static const char *const random[2] = {"[intercept]", "[intercept, treatment]"};
    static const char *const method[2] = {"method: REML", "method: ML\ndf: z"};
    static const double su[3] = {0, 0.5, 4}, tau[3] = {0, 0.5, 3};
    int apart = 0, slow = 0, compared = 0;
    double rounds = 0;
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
            double a = test_number(result[0], "fit/logLik"), b = test_number(result[1], "fit/logLik");
            bool same = test_close(a, b, 1e-9, 1);
            compared++;
            slow += !converged(result[1]) || !converged(result[0]);
            apart += !same;
            rounds += test_number(result[1], "fit/rounds");
            if (!same || !converged(result[1])) {
                printf("seed %d: class %.12g score %.12g rounds %g decrement %g %s\n", (int)seed, a,
                       b, test_number(result[1], "fit/rounds"),
                       test_number(result[1], "fit/gradient"), converged(result[0]) ? "" : "class!");
            }
        }
        json_decref(result[0]);
        json_decref(result[1]);
        nof1_arena_free(arena);
    }
    printf("%d compared, mean rounds %.2f\n", compared, rounds / compared);
    cr_expect(apart == 0 && slow == 0, "%d apart, %d slow of %d", apart, slow, compared);
}
