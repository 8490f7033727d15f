/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Restricted canonical JSON (RFC 8785 rules without floats and without anything outside ASCII), the
 * only form that is ever hashed or signed. Reading is jansson's strict parser followed by writing
 * the value again: bytes that differ from their own canonical form are refused, so one value has
 * one byte string and nobody can sign two spellings of it.
 */
#include "document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

#define LARGEST_INTEGER ((INT64_C(1) << 53) - 1)

json_t *nof1_json_double(double value)
{
    char text[17];
    nof1_double_hex(text, value);
    return json_string(text);
}

static const char *short_escape(char c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

static nof1_rc write_string(struct nof1_buffer *out, const char *text, size_t length)
{
    TRY(nof1_buffer_append(out, "\"", 1));
    size_t plain = 0; /* start of the run that needs no escape */
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        ENSURE(c != 0 && c < 0x80, NOF1_E_BUG);
        const char *escape = short_escape(text[i]);
        if (escape == NULL && c >= 0x20) {
            continue;
        }
        TRY(nof1_buffer_append(out, text + plain, i - plain));
        plain = i + 1;
        if (escape != NULL) {
            TRY(nof1_buffer_append(out, escape, 2));
        } else {
            TRY(nof1_buffer_printf(out, "\\u%04x", c));
        }
    }
    TRY(nof1_buffer_append(out, text + plain, length - plain));
    return nof1_buffer_append(out, "\"", 1);
}

static nof1_rc write_scalar(struct nof1_buffer *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return write_string(out, json_string_value(value), json_string_length(value));
    case JSON_INTEGER: {
        json_int_t integer = json_integer_value(value);
        ENSURE(integer >= -LARGEST_INTEGER && integer <= LARGEST_INTEGER, NOF1_E_BUG);
        return nof1_buffer_printf(out, "%lld", (long long)integer);
    }
    case JSON_TRUE:
        return nof1_buffer_append(out, "true", 4);
    case JSON_FALSE:
        return nof1_buffer_append(out, "false", 5);
    case JSON_NULL:
        return nof1_buffer_append(out, "null", 4);
    default:
        return NOF1_E_BUG; /* a real */
    }
}

/* An object or array of which `next` children are written. keys: sorted; NULL for an array. */
struct open {
    const json_t *value;
    const char **key;
    size_t count, next;
};

