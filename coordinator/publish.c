/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-coordinator charter publish: a signed charter becomes the folder's next one. Works whether a
 * coordinator runs or not; what is in the folder is offered to the sites, today or after a crash.
 */
#include <coordinator/charters.h>

#include <string.h>

#include <coordinator/charter_files.h>
#include <core/succession.h>

static nof1_rc check(const struct signed_charter *before, const struct signed_charter *next,
                     struct nof1_error *error)
{
    if (next->charter->lab) {
        return nof1_fail(error, NOF1_E_CONFIG, "a lab charter is not offered to hospitals");
    }
    if (before->charter == NULL) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "no charter is in force in this folder: start the first version with "
                         "nof1-coordinator serve --charter FILE; later ones are published");
    }
    TRY(nof1_charter_follows(before->charter, next->charter, error));
    if (!nof1_slice_equal(before->charter->coordinator.spki, next->charter->coordinator.spki)) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "coordinator: the key differs from that of the charter in force, under "
                         "which the sites check what they are offered; keep it");
    }
    return NOF1_OK;
}

static nof1_rc tell(bool *running, const char *folder, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer reply = {0};
    struct nof1_error why = {0};
    nof1_rc_value rc = nof1_coordinator_ask(&reply, folder, "publish", &why);
    *running = rc == NOF1_OK;
    TRY(*running ? nof1_buffer_append(&reply, "", 1) : NOF1_OK);
    if (*running && strstr((const char *)reply.data, "\"ok\":true") == NULL) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "the charter is stored, but the running coordinator did not take it up: "
                         "%s",
                         (const char *)reply.data);
    }
    return NOF1_OK;
}

nof1_rc nof1_coordinator_publish(uint8_t hash[32], bool *running, const char *folder,
                                 const char *charter, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    struct signed_charter before, next;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(charter_file_read(&next, arena, charter, error));
    TRY(charter_file_named(&before, arena, folder, CHARTER_IN_FORCE, error));
    TRY(check(&before, &next, error));
    TRY(charter_file_keep(folder, &next, error));
    TRY(charter_file_point(folder, CHARTER_OFFERED, next.charter, error));
    memcpy(hash, next.charter->hash, 32);
    return tell(running, folder, error);
}
