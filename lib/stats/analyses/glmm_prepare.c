/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From plan, charter and census to the model of `glmm` and the form in which it is released: class
 * where all trials have equal numbers of rows, score by rounds otherwise, with Hessians in an open
 * lab. The form follows from public counts alone.
 */
#include <base/document.h>
#include <math.h>
#include <stats/options.h>
#include <stats/registry.h>
#include <stdio.h>
#include <string.h>

#include "glmm_model.h"

#define NEWTON_ROUNDS 60 /* after which an open fit gives up */
#define SCORE_LEAST 6    /* rounds of a score fit: sums by arm, four scores, one Hessian */
#define SCORE_MOST 9

static const char *const all_groups[] = {"all"};

static nof1_rc read_family(struct glmm_model *m, const char *text, struct nof1_error *error)
{
    static const char *const family[] = {"binomial", "poisson", "ordinal"};
    static const enum nof1_outcome_kind kind[] = {NOF1_BINARY, NOF1_COUNT, NOF1_ORDINAL};
    static const char *const kind_name[] = {"binary", "count", "ordinal"};
    const struct nof1_study *study = m->base.study;
    const struct nof1_outcome *o = &study->charter->outcome[study->plan->outcome];
    for (size_t f = 0; f < 3; f++) {
        if (o->kind == kind[f] && (strcmp(text, "auto") == 0 || strcmp(text, family[f]) == 0)) {
            m->family = (enum glmm_family)f;
            m->lower = o->lower;
            m->quantum = o->quantum > 0 ? o->quantum : 1;
            return NOF1_OK;
        }
    }
    for (size_t f = 0; f < 3; f++) {
        if (strcmp(text, family[f]) == 0) {
            return nof1_fail(error, NOF1_E_PLAN, "family: %s needs an outcome of kind %s", text,
                             kind_name[f]);
        }
    }
    return nof1_fail(error, NOF1_E_PLAN,
                     "outcome: glmm needs an outcome of kind binary, count or ordinal; write "
                     "analysis: mixed_model for a continuous one");
}

static nof1_rc read_random(struct glmm_model *m, const struct nof1_node *random,
                           struct nof1_error *error)
{
    const struct nof1_node *trial = random == NULL ? NULL : nof1_node_get(random, "trial");
    bool intercept = false, treatment = false, good = trial != NULL && random->items == 1 &&
                                                      trial->kind == NOF1_LIST;
    for (size_t i = 0; good && i < trial->items; i++) {
        intercept = intercept || strcmp(trial->item[i].text, "intercept") == 0;
        treatment = treatment || strcmp(trial->item[i].text, "treatment") == 0;
    }
    if (!good || !intercept || trial->items != 1 + (size_t)treatment) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "random: write {trial: [intercept]} or {trial: [intercept, treatment]}");
    }
    m->shape.effects = treatment ? 2 : 1;
    return NOF1_OK;
}

static nof1_rc read_quadrature(struct glmm_model *m, struct nof1_arena *arena,
                               const struct nof1_node *options, struct nof1_error *error)
{
    double nodes;
    TRY(nof1_node_double(&nodes, options, "quadrature", error));
    if (!(nodes >= 1 && nodes <= NOF1_GLMM_NODES_MAX && nodes == rint(nodes))) {
        return nof1_fail(error, NOF1_E_PLAN, "quadrature: a whole number from 1 to %d",
                         NOF1_GLMM_NODES_MAX);
    }
    if (m->shape.effects == 2 && nodes > 1) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "quadrature: with a random treatment effect write quadrature: 1 "
                         "(Laplace's approximation)");
    }
    m->shape.nodes = (size_t)nodes;
    double *memory = nof1_arena_alloc(arena, 2 * m->shape.nodes, sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    m->shape.node = memory;
    m->shape.log_weight = memory + m->shape.nodes;
    return nof1_glmm_quadrature(memory, memory + m->shape.nodes, m->shape.nodes);
}

