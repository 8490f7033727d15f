/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every check of the vault that looks at plan, charter, limits and public totals: for each code the
 * smallest scenario that triggers it and one just inside that does not. Also the release ratio, the
 * entropy rule against measured values, and atoms.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <core/atoms.h>
#include <core/checks.h>
#include <core/entropy.h>

#define SITES 6
#define GROUPS 2
#define ATOMS 2
#define SPARSE 1

/* ---- a query made of plain structs ----------------------------------------------------------- */

struct scene {
    struct nof1_limits limits;
    struct nof1_outcome outcome;
    struct nof1_member site[SITES];
    struct nof1_block block[2];
    struct nof1_class class_[1];
    struct nof1_charter charter;
    struct nof1_plan plan;
    struct nof1_model model;
    struct nof1_query query;
    struct nof1_opening opening;
    struct nof1_load load[4];
    struct nof1_loads loads;
    uint64_t group_patients[GROUPS], group_trials[GROUPS], group_sites[GROUPS];
    struct nof1_counts counts;
    double total[40];
    uint64_t charged[ATOMS], own_charged[ATOMS];
    uint64_t own_group[GROUPS], own_atom[ATOMS];
    struct nof1_own own;
    struct nof1_opened opened;
    size_t self;
    uint64_t queries_epoch, queries_day;
    double weight[3];
    size_t weights;
};

static const size_t first_block[] = {0, 1, 2}, second_block[] = {3, 4, 5}, both_blocks[] = {0, 1},
                    roster[] = {0, 1, 2, 3, 4, 5};
static const char *const groups[] = {"class:3x3", "class:2x2"};
static const char *const names[40] = {"sites", "trials", "patients", "left out", "g0", "g1", "t0",
                                      "t1", "s0", "s1", "b0", "b1", "sites feeding/x",
                                      "patients feeding/x"};
static const struct nof1_support support[] = {{1, 0, false, "x"}};

static void set_people(struct scene *s)
{
    for (size_t i = 0; i < SITES; i++) {
        s->site[i].patient_cap = 10;
    }
    s->block[0] = (struct nof1_block){"north", 3, first_block};
    s->block[1] = (struct nof1_block){"south", 3, second_block};
    s->outcome = (struct nof1_outcome){.name = "y", .kind = NOF1_CONTINUOUS, .sd_within = sqrt(2),
                                       .sd_between = sqrt(2), .family = "y"};
    s->charter = (struct nof1_charter){.sites = SITES, .site = s->site, .blocks = 2,
                                       .block = s->block, .outcomes = 1, .outcome = &s->outcome};
    s->plan = (struct nof1_plan){.blocks = 2, .block = both_blocks, .active = 1};
    s->query.study = (struct nof1_study){&s->charter, NULL, &s->plan};
    s->query.sites = SITES;
    s->query.site = roster;
}

