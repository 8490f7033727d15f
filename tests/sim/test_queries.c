/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Several queries over one consortium, and parties that do not keep to the protocol: order of plans
 * of one family, unions of blocks, epochs, forged and damaged answers, wrong sums.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/hex.h>
#include <crypto/key.h>
#include <crypto/ring.h>
#include <crypto/transcript.h>
#include <sim.h>

static struct nof1_slice titled(struct sim *sim, const char *title, size_t blocks,
                                const size_t *block)
{
    char text[1024];
    snprintf(text, sizeof text, "plan: 1\ntitle: %s\n%s", title,
             strstr(sim_plan_text(), "outcome:"));
    return sim_plan_on(sim, text, blocks, block);
}

static void expect_state(struct sim *sim, const uint8_t h_q[32], const char *state)
{
    cr_expect(sim_until_final(sim, h_q), "the query hangs\n%s", sim_trace(sim));
    cr_expect_str_eq(sim_state(sim, h_q), state, "%s instead of %s\n%s", sim_state(sim, h_q), state,
                     sim_trace(sim));
    cr_expect_str_eq(sim_violation(sim), "");
    if (strcmp(state, "released") == 0) {
        cr_expect(sim_pooled_equal(sim, h_q), "the totals are not those of pooling");
    }
}

static void expect_code(struct sim *sim, const uint8_t h_q[32], const char *code)
{
    json_t *result = sim_result(sim, h_q);
    const char *found =
        json_string_value(json_object_get(json_object_get(result, "refusal"), "code"));
    cr_expect(found != NULL && strcmp(found, code) == 0, "%s instead of %s\n%s", found, code,
              sim_trace(sim));
    json_decref(result);
}

static size_t count_kind(struct sim *sim, size_t node, const char *kind)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_ledger_length(sim, node); i++) {
        const char *found = NULL;
        (void)sim_ledger_entry(sim, node, i, &found);
        count += strcmp(found, kind) == 0 ? 1 : 0;
    }
    return count;
}

/* ---- several queries ------------------------------------------------------------------------- */

Test(queries, plans_of_one_family_follow_each_other)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 21});
    uint8_t first[32];
    uint8_t second[32];
    sim_start(sim);
    struct nof1_slice one = titled(sim, "first", 0, NULL);
    struct nof1_slice two = titled(sim, "second", 0, NULL);
    sim_trace_clear(sim);
    cr_assert_eq(sim_submit(sim, one, first), NOF1_OK);
    cr_assert_eq(sim_submit(sim, two, second), NOF1_OK);
    expect_state(sim, first, "released");
    expect_state(sim, second, "released");
    /* the second roster is frozen only when the first query has ended */
    const char *end = strstr(sim_trace(sim), "End released");
    const char *roster = strstr(sim_trace(sim), "Roster 3");
    cr_assert(end != NULL && roster != NULL);
    size_t before = 0;
    for (const char *at = roster; at != NULL && at < end; at = strstr(at + 1, "Roster 3")) {
        before++;
    }
    cr_expect_eq(before, 3u, "%s", sim_trace(sim));
    sim_free(sim);
}

Test(queries, plan_made_before_a_release_is_refused_and_its_completion_runs)
{
    struct sim *sim = sim_new(&(struct sim_options){
        .sites = 5, .patients = 8, .seed = 22, .preset = "ultra-rare",
        .analyses = "[random_effects, summary_test]"});
    static const char other[] = "plan: 1\ntitle: another\noutcome: y\n"
                                "treatment: {reference: \"A\", active: [\"B\"]}\n"
                                "analysis: summary_test\ngather_by: 2h\ndeadline: 10m\n";
    uint8_t first[32];
    uint8_t stale[32];
    uint8_t fresh[32];
    sim_start(sim);
    struct nof1_slice one = titled(sim, "first", 0, NULL);
    struct nof1_slice two = sim_plan(sim, other);
    cr_assert_eq(sim_submit(sim, one, first), NOF1_OK);
    expect_state(sim, first, "released");
    cr_assert_eq(sim_submit(sim, two, stale), NOF1_OK);
    expect_state(sim, stale, "refused");
    expect_code(sim, stale, "E2210");
    cr_assert_eq(sim_submit(sim, sim_plan(sim, other), fresh), NOF1_OK);
    cr_expect(sim_until_final(sim, fresh));
    /* either released or out of ratio; never a difference of patients */
    json_t *result = sim_result(sim, fresh);
    const char *code =
        json_string_value(json_object_get(json_object_get(result, "refusal"), "code"));
    cr_expect(code == NULL || strcmp(code, "E2301") == 0 || strcmp(code, "E2505") == 0, "%s", code);
    json_decref(result);
    sim_free(sim);
}