static nof1_rc read_exposure(struct glmm_model *m, const struct nof1_node *node,
                             struct nof1_error *error)
{
    const struct nof1_charter *charter = m->base.study->charter;
    bool alone = node != NULL && node->kind == NOF1_SCALAR;
    if (node == NULL || (!alone && node->items == 0)) {
        return NOF1_OK;
    }
    if (m->family != GLMM_POISSON || (!alone && node->items != 1)) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "exposure: one numeric covariate, and a count outcome");
    }
    const char *name = alone ? node->text : node->item[0].text;
    for (size_t c = 0; c < charter->covariates; c++) {
        const struct nof1_covariate *v = &charter->covariate[c];
        if (strcmp(v->name, name) != 0) {
            continue;
        }
        if (v->kind != NOF1_NUMERIC || !(v->upper > 0)) {
            return nof1_fail(error, NOF1_E_PLAN, "exposure: %s must be numeric and positive", name);
        }
        m->exposed = true;
        m->exposure = (struct mixed_column){.kind = MIXED_NUMERIC, .covariate = c, .name = name};
        return NOF1_OK;
    }
    return nof1_fail(error, NOF1_E_PLAN, "exposure: '%s' is no covariate of the charter", name);
}

/* Thresholds "1|2", "2|3", ... stand for the intercept of an ordinal model. */
static nof1_rc name_parameters(struct glmm_model *m, struct nof1_arena *arena,
                               struct nof1_error *error)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_outcome *o = &study->charter->outcome[study->plan->outcome];
    size_t first = 0;
    if (m->family == GLMM_ORDINAL) {
        double cuts = rint((o->upper - o->lower) / m->quantum);
        if (!(cuts >= 1 && cuts <= GLMM_LEVELS_MAX)) {
            return nof1_fail(error, NOF1_E_PLAN,
                             "outcome: an ordinal outcome has from 2 to %d categories, by its "
                             "bounds and quantum; write analysis: mixed_model for a finer scale",
                             GLMM_LEVELS_MAX + 1);
        }
        m->cuts = (size_t)cuts;
        first = 1;
    }
    m->fixed = m->cuts + m->design.columns - first;
    const char **name = nof1_arena_alloc(arena, m->fixed + 1, sizeof *name);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < m->cuts; k++) {
        name[k] = nof1_arena_printf(arena, "%g|%g", o->lower + m->quantum * (double)k,
                                    o->lower + m->quantum * (double)(k + 1));
        ENSURE(name[k] != NULL, NOF1_E_NO_MEMORY);
    }
    for (size_t c = first; c < m->design.columns; c++) {
        name[m->cuts + c - first] = m->design.column[c].name;
    }
    m->name = name;
    m->shape.columns = m->fixed;
    m->shape.family = m->family == GLMM_POISSON ? NOF1_GLMM_POISSON : NOF1_GLMM_BINOMIAL;
    m->parameters = nof1_glmm_parameters(&m->shape);
    return NOF1_OK;
}

