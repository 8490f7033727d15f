/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The consortium in one process: the real site sessions and the real coordinator session, each with
 * its own in-memory store and driver, over first-in-first-out links. Time is the clock's, moved
 * forward when nobody has anything to do but wait. No second way of adding anything up.
 */
#include <tools/lab.h>

#include <stdlib.h>
#include <string.h>

#include <base/json.h>
#include <core/coordinator.h>
#include <core/site.h>
#include <sys/clock.h>
#include <sys/driver.h>
#include <sys/entropy.h>
#include <tools/submission.h>

#define LONGEST_WAIT (3600 * 1000) /* virtual milliseconds without an end */
#define ROUND_TIMEOUT 600000u      /* nothing is lost in memory, but hundreds of sites take time */

struct letter {
    struct letter *next;
    size_t from, to; /* node numbers; the coordinator is number `sites` */
    struct nof1_slice bytes;
    uint8_t data[];
};

struct node {
    struct local *local;
    size_t number;
    struct nof1_store *store;
    struct nof1_driver driver;
    struct nof1_site *session; /* NULL for the coordinator */
    uint8_t secret[32];
};

struct local {
    struct nof1_lab *lab;
    struct node *node; /* [sites + 1] */
    struct nof1_coordinator *coordinator;
    struct letter *first, *last;
    int64_t now, start;
    bool watching, finished;
    uint8_t query[NOF1_HASH_BYTES];
};

static nof1_rc_value send_letter(void *self, const char *peer, struct nof1_slice frame)
{
    struct node *node = self;
    struct local *local = node->local;
    size_t sites = local->lab->sites;
    size_t to = node->number == sites ? nof1_charter_site(local->lab->charter, peer) : sites;
    ENSURE(to != NOF1_NONE, NOF1_E_BUG);
    struct letter *letter = malloc(sizeof *letter + frame.length);
    ENSURE(letter != NULL, NOF1_E_NO_MEMORY);
    *letter = (struct letter){.from = node->number, .to = to};
    if (frame.length > 0) {
        memcpy(letter->data, frame.data, frame.length);
    }
    letter->bytes = nof1_slice_of(letter->data, frame.length);
    if (local->last == NULL) {
        local->first = letter;
    } else {
        local->last->next = letter;
    }
    local->last = letter;
    return NOF1_OK;
}

static void note_finish(void *self, struct nof1_slice query)
{
    struct local *local = ((struct node *)self)->local;
    if (local->watching && query.length == NOF1_HASH_BYTES &&
        memcmp(query.data, local->query, NOF1_HASH_BYTES) == 0) {
        local->finished = true;
    }
}

/* Give one event to one node and perform what it asks for. */
static nof1_rc step(struct local *local, size_t number, struct nof1_event event,
                    struct nof1_error *submit_error)
{
    struct node *node = &local->node[number];
    struct nof1_actions actions = {0};
    struct nof1_error ignored = {0};
    event.now = local->now;
    TRY(nof1_actions_init(&actions));
    nof1_rc_value rc = node->session != NULL
                           ? nof1_site_step(node->session, &event, &actions)
                           : nof1_coordinator_step(local->coordinator, &event, &actions,
                                                   submit_error == NULL ? &ignored : submit_error);
    if (rc == NOF1_OK) {
        rc = nof1_driver_perform(&node->driver, &actions, local->now);
    }
    nof1_actions_free(&actions);
    return rc;
}

static nof1_rc deliver_first(struct local *local)
{
    struct letter *letter = local->first;
    local->first = letter->next;
    local->last = letter->next == NULL ? NULL : local->last;
    size_t sites = local->lab->sites;
    const char *peer = letter->to == sites ? local->lab->site[letter->from].id : "";
    struct nof1_event event = {.kind = NOF1_EVENT_FRAME, .peer = peer, .bytes = letter->bytes};
    nof1_rc_value rc = step(local, letter->to, event, NULL);
    free(letter);
    return rc;
}

