/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One patient's posterior: (tau^2 y + v mu) / (tau^2 + v), averaged over the hyper-posterior of a
 * Bayesian result, or at the estimates of random_effects and mixed_model (empirical Bayes). Reads
 * the vault's store without writing; nothing here reaches a socket.
 */
#include <node/report.h>

#include <math.h>
#include <string.h>

#include <base/json.h>
#include <node/admin.h>
#include <node/store.h>
#include <node/vault.h>
#include <stats/distributions.h>
#include <stats/series.h>
#include <sys/files.h>

#define MOST_RESULT ((size_t)16 << 20)
#define MOST_NODES 100000

/* A node of the hyper-posterior. */
struct hyper { double tau2, sigma2, weight, mean, variance; };
/* The patient's posterior there. */
struct part { double weight, mean, sd; };

struct source {
    struct nof1_arena *arena;
    const struct nof1_charter *charter;
    const struct nof1_trial *trial;
    const json_t *result;
    struct nof1_plan plan;
    struct nof1_study study;
    size_t nodes;
    struct hyper *node;
};

static double number_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static nof1_rc bad_result(struct nof1_error *error, const char *what)
{
    return nof1_fail(error, NOF1_E_INPUT, "the result has no %s: give one of bayes, random_effects "
                                          "or mixed_model", what);
}

/* ---- names ---- */

static const char *name_of(const char *given, const json_t *object, const char *key)
{
    return given != NULL ? given : json_string_value(json_object_get(object, key));
}

static nof1_rc find_names(struct source *s, const struct nof1_report_options *options,
                          struct nof1_error *error)
{
    const json_t *arms = json_object_get(s->result, "treatment");
    const char *outcome = name_of(options->outcome, s->result, "outcome");
    const char *reference = name_of(options->reference, arms, "reference");
    const char *active = name_of(options->active, arms, "active");
    if (outcome == NULL || reference == NULL || active == NULL) {
        return nof1_fail(error, NOF1_E_USAGE, "this result does not name them: give --outcome, "
                                              "--reference and --active");
    }
    s->plan.outcome_name = outcome;
    s->plan.outcome = nof1_charter_outcome(s->charter, outcome);
    s->plan.reference = nof1_charter_treatment(s->charter, reference);
    s->plan.active = nof1_charter_treatment(s->charter, active);
    if (s->plan.outcome == NOF1_NONE || s->plan.reference == NOF1_NONE ||
        s->plan.active == NOF1_NONE) {
        return nof1_fail(error, NOF1_E_INPUT, "the charter lacks outcome %s or treatment %s or %s",
                         outcome, reference, active);
    }
    s->study = (struct nof1_study){.charter = s->charter, .plan = &s->plan};
    return NOF1_OK;
}

static nof1_rc find_trial(struct source *s, const struct nof1_epoch *epoch, const char *patient,
                          struct nof1_error *error)
{
    for (size_t t = 0; t < epoch->trials; t++) {
        if (strcmp(epoch->patient_key[epoch->patient[t]], patient) == 0) {
            s->trial = &epoch->trial[t]; /* the last trial of the patient */
        }
    }
    if (s->trial == NULL) {
        return nof1_fail(error, NOF1_E_NOT_FOUND, "epoch %u has no patient '%s'",
                         (unsigned)epoch->id, patient);
    }
    return NOF1_OK;
}

/* ---- the hyper-posterior ---- */

/* Effects of the patient's stratum, or the common ones. */
static const json_t *effects_of(const struct source *s, const json_t *grid)
{
    const json_t *effects = json_object_get(grid, "effects");
    const char *stratum = s->charter->stratum_covariate;
    if (json_array_size(effects) < 2 || stratum == NULL || s->trial->rows == 0) {
        return json_array_get(effects, 0);
    }
    size_t index = nof1_charter_covariate(s->charter, stratum);
    double level = index == NOF1_NONE ? NAN : s->trial->covariate[index][0];
    for (size_t e = 0; e < json_array_size(effects) && level >= 0.0; e++) {
        const json_t *one = json_array_get(effects, e);
        const char *name = json_string_value(json_object_get(one, "stratum"));
        const struct nof1_covariate *covariate = &s->charter->covariate[index];
        if (name != NULL && level < (double)covariate->levels &&
            strcmp(name, covariate->level[(size_t)level]) == 0) {
            return one;
        }
    }
    return NULL;
}

