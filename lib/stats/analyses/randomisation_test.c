/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Randomisation test of a series (docs/statistics.md, `randomisation_test`): the treatment labels
 * were drawn within cycles (or over phases, or the start was drawn), so the test needs no model of
 * the outcome. Reads the plan and names the numbers. Monte Carlo sums are many exact signed sums of
 * few differences and determine them (tests/conformance/test_randomisation_test.c), so outside an
 * open lab the test is made from three moments; it must never use a seed that two sites share.
 */
#include "randomisation_test.h"

#include <math.h>
#include <stdlib.h>

#include <stats/options.h>

#define MOST_DRAWS 20000
#define PLAIN_POWER 16 /* ranges of 2^-16 to 2^16 need no other unit of their fourth power */

static const struct nof1_option options[] = {
    {"design", NOF1_OPT_CHOICE, "cycles|phases|start", "cycles", 0, 0,
     "what was drawn: the order within each cycle; which phases of a trial are active; when "
     "treatment starts after a baseline"},
    {"method", NOF1_OPT_CHOICE, "moments|monte_carlo", "moments", 0, 0,
     "cycles: from the second and fourth moment; or by drawn signs (open lab only)"},
    {"draws", NOF1_OPT_NUMBER, "monte_carlo", "10000", 99, MOST_DRAWS,
     "signs drawn for every trial from its site's secret"},
    {"alternative", NOF1_OPT_CHOICE, "two_sided|greater|less", "two_sided", 0, 0,
     "greater: active above reference"},
    {"step", NOF1_OPT_NUMBER, "-1: the charter's quantum; 0: continuous", "-1", -1, 1e30,
     "cycles: smallest step of a cycle difference, for the continuity correction"},
    {"least", NOF1_OPT_NUMBER, "rows", "3", 1, 10000,
     "start: least rows before and after the start of treatment"},
    {"level", NOF1_OPT_NUMBER, "confidence level", "0.95", 0.5, 0.9999, "confidence level"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

static nof1_rc read_numbers(struct rt_model *model, const struct nof1_study *study,
                            struct nof1_error *error)
{
    const struct nof1_node *given = study->plan->options;
    const struct nof1_analysis *self = &nof1_randomisation_test;
    const struct nof1_outcome *outcome = &study->charter->outcome[study->plan->outcome];
    TRY(nof1_option_number(&model->level, self, given, "level", error));
    TRY(nof1_option_count(&model->least, self, given, "least", error));
    TRY(nof1_option_number(&model->step, self, given, "step", error));
    model->step = model->step < 0.0 ? outcome->quantum : model->step;
    model->range = outcome->upper - outcome->lower;
    int power = 0;
    (void)frexp(model->range, &power);
    model->fourth_unit = abs(power) > PLAIN_POWER ? exp2(4.0 * power) : 1.0;
    /* The fourth power needs no more than a hint of accuracy, and must not tell the scale's steps:
     * each trial's is rounded to a share of its planned size, at least to 16 steps of a square. */
    double variance = 2.0 * outcome->sd_within * outcome->sd_within;
    double share = fmax(variance * variance / 64.0,
                        16.0 * variance * outcome->quantum * outcome->quantum);
    share /= model->fourth_unit;
    model->fourth_quantum =
        share > 0.0 && isfinite(share) ? exp2(fmax(floor(log2(share)), -90.0)) : 0.0;
    if (outcome->kind == NOF1_EFFECT || !(model->range > 0.0) || !isfinite(model->range)) {
        return nof1_fail(error, NOF1_E_PLAN, "outcome: %s has no rows to permute", outcome->name);
    }
    return NOF1_OK;
}

static nof1_rc read_options(struct rt_model *model, const struct nof1_study *study,
                            struct nof1_error *error)
{
    const struct nof1_node *given = study->plan->options;
    const struct nof1_analysis *self = &nof1_randomisation_test;
    size_t word = 0;
    TRY(nof1_option_choice(&word, self, given, "design", error));
    model->design = (enum rt_design)word;
    TRY(nof1_option_choice(&word, self, given, "alternative", error));
    model->side = (enum rt_side)word;
    TRY(nof1_option_choice(&word, self, given, "method", error));
    TRY(nof1_option_count(&model->draws, self, given, "draws", error));
    if (word == 0) {
        model->draws = 0;
    } else if (model->design != RT_CYCLES) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "method: monte_carlo is for design cycles; phases and start are exact "
                         "within a trial");
    } else if (!study->charter->limits.open) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "method: monte_carlo works in an open lab only, because signed sums tell "
                         "the differences they are made of; use moments");
    }
    if (model->design == RT_CYCLES && study->charter->max_cycles == 0) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "design: cycles needs a cycle column; phases or start need none");
    }
    return read_numbers(model, study, error);
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    static const char *const all[] = {"all"};
    struct rt_model *model = nof1_arena_alloc(arena, 1, sizeof *model);
    ENSURE(model != NULL, NOF1_E_NO_MEMORY);
    TRY(read_options(model, study, error));
    const char *form = model->design == RT_PHASES  ? "phases"
                       : model->design == RT_START ? "start"
                       : model->draws > 0          ? "monte_carlo"
                                                   : "moments";
    model->base = (struct nof1_model){.analysis = &nof1_randomisation_test, .study = study,
                                      .form = form, .groups = 1, .group = all, .max_rounds = 1,
                                      .max_elements = 4 + model->draws, .scratch = 64,
                                      .scratch_row = NOF1_SERIES_SCRATCH_ROW + sizeof(double),
                                      .fixed_parameters = 1, .random = model->draws > 0};
    *out = &model->base;
    return NOF1_OK;
}

