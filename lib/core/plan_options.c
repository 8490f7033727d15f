/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The options of a plan against the option table of its analysis: kinds checked, unknown keys
 * refused, defaults filled in, order that of the table. The tree that results is the same whether
 * it was read from YAML or from the signed bytes: numbers are the decimal text that was written,
 * and only texts that would otherwise read as integer, flag or nothing count as quoted.
 */
#include "plan_options.h"

#include <string.h>

#define OPTION_TEXT_MAX 200u

/* ---- the common form of a tree ---- */

/* Would this text, unquoted, be something else than a text in canonical JSON? */
static nof1_rc reads_otherwise(bool *out, const struct nof1_node *scalar)
{
    struct nof1_node plain = *scalar;
    plain.quoted = false;
    json_t *value = nof1_node_json(&plain);
    ENSURE(value != NULL, NOF1_E_NO_MEMORY);
    *out = !json_is_string(value);
    json_decref(value);
    return NOF1_OK;
}

static nof1_rc check_text(const struct reader *r, const struct nof1_node *node, const char *text)
{
    if (strlen(text) > OPTION_TEXT_MAX) {
        return FAIL_AT(r, node, NOF1_E2405, "a text has at most %u characters", OPTION_TEXT_MAX);
    }
    for (; *text != '\0'; text++) {
        if (*text < ' ' || *text > '~') {
            return FAIL_AT(r, node, NOF1_E_INPUT, "only printable ASCII characters can be signed");
        }
    }
    return NOF1_OK;
}

static nof1_rc copy_node(const struct reader *r, struct nof1_node *node, struct nof1_node **item)
{
    *item = NULL;
    node->hex_doubles = false;
    TRY(check_text(r, node, node->text));
    TRY(check_text(r, node, node->key == NULL ? "" : node->key));
    if (node->kind == NOF1_SCALAR) {
        bool otherwise = false;
        TRY(reads_otherwise(&otherwise, node));
        node->quoted = node->quoted && otherwise;
        return NOF1_OK;
    }
    *item = nof1_arena_alloc(r->arena, node->items, sizeof **item);
    ENSURE(*item != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < node->items; i++) {
        (*item)[i] = node->item[i];
    }
    node->item = *item;
    return NOF1_OK;
}

/* Replace a node by its deep copy in the common form. */
static nof1_rc copy_tree(const struct reader *r, struct nof1_node *root)
{
    struct {
        struct nof1_node *item;
        size_t items, next;
    } stack[NOF1_DOCUMENT_DEPTH + 1];

    size_t depth = 1;
    stack[0].items = root->items;
    stack[0].next = 0;
    TRY(copy_node(r, root, &stack[0].item));
    while (depth > 0) {
        if (stack[depth - 1].next == stack[depth - 1].items) {
            depth--;
            continue;
        }
        struct nof1_node *node = &stack[depth - 1].item[stack[depth - 1].next++];
        struct nof1_node *item = NULL;
        TRY(copy_node(r, node, &item));
        if (node->items > 0) {
            ENSURE(depth <= NOF1_DOCUMENT_DEPTH, NOF1_E_BUG); /* both readers limit the depth */
            stack[depth].item = item;
            stack[depth].items = node->items;
            stack[depth++].next = 0;
        }
    }
    return NOF1_OK;
}

/* ---- kinds ---- */

static bool is_null(const struct nof1_node *node)
{
    return node->kind == NOF1_SCALAR && !node->quoted && node->text[0] == '\0';
}

/* Is text one of the words of "a|b|c"? */
static bool is_choice(const char *text, const char *choices)
{
    size_t length = strlen(text);
    for (const char *c = choices; c != NULL; c = strchr(c, '|')) {
        c += *c == '|';
        if (strncmp(c, text, length) == 0 && (c[length] == '|' || c[length] == '\0')) {
            return length > 0;
        }
    }
    return false;
}

