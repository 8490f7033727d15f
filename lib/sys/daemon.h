/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What every program of ours does at its start: turn signals into a descriptor, keep memory from
 * swap, core files and debuggers.
 */
#ifndef NOF1_SYS_DAEMON_H
#define NOF1_SYS_DAEMON_H

#include <sys/types.h>

#include <nof1/slice.h>

/* Print "program: message (E1003: remedy)" to stderr; returns the exit code of the error. */
int nof1_report_error(const char *program, const struct nof1_error *error);

/* Send log lines to stderr, with the level in front when stderr is the journal. Call first. */
void nof1_log_start(void);
/* Block SIGTERM, SIGINT and SIGHUP in this thread and those made later, ignore SIGPIPE; *fd
 * delivers them. Call before any thread starts. Errors: NOF1_E_IO. */
nof1_rc nof1_signals_open(int *fd);
/* The next signal number that waits, 0 for none. */
int nof1_signals_next(int fd);

/* No core files, no debugger, nothing in swap. Locking needs a limit of memory that is no limit or
 * the privilege; *locked says whether it was done. */
void nof1_process_harden(bool *locked);
/* The number of a user, by name or number. Errors: NOF1_E_CONFIG. */
nof1_rc nof1_user_find(uid_t *out, const char *name, struct nof1_error *error);

#endif
