/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pairwise masks (docs/protocol.md; the no-dropout core of Bonawitz et al., CCS 2017): X25519
 * (RFC 7748), HKDF-SHA-256 (RFC 5869), AES-256-CTR over zeros (SP 800-38A). A key makes one stream
 * and is wiped; chain keys only move forward. A masker that failed once can mask nothing more, and
 * the vector it was given is wiped, so that no clear number leaves by way of an error.
 */
#include <crypto/mask.h>

#include <crypto/hkdf.h>
#include <crypto/x25519.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define SECURE_HEAP_BYTES ((size_t)4 << 20) /* 64 attempts towards 1,000 peers, and more */
#define SECURE_HEAP_UNIT 32
#define KEY_BYTES 32
#define CHUNK_ELEMENTS 128
#define CHUNK_BYTES (CHUNK_ELEMENTS * NOF1_RING_BYTES)

static const uint8_t zeros[CHUNK_BYTES];

struct nof1_masker {
    struct nof1_hkdf *hkdf;
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *stream;
    size_t peers;
    uint8_t (*chain)[KEY_BYTES]; /* [peers] CK_r, secure memory */
    bool *add;                   /* [peers] the peer's id is greater than ours */
    bool spent;
};

/* One key and one chunk of its stream, secure memory while a round is masked. */
struct scratch {
    uint8_t key[KEY_BYTES];
    uint8_t keystream[CHUNK_BYTES];
};

nof1_rc nof1_secrets_init(void)
{
    if (CRYPTO_secure_malloc_initialized() == 1) {
        return NOF1_OK;
    }
    int made = CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_UNIT);
    ERR_clear_error();
    ENSURE(made != 0, NOF1_E_NO_MEMORY);
    return made == 1 ? NOF1_OK : NOF1_E_CONFIG; /* 2: made, but guard pages or mlock failed */
}

static nof1_rc append_field(struct nof1_buffer *out, struct nof1_slice bytes)
{
    uint8_t length[8];
    for (int i = 0; i < 8; i++) {
        length[i] = (uint8_t)((uint64_t)bytes.length >> (56 - 8 * i));
    }
    TRY(nof1_buffer_append(out, length, sizeof length));
    return nof1_buffer_append(out, bytes.data, bytes.length);
}

static nof1_rc pair_info(struct nof1_buffer *out, const char *lower, const char *higher,
                         const uint8_t h_q[NOF1_HASH_BYTES])
{
    out->length = 0;
    TRY(append_field(out, nof1_slice_text(NOF1_DOMAIN_PAIR)));
    TRY(append_field(out, nof1_slice_of(h_q, NOF1_HASH_BYTES)));
    TRY(append_field(out, nof1_slice_text(lower)));
    return append_field(out, nof1_slice_text(higher));
}

/* What every peer's derivation shares. */
struct pairing {
    struct nof1_x25519 *own;
    const char *self;
    const uint8_t *h_q, *h_r;
    struct nof1_buffer info;
    uint8_t *secret; /* [64] ss, then PRK; secure memory */
};

static nof1_rc pair_peer(struct nof1_masker *masker, size_t i, const struct nof1_peer *peer,
                         struct pairing *pairing)
{
    int order = strcmp(pairing->self, peer->id);
    ENSURE(order != 0, NOF1_E2503); /* a site is not its own peer */
    masker->add[i] = order < 0;
    TRY(pair_info(&pairing->info, order < 0 ? pairing->self : peer->id,
                  order < 0 ? peer->id : pairing->self, pairing->h_q));
    uint8_t *shared = pairing->secret;
    uint8_t *prk = pairing->secret + KEY_BYTES;
    TRY(nof1_x25519_agree(pairing->own, shared, peer->x25519));
    struct nof1_slice ikm[] = {nof1_slice_of(shared, KEY_BYTES), peer->psk};
    struct nof1_slice info = nof1_buffer_slice(&pairing->info);
    TRY(nof1_hkdf_extract(masker->hkdf, prk, nof1_slice_of(pairing->h_r, NOF1_HASH_BYTES), 2, ikm));
    return nof1_hkdf_expand(masker->hkdf, masker->chain[i], KEY_BYTES, prk, 1, &info);
}

static nof1_rc pair_all(struct nof1_masker *masker, struct nof1_x25519 *own, const char *self,
                        const struct nof1_peer *peer, const uint8_t *h_q, const uint8_t *h_r)
{
    struct pairing pairing = {.own = own, .self = self, .h_q = h_q, .h_r = h_r};
    pairing.secret = OPENSSL_secure_malloc(2 * KEY_BYTES);
    nof1_rc_value rc = pairing.secret == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
    for (size_t i = 0; rc == NOF1_OK && i < masker->peers; i++) {
        rc = pair_peer(masker, i, &peer[i], &pairing);
    }
    nof1_rc_value forgotten = nof1_hkdf_forget(masker->hkdf);
    nof1_buffer_free(&pairing.info);
    OPENSSL_secure_clear_free(pairing.secret, 2 * KEY_BYTES);
    return rc == NOF1_OK ? forgotten : rc;
}

static nof1_rc masker_fill(struct nof1_masker *masker, size_t peers)
{
    ENSURE(peers <= SIZE_MAX / KEY_BYTES, NOF1_E_NO_MEMORY);
    masker->peers = peers;
    masker->chain = OPENSSL_secure_zalloc(peers * KEY_BYTES);
    masker->add = calloc(peers, sizeof *masker->add);
    masker->stream = EVP_CIPHER_CTX_new();
    ENSURE(masker->chain != NULL && masker->add != NULL && masker->stream != NULL,
           NOF1_E_NO_MEMORY);
    masker->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
    ENSURE(masker->cipher != NULL, NOF1_E_CRYPTO);
    return nof1_hkdf_new(&masker->hkdf);
}

