/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Epochs of blocks in documents, and the census that a plan on them rests on: see epochs.h.
 */
#include <core/epochs.h>

#include <string.h>

json_t *nof1_epochs_json(uint32_t epoch, const uint32_t *list, size_t count)
{
    if (list == NULL) {
        return json_integer((json_int_t)epoch);
    }
    json_t *out = json_array();
    for (size_t i = 0; out != NULL && i < count; i++) {
        if (json_array_append_new(out, json_integer((json_int_t)list[i])) != 0) {
            json_decref(out);
            out = NULL;
        }
    }
    return out;
}

void nof1_epochs_even(uint32_t *epoch, const uint32_t **list, size_t count)
{
    bool even = true;
    if (*list == NULL || count == 0) {
        *list = NULL;
        return;
    }
    *epoch = (*list)[0];
    for (size_t i = 0; i < count; i++) {
        even = even && (*list)[i] == (*list)[0];
        *epoch = (*list)[i] > *epoch ? (*list)[i] : *epoch;
    }
    *list = even ? NULL : *list;
}

nof1_rc nof1_epochs_read(const struct reader *reader, uint32_t *epoch, const uint32_t **list,
                         size_t count, const struct nof1_node *map, const char *key, bool uneven)
{
    const struct nof1_node *node = nof1_node_get(map, key);
    *list = NULL;
    if (node == NULL || node->kind != NOF1_LIST) {
        return reader_opt_count(reader, epoch, map, key, 0, UINT32_MAX);
    }
    uint32_t *number = nof1_arena_alloc(reader->arena, count + 1, sizeof *number);
    ENSURE(number != NULL, NOF1_E_NO_MEMORY);
    bool valid = node->items == count && count > 0;
    for (size_t i = 0; valid && i < count; i++) {
        double value = -1;
        valid = !node->item[i].quoted &&
                nof1_scalar_double(&value, &node->item[i], NULL) == NOF1_OK && value >= 0 &&
                value <= UINT32_MAX && value == (double)(uint32_t)value;
        number[i] = valid ? (uint32_t)value : 0;
    }
    *list = number;
    if (valid) {
        nof1_epochs_even(epoch, list, count);
    }
    if (!valid || (uneven && *list == NULL)) {
        return FAIL_AT(reader, node, NOF1_E_INPUT,
                       "%s: expected one number, or one for each block where they differ", key);
    }
    *list = number;
    return NOF1_OK;
}

const char *nof1_epochs_text(struct nof1_arena *arena, uint32_t epoch, const uint32_t *list,
                             size_t count)
{
    const char *text = nof1_arena_printf(arena, "%010u", list == NULL ? epoch : list[0]);
    for (size_t i = 1; text != NULL && list != NULL && i < count; i++) {
        text = nof1_arena_printf(arena, "%s.%010u", text, list[i]);
    }
    return text;
}

uint32_t nof1_census_block_epoch(const struct nof1_census *census, size_t block)
{
    return census->block_epoch == NULL ? census->epoch : census->block_epoch[block];
}

uint32_t nof1_census_last_epoch(const struct nof1_census *list, size_t block)
{
    uint32_t last = 0;
    for (; list != NULL; list = list->earlier) {
        uint32_t epoch = nof1_census_block_epoch(list, block);
        last = epoch > last ? epoch : last;
    }
    return last;
}

static const struct nof1_census *counted(const struct nof1_census *list, size_t block,
                                         uint32_t epoch)
{
    while (list != NULL && nof1_census_block_epoch(list, block) != epoch) {
        list = list->earlier;
    }
    return list;
}

nof1_rc nof1_census_join(const struct nof1_census **out, struct nof1_arena *arena,
                         const struct nof1_census *list, const struct nof1_plan *plan)
{
    *out = list == NULL || plan->blocks == 0
               ? list
               : counted(list, plan->block[0], nof1_plan_block_epoch(plan, 0));
    bool one = true;
    for (size_t i = 0; *out != NULL && i < plan->blocks; i++) {
        uint32_t epoch = nof1_plan_block_epoch(plan, i);
        one = one && nof1_census_block_epoch(*out, plan->block[i]) == epoch;
        *out = counted(list, plan->block[i], epoch) == NULL ? NULL : *out;
    }
    if (*out == NULL || one) {
        return NOF1_OK;
    }
    struct nof1_census *joined = nof1_arena_alloc(arena, 1, sizeof *joined);
    uint32_t *epoch = nof1_arena_alloc(arena, list->blocks, sizeof *epoch);
    uint64_t *count = nof1_arena_alloc(arena, list->blocks * list->elements + 1, sizeof *count);
    ENSURE(joined != NULL && epoch != NULL && count != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < plan->blocks; i++) {
        size_t b = plan->block[i], n = list->elements;
        epoch[b] = nof1_plan_block_epoch(plan, i);
        memcpy(count + b * n, counted(list, b, epoch[b])->count + b * n, n * sizeof *count);
    }
    *joined = (struct nof1_census){.epoch = plan->epoch, .block_epoch = epoch,
                                   .blocks = list->blocks, .elements = list->elements,
                                   .element = list->element, .count = count};
    *out = joined;
    return NOF1_OK;
}
