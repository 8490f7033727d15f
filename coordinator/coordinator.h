/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The coordinator's process: the coordinator session behind gRPC, its store, its admin socket.
 *
 * Admin protocol on DIR/admin.sock: one JSON object a line, one answer a line.
 *   {"command":"status"}    -> {"ok":true,"charter":{...},"links":[site ids],"queries":...}
 *   {"command":"publish"}   hand the folder's next charter to the sites now
 *   {"command":"refresh"}   read DIR/revoked, CA and revocation lists now
 *   {"command":"shutdown"}
 */
#ifndef NOF1_COORDINATOR_COORDINATOR_H
#define NOF1_COORDINATOR_COORDINATOR_H

#include <nof1/slice.h>
#include <rpc/tls.h>

#define NOF1_COORDINATOR_STORE "coordinator.sqlite"
#define NOF1_COORDINATOR_KEY "coordinator.key"  /* signs the charter; its SPKI is on the charter */
#define NOF1_COORDINATOR_ADMIN "admin.sock"
#define NOF1_COORDINATOR_REVOKED "revoked"      /* SPIFFE ids, one a line: not let in any more */

struct nof1_coordinator_settings {
    const char *folder;     /* mode 0700 */
    const char *listen;     /* HOST:PORT; port 0: any */
    const char *port_file;  /* the chosen port is written here; NULL: nowhere */
    const char *charter;    /* canonical bytes, FILE.sig its signature; NULL: the folder's */
    struct nof1_tls_files files;
    uint32_t round_timeout; /* milliseconds a site may take for one answer */
};

/* Serve until SIGTERM, SIGINT or the admin's shutdown. SIGHUP: refresh. Errors are in `error`. */
nof1_rc nof1_coordinator_serve(const struct nof1_coordinator_settings *settings,
                               struct nof1_error *error);
/* Send one command to a running coordinator; its answer is appended to reply.
 * Errors: NOF1_E_UNREACHABLE when none runs in this folder. */
nof1_rc nof1_coordinator_ask(struct nof1_buffer *reply, const char *folder, const char *command,
                             struct nof1_error *error);
/* Make folder and signing key; the key's SPKI (hex) is appended to spki. Keeps what is there. */
nof1_rc nof1_coordinator_init(struct nof1_buffer *spki, const char *folder,
                              struct nof1_error *error);
/* Append the DER of the key that signs charters. Errors: NOF1_E_INPUT before init. */
nof1_rc nof1_coordinator_spki(struct nof1_buffer *out, const char *folder,
                              struct nof1_error *error);
/* Read a YAML charter, write its canonical bytes to `out` and the signature to out.sig; hash is
 * H_c. Errors: as nof1_charter_from_node; NOF1_E_CONFIG when the key is not the charter's. */
nof1_rc nof1_coordinator_sign(uint8_t hash[32], const char *folder, const char *charter,
                              const char *out, struct nof1_error *error);
/* Add a SPIFFE id to the folder's list of those not let in, and tell a running coordinator. */
nof1_rc nof1_coordinator_revoke(const char *folder, const char *spiffe, struct nof1_error *error);

#endif
