/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the site's session share; private to lib/core/site*.c. One `site_attempt` is
 * one try of one query with one nonce and one frozen roster; it owns the attempt's secrets. One
 * `site_record` is what the site remembers of a plan that it has been charged for.
 */
#ifndef NOF1_CORE_SITE_PARTS_H
#define NOF1_CORE_SITE_PARTS_H

#include <base/hex.h>
#include <core/atoms.h>
#include <core/charter.h>
#include <core/checks.h>
#include <core/frame.h>
#include <core/site.h>
#include <crypto/mask.h>
#include <crypto/transcript.h>

#define SITE_HEX (2 * NOF1_HASH_BYTES + 1)
#define SITE_ATTEMPTS_MAX 64  /* live at once; more are told to try again */
#define SITE_PART_DIGEST 16   /* hex digits of a part's digest in a site_unit's version */
#define SITE_UNLISTED UINT32_MAX /* atom index of a trial whose atom the plan does not list */
#define SITE_CHANGED 3        /* trials changed in part, sum and squares of their numbers */
#define SITE_HISTORY_MAX 200  /* finished attempts shown by status */

/* A round of an earlier run, which every later run of the plan must repeat. */
struct site_record_round {
    bool known, answered;
    size_t parameters;
    double *parameter;
    uint8_t total[NOF1_HASH_BYTES]; /* H(S_r), when known */
};

struct site_record {
    struct site_record *next;
    uint8_t h_q[NOF1_HASH_BYTES];
    uint32_t epoch;
    int64_t day;               /* UTC day of the charge */
    bool census;
    bool opened;               /* an answer to round 1 may have left: atoms are split */
    bool closed;               /* attested */
    double rho;                /* noisy counts: what they cost; 0: an answer without noise */
    uint8_t question[NOF1_HASH_BYTES]; /* what they count, whatever the plan */
    nof1_rc_value objected;    /* why the first run was met with silence: every re-run is, too */
    size_t parts;              /* opened: atom index per trial as of then, [trials] */
    uint32_t *part;
    uint64_t changed[SITE_CHANGED]; /* opened: what round 0 counted of trials changed in part */
    size_t moves;              /* opened: counts of what changes move, [moves] */
    uint32_t *move;
    size_t rounds;             /* max_rounds + 1 */
    struct site_record_round *round;
};

/* The ratio already released about an atom of a family: on all patients, and on those of others. */
struct site_charge {
    const char *key;
    uint64_t ratio, net;
    bool sparse;               /* numbers among them that not all of the atom's patients feed */
};

/* A trial that a release used. It stays when it is frozen no more: a sum without it would tell its
 * numbers by difference. */
struct site_unit {
    struct site_unit *next;
    const char *id;            /* hex of patient and of trial */
    const char *key;           /* its atom when a release last used it */
    size_t versions;
    const char **version;      /* digests of its parts in those releases, the last one last */
};

/* How many patients, in how many sites, of a released atom a block had in the last release of the
 * block's that this site took part in: public totals. */
struct site_holding {
    struct site_holding *next;
    const char *key, *block;
    uint64_t patients, sites;
};

/* An outcome that was released, as the charter had it. */
struct site_released {
    struct site_released *next;
    const char *name;
    double lower, upper, quantum;
};

/* A frozen epoch held against what a family's releases used. */
struct site_view {
    struct site_view *next;
    const struct nof1_epoch *epoch;
    struct site_unit **unit;   /* [trials] NULL: never used */
    const char **series;       /* [trials] digests of the parts, as frozen */
    const char **key;          /* [trials] the atom now */
    uint32_t *number;          /* [trials] of a change in part; 0: none */
    size_t gone;
    struct site_unit **left;   /* [gone] used by releases, but not frozen in this epoch */
};

struct site_family {
    const char *name;
    size_t parts;
    const char **part;         /* names of what a trial's digests are of */
    struct site_unit *units;
    struct site_view *views;   /* of each epoch kept */
    uint32_t epoch;            /* the last that a release used; 0: none. There is no way back */
    struct site_holding *holdings;
    struct site_released *released;
    uint64_t version;          /* changes with every split */
    size_t charges;
    struct site_charge *charge;
};

enum site_phase {
    SITE_WAITING,              /* for the steward's approval */
    SITE_ADVERTISED,           /* key sent, roster awaited */
    SITE_ROUNDS,               /* roster frozen */
    SITE_ATTESTED
};

