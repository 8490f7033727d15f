/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The census of an epoch (docs/protocol.md, "Documents"): which counts it holds follows from the
 * charter alone; its canonical bytes name the charter and every element, so that a reader needs no
 * table. Must never hold a count below the level of a block.
 */
#include <core/census.h>

#include <string.h>

#include <base/json.h>
#include <core/epochs.h>
#include <crypto/hash.h>

#include "reader.h"

#define LARGEST_COUNT ((INT64_C(1) << 53) - 1)

struct list {
    struct nof1_arena *arena;
    struct nof1_census_element *element; /* NULL while counting */
    size_t count;
};

static nof1_rc add(struct list *list, enum nof1_census_kind kind, size_t outcome, size_t index,
                   size_t second, const char *name)
{
    if (list->element != NULL) {
        ENSURE(name != NULL, NOF1_E_NO_MEMORY);
        list->element[list->count] =
            (struct nof1_census_element){name, kind, outcome, index, second};
    }
    list->count++;
    return NOF1_OK;
}

#define NAME(list, ...)                                                                            \
    ((list)->element == NULL ? NULL : nof1_arena_printf((list)->arena, __VA_ARGS__))

static nof1_rc add_outcome_shapes(struct list *l, const struct nof1_charter *c, size_t o)
{
    const char *y = c->outcome[o].name;
    for (size_t k = 0; k < c->classes; k++) {
        TRY(add(l, NOF1_CENSUS_OUTCOME_CLASS, o, k, 0,
                NAME(l, "%s/class:%s", y, c->class_[k].name)));
    }
    for (size_t k = 0; k <= c->max_cycles; k++) {
        TRY(add(l, NOF1_CENSUS_OUTCOME_CYCLES, o, k, 0, NAME(l, "%s/cycles:%zu", y, k)));
    }
    for (size_t a = 1; a <= c->max_periods; a++) {
        for (size_t b = 1; b <= c->max_periods; b++) {
            TRY(add(l, NOF1_CENSUS_OUTCOME_PATTERN, o, a, b,
                    NAME(l, "%s/pattern:%zu:%zu", y, a, b)));
        }
    }
    return NOF1_OK;
}

static nof1_rc add_outcome(struct list *l, const struct nof1_charter *c, size_t o)
{
    const char *y = c->outcome[o].name;
    const struct nof1_covariate *strata = nof1_charter_strata(c);
    TRY(add(l, NOF1_CENSUS_OUTCOME_PATIENTS, o, 0, 0, NAME(l, "%s/patients", y)));
    TRY(add(l, NOF1_CENSUS_OUTCOME_TRIALS, o, 0, 0, NAME(l, "%s/trials", y)));
    TRY(add(l, NOF1_CENSUS_OUTCOME_SITES, o, 0, 0, NAME(l, "%s/sites", y)));
    TRY(add(l, NOF1_CENSUS_OUTCOME_INCOMPLETE, o, 0, 0, NAME(l, "%s/incomplete", y)));
    TRY(add(l, NOF1_CENSUS_OUTCOME_DOMINATED, o, 0, 0, NAME(l, "%s/dominated", y)));
    TRY(add_outcome_shapes(l, c, o));
    for (size_t s = 0; strata != NULL && s < strata->levels; s++) {
        TRY(add(l, NOF1_CENSUS_OUTCOME_STRATUM, o, s, 0,
                NAME(l, "%s/stratum:%s", y, strata->level[s])));
    }
    return NOF1_OK;
}

static nof1_rc add_all(struct list *l, const struct nof1_charter *c)
{
    const struct nof1_covariate *strata = nof1_charter_strata(c);
    TRY(add(l, NOF1_CENSUS_PATIENTS, 0, 0, 0, "patients"));
    TRY(add(l, NOF1_CENSUS_TRIALS, 0, 0, 0, "trials"));
    TRY(add(l, NOF1_CENSUS_SITES, 0, 0, 0, "sites"));
    for (size_t s = 0; strata != NULL && s < strata->levels; s++) {
        TRY(add(l, NOF1_CENSUS_STRATUM, 0, s, 0, NAME(l, "stratum:%s", strata->level[s])));
    }
    for (size_t v = 0; v < c->covariates; v++) {
        TRY(add(l, NOF1_CENSUS_COVARIATE_MISSING, 0, v, 0,
                NAME(l, "missing:%s", c->covariate[v].name)));
    }
    for (size_t o = 0; o < c->outcomes; o++) {
        TRY(add_outcome(l, c, o));
    }
    return NOF1_OK;
}

