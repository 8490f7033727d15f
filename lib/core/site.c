/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The site's session (docs/protocol.md, "Messages"): what comes in, which attempt it belongs to,
 * and how attempts end. Every refusal is signed, names a code of the table and a text that holds
 * nothing but public limits; its attempt is over and its secrets are erased. Must never put a
 * number of the site's own into a frame outside a masked vector.
 */
#include <core/site_parts.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include <core/charter.h>

static void wipe(struct site_attempt *attempt)
{
    if (attempt->secret != NULL) {
        OPENSSL_cleanse(attempt->secret, NOF1_X25519_BYTES);
    }
    nof1_masker_free(attempt->masker);
    attempt->masker = NULL;
}

static void attempt_free(struct nof1_site *site, struct site_attempt *attempt)
{
    nof1_site_forget_held(site, attempt);
    wipe(attempt);
    nof1_query_free(attempt->query);
    nof1_arena_free(attempt->arena); /* holds the attempt itself */
}

static void remember(struct nof1_site *site, const struct site_attempt *attempt, const char *state,
                     nof1_rc_value code)
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    if (site->past == NULL) {
        site->past = nof1_arena_alloc(site->arena, SITE_HISTORY_MAX, sizeof *site->past);
    }
    if (site->past == NULL) {
        return; /* only status is poorer */
    }
    if (attempt->objection != NOF1_OK) { /* the steward sees the true reason */
        state = "objected";
        code = attempt->objection;
    }
    struct site_past *past = &site->past[site->past_count++ % SITE_HISTORY_MAX];
    *past = (struct site_past){.state = state, .code = code};
    memcpy(past->h_q, attempt->h_q, sizeof past->h_q);
    snprintf(past->analysis, sizeof past->analysis, "%s", plan->analysis);
    snprintf(past->title, sizeof past->title, "%s", plan->title);
}

void nof1_site_drop(struct nof1_site *site, struct site_attempt *attempt, const char *state,
                    nof1_rc_value code)
{
    struct site_attempt **link = &site->attempts;
    while (*link != NULL && *link != attempt) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = attempt->next;
    }
    remember(site, attempt, state, code);
    attempt_free(site, attempt);
}

struct site_attempt *nof1_site_attempt(const struct nof1_site *site, ProtobufCBinaryData query)
{
    for (struct site_attempt *a = site->attempts; a != NULL; a = a->next) {
        if (query.len == sizeof a->h_q && memcmp(a->h_q, query.data, sizeof a->h_q) == 0) {
            return a;
        }
    }
    return NULL;
}

nof1_rc nof1_site_resend(struct nof1_site *site, struct nof1_slice bytes)
{
    return nof1_actions_add(
        site->actions, (struct nof1_action){.kind = NOF1_ACTION_SEND, .peer = "", .bytes = bytes});
}

nof1_rc nof1_site_timer(struct nof1_site *site, int64_t at)
{
    return nof1_actions_add(site->actions,
                            (struct nof1_action){.kind = NOF1_ACTION_TIMER, .at = at});
}

nof1_rc nof1_site_write(struct nof1_site *site, const Nof1__V1__Frame *frame,
                        struct nof1_arena *arena, struct nof1_slice *bytes)
{
    TRY(nof1_frame_write(bytes, arena, frame));
    return nof1_site_note_sent(site, frame, *bytes); /* the same bytes again are not news */
}

/* Rule and remedy, both from the table; for a plan that is not valid also what is wrong with it,
 * which follows from public documents. */
static const char *refusal_text(struct nof1_site *site, nof1_rc_value code)
{
    bool document = code == NOF1_E_PLAN || code == NOF1_E_MODEL || code == NOF1_E_INPUT ||
                    code == NOF1_E2404 || code == NOF1_E2601;
    bool detail = (document || nof1_rc_exit_code(code) == 3) && site->error.rc == code &&
                  site->error.message[0] != 0;
    return nof1_arena_printf(site->scratch, "%s%s%s; %s", nof1_rc_sentence(code),
                             detail ? ": " : "", detail ? site->error.message : "",
                             nof1_rc_remedy(code));
}