/* An answer that waits for its time; in the ledger already. */
struct site_held {
    struct site_held *next;
    const struct site_attempt *attempt;    /* NULL: a refusal, of an attempt that is over */
    int64_t asked, delay;                  /* milliseconds: when it was asked for, for how long */
    bool measured;                         /* how long the work took is known */
    size_t length;
    uint8_t bytes[];
};

struct site_attempt {
    struct site_attempt *next;
    struct nof1_arena *arena;
    enum site_phase phase;
    uint8_t h_q[NOF1_HASH_BYTES], nonce[NOF1_HASH_BYTES];
    struct nof1_query *query;
    const struct nof1_epoch *epoch;        /* of this site's block in the plan */
    struct site_record *record;            /* NULL: not charged yet */
    int64_t deadline;                      /* milliseconds; of gathering, then of the run */

    uint8_t *secret;                       /* X25519; [NOF1_X25519_BYTES], zero after the roster */
    struct nof1_masker *masker;
    struct nof1_slice key_ad;              /* own frame, as sent */
    struct nof1_slice roster;              /* the roster frame, as accepted */
    uint8_t own_x25519[NOF1_X25519_BYTES], own_nonce[NOF1_HASH_BYTES];
    uint8_t h_roster[NOF1_HASH_BYTES];
    uint8_t transcript[NOF1_HASH_BYTES];   /* h of the last answered round */

    int64_t round;                         /* last answered; -1: none */
    struct nof1_slice request, reply;      /* of the last answer: identical bytes get it again */
    struct nof1_slice own_vector;          /* y of the last answer */
    struct nof1_slice own_signature;       /* and what was signed over it */
    size_t elements;                       /* of the last answer, check elements included */
    int64_t delay;                         /* milliseconds that its answers wait, at least */

    struct nof1_opening opening;
    const double *opening_total;           /* S_0, once opened */
    struct nof1_loads loads;
    struct nof1_counts counts;
    struct nof1_history history;
    struct nof1_round_total *total;        /* [max_rounds] behind history.round */
    const double *parameter;               /* of the last answered round */
    size_t parameters;

    int *group;                            /* [trials] NOF1_LEFT_OUT or the group */
    uint32_t *part;                        /* [trials] atom index of the plan's list */
    uint64_t *atom_patients; /* [atoms] used, then left out, then used of each group */
    uint64_t unlisted;                     /* patients of atoms that the plan does not list */
    uint64_t changed[SITE_CHANGED];
    size_t moves;                          /* NOF1_MOVED_PARTS a changed atom and element */
    uint32_t *move;                        /* [moves] */
    void *scratch;
    struct nof1_own own;
    const double *site_mean;               /* of site_value over own trials; NULL: not asked for */
    uint64_t family_version;               /* when round 0 was counted */
    double own_element; /* of analysis->weight_element, own sum of the last round */
    nof1_rc_value objection;               /* NOF1_OK, or the rule that keeps this site silent */
};

/* What status shows of an attempt that is over. */
struct site_past {
    uint8_t h_q[NOF1_HASH_BYTES];
    const char *state;
    char analysis[NOF1_NAME_MAX + 1], title[NOF1_TITLE_MAX + 1];
    nof1_rc_value code;
};

/* How many of something there were in this minute and this day. */
struct site_flow {
    int64_t minute, day;
    uint64_t in_minute, in_day;
};

/* A set of plans, by hash. */
struct site_plans {
    size_t count;
    uint8_t (*plan)[NOF1_HASH_BYTES];
};

struct nof1_site {
    struct nof1_site_config config;
    struct nof1_arena *arena;              /* lives as long as the session */
    size_t self;                           /* charter index */
    struct nof1_verifier *verifier;        /* of the sites' keys, by charter index */
    bool paused;
    bool has_offer;                        /* a later charter was offered: */
    uint8_t offered[NOF1_HASH_BYTES];      /* the last one's hash */
    uint32_t stopped; /* no answer about epochs up to this: a trial was withdrawn */
    size_t families;
    struct site_family *family;
    struct site_record *records;           /* of any epoch */
    const struct nof1_census *census;      /* the last; earlier ones behind it; NULL: none taken */
    struct site_attempt *attempts;
    struct site_held *held;                /* in the order in which they were asked for */
    struct site_past *past;                /* [SITE_HISTORY_MAX], the latest at past_count - 1 */
    size_t past_count;                     /* of all times: the oldest give way */
    struct site_plans accepted, waited;    /* that is in the ledger */
    struct site_plans approved, declined;  /* by the steward, offered or not yet */
    struct site_flow refusals, tries, greetings, charters;
    uint64_t unanswered;                   /* refusals not sent since the last entry about them */
    bool greets_later;
    /* of the step in progress */
    struct nof1_actions *actions;
    struct nof1_arena *scratch;
    int64_t now;
    struct nof1_error error;               /* why; its message stays inside */
};

