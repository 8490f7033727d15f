/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Freezing a table under a charter: see freeze.h. Runs at the site only; its messages are for the
 * steward and name lines of the steward's own file.
 */
#include <node/freeze.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <node/sources/number.h>

struct freezer {
    struct nof1_arena *arena;
    const struct nof1_table *table;
    const struct nof1_charter *charter;
    struct nof1_error *error;
    uint8_t *treatment;                        /* [rows] */
    double **outcome, **variance, **covariate; /* [charter index][rows] */
};

static nof1_rc_value fail_row(const struct freezer *f, nof1_rc_value rc, size_t row,
                              const char *name, const char *found, const char *expected)
{
    return nof1_fail_at(f->error, rc, f->table->file, f->table->line[row], 0,
                        "%s: '%.40s' found, %s expected", name, found, expected);
}

static double *new_column(const struct freezer *f)
{
    double *column = nof1_arena_alloc(f->arena, f->table->rows + 1, sizeof *column);
    for (size_t r = 0; column != NULL && r < f->table->rows; ++r) {
        column[r] = (double)NAN;
    }
    return column;
}

static nof1_rc freeze_treatments(struct freezer *f)
{
    const struct nof1_table *table = f->table;
    f->treatment = nof1_arena_alloc(f->arena, table->rows + 1, 1);
    ENSURE(f->treatment != NULL, NOF1_E_NO_MEMORY);
    size_t known[NOF1_NO_ARM];
    for (size_t k = 0; k < table->treatments; ++k) {
        known[k] = nof1_charter_treatment(f->charter, table->treatment_name[k]);
    }
    for (size_t r = 0; r < table->rows; ++r) {
        uint8_t k = table->treatment[r];
        if (k == NOF1_NO_ARM) {
            f->treatment[r] = NOF1_NO_ARM;
            continue;
        }
        if (known[k] == NOF1_NONE) {
            return fail_row(f, NOF1_E_INPUT, r, "treatment", table->treatment_name[k],
                            "a treatment of the charter");
        }
        f->treatment[r] = (uint8_t)known[k];
    }
    return NOF1_OK;
}

static nof1_rc check_bounds(const struct freezer *f, size_t row, const char *name, double value,
                            double lower, double upper)
{
    if (isnan(value) || (value >= lower && value <= upper)) {
        return NOF1_OK;
    }
    return nof1_fail_at(f->error, NOF1_E2403, f->table->file, f->table->line[row], 0,
                        "%s: %.15g found, a number from %.15g to %.15g expected (the charter's "
                        "bounds)",
                        name, value, lower, upper);
}

static nof1_rc freeze_outcome(struct freezer *f, size_t index,
                              const struct nof1_table_outcome *from)
{
    const struct nof1_outcome *outcome = &f->charter->outcome[index];
    if (from->kind != outcome->kind) {
        return nof1_fail(f->error, NOF1_E_INPUT,
                         "outcome '%s' is %s in the mapping and %s in the charter", from->name,
                         nof1_outcome_kind_text(from->kind), nof1_outcome_kind_text(outcome->kind));
    }
    if (from->variance != NULL) {
        f->variance[index] = new_column(f);
        ENSURE(f->variance[index] != NULL, NOF1_E_NO_MEMORY);
    }
    for (size_t r = 0; r < f->table->rows; ++r) {
        TRY(check_bounds(f, r, from->name, from->value[r], outcome->lower, outcome->upper));
        f->outcome[index][r] = from->value[r];
        if (from->variance != NULL) {
            f->variance[index][r] = from->variance[r];
        }
    }
    return NOF1_OK;
}

static nof1_rc freeze_outcomes(struct freezer *f, struct nof1_freeze_report *report)
{
    for (size_t o = 0; o < f->charter->outcomes; ++o) {
        const struct nof1_table_outcome *from = NULL;
        for (size_t k = 0; k < f->table->outcomes; ++k) {
            if (strcmp(f->table->outcome[k].name, f->charter->outcome[o].name) == 0) {
                from = &f->table->outcome[k];
            }
        }
        f->outcome[o] = new_column(f);
        ENSURE(f->outcome[o] != NULL, NOF1_E_NO_MEMORY);
        if (from != NULL) {
            TRY(freeze_outcome(f, o, from));
        } else {
            ++report->missing_outcomes;
            report->first_missing = f->charter->outcome[o].name;
        }
    }
    return NOF1_OK;
}