nof1_rc nof1_census_elements(const struct nof1_census_element **out, size_t *elements,
                             struct nof1_arena *arena, const struct nof1_charter *charter)
{
    struct list list = {.arena = arena};
    TRY(add_all(&list, charter));
    list.element = nof1_arena_alloc(arena, list.count, sizeof *list.element);
    ENSURE(list.element != NULL, NOF1_E_NO_MEMORY);
    list.count = 0;
    TRY(add_all(&list, charter));
    *out = list.element;
    *elements = list.count;
    return NOF1_OK;
}

/* A census with room for its counts, all zero. */
static nof1_rc census_alloc(struct nof1_census **out, uint64_t **count, struct nof1_arena *arena,
                            const struct nof1_charter *charter, uint32_t epoch)
{
    const struct nof1_census_element *element = NULL;
    struct nof1_census *census = nof1_arena_alloc(arena, 1, sizeof *census);
    ENSURE(census != NULL, NOF1_E_NO_MEMORY);
    census->epoch = epoch;
    census->blocks = charter->blocks;
    TRY(nof1_census_elements(&element, &census->elements, arena, charter));
    const char **name = nof1_arena_alloc(arena, census->elements, sizeof *name);
    *count = nof1_arena_alloc(arena, census->blocks, census->elements * sizeof **count);
    ENSURE(name != NULL && *count != NULL, NOF1_E_NO_MEMORY);
    for (size_t e = 0; e < census->elements; e++) {
        name[e] = element[e].name;
    }
    census->element = name;
    census->count = *count;
    *out = census;
    return NOF1_OK;
}

nof1_rc nof1_census_new(const struct nof1_census **out, struct nof1_arena *arena,
                        const struct nof1_charter *charter, uint32_t epoch, const uint64_t *count)
{
    struct nof1_census *census = NULL;
    uint64_t *copy = NULL;
    TRY(census_alloc(&census, &copy, arena, charter, epoch));
    for (size_t i = 0; i < census->blocks * census->elements; i++) {
        copy[i] = count[i];
    }
    *out = census;
    return NOF1_OK;
}

/* ---- the signed form ---- */

