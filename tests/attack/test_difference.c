/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The difference rule (docs/protocol.md, E2210) against combinations of releases: patients who
 * leave, come back, change or are corrected between epochs, strata, several trials a patient. Real
 * vault sessions answer; what they let out is added up with small coefficients by a brute-force
 * oracle, which knows every patient and looks for sums that hold fewer of them than the rule
 * allows. The control switches the rule off and must be caught.
 */
#include <core/atoms.h>

#include "../unit/hand_violation.h"

#define EACH 12
#define LEAST 8     /* min_atom_patients of preset standard */
#define RELEASES 10 /* sums: a release by class is one a class */
#define CLASSES 2
#define COEFFICIENT 2
#define EVERYBODY (SITES * EACH)

/* What a release used of a patient: the number of the content of the outcome, and of the covariate;
 * 0: not used. */
struct release {
    int y[EVERYBODY], sex[EVERYBODY];
};

struct study {
    struct hand *h;
    struct release release[RELEASES];
    size_t releases, refused, plans;
    const char *atom[256];
    size_t atoms;
    bool present[EVERYBODY], shorter[EVERYBODY]; /* shorter: the last period is missing */
    size_t trials;                     /* of a patient, at most: 1 or 2 */
    char name;                         /* what patients are called */
    int y[EVERYBODY], sex[EVERYBODY]; /* the content now; contents return when a change is undone */
    struct nof1_trial trial[EVERYBODY];
};

static double *column(const double *values)
{
    return (double *)(uintptr_t)values;
}

static void show_y(struct study *s, size_t p, int content)
{
    column(s->trial[p].outcome[0])[2] += content - s->y[p];
    s->y[p] = content;
}

static void show_length(struct study *s, size_t p, bool shorter)
{
    if (shorter != s->shorter[p]) {
        double *y = column(s->trial[p].outcome[0]);
        y[ROWS - 1] = shorter ? NAN : y[ROWS - 2] + 1;
        s->shorter[p] = shorter;
    }
}

static void show_sex(struct study *s, size_t p)
{
    for (size_t r = 0; r < ROWS; r++) {
        column(s->trial[p].covariate[0])[r] = s->sex[p] % 2;
    }
}

static void start_study(struct study *s, bool rule)
{
    static struct hand_options options = {.patients = {EACH, EACH, EACH, EACH, EACH},
                                          .patient_cap = EACH};
    memset(s, 0, sizeof *s);
    s->h = hand_new(&options);
    for (size_t site = 0; site < SITES; site++) {
        struct nof1_limits *limits = &s->h->policy[site];
        limits->min_atom_patients = rule ? LEAST : 0;
        limits->min_element_sites = rule ? 3 : 1;
        limits->max_release_ratio = limits->max_net_ratio = 999; /* this rule alone */
        limits->max_queries_epoch = limits->max_queries_day = 999;
        limits->min_class_patients = limits->min_others = limits->min_residual_df = 0;
        limits->min_patients_block = limits->min_patients_honest = limits->assumed_colluders = 0;
        limits->max_params_ratio = 999;
        for (size_t k = 0; k < EACH; k++) {
            size_t p = site * EACH + k;
            s->trial[p] = s->h->epoch[site].trial[k];
            s->present[p] = true;
            s->y[p] = 1;
            s->sex[p] = (p / SITES + k) % 2 == 0 ? 2 : 3;
            show_sex(s, p);
        }
        hand_start(s->h, site);
    }
    s->atom[0] = "0";
    s->atoms = s->trials = 1;
    s->name = 'p';
}

static void list(struct study *s, const char *key)
{
    for (size_t a = 0; a < s->atoms; a++) {
        if (strcmp(s->atom[a], key) == 0) {
            return;
        }
    }
    cr_assert_lt(s->atoms, 256u);
    s->atom[s->atoms++] = nof1_arena_text(s->h->arena, key);
}

