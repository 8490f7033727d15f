/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Discrete Gaussian noise against its exact probabilities, sums of shares against one wide draw,
 * and the zCDP accountant against 60-digit decimals (tests/conformance/feasibility/make.py).
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <stats/distributions.h>
#include <stats/noise.h>

#include "support.h"

#define EXPECTED NOF1_SOURCE_DIR "/tests/conformance/feasibility/expected.json"
#define WIDEST 20

static json_t *expected(void)
{
    json_error_t error;
    json_t *file = json_load_file(EXPECTED, 0, &error);
    cr_assert_not_null(file, "%s", error.text);
    return file;
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static struct nof1_stream stream_of(uint8_t seed)
{
    uint8_t bytes[NOF1_SEED_BYTES];
    struct nof1_stream stream;
    memset(bytes, seed, sizeof bytes);
    nof1_stream_start(&stream, bytes);
    return stream;
}

/* Pearson's statistic over -20 .. 20, cells of fewer than five expected draws pooled in the tails.
 */
static void fits(const json_t *want, size_t draws)
{
    double count[2 * WIDEST + 1] = {0}, rest = 0, statistic = 0, pooled = 0,
                              expect_rest = (double)draws;
    double sum = 0, square = 0;
    size_t cells = 0;
    uint32_t variance = (uint32_t)number(want, "variance");
    struct nof1_stream stream = stream_of((uint8_t)variance);
    for (size_t i = 0; i < draws; i++) {
        int64_t x = nof1_noise_gaussian(&stream, variance);
        sum += (double)x;
        square += (double)(x * x);
        if (x >= -WIDEST && x <= WIDEST) {
            count[x + WIDEST] += 1;
        } else {
            rest += 1;
        }
    }
    for (int x = -WIDEST; x <= WIDEST; x++) {
        double p = json_number_value(json_array_get(json_object_get(want, "p"), (size_t)abs(x)));
        double e = p * (double)draws;
        if (e < 5) {
            rest += count[x + WIDEST];
            continue;
        }
        statistic += (count[x + WIDEST] - e) * (count[x + WIDEST] - e) / e;
        expect_rest -= e;
        cells++;
    }
    pooled = expect_rest > 1 ? (rest - expect_rest) * (rest - expect_rest) / expect_rest : 0;
    double p = nof1_chi_square_upper(statistic + pooled, (double)cells);
    cr_expect_gt(p, 1e-3, "variance %u: chi-square %g on %zu, p %g", variance, statistic + pooled,
                 cells, p);
    double n = (double)draws, second = number(want, "second");
    cr_expect_lt(fabs(sum / n), 4 * sqrt(second / n), "mean of variance %u", variance);
    cr_expect_lt(fabs(square / n / second - 1), 4 * sqrt(2 / n), "variance %u", variance);
}

Test(noise, draws_have_the_exact_probabilities)
{
    json_t *file = expected(), *one;
    size_t i;
    json_array_foreach(json_object_get(file, "mass"), i, one)
    {
        fits(one, 100000);
    }
    json_decref(file);
}

/* Four of five shares carry the stated noise, wide draws and the largest variance included. */
Test(noise, shares_add_up_to_the_stated_variance)
{
    static const uint32_t variance[] = {16, 20992, NOF1_NOISE_VARIANCE_MAX};
    for (size_t v = 0; v < sizeof variance / sizeof variance[0]; v++) {
        double square = 0, fourth = 0;
        const size_t draws = 10000, shares = 4;
        struct nof1_stream stream = stream_of((uint8_t)(200 + v));
        for (size_t i = 0; i < draws; i++) {
            double sum = 0;
            for (size_t s = 0; s < shares; s++) {
                sum += (double)nof1_noise_gaussian(&stream, variance[v]);
            }
            square += sum * sum;
            fourth += sum * sum * sum * sum;
        }
        double second = square / (double)draws, want = (double)shares * variance[v];
        cr_expect_lt(fabs(second / want - 1), 4 * sqrt(2.0 / (double)draws), "%u: %g",
                     variance[v], second);
        cr_expect_lt(fabs(fourth / (double)draws / (3 * want * want) - 1), 0.2, "%u", variance[v]);
    }
}

Test(noise, the_same_seed_gives_the_same_noise)
{
    struct nof1_stream a = stream_of(7), b = stream_of(7), c = stream_of(8);
    size_t differ = 0;
    for (size_t i = 0; i < 100; i++) {
        int64_t x = nof1_noise_gaussian(&a, 20992);
        cr_expect_eq(x, nof1_noise_gaussian(&b, 20992));
        differ += x != nof1_noise_gaussian(&c, 20992) ? 1 : 0;
    }
    cr_expect_gt(differ, 90);
}

Test(noise, the_accountant_agrees_with_decimals)
{
    json_t *file = expected(), *one;
    size_t i;
    json_array_foreach(json_object_get(file, "epsilon"), i, one)
    {
        double delta = strtod(json_string_value(json_object_get(one, "delta")), NULL);
        double got = nof1_zcdp_epsilon(number(one, "rho"), delta), want = number(one, "epsilon");
        cr_expect_lt(fabs(got / want - 1), 1e-10, "%g: %.17g, %.17g", number(one, "rho"), got,
                     want);
    }
    json_array_foreach(json_object_get(file, "rho"), i, one)
    {
        double delta = strtod(json_string_value(json_object_get(one, "delta")), NULL);
        double got = nof1_zcdp_rho(number(one, "epsilon"), delta), want = number(one, "rho");
        cr_expect_lt(fabs(got / want - 1), 1e-10, "%g: %.17g, %.17g", number(one, "epsilon"), got,
                     want);
        cr_expect_leq(nof1_zcdp_epsilon(got, delta), number(one, "epsilon") * (1 + 1e-12));
    }
    cr_expect(nof1_zcdp_epsilon(0, 1e-6) == 0 && nof1_zcdp_delta(0, 1) == 0);
    json_decref(file);
}
