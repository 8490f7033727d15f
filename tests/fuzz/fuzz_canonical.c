/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as canonical JSON: what is accepted is written back as the very same bytes.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    struct nof1_slice bytes = nof1_slice_of(data, size);
    nof1_rc_value rc = nof1_canonical_read(&node, arena, bytes, &error);
    if (rc != NOF1_OK) {
        check_refusal(rc, &error);
    } else {
        json_t *json = nof1_node_json(node);
        struct nof1_buffer out = {0};
        HOLDS(json != NULL);
        HOLDS(nof1_canonical_write(&out, json) == NOF1_OK);
        HOLDS(nof1_slice_equal(nof1_buffer_slice(&out), bytes));
        nof1_buffer_free(&out);
        json_decref(json);
    }
    nof1_arena_free(arena);
    return 0;
}
