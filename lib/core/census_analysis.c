/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The census as an analysis: layout, rounds and report of the counts that core/census.h names. The
 * counting itself is in census_count.c. Thresholds do not apply to it: it is approved with the
 * charter and is the same for every plan.
 */
#include <core/census_analysis.h>

#include <math.h>

#include <core/epochs.h>
#include <core/plan.h>

#define COUNT_BOUND 0x1p40
#define COUNT_MAX 0x1p50

struct census_model {
    struct nof1_model model;
    size_t elements; /* per block */
    const struct nof1_census_element *element;
};

static const char *const everybody[] = {"all"};

static nof1_rc_value census_prepare(struct nof1_model **out, struct nof1_arena *arena,
                                    const struct nof1_study *study, struct nof1_error *error)
{
    struct census_model *census = nof1_arena_alloc(arena, 1, sizeof *census);
    ENSURE(census != NULL, NOF1_E_NO_MEMORY);
    size_t open = 0;
    for (size_t b = 0; b < study->charter->blocks; b++) {
        open += nof1_charter_block_open(study->charter, b) ? 1 : 0;
    }
    if (study->plan->blocks != open) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "a census takes in every block of the charter that no site has left");
    }
    TRY(nof1_census_elements(&census->element, &census->elements, arena, study->charter));
    census->model = (struct nof1_model){
        .analysis = nof1_census_analysis(), .study = study, .form = "census", .groups = 1,
        .group = everybody, .max_rounds = 1,
        .max_elements = census->elements * study->charter->blocks};
    *out = &census->model;
    return NOF1_OK;
}

static int census_group_of(const struct nof1_model *model, const struct nof1_trial *trial,
                           void *scratch)
{
    (void)model;
    (void)trial;
    (void)scratch;
    return 0;
}

static nof1_rc_value census_layout(const struct nof1_model *model, uint32_t round,
                                   struct nof1_arena *arena, struct nof1_layout *out)
{
    const struct census_model *census = (const struct census_model *)(const void *)model;
    const struct nof1_charter *charter = model->study->charter;
    ENSURE(round == 1, NOF1_E_BUG);
    struct nof1_element *element = nof1_arena_alloc(arena, model->max_elements, sizeof *element);
    ENSURE(element != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < model->max_elements; i++) {
        const char *block = charter->block[i / census->elements].id;
        const char *name = census->element[i % census->elements].name;
        element[i] = (struct nof1_element){.name = nof1_arena_printf(arena, "%s/%s", block, name),
                                           .role = NOF1_DESIGN, .group = -1, .block_size = 1,
                                           .bound = COUNT_BOUND};
        ENSURE(element[i].name != NULL, NOF1_E_NO_MEMORY);
    }
    *out = (struct nof1_layout){model->max_elements, element};
    return NOF1_OK;
}

static nof1_rc_value census_advance(const struct nof1_model *model,
                                    const struct nof1_history *history, struct nof1_arena *arena,
                                    struct nof1_next *out, struct nof1_error *error)
{
    (void)model;
    (void)arena;
    (void)error;
    *out = (struct nof1_next){.done = history->rounds > 0};
    return NOF1_OK;
}

nof1_rc nof1_census_from_totals(const struct nof1_census **out, struct nof1_arena *arena,
                                const struct nof1_charter *charter, const struct nof1_plan *plan,
                                const double *total)
{
    const struct nof1_census_element *element = NULL;
    size_t elements = 0;
    TRY(nof1_census_elements(&element, &elements, arena, charter));
    uint64_t *count = nof1_arena_alloc(arena, charter->blocks * elements, sizeof *count);
    ENSURE(count != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < charter->blocks * elements; i++) {
        ENSURE(total[i] >= 0 && total[i] <= COUNT_MAX && floor(total[i]) == total[i], NOF1_E2501);
        count[i] = (uint64_t)total[i];
    }
    const struct nof1_census *even = NULL;
    struct nof1_census *census = nof1_arena_alloc(arena, 1, sizeof *census);
    uint32_t *epoch = nof1_arena_alloc(arena, charter->blocks + 1, sizeof *epoch);
    TRY(nof1_census_new(&even, arena, charter, plan->epoch, count));
    ENSURE(census != NULL && epoch != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < plan->blocks; i++) {
        epoch[plan->block[i]] = nof1_plan_block_epoch(plan, i);
    }
    *census = *even;
    census->block_epoch = plan->block_epoch == NULL ? NULL : epoch;
    *out = census;
    return NOF1_OK;
}

static nof1_rc block_counts(json_t *counts, const struct census_model *census, const double *total)
{
    for (size_t e = 0; e < census->elements; e++) {
        json_t *count = json_integer((json_int_t)total[e]);
        ENSURE(json_object_set_new(counts, census->element[e].name, count) == 0,
               NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

/* {"form": "census", "epoch": as in the plan, "census": {block: {element: count}}} */
static nof1_rc_value census_report(const struct nof1_model *model,
                                   const struct nof1_history *history, struct nof1_arena *arena,
                                   json_t **out, struct nof1_error *error)
{
    (void)arena;
    const struct census_model *census = (const struct census_model *)(const void *)model;
    const struct nof1_charter *charter = model->study->charter;
    if (history->rounds != 1 || history->round[0].elements != model->max_elements) {
        return nof1_fail(error, NOF1_E_BUG, "a census has one round");
    }
    json_t *blocks = json_object();
    nof1_rc_value rc = NOF1_OK;
    for (size_t b = 0; rc == NOF1_OK && b < charter->blocks; b++) {
        json_t *counts = json_object();
        rc = json_object_set_new(blocks, charter->block[b].id, counts) == 0
                 ? block_counts(counts, census, history->round[0].total + b * census->elements)
                 : NOF1_E_NO_MEMORY;
    }
    if (rc != NOF1_OK) {
        json_decref(blocks);
        return rc;
    }
    const struct nof1_plan *plan = model->study->plan;
    *out = json_pack("{s:s, s:o, s:o}", "form", "census", "epoch",
                     nof1_epochs_json(plan->epoch, plan->block_epoch, plan->blocks), "census",
                     blocks);
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

const struct nof1_analysis *nof1_census_analysis(void)
{
    static const struct nof1_option none[] = {{.key = NULL}};
    static const struct nof1_analysis analysis = {
        .id = NOF1_CENSUS_ANALYSIS,
        .version = 1,
        .summary = "fixed counts of an epoch, per block",
        .option = none,
        .prepare = census_prepare,
        .group_of = census_group_of,
        .layout = census_layout,
        .advance = census_advance,
        .report = census_report,
    };
    return &analysis;
}
