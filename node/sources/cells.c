/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Typed reading of cells: see cells.h. Messages say what was found, what was expected and what to
 * do; they are for the steward at the site and are never sent or logged.
 */
#include <node/sources/cells_private.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <base/time.h>
#include <node/sources/number.h>
#include <nof1/trial.h>

/* Not merged into its caller, which would then save registers for it on every cell. */
#define SEPARATE __attribute__((noinline))

static int shown(size_t length)
{
    return length > 40 ? 40 : (int)length;
}

SEPARATE
static nof1_rc bad(struct nof1_error *error, const struct nof1_use *use, const char *text,
                   size_t length, const char *expected)
{
    return nof1_fail(error, NOF1_E_INPUT, "column '%s': '%.*s' found, %s expected", use->column,
                     shown(length), text, expected);
}

static bool is_missing(const char *text, size_t length)
{
    return length == 0 || (length == 2 && text[0] == 'N' && text[1] == 'A');
}

nof1_rc_value nof1_cells_new(struct nof1_cells **out, const char *file, size_t outcomes,
                             const struct nof1_table_outcome *outcome, size_t covariates,
                             const char *const *covariate, bool decimal_comma)
{
    struct nof1_cells *cells = calloc(1, sizeof *cells);
    ENSURE(cells != NULL, NOF1_E_NO_MEMORY);
    *out = cells;
    cells->arena = nof1_arena_new();
    ENSURE(cells->arena != NULL, NOF1_E_NO_MEMORY);
    cells->decimal_comma = decimal_comma;
    cells->file = nof1_arena_text(cells->arena, file);
    cells->trials.arena = cells->patients.arena = cells->treatments.arena = cells->arena;
    cells->outcome = nof1_arena_alloc(cells->arena, outcomes + 1, sizeof *cells->outcome);
    cells->level = nof1_arena_alloc(cells->arena, covariates + 1, sizeof *cells->level);
    cells->covariate = nof1_arena_alloc(cells->arena, covariates + 1, sizeof *cells->covariate);
    cells->covariate_name =
        nof1_arena_alloc(cells->arena, covariates + 1, sizeof *cells->covariate_name);
    ENSURE(cells->file != NULL && cells->outcome != NULL && cells->level != NULL &&
               cells->covariate != NULL && cells->covariate_name != NULL,
           NOF1_E_NO_MEMORY);
    for (size_t k = 0; k < outcomes; ++k) {
        cells->outcome[k] = (struct nof1_table_outcome){
            .name = nof1_arena_text(cells->arena, outcome[k].name), .kind = outcome[k].kind};
        ENSURE(cells->outcome[k].name != NULL, NOF1_E_NO_MEMORY);
    }
    cells->outcomes = outcomes;
    for (size_t k = 0; k < covariates; ++k) {
        uint32_t missing;
        cells->level[k].arena = cells->arena;
        cells->covariates = k + 1;
        TRY(nof1_words_number(&cells->level[k], &missing, "", 0));
        cells->covariate_name[k] = nof1_arena_text(cells->arena, covariate[k]);
        ENSURE(cells->covariate_name[k] != NULL, NOF1_E_NO_MEMORY);
    }
    return NOF1_OK;
}

/* Grow one column; the old one stays valid when there is no memory. */
static nof1_rc grow_column(void *column, size_t capacity, size_t size)
{
    void **place = column;
    void *larger = realloc(*place, capacity * size);
    ENSURE(larger != NULL, NOF1_E_NO_MEMORY);
    *place = larger;
    return NOF1_OK;
}

static void clear_row(struct nof1_cells *cells)
{
    size_t r = cells->rows;
    cells->trial[r] = cells->patient[r] = NOF1_NO_WORD;
    cells->cycle[r] = cells->period[r] = 0;
    cells->time[r] = (double)NAN;
    cells->treatment[r] = NOF1_NO_ARM;
    for (size_t k = 0; k < cells->outcomes; ++k) {
        cells->outcome[k].value[r] = (double)NAN;
        if (cells->outcome[k].variance != NULL) {
            cells->outcome[k].variance[r] = (double)NAN;
        }
    }
    for (size_t k = 0; k < cells->covariates; ++k) {
        cells->covariate[k][r] = 0;
    }
    cells->left_out = cells->observed = false;
}

