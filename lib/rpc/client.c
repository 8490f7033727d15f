/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Unary calls over gRPC core with a queue of its own: see client.h. A reply counts only after the
 * other side proved to be the coordinator of the own study.
 */
#include "client.h"

#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <rpc/link.h>
#include <rpc/message.h>
#include <sys/clock.h>

#define RETRY_AFTER 250 /* milliseconds */
#define LOOK_EVERY 50   /* milliseconds between looks at the stop descriptor */
#define ROLES (NOF1_ROLE_STATISTICIAN | NOF1_ROLE_AUDITOR)

struct nof1_client {
    char *target, *ca, *cert, *key, *crl_folder;
    struct nof1_tls_files files; /* points to the texts above */
    char *server_name;           /* NULL: the target's */
    grpc_channel *channel; /* NULL: to be opened; gRPC would wait 15 s before it dialled again */
    grpc_completion_queue *queue;
    bool admitted; /* the coordinator has answered at least once */
    int stop_fd;   /* readable: stop; -1: none */
};

void nof1_client_free(struct nof1_client *client)
{
    if (client == NULL) {
        return;
    }
    if (client->channel != NULL) {
        grpc_channel_destroy(client->channel);
    }
    if (client->queue != NULL) {
        grpc_completion_queue_shutdown(client->queue);
        while (grpc_completion_queue_next(client->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL)
                   .type != GRPC_QUEUE_SHUTDOWN) {
        }
        grpc_completion_queue_destroy(client->queue);
    }
    free(client->target);
    free(client->server_name);
    free(client->ca);
    free(client->cert);
    free(client->key);
    free(client->crl_folder);
    free(client);
}

static nof1_rc copy_names(struct nof1_client *client, const char *target, const char *server_name,
                          const struct nof1_tls_files *files)
{
    client->target = strdup(target);
    client->server_name = server_name == NULL ? NULL : strdup(server_name);
    ENSURE(server_name == NULL || client->server_name != NULL, NOF1_E_NO_MEMORY);
    client->ca = strdup(files->ca);
    client->cert = strdup(files->cert);
    client->key = strdup(files->key);
    client->crl_folder = files->crl_folder == NULL ? NULL : strdup(files->crl_folder);
    ENSURE(client->target != NULL && client->ca != NULL && client->cert != NULL &&
               client->key != NULL && (files->crl_folder == NULL || client->crl_folder != NULL),
           NOF1_E_NO_MEMORY);
    client->files = (struct nof1_tls_files){.ca = client->ca,
                                            .cert = client->cert,
                                            .key = client->key,
                                            .crl_folder = client->crl_folder};
    return NOF1_OK;
}

nof1_rc nof1_client_new(struct nof1_client **out, const char *target, const char *server_name,
                        const struct nof1_tls_files *files, struct nof1_error *error)
{
    struct nof1_identity own;
    *out = NULL;
    TRY(nof1_identity_check(&own, files, false, ROLES, error));
    struct nof1_client *client = calloc(1, sizeof *client);
    ENSURE(client != NULL, NOF1_E_NO_MEMORY);
    client->stop_fd = -1;
    nof1_rc_value rc = copy_names(client, target, server_name, files);
    if (rc == NOF1_OK) {
        client->queue = grpc_completion_queue_create_for_next(NULL);
        rc = nof1_channel_open(&client->channel, client->target, client->server_name,
                               &client->files, error);
    }
    if (rc != NOF1_OK) {
        nof1_client_free(client);
        return rc;
    }
    *out = client;
    return NOF1_OK;
}

void nof1_client_stop_on(struct nof1_client *client, int fd)
{
    client->stop_fd = fd;
}

/* Wait; true: told to stop. */
static bool stopped(const struct nof1_client *client, int milliseconds)
{
    struct pollfd slot = {.fd = client->stop_fd, .events = POLLIN};
    return poll(&slot, 1, milliseconds) > 0 && slot.revents != 0; /* a negative fd is never ready */
}

/* The batch's event: the queue holds no other. A cancelled call comes back, too. */
static grpc_event await_batch(const struct nof1_client *client, grpc_call *call)
{
    bool cancelled = false;
    for (;;) {
        bool look = client->stop_fd >= 0 && !cancelled;
        gpr_timespec until = look ? gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                                 gpr_time_from_millis(LOOK_EVERY, GPR_TIMESPAN))
                                  : gpr_inf_future(GPR_CLOCK_REALTIME);
        grpc_event event = grpc_completion_queue_next(client->queue, until, NULL);
        if (event.type != GRPC_QUEUE_TIMEOUT) {
            return event;
        }
        if (stopped(client, 0)) {
            cancelled = true;
            (void)grpc_call_cancel(call, NULL);
        }
    }
}

