/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to vault.c, vault_session.c and vault_admin.c.
 */
#ifndef NOF1_NODE_VAULT_PARTS_H
#define NOF1_NODE_VAULT_PARTS_H

#include <core/charter.h>
#include <core/site.h>
#include <node/vault.h>
#include <sys/clock.h>
#include <sys/driver.h>
#include <sys/local.h>

#define NOF1_ADMINS 4 /* admin connections at a time */

struct nof1_vault {
    const struct nof1_vault_config *config;
    struct nof1_clock clock;
    struct nof1_store *store;
    struct nof1_driver driver;
    int lock, signals, listener, admin_listener;
    char admin_path[256];
    uid_t edge_user;
    struct nof1_socket *edge;                /* NULL: not connected */
    bool edge_broken;                        /* to be closed by the loop */
    struct nof1_socket *admin[NOF1_ADMINS];
    /* One life of the session; everything in it is made anew by a reload. */
    struct nof1_arena *arena;
    struct nof1_key *key;
    uint8_t secret[32];
    struct nof1_epoch epoch;
    struct nof1_site_config site_config;
    struct nof1_site *site;
    int64_t charter_due; /* the next charter comes into force; 0: there is none */
    bool stop, reload;
};

/* Read charter, policy, key, secret and epoch and make the session. */
nof1_rc nof1_vault_load(struct nof1_vault *vault, struct nof1_error *error);
void nof1_vault_unload(struct nof1_vault *vault);
/* Give the session an event and perform what it answers. Errors are fatal. */
nof1_rc nof1_vault_step(struct nof1_vault *vault, struct nof1_event event);
/* Throw away what waits to be written to the edge, with the connection, if anything does. */
nof1_rc nof1_vault_hold(struct nof1_vault *vault);
/* Start the session anew from what is stored; the edge connects again. Errors are fatal. */
nof1_rc nof1_vault_reload(struct nof1_vault *vault);
/* Answer one admin line; the answer is appended to reply. Errors are fatal. */
nof1_rc nof1_vault_admin(struct nof1_vault *vault, struct nof1_slice line,
                         struct nof1_buffer *reply);

#endif
