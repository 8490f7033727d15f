/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading a CSV file into a table: see csv.h. libcsv splits cells (strict RFC 4180); csv_text.c
 * knows their places; cells.c knows what they mean.
 */
#include <node/sources/csv.h>

#include <csv.h>
#include <string.h>

#include <node/sources/cells.h>
#include <node/sources/csv_text.h>
#include <sys/files.h>

#define CHUNK ((size_t)1 << 18)
#define OTHER_COLUMNS 16 /* trial ... phase, and a few */

struct reader {
    const char *file;
    struct nof1_slice text;
    char separator;
    struct nof1_csv_cursor cursor;
    size_t columns;
    size_t *first_use; /* [columns + 1] uses of column c: use[first_use[c]] ... */
    struct nof1_use *use;
    struct nof1_cells *cells;
    size_t field; /* cells of this record so far */
    struct nof1_error *error;
    nof1_rc_value rc;
};

/* Complete an error with its place. */
static void locate(struct reader *reader, nof1_rc_value rc, size_t field)
{
    reader->rc = rc;
    if (reader->error != NULL && rc == NOF1_E_INPUT) {
        uint32_t line;
        uint32_t column;
        char message[sizeof reader->error->message];
        nof1_csv_place(&reader->cursor, reader->separator, field, &line, &column);
        memcpy(message, reader->error->message, sizeof message);
        (void)nof1_fail_at(reader->error, rc, reader->file, line, column, "%s", message);
    }
}

static void on_cell(void *data, size_t length, void *context)
{
    struct reader *reader = context;
    size_t field = reader->field++;
    if (reader->rc != NOF1_OK) {
        return;
    }
    if (field == 0) {
        (void)nof1_csv_next(&reader->cursor);
    }
    if (field >= reader->columns) {
        locate(reader,
               nof1_fail(reader->error, NOF1_E_INPUT,
                         "more cells than the header's %zu columns; quote cells that hold "
                         "the separator",
                         reader->columns),
               field);
        return;
    }
    if (length > NOF1_CSV_MOST_FIELD) {
        locate(reader,
               nof1_fail(reader->error, NOF1_E_INPUT,
                         "a cell of %zu bytes, at most %u expected; is a quote not closed?", length,
                         NOF1_CSV_MOST_FIELD),
               field);
        return;
    }
    for (size_t u = reader->first_use[field]; u < reader->first_use[field + 1]; ++u) {
        nof1_rc_value rc =
            nof1_cells_put(reader->cells, &reader->use[u], data, length, reader->error);
        if (rc != NOF1_OK) {
            locate(reader, rc, field);
            return;
        }
    }
}

static void on_row(int terminator, void *context)
{
    (void)terminator;
    struct reader *reader = context;
    size_t fields = reader->field;
    reader->field = 0;
    if (reader->rc != NOF1_OK) {
        return;
    }
    nof1_rc_value rc = NOF1_OK;
    if (fields < reader->columns) {
        rc = nof1_fail(reader->error, NOF1_E_INPUT,
                       "%zu cells found, %zu expected as in the header", fields, reader->columns);
    } else {
        rc = nof1_cells_row(reader->cells, reader->cursor.line, reader->error);
    }
    if (rc != NOF1_OK) {
        locate(reader, rc, 0);
    }
}

static nof1_rc parse_failed(struct csv_parser *parser, struct reader *reader, size_t at)
{
    if (csv_error(parser) != CSV_EPARSE) {
        return NOF1_E_NO_MEMORY;
    }
    /* the place: the cell that holds the byte, as the cursor sees it */
    struct nof1_csv_cursor cursor = {.text = reader->text};
    while (nof1_csv_next(&cursor) && cursor.next < at) {
    }
    return nof1_fail_at(reader->error, NOF1_E_INPUT, reader->file, cursor.line, 0,
                        "a quote in the wrong place; quote the whole cell and write a quote "
                        "inside it twice (RFC 4180)");
}

