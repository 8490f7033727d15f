/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Endpoints that are each patient's own (docs/statistics.md, `goal_attainment`): the goal
 * attainment T score of Kiresuk & Sherman 1968 (Community Ment Health J 4:443), computed for every
 * row from the scores and weights of the patient's goals; or the effect in units of the patient's
 * own minimal important difference. Then one difference a trial and Student's t, as in
 * `summary_test`. Only the sums of the differences leave: never a goal's score, never a patient's
 * MCID.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <base/document.h>
#include <stats/options.h>
#include <stats/registry.h>
#include <stats/report.h>
#include <stats/series.h>

#include "summary.h"

#define WEIGHT_MOST 10 /* of a goal, outside an open lab */
#define MOST_GOALS 12
#define LEAST_MCID 0x1p-20 /* of the outcome's range, in a lab whose charter has no lower bound */

struct goal {
    size_t outcome;
    int covariate;   /* weight, or -1 */
    double weight;   /* without a covariate */
};

struct goal_attainment {
    struct summary_model base; /* first */
    bool mcid;                 /* units of the patient's MCID, else T scores */
    int benefit;
    size_t goals;
    struct goal goal[MOST_GOALS];
    double rho;
    size_t covariate; /* MCID */
    double least;     /* a smaller MCID is not usable */
};

static const struct nof1_option options[] = {
    {"form", NOF1_OPT_CHOICE, "gas|mcid|responder", "gas", 0, 0,
     "gas: difference of goal attainment T scores; mcid: difference in units of the patient's own "
     "MCID; responder: share of trials whose difference exceeds the patient's own MCID"},
    {"goals", NOF1_OPT_NAMES, "charter outcomes", "[]", 0, 0,
     "gas: the goals' scores, -2 to 2; a goal without any score in a trial is not the patient's; "
     "[]: the plan's outcome alone"},
    {"weights", NOF1_OPT_NAMES, "charter covariates, or numbers of 0 or more", "[]", 0, 0,
     "gas: the goals' weights in their order, numbers in steps of 0.5 up to 10; []: all 1"},
    {"rho", NOF1_OPT_NUMBER, "0 to 1", "0.3", 0, 1,
     "gas: expected correlation of the goals' scores"},
    {"mcid", NOF1_OPT_NAMES, "a numeric charter covariate, constant within a trial", "[]", 0, 0,
     "mcid, responder: each patient's minimal important difference, above 0"},
    {"benefit", NOF1_OPT_CHOICE, "charter|higher|lower", "charter", 0, 0,
     "which direction of the outcome is better"},
    {"null_value", NOF1_OPT_NUMBER, "number", "0", 0, 0, "mean difference that is tested against"},
    {"level", NOF1_OPT_NUMBER, "confidence level", "0.95", 0.5, 0.9999, "confidence level"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

/* ---- the plan: goals and weights ---- */

static int find_covariate(const struct nof1_charter *charter, const char *name)
{
    for (size_t c = 0; c < charter->covariates; c++) {
        if (strcmp(charter->covariate[c].name, name) == 0) {
            return (int)c;
        }
    }
    return -1;
}

static nof1_rc check_constant(const struct nof1_covariate *covariate, const char *key, double least,
                              struct nof1_error *error)
{
    if (covariate->kind != NOF1_NUMERIC || covariate->varies_within) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "%s: %s must be numeric and constant within a trial", key,
                         covariate->name);
    }
    if (covariate->lower < least) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "%s: the charter's lower bound of %s is below %g; write its bounds as "
                         "they are meant", key, covariate->name, least);
    }
    return NOF1_OK;
}

