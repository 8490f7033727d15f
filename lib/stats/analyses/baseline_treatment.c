/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The analysis `baseline_treatment`, for therapies that cannot be undone: one baseline phase, then
 * one treatment phase per patient, possibly starting at different times (multiple baseline;
 * interrupted time series): y = level + trend + level change + slope change, random effects of the
 * trial, residuals independent or serially correlated. This file is the contract and the plan's
 * options.
 */
#include <base/document.h>
#include <math.h>
#include <string.h>

#include <stats/options.h>
#include <stats/registry.h>

#include "baseline_treatment.h"
#include "mixed.h"

#define ROUNDS_LIMIT 60
#define ROUNDS_CHARGED 10 /* charged outside an open lab */

const char *const bt_column_name[BT_COLUMNS] = {"(Intercept)", "time", "level_change",
                                                "slope_change"};

/* ---- options ------------------------------------------------------------------------------- */

static bool lists(const struct nof1_node *list, const char *name)
{
    for (size_t i = 0; list != NULL && i < list->items; i++) {
        if (strcmp(list->item[i].text, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Only these names, each once. */
static nof1_rc only(const struct nof1_node *list, const char *key, const char *const *name,
                    size_t names, struct nof1_error *error)
{
    for (size_t i = 0; list != NULL && i < list->items; i++) {
        bool known = false, twice = false;
        for (size_t k = 0; k < names; k++) {
            known = known || strcmp(list->item[i].text, name[k]) == 0;
        }
        for (size_t k = 0; k < i; k++) {
            twice = twice || strcmp(list->item[i].text, list->item[k].text) == 0;
        }
        if (!known || twice) {
            return nof1_fail(error, NOF1_E_PLAN, "%s: '%.60s' %s; see nof1 catalog "
                             "baseline_treatment", key, list->item[i].text,
                             twice ? "stands twice" : "is not a choice");
        }
    }
    return NOF1_OK;
}

static nof1_rc read_fixed(struct bt_model *m, const struct nof1_node *options,
                          struct nof1_error *error)
{
    static const char *const trend[] = {"time"}, *const change[] = {"level", "slope"};
    const struct nof1_node *fixed = nof1_node_get(options, "fixed");
    const struct nof1_node *changes = nof1_node_get(options, "change");
    TRY(only(fixed, "fixed", trend, 1, error));
    TRY(only(changes, "change", change, 2, error));
    m->column[m->columns++] = BT_INTERCEPT;
    if (lists(fixed, "time")) {
        m->column[m->columns++] = BT_TREND;
    }
    if (lists(changes, "level")) {
        m->column[m->columns++] = BT_LEVEL;
    }
    if (lists(changes, "slope")) {
        m->column[m->columns++] = BT_SLOPE;
    }
    if (changes == NULL || changes->items == 0) {
        return nof1_fail(error, NOF1_E_PLAN, "change: write [level], [slope] or [level, slope]");
    }
    return NOF1_OK;
}

static bool has_column(const struct bt_model *m, enum bt_column column)
{
    for (size_t c = 0; c < m->columns; c++) {
        if (m->column[c] == column) {
            return true;
        }
    }
    return false;
}

static nof1_rc read_random(struct bt_model *m, const struct nof1_node *options,
                           struct nof1_error *error)
{
    static const char *const name[] = {"intercept", "level_change", "slope_change"};
    static const enum bt_column column[] = {BT_INTERCEPT, BT_LEVEL, BT_SLOPE};
    const struct nof1_node *random = nof1_node_get(options, "random");
    const struct nof1_node *trial = random == NULL ? NULL : nof1_node_get(random, "trial");
    if (random != NULL && random->items > 0 &&
        (trial == NULL || random->items != 1 || trial->kind != NOF1_LIST)) {
        return nof1_fail(error, NOF1_E_PLAN, "random: write {trial: [intercept, level_change, "
                                             "slope_change]}, fewer of them, or {trial: []}");
    }
    TRY(only(trial, "random", name, 3, error));
    for (size_t k = 0; k < 3; k++) {
        if (!lists(trial, name[k])) {
            continue;
        }
        if (!has_column(m, column[k])) {
            return nof1_fail(error, NOF1_E_PLAN, "random: %s needs %s in change", name[k],
                             column[k] == BT_LEVEL ? "level" : "slope");
        }
        m->effect[m->effects++] = column[k];
    }
    return NOF1_OK;
}

static nof1_rc read_options(struct bt_model *m, const struct nof1_node *options,
                            struct nof1_error *error)
{
    const struct nof1_analysis *self = &nof1_baseline_treatment;
    const char *word;
    size_t index;
    TRY(nof1_option_word(&word, self, options, "method", error));
    m->reml = strcmp(word, "REML") == 0;
    TRY(nof1_option_word(&word, self, options, "by", error));
    m->by_period = strcmp(word, "period") == 0;
    TRY(nof1_option_choice(&index, self, options, "residual", error));
    m->residual = (enum bt_residual)index;
    TRY(nof1_option_choice(&index, self, options, "df", error));
    TRY(nof1_option_word(&word, self, options, "df", error));
    m->df = (enum bt_df)index;
    bool small = m->df == BT_SATTERTHWAITE || m->df == BT_KENWARD_ROGER;
    if (small && m->residual != BT_IID) {
        return nof1_fail(error, NOF1_E_PLAN, "df: %s needs residual: iid; write df: z", word);
    }
    if (m->df == BT_KENWARD_ROGER && !m->reml) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "df: kenward_roger needs method: REML; with ML write df: z");
    }
    if (m->df == BT_AUTO) {
        m->df = m->reml && m->residual == BT_IID ? BT_KENWARD_ROGER : BT_Z;
    }
    TRY(nof1_node_double(&m->level, options, "level", error));
    if (!(m->level > 0 && m->level < 1)) {
        return nof1_fail(error, NOF1_E_PLAN, "level: a number between 0 and 1");
    }
    TRY(read_fixed(m, options, error));
    return read_random(m, options, error);
}

/* Planning values: starting point, units, boxes. */
static void read_charter(struct bt_model *m)
{
    const struct nof1_charter *charter = m->base.study->charter;
    const struct nof1_outcome *o = &charter->outcome[m->base.study->plan->outcome];
    double range = o->upper - o->lower;
    m->shape = (struct nof1_gaussian_shape){.columns = m->columns + 1, .effects = m->effects,
                                            .correlated = m->residual != BT_IID,
                                            .positive = m->residual == BT_CAR1};
    m->terms = nof1_gaussian_terms(&m->shape);
    m->scale = o->sd_within > 0 ? o->sd_within : range > 0 ? range / 32 : 1;
    double between = o->sd_between > 0 ? o->sd_between : m->scale;
    for (size_t k = 0, j = 0; k < m->effects; j += ++k + 1) {
        m->start[j] = m->effect[k] == BT_INTERCEPT ? fmin(10, fmax(0.3, between / m->scale))
                      : m->effect[k] == BT_LEVEL   ? 0.7
                                                   : 0.1;
    }
    if (m->shape.correlated) {
        m->start[m->terms - 1] = m->residual == BT_AR1 ? 0.2 : -1;
    }
    m->beta_limit = (charter->beta_box > 0 ? charter->beta_box : 100) * (range > 0 ? range : 1);
    m->reach = fmax(fabs(o->upper - o->centre), fabs(o->lower - o->centre));
    m->root_limit = sqrt(charter->variance_ratio_box > 0 ? charter->variance_ratio_box : 1e8);
    m->base.fixed_parameters = 2;
}

static nof1_rc write_formula(struct bt_model *m, struct nof1_arena *arena)
{
    static const char *const residual[] = {"", ", ar1", ", car1"};
    const char *text =
        nof1_arena_printf(arena, "%s ~ 1", m->base.study->plan->outcome_name);
    for (size_t c = 1; c < m->columns && text != NULL; c++) {
        text = nof1_arena_printf(arena, "%s + %s", text, bt_column_name[m->column[c]]);
    }
    for (size_t k = 0; k < m->effects && text != NULL; k++) {
        const char *name = m->effect[k] == BT_INTERCEPT ? "1" : bt_column_name[m->effect[k]];
        const char *zero = m->effect[0] == BT_INTERCEPT ? "" : "0 + ";
        text = nof1_arena_printf(arena, "%s%s%s", text, k == 0 ? " + (" : " + ",
                                 k == 0 && *zero != 0
                                     ? nof1_arena_printf(arena, "%s%s", zero, name)
                                     : name);
    }
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    m->formula = nof1_arena_printf(arena, "%s%s%s%s", text, m->effects > 0 ? " | trial)" : "",
                                   residual[m->residual],
                                   m->residual == BT_IID ? "" : m->by_period ? " by period"
                                                                             : " by time");
    ENSURE(m->formula != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* Rounds that the release ratio pays for and that leave a third of what patterns of observed
 * periods could tell unknown (see the mixed model). */
static uint32_t affordable_rounds(const struct bt_model *m, struct nof1_arena *arena)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_limits *limits = &study->charter->limits;
    uint32_t most = limits->max_rounds_query > 0 && limits->max_rounds_query < ROUNDS_LIMIT
                        ? limits->max_rounds_query
                        : ROUNDS_LIMIT;
    if (limits->open || study->census == NULL) {
        return most;
    }
    most = most < ROUNDS_CHARGED ? most : ROUNDS_CHARGED;
    double scalars = (double)(m->columns + m->terms + 1);
    double room = fmin(2 * nof1_study_room(study, (double)mixed_census(study, "patients")),
                       2.0 / 3.0 * mixed_knowable(study, arena, 2));
    double rounds = floor(room / scalars);
    return rounds < (double)most ? (uint32_t)fmax(0, rounds) : most;
}

static nof1_rc choose_form(struct bt_model *m, struct nof1_arena *arena, struct nof1_error *error)
{
    static const char *const all[] = {"all"};
    size_t wish;
    bool possible = false;
    TRY(nof1_option_choice(&wish, &nof1_baseline_treatment, m->base.study->plan->options,
                           "incomplete", error));
    if (wish < 2) {
        TRY(bt_class_prepare(m, arena, &possible));
    }
    if (possible) {
        m->base.form = "class";
        m->base.max_rounds = 1;
        m->base.max_elements = bt_class_elements(m);
        return NOF1_OK;
    }
    if (wish == 1) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: class needs by: period, and every trial in a charter class "
                         "with its periods, one observation a period, of at least "
                         "min_class_patients; write incomplete: score");
    }
    uint32_t rounds = affordable_rounds(m, arena);
    if (rounds < 5) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: the model needs 5 rounds of %zu numbers, which the release "
                         "ratio or too few patterns of periods do not allow; write by: period when "
                         "all patients share one schedule, a smaller model, or analysis: "
                         "random_effects",
                         m->columns + m->terms + 1);
    }
    m->score = true;
    m->base.form = "score";
    m->base.groups = 1;
    m->base.group = all;
    m->base.max_rounds = rounds;
    m->base.max_elements = bt_score_elements(m);
    if (m->df == BT_SATTERTHWAITE) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "df: satterthwaite needs the observed information, which rounds do not "
                         "release; write kenward_roger");
    }
    return NOF1_OK;
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    struct bt_model *m = nof1_arena_alloc(arena, 1, sizeof *m);
    ENSURE(m != NULL, NOF1_E_NO_MEMORY);
    m->base.study = study;
    m->base.analysis = &nof1_baseline_treatment;
    if (study->plan->options == NULL) {
        return nof1_fail(error, NOF1_E_PLAN, "the plan has no options");
    }
    if (study->charter->outcome[study->plan->outcome].kind == NOF1_EFFECT) {
        return nof1_fail(error, NOF1_E_PLAN, "outcome: an imported effect has no series");
    }
    TRY(read_options(m, study->plan->options, error));
    read_charter(m);
    TRY(write_formula(m, arena));
    TRY(choose_form(m, arena, error));
    m->base.sums = nof1_arena_printf(arena, "baseline_treatment %s %s", m->base.form, m->formula);
    ENSURE(m->base.sums != NULL, NOF1_E_NO_MEMORY);
    m->base.scratch = bt_scratch(m);
    m->base.scratch_row = bt_scratch_row(m);
    *out = &m->base;
    return NOF1_OK;
}

