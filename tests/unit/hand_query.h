/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A query driven by hand through the sessions of hand.h: offers, rosters, rounds and closes as an
 * honest coordinator makes them, and the tools of a dishonest one.
 */
#ifndef NOF1_TEST_HAND_QUERY_H
#define NOF1_TEST_HAND_QUERY_H

#include "hand.h"

static inline void hand_attempt(struct hand *h)
{
    for (size_t i = 0; i < 32; i++) {
        h->nonce[i] = (uint8_t)test_random_next(&h->random);
    }
    memset(h->ad, 0, sizeof h->ad);
    memset(h->masked, 0, sizeof h->masked);
    h->history = (struct nof1_history){.round = h->rounds};
    h->parameters = 0;
}

static inline void hand_query(struct hand *h, struct nof1_slice plan)
{
    struct nof1_error error = {0};
    uint8_t digest[32], signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    nof1_query_free(h->query);
    h->query = NULL;
    h->plan = plan;
    nof1_rc_value rc = nof1_query_new(&h->query, h->charter, h->census, plan, &error);
    cr_assert_eq(rc, NOF1_OK, "%s %s", nof1_rc_code(rc), error.message);
    MUST(nof1_plan_hash(h->h_q, plan));
    MUST(nof1_submit_digest(digest, h->h_q));
    MUST(nof1_sign(signature, &length, h->key[SITES], digest));
    h->plan_signature = nof1_arena_copy(h->arena, nof1_slice_of(signature, length));
    hand_attempt(h);
}

static inline struct nof1_slice hand_complete(struct hand *h, const char *yaml, size_t atoms,
                                       const char *const *atom)
{
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_plan *plan = NULL;
    struct nof1_buffer bytes = {0};
    nof1_rc_value rc =
        nof1_yaml_read(&node, h->arena, "plan", nof1_slice_text(yaml), &error);
    rc = rc ? rc : nof1_plan_from_yaml(&plan, h->arena, node, h->charter, &error);
    cr_assert_eq(rc, NOF1_OK, "%s", error.message);
    struct nof1_plan filled = *plan;
    filled.atoms = atoms;
    filled.atom = atom;
    filled.epoch = h->block_epoch != NULL ? 0 : h->epoch[0].id;
    filled.block_epoch = h->block_epoch;
    rc = nof1_query_complete(&bytes, h->charter, h->census, &filled, h->now / 1000, &error);
    cr_assert_eq(rc, NOF1_OK, "%s %s", nof1_rc_code(rc), error.message);
    struct nof1_slice copy = nof1_arena_copy(h->arena, nof1_buffer_slice(&bytes));
    nof1_buffer_free(&bytes);
    return copy;
}

static inline Nof1__V1__Frame hand_frame(struct hand *h)
{
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = raw(h->h_q, 32);
    frame.attempt = raw(h->nonce, 32);
    return frame;
}

static inline const Nof1__V1__Frame *hand_offer(struct hand *h, size_t site)
{
    Nof1__V1__QueryOffer offer = NOF1__V1__QUERY_OFFER__INIT;
    offer.charter = raw(h->charter->hash, 32);
    offer.plan = raw(h->plan.data, h->plan.length);
    offer.signature = raw(h->plan_signature.data, h->plan_signature.length);
    offer.statistician = (char *)(uintptr_t) "ada";
    Nof1__V1__Frame frame = hand_frame(h);
    frame.body_case = NOF1__V1__FRAME__BODY_QUERY_OFFER;
    frame.query_offer = &offer;
    return hand_send(h, site, &frame);
}

static inline const Nof1__V1__Frame *hand_roster(struct hand *h, size_t site,
                                          const Nof1__V1__KeyAd *const *ad, size_t ads)
{
    Nof1__V1__Roster roster = NOF1__V1__ROSTER__INIT;
    roster.n_key_ad = ads;
    roster.key_ad = (Nof1__V1__KeyAd **)(uintptr_t)ad;
    Nof1__V1__Frame frame = hand_frame(h);
    frame.body_case = NOF1__V1__FRAME__BODY_ROSTER;
    frame.roster = &roster;
    return hand_send(h, site, &frame);
}

/* Offer and roster at every site; h->h_roster and h_0 as everybody computes them. */
static inline void hand_gather(struct hand *h)
{
    struct nof1_keyad fields[SITES];
    for (size_t s = 0; s < SITES; s++) {
        const Nof1__V1__Frame *reply = hand_offer(h, s);
        cr_assert_not_null(reply);
        cr_assert_eq(reply->body_case, NOF1__V1__FRAME__BODY_KEY_AD, "%s %s",
                     reply->body_case == NOF1__V1__FRAME__BODY_REFUSAL ? reply->refusal->code : "",
                     reply->body_case == NOF1__V1__FRAME__BODY_REFUSAL ? reply->refusal->text : "");
        h->ad[s] = reply->key_ad;
        const Nof1__V1__KeyAd *ad = h->ad[s];
        fields[s] = (struct nof1_keyad){ad->site, ad->charter.data, ad->plan.data,
                                        ad->attempt.data, ad->x25519.data, ad->nonce.data,
                                        nof1_slice_of(ad->signature.data, ad->signature.len)};
    }
    MUST(nof1_roster_hash(h->h_roster, SITES, fields));
    MUST(nof1_transcript_open(h->transcript, h->charter->hash, h->h_q, h->h_roster));
    for (size_t s = 0; s < SITES; s++) {
        cr_assert_null(hand_roster(h, s, h->ad, SITES));
    }
}

