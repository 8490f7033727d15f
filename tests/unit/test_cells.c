/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small cells as an outsider sees them: over random tables, what is hidden has more than one value
 * that fits the sum and the codes, found by trying them all; the gate passes what suppression made,
 * refuses what it did not, and every analysis that publishes counts names them.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <stats/cells.h>
#include <stats/registry.h>

#include "support.h"

#define CELLS 4
#define WIDEST 40

static const struct nof1_limits limits = {.min_cell = 5, .rounding = 5};

/* The values of cell `of` that some numbers of the other hidden cells complete to the sum. */
static size_t values(const char *const *code, const double *count, size_t n, size_t of)
{
    size_t found = 0;
    for (int value = 0; value <= WIDEST; value++) {
        bool reach[WIDEST * CELLS + 1] = {false}, next[WIDEST * CELLS + 1];
        int sum = 0;
        reach[0] = true;
        for (size_t i = 0; i < n; i++) {
            if (code[i] == NULL) {
                continue;
            }
            bool small = strcmp(code[i], "E2401") == 0;
            int low = small ? 1 : count[i] == 0 ? 0 : (int)limits.min_cell;
            int high = small ? (int)limits.min_cell - 1 : WIDEST;
            memset(next, 0, sizeof next);
            sum += (int)count[i];
            for (int s = 0; s <= WIDEST * (CELLS - 1); s++) {
                for (int x = low; reach[s] && x <= high; x++) {
                    if ((i != of || x == value) && s + x <= WIDEST * CELLS) {
                        next[s + x] = true;
                    }
                }
            }
            memcpy(reach, next, sizeof reach);
        }
        found += reach[sum] ? 1 : 0;
    }
    return found;
}

static json_t *table_of(const struct nof1_limits *of, const double *count, const char *const *code,
                        size_t n, bool across)
{
    static const char *const name[] = {"a", "b", "c", "d"};
    json_t *cells = json_array(), *columns = json_array(), *wide = json_object();
    for (size_t i = 0; i < n; i++) {
        json_t *shown =
            code[i] != NULL ? json_null() : json_real(nof1_cells_rounded(of, count[i]));
        if (across) {
            json_object_set_new(wide, name[i], shown);
            json_array_append_new(columns, json_string(name[i]));
        } else {
            json_array_append_new(cells, json_pack("{s:o}", "n", shown));
        }
    }
    if (across) {
        json_array_append(cells, wide);
    } else {
        json_array_append_new(columns, json_string("n"));
    }
    json_decref(wide);
    return json_pack("{s:[{s:s,s:{s:o},s:o}]}", "tables", "title", "T", "counts",
                     across ? "across" : "down", columns, "cells", cells);
}

Test(cells, no_hidden_count_can_be_worked_out)
{
    struct test_random random = {.state = 11};
    size_t hidden = 0;
    for (int trial = 0; trial < 400; trial++) {
        double count[CELLS];
        const char *code[CELLS];
        struct nof1_error error = {0};
        size_t n = 2 + test_random_next(&random) % (CELLS - 1);
        for (size_t i = 0; i < n; i++) {
            count[i] = (double)(test_random_next(&random) % 4 == 0
                                    ? 0 : test_random_next(&random) % (trial % 2 ? 9 : 25));
        }
        nof1_cells_suppress(code, &limits, count, 1, n);
        bool shown = false; /* where all is hidden nothing more can be */
        for (size_t i = 0; i < n; i++) {
            shown = shown || code[i] == NULL;
        }
        for (size_t i = 0; i < n; i++) {
            bool small = count[i] > 0 && count[i] < 5;
            cr_expect(!small || (code[i] != NULL && strcmp(code[i], "E2401") == 0));
            if (shown && code[i] != NULL) {
                hidden++;
                cr_expect_gt(values(code, count, n, i), 1, "%d: cell %zu of %g %g %g %g", trial, i,
                             count[0], count[1], n > 2 ? count[2] : 0, n > 3 ? count[3] : 0);
            }
        }
        json_t *result = table_of(&limits, count, code, n, trial % 3 == 0);
        cr_expect_eq(nof1_cells_gate(result, &limits, true, &error), NOF1_OK, "%s", error.message);
        json_decref(result);
    }
    cr_expect_gt(hidden, 150);
}

