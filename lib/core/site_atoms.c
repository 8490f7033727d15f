/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The difference rule and the release ratio at a site (docs/protocol.md, E2210 and E2301): which
 * atom every trial is in, what a plan uses of each and what it leaves out, and how a release splits
 * them. Atoms and charges belong to study and outcome family, never to an epoch or charter version.
 * Nothing here is known to anybody else but the counts, in a masked sum.
 */
#include <core/site_parts.h>

#include <stdlib.h>
#include <string.h>

#include <core/census_analysis.h>

struct site_family *nof1_site_family(const struct nof1_site *site, const struct nof1_plan *plan)
{
    const char *name = site->config.charter->outcome[plan->outcome].family;
    for (size_t f = 0; f < site->families; f++) {
        if (strcmp(site->family[f].name, name) == 0) {
            return &site->family[f];
        }
    }
    return NULL;
}

/* ---- what a plan uses and leaves out --------------------------------------------- */

static const char *listed(const struct nof1_plan *plan, size_t atom)
{
    return plan->atoms == 0 ? NOF1_ATOM_FRESH : plan->atom[atom];
}

size_t nof1_site_atom_index(const struct nof1_plan *plan, const char *key)
{
    size_t atoms = plan->atoms == 0 ? 1 : plan->atoms;
    for (size_t a = 0; a < atoms; a++) {
        if (strcmp(listed(plan, a), key) == 0) {
            return a;
        }
    }
    return atoms;
}

static uint32_t index_of(const struct site_attempt *attempt, const char *key)
{
    size_t index = nof1_site_atom_index(attempt->query->study.plan, key);
    return index < attempt->opening.atoms ? (uint32_t)index : SITE_UNLISTED;
}

/* A trial that counts: whose it is, and which count of attempt->atom_patients it belongs to. */
struct tally {
    const char *patient;
    size_t length; /* of the patient's name */
    size_t count;
};

struct tallies {
    size_t atoms, count;
    struct tally *tally;
};

static int by_count(const void *left, const void *right)
{
    const struct tally *a = left;
    const struct tally *b = right;
    if (a->count != b->count) {
        return a->count < b->count ? -1 : 1;
    }
    int order = memcmp(a->patient, b->patient, a->length < b->length ? a->length : b->length);
    return order != 0 ? order : a->length < b->length ? -1 : a->length > b->length ? 1 : 0;
}

/* group: NOF1_LEFT_OUT, or where the trial is used: it counts in its atom, and in the group of it.
 */
static void add_tally(struct tallies *to, const char *id, uint32_t atom, int group)
{
    struct tally one = {id, strcspn(id, "/"), SITE_UNLISTED};
    bool used = group != NOF1_LEFT_OUT;
    if (atom != SITE_UNLISTED) {
        one.count = atom + (used ? 0 : to->atoms);
    }
    to->tally[to->count++] = one;
    if (used && atom != SITE_UNLISTED) {
        one.count = (2 + (size_t)group) * to->atoms + atom;
        to->tally[to->count++] = one;
    }
}

/* A patient counts once in a part of an atom, whatever the number of trials in it. */
static void count_tallies(struct site_attempt *attempt, const struct tallies *all)
{
    struct tally *tally = all->tally;
    qsort(tally, all->count, sizeof *tally, by_count);
    for (size_t i = 0; i < all->count; i++) {
        if (i > 0 && by_count(&tally[i - 1], &tally[i]) == 0) {
            continue;
        }
        if (tally[i].count == SITE_UNLISTED) {
            attempt->unlisted += 1;
        } else {
            attempt->atom_patients[tally[i].count] += 1;
        }
    }
}

/* Left out: what some plan of the family may use, and what some release has used, even when it is
 * frozen no more. */