/* ---- the contract -------------------------------------------------------------------------- */

static int group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    const struct bt_model *m = bt_of(base);
    struct bt_rows rows;
    if (!m->score) {
        return bt_class_group_of(m, trial, scratch);
    }
    return bt_rows_of(&rows, m, trial, scratch) ? 0 : NOF1_LEFT_OUT;
}

static nof1_rc_value layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                            struct nof1_layout *out)
{
    (void)round;
    const struct bt_model *m = bt_of(base);
    return m->score ? bt_score_layout(m, arena, out) : bt_class_layout(m, arena, out);
}

static nof1_rc_value contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                const struct nof1_trial *trial, void *scratch, double *out)
{
    (void)round;
    const struct bt_model *m = bt_of(base);
    return m->score ? bt_score_contribute(m, theta, trial, scratch, out)
                    : bt_class_contribute(m, trial, scratch, out);
}

static nof1_rc_value advance(const struct nof1_model *base, const struct nof1_history *history,
                             struct nof1_arena *arena, struct nof1_next *out,
                             struct nof1_error *error)
{
    struct bt_fit fit = {0};
    *out = (struct nof1_next){.done = history->rounds >= 1};
    return bt_of(base)->score ? bt_score_advance(bt_of(base), history, arena, out, &fit, error)
                              : NOF1_OK;
}

