/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as YAML: a tree within its limits that can be written as JSON, or a refusal with a
 * place.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    nof1_rc_value rc = nof1_yaml_read(&node, arena, "f", nof1_slice_of(data, size), &error);
    if (rc != NOF1_OK) {
        check_refusal(rc, &error);
        HOLDS(node == NULL);
    } else {
        json_t *json = nof1_node_json(node);
        struct nof1_buffer out = {0};
        HOLDS(json != NULL);
        rc = nof1_canonical_write(&out, json); /* refuses what is not ASCII */
        HOLDS(rc == NOF1_OK || rc == NOF1_E_BUG);
        nof1_buffer_free(&out);
        json_decref(json);
    }
    nof1_arena_free(arena);
    return 0;
}
