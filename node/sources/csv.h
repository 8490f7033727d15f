/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Hospital tables as CSV (RFC 4180, read with libcsv): header line, UTF-8 with or without BOM, ','
 * or ';' (judged from the header), decimal point or comma, empty or NA = missing. Errors name file,
 * line, column, what was found and what was expected; nothing is half-loaded.
 */
#ifndef NOF1_SOURCES_CSV_H
#define NOF1_SOURCES_CSV_H

#include <core/map.h>
#include <node/sources/table.h>

#define NOF1_CSV_MOST_BYTES ((size_t)2 << 30)
#define NOF1_CSV_MOST_COLUMNS 4096u
#define NOF1_CSV_MOST_FIELD 65536u /* bytes of one cell */

/* The header's names. Errors: NOF1_E_INPUT. */
nof1_rc nof1_csv_header(const char *const **out, size_t *columns, struct nof1_arena *arena,
                        const char *file, struct nof1_slice bytes, struct nof1_error *error);
/* Read a whole table from memory. `map` as read (not bound). Free with nof1_table_free.
 * Errors: NOF1_E_INPUT with file, line, column (in bytes). */
nof1_rc nof1_csv_read(struct nof1_table **out, const struct nof1_map *map, const char *file,
                      struct nof1_slice bytes, struct nof1_error *error);
/* The same from a file. Errors: also NOF1_E_INPUT when it is missing or too large. */
nof1_rc nof1_csv_load(struct nof1_table **out, const struct nof1_map *map, const char *path,
                      struct nof1_error *error);

#endif
