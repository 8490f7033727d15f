/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The priors of a Bayesian plan, as written or by default. Defaults depend on the outcome's range
 * in the charter, a public constant, never on data.
 */
#include "bayes_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <base/document.h>

static const struct { const char *name; enum nof1_bayes_family family; } families[] = {
    {"fixed", NOF1_BAYES_FIXED},         {"half_normal", NOF1_BAYES_HALF_NORMAL},
    {"half_cauchy", NOF1_BAYES_HALF_CAUCHY}, {"half_t", NOF1_BAYES_HALF_T},
    {"uniform", NOF1_BAYES_UNIFORM},     {"jeffreys", NOF1_BAYES_JEFFREYS},
    {"lkj", NOF1_BAYES_LKJ}};

static nof1_rc bad(struct nof1_error *error, const char *key, const char *what)
{
    return nof1_fail(error, NOF1_E_PLAN, "priors: %s: write %s", key, what);
}

/* The one number of a family, or [df, scale] of half_t, or [mean, sd] of normal. */
static nof1_rc numbers(double *first, double *second, const struct nof1_node *node, bool pair,
                       struct nof1_error *error)
{
    if (!pair) {
        return nof1_scalar_double(first, node, error);
    }
    ENSURE(node->kind == NOF1_LIST && node->items == 2, NOF1_E_PLAN);
    TRY(nof1_scalar_double(first, &node->item[0], error));
    return nof1_scalar_double(second, &node->item[1], error);
}

static nof1_rc read_normal(double *mean, double *sd, const struct nof1_node *priors,
                           const char *key, struct nof1_error *error)
{
    static const char form[] = "{normal: [mean, sd]}, sd above 0";
    const struct nof1_node *node = nof1_node_get(priors, key);
    if (node == NULL) {
        return NOF1_OK;
    }
    bool shape = node->kind == NOF1_MAP && node->items == 1 &&
                 strcmp(node->item[0].key, "normal") == 0;
    if (!shape || numbers(mean, sd, &node->item[0], true, NULL) != NOF1_OK ||
        !(*sd > 0.0 && *sd <= 1e150) || !(fabs(*mean) <= 1e150)) {
        return bad(error, key, form);
    }
    return NOF1_OK;
}

static bool allowed(enum nof1_bayes_family family, const char *key)
{
    if (strcmp(key, "correlation") == 0) {
        return family == NOF1_BAYES_LKJ;
    }
    if (strcmp(key, "sigma") == 0) {
        return family != NOF1_BAYES_LKJ && family != NOF1_BAYES_FIXED;
    }
    return family != NOF1_BAYES_LKJ && family != NOF1_BAYES_JEFFREYS;
}

static nof1_rc read_spread(struct nof1_bayes_prior *out, const struct nof1_node *priors,
                           const char *key, const char *form, struct nof1_error *error)
{
    const struct nof1_node *node = nof1_node_get(priors, key);
    if (node == NULL) {
        return NOF1_OK;
    }
    if (node->kind != NOF1_MAP || node->items != 1) {
        return bad(error, key, form);
    }
    struct nof1_bayes_prior prior = {.scale = 0.0, .df = 1.0};
    bool known = false;
    for (size_t f = 0; f < sizeof families / sizeof *families && !known; f++) {
        if (strcmp(node->item[0].key, families[f].name) == 0) {
            prior.family = families[f].family;
            known = allowed(prior.family, key);
        }
    }
    bool t = prior.family == NOF1_BAYES_HALF_T;
    if (!known || numbers(t ? &prior.df : &prior.scale, &prior.scale, &node->item[0], t, NULL) !=
                      NOF1_OK) {
        return bad(error, key, form);
    }
    bool zero = prior.family == NOF1_BAYES_FIXED && prior.scale == 0.0;
    if (!(zero || (prior.scale > 1e-150 && prior.scale < 1e150)) ||
        !(prior.df >= 1.0 && prior.df <= 1e6) ||
        (prior.family == NOF1_BAYES_LKJ && !(prior.scale >= 0.5 && prior.scale <= 1000.0))) {
        return bad(error, key, form);
    }
    *out = prior;
    return NOF1_OK;
}

