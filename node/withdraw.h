/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Withdrawal of a trial or a patient (docs/protocol.md, "Epochs"): kept in the site's store under
 * the patient's local key, never in the ledger and never sent. What is frozen by then is not
 * answered about any more; every later freeze leaves the trial out whatever the source still holds.
 */
#ifndef NOF1_NODE_WITHDRAW_H
#define NOF1_NODE_WITHDRAW_H

#include <core/epoch.h>
#include <sys/store.h>

/* "withdrawn/PATIENT/TRIAL" in hex; TRIAL empty: the whole patient. In arena. */
const char *nof1_withdrawn_key(struct nof1_arena *arena, const char *patient, const char *trial);
/* Take what was withdrawn out of an epoch that is about to be frozen; *out: how many trials. */
nof1_rc nof1_withdrawn_leave_out(size_t *out, struct nof1_epoch *epoch, struct nof1_arena *arena,
                                 struct nof1_store *store);
#endif
