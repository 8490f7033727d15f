/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One call on the server, from its arrival to its end. gRPC's rules that shape it: a batch's tag
 * comes back exactly once, and not at all when the batch was refused; one send and one receive may
 * be out at a time; the arrival of RECV_CLOSE_ON_SERVER is the end of the call.
 */
#include "server_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/log.h>

/* ---- life ------------------------------------------------------------------------------------ */

void nof1_call_discard(struct nof1_call *call)
{
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    free(call);
}

static void release(struct nof1_call *call)
{
    if (--call->pending > 0 || !call->closed) {
        return;
    }
    if (call->previous != NULL) {
        call->previous->next = call->next;
    } else {
        call->server->calls = call->next;
    }
    if (call->next != NULL) {
        call->next->previous = call->previous;
    }
    nof1_outbox_clear(&call->outbox);
    grpc_byte_buffer_destroy(call->incoming);
    grpc_slice_unref(call->status_text);
    nof1_buffer_free(&call->certificate);
    grpc_call_unref(call->call);
    nof1_call_discard(call);
}

/* Start a batch whose tag is `op`. A refused batch is our own mistake. */
static void start_batch(struct nof1_call *call, const grpc_op *ops, size_t count,
                        struct nof1_op *op)
{
    nof1_op_arm(op);
    if (grpc_call_start_batch(call->call, ops, count, op, NULL) == GRPC_CALL_OK) {
        call->pending++;
    } else {
        call->server->rc = NOF1_E_BUG;
    }
}

static void fatal(struct nof1_server *server, nof1_rc_value rc)
{
    if (server->rc == NOF1_OK) {
        server->rc = rc;
    }
}

static void tell_link(struct nof1_call *call, bool up)
{
    struct nof1_server *server = call->server;
    call->attached = up;
    if (!server->stopping) {
        nof1_rc_value rc = server->handlers.link(server->handlers.self, call->peer.id, up);
        if (rc != NOF1_OK) {
            fatal(server, rc);
        }
    }
}

