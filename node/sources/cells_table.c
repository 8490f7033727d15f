/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From the cells of a whole source to a table: rows grouped by trial, ordered, and checked against
 * each other (duplicates, overlapping periods, times running backwards): see cells.h.
 */
#include <node/sources/cells_private.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <nof1/trial.h>

#define MOST_TREATMENTS 8

struct row_key {
    uint32_t trial;
    int32_t period;
    double time; /* missing times first */
    uint32_t row;
};

static int compare_keys(const void *left, const void *right)
{
    const struct row_key *a = left;
    const struct row_key *b = right;
    if (a->trial != b->trial) {
        return a->trial < b->trial ? -1 : 1;
    }
    if (a->period != b->period) {
        return a->period < b->period ? -1 : 1;
    }
    if (a->time != b->time) {
        return a->time < b->time ? -1 : 1;
    }
    return a->row < b->row ? -1 : a->row > b->row;
}

/* The order of rows; sorts only when the source is not sorted. Caller frees. */
static nof1_rc order_rows(struct row_key **out, const struct nof1_cells *cells)
{
    struct row_key *key = calloc(cells->rows + 1, sizeof *key);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    bool sorted = true;
    for (size_t r = 0; r < cells->rows; ++r) {
        double time = isnan(cells->time[r]) ? -HUGE_VAL : cells->time[r];
        key[r] = (struct row_key){cells->trial[r], cells->period[r], time, (uint32_t)r};
        sorted = sorted && (r == 0 || compare_keys(&key[r - 1], &key[r]) < 0);
    }
    if (!sorted) {
        qsort(key, cells->rows, sizeof *key, compare_keys);
    }
    *out = key;
    return NOF1_OK;
}

static nof1_rc copy_column(void *out, struct nof1_arena *arena, const struct row_key *key,
                           size_t rows, const void *column, size_t size)
{
    char *copy = nof1_arena_alloc(arena, rows + 1, size);
    ENSURE(copy != NULL, NOF1_E_NO_MEMORY);
    for (size_t r = 0; r < rows; ++r) {
        memcpy(copy + r * size, (const char *)column + (size_t)key[r].row * size, size);
    }
    *(void **)out = copy;
    return NOF1_OK;
}

static nof1_rc copy_outcomes(struct nof1_table *table, const struct nof1_cells *cells,
                             const struct row_key *key)
{
    table->outcomes = cells->outcomes;
    table->outcome = nof1_arena_alloc(table->arena, cells->outcomes + 1, sizeof *table->outcome);
    ENSURE(table->outcome != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < cells->outcomes; ++k) {
        const struct nof1_table_outcome *from = &cells->outcome[k];
        struct nof1_table_outcome *outcome = &table->outcome[k];
        *outcome = (struct nof1_table_outcome){
            .name = from->name, .kind = from->kind, .decimals = from->decimals};
        TRY(copy_column(&outcome->value, table->arena, key, cells->rows, from->value,
                        sizeof(double)));
        if (outcome->kind == NOF1_EFFECT) {
            TRY(copy_column(&outcome->variance, table->arena, key, cells->rows, from->variance,
                            sizeof(double)));
        }
        for (size_t r = 0; r < cells->rows; ++r) {
            outcome->missing += isnan(outcome->value[r]) ? 1 : 0;
        }
    }
    return NOF1_OK;
}

static nof1_rc copy_covariates(struct nof1_table *table, const struct nof1_cells *cells,
                               const struct row_key *key)
{
    table->covariates = cells->covariates;
    table->covariate =
        nof1_arena_alloc(table->arena, cells->covariates + 1, sizeof *table->covariate);
    ENSURE(table->covariate != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < cells->covariates; ++k) {
        struct nof1_table_covariate *covariate = &table->covariate[k];
        covariate->name = cells->covariate_name[k];
        covariate->words = cells->level[k].count;
        covariate->text =
            nof1_arena_alloc(table->arena, covariate->words + 1, sizeof *covariate->text);
        ENSURE(covariate->text != NULL, NOF1_E_NO_MEMORY);
        memcpy(covariate->text, cells->level[k].text, covariate->words * sizeof(char *));
        TRY(copy_column(&covariate->word, table->arena, key, cells->rows, cells->covariate[k],
                        sizeof *covariate->word));
    }
    return NOF1_OK;
}

