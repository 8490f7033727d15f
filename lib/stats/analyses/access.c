/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Fairness of a series (docs/statistics.md, `access`): patients recruited and analysed in each
 * stratum of the charter, beside the shares expected of a fair recruitment, and how long they
 * waited for treatment as counts between public breaks. Recruited patients come from the census,
 * which all members have; outcomes are not looked at. Cells below min_cell must never be shown, nor
 * those that would tell them.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <stats/cells.h>
#include <stats/options.h>
#include <stats/registry.h>
#include <stats/report.h>
#include <stats/series.h>

#define MOST_STRATA 64
#define INTERVAL_TEXT 64
#define MOST_BREAKS 8 /* with level, trials, above and missing: what a printed row holds */

struct access {
    struct nof1_model base; /* first */
    size_t stratum;         /* charter covariate of the strata */
    int group_of[MOST_STRATA]; /* of each level; NOF1_LEFT_OUT: not in the plan */
    double recruited[MOST_STRATA]; /* per group, from the census */
    double expected[MOST_STRATA];  /* share per group; NAN: not given */
    bool any_expected, merged;
    size_t time; /* charter covariate; SIZE_MAX: none */
    size_t breaks;
    double edge[MOST_BREAKS];
};

static const struct nof1_option options[] = {
    {"time", NOF1_OPT_NAMES, "a numeric charter covariate", "[]", 0, 0,
     "time to treatment, the same in all rows of a trial; empty: recruitment only"},
    {"breaks", NOF1_OPT_NAMES, "ascending numbers", "[30, 90, 180]", -1e300, 1e300,
     "waiting times between which trials are counted, in the covariate's unit"},
    {"expected", NOF1_OPT_MAP, "{level: share}", "{}", 0, 0,
     "share of each stratum among those who should be reached"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

/* ---- the plan ---- */

static size_t covariate_of(const struct nof1_charter *charter, const char *name)
{
    for (size_t c = 0; name != NULL && c < charter->covariates; c++) {
        if (strcmp(charter->covariate[c].name, name) == 0) {
            return c;
        }
    }
    return SIZE_MAX;
}

static nof1_rc read_time(struct access *model, const struct nof1_study *study,
                         struct nof1_error *error)
{
    const struct nof1_node *time = nof1_node_get(study->plan->options, "time");
    model->time = SIZE_MAX;
    if (time == NULL || time->items == 0) {
        return NOF1_OK;
    }
    const char *name = time->item[0].text;
    model->time = covariate_of(study->charter, name);
    if (time->items > 1 || model->time == SIZE_MAX ||
        study->charter->covariate[model->time].kind != NOF1_NUMERIC ||
        study->charter->covariate[model->time].varies_within) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "time: %.40s is not one numeric covariate of the charter that is constant "
                         "within a trial",
                         name);
    }
    TRY(nof1_option_numbers(model->edge, &model->breaks, MOST_BREAKS, &nof1_access,
                            study->plan->options, "breaks", error));
    for (size_t b = 0; b < model->breaks; b++) {
        if (b > 0 && !(model->edge[b] > model->edge[b - 1])) {
            return nof1_fail(error, NOF1_E_PLAN, "breaks: numbers must ascend");
        }
    }
    return model->breaks > 0 ? NOF1_OK : nof1_fail(error, NOF1_E_PLAN, "breaks: give at least one");
}

static bool in_plan(const struct nof1_plan *plan, size_t level)
{
    bool named = plan->strata == 0;
    for (size_t s = 0; s < plan->strata; s++) {
        named = named || plan->stratum[s] == level;
    }
    return named;
}

/* Patients of a level, recruited and with an analysed outcome, from the census. */
static void count_level(double *recruited, double *analysed, const struct nof1_study *study,
                        struct nof1_arena *arena, const char *level)
{
    const char *all = nof1_arena_printf(arena, "stratum:%s", level);
    const char *set = nof1_arena_printf(arena, "%s/stratum:%s", study->plan->outcome_name, level);
    *recruited = all == NULL ? 0.0 : (double)nof1_census_count(study, all);
    *analysed = set == NULL ? 0.0 : (double)nof1_census_count(study, set);
}

/* Cells too small to stand alone are joined with the next in charter order, for every plan alike;
 * the last one with the one before it. */
