/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which frozen epochs a site keeps, as "epoch/head" in its store; private to store.c and
 * store_index.c.
 */
#ifndef NOF1_NODE_STORE_INDEX_H
#define NOF1_NODE_STORE_INDEX_H

#include <sys/store.h>

#define NOF1_EPOCH_OUTCOMES 64 /* of a charter that can be frozen, so outcome families at most */

/* The epochs kept, the last first, in arena; none when nothing was frozen. Errors: NOF1_E_STORE. */
nof1_rc nof1_epoch_kept(uint32_t **out, size_t *ids, struct nof1_arena *arena,
                        struct nof1_store *store);
/* Inside a transaction: delete what stays no more and write which epochs are kept, `next` among
 * them (0: none is added). */
nof1_rc nof1_epoch_retain(struct nof1_store *store, uint32_t next);
/* Delete the trials and patients of an epoch. store.c */
nof1_rc nof1_epoch_forget(struct nof1_store *store, uint32_t id);

#endif