/* Make room for the row about to be read, and many more. */
static nof1_rc more_rows(struct nof1_cells *cells)
{
    size_t capacity = cells->capacity == 0 ? 1024 : cells->capacity * 2;
    ENSURE(capacity <= NOF1_MOST_ROWS, NOF1_E_NO_MEMORY);
    TRY(grow_column(&cells->trial, capacity, sizeof *cells->trial));
    TRY(grow_column(&cells->line, capacity, sizeof *cells->line));
    TRY(grow_column(&cells->patient, capacity, sizeof *cells->patient));
    TRY(grow_column(&cells->cycle, capacity, sizeof *cells->cycle));
    TRY(grow_column(&cells->period, capacity, sizeof *cells->period));
    TRY(grow_column(&cells->time, capacity, sizeof *cells->time));
    TRY(grow_column(&cells->treatment, capacity, sizeof *cells->treatment));
    for (size_t k = 0; k < cells->outcomes; ++k) {
        TRY(grow_column(&cells->outcome[k].value, capacity, sizeof(double)));
        if (cells->outcome[k].kind == NOF1_EFFECT) {
            TRY(grow_column(&cells->outcome[k].variance, capacity, sizeof(double)));
        }
    }
    for (size_t k = 0; k < cells->covariates; ++k) {
        TRY(grow_column(&cells->covariate[k], capacity, sizeof(uint32_t)));
    }
    cells->capacity = capacity;
    clear_row(cells);
    return NOF1_OK;
}

/* A number in the file's own decimal sign. */
static nof1_rc read_number(struct nof1_cells *cells, const struct nof1_use *use,
                           struct nof1_number *out, const char *text, size_t length,
                           struct nof1_error *error)
{
    if (!nof1_number_read(out, text, length)) {
        return bad(error, use, text, length, "a decimal number, or nothing when missing,");
    }
    if (out->sign == 0 || out->sign == cells->decimal_sign) {
        return NOF1_OK;
    }
    if (out->sign == ',' && !cells->decimal_comma) {
        return bad(error, use, text, length,
                   "a number with a decimal point (decimal commas need the separator ';')");
    }
    if (cells->decimal_sign != 0) {
        return bad(error, use, text, length,
                   out->sign == ',' ? "a decimal point, as in the numbers before it,"
                                    : "a decimal comma, as in the numbers before it,");
    }
    cells->decimal_sign = out->sign;
    return NOF1_OK;
}

SEPARATE
static nof1_rc put_outcome(struct nof1_cells *cells, const struct nof1_use *use, const char *text,
                           size_t length, struct nof1_error *error)
{
    struct nof1_number number;
    struct nof1_table_outcome *outcome = &cells->outcome[use->index];
    TRY(read_number(cells, use, &number, text, length, error));
    double value = number.value;
    bool whole = value == floor(value);
    if (use->meaning == NOF1_MEANS_VARIANCE) {
        outcome->variance[cells->rows] = value;
        return value > 0.0 ? NOF1_OK : bad(error, use, text, length, "a variance above 0");
    }
    if (outcome->kind == NOF1_BINARY && value != 0.0 && value != 1.0) {
        return bad(error, use, text, length, "0 or 1 (kind: binary)");
    }
    if (outcome->kind == NOF1_COUNT && (!whole || value < 0.0)) {
        return bad(error, use, text, length, "a whole number of at least 0 (kind: count)");
    }
    if (outcome->kind == NOF1_ORDINAL && !whole) {
        return bad(error, use, text, length, "a whole number (kind: ordinal)");
    }
    outcome->value[cells->rows] = value;
    outcome->decimals = number.decimals > outcome->decimals ? number.decimals : outcome->decimals;
    cells->observed = true;
    return NOF1_OK;
}

