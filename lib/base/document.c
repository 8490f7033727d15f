/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Typed reads from the tree of a document. Every failure names file, line, column and key, and what
 * was expected; nothing here knows what a charter or a plan is.
 */
#include "document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "json.h"

#define LARGEST_INTEGER ((INT64_C(1) << 53) - 1)

const struct nof1_node *nof1_node_get(const struct nof1_node *map, const char *key)
{
    if (map == NULL || map->kind != NOF1_MAP) {
        return NULL;
    }
    for (size_t i = 0; i < map->items; i++) {
        if (strcmp(map->item[i].key, key) == 0) {
            return &map->item[i];
        }
    }
    return NULL;
}

static nof1_rc_value expected(const struct nof1_node *node, const char *what,
                              struct nof1_error *error)
{
    static const char *const kinds[] = {"a text", "a list", "a map"};
    const char *name = node->key == NULL ? "value" : node->key;
    if (node->kind == NOF1_SCALAR && node->text[0] != '\0') {
        return nof1_fail_at(error, NOF1_E_INPUT, node->file, node->line, node->column,
                            "%s: expected %s, found %s%.60s%s", name, what,
                            node->quoted ? "the text \"" : "", node->text,
                            node->quoted ? "\"" : "");
    }
    return nof1_fail_at(error, NOF1_E_INPUT, node->file, node->line, node->column,
                        "%s: expected %s, found %s", name, what,
                        node->kind == NOF1_SCALAR ? "nothing" : kinds[node->kind]);
}

/* The scalar under `key`, or an error that says what was expected there. */
static nof1_rc get_scalar(const struct nof1_node **out, const struct nof1_node *parent,
                          const char *key, const char *what, struct nof1_error *error)
{
    const struct nof1_node *node = nof1_node_get(parent, key);
    if (node == NULL) {
        bool in_map = parent->kind == NOF1_MAP;
        return nof1_fail_at(error, NOF1_E_INPUT, parent->file, parent->line, parent->column,
                            in_map ? "%s%skey %s is missing: expected %s"
                                   : "%s%sexpected a map with the key %s: %s",
                            parent->key == NULL ? "" : parent->key, parent->key == NULL ? "" : ": ",
                            key, what);
    }
    if (node->kind != NOF1_SCALAR) {
        return expected(node, what, error);
    }
    *out = node;
    return NOF1_OK;
}

nof1_rc nof1_node_text(const char **out, const struct nof1_node *parent, const char *key,
                       struct nof1_error *error)
{
    const struct nof1_node *node = NULL;
    TRY(get_scalar(&node, parent, key, "a text", error));
    if (node->text[0] == '\0' && !node->quoted) {
        return expected(node, "a text", error);
    }
    *out = node->text;
    return NOF1_OK;
}

nof1_rc nof1_scalar_double(double *out, const struct nof1_node *scalar, struct nof1_error *error)
{
    bool read = false;
    if (scalar->kind == NOF1_SCALAR) {
        /* Canonical JSON has no floats: a quoted scalar is hex digits, an integer stands for
         * itself. */
        bool hex = scalar->hex_doubles && scalar->quoted;
        read = hex ? nof1_double_unhex(out, scalar->text)
                   : !scalar->quoted && nof1_double_read(out, scalar->text);
        /* inf and nan can be spelt in hex but are numbers in no document */
        read = read && *out - *out == 0.0;
    }
    return read ? NOF1_OK : expected(scalar, "a number", error);
}

nof1_rc nof1_node_double(double *out, const struct nof1_node *parent, const char *key,
                         struct nof1_error *error)
{
    const struct nof1_node *node = NULL;
    TRY(get_scalar(&node, parent, key, "a number", error));
    return nof1_scalar_double(out, node, error);
}

/* -?digits without leading zeros, within 2^53. */
static bool read_integer(int64_t *out, const char *text)
{
    const char *digits = *text == '-' ? text + 1 : text;
    size_t length = strlen(digits);
    if (length == 0 || length > 16 || strspn(digits, "0123456789") != length ||
        (digits[0] == '0' && (length > 1 || digits != text))) {
        return false;
    }
    int64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        value = value * 10 + (digits[i] - '0');
    }
    *out = digits == text ? value : -value;
    return value <= LARGEST_INTEGER;
}

nof1_rc nof1_node_integer(int64_t *out, const struct nof1_node *parent, const char *key,
                          int64_t lower, int64_t upper, struct nof1_error *error)
{
    char what[80];
    snprintf(what, sizeof what, "a whole number from %lld to %lld", (long long)lower,
             (long long)upper);
    const struct nof1_node *node = NULL;
    TRY(get_scalar(&node, parent, key, what, error));
    int64_t value = 0;
    if (node->quoted || !read_integer(&value, node->text) || value < lower || value > upper) {
        return expected(node, what, error);
    }
    *out = value;
    return NOF1_OK;
}

nof1_rc nof1_node_flag(bool *out, const struct nof1_node *parent, const char *key,
                       struct nof1_error *error)
{
    const struct nof1_node *node = NULL;
    TRY(get_scalar(&node, parent, key, "true or false", error));
    bool yes = strcmp(node->text, "true") == 0;
    if (node->quoted || (!yes && strcmp(node->text, "false") != 0)) {
        return expected(node, "true or false", error);
    }
    *out = yes;
    return NOF1_OK;
}

