/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Charters in a vault's folder and store: see charter_store.h.
 */
#include <node/charter_store.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/document.h>
#include <base/hex.h>
#include <node/admin.h>
#include <core/succession.h>

nof1_rc_value nof1_charter_in_folder(const struct nof1_charter **out, struct nof1_arena *arena,
                                     const char *folder, const char *name,
                                     struct nof1_error *error)
{
    struct nof1_slice bytes;
    const char *path = nof1_arena_printf(arena, "%s/%s", folder, name);
    ENSURE(path != NULL, NOF1_E_NO_MEMORY);
    *out = NULL;
    return access(path, F_OK) != 0 ? NOF1_OK : nof1_node_charter(out, &bytes, arena, path, error);
}

nof1_rc_value nof1_charter_promote(int64_t *due, const char *folder, int64_t now,
                                   struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_charter *next = NULL;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    *due = 0;
    TRY(nof1_charter_in_folder(&next, arena, folder, NOF1_NODE_CHARTER_NEXT, error));
    if (next == NULL) {
        return NOF1_OK;
    }
    if (next->effective_at * 1000 > now) {
        *due = next->effective_at * 1000;
        return NOF1_OK;
    }
    const char *from = nof1_arena_printf(arena, "%s/%s", folder, NOF1_NODE_CHARTER_NEXT);
    const char *to = nof1_arena_printf(arena, "%s/%s", folder, NOF1_NODE_CHARTER);
    ENSURE(from != NULL && to != NULL, NOF1_E_NO_MEMORY);
    return rename(from, to) == 0
               ? NOF1_OK
               : nof1_fail_at(error, NOF1_E_IO, to, 0, 0, "the approved charter cannot replace it");
}

nof1_rc_value nof1_charter_decision(const char **by, int64_t *time, struct nof1_arena *arena,
                                    struct nof1_store *store, const char *key)
{
    struct nof1_slice value;
    const struct nof1_node *node = NULL;
    *by = NULL;
    nof1_rc_value rc = nof1_store_get(&value, arena, store, key);
    if (rc == NOF1_E_NOT_FOUND) {
        return NOF1_OK;
    }
    TRY(rc);
    TRY(nof1_canonical_read(&node, arena, value, NULL));
    TRY(nof1_node_integer(time, node, "time", 0, INT64_C(1) << 53, NULL));
    return nof1_node_text(by, node, "by", NULL);
}

nof1_rc_value nof1_charter_acceptable(const struct nof1_charter *before,
                                      const struct nof1_charter *charter, struct nof1_arena *arena,
                                      struct nof1_store *store, struct nof1_error *error)
{
    char hex[65];
    const char *refused = NULL;
    int64_t time = 0;
    nof1_hex_text(hex, charter->hash, sizeof charter->hash);
    const char *key = nof1_arena_printf(arena, "charter-refused/%s", hex);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    if (charter->lab) {
        return nof1_fail(error, NOF1_E_CONFIG, "a lab charter cannot be approved");
    }
    TRY(before == NULL ? NOF1_OK : nof1_charter_follows(before, charter, error));
    TRY(nof1_charter_decision(&refused, &time, arena, store, key));
    if (refused != NULL) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "%s refused this charter here for good; the consortium may offer another "
                         "version",
                         refused);
    }
    const struct nof1_store_reader reader = nof1_store_reader(store);
    return nof1_charter_keeps_released(charter, &reader, error);
}