Test(cells, no_row_is_a_patient)
{
    static const struct { const char *json; nof1_rc_value rc; } cases[] = {
        {"{\"estimates\":[{\"term\":\"a\",\"patients\":3}]}", NOF1_OK},
        {"{\"estimates\":[{\"term\":\"a\",\"patients\":0,\"sites\":0}]}", NOF1_OK},
        {"{\"estimates\":[{\"term\":\"a\",\"patients\":null}]}", NOF1_OK},
        {"{\"estimates\":[{\"term\":\"a\",\"patients\":1}]}", NOF1_E2401},
        {"{\"x\":{\"y\":[[{\"trials\":2}]]}}", NOF1_E2401},
        {"{\"x\":[{\"patients\":30,\"sites\":2}]}", NOF1_E2401},
        {"{\"residuals\":[{\"patient_id\":\"P7\",\"value\":1}]}", NOF1_E2401},
        {"{\"noise\":{\"sd\":3},\"tables\":[{\"cells\":[{\"patients\":1}]}]}", NOF1_OK}};
    const struct nof1_limits strict = {.min_cell = 5, .rounding = 1, .min_element_sites = 3},
                             open = {.open = true};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_error error = {0};
        json_t *result = json_loads(cases[i].json, 0, NULL);
        cr_assert_not_null(result, "%zu", i);
        cr_expect_eq(nof1_cells_gate(result, &strict, false, &error), cases[i].rc, "%zu", i);
        cr_expect_eq(nof1_cells_gate(result, &open, false, &error), NOF1_OK, "%zu", i);
        json_decref(result);
    }
}

/* The first of each case is refused for one reason, without which (the second) it passes. */
Test(cells, every_number_that_is_few_is_refused)
{
    static const char *const cases[][3] = {
        {"E2401", "{\"privacy\":{\"left_out\":3}}", "{\"privacy\":{\"left_out\":null}}"},
        {"E2401", "{\"privacy\":{\"left_out\":12}}", "{\"privacy\":{\"left_out\":10}}"},
        {"E2401", "{\"warnings\":[{\"code\":\"left_out\",\"text\":\"1 trial left out: x\"}]}",
         "{\"warnings\":[{\"code\":\"left_out\",\"text\":\"fewer than 8 trials left out: x\"}]}"},
        {"E2401",
         "{\"warnings\":[{\"code\":\"left_out\",\"text\":\"about 3 trials left out: x\"}]}",
         "{\"warnings\":[{\"code\":\"left_out\",\"text\":\"about 15 trials left out: x\"}]}"},
        {"E2401", "{\"privacy\":{\"classes\":[{\"group\":\"a\",\"patients\":7}]}}",
         "{\"privacy\":{\"classes\":[{\"group\":\"a\",\"patients\":8}]}}"},
        {"E2401", "{\"privacy\":{\"patients\":20.5}}", "{\"privacy\":{\"patients\":20}}"},
        {"E2401", "{\"fit\":{\"trials\":-9}}", "{\"fit\":{\"trials\":9}}"},
        {"E2401", "{\"rows\":[{\"site\":\"north\",\"mean\":4.5}]}",
         "{\"rows\":[{\"site\":\"north\",\"bytes_in\":4}]}"},
        {"E2401", "{\"summary\":{\"n\":40,\"max\":9.7}}", "{\"summary\":{\"n\":40,\"sd\":9.7}}"},
        {"E2401", "{\"x\":[{\"missing\":2}]}", "{\"x\":[{\"missing\":9}]}"},
        {"E2401", "{\"responders\":{\"count\":3,\"trials\":40}}",
         "{\"responders\":{\"count\":null,\"trials\":40}}"},
        {"E2401", "{\"responders\":{\"count\":38,\"trials\":40}}",
         "{\"responders\":{\"count\":30,\"trials\":40}}"},
        {"E2401",
         "{\"tables\":[{\"counts\":{\"n\":[\"trials\"]},\"cells\":[{\"mean\":4},{\"mean\":5}]}]}",
         "{\"tables\":[{\"counts\":{\"n\":[\"trials\"]},\"cells\":[{\"level\":4},{\"level\":5}]}]"
         "}"},
        {"E2401",
         "{\"histogram\":{\"breaks\":[0,1,2],\"arms\":[{\"level\":\"A\",\"counts\":[7,20]}]}}",
         "{\"histogram\":{\"breaks\":[0,1,2],\"arms\":[{\"level\":\"A\",\"counts\":[10,20]}]}}"},
        {"E2401",
         "{\"histogram\":{\"breaks\":[0,1,2],\"arms\":[{\"level\":\"A\",\"counts\":[30]}]}}",
         "{\"histogram\":{\"breaks\":[0,1],\"arms\":[{\"level\":\"A\",\"counts\":[30]}]}}"},
        {"E2402",
         "{\"histogram\":{\"breaks\":[0,1,2],\"arms\":[{\"level\":\"A\",\"counts\":[null,20]}]}}",
         "{\"histogram\":{\"breaks\":[0,1,2],\"arms\":[{\"level\":\"A\",\"counts\":[null,null]}]}"
         "}"},
        {"E2401",
         "{\"histogram\":{\"breaks\":[0,1,2],\"arms\":[{\"level\":\"A\",\"counts\":[10,30]}]},"
         "\"quantiles\":[{\"level\":\"A\",\"median\":1.3214285714285714}]}",
         "{\"histogram\":{\"breaks\":[0,1,2],\"arms\":[{\"level\":\"A\",\"counts\":[10,30]}]},"
         "\"quantiles\":[{\"level\":\"A\",\"median\":1.3333333333333333}]}"},
        {"E2401",
         "{\"histogram\":{\"breaks\":[0,1,2,3],\"arms\":[{\"level\":\"A\",\"counts\":[10,null,null]"
         "}]},"
         "\"quantiles\":[{\"level\":\"A\",\"median\":0.5}]}",
         "{\"histogram\":{\"breaks\":[0,1,2,3],\"arms\":[{\"level\":\"A\",\"counts\":[10,null,null]"
         "}]},"
         "\"quantiles\":[{\"level\":\"A\",\"median\":0.9,\"q75\":null}]}"},
        {"E2401", "{\"quantiles\":[{\"level\":\"A\",\"q75\":1}]}", "{\"quantiles\":null}"},
    };
    const struct nof1_limits strict = {.min_cell = 8, .rounding = 5, .min_element_sites = 3,
                                       .min_class_patients = 8}, open = {.open = true};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nof1_error error = {0};
        json_t *bad = json_loads(cases[i][1], 0, NULL), *good = json_loads(cases[i][2], 0, NULL);
        cr_assert(bad != NULL && good != NULL, "%zu", i);
        nof1_rc_value rc = nof1_cells_gate(bad, &strict, false, &error);
        cr_expect_str_eq(nof1_rc_code(rc), cases[i][0], "%s", cases[i][1]);
        cr_expect_eq(nof1_cells_gate(good, &strict, false, &error), NOF1_OK, "%s: %s", cases[i][2],
                     error.message);
        cr_expect_eq(nof1_cells_gate(bad, &open, false, &error), NOF1_OK);
        json_decref(bad);
        json_decref(good);
    }
}