/* Freeze what the study looks like now, at every site, and take the census. */
static void freeze(struct study *s)
{
    struct hand *h = s->h;
    h->now += INT64_C(86400) * 1000;
    for (size_t site = 0; site < SITES; site++) {
        struct nof1_epoch *epoch = &h->epoch[site];
        struct nof1_trial *trial = nof1_arena_alloc(h->arena, EACH, sizeof *trial);
        const char **key = nof1_arena_alloc(h->arena, EACH, sizeof *key);
        const char **name = nof1_arena_alloc(h->arena, EACH, sizeof *name);
        uint32_t *patient = nof1_arena_alloc(h->arena, EACH, sizeof *patient);
        size_t count = 0, patients = 0, last = EACH;
        for (size_t k = 0; k < EACH; k++) {
            if (s->present[site * EACH + k]) {
                if (k / s->trials != last) {
                    last = k / s->trials;
                    key[patients++] = nof1_arena_printf(h->arena, "%c%zu", s->name, last);
                }
                trial[count] = s->trial[site * EACH + k];
                patient[count] = (uint32_t)(patients - 1);
                name[count++] = nof1_arena_printf(h->arena, "%c%zu", s->name, k);
            }
        }
        *epoch = (struct nof1_epoch){.id = epoch->id + 1, .trials = count, .patients = patients,
                                     .trial = trial, .patient = patient, .patient_key = key,
                                     .trial_key = name};
        hand_start(h, site);
    }
    size_t before = s->atoms;
    list(s, "0");
    for (size_t a = 0; a < before; a++) {
        for (size_t c = 0; c < 2 && nof1_atom_released(s->atom[a]); c++) {
            char key[NOF1_ATOM_TEXT];
            nof1_atom_changed(key, s->atom[a], c == 0 ? NOF1_ATOM_ANEW : NOF1_ATOM_IN_PART);
            list(s, key);
        }
    }
    hand_census(h);
}

static void keep_list(struct study *s)
{
    const struct hand *h = s->h;
    const char *const *after = NULL;
    size_t atoms = 0, count = h->opening.atoms, groups = h->opening.groups;
    uint64_t used[CLASSES * 256], left[256];
    cr_assert_leq(groups, (size_t)CLASSES);
    for (size_t a = 0; a < count; a++) {
        for (size_t g = 0; g < groups; g++) {
            used[a * groups + g] =
                (uint64_t)h->opening_value[nof1_opening_cell_at(&h->opening, a, g, 0)];
        }
        left[a] = (uint64_t)h->opening_value[nof1_opening_atom_at(&h->opening, a, 0,
                                                                 NOF1_ATOM_LEFT)];
    }
    MUST(
        nof1_atoms_after(&after, &atoms, h->arena, h->query->study.plan, groups, used, left, true));
    cr_assert_leq(3 * atoms + 1, 256u);
    for (size_t a = 0; a < atoms; a++) {
        s->atom[a] = nof1_arena_text(h->arena, after[a]); /* the query owns its keys */
    }
    s->atoms = atoms;
}

/* What a sum of the release is of: those of the stratum, of one class where there are two. */
static void keep_sum(struct study *s, int stratum, bool by_class, bool shorter)
{
    cr_assert_lt(s->releases, (size_t)RELEASES);
    struct release *release = &s->release[s->releases++];
    for (size_t p = 0; p < EVERYBODY; p++) {
        bool used = s->present[p] && (stratum == 2 || s->sex[p] % 2 == stratum) &&
                    (!by_class || s->shorter[p] == shorter);
        release->y[p] = used ? 2 * s->y[p] + (s->shorter[p] ? 1 : 0) : 0;
        release->sex[p] = used ? s->sex[p] : 0;
    }
}

/* Ask for everybody (stratum 2) or one stratum, at once or by class. True: released. */
static bool ask_for(struct study *s, int stratum, bool by_class)
{
    struct hand *h = s->h;
    static const char *const strata[] = {"strata: [F]\n", "strata: [M]\n", ""};
    const char *text =
        nof1_arena_printf(h->arena,
                          "plan: 1\ntitle: plan %zu\noutcome: y\n"
                          "treatment: {reference: \"A\", active: [\"B\"]}\n"
                          "analysis: random_effects\ngather_by: 2h\n"
                          "deadline: 10m\n%s%s",
                          ++s->plans, strata[stratum], by_class ? "incomplete: cycles\n" : "");
    h->now += INT64_C(86400) * 1000;
    hand_query(h, hand_complete(h, text, s->atoms, s->atom));
    cr_assert_eq(h->query->model->groups, by_class ? (size_t)CLASSES : 1u);
    hand_gather(h);
    hand_round(h, 0);
    (void)hand_advance(h, 0);
    h->opening_value = h->value;
    const Nof1__V1__Frame *first = hand_open(h, 0, 1);
    if (first->body_case == NOF1__V1__FRAME__BODY_REFUSAL) {
        cr_assert(strcmp(first->refusal->code, "E2210") == 0 ||
                      (by_class && strcmp(first->refusal->code, "E2209") == 0),
                  "%s: %s", first->refusal->code, first->refusal->text);
        hand_end(h, false);
        s->refused += 1;
        return false;
    }
    hand_round(h, 1);
    hand_end(h, false);
    for (int shorter = 0; shorter < (by_class ? CLASSES : 1); shorter++) {
        keep_sum(s, stratum, by_class, shorter == 1);
    }
    keep_list(s);
    return true;
}