static bool in_domain(const struct nof1_model *base, const double *theta, size_t parameters)
{
    const struct bt_model *m = bt_of(base);
    if (!m->score) {
        return parameters == 0;
    }
    if (parameters != 2 * m->columns + m->terms) {
        return false;
    }
    for (size_t i = 0; i < parameters; i++) {
        double limit = i < 2 * m->columns ? m->beta_limit + m->reach : m->root_limit;
        if (!(fabs(theta[i]) <= limit)) {
            return false;
        }
    }
    return true;
}

static double weight(const struct nof1_model *base, const double *theta,
                     const struct nof1_trial *trial, void *scratch)
{
    (void)theta;
    struct bt_rows rows;
    if (!bt_of(base)->score) {
        return 1;
    }
    if (!bt_rows_of(&rows, bt_of(base), trial, scratch)) {
        return 0;
    }
    double after = (double)(rows.rows - rows.baseline);
    return 1 / (1 / (double)rows.baseline + 1 / after);
}

/* "H", the diagonal of the change in level or slope, which stands last. */
static size_t weight_element(const struct nof1_model *base)
{
    size_t p = bt_of(base)->columns;
    return 2 + p * (p + 1) / 2 - 1;
}

static nof1_rc_value report(const struct nof1_model *base, const struct nof1_history *history,
                            struct nof1_arena *arena, json_t **out, struct nof1_error *error)
{
    const struct bt_model *m = bt_of(base);
    struct bt_fit fit = {0};
    struct nof1_next next = {.done = true};
    if (m->score) {
        TRY(bt_score_advance(m, history, arena, &next, &fit, error));
    } else {
        TRY(bt_class_fit(m, history, arena, &fit, error));
    }
    ENSURE(next.done, NOF1_E_BUG);
    return bt_report(out, arena, m, history, &fit);
}

