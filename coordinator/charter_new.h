/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-coordinator charter new: a charter as people read and change it, from a few answers or from
 * the version in force. What it writes passes `charter sign` as it is; it never replaces a file.
 */
#ifndef NOF1_COORDINATOR_CHARTER_NEW_H
#define NOF1_COORDINATOR_CHARTER_NEW_H

#include <core/charter.h>

/* Words as given on the command line; NULL: not given. Lists are separated by commas. */
struct nof1_charter_wish {
    const char *out;
    const char *folder;        /* the coordinator's, for its key */
    const char *from;          /* the version in force, YAML or canonical */
    const char *study, *treatments, *outcomes, *preset, *schedule, *name, *cap, *block_size;
    const char *effective;     /* UTC; default: today, a successor: in 14 days */
    const char *sites;         /* folder of ID.pem: the public keys of the vaults */
    const char *statisticians; /* folder of ID.pem: their certificates or public keys */
    const char *add, *remove;  /* successor: sites that join, sites that leave */
    const char *block;         /* successor: the block that they join; default: a new one */
};

/* What was decided without being asked, one line each, is appended to notes. now: UTC seconds.
 * Errors: NOF1_E_USAGE for a missing or wrong answer and for a file that is there; NOF1_E_CONFIG
 * for what a successor may not do; those of reading files and of nof1_charter_from_node. */
nof1_rc nof1_charter_new(struct nof1_buffer *notes, const struct nof1_charter_wish *wish,
                         int64_t now, struct nof1_error *error);

/* The charter as commented YAML. */
nof1_rc nof1_charter_text(struct nof1_buffer *out, const struct nof1_charter *charter);

#endif
