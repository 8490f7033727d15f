/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Memory for decoding a protobuf message, capped: protobuf-c has no limit of its own on what a few
 * bytes may grow to.
 */
#ifndef NOF1_CORE_CAPPED_H
#define NOF1_CORE_CAPPED_H

#include <protobuf-c/protobuf-c.h>

#include <nof1/slice.h>

struct nof1_capped {
    ProtobufCAllocator allocator; /* hand its address to an unpack function */
    struct nof1_arena *arena;     /* frees everything at once */
    size_t left;
    bool exhausted;               /* memory ran out, not the allowance */
};
/* At most `most` bytes of arena. `capped` must stay where it is. */
void nof1_capped_init(struct nof1_capped *capped, struct nof1_arena *arena, size_t most);

#endif
