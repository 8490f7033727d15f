/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which sparse elements may this site's patients feed, and how many of them? (docs/protocol.md,
 * "Limits on the totals"). The answer leaves in round 0, before any threshold has been looked at,
 * so it must follow from schedules, arms, covariates and from which outcomes are observed, never
 * from what was observed: else the number of sites with an event, or with a difference of zero,
 * would be free for the asking. Terms are therefore computed for made-up outcomes (pretend.h). Of
 * patients no more is told than whether there are enough.
 */
#include <core/site_parts.h>

#include <string.h>

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
    bool *fed, *seen; /* [element]: by the trial; [patient][sparse] */
};

/* Sets fed[element] where a term is not zero for some outcomes. A trial that gives no terms
 * whatever its outcomes counts as feeding everything. */
static nof1_rc try_trial(struct feeding *f, size_t t)
{
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    const struct nof1_model *model = f->attempt->query->model;
    bool computed = false;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    memset(f->fed, 0, f->layout.elements * sizeof *f->fed);
    for (size_t p = 0; p < NOF1_PRETENCES; p++) {
        struct nof1_trial other = nof1_site_trial(f->site, f->attempt, t);
        TRY(nof1_pretend(&other, arena, &f->attempt->query->study, p));
        nof1_rc_value rc = model->analysis->contribute(model, f->round, f->theta, &other,
                                                       f->attempt->scratch, f->term);
        for (size_t e = 0; rc == NOF1_OK && e < f->layout.elements; e++) {
            f->fed[e] = f->fed[e] || !(f->term[e] == 0);
        }
        computed = computed || rc == NOF1_OK;
    }
    for (size_t e = 0; !computed && e < f->layout.elements; e++) {
        f->fed[e] = true;
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
        none = none && !(nof1_support_same(own, &f->layout.element[e]) && f->fed[e]);
    }
    return none;
}

static void count_trial(struct feeding *f, size_t t, double *count)
{
    const struct nof1_opening *opening = &f->attempt->opening;
    double most = f->site->config.charter->limits.min_class_patients;
    bool *seen = f->seen + f->attempt->epoch->patient[t] * opening->sparse;
    for (size_t i = 0; i < opening->sparse; i++) {
        double *patients = &count[opening->sparse_patients + i];
        if (opening->support[i].round == f->round && !seen[i] &&
            feeds(f, &opening->support[i], f->attempt->group[t])) {
            seen[i] = true;
            count[opening->sparse_sites + i] = 1;
            *patients += *patients < most ? 1 : 0;
        }
    }
}

static nof1_rc count_round(struct feeding *f, double *count)
{
    const struct nof1_model *model = f->attempt->query->model;
    struct nof1_arena *arena = f->site->scratch;
    TRY(model->analysis->layout(model, f->round, arena, &f->layout));
    f->term = nof1_arena_alloc(arena, f->layout.elements + 1, sizeof *f->term);
    f->fed = nof1_arena_alloc(arena, f->layout.elements + 1, sizeof *f->fed);
    ENSURE(f->term != NULL && f->fed != NULL, NOF1_E_NO_MEMORY);
    for (size_t t = 0; t < f->attempt->epoch->trials; t++) {
        if (f->attempt->group[t] != NOF1_LEFT_OUT) {
            TRY(try_trial(f, t));
            count_trial(f, t, count);
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
    f.theta = nof1_arena_alloc(site->scratch, THETA_MAX, sizeof *f.theta);
    f.seen = nof1_arena_alloc(site->scratch, attempt->epoch->patients + 1, opening->sparse);
    ENSURE(f.theta != NULL && f.seen != NULL, NOF1_E_NO_MEMORY);
    uint32_t last = opening->support[opening->sparse - 1].round;
    for (f.round = 1; f.round <= last; f.round++) {
        TRY(count_round(&f, count));
    }
    return NOF1_OK;
}
