/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attacks on what leaves before any threshold is looked at: the counts of round 0, which
 * coordinator and members see of every plan that is offered, also of one that is refused in the
 * end. And the one site that lies in them.
 */
#include "attack_crowd.h"

static const char events_plan[] =
    "plan: 1\ntitle: events\noutcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"
    "analysis: stratified\nmeasure: OR\ngather_by: 2h\ndeadline: 10m\n";

static const struct hand_options binary = {
    .binary = true, .analyses = "[stratified]", .patient_cap = 8, .patients = {5, 5, 5, 5, 5},
    .outcome = "{kind: binary, unit: points, bounds: [0, 1], quantum: 1, centre: 0, "
               "sd_within: 0.5, sd_between: 0.2, benefit: lower}",
    .plan = events_plan};

/* Nobody has an event, but the first patient of s0 has one under `arm` (2: none). */
static void one_event(struct hand *h, uint8_t arm)
{
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < h->epoch[s].trials; p++) {
            const struct nof1_trial *trial = &h->epoch[s].trial[p];
            double *y = (double *)(uintptr_t)trial->outcome[0];
            bool done = false;
            for (size_t row = 0; row < trial->rows; row++) {
                y[row] = s == 0 && p == 0 && !done && trial->treatment[row] == arm;
                done = done || y[row] > 0;
            }
        }
        hand_start(h, s);
    }
    hand_attempt(h);
}

/* How many sites feed the two sums that only events of the one or the other arm feed. */
static void events_by_sites(struct attack_result *r)
{
    double seen[2][256];
    size_t elements = 0;
    for (uint8_t arm = 0; arm < 2; arm++) {
        struct hand *h = hand_new(&binary);
        one_event(h, arm);
        cr_assert(crowd_until(r, h, &everybody, 0), "%s", r->code);
        elements = h->elements;
        cr_assert_leq(elements, 256u);
        memcpy(seen[arm], h->value, elements * sizeof(double));
        hand_free(h);
    }
    r->won = memcmp(seen[0], seen[1], elements * sizeof(double)) != 0;
    snprintf(r->code, sizeof r->code, "%s", r->won ? "" : "same");
}

/* A stratum of which the census says that it is one patient: the plan is bound to be refused, but
 * round 0 is answered first. What it says of "sites" is then said of that patient. */
static void count_of_one_patient(struct attack_result *r)
{
    struct hand_options options = binary;
    options.patient_cap = 12;
    struct hand *h = hand_new(&options);
    for (size_t s = 0; s < SITES; s++) {
        h->epoch[s].id += 1;
        for (size_t p = 0; p < h->epoch[s].trials; p++) {
            double *sex = (double *)(uintptr_t)h->epoch[s].trial[p].covariate[0];
            for (size_t row = 0; row < ROWS; row++) {
                sex[row] = s == 0 && p == 0 ? 1 : 0;
            }
        }
    }
    one_event(h, 1);
    hand_census(h);
    hand_query(h, hand_complete(h, nof1_arena_printf(h->arena, "%sstrata: [M]\n", events_plan), 0,
                                NULL));
    if (crowd_until(r, h, &everybody, 0)) {
        (void)hand_advance(h, 0);
        double of_b = h->value[h->opening.sparse_sites],
               of_a = h->value[h->opening.sparse_sites + 1];
        r->won = h->value[h->opening.group_patients] == 1 && of_b == 1 && of_a == 0;
    }
    hand_free(h);
}

/* ---- a site that lies ------------------------------------------------------------------------ */

#define INVENTED 60

/* s4 as its owner likes it: its own key for the masks, any number in any vector, signed by its
 * vault's key. */
struct liar {
    struct nof1_masker *masker;
    double *number;
};

static void lie_about_key(struct liar *liar, struct hand *h)
{
    Nof1__V1__KeyAd *ad = nof1_arena_alloc(h->arena, 1, sizeof *ad);
    uint8_t digest[32], *public = nof1_arena_alloc(h->arena, 32, 1);
    uint8_t *signature = nof1_arena_alloc(h->arena, NOF1_SIGNATURE_MAX, 1), secret[32];
    struct nof1_peer peer[SITES];
    size_t length = 0;
    memset(secret, 91, 32);
    MUST(nof1_x25519_public(public, secret));
    *ad = *h->ad[0];
    ad->site = (char *)(uintptr_t) "s4";
    ad->x25519 = raw(public, 32);
    const struct nof1_keyad fields = {ad->site, ad->charter.data, ad->plan.data, ad->attempt.data,
                                      ad->x25519.data, ad->nonce.data, {0}};
    MUST(nof1_keyad_digest(digest, &fields));
    MUST(nof1_sign(signature, &length, h->key[4], digest));
    ad->signature = raw(signature, length);
    h->ad[4] = ad;
    crowd_hash(h, &everybody);
    for (size_t s = 0; s < 4; s++) {
        peer[s] = (struct nof1_peer){.id = h->ad[s]->site, .x25519 = h->ad[s]->x25519.data};
    }
    MUST(nof1_masker_new(&liar->masker, secret, "s4", 4, peer, h->h_q, h->h_roster));
}