/* Another estimator, another analysis of the same sums: the totals of the first release, no frame,
 * no budget; after a restart of the coordinator too. */
Test(queries, what_totals_already_tell_is_answered_without_a_round)
{
    static const char *const same[] = {"analysis: random_effects\nmethod: DL\ntest: z",
                                       "analysis: random_effects\nlevel: 0.9",
                                       "analysis: bayes\nmcid: 0.5"};
    static const char *const others[] = {"analysis: random_effects\nincomplete: cycles",
                                         "analysis: mixed_model"};
    for (int restart = 0; restart < 2; restart++) {
        struct sim *sim = sim_new(&(struct sim_options){
            .sites = 5, .patients = 8, .seed = 31, .missing = true,
            .analyses = "[random_effects, bayes, mixed_model]"});
        const char *head = "plan: 1\ntitle: another\noutcome: y\ntreatment: {reference: \"A\", "
                           "active: [\"B\"]}\ngather_by: 2h\ndeadline: 10m";
        uint8_t first[32];
        char text[512];
        sim_start(sim);
        cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), first), NOF1_OK);
        expect_state(sim, first, "released");
        if (restart == 1) {
            sim_crash(sim, 5, 300);
            sim_run(sim, sim_now(sim) + 5000);
        }
        char hex[65];
        nof1_hex_text(hex, first, 32);
        for (size_t i = 0; i < 3; i++) {
            uint8_t derived[32];
            snprintf(text, sizeof text, "%s\n%s\n", head, same[i]);
            size_t frames = sim_frames(sim);
            cr_assert_eq(sim_submit(sim, sim_plan(sim, text), derived), NOF1_OK);
            cr_expect_str_eq(sim_state(sim, derived), "released", "%s", same[i]);
            cr_expect_eq(sim_frames(sim), frames, "%s sent something", same[i]);
            json_t *result = sim_result(sim, derived);
            const json_t *privacy = json_object_get(result, "privacy");
            cr_expect_eq(json_integer_value(json_object_get(privacy, "scalars")), 0);
            cr_expect_str_eq(json_string_value(json_object_get(privacy, "derived_from")), hex);
            cr_expect_eq(json_integer_value(json_object_get(privacy, "sites")), 5);
            cr_expect(json_array_size(json_object_get(result, "estimates")) > 0);
            json_decref(result);
        }
        cr_expect_eq(count_kind(sim, 5, "result.derived"), 3u);
        for (size_t i = 0; i < 2; i++) {
            uint8_t own[32];
            snprintf(text, sizeof text, "%s\n%s\n", head, others[i]);
            cr_assert_eq(sim_submit(sim, sim_plan(sim, text), own), NOF1_OK);
            cr_expect_str_eq(sim_state(sim, own), "opening", "%s", others[i]);
            expect_state(sim, own, "released");
        }
        cr_expect_str_eq(sim_violation(sim), "");
        sim_free(sim);
    }
}