static nof1_rc cycles_layout(struct nof1_element *element, struct nof1_arena *arena,
                             const struct rt_model *model)
{
    const struct nof1_element sum = {.role = NOF1_OUTCOME, .group = -1, .block_size = 1,
                                     .bound = RT_MOST_CYCLES * model->range};
    element[0] = (struct nof1_element){.name = "cycles", .role = NOF1_DESIGN, .group = -1,
                                       .bound = RT_MOST_CYCLES};
    element[1] = element[2] = element[3] = sum;
    element[1].name = "sum d";
    element[2].name = "sum d^2";
    element[2].bound *= model->range;
    element[3].name = "sum d^4";
    element[3].bound *= model->range * model->range * (model->range / model->fourth_unit);
    element[3].quantum = model->fourth_quantum;
    for (size_t b = 0; b < model->draws; b++) {
        element[3 + b] = sum;
        element[3 + b].name = nof1_arena_printf(arena, "draw %zu", b + 1);
        ENSURE(element[3 + b].name != NULL, NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

static nof1_rc_value layout(const struct nof1_model *base, uint32_t round, struct nof1_arena *arena,
                            struct nof1_layout *out)
{
    (void)round;
    const struct rt_model *model = (const struct rt_model *)base;
    struct nof1_element *element = nof1_arena_alloc(arena, base->max_elements, sizeof *element);
    ENSURE(element != NULL, NOF1_E_NO_MEMORY);
    if (model->design != RT_CYCLES) { /* |z| <= sqrt(assignments), and far fewer than 2^40 matter */
        element[0] = (struct nof1_element){.name = "sum z", .role = NOF1_OUTCOME, .group = -1,
                                           .block_size = 1, .bound = 0x1p20};
        *out = (struct nof1_layout){1, element};
        return NOF1_OK;
    }
    TRY(cycles_layout(element, arena, model));
    *out = (struct nof1_layout){model->draws > 0 ? 3 + model->draws : 4, element};
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

const struct nof1_analysis nof1_randomisation_test = {
    .id = "randomisation_test",
    .version = 1,
    .summary = "test of no effect by the randomisation: within cycles, over phases, of starts",
    .option = options,
    .prepare = prepare,
    .group_of = nof1_rt_group_of,
    .layout = layout,
    .contribute = nof1_rt_contribute,
    .advance = advance,
    .report = nof1_rt_report,
};
