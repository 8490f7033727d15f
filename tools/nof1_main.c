/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1`, the statistician's program: a table of commands (docs/interfaces.md, "Programs").
 */
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <sys/memory.h>
#include <tools/commands.h>

struct command {
    const char *first, *second; /* words; second NULL: one word */
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct command commands[] = {
    {"check", NULL, nof1_command_check, "what a plan would release, and who would refuse it"},
    {"run", NULL, nof1_command_run, "run a plan and print its result"},
    {"status", NULL, nof1_command_status, "what every query waits for"},
    {"result", NULL, nof1_command_result_of, "print the result of a query again"},
    {"catalog", NULL, nof1_command_catalog, "the analyses and their options"},
    {"plan", "new", nof1_command_plan_new, "print a plan with every default"},
    {"planning", NULL, nof1_command_planning, "size and power of a series, without data"},
    {"lab", "new", nof1_command_lab_new, "write a synthetic consortium"},
    {"lab", "run", nof1_command_lab_run, "run a whole consortium on this machine"},
};

static void print_commands(FILE *out)
{
    fprintf(out, "usage: nof1 COMMAND [OPTIONS]\n\ncommands:\n");
    for (size_t c = 0; c < sizeof commands / sizeof commands[0]; ++c) {
        char name[32];
        snprintf(name, sizeof name, "%s%s%s", commands[c].first,
                 commands[c].second == NULL ? "" : " ",
                 commands[c].second == NULL ? "" : commands[c].second);
        fprintf(out, "  %-12s %s\n", name, commands[c].help);
    }
    fprintf(
        out,
        "\nEvery command has --help. Exit codes: 0 ok, 2 usage, 3 refused by policy, 4 expired,\n"
        "5 a site objects, 66 unreadable input, 69 unreachable, 77 not authorised.\n");
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";
    const char *second = argc > 2 ? argv[2] : "";
    nof1_json_memory();
    for (size_t c = 0; c < sizeof commands / sizeof commands[0]; ++c) {
        const struct command *command = &commands[c];
        if (strcmp(command->first, first) == 0 &&
            (command->second == NULL || strcmp(command->second, second) == 0)) {
            int words = command->second == NULL ? 1 : 2;
            return command->run(argc - words, argv + words);
        }
    }
    if (strcmp(first, "--version") == 0) {
        printf("nof1 %s\n", NOF1_VERSION);
        return 0;
    }
    bool help = strcmp(first, "--help") == 0 || strcmp(first, "help") == 0;
    print_commands(help ? stdout : stderr);
    return help ? 0 : 2;
}
