/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The release gate (docs/protocol.md, "Tables"): what leaves the consortium when every site of the
 * roster has attested the closed totals, and the evidence with which an outsider re-checks it.
 */
#ifndef NOF1_CORE_RELEASE_H
#define NOF1_CORE_RELEASE_H

#include <core/coordinator_parts.h>

/* The closed rounds as advance() and report() read them. Memory of the attempt. */
nof1_rc nof1_attempt_history(struct nof1_history *out, struct attempt *attempt);
/* All attestations are verified: report, store, log, tell. A report that fails (the model is not
 * identified) ends the run as refused, with the analysis' own message. */
nof1_rc nof1_release(struct nof1_coordinator *coordinator, struct run *run);

#endif
