/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From plan, charter and census to the model and the form in which it is released. The form is
 * chosen from public counts only: complete data take classes; else score rounds when they fit the
 * release ratio; else the pooled period differences (docs/statistics.md).
 */
#include <base/document.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <stats/options.h>
#include <stats/registry.h>

#include "mixed.h"

#define SCORE_ROUNDS 5   /* rounds that a score fit must be able to take */
#define SCORE_CHARGED 8  /* rounds charged outside an open lab: 7 to 9 converge, as measured */
#define LEAST_STEPS 8    /* of a covariate that score rounds do not tell: docs/disclosure.md */
#define SCORE_LIMIT 40   /* rounds after which a score fit gives up */

double mixed_term_step(const struct nof1_study *study)
{
    double quantum = study->charter->outcome[study->plan->outcome].quantum;
    bool exact = study->charter->limits.open || !(quantum > 0);
    return exact ? 0 : ldexp(1, ilogb(quantum / fmax(1, study->charter->max_periods)));
}

uint64_t mixed_census(const struct nof1_study *study, const char *what)
{
    char text[256];
    int length = snprintf(text, sizeof text, "%s/%s", study->plan->outcome_name, what);
    return length > 0 && (size_t)length < sizeof text ? nof1_census_count(study, text) : 0;
}

/* Is the value a list of these words, each once, the first among them (or `none`)? */
static bool is_list(const struct nof1_node *node, bool *treatment, bool none)
{
    bool intercept = false;
    if (none && node->items == 0) {
        return true;
    }
    for (size_t i = 0; node->kind == NOF1_LIST && i < node->items; i++) {
        intercept = intercept || strcmp(node->item[i].text, "intercept") == 0;
        *treatment = *treatment || strcmp(node->item[i].text, "treatment") == 0;
    }
    return intercept && node->items == 1 + (size_t)*treatment;
}

/* random: trial, and perhaps trial:cycle and trial:treatment. */
static nof1_rc read_random(struct mixed_model *m, const struct nof1_node *random,
                           struct nof1_error *error)
{
    static const char *const key[] = {"trial", "trial:cycle", "trial:treatment"};
    bool treatment[3] = {false}, given[3] = {false}, good = random != NULL;
    size_t found = 0;
    for (size_t k = 0; k < 3 && random != NULL; k++) {
        const struct nof1_node *node = nof1_node_get(random, key[k]);
        given[k] = node != NULL;
        good =
            good && (node == NULL || is_list(node, &treatment[k], k == 0 && m->shape.correlated));
        found += given[k];
    }
    if (!good || !given[0] || found != random->items || treatment[1] || treatment[2]) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "random: write {trial: [intercept]} or {trial: [intercept, treatment]}, "
                         "and beside it \"trial:cycle\": [intercept], \"trial:treatment\": "
                         "[intercept]");
    }
    if (treatment[0] && given[2]) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "random: {trial: [intercept, treatment]} contains \"trial:treatment\"; "
                         "leave one out");
    }
    m->effects = treatment[0] ? m->arms : nof1_node_get(random, key[0])->items > 0;
    m->shape.by_cycle = given[1];
    m->shape.by_arm = given[2];
    return NOF1_OK;
}

static nof1_rc finish_shape(struct mixed_model *m, struct nof1_error *error)
{
    m->shape.effects = m->effects;
    if (m->shape.correlated && (m->shape.by_cycle || m->shape.by_arm)) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "random: with correlated residuals write {trial: [...]} alone, or "
                         "residual: iid");
    }
    if (m->effects > NOF1_EFFECTS_MAX) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "random: unrestricted effects of %zu treatments; at most %d, or write "
                         "{trial: [intercept], \"trial:treatment\": [intercept]}",
                         m->effects, NOF1_EFFECTS_MAX);
    }
    m->terms = nof1_gaussian_terms(&m->shape);
    if (m->terms > NOF1_TERMS_MAX) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "random, residual: %zu variance parameters, at most %d", m->terms + 1,
                         NOF1_TERMS_MAX + 1);
    }
    return NOF1_OK;
}

