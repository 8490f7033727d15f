/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The vault's checks, one small function a rule (docs/protocol.md, "Limits on the totals").
 * Messages name rules, limits and public elements; never a count, neither of this site nor of all.
 */
#include <core/checks.h>

#include <math.h>
#include <stdio.h>

#include <core/charter.h>
#include <core/entropy.h>

#define NAME_MAX_CENSUS 512 /* two names of the charter */

nof1_rc nof1_check_roster(const struct nof1_limits *limits, const struct nof1_query *query,
                          size_t self, struct nof1_error *error)
{
    const struct nof1_charter *charter = query->study.charter;
    const struct nof1_plan *plan = query->study.plan;
    bool named = false;
    for (size_t s = 0; s < query->sites; s++) {
        named = named || query->site[s] == self;
    }
    if (!named) {
        return nof1_fail(error, NOF1_E2204, "the roster does not hold this site");
    }
    if (limits->open || query->census) {
        return NOF1_OK;
    }
    for (size_t b = 0; b < plan->blocks; b++) {
        if (charter->block[plan->block[b]].sites < limits->min_block_sites) {
            return nof1_fail(error, NOF1_E2203, "block %s needs at least %u sites",
                             charter->block[plan->block[b]].id, limits->min_block_sites);
        }
    }
    if (query->sites < limits->min_sites) {
        return nof1_fail(error, NOF1_E2201, "needs at least %u sites", limits->min_sites);
    }
    uint32_t remain = limits->min_sites <= 3 ? 2 : 3;
    if (query->sites < (size_t)limits->assumed_colluders + remain) {
        return nof1_fail(error, NOF1_E2202, "needs %u sites beside %u assumed colluders", remain,
                         limits->assumed_colluders);
    }
    return NOF1_OK;
}

nof1_rc nof1_check_budget(const struct nof1_limits *limits, const struct nof1_query *query,
                          uint64_t queries_epoch, uint64_t queries_day, struct nof1_error *error)
{
    if (limits->open || query->census) {
        return NOF1_OK;
    }
    if (query->model->max_rounds > limits->max_rounds_query) {
        return nof1_fail(error, NOF1_E2302, "at most %u rounds", limits->max_rounds_query);
    }
    if (queries_epoch >= limits->max_queries_epoch) {
        return nof1_fail(error, NOF1_E2303, "at most %u queries an epoch",
                         limits->max_queries_epoch);
    }
    if (queries_day >= limits->max_queries_day) {
        return nof1_fail(error, NOF1_E2304, "at most %u queries a day", limits->max_queries_day);
    }
    return NOF1_OK;
}

nof1_rc nof1_check_tables(const struct nof1_limits *limits, const struct nof1_query *query,
                          struct nof1_error *error)
{
    const struct nof1_limits *charter = &query->study.charter->limits;
    if (limits->open || query->census || !query->analysis->tables) {
        return NOF1_OK;
    }
    if (limits->min_cell > charter->min_cell) {
        return nof1_fail(error, NOF1_E2401, "a site wants at least %u patients in every cell",
                         limits->min_cell);
    }
    if (limits->rounding > charter->rounding) {
        return nof1_fail(error, NOF1_E2401, "a site wants counts rounded to multiples of %u",
                         limits->rounding);
    }
    return NOF1_OK;
}

static uint64_t count_at(const struct nof1_opened *opened, size_t index)
{
    return (uint64_t)opened->total[index]; /* nof1_opening_counts has read every total as a count */
}

static uint64_t cap_of(const struct nof1_query *query, const struct nof1_block *block)
{
    uint64_t cap = 0;
    for (size_t s = 0; s < block->sites; s++) {
        cap += query->study.charter->site[block->site[s]].patient_cap;
    }
    return cap;
}

static uint64_t largest_cap(const struct nof1_query *query)
{
    uint64_t cap = 0;
    for (size_t s = 0; s < query->sites; s++) {
        uint32_t own = query->study.charter->site[query->site[s]].patient_cap;
        cap = own > cap ? own : cap;
    }
    return cap;
}

