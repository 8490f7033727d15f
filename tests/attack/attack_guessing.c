/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attacks whose success is a guess: which of two numbers does the victim hold? The masks alone are
 * at work, round after round with fresh keys, as often as needed to tell a guesser from a coin. Two
 * of 2,000 fair coins would be right more often than 0.55 in a thousand runs of the suite.
 */
#include "attack_crowd.h"

#include <core/site_parts.h>

#define GUESSES 4000
#define LOW 3.0
#define HIGH 4.0

struct ring_of_sites {
    struct nof1_masker *masker[SITES];   /* towards everybody */
    struct nof1_masker *known[2][SITES]; /* colluder j towards s0 and s1 only */
    struct test_random random;
};

static const char *const names[SITES] = {"s0", "s1", "s2", "s3", "s4"};

static struct nof1_masker *masker_of(size_t self, size_t peers, const size_t *at,
                                     uint8_t (*public)[32])
{
    static const uint8_t h_q[32] = {1}, h_r[32] = {2};
    struct nof1_peer peer[SITES];
    struct nof1_masker *masker = NULL;
    uint8_t secret[32];
    memset(secret, (int)(16 + self), sizeof secret);
    for (size_t i = 0; i < peers; i++) {
        peer[i] = (struct nof1_peer){.id = names[at[i]], .x25519 = public[at[i]]};
    }
    MUST(nof1_masker_new(&masker, secret, names[self], peers, peer, h_q, h_r));
    return masker;
}

static void meet(struct ring_of_sites *ring, uint64_t seed)
{
    uint8_t public[SITES][32], secret[32];
    *ring = (struct ring_of_sites){.random = {seed}};
    for (size_t s = 0; s < SITES; s++) {
        memset(secret, (int)(16 + s), sizeof secret);
        MUST(nof1_x25519_public(public[s], secret));
    }
    for (size_t s = 0; s < SITES; s++) {
        size_t at[SITES], peers = 0;
        for (size_t p = 0; p < SITES; p++) {
            if (p != s) {
                at[peers++] = p;
            }
        }
        ring->masker[s] = masker_of(s, peers, at, public);
        for (size_t v = 0; v < 2 && s >= 2; v++) {
            ring->known[v][s] = masker_of(s, 1, &v, public);
        }
    }
}

static void part(struct ring_of_sites *ring)
{
    for (size_t s = 0; s < SITES; s++) {
        nof1_masker_free(ring->masker[s]);
        nof1_masker_free(ring->known[0][s]);
        nof1_masker_free(ring->known[1][s]);
    }
}

static void transcript_of(uint8_t h[32], size_t round, uint8_t view)
{
    memset(h, 0, 32);
    memcpy(h, &round, sizeof round);
    h[31] = view;
}

/* The closer one; where neither is close, the attacker may as well look at the parity. */
static bool guess_high(const struct nof1_ring *ring, double low, double high)
{
    double value = nof1_ring_decode(ring);
    if (fabs(value - low) < 0.25 || fabs(value - high) < 0.25) {
        return fabs(value - high) < fabs(value - low);
    }
    return (ring->limb[0] & 1) != 0;
}

/* A5: s0 and s1 are shown other parameters than the rest; who answers what is known but s0's. */
static void split_view(struct attack_result *r)
{
    struct ring_of_sites ring;
    meet(&ring, 11);
    for (size_t round = 0; round < GUESSES; round++) {
        bool high = (test_random_next(&ring.random) & 1) != 0;
        struct nof1_ring sum = {{0}};
        for (size_t s = 0; s < SITES; s++) {
            struct nof1_ring y;
            uint8_t h[32];
            transcript_of(h, round, s < 2 ? 1 : 2);
            MUST(nof1_ring_encode(&y, s > 0 ? 10.0 : high ? HIGH : LOW));
            MUST(attack_masker_apply(ring.masker[s], h, 1, &y));
            nof1_ring_add(&sum, &y);
        }
        r->right += guess_high(&sum, 40 + LOW, 40 + HIGH) == high ? 1 : 0;
    }
    r->trials = GUESSES;
    part(&ring);
}

/* A16: the coordinator and all sites but s0 and s1, whose sum is known to be 10: they take their
 * own masks off both answers. */
