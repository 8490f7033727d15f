/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * X25519 (RFC 7748) of one private key with many peers. Internal to lib/crypto and its tests; the
 * public key alone is nof1_x25519_public in crypto/mask.h.
 */
#ifndef NOF1_CRYPTO_X25519_H
#define NOF1_CRYPTO_X25519_H

#include <crypto/mask.h>

struct nof1_x25519;
/* The caller wipes `secret`. Errors: NOF1_E_NO_MEMORY, NOF1_E_CRYPTO. */
nof1_rc nof1_x25519_new(struct nof1_x25519 **out, const uint8_t secret[NOF1_X25519_BYTES]);
/* The shared secret, which the caller wipes. Errors: NOF1_E2105 when it is all zero, that is when
 * `peer` is a point of low order. */
nof1_rc nof1_x25519_agree(struct nof1_x25519 *own, uint8_t shared[NOF1_X25519_BYTES],
                          const uint8_t peer[NOF1_X25519_BYTES]);
void nof1_x25519_free(struct nof1_x25519 *own); /* wipes; NULL is fine */

#endif