/* The sums of design classes answer another method, test, interval or level of one mixed model. */
Test(queries, sums_of_classes_answer_other_fits_of_one_model)
{
    static const char *const same[] = {"method: ML\ndf: z", "df: satterthwaite\nlevel: 0.9",
                                       "tests: [variances, fixed]\ninterval: profile"};
    struct sim *sim = sim_new(&(struct sim_options){
        .sites = 5, .patients = 8, .seed = 31, .analyses = "[random_effects, bayes, mixed_model]"});
    const char *head = "plan: 1\ntitle: another\noutcome: y\ntreatment: {reference: \"A\", "
                       "active: [\"B\"]}\ngather_by: 2h\ndeadline: 10m\nanalysis: mixed_model";
    uint8_t first[32];
    char text[512];
    sim_start(sim);
    snprintf(text, sizeof text, "%s\n", head);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, text), first), NOF1_OK);
    expect_state(sim, first, "released");
    for (size_t i = 0; i < 3; i++) {
        uint8_t derived[32];
        snprintf(text, sizeof text, "%s\n%s\n", head, same[i]);
        size_t frames = sim_frames(sim);
        cr_assert_eq(sim_submit(sim, sim_plan(sim, text), derived), NOF1_OK);
        cr_expect_str_eq(sim_state(sim, derived), "released", "%s", same[i]);
        cr_expect_eq(sim_frames(sim), frames, "%s sent something", same[i]);
    }
    cr_expect_str_eq(sim_violation(sim), "");
    sim_free(sim);
}

/* The derived result has the bits that rounds of its own would have given. */
Test(queries, derived_results_have_the_bits_of_rounds)
{
    const char *plan = "plan: 1\ntitle: one\noutcome: y\ntreatment: {reference: \"A\", active: "
                       "[\"B\"]}\ngather_by: 2h\ndeadline: 10m\nanalysis: bayes\nmcid: 0.5\n";
    char *kept[2] = {NULL, NULL};
    for (int derived = 0; derived < 2; derived++) {
        struct sim *sim = sim_new(&(struct sim_options){.sites = 4, .patients = 8, .seed = 32,
                                                        .missing = true,
                                                        .analyses = "[random_effects, bayes]"});
        uint8_t h_q[32];
        sim_start(sim);
        if (derived == 1) {
            cr_assert_eq(sim_submit(sim, sim_plan(sim, NULL), h_q), NOF1_OK);
            expect_state(sim, h_q, "released");
        }
        cr_assert_eq(sim_submit(sim, sim_plan(sim, plan), h_q), NOF1_OK);
        cr_expect(sim_until_final(sim, h_q));
        json_t *result = sim_result(sim, h_q);
        cr_expect_eq(json_object_get(json_object_get(result, "provenance"), "derived_from") != NULL,
                     derived == 1);
        (void)json_object_del(result, "provenance");
        (void)json_object_del(result, "privacy");
        kept[derived] = json_dumps(result, JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
        json_decref(result);
        sim_free(sim);
    }
    cr_expect_str_eq(kept[0], kept[1]);
    free(kept[0]);
    free(kept[1]);
}

Test(queries, unions_of_blocks_and_rests)
{
    struct sim *sim = sim_new(
        &(struct sim_options){.sites = 9, .patients = 5, .seed = 23, .block_sites = 3});
    static const size_t some[] = {0, 2};
    static const size_t middle[] = {1};
    uint8_t part[32];
    uint8_t all[32];
    uint8_t rest[32];
    sim_start(sim);
    cr_assert_eq(sim_submit(sim, titled(sim, "part", 2, some), part), NOF1_OK);
    expect_state(sim, part, "released");
    cr_assert_eq(sim_submit(sim, titled(sim, "rest", 1, middle), rest), NOF1_OK);
    expect_state(sim, rest, "released");
    cr_assert_eq(sim_submit(sim, titled(sim, "all", 0, NULL), all), NOF1_OK);
    expect_state(sim, all, "released");
    json_t *result = sim_result(sim, part);
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(result, "privacy"), "sites")),
                 6);
    json_decref(result);
    sim_free(sim);
}