static nof1_rc copy_columns(struct nof1_table *table, const struct nof1_cells *cells,
                            const struct row_key *key)
{
    struct nof1_arena *arena = table->arena;
    table->rows = cells->rows;
    TRY(copy_column(&table->line, arena, key, cells->rows, cells->line, sizeof(uint32_t)));
    TRY(copy_column(&table->cycle, arena, key, cells->rows, cells->cycle, sizeof(int32_t)));
    TRY(copy_column(&table->period, arena, key, cells->rows, cells->period, sizeof(int32_t)));
    TRY(copy_column(&table->time, arena, key, cells->rows, cells->time, sizeof(double)));
    TRY(copy_column(&table->treatment, arena, key, cells->rows, cells->treatment, 1));
    TRY(copy_covariates(table, cells, key));
    return copy_outcomes(table, cells, key);
}

static void mark_line(const struct nof1_table *table, size_t row, struct nof1_error *error)
{
    if (error != NULL) {
        error->line = table->line[row];
    }
}

/* Each trial's rows are together now: name the trials that have any, and their patients. */
static nof1_rc group_trials(struct nof1_table *table, const struct nof1_cells *cells,
                            const struct row_key *key, struct nof1_error *error)
{
    size_t most = cells->trials.count;
    table->first = nof1_arena_alloc(table->arena, most + 1, sizeof *table->first);
    table->trial = nof1_arena_alloc(table->arena, most + 1, sizeof *table->trial);
    table->patient = nof1_arena_alloc(table->arena, most + 1, sizeof *table->patient);
    ENSURE(table->first != NULL && table->trial != NULL && table->patient != NULL,
           NOF1_E_NO_MEMORY);
    uint32_t patient = NOF1_NO_WORD;
    for (size_t r = 0; r < table->rows; ++r) {
        uint32_t trial = key[r].trial;
        uint32_t here = cells->patient[key[r].row];
        if (r == 0 || trial != key[r - 1].trial) {
            table->first[table->trials] = r;
            table->trial[table->trials] = cells->trials.text[trial];
            table->patient[table->trials] = table->trial[table->trials];
            ++table->trials;
            patient = NOF1_NO_WORD;
        }
        if (here != NOF1_NO_WORD && patient != NOF1_NO_WORD && here != patient) {
            nof1_rc_value rc = nof1_fail(error, NOF1_E_INPUT,
                                         "trial '%s' belongs to two patients, '%s' and '%s'; a "
                                         "trial is one patient's series",
                                         cells->trials.text[trial], cells->patients.text[patient],
                                         cells->patients.text[here]);
            mark_line(table, r, error);
            return rc;
        }
        if (here != NOF1_NO_WORD) {
            patient = here;
            table->patient[table->trials - 1] = cells->patients.text[here];
        }
        if (cells->saw_date_time) {
            table->time[r] -= (double)cells->first_date[trial];
        }
    }
    table->first[table->trials] = table->rows;
    return NOF1_OK;
}

/* Treatments of kept rows only, in order of first appearance. */
static nof1_rc name_treatments(struct nof1_table *table, const struct nof1_cells *cells,
                               struct nof1_error *error)
{
    uint8_t number[64];
    memset(number, NOF1_NO_ARM, sizeof number);
    table->treatment_name =
        nof1_arena_alloc(table->arena, MOST_TREATMENTS, sizeof *table->treatment_name);
    ENSURE(table->treatment_name != NULL, NOF1_E_NO_MEMORY);
    for (size_t r = 0; r < table->rows; ++r) {
        uint8_t word = table->treatment[r];
        if (word == NOF1_NO_ARM) {
            continue;
        }
        if (number[word] == NOF1_NO_ARM) {
            if (table->treatments == MOST_TREATMENTS) {
                nof1_rc_value rc = nof1_fail(error, NOF1_E_INPUT,
                                             "treatment '%s': at most %d treatments expected",
                                             cells->treatments.text[word], MOST_TREATMENTS);
                mark_line(table, r, error);
                return rc;
            }
            number[word] = (uint8_t)table->treatments;
            table->treatment_name[table->treatments++] = cells->treatments.text[word];
        }
        table->treatment[r] = number[word];
    }
    return NOF1_OK;
}

