/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Round 0, which belongs to the framework: the layout of its counts, derived from plan, charter and
 * model only, so that every site and the coordinator name the same elements.
 *
 * [0] 1 per site; [1] trials used; [2] patients used; [3] trials left out; then per group:
 * patients, trials, sites; per roster block: patients; per sparse outcome element, and per factor
 * of such elements and group (the level without an element): sites feeding it, and patients, of
 * each site at most min_class_patients; per atom of the plan's list (docs/protocol.md, difference
 * rule) and roster block: patients and sites used, patients and sites not used; patients of atoms
 * that are not on the list; of the trials changed in some columns only: how many, and sum and sum
 * of squares of the number of the change; where the model has several groups, per atom, group and
 * roster block patients and sites used, because sums of a group are a release of their own; where
 * the list knows earlier releases, per atom and sparse element patients (of each site at most
 * min_atom_patients) and sites feeding it, of those used and of those left out, and patients left
 * out of whom it is not known any more; per changed atom, arm and outcome element the sites in
 * which the change moves it, and patients (capped alike) and sites in which it does by enough.
 * Every later round starts with the check elements [0] 1 per site and [1] trials used; the
 * analysis' elements follow.
 */
#ifndef NOF1_CORE_OPENING_H
#define NOF1_CORE_OPENING_H

#include <nof1/analysis.h>

#define NOF1_CHECK_ELEMENTS 2

/* What is counted of an atom in each roster block. */
enum nof1_atom_part {
    NOF1_ATOM_USED, NOF1_ATOM_USED_SITES, NOF1_ATOM_LEFT, NOF1_ATOM_LEFT_SITES, NOF1_ATOM_PARTS
};

/* Who feeds a sum: the trials whose term of a sparse element is not zero whatever the outcome, or
 * (reference) the trials of the group that feed no element of the factor. */
#define NOF1_SUPPORT_ROUNDS 3 /* later rounds have no other elements */
struct nof1_support {
    uint32_t round;
    size_t element; /* of the round; of a reference the factor's first element in the group */
    bool reference;
    const char *name;
};

/* What is counted of an atom about a sparse element. */
enum nof1_fed_part {
    NOF1_FED_USED, NOF1_FED_USED_SITES, NOF1_FED_LEFT, NOF1_FED_LEFT_SITES, NOF1_FED_PARTS
};

/* What the changes of a changed atom do to an arm's mean, or an outcome element. */
enum nof1_moved_part {
    NOF1_MOVED_AT_ALL, NOF1_MOVED_PATIENTS, NOF1_MOVED_SITES, NOF1_MOVED_PARTS
};

struct nof1_moving {
    uint32_t round;
    size_t element; /* of the round; of an arm its treatment */
    bool arm;       /* its mean, whatever the numbers are of: they may be combined */
    const char *name;
};

struct nof1_opening {
    size_t elements;
    size_t group_patients, group_trials, group_sites; /* first index of each run of model->groups */
    size_t block_patients;                            /* first index; plan->blocks entries */
    size_t sparse_sites;                              /* first index; sparse entries */
    size_t sparse_patients;                           /* first index; sparse entries */
    size_t sparse;                                    /* sparse elements, then level references */
    const struct nof1_support *support;               /* [sparse] */
    size_t atoms, atom_blocks;                        /* number of atoms, and of roster blocks */
    size_t atom_first;                                /* NOF1_ATOM_PARTS an atom and block */
    size_t unlisted;                                  /* patients of atoms that the plan lacks */
    size_t changed;                                   /* trials changed in part; two sums follow */
    size_t groups, cell_first;                        /* patients and sites an atom, group, block */
    bool later;                                       /* the list knows earlier releases: */
    size_t fed_first; /* NOF1_FED_PARTS an atom and sparse element */
    size_t unknown_first;                             /* one count an atom */
    size_t moved_atoms;                               /* changed atoms of the list */
    const size_t *moved_atom;                         /* [moved_atoms] */
    size_t moving;                                    /* arms, outcome elements; 0: none changed */
    const struct nof1_moving *move;                   /* [moving] */
    size_t moved_first;                               /* NOF1_MOVED_PARTS a moved atom, element */
    const char *const *name;                          /* [elements] */
};

