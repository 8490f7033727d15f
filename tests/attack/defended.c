/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The switches of attack.h in the program that is linked with the real library: there are none.
 */
#include "attack.h"

#include <crypto/mask.h>

bool attack_is_control(void)
{
    return false;
}

void attack_switch_off(const char *codes)
{
    (void)codes;
}

bool attack_switched_off(const char *what)
{
    (void)what;
    return false;
}

nof1_rc_value attack_masker_apply(struct nof1_masker *masker, const uint8_t *h_round, size_t m,
                                  struct nof1_ring *y)
{
    return nof1_masker_apply(masker, h_round, m, y);
}
