/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The canonical form of a plan: the bytes that the statistician signs and H_q is taken of. Charter
 * things are named, not numbered, so that a reader understands the signed bytes.
 */
#include <core/plan.h>

#include <base/json.h>
#include <base/time.h>
#include <core/epochs.h>

static nof1_rc put(json_t *object, const char *key, json_t *value)
{
    ENSURE(json_object_set_new(object, key, value) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc put_texts(json_t *object, const char *key, const char *const *text, size_t count)
{
    json_t *list = json_array();
    TRY(put(object, key, list));
    for (size_t i = 0; i < count; i++) {
        ENSURE(json_array_append_new(list, json_string(text[i])) == 0, NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

static nof1_rc put_hash(json_t *object, const char *key, const uint8_t hash[32])
{
    char text[65];
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        text[2 * i] = digit[hash[i] >> 4];
        text[2 * i + 1] = digit[hash[i] & 15];
    }
    text[64] = '\0';
    return put(object, key, json_string(text));
}

/* One active treatment is a name, several are a list. */
static nof1_rc put_treatment(json_t *root, const struct nof1_plan *plan,
                             const struct nof1_charter *charter)
{
    json_t *active = json_string(charter->treatment[plan->active]);
    if (plan->others > 0) {
        active = json_pack("[o]", active);
        for (size_t k = 0; k < plan->others; k++) {
            (void)json_array_append_new(active, json_string(charter->treatment[plan->other[k]]));
        }
        ENSURE(json_array_size(active) == plan->others + 1, NOF1_E_NO_MEMORY);
    }
    return put(root, "treatment",
               json_pack("{s:s,s:o}", "reference", charter->treatment[plan->reference], "active",
                         active));
}

/* Nothing of this for the census, which has no outcome. */
static nof1_rc put_question(json_t *root, const struct nof1_plan *plan,
                            const struct nof1_charter *charter)
{
    if (plan->outcome_name == NULL || plan->outcome_name[0] == '\0') {
        return NOF1_OK;
    }
    ENSURE(plan->reference < charter->treatments && plan->active < charter->treatments, NOF1_E_BUG);
    TRY(put(root, "outcome", json_string(plan->outcome_name)));
    TRY(put_treatment(root, plan, charter));
    json_t *strata = json_array();
    TRY(put(root, "strata", strata));
    const struct nof1_covariate *cells = nof1_charter_strata(charter);
    for (size_t i = 0; i < plan->strata; i++) {
        ENSURE(cells != NULL && plan->stratum[i] < cells->levels, NOF1_E_BUG);
        ENSURE(json_array_append_new(strata, json_string(cells->level[plan->stratum[i]])) == 0,
               NOF1_E_NO_MEMORY);
    }
    return put(root, "options",
               plan->options == NULL ? json_object() : nof1_node_json(plan->options));
}

static nof1_rc put_blocks(json_t *root, const struct nof1_plan *plan,
                          const struct nof1_charter *charter)
{
    json_t *blocks = json_array();
    TRY(put(root, "blocks", blocks));
    for (size_t i = 0; i < plan->blocks; i++) {
        ENSURE(plan->block[i] < charter->blocks, NOF1_E_BUG);
        ENSURE(json_array_append_new(blocks, json_string(charter->block[plan->block[i]].id)) == 0,
               NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

nof1_rc nof1_plan_canonical(struct nof1_buffer *out, const struct nof1_plan *plan,
                            const struct nof1_charter *charter)
{
    char not_after[NOF1_TIME_TEXT];
    nof1_time_text(not_after, plan->not_after);
    NOF1_CLEANUP(nof1_json_freep) json_t *root = json_object();
    ENSURE(root != NULL, NOF1_E_NO_MEMORY);
    TRY(put(root, "plan", json_integer(1)));
    TRY(put_hash(root, "charter", charter->hash));
    if (plan->title != NULL && plan->title[0] != '\0') {
        TRY(put(root, "title", json_string(plan->title)));
    }
    TRY(put(root, "analysis", json_string(plan->analysis)));
    TRY(put(root, "analysis_version", json_integer(plan->analysis_version)));
    TRY(put_question(root, plan, charter));
    TRY(put_blocks(root, plan, charter));
    TRY(put(root, "epoch", nof1_epochs_json(plan->epoch, plan->block_epoch, plan->blocks)));
    TRY(put(root, "max_rounds", json_integer(plan->max_rounds)));
    TRY(put(root, "verify", json_string(plan->verify_full ? "full" : "replay")));
    TRY(put(root, "gather_by", json_integer(plan->gather_by)));
    TRY(put(root, "deadline", json_integer(plan->deadline)));
    TRY(put(root, "not_after", json_string(not_after)));
    TRY(put_texts(root, "elements", plan->element, plan->elements));
    TRY(put_texts(root, "atoms", plan->atom, plan->atoms));
    return nof1_canonical_write(out, root);
}
