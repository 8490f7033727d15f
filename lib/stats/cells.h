/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small cells of count tables that leave the consortium (docs/protocol.md, "Policy": min_cell,
 * rounding, E2401, E2402).
 */
#ifndef NOF1_STATS_CELLS_H
#define NOF1_STATS_CELLS_H

#include <nof1/study.h>

/* Which of n cells, counts[0], counts[stride], ..., must not be shown: code[i] is "E2401" for those
 * below min_cell, and "E2402" for the smallest other one when only one is hidden, because the
 * margin would give it away; else NULL. Empty cells and an open lab hide nothing. */
void nof1_cells_suppress(const char **code, const struct nof1_limits *limits, const double *counts,
                         size_t stride, size_t n);
/* A count as it may be shown: rounded outside an open lab. */
double nof1_cells_rounded(const struct nof1_limits *limits, double count);

#endif
