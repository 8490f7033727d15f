/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The C code against tests/vectors/frm.json, which tests/vectors/make_vectors.py made from the
 * documented definitions alone: every hash of the transcript, every mask, every total, every
 * digest.
 */
#include <criterion/criterion.h>
#include <crypto/mask.h>
#include <crypto/transcript.h>
#include <jansson.h>
#include <string.h>

#include "support.h"

#define SITES 3
#define M 4
#define VECTOR_BYTES (M * NOF1_RING_BYTES)

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    cr_assert_not_null(value, "missing %s", key);
    return value;
}

/* Bytes of a hexadecimal text. */
static size_t unhex(uint8_t *out, size_t size, const char *hex)
{
    size_t length = strlen(hex) / 2;
    cr_assert_leq(length, size);
    for (size_t i = 0; i < length; i++) {
        unsigned byte = 0;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return length;
}

static void bytes32(uint8_t out[32], const json_t *object, const char *key)
{
    cr_assert_eq(unhex(out, 32, text(object, key)), 32, "%s", key);
}

static double number(const char *hex)
{
    uint8_t bytes[8];
    uint64_t bits = 0;
    cr_assert_eq(unhex(bytes, sizeof bytes, hex), 8);
    for (int i = 0; i < 8; i++) {
        bits = bits << 8 | bytes[i];
    }
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void same(const uint8_t *got, const json_t *object, const char *key)
{
    uint8_t want[32];
    bytes32(want, object, key);
    cr_expect_arr_eq(got, want, 32, "%s differs", key);
}

struct site {
    const char *id;
    uint8_t secret[32], x25519[32], nonce[32], signature[64];
    struct nof1_masker *masker;
};

struct fixture {
    json_t *json;
    uint8_t h_c[32], h_q[32], h_roster[32], attempt[32];
    struct site site[SITES];
    struct nof1_keyad ad[SITES];
};

static void load(struct fixture *f)
{
    f->json = test_json(NOF1_SOURCE_DIR "/tests/vectors/frm.json");
    bytes32(f->h_c, f->json, "h_c");
    bytes32(f->h_q, f->json, "h_q");
    bytes32(f->h_roster, f->json, "h_roster");
    bytes32(f->attempt, f->json, "attempt");
    const json_t *sites = json_object_get(f->json, "sites");
    cr_assert_eq(json_array_size(sites), SITES);
    for (size_t i = 0; i < SITES; i++) {
        const json_t *one = json_array_get(sites, i);
        struct site *site = &f->site[i];
        site->id = text(one, "site");
        bytes32(site->secret, one, "secret");
        bytes32(site->x25519, one, "x25519");
        bytes32(site->nonce, one, "nonce");
        cr_assert_eq(unhex(site->signature, 64, text(one, "signature")), 64);
        f->ad[i] = (struct nof1_keyad){.site = site->id, .h_c = f->h_c, .h_q = f->h_q,
                                       .attempt = f->attempt, .x25519 = site->x25519,
                                       .nonce = site->nonce,
                                       .signature = nof1_slice_of(site->signature, 64)};
    }
}

Test(vectors, documents_and_roster)
{
    struct fixture f = {0};
    load(&f);
    uint8_t got[32];
    cr_assert_eq(nof1_charter_hash(got, nof1_slice_text(text(f.json, "charter"))), NOF1_OK);
    same(got, f.json, "h_c");
    cr_assert_eq(nof1_plan_hash(got, nof1_slice_text(text(f.json, "plan"))), NOF1_OK);
    same(got, f.json, "h_q");
    for (size_t i = 0; i < SITES; i++) {
        const json_t *one = json_array_get(json_object_get(f.json, "sites"), i);
        cr_assert_eq(nof1_x25519_public(got, f.site[i].secret), NOF1_OK);
        same(got, one, "x25519");
        cr_assert_eq(nof1_keyad_digest(got, &f.ad[i]), NOF1_OK);
        same(got, one, "keyad");
    }
    /* Any order of the advertisements gives the one hash. */
    static const size_t order[6][SITES] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                           {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t i = 0; i < 6; i++) {
        struct nof1_keyad ad[SITES] = {f.ad[order[i][0]], f.ad[order[i][1]], f.ad[order[i][2]]};
        cr_assert_eq(nof1_roster_hash(got, SITES, ad), NOF1_OK);
        same(got, f.json, "h_roster");
    }
    json_decref(f.json);
}

Test(vectors, refusal_and_submission)
{
    struct fixture f = {0};
    load(&f);
    uint8_t got[32];
    const json_t *refusal = json_object_get(f.json, "refusal");
    cr_assert_eq(nof1_refusal_digest(got, text(refusal, "site"), f.h_q, f.attempt,
                                     text(refusal, "code")),
                 NOF1_OK);
    same(got, refusal, "digest");
    cr_assert_eq(nof1_submit_digest(got, f.h_q), NOF1_OK);
    same(got, f.json, "submit");
    json_decref(f.json);
}

static void make_maskers(struct fixture *f)
{
    const json_t *pair = json_object_get(f->json, "psk");
    static uint8_t psk[64];
    size_t length = unhex(psk, sizeof psk, text(pair, "bytes"));
    for (size_t i = 0; i < SITES; i++) {
        struct nof1_peer peer[SITES - 1];
        size_t peers = 0;
        for (size_t j = 0; j < SITES; j++) {
            if (j == i) {
                continue;
            }
            bool shares = (strcmp(f->site[i].id, text(pair, "lower")) == 0 &&
                           strcmp(f->site[j].id, text(pair, "higher")) == 0) ||
                          (strcmp(f->site[j].id, text(pair, "lower")) == 0 &&
                           strcmp(f->site[i].id, text(pair, "higher")) == 0);
            peer[peers++] = (struct nof1_peer){f->site[j].id, f->site[j].x25519,
                                               nof1_slice_of(psk, shares ? length : 0)};
        }
        cr_assert_eq(nof1_masker_new(&f->site[i].masker, f->site[i].secret, f->site[i].id, peers,
                                     peer, f->h_q, f->h_roster),
                     NOF1_OK);
    }
}

static void vector_bytes(uint8_t out[VECTOR_BYTES], const struct nof1_ring y[M])
{
    for (size_t k = 0; k < M; k++) {
        nof1_ring_write(out + k * NOF1_RING_BYTES, &y[k]);
    }
}

static void same_vector(const struct nof1_ring y[M], const json_t *object, const char *key)
{
    uint8_t got[VECTOR_BYTES];
    uint8_t want[VECTOR_BYTES];
    vector_bytes(got, y);
    cr_assert_eq(unhex(want, sizeof want, text(object, key)), sizeof want);
    cr_expect_arr_eq(got, want, sizeof want, "%s differs", key);
}

static struct nof1_masker *masker_of(const struct fixture *f, const char *id)
{
    for (size_t i = 0; i < SITES; i++) {
        if (strcmp(f->site[i].id, id) == 0) {
            return f->site[i].masker;
        }
    }
    cr_assert_fail("no site %s", id);
    return NULL;
}

static void check_site(const struct fixture *f, const json_t *one, uint64_t round,
                       const uint8_t transcript[32], struct nof1_ring total[M])
{
    struct nof1_ring y[M];
    for (size_t k = 0; k < M; k++) {
        const char *x = json_string_value(json_array_get(json_object_get(one, "x"), k));
        cr_assert_eq(nof1_ring_encode(&y[k], number(x)), NOF1_OK);
    }
    same_vector(y, one, "clear");
    cr_assert_eq(nof1_masker_apply(masker_of(f, text(one, "site")), transcript, M, y), NOF1_OK);
    same_vector(y, one, "masked");
    for (size_t k = 0; k < M; k++) {
        nof1_ring_add(&total[k], &y[k]);
    }
    struct nof1_statement statement = {text(one, "site"), f->h_q, f->h_roster, round, transcript};
    uint8_t bytes[VECTOR_BYTES];
    uint8_t got[32];
    vector_bytes(bytes, y);
    cr_assert_eq(nof1_masked_digest(got, &statement, nof1_slice_of(bytes, sizeof bytes)), NOF1_OK);
    same(got, one, "digest");
}

static void check_round(const struct fixture *f, const json_t *round, uint64_t r,
                        const uint8_t transcript[32], uint8_t total_hash[32])
{
    struct nof1_ring total[M] = {0};
    for (size_t i = 0; i < SITES; i++) {
        check_site(f, json_array_get(json_object_get(round, "sites"), i), r, transcript, total);
    }
    same_vector(total, round, "total");
    for (size_t k = 0; k < M; k++) {
        const char *bits =
            json_string_value(json_array_get(json_object_get(round, "total_bits"), k));
        double want = number(bits);
        double got = nof1_ring_decode(&total[k]);
        cr_expect_arr_eq(&got, &want, sizeof got, "element %zu", k);
    }
    uint8_t bytes[VECTOR_BYTES];
    vector_bytes(bytes, total);
    cr_assert_eq(nof1_total_hash(total_hash, nof1_slice_of(bytes, sizeof bytes)), NOF1_OK);
    same(total_hash, round, "total_hash");
}

Test(vectors, two_rounds_and_the_close)
{
    struct fixture f = {0};
    load(&f);
    make_maskers(&f);
    const json_t *rounds = json_object_get(f.json, "rounds");
    size_t count = json_array_size(rounds);
    cr_assert_eq(count, 2);
    uint8_t h[32];
    uint8_t total_hash[32];
    cr_assert_eq(nof1_transcript_open(h, f.h_c, f.h_q, f.h_roster), NOF1_OK);
    for (size_t r = 0; r < count; r++) {
        const json_t *round = json_array_get(rounds, r);
        const json_t *params = json_object_get(round, "params");
        double param[8];
        for (size_t i = 0; i < json_array_size(params); i++) {
            param[i] = number(json_string_value(json_array_get(params, i)));
        }
        if (r > 0) {
            cr_assert_eq(nof1_transcript_next(h, h, r, json_array_size(params), param, total_hash),
                         NOF1_OK);
        }
        same(h, round, "transcript");
        check_round(&f, round, r, h, total_hash);
    }
    const json_t *end = json_object_get(f.json, "close");
    cr_assert_eq(nof1_transcript_next(h, h, count, 0, NULL, total_hash), NOF1_OK);
    same(h, end, "transcript");
    for (size_t i = 0; i < SITES; i++) {
        struct nof1_statement statement = {f.site[i].id, f.h_q, f.h_roster, count - 1, h};
        uint8_t got[32];
        cr_assert_eq(nof1_attest_digest(got, &statement), NOF1_OK);
        same(got, json_object_get(end, "attest"), f.site[i].id);
        nof1_masker_free(f.site[i].masker);
    }
    json_decref(f.json);
}

Test(vectors, encodings)
{
    struct fixture f = {0};
    load(&f);
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(f.json, "encode"), i, one) {
        struct nof1_ring x;
        uint8_t got[32];
        cr_assert_eq(nof1_ring_encode(&x, number(text(one, "bits"))), NOF1_OK);
        nof1_ring_write(got, &x);
        same(got, one, "ring");
    }
    cr_assert_geq(i, 40);
    json_array_foreach(json_object_get(f.json, "decode"), i, one) {
        struct nof1_ring x;
        uint8_t bytes[32];
        bytes32(bytes, one, "ring");
        nof1_ring_read(&x, bytes);
        double got = nof1_ring_decode(&x);
        double want = number(text(one, "bits"));
        cr_expect_arr_eq(&got, &want, sizeof got, "%s: got %a want %a", text(one, "ring"), got,
                         want);
    }
    cr_assert_geq(i, 15);
    json_decref(f.json);
}
