/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A whole consortium in one process on virtual time: N real site sessions, the real coordinator
 * session, in-memory stores with transactions, streams that keep order but break and lose what is
 * in flight, seeded entropy. Deterministic: the same options, seed and faults give the same trace.
 * Shared by the simulation tests, the attack tests, the fuzzers and the benchmarks.
 *
 *   struct sim *sim = sim_new(&(struct sim_options){.sites = 5, .patients = 3});
 *   sim_start(sim);
 *   struct nof1_slice plan = sim_plan(sim, "plan: 1\n...");
 *   sim_submit(sim, plan, h_q);
 *   sim_until_final(sim, h_q);
 *   ... sim_result(sim, h_q), sim_trace(sim) ...
 *   sim_free(sim);
 *
 * Nodes are numbered: sites 0..N-1 in charter order, the coordinator N. Times are virtual
 * milliseconds since the start.
 */
#ifndef NOF1_SIM_H
#define NOF1_SIM_H

#include <core/coordinator.h>
#include <core/epoch.h>
#include <core/frame.h>
#include <core/opening.h>
#include <core/site.h>
#include <support.h>

struct sim;

struct sim_options {
    uint64_t seed;
    size_t sites;           /* >= 3; default 5 */
    size_t patients;        /* per site; default 3 */
    size_t block_sites;     /* sites a block; 0: one block of all */
    bool missing;           /* periods without outcome, trials without one arm, one empty site */
    const char *preset;     /* NULL: "open" with a lab charter; else "standard" | "ultra-rare" */
    const char *limits;     /* YAML flow map of limits that differ from the preset, or NULL */
    const char *analyses;   /* YAML list, default the one used by sim_plan_text */
    int64_t delay, jitter;  /* one way; default 5 and 0 */
    int64_t reconnect;      /* from a break to the new stream; default 200 */
    int64_t reboot;         /* from a crash to the restart; default 300 */
    uint32_t round_timeout; /* default 5000 */
    uint32_t answer_delay;  /* of the sites, in milliseconds; default 0 */
    bool manual_approval;   /* at every site */
    bool quiet;             /* no trace: for hundreds of sites */
};

enum sim_fate { SIM_DELIVER, SIM_BREAK, SIM_TWICE, SIM_OVERTAKE };

/* Faults: every hook may be NULL. `at` is the node that acts. */
struct sim_faults {
    void *context;
    /* A frame is put on a stream: SIM_BREAK loses it and everything in flight with the stream. */
    enum sim_fate (*frame)(void *context, struct sim *sim, size_t from, size_t to,
                           const Nof1__V1__Frame *frame);
    /* Before each action: true kills the process there; what was not committed is lost. */
    bool (*crash)(void *context, struct sim *sim, size_t at, const struct nof1_action *action);
    /* A transaction is about to be committed: true makes the store fail, which ends the process. */
    bool (*store)(void *context, struct sim *sim, size_t at);
    /* Milliseconds that a process works on an event before its actions happen; default none. */
    int64_t (*work)(void *context, struct sim *sim, size_t at, const struct nof1_event *event);
    /* What a dishonest party does: rewrite a frame after its honest sender (bytes from `arena`). */
    struct nof1_slice (*rewrite)(void *context, struct sim *sim, size_t from, size_t to,
                                 struct nof1_slice bytes, struct nof1_arena *arena);
};

struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *sim);
void sim_set_faults(struct sim *sim, const struct sim_faults *faults); /* copied; NULL: none */

/* Bring all streams up, run until the census of epoch 1 is there. sim_links: streams only. */
void sim_start(struct sim *sim);
void sim_links(struct sim *sim);
/* Perform everything due up to virtual time `until`. */
void sim_run(struct sim *sim, int64_t until);
int64_t sim_now(const struct sim *sim);
struct test_random *sim_random(struct sim *sim);

/* The plan of a YAML text, completed with the coordinator's census and atoms. NULL text: the
 * default analysis (sim_plan_text). Memory of the sim. Aborts when it is not valid. */
struct nof1_slice sim_plan(struct sim *sim, const char *yaml);
struct nof1_slice sim_plan_on(struct sim *sim, const char *yaml, size_t blocks,
                              const size_t *block); /* the roster: 0 all blocks */
/* The same with epochs of the test's choice, by block of the charter. */
struct nof1_slice sim_plan_at(struct sim *sim, const char *yaml, const uint32_t *block_epoch);
const char *sim_plan_text(void);
/* Signed by the statistician. h_q may be NULL. Returns the submit error's rc. */
nof1_rc_value sim_submit(struct sim *sim, struct nof1_slice plan, uint8_t h_q[32]);
/* Run until the query is final; false when nothing more happens before its time limit. */
bool sim_until_final(struct sim *sim, const uint8_t h_q[32]);
/* State text of a query, "" when unknown. */
const char *sim_state(struct sim *sim, const uint8_t h_q[32]);
json_t *sim_result(struct sim *sim, const uint8_t h_q[32]); /* new reference or NULL */

/* Faults by hand. down: milliseconds until it is back; negative: until sim_up. */
void sim_break(struct sim *sim, size_t site, int64_t down);
void sim_up(struct sim *sim, size_t site);
void sim_crash(struct sim *sim, size_t node, int64_t down);
void sim_next_charter(struct sim *sim); /* everybody restarts under the next version */
void sim_swap(struct sim *sim, size_t site); /* the vault restarts, its edge keeps the stream */
void sim_event(struct sim *sim, size_t node, const struct nof1_event *event); /* now is filled in */

/* What everybody could see. */
const char *sim_trace(const struct sim *sim);
void sim_trace_clear(struct sim *sim);
size_t sim_frames(const struct sim *sim); /* sent so far */

/* Read what a node stored: the value of a key, length 0 when absent; its ledger, entry by entry. */
struct nof1_slice sim_stored(struct sim *sim, size_t node, const char *key);
size_t sim_ledger_length(const struct sim *sim, size_t node);
const char *sim_ledger_entry(const struct sim *sim, size_t node, size_t index, const char **kind);

/* Invariants watched all the time: an empty text, or what was violated first. */
const char *sim_violation(const struct sim *sim);
/* Every running site has charged at least the plans that it has answered. */
bool sim_budgets_kept(struct sim *sim);
/* The released totals of a query equal the ring sums over all trials of its roster, bit for bit. */
bool sim_pooled_equal(struct sim *sim, const uint8_t h_q[32]);

const struct nof1_charter *sim_charter(const struct sim *sim);
struct nof1_slice sim_charter_bytes(const struct sim *sim);
const struct nof1_key *sim_site_key(const struct sim *sim, size_t site);
const struct nof1_key *sim_statistician_key(const struct sim *sim);
struct nof1_epoch *sim_epoch(struct sim *sim, size_t site); /* may be changed before sim_start */
struct nof1_site *sim_site(struct sim *sim, size_t site);   /* NULL while down */
struct nof1_coordinator *sim_coordinator(struct sim *sim);  /* NULL while down */
/* The site freezes another epoch: the session restarts with it. */
void sim_freeze(struct sim *sim, size_t site, uint32_t epoch);
/* It keeps the epoch before, too, and the outcomes of its first `changed` patients are others; of
 * the epochs kept before that, those from `from` on stay. */
void sim_freeze_changed(struct sim *sim, size_t site, uint32_t epoch, size_t changed,
                        uint32_t from);

#endif
