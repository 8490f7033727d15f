/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * SHA-256 (FIPS 180-4) over length-prefixed fields and HMAC-SHA-256 (RFC 2104), both by OpenSSL.
 * The framing is injective: two different lists of fields never give the same input.
 */
#include <crypto/hash.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

struct nof1_hasher {
    EVP_MD_CTX *context;
    bool failed;
};

static void update(struct nof1_hasher *hasher, const void *data, size_t length)
{
    if (length > 0 && EVP_DigestUpdate(hasher->context, data, length) != 1) {
        hasher->failed = true;
    }
}

static void integer_bytes(uint8_t out[8], uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

struct nof1_hasher *nof1_hasher_new(const char *domain)
{
    struct nof1_hasher *hasher = calloc(1, sizeof *hasher);
    if (hasher == NULL) {
        return NULL;
    }
    hasher->context = EVP_MD_CTX_new();
    if (hasher->context == NULL) {
        free(hasher);
        return NULL;
    }
    hasher->failed = EVP_DigestInit_ex(hasher->context, EVP_sha256(), NULL) != 1;
    nof1_hasher_bytes(hasher, nof1_slice_text(domain));
    return hasher;
}

void nof1_hasher_bytes(struct nof1_hasher *hasher, struct nof1_slice bytes)
{
    if (hasher == NULL) { /* nof1_hasher_end reports it */
        return;
    }
    uint8_t length[8];
    integer_bytes(length, bytes.length);
    update(hasher, length, sizeof length);
    update(hasher, bytes.data, bytes.length);
}

void nof1_hasher_integer(struct nof1_hasher *hasher, uint64_t value)
{
    uint8_t bytes[8];
    integer_bytes(bytes, value);
    nof1_hasher_bytes(hasher, nof1_slice_of(bytes, sizeof bytes));
}

nof1_rc nof1_hasher_end(struct nof1_hasher *hasher, uint8_t out[NOF1_HASH_BYTES])
{
    ENSURE(hasher != NULL, NOF1_E_NO_MEMORY);
    bool good = !hasher->failed && EVP_DigestFinal_ex(hasher->context, out, NULL) == 1;
    EVP_MD_CTX_free(hasher->context);
    free(hasher);
    if (!good) {
        ERR_clear_error();
    }
    return good ? NOF1_OK : NOF1_E_CRYPTO;
}

nof1_rc nof1_hash(uint8_t out[NOF1_HASH_BYTES], const char *domain, size_t fields,
                  const struct nof1_slice *field)
{
    struct nof1_hasher *hasher = nof1_hasher_new(domain);
    for (size_t i = 0; i < fields; i++) {
        nof1_hasher_bytes(hasher, field[i]);
    }
    return nof1_hasher_end(hasher, out);
}

nof1_rc nof1_sha256(uint8_t out[NOF1_HASH_BYTES], struct nof1_slice bytes)
{
    bool good = EVP_Digest(bytes.length == 0 ? (const uint8_t *)"" : bytes.data, bytes.length, out,
                           NULL, EVP_sha256(), NULL) == 1;
    if (!good) {
        ERR_clear_error();
    }
    return good ? NOF1_OK : NOF1_E_CRYPTO;
}

nof1_rc nof1_hmac(uint8_t out[NOF1_HASH_BYTES], struct nof1_slice key, struct nof1_slice bytes)
{
    ENSURE(key.length <= INT32_MAX, NOF1_E_BUG);
    unsigned length = 0;
    const uint8_t *none = (const uint8_t *)"";
    const uint8_t *made = HMAC(EVP_sha256(), key.length == 0 ? none : key.data, (int)key.length,
                               bytes.length == 0 ? none : bytes.data, bytes.length, out, &length);
    if (made == NULL || length != NOF1_HASH_BYTES) {
        ERR_clear_error();
        return NOF1_E_CRYPTO;
    }
    return NOF1_OK;
}