/* A step's result: NOF1_E_NO_MEMORY, NOF1_E_CRYPTO and NOF1_E_BUG stop the process, everything else
 * is a refusal. */
static inline bool site_fatal(nof1_rc_value rc)
{
    return rc == NOF1_E_NO_MEMORY || rc == NOF1_E_CRYPTO || rc == NOF1_E_BUG || rc == NOF1_E_STORE;
}

/* The lab's policy open allows a roster of one site: there is nobody to hide from and nobody to
 * share a mask with. Everywhere else a roster of one is refused long before, and the masks refuse
 * it too. */
static inline bool site_is_alone(const struct nof1_site *site, const struct site_attempt *attempt)
{
    return site->config.lab && site->config.policy.open && attempt->query->sites == 1;
}

/* site.c */
struct site_attempt *nof1_site_attempt(const struct nof1_site *site, ProtobufCBinaryData query);
void nof1_site_drop(struct nof1_site *site, struct site_attempt *attempt, const char *state,
                    nof1_rc_value code);
/* Send a signed refusal; the attempt, if any, is over. */
nof1_rc nof1_site_refuse(struct nof1_site *site, const uint8_t h_q[NOF1_HASH_BYTES],
                         const uint8_t nonce[NOF1_HASH_BYTES], nof1_rc_value code);
/* Write the frame and its ledger entry; who calls sends the bytes or holds them. */
nof1_rc nof1_site_write(struct nof1_site *site, const Nof1__V1__Frame *frame,
                        struct nof1_arena *arena, struct nof1_slice *bytes);
nof1_rc nof1_site_resend(struct nof1_site *site, struct nof1_slice bytes);
nof1_rc nof1_site_timer(struct nof1_site *site, int64_t at);

/* site_flood.c: what others can make the site write down */
/* May a refusal of no attempt be sent? If not it is counted; the count becomes an entry later. */
nof1_rc nof1_site_may_refuse(struct nof1_site *site, bool *may);
/* E2304: too many attempts in a day. */
nof1_rc nof1_site_may_try(struct nof1_site *site);
bool nof1_site_may_greet(struct nof1_site *site);
/* May one more offered charter be kept today? Whoever signs charters must not fill the disk. */
bool nof1_site_may_keep_charter(struct nof1_site *site);

/* site_record.c: store and ledger */
/* Put a census before those that are known; lives as long as the session. */
nof1_rc nof1_site_add_census(struct nof1_site *site, const struct nof1_census *census);
nof1_rc nof1_site_restore(struct nof1_site *site, struct nof1_error *error);
struct site_record *nof1_site_record(const struct nof1_site *site, const uint8_t *h_q);
nof1_rc nof1_site_put_record(struct nof1_site *site, const struct site_record *record);
/* Takes over `fields` (NULL: none). Adds query, time and site. */
nof1_rc nof1_site_append(struct nof1_site *site, const char *kind, const uint8_t *h_q,
                         json_t *fields);
nof1_rc nof1_site_put(struct nof1_site *site, const char *key, json_t *value);

/* site_steward.c: approval, withdrawal, and what the steward can look up */
bool nof1_site_has_plan(const struct site_plans *plans, const uint8_t h_q[NOF1_HASH_BYTES]);
nof1_rc nof1_site_add_plan(struct nof1_site *site, struct site_plans *plans,
                           const uint8_t h_q[NOF1_HASH_BYTES]);
/* May the attempt go on without waiting for the steward? */
bool nof1_site_approved(const struct nof1_site *site, const struct site_attempt *attempt);
/* Read approvals, refusals and whether a withdrawal stopped this epoch. */
nof1_rc nof1_site_restore_steward(struct nof1_site *site, struct nof1_error *error);
/* Remember which trials an attempt uses: "used/HEX", for `nof1-node trial queries`. */
nof1_rc nof1_site_put_used(struct nof1_site *site, const struct site_attempt *attempt);
/* Log a frame before it leaves: kind, round, digest, length. */
nof1_rc nof1_site_note_sent(struct nof1_site *site, const Nof1__V1__Frame *frame,
                            struct nof1_slice bytes);

/* site_charter.c: a later charter, for the steward to look at */
nof1_rc nof1_site_restore_offer(struct nof1_site *site);
/* *news: it was not known; then it is kept. One that the consortium has not signed is ignored. */
nof1_rc nof1_site_take_offer(bool *news, struct nof1_site *site,
                             const Nof1__V1__CharterOffer *offer);