/* Two neighbouring rows of one trial. */
static const char *conflict(const struct nof1_table *table, size_t r)
{
    size_t p = r - 1;
    bool same_period = table->period[r] != 0 && table->period[r] == table->period[p];
    if (same_period && table->cycle[r] != table->cycle[p]) {
        return "one period lies in two cycles; number periods through the whole trial, not anew "
               "in each cycle";
    }
    if (same_period && table->treatment[r] != table->treatment[p] &&
        table->treatment[r] != NOF1_NO_ARM && table->treatment[p] != NOF1_NO_ARM) {
        return "one period has two treatments (periods overlap); give each treatment stretch its "
               "own period number";
    }
    bool timed = !isnan(table->time[r]) && !isnan(table->time[p]);
    if (timed && table->time[r] == table->time[p] && table->period[r] == table->period[p] &&
        table->cycle[r] == table->cycle[p]) {
        return "the same trial, cycle, period and time twice (a duplicate row); remove one";
    }
    if (timed && table->time[r] < table->time[p]) {
        return "time runs backwards: a later period has an earlier time; count time from the "
               "trial's start";
    }
    return NULL;
}

static nof1_rc check_trial(const struct nof1_table *table, size_t trial, struct nof1_error *error)
{
    bool effect = false;
    for (size_t k = 0; k < table->outcomes; ++k) {
        effect = effect || table->outcome[k].kind == NOF1_EFFECT;
    }
    for (size_t r = table->first[trial] + 1; r < table->first[trial + 1]; ++r) {
        const char *problem =
            effect ? "an imported effect has one row a trial; this trial has more" :
                     conflict(table, r);
        if (problem != NULL) {
            size_t late = table->line[r] > table->line[r - 1] ? r : r - 1;
            size_t early = late == r ? r - 1 : r;
            (void)nof1_fail(error, NOF1_E_INPUT, "trial '%s': %s (see also line %u)",
                            table->trial[trial], problem, (unsigned)table->line[early]);
            mark_line(table, late, error);
            return NOF1_E_INPUT;
        }
    }
    return NOF1_OK;
}

nof1_rc_value nof1_cells_table(struct nof1_table **out, struct nof1_cells *cells,
                               struct nof1_error *error)
{
    struct row_key *key = NULL;
    struct nof1_table *table = nof1_arena_alloc(cells->arena, 1, sizeof *table);
    ENSURE(table != NULL, NOF1_E_NO_MEMORY);
    table->arena = cells->arena;
    table->file = cells->file;
    table->dates = cells->saw_date_time;
    table->left_out_phase = cells->left_out_phase;
    TRY(order_rows(&key, cells));
    nof1_rc_value rc = copy_columns(table, cells, key);
    if (rc == NOF1_OK) {
        rc = group_trials(table, cells, key, error);
    }
    free(key);
    TRY(rc);
    TRY(name_treatments(table, cells, error));
    for (size_t t = 0; t < table->trials; ++t) {
        TRY(check_trial(table, t, error));
    }
    cells->arena = NULL; /* the table owns it now */
    *out = table;
    return NOF1_OK;
}

void nof1_table_free(struct nof1_table *table)
{
    if (table != NULL) {
        nof1_arena_free(table->arena);
    }
}

void nof1_table_freep(struct nof1_table **table)
{
    nof1_table_free(*table);
    *table = NULL;
}
