/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From plan bytes to a prepared query (docs/protocol.md, "Documents"): what statistician,
 * coordinator, vault and auditor each derive by themselves and compare. Public documents only;
 * never data.
 */
#include <core/opening.h>

#include <stdlib.h>
#include <string.h>

#include <core/atoms.h>
#include <core/census_analysis.h>
#include <core/epochs.h>
#include <core/plan.h>
#include <crypto/ring.h>

/* How long after gathering and running a completed plan stays valid: time to run it again. */
#define VALID_AFTER_GATHERING (30 * 86400)
/* verify = full while every site can be sent all vectors of a round in this many bytes
 * (needs_full). */
#define FULL_VERIFY_BYTES (4u << 20)
/* Atoms of one family hold at least min_atom_patients each: far fewer exist. */
#define ATOMS_MAX 4096
/* Of the census, which has no statistician to choose a date: 9999-12-31. */
#define CENSUS_NOT_AFTER INT64_C(253402300799)

static nof1_rc find_analysis(struct nof1_query *query, const struct nof1_charter *charter,
                             struct nof1_error *error)
{
    const struct nof1_plan *plan = query->study.plan;
    query->census = strcmp(plan->analysis, NOF1_CENSUS_ANALYSIS) == 0;
    query->analysis = query->census ? nof1_census_analysis() : nof1_analysis_find(plan->analysis);
    if (query->analysis == NULL ||
        (!query->census && !nof1_charter_allows(charter, plan->analysis))) {
        return nof1_fail(error, NOF1_E_PLAN, "the charter does not allow the analysis '%s'",
                         plan->analysis);
    }
    if (plan->analysis_version != query->analysis->version) {
        return nof1_fail(error, NOF1_E_PLAN, "the plan wants version %u of %s, this is version %u",
                         plan->analysis_version, plan->analysis, query->analysis->version);
    }
    return NOF1_OK;
}

static nof1_rc find_sites(struct nof1_query *query)
{
    const struct nof1_charter *charter = query->study.charter;
    const struct nof1_plan *plan = query->study.plan;
    size_t *site = nof1_arena_alloc(query->arena, charter->sites, sizeof *site);
    bool *named = nof1_arena_alloc(query->arena, charter->sites, sizeof *named);
    ENSURE(site != NULL && named != NULL, NOF1_E_NO_MEMORY);
    for (size_t b = 0; b < plan->blocks; b++) {
        ENSURE(plan->block[b] < charter->blocks, NOF1_E2204);
        const struct nof1_block *block = &charter->block[plan->block[b]];
        ENSURE(nof1_charter_block_open(charter, plan->block[b]), NOF1_E2204);
        for (size_t s = 0; s < block->sites; s++) {
            ENSURE(!named[block->site[s]], NOF1_E2204);
            named[block->site[s]] = true;
        }
    }
    for (size_t s = 0; s < charter->sites; s++) {
        if (named[s]) {
            site[query->sites++] = s;
        }
    }
    query->site = site;
    return NOF1_OK;
}

static bool element_named(const char *name, const struct nof1_element *element)
{
    bool design = name[0] == '!';
    return design == (element->role == NOF1_DESIGN) &&
           strcmp(name + (design ? 1 : 0), element->name) == 0;
}

/* A total that nobody re-adds would choose the parameters of the next round: where rounds have any,
 * every site is sent all vectors, whatever their size. */
static bool needs_full(const struct nof1_model *model, size_t sites)
{
    size_t bytes = sites * (model->max_elements + NOF1_CHECK_ELEMENTS) * NOF1_RING_BYTES;
    return bytes <= FULL_VERIFY_BYTES ||
           (model->max_rounds > 1 && model->analysis->in_domain != NULL);
}

/* The layout in the signed plan must be what this program computes. */
static nof1_rc compare_layout(struct nof1_query *query, struct nof1_error *error)
{
    const struct nof1_plan *plan = query->study.plan;
    struct nof1_layout layout = {0};
    TRY(query->analysis->layout(query->model, 1, query->arena, &layout));
    if (plan->max_rounds != query->model->max_rounds) {
        return nof1_fail(error, NOF1_E_PLAN, "the plan names %u rounds, the analysis has %u",
                         plan->max_rounds, query->model->max_rounds);
    }
    if (!plan->verify_full && needs_full(query->model, query->sites)) {
        return nof1_fail(error, NOF1_E_PLAN, "the plan wants replay where every vector can be "
                                             "verified");
    }
    bool same = plan->elements == layout.elements;
    for (size_t e = 0; same && e < layout.elements; e++) {
        same = element_named(plan->element[e], &layout.element[e]);
    }
    if (!same) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "the plan's layout is not the one that charter, census "
                         "and options give");
    }
    return NOF1_OK;
}

