/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the coordinator's session share; private to lib/core/coordinator*.c and
 * release.c. One `run` is one query from submission to its final state; one `attempt` is one try
 * with one nonce and one frozen roster. Runs share nothing but the peers, so queries run side by
 * side.
 */
#ifndef NOF1_CORE_COORDINATOR_PARTS_H
#define NOF1_CORE_COORDINATOR_PARTS_H

#include <base/hex.h>
#include <core/coordinator.h>
#include <core/frame.h>
#include <core/opening.h>
#include <crypto/hash.h>
#include <crypto/ring.h>
#include <crypto/key.h>

#define NOF1_ATTEMPTS_MAX 50   /* tries of one query before it counts as expired */
#define NOF1_KEYADS_MAX 16 /* advertisements of one site in one attempt: a vault restarts rarely   \
                            */
#define NOF1_SUBMISSIONS 200   /* of a statistician in a day, beside two for every query allowed */
#define NOF1_FAULTS_MAX 3 /* sums that fail their check elements (E2501) before it is refused */
#define NOF1_CENSUS_PAUSE                                                                          \
    (15 * 60 * 1000) /* before a census that ended without one is tried again */

enum run_state {
    RUN_GATHERING, RUN_OPENING, RUN_ROUNDS, RUN_CLOSING,
    RUN_RELEASED, RUN_REFUSED, RUN_OBJECTED, RUN_EXPIRED
};

/* One closed round, kept for advance(), report() and the evidence. Memory of the attempt. */
struct closed_round {
    uint32_t round;
    size_t parameters, elements;          /* elements include the check elements */
    const double *parameter;
    uint8_t *total;                       /* ring bytes */
    double *value;                        /* decoded */
    uint8_t total_hash[NOF1_HASH_BYTES];
    uint8_t transcript[NOF1_HASH_BYTES];  /* h_r, under which the sites answered */
    struct nof1_layout layout;            /* empty for round 0 */
    uint8_t (*digest)[NOF1_HASH_BYTES];   /* [sites] what each site signed */
    struct nof1_slice *signature;         /* [sites] */
};

/* One try. Arrays are [query->sites], in roster order. */
struct attempt {
    struct nof1_arena *arena;             /* lives as long as the attempt */
    struct nof1_arena *round_arena;       /* masked vectors of the round being answered */
    struct nof1_arena *previous_arena;    /* those of the round before, while they are re-sent */
    uint8_t nonce[NOF1_HASH_BYTES];
    uint8_t h_roster[NOF1_HASH_BYTES];
    uint8_t transcript[NOF1_HASH_BYTES];  /* h of the current round; after close h_{r+1} */
    const Nof1__V1__KeyAd **key_ad;       /* NULL: awaited */
    uint32_t *key_ads;                    /* how many came */
    const Nof1__V1__Masked **masked;      /* of the current round; NULL: awaited */
    const Nof1__V1__Attest **attest;
    uint64_t *bytes_in, *bytes_out;
    struct nof1_slice offer, roster;      /* frames, re-sent byte by byte after a reconnection */
    struct nof1_slice current;            /* RoundOpen or Close; memory of round_arena */
    uint32_t round;
    size_t elements;                      /* of the current round, check elements included */
    struct nof1_opening opening;
    struct nof1_layout layout;            /* of the current round >= 1 */
    const double *parameter;
    size_t parameters;
    struct nof1_counts counts;            /* of round 0 */
    size_t closed_count;
    struct closed_round *closed;          /* [model->max_rounds + 1] */
    int64_t answer_by;                    /* every awaited answer of this stage */
    int64_t offer_again;                  /* opening: repeat the offer to silent sites */
    int64_t offer_step;
};

struct run {
    struct run *next;
    struct nof1_arena *arena;
    uint8_t h_q[NOF1_HASH_BYTES];
    char hex[2 * NOF1_HASH_BYTES + 1];
    struct nof1_query *query;             /* NULL once final */
    struct nof1_slice plan;
    uint8_t question[NOF1_HASH_BYTES];    /* the plan without its times and atoms */
    struct nof1_slice signature;          /* empty: the census */
    const char *statistician;
    bool census;
    enum run_state state;
    int64_t submitted, since, started;    /* milliseconds; started 0: no roster frozen yet */
    int64_t not_before;                   /* back-off before the next attempt */
    int64_t asked;                        /* the latest timer asked for, 0: none */
    uint32_t attempt_number, faults;
    struct attempt *attempt;              /* NULL while gathering and when final */
    json_t *result;                       /* when final */
    const char *refused_by;               /* the site that signed a refusal, for `status` */
    bool *end_due;                        /* [charter sites] tell End when the site is back */
    struct nof1_slice end_frame;
};

struct peer {
    bool up, hello, same_charter;
    uint32_t epoch;                       /* the last frozen */
    size_t earlier;
    uint32_t kept[NOF1_EPOCHS_MAX];       /* [earlier] descending */
};

