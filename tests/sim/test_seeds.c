/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A thousand random schedules of faults over whole queries. Whatever breaks, duplicates, overtakes,
 * crashes or fails to be stored:
 *   - no site ever gives two different answers in one round of one attempt (sim_violation);
 *   - every query ends in a final state by its deadline;
 *   - a released result holds the bits of pooling, with every trial counted once;
 *   - a plan is charged at a site before its first answer leaves, and stays charged over restarts;
 *   - what is final stays final, over restarts too.
 * A failure prints its seed; NOF1_SIM_SEED=n replays that one with its trace, NOF1_SIM_SEEDS=n runs
 * n.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sim.h>

#define SEEDS 1000
#define TROUBLE (90 * 1000)                  /* faults happen in this time, then all is quiet */
#define LIMIT ((2 * 3600 + 600 + 60) * 1000) /* gather_by, deadline, and a margin */
#define PLANS 2

struct schedule {
    struct test_random random;
    double crash, store, cut, twice, overtake;
    int64_t until;
    size_t faults;
    bool rounds;                             /* an analysis of many rounds */
};

static bool happens(struct schedule *schedule, struct sim *sim, double probability)
{
    bool hit = sim_now(sim) < schedule->until &&
               test_random_uniform(&schedule->random) < probability;
    schedule->faults += hit ? 1 : 0;
    return hit;
}

static enum sim_fate fate(void *context, struct sim *sim, size_t from, size_t to,
                          const Nof1__V1__Frame *frame)
{
    struct schedule *schedule = context;
    (void)from, (void)to, (void)frame;
    return happens(schedule, sim, schedule->cut)        ? SIM_BREAK
           : happens(schedule, sim, schedule->twice)    ? SIM_TWICE
           : happens(schedule, sim, schedule->overtake) ? SIM_OVERTAKE
                                                        : SIM_DELIVER;
}

static bool crash(void *context, struct sim *sim, size_t at, const struct nof1_action *action)
{
    struct schedule *schedule = context;
    (void)at, (void)action;
    return happens(schedule, sim, schedule->crash);
}

static bool store_fails(void *context, struct sim *sim, size_t at)
{
    struct schedule *schedule = context;
    (void)at;
    return happens(schedule, sim, schedule->store);
}

/* Each kind of fault is absent, rare or frequent. */
static double rate(struct test_random *random, double rare)
{
    double u = test_random_uniform(random);
    return u < 0.3 ? 0 : u < 0.8 ? rare : 5 * rare;
}

static struct schedule schedule_of(uint64_t seed)
{
    struct schedule schedule = {.random = {seed * 7919 + 1}};
    schedule.crash = rate(&schedule.random, 0.004);
    schedule.store = rate(&schedule.random, 0.01);
    schedule.cut = rate(&schedule.random, 0.01);
    schedule.twice = rate(&schedule.random, 0.05);
    schedule.overtake = rate(&schedule.random, 0.02);
    schedule.until = TROUBLE;
    schedule.rounds = seed % 20 == 7;
    return schedule;
}

static bool is_final(const char *state)
{
    return strcmp(state, "released") == 0 || strcmp(state, "refused") == 0 ||
           strcmp(state, "objected") == 0 || strcmp(state, "expired") == 0;
}

/* A statistician repeats a submission until the coordinator has it. */
static void submit(struct sim *sim, struct nof1_slice plan, uint8_t h_q[32])
{
    for (size_t i = 0; i < 1000; i++) {
        if (sim_submit(sim, plan, h_q) == NOF1_OK && sim_coordinator(sim) != NULL &&
            sim_state(sim, h_q)[0] != 0) {
            return;
        }
        sim_run(sim, sim_now(sim) + 1000);
    }
}

/* Wait for the census although anybody may be down at any moment. */
static bool census(struct sim *sim)
{
    for (size_t i = 0; i < 4000; i++) {
        struct nof1_coordinator *coordinator = sim_coordinator(sim);
        if (coordinator != NULL && nof1_coordinator_census(coordinator).length > 0) {
            return true;
        }
        sim_run(sim, sim_now(sim) + 1000);
    }
    return false;
}

/* NULL when all is well, else what is not. */
static const char *check_plan(struct sim *sim, const uint8_t h_q[32], int64_t submitted,
                              size_t *released)
{
    while (!is_final(sim_state(sim, h_q)) && sim_now(sim) < submitted + LIMIT) {
        sim_run(sim, sim_now(sim) + 1000);
    }
    char state[16];
    snprintf(state, sizeof state, "%s", sim_state(sim, h_q));
    if (!is_final(state)) {
        return "the query hangs";
    }
    json_t *result = sim_result(sim, h_q);
    bool refusal = json_object_get(result, "refusal") != NULL;
    bool there = result != NULL;
    json_decref(result);
    if (!there || refusal == (strcmp(state, "released") == 0)) {
        return "the result does not fit the state";
    }
    *released += refusal ? 0 : 1;
    return refusal || sim_pooled_equal(sim, h_q) ? NULL : "the totals are not those of pooling";
}

