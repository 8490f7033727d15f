/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The source mapping (docs/interfaces.md, "Input"): read from YAML, made from a header, bound to a
 * header. Knows names only, never values.
 */
#include <core/map.h>

#include <string.h>

#include <core/charter.h>

#include "reader.h"

#define COLUMN_MAX 200u
#define PATH_MAX_TEXT 4096u
#define ROLES 7

static const char *const roles[ROLES + 1] = {"trial", "patient",   "cycle", "period",
                                             "time",  "treatment", "phase", NULL};

/* The seven special columns, addressable by number. */
static const char **role_of(struct nof1_map *map, size_t role)
{
    const char **const field[ROLES] = {&map->trial, &map->patient,   &map->cycle, &map->period,
                                       &map->time,  &map->treatment, &map->phase};
    return field[role];
}

/* A column's name: any text of a header line. */
static nof1_rc read_column(const struct reader *r, const char **out, const struct nof1_node *node)
{
    if (node->kind != NOF1_SCALAR || node->text[0] == '\0') {
        return FAIL_AT(r, node, NOF1_E_INPUT, "%s: expected the name of a column",
                       node->key == NULL ? "value" : node->key);
    }
    if (strlen(node->text) > COLUMN_MAX) {
        return FAIL_AT(r, node, NOF1_E2405, "a column name has at most %u characters", COLUMN_MAX);
    }
    *out = node->text;
    return NOF1_OK;
}

static nof1_rc read_source(const struct reader *r, struct nof1_map *map,
                           const struct nof1_node *root)
{
    static const char *const known[] = {"driver", "path", NULL};
    const struct nof1_node *node = nof1_node_get(root, "source");
    map->driver = "csv";
    if (node == NULL) {
        return NOF1_OK;
    }
    TRY(nof1_node_only(node, known, r->error));
    if (nof1_node_get(node, "driver") != NULL) {
        TRY(reader_name(r, &map->driver, nof1_node_get(node, "driver")));
    }
    if (nof1_node_get(node, "path") != NULL) {
        TRY(nof1_node_text(&map->path, node, "path", r->error));
        if (strlen(map->path) > PATH_MAX_TEXT) {
            return FAIL_AT(r, nof1_node_get(node, "path"), NOF1_E2405,
                           "path: at most %u characters", PATH_MAX_TEXT);
        }
    }
    return NOF1_OK;
}

static nof1_rc read_columns(const struct reader *r, struct nof1_map *map,
                            const struct nof1_node *root)
{
    for (size_t i = 0; i < ROLES; i++) {
        *role_of(map, i) = roles[i];
    }
    const struct nof1_node *node = nof1_node_get(root, "columns");
    if (node == NULL) {
        return NOF1_OK;
    }
    TRY(nof1_node_only(node, roles, r->error));
    for (size_t i = 0; i < ROLES; i++) {
        const struct nof1_node *column = nof1_node_get(node, roles[i]);
        if (column != NULL) {
            TRY(read_column(r, role_of(map, i), column));
            map->named[i] = true;
        }
    }
    return NOF1_OK;
}

static nof1_rc read_outcome(const struct reader *r, struct nof1_map_outcome *out,
                            const struct entry *entry)
{
    static const char *const plain[] = {"name", "column", "kind", NULL};
    static const char *const effect[] = {"name", "effect", "variance", "kind", NULL};
    static const char *const kinds[] = {"continuous", "binary", "count", "ordinal", "effect", NULL};
    const struct nof1_node *node = entry->node;
    *out = (struct nof1_map_outcome){.name = entry->name, .column = entry->name};
    if (node->kind == NOF1_SCALAR && node->key != NULL) {
        return node->text[0] == '\0' ? NOF1_OK : read_column(r, &out->column, node);
    }
    bool imported = nof1_node_get(node, "effect") != NULL;
    size_t kind = imported ? NOF1_EFFECT : NOF1_CONTINUOUS;
    TRY(nof1_node_only(node, imported ? effect : plain, r->error));
    TRY(reader_opt_choice(r, &kind, node, "kind", kinds));
    out->kind = (enum nof1_outcome_kind)kind;
    if (imported != (out->kind == NOF1_EFFECT)) {
        return FAIL_AT(r, node, NOF1_E_INPUT,
                       "%s: an imported effect needs the keys effect and variance", entry->name);
    }
    if (!imported) {
        const struct nof1_node *column = nof1_node_get(node, "column");
        return column == NULL ? NOF1_OK : read_column(r, &out->column, column);
    }
    const struct nof1_node *variance = nof1_node_get(node, "variance");
    if (variance == NULL) {
        return FAIL_AT(r, node, NOF1_E_INPUT, "%s: key variance is missing: expected a column",
                       entry->name);
    }
    TRY(read_column(r, &out->column, nof1_node_get(node, "effect")));
    return read_column(r, &out->variance, variance);
}

