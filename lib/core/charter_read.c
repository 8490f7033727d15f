/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From the tree of a document (YAML or canonical JSON) to a charter, with every rule that can be
 * checked without data (docs/protocol.md, "Documents" and "Number encoding"). Must never let pass a
 * charter that disables a rule outside the lab.
 */
#include <core/charter.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <base/time.h>
#include <core/policy.h>

#include "reader.h"

#define LARGEST_CAP (1 << 30)
#define MOST_PERIODS 64
#define MOST_SITES 4096
#define SPIFFE_MAX 255u
#define UNIT_MAX 32u

/* Where to point: at the key, or at its parent when the value is a default. */
static const struct nof1_node *place(const struct nof1_node *map, const char *key)
{
    const struct nof1_node *node = nof1_node_get(map, key);
    return node == NULL ? map : node;
}

static nof1_rc read_outcome_numbers(const struct reader *r, struct nof1_outcome *o,
                                    const struct nof1_node *node)
{
    o->quantum = o->kind == NOF1_CONTINUOUS || o->kind == NOF1_EFFECT ? 0 : 1;
    o->centre = o->kind == NOF1_BINARY ? 0 : o->lower + (o->upper - o->lower) / 2;
    TRY(reader_opt_double(r, &o->quantum, node, "quantum"));
    TRY(reader_opt_double(r, &o->centre, node, "centre"));
    TRY(nof1_node_double(&o->sd_within, node, "sd_within", r->error));
    TRY(nof1_node_double(&o->sd_between, node, "sd_between", r->error));
    if (o->quantum < 0 || o->quantum > o->upper - o->lower) {
        return FAIL_AT(r, place(node, "quantum"), NOF1_E_INPUT,
                       "quantum: expected the smallest step of the scale, 0 when continuous");
    }
    if (o->centre < o->lower || o->centre > o->upper) {
        return FAIL_AT(r, place(node, "centre"), NOF1_E_INPUT,
                       "centre: expected a number within the bounds");
    }
    if (o->sd_within < 0 || o->sd_between < 0) {
        return FAIL_AT(r, node, NOF1_E_INPUT,
                       "sd_within and sd_between: expected numbers of 0 or more");
    }
    return NOF1_OK;
}

static nof1_rc read_outcome(const struct reader *r, struct nof1_outcome *o,
                            const struct entry *entry)
{
    static const char *const known[] = {"name", "kind", "unit", "family", "bounds", "quantum",
                                        "centre", "sd_within", "sd_between", "benefit", NULL};
    static const char *const kinds[] = {"continuous", "binary", "count", "ordinal", "effect", NULL};
    static const char *const benefits[] = {"lower", "none", "higher", NULL};
    const struct nof1_node *node = entry->node;
    size_t kind = NOF1_CONTINUOUS;
    size_t benefit = 1;
    TRY(nof1_node_only(node, known, r->error));
    *o = (struct nof1_outcome){.name = entry->name, .unit = "", .family = entry->name};
    TRY(reader_opt_choice(r, &kind, node, "kind", kinds));
    TRY(reader_opt_choice(r, &benefit, node, "benefit", benefits));
    TRY(reader_opt_label(r, &o->unit, node, "unit", UNIT_MAX));
    if (nof1_node_get(node, "family") != NULL) {
        TRY(reader_name(r, &o->family, nof1_node_get(node, "family")));
    }
    o->kind = (enum nof1_outcome_kind)kind;
    o->benefit = (int)benefit - 1;
    o->upper = 1;
    if (o->kind != NOF1_BINARY || nof1_node_get(node, "bounds") != NULL) {
        TRY(reader_bounds(r, &o->lower, &o->upper, node, "bounds"));
    }
    if (o->kind == NOF1_BINARY && (o->lower != 0 || o->upper != 1)) {
        return FAIL_AT(r, node, NOF1_E_INPUT, "bounds: a binary outcome has the bounds [0, 1]");
    }
    return read_outcome_numbers(r, o, node);
}

