/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a hostile reviewer tries next: a charter with limits below the floor or with moved blocks,
 * answers and refusals as an oracle, malformed frames, and answers out of the ledger as a way round
 * the thresholds. Code "same": two data sets look the same to the attacker, byte for byte.
 */
#include "attack_crowd.h"

#include <core/derive.h>
#include <core/succession.h>

static void noted(struct attack_result *r, const char *code)
{
    snprintf(r->code, sizeof r->code, "%s", code);
}

/* ---- charters -------------------------------------------------------------------------------- */

/* The consortium's own document allows sums of one site. */
static void poisoned_limits(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    struct nof1_error error = {0};
    const struct nof1_charter *charter = NULL;
    char *text = nof1_arena_alloc(h->arena, h->charter_bytes.length + 1, 1);
    memcpy(text, h->charter_bytes.data, h->charter_bytes.length);
    char *at = strstr(text, "\"min_element_sites\":3");
    cr_assert_not_null(at);
    at[strlen("\"min_element_sites\":")] = '1';
    nof1_rc_value rc = nof1_charter_read(&charter, h->arena, nof1_slice_text(text), &error);
    r->won = rc == NOF1_OK;
    noted(r, rc == NOF1_OK ? "" : nof1_rc_code(rc));
    hand_free(h);
}

/* A planning sd of a million points: by E2311 any sum of whole numbers then leaves enough open. */
static void poisoned_sd(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    struct nof1_error error = {0};
    const struct nof1_charter *charter = NULL;
    const char *key = "\"sd_within\":\"";
    char *text = nof1_arena_alloc(h->arena, h->charter_bytes.length + 1, 1);
    memcpy(text, h->charter_bytes.data, h->charter_bytes.length);
    char *at = strstr(text, key);
    cr_assert_not_null(at);
    memcpy(at + strlen(key), "412e848000000000", 16);
    nof1_rc_value rc = nof1_charter_read(&charter, h->arena, nof1_slice_text(text), &error);
    r->won = rc == NOF1_OK;
    noted(r, rc == NOF1_OK ? "" : nof1_rc_code(rc));
    hand_free(h);
}

/* The next version leaves a site out of its block: the difference of the blocks is that site. */
static void shrunken_block(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    struct nof1_error error = {0};
    struct nof1_charter after = *h->charter;
    struct nof1_block block = h->charter->block[0];
    block.sites -= 1;
    after.version += 1;
    after.block = &block;
    nof1_rc_value rc = nof1_charter_follows(h->charter, &after, &error);
    r->won = rc == NOF1_OK;
    noted(r, rc == NOF1_OK ? "" : nof1_rc_code(rc));
    hand_free(h);
}

/* ---- oracles --------------------------------------------------------------------------------- */

/* s0's answer to rounds 0 and 1 as somebody between edge and coordinator sees it: kind and length,
 * the signature's length apart (its DER form varies by chance). */
static void shape_of(size_t shape[4], const struct hand_options *options)
{
    struct hand *h = hand_new(options);
    struct attack_result r = {0};
    cr_assert(crowd_until(&r, h, &everybody, 0), "%s", r.code);
    (void)hand_advance(h, 0);
    shape[0] = h->masked[0]->vector.len;
    for (size_t i = 0; i < SITES; i++) {
        const Nof1__V1__Frame *reply = hand_open(h, i, 1);
        cr_assert_not_null(reply);
        if (i == 0) {
            shape[1] = (size_t)reply->body_case;
            shape[2] = reply->body_case == NOF1__V1__FRAME__BODY_MASKED
                           ? reply->masked->vector.len : 0;
            shape[3] = h->sends;
        }
    }
    hand_free(h);
}

static void compare_shapes(struct attack_result *r, const struct hand_options *a,
                           const struct hand_options *b)
{
    size_t shape[2][4];
    shape_of(shape[0], a);
    shape_of(shape[1], b);
    r->won = memcmp(shape[0], shape[1], sizeof shape[0]) != 0;
    noted(r, r->won ? "" : "same");
}

/* One patient of forty, or eight. */
static void sizes(struct attack_result *r)
{
    static const struct hand_options few = {.patients = {1, 8, 9, 9, 9}, .patient_cap = 9},
                                     many = {.patients = {8, 1, 9, 9, 9}, .patient_cap = 9};
    compare_shapes(r, &few, &many);
}

/* A site that holds most of the patients objects in silence: nobody sees which one. */
static void objections(struct attack_result *r)
{
    static const struct hand_options s0 = {.patients = {16, 4, 4, 4, 3}, .patient_cap = 16},
                                     s4 = {.patients = {3, 4, 4, 4, 16}, .patient_cap = 16};
    compare_shapes(r, &s0, &s4);
}

/* An outcome value beyond the charter's bounds, had the import let it in. */
static void bounds_as_oracle(struct attack_result *r)
{
    struct attack_result ignored = {0};
    size_t kind[2];
    for (size_t i = 0; i < 2; i++) {
        struct hand *h = hand_new(&plain);
        double *y = (double *)(uintptr_t)h->epoch[0].trial[0].outcome[0];
        y[1] = i == 0 ? y[1] : 1e6;
        cr_assert(crowd_until(&ignored, h, &everybody, 0));
        (void)hand_advance(h, 0);
        kind[i] = (size_t)hand_open(h, 0, 1)->body_case;
        hand_free(h);
    }
    r->won = kind[0] != kind[1];
    noted(r, r->won ? "" : "same");
}