static void closed(struct nof1_op *op, bool ok)
{
    struct nof1_call *call = op->owner;
    (void)ok;
    call->closed = true;
    if (call->attached) {
        nof1_log(NOF1_LOG_INFO, "link.down",
                 NOF1_LOG_FIELDS(nof1_log_text("site", call->peer.id)));
        tell_link(call, false);
    }
    release(call);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void finished(struct nof1_op *op, bool ok)
{
    struct nof1_call *call = op->owner;
    (void)ok; /* the caller may be gone */
    release(call);
}

/* The last batch of a call: the first metadata unless it went before, a reply if there is one, and
 * the status. */
static void send_status(struct nof1_call *call, grpc_status_code status, const char *text,
                        grpc_byte_buffer *reply, bool metadata)
{
    grpc_op op[3];
    size_t count = 0;
    memset(op, 0, sizeof op);
    if (metadata) {
        op[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    }
    if (reply != NULL) {
        op[count].op = GRPC_OP_SEND_MESSAGE;
        op[count++].data.send_message.send_message = reply;
    }
    grpc_slice_unref(call->status_text);
    call->status_text = grpc_slice_from_copied_string(text);
    op[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    op[count].data.send_status_from_server.status = status;
    op[count++].data.send_status_from_server.status_details = &call->status_text;
    call->ending = true;
    start_batch(call, op, count, &call->finish);
}

void nof1_call_end(struct nof1_call *call, grpc_status_code status, const char *text)
{
    if (call->ending || call->closed) {
        return;
    }
    bool stuck = nof1_outbox_first(&call->outbox) != NULL;
    send_status(call, status, text, NULL, false);
    if (stuck) { /* a send is out, perhaps because the other side does not read */
        (void)grpc_call_cancel_with_status(call->call, status, text, NULL);
    }
}

static void watch_close(struct nof1_call *call)
{
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    op.data.recv_close_on_server.cancelled = &call->cancelled;
    call->next = call->server->calls;
    if (call->next != NULL) {
        call->next->previous = call;
    }
    call->server->calls = call;
    start_batch(call, &op, 1, &call->close);
}

void nof1_call_reject(struct nof1_call *call, grpc_status_code status, const char *text)
{
    if (call->pending == 0) {
        watch_close(call);
    }
    send_status(call, status, text, NULL, true);
}

/* ---- sending on a stream --------------------------------------------------------------------- */

static void write_next(struct nof1_call *call)
{
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_SEND_MESSAGE;
    op.data.send_message.send_message = nof1_outbox_first(&call->outbox);
    start_batch(call, &op, 1, &call->write);
}

static void written(struct nof1_op *op, bool ok)
{
    struct nof1_call *call = op->owner;
    nof1_outbox_pop(&call->outbox);
    if (!ok || call->ending || call->closed) {
        nof1_outbox_clear(&call->outbox);
    } else if (nof1_outbox_first(&call->outbox) != NULL) {
        write_next(call);
    }
    release(call);
}

nof1_rc nof1_call_send(struct nof1_call *call, struct nof1_slice frame)
{
    if (call->ending || call->closed) {
        return NOF1_OK;
    }
    bool idle = nof1_outbox_first(&call->outbox) == NULL;
    nof1_rc_value rc = nof1_outbox_push(&call->outbox, frame);
    if (rc == NOF1_E_IO) {
        nof1_log(NOF1_LOG_WARNING, "link.slow",
                 NOF1_LOG_FIELDS(nof1_log_text("site", call->peer.id)));
        nof1_call_end(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "the site does not read");
        return NOF1_OK;
    }
    TRY(rc);
    if (idle) {
        write_next(call);
    }
    return NOF1_OK;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void read_next(struct nof1_call *call)
{
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &call->incoming;
    start_batch(call, &op, 1, &call->read);
}

static void answer_call(struct nof1_call *call, struct nof1_slice request)
{
    struct nof1_server *server = call->server;
    struct nof1_buffer reply = {0};
    struct nof1_error error = {0};
    bool is_fatal = false;
    nof1_rc_value rc = server->handlers.call(server->handlers.self, call->method, &call->peer,
                                             request, &reply, &error, &is_fatal);
    nof1_log(NOF1_LOG_INFO, "call",
             NOF1_LOG_FIELDS(nof1_log_text("method", nof1_method_row(call->method)->name),
                             nof1_log_text("peer", call->peer.spiffe),
                             nof1_log_text("code", nof1_rc_code(rc))));
    if (is_fatal) {
        fatal(server, rc);
    }
    if (rc == NOF1_OK) {
        grpc_byte_buffer *buffer = nof1_message_pack(nof1_buffer_slice(&reply));
        send_status(call, GRPC_STATUS_OK, "", buffer, true);
        grpc_byte_buffer_destroy(buffer);
    } else {
        char text[700];
        snprintf(text, sizeof text, "%s: %s", nof1_rc_code(rc),
                 error.message[0] != '\0' ? error.message : nof1_rc_sentence(rc));
        send_status(call, (grpc_status_code)nof1_rc_grpc_status(rc), text, NULL, true);
    }
    nof1_buffer_free(&reply);
}

static void handle_frame(struct nof1_call *call, struct nof1_slice frame)
{
    struct nof1_server *server = call->server;
    nof1_rc_value rc = server->handlers.frame(server->handlers.self, call->peer.id, frame);
    if (rc == NOF1_E_UNAUTHORISED) {
        nof1_call_end(call, GRPC_STATUS_PERMISSION_DENIED,
                      "E1008: the vault behind this edge is not the site of its certificate");
    } else if (rc != NOF1_OK) {
        fatal(server, rc);
    }
}

/* The other side sends nothing more. */
static void no_message(struct nof1_call *call, bool stream)
{
    if (stream) {
        nof1_call_end(call, GRPC_STATUS_OK, "");
    } else {
        send_status(call, GRPC_STATUS_INVALID_ARGUMENT, "E1012: no request", NULL, true);
    }
}

static void take_message(struct nof1_call *call, bool stream, struct nof1_slice bytes)
{
    if (!stream && call->server->stopping) {
        send_status(call, GRPC_STATUS_UNAVAILABLE, "stopping", NULL, true);
    } else if (!stream) {
        answer_call(call, bytes);
    } else {
        handle_frame(call, bytes);
        if (!call->ending && !call->closed) {
            read_next(call);
        }
    }
}

static void read_done(struct nof1_op *op, bool ok)
{
    struct nof1_call *call = op->owner;
    bool stream = nof1_method_row(call->method)->stream;
    grpc_byte_buffer *incoming = call->incoming;
    struct nof1_buffer bytes = {0};
    call->incoming = NULL;
    if (!call->ending && !call->closed) {
        nof1_rc_value rc = nof1_message_unpack(&bytes, incoming);
        if (rc != NOF1_OK) {
            fatal(call->server, rc);
        } else if (!ok || incoming == NULL) {
            no_message(call, stream);
        } else {
            take_message(call, stream, nof1_buffer_slice(&bytes));
        }
    }
    grpc_byte_buffer_destroy(incoming);
    nof1_buffer_free(&bytes);
    release(call);
}

/* ---- arrival --------------------------------------------------------------------------------- */

static void started(struct nof1_op *op, bool ok)
{
    struct nof1_call *call = op->owner;
    (void)ok; /* a failure shows as the end of the call */
    release(call);
}

/* A site that reconnects after a silent loss has an older stream here: the new one counts. */
static void replace_older(struct nof1_call *call)
{
    for (struct nof1_call *other = call->server->calls; other != NULL; other = other->next) {
        if (other != call && other->attached && strcmp(other->peer.id, call->peer.id) == 0) {
            nof1_log(NOF1_LOG_NOTICE, "link.replaced",
                     NOF1_LOG_FIELDS(nof1_log_text("site", call->peer.id)));
            tell_link(other, false);
            nof1_call_end(other, GRPC_STATUS_ABORTED, "a newer stream of this site is up");
        }
    }
}

static void attach(struct nof1_call *call)
{
    grpc_op op;
    replace_older(call);
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_SEND_INITIAL_METADATA;
    call->greeting.key = grpc_slice_from_static_string(NOF1_LINK_METADATA);
    call->greeting.value = grpc_slice_from_static_string("1");
    op.data.send_initial_metadata.count = 1;
    op.data.send_initial_metadata.metadata = &call->greeting;
    start_batch(call, &op, 1, &call->start);
    nof1_log(NOF1_LOG_INFO, "link.up",
             NOF1_LOG_FIELDS(nof1_log_text("site", call->peer.id),
                             nof1_log_text("peer", call->peer.spiffe),
                             nof1_log_hex("spki", call->peer.spki, 8)));
    tell_link(call, true);
    read_next(call);
}

static void refuse(struct nof1_call *call, grpc_status_code status, const char *reason,
                   const char *told)
{
    char name[128];
    nof1_message_text(name, sizeof name, call->details.method);
    nof1_log(NOF1_LOG_WARNING, "call.refused",
             NOF1_LOG_FIELDS(nof1_log_text("reason", reason), nof1_log_text("method", name),
                             nof1_log_text("peer", call->peer.spiffe)));
    nof1_call_reject(call, status, told);
}

void nof1_call_begin(struct nof1_call *call)
{
    struct nof1_error why = {0};
    watch_close(call);
    nof1_rc_value rc = nof1_tls_peer(&call->certificate, call->call);
    rc = rc == NOF1_OK ? nof1_gate_check(call->server->gate, nof1_buffer_slice(&call->certificate),
                                         &call->peer, &why)
                       : rc;
    if (rc != NOF1_OK) {
        refuse(call, GRPC_STATUS_PERMISSION_DENIED, why.message,
               "E1009: this certificate is not admitted");
        return;
    }
    call->method = nof1_method_find(nof1_slice_of(GRPC_SLICE_START_PTR(call->details.method),
                                                  GRPC_SLICE_LENGTH(call->details.method)));
    if (call->method == NOF1_METHODS) {
        refuse(call, GRPC_STATUS_UNIMPLEMENTED, "unknown method", "E1012: there is no such method");
        return;
    }
    const struct nof1_method_row *row = nof1_method_row(call->method);
    if ((row->roles & (unsigned)call->peer.role) == 0) {
        refuse(call, GRPC_STATUS_PERMISSION_DENIED, "wrong role",
               "E1008: this identity's role may not call this method");
        return;
    }
    if (row->stream) {
        attach(call);
    } else {
        read_next(call);
    }
}

struct nof1_call *nof1_call_new(struct nof1_server *server)
{
    struct nof1_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->server = server;
    call->method = NOF1_METHODS;
    call->status_text = grpc_empty_slice();
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    call->accept.owner = call->close.owner = call->start.owner = call->read.owner =
        call->write.owner = call->finish.owner = call;
    call->close.done = closed;
    call->start.done = started;
    call->read.done = read_done;
    call->write.done = written;
    call->finish.done = finished;
    return call;
}
