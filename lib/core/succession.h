/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which charter may follow an approved one at a site (docs/protocol.md, "Charter versions"): what
 * earlier releases have counted must stay what it was. Public documents and the site's own store.
 */
#ifndef NOF1_CORE_SUCCESSION_H
#define NOF1_CORE_SUCCESSION_H

#include <core/charter.h>
#include <core/session.h>

/* Same study, a higher version, every site in the block it was in. Errors: NOF1_E_CONFIG that says
 * what changed and what to do. */
nof1_rc nof1_charter_follows(const struct nof1_charter *before, const struct nof1_charter *after,
                             struct nof1_error *error);
/* Outcomes that were released keep family, bounds and quantum. Errors: NOF1_E_CONFIG, NOF1_E_STORE.
 */
nof1_rc nof1_charter_keeps_released(const struct nof1_charter *charter,
                                    const struct nof1_store_reader *store,
                                    struct nof1_error *error);

#endif
