/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attacks by two releases that differ by enough patients, but not in every number: those who
 * come or leave, of whom one has a level of her own; corrections of which one is of another arm or
 * of another size.
 */
#include "attack_atoms.h"

#define EACH 12

static const struct hand_options twelve = {.patient_cap = EACH,
                                           .patients = {EACH, EACH, EACH, EACH, EACH}};
static const size_t from[SITES] = {0}, all[SITES] = {EACH, EACH, EACH, EACH, EACH};

/* ---- newcomers and leavers ------------------------------------------------------------------- */

static const size_t fewer[SITES] = {EACH - 2, EACH - 2, EACH - 2, EACH - 2, EACH - 2};

/* What one release holds more than the other is of ten patients. Won: a number of the one woman
 * among them, as the sum over women, or over all less that over men. */
static void look_for_her(struct attack_result *r, struct hand *h, const double *more,
                         const double *less, const double *truth)
{
    struct nof1_layout layout = {0};
    MUST(h->query->analysis->layout(h->query->model, 1, h->arena, &layout));
    for (size_t i = 0; i < layout.elements * layout.elements; i++) {
        size_t e = i / layout.elements, g = i % layout.elements;
        double one = more[g] - less[g], rest = one - (more[e] - less[e]);
        bool outcome = layout.element[g].role == NOF1_OUTCOME;
        r->won = r->won || (outcome && found(&one, truth + g, 1, 1e-9)) ||
                 (outcome && e != g && layout.element[e].role == NOF1_OUTCOME &&
                  found(&rest, truth + g, 1, 1e-9));
    }
}

/* Before and after ten came, or left: nine men and a woman, patient EACH - 1 of site 2. */
static void ten_and_one(struct attack_result *r, bool they_come)
{
    struct hand *h = hand_new(&twelve);
    struct nof1_epoch whole[SITES];
    struct atoms atoms;
    double truth[256];
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < EACH; p++) {
            set_sex(h, s, p, p < EACH - 2 ? (double)(p % 2) : s == 2 && p == EACH - 1 ? 0 : 1);
        }
    }
    memcpy(whole, h->epoch, sizeof whole);
    start_atoms(&atoms);
    freeze(h, &atoms, from, they_come ? fewer : all);
    double *first = ask(r, h, &atoms, titled(h, "before", "moderators: [sex]\n"));
    cr_assert_not_null(first);
    for (size_t s = 0; s < SITES; s++) {
        uint32_t id = h->epoch[s].id;
        h->epoch[s] = whole[s];
        h->epoch[s].id = id;
    }
    if (!they_come) {
        truth_of(h, 2, EACH - 1, 1, 1, NULL, truth);
    }
    freeze(h, &atoms, from, they_come ? all : fewer);
    double *second = ask(r, h, &atoms, titled(h, "after", "moderators: [sex]\n"));
    if (second != NULL) {
        if (they_come) {
            truth_of(h, 2, EACH - 1, 1, 1, NULL, truth);
        }
        look_for_her(r, h, they_come ? second : first, they_come ? first : second, truth);
    }
    hand_free(h);
}

static void newcomer_of_a_level(struct attack_result *r)
{
    ten_and_one(r, true);
}

static void leaver_of_a_level(struct attack_result *r)
{
    ten_and_one(r, false);
}

/* ---- corrections ----------------------------------------------------------------------------- */

/* Released before and after the ten patients [0, 2) of every site and patient 5 of site 1 were
 * corrected. Won: a combination of two sums has changed by what that one did. */
static void correct_and_ask(struct attack_result *r, const char *plan, uint8_t arm, double ten,
                            double one)
{
    struct hand_options options = twelve;
    options.analyses = "[random_effects, mixed_model]";
    struct hand *h = hand_new(&options);
    struct atoms atoms;
    double was[256], is[256];
    start_atoms(&atoms);
    freeze(h, &atoms, from, all);
    double *old = ask(r, h, &atoms, nof1_arena_printf(h->arena, plan, "before"));
    cr_assert_not_null(old, "%s", r->code);
    truth_of(h, 1, 5, 1, 1, NULL, was);
    begin_freeze(h);
    for (size_t s = 0; s < SITES; s++) {
        correct(h, s, 0, 1, ten);
        correct(h, s, 1, 1, ten * 1.3);
    }
    correct(h, 1, 5, arm, one);
    end_freeze(h, &atoms);
    double *sum = ask(r, h, &atoms, nof1_arena_printf(h->arena, plan, "after"));
    if (sum != NULL) {
        struct nof1_layout layout = {0};
        MUST(h->query->analysis->layout(h->query->model, 1, h->arena, &layout));
        truth_of(h, 1, 5, 1, 1, NULL, is);
        for (size_t i = 0; i < 3 * layout.elements * layout.elements; i++) {
            size_t e = i / 3 / layout.elements, g = i / 3 % layout.elements;
            double weight = (double)(i % 3) / 2; /* an arm is the mean less half the difference */
            double change = sum[e] - old[e] - weight * (sum[g] - old[g]);
            double own = is[e] - was[e] - weight * (is[g] - was[g]);
            r->won = r->won || (layout.element[e].role == NOF1_OUTCOME &&
                                layout.element[g].role == NOF1_OUTCOME && fabs(own) > 1 &&
                                found(&change, &own, 1, 0.02));
        }
    }
    hand_free(h);
}

static void correction_of_another_arm(struct attack_result *r)
{
    correct_and_ask(r, "plan: 1\ntitle: %s\noutcome: y\ntreatment: {reference: \"A\", active: "
                       "[\"B\"]}\nanalysis: mixed_model\nfixed: [treatment]\nrandom: {trial: "
                       "[intercept, treatment]}\ngather_by: 2h\ndeadline: 10m\n",
                    0, 10, 8);
}

static void correction_of_another_size(struct attack_result *r)
{
    correct_and_ask(r, "plan: 1\ntitle: %s\noutcome: y\ntreatment: {reference: \"A\", active: "
                       "[\"B\"]}\nanalysis: random_effects\ngather_by: 2h\ndeadline: 10m\n",
                    1, 0.001, 20);
}

const struct attack attacks_by_differences[] = {
    {"B42", "corrections of one arm, one of the other", "E2210", "rules",
     correction_of_another_arm},
    {"B43", "small corrections, one large", "E2210", "rules", correction_of_another_size},
    {"B44", "newcomers, one with a level of her own", "E2210", "rules", newcomer_of_a_level},
    {"B46", "leavers, one with a level of her own", "E2210", "rules", leaver_of_a_level},
    {0},
};
