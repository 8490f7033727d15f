/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Deriving the lab's charter: see lab_charter.h. Dictionary and people here; design classes in
 * lab_classes.c.
 */
#include <tools/lab_charter.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/json.h>
#include <core/charter.h>
#include <core/policy.h>
#include <node/sources/number.h>
#include <nof1/analysis.h>
#include <nof1/trial.h>
#include <tools/lab_classes.h>

#define MOST_LEVELS 256
#define LAB_BETA_BOX 0x1p40 /* open: covariates of any unit, however far from zero */

/* All observed values of one column over the sources. */
struct values {
    size_t count, capacity;
    double *value;
};

static nof1_rc add_value(struct values *values, double value)
{
    if (values->count == values->capacity) {
        size_t capacity = values->capacity == 0 ? 256 : values->capacity * 2;
        double *larger = realloc(values->value, capacity * sizeof *larger);
        ENSURE(larger != NULL, NOF1_E_NO_MEMORY);
        values->value = larger;
        values->capacity = capacity;
    }
    values->value[values->count++] = value;
    return NOF1_OK;
}

static void free_values(struct values *values)
{
    free(values->value);
}

static int compare_values(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* value to `digits` significant digits, as a person would write it. */
static double to_digits(double value, int digits)
{
    char text[64];
    double out = value;
    snprintf(text, sizeof text, "%.*e", digits - 1, value);
    return nof1_double_read(&out, text) ? out : value;
}

/* Bounds 4x the range and the median to 2 digits within them. Sorts the values. */
static void derive_bounds(struct values *values, double *lower, double *upper, double *centre)
{
    qsort(values->value, values->count, sizeof *values->value, compare_values);
    double least = values->count == 0 ? 0.0 : values->value[0];
    double most = values->count == 0 ? 0.0 : values->value[values->count - 1];
    double median = values->count == 0 ? 0.0 : values->value[(values->count - 1) / 2];
    double range = most > least ? most - least : 1.0;
    double middle = least + (most - least) / 2;
    *lower = to_digits(middle - 2 * range, 6);
    *upper = to_digits(middle + 2 * range, 6);
    if (!(*lower <= least - range) || !(*upper >= most + range)) { /* a large offset */
        *lower = middle - 2 * range;
        *upper = middle + 2 * range;
    }
    *centre = fmin(fmax(to_digits(median, 2), *lower), *upper);
}

static const struct nof1_table_outcome *find_outcome(const struct nof1_table *table,
                                                     const char *name)
{
    for (size_t k = 0; k < table->outcomes; ++k) {
        if (strcmp(table->outcome[k].name, name) == 0) {
            return &table->outcome[k];
        }
    }
    return NULL;
}

/* An imported table's own errors tell the sd within trials: its smallest. */
static double least_error(const struct nof1_lab_derive *from, const char *name)
{
    double least = INFINITY;
    for (size_t s = 0; s < from->sources; ++s) {
        const struct nof1_table *table = from->source[s].table;
        const struct nof1_table_outcome *outcome = find_outcome(table, name);
        for (size_t r = 0; outcome != NULL && outcome->variance != NULL && r < table->rows; ++r) {
            least = fmin(least, outcome->variance[r]); /* NAN is missing: fmin passes it over */
        }
    }
    return isfinite(least) ? to_digits(sqrt(least), 1) : 0;
}

/* Sums for the planning sds: of trials' means, and within arms of trials. */
struct spread {
    double n, mean, squares;  /* Welford over trials' means */
    double within, within_df; /* about the arm's mean in the trial */
    double trial, trial_df;   /* about the trial's mean: for trials with one row an arm */
};

static void spread_trial(struct spread *spread, const struct nof1_table *table,
                         const struct nof1_table_outcome *outcome, size_t trial)
{
    double sum[NOF1_TREATMENTS_MAX + 1] = {0};
    double squares[NOF1_TREATMENTS_MAX + 1] = {0};
    double count[NOF1_TREATMENTS_MAX + 1] = {0};
    double all = 0;
    double total = 0;
    double everything = 0;
    size_t first = table->first[trial];
    double about = spread->n > 0 ? spread->mean : 0; /* near the data, so that no digit is lost */
    for (size_t r = first; r < table->first[trial + 1]; ++r) {
        double y = outcome->value[r] - about;
        size_t arm =
            table->treatment[r] < NOF1_TREATMENTS_MAX ? table->treatment[r] : NOF1_TREATMENTS_MAX;
        if (isnan(y)) {
            continue;
        }
        sum[arm] += y;
        squares[arm] += y * y;
        count[arm] += 1;
        total += y;
        everything += y * y;
        all += 1;
    }
    for (size_t arm = 0; arm <= NOF1_TREATMENTS_MAX; ++arm) {
        if (count[arm] > 1) {
            spread->within += fmax(squares[arm] - sum[arm] * sum[arm] / count[arm], 0);
            spread->within_df += count[arm] - 1;
        }
    }
    if (all > 0) {
        double mean = about + total / all;
        double step = mean - spread->mean;
        spread->trial += fmax(everything - total * total / all, 0);
        spread->trial_df += all - 1;
        spread->n += 1;
        spread->mean += step / spread->n;
        spread->squares += step * (mean - spread->mean);
    }
}

static nof1_rc derive_outcome(struct nof1_outcome *out, const struct nof1_lab_derive *from,
                              const struct nof1_table_outcome *first, struct nof1_arena *arena)
{
    NOF1_CLEANUP(free_values) struct values values = {0};
    struct spread spread = {0};
    unsigned decimals = 0;
    for (size_t s = 0; s < from->sources; ++s) {
        const struct nof1_table *table = from->source[s].table;
        const struct nof1_table_outcome *outcome = find_outcome(table, first->name);
        if (outcome == NULL) {
            continue;
        }
        decimals = outcome->decimals > decimals ? outcome->decimals : decimals;
        for (size_t r = 0; r < table->rows; ++r) {
            if (!isnan(outcome->value[r])) {
                TRY(add_value(&values, outcome->value[r]));
            }
        }
        for (size_t t = 0; t < table->trials; ++t) {
            spread_trial(&spread, table, outcome, t);
        }
    }
    const char *name = nof1_arena_text(arena, first->name);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    *out = (struct nof1_outcome){.name = name, .kind = first->kind, .unit = "", .family = name};
    derive_bounds(&values, &out->lower, &out->upper, &out->centre);
    bool continuous = out->kind == NOF1_CONTINUOUS || out->kind == NOF1_EFFECT;
    static const double step[] = {1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};
    out->quantum = !continuous ? 1 : decimals <= 6 ? step[decimals] : 0;
    out->quantum =
        out->kind == NOF1_EFFECT || out->quantum > out->upper - out->lower ? 0 : out->quantum;
    if (out->kind == NOF1_BINARY) {
        out->lower = 0;
        out->upper = 1;
        out->centre = 0;
    } else if (out->kind == NOF1_COUNT) {
        out->lower = 0;
        out->upper = ceil(out->upper);
        out->centre = fmax(out->centre, 0);
    } else if (out->kind == NOF1_ORDINAL && values.count > 0) { /* its categories */
        out->lower = values.value[0];
        out->upper = fmax(values.value[values.count - 1], out->lower + 1);
    }
    bool arms = spread.within_df > 0 && spread.within > 0;
    double within =
        arms ? spread.within / spread.within_df : spread.trial / fmax(spread.trial_df, 1);
    out->sd_within = to_digits(sqrt(within), 1);
    if (out->kind == NOF1_EFFECT) {
        out->sd_within = least_error(from, first->name);
    }
    out->sd_between = spread.n > 1 ? to_digits(sqrt(spread.squares / (spread.n - 1)), 1) : 0;
    if (out->kind != NOF1_EFFECT) { /* few degrees of freedom give more than bounds allow */
        double most = (out->upper - out->lower) / 2;
        out->sd_within = fmin(out->sd_within, most);
        out->sd_between = fmin(out->sd_between, most);
    }
    return NOF1_OK;
}

static nof1_rc derive_outcomes(struct nof1_charter *charter, struct nof1_arena *arena,
                               const struct nof1_lab_derive *from)
{
    const struct nof1_table *table = from->source[0].table;
    struct nof1_outcome *outcome = nof1_arena_alloc(arena, table->outcomes + 1, sizeof *outcome);
    ENSURE(outcome != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < table->outcomes; ++k) {
        TRY(derive_outcome(&outcome[k], from, &table->outcome[k], arena));
    }
    charter->outcome = outcome;
    charter->outcomes = table->outcomes;
    return NOF1_OK;
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Sort and drop repetitions. */
static size_t distinct(const char **text, size_t count)
{
    size_t kept = 0;
    qsort(text, count, sizeof *text, compare_texts);
    for (size_t i = 0; i < count; ++i) {
        if (kept == 0 || strcmp(text[i], text[kept - 1]) != 0) {
            text[kept++] = text[i];
        }
    }
    return kept;
}

static bool printable(const char *text)
{
    size_t length = strlen(text);
    for (size_t i = 0; i < length; ++i) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return length > 0 && length <= NOF1_NAME_MAX;
}

static const struct nof1_table_covariate *find_covariate(const struct nof1_table *table,
                                                         const char *name)
{
    for (size_t k = 0; k < table->covariates; ++k) {
        if (strcmp(table->covariate[k].name, name) == 0) {
            return &table->covariate[k];
        }
    }
    return NULL;
}

/* Does it change within a trial? `rows`: a value that some rows of a trial lack counts as a change,
 * because freezing would fill those rows in and a model on the rows as they are leaves them out. */
static bool changes_within(const struct nof1_table *table,
                           const struct nof1_table_covariate *covariate, bool rows)
{
    for (size_t t = 0; t < table->trials; ++t) {
        uint32_t seen = 0;
        for (size_t r = table->first[t]; r < table->first[t + 1]; ++r) {
            uint32_t word = covariate->word[r];
            bool differs = rows ? word != covariate->word[table->first[t]]
                                : word != 0 && seen != 0 && word != seen;
            if (differs) {
                return true;
            }
            seen = word != 0 ? word : seen;
        }
    }
    return false;
}

/* Is it usable, and what are its values? *usable false: no value, or levels no charter can hold. */
static nof1_rc derive_covariate(struct nof1_covariate *out, bool *usable, const char *name,
                                const struct nof1_lab_derive *from, bool rows,
                                struct nof1_arena *arena)
{
    NOF1_CLEANUP(free_values) struct values values = {0};
    size_t words = 0;
    for (size_t s = 0; s < from->sources; ++s) {
        const struct nof1_table_covariate *c = find_covariate(from->source[s].table, name);
        words += c == NULL ? 0 : c->words;
    }
    const char **level = nof1_arena_alloc(arena, words + 1, sizeof *level);
    *out = (struct nof1_covariate){.name = nof1_arena_text(arena, name), .kind = NOF1_NUMERIC};
    ENSURE(level != NULL && out->name != NULL, NOF1_E_NO_MEMORY);
    bool fit = true;
    for (size_t s = 0; s < from->sources; ++s) {
        const struct nof1_table_covariate *c = find_covariate(from->source[s].table, name);
        for (size_t w = 1; c != NULL && w < c->words; ++w) {
            struct nof1_number number;
            if (nof1_number_read(&number, c->text[w], strlen(c->text[w]))) {
                TRY(add_value(&values, number.value));
            } else {
                out->kind = NOF1_FACTOR;
            }
            fit = fit && printable(c->text[w]);
            level[out->levels++] = c->text[w];
        }
        out->varies_within =
            out->varies_within || (c != NULL && changes_within(from->source[s].table, c, rows));
    }
    out->levels = distinct(level, out->levels);
    *usable = out->levels > 0 && (out->kind == NOF1_NUMERIC || (fit && out->levels <= MOST_LEVELS));
    if (out->kind == NOF1_NUMERIC) {
        out->levels = 0;
        derive_bounds(&values, &out->lower, &out->upper, &out->centre);
        if (!rows && values.count > 0) { /* coded in steps: none beyond the values */
            out->lower = values.value[0];
            out->upper = fmax(values.value[values.count - 1], out->lower + 1e-6);
            out->centre = fmin(fmax(out->centre, out->lower), out->upper);
            out->quantum = nof1_covariate_step(out->lower, out->upper);
        }
        return NOF1_OK;
    }
    for (size_t l = 0; *usable && l < out->levels; ++l) {
        level[l] = nof1_arena_text(arena, level[l]);
        ENSURE(level[l] != NULL, NOF1_E_NO_MEMORY);
    }
    out->level = level;
    out->upper = (double)(out->levels - 1);
    return NOF1_OK;
}

static nof1_rc derive_covariates(struct nof1_charter *charter, struct nof1_arena *arena,
                                 const struct nof1_lab_derive *from)
{
    const struct nof1_table *table = from->source[0].table;
    const char *strata = from->stratum == NULL ? "stratum" : from->stratum;
    struct nof1_covariate *covariate =
        nof1_arena_alloc(arena, table->covariates + 1, sizeof *covariate);
    ENSURE(covariate != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < table->covariates; ++k) {
        bool usable = false;
        struct nof1_covariate *here = &covariate[charter->covariates];
        TRY(derive_covariate(here, &usable, table->covariate[k].name, from, charter->limits.open,
                             arena));
        if (usable && strcmp(here->name, strata) == 0 && here->kind == NOF1_FACTOR &&
            !here->varies_within) {
            charter->stratum_covariate = here->name;
            charter->strata = here->levels;
        }
        charter->covariates += usable ? 1 : 0;
    }
    charter->covariate = covariate;
    return NOF1_OK;
}

/* Move the name to place `at`, when it is among those from there on. */
static void move_forward(const char **name, size_t count, size_t at, const char *wanted)
{
    for (size_t k = at; wanted != NULL && k < count; ++k) {
        if (strcmp(name[k], wanted) == 0) {
            const char *found = name[k];
            memmove(name + at + 1, name + at, (k - at) * sizeof *name);
            name[at] = found;
            return;
        }
    }
}

/* Sorted; the plan's reference first, then its active one, because the census counts the patterns
 * of the first two. An imported table of effects has none: the plan's then. */
static nof1_rc derive_treatments(struct nof1_charter *charter, struct nof1_arena *arena,
                                 const struct nof1_lab_derive *from, struct nof1_error *error)
{
    size_t most = 2;
    size_t count = 0;
    for (size_t s = 0; s < from->sources; ++s) {
        most += from->source[s].table->treatments;
    }
    const char **name = nof1_arena_alloc(arena, most + 1, sizeof *name);
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    for (size_t s = 0; s < from->sources; ++s) {
        for (size_t k = 0; k < from->source[s].table->treatments; ++k) {
            name[count++] = from->source[s].table->treatment_name[k];
        }
    }
    if (count == 0) {
        name[count++] = from->reference == NULL ? "reference" : from->reference;
        name[count++] = from->active == NULL ? "active" : from->active;
    }
    count = distinct(name, count);
    for (size_t k = 0; k < count; ++k) {
        if (!printable(name[k])) {
            return nof1_fail(error, NOF1_E_INPUT,
                             "treatment '%.64s': a name of at most %u printable ASCII characters "
                             "expected",
                             name[k], NOF1_NAME_MAX);
        }
        name[k] = nof1_arena_text(arena, name[k]);
        ENSURE(name[k] != NULL, NOF1_E_NO_MEMORY);
    }
    move_forward(name, count, 0, from->reference);
    move_forward(name, count, from->reference == NULL ? 0 : 1, from->active);
    if (count < 2 || count > NOF1_TREATMENTS_MAX) {
        return nof1_fail(error, NOF1_E_INPUT, "the data hold %zu treatments, 2 to %u expected",
                         count, NOF1_TREATMENTS_MAX);
    }
    charter->treatment = name;
    charter->treatments = count;
    return NOF1_OK;
}

static size_t patients_of(const struct nof1_table *table)
{
    const char **patient = calloc(table->trials + 1, sizeof *patient);
    size_t count = table->trials; /* without memory: trials, which are at least the patients */
    if (patient != NULL) {
        memcpy(patient, table->patient, table->trials * sizeof *patient);
        count = distinct(patient, table->trials);
    }
    free(patient);
    return count;
}

static nof1_rc derive_sites(struct nof1_charter *charter, struct nof1_arena *arena,
                            const struct nof1_lab_derive *from, struct nof1_error *error)
{
    struct nof1_member *site = nof1_arena_alloc(arena, from->sources + 1, sizeof *site);
    ENSURE(site != NULL, NOF1_E_NO_MEMORY);
    size_t cap = 1;
    for (size_t s = 0; s < from->sources; ++s) {
        if (!nof1_is_name(from->source[s].site)) {
            return nof1_fail(error, NOF1_E_INPUT,
                             "'%.80s' cannot be a site's name: letters, digits, _ . - expected",
                             from->source[s].site);
        }
        site[s] = (struct nof1_member){.id = nof1_arena_text(arena, from->source[s].site),
                                       .edge_spiffe = ""};
        ENSURE(site[s].id != NULL, NOF1_E_NO_MEMORY);
        size_t patients = patients_of(from->source[s].table);
        cap = patients > cap ? patients : cap;
    }
    for (size_t s = 0; s < from->sources; ++s) {
        site[s].patient_cap = (uint32_t)cap;
    }
    charter->site = site;
    charter->sites = from->sources;
    return NOF1_OK;
}

static nof1_rc derive_blocks(struct nof1_charter *charter, struct nof1_arena *arena)
{
    size_t size = charter->limits.min_block_sites;
    bool one = charter->limits.open || size == 0 || charter->sites < 2 * size;
    size_t blocks = one ? 1 : charter->sites / size;
    struct nof1_block *block = nof1_arena_alloc(arena, blocks, sizeof *block);
    size_t *member = nof1_arena_alloc(arena, charter->sites, sizeof *member);
    ENSURE(block != NULL && member != NULL, NOF1_E_NO_MEMORY);
    for (size_t s = 0; s < charter->sites; ++s) {
        member[s] = s;
    }
    for (size_t b = 0; b < blocks; ++b) {
        size_t first = b * size;
        size_t end = b + 1 == blocks ? charter->sites : first + size;
        block[b] = (struct nof1_block){.id = nof1_arena_printf(arena, "b%zu", b + 1),
                                       .sites = end - first,
                                       .site = member + first};
        ENSURE(block[b].id != NULL, NOF1_E_NO_MEMORY);
    }
    charter->block = block;
    charter->blocks = blocks;
    return NOF1_OK;
}

/* 0, or where all times are far from zero a round number among them. */
static double derive_time_centre(const struct nof1_lab_derive *from)
{
    double least = INFINITY, most = -INFINITY;
    for (size_t s = 0; s < from->sources; ++s) {
        const struct nof1_table *table = from->source[s].table;
        for (size_t i = 0; i < table->rows; ++i) {
            if (!isnan(table->time[i])) {
                least = fmin(least, table->time[i]);
                most = fmax(most, table->time[i]);
            }
        }
    }
    double range = most - least, middle = least + range / 2;
    if (!(range > 0) || fabs(middle) < 100 * range) {
        return 0;
    }
    double step = pow(10, floor(log10(range)));
    return rint(middle / step) * step;
}

static nof1_rc derive_rules(struct nof1_charter *charter, struct nof1_arena *arena,
                            const struct nof1_lab_derive *from)
{
    static const double two[] = {0.1, 1};
    static const double three[] = {0.05, 0.5, 4};
    size_t trials = 0;
    size_t analyses = 0;
    for (size_t s = 0; s < from->sources; ++s) {
        trials += from->source[s].table->trials;
    }
    charter->lambdas = trials < 19 ? 2 : 3; /* three from n = 19: docs/statistics.md */
    charter->lambda = trials < 19 ? two : three;
    charter->time_centre = derive_time_centre(from);
    charter->beta_box = charter->limits.open ? LAB_BETA_BOX : 1;
    charter->variance_ratio_box = 1e6;
    charter->any_arm = charter->limits.open;
    charter->missing = charter->limits.open ? NOF1_MISSING_ROWS : NOF1_MISSING_EXCLUDE;
    while (nof1_analysis_all()[analyses] != NULL) {
        ++analyses;
    }
    const char **analysis = nof1_arena_alloc(arena, analyses + 1, sizeof *analysis);
    ENSURE(analysis != NULL, NOF1_E_NO_MEMORY);
    for (size_t a = 0; a < analyses; ++a) {
        analysis[a] = nof1_analysis_all()[a]->id;
    }
    charter->analysis = analysis;
    charter->analyses = analyses;
    charter->coordinator = (struct nof1_principal){.id = "coordinator", .spiffe = ""};
    return NOF1_OK;
}

nof1_rc_value nof1_charter_derive(struct nof1_charter **out, struct nof1_arena *arena,
                                  const struct nof1_lab_derive *from, struct nof1_error *error)
{
    struct nof1_charter *charter = nof1_arena_alloc(arena, 1, sizeof *charter);
    ENSURE(charter != NULL, NOF1_E_NO_MEMORY);
    if (from->sources == 0) {
        return nof1_fail(error, NOF1_E_INPUT, "there are no sites");
    }
    *charter = (struct nof1_charter){.study = "lab", .version = 1, .lab = true};
    if (nof1_policy_preset(&charter->limits, from->policy) != NOF1_OK) {
        return nof1_fail(error, NOF1_E_NOT_FOUND,
                         "there is no policy '%s'; standard, ultra-rare or open expected",
                         from->policy);
    }
    TRY(derive_treatments(charter, arena, from, error));
    TRY(derive_outcomes(charter, arena, from));
    TRY(derive_covariates(charter, arena, from));
    TRY(derive_sites(charter, arena, from, error));
    TRY(derive_blocks(charter, arena));
    TRY(derive_rules(charter, arena, from));
    TRY(nof1_lab_classes(charter, arena, from));
    *out = charter;
    return NOF1_OK;
}