static bool ask(struct study *s, int stratum)
{
    return ask_for(s, stratum, false);
}

/* ---- the oracle ------------------------------------------------------------ */

/* In how many patients does the sum of the releases, each times its coefficient, not vanish? A
 * patient vanishes when the coefficients of each content of the patient add up to nothing. */
static size_t isolated(const struct study *s, const int *coefficient, bool with_covariate)
{
    size_t patients = 0, last = EVERYBODY;
    for (size_t p = 0; p < EVERYBODY; p++) {
        bool seen = false;
        for (size_t r = 0; r < s->releases && !seen; r++) {
            int sum = 0;
            for (size_t q = 0; s->release[r].y[p] > 0 && q < s->releases; q++) {
                bool same = s->release[q].y[p] == s->release[r].y[p] &&
                            (!with_covariate || s->release[q].sex[p] == s->release[r].sex[p]);
                sum += same ? coefficient[q] : 0;
            }
            seen = sum != 0;
        }
        patients += seen && p / s->trials != last ? 1 : 0; /* a patient once: EACH is even */
        last = seen ? p / s->trials : last;
    }
    return patients;
}

/* The fewest patients that any combination isolates; EVERYBODY + 1: none isolates anybody. */
static size_t fewest(const struct study *s)
{
    size_t combinations = 1, least = EVERYBODY + 1;
    int largest = s->releases > 5 ? 1 : COEFFICIENT;
    size_t choices = 2 * (size_t)largest + 1;
    for (size_t r = 0; r < s->releases; r++) {
        combinations *= choices;
    }
    for (size_t c = 0; c < combinations; c++) {
        int coefficient[RELEASES];
        size_t rest = c;
        for (size_t r = 0; r < s->releases; r++) {
            coefficient[r] = (int)(rest % choices) - largest;
            rest /= choices;
        }
        for (int with = 0; with < 2; with++) {
            size_t patients = isolated(s, coefficient, with == 1);
            least = patients > 0 && patients < least ? patients : least;
        }
    }
    return least;
}

/* ---- attacks ------------------------------------------------------------ */

static void leave(struct study *s, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s->present[(first + i * 5) % EVERYBODY] = false;
    }
    freeze(s);
}

static void by_leaving(struct study *s)
{
    ask(s, 2);
    leave(s, 3, 1);
    ask(s, 2);
}

/* One outcome value of one patient is corrected. */
static void by_correction(struct study *s)
{
    ask(s, 2);
    show_y(s, 7, 2);
    freeze(s);
    ask(s, 2);
}

/* Everybody's outcomes were imported wrongly and are put right again, but for one new value. */
static void by_undoing(struct study *s)
{
    ask(s, 2);
    for (size_t p = 0; p < EVERYBODY; p++) {
        show_y(s, p, 2);
    }
    freeze(s);
    ask(s, 2);
    for (size_t p = 0; p < EVERYBODY; p++) {
        show_y(s, p, p == 11 ? 3 : 1);
    }
    freeze(s);
    ask(s, 2);
}

/* A covariate of eight changes, and the outcome of one of the others: a plan without the covariate
 * sees one change. */
static void by_hiding_among_covariates(struct study *s)
{
    ask(s, 2);
    for (size_t i = 0; i < 10; i++) {
        s->sex[6 * i] += 2; /* another content, the same stratum: only the oracle knows */
        column(s->trial[6 * i].time)[0] -= 0; /* the outcome's part stays */
    }
    show_y(s, 1, 2);
    freeze(s);
    ask(s, 2);
}

/* Three releases: a stratum, everybody, and the other stratum once a patient has changed sides. */
static void by_changing_sides(struct study *s)
{
    ask(s, 0);
    ask(s, 2);
    s->sex[8] += 1;
    show_sex(s, 8);
    freeze(s);
    ask(s, 1);
    ask(s, 2);
}

