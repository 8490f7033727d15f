/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Plans (docs/protocol.md, "Documents"; docs/interfaces.md, "Plan"): from the statistician's YAML,
 * from and to the signed bytes, and the completion between the two. The options of the analysis are
 * in plan_options.c. A plan can state nothing that the charter lacks.
 */
#include <core/plan.h>

#include <string.h>

#include <base/time.h>
#include <core/epochs.h>
#include <crypto/hash.h>
#include <nof1/analysis.h>

#include "plan_options.h"

#define ELEMENT_MAX 400u /* block, outcome and level names inside each other */

static bool is_census(const char *analysis)
{
    return strcmp(analysis, NOF1_CENSUS_ANALYSIS) == 0;
}

/* ---- what both forms share ---- */

static nof1_rc read_analysis(const struct reader *r, struct nof1_plan *plan,
                             const struct nof1_analysis **analysis, const struct nof1_node *root,
                             const struct nof1_charter *charter)
{
    const struct nof1_node *node = nof1_node_get(root, "analysis");
    if (node == NULL) {
        return FAIL_AT(r, root, NOF1_E_PLAN,
                       "key analysis is missing: expected the name of an analysis");
    }
    TRY(reader_name(r, &plan->analysis, node));
    *analysis = nof1_analysis_find(plan->analysis);
    if (*analysis == NULL || !nof1_charter_allows(charter, plan->analysis)) {
        NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer allowed = {0};
        for (size_t i = 0; i < charter->analyses; i++) {
            TRY(nof1_buffer_printf(&allowed, "%s%s", i == 0 ? "" : ", ", charter->analysis[i]));
        }
        return FAIL_AT(r, node, NOF1_E_PLAN, "analysis: %s %s (the charter allows %.*s)",
                       *analysis == NULL ? "there is no analysis" : "the charter does not allow",
                       plan->analysis, (int)allowed.length, (const char *)allowed.data);
    }
    plan->analysis_version = (*analysis)->version;
    return NOF1_OK;
}

static nof1_rc read_outcome(const struct reader *r, struct nof1_plan *plan,
                            const struct nof1_node *root, const struct nof1_charter *charter)
{
    const struct nof1_node *node = nof1_node_get(root, "outcome");
    if (node == NULL) {
        return FAIL_AT(r, root, NOF1_E_PLAN,
                       "key outcome is missing: expected an outcome of the charter");
    }
    TRY(reader_name(r, &plan->outcome_name, node));
    plan->outcome = nof1_charter_outcome(charter, plan->outcome_name);
    if (plan->outcome == NOF1_NONE) {
        return FAIL_AT(r, node, NOF1_E_PLAN, "outcome: the charter has no outcome %s",
                       plan->outcome_name);
    }
    return NOF1_OK;
}

static nof1_rc read_treatment(const struct reader *r, size_t *out, const struct nof1_node *node,
                              const struct nof1_charter *charter)
{
    const char *name = NULL;
    TRY(reader_label(r, &name, node, NOF1_NAME_MAX));
    *out = nof1_charter_treatment(charter, name);
    if (*out == NOF1_NONE) {
        return FAIL_AT(r, node, NOF1_E_PLAN, "treatment: the charter has no treatment %s", name);
    }
    return NOF1_OK;
}

/* Active: one name, or a list. */
static nof1_rc read_active(const struct reader *r, struct nof1_plan *plan,
                           const struct nof1_node *node, const struct nof1_charter *charter,
                           bool many)
{
    size_t most = many ? 1 + sizeof plan->other / sizeof *plan->other : 1;
    if (node->kind == NOF1_LIST && (node->items < 1 || node->items > most)) {
        return FAIL_AT(r, node, NOF1_E_PLAN,
                       many ? "active: 1 to %zu treatments"
                            : "active: a plan of this analysis compares %zu treatment with the "
                              "reference; write one plan per comparison, or analysis: mixed_model",
                       most);
    }
    TRY(read_treatment(r, &plan->active, node->kind == NOF1_LIST ? &node->item[0] : node, charter));
    for (size_t k = 1; node->kind == NOF1_LIST && k < node->items; k++) {
        size_t *other = &plan->other[plan->others];
        TRY(read_treatment(r, other, &node->item[k], charter));
        bool twice = *other == plan->active || *other == plan->reference;
        for (size_t i = 0; i < plan->others; i++) {
            twice = twice || plan->other[i] == *other;
        }
        if (twice) {
            return FAIL_AT(r, &node->item[k], NOF1_E_PLAN, "treatment: %s stands twice",
                           charter->treatment[*other]);
        }
        plan->others++;
    }
    return NOF1_OK;
}