/* Weights derived bounds of a lab may reach below 0: there each trial's are checked instead. */
static nof1_rc read_weight(struct goal *goal, const struct nof1_study *study,
                           const struct nof1_node *item, struct nof1_error *error)
{
    struct nof1_error ignored = {0};
    goal->covariate = find_covariate(study->charter, item->text);
    if (goal->covariate >= 0) {
        return check_constant(&study->charter->covariate[goal->covariate], "weights",
                              study->charter->lab ? -INFINITY : 0.0, error);
    }
    if (nof1_scalar_double(&goal->weight, item, &ignored) != NOF1_OK || !(goal->weight >= 0.0) ||
        goal->weight > 1e6) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "weights: %.60s is neither a charter covariate nor a number of 0 or more",
                         item->text);
    }
    /* 1 and 0.000001 would put the sums of two goals into the digits of one */
    bool coarse = goal->weight <= WEIGHT_MOST && 2.0 * goal->weight == floor(2.0 * goal->weight);
    if (!coarse && !study->charter->limits.open) {
        return nof1_fail(
            error, NOF1_E_PLAN,
            "weights: %.60s found, multiples of 0.5 up to %d expected: only their ratios "
            "matter, and one sum must not carry two",
            item->text, WEIGHT_MOST);
    }
    return NOF1_OK;
}

/* Goals share the direction of the plan's outcome, and its family, so that budget and difference
 * rule see them. */
static nof1_rc check_goal(const struct nof1_outcome *goal, const struct nof1_outcome *main,
                          bool open, struct nof1_error *error)
{
    if (goal->kind == NOF1_EFFECT || !(goal->upper > goal->lower) ||
        !isfinite(goal->upper - goal->lower)) {
        return nof1_fail(error, NOF1_E_PLAN, "goals: the charter gives %s no bounds", goal->name);
    }
    if (goal->benefit * main->benefit < 0) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "goals: higher must be better in all or in none of %s and %s", main->name,
                         goal->name);
    }
    if (!open && (strcmp(goal->family, main->family) != 0 || goal->quantum != main->quantum)) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "goals: %s must have the charter's family and quantum of %s, so that "
                         "one budget covers all goals", goal->name, main->name);
    }
    return NOF1_OK;
}

static nof1_rc read_goal(struct goal *goal, const struct nof1_study *study, const char *name,
                         struct nof1_error *error)
{
    const struct nof1_charter *charter = study->charter;
    *goal = (struct goal){.outcome = charter->outcomes, .covariate = -1, .weight = 1.0};
    for (size_t k = 0; k < charter->outcomes; k++) {
        goal->outcome = strcmp(charter->outcome[k].name, name) == 0 ? k : goal->outcome;
    }
    if (goal->outcome == charter->outcomes) {
        return nof1_fail(error, NOF1_E_PLAN, "goals: the charter has no outcome %s", name);
    }
    return check_goal(&charter->outcome[goal->outcome], &charter->outcome[study->plan->outcome],
                      charter->limits.open, error);
}

/* T lies within 50 +- 10 max|x| sqrt(m / (1 - rho + rho m)), because sum w^2 >= (sum w)^2 / m. */
static void bound_gas(struct goal_attainment *model, const struct nof1_charter *charter)
{
    double range = 0.0, m = (double)model->goals;
    for (size_t g = 0; g < model->goals; g++) {
        const struct nof1_outcome *outcome = &charter->outcome[model->goal[g].outcome];
        range = fmax(range, fmax(fabs(outcome->lower), fabs(outcome->upper)));
    }
    double largest = sqrt(m / fmax(1.0 - model->rho + model->rho * m, 1e-6));
    model->base.bound = 20.0 * range * largest * (1.0 + 1e-9);
}

static nof1_rc read_gas(struct goal_attainment *model, const struct nof1_study *study,
                        struct nof1_error *error)
{
    const struct nof1_node *goals = nof1_node_get(study->plan->options, "goals");
    const struct nof1_node *weights = nof1_node_get(study->plan->options, "weights");
    size_t named = goals == NULL ? 0 : goals->items, given = weights == NULL ? 0 : weights->items;
    model->goals = named == 0 ? 1 : named;
    if (model->goals > MOST_GOALS) {
        return nof1_fail(error, NOF1_E_PLAN, "goals: at most %d", MOST_GOALS);
    }
    if (given != 0 && given != model->goals) {
        return nof1_fail(error, NOF1_E_PLAN, "weights: %zu for %zu goals", given, model->goals);
    }
    bool main = named == 0;
    for (size_t g = 0; g < model->goals; g++) {
        const char *name = named == 0 ? study->plan->outcome_name : goals->item[g].text;
        TRY(read_goal(&model->goal[g], study, name, error));
        for (size_t h = 0; h < g; h++) {
            if (model->goal[h].outcome == model->goal[g].outcome) {
                return nof1_fail(error, NOF1_E_PLAN, "goals: %s is named twice", name);
            }
        }
        main = main || model->goal[g].outcome == study->plan->outcome;
        if (given > 0) {
            TRY(read_weight(&model->goal[g], study, &weights->item[g], error));
        }
    }
    if (!main) {
        return nof1_fail(error, NOF1_E_PLAN, "outcome: %s must be one of the goals",
                         study->plan->outcome_name);
    }
    bound_gas(model, study->charter);
    return NOF1_OK;
}

