/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small cells: see cells.h.
 */
#include <stats/cells.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <base/json.h>

/* What the code of a hidden cell tells of its count. */
static void range_of(double *low, double *high, const char *code, double count, double least)
{
    bool small = strcmp(code, "E2401") == 0;
    *low = small ? 1.0 : count == 0.0 ? 0.0 : least;
    *high = small ? least - 1.0 : INFINITY;
}

/* Does the sum of the hidden cells, which all know, leave one of them a single value? */
static bool told(const char *const *code, double least, const double *counts, size_t stride,
                 size_t n)
{
    double sum = 0.0, lows = 0.0, highs = 0.0, low, high;
    size_t endless = 0;
    for (size_t i = 0; i < n; i++) {
        if (code[i] != NULL) {
            range_of(&low, &high, code[i], counts[i * stride], least);
            sum += counts[i * stride];
            lows += low;
            endless += isinf(high) ? 1 : 0;
            highs += isinf(high) ? 0.0 : high;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (code[i] == NULL) {
            continue;
        }
        range_of(&low, &high, code[i], counts[i * stride], least);
        bool bounded = endless == (isinf(high) ? 1 : 0); /* do the others have an upper bound? */
        double others = highs - (isinf(high) ? 0.0 : high);
        double from = bounded ? fmax(low, sum - others) : low;
        if (fmin(high, sum - (lows - low)) <= from) {
            return true;
        }
    }
    return false;
}

/* The smallest shown cell that is not empty, else an empty one; n: none is left. */
static size_t next_to_hide(const char *const *code, const double *counts, size_t stride, size_t n)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        double count = counts[i * stride], least = best < n ? counts[best * stride] : 0.0;
        if (code[i] == NULL && (best == n || (count > 0.0 && (least == 0.0 || count < least)))) {
            best = i;
        }
    }
    return best;
}

void nof1_cells_suppress(const char **code, const struct nof1_limits *limits, const double *counts,
                         size_t stride, size_t n)
{
    size_t next;
    double least = (double)limits->min_cell;
    for (size_t i = 0; i < n; i++) {
        double count = counts[i * stride];
        code[i] = !limits->open && count != 0.0 && count < least ? "E2401" : NULL;
    }
    while (told(code, least, counts, stride, n) &&
           (next = next_to_hide(code, counts, stride, n)) < n) {
        code[next] = "E2402";
    }
}

double nof1_cells_rounded(const struct nof1_limits *limits, double count)
{
    double step = limits->open || limits->rounding < 2 ? 1.0 : (double)limits->rounding;
    return step * round(count / step);
}

/* ---- the gate ---- */

struct table {
    const char *title;
    const json_t *cells;
    bool exact; /* numbers of a sample, which are not rounded */
    const struct nof1_limits *limits;
    struct nof1_error *error;
};

/* *hidden counts the numbers that are not shown. */
static nof1_rc check_count(size_t *hidden, const struct table *table, const json_t *row,
                           const char *column)
{
    const json_t *number = json_object_get(row, column);
    if (!json_is_number(number)) {
        *hidden += 1;
        return NOF1_OK;
    }
    double count = json_number_value(number);
    double least = (double)table->limits->min_cell;
    least = table->exact ? least : fmin(least, nof1_cells_rounded(table->limits, least));
    bool rounded = table->exact || nof1_cells_rounded(table->limits, count) == count;
    if (!rounded || count < 0.0 || (count > 0.0 && count < least)) {
        return nof1_fail(table->error, NOF1_E2401, "table %.60s, column %.40s", table->title,
                         column);
    }
    return NOF1_OK;
}

static nof1_rc check_hidden(size_t hidden, const struct table *table, const char *column)
{
    if (hidden == 1) {
        return nof1_fail(table->error, NOF1_E2402, "table %.60s, column %.40s: one cell hidden",
                         table->title, column);
    }
    return NOF1_OK;
}