static nof1_rc read_grid(struct source *s, const json_t *grid, struct nof1_error *error)
{
    const json_t *tau = json_object_get(grid, "tau"), *effects = effects_of(s, grid);
    const json_t *column[4] = {json_object_get(grid, "sigma.squared"),
                               json_object_get(grid, "weight"), json_object_get(effects, "mu.mean"),
                               json_object_get(effects, "mu.variance")};
    s->nodes = json_array_size(tau);
    if (s->nodes == 0 || s->nodes > MOST_NODES) {
        return bad_result(error, "hyper-posterior for this patient");
    }
    s->node = nof1_arena_alloc(s->arena, s->nodes, sizeof *s->node);
    ENSURE(s->node != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < s->nodes; i++) {
        double value[4], t = json_number_value(json_array_get(tau, i));
        for (size_t c = 0; c < 4; c++) {
            const json_t *cell = json_array_get(column[c], i);
            if (!json_is_number(cell)) {
                return bad_result(error, "complete hyper-posterior for this patient");
            }
            value[c] = json_number_value(cell);
        }
        s->node[i] = (struct hyper){t * t, value[0], value[1], value[2], value[3]};
    }
    return NOF1_OK;
}

/* sigma^2 and tau^2 of a mixed model's variance components. */
static void components_of(struct hyper *node, const json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *group = json_string_value(json_object_get(row, "group"));
        const char *term = json_string_value(json_object_get(row, "term1"));
        bool single = json_string_value(json_object_get(row, "term2")) == NULL;
        if (group != NULL && strcmp(group, "Residual") == 0) {
            node->sigma2 = number_at(row, "estimate");
        } else if (single && term != NULL && strcmp(term, "treatment") == 0) {
            node->tau2 = number_at(row, "estimate");
        }
    }
}

static nof1_rc read_hyper(struct source *s, struct nof1_error *error)
{
    const json_t *grid = json_object_get(s->result, "hyper_posterior");
    if (grid != NULL) {
        return read_grid(s, grid, error);
    }
    const json_t *rows = json_object_get(s->result, "estimates");
    struct hyper *node = nof1_arena_alloc(s->arena, 1, sizeof *node);
    ENSURE(node != NULL, NOF1_E_NO_MEMORY);
    *node = (struct hyper){NAN, NAN, 1.0, NAN, NAN};
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *term = json_string_value(json_object_get(row, "term"));
        if (term != NULL && strcmp(term, "treatment") == 0) {
            node->mean = number_at(row, "estimate");
            node->variance = pow(number_at(row, "std.error"), 2.0);
        }
    }
    node->tau2 = number_at(json_object_get(s->result, "heterogeneity"), "tau.squared");
    node->sigma2 = number_at(json_object_get(s->result, "within"), "sigma.squared");
    components_of(node, json_object_get(s->result, "variance_components"));
    if (!(node->tau2 >= 0.0) || !(node->sigma2 >= 0.0) || isnan(node->mean) ||
        !(node->variance >= 0.0)) {
        return bad_result(error, "effect with its variances between and within patients");
    }
    s->node = node;
    s->nodes = 1;
    return NOF1_OK;
}

/* ---- the patient's own numbers ---- */

/* Values of one period in one mean. rows come in order of period. */
static nof1_rc read_periods(struct nof1_report *report, const struct source *s,
                            const struct nof1_series *series)
{
    struct nof1_report_period *period =
        nof1_arena_alloc(s->arena, series->rows + 1, sizeof *period);
    ENSURE(period != NULL, NOF1_E_NO_MEMORY);
    double centre = s->charter->outcome[s->plan.outcome].centre;
    for (size_t i = 0; i < series->rows; i++) {
        struct nof1_report_period *last =
            report->periods == 0 ? NULL : &period[report->periods - 1];
        bool same = last != NULL && series->period[i] != 0 && last->period == series->period[i] &&
                    last->arm == series->arm[i];
        if (!same) {
            last = &period[report->periods++];
            *last = (struct nof1_report_period){.cycle = series->cycle[i],
                                                .period = series->period[i],
                                                .arm = series->arm[i]};
        }
        last->mean += (series->y[i] + centre - last->mean) / (double)++last->rows;
    }
    report->period = period;
    return NOF1_OK;
}