static nof1_rc tally_trials(struct nof1_site *site, struct site_attempt *attempt,
                            const struct site_family *family)
{
    const struct nof1_epoch *epoch = attempt->epoch;
    const struct nof1_study *study = &attempt->query->study;
    const struct site_view *view = family == NULL ? NULL : nof1_site_view(family, epoch);
    size_t gone = view == NULL ? 0 : view->gone, most = 2 * epoch->trials + gone;
    struct tallies all = {.atoms = attempt->opening.atoms};
    all.tally = nof1_arena_alloc(site->scratch, most + 1, sizeof *all.tally);
    ENSURE(all.tally != NULL, NOF1_E_NO_MEMORY);
    for (size_t t = 0; t < epoch->trials; t++) {
        bool used = attempt->group[t] != NOF1_LEFT_OUT;
        if (used || view == NULL || view->unit[t] != NULL ||
            nof1_in_analysis_set(study->charter, study->plan->outcome, &epoch->trial[t])) {
            const char *id = nof1_site_id_of(site->scratch, epoch, t);
            ENSURE(id != NULL, NOF1_E_NO_MEMORY);
            add_tally(&all, id, attempt->part[t], attempt->group[t]);
        }
    }
    for (size_t g = 0; g < gone; g++) {
        add_tally(&all, view->left[g]->id, index_of(attempt, view->left[g]->key), NOF1_LEFT_OUT);
    }
    count_tallies(attempt, &all);
    return NOF1_OK;
}

static nof1_rc find_parts(struct nof1_site *site, struct site_attempt *attempt,
                          const struct site_family *family)
{
    const struct site_view *view = nof1_site_view(family, attempt->epoch);
    size_t trials = attempt->epoch->trials;
    ENSURE(view != NULL, NOF1_E_BUG);
    if (attempt->record != NULL && attempt->record->opened) {
        ENSURE(attempt->record->parts == trials, NOF1_E2502); /* another freeze, same number */
        memcpy(attempt->part, attempt->record->part, trials * sizeof *attempt->part);
        memcpy(attempt->changed, attempt->record->changed, sizeof attempt->changed);
        return NOF1_OK; /* a re-run counts what the first run counted */
    }
    /* said by every site alike, whoever was used */
    if (!site->config.policy.open && attempt->family_version != family->version) {
        return nof1_fail(&site->error, NOF1_E2210, "another plan of the family was opened since "
                                                   "this one was offered");
    }
    attempt->family_version = family->version;
    for (size_t t = 0; t < trials; t++) {
        uint64_t number = view->number[t];
        attempt->part[t] = index_of(attempt, view->key[t]);
        attempt->changed[0] += number > 0 ? 1 : 0;
        attempt->changed[1] += number;
        attempt->changed[2] += number * number;
    }
    return NOF1_OK;
}

nof1_rc nof1_site_parts(struct nof1_site *site, struct site_attempt *attempt)
{
    const struct site_family *family =
        attempt->query->census ? NULL : nof1_site_family(site, attempt->query->study.plan);
    attempt->part =
        nof1_arena_alloc(attempt->arena, attempt->epoch->trials + 1, sizeof *attempt->part);
    attempt->atom_patients =
        nof1_arena_alloc(attempt->arena, (2 + attempt->opening.groups) * attempt->opening.atoms,
                         sizeof *attempt->atom_patients);
    ENSURE(attempt->part != NULL && attempt->atom_patients != NULL, NOF1_E_NO_MEMORY);
    if (!attempt->query->census) { /* else one atom of everybody */
        ENSURE(family != NULL, NOF1_E_BUG);
        TRY(find_parts(site, attempt, family));
    }
    return tally_trials(site, attempt, family);
}

/* ---- blocks outside the roster ----------------------------------------------------- */

static bool in_roster(const struct nof1_charter *charter, const struct nof1_plan *plan,
                      const char *block)
{
    for (size_t b = 0; b < plan->blocks; b++) {
        if (strcmp(charter->block[plan->block[b]].id, block) == 0) {
            return true;
        }
    }
    return false;
}