/* What refits of the released sums answer besides. */
static nof1_rc read_refits(struct mixed_model *m, const struct nof1_node *options,
                           struct nof1_error *error)
{
    const struct nof1_node *tests = nof1_node_get(options, "tests");
    const char *word;
    TRY(nof1_option_word(&word, &nof1_mixed_model, options, "interval", error));
    m->profile = strcmp(word, "profile") == 0;
    for (size_t i = 0; tests != NULL && i < tests->items; i++) {
        bool variances = strcmp(tests->item[i].text, "variances") == 0;
        if (!variances && strcmp(tests->item[i].text, "fixed") != 0) {
            return nof1_fail(error, NOF1_E_PLAN, "tests: expected variances or fixed, found %.40s",
                             tests->item[i].text);
        }
        *(variances ? &m->test_variances : &m->test_terms) = true;
    }
    return NOF1_OK;
}

static nof1_rc read_options(struct mixed_model *m, const struct nof1_node *options,
                            struct nof1_error *error)
{
    const struct nof1_analysis *self = &nof1_mixed_model;
    const char *word;
    TRY(nof1_option_word(&word, self, options, "residual", error));
    m->shape.ratios = strcmp(word, "by_treatment") == 0 ? m->arms - 1 : 0;
    m->shape.positive = strcmp(word, "car1") == 0;
    m->shape.correlated = m->shape.positive || strcmp(word, "ar1") == 0;
    TRY(nof1_option_word(&word, self, options, "by", error));
    m->by_period = strcmp(word, "period") == 0;
    TRY(nof1_option_word(&word, self, options, "method", error));
    m->reml = strcmp(word, "REML") == 0;
    TRY(nof1_option_word(&word, self, options, "df", error));
    m->df_chosen = strcmp(word, "auto") == 0;
    bool roger =
        m->df_chosen ? m->reml && !m->shape.correlated : strcmp(word, "kenward_roger") == 0;
    m->df = roger                                ? MIXED_KENWARD_ROGER
            : strcmp(word, "satterthwaite") == 0 ? MIXED_SATTERTHWAITE
                                                 : MIXED_Z;
    if (m->df == MIXED_KENWARD_ROGER && !m->reml) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "df: kenward_roger needs method: REML; with ML write df: z");
    }
    if (m->df != MIXED_Z && m->shape.correlated) {
        return nof1_fail(error, NOF1_E_PLAN, "df: %s needs independent residuals; write df: z",
                         word);
    }
    TRY(nof1_node_double(&m->level, options, "level", error));
    if (!(m->level > 0 && m->level < 1)) {
        return nof1_fail(error, NOF1_E_PLAN, "level: a number between 0 and 1");
    }
    TRY(read_refits(m, options, error));
    TRY(read_random(m, nof1_node_get(options, "random"), error));
    return finish_shape(m, error);
}

/* Planning values: starting point, units, boxes. */
static void read_charter(struct mixed_model *m)
{
    const struct nof1_charter *charter = m->base.study->charter;
    const struct nof1_outcome *o = &charter->outcome[m->base.study->plan->outcome];
    double range = o->upper - o->lower;
    m->scale = o->sd_within > 0 ? o->sd_within : range > 0 ? range / 32 : 1;
    double between = o->sd_between > 0 ? o->sd_between : m->scale;
    m->start[0] = fmin(10, fmax(0.3, between / m->scale));
    for (size_t k = 1; k < m->effects; k++) {
        m->start[k * (k + 3) / 2] = 0.7;
    }
    for (size_t j = nof1_gaussian_block(&m->shape); j < m->terms; j++) {
        m->start[j] = j < m->terms - m->shape.ratios ? 0.5 : 1;
    }
    if (m->shape.correlated) {
        m->start[m->terms - 1] = m->shape.positive ? 0.5 : 0.3;
    }
    m->beta_limit = (charter->beta_box > 0 ? charter->beta_box : 100) * (range > 0 ? range : 1);
    m->reach = fmax(fabs(o->upper - o->centre), fabs(o->lower - o->centre));
    m->root_limit = sqrt(charter->variance_ratio_box > 0 ? charter->variance_ratio_box : 1e8);
    m->base.fixed_parameters = 0;
    for (size_t c = 0; c < m->columns; c++) {
        enum mixed_kind kind = m->column[c].kind;
        m->treatment_wanted = m->treatment_wanted || kind == MIXED_TREATMENT;
        m->base.fixed_parameters += kind == MIXED_INTERCEPT || kind == MIXED_TREATMENT ||
                                    kind == MIXED_NUMERIC || kind == MIXED_FACTOR_LEVEL ||
                                    kind == MIXED_ABSENT;
    }
}

