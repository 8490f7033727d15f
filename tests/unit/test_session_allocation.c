/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whole queries in which the k-th allocation of the sessions fails (after SQLite's
 * malloc_common.tcl). The linker hands every malloc, calloc and realloc of our own libraries to
 * this suite (--wrap); they fail only inside a session's step or start. A step reports the failure
 * as out of memory, whereupon the simulated process dies and restarts, or takes the message as
 * lost; either way the query must end with the same result. jansson's allocations do not fail here:
 * in our programs that ends the process (nof1_json_memory), which the last test shows.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sim.h>
#include <sys/memory.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_RUNS 120 /* of each sweep; NOF1_ALLOCATION_ALL=1: every allocation */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
nof1_rc_value __real_nof1_site_step(struct nof1_site *site, const struct nof1_event *event,
                                    struct nof1_actions *actions);
nof1_rc_value __real_nof1_coordinator_step(struct nof1_coordinator *coordinator,
                                           const struct nof1_event *event,
                                           struct nof1_actions *actions, struct nof1_error *error);
nof1_rc_value __real_nof1_site_new(struct nof1_site **out, const struct nof1_site_config *config,
                                   struct nof1_error *error);
nof1_rc_value __real_nof1_coordinator_new(struct nof1_coordinator **out,
                                          const struct nof1_coordinator_config *config, int64_t now,
                                          struct nof1_error *error);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
nof1_rc_value __wrap_nof1_site_step(struct nof1_site *site, const struct nof1_event *event,
                                    struct nof1_actions *actions);
nof1_rc_value __wrap_nof1_coordinator_step(struct nof1_coordinator *coordinator,
                                           const struct nof1_event *event,
                                           struct nof1_actions *actions, struct nof1_error *error);
nof1_rc_value __wrap_nof1_site_new(struct nof1_site **out, const struct nof1_site_config *config,
                                   struct nof1_error *error);
nof1_rc_value __wrap_nof1_coordinator_new(struct nof1_coordinator **out,
                                          const struct nof1_coordinator_config *config, int64_t now,
                                          struct nof1_error *error);

enum who { NOBODY, SITES, COORDINATOR };

static struct {
    bool armed;     /* inside a session */
    enum who who;   /* whose allocations fail */
    long countdown; /* allocations until the failing one; negative: none fails */
    long seen;      /* allocations of `who` so far */
    bool fired;
    bool starts; /* fail every allocation of a start in turn */
    long start_failures;
    long unnoticed; /* failures after which the step went on: the message counts as lost */
    char complaint[200];
} memory = {.countdown = -1};

static bool fails_now(void)
{
    if (!memory.armed) {
        return false;
    }
    memory.seen++;
    if (memory.countdown < 0 || memory.countdown-- != 0) {
        return false;
    }
    memory.fired = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : __real_realloc(old, size);
}

static void complain(const char *what, nof1_rc_value rc)
{
    if (memory.complaint[0] == '\0') {
        snprintf(memory.complaint, sizeof memory.complaint, "%s answers %s", what,
                 nof1_rc_code(rc));
    }
}

/* What an allocation that failed inside must have led to. */
static nof1_rc_value judge(const char *what, bool fired_before, nof1_rc_value rc)
{
    memory.armed = false;
    if (memory.fired && !fired_before && rc == NOF1_OK) {
        memory.unnoticed++;
    } else if (memory.fired && !fired_before && rc != NOF1_E_NO_MEMORY) {
        complain(what, rc);
    }
    return rc;
}

nof1_rc_value __wrap_nof1_site_step(struct nof1_site *site, const struct nof1_event *event,
                                    struct nof1_actions *actions)
{
    bool fired = memory.fired;
    memory.armed = memory.who == SITES;
    return judge("a site's step", fired, __real_nof1_site_step(site, event, actions));
}

nof1_rc_value __wrap_nof1_coordinator_step(struct nof1_coordinator *coordinator,
                                           const struct nof1_event *event,
                                           struct nof1_actions *actions, struct nof1_error *error)
{
    bool fired = memory.fired;
    memory.armed = memory.who == COORDINATOR;
    return judge("the coordinator's step", fired,
                 __real_nof1_coordinator_step(coordinator, event, actions, error));
}

/* Fail allocation k = 0, 1, ... of a start until it succeeds. */
static bool next_start(long k, nof1_rc_value rc, const char *what)
{
    memory.armed = false;
    bool failed = memory.countdown < 0;
    memory.countdown = -1;
    if (failed && rc != NOF1_E_NO_MEMORY) {
        complain(what, rc);
    }
    memory.start_failures += failed ? 1 : 0;
    return failed && rc != NOF1_OK && k < 100000;
}

nof1_rc_value __wrap_nof1_site_new(struct nof1_site **out, const struct nof1_site_config *config,
                                   struct nof1_error *error)
{
    nof1_rc_value rc = NOF1_OK;
    long k = 0;
    if (!memory.starts) {
        return __real_nof1_site_new(out, config, error);
    }
    do {
        *out = NULL;
        memory.countdown = k;
        memory.armed = true;
        rc = __real_nof1_site_new(out, config, error);
    } while (next_start(k++, rc, "a site's start"));
    return rc;
}