static nof1_rc write_formula(struct glmm_model *m, struct nof1_arena *arena,
                             const struct nof1_node *fixed)
{
    const char *text = nof1_arena_printf(arena, "%s ~ 1", m->base.study->plan->outcome_name);
    for (size_t i = 0; fixed != NULL && i < fixed->items && text != NULL; i++) {
        text = nof1_arena_printf(arena, "%s + %s", text, fixed->item[i].text);
    }
    if (text != NULL && m->exposed) {
        text = nof1_arena_printf(arena, "%s + offset(log(%s))", text, m->exposure.name);
    }
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    m->formula = nof1_arena_printf(arena, "%s + (1%s | trial)", text,
                                   m->shape.effects == 2 ? " + treatment" : "");
    ENSURE(m->formula != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static void read_columns(struct glmm_model *m)
{
    m->base.fixed_parameters = 0;
    for (size_t c = 0; c < m->design.columns; c++) {
        enum mixed_kind kind = m->design.column[c].kind;
        m->treatment_wanted = m->treatment_wanted || (kind == MIXED_TREATMENT &&
                                                      !m->design.column[c].by_treatment);
        m->base.fixed_parameters += kind == MIXED_INTERCEPT || kind == MIXED_TREATMENT ||
                                    kind == MIXED_NUMERIC || kind == MIXED_FACTOR_LEVEL ||
                                    kind == MIXED_ABSENT;
    }
}

/* ---- forms --------------------------------------------------------------------------------- */

static void prepare_rounds(struct glmm_model *m, enum glmm_form form, uint32_t rounds)
{
    m->form = form;
    m->base.form = "score";
    m->base.groups = 1;
    m->base.group = all_groups;
    m->base.max_rounds = rounds;
    m->base.max_elements = 0;
    for (uint32_t r = 1; r <= rounds; r++) {
        size_t elements = glmm_round_elements(m, r);
        m->base.max_elements = elements > m->base.max_elements ? elements : m->base.max_elements;
    }
}

/* Numbers of outcomes that so many score rounds release: sums by arm, scores, and one round with
 * the Hessian. */
static double score_numbers(const struct glmm_model *m, double rounds)
{
    return 2 * fmax(1, (double)m->cuts) + (double)m->parameters * (rounds - 2) +
           (double)nof1_glmm_jet(m->parameters);
}

/* Outcome numbers that so many patients may release, of two for each category a patient. */
static double allowed_numbers(const struct glmm_model *m, double patients)
{
    return nof1_study_room(m->base.study, patients) * 2 * fmax(1, (double)m->cuts);
}

/* Rounds that the release ratio pays for. All are taken, whether needed or not, so that the charge
 * is known before. */
static uint32_t affordable_rounds(const struct glmm_model *m)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_limits *limits = &study->charter->limits;
    double room = allowed_numbers(m, (double)mixed_census(study, "patients"));
    double rounds = 2 + floor((room - score_numbers(m, 2)) / (double)m->parameters);
    double most = limits->max_rounds_query > 0 ? fmin(SCORE_MOST, limits->max_rounds_query)
                                               : SCORE_MOST;
    return rounds >= SCORE_LEAST && most >= SCORE_LEAST ? (uint32_t)fmin(rounds, most) : 0;
}

static nof1_rc refuse_few(const struct glmm_model *m, struct nof1_error *error)
{
    double numbers = score_numbers(m, SCORE_LEAST);
    double needed = 1;
    while (needed < 1e6 && allowed_numbers(m, needed) < numbers) {
        needed++;
    }
    return nof1_fail(
        error, NOF1_E_PLAN,
        "incomplete: score needs %d rounds of %zu numbers and a last one of %zu, which "
        "the limits allow from %.0f patients and %d rounds on; write %sanalysis: "
        "stratified (Mantel-Haenszel or conditional)",
        SCORE_LEAST, m->parameters, nof1_glmm_jet(m->parameters), needed, SCORE_LEAST,
        m->shape.effects == 2 ? "random: {trial: [intercept]}, or " : "");
}

/* Tables of events that complete trials can have: exact sums of as many functions of a trial's
 * table would be solved for how often each occurs. INFINITY: too many kinds to be counted. */
static double known_tables(const struct glmm_model *m)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_charter *charter = study->charter;
    double tables = 0;
    uint64_t covered = 0;
    if (study->census == NULL || m->family != GLMM_BINOMIAL || m->design.columns > 2) {
        return INFINITY;
    }
    for (size_t c = 0; c < charter->classes; c++) {
        char name[256];
        snprintf(name, sizeof name, "class:%s", charter->class_[c].name);
        uint64_t trials = mixed_census(study, name);
        covered += trials;
        tables += trials > 0 ? ((double)charter->class_[c].n[study->plan->reference] + 1) *
                                   ((double)charter->class_[c].n[study->plan->active] + 1)
                             : 0;
    }
    return covered == mixed_census(study, "trials") ? tables : INFINITY;
}

static nof1_rc check_tables(const struct glmm_model *m, uint32_t rounds, struct nof1_error *error)
{
    double numbers = score_numbers(m, rounds);
    if (numbers < known_tables(m)) {
        return NOF1_OK;
    }
    return nof1_fail(error, NOF1_E_PLAN,
                     "incomplete: score would release %.0f numbers about trials that can have %.0f "
                     "tables of events, so that these could be counted out; write incomplete: "
                     "class, or analysis: stratified",
                     numbers, known_tables(m));
}

