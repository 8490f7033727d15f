/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Fails the k-th allocation for k = 1, 2, ... until the operation succeeds (after SQLite's
 * malloc_common.tcl). The arena and the buffer are compiled into this suite with an allocator that
 * fails on demand; jansson is told to use the same one. Every failure must be reported as out of
 * memory, leave no result, and leak nothing (the suites run under AddressSanitizer). Where
 * documents are parsed, jansson's own allocations do not fail: the tokenizer of jansson 2.14 writes
 * out of bounds when they do.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <nof1/slice.h>

static bool parsing;        /* jansson's own allocations succeed */
static long countdown = -1; /* allocations until the failing one; negative: none fails */

static bool fails_now(void)
{
    if (countdown < 0) {
        return false;
    }
    return countdown-- == 0;
}

static void *failing_malloc(size_t size)
{
    return !parsing && fails_now() ? NULL : malloc(size);
}

static void *failing_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : calloc(count, size);
}

static void *failing_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : realloc(old, size);
}

/* The suite's own copies of these two files satisfy the linker before the library's do. */
#define calloc(count, size) failing_calloc(count, size)
#define realloc(old, size) failing_realloc(old, size)
#include <base/arena.c>
#include <base/buffer.c>
#undef calloc
#undef realloc

#include <core/census.h>
#include <core/map.h>
#include <core/policy.h>

#include "document.h"

struct fixture {
    const char *yaml;
    struct nof1_slice charter_bytes, census_bytes, map_yaml;
    const struct nof1_charter *charter;
};

/* One operation: everything it makes lives in `arena` and `out`. */
typedef nof1_rc_value (*operation)(const struct fixture *fixture, struct nof1_arena *arena,
                                   struct nof1_buffer *out);

/* Run the operation with every allocation failing in turn; the number of failures seen. parses: it
 * runs jansson's parser. */
static long exhaust(const struct fixture *fixture, operation run, bool parses)
{
    parsing = parses;
    for (long k = 0; k < 100000; k++) {
        struct nof1_buffer out = {0};
        countdown = k;
        struct nof1_arena *arena = nof1_arena_new();
        nof1_rc_value rc = arena == NULL ? NOF1_E_NO_MEMORY : run(fixture, arena, &out);
        bool failed = countdown < 0;
        countdown = -1;
        nof1_buffer_free(&out);
        nof1_arena_free(arena);
        if (!failed) {
            cr_expect_eq(rc, NOF1_OK, "%s", nof1_rc_code(rc));
            return k;
        }
        cr_assert_eq(rc, NOF1_E_NO_MEMORY, "allocation %ld: %s", k, nof1_rc_code(rc));
    }
    return -1;
}

static nof1_rc_value read_yaml(const struct fixture *fixture, struct nof1_arena *arena,
                               struct nof1_buffer *out)
{
    const struct nof1_charter *charter = NULL;
    const struct nof1_node *node = NULL;
    TRY(nof1_yaml_read(&node, arena, "f", nof1_slice_text(fixture->yaml), NULL));
    TRY(nof1_charter_from_node(&charter, arena, node, NULL));
    return nof1_charter_canonical(out, charter);
}

static nof1_rc_value read_charter(const struct fixture *fixture, struct nof1_arena *arena,
                                  struct nof1_buffer *out)
{
    (void)out;
    const struct nof1_charter *charter = NULL;
    return nof1_charter_read(&charter, arena, fixture->charter_bytes, NULL);
}

static nof1_rc_value read_census(const struct fixture *fixture, struct nof1_arena *arena,
                                 struct nof1_buffer *out)
{
    const struct nof1_census *census = NULL;
    TRY(nof1_census_read(&census, arena, fixture->charter, fixture->census_bytes, NULL, NULL));
    return nof1_census_canonical(out, census, fixture->charter);
}

static nof1_rc_value read_map(const struct fixture *fixture, struct nof1_arena *arena,
                              struct nof1_buffer *out)
{
    static const char *const header[] = {"trial", "treatment", "y", "age"};
    (void)out;
    const struct nof1_node *node = NULL;
    const struct nof1_map *map = NULL;
    TRY(nof1_yaml_read(&node, arena, "f", fixture->map_yaml, NULL));
    TRY(nof1_map_read(&map, arena, node, NULL));
    return nof1_map_bind(&map, arena, map, "f", 4, header, NULL);
}

Test(allocation, every_failure_is_reported_and_leaks_nothing)
{
    json_set_alloc_funcs(failing_malloc, free);
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_buffer census = {0};
    struct nof1_buffer charter = {0};
    struct fixture fixture = {.yaml = test_charter_text(arena),
                              .map_yaml = nof1_slice_text("outcomes: {y: ~}\ncovariates: [age]\n")};
    fixture.charter = test_charter(arena);
    cr_assert_eq(nof1_charter_canonical(&charter, fixture.charter), NOF1_OK);
    fixture.charter_bytes = nof1_buffer_slice(&charter);
    uint64_t *count = nof1_arena_alloc(arena, 1000, sizeof *count);
    const struct nof1_census *zero = NULL;
    cr_assert_eq(nof1_census_new(&zero, arena, fixture.charter, 1, count), NOF1_OK);
    cr_assert_eq(nof1_census_canonical(&census, zero, fixture.charter), NOF1_OK);
    fixture.census_bytes = nof1_buffer_slice(&census);
    cr_expect_gt(exhaust(&fixture, read_yaml, false), 100);
    cr_expect_gt(exhaust(&fixture, read_charter, true), 10);
    cr_expect_gt(exhaust(&fixture, read_census, true), 10);
    cr_expect_gt(exhaust(&fixture, read_map, false), 1);
    nof1_buffer_free(&census);
    nof1_buffer_free(&charter);
    nof1_arena_free(arena);
}
