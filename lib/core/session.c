/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The ordered list of actions that a session hands to its driver (docs/architecture.md, "Six
 * concepts"). Everything an action points to lives in the list's arena, so the driver may keep the
 * list after the session has moved on. Frames sent to many peers are stored once.
 */
#include <core/session.h>

#include <stdlib.h>
#include <string.h>

nof1_rc nof1_actions_init(struct nof1_actions *actions)
{
    *actions = (struct nof1_actions){0};
    actions->arena = nof1_arena_new();
    ENSURE(actions->arena != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

void nof1_actions_free(struct nof1_actions *actions)
{
    nof1_arena_free(actions->arena);
    free(actions->action);
    *actions = (struct nof1_actions){0};
}

static nof1_rc grow(struct nof1_actions *actions)
{
    if (actions->count < actions->capacity) {
        return NOF1_OK;
    }
    size_t capacity = actions->capacity == 0 ? 16 : actions->capacity * 2;
    struct nof1_action *bigger = realloc(actions->action, capacity * sizeof(*bigger));
    ENSURE(bigger != NULL, NOF1_E_NO_MEMORY);
    actions->action = bigger;
    actions->capacity = capacity;
    return NOF1_OK;
}

/* A broadcast passes the stored bytes of the action before it again: no second copy. */
static bool stored_already(const struct nof1_actions *actions, struct nof1_slice bytes)
{
    if (actions->count == 0) {
        return false;
    }
    const struct nof1_slice last = actions->action[actions->count - 1].bytes;
    return last.data == bytes.data && last.length == bytes.length;
}

nof1_rc nof1_actions_add(struct nof1_actions *actions, struct nof1_action action)
{
    TRY(grow(actions));
    if (action.peer != NULL) {
        action.peer = nof1_arena_text(actions->arena, action.peer);
        ENSURE(action.peer != NULL, NOF1_E_NO_MEMORY);
    }
    if (action.key != NULL) {
        action.key = nof1_arena_text(actions->arena, action.key);
        ENSURE(action.key != NULL, NOF1_E_NO_MEMORY);
    }
    if (action.bytes.length > 0 && !stored_already(actions, action.bytes)) {
        action.bytes = nof1_arena_copy(actions->arena, action.bytes);
        ENSURE(action.bytes.data != NULL, NOF1_E_NO_MEMORY);
    }
    actions->action[actions->count++] = action;
    return NOF1_OK;
}
