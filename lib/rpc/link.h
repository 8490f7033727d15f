/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The edge's side of the link: one stream to the coordinator, dialled out, reconnected with jitter.
 * Carries opaque frames; cannot read them. All functions and handlers run in one thread.
 */
#ifndef NOF1_RPC_LINK_H
#define NOF1_RPC_LINK_H

#include <rpc/tls.h>

struct nof1_link_handlers {
    void *self;
    /* May the link dial now? Asked before every attempt. */
    bool (*ready)(void *self);
    /* The coordinator has let this site in, or the stream is gone. false from `up` drops it. */
    bool (*up)(void *self);
    void (*down)(void *self);
    /* A frame for the site. An answer other than NOF1_OK drops the stream. */
    nof1_rc_value (*frame)(void *self, struct nof1_slice frame);
};

struct nof1_link_config {
    const char *target;             /* HOST:PORT of the coordinator */
    const char *server_name;        /* name its certificate must bear; NULL: HOST */
    struct nof1_tls_files files;    /* read again at every attempt */
    struct nof1_link_handlers handlers;
};

struct nof1_link;
/* Check the own files and start dialling. nof1_rpc_start first. Errors: as nof1_identity_check. */
nof1_rc nof1_link_start(struct nof1_link **out, const struct nof1_link_config *config,
                        struct nof1_error *error);
int nof1_link_fd(const struct nof1_link *link);   /* poll for POLLIN */
int nof1_link_wait(const struct nof1_link *link, int longest); /* milliseconds poll may wait */
/* Handle what has happened, dial when it is time. */
nof1_rc nof1_link_run(struct nof1_link *link);
/* Send a frame; dropped when the stream is not up. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_link_send(struct nof1_link *link, struct nof1_slice frame);
/* Drop the stream and dial again later (when the vault has gone). */
void nof1_link_drop(struct nof1_link *link);
void nof1_link_stop(struct nof1_link *link);

/* Channel settings shared with the unary client. loopback targets use no proxy. */
nof1_rc nof1_channel_open(grpc_channel **out, const char *target, const char *server_name,
                          const struct nof1_tls_files *files, struct nof1_error *error);
/* Is the other side of a call the coordinator of the own study, by a certificate that is not
 * revoked? Errors: NOF1_E_TLS. */
nof1_rc nof1_channel_check(grpc_call *call, const struct nof1_tls_files *files,
                           struct nof1_error *error);
/* What a person can do about a failed call: looks at the status and at the own files. admitted: the
 * coordinator had let this identity in before, so a closed connection is a lost one. */
void nof1_channel_advice(struct nof1_error *out, const char *target, bool admitted,
                         grpc_status_code status, const char *details,
                         const struct nof1_tls_files *files, unsigned roles);

#endif
