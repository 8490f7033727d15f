/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Masks: the primitives' published answers, that masks cancel between sites that agree on
 * everything and between no others, that every strict subset stays hidden, and that low-order
 * points are refused.
 */
#include <criterion/criterion.h>
#include <crypto/hkdf.h>
#include <crypto/x25519.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define SITES_MAX 64

static size_t unhex(uint8_t *out, const char *hex)
{
    size_t length = strlen(hex) / 2;
    for (size_t i = 0; i < length; i++) {
        unsigned byte = 0;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return length;
}

static void expect_hex(const uint8_t *got, const char *hex)
{
    uint8_t want[64];
    size_t length = unhex(want, hex);
    cr_expect_arr_eq(got, want, length, "%s", hex);
}

static void random_bytes(struct test_random *random, uint8_t *out, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        out[i] = (uint8_t)test_random_next(random);
    }
}

/* ---- published answers ----------------------------------------------------------------------- */

static void multiply(uint8_t out[32], const uint8_t scalar[32], const uint8_t u[32])
{
    struct nof1_x25519 *own = NULL;
    cr_assert_eq(nof1_x25519_new(&own, scalar), NOF1_OK);
    cr_assert_eq(nof1_x25519_agree(own, out, u), NOF1_OK);
    nof1_x25519_free(own);
}

