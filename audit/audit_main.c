/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1-audit`, the regulator's program: a table of commands. Works offline and asks nobody.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "reconstruct.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"reconstruct", audit_command_reconstruct, "what sums about few patients give away"},
    {"release", audit_command_release, "the release gate, repeated on a result"},
};

static void print_commands(FILE *out)
{
    fprintf(out, "usage: nof1-audit COMMAND [OPTIONS]\n\ncommands:\n");
    for (size_t c = 0; c < sizeof commands / sizeof commands[0]; c++) {
        fprintf(out, "  %-12s %s\n", commands[c].name, commands[c].help);
    }
    fprintf(out, "\nEvery command has --help. Exit codes: 0 ok, 2 usage, 3 refused, 66 input.\n");
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";
    for (size_t c = 0; c < sizeof commands / sizeof commands[0]; c++) {
        if (strcmp(commands[c].name, first) == 0) {
            return commands[c].run(argc - 1, argv + 1);
        }
    }
    if (strcmp(first, "--version") == 0) {
        printf("nof1-audit %s\n", NOF1_VERSION);
        return 0;
    }
    bool help = strcmp(first, "--help") == 0 || strcmp(first, "help") == 0;
    print_commands(help ? stdout : stderr);
    return help ? 0 : 2;
}
