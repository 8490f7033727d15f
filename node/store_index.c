/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which frozen epochs a site keeps: see store_index.h and docs/protocol.md, "Epochs".
 */
#include "store_index.h"

#include <stdlib.h>
#include <string.h>

#include <base/document.h>
#include <node/store.h>

#define HEAD "epoch/head"
#define STOPPED "stopped" /* {"epoch":N}: see lib/core/site_steward.c */

static nof1_rc read_ids(uint32_t *id, const struct nof1_node *list)
{
    for (size_t i = 0; i < list->items; ++i) {
        const char *text = list->item[i].text;
        ENSURE(list->item[i].kind == NOF1_SCALAR && text != NULL, NOF1_E_STORE);
        unsigned long value = strtoul(text, NULL, 10);
        ENSURE(value > 0 && value <= UINT32_MAX && (i == 0 || value < id[i - 1]), NOF1_E_STORE);
        id[i] = (uint32_t)value;
    }
    return NOF1_OK;
}

nof1_rc_value nof1_epoch_kept(uint32_t **out, size_t *ids, struct nof1_arena *arena,
                              struct nof1_store *store)
{
    struct nof1_slice bytes = {0};
    const struct nof1_node *root = NULL;
    *ids = 0;
    *out = NULL;
    nof1_rc_value rc = nof1_store_get(&bytes, arena, store, HEAD);
    if (rc == NOF1_E_NOT_FOUND) {
        return NOF1_OK;
    }
    TRY(rc);
    rc = nof1_canonical_read(&root, arena, bytes, NULL);
    ENSURE(rc == NOF1_OK || rc == NOF1_E_NO_MEMORY, NOF1_E_STORE);
    TRY(rc);
    const struct nof1_node *list = nof1_node_get(root, "epochs");
    ENSURE(list != NULL && list->kind == NOF1_LIST && list->items > 0, NOF1_E_STORE);
    uint32_t *id = nof1_arena_alloc(arena, list->items, sizeof *id);
    ENSURE(id != NULL, NOF1_E_NO_MEMORY);
    TRY(read_ids(id, list));
    *out = id;
    *ids = list->items;
    return NOF1_OK;
}

static nof1_rc write_kept(struct nof1_store *store, const uint32_t *id, size_t ids)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    TRY(nof1_buffer_printf(&bytes, "{\"epochs\":["));
    for (size_t i = 0; i < ids; ++i) {
        TRY(nof1_buffer_printf(&bytes, "%s%u", i == 0 ? "" : ",", (unsigned)id[i]));
    }
    TRY(nof1_buffer_printf(&bytes, "]}"));
    return nof1_store_put(store, HEAD, nof1_buffer_slice(&bytes));
}

nof1_rc_value nof1_epoch_current(uint32_t *id, struct nof1_store *store)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    uint32_t *kept = NULL;
    size_t ids = 0;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_epoch_kept(&kept, &ids, arena, store));
    *id = ids == 0 ? 0 : kept[0];
    return NOF1_OK;
}

/* Which epochs releases have used last, one an outcome family, and up to which none is answered. */
struct in_use {
    size_t families;
    uint32_t family[NOF1_EPOCH_OUTCOMES];
    uint32_t stopped;
};

static nof1_rc_value visit_number(void *context, const char *key, struct nof1_slice value)
{
    struct in_use *use = context;
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_node *node = NULL;
    int64_t epoch = 0;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    if (value.length == 0) {
        return NOF1_OK;
    }
    TRY(nof1_canonical_read(&node, arena, value, NULL));
    if (nof1_node_integer(&epoch, node, "epoch", 0, UINT32_MAX, NULL) != NOF1_OK) {
        return NOF1_OK; /* of another version: no release can be remembered by it */
    }
    if (strcmp(key, STOPPED) == 0) {
        use->stopped = (uint32_t)epoch;
    } else if (epoch > 0 && use->families < NOF1_EPOCH_OUTCOMES) {
        use->family[use->families++] = (uint32_t)epoch;
    }
    return NOF1_OK;
}

/* Of those before the last: what a family's releases used stays until it has moved on. Before the
 * first release one stays for the plans that run. What a withdrawal stopped is answered no more. */
static bool stays(const struct in_use *use, uint32_t id, bool last_before)
{
    bool used = use->families == 0 && last_before;
    for (size_t f = 0; f < use->families; ++f) {
        used = used || use->family[f] == id;
    }
    return used && id > use->stopped;
}

nof1_rc_value nof1_epoch_retain(struct nof1_store *store, uint32_t next)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_store_reader reader = nof1_store_reader(store);
    struct in_use use = {0};
    uint32_t *id = NULL;
    size_t ids = 0, kept = 0;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_epoch_kept(&id, &ids, arena, store));
    TRY(reader.each(reader.self, "atoms/", visit_number, &use));
    TRY(reader.each(reader.self, STOPPED, visit_number, &use));
    uint32_t *keep = nof1_arena_alloc(arena, ids + 1, sizeof *keep);
    ENSURE(keep != NULL, NOF1_E_NO_MEMORY);
    if (next > 0) {
        keep[kept++] = next;
    }
    for (size_t i = 0; i < ids; ++i) {
        bool last_before = i == (next > 0 ? 0 : 1);
        if ((next == 0 && i == 0) || stays(&use, id[i], last_before)) {
            keep[kept++] = id[i];
        } else {
            TRY(nof1_epoch_forget(store, id[i]));
        }
    }
    return next == 0 && kept == ids ? NOF1_OK : write_kept(store, keep, kept);
}

nof1_rc_value nof1_epoch_prune(struct nof1_store *store)
{
    TRY(nof1_store_begin(store));
    nof1_rc_value rc = nof1_epoch_retain(store, 0);
    rc = rc == NOF1_OK ? nof1_store_commit(store) : rc;
    if (rc != NOF1_OK) {
        nof1_store_rollback(store);
    }
    return rc;
}