/* All patients are called otherwise, and one value is corrected: nobody seems to be the same. */
static void by_renaming(struct study *s)
{
    ask(s, 2);
    s->name = 'q';
    show_y(s, 7, 2);
    freeze(s);
    ask(s, 2);
}

static void by_returning(struct study *s)
{
    ask(s, 2);
    leave(s, 0, 9);
    ask(s, 2);
    s->present[5] = true;
    freeze(s);
    ask(s, 2);
}

/* Every third patient has two complete cycles, the others three. Ten are not there yet. */
static void two_classes(struct study *s, bool some_to_come)
{
    for (size_t p = 0; p < EVERYBODY; p++) {
        show_length(s, p, p % 3 == 0);
        s->present[p] = !some_to_come || p % 6 != 1;
    }
    freeze(s);
}

/* Nine with three cycles and one with two come between two looks: enough come, but their sums are
 * by class. */
static void by_coming_in_another_class(struct study *s)
{
    two_classes(s, true);
    ask_for(s, 2, true);
    for (size_t p = 0; p < EVERYBODY; p++) {
        if (!s->present[p] && p != 1) {
            show_length(s, p, p == 7);
            s->present[p] = true;
        }
    }
    freeze(s);
    ask_for(s, 2, true);
}

/* Everybody and the women, each by class; one man has two cycles. */
static void by_a_stratum_in_a_class(struct study *s)
{
    for (size_t p = 0; p < EVERYBODY; p++) {
        show_length(s, p, p % 3 == 0);
        s->sex[p] = p % 3 == 0 ? (p == 30 ? 3 : 2) : 2 + (int)(p % 2);
        show_sex(s, p);
    }
    freeze(s);
    ask_for(s, 2, true);
    ask_for(s, 0, true);
}

/* The last value of one patient arrives late, and twelve of the other class are corrected. */
static void by_a_late_value(struct study *s)
{
    two_classes(s, false);
    ask_for(s, 2, true);
    for (size_t p = 0; p < 18; p++) {
        show_y(s, p, p % 3 == 0 ? 1 : 2);
    }
    show_length(s, 9, false);
    freeze(s);
    ask_for(s, 2, true);
}

Test(difference, attacks_succeed_without_the_rule_and_fail_with_it, .timeout = 300)
{
    static const struct { const char *name; void (*run)(struct study *); } attacks[] = {
        {"leaving", by_leaving},
        {"a corrected outcome", by_correction},
        {"undoing an import", by_undoing},
        {"a change among changes of covariates", by_hiding_among_covariates},
        {"changing sides", by_changing_sides},
        {"returning", by_returning},
        {"other names", by_renaming},
        {"coming in another class", by_coming_in_another_class},
        {"a stratum in a class", by_a_stratum_in_a_class},
        {"a value that comes late", by_a_late_value},
    };
    struct study *s = malloc(sizeof *s);
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
        for (int rule = 0; rule < 2; rule++) {
            start_study(s, rule == 1);
            attacks[i].run(s);
            size_t patients = fewest(s);
            cr_expect_eq(patients < LEAST, rule == 0, "%s, rule %d: %zu patients of %zu releases",
                         attacks[i].name, rule, patients, s->releases);
            hand_free(s->h);
        }
    }
    free(s);
}

/* A block that is not asked held patients of the atom, as the last totals with it showed. */
static void another_block(struct study *s, unsigned patients, unsigned sites)
{
    struct hand *h = s->h;
    for (size_t site = 0; site < SITES; site++) {
        for (size_t i = 0; i < h->stores[site]; i++) {
            struct stored *stored = &h->store[site][i];
            const char *at = strcmp(stored->key, "atoms/y") == 0
                                 ? strstr((const char *)stored->value.data, "\"b\":{\"patients\"")
                                 : NULL;
            if (at != NULL) {
                const char *end = strchr(at, '}') + 1;
                const char *text = (const char *)stored->value.data;
                stored->value = nof1_slice_text(nof1_arena_printf(
                    h->arena, "%.*s,\"c\":{\"patients\":%u,\"sites\":%u}%.*s", (int)(end - text),
                    text, patients, sites, (int)(text + stored->value.length - end), end));
            }
        }
        hand_start(h, site);
    }
}

Test(difference, a_block_outside_the_roster_is_not_the_difference)
{
    static const struct { unsigned patients, sites; bool allowed; } rows[] = {
        {0, 0, true}, {2, 1, false}, {7, 3, false}, {30, 2, false}, {8, 3, true},
    };
    struct study *s = malloc(sizeof *s);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start_study(s, true);
        cr_assert(ask(s, 2));
        another_block(s, rows[i].patients, rows[i].sites);
        cr_expect_eq(ask(s, 2), rows[i].allowed, "%u in %u sites", rows[i].patients, rows[i].sites);
        hand_free(s->h);
    }
    free(s);
}

