/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Plans one after the other, over freezes of hand.h's five sites, each made against the list of
 * atoms that the release before it left.
 */
#ifndef NOF1_ATTACK_ATOMS_H
#define NOF1_ATTACK_ATOMS_H

#include "attack_crowd.h"

#include <core/atoms.h>

#define MOST_ATOMS 64

/* Atoms as the public list of the last release has them. */
struct atoms {
    const char *key[MOST_ATOMS];
    size_t n;
};

static inline void start_atoms(struct atoms *a)
{
    a->key[0] = "0";
    a->n = 1;
}

static inline void after(struct hand *h, struct atoms *a)
{
    const char *const *key = NULL;
    size_t n = 0;
    size_t groups = h->opening.groups;
    uint64_t used[8 * MOST_ATOMS], left[MOST_ATOMS];
    cr_assert_leq(groups, 8u);
    for (size_t i = 0; i < h->opening.atoms; i++) {
        for (size_t g = 0; g < groups; g++) {
            used[i * groups + g] =
                (uint64_t)h->opening_value[nof1_opening_cell_at(&h->opening, i, g, 0)];
        }
        left[i] = (uint64_t)h->opening_value[nof1_opening_atom_at(&h->opening, i, 0,
                                                                 NOF1_ATOM_LEFT)];
    }
    MUST(nof1_atoms_after(&key, &n, h->arena, h->query->study.plan, groups, used, left, true));
    cr_assert_lt(n, (size_t)MOST_ATOMS);
    for (size_t i = 0; i < n; i++) {
        a->key[i] = nof1_arena_text(h->arena, key[i]);
    }
    a->n = n;
}

/* Run a plan; its totals of round 1 without check elements, or NULL. */
static inline double *ask(struct attack_result *r, struct hand *h, struct atoms *a,
                          const char *text)
{
    h->now += INT64_C(86400) * 1000;
    hand_query(h, hand_complete(h, text, a->n, a->key));
    if (!crowd_until(r, h, &everybody, 0)) {
        return NULL;
    }
    (void)hand_advance(h, 0);
    h->opening_value = h->value;
    if (!crowd_ask(r, h, &everybody, 1, SITES)) {
        return NULL;
    }
    crowd_add(h, SITES);
    hand_end(h, false);
    after(h, a);
    return kept(h) + 2;
}

/* Every site freezes its first count[s] patients. */
static inline void freeze(struct hand *h, struct atoms *a, const size_t *first, const size_t *count)
{
    h->now += INT64_C(86400) * 1000;
    for (size_t s = 0; s < SITES; s++) {
        struct nof1_epoch *epoch = &h->epoch[s];
        struct nof1_trial *trial = nof1_arena_alloc(h->arena, count[s] + 1, sizeof *trial);
        const char **key = nof1_arena_alloc(h->arena, count[s] + 1, sizeof *key);
        for (size_t p = 0; p < count[s]; p++) {
            trial[p] = epoch->trial[first[s] + p];
            key[p] = epoch->patient_key[first[s] + p];
        }
        *epoch = (struct nof1_epoch){.id = epoch->id + 1, .trials = count[s],
                                     .patients = count[s], .trial = trial,
                                     .patient = epoch->patient, .patient_key = key,
                                     .trial_key = key};
        hand_start(h, s);
    }
    bool fresh = false;
    for (size_t i = 0; i < a->n; i++) {
        fresh = fresh || strcmp(a->key[i], "0") == 0;
    }
    if (!fresh) {
        a->key[a->n++] = "0";
    }
    hand_census(h);
}

static inline void set_sex(struct hand *h, size_t site, size_t p, double level)
{
    double *sex = (double *)(uintptr_t)h->epoch[site].trial[p].covariate[0];
    for (size_t row = 0; row < ROWS; row++) {
        sex[row] = level;
    }
}

/* The next freeze is begun: every trial gets columns of its own, to be changed. What was frozen is
 * kept beside it, as a site keeps what releases used. */
static inline void begin_freeze(struct hand *h)
{
    h->now += INT64_C(86400) * 1000;
    for (size_t s = 0; s < SITES; s++) {
        struct nof1_epoch *was = nof1_arena_alloc(h->arena, 1, sizeof *was);
        *was = h->epoch[s];
        struct nof1_trial *trial = nof1_arena_alloc(h->arena, was->trials + 1, sizeof *trial);
        for (size_t t = 0; t < was->trials; t++) {
            const double **column = nof1_arena_alloc(h->arena, 2, sizeof *column);
            double *values = nof1_arena_alloc(h->arena, 2 * ROWS, sizeof *values);
            memcpy(values, was->trial[t].outcome[0], ROWS * sizeof *values);
            memcpy(values + ROWS, was->trial[t].covariate[0], ROWS * sizeof *values);
            column[0] = values;
            column[1] = values + ROWS;
            trial[t] = was->trial[t];
            trial[t].outcome = column;
            trial[t].covariate = column + 1;
        }
        h->epoch[s].trial = trial;
        h->epoch[s].id = was->id + 1;
        h->epoch[s].earlier = was;
    }
}

/* Add to all outcomes of a patient under one treatment. */
static inline void correct(struct hand *h, size_t site, size_t p, uint8_t arm, double by)
{
    const struct nof1_trial *trial = &h->epoch[site].trial[p];
    double *y = (double *)(uintptr_t)trial->outcome[0];
    for (size_t row = 0; row < ROWS; row++) {
        y[row] += trial->treatment[row] == arm ? by : 0;
    }
}

/* The sites load what they have frozen; patients of released atoms may have changed. */
static inline void end_freeze(struct hand *h, struct atoms *a)
{
    size_t before = a->n;
    for (size_t i = 0; i < before; i++) {
        char key[NOF1_ATOM_TEXT];
        cr_assert_lt(a->n + 2, (size_t)MOST_ATOMS);
        if (nof1_atom_released(a->key[i])) {
            nof1_atom_changed(key, a->key[i], NOF1_ATOM_ANEW);
            a->key[a->n++] = nof1_arena_text(h->arena, key);
            nof1_atom_changed(key, a->key[i], NOF1_ATOM_IN_PART);
            a->key[a->n++] = nof1_arena_text(h->arena, key);
        }
    }
    for (size_t s = 0; s < SITES; s++) {
        hand_start(h, s);
    }
    hand_census(h);
}

#endif