static nof1_rc read_mcid(struct goal_attainment *model, const struct nof1_study *study,
                         struct nof1_error *error)
{
    const struct nof1_charter *charter = study->charter;
    const struct nof1_outcome *outcome = &charter->outcome[study->plan->outcome];
    const struct nof1_node *list = nof1_node_get(study->plan->options, "mcid");
    double range = outcome->upper - outcome->lower;
    if (list == NULL || list->items != 1) {
        return nof1_fail(error, NOF1_E_PLAN, "mcid: this form needs the covariate that holds each "
                                             "patient's MCID, e.g. mcid: mcid");
    }
    int found = find_covariate(charter, list->item[0].text);
    if (found < 0) {
        return nof1_fail(error, NOF1_E_PLAN, "mcid: the charter has no covariate %s",
                         list->item[0].text);
    }
    if (outcome->kind == NOF1_EFFECT || !(range > 0.0) || !isfinite(range)) {
        return nof1_fail(error, NOF1_E_PLAN, "outcome: the charter gives %s no bounds",
                         outcome->name);
    }
    const struct nof1_covariate *covariate = &charter->covariate[found];
    model->least = LEAST_MCID * range;
    TRY(check_constant(covariate, "mcid", charter->lab ? -INFINITY : model->least, error));
    model->covariate = (size_t)found;
    model->least = fmax(model->least, covariate->lower);
    model->base.bound = range / model->least * (1.0 + 1e-9);
    if (model->base.form == SUMMARY_RESPONDER && model->benefit == 0) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "benefit: the charter does not say which direction of %s is better; write "
                         "benefit: higher or benefit: lower", outcome->name);
    }
    return NOF1_OK;
}

/* Goals with their weights, or the MCID; level and null value come after, and direction but for
 * responders. */
static nof1_rc name_sums(struct goal_attainment *model, struct nof1_arena *arena)
{
    const struct nof1_charter *charter = model->base.base.study->charter;
    const char *text;
    if (model->mcid) {
        bool responder = model->base.form == SUMMARY_RESPONDER;
        text = nof1_arena_printf(arena, "%s %s %d", responder ? "responders by" : "difference over",
                                 charter->covariate[model->covariate].name,
                                 responder ? model->benefit : 0);
    } else {
        text = nof1_arena_printf(arena, "difference of T scores, rho %.17g", model->rho);
    }
    for (size_t g = 0; !model->mcid && g < model->goals && text != NULL; g++) {
        const struct goal *goal = &model->goal[g];
        const char *name = charter->outcome[goal->outcome].name;
        text = goal->covariate >= 0
                   ? nof1_arena_printf(arena, "%s, %s by %s", text, name,
                                       charter->covariate[goal->covariate].name)
                   : nof1_arena_printf(arena, "%s, %s by %.17g", text, name, goal->weight);
    }
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    model->base.base.sums = text;
    return NOF1_OK;
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    static const char *const all[] = {"all"};
    struct goal_attainment *model = nof1_arena_alloc(arena, 1, sizeof *model);
    ENSURE(model != NULL, NOF1_E_NO_MEMORY);
    const char *form = summary_choice(study, "form");
    const struct nof1_limits *limits = &study->charter->limits;
    model->mcid = strcmp(form, "gas") != 0;
    model->base.form = strcmp(form, "responder") == 0 ? SUMMARY_RESPONDER : SUMMARY_MEAN;
    model->base.term = model->mcid ? "treatment / MCID" : "treatment";
    TRY(nof1_option_number(&model->base.level, &nof1_goal_attainment, study->plan->options, "level",
                           error));
    TRY(nof1_option_number(&model->base.null, &nof1_goal_attainment, study->plan->options,
                           "null_value", error));
    model->base.share_least = limits->open ? 0.0 : (double)limits->min_cell;
    TRY(nof1_option_number(&model->rho, &nof1_goal_attainment, study->plan->options, "rho", error));
    model->benefit = summary_benefit(study);
    if (!model->mcid && model->benefit == 0) {
        model->benefit = 1; /* goals are scored so that more is better */
    }
    TRY(model->mcid ? read_mcid(model, study, error) : read_gas(model, study, error));
    model->base.base = (struct nof1_model){
        .analysis = &nof1_goal_attainment, .study = study,
        .form = model->base.form == SUMMARY_RESPONDER ? "responder" : model->mcid ? "mcid" : "gas",
        .groups = 1, .group = all, .max_rounds = 1,
        .scratch = 64 + study->charter->outcomes * sizeof(double *),
        .scratch_row = NOF1_SERIES_SCRATCH_ROW + sizeof(double), .fixed_parameters = 1};
    model->base.base.max_elements = summary_size(&model->base);
    *out = &model->base.base;
    return name_sums(model, arena);
}

