/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Members of a charter that is being written: private to charter_new.c and charter_members.c.
 * Everything lives in `arena`; the charter's lists are replaced, never changed in place.
 */
#ifndef NOF1_COORDINATOR_CHARTER_MEMBERS_H
#define NOF1_COORDINATOR_CHARTER_MEMBERS_H

#include <core/charter.h>

/* Every ID.pem of a folder is a site; blocks of `size` in order of name, the remainder in the last.
 * Errors: NOF1_E_INPUT for a folder without keys, or a key that is none. */
nof1_rc charter_members_sites(struct nof1_charter *c, struct nof1_arena *arena, const char *folder,
                              uint32_t cap, size_t size, struct nof1_error *error);
/* Every ID.pem of a folder that is not on the charter may ask; NULL: nobody more. */
nof1_rc charter_members_statisticians(struct nof1_charter *c, struct nof1_arena *arena,
                                      const char *folder, struct nof1_error *error);
/* id NULL: "coordinator"; the key is that of the coordinator's folder. */
nof1_rc charter_members_coordinator(struct nof1_charter *c, struct nof1_arena *arena,
                                    const char *id, const char *folder, struct nof1_error *error);

struct charter_joining {
    const char *folder; /* of ID.pem */
    const char *block;  /* NULL: a new one */
    size_t ids;
    const char *const *id;
    uint32_t cap;
};
/* Add sites; those that had left come back. Errors: NOF1_E_USAGE for a site that takes part. */
nof1_rc charter_members_join(struct nof1_charter *c, struct nof1_buffer *notes,
                             struct nof1_arena *arena, const struct charter_joining *joining,
                             struct nof1_error *error);
/* Mark sites as left; notes say which blocks can be asked no more. */
nof1_rc charter_members_leave(struct nof1_charter *c, struct nof1_buffer *notes,
                              struct nof1_arena *arena, size_t ids, const char *const *id,
                              struct nof1_error *error);

#endif