/* A census needs no signature because its bytes follow from the charter. */
static nof1_rc compare_census_plan(const struct nof1_charter *charter, struct nof1_slice bytes,
                                   struct nof1_arena *arena, const struct nof1_plan *plan,
                                   struct nof1_error *error)
{
    struct nof1_buffer expected NOF1_CLEANUP(nof1_buffer_free) = {0};
    uint32_t *epoch = nof1_arena_alloc(arena, charter->blocks + 1, sizeof *epoch);
    ENSURE(epoch != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < plan->blocks; i++) {
        epoch[plan->block[i]] = nof1_plan_block_epoch(plan, i);
    }
    TRY(nof1_census_plan_at(&expected, charter, epoch));
    if (!nof1_slice_equal(nof1_buffer_slice(&expected), bytes)) {
        return nof1_fail(error, NOF1_E_PLAN, "this is not the census of the charter");
    }
    return NOF1_OK;
}

/* Keys are short, and nobody is counted twice. */
static nof1_rc check_atom_keys(const struct nof1_plan *plan, struct nof1_error *error)
{
    bool valid = plan->atoms <= ATOMS_MAX;
    for (size_t a = 0; valid && a < plan->atoms; a++) {
        valid = plan->atom[a][0] != 0 && strlen(plan->atom[a]) < NOF1_ATOM_TEXT;
        for (size_t b = 0; valid && b < a; b++) {
            valid = strcmp(plan->atom[a], plan->atom[b]) != 0;
        }
    }
    return valid ? NOF1_OK
                 : nof1_fail(error, NOF1_E_PLAN, "atoms: expected at most %d different keys",
                             ATOMS_MAX);
}

static nof1_rc find_census(struct nof1_query *query, const struct nof1_census *census,
                           struct nof1_error *error)
{
    const struct nof1_plan *plan = query->study.plan;
    TRY(nof1_census_join(&query->study.census, query->arena, census, plan));
    if (query->study.census == NULL && census != NULL) {
        return nof1_fail(error, NOF1_E_PLAN, "the plan is for epoch %u, the census for epoch %u",
                         plan->epoch, census->epoch);
    }
    return NOF1_OK;
}

static nof1_rc fill(struct nof1_query *query, const struct nof1_charter *charter,
                    const struct nof1_census *census, struct nof1_slice bytes,
                    struct nof1_error *error)
{
    TRY(nof1_plan_read(&query->study.plan, query->arena, charter, bytes, error));
    const struct nof1_plan *plan = query->study.plan;
    query->study.charter = charter;
    TRY(find_analysis(query, charter, error));
    TRY(check_atom_keys(plan, error));
    if (query->census) {
        TRY(compare_census_plan(charter, bytes, query->arena, plan, error));
    } else {
        TRY(find_census(query, census, error));
    }
    nof1_rc_value rc = find_sites(query);
    if (rc != NOF1_OK || query->sites == 0) {
        return nof1_fail(error, rc == NOF1_E_NO_MEMORY ? rc : NOF1_E2204,
                         "the roster must be one or more whole blocks that no site has left");
    }
    TRY(query->analysis->prepare(&query->model, query->arena, &query->study, error));
    return compare_layout(query, error);
}

nof1_rc nof1_query_new(struct nof1_query **out, const struct nof1_charter *charter,
                       const struct nof1_census *census, struct nof1_slice plan_bytes,
                       struct nof1_error *error)
{
    struct nof1_arena *arena = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    struct nof1_query *query = nof1_arena_alloc(arena, 1, sizeof *query);
    nof1_rc_value rc = NOF1_E_NO_MEMORY;
    if (query != NULL) {
        query->arena = arena;
        rc = fill(query, charter, census, plan_bytes, error);
    }
    if (rc != NOF1_OK) {
        nof1_arena_free(arena);
        return rc;
    }
    *out = query;
    return NOF1_OK;
}

void nof1_query_free(struct nof1_query *query)
{
    if (query != NULL) {
        nof1_arena_free(query->arena);
    }
}

static nof1_rc layout_names(const char *const **out, struct nof1_arena *arena,
                            const struct nof1_layout *layout)
{
    const char **name = nof1_arena_alloc(arena, layout->elements, sizeof *name);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    for (size_t e = 0; e < layout->elements; e++) {
        name[e] = nof1_arena_printf(arena, "%s%s",
                                    layout->element[e].role == NOF1_DESIGN ? "!" : "",
                                    layout->element[e].name);
        ENSURE(name[e] != NULL, NOF1_E_NO_MEMORY);
    }
    *out = name;
    return NOF1_OK;
}