static nof1_rc send_refusal(struct nof1_site *site, const uint8_t *h_q, const uint8_t *nonce,
                            nof1_rc_value code, int64_t delay)
{
    uint8_t digest[NOF1_HASH_BYTES], signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    char *text = (char *)(uintptr_t)refusal_text(site, code);
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_refusal_digest(digest, site->config.id, h_q, nonce, nof1_rc_code(code)));
    TRY(nof1_sign(signature, &length, site->config.key, digest));
    Nof1__V1__Refusal refusal = NOF1__V1__REFUSAL__INIT;
    refusal.site = (char *)(uintptr_t)site->config.id;
    refusal.code = (char *)(uintptr_t)nof1_rc_code(code);
    refusal.text = text;
    refusal.signature = (ProtobufCBinaryData){length, signature};
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = (ProtobufCBinaryData){NOF1_HASH_BYTES, (uint8_t *)(uintptr_t)h_q};
    frame.attempt = (ProtobufCBinaryData){NOF1_HASH_BYTES, (uint8_t *)(uintptr_t)nonce};
    frame.body_case = NOF1__V1__FRAME__BODY_REFUSAL;
    frame.refusal = &refusal;
    struct nof1_slice bytes;
    TRY(nof1_site_write(site, &frame, site->scratch, &bytes));
    return nof1_site_answer(site, NULL, delay, bytes);
}

/* End the live attempt that is refused, if it is one; the refusal waits as long as its answers. */
static bool end_refused(struct nof1_site *site, int64_t *delay, uint8_t *h_q, const uint8_t *nonce,
                        nof1_rc_value code)
{
    struct site_attempt *attempt =
        nof1_site_attempt(site, (ProtobufCBinaryData){NOF1_HASH_BYTES, h_q});
    if (attempt == NULL || memcmp(attempt->nonce, nonce, sizeof attempt->nonce) != 0) {
        return false;
    }
    *delay = attempt->delay; /* a round that ends in a refusal has worked on data, too */
    nof1_site_drop(site, attempt, "refused", code);
    return true;
}

nof1_rc nof1_site_refuse(struct nof1_site *site, const uint8_t h_q[NOF1_HASH_BYTES],
                         const uint8_t nonce[NOF1_HASH_BYTES], nof1_rc_value code)
{
    uint8_t query[NOF1_HASH_BYTES], attempt_nonce[NOF1_HASH_BYTES]; /* may live in the attempt */
    memcpy(query, h_q, sizeof query);
    memcpy(attempt_nonce, nonce, sizeof attempt_nonce);
    int64_t delay = 0;
    bool live = end_refused(site, &delay, query, attempt_nonce, code), may = true;
    if (!live) {
        TRY(nof1_site_may_refuse(site, &may));
    }
    if (!may) {
        return NOF1_OK;
    }
    if (live || code != NOF1_E2503) { /* a stray is in the ledger as the frame that answers it */
        TRY(nof1_site_append(site, "query.refused", query,
                             json_pack("{s:s, s:s}", "code", nof1_rc_code(code), "reason",
                                       nof1_rc_sentence(code))));
    }
    return send_refusal(site, query, attempt_nonce, code, delay);
}

/* ---- frames ------------------------------------------------------------ */

/* Refuse with what went wrong, or pass on what stops the process. */
static nof1_rc settle(struct nof1_site *site, const Nof1__V1__Frame *frame, nof1_rc_value rc)
{
    if (rc == NOF1_OK || site_fatal(rc)) {
        return rc;
    }
    return nof1_site_refuse(site, frame->query.data, frame->attempt.data, rc);
}

static nof1_rc in_attempt(struct nof1_site *site, const Nof1__V1__Frame *frame,
                          struct nof1_slice bytes)
{
    struct site_attempt *attempt = nof1_site_attempt(site, frame->query);
    bool known = attempt != NULL &&
                 memcmp(attempt->nonce, frame->attempt.data, sizeof attempt->nonce) == 0;
    if (frame->body_case == NOF1__V1__FRAME__BODY_END) {
        return known ? nof1_site_end(site, attempt, frame->end) : NOF1_OK;
    }
    if (!known) {
        return settle(site, frame, NOF1_E2503); /* e.g. keys lost in a restart: try anew */
    }
    if (site->now > attempt->deadline) {
        return settle(site, frame, NOF1_E_EXPIRED);
    }
    switch (frame->body_case) {
    case NOF1__V1__FRAME__BODY_ROSTER:
        return settle(site, frame, nof1_site_roster(site, attempt, frame, bytes));
    case NOF1__V1__FRAME__BODY_ROUND_OPEN:
        return settle(site, frame, nof1_site_round(site, attempt, frame, bytes));
    default:
        return settle(site, frame, nof1_site_close(site, attempt, frame, bytes));
    }
}