/* Forty patients in two classes, two atoms, two blocks; every limit as in `standard` but blocks. */
static void set_up(struct scene *s)
{
    *s = (struct scene){0};
    s->limits = (struct nof1_limits){
        .min_sites = 5, .assumed_colluders = 1, .min_block_sites = 3, .min_patients_honest = 15,
        .min_patients_block = 5, .min_element_sites = 3, .min_atom_patients = 8, .min_others = 5,
        .min_class_patients = 8, .max_rounds_query = 30, .max_queries_epoch = 50,
        .max_queries_day = 5, .min_residual_df = 10, .min_entropy_bits = 16,
        .max_site_share = 0.5, .max_trial_share = 0.33, .max_net_ratio = 0.5,
        .max_release_ratio = 0.33, .max_params_ratio = 0.2};
    set_people(s);
    s->model = (struct nof1_model){.study = &s->query.study, .groups = GROUPS, .group = groups,
                                   .group_is_class = true, .max_rounds = 1,
                                   .fixed_parameters = 2};
    s->query.model = &s->model;
    s->opening = (struct nof1_opening){.elements = 26, .group_patients = 4, .group_trials = 6,
                                       .group_sites = 8, .block_patients = 10, .sparse_sites = 12,
                                       .sparse = SPARSE, .atoms = ATOMS, .atom_blocks = 1,
                                       .atom_first = 14, .unlisted = 22, .changed = 23,
                                       .sparse_patients = 13, .support = support,
                                       .name = names};
    s->load[0] = (struct nof1_load){0, 2, 0, 5};
    s->load[1] = (struct nof1_load){0, 2, 1, 5};
    s->load[2] = (struct nof1_load){1, 1, -1, 1};
    s->loads = (struct nof1_loads){3, s->load};
    const double total[] = {6, 40, 40, 0, 20, 20, 20, 20, 6, 6, 20, 20, 5,
                            9, 20, 6, 0, 0, 20, 6, 0, 0};
    memcpy(s->total, total, sizeof total);
    for (size_t g = 0; g < GROUPS; g++) {
        s->group_patients[g] = s->group_trials[g] = 20;
        s->group_sites[g] = 6;
        s->own_group[g] = 3;
    }
    s->counts = (struct nof1_counts){6, 40, 40, 0, s->group_patients, s->group_trials,
                                     s->group_sites};
    s->own_atom[0] = s->own_atom[1] = 3;
    s->own = (struct nof1_own){6, 6, s->own_group, s->own_atom, s->own_charged, NULL};
    s->opened = (struct nof1_opened){&s->limits, &s->query, &s->opening, &s->loads, &s->counts,
                                     s->total, s->charged};
    s->weights = 2;
    s->weight[0] = s->weight[1] = 1;
}

/* Everything, in the order of checks.h. */
static nof1_rc_value run_all(struct scene *s)
{
    struct nof1_error error = {0};
    nof1_rc_value rc = nof1_check_roster(&s->limits, &s->query, s->self, &error);
    rc = rc ? rc
            : nof1_check_budget(&s->limits, &s->query, s->queries_epoch, s->queries_day, &error);
    rc = rc ? rc : nof1_check_opening(&s->opened, &error);
    rc = rc ? rc : nof1_check_own(&s->opened, &s->own, &error);
    rc = rc ? rc
            : nof1_check_weights(&s->limits, s->weights, s->weight,
                                 2.0 / (double)s->counts.trials, &error);
    cr_expect(rc == NOF1_OK || (error.rc == rc && error.message[0] != 0));
    return rc;
}

/* ---- the table ------------------------------------------------------------ */

static void set_atom(struct scene *s, size_t entry, double patients, double sites)
{
    s->total[14 + entry] = patients;
    s->total[15 + entry] = sites;
}

static void set_group(struct scene *s, uint64_t first)
{
    s->group_patients[0] = s->group_trials[0] = first;
    s->group_patients[1] = s->group_trials[1] = 40 - first;
}

