/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A hostile coordinator or edge cannot make a site's ledger grow without bound (docs/protocol.md,
 * "What a site stores at most"): floods of invalid offers, strays, attempts of a valid plan and
 * reconnections run into limits, and what was not answered is counted in the ledger.
 */
#include "hand_query.h"

#define MINUTE 60000
#define DAY (INT64_C(86400) * 1000)

static const struct hand_options plain;

struct written { size_t entries, bytes, unanswered; };

static void note(struct written *written, const struct hand *h)
{
    const char *line = h->last_entry[0];
    cr_assert_lt(strlen(line), sizeof h->last_entry[0] - 1);
    while (*line != 0) {
        size_t length = strcspn(line, "\n");
        unsigned long count = 0;
        if (sscanf(line, "refusals.unanswered {\"count\":%lu", &count) == 1) {
            written->unanswered += count;
        }
        written->entries++;
        written->bytes += length;
        line += length + 1;
    }
}

/* An offer whose signature is that of nobody on the charter. */
static bool offer_forged(struct hand *h)
{
    uint8_t forged[NOF1_SIGNATURE_MAX];
    const struct nof1_slice real = h->plan_signature;
    memcpy(forged, real.data, real.length);
    forged[real.length - 1] ^= 1;
    h->plan_signature = nof1_slice_of(forged, real.length);
    hand_attempt(h);
    const Nof1__V1__Frame *reply = hand_offer(h, 0);
    h->plan_signature = real;
    cr_assert(reply == NULL ||
              strcmp(reply->refusal->code, nof1_rc_code(NOF1_E_UNAUTHORISED)) == 0);
    return reply != NULL;
}

Test(site_flood, forged_offers_are_refused_a_thousand_times_a_day)
{
    struct hand *h = hand_new(&plain);
    struct written written = {0};
    size_t sent = 0, answered = 0;
    h->now = (h->now / DAY + 1) * DAY;
    for (size_t minute = 0; minute < 20; minute++, h->now += MINUTE) {
        for (size_t i = 0; i < 100; i++, sent++) {
            answered += offer_forged(h) ? 1 : 0;
            note(&written, h);
        }
    }
    cr_expect_eq(answered, 1000);
    cr_expect_leq(written.entries, 2 * 1000 + 20);
    cr_expect_lt(written.bytes, 1000000, "%zu bytes", written.bytes);
    h->now += DAY;
    cr_expect(offer_forged(h), "silent on the next day");
    note(&written, h);
    cr_expect_eq(answered + written.unanswered, sent, "%zu counted", written.unanswered);
    hand_free(h);
}

Test(site_flood, attempts_of_one_plan_are_bounded_and_accepted_once)
{
    struct hand *h = hand_new(&plain);
    struct written written = {0};
    size_t keys = 0, refused = 0, accepted = 0;
    h->now = (h->now / DAY + 1) * DAY;
    for (size_t i = 0; i < 350; i++, h->now += 1000) {
        hand_attempt(h);
        const Nof1__V1__Frame *reply = hand_offer(h, 0);
        keys += reply != NULL && reply->body_case == NOF1__V1__FRAME__BODY_KEY_AD ? 1 : 0;
        refused += reply != NULL && reply->body_case == NOF1__V1__FRAME__BODY_REFUSAL ? 1 : 0;
        accepted += strstr(h->last_entry[0], "query.accepted") != NULL ? 1 : 0;
        note(&written, h);
    }
    cr_expect_eq(keys, 300 + 2 * h->policy[0].max_queries_day);
    cr_expect_eq(keys + refused, 350);
    cr_expect_eq(accepted, 1);
    cr_expect_lt(written.bytes, 300000, "%zu bytes", written.bytes);
    json_t *status = nof1_site_status(h->site[0]);
    const json_t *queries = json_object_get(status, "queries");
    cr_expect_leq(json_array_size(queries), 201);
    cr_expect_geq(json_array_size(queries), 200);
    json_decref(status);
    h->now += DAY;
    hand_attempt(h);
    cr_expect_eq(hand_offer(h, 0)->body_case, NOF1__V1__FRAME__BODY_KEY_AD);
    hand_free(h);
}

Test(site_flood, a_link_that_flaps_is_greeted_later)
{
    struct hand *h = hand_new(&plain);
    const struct nof1_event up = {.kind = NOF1_EVENT_LINK_UP}, timer = {.kind = NOF1_EVENT_TIMER};
    size_t greeted = 0;
    h->now = (h->now / DAY + 1) * DAY;
    for (size_t i = 0; i < 200; i++) {
        greeted += hand_event(h, 0, up, NULL) != NULL ? 1 : 0;
    }
    cr_expect_eq(greeted, 30);
    h->now += MINUTE;
    const Nof1__V1__Frame *reply = hand_event(h, 0, timer, NULL);
    cr_assert_not_null(reply);
    cr_expect_eq(reply->body_case, NOF1__V1__FRAME__BODY_HELLO);
    cr_expect_null(hand_event(h, 0, timer, NULL), "greeted twice");
    hand_free(h);
}
