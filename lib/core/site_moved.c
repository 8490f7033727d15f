/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the changes of this site's trials since an earlier release do to arms and outcome elements
 * of a plan (docs/protocol.md, "Difference rule", "Moved"): new sums less earlier ones are sums
 * over these changes, so each element must be moved for nobody or, by enough, for many. A term is
 * computed of the series as it is and as a release used it last. Of patients no more is told than
 * whether there are enough.
 */
#include <core/site_parts.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <core/atoms.h>
#include <core/census_analysis.h>

/* More parameters than any model has; a round is tried with zeros, as in site_feeding.c. */
#define THETA_MAX 1024
/* A change counts when it moves a term by as much as one arm does that moves by this share of the
 * charter's sd_within (docs/disclosure.md, "A changed atom"). */
#define ENOUGH 0.25
/* Below this share of a term two ways of rounding it are apart: a mean that all values of an arm
 * have moved leaves its sum of squares where it was, but for the last bits. */
#define NOISE 0x1p-44

/* Some draws, the same before and after. */
static const uint8_t draws[NOF1_HASH_BYTES];

struct former {
    const struct site_unit *unit;
    const struct nof1_trial *trial;
};

struct moved {
    struct nof1_site *site;
    struct site_attempt *attempt;
    const struct site_view *view;
    size_t formers;
    struct former *former; /* ordered by unit */
    uint32_t round;
    struct nof1_layout layout;
    size_t values;                       /* layout.elements and treatments */
    double *now, *then, *shifted, *step; /* [elements], then [treatments] */
    double *theta;
    bool *seen;                          /* [patient][moving]: in the atom being counted */
};

static int by_unit(const void *left, const void *right)
{
    uintptr_t a = (uintptr_t)((const struct former *)left)->unit;
    uintptr_t b = (uintptr_t)((const struct former *)right)->unit;
    return a < b ? -1 : a > b ? 1 : 0;
}

/* Trials of the epochs still kept, where they are as a release used them last. */
static nof1_rc find_formers(struct moved *m, const struct site_family *family)
{
    size_t most = 0;
    for (const struct nof1_epoch *e = m->attempt->epoch->earlier; e != NULL; e = e->earlier) {
        most += e->trials;
    }
    m->former = nof1_arena_alloc(m->site->scratch, most + 1, sizeof *m->former);
    ENSURE(m->former != NULL, NOF1_E_NO_MEMORY);
    for (const struct nof1_epoch *e = m->attempt->epoch->earlier; e != NULL; e = e->earlier) {
        const struct site_view *view = nof1_site_view(family, e);
        for (size_t t = 0; view != NULL && t < e->trials; t++) {
            const struct site_unit *unit = view->unit[t];
            if (unit != NULL && strcmp(view->series[t], unit->version[unit->versions - 1]) == 0) {
                m->former[m->formers++] = (struct former){unit, &e->trial[t]};
            }
        }
    }
    qsort(m->former, m->formers, sizeof *m->former, by_unit);
    return NOF1_OK;
}

static const struct nof1_trial *former_of(const struct moved *m, size_t t)
{
    const struct former wanted = {m->view->unit[t], NULL};
    const struct former *found =
        wanted.unit == NULL || m->formers == 0
            ? NULL
            : bsearch(&wanted, m->former, m->formers, sizeof *m->former, by_unit);
    return found == NULL ? NULL : found->trial;
}

/* Mean of what was observed under treatment k. */
static double arm_mean(const struct nof1_trial *trial, size_t outcome, size_t k)
{
    double sum = 0, rows = 0;
    for (size_t r = 0; r < trial->rows; r++) {
        double y = trial->outcome[outcome][r];
        if (trial->treatment[r] == k && !isnan(y)) {
            sum += y;
            rows += 1;
        }
    }
    return rows > 0 ? sum / rows : 0;
}

/* The terms of a trial, and the means of its arms; all zero where the plan does not use it. False:
 * they cannot be computed. */
