/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The members of a charter (docs/protocol.md, "Documents"): sites with their keys, the partition
 * into blocks, statisticians, coordinator. Every site is in exactly one block of at least
 * min_block_sites; no two sites share a key.
 */
#include "charter_parts.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST_CAP (1 << 30)
#define MOST_SITES 4096
#define SPIFFE_MAX 255u

static nof1_rc read_key(const struct reader *r, struct nof1_slice *key, const char **spiffe,
                        const struct nof1_node *node, const char *spiffe_key, const char *key_key)
{
    *spiffe = "";
    TRY(reader_opt_label(r, spiffe, node, spiffe_key, SPIFFE_MAX));
    if (*spiffe[0] != '\0' && strncmp(*spiffe, "spiffe://", 9) != 0) {
        return FAIL_AT(r, nof1_node_get(node, spiffe_key), NOF1_E_INPUT,
                       "%s: expected a SPIFFE id such as spiffe://domain/site/north", spiffe_key);
    }
    if (nof1_node_get(node, key_key) != NULL) {
        TRY(nof1_node_hex(key, r->arena, node, key_key, r->error));
        if (key->length > 1024) {
            return FAIL_AT(r, nof1_node_get(node, key_key), NOF1_E2405,
                           "%s: expected the DER of a P-256 key, at most 1024 bytes", key_key);
        }
    }
    return NOF1_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static nof1_rc read_site(const struct reader *r, struct nof1_member *site,
                         const struct entry *entry)
{
    static const char *const known[] = {"id", "vault_key", "edge", "patient_cap", "left", NULL};
    int64_t cap = 0;
    TRY(nof1_node_only(entry->node, known, r->error));
    TRY(nof1_node_integer(&cap, entry->node, "patient_cap", 1, LARGEST_CAP, r->error));
    *site = (struct nof1_member){.id = entry->name, .patient_cap = (uint32_t)cap};
    TRY(reader_opt_flag(r, &site->left, entry->node, "left"));
    return read_key(r, &site->vault_spki, &site->edge_spiffe, entry->node, "edge", "vault_key");
}

/* A vault key that two sites share would let one answer for the other. */
static nof1_rc refuse_shared_keys(const struct reader *r, const struct nof1_charter *c,
                                  const struct entry *entry)
{
    for (size_t i = 0; i < c->sites; i++) {
        for (size_t j = 0; j < i; j++) {
            const struct nof1_member *a = &c->site[i];
            const struct nof1_member *b = &c->site[j];
            bool key = a->vault_spki.length > 0 && nof1_slice_equal(a->vault_spki, b->vault_spki);
            bool edge = a->edge_spiffe[0] != '\0' && strcmp(a->edge_spiffe, b->edge_spiffe) == 0;
            if (key || edge) {
                return FAIL_AT(r, entry[i].node, NOF1_E_INPUT,
                               "%s: sites %s and %s have the same: every site has its own",
                               key ? "vault_key" : "edge", b->id, a->id);
            }
        }
    }
    return NOF1_OK;
}

/* in_block[site]: already in a block. */
static nof1_rc read_block(const struct reader *r, struct nof1_block *block, struct nof1_charter *c,
                          const struct entry *entry, bool *in_block)
{
    static const char *const known[] = {"id", "sites", NULL};
    const struct nof1_node *list = entry->node;
    if (list->kind != NOF1_LIST) {
        TRY(nof1_node_only(list, known, r->error));
        TRY(reader_list(r, &list, entry->node, "sites", true));
    }
    if (list->items < c->limits.min_block_sites || list->items == 0) {
        return FAIL_AT(r, list, NOF1_E2203,
                       "block %s has %zu sites: at least %u are needed (min_block_sites)",
                       entry->name, list->items, c->limits.min_block_sites);
    }
    size_t *member = nof1_arena_alloc(r->arena, list->items, sizeof *member);
    bool *here = nof1_arena_alloc(r->arena, c->sites, sizeof *here);
    ENSURE(member != NULL && here != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < list->items; i++) {
        const char *id = NULL;
        TRY(reader_name(r, &id, &list->item[i]));
        size_t site = nof1_charter_site(c, id);
        if (site == NOF1_NONE) {
            return FAIL_AT(r, &list->item[i], NOF1_E_INPUT, "block %s: there is no site %s",
                           entry->name, id);
        }
        if (in_block[site]) {
            return FAIL_AT(r, &list->item[i], NOF1_E_INPUT,
                           "site %s is named twice: every site is in exactly one block", id);
        }
        in_block[site] = here[site] = true;
    }
    size_t n = 0;
    for (size_t site = 0; site < c->sites; site++) {
        if (here[site]) {
            member[n++] = site;
        }
    }
    *block = (struct nof1_block){.id = entry->name, .sites = n, .site = member};
    return NOF1_OK;
}

static nof1_rc read_blocks(const struct reader *r, struct nof1_charter *c,
                           const struct nof1_node *root, const struct entry *site)
{
    struct entry *entry = NULL;
    TRY(reader_entries(r, &entry, &c->blocks, root, "blocks", "id"));
    struct nof1_block *block = nof1_arena_alloc(r->arena, c->blocks, sizeof *block);
    bool *in_block = nof1_arena_alloc(r->arena, c->sites, sizeof *in_block);
    ENSURE(block != NULL && in_block != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < c->blocks; i++) {
        TRY(read_block(r, &block[i], c, &entry[i], in_block));
    }
    for (size_t i = 0; i < c->sites; i++) {
        if (!in_block[i]) {
            return FAIL_AT(r, site[i].node, NOF1_E_INPUT,
                           "site %s is in no block: every site is in exactly one block",
                           site[i].name);
        }
    }
    c->block = block;
    size_t open = 0;
    for (size_t i = 0; i < c->blocks; i++) {
        open += nof1_charter_block_open(c, i) ? 1 : 0;
    }
    if (open == 0) {
        return FAIL_AT(r, root, NOF1_E_INPUT,
                       "a site has left every block: nothing could be asked any more");
    }
    return NOF1_OK;
}

nof1_rc charter_read_sites(const struct reader *r, struct nof1_charter *c,
                           const struct nof1_node *root)
{
    struct entry *entry = NULL;
    TRY(reader_entries(r, &entry, &c->sites, root, "sites", "id"));
    if (c->sites == 0 || c->sites > MOST_SITES) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "sites: expected 1 to %d sites", MOST_SITES);
    }
    qsort(entry, c->sites, sizeof *entry, by_name);
    struct nof1_member *site = nof1_arena_alloc(r->arena, c->sites, sizeof *site);
    ENSURE(site != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < c->sites; i++) {
        TRY(read_site(r, &site[i], &entry[i]));
    }
    c->site = site;
    TRY(refuse_shared_keys(r, c, entry));
    return read_blocks(r, c, root, entry);
}

