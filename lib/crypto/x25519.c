/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * X25519 (RFC 7748) through OpenSSL's EVP interface. Points of low order pass every call before
 * EVP_PKEY_derive, so its result decides; the comparison with zero is RFC 7748 section 6.1, should
 * a provider not make it.
 */
#include <crypto/x25519.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct nof1_x25519 {
    EVP_PKEY *pkey;
    EVP_PKEY_CTX *context; /* initialised to derive */
};

nof1_rc nof1_x25519_public(uint8_t out[NOF1_X25519_BYTES], const uint8_t secret[NOF1_X25519_BYTES])
{
    size_t length = NOF1_X25519_BYTES;
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, NOF1_X25519_BYTES);
    bool good = pkey != NULL && EVP_PKEY_get_raw_public_key(pkey, out, &length) == 1 &&
                length == NOF1_X25519_BYTES;
    EVP_PKEY_free(pkey);
    if (!good) {
        ERR_clear_error();
    }
    return good ? NOF1_OK : NOF1_E_CRYPTO;
}

nof1_rc nof1_x25519_new(struct nof1_x25519 **out, const uint8_t secret[NOF1_X25519_BYTES])
{
    *out = NULL;
    struct nof1_x25519 *own = calloc(1, sizeof *own);
    ENSURE(own != NULL, NOF1_E_NO_MEMORY);
    own->pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, NOF1_X25519_BYTES);
    own->context = own->pkey == NULL ? NULL : EVP_PKEY_CTX_new_from_pkey(NULL, own->pkey, NULL);
    if (own->context == NULL || EVP_PKEY_derive_init(own->context) != 1) {
        nof1_x25519_free(own);
        ERR_clear_error();
        return NOF1_E_CRYPTO;
    }
    *out = own;
    return NOF1_OK;
}

nof1_rc nof1_x25519_agree(struct nof1_x25519 *own, uint8_t shared[NOF1_X25519_BYTES],
                          const uint8_t peer[NOF1_X25519_BYTES])
{
    static const uint8_t zeros[NOF1_X25519_BYTES];
    size_t length = NOF1_X25519_BYTES;
    EVP_PKEY *other = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, NOF1_X25519_BYTES);
    bool good = other != NULL && EVP_PKEY_derive_set_peer(own->context, other) == 1 &&
                EVP_PKEY_derive(own->context, shared, &length) == 1 &&
                length == NOF1_X25519_BYTES && CRYPTO_memcmp(shared, zeros, sizeof zeros) != 0;
    EVP_PKEY_free(other);
    if (!good) {
        ERR_clear_error();
    }
    return good ? NOF1_OK : NOF1_E2105;
}

void nof1_x25519_free(struct nof1_x25519 *own)
{
    if (own == NULL) {
        return;
    }
    EVP_PKEY_CTX_free(own->context);
    EVP_PKEY_free(own->pkey); /* OpenSSL wipes the private key */
    free(own);
}