static nof1_rc_value wrong(const struct reader *r, const struct nof1_option *option,
                           const struct nof1_node *node, const char *what)
{
    return FAIL_AT(r, node, NOF1_E_PLAN, "%s: expected %s", option->key, what);
}

static nof1_rc check_number(const struct reader *r, const struct nof1_option *option,
                            const struct nof1_node *node)
{
    double value = 0;
    TRY(nof1_scalar_double(&value, node, r->error));
    if (option->lower < option->upper && (value < option->lower || value > option->upper)) {
        return FAIL_AT(r, node, NOF1_E_PLAN, "%s: expected a number from %g to %g", option->key,
                       option->lower, option->upper);
    }
    return NOF1_OK;
}

/* A single name is a list of one. */
static nof1_rc check_names(const struct reader *r, const struct nof1_option *option,
                           struct nof1_node *node)
{
    if (node->kind == NOF1_SCALAR) {
        struct nof1_node *item = nof1_arena_alloc(r->arena, 1, sizeof *item);
        ENSURE(item != NULL, NOF1_E_NO_MEMORY);
        *item = *node;
        item->key = NULL;
        *node = (struct nof1_node){.kind = NOF1_LIST,
                                   .file = node->file,
                                   .line = node->line,
                                   .column = node->column,
                                   .text = "",
                                   .key = node->key,
                                   .items = 1,
                                   .item = item};
    }
    if (node->kind != NOF1_LIST) {
        return wrong(r, option, node, "a list of names");
    }
    for (size_t i = 0; i < node->items; i++) {
        if (node->item[i].kind != NOF1_SCALAR || node->item[i].text[0] == '\0') {
            return wrong(r, option, &node->item[i], "a list of names");
        }
    }
    return NOF1_OK;
}

static nof1_rc check_option(const struct reader *r, const struct nof1_option *option,
                            struct nof1_node *node)
{
    switch (option->kind) {
    case NOF1_OPT_CHOICE:
        if (node->kind != NOF1_SCALAR || !is_choice(node->text, option->choices)) {
            return FAIL_AT(r, node, NOF1_E_PLAN, "%s: expected one of %s, found %.60s", option->key,
                           option->choices,
                           node->kind == NOF1_SCALAR ? node->text : "a list or map");
        }
        return NOF1_OK;
    case NOF1_OPT_NUMBER:
        return check_number(r, option, node);
    case NOF1_OPT_NAMES:
        return check_names(r, option, node);
    case NOF1_OPT_MAP:
        return node->kind == NOF1_MAP ? NOF1_OK : wrong(r, option, node, "a map such as {a: b}");
    case NOF1_OPT_FLAG:
        if (node->kind != NOF1_SCALAR || node->quoted ||
            (strcmp(node->text, "true") != 0 && strcmp(node->text, "false") != 0)) {
            return wrong(r, option, node, "true or false");
        }
        return NOF1_OK;
    }
    return NOF1_E_BUG;
}

/* ---- the table ---- */

static nof1_rc default_node(const struct reader *r, struct nof1_node *out, bool *present,
                            const struct nof1_option *option)
{
    *present = false;
    if (option->default_text == NULL || option->default_text[0] == '\0') {
        return NOF1_OK;
    }
    const struct nof1_node *node = NULL;
    char *file = nof1_arena_printf(r->arena, "default of %s", option->key);
    ENSURE(file != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_yaml_read(&node, r->arena, file, nof1_slice_text(option->default_text), r->error));
    *out = *node;
    *present = !is_null(node);
    return NOF1_OK;
}

static size_t count_options(const struct nof1_analysis *analysis)
{
    size_t n = 0;
    while (analysis->option != NULL && analysis->option[n].key != NULL) {
        n++;
    }
    return n;
}

