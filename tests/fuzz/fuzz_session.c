/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bytes as a story about a small consortium: time passes, streams break, processes crash, frames
 * are damaged, replayed to anybody, or made up. Whatever the story, no session may stop with an
 * error, no site may answer a round twice differently or without a charge, and what is released
 * must be the pooled bits.
 */
#include <sim.h>

#include <stdlib.h>
#include <string.h>

#define SITES 3
#define RECORDED_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct story {
    const uint8_t *data;
    size_t size, at;
    size_t damage;                        /* frames to damage from now on */
    uint8_t damage_place, damage_bits;
    size_t recorded;
    struct nof1_slice frame[RECORDED_MAX];
    struct nof1_arena *arena;
};

static uint8_t next(struct story *story)
{
    return story->at < story->size ? story->data[story->at++] : 0;
}

static struct nof1_slice on_the_way(void *context, struct sim *sim, size_t from, size_t to,
                                    struct nof1_slice bytes, struct nof1_arena *arena)
{
    struct story *story = context;
    (void)sim, (void)from, (void)to;
    if (story->recorded < RECORDED_MAX) {
        story->frame[story->recorded++] = nof1_arena_copy(story->arena, bytes);
    }
    if (story->damage == 0 || bytes.length == 0) {
        return bytes;
    }
    story->damage -= 1;
    struct nof1_slice damaged = nof1_arena_copy(arena, bytes);
    ((uint8_t *)(uintptr_t)damaged.data)[story->damage_place * bytes.length / 256] ^=
        story->damage_bits;
    return damaged;
}

/* A frame from `peer` reaches `node`, whatever the streams are doing. */
static void inject(struct sim *sim, size_t node, size_t peer, struct nof1_slice bytes)
{
    struct nof1_event event = {.kind = NOF1_EVENT_FRAME, .bytes = bytes,
                               .peer = node == SITES ? sim_charter(sim)->site[peer % SITES].id
                                                     : ""};
    sim_event(sim, node, &event);
}

static void make_up(struct story *story, struct sim *sim)
{
    size_t node = next(story) % (SITES + 1);
    size_t peer = next(story);
    size_t length = next(story);
    length = length < story->size - story->at ? length : story->size - story->at;
    inject(sim, node, peer, nof1_slice_of(story->data + story->at, length));
    story->at += length;
}

static void replay(struct story *story, struct sim *sim)
{
    size_t node = next(story) % (SITES + 1);
    size_t peer = next(story);
    size_t which = next(story);
    uint8_t place = next(story);
    uint8_t bits = next(story);
    if (story->recorded == 0) {
        return;
    }
    struct nof1_slice copy =
        nof1_arena_copy(story->arena, story->frame[which % story->recorded]);
    if (copy.length > 0) {
        ((uint8_t *)(uintptr_t)copy.data)[place * copy.length / 256] ^= bits;
    }
    inject(sim, node, peer, copy);
}

static void steward(struct story *story, struct sim *sim, const uint8_t h_q[32])
{
    uint8_t what = next(story);
    struct nof1_event event = {.kind = what & 1 ? NOF1_EVENT_PAUSE : NOF1_EVENT_APPROVE,
                               .flag = (what & 2) != 0, .bytes = nof1_slice_of(h_q, 32)};
    sim_event(sim, (what >> 2) % SITES, &event);
}

static void tell(struct story *story, struct sim *sim, struct nof1_slice plan, uint8_t h_q[32])
{
    switch (next(story) % 8) {
    case 0:
        sim_run(sim, sim_now(sim) + next(story));
        break;
    case 1:
        sim_run(sim, sim_now(sim) + 1000 * (int64_t)next(story));
        break;
    case 2:
        sim_break(sim, next(story) % SITES, 10 * (int64_t)next(story));
        break;
    case 3:
        sim_crash(sim, next(story) % (SITES + 1), 10 * (int64_t)next(story));
        break;
    case 4:
        story->damage = next(story) % 8;
        story->damage_place = next(story);
        story->damage_bits = next(story);
        break;
    case 5:
        make_up(story, sim);
        break;
    case 6:
        replay(story, sim);
        break;
    default:
        if (next(story) % 2 == 0 && sim_coordinator(sim) != NULL) {
            (void)sim_submit(sim, plan, h_q);
        } else {
            steward(story, sim, h_q);
        }
        break;
    }
}

static void finish(struct story *story, struct sim *sim, const uint8_t h_q[32])
{
    story->damage = 0;
    sim_run(sim, sim_now(sim) + 3 * 3600 * 1000);
    if (strcmp(sim_state(sim, h_q), "released") == 0 && !sim_pooled_equal(sim, h_q)) {
        abort();
    }
    const char *state = sim_state(sim, h_q);
    if (strcmp(state, "gathering") == 0 || strcmp(state, "opening") == 0 ||
        strcmp(state, "rounds") == 0 || strcmp(state, "closing") == 0) {
        abort(); /* it hangs: all its deadlines are over */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 512) {
        return 0; /* a long story costs time and tells no more */
    }
    struct story story = {.data = data, .size = size, .arena = nof1_arena_new()};
    struct sim *sim =
        sim_new(&(struct sim_options){.sites = SITES, .patients = 2, .seed = 1, .quiet = true});
    uint8_t h_q[32] = {0};
    sim_start(sim);
    struct nof1_slice plan = sim_plan(sim, NULL);
    sim_set_faults(sim, &(struct sim_faults){.context = &story, .rewrite = on_the_way});
    (void)sim_submit(sim, plan, h_q);
    while (story.at < story.size && sim_violation(sim)[0] == 0) {
        tell(&story, sim, plan, h_q);
    }
    finish(&story, sim, h_q);
    if (sim_violation(sim)[0] != 0) {
        abort();
    }
    sim_free(sim);
    nof1_arena_free(story.arena);
    return 0;
}
