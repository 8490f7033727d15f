/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From the tree of a document (YAML or canonical JSON) to a charter, with every rule that can be
 * checked without data (docs/protocol.md, "Documents" and "Numbers"). Must never let pass a
 * charter that disables a rule outside the lab.
 */
#include <core/charter.h>

#include <base/time.h>
#include <core/policy.h>

#include "charter_parts.h"

#define MOST_PERIODS 64

/* The charter's `preset` and `limits` are one policy document. */
static nof1_rc read_limits(const struct reader *r, struct nof1_charter *c,
                           const struct nof1_node *root)
{
    const struct nof1_node *preset = nof1_node_get(root, "preset");
    const struct nof1_node *limits = nof1_node_get(root, "limits");
    if (limits != NULL && limits->kind != NOF1_MAP) {
        return FAIL_AT(r, limits, NOF1_E_INPUT, "limits: expected a map of limits");
    }
    if (preset != NULL && nof1_node_get(limits, "preset") != NULL) {
        return FAIL_AT(r, preset, NOF1_E_INPUT, "preset is given twice, here and in limits");
    }
    size_t items = limits == NULL ? 0 : limits->items;
    struct nof1_node map = limits == NULL ? *root : *limits;
    struct nof1_node *item = nof1_arena_alloc(r->arena, items + 1, sizeof *item);
    ENSURE(item != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < items; i++) {
        item[i] = limits->item[i];
    }
    map.item = item;
    map.items = items;
    if (preset != NULL) {
        item[map.items++] = *preset;
    }
    return nof1_policy_read(&c->limits, &map, r->error);
}

static nof1_rc read_lambdas(const struct reader *r, struct nof1_charter *c,
                            const struct nof1_node *root)
{
    /* Between-trial variance over within-trial variance: two points span the usual range. */
    static const double usual[2] = {0.1, 1.5};
    const struct nof1_node *list = NULL;
    TRY(reader_list(r, &list, root, "lambdas", false));
    c->lambdas = list == NULL ? 2 : list->items;
    double *lambda = nof1_arena_alloc(r->arena, c->lambdas, sizeof *lambda);
    ENSURE(lambda != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < c->lambdas; i++) {
        if (list == NULL) {
            lambda[i] = usual[i];
            continue;
        }
        TRY(nof1_scalar_double(&lambda[i], &list->item[i], r->error));
        if (lambda[i] < 0 || lambda[i] > 1e6 || (i > 0 && lambda[i] <= lambda[i - 1])) {
            return FAIL_AT(r, &list->item[i], NOF1_E_INPUT,
                           "lambdas: expected ascending numbers from 0 to 1000000");
        }
    }
    if (c->lambdas == 0 || c->lambdas > 8) {
        return FAIL_AT(r, list, NOF1_E_INPUT, "lambdas: expected 1 to 8 numbers");
    }
    c->lambda = lambda;
    return NOF1_OK;
}

static nof1_rc read_rules(const struct reader *r, struct nof1_charter *c,
                          const struct nof1_node *root)
{
    static const char *const sets[] = {"both_arms", "any", NULL};
    static const char *const missing[] = {"centre", "exclude", "rows", NULL};
    size_t set = 0;
    size_t rule = 0;
    int64_t value = 0;
    TRY(nof1_node_integer(&value, root, "max_periods", 1, MOST_PERIODS, r->error));
    c->max_periods = (uint32_t)value;
    TRY(nof1_node_integer(&value, root, "max_cycles", 0, MOST_PERIODS, r->error));
    c->max_cycles = (uint32_t)value;
    TRY(read_lambdas(r, c, root));
    c->beta_box = 1;
    c->variance_ratio_box = 1e6;
    TRY(reader_opt_double(r, &c->time_centre, root, "time_centre"));
    TRY(reader_opt_double(r, &c->beta_box, root, "beta_box"));
    TRY(reader_opt_double(r, &c->variance_ratio_box, root, "variance_ratio_box"));
    if (!(c->beta_box > 0) || !(c->variance_ratio_box > 0)) {
        return FAIL_AT(r, root, NOF1_E_INPUT,
                       "beta_box and variance_ratio_box: expected numbers above 0");
    }
    TRY(reader_opt_choice(r, &set, root, "analysis_set", sets));
    TRY(reader_opt_choice(r, &rule, root, "missing", missing));
    c->any_arm = set == 1;
    c->missing = (enum nof1_missing)rule;
    TRY(reader_labels(r, &c->analysis, &c->analyses, root, "analyses"));
    if (c->analyses == 0) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "analyses: name at least one allowed analysis");
    }
    return NOF1_OK;
}

