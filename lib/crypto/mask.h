/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pairwise masks of frozen-roster masking (docs/protocol.md): X25519, HKDF-SHA-256, AES-256-CTR
 * over zeros, one key per use, ratcheted per round. Secrets live in locked memory and are wiped.
 */
#ifndef NOF1_CRYPTO_MASK_H
#define NOF1_CRYPTO_MASK_H

#include <crypto/hash.h>
#include <crypto/ring.h>

#define NOF1_X25519_BYTES 32

/* Allocate secure memory for the process (mlock, guard pages). Call once at start-up; without it
 * secrets fall back to ordinary memory that is still wiped. Errors: NOF1_E_NO_MEMORY; NOF1_E_CONFIG
 * when the memory was made but could not be locked (RLIMIT_MEMLOCK): it is used all the same. */
nof1_rc nof1_secrets_init(void);

/* Public key of a private key made of 32 random bytes (the caller's entropy port). */
nof1_rc nof1_x25519_public(uint8_t out[NOF1_X25519_BYTES], const uint8_t secret[NOF1_X25519_BYTES]);

/* The chain keys CK of one site towards all its peers, for one attempt of one query. */
struct nof1_masker;
struct nof1_peer {
    const char *id;
    const uint8_t *x25519;     /* 32 bytes */
    struct nof1_slice psk;     /* optional pre-shared key, may be empty */
};

/* Derive CK_0 towards every peer: ss = X25519(secret, peer), HKDF-SHA256(ikm = ss || psk, salt =
 * H_R, info = length-prefixed ("nof1-pair-v1", H_q, lower id, higher id)). `self` and the peers'
 * ids are ordered by strcmp. The secret is erased in place, whatever happens. Errors: NOF1_E2105
 * for a low-order point, NOF1_E2201 without a peer, NOF1_E2503 when a peer is `self`. */
nof1_rc nof1_masker_new(struct nof1_masker **out, uint8_t secret[NOF1_X25519_BYTES],
                        const char *self, size_t peers, const struct nof1_peer *peer,
                        const uint8_t h_q[NOF1_HASH_BYTES], const uint8_t h_r[NOF1_HASH_BYTES]);
/* Add this round's masks to y[m] in place: key_ij = HKDF-Expand(CK_r, "nof1-mask" || h_round, 32);
 * add PRG(key_ij) when peer id > self, subtract when smaller. Then CK_{r+1} =
 * HKDF-Expand(CK_r, "nof1-ratchet", 32) and CK_r is erased. On an error y is wiped and the masker
 * can mask nothing more. */
nof1_rc nof1_masker_apply(struct nof1_masker *masker, const uint8_t h_round[NOF1_HASH_BYTES],
                          size_t m, struct nof1_ring *y);
void nof1_masker_free(struct nof1_masker *masker); /* wipes */

#endif