/* atoms: plan->atoms, the atom keys the plan was made against (0: one atom "all"). */
nof1_rc nof1_opening_layout(struct nof1_opening *out, struct nof1_arena *arena,
                            const struct nof1_model *model, size_t atoms);
/* Are both elements levels of one factor in one group? */
bool nof1_support_same(const struct nof1_element *a, const struct nof1_element *b);
/* Index of one count of an atom in one roster block. */
size_t nof1_opening_atom_at(const struct nof1_opening *opening, size_t atom, size_t block,
                            enum nof1_atom_part part);
/* The count of an atom in all roster blocks together. */
double nof1_opening_atom(const struct nof1_opening *opening, const double *total, size_t atom,
                         enum nof1_atom_part part);
/* Index of the patients, and one further of the sites, that a group uses of an atom in one roster
 * block; with one group that is the atom's own count. */
size_t nof1_opening_cell_at(const struct nof1_opening *opening, size_t atom, size_t group,
                            size_t block);
/* The same in all roster blocks together; part: NOF1_ATOM_USED or NOF1_ATOM_USED_SITES. */
double nof1_opening_cell(const struct nof1_opening *opening, const double *total, size_t atom,
                         size_t group, enum nof1_atom_part part);
/* Index of one count of an atom and a sparse element, where the list knows earlier releases. */
size_t nof1_opening_fed_at(const struct nof1_opening *opening, size_t atom, size_t sparse,
                           enum nof1_fed_part part);
/* Index of the first of NOF1_MOVED_PARTS of the nth changed atom and of opening->move[moving]. */
size_t nof1_opening_moved_at(const struct nof1_opening *opening, size_t nth, size_t moving);
/* Decode totals of round 0 into counts (arrays in arena). */
nof1_rc nof1_opening_counts(struct nof1_counts *out, struct nof1_arena *arena,
                            const struct nof1_model *model, const struct nof1_opening *opening,
                            const double *total);

/* The parsed and prepared plan: everything vault, coordinator and auditor derive from the public
 * bytes. Both sessions start here. The census analysis (id "census") is built into core. */
struct nof1_query {
    struct nof1_arena *arena;
    struct nof1_study study;
    const struct nof1_analysis *analysis;
    struct nof1_model *model;
    bool census;
    size_t sites;               /* roster */
    const size_t *site;         /* charter indices, ascending */
};

/* Read plan bytes, check them against charter and census, prepare the model, recompute and compare
 * layout names and max_rounds. Behind `census` may be linked earlier ones: each block's counts are
 * those of the plan's epoch. Errors: NOF1_E_PLAN, NOF1_E_MODEL, NOF1_E2204, NOF1_E2404,
 * NOF1_E2601 ... */
nof1_rc nof1_query_new(struct nof1_query **out, const struct nof1_charter *charter,
                       const struct nof1_census *census, struct nof1_slice plan_bytes,
                       struct nof1_error *error);
void nof1_query_free(struct nof1_query *query);
/* Round a parameter to 40 significant bits, half to even. */
double nof1_round_parameter(double value);
/* Is `offered` a rounded parameter at most one unit of the 40th bit away from round(own)? */
bool nof1_parameter_close(double offered, double own);
/* The statistician's side: fill roster, epoch, atoms, layout, rounds, resolved form into a plan
 * from YAML, giving the canonical bytes to sign. plan->blocks 0: all; plan->atoms: the public list
 * the plan is made against, 0: nothing was released yet; plan->not_after 0: a month after
 * gathering; plan->block_epoch, which here is by charter block, NULL and plan->epoch 0: as counted
 * last. now: seconds UTC. */
nof1_rc nof1_query_complete(struct nof1_buffer *plan_bytes, const struct nof1_charter *charter,
                            const struct nof1_census *census, const struct nof1_plan *plan,
                            int64_t now, struct nof1_error *error);
/* Canonical bytes of the census plan of an epoch: derivable by everybody, needs no signature. */
nof1_rc nof1_census_plan(struct nof1_buffer *plan_bytes, const struct nof1_charter *charter,
                         uint32_t epoch);
/* The same where blocks (charter index) are at epochs of their own. */
nof1_rc nof1_census_plan_at(struct nof1_buffer *plan_bytes, const struct nof1_charter *charter,
                            const uint32_t *block_epoch);

#endif
