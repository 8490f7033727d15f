/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a site refuses before the first round: offers and rosters that are not what charter, plan
 * and signatures say, each with its code.
 */
#include "hand_violation.h"

static const Nof1__V1__Frame *offer_with(struct hand *h, Nof1__V1__QueryOffer *offer)
{
    Nof1__V1__Frame frame = hand_frame(h);
    frame.body_case = NOF1__V1__FRAME__BODY_QUERY_OFFER;
    frame.query_offer = offer;
    return hand_send(h, 0, &frame);
}

static Nof1__V1__QueryOffer honest_offer(struct hand *h)
{
    Nof1__V1__QueryOffer offer = NOF1__V1__QUERY_OFFER__INIT;
    offer.charter = raw(h->charter->hash, 32);
    offer.plan = raw(h->plan.data, h->plan.length);
    offer.signature = raw(h->plan_signature.data, h->plan_signature.length);
    offer.statistician = (char *)(uintptr_t) "ada";
    return offer;
}

static const Nof1__V1__Frame *other_charter(struct hand *h)
{
    static const uint8_t other[32] = {1};
    Nof1__V1__QueryOffer offer = honest_offer(h);
    offer.charter = raw(other, 32);
    return offer_with(h, &offer);
}

static const Nof1__V1__Frame *other_hash(struct hand *h)
{
    Nof1__V1__QueryOffer offer = honest_offer(h);
    h->h_q[0] ^= 1;
    return offer_with(h, &offer);
}

static const Nof1__V1__Frame *unknown_statistician(struct hand *h)
{
    Nof1__V1__QueryOffer offer = honest_offer(h);
    offer.statistician = (char *)(uintptr_t) "eve";
    return offer_with(h, &offer);
}

static const Nof1__V1__Frame *unsigned_plan(struct hand *h)
{
    Nof1__V1__QueryOffer offer = honest_offer(h);
    offer.signature.data = nof1_arena_alloc(h->arena, offer.signature.len, 1);
    memcpy(offer.signature.data, h->plan_signature.data, offer.signature.len);
    offer.signature.data[offer.signature.len - 1] ^= 1;
    return offer_with(h, &offer);
}

/* Sign another text as if it were a plan. */
static const Nof1__V1__Frame *offer_text(struct hand *h, const char *from, const char *to)
{
    char *text = nof1_arena_alloc(h->arena, h->plan.length + strlen(to) + 1, 1);
    uint8_t digest[32], signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    memcpy(text, h->plan.data, h->plan.length);
    char *at = strstr(text, from);
    cr_assert_not_null(at, "%s in %s", from, text);
    memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
    memcpy(at, to, strlen(to));
    Nof1__V1__QueryOffer offer = honest_offer(h);
    offer.plan = raw(text, strlen(text));
    MUST(nof1_plan_hash(h->h_q, nof1_slice_text(text)));
    MUST(nof1_submit_digest(digest, h->h_q));
    MUST(nof1_sign(signature, &length, h->key[SITES], digest));
    offer.signature = raw(signature, length);
    return offer_with(h, &offer);
}

static const Nof1__V1__Frame *other_layout(struct hand *h)
{
    return offer_text(h, "\"elements\":[\"", "\"elements\":[\"x");
}

static const Nof1__V1__Frame *other_epoch(struct hand *h)
{
    return offer_text(h, "\"epoch\":1", "\"epoch\":2");
}

static const Nof1__V1__Frame *too_late(struct hand *h)
{
    h->now += INT64_C(40) * 86400 * 1000;
    return hand_offer(h, 0);
}

static const Nof1__V1__Frame *paused(struct hand *h)
{
    hand_event(h, 0, (struct nof1_event){.kind = NOF1_EVENT_PAUSE, .flag = true}, NULL);
    return hand_offer(h, 0);
}

static const Nof1__V1__Frame *paused_and_restarted(struct hand *h)
{
    hand_event(h, 0, (struct nof1_event){.kind = NOF1_EVENT_PAUSE, .flag = true}, NULL);
    hand_start(h, 0);
    return hand_offer(h, 0);
}

static const Nof1__V1__Frame *paused_midway(struct hand *h)
{
    hand_gather(h);
    hand_round(h, 0);
    return hand_event(h, 0, (struct nof1_event){.kind = NOF1_EVENT_PAUSE, .flag = true}, NULL);
}

