/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Numbers as text, and results as JSON for people and programs (never hashed: see document.h for
 * the canonical form). Independent of the process' locale.
 */
#ifndef NOF1_BASE_JSON_H
#define NOF1_BASE_JSON_H

#include <jansson.h>
#include <nof1/slice.h>

#define NOF1_DOUBLE_TEXT 32

/* The shortest decimal text that reads back as the same double. "null" when not finite. */
void nof1_double_short(char out[NOF1_DOUBLE_TEXT], double value);
/* Read a decimal number: [+-] digits [. digits] [e [+-] digits], the whole text, finite. Returns
 * false otherwise (no hex, no inf, no nan, no blanks). */
bool nof1_double_read(double *out, const char *text);
/* 16 hex digits (lower case): IEEE 754 binary64, big-endian; and back. */
void nof1_double_hex(char out[17], double value);
bool nof1_double_unhex(double *out, const char *text);

/* A JSON real, or null when the value is not finite. New reference. */
json_t *nof1_json_number(double value);
/* Append `value` with 17 significant digits; indented by two when pretty. Keys keep their order.
 * Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_json_write(struct nof1_buffer *out, const json_t *value, bool pretty);
/* For NOF1_CLEANUP. */
void nof1_json_freep(json_t **value);

#endif
