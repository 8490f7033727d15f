/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Completing and signing a plan: see submission.h.
 */
#include <tools/submission.h>

#include <core/census.h>
#include <core/opening.h>
#include <core/plan.h>
#include <crypto/transcript.h>

/* The epoch that the coordinator proposes for each block of the charter; 0: none. */
static nof1_rc proposed(const uint32_t **out, struct nof1_arena *arena,
                        const struct nof1_charter *charter, const json_t *epochs)
{
    uint32_t *epoch = nof1_arena_alloc(arena, charter->blocks + 1, sizeof *epoch);
    ENSURE(epoch != NULL, NOF1_E_NO_MEMORY);
    for (size_t b = 0; b < charter->blocks; ++b) {
        json_int_t value = json_integer_value(json_object_get(epochs, charter->block[b].id));
        ENSURE(value >= 0 && value <= UINT32_MAX, NOF1_E_DECODE);
        epoch[b] = (uint32_t)value;
    }
    *out = json_object_size(epochs) == 0 ? NULL : epoch;
    return NOF1_OK;
}

/* The plan with the public atom list of its outcome's family, and the epochs of blocks. */
static nof1_rc with_proposals(const struct nof1_plan **plan, struct nof1_arena *arena,
                              const struct nof1_charter *charter, const json_t *families)
{
    const json_t *family = families == NULL
                               ? NULL
                               : json_object_get(families,
                                                 charter->outcome[(*plan)->outcome].family);
    const json_t *list = json_object_get(family, "atoms");
    size_t count = json_array_size(list);
    if (count == 0) {
        return NOF1_OK;
    }
    struct nof1_plan *copy = nof1_arena_alloc(arena, 1, sizeof *copy);
    const char **atom = nof1_arena_alloc(arena, count, sizeof *atom);
    ENSURE(copy != NULL && atom != NULL, NOF1_E_NO_MEMORY);
    for (size_t a = 0; a < count; ++a) {
        const char *text = json_string_value(json_array_get(list, a));
        atom[a] = text == NULL ? NULL : nof1_arena_text(arena, text);
        ENSURE(atom[a] != NULL, NOF1_E_DECODE);
    }
    *copy = **plan;
    copy->atoms = count;
    copy->atom = atom;
    TRY(proposed(&copy->block_epoch, arena, charter, json_object_get(family, "epochs")));
    *plan = copy;
    return NOF1_OK;
}

nof1_rc_value nof1_submission_make(struct nof1_submission *out, const struct nof1_charter *charter,
                                   struct nof1_slice census, const json_t *atoms,
                                   const struct nof1_node *plan, const struct nof1_key *key,
                                   int64_t now, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_census *counts = NULL;
    const struct nof1_plan *read = NULL;
    uint8_t digest[NOF1_HASH_BYTES];
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    if (census.length > 0) {
        TRY(nof1_census_read_all(&counts, arena, charter, census, error));
    }
    TRY(nof1_plan_from_yaml(&read, arena, plan, charter, error));
    TRY(with_proposals(&read, arena, charter, atoms));
    TRY(nof1_query_complete(&out->plan, charter, counts, read, now, error));
    TRY(nof1_plan_hash(out->hash, nof1_buffer_slice(&out->plan)));
    TRY(nof1_submit_digest(digest, out->hash));
    return nof1_sign(out->signature, &out->signature_length, key, digest);
}

void nof1_submission_free(struct nof1_submission *submission)
{
    nof1_buffer_free(&submission->plan);
}
