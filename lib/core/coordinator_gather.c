/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Gathering and opening (docs/protocol.md, "Messages", 1 and 2): wait until every site of the
 * roster is there with the same charter and epoch, offer the plan under a fresh nonce, collect one
 * signed key advertisement from each, freeze the roster. The roster never shrinks; waiting ends at
 * gather_by.
 */
#include <core/coordinator_parts.h>

#include <stdlib.h>
#include <string.h>

#include <core/charter.h>
#include <crypto/transcript.h>

#define OFFER_STEP_MAX (60 * 60 * 1000)

static ProtobufCBinaryData binary(const void *data, size_t length)
{
    return (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)data};
}

/* The epoch at which the plan asks a site's block. */
static uint32_t asked_of(const struct nof1_coordinator *coordinator, const struct run *run,
                         size_t index)
{
    const struct nof1_plan *plan = run->query->study.plan;
    size_t block = nof1_charter_block_of(coordinator->config.charter, run->query->site[index]);
    size_t place = 0;
    while (place < plan->blocks && plan->block[place] != block) {
        place++;
    }
    return place == plan->blocks ? 0 : nof1_plan_block_epoch(plan, place);
}

bool nof1_run_ready(const struct nof1_coordinator *coordinator, const struct run *run, size_t index)
{
    const struct peer *peer = &coordinator->peer[run->query->site[index]];
    return peer->up && nof1_peer_keeps(coordinator, run->query->site[index],
                                       asked_of(coordinator, run, index));
}

/* ---- one attempt ----------------------------------------------------------------------------- */

void nof1_attempt_free(struct attempt *attempt)
{
    if (attempt == NULL) {
        return;
    }
    nof1_arena_free(attempt->arena);
    nof1_arena_free(attempt->round_arena);
    nof1_arena_free(attempt->previous_arena);
    free(attempt);
}

static bool attempt_arrays(struct attempt *attempt, const struct nof1_query *query)
{
    struct nof1_arena *arena = attempt->arena;
    attempt->key_ad = nof1_arena_alloc(arena, query->sites, sizeof *attempt->key_ad);
    attempt->key_ads = nof1_arena_alloc(arena, query->sites, sizeof *attempt->key_ads);
    attempt->masked = nof1_arena_alloc(arena, query->sites, sizeof *attempt->masked);
    attempt->attest = nof1_arena_alloc(arena, query->sites, sizeof *attempt->attest);
    attempt->bytes_in = nof1_arena_alloc(arena, query->sites, sizeof(uint64_t));
    attempt->bytes_out = nof1_arena_alloc(arena, query->sites, sizeof(uint64_t));
    attempt->closed = nof1_arena_alloc(arena, (size_t)query->model->max_rounds + 1,
                                       sizeof *attempt->closed);
    return attempt->key_ad != NULL && attempt->key_ads != NULL && attempt->masked != NULL &&
           attempt->attest != NULL && attempt->bytes_in != NULL && attempt->bytes_out != NULL &&
           attempt->closed != NULL;
}

static struct attempt *new_attempt(const struct nof1_query *query)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL) {
        return NULL;
    }
    attempt->arena = nof1_arena_new();
    attempt->round_arena = nof1_arena_new();
    if (attempt->arena == NULL || attempt->round_arena == NULL ||
        !attempt_arrays(attempt, query)) {
        nof1_attempt_free(attempt);
        return NULL;
    }
    return attempt;
}

static nof1_rc write_offer(const struct nof1_coordinator *coordinator, const struct run *run,
                           struct attempt *attempt)
{
    Nof1__V1__QueryOffer offer = NOF1__V1__QUERY_OFFER__INIT;
    offer.charter = binary(coordinator->config.charter->hash, NOF1_HASH_BYTES);
    offer.plan = binary(run->plan.data, run->plan.length);
    offer.signature = binary(run->signature.data, run->signature.length);
    offer.statistician = (char *)(uintptr_t)run->statistician;
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = binary(run->h_q, NOF1_HASH_BYTES);
    frame.attempt = binary(attempt->nonce, NOF1_HASH_BYTES);
    frame.body_case = NOF1__V1__FRAME__BODY_QUERY_OFFER;
    frame.query_offer = &offer;
    return nof1_frame_write(&attempt->offer, attempt->arena, &frame);
}

