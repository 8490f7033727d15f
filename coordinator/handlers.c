/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From gRPC to the session and back: every handler turns one message into one event, or reads what
 * the session has to say. No logic of the protocol.
 */
#include "coordinator_parts.h"

#include <stdlib.h>
#include <string.h>

#include <base/json.h>
#include <base/log.h>
#include <coordinator/charters.h>
#include <core/frame.h>
#include <crypto/transcript.h>
#include <rpc/unary.h>

#define HELLO_MAX 1024 /* a Hello is shorter; longer frames are not looked into here */

nof1_rc nof1_coordinator_event(struct coordinator *coordinator, struct nof1_event event,
                               struct nof1_error *submit_error)
{
    struct nof1_actions actions;
    struct nof1_error ignored = {0};
    event.now = nof1_clock_now(&coordinator->clock);
    TRY(nof1_actions_init(&actions));
    nof1_rc_value rc = nof1_coordinator_step(coordinator->session, &event, &actions,
                                             submit_error == NULL ? &ignored : submit_error);
    if (rc == NOF1_OK) {
        rc = nof1_driver_perform(&coordinator->driver, &actions, event.now);
    }
    nof1_actions_free(&actions);
    return rc;
}

/* ---- links ----------------------------------------------------------------------------------- */

static nof1_rc_value on_link(void *self, const char *site, bool up)
{
    struct coordinator *coordinator = self;
    TRY(nof1_charters_link(coordinator, site, up));
    return nof1_coordinator_event(
        coordinator,
        (struct nof1_event){.kind = up ? NOF1_EVENT_LINK_UP : NOF1_EVENT_LINK_DOWN, .peer = site},
        NULL);
}

/* A vault that introduces itself as another site than its edge's certificate says is wired to the
 * wrong edge: its steward must hear of it. */
static nof1_rc check_hello(struct coordinator *coordinator, const char *site,
                           struct nof1_slice bytes)
{
    if (bytes.length > HELLO_MAX) {
        return NOF1_OK;
    }
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const Nof1__V1__Frame *frame = NULL;
    if (nof1_frame_read(&frame, arena, bytes, NULL) != NOF1_OK) {
        nof1_log(NOF1_LOG_WARNING, "link.not_a_frame",
                 NOF1_LOG_FIELDS(nof1_log_text("site", site)));
        return NOF1_OK;
    }
    if (frame->body_case != NOF1__V1__FRAME__BODY_HELLO) {
        return NOF1_OK;
    }
    if (strcmp(frame->hello->site, site) != 0) {
        nof1_log(NOF1_LOG_WARNING, "link.wrong_site",
                 NOF1_LOG_FIELDS(nof1_log_text("certificate", site),
                                 nof1_log_text("vault", frame->hello->site)));
        return NOF1_E_UNAUTHORISED;
    }
    return nof1_charters_hello(coordinator, site, frame->hello, bytes);
}

static nof1_rc_value on_frame(void *self, const char *site, struct nof1_slice frame)
{
    TRY(check_hello(self, site, frame));
    return nof1_coordinator_event(
        self, (struct nof1_event){.kind = NOF1_EVENT_FRAME, .peer = site, .bytes = frame}, NULL);
}

/* ---- unary calls ----------------------------------------------------------------------------- */

static nof1_rc reply_json(struct nof1_buffer *reply, json_t *value)
{
    struct nof1_buffer text = {0};
    nof1_rc_value rc = value == NULL ? NOF1_OK : nof1_json_write(&text, value, false);
    json_decref(value);
    rc = rc == NOF1_OK ? nof1_bytes_write(reply, nof1_buffer_slice(&text)) : rc;
    nof1_buffer_free(&text);
    return rc;
}

