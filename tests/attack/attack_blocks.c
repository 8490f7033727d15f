/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attacks by rosters: unions of blocks, in one epoch and over two, whose combination is a block of
 * few patients or one newcomer. Three blocks of three sites each.
 */
#define SITES 9

#include "attack_crowd.h"

#include <core/atoms.h>

#define EACH 3 /* sites of a block */
#define MOST_ATOMS 256

/* Sites of the blocks first to last: the three blocks are neighbours. */
static struct crowd blocks_from(size_t first, size_t last)
{
    struct crowd crowd = {0};
    for (size_t s = first * EACH; s < (last + 1) * EACH; s++) {
        crowd.site[crowd.n++] = s;
    }
    return crowd;
}

struct unions {
    struct hand *h;
    const char *key[MOST_ATOMS];
    size_t keys;
    const char *lines; /* more of the plan */
};

static void list(struct unions *u, const char *key)
{
    for (size_t k = 0; k < u->keys; k++) {
        if (strcmp(u->key[k], key) == 0) {
            return;
        }
    }
    cr_assert_lt(u->keys, (size_t)MOST_ATOMS);
    u->key[u->keys++] = nof1_arena_text(u->h->arena, key);
}

/* A plan of these blocks, as a statistician with a program of his own writes it. */
static struct nof1_slice plan_of(struct unions *u, size_t first, size_t last)
{
    struct hand *h = u->h;
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_plan *plan = NULL;
    struct nof1_buffer bytes = {0};
    size_t block[3] = {first, first + 1, first + 2};
    MUST(nof1_yaml_read(&node, h->arena, "plan", nof1_slice_text(titled(h, "union", u->lines)),
                        &error));
    MUST(nof1_plan_from_yaml(&plan, h->arena, node, h->charter, &error));
    struct nof1_plan filled = *plan;
    filled.atoms = u->keys;
    filled.atom = u->key;
    filled.epoch = h->epoch[0].id;
    filled.blocks = last - first + 1;
    filled.block = block;
    MUST(nof1_query_complete(&bytes, h->charter, h->census, &filled, h->now / 1000, &error));
    struct nof1_slice copy = nof1_arena_copy(h->arena, nof1_buffer_slice(&bytes));
    nof1_buffer_free(&bytes);
    return copy;
}

/* The totals of round 1 of the plan over these blocks, without check elements; NULL: refused. Atoms
 * stay listed, for blocks that did not take part still hold them. */
static double *ask(struct attack_result *r, struct unions *u, size_t first, size_t last)
{
    struct hand *h = u->h;
    const char *const *key = NULL;
    size_t keys = 0;
    struct crowd crowd = blocks_from(first, last);
    uint64_t used[MOST_ATOMS] = {0}, left[MOST_ATOMS];
    h->now += INT64_C(86400) * 1000;
    hand_query(h, plan_of(u, first, last));
    if (!crowd_until(r, h, &crowd, 0)) {
        return NULL;
    }
    (void)hand_advance(h, 0);
    for (size_t a = 0; a < h->opening.atoms; a++) {
        used[a] = (uint64_t)nof1_opening_atom(&h->opening, h->value, a, NOF1_ATOM_USED);
        left[a] = 1;
    }
    if (!crowd_ask(r, h, &crowd, 1, crowd.n)) {
        return NULL;
    }
    crowd_add(h, crowd.n);
    MUST(nof1_atoms_after(&key, &keys, h->arena, h->query->study.plan, 1, used, left, false));
    for (size_t k = 0; k < keys; k++) {
        list(u, key[k]);
    }
    Nof1__V1__End end = NOF1__V1__END__INIT;
    end.code = (char *)(uintptr_t) "";
    Nof1__V1__Frame frame = hand_frame(h);
    frame.body_case = NOF1__V1__FRAME__BODY_END;
    frame.end = &end;
    for (size_t i = 0; i < crowd.n; i++) {
        (void)hand_send(h, crowd.site[i], &frame);
    }
    return kept(h) + 2;
}

/* Every site freezes as many patients as it has, less those still to come. */
static void freeze(struct unions *u, const struct nof1_epoch *whole, const size_t *to_come)
{
    struct hand *h = u->h;
    h->now += INT64_C(86400) * 1000;
    for (size_t s = 0; s < SITES; s++) {
        uint32_t id = h->epoch[s].id;
        h->epoch[s] = whole[s];
        h->epoch[s].id = id + 1;
        h->epoch[s].trials -= to_come[s];
        h->epoch[s].patients -= to_come[s];
        hand_start(h, s);
    }
    hand_census(h);
}

static bool is_combination(const double *ab, const double *bc, const double *abc,
                           const double *truth, size_t n)
{
    double guess[256];
    for (size_t e = 0; e < n; e++) {
        guess[e] = ab[e] + bc[e] - abc[e];
    }
    return found(guess, truth, n, 1e-9);
}

