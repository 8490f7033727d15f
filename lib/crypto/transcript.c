/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The digests that bind a query (docs/protocol.md, transcript). Fields and order are the table of
 * crypto/hash.h; nothing here decides, reads a clock or keeps state.
 */
#include <crypto/transcript.h>

#include <stdlib.h>
#include <string.h>

static struct nof1_slice hash_slice(const uint8_t *bytes)
{
    return nof1_slice_of(bytes, NOF1_HASH_BYTES);
}

nof1_rc nof1_charter_hash(uint8_t h_c[NOF1_HASH_BYTES], struct nof1_slice charter)
{
    return nof1_hash(h_c, NOF1_DOMAIN_CHARTER, 1, &charter);
}

nof1_rc nof1_plan_hash(uint8_t h_q[NOF1_HASH_BYTES], struct nof1_slice plan)
{
    return nof1_hash(h_q, NOF1_DOMAIN_PLAN, 1, &plan);
}

static void hash_ad(struct nof1_hasher *hasher, const struct nof1_keyad *ad)
{
    nof1_hasher_bytes(hasher, nof1_slice_text(ad->site));
    nof1_hasher_bytes(hasher, hash_slice(ad->h_c));
    nof1_hasher_bytes(hasher, hash_slice(ad->h_q));
    nof1_hasher_bytes(hasher, nof1_slice_of(ad->attempt, 32));
    nof1_hasher_bytes(hasher, nof1_slice_of(ad->x25519, 32));
    nof1_hasher_bytes(hasher, nof1_slice_of(ad->nonce, 32));
}

nof1_rc nof1_keyad_digest(uint8_t out[NOF1_HASH_BYTES], const struct nof1_keyad *ad)
{
    struct nof1_hasher *hasher = nof1_hasher_new(NOF1_DOMAIN_KEYAD);
    hash_ad(hasher, ad);
    return nof1_hasher_end(hasher, out);
}

static int compare_site(const void *left, const void *right)
{
    const struct nof1_keyad *const *a = left;
    const struct nof1_keyad *const *b = right;
    return strcmp((*a)->site, (*b)->site);
}

static nof1_rc hash_sorted(uint8_t h_r[NOF1_HASH_BYTES], size_t count,
                           const struct nof1_keyad *const *ad)
{
    for (size_t i = 1; i < count; i++) {
        ENSURE(strcmp(ad[i - 1]->site, ad[i]->site) != 0, NOF1_E2503);
    }
    struct nof1_hasher *hasher = nof1_hasher_new(NOF1_DOMAIN_ROSTER);
    for (size_t i = 0; i < count; i++) {
        hash_ad(hasher, ad[i]);
        nof1_hasher_bytes(hasher, ad[i]->signature);
    }
    return nof1_hasher_end(hasher, h_r);
}

nof1_rc nof1_roster_hash(uint8_t h_r[NOF1_HASH_BYTES], size_t count, const struct nof1_keyad *ad)
{
    ENSURE(count > 0, NOF1_E2503);
    const struct nof1_keyad **sorted = calloc(count, sizeof *sorted);
    ENSURE(sorted != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &ad[i];
    }
    qsort(sorted, count, sizeof *sorted, compare_site);
    nof1_rc_value rc = hash_sorted(h_r, count, sorted);
    free(sorted);
    return rc;
}

nof1_rc nof1_transcript_open(uint8_t h_0[NOF1_HASH_BYTES], const uint8_t h_c[NOF1_HASH_BYTES],
                             const uint8_t h_q[NOF1_HASH_BYTES], const uint8_t h_r[NOF1_HASH_BYTES])
{
    struct nof1_slice field[] = {hash_slice(h_c), hash_slice(h_q), hash_slice(h_r)};
    return nof1_hash(h_0, NOF1_DOMAIN_TRANSCRIPT, 3, field);
}

nof1_rc nof1_transcript_next(uint8_t out[NOF1_HASH_BYTES], const uint8_t previous[NOF1_HASH_BYTES],
                             uint64_t round, size_t params, const double *param,
                             const uint8_t total[NOF1_HASH_BYTES])
{
    struct nof1_hasher *hasher = nof1_hasher_new(NOF1_DOMAIN_ROUND);
    nof1_hasher_bytes(hasher, hash_slice(previous));
    nof1_hasher_integer(hasher, round);
    nof1_hasher_integer(hasher, params);
    for (size_t i = 0; i < params; i++) {
        uint64_t bits;
        memcpy(&bits, &param[i], sizeof bits);
        nof1_hasher_integer(hasher, bits);
    }
    nof1_hasher_bytes(hasher, hash_slice(total));
    return nof1_hasher_end(hasher, out);
}

nof1_rc nof1_total_hash(uint8_t out[NOF1_HASH_BYTES], struct nof1_slice total)
{
    return nof1_hash(out, NOF1_DOMAIN_TOTAL, 1, &total);
}

static struct nof1_hasher *begin(const char *domain, const struct nof1_statement *statement)
{
    struct nof1_hasher *hasher = nof1_hasher_new(domain);
    nof1_hasher_bytes(hasher, nof1_slice_text(statement->site));
    nof1_hasher_bytes(hasher, hash_slice(statement->h_q));
    nof1_hasher_bytes(hasher, hash_slice(statement->h_r));
    nof1_hasher_integer(hasher, statement->round);
    nof1_hasher_bytes(hasher, hash_slice(statement->transcript));
    return hasher;
}

nof1_rc nof1_masked_digest(uint8_t out[NOF1_HASH_BYTES], const struct nof1_statement *statement,
                           struct nof1_slice y)
{
    struct nof1_hasher *hasher = begin(NOF1_DOMAIN_MASKED, statement);
    nof1_hasher_bytes(hasher, y);
    return nof1_hasher_end(hasher, out);
}

nof1_rc nof1_attest_digest(uint8_t out[NOF1_HASH_BYTES], const struct nof1_statement *statement)
{
    return nof1_hasher_end(begin(NOF1_DOMAIN_ATTEST, statement), out);
}

nof1_rc nof1_refusal_digest(uint8_t out[NOF1_HASH_BYTES], const char *site,
                            const uint8_t h_q[NOF1_HASH_BYTES], const uint8_t attempt[32],
                            const char *code)
{
    struct nof1_slice field[] = {nof1_slice_text(site), hash_slice(h_q),
                                 nof1_slice_of(attempt, 32), nof1_slice_text(code)};
    return nof1_hash(out, NOF1_DOMAIN_REFUSAL, 4, field);
}

nof1_rc nof1_submit_digest(uint8_t out[NOF1_HASH_BYTES], const uint8_t h_q[NOF1_HASH_BYTES])
{
    struct nof1_slice field = hash_slice(h_q);
    return nof1_hash(out, NOF1_DOMAIN_SUBMIT, 1, &field);
}
