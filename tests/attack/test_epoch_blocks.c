/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The difference rule when blocks move on by themselves (docs/protocol.md, "Epochs"): a coordinator
 * that mixes the epochs of two blocks at will, plan by plan, while patients leave, return and
 * change. Real vault sessions answer; a brute-force oracle, which knows what every release used of
 * every patient, looks for combinations that isolate fewer patients than the rule allows. The
 * control switches the rule off and must be caught.
 */
#define SITES 6

#include <core/atoms.h>

#include "../unit/hand_query.h"

#define EACH 12
#define LEAST 8
#define BLOCKS 2
#define RELEASES 6
#define PATIENTS (SITES * EACH)
#define EPOCHS 12
#define COEFFICIENT 2

/* What an epoch holds of a patient: 0: not frozen. */
struct frozen {
    int y[PATIENTS], sex[PATIENTS];
};

struct study {
    struct hand *h;
    struct frozen now, epoch[EPOCHS], release[RELEASES];
    struct nof1_trial trial[PATIENTS];
    size_t releases, refused, plans, back;
    bool forgets; /* the sites forget which epoch releases used: the atoms alone must hold */
    uint32_t last, used[BLOCKS];
    const char *atom[1024];
    size_t atoms;
};

static const struct nof1_trial *trial_of(struct study *s, size_t p)
{
    struct nof1_arena *arena = s->h->arena;
    struct nof1_trial *trial = nof1_arena_alloc(arena, 1, sizeof *trial);
    double *y = nof1_arena_alloc(arena, ROWS, sizeof *y);
    double *sex = nof1_arena_alloc(arena, ROWS, sizeof *sex);
    const double **outcome = nof1_arena_alloc(arena, 1, sizeof *outcome);
    const double **covariate = nof1_arena_alloc(arena, 1, sizeof *covariate);
    memcpy(y, s->trial[p].outcome[0], ROWS * sizeof *y);
    y[2] += s->now.y[p];
    for (size_t r = 0; r < ROWS; r++) {
        sex[r] = s->now.sex[p] % 2;
    }
    outcome[0] = y;
    covariate[0] = sex;
    *trial = s->trial[p];
    trial->outcome = outcome;
    trial->covariate = covariate;
    return trial;
}

static void list(struct study *s, const char *key)
{
    for (size_t a = 0; a < s->atoms; a++) {
        if (strcmp(s->atom[a], key) == 0) {
            return;
        }
    }
    cr_assert_lt(s->atoms, sizeof s->atom / sizeof *s->atom);
    s->atom[s->atoms++] = nof1_arena_text(s->h->arena, key);
}

/* A later epoch may have changed every released atom. */
static void list_changed(struct study *s)
{
    size_t before = s->atoms;
    list(s, NOF1_ATOM_FRESH);
    for (size_t a = 0; a < before; a++) {
        for (size_t c = 0; c < 2 && nof1_atom_released(s->atom[a]); c++) {
            char key[NOF1_ATOM_TEXT];
            nof1_atom_changed(key, s->atom[a], c == 0 ? NOF1_ATOM_ANEW : NOF1_ATOM_IN_PART);
            list(s, key);
        }
    }
}

/* The census of the last epoch of both blocks, linked before those that were taken. */
static void take_census(struct study *s)
{
    struct hand *h = s->h;
    const struct nof1_census *before = h->census;
    hand_census(h);
    struct nof1_census *taken = nof1_arena_alloc(h->arena, 1, sizeof *taken);
    *taken = *h->census;
    taken->earlier = before;
    h->census = taken;
}

/* Freeze at every site, which keeps all epochs before: of those no more than one outcome family may
 * use, another one may still need some. */
static void freeze(struct study *s)
{
    struct hand *h = s->h;
    h->now += INT64_C(86400) * 1000;
    s->last += 1;
    cr_assert_lt(s->last, (uint32_t)EPOCHS);
    s->epoch[s->last] = s->now;
    for (size_t site = 0; site < SITES; site++) {
        struct nof1_epoch *before = nof1_arena_alloc(h->arena, 1, sizeof *before);
        struct nof1_trial *trial = nof1_arena_alloc(h->arena, EACH, sizeof *trial);
        const char **key = nof1_arena_alloc(h->arena, EACH, sizeof *key);
        uint32_t *patient = nof1_arena_alloc(h->arena, EACH, sizeof *patient);
        size_t count = 0;
        *before = h->epoch[site];
        for (size_t k = 0; k < EACH; k++) {
            if (s->now.y[site * EACH + k] > 0) {
                trial[count] = *trial_of(s, site * EACH + k);
                patient[count] = (uint32_t)count;
                key[count++] = nof1_arena_printf(h->arena, "p%zu", k);
            }
        }
        h->epoch[site] = (struct nof1_epoch){.id = s->last, .trials = count, .patients = count,
                                             .trial = trial, .patient = patient,
                                             .patient_key = key, .trial_key = key,
                                             .earlier = s->last == 1 ? NULL : before};
        hand_start(h, site);
    }
    take_census(s);
    list_changed(s);
}