/* The plan must be submitted by the statistician it names, over a connection of their own. */
static nof1_rc submit(struct coordinator *coordinator, const struct nof1_identity *caller,
                      struct nof1_slice request, struct nof1_buffer *reply,
                      struct nof1_error *error, bool *fatal)
{
    uint8_t hash[32];
    struct nof1_submit_request read;
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_submit_read(&read, arena, request, error));
    if (strcmp(read.statistician, caller->id) != 0) {
        return nof1_fail(error, NOF1_E_UNAUTHORISED,
                         "the plan is signed by %.64s, the certificate is %.64s's",
                         read.statistician, caller->id);
    }
    const uint8_t *answered =
        nof1_coordinator_answered(coordinator->session, read.plan, read.statistician);
    if (answered != NULL) {
        return nof1_bytes_write(reply, nof1_slice_of(answered, sizeof hash));
    }
    nof1_rc_value rc =
        nof1_coordinator_event(coordinator,
                               (struct nof1_event){.kind = NOF1_EVENT_SUBMIT,
                                                   .peer = caller->id,
                                                   .bytes = read.plan,
                                                   .signature = read.signature},
                               error);
    *fatal = rc != NOF1_OK;
    TRY(rc);
    ENSURE(error->rc == NOF1_OK, error->rc);
    TRY(nof1_plan_hash(hash, read.plan));
    return nof1_bytes_write(reply, nof1_slice_of(hash, sizeof hash));
}

static nof1_rc read_query(const uint8_t **hash, struct nof1_arena *arena, struct nof1_slice request,
                          struct nof1_error *error)
{
    struct nof1_slice query;
    TRY(nof1_bytes_read(&query, arena, request, error));
    if (query.length != 0 && query.length != 32) {
        return nof1_fail(error, NOF1_E_DECODE, "a query is named by 32 bytes");
    }
    *hash = query.length == 0 ? NULL : query.data;
    return NOF1_OK;
}

static nof1_rc status(struct coordinator *coordinator, struct nof1_slice request,
                      struct nof1_buffer *reply, struct nof1_error *error)
{
    const uint8_t *hash = NULL;
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(read_query(&hash, arena, request, error));
    json_t *value = nof1_coordinator_status(coordinator->session, hash);
    if (value == NULL) {
        return nof1_fail(error, NOF1_E_NOT_FOUND, "no such query");
    }
    return reply_json(reply, value);
}

/* An empty answer: the query is known and not final yet. */
static nof1_rc result(struct coordinator *coordinator, struct nof1_slice request,
                      struct nof1_buffer *reply, struct nof1_error *error)
{
    const uint8_t *hash = NULL;
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(read_query(&hash, arena, request, error));
    json_t *known = hash == NULL ? NULL : nof1_coordinator_status(coordinator->session, hash);
    if (known == NULL) {
        return nof1_fail(error, NOF1_E_NOT_FOUND, "no such query");
    }
    json_decref(known);
    return reply_json(reply, nof1_coordinator_result(coordinator->session, hash));
}

static nof1_rc charter(struct coordinator *coordinator, struct nof1_buffer *reply)
{
    struct nof1_buffer atoms = {0};
    json_t *value = nof1_coordinator_atoms(coordinator->session);
    nof1_rc_value rc = value == NULL ? NOF1_OK : nof1_json_write(&atoms, value, false);
    json_decref(value);
    struct nof1_charter_reply answer = {.charter = coordinator->config.charter_bytes,
                                        .signature = coordinator->charter_signature,
                                        .census = nof1_coordinator_census(coordinator->session),
                                        .atoms = nof1_buffer_slice(&atoms)};
    rc = rc == NOF1_OK ? nof1_charter_reply_write(reply, &answer) : rc;
    nof1_buffer_free(&atoms);
    return rc;
}

static nof1_rc_value on_call(void *self, enum nof1_method method,
                             const struct nof1_identity *caller, struct nof1_slice request,
                             struct nof1_buffer *reply, struct nof1_error *error, bool *fatal)
{
    *fatal = false;
    switch (method) {
    case NOF1_METHOD_SUBMIT:
        return submit(self, caller, request, reply, error, fatal);
    case NOF1_METHOD_STATUS:
        return status(self, request, reply, error);
    case NOF1_METHOD_RESULT:
        return result(self, request, reply, error);
    case NOF1_METHOD_CHARTER:
        return charter(self, reply);
    case NOF1_METHOD_ATTACH:
    case NOF1_METHODS:
        break;
    }
    return NOF1_E_BUG;
}

struct nof1_server_handlers nof1_coordinator_handlers(struct coordinator *coordinator)
{
    return (struct nof1_server_handlers){
        .self = coordinator, .link = on_link, .frame = on_frame, .call = on_call};
}
