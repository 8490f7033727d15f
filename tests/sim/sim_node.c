/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The driver of one simulated process: what a vault's or the coordinator's main loop does with an
 * action list. Write-ahead rule: entries and values before a send are committed in one transaction
 * before it. A process that crashes loses what was not committed, and its memory.
 */
#include "sim_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static nof1_rc_value fill_random(void *self, uint8_t *out, size_t length)
{
    struct sim *sim = self;
    for (size_t i = 0; i < length; i++) {
        out[i] = (uint8_t)(test_random_next(&sim->random) >> 32);
    }
    return NOF1_OK;
}

static void boot_site(struct sim *sim, struct sim_node *node)
{
    struct nof1_error error = {0};
    const struct nof1_site_config config = {
        .id = sim->charter->site[node->index].id,
        .charter = sim->charter,
        .charter_bytes = sim->charter_bytes,
        .policy = sim->charter->limits,
        .key = sim->key[node->index],
        .epoch = &sim->epoch[node->index],
        .secret = nof1_slice_of(sim->secret[node->index], 32),
        .manual_approval = sim->options.manual_approval,
        .lab = sim->charter->lab,
        .delay = sim->options.answer_delay,
        .entropy = {fill_random, sim},
        .store = {sim_store_each, &node->store},
    };
    nof1_rc_value rc = nof1_site_new(&node->site, &config, &error);
    if (rc != NOF1_OK) {
        fprintf(stderr, "sim: %s: %s %s\n", config.id, nof1_rc_code(rc), error.message);
    }
    SIM_MUST(rc == NOF1_OK);
}

static void boot_coordinator(struct sim *sim, struct sim_node *node)
{
    struct nof1_error error = {0};
    const struct nof1_coordinator_config config = {
        .charter = sim->charter,
        .charter_bytes = sim->charter_bytes,
        .entropy = {fill_random, sim},
        .store = {sim_store_each, &node->store},
        .round_timeout = sim->options.round_timeout,
    };
    nof1_rc_value rc =
        nof1_coordinator_new(&node->coordinator, &config, SIM_START + sim->now, &error);
    if (rc != NOF1_OK) {
        fprintf(stderr, "sim: coordinator: %s %s\n", nof1_rc_code(rc), error.message);
    }
    SIM_MUST(rc == NOF1_OK);
}

void sim_boot(struct sim *sim, size_t index)
{
    struct sim_node *node = &sim->node[index];
    node->running = true;
    node->life += 1;
    if (index < sim->options.sites) {
        boot_site(sim, node);
    } else {
        boot_coordinator(sim, node);
        /* a driver rings once after a restart: deadlines may have passed */
        sim_push(sim, (struct sim_event_entry){.at = sim->now, .kind = SIM_EVENT_TIMER,
                                               .to = index, .generation = node->life});
    }
}

void sim_halt(struct sim *sim, size_t index)
{
    struct sim_node *node = &sim->node[index];
    node->running = false;
    sim_store_clear(&node->pending);
    nof1_site_free(node->site);
    nof1_coordinator_free(node->coordinator);
    node->site = NULL;
    node->coordinator = NULL;
}

static bool commit(struct sim *sim, struct sim_node *node)
{
    if (node->pending.pairs + node->pending.entries == 0) {
        return true;
    }
    if (sim->faults.store != NULL && sim->faults.store(sim->faults.context, sim, node->index)) {
        return false;
    }
    sim_store_commit(&node->store, &node->pending);
    return true;
}

static size_t peer_index(const struct sim *sim, const char *id)
{
    size_t s = 0;
    while (s < sim->options.sites && strcmp(sim->charter->site[s].id, id) != 0) {
        s++;
    }
    return s;
}

static void finished(struct sim *sim, struct sim_node *node, const struct nof1_action *action)
{
    json_t *status = nof1_coordinator_status(node->coordinator, action->bytes.data);
    sim_note(sim, "%s = %s", sim_name(sim, node->index),
             status == NULL ? "?" : json_string_value(json_object_get(status, "state")));
    json_decref(status);
}

/* False: the process died. */
static bool perform(struct sim *sim, struct sim_node *node, const struct nof1_action *action)
{
    bool site = node->index < sim->options.sites;
    if (sim->faults.crash != NULL &&
        sim->faults.crash(sim->faults.context, sim, node->index, action)) {
        return false;
    }
    switch (action->kind) {
    case NOF1_ACTION_APPEND:
        sim_store_append(&node->pending, action->key, action->bytes);
        return true;
    case NOF1_ACTION_PUT:
        sim_store_put(&node->pending, action->key, action->bytes);
        return true;
    case NOF1_ACTION_SEND:
        if (!commit(sim, node)) {
            return false;
        }
        sim_send(sim, node->index, site ? sim->options.sites : peer_index(sim, action->peer),
                 action->bytes);
        return true;
    case NOF1_ACTION_TIMER:
        sim_push(sim, (struct sim_event_entry){.at = action->at - SIM_START,
                                               .kind = SIM_EVENT_TIMER, .to = node->index,
                                               .generation = node->life});
        return true;
    case NOF1_ACTION_FINISH:
        if (!commit(sim, node)) {
            return false;
        }
        finished(sim, node, action);
        return true;
    default:
        sim_violate(sim, "unknown action");
        return false;
    }
}

static nof1_rc_value step_node(struct sim *sim, struct sim_node *node,
                               const struct nof1_event *event, struct nof1_actions *actions)
{
    if (node->site != NULL) {
        return nof1_site_step(node->site, event, actions);
    }
    return nof1_coordinator_step(node->coordinator, event, actions, &sim->submit_error);
}

void sim_step(struct sim *sim, size_t index, struct nof1_event *event)
{
    struct sim_node *node = &sim->node[index];
    if (!node->running) {
        return;
    }
    struct nof1_actions actions;
    uint32_t life = node->life;
    event->now = SIM_START + sim->now;
    SIM_MUST(nof1_actions_init(&actions) == NOF1_OK);
    nof1_rc_value rc = step_node(sim, node, event, &actions);
    if (rc != NOF1_OK) {
        sim_violate(sim, "%s stopped with %s", sim_name(sim, index), nof1_rc_code(rc));
    }
    if (sim->faults.work != NULL) { /* one processor: everything else waits */
        sim->now += sim->faults.work(sim->faults.context, sim, index, event);
    }
    bool alive = rc == NOF1_OK;
    for (size_t i = 0; alive && i < actions.count; i++) {
        /* a send may break the stream: the process itself goes on */
        alive = perform(sim, node, &actions.action[i]) && node->running && node->life == life;
    }
    alive = alive && commit(sim, node);
    nof1_actions_free(&actions);
    if (!alive && node->running && node->life == life) {
        sim_crash(sim, index, sim->options.reboot);
    }
}
