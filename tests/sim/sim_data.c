/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The study of a simulated consortium: a charter written and read like any other, keys made once
 * for the process, and generated trials of one patient each (three cycles of A and B in random
 * order; with `missing`: lost periods, trials of one arm, one site without patients).
 */
#include "sim_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/census.h>
#include <core/charter.h>
#include <core/plan.h>

#define PERIODS 6

/* ---- keys ------------------------------------------------------------------------------------ */

struct nof1_key *const *sim_keys(size_t count)
{
    static struct nof1_key **made;
    static size_t number;
    if (number < count) {
        made = realloc(made, count * sizeof *made);
        SIM_MUST(made != NULL);
    }
    for (; number < count; number++) {
        SIM_MUST(nof1_key_generate(&made[number]) == NOF1_OK);
    }
    return made;
}

/* ---- the charter ----------------------------------------------------------------------------- */

static void print_key(struct nof1_buffer *text, const struct nof1_key *key)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer spki = {0};
    SIM_MUST(nof1_key_spki(&spki, key) == NOF1_OK);
    for (size_t i = 0; i < spki.length; i++) {
        SIM_MUST(nof1_buffer_printf(text, "%02x", spki.data[i]) == NOF1_OK);
    }
}

#define PRINT(...) SIM_MUST(nof1_buffer_printf(text, __VA_ARGS__) == NOF1_OK)

static void print_sites(struct nof1_buffer *text, const struct sim *sim)
{
    PRINT("sites:\n");
    for (size_t s = 0; s < sim->options.sites; s++) {
        PRINT("  site%03zu: {patient_cap: %zu, edge: \"spiffe://sim/site%03zu\", vault_key: \"",
              s, sim->options.patients, s);
        print_key(text, sim->key[s]);
        PRINT("\"}\n");
    }
}

static void print_blocks(struct nof1_buffer *text, const struct sim_options *options)
{
    size_t size = options->block_sites == 0 ? options->sites : options->block_sites;
    size_t blocks = options->sites / size == 0 ? 1 : options->sites / size;
    PRINT("blocks:\n");
    for (size_t b = 0; b < blocks; b++) {
        size_t end = b + 1 == blocks ? options->sites : (b + 1) * size;
        PRINT("  b%03zu: [", b);
        for (size_t s = b * size; s < end; s++) {
            PRINT("%ssite%03zu", s == b * size ? "" : ", ", s);
        }
        PRINT("]\n");
    }
}

static void print_people(struct nof1_buffer *text, const struct sim *sim)
{
    PRINT("statisticians: {ada: {spiffe: \"spiffe://sim/ada\", key: \"");
    print_key(text, sim->key[sim->options.sites + 1]);
    PRINT("\"}}\ncoordinator: {id: coordinator, spiffe: \"spiffe://sim/coordinator\", key: \"");
    print_key(text, sim->key[sim->options.sites]);
    PRINT("\"}\n");
}

static const char *allowed(const struct sim_options *options)
{
    return options->analyses != NULL ? options->analyses
           : nof1_analysis_find("random_effects") != NULL ? "[random_effects, mixed_model]"
                                                          : "[mixed_model]";
}

static void print_charter(struct nof1_buffer *text, const struct sim *sim)
{
    const struct sim_options *options = &sim->options;
    PRINT("study: sim\nversion: %u\nlab: %s\neffective: 2026-01-01T00:00:00Z\n",
          sim->charter == NULL ? 1 : sim->charter->version + 1,
          options->preset == NULL ? "true" : "false");
    PRINT("preset: %s\n", options->preset == NULL ? "open" : options->preset);
    if (options->limits != NULL) {
        PRINT("limits: %s\n", options->limits);
    }
    PRINT("treatments: [\"A\", \"B\"]\n"
          "outcomes:\n"
          "  y: {kind: continuous, unit: points, bounds: [-1000, 1000], centre: 50,\n"
          "      sd_within: 5, sd_between: 5, benefit: lower}\n"
          "covariates:\n  sex: {kind: factor, levels: [F, M], within: false}\n"
          "strata: sex\n"
          "classes: {\"3x3\": {n: [3, 3], periods: [1, 2, 3, 4, 5, 6]}}\n"
          "max_periods: 3\nmax_cycles: 3\nlambdas: [0.25, 2]\nbeta_box: 1\n"
          "variance_ratio_box: 1000000\nanalysis_set: both_arms\nmissing: centre\n"
          "analyses: %s\n",
          allowed(options));
    print_sites(text, sim);
    print_blocks(text, options);
    print_people(text, sim);
}

