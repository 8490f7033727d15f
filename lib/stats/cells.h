/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small cells of count tables that leave the consortium (docs/protocol.md, "Policy": min_cell,
 * rounding, E2401, E2402).
 */
#ifndef NOF1_STATS_CELLS_H
#define NOF1_STATS_CELLS_H

#include <jansson.h>
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

/* The gate before a result is stored, and for an auditor who has it: every table that names columns
 * of counts with known sums, `counts: {down: [COLUMN ...], across: [COLUMN ...], n: [COLUMN ...]}`,
 * holds no count from 1 to min_cell - 1, none that is not rounded, and no hidden one that its
 * sum gives away. `down`: one sum a column; `across`: one sum a row over these columns; `n`: as
 * down, of numbers analysed, which are not rounded. An analysis that publishes counts
 * (`must_name`) names them in each of its tables. No object anywhere names a patient, or counts 1 to
 * min_element_sites - 1 (and never one) patients, trials or sites, whatever made it; noisy counts,
 * marked by `noise`, apart. Pure.
 * Errors: NOF1_E2401, NOF1_E2402 with table and column; NOF1_E_BUG for a table that names none. */
nof1_rc nof1_cells_gate(const json_t *result, const struct nof1_limits *limits, bool must_name,
                        struct nof1_error *error);

#endif
