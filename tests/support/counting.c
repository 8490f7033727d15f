/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * See counting.h.
 */
#include "counting.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static bool fits(const struct counting *c, const int *cell)
{
    for (size_t j = 0; j < c->functions; j++) {
        double sum = 0;
        for (size_t t = 0; t < c->totals; t++) {
            sum += cell[t] * c->value[t][j];
        }
        if (fabs(sum - c->sum[j]) > 1e-9) {
            return false;
        }
    }
    return true;
}

static void note(struct counting *c, const int *cell)
{
    for (size_t t = 0; t < c->totals; t++) {
        c->least[t] = c->found == 0 || cell[t] < c->least[t] ? cell[t] : c->least[t];
        c->first[t] = c->found == 0 ? cell[t] : c->first[t];
    }
    c->found++;
}

void test_counting(struct counting *c, int patients)
{
    int cell[COUNTING_TOTALS] = {0};
    c->found = 0;
    cell[c->totals - 1] = patients;
    for (;;) { /* in lexicographic order */
        if (fits(c, cell)) {
            note(c, cell);
        }
        size_t last = c->totals - 1;
        while (last > 0 && cell[last] == 0) {
            last--;
        }
        if (last == 0) {
            return;
        }
        int rest = cell[last] - 1;
        cell[last] = 0;
        cell[last - 1]++;
        cell[c->totals - 1] = rest;
    }
}