static void not_named(struct scene *s) { s->self = SITES; }
static void named(struct scene *s) { s->self = 5; }
static void block_small(struct scene *s) { s->limits.min_block_sites = 4; }
static void block_exact(struct scene *s) { s->limits.min_block_sites = 3; }
static void sites_few(struct scene *s) { s->limits.min_sites = 7; }
static void sites_exact(struct scene *s) { s->limits.min_sites = 6; }
static void colluders_many(struct scene *s) { s->limits.assumed_colluders = 4; }
static void colluders_exact(struct scene *s)
{
    s->limits.assumed_colluders = 3;
    s->limits.min_patients_honest = 10;
}
static void rounds_many(struct scene *s) { s->model.max_rounds = 31; }
static void rounds_exact(struct scene *s) { s->model.max_rounds = 30; }
static void epoch_used(struct scene *s) { s->queries_epoch = 50; }
static void epoch_last(struct scene *s) { s->queries_epoch = 49; }
static void day_used(struct scene *s) { s->queries_day = 5; }
static void day_last(struct scene *s) { s->queries_day = 4; }
static void site_absent(struct scene *s) { s->counts.sites = 5; }
static void cap_exceeded(struct scene *s)
{
    s->total[10] = 31;
    s->total[11] = 9;
}
static void cap_exact(struct scene *s)
{
    s->total[10] = 30;
    s->total[11] = 10;
}
static void blocks_differ(struct scene *s) { s->total[10] = 21; }
static void honest_few(struct scene *s) { s->limits.min_patients_honest = 31; }
static void honest_exact(struct scene *s) { s->limits.min_patients_honest = 30; }
static void block_patients_few(struct scene *s) { s->limits.min_patients_block = 21; }
static void block_patients_exact(struct scene *s) { s->limits.min_patients_block = 20; }
static void class_small(struct scene *s) { set_group(s, 7); }
static void class_exact(struct scene *s)
{
    set_group(s, 8);
    s->limits.max_release_ratio = 0.4; /* 5 / (2 * 8) */
}
static void class_empty(struct scene *s)
{
    set_group(s, 0);
    s->group_sites[0] = 0;
    s->own_group[0] = 0;
    s->own_group[1] = 6;
}
static void group_in_few_sites(struct scene *s) { s->group_sites[1] = 2; }
static void group_in_enough_sites(struct scene *s) { s->group_sites[1] = 3; }
static void element_of_few(struct scene *s) { s->total[12] = 2; }
static void element_of_enough(struct scene *s) { s->total[12] = 3; }
static void element_of_none(struct scene *s) { s->total[12] = s->total[13] = 0; }
static void element_of_few_patients(struct scene *s) { s->total[13] = 7; }
static void element_of_enough_patients(struct scene *s) { s->total[13] = 8; }
static void atom_used_few(struct scene *s) { set_atom(s, 0, 7, 6); }
static void atom_used_exact(struct scene *s)
{
    set_atom(s, 0, 8, 3);
    s->limits.max_release_ratio = 0.7; /* ten numbers of a block over 2 * 8 */
    s->limits.max_net_ratio = 1.1;
}
static void atom_used_in_few_sites(struct scene *s) { set_atom(s, 0, 20, 2); }
static void atom_not_listed(struct scene *s) { s->total[22] = 1; }
static void changed_alike(struct scene *s)
{
    s->total[23] = 8;
    s->total[24] = 8 * 300;
    s->total[25] = 8 * 300 * 300;
}
static void changed_otherwise(struct scene *s) /* 299 and 301 among them: the same sum */
{
    changed_alike(s);
    s->total[25] += 2;
}
static void changed_to_another(struct scene *s)
{
    changed_alike(s);
    s->total[24] += 1;
}
static void atom_left_few(struct scene *s) { set_atom(s, 2, 1, 1); }
static void atom_left_exact(struct scene *s) { set_atom(s, 2, 8, 3); }
static void atom_left_in_few_sites(struct scene *s) { set_atom(s, 6, 30, 2); }
static void parameters_many(struct scene *s) { s->model.fixed_parameters = 9; }
static void parameters_exact(struct scene *s) { s->model.fixed_parameters = 8; }
static void df_few(struct scene *s) { s->limits.min_residual_df = 39; }
static void df_exact(struct scene *s) { s->limits.min_residual_df = 38; }
static void ratio_over(struct scene *s) { s->charged[1] = NOF1_RATIO_UNIT * 8 / 100 + 1; }
static void ratio_exact(struct scene *s) { s->charged[1] = NOF1_RATIO_UNIT * 8 / 100; }
static void ratio_of_unused_atom(struct scene *s)
{
    s->charged[1] = NOF1_RATIO_UNIT;
    set_atom(s, 4, 0, 0);
    set_atom(s, 0, 40, 6);
    s->own_atom[0] = 6;
    s->own_atom[1] = 0;
}
/* A 0-10 scale, n patients of one class, the five sums of (y_A, y_B). */
static void discrete(struct scene *s, uint64_t n)
{
    s->outcome.quantum = 1;
    s->outcome.lower = 0;
    s->outcome.upper = 10;
    s->model.groups = 1;
    s->loads = (struct nof1_loads){1, s->load};
    s->load[0] = (struct nof1_load){0, 2, -1, 5};
    s->limits.max_release_ratio = s->limits.max_net_ratio = 2;
    s->limits.assumed_colluders = s->limits.min_patients_honest = 0;
    s->limits.min_others = s->limits.min_residual_df = 0;
    s->limits.max_site_share = 1;
    s->counts.patients = s->counts.trials = n;
    s->group_patients[0] = s->group_trials[0] = n;
    s->total[10] = (double)(n / 2);
    s->total[11] = (double)(n - n / 2);
    set_atom(s, 0, (double)n, 6);
    set_atom(s, 4, 0, 0);
    s->own = (struct nof1_own){0, 0, s->own_group, s->own_atom, s->own_charged, NULL};
    memset(s->own_group, 0, sizeof s->own_group);
    memset(s->own_atom, 0, sizeof s->own_atom);
}