/* The text of every refusal met on the way, for two data sets with other outcomes and counts. */
static void refusal_texts(struct attack_result *r)
{
    static const struct hand_options a = {.patients = {5, 5, 5, 5, 5}, .patient_cap = 8,
                                          .limits = "{max_release_ratio: 0.06}"},
                                     b = {.patients = {3, 7, 4, 4, 6}, .patient_cap = 8,
                                          .limits = "{max_release_ratio: 0.06}", .data_seed = 9};
    const struct hand_options *options[2] = {&a, &b};
    const Nof1__V1__Refusal *refusal[2];
    struct hand *h[2];
    for (size_t i = 0; i < 2; i++) {
        h[i] = hand_new(options[i]);
        until(h[i], 1);
        const Nof1__V1__Frame *reply = hand_open(h[i], 0, 1);
        cr_assert_eq(reply->body_case, NOF1__V1__FRAME__BODY_REFUSAL);
        refusal[i] = reply->refusal;
    }
    r->won = strcmp(refusal[0]->code, refusal[1]->code) != 0 ||
             strcmp(refusal[0]->text, refusal[1]->text) != 0;
    noted(r, r->won ? "" : "same");
    hand_free(h[0]);
    hand_free(h[1]);
}

/* ---- frames ---------------------------------------------------------------------------------- */

#define MUTANTS 300

/* A request for round 0 with bytes changed, cut or added: nothing but the request itself, or one
 * that reads the same, is answered with a vector. */
static void malformed_frames(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    struct attack_result ignored = {0};
    for (size_t i = 0; i < MUTANTS && !r->won; i++) {
        hand_attempt(h);
        cr_assert(crowd_gather(&ignored, h, &everybody), "%s", ignored.code);
        Nof1__V1__RoundOpen open;
        Nof1__V1__Frame frame = hand_open_frame(h, 0, &open), *reply;
        struct nof1_slice good = hand_bytes(h, &frame);
        uint8_t *bad = nof1_arena_alloc(h->arena, good.length + 8, 1);
        memcpy(bad, good.data, good.length);
        size_t length = good.length - i % 3;
        for (size_t k = 0; k <= i % 4; k++) {
            size_t at = test_random_next(&h->random) % length;
            bad[at] ^= (uint8_t)(1 + test_random_next(&h->random) % 255);
        }
        reply = (Nof1__V1__Frame *)(uintptr_t)hand_event(
            h, 0, (struct nof1_event){.kind = NOF1_EVENT_FRAME,
                                      .bytes = nof1_slice_of(bad, length)}, NULL);
        const Nof1__V1__Frame *read = NULL;
        bool same = nof1_frame_read(&read, h->arena, nof1_slice_of(bad, length), NULL) == NOF1_OK &&
                    nof1_slice_equal(hand_bytes(h, read), good);
        r->won = reply != NULL && reply->body_case == NOF1__V1__FRAME__BODY_MASKED && !same;
        hand_end(h, false);
    }
    noted(r, r->won ? "" : "silence");
    hand_free(h);
}

/* ---- answers out of the ledger --------------------------------------------------------------- */

/* Everybody was released; a plan of one stratum is asked as if it followed from those totals. */
static void derived_stratum(struct attack_result *r)
{
    static const struct hand_options options = {.patient_cap = 12,
                                                .patients = {12, 12, 12, 12, 12}};
    struct hand *h = hand_new(&options);
    struct nof1_query *men = NULL;
    struct nof1_history derived = {0};
    struct nof1_error error = {0};
    cr_assert(crowd_until(r, h, &everybody, 1), "%s", r->code);
    (void)hand_advance(h, 1);
    struct nof1_slice bytes = hand_complete(h, titled(h, "men", "strata: [M]\n"), 0, NULL);
    MUST(nof1_query_new(&men, h->charter, h->census, bytes, &error));
    bool same = nof1_derive_same_series(h->query->study.plan, men->study.plan);
    nof1_rc_value rc = nof1_derive(&derived, men->model, h->query->model, &h->history, h->arena);
    r->won = same && rc == NOF1_OK;
    noted(r, same ? nof1_rc_code(rc) : "strata");
    nof1_query_free(men);
    hand_free(h);
}

const struct attack attacks_by_reviewers[] = {
    {"B14", "charter with limits below the floor", "E1002", "E1002 E1012", poisoned_limits},
    {"B37", "charter with a planning sd beyond its bounds", "E1002", "E1002 E1012", poisoned_sd},
    {"B15", "charter version that leaves a site out of its block", "E1003", "E1003",
     shrunken_block},
    {"B16", "size and kind of answers", "same", NULL, sizes},
    {"B17", "who objects", "same", "silence", objections},
    {"B18", "outcome bounds as an oracle", "same", "silence", bounds_as_oracle},
    {"B19", "error text as an oracle", "same", NULL, refusal_texts},
    {"B20", "malformed frames", "silence", NULL, malformed_frames},
    {"B21", "stratum derived from everybody", "strata", NULL, derived_stratum},
    {0},
};
