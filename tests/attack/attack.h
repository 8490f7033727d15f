/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An attack of the suite: what a dishonest party does, and whether it got what it wanted. Every
 * attack runs in two programs made of the same files: attack_control, where its defence is switched
 * off and it must succeed, and attack_defended, linked with the library that is shipped, where it
 * must end with its code or be no better than a coin.
 */
#ifndef NOF1_ATTACK_H
#define NOF1_ATTACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nof1/error.h>

struct nof1_masker;
struct nof1_ring;

struct attack_result {
    bool won;         /* the attacker holds the numbers, compared with the truth */
    char code[8];     /* of the first refusal met; "" none */
    size_t trials;    /* statistical attacks: guesses made and right */
    size_t right;
};

struct attack {
    const char *id, *name;
    const char *code; /* that the defended run must end with; NULL: a guessing attack; "open": it
                       * succeeds on the real code, too, docs/disclosure.md says why */
    const char *off;  /* control: codes switched off; "rules": all of E2xxx; "masks", "transcript";
                       * NULL: there is nothing to switch off, so no control */
    void (*run)(struct attack_result *result);
};

/* Tables of attacks, ended by id NULL. */
extern const struct attack attacks_on_keys[], attacks_on_rounds[], attacks_on_releases[],
    attacks_by_guessing[], attacks_by_reviewers[], attacks_by_lattice[],
    attacks_by_counting[], attacks_on_openings[], attacks_by_blocks[],
    attacks_by_patience[], attacks_by_differences[];

bool attack_is_control(void);
void attack_switch_off(const char *codes);
bool attack_switched_off(const char *what);
/* nof1_masker_apply, or what the control has in its place. */
nof1_rc_value attack_masker_apply(struct nof1_masker *masker, const uint8_t *h_round, size_t m,
                                  struct nof1_ring *y);

#endif
