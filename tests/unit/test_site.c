/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The site's session, driven by hand: the happy path, every violation of the protocol with the code
 * it is refused with, silent objections, and that no refusal carries or depends on a number of the
 * site.
 */
#include "hand.h"

#include <core/atoms.h>

static const struct hand_options plain = {0};
static const char score_plan[] =
    "plan: 1\ntitle: B against A\noutcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"
    "analysis: random_effects\nincomplete: score\ngather_by: 2h\ndeadline: 10m\n";
/* several rounds with parameters: only the lab allows so many numbers of twenty patients */
static const struct hand_options rounds = {.plan = score_plan, .preset = "open", .lab = true,
                                           .missing = true};

/* ---- the happy path ----------------------------------------------------------------------------- */

static struct nof1_slice stored_at(struct hand *h, size_t site, const char *key)
{
    for (size_t i = 0; i < h->stores[site]; i++) {
        if (strcmp(h->store[site][i].key, key) == 0) {
            return h->store[site][i].value;
        }
    }
    return (struct nof1_slice){0};
}

Test(site, census_and_query_are_attested)
{
    struct hand *h = hand_new(&plain);
    struct nof1_study study = {h->charter, h->census, h->query->study.plan};
    cr_expect_eq(nof1_census_count(&study, "patients"), 20);
    cr_expect_eq(nof1_census_count(&study, "y/sites"), 5);
    cr_expect_eq(nof1_census_count(&study, "y/class:3x3"), 20);
    cr_expect_eq(nof1_census_count(&study, "y/cycles:3"), 20);
    cr_expect_eq(nof1_census_count(&study, "y/pattern:3:3"), 20);
    cr_expect_eq(nof1_census_count(&study, "y/incomplete"), 0);
    cr_expect_eq(nof1_census_count(&study, "y/dominated"), 0);
    cr_expect_eq(nof1_census_count(&study, "stratum:F") + nof1_census_count(&study, "stratum:M"),
                 20);
    uint32_t last = hand_run(h);
    cr_expect_eq(last, h->query->study.plan->max_rounds);
    hand_end(h, true);
    for (size_t s = 0; s < SITES; s++) {
        cr_expect_not_null(strstr(h->last_entry[s], "\"released\":true"));
    }
    json_t *status = nof1_site_status(h->site[0]);
    json_t *queries = json_object_get(status, "queries");
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(queries, 0), "state")),
                     "released");
    cr_expect_eq(
        json_integer_value(json_object_get(json_object_get(status, "budget"), "queries")), 1);
    json_decref(status);
    hand_free(h);
}

Test(site, rounds_with_parameters_are_replayed_to_the_end)
{
    struct hand *h = hand_new(&rounds);
    cr_expect_gt(hand_run(h), 1);
    hand_free(h);
}

Test(site, identical_requests_get_the_same_answer_again)
{
    struct hand *h = hand_new(&plain);
    hand_gather(h);
    const Nof1__V1__Frame *again = hand_offer(h, 0);
    cr_expect_eq(memcmp(again->key_ad->x25519.data, h->ad[0]->x25519.data, 32), 0);
    cr_expect_null(hand_roster(h, 0, h->ad, SITES), "a repeated roster needs no answer");
    hand_round(h, 0);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, 0, &open);
    struct nof1_slice first, second;
    const struct nof1_event event = {.kind = NOF1_EVENT_FRAME, .bytes = hand_bytes(h, &frame)};
    hand_event(h, 0, event, &first);
    cr_expect_eq(h->puts, 0);
    hand_event(h, 0, event, &second);
    cr_expect(nof1_slice_equal(first, second));
    hand_free(h);
}