/* Feed text[from ...] to libcsv. */
static nof1_rc parse(struct reader *reader, size_t from)
{
    struct csv_parser parser;
    ENSURE(csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) == 0,
           NOF1_E_NO_MEMORY);
    csv_set_delim(&parser, (unsigned char)reader->separator);
    nof1_rc_value rc = NOF1_OK;
    size_t at = from;
    while (at < reader->text.length && rc == NOF1_OK && reader->rc == NOF1_OK) {
        size_t left = reader->text.length - at;
        size_t part = left < CHUNK ? left : CHUNK;
        size_t done = csv_parse(&parser, reader->text.data + at, part, on_cell, on_row, reader);
        at += done;
        if (done != part && reader->rc == NOF1_OK) {
            rc = parse_failed(&parser, reader, at);
        }
    }
    if (rc == NOF1_OK && reader->rc == NOF1_OK && csv_fini(&parser, on_cell, on_row, reader) != 0) {
        rc = parse_failed(&parser, reader, at);
    }
    csv_free(&parser);
    return rc != NOF1_OK ? rc : reader->rc;
}

struct header {
    struct nof1_arena *arena;
    const char **name;
    size_t columns;
    bool full;
};

static void on_name(void *data, size_t length, void *context)
{
    struct header *header = context;
    char *copy = nof1_arena_alloc(header->arena, length + 1, 1);
    if (copy == NULL || header->columns == NOF1_CSV_MOST_COLUMNS) {
        header->full = true;
        return;
    }
    if (length > 0) {
        memcpy(copy, data, length);
    }
    header->name[header->columns++] = copy;
}

static void on_header_end(int terminator, void *context)
{
    (void)terminator;
    (void)context;
}

/* Read the first record; cursor is left at its end. */
static nof1_rc read_header(struct header *header, struct nof1_csv_cursor *cursor, const char *file,
                           char separator, struct nof1_error *error)
{
    if (!nof1_csv_next(cursor)) {
        return nof1_fail_at(error, NOF1_E_INPUT, file, 1, 1,
                            "the file is empty; a header line with column names expected");
    }
    header->name = nof1_arena_alloc(header->arena, NOF1_CSV_MOST_COLUMNS, sizeof *header->name);
    ENSURE(header->name != NULL, NOF1_E_NO_MEMORY);
    struct csv_parser parser;
    ENSURE(csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) == 0,
           NOF1_E_NO_MEMORY);
    csv_set_delim(&parser, (unsigned char)separator);
    size_t length = cursor->next - cursor->start;
    bool good = csv_parse(&parser, cursor->text.data + cursor->start, length, on_name,
                          on_header_end, header) == length &&
                csv_fini(&parser, on_name, on_header_end, header) == 0;
    csv_free(&parser);
    if (!good || header->full) {
        return nof1_fail_at(error, NOF1_E_INPUT, file, cursor->line, 1,
                            "the header line cannot be read: a quote in the wrong place, or more "
                            "than %u columns",
                            NOF1_CSV_MOST_COLUMNS);
    }
    return NOF1_OK;
}

nof1_rc_value nof1_csv_header(const char *const **out, size_t *columns, struct nof1_arena *arena,
                              const char *file, struct nof1_slice bytes, struct nof1_error *error)
{
    struct nof1_csv_cursor cursor = {.text = bytes};
    TRY(nof1_csv_check(&cursor.text, file, bytes, error));
    struct header header = {.arena = arena};
    TRY(read_header(&header, &cursor, file, nof1_csv_separator(cursor.text), error));
    *out = header.name;
    *columns = header.columns;
    return NOF1_OK;
}

/* A mapped column must be in the header once. */
static nof1_rc add_use(struct reader *reader, const struct header *header, size_t *uses,
                       const char *column, enum nof1_meaning meaning, size_t index)
{
    if (column == NULL) {
        return NOF1_OK;
    }
    size_t times = 0;
    for (size_t c = 0; c < header->columns; ++c) {
        if (strcmp(header->name[c], column) == 0) {
            reader->first_use[c] += 1; /* counts; offsets below */
            ++times;
        }
    }
    if (times != 1) {
        return nof1_fail_at(reader->error, NOF1_E_INPUT, reader->file, reader->cursor.line, 1,
                            times == 0 ? "column '%s' is missing"
                                       : "column '%s' is in the header more than once; rename one",
                            column);
    }
    reader->use[(*uses)++] = (struct nof1_use){column, meaning, index};
    return NOF1_OK;
}

