/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The analysis `bayes`: hierarchical normal models with stated priors, by deterministic quadrature
 * from one round of sums (docs/statistics.md). Layout and contributions are those of random_effects
 * (two_stage) or of mixed_model's classes (one_stage), called through the contract: a Bayesian plan
 * releases what those would release in their first round, and nothing else.
 */
#include "bayes_model.h"

#include <math.h>
#include <string.h>

#include <base/document.h>
#include <stats/options.h>
#include <stats/registry.h>

static const struct nof1_option options[] = {
    {"model", NOF1_OPT_CHOICE, "two_stage|one_stage", "two_stage", 0, 0,
     "two_stage: each trial's effect, sigma pooled within trials; one_stage: all rows, random "
     "intercept and treatment effect"},
    {"priors", NOF1_OPT_MAP,
     "mu: {normal: [mean, sd]}; tau, omega, intercept_sd: {half_normal: scale}, {half_cauchy: "
     "scale}, {half_t: [df, scale]}, {uniform: upper} or {fixed: value}; sigma: those, jeffreys or "
     "plug_in; intercept: {normal: [mean, sd]}; correlation: {lkj: eta}",
     "{}", 0, 0,
     "priors; by default mu: normal with the outcome's range as sd, tau and omega: half_normal "
     "with "
     "a quarter of it, intercept_sd: half of it, sigma: jeffreys, correlation: {lkj: 1}"},
    {"mcid", NOF1_OPT_NUMBER, "smallest effect that matters to a patient", "0", 0, 1e150,
     "in units of the outcome, counted in the direction of benefit"},
    {"level", NOF1_OPT_NUMBER, "probability of intervals", "0.95", 0.5, 0.9999,
     "probability of the equal-tailed intervals"},
    {"borrow", NOF1_OPT_CHOICE, "none|stratum", "none", 0, 0,
     "stratum: mean effects of strata vary about a common mean by omega, and borrow from each "
     "other (two_stage)"},
    {"incomplete", NOF1_OPT_CHOICE, "auto|pool|cycles|class|exclude", "auto", 0, 0,
     "two_stage: pool, cycles or exclude as in random_effects; one_stage: class or exclude as in "
     "mixed_model; auto chooses"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};

/* ---- the plan of the inner analysis ---- */

static struct nof1_node scalar(const char *key, const char *text)
{
    return (struct nof1_node){.kind = NOF1_SCALAR, .file = "", .text = text, .key = key};
}

static nof1_rc add_list(struct nof1_node *out, struct nof1_arena *arena, const char *key,
                        size_t items, const char *first, const char *second)
{
    struct nof1_node *item = nof1_arena_alloc(arena, 2, sizeof *item);
    ENSURE(item != NULL, NOF1_E_NO_MEMORY);
    item[0] = scalar(NULL, first);
    item[1] = scalar(NULL, second);
    *out = (struct nof1_node){.kind = NOF1_LIST, .file = "", .text = "", .key = key,
                              .items = items, .item = item};
    return NOF1_OK;
}

/* Every option of the inner analysis at its default, with `given` in its place. */
static nof1_rc add_options(struct nof1_node *map, struct nof1_arena *arena,
                           const struct nof1_analysis *analysis, const struct nof1_node *given,
                           size_t count)
{
    size_t all = 0;
    while (analysis->option[all].key != NULL) {
        all++;
    }
    struct nof1_node *item = nof1_arena_alloc(arena, all + 1, sizeof *item);
    ENSURE(item != NULL, NOF1_E_NO_MEMORY);
    *map = (struct nof1_node){.kind = NOF1_MAP, .file = "", .text = "", .item = item};
    for (size_t o = 0; o < all; o++) {
        const struct nof1_option *option = &analysis->option[o];
        const struct nof1_node *node = NULL;
        for (size_t g = 0; g < count && node == NULL; g++) {
            node = strcmp(given[g].key, option->key) == 0 ? &given[g] : NULL;
        }
        if (node == NULL && option->default_text != NULL && option->default_text[0] != '\0') {
            TRY(nof1_yaml_read(&node, arena, "", nof1_slice_text(option->default_text), NULL));
        }
        if (node != NULL) {
            item[map->items] = *node;
            item[map->items++].key = option->key;
        }
    }
    return NOF1_OK;
}

static nof1_rc inner_study(const struct nof1_study **out, const struct bayes_model *model,
                           struct nof1_arena *arena, const struct nof1_study *study,
                           const char *incomplete)
{
    struct { struct nof1_study study; struct nof1_plan plan; struct nof1_node map; } *made =
        nof1_arena_alloc(arena, 1, sizeof *made);
    ENSURE(made != NULL, NOF1_E_NO_MEMORY);
    struct nof1_node given[3] = {scalar("incomplete", incomplete)};
    if (model->one_stage) {
        given[1] = scalar("df", "z");
        TRY(add_list(&given[2], arena, "fixed", 1, "treatment", ""));
    } else {
        given[1] = scalar("test", "z");
        TRY(add_list(&given[2], arena, "moderators", model->borrow ? 1 : 0, "strata", ""));
    }
    TRY(add_options(&made->map, arena,
                    model->one_stage ? &nof1_mixed_model : &nof1_random_effects, given, 3));
    made->plan = *study->plan;
    made->plan.options = &made->map;
    made->study = *study;
    made->study.plan = &made->plan;
    *out = &made->study;
    return NOF1_OK;
}

/* ---- prepare ---- */

static nof1_rc read_options(struct bayes_model *model, const struct nof1_study *study,
                            struct nof1_error *error)
{
    const struct nof1_charter *charter = study->charter;
    const struct nof1_outcome *outcome = &charter->outcome[study->plan->outcome];
    const char *word;
    TRY(nof1_option_word(&word, &nof1_bayes, study->plan->options, "model", error));
    model->one_stage = strcmp(word, "one_stage") == 0;
    TRY(nof1_option_word(&word, &nof1_bayes, study->plan->options, "borrow", error));
    model->borrow = strcmp(word, "stratum") == 0;
    TRY(nof1_node_double(&model->mcid, study->plan->options, "mcid", error));
    TRY(nof1_node_double(&model->level, study->plan->options, "level", error));
    if (!(model->level >= 0.5 && model->level <= 0.9999) || !(model->mcid >= 0.0)) {
        return nof1_fail(error, NOF1_E_PLAN, "level: from 0.5 to 0.9999; mcid: not below 0");
    }
    if (outcome->kind == NOF1_EFFECT) {
        return nof1_fail(error, NOF1_E_PLAN, "bayes needs rows, not an imported table of effects; "
                                             "use random_effects");
    }
    if (!(outcome->upper - outcome->lower > 0.0) || !isfinite(outcome->upper - outcome->lower)) {
        return nof1_fail(error, NOF1_E_PLAN, "outcome: the charter gives %s no bounds",
                         outcome->name);
    }
    if (model->borrow && model->one_stage) {
        return nof1_fail(error, NOF1_E_PLAN, "borrow: stratum needs model: two_stage");
    }
    if (model->borrow && charter->stratum_covariate == NULL) {
        return nof1_fail(error, NOF1_E_PLAN, "borrow: the charter has no strata");
    }
    return bayes_read_priors(model, study, error);
}

static nof1_rc read_form(const char **out, const struct bayes_model *model,
                         const struct nof1_study *study, struct nof1_error *error)
{
    const char *wish;
    TRY(nof1_option_word(&wish, &nof1_bayes, study->plan->options, "incomplete", error));
    bool automatic = strcmp(wish, "auto") == 0, exclude = strcmp(wish, "exclude") == 0;
    bool class_ = strcmp(wish, "class") == 0;
    if (!automatic && !exclude && class_ != model->one_stage) {
        return nof1_fail(error, NOF1_E_PLAN, "incomplete: model: %s",
                         model->one_stage ? "one_stage takes class or exclude"
                                          : "two_stage takes pool, cycles or exclude");
    }
    *out = automatic && model->one_stage ? "class" : wish;
    return NOF1_OK;
}

static nof1_rc_value prepare(struct nof1_model **out, struct nof1_arena *arena,
                             const struct nof1_study *study, struct nof1_error *error)
{
    struct bayes_model *model = nof1_arena_alloc(arena, 1, sizeof *model);
    ENSURE(model != NULL, NOF1_E_NO_MEMORY);
    const struct nof1_study *inner;
    const char *form = "";
    TRY(read_options(model, study, error));
    TRY(read_form(&form, model, study, error));
    TRY(inner_study(&inner, model, arena, study, form));
    const struct nof1_analysis *analysis =
        model->one_stage ? &nof1_mixed_model : &nof1_random_effects;
    nof1_rc_value rc = analysis->prepare(&model->inner, arena, inner, error);
    if (rc == NOF1_E_PLAN && model->one_stage) { /* mixed_model names forms that bayes has not */
        return nof1_fail(
            error, NOF1_E_PLAN,
            "model: one_stage needs trials in charter classes (equal numbers of rows of "
            "each arm) with min_class_patients; use model: two_stage");
    }
    TRY(rc);
    model->base = *model->inner;
    model->base.analysis = &nof1_bayes;
    model->base.study = study;
    model->base.max_rounds = 1;
    *out = &model->base;
    return NOF1_OK;
}

/* ---- the contract, by the inner analysis ---- */

static const struct nof1_model *inner_of(const struct nof1_model *base)
{
    return ((const struct bayes_model *)base)->inner;
}

static int group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch)
{
    const struct nof1_model *inner = inner_of(base);
    return inner->analysis->group_of(inner, trial, scratch);
}