/* The census is the members' own: small blocks are in it, single patients are not. */
Test(cells, a_census_has_small_blocks)
{
    const struct nof1_limits strict = {.min_cell = 8, .rounding = 5, .min_element_sites = 3,
                                       .min_class_patients = 8};
    for (int patients = 1; patients < 8; patients++) {
        struct nof1_error error = {0};
        json_t *census = json_pack("{s:{s:{s:i}}}", "census", "b1", "patients", patients);
        cr_expect_eq(nof1_cells_gate(census, &strict, false, &error) == NOF1_OK, patients >= 3);
        json_decref(census);
    }
}

Test(cells, the_gate_refuses_what_was_not_hidden)
{
    static const struct { double count[3]; bool hide; nof1_rc_value rc; } cases[] = {
        {{10, 20, 30}, false, NOF1_OK}, {{10, 20, 0}, false, NOF1_OK},
        {{10, 4, 30}, false, NOF1_E2401}, {{10, -1, 30}, false, NOF1_E2401},
        {{10, 12, 30}, false, NOF1_E2401}, {{10, 4, 30}, true, NOF1_E2402}};
    const struct nof1_limits exact = {.min_cell = 5, .rounding = 1},
                             open = {.min_cell = 5, .open = true};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int across = 0; across < 2; across++) {
            const char *code[3] = {NULL, cases[i].hide ? "E2401" : NULL, NULL};
            struct nof1_error error = {0};
            json_t *result = table_of(&exact, cases[i].count, code, 3, across == 1);
            cr_expect_eq(nof1_cells_gate(result, &limits, true, &error), cases[i].rc, "%zu", i);
            cr_expect_eq(nof1_cells_gate(result, &open, true, &error), NOF1_OK);
            cr_expect(cases[i].rc == NOF1_OK || strstr(error.message, "table T") != NULL);
            json_decref(result);
        }
    }
    struct nof1_error error = {0};
    json_t *silent = json_pack("{s:[{s:s,s:[{s:i}]}]}", "tables", "title", "T", "cells", "n", 1);
    cr_expect_eq(nof1_cells_gate(silent, &limits, true, &error), NOF1_E_BUG);
    cr_expect_eq(nof1_cells_gate(silent, &limits, false, &error), NOF1_OK);
    json_decref(silent);
}
