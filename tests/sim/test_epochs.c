/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Epochs advance block by block (docs/protocol.md, "Epochs"): while too few patients changed, plans
 * are answered about the epoch before, with the same bits; blocks whose changed patients are enough
 * together move together; nobody gets back; a withdrawal stops its block's epochs only.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <base/hex.h>

#include "sim_parts.h"

#define SITES 8
#define HUB SITES

/* Two blocks of four sites with six patients each. */
static struct sim *begin(uint64_t seed)
{
    struct sim *sim = sim_new(&(struct sim_options){.sites = SITES, .patients = 6, .block_sites = 4,
                                                    .preset = "standard", .seed = seed,
                                                    .limits = "{min_sites: 4}"});
    sim_start(sim);
    return sim;
}

static const char *text_of(char out[1024], const char *title)
{
    snprintf(out, 1024, "plan: 1\ntitle: %s\n%s", title, strstr(sim_plan_text(), "outcome:"));
    return out;
}

/* Submit and wait: the state, and the totals of round 1 when it is released (memory of the sim). */
static const char *ask(struct sim *sim, struct nof1_slice plan, uint8_t h_q[32])
{
    cr_assert_eq(sim_submit(sim, plan, h_q), NOF1_OK, "%s", sim_trace(sim));
    cr_assert(sim_until_final(sim, h_q), "the query hangs\n%s", sim_trace(sim));
    cr_expect_str_eq(sim_violation(sim), "");
    return sim_state(sim, h_q);
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

static json_t *total_of(struct sim *sim, const uint8_t h_q[32])
{
    char hex[65], key[96];
    nof1_hex_text(hex, h_q, 32);
    snprintf(key, sizeof key, "evidence/%s", hex);
    struct nof1_slice bytes = sim_stored(sim, HUB, key);
    json_t *evidence = json_loadb((const char *)bytes.data, bytes.length, 0, NULL);
    json_t *total = json_incref(
        json_object_get(json_array_get(json_object_get(evidence, "rounds"), 1), "total"));
    cr_assert(json_is_string(total));
    json_decref(evidence);
    return total;
}

static void freeze(struct sim *sim, uint32_t epoch, const size_t changed[SITES], uint32_t from)
{
    for (size_t s = 0; s < SITES; s++) {
        sim_freeze_changed(sim, s, epoch, changed[s], from);
    }
    sim_run(sim, sim_now(sim) + 5000);
}

static void expect_epochs(struct sim *sim, const char *first, const char *second)
{
    const char *wanted[] = {first, second};
    json_t *rows = nof1_coordinator_epochs(sim_coordinator(sim));
    cr_assert_eq(json_array_size(rows), 2u);
    for (size_t b = 0; b < 2; b++) {
        char text[64];
        json_t *row = json_array_get(rows, b);
        snprintf(text, sizeof text, "%d %s", (int)json_integer_value(json_object_get(row, "epoch")),
                 json_string_value(json_object_get(row, "next")));
        cr_expect_str_eq(text, wanted[b], "block %zu: '%s' instead of '%s'\n%s", b, text, wanted[b],
                         sim_trace(sim));
    }
    json_decref(rows);
}

Test(epochs, blocks_move_when_enough_have_changed_together)
{
    struct sim *sim = begin(31);
    char text[1024];
    uint8_t first[32], early[32], same[32], alone[32], both[32], back[32];
    cr_assert_str_eq(ask(sim, sim_plan(sim, text_of(text, "first")), first), "released", "%s",
                     sim_trace(sim));

    /* one patient of block 0: it stays, and what it is asked about is what it was */
    freeze(sim, 2, (const size_t[SITES]){1}, 1);
    expect_epochs(sim, "2 ", "2 ");
    cr_assert_str_eq(ask(sim, sim_plan(sim, text_of(text, "second")), early), "refused");
    expect_code(sim, early, "E2210");
    expect_epochs(sim, "1 not yet", "2 ");
    cr_assert_str_eq(ask(sim, sim_plan(sim, text_of(text, "second")), same), "released", "%s",
                     sim_trace(sim));
    cr_expect(sim_pooled_equal(sim, same));
    json_t *was = total_of(sim, first), *is = total_of(sim, same);
    cr_expect(json_equal(was, is), "the same series, other bits");
    json_decref(was);
    json_decref(is);
    sim_crash(sim, HUB, 10); /* the verdict is stored */
    sim_run(sim, sim_now(sim) + 5000);
    expect_epochs(sim, "1 not yet", "2 ");

    /* five more in each block: neither alone, both together */
    freeze(sim, 3, (const size_t[SITES]){2, 1, 1, 1, 2, 1, 1, 1}, 1);
    struct nof1_slice late[] = { /* completed while their epochs were in use */
        sim_plan_at(sim, text_of(text, "b"), (const uint32_t[]){1, 3}),
        sim_plan_at(sim, text_of(text, "c"), (const uint32_t[]){3, 2})};
    cr_assert_str_eq(ask(sim, sim_plan_at(sim, text_of(text, "alone"), (const uint32_t[]){3, 2}),
                         alone), "refused");
    expect_code(sim, alone, "E2210");
    cr_assert_str_eq(ask(sim, sim_plan_at(sim, text_of(text, "both"), (const uint32_t[]){3, 3}),
                         both), "released", "%s", sim_trace(sim));
    cr_expect(sim_pooled_equal(sim, both));
    expect_epochs(sim, "3 ", "3 ");

    /* and there is no way back, for either block; others may find the budget spent first */
    const char *stays[] = {"site000 > coordinator Refusal E1016",
                           "site004 > coordinator Refusal E1016"};
    for (size_t k = 0; k < 2; k++) {
        cr_expect(strstr(sim_trace(sim), stays[k]) == NULL);
        cr_assert_str_eq(ask(sim, late[k], back), "refused");
        cr_expect(strstr(sim_trace(sim), stays[k]) != NULL, "%s", sim_trace(sim));
    }
    sim_free(sim);
}

/* A new charter version counts what stays, too: plans go on about the epoch that releases used. */
Test(epochs, a_new_charter_counts_both_epochs)
{
    struct sim *sim = begin(32);
    char text[1024];
    uint8_t first[32], early[32], after[32];
    cr_assert_str_eq(ask(sim, sim_plan(sim, text_of(text, "first")), first), "released");
    freeze(sim, 2, (const size_t[SITES]){1}, 1);
    cr_assert_str_eq(ask(sim, sim_plan(sim, text_of(text, "second")), early), "refused");
    sim_next_charter(sim);
    sim_run(sim, sim_now(sim) + 20000);
    expect_epochs(sim, "1 not yet", "2 ");
    cr_assert_str_eq(ask(sim, sim_plan(sim, text_of(text, "second")), after), "released", "%s",
                     sim_trace(sim));
    cr_expect(sim_pooled_equal(sim, after));
    json_t *was = total_of(sim, first), *is = total_of(sim, after);
    cr_expect(json_equal(was, is), "the same series, other bits");
    json_decref(was);
    json_decref(is);
    sim_free(sim);
}

/* Site 0 has withdrawn a patient: it answers about what it froze afterwards only, without that
 * patient, and alone he is too few to be left out; the other block is not concerned. */
Test(epochs, a_withdrawal_stops_its_block)
{
    struct sim *sim = begin(33);
    char text[1024];
    const size_t other[] = {1};
    uint8_t first[32], early[32], back[32], rest[32];
    cr_assert_str_eq(ask(sim, sim_plan(sim, text_of(text, "first")), first), "released");
    sim_store_put(&sim->node[0].store, "stopped", nof1_slice_text("{\"epoch\":1}"));
    freeze(sim, 2, (const size_t[SITES]){0}, 1);
    (void)text_of(text,
                  "back"); /* of a stratum: what was released would be answered from its totals */
    snprintf(text + strlen(text), sizeof text - strlen(text), "strata: [F]\n");
    cr_assert_str_eq(ask(sim, sim_plan_at(sim, text, (const uint32_t[]){1, 1}), back), "refused");
    expect_code(sim, back, "E2313");
    sim_epoch(sim, 0)->trials -= 1;
    sim_epoch(sim, 0)->patients -= 1;
    sim_epoch(sim, 0)->earlier = NULL; /* deleted by the freeze after a withdrawal */
    sim_crash(sim, 0, 10);
    sim_run(sim, sim_now(sim) + 5000);
    cr_assert_str_eq(ask(sim, sim_plan(sim, text_of(text, "second")), early), "refused");
    expect_code(sim, early, "E2210");
    expect_epochs(sim, "2 not yet", "2 ");
    cr_assert_str_eq(ask(sim, sim_plan_on(sim, text_of(text, "rest"), 1, other), rest), "released",
                     "%s", sim_trace(sim));
    sim_free(sim);
}
