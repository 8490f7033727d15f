/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attacks on who is in the sum and on the keys between sites: small rosters, rosters less one, keys
 * in the middle, invented sites, weak keys. The victim is s0 (or s4, who is left out).
 */
#include "attack_crowd.h"

/* Does the sum of the crowd, less what all but its first member hold, give the first one's numbers?
 */
static void win_by_subtraction(struct attack_result *r, struct hand *h, const struct crowd *crowd)
{
    double truth[256], other[256];
    if (!crowd_until(r, h, crowd, 1)) {
        return;
    }
    size_t n = h->elements - 2;
    truth_of(h, crowd->site[0], 0, h->epoch[crowd->site[0]].trials, 1, NULL, truth);
    double *rest = kept(h) + 2;
    for (size_t i = 1; i < crowd->n; i++) {
        truth_of(h, crowd->site[i], 0, h->epoch[crowd->site[i]].trials, 1, NULL, other);
        for (size_t e = 0; e < n; e++) {
            rest[e] -= other[e];
        }
    }
    r->won = found(rest, truth, n, 1e-9);
}

/* A1: a plan of too few sites; where it is answered, the coordinator and one colluder share s0. */
static void small_roster(struct attack_result *r)
{
    static const struct crowd two = {2, {0, 1}};
    struct hand *h = hand_new(&plain);
    h->policy[0].min_sites = SITES + 1;
    hand_start(h, 0);
    win_by_subtraction(r, h, &two);
    hand_free(h);
}

/* A2: everybody, then everybody but s4. */
static void all_but_one(struct attack_result *r)
{
    static const struct crowd less = {4, {0, 1, 2, 3}};
    struct hand *h = hand_new(&plain);
    double truth[256];
    cr_assert(crowd_until(r, h, &everybody, 1));
    double *all = kept(h);
    size_t n = h->elements - 2;
    truth_of(h, 4, 0, h->epoch[4].trials, 1, NULL, truth);
    hand_end(h, false);
    hand_attempt(h);
    if (crowd_until(r, h, &less, 1)) {
        for (size_t e = 0; e < n; e++) {
            all[2 + e] -= h->value[2 + e];
        }
        r->won = found(all + 2, truth, n, 1e-9);
    }
    hand_free(h);
}

/* An advertisement under `name` with a public key of the attacker's, signed by `signer`'s vault. */
static const Nof1__V1__KeyAd *invented(struct hand *h, const Nof1__V1__KeyAd *like,
                                       const char *name, const uint8_t *public, size_t signer)
{
    Nof1__V1__KeyAd *ad = nof1_arena_alloc(h->arena, 1, sizeof *ad);
    uint8_t digest[32], *signature = nof1_arena_alloc(h->arena, NOF1_SIGNATURE_MAX, 1);
    size_t length = 0;
    *ad = *like;
    ad->site = (char *)(uintptr_t)name;
    ad->x25519 = raw(public, 32);
    const struct nof1_keyad fields = {ad->site, ad->charter.data, ad->plan.data, ad->attempt.data,
                                      ad->x25519.data, ad->nonce.data, {0}};
    MUST(nof1_keyad_digest(digest, &fields));
    MUST(nof1_sign(signature, &length, h->key[signer], digest));
    ad->signature = raw(signature, length);
    return ad;
}

/* The attacker knows the secret keys of these peers of s0: take their masks off s0's answer to
 * round 1 and look. ad[0] is s0's own advertisement. */
static void unmask(struct attack_result *r, struct hand *h, const struct crowd *crowd,
                   uint8_t (*secret)[32], const char *const *name)
{
    const uint8_t *victim = h->ad[0]->x25519.data;
    struct nof1_masker *masker[SITES] = {0};
    struct nof1_ring y[256];
    double truth[256], guess[256];
    crowd_hash(h, crowd);
    const Nof1__V1__Frame *reply = hand_roster(h, 0, h->ad, crowd->n);
    if (reply != NULL && refused(r, reply)) {
        return;
    }
    for (size_t i = 1; i < crowd->n; i++) {
        const struct nof1_peer peer = {.id = "s0", .x25519 = victim};
        MUST(nof1_masker_new(&masker[i], secret[i], name[i], 1, &peer, h->h_q, h->h_roster));
    }
    reply = hand_open(h, 0, 0);
    if (refused(r, reply)) {
        return;
    }
    const ProtobufCBinaryData vector = reply->masked->vector;
    size_t n = vector.len / NOF1_RING_BYTES;
    for (size_t e = 0; e < n; e++) {
        nof1_ring_read(&y[e], vector.data + e * NOF1_RING_BYTES);
    }
    for (size_t i = 1; i < crowd->n; i++) {
        MUST(nof1_masker_apply(masker[i], h->transcript, n, y)); /* of the other sign */
        nof1_masker_free(masker[i]);
    }
    for (size_t e = 0; e < n; e++) {
        guess[e] = nof1_ring_decode(&y[e]);
    }
    truth[0] = 1; /* round 0: this site, its trials, its patients */
    truth[1] = truth[2] = (double)h->epoch[0].trials;
    r->won = found(guess, truth, 3, 0);
}

