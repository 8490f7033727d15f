/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attacks by a coordinator that opens rounds as it likes: with parameters of its own, with totals
 * that nobody sent, twice, too late, with vectors of another attempt, without a site. The prize is
 * one patient's effect d, or that a site works on what is not so.
 */
#include "attack_crowd.h"

#include <gsl/gsl_multifit.h>

#include <core/site_parts.h>

/* ---- what the totals of a round are called --------------------------------------------------- */

static size_t element_of(struct hand *h, uint32_t round, const char *name)
{
    struct nof1_layout layout = {0};
    MUST(h->query->analysis->layout(h->query->model, round, h->arena, &layout));
    for (size_t e = 0; e < layout.elements; e++) {
        if (strcmp(layout.element[e].name, name) == 0) {
            return 2 + e;
        }
    }
    cr_assert_fail("no element %s", name);
    return 0;
}

/* Fewer patients than patterns have room for, so that one has a pattern of his own. */
static const struct hand_options sparse = {.plan = score_plan, .preset = "open", .lab = true,
                                           .missing = true, .patients = {3, 3, 3, 2, 2}};

static const char *const element_w = "w", *const element_wd = "w*d", *const element_w2d = "w^2*d";

/* A patient's number of periods by arm: u = 1/a + 1/b, which the census counts publicly; and d. */
static double patient_u(const struct nof1_trial *trial, double *d)
{
    double sum[2] = {0}, rows[2] = {0};
    for (size_t r = 0; r < trial->rows; r++) {
        size_t arm = trial->treatment[r];
        if (!isnan(trial->outcome[0][r])) {
            sum[arm] += trial->outcome[0][r];
            rows[arm] += 1;
        }
    }
    *d = sum[1] / rows[1] - sum[0] / rows[0];
    return 1 / rows[0] + 1 / rows[1];
}

/* Distinct values of u, and the one that a single patient has. */
static size_t classes_of(const struct hand *h, double *u, size_t *single, double *d)
{
    size_t classes = 0, count[16] = {0};
    double one, last[16] = {0};
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < h->epoch[s].trials; p++) {
            double v = patient_u(&h->epoch[s].trial[p], &one);
            size_t c = 0;
            while (c < classes && fabs(u[c] - v) > 1e-9) {
                c++;
            }
            classes += c == classes ? 1 : 0;
            u[c] = v;
            count[c] += 1;
            last[c] = one;
        }
    }
    *single = SIZE_MAX;
    for (size_t c = 0; c < classes; c++) {
        if (count[c] == 1 && fabs(last[c]) > 0.5) {
            *single = c;
            *d = last[c];
        }
    }
    cr_assert_neq(*single, SIZE_MAX, "no pattern of one patient");
    return classes;
}

/* Rounds until one has a parameter; it is not asked yet. */
static uint32_t until_parameters(struct attack_result *r, struct hand *h)
{
    cr_assert(crowd_until(r, h, &everybody, 0));
    uint32_t round = 0;
    while (hand_advance(h, round) && h->parameters == 0) {
        cr_assert(crowd_ask(r, h, &everybody, ++round, SITES));
        crowd_add(h, SITES);
    }
    cr_assert_gt(h->parameters, 0u);
    return round + 1;
}

static void choose(struct hand *h, double value)
{
    double *parameter = nof1_arena_alloc(h->arena, h->parameters, sizeof *parameter);
    parameter[0] = nof1_round_parameter(value);
    h->parameter = parameter;
}

/* ---- parameters ------------------------------------------------------------------------------ */

/* A9: lambda = -u + epsilon makes one pattern's weight a million times that of all others. */
static void pole_scan(struct attack_result *r)
{
    struct hand *h = hand_new(&sparse);
    double u[16], d = 0;
    size_t single;
    classes_of(h, u, &single, &d);
    uint32_t round = until_parameters(r, h);
    choose(h, -u[single] + 1e-7);
    if (crowd_ask(r, h, &everybody, round, SITES)) {
        crowd_add(h, SITES);
        double guess = h->value[element_of(h, round, element_wd)] /
                       h->value[element_of(h, round, element_w)];
        r->won = fabs(guess - d) < 1e-3;
    }
    hand_free(h);
}

/* A10: parameters inside their domain, but of the coordinator's choice: as many sums of w(u) d as
 * patterns are linear equations for the patterns' sums, one of which is one patient. */