/* The difference y and u = var(y) / sigma^2, as the result's form takes them. */
static nof1_rc own_effect(double *y, double *u, const struct source *s,
                          const struct nof1_series *series, struct nof1_error *error)
{
    const char *form = json_string_value(json_object_get(s->result, "form"));
    bool cycles = form != NULL && (strcmp(form, "cycles") == 0 || strcmp(form, "exclude") == 0);
    bool periods = form != NULL && strcmp(form, "pool") == 0;
    struct nof1_period_difference p;
    struct nof1_cycle_difference c;
    nof1_period_difference(&p, series);
    nof1_cycle_difference(&c, series);
    if (series->n[0] == 0 || series->n[1] == 0 || (cycles && c.k == 0)) {
        return nof1_fail(error, NOF1_E_MODEL, "the patient's rows do not compare both treatments");
    }
    if (cycles) {
        *y = c.d;
        *u = 1.0 / (double)c.k;
    } else if (periods) {
        *y = p.d;
        *u = 1.0 / (double)p.k[0] + 1.0 / (double)p.k[1];
    } else { /* rows: sigma^2 is a row's */
        double sum[2] = {0.0, 0.0};
        for (size_t i = 0; i < series->rows; i++) {
            sum[series->arm[i] == 1] += series->arm[i] < 2 ? series->y[i] : 0.0;
        }
        *y = sum[1] / (double)series->n[1] - sum[0] / (double)series->n[0];
        *u = 1.0 / (double)series->n[0] + 1.0 / (double)series->n[1];
    }
    bool pooled = strcmp(form == NULL ? "" : form, "cycles") == 0 &&
                  json_object_get(s->result, "variance_components") != NULL;
    *u *= pooled ? 2.0 : 1.0; /* mixed_model's sigma^2 is a period's, not a difference's */
    return NOF1_OK;
}

/* ---- posterior ---- */

struct mixture { size_t parts; const struct part *part; double probability; };

static double below(double t, void *context)
{
    const struct mixture *m = context;
    double sum = 0.0;
    for (size_t i = 0; i < m->parts; i++) {
        const struct part *part = &m->part[i];
        sum += part->weight * (part->sd > 0.0 ? nof1_normal_lower((t - part->mean) / part->sd)
                                              : (t >= part->mean ? 1.0 : 0.0));
    }
    return sum - m->probability;
}

static double quantile(struct mixture mixture, double mean, double sd, double probability)
{
    double out = NAN;
    mixture.probability = probability;
    if (!(sd > 0.0)) {
        return mean;
    }
    return nof1_root(&out, below, &mixture, mean - 40.0 * sd, mean + 40.0 * sd, 1e-10) == NOF1_OK
               ? out
               : NAN;
}

/* Mean and interval of a mixture of normals whose weights sum to 1. */
static void summarise(double *mean, double *sd, double *low, double *high, struct mixture mixture,
                      double level)
{
    double variance = 0.0;
    *mean = 0.0;
    for (size_t i = 0; i < mixture.parts; i++) {
        *mean += mixture.part[i].weight * mixture.part[i].mean;
    }
    for (size_t i = 0; i < mixture.parts; i++) {
        double e = mixture.part[i].mean - *mean;
        variance += mixture.part[i].weight * (e * e + mixture.part[i].sd * mixture.part[i].sd);
    }
    *sd = sqrt(variance);
    *low = quantile(mixture, *mean, *sd, 0.5 * (1.0 - level));
    *high = quantile(mixture, *mean, *sd, 0.5 * (1.0 + level));
}

