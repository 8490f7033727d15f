/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Counting out: lists every histogram of n patients over a few totals whose exact sums of functions
 * are those released. For the attacks and for the rule that they rest on.
 */
#ifndef NOF1_TEST_COUNTING_H
#define NOF1_TEST_COUNTING_H

#include <stddef.h>

#define COUNTING_TOTALS 16
#define COUNTING_FUNCTIONS 8

struct counting {
    size_t totals, functions;
    double value[COUNTING_TOTALS][COUNTING_FUNCTIONS]; /* the first function: the total itself */
    double sum[COUNTING_FUNCTIONS];
    size_t found;                  /* histograms with these sums */
    int first[COUNTING_TOTALS];    /* one of them */
    int least[COUNTING_TOTALS];    /* in all of them */
};

void test_counting(struct counting *c, int patients);

#endif