static nof1_rc make_groups(struct access *model, const struct nof1_study *study,
                           struct nof1_arena *arena)
{
    const struct nof1_covariate *strata = &study->charter->covariate[model->stratum];
    const struct nof1_limits *limits = &study->charter->limits;
    double least = fmax(fmax(limits->min_atom_patients, limits->min_class_patients),
                        limits->min_cell);
    const char **name = nof1_arena_alloc(arena, strata->levels + 1, sizeof *name);
    double held = 0.0, recruited, analysed;
    bool open = false; /* the last group still takes levels */
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    for (size_t l = 0; l < strata->levels; l++) {
        model->group_of[l] = NOF1_LEFT_OUT;
        if (!in_plan(study->plan, l)) {
            continue;
        }
        count_level(&recruited, &analysed, study, arena, strata->level[l]);
        size_t g = open ? model->base.groups - 1 : model->base.groups++;
        name[g] = open ? nof1_arena_printf(arena, "%s+%s", name[g], strata->level[l])
                       : nof1_arena_printf(arena, "stratum:%s", strata->level[l]);
        ENSURE(name[g] != NULL, NOF1_E_NO_MEMORY);
        held = open ? held + analysed : analysed;
        model->merged = model->merged || open;
        model->group_of[l] = (int)g;
        model->recruited[g] += recruited;
        open = !limits->open && study->census != NULL && held < least;
    }
    if (open && model->base.groups > 1) { /* too small and nothing follows */
        size_t last = --model->base.groups;
        model->merged = true;
        name[last - 1] = nof1_arena_printf(arena, "%s+%s", name[last - 1], name[last] + 8);
        ENSURE(name[last - 1] != NULL, NOF1_E_NO_MEMORY);
        model->recruited[last - 1] += model->recruited[last];
        for (size_t l = 0; l < strata->levels; l++) {
            model->group_of[l] -= model->group_of[l] == (int)last ? 1 : 0;
        }
    }
    model->base.group = name;
    return NOF1_OK;
}

static nof1_rc read_expected(struct access *model, const struct nof1_study *study,
                             struct nof1_error *error)
{
    const struct nof1_node *map = nof1_node_get(study->plan->options, "expected");
    const struct nof1_covariate *strata = &study->charter->covariate[model->stratum];
    double sum = 0.0;
    model->any_expected = map != NULL && map->items > 0;
    for (size_t i = 0; model->any_expected && i < map->items; i++) {
        bool known = false;
        for (size_t l = 0; l < strata->levels; l++) {
            known = known || strcmp(map->item[i].key, strata->level[l]) == 0;
        }
        if (!known) {
            return nof1_fail(error, NOF1_E_PLAN, "expected: the charter has no stratum %.40s",
                             map->item[i].key);
        }
    }
    for (size_t l = 0; model->any_expected && l < strata->levels; l++) {
        double share = 0.0;
        if (model->group_of[l] == NOF1_LEFT_OUT) {
            continue;
        }
        if (nof1_node_get(map, strata->level[l]) == NULL ||
            nof1_node_double(&share, map, strata->level[l], error) != NOF1_OK || !(share > 0.0)) {
            return nof1_fail(error, NOF1_E_PLAN, "expected: give a share above 0 for %s",
                             strata->level[l]);
        }
        model->expected[model->group_of[l]] += share;
        sum += share;
    }
    for (size_t g = 0; g < model->base.groups; g++) {
        model->expected[g] = model->any_expected ? model->expected[g] / sum : NAN;
    }
    return NOF1_OK;
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    struct access *model = nof1_arena_alloc(arena, 1, sizeof *model);
    ENSURE(model != NULL, NOF1_E_NO_MEMORY);
    model->base = (struct nof1_model){.analysis = &nof1_access, .study = study, .form = "access",
                                      .group_is_class = true, .max_rounds = 1, .scratch = 64,
                                      .fixed_parameters = 1};
    model->stratum = covariate_of(study->charter, study->charter->stratum_covariate);
    if (model->stratum == SIZE_MAX) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "analysis: access compares strata, the charter names none");
    }
    if (study->charter->covariate[model->stratum].levels > MOST_STRATA) {
        return nof1_fail(error, NOF1_E_PLAN, "analysis: access takes at most %d strata",
                         MOST_STRATA);
    }
    TRY(read_time(model, study, error));
    TRY(make_groups(model, study, arena));
    TRY(read_expected(model, study, error));
    model->base.max_elements = 1 + model->base.groups * (model->breaks + 1);
    *out = &model->base;
    return NOF1_OK;
}

/* ---- one trial ---- */

static int group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    (void)scratch;
    const struct access *model = (const struct access *)base;
    double level = trial->rows > 0 ? trial->covariate[model->stratum][0] : NAN;
    return isnan(level) ? NOF1_LEFT_OUT : model->group_of[(size_t)level];
}