nof1_rc nof1_check_totals(const struct nof1_opened *opened, struct nof1_error *error)
{
    const struct nof1_query *query = opened->query;
    const struct nof1_plan *plan = query->study.plan;
    const struct nof1_counts *counts = opened->counts;
    bool possible = counts->sites == query->sites && counts->patients <= counts->trials;
    uint64_t patients = 0;
    for (size_t b = 0; b < plan->blocks; b++) {
        uint64_t block = count_at(opened, opened->opening->block_patients + b);
        possible = possible && block <= cap_of(query, &query->study.charter->block[plan->block[b]]);
        patients += block;
    }
    for (size_t g = 0; g < query->model->groups; g++) {
        possible = possible && counts->group_patients[g] <= counts->patients &&
                   counts->group_patients[g] <= counts->group_trials[g] &&
                   counts->group_sites[g] <= counts->sites;
    }
    if (!possible || patients != counts->patients) {
        return nof1_fail(error, NOF1_E2501, "the counts of round 0 are not possible");
    }
    return NOF1_OK;
}

/* Beside what the assumed colluders may hold. */
static uint64_t needed_patients(const struct nof1_limits *limits, const struct nof1_query *query)
{
    return limits->assumed_colluders * largest_cap(query) + limits->min_patients_honest;
}

static nof1_rc too_few_patients(const struct nof1_limits *limits, struct nof1_error *error)
{
    return nof1_fail(error, NOF1_E2205,
                     "needs at least %u patients beside what assumed colluders may hold",
                     limits->min_patients_honest);
}

static nof1_rc too_few_in_block(const struct nof1_limits *limits, const struct nof1_query *query,
                                size_t block, struct nof1_error *error)
{
    return nof1_fail(error, NOF1_E2206, "block %s needs at least %u patients",
                     query->study.charter->block[block].id, limits->min_patients_block);
}

/* Patients of one block whom the plan may use, as the census has them: never fewer than in round 0.
 */
static uint64_t census_block(const struct nof1_query *query, size_t block)
{
    const struct nof1_charter *charter = query->study.charter;
    const struct nof1_covariate *strata = nof1_charter_strata(charter);
    struct nof1_plan plan = *query->study.plan;
    const struct nof1_study study = {.charter = charter, .plan = &plan,
                                     .census = query->study.census};
    char name[NAME_MAX_CENSUS];
    uint64_t patients = 0;
    plan.blocks = 1;
    plan.block = &block;
    if (plan.strata == 0 || strata == NULL) {
        (void)snprintf(name, sizeof name, "%s/patients", plan.outcome_name);
        return nof1_census_count(&study, name);
    }
    for (size_t s = 0; s < plan.strata; s++) {
        (void)snprintf(name, sizeof name, "%s/stratum:%s", plan.outcome_name,
                       strata->level[plan.stratum[s]]);
        patients += nof1_census_count(&study, name);
    }
    return patients;
}

