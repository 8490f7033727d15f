/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Chunked bump allocator. A chunk is one calloc; chunks grow from 4 KiB to 1 MiB, and a request
 * larger than a quarter of the next chunk gets a chunk of its own, so that no space is thrown away.
 * There is one allocation point (chunk_new). Not for secrets: nothing here is wiped.
 */
#include <nof1/slice.h>

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 16u
#define FIRST_CHUNK 4096u
#define LARGEST_CHUNK (1u << 20)

struct chunk {
    struct chunk *next;
    size_t used, capacity;
    alignas(ALIGNMENT) uint8_t memory[];
};

struct nof1_arena {
    struct chunk *current; /* bump allocation happens here; older chunks follow */
    struct chunk *large;   /* one request each */
    size_t next_capacity;
};

static struct chunk *chunk_new(size_t capacity)
{
    if (capacity > SIZE_MAX - sizeof(struct chunk)) {
        return NULL;
    }
    struct chunk *chunk = calloc(1, sizeof *chunk + capacity);
    if (chunk != NULL) {
        chunk->capacity = capacity;
    }
    return chunk;
}

static void chunks_free(struct chunk *chunk)
{
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

struct nof1_arena *nof1_arena_new(void)
{
    struct nof1_arena *arena = calloc(1, sizeof *arena);
    if (arena != NULL) {
        arena->next_capacity = FIRST_CHUNK;
    }
    return arena;
}

void nof1_arena_free(struct nof1_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    chunks_free(arena->current);
    chunks_free(arena->large);
    free(arena);
}

void nof1_arena_freep(struct nof1_arena **arena)
{
    nof1_arena_free(*arena);
    *arena = NULL;
}

static void *alloc_large(struct nof1_arena *arena, size_t bytes)
{
    struct chunk *chunk = chunk_new(bytes);
    if (chunk == NULL) {
        return NULL;
    }
    chunk->used = bytes;
    chunk->next = arena->large;
    arena->large = chunk;
    return chunk->memory;
}

void *nof1_arena_alloc(struct nof1_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, ALIGNMENT - 1, &bytes)) {
        return NULL;
    }
    bytes &= ~(size_t)(ALIGNMENT - 1);
    if (bytes == 0) {
        bytes = ALIGNMENT; /* an empty array still has an address of its own */
    }
    struct chunk *chunk = arena->current;
    if (chunk == NULL || bytes > chunk->capacity - chunk->used) {
        if (bytes > arena->next_capacity / 4) {
            return alloc_large(arena, bytes);
        }
        chunk = chunk_new(arena->next_capacity);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->next = arena->current;
        arena->current = chunk;
        if (arena->next_capacity < LARGEST_CHUNK) {
            arena->next_capacity *= 2;
        }
    }
    void *memory = chunk->memory + chunk->used;
    chunk->used += bytes;
    return memory;
}

char *nof1_arena_text(struct nof1_arena *arena, const char *text)
{
    struct nof1_slice copy = nof1_arena_copy(arena, nof1_slice_text(text));
    return (char *)(uintptr_t)copy.data;
}

char *nof1_arena_printf(struct nof1_arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = length < 0 ? NULL : nof1_arena_alloc(arena, (size_t)length + 1, 1);
    if (text != NULL) {
        va_start(arguments, format);
        vsnprintf(text, (size_t)length + 1, format, arguments);
        va_end(arguments);
    }
    return text;
}

struct nof1_slice nof1_arena_copy(struct nof1_arena *arena, struct nof1_slice bytes)
{
    /* One byte more than asked for, so that a copied text is terminated. */
    uint8_t *memory =
        bytes.length == SIZE_MAX ? NULL : nof1_arena_alloc(arena, bytes.length + 1, 1);
    if (memory == NULL) {
        return (struct nof1_slice){NULL, 0};
    }
    if (bytes.length > 0) {
        memcpy(memory, bytes.data, bytes.length);
    }
    return (struct nof1_slice){memory, bytes.length};
}
