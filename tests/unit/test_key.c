/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * P-256 keys: what is signed verifies, nothing else does. Other curves and algorithms, other
 * encodings of a key or a signature, points off the curve and trailing bytes are refused.
 */
#include <criterion/criterion.h>
#include <crypto/key.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "support.h"

struct signer {
    struct nof1_key *key;
    struct nof1_buffer spki;
    uint8_t digest[NOF1_HASH_BYTES];
    uint8_t signature[NOF1_SIGNATURE_MAX];
    size_t length;
};

static void signer_init(struct signer *s, const char *message)
{
    *s = (struct signer){0};
    cr_assert_eq(nof1_key_generate(&s->key), NOF1_OK);
    cr_assert_eq(nof1_key_spki(&s->spki, s->key), NOF1_OK);
    cr_assert_eq(nof1_sha256(s->digest, nof1_slice_text(message)), NOF1_OK);
    cr_assert_eq(nof1_sign(s->signature, &s->length, s->key, s->digest), NOF1_OK);
}

static void signer_fini(struct signer *s)
{
    nof1_key_free(s->key);
    nof1_buffer_free(&s->spki);
}

static nof1_rc_value check(const struct signer *s)
{
    return nof1_verify(nof1_buffer_slice(&s->spki), s->digest,
                       nof1_slice_of(s->signature, s->length));
}

Test(key, signatures_verify_and_fit)
{
    struct signer s;
    signer_init(&s, "message");
    for (int i = 0; i < 500; i++) {
        s.digest[i % 32] = (uint8_t)(s.digest[i % 32] + 1);
        cr_assert_eq(nof1_sign(s.signature, &s.length, s.key, s.digest), NOF1_OK);
        cr_assert_leq(s.length, 72);
        cr_assert_eq(check(&s), NOF1_OK);
    }
    signer_fini(&s);
}

