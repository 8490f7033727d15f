/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Performs the actions of a session in order, for the vault, the coordinator and the in-process lab
 * alike. Write-ahead rule (docs/architecture.md, "Durability"): consecutive APPEND and PUT make one
 * transaction, which is durable before the next SEND or FINISH. Also keeps the timers asked for.
 */
#ifndef NOF1_SYS_DRIVER_H
#define NOF1_SYS_DRIVER_H

#include <core/session.h>
#include <sys/store.h>

struct nof1_driver {
    struct nof1_store *store;
    /* Hand a frame to the link. A peer that is not there is no error: the protocol repeats. */
    nof1_rc_value (*send)(void *self, const char *peer, struct nof1_slice frame);
    /* A query reached a final state; may be NULL. */
    void (*finish)(void *self, struct nof1_slice query);
    /* An entry of this kind is appended; may be NULL. */
    void (*appended)(void *self, const char *kind);
    void *self;
    /* Times asked for and not yet due, in no order; owned. */
    size_t timers, capacity;
    int64_t *timer;
};

/* now: milliseconds UTC, becomes the time of the entries. Does not free the actions.
 * Errors: NOF1_E_STORE, NOF1_E_NO_MEMORY or what send answered; the transaction is then rolled back
 * and nothing after the failed action was done: the caller must stop the process. */
nof1_rc nof1_driver_perform(struct nof1_driver *driver, const struct nof1_actions *actions,
                            int64_t now);
/* The earliest time asked for. False: none. */
bool nof1_driver_next(const struct nof1_driver *driver, int64_t *at);
/* Forget all times up to now; true when there was one: then step the session with TIMER. */
bool nof1_driver_due(struct nof1_driver *driver, int64_t now);
/* Milliseconds poll(2) may wait from now: 0 when a timer is due, at most longest. */
int nof1_driver_wait(const struct nof1_driver *driver, int64_t now, int longest);
void nof1_driver_fini(struct nof1_driver *driver);

#endif
