/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small cells: see cells.h.
 */
#include <stats/cells.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* What the code of a hidden cell tells of its count. */
static void range_of(double *low, double *high, const char *code, double count, double least)
{
    bool small = strcmp(code, "E2401") == 0;
    *low = small ? 1.0 : count == 0.0 ? 0.0 : least;
    *high = small ? least - 1.0 : INFINITY;
}

/* Does the sum of the hidden cells, which all know, leave one of them a single value? */
static bool told(const char *const *code, double least, const double *counts, size_t stride,
                 size_t n)
{
    double sum = 0.0, lows = 0.0, highs = 0.0, low, high;
    size_t endless = 0;
    for (size_t i = 0; i < n; i++) {
        if (code[i] != NULL) {
            range_of(&low, &high, code[i], counts[i * stride], least);
            sum += counts[i * stride];
            lows += low;
            endless += isinf(high) ? 1 : 0;
            highs += isinf(high) ? 0.0 : high;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (code[i] == NULL) {
            continue;
        }
        range_of(&low, &high, code[i], counts[i * stride], least);
        bool bounded = endless == (isinf(high) ? 1 : 0); /* do the others have an upper bound? */
        double others = highs - (isinf(high) ? 0.0 : high);
        double from = bounded ? fmax(low, sum - others) : low;
        if (fmin(high, sum - (lows - low)) <= from) {
            return true;
        }
    }
    return false;
}

/* The smallest shown cell that is not empty, else an empty one; n: none is left. */
static size_t next_to_hide(const char *const *code, const double *counts, size_t stride, size_t n)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        double count = counts[i * stride], least = best < n ? counts[best * stride] : 0.0;
        if (code[i] == NULL && (best == n || (count > 0.0 && (least == 0.0 || count < least)))) {
            best = i;
        }
    }
    return best;
}

void nof1_cells_suppress(const char **code, const struct nof1_limits *limits, const double *counts,
                         size_t stride, size_t n)
{
    size_t next;
    double least = (double)limits->min_cell;
    for (size_t i = 0; i < n; i++) {
        double count = counts[i * stride];
        code[i] = !limits->open && count != 0.0 && count < least ? "E2401" : NULL;
    }
    while (told(code, least, counts, stride, n) &&
           (next = next_to_hide(code, counts, stride, n)) < n) {
        code[next] = "E2402";
    }
}

double nof1_cells_rounded(const struct nof1_limits *limits, double count)
{
    double step = limits->open || limits->rounding < 2 ? 1.0 : (double)limits->rounding;
    return step * round(count / step);
}

double nof1_cells_bin(const struct nof1_limits *limits, const json_t *shown)
{
    return json_is_number(shown) ? json_number_value(shown) : 0.5 * (double)limits->min_cell;
}

double nof1_cells_quantile(const double *bin, const bool *hidden, size_t bins, double first,
                           double width, double p)
{
    double total = 0.0, below = 0.0;
    for (size_t b = 0; b < bins; b++) {
        total += bin[b];
    }
    for (size_t b = 0; b < bins; b++) {
        if (bin[b] > 0.0 && below + bin[b] >= p * total) {
            return hidden[b] ? NAN : first + width * ((double)b + (p * total - below) / bin[b]);
        }
        below += bin[b];
    }
    return NAN;
}

double nof1_cells_left_out(const struct nof1_limits *limits, uint64_t left_out)
{
    bool few = !limits->open && left_out > 0 && left_out < limits->min_cell;
    return few ? NAN : nof1_cells_rounded(limits, (double)left_out);
}
