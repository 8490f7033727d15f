/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The coordinator's session (docs/protocol.md, "Messages"): events in, actions out. This file knows
 * the links and hands every event to the runs it concerns; the stages of a run are in
 * coordinator_{submit,gather,rounds,end,record}.c. It holds no secret, decides nothing that a vault
 * does not check again, and must never wait without a deadline.
 */
#include <core/coordinator_parts.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/census.h>

/* ---- lookups --------------------------------------------------------------------------------- */

struct run *nof1_run_find(const struct nof1_coordinator *coordinator, const uint8_t *h_q)
{
    struct run *run = coordinator->runs;
    while (run != NULL && memcmp(run->h_q, h_q, NOF1_HASH_BYTES) != 0) {
        run = run->next;
    }
    return run;
}

static size_t site_index(const struct nof1_coordinator *coordinator, const char *id)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    size_t s = 0;
    while (s < charter->sites && strcmp(charter->site[s].id, id) != 0) {
        s++;
    }
    return s;
}

/* The site's place in the run's roster; query->sites when it is not in it. */
static size_t roster_index(const struct run *run, size_t site)
{
    size_t i = 0;
    while (i < run->query->sites && run->query->site[i] != site) {
        i++;
    }
    return i;
}

bool nof1_run_signed(const struct nof1_coordinator *coordinator, const struct run *run,
                     size_t index, const uint8_t digest[NOF1_HASH_BYTES],
                     ProtobufCBinaryData signature)
{
    size_t site = run->query->site[index];
    return nof1_verifier_check(coordinator->verifier, site,
                               coordinator->config.charter->site[site].vault_spki, digest,
                               nof1_slice_of(signature.data, signature.len)) == NOF1_OK;
}

/* ---- census ---------------------------------------------------------------------------------- */

const struct nof1_census *nof1_coordinator_censuses(const struct nof1_coordinator *coordinator)
{
    return coordinator->census == NULL ? NULL : coordinator->census->census;
}

nof1_rc nof1_coordinator_keep_census(struct nof1_coordinator *coordinator, struct nof1_slice bytes,
                                     struct nof1_error *error)
{
    const struct nof1_census *read = NULL;
    struct census_record *record = nof1_arena_alloc(coordinator->arena, 1, sizeof *record);
    ENSURE(record != NULL, NOF1_E_NO_MEMORY);
    record->bytes = nof1_arena_copy(coordinator->arena, bytes);
    record->census = nof1_arena_alloc(coordinator->arena, 1, sizeof *record->census);
    ENSURE(record->bytes.data != NULL && record->census != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_census_read(&read, coordinator->arena, coordinator->config.charter, record->bytes,
                         NULL, error));
    *record->census = *read;
    record->census->earlier = nof1_coordinator_censuses(coordinator);
    record->next = coordinator->census;
    coordinator->census = record;
    return nof1_epochs_publish(coordinator);
}

struct nof1_slice nof1_coordinator_census(const struct nof1_coordinator *coordinator)
{
    return nof1_buffer_slice(&coordinator->census_bytes);
}

bool nof1_peer_keeps(const struct nof1_coordinator *coordinator, size_t site, uint32_t epoch)
{
    const struct peer *peer = &coordinator->peer[site];
    bool keeps = peer->epoch == epoch;
    for (size_t i = 0; !keeps && i < peer->earlier; i++) {
        keeps = peer->kept[i] == epoch;
    }
    return keeps && epoch > 0 && peer->hello && peer->same_charter;
}

/* ---- sending --------------------------------------------------------------------------------- */

static nof1_rc send_to(struct nof1_coordinator *coordinator, size_t site, struct nof1_slice frame)
{
    return nof1_actions_add(
        coordinator->actions,
        (struct nof1_action){.kind = NOF1_ACTION_SEND,
                             .peer = coordinator->config.charter->site[site].id,
                             .bytes = frame});
}

nof1_rc nof1_run_send(struct nof1_coordinator *coordinator, struct run *run, size_t index,
                      struct nof1_slice frame)
{
    if (!nof1_run_ready(coordinator, run, index)) {
        return NOF1_OK; /* it gets the same bytes when it is back */
    }
    if (run->attempt != NULL) {
        run->attempt->bytes_out[index] += frame.length;
    }
    return send_to(coordinator, run->query->site[index], frame);
}