static void start_study(struct study *s, bool rule)
{
    static const struct hand_options options = {
        .patients = {EACH, EACH, EACH, EACH, EACH, EACH}, .patient_cap = EACH,
        .limits = "{min_block_sites: 3}", .blocks = "{a: [s0, s1, s2], b: [s3, s4, s5]}"};
    memset(s, 0, sizeof *s);
    s->h = hand_new(&options);
    s->h->census = NULL;
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
            s->now.y[p] = 1;
            s->now.sex[p] = (p / SITES + k) % 2 == 0 ? 2 : 3;
        }
    }
    s->last = 1; /* as hand_new froze it; the sessions start anew with 2 */
    freeze(s);
}

/* ---- asking ------------------------------------------------------------ */

static void keep_list(struct study *s)
{
    const struct hand *h = s->h;
    const char *const *after = NULL;
    size_t atoms = 0, count = h->opening.atoms;
    uint64_t used[1024], left[1024];
    cr_assert_eq(h->opening.groups, 1u);
    for (size_t a = 0; a < count; a++) {
        used[a] = (uint64_t)nof1_opening_cell(&h->opening, h->opening_value, a, 0, NOF1_ATOM_USED);
        left[a] = (uint64_t)nof1_opening_atom(&h->opening, h->opening_value, a, NOF1_ATOM_LEFT);
    }
    MUST(nof1_atoms_after(&after, &atoms, h->arena, h->query->study.plan, 1, used, left, true));
    s->atoms = 0;
    for (size_t a = 0; a < atoms; a++) {
        list(s, nof1_arena_text(h->arena, after[a]));
    }
    list_changed(s);
}

static void keep_release(struct study *s, int stratum, const uint32_t epoch[BLOCKS])
{
    cr_assert_lt(s->releases, (size_t)RELEASES);
    struct frozen *release = &s->release[s->releases++];
    for (size_t p = 0; p < PATIENTS; p++) {
        const struct frozen *at = &s->epoch[epoch[p / EACH * BLOCKS / SITES]];
        bool is_used = at->y[p] > 0 && (stratum == 2 || at->sex[p] % 2 == stratum);
        release->y[p] = is_used ? at->y[p] : 0;
        release->sex[p] = is_used ? at->sex[p] : 0;
    }
}

static struct nof1_slice plan_at(struct study *s, int stratum, const uint32_t epoch[BLOCKS])
{
    struct hand *h = s->h;
    static const char *const strata[] = {"strata: [F]\n", "strata: [M]\n", ""};
    const char *text = nof1_arena_printf(h->arena,
                                         "plan: 1\ntitle: plan %zu\noutcome: y\n"
                                         "treatment: {reference: \"A\", active: [\"B\"]}\n"
                                         "analysis: random_effects\ngather_by: 2h\n"
                                         "deadline: 10m\n%s",
                                         ++s->plans, strata[stratum]);
    h->block_epoch = epoch;
    struct nof1_slice plan = hand_complete(h, text, s->atoms, s->atom);
    h->block_epoch = NULL;
    h->now += INT64_C(86400) * 1000;
    return plan;
}

/* A plan about an epoch before the one that releases used is not even begun, by a vault that was
 * killed since either. */
static void try_back(struct study *s, size_t block, const uint32_t epoch[BLOCKS])
{
    hand_query(s->h, plan_at(s, 2, epoch));
    hand_start(s->h, block * SITES / BLOCKS);
    const Nof1__V1__Frame *reply = hand_offer(s->h, block * SITES / BLOCKS);
    cr_assert_not_null(reply);
    cr_assert_eq(reply->body_case, NOF1__V1__FRAME__BODY_REFUSAL);
    cr_expect_str_eq(reply->refusal->code, "E1016");
    s->back += 1;
}

