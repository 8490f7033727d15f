/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Hashes: published answers of SHA-256 (FIPS 180-4), HMAC (RFC 4231) and HKDF (RFC 5869), the
 * framing of fields, and that every input of every protocol digest counts.
 */
#include <criterion/criterion.h>
#include <crypto/hkdf.h>
#include <crypto/transcript.h>
#include <string.h>

#include "support.h"

#define CASES 10000

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
    uint8_t want[128];
    size_t length = unhex(want, hex);
    cr_expect_arr_eq(got, want, length, "%s", hex);
}

Test(hash, sha256_published_answers)
{
    uint8_t out[32];
    cr_assert_eq(nof1_sha256(out, nof1_slice_text("")), NOF1_OK);
    expect_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    cr_assert_eq(nof1_sha256(out, nof1_slice_of(NULL, 0)), NOF1_OK);
    expect_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    cr_assert_eq(nof1_sha256(out, nof1_slice_text("abc")), NOF1_OK);
    expect_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert_eq(nof1_sha256(out, nof1_slice_text(
                                      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
                 NOF1_OK);
    expect_hex(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

Test(hash, hmac_rfc_4231)
{
    uint8_t key[131];
    uint8_t out[32];
    memset(key, 0x0b, 20);
    cr_assert_eq(nof1_hmac(out, nof1_slice_of(key, 20), nof1_slice_text("Hi There")), NOF1_OK);
    expect_hex(out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    cr_assert_eq(nof1_hmac(out, nof1_slice_text("Jefe"),
                           nof1_slice_text("what do ya want for nothing?")),
                 NOF1_OK);
    expect_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    cr_assert_eq(
        nof1_hmac(out, nof1_slice_of(key, sizeof key),
                  nof1_slice_text("Test Using Larger Than Block-Size Key - Hash Key First")),
        NOF1_OK);
    expect_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    cr_assert_eq(nof1_hmac(out, nof1_slice_of(NULL, 0), nof1_slice_of(NULL, 0)), NOF1_OK);
    expect_hex(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static const struct {
    const char *ikm, *salt, *info, *prk, *okm;
} rfc5869[] = {
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
     "f0f1f2f3f4f5f6f7f8f9", "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
    {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2"
     "e2f"
     "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
     "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8"
     "e8f"
     "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
     "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcddd"
     "edf"
     "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
     "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
     "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590"
     "e09"
     "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
     "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
     "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"}};

Test(hash, hkdf_rfc_5869)
{
    struct nof1_hkdf *hkdf = NULL;
    cr_assert_eq(nof1_hkdf_new(&hkdf), NOF1_OK);
    for (int repeat = 0; repeat < 2; repeat++) { /* one object serves many derivations */
        for (size_t i = 0; i < 3; i++) {
            uint8_t ikm[80], salt[80], info[80], prk[32], okm[82];
            size_t ikm_length = unhex(ikm, rfc5869[i].ikm);
            size_t salt_length = unhex(salt, rfc5869[i].salt);
            size_t info_length = unhex(info, rfc5869[i].info);
            size_t length = strlen(rfc5869[i].okm) / 2;
            /* Cut into two slices: the parts are concatenated. */
            struct nof1_slice ikm_part[] = {nof1_slice_of(ikm, 7),
                                            nof1_slice_of(ikm + 7, ikm_length - 7)};
            struct nof1_slice info_part[] = {nof1_slice_of(info, info_length / 3),
                                             nof1_slice_of(info + info_length / 3,
                                                           info_length - info_length / 3)};
            cr_assert_eq(
                nof1_hkdf_extract(hkdf, prk, nof1_slice_of(salt, salt_length), 2, ikm_part),
                NOF1_OK);
            expect_hex(prk, rfc5869[i].prk);
            cr_assert_eq(nof1_hkdf_expand(hkdf, okm, length, prk, 2, info_part), NOF1_OK);
            expect_hex(okm, rfc5869[i].okm);
            cr_assert_eq(nof1_hkdf_forget(hkdf), NOF1_OK);
        }
    }
    uint8_t prk[32] = {0};
    cr_expect_eq(nof1_hkdf_expand(hkdf, prk, NOF1_HKDF_OUT_MAX + 1, prk, 0, NULL), NOF1_E_BUG);
    nof1_hkdf_free(hkdf);
}

Test(hash, framing_is_length_prefixed)
{
    /* domain "d", fields "ab" and the integer 258, written out by hand */
    static const uint8_t framed[] = {0, 0, 0, 0, 0, 0, 0, 1, 'd', 0, 0, 0, 0, 0, 0, 0, 2,
                                     'a', 'b', 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2};
    uint8_t want[32];
    uint8_t got[32];
    cr_assert_eq(nof1_sha256(want, nof1_slice_of(framed, sizeof framed)), NOF1_OK);
    struct nof1_hasher *hasher = nof1_hasher_new("d");
    nof1_hasher_bytes(hasher, nof1_slice_text("ab"));
    nof1_hasher_integer(hasher, 258);
    cr_assert_eq(nof1_hasher_end(hasher, got), NOF1_OK);
    cr_expect_arr_eq(got, want, sizeof want);
    static const uint8_t integer[] = {0, 0, 0, 0, 0, 0, 1, 2};
    struct nof1_slice field[] = {nof1_slice_text("ab"), nof1_slice_of(integer, sizeof integer)};
    cr_assert_eq(nof1_hash(got, "d", 2, field), NOF1_OK);
    cr_expect_arr_eq(got, want, sizeof want);
    cr_expect_eq(nof1_hasher_end(NULL, got), NOF1_E_NO_MEMORY);
}

Test(hash, cutting_the_same_bytes_elsewhere_changes_the_hash)
{
    struct test_random random = {11};
    uint8_t bytes[64];
    for (int i = 0; i < CASES; i++) {
        for (size_t k = 0; k < sizeof bytes; k++) {
            bytes[k] = (uint8_t)(test_random_next(&random) % 3); /* look like lengths */
        }
        size_t a = test_random_next(&random) % (sizeof bytes + 1);
        size_t b = test_random_next(&random) % (sizeof bytes + 1);
        uint8_t one[32];
        uint8_t two[32];
        struct nof1_slice first[] = {nof1_slice_of(bytes, a),
                                     nof1_slice_of(bytes + a, sizeof bytes - a)};
        struct nof1_slice second[] = {nof1_slice_of(bytes, b),
                                      nof1_slice_of(bytes + b, sizeof bytes - b)};
        cr_assert_eq(nof1_hash(one, "d", 2, first), NOF1_OK);
        cr_assert_eq(nof1_hash(two, "d", 2, second), NOF1_OK);
        cr_assert_eq(memcmp(one, two, sizeof one) == 0, a == b);
    }
}

/* ---- every input of every digest counts ------------------------------------------------------ */

enum { FIELD_C, FIELD_Q, FIELD_R, FIELD_ATTEMPT, FIELD_KEY, FIELD_NONCE, FIELD_SIGNATURE,
       FIELD_TRANSCRIPT, FIELD_Y, FIELDS };
enum { DIGESTS = 11 };

struct inputs {
    uint8_t field[FIELDS][32];
    char site[8], other[8], code[8];
    uint64_t round;
    double param[2];
};

/* All digests of the protocol over one set of inputs. */
static void digests(uint8_t out[DIGESTS][32], const struct inputs *in)
{
    uint8_t copy[FIELDS][32];
    memcpy(copy, in->field, sizeof copy);
    struct nof1_keyad ad = {in->site, copy[FIELD_C], copy[FIELD_Q], copy[FIELD_ATTEMPT],
                            copy[FIELD_KEY], copy[FIELD_NONCE],
                            nof1_slice_of(copy[FIELD_SIGNATURE], 32)};
    struct nof1_keyad ads[2] = {ad, ad};
    ads[1].site = in->other;
    struct nof1_statement statement = {in->site, copy[FIELD_Q], copy[FIELD_R], in->round,
                                       copy[FIELD_TRANSCRIPT]};
    struct nof1_slice y = nof1_slice_of(copy[FIELD_Y], 32);
    nof1_rc_value rc[DIGESTS];
    rc[0] = nof1_keyad_digest(out[0], &ad);
    rc[1] = nof1_roster_hash(out[1], 2, ads);
    rc[2] = nof1_transcript_open(out[2], copy[FIELD_C], copy[FIELD_Q], copy[FIELD_R]);
    rc[3] = nof1_transcript_next(out[3], copy[FIELD_TRANSCRIPT], in->round, 2, in->param,
                                 copy[FIELD_Y]);
    rc[4] = nof1_total_hash(out[4], y);
    rc[5] = nof1_masked_digest(out[5], &statement, y);
    rc[6] = nof1_attest_digest(out[6], &statement);
    rc[7] = nof1_refusal_digest(out[7], in->site, copy[FIELD_Q], copy[FIELD_ATTEMPT], in->code);
    rc[8] = nof1_submit_digest(out[8], copy[FIELD_Q]);
    rc[9] = nof1_charter_hash(out[9], y);
    rc[10] = nof1_plan_hash(out[10], y);
    for (size_t i = 0; i < DIGESTS; i++) {
        cr_assert_eq(rc[i], NOF1_OK);
    }
}

/* Which digests use which field, from the table of crypto/hash.h. */
static const uint16_t uses[FIELDS] = {
    [FIELD_C] = 1u << 0 | 1u << 1 | 1u << 2,
    [FIELD_Q] = 1u << 0 | 1u << 1 | 1u << 2 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8,
    [FIELD_R] = 1u << 2 | 1u << 5 | 1u << 6,
    [FIELD_ATTEMPT] = 1u << 0 | 1u << 1 | 1u << 7,
    [FIELD_KEY] = 1u << 0 | 1u << 1,
    [FIELD_NONCE] = 1u << 0 | 1u << 1,
    [FIELD_SIGNATURE] = 1u << 1,
    [FIELD_TRANSCRIPT] = 1u << 3 | 1u << 5 | 1u << 6,
    [FIELD_Y] = 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 10};

static uint16_t changed(const struct inputs *a, const struct inputs *b)
{
    uint8_t one[DIGESTS][32];
    uint8_t two[DIGESTS][32];
    digests(one, a);
    digests(two, b);
    uint16_t out = 0;
    for (unsigned i = 0; i < DIGESTS; i++) {
        out = (uint16_t)(out | (unsigned)(memcmp(one[i], two[i], 32) != 0) << i);
    }
    return out;
}

Test(hash, every_bit_of_every_field_counts_where_the_table_says)
{
    struct test_random random = {12};
    struct inputs base = {.site = "b", .other = "c", .code = "E2205", .round = 3,
                          .param = {0.5, -2.0}};
    for (size_t i = 0; i < sizeof base.field; i++) {
        (&base.field[0][0])[i] = (uint8_t)test_random_next(&random);
    }
    for (size_t field = 0; field < FIELDS; field++) {
        for (size_t bit = 0; bit < 256; bit++) {
            struct inputs other = base;
            other.field[field][bit / 8] ^= (uint8_t)(1u << (bit % 8));
            cr_assert_eq(changed(&base, &other), uses[field], "field %zu bit %zu", field, bit);
        }
    }
    for (int bit = 0; bit < 64; bit++) {
        struct inputs other = base;
        other.round ^= UINT64_C(1) << bit;
        cr_expect_eq(changed(&base, &other), 1u << 3 | 1u << 5 | 1u << 6);
        other = base;
        uint64_t bits;
        memcpy(&bits, &other.param[bit % 2], sizeof bits);
        bits ^= UINT64_C(1) << bit;
        memcpy(&other.param[bit % 2], &bits, sizeof bits);
        cr_expect_eq(changed(&base, &other), 1u << 3);
    }
    struct inputs other = base;
    other.site[0] = 'a';
    cr_expect_eq(changed(&base, &other), 1u << 0 | 1u << 1 | 1u << 5 | 1u << 6 | 1u << 7);
    other = base;
    other.code[4] = '6';
    cr_expect_eq(changed(&base, &other), 1u << 7);
}

Test(hash, a_roster_names_every_site_once)
{
    uint8_t bytes[32] = {0};
    uint8_t out[32];
    struct nof1_keyad ad[3];
    for (size_t i = 0; i < 3; i++) {
        ad[i] = (struct nof1_keyad){"", bytes, bytes, bytes, bytes, bytes, nof1_slice_of(bytes, 9)};
    }
    ad[0].site = "x";
    ad[1].site = "y";
    ad[2].site = "x";
    cr_expect_eq(nof1_roster_hash(out, 3, ad), NOF1_E2503);
    cr_expect_eq(nof1_roster_hash(out, 2, ad), NOF1_OK);
    cr_expect_eq(nof1_roster_hash(out, 0, ad), NOF1_E2503);
}
