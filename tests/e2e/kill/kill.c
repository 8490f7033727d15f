/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Kills one real program of a consortium at one exact step of a query, restarts it and requires the
 * result of the undisturbed run, bit for bit, charged once, with whole ledgers
 * (docs/architecture.md, "Durability"). Full disks, frozen programs and
 * damaged stores likewise. Every wait has a limit; whatever it starts dies with it.
 *
 *   kill BIN PRELOAD FOLDER [--all] [WORDS]   only cases whose name holds the words; closes with
 *                                            "N passed, N failed"
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tools/children.h>
#include <tools/lab_new.h>

#include "check.h"
#include "kill.h"

#define CASE_LIMIT 40000 /* milliseconds one case may take */
#define FROZEN 5000      /* milliseconds a stopped program stays so: more than the round timeout */
#define MOST_STEPS 400

enum expectation {
    DIES,    /* killed by itself: restarted */
    FILLS,   /* the disk is full: exit 75 with a reason; restarted with room */
    FREEZES, /* stopped; goes on after FROZEN */
    STAYS    /* stopped for good, under a plan with a short deadline */
};

struct scenario {
    char label[120];
    int which;
    char fault[64];
    enum expectation expectation;
};

/* ---- reporting ------------------------------------------------------------------------------ */

static void show_log(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[400];
    char last[6][400] = {{0}};
    unsigned count = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        snprintf(last[count++ % 6], sizeof last[0], "%s", line);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    for (unsigned i = count > 6 ? count - 6 : 0; i < count; i++) {
        printf("     %s: %s", strrchr(path, '/') + 1, last[i % 6]);
    }
}

void report(struct bench *bench, const struct consortium *c, const char *label, const char *why,
            int64_t since)
{
    if (why == NULL) {
        bench->passed++;
        printf("ok   %s (%.1f s)\n", label, (double)(now_ms() - since) / 1000);
    } else {
        bench->failed++;
        printf("FAIL %s: %s (%.1f s)\n", label, why, (double)(now_ms() - since) / 1000);
        for (int p = 0; c != NULL && p < PROGRAMS; p++) {
            char path[600];
            program_log(path, c, p);
            show_log(path);
        }
    }
    (void)fflush(stdout);
}

/* ---- folders -------------------------------------------------------------------------------- */

bool run_tool(char *const argv[])
{
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], argv);
        _exit(99);
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

bool copy_tree(const char *from, const char *to)
{
    char *const argv[] = {"cp", "-a", (char *)(uintptr_t)from, (char *)(uintptr_t)to, NULL};
    return run_tool(argv);
}

/* ---- one case ------------------------------------------------------------------------------- */

struct course {
    const struct scenario *scenario;
    bool hit;      /* the fault has struck */
    bool finished; /* the client has its answer */
    int code;      /* of the client */
    int64_t frozen;
};

static const char *died_well(const struct consortium *c, const struct scenario *scenario)
{
    char log[600];
    int status = c->program[scenario->which].status;
    if (scenario->expectation != FILLS) {
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                   ? NULL
                   : "it ended otherwise than killed";
    }
    program_log(log, c, scenario->which);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 75) {
        return "a full disk is no exit 75";
    }
    return file_has(log, "E1006") && (file_has(log, "full") || file_has(log, "disk I/O error"))
               ? NULL
               : "a full disk is not named in the log";
}

static const char *on_end(struct consortium *c, struct course *course, int which)
{
    static char why[200];
    if (which == CLIENT) {
        int status = c->program[CLIENT].status;
        course->code = WIFEXITED(status) ? WEXITSTATUS(status) : 99;
        /* Not reached before the plan was sent, or a plan that found no room: once more. A
         * coordinator that dies during the first handshake looks like one that refuses. */
        course->finished = course->code != 69 && course->code != 75 &&
                           (course->code != 77 || course->scenario->which != COORDINATOR);
        if (!course->finished) {
            sleep_ms(100);
            program_start(c, CLIENT, NULL, NULL);
        }
        return NULL;
    }
    if (which == course->scenario->which && !course->hit) {
        const char *wrong = died_well(c, course->scenario);
        course->hit = true;
        if (wrong == NULL) {
            program_start(c, which, NULL, NULL);
        }
        return wrong;
    }
    snprintf(why, sizeof why, "program %d ended by itself, status %x", which,
             (unsigned)c->program[which].status);
    return why;
}

