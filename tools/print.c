/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Results as text: see print.h.
 */
#include <tools/print.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_COLUMNS 12

/* R prints small p values as a bound. */
static void p_text(char *out, size_t size, const json_t *value)
{
    if (!json_is_number(value)) {
        snprintf(out, size, "NA");
    } else if (json_number_value(value) < 0.0001) {
        snprintf(out, size, "<.0001");
    } else {
        snprintf(out, size, "%.4f", json_number_value(value));
    }
}

/* One number with four decimals, as R's prints have them; "NA" when it is null. */
static void number_text(char *out, size_t size, const json_t *value)
{
    double x = json_number_value(value);
    if (json_is_integer(value)) {
        snprintf(out, size, "%lld", (long long)json_integer_value(value));
    } else if (!json_is_number(value)) {
        snprintf(out, size, "NA");
    } else if (x == 0.0 || (fabs(x) >= 0.001 && fabs(x) < 1e6)) {
        snprintf(out, size, "%.4f", x);
    } else {
        snprintf(out, size, "%.4g", x);
    }
}

static nof1_rc print_number(struct nof1_buffer *out, const json_t *value)
{
    char text[64];
    number_text(text, sizeof text, value);
    return nof1_buffer_printf(out, "%s", text);
}

static const char *text_of(const json_t *object, const char *key, const char *other)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? other : text;
}

/* ---- tables -------------------------------------------------------------------------------------
 */

struct column {
    const char *key;
    const char *title;
};

static bool is_count(const char *key)
{
    return strcmp(key, "rows") == 0 || strcmp(key, "trials") == 0 || strcmp(key, "missing") == 0;
}

static void cell_text(char *out, size_t size, const char *key, const json_t *value)
{
    bool name = strncmp(key, "term", 4) == 0;
    if (value == NULL || (name && json_is_null(value))) {
        snprintf(out, size, "%s", "");
    } else if (json_is_string(value)) {
        snprintf(out, size, "%s", json_string_value(value));
    } else if (strcmp(key, "p.value") == 0) {
        p_text(out, size, value);
    } else if (is_count(key) && json_is_number(value)) {
        snprintf(out, size, "%.0f", json_number_value(value));
    } else if (strcmp(key, "df") == 0 && json_is_real(value)) {
        double df = json_real_value(value);
        snprintf(out, size, df == floor(df) && df < 1e9 ? "%.0f" : "%.2f", df);
    } else {
        number_text(out, size, value);
    }
}

/* Columns that no row has are left out. */
static size_t used_columns(struct column *used, const json_t *rows, const struct column *column,
                           size_t columns)
{
    size_t count = 0;
    for (size_t c = 0; c < columns && count < MOST_COLUMNS; ++c) {
        bool some = false;
        for (size_t r = 0; r < json_array_size(rows); ++r) {
            const json_t *value = json_object_get(json_array_get(rows, r), column[c].key);
            some = some || (value != NULL && !json_is_null(value));
        }
        if (some) {
            used[count++] = column[c];
        }
    }
    return count;
}

static nof1_rc print_table(struct nof1_buffer *out, const json_t *rows,
                           const struct column *all_columns, size_t all)
{
    struct column column[MOST_COLUMNS];
    size_t columns = used_columns(column, rows, all_columns, all);
    int width[MOST_COLUMNS];
    char cell[256];
    for (size_t c = 0; c < columns; ++c) {
        width[c] = (int)strlen(column[c].title);
        for (size_t r = 0; r < json_array_size(rows); ++r) {
            cell_text(cell, sizeof cell, column[c].key,
                      json_object_get(json_array_get(rows, r), column[c].key));
            width[c] = (int)strlen(cell) > width[c] ? (int)strlen(cell) : width[c];
        }
        TRY(nof1_buffer_printf(out, "%s%*s", c == 0 ? "" : "  ", c == 0 ? -width[c] : width[c],
                               column[c].title));
    }
    TRY(nof1_buffer_printf(out, "\n"));
    for (size_t r = 0; r < json_array_size(rows); ++r) {
        for (size_t c = 0; c < columns; ++c) {
            cell_text(cell, sizeof cell, column[c].key,
                      json_object_get(json_array_get(rows, r), column[c].key));
            bool text = json_is_string(json_object_get(json_array_get(rows, r), column[c].key));
            TRY(nof1_buffer_printf(out, "%s%*s", c == 0 ? "" : "  ", text ? -width[c] : width[c],
                                   cell));
        }
        TRY(nof1_buffer_printf(out, "\n"));
    }
    return NOF1_OK;
}

/* ---- parts of a result --------------------------------------------------------------------------
 */