static void hold(struct scene *s, uint64_t own)
{
    s->own.patients = s->own.trials = s->own_group[0] = s->own_atom[0] = own;
}

static void entropy_low(struct scene *s) { discrete(s, 11); }
static void entropy_enough(struct scene *s) { discrete(s, 12); }
static void entropy_own_low(struct scene *s)
{
    discrete(s, 20);
    hold(s, 9);
}
static void entropy_own_enough(struct scene *s)
{
    discrete(s, 20);
    hold(s, 8);
}
static void difference_form_few(struct scene *s)
{
    discrete(s, 20);
    s->load[0] = (struct nof1_load){0, 1, -1, 2};
    hold(s, 13);
}
static void difference_form_exact(struct scene *s)
{
    difference_form_few(s);
    hold(s, 12);
}

static void narrow_few(struct scene *s)
{
    discrete(s, 60);
    s->load[0] = (struct nof1_load){0, 1, -1, 2};
    s->outcome.upper = 3;
    hold(s, 36);
}

static void narrow_exact(struct scene *s)
{
    narrow_few(s);
    hold(s, 35);
}
static void share_over(struct scene *s)
{
    s->own.patients = 21;
    s->limits.max_net_ratio = 1;
}
static void share_exact(struct scene *s)
{
    share_over(s);
    s->own.patients = 20;
}
static void others_few(struct scene *s) { s->own_group[1] = 16; s->limits.max_net_ratio = 2; }
static void others_exact(struct scene *s) { s->own_group[1] = 15; s->limits.max_net_ratio = 2; }
static void net_over(struct scene *s)
{
    s->own_charged[0] = NOF1_RATIO_UNIT / 2 - 10 * NOF1_RATIO_UNIT / 34 + 1;
}
static void net_exact(struct scene *s)
{
    s->own_charged[0] = NOF1_RATIO_UNIT / 2 - 10 * NOF1_RATIO_UNIT / 34 - 1;
}
static void own_impossible(struct scene *s) { s->own.trials = 41; }
static void weight_heavy(struct scene *s)
{
    s->counts.trials = 40;
    s->weight[0] = 1;
    s->weight[1] = 0;
    s->limits.max_trial_share = 0.049; /* 1 of (1 + 0) / 2 * 40 = 0.05 */
}
static void weight_exact(struct scene *s)
{
    weight_heavy(s);
    s->limits.max_trial_share = 0.0501;
}
static void weight_negative(struct scene *s) { s->weight[1] = -1; }
static void weight_infinite(struct scene *s) { s->weight[1] = INFINITY; }
static void lab(struct scene *s)
{
    s->limits.open = true;
    block_small(s);
    sites_few(s);
    rounds_many(s);
    epoch_used(s);
    day_used(s);
    atom_left_few(s);
    ratio_over(s);
    share_over(s);
    s->limits.max_trial_share = 0;
}
static void census(struct scene *s)
{
    lab(s);
    s->limits.open = false;
    s->limits.max_trial_share = 1;
    s->query.census = true;
}

