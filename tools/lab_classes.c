/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Most common complete designs in the lab's data: see lab_classes.h. A design is the number of
 * observed rows of each treatment and the multiset of their periods.
 */
#include <tools/lab_classes.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <nof1/trial.h>

#define MOST_ROWS 512     /* of a class */
#define MOST_DESIGNS 4096 /* different designs looked at */
#define MOST_COUNT 64     /* the charter's limit of periods and cycles */

struct pattern {
    size_t n[NOF1_TREATMENTS_MAX];
    size_t rows;
    bool periods;    /* every row has a period */
    int32_t *period; /* [rows] ascending */
    size_t trials;
};

static int compare_patterns(const void *left, const void *right)
{
    const struct pattern *a = left;
    const struct pattern *b = right;
    for (size_t t = 0; t < NOF1_TREATMENTS_MAX; ++t) {
        if (a->n[t] != b->n[t]) {
            return a->n[t] < b->n[t] ? -1 : 1;
        }
    }
    if (a->periods != b->periods) {
        return a->periods ? -1 : 1;
    }
    for (size_t r = 0; a->periods && r < a->rows; ++r) {
        if (a->period[r] != b->period[r]) {
            return a->period[r] < b->period[r] ? -1 : 1;
        }
    }
    return 0;
}

static int compare_frequency(const void *left, const void *right)
{
    const struct pattern *a = left;
    const struct pattern *b = right;
    if (a->trials != b->trials) {
        return a->trials > b->trials ? -1 : 1;
    }
    return compare_patterns(left, right);
}

static size_t charter_arm(const struct nof1_charter *charter, const struct nof1_table *table,
                          uint8_t treatment)
{
    return treatment == NOF1_NO_ARM
               ? NOF1_NONE
               : nof1_charter_treatment(charter, table->treatment_name[treatment]);
}

/* The design of a trial; false when an outcome is missing, or fewer than two arms were given. */
static bool design_of(struct pattern *out, const struct nof1_charter *charter,
                      const struct nof1_table *table, const double *y, size_t trial)
{
    size_t first = table->first[trial];
    size_t arms = 0;
    int32_t *period = out->period;
    *out = (struct pattern){
        .rows = table->first[trial + 1] - first, .period = period, .periods = true, .trials = 1};
    if (out->rows == 0 || out->rows > MOST_ROWS) {
        return false;
    }
    for (size_t r = 0; r < out->rows; ++r) {
        size_t arm = charter_arm(charter, table, table->treatment[first + r]);
        if (arm == NOF1_NONE || isnan(y[first + r])) {
            return false;
        }
        arms += out->n[arm]++ == 0 ? 1 : 0;
        out->period[r] = table->period[first + r]; /* rows are in order of period */
        out->periods = out->periods && out->period[r] >= 1 && out->period[r] <= 100000;
    }
    return arms >= 2;
}

struct designs {
    struct nof1_arena *arena;
    size_t count;
    struct pattern *pattern; /* [MOST_DESIGNS] */
};

static nof1_rc count_design(struct designs *designs, const struct pattern *pattern)
{
    for (size_t k = 0; k < designs->count; ++k) {
        if (compare_patterns(&designs->pattern[k], pattern) == 0) {
            ++designs->pattern[k].trials;
            return NOF1_OK;
        }
    }
    if (designs->count == MOST_DESIGNS) {
        return NOF1_OK;
    }
    struct pattern *kept = &designs->pattern[designs->count];
    *kept = *pattern;
    kept->period = nof1_arena_alloc(designs->arena, pattern->rows + 1, sizeof *kept->period);
    ENSURE(kept->period != NULL, NOF1_E_NO_MEMORY);
    memcpy(kept->period, pattern->period, pattern->rows * sizeof *kept->period);
    ++designs->count;
    return NOF1_OK;
}

static const double *outcome_values(const struct nof1_table *table, const char *name)
{
    for (size_t k = 0; k < table->outcomes; ++k) {
        if (name == NULL || strcmp(table->outcome[k].name, name) == 0) {
            return table->outcome[k].kind == NOF1_EFFECT ? NULL : table->outcome[k].value;
        }
    }
    return NULL;
}

/* Factors of period and cycle have the levels up to the charter's maxima: numbers may have gaps. */
static void cover_numbers(struct nof1_charter *charter, int32_t period, int32_t cycle)
{
    uint32_t arms = (uint32_t)charter->treatments;
    uint32_t periods = period <= 0 ? 0 : ((uint32_t)period + arms - 1) / arms;
    charter->max_periods = periods > charter->max_periods ? periods : charter->max_periods;
    if (cycle > 0 && (uint32_t)cycle > charter->max_cycles) {
        charter->max_cycles = (uint32_t)cycle;
    }
}

