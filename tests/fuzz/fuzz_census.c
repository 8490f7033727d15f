/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as a census: what is accepted is written back as the very same bytes.
 */
#include <core/census.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_charter *charter = small_charter(arena);
    struct nof1_error error = {0};
    const struct nof1_census *census = NULL;
    uint8_t hash[32];
    struct nof1_slice bytes = nof1_slice_of(data, size);
    nof1_rc_value rc = nof1_census_read(&census, arena, charter, bytes, hash, &error);
    if (rc != NOF1_OK) {
        check_refusal(rc, &error);
        HOLDS(census == NULL);
    } else {
        struct nof1_buffer out = {0};
        struct nof1_study study = {charter, census, NULL};
        HOLDS(census->blocks == charter->blocks);
        HOLDS(nof1_census_count(&study, "patients") == census->count[0]);
        HOLDS(nof1_census_canonical(&out, census, charter) == NOF1_OK);
        HOLDS(nof1_slice_equal(nof1_buffer_slice(&out), bytes));
        nof1_buffer_free(&out);
    }
    nof1_arena_free(arena);
    return 0;
}
