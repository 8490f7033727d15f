/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A consortium driven by hand: five real site sessions, their private keys in the test's hands, and
 * no coordinator but the test itself, which builds every frame and may therefore lie in any of them.
 * Seeded and without clock. For test_site.c.
 */
#ifndef NOF1_TEST_HAND_H
#define NOF1_TEST_HAND_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/document.h>
#include <core/census.h>
#include <core/charter.h>
#include <core/frame.h>
#include <core/opening.h>
#include <core/plan.h>
#include <core/policy.h>
#include <core/site.h>
#include <crypto/mask.h>
#include <crypto/transcript.h>
#include <support.h>

#define SITES 5
#define ROWS 6
#define PATIENTS_MAX 16
#define STORED_MAX 64
#define START INT64_C(1800000000000)
#define MUST(call) cr_assert_eq((call), NOF1_OK, "%s", #call)

struct stored { char *key; struct nof1_slice value; };

struct hand {
    struct nof1_arena *arena;
    struct test_random random;
    const struct nof1_charter *charter;
    struct nof1_slice charter_bytes;
    struct nof1_key *key[SITES + 2];
    struct nof1_epoch epoch[SITES];
    struct test_random entropy[SITES];
    struct stored store[SITES][STORED_MAX];
    size_t stores[SITES];
    struct nof1_site *site[SITES];
    struct nof1_limits policy[SITES];
    bool manual;
    char last_entry[SITES][2048];      /* the ledger entries of the last step, one a line */
    size_t puts;                       /* of the last step */
    size_t sends;
    const struct nof1_census *census;
    int64_t now;
    /* the query being driven */
    struct nof1_slice plan, plan_signature;
    struct nof1_query *query;
    uint8_t h_q[32], nonce[32], h_roster[32], transcript[32];
    const Nof1__V1__KeyAd *ad[SITES];
    const Nof1__V1__Masked *masked[SITES];
    struct nof1_opening opening;
    struct nof1_history history;
    struct nof1_round_total rounds[64];
    struct nof1_slice total;           /* of the last round */
    double *value;                     /* decoded */
    size_t elements;
    const double *parameter;
    size_t parameters;
};

struct hand_options {
    const char *preset;        /* default standard */
    const char *limits;        /* YAML map */
    const char *outcome;       /* YAML of outcome y */
    const char *plan;          /* YAML, default random_effects */
    size_t patients[SITES];    /* default 4 each */
    uint64_t data_seed;        /* of the outcomes only */
    bool lab, manual;
    bool missing;              /* a quarter of the outcomes, never a whole arm */
    uint32_t patient_cap;
};

static inline ProtobufCBinaryData raw(const void *data, size_t length)
{
    return (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)data};
}

/* ---- ports -------------------------------------------------------------------------------------- */

static nof1_rc_value hand_fill(void *self, uint8_t *out, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        out[i] = (uint8_t)test_random_next(self);
    }
    return NOF1_OK;
}

struct hand_shelf { struct hand *hand; size_t site; };

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct stored *)a)->key, ((const struct stored *)b)->key);
}

static nof1_rc_value hand_each(void *self, const char *prefix,
                               nof1_rc_value (*visit)(void *, const char *, struct nof1_slice),
                               void *context)
{
    struct hand_shelf *shelf = self;
    struct stored *store = shelf->hand->store[shelf->site];
    size_t count = shelf->hand->stores[shelf->site];
    qsort(store, count, sizeof *store, by_key);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(store[i].key, prefix, strlen(prefix)) == 0 && store[i].value.length > 0) {
            nof1_rc_value rc = visit(context, store[i].key, store[i].value);
            if (rc != NOF1_OK) {
                return rc;
            }
        }
    }
    return NOF1_OK;
}

static void hand_put(struct hand *h, size_t site, const char *key, struct nof1_slice value)
{
    struct nof1_slice copy = value.length == 0 ? value : nof1_arena_copy(h->arena, value);
    for (size_t i = 0; i < h->stores[site]; i++) {
        if (strcmp(h->store[site][i].key, key) == 0) {
            h->store[site][i].value = copy;
            return;
        }
    }
    cr_assert_lt(h->stores[site], STORED_MAX);
    h->store[site][h->stores[site]++] = (struct stored){nof1_arena_text(h->arena, key), copy};
}