/* Periods of one arm and cycles of one trial; rows without a period are one each. */
static void count_periods(struct nof1_charter *charter, const struct nof1_table *table,
                          size_t trial)
{
    uint32_t periods[NOF1_TREATMENTS_MAX] = {0};
    uint32_t cycles = 0;
    for (size_t r = table->first[trial]; r < table->first[trial + 1]; ++r) {
        bool first = r == table->first[trial];
        bool fresh_period =
            first || table->period[r] == 0 || table->period[r] != table->period[r - 1];
        bool fresh_cycle =
            table->cycle[r] != 0 && (first || table->cycle[r] != table->cycle[r - 1]);
        uint8_t arm = table->treatment[r];
        if (arm < NOF1_TREATMENTS_MAX && fresh_period && ++periods[arm] > charter->max_periods) {
            charter->max_periods = periods[arm];
        }
        cycles += fresh_cycle ? 1 : 0;
        cover_numbers(charter, table->period[r], table->cycle[r]);
    }
    charter->max_cycles = cycles > charter->max_cycles ? cycles : charter->max_cycles;
    charter->max_cycles = charter->max_cycles > MOST_COUNT ? MOST_COUNT : charter->max_cycles;
    charter->max_periods = charter->max_periods > MOST_COUNT ? MOST_COUNT : charter->max_periods;
}

/* "3x3"; the second design with these numbers of rows is "3x3.2". */
static const char *class_name(struct nof1_arena *arena, const struct nof1_charter *charter,
                              const struct pattern *pattern, size_t index)
{
    size_t same = 1;
    for (size_t k = 0; k < index; ++k) {
        same += memcmp(pattern[k].n, pattern[index].n, sizeof pattern[k].n) == 0 ? 1 : 0;
    }
    const char *name = nof1_arena_printf(arena, "%zu", pattern[index].n[0]);
    for (size_t t = 1; name != NULL && t < charter->treatments; ++t) {
        name = nof1_arena_printf(arena, "%sx%zu", name, pattern[index].n[t]);
    }
    return name == NULL || same == 1 ? name : nof1_arena_printf(arena, "%s.%zu", name, same);
}

static nof1_rc write_classes(struct nof1_charter *charter, struct nof1_arena *arena,
                             struct designs *designs)
{
    qsort(designs->pattern, designs->count, sizeof *designs->pattern, compare_frequency);
    size_t classes = designs->count;
    classes = classes > NOF1_LAB_CLASSES_MAX ? NOF1_LAB_CLASSES_MAX : classes;
    struct nof1_class *class_ = nof1_arena_alloc(arena, classes + 1, sizeof *class_);
    ENSURE(class_ != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < classes; ++k) {
        const struct pattern *pattern = &designs->pattern[k];
        class_[k].name = class_name(arena, charter, designs->pattern, k);
        ENSURE(class_[k].name != NULL, NOF1_E_NO_MEMORY);
        memcpy(class_[k].n, pattern->n, sizeof pattern->n);
        class_[k].schedule_rows = pattern->periods ? pattern->rows : 0;
        class_[k].schedule_period = pattern->periods ? pattern->period : NULL;
    }
    charter->class_ = class_;
    charter->classes = classes;
    return NOF1_OK;
}

nof1_rc_value nof1_lab_classes(struct nof1_charter *charter, struct nof1_arena *arena,
                               const struct nof1_lab_derive *from)
{
    int32_t period[MOST_ROWS];
    struct designs designs = {.arena = arena};
    designs.pattern = nof1_arena_alloc(arena, MOST_DESIGNS, sizeof *designs.pattern);
    ENSURE(designs.pattern != NULL, NOF1_E_NO_MEMORY);
    charter->max_periods = 1;
    for (size_t s = 0; s < from->sources; ++s) {
        const struct nof1_table *table = from->source[s].table;
        const double *y = outcome_values(table, from->outcome);
        for (size_t t = 0; t < table->trials; ++t) {
            struct pattern pattern = {.period = period};
            count_periods(charter, table, t);
            if (y != NULL && design_of(&pattern, charter, table, y, t)) {
                TRY(count_design(&designs, &pattern));
            }
        }
    }
    return write_classes(charter, arena, &designs);
}
