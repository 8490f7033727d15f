/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The difference rule (docs/protocol.md, E2210) against combinations of releases: patients who
 * leave, come back, change or are corrected between epochs, strata, several trials a patient. No
 * combination of what is let out may hold fewer patients than the rule allows; the control switches
 * the rule off and must be caught.
 */
#include "difference.h"

/* ---- attacks ------------------------------------------------------------ */

static void leave(struct study *s, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s->present[(first + i * 5) % EVERYBODY] = false;
    }
    freeze(s);
}

static void by_leaving(struct study *s)
{
    ask(s, 2);
    leave(s, 3, 1);
    ask(s, 2);
}

/* One outcome value of one patient is corrected. */
static void by_correction(struct study *s)
{
    ask(s, 2);
    show_y(s, 7, 2);
    freeze(s);
    ask(s, 2);
}

/* Everybody's outcomes were imported wrongly and are put right again, but for one new value. */
static void by_undoing(struct study *s)
{
    ask(s, 2);
    for (size_t p = 0; p < EVERYBODY; p++) {
        show_y(s, p, 2);
    }
    freeze(s);
    ask(s, 2);
    for (size_t p = 0; p < EVERYBODY; p++) {
        show_y(s, p, p == 11 ? 3 : 1);
    }
    freeze(s);
    ask(s, 2);
}

/* A covariate of eight changes, and the outcome of one of the others: a plan without the covariate
 * sees one change. */
static void by_hiding_among_covariates(struct study *s)
{
    ask(s, 2);
    for (size_t i = 0; i < 10; i++) {
        s->sex[6 * i] += 2; /* another content, the same stratum: only the oracle knows */
        column(s->trial[6 * i].time)[0] -= 0; /* the outcome's part stays */
    }
    show_y(s, 1, 2);
    freeze(s);
    ask(s, 2);
}

/* Three releases: a stratum, everybody, and the other stratum once a patient has changed sides. */
static void by_changing_sides(struct study *s)
{
    ask(s, 0);
    ask(s, 2);
    s->sex[8] += 1;
    show_sex(s, 8);
    freeze(s);
    ask(s, 1);
    ask(s, 2);
}

/* All patients are called otherwise, and one value is corrected: nobody seems to be the same. */
static void by_renaming(struct study *s)
{
    ask(s, 2);
    s->name = 'q';
    show_y(s, 7, 2);
    freeze(s);
    ask(s, 2);
}

static void by_returning(struct study *s)
{
    ask(s, 2);
    leave(s, 0, 9);
    ask(s, 2);
    s->present[5] = true;
    freeze(s);
    ask(s, 2);
}

/* Every third patient has two complete cycles, the others three. Ten are not there yet. */
static void two_classes(struct study *s, bool some_to_come)
{
    for (size_t p = 0; p < EVERYBODY; p++) {
        show_length(s, p, p % 3 == 0);
        s->present[p] = !some_to_come || p % 6 != 1;
    }
    freeze(s);
}

/* Nine with three cycles and one with two come between two looks: enough come, but their sums are
 * by class. */
static void by_coming_in_another_class(struct study *s)
{
    two_classes(s, true);
    ask_for(s, 2, true, "");
    for (size_t p = 0; p < EVERYBODY; p++) {
        if (!s->present[p] && p != 1) {
            show_length(s, p, p == 7);
            s->present[p] = true;
        }
    }
    freeze(s);
    ask_for(s, 2, true, "");
}

/* Everybody and the women, each by class; one man has two cycles. */
static void by_a_stratum_in_a_class(struct study *s)
{
    for (size_t p = 0; p < EVERYBODY; p++) {
        show_length(s, p, p % 3 == 0);
        s->sex[p] = p % 3 == 0 ? (p == 30 ? 3 : 2) : 2 + (int)(p % 2);
        show_sex(s, p);
    }
    freeze(s);
    ask_for(s, 2, true, "");
    ask_for(s, 0, true, "");
}

/* The last value of one patient arrives late, and twelve of the other class are corrected. */
static void by_a_late_value(struct study *s)
{
    two_classes(s, false);
    ask_for(s, 2, true, "");
    for (size_t p = 0; p < 18; p++) {
        show_y(s, p, p % 3 == 0 ? 1 : 2);
    }
    show_length(s, 9, false);
    freeze(s);
    ask_for(s, 2, true, "");
}

Test(difference, attacks_succeed_without_the_rule_and_fail_with_it, .timeout = 300)
{
    static const struct { const char *name; void (*run)(struct study *); } attacks[] = {
        {"leaving", by_leaving},
        {"a corrected outcome", by_correction},
        {"undoing an import", by_undoing},
        {"a change among changes of covariates", by_hiding_among_covariates},
        {"changing sides", by_changing_sides},
        {"returning", by_returning},
        {"other names", by_renaming},
        {"coming in another class", by_coming_in_another_class},
        {"a stratum in a class", by_a_stratum_in_a_class},
        {"a value that comes late", by_a_late_value},
    };
    struct study *s = malloc(sizeof *s);
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
        for (int rule = 0; rule < 2; rule++) {
            start_study(s, rule == 1);
            attacks[i].run(s);
            size_t patients = fewest(s);
            cr_expect_eq(patients < LEAST, rule == 0, "%s, rule %d: %zu patients of %zu releases",
                         attacks[i].name, rule, patients, s->releases);
            hand_free(s->h);
        }
    }
    free(s);
}

/* A re-run counts what the first run counted, though to the sites nothing is changed any more, and
 * though they have started anew. */
