/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A site without a trial of the plan cannot be told from one with trials by what it sends: the same
 * frames in the same order, the same sizes, and times of the same distribution (docs/protocol.md,
 * "Times"). Work costs time here that depends on the site's trials; the streams add a random
 * time of their own. Without the sites' delay the same comparison must tell the two apart.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sim.h>

#define WATCHED 1
#define ROUNDS 1000
#define CONTROL_ROUNDS 300
#define LEAST_P 0.001
#define CONSORTIA_MAX 400
#define FRAMES_MAX 40

/* What the coordinator could note of one consortium's watched site. */
struct shape {
    size_t frames;
    size_t kind[FRAMES_MAX], size[FRAMES_MAX]; /* signatures vary by themselves: taken off */
};

struct notes {
    bool empty;
    int64_t asked;                             /* when the site was last asked for something */
    size_t times;
    double time[2 * ROUNDS];                   /* milliseconds from a request to its answer */
    struct shape shape;
    double wall, steps;                        /* processor time of its rounds, reported */
    struct test_random random;
};

static size_t signature_bytes(const Nof1__V1__Frame *frame)
{
    switch (frame->body_case) {
    case NOF1__V1__FRAME__BODY_MASKED:
        return frame->masked->signature.len;
    case NOF1__V1__FRAME__BODY_KEY_AD:
        return frame->key_ad->signature.len;
    case NOF1__V1__FRAME__BODY_ATTEST:
        return frame->attest->signature.len;
    default:
        return 0;
    }
}

/* An offer is answered with a key, a round with a vector, a close with an attestation. */
static bool asks(const Nof1__V1__Frame *frame)
{
    return frame->body_case == NOF1__V1__FRAME__BODY_QUERY_OFFER ||
           frame->body_case == NOF1__V1__FRAME__BODY_ROUND_OPEN ||
           frame->body_case == NOF1__V1__FRAME__BODY_CLOSE;
}

static enum sim_fate note_frame(void *context, struct sim *sim, size_t from, size_t to,
                                const Nof1__V1__Frame *frame)
{
    struct notes *notes = context;
    if (to == WATCHED && asks(frame)) {
        notes->asked = sim_now(sim);
    }
    if (from != WATCHED) {
        return SIM_DELIVER;
    }
    struct shape *shape = &notes->shape;
    cr_assert(shape->frames < FRAMES_MAX);
    shape->kind[shape->frames] = frame->body_case;
    shape->size[shape->frames++] =
        nof1__v1__frame__get_packed_size(frame) - signature_bytes(frame);
    if (signature_bytes(frame) > 0 && notes->times < 2 * ROUNDS) {
        /* the stream's own time, there and back, is added by what the network draws */
        notes->time[notes->times++] =
            (double)(sim_now(sim) - notes->asked) + test_random_uniform(&notes->random);
    }
    return SIM_DELIVER;
}

static bool is_asked(size_t at, const struct nof1_event *event)
{
    const Nof1__V1__Frame *frame = NULL;
    if (at != WATCHED || event->kind != NOF1_EVENT_FRAME) {
        return false;
    }
    struct nof1_arena *arena = nof1_arena_new();
    cr_assert(nof1_frame_read(&frame, arena, event->bytes, NULL) == NOF1_OK);
    bool asked = asks(frame);
    nof1_arena_free(arena);
    return asked;
}

/* An answer costs a site with trials up to three milliseconds, one without at most one. */
static int64_t work(void *context, struct sim *sim, size_t at, const struct nof1_event *event)
{
    struct notes *notes = context;
    (void)sim;
    if (!is_asked(at, event)) {
        return 0;
    }
    return (int64_t)(test_random_next(&notes->random) % (notes->empty ? 2 : 4));
}

static void run_consortium(struct notes *notes, uint64_t seed, uint32_t delay)
{
    uint8_t h_q[32];
    struct sim *sim = sim_new(&(struct sim_options){.seed = seed, .sites = 3, .patients = 4,
                                                    .delay = 2, .jitter = 3, .quiet = true,
                                                    .answer_delay = delay});
    const struct sim_faults faults = {.context = notes, .frame = note_frame, .work = work};
    if (notes->empty) {
        sim_epoch(sim, WATCHED)->trials = 0;
        sim_epoch(sim, WATCHED)->patients = 0;
    }
    notes->shape = (struct shape){0};
    sim_set_faults(sim, &faults);
    sim_start(sim);
    cr_assert(sim_submit(sim, sim_plan(sim, NULL), h_q) == NOF1_OK);
    cr_assert(sim_until_final(sim, h_q));
    cr_assert_str_eq(sim_state(sim, h_q), "released");
    cr_expect_str_eq(sim_violation(sim), "");
    sim_free(sim);
}

