/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which sums a two-stage plan releases, from public documents only (docs/statistics.md, "the least
 * that suffices"): the classes that the census says are not empty; else, when a class is too small,
 * a common weight basis with as many correction rounds as the release ratio allows.
 */
#include "random_effects.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_CORRECTIONS 8u

bool re_census_usable(const struct nof1_study *study)
{
    return study->census != NULL && study->charter->treatments == 2;
}

/* Trials with a periods of the reference and b of the active treatment, or with a cycles. The
 * census counts in the charter's order of treatments. */
static uint64_t census(const struct re_model *model, size_t a, size_t b)
{
    bool swapped = model->base.study->plan->reference == 1;
    if (!re_census_usable(model->base.study)) {
        return 0;
    }
    char name[256];
    const char *outcome = model->base.study->plan->outcome_name;
    if (model->cycles) {
        snprintf(name, sizeof name, "%s/cycles:%zu", outcome, a);
    } else {
        snprintf(name, sizeof name, "%s/pattern:%zu:%zu", outcome, swapped ? b : a,
                 swapped ? a : b);
    }
    return nof1_census_count(model->base.study, name);
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The class of u = numerator / denominator, made when it is new. -1 when out of memory. */
static int class_for(struct re_model *model, struct nof1_arena *arena, uint64_t numerator,
                     uint64_t denominator)
{
    uint64_t divisor = common_divisor(numerator, denominator);
    numerator /= divisor;
    denominator /= divisor;
    for (size_t c = 0; c < model->classes; c++) {
        if (model->class_[c].numerator == numerator &&
            model->class_[c].denominator == denominator) {
            return (int)c;
        }
    }
    struct re_class *made = &model->class_[model->classes];
    *made = (struct re_class){.numerator = numerator, .denominator = denominator,
                              .u = (double)numerator / (double)denominator};
    made->name = nof1_arena_printf(arena, "class:%llu/%llu", (unsigned long long)numerator,
                                   (unsigned long long)denominator);
    return made->name == NULL ? -1 : (int)model->classes++;
}

/* Classes of all patterns that the census knows (all possible ones without a census). */
static nof1_rc make_classes(struct re_model *model, struct nof1_arena *arena)
{
    const struct nof1_charter *charter = model->base.study->charter;
    model->most = model->cycles ? charter->max_cycles : charter->max_periods;
    size_t second = model->cycles ? 1 : model->most;
    size_t cells = ((size_t)model->most + 1) * ((size_t)model->most + 1);
    ENSURE(model->most <= 1000, NOF1_E_PLAN);
    model->class_of = nof1_arena_alloc(arena, cells, sizeof *model->class_of);
    model->class_ = nof1_arena_alloc(arena, (size_t)model->most * second, sizeof *model->class_);
    ENSURE(model->class_of != NULL && model->class_ != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < cells; i++) {
        model->class_of[i] = -1;
    }
    for (size_t a = 1; a <= model->most; a++) {
        for (size_t b = 1; b <= second; b++) {
            uint64_t trials = census(model, a, b);
            if (trials == 0 && re_census_usable(model->base.study)) {
                continue;
            }
            int c = model->cycles ? class_for(model, arena, 1, a)
                                  : class_for(model, arena, a + b, a * b);
            ENSURE(c >= 0, NOF1_E_NO_MEMORY);
            model->class_[c].trials += trials;
            model->class_of[model->cycles ? a : a * ((size_t)model->most + 1) + b] = c;
        }
    }
    return NOF1_OK;
}

/* u = 1 (one complete cycle) and u = 2 (one period of each arm) have no degrees of freedom. */
static bool has_freedom(const struct re_model *model)
{
    for (size_t c = 0; c < model->classes; c++) {
        if (model->class_[c].u < (model->cycles ? 1.0 : 2.0)) {
            return true;
        }
    }
    return false;
}

static bool classes_large(const struct re_model *model)
{
    const struct nof1_charter *charter = model->base.study->charter;
    for (size_t c = 0; c < model->classes; c++) {
        if (model->class_[c].trials < charter->limits.min_class_patients) {
            return false;
        }
    }
    return true;
}

static nof1_rc use_classes(struct re_model *model, struct nof1_arena *arena)
{
    const char **name = nof1_arena_alloc(arena, model->classes, sizeof *name);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < model->classes; c++) {
        name[c] = model->class_[c].name;
    }
    model->release = RE_CLASS;
    model->base.groups = model->classes;
    model->base.group = name;
    model->base.group_is_class = true;
    model->base.max_rounds = 1;
    return NOF1_OK;
}

size_t re_basis_size(const struct re_model *model)
{
    size_t outcomes = 0;
    for (size_t i = 0; i < model->products; i++) {
        outcomes += model->product[i].role == NOF1_OUTCOME;
    }
    return outcomes;
}

void re_correction_size(const struct re_model *model, size_t *linear, size_t *quadratic)
{
    bool likelihood = model->fit.method == NOF1_TS_ML || model->fit.method == NOF1_TS_REML;
    *linear = likelihood ? 2 : 1;
    *quadratic = likelihood && model->fit.knapp_hartung ? 2 : 1;
}

static uint64_t patients(const struct re_model *model)
{
    char name[256];
    uint64_t trials = 0;
    for (size_t c = 0; c < model->classes; c++) {
        trials += model->class_[c].trials;
    }
    snprintf(name, sizeof name, "%s/patients", model->base.study->plan->outcome_name);
    uint64_t count = nof1_census_count(model->base.study, name);
    return count > 0 && count < trials ? count : trials;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many classes are surely not empty: of a subset of strata, or of a charter with more than two
 * treatments, the census says nothing. */
static size_t known_classes(const struct re_model *model)
{
    const struct nof1_study *study = model->base.study;
    bool known = re_census_usable(study) && study->plan->strata == 0 && !model->complete_only;
    return known ? model->classes : 1;
}

/* What the sums can tell at most: of each class the products' sums (sum d and sum d^2 without
 * moderators), which are one number when the class is one trial. */
static size_t knowable(const struct re_model *model)
{
    size_t numbers = 0;
    size_t each = re_basis_size(model);
    for (size_t c = 0; c < model->classes; c++) {
        numbers += model->class_[c].trials == 1 ? 1 : each;
    }
    return known_classes(model) == model->classes ? numbers : each;
}

/* Room for outcome numbers: the release ratio, each block of `columns` numbers a patient; and two
 * thirds of what can be known. */
static double room_for(const struct re_model *model)
{
    double room = nof1_study_room(model->base.study, (double)patients(model));
    return fmin(room * (double)model->columns, 2.0 / 3.0 * (double)knowable(model));
}

/* Correction rounds that `weights` leave room for. Two rules: the release ratio; and fewer sums
 * than would solve for the classes, because a class here may be one patient: fewer sums of d, and
 * of d^2, than classes, and together at most two thirds of what can be known. */
static size_t corrections_for(const struct re_model *model, size_t weights)
{
    size_t linear, quadratic;
    re_correction_size(model, &linear, &quadratic);
    double each = (double)(linear + quadratic);
    double room = room_for(model) - (double)(weights * re_basis_size(model));
    size_t rounds = room >= each ? (size_t)floor(room / each) : 0;
    size_t spare = known_classes(model) > weights ? known_classes(model) - 1 - weights : 0;
    return least(rounds, least(spare / linear, spare / quadratic));
}

/* R and the number of correction rounds. A round gains about as much as two more weights. */
static void size_basis(struct re_model *model, size_t *corrections)
{
    const struct nof1_charter *charter = model->base.study->charter;
    size_t most = charter->limits.max_rounds_query > 1 ? charter->limits.max_rounds_query - 1 : 0;
    /* A correction shifts the sums of d and d^2 only; with moderators there are others. */
    /* nor would one tell anything that rounded terms leave unknown */
    most = model->columns > 1 || re_term_step(model) > 0.0 ? 0 : least(MOST_CORRECTIONS, most);
    model->weights = least(RE_BASIS_MOST, charter->lambdas);
    *corrections = most;
    if (charter->limits.open) {
        return;
    }
    double room = room_for(model);
    double each = (double)re_basis_size(model);
    size_t widest = least(model->weights, known_classes(model) - 1);
    size_t best = 0;
    model->weights = 1;
    *corrections = 0;
    for (size_t weights = 2; weights <= widest; weights++) {
        size_t rounds = least(most, corrections_for(model, weights));
        if (each * (double)weights <= room && weights + 2 * rounds >= best) {
            best = weights + 2 * rounds;
            model->weights = weights;
            *corrections = rounds;
        }
    }
}

static nof1_rc use_basis(struct re_model *model, struct nof1_error *error)
{
    static const char *const all[] = {"all"};
    const struct nof1_charter *charter = model->base.study->charter;
    if (charter->lambdas == 0) {
        return nof1_fail(error, NOF1_E_PLAN, "incomplete: some classes of equal precision are too "
                                             "small and the charter has no lambda for the basis");
    }
    size_t corrections = 0;
    size_basis(model, &corrections);
    if (model->columns > 1 && model->weights < 2) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "moderators: too few patients or patterns of missing "
                         "periods for %zu moderator columns; use fewer, or none",
                         model->columns - 1);
    }
    for (size_t r = 0; r < model->weights; r++) {
        size_t step = model->weights == 1 ? (charter->lambdas - 1) / 2
                                          : r * (charter->lambdas - 1) / (model->weights - 1);
        model->lambda[r] = charter->lambda[step];
    }
    model->release = RE_BASIS;
    model->base.groups = 1;
    model->base.group = all;
    model->base.max_rounds = 1 + (uint32_t)corrections;
    model->census_exact = known_classes(model) == model->classes;
    return NOF1_OK;
}