static nof1_rc check_down(const struct table *table, const json_t *columns)
{
    size_t c, r;
    json_t *column, *row;
    json_array_foreach(columns, c, column)
    {
        size_t hidden = 0;
        const char *name = json_string_value(column);
        json_array_foreach(table->cells, r, row)
        {
            TRY(check_count(&hidden, table, row, name));
        }
        TRY(check_hidden(hidden, table, name));
    }
    return NOF1_OK;
}

static nof1_rc check_across(const struct table *table, const json_t *columns)
{
    size_t c, r;
    json_t *column, *row;
    json_array_foreach(table->cells, r, row)
    {
        size_t hidden = 0;
        json_array_foreach(columns, c, column)
        {
            TRY(check_count(&hidden, table, row, json_string_value(column)));
        }
        TRY(check_hidden(hidden, table, json_string_value(json_object_get(row, "level"))));
    }
    return NOF1_OK;
}

/* Is this key a count of people or sites? Sets the least that a row may say, unless nobody. */
static bool is_crowd(double *least, const char *key, const struct nof1_limits *limits)
{
    bool sites = strcmp(key, "sites") == 0;
    *least = sites ? (double)limits->min_element_sites : fmax(2.0, (double)limits->min_element_sites);
    return sites || strcmp(key, "patients") == 0 || strcmp(key, "trials") == 0;
}

static bool names_patient(const char *key)
{
    static const char *const names[] = {"patient", "patient_id", "trial_id", "subject"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(key, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static nof1_rc check_member(const char *key, const json_t *value, bool noisy,
                            const struct nof1_limits *limits, struct nof1_error *error)
{
    double least = 0.0, count = json_number_value(value);
    if (names_patient(key)) {
        return nof1_fail(error, NOF1_E2401, "%s: a row describes one patient", key);
    }
    if (!noisy && json_is_number(value) && is_crowd(&least, key, limits) && count != 0.0 &&
        count < least) {
        return nof1_fail(error, NOF1_E2401, "a row with %s below %g", key, least);
    }
    return NOF1_OK;
}

/* Every object at any depth. Noisy counts describe nobody. */
static nof1_rc check_rows(const json_t *result, const struct nof1_limits *limits,
                          struct nof1_error *error)
{
    bool noisy = json_is_object(json_object_get(result, "noise"));
    NOF1_CLEANUP(nof1_json_freep) json_t *open = json_array();
    ENSURE(open != NULL && json_array_append(open, (json_t *)(uintptr_t)result) == 0,
           NOF1_E_NO_MEMORY);
    for (size_t at = 0; at < json_array_size(open); at++) {
        json_t *node = json_array_get(open, at), *value;
        const char *key;
        size_t i;
        json_object_foreach(node, key, value)
        {
            TRY(check_member(key, value, noisy, limits, error));
            bool deep = json_is_object(value) || json_is_array(value);
            ENSURE(!deep || json_array_append(open, value) == 0, NOF1_E_NO_MEMORY);
        }
        json_array_foreach(node, i, value)
        {
            bool deep = json_is_object(value) || json_is_array(value);
            ENSURE(!deep || json_array_append(open, value) == 0, NOF1_E_NO_MEMORY);
        }
    }
    return NOF1_OK;
}

nof1_rc nof1_cells_gate(const json_t *result, const struct nof1_limits *limits, bool must_name,
                        struct nof1_error *error)
{
    size_t t;
    json_t *one;
    if (limits->open) {
        return NOF1_OK;
    }
    TRY(check_rows(result, limits, error));
    json_array_foreach(json_object_get(result, "tables"), t, one)
    {
        const json_t *counts = json_object_get(one, "counts");
        const char *title = json_string_value(json_object_get(one, "title"));
        title = title == NULL ? json_string_value(json_object_get(one, "by")) : title;
        struct table table = {title == NULL ? "" : title, json_object_get(one, "cells"), false,
                              limits, error};
        if (counts == NULL && must_name) {
            return nof1_fail(error, NOF1_E_BUG, "table %.60s does not name its counts",
                             table.title);
        }
        TRY(check_down(&table, json_object_get(counts, "down")));
        TRY(check_across(&table, json_object_get(counts, "across")));
        table.exact = true;
        TRY(check_down(&table, json_object_get(counts, "n")));
    }
    return NOF1_OK;
}
