/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which sparse elements of round 1 may this site's trials feed? (docs/protocol.md, "Round 0"). The
 * answer leaves in round 0, before any threshold has been looked at, so it must follow from schedules,
 * arms, covariates and from which outcomes are observed, never from what was observed: else the
 * number of sites with an event, or with a difference of zero, would be free for the asking. Terms
 * are therefore computed for made-up outcomes (pretend.h).
 */
#include <core/site_parts.h>

#include <core/pretend.h>

/* More parameters than any model has: those of round 1 follow from these counts, so it is tried with
 * zeros. */
#define THETA_MAX 1024

/* What is found out about one site: an element a sparse one of the layout. */
struct feeding {
    const struct nof1_model *model;
    const struct nof1_layout *layout;
    double *count, *term, *theta;
    size_t sparse, fed;
};

static void mark(struct feeding *f, bool all)
{
    size_t at = 0;
    for (size_t e = 0; e < f->layout->elements; e++) {
        if (f->layout->element[e].sparse && f->layout->element[e].role == NOF1_OUTCOME) {
            bool feeds = all || !(f->term[e] == 0);
            f->fed += feeds && f->count[at] == 0 ? 1 : 0;
            f->count[at] = feeds ? 1 : f->count[at];
            at++;
        }
    }
}

/* A trial that gives no terms whatever its outcomes counts as feeding everything. */
static nof1_rc try_trial(struct feeding *f, struct site_attempt *attempt, struct nof1_trial trial)
{
    struct nof1_arena *arena NOF1_CLEANUP(nof1_arena_freep) = nof1_arena_new();
    bool computed = false;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < NOF1_PRETENCES && f->fed < f->sparse; p++) {
        struct nof1_trial other = trial;
        TRY(nof1_pretend(&other, arena, &attempt->query->study, p));
        nof1_rc_value rc = f->model->analysis->contribute(f->model, 1, f->theta, &other,
                                                          attempt->scratch, f->term);
        if (rc == NOF1_OK) {
            mark(f, false);
            computed = true;
        }
    }
    if (!computed && f->fed < f->sparse) {
        mark(f, true);
    }
    return NOF1_OK;
}

nof1_rc nof1_site_count_feeding(struct nof1_site *site, struct site_attempt *attempt,
                                double *count)
{
    const struct nof1_model *model = attempt->query->model;
    struct nof1_layout layout = {0};
    TRY(model->analysis->layout(model, 1, site->scratch, &layout));
    struct feeding f = {.model = model, .layout = &layout, .sparse = attempt->opening.sparse,
                        .count = count + attempt->opening.sparse_sites};
    f.term = nof1_arena_alloc(site->scratch, layout.elements + 1, sizeof *f.term);
    f.theta = nof1_arena_alloc(site->scratch, THETA_MAX, sizeof *f.theta);
    ENSURE(f.term != NULL && f.theta != NULL, NOF1_E_NO_MEMORY);
    for (size_t t = 0; f.fed < f.sparse && t < site->config.epoch->trials; t++) {
        if (attempt->group[t] != NOF1_LEFT_OUT) {
            TRY(try_trial(&f, attempt, nof1_site_trial(site, attempt, t)));
        }
    }
    return NOF1_OK;
}
