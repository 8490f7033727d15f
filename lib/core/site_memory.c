/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The difference rule's memory in the site's own store, one document per outcome family and study,
 * "atoms/FAMILY": the last epoch that a release used, trials that releases used with digests of
 * their parts and their atom, what was released about each atom, how many patients of it each block
 * had, and the outcomes released. Patients appear under the hex of their local key, in the site's
 * own store only.
 */
#include <core/site_parts.h>

#include <string.h>

#include <base/document.h>
#include <base/json.h>

#define VERSION 3

/* ---- reading ------------------------------------------------------------ */

nof1_rc nof1_site_add_charge(struct nof1_site *site, struct site_family *family,
                             struct site_charge added)
{
    struct site_charge *charge =
        nof1_arena_alloc(site->arena, family->charges + 1, sizeof *charge);
    ENSURE(charge != NULL, NOF1_E_NO_MEMORY);
    if (family->charges > 0) {
        memcpy(charge, family->charge, family->charges * sizeof *charge);
    }
    added.key = nof1_arena_text(site->arena, added.key);
    ENSURE(added.key != NULL, NOF1_E_NO_MEMORY);
    charge[family->charges] = added;
    family->charge = charge;
    family->charges += 1;
    return NOF1_OK;
}

nof1_rc nof1_site_hold(struct nof1_site *site, struct site_family *family, const char *key,
                       const char *block, uint64_t patients, uint64_t sites)
{
    struct site_holding *holding = family->holdings;
    while (holding != NULL &&
           (strcmp(holding->key, key) != 0 || strcmp(holding->block, block) != 0)) {
        holding = holding->next;
    }
    if (holding == NULL && patients == 0) {
        return NOF1_OK;
    }
    if (holding == NULL) {
        holding = nof1_arena_alloc(site->arena, 1, sizeof *holding);
        ENSURE(holding != NULL, NOF1_E_NO_MEMORY);
        holding->key = nof1_arena_text(site->arena, key);
        holding->block = nof1_arena_text(site->arena, block);
        ENSURE(holding->key != NULL && holding->block != NULL, NOF1_E_NO_MEMORY);
        holding->next = family->holdings;
        family->holdings = holding;
    }
    holding->patients = patients;
    holding->sites = sites;
    return NOF1_OK;
}

/* [key, digests, digests, ...] */
static nof1_rc read_unit(struct nof1_site *site, struct site_family *family,
                         const struct nof1_node *node)
{
    struct site_unit *unit = nof1_arena_alloc(site->arena, 1, sizeof *unit);
    ENSURE(unit != NULL, NOF1_E_NO_MEMORY);
    ENSURE(node->kind == NOF1_LIST && node->items >= 2, NOF1_E_STORE);
    unit->versions = node->items - 1;
    unit->version = nof1_arena_alloc(site->arena, unit->versions, sizeof *unit->version);
    unit->id = nof1_arena_text(site->arena, node->key);
    unit->key = nof1_arena_text(site->arena, node->item[0].text);
    ENSURE(unit->version != NULL && unit->id != NULL && unit->key != NULL, NOF1_E_NO_MEMORY);
    for (size_t v = 0; v < unit->versions; v++) {
        unit->version[v] = nof1_arena_text(site->arena, node->item[v + 1].text);
        ENSURE(unit->version[v] != NULL, NOF1_E_NO_MEMORY);
    }
    unit->next = family->units;
    family->units = unit;
    return NOF1_OK;
}

static nof1_rc read_charges(struct nof1_site *site, struct site_family *family,
                            const struct nof1_node *charges, struct nof1_error *error)
{
    for (size_t c = 0; c < charges->items; c++) {
        int64_t ratio = 0, net = 0;
        bool sparse = true; /* so it may be, in stores written before the field was there */
        TRY(nof1_node_integer(&ratio, &charges->item[c], "ratio", 0, INT64_C(1) << 53, error));
        TRY(nof1_node_integer(&net, &charges->item[c], "net", 0, INT64_C(1) << 53, error));
        TRY(nof1_node_get(&charges->item[c], "sparse") == NULL
                ? NOF1_OK
                : nof1_node_flag(&sparse, &charges->item[c], "sparse", error));
        TRY(nof1_site_add_charge(site, family,
                                 (struct site_charge){charges->item[c].key, (uint64_t)ratio,
                                                      (uint64_t)net, sparse}));
    }
    return NOF1_OK;
}