static nof1_rc_value layout(const struct nof1_model *base, uint32_t round,
                            struct nof1_arena *arena, struct nof1_layout *out)
{
    const struct nof1_model *inner = inner_of(base);
    return inner->analysis->layout(inner, round, arena, out);
}

static nof1_rc_value contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                const struct nof1_trial *trial, void *scratch, double *out)
{
    const struct nof1_model *inner = inner_of(base);
    return inner->analysis->contribute(inner, round, theta, trial, scratch, out);
}

static double weight(const struct nof1_model *base, const double *theta,
                     const struct nof1_trial *trial, void *scratch)
{
    const struct nof1_model *inner = inner_of(base);
    return inner->analysis->weight(inner, theta, trial, scratch);
}

static bool in_domain(const struct nof1_model *base, const double *theta, size_t parameters)
{
    (void)base;
    (void)theta;
    return parameters == 0;
}

static nof1_rc_value advance(const struct nof1_model *base, const struct nof1_history *history,
                             struct nof1_arena *arena, struct nof1_next *out,
                             struct nof1_error *error)
{
    (void)base;
    (void)arena;
    (void)error;
    *out = (struct nof1_next){.done = history->rounds >= 1};
    return NOF1_OK;
}

const struct nof1_analysis nof1_bayes = {
    .id = "bayes",
    .version = 1,
    .summary = "Bayesian hierarchical model with stated priors, by quadrature; always with a table "
               "of other priors",
    .option = options,
    .prepare = prepare,
    .group_of = group_of,
    .layout = layout,
    .contribute = contribute,
    .advance = advance,
    .in_domain = in_domain,
    .weight = weight,
    .report = bayes_report,
};
