/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The release ratio (docs/protocol.md, E2301): how many outcome numbers a plan releases about a
 * group of patients, over the numbers those patients hold. Integers only, in billionths, rounded
 * up, so that every site decides alike.
 */
#ifndef NOF1_CORE_RATIO_H
#define NOF1_CORE_RATIO_H

#include <core/opening.h>

#define NOF1_RATIO_UNIT UINT64_C(1000000000)
/* "No patients to hide among": larger than any limit, small enough to be added without overflow. */
#define NOF1_RATIO_NONE UINT64_C(1000000000000000)

/* Outcome numbers of one block of the per-trial statistic that one group (-1: all) feeds, over all
 * rounds of the plan: rounds are charged up front. */
struct nof1_load {
    uint16_t block, block_size;
    int group;
    uint64_t scalars;
};

struct nof1_loads {
    size_t count;
    const struct nof1_load *load;
};

nof1_rc nof1_loads_of(struct nof1_loads *out, struct nof1_arena *arena,
                      const struct nof1_model *model);

/* scalars / (block_size * patients) in billionths, rounded up; NOF1_RATIO_NONE without patients. */
uint64_t nof1_ratio(uint64_t scalars, uint64_t block_size, uint64_t patients);
/* The largest ratio over blocks and groups, of patients[] minus own[] (own NULL: nobody's). A group
 * without any patient has no ratio. patients has groups entries, all is everybody. */
uint64_t nof1_ratio_groups(const struct nof1_loads *loads, size_t groups, uint64_t all,
                           const uint64_t *patients, uint64_t own_all, const uint64_t *own);
/* The ratio on so many patients of one atom of round 0: every number of a block may be about them
 * alone, but for sums of groups that use none of them. */
uint64_t nof1_ratio_atom(const struct nof1_loads *loads, const struct nof1_opening *opening,
                         const double *total, size_t atom, uint64_t patients);
/* A policy limit in billionths, nearest. */
uint64_t nof1_ratio_limit(double limit);

#endif
