/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The coordinator's session: gathers a roster, opens rounds, adds masked vectors, closes, collects
 * attestations, releases. Holds no secret that protects patients; every vault re-checks it.
 */
#ifndef NOF1_CORE_COORDINATOR_H
#define NOF1_CORE_COORDINATOR_H

#include <jansson.h>

#include <core/session.h>

struct nof1_coordinator_config {
    const struct nof1_charter *charter;
    struct nof1_slice charter_bytes;
    struct nof1_entropy entropy;
    struct nof1_store_reader store; /* submitted plans, released results, census */
    uint32_t round_timeout;         /* milliseconds a site may take for one answer, e.g. 30000 */
};

struct nof1_coordinator;
/* Restores: unfinished queries are re-run from the start as a new attempt. Borrows config. The
 * driver then steps once with NOF1_EVENT_TIMER, because deadlines may have passed in the meantime.
 *
 * Stored (PUT): "query/H_q" (plan, signature, state), "result/H_q", "evidence/H_q" (what an
 * outsider needs to re-check a release), "census/EPOCHS", "atoms/FAMILY", "epochs/FAMILY",
 * "ledger/entries" (number of entries appended by this session; provenance.ledger_index counts them
 * from 0). */
nof1_rc nof1_coordinator_new(struct nof1_coordinator **out,
                             const struct nof1_coordinator_config *config, int64_t now,
                             struct nof1_error *error);
/* SUBMIT: errors are values in `error` of the reply: the function returns NOF1_OK and sets
 * *submit_error (rc NOF1_OK when accepted). Others as nof1_site_step. */
nof1_rc nof1_coordinator_step(struct nof1_coordinator *coordinator, const struct nof1_event *event,
                              struct nof1_actions *actions, struct nof1_error *submit_error);
/* All queries, or one (h_q not NULL): {query, state, awaited: [site ids], since, attempt, round,
 * rounds, started, ...}. state: gathering | opening | rounds | closing | released | refused |
 * objected | expired. New reference, NULL when unknown. */
json_t *nof1_coordinator_status(const struct nof1_coordinator *coordinator, const uint8_t *h_q);
/* The final object of a query: the result (interfaces.md keys with `privacy`, `provenance`), or
 * {"refusal": {...}}. New reference, NULL when not final. */
json_t *nof1_coordinator_result(const struct nof1_coordinator *coordinator, const uint8_t *h_q);
/* H_q of the released query that asked the same as `plan` (canonical bytes) of the same
 * statistician, whenever it was signed: its result is the same bits and costs nothing. NULL: none.
 * Borrowed. */
const uint8_t *nof1_coordinator_answered(const struct nof1_coordinator *coordinator,
                                         struct nof1_slice plan, const char *statistician);
/* The censuses that the next plans rest on, canonical JSON, one a line, the latest first; empty
 * when there is none. Borrowed. */
struct nof1_slice nof1_coordinator_census(const struct nof1_coordinator *coordinator);
/* [{family, block, epoch, next}]: the epoch that the next plan of an outcome family should be
 * about; next is "not yet" where a later one waits until enough patients have changed. New
 * reference. */
json_t *nof1_coordinator_epochs(const struct nof1_coordinator *coordinator);
/* {family: {"atoms": [keys], "epochs": {block: epoch}}}: what the next plan of an outcome family
 * must name (core/atoms.h), and the epochs it should be about. New reference. */
json_t *nof1_coordinator_atoms(const struct nof1_coordinator *coordinator);
void nof1_coordinator_free(struct nof1_coordinator *coordinator);

#endif