/* Every block that may be asked. */
static nof1_rc all_blocks(const size_t **out, size_t *blocks, struct nof1_arena *arena,
                          const struct nof1_charter *charter)
{
    size_t *block = nof1_arena_alloc(arena, charter->blocks, sizeof *block);
    ENSURE(block != NULL, NOF1_E_NO_MEMORY);
    *blocks = 0;
    for (size_t b = 0; b < charter->blocks; b++) {
        if (nof1_charter_block_open(charter, b)) {
            block[(*blocks)++] = b;
        }
    }
    *out = block;
    return NOF1_OK;
}

/* Of each block of the roster: as the plan wants it, else as it was counted last. */
static nof1_rc choose_epochs(struct nof1_plan_completion *completion, struct nof1_arena *arena,
                             const struct nof1_charter *charter, const struct nof1_census *census,
                             const struct nof1_plan *plan)
{
    uint32_t *epoch = nof1_arena_alloc(arena, completion->blocks + 1, sizeof *epoch);
    bool counted = census != NULL && plan->epoch == 0;
    ENSURE(epoch != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < completion->blocks; i++) {
        size_t b = completion->block[i];
        bool wanted = b < charter->blocks && plan->block_epoch != NULL && plan->block_epoch[b] > 0;
        epoch[i] = wanted                           ? plan->block_epoch[b]
                   : counted && b < charter->blocks ? nof1_census_last_epoch(census, b)
                                                    : completion->epoch;
    }
    completion->block_epoch = epoch;
    return NOF1_OK;
}

/* Everything that does not depend on the prepared model. */
static nof1_rc begin_completion(struct nof1_plan_completion *completion, struct nof1_arena *arena,
                                const struct nof1_charter *charter,
                                const struct nof1_census *census, const struct nof1_plan *plan,
                                int64_t now)
{
    static const char *const fresh[] = {"0"};
    *completion = (struct nof1_plan_completion){
        .blocks = plan->blocks, .block = plan->block,
        .epoch = plan->epoch != 0 ? plan->epoch : census != NULL ? census->epoch : 1,
        .not_after = plan->not_after != 0
                         ? plan->not_after
                         : now + plan->gather_by + plan->deadline + VALID_AFTER_GATHERING,
        .atoms = plan->atoms == 0 ? 1 : plan->atoms,
        .atom = plan->atoms == 0 ? fresh : plan->atom};
    if (plan->blocks == 0) {
        TRY(all_blocks(&completion->block, &completion->blocks, arena, charter));
    }
    return choose_epochs(completion, arena, charter, census, plan);
}

static nof1_rc prepare_completed(struct nof1_model **model, struct nof1_arena *arena,
                                 struct nof1_study *study, const struct nof1_analysis *analysis,
                                 const struct nof1_plan *plan,
                                 const struct nof1_plan_completion *completion,
                                 struct nof1_error *error)
{
    TRY(nof1_plan_complete(&study->plan, arena, plan, completion));
    return analysis->prepare(model, arena, study, error);
}

static bool is_auto(const struct nof1_plan *plan)
{
    const struct nof1_node *option =
        plan->options == NULL ? NULL : nof1_node_get(plan->options, "incomplete");
    return option != NULL && option->kind == NOF1_SCALAR && strcmp(option->text, "auto") == 0;
}

/* Write the form that "incomplete: auto" stands for into the plan, where the option has a word for
 * it: nothing that is signed is left to a later choice. */
static nof1_rc resolve_form(const struct nof1_plan **plan, struct nof1_arena *arena,
                            const struct nof1_model *model)
{
    const struct nof1_plan *resolved = NULL;
    struct nof1_error ignored = {0};
    const char *word = model->incomplete != NULL ? model->incomplete : model->form;
    nof1_rc_value rc = is_auto(*plan) ? nof1_plan_with_option(&resolved, arena, *plan, "incomplete",
                                                              word, &ignored)
                                      : NOF1_E_PLAN;
    ENSURE(rc != NOF1_E_NO_MEMORY, rc);
    *plan = rc == NOF1_OK ? resolved : *plan;
    return NOF1_OK;
}

static size_t roster_sites(const struct nof1_charter *charter,
                           const struct nof1_plan_completion *completion)
{
    size_t sites = 0;
    for (size_t b = 0; b < completion->blocks; b++) {
        sites += charter->block[completion->block[b]].sites;
    }
    return sites;
}