/* Nobody has a letter: go to the earliest time that somebody waits for. */
static nof1_rc wake_earliest(struct local *local)
{
    int64_t earliest = INT64_MAX;
    for (size_t n = 0; n <= local->lab->sites; ++n) {
        int64_t at;
        if (nof1_driver_next(&local->node[n].driver, &at) && at < earliest) {
            earliest = at;
        }
    }
    ENSURE(earliest != INT64_MAX && earliest - local->start < LONGEST_WAIT, NOF1_E_EXPIRED);
    local->now = earliest > local->now ? earliest : local->now;
    for (size_t n = 0; n <= local->lab->sites; ++n) {
        if (nof1_driver_due(&local->node[n].driver, local->now)) {
            TRY(step(local, n, (struct nof1_event){.kind = NOF1_EVENT_TIMER, .peer = ""}, NULL));
        }
    }
    return NOF1_OK;
}

static nof1_rc advance(struct local *local)
{
    return local->first != NULL ? deliver_first(local) : wake_earliest(local);
}

static nof1_rc start_site(struct local *local, size_t number, struct nof1_error *error)
{
    struct nof1_lab *lab = local->lab;
    struct node *node = &local->node[number];
    TRY(nof1_random_fill(node->secret, sizeof node->secret));
    const struct nof1_site_config config = {.id = lab->site[number].id,
                                            .charter = lab->charter,
                                            .charter_bytes = nof1_buffer_slice(&lab->charter_bytes),
                                            .policy = lab->policy,
                                            .key = lab->site[number].key,
                                            .epoch = &lab->site[number].epoch,
                                            .secret =
                                                nof1_slice_of(node->secret, sizeof node->secret),
                                            .lab = true,
                                            .entropy = nof1_random_entropy(),
                                            .store = nof1_store_reader(node->store)};
    struct nof1_site_config *kept = nof1_arena_alloc(lab->arena, 1, sizeof *kept);
    ENSURE(kept != NULL, NOF1_E_NO_MEMORY);
    *kept = config;
    return nof1_site_new(&node->session, kept, error);
}

static nof1_rc start(struct local *local, struct nof1_error *error)
{
    struct nof1_lab *lab = local->lab;
    struct nof1_clock clock = {0};
    local->start = local->now = nof1_clock_now(&clock);
    local->node = calloc(lab->sites + 1, sizeof *local->node);
    ENSURE(local->node != NULL, NOF1_E_NO_MEMORY);
    for (size_t n = 0; n <= lab->sites; ++n) {
        struct node *node = &local->node[n];
        node->local = local;
        node->number = n;
        TRY(nof1_store_open(&node->store, ":memory:", error));
        node->driver = (struct nof1_driver){
            .store = node->store, .send = send_letter, .finish = note_finish, .self = node};
        if (n < lab->sites) {
            TRY(start_site(local, n, error));
        }
    }
    struct nof1_coordinator_config *config = nof1_arena_alloc(lab->arena, 1, sizeof *config);
    ENSURE(config != NULL, NOF1_E_NO_MEMORY);
    *config =
        (struct nof1_coordinator_config){.charter = lab->charter,
                                         .charter_bytes = nof1_buffer_slice(&lab->charter_bytes),
                                         .entropy = nof1_random_entropy(),
                                         .store = nof1_store_reader(local->node[lab->sites].store),
                                         .round_timeout = ROUND_TIMEOUT};
    return nof1_coordinator_new(&local->coordinator, config, local->now, error);
}

/* All streams up; then the census of epoch 1 runs by itself. */
static nof1_rc take_census(struct local *local, struct nof1_error *error)
{
    struct nof1_lab *lab = local->lab;
    for (size_t s = 0; s < lab->sites; ++s) {
        struct nof1_event up = {.kind = NOF1_EVENT_LINK_UP, .peer = lab->site[s].id};
        TRY(step(local, lab->sites, up, NULL));
        up.peer = "";
        TRY(step(local, s, up, NULL));
    }
    while (nof1_coordinator_census(local->coordinator).length == 0) {
        nof1_rc_value rc = advance(local);
        if (rc == NOF1_E_EXPIRED) {
            return nof1_fail(error, rc, "the census of the first epoch came to no end");
        }
        TRY(rc);
    }
    struct nof1_slice census = nof1_coordinator_census(local->coordinator);
    return nof1_buffer_append(&lab->census, census.data, census.length);
}

