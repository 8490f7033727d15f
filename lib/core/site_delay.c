/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * When an answer leaves (docs/protocol.md, "Times"). How long a site computes depends on how many
 * of its trials a plan uses, and whether it objects; when its answer leaves depends on the charter
 * and the layout alone, as long as the work fits in. Keys, attestations and refusals wait like
 * vectors.
 *
 * The session sees no clock while it works. It keeps the answer and asks for a timer that is due
 * already: the time of that event is the time after the work and its durable write. Work that took
 * longer than the hold doubles it, for the rest of the attempt: what leaks is the logarithm, once.
 */
#include <core/site_parts.h>

#include <stdlib.h>
#include <string.h>

#include <core/charter.h>

#define NUMBERS_A_MILLISECOND 4096 /* elements times patients, generously */
#define PATIENTS_A_MILLISECOND 16  /* their trials are searched, fitted, counted, written down */
#define LONGEST 60000

/* Public: the same at every site of the charter. */
static int64_t delay_for(const struct nof1_site *site, size_t elements)
{
    const struct nof1_charter *charter = site->config.charter;
    uint64_t largest = 0;
    for (size_t s = 0; s < charter->sites; s++) {
        largest = charter->site[s].patient_cap > largest ? charter->site[s].patient_cap : largest;
    }
    uint64_t more =
        largest / PATIENTS_A_MILLISECOND + largest * elements / NUMBERS_A_MILLISECOND;
    return (int64_t)site->config.delay + (int64_t)(more < LONGEST ? more : LONGEST);
}

void nof1_site_set_delay(const struct nof1_site *site, struct site_attempt *attempt,
                         size_t elements)
{
    int64_t least = delay_for(site, elements);
    attempt->delay = attempt->delay < least ? least : attempt->delay;
}

nof1_rc nof1_site_answer(struct nof1_site *site, const struct site_attempt *attempt, int64_t delay,
                       struct nof1_slice bytes)
{
    if (site->config.delay == 0) {
        return nof1_site_resend(site, bytes);
    }
    struct site_held *held = malloc(sizeof *held + bytes.length);
    ENSURE(held != NULL, NOF1_E_NO_MEMORY);
    int64_t least = delay_for(site, 0);
    *held = (struct site_held){.attempt = attempt, .asked = site->now,
                               .delay = delay < least ? least : delay, .length = bytes.length};
    memcpy(held->bytes, bytes.data, bytes.length);
    struct site_held **last = &site->held;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = held;
    return nof1_site_timer(site, site->now);
}

bool nof1_site_is_delaying(const struct nof1_site *site)
{
    return site->held != NULL;
}

bool nof1_site_is_answering(const struct nof1_site *site, const struct site_attempt *attempt)
{
    const struct site_held *held = site->held;
    while (held != NULL && held->attempt != attempt) {
        held = held->next;
    }
    return held != NULL;
}

void nof1_site_forget_held(struct nof1_site *site, const struct site_attempt *attempt)
{
    for (struct site_held **at = &site->held; *at != NULL;) {
        struct site_held *held = *at;
        if (held->attempt == attempt) {
            *at = held->next;
            free(held);
        } else {
            at = &held->next;
        }
    }
}

/* The first event after the work: how long it took is known now. */
static nof1_rc measure(struct nof1_site *site, struct site_held *held)
{
    int64_t spent = site->now - held->asked;
    held->measured = true;
    while (held->delay < spent) {
        held->delay *= 2;
    }
    struct site_attempt *attempt = site->attempts;
    while (attempt != NULL && attempt != held->attempt) {
        attempt = attempt->next;
    }
    if (attempt != NULL && attempt->delay < held->delay) {
        attempt->delay = held->delay;
    }
    return spent < held->delay ? nof1_site_timer(site, held->asked + held->delay) : NOF1_OK;
}

nof1_rc nof1_site_let_go(struct nof1_site *site)
{
    for (struct site_held **at = &site->held; *at != NULL;) {
        struct site_held *held = *at;
        if (!held->measured) {
            TRY(measure(site, held));
        }
        if (site->now - held->asked < held->delay) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        nof1_rc_value rc =
            nof1_site_resend(site, nof1_slice_of(held->bytes, held->length));
        free(held);
        TRY(rc);
    }
    return NOF1_OK;
}