static const Nof1__V1__Frame *unlisted_atom(struct hand *h)
{
    static const char *const other[] = {"e7"};
    hand_query(h, hand_complete(h, hand_plan_text, 1, other));
    hand_gather(h); /* nobody says at the offer whose patients are missing from the list */
    hand_round(h, 0);
    (void)hand_advance(h, 0);
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *long_atom(struct hand *h)
{
    return offer_text(h, "\"atoms\":[\"0\"]",
                      "\"atoms\":[\"0\",\"00000000000000000000000000000000000\"]");
}

static const Nof1__V1__Frame *atom_twice(struct hand *h)
{
    return offer_text(h, "\"atoms\":[\"0\"]", "\"atoms\":[\"0\",\"0\"]");
}

static const Nof1__V1__Frame *unknown_stratum(struct hand *h)
{
    return offer_text(h, "\"strata\":[]", "\"strata\":[\"X\"]");
}

static const Nof1__V1__Frame *long_title(struct hand *h)
{
    char title[260] = "\"title\":\"";
    memset(title + 9, 'x', 240);
    title[249] = 0;
    return offer_text(h, "\"title\":\"", title);
}

/* ---- rosters */

static const Nof1__V1__Frame *roster_short(struct hand *h)
{
    for (size_t s = 0; s < SITES; s++) {
        h->ad[s] = hand_offer(h, s)->key_ad;
    }
    return hand_roster(h, 0, h->ad, SITES - 1);
}

static const Nof1__V1__Frame *roster_twice(struct hand *h)
{
    for (size_t s = 0; s < SITES; s++) {
        h->ad[s] = hand_offer(h, s)->key_ad;
    }
    h->ad[2] = h->ad[1];
    return hand_roster(h, 0, h->ad, SITES);
}

/* An advertisement with a field changed, signed by `signer`. */
static const Nof1__V1__KeyAd *forged(struct hand *h, size_t site, const char *name,
                                     const uint8_t x25519[32], size_t signer)
{
    Nof1__V1__KeyAd *ad = nof1_arena_alloc(h->arena, 1, sizeof *ad);
    uint8_t digest[32], *signature = nof1_arena_alloc(h->arena, NOF1_SIGNATURE_MAX, 1);
    size_t length = 0;
    *ad = *h->ad[site];
    ad->site = (char *)(uintptr_t)name;
    ad->x25519 = raw(x25519, 32);
    const struct nof1_keyad fields = {ad->site, ad->charter.data, ad->plan.data, ad->attempt.data,
                                      ad->x25519.data, ad->nonce.data, {0}};
    MUST(nof1_keyad_digest(digest, &fields));
    MUST(nof1_sign(signature, &length, h->key[signer], digest));
    ad->signature = raw(signature, length);
    return ad;
}

static const Nof1__V1__Frame *roster_with(struct hand *h, size_t site, const char *name,
                                          const uint8_t *x25519, size_t signer)
{
    for (size_t s = 0; s < SITES; s++) {
        h->ad[s] = hand_offer(h, s)->key_ad;
    }
    h->ad[site] = forged(h, site, name, x25519 == NULL ? h->ad[1]->x25519.data : x25519, signer);
    return hand_roster(h, 0, h->ad, SITES);
}

static const uint8_t low_order[32] = {0};
static const uint8_t other_key[32] = {9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static const Nof1__V1__Frame *roster_sybil(struct hand *h)
{
    return roster_with(h, 3, "s9", other_key, 3);
}

static const Nof1__V1__Frame *roster_forged(struct hand *h)
{
    return roster_with(h, 3, "s3", other_key, 2);
}

static const Nof1__V1__Frame *roster_low_order(struct hand *h)
{
    return roster_with(h, 3, "s3", low_order, 3);
}

static const Nof1__V1__Frame *roster_shared_key(struct hand *h)
{
    return roster_with(h, 3, "s3", NULL, 3);
}

static const Nof1__V1__Frame *roster_own_changed(struct hand *h)
{
    return roster_with(h, 0, "s0", other_key, 0);
}

static const Nof1__V1__Frame *roster_replayed(struct hand *h)
{
    const Nof1__V1__KeyAd *old[SITES];
    hand_gather(h);
    memcpy(old, h->ad, sizeof old);
    hand_attempt(h);
    old[0] = hand_offer(h, 0)->key_ad;
    return hand_roster(h, 0, old, SITES);
}

static const Nof1__V1__Frame *roster_changed(struct hand *h)
{
    hand_gather(h);
    const Nof1__V1__KeyAd *swapped[SITES] = {h->ad[0], h->ad[2], h->ad[1], h->ad[3], h->ad[4]};
    return hand_roster(h, 0, swapped, SITES);
}

static const Nof1__V1__Frame *gathering_too_long(struct hand *h)
{
    hand_offer(h, 0);
    h->now += 3 * 3600 * 1000;
    return hand_event(h, 0, (struct nof1_event){.kind = NOF1_EVENT_TIMER}, NULL);
}

static const struct violation_row violations[] = {
    {"another charter", other_charter, "E2104", &plain},
    {"H_q is of another plan", other_hash, "E2503", &plain},
    {"nobody's plan", unknown_statistician, "E1008", &plain},
    {"signature of a plan", unsigned_plan, "E1008", &plain},
    {"layout not recomputed", other_layout, "E1016", &plain},
    {"another epoch", other_epoch, "E1016", &plain},
    {"after not_after", too_late, "E1010", &plain},
    {"paused", paused, "E2313", &plain},
    {"paused, restarted", paused_and_restarted, "E2313", &plain},
    {"paused midway", paused_midway, "E2313", &plain},
    {"atoms not listed", unlisted_atom, "E2210", &plain},
    {"an atom key too long", long_atom, "E1016", &plain},
    {"an atom twice", atom_twice, "E1016", &plain},
    {"a stratum that is no cell", unknown_stratum, "E2404", &plain},
    {"a title too long", long_title, "E2405", &plain},
    {"roster lacks a site", roster_short, "E2204", &plain},
    {"roster names a site twice", roster_twice, "E2204", &plain},
    {"a site that the charter lacks", roster_sybil, "E2104", &plain},
    {"key signed by another site", roster_forged, "E2105", &plain},
    {"low-order key", roster_low_order, "E2105", &plain},
    {"one key for two sites", roster_shared_key, "E2105", &plain},
    {"own key replaced", roster_own_changed, "E2503", &plain},
    {"keys of an earlier attempt", roster_replayed, "E2503", &plain},
    {"roster changed", roster_changed, "E2503", &plain},
    {"gathering too long", gathering_too_long, "E1010", &plain},
};

Test(site_gather, violations_are_refused_with_their_code_and_without_a_number, .timeout = 300)
{
    expect_refusals(violations, sizeof violations / sizeof violations[0]);
}