static bool terms_of(const struct moved *m, const struct nof1_trial *trial, double *out)
{
    const struct nof1_query *query = m->attempt->query;
    const struct nof1_analysis *analysis = query->analysis;
    size_t outcome = query->study.plan->outcome;
    memset(out, 0, m->values * sizeof *out);
    if (!nof1_in_analysis_set(query->study.charter, outcome, trial) ||
        analysis->group_of(query->model, trial, m->attempt->scratch) < 0) {
        return true;
    }
    for (size_t k = 0; m->layout.elements + k < m->values; k++) {
        out[m->layout.elements + k] = arm_mean(trial, outcome, k);
    }
    return analysis->contribute(query->model, m->round, m->theta, trial, m->attempt->scratch,
                                out) == NOF1_OK;
}

static bool differ(double a, double b)
{
    return fabs(a - b) > NOISE * fmax(fabs(a), fabs(b));
}

/* Lowers m->step to what the terms move by when arm k moves up or down by ENOUGH, where they do.
 * Whole numbers move by whole steps, and what that moves is scaled. */
static nof1_rc lower_step(struct moved *m, const struct nof1_trial *trial, uint8_t arm, double sign)
{
    const struct nof1_study *study = &m->attempt->query->study;
    size_t of = study->plan->outcome;
    const struct nof1_outcome *outcome = &study->charter->outcome[of];
    bool whole = outcome->kind != NOF1_CONTINUOUS && outcome->kind != NOF1_EFFECT;
    double wanted = ENOUGH * outcome->sd_within;
    double by = whole ? fmax(1, round(outcome->sd_within)) : wanted;
    struct nof1_trial other = *trial;
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const double **column = nof1_arena_alloc(arena, study->charter->outcomes + 1, sizeof *column);
    double *value = nof1_arena_alloc(arena, trial->rows + 1, sizeof *value);
    ENSURE(column != NULL && value != NULL, NOF1_E_NO_MEMORY);
    memcpy(column, trial->outcome, study->charter->outcomes * sizeof *column);
    for (size_t r = 0; r < trial->rows; r++) {
        double y = trial->outcome[of][r], to = y + sign * by;
        value[r] =
            trial->treatment[r] != arm || to < outcome->lower || to > outcome->upper ? y : to;
    }
    column[of] = value;
    other.outcome = column;
    bool computed = by > 0 && terms_of(m, &other, m->shifted);
    for (size_t e = 0; computed && e < m->values; e++) {
        if (differ(m->shifted[e], m->now[e])) {
            m->step[e] = fmin(m->step[e], wanted / by * fabs(m->shifted[e] - m->now[e]));
        }
    }
    return NOF1_OK;
}

static void count_trial(struct moved *m, size_t nth, size_t t)
{
    const struct nof1_opening *opening = &m->attempt->opening;
    uint32_t most = m->site->config.charter->limits.min_atom_patients;
    bool *seen = m->seen + m->attempt->epoch->patient[t] * opening->moving;
    for (size_t i = 0; i < opening->moving; i++) {
        const struct nof1_moving *move = &opening->move[i];
        size_t e = move->element + (move->arm ? m->layout.elements : 0);
        uint32_t *of = m->attempt->move + NOF1_MOVED_PARTS * (nth * opening->moving + i);
        if (move->round != m->round || !differ(m->now[e], m->then[e])) {
            continue;
        }
        of[NOF1_MOVED_AT_ALL] = 1;
        bool clear = !isfinite(m->step[e]) || fabs(m->now[e] - m->then[e]) >= m->step[e];
        if (!seen[i] && clear) {
            seen[i] = true;
            of[NOF1_MOVED_SITES] = 1;
            of[NOF1_MOVED_PATIENTS] += of[NOF1_MOVED_PATIENTS] < most ? 1 : 0;
        }
    }
}

/* A trial whose terms cannot be computed moves everything, and hides nobody. */
static void count_unknown(struct moved *m, size_t nth)
{
    size_t moving = m->attempt->opening.moving;
    for (size_t i = 0; i < moving; i++) {
        m->attempt->move[NOF1_MOVED_PARTS * (nth * moving + i) + NOF1_MOVED_AT_ALL] = 1;
    }
}

