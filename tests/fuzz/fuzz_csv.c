/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as a hospital's table: refused with a place, or a table that keeps its promises.
 */
#include <math.h>

#include <node/freeze.h>
#include <node/sources/csv.h>

#include "fuzz.h"

static const struct nof1_map *fixed_map(struct nof1_arena *arena)
{
    static const char text[] = "outcomes: {y: {column: y, kind: continuous}}\ncovariates: [sex]\n";
    const struct nof1_node *node = NULL;
    const struct nof1_map *map = NULL;
    if (nof1_yaml_read(&node, arena, "map", nof1_slice_text(text), NULL) != NOF1_OK ||
        nof1_map_read(&map, arena, node, NULL) != NOF1_OK) {
        abort();
    }
    return map;
}

static void check_table(const struct nof1_table *table)
{
    HOLDS(table->first == NULL || table->first[table->trials] == table->rows);
    for (size_t t = 0; t < table->trials; t++) {
        HOLDS(table->first[t] < table->first[t + 1]);
        HOLDS(table->trial[t][0] != '\0' && table->patient[t][0] != '\0');
        for (size_t r = table->first[t]; r < table->first[t + 1]; r++) {
            HOLDS(table->treatment[r] == 255 || table->treatment[r] < table->treatments);
            HOLDS(isnan(table->outcome[0].value[r]) || isfinite(table->outcome[0].value[r]));
            HOLDS(table->covariate[0].word[r] < table->covariate[0].words);
            HOLDS(table->line[r] > 1);
            HOLDS(r == table->first[t] || table->period[r] >= table->period[r - 1]);
        }
    }
}

/* Freezing refuses or gives values within the charter's bounds. */
static void check_freeze(const struct nof1_table *table, struct nof1_arena *arena)
{
    const struct nof1_charter *charter = small_charter(arena);
    struct nof1_epoch epoch = {0};
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_table_freeze(&epoch, arena, table, charter, 0, 1, NULL, &error);
    if (rc != NOF1_OK) {
        check_refusal(rc, &error);
        return;
    }
    HOLDS(epoch.trials == table->trials && epoch.patients <= 5);
    for (size_t t = 0; t < epoch.trials; t++) {
        HOLDS(epoch.patient[t] < epoch.patients);
        for (size_t r = 0; r < epoch.trial[t].rows; r++) {
            double y = epoch.trial[t].outcome[0][r];
            HOLDS(isnan(y) || (y >= 0 && y <= 10));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_table *table = NULL;
    struct nof1_error error = {0};
    nof1_rc_value rc =
        nof1_csv_read(&table, fixed_map(arena), "fuzz.csv", nof1_slice_of(data, size), &error);
    if (rc != NOF1_OK) {
        check_refusal(rc, &error);
        HOLDS(table == NULL);
    } else {
        check_table(table);
        check_freeze(table, arena);
        nof1_table_free(table);
    }
    nof1_arena_free(arena);
    return 0;
}
