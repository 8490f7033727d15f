/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Virtual time, streams and faults of the simulator (sim.h). Nothing here is random but what comes
 * from the seed; events at the same time happen in the order in which they were made.
 */
#include "sim_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/census.h>
#include <core/plan.h>
#include <crypto/transcript.h>

void sim_must(bool condition, const char *text, const char *file, int line)
{
    if (!condition) {
        fprintf(stderr, "%s:%d: the simulator needs: %s\n", file, line, text);
        abort();
    }
}

void sim_note(struct sim *sim, const char *format, ...)
{
    char line[512];
    va_list arguments;
    if (sim->options.quiet) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    SIM_MUST(nof1_buffer_printf(&sim->trace, "[%6lld] %s\n", (long long)sim->now, line) ==
             NOF1_OK);
}

/* ---- the queue of events --------------------------------------------------------------------- */

static bool before(const struct sim_event_entry *a, const struct sim_event_entry *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_push(struct sim *sim, struct sim_event_entry entry)
{
    if (sim->events == sim->event_capacity) {
        sim->event_capacity = sim->event_capacity == 0 ? 64 : sim->event_capacity * 2;
        sim->event = realloc(sim->event, sim->event_capacity * sizeof *sim->event);
        SIM_MUST(sim->event != NULL);
    }
    entry.order = sim->order++;
    entry.at = entry.at < sim->now ? sim->now : entry.at;
    size_t i = sim->events++;
    while (i > 0 && before(&entry, &sim->event[(i - 1) / 2])) {
        sim->event[i] = sim->event[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->event[i] = entry;
}

static struct sim_event_entry pop(struct sim *sim)
{
    struct sim_event_entry top = sim->event[0];
    struct sim_event_entry last = sim->event[--sim->events];
    size_t i = 0;
    for (size_t child = 1; child < sim->events; child = 2 * i + 1) {
        if (child + 1 < sim->events && before(&sim->event[child + 1], &sim->event[child])) {
            child++;
        }
        if (!before(&sim->event[child], &last)) {
            break;
        }
        sim->event[i] = sim->event[child];
        i = child;
    }
    sim->event[i] = last;
    return top;
}

/* ---- streams --------------------------------------------------------------------------------- */

static struct sim_link *link_of(struct sim *sim, size_t from, size_t to)
{
    return &sim->link[from < sim->options.sites ? from : to];
}

static size_t site_of(const struct sim *sim, size_t from, size_t to)
{
    return from < sim->options.sites ? from : to;
}

static void deliver_at(struct sim *sim, size_t from, size_t to, struct nof1_slice bytes, int64_t at)
{
    uint8_t *copy = malloc(bytes.length + 1);
    SIM_MUST(copy != NULL);
    memcpy(copy, bytes.data, bytes.length);
    sim_push(sim, (struct sim_event_entry){.at = at, .kind = SIM_EVENT_FRAME, .from = from,
                                           .to = to,
                                           .generation = link_of(sim, from, to)->generation,
                                           .bytes = copy, .length = bytes.length});
}

static int64_t travel(struct sim *sim)
{
    int64_t jitter = sim->options.jitter;
    return sim->options.delay +
           (jitter == 0 ? 0
                        : (int64_t)(test_random_next(&sim->random) % (uint64_t)(jitter + 1)));
}

static enum sim_fate fate_of(struct sim *sim, size_t from, size_t to, const Nof1__V1__Frame *frame)
{
    return sim->faults.frame == NULL
               ? SIM_DELIVER
               : sim->faults.frame(sim->faults.context, sim, from, to, frame);
}

void sim_send(struct sim *sim, size_t from, size_t to, struct nof1_slice bytes)
{
    struct sim_link *link = link_of(sim, from, to);
    const Nof1__V1__Frame *frame = NULL;
    char text[128];
    struct nof1_arena *arena = nof1_arena_new();
    SIM_MUST(arena != NULL && to <= sim->options.sites);
    bool look = !sim->options.quiet || from < sim->options.sites || sim->faults.frame != NULL;
    if (look && nof1_frame_read(&frame, arena, bytes, NULL) == NOF1_OK) {
        sim_watch(sim, from, frame);
        sim_describe(text, sizeof text, frame);
        sim_note(sim, "%s > %s %s%s", sim_name(sim, from), sim_name(sim, to), text,
                 link->up ? "" : " (no stream)");
    }
    if (sim->faults.rewrite != NULL) {
        bytes = sim->faults.rewrite(sim->faults.context, sim, from, to, bytes, arena);
    }
    sim->frames += 1;
    enum sim_fate fate = link->up && frame != NULL ? fate_of(sim, from, to, frame) : SIM_DELIVER;
    size_t direction = from < sim->options.sites ? 0 : 1;
    int64_t at = sim->now + travel(sim);
    if (link->up && fate == SIM_BREAK) {
        sim_break(sim, site_of(sim, from, to), sim->options.reconnect);
    } else if (link->up) {
        if (fate != SIM_OVERTAKE) {
            at = at < link->last[direction] ? link->last[direction] : at;
            link->last[direction] = at;
        } else {
            at += 3 * sim->options.delay + 1; /* later frames overtake it */
        }
        deliver_at(sim, from, to, bytes, at);
        if (fate == SIM_TWICE) {
            deliver_at(sim, from, to, bytes, at + 1);
        }
    }
    nof1_arena_free(arena);
}

static void link_event(struct sim *sim, size_t site, enum nof1_event_kind kind)
{
    struct nof1_event to_site = {.kind = kind, .peer = ""};
    struct nof1_event to_coordinator = {.kind = kind, .peer = sim->charter->site[site].id};
    sim_step(sim, sim->options.sites, &to_coordinator);
    sim_step(sim, site, &to_site);
}

static void bring_up(struct sim *sim, size_t site)
{
    struct sim_link *link = &sim->link[site];
    if (link->up || link->held || !sim->node[site].running ||
        !sim->node[sim->options.sites].running) {
        return;
    }
    link->up = true;
    link->last[0] = link->last[1] = sim->now;
    sim_note(sim, "%s up", sim_name(sim, site));
    link_event(sim, site, NOF1_EVENT_LINK_UP);
}

static void come_back(struct sim *sim, size_t site, int64_t down)
{
    sim_push(sim, (struct sim_event_entry){.at = sim->now + down, .kind = SIM_EVENT_UP,
                                           .to = site});
}

/* The stream breaks; both ends hear of it only after the present step. */
static void break_stream(struct sim *sim, size_t site)
{
    struct sim_link *link = &sim->link[site];
    if (!link->up) {
        return;
    }
    link->up = false;
    link->generation += 1;
    sim_note(sim, "%s down", sim_name(sim, site));
    for (size_t end = 0; end < 2; end++) {
        sim_push(sim, (struct sim_event_entry){.at = sim->now, .kind = SIM_EVENT_FRAME,
                                               .from = site,
                                               .to = end == 0 ? site : sim->options.sites,
                                               .generation = link->generation});
    }
}

void sim_break(struct sim *sim, size_t site, int64_t down)
{
    break_stream(sim, site);
    sim->link[site].held = down < 0;
    if (down >= 0) {
        come_back(sim, site, down);
    }
}

void sim_up(struct sim *sim, size_t site)
{
    sim->link[site].held = false;
    come_back(sim, site, 0);
}

void sim_crash(struct sim *sim, size_t node, int64_t down)
{
    if (!sim->node[node].running) {
        return;
    }
    sim_note(sim, "%s crashes", sim_name(sim, node));
    sim_halt(sim, node);
    for (size_t s = 0; s < sim->options.sites; s++) {
        if (node == s || node == sim->options.sites) {
            break_stream(sim, s);
        }
    }
    if (down >= 0) {
        sim_push(sim, (struct sim_event_entry){.at = sim->now + down, .kind = SIM_EVENT_REBOOT,
                                               .to = node});
    }
}

void sim_swap(struct sim *sim, size_t site)
{
    struct nof1_event up = {.kind = NOF1_EVENT_LINK_UP, .peer = ""};
    sim_note(sim, "%s is swapped", sim_name(sim, site));
    sim_halt(sim, site);
    sim_boot(sim, site);
    sim_step(sim, site, &up);
}

static void reboot(struct sim *sim, size_t node)
{
    if (sim->node[node].running) {
        return;
    }
    sim_note(sim, "%s restarts", sim_name(sim, node));
    sim_boot(sim, node);
    for (size_t s = 0; s < sim->options.sites; s++) {
        if (node == s || node == sim->options.sites) {
            come_back(sim, s, sim->options.reconnect);
        }
    }
}

/* ---- running --------------------------------------------------------------------------------- */

static void take_frame(struct sim *sim, const struct sim_event_entry *entry)
{
    struct sim_link *link = link_of(sim, entry->from, entry->to == entry->from ? entry->from
                                                                               : entry->to);
    bool to_coordinator = entry->to == sim->options.sites;
    if (entry->bytes == NULL) { /* the end of a stream is heard of */
        struct nof1_event down = {.kind = NOF1_EVENT_LINK_DOWN,
                                  .peer = to_coordinator ? sim->charter->site[entry->from].id : ""};
        if (!sim->link[entry->from].up) {
            sim_step(sim, entry->to, &down);
        }
        return;
    }
    if (!link->up || entry->generation != link->generation) {
        return;
    }
    struct nof1_event event = {.kind = NOF1_EVENT_FRAME,
                               .peer = to_coordinator ? sim->charter->site[entry->from].id : "",
                               .bytes = nof1_slice_of(entry->bytes, entry->length)};
    sim_step(sim, entry->to, &event);
}

static void take(struct sim *sim, const struct sim_event_entry *entry)
{
    struct nof1_event timer = {.kind = NOF1_EVENT_TIMER, .peer = ""};
    switch (entry->kind) {
    case SIM_EVENT_FRAME:
        take_frame(sim, entry);
        break;
    case SIM_EVENT_TIMER:
        if (entry->generation == sim->node[entry->to].life) {
            sim_step(sim, entry->to, &timer);
        }
        break;
    case SIM_EVENT_UP:
        bring_up(sim, entry->to);
        break;
    case SIM_EVENT_REBOOT:
        reboot(sim, entry->to);
        break;
    default:
        break;
    }
}

static void run_one(struct sim *sim)
{
    struct sim_event_entry entry = pop(sim);
    sim->now = entry.at > sim->now ? entry.at : sim->now;
    take(sim, &entry);
    free(entry.bytes);
}

void sim_run(struct sim *sim, int64_t until)
{
    while (sim->events > 0 && sim->event[0].at <= until) {
        run_one(sim);
    }
    sim->now = until > sim->now ? until : sim->now;
}

int64_t sim_now(const struct sim *sim)
{
    return sim->now;
}

void sim_event(struct sim *sim, size_t node, const struct nof1_event *event)
{
    struct nof1_event copy = *event;
    sim_step(sim, node, &copy);
}

void sim_links(struct sim *sim)
{
    for (size_t s = 0; s < sim->options.sites; s++) {
        sim_up(sim, s);
    }
    sim_run(sim, sim->now);
}

#define CENSUS_LIMIT (60 * 60 * 1000)

void sim_start(struct sim *sim)
{
    int64_t limit = sim->now + CENSUS_LIMIT;
    sim_links(sim);
    while (sim->events > 0 && sim->now < limit) {
        struct nof1_coordinator *coordinator = sim_coordinator(sim);
        if (coordinator != NULL && nof1_coordinator_census(coordinator).length > 0) {
            sim_run(sim, sim->now + 2 * (sim->options.delay + sim->options.jitter));
            return;
        }
        run_one(sim);
    }
    sim_note(sim, "no census");
}

/* A year of virtual time is more than any plan may wait. */
#define FINAL_LIMIT (INT64_C(400) * 86400 * 1000)

bool sim_until_final(struct sim *sim, const uint8_t h_q[32])
{
    int64_t limit = sim->now + FINAL_LIMIT;
    while (sim->now < limit) {
        const char *state = sim_state(sim, h_q);
        if (strcmp(state, "released") == 0 || strcmp(state, "refused") == 0 ||
            strcmp(state, "objected") == 0 || strcmp(state, "expired") == 0) {
            return true;
        }
        if (sim->events == 0) {
            return false;
        }
        run_one(sim);
    }
    return false;
}

const char *sim_state(struct sim *sim, const uint8_t h_q[32])
{
    static const char *const states[] = {"gathering", "opening", "rounds", "closing",
                                         "released", "refused", "objected", "expired"};
    const char *found = "";
    struct nof1_coordinator *coordinator = sim_coordinator(sim);
    json_t *status = coordinator == NULL ? NULL : nof1_coordinator_status(coordinator, h_q);
    const char *state = json_string_value(json_object_get(status, "state"));
    for (size_t i = 0; state != NULL && i < sizeof states / sizeof *states; i++) {
        found = strcmp(states[i], state) == 0 ? states[i] : found;
    }
    json_decref(status);
    return found;
}

json_t *sim_result(struct sim *sim, const uint8_t h_q[32])
{
    struct nof1_coordinator *coordinator = sim_coordinator(sim);
    return coordinator == NULL ? NULL : nof1_coordinator_result(coordinator, h_q);
}

nof1_rc_value sim_submit(struct sim *sim, struct nof1_slice plan, uint8_t h_q[32])
{
    uint8_t hash[32];
    uint8_t digest[32];
    uint8_t signature[NOF1_SIGNATURE_MAX];
    size_t length = 0;
    SIM_MUST(nof1_plan_hash(hash, plan) == NOF1_OK);
    SIM_MUST(nof1_submit_digest(digest, hash) == NOF1_OK);
    SIM_MUST(nof1_sign(signature, &length, sim_statistician_key(sim), digest) == NOF1_OK);
    struct nof1_event event = {.kind = NOF1_EVENT_SUBMIT,
                               .peer = sim->charter->statistician[0].id, .bytes = plan,
                               .signature = nof1_slice_of(signature, length)};
    if (h_q != NULL) {
        memcpy(h_q, hash, sizeof hash);
    }
    sim->submit_error = (struct nof1_error){0};
    sim_note(sim, "submit");
    sim_step(sim, sim->options.sites, &event);
    return sim->submit_error.rc;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void fill_defaults(struct sim_options *options)
{
    options->sites = options->sites == 0 ? 5 : options->sites;
    options->patients = options->patients == 0 ? 3 : options->patients;
    options->delay = options->delay == 0 ? 5 : options->delay;
    options->reconnect = options->reconnect == 0 ? 200 : options->reconnect;
    options->reboot = options->reboot == 0 ? 300 : options->reboot;
    options->round_timeout = options->round_timeout == 0 ? 5000 : options->round_timeout;
}

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *sim = calloc(1, sizeof *sim);
    SIM_MUST(sim != NULL);
    sim->options = *options;
    fill_defaults(&sim->options);
    sim->arena = nof1_arena_new();
    sim->random.state = sim->options.seed;
    sim->node = calloc(sim->options.sites + 1, sizeof *sim->node);
    sim->link = calloc(sim->options.sites, sizeof *sim->link);
    SIM_MUST(sim->arena != NULL && sim->node != NULL && sim->link != NULL);
    sim_make_study(sim);
    for (size_t n = 0; n <= sim->options.sites; n++) {
        sim->node[n].index = n;
        sim_boot(sim, n);
    }
    return sim;
}

void sim_free(struct sim *sim)
{
    if (sim == NULL) {
        return;
    }
    for (size_t n = 0; n <= sim->options.sites; n++) {
        sim_halt(sim, n);
        sim_store_clear(&sim->node[n].store);
    }
    for (size_t i = 0; i < sim->events; i++) {
        free(sim->event[i].bytes);
    }
    free(sim->event);
    free(sim->answer);
    free(sim->node);
    free(sim->link);
    nof1_buffer_free(&sim->trace);
    nof1_arena_free(sim->arena);
    free(sim);
}

void sim_set_faults(struct sim *sim, const struct sim_faults *faults)
{
    sim->faults = faults == NULL ? (struct sim_faults){0} : *faults;
}

void sim_freeze_changed(struct sim *sim, size_t site, uint32_t epoch, size_t changed, uint32_t from)
{
    struct nof1_epoch *before = nof1_arena_alloc(sim->arena, 1, sizeof *before);
    SIM_MUST(before != NULL);
    *before = sim->epoch[site];
    sim_change_trials(sim, site, changed);
    sim->epoch[site].id = epoch;
    sim->epoch[site].earlier = before->id >= from ? before : before->earlier;
    for (; before->earlier != NULL; before = (struct nof1_epoch *)(uintptr_t)before->earlier) {
        if (before->earlier->id < from) {
            before->earlier = NULL;
            break;
        }
    }
    sim_crash(sim, site, sim->options.reboot);
}

void sim_freeze(struct sim *sim, size_t site, uint32_t epoch)
{
    sim->epoch[site].id = epoch;
    sim_crash(sim, site, sim->options.reboot);
}