/* Several rounds, each at parameters that every site recomputes from the totals before it. */
Test(queries, rounds_with_parameters)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 4, .patients = 8, .seed = 27,
                                                    .missing = true, .jitter = 9});
    uint8_t h_q[32];
    sim_start(sim);
    struct nof1_slice plan = sim_plan(sim, "plan: 1\ntitle: rounds\noutcome: y\n"
                                           "treatment: {reference: \"A\", active: [\"B\"]}\n"
                                           "analysis: mixed_model\nfixed: [treatment]\n"
                                           "random: {trial: [intercept]}\nincomplete: score\n"
                                           "gather_by: 2h\ndeadline: 10m\n");
    cr_assert_eq(sim_submit(sim, plan, h_q), NOF1_OK);
    expect_state(sim, h_q, "released");
    json_t *result = sim_result(sim, h_q);
    cr_expect_gt(
        json_integer_value(json_object_get(json_object_get(result, "privacy"), "rounds")), 1);
    json_decref(result);
    sim_free(sim);
}

Test(queries, new_epoch_takes_its_own_census)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 24});
    uint8_t old[32];
    uint8_t now[32];
    sim_start(sim);
    struct nof1_slice plan = titled(sim, "old", 0, NULL);
    for (size_t s = 0; s < 3; s++) {
        sim_freeze(sim, s, 2);
    }
    sim_run(sim, sim_now(sim) + 5000);
    cr_expect_eq(sim_stored(sim, 3, "census/0000000002").length > 0, true, "%s", sim_trace(sim));
    cr_assert_eq(sim_submit(sim, plan, old), NOF1_OK);
    expect_state(sim, old, "refused");
    expect_code(sim, old, "E1016");
    cr_assert_eq(sim_submit(sim, titled(sim, "now", 0, NULL), now), NOF1_OK);
    expect_state(sim, now, "released");
    sim_free(sim);
}

/* The epoch stays; what was counted, waited for and released under the earlier version does not
 * hold the coordinator up, and the new version takes its own census. */
Test(queries, a_new_charter_takes_its_own_census)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 26});
    static const char other[] =
        "plan: 1\noutcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"
        "analysis: mixed_model\nfixed: [treatment]\nrandom: {trial: [intercept]}\n"
        "incomplete: score\ngather_by: 2h\ndeadline: 10m\n";
    uint8_t old[32], waiting[32], now[32];
    sim_start(sim);
    cr_assert_eq(sim_submit(sim, titled(sim, "old", 0, NULL), old), NOF1_OK);
    expect_state(sim, old, "released");
    sim_break(sim, 1, 3000);
    cr_assert_eq(sim_submit(sim, sim_plan(sim, other), waiting), NOF1_OK);
    sim_next_charter(sim);
    sim_run(sim, sim_now(sim) + 20000);
    cr_assert_not_null(sim_coordinator(sim), "%s", sim_trace(sim));
    cr_expect_str_eq(sim_state(sim, old), "released");
    expect_code(sim, waiting, "E1010");
    struct nof1_slice census = sim_stored(sim, 3, "census/0000000001");
    char hex[65];
    nof1_hex_text(hex, sim_charter(sim)->hash, 32);
    cr_assert_not_null(memmem(census.data, census.length, hex, 64), "%s", sim_trace(sim));
    cr_assert_eq(sim_submit(sim, titled(sim, "now", 0, NULL), now), NOF1_OK);
    expect_state(sim, now, "released");
    sim_crash(sim, 3, 10);
    sim_run(sim, sim_now(sim) + 5000);
    cr_expect_str_eq(sim_state(sim, now), "released");
    sim_free(sim);
}

Test(queries, no_census_while_a_site_is_missing)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 25});
    struct sim *other = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 25});
    sim_break(sim, 1, -1);
    sim_up(sim, 0);
    sim_up(sim, 2);
    sim_run(sim, 60000);
    cr_expect_eq(nof1_coordinator_census(sim_coordinator(sim)).length, 0u);
    /* a plan that was completed elsewhere says what it waits for */
    sim_start(other);
    uint8_t h_q[32];
    cr_expect_eq(sim_submit(sim, titled(other, "early", 0, NULL), h_q), NOF1_E_PLAN);
    sim_up(sim, 1);
    sim_run(sim, 120000);
    cr_expect_gt(nof1_coordinator_census(sim_coordinator(sim)).length, 0u);
    sim_free(sim);
    sim_free(other);
}

