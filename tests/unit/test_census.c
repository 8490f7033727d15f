/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The census: elements of a charter, look-up over a plan's blocks, the canonical round trip.
 */
#include <criterion/criterion.h>
#include <string.h>

#include <core/census.h>

#include "document.h"

static struct nof1_arena *arena;
static struct nof1_error error;
static const struct nof1_charter *charter;
static const struct nof1_census *census;

static void setup(void)
{
    arena = nof1_arena_new();
    charter = test_charter(arena);
    const struct nof1_census_element *element = NULL;
    size_t elements = 0;
    cr_assert_eq(nof1_census_elements(&element, &elements, arena, charter), NOF1_OK);
    uint64_t *count = nof1_arena_alloc(arena, 2 * elements, sizeof *count);
    for (size_t i = 0; i < 2 * elements; i++) {
        count[i] = i * i;
    }
    cr_assert_eq(nof1_census_new(&census, arena, charter, 4, count), NOF1_OK);
}

static void teardown(void)
{
    nof1_arena_free(arena);
}

TestSuite(census, .init = setup, .fini = teardown);

Test(census, elements_follow_from_the_charter)
{
    const struct nof1_census_element *element = NULL;
    size_t elements = 0;
    cr_assert_eq(nof1_census_elements(&element, &elements, arena, charter), NOF1_OK);
    /* 3 counts, 3 strata, 3 covariates; per outcome 5 + 2 classes + 4 cycles + 9 patterns + 3 */
    cr_expect_eq(elements, 3 + 3 + 3 + 3 * (5 + 2 + 4 + 9 + 3u));
    static const char *const some[] = {"patients",    "stratum:not stated", "missing:age",
                                       "y/class:3x3", "relief/cycles:0",    "falls/pattern:3:1",
                                       "y/stratum:F", "y/incomplete",       "falls/dominated"};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        size_t found = 0;
        for (size_t e = 0; e < elements; e++) {
            found += strcmp(element[e].name, some[i]) == 0;
        }
        cr_expect_eq(found, 1u, "%s", some[i]);
    }
    for (size_t e = 0; e < elements; e++) {
        if (element[e].kind == NOF1_CENSUS_OUTCOME_PATTERN) {
            char name[64];
            snprintf(name, sizeof name, "%s/pattern:%zu:%zu",
                     charter->outcome[element[e].outcome].name, element[e].index,
                     element[e].second);
            cr_expect_str_eq(element[e].name, name);
        }
        for (size_t f = 0; f < e; f++) {
            cr_expect_str_neq(element[e].name, element[f].name);
        }
    }
}

Test(census, counts_are_summed_over_the_blocks_of_the_plan)
{
    size_t second = 1;
    struct nof1_plan plan = {.blocks = 1, .block = &second};
    struct nof1_study study = {charter, census, &plan};
    size_t n = census->elements;
    cr_expect_eq(nof1_census_count(&study, "trials"), (n + 1) * (n + 1));
    plan.blocks = 0;
    cr_expect_eq(nof1_census_count(&study, "trials"), 1 + (n + 1) * (n + 1));
    study.plan = NULL;
    cr_expect_eq(nof1_census_count(&study, "sites"), 4 + (n + 2) * (n + 2));
    cr_expect_eq(nof1_census_count(&study, "no such element"), 0u);
    study.census = NULL;
    cr_expect_eq(nof1_census_count(&study, "trials"), 0u);
}

Test(census, canonical_bytes_survive_and_are_hashed)
{
    struct nof1_buffer bytes = {0};
    const struct nof1_census *back = NULL;
    uint8_t hash[32] = {0};
    uint8_t other[32] = {0};
    cr_assert_eq(nof1_census_canonical(&bytes, census, charter), NOF1_OK);
    cr_assert_eq(nof1_census_read(&back, arena, charter, nof1_buffer_slice(&bytes), hash, &error),
                 NOF1_OK, "%s", error.message);
    cr_expect_eq(back->epoch, 4u);
    cr_expect_eq(back->elements, census->elements);
    cr_expect_eq(memcmp(back->count, census->count, 2 * census->elements * sizeof *census->count),
                 0);
    struct nof1_census changed = *census;
    changed.epoch = 5;
    bytes.length = 0;
    cr_assert_eq(nof1_census_canonical(&bytes, &changed, charter), NOF1_OK);
    cr_assert_eq(nof1_census_read(&back, arena, charter, nof1_buffer_slice(&bytes), other, &error),
                 NOF1_OK);
    cr_expect_neq(memcmp(hash, other, 32), 0);
    nof1_buffer_free(&bytes);
}

Test(census, other_bytes_are_refused)
{
    struct nof1_buffer bytes = {0};
    cr_assert_eq(nof1_census_canonical(&bytes, census, charter), NOF1_OK);
    cr_assert_eq(nof1_buffer_append(&bytes, "", 1), NOF1_OK);
    const char *text = (const char *)bytes.data;

    static const struct {
        const char *from, *to;
    } variants[] = {
        {"\"counts\":[0,", "\"counts\":["},       {"\"counts\":[0,", "\"counts\":[-1,"},
        {"\"counts\":[0,", "\"counts\":[\"0\","}, {"\"counts\":[0,", "\"counts\":[[],"},
        {"\"id\":\"b1\"", "\"id\":\"b9\""},       {"\"trials\"", "\"trails\""},
        {"\"census\":1", "\"census\":2"},         {"\"epoch\":4", "\"epoch\":\"4\""},
        {"\"epoch\":4", "\"epoch\":-1"},          {"\"blocks\":[", "\"blocks\":[{},"},
        {"\"charter\":\"", "\"charter\":\"00"},   {"{\"blocks\"", "{\"a\":1,\"blocks\""}};

    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        const struct nof1_census *back = NULL;
        const char *changed = test_replace(arena, text, variants[i].from, variants[i].to, NULL);
        error = (struct nof1_error){0};
        cr_expect_eq(
            nof1_census_read(&back, arena, charter, nof1_slice_text(changed), NULL, &error),
            NOF1_E_DECODE, "%s", variants[i].to);
        cr_expect_eq(error.rc, NOF1_E_DECODE, "%s", variants[i].to);
        cr_expect_null(back);
    }
    const char *other =
        test_replace(arena, test_charter_text(arena), "version: 2", "version: 3", NULL);
    const struct nof1_census *back = NULL;
    cr_expect_eq(nof1_census_read(&back, arena, test_charter_from(arena, other),
                                  nof1_slice_text(text), NULL, &error),
                 NOF1_E_DECODE, "a census belongs to one charter");
    nof1_buffer_free(&bytes);
}