/* Order the uses by column. */
static nof1_rc order_uses(struct reader *reader, const struct header *header, size_t uses,
                          struct nof1_arena *arena)
{
    struct nof1_use *ordered = nof1_arena_alloc(arena, uses + 1, sizeof *ordered);
    ENSURE(ordered != NULL, NOF1_E_NO_MEMORY);
    size_t at = 0;
    for (size_t c = 0; c < header->columns; ++c) {
        reader->first_use[c] = at;
        for (size_t u = 0; u < uses; ++u) {
            if (strcmp(reader->use[u].column, header->name[c]) == 0) {
                ordered[at++] = reader->use[u];
            }
        }
    }
    reader->first_use[header->columns] = at;
    reader->use = ordered;
    return NOF1_OK;
}

static nof1_rc bind_columns(struct reader *reader, const struct header *header,
                            const struct nof1_map *map, struct nof1_arena *arena)
{
    const char *const plain[] = {map->trial, map->patient,   map->cycle, map->period,
                                 map->time,  map->treatment, map->phase};
    size_t most = OTHER_COLUMNS + 2 * map->outcomes + map->covariates;
    size_t uses = 0;
    reader->columns = header->columns;
    reader->first_use = nof1_arena_alloc(arena, header->columns + 1, sizeof *reader->first_use);
    reader->use = nof1_arena_alloc(arena, most, sizeof *reader->use);
    ENSURE(reader->first_use != NULL && reader->use != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < sizeof plain / sizeof plain[0]; ++k) {
        TRY(add_use(reader, header, &uses, plain[k], (enum nof1_meaning)k, 0));
    }
    for (size_t k = 0; k < map->outcomes; ++k) {
        const struct nof1_map_outcome *outcome = &map->outcome[k];
        TRY(add_use(reader, header, &uses, outcome->column, NOF1_MEANS_OUTCOME, k));
        TRY(add_use(reader, header, &uses, outcome->variance, NOF1_MEANS_VARIANCE, k));
    }
    for (size_t k = 0; k < map->covariates; ++k) {
        TRY(add_use(reader, header, &uses, map->covariate[k].column, NOF1_MEANS_COVARIATE, k));
    }
    return order_uses(reader, header, uses, arena);
}

/* The builder for a bound map. */
static nof1_rc new_cells(struct nof1_cells **out, const struct nof1_map *map, const char *file,
                         bool decimal_comma, struct nof1_arena *arena)
{
    struct nof1_table_outcome *outcome =
        nof1_arena_alloc(arena, map->outcomes + 1, sizeof *outcome);
    const char **covariate = nof1_arena_alloc(arena, map->covariates + 1, sizeof *covariate);
    ENSURE(outcome != NULL && covariate != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < map->outcomes; ++k) {
        outcome[k].name = map->outcome[k].name;
        outcome[k].kind = map->outcome[k].kind;
    }
    for (size_t k = 0; k < map->covariates; ++k) {
        covariate[k] = map->covariate[k].name;
    }
    return nof1_cells_new(out, file, map->outcomes, outcome, map->covariates, covariate,
                          decimal_comma);
}

nof1_rc_value nof1_csv_read(struct nof1_table **out, const struct nof1_map *map, const char *file,
                            struct nof1_slice bytes, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_cells_freep) struct nof1_cells *cells = NULL;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    struct reader reader = {.file = file, .error = error, .rc = NOF1_OK};
    struct header header = {.arena = arena};
    const struct nof1_map *bound;
    if (error != NULL) {
        *error = (struct nof1_error){.rc = NOF1_OK};
    }
    TRY(nof1_csv_check(&reader.text, file, bytes, error));
    reader.separator = nof1_csv_separator(reader.text);
    reader.cursor.text = reader.text;
    TRY(read_header(&header, &reader.cursor, file, reader.separator, error));
    TRY(nof1_map_bind(&bound, arena, map, file, header.columns, header.name, error));
    TRY(bind_columns(&reader, &header, bound, arena));
    TRY(new_cells(&cells, bound, file, reader.separator == ';', arena));
    reader.cells = cells;
    TRY(parse(&reader, reader.cursor.next));
    nof1_rc_value rc = nof1_cells_table(out, &cells, error);
    if (rc == NOF1_E_INPUT && error != NULL) {
        struct nof1_error found = *error;
        rc = nof1_fail_at(error, rc, file, found.line, 0, "%s", found.message);
    }
    return rc;
}

nof1_rc_value nof1_csv_load(struct nof1_table **out, const struct nof1_map *map, const char *path,
                            struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    TRY(nof1_file_read(&bytes, path, NOF1_CSV_MOST_BYTES, error));
    return nof1_csv_read(out, map, path, nof1_buffer_slice(&bytes), error);
}
