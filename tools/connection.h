/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where the coordinator is and who the caller is: the options that commands share.
 */
#ifndef NOF1_TOOLS_CONNECTION_H
#define NOF1_TOOLS_CONNECTION_H

#include <core/charter.h>
#include <crypto/hash.h>
#include <rpc/client.h>

struct nof1_connection {
    const char *target;
    struct nof1_tls_files files;
    const char *charter;           /* file or 64 hex digits; NULL: whatever the coordinator has */
    struct nof1_identity identity; /* of the certificate, after open */
    const uint8_t *pin;            /* hash of the charter named, after open; NULL: none named */
    uint8_t pinned[NOF1_HASH_BYTES];
    bool started;
};

/* Rows of a table of struct nof1_argument. */
#define NOF1_CONNECTION_ARGUMENTS(connection)                                                      \
    {"target", "HOST:PORT", &(connection).target, NULL, "the coordinator", false},                 \
    {"ca", "FILE", &(connection).files.ca, NULL, "the consortium's authority (PEM)", false},       \
    {"cert", "FILE", &(connection).files.cert, NULL, "your certificate (PEM)", false},             \
    {"charter", "FILE|HASH", &(connection).charter, NULL, "refuse a coordinator with any other",   \
     false},                                                                                       \
    {"key", "FILE", &(connection).files.key, NULL, "its private key (PEM, mode 0600)", false}

/* A charter as people wrote it, or canonical, in `arena`. */
nof1_rc nof1_connection_charter(const struct nof1_charter **charter, struct nof1_arena *arena,
                                const char *path, struct nof1_error *error);
/* Are all options there that opening needs? Errors: NOF1_E_USAGE. */
nof1_rc nof1_connection_given(const struct nof1_connection *connection, struct nof1_error *error);
/* Check that all are given, start gRPC, read identity and charter. Errors: NOF1_E_USAGE,
 * NOF1_E_TLS, those of reading a charter ... */
nof1_rc nof1_connection_open(struct nof1_connection *connection, struct nof1_error *error);
void nof1_connection_close(struct nof1_connection *connection);

#endif