static nof1_rc read_treatments(const struct reader *r, struct nof1_plan *plan,
                               const struct nof1_node *root, const struct nof1_charter *charter,
                               bool many)
{
    static const char *const known[] = {"reference", "active", NULL};
    const struct nof1_node *node = nof1_node_get(root, "treatment");
    plan->active = NOF1_NONE;
    if (node != NULL) {
        TRY(nof1_node_only(node, known, r->error));
        const struct nof1_node *reference = nof1_node_get(node, "reference");
        const struct nof1_node *active = nof1_node_get(node, "active");
        if (reference != NULL) {
            TRY(read_treatment(r, &plan->reference, reference, charter));
        }
        if (active != NULL) {
            TRY(read_active(r, plan, active, charter, many));
        }
    }
    const struct nof1_node *at = node == NULL ? root : node;
    if (plan->active == NOF1_NONE && charter->treatments > 2) {
        return FAIL_AT(r, at, NOF1_E_PLAN,
                       "treatment: the charter has %zu treatments: name the active one",
                       charter->treatments);
    }
    if (plan->active == NOF1_NONE) {
        plan->active = plan->reference == 0 ? 1 : 0;
    }
    if (plan->active == plan->reference) {
        return FAIL_AT(r, at, NOF1_E_PLAN,
                       "treatment: reference and active are the same treatment");
    }
    return NOF1_OK;
}

static nof1_rc read_strata(const struct reader *r, struct nof1_plan *plan,
                           const struct nof1_node *root, const struct nof1_charter *charter)
{
    const struct nof1_covariate *strata = nof1_charter_strata(charter);
    const struct nof1_node *list = NULL;
    const char *const *level = NULL;
    size_t named = 0;
    TRY(reader_list(r, &list, root, "strata", false));
    TRY(reader_labels(r, &level, &named, root, "strata"));
    if (named == 0) {
        return NOF1_OK;
    }
    size_t levels = strata == NULL ? 0 : strata->levels;
    bool *chosen = nof1_arena_alloc(r->arena, levels, sizeof *chosen);
    size_t *stratum = nof1_arena_alloc(r->arena, named, sizeof *stratum);
    ENSURE(chosen != NULL && stratum != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < named; i++) {
        size_t index = strata == NULL ? NOF1_NONE : nof1_covariate_level(strata, level[i]);
        if (index == NOF1_NONE) {
            return FAIL_AT(r, &list->item[i], NOF1_E2404, "strata: the charter has no cell %s",
                           level[i]);
        }
        chosen[index] = true;
    }
    for (size_t i = 0; i < levels; i++) {
        if (chosen[i]) {
            stratum[plan->strata++] = i;
        }
    }
    plan->stratum = stratum;
    return NOF1_OK;
}

/* ---- the statistician's YAML ---- */

static const char *const yaml_keys[] = {"plan",   "title",     "outcome",  "treatment", "analysis",
                                        "strata", "gather_by", "deadline", NULL};

nof1_rc nof1_plan_from_yaml(const struct nof1_plan **out, struct nof1_arena *arena,
                            const struct nof1_node *node, const struct nof1_charter *charter,
                            struct nof1_error *error)
{
    const struct reader r = {arena, error};
    const struct nof1_analysis *analysis = NULL;
    uint32_t format = 1;
    struct nof1_plan *plan = nof1_arena_alloc(arena, 1, sizeof *plan);
    ENSURE(plan != NULL, NOF1_E_NO_MEMORY);
    if (node->kind != NOF1_MAP) {
        return FAIL_AT(&r, node, NOF1_E_INPUT, "a plan is a map of keys and values");
    }
    plan->title = "";
    TRY(reader_opt_count(&r, &format, node, "plan", 1, 1));
    TRY(reader_opt_label(&r, &plan->title, node, "title", NOF1_TITLE_MAX));
    TRY(read_analysis(&r, plan, &analysis, node, charter));
    TRY(plan_options_from_root(&r, &plan->options, analysis, node, yaml_keys));
    TRY(read_outcome(&r, plan, node, charter));
    TRY(read_treatments(&r, plan, node, charter, analysis->many_arms));
    TRY(read_strata(&r, plan, node, charter));
    plan->gather_by = NOF1_PLAN_GATHER_BY;
    plan->deadline = NOF1_PLAN_DEADLINE;
    if (nof1_node_get(node, "gather_by") != NULL) {
        TRY(nof1_node_duration(&plan->gather_by, node, "gather_by", error));
    }
    if (nof1_node_get(node, "deadline") != NULL) {
        TRY(nof1_node_duration(&plan->deadline, node, "deadline", error));
    }
    *out = plan;
    return NOF1_OK;
}

/* ---- completion ---- */

