/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The steward's preview: the numbers of all sites' previews add up to the totals that the masked
 * rounds give, bit for bit, so what is shown is what leaves under the masks; it stores and sends
 * nothing. And the steward's decisions: a refusal is final, a withdrawal stops one epoch.
 */
#include <base/hex.h>
#include <base/json.h>

#include "hand_query.h"

/* Add the encoding of a preview's round into sum; its number of elements. */
static size_t add_preview(struct hand *h, size_t site, size_t round, struct nof1_ring *sum)
{
    json_t *shown = NULL;
    struct nof1_error error = {0};
    MUST(nof1_site_preview(&shown, h->site[site], h->h_q, &error));
    const json_t *part = json_array_get(json_object_get(shown, "rounds"), round);
    cr_assert_eq(json_integer_value(json_object_get(part, "round")), (json_int_t)round);
    size_t elements = json_array_size(json_object_get(part, "numbers"));
    const char *hex = json_string_value(json_object_get(json_object_get(part, "unmasked"), "hex"));
    uint8_t *bytes = nof1_arena_alloc(h->arena, elements, NOF1_RING_BYTES);
    cr_assert(nof1_hex_read(bytes, elements * NOF1_RING_BYTES, hex));
    for (size_t e = 0; e < elements; e++) {
        struct nof1_ring one;
        nof1_ring_read(&one, bytes + e * NOF1_RING_BYTES);
        nof1_ring_add(&sum[e], &one);
    }
    json_decref(shown);
    return elements;
}

static void expect_preview_adds_up(struct hand *h, uint32_t round)
{
    struct nof1_ring sum[256] = {{{0}}};
    size_t elements = 0, stored = h->stores[0];
    for (size_t s = 0; s < SITES; s++) {
        elements = add_preview(h, s, round, sum);
    }
    cr_expect_eq(h->stores[0], stored);
    hand_round(h, round);
    cr_assert_eq(elements, h->elements);
    for (size_t e = 0; e < elements; e++) {
        struct nof1_ring total;
        nof1_ring_read(&total, h->total.data + e * NOF1_RING_BYTES);
        cr_expect(nof1_ring_equal(&total, &sum[e]), "round %u, element %zu", round, e);
    }
}

/* What is said to have left is what left. */
static void expect_masked_shown(struct hand *h, uint32_t round)
{
    json_t *shown = NULL;
    struct nof1_error error = {0};
    MUST(nof1_site_preview(&shown, h->site[0], h->h_q, &error));
    const json_t *masked = json_object_get(shown, "masked");
    const char *hex = json_string_value(json_object_get(masked, "hex"));
    uint8_t *bytes = nof1_arena_alloc(h->arena, h->masked[0]->vector.len, 1);
    cr_assert(nof1_hex_read(bytes, h->masked[0]->vector.len, hex));
    cr_expect_eq(memcmp(bytes, h->masked[0]->vector.data, h->masked[0]->vector.len), 0);
    cr_expect_eq(json_integer_value(json_object_get(masked, "round")), (json_int_t)round);
    json_decref(shown);
}

Test(site_preview, what_is_shown_is_what_the_masked_rounds_add)
{
    struct hand *h = hand_new(&plain);
    json_t *shown = NULL;
    struct nof1_error error = {0};
    cr_expect_eq(nof1_site_preview(&shown, h->site[0], h->h_q, &error), NOF1_E_NOT_FOUND);
    hand_gather(h);
    expect_preview_adds_up(h, 0);
    expect_masked_shown(h, 0);
    cr_assert(hand_advance(h, 0));
    cr_assert_eq(h->parameters, 0, "a form whose first round has no parameters");
    expect_preview_adds_up(h, 1);
    expect_masked_shown(h, 1);
    hand_free(h);
}

static nof1_rc_value decide(struct hand *h, bool approve)
{
    struct nof1_event event = {.kind = NOF1_EVENT_APPROVE, .flag = approve,
                               .bytes = nof1_slice_of(h->h_q, 32)};
    (void)hand_event(h, 0, event, NULL);
    return nof1_site_declined(h->site[0], h->h_q) ? NOF1_E2313 : NOF1_OK;
}

Test(site_preview, a_refusal_is_final_even_after_a_restart)
{
    struct hand_options options = plain;
    options.manual = true;
    struct hand *h = hand_new(&options);
    cr_assert_null(hand_offer(h, 0), "waits");
    cr_expect_eq(decide(h, false), NOF1_E2313);
    cr_expect_eq(decide(h, true), NOF1_E2313);
    hand_start(h, 0);
    cr_expect_eq(decide(h, true), NOF1_E2313);
    const Nof1__V1__Frame *reply = hand_offer(h, 0);
    cr_assert_not_null(reply);
    cr_assert_eq(reply->body_case, NOF1__V1__FRAME__BODY_REFUSAL);
    cr_expect_str_eq(reply->refusal->code, "E2313");
    hand_free(h);
}

/* Whatever is frozen up to it holds the patient; what is frozen after it does not. */
Test(site_preview, a_withdrawal_stops_the_epochs_up_to_its_own)
{
    static const char *const stored[] = {"{\"epoch\":1}", "{\"epoch\":2}", "{\"epoch\":0}"};
    for (size_t i = 0; i < 3; i++) {
        struct hand *h = hand_new(&plain);
        hand_put(h, 0, "stopped", nof1_slice_text(stored[i]));
        hand_start(h, 0);
        const Nof1__V1__Frame *reply = hand_offer(h, 0);
        cr_assert_not_null(reply);
        cr_expect_eq(reply->body_case, i < 2 ? NOF1__V1__FRAME__BODY_REFUSAL
                                             : NOF1__V1__FRAME__BODY_KEY_AD);
        hand_free(h);
    }
}

/* Messages of no attempt are answered and logged, and stop being both when they flood. */
Test(site_preview, a_flood_of_strays_is_not_answered)
{
    struct hand *h = hand_new(&plain);
    size_t answered = 0;
    for (size_t i = 0; i < 200; i++) {
        const Nof1__V1__Frame *reply = hand_open(h, 0, 0);
        answered += reply != NULL ? 1 : 0;
        cr_expect_eq(reply != NULL, strstr(h->last_entry[0], "frame.sent") != NULL);
    }
    cr_expect_eq(answered, 60);
    h->now += 60000;
    cr_expect_not_null(hand_open(h, 0, 0));
    hand_free(h);
}