static const struct row {
    const char *name;
    void (*change)(struct scene *s);
    nof1_rc_value expected;
} table[] = {
    {"not on the roster", not_named, NOF1_E2204},
    {"on the roster", named, NOF1_OK},
    {"block too small", block_small, NOF1_E2203},
    {"block just enough", block_exact, NOF1_OK},
    {"too few sites", sites_few, NOF1_E2201},
    {"just enough sites", sites_exact, NOF1_OK},
    {"too many colluders", colluders_many, NOF1_E2202},
    {"just not too many colluders", colluders_exact, NOF1_OK},
    {"too many rounds", rounds_many, NOF1_E2302},
    {"just not too many rounds", rounds_exact, NOF1_OK},
    {"epoch's queries used up", epoch_used, NOF1_E2303},
    {"epoch's last query", epoch_last, NOF1_OK},
    {"day's queries used up", day_used, NOF1_E2304},
    {"day's last query", day_last, NOF1_OK},
    {"a site absent", site_absent, NOF1_E2501},
    {"a block above its caps", cap_exceeded, NOF1_E2501},
    {"a block at its caps", cap_exact, NOF1_OK},
    {"blocks and patients differ", blocks_differ, NOF1_E2501},
    {"too few honest patients", honest_few, NOF1_E2205},
    {"just enough honest patients", honest_exact, NOF1_OK},
    {"too few patients in a block", block_patients_few, NOF1_E2206},
    {"just enough patients in a block", block_patients_exact, NOF1_OK},
    {"class too small", class_small, NOF1_E2206},
    {"class just enough", class_exact, NOF1_OK},
    {"class empty", class_empty, NOF1_OK},
    {"group in too few sites", group_in_few_sites, NOF1_E2209},
    {"group in just enough sites", group_in_enough_sites, NOF1_OK},
    {"element fed by too few", element_of_few, NOF1_E2209},
    {"element fed by too few patients", element_of_few_patients, NOF1_E2209},
    {"element fed by enough patients", element_of_enough_patients, NOF1_OK},
    {"element fed by just enough", element_of_enough, NOF1_OK},
    {"element fed by nobody", element_of_none, NOF1_OK},
    {"too few used of an atom", atom_used_few, NOF1_E2210},
    {"just enough used of an atom", atom_used_exact, NOF1_OK},
    {"used of an atom in too few sites", atom_used_in_few_sites, NOF1_E2210},
    {"of an atom that is not listed", atom_not_listed, NOF1_E2210},
    {"changed in the same columns", changed_alike, NOF1_OK},
    {"changed in other columns", changed_otherwise, NOF1_E2210},
    {"one changed in another column", changed_to_another, NOF1_E2210},
    {"one left out of an atom", atom_left_few, NOF1_E2210},
    {"just enough left out of an atom", atom_left_exact, NOF1_OK},
    {"left out in too few sites", atom_left_in_few_sites, NOF1_E2210},
    {"too many parameters", parameters_many, NOF1_E2307},
    {"just not too many parameters", parameters_exact, NOF1_OK},
    {"too few degrees of freedom", df_few, NOF1_E2308},
    {"just enough degrees of freedom", df_exact, NOF1_OK},
    {"ratio used up", ratio_over, NOF1_E2301},
    {"ratio just not used up", ratio_exact, NOF1_OK},
    {"ratio of an atom not used", ratio_of_unused_atom, NOF1_OK},
    {"entropy too low", entropy_low, NOF1_E2311},
    {"entropy just enough", entropy_enough, NOF1_OK},
    {"entropy too low outside", entropy_own_low, NOF1_E2311},
    {"entropy just enough outside", entropy_own_enough, NOF1_OK},
    {"difference form, seven others", difference_form_few, NOF1_E2311},
    {"difference form, eight others", difference_form_exact, NOF1_OK},
    {"difference form on four points, 24 others", narrow_few, NOF1_E2311},
    {"difference form on four points, 25 others", narrow_exact, NOF1_OK},
    {"site share too large", share_over, NOF1_E2207},
    {"site share at the limit", share_exact, NOF1_OK},
    {"too few others in a group", others_few, NOF1_E2212},
    {"just enough others in a group", others_exact, NOF1_OK},
    {"net ratio too large", net_over, NOF1_E2212},
    {"net ratio at the limit", net_exact, NOF1_OK},
    {"own counts above the totals", own_impossible, NOF1_E2501},
    {"a trial too heavy", weight_heavy, NOF1_E2208},
    {"a trial just not too heavy", weight_exact, NOF1_OK},
    {"a negative weight", weight_negative, NOF1_E2208},
    {"an infinite weight", weight_infinite, NOF1_E2208},
    {"the open lab", lab, NOF1_OK},
    {"the census", census, NOF1_OK},
};

