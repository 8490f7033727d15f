/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The ring Z_2^256 and the fixed-point encoding with scale 2^-128: enc(x) = round-half-even(x
 * 2^128), two's complement, four little-endian 64-bit limbs. Sums in it are exact and order-free.
 */
#ifndef NOF1_CRYPTO_RING_H
#define NOF1_CRYPTO_RING_H

#include <nof1/slice.h>

#define NOF1_RING_BYTES 32

struct nof1_ring { uint64_t limb[4]; }; /* limb[0] least significant */

/* Errors: NOF1_E2403 when x is not finite or |x| > 2^96. */
nof1_rc nof1_ring_encode(struct nof1_ring *out, double x);
/* The double nearest to the element (ties to even), read as signed. */
double nof1_ring_decode(const struct nof1_ring *x);
void nof1_ring_add(struct nof1_ring *sum, const struct nof1_ring *x);
void nof1_ring_subtract(struct nof1_ring *sum, const struct nof1_ring *x);
bool nof1_ring_equal(const struct nof1_ring *a, const struct nof1_ring *b);
void nof1_ring_write(uint8_t out[NOF1_RING_BYTES], const struct nof1_ring *x);
void nof1_ring_read(struct nof1_ring *out, const uint8_t in[NOF1_RING_BYTES]);

#endif
