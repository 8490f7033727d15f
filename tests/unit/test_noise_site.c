/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Noisy counts as sites answer them: the noise is there, is the same whoever asks again and however
 * often, is charged before the first answer leaves and is still charged after a restart, also where
 * queries run side by side; and a site without trials adds its share too.
 */
#include "hand_query.h"

#include <math.h>
#include <stdlib.h>
#include <stats/noise.h>

#define PLAN(title, options)                                                                       \
    "plan: 1\ntitle: " title "\noutcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"      \
    "analysis: feasibility\n" options "gather_by: 2h\ndeadline: 10m\n"

static const struct hand_options counts = {.analyses = "[feasibility, random_effects]",
                                           .plan = PLAN("by sex", "by: [sex]\n")};
#define CELLS 3 /* F, M, missing */

static void ask(struct hand *h, const char *plan, bool first)
{
    const char **key = NULL;
    size_t keys = 0;
    if (!first) { /* the first query has used everybody: one atom, which has a name now */
        struct nof1_slice atoms = {0};
        for (size_t i = 0; i < h->stores[0]; i++) {
            atoms = strcmp(h->store[0][i].key, "atoms/y") == 0 ? h->store[0][i].value : atoms;
        }
        const struct nof1_node *node = NULL;
        MUST(nof1_canonical_read(&node, h->arena, atoms, NULL));
        const struct nof1_node *charges = nof1_node_get(node, "charges");
        keys = charges->items;
        key = nof1_arena_alloc(h->arena, keys + 1, sizeof *key);
        for (size_t k = 0; k < keys; k++) {
            key[k] = charges->item[k].key;
        }
    }
    hand_query(h, hand_complete(h, plan, keys, key));
}

/* Exact counts of the cells, which the protocol shows to nobody. */
static void exact(double *out, const struct hand *h)
{
    out[0] = out[1] = out[2] = 0;
    for (size_t s = 0; s < SITES; s++) {
        for (size_t t = 0; t < h->epoch[s].trials; t++) {
            out[(size_t)h->epoch[s].trial[t].covariate[0][0]] += 1;
        }
    }
}

Test(noise_site, counts_carry_noise_of_the_stated_size)
{
    double count[CELLS], square = 0;
    size_t cells = 0, whole = 0;
    char secret[SITES][33];
    const size_t secrets = 12;
    double share = 0;
    for (size_t k = 0; k < secrets; k++) {
        struct hand *h = hand_new(&counts);
        for (size_t s = 0; s < SITES; s++) {
            snprintf(secret[s], sizeof secret[s], "%032zu", k * SITES + s);
            h->secret[s] = secret[s];
            hand_start(h, s);
        }
        hand_run(h);
        exact(count, h);
        share = 2.0 / (2.0 * h->query->model->rho * (SITES - 1));
        for (size_t c = 0; c < CELLS; c++) {
            double noise = h->value[NOF1_CHECK_ELEMENTS + c] - count[c];
            square += noise * noise;
            whole += noise == round(noise) ? 1 : 0;
            cells++;
        }
        hand_free(h);
    }
    double ratio = square / (double)cells / (share * SITES);
    cr_expect(ratio > 0.4 && ratio < 2.0, "variance ratio %g of %zu draws", ratio, cells);
    cr_expect_lt(whole, cells / 2, "noise is finer than patients");
}

/* Another secret of the empty site alone moves the cells; one may stay, once in hundreds. */
Test(noise_site, a_site_without_trials_adds_its_share)
{
    static const char *const secret[] = {"0123456789abcdef0123456789abcdef",
                                         "abcdefabcdefabcdefabcdefabcdefab"};
    const struct hand_options small = {.analyses = counts.analyses, .plan = counts.plan,
                                       .preset = "ultra-rare"};
    double cell[2][CELLS];
    for (size_t k = 0; k < 2; k++) {
        struct hand *h = hand_new(&small);
        h->epoch[0].trials = h->epoch[0].patients = 0;
        h->secret[0] = secret[k];
        hand_start(h, 0);
        hand_run(h);
        memcpy(cell[k], h->value + NOF1_CHECK_ELEMENTS, sizeof cell[k]);
        hand_free(h);
    }
    size_t moved = 0;
    for (size_t c = 0; c < CELLS; c++) {
        moved += cell[0][c] != cell[1][c] ? 1 : 0;
    }
    cr_expect_geq(moved, (size_t)CELLS - 1);
}

