/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A plan is offered (docs/protocol.md, "Messages", 1), and everything before the first round: the
 * checks in their order, then the site's fresh key, signed. Nothing here looks at an outcome.
 */
#include <core/site_parts.h>

#include <string.h>

#include <core/charter.h>
#include <core/epochs.h>
#include <core/plan.h>

#define MILLISECONDS 1000
#define DAY (INT64_C(86400) * MILLISECONDS)

static nof1_rc check_charter(struct nof1_site *site, const Nof1__V1__QueryOffer *offer)
{
    const struct nof1_charter *charter = site->config.charter;
    if (memcmp(offer->charter.data, charter->hash, NOF1_HASH_BYTES) != 0) {
        return nof1_fail(&site->error, NOF1_E2104, "this site has approved another charter");
    }
    if (site->now < charter->effective_at * MILLISECONDS) {
        return nof1_fail(&site->error, NOF1_E2104, "the charter is not in force yet");
    }
    if (site->paused) {
        return nof1_fail(&site->error, NOF1_E2313, "no new queries");
    }
    return NOF1_OK;
}

/* The census needs no signature: its bytes follow from the charter and the epochs, and are compared
 * when the query is made. */
static nof1_rc is_census(bool *out, const struct nof1_site *site, struct nof1_slice bytes)
{
    const struct nof1_plan *plan = NULL;
    struct nof1_error ignored = {0};
    nof1_rc_value rc =
        nof1_plan_read(&plan, site->scratch, site->config.charter, bytes, &ignored);
    ENSURE(rc != NOF1_E_NO_MEMORY, rc);
    *out = rc == NOF1_OK && strcmp(plan->analysis, NOF1_CENSUS_ANALYSIS) == 0;
    return NOF1_OK;
}

static nof1_rc check_signature(struct nof1_site *site, const Nof1__V1__QueryOffer *offer,
                               const uint8_t *h_q)
{
    const struct nof1_charter *charter = site->config.charter;
    size_t who = nof1_charter_statistician(charter, offer->statistician);
    uint8_t digest[NOF1_HASH_BYTES];
    if (who == NOF1_NONE) {
        return nof1_fail(&site->error, NOF1_E_UNAUTHORISED, "no statistician of the charter");
    }
    TRY(nof1_submit_digest(digest, h_q));
    nof1_rc_value rc =
        nof1_verify(charter->statistician[who].spki, digest,
                    nof1_slice_of(offer->signature.data, offer->signature.len));
    if (rc != NOF1_OK && !site_fatal(rc)) {
        return nof1_fail(&site->error, NOF1_E_UNAUTHORISED, "the plan's signature is not valid");
    }
    return rc;
}

/* The epoch at which a plan asks this site's block; 0: not at all. */
static uint32_t asked_epoch(const struct nof1_site *site, const struct nof1_plan *plan)
{
    size_t block = nof1_charter_block_of(site->config.charter, site->self), place = 0;
    while (place < plan->blocks && plan->block[place] != block) {
        place++;
    }
    return place == plan->blocks ? 0 : nof1_plan_block_epoch(plan, place);
}

/* What is kept of that epoch, or NULL. */
static const struct nof1_epoch *kept_epoch(const struct nof1_site *site,
                                           const struct nof1_plan *plan)
{
    const struct nof1_epoch *epoch = site->config.epoch;
    uint32_t asked = asked_epoch(site, plan);
    while (epoch != NULL && epoch->id != asked) {
        epoch = epoch->earlier;
    }
    return epoch;
}

/* There is no way back: an earlier epoch after a later one would tell the patients that changed in
 * between from the others, once more and with every other choice of blocks. All sites of the block
 * took part in the same releases, so all say the same. */
static nof1_rc check_epoch(struct nof1_site *site, const struct nof1_query *query)
{
    const struct nof1_plan *plan = query->study.plan;
    const struct nof1_epoch *epoch = kept_epoch(site, plan);
    if (asked_epoch(site, plan) <= site->stopped && site->stopped > 0) {
        return nof1_fail(&site->error, NOF1_E2313, "no new queries");
    }
    if (epoch == NULL) {
        return nof1_fail(&site->error, NOF1_E_PLAN,
                         "the plan is for another epoch than the one frozen here");
    }
    if (!query->census && epoch->id < nof1_site_family(site, plan)->epoch) {
        return nof1_fail(&site->error, NOF1_E_PLAN,
                         "a release of the outcome family has used a later epoch of the block");
    }
    return NOF1_OK;
}

static nof1_rc check_time(struct nof1_site *site, const struct nof1_query *query)
{
    if (site->now > query->study.plan->not_after * MILLISECONDS) {
        return nof1_fail(&site->error, NOF1_E_EXPIRED, "the plan's last day has passed");
    }
    return check_epoch(site, query);
}