/* Build the complete map from the items that were given. */
static nof1_rc complete(const struct reader *r, const struct nof1_node **out,
                        const struct nof1_analysis *analysis, const struct nof1_node *given)
{
    size_t options = count_options(analysis);
    struct nof1_node *map = nof1_arena_alloc(r->arena, 1, sizeof *map);
    struct nof1_node *item = nof1_arena_alloc(r->arena, options, sizeof *item);
    ENSURE(map != NULL && item != NULL, NOF1_E_NO_MEMORY);
    size_t items = 0;
    for (size_t i = 0; i < options; i++) {
        const struct nof1_option *option = &analysis->option[i];
        const struct nof1_node *found = nof1_node_get(given, option->key);
        bool present = found != NULL && !is_null(found);
        struct nof1_node *node = &item[items];
        if (present) {
            *node = *found;
        } else {
            TRY(default_node(r, node, &present, option));
        }
        if (!present) {
            continue;
        }
        node->key = option->key;
        node->hex_doubles = false;
        if (found != NULL && found->hex_doubles && node->kind == NOF1_SCALAR) {
            /* Signed bytes hold decimals as strings: the common form tells what is a text. */
            TRY(copy_tree(r, node));
        }
        TRY(check_option(r, option, node));
        TRY(copy_tree(r, node));
        items++;
    }
    *map = (struct nof1_node){.kind = NOF1_MAP,
                              .file = given->file,
                              .line = given->line,
                              .column = given->column,
                              .text = "",
                              .items = items,
                              .item = item};
    *out = map;
    return NOF1_OK;
}

/* Refuse every key that is neither in `common` nor an option. */
static nof1_rc only_options(const struct reader *r, const struct nof1_analysis *analysis,
                            const struct nof1_node *map, const char *const *common)
{
    size_t options = count_options(analysis);
    size_t others = 0;
    while (common[others] != NULL) {
        others++;
    }
    const char **known = nof1_arena_alloc(r->arena, options + others + 1, sizeof *known);
    ENSURE(known != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < others; i++) {
        known[i] = common[i];
    }
    for (size_t i = 0; i < options; i++) {
        known[others + i] = analysis->option[i].key;
    }
    return nof1_node_only(map, known, r->error);
}

nof1_rc plan_options_from_root(const struct reader *r, const struct nof1_node **out,
                               const struct nof1_analysis *analysis, const struct nof1_node *root,
                               const char *const *common)
{
    TRY(only_options(r, analysis, root, common));
    return complete(r, out, analysis, root);
}

nof1_rc plan_options_from_map(const struct reader *r, const struct nof1_node **out,
                              const struct nof1_analysis *analysis, const struct nof1_node *map)
{
    static const char *const none[] = {NULL};
    static const struct nof1_node empty = {.kind = NOF1_MAP, .file = "", .text = ""};
    const struct nof1_node *given = map == NULL ? &empty : map;
    TRY(only_options(r, analysis, given, none));
    return complete(r, out, analysis, given);
}

nof1_rc plan_options_replace(const struct reader *r, const struct nof1_node **out,
                             const struct nof1_analysis *analysis, const struct nof1_node *options,
                             const char *key, const char *text)
{
    const struct nof1_node *value = NULL;
    TRY(nof1_yaml_read(&value, r->arena, key, nof1_slice_text(text), r->error));
    struct nof1_node *item = nof1_arena_alloc(r->arena, options->items + 1, sizeof *item);
    ENSURE(item != NULL, NOF1_E_NO_MEMORY);
    struct nof1_node map = *options;
    map.items = 0;
    map.item = item;
    for (size_t i = 0; i < options->items; i++) {
        if (strcmp(options->item[i].key, key) != 0) {
            item[map.items++] = options->item[i];
        }
    }
    item[map.items] = *value;
    item[map.items++].key = key;
    return plan_options_from_map(r, out, analysis, &map);
}

nof1_rc plan_options_none(const struct reader *r, const struct nof1_node **out)
{
    struct nof1_node *map = nof1_arena_alloc(r->arena, 1, sizeof *map);
    ENSURE(map != NULL, NOF1_E_NO_MEMORY);
    *map = (struct nof1_node){.kind = NOF1_MAP, .file = "", .text = ""};
    *out = map;
    return NOF1_OK;
}
