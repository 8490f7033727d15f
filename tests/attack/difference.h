/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A study of five sites whose patients leave, come back, change or are corrected between epochs,
 * and a brute-force oracle of what its releases tell together: it knows every patient and adds the
 * releases up with small coefficients. Real vault sessions answer; a control has the rule off.
 */
#ifndef NOF1_TEST_DIFFERENCE_H
#define NOF1_TEST_DIFFERENCE_H

#include <core/atoms.h>

#include "../unit/hand_violation.h"

#define EACH 12
#define LEAST 8     /* min_atom_patients of preset standard */
#define RELEASES 10 /* sums: a release by class is one a class */
#define CLASSES 2
#define COEFFICIENT 2
#define CLEAR 4       /* a correction of one of six periods that moves its arm by sd_within / 4 */
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
    const char *analysis;
    uint32_t used;                     /* the epoch of the last release; 0: none */
    char name;                         /* what patients are called */
    int y[EVERYBODY], sex[EVERYBODY]; /* the content now; contents return when a change is undone */
    struct nof1_trial trial[EVERYBODY];
};

static inline double *column(const double *values)
{
    return (double *)(uintptr_t)values;
}

static inline void show_y(struct study *s, size_t p, int content)
{
    column(s->trial[p].outcome[0])[2] += CLEAR * (content - s->y[p]);
    s->y[p] = content;
}

static inline void show_length(struct study *s, size_t p, bool shorter)
{
    if (shorter != s->shorter[p]) {
        double *y = column(s->trial[p].outcome[0]);
        y[ROWS - 1] = shorter ? NAN : y[ROWS - 2] + 1;
        s->shorter[p] = shorter;
    }
}

static inline void show_sex(struct study *s, size_t p)
{
    for (size_t r = 0; r < ROWS; r++) {
        column(s->trial[p].covariate[0])[r] = s->sex[p] % 2;
    }
}

/* The trial with columns of its own: what the study does to it later is another epoch's. */
static inline struct nof1_trial copy_of(const struct study *s, size_t p)
{
    struct nof1_trial trial = s->trial[p];
    const double **outcome = nof1_arena_alloc(s->h->arena, 1, sizeof *outcome);
    const double **covariate = nof1_arena_alloc(s->h->arena, 1, sizeof *covariate);
    double *values = nof1_arena_alloc(s->h->arena, 2 * ROWS, sizeof *values);
    memcpy(values, trial.outcome[0], ROWS * sizeof *values);
    memcpy(values + ROWS, trial.covariate[0], ROWS * sizeof *values);
    outcome[0] = values;
    covariate[0] = values + ROWS;
    trial.outcome = outcome;
    trial.covariate = covariate;
    return trial;
}

static inline void start_study(struct study *s, bool rule)
{
    static struct hand_options options = {.analyses = "[random_effects, mixed_model]",
                                          .patients = {EACH, EACH, EACH, EACH, EACH},
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
            ((struct nof1_trial *)(uintptr_t)s->h->epoch[site].trial)[k] = copy_of(s, p);
        }
        hand_start(s->h, site);
    }
    s->atom[0] = "0";
    s->atoms = s->trials = 1;
    s->name = 'p';
    s->analysis = "random_effects";
}

static inline void list(struct study *s, const char *key)
{
    for (size_t a = 0; a < s->atoms; a++) {
        if (strcmp(s->atom[a], key) == 0) {
            return;
        }
    }
    cr_assert_lt(s->atoms, 256u);
    s->atom[s->atoms++] = nof1_arena_text(s->h->arena, key);
}

/* What stays of an epoch when the next is frozen: what a release used; its sites keep no other. */
static const struct nof1_epoch *kept(struct study *s, size_t site)
{
    struct nof1_epoch *epoch = nof1_arena_alloc(s->h->arena, 1, sizeof *epoch);
    *epoch = s->h->epoch[site];
    if (epoch->id != s->used) {
        return epoch->earlier;
    }
    epoch->earlier = NULL;
    return epoch;
}

/* Freeze what the study looks like now, at every site, and take the census. */
static inline void freeze(struct study *s)
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
                trial[count] = copy_of(s, site * EACH + k);
                patient[count] = (uint32_t)(patients - 1);
                name[count++] = nof1_arena_printf(h->arena, "%c%zu", s->name, k);
            }
        }
        *epoch = (struct nof1_epoch){.id = epoch->id + 1, .trials = count, .patients = patients,
                                     .trial = trial, .patient = patient, .patient_key = key,
                                     .trial_key = name, .earlier = kept(s, site)};
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

static inline void keep_list(struct study *s)
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
static inline void keep_sum(struct study *s, int stratum, bool by_class, bool shorter)
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

/* Ask for everybody (stratum 2) or one stratum, at once or by class; `more` lines of the plan.
 * True: released. */
static inline bool ask_for(struct study *s, int stratum, bool by_class, const char *more)
{
    struct hand *h = s->h;
    static const char *const strata[] = {"strata: [F]\n", "strata: [M]\n", ""};
    const char *text = nof1_arena_printf(h->arena,
                                         "plan: 1\ntitle: plan %zu\noutcome: y\n"
                                         "treatment: {reference: \"A\", active: [\"B\"]}\n"
                                         "analysis: %s\ngather_by: 2h\ndeadline: 10m\n%s%s%s",
                                         ++s->plans, s->analysis, strata[stratum],
                                         by_class ? "incomplete: cycles\n" : "", more);
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
    s->used = h->epoch[0].id;
    return true;
}

static inline bool ask(struct study *s, int stratum)
{
    return ask_for(s, stratum, false, "");
}

/* ---- the oracle ------------------------------------------------------------ */

/* In how many patients does the sum of the releases, each times its coefficient, not vanish? A
 * patient vanishes when the coefficients of each content of the patient add up to nothing. */
static inline size_t isolated(const struct study *s, const int *coefficient, bool with_covariate)
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
static inline size_t fewest(const struct study *s)
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

static inline size_t below(struct test_random *random, size_t limit)
{
    return (size_t)(test_random_next(random) % limit);
}

/* Between epochs few or many leave, return, or change; a change may be one that was there before.
 */
static inline void happen(struct study *s, struct test_random *random)
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

#endif
