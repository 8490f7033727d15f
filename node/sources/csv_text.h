/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The text below the cells: encoding, separator, and the places of records for messages. libcsv
 * reports cells without places, so a cursor walks the same bytes one record at a time.
 */
#ifndef NOF1_SOURCES_CSV_TEXT_H
#define NOF1_SOURCES_CSV_TEXT_H

#include <nof1/slice.h>

/* The bytes after a BOM. Errors: NOF1_E_INPUT for NUL, invalid UTF-8 or UTF-16, with line and
 * column. */
nof1_rc nof1_csv_check(struct nof1_slice *out, const char *file, struct nof1_slice bytes,
                       struct nof1_error *error);
/* ',' or ';', whichever the first record has more of; ',' when it has neither. */
char nof1_csv_separator(struct nof1_slice text);

/* Where the next record starts. Zero-initialise all but text; line counts from 1. */
struct nof1_csv_cursor {
    struct nof1_slice text;
    size_t next;    /* first byte not walked yet */
    uint32_t lines; /* line ends walked */
    size_t start;   /* of the current record */
    uint32_t line;  /* of its first byte, 1-based */
};

/* Go to the next record (blank lines are none). False at the end. */
bool nof1_csv_next(struct nof1_csv_cursor *cursor);
/* Line and column of the first byte of field `field` (0-based) of the current record. */
void nof1_csv_place(const struct nof1_csv_cursor *cursor, char separator, size_t field,
                    uint32_t *line, uint32_t *column);

#endif
