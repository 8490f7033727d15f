/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * YAML 1.1 as people write it, reduced to trees of texts: libyaml's events become nodes. Everything
 * that makes YAML surprising is refused: anchors, aliases, tags, directives, several documents,
 * duplicate keys, tabs for indentation, keys that are not plain texts. No value is interpreted
 * here.
 */
#include "document.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* A node whose final array does not exist yet. */
struct pending {
    struct nof1_node node;
    struct pending *next;
};

/* A list or map that is still open. */
struct level {
    struct nof1_node node;
    struct pending *first, *last;
    size_t count;
    const char *key; /* the key read, while its value is still to come */
    uint32_t key_line, key_column;
};

struct reader {
    struct nof1_arena *arena;
    const char *file;
    struct nof1_error *error;
    struct level stack[NOF1_DOCUMENT_DEPTH];
    size_t depth;
    size_t nodes;
    bool document, complete;
    struct nof1_node root;
};

static nof1_rc_value refuse(const struct reader *reader, const yaml_mark_t *mark, const char *why)
{
    return nof1_fail_at(reader->error, NOF1_E_INPUT, reader->file, (uint32_t)mark->line + 1,
                        (uint32_t)mark->column + 1, "%s", why);
}

static int by_key(const void *a, const void *b)
{
    const struct nof1_node *const *x = a;
    const struct nof1_node *const *y = b;
    int order = strcmp((*x)->key, (*y)->key);
    return order != 0 ? order : (*x > *y) - (*x < *y);
}

/* Sorting makes this n log n: a document of one map with 65,536 keys must not stall a reader. */
static nof1_rc refuse_duplicates(const struct reader *reader, const struct nof1_node *map)
{
    const struct nof1_node **sorted =
        nof1_arena_alloc(reader->arena, map->items, sizeof(const struct nof1_node *));
    ENSURE(sorted != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < map->items; i++) {
        sorted[i] = &map->item[i];
    }
    qsort(sorted, map->items, sizeof(const struct nof1_node *), by_key);
    for (size_t i = 1; i < map->items; i++) {
        if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0) {
            return nof1_fail_at(reader->error, NOF1_E_INPUT, reader->file, sorted[i]->line,
                                sorted[i]->column, "key %.64s is given twice (first in line %u)",
                                sorted[i]->key, sorted[i - 1]->line);
        }
    }
    return NOF1_OK;
}

/* Add a finished node to the innermost open container, or make it the root. */
static nof1_rc add(struct reader *reader, struct nof1_node node)
{
    if (reader->depth == 0) {
        reader->root = node;
        reader->complete = true;
        return NOF1_OK;
    }
    struct level *level = &reader->stack[reader->depth - 1];
    struct pending *pending = nof1_arena_alloc(reader->arena, 1, sizeof *pending);
    ENSURE(pending != NULL, NOF1_E_NO_MEMORY);
    pending->node = node;
    if (level->node.kind == NOF1_MAP) {
        /* The place of a map's item is that of its key: that is what people look for. */
        pending->node.key = level->key;
        pending->node.line = level->key_line;
        pending->node.column = level->key_column;
        level->key = NULL;
    }
    if (level->last == NULL) {
        level->first = pending;
    } else {
        level->last->next = pending;
    }
    level->last = pending;
    level->count++;
    return NOF1_OK;
}

static nof1_rc on_scalar(struct reader *reader, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (memchr(value, 0, length) != NULL) {
        return refuse(reader, &event->start_mark, "a text must not hold a NUL character");
    }
    char *text = nof1_arena_text(reader->arena, value);
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    uint32_t line = (uint32_t)event->start_mark.line + 1;
    uint32_t column = (uint32_t)event->start_mark.column + 1;
    struct level *level = reader->depth > 0 ? &reader->stack[reader->depth - 1] : NULL;
    if (level != NULL && level->node.kind == NOF1_MAP && level->key == NULL) {
        if (length == 0) {
            return refuse(reader, &event->start_mark, "a key must not be empty");
        }
        level->key = text;
        level->key_line = line;
        level->key_column = column;
        return NOF1_OK;
    }
    bool quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (!quoted && (strcmp(text, "~") == 0 || strcmp(text, "null") == 0)) {
        text[0] = '\0';
    }
    return add(reader, (struct nof1_node){.kind = NOF1_SCALAR,
                                          .quoted = quoted,
                                          .file = reader->file,
                                          .line = line,
                                          .column = column,
                                          .text = text});
}

static nof1_rc on_start(struct reader *reader, const yaml_event_t *event, enum nof1_node_kind kind)
{
    struct level *outer = reader->depth > 0 ? &reader->stack[reader->depth - 1] : NULL;
    if (outer != NULL && outer->node.kind == NOF1_MAP && outer->key == NULL) {
        return refuse(reader, &event->start_mark, "a key must be a text, not a list or map");
    }
    if (reader->depth == NOF1_DOCUMENT_DEPTH) {
        return refuse(reader, &event->start_mark, "lists and maps are nested deeper than 16");
    }
    reader->stack[reader->depth++] =
        (struct level){.node = {.kind = kind,
                                .file = reader->file,
                                .line = (uint32_t)event->start_mark.line + 1,
                                .column = (uint32_t)event->start_mark.column + 1,
                                .text = ""}};
    return NOF1_OK;
}

