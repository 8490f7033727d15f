/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The gate before a result is stored: see cells.h. It looks at names and numbers of the result
 * alone and believes nothing about the analysis that made it.
 */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <base/json.h>
#include <stats/cells.h>

/* ---- tables of counts ------------------------------------------------------------------------ */

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

/* What is told of a hidden cell beside its count tells the count, or the few. */
static nof1_rc check_silent(const struct table *table, const json_t *columns)
{
    static const char *const statistic[] = {"mean",     "sd",        "sum",
                                            "estimate", "std.error", "missing"};
    size_t c, r;
    json_t *column, *row;
    json_array_foreach(columns, c, column)
    {
        json_array_foreach(table->cells, r, row)
        {
            bool shown = json_is_number(json_object_get(row, json_string_value(column)));
            for (size_t i = 0; !shown && i < sizeof statistic / sizeof *statistic; i++) {
                if (json_is_number(json_object_get(row, statistic[i]))) {
                    return nof1_fail(table->error, NOF1_E2401,
                                     "table %.60s, column %.40s: %s of a hidden cell", table->title,
                                     json_string_value(column), statistic[i]);
                }
            }
        }
    }
    return NOF1_OK;
}

static nof1_rc check_tables(const json_t *result, const struct nof1_limits *limits, bool must_name,
                            struct nof1_error *error)
{
    size_t t;
    json_t *one;
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
        TRY(check_silent(&table, json_object_get(counts, "down")));
        TRY(check_silent(&table, json_object_get(counts, "n")));
    }
    return NOF1_OK;
}

/* ---- histograms ------------------------------------------------------------------------------ */

struct histogram {
    const json_t *breaks, *arms, *quantiles;
    size_t bins;
    const struct nof1_limits *limits;
    struct nof1_error *error;
};

static nof1_rc check_bins(const struct histogram *h, const json_t *arm)
{
    size_t hidden = 0;
    const json_t *counts = json_object_get(arm, "counts");
    if (json_array_size(counts) != h->bins) {
        return nof1_fail(h->error, NOF1_E2401, "histogram: not one count for each bin");
    }
    for (size_t b = 0; b < h->bins; b++) {
        const json_t *bin = json_array_get(counts, b);
        double count = json_number_value(bin), least = (double)h->limits->min_cell;
        least = fmin(least, nof1_cells_rounded(h->limits, least));
        hidden += json_is_number(bin) ? 0 : 1;
        if (nof1_cells_rounded(h->limits, count) != count || count < 0.0 ||
            (count > 0.0 && count < least)) {
            return nof1_fail(h->error, NOF1_E2401, "histogram: a count that is small or unrounded");
        }
    }
    if (hidden == 1) {
        return nof1_fail(h->error, NOF1_E2402, "histogram: one bin hidden");
    }
    return NOF1_OK;
}

/* The bins as shown of an arm, or of all; false when there is none. */
static bool shown_bins(double *bin, bool *hidden, const struct histogram *h, const char *level)
{
    size_t a, found = 0;
    json_t *arm;
    bool all = strcmp(level, "all") == 0;
    memset(bin, 0, h->bins * sizeof *bin);
    memset(hidden, 0, h->bins * sizeof *hidden);
    json_array_foreach(h->arms, a, arm)
    {
        const char *name = json_string_value(json_object_get(arm, "level"));
        bool own = all || (name != NULL && strcmp(name, level) == 0);
        for (size_t b = 0; own && b < h->bins; b++) {
            const json_t *count = json_array_get(json_object_get(arm, "counts"), b);
            hidden[b] = hidden[b] || !json_is_number(count);
            bin[b] += nof1_cells_bin(h->limits, count);
        }
        found += own ? 1 : 0;
    }
    return found > 0;
}