SEPARATE
static nof1_rc put_time(struct nof1_cells *cells, const struct nof1_use *use, const char *text,
                        size_t length, struct nof1_error *error)
{
    char copy[16] = "";
    int64_t days;
    struct nof1_number number;
    if (length == 10) {
        memcpy(copy, text, length);
    }
    if (length == 10 && nof1_date_read(&days, copy)) {
        cells->saw_date_time = true;
        cells->time[cells->rows] = (double)days;
    } else {
        if (!nof1_number_read(&number, text, length)) {
            return bad(error, use, text, length, "a number or a date YYYY-MM-DD");
        }
        TRY(read_number(cells, use, &number, text, length, error));
        cells->saw_number_time = true;
        cells->time[cells->rows] = number.value;
    }
    if (cells->saw_date_time && cells->saw_number_time) {
        return bad(error, use, text, length, "one kind of time, numbers or dates, in all rows");
    }
    return NOF1_OK;
}

SEPARATE
static nof1_rc put_phase(struct nof1_cells *cells, const struct nof1_use *use, const char *text,
                         size_t length, struct nof1_error *error)
{
    static const char *const left_out[] = {"run-in", "washout", "baseline"};
    for (size_t k = 0; k < 3; ++k) {
        if (strlen(left_out[k]) == length && strncasecmp(text, left_out[k], length) == 0) {
            cells->left_out = true;
            return NOF1_OK;
        }
    }
    if (length == 9 && strncasecmp(text, "treatment", length) == 0) {
        return NOF1_OK;
    }
    return bad(error, use, text, length, "run-in, washout, baseline or treatment");
}

SEPARATE
static nof1_rc put_treatment(struct nof1_cells *cells, const struct nof1_use *use, const char *text,
                             size_t length, struct nof1_error *error)
{
    uint32_t number;
    TRY(nof1_words_number(&cells->treatments, &number, text, length));
    if (number >= 64) { /* names of left-out phases may be among them: see cells_table.c */
        return bad(error, use, text, length, "one of a few treatments");
    }
    cells->treatment[cells->rows] = (uint8_t)number;
    return NOF1_OK;
}

SEPARATE
static nof1_rc put_ordinal(const struct nof1_use *use, int32_t *out, const char *text,
                           size_t length, struct nof1_error *error)
{
    if (!nof1_ordinal_read(out, text, length)) {
        return bad(error, use, text, length, "a whole number of at least 1");
    }
    return NOF1_OK;
}

/* The first cell of a row for which there is no room yet. */
SEPARATE
static nof1_rc put_after_growing(struct nof1_cells *cells, const struct nof1_use *use,
                                 const char *text, size_t length, struct nof1_error *error)
{
    TRY(more_rows(cells));
    return nof1_cells_put(cells, use, text, length, error);
}

/* Runs for every cell, so that it does nothing itself but choose: each choice is a tail call. */
nof1_rc_value nof1_cells_put(struct nof1_cells *cells, const struct nof1_use *use, const char *text,
                             size_t length, struct nof1_error *error)
{
    size_t r = cells->rows;
    if (r == cells->capacity) {
        return put_after_growing(cells, use, text, length, error);
    }
    if (is_missing(text, length)) {
        return NOF1_OK;
    }
    switch (use->meaning) {
    case NOF1_MEANS_TRIAL:
        return nof1_words_number(&cells->trials, &cells->trial[r], text, length);
    case NOF1_MEANS_PATIENT:
        return nof1_words_number(&cells->patients, &cells->patient[r], text, length);
    case NOF1_MEANS_CYCLE:
        return put_ordinal(use, &cells->cycle[r], text, length, error);
    case NOF1_MEANS_PERIOD:
        return put_ordinal(use, &cells->period[r], text, length, error);
    case NOF1_MEANS_TIME:
        return put_time(cells, use, text, length, error);
    case NOF1_MEANS_TREATMENT:
        return put_treatment(cells, use, text, length, error);
    case NOF1_MEANS_PHASE:
        return put_phase(cells, use, text, length, error);
    case NOF1_MEANS_OUTCOME:
    case NOF1_MEANS_VARIANCE:
        return put_outcome(cells, use, text, length, error);
    case NOF1_MEANS_COVARIATE:
        return nof1_words_number(&cells->level[use->index], &cells->covariate[use->index][r], text,
                                 length);
    }
    return NOF1_E_BUG;
}

