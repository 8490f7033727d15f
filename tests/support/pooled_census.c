/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The census and the design classes of a study in memory: see pooled_census.h.
 */
#include "pooled_census.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Observed rows per treatment and their periods, sorted. */
static size_t observed(const struct nof1_charter *charter, const struct nof1_trial *trial,
                       size_t n[8], int32_t *period)
{
    size_t rows = 0;
    memset(n, 0, 8 * sizeof *n);
    for (size_t i = 0; i < trial->rows; i++) {
        if (!isnan(trial->outcome[0][i]) && trial->treatment[i] < charter->treatments) {
            n[trial->treatment[i]]++;
            period[rows++] = trial->period[i];
        }
    }
    for (size_t i = 1; i < rows; i++) {
        for (size_t j = i; j > 0 && period[j - 1] > period[j]; j--) {
            int32_t swap = period[j];
            period[j] = period[j - 1];
            period[j - 1] = swap;
        }
    }
    return rows;
}

static bool in_analysis_set(const struct test_study *s, const size_t n[8])
{
    bool reference = n[s->plan.reference] > 0, active = n[s->plan.active] > 0;
    return s->charter.any_arm ? reference || active : reference && active;
}

struct census_builder {
    struct nof1_arena *arena;
    size_t elements;
    const char **name;
    uint64_t *count;
};

static void census_add(struct census_builder *c, const char *name, uint64_t amount)
{
    for (size_t e = 0; e < c->elements; e++) {
        if (strcmp(c->name[e], name) == 0) {
            c->count[e] += amount;
            return;
        }
    }
    if (c->elements < 4096) {
        c->name[c->elements] = nof1_arena_text(c->arena, name);
        c->count[c->elements++] = amount;
    }
}

static size_t class_of(struct test_study *s, struct nof1_class *list, const size_t n[8],
                       const int32_t *period, size_t rows, struct nof1_arena *arena)
{
    for (size_t c = 0; c < s->charter.classes; c++) {
        if (memcmp(list[c].n, n, sizeof list[c].n) == 0 && list[c].schedule_rows == rows &&
            memcmp(list[c].schedule_period, period, rows * sizeof *period) == 0) {
            return c;
        }
    }
    struct nof1_class *made = &list[s->charter.classes];
    memcpy(made->n, n, sizeof made->n);
    int32_t *copy = nof1_arena_alloc(arena, rows + 1, sizeof *copy);
    memcpy(copy, period, rows * sizeof *copy);
    made->schedule_period = copy;
    made->schedule_rows = rows;
    made->name = nof1_arena_printf(arena, "c%zu-%zux%zu", s->charter.classes + 1,
                                   n[s->plan.reference], n[s->plan.active]);
    return s->charter.classes++;
}

static void census_trial(struct test_study *s, bool classes, struct census_builder *c,
                         struct nof1_class *list, size_t i, int32_t *period)
{
    size_t n[8];
    char name[128];
    const char *outcome = s->charter.outcome[0].name;
    size_t rows = observed(&s->charter, &s->trial[i], n, period);
    bool new_patient = s->patient[i] == i;
    census_add(c, "trials", 1);
    census_add(c, "patients", new_patient);
    for (size_t v = 0; v < s->charter.covariates; v++) {
        bool absent = true;
        for (size_t r = 0; r < s->trial[i].rows; r++) {
            absent = absent && isnan(s->trial[i].covariate[v][r]);
        }
        snprintf(name, sizeof name, "missing:%s", s->charter.covariate[v].name);
        census_add(c, name, new_patient && absent);
    }
    if (s->charter.outcome[0].kind != NOF1_EFFECT && !in_analysis_set(s, n)) {
        return;
    }
    snprintf(name, sizeof name, "%s/trials", outcome);
    census_add(c, name, 1);
    snprintf(name, sizeof name, "%s/patients", outcome);
    census_add(c, name, new_patient);
    for (size_t v = 0; s->charter.stratum_covariate != NULL && v < s->charter.covariates; v++) {
        const struct nof1_covariate *covariate = &s->charter.covariate[v];
        double level = s->trial[i].covariate[v][0];
        if (strcmp(covariate->name, s->charter.stratum_covariate) == 0 && !isnan(level)) {
            snprintf(name, sizeof name, "%s/stratum:%s", outcome, covariate->level[(size_t)level]);
            census_add(c, name, 1);
        }
    }
    if (classes) {
        size_t k = class_of(s, list, n, period, rows, c->arena);
        snprintf(name, sizeof name, "%s/class:%s", outcome, list[k].name);
        census_add(c, name, 1);
    }
}

/* "y/pattern:KA:KB" by periods of each arm and "y/cycles:K" by complete cycles. */
static void census_pattern(const struct test_study *s, struct census_builder *c, size_t i)
{
    const struct nof1_trial *trial = &s->trial[i];
    size_t k[2] = {0, 0}, cycles = 0;
    for (size_t r = 0; r < trial->rows; r++) {
        bool first = true, cycle_first = true, other_arm = false;
        bool used = !isnan(trial->outcome[0][r]) && (trial->treatment[r] == s->plan.reference ||
                                                     trial->treatment[r] == s->plan.active);
        for (size_t q = 0; q < trial->rows && used; q++) {
            bool same = !isnan(trial->outcome[0][q]) && trial->treatment[q] != NOF1_NO_ARM;
            first = first && !(same && q < r && trial->period[q] == trial->period[r] &&
                               trial->period[r] != 0 && trial->treatment[q] == trial->treatment[r]);
            cycle_first = cycle_first && !(same && q < r && trial->cycle[q] == trial->cycle[r]);
            other_arm = other_arm || (same && trial->cycle[q] == trial->cycle[r] &&
                                      trial->treatment[q] != trial->treatment[r]);
        }
        k[trial->treatment[r] == s->plan.active] += used && first;
        cycles += used && cycle_first && other_arm && trial->cycle[r] != 0;
    }
    if (k[0] + k[1] == 0 || (!s->charter.any_arm && (k[0] == 0 || k[1] == 0))) {
        return;
    }
    char name[128];
    const char *outcome = s->charter.outcome[0].name;
    snprintf(name, sizeof name, "%s/pattern:%zu:%zu", outcome, k[0], k[1]);
    census_add(c, name, 1);
    snprintf(name, sizeof name, "%s/cycles:%zu", outcome, cycles);
    census_add(c, name, 1);
}

void test_pooled_census(struct test_study *s, bool classes, struct nof1_arena *arena)
{
    struct census_builder c = {arena, 0, nof1_arena_alloc(arena, 4096, sizeof *c.name),
                               nof1_arena_alloc(arena, 4096, sizeof *c.count)};
    struct nof1_class *list = nof1_arena_alloc(arena, s->trials + 1, sizeof *list);
    size_t rows = 0;
    for (size_t i = 0; i < s->trials; i++) {
        rows = s->trial[i].rows > rows ? s->trial[i].rows : rows;
    }
    int32_t *period = nof1_arena_alloc(arena, rows + 1, sizeof *period);
    census_add(&c, "sites", 1);
    for (size_t i = 0; i < s->trials; i++) {
        census_trial(s, classes, &c, list, i, period);
        census_pattern(s, &c, i);
    }
    s->charter.class_ = list;
    s->census = (struct nof1_census){.epoch = 1, .blocks = 1, .elements = c.elements,
                                     .element = c.name, .count = c.count};
}
