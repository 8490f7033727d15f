/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as a policy: what is accepted is nowhere looser than its floor, unless it is the lab's.
 */
#include <core/policy.h>

#include "fuzz.h"

static void check_limits(const struct nof1_limits *limits)
{
    struct nof1_limits standard;
    struct nof1_limits both;
    HOLDS(nof1_policy_preset(&standard, "standard") == NOF1_OK);
    nof1_policy_stricter(&both, limits, &standard);
    HOLDS(!both.open);
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; row++) {
        double sign = row->larger_is_stricter ? 1 : -1;
        double value = nof1_limit_get(limits, row);
        HOLDS(limits->open || sign * value >= sign * row->floor);
        HOLDS(sign * nof1_limit_get(&both, row) >= sign * value);
        HOLDS(sign * nof1_limit_get(&both, row) >= sign * nof1_limit_get(&standard, row));
    }
    HOLDS(limits->open || limits->min_sites >= limits->assumed_colluders + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    struct nof1_limits limits;
    nof1_rc_value rc = nof1_yaml_read(&node, arena, "f", nof1_slice_of(data, size), &error);
    if (rc == NOF1_OK) {
        rc = nof1_policy_read(&limits, node, &error);
    }
    if (rc == NOF1_OK) {
        check_limits(&limits);
    } else {
        check_refusal(rc, &error);
    }
    nof1_arena_free(arena);
    return 0;
}