static nof1_rc start_attempt(struct nof1_coordinator *coordinator, struct run *run)
{
    struct attempt *attempt = new_attempt(run->query);
    ENSURE(attempt != NULL, NOF1_E_NO_MEMORY);
    run->attempt = attempt;
    run->attempt_number += 1;
    run->state = RUN_OPENING;
    run->since = coordinator->now;
    TRY(coordinator->config.entropy.fill(coordinator->config.entropy.self, attempt->nonce,
                                         sizeof attempt->nonce));
    TRY(nof1_opening_layout(&attempt->opening, attempt->arena, run->query->model,
                            run->query->study.plan->atoms));
    TRY(write_offer(coordinator, run, attempt));
    attempt->offer_step = coordinator->config.round_timeout;
    attempt->offer_again = coordinator->now + attempt->offer_step;
    TRY(nof1_record_run(coordinator, run));
    return nof1_run_broadcast(coordinator, run, attempt->offer);
}

/* ---- gathering ------------------------------------------------------------------------------- */

/* A site that has frozen a later epoch and keeps this one no more never goes back: the plan cannot
 * run any more. */
static bool epoch_is_over(const struct nof1_coordinator *coordinator, const struct run *run)
{
    for (size_t i = 0; i < run->query->sites; i++) {
        size_t site = run->query->site[i];
        const struct peer *peer = &coordinator->peer[site];
        uint32_t asked = asked_of(coordinator, run, i);
        if (peer->hello && peer->same_charter && peer->epoch > asked &&
            !nof1_peer_keeps(coordinator, site, asked)) {
            return true;
        }
    }
    return false;
}

nof1_rc nof1_run_gather(struct nof1_coordinator *coordinator, struct run *run)
{
    if (epoch_is_over(coordinator, run)) {
        return nof1_run_refuse(coordinator, run, NOF1_E_PLAN,
                               "epoch: a site has frozen a later epoch; complete the plan again");
    }
    if (run->attempt_number >= NOF1_ATTEMPTS_MAX) {
        return nof1_run_expire(coordinator, run);
    }
    if (coordinator->now < run->not_before) {
        return NOF1_OK;
    }
    for (size_t i = 0; i < run->query->sites; i++) {
        if (!nof1_run_ready(coordinator, run, i)) {
            return NOF1_OK;
        }
    }
    return start_attempt(coordinator, run);
}

/* ---- opening --------------------------------------------------------------------------------- */

static struct nof1_keyad keyad_of(const Nof1__V1__KeyAd *ad)
{
    return (struct nof1_keyad){
        .site = ad->site,
        .h_c = ad->charter.data,
        .h_q = ad->plan.data,
        .attempt = ad->attempt.data,
        .x25519 = ad->x25519.data,
        .nonce = ad->nonce.data,
        .signature = nof1_slice_of(ad->signature.data, ad->signature.len),
    };
}

static bool keyad_belongs(const struct nof1_coordinator *coordinator, const struct run *run,
                          size_t index, const Nof1__V1__KeyAd *ad)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    const struct nof1_member *member = &charter->site[run->query->site[index]];
    const struct nof1_keyad fields = keyad_of(ad);
    uint8_t digest[NOF1_HASH_BYTES];
    return strcmp(ad->site, member->id) == 0 &&
           memcmp(ad->charter.data, charter->hash, NOF1_HASH_BYTES) == 0 &&
           memcmp(ad->plan.data, run->h_q, NOF1_HASH_BYTES) == 0 &&
           memcmp(ad->attempt.data, run->attempt->nonce, NOF1_HASH_BYTES) == 0 &&
           nof1_keyad_digest(digest, &fields) == NOF1_OK &&
           nof1_run_signed(coordinator, run, index, digest, ad->signature);
}

/* Until the roster is frozen a later advertisement replaces an earlier one: a vault that was
 * restarted has lost the key of the earlier. */
