/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as a charter in either form: what is accepted obeys the block rule and survives its
 * canonical bytes.
 */
#include "fuzz.h"

static void check_charter(const struct nof1_charter *charter, struct nof1_arena *arena)
{
    size_t members = 0;
    for (size_t b = 0; b < charter->blocks; b++) {
        HOLDS(charter->block[b].sites >= charter->limits.min_block_sites);
        members += charter->block[b].sites;
    }
    HOLDS(members == charter->sites);
    HOLDS(!charter->limits.open || charter->lab);
    struct nof1_buffer first = {0};
    struct nof1_buffer second = {0};
    const struct nof1_charter *again = NULL;
    struct nof1_error error = {0};
    HOLDS(nof1_charter_canonical(&first, charter) == NOF1_OK);
    nof1_rc_value rc = nof1_charter_read(&again, arena, nof1_buffer_slice(&first), &error);
    if (rc == NOF1_OK) {
        HOLDS(nof1_charter_canonical(&second, again) == NOF1_OK);
        HOLDS(nof1_slice_equal(nof1_buffer_slice(&first), nof1_buffer_slice(&second)));
    } else {
        HOLDS(!charter->lab); /* keys that a deployed charter must pin */
        check_refusal(rc, &error);
    }
    nof1_buffer_free(&first);
    nof1_buffer_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_charter *charter = NULL;
    struct nof1_slice bytes = nof1_slice_of(data, size);
    nof1_rc_value rc = nof1_yaml_read(&node, arena, "f", bytes, &error);
    if (rc == NOF1_OK) {
        rc = nof1_charter_from_node(&charter, arena, node, &error);
    }
    if (rc == NOF1_OK) {
        check_charter(charter, arena);
    } else {
        check_refusal(rc, &error);
        HOLDS(charter == NULL);
    }
    rc = nof1_charter_read(&charter, arena, bytes, &error);
    if (rc == NOF1_OK) {
        check_charter(charter, arena);
    } else {
        check_refusal(rc, &error);
    }
    nof1_arena_free(arena);
    return 0;
}
