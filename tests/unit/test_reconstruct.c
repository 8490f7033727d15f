/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-audit reconstruct: what is known about the attacks it runs (background of
 * docs/disclosure.md), the counting against plain enumeration, and that the same options give the
 * same numbers.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <audit/reconstruct.h>
#include <base/json.h>

static double number(const json_t *result, const char *object, const char *key)
{
    const json_t *inner = object == NULL ? result : json_object_get(result, object);
    cr_assert(json_is_number(json_object_get(inner, key)), "%s/%s", object, key);
    return json_number_value(json_object_get(inner, key));
}

static json_t *run(struct reconstruct asked)
{
    struct nof1_error error = {.rc = NOF1_OK};
    json_t *result = NULL;
    asked.seed = asked.seed == 0 ? 1 : asked.seed;
    asked.runs = asked.runs == 0 ? 10 : asked.runs;
    asked.starts = asked.starts == 0 ? 6 : asked.starts;
    asked.periods = 3;
    asked.missing = 0.25;
    nof1_rc_value rc = reconstruct_run(&result, &asked, &error);
    cr_assert_eq(rc, NOF1_OK, "%s", error.message);
    return result;
}

/* Five sums of two numbers a patient: two patients are solved; of eight 11 numbers of 16 stay open.
 */
Test(reconstruct, slope_sums_solve_two_patients_and_not_eight)
{
    json_t *two = run((struct reconstruct){.form = RECONSTRUCT_SLOPE, .n = 2, .scalars = 5});
    json_t *eight = run((struct reconstruct){.form = RECONSTRUCT_SLOPE, .n = 8, .scalars = 5});
    cr_expect_eq(number(two, "free_dimensions", "mean"), 0);
    cr_expect_gt(number(two, "least_squares", "right"), 0.95);
    cr_expect_lt(number(two, "least_squares", "spread"), 1e-3);
    cr_expect_eq(number(eight, "free_dimensions", "least"), 11);
    cr_expect_lt(number(eight, "least_squares", "right"), 0.25);
    json_decref(two);
    json_decref(eight);
}

/* As many weighted sums as patients: more than a third of the patients are right in a solution; at
 * a ratio of 0.32 no more than chance and a little. */
Test(reconstruct, a_ratio_of_one_is_no_protection)
{
    json_t *one = run((struct reconstruct){.form = RECONSTRUCT_BASIS, .n = 6, .scalars = 6});
    json_t *third = run((struct reconstruct){.form = RECONSTRUCT_BASIS, .n = 19, .scalars = 6});
    cr_expect_gt(number(one, "least_squares", "right"), 0.35);
    cr_expect_lt(number(third, "least_squares", "right"), 0.2);
    cr_expect_eq(number(third, "free_dimensions", "least"), 13);
    json_decref(one);
    json_decref(third);
}

/* Multisets of three numbers from -2 to 2 with the same sum and sum of squares, by three loops. */
Test(reconstruct, counts_what_plain_enumeration_counts)
{
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    const struct reconstruct asked = {.form = RECONSTRUCT_DIFFERENCE, .n = 3, .scalars = 2,
                                      .levels = 3};
    for (unsigned long seed = 1; seed <= 50; seed++) {
        struct reconstruct_case c;
        struct reconstruct_counted counted;
        double expected = 0;
        gsl_rng_set(rng, seed);
        reconstruct_make(&c, &asked, rng);
        reconstruct_count(&counted, &c);
        for (int x = -2; x <= 2; x++) {
            for (int y = x; y <= 2; y++) {
                for (int z = y; z <= 2; z++) {
                    expected += x + y + z == (int)c.sum[0] &&
                                x * x + y * y + z * z == (int)c.sum[1];
                }
            }
        }
        cr_assert(counted.done);
        cr_expect_eq(counted.multisets, expected, "seed %lu: %g, %g", seed, counted.multisets,
                     expected);
    }
    gsl_rng_free(rng);
}

