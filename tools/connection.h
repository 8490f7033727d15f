/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where the coordinator is and who the caller is: the options that commands share.
 */
#ifndef NOF1_TOOLS_CONNECTION_H
#define NOF1_TOOLS_CONNECTION_H

#include <rpc/client.h>

struct nof1_connection {
    const char *target;
    struct nof1_tls_files files;
    struct nof1_identity identity; /* of the certificate, after open */
    bool started;
};

/* Rows of a table of struct nof1_argument. */
#define NOF1_CONNECTION_ARGUMENTS(connection)                                                      \
    {"target", "HOST:PORT", &(connection).target, NULL, "the coordinator"},                        \
        {"ca", "FILE", &(connection).files.ca, NULL, "the consortium's authority (PEM)"},          \
        {"cert", "FILE", &(connection).files.cert, NULL, "your certificate (PEM)"},                \
    {                                                                                              \
        "key", "FILE", &(connection).files.key, NULL, "its private key (PEM, mode 0600)"           \
    }

/* Check that all are given, start gRPC, read the identity. Errors: NOF1_E_USAGE, NOF1_E_TLS ... */
nof1_rc nof1_connection_open(struct nof1_connection *connection, struct nof1_error *error);
void nof1_connection_close(struct nof1_connection *connection);

#endif
