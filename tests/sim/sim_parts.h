/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the simulator share; private to tests/sim/sim*.c.
 */
#ifndef NOF1_SIM_PARTS_H
#define NOF1_SIM_PARTS_H

#include <crypto/key.h>
#include <sim.h>

#define SIM_START INT64_C(1777593600000) /* 2026-05-01T00:00:00Z, virtual time 0 */

struct sim_pair { char *key; struct nof1_slice value; };

/* Keys in order; a ledger beside them. `pending` is the transaction being gathered. */
struct sim_store {
    size_t pairs, capacity;
    struct sim_pair *pair;
    size_t entries, entry_capacity;
    struct sim_pair *entry; /* key: the kind */
};

struct sim_node {
    size_t index;
    bool running;
    uint32_t life;                 /* timers of an earlier life do not ring */
    struct nof1_site *site;        /* sites */
    struct nof1_coordinator *coordinator;
    struct sim_store store;
    struct sim_store pending;      /* puts and entries of the open transaction */
};

struct sim_link {
    bool up;
    uint32_t generation;           /* frames of a broken stream are lost */
    int64_t last[2];               /* latest delivery per direction: 0 to the coordinator */
    bool held;                     /* comes up by hand only */
};

enum sim_event_kind { SIM_EVENT_FRAME, SIM_EVENT_TIMER, SIM_EVENT_UP, SIM_EVENT_REBOOT };

struct sim_event_entry {
    int64_t at;
    uint64_t order;
    enum sim_event_kind kind;
    size_t from, to;
    uint32_t generation;           /* of the link, or life of the node */
    uint8_t *bytes;
    size_t length;
};

/* Masked frames seen, for "never two different answers in one round". */
struct sim_answer {
    uint8_t query[32], attempt[32], digest[32];
    size_t site;
    uint32_t round;
};

struct sim {
    struct sim_options options;
    struct nof1_arena *arena;
    struct test_random random;
    int64_t now;
    uint64_t order;
    const struct nof1_charter *charter;
    struct nof1_slice charter_bytes;
    struct nof1_epoch *epoch;      /* [sites] */
    struct nof1_key **key;         /* [sites + 2]: sites, coordinator, statistician; cached */
    uint8_t (*secret)[32];         /* [sites] */
    struct sim_node *node;         /* [sites + 1] */
    struct sim_link *link;         /* [sites] */
    size_t events, event_capacity;
    struct sim_event_entry *event; /* binary heap */
    struct sim_faults faults;
    struct nof1_buffer trace;
    size_t frames;
    size_t answers, answer_capacity;
    struct sim_answer *answer;
    char violation[256];
    struct nof1_error submit_error;
};

#define SIM_MUST(condition) sim_must((condition), #condition, __FILE__, __LINE__)
void sim_must(bool condition, const char *text, const char *file, int line);

/* sim_data.c */
void sim_make_study(struct sim *sim);
void sim_change_trials(struct sim *sim, size_t site, size_t changed);
struct nof1_key *const *sim_keys(size_t count); /* made once, kept for the process */

/* sim_store.c */
void sim_store_put(struct sim_store *store, const char *key, struct nof1_slice value);
void sim_store_append(struct sim_store *store, const char *kind, struct nof1_slice value);
void sim_store_commit(struct sim_store *store, struct sim_store *pending);
void sim_store_clear(struct sim_store *store);
nof1_rc_value sim_store_each(void *self, const char *prefix,
                             nof1_rc_value (*visit)(void *context, const char *key,
                                                    struct nof1_slice value),
                             void *context);
struct nof1_slice sim_store_get(const struct sim_store *store, const char *key);

/* sim_check.c */
void sim_watch(struct sim *sim, size_t from, const Nof1__V1__Frame *frame);
void sim_violate(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_describe(char *out, size_t size, const Nof1__V1__Frame *frame);
const char *sim_name(const struct sim *sim, size_t node);

/* sim_node.c */
void sim_boot(struct sim *sim, size_t node);
void sim_halt(struct sim *sim, size_t node);
void sim_step(struct sim *sim, size_t node, struct nof1_event *event);

/* sim.c */
void sim_send(struct sim *sim, size_t from, size_t to, struct nof1_slice bytes);
void sim_push(struct sim *sim, struct sim_event_entry entry);
void sim_note(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
