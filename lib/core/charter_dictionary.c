/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The dictionary of a charter (docs/protocol.md, "Documents"): outcomes, covariates, strata,
 * planned classes. A plan can name nothing that is not here.
 */
#include "charter_parts.h"

#include <math.h>
#include <string.h>

#include <base/json.h>

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
    /* nothing within the bounds varies more; what exact sums leave open is reckoned by these
     * (E2311) */
    double most = (o->upper - o->lower) / 2;
    if (o->kind != NOF1_EFFECT && fmax(o->sd_within, o->sd_between) > most) {
        return FAIL_AT(
            r, node, NOF1_E_INPUT,
            "sd_within and sd_between: expected at most half the width of the bounds, %.15g", most);
    }
    return NOF1_OK;
}

static nof1_rc read_outcome(const struct reader *r, struct nof1_outcome *o,
                            const struct entry *entry)
{
    static const char *const known[] = {"name",       "kind",    "unit",   "family",
                                        "bounds",     "quantum", "centre", "sd_within",
                                        "sd_between", "benefit", NULL};
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

nof1_rc charter_read_outcomes(const struct reader *r, struct nof1_charter *c,
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

/* Outside an open lab: coarse, whoever writes the charter. */
static nof1_rc read_steps(const struct reader *r, struct nof1_covariate *v,
                          const struct nof1_node *node, bool open)
{
    char text[NOF1_DOUBLE_TEXT];
    double range = v->upper - v->lower;
    v->quantum = open ? 0 : nof1_covariate_step(v->lower, v->upper);
    nof1_double_short(text, v->quantum);
    TRY(reader_opt_double(r, &v->quantum, node, "quantum"));
    if (v->quantum < 0 || v->quantum > range) {
        return FAIL_AT(r, place(node, "quantum"), NOF1_E_INPUT,
                       "quantum: expected the step in which values are coded, at most the range of "
                       "the bounds");
    }
    if (!open && range > v->quantum * NOF1_COVARIATE_STEPS * (1 + 1e-9)) {
        return FAIL_AT(r, place(node, "quantum"), NOF1_E_INPUT,
                       "quantum: at most %u steps between the bounds, because who knows a finer "
                       "value finds outcomes by it; write %s or more, or leave the key out",
                       NOF1_COVARIATE_STEPS, text);
    }
    return NOF1_OK;
}

static nof1_rc read_covariate(const struct reader *r, struct nof1_covariate *v,
                              const struct entry *entry, bool open)
{
    static const char *const numeric[] = {"name",   "kind",   "within",
                                          "bounds", "centre", "quantum", NULL};
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
    return read_steps(r, v, node, open);
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

nof1_rc charter_read_covariates(const struct reader *r, struct nof1_charter *c,
                                const struct nof1_node *root)
{
    struct entry *entry = NULL;
    TRY(reader_entries(r, &entry, &c->covariates, root, "covariates", "name"));
    struct nof1_covariate *v = nof1_arena_alloc(r->arena, c->covariates, sizeof *v);
    ENSURE(v != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < c->covariates; i++) {
        TRY(read_covariate(r, &v[i], &entry[i], c->limits.open));
        if (nof1_charter_outcome(c, entry[i].name) != NOF1_NONE) {
            return FAIL_AT(r, entry[i].node, NOF1_E_INPUT, "covariates: %s is an outcome already",
                           entry[i].name);
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
    const struct nof1_node map = {
        .kind = NOF1_MAP, .file = item->file, .text = "", .items = 1, .item = &named};
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

nof1_rc charter_read_classes(const struct reader *r, struct nof1_charter *c,
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