nof1_rc nof1_site_check_listed(const struct nof1_site *site, const struct nof1_query *query,
                               struct nof1_error *error)
{
    const struct nof1_plan *plan = query->study.plan;
    const struct site_record *record = nof1_site_record(site, plan->hash);
    if (query->census || site->config.policy.open || (record != NULL && record->opened)) {
        return NOF1_OK;
    }
    const struct site_family *family = nof1_site_family(site, plan);
    for (const struct site_holding *h = family->holdings; h != NULL; h = h->next) {
        bool named = false;
        for (size_t a = 0; a < plan->atoms && !named; a++) {
            named = strncmp(plan->atom[a], h->key, strlen(h->key)) == 0; /* changed since or not */
        }
        if (h->patients > 0 && !named && in_roster(query->study.charter, plan, h->block)) {
            return nof1_fail(error, NOF1_E2210, "the plan was made against another list of "
                                                "earlier releases");
        }
    }
    return NOF1_OK;
}

static const struct site_charge *find_charge(const struct site_family *family, const char *key)
{
    for (size_t c = family->charges; c-- > 0;) {
        if (strcmp(family->charge[c].key, key) == 0) {
            return &family->charge[c];
        }
    }
    return NULL;
}

bool nof1_site_was_sparse(const struct site_family *family, const char *key)
{
    const struct site_charge *charge = find_charge(family, key);
    return charge != NULL && charge->sparse;
}

/* Does the plan use patients of a released atom, changed since or not? */
static bool uses(const struct site_attempt *attempt, const struct nof1_opened *opened,
                 const char *key)
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    for (size_t a = 0; a < attempt->opening.atoms; a++) {
        char base[NOF1_ATOM_TEXT];
        nof1_atom_base(base, listed(plan, a));
        if (strcmp(base, key) == 0 &&
            nof1_opening_atom(opened->opening, opened->total, a, NOF1_ATOM_USED) > 0) {
            return true;
        }
    }
    return false;
}

/* Blocks outside the roster do not count in round 0. What they held of an atom is what an earlier
 * round 0 showed to this site and to every other one that took part. */
nof1_rc nof1_site_check_outside(struct nof1_site *site, const struct site_attempt *attempt,
                                const struct nof1_opened *opened)
{
    const struct nof1_charter *charter = site->config.charter;
    const struct nof1_plan *plan = attempt->query->study.plan;
    const struct site_family *family =
        attempt->query->census ? NULL : nof1_site_family(site, plan);
    if (family == NULL || site->config.policy.open) {
        return NOF1_OK;
    }
    for (const struct site_holding *h = family->holdings; h != NULL; h = h->next) {
        uint64_t patients = 0, sites = 0;
        for (const struct site_holding *o = family->holdings; o != NULL; o = o->next) {
            bool outside = strcmp(o->key, h->key) == 0 && !in_roster(charter, plan, o->block);
            patients += outside ? o->patients : 0;
            sites += outside ? o->sites : 0;
        }
        if (!nof1_atom_allowed(opened->limits, patients, sites) && uses(attempt, opened, h->key)) {
            return nof1_fail(&site->error, NOF1_E2210,
                             "blocks outside the roster hold too few patients of a set that "
                             "earlier releases treated alike");
        }
        if (patients > 0 && opened->opening->sparse > 0 && nof1_site_was_sparse(family, h->key) &&
            uses(attempt, opened, h->key)) {
            return nof1_fail(&site->error, NOF1_E2210,
                             "blocks outside the roster hold patients of a set that an earlier "
                             "release used in numbers that not every patient feeds; ask about "
                             "all its blocks, or for numbers that every patient feeds");
        }
    }
    return NOF1_OK;
}

/* ---- a release ----------------------------------------------------------------- */

/* What changed in part is still what was released: its charge stays. */
static const struct site_charge *charge_of(const struct site_family *family, const char *key)
{
    char base[NOF1_ATOM_TEXT];
    size_t length = strlen(key), suffix = strlen(NOF1_ATOM_IN_PART);
    bool in_part = length > suffix && strcmp(key + length - suffix, NOF1_ATOM_IN_PART) == 0;
    nof1_atom_base(base, key);
    return find_charge(family, in_part ? base : key);
}

