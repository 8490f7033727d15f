/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Starting, stopping and steering the server; what one call does is in call.c. Every method arrives
 * through grpc_server_request_call, so an unknown one is answered and never left hanging.
 */
#include "server_parts.h"

#include <stdlib.h>
#include <string.h>

#include <base/log.h>
#include <sys/clock.h>

#define WAITING_CALLS 8 /* requests posted ahead, so that a burst of calls does not wait */

/* ---- new calls ------------------------------------------------------------------------------- */

static void request_call(struct nof1_server *server);

static void accepted(struct nof1_op *op, bool ok)
{
    struct nof1_call *call = op->owner;
    struct nof1_server *server = call->server;
    server->waiting--;
    if (!ok) {
        nof1_call_discard(call);
        return;
    }
    if (server->stopping) {
        nof1_call_reject(call, GRPC_STATUS_UNAVAILABLE, "stopping");
        return;
    }
    request_call(server);
    nof1_call_begin(call);
}

static void request_call(struct nof1_server *server)
{
    struct nof1_call *call = nof1_call_new(server);
    if (call == NULL) {
        server->rc = NOF1_E_NO_MEMORY;
        return;
    }
    call->accept.done = accepted;
    nof1_op_arm(&call->accept);
    grpc_call_error result =
        grpc_server_request_call(server->server, &call->call, &call->details, &call->metadata,
                                 server->mailbox.queue, server->mailbox.queue, &call->accept);
    if (result != GRPC_CALL_OK) {
        nof1_call_discard(call);
        server->rc = NOF1_E_BUG;
        return;
    }
    server->waiting++;
}

/* ---- start ----------------------------------------------------------------------------------- */

static grpc_server *create_server(void)
{
    grpc_arg argument[] = {
        nof1_arg_integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, NOF1_MESSAGE_MAX),
        nof1_arg_integer(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, NOF1_MESSAGE_MAX),
        nof1_arg_integer(GRPC_ARG_MAX_CONCURRENT_STREAMS, 16),
        nof1_arg_integer(GRPC_ARG_ALLOW_REUSEPORT, 0),
        /* Edges ping every 30 s (link.c); a site that vanished is noticed within 80 s. */
        nof1_arg_integer(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000),
        nof1_arg_integer(GRPC_ARG_KEEPALIVE_TIME_MS, 60000),
        nof1_arg_integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000),
        nof1_arg_integer(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        nof1_arg_integer(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        nof1_arg_integer(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 15000),
        nof1_arg_integer(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        nof1_arg_integer(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, NOF1_STREAM_WINDOW),
    };
    grpc_channel_args arguments = {.num_args = sizeof argument / sizeof argument[0],
                                   .args = argument};
    return grpc_server_create(&arguments, NULL);
}

static nof1_rc bind_port(struct nof1_server *server, const struct nof1_server_config *config,
                         struct nof1_error *error)
{
    grpc_server_credentials *credentials = nof1_tls_server(&config->files, server->gate);
    ENSURE(credentials != NULL, NOF1_E_NO_MEMORY);
    server->port = grpc_server_add_http2_port(server->server, config->listen, credentials);
    grpc_server_credentials_release(credentials);
    if (server->port <= 0) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "%s: cannot listen there: is the port in use, and HOST this machine's?",
                         config->listen);
    }
    return NOF1_OK;
}

/* Undo a start that failed: nothing was accepted yet. */
static void abandon(struct nof1_server *server)
{
    if (server->server != NULL) {
        nof1_server_stop(server, 0);
        return;
    }
    nof1_gate_release(server->gate);
    free(server);
}

static nof1_rc start(struct nof1_server *server, const struct nof1_server_config *config,
                     struct nof1_error *error)
{
    TRY(nof1_gate_new(&server->gate, &config->files, error));
    TRY(nof1_gate_set(server->gate, config->allowed_count, config->allowed, error));
    TRY(nof1_mailbox_start(&server->mailbox));
    server->server = create_server();
    grpc_server_register_completion_queue(server->server, server->mailbox.queue, NULL);
    nof1_rc_value rc = bind_port(server, config, error);
    grpc_server_start(server->server); /* a server must have been started to be shut down */
    TRY(rc);
    for (size_t i = 0; i < WAITING_CALLS; i++) {
        request_call(server);
    }
    return server->rc;
}