static nof1_rc read_outcomes(const struct reader *r, struct nof1_map *map,
                             const struct nof1_node *root)
{
    struct entry *entry = NULL;
    TRY(reader_entries(r, &entry, &map->outcomes, root, "outcomes", "name"));
    if (map->outcomes == 0) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "outcomes: name at least one outcome");
    }
    struct nof1_map_outcome *outcome = nof1_arena_alloc(r->arena, map->outcomes, sizeof *outcome);
    ENSURE(outcome != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < map->outcomes; i++) {
        TRY(read_outcome(r, &outcome[i], &entry[i]));
    }
    map->outcome = outcome;
    return NOF1_OK;
}

/* A list of names, each its own column, or a map from names to columns. */
static nof1_rc read_covariates(const struct reader *r, struct nof1_map *map,
                               const struct nof1_node *root)
{
    const struct nof1_node *node = nof1_node_get(root, "covariates");
    if (node != NULL && node->kind == NOF1_SCALAR) {
        return FAIL_AT(r, node, NOF1_E_INPUT,
                       "covariates: expected a list of names or a map from names to columns");
    }
    map->covariates = node == NULL ? 0 : node->items;
    if (map->covariates > NOF1_MAP_COVARIATES) {
        return FAIL_AT(r, node, NOF1_E_INPUT, "covariates: at most %u", NOF1_MAP_COVARIATES);
    }
    struct nof1_map_covariate *c = nof1_arena_alloc(r->arena, map->covariates, sizeof *c);
    ENSURE(c != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < map->covariates; i++) {
        const struct nof1_node *item = &node->item[i];
        struct nof1_node named = *item; /* a map's key is the name: check it like one */
        named.kind = item->key == NULL ? item->kind : NOF1_SCALAR;
        named.text = item->key == NULL ? item->text : item->key;
        TRY(reader_name(r, &c[i].name, &named));
        TRY(read_column(r, &c[i].column, item));
        for (size_t j = 0; j < i; j++) {
            if (strcmp(c[j].name, c[i].name) == 0) {
                return FAIL_AT(r, item, NOF1_E_INPUT, "covariates: %s is given twice", c[i].name);
            }
        }
        for (size_t j = 0; j < map->outcomes; j++) {
            if (strcmp(map->outcome[j].name, c[i].name) == 0) {
                return FAIL_AT(r, item, NOF1_E_INPUT, "covariates: %s is an outcome already",
                               c[i].name);
            }
        }
    }
    map->covariate = c;
    return NOF1_OK;
}

nof1_rc nof1_map_read(const struct nof1_map **out, struct nof1_arena *arena,
                      const struct nof1_node *node, struct nof1_error *error)
{
    static const char *const known[] = {"source", "columns", "outcomes", "covariates", NULL};
    const struct reader r = {arena, error};
    struct nof1_map *map = nof1_arena_alloc(arena, 1, sizeof *map);
    ENSURE(map != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_node_only(node, known, error));
    TRY(read_source(&r, map, node));
    TRY(read_columns(&r, map, node));
    TRY(read_outcomes(&r, map, node));
    TRY(read_covariates(&r, map, node));
    *out = map;
    return NOF1_OK;
}

/* ---- headers ---- */

size_t nof1_map_column(const char *name, size_t columns, const char *const *header)
{
    return name == NULL ? SIZE_MAX : reader_find(name, header, columns);
}