static const char *watch(struct consortium *c, struct course *course)
{
    int64_t since = now_ms();
    int64_t finished = 0;
    while (now_ms() - since < CASE_LIMIT) {
        int which = program_event(c);
        if (which >= 0 && c->program[which].stopped && course->frozen == 0) {
            course->frozen = now_ms();
            course->hit = true;
        } else if (which >= 0) {
            const char *why = on_end(c, course, which);
            if (why != NULL) {
                return why;
            }
        }
        if (course->scenario->expectation == FREEZES && course->frozen > 0 &&
            now_ms() - course->frozen > FROZEN && c->program[course->scenario->which].stopped) {
            c->program[course->scenario->which].stopped = false;
            (void)kill(c->program[course->scenario->which].pid, SIGCONT);
        }
        finished = course->finished && finished == 0 ? now_ms() : finished;
        bool thawed =
            !c->program[course->scenario->which].stopped || course->scenario->expectation == STAYS;
        if (course->finished && course->hit && thawed) {
            return NULL;
        }
        if (finished > 0 && !course->hit && now_ms() - finished > 3000) {
            return "the step was not reached";
        }
        if (which < 0) {
            sleep_ms(2);
        }
    }
    return course->finished ? "a program hangs" : "no answer within the case's limit";
}

/* A restarted vault needs a moment until it answers its admin socket again. */
static void await_vaults(const struct consortium *c)
{
    int64_t since = now_ms();
    for (int s = 0; s < SITES && now_ms() - since < 5000;) {
        char answer[8192] = "";
        if (ask_vault(c, s, "{\"command\":\"status\"}\n", answer, sizeof answer)) {
            s++;
        } else {
            sleep_ms(10);
        }
    }
}

static const char *start_everybody(struct consortium *c, struct course *course,
                                   const char *const trace[PROGRAMS])
{
    const struct scenario *scenario = course->scenario;
    for (int p = COORDINATOR; p <= CLIENT; p++) {
        const char *fault = !course->hit && scenario->which == p ? scenario->fault : NULL;
        program_start(c, p, fault, trace == NULL ? NULL : trace[p]);
        if (p != COORDINATOR || await_port(c, 10000)) {
            continue;
        }
        if (fault == NULL || c->program[p].pid != 0) {
            return "the coordinator did not start";
        }
        const char *why = on_end(c, course, p); /* the fault came before it listened */
        if (why != NULL || !await_port(c, 10000)) {
            return why != NULL ? why : "the coordinator did not start again";
        }
    }
    return NULL;
}

static const char *judge(const struct bench *bench, struct consortium *c,
                         const struct course *course)
{
    if (course->scenario->expectation == STAYS) {
        if (course->code != 4) {
            return "the query did not expire (exit 4)";
        }
        kill_all(c);
        return check_stores(c, false);
    }
    if (course->code != 0) {
        return "the query did not complete";
    }
    const char *why = check_result(c, bench->expected, bench->folder);
    await_vaults(c);
    why = why == NULL ? check_budgets(c) : why;
    if (why == NULL && !stop_all(c, 10000)) {
        why = "not everybody stopped cleanly";
    }
    return why == NULL ? check_stores(c, true) : why;
}

static void run_case(struct bench *bench, const struct scenario *scenario)
{
    char folder[300];
    int64_t since = now_ms();
    if (bench->only != NULL && strstr(scenario->label, bench->only) == NULL) {
        return;
    }
    snprintf(folder, sizeof folder, "%s/case", bench->folder);
    struct consortium c = {.bin = bench->bin,
                           .preload = bench->preload,
                           .folder = folder,
                           .plan =
                               scenario->expectation == STAYS ? bench->short_plan : bench->plan};
    struct course course = {.scenario = scenario};
    const char *why = copy_tree(bench->template, folder) ? NULL : "cp failed";
    why = why == NULL ? start_everybody(&c, &course, NULL) : why;
    why = why == NULL ? watch(&c, &course) : why;
    why = why == NULL ? judge(bench, &c, &course) : why;
    kill_all(&c);
    report(bench, &c, scenario->label, why, since);
    if (getenv("NOF1_KILL_KEEP") == NULL) {
        nof1_remove_tree(folder);
    }
}

/* ---- the undisturbed run: the expected result and the steps there are ----------------------- */

struct steps {
    size_t count;
    char text[MOST_STEPS][24]; /* "send-15 3" */
};

