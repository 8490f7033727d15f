/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A capped allocator over an arena: see capped.h.
 */
#include <core/capped.h>

static void *take(void *self, size_t size)
{
    struct nof1_capped *capped = self;
    /* every allocation costs at least one aligned unit, so that empty messages are not free */
    size_t cost = size < 16 ? 16 : size;
    if (cost > capped->left) {
        return NULL;
    }
    capped->left -= cost;
    void *memory = nof1_arena_alloc(capped->arena, 1, cost);
    capped->exhausted = capped->exhausted || memory == NULL;
    return memory;
}

static void leave(void *self, void *pointer)
{
    (void)self;
    (void)pointer; /* the arena frees everything at once */
}

void nof1_capped_init(struct nof1_capped *capped, struct nof1_arena *arena, size_t most)
{
    *capped =
        (struct nof1_capped){.allocator = {take, leave, capped}, .arena = arena, .left = most};
}