nof1_rc charter_read_people(const struct reader *r, struct nof1_charter *c,
                            const struct nof1_node *root)
{
    static const char *const known[] = {"id", "spiffe", "key", NULL};
    struct entry *entry = NULL;
    TRY(reader_entries(r, &entry, &c->statisticians, root, "statisticians", "id"));
    struct nof1_principal *p = nof1_arena_alloc(r->arena, c->statisticians, sizeof *p);
    ENSURE(p != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < c->statisticians; i++) {
        TRY(nof1_node_only(entry[i].node, known, r->error));
        p[i].id = entry[i].name;
        TRY(read_key(r, &p[i].spki, &p[i].spiffe, entry[i].node, "spiffe", "key"));
    }
    c->statistician = p;
    c->coordinator = (struct nof1_principal){.id = "coordinator", .spiffe = ""};
    const struct nof1_node *node = nof1_node_get(root, "coordinator");
    if (node == NULL) {
        return NOF1_OK;
    }
    TRY(nof1_node_only(node, known, r->error));
    if (nof1_node_get(node, "id") != NULL) {
        TRY(reader_name(r, &c->coordinator.id, nof1_node_get(node, "id")));
    }
    return read_key(r, &c->coordinator.spki, &c->coordinator.spiffe, node, "spiffe", "key");
}
