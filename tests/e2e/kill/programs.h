/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Starting, watching and ending the real programs of one case of the kill test. Every wait has a
 * limit; what this process starts dies with it.
 */
#ifndef NOF1_KILL_PROGRAMS_H
#define NOF1_KILL_PROGRAMS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lay_out.h"

enum { COORDINATOR, VAULT, EDGE = VAULT + SITES, CLIENT = EDGE + SITES, PROGRAMS };

struct program {
    pid_t pid;    /* 0: not running */
    bool stopped; /* by SIGSTOP */
    int status;   /* of wait(2), once ended */
    unsigned starts;
};

struct consortium {
    const char *bin, *preload, *folder;
    const char *plan; /* file of the client's plan */
    char target[40];  /* HOST:PORT once the coordinator listens */
    struct program program[PROGRAMS];
};

int64_t now_ms(void);
void sleep_ms(int ms);
void program_log(char out[600], const struct consortium *c, int which);
/* Start one; fault NULL: none (see preload.c). trace: file that gets its steps, NULL: none. */
void program_start(struct consortium *c, int which, const char *fault, const char *trace);
/* Take note of programs that ended or stopped; the number of one of them, -1: none. */
int program_event(struct consortium *c);
/* Wait until the coordinator listens and read its port. */
bool await_port(struct consortium *c, int limit_ms);
/* SIGTERM to all; false when one has to be killed after limit_ms or does not end with 0. */
bool stop_all(struct consortium *c, int limit_ms);
void kill_all(struct consortium *c);
/* One line to a vault's admin socket; the answer without its line end. */
bool ask_vault(const struct consortium *c, int site, const char *line, char *out, size_t size);
/* Does a file hold the text? */
bool file_has(const char *path, const char *text);

#endif
