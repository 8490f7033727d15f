/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Feasibility counts with differential privacy (docs/statistics.md, `feasibility`): patients by up
 * to three traits. Every patient is in one cell; every site adds its share of discrete Gaussian
 * noise to every cell before masking, so that the sum over the sites that are assumed honest
 * carries the noise that epsilon asks for. The exact count of a cell exists nowhere, and must never
 * be made from anything else here.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <stats/distributions.h>
#include <stats/noise.h>
#include <stats/options.h>
#include <stats/registry.h>
#include <stats/series.h>

#define MOST_TRAITS 3
#define MOST_CELLS 256
#define UNITS 64.0              /* noise steps a patient: keeps a share wide against its steps */
#define LEAST_SHARE 16          /* variance of a share in steps: sums of shares are then Gaussian */
#define SQUARED_SENSITIVITY 2.0 /* one patient replaced: one count down, another up */
#define NOISE_BOUND 4294967296.0

enum trait_kind { TRAIT_COVARIATE, TRAIT_CLASS, TRAIT_OBSERVED };

struct trait {
    enum trait_kind kind;
    const char *name;
    size_t index;  /* covariate or outcome */
    size_t levels; /* the last one: missing (unless such patients are excluded), other, no */
};

struct feasibility {
    struct nof1_model base; /* first */
    size_t traits, cells, sites;
    struct trait trait[MOST_TRAITS];
    uint32_t share; /* variance of a site's noise, in steps */
    double level, delta;
};

