/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * See connection.h.
 */
#include <tools/connection.h>

#include <string.h>

#include <base/document.h>
#include <base/hex.h>
#include <sys/files.h>

#define MOST_TEXT ((size_t)8 << 20)

nof1_rc_value nof1_connection_charter(const struct nof1_charter **charter, struct nof1_arena *arena,
                                      const char *path, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    const struct nof1_node *node = NULL;
    TRY(nof1_file_read(&bytes, path, MOST_TEXT, error));
    struct nof1_slice text = nof1_arena_copy(arena, nof1_buffer_slice(&bytes));
    ENSURE(text.data != NULL, NOF1_E_NO_MEMORY);
    if (text.length > 0 && text.data[0] == '{') {
        return nof1_charter_read(charter, arena, text, error);
    }
    TRY(nof1_yaml_read(&node, arena, path, text, error));
    return nof1_charter_from_node(charter, arena, node, error);
}

static nof1_rc read_pin(struct nof1_connection *connection, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_charter *charter = NULL;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    if (connection->charter == NULL) {
        return NOF1_OK;
    }
    if (!nof1_hex_read(connection->pinned, NOF1_HASH_BYTES, connection->charter)) {
        TRY(nof1_connection_charter(&charter, arena, connection->charter, error));
        memcpy(connection->pinned, charter->hash, NOF1_HASH_BYTES);
    }
    connection->pin = connection->pinned;
    return NOF1_OK;
}

nof1_rc_value nof1_connection_given(const struct nof1_connection *connection,
                                    struct nof1_error *error)
{
    if (connection->target == NULL || connection->files.ca == NULL ||
        connection->files.cert == NULL || connection->files.key == NULL) {
        return nof1_fail(error, NOF1_E_USAGE, "--target, --ca, --cert and --key are needed");
    }
    return NOF1_OK;
}

nof1_rc_value nof1_connection_open(struct nof1_connection *connection, struct nof1_error *error)
{
    TRY(nof1_connection_given(connection, error));
    TRY(nof1_identity_check(&connection->identity, &connection->files, false,
                            NOF1_ROLE_STATISTICIAN | NOF1_ROLE_AUDITOR, error));
    TRY(read_pin(connection, error));
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
