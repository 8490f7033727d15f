/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Daemons on damaged stores: they must say so, end with 75 and write nothing.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tools/children.h>

#include "kill.h"

enum damage { HEADER, CUT, PAGES, OTHER, DAMAGES };

static bool damage_file(const char *path, enum damage damage)
{
    static const uint8_t junk[4096] = {0x5a, 0xa5, 0x5a};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    bool good = size > 16384;
    switch (damage) {
    case HEADER:
        good = good && pwrite(fd, junk, 100, 0) == 100;
        break;
    case CUT:
        good = good && ftruncate(fd, size / 2 / 4096 * 4096) == 0;
        break;
    case PAGES:
        for (off_t at = 4096; good && at + 4096 <= size; at += 4096 * 3) {
            good = pwrite(fd, junk, sizeof junk, at) == (ssize_t)sizeof junk;
        }
        break;
    case OTHER: /* another application's */
    default:
        good = good && pwrite(fd, junk, 4, 68) == 4;
    }
    return fd >= 0 && close(fd) == 0 && good;
}

static bool same_file(const char *one, const char *other)
{
    char *const argv[] = {"cmp", "-s", (char *)(uintptr_t)one, (char *)(uintptr_t)other, NULL};
    return run_tool(argv);
}

static const char *start_damaged(struct consortium *c, int which, const char *store)
{
    char kept[700];
    char log[600];
    snprintf(kept, sizeof kept, "%s.kept", store);
    program_log(log, c, which);
    (void)unlink(log);
    if (!copy_tree(store, kept)) {
        return "cp failed";
    }
    program_start(c, which, NULL, NULL);
    for (int64_t since = now_ms(); c->program[which].pid != 0 && now_ms() - since < 10000;) {
        (void)program_event(c);
        sleep_ms(2);
    }
    int status = c->program[which].status;
    if (c->program[which].pid != 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 75) {
        return "no exit 75";
    }
    if (!file_has(log, "E1006") || !file_has(log, ".sqlite")) {
        return "the file is not named";
    }
    return same_file(store, kept) ? NULL : "the damaged file was written to";
}

/* On copies of what the undisturbed run left behind. */
void damage_stores(struct bench *bench)
{
    static const char *const name[DAMAGES] = {"no header", "half of it", "pages of junk",
                                              "another application's"};
    for (int which = COORDINATOR; which <= VAULT; which++) {
        for (int damage = HEADER; damage < DAMAGES; damage++) {
            char label[120];
            char from[320];
            char folder[320];
            char store[400];
            int64_t since = now_ms();
            struct consortium c = {.bin = bench->bin, .preload = bench->preload, .folder = folder};
            snprintf(label, sizeof label, "%s on a damaged store: %s",
                     which == COORDINATOR ? "coordinator" : "vault", name[damage]);
            if (bench->only != NULL && strstr(label, bench->only) == NULL) {
                continue;
            }
            snprintf(from, sizeof from, "%s/undisturbed", bench->folder);
            snprintf(folder, sizeof folder, "%s/case", bench->folder);
            snprintf(store, sizeof store, "%s/%s", folder,
                     which == COORDINATOR ? "coordinator/coordinator.sqlite" : "0/site.sqlite");
            const char *why = copy_tree(from, folder) ? NULL : "cp failed";
            why = why == NULL && !damage_file(store, (enum damage)damage) ? "set-up" : why;
            why = why == NULL ? start_damaged(&c, which, store) : why;
            kill_all(&c);
            report(bench, &c, label, why, since);
            nof1_remove_tree(folder);
        }
    }
}