/* NOF1_SIM_SITES=300 takes minutes: every site verifies every signature of every site. */
Test(queries, many_sites)
{
    const char *wish = getenv("NOF1_SIM_SITES");
    size_t sites = wish == NULL ? 60 : strtoul(wish, NULL, 10);
    struct sim *sim = sim_new(&(struct sim_options){.sites = sites, .patients = 2, .seed = 26,
                                                    .missing = true, .quiet = true,
                                                    .round_timeout = 600000});
    uint8_t h_q[32];
    sim_start(sim);
    cr_assert_eq(sim_submit(sim, titled(sim, "many", 0, NULL), h_q), NOF1_OK);
    expect_state(sim, h_q, "released");
    sim_free(sim);
}

/* ---- parties that lie ------------------------------------------------------------------------ */

struct liar {
    size_t site;
    uint32_t round;
    size_t times;           /* how often to lie */
    size_t element;         /* of the vector to change */
    bool forge;             /* damage the signature instead of signing anew */
    uint8_t h_roster[32];
};

static void read_roster(struct liar *liar, const Nof1__V1__Roster *roster)
{
    struct nof1_keyad ads[16];
    cr_assert_leq(roster->n_key_ad, 16u);
    for (size_t i = 0; i < roster->n_key_ad; i++) {
        const Nof1__V1__KeyAd *ad = roster->key_ad[i];
        ads[i] = (struct nof1_keyad){ad->site, ad->charter.data, ad->plan.data, ad->attempt.data,
                                     ad->x25519.data, ad->nonce.data,
                                     nof1_slice_of(ad->signature.data, ad->signature.len)};
    }
    cr_assert_eq(nof1_roster_hash(liar->h_roster, roster->n_key_ad, ads), NOF1_OK);
}

static void sign_again(const struct liar *liar, struct sim *sim, const Nof1__V1__Frame *frame,
                       Nof1__V1__Masked *masked)
{
    const struct nof1_statement statement = {masked->site, frame->query.data, liar->h_roster,
                                             masked->round, masked->transcript.data};
    static uint8_t signature[NOF1_SIGNATURE_MAX];
    uint8_t digest[32];
    cr_assert_eq(nof1_masked_digest(digest, &statement,
                                    nof1_slice_of(masked->vector.data, masked->vector.len)),
                 NOF1_OK);
    cr_assert_eq(nof1_sign(signature, &masked->signature.len, sim_site_key(sim, liar->site),
                           digest),
                 NOF1_OK);
    masked->signature.data = signature;
}

/* One site adds 1 to one element of its masked vector, or damages its signature. */
static struct nof1_slice lie(void *context, struct sim *sim, size_t from, size_t to,
                             struct nof1_slice bytes, struct nof1_arena *arena)
{
    struct liar *liar = context;
    const Nof1__V1__Frame *frame = NULL;
    (void)to;
    cr_assert_eq(nof1_frame_read(&frame, arena, bytes, NULL), NOF1_OK);
    if (frame->body_case == NOF1__V1__FRAME__BODY_ROSTER) {
        read_roster(liar, frame->roster);
    }
    if (from != liar->site || frame->body_case != NOF1__V1__FRAME__BODY_MASKED ||
        frame->masked->round != liar->round || liar->times == 0) {
        return bytes;
    }
    liar->times -= 1;
    Nof1__V1__Masked *masked = frame->masked;
    struct nof1_ring value;
    struct nof1_ring one;
    uint8_t *place = masked->vector.data + 32 * liar->element;
    if (liar->forge) {
        masked->signature.data[masked->signature.len - 1] ^= 1;
    } else {
        nof1_ring_read(&value, place);
        cr_assert_eq(nof1_ring_encode(&one, 1), NOF1_OK);
        nof1_ring_add(&value, &one);
        nof1_ring_write(place, &value);
        sign_again(liar, sim, frame, masked);
    }
    struct nof1_slice changed;
    cr_assert_eq(nof1_frame_write(&changed, arena, frame), NOF1_OK);
    return changed;
}

