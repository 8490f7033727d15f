/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A consortium driven by hand: five real site sessions, their private keys in the test's hands, and
 * no coordinator but the test itself, which builds every frame and may therefore lie in any of
 * them. Seeded and without clock. For test_site.c.
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

#ifndef SITES
#define SITES 5
#endif
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
    const char *secret[SITES];         /* 32 bytes; NULL: the same at every site */
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
    const double *opening_value;       /* of round 0, where a test keeps it */
    size_t elements;
    const double *parameter;
    size_t parameters;
    const uint32_t *block_epoch;       /* of plans that are completed; NULL: the last everywhere */
};

struct hand_options {
    const char *preset;        /* default standard */
    const char *limits;        /* YAML map */
    const char *outcome;       /* YAML of outcome y */
    const char *plan;          /* YAML, default random_effects */
    const char *analyses;      /* YAML list, default [random_effects] */
    const char *covariate;     /* YAML of covariate sex */
    const char *lambdas;       /* YAML list, default [0.25, 2] */
    const char *blocks;        /* YAML map, default one block of five sites */
    size_t patients[SITES];    /* default 4 each */
    uint64_t data_seed;        /* of the outcomes only */
    bool lab, manual;
    bool missing;              /* a quarter of the outcomes, never a whole arm */
    bool binary;               /* outcomes 0 and 1 */
    uint32_t patient_cap;
};

static inline ProtobufCBinaryData raw(const void *data, size_t length)
{
    return (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)data};
}

/* ---- ports ------------------------------------------------------------ */

static inline nof1_rc_value hand_fill(void *self, uint8_t *out, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        out[i] = (uint8_t)test_random_next(self);
    }
    return NOF1_OK;
}

struct hand_shelf { struct hand *hand; size_t site; };

static inline int by_key(const void *a, const void *b)
{
    return strcmp(((const struct stored *)a)->key, ((const struct stored *)b)->key);
}

static inline nof1_rc_value hand_each(void *self, const char *prefix,
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

static inline void hand_put(struct hand *h, size_t site, const char *key, struct nof1_slice value)
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
static inline const Nof1__V1__Frame *hand_event(struct hand *h, size_t site,
                                                struct nof1_event event, struct nof1_slice *bytes)
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

/* ---- the study ------------------------------------------------------------ */

static inline void print_spki(struct nof1_buffer *text, const struct nof1_key *key)
{
    struct nof1_buffer spki = {0};
    MUST(nof1_key_spki(&spki, key));
    for (size_t i = 0; i < spki.length; i++) {
        MUST(nof1_buffer_printf(text, "%02x", spki.data[i]));
    }
    nof1_buffer_free(&spki);
}

static inline void hand_charter(struct hand *h, const struct hand_options *o)
{
    struct nof1_buffer text = {0}, bytes = {0};
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_charter *draft = NULL;
    MUST(nof1_buffer_printf(
        &text,
        "study: hand\nversion: 1\nlab: %s\neffective: 2026-01-01T00:00:00Z\npreset: %s\n"
        "limits: %s\ntreatments: [\"A\", \"B\"]\noutcomes:\n  y: %s\n"
        "covariates:\n  sex: %s\n"
        "classes: {\"3x3\": {n: [3, 3], periods: [1, 2, 3, 4, 5, 6]}}\nmax_periods: 3\n"
        "max_cycles: 3\nlambdas: %s\nbeta_box: 1\nvariance_ratio_box: 1000000\n"
        "analysis_set: both_arms\nmissing: centre\n"
        "analyses: %s\nsites:\n",
        o->lab ? "true" : "false", o->preset == NULL ? "standard" : o->preset,
        o->limits == NULL ? "{}" : o->limits,
        o->outcome != NULL ? o->outcome
                           : "{kind: continuous, unit: points, bounds: [-1000, 1000], "
                             "centre: 50, sd_within: 5, sd_between: 5, benefit: lower}",
        o->covariate != NULL ? o->covariate
                             : "{kind: factor, levels: [F, M], within: false}\nstrata: sex",
        o->lambdas == NULL ? "[0.25, 2]" : o->lambdas,
        o->analyses == NULL ? "[random_effects]" : o->analyses));
    for (size_t s = 0; s < SITES; s++) {
        MUST(nof1_buffer_printf(&text, "  s%zu: {patient_cap: %u, edge: \"spiffe://x/s%zu\", "
                                       "vault_key: \"",
                                s, o->patient_cap == 0 ? 4 : o->patient_cap, s));
        print_spki(&text, h->key[s]);
        MUST(nof1_buffer_printf(&text, "\"}\n"));
    }
    MUST(nof1_buffer_printf(&text, "blocks: %s\n"
                                   "statisticians: {ada: {spiffe: \"spiffe://x/ada\", key: \"",
                            o->blocks == NULL ? "{b: [s0, s1, s2, s3, s4]}" : o->blocks));
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

static inline struct nof1_trial hand_trial(struct hand *h, struct test_random *data, bool missing,
                                           bool binary)
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
        y[r] = binary ? y[r] > 50 : y[r];
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

static inline void hand_epoch(struct hand *h, size_t site, size_t patients,
                              struct test_random *data, const struct hand_options *options)
{
    struct nof1_trial *trial = nof1_arena_alloc(h->arena, PATIENTS_MAX, sizeof *trial);
    uint32_t *patient = nof1_arena_alloc(h->arena, PATIENTS_MAX, sizeof *patient);
    const char **key = nof1_arena_alloc(h->arena, PATIENTS_MAX, sizeof *key);
    for (size_t p = 0; p < patients; p++) {
        trial[p] = hand_trial(h, data, options->missing, options->binary);
        patient[p] = (uint32_t)p;
        key[p] = nof1_arena_printf(h->arena, "p%zu", p);
    }
    h->epoch[site] = (struct nof1_epoch){.id = 1, .trials = patients, .patients = patients,
                                         .trial = trial, .patient = patient,
                                         .patient_key = key, .trial_key = key};
}

/* (Re)start the session of a site from its store. */
static inline void hand_start(struct hand *h, size_t s)
{
    struct hand_shelf *shelf = nof1_arena_alloc(h->arena, 1, sizeof *shelf);
    struct nof1_error error = {0};
    *shelf = (struct hand_shelf){h, s};
    nof1_site_free(h->site[s]);
    h->site[s] = NULL;
    const struct nof1_site_config config = {
        .id = h->charter->site[s].id, .charter = h->charter, .charter_bytes = h->charter_bytes,
        .policy = h->policy[s], .key = h->key[s], .epoch = &h->epoch[s],
        .secret = nof1_slice_text(h->secret[s] != NULL ? h->secret[s]
                                                       : "0123456789abcdef0123456789abcdef"),
        .manual_approval = h->manual, .lab = h->charter->lab,
        .entropy = {hand_fill, &h->entropy[s]}, .store = {hand_each, shelf}};
    cr_assert_eq(nof1_site_new(&h->site[s], &config, &error), NOF1_OK, "%s", error.message);
    const Nof1__V1__Frame *hello =
        hand_event(h, s, (struct nof1_event){.kind = NOF1_EVENT_LINK_UP}, NULL);
    cr_assert_eq(hello->body_case, NOF1__V1__FRAME__BODY_HELLO);
    cr_assert_str_eq(hello->hello->site, config.id);
}

#endif
