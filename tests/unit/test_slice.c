/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Slices, buffers and the arena: contents, growth, alignment, zeroes, overflow.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <nof1/slice.h>

Test(slice, equality_is_of_bytes)
{
    cr_expect(nof1_slice_equal(nof1_slice_text("ab"), nof1_slice_of("abc", 2)));
    cr_expect(!nof1_slice_equal(nof1_slice_text("ab"), nof1_slice_text("ac")));
    cr_expect(!nof1_slice_equal(nof1_slice_text("ab"), nof1_slice_text("abc")));
    cr_expect(nof1_slice_equal(nof1_slice_text(NULL), nof1_slice_text("")));
    cr_expect(nof1_slice_equal(nof1_slice_of(NULL, 0), nof1_slice_of("x", 0)));
}

Test(slice, a_buffer_grows_and_keeps_its_bytes)
{
    struct nof1_buffer buffer = {0};
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        cr_assert_eq(nof1_buffer_append(&buffer, &byte, 1), NOF1_OK);
    }
    cr_expect_eq(nof1_buffer_append(&buffer, NULL, 0), NOF1_OK);
    cr_expect_eq(buffer.length, 10000u);
    for (unsigned i = 0; i < 10000; i++) {
        cr_assert_eq(buffer.data[i], (uint8_t)(i * 7));
    }
    size_t capacity = buffer.capacity;
    cr_expect_eq(nof1_buffer_append(&buffer, "x", SIZE_MAX), NOF1_E_NO_MEMORY);
    cr_expect_eq(nof1_buffer_append(&buffer, "x", SIZE_MAX / 2), NOF1_E_NO_MEMORY);
    cr_expect_eq(buffer.length, 10000u);
    cr_expect_eq(buffer.capacity, capacity);
    nof1_buffer_free(&buffer);
    cr_expect_null(buffer.data);
    nof1_buffer_free(&buffer);
}

Test(slice, a_buffer_prints)
{
    struct nof1_buffer buffer = {0};
    char expected[5000] = "";
    for (int i = 0; i < 500; i++) {
        char part[16];
        snprintf(part, sizeof part, "%d,", i);
        strcat(expected, part);
        cr_assert_eq(nof1_buffer_printf(&buffer, "%d,", i), NOF1_OK);
    }
    cr_expect(nof1_slice_equal(nof1_buffer_slice(&buffer), nof1_slice_text(expected)));
    cr_expect_eq(nof1_buffer_printf(&buffer, "%s", ""), NOF1_OK);
    cr_expect_eq(buffer.length, strlen(expected));
    nof1_buffer_free(&buffer);
}

Test(slice, arena_memory_is_zeroed_aligned_and_apart)
{
    struct nof1_arena *arena = nof1_arena_new();
    uint8_t *block[400];
    for (size_t i = 0; i < 400; i++) {
        size_t size = i % 50 == 49 ? 100000 : i % 97;
        block[i] = nof1_arena_alloc(arena, size, 1);
        cr_assert_not_null(block[i]);
        cr_expect_eq((uintptr_t)block[i] % 16, 0u);
        for (size_t k = 0; k < size; k++) {
            cr_assert_eq(block[i][k], 0);
        }
        memset(block[i], (int)(i % 255) + 1, size);
    }
    for (size_t i = 0; i < 400; i++) {
        size_t size = i % 50 == 49 ? 100000 : i % 97;
        for (size_t k = 0; k < size; k++) {
            cr_assert_eq(block[i][k], (uint8_t)(i % 255 + 1));
        }
    }
    nof1_arena_free(arena);
    nof1_arena_free(NULL);
}

Test(slice, arena_refuses_what_overflows)
{
    struct nof1_arena *arena = nof1_arena_new();
    cr_expect_null(nof1_arena_alloc(arena, SIZE_MAX, 2));
    cr_expect_null(nof1_arena_alloc(arena, SIZE_MAX, 1));
    cr_expect_null(nof1_arena_alloc(arena, SIZE_MAX / 2 + 1, 2));
    cr_expect_null(nof1_arena_copy(arena, nof1_slice_of("x", SIZE_MAX)).data);
    void *empty = nof1_arena_alloc(arena, 0, 8);
    cr_expect_not_null(empty);
    cr_expect_neq(empty, nof1_arena_alloc(arena, 0, 8));
    nof1_arena_freep(&arena);
    cr_expect_null(arena);
}

Test(slice, arena_texts_are_terminated_copies)
{
    struct nof1_arena *arena = nof1_arena_new();
    char source[] = "north";
    char *copy = nof1_arena_text(arena, source);
    source[0] = 'N';
    cr_expect_str_eq(copy, "north");
    cr_expect_str_eq(nof1_arena_printf(arena, "%s-%03d", "a", 7), "a-007");
    struct nof1_slice bytes = nof1_arena_copy(arena, nof1_slice_of("a\0b", 3));
    cr_expect(nof1_slice_equal(bytes, nof1_slice_of("a\0b", 3)));
    cr_expect_eq(bytes.data[3], 0);
    cr_expect_not_null(nof1_arena_copy(arena, nof1_slice_of(NULL, 0)).data);
    nof1_arena_free(arena);
}