static nof1_rc read_head(const struct reader *r, struct nof1_charter *c,
                         const struct nof1_node *root)
{
    const struct nof1_node *study = nof1_node_get(root, "study");
    if (study == NULL) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "key study is missing: expected a name");
    }
    TRY(reader_name(r, &c->study, study));
    uint32_t format = 1;
    c->version = 1;
    TRY(reader_opt_count(r, &format, root, "charter", 1, 1));
    TRY(reader_opt_count(r, &c->version, root, "version", 1, UINT32_MAX));
    TRY(reader_opt_flag(r, &c->lab, root, "lab"));
    if (nof1_node_get(root, "follows") != NULL) {
        TRY(nof1_node_hex(&c->follows, r->arena, root, "follows", r->error));
        if (c->follows.length != sizeof c->hash) {
            return FAIL_AT(r, nof1_node_get(root, "follows"), NOF1_E_INPUT,
                           "follows: expected the hash of a charter, 64 hex digits");
        }
    }
    if (nof1_node_get(root, "effective") == NULL && c->lab) {
        return NOF1_OK;
    }
    const char *effective = NULL;
    TRY(nof1_node_text(&effective, root, "effective", r->error));
    if (!nof1_time_read(&c->effective_at, effective)) {
        return FAIL_AT(r, nof1_node_get(root, "effective"), NOF1_E_INPUT,
                       "effective: expected a UTC time such as 2026-05-01T00:00:00Z");
    }
    return NOF1_OK;
}

static nof1_rc read_treatments(const struct reader *r, struct nof1_charter *c,
                               const struct nof1_node *root)
{
    TRY(reader_labels(r, &c->treatment, &c->treatments, root, "treatments"));
    if (c->treatments < 2 || c->treatments > NOF1_TREATMENTS_MAX) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "treatments: expected a list of 2 to %u treatments",
                       NOF1_TREATMENTS_MAX);
    }
    return NOF1_OK;
}

/* What would switch a rule off is for the lab alone. */
static nof1_rc check_lab(const struct reader *r, const struct nof1_charter *c,
                         const struct nof1_node *root)
{
    const char *what = c->limits.open                    ? "preset: open"
                       : c->any_arm                      ? "analysis_set: any"
                       : c->missing == NOF1_MISSING_ROWS ? "missing: rows"
                                                         : NULL;
    if (what != NULL && !c->lab) {
        return FAIL_AT(r, root, NOF1_E_INPUT, "%s is for the lab only: add lab: true", what);
    }
    return NOF1_OK;
}

/* Sums of squares of the largest deviation over all patients must fit the ring: n_cap B < 2^127. */
static nof1_rc check_ring(const struct reader *r, const struct nof1_charter *c,
                          const struct nof1_node *root)
{
    double cap = 0;
    for (size_t i = 0; i < c->sites; i++) {
        cap += c->site[i].patient_cap;
    }
    for (size_t i = 0; i < c->outcomes; i++) {
        double range = c->outcome[i].upper - c->outcome[i].lower;
        if (!(range <= 0x1p48) || !(cap * range * range < 0x1p127)) {
            return FAIL_AT(r, nof1_node_get(root, "outcomes"), NOF1_E_INPUT,
                           "outcome %s: its bounds and the sites' patient caps are too large for "
                           "exact sums: narrower bounds or another unit",
                           c->outcome[i].name);
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_charter_from_node(const struct nof1_charter **out, struct nof1_arena *arena,
                               const struct nof1_node *node, struct nof1_error *error)
{
    static const char *const known[] = {"charter",
                                        "study",
                                        "version",
                                        "follows",
                                        "lab",
                                        "effective",
                                        "preset",
                                        "limits",
                                        "treatments",
                                        "outcomes",
                                        "covariates",
                                        "strata",
                                        "classes",
                                        "max_periods",
                                        "max_cycles",
                                        "lambdas",
                                        "time_centre",
                                        "beta_box",
                                        "variance_ratio_box",
                                        "analysis_set",
                                        "missing",
                                        "analyses",
                                        "sites",
                                        "blocks",
                                        "statisticians",
                                        "coordinator",
                                        NULL};
    const struct reader r = {arena, error};
    struct nof1_charter *c = nof1_arena_alloc(arena, 1, sizeof *c);
    ENSURE(c != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_node_only(node, known, error));
    TRY(read_head(&r, c, node));
    TRY(read_limits(&r, c, node));
    TRY(read_treatments(&r, c, node));
    TRY(charter_read_outcomes(&r, c, node));
    TRY(charter_read_covariates(&r, c, node));
    TRY(charter_read_classes(&r, c, node));
    TRY(read_rules(&r, c, node));
    TRY(charter_read_sites(&r, c, node));
    TRY(charter_read_people(&r, c, node));
    TRY(check_lab(&r, c, node));
    TRY(check_ring(&r, c, node));
    *out = c;
    return NOF1_OK;
}
