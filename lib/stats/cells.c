/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small cells: see cells.h.
 */
#include <stats/cells.h>

#include <math.h>

void nof1_cells_suppress(const char **code, const struct nof1_limits *limits, const double *counts,
                         size_t stride, size_t n)
{
    size_t hidden = 0;
    size_t second = n;
    for (size_t i = 0; i < n; i++) {
        double count = counts[i * stride];
        code[i] = NULL;
        if (limits->open || count == 0.0) {
            continue;
        }
        if (count < (double)limits->min_cell) {
            code[i] = "E2401";
            hidden++;
        } else if (second == n || count < counts[second * stride]) {
            second = i;
        }
    }
    if (hidden == 1 && second < n) {
        code[second] = "E2402";
    }
}

double nof1_cells_rounded(const struct nof1_limits *limits, double count)
{
    double step = limits->open || limits->rounding < 2 ? 1.0 : (double)limits->rounding;
    return step * round(count / step);
}
