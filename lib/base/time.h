/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * UTC time as text and as seconds since 1970-01-01 (proleptic Gregorian calendar, no leap seconds).
 * Reads no clock and no time zone.
 */
#ifndef NOF1_BASE_TIME_H
#define NOF1_BASE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#define NOF1_TIME_TEXT 21 /* "2026-05-01T12:00:00Z" and the final NUL */

/* Read "YYYY-MM-DDTHH:MM:SSZ" or "YYYY-MM-DD" (midnight), years 1 to 9999. False otherwise. */
bool nof1_time_read(int64_t *seconds, const char *text);
/* Write "YYYY-MM-DDTHH:MM:SSZ". Seconds outside years 1 to 9999 are clamped to them. */
void nof1_time_text(char out[NOF1_TIME_TEXT], int64_t seconds);
/* Read exactly "YYYY-MM-DD" as days since 1970-01-01. False otherwise. */
bool nof1_date_read(int64_t *days, const char *text);

#endif
