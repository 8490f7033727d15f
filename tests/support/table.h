/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A fixture's CSV as cells of text. For fixtures, so every fault aborts; what users' files go
 * through is node/sources/.
 */
#ifndef NOF1_TESTS_TABLE_H
#define NOF1_TESTS_TABLE_H

#include <nof1/slice.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table {
    struct nof1_arena *arena;
    size_t columns, rows;
    char **name;
    char **cell; /* [row * columns + column] */
};

/* Say what is wrong with the fixture, and abort. */
void table_fault(const char *what, const char *detail);
/* Read `csv` into `t`, whose arena is set. */
void table_read(struct table *t, const char *csv);
/* SIZE_MAX: there is no such column. */
size_t table_column(const struct table *t, const char *name);
const char *table_cell(const struct table *t, size_t row, size_t column);
/* Empty or NA. */
bool table_missing(const char *text);
/* NAN where missing; also when column is SIZE_MAX. */
double table_number(const struct table *t, size_t row, size_t column);
/* 0 where missing. */
int32_t table_integer(const struct table *t, size_t row, size_t column);
bool table_is_numeric(const struct table *t, size_t column);
/* Distinct values that are not missing, sorted. */
const char **table_levels(const struct table *t, size_t column, size_t *count);
/* The level's index, or NAN. */
double table_level(const char *const *level, size_t levels, const char *text);

#endif