static inline Nof1__V1__Frame hand_open_frame(struct hand *h, uint32_t round,
                                              Nof1__V1__RoundOpen *open)
{
    *open = (Nof1__V1__RoundOpen)NOF1__V1__ROUND_OPEN__INIT;
    open->round = round;
    if (round > 0) {
        open->n_parameter = h->parameters;
        open->parameter = nof1_arena_alloc(h->arena, h->parameters + 1, sizeof(uint64_t));
        memcpy(open->parameter, h->parameter, h->parameters * sizeof(uint64_t));
        open->previous_total = raw(h->total.data, h->total.length);
        open->n_previous = SITES;
        open->previous = (Nof1__V1__Masked **)(uintptr_t)h->masked;
    }
    Nof1__V1__Frame frame = hand_frame(h);
    frame.body_case = NOF1__V1__FRAME__BODY_ROUND_OPEN;
    frame.round_open = open;
    return frame;
}

static inline const Nof1__V1__Frame *hand_open(struct hand *h, size_t site, uint32_t round)
{
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, round, &open);
    return hand_send(h, site, &frame);
}

/* Add up h->masked. */
static inline void hand_add(struct hand *h)
{
    h->elements = h->masked[0]->vector.len / NOF1_RING_BYTES;
    uint8_t *bytes = nof1_arena_alloc(h->arena, h->elements, NOF1_RING_BYTES);
    h->value = nof1_arena_alloc(h->arena, h->elements, sizeof(double));
    for (size_t e = 0; e < h->elements; e++) {
        struct nof1_ring sum = {{0}};
        for (size_t s = 0; s < SITES; s++) {
            struct nof1_ring one;
            nof1_ring_read(&one, h->masked[s]->vector.data + e * NOF1_RING_BYTES);
            nof1_ring_add(&sum, &one);
        }
        nof1_ring_write(bytes + e * NOF1_RING_BYTES, &sum);
        h->value[e] = nof1_ring_decode(&sum);
    }
    h->total = nof1_slice_of(bytes, h->elements * NOF1_RING_BYTES);
}

/* A round at every site, all of which must answer; the total is in h->total. */
static inline void hand_round(struct hand *h, uint32_t round)
{
    const Nof1__V1__Masked *answer[SITES];
    for (size_t s = 0; s < SITES; s++) {
        const Nof1__V1__Frame *reply = hand_open(h, s, round);
        cr_assert_not_null(reply);
        cr_assert_eq(reply->body_case, NOF1__V1__FRAME__BODY_MASKED, "site %zu round %u: %s %s", s,
                     round,
                     reply->body_case == NOF1__V1__FRAME__BODY_REFUSAL ? reply->refusal->code : "",
                     reply->body_case == NOF1__V1__FRAME__BODY_REFUSAL ? reply->refusal->text : "");
        answer[s] = reply->masked;
    }
    memcpy(h->masked, answer, sizeof answer);
    memcpy(h->transcript, h->masked[0]->transcript.data, 32);
    hand_add(h);
}

/* Take h->total into the coordinator's history and find the next parameters. False: done. */
static inline bool hand_advance(struct hand *h, uint32_t round)
{
    struct nof1_next next = {0};
    struct nof1_error error = {0};
    if (round == 0) {
        MUST(nof1_opening_layout(&h->opening, h->arena, h->query->model,
                                 h->query->study.plan->atoms));
        MUST(nof1_opening_counts(&h->history.counts, h->arena, h->query->model, &h->opening,
                                 h->value));
    } else {
        h->rounds[h->history.rounds++] =
            (struct nof1_round_total){h->parameters, h->elements - 2, h->parameter, h->value + 2};
    }
    nof1_rc_value rc =
        h->query->analysis->advance(h->query->model, &h->history, h->arena, &next, &error);
    cr_assert_eq(rc, NOF1_OK, "%s %s", nof1_rc_code(rc), error.message);
    double *rounded = nof1_arena_alloc(h->arena, next.parameters + 1, sizeof(double));
    for (size_t p = 0; p < next.parameters; p++) {
        rounded[p] = nof1_round_parameter(next.parameter[p]);
    }
    h->parameter = rounded;
    h->parameters = next.parameters;
    return !next.done;
}