static nof1_rc on_end(struct reader *reader)
{
    struct level *level = &reader->stack[reader->depth - 1];
    struct nof1_node *item = nof1_arena_alloc(reader->arena, level->count, sizeof *item);
    ENSURE(item != NULL, NOF1_E_NO_MEMORY);
    size_t i = 0;
    for (const struct pending *p = level->first; p != NULL; p = p->next) {
        item[i++] = p->node;
    }
    struct nof1_node node = level->node;
    node.item = item;
    node.items = level->count;
    reader->depth--;
    if (node.kind == NOF1_MAP) {
        TRY(refuse_duplicates(reader, &node));
    }
    return add(reader, node);
}

/* Anchors and tags of any event that can carry them. */
static nof1_rc refuse_decoration(const struct reader *reader, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (anchor != NULL || event->type == YAML_ALIAS_EVENT) {
        return refuse(reader, &event->start_mark,
                      "anchors and aliases are not allowed: write the value out");
    }
    if (tag != NULL) {
        return refuse(reader, &event->start_mark, "tags (!...) are not allowed");
    }
    return NOF1_OK;
}

static nof1_rc on_document(struct reader *reader, const yaml_event_t *event)
{
    if (reader->document) {
        return refuse(reader, &event->start_mark, "only one document is allowed in a file");
    }
    if (event->data.document_start.version_directive != NULL ||
        event->data.document_start.tag_directives.start !=
            event->data.document_start.tag_directives.end) {
        return refuse(reader, &event->start_mark, "directives (%...) are not allowed");
    }
    reader->document = true;
    return NOF1_OK;
}

static nof1_rc on_event(struct reader *reader, const yaml_event_t *event)
{
    TRY(refuse_decoration(reader, event));
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return on_document(reader, event);
    case YAML_SCALAR_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++reader->nodes > NOF1_DOCUMENT_NODES) {
            return refuse(reader, &event->start_mark, "more than 65536 values");
        }
        if (event->type == YAML_SCALAR_EVENT) {
            return on_scalar(reader, event);
        }
        return on_start(reader, event,
                        event->type == YAML_SEQUENCE_START_EVENT ? NOF1_LIST : NOF1_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_end(reader);
    default:
        return NOF1_OK;
    }
}

static nof1_rc_value parser_failed(const struct reader *reader, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        return NOF1_E_NO_MEMORY;
    }
    const char *problem = parser->problem == NULL ? "not valid YAML" : parser->problem;
    /* The reader (UTF-8, control characters) knows the character only, not line and column. */
    yaml_mark_t mark = parser->error == YAML_READER_ERROR ? parser->mark : parser->problem_mark;
    return refuse(reader, &mark, problem);
}

static nof1_rc read_events(struct reader *reader, yaml_parser_t *parser)
{
    bool end = false;
    while (!end) {
        yaml_event_t event;
        if (yaml_parser_parse(parser, &event) == 0) {
            return parser_failed(reader, parser);
        }
        end = event.type == YAML_STREAM_END_EVENT;
        nof1_rc_value rc = on_event(reader, &event);
        yaml_event_delete(&event);
        TRY(rc);
    }
    if (!reader->complete) {
        yaml_mark_t first = {0, 0, 0};
        return refuse(reader, &first, "the document is empty");
    }
    return NOF1_OK;
}

/* libyaml takes some tabs as separation and refuses others with a sentence about tokens. */
static nof1_rc refuse_tabs(const struct reader *reader, struct nof1_slice bytes)
{
    bool indentation = true;
    yaml_mark_t mark = {0, 0, 0};
    for (size_t i = 0; i < bytes.length; i++) {
        if (bytes.data[i] == '\n') {
            indentation = true;
            mark.line++;
            mark.column = 0;
            continue;
        }
        if (indentation && bytes.data[i] == '\t') {
            return refuse(reader, &mark, "a tab: indent with spaces");
        }
        indentation = indentation && bytes.data[i] == ' ';
        mark.column++;
    }
    return NOF1_OK;
}

nof1_rc nof1_yaml_read(const struct nof1_node **out, struct nof1_arena *arena, const char *file,
                       struct nof1_slice bytes, struct nof1_error *error)
{
    struct reader reader = {.arena = arena, .error = error};
    reader.file = nof1_arena_text(arena, file == NULL ? "" : file);
    ENSURE(reader.file != NULL, NOF1_E_NO_MEMORY);
    yaml_mark_t first = {0, 0, 0};
    if (bytes.length > NOF1_DOCUMENT_BYTES) {
        return refuse(&reader, &first, "the document is larger than 1 MiB");
    }
    if (bytes.length >= 3 && memcmp(bytes.data, "\xef\xbb\xbf", 3) == 0) {
        bytes = nof1_slice_of(bytes.data + 3, bytes.length - 3); /* a UTF-8 byte order mark */
    }
    TRY(refuse_tabs(&reader, bytes));
    yaml_parser_t parser;
    ENSURE(yaml_parser_initialize(&parser) != 0, NOF1_E_NO_MEMORY);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, bytes.length == 0 ? (const uint8_t *)"" : bytes.data,
                                 bytes.length);
    nof1_rc_value rc = read_events(&reader, &parser);
    yaml_parser_delete(&parser);
    TRY(rc);
    struct nof1_node *root = nof1_arena_alloc(arena, 1, sizeof *root);
    ENSURE(root != NULL, NOF1_E_NO_MEMORY);
    *root = reader.root;
    *out = root;
    return NOF1_OK;
}