static nof1_rc read_holdings(struct nof1_site *site, struct site_family *family,
                             const struct nof1_node *keys, struct nof1_error *error)
{
    for (size_t k = 0; k < keys->items; k++) {
        for (size_t b = 0; b < keys->item[k].items; b++) {
            const struct nof1_node *block = &keys->item[k].item[b];
            int64_t patients = 0, sites = 0;
            TRY(nof1_node_integer(&patients, block, "patients", 0, INT64_C(1) << 53, error));
            TRY(nof1_node_integer(&sites, block, "sites", 0, INT64_C(1) << 53, error));
            TRY(nof1_site_hold(site, family, keys->item[k].key, block->key, (uint64_t)patients,
                               (uint64_t)sites));
        }
    }
    return NOF1_OK;
}

static nof1_rc read_released(struct nof1_site *site, struct site_family *family,
                             const struct nof1_node *outcomes, struct nof1_error *error)
{
    for (size_t o = 0; o < outcomes->items; o++) {
        const struct nof1_node *node = &outcomes->item[o];
        struct site_released *released = nof1_arena_alloc(site->arena, 1, sizeof *released);
        ENSURE(released != NULL, NOF1_E_NO_MEMORY);
        released->name = nof1_arena_text(site->arena, node->key);
        ENSURE(released->name != NULL, NOF1_E_NO_MEMORY);
        TRY(nof1_node_double(&released->lower, node, "lower", error));
        TRY(nof1_node_double(&released->upper, node, "upper", error));
        TRY(nof1_node_double(&released->quantum, node, "quantum", error));
        released->next = family->released;
        family->released = released;
    }
    return NOF1_OK;
}

static nof1_rc read_family(struct nof1_site *site, struct site_family *family,
                           struct nof1_arena *arena, const struct nof1_node *node,
                           struct nof1_error *error)
{
    const struct nof1_node *parts = nof1_node_get(node, "parts");
    const struct nof1_node *trials = nof1_node_get(node, "trials");
    const struct nof1_node *charges = nof1_node_get(node, "charges");
    const struct nof1_node *holdings = nof1_node_get(node, "blocks");
    const struct nof1_node *outcomes = nof1_node_get(node, "outcomes");
    int64_t version = 0, epoch = 0;
    if (parts == NULL || trials == NULL || charges == NULL || holdings == NULL ||
        outcomes == NULL || nof1_node_integer(&version, node, "version", VERSION, VERSION, NULL)) {
        return nof1_fail(error, NOF1_E_STORE,
                         "what this site remembers of releases of %s was written by another "
                         "version of the program; start the site with that version",
                         family->name);
    }
    TRY(nof1_node_integer(&epoch, node, "epoch", 0, UINT32_MAX, error));
    family->epoch = (uint32_t)epoch;
    const char **name = nof1_arena_alloc(arena, parts->items, sizeof *name);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < parts->items; p++) {
        name[p] = parts->item[p].text;
    }
    TRY(nof1_site_name_parts(site, family, parts->items, name));
    for (size_t t = 0; t < trials->items; t++) {
        TRY(read_unit(site, family, &trials->item[t]));
    }
    TRY(read_charges(site, family, charges, error));
    TRY(read_holdings(site, family, holdings, error));
    return read_released(site, family, outcomes, error);
}

struct stored_family {
    struct nof1_arena *arena;
    const char *name;
    const struct nof1_node *node; /* NULL: nothing stored */
    struct nof1_error *error;
};

static nof1_rc_value visit_family(void *context, const char *key, struct nof1_slice value)
{
    struct stored_family *stored = context;
    if (strcmp(key + strlen("atoms/"), stored->name) != 0 || value.length == 0) {
        return NOF1_OK;
    }
    return nof1_canonical_read(&stored->node, stored->arena, value, stored->error);
}