/* "trials", then for each group the trials treated within each break, and those without a time. */
static nof1_rc_value layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                            struct nof1_layout *out)
{
    (void)round;
    const struct access *model = (const struct access *)base;
    struct nof1_element *element = nof1_arena_alloc(arena, base->max_elements, sizeof *element);
    ENSURE(element != NULL, NOF1_E_NO_MEMORY);
    size_t at = 0;
    element[at++] = (struct nof1_element){.name = "trials", .role = NOF1_DESIGN, .group = -1,
                                          .bound = 1.0};
    for (size_t g = 0; model->breaks > 0 && g < base->groups; g++) {
        for (size_t b = 0; b <= model->breaks; b++) {
            /* not sparse: how many sites feed it would tell times, at breaks that the plan chooses
             */
            element[at] = (struct nof1_element){.role = NOF1_OUTCOME, .group = (int)g,
                                                .block_size = 1, .bound = 1.0};
            element[at].name = b < model->breaks
                                   ? nof1_arena_printf(arena, "%s/time <= %g", base->group[g],
                                                       model->edge[b])
                                   : nof1_arena_printf(arena, "%s/no time", base->group[g]);
            ENSURE(element[at++].name != NULL, NOF1_E_NO_MEMORY);
        }
    }
    *out = (struct nof1_layout){at, element};
    return NOF1_OK;
}

