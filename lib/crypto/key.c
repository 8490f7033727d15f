/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ECDSA on P-256 with SHA-256 (FIPS 186-4, RFC 5480) through OpenSSL's EVP interface. One encoding
 * of a public key is accepted, the 91 bytes of an uncompressed point on the named curve, because
 * the charter pins keys by their bytes. Never asks for a passphrase, never writes a file.
 */
#include <crypto/key.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define SPKI_BYTES 91
#define P256_POINT 65 /* 4, x, y */

struct nof1_key {
    EVP_PKEY *pkey;
};

/* SubjectPublicKeyInfo up to the point's coordinates: id-ecPublicKey, prime256v1, BIT STRING of 66
 * bytes, 0 unused bits, 4 = uncompressed (RFC 5480 section 2). */
static const uint8_t spki_head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};

static bool spki_is_p256(struct nof1_slice spki)
{
    return spki.length == SPKI_BYTES && memcmp(spki.data, spki_head, sizeof spki_head) == 0;
}

static nof1_rc spki_write(uint8_t out[SPKI_BYTES], const EVP_PKEY *pkey)
{
    uint8_t *der = NULL;
    int length = i2d_PUBKEY(pkey, &der);
    bool good = length > 0 && spki_is_p256(nof1_slice_of(der, (size_t)length));
    if (good) {
        memcpy(out, der, SPKI_BYTES);
    }
    OPENSSL_free(der);
    ERR_clear_error();
    return good ? NOF1_OK : NOF1_E2105;
}

/* Takes pkey, which may be NULL. */
static nof1_rc wrap(struct nof1_key **out, EVP_PKEY *pkey)
{
    uint8_t spki[SPKI_BYTES];
    nof1_rc_value rc = pkey == NULL ? NOF1_E_CRYPTO : spki_write(spki, pkey);
    struct nof1_key *key = rc == NOF1_OK ? calloc(1, sizeof *key) : NULL;
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        ERR_clear_error();
        return rc == NOF1_OK ? NOF1_E_NO_MEMORY : rc;
    }
    key->pkey = pkey;
    *out = key;
    return NOF1_OK;
}

nof1_rc nof1_key_generate(struct nof1_key **out)
{
    *out = NULL;
    return wrap(out, EVP_EC_gen("P-256"));
}

/* An encrypted key must fail, not ask on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static bool pair_matches(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool good = context != NULL && EVP_PKEY_check(context) == 1;
    EVP_PKEY_CTX_free(context);
    return good;
}

nof1_rc nof1_key_read_pem(struct nof1_key **out, struct nof1_slice pem, struct nof1_error *error)
{
    *out = NULL;
    ENSURE(pem.length <= INT32_MAX, nof1_fail(error, NOF1_E_INPUT, "the key file is too large"));
    BIO *bio = BIO_new_mem_buf(pem.length == 0 ? "" : (const void *)pem.data, (int)pem.length);
    ENSURE(bio != NULL, NOF1_E_NO_MEMORY);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (pkey == NULL) {
        ERR_clear_error();
        return nof1_fail(error, NOF1_E_INPUT,
                         "the file holds no unencrypted PEM private key (PKCS#8)");
    }
    if (!EVP_PKEY_is_a(pkey, "EC") || !pair_matches(pkey)) {
        EVP_PKEY_free(pkey);
        ERR_clear_error();
        return nof1_fail(error, NOF1_E_INPUT, "the private key is not a valid P-256 key");
    }
    nof1_rc_value rc = wrap(out, pkey);
    return rc == NOF1_E2105 ? nof1_fail(error, NOF1_E_INPUT,
                                        "the private key is not on the named curve P-256 with an "
                                        "uncompressed public point")
                            : rc;
}

nof1_rc nof1_key_write_pem(struct nof1_buffer *out, const struct nof1_key *key)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    ENSURE(bio != NULL, NOF1_E_NO_MEMORY);
    char *data = NULL;
    nof1_rc_value rc = NOF1_E_CRYPTO;
    if (PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1) {
        long length = BIO_get_mem_data(bio, &data);
        rc = length > 0 ? nof1_buffer_append(out, data, (size_t)length) : NOF1_E_CRYPTO;
    }
    BIO_free(bio); /* the secure memory BIO wipes itself */
    ERR_clear_error();
    return rc;
}

nof1_rc nof1_key_spki(struct nof1_buffer *out, const struct nof1_key *key)
{
    uint8_t spki[SPKI_BYTES];
    TRY(spki_write(spki, key->pkey));
    return nof1_buffer_append(out, spki, sizeof spki);
}

void nof1_key_free(struct nof1_key *key)
{
    if (key == NULL) {
        return;
    }
    EVP_PKEY_free(key->pkey);
    free(key);
}

nof1_rc nof1_sign(uint8_t out[NOF1_SIGNATURE_MAX], size_t *length, const struct nof1_key *key,
                  const uint8_t digest[NOF1_HASH_BYTES])
{
    *length = NOF1_SIGNATURE_MAX;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    bool good = context != NULL && EVP_PKEY_sign_init(context) == 1 &&
                EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) == 1 &&
                EVP_PKEY_sign(context, out, length, digest, NOF1_HASH_BYTES) == 1;
    EVP_PKEY_CTX_free(context);
    if (!good) {
        *length = 0;
        ERR_clear_error();
    }
    return good ? NOF1_OK : NOF1_E_CRYPTO;
}

