/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as a source mapping, bound to a header: what is accepted names columns that exist.
 */
#include <core/map.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const header[] = {"trial",     "cycle", "period", "time",
                                         "treatment", "y",     "vi"};
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_map *map = NULL;
    nof1_rc_value rc = nof1_yaml_read(&node, arena, "f", nof1_slice_of(data, size), &error);
    if (rc == NOF1_OK) {
        rc = nof1_map_read(&map, arena, node, &error);
    }
    if (rc == NOF1_OK) {
        HOLDS(map->outcomes > 0 && map->trial != NULL && map->driver != NULL);
        rc = nof1_map_bind(&map, arena, map, "f.csv", 7, header, &error);
    }
    if (rc == NOF1_OK) {
        HOLDS(nof1_map_column(map->trial, 7, header) != SIZE_MAX);
        for (size_t i = 0; i < map->outcomes; i++) {
            HOLDS(nof1_map_column(map->outcome[i].column, 7, header) != SIZE_MAX);
            HOLDS((map->outcome[i].variance != NULL) == (map->outcome[i].kind == NOF1_EFFECT));
        }
    } else {
        check_refusal(rc, &error);
    }
    nof1_arena_free(arena);
    return 0;
}