nof1_rc nof1_run_broadcast(struct nof1_coordinator *coordinator, struct run *run,
                           struct nof1_slice frame)
{
    /* into the list's arena first: the actions then share one copy */
    struct nof1_slice shared = nof1_arena_copy(coordinator->actions->arena, frame);
    ENSURE(shared.data != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < run->query->sites; i++) {
        TRY(nof1_run_send(coordinator, run, i, shared));
    }
    return NOF1_OK;
}

static nof1_rc write_frame(struct nof1_coordinator *coordinator, struct nof1_slice *out,
                           const Nof1__V1__Frame *frame)
{
    return nof1_frame_write(out, coordinator->actions->arena, frame);
}

static nof1_rc send_hello(struct nof1_coordinator *coordinator, size_t site)
{
    const struct nof1_charter *charter = coordinator->config.charter;
    Nof1__V1__Hello hello = NOF1__V1__HELLO__INIT;
    hello.site = (char *)(uintptr_t)(charter->coordinator.id == NULL ? "coordinator"
                                                                      : charter->coordinator.id);
    hello.charter = (ProtobufCBinaryData){NOF1_HASH_BYTES, (uint8_t *)(uintptr_t)charter->hash};
    hello.software = coordinator->software;
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.body_case = NOF1__V1__FRAME__BODY_HELLO;
    frame.hello = &hello;
    struct nof1_slice bytes;
    TRY(write_frame(coordinator, &bytes, &frame));
    return send_to(coordinator, site, bytes);
}