static nof1_rc read_outcomes(const struct reader *r, struct nof1_charter *c,
                             const struct nof1_node *root)
{
    struct entry *entry = NULL;
    TRY(reader_entries(r, &entry, &c->outcomes, root, "outcomes", "name"));
    if (c->outcomes == 0) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "outcomes: name at least one outcome");
    }
    struct nof1_outcome *outcome = nof1_arena_alloc(r->arena, c->outcomes, sizeof *outcome);
    ENSURE(outcome != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < c->outcomes; i++) {
        TRY(read_outcome(r, &outcome[i], &entry[i]));
    }
    c->outcome = outcome;
    return NOF1_OK;
}

static nof1_rc read_covariate(const struct reader *r, struct nof1_covariate *v,
                              const struct entry *entry)
{
    static const char *const numeric[] = {"name", "kind", "within", "bounds", "centre", NULL};
    static const char *const factor[] = {"name", "kind", "within", "levels", NULL};
    static const char *const kinds[] = {"numeric", "factor", NULL};
    const struct nof1_node *node = entry->node;
    size_t kind = nof1_node_get(node, "levels") != NULL ? NOF1_FACTOR : NOF1_NUMERIC;
    TRY(reader_opt_choice(r, &kind, node, "kind", kinds));
    TRY(nof1_node_only(node, kind == NOF1_FACTOR ? factor : numeric, r->error));
    *v = (struct nof1_covariate){.name = entry->name, .kind = (enum nof1_covariate_kind)kind};
    TRY(reader_opt_flag(r, &v->varies_within, node, "within"));
    if (v->kind == NOF1_FACTOR) {
        TRY(reader_labels(r, &v->level, &v->levels, node, "levels"));
        if (v->levels == 0 || v->levels > 256) {
            return FAIL_AT(r, node, NOF1_E_INPUT, "levels: expected 1 to 256 levels");
        }
        v->upper = (double)(v->levels - 1);
        return NOF1_OK;
    }
    TRY(reader_bounds(r, &v->lower, &v->upper, node, "bounds"));
    v->centre = v->lower + (v->upper - v->lower) / 2;
    TRY(reader_opt_double(r, &v->centre, node, "centre"));
    if (v->centre < v->lower || v->centre > v->upper) {
        return FAIL_AT(r, place(node, "centre"), NOF1_E_INPUT,
                       "centre: expected a number within the bounds");
    }
    return NOF1_OK;
}

static nof1_rc read_strata(const struct reader *r, struct nof1_charter *c,
                           const struct nof1_node *root)
{
    const struct nof1_node *node = nof1_node_get(root, "strata");
    if (node == NULL) {
        return NOF1_OK;
    }
    TRY(reader_name(r, &c->stratum_covariate, node));
    const struct nof1_covariate *v = nof1_charter_strata(c);
    if (v == NULL || v->kind != NOF1_FACTOR || v->varies_within) {
        return FAIL_AT(r, node, NOF1_E_INPUT,
                       "strata: expected the name of a factor covariate that is constant within "
                       "a trial, found %s",
                       c->stratum_covariate);
    }
    c->strata = v->levels;
    return NOF1_OK;
}

static nof1_rc read_covariates(const struct reader *r, struct nof1_charter *c,
                               const struct nof1_node *root)
{
    struct entry *entry = NULL;
    TRY(reader_entries(r, &entry, &c->covariates, root, "covariates", "name"));
    struct nof1_covariate *v = nof1_arena_alloc(r->arena, c->covariates, sizeof *v);
    ENSURE(v != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < c->covariates; i++) {
        TRY(read_covariate(r, &v[i], &entry[i]));
        if (nof1_charter_outcome(c, entry[i].name) != NOF1_NONE) {
            return FAIL_AT(r, entry[i].node, NOF1_E_INPUT,
                           "covariates: %s is an outcome already", entry[i].name);
        }
    }
    c->covariate = v;
    return read_strata(r, c, root);
}