/* ---- one trial: T scores ---- */

static double weight_of(const struct goal *goal, const struct nof1_trial *trial)
{
    return goal->covariate < 0 ? goal->weight : trial->covariate[goal->covariate][0];
}

/* A goal that was never scored, or has no weight above 0, is not one of the patient's. */
static bool is_set(const struct goal *goal, const struct nof1_trial *trial)
{
    bool scored = false;
    for (size_t i = 0; i < trial->rows; i++) {
        scored = scored || !isnan(trial->outcome[goal->outcome][i]);
    }
    return scored && weight_of(goal, trial) > 0.0;
}

/* T of every row; NAN where a score of one of the patient's goals is missing. */
static void t_scores(double *t, const struct goal_attainment *model, const struct nof1_trial *trial)
{
    bool set[MOST_GOALS];
    double w = 0.0, w2 = 0.0;
    for (size_t g = 0; g < model->goals; g++) {
        set[g] = is_set(&model->goal[g], trial);
        double weight = set[g] ? weight_of(&model->goal[g], trial) : 0.0;
        w += weight;
        w2 += weight * weight;
    }
    double scale = sqrt((1.0 - model->rho) * w2 + model->rho * w * w);
    for (size_t i = 0; i < trial->rows; i++) {
        double sum = w > 0.0 ? 0.0 : NAN;
        for (size_t g = 0; g < model->goals; g++) {
            sum += set[g] ? weight_of(&model->goal[g], trial) *
                                trial->outcome[model->goal[g].outcome][i]
                          : 0.0;
        }
        t[i] = scale > 0.0 ? 50.0 + 10.0 * sum / scale : NAN;
    }
}

/* ---- one trial: the difference ---- */

/* The trial with the plan's outcome replaced by T; columns and t live in scratch. */
static struct nof1_trial with_scores(const struct goal_attainment *model,
                                     const struct nof1_trial *trial, void **scratch)
{
    const struct nof1_study *study = model->base.base.study;
    const double **column = *scratch;
    double *t = (double *)(void *)(column + study->charter->outcomes);
    uintptr_t rest = ((uintptr_t)(t + trial->rows) + 15) & ~(uintptr_t)15;
    *scratch = (char *)*scratch + (rest - (uintptr_t)*scratch);
    t_scores(t, model, trial);
    for (size_t k = 0; k < study->charter->outcomes; k++) {
        column[k] = trial->outcome[k];
    }
    column[study->plan->outcome] = t;
    struct nof1_trial scored = *trial;
    scored.outcome = column;
    scored.variance = NULL;
    return scored;
}

