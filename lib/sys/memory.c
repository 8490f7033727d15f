/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * jansson's allocator for our programs: see memory.h.
 */
#include "memory.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include <base/log.h>

static void *json_allocate(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL) {
        nof1_log(NOF1_LOG_ERROR, "memory.exhausted",
                 NOF1_LOG_FIELDS(nof1_log_text("code", nof1_rc_code(NOF1_E_NO_MEMORY))));
        _exit(nof1_rc_exit_code(NOF1_E_NO_MEMORY));
    }
    return memory;
}

void nof1_json_memory(void)
{
    json_set_alloc_funcs(json_allocate, free);
}