static void chosen_lambdas(struct attack_result *r)
{
    struct hand *h = hand_new(&sparse);
    double u[16], d = 0, chisq;
    size_t single, classes = classes_of(h, u, &single, &d), rows = 0, wanted = classes + 2;
    gsl_matrix *x = gsl_matrix_alloc(wanted, classes), *cov = gsl_matrix_alloc(classes, classes);
    gsl_vector *y = gsl_vector_alloc(wanted), *c = gsl_vector_alloc(classes);
    uint32_t round = until_parameters(r, h);
    bool more = true;
    while (more && rows + 2 <= wanted) {
        double lambda = 0.05 * pow(3, (double)rows / 2);
        choose(h, lambda);
        more = crowd_ask(r, h, &everybody, round, SITES);
        for (size_t power = 1; more && power <= 2; power++, rows++) {
            if (power == 1) {
                crowd_add(h, SITES);
            }
            for (size_t k = 0; k < classes; k++) {
                gsl_matrix_set(x, rows, k, pow(h->parameter[0] + u[k], -(double)power));
            }
            size_t e = element_of(h, round, power == 1 ? element_wd : element_w2d);
            gsl_vector_set(y, rows, h->value[e]);
        }
        h->history.rounds += more ? 1 : 0;
        round += 1;
    }
    if (rows >= classes) {
        gsl_multifit_linear_workspace *work = gsl_multifit_linear_alloc(rows, classes);
        gsl_matrix_view xs = gsl_matrix_submatrix(x, 0, 0, rows, classes);
        gsl_vector_view ys = gsl_vector_subvector(y, 0, rows);
        gsl_multifit_linear(&xs.matrix, &ys.vector, c, cov, &chisq, work);
        r->won = fabs(gsl_vector_get(c, single) - d) < 1e-2;
        gsl_multifit_linear_free(work);
    }
    gsl_matrix_free(x);
    gsl_matrix_free(cov);
    gsl_vector_free(y);
    gsl_vector_free(c);
    hand_free(h);
}

/* Two units in the 40th bit away from what the totals say. */
static void shifted_parameter(struct attack_result *r)
{
    struct hand *h = hand_new(&rounds);
    r->won = !refused(r, shifted(h, 2));
    hand_free(h);
}

/* ---- a round twice --------------------------------------------------------------------------- */

/* A6. What a second answer under the same key would tell: the difference of the site's two vectors,
 * without any other site. The control is a vault that has forgotten its first answer. */
static void round_twice(struct attack_result *r)
{
    if (attack_is_control()) {
        uint8_t h_q[32] = {1}, h_r[32] = {2}, h_1[32] = {3}, peer_key[32], other[32];
        const double at[2] = {3.25, 5.5};
        struct nof1_ring y[2];
        memset(other, 9, 32);
        MUST(nof1_x25519_public(peer_key, other));
        for (size_t time = 0; time < 2; time++) {
            uint8_t secret[32];
            struct nof1_masker *masker = NULL;
            const struct nof1_peer peer = {.id = "s1", .x25519 = peer_key};
            memset(secret, 7, 32);
            MUST(nof1_masker_new(&masker, secret, "s0", 1, &peer, h_q, h_r));
            MUST(nof1_ring_encode(&y[time], at[time]));
            MUST(nof1_masker_apply(masker, h_1, 1, &y[time]));
            nof1_masker_free(masker);
        }
        struct nof1_ring difference = y[1], minus = y[0];
        for (size_t limb = 0; limb < 4; limb++) { /* -x = ~x + 1 */
            minus.limb[limb] = ~minus.limb[limb];
        }
        nof1_ring_add(&difference, &minus);
        const struct nof1_ring one = {{1}};
        nof1_ring_add(&difference, &one);
        r->won = nof1_ring_decode(&difference) == at[1] - at[0];
        return;
    }
    struct hand *h = hand_new(&rounds);
    uint32_t round = until_parameters(r, h);
    cr_assert(crowd_ask(r, h, &everybody, round, SITES));
    choose(h, h->parameter[0] * 1.5 + 0.1);
    Nof1__V1__RoundOpen open;
    Nof1__V1__Frame frame = hand_open_frame(h, round, &open);
    r->won = !refused(r, hand_send(h, 0, &frame));
    hand_free(h);
}

/* ---- vectors and totals ---------------------------------------------------------------------- */

static void attested(struct attack_result *r, struct hand *h, uint32_t round)
{
    const Nof1__V1__Frame *reply = hand_close(h, 0, round);
    if (!refused(r, reply)) {
        r->won = reply->body_case == NOF1__V1__FRAME__BODY_ATTEST;
    }
}

