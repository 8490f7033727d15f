/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The coordinator's charters (docs/protocol.md, "Charter versions"): the one in force, the next one
 * that was published, what the sites say of it, and going over to it when every site that takes
 * part has approved it. In the folder:
 *   charters/HASH.json, charters/HASH.json.sig   documents, never changed
 *   in-force, offered                            a hash; replaced atomically
 * and in the store "charter/HASH/SITE": approved, refused or received.
 */
#ifndef NOF1_COORDINATOR_CHARTERS_H
#define NOF1_COORDINATOR_CHARTERS_H

#include <jansson.h>

#include <coordinator/coordinator_parts.h>
#include <core/frame.h>

/* At the start: of the file given (may be NULL) and the folder's, the higher version of the study.
 * Errors: NOF1_E_CONFIG for a charter without a valid signature, or none at all. */
nof1_rc nof1_charters_open(struct coordinator *coordinator, struct nof1_error *error);
/* The next charter of the folder, and what sites said of it; the store is open. */
nof1_rc nof1_charters_load_offer(struct coordinator *coordinator, struct nof1_error *error);
/* A link came or went; a site said hello: hand it the next charter unless it has it. */
nof1_rc nof1_charters_link(struct coordinator *coordinator, const char *site, bool up);
nof1_rc nof1_charters_hello(struct coordinator *coordinator, const char *site,
                            const Nof1__V1__Hello *hello, struct nof1_slice frame);
/* Read the folder's next charter again and hand it to everybody who is linked. */
nof1_rc nof1_charters_publish(struct coordinator *coordinator, struct nof1_error *error);
/* Is everything there to go over to the next charter? */
bool nof1_charters_ready(const struct coordinator *coordinator);
/* Make it the one in force, in the folder; the caller starts a session with it and then replays the
 * links. */
nof1_rc nof1_charters_advance(struct coordinator *coordinator, struct nof1_error *error);
nof1_rc nof1_charters_replay(struct coordinator *coordinator);
/* {in_force: {version, hash, effective}} and, when one is published, published: {version, hash,
 * effective, approved, refused, received, not_received: [sites]}. New reference. */
json_t *nof1_charters_status(const struct coordinator *coordinator);

/* The command: check a signed charter against the one in force and put it into the folder.
 * hash: of the charter; *running: a coordinator took it up. Errors: NOF1_E_CONFIG for one that is
 * not signed here, not offered to hospitals or may not follow; those of reading and writing files.
 */
nof1_rc nof1_coordinator_publish(uint8_t hash[32], bool *running, const char *folder,
                                 const char *charter, struct nof1_error *error);

#endif
