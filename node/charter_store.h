/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The charters of a site (docs/protocol.md, "Charter versions"): the one in force and the next one
 * that its steward has approved are files in the vault's folder; what was offered, approved and
 * refused stands in the site's store.
 */
#ifndef NOF1_NODE_CHARTER_STORE_H
#define NOF1_NODE_CHARTER_STORE_H

#include <core/charter.h>
#include <sys/store.h>

#define NOF1_NODE_CHARTER "charter.json"           /* in force */
#define NOF1_NODE_CHARTER_NEXT "charter.next.json" /* approved, not in force yet */

/* Put the next charter in force when its time has come. *due: milliseconds UTC when it will, 0 when
 * there is none. Errors: NOF1_E_INPUT ..., NOF1_E_IO. */
nof1_rc nof1_charter_promote(int64_t *due, const char *folder, int64_t now,
                             struct nof1_error *error);
/* May it be approved here: nobody refused it, it follows the one in force, and what was released
 * stays true. `before` NULL: none is in force. Errors: NOF1_E_CONFIG. */
nof1_rc nof1_charter_acceptable(const struct nof1_charter *before,
                                const struct nof1_charter *charter, struct nof1_arena *arena,
                                struct nof1_store *store, struct nof1_error *error);
/* The charter in a file of the folder; *out NULL when there is none. */
nof1_rc nof1_charter_in_folder(const struct nof1_charter **out, struct nof1_arena *arena,
                               const char *folder, const char *name, struct nof1_error *error);
/* Who decided, and when: of "charter-approved/HEX" or "charter-refused/HEX". *by NULL: nobody. */
nof1_rc nof1_charter_decision(const char **by, int64_t *time, struct nof1_arena *arena,
                              struct nof1_store *store, const char *key);

#endif
