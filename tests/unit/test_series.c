/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reductions of one trial, by hand-computed examples.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stats/series.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

static const char csv[] = "trial,cycle,period,time,treatment,y,sex\n"
                          "a,1,1,1,0,10,F\na,1,1,2,0,14,F\na,1,2,3,1,9,F\n"
                          "a,2,3,4,1,,F\na,2,3,5,1,7,F\na,2,4,6,0,11,F\na,3,5,7,0,13,F\n"
                          "b,1,1,1,1,5,M\nb,1,1,2,1,6,M\n"
                          "c,,,1,0,1,F\nc,,,2,1,4,F\nc,,,3,0,2,F\nc,,,4,2,9,F\n";
static const char plan[] = "analysis: mixed_model\nreference: \"0\"\nactive: \"1\"\n"
                           "charter: {centre: 1, stratum: sex}\n";

struct fixture {
    struct nof1_arena *arena;
    struct test_study *study;
    double scratch[400];
};

static void load(struct fixture *f)
{
    f->arena = nof1_arena_new();
    f->study = test_trials_from_text(f->arena, csv, plan, NULL);
}

Test(series, keeps_observed_rows_of_the_two_arms)
{
    struct fixture f;
    struct nof1_series s;
    load(&f);
    nof1_series_of(&s, &f.study->study, &f.study->trial[0], f.scratch);
    cr_expect(s.rows == 6 && s.n[0] == 4 && s.n[1] == 2);
    cr_expect(s.y[0] == 9 && s.row[3] == 4 && s.period[3] == 3 && s.arm[2] == 1 && s.time[5] == 7);
    cr_expect(s.variance == NULL);
    nof1_series_of(&s, &f.study->study, &f.study->trial[2], f.scratch);
    cr_expect(s.rows == 3, "the third treatment is not part of the plan");
    nof1_arena_free(f.arena);
}

Test(series, respects_strata)
{
    struct fixture f;
    struct nof1_series s;
    size_t only_second[] = {1};
    load(&f);
    f.study->plan.strata = 1;
    f.study->plan.stratum = only_second;
    cr_expect(!nof1_series_in_strata(&f.study->study, &f.study->trial[0]));
    cr_expect(nof1_series_in_strata(&f.study->study, &f.study->trial[1]));
    nof1_series_of(&s, &f.study->study, &f.study->trial[0], f.scratch);
    cr_expect(s.rows == 0);
    nof1_arena_free(f.arena);
}

Test(series, period_and_cycle_differences)
{
    struct fixture f;
    struct nof1_series s;
    struct nof1_period_difference p;
    struct nof1_cycle_difference c;
    load(&f);
    nof1_series_of(&s, &f.study->study, &f.study->trial[0], f.scratch);
    nof1_period_difference(&p, &s);
    /* reference periods 12, 11, 13; active 9, 7 */
    cr_expect(p.k[0] == 3 && p.k[1] == 2 && test_close(p.d, -4, 1e-15, 1));
    cr_expect(test_close(p.ss, 2 + 2, 1e-15, 1), "%g", p.ss);
    nof1_cycle_difference(&c, &s);
    /* 9 - 12 and 7 - 11; the third cycle lacks an arm */
    cr_expect(c.k == 2 && test_close(c.d, -3.5, 1e-15, 1) && test_close(c.ss, 0.5, 1e-15, 1));
    nof1_series_of(&s, &f.study->study, &f.study->trial[1], f.scratch);
    nof1_period_difference(&p, &s);
    cr_expect(p.k[0] == 0 && p.k[1] == 1 && p.d == 0 && p.ss == 0, "one arm only");
    nof1_series_of(&s, &f.study->study, &f.study->trial[2], f.scratch);
    nof1_period_difference(&p, &s);
    nof1_cycle_difference(&c, &s);
    cr_expect(p.k[0] == 2 && p.k[1] == 1 && p.d == 2.5 && c.k == 0, "rows without period numbers");
    nof1_arena_free(f.arena);
}

Test(series, an_offset_costs_no_digit)
{
    struct fixture f;
    struct nof1_series s;
    struct nof1_period_difference before, after;
    load(&f);
    nof1_series_of(&s, &f.study->study, &f.study->trial[0], f.scratch);
    nof1_period_difference(&before, &s);
    for (size_t i = 0; i < s.rows; i++) {
        s.y[i] += 0x1p27; /* exact in binary */
    }
    nof1_period_difference(&after, &s);
    cr_expect(test_close(after.d, before.d, 1e-8, 1) && test_close(after.ss, before.ss, 1e-7, 1));
    nof1_arena_free(f.arena);
}