/* All digits of a quantile of exact bins are a fraction that has a hidden count below its line. */
static nof1_rc check_quantile(const struct histogram *h, const json_t *row, double *bin,
                              bool *hidden)
{
    static const struct { const char *key; double p; } quantile[] = {
        {"q25", 0.25}, {"median", 0.5}, {"q75", 0.75}};
    const char *level = json_string_value(json_object_get(row, "level"));
    double first = json_number_value(json_array_get(h->breaks, 0));
    double width = json_number_value(json_array_get(h->breaks, 1)) - first;
    bool shown = level != NULL && shown_bins(bin, hidden, h, level);
    for (size_t q = 0; q < sizeof quantile / sizeof *quantile; q++) {
        const json_t *number = json_object_get(row, quantile[q].key);
        double own = nof1_cells_quantile(bin, hidden, h->bins, first, width,
                                         quantile[q].p);
        if (json_is_number(number) &&
            !(shown && fabs(json_number_value(number) - own) <= 1e-9 * width)) {
            return nof1_fail(h->error, NOF1_E2401, "%s is not that of the histogram as shown",
                             quantile[q].key);
        }
    }
    return NOF1_OK;
}

static void free_bins(double **bin)
{
    free(*bin);
}

static void free_flags(bool **flag)
{
    free(*flag);
}

static nof1_rc check_histogram(const json_t *result, const struct nof1_limits *limits,
                               struct nof1_error *error)
{
    const json_t *histogram = json_object_get(result, "histogram");
    struct histogram h = {json_object_get(histogram, "breaks"), json_object_get(histogram, "arms"),
                          json_object_get(result, "quantiles"), 0, limits, error};
    size_t breaks = json_array_size(h.breaks), i;
    json_t *one;
    h.bins = breaks > 1 ? breaks - 1 : 0;
    NOF1_CLEANUP(free_bins) double *bin = calloc(h.bins + 1, sizeof *bin);
    NOF1_CLEANUP(free_flags) bool *hidden = calloc(h.bins + 1, sizeof *hidden);
    ENSURE(bin != NULL && hidden != NULL, NOF1_E_NO_MEMORY);
    json_array_foreach(h.arms, i, one)
    {
        TRY(check_bins(&h, one));
    }
    json_array_foreach(h.quantiles, i, one)
    {
        TRY(check_quantile(&h, one, bin, hidden));
    }
    return NOF1_OK;
}

/* ---- every row ------------------------------------------------------------------------------- */

struct rows {
    const struct nof1_limits *limits;
    struct nof1_error *error;
    double least; /* patients that a row may count, unless nobody */
    bool noisy;   /* counts carry noise: they describe nobody */
};

static bool is_one_of(const char *key, const char *const *names)
{
    while (*names != NULL && strcmp(key, *names) != 0) {
        names++;
    }
    return *names != NULL;
}

/* A number that is one patient's, or names one. */
static nof1_rc check_name(const struct rows *rows, const char *key)
{
    static const char *const patient[] = {"patient", "patient_id", "trial_id", "subject", NULL};
    static const char *const extreme[] = {"min", "max", "minimum", "maximum", "range", NULL};
    if (is_one_of(key, patient)) {
        return nof1_fail(rows->error, NOF1_E2401, "%s: a row describes one patient", key);
    }
    if (is_one_of(key, extreme)) {
        return nof1_fail(rows->error, NOF1_E2401, "%s: a value of one patient", key);
    }
    return NOF1_OK;
}

static nof1_rc check_number(const struct rows *rows, const char *key, double count)
{
    static const char *const people[] = {"patients", "trials", NULL};
    static const char *const hidden[] = {"missing", "left_out", NULL};
    bool sites = strcmp(key, "sites") == 0, small = is_one_of(key, hidden);
    double cell = (double)rows->limits->min_cell;
    double least = sites ? (double)rows->limits->min_element_sites : small ? cell : rows->least;
    if (!sites && !small && !is_one_of(key, people)) {
        return NOF1_OK;
    }
    if (count < 0.0 || floor(count) != count) {
        return nof1_fail(rows->error, NOF1_E2401, "%s: %g is not a count", key, count);
    }
    if (strcmp(key, "left_out") == 0) {
        least = fmin(least, nof1_cells_rounded(rows->limits, least));
        if (nof1_cells_rounded(rows->limits, count) != count) {
            return nof1_fail(rows->error, NOF1_E2401, "%s is not rounded", key);
        }
    }
    if (count != 0.0 && count < least) {
        return nof1_fail(rows->error, NOF1_E2401, "a row with %s below %g", key, least);
    }
    return NOF1_OK;
}

