/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Counts what the census of an epoch would count in a study made by the loader of pooled.h, and
 * makes one charter class of every combination of rows by treatment and periods that occurs.
 */
#ifndef NOF1_TEST_POOLED_CENSUS_H
#define NOF1_TEST_POOLED_CENSUS_H

#include "pooled.h"

/* Fill s->census and, when `classes`, s->charter.class_ from s->trial. */
void test_pooled_census(struct test_study *s, bool classes, struct nof1_arena *arena);

#endif