/* The truth is among the solutions, in one dimension and in two. */
Test(reconstruct, counts_at_least_the_truth)
{
    json_t *pairs = run((struct reconstruct){.form = RECONSTRUCT_SLOPE, .n = 6, .scalars = 5,
                                             .levels = 6});
    json_t *single = run((struct reconstruct){.form = RECONSTRUCT_DIFFERENCE, .n = 8,
                                              .scalars = 2, .levels = 11});
    cr_expect_geq(number(pairs, "enumeration", "least_multisets"), 1);
    cr_expect_geq(number(single, "enumeration", "least_multisets"), 1);
    cr_expect_eq(number(single, "enumeration", "studies"), 10);
    json_decref(pairs);
    json_decref(single);
}

/* Decimals under three public weights: every pattern's sum is found; rounded sums hide it. */
Test(reconstruct, a_lattice_solves_exact_weighted_sums_of_decimals)
{
    struct reconstruct asked = {.form = RECONSTRUCT_BASIS, .n = 40, .scalars = 6, .levels = 11,
                                .starts = 1};
    json_t *exact = run(asked);
    asked.quantum = 0.5;
    json_t *rounded = run(asked);
    cr_expect_gt(number(exact, "lattice", "pattern_sums_found"), 0.99);
    cr_expect_lt(number(rounded, "lattice", "pattern_sums_found"), 0.3);
    json_decref(exact);
    json_decref(rounded);
}

/* As many sums as patients, their covariates known: solved. With a third of the parameters: chance.
 */
Test(reconstruct, known_covariates_solve_a_saturated_regression)
{
    json_t *full =
        run((struct reconstruct){.form = RECONSTRUCT_REGRESSION, .n = 15, .scalars = 16});
    json_t *few = run((struct reconstruct){.form = RECONSTRUCT_REGRESSION, .n = 15, .scalars = 6});
    cr_expect_gt(number(full, "least_squares", "right"), 0.95);
    cr_expect_eq(number(few, "free_dimensions", "least"), 9);
    cr_expect_lt(number(few, "least_squares", "right"), 0.08);
    json_decref(full);
    json_decref(few);
}

/* Whole numbers under real covariates are found by lattice reduction, on a grid of 32 points not.
 */
Test(reconstruct, a_coarse_covariate_solves_no_sum)
{
    struct reconstruct asked = {
        .form = RECONSTRUCT_REGRESSION, .n = 15, .scalars = 4, .levels = 11, .runs = 4};
    json_t *real = run(asked);
    asked.points = 32;
    json_t *coarse = run(asked);
    cr_expect_gt(number(real, "lattice", "pattern_sums_found"), 0.95);
    cr_expect_lt(number(coarse, "lattice", "pattern_sums_found"), 0.35);
    json_decref(real);
    json_decref(coarse);
}

/* One patient with nine tenths of the weight is the sum; with a third he is not. */
Test(reconstruct, a_heavy_patient_is_read_off_the_sum)
{
    struct reconstruct asked = {
        .form = RECONSTRUCT_SHARE, .n = 15, .scalars = 2, .share = 0.9, .runs = 40};
    json_t *heavy = run(asked);
    asked.share = 0.33;
    json_t *light = run(asked);
    cr_expect_gt(number(heavy, "least_squares", "right"), 0.6);
    cr_expect_lt(number(light, "least_squares", "right"), 0.2);
    json_decref(heavy);
    json_decref(light);
}

Test(reconstruct, the_same_options_give_the_same_numbers)
{
    const struct reconstruct asked = {.form = RECONSTRUCT_BASIS, .n = 9, .scalars = 4,
                                      .levels = 11, .seed = 7};
    json_t *a = run(asked), *b = run(asked);
    cr_expect(json_equal(a, b));
    json_decref(a);
    json_decref(b);
}

Test(reconstruct, refuses_forms_with_other_numbers)
{
    struct nof1_error error = {.rc = NOF1_OK};
    json_t *result = NULL;
    struct reconstruct asked = {.form = RECONSTRUCT_SLOPE, .n = 4, .scalars = 4, .runs = 1};
    cr_expect_eq(reconstruct_run(&result, &asked, &error), NOF1_E_USAGE);
    asked.form = RECONSTRUCT_BASIS;
    asked.scalars = 5;
    cr_expect_eq(reconstruct_run(&result, &asked, &error), NOF1_E_USAGE);
    cr_expect_null(result);
}