static void with_known_peers(struct attack_result *r, const char *const *name, bool signed_by_site)
{
    struct hand *h = hand_new(&plain);
    uint8_t secret[SITES][32], public[SITES][32];
    cr_assert(crowd_offer(r, h, &everybody));
    for (size_t i = 1; i < SITES; i++) {
        memset(secret[i], (int)(64 + i), 32);
        MUST(nof1_x25519_public(public[i], secret[i]));
        h->ad[i] = invented(h, h->ad[i], name[i], public[i], signed_by_site ? i : 0);
    }
    unmask(r, h, &everybody, secret, name);
    hand_free(h);
}

/* A3: the coordinator's own keys under everybody's name. */
static void key_in_the_middle(struct attack_result *r)
{
    static const char *const name[] = {"s0", "s1", "s2", "s3", "s4"};
    with_known_peers(r, name, false);
}

/* A4: four colluders would know all of s0's peers, were one of them not an invention: three members
 * of the charter collude and s9 takes the place of s3. */
static void sybil(struct attack_result *r)
{
    static const char *const name[] = {"s0", "s1", "s2", "s9", "s4"};
    with_known_peers(r, name, true);
}

/* A19: the peers' keys are points of low order, so the shared secrets would be zero and known to
 * anybody. The control stands for a vault that does not look at the result of the derivation. */
static void low_order(struct attack_result *r)
{
    static const char *const name[] = {"s0", "s1", "s2", "s3", "s4"};
    if (attack_is_control()) {
        with_known_peers(r, name, true);
        return;
    }
    static const uint8_t zero[SITES][32] = {{0}, {0}, {1}, {0}, {1}};
    struct hand *h = hand_new(&plain);
    cr_assert(crowd_offer(r, h, &everybody));
    for (size_t i = 1; i < SITES; i++) {
        h->ad[i] = invented(h, h->ad[i], name[i], zero[i], i);
    }
    cr_assert(refused(r, hand_roster(h, 0, h->ad, SITES)));
    hand_free(h);
}

/* A malicious edge replaces its own vault's advertisement before it comes back. */
static void own_edge(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    uint8_t secret[32], public[32];
    memset(secret, 77, 32);
    MUST(nof1_x25519_public(public, secret));
    cr_assert(crowd_offer(r, h, &everybody));
    h->ad[0] = invented(h, h->ad[0], "s0", public, 0);
    crowd_hash(h, &everybody);
    const Nof1__V1__Frame *reply = hand_roster(h, 0, h->ad, SITES);
    r->won = reply == NULL; /* s0 goes on with a roster in which its key is the edge's */
    if (reply != NULL) {
        refused(r, reply);
    }
    hand_free(h);
}

/* Two sites under one key share their masks with each other's peers. */
static void one_key_twice(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    cr_assert(crowd_offer(r, h, &everybody));
    h->ad[2] = invented(h, h->ad[2], "s2", h->ad[1]->x25519.data, 2);
    crowd_hash(h, &everybody);
    const Nof1__V1__Frame *reply = hand_roster(h, 0, h->ad, SITES);
    r->won = reply == NULL;
    if (reply != NULL) {
        refused(r, reply);
    }
    hand_free(h);
}

/* A roster that was accepted is given again with another key. */
static void thawed_roster(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    uint8_t secret[32], public[32];
    memset(secret, 78, 32);
    MUST(nof1_x25519_public(public, secret));
    cr_assert(crowd_gather(r, h, &everybody));
    h->ad[3] = invented(h, h->ad[3], "s3", public, 3);
    const Nof1__V1__Frame *reply = hand_roster(h, 0, h->ad, SITES);
    r->won = reply == NULL;
    if (reply != NULL) {
        refused(r, reply);
    }
    hand_free(h);
}

/* A query of another study with the same sites and keys. */
static void other_study(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    struct nof1_charter *other = (struct nof1_charter *)(uintptr_t)h->charter;
    other->hash[5] ^= 1; /* as the coordinator sends it */
    Nof1__V1__QueryOffer offer = NOF1__V1__QUERY_OFFER__INIT;
    uint8_t foreign[32];
    memcpy(foreign, other->hash, 32);
    other->hash[5] ^= 1;
    offer.charter = raw(foreign, 32);
    offer.plan = raw(h->plan.data, h->plan.length);
    offer.signature = raw(h->plan_signature.data, h->plan_signature.length);
    offer.statistician = (char *)(uintptr_t) "ada";
    Nof1__V1__Frame frame = hand_frame(h);
    frame.body_case = NOF1__V1__FRAME__BODY_QUERY_OFFER;
    frame.query_offer = &offer;
    const Nof1__V1__Frame *reply = hand_send(h, 0, &frame);
    r->won = !refused(r, reply);
    hand_free(h);
}

#define SMALL "E2201 E2204 E2205 E2206 E2209 E2210 E2301 E2307 E2308 E2311 E2212 E2501 E2504 E2505"

const struct attack attacks_on_keys[] = {
    {"A1", "roster of two sites", "E2201", SMALL, small_roster},
    {"A2", "everybody, then everybody but one", "E2204", "rules", all_but_one},
    {"A3", "keys in the middle", "E2105", "E2105", key_in_the_middle},
    {"A4", "site that is not on the charter", "E2104", "E2104 E2204 E2105", sybil},
    {"A19", "keys of low order", "E2105", "E2105", low_order},
    {"B1", "edge swaps its own vault's key", "E2503", "E2503", own_edge},
    {"B2", "one key for two sites", "E2105", "E2105", one_key_twice},
    {"B3", "frozen roster given again with another key", "E2503", "E2503", thawed_roster},
    {"B4", "offer replayed from another study", "E2104", "E2104", other_study},
    {0},
};
