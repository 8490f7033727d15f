/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The difference rule, number by number (docs/protocol.md, "Feeding"): releases have sums over the
 * patients of one level of a covariate, so what combinations hold of each level must be nobody or
 * enough, whoever comes, leaves, changes or is outside a stratum.
 */
#include "difference.h"

/* In how many patients who were of the level does the sum not vanish? */
static size_t isolated_of(const struct study *s, const int *coefficient, int level)
{
    size_t patients = 0;
    for (size_t p = 0; p < EVERYBODY; p++) {
        bool seen = false;
        for (size_t r = 0; r < s->releases && !seen; r++) {
            int sum = 0;
            for (size_t q = 0; s->release[r].y[p] > 0 && q < s->releases; q++) {
                bool same = s->release[q].y[p] == s->release[r].y[p] &&
                            s->release[q].sex[p] % 2 == level;
                sum += same ? coefficient[q] : 0;
            }
            seen = sum != 0;
        }
        patients += seen ? 1 : 0;
    }
    return patients;
}

static size_t fewest_of_a_level(const struct study *s)
{
    size_t combinations = 1, least = EVERYBODY + 1;
    for (size_t r = 0; r < s->releases; r++) {
        combinations *= 2 * COEFFICIENT + 1;
    }
    for (size_t c = 0; c < combinations; c++) {
        int coefficient[RELEASES];
        size_t rest = c;
        for (size_t r = 0; r < s->releases; r++) {
            coefficient[r] = (int)(rest % (2 * COEFFICIENT + 1)) - COEFFICIENT;
            rest /= 2 * COEFFICIENT + 1;
        }
        for (int level = 0; level < 2; level++) {
            size_t patients = isolated_of(s, coefficient, level);
            least = patients > 0 && patients < least ? patients : least;
        }
    }
    return least;
}

Test(levels, no_combination_isolates_few_of_a_level, .timeout = 600)
{
    struct study *s = malloc(sizeof *s);
    size_t releases = 0, refused = 0, caught = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        struct test_random random = {2000 + seed};
        bool rule = seed % 4 != 0;
        start_study(s, rule);
        for (size_t step = 0; step < 9 && s->releases < 4; step++) {
            if (step > 0 && (!rule || below(&random, 2) == 0)) {
                happen(s, &random);
            }
            ask_for(s, 2, false, "moderators: [sex]\n");
        }
        size_t patients = fewest_of_a_level(s);
        if (rule) {
            cr_expect_geq(patients, LEAST, "seed %llu: %zu patients of %zu releases",
                          (unsigned long long)seed, patients, s->releases);
            releases += s->releases;
            refused += s->refused;
        } else {
            caught += patients < LEAST ? 1 : 0;
        }
        hand_free(s->h);
    }
    if (getenv("NOF1_TEST_VERBOSE") != NULL) {
        printf("levels: %zu released, %zu refused, control caught in %zu of 6\n", releases, refused,
               caught);
    }
    cr_expect_gt(releases, 18, "%zu released, %zu refused", releases, refused);
    cr_expect_gt(refused, 18, "%zu released, %zu refused", releases, refused);
    cr_expect_gt(caught, 2, "the control isolated few in %zu of 6", caught);
    free(s);
}

/* One stratum after the other, in sums that not every patient feeds: nobody is told apart, and
 * nothing is refused. */
Test(levels, strata_one_after_the_other)
{
    struct study *s = malloc(sizeof *s);
    start_study(s, true);
    for (size_t p = 0; p < EVERYBODY; p++) {
        show_length(s, p, p % 3 == 0);
    }
    freeze(s);
    s->analysis = "mixed_model";
    cr_expect(ask_for(s, 0, true, ""));
    cr_expect_gt(s->h->opening.sparse, 0u);
    cr_expect(ask_for(s, 1, true, ""));
    cr_expect_gt(s->h->opening.sparse, 0u);
    cr_expect_gt(s->h->opening_value[nof1_opening_fed_at(&s->h->opening, 0, 0, NOF1_FED_LEFT)] +
                     s->h->opening_value[nof1_opening_fed_at(&s->h->opening, 1, 0, NOF1_FED_LEFT)],
                 0);
    hand_free(s->h);
    free(s);
}