static nof1_rc greet(struct nof1_site *site)
{
    site->greets_later = !nof1_site_may_greet(site);
    if (site->greets_later) {
        return nof1_site_timer(site, site->now + 60000);
    }
    Nof1__V1__Hello hello = NOF1__V1__HELLO__INIT;
    hello.site = (char *)(uintptr_t)site->config.id;
    hello.charter = (ProtobufCBinaryData){
        NOF1_HASH_BYTES, (uint8_t *)(uintptr_t)site->config.charter->hash};
    hello.epoch = site->config.epoch == NULL ? 0 : site->config.epoch->id;
    uint32_t earlier[NOF1_EPOCHS_MAX];
    hello.earlier = earlier;
    for (const struct nof1_epoch *e = hello.epoch == 0 ? NULL : site->config.epoch->earlier;
         e != NULL && hello.n_earlier < NOF1_EPOCHS_MAX; e = e->earlier) {
        earlier[hello.n_earlier++] = e->id;
    }
    hello.software = (char *)(uintptr_t) "nof1-vault " NOF1_VERSION;
    TRY(nof1_site_say_offer(site, &hello));
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.body_case = NOF1__V1__FRAME__BODY_HELLO;
    frame.hello = &hello;
    struct nof1_slice bytes;
    TRY(nof1_site_write(site, &frame, site->scratch, &bytes));
    return nof1_site_resend(site, bytes);
}

static nof1_rc take_charter(struct nof1_site *site, const Nof1__V1__CharterOffer *offer)
{
    bool news = false;
    TRY(nof1_site_take_offer(&news, site, offer));
    return news ? greet(site) : NOF1_OK; /* the coordinator knows that it has arrived */
}

static nof1_rc receive(struct nof1_site *site, struct nof1_slice bytes)
{
    const Nof1__V1__Frame *frame = NULL;
    nof1_rc_value rc = nof1_frame_read(&frame, site->scratch, bytes, &site->error);
    if (rc != NOF1_OK) {
        return site_fatal(rc) ? rc : NOF1_OK; /* not a frame: nobody to answer */
    }
    bool addressed = frame->query.len == NOF1_HASH_BYTES && frame->attempt.len == NOF1_HASH_BYTES;
    switch (frame->body_case) {
    case NOF1__V1__FRAME__BODY_QUERY_OFFER:
        return addressed ? settle(site, frame, nof1_site_offer(site, frame)) : NOF1_OK;
    case NOF1__V1__FRAME__BODY_ROSTER:
    case NOF1__V1__FRAME__BODY_ROUND_OPEN:
    case NOF1__V1__FRAME__BODY_CLOSE:
    case NOF1__V1__FRAME__BODY_END:
        return addressed ? in_attempt(site, frame, bytes) : NOF1_OK;
    case NOF1__V1__FRAME__BODY_CHARTER_OFFER:
        return take_charter(site, frame->charter_offer);
    case NOF1__V1__FRAME__BODY_CENSUS_NOTICE: /* the census comes from the closed totals alone */
    default:
        return NOF1_OK;
    }
}

/* ---- other events ------------------------------------------------------------ */

static nof1_rc ring(struct nof1_site *site)
{
    struct site_attempt *next = NULL;
    TRY(nof1_site_let_go(site));
    TRY(site->greets_later ? greet(site) : NOF1_OK);
    for (struct site_attempt *a = site->attempts; a != NULL; a = next) {
        next = a->next;
        if (site->now > a->deadline && a->phase == SITE_ATTESTED) {
            nof1_site_drop(site, a, "attested", NOF1_OK);
        } else if (site->now > a->deadline) {
            TRY(nof1_site_refuse(site, a->h_q, a->nonce, NOF1_E_EXPIRED));
        }
    }
    return NOF1_OK;
}