/* A whole number that is an item of a list, read as if it stood under the key `what`. */
static nof1_rc item_count(const struct reader *r, size_t *out, const struct nof1_node *item,
                          int64_t lower, int64_t upper, const char *what)
{
    struct nof1_node named = *item;
    named.key = what;
    const struct nof1_node map = {.kind = NOF1_MAP, .file = item->file, .text = "", .items = 1,
                                  .item = &named};
    int64_t value = 0;
    TRY(nof1_node_integer(&value, &map, what, lower, upper, r->error));
    *out = (size_t)value;
    return NOF1_OK;
}

static nof1_rc read_schedule(const struct reader *r, struct nof1_class *k,
                             const struct nof1_node *node, size_t rows)
{
    const struct nof1_node *list = NULL;
    TRY(reader_list(r, &list, node, "periods", false));
    if (list == NULL) {
        return NOF1_OK;
    }
    if (list->items != rows) {
        return FAIL_AT(r, list, NOF1_E_INPUT,
                       "periods: expected one period for each of the %zu rows in n", rows);
    }
    int32_t *period = nof1_arena_alloc(r->arena, rows, sizeof *period);
    ENSURE(period != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < rows; i++) {
        size_t value = 0;
        TRY(item_count(r, &value, &list->item[i], 1, 100000, "periods"));
        period[i] = (int32_t)value;
        if (i > 0 && period[i] < period[i - 1]) {
            return FAIL_AT(r, &list->item[i], NOF1_E_INPUT,
                           "periods: expected them in ascending order");
        }
    }
    k->schedule_rows = rows;
    k->schedule_period = period;
    return NOF1_OK;
}

static nof1_rc read_class(const struct reader *r, struct nof1_class *k,
                          const struct nof1_charter *c, const struct entry *entry)
{
    static const char *const known[] = {"name", "n", "periods", NULL};
    const struct nof1_node *n = NULL;
    size_t rows = 0;
    TRY(nof1_node_only(entry->node, known, r->error));
    TRY(reader_list(r, &n, entry->node, "n", true));
    if (n->items != c->treatments) {
        return FAIL_AT(r, n, NOF1_E_INPUT, "n: expected one number of rows per treatment (%zu)",
                       c->treatments);
    }
    *k = (struct nof1_class){.name = entry->name};
    for (size_t t = 0; t < n->items; t++) {
        TRY(item_count(r, &k->n[t], &n->item[t], 0, 10000, "n"));
        rows += k->n[t];
    }
    if (rows == 0) {
        return FAIL_AT(r, n, NOF1_E_INPUT, "n: a class has at least one row");
    }
    return read_schedule(r, k, entry->node, rows);
}

static nof1_rc read_classes(const struct reader *r, struct nof1_charter *c,
                            const struct nof1_node *root)
{
    struct entry *entry = NULL;
    TRY(reader_entries(r, &entry, &c->classes, root, "classes", "name"));
    struct nof1_class *k = nof1_arena_alloc(r->arena, c->classes, sizeof *k);
    ENSURE(k != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < c->classes; i++) {
        TRY(read_class(r, &k[i], c, &entry[i]));
    }
    c->class_ = k;
    return NOF1_OK;
}

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
    static const char *const known[] = {"id", "vault_key", "edge", "patient_cap", NULL};
    int64_t cap = 0;
    TRY(nof1_node_only(entry->node, known, r->error));
    TRY(nof1_node_integer(&cap, entry->node, "patient_cap", 1, LARGEST_CAP, r->error));
    *site = (struct nof1_member){.id = entry->name, .patient_cap = (uint32_t)cap};
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
    return NOF1_OK;
}

