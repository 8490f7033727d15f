/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Runs the tables of attacks, each attack in its own process (Criterion), and prints one line each
 * for run.sh: "@ID<tab>name<tab>what became of it".
 */
#include "attack.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <string.h>

#define ATTACKS_MAX 100
#define COIN 0.55

static const struct attack *const tables[] = {attacks_on_keys, attacks_on_rounds,
                                              attacks_on_releases, attacks_by_guessing,
                                              attacks_by_reviewers, attacks_by_lattice,
                                              attacks_by_counting, attacks_on_openings,
                                              attacks_by_blocks, attacks_by_patience,
                                              attacks_by_differences};

static const struct attack *attack_at(size_t index)
{
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (const struct attack *a = tables[t]; a->id != NULL; a++) {
            if (index-- == 0) {
                return a;
            }
        }
    }
    return NULL;
}

ParameterizedTestParameters(attack, each)
{
    static size_t index[ATTACKS_MAX];
    size_t count = 0;
    for (; attack_at(count) != NULL; count++) {
        index[count] = count;
    }
    return cr_make_param_array(size_t, index, count);
}

static void judge_control(const struct attack *attack, const struct attack_result *r)
{
    bool won = attack->code == NULL ? r->right > 0.95 * (double)r->trials : r->won;
    if (won) {
        printf("@%s\t%s\tcontrol succeeded\n", attack->id, attack->name);
    } else {
        printf("@%s\t%s\tCONTROL FAILED (%s)\n", attack->id, attack->name, r->code);
    }
    fflush(stdout);
    cr_assert(won, "%s %s: the control should be beaten: %s", attack->id, attack->name, r->code);
}

static void judge(const struct attack *attack, const struct attack_result *r)
{
    if (attack->code == NULL) {
        double share = (double)r->right / (double)r->trials;
        bool held = r->trials >= 2000 && share <= COIN;
        printf("@%s\t%s\t%s: right in %zu of %zu guesses\n", attack->id, attack->name,
               held ? "defended" : "NOT DEFENDED", r->right, r->trials);
        fflush(stdout);
        cr_assert(held, "%s %s: %g of %zu", attack->id, attack->name, share, r->trials);
        return;
    }
    if (strcmp(attack->code, "open") == 0) {
        printf("@%s\t%s\t%s\n", attack->id, attack->name,
               r->won ? "open, see docs/disclosure.md" : "DEFENDED BY NOW: say so in its table");
        fflush(stdout);
        cr_assert(r->won, "%s %s: no longer succeeds", attack->id, attack->name);
        return;
    }
    bool held = !r->won && strcmp(r->code, attack->code) == 0;
    printf("@%s\t%s\t%s %s\n", attack->id, attack->name,
           held ? "defended with" : r->won ? "NOT DEFENDED" : "ANOTHER END",
           r->code[0] == 0 ? "nothing" : r->code);
    fflush(stdout);
    cr_assert(held, "%s %s: %s, expected %s", attack->id, attack->name, r->code, attack->code);
}

ParameterizedTest(size_t *index, attack, each, .timeout = 120)
{
    const struct attack *attack = attack_at(*index);
    struct attack_result result = {0};
    if (attack_is_control() && attack->off == NULL) {
        printf("@%s\t%s\tno rule to switch off\n", attack->id, attack->name);
        fflush(stdout);
        return;
    }
    attack_switch_off(attack->off);
    attack->run(&result);
    if (attack_is_control()) {
        judge_control(attack, &result);
    } else {
        judge(attack, &result);
    }
}