/* The others answer; then s4 puts its numbers beside theirs. False: somebody refused. */
static bool lie_in_round(struct attack_result *r, struct hand *h, struct liar *liar, uint32_t round,
                         size_t elements)
{
    static const struct crowd others = {4, {0, 1, 2, 3}};
    struct nof1_ring *y = nof1_arena_alloc(h->arena, elements, sizeof *y);
    Nof1__V1__Masked *masked = nof1_arena_alloc(h->arena, 1, sizeof *masked);
    uint8_t digest[32], *vector = nof1_arena_alloc(h->arena, elements, NOF1_RING_BYTES);
    uint8_t *signature = nof1_arena_alloc(h->arena, NOF1_SIGNATURE_MAX, 1);
    size_t length = 0;
    if (!crowd_ask(r, h, &others, round, SITES)) {
        return false;
    }
    for (size_t e = 0; e < elements; e++) {
        MUST(nof1_ring_encode(&y[e], liar->number[e]));
    }
    MUST(nof1_masker_apply(liar->masker, h->transcript, elements, y));
    for (size_t e = 0; e < elements; e++) {
        nof1_ring_write(vector + e * NOF1_RING_BYTES, &y[e]);
    }
    *masked = *h->masked[0];
    masked->site = (char *)(uintptr_t) "s4";
    masked->vector.data = vector;
    const struct nof1_statement statement = {masked->site, h->h_q, h->h_roster, round,
                                             h->transcript};
    MUST(nof1_masked_digest(digest, &statement,
                            nof1_slice_of(vector, elements * NOF1_RING_BYTES)));
    MUST(nof1_sign(signature, &length, h->key[4], digest));
    masked->signature = raw(signature, length);
    h->masked[4] = masked;
    crowd_add(h, SITES);
    return true;
}

/* One man among all patients, at s0, and as many at s4 as its owner invents. */
static void invent_patients(struct hand *h)
{
    struct nof1_trial *trial = nof1_arena_alloc(h->arena, INVENTED, sizeof *trial);
    uint32_t *patient = nof1_arena_alloc(h->arena, INVENTED, sizeof *patient);
    const char **key = nof1_arena_alloc(h->arena, INVENTED, sizeof *key);
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < h->epoch[s].trials; p++) {
            double *sex = (double *)(uintptr_t)h->epoch[s].trial[p].covariate[0];
            for (size_t row = 0; row < ROWS; row++) {
                sex[row] = s == 4 || (s == 0 && p == 0) ? 1 : 0;
            }
        }
    }
    for (size_t p = 0; p < INVENTED; p++) {
        trial[p] = h->epoch[4].trial[p % h->epoch[4].trials];
        patient[p] = (uint32_t)p;
        key[p] = nof1_arena_printf(h->arena, "p%zu", p);
    }
    h->epoch[4] = (struct nof1_epoch){.id = 1, .trials = INVENTED, .patients = INVENTED,
                                      .trial = trial, .patient = patient, .patient_key = key,
                                      .trial_key = key};
    for (size_t s = 0; s < SITES; s++) {
        h->epoch[s].id = 2;
        hand_start(h, s);
    }
    hand_census(h);
    hand_query(h, hand_complete(h, titled(h, "men", "strata: [M]\n"), 0, NULL));
}

/* What s4 says in round 0: invented patients, in more sites than it is. */
static void say_counts(struct hand *h, double *number)
{
    const struct nof1_opening *opening = &h->opening;
    number[0] = 1;
    number[1] = number[2] = INVENTED;
    number[opening->group_patients] = number[opening->group_trials] = INVENTED;
    number[opening->group_sites] = 3;
    number[opening->block_patients] = INVENTED;
    for (size_t e = 0; e < opening->sparse; e++) {
        number[opening->sparse_sites + e] = 3;
    }
    number[nof1_opening_atom_at(opening, 0, 0, NOF1_ATOM_USED)] = INVENTED;
    number[nof1_opening_atom_at(opening, 0, 0, NOF1_ATOM_USED_SITES)] = 3;
}

/* A site's counts are believed: it invents the patients that every threshold asks for, and adds
 * nothing to the sums. The rest is one patient. */
static void invented_patients(struct attack_result *r)
{
    static const struct hand_options options = {.patients = {12, 12, 12, 12, 12},
                                                .patient_cap = 30};
    struct hand *h = hand_new(&options);
    struct liar liar = {0};
    double truth[256], number[256] = {0};
    static const struct crowd others = {4, {0, 1, 2, 3}};
    invent_patients(h);
    liar.number = number;
    if (crowd_offer(r, h, &others)) {
        lie_about_key(&liar, h);
        for (size_t s = 0; s < 4; s++) {
            cr_assert_null(hand_roster(h, s, h->ad, SITES));
        }
        MUST(nof1_opening_layout(&h->opening, h->arena, h->query->model,
                                 h->query->study.plan->atoms));
        say_counts(h, number);
        if (lie_in_round(r, h, &liar, 0, h->opening.elements) && hand_advance(h, 0)) {
            size_t n = h->query->study.plan->elements;
            memset(number, 0, sizeof number);
            number[0] = 1;
            number[1] = INVENTED;
            truth_of(h, 0, 0, 1, 1, NULL, truth);
            r->won = lie_in_round(r, h, &liar, 1, n + 2) && found(h->value + 2, truth, n, 1e-9);
        }
        nof1_masker_free(liar.masker);
    }
    hand_free(h);
}

const struct attack attacks_on_openings[] = {
    {"B27", "events counted by the sites that have them", "same", "pretend", events_by_sites},
    {"B28", "round 0 of one patient", "E2205", "pretend rules", count_of_one_patient},
    {"B33", "site that invents patients", "open", NULL, invented_patients},
    {0},
};