static const struct nof1_option options[] = {
    {"fixed", NOF1_OPT_NAMES, "time, or nothing", "[time]", 0, 0,
     "A common trend besides the level, which is implied."},
    {"change", NOF1_OPT_NAMES, "level, slope", "[level, slope]", 0, 0,
     "What changes when treatment starts: the level, at the patient's first treatment row, and the "
     "slope, in time since that row."},
    {"random", NOF1_OPT_MAP,
     "{trial: [intercept, level_change, slope_change]}, fewer, or {trial: []}",
     "{trial: [intercept]}", 0, 0, "Random effects of a trial, with unrestricted covariance."},
    {"residual", NOF1_OPT_CHOICE, "iid|ar1|car1", "iid", 0, 0,
     "Independent, or correlated by rho^distance within a trial: ar1 for whole distances (gaps "
     "allowed, rho may be negative), car1 for any distance, rho between 0 and 1."},
    {"by", NOF1_OPT_CHOICE, "time|period", "time", 0, 0,
     "What measures time: the time column, or the number of the period (occasions 1, 2, ...), with "
     "which one round suffices when patients share a schedule."},
    {"method", NOF1_OPT_CHOICE, "REML|ML", "REML", 0, 0,
     "Restricted or full maximum likelihood."},
    {"df", NOF1_OPT_CHOICE, "auto|z|satterthwaite|kenward_roger", "auto", 0, 0,
     "Small-sample inference, with independent residuals; auto: kenward_roger for REML and iid, "
     "else z. satterthwaite needs the form of one round."},
    {"level", NOF1_OPT_NUMBER, "between 0 and 1", "0.95", 0, 1, "Level of confidence intervals."},
    {"incomplete", NOF1_OPT_CHOICE, "auto|class|score", "auto", 0, 0,
     "What to release: class (one round, every trial in a charter class with its periods), score "
     "(any schedule and gaps, by rounds); auto chooses class where possible."},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

const struct nof1_analysis nof1_baseline_treatment = {
    .id = "baseline_treatment",
    .version = 1,
    .summary = "one baseline, then one treatment phase: change of level and slope (interrupted "
               "time series)",
    .option = options,
    .prepare = prepare,
    .group_of = group_of,
    .layout = layout,
    .contribute = contribute,
    .advance = advance,
    .in_domain = in_domain,
    .weight = weight,
    .weight_element = weight_element,
    .report = report};
