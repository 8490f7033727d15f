/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Starting and ending programs: see children.h.
 */
#include <tools/children.h>

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sys/clock.h>

#define MOST_ARGUMENTS 40
#define GRACE 5000 /* milliseconds between SIGTERM and SIGKILL */

nof1_rc_value nof1_children_init(struct nof1_children *children, struct nof1_arena *arena,
                                 size_t capacity, struct nof1_error *error)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0) {
        return nof1_fail(error, NOF1_E_CONFIG, "the folder of this program cannot be found");
    }
    path[length] = '\0';
    *strrchr(path, '/') = '\0';
    *children = (struct nof1_children){.arena = arena, .capacity = capacity};
    children->folder = nof1_arena_text(arena, path);
    children->child = nof1_arena_alloc(arena, capacity, sizeof *children->child);
    ENSURE(children->folder != NULL && children->child != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* Signals blocked here (they arrive through a descriptor) must not stay blocked there. */
static nof1_rc spawn(pid_t *pid, const char *path, char *const *argv, const char *log)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    ENSURE(posix_spawn_file_actions_init(&actions) == 0, NOF1_E_NO_MEMORY);
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return NOF1_E_NO_MEMORY;
    }
    bool good = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) == 0 &&
                posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND,
                                                 0600) == 0 &&
                posix_spawn_file_actions_adddup2(&actions, 1, 2) == 0 &&
                posix_spawnattr_setsigmask(&attributes, &none) == 0 &&
                posix_spawnattr_setpgroup(&attributes, 0) == 0 &&
                posix_spawnattr_setflags(&attributes,
                                         POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP) == 0 &&
                posix_spawn(pid, path, &actions, &attributes, argv, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return good ? NOF1_OK : NOF1_E_IO;
}

nof1_rc_value nof1_children_start(struct nof1_children *children, const char *program,
                                  const char *const *argument, const char *log,
                                  struct nof1_error *error)
{
    char *argv[MOST_ARGUMENTS + 2] = {(char *)(uintptr_t)program};
    size_t count = 0;
    for (; argument[count] != NULL; ++count) {
        ENSURE(count < MOST_ARGUMENTS, NOF1_E_BUG);
        argv[count + 1] = (char *)(uintptr_t)argument[count];
    }
    const char *path = nof1_arena_printf(children->arena, "%s/%s", children->folder, program);
    ENSURE(path != NULL, NOF1_E_NO_MEMORY);
    ENSURE(children->count < children->capacity, NOF1_E_BUG);
    if (access(path, X_OK) != 0) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "%s is not there; the lab needs it beside nof1 (or use --in-process)",
                         path);
    }
    struct nof1_child *child = &children->child[children->count];
    *child = (struct nof1_child){.program = nof1_arena_text(children->arena, program),
                                 .log = nof1_arena_text(children->arena, log)};
    ENSURE(child->program != NULL && child->log != NULL, NOF1_E_NO_MEMORY);
    if (spawn(&child->pid, path, argv, log) != NOF1_OK) {
        return nof1_fail(error, NOF1_E_IO, "%s cannot be started", path);
    }
    ++children->count;
    return NOF1_OK;
}

/* The last line of a small file. */
static void last_line(char *out, size_t size, const char *path)
{
    out[0] = '\0';
    FILE *file = fopen(path, "r");
    char line[400];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        snprintf(out, size, "%s", line);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

nof1_rc_value nof1_children_check(struct nof1_children *children, struct nof1_error *error)
{
    for (size_t c = 0; c < children->count; ++c) {
        struct nof1_child *child = &children->child[c];
        int status = 0;
        if (child->pid != 0 && waitpid(child->pid, &status, WNOHANG) == child->pid) {
            char line[400];
            child->pid = 0;
            last_line(line, sizeof line, child->log);
            return nof1_fail(error, NOF1_E_UNREACHABLE, "%s ended by itself: %s", child->program,
                             line);
        }
    }
    return NOF1_OK;
}

static bool all_gone(struct nof1_children *children)
{
    bool gone = true;
    for (size_t c = 0; c < children->count; ++c) {
        struct nof1_child *child = &children->child[c];
        if (child->pid != 0 && waitpid(child->pid, NULL, WNOHANG) == child->pid) {
            child->pid = 0;
        }
        gone = gone && child->pid == 0;
    }
    return gone;
}

static void signal_all(const struct nof1_children *children, int number)
{
    for (size_t c = 0; c < children->count; ++c) {
        if (children->child[c].pid != 0) {
            (void)kill(children->child[c].pid, number);
        }
    }
}

void nof1_children_stop(struct nof1_children *children)
{
    const struct timespec little = {.tv_nsec = 5000000};
    int64_t since = nof1_clock_monotonic();
    signal_all(children, SIGTERM);
    while (!all_gone(children) && nof1_clock_monotonic() - since < GRACE) {
        (void)nanosleep(&little, NULL);
    }
    signal_all(children, SIGKILL);
    while (!all_gone(children)) {
        (void)nanosleep(&little, NULL);
    }
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(path);
}

void nof1_remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