/* The number that a word of a covariate stands for; NAN when missing. */
static nof1_rc word_value(const struct freezer *f, const struct nof1_covariate *covariate,
                          const char *text, size_t row, double *out)
{
    *out = (double)NAN;
    if (text[0] == '\0') {
        return NOF1_OK;
    }
    if (covariate->kind == NOF1_FACTOR) {
        size_t level = nof1_covariate_level(covariate, text);
        if (level == NOF1_NONE) {
            return fail_row(f, NOF1_E_INPUT, row, covariate->name, text, "a level of the charter");
        }
        *out = (double)level;
        return NOF1_OK;
    }
    struct nof1_number number;
    if (!nof1_number_read(&number, text, strlen(text))) {
        return fail_row(f, NOF1_E_INPUT, row, covariate->name, text, "a number");
    }
    *out = nof1_covariate_coded(covariate, number.value);
    return check_bounds(f, row, covariate->name, number.value, covariate->lower, covariate->upper);
}

/* A covariate that is constant within a trial may be given on some rows only. */
static nof1_rc spread_constant(const struct freezer *f, const struct nof1_covariate *covariate,
                               double *column)
{
    for (size_t t = 0; t < f->table->trials; ++t) {
        double value = (double)NAN;
        for (size_t r = f->table->first[t]; r < f->table->first[t + 1]; ++r) {
            if (!isnan(column[r]) && !isnan(value) && column[r] != value) {
                return nof1_fail_at(f->error, NOF1_E_INPUT, f->table->file, f->table->line[r], 0,
                                    "%s changes within trial '%s', though the charter says that it "
                                    "does not (within: false)",
                                    covariate->name, f->table->trial[t]);
            }
            value = isnan(column[r]) ? value : column[r];
        }
        for (size_t r = f->table->first[t]; r < f->table->first[t + 1]; ++r) {
            column[r] = value;
        }
    }
    return NOF1_OK;
}

static nof1_rc freeze_covariate(struct freezer *f, size_t index,
                                const struct nof1_table_covariate *from)
{
    const struct nof1_covariate *covariate = &f->charter->covariate[index];
    double *value = calloc(from->words, sizeof *value);
    bool *known = calloc(from->words, sizeof *known);
    nof1_rc_value rc = value == NULL || known == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
    for (size_t r = 0; rc == NOF1_OK && r < f->table->rows; ++r) {
        uint32_t word = from->word[r];
        if (!known[word]) {
            rc = word_value(f, covariate, from->text[word], r, &value[word]);
            known[word] = true;
        }
        f->covariate[index][r] = value[word];
    }
    free(value);
    free(known);
    TRY(rc);
    return covariate->varies_within ? NOF1_OK : spread_constant(f, covariate, f->covariate[index]);
}

static nof1_rc freeze_covariates(struct freezer *f, struct nof1_freeze_report *report)
{
    for (size_t c = 0; c < f->charter->covariates; ++c) {
        const struct nof1_table_covariate *from = NULL;
        for (size_t k = 0; k < f->table->covariates; ++k) {
            if (strcmp(f->table->covariate[k].name, f->charter->covariate[c].name) == 0) {
                from = &f->table->covariate[k];
            }
        }
        f->covariate[c] = new_column(f);
        ENSURE(f->covariate[c] != NULL, NOF1_E_NO_MEMORY);
        if (from != NULL) {
            TRY(freeze_covariate(f, c, from));
        } else {
            ++report->missing_covariates;
            report->first_missing = f->charter->covariate[c].name;
        }
    }
    return NOF1_OK;
}

static const double *const *slices(const struct freezer *f, double *const *column, size_t columns,
                                   size_t first)
{
    const double **out = nof1_arena_alloc(f->arena, columns + 1, sizeof *out);
    for (size_t k = 0; out != NULL && k < columns; ++k) {
        out[k] = column[k] == NULL ? NULL : column[k] + first;
    }
    return out;
}

static nof1_rc freeze_trials(const struct freezer *f, struct nof1_epoch *epoch)
{
    const struct nof1_table *table = f->table;
    int32_t *cycle = nof1_arena_alloc(f->arena, table->rows + 1, sizeof *cycle);
    int32_t *period = nof1_arena_alloc(f->arena, table->rows + 1, sizeof *period);
    double *time = nof1_arena_alloc(f->arena, table->rows + 1, sizeof *time);
    struct nof1_trial *trial = nof1_arena_alloc(f->arena, table->trials + 1, sizeof *trial);
    ENSURE(cycle != NULL && period != NULL && time != NULL && trial != NULL, NOF1_E_NO_MEMORY);
    if (table->rows > 0) {
        memcpy(cycle, table->cycle, table->rows * sizeof *cycle);
        memcpy(period, table->period, table->rows * sizeof *period);
        memcpy(time, table->time, table->rows * sizeof *time);
    }
    for (size_t t = 0; t < table->trials; ++t) {
        size_t first = table->first[t];
        trial[t] = (struct nof1_trial){
            .rows = table->first[t + 1] - first,
            .cycle = cycle + first,
            .period = period + first,
            .time = time + first,
            .treatment = f->treatment + first,
            .outcome = slices(f, f->outcome, f->charter->outcomes, first),
            .variance = slices(f, f->variance, f->charter->outcomes, first),
            .covariate = slices(f, f->covariate, f->charter->covariates, first)};
        ENSURE(trial[t].outcome != NULL && trial[t].variance != NULL && trial[t].covariate != NULL,
               NOF1_E_NO_MEMORY);
    }
    epoch->trials = table->trials;
    epoch->trial = trial;
    return NOF1_OK;
}