static void make_charter(struct sim *sim)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_charter *draft = NULL;
    char message[1024];
    print_charter(&text, sim);
    nof1_rc_value rc =
        nof1_yaml_read(&node, sim->arena, "charter", nof1_buffer_slice(&text), &error);
    rc = rc != NOF1_OK ? rc : nof1_charter_from_node(&draft, sim->arena, node, &error);
    rc = rc != NOF1_OK ? rc : nof1_charter_canonical(&bytes, draft);
    rc = rc != NOF1_OK
             ? rc
             : nof1_charter_read(&sim->charter, sim->arena, nof1_buffer_slice(&bytes), &error);
    if (rc != NOF1_OK) {
        nof1_error_text(&error, message, sizeof message);
        fprintf(stderr, "sim: the charter: %s %s\n", nof1_rc_code(rc), message);
    }
    SIM_MUST(rc == NOF1_OK);
    sim->charter_bytes = nof1_arena_copy(sim->arena, nof1_buffer_slice(&bytes));
}

void sim_next_charter(struct sim *sim)
{
    make_charter(sim);
    for (size_t node = 0; node <= sim->options.sites; node++) {
        sim_crash(sim, node, 10);
    }
}

/* ---- the trials ------------------------------------------------------------------------------ */

static void *room(struct sim *sim, size_t count, size_t size)
{
    void *memory = nof1_arena_alloc(sim->arena, count == 0 ? 1 : count, size);
    SIM_MUST(memory != NULL);
    return memory;
}

static bool chance(struct sim *sim, double probability)
{
    return test_random_uniform(&sim->random) < probability;
}

static void fill_rows(struct sim *sim, int32_t *cycle, int32_t *period, double *time,
                      uint8_t *treatment, double *y)
{
    bool lossy = sim->options.missing && chance(sim, 0.4);
    bool one_arm = sim->options.missing && chance(sim, 0.05);
    double patient = 50 + 5 * test_random_normal(&sim->random);
    double effect = 1 + test_random_normal(&sim->random);
    for (size_t c = 0; c < PERIODS / 2; c++) {
        bool b_first = chance(sim, 0.5);
        for (size_t k = 0; k < 2; k++) {
            size_t row = 2 * c + k;
            bool b = (k == 0) == b_first;
            cycle[row] = (int32_t)c + 1;
            period[row] = (int32_t)row + 1;
            time[row] = 7.0 * (double)row;
            treatment[row] = b ? 1 : 0;
            y[row] = patient + (b ? effect : 0) + 2 * test_random_normal(&sim->random);
            if ((lossy && chance(sim, 0.3)) || (one_arm && b)) {
                y[row] = NAN;
            }
        }
    }
}

static struct nof1_trial make_trial(struct sim *sim)
{
    int32_t *cycle = room(sim, PERIODS, sizeof *cycle);
    int32_t *period = room(sim, PERIODS, sizeof *period);
    double *time = room(sim, PERIODS, sizeof *time);
    uint8_t *treatment = room(sim, PERIODS, sizeof *treatment);
    double *y = room(sim, PERIODS, sizeof *y);
    double *sex = room(sim, PERIODS, sizeof *sex);
    const double **outcome = room(sim, 1, sizeof *outcome);
    const double **variance = room(sim, 1, sizeof *variance);
    const double **covariate = room(sim, 1, sizeof *covariate);
    double level = chance(sim, 0.5) ? 1 : 0;
    fill_rows(sim, cycle, period, time, treatment, y);
    for (size_t row = 0; row < PERIODS; row++) {
        sex[row] = level;
    }
    outcome[0] = y;
    covariate[0] = sex;
    return (struct nof1_trial){.rows = PERIODS, .cycle = cycle, .period = period, .time = time,
                               .treatment = treatment, .outcome = outcome, .variance = variance,
                               .covariate = covariate};
}