static nof1_rc read_sites(const struct reader *r, struct nof1_charter *c,
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

static nof1_rc read_people(const struct reader *r, struct nof1_charter *c,
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

/* The charter's `preset` and `limits` are one policy document. */
static nof1_rc read_limits(const struct reader *r, struct nof1_charter *c,
                           const struct nof1_node *root)
{
    const struct nof1_node *preset = nof1_node_get(root, "preset");
    const struct nof1_node *limits = nof1_node_get(root, "limits");
    if (limits != NULL && limits->kind != NOF1_MAP) {
        return FAIL_AT(r, limits, NOF1_E_INPUT, "limits: expected a map of limits");
    }
    if (preset != NULL && nof1_node_get(limits, "preset") != NULL) {
        return FAIL_AT(r, preset, NOF1_E_INPUT, "preset is given twice, here and in limits");
    }
    size_t items = limits == NULL ? 0 : limits->items;
    struct nof1_node map = limits == NULL ? *root : *limits;
    struct nof1_node *item = nof1_arena_alloc(r->arena, items + 1, sizeof *item);
    ENSURE(item != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < items; i++) {
        item[i] = limits->item[i];
    }
    map.item = item;
    map.items = items;
    if (preset != NULL) {
        item[map.items++] = *preset;
    }
    return nof1_policy_read(&c->limits, &map, r->error);
}

static nof1_rc read_lambdas(const struct reader *r, struct nof1_charter *c,
                            const struct nof1_node *root)
{
    /* Between-trial variance over within-trial variance: two points span the usual range. */
    static const double usual[2] = {0.1, 1.5};
    const struct nof1_node *list = NULL;
    TRY(reader_list(r, &list, root, "lambdas", false));
    c->lambdas = list == NULL ? 2 : list->items;
    double *lambda = nof1_arena_alloc(r->arena, c->lambdas, sizeof *lambda);
    ENSURE(lambda != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < c->lambdas; i++) {
        if (list == NULL) {
            lambda[i] = usual[i];
            continue;
        }
        TRY(nof1_scalar_double(&lambda[i], &list->item[i], r->error));
        if (lambda[i] < 0 || lambda[i] > 1e6 || (i > 0 && lambda[i] <= lambda[i - 1])) {
            return FAIL_AT(r, &list->item[i], NOF1_E_INPUT,
                           "lambdas: expected ascending numbers from 0 to 1000000");
        }
    }
    if (c->lambdas == 0 || c->lambdas > 8) {
        return FAIL_AT(r, list, NOF1_E_INPUT, "lambdas: expected 1 to 8 numbers");
    }
    c->lambda = lambda;
    return NOF1_OK;
}

static nof1_rc read_rules(const struct reader *r, struct nof1_charter *c,
                          const struct nof1_node *root)
{
    static const char *const sets[] = {"both_arms", "any", NULL};
    static const char *const missing[] = {"centre", "exclude", "rows", NULL};
    size_t set = 0;
    size_t rule = 0;
    int64_t value = 0;
    TRY(nof1_node_integer(&value, root, "max_periods", 1, MOST_PERIODS, r->error));
    c->max_periods = (uint32_t)value;
    TRY(nof1_node_integer(&value, root, "max_cycles", 0, MOST_PERIODS, r->error));
    c->max_cycles = (uint32_t)value;
    TRY(read_lambdas(r, c, root));
    c->beta_box = 1;
    c->variance_ratio_box = 1e6;
    TRY(reader_opt_double(r, &c->beta_box, root, "beta_box"));
    TRY(reader_opt_double(r, &c->variance_ratio_box, root, "variance_ratio_box"));
    if (!(c->beta_box > 0) || !(c->variance_ratio_box > 0)) {
        return FAIL_AT(r, root, NOF1_E_INPUT,
                       "beta_box and variance_ratio_box: expected numbers above 0");
    }
    TRY(reader_opt_choice(r, &set, root, "analysis_set", sets));
    TRY(reader_opt_choice(r, &rule, root, "missing", missing));
    c->any_arm = set == 1;
    c->missing = (enum nof1_missing)rule;
    TRY(reader_labels(r, &c->analysis, &c->analyses, root, "analyses"));
    if (c->analyses == 0) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "analyses: name at least one allowed analysis");
    }
    return NOF1_OK;
}

