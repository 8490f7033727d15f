/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Signed charters as files of the coordinator's folder: private to the coordinator.
 */
#ifndef NOF1_COORDINATOR_CHARTER_FILES_H
#define NOF1_COORDINATOR_CHARTER_FILES_H

#include <core/charter.h>

#define CHARTER_IN_FORCE "in-force"
#define CHARTER_OFFERED "offered"

struct signed_charter {
    const struct nof1_charter *charter; /* NULL: none */
    struct nof1_slice bytes, signature;
};

/* Read FILE and FILE.sig. A charter of the lab may do without a signature.
 * Errors: NOF1_E_CONFIG with the file's name. */
nof1_rc charter_file_read(struct signed_charter *out, struct nof1_arena *arena, const char *path,
                          struct nof1_error *error);
/* Keep it as charters/HASH.json of the folder. */
nof1_rc charter_file_keep(const char *folder, const struct signed_charter *charter,
                          struct nof1_error *error);
/* Which one a pointer of the folder names; out->charter NULL: none. */
nof1_rc charter_file_named(struct signed_charter *out, struct nof1_arena *arena,
                           const char *folder, const char *pointer, struct nof1_error *error);
/* Let the pointer name a kept charter; NULL: none. */
nof1_rc charter_file_point(const char *folder, const char *pointer,
                           const struct nof1_charter *charter, struct nof1_error *error);

#endif
