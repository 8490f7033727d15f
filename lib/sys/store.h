/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The store port: an append-only ledger and a small key-value state in one SQLite file (WAL,
 * synchronous=FULL), so that one commit makes both durable. ":memory:" gives the same struct
 * without a file. SQL never leaves store.c.
 */
#ifndef NOF1_SYS_STORE_H
#define NOF1_SYS_STORE_H

#include <core/session.h>

struct nof1_store;

/* Open or make the store. Errors: NOF1_E_STORE when the file is another application's, of a newer
 * version, damaged or locked by another process' write for more than two seconds. */
nof1_rc nof1_store_open(struct nof1_store **out, const char *path, struct nof1_error *error);
/* Read-only, for the admin commands beside a running daemon. Errors: as nof1_store_open; also when
 * there is no such file. */
nof1_rc nof1_store_open_read(struct nof1_store **out, const char *path, struct nof1_error *error);
void nof1_store_close(struct nof1_store *store); /* rolls an open transaction back */
void nof1_store_closep(struct nof1_store **store); /* for NOF1_CLEANUP */

/* Writes need begin first and are durable when commit has returned. Errors: NOF1_E_STORE;
 * NOF1_E_BUG for begin within a transaction or a write outside one. */
nof1_rc nof1_store_begin(struct nof1_store *store);
nof1_rc nof1_store_commit(struct nof1_store *store);
void nof1_store_rollback(struct nof1_store *store);

/* Append a ledger entry; *seq (may be NULL) is its number, 1, 2, ... at: milliseconds UTC; an
 * entry is never dated before the last one, which another program may have written since the time
 * was taken. Errors: NOF1_E_STORE. */
nof1_rc nof1_store_append(struct nof1_store *store, int64_t at, const char *kind,
                          struct nof1_slice body, uint64_t *seq);
/* Set a key; empty bytes delete it. */
nof1_rc nof1_store_put(struct nof1_store *store, const char *key, struct nof1_slice value);
/* Copy a value into arena. Errors: NOF1_E_NOT_FOUND. */
nof1_rc nof1_store_get(struct nof1_slice *out, struct nof1_arena *arena, struct nof1_store *store,
                       const char *key);

struct nof1_entry {
    uint64_t seq;
    int64_t at;              /* milliseconds UTC */
    const char *kind;        /* borrowed until the visit returns */
    struct nof1_slice body;
};
/* Visit the ledger in order, from seq `first` on. A visit that does not answer NOF1_OK ends it. */
nof1_rc nof1_store_entries(struct nof1_store *store, uint64_t first,
                           nof1_rc_value (*visit)(void *context, const struct nof1_entry *entry),
                           void *context);
/* Time of the last entry, 0 when there is none. */
nof1_rc nof1_store_last_time(int64_t *out, struct nof1_store *store);
/* Has another connection committed anything since the last call? The first call answers false. */
nof1_rc nof1_store_changed(bool *out, struct nof1_store *store);
/* The reader port of the sessions; valid while the store is open. */
struct nof1_store_reader nof1_store_reader(struct nof1_store *store);

#endif