/* A7: s3's vector of an earlier attempt, so that s3's answer in this one never counts. */
static void old_vector(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    cr_assert(crowd_until(r, h, &everybody, 1));
    const Nof1__V1__Masked *old = h->masked[3];
    hand_end(h, false);
    hand_attempt(h);
    cr_assert(crowd_until(r, h, &everybody, 1));
    h->masked[3] = old;
    crowd_add(h, SITES);
    attested(r, h, 1);
    hand_free(h);
}

/* A8: near convergence s4 "disappears"; the sum of the others at the next parameter, taken from the
 * sum of all at the last one, is s4 but for the little that the parameter moved. The control
 * cancels the masks of a site that has gone, as protocols that survive it must. */
static void dropout(struct attack_result *r)
{
    struct hand *h = hand_new(&rounds);
    double truth[256];
    uint32_t round = until_parameters(r, h);
    double *last = NULL;
    for (bool more = true; more; round++) {
        cr_assert(crowd_ask(r, h, &everybody, round, SITES));
        crowd_add(h, SITES - 1);
        double *less = kept(h);
        crowd_add(h, SITES);
        if (last != NULL) {
            size_t n = h->elements - 2;
            truth_of(h, 4, 0, h->epoch[4].trials, round, h->parameter, truth);
            for (size_t e = 0; e < n; e++) {
                last[2 + e] -= less[2 + e];
            }
            r->won = found(last + 2, truth, n, 1e-2);
        }
        last = kept(h);
        more = hand_advance(h, round);
    }
    round -= 1;
    crowd_add(h, SITES - 1);
    Nof1__V1__Close close = NOF1__V1__CLOSE__INIT;
    close.round = round;
    close.total = raw(h->total.data, h->total.length);
    close.n_masked = SITES - 1;
    close.masked = (Nof1__V1__Masked **)(uintptr_t)h->masked;
    Nof1__V1__Frame frame = hand_frame(h);
    frame.body_case = NOF1__V1__FRAME__BODY_CLOSE;
    frame.close = &close;
    refused(r, hand_send(h, 0, &frame));
    hand_free(h);
}

/* The total in h->total with one element multiplied; the vectors stay. */
static void falsify(struct hand *h, size_t element, double factor)
{
    uint8_t *bytes = nof1_arena_alloc(h->arena, h->total.length, 1);
    struct nof1_ring ring;
    memcpy(bytes, h->total.data, h->total.length);
    h->value[element] *= factor;
    MUST(nof1_ring_encode(&ring, h->value[element]));
    nof1_ring_write(bytes + element * NOF1_RING_BYTES, &ring);
    h->total.data = bytes;
}

/* A15: a false total steers the parameter, and every site follows. */
static void false_total(struct attack_result *r)
{
    struct hand *h = hand_new(&rounds);
    cr_assert(crowd_until(r, h, &everybody, 1));
    falsify(h, element_of(h, 1, "sum within-trial squares"), 0.01);
    cr_assert(hand_advance(h, 1));
    if (crowd_ask(r, h, &everybody, 2, SITES)) {
        crowd_add(h, SITES);
        r->won =
            h->value[0] == SITES; /* the masks agreed: these are sums at the steered parameter */
    }
    hand_free(h);
}

/* In round 0: more patients than there are, to lift every threshold. */
static void false_counts(struct attack_result *r)
{
    static const struct hand_options few = {.patients = {5, 5, 5, 5, 5}, .patient_cap = 10,
                                            .limits = "{max_release_ratio: 0.06}"};
    struct hand *h = hand_new(&few);
    cr_assert(crowd_until(r, h, &everybody, 0));
    for (size_t e = 1; e < h->elements; e++) {
        if (h->value[e] == 25) { /* trials, patients, of the class, the block, the atom */
            falsify(h, e, 2);
        }
    }
    (void)hand_advance(h, 0);
    r->won = crowd_ask(r, h, &everybody, 1, SITES);
    hand_free(h);
}

/* In the last round: there is no next one that would use it, only the release. */
static void false_last_total(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    cr_assert(crowd_until(r, h, &everybody, 1));
    falsify(h, element_of(h, 1, "sum within-trial squares"), 0.5);
    attested(r, h, 1);
    hand_free(h);
}

/* A17: a vector of no honest sum. */
static void random_vector(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    cr_assert(crowd_until(r, h, &everybody, 1));
    for (size_t e = 0; e < h->elements; e++) {
        tamper(h, 4, e, test_random_normal(&h->random), 4);
    }
    crowd_add(h, SITES);
    attested(r, h, 1);
    hand_free(h);
}