static nof1_rc print_estimates(struct nof1_buffer *out, const json_t *result)
{
    static const struct column columns[] = {{"term", "term"},
                                            {"estimate", "estimate"},
                                            {"std.error", "std.error"},
                                            {"statistic", "statistic"},
                                            {"df", "df"},
                                            {"p.value", "p.value"},
                                            {"conf.low", "conf.low"},
                                            {"conf.high", "conf.high"}};
    const json_t *rows = json_object_get(result, "estimates");
    if (json_array_size(rows) == 0) {
        return NOF1_OK;
    }
    TRY(nof1_buffer_printf(out, "Estimates:\n"));
    TRY(print_table(out, rows, columns, sizeof columns / sizeof columns[0]));
    return nof1_buffer_printf(out, "\n");
}

static nof1_rc print_components(struct nof1_buffer *out, const json_t *result)
{
    static const struct column columns[] = {{"group", "group"}, {"term1", "term1"},
                                            {"term2", "term2"}, {"estimate", "estimate"},
                                            {"sd", "std.dev"},  {"cor", "corr"}};
    const json_t *rows = json_object_get(result, "variance_components");
    if (json_array_size(rows) == 0) {
        return NOF1_OK;
    }
    TRY(nof1_buffer_printf(out, "Variance components:\n"));
    TRY(print_table(out, rows, columns, sizeof columns / sizeof columns[0]));
    const json_t *rho = json_object_get(result, "residual_correlation");
    if (json_is_number(rho)) {
        TRY(nof1_buffer_printf(out, "Serial correlation of residuals at distance 1: %.4f\n",
                               json_number_value(rho)));
    }
    return nof1_buffer_printf(out, "\n");
}

static nof1_rc print_line(struct nof1_buffer *out, const char *label, const json_t *value,
                          double factor, const char *unit)
{
    if (!json_is_number(value)) {
        return NOF1_OK;
    }
    return nof1_buffer_printf(out, "%-50s %.4f%s\n", label, factor * json_number_value(value),
                              unit);
}

static nof1_rc print_prediction(struct nof1_buffer *out, const json_t *prediction)
{
    const char *key;
    json_t *interval;
    json_object_foreach((json_t *)(uintptr_t)prediction, key, interval)
    {
        const json_t *low = json_object_get(interval, "low");
        const json_t *high = json_object_get(interval, "high");
        if (json_is_number(low) && json_is_number(high)) {
            TRY(nof1_buffer_printf(out, "Prediction interval (%s): %.4f to %.4f\n", key,
                                   json_number_value(low), json_number_value(high)));
        }
    }
    return NOF1_OK;
}

static nof1_rc print_heterogeneity(struct nof1_buffer *out, const json_t *result)
{
    char p[32];
    const json_t *h = json_object_get(result, "heterogeneity");
    const json_t *tau2 = json_object_get(h, "tau.squared");
    if (!json_is_number(tau2)) {
        return NOF1_OK;
    }
    json_t *tau = json_real(sqrt(fmax(json_number_value(tau2), 0.0)));
    nof1_rc_value rc = print_line(out, "tau^2 (estimated amount of heterogeneity):", tau2, 1, "");
    if (rc == NOF1_OK) {
        rc = print_line(out, "tau (square root of estimated tau^2 value):", tau, 1, "");
    }
    json_decref(tau);
    TRY(rc);
    TRY(print_line(out, "I^2 (heterogeneity / total variability):", json_object_get(h, "i.squared"),
                   1, "%"));
    TRY(print_line(out, "H^2 (total variability / sampling variability):",
                   json_object_get(h, "h.squared"), 1, ""));
    const json_t *q = json_object_get(h, "cochran.qe");
    if (json_is_number(q)) {
        p_text(p, sizeof p, json_object_get(h, "p.value"));
        TRY(nof1_buffer_printf(out, "\nTest for heterogeneity:\nQ(df = %.0f) = %.4f, p-val %s%s\n",
                               json_number_value(json_object_get(h, "df.residual")),
                               json_number_value(q), p[0] == '<' ? "" : "= ", p));
    }
    TRY(print_prediction(out, json_object_get(h, "prediction")));
    return nof1_buffer_printf(out, "\n");
}

