/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to server.c and call.c: the server and one call on it.
 */
#ifndef NOF1_RPC_SERVER_PARTS_H
#define NOF1_RPC_SERVER_PARTS_H

#include <rpc/mailbox.h>
#include <rpc/message.h>
#include <rpc/server.h>

struct nof1_server {
    grpc_server *server;
    struct nof1_gate *gate;
    struct nof1_mailbox mailbox;
    struct nof1_server_handlers handlers;
    struct nof1_call *calls; /* every call that was accepted and is not yet freed */
    size_t waiting;          /* requests for calls posted to gRPC */
    int port;
    bool stopping;
    nof1_rc_value rc;        /* first fatal answer */
};

struct nof1_call {
    struct nof1_server *server;
    struct nof1_call *next, *previous;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    enum nof1_method method;
    struct nof1_identity peer;
    struct nof1_buffer certificate; /* PEM, to be judged again when the allow list changes */
    bool attached;                  /* a site's stream that the handlers know as up */
    bool ending;                    /* the status was sent */
    bool closed;                    /* gRPC said that the call is over */
    size_t pending;                 /* tags that are out; the call lives until it is zero */
    struct nof1_op accept, close, start, read, write, finish;
    int cancelled;                  /* written by gRPC */
    grpc_byte_buffer *incoming;
    struct nof1_outbox outbox;
    grpc_metadata greeting;
    grpc_slice status_text;
};

struct nof1_call *nof1_call_new(struct nof1_server *server);
/* Free a call that never came to be. */
void nof1_call_discard(struct nof1_call *call);
/* A call has arrived: authorise it and let it run. */
void nof1_call_begin(struct nof1_call *call);
/* Answer at once with a status. */
void nof1_call_reject(struct nof1_call *call, grpc_status_code status, const char *text);
nof1_rc nof1_call_send(struct nof1_call *call, struct nof1_slice frame);
/* End a stream with a status. */
void nof1_call_end(struct nof1_call *call, grpc_status_code status, const char *text);

#endif
