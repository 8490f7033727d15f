/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The contract of an analysis, played by one process: see pooled.h.
 */
#include "pooled.h"

#include <crypto/ring.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* Round to 40 significant bits, half to even. */
static double round_parameter(double value)
{
    int exponent;
    double fraction = frexp(value, &exponent);
    return ldexp(rint(ldexp(fraction, 40)), exponent - 40);
}

struct run {
    struct nof1_arena *arena;
    struct nof1_model *model;
    const struct nof1_trial *trial;
    const uint32_t *patient;
    size_t trials;
    int *group;
    void *scratch;
    struct nof1_error *error;
};

static nof1_rc_value count_groups(struct nof1_counts *out, struct run *run)
{
    size_t groups = run->model->groups;
    uint64_t *trials = nof1_arena_alloc(run->arena, groups, sizeof *trials);
    uint64_t *patients = nof1_arena_alloc(run->arena, groups, sizeof *patients);
    uint64_t *sites = nof1_arena_alloc(run->arena, groups, sizeof *sites);
    *out = (struct nof1_counts){.sites = 1};
    for (size_t i = 0; i < run->trials; i++) {
        int g = run->model->analysis->group_of(run->model, &run->trial[i], run->scratch);
        run->group[i] = g;
        if (g < 0) {
            out->left_out++;
            continue;
        }
        ENSURE((size_t)g < groups, NOF1_E_BUG);
        bool seen = false;
        for (size_t j = 0; run->patient != NULL && j < i; j++) {
            seen = seen || (run->group[j] >= 0 && run->patient[j] == run->patient[i]);
        }
        trials[g]++;
        patients[g] += !seen;
        sites[g] = 1;
        out->trials++;
        out->patients += !seen;
    }
    out->group_trials = trials;
    out->group_patients = patients;
    out->group_sites = sites;
    return NOF1_OK;
}

static nof1_rc_value encode_term(struct nof1_ring *sum, const struct nof1_element *element,
                                 double x)
{
    if (element->quantum > 0) {
        x = rint(x / element->quantum) * element->quantum;
    }
    if (!(fabs(x) <= element->bound)) {
        fprintf(stderr, "element %s: %g is beyond its bound %g\n", element->name, x,
                element->bound);
        return NOF1_E2403;
    }
    struct nof1_ring term;
    TRY(nof1_ring_encode(&term, x));
    nof1_ring_add(sum, &term);
    return NOF1_OK;
}

/* The first used trial of its patient. */
static bool is_counted(const struct run *run, size_t i)
{
    for (size_t j = 0; run->patient != NULL && j < i; j++) {
        if (run->group[j] >= 0 && run->patient[j] == run->patient[i]) {
            return false;
        }
    }
    return true;
}

static nof1_rc_value sum_round(struct nof1_round_total *out, struct run *run, uint32_t round,
                               const double *theta, size_t parameters)
{
    struct nof1_layout layout;
    TRY(run->model->analysis->layout(run->model, round, run->arena, &layout));
    ENSURE(layout.elements <= run->model->max_elements, NOF1_E_BUG);
    struct nof1_ring *sum = nof1_arena_alloc(run->arena, layout.elements + 1, sizeof *sum);
    double *term = nof1_arena_alloc(run->arena, layout.elements + 1, sizeof *term);
    for (size_t i = 0; i < run->trials; i++) {
        if (run->group[i] < 0) {
            continue;
        }
        for (size_t e = 0; e < layout.elements; e++) {
            term[e] = NAN;
        }
        struct nof1_trial trial = run->trial[i];
        trial.counted = is_counted(run, i);
        TRY(run->model->analysis->contribute(run->model, round, theta, &trial, run->scratch, term));
        for (size_t e = 0; e < layout.elements; e++) {
            if (layout.element[e].group >= 0 && layout.element[e].group != run->group[i] &&
                term[e] != 0) {
                fprintf(stderr, "element %s fed by another group\n", layout.element[e].name);
                return NOF1_E_BUG;
            }
            TRY(encode_term(&sum[e], &layout.element[e], term[e]));
        }
    }
    double *total = nof1_arena_alloc(run->arena, layout.elements + 1, sizeof *total);
    for (size_t e = 0; e < layout.elements; e++) {
        total[e] = nof1_ring_decode(&sum[e]);
    }
    *out = (struct nof1_round_total){parameters, layout.elements, theta, total};
    return NOF1_OK;
}

