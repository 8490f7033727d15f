/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The commands of `nof1`. Each gets its own name as argv[0], prints data on stdout and everything
 * else on stderr, and answers the exit code of docs/interfaces.md.
 */
#ifndef NOF1_TOOLS_COMMANDS_H
#define NOF1_TOOLS_COMMANDS_H

#include <stdbool.h>

#include <jansson.h>
#include <nof1/error.h>

int nof1_command_check(int argc, char **argv);
int nof1_command_run(int argc, char **argv);
int nof1_command_status(int argc, char **argv);
int nof1_command_result_of(int argc, char **argv);
int nof1_command_catalog(int argc, char **argv);
int nof1_command_plan_new(int argc, char **argv);
int nof1_command_planning(int argc, char **argv);
int nof1_command_lab_new(int argc, char **argv);
int nof1_command_lab_run(int argc, char **argv);

/* Print an error on stderr and answer its exit code. */
int nof1_command_failed(const char *command, nof1_rc_value rc, const struct nof1_error *error);
/* The same; a refusal by policy (exit 3 or 5) is also a refusal object on stdout, as JSON if json.
 */
int nof1_command_refused(const char *command, nof1_rc_value rc, const struct nof1_error *error,
                         bool json);
/* Print a coordinator's final object: for people, or as JSON. Exit code: 0, or that of the refusal.
 */
int nof1_command_result(const json_t *result, bool json, const char *next);

#endif
