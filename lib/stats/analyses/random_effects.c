/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The two-stage analysis (docs/statistics.md, `random_effects`): each trial's own treatment
 * effect, then a random-effects model over trials. Pooled within-trial variance by default, because
 * 2-5 cycles do not tell a trial's own variance (Senn 2024, Trials 25). This file reads the plan
 * and chooses the release; it must never look at a trial.
 */
#include "random_effects.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <base/document.h>
#include <stats/options.h>
#include <stats/registry.h>

static const struct nof1_option options[] = {
    {"effect", NOF1_OPT_CHOICE, "difference|level_change|slope_change", "difference", 0, 0,
     "a trial's effect: difference between treatments; or, of one baseline and one treatment "
     "phase, "
     "whenever treatment started, its change of level or slope there, by its own least-squares "
     "lines "
     "(own variances then, by score rounds)"},
    {"by", NOF1_OPT_CHOICE, "time|period", "time", 0, 0,
     "what measures time for level_change and slope_change"},
    {"within_variance", NOF1_OPT_CHOICE, "pooled|own", "pooled", 0, 0,
     "variance of a trial's effect: pooled over trials, or each trial's own"},
    {"method", NOF1_OPT_CHOICE, "FE|DL|HE|HS|SJ|ML|REML|EB|PM", "REML", 0, 0,
     "estimator of the variance between patients (EB equals PM)"},
    {"test", NOF1_OPT_CHOICE, "z|knha", "knha", 0, 0, "normal intervals, or Knapp-Hartung with t"},
    {"level", NOF1_OPT_NUMBER, "confidence level", "0.95", 0.5, 0.9999, "confidence level"},
    {"incomplete", NOF1_OPT_CHOICE, "auto|pool|cycles|score|exclude", "auto", 0, 0,
     "cycles: differences of complete cycles; pool: differences of period means; score: pool by "
     "rounds; exclude: complete trials only; auto: cycles when all data are complete, else pool"},
    {"tau2_interval", NOF1_OPT_CHOICE, "q_profile|none", "q_profile", 0, 0,
     "interval of the variance between patients"},
    {"moderators", NOF1_OPT_NAMES, "charter covariates constant within a trial, or strata", "[]", 0,
     0, "columns of the regression of effects on patients' traits"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

/* ---- the plan's options ---- */

static nof1_rc read_fit(struct re_model *model, const struct nof1_study *study,
                        struct nof1_error *error)
{
    const char *text;
    TRY(nof1_option_word(&text, &nof1_random_effects, study->plan->options, "effect", error));
    model->effect = strcmp(text, "level_change") == 0   ? RE_LEVEL
                    : strcmp(text, "slope_change") == 0 ? RE_SLOPE
                                                        : RE_DIFFERENCE;
    TRY(nof1_option_word(&text, &nof1_random_effects, study->plan->options, "by", error));
    model->by_period = strcmp(text, "period") == 0;
    TRY(nof1_option_word(&text, &nof1_random_effects, study->plan->options, "within_variance",
                         error));
    model->own = strcmp(text, "own") == 0 || model->effect != RE_DIFFERENCE;
    TRY(nof1_option_word(&text, &nof1_random_effects, study->plan->options, "method", error));
    ENSURE(nof1_two_stage_method_of(text, &model->fit.method), NOF1_E_BUG);
    TRY(nof1_option_word(&text, &nof1_random_effects, study->plan->options, "test", error));
    model->fit.knapp_hartung = strcmp(text, "knha") == 0;
    TRY(nof1_option_word(&text, &nof1_random_effects, study->plan->options, "tau2_interval",
                         error));
    model->fit.interval = strcmp(text, "none") != 0;
    TRY(nof1_option_number(&model->fit.level, &nof1_random_effects, study->plan->options, "level",
                           error));
    model->fit.fixed = NAN;
    return NOF1_OK;
}

/* ---- moderators ---- */

static nof1_rc find_moderator(size_t *out, const struct nof1_charter *charter, const char *name,
                              struct nof1_error *error)
{
    const char *wanted = name;
    if (strcmp(name, "strata") == 0 && charter->stratum_covariate != NULL) {
        wanted = charter->stratum_covariate;
    }
    for (size_t c = 0; c < charter->covariates; c++) {
        if (strcmp(charter->covariate[c].name, wanted) == 0) {
            *out = c;
            if (charter->covariate[c].varies_within) {
                return nof1_fail(error, NOF1_E_PLAN,
                                 "moderators: %s may change within a trial; use mixed_model", name);
            }
            return NOF1_OK;
        }
    }
    return nof1_fail(error, NOF1_E_PLAN, "moderators: the charter has no covariate %s", name);
}

static nof1_rc add_column(struct re_model *model, struct re_column column, struct nof1_error *error)
{
    if (model->columns == NOF1_TWO_STAGE_COLUMNS) {
        return nof1_fail(error, NOF1_E_PLAN, "moderators: more than %d columns",
                         NOF1_TWO_STAGE_COLUMNS);
    }
    ENSURE(column.term != NULL, NOF1_E_NO_MEMORY);
    model->column[model->columns++] = column;
    return NOF1_OK;
}

static nof1_rc add_factor(struct re_model *model, struct nof1_arena *arena, size_t index,
                          const struct nof1_study *study, struct nof1_error *error)
{
    const struct nof1_covariate *covariate = &study->charter->covariate[index];
    const char *strata = study->charter->stratum_covariate;
    bool limited =
        study->plan->strata > 0 && strata != NULL && strcmp(strata, covariate->name) == 0;
    size_t levels = limited ? study->plan->strata : covariate->levels;
    if (levels < 2) {
        return nof1_fail(error, NOF1_E_PLAN, "moderators: %s has one level only", covariate->name);
    }
    int reference = limited ? (int)study->plan->stratum[0] : 0;
    for (size_t l = 1; l < levels; l++) {
        size_t level = limited ? study->plan->stratum[l] : l;
        char *term = nof1_arena_printf(arena, "%s%s", covariate->name, covariate->level[level]);
        TRY(add_column(model, (struct re_column){term, index, (int)level, reference, 0.0, 1.0},
                       error));
    }
    return NOF1_OK;
}

static nof1_rc read_moderators(struct re_model *model, struct nof1_arena *arena,
                               const struct nof1_study *study, struct nof1_error *error)
{
    model->columns = 1;
    model->column[0] = (struct re_column){"intercept", 0, -1, 0, 0.0, 1.0};
    const struct nof1_node *list = nof1_node_get(study->plan->options, "moderators");
    for (size_t i = 0; list != NULL && i < list->items; i++) {
        size_t index = 0;
        TRY(find_moderator(&index, study->charter, list->item[i].text, error));
        const struct nof1_covariate *covariate = &study->charter->covariate[index];
        if (covariate->kind == NOF1_FACTOR) {
            TRY(add_factor(model, arena, index, study, error));
            continue;
        }
        double bound = fmax(covariate->upper - covariate->centre,
                            covariate->centre - covariate->lower);
        TRY(add_column(model, (struct re_column){covariate->name, index, -1, 0,
                                                 covariate->centre, fmax(bound, 0.0)}, error));
    }
    static const char *const term[] = {"treatment", "level_change", "slope_change"};
    if (model->columns == 1) {
        model->column[0].term = term[model->effect];
    }
    model->fit.columns = model->columns;
    return NOF1_OK;
}

/* ---- products ---- */

static bool indicator(const struct re_model *model, size_t i)
{
    return i > 0 && model->column[i].level >= 0;
}

/* As re_product.sparse. */
static uint16_t sparse_of(const struct re_model *model, size_t i)
{
    return i == 0 ? 0 : indicator(model, i) ? (uint16_t)(2 + model->column[i].covariate) : 1;
}

static nof1_rc add_product(struct re_model *model, struct re_product product)
{
    ENSURE(product.name != NULL, NOF1_E_NO_MEMORY);
    model->product[model->products++] = product;
    return NOF1_OK;
}

/* Sums of x_i x_j: not those that the others give (indicators of one factor). */
static nof1_rc add_squares(struct re_model *model, struct nof1_arena *arena)
{
    const struct re_column *column = model->column;
    for (size_t j = 1; j < model->columns; j++) {
        for (size_t i = 0; i <= j; i++) {
            bool both = indicator(model, j) && (i == 0 || indicator(model, i));
            if (both && i > 0 && column[i].covariate == column[j].covariate) {
                continue;
            }
            const char *name = i == 0 ? column[j].term
                                      : nof1_arena_printf(arena, "%s*%s", column[i].term,
                                                          column[j].term);
            TRY(add_product(model, (struct re_product){
                RE_XX, i, j, name, column[i].bound * column[j].bound,
                both ? NOF1_DESIGN : NOF1_OUTCOME, 1}));
        }
    }
    return NOF1_OK;
}

static nof1_rc make_products(struct re_model *model, struct nof1_arena *arena)
{
    size_t p = model->columns;
    model->product = nof1_arena_alloc(arena, p * (p + 1) / 2 + p + 1, sizeof *model->product);
    ENSURE(model->product != NULL, NOF1_E_NO_MEMORY);
    TRY(add_squares(model, arena));
    double bound = model->range * (model->effect == RE_DIFFERENCE ? 1 : RE_PHASES_REACH);
    if (model->imported) {
        bound += fabs(model->centre); /* an effect minus the centre */
    }
    for (size_t i = 0; i < p; i++) {
        const char *name = i == 0 ? "d" : nof1_arena_printf(arena, "%s*d", model->column[i].term);
        TRY(add_product(model, (struct re_product){RE_XY, i, 0, name,
                                                   bound * model->column[i].bound, NOF1_OUTCOME,
                                                   sparse_of(model, i)}));
    }
    return add_product(model, (struct re_product){RE_YY, 0, 0, "d^2", bound * bound, NOF1_OUTCOME,
                                                  0});
}

/* ---- which data ---- */

static uint64_t census_of(const struct nof1_study *study, const char *kind, size_t a, size_t b)
{
    char name[256];
    const char *outcome = study->plan->outcome_name;
    if (strcmp(kind, "pattern") == 0) {
        snprintf(name, sizeof name, "%s/pattern:%zu:%zu", outcome, a, b);
    } else {
        snprintf(name, sizeof name, "%s/cycles:%zu", outcome, a);
    }
    return nof1_census_count(study, name);
}

/* Every trial of the outcome has complete cycles only: as many trials with K complete cycles as
 * with K periods of each arm, for every K. */
static bool census_complete(const struct nof1_study *study)
{
    if (!re_census_usable(study)) {
        return false;
    }
    uint32_t most = study->charter->max_periods;
    for (size_t a = 1; a <= most; a++) {
        for (size_t b = 1; b <= most; b++) {
            uint64_t cycles = a == b ? census_of(study, "cycles", a, 0) : 0;
            if (census_of(study, "pattern", a, b) != cycles) {
                return false;
            }
        }
    }
    return census_of(study, "cycles", 0, 0) == 0;
}

static nof1_rc read_form(struct re_model *model, const struct nof1_study *study,
                         struct nof1_error *error)
{
    const char *text;
    TRY(nof1_option_word(&text, &nof1_random_effects, study->plan->options, "incomplete", error));
    bool automatic = strcmp(text, "auto") == 0;
    if (model->effect != RE_DIFFERENCE) {
        model->base.form = "score";
        return automatic || strcmp(text, "score") == 0
                   ? NOF1_OK
                   : nof1_fail(error, NOF1_E_PLAN,
                               "incomplete: changes of level or slope take rounds; write score");
    }
    if (automatic) {
        text = model->imported || !census_complete(study) ? "pool" : "cycles";
    }
    model->base.form = text;
    model->complete_only = strcmp(text, "exclude") == 0;
    model->cycles = model->complete_only || strcmp(text, "cycles") == 0;
    model->forced_rounds = strcmp(text, "score") == 0;
    if (model->own) {
        return NOF1_OK;
    }
    if (model->cycles && study->charter->max_cycles == 0) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: the charter has no cycles; use incomplete: pool");
    }
    if (!model->cycles && study->charter->max_periods == 0) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: the charter has no periods; use incomplete: cycles");
    }
    return NOF1_OK;
}

