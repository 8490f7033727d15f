/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What `nof1-node` does for the people of a hospital: look at a charter and approve it, check a
 * data source, freeze it, talk to the running vault.
 */
#ifndef NOF1_NODE_ADMIN_H
#define NOF1_NODE_ADMIN_H

#include <stdio.h>

#include <jansson.h>

#include <core/charter.h>
#include <core/map.h>
#include <node/charter_store.h>
#include <node/freeze.h>

/* Read a charter file, canonical or the people's YAML (then the hash is that of its canonical
 * bytes). bytes: canonical, in arena. Errors: NOF1_E_INPUT ... */
nof1_rc nof1_node_charter(const struct nof1_charter **out, struct nof1_slice *bytes,
                          struct nof1_arena *arena, const char *path, struct nof1_error *error);
/* Hash and readable summary: what a steward agrees to. */
void nof1_node_show_charter(FILE *out, const struct nof1_charter *charter);
struct nof1_node_source {
    const char *path;    /* CSV; NULL: the mapping's */
    const char *map;     /* file */
    const char *charter; /* file; NULL: the table alone is checked */
    const char *site;    /* id on the charter; NULL: no patient cap */
};

/* Read a source, and freeze it in memory when a charter is given. The report is for the steward.
 * Errors: NOF1_E_INPUT, NOF1_E2403 ... with file, line, column. */
nof1_rc nof1_node_check_source(FILE *out, const struct nof1_node_source *source,
                               struct nof1_error *error);
/* Freeze a source as the next epoch of the vault's folder, in one transaction, and tell a running
 * vault. charter NULL: the approved one. *id: the epoch. */
nof1_rc nof1_node_freeze(uint32_t *id, const char *folder, const struct nof1_node_source *source,
                         FILE *out, struct nof1_error *error);
/* Send one command object to the vault; *reply: its answer, new reference.
 * Errors: NOF1_E_UNREACHABLE when no vault runs there; the vault's own code. */
nof1_rc nof1_node_ask(json_t **reply, const char *socket, const json_t *request,
                      struct nof1_error *error);

#endif