static nof1_rc missing(const struct reader *r, const char *file, const char *what,
                       const char *column, size_t columns, const char *const *header)
{
    const char **known = nof1_arena_alloc(r->arena, columns + 1, sizeof *known);
    ENSURE(known != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < columns; i++) {
        known[i] = header[i];
    }
    const char *nearest = nof1_nearest(column, known);
    return nof1_fail_at(r->error, NOF1_E_INPUT, file, 1, 1,
                        "there is no column %.64s for %.64s%s%.64s%s: name it in the mapping "
                        "(columns, outcomes or covariates)",
                        column, what, nearest == NULL ? "" : " (did you mean ",
                        nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?)");
}

static bool only_effects(const struct nof1_map *map)
{
    for (size_t i = 0; i < map->outcomes; i++) {
        if (map->outcome[i].kind != NOF1_EFFECT) {
            return false;
        }
    }
    return true;
}

/* Special columns that the header lacks become NULL; named or needed ones must be there. */
static nof1_rc bind_roles(const struct reader *r, struct nof1_map *map, const char *file,
                          size_t columns, const char *const *header)
{
    for (size_t i = 0; i < ROLES; i++) {
        const char **column = role_of(map, i);
        bool needed = map->named[i] || column == &map->trial ||
                      (column == &map->treatment && !only_effects(map));
        if (nof1_map_column(*column, columns, header) != SIZE_MAX) {
            continue;
        }
        if (needed) {
            return missing(r, file, roles[i], *column, columns, header);
        }
        *column = NULL;
    }
    return NOF1_OK;
}

nof1_rc nof1_map_bind(const struct nof1_map **out, struct nof1_arena *arena,
                      const struct nof1_map *map, const char *file, size_t columns,
                      const char *const *header, struct nof1_error *error)
{
    const struct reader r = {arena, error};
    struct nof1_map *bound = nof1_arena_alloc(arena, 1, sizeof *bound);
    ENSURE(bound != NULL, NOF1_E_NO_MEMORY);
    *bound = *map;
    TRY(bind_roles(&r, bound, file, columns, header));
    for (size_t i = 0; i < map->outcomes; i++) {
        const struct nof1_map_outcome *o = &map->outcome[i];
        if (nof1_map_column(o->column, columns, header) == SIZE_MAX) {
            return missing(&r, file, o->name, o->column, columns, header);
        }
        if (o->variance != NULL && nof1_map_column(o->variance, columns, header) == SIZE_MAX) {
            return missing(&r, file, o->name, o->variance, columns, header);
        }
    }
    for (size_t i = 0; i < map->covariates; i++) {
        const struct nof1_map_covariate *c = &map->covariate[i];
        if (nof1_map_column(c->column, columns, header) == SIZE_MAX) {
            return missing(&r, file, c->name, c->column, columns, header);
        }
    }
    *out = bound;
    return NOF1_OK;
}

nof1_rc nof1_map_default(const struct nof1_map **out, struct nof1_arena *arena, const char *file,
                         size_t columns, const char *const *header, size_t outcomes,
                         const char *const *outcome, struct nof1_error *error)
{
    struct nof1_map map = {.driver = "csv", .outcomes = outcomes};
    struct nof1_map_outcome *o = nof1_arena_alloc(arena, outcomes, sizeof *o);
    struct nof1_map_covariate *c = nof1_arena_alloc(arena, columns, sizeof *c);
    ENSURE(o != NULL && c != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < ROLES; i++) {
        *role_of(&map, i) = roles[i];
    }
    for (size_t i = 0; i < outcomes; i++) {
        o[i] = (struct nof1_map_outcome){.name = outcome[i], .column = outcome[i]};
    }
    for (size_t i = 0; i < columns; i++) {
        bool known = reader_find(header[i], roles, ROLES) != SIZE_MAX ||
                     reader_find(header[i], outcome, outcomes) != SIZE_MAX;
        if (!known && nof1_is_name(header[i])) {
            c[map.covariates++] = (struct nof1_map_covariate){header[i], header[i]};
        }
    }
    map.outcome = o;
    map.covariate = c;
    return nof1_map_bind(out, arena, &map, file, columns, header, error);
}
