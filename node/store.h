/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Frozen epochs in the site's store: one value per trial (columns, little-endian), one per patient,
 * and a head, all written in one transaction, so that a killed freeze leaves the epoch before it.
 */
#ifndef NOF1_NODE_STORE_H
#define NOF1_NODE_STORE_H

#include <core/charter.h>
#include <core/epoch.h>
#include <sys/store.h>

/* Write the epoch as the last one. Of those before it stay the ones that the releases of an outcome
 * family used last (before the first release, the one before), unless a withdrawal stopped them;
 * the others' trials are deleted. Names are kept with the columns, so that a later charter with the
 * same names can load it. Errors: NOF1_E_STORE; NOF1_E_CONFIG when epoch->id is not above the last
 * one. */
nof1_rc nof1_epoch_save(struct nof1_store *store, const struct nof1_epoch *epoch,
                        const struct nof1_charter *charter, int64_t now, struct nof1_error *error);
/* Delete what has to stay no more since releases moved on. Errors: NOF1_E_STORE. */
nof1_rc nof1_epoch_prune(struct nof1_store *store);
/* Load the last epoch into arena, with those kept before it behind `earlier`; out->id is 0 when
 * nothing was frozen. Outcomes, covariates and treatments are matched by name: one that the charter
 * has and the epoch lacks is missing (NAN). Errors: NOF1_E_STORE when a value is damaged;
 * NOF1_E_CONFIG when the last epoch has a treatment or level the charter lacks: freeze again (an
 * earlier one is passed over). */
nof1_rc nof1_epoch_load(struct nof1_epoch *out, struct nof1_arena *arena, struct nof1_store *store,
                        const struct nof1_charter *charter, struct nof1_error *error);
/* Number of the last epoch, 0 for none. */
nof1_rc nof1_epoch_current(uint32_t *id, struct nof1_store *store);

#endif
