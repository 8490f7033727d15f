/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The charter that the lab derives from CSVs: every rule of docs/interfaces.md on small tables.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <node/sources/csv.h>
#include <support.h>
#include <tools/lab_charter.h>

struct lab {
    struct nof1_arena *arena;
    struct nof1_table *table[16];
    struct nof1_lab_source source[16];
    struct nof1_lab_derive from;
    struct nof1_error error;
};

static void add_site(struct lab *lab, const char *yaml, const char *csv)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h",
                                        "i", "j", "k", "l", "m", "n", "o", "p"};
    size_t s = lab->from.sources++;
    const struct nof1_node *node = NULL;
    const struct nof1_map *map = NULL;
    if (lab->arena == NULL) {
        lab->arena = nof1_arena_new();
    }
    cr_assert_eq(nof1_yaml_read(&node, lab->arena, "map", nof1_slice_text(yaml), NULL), NOF1_OK);
    cr_assert_eq(nof1_map_read(&map, lab->arena, node, &lab->error), NOF1_OK, "%s",
                 lab->error.message);
    cr_assert_eq(nof1_csv_read(&lab->table[s], map, "x.csv", nof1_slice_text(csv), &lab->error),
                 NOF1_OK, "%s", lab->error.message);
    lab->source[s] = (struct nof1_lab_source){names[s], lab->table[s]};
    lab->from.source = lab->source;
}

/* Derive, and check that core reads its own canonical form of it. */
static struct nof1_charter *derive(struct lab *lab, const char *policy)
{
    struct nof1_charter *charter = NULL;
    const struct nof1_charter *again = NULL;
    struct nof1_buffer bytes = {0};
    lab->from.policy = policy;
    nof1_rc_value rc = nof1_charter_derive(&charter, lab->arena, &lab->from, &lab->error);
    cr_assert_eq(rc, NOF1_OK, "%s", lab->error.message);
    cr_assert_eq(nof1_charter_canonical(&bytes, charter), NOF1_OK);
    rc = nof1_charter_read(&again, lab->arena, nof1_buffer_slice(&bytes), &lab->error);
    cr_expect_eq(rc, NOF1_OK, "%s", lab->error.message);
    nof1_buffer_free(&bytes);
    return charter;
}

static void lab_free(struct lab *lab)
{
    for (size_t s = 0; s < lab->from.sources; s++) {
        nof1_table_free(lab->table[s]);
    }
    nof1_arena_free(lab->arena);
}

static const char map[] =
    "outcomes: {y: {column: y, kind: continuous}, n: {column: n, kind: count}}\n"
    "covariates: [age, sex, stratum]\n";

Test(derive, dictionary)
{
    struct lab lab = {.from = {.outcome = "y", .reference = "new", .active = "old"}};
    add_site(&lab, map,
             "trial,cycle,period,treatment,y,n,age,sex,stratum\n"
             "t1,1,1,new,1.5,3,31,F,s2\nt1,1,2,old,2.25,0,31,F,s2\n"
             "t2,1,1,old,9,7,64,M,s1\nt2,1,2,new,4,1,64,M,s1\n");
    add_site(&lab, map,
             "trial,cycle,period,treatment,y,n,age,sex,stratum\n"
             "t1,1,1,new,5,2,45,,s1\nt1,1,2,old,,2,45,,s1\n");
    const struct nof1_charter *c = derive(&lab, "open");
    cr_expect(c->lab && c->any_arm && c->missing == NOF1_MISSING_ROWS && c->limits.open);
    cr_expect_eq(c->blocks, 1u);
    cr_expect_eq(c->treatments, 2u);
    cr_expect_str_eq(c->treatment[0], "new");
    cr_expect_str_eq(c->treatment[1], "old");
    cr_assert_eq(c->outcomes, 2u);
    const struct nof1_outcome *y = &c->outcome[0];
    /* range 1.5 to 9: four times 7.5 about 5.25; the third of five values is the median */
    cr_expect_eq(y->lower, -9.75);
    cr_expect_eq(y->upper, 20.25);
    cr_expect_eq(y->centre, 4.0);
    cr_expect_eq(y->quantum, 0.01);
    cr_expect_eq(y->sd_within, 3.0); /* one row an arm: about trials' means, sqrt(12.78 / 2) */
    cr_expect_eq(y->sd_between, 2.0); /* means 1.875, 6.5, 5: sd 2.36 */
    cr_expect_eq(c->outcome[1].lower, 0.0);
    cr_expect_eq(c->outcome[1].quantum, 1.0);
    cr_assert_eq(c->covariates, 3u);
    cr_expect_eq(c->covariate[0].kind, NOF1_NUMERIC);
    cr_expect_eq(c->covariate[0].centre, 45.0);
    cr_expect_eq(c->covariate[1].kind, NOF1_FACTOR);
    cr_expect_eq(c->covariate[1].levels, 2u);
    cr_expect_str_eq(c->covariate[1].level[0], "F");
    cr_expect_str_eq(c->stratum_covariate, "stratum");
    cr_expect_eq(c->strata, 2u);
    cr_expect_eq(c->site[0].patient_cap, 2u);
    cr_expect_eq(c->site[1].patient_cap, 2u);
    cr_expect_eq(c->max_periods, 1u);
    cr_expect_eq(c->max_cycles, 1u);
    cr_expect_eq(c->lambdas, 2u);
    cr_assert_eq(c->classes, 1u); /* the third trial misses an outcome */
    cr_expect_str_eq(c->class_[0].name, "1x1");
    cr_expect_eq(c->class_[0].schedule_rows, 2u);
    lab_free(&lab);
}