static nof1_rc_value contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                const struct nof1_trial *trial, void *scratch, double *out)
{
    (void)round;
    (void)theta;
    const struct access *model = (const struct access *)base;
    memset(out, 0, (1 + (model->breaks > 0 ? base->groups * (model->breaks + 1) : 0)) *
                       sizeof *out);
    out[0] = 1.0;
    if (model->breaks > 0) {
        size_t g = (size_t)group_of(base, trial, scratch);
        double *cell = out + 1 + g * (model->breaks + 1);
        double time = trial->covariate[model->time][0];
        for (size_t b = 0; b < model->breaks; b++) {
            cell[b] = time <= model->edge[b] ? 1.0 : 0.0;
        }
        cell[model->breaks] = isnan(time) ? 1.0 : 0.0;
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

static const char *level_of(const struct nof1_model *base, size_t g)
{
    return base->group[g] + strlen("stratum:");
}

/* Shares come from what is shown, so that they tell no more. */
static json_t *recruitment_json(const struct access *model, const struct nof1_history *history,
                                bool *hidden)
{
    const struct nof1_limits *limits = &model->base.study->charter->limits;
    const char *code[MOST_STRATA];
    double shown[MOST_STRATA], sum = 0.0;
    json_t *cells = json_array();
    nof1_cells_suppress(code, limits, model->recruited, 1, model->base.groups);
    for (size_t g = 0; g < model->base.groups; g++) {
        shown[g] = code[g] == NULL ? nof1_cells_rounded(limits, model->recruited[g]) : NAN;
        sum += shown[g];
        *hidden = *hidden || code[g] != NULL;
    }
    for (size_t g = 0; g < model->base.groups; g++) {
        double share = shown[g] / sum;
        json_array_append_new(
            cells,
            json_pack("{s:s,s:o,s:o,s:o,s:o,s:I,s:I}", "level", level_of(&model->base, g),
                      "recruited", nof1_json_number(shown[g]), "share", nof1_json_number(share),
                      "expected", nof1_json_number(model->expected[g]), "ratio",
                      nof1_json_number(share / model->expected[g]), "patients",
                      (json_int_t)history->counts.group_patients[g], "trials",
                      (json_int_t)history->counts.group_trials[g]));
    }
    return json_pack("{s:s,s:[s,s,s,s,s,s,s],s:{s:[s]},s:o}", "title", "Recruitment", "columns",
                     "level", "recruited", "share", "expected", "ratio", "patients", "trials",
                     "counts", "down", "recruited", "cells", cells);
}

static void interval_name(char *out, size_t size, const struct access *model, size_t b)
{
    if (b == 0) {
        snprintf(out, size, "<=%g", model->edge[0]);
    } else if (b < model->breaks) {
        snprintf(out, size, "(%g,%g]", model->edge[b - 1], model->edge[b]);
    } else if (b == model->breaks) {
        snprintf(out, size, ">%g", model->edge[b - 1]);
    } else {
        snprintf(out, size, "no time");
    }
}

/* One row a stratum: trials between the breaks, above the last, without a time. */
static json_t *waiting_row(const struct access *model, const struct nof1_history *history, size_t g,
                           bool *hidden)
{
    const struct nof1_limits *limits = &model->base.study->charter->limits;
    const double *total = history->round[0].total + 1 + g * (model->breaks + 1);
    double count[MOST_BREAKS + 2];
    const char *code[MOST_BREAKS + 2];
    size_t n = model->breaks + 2;
    count[0] = total[0];
    for (size_t b = 1; b < model->breaks; b++) {
        count[b] = total[b] - total[b - 1];
    }
    count[n - 1] = total[model->breaks];
    double trials = (double)history->counts.group_trials[g];
    count[n - 2] = trials - total[model->breaks - 1] - count[n - 1];
    nof1_cells_suppress(code, limits, count, 1, n);
    json_t *row = json_pack("{s:s,s:I}", "level", level_of(&model->base, g), "trials",
                            (json_int_t)history->counts.group_trials[g]);
    for (size_t b = 0; b < n; b++) {
        char name[INTERVAL_TEXT];
        interval_name(name, sizeof name, model, b);
        json_object_set_new(row, name,
                            code[b] == NULL ? json_real(nof1_cells_rounded(limits, count[b]))
                                            : json_null());
        *hidden = *hidden || code[b] != NULL;
    }
    return row;
}

static json_t *waiting_json(const struct access *model, const struct nof1_history *history,
                            bool *hidden)
{
    json_t *columns = json_pack("[s,s]", "level", "trials");
    json_t *cells = json_array(), *across = json_array();
    for (size_t b = 0; b < model->breaks + 2; b++) {
        char name[INTERVAL_TEXT];
        interval_name(name, sizeof name, model, b);
        json_array_append_new(columns, json_string(name));
        json_array_append_new(across, json_string(name));
    }
    for (size_t g = 0; g < model->base.groups; g++) {
        json_array_append_new(cells, waiting_row(model, history, g, hidden));
    }
    return json_pack("{s:s+,s:o,s:{s:o},s:o}", "title", "Trials by time to treatment, ",
                     model->base.study->charter->covariate[model->time].name, "columns", columns,
                     "counts", "across", across, "cells", cells);
}

static json_t *warnings_json(const struct access *model, bool hidden)
{
    json_t *warnings = json_array();
    nof1_warn(warnings, hidden, "hidden_cells",
              "cells below min_cell are not shown (E2401), nor those that would tell them (E2402)");
    nof1_warn(warnings, model->merged, "joined_strata",
              "strata too small to stand alone are joined with the next");
    nof1_warn(warnings, model->base.study->census == NULL, "no_census",
              "no census: recruited patients are not known");
    nof1_warn(warnings, !model->any_expected, "not_compared",
              "no expected shares given: recruitment is described, not compared");
    return warnings;
}

static nof1_rc_value report(const struct nof1_model *base, const struct nof1_history *history,
                            struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    (void)arena;
    const struct access *model = (const struct access *)base;
    if (history->rounds == 0 || history->counts.trials == 0) {
        return nof1_fail(error, NOF1_E_MODEL, "no trial has a stratum");
    }
    bool hidden = false;
    json_t *tables = json_array();
    ENSURE(tables != NULL, NOF1_E_NO_MEMORY);
    json_array_append_new(tables, recruitment_json(model, history, &hidden));
    if (model->breaks > 0) {
        json_array_append_new(tables, waiting_json(model, history, &hidden));
    }
    *out = json_pack("{s:[],s:o,s:{s:I,s:I,s:I,s:I,s:b},s:{s:s,s:s,s:s},s:s,s:o}", "estimates",
                     "tables", tables, "fit", "nobs", (json_int_t)history->counts.trials, "trials",
                     (json_int_t)history->counts.trials, "sites",
                     (json_int_t)history->counts.sites, "rounds", (json_int_t)history->rounds,
                     "converged", true, "estimand", "sentence",
                     "who was recruited, analysed and how soon treated, by stratum; ratio: share "
                     "of the recruited / expected share",
                     "population",
                     "recruited: all patients frozen; patients and trials: those with both "
                     "treatments observed",
                     "weights", "each patient 1; waiting: each trial 1", "form", base->form,
                     "warnings", warnings_json(model, hidden));
    ENSURE(*out != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

const struct nof1_analysis nof1_access = {
    .id = "access",
    .version = 1,
    .summary = "fairness: recruitment and time to treatment by stratum",
    .option = options,
    .prepare = prepare,
    .group_of = group_of,
    .layout = layout,
    .contribute = contribute,
    .advance = advance,
    .tables = true,
    .report = report,
};