static nof1_rc choose_score(struct glmm_model *m, struct nof1_error *error)
{
    const struct nof1_study *study = m->base.study;
    if (study->charter->limits.open) {
        uint32_t most = study->charter->limits.max_rounds_query;
        prepare_rounds(m, GLMM_NEWTON, most > 0 && most < NEWTON_ROUNDS ? most : NEWTON_ROUNDS);
        return NOF1_OK;
    }
    uint32_t rounds = study->census == NULL ? SCORE_MOST : affordable_rounds(m);
    if (rounds == 0) {
        return refuse_few(m, error);
    }
    TRY(check_tables(m, rounds, error));
    prepare_rounds(m, GLMM_SCORE, rounds);
    return NOF1_OK;
}

static nof1_rc choose_form(struct glmm_model *m, struct nof1_arena *arena, const char *wish,
                           struct nof1_error *error)
{
    bool exclude = strcmp(wish, "exclude") == 0, automatic = strcmp(wish, "auto") == 0;
    bool class_wanted = exclude || strcmp(wish, "class") == 0, possible = false;
    if (class_wanted || (automatic && !m->base.study->charter->limits.open)) {
        TRY(glmm_class_prepare(m, arena, exclude, &possible));
    }
    if (possible) {
        return NOF1_OK;
    }
    if (class_wanted) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: %s needs a binary or count outcome without exposure, fixed: "
                         "[treatment], random: {trial: [intercept]}, and trials in charter classes "
                         "with min_class_patients each, enough for the release ratio and for their "
                         "totals not to be counted out (binary, 3 and 3 rows: 17); write auto, or "
                         "analysis: stratified",
                         wish);
    }
    return choose_score(m, error);
}

/* The first round of the class form does not depend on the nodes: its basis has its own. */
static nof1_rc name_sums(struct glmm_model *m, struct nof1_arena *arena)
{
    bool once = m->form == GLMM_CLASS && m->base.max_rounds == 1;
    m->base.sums = nof1_arena_printf(arena, "glmm %s %s, %zu nodes", m->base.form, m->formula,
                                     once ? 0 : m->shape.nodes);
    ENSURE(m->base.sums != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

nof1_rc_value glmm_prepare(struct glmm_model **out, struct nof1_arena *arena,
                           const struct nof1_study *study, struct nof1_error *error)
{
    const struct nof1_node *options = study->plan->options;
    struct glmm_model *m = nof1_arena_alloc(arena, 1, sizeof *m);
    ENSURE(m != NULL, NOF1_E_NO_MEMORY);
    if (options == NULL) {
        return nof1_fail(error, NOF1_E_PLAN, "the plan has no options");
    }
    m->base.study = m->design.base.study = study;
    m->design.arms = 2;
    const struct nof1_node *fixed = nof1_node_get(options, "fixed");
    const char *word;
    TRY(nof1_option_word(&word, &nof1_glmm, options, "family", error));
    TRY(read_family(m, word, error));
    TRY(read_random(m, nof1_node_get(options, "random"), error));
    TRY(read_quadrature(m, arena, options, error));
    TRY(read_exposure(m, nof1_node_get(options, "exposure"), error));
    TRY(nof1_node_double(&m->level, options, "level", error));
    if (!(m->level > 0 && m->level < 1)) {
        return nof1_fail(error, NOF1_E_PLAN, "level: a number between 0 and 1");
    }
    TRY(mixed_columns(&m->design, arena, fixed, error));
    read_columns(m);
    if (m->shape.effects == 2 && !m->treatment_wanted) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "random: a random treatment effect needs treatment in fixed");
    }
    TRY(name_parameters(m, arena, error));
    TRY(write_formula(m, arena, fixed));
    TRY(nof1_option_word(&word, &nof1_glmm, options, "incomplete", error));
    TRY(choose_form(m, arena, word, error));
    m->base.scratch = glmm_scratch(m);
    m->base.scratch_row = glmm_scratch_row(m);
    *out = m;
    return name_sums(m, arena);
}
