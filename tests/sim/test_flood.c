/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The coordinator's store and memory against a hostile statistician who submits without end, and a
 * hostile site that advertises one key after the other.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <crypto/transcript.h>
#include <sim.h>

#define HOSTILE 0
#define ADVERTISED 40
#define ADVERTISED_MOST 16 /* NOF1_KEYADS_MAX */
#define SUBMITTED_MOST (200 + 2 * 5)

Test(flood, a_statistician_begins_so_many_runs_a_day)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 5, .patients = 8, .preset = "standard",
                                                    .limits = "{max_queries_day: 5}",
                                                    .quiet = true});
    size_t taken = 0, bytes = 0;
    char text[1200];
    cr_assert_not_null(sim);
    sim_start(sim);
    size_t before = sim_ledger_length(sim, 5);
    for (size_t i = 0; i < SUBMITTED_MOST + 40; i++) {
        const char *rest = strstr(sim_plan_text(), "title:");
        cr_assert_not_null(rest);
        snprintf(text, sizeof text, "plan: 1\ntitle: again %zu%s", i, strchr(rest, '\n'));
        nof1_rc_value rc = sim_submit(sim, sim_plan(sim, text), NULL);
        cr_assert(rc == NOF1_OK || rc == NOF1_E2304, "%s", nof1_rc_code(rc));
        taken += rc == NOF1_OK ? 1 : 0;
        cr_assert_eq(rc == NOF1_OK, i < SUBMITTED_MOST, "plan %zu", i);
    }
    cr_expect_eq(taken, SUBMITTED_MOST);
    for (size_t i = before; i < sim_ledger_length(sim, 5); i++) {
        const char *kind = NULL;
        bytes += strlen(sim_ledger_entry(sim, 5, i, &kind));
    }
    cr_expect_lt(bytes, 1000 * SUBMITTED_MOST, "%zu bytes", bytes);
    sim_free(sim);
}

/* ---- keys ------------------------------------------------------------ */

struct seen {
    bool offered;
    uint8_t h_q[32], attempt[32];
    uint32_t rostered; /* the number in the hostile site's advertisement that was frozen */
};

static enum sim_fate look(void *context, struct sim *sim, size_t from, size_t to,
                          const Nof1__V1__Frame *frame)
{
    struct seen *seen = context;
    (void)sim;
    (void)from;
    if (to == HOSTILE && frame->body_case == NOF1__V1__FRAME__BODY_QUERY_OFFER) {
        seen->offered = true;
        memcpy(seen->h_q, frame->query.data, 32);
        memcpy(seen->attempt, frame->attempt.data, 32);
    }
    if (to == HOSTILE && frame->body_case == NOF1__V1__FRAME__BODY_ROSTER) {
        for (size_t i = 0; i < frame->roster->n_key_ad; i++) {
            const Nof1__V1__KeyAd *ad = frame->roster->key_ad[i];
            if (strcmp(ad->site, sim_charter(sim)->site[HOSTILE].id) == 0) {
                memcpy(&seen->rostered, ad->nonce.data, sizeof seen->rostered);
            }
        }
    }
    return SIM_DELIVER;
}

/* Advertisement number `number` of the hostile site, signed. */
static void advertise(struct sim *sim, const struct seen *seen, uint32_t number)
{
    uint8_t nonce[32] = {0}, x25519[32] = {9}, digest[32], signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    struct nof1_slice bytes;
    const char *id = sim_charter(sim)->site[HOSTILE].id;
    struct nof1_arena *arena = nof1_arena_new();
    memcpy(nonce, &number, sizeof number);
    const struct nof1_keyad fields = {.site = id, .h_c = sim_charter(sim)->hash,
                                      .h_q = seen->h_q, .attempt = seen->attempt,
                                      .x25519 = x25519, .nonce = nonce};
    cr_assert_eq(nof1_keyad_digest(digest, &fields), NOF1_OK);
    cr_assert_eq(nof1_sign(signature, &length, sim_site_key(sim, HOSTILE), digest), NOF1_OK);
    Nof1__V1__KeyAd ad = NOF1__V1__KEY_AD__INIT;
    ad.site = (char *)(uintptr_t)id;
    ad.charter = (ProtobufCBinaryData){32, (uint8_t *)(uintptr_t)sim_charter(sim)->hash};
    ad.plan = (ProtobufCBinaryData){32, (uint8_t *)(uintptr_t)seen->h_q};
    ad.attempt = (ProtobufCBinaryData){32, (uint8_t *)(uintptr_t)seen->attempt};
    ad.x25519 = (ProtobufCBinaryData){32, x25519};
    ad.nonce = (ProtobufCBinaryData){32, nonce};
    ad.signature = (ProtobufCBinaryData){length, signature};
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = ad.plan;
    frame.attempt = ad.attempt;
    frame.body_case = NOF1__V1__FRAME__BODY_KEY_AD;
    frame.key_ad = &ad;
    cr_assert_eq(nof1_frame_write(&bytes, arena, &frame), NOF1_OK);
    sim_event(sim, 5, &(struct nof1_event){.kind = NOF1_EVENT_FRAME, .peer = id, .bytes = bytes});
    nof1_arena_free(arena);
}

Test(flood, a_site_has_so_many_keys_in_an_attempt)
{
    struct seen seen = {0};
    uint8_t h_q[32];
    struct sim *sim = sim_new(
        &(struct sim_options){.sites = 5, .manual_approval = true, .quiet = true});
    cr_assert_not_null(sim);
    sim_start(sim);
    const struct sim_faults faults = {.context = &seen, .frame = look};
    sim_set_faults(sim, &faults);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
    sim_run(sim, sim_now(sim) + 200);
    cr_assert(seen.offered);
    for (uint32_t n = 1; n <= ADVERTISED; n++) {
        advertise(sim, &seen, n);
    }
    for (size_t s = 1; s < 5; s++) { /* the others' stewards approve */
        sim_event(sim, s, &(struct nof1_event){.kind = NOF1_EVENT_APPROVE, .peer = "",
                                               .bytes = nof1_slice_of(h_q, 32), .flag = true});
    }
    sim_run(sim, sim_now(sim) + 200);
    cr_expect_eq(seen.rostered, ADVERTISED_MOST, "%u", seen.rostered);
    sim_free(sim);
}