static void make_epoch(struct sim *sim, size_t site)
{
    bool empty = sim->options.missing && site == 1;
    size_t patients = empty ? 0 : sim->options.patients;
    struct nof1_trial *trial = room(sim, patients, sizeof *trial);
    uint32_t *patient = room(sim, patients, sizeof *patient);
    const char **key = room(sim, patients, sizeof *key);
    for (size_t p = 0; p < patients; p++) {
        trial[p] = make_trial(sim);
        patient[p] = (uint32_t)p;
        key[p] = nof1_arena_printf(sim->arena, "site%03zu/p%zu", site, p);
    }
    sim->epoch[site] = (struct nof1_epoch){.id = 1, .trials = patients, .patients = patients,
                                           .trial = trial, .patient = patient,
                                           .patient_key = key, .trial_key = key};
}

void sim_change_trials(struct sim *sim, size_t site, size_t changed)
{
    struct nof1_epoch *epoch = &sim->epoch[site];
    struct nof1_trial *trial = room(sim, epoch->trials, sizeof *trial);
    for (size_t t = 0; t < epoch->trials; t++) {
        trial[t] = epoch->trial[t];
        if (t < changed) {
            double *y = room(sim, PERIODS, sizeof *y);
            const double **outcome = room(sim, 1, sizeof *outcome);
            for (size_t row = 0; row < PERIODS; row++) {
                y[row] = trial[t].outcome[0][row] + 6 * trial[t].treatment[row];
            }
            outcome[0] = y;
            trial[t].outcome = outcome;
        }
    }
    epoch->trial = trial;
}

void sim_make_study(struct sim *sim)
{
    size_t sites = sim->options.sites;
    struct nof1_key *const *keys = sim_keys(sites + 2);
    sim->key = room(sim, sites + 2, sizeof *sim->key);
    memcpy(sim->key, keys, (sites + 2) * sizeof *keys);
    sim->epoch = room(sim, sites, sizeof *sim->epoch);
    sim->secret = room(sim, sites, sizeof *sim->secret);
    make_charter(sim);
    for (size_t s = 0; s < sites; s++) {
        make_epoch(sim, s);
        for (size_t i = 0; i < 32; i++) {
            sim->secret[s][i] = (uint8_t)test_random_next(&sim->random);
        }
    }
}

/* ---- plans ----------------------------------------------------------------------------------- */

const char *sim_plan_text(void)
{
    return nof1_analysis_find("random_effects") != NULL
               ? "plan: 1\ntitle: B against A\noutcome: y\n"
                 "treatment: {reference: \"A\", active: [\"B\"]}\n"
                 "analysis: random_effects\ngather_by: 2h\ndeadline: 10m\n"
               : "plan: 1\ntitle: B against A\noutcome: y\n"
                 "treatment: {reference: \"A\", active: [\"B\"]}\n"
                 "analysis: mixed_model\nfixed: [treatment]\nrandom: {trial: [intercept]}\n"
                 "gather_by: 2h\ndeadline: 10m\n";
}

