/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading of documents in lib/core: see reader.h. Every failure names file, line, column, key and
 * what was expected.
 */
#include "reader.h"

#include <stdlib.h>
#include <string.h>

#include <core/charter.h>

static const char *key_of(const struct nof1_node *node)
{
    return node->key == NULL ? "value" : node->key;
}

bool nof1_is_name(const char *text)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    static const char rest[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t length = strlen(text);
    return length >= 1 && length <= NOF1_NAME_MAX && strchr(first, text[0]) != NULL &&
           strspn(text, rest) == length;
}

static nof1_rc check_name(const struct reader *reader, const struct nof1_node *node,
                          const char *text)
{
    if (strlen(text) > NOF1_NAME_MAX) {
        return FAIL_AT(reader, node, NOF1_E2405, "%.40s...: a name has at most %u characters", text,
                       NOF1_NAME_MAX);
    }
    if (!nof1_is_name(text)) {
        return FAIL_AT(reader, node, NOF1_E_INPUT,
                       "\"%s\" is not a name: use letters, digits, _ . - and start with a letter "
                       "or digit",
                       text);
    }
    return NOF1_OK;
}

nof1_rc reader_name(const struct reader *reader, const char **out, const struct nof1_node *node)
{
    if (node->kind != NOF1_SCALAR) {
        return FAIL_AT(reader, node, NOF1_E_INPUT, "%s: expected a name", key_of(node));
    }
    TRY(check_name(reader, node, node->text));
    *out = node->text;
    return NOF1_OK;
}

nof1_rc reader_label(const struct reader *reader, const char **out, const struct nof1_node *node,
                     size_t most)
{
    if (node->kind != NOF1_SCALAR || node->text[0] == '\0') {
        return FAIL_AT(reader, node, NOF1_E_INPUT, "%s: expected a text", key_of(node));
    }
    size_t length = strlen(node->text);
    if (length > most) {
        return FAIL_AT(reader, node, NOF1_E2405, "%s: at most %zu characters are allowed",
                       key_of(node), most);
    }
    for (size_t i = 0; i < length; i++) {
        if (node->text[i] < ' ' || node->text[i] > '~') {
            return FAIL_AT(reader, node, NOF1_E_INPUT,
                           "%s: only printable ASCII characters can be signed", key_of(node));
        }
    }
    if (node->text[0] == ' ' || node->text[length - 1] == ' ') {
        return FAIL_AT(reader, node, NOF1_E_INPUT, "%s: no blank at the start or end",
                       key_of(node));
    }
    *out = node->text;
    return NOF1_OK;
}

nof1_rc reader_opt_label(const struct reader *reader, const char **out, const struct nof1_node *map,
                         const char *key, size_t most)
{
    const struct nof1_node *node = nof1_node_get(map, key);
    return node == NULL ? NOF1_OK : reader_label(reader, out, node, most);
}

nof1_rc reader_opt_double(const struct reader *reader, double *out, const struct nof1_node *map,
                          const char *key)
{
    return nof1_node_get(map, key) == NULL ? NOF1_OK
                                           : nof1_node_double(out, map, key, reader->error);
}

nof1_rc reader_opt_count(const struct reader *reader, uint32_t *out, const struct nof1_node *map,
                         const char *key, int64_t lower, int64_t upper)
{
    if (nof1_node_get(map, key) == NULL) {
        return NOF1_OK;
    }
    int64_t value = 0;
    TRY(nof1_node_integer(&value, map, key, lower, upper, reader->error));
    *out = (uint32_t)value;
    return NOF1_OK;
}

nof1_rc reader_opt_flag(const struct reader *reader, bool *out, const struct nof1_node *map,
                        const char *key)
{
    return nof1_node_get(map, key) == NULL ? NOF1_OK : nof1_node_flag(out, map, key, reader->error);
}

nof1_rc reader_opt_choice(const struct reader *reader, size_t *out, const struct nof1_node *map,
                          const char *key, const char *const *words)
{
    const struct nof1_node *node = nof1_node_get(map, key);
    if (node == NULL) {
        return NOF1_OK;
    }
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer known = {0};
    for (size_t i = 0; words[i] != NULL; i++) {
        if (node->kind == NOF1_SCALAR && strcmp(node->text, words[i]) == 0) {
            *out = i;
            return NOF1_OK;
        }
        TRY(nof1_buffer_printf(&known, "%s%s", i == 0 ? "" : ", ", words[i]));
    }
    return FAIL_AT(reader, node, NOF1_E_INPUT, "%s: expected one of %.*s, found %.60s", key,
                   (int)known.length, (const char *)known.data,
                   node->kind == NOF1_SCALAR ? node->text : "a list or map");
}

