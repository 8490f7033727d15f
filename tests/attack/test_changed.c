/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the sums of a changed atom tell (docs/disclosure.md, "A changed atom"). An earlier release
 * and a later one differ by sum(delta) and sum(2 d delta + delta^2) over the patients that changed.
 * Where all but one change little these two numbers are about one patient: delta is the first, d
 * follows from the second. NOF1_TEST_VERBOSE=1 prints the table of that page.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <support.h>

#define ATOMS 4000
#define RIGHT 0.05 /* of the sd of d, as nof1-audit counts it */

/* One changes by `top` sd of d, the others by `others` sd: on average, or (least) each by just that
 * much, up or down. The share of atoms in which this gives away the one's d. */
static double right(size_t patients, double others, double top, bool least, uint64_t seed)
{
    struct test_random random = {seed};
    size_t found = 0;
    for (size_t i = 0; i < ATOMS; i++) {
        double linear = 0, quadratic = 0, target = 0;
        for (size_t p = 0; p < patients; p++) {
            double d = test_random_normal(&random);
            double delta = others * test_random_normal(&random);
            delta = least ? copysign(others, delta) : delta;
            if (p == 0) {
                target = d;
                delta = copysign(top, delta);
            }
            linear += delta;
            quadratic += delta * (2 * d + delta);
        }
        double guess = (quadratic - linear * linear) / (2 * linear);
        found += fabs(guess - target) < RIGHT ? 1 : 0;
    }
    return (double)found / ATOMS;
}

/* Somebody who draws from the population instead. */
static double chance(uint64_t seed)
{
    struct test_random random = {seed};
    size_t found = 0;
    for (size_t i = 0; i < ATOMS; i++) {
        double d = test_random_normal(&random), guess = test_random_normal(&random);
        found += fabs(guess - d) < RIGHT ? 1 : 0;
    }
    return (double)found / ATOMS;
}

Test(changed, a_change_hides_among_changes_of_its_size_only)
{
    static const struct { size_t patients; double others, least, most; } rows[] = {
        {1, 1, 1, 1},        {8, 1e-9, 1, 1},    {8, 0.001, 1, 1},     {8, 0.01, 0.7, 1},
        {8, 0.1, 0, 0.25},   {8, 0.3, 0, 0.1},   {8, 1, 0, 0.08},      {60, 1e-9, 1, 1},
        {60, 0.001, 0.98, 1},   {60, 0.01, 0.3, 0.6}, {60, 0.1, 0, 0.1},  {60, 1, 0, 0.08},
    };
    double by_chance = chance(11);
    cr_expect_lt(by_chance, 0.08);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double share = right(rows[i].patients, rows[i].others, 1, false, 7);
        if (getenv("NOF1_TEST_VERBOSE") != NULL) {
            printf("%zu patients, one changed by 1 sd, the others by %g: right %.0f %% (chance "
                   "%.0f %%)\n",
                   rows[i].patients, rows[i].others, 100 * share, 100 * by_chance);
        }
        cr_expect(share >= rows[i].least && share <= rows[i].most, "%zu patients, %g: %g",
                  rows[i].patients, rows[i].others, share);
    }
}

/* What the rule asks of each: a quarter of sd_within, which is a fifth of the sd of d or more where
 * there are three cycles and sd_between is not above sd_within. */
Test(changed, the_least_change_that_counts_hides_a_large_one)
{
    static const double top[] = {0.2, 1, 2, 3};
    double by_chance = chance(11);
    for (size_t i = 0; i < sizeof top / sizeof top[0]; i++) {
        double share = right(8, 0.2, top[i], true, 7);
        if (getenv("NOF1_TEST_VERBOSE") != NULL) {
            printf(
                "8 patients, one changed by %g sd, the others by 0.2 each: right %.1f %% (chance "
                "%.1f %%)\n",
                top[i], 100 * share, 100 * by_chance);
        }
        cr_expect_lt(share, 0.1, "%g: %g", top[i], share);
    }
}
