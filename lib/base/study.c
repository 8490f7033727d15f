/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The accessors of public study documents that analyses call (include/nof1/study.h).
 */
#include <nof1/study.h>

#include <math.h>
#include <string.h>

uint32_t nof1_plan_block_epoch(const struct nof1_plan *plan, size_t place)
{
    return plan->block_epoch == NULL ? plan->epoch : plan->block_epoch[place];
}

uint64_t nof1_census_count(const struct nof1_study *study, const char *element)
{
    const struct nof1_census *census = study->census;
    if (census == NULL) {
        return 0;
    }
    size_t e = 0;
    while (e < census->elements && strcmp(census->element[e], element) != 0) {
        e++;
    }
    if (e == census->elements) {
        return 0;
    }
    /* A plan whose roster is not chosen yet may still use every block. */
    bool all = study->plan == NULL || study->plan->blocks == 0;
    size_t blocks = all ? census->blocks : study->plan->blocks;
    uint64_t sum = 0;
    for (size_t b = 0; b < blocks; b++) {
        size_t block = all ? b : study->plan->block[b];
        if (block < census->blocks) {
            sum += census->count[block * census->elements + e];
        }
    }
    return sum;
}

double nof1_study_room(const struct nof1_study *study, double patients)
{
    const struct nof1_charter *charter = study->charter;
    const struct nof1_limits *limits = &charter->limits;
    double largest = 0.0;
    for (size_t s = 0; s < charter->sites; s++) {
        largest = fmax(largest, (double)charter->site[s].patient_cap);
    }
    double share = limits->max_site_share > 0.0 ? limits->max_site_share : 1.0;
    double others = patients - fmin(largest, share * patients);
    double room = limits->max_release_ratio * patients;
    return limits->max_net_ratio > 0.0 ? fmin(room, limits->max_net_ratio * others) : room;
}