static void all_but_two_collude(struct attack_result *r)
{
    struct ring_of_sites ring;
    meet(&ring, 12);
    for (size_t round = 0; round < GUESSES; round++) {
        bool high = (test_random_next(&ring.random) & 1) != 0;
        double x = high ? HIGH : LOW;
        struct nof1_ring y[2], other;
        uint8_t h[32];
        transcript_of(h, round, 0);
        for (size_t s = 0; s < SITES; s++) {
            MUST(nof1_ring_encode(&other, s == 0 ? x : s == 1 ? 10 - x : 1.0));
            MUST(attack_masker_apply(ring.masker[s], h, 1, &other));
            if (s < 2) {
                y[s] = other;
            }
        }
        for (size_t s = 2; s < SITES; s++) {
            MUST(attack_masker_apply(ring.known[0][s], h, 1, &y[0]));
            MUST(attack_masker_apply(ring.known[1][s], h, 1, &y[1]));
        }
        other = y[0];
        nof1_ring_add(&other, &y[1]);
        cr_assert_eq(nof1_ring_decode(&other), 10.0); /* what they may know, exactly */
        r->right += guess_high(&y[0], LOW, HIGH) == high ? 1 : 0;
    }
    r->trials = GUESSES;
    part(&ring);
}

/* One vector withheld: the sum of any strict subset of the sites. */
static void strict_subset(struct attack_result *r)
{
    struct ring_of_sites ring;
    meet(&ring, 13);
    for (size_t round = 0; round < GUESSES; round++) {
        bool high = (test_random_next(&ring.random) & 1) != 0;
        struct nof1_ring sum = {{0}};
        for (size_t s = 0; s < SITES; s++) {
            struct nof1_ring y;
            uint8_t h[32];
            transcript_of(h, round, 0);
            MUST(nof1_ring_encode(&y, s > 0 ? 10.0 : high ? HIGH : LOW));
            MUST(attack_masker_apply(ring.masker[s], h, 1, &y));
            if (s != 1 + round % 4) {
                nof1_ring_add(&sum, &y);
            }
        }
        r->right += guess_high(&sum, 30 + LOW, 30 + HIGH) == high ? 1 : 0;
    }
    r->trials = GUESSES;
    part(&ring);
}

/* When an answer leaves: the site works two milliseconds where it has nothing to add, or five to
 * nine where it has, on a virtual clock; whoever sees the frames go guesses which. Size and number
 * of frames are alike (B16). */
static void moment_of_answer(struct attack_result *r)
{
    const struct hand_options options = {0};
    struct hand *h = hand_new(&options);
    struct nof1_site *site = h->site[0];
    struct test_random random = {17};
    struct nof1_actions actions;
    site->config.delay = attack_is_control() ? 0 : 10;
    for (size_t i = 0; i < GUESSES; i++) {
        bool much = (test_random_next(&random) & 1) != 0;
        int64_t asked = site->now + 1000, left = -1;
        int64_t work = much ? 5 + (int64_t)(test_random_next(&random) % 5) : 2;
        MUST(nof1_actions_init(&actions));
        site->actions = &actions;
        site->now = asked;
        if (site->config.delay == 0) { /* the control sends when the work is done */
            site->now += work;
            left = work;
        }
        MUST(nof1_site_answer(site, NULL, 0, nof1_slice_text("answer")));
        for (int64_t tick = work; left < 0 && tick <= 1000; tick++) {
            size_t before = actions.count;
            site->now = asked + tick;
            MUST(nof1_site_let_go(site));
            for (size_t a = before; a < actions.count; a++) {
                left = actions.action[a].kind == NOF1_ACTION_SEND ? tick : left;
            }
        }
        nof1_actions_free(&actions);
        cr_assert_geq(left, 0);
        /* seen before: an answer at this moment is of much work, or the parity of the guess */
        r->right += (left == 2 ? false : left < 10 ? true : (i & 1) != 0) == much ? 1 : 0;
    }
    site->actions = NULL;
    r->trials = GUESSES;
    hand_free(h);
}

const struct attack attacks_by_guessing[] = {
    {"A5", "split view", NULL, "transcript", split_view},
    {"A16", "coordinator and all but two sites", NULL, "masks", all_but_two_collude},
    {"B13", "sum of a strict subset", NULL, "masks", strict_subset},
    {"B35", "timing of answers", NULL, "", moment_of_answer},
    {0},
};
