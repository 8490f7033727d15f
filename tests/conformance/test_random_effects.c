/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The two-stage analysis against metafor (random_effects/make.R, random_effects/expected.json): nine
 * estimators, both tests, the Q-profile interval, prediction intervals, every form of release.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/registry.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/random_effects/"

static double expected(const json_t *fit, const char *key, size_t i)
{
    const json_t *value = json_object_get(fit, key);
    if (json_is_array(value)) {
        value = json_array_get(value, i);
    } else if (i > 0) {
        value = NULL;
    }
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void same(const char *what, double got, double want, double tolerance, double floor)
{
    if (isnan(want)) {
        return;
    }
    cr_expect(test_close(got, want, tolerance, floor), "%s: got %.17g, expected %.17g (%.2g)", what,
              got, want, fabs(got - want) / fmax(fabs(want), floor));
}

static json_t *run(struct nof1_arena *arena, const char *file, const char *text,
                   nof1_rc_value expected_rc)
{
    char path[512];
    char yaml[1024];
    snprintf(path, sizeof path, FOLDER "%s", file);
    snprintf(yaml, sizeof yaml, "analysis: random_effects\n%s\n", text);
    struct test_study *study = test_trials_from_csv(arena, path, yaml, &nof1_random_effects);
    struct nof1_error error = {0};
    json_t *result = NULL;
    nof1_rc_value rc = test_study_run(&result, arena, study, &error);
    cr_expect(rc == expected_rc, "%s: %s %s", text, nof1_rc_code(rc), error.message);
    return rc == NOF1_OK ? result : NULL;
}

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
    same(what, test_number(prediction, "metafor/high"), expected(want, "pi_high", 0), tolerance, se);
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
            const char *extra = strcmp(name, "offset.csv") == 0 ? "\ncharter: {centre: 1e8}" : "";
            snprintf(text, sizeof text, "%s\nmethod: %s\ntest: %s%s",
                     json_string_value(json_object_get(one, "text")),
                     json_string_value(json_object_get(fit, "method")),
                     json_string_value(json_object_get(fit, "test")), extra);
            json_t *result = run(arena, json_string_value(json_object_get(one, "file")), text, NOF1_OK);
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