static const struct nof1_option options[] = {
    {"by", NOF1_OPT_NAMES, "factor covariates, class, observed:OUTCOME; at most 3", "[class]", 0, 0,
     "what patients are counted by, crossed"},
    {"epsilon", NOF1_OPT_NUMBER, "0.1 to 4", "1", 0.1, 4,
     "what the answer costs of the charter's dp_epsilon_year, at its dp_delta; less is noisier"},
    {"level", NOF1_OPT_NUMBER, "0.5 to 0.999", "0.95", 0.5, 0.999, "level of the intervals"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

/* ---- the plan ---- */

static bool read_covariate(struct trait *out, const struct nof1_charter *charter, const char *name)
{
    for (size_t c = 0; c < charter->covariates; c++) {
        const struct nof1_covariate *covariate = &charter->covariate[c];
        if (strcmp(covariate->name, name) == 0 && covariate->kind == NOF1_FACTOR &&
            !covariate->varies_within) {
            bool missing = charter->missing != NOF1_MISSING_EXCLUDE;
            *out = (struct trait){TRAIT_COVARIATE, name, c, covariate->levels + (missing ? 1 : 0)};
            return true;
        }
    }
    return false;
}

static nof1_rc read_trait(struct trait *out, const struct nof1_charter *charter, const char *name,
                          struct nof1_error *error)
{
    static const char observed[] = "observed:";
    if (read_covariate(out, charter, name)) {
        return NOF1_OK;
    }
    if (strcmp(name, "class") == 0) {
        *out = (struct trait){TRAIT_CLASS, name, 0, charter->classes + 1};
        return NOF1_OK;
    }
    for (size_t o = 0; o < charter->outcomes; o++) {
        if (strncmp(name, observed, strlen(observed)) == 0 &&
            strcmp(charter->outcome[o].name, name + strlen(observed)) == 0) {
            *out = (struct trait){TRAIT_OBSERVED, name, o, 2};
            return NOF1_OK;
        }
    }
    return nof1_fail(error, NOF1_E_PLAN,
                     "by: %.40s is no factor covariate of the charter that is constant within a "
                     "trial, nor class, nor observed:OUTCOME",
                     name);
}

static nof1_rc read_traits(struct feasibility *model, const struct nof1_study *study,
                           struct nof1_error *error)
{
    const struct nof1_node *by = nof1_node_get(study->plan->options, "by");
    static const char *const usual[] = {"class"};
    size_t items = by == NULL ? 1 : by->items;
    if (items == 0 || items > MOST_TRAITS) {
        return nof1_fail(error, NOF1_E_PLAN, "by: name 1 to %d traits", MOST_TRAITS);
    }
    model->cells = 1;
    for (size_t t = 0; t < items; t++) {
        const char *name = by == NULL ? usual[t] : by->item[t].text;
        TRY(read_trait(&model->trait[t], study->charter, name, error));
        model->cells *= model->trait[t].levels;
        if (model->cells > MOST_CELLS) {
            return nof1_fail(error, NOF1_E_PLAN, "by: these traits have more than %d cells",
                             MOST_CELLS);
        }
        for (size_t other = 0; other < t; other++) {
            if (strcmp(model->trait[other].name, name) == 0) {
                return nof1_fail(error, NOF1_E_PLAN, "by: %.40s is named twice", name);
            }
        }
    }
    model->traits = items;
    return NOF1_OK;
}

/* The share that makes N - c sites carry the noise of epsilon; what is spent follows from the share
 * as rounded up. */
static nof1_rc read_noise(struct feasibility *model, const struct nof1_study *study,
                          struct nof1_error *error)
{
    const struct nof1_plan *plan = study->plan;
    const struct nof1_limits *limits = &study->charter->limits;
    double epsilon;
    TRY(nof1_option_number(&epsilon, &nof1_feasibility, plan->options, "epsilon", error));
    TRY(nof1_option_number(&model->level, &nof1_feasibility, plan->options, "level", error));
    for (size_t b = 0; b < plan->blocks; b++) {
        model->sites += study->charter->block[plan->block[b]].sites;
    }
    model->delta = limits->dp_delta;
    if (model->sites <= limits->assumed_colluders) {
        return nof1_fail(error, NOF1_E_PLAN, "analysis: feasibility needs more than %u sites",
                         limits->assumed_colluders);
    }
    double honest = (double)(model->sites - limits->assumed_colluders);
    double variance = SQUARED_SENSITIVITY / (2.0 * nof1_zcdp_rho(epsilon, model->delta));
    double share = ceil(variance * UNITS * UNITS / honest);
    if (!(share >= LEAST_SHARE && share <= NOF1_NOISE_VARIANCE_MAX)) {
        return nof1_fail(error, NOF1_E_PLAN, "epsilon: with %zu sites ask for %s", model->sites,
                         share >= LEAST_SHARE ? "more" : "less");
    }
    model->share = (uint32_t)share;
    model->base.rho = SQUARED_SENSITIVITY * UNITS * UNITS / (2.0 * share * honest);
    return NOF1_OK;
}

/* All that a count depends on beside the names of the cells, the charter and the epoch. */
static nof1_rc ask(struct feasibility *model, const struct nof1_study *study,
                   struct nof1_arena *arena)
{
    const struct nof1_plan *plan = study->plan;
    const char *text = nof1_arena_printf(arena, "%s %zu %zu share %u strata", plan->outcome_name,
                                         plan->reference, plan->active, model->share);
    for (size_t s = 0; text != NULL && s < plan->strata; s++) {
        text = nof1_arena_printf(arena, "%s %zu", text, plan->stratum[s]);
    }
    for (size_t b = 0; text != NULL && b < plan->blocks; b++) {
        text = nof1_arena_printf(arena, "%s%s %zu", text, b == 0 ? " blocks" : "", plan->block[b]);
    }
    model->base.question = text;
    return text == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    static const char *const all[] = {"all"};
    struct feasibility *model = nof1_arena_alloc(arena, 1, sizeof *model);
    ENSURE(model != NULL, NOF1_E_NO_MEMORY);
    model->base = (struct nof1_model){.analysis = &nof1_feasibility, .study = study,
                                      .form = "noisy counts", .groups = 1, .group = all,
                                      .max_rounds = 1, .scratch = 64, .fixed_parameters = 1};
    TRY(read_traits(model, study, error));
    TRY(read_noise(model, study, error));
    TRY(ask(model, study, arena));
    model->base.max_elements = model->cells;
    *out = &model->base;
    return NOF1_OK;
}

/* ---- one trial ---- */

static int group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    (void)scratch;
    return nof1_series_in_strata(base->study, trial) ? 0 : NOF1_LEFT_OUT;
}

/* Observed rows per treatment, and whether the periods are those of the class. */
static bool in_class(const struct nof1_study *study, const struct nof1_class *class_,
                     const struct nof1_trial *trial)
{
    size_t rows[8] = {0}, at = 0;
    bool same = true;
    for (size_t r = 0; r < trial->rows; r++) {
        if (trial->treatment[r] == NOF1_NO_ARM ||
            isnan(trial->outcome[study->plan->outcome][r])) {
            continue;
        }
        rows[trial->treatment[r]] += 1;
        if (class_->schedule_rows > 0) {
            same = same && at < class_->schedule_rows &&
                   trial->period[r] == class_->schedule_period[at];
            at++;
        }
    }
    for (size_t t = 0; t < study->charter->treatments; t++) {
        same = same && rows[t] == class_->n[t];
    }
    return same && at == class_->schedule_rows;
}

static bool observed(const struct nof1_plan *plan, const struct nof1_trial *trial, size_t outcome)
{
    bool reference = false, active = false;
    for (size_t r = 0; r < trial->rows; r++) {
        bool seen = !isnan(trial->outcome[outcome][r]);
        reference = reference || (seen && trial->treatment[r] == plan->reference);
        active = active || (seen && trial->treatment[r] == plan->active);
    }
    return reference && active;
}

static size_t level_of(const struct nof1_study *study, const struct trait *trait,
                       const struct nof1_trial *trial)
{
    size_t last = trait->levels - 1;
    if (trait->kind == TRAIT_COVARIATE) {
        double value = trial->rows > 0 ? trial->covariate[trait->index][0] : NAN;
        return isnan(value) ? last : (size_t)value;
    }
    if (trait->kind == TRAIT_OBSERVED) {
        return observed(study->plan, trial, trait->index) ? 0 : last;
    }
    for (size_t c = 0; c < last; c++) {
        if (in_class(study, &study->charter->class_[c], trial)) {
            return c;
        }
    }
    return last;
}

static const char *level_name(const struct nof1_study *study, const struct trait *trait, size_t l)
{
    bool last = l + 1 == trait->levels;
    if (trait->kind == TRAIT_COVARIATE) {
        const struct nof1_covariate *covariate = &study->charter->covariate[trait->index];
        return l == covariate->levels ? "missing" : covariate->level[l];
    }
    if (trait->kind == TRAIT_OBSERVED) {
        return last ? "no" : "yes";
    }
    return last ? "other" : study->charter->class_[l].name;
}

/* The level of trait t in a cell: the last trait runs fastest. */
static size_t cell_level(const struct feasibility *model, size_t cell, size_t t)
{
    for (size_t later = model->traits - 1; later > t; later--) {
        cell /= model->trait[later].levels;
    }
    return cell % model->trait[t].levels;
}

static nof1_rc_value layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                            struct nof1_layout *out)
{
    (void)round;
    const struct feasibility *model = (const struct feasibility *)base;
    struct nof1_element *element = nof1_arena_alloc(arena, model->cells, sizeof *element);
    ENSURE(element != NULL, NOF1_E_NO_MEMORY);
    for (size_t cell = 0; cell < model->cells; cell++) {
        const char *name = "noisy patients";
        for (size_t t = 0; name != NULL && t < model->traits; t++) {
            const struct trait *trait = &model->trait[t];
            name = nof1_arena_printf(arena, "%s/%s=%s", name, trait->name,
                                     level_name(base->study, trait, cell_level(model, cell, t)));
        }
        ENSURE(name != NULL, NOF1_E_NO_MEMORY);
        element[cell] = (struct nof1_element){.name = name, .role = NOF1_DESIGN, .group = -1,
                                              .bound = NOISE_BOUND};
    }
    *out = (struct nof1_layout){model->cells, element};
    return NOF1_OK;
}

