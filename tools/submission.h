/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The statistician's side of a query: from the people's YAML plan to signed bytes, the same for
 * `nof1 run` and both kinds of `nof1 lab run`.
 */
#ifndef NOF1_TOOLS_SUBMISSION_H
#define NOF1_TOOLS_SUBMISSION_H

#include <jansson.h>

#include <base/document.h>
#include <core/charter.h>
#include <crypto/key.h>

struct nof1_submission {
    struct nof1_buffer plan;       /* canonical bytes */
    uint8_t hash[NOF1_HASH_BYTES]; /* H_q */
    uint8_t signature[NOF1_SIGNATURE_MAX];
    size_t signature_length;
};

/* Complete and sign. census: what nof1_coordinator_census answers, atoms: what
 * nof1_coordinator_atoms answers, or NULL before the first release; now: UTC seconds.
 * Errors: those of nof1_plan_from_yaml and nof1_query_complete. */
nof1_rc nof1_submission_make(struct nof1_submission *out, const struct nof1_charter *charter,
                             struct nof1_slice census, const json_t *atoms,
                             const struct nof1_node *plan, const struct nof1_key *key, int64_t now,
                             struct nof1_error *error);
void nof1_submission_free(struct nof1_submission *submission);

#endif
