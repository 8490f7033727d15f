/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of reading a charter: each reads some keys of the root into the charter. Internal to
 * charter_read.c, charter_dictionary.c and charter_sites.c.
 */
#ifndef NOF1_CORE_CHARTER_PARTS_H
#define NOF1_CORE_CHARTER_PARTS_H

#include <core/charter.h>

#include "reader.h"

/* outcomes; covariates and strata (after outcomes); classes (after treatments). */
nof1_rc charter_read_outcomes(const struct reader *r, struct nof1_charter *c,
                              const struct nof1_node *root);
nof1_rc charter_read_covariates(const struct reader *r, struct nof1_charter *c,
                                const struct nof1_node *root);
nof1_rc charter_read_classes(const struct reader *r, struct nof1_charter *c,
                             const struct nof1_node *root);
/* sites and blocks (after limits); statisticians and coordinator. */
nof1_rc charter_read_sites(const struct reader *r, struct nof1_charter *c,
                           const struct nof1_node *root);
nof1_rc charter_read_people(const struct reader *r, struct nof1_charter *c,
                            const struct nof1_node *root);

#endif
