/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Plans that totals already released answer (core/derive.h): for every analysis of one number a
 * trial, of tables and of generalised mixed models, the derived result is that of rounds of its
 * own, bit for bit; plans that need other sums do not follow.
 */
#include <criterion/criterion.h>
#include <core/derive.h>
#include <stdio.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

struct pair {
    const char *kind, *earlier, *later;
    bool follows;
};

#define COUNTS "kind: count, centre: 2"
#define BINARY "kind: binary"
#define SCALE "kind: continuous"
#define CLOSED ", open: false, min_class_patients: 5, max_release_ratio: 0.5"
#define SUMMARY "analysis: summary_test\n"
#define STRATA "analysis: stratified\n"
#define GOALS "analysis: goal_attainment\n"
#define TABLES "analysis: descriptive\n"
#define GLMM "analysis: glmm\n"

static const struct pair pairs[] = {
    {SCALE, SUMMARY, SUMMARY "level: 0.9\nnull_value: 1\nbenefit: lower\n", true},
    {SCALE, SUMMARY "standardise: within\n", SUMMARY, true},
    {SCALE, SUMMARY, SUMMARY "standardise: within\n", false},
    {SCALE, SUMMARY, SUMMARY "difference: cycles\n", false},
    {SCALE, SUMMARY "form: paired\n", SUMMARY "form: paired\nlevel: 0.8\n", true},
    {SCALE, SUMMARY "form: paired\n", SUMMARY "difference: cycles\n", false},
    {SCALE, SUMMARY "form: responder\nmcid: 1\nbenefit: lower\n",
     SUMMARY "form: responder\nmcid: 1\nbenefit: lower\nlevel: 0.9\n", true},
    {SCALE, SUMMARY "form: responder\nmcid: 1\nbenefit: lower\n",
     SUMMARY "form: responder\nmcid: 2\nbenefit: lower\n", false},
    {SCALE, SUMMARY "form: responder\nmcid: 1\nbenefit: lower\n",
     SUMMARY "form: responder\nmcid: 1\nbenefit: higher\n", false},
    {SCALE, GOALS "weights: [w]\n", GOALS "weights: [w]\nlevel: 0.9\nnull_value: 3\n", true},
    {SCALE, GOALS "weights: [w]\n", GOALS "weights: [2]\n", false},
    {SCALE, GOALS, GOALS "rho: 0.5\n", false},
    {SCALE, GOALS "form: mcid\nmcid: [w]\n", GOALS "form: mcid\nmcid: [w]\nlevel: 0.99\n", true},
    {SCALE, GOALS "form: mcid\nmcid: [w]\n", GOALS "form: responder\nmcid: [w]\nbenefit: lower\n",
     false},
    {SCALE, GOALS "form: responder\nmcid: [w]\nbenefit: lower\n",
     GOALS "form: responder\nmcid: [w]\nbenefit: lower\nlevel: 0.8\n", true},
    {SCALE, TABLES "by: [arm, period]\nhistogram: \"yes\"\n",
     TABLES "by: [arm]\nhistogram: \"no\"\n", true},
    {SCALE, TABLES "by: [arm]\n", TABLES "by: [period]\n", false},
    {COUNTS, TABLES "bins: 5\nhistogram: \"yes\"\n", TABLES "bins: 7\nhistogram: \"yes\"\n", false},
    {"kind: ordinal", TABLES "bins: 0\nhistogram: \"yes\"\n",
     TABLES "bins: 2\nhistogram: \"yes\"\n", false},
    {"kind: ordinal", TABLES "bins: 0\nhistogram: \"yes\"\nby: [period]\n",
     TABLES "bins: 0\nhistogram: \"yes\"\nby: [period]\n", true},
    {BINARY, STRATA "homogeneity: true\n", STRATA "level: 0.9\n", true},
    {BINARY, STRATA, STRATA "homogeneity: true\n", false},
    {BINARY, STRATA, STRATA "measure: RR\n", false},
    {BINARY, STRATA, STRATA "method: peto\n", false},
    {BINARY, STRATA "method: peto\nhomogeneity: true\n", STRATA "method: peto\nbenefit: lower\n",
     true},
    {BINARY, STRATA "method: conditional\n", STRATA "method: conditional\nlevel: 0.9\n", true},
    {COUNTS CLOSED, STRATA "method: conditional\nrounds: 4\n",
     STRATA "method: conditional\nrounds: 2\n", true},
    {COUNTS, STRATA "exposure: [w]\n", STRATA, false},
    {COUNTS, STRATA "events: any\nmeasure: OR\n", STRATA "events: any\nmeasure: OR\nlevel: 0.5\n",
     true},
    {BINARY, GLMM, GLMM "level: 0.9\n", true},
    {BINARY, GLMM, GLMM "quadrature: 5\n", false},
    {BINARY, GLMM "fixed: [treatment, period]\n", GLMM, false},
    {BINARY CLOSED, GLMM "incomplete: class\n", GLMM "incomplete: class\nlevel: 0.9\n", true},
    {BINARY ", open: true", GLMM "incomplete: class\n", GLMM "incomplete: class\nquadrature: 1\n",
     true},
    {BINARY ", open: true", GLMM "incomplete: class\nquadrature: 25\n",
     GLMM "incomplete: exclude\nquadrature: 9\nlevel: 0.9\n", true},
    {COUNTS CLOSED, GLMM "incomplete: class\n", GLMM "incomplete: class\nquadrature: 3\n", true},
};

