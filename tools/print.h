/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A result for people: laid out like the prints of metafor and lme4, then what was released, then
 * what to do next. Programs read the JSON instead.
 */
#ifndef NOF1_TOOLS_PRINT_H
#define NOF1_TOOLS_PRINT_H

#include <jansson.h>
#include <nof1/slice.h>

/* Append the text of a coordinator's final object: a result or {"refusal": ...}. next: a command to
 * try next, or NULL. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_print_result(struct nof1_buffer *out, const json_t *result, const char *next);

#endif
