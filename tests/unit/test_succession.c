/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which charter may follow which at a site: versions, studies, blocks, and outcomes that were
 * released as the site's own memory of them says.
 */
#include "hand_query.h"

#include <core/succession.h>

static const char *sites_a[] = {"a1", "a2", "a3", "b1", "b2", "b3"};

struct scene {
    struct nof1_member site[7];
    struct nof1_block block[2];
    struct nof1_outcome outcome;
    struct nof1_charter charter;
};

static const size_t first[] = {0, 1, 2, 6}, second[] = {3, 4, 5};

static void set_up(struct scene *s, uint32_t version)
{
    *s = (struct scene){0};
    for (size_t i = 0; i < 6; i++) {
        s->site[i].id = sites_a[i];
    }
    s->site[6].id = "a4";
    s->block[0] = (struct nof1_block){"a", 3, first};
    s->block[1] = (struct nof1_block){"b", 3, second};
    s->charter = (struct nof1_charter){.study = "x", .version = version, .sites = 6,
                                       .site = s->site, .blocks = 2, .block = s->block};
}

Test(succession, blocks_only_grow)
{
    static const size_t moved[] = {0, 1, 2, 3}, fewer[] = {4, 5};
    struct scene before, after;
    struct nof1_error error = {0};
    set_up(&before, 3);
    set_up(&after, 4);
    cr_expect_eq(nof1_charter_follows(&before.charter, &after.charter, &error), NOF1_OK);
    after.charter.sites = 7; /* a site joins a block */
    after.block[0].sites = 4;
    cr_expect_eq(nof1_charter_follows(&before.charter, &after.charter, &error), NOF1_OK);
    set_up(&after, 3);
    cr_expect_eq(nof1_charter_follows(&before.charter, &after.charter, &error), NOF1_E_CONFIG);
    cr_expect_not_null(strstr(error.message, "version 3 is approved already"));
    set_up(&after, 4);
    after.charter.study = "y";
    cr_expect_eq(nof1_charter_follows(&before.charter, &after.charter, &error), NOF1_E_CONFIG);
    cr_expect_not_null(strstr(error.message, "study"));
    set_up(&after, 4);
    after.block[0].sites = 2; /* a3 is still a site, in no block */
    cr_expect_eq(nof1_charter_follows(&before.charter, &after.charter, &error), NOF1_E_CONFIG);
    cr_expect_not_null(strstr(error.message, "a3"));
    set_up(&after, 4);
    after.block[0] = (struct nof1_block){"a", 4, moved};
    after.block[1] = (struct nof1_block){"b", 2, fewer};
    cr_expect_eq(nof1_charter_follows(&before.charter, &after.charter, &error), NOF1_E_CONFIG);
    cr_expect_not_null(strstr(error.message, "b1 moves from block b to a"));
}

/* The memory of a real release, read under charters that change the outcome. */
Test(succession, released_outcomes_stay)
{
    struct hand *h = hand_new(&plain);
    struct hand_shelf shelf = {h, 0};
    const struct nof1_store_reader store = {hand_each, &shelf};
    struct nof1_outcome outcome = h->charter->outcome[0];
    struct nof1_charter next = *h->charter;
    struct nof1_error error = {0};
    next.outcome = &outcome;
    outcome.upper = 7;
    cr_expect_eq(nof1_charter_keeps_released(&next, &store, &error), NOF1_OK, "nothing released");
    hand_run(h);
    outcome = h->charter->outcome[0];
    cr_expect_eq(nof1_charter_keeps_released(&next, &store, &error), NOF1_OK, "%s", error.message);
    static const char *const what[] = {"bounds", "quantum", "family"};
    for (size_t i = 0; i < 3; i++) {
        outcome = h->charter->outcome[0];
        outcome.upper += i == 0 ? 1 : 0;
        outcome.quantum += i == 1 ? 0.5 : 0;
        outcome.family = i == 2 ? "other" : outcome.family;
        cr_expect_eq(nof1_charter_keeps_released(&next, &store, &error), NOF1_E_CONFIG);
        cr_expect_not_null(strstr(error.message, nof1_arena_printf(h->arena, "changes its %s",
                                                                   what[i])),
                           "%s", error.message);
    }
    outcome.name = "z"; /* dropped: nobody can ask for it */
    cr_expect_eq(nof1_charter_keeps_released(&next, &store, &error), NOF1_OK);
    hand_free(h);
}