static const char *check_final(struct sim *sim, uint8_t (*h_q)[32], char (*state)[16], size_t plans)
{
    size_t sites = sim_charter(sim)->sites;
    for (size_t p = 0; p < plans; p++) {
        snprintf(state[p], sizeof state[p], "%s", sim_state(sim, h_q[p]));
    }
    sim_crash(sim, sites, 10);
    sim_run(sim, sim_now(sim) + 5000);
    for (size_t p = 0; p < plans; p++) {
        if (strcmp(state[p], sim_state(sim, h_q[p])) != 0) {
            return "a final state changed";
        }
    }
    if (!sim_budgets_kept(sim)) {
        return "a site has charged fewer plans than it has answered";
    }
    return sim_violation(sim)[0] != 0 ? sim_violation(sim) : NULL;
}

static const char *const by_rounds = "outcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"
                                     "analysis: mixed_model\nfixed: [treatment]\n"
                                     "random: {trial: [intercept]}\nincomplete: score\n"
                                     "gather_by: 2h\ndeadline: 10m\n";

static const char *run_plans(struct sim *sim, struct schedule *schedule, size_t *released)
{
    static const char *const title[PLANS] = {"first", "second"};
    uint8_t h_q[PLANS][32];
    char state[PLANS][16];
    int64_t submitted[PLANS];
    size_t plans = test_random_uniform(&schedule->random) < 0.7 ? 1 : PLANS;
    const char *wrong = NULL;
    for (size_t p = 0; p < plans; p++) {
        char text[1024];
        const char *rest = schedule->rounds ? by_rounds : strstr(sim_plan_text(), "outcome:");
        snprintf(text, sizeof text, "plan: 1\ntitle: %s\n%s", title[p], rest);
        while (sim_coordinator(sim) == NULL) {
            sim_run(sim, sim_now(sim) + 100);
        }
        submit(sim, sim_plan(sim, text), h_q[p]);
        submitted[p] = sim_now(sim);
        sim_run(sim, sim_now(sim) + (int64_t)(test_random_next(&schedule->random) % 60));
    }
    for (size_t p = 0; p < plans && wrong == NULL; p++) {
        wrong = check_plan(sim, h_q[p], submitted[p], released);
    }
    return wrong != NULL ? wrong : check_final(sim, h_q, state, plans);
}

static const char *run_seed(uint64_t seed, bool loud, size_t *released, size_t *faults)
{
    struct schedule schedule = schedule_of(seed);
    struct sim *sim = sim_new(&(struct sim_options){
        .seed = seed, .sites = 3 + (seed % 6 == 0), .patients = 3, .missing = seed % 4 == 0,
        .jitter = (int64_t)(seed % 7) * 3, .quiet = !loud});
    sim_set_faults(sim, &(struct sim_faults){.context = &schedule, .frame = fate, .crash = crash,
                                             .store = store_fails});
    sim_links(sim);
    const char *wrong = census(sim) ? run_plans(sim, &schedule, released)
                                    : "the census is never taken";
    *faults += schedule.faults;
    if (loud) {
        fputs(sim_trace(sim), stderr);
    }
    static char text[256];
    snprintf(text, sizeof text, "%s", wrong == NULL ? "" : wrong);
    sim_free(sim);
    return text[0] == 0 ? NULL : text;
}

Test(seeds, random_faults, .timeout = 600)
{
    const char *one = getenv("NOF1_SIM_SEED");
    const char *many = getenv("NOF1_SIM_SEEDS");
    uint64_t first = one == NULL ? 0 : strtoull(one, NULL, 10);
    uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : SEEDS;
    size_t released = 0;
    size_t faults = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        const char *wrong = run_seed(seed, one != NULL, &released, &faults);
        cr_expect(wrong == NULL, "NOF1_SIM_SEED=%llu: %s", (unsigned long long)seed, wrong);
    }
    fprintf(stderr, "%llu schedules, %zu faults, %zu results released\n",
            (unsigned long long)count, faults, released);
    cr_expect(one != NULL || released > count / 2, "only %zu results were released", released);
    cr_expect(one != NULL || faults > count, "only %zu faults happened", faults);
}