static nof1_rc copy_texts(const char *const **out, struct nof1_arena *arena,
                          const char *const *text, size_t count)
{
    const char **copy = nof1_arena_alloc(arena, count, sizeof *copy);
    ENSURE(copy != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < count; i++) {
        copy[i] = nof1_arena_text(arena, text[i]);
        ENSURE(copy[i] != NULL, NOF1_E_NO_MEMORY);
    }
    *out = copy;
    return NOF1_OK;
}

static nof1_rc copy_plan(struct nof1_plan **out, struct nof1_arena *arena,
                         const struct nof1_plan *plan)
{
    *out = nof1_arena_alloc(arena, 1, sizeof **out);
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    **out = *plan;
    memset((*out)->hash, 0, sizeof(*out)->hash);
    return NOF1_OK;
}

nof1_rc nof1_plan_complete(const struct nof1_plan **out, struct nof1_arena *arena,
                           const struct nof1_plan *plan,
                           const struct nof1_plan_completion *completion)
{
    struct nof1_plan *copy = NULL;
    TRY(copy_plan(&copy, arena, plan));
    size_t *block = nof1_arena_alloc(arena, completion->blocks, sizeof *block);
    ENSURE(block != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < completion->blocks; i++) {
        block[i] = completion->block[i];
    }
    copy->block = block;
    copy->blocks = completion->blocks;
    uint32_t *epoch = nof1_arena_alloc(arena, completion->blocks + 1, sizeof *epoch);
    ENSURE(epoch != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; completion->block_epoch != NULL && i < completion->blocks; i++) {
        epoch[i] = completion->block_epoch[i];
    }
    copy->epoch = completion->epoch;
    copy->block_epoch = completion->block_epoch == NULL ? NULL : epoch;
    nof1_epochs_even(&copy->epoch, &copy->block_epoch, copy->blocks);
    copy->max_rounds = completion->max_rounds;
    copy->verify_full = completion->verify_full;
    copy->not_after = completion->not_after;
    copy->elements = completion->elements;
    copy->atoms = completion->atoms;
    TRY(copy_texts(&copy->element, arena, completion->element, completion->elements));
    TRY(copy_texts(&copy->atom, arena, completion->atom, completion->atoms));
    *out = copy;
    return NOF1_OK;
}

nof1_rc nof1_plan_with_option(const struct nof1_plan **out, struct nof1_arena *arena,
                              const struct nof1_plan *plan, const char *key, const char *text,
                              struct nof1_error *error)
{
    const struct reader r = {arena, error};
    struct nof1_plan *copy = NULL;
    TRY(copy_plan(&copy, arena, plan));
    const struct nof1_analysis *analysis = nof1_analysis_find(plan->analysis);
    if (analysis == NULL) {
        return nof1_fail(error, NOF1_E_PLAN, "there is no analysis %s", plan->analysis);
    }
    TRY(plan_options_replace(&r, &copy->options, analysis, plan->options, key, text));
    *out = copy;
    return NOF1_OK;
}

/* ---- the signed form ---- */

static nof1_rc read_charter_hash(const struct reader *r, const struct nof1_node *root,
                                 const struct nof1_charter *charter)
{
    struct nof1_slice hash;
    TRY(nof1_node_hex(&hash, r->arena, root, "charter", r->error));
    if (!nof1_slice_equal(hash, nof1_slice_of(charter->hash, sizeof charter->hash))) {
        return nof1_fail(r->error, NOF1_E_PLAN,
                         "the plan was signed for another version of the charter: sign it again "
                         "for version %u of %s",
                         charter->version, charter->study);
    }
    return NOF1_OK;
}

static nof1_rc read_blocks(const struct reader *r, struct nof1_plan *plan,
                           const struct nof1_node *root, const struct nof1_charter *charter)
{
    const char *const *id = NULL;
    TRY(reader_labels(r, &id, &plan->blocks, root, "blocks"));
    size_t *block = nof1_arena_alloc(r->arena, plan->blocks, sizeof *block);
    ENSURE(block != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < plan->blocks; i++) {
        block[i] = nof1_charter_block(charter, id[i]);
        if (block[i] == NOF1_NONE) {
            return nof1_fail(r->error, NOF1_E2204, "the charter has no block %s", id[i]);
        }
        if (i > 0 && block[i] <= block[i - 1]) {
            return nof1_fail(r->error, NOF1_E_PLAN, "blocks: expected them in charter order");
        }
    }
    plan->block = block;
    return NOF1_OK;
}

static nof1_rc read_texts(const struct reader *r, const char *const **out, size_t *count,
                          const struct nof1_node *root, const char *key)
{
    const struct nof1_node *list = NULL;
    TRY(reader_list(r, &list, root, key, true));
    const char **text = nof1_arena_alloc(r->arena, list->items, sizeof *text);
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < list->items; i++) {
        TRY(reader_label(r, &text[i], &list->item[i], ELEMENT_MAX));
    }
    *out = text;
    *count = list->items;
    return NOF1_OK;
}