Test(mask, x25519_rfc_7748_section_5_2)
{
    static const char *const vector[2][3] = {
        {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
         "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
         "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
        {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
         "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
         "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"}};
    uint8_t k[32], u[32], out[32];
    for (size_t i = 0; i < 2; i++) {
        unhex(k, vector[i][0]);
        unhex(u, vector[i][1]);
        multiply(out, k, u);
        expect_hex(out, vector[i][2]);
    }
    memset(k, 0, sizeof k);
    k[0] = 9;
    memcpy(u, k, sizeof u);
    for (int i = 1; i <= 1000; i++) {
        multiply(out, k, u);
        memcpy(u, k, sizeof u);
        memcpy(k, out, sizeof k);
        if (i == 1) {
            expect_hex(k, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
        }
    }
    expect_hex(k, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

Test(mask, x25519_rfc_7748_section_6_1)
{
    uint8_t a[32], b[32], public_a[32], public_b[32], out[32];
    unhex(a, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    unhex(b, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    cr_assert_eq(nof1_x25519_public(public_a, a), NOF1_OK);
    cr_assert_eq(nof1_x25519_public(public_b, b), NOF1_OK);
    expect_hex(public_a, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    expect_hex(public_b, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    multiply(out, a, public_b);
    expect_hex(out, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    multiply(out, b, public_a);
    expect_hex(out, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

/* The cipher that masks use, by the name that masks fetch. */
Test(mask, aes_256_ctr_sp_800_38a_f_5_5)
{
    uint8_t key[32], counter[16], plain[64], out[64];
    unhex(key, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    unhex(counter, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    unhex(plain, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                 "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int length = 0;
    cr_assert_eq(EVP_EncryptInit_ex2(context, cipher, key, counter, NULL), 1);
    cr_assert_eq(EVP_EncryptUpdate(context, out, &length, plain, sizeof plain), 1);
    cr_expect_eq(length, 64);
    expect_hex(out, "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
                    "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6");
    EVP_CIPHER_CTX_free(context);
    EVP_CIPHER_free(cipher);
}

/* ---- a consortium ---------------------------------------------------------------------------- */

/* What one site believes; two sites' masks cancel only when all three are equal. */
struct belief {
    uint8_t h_q[32], h_roster[32], h_round[32];
};

struct consortium {
    size_t sites;
    char id[SITES_MAX][16];
    uint8_t secret[SITES_MAX][32], x25519[SITES_MAX][32];
    struct belief belief[SITES_MAX];
    struct nof1_slice psk[SITES_MAX]; /* what each site believes is shared by all */
    struct nof1_masker *masker[SITES_MAX];
};

static void consortium_init(struct consortium *c, size_t sites, uint64_t seed)
{
    struct test_random random = {seed};
    struct belief belief;
    random_bytes(&random, (uint8_t *)&belief, sizeof belief);
    *c = (struct consortium){.sites = sites};
    for (size_t i = 0; i < sites; i++) {
        /* Ids whose byte order is neither the index's nor the number's. */
        snprintf(c->id[i], sizeof c->id[i], "%s%zu", i % 3 == 0 ? "Site-" : "clinic", i * 7 % 101);
        random_bytes(&random, c->secret[i], 32);
        cr_assert_eq(nof1_x25519_public(c->x25519[i], c->secret[i]), NOF1_OK);
        c->belief[i] = belief;
    }
}

static void make_maskers(struct consortium *c)
{
    struct nof1_peer peer[SITES_MAX];
    for (size_t i = 0; i < c->sites; i++) {
        size_t peers = 0;
        for (size_t j = c->sites; j-- > 0;) {
            if (j != i) {
                peer[peers++] = (struct nof1_peer){c->id[j], c->x25519[j], c->psk[i]};
            }
        }
        uint8_t secret[32];
        memcpy(secret, c->secret[i], sizeof secret);
        cr_assert_eq(nof1_masker_new(&c->masker[i], secret, c->id[i], peers, peer,
                                     c->belief[i].h_q, c->belief[i].h_roster),
                     NOF1_OK);
        for (size_t k = 0; k < sizeof secret; k++) {
            cr_assert_eq(secret[k], 0, "the secret is erased");
        }
    }
}

static void free_maskers(struct consortium *c)
{
    for (size_t i = 0; i < c->sites; i++) {
        nof1_masker_free(c->masker[i]);
        c->masker[i] = NULL;
    }
}

static double clear_value(size_t site, size_t element)
{
    return element == 0 ? 1.0 : (double)site * 0.1 - 1e-7 * (double)element + 3.0;
}

static struct nof1_ring clear_element(size_t site, size_t element)
{
    struct nof1_ring out;
    cr_assert_eq(nof1_ring_encode(&out, clear_value(site, element)), NOF1_OK);
    return out;
}

/* Every site masks m elements: y[sites][m], freed by the caller. */
static struct nof1_ring *mask_all(struct consortium *c, size_t m)
{
    struct nof1_ring *y = calloc(c->sites * m + 1, sizeof *y);
    cr_assert_not_null(y);
    for (size_t i = 0; i < c->sites; i++) {
        for (size_t k = 0; k < m; k++) {
            y[i * m + k] = clear_element(i, k);
        }
        cr_assert_eq(nof1_masker_apply(c->masker[i], c->belief[i].h_round, m, y + i * m), NOF1_OK);
    }
    return y;
}

/* How many of the m totals over the sites in `set` equal the clear totals over the same sites. */
static size_t matches(const struct consortium *c, const struct nof1_ring *y, size_t m, uint64_t set)
{
    size_t equal = 0;
    for (size_t k = 0; k < m; k++) {
        struct nof1_ring masked = {{0}};
        struct nof1_ring clear = {{0}};
        for (size_t i = 0; i < c->sites; i++) {
            if ((set >> i & 1) != 0) {
                struct nof1_ring x = clear_element(i, k);
                nof1_ring_add(&masked, &y[i * m + k]);
                nof1_ring_add(&clear, &x);
            }
        }
        equal += nof1_ring_equal(&masked, &clear);
    }
    return equal;
}

static uint64_t everyone(size_t sites)
{
    return sites == 64 ? UINT64_MAX : (UINT64_C(1) << sites) - 1;
}

Test(mask, masks_cancel_for_2_to_64_sites)
{
    static const size_t length[] = {0, 1, 2, 17, 127, 128, 129};
    static struct consortium c;
    size_t checked = 0;
    for (size_t sites = 2; sites <= SITES_MAX; sites += sites < 12 ? 1 : 13) {
        consortium_init(&c, sites, sites);
        make_maskers(&c);
        for (size_t l = 0; l < sizeof length / sizeof *length; l++) { /* a round each */
            size_t m = length[l];
            struct nof1_ring *y = mask_all(&c, m);
            cr_assert_eq(matches(&c, y, m, everyone(sites)), m, "%zu sites, m = %zu", sites, m);
            for (size_t i = 0; i < sites; i++) {
                cr_assert_eq(matches(&c, y, m, UINT64_C(1) << i), 0);
            }
            checked += m * (sites + 1);
            free(y);
        }
        free_maskers(&c);
    }
    cr_expect_gt(checked, 10000);
}

Test(mask, no_strict_subset_equals_its_clear_sum)
{
    static struct consortium c;
    enum { M = 3 };
    consortium_init(&c, 12, 21);
    make_maskers(&c);
    struct nof1_ring *y = mask_all(&c, M);
    for (uint64_t set = 1; set < everyone(12); set++) {
        cr_assert_eq(matches(&c, y, M, set), 0, "set %llx", (unsigned long long)set);
    }
    cr_expect_eq(matches(&c, y, M, everyone(12)), M);
    free(y);
    free_maskers(&c);
    consortium_init(&c, 64, 22);
    make_maskers(&c);
    y = mask_all(&c, 1);
    struct test_random random = {23};
    for (int i = 0; i < 10000; i++) {
        uint64_t set = test_random_next(&random);
        set = i % 2 == 0 ? everyone(64) & ~(UINT64_C(1) << (set % 64)) : set; /* one left out */
        cr_assert_eq(matches(&c, y, 1, set), set == everyone(64));
    }
    free(y);
    free_maskers(&c);
}

/* One site believes in one other bit of the plan, the roster or the round: no total survives. */
Test(mask, one_flipped_bit_breaks_every_total)
{
    static struct consortium c;
    enum { SITES = 3, M = 4 };
    for (size_t bit = 0; bit < 8 * sizeof(struct belief); bit++) {
        consortium_init(&c, SITES, 31);
        uint8_t *bytes = (uint8_t *)&c.belief[bit % SITES];
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        make_maskers(&c);
        struct nof1_ring *y = mask_all(&c, M);
        cr_assert_eq(matches(&c, y, M, everyone(SITES)), 0, "bit %zu", bit);
        free(y);
        free_maskers(&c);
    }
}

Test(mask, one_wrong_earlier_round_breaks_only_that_round)
{
    static struct consortium c;
    enum { SITES = 4, M = 3 };
    consortium_init(&c, SITES, 32);
    make_maskers(&c);
    c.belief[2].h_round[5] ^= 4;
    struct nof1_ring *first = mask_all(&c, M);
    cr_expect_eq(matches(&c, first, M, everyone(SITES)), 0);
    c.belief[2].h_round[5] ^= 4;
    struct nof1_ring *second = mask_all(&c, M); /* the ratchet does not depend on h_round */
    cr_expect_eq(matches(&c, second, M, everyone(SITES)), M);
    free(first);
    free(second);
    free_maskers(&c);
}

Test(mask, a_pre_shared_key_must_be_shared)
{
    static struct consortium c;
    enum { SITES = 3, M = 2 };
    consortium_init(&c, SITES, 33);
    make_maskers(&c);
    struct nof1_ring *without = mask_all(&c, M);
    free_maskers(&c);
    for (size_t i = 0; i < SITES; i++) {
        c.psk[i] = nof1_slice_text("pre-shared");
    }
    make_maskers(&c);
    struct nof1_ring *with = mask_all(&c, M);
    cr_expect_eq(matches(&c, with, M, everyone(SITES)), M);
    for (size_t k = 0; k < SITES * M; k++) {
        cr_expect(!nof1_ring_equal(&with[k], &without[k]), "the key counts");
    }
    free_maskers(&c);
    c.psk[1] = nof1_slice_text("pre-sharee");
    make_maskers(&c);
    struct nof1_ring *other = mask_all(&c, M);
    cr_expect_eq(matches(&c, other, M, everyone(SITES)), 0);
    free_maskers(&c);
    free(without);
    free(with);
    free(other);
}

/* The same h_round twice, and the same secrets in another attempt: never the same mask. */
Test(mask, no_mask_is_used_twice)
{
    static struct consortium c;
    enum { ROUNDS = 100 };
    struct nof1_ring seen[2 * ROUNDS];
    consortium_init(&c, 2, 34);
    for (size_t attempt = 0; attempt < 2; attempt++) {
        c.belief[0].h_roster[0] = (uint8_t)attempt;
        c.belief[1].h_roster[0] = (uint8_t)attempt;
        make_maskers(&c);
        for (size_t r = 0; r < ROUNDS; r++) {
            struct nof1_ring *y = mask_all(&c, 1);
            cr_assert_eq(matches(&c, y, 1, everyone(2)), 1);
            seen[attempt * ROUNDS + r] = y[0];
            free(y);
        }
        free_maskers(&c);
    }
    for (size_t a = 0; a < 2 * ROUNDS; a++) {
        for (size_t b = 0; b < a; b++) {
            cr_assert(!nof1_ring_equal(&seen[a], &seen[b]));
        }
    }
}

/* The mask of a pair at m = 1000 computed once more from the definitions: AES of every counter
 * block on its own, so that a counter restarted at a chunk's end would be seen. */
Test(mask, the_stream_is_ctr_from_zero_over_all_chunks)
{
    static struct consortium c;
    enum { M = 1000 };
    consortium_init(&c, 2, 35);
    make_maskers(&c);
    struct nof1_ring *y = mask_all(&c, M);
    free_maskers(&c);

    bool first_is_lower = strcmp(c.id[0], c.id[1]) < 0;
    uint8_t shared[32], chain[32], key[32];
    multiply(shared, c.secret[0], c.x25519[1]);
    uint8_t info[256] = {0};
    size_t length = 0;
    struct nof1_slice part[] = {nof1_slice_text(NOF1_DOMAIN_PAIR),
                                nof1_slice_of(c.belief[0].h_q, 32),
                                nof1_slice_text(c.id[first_is_lower ? 0 : 1]),
                                nof1_slice_text(c.id[first_is_lower ? 1 : 0])};
    for (size_t i = 0; i < 4; i++) {
        info[length + 7] = (uint8_t)part[i].length;
        memcpy(info + length + 8, part[i].data, part[i].length);
        length += 8 + part[i].length;
    }
    struct nof1_hkdf *hkdf = NULL;
    cr_assert_eq(nof1_hkdf_new(&hkdf), NOF1_OK);
    struct nof1_slice ikm = nof1_slice_of(shared, 32);
    struct nof1_slice pair_info = nof1_slice_of(info, length);
    uint8_t mask_info[9 + 32] = "nof1-mask";
    memcpy(mask_info + 9, c.belief[0].h_round, 32);
    struct nof1_slice round_info = nof1_slice_of(mask_info, sizeof mask_info);
    cr_assert_eq(nof1_hkdf_extract(hkdf, key, nof1_slice_of(c.belief[0].h_roster, 32), 1, &ikm),
                 NOF1_OK);
    cr_assert_eq(nof1_hkdf_expand(hkdf, chain, 32, key, 1, &pair_info), NOF1_OK);
    cr_assert_eq(nof1_hkdf_expand(hkdf, key, 32, chain, 1, &round_info), NOF1_OK);
    nof1_hkdf_free(hkdf);

    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    cr_assert_eq(EVP_EncryptInit_ex(context, EVP_aes_256_ecb(), NULL, key, NULL), 1);
    for (size_t k = 0; k < M; k++) {
        uint8_t block[32] = {0};
        uint8_t stream[32];
        int out = 0;
        for (size_t half = 0; half < 2; half++) {
            size_t counter = 2 * k + half;
            block[16 * half + 15] = (uint8_t)counter;
            block[16 * half + 14] = (uint8_t)(counter >> 8);
        }
        cr_assert_eq(EVP_EncryptUpdate(context, stream, &out, block, 32), 1);
        struct nof1_ring mask;
        nof1_ring_read(&mask, stream);
        struct nof1_ring want[2] = {clear_element(0, k), clear_element(1, k)};
        nof1_ring_add(&want[first_is_lower ? 0 : 1], &mask);
        nof1_ring_subtract(&want[first_is_lower ? 1 : 0], &mask);
        cr_assert(nof1_ring_equal(&y[k], &want[0]), "element %zu", k);
        cr_assert(nof1_ring_equal(&y[M + k], &want[1]), "element %zu", k);
    }
    EVP_CIPHER_CTX_free(context);
    free(y);
}

/* Each of the 256 bits of a masked number is set about half of the time: |count - n/2| < 5 sd. */
Test(mask, masked_numbers_look_uniform)
{
    static struct consortium c;
    enum { M = 4000 };
    consortium_init(&c, 3, 36);
    make_maskers(&c);
    struct nof1_ring *y = mask_all(&c, M);
    for (size_t bit = 0; bit < 256; bit++) {
        size_t ones = 0;
        for (size_t k = 0; k < M; k++) {
            ones += y[k].limb[bit / 64] >> (bit % 64) & 1;
        }
        cr_expect(ones > M / 2 - 158 && ones < M / 2 + 158, "bit %zu: %zu", bit, ones);
    }
    free(y);
    free_maskers(&c);
}

Test(mask, a_million_elements)
{
    static struct consortium c;
    enum { M = 1000000 };
    consortium_init(&c, 3, 37);
    make_maskers(&c);
    struct nof1_ring *y = calloc(M, sizeof *y);
    struct nof1_ring *sum = calloc(M, sizeof *sum);
    cr_assert(y != NULL && sum != NULL);
    for (size_t i = 0; i < 3; i++) {
        memset(y, 0, M * sizeof *y);
        cr_assert_eq(nof1_masker_apply(c.masker[i], c.belief[i].h_round, M, y), NOF1_OK);
        for (size_t k = 0; k < M; k++) {
            nof1_ring_add(&sum[k], &y[k]);
        }
    }
    struct nof1_ring zero = {{0}};
    for (size_t k = 0; k < M; k++) {
        cr_assert(nof1_ring_equal(&sum[k], &zero), "element %zu", k);
        cr_assert(!nof1_ring_equal(&y[k], &zero), "element %zu", k);
    }
    free(y);
    free(sum);
    free_maskers(&c);
}

/* ---- refusals -------------------------------------------------------------------------------- */

/* u of order 1, 2, 4, 8 and their non-canonical forms; RFC 7748 ignores the highest bit. */
static const char *const low_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};

Test(mask, low_order_points_are_refused)
{
    static struct consortium c;
    consortium_init(&c, 4, 41);
    for (size_t i = 0; i < 14 * 3; i++) {
        uint8_t point[32];
        uint8_t secret[32];
        unhex(point, low_order[i / 3 % 7]);
        point[31] |= (uint8_t)(i / 3 >= 7 ? 0x80 : 0);
        memcpy(secret, c.secret[0], sizeof secret);
        struct nof1_peer peer[3];
        for (size_t j = 0; j < 3; j++) { /* as first, middle or last peer */
            peer[j] = (struct nof1_peer){c.id[j + 1], j == i % 3 ? point : c.x25519[j + 1], {0}};
        }
        struct nof1_masker *masker = (struct nof1_masker *)&c;
        cr_expect_eq(nof1_masker_new(&masker, secret, c.id[0], 3, peer, c.belief[0].h_q,
                                     c.belief[0].h_roster),
                     NOF1_E2105, "%s", low_order[i / 3 % 7]);
        cr_expect_null(masker);
        for (size_t k = 0; k < sizeof secret; k++) {
            cr_assert_eq(secret[k], 0);
        }
    }
    cr_expect_eq(ERR_peek_error(), 0, "OpenSSL's error queue is left clean");
}

Test(mask, a_site_alone_and_a_site_with_itself_are_refused)
{
    static struct consortium c;
    consortium_init(&c, 2, 42);
    struct nof1_masker *masker = NULL;
    struct nof1_peer peer = {c.id[0], c.x25519[1], {0}};
    uint8_t secret[32];
    memcpy(secret, c.secret[0], sizeof secret);
    cr_expect_eq(nof1_masker_new(&masker, secret, c.id[0], 0, NULL, c.belief[0].h_q,
                                 c.belief[0].h_roster),
                 NOF1_E2201);
    cr_expect_null(masker);
    cr_expect_eq(secret[0] | secret[31], 0);
    memcpy(secret, c.secret[0], sizeof secret);
    cr_expect_eq(nof1_masker_new(&masker, secret, c.id[0], 1, &peer, c.belief[0].h_q,
                                 c.belief[0].h_roster),
                 NOF1_E2503);
    cr_expect_null(masker);
    nof1_masker_free(NULL);
}

/* ---- locked memory --------------------------------------------------------------------------- */

Test(mask, secrets_live_in_the_secure_heap_and_leave_it)
{
    static struct consortium c;
    nof1_rc_value rc = nof1_secrets_init();
    cr_assert(rc == NOF1_OK || rc == NOF1_E_CONFIG); /* E_CONFIG: this machine allows no mlock */
    cr_expect_eq(nof1_secrets_init(), NOF1_OK, "a second call is harmless");
    size_t before = CRYPTO_secure_used();
    consortium_init(&c, 5, 51);
    make_maskers(&c);
    cr_expect_geq(CRYPTO_secure_used(), before + 5 * 4 * 32, "chain keys");
    struct nof1_ring *y = mask_all(&c, 200);
    cr_expect_eq(matches(&c, y, 200, everyone(5)), 200);
    free(y);
    free_maskers(&c);
    cr_expect_eq(CRYPTO_secure_used(), before);
}

/* With the secure heap full, a round fails closed: nothing clear is left in y, and the masker is
 * spent. */
Test(mask, a_failed_round_leaves_nothing)
{
    static struct consortium c;
    nof1_rc_value rc = nof1_secrets_init();
    cr_assert(rc == NOF1_OK || rc == NOF1_E_CONFIG);
    consortium_init(&c, 3, 52);
    make_maskers(&c);
    static void *block[4096];
    size_t blocks = 0;
    for (size_t size = (size_t)1 << 20; size >= 512; size /= 2) {
        void *got = NULL;
        while (blocks < 4096 && (got = OPENSSL_secure_malloc(size)) != NULL) {
            block[blocks++] = got;
        }
    }
    struct nof1_ring y[2] = {clear_element(0, 0), clear_element(0, 1)};
    struct nof1_ring zero = {{0}};
    cr_expect_eq(nof1_masker_apply(c.masker[0], c.belief[0].h_round, 2, y), NOF1_E_NO_MEMORY);
    cr_expect(nof1_ring_equal(&y[0], &zero) && nof1_ring_equal(&y[1], &zero));
    while (blocks > 0) {
        OPENSSL_secure_free(block[--blocks]);
    }
    y[0] = clear_element(0, 0);
    cr_expect_eq(nof1_masker_apply(c.masker[0], c.belief[0].h_round, 1, y), NOF1_E_BUG);
    cr_expect(nof1_ring_equal(&y[0], &zero));
    free_maskers(&c);
}