/* Of one site only what it sent and received is told. */
static nof1_rc check_site(const struct rows *rows, const json_t *node)
{
    static const char *const traffic[] = {"bytes_in", "bytes_out", NULL};
    const char *key;
    json_t *value;
    bool site = json_is_string(json_object_get(node, "site"));
    json_object_foreach((json_t *)(uintptr_t)node, key, value)
    {
        if (site && json_is_number(value) && !is_one_of(key, traffic)) {
            return nof1_fail(rows->error, NOF1_E2401, "%s: a number of one site", key);
        }
    }
    return NOF1_OK;
}

/* "7 trials left out" in a sentence is a count like any other. */
static nof1_rc check_sentence(const struct rows *rows, const json_t *node)
{
    const char *code = json_string_value(json_object_get(node, "code"));
    const char *text = json_string_value(json_object_get(node, "text"));
    if (code == NULL || text == NULL || strcmp(code, "left_out") != 0) {
        return NOF1_OK;
    }
    char *end = NULL;
    text += strncmp(text, "about ", 6) == 0 ? 6 : 0;
    double count = strtod(text, &end);
    return end == text ? NOF1_OK : check_number(rows, "left_out", count);
}

static nof1_rc check_member(const struct rows *rows, const char *key, const json_t *value)
{
    TRY(check_name(rows, key));
    if (!rows->noisy && json_is_number(value)) {
        TRY(check_number(rows, key, json_number_value(value)));
    }
    return NOF1_OK;
}

/* Every object at any depth. */
static nof1_rc check_rows(const struct rows *rows, const json_t *result)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *open = json_array();
    ENSURE(open != NULL && json_array_append(open, (json_t *)(uintptr_t)result) == 0,
           NOF1_E_NO_MEMORY);
    for (size_t at = 0; at < json_array_size(open); at++) {
        json_t *node = json_array_get(open, at), *value;
        const char *key;
        size_t i;
        TRY(check_site(rows, node));
        TRY(check_sentence(rows, node));
        json_object_foreach(node, key, value)
        {
            TRY(check_member(rows, key, value));
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

/* A share of patients is a table of two cells. */
static nof1_rc check_share(const json_t *result, const struct nof1_limits *limits,
                           struct nof1_error *error)
{
    const json_t *share = json_object_get(result, "responders");
    const json_t *count = json_object_get(share, "count");
    double yes = json_number_value(count);
    double no = json_number_value(json_object_get(share, "trials")) - yes;
    double least = (double)limits->min_cell;
    if (json_is_number(count) && (yes < least || no < least)) {
        return nof1_fail(error, NOF1_E2401, "responders: a count below %g", least);
    }
    return NOF1_OK;
}

nof1_rc nof1_cells_gate(const json_t *result, const struct nof1_limits *limits, bool must_name,
                        struct nof1_error *error)
{
    struct rows rows = {.limits = limits, .error = error};
    if (limits->open) {
        return NOF1_OK;
    }
    bool census = json_object_get(result, "census") != NULL; /* for the members */
    rows.noisy = json_is_object(json_object_get(result, "noise"));
    rows.least = fmax(fmax(2.0, (double)limits->min_element_sites),
                      census ? 0.0 : (double)limits->min_class_patients);
    TRY(check_rows(&rows, result));
    TRY(check_share(result, limits, error));
    TRY(check_histogram(result, limits, error));
    return check_tables(result, limits, must_name, error);
}