/* Dates count from the trial's first row, whatever its phase. */
static nof1_rc note_first_date(struct nof1_cells *cells)
{
    uint32_t trial = cells->trial[cells->rows];
    double day = cells->time[cells->rows];
    while (cells->first_dates <= trial) {
        if ((cells->first_dates & (cells->first_dates - 1)) == 0) {
            size_t larger = cells->first_dates == 0 ? 1 : cells->first_dates * 2;
            TRY(grow_column(&cells->first_date, larger, sizeof *cells->first_date));
        }
        cells->first_date[cells->first_dates++] = INT64_MAX;
    }
    if (!isnan(day) && (int64_t)day < cells->first_date[trial]) {
        cells->first_date[trial] = (int64_t)day;
    }
    return NOF1_OK;
}

static nof1_rc check_row(const struct nof1_cells *cells, struct nof1_error *error)
{
    size_t r = cells->rows;
    bool effect = false;
    for (size_t k = 0; k < cells->outcomes; ++k) {
        const struct nof1_table_outcome *outcome = &cells->outcome[k];
        if (outcome->kind == NOF1_EFFECT) {
            effect = true;
            if (isnan(outcome->value[r]) != isnan(outcome->variance[r])) {
                return nof1_fail(error, NOF1_E_INPUT,
                                 "outcome '%s': an effect and its variance expected, one of them "
                                 "is missing",
                                 outcome->name);
            }
        }
    }
    if (!effect && !cells->left_out && cells->observed && cells->treatment[r] == NOF1_NO_ARM) {
        return nof1_fail(error, NOF1_E_INPUT,
                         "the treatment is missing though an outcome is given; name it, or mark "
                         "the row in a phase column (run-in, washout, baseline)");
    }
    return NOF1_OK;
}

nof1_rc_value nof1_cells_row(struct nof1_cells *cells, uint32_t line, struct nof1_error *error)
{
    if (cells->rows == cells->capacity) {
        TRY(more_rows(cells));
    }
    size_t r = cells->rows;
    if (cells->trial[r] == NOF1_NO_WORD) {
        return nof1_fail(error, NOF1_E_INPUT, "the trial's identifier is missing");
    }
    TRY(check_row(cells, error));
    if (cells->saw_date_time) {
        TRY(note_first_date(cells));
    }
    if (cells->left_out) {
        ++cells->left_out_phase;
        clear_row(cells);
        return NOF1_OK;
    }
    cells->line[r] = line;
    ++cells->rows;
    if (cells->rows < cells->capacity) {
        clear_row(cells);
    }
    return NOF1_OK;
}

static void columns_free(struct nof1_cells *cells)
{
    free(cells->trial);
    free(cells->line);
    free(cells->patient);
    free(cells->cycle);
    free(cells->period);
    free(cells->time);
    free(cells->treatment);
    free(cells->first_date);
    for (size_t k = 0; k < cells->outcomes; ++k) {
        free(cells->outcome[k].value);
        free(cells->outcome[k].variance);
    }
    for (size_t k = 0; k < cells->covariates; ++k) {
        free(cells->covariate[k]);
        nof1_words_free(&cells->level[k]);
    }
    nof1_words_free(&cells->trials);
    nof1_words_free(&cells->patients);
    nof1_words_free(&cells->treatments);
}

void nof1_cells_free(struct nof1_cells *cells)
{
    if (cells != NULL) {
        columns_free(cells);
        if (cells->arena != NULL) {
            nof1_arena_free(cells->arena);
        }
        free(cells);
    }
}

void nof1_cells_freep(struct nof1_cells **cells)
{
    nof1_cells_free(*cells);
    *cells = NULL;
}