static nof1_rc_value run_rounds(struct nof1_history *history, struct run *run)
{
    const struct nof1_model *model = run->model;
    struct nof1_round_total *total =
        nof1_arena_alloc(run->arena, model->max_rounds + 1, sizeof *total);
    history->round = total;
    for (uint32_t r = 1; r <= model->max_rounds; r++) {
        struct nof1_next next = {0};
        TRY(model->analysis->advance(model, history, run->arena, &next, run->error));
        if (next.done) {
            return NOF1_OK;
        }
        double *theta = nof1_arena_alloc(run->arena, next.parameters + 1, sizeof *theta);
        for (size_t k = 0; k < next.parameters; k++) {
            theta[k] = round_parameter(next.parameter[k]);
        }
        if (model->analysis->in_domain != NULL && next.parameters > 0) {
            ENSURE(model->analysis->in_domain(model, theta, next.parameters), NOF1_E2306);
        }
        TRY(sum_round(&total[r - 1], run, r, theta, next.parameters));
        history->rounds = r;
    }
    return NOF1_OK;
}

nof1_rc_value test_pooled_history(struct nof1_model **model, struct nof1_history *history,
                                  struct nof1_arena *arena, const struct nof1_study *study,
                                  const struct nof1_trial *trials, const uint32_t *patient,
                                  size_t count, struct nof1_error *error)
{
    const struct nof1_analysis *analysis = nof1_analysis_find(study->plan->analysis);
    ENSURE(analysis != NULL, NOF1_E_NOT_FOUND);
    struct run run = {arena, NULL, trials, patient, count, NULL, NULL, error};
    TRY(analysis->prepare(&run.model, arena, study, error));
    size_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        rows = trials[i].rows > rows ? trials[i].rows : rows;
    }
    size_t scratch = run.model->scratch + rows * run.model->scratch_row;
    run.scratch = nof1_arena_alloc(arena, scratch + 16, 1);
    run.group = nof1_arena_alloc(arena, count + 1, sizeof *run.group);
    *model = run.model;
    *history = (struct nof1_history){0};
    TRY(count_groups(&history->counts, &run));
    return run_rounds(history, &run);
}

nof1_rc_value test_pooled_run(json_t **out, struct nof1_arena *arena,
                              const struct nof1_study *study, const struct nof1_trial *trials,
                              const uint32_t *patient, size_t count, struct nof1_error *error)
{
    struct nof1_model *model;
    struct nof1_history history;
    TRY(test_pooled_history(&model, &history, arena, study, trials, patient, count, error));
    return model->analysis->report(model, &history, arena, out, error);
}

nof1_rc_value test_study_run(json_t **out, struct nof1_arena *arena, struct test_study *s,
                             struct nof1_error *error)
{
    return test_pooled_run(out, arena, &s->study, s->trial, s->patient, s->trials, error);
}

double test_number(const json_t *result, const char *path)
{
    char key[64];
    while (result != NULL) {
        const char *slash = strchr(path, '/');
        size_t length = slash == NULL ? strlen(path) : (size_t)(slash - path);
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        result = json_object_get(result, key);
        if (slash == NULL) {
            break;
        }
        path = slash + 1;
    }
    return json_is_number(result) ? json_number_value(result) : NAN;
}

double test_estimate(const json_t *result, const char *term, const char *key)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(result, "estimates"), i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "term")), term) == 0) {
            return test_number(row, key);
        }
    }
    return NAN;
}
