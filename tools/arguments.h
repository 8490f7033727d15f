/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Command lines of the tools: "--name value", "--name=value", flags, and words; every command has a
 * table of its options, from which --help is printed.
 */
#ifndef NOF1_TOOLS_ARGUMENTS_H
#define NOF1_TOOLS_ARGUMENTS_H

#include <nof1/error.h>
#include <stdbool.h>
#include <stdint.h>

struct nof1_argument {
    const char *name;  /* without "--"; NULL ends the table */
    const char *value; /* placeholder of its value; NULL: a flag */
    const char **text; /* where the value goes */
    bool *flag;        /* where a flag goes */
    const char *help;
};

struct nof1_usage_text {
    const char *synopsis; /* "nof1 lab new --out DIR" */
    const char *text;     /* what it does, whole lines */
    const struct nof1_argument *option;
};

/* Read argv[1 ...]; word[words] take the positional arguments, all required. *help: --help was
 * given and the text was printed on stdout. Errors: NOF1_E_USAGE. */
nof1_rc nof1_arguments_read(const struct nof1_usage_text *usage, size_t words, const char **word,
                            int argc, char **argv, bool *help, struct nof1_error *error);
/* A whole number in [least, most]. Errors: NOF1_E_USAGE naming the option. */
nof1_rc nof1_argument_number(uint64_t *out, const char *name, const char *text, uint64_t least,
                             uint64_t most, struct nof1_error *error);

#endif
