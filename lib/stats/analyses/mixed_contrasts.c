/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * With three or more treatments: each pair of them compared, and one test that all have the same
 * mean (pbkrtest::KRmodcomp, lmerTest::contestMD, or the chi-square of Wald). Of the fitted fixed
 * effects alone; releases nothing. P values are not adjusted for their number.
 */
#include <base/json.h>
#include <math.h>
#include <stats/distributions.h>
#include <stats/matrix.h>
#include <string.h>

#include "mixed.h"

struct arms {
    const struct mixed_model *model;
    const struct mixed_fit *fit;
    struct nof1_arena *arena;
    size_t count;                  /* active arms with a column */
    size_t arm[NOF1_ARMS_MAX];
    const double *row[NOF1_ARMS_MAX]; /* their coefficients in the fitted ones */
    double *l;                     /* [count * p] */
};

static json_t *row_of(const char *name, double estimate, double variance, double df, double level)
{
    double error = sqrt(variance), reach = nof1_t_quantile((1 - level) / 2, df) * error;
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "contrast", name, "estimate",
                     nof1_json_number(estimate), "std.error", nof1_json_number(error), "statistic",
                     nof1_json_number(estimate / error), "df", nof1_json_number(df), "p.value",
                     nof1_json_number(nof1_t_two_sided(estimate / error, df)), "conf.low",
                     nof1_json_number(estimate - reach), "conf.high",
                     nof1_json_number(estimate + reach));
}

/* Arm a minus arm b; b is 0 (the reference, whose row is zero) or an arm before a. */
static nof1_rc add_contrast(json_t *cells, const struct arms *s, size_t a, size_t b)
{
    const struct mixed_fit *fit = s->fit;
    const struct mixed_model *m = s->model;
    size_t p = fit->used;
    double estimate = 0, variance, df = INFINITY;
    double *l = nof1_arena_alloc(s->arena, p, sizeof *l);
    ENSURE(l != NULL, NOF1_E_NO_MEMORY);
    for (size_t c = 0; c < p; c++) {
        l[c] = s->row[a][c] - (b == 0 ? 0 : s->row[b - 1][c]);
        estimate += l[c] * fit->beta[c];
    }
    variance = fit->point.sigma2 * nof1_bilinear(l, fit->point.c_inverse, l, p);
    if (m->df != MIXED_Z) {
        TRY(nof1_gaussian_contrast(&variance, &df, s->arena, &fit->sums, &fit->point,
                                   m->df == MIXED_KENWARD_ROGER, l));
    }
    const char *name = nof1_arena_printf(s->arena, "%s - %s", mixed_arm_name(m, s->arm[a]),
                                         mixed_arm_name(m, b == 0 ? 0 : s->arm[b - 1]));
    ENSURE(name != NULL, NOF1_E_NO_MEMORY);
    json_t *row = row_of(name, estimate, variance * fit->sigma2 / fit->point.sigma2, df, m->level);
    ENSURE(json_array_append_new(cells, row) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc add_test(json_t *cells, const struct arms *s)
{
    const struct mixed_fit *fit = s->fit;
    const struct mixed_model *m = s->model;
    double statistic = NAN, df = INFINITY;
    size_t q = s->count;
    nof1_rc_value rc =
        m->df == MIXED_Z
            ? nof1_gaussian_wald_test(&statistic, s->arena, &fit->point, fit->beta, s->l, q)
        : m->df == MIXED_KENWARD_ROGER
            ? nof1_gaussian_kenward_roger_test(&statistic, &df, s->arena, &fit->sums, &fit->point,
                                               fit->beta, s->l, q)
            : nof1_gaussian_satterthwaite_test(&statistic, &df, s->arena, &fit->sums, &fit->point,
                                               fit->beta, s->l, q);
    if (rc != NOF1_OK && rc != NOF1_E_MODEL) {
        return rc;
    }
    statistic *= fit->point.sigma2 / fit->sigma2;
    double p = m->df == MIXED_Z ? nof1_chi_square_upper(statistic * (double)q, (double)q)
                                : nof1_f_upper(statistic, (double)q, df);
    json_t *row = json_pack(
        "{s:s, s:s, s:o, s:i, s:o, s:o}", "term", "treatment", "test",
        m->df == MIXED_Z ? "chi-square" : "F", "statistic",
        nof1_json_number(m->df == MIXED_Z ? statistic * (double)q : statistic), "df1", (int)q,
        "df2", nof1_json_number(df), "p.value", nof1_json_number(p));
    ENSURE(json_array_append_new(cells, row) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc find_arms(struct arms *s, const double *uncentre)
{
    const struct mixed_fit *fit = s->fit;
    s->l = nof1_arena_alloc(s->arena, NOF1_ARMS_MAX * fit->used + 1, sizeof *s->l);
    ENSURE(s->l != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < fit->used; i++) {
        const struct mixed_column *column = &s->model->column[fit->use[i]];
        if (column->kind == MIXED_TREATMENT && !column->by_treatment) {
            double *row = s->l + s->count * fit->used;
            memcpy(row, uncentre + i * fit->used, fit->used * sizeof *row);
            s->row[s->count] = row;
            s->arm[s->count++] = column->arm;
        }
    }
    return NOF1_OK;
}

static nof1_rc fill(json_t *pairs, json_t *tests, const struct arms *s)
{
    for (size_t a = 0; a < s->count; a++) {
        for (size_t b = 0; b <= a; b++) {
            TRY(add_contrast(pairs, s, a, b));
        }
    }
    return add_test(tests, s);
}

nof1_rc_value mixed_tables(json_t *out, struct nof1_arena *arena, const struct mixed_model *model,
                           const struct mixed_fit *fit, const double *uncentre)
{
    struct arms s = {.model = model, .fit = fit, .arena = arena};
    if (model->arms < 3) {
        return NOF1_OK;
    }
    TRY(find_arms(&s, uncentre));
    if (s.count == 0) {
        return NOF1_OK;
    }
    json_t *pairs = json_array(), *tests = json_array();
    nof1_rc_value rc = fill(pairs, tests, &s);
    json_t *tables = json_pack(
        "[{s:s, s:[s,s,s,s,s,s,s,s], s:o}, {s:s, s:[s,s,s,s,s,s], s:o}]", "title",
        "Treatments compared", "columns", "contrast", "estimate", "std.error", "statistic", "df",
        "p.value", "conf.low", "conf.high", "cells", pairs, "title",
        "Are all treatments alike", "columns", "term", "test", "statistic", "df1", "df2",
        "p.value", "cells", tests);
    if (rc != NOF1_OK) {
        json_decref(tables);
        return rc;
    }
    ENSURE(json_object_set_new(out, "tables", tables) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}