static void count_charges(const struct nof1_site *site, const struct nof1_plan *plan,
                          uint64_t *epoch, uint64_t *day)
{
    uint32_t asked = asked_epoch(site, plan);
    *epoch = *day = 0;
    for (const struct site_record *r = site->records; r != NULL; r = r->next) {
        if (r->census || memcmp(r->h_q, plan->hash, sizeof r->h_q) == 0) {
            continue;
        }
        *epoch += r->epoch == asked ? 1 : 0;
        *day += r->day == site->now / DAY ? 1 : 0;
    }
}

nof1_rc nof1_site_check_budget(struct nof1_site *site, const struct nof1_query *query)
{
    uint64_t epoch = 0, day = 0;
    if (nof1_site_record(site, query->study.plan->hash) != NULL) {
        return NOF1_OK; /* a re-run costs nothing */
    }
    count_charges(site, query->study.plan, &epoch, &day);
    TRY(nof1_check_budget(&site->config.policy, query, epoch, day, &site->error));
    return nof1_site_check_noise(site, query);
}

static bool is_counted(const struct nof1_site *site, size_t block, uint32_t epoch)
{
    const struct nof1_census *census = site->census;
    while (census != NULL && nof1_census_block_epoch(census, block) != epoch) {
        census = census->earlier;
    }
    return census != NULL;
}

/* A census counts some block at an epoch for the first time: it is free and needs no signature, and
 * its sites that dominate are found against all blocks, so mixtures would add up to their share. */
static nof1_rc check_news(struct nof1_site *site, const struct nof1_query *query)
{
    const struct nof1_plan *plan = query->study.plan;
    bool news = !query->census || nof1_site_record(site, plan->hash) != NULL;
    for (size_t i = 0; !news && i < plan->blocks; i++) {
        news = !is_counted(site, plan->block[i], nof1_plan_block_epoch(plan, i));
    }
    return news ? NOF1_OK
                : nof1_fail(&site->error, NOF1_E_PLAN,
                            "every block has been counted at its epoch by another census");
}

static nof1_rc check_query(struct nof1_site *site, const struct nof1_query *query)
{
    TRY(check_time(site, query));
    TRY(check_news(site, query));
    TRY(nof1_check_roster(&site->config.policy, query, site->self, &site->error));
    TRY(nof1_check_census(&site->config.policy, query, &site->error));
    TRY(nof1_check_tables(&site->config.policy, query, &site->error));
    TRY(nof1_site_check_budget(site, query));
    return nof1_site_check_listed(site, query, &site->error);
}

static nof1_rc check_offer(struct nof1_site *site, const Nof1__V1__Frame *frame,
                           struct nof1_query **query)
{
    const Nof1__V1__QueryOffer *offer = frame->query_offer;
    struct nof1_slice plan = nof1_slice_of(offer->plan.data, offer->plan.len);
    uint8_t h_q[NOF1_HASH_BYTES];
    bool census = false;
    TRY(check_charter(site, offer));
    TRY(nof1_plan_hash(h_q, plan));
    ENSURE(memcmp(h_q, frame->query.data, sizeof h_q) == 0, NOF1_E2503);
    if (nof1_site_declined(site, h_q)) {
        return nof1_fail(&site->error, NOF1_E2313, "no new queries");
    }
    TRY(is_census(&census, site, plan));
    if (!census) {
        TRY(check_signature(site, offer, h_q));
    }
    TRY(nof1_query_new(query, site->config.charter, site->census, plan, &site->error));
    return check_query(site, *query);
}

static size_t live_attempts(const struct nof1_site *site)
{
    size_t count = 0;
    for (const struct site_attempt *a = site->attempts; a != NULL; a = a->next) {
        count++;
    }
    return count;
}

/* Takes over the query. */
static nof1_rc new_attempt(struct site_attempt **out, struct nof1_site *site,
                           const Nof1__V1__Frame *frame, struct nof1_query *query)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct site_attempt *attempt =
        arena == NULL ? NULL : nof1_arena_alloc(arena, 1, sizeof *attempt);
    if (attempt == NULL) {
        nof1_arena_free(arena);
        nof1_query_free(query);
        return NOF1_E_NO_MEMORY;
    }
    attempt->arena = arena;
    attempt->query = query;
    attempt->epoch = kept_epoch(site, query->study.plan);
    attempt->round = -1;
    attempt->record = nof1_site_record(site, query->study.plan->hash);
    memcpy(attempt->h_q, frame->query.data, sizeof attempt->h_q);
    memcpy(attempt->nonce, frame->attempt.data, sizeof attempt->nonce);
    attempt->deadline = site->now + (int64_t)query->study.plan->gather_by * MILLISECONDS;
    if (!query->census) { /* the plan's list of atoms was compared as of now */
        attempt->family_version = nof1_site_family(site, query->study.plan)->version;
    }
    attempt->next = site->attempts;
    site->attempts = attempt;
    *out = attempt;
    return NOF1_OK;
}

