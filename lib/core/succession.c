/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * May a charter follow another (docs/protocol.md, "Charter versions")? See succession.h.
 */
#include <core/succession.h>

#include <stdio.h>
#include <string.h>

#include <base/document.h>

/* Sites may join a block and blocks may be added. A site that left one would be the difference
 * between two releases; whole blocks may be left out of a plan instead. */
static nof1_rc check_blocks(const struct nof1_charter *before, const struct nof1_charter *after,
                            struct nof1_error *error)
{
    for (size_t s = 0; s < before->sites; ++s) {
        size_t block = nof1_charter_block_of(before, s);
        if (block == NOF1_NONE) {
            continue;
        }
        const char *id = before->block[block].id;
        size_t now = nof1_charter_site(after, before->site[s].id);
        size_t at = now == NOF1_NONE ? NOF1_NONE : nof1_charter_block_of(after, now);
        if (at == NOF1_NONE) {
            return nof1_fail(error, NOF1_E_CONFIG,
                             "blocks: %s is in block %s of version %u and not in this one: a block "
                             "never loses a site, because the difference of two releases would be "
                             "that site; keep it there and leave its block out of plans",
                             before->site[s].id, id, before->version);
        }
        if (strcmp(after->block[at].id, id) != 0) {
            return nof1_fail(error, NOF1_E_CONFIG,
                             "blocks: %s moves from block %s to %s: a site stays in its block; "
                             "keep it there",
                             before->site[s].id, id, after->block[at].id);
        }
    }
    return NOF1_OK;
}

nof1_rc_value nof1_charter_follows(const struct nof1_charter *before,
                                   const struct nof1_charter *after, struct nof1_error *error)
{
    if (strcmp(before->study, after->study) != 0) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "study: this folder belongs to study %s, the charter is of %s; give "
                         "another study a folder of its own",
                         before->study, after->study);
    }
    if (after->version <= before->version) {
        return nof1_fail(error, NOF1_E_CONFIG, "version %u is approved already; this is version %u",
                         before->version, after->version);
    }
    const struct nof1_slice hash = nof1_slice_of(before->hash, sizeof before->hash);
    if (after->follows.length > 0 && !nof1_slice_equal(after->follows, hash)) {
        return nof1_fail(
            error, NOF1_E_CONFIG,
            "follows: version %u was made from another charter than version %u that is "
            "in force here; versions are approved one after the other",
            after->version, before->version);
    }
    return check_blocks(before, after, error);
}

/* ---- outcomes that were released ------------------------------------------------------------- */

struct released {
    const struct nof1_charter *charter;
    struct nof1_error *error;
};

static nof1_rc check_outcome(const struct released *released, const char *family,
                             const struct nof1_node *node)
{
    size_t index = nof1_charter_outcome(released->charter, node->key);
    double lower = 0, upper = 0, quantum = 0;
    if (index == NOF1_NONE) {
        return NOF1_OK; /* nobody can ask for it any more */
    }
    const struct nof1_outcome *outcome = &released->charter->outcome[index];
    TRY(nof1_node_double(&lower, node, "lower", released->error));
    TRY(nof1_node_double(&upper, node, "upper", released->error));
    TRY(nof1_node_double(&quantum, node, "quantum", released->error));
    const char *what = strcmp(outcome->family, family) != 0                 ? "family"
                       : outcome->lower != lower || outcome->upper != upper ? "bounds"
                       : outcome->quantum != quantum                        ? "quantum"
                                                                            : NULL;
    if (what == NULL) {
        return NOF1_OK;
    }
    return nof1_fail(
        released->error, NOF1_E_CONFIG,
        "outcomes: %s was released in family %s with bounds [%.15g, %.15g] and quantum "
        "%.15g, and this charter changes its %s: what was released counts by them; "
        "keep them or give the outcome a new name in the same family",
        node->key, family, lower, upper, quantum, what);
}

static nof1_rc_value visit_family(void *context, const char *key, struct nof1_slice value)
{
    const struct released *released = context;
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_node *node = NULL;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    if (value.length == 0) {
        return NOF1_OK;
    }
    TRY(nof1_canonical_read(&node, arena, value, released->error));
    const struct nof1_node *outcomes = nof1_node_get(node, "outcomes");
    for (size_t o = 0; outcomes != NULL && o < outcomes->items; ++o) {
        TRY(check_outcome(released, key + strlen("atoms/"), &outcomes->item[o]));
    }
    return NOF1_OK;
}

nof1_rc_value nof1_charter_keeps_released(const struct nof1_charter *charter,
                                          const struct nof1_store_reader *store,
                                          struct nof1_error *error)
{
    struct released released = {charter, error};
    return store->each(store->self, "atoms/", visit_family, &released);
}