nof1_rc nof1_coordinator_send_census(struct nof1_coordinator *coordinator, size_t site,
                                     const struct census_record *census)
{
    Nof1__V1__CensusNotice notice = NOF1__V1__CENSUS_NOTICE__INIT;
    notice.epoch = census->census->epoch;
    notice.census = (ProtobufCBinaryData){census->bytes.length,
                                          (uint8_t *)(uintptr_t)census->bytes.data};
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.body_case = NOF1__V1__FRAME__BODY_CENSUS_NOTICE;
    frame.census_notice = &notice;
    struct nof1_slice bytes;
    TRY(write_frame(coordinator, &bytes, &frame));
    return send_to(coordinator, site, bytes);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* The site is back: what it may have missed, in the order in which it was first sent. */
static nof1_rc catch_up(struct nof1_coordinator *coordinator, struct run *run, size_t index)
{
    const struct attempt *attempt = run->attempt;
    bool masked = run->state == RUN_ROUNDS && attempt->masked[index] == NULL;
    switch (run->state) {
    case RUN_OPENING:
        return nof1_run_send(coordinator, run, index, attempt->offer);
    case RUN_ROUNDS:
        if (masked && attempt->round == 0) {
            TRY(nof1_run_send(coordinator, run, index, attempt->roster));
        }
        return masked ? nof1_run_send(coordinator, run, index, attempt->current) : NOF1_OK;
    case RUN_CLOSING:
        return attempt->attest[index] == NULL
                   ? nof1_run_send(coordinator, run, index, attempt->current)
                   : NOF1_OK;
    default:
        return NOF1_OK;
    }
}

static nof1_rc greet(struct nof1_coordinator *coordinator, size_t site)
{
    const struct census_record *census = coordinator->census;
    if (census != NULL && census->census->epoch <= coordinator->peer[site].epoch) {
        TRY(nof1_coordinator_send_census(coordinator, site, census));
    }
    for (struct run *run = coordinator->runs; run != NULL; run = run->next) {
        if (run_final(run)) {
            if (run->end_due != NULL && run->end_due[site]) {
                run->end_due[site] = false;
                TRY(send_to(coordinator, site, run->end_frame));
            }
            continue;
        }
        size_t index = roster_index(run, site);
        if (run->attempt != NULL && index < run->query->sites) {
            TRY(catch_up(coordinator, run, index));
        }
    }
    return NOF1_OK;
}

static nof1_rc take_hello(struct nof1_coordinator *coordinator, size_t site,
                          const Nof1__V1__Hello *hello)
{
    struct peer *peer = &coordinator->peer[site];
    const struct nof1_charter *charter = coordinator->config.charter;
    if (strcmp(hello->site, charter->site[site].id) != 0) {
        return NOF1_OK; /* speaks for somebody else: the link's identity decides */
    }
    peer->hello = true;
    peer->epoch = hello->epoch;
    peer->earlier = hello->n_earlier; /* as many as a frame may name */
    for (size_t i = 0; i < peer->earlier; i++) {
        peer->kept[i] = hello->earlier[i];
    }
    peer->same_charter = memcmp(hello->charter.data, charter->hash, NOF1_HASH_BYTES) == 0;
    /* a second Hello on one stream is a vault that was restarted behind its edge */
    return peer->same_charter ? greet(coordinator, site) : NOF1_OK;
}

static nof1_rc take_query_frame(struct nof1_coordinator *coordinator, size_t site,
                                const Nof1__V1__Frame *frame, struct nof1_slice bytes)
{
    struct run *run = nof1_run_find(coordinator, frame->query.data);
    if (run == NULL || run->attempt == NULL || frame->attempt.len != NOF1_HASH_BYTES ||
        memcmp(frame->attempt.data, run->attempt->nonce, NOF1_HASH_BYTES) != 0) {
        return NOF1_OK; /* of an attempt that is over: nothing is counted twice */
    }
    size_t index = roster_index(run, site);
    if (index == run->query->sites) {
        return NOF1_OK;
    }
    run->attempt->bytes_in[index] += bytes.length;
    switch (frame->body_case) {
    case NOF1__V1__FRAME__BODY_KEY_AD:
        return nof1_run_key_ad(coordinator, run, index, frame, bytes);
    case NOF1__V1__FRAME__BODY_MASKED:
        return nof1_run_masked(coordinator, run, index, frame, bytes);
    case NOF1__V1__FRAME__BODY_ATTEST:
        return nof1_run_attest(coordinator, run, index, frame, bytes);
    case NOF1__V1__FRAME__BODY_REFUSAL:
        return nof1_run_refusal(coordinator, run, index, frame);
    default:
        return NOF1_OK; /* only coordinators send the others */
    }
}

static nof1_rc take_frame(struct nof1_coordinator *coordinator, const struct nof1_event *event)
{
    size_t site = site_index(coordinator, event->peer);
    if (site == coordinator->config.charter->sites || !coordinator->peer[site].up) {
        return NOF1_OK;
    }
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const Nof1__V1__Frame *frame = NULL;
    nof1_rc_value rc = nof1_frame_read(&frame, arena, event->bytes, NULL);
    if (rc != NOF1_OK) {
        return rc == NOF1_E_NO_MEMORY ? rc : NOF1_OK; /* not a frame: nobody to answer */
    }
    if (frame->body_case == NOF1__V1__FRAME__BODY_HELLO) {
        return take_hello(coordinator, site, frame->hello);
    }
    if (frame->query.len != NOF1_HASH_BYTES || !coordinator->peer[site].same_charter) {
        return NOF1_OK;
    }
    return take_query_frame(coordinator, site, frame, event->bytes);
}

static nof1_rc take_link(struct nof1_coordinator *coordinator, const struct nof1_event *event)
{
    size_t site = site_index(coordinator, event->peer);
    if (site == coordinator->config.charter->sites) {
        return NOF1_OK;
    }
    coordinator->peer[site] = (struct peer){.up = event->kind == NOF1_EVENT_LINK_UP};
    return coordinator->peer[site].up ? send_hello(coordinator, site) : NOF1_OK;
}

static nof1_rc take_event(struct nof1_coordinator *coordinator, const struct nof1_event *event,
                          struct nof1_error *submit_error)
{
    switch (event->kind) {
    case NOF1_EVENT_FRAME:
        return take_frame(coordinator, event);
    case NOF1_EVENT_LINK_UP:
    case NOF1_EVENT_LINK_DOWN:
        return take_link(coordinator, event);
    case NOF1_EVENT_SUBMIT:
        return nof1_run_submit(coordinator, event, submit_error);
    case NOF1_EVENT_TIMER:
        return NOF1_OK;
    case NOF1_EVENT_PAUSE:
    case NOF1_EVENT_APPROVE:
    default:
        return NOF1_OK; /* a site's business */
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static int64_t earlier(int64_t a, int64_t b)
{
    return b < a ? b : a;
}

/* Milliseconds from which a run is over: `gather_by` or, once a roster was frozen, its deadline. */
static int64_t limit_of(const struct run *run)
{
    const struct nof1_plan *plan = run->query->study.plan;
    int64_t limit = run->started > 0 ? run->started + 1000 * (int64_t)plan->deadline
                                     : run->submitted + 1000 * (int64_t)plan->gather_by;
    return plan->not_after > 0 ? earlier(limit, 1000 * plan->not_after) : limit;
}

static int64_t wake_at(const struct run *run, int64_t now)
{
    int64_t at = limit_of(run);
    switch (run->state) {
    case RUN_GATHERING:
        return run->not_before > now ? earlier(at, run->not_before) : at;
    case RUN_OPENING:
        return earlier(at, run->attempt->offer_again);
    case RUN_ROUNDS:
    case RUN_CLOSING:
        return earlier(at, run->attempt->answer_by);
    default:
        return at;
    }
}

/* Move the run as far as it goes; every call either changes the state or returns. */
static nof1_rc drive(struct nof1_coordinator *coordinator, struct run *run)
{
    enum run_state before;
    do {
        before = run->state;
        if (run_final(run)) {
            return NOF1_OK;
        }
        if (coordinator->now >= limit_of(run)) {
            return nof1_run_expire(coordinator, run);
        }
        switch (run->state) {
        case RUN_GATHERING:
            TRY(nof1_run_gather(coordinator, run));
            break;
        case RUN_OPENING:
            TRY(nof1_run_open(coordinator, run));
            break;
        case RUN_ROUNDS:
            TRY(nof1_run_rounds(coordinator, run));
            break;
        case RUN_CLOSING:
            TRY(nof1_run_close(coordinator, run));
            break;
        default:
            return NOF1_OK;
        }
    } while (run->state != before);
    return NOF1_OK;
}

static nof1_rc ask_timer(struct nof1_coordinator *coordinator, struct run *run)
{
    if (run_final(run)) {
        return NOF1_OK;
    }
    int64_t at = wake_at(run, coordinator->now);
    if (run->asked > coordinator->now && run->asked <= at) {
        return NOF1_OK; /* the earlier one rings first and looks again */
    }
    run->asked = at;
    return nof1_actions_add(coordinator->actions,
                            (struct nof1_action){.kind = NOF1_ACTION_TIMER, .at = at});
}

nof1_rc nof1_coordinator_step(struct nof1_coordinator *coordinator, const struct nof1_event *event,
                              struct nof1_actions *actions, struct nof1_error *submit_error)
{
    coordinator->actions = actions;
    coordinator->now = event->now;
    TRY(take_event(coordinator, event, submit_error));
    TRY(nof1_run_census(coordinator));
    bool ended = true; /* a run that ends may let another one of its family begin */
    while (ended) {
        ended = false;
        for (struct run *run = coordinator->runs; run != NULL; run = run->next) {
            bool before = run_final(run);
            TRY(drive(coordinator, run));
            ended = ended || run_final(run) != before;
        }
    }
    for (struct run *run = coordinator->runs; run != NULL; run = run->next) {
        TRY(ask_timer(coordinator, run));
    }
    return NOF1_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static nof1_rc start(struct nof1_coordinator *coordinator, struct nof1_error *error)
{
    coordinator->peer = nof1_arena_alloc(coordinator->arena, coordinator->config.charter->sites,
                                         sizeof(struct peer));
    coordinator->submitted = nof1_arena_alloc(
        coordinator->arena, coordinator->config.charter->statisticians + 1, sizeof(uint64_t));
    ENSURE(coordinator->peer != NULL && coordinator->submitted != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_verifier_new(&coordinator->verifier, coordinator->config.charter->sites));
    TRY(nof1_atom_lists_new(coordinator));
    TRY(nof1_run_census_check(coordinator, error));
    return nof1_run_restore(coordinator, error);
}

nof1_rc nof1_coordinator_new(struct nof1_coordinator **out,
                             const struct nof1_coordinator_config *config, int64_t now,
                             struct nof1_error *error)
{
    struct nof1_coordinator *coordinator = calloc(1, sizeof *coordinator);
    ENSURE(coordinator != NULL, NOF1_E_NO_MEMORY);
    coordinator->config = *config;
    coordinator->now = now;
    coordinator->arena = nof1_arena_new();
    snprintf(coordinator->software, sizeof coordinator->software, "nof1fed/%s", NOF1_VERSION);
    nof1_rc_value rc = coordinator->arena == NULL ? NOF1_E_NO_MEMORY : start(coordinator, error);
    if (rc != NOF1_OK) {
        nof1_coordinator_free(coordinator);
        return rc;
    }
    *out = coordinator;
    return NOF1_OK;
}

void nof1_coordinator_free(struct nof1_coordinator *coordinator)
{
    if (coordinator == NULL) {
        return;
    }
    struct run *run = coordinator->runs;
    while (run != NULL) {
        struct run *next = run->next;
        nof1_run_free(run);
        run = next;
    }
    nof1_atom_lists_free(coordinator);
    nof1_buffer_free(&coordinator->census_bytes);
    nof1_verifier_free(coordinator->verifier);
    nof1_arena_free(coordinator->arena);
    free(coordinator);
}

/* ---- what people see ------------------------------------------------------------------------- */

static bool awaited(const struct nof1_coordinator *coordinator, const struct run *run, size_t index)
{
    const struct attempt *attempt = run->attempt;
    switch (run->state) {
    case RUN_GATHERING:
        return !nof1_run_ready(coordinator, run, index);
    case RUN_OPENING:
        return attempt->key_ad[index] == NULL || !nof1_run_ready(coordinator, run, index);
    case RUN_ROUNDS:
        return attempt->masked[index] == NULL;
    case RUN_CLOSING:
        return attempt->attest[index] == NULL;
    default:
        return false;
    }
}

static json_t *awaited_json(const struct nof1_coordinator *coordinator, const struct run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && run->query != NULL && i < run->query->sites; i++) {
        if (awaited(coordinator, run, i)) {
            const size_t site = run->query->site[i];
            list = nof1_json_row(list, json_string(coordinator->config.charter->site[site].id));
        }
    }
    return list;
}

static json_t *status_of(const struct nof1_coordinator *coordinator, const struct run *run)
{
    const struct attempt *attempt = run->attempt;
    const struct nof1_query *query = run->query;
    bool rounds = run->state == RUN_ROUNDS || run->state == RUN_CLOSING;
    return json_pack(
        "{s:s, s:s, s:o, s:I, s:i, s:i, s:i, s:I, s:I, s:b, s:s, s:s*, s:s*, s:s*}", "query",
        run->hex, "state", nof1_run_state_text(run->state), "awaited",
        awaited_json(coordinator, run), "since", (json_int_t)(run->since / 1000), "attempt",
        (int)run->attempt_number, "round", rounds ? (int)attempt->round : 0, "rounds",
        query == NULL ? 0 : (int)query->model->max_rounds, "started",
        (json_int_t)(run->started / 1000), "submitted", (json_int_t)(run->submitted / 1000),
        "census", (int)run->census, "statistician", run->statistician, "title",
        query == NULL ? NULL : query->study.plan->title, "analysis",
        query == NULL ? NULL : query->study.plan->analysis, "refused_by", run->refused_by);
}

json_t *nof1_coordinator_status(const struct nof1_coordinator *coordinator, const uint8_t *h_q)
{
    if (h_q != NULL) {
        const struct run *run = nof1_run_find(coordinator, h_q);
        return run == NULL ? NULL : status_of(coordinator, run);
    }
    json_t *list = json_array();
    for (const struct run *run = coordinator->runs; list != NULL && run != NULL;
         run = run->next) {
        list = nof1_json_row(list, status_of(coordinator, run));
    }
    return list;
}

json_t *nof1_coordinator_result(const struct nof1_coordinator *coordinator, const uint8_t *h_q)
{
    const struct run *run = nof1_run_find(coordinator, h_q);
    return run == NULL || !run_final(run) ? NULL : json_incref(run->result);
}