static nof1_rc put(json_t *object, const char *key, json_t *value)
{
    ENSURE(json_object_set_new(object, key, value) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc put_counts(json_t *root, const struct nof1_census *census,
                          const struct nof1_charter *charter)
{
    json_t *blocks = json_array();
    TRY(put(root, "blocks", blocks));
    for (size_t b = 0; b < census->blocks; b++) {
        json_t *block = json_object();
        ENSURE(json_array_append_new(blocks, block) == 0, NOF1_E_NO_MEMORY);
        TRY(put(block, "id", json_string(charter->block[b].id)));
        json_t *counts = json_array();
        TRY(put(block, "counts", counts));
        for (size_t e = 0; e < census->elements; e++) {
            uint64_t count = census->count[b * census->elements + e];
            ENSURE(count <= LARGEST_COUNT, NOF1_E_BUG);
            ENSURE(json_array_append_new(counts, json_integer((json_int_t)count)) == 0,
                   NOF1_E_NO_MEMORY);
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_census_canonical(struct nof1_buffer *out, const struct nof1_census *census,
                              const struct nof1_charter *charter)
{
    ENSURE(census->blocks == charter->blocks, NOF1_E_BUG);
    char hash[65];
    for (size_t i = 0; i < 32; i++) {
        static const char digit[] = "0123456789abcdef";
        hash[2 * i] = digit[charter->hash[i] >> 4];
        hash[2 * i + 1] = digit[charter->hash[i] & 15];
    }
    hash[64] = '\0';
    NOF1_CLEANUP(nof1_json_freep) json_t *root = json_object();
    ENSURE(root != NULL, NOF1_E_NO_MEMORY);
    TRY(put(root, "census", json_integer(1)));
    TRY(put(root, "charter", json_string(hash)));
    TRY(put(root, "epoch",
            nof1_epochs_json(census->epoch, census->block_epoch, census->blocks)));
    json_t *elements = json_array();
    TRY(put(root, "elements", elements));
    for (size_t e = 0; e < census->elements; e++) {
        ENSURE(json_array_append_new(elements, json_string(census->element[e])) == 0,
               NOF1_E_NO_MEMORY);
    }
    TRY(put_counts(root, census, charter));
    return nof1_canonical_write(out, root);
}

/* Counts of one block, at count[0..elements). */
static nof1_rc read_counts(const struct reader *r, uint64_t *count, size_t elements,
                           const struct nof1_node *block)
{
    const struct nof1_node *list = NULL;
    TRY(reader_list(r, &list, block, "counts", true));
    if (list->items != elements) {
        return nof1_fail(r->error, NOF1_E_DECODE, "a block of the census has %zu counts, not %zu",
                         list->items, elements);
    }
    for (size_t e = 0; e < elements; e++) {
        double value = -1;
        if (list->item[e].quoted ||
            nof1_scalar_double(&value, &list->item[e], r->error) != NOF1_OK || value < 0) {
            return nof1_fail(r->error, NOF1_E_DECODE, "a count of the census is not a count");
        }
        count[e] = (uint64_t)value; /* canonical integers are below 2^53: exact */
    }
    return NOF1_OK;
}

static nof1_rc read_body(const struct reader *r, struct nof1_census **out,
                         const struct nof1_charter *charter, const struct nof1_node *root)
{
    static const char *const known[] = {"census", "charter", "epoch", "elements", "blocks", NULL};
    const struct nof1_node *blocks = NULL;
    uint64_t *count = NULL;
    uint32_t epoch = 0;
    const uint32_t *block_epoch = NULL;
    TRY(nof1_node_only(root, known, r->error));
    TRY(nof1_epochs_read(r, &epoch, &block_epoch, charter->blocks, root, "epoch", false));
    TRY(census_alloc(out, &count, r->arena, charter, epoch));
    (*out)->block_epoch = block_epoch;
    TRY(reader_list(r, &blocks, root, "blocks", true));
    if (blocks->items != charter->blocks) {
        return nof1_fail(r->error, NOF1_E_DECODE, "the census has %zu blocks, not %zu",
                         blocks->items, charter->blocks);
    }
    for (size_t b = 0; b < blocks->items; b++) {
        TRY(read_counts(r, count + b * (*out)->elements, (*out)->elements, &blocks->item[b]));
    }
    return NOF1_OK;
}

nof1_rc nof1_census_read(const struct nof1_census **out, struct nof1_arena *arena,
                         const struct nof1_charter *charter, struct nof1_slice bytes,
                         uint8_t hash[32], struct nof1_error *error)
{
    const struct reader r = {arena, error};
    const struct nof1_node *root = NULL;
    struct nof1_census *census = NULL;
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer written = {0};
    TRY(nof1_canonical_read(&root, arena, bytes, error));
    nof1_rc_value rc = read_body(&r, &census, charter, root);
    if (rc == NOF1_E_INPUT && error != NULL) {
        error->rc = NOF1_E_DECODE; /* nobody wrote these bytes by hand */
    }
    TRY(rc == NOF1_E_INPUT ? NOF1_E_DECODE : rc);
    /* Writing it again compares charter, element names and block names in one go. */
    TRY(nof1_census_canonical(&written, census, charter));
    if (!nof1_slice_equal(nof1_buffer_slice(&written), bytes)) {
        return nof1_fail(error, NOF1_E_DECODE,
                         "the census belongs to another charter or names other elements");
    }
    if (hash != NULL) {
        TRY(nof1_hash(hash, NOF1_DOMAIN_CENSUS, 1, &bytes));
    }
    *out = census;
    return NOF1_OK;
}

nof1_rc nof1_census_read_all(const struct nof1_census **out, struct nof1_arena *arena,
                             const struct nof1_charter *charter, struct nof1_slice bytes,
                             struct nof1_error *error)
{
    const struct nof1_census **end = out;
    *out = NULL;
    while (bytes.length > 0) {
        const uint8_t *line = memchr(bytes.data, '\n', bytes.length);
        size_t length = line == NULL ? bytes.length : (size_t)(line - bytes.data);
        const struct nof1_census *read = NULL;
        struct nof1_census *kept = nof1_arena_alloc(arena, 1, sizeof *kept);
        ENSURE(kept != NULL, NOF1_E_NO_MEMORY);
        TRY(nof1_census_read(&read, arena, charter, nof1_slice_of(bytes.data, length), NULL,
                             error));
        *kept = *read;
        *end = kept;
        end = &kept->earlier;
        length += line == NULL ? 0 : 1;
        bytes = nof1_slice_of(bytes.data + length, bytes.length - length);
    }
    return NOF1_OK;
}
