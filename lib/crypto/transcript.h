/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every digest of the protocol (docs/protocol.md, transcript and messages), made in one place so
 * that vault, coordinator and auditor cannot frame the same thing differently. Framing:
 * crypto/hash.h; every integer is a field of 8 bytes. tests/vectors/frm.json holds known answers
 * made by an independent script.
 *
 * Ids and codes are NUL-terminated texts, hashed without the NUL. Pointers are borrowed for the
 * call. Errors of all: NOF1_E_NO_MEMORY, NOF1_E_CRYPTO.
 */
#ifndef NOF1_CRYPTO_TRANSCRIPT_H
#define NOF1_CRYPTO_TRANSCRIPT_H

#include <crypto/hash.h>

/* A key advertisement with its signature, which is empty where only the digest is wanted. */
struct nof1_keyad {
    const char *site;
    const uint8_t *h_c, *h_q;    /* NOF1_HASH_BYTES each */
    const uint8_t *attempt;      /* 32 bytes, the coordinator's nonce */
    const uint8_t *x25519;       /* 32 bytes */
    const uint8_t *nonce;        /* 32 bytes, the site's */
    struct nof1_slice signature; /* DER, over nof1_keyad_digest */
};

/* H_c = H("nof1-charter-v1", canonical bytes) and H_q = H("nof1-plan-v1", canonical bytes). */
nof1_rc nof1_charter_hash(uint8_t h_c[NOF1_HASH_BYTES], struct nof1_slice charter);
nof1_rc nof1_plan_hash(uint8_t h_q[NOF1_HASH_BYTES], struct nof1_slice plan);

/* H("nof1-keyad-v1", site, H_c, H_q, attempt, x25519, nonce): what the vault key signs. */
nof1_rc nof1_keyad_digest(uint8_t out[NOF1_HASH_BYTES], const struct nof1_keyad *ad);
/* H_R = H("nof1-roster-v1", then for every ad in ascending byte order of the site id: site, H_c,
 * H_q, attempt, x25519, nonce, signature). The ads may come in any order. Errors: NOF1_E2503 when
 * `count` is 0 or two ads name the same site. */
nof1_rc nof1_roster_hash(uint8_t h_r[NOF1_HASH_BYTES], size_t count, const struct nof1_keyad *ad);

/* h_0 = H("nof1-frm-v1", H_c, H_q, H_R): the transcript of round 0. */
nof1_rc nof1_transcript_open(uint8_t h_0[NOF1_HASH_BYTES], const uint8_t h_c[NOF1_HASH_BYTES],
                             const uint8_t h_q[NOF1_HASH_BYTES],
                             const uint8_t h_r[NOF1_HASH_BYTES]);
/* h_r = H("nof1-round-v1", h_{r-1}, r, params, params_r[0], ..., H(S_{r-1})) for r >= 1: r and the
 * number of parameters are integers, each parameter is the 8 bytes of its binary64, big-endian;
 * `total` is nof1_total_hash of S_{r-1}. At the close r is the last round + 1 and params is 0.
 * `out` may be `previous`. */
nof1_rc nof1_transcript_next(uint8_t out[NOF1_HASH_BYTES], const uint8_t previous[NOF1_HASH_BYTES],
                             uint64_t round, size_t params, const double *param,
                             const uint8_t total[NOF1_HASH_BYTES]);
/* H(S) = H("nof1-total-v1", S), S = 32 bytes an element as nof1_ring_write makes them. */
nof1_rc nof1_total_hash(uint8_t out[NOF1_HASH_BYTES], struct nof1_slice total);

/* What a vault signs under its charter key, beside the key advertisement. `round` is an integer. */
struct nof1_statement {
    const char *site;
    const uint8_t *h_q, *h_r; /* NOF1_HASH_BYTES each; h_r is H_R, the roster's hash */
    uint64_t round;
    const uint8_t *transcript; /* NOF1_HASH_BYTES: h_round (masked) or h_{round+1} (attest) */
};
/* H("nof1-masked-v1", site, H_q, H_R, round, h_round, y), y as nof1_ring_write makes it. */
nof1_rc nof1_masked_digest(uint8_t out[NOF1_HASH_BYTES], const struct nof1_statement *statement,
                           struct nof1_slice y);
/* H("nof1-attest-v1", site, H_q, H_R, round, h_{round+1}), round = the last round. */
nof1_rc nof1_attest_digest(uint8_t out[NOF1_HASH_BYTES], const struct nof1_statement *statement);
/* H("nof1-refusal-v1", site, H_q, attempt, code), code such as "E2205". */
nof1_rc nof1_refusal_digest(uint8_t out[NOF1_HASH_BYTES], const char *site,
                            const uint8_t h_q[NOF1_HASH_BYTES], const uint8_t attempt[32],
                            const char *code);
/* H("nof1-submit-v1", H_q): what the statistician signs. */
nof1_rc nof1_submit_digest(uint8_t out[NOF1_HASH_BYTES], const uint8_t h_q[NOF1_HASH_BYTES]);

#endif
