/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Assessing a plan: see assess.h. Fills round 0 with what the census says and asks the very checks
 * that vaults run.
 */
#include <tools/assess.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <core/census.h>
#include <core/checks.h>
#include <core/plan.h>

/* A round 0 as the census expects it. */
struct expected {
    struct nof1_query *query;
    struct nof1_opening opening;
    struct nof1_loads loads;
    struct nof1_counts counts;
    double *total;
};

static uint64_t of_outcome(const struct nof1_query *query, const char *what)
{
    const struct nof1_study *study = &query->study;
    const char *outcome = study->charter->outcome[study->plan->outcome].name;
    char name[3 * NOF1_NAME_MAX];
    snprintf(name, sizeof name, "%s/%s", outcome, what);
    return nof1_census_count(study, name);
}

/* Does the census count the trials of a group by its name? */
static bool in_census(const struct nof1_query *query, const char *group)
{
    const struct nof1_study *study = &query->study;
    char name[3 * NOF1_NAME_MAX];
    snprintf(name, sizeof name, "%s/%s", study->charter->outcome[study->plan->outcome].name, group);
    for (size_t e = 0; study->census != NULL && e < study->census->elements; ++e) {
        if (strcmp(study->census->element[e], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Patients of a group; one that the census does not know holds everybody. */
static uint64_t of_group(const struct nof1_query *query, const char *group, uint64_t all)
{
    return in_census(query, group) ? of_outcome(query, group) : all;
}

static void fill_blocks(struct expected *e)
{
    const struct nof1_study *study = &e->query->study;
    const struct nof1_plan *plan = study->plan;
    const char *outcome = study->charter->outcome[plan->outcome].name;
    for (size_t b = 0; b < plan->blocks && study->census != NULL; ++b) {
        struct nof1_plan one = *plan;
        const struct nof1_study alone = {study->charter, study->census, &one};
        char name[3 * NOF1_NAME_MAX];
        snprintf(name, sizeof name, "%s/patients", outcome);
        one.blocks = 1;
        one.block = &plan->block[b];
        e->total[e->opening.block_patients + b] = (double)nof1_census_count(&alone, name);
    }
}

/* Patients that the form leaves out, as far as the census tells (a patient with one trial each). */
static uint64_t left_out(const struct nof1_query *query, uint64_t patients)
{
    const struct nof1_model *model = query->model;
    uint64_t used = 0;
    bool everybody = false;
    for (size_t g = 0; g < model->groups; ++g) {
        everybody = everybody || !in_census(query, model->group[g]);
        used += of_group(query, model->group[g], patients);
    }
    if (everybody) {
        bool cycles = model->form != NULL && strcmp(model->form, "cycles") == 0;
        uint64_t incomplete = cycles ? of_outcome(query, "incomplete") : 0;
        return incomplete < patients ? incomplete : patients;
    }
    return used < patients ? patients - used : 0;
}

/* Names of round 0 in its order; see core/opening.h. */
static nof1_rc fill(struct expected *e, struct nof1_arena *arena)
{
    const struct nof1_model *model = e->query->model;
    size_t atoms = e->query->study.plan->atoms == 0 ? 1 : e->query->study.plan->atoms;
    TRY(nof1_opening_layout(&e->opening, arena, model, atoms));
    TRY(nof1_loads_of(&e->loads, arena, model));
    e->total = nof1_arena_alloc(arena, e->opening.elements + 1, sizeof *e->total);
    ENSURE(e->total != NULL, NOF1_E_NO_MEMORY);
    uint64_t patients = of_outcome(e->query, "patients");
    uint64_t trials = of_outcome(e->query, "trials");
    double sites = (double)of_outcome(e->query, "sites");
    e->total[0] = (double)e->query->sites;
    e->total[1] = (double)trials;
    e->total[2] = (double)patients;
    for (size_t g = 0; g < model->groups; ++g) {
        double count = (double)of_group(e->query, model->group[g], patients);
        e->total[e->opening.group_patients + g] = count;
        e->total[e->opening.group_trials + g] = count;
        e->total[e->opening.group_sites + g] = fmin(count, sites);
    }
    fill_blocks(e);
    for (size_t s = 0; s < e->opening.sparse; ++s) {
        e->total[e->opening.sparse_sites + s] = sites; /* not known before round 0 */
        e->total[e->opening.sparse_patients + s] = (double)patients;
    }
    if (e->opening.atoms == 1) { /* with several, who is in which is not known before round 0 */
        double left = (double)left_out(e->query, patients);
        double *atom = &e->total[nof1_opening_atom_at(&e->opening, 0, 0, NOF1_ATOM_USED)];
        atom[NOF1_ATOM_USED] = (double)patients - left; /* all in one block: only sums are read */
        atom[NOF1_ATOM_USED_SITES] = sites;
        atom[NOF1_ATOM_LEFT] = left;
        atom[NOF1_ATOM_LEFT_SITES] = fmin(left, sites);
        for (size_t g = 0; model->groups > 1 && g < model->groups; ++g) {
            double *cell = &e->total[nof1_opening_cell_at(&e->opening, 0, g, 0)];
            cell[NOF1_ATOM_USED] = e->total[e->opening.group_patients + g];
            cell[NOF1_ATOM_USED_SITES] = e->total[e->opening.group_sites + g];
        }
        e->total[1] -= left;
        e->total[2] -= left;
        e->total[3] = left;
    }
    return nof1_opening_counts(&e->counts, arena, model, &e->opening, e->total);
}

static bool add_refusal(json_t *refusals, nof1_rc_value rc, const struct nof1_error *error)
{
    if (rc == NOF1_OK) {
        return true;
    }
    const char *text =
        error->rc == rc && error->message[0] != '\0' ? error->message : nof1_rc_sentence(rc);
    return json_array_append_new(refusals, json_pack("{s:s, s:s, s:s, s:s}", "code",
                                                     nof1_rc_code(rc), "rule", nof1_rc_sentence(rc),
                                                     "text", text, "remedy", nof1_rc_remedy(rc))) ==
           0;
}

/* The silent rules as a site sees them that holds as many patients as any may (its cap): such a
 * site would object, and nobody but it would be told why. */
static nof1_rc add_objection(json_t *refusals, const struct expected *e,
                             const struct nof1_opened *opened, struct nof1_arena *arena)
{
    const struct nof1_model *model = e->query->model;
    uint64_t cap = 0;
    for (size_t s = 0; s < e->query->sites; ++s) {
        uint32_t here = opened->query->study.charter->site[e->query->site[s]].patient_cap;
        cap = here > cap ? here : cap;
    }
    cap = cap < e->counts.patients ? cap : e->counts.patients;
    uint64_t *group = nof1_arena_alloc(arena, model->groups + 1, sizeof *group);
    uint64_t *atom = nof1_arena_alloc(arena, e->opening.atoms + 1, sizeof *atom);
    ENSURE(group != NULL && atom != NULL, NOF1_E_NO_MEMORY);
    for (size_t g = 0; g < model->groups; ++g) {
        uint64_t here = e->counts.group_patients[g];
        group[g] = cap < here ? cap : here;
    }
    atom[0] = cap;
    const struct nof1_own own = {
        .patients = cap, .trials = cap, .group_patients = group, .atom_patients = atom};
    struct nof1_error error = {.rc = NOF1_OK};
    nof1_rc_value rc = nof1_check_own(opened, &own, &error);
    ENSURE(rc != NOF1_E_NO_MEMORY, rc);
    if (rc == NOF1_OK || e->opening.atoms != 1) {
        return NOF1_OK;
    }
    struct nof1_error why = {.rc = NOF1_OK};
    (void)nof1_fail(&why, rc,
                    "a site with as many patients as its cap allows would object silently (E2505)");
    return add_refusal(refusals, rc, &why) ? NOF1_OK : NOF1_E_NO_MEMORY;
}

typedef nof1_rc_value check_function(const struct nof1_opened *opened, struct nof1_error *error);

static nof1_rc add_refusals(json_t *refusals, const struct expected *e, struct nof1_arena *arena)
{
    static check_function *const checks[] = {
        nof1_check_patients, nof1_check_groups,  nof1_check_support, nof1_check_parameters,
        nof1_check_ratio,    nof1_check_entropy, nof1_check_atoms};
    const struct nof1_charter *charter = e->query->study.charter;
    const struct nof1_opened opened = {.limits = &charter->limits,
                                       .query = e->query,
                                       .opening = &e->opening,
                                       .loads = &e->loads,
                                       .counts = &e->counts,
                                       .total = e->total};
    struct nof1_error error = {.rc = NOF1_OK};
    nof1_rc_value rc = nof1_check_roster(&charter->limits, e->query, e->query->site[0], &error);
    ENSURE(add_refusal(refusals, rc, &error), NOF1_E_NO_MEMORY);
    rc = nof1_check_budget(&charter->limits, e->query, 0, 0, &error);
    ENSURE(add_refusal(refusals, rc, &error), NOF1_E_NO_MEMORY);
    for (size_t c = 0; !charter->limits.open && c < sizeof checks / sizeof checks[0]; ++c) {
        error = (struct nof1_error){.rc = NOF1_OK};
        rc = checks[c](&opened, &error);
        ENSURE(rc != NOF1_E_NO_MEMORY && add_refusal(refusals, rc, &error), NOF1_E_NO_MEMORY);
    }
    return charter->limits.open ? NOF1_OK : add_objection(refusals, e, &opened, arena);
}

/* Fewest patients at which every load stays within the limit. */
static json_int_t patients_needed(const struct expected *e, double limit)
{
    double most = 0;
    for (size_t l = 0; l < e->loads.count; ++l) {
        const struct nof1_load *load = &e->loads.load[l];
        double needed = ceil((double)load->scalars / ((double)load->block_size * limit) - 1e-9);
        most = fmax(most, needed);
    }
    return (json_int_t)most;
}

static nof1_rc count_scalars(json_int_t *outcome, json_int_t *design, const struct expected *e,
                             struct nof1_arena *arena)
{
    *outcome = *design = 0;
    for (uint32_t r = 1; r <= e->query->model->max_rounds; ++r) {
        struct nof1_layout layout = {0};
        TRY(e->query->analysis->layout(e->query->model, r, arena, &layout));
        for (size_t k = 0; k < layout.elements; ++k) {
            bool is_outcome = layout.element[k].role == NOF1_OUTCOME;
            *outcome += is_outcome ? 1 : 0;
            *design += is_outcome ? 0 : 1;
        }
    }
    return NOF1_OK;
}

static json_t *group_names(const struct nof1_model *model)
{
    json_t *list = json_array();
    for (size_t g = 0; list != NULL && g < model->groups; ++g) {
        json_array_append_new(list, json_string(model->group[g]));
    }
    return list;
}

static nof1_rc describe(json_t **out, const struct expected *e, struct nof1_arena *arena)
{
    const struct nof1_limits *limits = &e->query->study.charter->limits;
    json_int_t outcome;
    json_int_t design;
    TRY(count_scalars(&outcome, &design, e, arena));
    json_t *refusals = json_array();
    ENSURE(refusals != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = add_refusals(refusals, e, arena);
    if (rc != NOF1_OK) {
        json_decref(refusals);
        return rc;
    }
    uint64_t ratio = nof1_ratio_groups(&e->loads, e->query->model->groups, e->counts.patients,
                                       e->counts.group_patients, 0, NULL);
    const char *verdict = json_string_value(json_object_get(json_array_get(refusals, 0), "code"));
    const struct nof1_model *model = e->query->model;
    *out = json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:s, s:o}",
                     "analysis", e->query->study.plan->analysis, "form",
                     model->incomplete != NULL ? model->incomplete : model->form,
                     "groups", group_names(e->query->model), "scalars", outcome, "design_scalars",
                     design, "rounds", (json_int_t)e->query->model->max_rounds, "ratio",
                     (double)ratio / (double)NOF1_RATIO_UNIT, "ratio_limit",
                     limits->max_release_ratio, "patients", (json_int_t)e->counts.patients,
                     "patients_needed", patients_needed(e, limits->max_release_ratio), "sites",
                     (json_int_t)e->query->sites, "verdict", verdict == NULL ? "accepted" : verdict,
                     "refusals", refusals);
    return *out == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

/* One plan, prepared and held against the rules. */
static nof1_rc assess_one(json_t **out, struct nof1_arena *arena,
                          const struct nof1_charter *charter, const struct nof1_census *census,
                          const struct nof1_plan *plan, int64_t now, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    struct expected e = {0};
    TRY(nof1_query_complete(&bytes, charter, census, plan, now, error));
    TRY(nof1_query_new(&e.query, charter, census, nof1_buffer_slice(&bytes), error));
    nof1_rc_value rc = fill(&e, arena);
    rc = rc == NOF1_OK ? describe(out, &e, arena) : rc;
    nof1_query_free(e.query);
    return rc;
}

/* A model that charter and census cannot carry. */
static nof1_rc not_prepared(json_t **out, const struct nof1_plan *plan, nof1_rc_value rc,
                            const struct nof1_error *error)
{
    json_t *refusals = json_array();
    ENSURE(refusals != NULL && add_refusal(refusals, rc, error), NOF1_E_NO_MEMORY);
    *out = json_pack("{s:s, s:s, s:o}", "analysis", plan->analysis, "verdict", nof1_rc_code(rc),
                     "refusals", refusals);
    return *out == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}

static const struct nof1_option *find_option(const struct nof1_analysis *analysis, const char *key)
{
    for (const struct nof1_option *o = analysis->option; o->key != NULL; ++o) {
        if (strcmp(o->key, key) == 0) {
            return o;
        }
    }
    return NULL;
}

/* The other forms of the same question: every choice of `incomplete`. */
static nof1_rc add_alternatives(json_t *list, struct nof1_arena *arena,
                                const struct nof1_charter *charter,
                                const struct nof1_census *census, const struct nof1_plan *plan,
                                int64_t now)
{
    const struct nof1_analysis *analysis = nof1_analysis_find(plan->analysis);
    const struct nof1_option *option =
        analysis == NULL ? NULL : find_option(analysis, "incomplete");
    const char *word = option == NULL ? NULL : option->choices;
    while (word != NULL && *word != '\0') {
        size_t length = strcspn(word, "|");
        const char *choice = nof1_arena_printf(arena, "%.*s", (int)length, word);
        const struct nof1_plan *other = NULL;
        json_t *one = NULL;
        struct nof1_error error = {.rc = NOF1_OK};
        ENSURE(choice != NULL, NOF1_E_NO_MEMORY);
        word += length + (word[length] == '|' ? 1 : 0);
        if (strcmp(choice, "auto") == 0 ||
            nof1_plan_with_option(&other, arena, plan, "incomplete", choice, &error) != NOF1_OK) {
            continue;
        }
        nof1_rc_value rc = assess_one(&one, arena, charter, census, other, now, &error);
        ENSURE(rc != NOF1_E_NO_MEMORY, rc);
        if (rc != NOF1_OK) {
            TRY(not_prepared(&one, other, rc, &error));
        }
        json_object_set_new(one, "incomplete", json_string(choice));
        ENSURE(json_array_append_new(list, one) == 0, NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

nof1_rc_value nof1_assess(json_t **out, const struct nof1_charter *charter,
                          struct nof1_slice census_bytes, const struct nof1_node *node, int64_t now,
                          struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_json_freep) json_t *result = NULL;
    const struct nof1_census *census = NULL;
    const struct nof1_plan *plan = NULL;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    if (census_bytes.length > 0) {
        TRY(nof1_census_read_all(&census, arena, charter, census_bytes, error));
    }
    TRY(nof1_plan_from_yaml(&plan, arena, node, charter, error));
    nof1_rc_value rc = assess_one(&result, arena, charter, census, plan, now, error);
    ENSURE(rc != NOF1_E_NO_MEMORY, rc);
    if (rc != NOF1_OK) {
        struct nof1_error unused = {.rc = NOF1_OK};
        TRY(not_prepared(&result, plan, rc, error == NULL ? &unused : error));
    }
    json_t *alternatives = json_array();
    ENSURE(alternatives != NULL && json_object_set_new(result, "alternatives", alternatives) == 0,
           NOF1_E_NO_MEMORY);
    TRY(add_alternatives(alternatives, arena, charter, census, plan, now));
    *out = json_incref(result);
    return NOF1_OK;
}