Test(derive, blocks_follow_the_policy)
{
    static const struct {
        size_t sites, blocks, last;
        const char *policy;
    } cases[] = {{3, 1, 3, "standard"},   {7, 1, 7, "standard"},   {8, 2, 4, "standard"},
                 {11, 2, 7, "standard"},  {12, 3, 4, "standard"},  {5, 1, 5, "ultra-rare"},
                 {8, 2, 5, "ultra-rare"}, {16, 1, 16, "open"},     {1, 1, 1, "open"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lab lab = {0};
        struct nof1_charter *c = NULL;
        for (size_t s = 0; s < cases[i].sites; s++) {
            add_site(&lab, "outcomes: {y: {column: y, kind: continuous}}\n",
                     "trial,period,treatment,y\nt,1,B,1\nt,2,A,2\n");
        }
        lab.from.policy = cases[i].policy;
        if (cases[i].sites == 3) { /* too few for a charter of this policy, not for deriving */
            cr_expect_eq(nof1_charter_derive(&c, lab.arena, &lab.from, &lab.error), NOF1_OK);
        } else {
            c = derive(&lab, cases[i].policy);
        }
        cr_assert_not_null(c);
        cr_expect_eq(c->blocks, cases[i].blocks, "case %zu: %zu", i, c->blocks);
        cr_expect_eq(c->block[c->blocks - 1].sites, cases[i].last, "case %zu", i);
        cr_expect_eq(c->any_arm, c->limits.open);
        cr_expect_str_eq(c->treatment[0], "A");
        lab_free(&lab);
    }
}

Test(derive, offsets_and_effects)
{
    struct lab lab = {0};
    add_site(&lab, "outcomes: {y: {column: y, kind: continuous}}\n",
             "trial,period,treatment,y\nt,1,B,100000001.25\nt,2,A,100000002.25\n");
    const struct nof1_charter *c = derive(&lab, "open");
    cr_expect_eq(c->outcome[0].lower, 100000001.75 - 2);
    cr_expect_eq(c->outcome[0].upper, 100000001.75 + 2);
    cr_expect(c->outcome[0].centre >= c->outcome[0].lower);
    lab_free(&lab);

    struct lab effects = {.from = {.reference = "placebo", .active = "drug"}};
    add_site(&effects, "outcomes: {d: {effect: yi, variance: vi}}\n",
             "trial,yi,vi\na,0.5,0.1\nb,0.25,0.2\n");
    c = derive(&effects, "open");
    cr_expect_str_eq(c->treatment[0], "placebo");
    cr_expect_str_eq(c->treatment[1], "drug");
    cr_expect_eq(c->outcome[0].quantum, 0.0);
    cr_expect_eq(c->classes, 0u);
    lab_free(&effects);
}

Test(derive, refusals)
{
    struct lab lab = {0};
    struct nof1_charter *c = NULL;
    add_site(&lab, "outcomes: {y: {column: y, kind: continuous}}\n",
             "trial,period,treatment,y\nt,1,A,1\nt,2,A,2\n");
    lab.from.policy = "open";
    cr_expect_eq(nof1_charter_derive(&c, lab.arena, &lab.from, &lab.error), NOF1_E_INPUT);
    cr_expect(strstr(lab.error.message, "1 treatments, 2 to 8 expected") != NULL, "%s",
              lab.error.message);
    lab.from.policy = "lax";
    cr_expect_eq(nof1_charter_derive(&c, lab.arena, &lab.from, &lab.error), NOF1_E_NOT_FOUND);
    lab.from.sources = 0;
    lab.from.policy = "open";
    cr_expect_eq(nof1_charter_derive(&c, lab.arena, &lab.from, &lab.error), NOF1_E_INPUT);
    lab.from.sources = 1;
    lab_free(&lab);
}
