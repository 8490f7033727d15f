/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Randomisation tests against complete enumeration in R (randomisation_test/make.R); the private
 * seeds; and why signed sums do not leave a consortium: they tell every difference.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stats/registry.h>
#include <stats/stream.h>

#include <sim.h>

#include "pooled.h"
#include "support.h"

#define FOLDER NOF1_SOURCE_DIR "/tests/conformance/randomisation_test/"

static struct test_study *study_of(struct nof1_arena *arena, const json_t *one, const char *options,
                                   double sd_within)
{
    char path[512], yaml[512];
    double centre = test_number(one, "centre");
    snprintf(path, sizeof path, FOLDER "%s", json_string_value(json_object_get(one, "file")));
    snprintf(yaml, sizeof yaml,
             "analysis: randomisation_test\n%s\ncharter: {centre: %.17g, sd_within: %g}\n", options,
             isnan(centre) ? 0.0 : centre, sd_within);
    return test_trials_from_csv(arena, path, yaml, &nof1_randomisation_test);
}

/* Seeds as a site makes them: different for each trial. */
static void give_seeds(struct nof1_arena *arena, struct test_study *study, uint8_t first)
{
    for (size_t t = 0; t < study->trials; t++) {
        uint8_t *seed = nof1_arena_alloc(arena, NOF1_SEED_BYTES, 1);
        seed[0] = first;
        seed[1] = (uint8_t)t;
        study->trial[t].seed = seed;
    }
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
    cr_expect((isnan(got) && isnan(want)) || test_close(got, want, 1e-9, 1e-3),
              "%s %s: got %.17g, expected %.17g", json_string_value(json_object_get(one, "name")),
              what, got, want);
}

static double p_of(struct nof1_arena *arena, const json_t *one, const char *side, double sd_within,
                   json_t **kept)
{
    char options[128];
    snprintf(options, sizeof options, "alternative: %s\nstep: %.17g", side,
             test_number(one, "step"));
    json_t *result = run(arena, study_of(arena, one, options, sd_within));
    double p = test_estimate(result, "treatment", "p.value");
    if (kept != NULL) {
        *kept = result;
    } else {
        json_decref(result);
    }
    return p;
}

Test(randomisation_test, moments_equal_the_formula_and_are_near_enumeration)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(file, "cycles"), i, one)
    {
        struct nof1_arena *arena = nof1_arena_new();
        json_t *result = NULL;
        double p = p_of(arena, one, "two_sided", 0.0, &result);
        same(one, "p", p, "p_moments");
        same(one, "p greater", p_of(arena, one, "greater", 0.0, NULL), "p_greater");
        same(one, "p less", p_of(arena, one, "less", 0.0, NULL), "p_less");
        same(one, "n", test_number(result, "randomisation/differences"), "n");
        same(one, "sum", test_number(result, "randomisation/statistic"), "sum");
        same(one, "estimate", test_estimate(result, "treatment", "estimate"), "estimate");
        same(one, "se", test_estimate(result, "treatment", "std.error"), "se");
        same(one, "low", test_estimate(result, "treatment", "conf.low"), "low");
        same(one, "high", test_estimate(result, "treatment", "conf.high"), "high");
        same(one, "error", test_number(result, "randomisation/p.error"), "error");
        cr_expect(fabs(p - test_number(one, "exact")) <= test_number(one, "error"),
                  "%zu: %g and exactly %g", i, p, test_number(one, "exact"));
        /* the rounding of the fourth power (planned sd 1.5) moves p by less than its error */
        double rounded = p_of(arena, one, "two_sided", 1.5, NULL);
        cr_expect(fabs(rounded - p) < 0.5 * test_number(one, "error") + 1e-4, "%zu: %g %g", i,
                  rounded, p);
        json_decref(result);
        nof1_arena_free(arena);
    }
    json_decref(file);
}

Test(randomisation_test, scores_equal_enumeration)
{
    json_t *file = test_json(FOLDER "expected.json");
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(file, "scores"), i, one)
    {
        struct nof1_arena *arena = nof1_arena_new();
        char options[128];
        snprintf(options, sizeof options, "design: %s\nleast: %d",
                 json_string_value(json_object_get(one, "design")), (int)test_number(one, "least"));
        json_t *result = run(arena, study_of(arena, one, options, 1.0));
        same(one, "trials", test_number(result, "randomisation/trials"), "n");
        same(one, "sum", test_number(result, "randomisation/statistic"), "sum");
        same(one, "z", test_estimate(result, "treatment", "statistic"), "z");
        same(one, "p", test_estimate(result, "treatment", "p.value"), "p");
        json_decref(result);
        nof1_arena_free(arena);
    }
    json_decref(file);
}

