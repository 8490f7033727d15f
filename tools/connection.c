/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * See connection.h.
 */
#include <tools/connection.h>

nof1_rc_value nof1_connection_open(struct nof1_connection *connection, struct nof1_error *error)
{
    if (connection->target == NULL || connection->files.ca == NULL ||
        connection->files.cert == NULL || connection->files.key == NULL) {
        return nof1_fail(error, NOF1_E_USAGE, "--target, --ca, --cert and --key are needed");
    }
    TRY(nof1_identity_check(&connection->identity, &connection->files, false,
                            NOF1_ROLE_STATISTICIAN | NOF1_ROLE_AUDITOR, error));
    TRY(nof1_rpc_start(error));
    connection->started = true;
    return NOF1_OK;
}

void nof1_connection_close(struct nof1_connection *connection)
{
    if (connection->started) {
        nof1_rpc_stop();
        connection->started = false;
    }
}