/* S(a, b) + S(b, c) - S(a, b, c) is block b: three patients, one in each of its sites. */
static void small_block(struct attack_result *r)
{
    static const struct hand_options options = {
        .preset = "ultra-rare", .patients = {6, 6, 6, 1, 1, 1, 6, 6, 6}, .patient_cap = 6,
        .blocks = "{a: [s0, s1, s2], b: [s3, s4, s5], c: [s6, s7, s8]}"};
    struct unions u = {hand_new(&options), {"0"}, 1, ""};
    double truth[256], one[256];
    double *ab = ask(r, &u, 0, 1), *bc = ab == NULL ? NULL : ask(r, &u, 1, 2);
    double *abc = bc == NULL ? NULL : ask(r, &u, 0, 2);
    if (abc != NULL) {
        size_t n = u.h->elements - 2;
        truth_of(u.h, 3, 0, 1, 1, NULL, truth);
        for (size_t s = 4; s < 6; s++) {
            truth_of(u.h, s, 0, 1, 1, NULL, one);
            for (size_t e = 0; e < n; e++) {
                truth[e] += one[e];
            }
        }
        r->won = is_combination(ab, bc, abc, truth, n);
    }
    hand_free(u.h);
}

/* Everybody; then thirteen come, one of them in b: the newcomers of a and b, of b and c, and of all
 * are each many, and combine to the one. */
static void newcomer_of_a_block(struct attack_result *r)
{
    static const struct hand_options options = {
        .preset = "ultra-rare", .patients = {8, 8, 8, 8, 7, 7, 8, 8, 8}, .patient_cap = 8,
        .blocks = "{a: [s0, s1, s2], b: [s3, s4, s5], c: [s6, s7, s8]}"};
    static const size_t to_come[SITES] = {2, 2, 2, 1, 0, 0, 2, 2, 2}, nobody[SITES] = {0};
    struct unions u = {hand_new(&options), {"0"}, 1, ""};
    struct nof1_epoch whole[SITES];
    double truth[256];
    double *sum[6] = {0};
    memcpy(whole, u.h->epoch, sizeof whole);
    freeze(&u, whole, to_come);
    for (size_t i = 0; i < 6; i++) {
        if (i == 3) {
            freeze(&u, whole, nobody);
        }
        sum[i] = ask(r, &u, i % 3 == 1 ? 1 : 0, i % 3 == 0 ? 1 : 2);
        if (sum[i] == NULL) {
            hand_free(u.h);
            return;
        }
    }
    size_t n = u.h->elements - 2;
    truth_of(u.h, 3, 7, 1, 1, NULL, truth);
    for (size_t i = 0; i < 3; i++) {
        for (size_t e = 0; e < n; e++) {
            sum[3 + i][e] -= sum[i][e];
        }
    }
    r->won = is_combination(sum[3], sum[4], sum[5], truth, n);
    hand_free(u.h);
}

/* S(a, b, c) - S(a, b) is block c, where one of eighteen is a woman. */
static void level_of_a_block(struct attack_result *r)
{
    static const struct hand_options options = {
        .preset = "ultra-rare", .patients = {6, 6, 6, 6, 6, 6, 6, 6, 6}, .patient_cap = 6,
        .blocks = "{a: [s0, s1, s2], b: [s3, s4, s5], c: [s6, s7, s8]}"};
    static const size_t nobody[SITES] = {0};
    struct unions u = {hand_new(&options), {"0"}, 1, "moderators: [sex]\n"};
    struct hand *h = u.h;
    struct nof1_epoch whole[SITES];
    double truth[256];
    for (size_t i = 0; i < SITES * 6 * ROWS; i++) {
        size_t s = i / ROWS / 6, p = i / ROWS % 6;
        double *sex = (double *)(uintptr_t)h->epoch[s].trial[p].covariate[0];
        sex[i % ROWS] = s < 6 ? (double)(p % 2) : s == 7 && p == 3 ? 0 : 1;
    }
    memcpy(whole, h->epoch, sizeof whole);
    freeze(&u, whole, nobody);
    double *abc = ask(r, &u, 0, 2), *ab = abc == NULL ? NULL : ask(r, &u, 0, 1);
    if (ab != NULL) {
        struct nof1_layout layout = {0};
        MUST(h->query->analysis->layout(h->query->model, 1, h->arena, &layout));
        truth_of(h, 7, 3, 1, 1, NULL, truth);
        for (size_t i = 0; i < layout.elements * layout.elements; i++) {
            size_t e = i / layout.elements, g = i % layout.elements;
            double one = abc[g] - ab[g], rest = one - (abc[e] - ab[e]);
            r->won = r->won || (layout.element[g].role == NOF1_OUTCOME &&
                                (found(&one, truth + g, 1, 1e-9) ||
                                 (e != g && found(&rest, truth + g, 1, 1e-9))));
        }
    }
    hand_free(h);
}

const struct attack attacks_by_blocks[] = {
    {"B31", "unions of blocks that leave a small one", "E2210", "rules", small_block},
    {"B32", "unions of blocks over two epochs, one newcomer", "E2210", "rules",
     newcomer_of_a_block},
    {"B47", "a block of whom one has a level of her own", "E2210", "rules", level_of_a_block},
    {0},
};
