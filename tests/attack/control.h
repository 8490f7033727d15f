/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Included before every file of the CONTROL copy of lib/core (attack_control only; never part of a
 * library or a package): a rule whose code is switched off lets everything pass. It shows that an
 * attack succeeds where its defence is missing, so that its failure on the real code means
 * something.
 */
#ifndef NOF1_ATTACK_CONTROL_H
#define NOF1_ATTACK_CONTROL_H

#include <crypto/hash.h>
#include <crypto/mask.h>
#include <nof1/error.h>
#include <nof1/study.h>

/* Is this code switched off for the attack that is running? */
int attack_lets_pass(nof1_rc_value rc);
nof1_rc_value attack_fail(struct nof1_error *error, nof1_rc_value rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "masks": no masks; "transcript": masks that do not depend on the transcript. */
nof1_rc_value attack_masker_apply(struct nof1_masker *masker, const uint8_t *h_round, size_t m,
                                  struct nof1_ring *y);

/* "noise": what a site draws is new in every attempt. */
nof1_rc_value attack_hmac(uint8_t *out, struct nof1_slice key, struct nof1_slice bytes);

#undef TRY
#define TRY(call)                                                                                  \
    do {                                                                                           \
        nof1_rc_value try_rc_ = (call);                                                            \
        if (try_rc_ != NOF1_OK && !attack_lets_pass(try_rc_)) {                                    \
            return try_rc_;                                                                        \
        }                                                                                          \
    } while (0)

#undef ENSURE
#define ENSURE(condition, rc)                                                                      \
    do {                                                                                           \
        if (!(condition) && !attack_lets_pass(rc)) {                                               \
            return (rc);                                                                           \
        }                                                                                          \
    } while (0)

#define nof1_fail(error, ...) attack_fail(error, __VA_ARGS__)
#define nof1_hmac(out, key, bytes) attack_hmac(out, key, bytes)
#define nof1_masker_apply(masker, h_round, m, y) attack_masker_apply(masker, h_round, m, y)

#endif