static void gather(struct notes *notes, bool empty, uint32_t delay, size_t rounds)
{
    *notes = (struct notes){.empty = empty, .random = {empty ? 11 : 12}};
    clock_t start = clock();
    for (uint64_t seed = 1; notes->times < rounds && seed <= CONSORTIA_MAX; seed++) {
        run_consortium(notes, seed, delay);
    }
    notes->wall = (double)(clock() - start) / CLOCKS_PER_SEC;
    cr_assert(notes->times >= rounds, "%zu rounds", notes->times);
    notes->times = rounds;
}

/* ---- Kolmogorov and Smirnov ------------------------------------------------------------------ */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double kolmogorov_smirnov(const double *a, const double *b, size_t n)
{
    size_t i = 0, j = 0;
    double largest = 0, p = 0;
    while (i < n && j < n) {
        a[i] <= b[j] ? i++ : j++;
        double gap = fabs((double)i - (double)j) / (double)n;
        largest = gap > largest ? gap : largest;
    }
    double root = sqrt((double)n / 2), lambda = (root + 0.12 + 0.11 / root) * largest;
    for (int k = 1; k <= 100; k++) {
        p += (k % 2 == 1 ? 2 : -2) * exp(-2.0 * k * k * lambda * lambda);
    }
    return lambda < 0.2 ? 1 : fmin(1, fmax(0, p));
}

static double compare(const char *what, struct notes *with, struct notes *without)
{
    size_t n = with->times;
    qsort(with->time, n, sizeof *with->time, ascending);
    qsort(without->time, n, sizeof *without->time, ascending);
    double p = kolmogorov_smirnov(with->time, without->time, n);
    printf(
        "%s: median %.2f ms with trials, %.2f without; p = %.4g (%.2f and %.2f s of processor)\n",
        what, with->time[n / 2], without->time[n / 2], p, with->wall, without->wall);
    return p;
}

Test(participation, frames_sizes_and_times)
{
    struct notes *with = malloc(sizeof *with), *without = malloc(sizeof *without);
    cr_assert(with != NULL && without != NULL);
    gather(with, false, 4, ROUNDS);
    gather(without, true, 4, ROUNDS);
    cr_expect(with->shape.frames >= 8, "%zu frames", with->shape.frames);
    cr_expect(memcmp(&with->shape, &without->shape, sizeof with->shape) == 0,
              "other frames or sizes");
    cr_expect(compare("answers after a fixed time", with, without) > LEAST_P);
    gather(with, false, 0, CONTROL_ROUNDS);
    gather(without, true, 0, CONTROL_ROUNDS);
    cr_expect(compare("answers at once", with, without) < LEAST_P, "the comparison sees nothing");
    free(with);
    free(without);
}

/* Work beyond the delay doubles it and stays doubled: what shows is a step, not the work. */
static int64_t long_work(void *context, struct sim *sim, size_t at, const struct nof1_event *event)
{
    struct notes *notes = context;
    (void)sim;
    return is_asked(at, event) ? 9 + (int64_t)(test_random_next(&notes->random) % 7) : 0;
}

Test(participation, longer_work_shows_a_doubling_only)
{
    struct notes *notes = calloc(1, sizeof *notes);
    uint8_t h_q[32];
    struct sim *sim = sim_new(
        &(struct sim_options){.sites = 3, .delay = 1, .quiet = true, .answer_delay = 4});
    const struct sim_faults faults = {.context = notes, .frame = note_frame, .work = long_work};
    cr_assert_not_null(notes);
    sim_set_faults(sim, &faults);
    sim_start(sim);
    cr_assert(sim_submit(sim, sim_plan(sim, NULL), h_q) == NOF1_OK);
    cr_assert(sim_until_final(sim, h_q));
    cr_expect(notes->times >= 4);
    for (size_t i = 0; i < notes->times; i++) {
        double there = floor(notes->time[i]); /* one millisecond of it on the stream */
        cr_expect(there == 17, "%g ms", there);
    }
    sim_free(sim);
    free(notes);
}
