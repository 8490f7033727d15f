/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small cells of count tables that leave the consortium (docs/protocol.md, "Tables": min_cell,
 * rounding, E2401, E2402).
 */
#ifndef NOF1_STATS_CELLS_H
#define NOF1_STATS_CELLS_H

#include <jansson.h>
#include <stdbool.h>
#include <nof1/error.h>
#include <nof1/study.h>

/* Which of n cells with a known sum, counts[0], counts[stride], ..., must not be shown: code[i] is
 * "E2401" for those below min_cell; "E2402" for the smallest others, as many as it takes until the
 * sum and the codes leave every hidden cell more than one value (empty cells last); else NULL.
 * Empty cells and an open lab hide nothing by themselves. */
void nof1_cells_suppress(const char **code, const struct nof1_limits *limits, const double *counts,
                         size_t stride, size_t n);
/* A count as it may be shown: rounded outside an open lab. */
double nof1_cells_rounded(const struct nof1_limits *limits, double count);

/* The p quantile of a histogram with `bins` bins of equal width from `first` on, by straight lines
 * through its cumulative counts; NAN when it is empty or the quantile lies in a hidden bin. */
double nof1_cells_quantile(const double *bin, const bool *hidden, size_t bins, double first,
                           double width, double p);
/* What a bin counts in a quantile: the number shown, and half of min_cell where it is hidden. */
double nof1_cells_bin(const struct nof1_limits *limits, const json_t *shown);
/* The number of trials left out as it may be shown: 0, or rounded; NAN: fewer than min_cell. */
double nof1_cells_left_out(const struct nof1_limits *limits, uint64_t left_out);

/* The gate before a result is stored, and for an auditor who has it. A pure function of the result,
 * `privacy` included, and the limits. It refuses
 *   - a table of counts, `counts: {down: [COLUMN ...], across: [COLUMN ...], n: [COLUMN ...]}`,
 * with a count from 1 to min_cell - 1, one that is not rounded, a hidden one that its sum gives
 * away, or a mean of a hidden cell. `down`: one sum a column; `across`: one sum a row over these
 * columns; `n`: as down, of numbers analysed, which are not rounded. An analysis that publishes
 * counts
 *     (`must_name`) names them in each of its tables;
 *   - a histogram that is small, unrounded or tells a hidden bin, and quantiles that are not those
 * of the histogram as shown;
 *   - in any object at any depth: the name of a patient, a minimum, a maximum; 1 to
 *     min_class_patients - 1 patients or trials (of a census: to min_element_sites - 1, never one),
 *     fewer sites than min_element_sites; 1 to min_cell - 1 missing or left out (rounded), also in
 * the sentence of a warning; a number of one site other than its traffic; a share of patients with
 *     fewer than min_cell on either side.
 * Noisy counts, marked by `noise`, describe nobody. Other numbers keep their digits: they are
 * functions of totals that every roster site has, and which the rules on totals limit. Errors:
 * NOF1_E2401, NOF1_E2402 with the place; NOF1_E_BUG for a table that names no counts. */
nof1_rc nof1_cells_gate(const json_t *result, const struct nof1_limits *limits, bool must_name,
                        struct nof1_error *error);

#endif