nof1_rc reader_list(const struct reader *reader, const struct nof1_node **out,
                    const struct nof1_node *map, const char *key, bool required)
{
    const struct nof1_node *node = nof1_node_get(map, key);
    *out = NULL;
    if (node == NULL) {
        return required
                   ? FAIL_AT(reader, map, NOF1_E_INPUT, "key %s is missing: expected a list", key)
                   : NOF1_OK;
    }
    if (node->kind != NOF1_LIST) {
        return FAIL_AT(reader, node, NOF1_E_INPUT, "%s: expected a list such as [a, b]", key);
    }
    *out = node;
    return NOF1_OK;
}

nof1_rc reader_labels(const struct reader *reader, const char *const **out, size_t *count,
                      const struct nof1_node *map, const char *key)
{
    const struct nof1_node *list = NULL;
    TRY(reader_list(reader, &list, map, key, false));
    *count = list == NULL ? 0 : list->items;
    const char **text = nof1_arena_alloc(reader->arena, *count, sizeof *text);
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < *count; i++) {
        TRY(reader_label(reader, &text[i], &list->item[i], NOF1_NAME_MAX));
        if (reader_find(text[i], text, i) != SIZE_MAX) {
            return FAIL_AT(reader, &list->item[i], NOF1_E_INPUT, "%s: %s is given twice", key,
                           text[i]);
        }
    }
    *out = text;
    return NOF1_OK;
}

nof1_rc reader_bounds(const struct reader *reader, double *lower, double *upper,
                      const struct nof1_node *map, const char *key)
{
    const struct nof1_node *list = NULL;
    TRY(reader_list(reader, &list, map, key, true));
    if (list->items != 2) {
        return FAIL_AT(reader, list, NOF1_E_INPUT, "%s: expected [lower, upper]", key);
    }
    TRY(nof1_scalar_double(lower, &list->item[0], reader->error));
    TRY(nof1_scalar_double(upper, &list->item[1], reader->error));
    if (!(*lower < *upper)) {
        return FAIL_AT(reader, list, NOF1_E_INPUT, "%s: the lower bound must be below the upper",
                       key);
    }
    return NOF1_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

/* Maps cannot hold a key twice; lists can. */
static nof1_rc refuse_twice(const struct reader *reader, const struct entry *entry, size_t count,
                            const char *key)
{
    struct entry *sorted = nof1_arena_alloc(reader->arena, count, sizeof *sorted);
    ENSURE(sorted != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = entry[i];
    }
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(sorted[i - 1].name, sorted[i].name) == 0) {
            return FAIL_AT(reader, sorted[i].node, NOF1_E_INPUT, "%s: %s is given twice", key,
                           sorted[i].name);
        }
    }
    return NOF1_OK;
}

nof1_rc reader_entries(const struct reader *reader, struct entry **out, size_t *count,
                       const struct nof1_node *map, const char *key, const char *name_key)
{
    const struct nof1_node *node = nof1_node_get(map, key);
    *count = node == NULL ? 0 : node->items;
    struct entry *entry = nof1_arena_alloc(reader->arena, *count, sizeof *entry);
    ENSURE(entry != NULL, NOF1_E_NO_MEMORY);
    if (node != NULL && node->kind == NOF1_SCALAR) {
        return FAIL_AT(reader, node, NOF1_E_INPUT, "%s: expected a map of names", key);
    }
    for (size_t i = 0; i < *count; i++) {
        const struct nof1_node *item = &node->item[i];
        entry[i] = (struct entry){item->key, item, i};
        if (item->key == NULL) {
            TRY(nof1_node_text(&entry[i].name, item, name_key, reader->error));
        } else if (item->kind == NOF1_MAP && nof1_node_get(item, name_key) != NULL) {
            return FAIL_AT(reader, nof1_node_get(item, name_key), NOF1_E_INPUT,
                           "%s: the name stands before the colon already", name_key);
        }
        TRY(check_name(reader, item, entry[i].name));
    }
    TRY(refuse_twice(reader, entry, *count, key));
    *out = entry;
    return NOF1_OK;
}

size_t reader_find(const char *text, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, texts[i]) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}
