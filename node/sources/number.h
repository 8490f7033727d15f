/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Numbers as hospitals write them: decimal point or, where the file says so, decimal comma.
 * Correctly rounded: an exact fast path (Clinger 1990: mantissa below 2^53, power of ten up to 22),
 * else the C library through base/json.h.
 */
#ifndef NOF1_SOURCES_NUMBER_H
#define NOF1_SOURCES_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nof1_number {
    double value;
    uint8_t
        decimals; /* digits after the decimal sign, at most 255; 255 when an exponent is given */
    char sign;    /* the decimal sign seen: '.', ',' or 0 */
};

/* Read the whole text: [+-] digits [sign digits] [e [+-] digits]; both signs are accepted here, the
 * caller decides which one the file uses. False when it is not a finite number. */
bool nof1_number_read(struct nof1_number *out, const char *text, size_t length);
/* Read a whole number of at least 1 that fits 32 bits ("3", also "3.0"). */
bool nof1_ordinal_read(int32_t *out, const char *text, size_t length);

#endif