nof1_rc nof1_site_charged(const struct nof1_site *site, const struct site_attempt *attempt,
                          uint64_t *charged[2])
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    const struct site_family *family =
        attempt->query->census ? NULL : nof1_site_family(site, plan);
    for (size_t k = 0; k < 2; k++) {
        charged[k] = nof1_arena_alloc(attempt->arena, attempt->opening.atoms, sizeof **charged);
        ENSURE(charged[k] != NULL, NOF1_E_NO_MEMORY);
    }
    for (size_t a = 0; family != NULL && a < attempt->opening.atoms; a++) {
        const struct site_charge *charge = charge_of(family, listed(plan, a));
        charged[0][a] = charge == NULL ? 0 : charge->ratio;
        charged[1][a] = charge == NULL ? 0 : charge->net;
    }
    return NOF1_OK;
}

/* How many patients of each block the part of a listed atom holds that a group uses. */
static nof1_rc hold_used(struct nof1_site *site, struct site_attempt *attempt,
                         const struct nof1_opened *opened, size_t atom, size_t group,
                         const char *used)
{
    const struct nof1_charter *charter = site->config.charter;
    const struct nof1_plan *plan = attempt->query->study.plan;
    struct site_family *family = nof1_site_family(site, plan);
    const double *total = opened->total;
    for (size_t b = 0; b < plan->blocks; b++) {
        const double *count =
            total + nof1_opening_cell_at(opened->opening, atom, group, b);
        const char *block = charter->block[plan->block[b]].id;
        TRY(nof1_site_hold(site, family, used, block, (uint64_t)count[NOF1_ATOM_USED],
                           (uint64_t)count[NOF1_ATOM_USED_SITES]));
    }
    return NOF1_OK;
}

/* How many are left of a released atom, changed since or not: of those the plan could not use, the
 * last release counts. */
static nof1_rc hold_left(struct nof1_site *site, struct site_attempt *attempt,
                         const struct nof1_opened *opened, const char *key)
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    for (size_t b = 0; b < plan->blocks; b++) {
        uint64_t patients = 0, sites = 0;
        for (size_t a = 0; a < attempt->opening.atoms; a++) {
            if (strncmp(listed(plan, a), key, strlen(key)) == 0) {
                const double *count =
                    opened->total +
                    nof1_opening_atom_at(opened->opening, a, b, NOF1_ATOM_USED);
                patients += (uint64_t)count[NOF1_ATOM_LEFT];
                sites += (uint64_t)count[NOF1_ATOM_LEFT_SITES];
            }
        }
        TRY(nof1_site_hold(site, nof1_site_family(site, plan), key,
                           site->config.charter->block[plan->block[b]].id, patients, sites));
    }
    return NOF1_OK;
}

/* The new atom of a group of each listed one, with what is now released about it. */
static nof1_rc split_atom(struct nof1_site *site, struct site_attempt *attempt,
                          const struct nof1_opened *opened, size_t atom, size_t group,
                          const char **used)
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    struct site_family *family = nof1_site_family(site, plan);
    char key[NOF1_ATOM_TEXT];
    TRY(nof1_atom_used(key, listed(plan, atom), plan->hash, group));
    const struct site_charge *charge = charge_of(family, listed(plan, atom));
    uint64_t ratio = nof1_plan_ratio(opened, atom);
    uint64_t net = nof1_plan_net_ratio(opened, &attempt->own, atom);
    ratio += charge == NULL ? 0 : charge->ratio;
    net += charge == NULL ? 0 : charge->net;
    TRY(nof1_site_add_charge(
        site, family,
        (struct site_charge){key, ratio < NOF1_RATIO_NONE ? ratio : NOF1_RATIO_NONE,
                             net < NOF1_RATIO_NONE ? net : NOF1_RATIO_NONE,
                             opened->opening->sparse > 0 || (charge != NULL && charge->sparse)}));
    *used = family->charge[family->charges - 1].key;
    return hold_used(site, attempt, opened, atom, group, *used);
}

