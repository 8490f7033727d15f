/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Command lines of every program: "--name value", "--name=value", flags, and words; every command
 * has a table of its options, from which --help is printed.
 */
#ifndef NOF1_SYS_ARGUMENTS_H
#define NOF1_SYS_ARGUMENTS_H

#include <nof1/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nof1_argument {
    const char *name;  /* without "--"; NULL ends the table */
    const char *value; /* placeholder of its value; NULL: a flag */
    const char **text; /* where the value goes */
    bool *flag;        /* where a flag goes */
    const char *help;
    bool required; /* a value must be given */
};

#define NOF1_ARGUMENTS_END                                                                         \
    {                                                                                              \
        NULL, NULL, NULL, NULL, NULL, false                                                        \
    }

struct nof1_usage_text {
    const char *synopsis; /* "nof1 lab new --out DIR"; begins with the program's name */
    const char *text;     /* what it does, whole lines; "" when the synopsis says it */
    const struct nof1_argument *option;
    size_t optional; /* so many words, the last ones, may be missing: they stay as they are */
};

/* Read argv[1 ...]; word[words] take the positional arguments. *help: --help or --version was given
 * and answered on stdout. Errors: NOF1_E_USAGE. */
nof1_rc nof1_arguments_read(const struct nof1_usage_text *usage, size_t words, const char **word,
                            int argc, char **argv, bool *help, struct nof1_error *error);
/* The same from argv[first] on, for a program's main: -1 to go on, else its exit code, after the
 * help (0) or a line on stderr (2). */
int nof1_command_line(const struct nof1_usage_text *usage, size_t words, const char **word,
                      int argc, char **argv, int first);
/* A whole number in [least, most]. Errors: NOF1_E_USAGE naming the option. */
nof1_rc nof1_argument_number(uint64_t *out, const char *name, const char *text, uint64_t least,
                             uint64_t most, struct nof1_error *error);

#endif
