/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * When a round's answer leaves (docs/protocol.md, "Messages": after a fixed delay where the work
 * depends on data). How long a site computes depends on how many of its trials a plan uses; when its
 * answer leaves depends on the charter and the layout alone, as long as the work fits in.
 *
 * The session sees no clock while it works. It keeps the answer and asks for a timer that is due
 * already: the time of that event is the time after the work. Work that took longer than the hold
 * doubles it, for the rest of the attempt: what leaks is the logarithm, once.
 */
#include <core/site_parts.h>

#include <core/charter.h>

#define NUMBERS_A_MILLISECOND 4096 /* elements times patients, generously */

/* Public: the same at every site of the charter. */
static int64_t delay_for(const struct nof1_site *site, size_t elements)
{
    const struct nof1_charter *charter = site->config.charter;
    uint64_t largest = 0;
    for (size_t s = 0; s < charter->sites; s++) {
        largest = charter->site[s].patient_cap > largest ? charter->site[s].patient_cap : largest;
    }
    uint64_t numbers = largest * elements / NUMBERS_A_MILLISECOND;
    return (int64_t)site->config.delay + (int64_t)(numbers < 60000 ? numbers : 60000);
}

nof1_rc nof1_site_delay(struct nof1_site *site, struct site_attempt *attempt, size_t elements)
{
    if (site->config.delay == 0) {
        return nof1_site_resend(site, attempt->reply);
    }
    int64_t least = delay_for(site, elements);
    attempt->delay = attempt->delay < least ? least : attempt->delay;
    attempt->delaying = SITE_DELAY_WORKED;
    attempt->asked = site->now;
    return nof1_site_timer(site, site->now);
}

bool nof1_site_is_delaying(const struct nof1_site *site)
{
    const struct site_attempt *attempt = site->attempts;
    while (attempt != NULL && attempt->delaying == SITE_DELAY_NOTHING) {
        attempt = attempt->next;
    }
    return attempt != NULL;
}

nof1_rc nof1_site_let_go(struct nof1_site *site, struct site_attempt *attempt)
{
    int64_t spent = site->now - attempt->asked;
    if (attempt->delaying == SITE_DELAY_WORKED) {
        while (attempt->delay < spent) {
            attempt->delay *= 2;
        }
        attempt->delaying = SITE_DELAY_WAITS;
        if (spent < attempt->delay) {
            return nof1_site_timer(site, attempt->asked + attempt->delay);
        }
    }
    if (attempt->delaying == SITE_DELAY_NOTHING || spent < attempt->delay) {
        return NOF1_OK;
    }
    attempt->delaying = SITE_DELAY_NOTHING;
    return nof1_site_resend(site, attempt->reply);
}