static nof1_rc shrink(struct nof1_report *report, const struct source *s, double y, double u)
{
    struct part *part = nof1_arena_alloc(s->arena, 2 * s->nodes, sizeof *part);
    ENSURE(part != NULL, NOF1_E_NO_MEMORY);
    struct part *average = part + s->nodes;
    double total = 0.0, sigma2 = 0.0, unused;
    for (size_t i = 0; i < s->nodes; i++) {
        total += s->node[i].weight;
    }
    for (size_t i = 0; i < s->nodes; i++) {
        const struct hyper *node = &s->node[i];
        double v = node->sigma2 * u, weight = node->weight / total;
        double b = node->tau2 > 0.0 ? v / (v + node->tau2) : 1.0;
        part[i] = (struct part){weight, (1.0 - b) * y + b * node->mean,
                                sqrt((1.0 - b) * v + b * b * node->variance)};
        average[i] = (struct part){weight, node->mean, sqrt(node->variance)};
        report->borrowed += weight * b;
        sigma2 += weight * node->sigma2;
    }
    struct mixture mine = {s->nodes, part, 0.0}, others = {s->nodes, average, 0.0};
    summarise(&report->mean, &report->sd, &report->low, &report->high, mine, report->level);
    summarise(&report->others, &unused, &report->others_low, &report->others_high, others,
              report->level);
    double half = nof1_normal_quantile(0.5 * (1.0 - report->level)) * sqrt(sigma2 * u);
    report->own = y;
    report->own_low = y - half;
    report->own_high = y + half;
    report->benefit_chance = report->mcid_chance = NAN;
    if (report->benefit != 0) {
        double side = report->benefit > 0 ? 1.0 : 0.0, sign = report->benefit > 0 ? -1.0 : 1.0;
        report->benefit_chance = side + sign * below(0.0, &mine);
        report->mcid_chance =
            side + sign * below((double)report->benefit * report->mcid, &mine);
    }
    return NOF1_OK;
}

/* ---- the command ---- */

static nof1_rc read_result(json_t **out, const char *path, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    TRY(nof1_file_read(&bytes, path, MOST_RESULT, error));
    *out = json_loadb((const char *)bytes.data, bytes.length, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(*out)) {
        return nof1_fail_at(error, NOF1_E_INPUT, path, 0, 0,
                            "not a result as JSON (nof1 result QUERY --json)");
    }
    return NOF1_OK;
}

static nof1_rc read_mcid(double *out, const struct nof1_report_options *options,
                         const json_t *result, struct nof1_error *error)
{
    double published = number_at(result, "mcid");
    *out = published >= 0.0 ? published : 0.0;
    if (options->mcid != NULL && (!nof1_double_read(out, options->mcid) || *out < 0.0)) {
        return nof1_fail(error, NOF1_E_USAGE, "--mcid: a number not below 0");
    }
    return NOF1_OK;
}

static nof1_rc make(struct nof1_report *report, struct source *s,
                    const struct nof1_report_options *options, struct nof1_error *error)
{
    struct nof1_series series;
    double y = 0.0, u = 1.0;
    TRY(find_names(s, options, error));
    TRY(read_hyper(s, error));
    void *scratch =
        nof1_arena_alloc(s->arena, s->trial->rows * NOF1_SERIES_SCRATCH_ROW + 16, 1);
    ENSURE(scratch != NULL, NOF1_E_NO_MEMORY);
    nof1_series_of(&series, &s->study, s->trial, scratch);
    const struct nof1_outcome *outcome = &s->charter->outcome[s->plan.outcome];
    *report = (struct nof1_report){.patient = options->patient,
                                   .outcome = outcome->name,
                                   .unit = outcome->unit == NULL ? "" : outcome->unit,
                                   .reference = s->charter->treatment[s->plan.reference],
                                   .active = s->charter->treatment[s->plan.active],
                                   .benefit = outcome->benefit,
                                   .level = 0.95};
    TRY(read_mcid(&report->mcid, options, s->result, error));
    TRY(read_periods(report, s, &series));
    TRY(own_effect(&y, &u, s, &series, error));
    return shrink(report, s, y, u);
}

nof1_rc_value nof1_node_report(struct nof1_buffer *out, const struct nof1_report_options *options,
                               struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_store_closep) struct nof1_store *store = NULL;
    NOF1_CLEANUP(nof1_json_freep) json_t *result = NULL;
    struct source source = {.arena = arena};
    struct nof1_epoch epoch = {0};
    struct nof1_slice bytes;
    struct nof1_report report;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const char *charter = nof1_arena_printf(arena, "%s/%s", options->folder, NOF1_NODE_CHARTER);
    const char *database = nof1_arena_printf(arena, "%s/%s", options->folder, NOF1_SITE_STORE);
    ENSURE(charter != NULL && database != NULL, NOF1_E_NO_MEMORY);
    TRY(read_result(&result, options->result, error));
    source.result = result;
    TRY(nof1_node_charter(&source.charter, &bytes, arena, charter, error));
    TRY(nof1_store_open_read(&store, database, error));
    TRY(nof1_epoch_load(&epoch, arena, store, source.charter, error));
    TRY(find_trial(&source, &epoch, options->patient, error));
    TRY(make(&report, &source, options, error));
    return options->json ? nof1_report_json(out, &report) : nof1_report_page(out, &report);
}