nof1_rc nof1_server_start(struct nof1_server **out, const struct nof1_server_config *config,
                          struct nof1_error *error)
{
    *out = NULL;
    struct nof1_identity own;
    TRY(nof1_identity_check(&own, &config->files, true, NOF1_ROLE_COORDINATOR, error));
    struct nof1_server *server = calloc(1, sizeof *server);
    ENSURE(server != NULL, NOF1_E_NO_MEMORY);
    server->handlers = config->handlers;
    nof1_rc_value rc = start(server, config, error);
    if (rc != NOF1_OK) {
        abandon(server);
        return rc;
    }
    *out = server;
    return NOF1_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

int nof1_server_port(const struct nof1_server *server)
{
    return server->port;
}

int nof1_server_fd(const struct nof1_server *server)
{
    return server->mailbox.fd;
}

nof1_rc nof1_server_run(struct nof1_server *server)
{
    nof1_mailbox_run(&server->mailbox);
    return server->rc;
}

static struct nof1_call *find_link(const struct nof1_server *server, const char *site)
{
    for (struct nof1_call *call = server->calls; call != NULL; call = call->next) {
        if (call->attached && strcmp(call->peer.id, site) == 0) {
            return call;
        }
    }
    return NULL;
}

nof1_rc nof1_server_send(struct nof1_server *server, const char *site, struct nof1_slice frame)
{
    struct nof1_call *call = find_link(server, site);
    return call == NULL ? NOF1_OK : nof1_call_send(call, frame);
}

nof1_rc nof1_server_allow(struct nof1_server *server, size_t count,
                          const struct nof1_allowed *allowed, struct nof1_error *error)
{
    TRY(nof1_gate_set(server->gate, count, allowed, error));
    for (struct nof1_call *call = server->calls; call != NULL; call = call->next) {
        struct nof1_identity identity;
        struct nof1_error why = {0};
        if (!call->attached || call->ending) {
            continue;
        }
        if (nof1_gate_check(server->gate, nof1_buffer_slice(&call->certificate), &identity,
                            &why) != NOF1_OK) {
            nof1_log(NOF1_LOG_WARNING, "link.cut",
                     NOF1_LOG_FIELDS(nof1_log_text("reason", why.message),
                                     nof1_log_text("peer", call->peer.spiffe)));
            nof1_call_end(call, GRPC_STATUS_PERMISSION_DENIED,
                          "E1008: this identity is no longer admitted");
        }
    }
    return NOF1_OK;
}

int64_t nof1_server_next_update(struct nof1_server *server)
{
    return nof1_gate_next_update(server->gate);
}

/* ---- stop ------------------------------------------------------------------------------------ */

static void shut_down(struct nof1_op *op, bool ok)
{
    (void)ok;
    *(bool *)op->owner = true;
}

void nof1_server_stop(struct nof1_server *server, int grace)
{
    if (server == NULL) {
        return;
    }
    bool down = false;
    struct nof1_op notice = {.done = shut_down, .owner = &down};
    int64_t end = nof1_clock_monotonic() + grace;
    server->stopping = true;
    for (struct nof1_call *call = server->calls; call != NULL; call = call->next) {
        if (call->attached && !call->ending) {
            nof1_call_end(call, GRPC_STATUS_UNAVAILABLE, "stopping");
        }
    }
    nof1_op_arm(&notice);
    grpc_server_shutdown_and_notify(server->server, server->mailbox.queue, &notice);
    bool cancelled = false;
    while (!down) {
        nof1_mailbox_wait(&server->mailbox, 20);
        if (!cancelled && nof1_clock_monotonic() >= end) {
            grpc_server_cancel_all_calls(server->server);
            cancelled = true;
        }
    }
    grpc_server_destroy(server->server);
    nof1_mailbox_stop(&server->mailbox);
    nof1_gate_release(server->gate);
    free(server);
}