static nof1_rc submit(struct local *local, const struct nof1_node *plan, struct nof1_error *error)
{
    struct nof1_lab *lab = local->lab;
    struct nof1_submission submission = {0};
    struct nof1_error refused = {0};
    NOF1_CLEANUP(nof1_json_freep) json_t *atoms = nof1_coordinator_atoms(local->coordinator);
    nof1_rc_value rc =
        nof1_submission_make(&submission, lab->charter, nof1_coordinator_census(local->coordinator),
                             atoms, plan, lab->statistician, local->now / 1000, error);
    if (rc == NOF1_OK) {
        memcpy(local->query, submission.hash, NOF1_HASH_BYTES);
        local->watching = true;
        struct nof1_event event = {
            .kind = NOF1_EVENT_SUBMIT,
            .peer = NOF1_LAB_STATISTICIAN,
            .bytes = nof1_buffer_slice(&submission.plan),
            .signature = nof1_slice_of(submission.signature, submission.signature_length)};
        rc = step(local, lab->sites, event, &refused);
    }
    nof1_submission_free(&submission);
    TRY(rc);
    if (refused.rc != NOF1_OK && error != NULL) {
        *error = refused;
    }
    return refused.rc;
}

/* In the lab everybody may know why: each site's own reason, which production keeps at the site. */
static void say_reasons(const struct local *local)
{
    for (size_t s = 0; s < local->lab->sites; ++s) {
        NOF1_CLEANUP(nof1_json_freep) json_t *status = nof1_site_status(local->node[s].session);
        const json_t *queries = json_object_get(status, "queries");
        for (size_t q = 0; q < json_array_size(queries); ++q) {
            const json_t *query = json_array_get(queries, q);
            const char *code = json_string_value(json_object_get(query, "code"));
            if (code != NULL && strcmp(code, nof1_rc_code(NOF1_OK)) != 0) {
                nof1_lab_say(local->lab, "%s: %s %s", local->lab->site[s].id, code,
                             nof1_rc_sentence(nof1_rc_from_code(code)));
            }
        }
    }
}

static void stop(struct local *local)
{
    while (local->first != NULL) {
        struct letter *letter = local->first;
        local->first = letter->next;
        free(letter);
    }
    nof1_coordinator_free(local->coordinator);
    for (size_t n = 0; local->node != NULL && n <= local->lab->sites; ++n) {
        nof1_site_free(local->node[n].session);
        nof1_driver_fini(&local->node[n].driver);
        nof1_store_close(local->node[n].store);
    }
    free(local->node);
}

static nof1_rc run_plan(json_t *results, struct local *local, const struct nof1_node *plan,
                        struct nof1_error *error)
{
    local->finished = false;
    TRY(submit(local, plan, error));
    nof1_lab_say(local->lab, "plan submitted; rounds run over in-memory links");
    while (!local->finished) {
        nof1_rc_value rc = advance(local);
        if (rc == NOF1_E_EXPIRED) {
            return nof1_fail(error, rc, "the sessions came to a halt before the query's end");
        }
        TRY(rc);
    }
    json_t *result = nof1_coordinator_result(local->coordinator, local->query);
    ENSURE(result != NULL, NOF1_E_BUG);
    if (json_object_get(result, "refusal") != NULL) {
        say_reasons(local);
    }
    ENSURE(json_array_append_new(results, result) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc run(json_t **result, struct local *local, struct nof1_error *error)
{
    TRY(start(local, error));
    TRY(take_census(local, error));
    nof1_lab_say(local->lab, "census of epoch 1 taken");
    *result = json_array();
    ENSURE(*result != NULL, NOF1_E_NO_MEMORY);
    for (size_t p = 0; p < local->lab->plans; ++p) {
        TRY(run_plan(*result, local, local->lab->plan[p], error));
    }
    return NOF1_OK;
}

nof1_rc_value nof1_lab_local(json_t **result, struct nof1_lab *lab, struct nof1_error *error)
{
    struct local local = {.lab = lab};
    nof1_rc_value rc = run(result, &local, error);
    stop(&local);
    return rc;
}
