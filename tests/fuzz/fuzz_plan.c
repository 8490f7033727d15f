/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as a plan in either form, over the real registry: what is accepted stays within the
 * charter and survives its canonical bytes with the same options.
 */
#include <core/plan.h>

#include "fuzz.h"

static void check_plan(const struct nof1_plan *plan, const struct nof1_charter *charter,
                       struct nof1_arena *arena)
{
    struct nof1_buffer first = {0};
    struct nof1_buffer second = {0};
    const struct nof1_plan *again = NULL;
    struct nof1_error error = {0};
    HOLDS(strcmp(plan->analysis, NOF1_CENSUS_ANALYSIS) == 0 || plan->outcome < charter->outcomes);
    HOLDS(plan->reference < charter->treatments && plan->active < charter->treatments);
    HOLDS(plan->reference != plan->active);
    HOLDS(nof1_plan_canonical(&first, plan, charter) == NOF1_OK);
    nof1_rc_value rc = nof1_plan_read(&again, arena, charter, nof1_buffer_slice(&first), &error);
    HOLDS(rc == NOF1_OK);
    HOLDS(again->options->items == plan->options->items);
    HOLDS(nof1_plan_canonical(&second, again, charter) == NOF1_OK);
    HOLDS(nof1_slice_equal(nof1_buffer_slice(&first), nof1_buffer_slice(&second)));
    nof1_buffer_free(&first);
    nof1_buffer_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_charter *charter = small_charter(arena);
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_plan *plan = NULL;
    struct nof1_slice bytes = nof1_slice_of(data, size);
    nof1_rc_value rc = nof1_yaml_read(&node, arena, "f", bytes, &error);
    if (rc == NOF1_OK) {
        rc = nof1_plan_from_yaml(&plan, arena, node, charter, &error);
    }
    if (rc == NOF1_OK) {
        check_plan(plan, charter, arena);
    } else {
        check_refusal(rc, &error);
        HOLDS(plan == NULL);
    }
    rc = nof1_plan_read(&plan, arena, charter, bytes, &error);
    if (rc == NOF1_OK) {
        check_plan(plan, charter, arena);
    } else {
        check_refusal(rc, &error);
    }
    nof1_arena_free(arena);
    return 0;
}
