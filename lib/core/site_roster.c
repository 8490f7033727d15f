/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The roster is frozen (docs/protocol.md, "Messages", 2): exactly the sites of the plan's blocks,
 * every advertisement signed under the key that the charter pins, the own one unchanged. From here
 * the attempt has one roster hash, under which all masks are made.
 */
#include <core/site_parts.h>

#include <string.h>

#include <core/charter.h>

#define MILLISECONDS 1000

static struct nof1_keyad keyad_of(const Nof1__V1__KeyAd *ad)
{
    return (struct nof1_keyad){.site = ad->site, .h_c = ad->charter.data, .h_q = ad->plan.data,
                               .attempt = ad->attempt.data, .x25519 = ad->x25519.data,
                               .nonce = ad->nonce.data,
                               .signature = nof1_slice_of(ad->signature.data, ad->signature.len)};
}

/* Every site of the plan once, nobody else. */
static nof1_rc check_members(struct nof1_site *site, const struct site_attempt *attempt,
                             const Nof1__V1__Roster *roster)
{
    const struct nof1_charter *charter = site->config.charter;
    const struct nof1_query *query = attempt->query;
    bool *seen = nof1_arena_alloc(site->scratch, charter->sites, sizeof *seen);
    ENSURE(seen != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < roster->n_key_ad; i++) {
        size_t who = nof1_charter_site(charter, roster->key_ad[i]->site);
        if (who == NOF1_NONE) {
            return nof1_fail(&site->error, NOF1_E2104, "the roster names a site that the charter "
                                                       "lacks");
        }
        if (seen[who]) {
            return nof1_fail(&site->error, NOF1_E2204, "the roster names a site twice");
        }
        seen[who] = true;
    }
    bool same = roster->n_key_ad == query->sites;
    for (size_t s = 0; s < query->sites; s++) {
        same = same && seen[query->site[s]];
    }
    if (!same) {
        return nof1_fail(&site->error, NOF1_E2204, "the roster is not the plan's blocks");
    }
    return NOF1_OK;
}

static bool same_bytes(ProtobufCBinaryData a, const uint8_t *b, size_t length)
{
    return a.len == length && memcmp(a.data, b, length) == 0;
}

/* The bytes of the own advertisement, signature included, are those that were sent. */
static nof1_rc check_own(struct nof1_site *site, const struct site_attempt *attempt,
                         const Nof1__V1__KeyAd *ad)
{
    const Nof1__V1__Frame *sent = NULL;
    TRY(nof1_frame_read(&sent, site->scratch, attempt->key_ad, &site->error));
    const Nof1__V1__KeyAd *own = sent->key_ad;
    bool same = same_bytes(ad->x25519, own->x25519.data, own->x25519.len) &&
                same_bytes(ad->nonce, own->nonce.data, own->nonce.len) &&
                same_bytes(ad->signature, own->signature.data, own->signature.len);
    ENSURE(same, NOF1_E2503);
    return NOF1_OK;
}

static nof1_rc check_ad(struct nof1_site *site, const struct site_attempt *attempt,
                        const Nof1__V1__KeyAd *ad)
{
    const struct nof1_charter *charter = site->config.charter;
    size_t who = nof1_charter_site(charter, ad->site);
    struct nof1_keyad fields = keyad_of(ad);
    uint8_t digest[NOF1_HASH_BYTES];
    bool same = same_bytes(ad->charter, charter->hash, NOF1_HASH_BYTES) &&
                same_bytes(ad->plan, attempt->h_q, NOF1_HASH_BYTES) &&
                same_bytes(ad->attempt, attempt->nonce, NOF1_HASH_BYTES);
    ENSURE(same, NOF1_E2503);
    TRY(nof1_keyad_digest(digest, &fields));
    TRY(nof1_verifier_check(site->verifier, who, charter->site[who].vault_spki, digest,
                            fields.signature));
    return who == site->self ? check_own(site, attempt, ad) : NOF1_OK;
}

/* Two sites with one key would share their masks. */
static nof1_rc check_distinct(struct nof1_site *site, const Nof1__V1__Roster *roster)
{
    for (size_t i = 0; i < roster->n_key_ad; i++) {
        for (size_t j = 0; j < i; j++) {
            if (memcmp(roster->key_ad[i]->x25519.data, roster->key_ad[j]->x25519.data,
                       NOF1_X25519_BYTES) == 0) {
                return nof1_fail(&site->error, NOF1_E2105, "two sites advertise one key");
            }
        }
    }
    return NOF1_OK;
}

static nof1_rc make_masker(struct nof1_site *site, struct site_attempt *attempt,
                           const Nof1__V1__Roster *roster)
{
    size_t count = roster->n_key_ad, peers = 0;
    struct nof1_keyad *ad = nof1_arena_alloc(site->scratch, count, sizeof *ad);
    struct nof1_peer *peer = nof1_arena_alloc(site->scratch, count, sizeof *peer);
    ENSURE(ad != NULL && peer != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < count; i++) {
        ad[i] = keyad_of(roster->key_ad[i]);
        if (strcmp(ad[i].site, site->config.id) != 0) {
            peer[peers++] = (struct nof1_peer){.id = ad[i].site, .x25519 = ad[i].x25519};
        }
    }
    TRY(nof1_roster_hash(attempt->h_roster, count, ad));
    if (!site_is_alone(site, attempt)) {
        TRY(nof1_masker_new(&attempt->masker, attempt->secret, site->config.id, peers, peer,
                            attempt->h_q, attempt->h_roster));
    }
    return nof1_transcript_open(attempt->transcript, site->config.charter->hash, attempt->h_q,
                                attempt->h_roster);
}

nof1_rc nof1_site_roster(struct nof1_site *site, struct site_attempt *attempt,
                         const Nof1__V1__Frame *frame, struct nof1_slice bytes)
{
    const Nof1__V1__Roster *roster = frame->roster;
    if (attempt->phase == SITE_ROUNDS || attempt->phase == SITE_ATTESTED) {
        ENSURE(nof1_slice_equal(bytes, attempt->roster), NOF1_E2503); /* frozen */
        return NOF1_OK;
    }
    ENSURE(attempt->phase == SITE_ADVERTISED, NOF1_E2503);
    TRY(check_members(site, attempt, roster));
    for (size_t i = 0; i < roster->n_key_ad; i++) {
        TRY(check_ad(site, attempt, roster->key_ad[i]));
    }
    TRY(check_distinct(site, roster));
    TRY(make_masker(site, attempt, roster));
    attempt->roster = nof1_arena_copy(attempt->arena, bytes);
    ENSURE(attempt->roster.data != NULL, NOF1_E_NO_MEMORY);
    attempt->phase = SITE_ROUNDS;
    attempt->deadline =
        site->now + (int64_t)attempt->query->study.plan->deadline * MILLISECONDS;
    return nof1_site_timer(site, attempt->deadline + 1);
}
