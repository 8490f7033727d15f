/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The site's session: every check of docs/protocol.md, masked rounds, attestation.
 * Runs in the vault. Trusts nobody: everything it acts on is signed under a key the charter pins or
 * recomputed. A refusal sends no statistic byte.
 */
#ifndef NOF1_CORE_SITE_H
#define NOF1_CORE_SITE_H

#include <jansson.h>

#include <core/epoch.h>
#include <core/session.h>
#include <crypto/key.h>

struct nof1_site_config {
    const char *id;                       /* this site, as on the charter */
    const struct nof1_charter *charter;   /* highest approved version */
    struct nof1_slice charter_bytes;
    struct nof1_limits policy;            /* the stricter of charter and site policy */
    const struct nof1_key *key;           /* vault signing key */
    const struct nof1_epoch *epoch;       /* NULL: nothing frozen yet */
    struct nof1_slice secret;             /* 32 bytes: everything random inside contribute */
    bool manual_approval;                 /* every plan waits for NOF1_EVENT_APPROVE */
    bool lab;                             /* accept lab charters (nof1-lab-site only) */
    /* Least milliseconds from a round's request to its answer, beside what the sizes of the charter
     * add; 0: at once (a lab: all data are its own). */
    uint32_t delay;
    struct nof1_entropy entropy;
    struct nof1_store_reader store;       /* budgets, atoms, answered plans */
};

struct nof1_site;
/* Restores budgets, atoms and known sums from the store. Borrows everything in config.
 * Errors: NOF1_E2104 not on the charter or other key, NOF1_E_CONFIG, NOF1_E_STORE. */
nof1_rc nof1_site_new(struct nof1_site **out, const struct nof1_site_config *config,
                      struct nof1_error *error);
/* Never fails for bad input: refusals and ignored frames are values. Errors: NOF1_E_NO_MEMORY,
 * NOF1_E_CRYPTO, NOF1_E_BUG: the caller must stop the process. */
nof1_rc nof1_site_step(struct nof1_site *site, const struct nof1_event *event,
                       struct nof1_actions *actions);
/* Does an answer wait for its time? Then give it no further frame: the work for one query must not
 * show in the times of another. */
bool nof1_site_is_delaying(const struct nof1_site *site);
/* What the steward sees: queries, states, refusals with their true reason, budget. New
 * reference. */
json_t *nof1_site_status(const struct nof1_site *site);
/* What the plan h_q, which a live attempt holds, would make this site add: every number of rounds 0
 * and 1 with name and role, and their encoding before the masks; of a round that was answered also
 * the bytes that left. For the steward's eyes; sends, stores and charges nothing. New reference.
 * Errors: NOF1_E_NOT_FOUND when no live attempt has this plan. */
nof1_rc nof1_site_preview(json_t **out, struct nof1_site *site, const uint8_t h_q[32],
                          struct nof1_error *error);
/* Has the steward refused this plan? Then no approval helps any more. */
bool nof1_site_declined(const struct nof1_site *site, const uint8_t h_q[32]);
/* How a site's own store names a trial: hex of the patient's key, "/", hex of the trial's. In
 * arena; NULL: no memory. */
const char *nof1_site_trial_id(struct nof1_arena *arena, const char *patient, const char *trial);
void nof1_site_free(struct nof1_site *site); /* wipes secrets */

#endif