static nof1_rc masker_make(struct nof1_masker **out, struct nof1_x25519 *own, const char *self,
                           size_t peers, const struct nof1_peer *peer, const uint8_t *h_q,
                           const uint8_t *h_r)
{
    ENSURE(peers > 0, NOF1_E2201); /* alone there is no mask: the vector would be clear */
    struct nof1_masker *masker = calloc(1, sizeof *masker);
    ENSURE(masker != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = masker_fill(masker, peers);
    if (rc == NOF1_OK) {
        rc = pair_all(masker, own, self, peer, h_q, h_r);
    }
    if (rc != NOF1_OK) {
        nof1_masker_free(masker);
        ERR_clear_error();
        return rc;
    }
    *out = masker;
    return NOF1_OK;
}

nof1_rc nof1_masker_new(struct nof1_masker **out, uint8_t secret[NOF1_X25519_BYTES],
                        const char *self, size_t peers, const struct nof1_peer *peer,
                        const uint8_t h_q[NOF1_HASH_BYTES], const uint8_t h_r[NOF1_HASH_BYTES])
{
    *out = NULL;
    struct nof1_x25519 *own = NULL;
    nof1_rc_value rc = nof1_x25519_new(&own, secret);
    OPENSSL_cleanse(secret, NOF1_X25519_BYTES);
    if (rc == NOF1_OK) {
        rc = masker_make(out, own, self, peers, peer, h_q, h_r);
    }
    nof1_x25519_free(own);
    return rc;
}

/* Add or subtract the stream of scratch->key, a chunk at a time: memory does not grow with m. */
static nof1_rc mask_vector(struct nof1_masker *masker, struct scratch *scratch, bool add, size_t m,
                           struct nof1_ring *y)
{
    static const uint8_t initial_counter[16]; /* zero: the key is used for this stream only */
    ENSURE(EVP_EncryptInit_ex2(masker->stream, masker->cipher, scratch->key, initial_counter,
                               NULL) == 1,
           NOF1_E_CRYPTO);
    for (size_t first = 0; first < m; first += CHUNK_ELEMENTS) {
        size_t count = m - first < CHUNK_ELEMENTS ? m - first : CHUNK_ELEMENTS;
        int length = 0;
        ENSURE(EVP_EncryptUpdate(masker->stream, scratch->keystream, &length, zeros,
                                 (int)(count * NOF1_RING_BYTES)) == 1 &&
                   length == (int)(count * NOF1_RING_BYTES),
               NOF1_E_CRYPTO);
        for (size_t i = 0; i < count; i++) {
            struct nof1_ring mask;
            nof1_ring_read(&mask, scratch->keystream + i * NOF1_RING_BYTES);
            if (add) {
                nof1_ring_add(&y[first + i], &mask);
            } else {
                nof1_ring_subtract(&y[first + i], &mask);
            }
        }
    }
    return NOF1_OK;
}

static nof1_rc mask_peer(struct nof1_masker *masker, size_t i, struct scratch *scratch,
                         const uint8_t h_round[NOF1_HASH_BYTES], size_t m, struct nof1_ring *y)
{
    struct nof1_slice mask_info[] = {nof1_slice_text("nof1-mask"),
                                     nof1_slice_of(h_round, NOF1_HASH_BYTES)};
    struct nof1_slice ratchet_info = nof1_slice_text("nof1-ratchet");
    TRY(nof1_hkdf_expand(masker->hkdf, scratch->key, KEY_BYTES, masker->chain[i], 2, mask_info));
    TRY(mask_vector(masker, scratch, masker->add[i], m, y));
    return nof1_hkdf_expand(masker->hkdf, masker->chain[i], KEY_BYTES, masker->chain[i], 1,
                            &ratchet_info);
}

nof1_rc nof1_masker_apply(struct nof1_masker *masker, const uint8_t h_round[NOF1_HASH_BYTES],
                          size_t m, struct nof1_ring *y)
{
    struct scratch *scratch = OPENSSL_secure_malloc(sizeof *scratch);
    nof1_rc_value rc = scratch == NULL ? NOF1_E_NO_MEMORY : masker->spent ? NOF1_E_BUG : NOF1_OK;
    for (size_t i = 0; rc == NOF1_OK && i < masker->peers; i++) {
        rc = mask_peer(masker, i, scratch, h_round, m, y);
    }
    /* Neither the last stream's key nor the last CK_r may outlive the round inside OpenSSL. */
    nof1_rc_value forgotten = nof1_hkdf_forget(masker->hkdf);
    rc = rc == NOF1_OK ? forgotten : rc;
    EVP_CIPHER_CTX_reset(masker->stream);
    OPENSSL_secure_clear_free(scratch, sizeof *scratch);
    if (rc != NOF1_OK) {
        masker->spent = true;
        OPENSSL_cleanse(masker->chain, masker->peers * KEY_BYTES);
        OPENSSL_cleanse(y, m * sizeof *y);
        ERR_clear_error();
    }
    return rc;
}

void nof1_masker_free(struct nof1_masker *masker)
{
    if (masker == NULL) {
        return;
    }
    OPENSSL_secure_clear_free(masker->chain, masker->peers * KEY_BYTES);
    free(masker->add);
    EVP_CIPHER_CTX_free(masker->stream); /* wipes the key schedule */
    EVP_CIPHER_free(masker->cipher);
    nof1_hkdf_free(masker->hkdf);
    free(masker);
}
