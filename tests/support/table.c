/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * See table.h.
 */
#include "table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void table_fault(const char *what, const char *detail)
{
    fprintf(stderr, "fixture: %s: %s\n", what, detail);
    abort();
}

static char *next_cell(char **cursor, char *end_of_cell)
{
    char *start = *cursor;
    size_t length = strcspn(start, ",\n\r");
    *end_of_cell = start[length];
    start[length] = '\0';
    *cursor = start + length + 1;
    if (length >= 2 && start[0] == '"' && start[length - 1] == '"') {
        start[length - 1] = '\0';
        start++;
    }
    return start;
}

void table_read(struct table *t, const char *csv)
{
    char *text = nof1_arena_text(t->arena, csv);
    size_t lines = 1, commas = 1;
    for (const char *c = text; *c != '\0'; c++) {
        lines += *c == '\n';
        commas += *c == ',';
    }
    t->name = nof1_arena_alloc(t->arena, commas + lines, sizeof *t->name);
    t->cell = nof1_arena_alloc(t->arena, commas + lines, sizeof *t->cell);
    char end = ',';
    while (end == ',') {
        t->name[t->columns++] = next_cell(&text, &end);
    }
    while (*text != '\0') {
        for (size_t c = 0; c < t->columns; c++) {
            t->cell[t->rows * t->columns + c] = next_cell(&text, &end);
            if ((end == ',') != (c + 1 < t->columns)) {
                table_fault("wrong number of cells", t->cell[t->rows * t->columns]);
            }
        }
        t->rows++;
        if (end == '\0') {
            break;
        }
    }
}

size_t table_column(const struct table *t, const char *name)
{
    for (size_t c = 0; c < t->columns; c++) {
        if (strcmp(t->name[c], name) == 0) {
            return c;
        }
    }
    return SIZE_MAX;
}

const char *table_cell(const struct table *t, size_t row, size_t column)
{
    return t->cell[row * t->columns + column];
}

bool table_missing(const char *text)
{
    return text[0] == '\0' || strcmp(text, "NA") == 0;
}

double table_number(const struct table *t, size_t row, size_t column)
{
    if (column == SIZE_MAX || table_missing(table_cell(t, row, column))) {
        return NAN;
    }
    char *end;
    double value = strtod(table_cell(t, row, column), &end);
    if (*end != '\0') {
        table_fault("not a number", table_cell(t, row, column));
    }
    return value;
}

int32_t table_integer(const struct table *t, size_t row, size_t column)
{
    double value = table_number(t, row, column);
    return isnan(value) ? 0 : (int32_t)value;
}

bool table_is_numeric(const struct table *t, size_t column)
{
    for (size_t r = 0; r < t->rows; r++) {
        char *end;
        (void)strtod(table_cell(t, r, column), &end);
        if (!table_missing(table_cell(t, r, column)) && *end != '\0') {
            return false;
        }
    }
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **table_levels(const struct table *t, size_t column, size_t *count)
{
    const char **level = nof1_arena_alloc(t->arena, t->rows + 1, sizeof *level);
    size_t n = 0;
    for (size_t r = 0; r < t->rows; r++) {
        if (!table_missing(table_cell(t, r, column))) {
            level[n++] = table_cell(t, r, column);
        }
    }
    qsort(level, n, sizeof *level, by_text);
    size_t unique = 0;
    for (size_t i = 0; i < n; i++) {
        if (unique == 0 || strcmp(level[unique - 1], level[i]) != 0) {
            level[unique++] = level[i];
        }
    }
    *count = unique;
    return level;
}

double table_level(const char *const *level, size_t levels, const char *text)
{
    for (size_t i = 0; i < levels; i++) {
        if (strcmp(level[i], text) == 0) {
            return (double)i;
        }
    }
    return NAN;
}