static bool ask(struct study *s, int stratum, const uint32_t epoch[BLOCKS])
{
    struct hand *h = s->h;
    hand_query(h, plan_at(s, stratum, epoch));
    hand_gather(h);
    hand_round(h, 0);
    (void)hand_advance(h, 0);
    h->opening_value = h->value;
    const Nof1__V1__Frame *first = hand_open(h, 0, 1);
    if (first->body_case == NOF1__V1__FRAME__BODY_REFUSAL) {
        cr_assert_str_eq(first->refusal->code, "E2210", "%s", first->refusal->text);
        for (size_t site = 1; site < SITES; site++) { /* one verdict, whatever epoch a site is at */
            const Nof1__V1__Frame *other = hand_open(h, site, 1);
            cr_expect_eq(other->body_case, NOF1__V1__FRAME__BODY_REFUSAL, "site %zu", site);
        }
        hand_end(h, false);
        s->refused += 1;
        return false;
    }
    hand_round(h, 1);
    hand_end(h, false);
    keep_release(s, stratum, epoch);
    keep_list(s);
    memcpy(s->used, epoch, sizeof s->used);
    return true;
}

/* ---- the oracle ------------------------------------------------------------ */

static size_t isolated(const struct study *s, const int *coefficient, bool with_covariate)
{
    size_t patients = 0;
    for (size_t p = 0; p < PATIENTS; p++) {
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
        patients += seen ? 1 : 0;
    }
    return patients;
}