nof1_rc nof1_run_key_ad(struct nof1_coordinator *coordinator, struct run *run, size_t index,
                        const Nof1__V1__Frame *frame, struct nof1_slice bytes)
{
    if (run->state != RUN_OPENING || !keyad_belongs(coordinator, run, index, frame->key_ad)) {
        return NOF1_OK;
    }
    const Nof1__V1__KeyAd *known = run->attempt->key_ad[index];
    const ProtobufCBinaryData nonce = frame->key_ad->nonce;
    if (known != NULL && memcmp(known->nonce.data, nonce.data, nonce.len) == 0) {
        return NOF1_OK; /* the same advertisement once more */
    }
    if (run->attempt->key_ads[index]++ >= NOF1_KEYADS_MAX) {
        return NOF1_OK; /* each stays in memory until the attempt is over */
    }
    TRY(nof1_frame_read(&frame, run->attempt->arena, bytes, NULL));
    run->attempt->key_ad[index] = frame->key_ad;
    return NOF1_OK;
}

static nof1_rc write_roster(const struct run *run, struct attempt *attempt)
{
    Nof1__V1__Roster roster = NOF1__V1__ROSTER__INIT;
    roster.n_key_ad = run->query->sites;
    roster.key_ad = (Nof1__V1__KeyAd **)(uintptr_t)attempt->key_ad;
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = binary(run->h_q, NOF1_HASH_BYTES);
    frame.attempt = binary(attempt->nonce, NOF1_HASH_BYTES);
    frame.body_case = NOF1__V1__FRAME__BODY_ROSTER;
    frame.roster = &roster;
    return nof1_frame_write(&attempt->roster, attempt->arena, &frame);
}

static nof1_rc freeze_roster(struct nof1_coordinator *coordinator, struct run *run)
{
    struct attempt *attempt = run->attempt;
    struct nof1_keyad *ads =
        nof1_arena_alloc(attempt->arena, run->query->sites, sizeof *ads);
    ENSURE(ads != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < run->query->sites; i++) {
        ads[i] = keyad_of(attempt->key_ad[i]);
    }
    TRY(nof1_roster_hash(attempt->h_roster, run->query->sites, ads));
    TRY(nof1_transcript_open(attempt->transcript, coordinator->config.charter->hash, run->h_q,
                             attempt->h_roster));
    TRY(write_roster(run, attempt));
    if (run->started == 0) {
        run->started = coordinator->now; /* the run's deadline counts from the first roster */
    }
    run->state = RUN_ROUNDS;
    run->since = coordinator->now;
    TRY(nof1_record_run(coordinator, run));
    TRY(nof1_run_broadcast(coordinator, run, attempt->roster));
    return nof1_run_first_round(coordinator, run);
}

/* A site whose steward still has to approve is silent; the offer is repeated ever more rarely. */
static nof1_rc offer_again(struct nof1_coordinator *coordinator, struct run *run)
{
    struct attempt *attempt = run->attempt;
    if (coordinator->now < attempt->offer_again) {
        return NOF1_OK;
    }
    attempt->offer_step =
        attempt->offer_step * 2 > OFFER_STEP_MAX ? OFFER_STEP_MAX : attempt->offer_step * 2;
    attempt->offer_again = coordinator->now + attempt->offer_step;
    for (size_t i = 0; i < run->query->sites; i++) {
        if (attempt->key_ad[i] == NULL) {
            TRY(nof1_run_send(coordinator, run, i, attempt->offer));
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_run_open(struct nof1_coordinator *coordinator, struct run *run)
{
    if (epoch_is_over(coordinator, run)) {
        return nof1_run_refuse(coordinator, run, NOF1_E_PLAN,
                               "epoch: a site has frozen a later epoch; complete the plan again");
    }
    for (size_t i = 0; i < run->query->sites; i++) {
        if (run->attempt->key_ad[i] == NULL || !nof1_run_ready(coordinator, run, i)) {
            return offer_again(coordinator, run);
        }
    }
    if (nof1_family_busy(coordinator, run)) {
        run->attempt->offer_again = coordinator->now + coordinator->config.round_timeout;
        return NOF1_OK; /* every step looks again */
    }
    return freeze_roster(coordinator, run);
}