nof1_rc nof1_site_restore_family(struct nof1_site *site, struct site_family *family,
                                 struct nof1_error *error)
{
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const struct nof1_store_reader *store = &site->config.store;
    struct stored_family stored = {arena, family->name, NULL, error};
    const char *prefix = nof1_arena_printf(arena, "atoms/%s", family->name);
    ENSURE(prefix != NULL, NOF1_E_NO_MEMORY);
    if (store->each != NULL) {
        TRY(store->each(store->self, prefix, visit_family, &stored));
    }
    return stored.node == NULL ? nof1_site_name_parts(site, family, 0, NULL)
                               : read_family(site, family, arena, stored.node, error);
}

/* ---- writing ------------------------------------------------------------ */

/* Takes over `value`; a value that could not be made, or kept, loses the whole (NULL). */
static json_t *with(json_t *map, const char *key, json_t *value)
{
    if (map != NULL && value != NULL && json_object_set_new(map, key, value) == 0) {
        return map;
    }
    if (map == NULL) {
        json_decref(value);
    }
    json_decref(map);
    return NULL;
}

static json_t *texts_json(const char *first, size_t texts, const char *const *text)
{
    json_t *list = json_array();
    bool ok =
        list != NULL && (first == NULL || json_array_append_new(list, json_string(first)) == 0);
    for (size_t i = 0; ok && i < texts; i++) {
        ok = json_array_append_new(list, json_string(text[i])) == 0;
    }
    if (!ok) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *trials_json(const struct site_family *family)
{
    json_t *trials = json_object();
    for (const struct site_unit *u = family->units; trials != NULL && u != NULL; u = u->next) {
        trials = with(trials, u->id, texts_json(u->key, u->versions, u->version));
    }
    return trials;
}

static json_t *charges_json(const struct site_family *family)
{
    json_t *charges = json_object();
    for (size_t c = 0; charges != NULL && c < family->charges; c++) {
        const struct site_charge *charge = &family->charge[c];
        charges = with(charges, charge->key,
                       json_pack("{s:I, s:I, s:b}", "ratio", (json_int_t)charge->ratio, "net",
                                 (json_int_t)charge->net, "sparse", charge->sparse ? 1 : 0));
    }
    return charges;
}

static json_t *holdings_json(const struct site_family *family)
{
    json_t *keys = json_object();
    for (const struct site_holding *h = family->holdings; keys != NULL && h != NULL; h = h->next) {
        if (h->patients == 0) {
            continue;
        }
        json_t *blocks = json_object_get(keys, h->key);
        blocks = blocks == NULL ? json_object() : json_incref(blocks);
        blocks = with(blocks, h->block,
                      json_pack("{s:I, s:I}", "patients", (json_int_t)h->patients, "sites",
                                (json_int_t)h->sites));
        keys = with(keys, h->key, blocks);
    }
    return keys;
}

static json_t *released_json(const struct site_family *family)
{
    json_t *outcomes = json_object();
    for (const struct site_released *o = family->released; outcomes != NULL && o != NULL;
         o = o->next) {
        outcomes = with(outcomes, o->name,
                        json_pack("{s:o, s:o, s:o}", "lower", nof1_json_double(o->lower), "upper",
                                  nof1_json_double(o->upper), "quantum",
                                  nof1_json_double(o->quantum)));
    }
    return outcomes;
}

nof1_rc nof1_site_put_family(struct nof1_site *site, const struct site_family *family)
{
    const char *key = nof1_arena_printf(site->scratch, "atoms/%s", family->name);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    json_t *root = with(json_object(), "version", json_integer(VERSION));
    root = with(root, "epoch", json_integer((json_int_t)family->epoch));
    root = with(root, "parts", texts_json(NULL, family->parts, family->part));
    root = with(root, "trials", trials_json(family));
    root = with(root, "charges", charges_json(family));
    root = with(root, "blocks", holdings_json(family));
    root = with(root, "outcomes", released_json(family));
    return nof1_site_put(site, key, root);
}
