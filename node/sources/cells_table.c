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

static struct row_key key_of(const struct nof1_cells *cells, size_t row)
{
    double time = isnan(cells->time[row]) ? -HUGE_VAL : cells->time[row];
    return (struct row_key){cells->trial[row], cells->period[row], time, (uint32_t)row};
}

static bool is_ordered(const struct nof1_cells *cells)
{
    struct row_key before = {0};
    for (size_t r = 0; r < cells->rows; ++r) {
        const struct row_key here = key_of(cells, r);
        if (r > 0 && compare_keys(&before, &here) > 0) {
            return false;
        }
        before = here;
    }
    return true;
}

/* Replace a column by itself in another order. */
static nof1_rc reorder(void *column, const struct row_key *key, size_t rows, size_t size)
{
    char **place = column;
    char *copy = malloc((rows + 1) * size);
    ENSURE(copy != NULL, NOF1_E_NO_MEMORY);
    for (size_t r = 0; r < rows; ++r) {
        memcpy(copy + r * size, *place + (size_t)key[r].row * size, size);
    }
    free(*place);
    *place = copy;
    return NOF1_OK;
}

static nof1_rc reorder_columns(struct nof1_cells *cells, const struct row_key *key)
{
    size_t rows = cells->rows;
    TRY(reorder(&cells->trial, key, rows, sizeof *cells->trial));
    TRY(reorder(&cells->patient, key, rows, sizeof *cells->patient));
    TRY(reorder(&cells->line, key, rows, sizeof *cells->line));
    TRY(reorder(&cells->cycle, key, rows, sizeof *cells->cycle));
    TRY(reorder(&cells->period, key, rows, sizeof *cells->period));
    TRY(reorder(&cells->time, key, rows, sizeof *cells->time));
    TRY(reorder(&cells->treatment, key, rows, 1));
    for (size_t k = 0; k < cells->outcomes; ++k) {
        TRY(reorder(&cells->outcome[k].value, key, rows, sizeof(double)));
        if (cells->outcome[k].variance != NULL) {
            TRY(reorder(&cells->outcome[k].variance, key, rows, sizeof(double)));
        }
    }
    for (size_t k = 0; k < cells->covariates; ++k) {
        TRY(reorder(&cells->covariate[k], key, rows, sizeof(uint32_t)));
    }
    return NOF1_OK;
}

/* Rows in order of trial, period, time, file; most sources have them so already. */
static nof1_rc order_rows(struct nof1_cells *cells)
{
    if (is_ordered(cells)) {
        return NOF1_OK;
    }
    struct row_key *key = calloc(cells->rows + 1, sizeof *key);
    ENSURE(key != NULL, NOF1_E_NO_MEMORY);
    for (size_t r = 0; r < cells->rows; ++r) {
        key[r] = key_of(cells, r);
    }
    qsort(key, cells->rows, sizeof *key, compare_keys);
    nof1_rc_value rc = reorder_columns(cells, key);
    free(key);
    return rc;
}

static nof1_rc show_covariates(struct nof1_table *table, const struct nof1_cells *cells)
{
    table->covariates = cells->covariates;
    table->covariate =
        nof1_arena_alloc(table->arena, cells->covariates + 1, sizeof *table->covariate);
    ENSURE(table->covariate != NULL, NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < cells->covariates; ++k) {
        table->covariate[k] = (struct nof1_table_covariate){.name = cells->covariate_name[k],
                                                            .word = cells->covariate[k],
                                                            .words = cells->level[k].count,
                                                            .text = cells->level[k].text};
    }
    return NOF1_OK;
}

/* The table shows the builder's columns. */
static nof1_rc show_columns(struct nof1_table *table, struct nof1_cells *cells)
{
    table->rows = cells->rows;
    table->line = cells->line;
    table->cycle = cells->cycle;
    table->period = cells->period;
    table->time = cells->time;
    table->treatment = cells->treatment;
    table->outcomes = cells->outcomes;
    table->outcome = cells->outcome;
    for (size_t k = 0; k < cells->outcomes; ++k) {
        for (size_t r = 0; r < cells->rows; ++r) {
            table->outcome[k].missing += isnan(table->outcome[k].value[r]) ? 1 : 0;
        }
    }
    return show_covariates(table, cells);
}

static void mark_line(const struct nof1_table *table, size_t row, struct nof1_error *error)
{
    if (error != NULL) {
        error->line = table->line[row];
    }
}

/* Each trial's rows are together now: name the trials that have any, and their patients. */
static nof1_rc group_trials(struct nof1_table *table, const struct nof1_cells *cells,
                            struct nof1_error *error)
{
    size_t most = cells->trials.count;
    table->first = nof1_arena_alloc(table->arena, most + 1, sizeof *table->first);
    table->trial = nof1_arena_alloc(table->arena, most + 1, sizeof *table->trial);
    table->patient = nof1_arena_alloc(table->arena, most + 1, sizeof *table->patient);
    ENSURE(table->first != NULL && table->trial != NULL && table->patient != NULL,
           NOF1_E_NO_MEMORY);
    uint32_t patient = NOF1_NO_WORD;
    for (size_t r = 0; r < table->rows; ++r) {
        uint32_t trial = cells->trial[r];
        uint32_t here = cells->patient[r];
        if (r == 0 || trial != cells->trial[r - 1]) {
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
                nof1_rc_value rc =
                    nof1_fail(error, NOF1_E_INPUT, "treatment '%s': at most %d treatments expected",
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
        const char *problem = effect ? "an imported effect has one row a trial; this trial has more"
                                     : conflict(table, r);
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

nof1_rc_value nof1_cells_table(struct nof1_table **out, struct nof1_cells **owned,
                               struct nof1_error *error)
{
    struct nof1_cells *cells = *owned;
    struct nof1_table *table = nof1_arena_alloc(cells->arena, 1, sizeof *table);
    ENSURE(table != NULL, NOF1_E_NO_MEMORY);
    table->arena = cells->arena;
    table->file = cells->file;
    table->dates = cells->saw_date_time;
    table->left_out_phase = cells->left_out_phase;
    TRY(order_rows(cells));
    TRY(show_columns(table, cells));
    TRY(group_trials(table, cells, error));
    TRY(name_treatments(table, cells, error));
    for (size_t t = 0; t < table->trials; ++t) {
        TRY(check_trial(table, t, error));
    }
    table->cells = cells;
    *owned = NULL;
    *out = table;
    return NOF1_OK;
}

void nof1_table_free(struct nof1_table *table)
{
    if (table != NULL) {
        nof1_cells_free(table->cells);
    }
}

void nof1_table_freep(struct nof1_table **table)
{
    nof1_table_free(*table);
    *table = NULL;
}
