/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The steward's side of the site's session: which plans were approved or refused by hand, whether a
 * withdrawal stopped the epoch, which trials a plan used, and the log of every frame before it
 * leaves (write-ahead: a frame may be in the log and not have left, never the other way round).
 * Nothing here is sent, and no key of a patient enters the ledger.
 */
#include <core/site_parts.h>

#include <stdlib.h>
#include <string.h>

#include <base/document.h>
#include <base/json.h>

/* ---- sets of plans ------------------------------------------------------------ */

bool nof1_site_has_plan(const struct site_plans *plans, const uint8_t h_q[NOF1_HASH_BYTES])
{
    for (size_t i = 0; i < plans->count; i++) {
        if (memcmp(plans->plan[i], h_q, NOF1_HASH_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

nof1_rc nof1_site_add_plan(struct nof1_site *site, struct site_plans *plans,
                           const uint8_t h_q[NOF1_HASH_BYTES])
{
    if (nof1_site_has_plan(plans, h_q)) {
        return NOF1_OK;
    }
    if ((plans->count & (plans->count + 1)) == 0) { /* full at 0, 1, 3, 7, ... */
        uint8_t (*more)[NOF1_HASH_BYTES] =
            nof1_arena_alloc(site->arena, 2 * plans->count + 1, sizeof *more);
        ENSURE(more != NULL, NOF1_E_NO_MEMORY);
        if (plans->count > 0) {
            memcpy(more, plans->plan, plans->count * sizeof *more);
        }
        plans->plan = more;
    }
    memcpy(plans->plan[plans->count], h_q, NOF1_HASH_BYTES);
    plans->count += 1;
    return NOF1_OK;
}

/* ---- what was stored ------------------------------------------------------------ */

struct plan_visit {
    struct nof1_site *site;
    struct site_plans *plans;
    size_t prefix;
};

static nof1_rc_value visit_plan(void *context, const char *key, struct nof1_slice value)
{
    const struct plan_visit *visit = context;
    uint8_t h_q[NOF1_HASH_BYTES];
    if (value.length == 0 || !nof1_hex_read(h_q, sizeof h_q, key + visit->prefix)) {
        return NOF1_OK;
    }
    return nof1_site_add_plan(visit->site, visit->plans, h_q);
}

/* {"epoch":N}: a trial was withdrawn when epoch N was the last one frozen. */
static nof1_rc_value visit_stopped(void *context, const char *key, struct nof1_slice value)
{
    struct nof1_site *site = context;
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    const struct nof1_node *node = NULL;
    int64_t epoch = 0;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    if (strcmp(key, "stopped") != 0 || value.length == 0) {
        return NOF1_OK;
    }
    TRY(nof1_canonical_read(&node, arena, value, NULL));
    TRY(nof1_node_integer(&epoch, node, "epoch", 0, UINT32_MAX, NULL));
    site->stopped = (uint32_t)epoch;
    return NOF1_OK;
}

nof1_rc nof1_site_restore_steward(struct nof1_site *site, struct nof1_error *error)
{
    const struct nof1_store_reader *store = &site->config.store;
    struct plan_visit approved = {site, &site->approved, strlen("approval/")};
    struct plan_visit declined = {site, &site->declined, strlen("declined/")};
    TRY(store->each(store->self, "approval/", visit_plan, &approved));
    TRY(store->each(store->self, "declined/", visit_plan, &declined));
    nof1_rc_value rc = store->each(store->self, "stopped", visit_stopped, site);
    return rc == NOF1_E_DECODE || rc == NOF1_E_INPUT
               ? nof1_fail(error, NOF1_E_STORE, "what is stored of a withdrawal is damaged")
               : rc;
}

/* ---- decisions ------------------------------------------------------------ */

bool nof1_site_declined(const struct nof1_site *site, const uint8_t h_q[NOF1_HASH_BYTES])
{
    return nof1_site_has_plan(&site->declined, h_q);
}

bool nof1_site_approved(const struct nof1_site *site, const struct site_attempt *attempt)
{
    return !site->config.manual_approval || attempt->query->census || attempt->record != NULL ||
           nof1_site_has_plan(&site->approved, attempt->h_q);
}

static nof1_rc keep_decision(struct nof1_site *site, const struct nof1_event *event)
{
    char hex[SITE_HEX];
    nof1_hex_text(hex, event->bytes.data, NOF1_HASH_BYTES);
    const char *key =
        nof1_arena_printf(site->scratch, "%s/%s", event->flag ? "approval" : "declined", hex);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_site_append(site, event->flag ? "query.approved" : "query.declined",
                         event->bytes.data, json_pack("{s:s}", "by", event->peer)));
    TRY(nof1_site_add_plan(site, event->flag ? &site->approved : &site->declined,
                           event->bytes.data));
    return nof1_site_put(site, key, json_pack("{s:b}", "decided", 1));
}

nof1_rc nof1_site_approve(struct nof1_site *site, const struct nof1_event *event)
{
    if (event->bytes.length != NOF1_HASH_BYTES ||
        nof1_site_declined(site, event->bytes.data)) { /* a refusal is final */
        return NOF1_OK;
    }
    struct site_attempt *attempt = nof1_site_attempt(
        site, (ProtobufCBinaryData){NOF1_HASH_BYTES, (uint8_t *)(uintptr_t)event->bytes.data});
    TRY(keep_decision(site, event));
    if (!event->flag) {
        return attempt == NULL || attempt->phase == SITE_ATTESTED
                   ? NOF1_OK
                   : nof1_site_refuse(site, attempt->h_q, attempt->nonce, NOF1_E2313);
    }
    return attempt != NULL && attempt->phase == SITE_WAITING ? nof1_site_advertise(site, attempt)
                                                             : NOF1_OK;
}

/* ---- which trials a plan used ------------------------------------------------------------ */

const char *nof1_site_trial_id(struct nof1_arena *arena, const char *patient, const char *trial)
{
    size_t length = strlen(patient);
    char *id = nof1_arena_alloc(arena, 2 * (length + strlen(trial)) + 2, 1);
    if (id != NULL) {
        nof1_hex_text(id, (const uint8_t *)patient, length);
        id[2 * length] = '/';
        nof1_hex_text(id + 2 * length + 1, (const uint8_t *)trial, strlen(trial));
    }
    return id;
}

static json_t *used_trials(struct nof1_site *site, const struct site_attempt *attempt)
{
    const struct nof1_epoch *epoch = attempt->epoch;
    json_t *trials = json_array();
    bool ok = trials != NULL;
    for (size_t t = 0; ok && t < epoch->trials; t++) {
        if (attempt->group[t] != NOF1_LEFT_OUT) {
            const char *id = nof1_site_trial_id(
                site->scratch, epoch->patient_key[epoch->patient[t]], epoch->trial_key[t]);
            ok = id != NULL && json_array_append_new(trials, json_string(id)) == 0;
        }
    }
    if (!ok) {
        json_decref(trials);
        return NULL;
    }
    return trials;
}

nof1_rc nof1_site_put_used(struct nof1_site *site, const struct site_attempt *attempt)
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    char hex[SITE_HEX];
    nof1_hex_text(hex, attempt->h_q, NOF1_HASH_BYTES);
    const char *key = nof1_arena_printf(site->scratch, "used/%s", hex);
    json_t *trials = attempt->query->census ? NULL : used_trials(site, attempt);
    if (attempt->query->census) { /* counts of the epoch, of nobody's outcomes: not a plan */
        return NOF1_OK;
    }
    ENSURE(key != NULL && trials != NULL, NOF1_E_NO_MEMORY);
    return nof1_site_put(site, key,
                         json_pack("{s:I, s:I, s:s, s:s, s:s, s:o}", "time",
                                   (json_int_t)site->now, "epoch", (json_int_t)attempt->epoch->id,
                                   "analysis", plan->analysis, "title", plan->title, "outcome",
                                   plan->outcome_name, "trials", trials));
}

/* ---- what leaves ------------------------------------------------------------ */

static const char *kind_of(const Nof1__V1__Frame *frame, int64_t *round)
{
    *round = -1;
    switch (frame->body_case) {
    case NOF1__V1__FRAME__BODY_HELLO:
        return "hello";
    case NOF1__V1__FRAME__BODY_KEY_AD:
        return "key_ad";
    case NOF1__V1__FRAME__BODY_MASKED:
        *round = frame->masked->round;
        return "masked";
    case NOF1__V1__FRAME__BODY_ATTEST:
        *round = frame->attest->round;
        return "attest";
    case NOF1__V1__FRAME__BODY_REFUSAL:
        return "refusal";
    default:
        return NULL; /* a site sends nothing else */
    }
}

nof1_rc nof1_site_note_sent(struct nof1_site *site, const Nof1__V1__Frame *frame,
                            struct nof1_slice bytes)
{
    int64_t round = -1;
    uint8_t digest[NOF1_HASH_BYTES];
    char hex[SITE_HEX];
    const char *what = kind_of(frame, &round);
    ENSURE(what != NULL, NOF1_E_BUG);
    TRY(nof1_sha256(digest, bytes));
    nof1_hex_text(hex, digest, sizeof digest);
    json_t *entry = json_pack("{s:s, s:s, s:I}", "what", what, "digest", hex, "bytes",
                              (json_int_t)bytes.length);
    ENSURE(entry != NULL, NOF1_E_NO_MEMORY);
    if (round >= 0 && json_object_set_new(entry, "round", json_integer(round)) != 0) {
        json_decref(entry);
        return NOF1_E_NO_MEMORY;
    }
    if (frame->body_case == NOF1__V1__FRAME__BODY_REFUSAL &&
        json_object_set_new(entry, "code", json_string(frame->refusal->code)) != 0) {
        json_decref(entry);
        return NOF1_E_NO_MEMORY;
    }
    bool addressed = frame->query.len == NOF1_HASH_BYTES;
    return nof1_site_append(site, "frame.sent", addressed ? frame->query.data : NULL, entry);
}
