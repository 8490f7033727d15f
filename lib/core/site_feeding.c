/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which sparse elements may this site's patients feed, and how many of them? (docs/protocol.md,
 * "Limits on the totals"). The answer leaves in round 0, before any threshold has been looked at,
 * so it must follow from schedules, arms, covariates and from which outcomes are observed, never
 * from what was observed: else the number of sites with an event, or with a difference of zero,
 * would be free for the asking. Terms are therefore computed for made-up outcomes (pretend.h). Of
 * patients no more is told than whether there are enough. After a release the same is counted of
 * every atom by itself, of what the plan uses and of what it leaves out: sums less earlier ones are
 * sums of these.
 */
#include <core/site_parts.h>

#include <string.h>

#include <core/atoms.h>
#include <core/census_analysis.h>
#include <core/charter.h>
#include <core/pretend.h>

/* More parameters than any model has: those of a round follow from these counts, so it is tried
 * with zeros. */
#define THETA_MAX 1024

struct feeding {
    struct nof1_site *site;
    struct site_attempt *attempt;
    uint32_t round;
    struct nof1_layout layout;
    double *term, *theta;
    bool *fed, *any;  /* [element]: by the trial; of one left out, in some stratum of the plan */
    bool *seen, *own; /* [patient][sparse]: whole plan; the part of an atom being counted */
};

/* Sets fed[element] where a term is not zero for some outcomes. A trial that gives no terms
 * whatever its outcomes counts as feeding everything. */
static nof1_rc try_trial(struct feeding *f, const struct nof1_trial *trial)
{
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    const struct nof1_model *model = f->attempt->query->model;
    bool computed = false;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    memset(f->fed, 0, f->layout.elements * sizeof *f->fed);
    for (size_t p = 0; p < NOF1_PRETENCES; p++) {
        struct nof1_trial other = *trial;
        TRY(nof1_pretend(&other, arena, &f->attempt->query->study, p));
        nof1_rc_value rc = model->analysis->contribute(model, f->round, f->theta, &other,
                                                       f->attempt->scratch, f->term);
        for (size_t e = 0; rc == NOF1_OK && e < f->layout.elements; e++) {
            f->fed[e] = f->fed[e] || !(f->term[e] == 0);
        }
        computed = computed || rc == NOF1_OK;
    }
    for (size_t e = 0; e < f->layout.elements; e++) {
        f->fed[e] = f->fed[e] || !computed;
        f->any[e] = f->fed[e];
    }
    return NOF1_OK;
}

static bool feeds(const struct feeding *f, const struct nof1_support *support, int group)
{
    const struct nof1_element *own = &f->layout.element[support->element];
    if (!support->reference) {
        return f->fed[support->element];
    }
    bool none = own->group < 0 || own->group == group;
    for (size_t e = support->element; e < f->layout.elements; e++) {
        none = none && !(nof1_support_same(own, &f->layout.element[e]) && f->any[e]);
    }
    return none;
}

/* A patient whom no earlier trial of his has counted: his site, and him unless there are enough. */
static void count_patient(bool *seen, double *patients, double *sites, uint32_t most)
{
    if (!*seen) {
        *seen = true;
        *sites = 1;
        *patients += *patients < most ? 1 : 0;
    }
}

/* `atom` of the list, or opening->atoms: of none. Left out: in its atom only. */
static void count_trial(struct feeding *f, size_t t, size_t atom, int group, double *count)
{
    const struct nof1_opening *opening = &f->attempt->opening;
    const struct nof1_limits *limits = &f->site->config.charter->limits;
    bool used = f->attempt->group[t] != NOF1_LEFT_OUT;
    size_t first = f->attempt->epoch->patient[t] * opening->sparse;
    for (size_t i = 0; i < opening->sparse; i++) {
        if (opening->support[i].round != f->round || !feeds(f, &opening->support[i], group)) {
            continue;
        }
        if (used) {
            count_patient(&f->seen[first + i], &count[opening->sparse_patients + i],
                          &count[opening->sparse_sites + i], limits->min_class_patients);
        }
        if (opening->later && atom < opening->atoms) {
            double *of = &count[nof1_opening_fed_at(opening, atom, i,
                                                    used ? NOF1_FED_USED : NOF1_FED_LEFT)];
            count_patient(&f->own[first + i], of, of + 1, limits->min_atom_patients);
        }
    }
}

/* ---- patients left out ---------------------------------------------------------------- */

/* What the trial would feed if the plan had it: were its stratum among the plan's, the one or the
 * other. What depends on which of them it is, it does not feed. False: nobody can tell. */
static nof1_rc try_left(bool *known, int *group, struct feeding *f, size_t t)
{
    const struct nof1_query *query = f->attempt->query;
    const struct nof1_charter *charter = query->study.charter;
    const struct nof1_plan *plan = query->study.plan;
    struct nof1_trial trial = nof1_site_trial(f->site, f->attempt, t);
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const double **column = nof1_arena_alloc(arena, charter->covariates + 1, sizeof *column);
    double *level = nof1_arena_alloc(arena, trial.rows + 1, sizeof *level);
    bool *always = nof1_arena_alloc(arena, 2 * f->layout.elements + 1, sizeof *always);
    ENSURE(column != NULL && level != NULL && always != NULL, NOF1_E_NO_MEMORY);
    bool *sometimes = always + f->layout.elements;
    *known = plan->strata > 0 && charter->stratum_covariate != NULL;
    for (size_t s = 0; *known && s < plan->strata; s++) {
        memcpy(column, trial.covariate, charter->covariates * sizeof *column);
        for (size_t r = 0; r < trial.rows; r++) {
            level[r] = (double)plan->stratum[s];
        }
        column[nof1_charter_covariate(charter, charter->stratum_covariate)] = level;
        trial.covariate = column;
        *group = query->analysis->group_of(query->model, &trial, f->attempt->scratch);
        *known = *group >= 0;
        if (*known) {
            TRY(try_trial(f, &trial));
        }
        for (size_t e = 0; e < f->layout.elements; e++) {
            always[e] = f->fed[e] && (s == 0 || always[e]);
            sometimes[e] = f->fed[e] || sometimes[e];
        }
    }
    memcpy(f->fed, always, f->layout.elements * sizeof *always);
    memcpy(f->any, sometimes, f->layout.elements * sizeof *sometimes);
    return NOF1_OK;
}