Test(randomisation_test, monte_carlo_is_within_its_error)
{
    json_t *file = test_json(FOLDER "expected.json");
    static const char *const side[] = {"two_sided", "greater", "less"};
    static const char *const key[] = {"exact", "greater", "less"};
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(file, "cycles"), i, one)
    {
        for (size_t s = 0; s < 3; s++) {
            struct nof1_arena *arena = nof1_arena_new();
            char options[128];
            snprintf(options, sizeof options,
                     "method: monte_carlo\ndraws: 2000\nalternative: %s", side[s]);
            struct test_study *study = study_of(arena, one, options, 1.0);
            give_seeds(arena, study, 1);
            json_t *result = run(arena, study);
            double p = test_estimate(result, "treatment", "p.value");
            double exact = test_number(one, key[s]);
            double se = sqrt(exact * (1 - exact) / 2000);
            cr_expect(fabs(p - exact) < 4.5 * se + 1.0 / 2001, "%zu %s: %g, exactly %g", i, side[s],
                      p, exact);
            cr_expect(fabs(test_number(result, "randomisation/p.std.error") -
                           sqrt(p * (1 - p) / 2000)) < 1e-12);
            json_t *again = run(arena, study); /* the same seeds: the same bits */
            cr_expect(json_equal(result, again));
            give_seeds(arena, study, 2);
            json_t *other = run(arena, study);
            cr_expect(exact > 0.99 || exact < 0.01 ||
                      test_estimate(other, "treatment", "p.value") != p);
            json_decref(result);
            json_decref(again);
            json_decref(other);
            nof1_arena_free(arena);
        }
    }
    json_decref(file);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct run_of_equals {
    double value;
    size_t count;
};

static int most_first(const void *a, const void *b)
{
    size_t x = ((const struct run_of_equals *)a)->count;
    size_t y = ((const struct run_of_equals *)b)->count;
    return (x < y) - (x > y);
}

/* Two draws that differ in one sign differ by 2 |d|: among all pairs of 2,000 exact sums of 12
 * differences the most frequent half distances are the 12 |d|, though nobody knows a sign. This is
 * why monte_carlo needs an open lab. */
Test(randomisation_test, signed_sums_tell_every_difference)
{
    enum { N = 12, B = 2000 };
    double d[N], *sum = calloc(B, sizeof *sum);
    double *half = malloc((size_t)B * (B - 1) / 2 * sizeof *half);
    struct run_of_equals *runs = malloc((size_t)B * (B - 1) / 2 * sizeof *runs);
    struct nof1_stream stream;
    uint8_t seed[NOF1_SEED_BYTES] = {7};
    nof1_stream_start(&stream, seed);
    for (size_t j = 0; j < N; j++) { /* random multiples of 2^-20 up to 4: sums are exact */
        uint32_t bits = 0;
        for (int b = 0; b < 22; b++) {
            bits = 2 * bits + nof1_stream_bit(&stream);
        }
        d[j] = ldexp((double)bits, -20);
    }
    size_t pairs = 0, count = 0, found = 0;
    for (size_t b = 0; b < B; b++) {
        for (size_t j = 0; j < N; j++) {
            sum[b] += nof1_stream_bit(&stream) == 1 ? d[j] : -d[j];
        }
        for (size_t a = 0; a < b; a++) {
            half[pairs++] = 0.5 * fabs(sum[a] - sum[b]);
        }
    }
    qsort(half, pairs, sizeof *half, ascending);
    for (size_t i = 0; i < pairs; i++) {
        if (count == 0 || runs[count - 1].value != half[i]) {
            runs[count++] = (struct run_of_equals){half[i], 0};
        }
        runs[count - 1].count += half[i] > 0.0; /* the same signs twice tell nothing */
    }
    qsort(runs, count, sizeof *runs, most_first);
    for (size_t j = 0; j < N; j++) {
        for (size_t k = 0; k < N; k++) {
            found += runs[k].value == d[j] ? 1 : 0;
        }
    }
    cr_expect(found == N, "%zu of %d", found, N);
    free(sum);
    free(half);
    free(runs);
}

Test(randomisation_test, order_of_trials_changes_no_bit)
{
    json_t *file = test_json(FOLDER "expected.json");
    const json_t *one = json_array_get(json_object_get(file, "cycles"), 0);
    static const char *const options[] = {"design: cycles", "design: phases",
                                          "method: monte_carlo\ndraws: 99"};
    for (size_t o = 0; o < 3; o++) {
        struct nof1_arena *arena = nof1_arena_new();
        struct test_study *study = study_of(arena, one, options[o], 1.0);
        give_seeds(arena, study, 1);
        json_t *first = run(arena, study);
        for (size_t i = 0; i < study->trials / 2; i++) {
            struct nof1_trial swap = study->trial[i];
            study->trial[i] = study->trial[study->trials - 1 - i];
            study->trial[study->trials - 1 - i] = swap;
        }
        json_t *second = run(arena, study);
        cr_expect(json_equal(first, second), "%s", options[o]);
        json_decref(first);
        json_decref(second);
        nof1_arena_free(arena);
    }
    json_decref(file);
}

