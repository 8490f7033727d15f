/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Typed reads of a plan's options, against the bounds and choices of the analysis' own table, so
 * that a refusal names the key and what would work. A missing option has its documented default.
 */
#ifndef NOF1_STATS_OPTIONS_H
#define NOF1_STATS_OPTIONS_H

#include <base/document.h>
#include <nof1/analysis.h>

/* A number within the option's bounds. Errors: NOF1_E_PLAN. */
nof1_rc nof1_option_number(double *out, const struct nof1_analysis *analysis,
                           const struct nof1_node *options, const char *key,
                           struct nof1_error *error);
/* A whole number within the option's bounds. Errors: NOF1_E_PLAN. */
nof1_rc nof1_option_count(size_t *out, const struct nof1_analysis *analysis,
                          const struct nof1_node *options, const char *key,
                          struct nof1_error *error);
/* The index of the word among the option's choices "a|b|c". Errors: NOF1_E_PLAN. */
nof1_rc nof1_option_choice(size_t *out, const struct nof1_analysis *analysis,
                           const struct nof1_node *options, const char *key,
                           struct nof1_error *error);
/* The chosen word itself, one of the option's choices. Errors: NOF1_E_PLAN. */
nof1_rc nof1_option_word(const char **out, const struct nof1_analysis *analysis,
                         const struct nof1_node *options, const char *key,
                         struct nof1_error *error);
/* A list of at most `most` numbers within the option's bounds; *count of them are written to `out`.
 * Errors: NOF1_E_PLAN. */
nof1_rc nof1_option_numbers(double *out, size_t *count, size_t most,
                            const struct nof1_analysis *analysis, const struct nof1_node *options,
                            const char *key, struct nof1_error *error);

#endif