/* The joint test of moderators: interaction of treatment and traits. */
static nof1_rc print_moderators(struct nof1_buffer *out, const json_t *result)
{
    char p[32];
    const json_t *test = json_object_get(result, "moderators");
    const json_t *df2 = json_object_get(test, "df2");
    if (!json_is_number(json_object_get(test, "statistic"))) {
        return NOF1_OK;
    }
    TRY(nof1_buffer_printf(out, "Test of moderators:\n%s(df%s = %lld",
                           json_is_number(df2) ? "F" : "QM", json_is_number(df2) ? "1" : "",
                           (long long)json_integer_value(json_object_get(test, "df1"))));
    if (json_is_number(df2)) {
        TRY(nof1_buffer_printf(out, ", df2 = %.0f", json_number_value(df2)));
    }
    p_text(p, sizeof p, json_object_get(test, "p.value"));
    TRY(nof1_buffer_printf(out, ") = %.4f, p-val %s%s\n",
                           json_number_value(json_object_get(test, "statistic")),
                           p[0] == '<' ? "" : "= ", p));
    TRY(print_line(out, "R^2 (heterogeneity accounted for):", json_object_get(test, "r.squared"),
                   1, "%"));
    return nof1_buffer_printf(out, "\n");
}

static nof1_rc print_fit(struct nof1_buffer *out, const json_t *result)
{
    static const char *const keys[] = {"logLik", "REMLcrit", "deviance", "AIC", "BIC"};
    const json_t *fit = json_object_get(result, "fit");
    if (fit == NULL) { /* nothing was fitted */
        return NOF1_OK;
    }
    bool some = false;
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; ++k) {
        const json_t *value = json_object_get(fit, keys[k]);
        if (json_is_number(value)) {
            TRY(nof1_buffer_printf(out, "%s%s ", some ? "  " : "", keys[k]));
            TRY(print_number(out, value));
            some = true;
        }
    }
    TRY(nof1_buffer_printf(out, some ? "\n" : ""));
    return nof1_buffer_printf(out, "Number of obs: %.0f, trials: %.0f, sites: %.0f\n",
                              json_number_value(json_object_get(fit, "nobs")),
                              json_number_value(json_object_get(fit, "trials")),
                              json_number_value(json_object_get(fit, "sites")));
}

/* The columns that a table names in their order, or those of counts, means and sds. */
static size_t table_columns(struct column *column, const json_t *table)
{
    static const char *const usual[] = {"level", "rows", "trials", "missing", "mean", "sd"};
    const json_t *named = json_object_get(table, "columns");
    size_t all = named == NULL ? sizeof usual / sizeof usual[0] : json_array_size(named);
    all = all < MOST_COLUMNS ? all : MOST_COLUMNS;
    for (size_t c = 0; c < all; ++c) {
        const char *key = named == NULL ? usual[c] : json_string_value(json_array_get(named, c));
        column[c] = (struct column){key == NULL ? "" : key, key == NULL ? "" : key};
    }
    return all;
}

/* Tables beside the estimates: {by | title, columns, cells}; any analysis may have them. */
static nof1_rc print_tables(struct nof1_buffer *out, const json_t *result)
{
    const json_t *tables = json_object_get(result, "tables");
    for (size_t t = 0; t < json_array_size(tables); ++t) {
        const json_t *table = json_array_get(tables, t);
        const char *title = text_of(table, "title", NULL);
        struct column column[MOST_COLUMNS];
        size_t columns = table_columns(column, table);
        TRY(nof1_buffer_printf(out, "%s%s:\n", title == NULL ? "By " : "",
                               title == NULL ? text_of(table, "by", "") : title));
        TRY(print_table(out, json_object_get(table, "cells"), column, columns));
        TRY(nof1_buffer_printf(out, "\n"));
    }
    return NOF1_OK;
}

static nof1_rc print_head(struct nof1_buffer *out, const json_t *result)
{
    const json_t *fit = json_object_get(result, "fit");
    const char *method = text_of(fit, "method", text_of(result, "method", NULL));
    const char *test = text_of(fit, "test", text_of(fit, "df.method", NULL));
    if (json_object_get(result, "heterogeneity") != NULL) {
        TRY(nof1_buffer_printf(out, "Random-Effects Model (k = %lld; tau^2 estimator: %s%s%s)\n",
                               (long long)json_integer_value(json_object_get(fit, "trials")),
                               method == NULL ? "" : method,
                               test == NULL ? "" : "; test: ", test == NULL ? "" : test));
    } else if (json_object_get(result, "variance_components") != NULL) {
        const char *family = text_of(result, "family", NULL);
        TRY(nof1_buffer_printf(out, "%s mixed model%s%s fit by %s\n",
                               family == NULL ? "Linear" : "Generalised linear",
                               family == NULL ? "" : ", ", family == NULL ? "" : family,
                               method == NULL ? "likelihood" : method));
    }
    const char *model = text_of(result, "model", NULL);
    if (model != NULL) {
        TRY(nof1_buffer_printf(out, "Model: %s\n", model));
    }
    return nof1_buffer_printf(out, "\n");
}