/* One census, of blocks at epochs of their own maybe; the latest first. */
struct census_record {
    struct census_record *next;
    struct nof1_slice bytes;              /* canonical JSON */
    struct nof1_census *census;           /* linked like the records */
};

/* How far the releases of a family have brought a block. */
struct advance {
    uint32_t used;                        /* the epoch that the last release used; 0: none */
    uint32_t before;                      /* as it was while the release may still be refused */
    uint32_t held;                        /* the epoch that may not be used yet; 0: none */
};

/* The public atom keys of one outcome family (core/atoms.h), which the next plan must name. */
struct atom_list {
    struct atom_list *next;
    const char *family;
    size_t atoms;
    const char *const *atom;
    struct nof1_arena *arena;             /* of the keys */
    struct advance *advance;              /* [charter blocks] */
};

struct nof1_coordinator {
    struct nof1_coordinator_config config;
    struct nof1_arena *arena;
    struct peer *peer;                    /* [charter sites] */
    struct run *runs;                     /* in order of submission */
    struct census_record *census;         /* the latest first */
    struct nof1_buffer census_bytes;      /* of all that are needed, one a line */
    struct atom_list *atoms;              /* [charter families] */
    uint64_t entries;                     /* ledger entries appended so far */
    int64_t submit_day;                   /* UTC day that `submitted` is about */
    uint64_t *submitted;                  /* [charter statisticians] runs begun on that day */
    char software[64];
    struct nof1_verifier *verifier;       /* of the vaults' keys, by charter index */
    /* of the step in progress */
    struct nof1_actions *actions;
    int64_t now;
};

static inline bool run_final(const struct run *run)
{
    return run->state >= RUN_RELEASED;
}
const char *nof1_run_state_text(enum run_state state);
/* Takes over `row`; a row that could not be made loses the list (NULL), so that none is ever
 * shorter. */
json_t *nof1_json_row(json_t *list, json_t *row);

/* coordinator.c */
/* Is `digest` signed by the vault of the roster's site `index`? */
bool nof1_run_signed(const struct nof1_coordinator *coordinator, const struct run *run,
                     size_t index, const uint8_t digest[NOF1_HASH_BYTES],
                     ProtobufCBinaryData signature);
struct run *nof1_run_find(const struct nof1_coordinator *coordinator, const uint8_t *h_q);
/* All that were taken, the latest first; NULL: none. */
const struct nof1_census *nof1_coordinator_censuses(const struct nof1_coordinator *coordinator);
nof1_rc nof1_coordinator_keep_census(struct nof1_coordinator *coordinator, struct nof1_slice bytes,
                                     struct nof1_error *error);
/* Does the site keep this epoch, and is it there under the charter in force? */
bool nof1_peer_keeps(const struct nof1_coordinator *coordinator, size_t site, uint32_t epoch);
nof1_rc nof1_run_send(struct nof1_coordinator *coordinator, struct run *run, size_t roster_index,
                      struct nof1_slice frame);
nof1_rc nof1_run_broadcast(struct nof1_coordinator *coordinator, struct run *run,
                           struct nof1_slice frame);

nof1_rc nof1_coordinator_send_census(struct nof1_coordinator *coordinator, size_t site,
                                     const struct census_record *census);

/* coordinator_submit.c: a plan arrives, the census starts, a stored run is taken up again */
nof1_rc nof1_run_submit(struct nof1_coordinator *coordinator, const struct nof1_event *event,
                        struct nof1_error *submit_error);
nof1_rc nof1_run_census(struct nof1_coordinator *coordinator);
/* A charter whose census cannot be planned is refused when the coordinator starts. */
nof1_rc nof1_run_census_check(const struct nof1_coordinator *coordinator,
                              struct nof1_error *error);
nof1_rc nof1_run_restore(struct nof1_coordinator *coordinator, struct nof1_error *error);
void nof1_run_free(struct run *run);

/* coordinator_gather.c: gathering and opening */
bool nof1_run_ready(const struct nof1_coordinator *coordinator, const struct run *run,
                    size_t roster_index);
nof1_rc nof1_run_gather(struct nof1_coordinator *coordinator, struct run *run);
nof1_rc nof1_run_key_ad(struct nof1_coordinator *coordinator, struct run *run, size_t roster_index,
                        const Nof1__V1__Frame *frame, struct nof1_slice bytes);
nof1_rc nof1_run_open(struct nof1_coordinator *coordinator, struct run *run);
void nof1_attempt_free(struct attempt *attempt);

/* coordinator_rounds.c: rounds and closing */
nof1_rc nof1_run_first_round(struct nof1_coordinator *coordinator, struct run *run);
nof1_rc nof1_run_masked(struct nof1_coordinator *coordinator, struct run *run, size_t roster_index,
                        const Nof1__V1__Frame *frame, struct nof1_slice bytes);
