/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How fast a vault reads a CSV file: bench_csv FILE MAP RUNS prints MB, processor seconds and MB
 * per processor second of the best run: what one core does, whatever else the machine is doing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <base/document.h>
#include <core/map.h>
#include <node/sources/csv.h>
#include <sys/files.h>

int main(int argc, char **argv)
{
    struct nof1_error error = {.rc = NOF1_OK};
    struct nof1_buffer text = {0}, map_text = {0};
    struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_node *node = NULL;
    const struct nof1_map *map = NULL;
    if (argc != 4 || arena == NULL ||
        nof1_file_read(&map_text, argv[2], 1u << 20, &error) != NOF1_OK ||
        nof1_file_read(&text, argv[1], (size_t)4 << 30, &error) != NOF1_OK ||
        nof1_yaml_read(&node, arena, argv[2], nof1_buffer_slice(&map_text), &error) != NOF1_OK ||
        nof1_map_read(&map, arena, node, &error) != NOF1_OK) {
        fprintf(stderr, "bench_csv FILE MAP RUNS: %s\n", error.message);
        return 1;
    }
    double best = 0;
    for (long run = 0; run < strtol(argv[3], NULL, 10); run++) {
        struct nof1_table *table = NULL;
        clock_t start = clock();
        if (nof1_csv_load(&table, map, argv[1], &error) != NOF1_OK) {
            fprintf(stderr, "%s\n", error.message);
            return 1;
        }
        double seconds = (double)(clock() - start) / (double)CLOCKS_PER_SEC;
        nof1_table_free(table);
        best = best == 0 || seconds < best ? seconds : best;
    }
    printf("{\"megabytes\": %.3f, \"seconds\": %.6f, \"megabytes_per_second\": %.1f}\n",
           (double)text.length * 1e-6, best, (double)text.length * 1e-6 / best);
    nof1_buffer_free(&text);
    nof1_buffer_free(&map_text);
    nof1_arena_free(arena);
    return 0;
}