/* A patient counts once, with the first trial. */
static nof1_rc_value contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                const struct nof1_trial *trial, void *scratch, double *out)
{
    (void)round;
    (void)theta;
    (void)scratch;
    const struct feasibility *model = (const struct feasibility *)base;
    size_t cell = 0;
    memset(out, 0, model->cells * sizeof *out);
    for (size_t t = 0; t < model->traits; t++) {
        cell = cell * model->trait[t].levels + level_of(base->study, &model->trait[t], trial);
    }
    out[cell] = trial->counted ? 1.0 : 0.0;
    return NOF1_OK;
}

static nof1_rc_value site_noise(const struct nof1_model *base, uint32_t round, const uint8_t *seed,
                                double *out)
{
    (void)round;
    const struct feasibility *model = (const struct feasibility *)base;
    struct nof1_stream stream;
    nof1_stream_start(&stream, seed);
    for (size_t cell = 0; cell < model->cells; cell++) {
        out[cell] = (double)nof1_noise_gaussian(&stream, model->share) / UNITS;
    }
    return NOF1_OK;
}

static nof1_rc_value advance(const struct nof1_model *base, const struct nof1_history *history,
                             struct nof1_arena *arena, struct nof1_next *out,
                             struct nof1_error *error)
{
    (void)base;
    (void)arena;
    (void)error;
    *out = (struct nof1_next){.done = history->rounds > 0};
    return NOF1_OK;
}