/* What the Hello says of it; borrows from the session. */
nof1_rc nof1_site_say_offer(struct nof1_site *site, Nof1__V1__Hello *hello);

/* site_series.c: what a trial's numbers were in earlier releases and what they are now */
/* Fill family->part: `stored` names in their order, then those of the charter. */
nof1_rc nof1_site_name_parts(struct nof1_site *site, struct site_family *family, size_t stored,
                             const char *const *name);
/* SITE_PART_DIGEST hex digits a part, dashes for one that the charter lacks. */
nof1_rc nof1_site_series(const char **out, struct nof1_site *site,
                         const struct site_family *family, const struct nof1_trial *trial);
/* The digest of a part; NULL: the part was not on the charter then. Borrows. */
const char *nof1_site_part(const char *series, size_t part);
bool nof1_site_is_outcome(const struct site_family *family, size_t part);
/* "", NOF1_ATOM_ANEW or NOF1_ATOM_IN_PART; then `number` names the change, else it is 0. */
nof1_rc nof1_site_change(const char **change, uint32_t *number, struct nof1_arena *arena,
                         const struct site_family *family, const struct site_unit *unit,
                         const char *now);
/* The series as it is now is being used: changed since the last release, or the same. */
nof1_rc nof1_site_remember(struct nof1_site *site, struct site_family *family,
                           struct site_unit *unit, const char *now, bool changed);

/* site_memory.c: the difference rule's memory in the store, "atoms/FAMILY" */
nof1_rc nof1_site_restore_family(struct nof1_site *site, struct site_family *family,
                                 struct nof1_error *error);
nof1_rc nof1_site_put_family(struct nof1_site *site, const struct site_family *family);
nof1_rc nof1_site_add_charge(struct nof1_site *site, struct site_family *family,
                             struct site_charge charge);
nof1_rc nof1_site_hold(struct nof1_site *site, struct site_family *family, const char *key,
                       const char *block, uint64_t patients, uint64_t sites);

/* site_view.c: epochs held against what releases used */
nof1_rc nof1_site_restore_atoms(struct nof1_site *site, struct nof1_error *error);
struct site_view *nof1_site_view(const struct site_family *family, const struct nof1_epoch *epoch);
/* Hold the epoch's trials against what releases used by now. */
nof1_rc nof1_site_place(struct nof1_site *site, struct site_family *family, struct site_view *view);
/* nof1_site_trial_id of a frozen trial; in arena. */
const char *nof1_site_id_of(struct nof1_arena *arena, const struct nof1_epoch *epoch, size_t trial);

/* site_atoms.c: what a plan uses and leaves out of every atom, and what a release changes */
struct site_family *nof1_site_family(const struct nof1_site *site, const struct nof1_plan *plan);
/* Index of a key in the plan's list; the number of atoms when it is not there. */
size_t nof1_site_atom_index(const struct nof1_plan *plan, const char *key);
/* The plan's list holds every atom of its roster that earlier totals showed to this site: E2210,
 * said by every site alike that took part in the same releases. */
nof1_rc nof1_site_check_listed(const struct nof1_site *site, const struct nof1_query *query,
                               struct nof1_error *error);
/* Fill attempt->part and what round 0 counts of atoms: of each the patients with a trial used and
 * those with a trial left out. */
nof1_rc nof1_site_parts(struct nof1_site *site, struct site_attempt *attempt);
/* E2210: the plan would part patients of its roster from too few in blocks outside it. */
nof1_rc nof1_site_check_outside(struct nof1_site *site, const struct site_attempt *attempt,
                                const struct nof1_opened *opened);
/* Have releases used the atom's patients in numbers that not all of them fed? */
bool nof1_site_was_sparse(const struct site_family *family, const char *key);
/* Charged ratio per atom of the plan: [0] public, [1] net. */
nof1_rc nof1_site_charged(const struct nof1_site *site, const struct site_attempt *attempt,
                          uint64_t *charged[2]);
/* Split the atoms and charge the ratio: before the first answer to round 1 leaves. */
nof1_rc nof1_site_split(struct nof1_site *site, struct site_attempt *attempt,
                        const struct nof1_opened *opened);