/* Restart every site between two runs of one plan: same totals, no second charge. */
Test(site, a_rerun_is_free_and_gives_the_same_totals)
{
    struct hand *h = hand_new(&plain);
    hand_run(h);
    struct nof1_slice total = h->total;
    struct nof1_slice atoms = stored_at(h, 0, "atoms/y");
    hand_end(h, false);
    for (size_t s = 0; s < SITES; s++) {
        hand_start(h, s);
    }
    hand_attempt(h);
    hand_run(h);
    cr_expect(nof1_slice_equal(total, h->total));
    cr_expect(nof1_slice_equal(atoms, stored_at(h, 0, "atoms/y")), "atoms are split once");
    json_t *status = nof1_site_status(h->site[0]);
    cr_expect_eq(
        json_integer_value(json_object_get(json_object_get(status, "budget"), "queries")), 1);
    json_decref(status);
    hand_free(h);
}

/* ---- violations --------------------------------------------------------------------------------- */

/* Each brings site 0 to the point, lies once, and returns site 0's reply. */
typedef const Nof1__V1__Frame *(*violation)(struct hand *h);

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
    return hand_offer(h, 0);
}

static const Nof1__V1__Frame *long_atom(struct hand *h)
{
    return offer_text(h, "\"atoms\":[\"0\"]",
                      "\"atoms\":[\"0\",\"000000000000000000000000000000000\"]");
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

/* ---- rounds */

static const Nof1__V1__Frame *round_before_roster(struct hand *h)
{
    hand_offer(h, 0);
    return hand_open(h, 0, 0);
}

static const Nof1__V1__Frame *round_skipped(struct hand *h)
{
    hand_gather(h);
    hand_round(h, 0);
    return hand_open(h, 0, 2);
}

static const Nof1__V1__Frame *round_of_other_attempt(struct hand *h)
{
    hand_gather(h);
    hand_round(h, 0);
    h->nonce[0] ^= 1;
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *round_after_restart(struct hand *h)
{
    hand_gather(h);
    hand_start(h, 0);
    return hand_open(h, 0, 0);
}

static const Nof1__V1__Frame *opening_with_parameters(struct hand *h)
{
    static uint64_t parameter[1];
    hand_gather(h);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, 0, &open);
    open.n_parameter = 1;
    open.parameter = parameter;
    return hand_send(h, 0, &frame);
}

/* Bring everybody to the point where round `round` can be opened. */
static void until(struct hand *h, uint32_t round)
{
    hand_gather(h);
    for (uint32_t r = 0; r < round; r++) {
        hand_round(h, r);
        cr_assert(hand_advance(h, r));
    }
}

static const Nof1__V1__Frame *round_changed(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    hand_advance(h, 1);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, 1, &open);
    open.n_parameter = 0;
    return hand_send(h, 0, &frame);
}

static const Nof1__V1__Frame *round_zero_again(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    return hand_open(h, 0, 0);
}

/* The vector of `site` with `delta` added to one element, signed by `signer`. */
static void tamper(struct hand *h, size_t site, size_t element, double delta, size_t signer)
{
    Nof1__V1__Masked *masked = nof1_arena_alloc(h->arena, 1, sizeof *masked);
    uint8_t digest[32], *signature = nof1_arena_alloc(h->arena, NOF1_SIGNATURE_MAX, 1);
    size_t length = 0;
    struct nof1_ring value, more;
    *masked = *h->masked[site];
    uint8_t *vector = nof1_arena_alloc(h->arena, masked->vector.len, 1);
    memcpy(vector, masked->vector.data, masked->vector.len);
    nof1_ring_read(&value, vector + element * NOF1_RING_BYTES);
    MUST(nof1_ring_encode(&more, delta));
    nof1_ring_add(&value, &more);
    nof1_ring_write(vector + element * NOF1_RING_BYTES, &value);
    masked->vector.data = vector;
    const struct nof1_statement statement = {masked->site, h->h_q, h->h_roster, masked->round,
                                             masked->transcript.data};
    MUST(nof1_masked_digest(digest, &statement, nof1_slice_of(vector, masked->vector.len)));
    MUST(nof1_sign(signature, &length, h->key[signer], digest));
    masked->signature = raw(signature, length);
    h->masked[site] = masked;
}