/* Fill and sign the advertisement of a fresh key. */
static nof1_rc make_key(struct nof1_site *site, struct site_attempt *attempt,
                        struct nof1_keyad *ad, uint8_t signature[NOF1_SIGNATURE_MAX])
{
    const struct nof1_entropy *entropy = &site->config.entropy;
    uint8_t digest[NOF1_HASH_BYTES];
    size_t length = 0;
    attempt->secret = nof1_arena_alloc(attempt->arena, NOF1_X25519_BYTES, 1);
    ENSURE(attempt->secret != NULL, NOF1_E_NO_MEMORY);
    TRY(entropy->fill(entropy->self, attempt->secret, NOF1_X25519_BYTES));
    TRY(entropy->fill(entropy->self, attempt->own_nonce, sizeof attempt->own_nonce));
    TRY(nof1_x25519_public(attempt->own_x25519, attempt->secret));
    *ad = (struct nof1_keyad){.site = site->config.id, .h_c = site->config.charter->hash,
                              .h_q = attempt->h_q, .attempt = attempt->nonce,
                              .x25519 = attempt->own_x25519, .nonce = attempt->own_nonce};
    TRY(nof1_keyad_digest(digest, ad));
    TRY(nof1_sign(signature, &length, site->config.key, digest));
    ad->signature = nof1_slice_of(signature, length);
    return NOF1_OK;
}

static ProtobufCBinaryData bytes_of(const uint8_t *data, size_t length)
{
    return (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)data};
}

/* A coordinator may offer a plan as often as it likes: that must not fill the ledger. */
static nof1_rc append_once(struct nof1_site *site, const struct site_attempt *attempt,
                           struct site_plans *noted, const char *kind)
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    if (nof1_site_has_plan(noted, attempt->h_q)) {
        return NOF1_OK;
    }
    TRY(nof1_site_add_plan(site, noted, attempt->h_q));
    return nof1_site_append(site, kind, attempt->h_q,
                            json_pack("{s:s, s:s}", "analysis", plan->analysis, "title",
                                      plan->title));
}

nof1_rc nof1_site_advertise(struct nof1_site *site, struct site_attempt *attempt)
{
    struct nof1_keyad made;
    uint8_t signature[NOF1_SIGNATURE_MAX];
    TRY(make_key(site, attempt, &made, signature));
    Nof1__V1__KeyAd ad = NOF1__V1__KEY_AD__INIT;
    ad.site = (char *)(uintptr_t)site->config.id;
    ad.charter = bytes_of(made.h_c, NOF1_HASH_BYTES);
    ad.plan = bytes_of(made.h_q, NOF1_HASH_BYTES);
    ad.attempt = bytes_of(made.attempt, NOF1_HASH_BYTES);
    ad.x25519 = bytes_of(made.x25519, NOF1_X25519_BYTES);
    ad.nonce = bytes_of(made.nonce, NOF1_HASH_BYTES);
    ad.signature = bytes_of(made.signature.data, made.signature.length);
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = bytes_of(attempt->h_q, NOF1_HASH_BYTES);
    frame.attempt = bytes_of(attempt->nonce, NOF1_HASH_BYTES);
    frame.body_case = NOF1__V1__FRAME__BODY_KEY_AD;
    frame.key_ad = &ad;
    attempt->phase = SITE_ADVERTISED;
    TRY(append_once(site, attempt, &site->accepted, "query.accepted"));
    TRY(nof1_site_write(site, &frame, attempt->arena, &attempt->key_ad));
    return nof1_site_answer(site, attempt, attempt->delay, attempt->key_ad);
}

nof1_rc nof1_site_offer(struct nof1_site *site, const Nof1__V1__Frame *frame)
{
    struct site_attempt *attempt = nof1_site_attempt(site, frame->query);
    if (attempt != NULL && memcmp(attempt->nonce, frame->attempt.data, NOF1_HASH_BYTES) == 0) {
        /* offered again after a reconnection: the key is made once an attempt */
        return attempt->phase == SITE_WAITING || nof1_site_is_answering(site, attempt)
                   ? NOF1_OK
                   : nof1_site_resend(site, attempt->key_ad);
    }
    if (attempt != NULL) { /* one live attempt per plan */
        nof1_site_drop(site, attempt, attempt->phase == SITE_ATTESTED ? "attested" : "replaced",
                       NOF1_OK);
    }
    if (live_attempts(site) >= SITE_ATTEMPTS_MAX) {
        return nof1_fail(&site->error, NOF1_E2304, "too many queries at once");
    }
    struct nof1_query *query = NULL;
    nof1_rc_value rc = check_offer(site, frame, &query);
    rc = rc == NOF1_OK ? nof1_site_may_try(site) : rc;
    if (rc != NOF1_OK) {
        nof1_query_free(query);
        return rc;
    }
    TRY(new_attempt(&attempt, site, frame, query));
    TRY(nof1_site_timer(site, attempt->deadline + 1));
    if (nof1_site_approved(site, attempt)) {
        return nof1_site_advertise(site, attempt);
    }
    attempt->phase = SITE_WAITING;
    return append_once(site, attempt, &site->waited, "query.waiting");
}