static nof1_rc use_trial(struct nof1_site *site, struct site_family *family,
                         struct site_view *view, size_t t, const char *used)
{
    struct site_unit *unit = view->unit[t];
    bool changed = unit != NULL && strcmp(unit->key, view->key[t]) != 0;
    if (unit == NULL) {
        unit = nof1_arena_alloc(site->arena, 1, sizeof *unit);
        ENSURE(unit != NULL, NOF1_E_NO_MEMORY);
        unit->next = family->units;
        family->units = unit;
        view->unit[t] = unit;
    }
    TRY(nof1_site_remember(site, family, unit, view->series[t], changed));
    unit->key = used;
    return NOF1_OK;
}

/* From now on the trials have the names of this epoch, and every epoch kept is held against what
 * the release has used. */
static nof1_rc move_on(struct nof1_site *site, struct site_family *family, struct site_view *used)
{
    for (size_t t = 0; t < used->epoch->trials; t++) {
        if (used->unit[t] != NULL) {
            used->unit[t]->id = nof1_site_id_of(site->arena, used->epoch, t);
            ENSURE(used->unit[t]->id != NULL, NOF1_E_NO_MEMORY);
        }
    }
    family->epoch = used->epoch->id;
    for (struct site_view *view = family->views; view != NULL; view = view->next) {
        TRY(nof1_site_place(site, family, view));
    }
    return NOF1_OK;
}

static nof1_rc remember_outcome(struct nof1_site *site, struct site_family *family,
                                const struct nof1_outcome *outcome)
{
    for (const struct site_released *o = family->released; o != NULL; o = o->next) {
        if (strcmp(o->name, outcome->name) == 0) {
            return NOF1_OK;
        }
    }
    struct site_released *released = nof1_arena_alloc(site->arena, 1, sizeof *released);
    ENSURE(released != NULL, NOF1_E_NO_MEMORY);
    *released = (struct site_released){family->released, outcome->name, outcome->lower,
                                       outcome->upper, outcome->quantum};
    family->released = released;
    return NOF1_OK;
}

nof1_rc nof1_site_split(struct nof1_site *site, struct site_attempt *attempt,
                        const struct nof1_opened *opened)
{
    const struct nof1_plan *plan = attempt->query->study.plan;
    struct site_family *family = nof1_site_family(site, plan);
    size_t atoms = attempt->opening.atoms, groups = attempt->opening.groups;
    const char **used = nof1_arena_alloc(site->scratch, atoms * groups, sizeof *used);
    ENSURE(used != NULL && family != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < atoms * groups; i++) {
        size_t a = i % atoms, g = i / atoms;
        /* a plan may list keys that nobody holds: they must not fill the memory */
        if (nof1_opening_cell(opened->opening, opened->total, a, g, NOF1_ATOM_USED) > 0 ||
            attempt->atom_patients[2 * atoms + i] > 0) {
            TRY(split_atom(site, attempt, opened, a, g, &used[i]));
        }
    }
    for (size_t a = 0; a < atoms; a++) {
        char base[NOF1_ATOM_TEXT];
        nof1_atom_base(base, listed(plan, a));
        if (nof1_atom_released(base)) {
            TRY(hold_left(site, attempt, opened, base));
        }
    }
    struct site_view *view = nof1_site_view(family, attempt->epoch);
    ENSURE(view != NULL, NOF1_E_BUG);
    for (size_t t = 0; t < attempt->epoch->trials; t++) {
        if (attempt->group[t] != NOF1_LEFT_OUT && attempt->part[t] != SITE_UNLISTED) {
            TRY(use_trial(site, family, view, t,
                          used[(size_t)attempt->group[t] * atoms + attempt->part[t]]));
        }
    }
    TRY(move_on(site, family, view));
    TRY(remember_outcome(site, family, &site->config.charter->outcome[plan->outcome]));
    family->version += 1;
    return nof1_site_put_family(site, family);
}