struct owner {
    const char *patient;
    uint32_t index; /* of the trial */
};

static int compare_owners(const void *left, const void *right)
{
    const struct owner *a = left;
    const struct owner *b = right;
    return strcmp(a->patient, b->patient);
}

/* Patients in order of their identifier, so that their numbering does not depend on the order of
 * the file. */
static nof1_rc freeze_patients(const struct freezer *f, struct nof1_epoch *epoch)
{
    size_t trials = f->table->trials;
    struct owner *owner = nof1_arena_alloc(f->arena, trials + 1, sizeof *owner);
    uint32_t *patient = nof1_arena_alloc(f->arena, trials + 1, sizeof *patient);
    const char **key = nof1_arena_alloc(f->arena, trials + 1, sizeof *key);
    const char **name = nof1_arena_alloc(f->arena, trials + 1, sizeof *name);
    ENSURE(owner != NULL && patient != NULL && key != NULL && name != NULL, NOF1_E_NO_MEMORY);
    for (size_t t = 0; t < trials; ++t) {
        owner[t] = (struct owner){f->table->patient[t], (uint32_t)t};
        name[t] = nof1_arena_text(f->arena, f->table->trial[t]);
        ENSURE(name[t] != NULL, NOF1_E_NO_MEMORY);
    }
    qsort(owner, trials, sizeof *owner, compare_owners);
    size_t patients = 0;
    for (size_t t = 0; t < trials;) {
        size_t end = t;
        for (; end < trials && strcmp(owner[end].patient, owner[t].patient) == 0; ++end) {
            patient[owner[end].index] = (uint32_t)patients;
        }
        key[patients] = nof1_arena_text(f->arena, owner[t].patient);
        ENSURE(key[patients] != NULL, NOF1_E_NO_MEMORY);
        ++patients;
        t = end;
    }
    epoch->patients = patients;
    epoch->patient = patient;
    epoch->patient_key = key;
    epoch->trial_key = name;
    return NOF1_OK;
}

static nof1_rc new_columns(struct freezer *f)
{
    f->outcome = nof1_arena_alloc(f->arena, f->charter->outcomes + 1, sizeof *f->outcome);
    f->variance = nof1_arena_alloc(f->arena, f->charter->outcomes + 1, sizeof *f->variance);
    f->covariate = nof1_arena_alloc(f->arena, f->charter->covariates + 1, sizeof *f->covariate);
    ENSURE(f->outcome != NULL && f->variance != NULL && f->covariate != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

nof1_rc_value nof1_table_freeze(struct nof1_epoch *out, struct nof1_arena *arena,
                                const struct nof1_table *table, const struct nof1_charter *charter,
                                size_t site, uint32_t id, struct nof1_freeze_report *report,
                                struct nof1_error *error)
{
    struct nof1_freeze_report unused;
    struct freezer f = {.arena = arena, .table = table, .charter = charter, .error = error};
    report = report == NULL ? &unused : report;
    *report = (struct nof1_freeze_report){
        .rows = table->rows, .trials = table->trials, .left_out_phase = table->left_out_phase};
    TRY(new_columns(&f));
    TRY(freeze_treatments(&f));
    TRY(freeze_outcomes(&f, report));
    TRY(freeze_covariates(&f, report));
    struct nof1_epoch epoch = {.id = id};
    TRY(freeze_trials(&f, &epoch));
    TRY(freeze_patients(&f, &epoch));
    report->patients = epoch.patients;
    if (site != NOF1_NONE && epoch.patients > charter->site[site].patient_cap) {
        return nof1_fail_at(error, NOF1_E_INPUT, table->file, 0, 0,
                            "%zu patients found, at most %u expected (the charter's patient_cap of "
                            "site '%s'); ask for a new charter version",
                            epoch.patients, charter->site[site].patient_cap,
                            charter->site[site].id);
    }
    *out = epoch;
    return NOF1_OK;
}