Test(checks, every_code_is_triggered_and_just_not)
{
    struct scene scene;
    set_up(&scene);
    cr_assert_eq(run_all(&scene), NOF1_OK, "the scene itself");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        set_up(&scene);
        table[i].change(&scene);
        nof1_rc_value rc = run_all(&scene);
        cr_expect_eq(rc, table[i].expected, "%s: %s", table[i].name, nof1_rc_code(rc));
    }
}

/* ---- ratio, entropy, atoms ------------------------------------------------------------ */

Test(checks, the_ratio_is_an_integer_rounded_up)
{
    static const struct { uint64_t scalars, size, patients, expected; } rows[] = {
        {0, 1, 0, 0},           {1, 1, 0, NOF1_RATIO_NONE}, {5, 2, 8, 312500000},
        {1, 1, 3, 333333334},   {2, 1, 6, 333333334},       {33, 1, 100, 330000000},
        {34, 1, 100, 340000000}, {1, 1, 1000000000, 1},      {1, 1, 1000000001, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(nof1_ratio(rows[i].scalars, rows[i].size, rows[i].patients),
                     rows[i].expected, "row %zu", i);
    }
    cr_expect_eq(nof1_ratio_limit(0.33), 330000000);
    cr_expect_eq(nof1_ratio_limit(-1), 0);
    cr_expect_eq(nof1_ratio_limit(1e9), NOF1_RATIO_NONE);
    struct scene s;
    set_up(&s);
    /* per group 5/(2*20), both groups' ten over everybody 10/(2*40), the pooled one 1/40 */
    cr_expect_eq(nof1_ratio_groups(&s.loads, GROUPS, 40, s.group_patients, 0, NULL), 125000000);
    set_group(&s, 10);
    cr_expect_eq(nof1_ratio_groups(&s.loads, GROUPS, 40, s.group_patients, 0, NULL), 250000000);
    s.own_group[0] = 5;
    cr_expect_eq(nof1_ratio_groups(&s.loads, GROUPS, 40, s.group_patients, 5, s.own_group),
                 500000000);
    cr_expect_eq(nof1_ratio_atom(&s.loads, &s.opening, s.total, 0, 10), 500000000);
}

static double bits_of(struct scene *s, uint64_t n)
{
    double bits = 0;
    discrete(s, n);
    (void)nof1_entropy_allows(&bits, &s->model, &s->loads, 16, n, s->group_patients, 0, NULL);
    return bits;
}

/* docs/disclosure.md, "Whole numbers"; measured on a 0-10 scale, one integer an arm, sd 2: about 7
 * bits at n = 8 and 16 at n = 12. */
Test(checks, entropy_is_the_measured_one)
{
    struct scene s;
    set_up(&s);
    cr_expect_float_eq(bits_of(&s, 8), 7, 0.5);
    cr_expect_float_eq(bits_of(&s, 12), 16, 0.5);
    for (uint64_t n = 1; n < 60; n++) { /* a maximum over m <= n never falls */
        cr_expect_leq(bits_of(&s, n), bits_of(&s, n + 1));
    }
    s.outcome.sd_within = s.outcome.sd_between = 0;
    cr_expect_eq(bits_of(&s, 50), 0, "no spread leaves nothing open");
    s.outcome.kind = NOF1_EFFECT;
    cr_expect(isinf(bits_of(&s, 3)), "imported effects have no lattice");
}

Test(checks, binary_outcomes_need_eight_others)
{
    struct scene s;
    double bits = 0;
    set_up(&s);
    discrete(&s, 20);
    s.outcome.kind = NOF1_BINARY;
    hold(&s, 12);
    cr_expect(nof1_entropy_allows(&bits, &s.model, &s.loads, 16, 20, s.group_patients, 12,
                                  s.own_group));
    hold(&s, 13);
    cr_expect_not(nof1_entropy_allows(&bits, &s.model, &s.loads, 16, 20, s.group_patients, 13,
                                      s.own_group));
}

/* docs/disclosure.md, "Narrow scales". */
Test(checks, few_points_need_many_patients)
{
    static const uint32_t least[] = {[3] = 40, [4] = 25, [5] = 16, [6] = 10, [7] = 8, [8] = 8};
    for (size_t points = 3; points < 9; points++) {
        cr_expect_eq(nof1_entropy_patients((double)points), least[points], "%zu", points);
    }
    cr_expect_eq(nof1_entropy_patients(2), NOF1_ENTROPY_NEVER);
    cr_expect_eq(nof1_entropy_patients(1e9), NOF1_DIFFERENCE_PATIENTS);
}

Test(checks, atoms_form_a_chain)
{
    struct nof1_arena *arena = nof1_arena_new();
    char first[NOF1_ATOM_TEXT], second[NOF1_ATOM_TEXT], again[NOF1_ATOM_TEXT];
    const uint8_t p[32] = {1}, q[32] = {2};
    cr_assert_eq(nof1_atom_used(first, "0", p, 0), NOF1_OK);
    /* sha256("0/0100...00"), by an independent program */
    cr_expect_str_eq(first, "464c6b41dcb22e22e40271125c9d87f9");
    cr_assert_eq(nof1_atom_used(second, first, q, 0), NOF1_OK);
    cr_assert_eq(nof1_atom_used(again, "0", q, 0), NOF1_OK);
    cr_assert_eq(nof1_atom_used(again, again, p, 0), NOF1_OK);
    cr_expect_str_neq(second, again, "the order counts");
    nof1_atom_changed(again, first, NOF1_ATOM_ANEW);
    cr_expect_str_eq(again, "464c6b41dcb22e22e40271125c9d87f9+s");
    cr_expect(nof1_atom_released(first));
    cr_expect_not(nof1_atom_released(again));
    cr_expect_not(nof1_atom_released("0"));
    nof1_atom_base(second, again);
    cr_expect_str_eq(second, first);

    const char *const key[] = {"0", "e2"};
    struct nof1_plan plan = {.atoms = 2, .atom = key, .hash = {1}};
    const char *const *after = NULL;
    size_t atoms = 0;
    const uint64_t used[] = {10, 0}, left[] = {0, 9};
    cr_assert_eq(nof1_atoms_after(&after, &atoms, arena, &plan, 1, used, left, true), NOF1_OK);
    cr_assert_eq(atoms, 2);
    cr_expect_str_eq(after[0], first, "all were used: only the new key");
    cr_expect_str_eq(after[1], "e2", "none was used: only the old key");
    cr_assert_eq(nof1_atoms_after(&after, &atoms, arena, &plan, 1, used, left, false), NOF1_OK);
    cr_assert_eq(atoms, 3, "some sites may not have answered: both keys stay");
    cr_expect_str_eq(after[0], "0");
    cr_expect_str_eq(after[1], first);
    const uint64_t cells[] = {8, 9, 0, 0};
    cr_assert_eq(nof1_atoms_after(&after, &atoms, arena, &plan, 2, cells, left, true), NOF1_OK);
    cr_assert_eq(atoms, 3, "a key for each group used, and the one left out");
    cr_expect_str_eq(after[0], first);
    cr_assert_eq(nof1_atom_used(second, "0", p, 1), NOF1_OK);
    cr_expect_str_eq(after[1], second);
    cr_expect_str_neq(second, first);
    cr_expect_str_eq(after[2], "e2");
    nof1_arena_free(arena);
}