/* Everything one call needs until its batch is back. */
struct exchange {
    grpc_call *call;
    grpc_metadata_array first, last;
    grpc_byte_buffer *request, *reply;
    grpc_status_code status;
    grpc_slice details;
};

static bool perform(struct nof1_client *client, struct exchange *exchange)
{
    grpc_op op[6];
    memset(op, 0, sizeof op);
    op[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    op[1].op = GRPC_OP_SEND_MESSAGE;
    op[1].data.send_message.send_message = exchange->request;
    op[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    op[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    op[3].data.recv_initial_metadata.recv_initial_metadata = &exchange->first;
    op[4].op = GRPC_OP_RECV_MESSAGE;
    op[4].data.recv_message.recv_message = &exchange->reply;
    op[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    op[5].data.recv_status_on_client.trailing_metadata = &exchange->last;
    op[5].data.recv_status_on_client.status = &exchange->status;
    op[5].data.recv_status_on_client.status_details = &exchange->details;
    if (grpc_call_start_batch(exchange->call, op, 6, exchange, NULL) != GRPC_CALL_OK) {
        return false;
    }
    grpc_event event = await_batch(client, exchange->call);
    return event.type == GRPC_OP_COMPLETE; /* success is the batch's; the status is the call's */
}

static nof1_rc judge(const struct nof1_client *client, const struct exchange *exchange,
                     struct nof1_buffer *reply, struct nof1_error *error)
{
    char details[600];
    if (exchange->status != GRPC_STATUS_OK && stopped(client, 0)) {
        return nof1_fail(error, NOF1_E_UNREACHABLE, "stopped");
    }
    nof1_message_text(details, sizeof details, exchange->details);
    if (exchange->status == GRPC_STATUS_DEADLINE_EXCEEDED) {
        return nof1_fail(error, NOF1_E_EXPIRED, "%s did not answer in time", client->target);
    }
    if (exchange->status != GRPC_STATUS_OK) {
        struct nof1_error advice = {0};
        nof1_channel_advice(&advice, client->target, client->admitted, exchange->status, details,
                            &client->files, ROLES);
        return nof1_fail(error, advice.rc, "%s", advice.message);
    }
    TRY(nof1_channel_check(exchange->call, &client->files, error));
    return nof1_message_unpack(reply, exchange->reply);
}

static nof1_rc call_once(struct nof1_client *client, enum nof1_method method,
                         struct nof1_slice request, struct nof1_buffer *reply, int milliseconds,
                         struct nof1_error *error)
{
    if (client->channel == NULL) {
        TRY(nof1_channel_open(&client->channel, client->target, client->server_name, &client->files,
                              error));
    }
    gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                         gpr_time_from_millis(milliseconds, GPR_TIMESPAN));
    struct exchange exchange = {.request = nof1_message_pack(request),
                                .status = GRPC_STATUS_UNKNOWN,
                                .details = grpc_empty_slice()};
    grpc_metadata_array_init(&exchange.first);
    grpc_metadata_array_init(&exchange.last);
    exchange.call = grpc_channel_create_call(
        client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, client->queue,
        grpc_slice_from_static_string(nof1_method_row(method)->name), NULL, deadline, NULL);
    nof1_rc_value rc =
        perform(client, &exchange) ? judge(client, &exchange, reply, error) : NOF1_E_BUG;
    grpc_call_unref(exchange.call);
    grpc_metadata_array_destroy(&exchange.first);
    grpc_metadata_array_destroy(&exchange.last);
    grpc_byte_buffer_destroy(exchange.request);
    grpc_byte_buffer_destroy(exchange.reply);
    grpc_slice_unref(exchange.details);
    if (exchange.status == GRPC_STATUS_UNAVAILABLE) {
        grpc_channel_destroy(client->channel);
        client->channel = NULL;
    }
    return rc;
}

nof1_rc nof1_client_call(struct nof1_client *client, enum nof1_method method,
                         struct nof1_slice request, struct nof1_buffer *reply, int milliseconds,
                         struct nof1_error *error)
{
    struct nof1_error why = {0};
    int64_t end = nof1_clock_monotonic() + milliseconds;
    int64_t left = milliseconds;
    for (;;) {
        why = (struct nof1_error){0};
        nof1_rc_value rc = call_once(client, method, request, reply, (int)left, &why);
        client->admitted = client->admitted || rc == NOF1_OK;
        left = end - nof1_clock_monotonic() - RETRY_AFTER;
        if (rc != NOF1_E_UNREACHABLE || !client->admitted || left <= 0 ||
            stopped(client, RETRY_AFTER)) {
            if (rc != NOF1_OK && error != NULL) {
                *error = why;
            }
            return rc;
        }
    }
}
