/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The switches of the control program (control.h), and of attack.h there.
 */
#include "attack.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <core/charter.h>
#include <core/pretend.h>
#include <core/site.h>
#include <crypto/hash.h>
#include <crypto/mask.h>

static const char *off_now = "";

bool attack_is_control(void)
{
    return true;
}

void attack_switch_off(const char *codes)
{
    off_now = codes;
}

bool attack_switched_off(const char *what)
{
    const char *at = strstr(off_now, what);
    return at != NULL;
}

int attack_lets_pass(nof1_rc_value rc);
int attack_lets_pass(nof1_rc_value rc)
{
    return attack_switched_off(nof1_rc_code(rc)) ||
           (attack_switched_off("rules") && nof1_rc_code(rc)[1] == '2');
}

nof1_rc_value attack_fail(struct nof1_error *error, nof1_rc_value rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
nof1_rc_value attack_fail(struct nof1_error *error, nof1_rc_value rc, const char *format, ...)
{
    char text[256];
    va_list arguments;
    if (attack_lets_pass(rc)) {
        return NOF1_OK;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return nof1_fail(error, rc, "%s", text);
}

nof1_rc_value attack_masker_apply(struct nof1_masker *masker, const uint8_t *h_round, size_t m,
                                  struct nof1_ring *y);
nof1_rc_value attack_masker_apply(struct nof1_masker *masker, const uint8_t *h_round, size_t m,
                                  struct nof1_ring *y)
{
    static const uint8_t same[NOF1_HASH_BYTES];
    if (attack_switched_off("masks")) {
        return NOF1_OK;
    }
    return nof1_masker_apply(masker, attack_switched_off("transcript") ? same : h_round, m, y);
}

nof1_rc_value attack_hmac(uint8_t *out, struct nof1_slice key, struct nof1_slice bytes);
nof1_rc_value attack_hmac(uint8_t *out, struct nof1_slice key, struct nof1_slice bytes)
{
    static uint16_t drawn;
    nof1_rc_value rc = nof1_hmac(out, key, bytes);
    if (attack_switched_off("noise")) {
        out[0] ^= (uint8_t)drawn;
        out[1] ^= (uint8_t)(drawn++ >> 8);
    }
    return rc;
}

/* With E2104 off, a vault that takes an unknown site for s3: the linker puts this in the place of
 * nof1_charter_site. */
size_t __real_nof1_charter_site(const struct nof1_charter *charter, const char *id);
size_t __wrap_nof1_charter_site(const struct nof1_charter *charter, const char *id);
size_t __wrap_nof1_charter_site(const struct nof1_charter *charter, const char *id)
{
    size_t site = __real_nof1_charter_site(charter, id);
    return site == NOF1_NONE && attack_switched_off("E2104") ? 3 : site;
}

/* "pretend": what the sites feed in round 0 is looked up in the real outcomes. */
nof1_rc_value __real_nof1_pretend(struct nof1_trial *trial, struct nof1_arena *arena,
                                  const struct nof1_study *study, size_t pretence);
nof1_rc_value __wrap_nof1_pretend(struct nof1_trial *trial, struct nof1_arena *arena,
                                  const struct nof1_study *study, size_t pretence);
nof1_rc_value __wrap_nof1_pretend(struct nof1_trial *trial, struct nof1_arena *arena,
                                  const struct nof1_study *study, size_t pretence)
{
    return attack_switched_off("pretend") ? NOF1_OK
                                          : __real_nof1_pretend(trial, arena, study, pretence);
}

/* "silence": a site that objects says so, by name. */
nof1_rc_value __real_nof1_site_object(struct nof1_site *site, size_t elements,
                                      struct nof1_ring *y);
nof1_rc_value __wrap_nof1_site_object(struct nof1_site *site, size_t elements,
                                      struct nof1_ring *y);
nof1_rc_value __wrap_nof1_site_object(struct nof1_site *site, size_t elements,
                                      struct nof1_ring *y)
{
    return attack_switched_off("silence") ? NOF1_E2403
                                          : __real_nof1_site_object(site, elements, y);
}