/* One event at one site. Returns the last frame it sends, NULL when none. Write-ahead order is
 * asserted: nothing is stored after the first frame. */
static const Nof1__V1__Frame *hand_event(struct hand *h, size_t site, struct nof1_event event,
                                         struct nof1_slice *bytes)
{
    struct nof1_actions actions;
    const Nof1__V1__Frame *reply = NULL;
    event.now = h->now;
    event.peer = "";
    h->puts = h->sends = 0;
    h->last_entry[site][0] = 0;
    MUST(nof1_actions_init(&actions));
    MUST(nof1_site_step(h->site[site], &event, &actions));
    for (size_t i = 0; i < actions.count; i++) {
        const struct nof1_action *action = &actions.action[i];
        if (action->kind == NOF1_ACTION_PUT) {
            cr_assert_eq(h->sends, 0, "stored after sending");
            hand_put(h, site, action->key, action->bytes);
            h->puts++;
        } else if (action->kind == NOF1_ACTION_APPEND) {
            cr_assert_eq(h->sends, 0, "logged after sending");
            size_t at = strlen(h->last_entry[site]);
            snprintf(h->last_entry[site] + at, sizeof h->last_entry[site] - at, "%s %.*s\n",
                     action->key, (int)action->bytes.length, (const char *)action->bytes.data);
        } else if (action->kind == NOF1_ACTION_SEND) {
            struct nof1_slice copy = nof1_arena_copy(h->arena, action->bytes);
            MUST(nof1_frame_read(&reply, h->arena, copy, NULL));
            h->sends++;
            if (bytes != NULL) {
                *bytes = copy;
            }
        }
    }
    nof1_actions_free(&actions);
    return reply;
}

static inline struct nof1_slice hand_bytes(struct hand *h, const Nof1__V1__Frame *frame)
{
    struct nof1_slice bytes;
    MUST(nof1_frame_write(&bytes, h->arena, frame));
    return bytes;
}

static inline const Nof1__V1__Frame *hand_send(struct hand *h, size_t site,
                                               const Nof1__V1__Frame *frame)
{
    return hand_event(h, site,
                      (struct nof1_event){.kind = NOF1_EVENT_FRAME, .bytes = hand_bytes(h, frame)},
                      NULL);
}

/* ---- the study ---------------------------------------------------------------------------------- */

static void print_spki(struct nof1_buffer *text, const struct nof1_key *key)
{
    struct nof1_buffer spki = {0};
    MUST(nof1_key_spki(&spki, key));
    for (size_t i = 0; i < spki.length; i++) {
        MUST(nof1_buffer_printf(text, "%02x", spki.data[i]));
    }
    nof1_buffer_free(&spki);
}

static void hand_charter(struct hand *h, const struct hand_options *o)
{
    struct nof1_buffer text = {0}, bytes = {0};
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_charter *draft = NULL;
    MUST(nof1_buffer_printf(
        &text,
        "study: hand\nversion: 1\nlab: %s\neffective: 2026-01-01T00:00:00Z\npreset: %s\n"
        "limits: %s\ntreatments: [\"A\", \"B\"]\noutcomes:\n  y: %s\n"
        "covariates:\n  sex: {kind: factor, levels: [F, M], within: false}\nstrata: sex\n"
        "classes: {\"3x3\": {n: [3, 3], periods: [1, 2, 3, 4, 5, 6]}}\nmax_periods: 3\n"
        "max_cycles: 3\nlambdas: [0.25, 2]\nbeta_box: 1\nvariance_ratio_box: 1000000\n"
        "analysis_set: both_arms\nmissing: centre\n"
        "analyses: [random_effects]\nsites:\n",
        o->lab ? "true" : "false", o->preset == NULL ? "standard" : o->preset,
        o->limits == NULL ? "{}" : o->limits,
        o->outcome != NULL ? o->outcome
                           : "{kind: continuous, unit: points, bounds: [-1000, 1000], "
                             "centre: 50, sd_within: 5, sd_between: 5, benefit: lower}"));
    for (size_t s = 0; s < SITES; s++) {
        MUST(nof1_buffer_printf(&text, "  s%zu: {patient_cap: %u, edge: \"spiffe://x/s%zu\", "
                                       "vault_key: \"",
                                s, o->patient_cap == 0 ? 4 : o->patient_cap, s));
        print_spki(&text, h->key[s]);
        MUST(nof1_buffer_printf(&text, "\"}\n"));
    }
    MUST(nof1_buffer_printf(&text, "blocks: {b: [s0, s1, s2, s3, s4]}\n"
                                   "statisticians: {ada: {spiffe: \"spiffe://x/ada\", key: \""));
    print_spki(&text, h->key[SITES]);
    MUST(nof1_buffer_printf(&text, "\"}}\ncoordinator: {id: coordinator, spiffe: "
                                   "\"spiffe://x/c\", key: \""));
    print_spki(&text, h->key[SITES + 1]);
    MUST(nof1_buffer_printf(&text, "\"}\n"));
    nof1_rc_value rc =
        nof1_yaml_read(&node, h->arena, "charter", nof1_buffer_slice(&text), &error);
    rc = rc ? rc : nof1_charter_from_node(&draft, h->arena, node, &error);
    rc = rc ? rc : nof1_charter_canonical(&bytes, draft);
    h->charter_bytes = nof1_arena_copy(h->arena, nof1_buffer_slice(&bytes));
    rc = rc ? rc : nof1_charter_read(&h->charter, h->arena, h->charter_bytes, &error);
    cr_assert_eq(rc, NOF1_OK, "%s", error.message);
    nof1_buffer_free(&text);
    nof1_buffer_free(&bytes);
}