static struct sim *with_liar(struct liar *liar, uint64_t seed, uint8_t h_q[32])
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = seed});
    sim_start(sim);
    sim_trace_clear(sim);
    sim_set_faults(sim, &(struct sim_faults){.context = liar, .rewrite = lie});
    cr_assert_eq(sim_submit(sim, titled(sim, "lies", 0, NULL), h_q), NOF1_OK);
    return sim;
}

Test(queries, wrong_site_count_is_a_fault_retried_three_times)
{
    for (uint32_t round = 0; round < 2; round++) {
        struct liar liar = {.site = 1, .round = round, .times = 100};
        uint8_t h_q[32];
        struct sim *sim = with_liar(&liar, 31, h_q);
        expect_state(sim, h_q, "refused");
        expect_code(sim, h_q, "E2501");
        cr_expect_eq(liar.times, 97u);
        cr_expect_eq(count_kind(sim, 3, "incident"), 3u);
        sim_free(sim);
    }
}

Test(queries, one_fault_is_healed_by_the_next_attempt)
{
    struct liar liar = {.site = 2, .round = 1, .times = 1};
    uint8_t h_q[32];
    struct sim *sim = with_liar(&liar, 32, h_q);
    expect_state(sim, h_q, "released");
    cr_expect_not_null(strstr(sim_trace(sim), "End E2501"));
    sim_free(sim);
}

Test(queries, wrong_trial_count_is_an_objection)
{
    struct liar liar = {.site = 0, .round = 1, .times = 1, .element = 1};
    uint8_t h_q[32];
    struct sim *sim = with_liar(&liar, 33, h_q);
    expect_state(sim, h_q, "objected");
    expect_code(sim, h_q, "E2505");
    cr_expect_eq(count_kind(sim, 3, "query.objected"), 1u);
    sim_free(sim);
}

Test(queries, forged_signature_does_not_count)
{
    struct liar liar = {.site = 0, .round = 1, .times = 1, .forge = true};
    uint8_t h_q[32];
    struct sim *sim = with_liar(&liar, 34, h_q);
    expect_state(sim, h_q, "released");
    cr_expect_not_null(strstr(sim_trace(sim), "End E1007"), "the round times out\n%s",
                       sim_trace(sim));
    sim_free(sim);
}

/* Site 1 refuses in the name of site 2: the link's identity and the key decide. */
Test(queries, nobody_refuses_for_another)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 6, .seed = 35});
    uint8_t h_q[32];
    sim_start(sim);
    cr_assert_eq(sim_submit(sim, titled(sim, "p", 0, NULL), h_q), NOF1_OK);
    uint8_t signature[NOF1_SIGNATURE_MAX] = {1};
    Nof1__V1__Refusal refusal = NOF1__V1__REFUSAL__INIT;
    refusal.site = (char *)(uintptr_t) "site002";
    refusal.code = (char *)(uintptr_t) "E2205";
    refusal.signature = (ProtobufCBinaryData){70, signature};
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    uint8_t nonce[32] = {0};
    frame.query = (ProtobufCBinaryData){32, h_q};
    frame.attempt = (ProtobufCBinaryData){32, nonce};
    frame.body_case = NOF1__V1__FRAME__BODY_REFUSAL;
    frame.refusal = &refusal;
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_slice bytes;
    cr_assert_eq(nof1_frame_write(&bytes, arena, &frame), NOF1_OK);
    sim_event(sim, 3, &(struct nof1_event){.kind = NOF1_EVENT_FRAME, .peer = "site001",
                                           .bytes = bytes});
    nof1_arena_free(arena);
    expect_state(sim, h_q, "released");
    sim_free(sim);
}
