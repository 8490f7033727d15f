/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The vault's checks (docs/protocol.md, "Limits on the totals"), as functions of public totals,
 * plan, charter and limits; each returns NOF1_OK or the code of its rule. Those at the end also
 * look at this site's own counts: their answer would tell which site objects, so the caller keeps
 * it silent (E2505 on the wire, the code in the site's own ledger).
 */
#ifndef NOF1_CORE_CHECKS_H
#define NOF1_CORE_CHECKS_H

#include <core/opening.h>
#include <core/ratio.h>

/* Everything public that is known when round 1 is opened. */
struct nof1_opened {
    const struct nof1_limits *limits;
    const struct nof1_query *query;
    const struct nof1_opening *opening;
    const struct nof1_loads *loads;
    const struct nof1_counts *counts;
    const double *total;     /* round 0, [opening->elements] */
    const uint64_t *charged; /* [atoms] ratio already released about each, billionths; NULL: none */
};

/* The same counts of this site alone. */
struct nof1_own {
    uint64_t patients, trials;
    const uint64_t *group_patients; /* [groups] */
    const uint64_t *atom_patients;  /* [atoms] used */
    const uint64_t *charged;        /* [atoms] ratio on the patients of others; NULL: none */
    const uint64_t *cell_patients;  /* [group * atoms + atom] used; NULL: not looked at */
};

/* Before any answer: E2204, E2203, E2201, E2202. `self` is this site's charter index. */
nof1_rc nof1_check_roster(const struct nof1_limits *limits, const struct nof1_query *query,
                          size_t self, struct nof1_error *error);
/* E2302, E2303, E2304: counts are of other plans, already charged. */
nof1_rc nof1_check_budget(const struct nof1_limits *limits, const struct nof1_query *query,
                          uint64_t queries_epoch, uint64_t queries_day, struct nof1_error *error);

/* E2401: the analysis publishes tables of counts, which the charter's limits cut, and this site
 * asks for larger cells or coarser counts than the charter: all that it can do is not to take part.
 */
nof1_rc nof1_check_tables(const struct nof1_limits *limits, const struct nof1_query *query,
                          struct nof1_error *error);

/* E2206, E2205 before round 0: the census already says that round 0 could not pass. What a set of
 * few patients is like must not be counted at all. NOF1_E_PLAN: there is no census. */
nof1_rc nof1_check_census(const struct nof1_limits *limits, const struct nof1_query *query,
                          struct nof1_error *error);

/* Totals of round 0 that no honest set of sites can give: E2501. */
nof1_rc nof1_check_totals(const struct nof1_opened *opened, struct nof1_error *error);
nof1_rc nof1_check_patients(const struct nof1_opened *opened, struct nof1_error *error); /* E2205 */
nof1_rc nof1_check_groups(const struct nof1_opened *opened, struct nof1_error *error);   /* E2206 */
nof1_rc nof1_check_support(const struct nof1_opened *opened, struct nof1_error *error);  /* E2209 */
nof1_rc nof1_check_atoms(const struct nof1_opened *opened, struct nof1_error *error);    /* E2210 */
/* E2307, E2308 */
nof1_rc nof1_check_parameters(const struct nof1_opened *opened, struct nof1_error *error);
nof1_rc nof1_check_ratio(const struct nof1_opened *opened, struct nof1_error *error);    /* E2301 */
nof1_rc nof1_check_entropy(const struct nof1_opened *opened, struct nof1_error *error);  /* E2311 */
/* All of the above, in that order. The census and the open lab: totals only. */
nof1_rc nof1_check_opening(const struct nof1_opened *opened, struct nof1_error *error);

/* Silent: E2207, E2212 (others, then net ratio), E2311 on the patients of others. */
nof1_rc nof1_check_own(const struct nof1_opened *opened, const struct nof1_own *own,
                       struct nof1_error *error);
/* Silent: E2208. The weights of this site's trials at the round's parameters. Those of others are
 * not known before the round's total is: `own_share` is this site's share in the round before, or
 * of the trials when there was none. */
nof1_rc nof1_check_weights(const struct nof1_limits *limits, size_t own_trials,
                           const double *weight, double own_share, struct nof1_error *error);

/* One part of an atom: nobody, or enough patients in enough sites. */
bool nof1_atom_allowed(const struct nof1_limits *limits, uint64_t patients, uint64_t sites);

/* This plan's ratio on the patients of an atom (public), and on those outside this site. */
uint64_t nof1_plan_ratio(const struct nof1_opened *opened, size_t atom);
uint64_t nof1_plan_net_ratio(const struct nof1_opened *opened, const struct nof1_own *own,
                             size_t atom);

#endif