/* False: no difference, no goal, or no usable MCID. */
static bool terms_of(struct summary_terms *out, const struct goal_attainment *model,
                     const struct nof1_trial *trial, void *scratch)
{
    struct nof1_series series;
    struct nof1_period_difference difference;
    struct nof1_trial scored = model->mcid ? *trial : with_scores(model, trial, &scratch);
    nof1_series_of(&series, model->base.base.study, &scored, scratch);
    nof1_period_difference(&difference, &series);
    *out = (struct summary_terms){.rows = (double)series.rows, .units = 1.0, .x = difference.d};
    if (difference.k[0] == 0 || difference.k[1] == 0) {
        return false;
    }
    if (model->mcid) {
        double mcid = trial->covariate[model->covariate][0];
        if (!(mcid >= model->least)) {
            return false;
        }
        out->x /= mcid;
        out->responder = (double)model->benefit * out->x - 1.0 > 1e-9;
    }
    out->square = out->x * out->x;
    return true;
}

static int group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    struct summary_terms terms;
    return terms_of(&terms, (const struct goal_attainment *)base, trial, scratch) ? 0
                                                                                  : NOF1_LEFT_OUT;
}

static nof1_rc_value layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                            struct nof1_layout *out)
{
    (void)round;
    return summary_layout((const struct summary_model *)base, arena, out);
}

static nof1_rc_value contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                const struct nof1_trial *trial, void *scratch, double *out)
{
    (void)round;
    (void)theta;
    struct summary_terms terms;
    ENSURE(terms_of(&terms, (const struct goal_attainment *)base, trial, scratch), NOF1_E_BUG);
    return summary_write((const struct summary_model *)base, &terms, out);
}

/* ---- the result ---- */

static json_t *estimand(const struct goal_attainment *model, struct nof1_arena *arena)
{
    static const char *const what[] = {
        "mean over these patients of the patient's own difference (active minus reference) of goal "
        "attainment T scores",
        "mean over these patients of the patient's own difference (active minus reference) in "
        "units of the patient's own MCID",
        "share of these patients whose own difference (active minus reference) exceeds their own "
        "MCID towards benefit"};
    bool responder = model->base.form == SUMMARY_RESPONDER;
    int benefit = responder ? 0 : model->benefit;
    const char *direction = summary_direction(arena, model->base.base.study, benefit, "0");
    const char *sentence = nof1_arena_printf(
        arena, "%s%s", what[responder ? 2 : model->mcid ? 1 : 0], direction);
    return json_pack("{s:s,s:s,s:s}", "sentence", sentence == NULL ? "" : sentence, "population",
                     model->mcid ? "patients with both treatments observed and an MCID"
                                 : "patients with goals scored on both treatments",
                     "weights", "each trial 1");
}

static nof1_rc_value report(const struct nof1_model *base, const struct nof1_history *history,
                            struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    const struct goal_attainment *model = (const struct goal_attainment *)base;
    json_t *warnings = json_array();
    nof1_warn_left_out(warnings, history, base->study,
                       model->mcid ? "no difference of treatments, or no usable MCID"
                                   : "no goal scored on both treatments");
    const char *text = "T = 50 + 10 sum(w x) / sqrt((1 - rho) sum(w^2) + rho (sum w)^2) of a row; "
                       "one difference a trial: one-sample t";
    if (model->mcid) {
        text = "d_i / MCID_i, one difference a trial: one-sample t";
    }
    if (model->base.form == SUMMARY_RESPONDER) {
        text = "d_i > MCID_i, one difference a trial: exact (Clopper-Pearson) interval of a share";
        nof1_warn(warnings, true, "observed",
                  "observed differences vary by chance too: this is the share of observed, not "
                  "of true, responders");
    }
    return summary_report(&model->base, history, estimand(model, arena), warnings, text, out,
                          error);
}

const struct nof1_analysis nof1_goal_attainment = {
    .id = "goal_attainment",
    .version = 1,
    .summary = "goal attainment T scores, or effects in units of each patient's own MCID",
    .option = options,
    .prepare = prepare,
    .group_of = group_of,
    .layout = layout,
    .contribute = contribute,
    .advance = summary_advance,
    .tables = true,
    .report = report,
};