static size_t fewest(const struct study *s)
{
    size_t combinations = 1, least = PATIENTS + 1;
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

/* ---- random histories ------------------------------------------------------------ */

static size_t below(struct test_random *random, size_t limit)
{
    return (size_t)(test_random_next(random) % limit);
}

static void happen(struct study *s, struct test_random *random)
{
    size_t many = below(random, 3) == 0 ? 1 + below(random, 3) : 8 + below(random, 30);
    size_t kind = below(random, 4), half = below(random, 3);
    for (size_t i = 0; i < many; i++) {
        size_t p = half < 2 ? half * PATIENTS / 2 + below(random, PATIENTS / 2)
                            : below(random, PATIENTS);
        if (kind == 0) {
            s->now.y[p] = below(random, 3) > 0 ? 1 : 0;
        } else if (kind == 1) {
            s->now.y[p] = 1 + (int)below(random, 4);
        } else if (kind == 2) {
            s->now.sex[p] = 2 + (int)below(random, 2);
        } else {
            s->now.y[p] = s->now.y[p] == 0 ? 1 : s->now.y[p];
        }
    }
    freeze(s);
}

/* The sites forget which epoch releases used, and nothing else. */
static void forget_epochs(struct study *s)
{
    struct hand *h = s->h;
    for (size_t site = 0; site < SITES; site++) {
        for (size_t i = 0; i < h->stores[site]; i++) {
            struct stored *stored = &h->store[site][i];
            char *at = strcmp(stored->key, "atoms/y") == 0
                           ? strstr((const char *)stored->value.data, "\"epoch\":")
                           : NULL;
            for (at = at == NULL ? NULL : at + 8; at != NULL && *at >= '0' && *at <= '9'; at++) {
                *at = '0';
            }
        }
        hand_start(h, site);
    }
}

/* Any epoch of each block that its sites still answer about. */
static void choose(uint32_t epoch[BLOCKS], const struct study *s, struct test_random *random)
{
    for (size_t b = 0; b < BLOCKS; b++) {
        epoch[b] = s->used[b] > 0 && below(random, 2) == 0 ? s->used[b] : s->last;
        if (s->forgets) { /* there and back */
            epoch[b] = 2 + (uint32_t)below(random, s->last - 1);
        }
    }
}

static void live(struct study *s, struct test_random *random, bool rule)
{
    for (size_t step = 0; step < 12 && s->releases < 5; step++) {
        uint32_t epoch[BLOCKS];
        if (step > 0 && s->last + 1 < EPOCHS && below(random, 2) == 0) {
            happen(s, random);
        }
        choose(epoch, s, random);
        if (s->forgets) {
            forget_epochs(s);
        }
        (void)ask(s, rule ? (int)below(random, 3) : 2, epoch);
        size_t b = below(random, BLOCKS);
        epoch[0] = epoch[1] = s->last;
        if (!s->forgets && s->used[b] > 2 && below(random, 3) == 0) {
            epoch[b] = s->used[b] - 1;
            try_back(s, b, epoch);
        }
    }
}

struct tried {
    size_t releases, refused, back, mixed, caught, controls;
};

static void try_seeds(struct tried *all, struct study *s, uint64_t first, uint64_t last,
                      bool forgets)
{
    for (uint64_t seed = first; seed <= last; seed++) {
        struct test_random random = {seed};
        bool rule = seed % 4 != 0;
        start_study(s, rule);
        s->forgets = forgets;
        live(s, &random, rule);
        size_t patients = fewest(s);
        all->mixed += s->used[0] != s->used[1] ? 1 : 0;
        all->back += s->back;
        all->controls += rule ? 0 : 1;
        all->caught += !rule && patients < LEAST ? 1 : 0;
        all->releases += rule ? s->releases : 0;
        all->refused += rule ? s->refused : 0;
        cr_expect(!rule || patients >= LEAST, "seed %llu: %zu patients of %zu releases",
                  (unsigned long long)seed, patients, s->releases);
        hand_free(s->h);
    }
    if (getenv("NOF1_TEST_VERBOSE") != NULL) {
        printf("epochs: %zu releases, %zu refused, %zu back, %zu end mixed, control %zu of %zu\n",
               all->releases, all->refused, all->back, all->mixed, all->caught, all->controls);
    }
}

Test(epoch_blocks, no_mixture_of_epochs_isolates_few, .timeout = 600)
{
    struct study *s = malloc(sizeof *s);
    struct tried all = {0};
    try_seeds(&all, s, 1, 24, false);
    cr_expect_gt(all.releases, 48, "%zu released, %zu refused", all.releases, all.refused);
    cr_expect_gt(all.refused, 24, "%zu released, %zu refused", all.releases, all.refused);
    cr_expect_gt(all.back, 4, "%zu", all.back);
    cr_expect_gt(all.mixed, 4, "%zu", all.mixed);
    cr_expect_gt(all.caught, 2, "the control isolated few in %zu of %zu", all.caught, all.controls);
    free(s);
}

/* That no site goes back to an earlier epoch is a second line: a coordinator that could send blocks
 * there and back as it likes gains nothing, because going back is a change like any other. */
Test(epoch_blocks, nor_would_going_back, .timeout = 600)
{
    struct study *s = malloc(sizeof *s);
    struct tried all = {0};
    try_seeds(&all, s, 101, 112, true);
    cr_expect_gt(all.releases, 18, "%zu released, %zu refused", all.releases, all.refused);
    cr_expect_gt(all.caught, 0, "the control isolated few in %zu of %zu", all.caught, all.controls);
    free(s);
}

static bool counts_at(struct study *s, uint32_t a, uint32_t b)
{
    const uint32_t epoch[BLOCKS] = {a, b};
    struct nof1_buffer bytes = {0};
    MUST(nof1_census_plan_at(&bytes, s->h->charter, epoch));
    hand_query(s->h, nof1_arena_copy(s->h->arena, nof1_buffer_slice(&bytes)));
    nof1_buffer_free(&bytes);
    const Nof1__V1__Frame *reply = hand_offer(s->h, 0);
    cr_assert_not_null(reply);
    cr_expect(reply->body_case != NOF1__V1__FRAME__BODY_REFUSAL ||
              strcmp(reply->refusal->code, "E1016") == 0);
    return reply->body_case == NOF1__V1__FRAME__BODY_KEY_AD;
}

/* A census costs nothing and needs no signature, and whether a site dominates an outcome is said
 * against the patients of all blocks. At every mixture of epochs that would be another threshold
 * for the same site's share. */
Test(epoch_blocks, no_mixture_is_counted_of_what_is_counted, .timeout = 600)
{
    struct study *s = malloc(sizeof *s);
    size_t mixtures = 0;
    start_study(s, true);
    freeze(s);
    freeze(s); /* counted: 2, 3 and 4 of both blocks */
    for (uint32_t a = 2; a <= 4; a++) {
        for (uint32_t b = 2; b <= 4; b++) {
            mixtures += a != b && counts_at(s, a, b) ? 1 : 0;
        }
        cr_expect(counts_at(s, a, a), "the same census again");
    }
    cr_expect_eq(mixtures, 0u, "%zu", mixtures);
    const struct nof1_census *counted = s->h->census;
    s->h->census = NULL;
    for (size_t site = 0; site < SITES; site++) {
        s->h->epoch[site].id = 5; /* frozen again, and not counted yet */
        hand_start(s->h, site);
    }
    cr_expect(counts_at(s, 5, 3), "the control: new of one block");
    s->h->census = counted;
    hand_free(s->h);
    free(s);
}