nof1_rc nof1_spki_read_pem(struct nof1_buffer *out, struct nof1_slice pem,
                           struct nof1_error *error)
{
    uint8_t spki[SPKI_BYTES];
    ENSURE(pem.length <= 65536, NOF1_E_INPUT);
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.length);
    ENSURE(bio != NULL, NOF1_E_NO_MEMORY);
    EVP_PKEY *pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    if (pkey == NULL) {
        (void)BIO_reset(bio);
        X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        pkey = certificate == NULL ? NULL : X509_get_pubkey(certificate);
        X509_free(certificate);
    }
    BIO_free(bio);
    nof1_rc_value rc = pkey == NULL ? NOF1_E_INPUT : spki_write(spki, pkey);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    if (rc != NOF1_OK) {
        return nof1_fail(error, NOF1_E_INPUT, "no public key on the curve P-256 in PEM");
    }
    return nof1_buffer_append(out, spki, sizeof spki);
}

/* The key of a SubjectPublicKeyInfo that spki_is_p256 accepts, from its point: a general decoder
 * would try every format and take several times as long as the verification. NULL for a point off
 * the curve. */
static EVP_PKEY *public_key(struct nof1_slice spki)
{
    char group[] = "prime256v1";
    uint8_t point[P256_POINT];
    memcpy(point, spki.data + spki.length - sizeof point, sizeof point);
    OSSL_PARAM parameter[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
        OSSL_PARAM_construct_end()};
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, parameter) != 1) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(context);
    return pkey;
}

/* A context that verifies under the key of `spki`, again and again; NULL for anything but P-256. It
 * holds the key: setting one up costs half as much as a verification. */
static EVP_PKEY_CTX *verification(struct nof1_slice spki)
{
    EVP_PKEY *pkey = spki_is_p256(spki) ? public_key(spki) : NULL;
    EVP_PKEY_CTX *context = pkey == NULL ? NULL : EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    if (context != NULL && (EVP_PKEY_verify_init(context) != 1 ||
                            EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) != 1)) {
        EVP_PKEY_CTX_free(context);
        context = NULL;
    }
    EVP_PKEY_free(pkey);
    return context;
}

static nof1_rc check_signature(EVP_PKEY_CTX *context, const uint8_t digest[NOF1_HASH_BYTES],
                               struct nof1_slice signature)
{
    bool good = context != NULL && signature.length > 0 &&
                signature.length <= NOF1_SIGNATURE_MAX &&
                EVP_PKEY_verify(context, signature.data, signature.length, digest,
                                NOF1_HASH_BYTES) == 1;
    if (!good) {
        ERR_clear_error();
    }
    return good ? NOF1_OK : NOF1_E2105;
}

nof1_rc nof1_verify(struct nof1_slice spki, const uint8_t digest[NOF1_HASH_BYTES],
                    struct nof1_slice signature)
{
    EVP_PKEY_CTX *context = verification(spki);
    nof1_rc_value rc = check_signature(context, digest, signature);
    EVP_PKEY_CTX_free(context);
    return rc;
}

/* ---- many signatures under few keys ---------------------------------------------------------- */

struct known_key {
    uint8_t spki[SPKI_BYTES];
    EVP_PKEY_CTX *context; /* NULL: not seen yet */
};

struct nof1_verifier {
    size_t keys;
    struct known_key *key;
};

nof1_rc nof1_verifier_new(struct nof1_verifier **out, size_t keys)
{
    *out = NULL;
    struct nof1_verifier *verifier = calloc(1, sizeof *verifier);
    ENSURE(verifier != NULL, NOF1_E_NO_MEMORY);
    verifier->keys = keys;
    verifier->key = calloc(keys + 1, sizeof *verifier->key);
    if (verifier->key == NULL) {
        free(verifier);
        return NOF1_E_NO_MEMORY;
    }
    *out = verifier;
    return NOF1_OK;
}

nof1_rc nof1_verifier_check(struct nof1_verifier *verifier, size_t key, struct nof1_slice spki,
                            const uint8_t digest[NOF1_HASH_BYTES], struct nof1_slice signature)
{
    ENSURE(key < verifier->keys, NOF1_E_BUG);
    ENSURE(spki.length == SPKI_BYTES, NOF1_E2105);
    struct known_key *known = &verifier->key[key];
    if (known->context == NULL || memcmp(known->spki, spki.data, SPKI_BYTES) != 0) {
        EVP_PKEY_CTX_free(known->context);
        known->context = verification(spki);
        memcpy(known->spki, spki.data, SPKI_BYTES);
    }
    return check_signature(known->context, digest, signature);
}

void nof1_verifier_free(struct nof1_verifier *verifier)
{
    if (verifier == NULL) {
        return;
    }
    for (size_t i = 0; i < verifier->keys; i++) {
        EVP_PKEY_CTX_free(verifier->key[i].context);
    }
    free(verifier->key);
    free(verifier);
}
