/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * P-256 signing keys (ECDSA with SHA-256 over a 32-byte digest made by crypto/hash.h) and their
 * SubjectPublicKeyInfo, as pinned in the charter.
 */
#ifndef NOF1_CRYPTO_KEY_H
#define NOF1_CRYPTO_KEY_H

#include <crypto/hash.h>

struct nof1_key; /* private key */
nof1_rc nof1_key_generate(struct nof1_key **out);
/* PEM (PKCS#8), unencrypted; the file's mode is the caller's business, and so is wiping `pem` and
 * `out`. Errors of reading: NOF1_E_INPUT for anything but a consistent P-256 key pair. */
nof1_rc nof1_key_read_pem(struct nof1_key **out, struct nof1_slice pem, struct nof1_error *error);
nof1_rc nof1_key_write_pem(struct nof1_buffer *out, const struct nof1_key *key);
/* The 91 bytes of the public key: named curve, uncompressed point. The only encoding accepted. */
nof1_rc nof1_key_spki(struct nof1_buffer *out, const struct nof1_key *key);
void nof1_key_free(struct nof1_key *key);
/* Append the SubjectPublicKeyInfo of a PEM text that holds a public key, or a certificate and then
 * its key. Errors: NOF1_E_INPUT for anything but a P-256 key. */
nof1_rc nof1_spki_read_pem(struct nof1_buffer *out, struct nof1_slice pem,
                           struct nof1_error *error);

#define NOF1_SIGNATURE_MAX 80 /* DER ECDSA on P-256 is at most 72 bytes */
nof1_rc nof1_sign(uint8_t out[NOF1_SIGNATURE_MAX], size_t *length, const struct nof1_key *key,
                  const uint8_t digest[NOF1_HASH_BYTES]);
/* Errors: NOF1_E2105 when the signature or the key is not valid (P-256 only). */
nof1_rc nof1_verify(struct nof1_slice spki, const uint8_t digest[NOF1_HASH_BYTES],
                    struct nof1_slice signature);

/* The same for many signatures under few keys, each of which is read once. `key` is the caller's
 * number for the key, less than `keys`; other bytes under a number replace what it stood for. Holds
 * public keys only. One thread at a time. */
struct nof1_verifier;
nof1_rc nof1_verifier_new(struct nof1_verifier **out, size_t keys);
nof1_rc nof1_verifier_check(struct nof1_verifier *verifier, size_t key, struct nof1_slice spki,
                            const uint8_t digest[NOF1_HASH_BYTES], struct nof1_slice signature);
void nof1_verifier_free(struct nof1_verifier *verifier); /* NULL is fine */

#endif
