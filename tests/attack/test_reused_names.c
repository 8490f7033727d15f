/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pseudonyms used again (docs/protocol.md, "Difference rule"): a hospital numbers its patients anew
 * at a freeze, one patient is another and the names of all have moved on by one. By name everybody
 * there has changed; in the sums one has. The difference of a release before and one after bears
 * the few who changed, so the rule must count those and not the names.
 */
#define SITES 6

#include <core/atoms.h>

#include "../unit/hand_query.h"

#define EACH 12

/* Freeze the trials of a site: name k holds the series of patient of[k], both arms moved, by
 * moved[k] and its double; the covariate is another where `aged`. */
static void freeze(struct hand *h, const struct nof1_epoch *first, size_t site,
                   const size_t of[EACH], const double moved[EACH], bool aged)
{
    struct nof1_epoch *before = nof1_arena_alloc(h->arena, 1, sizeof *before);
    struct nof1_trial *trial = nof1_arena_alloc(h->arena, EACH, sizeof *trial);
    *before = h->epoch[site];
    before->earlier = NULL;
    for (size_t k = 0; k < EACH; k++) {
        double *y = nof1_arena_alloc(h->arena, ROWS, sizeof *y);
        double *sex = nof1_arena_alloc(h->arena, ROWS, sizeof *sex);
        const double **column = nof1_arena_alloc(h->arena, 2, sizeof *column);
        trial[k] = first->trial[of[k]];
        for (size_t r = 0; r < ROWS; r++) {
            y[r] = trial[k].outcome[0][r] + (trial[k].treatment[r] == 0 ? 2 : -1) * moved[k];
            sex[r] = aged ? 1 - trial[k].covariate[0][r] : trial[k].covariate[0][r];
        }
        column[0] = y;
        column[1] = sex;
        trial[k].outcome = &column[0];
        trial[k].covariate = &column[1];
    }
    h->epoch[site].id = 2;
    h->epoch[site].trial = trial;
    h->epoch[site].earlier = before;
    hand_start(h, site);
}

static const Nof1__V1__Frame *ask(struct hand *h, const char *title, size_t atoms,
                                  const char *const *atom)
{
    const char *text = nof1_arena_printf(h->arena,
                                         "plan: 1\ntitle: %s\noutcome: y\n"
                                         "treatment: {reference: \"A\", active: [\"B\"]}\n"
                                         "analysis: random_effects\ngather_by: 2h\n"
                                         "deadline: 10m\n",
                                         title);
    h->now += INT64_C(86400) * 1000;
    hand_query(h, hand_complete(h, text, atoms, atom));
    hand_gather(h);
    hand_round(h, 0);
    (void)hand_advance(h, 0);
    return hand_open(h, 0, 1);
}

static struct hand *start(void)
{
    static const struct hand_options options = {
        .patients = {EACH, EACH, EACH, EACH, EACH, EACH}, .patient_cap = EACH,
        .limits = "{min_block_sites: 3}", .blocks = "{a: [s0, s1, s2], b: [s3, s4, s5]}"};
    struct hand *h = hand_new(&options);
    for (size_t site = 0; site < SITES; site++) {
        struct nof1_limits *limits = &h->policy[site];
        limits->min_atom_patients = 8;
        limits->min_element_sites = 3;
        limits->max_release_ratio = limits->max_net_ratio = 999; /* the difference rule alone */
        limits->min_class_patients = limits->min_others = limits->min_residual_df = 0;
        limits->max_params_ratio = 999;
        hand_start(h, site);
    }
    return h;
}

/* After a release `changed` patients of each of three sites change, and at the first site the names
 * of `turned` patients move on by one. True when a second release follows. */
static bool released_again(size_t turned, size_t changed, bool aged)
{
    struct hand *h = start();
    struct nof1_epoch first[SITES];
    char used[NOF1_ATOM_TEXT], anew[NOF1_ATOM_TEXT], part[NOF1_ATOM_TEXT];
    cr_assert_eq(ask(h, "first", 0, NULL)->body_case, NOF1__V1__FRAME__BODY_MASKED);
    hand_round(h, 1);
    hand_end(h, false);
    MUST(nof1_atom_used(used, NOF1_ATOM_FRESH, h->h_q, 0));
    nof1_atom_changed(anew, used, NOF1_ATOM_ANEW);
    nof1_atom_changed(part, used, NOF1_ATOM_IN_PART);
    const char *atom[] = {NOF1_ATOM_FRESH, used, anew, part};
    for (size_t site = 0; site < SITES; site++) {
        size_t of[EACH];
        double moved[EACH] = {0};
        first[site] = h->epoch[site];
        for (size_t k = 0; k < EACH; k++) {
            of[k] = site == 0 && k < turned ? (k + 1) % turned : k;
            moved[k] = site < 3 && k < changed ? 20 + (double)k : 0;
        }
        freeze(h, &first[site], site, of, moved, aged);
    }
    hand_census(h);
    const Nof1__V1__Frame *reply = ask(h, "second", 4, atom);
    bool released = reply->body_case == NOF1__V1__FRAME__BODY_MASKED;
    if (!released) {
        cr_expect_str_eq(reply->refusal->code, "E2210", "%s", reply->refusal->code);
    }
    hand_free(h);
    return released;
}

Test(reused_names, count_as_the_patients_behind_them)
{
    cr_expect(released_again(0, 3, false), "nine changed in three sites: enough");
    cr_expect_not(released_again(0, 1, false), "three changed: too few");
    cr_expect_not(released_again(EACH, 1, false), "three changed, twelve have other names");
    cr_expect(released_again(EACH, 0, false), "nobody changed, twelve have other names");
}

/* The covariate of everybody changes with the names: sums of outcomes alone still bear three. */
Test(reused_names, whatever_else_changes)
{
    cr_expect_not(released_again(0, 1, true), "three of all changed the outcome, too");
    cr_expect_not(released_again(EACH, 1, true), "the same with other names");
    cr_expect(released_again(EACH, 0, true), "all changed the covariate alone");
}