static void read_steps(struct steps *steps, const char *path)
{
    FILE *file = fopen(path, "r");
    char line[64];
    steps->count = 0;
    while (file != NULL && steps->count < MOST_STEPS && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        snprintf(steps->text[steps->count++], sizeof steps->text[0], "%.23s", line);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

static bool undisturbed(struct bench *bench, struct steps steps[3])
{
    static const int traced[3] = {COORDINATOR, VAULT + 1, EDGE + 1};
    char folder[300];
    char path[3][340];
    const char *trace[PROGRAMS] = {NULL};
    const struct scenario none = {.which = CLIENT};
    struct course course = {.scenario = &none, .hit = true};
    int64_t since = now_ms();
    snprintf(folder, sizeof folder, "%s/undisturbed", bench->folder);
    struct consortium c = {
        .bin = bench->bin, .preload = bench->preload, .folder = folder, .plan = bench->plan};
    for (int i = 0; i < 3; i++) {
        snprintf(path[i], sizeof path[i], "%s/trace-%d", folder, i);
        trace[traced[i]] = path[i];
    }
    const char *why = copy_tree(bench->template, folder) ? NULL : "cp failed";
    why = why == NULL ? start_everybody(&c, &course, trace) : why;
    why = why == NULL ? watch(&c, &course) : why;
    why = why == NULL && course.code != 0 ? "the query did not complete" : why;
    bench->expected = why == NULL ? read_result(&c) : NULL;
    why =
        why == NULL && json_object_get(bench->expected, "estimates") == NULL ? "no estimates" : why;
    why = why == NULL ? check_budgets(&c) : why;
    sleep_ms(200); /* the last frames: End */
    why = why == NULL && !stop_all(&c, 10000) ? "not everybody stopped cleanly" : why;
    why = why == NULL ? check_stores(&c, true) : why;
    kill_all(&c);
    for (int i = 0; i < 3; i++) {
        read_steps(&steps[i], path[i]);
    }
    report(bench, &c, "the undisturbed run", why, since);
    return why == NULL;
}

/* ---- which steps ---------------------------------------------------------------------------- */

static const char *frame_name(int tag)
{
    static const char *const name[] = {"Hello",     "QueryOffer", "KeyAd",       "Roster",
                                       "RoundOpen", "Masked",     "Close",       "Attest",
                                       "Refusal",   "End",        "CensusNotice"};
    return tag >= 10 && tag <= 20 ? name[tag - 10] : "frame";
}

static void name_scenario(struct scenario *scenario, const char *who, const char *kind, long number,
                          const char *when)
{
    int tag = strlen(kind) > 5 ? atoi(kind + 5) : 0;
    const char *what = strncmp(kind, "send", 4) == 0   ? "sends"
                       : strncmp(kind, "recv", 4) == 0 ? "receives"
                                                       : kind;
    const char *verb = strcmp(when, "full") == 0   ? "disk full at"
                       : strcmp(when, "stop") == 0 ? "frozen before"
                                                   : when;
    snprintf(scenario->label, sizeof scenario->label, "%s %s: it %s %s %ld", who, verb, what,
             tag > 0 ? frame_name(tag) : "no.", number);
    snprintf(scenario->fault, sizeof scenario->fault, "%s:%ld:%s", kind, number, when);
}

/* Try one step of the trace in one way. */
static void try_step(struct bench *bench, int which, const char *step, const char *when,
                     enum expectation expectation)
{
    static const char *const who[] = {"coordinator", "vault", "edge"};
    struct scenario scenario = {.which = which, .expectation = expectation};
    char kind[16] = "";
    long number = 0;
    if (sscanf(step, "%15s %ld", kind, &number) != 2) {
        return;
    }
    name_scenario(&scenario,
                  who[which == COORDINATOR ? 0
                      : which < EDGE       ? 1
                                           : 2],
                  kind, number, when);
    run_case(bench, &scenario);
}

/* Where the query begins: after the census every kind of frame comes a second time. */
static size_t query_start(const struct steps *steps, const char *first)
{
    for (size_t i = 0; i < steps->count; i++) {
        if (strcmp(steps->text[i], first) == 0) {
            return i;
        }
    }
    return steps->count;
}

/* Steps whose order is that of the protocol: a Hello or a sync may come at any time. */
static bool is_frame(const char *step)
{
    return (strncmp(step, "send-", 5) == 0 || strncmp(step, "recv-", 5) == 0) &&
           strncmp(step + 5, "10 ", 3) != 0 && strncmp(step + 5, "20 ", 3) != 0;
}

static void sweep_frames(struct bench *bench, int which, const struct steps *steps,
                         const char *first, bool all)
{
    size_t start = all ? 0 : query_start(steps, first);
    for (size_t i = start; i < steps->count; i++) {
        const char *step = steps->text[i];
        if (!is_frame(step)) {
            continue;
        }
        if (strncmp(step, "recv-", 5) == 0) {
            try_step(bench, which, step, "after", DIES);
        } else if (all) {
            try_step(bench, which, step, "before", DIES);
            try_step(bench, which, step, "after", DIES);
        } else {
            try_step(bench, which, step, "before", DIES);
        }
    }
}

static long count_steps(const struct steps *steps, const char *kind)
{
    long count = 0;
    for (size_t i = 0; i < steps->count; i++) {
        count += strncmp(steps->text[i], kind, strlen(kind)) == 0 ? 1 : 0;
    }
    return count;
}

/* Commits: killed before or after the call that makes one durable. The last ones close the file. */
static void sweep_commits(struct bench *bench, int which, const struct steps *steps, bool all)
{
    long first = all ? 1 : 6; /* the query's; before it the census is taken */
    for (long n = first; n <= count_steps(steps, "sync ") - 4; n += all ? 1 : 2) {
        char step[24];
        snprintf(step, sizeof step, "sync %ld", n);
        if (all || n % 4 == 0) {
            try_step(bench, which, step, "before", DIES);
        }
        if (all || n % 4 != 0) {
            try_step(bench, which, step, "after", DIES);
        }
    }
}

/* A full disk at the k-th write to the store. */
static void sweep_writes(struct bench *bench, int which, const struct steps *steps, bool all)
{
    long last = count_steps(steps, "write ") * 3 / 4; /* the rest is the checkpoint at the end */
    long stride = all ? (last + 39) / 40 : (last + 2) / 3;
    for (long n = 1; n <= last; n += stride) {
        char step[24];
        snprintf(step, sizeof step, "write %ld", n);
        try_step(bench, which, step, "full", FILLS);
    }
}

static void freeze_some(struct bench *bench, bool all)
{
    try_step(bench, EDGE + 1, "send-14 4", "stop", FREEZES);
    try_step(bench, EDGE + 1, "send-16 2", "stop", STAYS);
    if (all) {
        try_step(bench, EDGE + 1, "send-11 2", "stop", FREEZES);
        try_step(bench, EDGE + 1, "send-16 2", "stop", FREEZES);
        try_step(bench, VAULT + 1, "send-12 2", "stop", FREEZES);
        try_step(bench, VAULT + 1, "send-15 4", "stop", FREEZES);
        try_step(bench, VAULT + 1, "send-17 2", "stop", FREEZES);
        try_step(bench, VAULT + 1, "send-15 3", "stop", STAYS);
        try_step(bench, COORDINATOR, "sync 12", "stop", FREEZES);
    }
}

/* ---- all of it ----------------------------------------------------------------------------- */

static bool set_up(struct bench *bench)
{
    char sources[300];
    char plan[300];
    struct nof1_error error = {0};
    snprintf(sources, sizeof sources, "%s/new", bench->folder);
    snprintf(bench->template, sizeof bench->template, "%s/template", bench->folder);
    snprintf(bench->plan, sizeof bench->plan, "%s/plan.yaml", bench->folder);
    snprintf(bench->short_plan, sizeof bench->short_plan, "%s/short.yaml", bench->folder);
    snprintf(plan, sizeof plan, "%s/plan.yaml", sources);
    const struct nof1_lab_new options = {
        .folder = sources, .sites = SITES, .trials = 40, .seed = 7, .design = "ABAB"};
    nof1_rc_value rc = nof1_lab_new(&options, &error);
    rc = rc == NOF1_OK ? lay_out(bench->template, sources, plan, &error) : rc;
    if (rc != NOF1_OK || !copy_tree(plan, bench->plan) || !copy_tree(plan, bench->short_plan)) {
        printf("FAIL set-up: %s\n", error.message);
        return false;
    }
    FILE *file = fopen(bench->short_plan, "a");
    bool good = file != NULL && fputs("deadline: 6s\n", file) >= 0;
    return file != NULL && fclose(file) == 0 && good;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: kill BIN PRELOAD FOLDER [--all] [WORDS]\n");
        return 2;
    }
    bool all = false;
    struct bench bench = {.bin = argv[1], .preload = argv[2], .folder = argv[3]};
    for (int i = 4; i < argc; i++) {
        all = all || strcmp(argv[i], "--all") == 0;
        bench.only = strcmp(argv[i], "--all") == 0 ? bench.only : argv[i];
    }
    struct steps *steps = calloc(3, sizeof *steps);
    if (steps == NULL || !set_up(&bench) || !undisturbed(&bench, steps)) {
        printf("%u passed, %u failed\n", bench.passed, bench.failed + 1);
        return 1;
    }

    sweep_frames(&bench, VAULT + 1, &steps[1], "send-12 2", all);
    sweep_frames(&bench, EDGE + 1, &steps[2], "send-11 2", all);
    sweep_commits(&bench, COORDINATOR, &steps[0], all);
    sweep_writes(&bench, COORDINATOR, &steps[0], all);
    sweep_writes(&bench, VAULT + 1, &steps[1], all);
    if (all) {
        sweep_commits(&bench, VAULT + 1, &steps[1], all);
    }
    freeze_some(&bench, all);
    damage_stores(&bench);
    free(steps);
    json_decref(bench.expected);
    printf("%u passed, %u failed\n", bench.passed, bench.failed);
    return bench.failed == 0 ? 0 : 1;
}
