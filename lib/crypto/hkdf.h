/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * HKDF-SHA-256 (RFC 5869) over EVP's HMAC. Internal to lib/crypto and its tests. One object serves
 * many derivations: the algorithm is fetched once, because a fetch costs more than a derivation.
 */
#ifndef NOF1_CRYPTO_HKDF_H
#define NOF1_CRYPTO_HKDF_H

#include <crypto/hash.h>

#define NOF1_HKDF_OUT_MAX ((size_t)255 * NOF1_HASH_BYTES)

struct nof1_hkdf;
nof1_rc nof1_hkdf_new(struct nof1_hkdf **out);
void nof1_hkdf_free(struct nof1_hkdf *hkdf); /* NULL is fine */
/* Wipe the last key from the object, which stays usable. Call after a batch of derivations. */
nof1_rc nof1_hkdf_forget(struct nof1_hkdf *hkdf);

/* PRK = HMAC(salt, ikm), section 2.2; ikm is the concatenation of `parts` slices, so that secrets
 * need not be copied together. An empty salt means 32 zero bytes. */
nof1_rc nof1_hkdf_extract(struct nof1_hkdf *hkdf, uint8_t prk[NOF1_HASH_BYTES],
                          struct nof1_slice salt, size_t parts, const struct nof1_slice *ikm);
/* OKM of `length` bytes, section 2.3; info is the concatenation of `parts` slices. `out` may be the
 * place of `prk` when length is 32. Errors: NOF1_E_BUG when length exceeds NOF1_HKDF_OUT_MAX. */
nof1_rc nof1_hkdf_expand(struct nof1_hkdf *hkdf, uint8_t *out, size_t length,
                         const uint8_t prk[NOF1_HASH_BYTES], size_t parts,
                         const struct nof1_slice *info);

#endif