static struct nof1_trial hand_trial(struct hand *h, struct test_random *data, bool missing)
{
    int32_t *cycle = nof1_arena_alloc(h->arena, ROWS, sizeof *cycle);
    int32_t *period = nof1_arena_alloc(h->arena, ROWS, sizeof *period);
    double *time = nof1_arena_alloc(h->arena, ROWS, sizeof *time);
    uint8_t *treatment = nof1_arena_alloc(h->arena, ROWS, 1);
    double *y = nof1_arena_alloc(h->arena, ROWS, sizeof *y);
    double *sex = nof1_arena_alloc(h->arena, ROWS, sizeof *sex);
    const double **outcome = nof1_arena_alloc(h->arena, 1, sizeof *outcome);
    const double **variance = nof1_arena_alloc(h->arena, 1, sizeof *variance);
    const double **covariate = nof1_arena_alloc(h->arena, 1, sizeof *covariate);
    double level = test_random_next(&h->random) & 1 ? 1 : 0;
    double centre = 50 + floor(3 * test_random_normal(data));
    double effect = floor(6 * test_random_normal(data));
    for (size_t r = 0; r < ROWS; r++) {
        bool b = (r + (r / 2)) % 2 == 1;
        cycle[r] = (int32_t)(r / 2) + 1;
        period[r] = (int32_t)r + 1;
        time[r] = 7.0 * (double)r;
        treatment[r] = b ? 1 : 0;
        y[r] = centre + (b ? effect : 0) + floor(3 * test_random_normal(data));
        if (missing && r >= 2 && test_random_uniform(&h->random) < 0.4) {
            y[r] = NAN;
        }
        sex[r] = level;
    }
    outcome[0] = y;
    covariate[0] = sex;
    return (struct nof1_trial){.rows = ROWS, .cycle = cycle, .period = period, .time = time,
                               .treatment = treatment, .outcome = outcome, .variance = variance,
                               .covariate = covariate};
}

static void hand_epoch(struct hand *h, size_t site, size_t patients, struct test_random *data,
                       bool missing)
{
    struct nof1_trial *trial = nof1_arena_alloc(h->arena, PATIENTS_MAX, sizeof *trial);
    uint32_t *patient = nof1_arena_alloc(h->arena, PATIENTS_MAX, sizeof *patient);
    uint8_t (*digest)[32] = nof1_arena_alloc(h->arena, PATIENTS_MAX, sizeof *digest);
    const char **key = nof1_arena_alloc(h->arena, PATIENTS_MAX, sizeof *key);
    for (size_t p = 0; p < patients; p++) {
        trial[p] = hand_trial(h, data, missing);
        patient[p] = (uint32_t)p;
        key[p] = nof1_arena_printf(h->arena, "p%zu", p);
        digest[p][0] = (uint8_t)p;
    }
    h->epoch[site] = (struct nof1_epoch){.id = 1, .trials = patients, .patients = patients,
                                         .trial = trial, .patient = patient,
                                         .digest = (const uint8_t (*)[32])digest,
                                         .patient_key = key};
}