static nof1_rc read_sigma(struct bayes_model *model, const struct nof1_node *priors,
                          struct nof1_error *error)
{
    const struct nof1_node *node = nof1_node_get(priors, "sigma");
    if (node != NULL && node->kind == NOF1_SCALAR) {
        model->plug_in = strcmp(node->text, "plug_in") == 0;
        if (model->plug_in || strcmp(node->text, "jeffreys") == 0) {
            return NOF1_OK;
        }
    }
    return read_spread(&model->sigma, priors, "sigma",
                       "jeffreys, plug_in, {half_normal: scale}, {half_cauchy: scale}, {half_t: "
                       "[df, scale]} or {uniform: upper}",
                       error);
}

nof1_rc_value bayes_read_priors(struct bayes_model *model, const struct nof1_study *study,
                                struct nof1_error *error)
{
    static const char spread[] = "{half_normal: scale}, {half_cauchy: scale}, {half_t: [df, "
                                 "scale]}, {uniform: upper} or {fixed: value}";
    static const char *const two[] = {"mu", "tau", "sigma", "omega", NULL};
    static const char *const one[] = {"mu", "tau", "sigma", "intercept", "intercept_sd",
                                      "correlation", NULL};
    const struct nof1_outcome *outcome = &study->charter->outcome[study->plan->outcome];
    const struct nof1_node *priors = nof1_node_get(study->plan->options, "priors");
    double range = outcome->upper - outcome->lower;
    model->mean[0] = outcome->centre;
    model->mean[1] = 0.0;
    model->sd[0] = model->sd[1] = range;
    model->tau = (struct nof1_bayes_prior){NOF1_BAYES_HALF_NORMAL, range / 4.0, 1.0};
    model->spread = model->tau;
    model->spread.scale *= model->one_stage ? 2.0 : 1.0;
    model->sigma = (struct nof1_bayes_prior){NOF1_BAYES_JEFFREYS, 1.0, 1.0};
    model->correlation = (struct nof1_bayes_prior){NOF1_BAYES_LKJ, 1.0, 1.0};
    if (priors == NULL) {
        return NOF1_OK;
    }
    TRY(nof1_node_only(priors, model->one_stage ? one : two, error));
    TRY(read_normal(&model->mean[1], &model->sd[1], priors, "mu", error));
    TRY(read_spread(&model->tau, priors, "tau", spread, error));
    TRY(read_sigma(model, priors, error));
    if (!model->one_stage) {
        return read_spread(&model->spread, priors, "omega", spread, error);
    }
    if (model->plug_in) {
        return bad(error, "sigma", "jeffreys or a proper prior with one_stage");
    }
    TRY(read_normal(&model->mean[0], &model->sd[0], priors, "intercept", error));
    TRY(read_spread(&model->spread, priors, "intercept_sd", spread, error));
    return read_spread(&model->correlation, priors, "correlation", "{lkj: eta}, 1 is uniform",
                       error);
}

void bayes_prior_text(char out[64], const struct nof1_bayes_prior *prior)
{
    const char *name = "";
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        name = families[f].family == prior->family ? families[f].name : name;
    }
    if (prior->family == NOF1_BAYES_JEFFREYS) {
        snprintf(out, 64, "%s", name);
    } else if (prior->family == NOF1_BAYES_HALF_T) {
        snprintf(out, 64, "%s %.6g, %.6g", name, prior->df, prior->scale);
    } else {
        snprintf(out, 64, "%s %.6g", name, prior->scale);
    }
}

static void put_prior(json_t *object, const char *key, const struct nof1_bayes_prior *prior)
{
    char text[64];
    bayes_prior_text(text, prior);
    json_object_set_new(object, key, json_string(text));
}

static void put_normal(json_t *object, const char *key, double mean, double sd)
{
    char text[64];
    snprintf(text, sizeof text, "normal %.6g, %.6g", mean, sd);
    json_object_set_new(object, key, json_string(text));
}

json_t *bayes_priors_json(const struct bayes_model *model)
{
    json_t *object = json_object();
    put_normal(object, "mu", model->mean[1], model->sd[1]);
    put_prior(object, "tau", &model->tau);
    if (model->plug_in) {
        json_object_set_new(object, "sigma", json_string("plug_in"));
    } else {
        put_prior(object, "sigma", &model->sigma);
    }
    if (model->borrow) {
        put_prior(object, "omega", &model->spread);
    }
    if (model->one_stage) {
        put_normal(object, "intercept", model->mean[0], model->sd[0]);
        put_prior(object, "intercept_sd", &model->spread);
        put_prior(object, "correlation", &model->correlation);
    }
    return object;
}