static inline const Nof1__V1__Frame *hand_close(struct hand *h, size_t site, uint32_t round)
{
    Nof1__V1__Close close = NOF1__V1__CLOSE__INIT;
    close.round = round;
    close.total = raw(h->total.data, h->total.length);
    close.n_masked = SITES;
    close.masked = (Nof1__V1__Masked **)(uintptr_t)h->masked;
    Nof1__V1__Frame frame = hand_frame(h);
    frame.body_case = NOF1__V1__FRAME__BODY_CLOSE;
    frame.close = &close;
    return hand_send(h, site, &frame);
}

static inline void hand_end(struct hand *h, bool released)
{
    Nof1__V1__End end = NOF1__V1__END__INIT;
    end.released = released;
    end.code = (char *)(uintptr_t) "";
    Nof1__V1__Frame frame = hand_frame(h);
    frame.body_case = NOF1__V1__FRAME__BODY_END;
    frame.end = &end;
    for (size_t s = 0; s < SITES; s++) {
        cr_assert_null(hand_send(h, s, &frame));
    }
}

/* Rounds 0, 1, ... and the close, everybody honest. Returns the last round. */
static inline uint32_t hand_run(struct hand *h)
{
    uint32_t round = 0;
    hand_gather(h);
    hand_round(h, 0);
    while (hand_advance(h, round)) {
        hand_round(h, ++round);
    }
    for (size_t s = 0; s < SITES; s++) {
        const Nof1__V1__Frame *reply = hand_close(h, s, round);
        cr_assert_eq(reply->body_case, NOF1__V1__FRAME__BODY_ATTEST, "%s",
                     reply->body_case == NOF1__V1__FRAME__BODY_REFUSAL ? reply->refusal->text : "");
    }
    return round;
}

static inline void hand_census(struct hand *h)
{
    struct nof1_buffer bytes = {0};
    MUST(nof1_census_plan(&bytes, h->charter, h->epoch[0].id));
    struct nof1_slice plan = nof1_arena_copy(h->arena, nof1_buffer_slice(&bytes));
    nof1_buffer_free(&bytes);
    h->census = NULL;
    hand_query(h, plan);
    cr_assert_eq(hand_run(h), 1);
    hand_end(h, true);
    char key[32];
    snprintf(key, sizeof key, "census/%010u", h->epoch[0].id);
    for (size_t i = 0; i < h->stores[0]; i++) {
        if (strcmp(h->store[0][i].key, key) == 0) {
            MUST(nof1_census_read(&h->census, h->arena, h->charter, h->store[0][i].value, NULL,
                                  NULL));
        }
    }
    cr_assert_not_null(h->census);
}

static const char hand_plan_text[] =
    "plan: 1\ntitle: B against A\noutcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"
    "analysis: random_effects\ngather_by: 2h\ndeadline: 10m\n";

/* The study, its census, and the plan ready to be offered. */
static inline struct hand *hand_new(const struct hand_options *options)
{
    static struct nof1_key *keys[SITES + 2]; /* made once for the process */
    struct hand *h = calloc(1, sizeof *h);
    struct test_random data = {options->data_seed + 1};
    h->arena = nof1_arena_new();
    h->random.state = 5;
    h->now = START;
    h->manual = options->manual;
    for (size_t k = 0; k < SITES + 2; k++) {
        if (keys[k] == NULL) {
            MUST(nof1_key_generate(&keys[k]));
        }
        h->key[k] = keys[k];
    }
    hand_charter(h, options);
    for (size_t s = 0; s < SITES; s++) {
        h->policy[s] = h->charter->limits;
        h->entropy[s].state = 100 + s;
        hand_epoch(h, s, options->patients[0] == 0 ? 4 : options->patients[s], &data,
                   options);
        hand_start(h, s);
    }
    hand_census(h);
    hand_query(h, hand_complete(h, options->plan == NULL ? hand_plan_text : options->plan, 0,
                                NULL));
    return h;
}

static inline void hand_free(struct hand *h)
{
    for (size_t s = 0; s < SITES; s++) {
        nof1_site_free(h->site[s]);
    }
    nof1_query_free(h->query);
    nof1_arena_free(h->arena);
    free(h);
}

/* ---- for a dishonest coordinator ------------------------------------------------------------ */

static const struct hand_options plain = {0};
static const char score_plan[] =
    "plan: 1\ntitle: B against A\noutcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"
    "analysis: random_effects\nincomplete: score\ngather_by: 2h\ndeadline: 10m\n";
/* several rounds with parameters: only the lab allows so many numbers of twenty patients */
static const struct hand_options rounds = {.plan = score_plan, .preset = "open", .lab = true,
                                           .missing = true};

/* Bring everybody to the point where round `round` can be opened. */
static inline void until(struct hand *h, uint32_t round)
{
    hand_gather(h);
    for (uint32_t r = 0; r < round; r++) {
        hand_round(h, r);
        cr_assert(hand_advance(h, r));
    }
}

/* The vector of `site` with `delta` added to one element, signed by `signer`. */
static inline void tamper(struct hand *h, size_t site, size_t element, double delta, size_t signer)
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

static inline const Nof1__V1__Frame *shifted(struct hand *h, int units)
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

#endif