static int by_bytes(const void *a, const void *b)
{
    /* RFC 8785 sorts by UTF-16 units; over ASCII that is the order of the bytes. */
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static nof1_rc open_container(struct open *out, struct nof1_arena *arena, const json_t *value)
{
    *out = (struct open){.value = value, .count = json_array_size(value)};
    if (!json_is_object(value)) {
        return NOF1_OK;
    }
    out->key = nof1_arena_alloc(arena, json_object_size(value), sizeof(const char *));
    ENSURE(out->key != NULL, NOF1_E_NO_MEMORY);
    const char *key;
    json_t *child;
    json_object_foreach((json_t *)(uintptr_t)value, key, child)
    {
        out->key[out->count++] = key;
    }
    qsort(out->key, out->count, sizeof(const char *), by_bytes);
    return NOF1_OK;
}

static bool is_container(const json_t *value)
{
    return json_is_object(value) || json_is_array(value);
}

/* Write what stands before the next child (comma, key) and give the child. */
static nof1_rc next_child(const json_t **child, struct nof1_buffer *out, struct open *open)
{
    if (open->next > 0) {
        TRY(nof1_buffer_append(out, ",", 1));
    }
    if (open->key == NULL) {
        *child = json_array_get(open->value, open->next);
    } else {
        const char *key = open->key[open->next];
        TRY(write_string(out, key, strlen(key)));
        TRY(nof1_buffer_append(out, ":", 1));
        *child = json_object_get(open->value, key);
    }
    open->next++;
    ENSURE(*child != NULL, NOF1_E_BUG);
    return NOF1_OK;
}

static nof1_rc write_value(struct nof1_buffer *out, struct nof1_arena *arena, const json_t *value)
{
    if (!is_container(value)) {
        return write_scalar(out, value);
    }
    struct open stack[NOF1_DOCUMENT_DEPTH];
    size_t depth = 1;
    TRY(open_container(&stack[0], arena, value));
    TRY(nof1_buffer_append(out, json_is_object(value) ? "{" : "[", 1));
    while (depth > 0) {
        struct open *top = &stack[depth - 1];
        if (top->next == top->count) {
            TRY(nof1_buffer_append(out, top->key != NULL ? "}" : "]", 1));
            depth--;
            continue;
        }
        const json_t *child = NULL;
        TRY(next_child(&child, out, top));
        if (!is_container(child)) {
            TRY(write_scalar(out, child));
            continue;
        }
        ENSURE(depth < NOF1_DOCUMENT_DEPTH, NOF1_E_BUG);
        TRY(open_container(&stack[depth++], arena, child));
        TRY(nof1_buffer_append(out, json_is_object(child) ? "{" : "[", 1));
    }
    return NOF1_OK;
}

nof1_rc nof1_canonical_write(struct nof1_buffer *out, const json_t *value)
{
    ENSURE(value != NULL, NOF1_E_NO_MEMORY); /* jansson's constructors return NULL for that only */
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    size_t before = out->length;
    nof1_rc_value rc = write_value(out, arena, value);
    if (rc != NOF1_OK) {
        out->length = before;
    }
    return rc;
}

/* ---- reading ---- */

static nof1_rc fill_scalar(struct nof1_node *node, struct nof1_arena *arena, const json_t *value)
{
    node->kind = NOF1_SCALAR;
    switch (json_typeof(value)) {
    case JSON_STRING:
        node->quoted = true;
        node->text = nof1_arena_text(arena, json_string_value(value));
        break;
    case JSON_INTEGER:
        node->text = nof1_arena_printf(arena, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        node->text = json_is_true(value) ? "true" : "false";
        break;
    default:
        node->text = "";
        break;
    }
    ENSURE(node->text != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* A node's children, to be filled from value's. */
static nof1_rc fill_container(struct nof1_node *node, struct nof1_node **item,
                              struct nof1_arena *arena, const json_t *value)
{
    node->kind = json_is_object(value) ? NOF1_MAP : NOF1_LIST;
    node->text = "";
    node->items = json_is_object(value) ? json_object_size(value) : json_array_size(value);
    *item = nof1_arena_alloc(arena, node->items, sizeof **item);
    ENSURE(*item != NULL, NOF1_E_NO_MEMORY);
    node->item = *item;
    if (json_is_object(value)) {
        size_t i = 0;
        const char *key;
        json_t *child;
        json_object_foreach((json_t *)(uintptr_t)value, key, child)
        {
            char *copy = nof1_arena_text(arena, key);
            ENSURE(copy != NULL, NOF1_E_NO_MEMORY);
            (*item)[i++].key = copy; /* canonical: already in order */
        }
    }
    return NOF1_OK;
}

struct filling {
    const json_t *value;
    struct nof1_node *item;
    size_t count, next;
};

static nof1_rc fill_node(struct nof1_node *node, struct filling *deeper, struct nof1_arena *arena,
                         const json_t *value)
{
    node->file = "";
    node->hex_doubles = true;
    *deeper = (struct filling){0};
    if (!is_container(value)) {
        return fill_scalar(node, arena, value);
    }
    deeper->value = value;
    TRY(fill_container(node, &deeper->item, arena, value));
    deeper->count = node->items;
    return NOF1_OK;
}

static nof1_rc to_nodes(struct nof1_node *root, struct nof1_arena *arena, const json_t *value)
{
    struct filling stack[NOF1_DOCUMENT_DEPTH];
    size_t depth = 1;
    TRY(fill_node(root, &stack[0], arena, value));
    while (depth > 0) {
        struct filling *top = &stack[depth - 1];
        if (top->next == top->count) {
            depth--;
            continue;
        }
        struct nof1_node *node = &top->item[top->next];
        const json_t *child = node->key != NULL ? json_object_get(top->value, node->key)
                                                : json_array_get(top->value, top->next);
        top->next++;
        struct filling deeper;
        TRY(fill_node(node, &deeper, arena, child));
        if (deeper.count > 0) {
            ENSURE(depth < NOF1_DOCUMENT_DEPTH, NOF1_E_DECODE); /* the writer has checked it */
            stack[depth++] = deeper;
        }
    }
    return NOF1_OK;
}

/* The canonical form of `value` must be the very bytes it was read from. */
static nof1_rc compare_written(const json_t *value, struct nof1_slice bytes,
                               struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer written = {0};
    nof1_rc_value rc = nof1_canonical_write(&written, value);
    if (rc == NOF1_E_BUG) {
        return nof1_fail(error, NOF1_E_DECODE,
                         "the document holds a real number, a character outside ASCII, an integer "
                         "of 2^53 or more, or is nested deeper than %u",
                         NOF1_DOCUMENT_DEPTH);
    }
    TRY(rc);
    if (nof1_slice_equal(nof1_buffer_slice(&written), bytes)) {
        return NOF1_OK;
    }
    size_t at = 0;
    while (at < written.length && at < bytes.length && written.data[at] == bytes.data[at]) {
        at++;
    }
    return nof1_fail(error, NOF1_E_DECODE,
                     "the bytes are not the canonical form of their value (byte %zu)", at);
}

nof1_rc nof1_canonical_read(const struct nof1_node **out, struct nof1_arena *arena,
                            struct nof1_slice bytes, struct nof1_error *error)
{
    if (bytes.length > NOF1_CANONICAL_BYTES) {
        return nof1_fail(error, NOF1_E_DECODE, "the document is larger than %u bytes",
                         NOF1_CANONICAL_BYTES);
    }
    json_error_t why;
    NOF1_CLEANUP(nof1_json_freep)
    json_t *value = json_loadb(bytes.length == 0 ? "" : (const char *)bytes.data, bytes.length,
                               JSON_REJECT_DUPLICATES, &why);
    if (value == NULL) {
        /* jansson 2.14 mostly says nothing at all when memory runs out */
        if (json_error_code(&why) == json_error_out_of_memory || why.text[0] == '\0') {
            return NOF1_E_NO_MEMORY;
        }
        return nof1_fail(error, NOF1_E_DECODE, "not JSON: byte %d: %s", why.position, why.text);
    }
    TRY(compare_written(value, bytes, error));
    struct nof1_node *root = nof1_arena_alloc(arena, 1, sizeof *root);
    ENSURE(root != NULL, NOF1_E_NO_MEMORY);
    TRY(to_nodes(root, arena, value));
    *out = root;
    return NOF1_OK;
}
