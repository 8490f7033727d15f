/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the kill test share.
 */
#ifndef NOF1_KILL_KILL_H
#define NOF1_KILL_KILL_H

#include <jansson.h>

#include "programs.h"

struct bench {
    const char *bin, *preload, *folder;
    const char *only; /* cases whose label holds this text; NULL: all */
    char template[300], plan[300], short_plan[300];
    json_t *expected;
    unsigned passed, failed;
};

/* One line for the case; with `why` (what is wrong) also the last lines of every program's log. */
void report(struct bench *bench, const struct consortium *c, const char *label, const char *why,
            int64_t since);
bool run_tool(char *const argv[]);
bool copy_tree(const char *from, const char *to);

/* Start coordinator and vault on damaged copies of what the undisturbed run left behind. */
void damage_stores(struct bench *bench);

#endif