nof1_rc_value __wrap_nof1_coordinator_new(struct nof1_coordinator **out,
                                          const struct nof1_coordinator_config *config, int64_t now,
                                          struct nof1_error *error)
{
    nof1_rc_value rc = NOF1_OK;
    long k = 0;
    if (!memory.starts) {
        return __real_nof1_coordinator_new(out, config, now, error);
    }
    do {
        *out = NULL;
        memory.countdown = k;
        memory.armed = true;
        rc = __real_nof1_coordinator_new(out, config, now, error);
    } while (next_start(k++, rc, "the coordinator's start"));
    return rc;
}

/* ---- one run -------------------------------------------------------------------------------- */

/* The estimates of the default plan; NULL when it was not released. */
static json_t *run_once(enum who who, long k)
{
    uint8_t h_q[32];
    memory.who = NOBODY;
    memory.fired = false;
    memory.countdown = -1;
    memory.seen = 0;
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 3, .seed = 5});
    sim_start(sim);
    struct nof1_slice plan = sim_plan(sim, NULL);
    memory.who = who;
    memory.countdown = k;
    for (int i = 0; i < 3; i++) { /* the statistician tries again when the coordinator died */
        (void)sim_submit(sim, plan, h_q);
        if (sim_until_final(sim, h_q)) {
            break;
        }
        sim_run(sim, sim_now(sim) + 2000);
    }
    memory.who = NOBODY;
    json_t *result = strcmp(sim_state(sim, h_q), "released") == 0 ? sim_result(sim, h_q) : NULL;
    json_t *estimates = json_incref(json_object_get(result, "estimates"));
    json_decref(result);
    const char *violation = sim_violation(sim);
    if (violation[0] != '\0' && strstr(violation, "stopped with E1004") == NULL) {
        cr_expect_fail("allocation %ld: %s", k, violation);
    }
    sim_free(sim);
    return estimates;
}

static void sweep(enum who who, const char *name)
{
    json_t *expected = run_once(who, -1);
    long total = memory.seen;
    bool all = getenv("NOF1_ALLOCATION_ALL") != NULL;
    long stride = all ? 1 : total / MOST_RUNS + 1;
    cr_assert_not_null(expected);
    memory.unnoticed = 0;
    long runs = 0;
    cr_assert_gt(total, 50, "%s: %ld", name, total);
    for (long k = 0; k < total; k += stride) {
        memory.complaint[0] = '\0';
        runs++;
        json_t *estimates = run_once(who, k);
        /* from run to run there is one more or less: the last may not be reached */
        cr_expect(memory.fired || k == total - 1,
                  "%s: allocation %ld of %ld was not reached: %ld", name, k, total,
                  memory.seen);
        cr_expect_str_eq(memory.complaint, "", "%s: allocation %ld of %ld: %s", name, k, total,
                         memory.complaint);
        cr_expect(estimates != NULL && json_equal(estimates, expected),
                  "%s: allocation %ld of %ld: another result", name, k, total);
        json_decref(estimates);
    }
    cr_expect_lt(8 * memory.unnoticed, runs + 20, "%s: %ld of %ld failures unnoticed", name,
                 memory.unnoticed, runs);
    json_decref(expected);
}

Test(session_allocation, a_site_reports_every_failure_and_the_query_completes)
{
    sweep(SITES, "sites");
}

Test(session_allocation, the_coordinator_reports_every_failure_and_the_query_completes)
{
    sweep(COORDINATOR, "coordinator");
}

/* Restored from a store that holds a released query: twice, before and after. */
Test(session_allocation, a_start_that_fails_leaves_nothing_behind)
{
    uint8_t h_q[32];
    memory.starts = true;
    struct sim *sim = sim_new(&(struct sim_options){.sites = 3, .patients = 3, .seed = 5});
    sim_start(sim);
    struct nof1_slice plan = sim_plan(sim, NULL);
    cr_assert_eq(sim_submit(sim, plan, h_q), NOF1_OK);
    cr_assert(sim_until_final(sim, h_q));
    long fresh = memory.start_failures;
    sim_crash(sim, 0, 100);
    sim_crash(sim, 3, 100);
    sim_run(sim, sim_now(sim) + 2000);
    cr_expect_str_eq(sim_state(sim, h_q), "released");
    cr_expect_gt(fresh, 10, "%ld", fresh);
    cr_expect_gt(memory.start_failures - fresh, 20, "%ld", memory.start_failures - fresh);
    cr_expect_str_eq(memory.complaint, "");
    memory.starts = false;
    sim_free(sim);
}

/* In a process of its own: a program that finds no memory for JSON says so and ends. */
Test(session_allocation, json_without_memory_ends_the_process)
{
    pid_t pid = fork();
    if (pid == 0) {
        int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)dup2(quiet, STDERR_FILENO);
        nof1_json_memory();
        memory.armed = true;
        memory.countdown = 5;
        json_t *list = json_array();
        for (int i = 0; i < 10; i++) {
            (void)json_array_append_new(list, json_string("a value"));
        }
        _exit(3);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 75, "status %x", (unsigned)status);
}
