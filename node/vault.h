/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The vault's process: the site session behind one UNIX socket for the edge and one for the admin
 * commands. No network. The lab's site executable calls the same function with lab = true.
 *
 * Admin protocol: one JSON object a line, one answer a line.
 *   {"command":"status"}                      -> {"ok":true,"status":{...},"limits":{...}}
 *   {"command":"pause"} {"command":"resume"}  -> {"ok":true}   both, and approve and refuse, with
 *                                             "by": who decides, for the ledger
 *   {"command":"approve","query":"<64 hex>"}, {"command":"refuse","query":"<64 hex>"}
 *   {"command":"preview","query":"<64 hex>"}  -> {"ok":true,"preview":{...}}, see nof1_site_preview
 *   {"command":"reload"}                      new epoch, charter or policy: start the session anew
 *   {"command":"shutdown"}
 *   any error                                 -> {"ok":false,"code":"E1001","message":"..."}
 */
#ifndef NOF1_NODE_VAULT_H
#define NOF1_NODE_VAULT_H

#include <sys/types.h>

#include <nof1/slice.h>

#define NOF1_SITE_STORE "site.sqlite"   /* in the vault's folder: epochs, ledger, state */
#define NOF1_SITE_SECRET "secret"       /* 32 bytes, made at the first start; back it up */
#define NOF1_SITE_ADMIN "admin.sock"

struct nof1_vault_config {
    const char *program;     /* for messages */
    const char *folder;      /* mode 0700 */
    const char *charter;     /* file: canonical bytes of the approved version; NULL:
                                FOLDER/charter.json, where nof1-node charter approve puts it */
    const char *site;        /* id on the charter */
    const char *key;         /* PEM of the vault's signing key */
    const char *policy;      /* YAML; NULL: the charter's limits */
    const char *socket;      /* the edge's */
    const char *admin;       /* the admin commands'; NULL: FOLDER/admin.sock */
    const char *edge_user;   /* user the edge runs as; NULL: this user */
    bool manual_approval;
    bool service;            /* do not start unless all memory is locked */
    bool lab;
};

/* Run until SIGTERM, SIGINT or the admin's shutdown. Returns the exit code; errors are on
 * stderr. */
int nof1_vault_run(const struct nof1_vault_config *config);

#endif