nof1_rc nof1_check_census(const struct nof1_limits *limits, const struct nof1_query *query,
                          struct nof1_error *error)
{
    const struct nof1_plan *plan = query->study.plan;
    uint64_t all = 0;
    if (limits->open || query->census) {
        return NOF1_OK;
    }
    if (query->study.census == NULL) {
        return nof1_fail(error, NOF1_E_PLAN, "the epoch has no census yet");
    }
    for (size_t b = 0; b < plan->blocks; b++) {
        all += census_block(query, plan->block[b]);
    }
    if (all < needed_patients(limits, query)) {
        return too_few_patients(limits, error);
    }
    for (size_t b = 0; b < plan->blocks; b++) {
        if (census_block(query, plan->block[b]) < limits->min_patients_block) {
            return too_few_in_block(limits, query, plan->block[b], error);
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_check_patients(const struct nof1_opened *opened, struct nof1_error *error)
{
    bool enough = opened->counts->patients >= needed_patients(opened->limits, opened->query);
    return enough ? NOF1_OK : too_few_patients(opened->limits, error);
}

nof1_rc nof1_check_groups(const struct nof1_opened *opened, struct nof1_error *error)
{
    const struct nof1_model *model = opened->query->model;
    const struct nof1_plan *plan = opened->query->study.plan;
    for (size_t b = 0; b < plan->blocks; b++) {
        if (count_at(opened, opened->opening->block_patients + b) <
            opened->limits->min_patients_block) {
            return too_few_in_block(opened->limits, opened->query, plan->block[b], error);
        }
    }
    for (size_t g = 0; model->group_is_class && g < model->groups; g++) {
        uint64_t patients = opened->counts->group_patients[g];
        if (patients > 0 && patients < opened->limits->min_class_patients) {
            return nof1_fail(error, NOF1_E2206, "%s needs at least %u patients", model->group[g],
                             opened->limits->min_class_patients);
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_check_support(const struct nof1_opened *opened, struct nof1_error *error)
{
    const struct nof1_model *model = opened->query->model;
    uint32_t least = opened->limits->min_element_sites;
    for (size_t g = 0; g < model->groups; g++) {
        if (opened->counts->group_sites[g] > 0 && opened->counts->group_sites[g] < least) {
            return nof1_fail(error, NOF1_E2209, "%s needs trials in at least %u sites",
                             model->group[g], least);
        }
    }
    for (size_t i = 0; i < opened->opening->sparse; i++) {
        size_t at = opened->opening->sparse_sites + i;
        uint64_t sites = count_at(opened, at);
        if (sites > 0 && sites < least) {
            return nof1_fail(error, NOF1_E2209, "%s needs at least %u sites",
                             opened->opening->name[at], least);
        }
        at = opened->opening->sparse_patients + i;
        uint64_t patients = count_at(opened, at);
        if (patients > 0 && patients < opened->limits->min_class_patients) {
            return nof1_fail(error, NOF1_E2209, "%s needs at least %u patients",
                             opened->opening->name[at], opened->limits->min_class_patients);
        }
    }
    return NOF1_OK;
}

static uint64_t atom_count(const struct nof1_opened *opened, size_t atom, enum nof1_atom_part part)
{
    return (uint64_t)nof1_opening_atom(opened->opening, opened->total, atom, part);
}

bool nof1_atom_allowed(const struct nof1_limits *limits, uint64_t patients, uint64_t sites)
{
    return patients == 0 ||
           (patients >= limits->min_atom_patients && sites >= limits->min_element_sites);
}

/* Trials changed in some columns only are one set where they changed in the same ones: then all of
 * them have one number, and the squares add up to no more than they must. */
static bool changed_alike(const struct nof1_opened *opened)
{
    uint64_t trials = count_at(opened, opened->opening->changed);
    uint64_t sum = count_at(opened, opened->opening->changed + 1);
    uint64_t squares = count_at(opened, opened->opening->changed + 2);
    if (trials == 0) {
        return true;
    }
    uint64_t number = sum / trials;
    return number <= UINT16_MAX && sum % trials == 0 && squares == sum * number;
}

/* Sums of a group less an earlier release hold only those patients of the atom that are in it. */
static bool groups_allowed(const struct nof1_opened *opened, size_t atom)
{
    const struct nof1_opening *opening = opened->opening;
    bool allowed = true;
    for (size_t g = 0; g < opening->groups; g++) {
        allowed = allowed &&
                  nof1_atom_allowed(
                      opened->limits,
                      (uint64_t)nof1_opening_cell(opening, opened->total, atom, g, NOF1_ATOM_USED),
                      (uint64_t)nof1_opening_cell(opening, opened->total, atom, g,
                                                  NOF1_ATOM_USED_SITES));
    }
    return allowed && nof1_atom_allowed(opened->limits, atom_count(opened, atom, NOF1_ATOM_USED),
                                        atom_count(opened, atom, NOF1_ATOM_USED_SITES));
}

/* Sums less earlier ones are sums of an atom's part: a number that few of the part feed tells of
 * those few. Of `unknown` patients nobody can tell any more whether they feed it. */
static bool fed_allowed(const struct nof1_opened *opened, size_t at, uint64_t unknown)
{
    uint64_t patients = count_at(opened, at), sites = count_at(opened, at + 1);
    return nof1_atom_allowed(opened->limits, patients, sites) &&
           (unknown == 0 || patients >= opened->limits->min_atom_patients);
}

static nof1_rc check_fed(const struct nof1_opened *opened, size_t atom, struct nof1_error *error)
{
    const struct nof1_opening *opening = opened->opening;
    for (size_t i = 0; opening->later && i < opening->sparse; i++) {
        uint64_t unknown = count_at(opened, opening->unknown_first + atom);
        if (!fed_allowed(opened, nof1_opening_fed_at(opening, atom, i, NOF1_FED_USED), 0) ||
            !fed_allowed(opened, nof1_opening_fed_at(opening, atom, i, NOF1_FED_LEFT), unknown)) {
            return nof1_fail(error, NOF1_E2210,
                             "%s: of the patients used and of those left out, of every set that "
                             "earlier releases treated alike, nobody or at least %u in %u sites "
                             "must feed it", opening->support[i].name,
                             opened->limits->min_atom_patients, opened->limits->min_element_sites);
        }
    }
    return NOF1_OK;
}

/* New sums less earlier ones hold, number by number, what changes have moved: a change hides among
 * changes that moved the same number by about as much, not among patients who changed elsewhere. */
static nof1_rc check_moved(const struct nof1_opened *opened, size_t nth, struct nof1_error *error)
{
    const struct nof1_opening *opening = opened->opening;
    const struct nof1_limits *limits = opened->limits;
    for (size_t i = 0; i < opening->moving; i++) {
        size_t at = nof1_opening_moved_at(opening, nth, i);
        uint64_t patients = count_at(opened, at + NOF1_MOVED_PATIENTS);
        if (count_at(opened, at + NOF1_MOVED_AT_ALL) > 0 &&
            (patients < limits->min_atom_patients ||
             !nof1_atom_allowed(limits, patients, count_at(opened, at + NOF1_MOVED_SITES)))) {
            return nof1_fail(error, NOF1_E2210,
                             "%s: series that changed since an earlier release must move it for "
                             "nobody, or clearly for at least %u patients in %u sites",
                             opening->move[i].name, limits->min_atom_patients,
                             limits->min_element_sites);
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_check_atoms(const struct nof1_opened *opened, struct nof1_error *error)
{
    if (count_at(opened, opened->opening->unlisted) > 0) {
        return nof1_fail(error, NOF1_E2210,
                         "the plan was made against another list of earlier releases");
    }
    if (!changed_alike(opened)) {
        return nof1_fail(error, NOF1_E2210,
                         "series that changed since their last release in some columns only must "
                         "have changed in the same columns");
    }
    for (size_t a = 0; a < opened->opening->atoms; a++) {
        if (!groups_allowed(opened, a) ||
            !nof1_atom_allowed(opened->limits, atom_count(opened, a, NOF1_ATOM_LEFT),
                               atom_count(opened, a, NOF1_ATOM_LEFT_SITES))) {
            return nof1_fail(error, NOF1_E2210,
                             "patients used (by class, where the sums are) and patients left out, "
                             "of every set that earlier releases treated alike, must be none or "
                             "at least %u in %u sites",
                             opened->limits->min_atom_patients, opened->limits->min_element_sites);
        }
        TRY(check_fed(opened, a, error));
    }
    for (size_t nth = 0; nth < opened->opening->moved_atoms; nth++) {
        TRY(check_moved(opened, nth, error));
    }
    return NOF1_OK;
}

nof1_rc nof1_check_parameters(const struct nof1_opened *opened, struct nof1_error *error)
{
    double patients = (double)opened->counts->patients;
    double parameters = opened->query->model->fixed_parameters;
    if (parameters > opened->limits->max_params_ratio * patients) {
        return nof1_fail(error, NOF1_E2307, "at most %g parameters a patient",
                         opened->limits->max_params_ratio);
    }
    if (patients - parameters < opened->limits->min_residual_df) {
        return nof1_fail(error, NOF1_E2308, "at least %u residual degrees of freedom",
                         opened->limits->min_residual_df);
    }
    return NOF1_OK;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t nof1_plan_ratio(const struct nof1_opened *opened, size_t atom)
{
    uint64_t used = atom_count(opened, atom, NOF1_ATOM_USED);
    if (used == 0) {
        return 0;
    }
    uint64_t groups =
        nof1_ratio_groups(opened->loads, opened->query->model->groups, opened->counts->patients,
                          opened->counts->group_patients, 0, NULL);
    return larger(groups,
                  nof1_ratio_atom(opened->loads, opened->opening, opened->total, atom, used));
}

nof1_rc nof1_check_ratio(const struct nof1_opened *opened, struct nof1_error *error)
{
    uint64_t limit = nof1_ratio_limit(opened->limits->max_release_ratio);
    for (size_t a = 0; a < opened->opening->atoms; a++) {
        uint64_t ratio = nof1_plan_ratio(opened, a);
        uint64_t charged = opened->charged == NULL ? 0 : opened->charged[a];
        if (ratio > 0 && charged + ratio > limit) {
            return nof1_fail(error, NOF1_E2301,
                             "at most %g released numbers per number of the patients",
                             opened->limits->max_release_ratio);
        }
    }
    return NOF1_OK;
}

static nof1_rc too_few_solutions(const struct nof1_opened *opened, struct nof1_error *error)
{
    uint32_t patients = nof1_entropy_difference(opened->query->model, opened->loads);
    if (patients == NOF1_ENTROPY_NEVER) {
        return nof1_fail(error, NOF1_E2311,
                         "sum and sum of squares on a scale of two points tell "
                         "every value; write analysis: glmm or stratified");
    }
    return nof1_fail(error, NOF1_E2311,
                     "at least %u bits must stay open, or, of differences on this "
                     "outcome's scale, %u patients outside every site",
                     opened->limits->min_entropy_bits, patients);
}

nof1_rc nof1_check_entropy(const struct nof1_opened *opened, struct nof1_error *error)
{
    double bits = 0;
    if (!nof1_entropy_allows(&bits, opened->query->model, opened->loads,
                             opened->limits->min_entropy_bits, opened->counts->patients,
                             opened->counts->group_patients, 0, NULL)) {
        return too_few_solutions(opened, error);
    }
    return NOF1_OK;
}

nof1_rc nof1_check_opening(const struct nof1_opened *opened, struct nof1_error *error)
{
    TRY(nof1_check_totals(opened, error));
    if (opened->limits->open || opened->query->census) {
        return NOF1_OK;
    }
    TRY(nof1_check_patients(opened, error));
    TRY(nof1_check_groups(opened, error));
    TRY(nof1_check_support(opened, error));
    TRY(nof1_check_atoms(opened, error));
    TRY(nof1_check_parameters(opened, error));
    TRY(nof1_check_ratio(opened, error));
    return nof1_check_entropy(opened, error);
}

uint64_t nof1_plan_net_ratio(const struct nof1_opened *opened, const struct nof1_own *own,
                             size_t atom)
{
    uint64_t used = atom_count(opened, atom, NOF1_ATOM_USED);
    if (used == 0) {
        return 0;
    }
    uint64_t groups = nof1_ratio_groups(
        opened->loads, opened->query->model->groups, opened->counts->patients,
        opened->counts->group_patients, own->patients, own->group_patients);
    uint64_t mine = own->atom_patients[atom] < used ? own->atom_patients[atom] : used;
    return larger(groups, nof1_ratio_atom(opened->loads, opened->opening, opened->total, atom,
                                          used - mine));
}

static nof1_rc check_others(const struct nof1_opened *opened, const struct nof1_own *own,
                            struct nof1_error *error)
{
    for (size_t g = 0; g < opened->query->model->groups; g++) {
        uint64_t patients = opened->counts->group_patients[g];
        if (patients > 0 && patients - own->group_patients[g] < opened->limits->min_others) {
            return nof1_fail(error, NOF1_E2212, "%s needs at least %u patients outside this site",
                             opened->query->model->group[g], opened->limits->min_others);
        }
    }
    return NOF1_OK;
}

static nof1_rc check_net_ratio(const struct nof1_opened *opened, const struct nof1_own *own,
                               struct nof1_error *error)
{
    uint64_t limit = nof1_ratio_limit(opened->limits->max_net_ratio);
    for (size_t a = 0; a < opened->opening->atoms; a++) {
        uint64_t ratio = nof1_plan_net_ratio(opened, own, a);
        uint64_t charged = own->charged == NULL ? 0 : own->charged[a];
        if (ratio > 0 && charged + ratio > limit) {
            return nof1_fail(error, NOF1_E2212,
                             "at most %g released numbers per number of the other patients",
                             opened->limits->max_net_ratio);
        }
    }
    return NOF1_OK;
}

/* Own counts beyond the totals: somebody else sent negative numbers. */
static bool own_within(const struct nof1_opened *opened, const struct nof1_own *own)
{
    bool within = own->patients <= opened->counts->patients &&
                  own->trials <= opened->counts->trials;
    for (size_t g = 0; g < opened->query->model->groups; g++) {
        within = within && own->group_patients[g] <= opened->counts->group_patients[g];
    }
    for (size_t a = 0; a < opened->opening->atoms; a++) {
        within = within &&
                 own->atom_patients[a] <= atom_count(opened, a, NOF1_ATOM_USED);
    }
    size_t atoms = opened->opening->atoms;
    for (size_t i = 0; own->cell_patients != NULL && i < atoms * opened->opening->groups; i++) {
        within = within && (double)own->cell_patients[i] <=
                               nof1_opening_cell(opened->opening, opened->total, i % atoms,
                                                 i / atoms, NOF1_ATOM_USED);
    }
    return within;
}

nof1_rc nof1_check_own(const struct nof1_opened *opened, const struct nof1_own *own,
                       struct nof1_error *error)
{
    if (!own_within(opened, own)) {
        return nof1_fail(error, NOF1_E2501, "the counts of round 0 are not possible");
    }
    if (opened->limits->open || opened->query->census) {
        return NOF1_OK;
    }
    if ((double)own->patients >
        opened->limits->max_site_share * (double)opened->counts->patients) {
        return nof1_fail(error, NOF1_E2207, "a site may hold at most %g of the patients",
                         opened->limits->max_site_share);
    }
    TRY(check_others(opened, own, error));
    TRY(check_net_ratio(opened, own, error));
    double bits = 0;
    if (!nof1_entropy_allows(&bits, opened->query->model, opened->loads,
                             opened->limits->min_entropy_bits, opened->counts->patients,
                             opened->counts->group_patients, own->patients,
                             own->group_patients)) {
        return nof1_fail(error, NOF1_E2311, "at least %u bits must stay open outside this site",
                         opened->limits->min_entropy_bits);
    }
    return NOF1_OK;
}

nof1_rc nof1_check_weights(const struct nof1_limits *limits, size_t own_trials,
                           const double *weight, double own_share, struct nof1_error *error)
{
    double sum = 0, largest = 0;
    bool finite = true;
    for (size_t t = 0; t < own_trials; t++) {
        finite = finite && isfinite(weight[t]) && weight[t] >= 0;
        sum += weight[t];
        largest = fmax(largest, weight[t]);
    }
    if (limits->open || own_trials == 0) {
        return NOF1_OK;
    }
    if (!finite || largest * own_share > limits->max_trial_share * sum) {
        return nof1_fail(error, NOF1_E2208, "a trial may have at most %g of the weight",
                         limits->max_trial_share);
    }
    return NOF1_OK;
}