/* Real sites draw from their own secrets: another plan on the same frozen data gets the same bits,
 * so that asking again averages nothing away. */
Test(randomisation_test, another_plan_draws_the_same_signs)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 4, .patients = 4, .seed = 5,
                                                    .analyses = "[randomisation_test]"});
    static const char *const level[] = {"0.95", "0.9"};
    const char *rest = strstr(sim_plan_text(), "outcome:");
    const char *analysis = strstr(rest, "analysis:");
    json_t *result[2];
    sim_start(sim);
    for (size_t i = 0; i < 2; i++) {
        char text[1024];
        uint8_t h_q[32];
        snprintf(text, sizeof text,
                 "plan: 1\ntitle: level %s\n%.*sanalysis: randomisation_test\nmethod: "
                 "monte_carlo\ndraws: 500\nlevel: %s\n",
                 level[i], (int)(analysis - rest), rest, level[i]);
        cr_assert(sim_submit(sim, sim_plan(sim, text), h_q) == NOF1_OK);
        cr_assert(sim_until_final(sim, h_q));
        cr_assert_str_eq(sim_state(sim, h_q), "released", "%s", sim_trace(sim));
        result[i] = sim_result(sim, h_q);
    }
    cr_expect(json_equal(json_object_get(result[0], "randomisation"),
                         json_object_get(result[1], "randomisation")));
    cr_expect(test_estimate(result[0], "treatment", "conf.low") <
              test_estimate(result[1], "treatment", "conf.low"));
    json_decref(result[0]);
    json_decref(result[1]);
    sim_free(sim);
}

/* RFC 8439, appendix A.1, test vectors 1 and 2: zero key, counters 0 and 1. */
Test(randomisation_test, stream_is_chacha20)
{
    static const uint8_t zero[NOF1_SEED_BYTES];
    static const uint8_t expected[2][8] = {{0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90},
                                           {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a}};
    struct nof1_stream stream;
    nof1_stream_start(&stream, zero);
    for (size_t block = 0; block < 2; block++) {
        for (size_t byte = 0; byte < 64; byte++) {
            unsigned value = 0;
            for (unsigned bit = 0; bit < 8; bit++) {
                value |= nof1_stream_bit(&stream) << bit;
            }
            cr_expect(byte >= 8 || value == expected[block][byte], "block %zu byte %zu: %02x",
                      block, byte, value);
        }
    }
}

Test(randomisation_test, says_what_it_cannot_do)
{
    static const char pair[] =
        "trial,cycle,period,treatment,y\na,1,1,0,5\na,1,2,1,7\nb,1,1,0,5\nb,1,2,1,9\n";
    static const char equal[] = "trial,cycle,period,treatment,y\na,1,1,0,5\na,1,2,1,5\n";
    static const char bare[] = "trial,period,treatment,y\na,1,0,5\na,2,1,7\n";

    static const struct {
        const char *csv, *options;
        bool open;
        nof1_rc_value rc;
        double p;
    } cases[] = {
        {pair, "design: cycles", true, NOF1_OK, 0.5}, /* two of four assignments are as far */
        {equal, "design: cycles", true, NOF1_OK, 1.0},
        {equal, "design: phases", true, NOF1_OK, 1.0},
        {pair, "design: start", true, NOF1_E_MODEL, NAN},
        {bare, "design: cycles", true, NOF1_E_PLAN, NAN},
        {bare, "design: phases", true, NOF1_OK, 0.31731050786291415},
        {pair, "method: monte_carlo", false, NOF1_E_PLAN, NAN},
        {pair, "method: monte_carlo", true, NOF1_E_BUG, NAN}, /* no seed: none is made up */
        {pair, "method: monte_carlo\ndesign: phases", true, NOF1_E_PLAN, NAN},
        {pair, "draws: 5", true, NOF1_E_PLAN, NAN},
        {pair, "least: 1.5", true, NOF1_E_PLAN, NAN}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_arena *arena = nof1_arena_new();
        char yaml[160];
        snprintf(yaml, sizeof yaml, "analysis: randomisation_test\n%s\n", cases[i].options);
        struct test_study *study =
            test_trials_from_text(arena, cases[i].csv, yaml, &nof1_randomisation_test);
        study->charter.limits.open = cases[i].open;
        struct nof1_error error = {0};
        json_t *result = NULL;
        nof1_rc_value rc = test_study_run(&result, arena, study, &error);
        cr_expect(rc == cases[i].rc, "%zu: %s %s", i, nof1_rc_code(rc), error.message);
        double p = test_estimate(result, "treatment", "p.value");
        cr_expect((isnan(p) && isnan(cases[i].p)) || fabs(p - cases[i].p) < 1e-12, "%zu: %.17g", i,
                  p);
        cr_expect(rc != NOF1_OK || json_array_size(json_object_get(result, "warnings")) > 0, "%zu",
                  i);
        json_decref(result);
        nof1_arena_free(arena);
    }
}