/* The atoms and epochs that the coordinator publishes for the plan's outcome family. */
static void name_atoms(struct sim *sim, struct nof1_plan *plan)
{
    json_t *families = nof1_coordinator_atoms(sim_coordinator(sim));
    json_t *family = json_object_get(families, sim->charter->outcome[plan->outcome].family);
    json_t *keys = json_object_get(family, "atoms"), *epochs = json_object_get(family, "epochs");
    const char **atom = room(sim, json_array_size(keys), sizeof *atom);
    uint32_t *epoch = room(sim, sim->charter->blocks, sizeof *epoch);
    for (size_t i = 0; i < json_array_size(keys); i++) {
        atom[i] = nof1_arena_text(sim->arena, json_string_value(json_array_get(keys, i)));
    }
    for (size_t b = 0; b < sim->charter->blocks; b++) {
        epoch[b] = (uint32_t)json_integer_value(
            json_object_get(epochs, sim->charter->block[b].id));
    }
    plan->atoms = json_array_size(keys);
    plan->atom = atom;
    plan->block_epoch = epoch;
    json_decref(families);
}

static nof1_rc complete_plan(struct sim *sim, struct nof1_buffer *bytes, const char *yaml,
                             size_t blocks, const size_t *block, const uint32_t *epoch,
                             struct nof1_error *error)
{
    const struct nof1_node *node = NULL;
    const struct nof1_plan *plan = NULL;
    const struct nof1_census *census = NULL;
    struct nof1_plan named;
    TRY(nof1_yaml_read(&node, sim->arena, "plan", nof1_slice_text(yaml), error));
    TRY(nof1_plan_from_yaml(&plan, sim->arena, node, sim->charter, error));
    TRY(nof1_census_read_all(&census, sim->arena, sim->charter,
                             nof1_coordinator_census(sim_coordinator(sim)), error));
    named = *plan;
    name_atoms(sim, &named);
    named.block_epoch = epoch == NULL ? named.block_epoch : epoch;
    named.blocks = blocks;
    named.block = block;
    return nof1_query_complete(bytes, sim->charter, census, &named,
                               (SIM_START + sim->now) / 1000, error);
}

struct nof1_slice sim_plan(struct sim *sim, const char *yaml)
{
    return sim_plan_on(sim, yaml, 0, NULL);
}

static struct nof1_slice make_plan(struct sim *sim, const char *yaml, size_t blocks,
                                   const size_t *block, const uint32_t *epoch)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    struct nof1_error error = {0};
    char message[1024];
    SIM_MUST(sim_coordinator(sim) != NULL);
    nof1_rc_value rc = complete_plan(sim, &bytes, yaml == NULL ? sim_plan_text() : yaml, blocks,
                                     block, epoch, &error);
    if (rc != NOF1_OK) {
        nof1_error_text(&error, message, sizeof message);
        fprintf(stderr, "sim: the plan: %s %s\n", nof1_rc_code(rc), message);
    }
    SIM_MUST(rc == NOF1_OK);
    return nof1_arena_copy(sim->arena, nof1_buffer_slice(&bytes));
}

struct nof1_slice sim_plan_on(struct sim *sim, const char *yaml, size_t blocks, const size_t *block)
{
    return make_plan(sim, yaml, blocks, block, NULL);
}

struct nof1_slice sim_plan_at(struct sim *sim, const char *yaml, const uint32_t *block_epoch)
{
    return make_plan(sim, yaml, 0, NULL, block_epoch);
}

/* ---- what tests may look at ------------------------------------------------------------------ */

const struct nof1_charter *sim_charter(const struct sim *sim)
{
    return sim->charter;
}

struct nof1_slice sim_charter_bytes(const struct sim *sim)
{
    return sim->charter_bytes;
}

const struct nof1_key *sim_site_key(const struct sim *sim, size_t site)
{
    return sim->key[site];
}

const struct nof1_key *sim_statistician_key(const struct sim *sim)
{
    return sim->key[sim->options.sites + 1];
}

struct nof1_epoch *sim_epoch(struct sim *sim, size_t site)
{
    return &sim->epoch[site];
}

struct nof1_site *sim_site(struct sim *sim, size_t site)
{
    return sim->node[site].site;
}

struct nof1_coordinator *sim_coordinator(struct sim *sim)
{
    return sim->node[sim->options.sites].coordinator;
}

struct test_random *sim_random(struct sim *sim)
{
    return &sim->random;
}
