/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the attacks share: a query driven through any subset of the sites of hand.h, step by step
 * until somebody refuses, and the truth to compare with, computed from the patients themselves.
 */
#ifndef NOF1_ATTACK_CROWD_H
#define NOF1_ATTACK_CROWD_H

#include "attack.h"

#include "../unit/hand_violation.h"

struct crowd {
    size_t n;
    size_t site[SITES];
};

static const struct crowd everybody = {5, {0, 1, 2, 3, 4}};

/* Notes the code of a refusal (the first one only). True: it was one, or silence. */
static inline bool refused(struct attack_result *r, const Nof1__V1__Frame *frame)
{
    const char *code = frame == NULL ? "silence"
                       : frame->body_case == NOF1__V1__FRAME__BODY_REFUSAL ? frame->refusal->code
                                                                           : NULL;
    if (code != NULL && r->code[0] == 0) {
        snprintf(r->code, sizeof r->code, "%s", code);
    }
    return code != NULL;
}

/* The roster as `h->ad` of the crowd has it; the hashes as everybody computes them. */
static inline void crowd_hash(struct hand *h, const struct crowd *crowd)
{
    struct nof1_keyad fields[SITES];
    for (size_t i = 0; i < crowd->n; i++) {
        const Nof1__V1__KeyAd *ad = h->ad[i];
        fields[i] = (struct nof1_keyad){ad->site, ad->charter.data, ad->plan.data,
                                        ad->attempt.data, ad->x25519.data, ad->nonce.data,
                                        nof1_slice_of(ad->signature.data, ad->signature.len)};
    }
    MUST(nof1_roster_hash(h->h_roster, crowd->n, fields));
    MUST(nof1_transcript_open(h->transcript, h->charter->hash, h->h_q, h->h_roster));
}

static inline bool crowd_offer(struct attack_result *r, struct hand *h, const struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->n; i++) {
        const Nof1__V1__Frame *reply = hand_offer(h, crowd->site[i]);
        if (refused(r, reply)) {
            return false;
        }
        h->ad[i] = reply->key_ad;
    }
    return true;
}

static inline bool crowd_gather(struct attack_result *r, struct hand *h, const struct crowd *crowd)
{
    if (!crowd_offer(r, h, crowd)) {
        return false;
    }
    crowd_hash(h, crowd);
    for (size_t i = 0; i < crowd->n; i++) {
        const Nof1__V1__Frame *reply = hand_roster(h, crowd->site[i], h->ad, crowd->n);
        if (reply != NULL && refused(r, reply)) {
            return false;
        }
    }
    return true;
}

/* Ask for one round; the answers come into h->masked in the crowd's order. `before` vectors of the
 * round before are shown. */
static inline bool crowd_ask(struct attack_result *r, struct hand *h, const struct crowd *crowd,
                             uint32_t round, size_t before)
{
    const Nof1__V1__Masked *answer[SITES] = {0};
    for (size_t i = 0; i < crowd->n; i++) {
        Nof1__V1__RoundOpen open;
        Nof1__V1__Frame frame = hand_open_frame(h, round, &open);
        open.n_previous = round == 0 ? 0 : before;
        const Nof1__V1__Frame *reply = hand_send(h, crowd->site[i], &frame);
        if (refused(r, reply)) {
            return false;
        }
        answer[i] = reply->masked;
    }
    memcpy(h->masked, answer, sizeof answer);
    memcpy(h->transcript, answer[0]->transcript.data, 32);
    return true;
}

/* Add up the first n of h->masked. */
static inline void crowd_add(struct hand *h, size_t n)
{
    h->elements = h->masked[0]->vector.len / NOF1_RING_BYTES;
    uint8_t *bytes = nof1_arena_alloc(h->arena, h->elements, NOF1_RING_BYTES);
    h->value = nof1_arena_alloc(h->arena, h->elements, sizeof(double));
    for (size_t e = 0; e < h->elements; e++) {
        struct nof1_ring sum = {{0}}, one;
        for (size_t i = 0; i < n; i++) {
            nof1_ring_read(&one, h->masked[i]->vector.data + e * NOF1_RING_BYTES);
            nof1_ring_add(&sum, &one);
        }
        nof1_ring_write(bytes + e * NOF1_RING_BYTES, &sum);
        h->value[e] = nof1_ring_decode(&sum);
    }
    h->total = nof1_slice_of(bytes, h->elements * NOF1_RING_BYTES);
}

/* Everything up to the total of round `last`, which is in h->value. */
static inline bool crowd_until(struct attack_result *r, struct hand *h, const struct crowd *crowd,
                               uint32_t last)
{
    if (!crowd_gather(r, h, crowd)) {
        return false;
    }
    for (uint32_t round = 0; round <= last; round++) {
        if (!crowd_ask(r, h, crowd, round, crowd->n)) {
            return false;
        }
        crowd_add(h, crowd->n);
        if (round < last && !hand_advance(h, round)) {
            return false;
        }
    }
    return true;
}

/* What the patients [first, first + count) of a site add to a round of the query: out[elements],
 * without the check elements. */
static inline void truth_of(struct hand *h, size_t site, size_t first, size_t count, uint32_t round,
                            const double *theta, double *out)
{
    const struct nof1_model *model = h->query->model;
    struct nof1_layout layout = {0};
    MUST(h->query->analysis->layout(model, round, h->arena, &layout));
    void *scratch = nof1_arena_alloc(h->arena, 1, model->scratch + ROWS * model->scratch_row + 16);
    double *term = nof1_arena_alloc(h->arena, layout.elements, sizeof *term);
    memset(out, 0, layout.elements * sizeof *out);
    for (size_t p = first; p < first + count; p++) {
        const struct nof1_trial *trial = &h->epoch[site].trial[p];
        if (h->query->analysis->group_of(model, trial, scratch) < 0) {
            continue;
        }
        MUST(h->query->analysis->contribute(model, round, theta, trial, scratch, term));
        for (size_t e = 0; e < layout.elements; e++) {
            out[e] += term[e];
        }
    }
}

/* Equal, and not all zero? */
static inline bool found(const double *guess, const double *truth, size_t n, double tolerance)
{
    double size = 0, error = 0;
    for (size_t e = 0; e < n; e++) {
        size = fmax(size, fabs(truth[e]));
        error = fmax(error, fabs(guess[e] - truth[e]));
    }
    return size > 0 && error <= tolerance * size;
}

static inline double *kept(struct hand *h)
{
    double *copy = nof1_arena_alloc(h->arena, h->elements, sizeof *copy);
    memcpy(copy, h->value, h->elements * sizeof *copy);
    return copy;
}

static inline const char *titled(struct hand *h, const char *title, const char *more)
{
    return nof1_arena_printf(h->arena,
                             "plan: 1\ntitle: %s\noutcome: y\ntreatment: {reference: \"A\", "
                             "active: [\"B\"]}\nanalysis: random_effects\ngather_by: 2h\n"
                             "deadline: 10m\n%s",
                             title, more);
}

#endif