nof1_rc nof1_run_rounds(struct nof1_coordinator *coordinator, struct run *run);
nof1_rc nof1_run_attest(struct nof1_coordinator *coordinator, struct run *run, size_t roster_index,
                        const Nof1__V1__Frame *frame, struct nof1_slice bytes);
nof1_rc nof1_run_close(struct nof1_coordinator *coordinator, struct run *run);

/* coordinator_atoms.c: the difference rule's public lists */
nof1_rc nof1_atom_lists_new(struct nof1_coordinator *coordinator);
void nof1_atom_lists_free(struct nof1_coordinator *coordinator);
nof1_rc nof1_atom_lists_restore(struct nof1_coordinator *coordinator);
/* Round 1 is about to be opened (complete: every site has attested). */
nof1_rc nof1_run_atoms(struct nof1_coordinator *coordinator, const struct run *run, bool complete);
/* A new epoch was counted: of every released atom some series may have changed. */
nof1_rc nof1_atom_lists_epoch(struct nof1_coordinator *coordinator);
/* coordinator_epochs.c: which epoch of each block the next plan of a family is about */
/* The last epoch that all sites of a block keep; 0: they have none in common, or one is away. */
uint32_t nof1_block_pending(const struct nof1_coordinator *coordinator, size_t block);
struct atom_list *nof1_atom_list(const struct nof1_coordinator *coordinator, size_t outcome);
/* Round 1 is about to be opened: the plan's epochs may be used from now on. */
nof1_rc nof1_epochs_use(struct nof1_coordinator *coordinator, const struct run *run);
/* A site has answered round 1, or all have attested: there is no way back. */
nof1_rc nof1_epochs_used(struct nof1_coordinator *coordinator, const struct run *run);
/* A site has refused the run: blocks that were to move on may have to stay, or cannot stay. */
nof1_rc nof1_epochs_refused(struct nof1_coordinator *coordinator, const struct run *run,
                            size_t site, nof1_rc_value code);
/* The blocks' epochs (charter index) that are wanted and not counted yet, in arena; *out NULL:
 * none, or not all sites are there. */
nof1_rc nof1_epochs_uncounted(const uint32_t **out, const struct nof1_coordinator *coordinator,
                              struct nof1_arena *arena);
/* Make the text of nof1_coordinator_census anew. */
nof1_rc nof1_epochs_publish(struct nof1_coordinator *coordinator);
nof1_rc nof1_epochs_restore(struct nof1_coordinator *coordinator);
/* {block: epoch} for the next plan of the family. New reference. */
json_t *nof1_epochs_next_json(const struct nof1_coordinator *coordinator,
                              const struct atom_list *list);

/* Is another run of the same outcome family between its roster and its end? Atoms are split in one
 * order at all sites, so such runs follow each other. */
bool nof1_family_busy(const struct nof1_coordinator *coordinator, const struct run *run);

/* coordinator_end.c: how attempts and runs end */
json_t *nof1_refusal_json(nof1_rc_value code, const char *text, int64_t retry_after);
nof1_rc nof1_run_abort(struct nof1_coordinator *coordinator, struct run *run, nof1_rc_value code);
nof1_rc nof1_run_refusal(struct nof1_coordinator *coordinator, struct run *run, size_t roster_index,
                         const Nof1__V1__Frame *frame);
nof1_rc nof1_run_refuse(struct nof1_coordinator *coordinator, struct run *run, nof1_rc_value code,
                        const char *text);
nof1_rc nof1_run_expire(struct nof1_coordinator *coordinator, struct run *run);
nof1_rc nof1_run_object(struct nof1_coordinator *coordinator, struct run *run);
nof1_rc nof1_run_release(struct nof1_coordinator *coordinator, struct run *run, json_t *result,
                         json_t *evidence);

/* release.c: is the new run answered by the totals of an earlier release (core/derive.h)? Then it
 * is released here and now; else it is left as it was. */
nof1_rc nof1_run_derive(struct nof1_coordinator *coordinator, struct run *run);

/* coordinator_record.c: what is stored and what is logged */
nof1_rc nof1_record_run(struct nof1_coordinator *coordinator, const struct run *run);
nof1_rc nof1_record_put(struct nof1_coordinator *coordinator, const char *folder, const char *hex,
                        const json_t *value, bool canonical);
/* Takes over `fields` (may be NULL: no memory). Adds kind, query, attempt, time and actor. */
nof1_rc nof1_record_entry(struct nof1_coordinator *coordinator, const struct run *run,
                          const char *kind, json_t *fields);
struct stored_run {
    struct nof1_slice plan, signature;
    const char *statistician;
    bool census;
    uint32_t attempt_number, faults;
    int64_t submitted, started;
    enum run_state state;
};
nof1_rc nof1_record_read(struct stored_run *out, struct nof1_arena *arena, struct nof1_slice bytes);

#endif
