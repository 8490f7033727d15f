/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * HKDF-SHA-256 (RFC 5869 sections 2.2 and 2.3). OpenSSL keeps the HMAC key in its secure heap and
 * wipes it; intermediate blocks are wiped here. Never logs, never stores a key.
 */
#include <crypto/hkdf.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

struct nof1_hkdf {
    EVP_MAC *mac;
    EVP_MAC_CTX *context; /* HMAC with SHA-256 already chosen */
};

nof1_rc nof1_hkdf_new(struct nof1_hkdf **out)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    *out = NULL;
    struct nof1_hkdf *hkdf = calloc(1, sizeof *hkdf);
    ENSURE(hkdf != NULL, NOF1_E_NO_MEMORY);
    hkdf->mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    hkdf->context = hkdf->mac == NULL ? NULL : EVP_MAC_CTX_new(hkdf->mac);
    if (hkdf->context == NULL || EVP_MAC_CTX_set_params(hkdf->context, params) != 1) {
        nof1_hkdf_free(hkdf);
        ERR_clear_error();
        return NOF1_E_CRYPTO;
    }
    *out = hkdf;
    return NOF1_OK;
}

void nof1_hkdf_free(struct nof1_hkdf *hkdf)
{
    if (hkdf == NULL) {
        return;
    }
    EVP_MAC_CTX_free(hkdf->context);
    EVP_MAC_free(hkdf->mac);
    free(hkdf);
}

nof1_rc nof1_hkdf_forget(struct nof1_hkdf *hkdf)
{
    const uint8_t zeros[NOF1_HASH_BYTES] = {0};
    ENSURE(EVP_MAC_init(hkdf->context, zeros, sizeof zeros, NULL) == 1, NOF1_E_CRYPTO);
    return NOF1_OK;
}

static bool feed(EVP_MAC_CTX *context, struct nof1_slice bytes)
{
    return bytes.length == 0 || EVP_MAC_update(context, bytes.data, bytes.length) == 1;
}

/* out = HMAC(key, first || parts... || last) */
static nof1_rc hmac(struct nof1_hkdf *hkdf, uint8_t out[NOF1_HASH_BYTES], struct nof1_slice key,
                    struct nof1_slice first, size_t parts, const struct nof1_slice *part,
                    struct nof1_slice last)
{
    size_t length = 0;
    bool good = EVP_MAC_init(hkdf->context, key.data, key.length, NULL) == 1;
    good = good && feed(hkdf->context, first);
    for (size_t i = 0; good && i < parts; i++) {
        good = feed(hkdf->context, part[i]);
    }
    good = good && feed(hkdf->context, last) &&
           EVP_MAC_final(hkdf->context, out, &length, NOF1_HASH_BYTES) == 1 &&
           length == NOF1_HASH_BYTES;
    if (!good) {
        ERR_clear_error();
    }
    return good ? NOF1_OK : NOF1_E_CRYPTO;
}

nof1_rc nof1_hkdf_extract(struct nof1_hkdf *hkdf, uint8_t prk[NOF1_HASH_BYTES],
                          struct nof1_slice salt, size_t parts, const struct nof1_slice *ikm)
{
    const uint8_t zeros[NOF1_HASH_BYTES] = {0};
    struct nof1_slice none = {0};
    struct nof1_slice key = salt.length == 0 ? nof1_slice_of(zeros, sizeof zeros) : salt;
    return hmac(hkdf, prk, key, none, parts, ikm, none);
}

nof1_rc nof1_hkdf_expand(struct nof1_hkdf *hkdf, uint8_t *out, size_t length,
                         const uint8_t prk[NOF1_HASH_BYTES], size_t parts,
                         const struct nof1_slice *info)
{
    ENSURE(length <= NOF1_HKDF_OUT_MAX, NOF1_E_BUG);
    uint8_t block[NOF1_HASH_BYTES];
    struct nof1_slice previous = {0};
    nof1_rc_value rc = NOF1_OK;
    uint8_t counter = 1;
    for (size_t done = 0; rc == NOF1_OK && done < length; done += sizeof block, counter++) {
        rc = hmac(hkdf, block, nof1_slice_of(prk, NOF1_HASH_BYTES), previous, parts, info,
                  nof1_slice_of(&counter, 1));
        if (rc == NOF1_OK) {
            memcpy(out + done, block, length - done < sizeof block ? length - done : sizeof block);
            previous = nof1_slice_of(block, sizeof block);
        }
    }
    OPENSSL_cleanse(block, sizeof block);
    return rc;
}
