/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Mutual TLS 1.3 for gRPC core: the only file that touches the grpc_tls_* family, which gRPC 1.51
 * marks experimental. There is no way to ask for less: no plaintext, no server-only TLS, no older
 * version, no resumption (a resumed session would skip the revocation lists).
 */
#ifndef NOF1_RPC_TLS_H
#define NOF1_RPC_TLS_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <rpc/identity.h>

/* Who may connect, and with which key. */
struct nof1_allowed {
    const char *spiffe;
    const char *id;                /* the name the rest of the program uses: a site's id */
    enum nof1_identity_role role;
    const uint8_t *spki;           /* SHA-256 of the pinned SubjectPublicKeyInfo; NULL: any key */
};

/* The allow list and the trust, shared by gRPC's handshake threads and the engine. A change
 * replaces the whole snapshot under a lock. */
struct nof1_gate;
nof1_rc nof1_gate_new(struct nof1_gate **out, const struct nof1_tls_files *files,
                      struct nof1_error *error);
/* Released by its owner; credentials made from it keep it alive as long as they need it. */
void nof1_gate_release(struct nof1_gate *gate);
/* Replace the allow list (copied) and load CA and revocation lists again. On failure the old ones
 * stay. Errors: as nof1_trust_load. */
nof1_rc nof1_gate_set(struct nof1_gate *gate, size_t count, const struct nof1_allowed *allowed,
                      struct nof1_error *error);
/* May the owner of this certificate connect? Checks chain, time, use, revocation, allow list,
 * pinned key; fills identity as far as it can be read, identity->id being the allow list's. The
 * error's message is for the server's log only. Errors: NOF1_E_TLS. */
nof1_rc nof1_gate_check(struct nof1_gate *gate, struct nof1_slice pem,
                        struct nof1_identity *identity, struct nof1_error *error);
/* Earliest nextUpdate of the revocation lists; 0: none. */
int64_t nof1_gate_next_update(struct nof1_gate *gate);

/* Start and stop gRPC core in this process (counted). Loads the OpenSSL configuration before the
 * first grpc_init, sends gRPC's own log lines through nof1_log, resolves names with getaddrinfo.
 * Call before any thread is started; never fork after it. Errors: NOF1_E_TLS. */
nof1_rc nof1_rpc_start(struct nof1_error *error);
void nof1_rpc_stop(void);

/* A server that requires and verifies client certificates, here and in the gate; its own files are
 * read again when they change. */
grpc_server_credentials *nof1_tls_server(const struct nof1_tls_files *files,
                                         struct nof1_gate *gate);
/* A client that verifies the server's certificate and name. Errors: NOF1_E_INPUT, NOF1_E_CONFIG. */
nof1_rc nof1_tls_client(grpc_channel_credentials **out, const struct nof1_tls_files *files,
                        struct nof1_error *error);
/* The certificate of a call's other side as PEM, copied into `pem`. Errors: NOF1_E_TLS. */
nof1_rc nof1_tls_peer(struct nof1_buffer *pem, grpc_call *call);

#endif