/* ---- random histories ------------------------------------------------------------ */

static size_t below(struct test_random *random, size_t limit)
{
    return (size_t)(test_random_next(random) % limit);
}

/* Between epochs few or many leave, return, or change; a change may be one that was there before.
 */
static void happen(struct study *s, struct test_random *random)
{
    size_t many = below(random, 3) == 0 ? 1 + below(random, 3) : 10 + below(random, 30);
    size_t kind = below(random, 4);
    for (size_t i = 0; i < many; i++) {
        size_t p = below(random, EVERYBODY);
        if (kind == 0) {
            s->present[p] = below(random, 3) > 0;
        } else if (kind == 1) {
            show_y(s, p, 1 + (int)below(random, 4));
        } else if (kind == 2) {
            s->sex[p] = 2 + (int)below(random, 2);
            show_sex(s, p);
        } else {
            s->present[p] = true;
        }
    }
    freeze(s);
}

/* The same where sums are by class and a patient may have two trials: some finish their last
 * period, some lose it. */
static void happen_by_class(struct study *s, struct test_random *random)
{
    size_t many = below(random, 3) == 0 ? 1 + below(random, 3) : 10 + below(random, 30);
    for (size_t i = 0; below(random, 2) == 0 && i < many; i++) {
        size_t p = below(random, EVERYBODY);
        show_length(s, p, below(random, 2) == 0);
    }
    happen(s, random);
}

Test(difference, no_combination_of_random_sums_by_class_isolates_few, .timeout = 600)
{
    struct study *s = malloc(sizeof *s);
    size_t sums = 0, refused = 0, caught = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        struct test_random random = {1000 + seed};
        bool rule = seed % 4 != 0;
        start_study(s, rule);
        s->trials = 1 + seed % 2;
        two_classes(s, seed % 3 == 0);
        for (size_t step = 0; step < 9 && s->releases < 6; step++) {
            if (step > 0 && (!rule || below(&random, 2) == 0)) {
                happen_by_class(s, &random);
            }
            ask_for(s, rule ? (int)below(&random, 3) : 2, true);
        }
        size_t patients = fewest(s);
        if (rule) {
            cr_expect_geq(patients, LEAST, "seed %llu: %zu patients of %zu sums",
                          (unsigned long long)seed, patients, s->releases);
            sums += s->releases;
            refused += s->refused;
        } else {
            caught += patients < LEAST ? 1 : 0;
        }
        hand_free(s->h);
    }
    if (getenv("NOF1_TEST_VERBOSE") != NULL) {
        printf("by class: %zu sums, %zu plans refused, control caught in %zu of 6\n", sums, refused,
               caught);
    }
    cr_expect_gt(sums, 36, "%zu sums, %zu refused", sums, refused);
    cr_expect_gt(refused, 18, "%zu sums, %zu refused", sums, refused);
    cr_expect_gt(caught, 2, "the control isolated few in %zu of 6", caught);
    free(s);
}

Test(difference, no_combination_of_random_releases_isolates_few, .timeout = 600)
{
    struct study *s = malloc(sizeof *s);
    size_t releases = 0, refused = 0, caught = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        struct test_random random = {seed};
        bool rule = seed % 4 != 0;
        start_study(s, rule);
        for (size_t step = 0; step < 9 && s->releases < 5; step++) {
            if (step > 0 && (!rule || below(&random, 2) == 0)) {
                happen(s, &random);
            }
            ask(s, rule ? (int)below(&random, 3) : 2);
        }
        size_t patients = fewest(s);
        if (rule) {
            cr_expect_geq(patients, LEAST, "seed %llu: %zu patients of %zu releases",
                          (unsigned long long)seed, patients, s->releases);
            releases += s->releases;
            refused += s->refused;
        } else {
            caught += patients < LEAST ? 1 : 0;
        }
        hand_free(s->h);
    }
    cr_expect_gt(releases, 36, "%zu released, %zu refused", releases, refused);
    cr_expect_gt(refused, 18, "%zu released, %zu refused", releases, refused);
    cr_expect_gt(caught, 2, "the control isolated few in %zu of 6", caught);
    free(s);
}
