/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading command lines: see arguments.h.
 */
#include "arguments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/daemon.h>

static const struct nof1_argument *find(const struct nof1_argument *row, const char *name,
                                        size_t length)
{
    for (; row->name != NULL; ++row) {
        if (strlen(row->name) == length && strncmp(row->name, name, length) == 0) {
            return row;
        }
    }
    return NULL;
}

static int program_length(const struct nof1_usage_text *usage)
{
    return (int)strcspn(usage->synopsis, " ");
}

static void print_help(const struct nof1_usage_text *usage)
{
    printf("usage: %s\n\n%s%soptions:\n", usage->synopsis, usage->text,
           usage->text[0] == '\0' ? "" : "\n");
    for (const struct nof1_argument *row = usage->option; row->name != NULL; ++row) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", row->name, row->value == NULL ? "" : " ",
                 row->value == NULL ? "" : row->value);
        printf("  %-24s %s%s\n", left, row->help, row->required ? " (required)" : "");
    }
    printf("  %-24s %s\n\nMore: man %.*s\n", "--help", "this text", program_length(usage),
           usage->synopsis);
}

/* --help and --version, answered. */
static bool answer(const struct nof1_usage_text *usage, const char *word)
{
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        print_help(usage);
        return true;
    }
    if (strcmp(word, "--version") == 0) {
        printf("%.*s %s\n", program_length(usage), usage->synopsis, NOF1_VERSION);
        return true;
    }
    return false;
}

static nof1_rc read_option(const struct nof1_usage_text *usage, int argc, char **argv, int *at,
                           struct nof1_error *error)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals == NULL ? strlen(name) : (size_t)(equals - name);
    const struct nof1_argument *row = find(usage->option, name, length);
    if (row == NULL) {
        return nof1_fail(error, NOF1_E_USAGE, "unknown option --%.*s; usage: %s", (int)length, name,
                         usage->synopsis);
    }
    if (row->value == NULL) {
        if (equals != NULL) {
            return nof1_fail(error, NOF1_E_USAGE, "--%s takes no value", row->name);
        }
        *row->flag = true;
        return NOF1_OK;
    }
    const char *value = equals != NULL ? equals + 1 : *at + 1 < argc ? argv[++*at] : "";
    if (*value == '\0') {
        return nof1_fail(error, NOF1_E_USAGE, "--%s needs a value: %s", row->name, row->value);
    }
    *row->text = value;
    return NOF1_OK;
}

nof1_rc_value nof1_arguments_read(const struct nof1_usage_text *usage, size_t words,
                                  const char **word, int argc, char **argv, bool *help,
                                  struct nof1_error *error)
{
    size_t given = 0;
    bool only_words = false;
    *help = false;
    for (int at = 1; at < argc; ++at) {
        if (!only_words && answer(usage, argv[at])) {
            *help = true;
            return NOF1_OK;
        }
        if (!only_words && strcmp(argv[at], "--") == 0) {
            only_words = true;
        } else if (!only_words && strncmp(argv[at], "--", 2) == 0) {
            TRY(read_option(usage, argc, argv, &at, error));
        } else if (given < words) {
            word[given++] = argv[at];
        } else {
            return nof1_fail(error, NOF1_E_USAGE, "'%.80s' was not expected; usage: %s", argv[at],
                             usage->synopsis);
        }
    }
    if (given + usage->optional < words) {
        return nof1_fail(error, NOF1_E_USAGE, "usage: %s", usage->synopsis);
    }
    for (const struct nof1_argument *row = usage->option; row->name != NULL; ++row) {
        if (row->required && *row->text == NULL) {
            return nof1_fail(error, NOF1_E_USAGE, "--%s is missing; usage: %s", row->name,
                             usage->synopsis);
        }
    }
    return NOF1_OK;
}

int nof1_command_line(const struct nof1_usage_text *usage, size_t words, const char **word,
                      int argc, char **argv, int first)
{
    struct nof1_error error = {.rc = NOF1_OK};
    bool help = false;
    nof1_rc_value rc =
        nof1_arguments_read(usage, words, word, argc - first + 1, argv + first - 1, &help, &error);
    if (rc == NOF1_OK) {
        return help ? 0 : -1;
    }
    char program[64];
    snprintf(program, sizeof program, "%.*s", program_length(usage), usage->synopsis);
    return nof1_report_error(program, &error);
}

nof1_rc_value nof1_argument_number(uint64_t *out, const char *name, const char *text,
                                   uint64_t least, uint64_t most, struct nof1_error *error)
{
    char *end = NULL;
    bool digit = text[0] >= '0' && text[0] <= '9';
    unsigned long long value = digit ? strtoull(text, &end, 10) : 0;
    if (!digit || *end != '\0' || strlen(text) > 19 || value < least || value > most) {
        return nof1_fail(error, NOF1_E_USAGE, "--%s: a whole number from %llu to %llu expected",
                         name, (unsigned long long)least, (unsigned long long)most);
    }
    *out = value;
    return NOF1_OK;
}