nof1_rc nof1_node_hex(struct nof1_slice *out, struct nof1_arena *arena,
                      const struct nof1_node *parent, const char *key, struct nof1_error *error)
{
    static const char what[] = "an even number of hex digits (0-9, a-f)";
    const struct nof1_node *node = NULL;
    TRY(get_scalar(&node, parent, key, what, error));
    size_t length = strlen(node->text);
    if (length == 0 || length % 2 != 0) {
        return expected(node, what, error);
    }
    uint8_t *bytes = nof1_arena_alloc(arena, length / 2, 1);
    ENSURE(bytes != NULL, NOF1_E_NO_MEMORY);
    if (!nof1_hex_read(bytes, length / 2, node->text)) {
        return expected(node, what, error);
    }
    *out = nof1_slice_of(bytes, length / 2);
    return NOF1_OK;
}

nof1_rc nof1_node_duration(uint32_t *out, const struct nof1_node *parent, const char *key,
                           struct nof1_error *error)
{
    static const char what[] = "a duration such as 90s, 10m, 12h or 14d";
    const struct nof1_node *node = NULL;
    TRY(get_scalar(&node, parent, key, what, error));
    size_t digits = strspn(node->text, "0123456789");
    if (digits == 0 || digits > 9 || strlen(node->text) != digits + 1) {
        return expected(node, what, error);
    }
    uint64_t seconds = strtoull(node->text, NULL, 10);
    switch (node->text[digits]) {
    case 's':
        break;
    case 'm':
        seconds *= 60;
        break;
    case 'h':
        seconds *= 3600;
        break;
    case 'd':
        seconds *= 86400;
        break;
    default:
        return expected(node, what, error);
    }
    if (seconds == 0 || seconds > UINT32_MAX) {
        return expected(node, what, error);
    }
    *out = (uint32_t)seconds;
    return NOF1_OK;
}

#define NEAREST_LENGTH 64u

/* Levenshtein distance; texts longer than NEAREST_LENGTH count as far away. */
static size_t distance(const char *a, const char *b)
{
    size_t columns = strlen(b);
    if (strlen(a) > NEAREST_LENGTH || columns > NEAREST_LENGTH) {
        return SIZE_MAX;
    }
    size_t row[NEAREST_LENGTH + 1];
    for (size_t j = 0; j <= columns; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < columns; j++) {
            size_t replaced = diagonal + (a[i] != b[j]);
            size_t shorter = row[j] < row[j + 1] ? row[j] : row[j + 1];
            diagonal = row[j + 1];
            row[j + 1] = replaced < shorter + 1 ? replaced : shorter + 1;
        }
    }
    return row[columns];
}

const char *nof1_nearest(const char *word, const char *const *known)
{
    const char *best = NULL;
    size_t least = strlen(word) / 2 + 1; /* farther than that is a guess, not help */
    for (; *known != NULL; known++) {
        size_t d = distance(word, *known);
        if (d <= least && (best == NULL || d < least)) {
            least = d;
            best = *known;
        }
    }
    return best;
}

nof1_rc nof1_node_only(const struct nof1_node *map, const char *const *known,
                       struct nof1_error *error)
{
    if (map->kind != NOF1_MAP) {
        return expected(map, "a map", error);
    }
    for (size_t i = 0; i < map->items; i++) {
        const struct nof1_node *item = &map->item[i];
        bool found = false;
        for (const char *const *k = known; *k != NULL && !found; k++) {
            found = strcmp(*k, item->key) == 0;
        }
        if (!found) {
            const char *nearest = nof1_nearest(item->key, known);
            return nof1_fail_at(error, NOF1_E_INPUT, item->file, item->line, item->column,
                                "unknown key %.64s%s%s%s", item->key,
                                nearest == NULL ? "" : " (did you mean ",
                                nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?)");
        }
    }
    return NOF1_OK;
}

static json_t *scalar_json(const struct nof1_node *node)
{
    int64_t integer;
    if (!node->quoted) {
        if (node->text[0] == '\0') {
            return json_null();
        }
        if (strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0) {
            return json_boolean(node->text[0] == 't');
        }
        if (read_integer(&integer, node->text)) {
            return json_integer(integer);
        }
    }
    return json_string(node->text);
}

/* A container whose children are still to be added. */
struct open {
    const struct nof1_node *node;
    json_t *value;
    size_t next;
};

json_t *nof1_node_json(const struct nof1_node *node)
{
    if (node->kind == NOF1_SCALAR) {
        return scalar_json(node);
    }
    struct open stack[NOF1_DOCUMENT_DEPTH];
    size_t depth = 0;
    json_t *root = node->kind == NOF1_MAP ? json_object() : json_array();
    stack[depth++] = (struct open){node, root, 0};
    while (root != NULL && depth > 0) {
        struct open *top = &stack[depth - 1];
        if (top->next == top->node->items) {
            depth--;
            continue;
        }
        const struct nof1_node *child = &top->node->item[top->next++];
        json_t *value = child->kind == NOF1_SCALAR ? scalar_json(child)
                        : child->kind == NOF1_MAP  ? json_object()
                                                   : json_array();
        int failed = top->node->kind == NOF1_MAP
                         ? json_object_set_new(top->value, child->key, value)
                         : json_array_append_new(top->value, value);
        bool deeper = child->kind != NOF1_SCALAR && child->items > 0;
        if (failed != 0 || (deeper && depth == NOF1_DOCUMENT_DEPTH)) {
            json_decref(root);
            return NULL;
        }
        if (deeper) {
            stack[depth++] = (struct open){child, value, 0};
        }
    }
    return root;
}