/* ---- the result ---- */

static json_int_t within(double x, double patients)
{
    return (json_int_t)fmin(fmax(x, 0.0), patients);
}

/* Clamping and rounding see the noisy number alone: they cost nothing. `noisy` is for who adds
 * cells up: clamped numbers would be biased. */
static json_t *cell_json(const struct feasibility *model, const struct nof1_history *history,
                         size_t cell, double margin)
{
    double noisy = history->round[0].total[cell], n = (double)history->counts.patients;
    json_t *row = json_pack("{s:I,s:I,s:I,s:f}", "patients", within(round(noisy), n), "conf.low",
                            within(ceil(noisy - margin), n), "conf.high",
                            within(floor(noisy + margin), n), "noisy", noisy);
    for (size_t t = 0; t < model->traits; t++) {
        const struct trait *trait = &model->trait[t];
        json_object_set_new(row, trait->name,
                            json_string(level_name(model->base.study, trait,
                                                   cell_level(model, cell, t))));
    }
    return row;
}

static json_t *table_json(const struct feasibility *model, const struct nof1_history *history,
                          double sd)
{
    json_t *columns = json_array(), *cells = json_array();
    double margin = nof1_normal_quantile((1.0 - model->level) / 2.0) * sd;
    for (size_t t = 0; t < model->traits; t++) {
        json_array_append_new(columns, json_string(model->trait[t].name));
    }
    json_array_append_new(columns, json_string("patients"));
    json_array_append_new(columns, json_string("conf.low"));
    json_array_append_new(columns, json_string("conf.high"));
    for (size_t cell = 0; cell < model->cells; cell++) {
        json_array_append_new(cells, cell_json(model, history, cell, margin));
    }
    return json_pack("[{s:s,s:o,s:o}]", "title", "Patients, with noise", "columns", columns,
                     "cells", cells);
}

static json_t *noise_json(const struct feasibility *model, double sd)
{
    return json_pack("{s:s,s:f,s:f,s:f,s:f,s:f,s:I,s:I}", "mechanism", "discrete Gaussian", "sd",
                     sd, "sd.site", sqrt((double)model->share) / UNITS, "rho", model->base.rho,
                     "epsilon", nof1_zcdp_epsilon(model->base.rho, model->delta), "delta",
                     model->delta, "sites", (json_int_t)model->sites, "assumed_colluders",
                     (json_int_t)model->base.study->charter->limits.assumed_colluders);
}

static nof1_rc_value report(const struct nof1_model *base, const struct nof1_history *history,
                            struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    (void)arena;
    const struct feasibility *model = (const struct feasibility *)base;
    if (history->rounds == 0 || history->counts.trials == 0) {
        return nof1_fail(error, NOF1_E_MODEL, "no patient has both treatments observed");
    }
    double sd = sqrt((double)model->share * (double)model->sites) / UNITS;
    *out = json_pack(
        "{s:[],s:o,s:o,s:{s:I,s:I,s:I,s:I,s:b},s:{s:s,s:s,s:s},s:s,s:[{s:s,s:s}]}", "estimates",
        "tables", table_json(model, history, sd), "noise", noise_json(model, sd), "fit", "nobs",
        (json_int_t)history->counts.patients, "trials", (json_int_t)history->counts.trials, "sites",
        (json_int_t)history->counts.sites, "rounds", (json_int_t)history->rounds, "converged", true,
        "estimand", "sentence",
        "number of these patients in each cell; the intervals are about the added noise alone",
        "population", "patients with both treatments observed", "weights", "each patient 1", "form",
        base->form, "warnings", "code", "noise", "text",
        "counts carry noise: they serve planning, not inference, and cells need not add up to the "
        "number of patients");
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

const struct nof1_analysis nof1_feasibility = {
    .id = "feasibility",
    .version = 1,
    .summary = "counts of patients by traits, with noise for differential privacy",
    .option = options,
    .prepare = prepare,
    .group_of = group_of,
    .layout = layout,
    .contribute = contribute,
    .site_noise = site_noise,
    .advance = advance,
    .report = report,
};