/* Every edge belongs to the attacker, the victim's own, too: they see and replace every frame, but
 * the vaults' keys are not theirs. */
static void all_edges(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    cr_assert(crowd_until(r, h, &everybody, 1));
    for (size_t s = 0; s < SITES; s++) {
        tamper(h, s, 3, 1, SITES + 1);
    }
    crowd_add(h, SITES);
    attested(r, h, 1);
    hand_free(h);
}

/* The coordinator keeps everybody waiting beyond the run's deadline, to ask when it suits. The
 * control is a vault whose clock stands still. */
static void too_late(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    cr_assert(crowd_until(r, h, &everybody, 0));
    (void)hand_advance(h, 0);
    h->now += attack_is_control() ? 0 : INT64_C(3600) * 1000;
    r->won = crowd_ask(r, h, &everybody, 1, SITES);
    hand_free(h);
}

/* More rounds than the plan has: each would be three more equations. */
static void endless_rounds(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    cr_assert(crowd_until(r, h, &everybody, 1));
    (void)hand_advance(h, 1);
    r->won = crowd_ask(r, h, &everybody, 2, SITES);
    hand_free(h);
}

/* ---- replay ---------------------------------------------------------------------------------- */

/* The statistician signs a plan under which totals are announced and not shown. */
static void sign_replay(struct hand *h)
{
    char *text = nof1_arena_alloc(h->arena, h->plan.length + 3, 1);
    uint8_t digest[32], signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    memcpy(text, h->plan.data, h->plan.length);
    char *at = strstr(text, "\"verify\":\"full\"");
    cr_assert_not_null(at);
    memmove(at + 17, at + 15, strlen(at + 15) + 1);
    memcpy(at, "\"verify\":\"replay\"", 17);
    h->plan = nof1_slice_text(text);
    MUST(nof1_plan_hash(h->h_q, h->plan));
    MUST(nof1_submit_digest(digest, h->h_q));
    MUST(nof1_sign(signature, &length, h->key[SITES], digest));
    h->plan_signature = nof1_arena_copy(h->arena, nof1_slice_of(signature, length));
}

/* A15 where no vector is shown: the false total steers the parameter. */
static void unseen_total(struct attack_result *r)
{
    struct hand *h = hand_new(&rounds);
    sign_replay(h);
    if (crowd_until(r, h, &everybody, 1)) {
        falsify(h, element_of(h, 1, "sum within-trial squares"), 0.01);
        cr_assert(hand_advance(h, 1));
        if (crowd_ask(r, h, &everybody, 2, 0)) {
            crowd_add(h, SITES);
            r->won = h->value[0] == SITES;
        }
    }
    hand_free(h);
}

/* Under replay the close alone looks at the last round. */
static void unseen_last_total(struct attack_result *r)
{
    struct hand *h = hand_new(&plain);
    sign_replay(h);
    if (crowd_until(r, h, &everybody, 1)) {
        falsify(h, element_of(h, 1, "sum within-trial squares"), 0.5);
        attested(r, h, 1);
    }
    hand_free(h);
}

#define STALE "E2503 E2504 E2501 E2502 E2505"

const struct attack attacks_on_rounds[] = {
    {"A6", "second answer in a round", "E2310", "", round_twice},
    {"A7", "vector of an earlier attempt", "E2503", STALE, old_vector},
    {"A8", "forced dropout near convergence", "E2504", "masks", dropout},
    {"A9", "pole scan", "E2306", "E2306 E2305 E2403", pole_scan},
    {"A10", "parameters that single out a pattern", "E2305", "E2305 E2302", chosen_lambdas},
    {"A15", "false total in the middle", "E2504", "E2504", false_total},
    {"A17", "random vector", "E2501", "E2501 E2505", random_vector},
    {"B5", "parameter two units away", "E2305", "E2305", shifted_parameter},
    {"B6", "false counts in round 0", "E2504", "E2504", false_counts},
    {"B7", "false total in the last round", "E2504", "E2504", false_last_total},
    {"B8", "all edges compromised", "E2504", "E2504", all_edges},
    {"B9", "time-out of the coordinator's choice", "E1010", "", too_late},
    {"B29", "false total under replay", "E1016", "E1016", unseen_total},
    {"B30", "false total under replay, last round", "E1016", "E1016 E2504", unseen_last_total},
    {"B10", "one round more than the plan has", "E2302", "E2302 E2305", endless_rounds},
    {0},
};