Test(difference, a_plan_on_changed_series_runs_again)
{
    struct study *s = malloc(sizeof *s);
    start_study(s, true);
    struct hand *h = s->h;
    cr_assert(ask(s, 2));
    for (size_t i = 0; i < 10; i++) {
        show_y(s, 6 * i, 2);
    }
    freeze(s);
    cr_assert(ask(s, 2));
    const double *first = h->opening_value;
    size_t moved = h->opening.moved_first;
    cr_assert_gt(h->opening.elements, moved);
    double most = 0;
    for (size_t e = moved; e < h->opening.elements; e++) {
        most = fmax(most, first[e]);
    }
    cr_expect_eq(most, 10);
    for (size_t site = 0; site < SITES; site++) {
        hand_start(h, site);
    }
    hand_attempt(h);
    hand_gather(h);
    hand_round(h, 0);
    (void)hand_advance(h, 0);
    for (size_t e = 0; e < h->opening.elements; e++) {
        cr_expect_eq(h->value[e], first[e], "%s", h->opening.name[e]);
    }
    cr_expect_eq(hand_open(h, 0, 1)->body_case, NOF1__V1__FRAME__BODY_MASKED);
    hand_free(h);
    free(s);
}

/* A block that is not asked held patients of the atom, as the last totals with it showed. */
static void another_block(struct study *s, unsigned patients, unsigned sites)
{
    struct hand *h = s->h;
    for (size_t site = 0; site < SITES; site++) {
        for (size_t i = 0; i < h->stores[site]; i++) {
            struct stored *stored = &h->store[site][i];
            const char *at = strcmp(stored->key, "atoms/y") == 0
                                 ? strstr((const char *)stored->value.data, "\"b\":{\"patients\"")
                                 : NULL;
            if (at != NULL) {
                const char *end = strchr(at, '}') + 1;
                const char *text = (const char *)stored->value.data;
                stored->value = nof1_slice_text(nof1_arena_printf(
                    h->arena, "%.*s,\"c\":{\"patients\":%u,\"sites\":%u}%.*s", (int)(end - text),
                    text, patients, sites, (int)(text + stored->value.length - end), end));
            }
        }
        hand_start(h, site);
    }
}

Test(difference, a_block_outside_the_roster_is_not_the_difference)
{
    static const struct { unsigned patients, sites; bool allowed; } rows[] = {
        {0, 0, true}, {2, 1, false}, {7, 3, false}, {30, 2, false}, {8, 3, true},
    };
    struct study *s = malloc(sizeof *s);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start_study(s, true);
        cr_assert(ask(s, 2));
        another_block(s, rows[i].patients, rows[i].sites);
        cr_expect_eq(ask(s, 2), rows[i].allowed, "%u in %u sites", rows[i].patients, rows[i].sites);
        hand_free(s->h);
    }
    free(s);
}

/* The same where sums are by class and a patient may have two trials: some finish their last
 * period, some lose it. */
static void happen_by_class(struct study *s, struct test_random *random)
{
    size_t many = below(random, 3) == 0 ? 1 + below(random, 3) : 10 + below(random, 30);
    for (size_t i = 0; below(random, 2) == 0 && i < many; i++) {
        size_t p = below(random, EVERYBODY);
        show_length(s, p, below(random, 2) == 0);
    }
    happen(s, random);
}

Test(difference, no_combination_of_random_sums_by_class_isolates_few, .timeout = 600)
{
    struct study *s = malloc(sizeof *s);
    size_t sums = 0, refused = 0, caught = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        struct test_random random = {1000 + seed};
        bool rule = seed % 4 != 0;
        start_study(s, rule);
        s->trials = 1 + seed % 2;
        two_classes(s, seed % 3 == 0);
        for (size_t step = 0; step < 9 && s->releases < 6; step++) {
            if (step > 0 && (!rule || below(&random, 2) == 0)) {
                happen_by_class(s, &random);
            }
            ask_for(s, rule ? (int)below(&random, 3) : 2, true, "");
        }
        size_t patients = fewest(s);
        if (rule) {
            cr_expect_geq(patients, LEAST, "seed %llu: %zu patients of %zu sums",
                          (unsigned long long)seed, patients, s->releases);
            sums += s->releases;
            refused += s->refused;
        } else {
            caught += patients < LEAST ? 1 : 0;
        }
        hand_free(s->h);
    }
    if (getenv("NOF1_TEST_VERBOSE") != NULL) {
        printf("by class: %zu sums, %zu plans refused, control caught in %zu of 6\n", sums, refused,
               caught);
    }
    cr_expect_gt(sums, 36, "%zu sums, %zu refused", sums, refused);
    cr_expect_gt(refused, 18, "%zu sums, %zu refused", sums, refused);
    cr_expect_gt(caught, 2, "the control isolated few in %zu of 6", caught);
    free(s);
}

Test(difference, no_combination_of_random_releases_isolates_few, .timeout = 600)
{
    struct study *s = malloc(sizeof *s);
    size_t releases = 0, refused = 0, caught = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        struct test_random random = {seed};
        bool rule = seed % 4 != 0;
        start_study(s, rule);
        for (size_t step = 0; step < 9 && s->releases < 5; step++) {
            if (step > 0 && (!rule || below(&random, 2) == 0)) {
                happen(s, &random);
            }
            ask(s, rule ? (int)below(&random, 3) : 2);
        }
        size_t patients = fewest(s);
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
    cr_expect_gt(releases, 36, "%zu released, %zu refused", releases, refused);
    cr_expect_gt(refused, 18, "%zu released, %zu refused", releases, refused);
    cr_expect_gt(caught, 2, "the control isolated few in %zu of 6", caught);
    free(s);
}