static nof1_rc write_formula(struct mixed_model *m, struct nof1_arena *arena,
                             const struct nof1_node *fixed)
{
    const struct nof1_study *study = m->base.study;
    const char *text = nof1_arena_printf(arena, "%s ~ 1", study->plan->outcome_name);
    for (size_t i = 0; fixed != NULL && i < fixed->items && text != NULL; i++) {
        text = nof1_arena_printf(arena, "%s + %s", text, fixed->item[i].text);
    }
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    static const char *const residual[] = {", ar1", ", car1"};
    m->formula = nof1_arena_printf(
        arena, "%s%s%s%s%s%s%s%s", text, m->effects > 0 ? " + (1" : "",
        m->effects > 1   ? " + treatment | trial)"
        : m->effects > 0 ? " | trial)"
                         : "",
        m->shape.by_cycle ? " + (1 | trial:cycle)" : "",
        m->shape.by_arm ? " + (1 | trial:treatment)" : "",
        m->shape.ratios > 0 ? ", residual variance by treatment" : "",
        m->shape.correlated ? residual[m->shape.positive] : "",
        !m->shape.correlated ? "" : m->by_period ? " by period" : " by time");
    ENSURE(m->formula != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* Rounds that the release ratio pays for (rounds * scalars <= ratio * 2 * patients), and that leave
 * a third of what patterns of periods could tell unknown: trials of one pattern enter every round
 * alike, so enough rounds would solve for the sums of a pattern, which may be one patient. */
static uint32_t affordable_rounds(const struct mixed_model *m, struct nof1_arena *arena)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_limits *limits = &study->charter->limits;
    uint32_t most = limits->max_rounds_query > 0 && limits->max_rounds_query < SCORE_LIMIT
                        ? limits->max_rounds_query
                        : SCORE_LIMIT;
    if (limits->open || study->census == NULL) {
        return most;
    }
    most = most < SCORE_CHARGED ? most : SCORE_CHARGED;
    double patients = (double)mixed_census(study, "patients");
    double scalars = (double)(m->columns + m->terms + 1);
    double room = fmin(2 * nof1_study_room(study, patients),
                       2.0 / 3.0 * mixed_knowable(study, arena, m->effects));
    double rounds = floor(room / scalars);
    return rounds < (double)most ? (uint32_t)fmax(0, rounds) : most;
}

static const char *const all_groups[] = {"all"};

static void prepare_score(struct mixed_model *m, uint32_t rounds)
{
    size_t p = m->columns, pairs = p * (p + 1) / 2, jk = m->terms * (m->terms + 1) / 2;
    m->form = MIXED_SCORE;
    m->base.form = "score";
    m->base.groups = 1;
    m->base.group = all_groups;
    m->base.group_is_class = false;
    m->base.max_rounds = rounds;
    m->base.max_elements = 3 + m->terms + jk + pairs * (1 + m->terms + jk) + p + m->terms + 1;
}

static void measure_scratch(struct mixed_model *m)
{
    m->base.scratch = (nof1_gaussian_sums_size(&m->shape) + mixed_project_size(m) + m->features +
                       mixed_serial_size(m) + mixed_serial_class_size(m)) *
                          sizeof(double) + 64;
    m->base.scratch_row =
        (1 + mixed_row_doubles(m) + mixed_serial_row(m)) * sizeof(double) + NOF1_SERIES_SCRATCH_ROW;
}

/* The pooled forms know one model: the treatment, and its variance between trials. */
static nof1_rc pooled_model(const struct mixed_model *m, const char *wish,
                            struct nof1_error *error)
{
    bool plain = m->columns == 2 && m->column[1].kind == MIXED_TREATMENT && m->arms == 2 &&
                 m->terms == 3 && !m->shape.correlated;
    if (!plain || m->effects != 2 || !m->reml) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: %s fits fixed: [treatment], random: {trial: [intercept, "
                         "treatment]}, method: REML only",
                         wish);
    }
    return NOF1_OK;
}

enum wish { WISH_AUTO, WISH_CLASS, WISH_EXCLUDE, WISH_SCORE, WISH_POOL, WISH_CYCLES, WISHES };

static nof1_rc prepare_class(struct mixed_model *m, struct nof1_arena *arena, bool *possible)
{
    m->base.form = "class";
    m->form = m->shape.correlated ? MIXED_SERIAL : MIXED_CLASS;
    return m->shape.correlated ? mixed_serial_prepare(m, arena, possible)
                               : mixed_class_prepare(m, arena, possible);
}

/* The trials of complete classes alone. */
static nof1_rc choose_exclude(struct mixed_model *m, struct nof1_arena *arena, bool *possible)
{
    m->rule = "exclude";
    m->base.incomplete = m->rule;
    return prepare_class(m, arena, possible);
}

/* auto, where neither complete classes nor all the rounds of a score fit are possible: the pooled
 * differences, the rounds that there are, the trials of complete classes alone, complete cycles. */
static nof1_rc fall_back(struct mixed_model *m, struct nof1_arena *arena, uint32_t rounds,
                         struct nof1_error *error)
{
    const struct mixed_model before = *m; /* forms rewrite the model before they refuse */
    bool pooled = pooled_model(m, m->rule, NULL) == NOF1_OK, possible = false;
    nof1_rc_value rc = pooled ? mixed_pool_prepare(m, arena, NULL) : NOF1_E_PLAN;
    if (rc != NOF1_E_PLAN) {
        return rc;
    }
    *m = before;
    if (rounds >= SCORE_ROUNDS) {
        prepare_score(m, rounds);
        return NOF1_OK;
    }
    if (!m->centred) {
        TRY(choose_exclude(m, arena, &possible));
    }
    if (possible) {
        return NOF1_OK;
    }
    *m = before;
    rc = pooled ? mixed_cycles_prepare(m, arena, NULL) : NOF1_E_PLAN;
    if (rc != NOF1_E_PLAN) {
        return rc;
    }
    return nof1_fail(
        error, NOF1_E_PLAN,
        "incomplete: auto found no form: no charter class is complete in "
        "min_class_patients%s, score needs %d rounds of %zu numbers, which the release "
        "ratio or too few patterns of missing periods do not allow, and pool and "
        "cycles %s; write analysis: random_effects, or summary_test",
        m->shape.correlated && !m->by_period ? " (one round needs by: period)" : "", SCORE_ROUNDS,
        before.columns + before.terms + 1,
        pooled ? "have too few patterns or patients"
               : "fit fixed: [treatment], random: {trial: [intercept, treatment]}, "
                 "method: REML only");
}

static bool has_few_values(const struct nof1_charter *charter, const struct mixed_column *column)
{
    if (column->kind != MIXED_NUMERIC) {
        return column->kind == MIXED_FACTOR_LEVEL || column->kind == MIXED_ABSENT;
    }
    const struct nof1_covariate *c = &charter->covariate[column->covariate];
    return c->quantum > 0 && (c->upper - c->lower) / c->quantum < LEAST_STEPS - 1;
}

/* A covariate that score rounds would tell of a patient who is alone in his pattern of rows: its
 * terms are one of a few known numbers, rounded or not (docs/disclosure.md, "Score rounds of the
 * mixed model"). NULL: none. */
static const char *told_covariate(const struct mixed_model *m)
{
    const struct nof1_charter *charter = m->base.study->charter;
    for (size_t i = 0; !charter->limits.open && i < m->columns; i++) {
        if (has_few_values(charter, &m->column[i])) {
            return m->column[i].name;
        }
    }
    return NULL;
}

static nof1_rc choose_form(struct mixed_model *m, struct nof1_arena *arena,
                           const struct nof1_node *options, struct nof1_error *error)
{
    const char *rule;
    size_t wish;
    bool possible = false;
    TRY(nof1_option_choice(&wish, &nof1_mixed_model, options, "incomplete", error));
    TRY(nof1_option_word(&rule, &nof1_mixed_model, options, "incomplete", error));
    m->rule = rule;
    if (wish == WISH_CYCLES) {
        TRY(pooled_model(m, rule, error));
        return mixed_cycles_prepare(m, arena, error);
    }
    if (wish <= WISH_EXCLUDE) {
        TRY(prepare_class(m, arena, &possible));
    }
    if (m->centred) {
        if (!possible || wish > WISH_EXCLUDE) {
            m->cells = 0;
        }
        TRY(mixed_site_check(m, error));
    }
    if (possible) {
        m->base.incomplete = wish == WISH_EXCLUDE ? rule : NULL;
        return NOF1_OK;
    }
    if (wish == WISH_CLASS || wish == WISH_EXCLUDE) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: %s needs trials in charter classes with min_class_patients, "
                         "with every column observed%s; write %s",
                         rule,
                         !m->shape.correlated
                             ? ""
                             : ", one row a period, by: period, no random effect but {trial: "
                               "[intercept]}, and fixed of treatment, period, factor(period) or "
                               "(with the random intercept) covariates of the trial",
                         m->shape.correlated ? "score" : "auto, score or pool");
    }
    const char *told = told_covariate(m);
    uint32_t rounds = told != NULL ? 0 : affordable_rounds(m, arena);
    if (wish == WISH_SCORE && told != NULL) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: score would tell %s of patients who are alone in their "
                         "pattern of missing periods; write exclude, or analysis: random_effects "
                         "with moderators",
                         told);
    }
    if (wish == WISH_AUTO && rounds < SCORE_CHARGED) {
        return fall_back(m, arena, rounds, error);
    }
    if (wish == WISH_POOL) {
        TRY(pooled_model(m, rule, error));
        return mixed_pool_prepare(m, arena, error);
    }
    if (rounds < SCORE_ROUNDS) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: score needs %d rounds of %zu numbers; the release ratio, or "
                         "too few patterns of missing periods, do not allow them; write pool",
                         SCORE_ROUNDS, m->columns + m->terms + 1);
    }
    prepare_score(m, rounds);
    return NOF1_OK;
}

