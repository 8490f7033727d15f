/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The list of everything that left (nof1-node egress) is complete: whenever a frame is put on a
 * stream, its digest and size stand in the site's durable ledger already, whatever breaks, crashes
 * or comes twice; and on a quiet network nothing stands there that did not leave.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <base/hex.h>
#include <crypto/hash.h>

#include "sim.h"

struct watch {
    size_t sites, frames;
    struct test_random random;
    bool faults;
    size_t crashes;
};

static bool listed(const struct sim *sim, size_t site, struct nof1_slice bytes)
{
    uint8_t digest[NOF1_HASH_BYTES];
    char hex[2 * NOF1_HASH_BYTES + 1], size[40];
    cr_assert_eq(nof1_sha256(digest, bytes), NOF1_OK);
    nof1_hex_text(hex, digest, sizeof digest);
    snprintf(size, sizeof size, "\"bytes\":%zu,", bytes.length);
    for (size_t i = sim_ledger_length(sim, site); i > 0; i--) {
        const char *kind = NULL;
        const char *entry = sim_ledger_entry(sim, site, i - 1, &kind);
        if (strcmp(kind, "frame.sent") == 0 && strstr(entry, hex) != NULL) {
            return strstr(entry, size) != NULL;
        }
    }
    return false;
}

static struct nof1_slice see(void *context, struct sim *sim, size_t from, size_t to,
                             struct nof1_slice bytes, struct nof1_arena *arena)
{
    struct watch *watch = context;
    (void)to;
    (void)arena;
    if (from < watch->sites) {
        watch->frames++;
        cr_assert(listed(sim, from, bytes), "site %zu, frame %zu", from, watch->frames);
    }
    return bytes;
}

static enum sim_fate fate(void *context, struct sim *sim, size_t from, size_t to,
                          const Nof1__V1__Frame *frame)
{
    struct watch *watch = context;
    (void)sim;
    (void)from;
    (void)to;
    (void)frame;
    uint64_t draw = watch->faults ? test_random_next(&watch->random) % 40 : 40;
    return draw == 0 ? SIM_BREAK : draw == 1 ? SIM_TWICE : draw == 2 ? SIM_OVERTAKE : SIM_DELIVER;
}

static bool crash(void *context, struct sim *sim, size_t at, const struct nof1_action *action)
{
    struct watch *watch = context;
    (void)sim;
    (void)at;
    (void)action;
    if (!watch->faults || watch->crashes == 0 || test_random_next(&watch->random) % 150 != 0) {
        return false;
    }
    watch->crashes--;
    return true;
}

static size_t entries(const struct sim *sim, size_t sites)
{
    size_t count = 0;
    for (size_t s = 0; s < sites; s++) {
        for (size_t i = 0; i < sim_ledger_length(sim, s); i++) {
            const char *kind = NULL;
            (void)sim_ledger_entry(sim, s, i, &kind);
            count += strcmp(kind, "frame.sent") == 0 ? 1 : 0;
        }
    }
    return count;
}

Test(egress, every_frame_is_listed_before_it_leaves)
{
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct watch watch = {.sites = 4, .random = {seed + 1}, .faults = seed > 0, .crashes = 3};
        struct sim *sim = sim_new(&(struct sim_options){
            .sites = 4, .patients = 4, .seed = seed, .jitter = seed > 0 ? 20 : 0, .quiet = true});
        const struct sim_faults faults = {
            .context = &watch, .frame = fate, .crash = crash, .rewrite = see};
        uint8_t h_q[32];
        sim_set_faults(sim, &faults);
        sim_start(sim);
        if (sim_submit(sim, sim_plan(sim, NULL), h_q) == NOF1_OK) {
            (void)sim_until_final(sim, h_q);
        }
        cr_expect_gt(watch.frames, 4 * 5u, "seed %d: %zu", (int)seed, watch.frames);
        if (seed == 0) {
            cr_expect_str_eq(sim_state(sim, h_q), "released");
            cr_expect_eq(entries(sim, 4), watch.frames, "%zu listed, %zu left", entries(sim, 4),
                         watch.frames);
        }
        sim_free(sim);
    }
}