/* site_offer.c, site_roster.c */
nof1_rc nof1_site_offer(struct nof1_site *site, const Nof1__V1__Frame *frame);
/* E2302, E2303, E2304 against what is charged by now; nothing for a plan that is charged itself. */
nof1_rc nof1_site_check_budget(struct nof1_site *site, const struct nof1_query *query);
nof1_rc nof1_site_advertise(struct nof1_site *site, struct site_attempt *attempt);
nof1_rc nof1_site_approve(struct nof1_site *site, const struct nof1_event *event);
nof1_rc nof1_site_roster(struct nof1_site *site, struct site_attempt *attempt,
                         const Nof1__V1__Frame *frame, struct nof1_slice bytes);

/* site_verify.c: re-add signed vectors of the last answered round, check the total */
nof1_rc nof1_site_verify(struct nof1_site *site, struct site_attempt *attempt, size_t count,
                         Nof1__V1__Masked *const *masked, struct nof1_slice total);
/* Check elements, bounds, earlier runs; then take the total into the history. */
nof1_rc nof1_site_take_total(struct nof1_site *site, struct site_attempt *attempt,
                             struct nof1_slice total, uint8_t total_hash[NOF1_HASH_BYTES]);

/* site_delay.c: answers leave after a time that does not depend on this site's data */
/* From now on the attempt's answers wait as long as `elements` numbers of everybody may take. */
void nof1_site_set_delay(const struct nof1_site *site, struct site_attempt *attempt,
                         size_t elements);
/* Send `bytes` when `delay` milliseconds have passed since this event; attempt NULL: a refusal. */
nof1_rc nof1_site_answer(struct nof1_site *site, const struct site_attempt *attempt, int64_t delay,
                       struct nof1_slice bytes);
/* Does an answer of the attempt wait? It is not sent a second time then. */
bool nof1_site_is_answering(const struct nof1_site *site, const struct site_attempt *attempt);
/* The attempt is over: what waits of it never leaves. */
void nof1_site_forget_held(struct nof1_site *site, const struct site_attempt *attempt);
nof1_rc nof1_site_let_go(struct nof1_site *site);

/* The trial as an analysis sees it: with its site, and its site's means. */
struct nof1_trial nof1_site_trial(const struct nof1_site *site, const struct site_attempt *attempt,
                                  size_t t);

/* site_feeding.c: at count[opening->sparse_sites] whether some trial could feed each sparse
 * element, whatever its outcomes are, and at sparse_patients how many patients could; the same of
 * every atom's part */
nof1_rc nof1_site_count_feeding(struct nof1_site *site, struct site_attempt *attempt,
                                double *count);

/* site_moved.c: what changes since earlier releases do to outcome elements, into attempt->moved, or
 * as the plan's first run counted it; and into count */
nof1_rc nof1_site_count_moved(struct nof1_site *site, struct site_attempt *attempt, double *count);

/* site_count.c: this site's numbers */
nof1_rc nof1_site_assign(struct nof1_site *site, struct site_attempt *attempt);
nof1_rc nof1_site_count(struct nof1_site *site, struct site_attempt *attempt,
                        struct nof1_ring *y);
nof1_rc nof1_site_contribute(struct nof1_site *site, struct site_attempt *attempt, uint32_t round,
                             const double *theta, const struct nof1_layout *layout,
                             struct nof1_ring *y);
nof1_rc nof1_site_object(struct nof1_site *site, size_t elements, struct nof1_ring *y);
nof1_rc nof1_site_weights(struct nof1_site *site, struct site_attempt *attempt,
                          const double *theta);

/* site_noise.c: differential privacy */
/* E2312: this question and those of the last 365 days would cost more than dp_epsilon_year. */
nof1_rc nof1_site_check_noise(struct nof1_site *site, const struct nof1_query *query);
/* Write into a record what its plan costs. */
nof1_rc nof1_site_note_noise(struct site_record *record, struct nof1_site *site,
                             const struct nof1_query *query);
/* Add this site's share to the encoded numbers of a round, trials or none. */
nof1_rc nof1_site_add_noise(struct nof1_site *site, const struct site_attempt *attempt,
                            uint32_t round, const struct nof1_layout *layout, struct nof1_ring *y);

/* site_round.c, site_close.c */
nof1_rc nof1_site_round(struct nof1_site *site, struct site_attempt *attempt,
                        const Nof1__V1__Frame *frame, struct nof1_slice bytes);
nof1_rc nof1_site_close(struct nof1_site *site, struct site_attempt *attempt,
                        const Nof1__V1__Frame *frame, struct nof1_slice bytes);
nof1_rc nof1_site_end(struct nof1_site *site, struct site_attempt *attempt,
                      const Nof1__V1__End *end);

#endif
