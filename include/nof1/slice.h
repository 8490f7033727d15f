/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Borrowed bytes, growable buffers, and the arena that owns everything made during one round, one
 * document or one query.
 */
#ifndef NOF1_SLICE_H
#define NOF1_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nof1/error.h>

struct nof1_slice {
    const uint8_t *data; /* borrowed; may be NULL when length is 0 */
    size_t length;
};

/* Owned, growable bytes. Zero-initialise; free with nof1_buffer_free. */
struct nof1_buffer {
    uint8_t *data;
    size_t length;
    size_t capacity;
};

static inline struct nof1_slice nof1_slice_of(const void *data, size_t length)
{
    return (struct nof1_slice){(const uint8_t *)data, length};
}
struct nof1_slice nof1_slice_text(const char *text); /* without the final NUL */
bool nof1_slice_equal(struct nof1_slice a, struct nof1_slice b);

nof1_rc nof1_buffer_append(struct nof1_buffer *buffer, const void *data, size_t length);
nof1_rc nof1_buffer_printf(struct nof1_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline struct nof1_slice nof1_buffer_slice(const struct nof1_buffer *buffer)
{
    return (struct nof1_slice){buffer->data, buffer->length};
}
void nof1_buffer_free(struct nof1_buffer *buffer);

/* Bump allocator. All memory is zeroed, lives until nof1_arena_free, and is aligned to 16. */
struct nof1_arena;
struct nof1_arena *nof1_arena_new(void); /* NULL when out of memory */
void nof1_arena_free(struct nof1_arena *arena);
void nof1_arena_freep(struct nof1_arena **arena); /* for NOF1_CLEANUP */
/* NULL when out of memory or when count * size overflows. */
void *nof1_arena_alloc(struct nof1_arena *arena, size_t count, size_t size);
char *nof1_arena_text(struct nof1_arena *arena, const char *text);
char *nof1_arena_printf(struct nof1_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct nof1_slice nof1_arena_copy(struct nof1_arena *arena,
                                  struct nof1_slice bytes); /* data NULL: no memory */

#endif