Test(key, any_flipped_bit_is_refused)
{
    struct signer s;
    signer_init(&s, "message");
    for (size_t bit = 0; bit < 8 * s.length; bit++) {
        s.signature[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        cr_expect_eq(check(&s), NOF1_E2105, "signature bit %zu", bit);
        s.signature[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    for (size_t bit = 0; bit < 256; bit++) {
        s.digest[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        cr_expect_eq(check(&s), NOF1_E2105, "digest bit %zu", bit);
        s.digest[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    for (size_t bit = 0; bit < 8 * s.spki.length; bit++) {
        s.spki.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        cr_expect_eq(check(&s), NOF1_E2105, "key bit %zu", bit);
        s.spki.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    cr_expect_eq(check(&s), NOF1_OK);
    cr_expect_eq(ERR_peek_error(), 0, "OpenSSL's error queue is left clean");
    signer_fini(&s);
}

Test(key, another_length_is_refused)
{
    struct signer s;
    signer_init(&s, "message");
    struct nof1_slice spki = nof1_buffer_slice(&s.spki);
    for (size_t length = 0; length <= NOF1_SIGNATURE_MAX; length++) { /* the tail is zeros */
        nof1_rc_value rc = nof1_verify(spki, s.digest, nof1_slice_of(s.signature, length));
        cr_expect_eq(rc, length == s.length ? NOF1_OK : NOF1_E2105, "%zu bytes", length);
    }
    uint8_t longer[NOF1_SIGNATURE_MAX + 40] = {0};
    memcpy(longer, s.signature, s.length);
    cr_expect_eq(nof1_verify(spki, s.digest, nof1_slice_of(longer, sizeof longer)), NOF1_E2105);
    cr_expect_eq(nof1_verify(spki, s.digest, nof1_slice_of(NULL, 0)), NOF1_E2105);
    struct nof1_slice signature = nof1_slice_of(s.signature, s.length);
    for (size_t length = 0; length < spki.length; length++) {
        cr_expect_eq(nof1_verify(nof1_slice_of(spki.data, length), s.digest, signature),
                     NOF1_E2105);
    }
    uint8_t trailing[92] = {0};
    memcpy(trailing, spki.data, 91);
    cr_expect_eq(nof1_verify(nof1_slice_of(trailing, 92), s.digest, signature), NOF1_E2105);
    cr_expect_eq(nof1_verify(nof1_slice_of(trailing, 91), s.digest, signature), NOF1_OK);
    cr_expect_eq(nof1_verify(nof1_slice_of(NULL, 0), s.digest, signature), NOF1_E2105);
    signer_fini(&s);
}

Test(key, another_der_of_the_same_signature_is_refused)
{
    struct signer s;
    signer_init(&s, "message");
    uint8_t other[NOF1_SIGNATURE_MAX + 4];
    struct nof1_slice spki = nof1_buffer_slice(&s.spki);
    /* BER: the length of the SEQUENCE in two bytes. */
    other[0] = s.signature[0];
    other[1] = 0x81;
    memcpy(other + 2, s.signature + 1, s.length - 1);
    cr_expect_eq(nof1_verify(spki, s.digest, nof1_slice_of(other, s.length + 1)), NOF1_E2105);
    /* r with one zero byte too many. */
    other[0] = s.signature[0];
    other[1] = (uint8_t)(s.signature[1] + 1);
    other[2] = s.signature[2];
    other[3] = (uint8_t)(s.signature[3] + 1);
    other[4] = 0;
    memcpy(other + 5, s.signature + 4, s.length - 4);
    cr_expect_eq(nof1_verify(spki, s.digest, nof1_slice_of(other, s.length + 1)), NOF1_E2105);
    /* r = s = 0 and r = s = 1 */
    static const uint8_t zero[] = {0x30, 6, 2, 1, 0, 2, 1, 0};
    static const uint8_t one[] = {0x30, 6, 2, 1, 1, 2, 1, 1};
    cr_expect_eq(nof1_verify(spki, s.digest, nof1_slice_of(zero, sizeof zero)), NOF1_E2105);
    cr_expect_eq(nof1_verify(spki, s.digest, nof1_slice_of(one, sizeof one)), NOF1_E2105);
    signer_fini(&s);
}

/* What the kept keys say is what nof1_verify says, in any order, also after a failure. */
Test(key, a_kept_key_verifies_as_a_new_one)
{
    enum { KEYS = 3 };
    struct signer s[KEYS];
    struct nof1_verifier *verifier = NULL;
    cr_assert_eq(nof1_verifier_new(&verifier, KEYS), NOF1_OK);
    for (size_t k = 0; k < KEYS; k++) {
        signer_init(&s[k], k == 0 ? "one" : "another");
    }
    for (size_t trial = 0; trial < 54; trial++) {
        size_t slot = trial % KEYS, key = trial / 3 % KEYS, signature = trial / 9 % KEYS;
        struct nof1_slice spki = nof1_buffer_slice(&s[key].spki);
        struct nof1_slice made = nof1_slice_of(s[signature].signature, s[signature].length);
        cr_expect_eq(nof1_verifier_check(verifier, slot, spki, s[signature].digest, made),
                     key == signature ? NOF1_OK : NOF1_E2105, "%zu", trial);
    }
    struct nof1_slice spki = nof1_buffer_slice(&s[0].spki);
    struct nof1_slice made = nof1_slice_of(s[0].signature, s[0].length);
    s[0].spki.data[60] ^= 1; /* no point of the curve: the slot holds no key, not the last one */
    cr_expect_eq(nof1_verifier_check(verifier, 0, spki, s[0].digest, made), NOF1_E2105);
    s[0].spki.data[60] ^= 1;
    cr_expect_eq(nof1_verifier_check(verifier, 0, spki, s[0].digest, made), NOF1_OK);
    cr_expect_eq(nof1_verifier_check(verifier, 0, nof1_slice_of(NULL, 0), s[0].digest, made),
                 NOF1_E2105);
    cr_expect_eq(nof1_verifier_check(verifier, 0, spki, s[0].digest, nof1_slice_of(NULL, 0)),
                 NOF1_E2105);
    cr_expect_eq(nof1_verifier_check(verifier, KEYS, spki, s[0].digest, made), NOF1_E_BUG);
    cr_expect_eq(ERR_peek_error(), 0, "OpenSSL's error queue is left clean");
    nof1_verifier_free(verifier);
    nof1_verifier_free(NULL);
    for (size_t k = 0; k < KEYS; k++) {
        signer_fini(&s[k]);
    }
}

static struct nof1_buffer pem_of(EVP_PKEY *pkey, const EVP_CIPHER *cipher)
{
    struct nof1_buffer out = {0};
    char *data = NULL;
    char pass[] = "secret";
    BIO *bio = BIO_new(BIO_s_mem());
    cr_assert_eq(PEM_write_bio_PKCS8PrivateKey(bio, pkey, cipher, pass, 6, NULL, NULL), 1);
    long length = BIO_get_mem_data(bio, &data);
    cr_assert_eq(nof1_buffer_append(&out, data, (size_t)length), NOF1_OK);
    BIO_free(bio);
    return out;
}

/* A key of another kind: not read, and its SPKI verifies nothing, not even its own signature. */
static void refuse_kind(EVP_PKEY *pkey, const char *kind, bool prehashed)
{
    cr_assert_not_null(pkey);
    struct nof1_key *key = NULL;
    struct nof1_error error = {0};
    struct nof1_buffer pem = pem_of(pkey, NULL);
    cr_expect_eq(nof1_key_read_pem(&key, nof1_buffer_slice(&pem), &error), NOF1_E_INPUT, "%s",
                 kind);
    cr_expect_null(key);
    cr_expect(strlen(error.message) > 0);
    nof1_buffer_free(&pem);

    uint8_t digest[32];
    uint8_t signature[512];
    size_t length = sizeof signature;
    cr_assert_eq(nof1_sha256(digest, nof1_slice_text("x")), NOF1_OK);
    if (prehashed) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
        cr_assert_eq(EVP_PKEY_sign_init(context), 1);
        cr_assert_eq(EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()), 1);
        cr_assert_eq(EVP_PKEY_sign(context, signature, &length, digest, sizeof digest), 1);
        EVP_PKEY_CTX_free(context);
    } else {
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        cr_assert_eq(EVP_DigestSignInit(context, NULL, NULL, NULL, pkey), 1);
        cr_assert_eq(EVP_DigestSign(context, signature, &length, digest, sizeof digest), 1);
        EVP_MD_CTX_free(context);
    }
    uint8_t *der = NULL;
    int der_length = i2d_PUBKEY(pkey, &der);
    cr_assert_gt(der_length, 0);
    cr_expect_eq(nof1_verify(nof1_slice_of(der, (size_t)der_length), digest,
                             nof1_slice_of(signature, length)),
                 NOF1_E2105, "%s", kind);
    OPENSSL_free(der);
    EVP_PKEY_free(pkey);
}

Test(key, other_algorithms_and_curves_are_refused)
{
    refuse_kind(EVP_EC_gen("P-384"), "P-384", true);
    refuse_kind(EVP_EC_gen("P-521"), "P-521", true);
    refuse_kind(EVP_EC_gen("secp256k1"), "secp256k1", true);
    refuse_kind(EVP_EC_gen("brainpoolP256r1"), "brainpoolP256r1", true);
    refuse_kind(EVP_RSA_gen(2048), "RSA", true);
    refuse_kind(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), "Ed25519", false);
}

/* The same point with explicit curve parameters, or compressed: valid elsewhere, not pinned here.
 */
Test(key, other_encodings_of_p256_are_refused)
{
    static const struct { const char *name, *value; } other[] = {
        {"encoding", "explicit"}, {"point-format", "compressed"}, {"point-format", "hybrid"}};
    for (size_t i = 0; i < 3; i++) {
        EVP_PKEY *pkey = EVP_EC_gen("P-256");
        cr_assert_eq(EVP_PKEY_set_utf8_string_param(pkey, other[i].name, other[i].value), 1);
        refuse_kind(pkey, other[i].value, true);
    }
}

Test(key, a_point_off_the_curve_is_refused)
{
    struct signer s;
    signer_init(&s, "message");
    memset(s.spki.data + 27, 0, 64); /* (0, 0) */
    cr_expect_eq(check(&s), NOF1_E2105);
    memset(s.spki.data + 27, 0xff, 64); /* coordinates beyond the field */
    cr_expect_eq(check(&s), NOF1_E2105);
    signer_fini(&s);
}

Test(key, pem_comes_back)
{
    struct signer s;
    signer_init(&s, "message");
    struct nof1_buffer pem = {0};
    cr_assert_eq(nof1_key_write_pem(&pem, s.key), NOF1_OK);
    cr_expect_eq(strncmp((const char *)pem.data, "-----BEGIN PRIVATE KEY-----", 27), 0);
    struct nof1_key *key = NULL;
    struct nof1_error error = {0};
    cr_assert_eq(nof1_key_read_pem(&key, nof1_buffer_slice(&pem), &error), NOF1_OK);
    struct nof1_buffer spki = {0};
    cr_assert_eq(nof1_key_spki(&spki, key), NOF1_OK);
    cr_expect(nof1_slice_equal(nof1_buffer_slice(&spki), nof1_buffer_slice(&s.spki)));
    cr_expect_eq(spki.length, 91);
    cr_assert_eq(nof1_sign(s.signature, &s.length, key, s.digest), NOF1_OK);
    cr_expect_eq(check(&s), NOF1_OK);
    nof1_key_free(key);
    nof1_buffer_free(&spki);
    nof1_buffer_free(&pem);
    signer_fini(&s);
}

Test(key, broken_pem_is_refused)
{
    struct nof1_error error = {0};
    struct nof1_key *key = NULL;
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    struct nof1_buffer locked = pem_of(pkey, EVP_aes_256_cbc());
    cr_expect_eq(nof1_key_read_pem(&key, nof1_buffer_slice(&locked), &error), NOF1_E_INPUT,
                 "an encrypted key must not ask for a passphrase");
    struct nof1_buffer pem = pem_of(pkey, NULL);
    static const char *const bad[] = {"", "not a key",
                                      "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(nof1_key_read_pem(&key, nof1_slice_text(bad[i]), &error), NOF1_E_INPUT);
    }
    for (size_t length = 0; length + 2 < pem.length; length += 3) {
        cr_expect_eq(nof1_key_read_pem(&key, nof1_slice_of(pem.data, length), NULL), NOF1_E_INPUT);
    }
    cr_expect_null(key);
    cr_expect_eq(ERR_peek_error(), 0);
    nof1_buffer_free(&pem);
    nof1_buffer_free(&locked);
    EVP_PKEY_free(pkey);
    nof1_key_free(NULL);
}

/* Public and private part of two different keys: EVP_PKEY_check must notice. */
Test(key, a_pair_that_does_not_match_is_refused)
{
    EVP_PKEY *a = EVP_EC_gen("P-256");
    EVP_PKEY *b = EVP_EC_gen("P-256");
    uint8_t *der_a = NULL;
    uint8_t *der_b = NULL;
    int length = i2d_PrivateKey(a, &der_a);
    cr_assert_eq(length, i2d_PrivateKey(b, &der_b));
    memcpy(der_a + length - 64, der_b + length - 64, 64); /* SEC 1: the public point comes last */
    BIO *bio = BIO_new(BIO_s_mem());
    cr_assert_gt(PEM_write_bio(bio, "EC PRIVATE KEY", "", der_a, length), 0);
    char *pem = NULL;
    long pem_length = BIO_get_mem_data(bio, &pem);
    struct nof1_key *key = NULL;
    cr_expect_eq(nof1_key_read_pem(&key, nof1_slice_of(pem, (size_t)pem_length), NULL),
                 NOF1_E_INPUT);
    BIO_free(bio);
    OPENSSL_free(der_a);
    OPENSSL_free(der_b);
    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
}
