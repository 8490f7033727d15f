/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The store of one simulated node: keys in order and a ledger, changed by whole transactions only.
 */
#include "sim_parts.h"

#include <stdlib.h>
#include <string.h>

static struct nof1_slice copy_of(struct nof1_slice value)
{
    uint8_t *data = malloc(value.length + 1);
    SIM_MUST(data != NULL);
    if (value.length > 0) {
        memcpy(data, value.data, value.length);
    }
    return nof1_slice_of(data, value.length);
}

static void free_pair(struct sim_pair *pair)
{
    free(pair->key);
    free((void *)(uintptr_t)pair->value.data);
}

static void *grown(void *list, size_t *capacity, size_t size)
{
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    void *bigger = realloc(list, *capacity * size);
    SIM_MUST(bigger != NULL);
    return bigger;
}

/* The first pair whose key is not less. */
static size_t place_of(const struct sim_store *store, const char *key)
{
    size_t low = 0;
    size_t high = store->pairs;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(store->pair[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void sim_store_put(struct sim_store *store, const char *key, struct nof1_slice value)
{
    size_t at = place_of(store, key);
    if (at < store->pairs && strcmp(store->pair[at].key, key) == 0) {
        free((void *)(uintptr_t)store->pair[at].value.data);
        store->pair[at].value = copy_of(value);
        return;
    }
    if (store->pairs == store->capacity) {
        store->pair = grown(store->pair, &store->capacity, sizeof *store->pair);
    }
    memmove(&store->pair[at + 1], &store->pair[at], (store->pairs - at) * sizeof *store->pair);
    store->pair[at] = (struct sim_pair){strdup(key), copy_of(value)};
    store->pairs += 1;
}

void sim_store_append(struct sim_store *store, const char *kind, struct nof1_slice value)
{
    if (store->entries == store->entry_capacity) {
        store->entry = grown(store->entry, &store->entry_capacity, sizeof *store->entry);
    }
    store->entry[store->entries++] = (struct sim_pair){strdup(kind), copy_of(value)};
}

void sim_store_clear(struct sim_store *store)
{
    for (size_t i = 0; i < store->pairs; i++) {
        free_pair(&store->pair[i]);
    }
    for (size_t i = 0; i < store->entries; i++) {
        free_pair(&store->entry[i]);
    }
    free(store->pair);
    free(store->entry);
    *store = (struct sim_store){0};
}

static void delete_pair(struct sim_store *store, const char *key)
{
    size_t at = place_of(store, key);
    if (at < store->pairs && strcmp(store->pair[at].key, key) == 0) {
        free_pair(&store->pair[at]);
        store->pairs -= 1;
        memmove(&store->pair[at], &store->pair[at + 1],
                (store->pairs - at) * sizeof *store->pair);
    }
}

void sim_store_commit(struct sim_store *store, struct sim_store *pending)
{
    for (size_t i = 0; i < pending->pairs; i++) {
        if (pending->pair[i].value.length == 0) {
            delete_pair(store, pending->pair[i].key);
        } else {
            sim_store_put(store, pending->pair[i].key, pending->pair[i].value);
        }
    }
    for (size_t i = 0; i < pending->entries; i++) {
        sim_store_append(store, pending->entry[i].key, pending->entry[i].value);
    }
    sim_store_clear(pending);
}

struct nof1_slice sim_store_get(const struct sim_store *store, const char *key)
{
    size_t at = place_of(store, key);
    return at < store->pairs && strcmp(store->pair[at].key, key) == 0 ? store->pair[at].value
                                                                      : (struct nof1_slice){0};
}

nof1_rc_value sim_store_each(void *self, const char *prefix,
                             nof1_rc_value (*visit)(void *context, const char *key,
                                                    struct nof1_slice value),
                             void *context)
{
    const struct sim_store *store = self;
    for (size_t at = place_of(store, prefix);
         at < store->pairs && strncmp(store->pair[at].key, prefix, strlen(prefix)) == 0; at++) {
        TRY(visit(context, store->pair[at].key, store->pair[at].value));
    }
    return NOF1_OK;
}