static nof1_rc pause_site(struct nof1_site *site, bool paused, const char *by)
{
    site->paused = paused;
    TRY(nof1_site_append(site, paused ? "site.paused" : "site.resumed", NULL,
                         json_pack("{s:s}", "by", by)));
    TRY(nof1_site_put(site, "paused", json_pack("{s:b}", "paused", paused ? 1 : 0)));
    while (paused && site->attempts != NULL) {
        TRY(nof1_site_refuse(site, site->attempts->h_q, site->attempts->nonce, NOF1_E2313));
    }
    return NOF1_OK;
}

static nof1_rc dispatch(struct nof1_site *site, const struct nof1_event *event)
{
    switch (event->kind) {
    case NOF1_EVENT_FRAME:
        return receive(site, event->bytes);
    case NOF1_EVENT_LINK_UP:
        return greet(site);
    case NOF1_EVENT_TIMER:
        return ring(site);
    case NOF1_EVENT_PAUSE:
        return pause_site(site, event->flag, event->peer);
    case NOF1_EVENT_APPROVE:
        return nof1_site_approve(site, event);
    case NOF1_EVENT_LINK_DOWN: /* attempts wait for their deadline: the same bytes are resent */
    case NOF1_EVENT_SUBMIT:
    default:
        return NOF1_OK;
    }
}

nof1_rc nof1_site_step(struct nof1_site *site, const struct nof1_event *event,
                       struct nof1_actions *actions)
{
    site->scratch = nof1_arena_new();
    ENSURE(site->scratch != NULL, NOF1_E_NO_MEMORY);
    site->actions = actions;
    site->now = event->now > site->now ? event->now : site->now;
    site->error = (struct nof1_error){0};
    nof1_rc_value rc = dispatch(site, event);
    nof1_arena_free(site->scratch);
    site->scratch = NULL;
    site->actions = NULL;
    return rc;
}

/* ---- life ------------------------------------------------------------ */

static nof1_rc check_identity(struct nof1_site *site, struct nof1_error *error)
{
    const struct nof1_charter *charter = site->config.charter;
    site->self = nof1_charter_site(charter, site->config.id);
    if (site->self == NOF1_NONE) {
        return nof1_fail(error, NOF1_E2104, "the charter does not name site %s", site->config.id);
    }
    if (charter->site[site->self].left) {
        return nof1_fail(error, NOF1_E2104, "site %s has left, as the charter says",
                         site->config.id);
    }
    struct nof1_buffer spki NOF1_CLEANUP(nof1_buffer_free) = {0};
    TRY(nof1_key_spki(&spki, site->config.key));
    if (!nof1_slice_equal(nof1_buffer_slice(&spki), charter->site[site->self].vault_spki)) {
        return nof1_fail(error, NOF1_E2104, "the charter pins another key for site %s",
                         site->config.id);
    }
    if (charter->lab && !site->config.lab) {
        return nof1_fail(error, NOF1_E_CONFIG, "a lab charter is not for a deployed vault");
    }
    if (site->config.policy.open && !charter->lab) {
        return nof1_fail(error, NOF1_E_CONFIG, "only a lab charter may have open limits");
    }
    return NOF1_OK;
}

nof1_rc nof1_site_new(struct nof1_site **out, const struct nof1_site_config *config,
                      struct nof1_error *error)
{
    struct nof1_site *site = calloc(1, sizeof *site);
    ENSURE(site != NULL, NOF1_E_NO_MEMORY);
    site->config = *config;
    site->arena = nof1_arena_new();
    nof1_rc_value rc = site->arena == NULL ? NOF1_E_NO_MEMORY : check_identity(site, error);
    rc = rc == NOF1_OK ? nof1_verifier_new(&site->verifier, config->charter->sites) : rc;
    rc = rc == NOF1_OK ? nof1_site_restore(site, error) : rc;
    rc = rc == NOF1_OK ? nof1_site_restore_offer(site) : rc;
    if (rc != NOF1_OK) {
        nof1_site_free(site);
        return rc;
    }
    *out = site;
    return NOF1_OK;
}

void nof1_site_free(struct nof1_site *site)
{
    if (site == NULL) {
        return;
    }
    while (site->attempts != NULL) {
        struct site_attempt *attempt = site->attempts;
        site->attempts = attempt->next;
        attempt_free(site, attempt);
    }
    nof1_site_forget_held(site, NULL);
    nof1_verifier_free(site->verifier);
    nof1_arena_free(site->arena);
    free(site);
}