static nof1_rc complete(struct nof1_buffer *plan_bytes, struct nof1_arena *arena,
                        struct nof1_study *study, const struct nof1_analysis *analysis,
                        const struct nof1_plan *plan, int64_t now, struct nof1_error *error)
{
    const struct nof1_charter *charter = study->charter;
    struct nof1_plan_completion completion;
    struct nof1_model *model = NULL;
    TRY(begin_completion(&completion, arena, charter, study->census, plan, now));
    for (size_t b = 0; b < completion.blocks; b++) {
        if (completion.block[b] >= charter->blocks) {
            return nof1_fail(error, NOF1_E2204, "the plan names a block that the charter lacks");
        }
    }
    TRY(nof1_plan_complete(&study->plan, arena, plan, &completion));
    const struct nof1_census *census = study->census;
    TRY(nof1_census_join(&study->census, arena, census, study->plan));
    if (study->census == NULL && census != NULL) {
        return nof1_fail(error, NOF1_E_PLAN, "epoch: the blocks have not been counted at it yet");
    }
    TRY(prepare_completed(&model, arena, study, analysis, plan, &completion, error));
    TRY(resolve_form(&plan, arena, model));
    TRY(prepare_completed(&model, arena, study, analysis, plan, &completion, error));
    struct nof1_layout layout = {0};
    TRY(analysis->layout(model, 1, arena, &layout));
    completion.max_rounds = model->max_rounds;
    completion.verify_full = needs_full(model, roster_sites(charter, &completion));
    completion.elements = layout.elements;
    TRY(layout_names(&completion.element, arena, &layout));
    const struct nof1_plan *finished = NULL;
    TRY(nof1_plan_complete(&finished, arena, plan, &completion));
    return nof1_plan_canonical(plan_bytes, finished, charter);
}

nof1_rc nof1_query_complete(struct nof1_buffer *plan_bytes, const struct nof1_charter *charter,
                            const struct nof1_census *census, const struct nof1_plan *plan,
                            int64_t now, struct nof1_error *error)
{
    const struct nof1_analysis *analysis = nof1_analysis_find(plan->analysis);
    if (analysis == NULL || !nof1_charter_allows(charter, plan->analysis)) {
        return nof1_fail(error, NOF1_E_PLAN, "the charter does not allow the analysis '%s'",
                         plan->analysis);
    }
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    struct nof1_study *study = arena == NULL ? NULL : nof1_arena_alloc(arena, 1, sizeof *study);
    ENSURE(study != NULL, NOF1_E_NO_MEMORY);
    *study = (struct nof1_study){.charter = charter, .census = census};
    return complete(plan_bytes, arena, study, analysis, plan, now, error);
}

nof1_rc nof1_census_plan(struct nof1_buffer *plan_bytes, const struct nof1_charter *charter,
                         uint32_t epoch)
{
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    uint32_t *all =
        arena == NULL ? NULL : nof1_arena_alloc(arena, charter->blocks + 1, sizeof *all);
    ENSURE(all != NULL, NOF1_E_NO_MEMORY);
    for (size_t b = 0; b < charter->blocks; b++) {
        all[b] = epoch;
    }
    return nof1_census_plan_at(plan_bytes, charter, all);
}

nof1_rc nof1_census_plan_at(struct nof1_buffer *plan_bytes, const struct nof1_charter *charter,
                            const uint32_t *block_epoch)
{
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    struct nof1_study *study = arena == NULL ? NULL : nof1_arena_alloc(arena, 1, sizeof *study);
    struct nof1_plan *plan = arena == NULL ? NULL : nof1_arena_alloc(arena, 1, sizeof *plan);
    ENSURE(study != NULL && plan != NULL, NOF1_E_NO_MEMORY);
    *plan = (struct nof1_plan){.title = NOF1_CENSUS_ANALYSIS, .analysis = NOF1_CENSUS_ANALYSIS,
                               .analysis_version = 1, .max_rounds = 1,
                               .verify_full = true,
                               .gather_by = NOF1_PLAN_GATHER_BY, .deadline = NOF1_PLAN_DEADLINE,
                               .not_after = CENSUS_NOT_AFTER};
    TRY(all_blocks(&plan->block, &plan->blocks, arena, charter));
    uint32_t *epoch = nof1_arena_alloc(arena, plan->blocks + 1, sizeof *epoch);
    ENSURE(epoch != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < plan->blocks; i++) {
        epoch[i] = block_epoch[plan->block[i]];
    }
    plan->block_epoch = epoch;
    nof1_epochs_even(&plan->epoch, &plan->block_epoch, plan->blocks);
    *study = (struct nof1_study){.charter = charter, .plan = plan};
    const struct nof1_analysis *analysis = nof1_census_analysis();
    struct nof1_model *model = NULL;
    struct nof1_layout layout = {0};
    TRY(analysis->prepare(&model, arena, study, NULL));
    TRY(analysis->layout(model, 1, arena, &layout));
    plan->elements = layout.elements;
    TRY(layout_names(&plan->element, arena, &layout));
    return nof1_plan_canonical(plan_bytes, plan, charter);
}