/* Runs, restarts and other plans of the same question: the same bits, one charge. */
Test(noise_site, asking_again_averages_nothing_away)
{
    double first[CELLS];
    struct hand *h = hand_new(&counts);
    hand_run(h);
    memcpy(first, h->value + NOF1_CHECK_ELEMENTS, sizeof first);
    hand_end(h, true);
    for (size_t s = 0; s < SITES; s++) {
        h->policy[s].dp_epsilon_year = 1; /* what one answer costs: no other one is left */
        hand_start(h, s);
    }
    static const char *const same[] = {PLAN("again", "by: [sex]\n"),
                                       PLAN("other level", "by: [sex]\nlevel: 0.9\n")};
    for (size_t p = 0; p < 2; p++) {
        ask(h, same[p], false);
        hand_run(h);
        for (size_t c = 0; c < CELLS; c++) {
            cr_expect_eq(first[c], h->value[NOF1_CHECK_ELEMENTS + c], "plan %zu cell %zu", p, c);
        }
        hand_end(h, true);
    }
    static const char *const other[] = {PLAN("crossed", "by: [sex, class]\n"),
                                        PLAN("wider", "by: [sex]\nepsilon: 0.5\n")};
    for (size_t p = 0; p < 2; p++) {
        ask(h, other[p], false);
        for (size_t s = 0; s < SITES; s++) {
            const Nof1__V1__Frame *reply = hand_offer(h, s);
            cr_assert_eq(reply->body_case, NOF1__V1__FRAME__BODY_REFUSAL, "plan %zu", p);
            cr_expect_str_eq(reply->refusal->code, "E2312");
        }
    }
    /* a year later the charge has lapsed */
    h->now += INT64_C(366) * 86400 * 1000;
    ask(h, other[0], false);
    cr_expect_eq(hand_offer(h, 0)->body_case, NOF1__V1__FRAME__BODY_KEY_AD);
    hand_free(h);
}

/* The charge is in the store before the answer to round 0, and survives losing everything else. */
Test(noise_site, the_charge_survives_a_crash)
{
    struct hand *h = hand_new(&counts);
    for (size_t s = 0; s < SITES; s++) {
        h->policy[s].dp_epsilon_year = 1;
        hand_start(h, s);
    }
    hand_gather(h);
    struct nof1_slice earlier = h->plan;
    hand_round(h, 0); /* charged; the process dies here */
    for (size_t s = 0; s < SITES; s++) {
        hand_start(h, s);
    }
    hand_query(h, hand_complete(h, PLAN("crossed", "by: [sex, class]\n"), 0, NULL));
    cr_expect_str_eq(hand_offer(h, 0)->refusal->code, "E2312");
    hand_query(h, earlier); /* the charged one goes on */
    hand_run(h);
    hand_free(h);
}

/* Both offered and accepted before either is charged: the second one stops at round 0. */
Test(noise_site, parallel_queries_cannot_overdraw)
{
    struct hand *h = hand_new(&counts), *second = malloc(sizeof *second);
    for (size_t s = 0; s < SITES; s++) {
        h->policy[s].dp_epsilon_year = 1;
        hand_start(h, s);
    }
    struct nof1_slice first = h->plan;
    hand_query(h, hand_complete(h, PLAN("crossed", "by: [sex, class]\n"), 0, NULL));
    hand_gather(h);
    memcpy(second, h, sizeof *second);
    h->query = NULL; /* kept by `second` */
    hand_query(h, first);
    hand_gather(h);
    hand_round(h, 0);
    nof1_query_free(h->query);
    h->query = second->query;
    memcpy(h->h_q, second->h_q, sizeof h->h_q);
    memcpy(h->nonce, second->nonce, sizeof h->nonce);
    memcpy(h->transcript, second->transcript, sizeof h->transcript);
    h->history = second->history;
    for (size_t s = 0; s < SITES; s++) {
        const Nof1__V1__Frame *reply = hand_open(h, s, 0);
        cr_assert_eq(reply->body_case, NOF1__V1__FRAME__BODY_REFUSAL);
        cr_expect_str_eq(reply->refusal->code, "E2312");
    }
    free(second);
    hand_free(h);
}
