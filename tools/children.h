/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Programs started by the lab: found beside `nof1` itself, with their messages in a file each, and
 * all of them ended again.
 */
#ifndef NOF1_TOOLS_CHILDREN_H
#define NOF1_TOOLS_CHILDREN_H

#include <sys/types.h>

#include <nof1/slice.h>

struct nof1_child {
    pid_t pid; /* 0: ended */
    const char *program;
    const char *log; /* file with its stderr */
};

struct nof1_children {
    struct nof1_arena *arena;
    const char *folder; /* of the programs */
    size_t count, capacity;
    struct nof1_child *child;
};

/* The folder of the running executable. Errors: NOF1_E_CONFIG. */
nof1_rc nof1_children_init(struct nof1_children *children, struct nof1_arena *arena,
                           size_t capacity, struct nof1_error *error);
/* Start PROGRAM with the arguments (NULL-terminated, argv[0] excluded); stdout and stderr to `log`.
 * Errors: NOF1_E_CONFIG naming the missing program, NOF1_E_IO. */
nof1_rc nof1_children_start(struct nof1_children *children, const char *program,
                            const char *const *argument, const char *log, struct nof1_error *error);
/* One of them has ended by itself: error names it and the last line it wrote. */
nof1_rc nof1_children_check(struct nof1_children *children, struct nof1_error *error);
/* SIGTERM to all, SIGKILL to those that are still there after five seconds; waits for all. */
void nof1_children_stop(struct nof1_children *children);
/* Remove a folder and everything in it. Follows no symbolic link. */
void nof1_remove_tree(const char *path);

#endif