static nof1_rc read_head(const struct reader *r, struct nof1_charter *c,
                         const struct nof1_node *root)
{
    const struct nof1_node *study = nof1_node_get(root, "study");
    if (study == NULL) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "key study is missing: expected a name");
    }
    TRY(reader_name(r, &c->study, study));
    uint32_t format = 1;
    c->version = 1;
    TRY(reader_opt_count(r, &format, root, "charter", 1, 1));
    TRY(reader_opt_count(r, &c->version, root, "version", 1, UINT32_MAX));
    TRY(reader_opt_flag(r, &c->lab, root, "lab"));
    if (nof1_node_get(root, "effective") == NULL && c->lab) {
        return NOF1_OK;
    }
    const char *effective = NULL;
    TRY(nof1_node_text(&effective, root, "effective", r->error));
    if (!nof1_time_read(&c->effective_at, effective)) {
        return FAIL_AT(r, nof1_node_get(root, "effective"), NOF1_E_INPUT,
                       "effective: expected a UTC time such as 2026-05-01T00:00:00Z");
    }
    return NOF1_OK;
}

static nof1_rc read_treatments(const struct reader *r, struct nof1_charter *c,
                               const struct nof1_node *root)
{
    TRY(reader_labels(r, &c->treatment, &c->treatments, root, "treatments"));
    if (c->treatments < 2 || c->treatments > NOF1_TREATMENTS_MAX) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "treatments: expected a list of 2 to %u treatments",
                       NOF1_TREATMENTS_MAX);
    }
    return NOF1_OK;
}

/* What would switch a rule off is for the lab alone. */
static nof1_rc check_lab(const struct reader *r, const struct nof1_charter *c,
                         const struct nof1_node *root)
{
    const char *what = c->limits.open                     ? "preset: open"
                       : c->any_arm                       ? "analysis_set: any"
                       : c->missing == NOF1_MISSING_ROWS ? "missing: rows"
                                                          : NULL;
    if (what != NULL && !c->lab) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "%s is for the lab only: add lab: true", what);
    }
    return NOF1_OK;
}

/* Sums of squares of the largest deviation over all patients must fit the ring: n_cap B < 2^127. */
static nof1_rc check_ring(const struct reader *r, const struct nof1_charter *c,
                          const struct nof1_node *root)
{
    double cap = 0;
    for (size_t i = 0; i < c->sites; i++) {
        cap += c->site[i].patient_cap;
    }
    for (size_t i = 0; i < c->outcomes; i++) {
        double range = c->outcome[i].upper - c->outcome[i].lower;
        if (!(range <= 0x1p48) || !(cap * range * range < 0x1p127)) {
            return FAIL_AT(r, nof1_node_get(root, "outcomes"), NOF1_E_INPUT,
                           "outcome %s: its bounds and the sites' patient caps are too large for "
                           "exact sums: narrower bounds or another unit",
                           c->outcome[i].name);
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_charter_from_node(const struct nof1_charter **out, struct nof1_arena *arena,
                               const struct nof1_node *node, struct nof1_error *error)
{
    static const char *const known[] = {
        "charter", "study", "version", "lab", "effective", "preset", "limits", "treatments",
        "outcomes", "covariates", "strata", "classes", "max_periods", "max_cycles", "lambdas",
        "beta_box", "variance_ratio_box", "analysis_set", "missing", "analyses", "sites", "blocks",
        "statisticians", "coordinator", NULL};
    const struct reader r = {arena, error};
    struct nof1_charter *c = nof1_arena_alloc(arena, 1, sizeof *c);
    ENSURE(c != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_node_only(node, known, error));
    TRY(read_head(&r, c, node));
    TRY(read_limits(&r, c, node));
    TRY(read_treatments(&r, c, node));
    TRY(read_outcomes(&r, c, node));
    TRY(read_covariates(&r, c, node));
    TRY(read_classes(&r, c, node));
    TRY(read_rules(&r, c, node));
    TRY(read_sites(&r, c, node));
    TRY(read_people(&r, c, node));
    TRY(check_lab(&r, c, node));
    TRY(check_ring(&r, c, node));
    *out = c;
    return NOF1_OK;
}