/* Has a release used the atom's patients in numbers that not all of them fed? */
static bool matters(const struct feeding *f, size_t atom)
{
    const struct nof1_plan *plan = f->attempt->query->study.plan;
    char base[NOF1_ATOM_TEXT];
    nof1_atom_base(base, plan->atom[atom]);
    return nof1_site_was_sparse(nof1_site_family(f->site, plan), base);
}

static nof1_rc count_left(struct feeding *f, size_t t, size_t atom, double *count)
{
    const struct nof1_study *study = &f->attempt->query->study;
    int group = 0;
    bool known = false;
    if (!nof1_in_analysis_set(study->charter, study->plan->outcome,
                              &f->attempt->epoch->trial[t])) {
        return NOF1_OK; /* and was not when it was released */
    }
    if (!nof1_atom_has_changed(study->plan->atom[atom])) {
        TRY(try_left(&known, &group, f, t));
    }
    if (known) {
        count_trial(f, t, atom, group, count);
    } else if (f->round == 1) {
        count[f->attempt->opening.unknown_first + atom] += 1;
    }
    return NOF1_OK;
}

static void count_gone(struct feeding *f, double *count)
{
    const struct nof1_opening *opening = &f->attempt->opening;
    const struct nof1_plan *plan = f->attempt->query->study.plan;
    const struct site_view *view =
        nof1_site_view(nof1_site_family(f->site, plan), f->attempt->epoch);
    for (size_t g = 0; g < view->gone; g++) {
        size_t atom = nof1_site_atom_index(plan, view->left[g]->key);
        if (atom < opening->atoms && matters(f, atom)) {
            count[opening->unknown_first + atom] += 1;
        }
    }
}

/* ---- all of them ------------------------------------------------------------------------ */

/* The trials of an atom (opening->atoms: of none that is listed) that are used, or left out. */
static nof1_rc count_part(struct feeding *f, size_t atom, bool used, double *count)
{
    const struct site_attempt *attempt = f->attempt;
    const struct nof1_opening *opening = &attempt->opening;
    memset(f->own, 0, attempt->epoch->patients * opening->sparse * sizeof *f->own);
    for (size_t t = 0; t < attempt->epoch->trials; t++) {
        size_t of = attempt->part[t] < opening->atoms ? attempt->part[t] : opening->atoms;
        if (of != atom || (attempt->group[t] != NOF1_LEFT_OUT) != used) {
            continue;
        }
        if (!used) {
            TRY(count_left(f, t, atom, count));
            continue;
        }
        struct nof1_trial trial = nof1_site_trial(f->site, f->attempt, t);
        TRY(try_trial(f, &trial));
        count_trial(f, t, atom, attempt->group[t], count);
    }
    return NOF1_OK;
}

static nof1_rc count_round(struct feeding *f, double *count)
{
    const struct nof1_model *model = f->attempt->query->model;
    const struct nof1_opening *opening = &f->attempt->opening;
    struct nof1_arena *arena = f->site->scratch;
    TRY(model->analysis->layout(model, f->round, arena, &f->layout));
    f->term = nof1_arena_alloc(arena, f->layout.elements + 1, sizeof *f->term);
    f->fed = nof1_arena_alloc(arena, f->layout.elements + 1, sizeof *f->fed);
    f->any = nof1_arena_alloc(arena, f->layout.elements + 1, sizeof *f->any);
    ENSURE(f->term != NULL && f->fed != NULL && f->any != NULL, NOF1_E_NO_MEMORY);
    for (size_t a = 0; a <= opening->atoms; a++) {
        TRY(count_part(f, a, true, count));
        if (opening->later && a < opening->atoms && matters(f, a)) {
            TRY(count_part(f, a, false, count));
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_site_count_feeding(struct nof1_site *site, struct site_attempt *attempt,
                                double *count)
{
    const struct nof1_opening *opening = &attempt->opening;
    struct feeding f = {.site = site, .attempt = attempt};
    if (opening->sparse == 0) {
        return NOF1_OK;
    }
    size_t patients = attempt->epoch->patients + 1;
    f.theta = nof1_arena_alloc(site->scratch, THETA_MAX, sizeof *f.theta);
    f.seen = nof1_arena_alloc(site->scratch, patients, opening->sparse);
    f.own = nof1_arena_alloc(site->scratch, patients, opening->sparse);
    ENSURE(f.theta != NULL && f.seen != NULL && f.own != NULL, NOF1_E_NO_MEMORY);
    uint32_t last = opening->support[opening->sparse - 1].round;
    for (f.round = 1; f.round <= last; f.round++) {
        TRY(count_round(&f, count));
    }
    if (opening->later) {
        count_gone(&f, count);
    }
    return NOF1_OK;
}
