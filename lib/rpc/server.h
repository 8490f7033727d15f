/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The coordinator's side of the link over gRPC core: one stream a site, a few unary calls. Decides
 * who may call what, moves bytes, and holds no logic of the protocol. All functions and all
 * handlers run in one thread, the engine.
 */
#ifndef NOF1_RPC_SERVER_H
#define NOF1_RPC_SERVER_H

#include <rpc/methods.h>
#include <rpc/tls.h>

struct nof1_server_handlers {
    void *self;
    /* A site's stream is there, or gone. An answer other than NOF1_OK is fatal. */
    nof1_rc_value (*link)(void *self, const char *site, bool up);
    /* A frame came from `site`. NOF1_E_UNAUTHORISED cuts the stream; other errors are fatal. */
    nof1_rc_value (*frame)(void *self, const char *site, struct nof1_slice frame);
    /* Answer a unary call: append to reply, or set error and return its rc, which the caller gets
     * as a gRPC status with the text "E1016: message". Never fatal; *fatal says so if it is. */
    nof1_rc_value (*call)(void *self, enum nof1_method method, const struct nof1_identity *caller,
                          struct nof1_slice request, struct nof1_buffer *reply,
                          struct nof1_error *error, bool *fatal);
};

struct nof1_server_config {
    const char *listen;                 /* HOST:PORT, port 0: any */
    struct nof1_tls_files files;
    size_t allowed_count;
    const struct nof1_allowed *allowed; /* copied */
    struct nof1_server_handlers handlers;
};

struct nof1_server;
/* nof1_rpc_start first. Errors: NOF1_E_CONFIG when the address cannot be bound, and those of
 * nof1_identity_check for the own files. */
nof1_rc nof1_server_start(struct nof1_server **out, const struct nof1_server_config *config,
                          struct nof1_error *error);
int nof1_server_port(const struct nof1_server *server);
/* Poll this for POLLIN, then call nof1_server_run. */
int nof1_server_fd(const struct nof1_server *server);
/* Handle everything that has happened. Errors: the first fatal answer of a handler. */
nof1_rc nof1_server_run(struct nof1_server *server);
/* Queue a frame for a site; dropped when its stream is down, or when 256 MiB wait already (then the
 * stream is cut). Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_server_send(struct nof1_server *server, const char *site, struct nof1_slice frame);
/* Replace the allow list, read CA and revocation lists again, and cut every stream that would not
 * be let in now. Errors: as nof1_gate_set; the old state stays. */
nof1_rc nof1_server_allow(struct nof1_server *server, size_t count,
                          const struct nof1_allowed *allowed, struct nof1_error *error);
int64_t nof1_server_next_update(struct nof1_server *server); /* of the revocation lists; 0: none */
/* Refuse new calls, give open ones `grace` milliseconds, cancel them, free. No handler is
 * called. */
void nof1_server_stop(struct nof1_server *server, int grace);

#endif