static const Nof1__V1__Frame *total_announced_wrong(struct hand *h)
{
    until(h, 1);
    uint8_t *bytes = (uint8_t *)(uintptr_t)h->total.data;
    bytes[NOF1_RING_BYTES + 16] ^= 1;
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *vector_tampered(struct hand *h)
{
    until(h, 1);
    tamper(h, 2, 1, 5, 3); /* not signed by its site */
    hand_add(h);
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *vector_own_changed(struct hand *h)
{
    until(h, 1);
    tamper(h, 0, 1, 5, 0);
    hand_add(h);
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *vector_left_out(struct hand *h)
{
    until(h, 1);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, 1, &open);
    open.n_previous = SITES - 1;
    return hand_send(h, 0, &frame);
}

static const Nof1__V1__Frame *vector_twice(struct hand *h)
{
    until(h, 1);
    h->masked[2] = h->masked[1];
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *vector_replayed(struct hand *h)
{
    const Nof1__V1__Masked *old[SITES];
    until(h, 1);
    memcpy(old, h->masked, sizeof old);
    hand_attempt(h);
    until(h, 1);
    h->masked[3] = old[3];
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *site_missing_in_sum(struct hand *h)
{
    until(h, 1);
    tamper(h, 2, 0, -1, 2);
    hand_add(h);
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *negative_counts(struct hand *h)
{
    until(h, 1);
    tamper(h, 2, 2, -1000, 2);
    hand_add(h);
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *trials_do_not_add_up(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    tamper(h, 2, 1, 1, 2);
    hand_add(h);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *sum_out_of_bounds(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    tamper(h, 2, h->elements - 1, 0x1p90, 2);
    hand_add(h);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *rerun_with_other_data(struct hand *h)
{
    hand_run(h);
    hand_attempt(h);
    until(h, 1);
    hand_round(h, 1);
    tamper(h, 2, 2, 1, 2);
    hand_add(h);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *rerun_with_other_counts(struct hand *h)
{
    hand_run(h);
    hand_attempt(h);
    until(h, 1);
    tamper(h, 2, 3, 1, 2);
    hand_add(h);
    return hand_open(h, 0, 1);
}

/* ---- parameters */

static const Nof1__V1__Frame *shifted(struct hand *h, int units)
{
    hand_gather(h);
    uint32_t round = 0;
    do {
        hand_round(h, round);
        cr_assert(hand_advance(h, round));
        round++;
    } while (h->parameters == 0 || h->parameter[0] == 0);
    double *parameter = nof1_arena_alloc(h->arena, h->parameters, sizeof *parameter);
    int exponent = 0;
    memcpy(parameter, h->parameter, h->parameters * sizeof *parameter);
    (void)frexp(parameter[0], &exponent);
    parameter[0] += units * ldexp(1.0, exponent - 40);
    h->parameter = parameter;
    return hand_open(h, 0, round);
}

static const Nof1__V1__Frame *two_units_off(struct hand *h)
{
    return shifted(h, 2);
}

static const Nof1__V1__Frame *not_rounded(struct hand *h)
{
    until(h, 1);
    while (h->parameters == 0) {
        hand_round(h, 1);
        cr_assert(hand_advance(h, 1));
    }
    double *parameter = nof1_arena_alloc(h->arena, h->parameters, sizeof *parameter);
    memcpy(parameter, h->parameter, h->parameters * sizeof *parameter);
    parameter[0] = parameter[0] == 0 ? 0x1p-1000 : nextafter(parameter[0], 1e9);
    h->parameter = parameter;
    return hand_open(h, 0, (uint32_t)h->history.rounds + 1);
}

static const Nof1__V1__Frame *outside_the_domain(struct hand *h)
{
    until(h, 1);
    while (h->parameters == 0) {
        hand_round(h, 1);
        cr_assert(hand_advance(h, 1));
    }
    double *parameter = nof1_arena_alloc(h->arena, h->parameters, sizeof *parameter);
    for (size_t p = 0; p < h->parameters; p++) {
        parameter[p] = -0x1p-20; /* a pole scan: a negative variance */
    }
    h->parameter = parameter;
    return hand_open(h, 0, (uint32_t)h->history.rounds + 1);
}

/* The first run's bits must come back, even where another unit would be close enough. */
static const Nof1__V1__Frame *rerun_with_other_parameters(struct hand *h)
{
    hand_run(h);
    hand_attempt(h);
    return shifted(h, 1);
}

static const Nof1__V1__Frame *closed_too_early(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *round_after_the_last(struct hand *h)
{
    uint32_t round = 0;
    hand_gather(h);
    hand_round(h, 0);
    while (hand_advance(h, round)) {
        hand_round(h, ++round);
    }
    return hand_open(h, 0, round + 1);
}

/* ---- the close */

static const Nof1__V1__Frame *close_of_other_round(struct hand *h)
{
    until(h, 1);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *close_tampered(struct hand *h)
{
    until(h, 1);
    hand_round(h, 1);
    tamper(h, 2, 2, 1, 2);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *close_changed(struct hand *h)
{
    hand_run(h);
    tamper(h, 2, 2, 1, 2);
    hand_add(h);
    return hand_close(h, 0, 1);
}

static const Nof1__V1__Frame *after_the_deadline(struct hand *h)
{
    until(h, 1);
    h->now += 11 * 60 * 1000;
    return hand_open(h, 0, 1);
}

static const Nof1__V1__Frame *timer_after_the_deadline(struct hand *h)
{
    until(h, 1);
    h->now += 11 * 60 * 1000;
    return hand_event(h, 0, (struct nof1_event){.kind = NOF1_EVENT_TIMER}, NULL);
}

static const Nof1__V1__Frame *gathering_too_long(struct hand *h)
{
    hand_offer(h, 0);
    h->now += 3 * 3600 * 1000;
    return hand_event(h, 0, (struct nof1_event){.kind = NOF1_EVENT_TIMER}, NULL);
}

static const struct violation_row {
    const char *name;
    violation run;
    const char *code;
    const struct hand_options *options;
} violations[] = {
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
    {"round before the roster", round_before_roster, "E2503", &plain},
    {"round skipped", round_skipped, "E2503", &plain},
    {"round of an unknown attempt", round_of_other_attempt, "E2503", &plain},
    {"round after a restart", round_after_restart, "E2503", &plain},
    {"parameters in round 0", opening_with_parameters, "E2503", &plain},
    {"second content for a round", round_changed, "E2310", &plain},
    {"round 0 again", round_zero_again, "E2310", &plain},
    {"announced total", total_announced_wrong, "E2504", &plain},
    {"vector not signed by its site", vector_tampered, "E2504", &plain},
    {"own vector changed", vector_own_changed, "E2504", &plain},
    {"vector left out", vector_left_out, "E2504", &plain},
    {"vector shown twice", vector_twice, "E2504", &plain},
    {"vector of an earlier attempt", vector_replayed, "E2503", &plain},
    {"a site missing in the sum", site_missing_in_sum, "E2501", &plain},
    {"negative counts", negative_counts, "E2501", &plain},
    {"a site objects", trials_do_not_add_up, "E2505", &plain},
    {"sum out of bounds", sum_out_of_bounds, "E2501", &plain},
    {"other data in a re-run", rerun_with_other_data, "E2502", &plain},
    {"other counts in a re-run", rerun_with_other_counts, "E2502", &plain},
    {"parameters off by two units", two_units_off, "E2305", &rounds},
    {"parameters not rounded", not_rounded, "E2305", &rounds},
    {"a negative variance", outside_the_domain, "E2306", &rounds},
    {"other parameters in a re-run", rerun_with_other_parameters, "E2305", &rounds},
    {"closed too early", closed_too_early, "E2305", &rounds},
    {"a round too many", round_after_the_last, "E2302", &plain},
    {"close of a round not answered", close_of_other_round, "E2503", &plain},
    {"close with other vectors", close_tampered, "E2504", &plain},
    {"second content of a close", close_changed, "E2310", &plain},
    {"deadline", after_the_deadline, "E1010", &plain},
    {"deadline, by timer", timer_after_the_deadline, "E1010", &plain},
    {"gathering too long", gathering_too_long, "E1010", &plain},
};

static void expect_signed(struct hand *h, const char *name, const Nof1__V1__Frame *frame)
{
    uint8_t digest[32];
    const Nof1__V1__Refusal *refusal = frame->refusal;
    MUST(nof1_refusal_digest(digest, refusal->site, frame->query.data, frame->attempt.data,
                             refusal->code));
    cr_expect_eq(nof1_verify(h->charter->site[0].vault_spki, digest,
                             nof1_slice_of(refusal->signature.data, refusal->signature.len)),
                 NOF1_OK, "%s: signature", name);
}

/* The refusal of a scenario as bytes with the signature blanked (ECDSA is not deterministic). */
static struct nof1_slice refusal_bytes(struct hand *h, const Nof1__V1__Frame *frame)
{
    Nof1__V1__Frame copy = *frame;
    Nof1__V1__Refusal refusal = *frame->refusal;
    refusal.signature = raw("x", 1);
    copy.refusal = &refusal;
    return hand_bytes(h, &copy);
}

Test(site, violations_are_refused_with_their_code_and_without_a_number, .timeout = 300)
{
    for (size_t i = 0; i < sizeof violations / sizeof violations[0]; i++) {
        const struct violation_row *row = &violations[i];
        struct hand_options other = *row->options;
        other.data_seed = 77;
        struct hand *a = hand_new(row->options), *b = hand_new(&other);
        const Nof1__V1__Frame *reply[2] = {row->run(a), row->run(b)};
        cr_assert_not_null(reply[0], "%s", row->name);
        cr_assert_eq(reply[0]->body_case, NOF1__V1__FRAME__BODY_REFUSAL, "%s", row->name);
        cr_expect_str_eq(reply[0]->refusal->code, row->code, "%s: %s (%s)", row->name,
                         reply[0]->refusal->code, reply[0]->refusal->text);
        cr_expect_eq(a->sends, 1, "%s", row->name);
        expect_signed(a, row->name, reply[0]);
        cr_expect(nof1_slice_equal(refusal_bytes(a, reply[0]), refusal_bytes(b, reply[1])),
                  "%s: the refusal depends on data", row->name);
        /* the keys are gone: whatever comes next is of no transcript */
        const Nof1__V1__Frame *after = hand_open(a, 0, 0);
        cr_expect(after->body_case == NOF1__V1__FRAME__BODY_REFUSAL &&
                      strcmp(after->refusal->code, "E2503") == 0,
                  "%s: answered after refusing", row->name);
        hand_free(a);
        hand_free(b);
    }
}

Test(site, one_unit_of_difference_is_accepted)
{
    struct hand *h = hand_new(&rounds);
    const Nof1__V1__Frame *reply = shifted(h, 1);
    cr_expect_eq(reply->body_case, NOF1__V1__FRAME__BODY_MASKED);
    hand_free(h);
}

/* ---- silent objections -------------------------------------------------------------------------- */

/* Round 1 after an objection of site 0: [0] still counts everybody, the rest is noise for all, and
 * every site, the objecting one included, then reports that a site objects. */
static void expect_objection(const char *name, const struct hand_options *options,
                             void (*change)(struct hand *h), const char *code)
{
    struct hand *h = hand_new(options);
    if (change != NULL) {
        change(h);
    }
    until(h, 1);
    hand_round(h, 1);
    char expected[64];
    snprintf(expected, sizeof expected, "\"code\":\"%s\"", code);
    cr_expect_not_null(strstr(h->last_entry[0], "query.objected"), "%s", name);
    cr_expect_not_null(strstr(h->last_entry[0], expected), "%s: %s", name, h->last_entry[0]);
    cr_expect_null(strstr(h->last_entry[1], "query.objected"), "%s", name);
    cr_expect_eq(h->value[0], SITES, "%s: the check element is kept", name);
    cr_expect_neq(h->value[1], (double)h->history.counts.trials, "%s", name);
    json_t *status = nof1_site_status(h->site[0]);
    json_t *query = json_array_get(json_object_get(status, "queries"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(query, "code")), code, "%s", name);
    json_decref(status);
    for (size_t s = 0; s < SITES; s++) {
        const Nof1__V1__Frame *reply = hand_close(h, s, 1);
        cr_expect_str_eq(reply->refusal->code, "E2505", "%s: site %zu", name, s);
        cr_expect_null(strstr(reply->refusal->text, code), "%s: site %zu", name, s);
    }
    hand_free(h);
}

static void no_share(struct hand *h)
{
    h->policy[0].max_site_share = 0.15;
    hand_start(h, 0);
}

static void more_others(struct hand *h)
{
    h->policy[0].min_others = 17;
    hand_start(h, 0);
}

static void less_ratio(struct hand *h)
{
    h->policy[0].max_net_ratio = 0.05;
    hand_start(h, 0);
}

static void no_weight(struct hand *h)
{
    h->policy[0].max_trial_share = 1e-3;
    h->policy[0].open = false;
    hand_start(h, 0);
}

static void value_out_of_bounds(struct hand *h)
{
    double *y = (double *)(uintptr_t)h->epoch[0].trial[0].outcome[0];
    y[0] = 1e30;
}

Test(site, objections_are_silent)
{
    expect_objection("site share", &plain, no_share, "E2207");
    expect_objection("others", &plain, more_others, "E2212");
    expect_objection("net ratio", &plain, less_ratio, "E2212");
    expect_objection("value", &plain, value_out_of_bounds, "E2403");
}

/* In a round with parameters. */
Test(site, a_heavy_trial_silences_its_site)
{
    struct hand *h = hand_new(&rounds);
    no_weight(h);
    hand_gather(h);
    uint32_t round = 0;
    hand_round(h, 0);
    while (h->parameters == 0 && hand_advance(h, round)) {
        hand_round(h, ++round);
    }
    cr_expect_not_null(strstr(h->last_entry[0], "E2208"), "%s", h->last_entry[0]);
    cr_expect_null(strstr(h->last_entry[1], "query.objected"));
    hand_free(h);
}

/* ---- budgets, approvals, the difference rule ---------------------------------------------------- */

static const char *plan_named(struct hand *h, const char *title, const char *more)
{
    return nof1_arena_printf(h->arena,
                             "plan: 1\ntitle: %s\noutcome: y\ntreatment: {reference: \"A\", "
                             "active: [\"B\"]}\nanalysis: random_effects\n%sgather_by: 2h\n"
                             "deadline: 10m\n",
                             title, more);
}

static const char *refusal_of(const Nof1__V1__Frame *frame)
{
    cr_assert_not_null(frame);
    return frame->body_case == NOF1__V1__FRAME__BODY_REFUSAL ? frame->refusal->code : "";
}

/* The list that the last plan leaves, as the coordinator makes it. */
static size_t atoms_after(struct hand *h, const char *const **atom)
{
    size_t atoms = 0;
    uint64_t used[8] = {0}, left[8] = {0};
    const struct nof1_plan *plan = h->query->study.plan;
    used[0] = 20;
    MUST(nof1_atoms_after(atom, &atoms, h->arena, plan, used, left, true));
    return atoms;
}

Test(site, budgets_count_distinct_plans_and_survive_restarts)
{
    struct hand_options options = plain;
    options.limits = "{max_queries_epoch: 3, max_queries_day: 2}";
    struct hand *h = hand_new(&options);
    for (size_t i = 0; i < 2; i++) { /* charged when round 0 is answered, released or not */
        hand_query(h, hand_complete(h, plan_named(h, i == 0 ? "first" : "second", ""), 0, NULL));
        hand_gather(h);
        cr_expect_eq(h->puts, 0, "nothing is charged before an answer");
        hand_round(h, 0);
        hand_end(h, false);
        hand_start(h, 0);
    }
    struct nof1_slice second = h->plan;
    hand_query(h, hand_complete(h, plan_named(h, "third", ""), 0, NULL));
    cr_expect_str_eq(refusal_of(hand_offer(h, 0)), "E2304");
    hand_query(h, second);
    cr_expect_eq(hand_offer(h, 0)->body_case, NOF1__V1__FRAME__BODY_KEY_AD, "a re-run is free");
    h->now += 86400 * 1000;
    hand_query(h, hand_complete(h, plan_named(h, "third", ""), 0, NULL));
    hand_gather(h);
    hand_round(h, 0);
    hand_end(h, false);
    h->now += 86400 * 1000;
    hand_query(h, hand_complete(h, plan_named(h, "fourth", ""), 0, NULL));
    cr_expect_str_eq(refusal_of(hand_offer(h, 0)), "E2303");
    hand_free(h);
}

Test(site, a_plan_may_wait_for_the_steward)
{
    const struct hand_options manual = {.manual = true};
    struct hand *h = hand_new(&manual);
    struct nof1_event approve = {.kind = NOF1_EVENT_APPROVE, .flag = true};
    cr_expect_null(hand_offer(h, 0), "the census needs no approval, a plan does");
    cr_expect_null(hand_offer(h, 0));
    approve.bytes = nof1_slice_of(h->h_q, 32);
    cr_expect_eq(hand_event(h, 0, approve, NULL)->body_case, NOF1__V1__FRAME__BODY_KEY_AD);
    cr_expect_null(hand_offer(h, 1));
    approve.flag = false;
    cr_expect_str_eq(refusal_of(hand_event(h, 1, approve, NULL)), "E2313");
    hand_start(h, 0); /* the approval is remembered */
    hand_attempt(h);
    cr_expect_eq(hand_offer(h, 0)->body_case, NOF1__V1__FRAME__BODY_KEY_AD);
    hand_free(h);
}

/* After a release nobody is in atom "0": plans against the old list are refused, plans against the
 * new one count the ratio of both. */
Test(site, releases_split_atoms_and_add_up_their_ratio)
{
    struct hand *h = hand_new(&plain);
    const char *const *atom = NULL;
    hand_run(h);
    hand_end(h, true);
    size_t atoms = atoms_after(h, &atom);
    cr_expect_eq(atoms, 1);
    cr_expect_str_neq(atom[0], "0");
    hand_query(h, hand_complete(h, plan_named(h, "again", "method: ML\n"), 0, NULL));
    cr_expect_str_eq(refusal_of(hand_offer(h, 0)), "E2210");
    size_t released = 0;
    const char *code = "";
    while (code[0] == 0 && released < 5) {
        hand_query(h, hand_complete(h, plan_named(h, released % 2 ? "odd" : "even",
                                                  released < 2 ? "method: ML\n"
                                                               : "method: DL\n"),
                                    atoms, atom));
        hand_gather(h);
        hand_round(h, 0);
        cr_assert(hand_advance(h, 0));
        code = refusal_of(hand_open(h, 0, 1));
        if (code[0] == 0) {
            hand_round(h, 1);
            for (size_t s = 0; s < SITES; s++) {
                cr_expect_str_eq(refusal_of(hand_close(h, s, 1)), "");
            }
            hand_end(h, true);
            atoms = atoms_after(h, &atom);
            released++;
        }
    }
    cr_expect_str_eq(code, "E2301", "2 of 20 numbers a plan: the fourth exceeds 0.33");
    cr_expect_eq(released, 2);
    hand_free(h);
}

/* Round 1 was answered but never closed: its numbers may be known, so the atoms are split all the
 * same, a plan that differs from it is measured against it, and only its own re-run passes. */
Test(site, an_unfinished_plan_counts)
{
    struct hand *h = hand_new(&plain);
    struct nof1_slice first = h->plan;
    hand_gather(h);
    hand_round(h, 0);
    hand_advance(h, 0);
    hand_round(h, 1);
    hand_end(h, false);
    hand_query(h, hand_complete(h, plan_named(h, "other", "method: ML\n"), 0, NULL));
    cr_expect_str_eq(refusal_of(hand_offer(h, 0)), "E2210");
    hand_query(h, first);
    hand_run(h);
    hand_free(h);
}

/* Series that changed at a freeze form one new atom; the others keep theirs. */
Test(site, a_new_epoch_makes_one_atom_of_what_changed)
{
    struct hand *h = hand_new(&plain);
    const char *const *atom = NULL;
    hand_run(h);
    hand_end(h, true);
    cr_assert_eq(atoms_after(h, &atom), 1);
    const char *const both[] = {atom[0], "e2"};
    for (size_t s = 0; s < SITES; s++) {
        ((uint8_t(*)[32])(uintptr_t)h->epoch[s].digest)[0][31] ^= 1; /* one patient a site */
        h->epoch[s].id = 2;
        hand_start(h, s);
    }
    hand_census(h);
    hand_query(h, hand_complete(h, plan_named(h, "epoch 2", ""), 1, atom));
    cr_expect_str_eq(refusal_of(hand_offer(h, 0)), "E2210", "e2 is not listed");
    hand_query(h, hand_complete(h, plan_named(h, "epoch 2", ""), 2, both));
    hand_gather(h);
    hand_round(h, 0);
    hand_advance(h, 0);
    cr_expect_eq(h->value[h->opening.atom_first], 15);
    cr_expect_eq(h->value[h->opening.atom_first + 4], 5);
    cr_expect_str_eq(refusal_of(hand_open(h, 0, 1)), "E2210", "five changed patients are too few");
    hand_free(h);
}

/* A frame that is none, and a notice of a census, change nothing. */
Test(site, noise_is_ignored)
{
    struct hand *h = hand_new(&plain);
    Nof1__V1__CensusNotice notice = NOF1__V1__CENSUS_NOTICE__INIT;
    notice.epoch = 1;
    notice.census = raw("{}", 2);
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.body_case = NOF1__V1__FRAME__BODY_CENSUS_NOTICE;
    frame.census_notice = &notice;
    cr_expect_null(hand_send(h, 0, &frame));
    for (size_t length = 0; length < 200; length++) {
        uint8_t bytes[200];
        hand_fill(&h->random, bytes, length);
        cr_expect_null(hand_event(h, 0,
                                  (struct nof1_event){.kind = NOF1_EVENT_FRAME,
                                                      .bytes = nof1_slice_of(bytes, length)},
                                  NULL));
    }
    hand_event(h, 0, (struct nof1_event){.kind = NOF1_EVENT_LINK_DOWN}, NULL);
    hand_run(h);
    hand_free(h);
}

Test(site, identity_is_checked_at_the_start)
{
    struct hand *h = hand_new(&plain);
    struct nof1_site *site = NULL;
    struct nof1_site_config config = {.id = "s0", .charter = h->charter, .policy = h->policy[0],
                                      .key = h->key[1], .epoch = &h->epoch[0],
                                      .entropy = {hand_fill, &h->entropy[0]}};
    cr_expect_eq(nof1_site_new(&site, &config, NULL), NOF1_E2104, "another key");
    config.id = "s9";
    cr_expect_eq(nof1_site_new(&site, &config, NULL), NOF1_E2104, "not on the charter");
    config.id = "s0";
    config.key = h->key[0];
    config.policy.open = true;
    cr_expect_eq(nof1_site_new(&site, &config, NULL), NOF1_E_CONFIG, "open outside the lab");
    hand_free(h);
    struct hand *lab = hand_new(&rounds);
    config = (struct nof1_site_config){.id = "s0", .charter = lab->charter,
                                       .policy = lab->policy[0], .key = lab->key[0],
                                       .epoch = &lab->epoch[0],
                                       .entropy = {hand_fill, &lab->entropy[0]}};
    cr_expect_eq(nof1_site_new(&site, &config, NULL), NOF1_E_CONFIG, "a deployed vault");
    hand_free(lab);
}