static nof1_rc read_run(const struct reader *r, struct nof1_plan *plan,
                        const struct nof1_node *root)
{
    static const char *const modes[] = {"replay", "full", NULL};
    size_t mode = 0;
    const char *not_after = NULL;
    TRY(nof1_epochs_read(r, &plan->epoch, &plan->block_epoch, plan->blocks, root, "epoch", true));
    TRY(reader_opt_count(r, &plan->max_rounds, root, "max_rounds", 0, UINT32_MAX));
    TRY(reader_opt_count(r, &plan->gather_by, root, "gather_by", 1, UINT32_MAX));
    TRY(reader_opt_count(r, &plan->deadline, root, "deadline", 1, UINT32_MAX));
    TRY(reader_opt_choice(r, &mode, root, "verify", modes));
    plan->verify_full = mode == 1;
    TRY(nof1_node_text(&not_after, root, "not_after", r->error));
    if (!nof1_time_read(&plan->not_after, not_after)) {
        return nof1_fail(r->error, NOF1_E_INPUT, "not_after: expected a UTC time");
    }
    TRY(read_texts(r, &plan->element, &plan->elements, root, "elements"));
    return read_texts(r, &plan->atom, &plan->atoms, root, "atoms");
}

/* What depends on the analysis; the census has no outcome, treatment, strata or options. */
static nof1_rc read_question(const struct reader *r, struct nof1_plan *plan,
                             const struct nof1_node *root, const struct nof1_charter *charter)
{
    const char *id = NULL;
    TRY(nof1_node_text(&id, root, "analysis", r->error));
    if (is_census(id)) {
        plan->analysis = NOF1_CENSUS_ANALYSIS;
        plan->outcome_name = "";
        plan->active = 1;
        TRY(reader_opt_count(r, &plan->analysis_version, root, "analysis_version", 1, UINT32_MAX));
        return plan_options_none(r, &plan->options);
    }
    const struct nof1_analysis *analysis = NULL;
    TRY(read_analysis(r, plan, &analysis, root, charter));
    uint32_t version = 0;
    TRY(reader_opt_count(r, &version, root, "analysis_version", 1, UINT32_MAX));
    if (version != plan->analysis_version) {
        return nof1_fail(r->error, NOF1_E_PLAN,
                         "the plan needs version %u of %s and this program has version %u", version,
                         plan->analysis, plan->analysis_version);
    }
    TRY(plan_options_from_map(r, &plan->options, analysis, nof1_node_get(root, "options")));
    TRY(read_outcome(r, plan, root, charter));
    TRY(read_treatments(r, plan, root, charter, analysis->many_arms));
    return read_strata(r, plan, root, charter);
}

static nof1_rc compare(const struct nof1_plan *plan, const struct nof1_charter *charter,
                       struct nof1_slice bytes, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer written = {0};
    TRY(nof1_plan_canonical(&written, plan, charter));
    if (!nof1_slice_equal(nof1_buffer_slice(&written), bytes)) {
        return nof1_fail(error, NOF1_E_DECODE, "the bytes are not the canonical form of this plan");
    }
    return NOF1_OK;
}

nof1_rc nof1_plan_read(const struct nof1_plan **out, struct nof1_arena *arena,
                       const struct nof1_charter *charter, struct nof1_slice bytes,
                       struct nof1_error *error)
{
    static const char *const known[] = {
        "plan",      "charter",    "title",  "analysis",  "analysis_version",
        "outcome",   "treatment",  "strata", "options",   "blocks",
        "epoch",     "max_rounds", "verify", "gather_by", "deadline",
        "not_after", "elements",   "atoms",  NULL};
    const struct reader r = {arena, error};
    const struct nof1_node *root = NULL;
    TRY(nof1_canonical_read(&root, arena, bytes, error));
    TRY(nof1_node_only(root, known, error));
    TRY(read_charter_hash(&r, root, charter));
    struct nof1_plan *plan = nof1_arena_alloc(arena, 1, sizeof *plan);
    ENSURE(plan != NULL, NOF1_E_NO_MEMORY);
    plan->title = "";
    TRY(reader_opt_label(&r, &plan->title, root, "title", NOF1_TITLE_MAX));
    TRY(read_question(&r, plan, root, charter));
    TRY(read_blocks(&r, plan, root, charter));
    TRY(read_run(&r, plan, root));
    TRY(compare(plan, charter, bytes, error));
    TRY(nof1_hash(plan->hash, NOF1_DOMAIN_PLAN, 1, &bytes));
    *out = plan;
    return NOF1_OK;
}
