/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the sans-I/O sessions have in common: an event goes in, an ordered list of actions comes
 * out. A session reads no clock, file, socket or random source; time and entropy come with the
 * event and the ports. Write-ahead rule: the driver makes every APPEND and PUT that precedes a SEND
 * durable (one transaction) before it sends.
 */
#ifndef NOF1_CORE_SESSION_H
#define NOF1_CORE_SESSION_H

#include <nof1/slice.h>
#include <nof1/study.h>

enum nof1_event_kind {
    NOF1_EVENT_FRAME,     /* bytes: one Frame of proto/nof1.proto, from `peer` */
    NOF1_EVENT_LINK_UP,   /* the stream with `peer` is up (site: peer is "") */
    NOF1_EVENT_LINK_DOWN,
    NOF1_EVENT_TIMER,     /* a time asked for with NOF1_ACTION_TIMER has come (spurious is fine) */
    NOF1_EVENT_SUBMIT,    /* coordinator: plan bytes + signature from the statistician `peer` */
    NOF1_EVENT_PAUSE,     /* site: the steward stops or lets go; flag */
    NOF1_EVENT_APPROVE    /* site: the steward approves (flag) or refuses plan hash `bytes` */
};

struct nof1_event {
    enum nof1_event_kind kind;
    int64_t now;              /* milliseconds UTC, never decreasing */
    const char *peer;         /* PAUSE, APPROVE: who the steward says to be, for the ledger */
    struct nof1_slice bytes;
    struct nof1_slice signature;
    bool flag;
};

enum nof1_action_kind {
    NOF1_ACTION_APPEND,  /* ledger entry: canonical JSON in bytes; key is its kind */
    NOF1_ACTION_PUT,     /* state: key -> bytes (empty: delete) */
    NOF1_ACTION_SEND,    /* frame bytes to `peer` (site: the coordinator, peer "") */
    NOF1_ACTION_TIMER,   /* wake me at `at`; a later one does not cancel an earlier one */
    NOF1_ACTION_FINISH   /* coordinator: query in `bytes` (H_q) reached a final state */
};

struct nof1_action {
    enum nof1_action_kind kind;
    const char *peer;
    const char *key;
    struct nof1_slice bytes;
    int64_t at;
};

/* Filled by step; memory in `arena`, which the driver frees after performing them. */
struct nof1_actions {
    struct nof1_arena *arena;
    size_t count, capacity;
    struct nof1_action *action;
};
nof1_rc nof1_actions_init(struct nof1_actions *actions); /* makes the arena */
void nof1_actions_free(struct nof1_actions *actions);
nof1_rc nof1_actions_add(struct nof1_actions *actions, struct nof1_action action); /* copies */

/* Ports. entropy fills `out` with random bytes. */
struct nof1_entropy {
    nof1_rc_value (*fill)(void *self, uint8_t *out, size_t length);
    void *self;
};
/* Read back what PUT and APPEND stored. */
struct nof1_store_reader {
    /* Call `visit` for every key with the prefix, in key order. */
    nof1_rc_value (*each)(void *self, const char *prefix,
                          nof1_rc_value (*visit)(void *context, const char *key,
                                                 struct nof1_slice value),
                          void *context);
    void *self;
};

#endif
