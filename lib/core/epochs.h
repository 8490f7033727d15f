/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How plan and census name the epochs of blocks (docs/protocol.md, "Epochs"): one number, or a list
 * where they differ. Public documents only.
 */
#ifndef NOF1_CORE_EPOCHS_H
#define NOF1_CORE_EPOCHS_H

#include <jansson.h>

#include <core/reader.h>
#include <nof1/study.h>

/* The document's value: a number when `list` is NULL, else the list. New reference, NULL: no
 * memory. */
json_t *nof1_epochs_json(uint32_t epoch, const uint32_t *list, size_t count);
/* Read it from `key`: *epoch the highest, *list NULL when it is one number. Errors: NOF1_E_INPUT
 * when it is neither, is a list of another length, or (uneven) a list of equal numbers. */
nof1_rc nof1_epochs_read(const struct reader *reader, uint32_t *epoch, const uint32_t **list,
                         size_t count, const struct nof1_node *map, const char *key, bool uneven);
/* "0000000003", or of a list "0000000003.0000000002": orders and names what is stored. In arena. */
const char *nof1_epochs_text(struct nof1_arena *arena, uint32_t epoch, const uint32_t *list,
                             size_t count);
/* *list becomes NULL when it holds one number only; *epoch the highest. */
void nof1_epochs_even(uint32_t *epoch, const uint32_t **list, size_t count);
/* The epoch at which a census counted a block. */
uint32_t nof1_census_block_epoch(const struct nof1_census *census, size_t block);
/* The last at which it or one behind it counted the block. */
uint32_t nof1_census_last_epoch(const struct nof1_census *list, size_t block);
/* The counts of a plan's blocks, each at the plan's epoch of it, out of `list` and those linked
 * behind it; *out NULL when one of them was not counted. Borrows. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_census_join(const struct nof1_census **out, struct nof1_arena *arena,
                         const struct nof1_census *list, const struct nof1_plan *plan);

#endif
