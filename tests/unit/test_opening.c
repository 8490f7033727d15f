/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What everybody derives from public bytes alone: the counts of round 0, rounded parameters, the
 * census plan and its counting, and the completion of a statistician's plan.
 */
#include "hand_query.h"

#include <core/census_analysis.h>

/* ---- parameters ------------------------------------------------------------ */

Test(opening, parameters_have_forty_significant_bits)
{
    static const struct { double value, rounded; } rows[] = {
        {0, 0}, {-0.0, 0}, {1, 1}, {-1.5, -1.5}, {0x1.fffffffffp0, 0x1.fffffffffp0},
        {0x1.0000000001p0, 0x1p0},                /* half a unit, to even */
        {0x1.0000000003p0, 0x1.0000000004p0},     /* one and a half, to even */
        {0x1.0000000001001p0, 0x1.0000000002p0}, /* more than half */
        {0x1.ffffffffffffp0, 0x1p1},              /* carries */
        {-0x1.0000000003p-900, -0x1.0000000004p-900}, {0x1p-1074, 0x1p-1074},
        {0x1.23456789abcdep1000, 0x1.23456789acp1000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double rounded = nof1_round_parameter(rows[i].value);
        cr_expect_eq(rounded, rows[i].rounded, "%a: %a", rows[i].value, rounded);
        cr_expect_eq(signbit(rounded), signbit(rows[i].rounded), "%a", rows[i].value);
        cr_expect_eq(nof1_round_parameter(rounded), rounded, "rounding twice");
    }
    cr_expect(isnan(nof1_round_parameter(NAN)));
    cr_expect(isinf(nof1_round_parameter(INFINITY)));
}

Test(opening, one_unit_is_close_two_are_not)
{
    static const struct { double offered, own; bool close; } rows[] = {
        {1, 1, true},
        {1, 1 + 0x1p-39, true},
        {1, 1 + 0x1.4p-39, true},
        {1, 1 + 0x1.8p-38, false},
        {1, 1 - 0x1p-40, true},
        {1 + 0x1p-45, 1, false}, /* not rounded */
        {0, 0, true},
        {0, 0x1p-300, false},
        {1, -1, false},
        {NAN, NAN, false},
        {INFINITY, INFINITY, false},
        {0x1p-500, 0x1p-500 + 0x1p-539, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(nof1_parameter_close(rows[i].offered, rows[i].own), rows[i].close,
                     "row %zu: %a %a", i, rows[i].offered, rows[i].own);
    }
}

/* ---- round 0 ------------------------------------------------------------ */

Test(opening, layout_names_every_count_once)
{
    struct hand *h = hand_new(&plain);
    struct nof1_opening opening;
    const struct nof1_model *model = h->query->model;
    MUST(nof1_opening_layout(&opening, h->arena, model, h->query->study.plan->atoms));
    cr_expect_eq(opening.group_patients, 4);
    cr_expect_eq(opening.group_trials, 4 + model->groups);
    cr_expect_eq(opening.group_sites, 4 + 2 * model->groups);
    cr_expect_eq(opening.block_patients, 4 + 3 * model->groups);
    cr_expect_eq(opening.atom_first, opening.sparse_sites + opening.sparse);
    cr_expect_eq(opening.unlisted, opening.atom_first + NOF1_ATOM_PARTS * opening.atoms);
    cr_expect_eq(opening.elements, opening.unlisted + 4);
    for (size_t i = 0; i < opening.elements; i++) {
        cr_assert_not_null(opening.name[i]);
        for (size_t j = 0; j < i; j++) {
            cr_expect_str_neq(opening.name[i], opening.name[j]);
        }
    }
    double *total = nof1_arena_alloc(h->arena, opening.elements, sizeof *total);
    struct nof1_counts counts;
    for (size_t i = 0; i < opening.elements; i++) {
        total[i] = (double)i;
    }
    MUST(nof1_opening_counts(&counts, h->arena, model, &opening, total));
    cr_expect_eq(counts.sites, 0);
    cr_expect_eq(counts.trials, 1);
    cr_expect_eq(counts.patients, 2);
    cr_expect_eq(counts.left_out, 3);
    cr_expect_eq(counts.group_patients[0], opening.group_patients);
    cr_expect_eq(counts.group_trials[0], opening.group_trials);
    cr_expect_eq(counts.group_sites[0], opening.group_sites);
    const double bad[] = {-1, 0.5, 0x1p51, NAN, INFINITY};
    for (size_t i = 0; i < opening.elements; i++) {
        for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++) {
            double kept = total[i];
            total[i] = bad[b];
            cr_expect_eq(nof1_opening_counts(&counts, h->arena, model, &opening, total),
                         NOF1_E2501, "%s = %g", opening.name[i], bad[b]);
            total[i] = kept;
        }
    }
    hand_free(h);
}

/* ---- plans ------------------------------------------------------------ */

Test(opening, census_plan_follows_from_the_charter)
{
    struct hand *h = hand_new(&plain);
    struct nof1_buffer first = {0}, again = {0}, next = {0};
    struct nof1_query *query = NULL;
    MUST(nof1_census_plan(&first, h->charter, 1));
    MUST(nof1_census_plan(&again, h->charter, 1));
    MUST(nof1_census_plan(&next, h->charter, 2));
    cr_expect(nof1_slice_equal(nof1_buffer_slice(&first), nof1_buffer_slice(&again)));
    cr_expect_not(nof1_slice_equal(nof1_buffer_slice(&first), nof1_buffer_slice(&next)));
    MUST(nof1_query_new(&query, h->charter, h->census, nof1_buffer_slice(&first), NULL));
    cr_expect(query->census);
    cr_expect_eq(query->sites, SITES);
    cr_expect_null(nof1_analysis_find("census"), "not for statisticians");
    nof1_query_free(query);
    nof1_buffer_free(&first);
    nof1_buffer_free(&again);
    nof1_buffer_free(&next);
    hand_free(h);
}

/* Somebody writes a census of their own: the same analysis, other bytes. */
Test(opening, only_the_charters_census_is_one)
{
    struct hand *h = hand_new(&plain);
    struct nof1_buffer bytes = {0};
    struct nof1_query *query = NULL;
    MUST(nof1_census_plan(&bytes, h->charter, 1));
    char *text = nof1_arena_alloc(h->arena, bytes.length + 1, 1);
    memcpy(text, bytes.data, bytes.length);
    char *at = strstr(text, "\"title\":\"c");
    cr_assert_not_null(at);
    at[9] = 'd';
    nof1_rc_value rc =
        nof1_query_new(&query, h->charter, NULL, nof1_slice_of(text, bytes.length), NULL);
    cr_expect_neq(rc, NOF1_OK);
    nof1_buffer_free(&bytes);
    hand_free(h);
}

Test(opening, a_completed_plan_says_everything)
{
    struct hand *h = hand_new(&plain);
    const struct nof1_plan *plan = h->query->study.plan;
    cr_expect_eq(plan->blocks, 1);
    cr_expect_eq(plan->epoch, 1);
    cr_expect_eq(plan->max_rounds, h->query->model->max_rounds);
    cr_expect_eq(plan->atoms, 1);
    cr_expect_str_eq(plan->atom[0], "0");
    cr_expect(plan->verify_full);
    cr_expect_eq(plan->not_after, START / 1000 + 7200 + 600 + 30 * 86400);
    cr_expect_gt(plan->elements, 0);
    const struct nof1_node *form = nof1_node_get(plan->options, "incomplete");
    cr_expect_str_neq(form->text, "auto", "the form is written down");
    /* completing twice, or preparing the completed bytes, changes nothing */
    struct nof1_slice again = hand_complete(h, hand_plan_text, 0, NULL);
    cr_expect(nof1_slice_equal(again, h->plan));
    hand_free(h);
}

Test(opening, every_changed_byte_of_a_plan_is_refused_or_another_plan)
{
    struct hand *h = hand_new(&plain);
    struct test_random random = {3};
    size_t refused = 0, other = 0;
    for (size_t i = 0; i < 300; i++) {
        uint8_t *bytes = nof1_arena_alloc(h->arena, h->plan.length, 1);
        struct nof1_query *query = NULL;
        struct nof1_error error = {0};
        memcpy(bytes, h->plan.data, h->plan.length);
        bytes[test_random_next(&random) % h->plan.length] ^= (uint8_t)(1u << (i % 7));
        if (nof1_query_new(&query, h->charter, h->census,
                           nof1_slice_of(bytes, h->plan.length), &error) == NOF1_OK) {
            cr_expect_neq(memcmp(query->study.plan->hash, h->query->study.plan->hash, 32), 0);
            nof1_query_free(query);
            other++;
        } else {
            refused++;
        }
    }
    cr_expect_gt(refused, other, "%zu refused, %zu other plans", refused, other);
    hand_free(h);
}

/* ---- the census' own counting ------------------------------------------------------------ */

static double counted(const struct hand *h, const double *count, const char *name)
{
    const struct nof1_census_element *element = NULL;
    size_t elements = 0;
    MUST(nof1_census_elements(&element, &elements, h->arena, h->charter));
    for (size_t e = 0; e < elements; e++) {
        if (strcmp(element[e].name, name) == 0) {
            return count[e];
        }
    }
    cr_assert_fail("no element %s", name);
    return NAN;
}

Test(opening, census_counts_shapes_of_trials)
{
    struct hand *h = hand_new(&plain);
    struct nof1_epoch *epoch = &h->epoch[0];
    double count[400] = {0};
    double *y[4], *sex = (double *)(uintptr_t)epoch->trial[3].covariate[0];
    for (size_t t = 0; t < 4; t++) {
        y[t] = (double *)(uintptr_t)epoch->trial[t].outcome[0];
    }
    /* rows are A B B A A B: cycles (A B) (B A) (A B) */
    y[1][1] = NAN;                       /* two complete cycles left */
    y[2][0] = y[2][3] = y[2][4] = NAN;   /* only B: not in the analysis set */
    for (size_t r = 0; r < ROWS; r++) {
        sex[r] = NAN;                    /* no stratum, missing covariate */
    }
    y[3][1] = y[3][2] = y[3][4] = NAN;   /* A . . A . B: one complete cycle? no: cycle 3 lacks A */
    y[3][5] = 1;
    ((uint32_t *)(uintptr_t)epoch->patient)[1] = 0; /* trials 0 and 1 are of one patient */
    ((uint32_t *)(uintptr_t)epoch->patient)[2] = 1;
    ((uint32_t *)(uintptr_t)epoch->patient)[3] = 2;
    epoch->patients = 3;
    MUST(nof1_census_site_counts(count, h->arena, h->charter, 0, epoch, 20, 0.1));
    cr_expect_eq(counted(h, count, "patients"), 3);
    cr_expect_eq(counted(h, count, "trials"), 4);
    cr_expect_eq(counted(h, count, "sites"), 1);
    cr_expect_eq(counted(h, count, "missing:sex"), 1);
    cr_expect_eq(counted(h, count, "y/patients"), 2);
    cr_expect_eq(counted(h, count, "y/trials"), 3);
    cr_expect_eq(counted(h, count, "y/sites"), 1);
    cr_expect_eq(counted(h, count, "y/class:3x3"), 1);
    cr_expect_eq(counted(h, count, "y/cycles:3"), 1);
    cr_expect_eq(counted(h, count, "y/cycles:2"), 1);
    cr_expect_eq(counted(h, count, "y/cycles:0"), 1);
    cr_expect_eq(counted(h, count, "y/incomplete"), 1);
    cr_expect_eq(counted(h, count, "y/pattern:3:3"), 1);
    cr_expect_eq(counted(h, count, "y/pattern:3:2"), 1);
    cr_expect_eq(counted(h, count, "y/pattern:2:1"), 1);
    cr_expect_eq(counted(h, count, "y/dominated"), 1, "2 of 19 is more than a tenth");
    MUST(nof1_census_site_counts(count, h->arena, h->charter, 0, epoch, 20, 0.2));
    cr_expect_eq(counted(h, count, "y/dominated"), 0);
    hand_free(h);
}

Test(opening, census_totals_must_be_counts)
{
    struct hand *h = hand_new(&plain);
    const struct nof1_census *census = NULL;
    const struct nof1_census_element *element = NULL;
    const struct nof1_plan at = {.epoch = 3};
    size_t elements = 0;
    MUST(nof1_census_elements(&element, &elements, h->arena, h->charter));
    double *total = nof1_arena_alloc(h->arena, elements, sizeof *total);
    total[0] = 7;
    MUST(nof1_census_from_totals(&census, h->arena, h->charter, &at, total));
    cr_expect_eq(census->count[0], 7);
    cr_expect_eq(census->epoch, 3);
    total[1] = -1;
    cr_expect_eq(nof1_census_from_totals(&census, h->arena, h->charter, &at, total), NOF1_E2501);
    total[1] = 0.25;
    cr_expect_eq(nof1_census_from_totals(&census, h->arena, h->charter, &at, total), NOF1_E2501);
    hand_free(h);
}