/* (Re)start the session of a site from its store. */
static void hand_start(struct hand *h, size_t s)
{
    struct hand_shelf *shelf = nof1_arena_alloc(h->arena, 1, sizeof *shelf);
    struct nof1_error error = {0};
    *shelf = (struct hand_shelf){h, s};
    nof1_site_free(h->site[s]);
    h->site[s] = NULL;
    const struct nof1_site_config config = {
        .id = h->charter->site[s].id, .charter = h->charter, .charter_bytes = h->charter_bytes,
        .policy = h->policy[s], .key = h->key[s], .epoch = &h->epoch[s],
        .secret = nof1_slice_text("0123456789abcdef0123456789abcdef"),
        .manual_approval = h->manual, .lab = h->charter->lab,
        .entropy = {hand_fill, &h->entropy[s]}, .store = {hand_each, shelf}};
    cr_assert_eq(nof1_site_new(&h->site[s], &config, &error), NOF1_OK, "%s", error.message);
    const Nof1__V1__Frame *hello =
        hand_event(h, s, (struct nof1_event){.kind = NOF1_EVENT_LINK_UP}, NULL);
    cr_assert_eq(hello->body_case, NOF1__V1__FRAME__BODY_HELLO);
    cr_assert_str_eq(hello->hello->site, config.id);
}

/* ---- a query ------------------------------------------------------------------------------------ */

static void hand_attempt(struct hand *h)
{
    for (size_t i = 0; i < 32; i++) {
        h->nonce[i] = (uint8_t)test_random_next(&h->random);
    }
    memset(h->ad, 0, sizeof h->ad);
    memset(h->masked, 0, sizeof h->masked);
    h->history = (struct nof1_history){.round = h->rounds};
    h->parameters = 0;
}

static void hand_query(struct hand *h, struct nof1_slice plan)
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

static struct nof1_slice hand_complete(struct hand *h, const char *yaml, size_t atoms,
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
    filled.epoch = h->epoch[0].id;
    rc = nof1_query_complete(&bytes, h->charter, h->census, &filled, h->now / 1000, &error);
    cr_assert_eq(rc, NOF1_OK, "%s %s", nof1_rc_code(rc), error.message);
    struct nof1_slice copy = nof1_arena_copy(h->arena, nof1_buffer_slice(&bytes));
    nof1_buffer_free(&bytes);
    return copy;
}

static Nof1__V1__Frame hand_frame(struct hand *h)
{
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = raw(h->h_q, 32);
    frame.attempt = raw(h->nonce, 32);
    return frame;
}

static const Nof1__V1__Frame *hand_offer(struct hand *h, size_t site)
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

static const Nof1__V1__Frame *hand_roster(struct hand *h, size_t site,
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
static void hand_gather(struct hand *h)
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

static Nof1__V1__Frame hand_open_frame(struct hand *h, uint32_t round, Nof1__V1__RoundOpen *open)
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

static const Nof1__V1__Frame *hand_open(struct hand *h, size_t site, uint32_t round)
{
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, round, &open);
    return hand_send(h, site, &frame);
}

/* Add up h->masked. */
static void hand_add(struct hand *h)
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
static void hand_round(struct hand *h, uint32_t round)
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
static bool hand_advance(struct hand *h, uint32_t round)
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

static const Nof1__V1__Frame *hand_close(struct hand *h, size_t site, uint32_t round)
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

static void hand_end(struct hand *h, bool released)
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
static uint32_t hand_run(struct hand *h)
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

static void hand_census(struct hand *h)
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
static struct hand *hand_new(const struct hand_options *options)
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
                   options->missing);
        hand_start(h, s);
    }
    hand_census(h);
    hand_query(h, hand_complete(h, options->plan == NULL ? hand_plan_text : options->plan, 0,
                                NULL));
    return h;
}

static void hand_free(struct hand *h)
{
    for (size_t s = 0; s < SITES; s++) {
        nof1_site_free(h->site[s]);
    }
    nof1_query_free(h->query);
    nof1_arena_free(h->arena);
    free(h);
}

#endif