/* Own variances: rounds of power sums, as many as the method may need. */
static void use_own(struct re_model *model)
{
    static const char *const all[] = {"all"};
    uint32_t limit = model->base.study->charter->limits.max_rounds_query;
    uint32_t rounds = 4;
    if (model->fit.method >= NOF1_TS_ML) {
        rounds = 16;
    }
    if (model->fit.interval && model->fit.method != NOF1_TS_FE) {
        rounds += 16;
    }
    if (model->fit.method == NOF1_TS_FE) {
        rounds = 1;
    } else if (model->base.study->charter->limits.open) {
        rounds = 200; /* they cost nothing there, and variances may span many orders of magnitude */
    }
    model->release = RE_OWN;
    model->base.groups = 1;
    model->base.group = all;
    model->base.max_rounds = limit > 0 && limit < rounds ? limit : rounds;
}

nof1_rc re_prepare_release(struct re_model *model, struct nof1_arena *arena,
                           struct nof1_error *error)
{
    const struct nof1_study *study = model->base.study;
    if (model->own) {
        use_own(model);
    } else {
        TRY(make_classes(model, arena));
        if (model->classes == 0) {
            return nof1_fail(error, NOF1_E_MODEL, "no trial has both treatments");
        }
        if (!has_freedom(model)) {
            return nof1_fail(error, NOF1_E2601, "each trial has one difference only: no variance "
                                                "within trials; use summary_test");
        }
        /* Where the census cannot tell, round 0 will (E2206). */
        bool small = re_census_usable(study) && !study->charter->limits.open &&
                     !classes_large(model);
        if ((small || model->forced_rounds) && model->classes > 1) {
            TRY(use_basis(model, error));
        } else {
            TRY(use_classes(model, arena));
        }
    }
    for (uint32_t r = 1; r <= model->base.max_rounds && r <= 2; r++) {
        size_t size = re_layout_size(model, r);
        model->base.max_elements =
            size > model->base.max_elements ? size : model->base.max_elements;
    }
    return NOF1_OK;
}