static nof1_rc print_notes(struct nof1_buffer *out, const json_t *result)
{
    const json_t *estimand = json_object_get(result, "estimand");
    const char *sentence = text_of(estimand, "sentence", NULL);
    if (sentence != NULL) {
        TRY(nof1_buffer_printf(out, "Estimand: %s; population: %s\n", sentence,
                               text_of(estimand, "population", "all trials")));
    }
    const json_t *warnings = json_object_get(result, "warnings");
    for (size_t w = 0; w < json_array_size(warnings); ++w) {
        const json_t *warning = json_array_get(warnings, w);
        TRY(nof1_buffer_printf(out, "Warning: %s\n", text_of(warning, "text", "")));
    }
    return NOF1_OK;
}

/* What was released: `privacy` of docs/interfaces.md, "Output". */
static nof1_rc print_privacy(struct nof1_buffer *out, const json_t *result)
{
    const json_t *privacy = json_object_get(result, "privacy");
    if (privacy == NULL) {
        return NOF1_OK;
    }
    TRY(nof1_buffer_printf(
        out,
        "\nPrivacy: %lld numbers of outcomes and %lld of design released about %lld patients, "
        "%lld round%s, %lld sites; ratio ",
        (long long)json_integer_value(json_object_get(privacy, "scalars")),
        (long long)json_integer_value(json_object_get(privacy, "design_scalars")),
        (long long)json_integer_value(json_object_get(privacy, "patients")),
        (long long)json_integer_value(json_object_get(privacy, "rounds")),
        json_integer_value(json_object_get(privacy, "rounds")) == 1 ? "" : "s",
        (long long)json_integer_value(json_object_get(privacy, "sites"))));
    TRY(print_number(out, json_object_get(privacy, "ratio")));
    TRY(nof1_buffer_printf(out, "; form %s\n", text_of(privacy, "form", "-")));
    const char *policy = text_of(privacy, "policy", "");
    if (strncmp(policy, "open", 4) == 0) {
        TRY(nof1_buffer_printf(out, "LAB, NO DISCLOSURE CONTROL (policy open): do not share\n"));
    }
    return NOF1_OK;
}

/* What "rule: detail; remedy" says besides rule and remedy; *length 0: nothing. */
static const char *detail_of(size_t *length, const char *text, const char *rule, const char *remedy)
{
    size_t head = strlen(rule), tail = strlen(remedy), all = strlen(text);
    if (strncmp(text, rule, head) == 0) {
        head += strncmp(text + head, ": ", 2) == 0 ? 2 : 0;
        text += head;
        all -= head;
    }
    if (tail > 0 && all >= tail && strcmp(text + all - tail, remedy) == 0) {
        all -= tail;
        all -= all >= 2 && strncmp(text + all - 2, "; ", 2) == 0 ? 2 : 0;
    }
    *length = all;
    return text;
}

static nof1_rc print_refusal(struct nof1_buffer *out, const json_t *refusal)
{
    TRY(nof1_buffer_printf(out, "Refused: %s", text_of(refusal, "code", "")));
    const char *site = text_of(refusal, "site", NULL);
    TRY(nof1_buffer_printf(out, "%s%s\n", site == NULL ? "" : " by ", site == NULL ? "" : site));
    const char *rule = text_of(refusal, "rule", "");
    const char *remedy = text_of(refusal, "remedy", "");
    TRY(nof1_buffer_printf(out, "  rule:   %s\n", rule));
    size_t length;
    const char *detail = detail_of(&length, text_of(refusal, "text", ""), rule, remedy);
    if (length > 0) {
        TRY(nof1_buffer_printf(out, "  reason: %.*s\n", (int)length, detail));
    }
    return nof1_buffer_printf(out, "  remedy: %s\n", remedy);
}

nof1_rc_value nof1_print_result(struct nof1_buffer *out, const json_t *result, const char *next)
{
    const json_t *refusal = json_object_get(result, "refusal");
    if (refusal != NULL) {
        TRY(print_refusal(out, refusal));
    } else {
        TRY(print_head(out, result));
        TRY(print_heterogeneity(out, result));
        TRY(print_components(out, result));
        TRY(print_estimates(out, result));
        TRY(print_moderators(out, result));
        TRY(print_tables(out, result));
        TRY(print_fit(out, result));
        TRY(print_notes(out, result));
        TRY(print_privacy(out, result));
    }
    return next == NULL ? NOF1_OK : nof1_buffer_printf(out, "Next: %s\n", next);
}