/* The unit of own variances. Fixed-point sums hold variances from 2^-28 to 2^48 units squared: the
 * range of the outcome serves trials' own; a published table may hold far smaller or larger ones,
 * of which sd_within tells the smallest. */
static double unit_of(const struct nof1_outcome *outcome, double range)
{
    double unit = exp2(ceil(log2(range)));
    if (outcome->kind != NOF1_EFFECT || !(outcome->sd_within > 0.0)) {
        return unit;
    }
    double least = exp2(ceil(log2(outcome->sd_within)));
    return fmax(fmax(least, unit / 256.0), fmin(unit, least * 0x1p12));
}

static nof1_rc check_kind(struct re_model *model, const struct nof1_study *study,
                          struct nof1_error *error)
{
    const struct nof1_outcome *outcome = &study->charter->outcome[study->plan->outcome];
    model->imported = outcome->kind == NOF1_EFFECT;
    model->range = outcome->upper - outcome->lower;
    model->scale = unit_of(outcome, model->range);
    model->centre = model->imported ? outcome->centre : 0.0;
    if (!(model->range > 0.0) || !isfinite(model->range)) {
        return nof1_fail(error, NOF1_E_PLAN, "outcome: the charter gives %s no bounds",
                         outcome->name);
    }
    if (model->imported && model->effect != RE_DIFFERENCE) {
        return nof1_fail(error, NOF1_E_PLAN, "effect: an imported effect has no phases");
    }
    if (model->imported && !model->own) {
        return nof1_fail(error, NOF1_E_PLAN, "within_variance: an imported table of effects brings "
                                             "its own variances; use own");
    }
    if (model->own && !model->imported && !study->charter->lab && outcome->quantum > 0.0) {
        return nof1_fail(error, NOF1_E2311, "within_variance: own variances of an outcome in steps "
                                            "tell single values; use %s",
                         model->effect == RE_DIFFERENCE ? "pooled"
                                                        : "analysis: baseline_treatment");
    }
    return NOF1_OK;
}

