/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bytes as lower-case hexadecimal text, in records, evidence and keys of the store.
 */
#ifndef NOF1_BASE_HEX_H
#define NOF1_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* Writes 2 * length digits and a NUL. */
void nof1_hex_text(char *out, const uint8_t *bytes, size_t length);
/* false unless `text` is exactly 2 * length lower-case digits. */
bool nof1_hex_read(uint8_t *out, size_t length, const char *text);
/* A new string; NULL: no memory. */
json_t *nof1_hex_json(const uint8_t *bytes, size_t length);

#endif