static nof1_rc compare(struct moved *m, size_t nth, size_t t)
{
    const struct nof1_trial *former = former_of(m, t);
    struct nof1_trial now = nof1_site_trial(m->site, m->attempt, t), then;
    if (former == NULL) {
        count_unknown(m, nth);
        return NOF1_OK;
    }
    then = *former;
    then.site = now.site;
    then.site_mean = now.site_mean;
    then.site_trials = now.site_trials;
    now.seed = then.seed = draws;
    now.counted = then.counted = true;
    if (!terms_of(m, &now, m->now) || !terms_of(m, &then, m->then)) {
        count_unknown(m, nth);
        return NOF1_OK;
    }
    for (size_t e = 0; e < m->values; e++) {
        m->step[e] = INFINITY; /* no arm moves it: then any change of it is clear */
    }
    for (size_t k = 0; k < m->site->config.charter->treatments; k++) {
        TRY(lower_step(m, &now, (uint8_t)k, 1));
        TRY(lower_step(m, &now, (uint8_t)k, -1));
    }
    count_trial(m, nth, t);
    return NOF1_OK;
}

static nof1_rc count_round(struct moved *m)
{
    const struct nof1_model *model = m->attempt->query->model;
    const struct nof1_opening *opening = &m->attempt->opening;
    const struct nof1_epoch *epoch = m->attempt->epoch;
    TRY(model->analysis->layout(model, m->round, m->site->scratch, &m->layout));
    m->values = m->layout.elements + m->site->config.charter->treatments;
    m->now = nof1_arena_alloc(m->site->scratch, 4 * m->values, sizeof *m->now);
    ENSURE(m->now != NULL, NOF1_E_NO_MEMORY);
    m->then = m->now + m->values;
    m->shifted = m->then + m->values;
    m->step = m->shifted + m->values;
    for (size_t nth = 0; nth < opening->moved_atoms; nth++) {
        memset(m->seen, 0, epoch->patients * opening->moving * sizeof *m->seen);
        for (size_t t = 0; t < epoch->trials; t++) {
            if (m->attempt->group[t] != NOF1_LEFT_OUT &&
                m->attempt->part[t] == opening->moved_atom[nth]) {
                TRY(compare(m, nth, t));
            }
        }
    }
    return NOF1_OK;
}

static nof1_rc compare_all(struct nof1_site *site, struct site_attempt *attempt)
{
    const struct nof1_opening *opening = &attempt->opening;
    const struct site_family *family = nof1_site_family(site, attempt->query->study.plan);
    struct moved m = {.site = site, .attempt = attempt,
                      .view = nof1_site_view(family, attempt->epoch)};
    m.theta = nof1_arena_alloc(site->scratch, THETA_MAX, sizeof *m.theta);
    m.seen = nof1_arena_alloc(site->scratch, attempt->epoch->patients + 1, opening->moving);
    ENSURE(m.view != NULL && m.theta != NULL && m.seen != NULL, NOF1_E_NO_MEMORY);
    TRY(find_formers(&m, family));
    for (m.round = 1; m.round <= opening->move[opening->moving - 1].round; m.round++) {
        TRY(count_round(&m));
    }
    return NOF1_OK;
}

nof1_rc nof1_site_count_moved(struct nof1_site *site, struct site_attempt *attempt, double *count)
{
    const struct nof1_opening *opening = &attempt->opening;
    const struct site_record *record = attempt->record;
    attempt->moves = NOF1_MOVED_PARTS * opening->moved_atoms * opening->moving;
    attempt->move = nof1_arena_alloc(attempt->arena, attempt->moves + 1, sizeof *attempt->move);
    ENSURE(attempt->move != NULL, NOF1_E_NO_MEMORY);
    if (attempt->moves == 0) {
        return NOF1_OK;
    }
    if (record != NULL && record->opened) { /* what it was is not known any more */
        ENSURE(record->moves == attempt->moves, NOF1_E2502);
        memcpy(attempt->move, record->move, attempt->moves * sizeof *attempt->move);
    } else {
        TRY(compare_all(site, attempt));
    }
    for (size_t i = 0; i < attempt->moves; i++) {
        count[opening->moved_first + i] = attempt->move[i];
    }
    return NOF1_OK;
}
