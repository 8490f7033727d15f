/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * SHA-256 over length-prefixed fields, with the one table of everything that is ever hashed or
 * signed. A field is an 8-byte big-endian length followed by its bytes; an integer is a field of 8
 * bytes, big-endian (so 16 bytes with its length); the first field is the domain string, without a
 * final NUL. crypto/transcript.h makes the digests of the protocol; tests/vectors holds known
 * answers made by an independent script.
 */
#ifndef NOF1_CRYPTO_HASH_H
#define NOF1_CRYPTO_HASH_H

#include <nof1/slice.h>

#define NOF1_HASH_BYTES 32

/* Domain strings, the fields that follow, and who makes them. */
#define NOF1_DOMAIN_CHARTER "nof1-charter-v1"     /* canonical charter bytes */
#define NOF1_DOMAIN_PLAN "nof1-plan-v1"           /* canonical plan bytes */
#define NOF1_DOMAIN_CENSUS "nof1-census-v1"       /* canonical census bytes */
#define NOF1_DOMAIN_KEYAD "nof1-keyad-v1"   /* site, H_c, H_q, attempt nonce, X25519, site nonce */
#define NOF1_DOMAIN_ROSTER "nof1-roster-v1" /* per ad, ascending by site: its 6 fields, signature  \
                                             */
#define NOF1_DOMAIN_TRANSCRIPT "nof1-frm-v1"      /* h_0: H_c, H_q, H_R */
#define NOF1_DOMAIN_ROUND                                                                          \
    "nof1-round-v1" /* h_r: h_{r-1}, r, number of params, each binary64's bits, H(S_{r-1}) */
#define NOF1_DOMAIN_TOTAL "nof1-total-v1"         /* H(S): ring bytes */
#define NOF1_DOMAIN_MASKED "nof1-masked-v1"       /* site, H_q, H_R, r, h_r, y */
#define NOF1_DOMAIN_ATTEST "nof1-attest-v1"       /* site, H_q, H_R, r, h_{r+1} */
#define NOF1_DOMAIN_REFUSAL "nof1-refusal-v1"     /* site, H_q, attempt nonce, code */
#define NOF1_DOMAIN_SUBMIT "nof1-submit-v1"       /* H_q; signed by the statistician */
#define NOF1_DOMAIN_SERIES "nof1-series-v1" /* a patient's frozen series; never leaves the site */
#define NOF1_DOMAIN_SEED                                                                           \
    "nof1-seed-v1" /* study, epoch, analysis, patient, trial; keyed by the site secret */
#define NOF1_DOMAIN_NOISE                                                                          \
    "nof1-noise-v1" /* H_c, epoch, analysis, question, names of elements; seed: that, site */
#define NOF1_DOMAIN_PAIR "nof1-pair-v1"           /* HKDF info: H_q, lower id, higher id */

struct nof1_field { const void *data; size_t length; };

struct nof1_hasher; /* incremental; must be ended */
/* NULL: no memory. The calls below accept NULL, and nof1_hasher_end then returns NOF1_E_NO_MEMORY,
 * so that a caller checks once. */
struct nof1_hasher *nof1_hasher_new(const char *domain);
void nof1_hasher_bytes(struct nof1_hasher *hasher, struct nof1_slice bytes);
void nof1_hasher_integer(struct nof1_hasher *hasher, uint64_t value);
/* Finish and free. */
nof1_rc nof1_hasher_end(struct nof1_hasher *hasher, uint8_t out[NOF1_HASH_BYTES]);
/* One-shot over fields. */
nof1_rc nof1_hash(uint8_t out[NOF1_HASH_BYTES], const char *domain, size_t fields,
                  const struct nof1_slice *field);
/* Plain SHA-256 without framing (SPKI fingerprints, digests of files). */
nof1_rc nof1_sha256(uint8_t out[NOF1_HASH_BYTES], struct nof1_slice bytes);
/* HMAC-SHA-256. */
nof1_rc nof1_hmac(uint8_t out[NOF1_HASH_BYTES], struct nof1_slice key, struct nof1_slice bytes);

#endif
