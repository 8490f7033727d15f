/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The cycles form: complete cycles only, one round. With d_c the active minus reference difference
 * of a cycle, the differences of a trial have mean mu + b and variance 2 sigma^2, so the restricted
 * likelihood of `y ~ 0 + trial:cycle + treatment + (0 + treatment | trial)` on period values
 * depends on sum d, sum d^2 by number k of complete cycles and on one residual sum of squares. d /
 * sqrt(2) is an orthonormal contrast: its variance is sigma^2.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mixed.h"

static const struct mixed_column treatment_only[] = {
    {.kind = MIXED_TREATMENT, .name = "treatment"}};

static void absorb(struct mixed_model *m)
{
    m->columns = 1;
    m->column = treatment_only;
    m->effects = m->terms = 1;
    m->shape = (struct nof1_gaussian_shape){.columns = 2, .effects = 1};
    m->start[0] = 0.7;
    m->base.fixed_parameters = 1;
}

nof1_rc_value mixed_cycles_prepare(struct mixed_model *m, struct nof1_arena *arena,
                                   struct nof1_error *error)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_charter *charter = study->charter;
    struct mixed_cell *cell = nof1_arena_alloc(arena, charter->max_cycles + 1, sizeof *cell);
    const char **group = nof1_arena_alloc(arena, charter->max_cycles + 1, sizeof *group);
    ENSURE(cell != NULL && group != NULL, NOF1_E_NO_MEMORY);
    absorb(m);
    m->cells = 0;
    for (uint32_t k = 1; k <= charter->max_cycles; k++) {
        char name[32];
        snprintf(name, sizeof name, "cycles:%u", k);
        uint64_t here = mixed_census(study, name);
        if (here == 0 || (!charter->limits.open && here < charter->limits.min_class_patients)) {
            continue;
        }
        group[m->cells] = nof1_arena_text(arena, name);
        cell[m->cells] = (struct mixed_cell){group[m->cells], {k, 0}, NULL, NULL, here};
        ENSURE(group[m->cells] != NULL, NOF1_E_NO_MEMORY);
        m->cells++;
    }
    if (m->cells == 0) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: cycles needs min_class_patients trials with the same number "
                         "of complete cycles; write pool");
    }
    m->form = MIXED_CYCLES;
    m->cell = cell;
    m->base.form = "cycles";
    m->base.groups = m->cells;
    m->base.group = group;
    m->base.group_is_class = true;
    m->base.max_rounds = 1;
    m->base.max_elements = 2 * m->cells + 1;
    m->formula = nof1_arena_printf(
        arena, "%s ~ 0 + trial:cycle + treatment + (0 + treatment | trial), complete cycles",
        study->plan->outcome_name);
    ENSURE(m->formula != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static int cycles_group_of(const struct mixed_model *m, const struct nof1_trial *trial,
                           void *scratch)
{
    struct nof1_series series;
    struct nof1_cycle_difference d;
    nof1_series_of(&series, m->base.study, trial, scratch);
    nof1_cycle_difference(&d, &series);
    for (size_t c = 0; c < m->cells; c++) {
        if (m->cell[c].n[0] == d.k) {
            return (int)c;
        }
    }
    return NOF1_LEFT_OUT;
}

static nof1_rc_value cycles_layout(const struct mixed_model *m, uint32_t round,
                                   struct nof1_arena *arena, struct nof1_layout *out)
{
    (void)round;
    struct nof1_element *element = nof1_arena_alloc(arena, 2 * m->cells + 1, sizeof *element);
    ENSURE(element != NULL, NOF1_E_NO_MEMORY);
    double d = 2 * m->reach, rows = m->base.study->charter->max_cycles;
    for (size_t c = 0; c < m->cells; c++) {
        const char *group = m->base.group[c];
        element[2 * c] = (struct nof1_element){.name = nof1_arena_printf(arena, "%s/sum d", group),
                                               .role = NOF1_OUTCOME, .group = (int)c,
                                               .block_size = 1, .bound = d};
        element[2 * c + 1] = element[2 * c];
        element[2 * c + 1].name = nof1_arena_printf(arena, "%s/sum d*d", group);
        element[2 * c + 1].bound = fmin(0x1p96, d * d);
        ENSURE(element[2 * c].name != NULL && element[2 * c + 1].name != NULL, NOF1_E_NO_MEMORY);
    }
    element[2 * m->cells] = (struct nof1_element){.name = "within d*d", .role = NOF1_OUTCOME,
                                                  .group = -1, .block = 1, .block_size = 1,
                                                  .sparse = true, /* not by one cycle */
                                                  .bound = fmin(0x1p96, rows * d * d)};
    *out = (struct nof1_layout){2 * m->cells + 1, element};
    return NOF1_OK;
}

static nof1_rc_value cycles_contribute(const struct mixed_model *m, uint32_t round,
                                       const double *theta, const struct nof1_trial *trial,
                                       void *scratch, double *out)
{
    (void)round;
    (void)theta;
    struct nof1_series series;
    struct nof1_cycle_difference d;
    int cell = cycles_group_of(m, trial, scratch);
    ENSURE(cell >= 0, NOF1_E_BUG);
    nof1_series_of(&series, m->base.study, trial, scratch);
    nof1_cycle_difference(&d, &series);
    memset(out, 0, (2 * m->cells + 1) * sizeof *out);
    out[2 * (size_t)cell] = d.d;
    out[2 * (size_t)cell + 1] = d.d * d.d;
    out[2 * m->cells] = d.ss;
    ENSURE(isfinite(d.d * d.d) && isfinite(d.ss), NOF1_E2403);
    return NOF1_OK;
}

const struct mixed_slots mixed_cycles_slots = {cycles_group_of, cycles_layout, cycles_contribute};

nof1_rc_value mixed_cycles_fit(const struct mixed_model *m, const struct nof1_history *history,
                               struct nof1_arena *arena, struct mixed_fit *fit,
                               struct nof1_error *error)
{
    const double *total = history->round[0].total;
    struct nof1_gaussian_group *group = nof1_arena_alloc(arena, m->cells, sizeof *group);
    double *memory = nof1_arena_alloc(arena, 4 * m->cells + 4, sizeof *memory);
    ENSURE(group != NULL && memory != NULL, NOF1_E_NO_MEMORY);
    double cycles = 0;
    for (size_t c = 0; c < m->cells; c++) {
        double k = (double)m->cell[c].n[0], half = k / 2;
        double trials = (double)history->counts.group_trials[c], *between = memory + 4 * c;
        group[c] = (struct nof1_gaussian_group){
            .trials = trials, .rows = k, .rank = 1, .root = {sqrt(half)}, .between = between};
        between[0] = half * trials;
        between[1] = between[2] = half * total[2 * c];
        between[3] = half * total[2 * c + 1];
        cycles += k * trials;
    }
    double *residual = memory + 4 * m->cells;
    residual[3] = total[2 * m->cells] / 2;
    struct mixed_totals totals = {{.columns = 2, .effects = 1}, m->cells, group, residual,
                                  NULL};
    TRY(mixed_totals_fit(m, &totals, (double)history->counts.trials, arena, fit, error));
    fit->absorbed = cycles;
    fit->constant = cycles * log(2);
    return NOF1_OK;
}