nof1_rc_value mixed_prepare(struct nof1_model **out, struct nof1_arena *arena,
                            const struct nof1_study *study, struct nof1_error *error)
{
    const struct nof1_node *options = study->plan->options;
    struct mixed_model *m = nof1_arena_alloc(arena, 1, sizeof *m);
    ENSURE(m != NULL, NOF1_E_NO_MEMORY);
    m->base.study = study;
    m->arms = 2 + study->plan->others;
    if (options == NULL) {
        return nof1_fail(error, NOF1_E_PLAN, "the plan has no options");
    }
    const struct nof1_node *fixed = nof1_node_get(options, "fixed");
    TRY(read_options(m, options, error));
    TRY(mixed_columns(m, arena, fixed, error));
    m->shape.columns = m->columns + 1;
    read_charter(m);
    if (m->effects > 1 && !m->treatment_wanted) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "random: a random treatment effect needs treatment in fixed");
    }
    TRY(write_formula(m, arena, fixed));
    TRY(choose_form(m, arena, options, error));
    if (m->df == MIXED_SATTERTHWAITE && (m->form == MIXED_SCORE || m->form == MIXED_POOL)) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "df: satterthwaite needs the observed information, which rounds do not "
                         "release; write kenward_roger");
    }
    if ((m->profile || m->test_variances || m->test_terms) &&
        (m->form != MIXED_CLASS || m->centred)) {
        return nof1_fail(
            error, NOF1_E_PLAN,
            "%s needs the model refitted, which only sums by class allow (complete data, "
            "independent residuals, no `site` outside an open lab); write %s",
            m->profile ? "interval: profile" : "tests",
            m->profile ? "interval: wald" : "tests: []");
    }
    measure_scratch(m);
    m->base.sums = nof1_arena_printf(arena, "mixed %s %s%s", m->base.form, m->formula,
                                     strcmp(m->rule, "exclude") == 0 ? ", others left out" : "");
    ENSURE(m->base.sums != NULL, NOF1_E_NO_MEMORY);
    *out = &m->base;
    return NOF1_OK;
}