/* Which trials and which terms: everything but the estimator, the test, the level and the
 * moderators, whose elements have names of their own. Without a rule for missing traits they choose
 * trials. */
static nof1_rc name_sums(struct re_model *model, struct nof1_arena *arena)
{
    bool choosing = model->base.study->charter->missing == NOF1_MISSING_ROWS && model->columns > 1;
    const char *released = model->release == RE_CLASS   ? "class"
                           : model->release == RE_BASIS ? "basis"
                                                        : "own";
    static const char *const level[] = {"level by time", "level by period"};
    static const char *const slope[] = {"slope by time", "slope by period"};
    const char *const phases[] = {level[model->by_period], slope[model->by_period]};
    model->base.sums = choosing ? NULL
                                : nof1_arena_printf(arena, "two-stage %s of %s, %zu weights%s",
                                                    released,
                                                    model->effect == RE_LEVEL   ? phases[0]
                                                    : model->effect == RE_SLOPE ? phases[1]
                                                    : model->imported           ? "effects"
                                                    : model->cycles             ? "cycles"
                                                                                : "periods",
                                                    model->weights,
                                                    model->complete_only ? ", complete" : "");
    ENSURE(choosing || model->base.sums != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    struct re_model *model = nof1_arena_alloc(arena, 1, sizeof *model);
    ENSURE(model != NULL, NOF1_E_NO_MEMORY);
    model->base.analysis = &nof1_random_effects;
    model->base.study = study;
    model->base.scratch = 64;
    model->base.scratch_row = NOF1_SERIES_SCRATCH_ROW;
    TRY(read_fit(model, study, error));
    TRY(check_kind(model, study, error));
    TRY(read_moderators(model, arena, study, error));
    TRY(make_products(model, arena));
    TRY(read_form(model, study, error));
    model->base.fixed_parameters = (uint32_t)model->columns;
    TRY(re_prepare_release(model, arena, error));
    TRY(name_sums(model, arena));
    *out = &model->base;
    return NOF1_OK;
}

static int group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    const struct re_model *model = (const struct re_model *)base;
    struct re_trial numbers;
    re_trial_of(&numbers, model, trial, scratch);
    if (numbers.left_out) {
        return NOF1_LEFT_OUT;
    }
    return model->release == RE_CLASS ? numbers.class_ : 0;
}

/* theta[0]: tau^2 in units of scale^2 (OWN), or tau^2 / sigma^2 (BASIS). */
static bool in_domain(const struct nof1_model *base, const double *theta, size_t parameters)
{
    (void)base;
    return parameters == 0 || (parameters == 1 && theta[0] >= 0.0 && theta[0] <= 0x1p40);
}

static size_t weight_element(const struct nof1_model *base)
{
    (void)base;
    return 0; /* "w" or "w*1" */
}

const struct nof1_analysis nof1_random_effects = {
    .id = "random_effects",
    .version = 1,
    .summary = "two-stage: each trial's effect, then a random-effects model over trials",
    .option = options,
    .prepare = prepare,
    .group_of = group_of,
    .layout = re_layout,
    .contribute = re_contribute,
    .advance = re_advance,
    .in_domain = in_domain,
    .weight = re_weight,
    .weight_element = weight_element,
    .report = re_report,
};