/* Trials of three cycles whose outcomes suit every kind; w: constant within a trial. */
static const char *made(struct nof1_arena *arena, const char *kind)
{
    char *csv = nof1_arena_alloc(arena, 65536, 1);
    size_t length = (size_t)snprintf(csv, 65536, "trial,cycle,period,treatment,y,w\n");
    struct test_random random = {20};
    bool binary = strncmp(kind, BINARY, strlen(BINARY)) == 0;
    for (int t = 0; t < 60; t++) {
        double level = test_random_normal(&random);
        for (int r = 0; r < 6; r++) {
            double eta = level + 0.7 * (r % 2) + test_random_normal(&random);
            int y = binary ? eta > 0.3 : eta > -0.5 ? (int)(1.5 * (eta + 0.5)) : 0;
            length += (size_t)snprintf(csv + length, 65536 - length, "%d,%d,%d,%d,%d,%g\n", t + 1,
                                       r / 2 + 1, r + 1, r % 2, y, 0.5 + t % 4);
        }
    }
    return csv;
}

static struct test_study *study_of(struct nof1_arena *arena, const char *csv, const char *kind,
                                   const char *options)
{
    return test_trials_from_text(
        arena, csv, nof1_arena_printf(arena, "%scharter: {%s}\n", options, kind), NULL);
}

static void check_pair(const struct pair *p)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    struct nof1_history first, own, derived;
    struct nof1_model *earlier, *later;
    json_t *a = NULL, *b = NULL;
    const char *csv = made(arena, p->kind);
    struct test_study *s = study_of(arena, csv, p->kind, p->earlier);
    struct test_study *t = study_of(arena, csv, p->kind, p->later);
    nof1_rc_value rc = test_pooled_history(&earlier, &first, arena, &s->study, s->trial, s->patient,
                                           s->trials, &error);
    cr_assert(rc == NOF1_OK, "%s: %s", p->earlier, error.message);
    rc = test_pooled_history(&later, &own, arena, &t->study, t->trial, t->patient, t->trials,
                             &error);
    cr_assert(rc == NOF1_OK, "%s: %s", p->later, error.message);
    rc = nof1_derive(&derived, later, earlier, &first, arena);
    cr_expect(rc == (p->follows ? NOF1_OK : NOF1_E_NOT_FOUND), "%s then %s: %s", p->earlier,
              p->later, nof1_rc_code(rc));
    if (rc == NOF1_OK) {
        cr_assert(later->analysis->report(later, &own, arena, &a, &error) == NOF1_OK);
        cr_assert(later->analysis->report(later, &derived, arena, &b, &error) == NOF1_OK);
        cr_expect(json_equal(a, b), "%s then %s: other bits", p->earlier, p->later);
        json_decref(a);
        json_decref(b);
    }
    nof1_arena_free(arena);
}

Test(derived_sums, have_the_bits_of_rounds)
{
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        check_pair(&pairs[i]);
    }
}
