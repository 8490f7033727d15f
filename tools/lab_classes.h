/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The design classes of a derived charter: see lab_charter.h.
 */
#ifndef NOF1_TOOLS_LAB_CLASSES_H
#define NOF1_TOOLS_LAB_CLASSES_H

#include <tools/lab_charter.h>

#define NOF1_LAB_CLASSES_MAX 16

/* Fill classes, max_periods and max_cycles of a charter whose treatments are set.
 * Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_lab_classes(struct nof1_charter *charter, struct nof1_arena *arena,
                         const struct nof1_lab_derive *from);

#endif
