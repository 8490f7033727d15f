/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Fills the manual pages that describe tables: reads a page from standard input and writes it with
 * each line @ANALYSES@, @LIMITS@ or @CODES@ replaced by that table as scdoc(5) text. The tables are
 * the ones that the programs use (lib/stats/analyses/registry.def, lib/core/policy.def,
 * include/nof1/error.def), so that a page cannot say anything else.
 */
#include <stdio.h>
#include <string.h>

#include <core/policy.h>
#include <nof1/analysis.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct code {
    const char *code, *sentence, *remedy;
    int status, exit_code;
};

static const struct code codes[] = {
#define X(symbol, code, status, exit_code, sentence, remedy)                                       \
    {code, sentence, remedy, status, exit_code},
#include <nof1/error.def>
#undef X
};

/* A sentence of a table, which may have its full stop or not, without it. */
static size_t sentence_length(const char *text)
{
    size_t length = strlen(text);
    return length > 0 && text[length - 1] == '.' ? length - 1 : length;
}

/* Text in which scdoc shall see no formatting, without its full stop. */
static void put(const char *text)
{
    const char *end = text + sentence_length(text);
    for (const char *c = text; c < end; ++c) {
        if (strchr("_*\\<>#+`", *c) != NULL) {
            putchar('\\');
        }
        putchar(*c);
    }
}

static void put_name(const char *text)
{
    putchar('*');
    put(text);
    putchar('*');
}

static const char *status_name(int status)
{
    static const char *const name[] = {"OK",
                                       "CANCELLED",
                                       "UNKNOWN",
                                       "INVALID_ARGUMENT",
                                       "DEADLINE_EXCEEDED",
                                       "NOT_FOUND",
                                       "ALREADY_EXISTS",
                                       "PERMISSION_DENIED",
                                       "RESOURCE_EXHAUSTED",
                                       "FAILED_PRECONDITION",
                                       "ABORTED",
                                       "OUT_OF_RANGE",
                                       "UNIMPLEMENTED",
                                       "INTERNAL",
                                       "UNAVAILABLE",
                                       "DATA_LOSS",
                                       "UNAUTHENTICATED"};
    return status >= 0 && (size_t)status < COUNT(name) ? name[status] : "UNKNOWN";
}

static void put_codes(void)
{
    for (size_t i = 0; i < COUNT(codes); i++) {
        put_name(codes[i].code);
        printf(" ");
        put(codes[i].sentence);
        printf("\n\tgRPC status %d ", codes[i].status);
        put(status_name(codes[i].status));
        printf(", exit code %d.", codes[i].exit_code);
        if (codes[i].remedy[0] != '\0') {
            printf(" Remedy: ");
            put(codes[i].remedy);
            printf(".");
        }
        printf("\n\n");
    }
}

static void put_limits(void)
{
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; row++) {
        put_name(row->key);
        printf(" (%s)\n\t", row->type == NOF1_LIMIT_COUNT ? "whole number" : "share");
        put(row->help);
        printf(". standard %g, ultra-rare %g, loosest %g, open %g. Stricter is %s. Refusal ",
               row->standard, row->ultra_rare, row->floor, row->open,
               row->larger_is_stricter ? "larger" : "smaller");
        put_name(nof1_rc_code(row->code));
        printf(".\n\n");
    }
}

static const char *kind_text(enum nof1_option_kind kind)
{
    static const char *const text[] = {[NOF1_OPT_CHOICE] = "one of",
                                       [NOF1_OPT_NUMBER] = "number",
                                       [NOF1_OPT_NAMES] = "list of names",
                                       [NOF1_OPT_MAP] = "map",
                                       [NOF1_OPT_FLAG] = "true or false"};
    return text[kind];
}

static void put_option(const struct nof1_option *option)
{
    put_name(option->key);
    printf(" (%s", kind_text(option->kind));
    if (option->kind == NOF1_OPT_NUMBER) {
        printf(" from %g to %g", option->lower, option->upper);
    } else if (option->choices != NULL && option->choices[0] != '\0') {
        printf(": ");
        put(option->choices);
    }
    printf(")\n\t");
    put(option->help == NULL ? "" : option->help);
    if (option->default_text != NULL) {
        printf(". Default: ");
        put(option->default_text[0] == '\0' ? "none" : option->default_text);
    }
    printf(".\n\n");
}

static void put_analyses(void)
{
    for (const struct nof1_analysis *const *a = nof1_analysis_all(); *a != NULL; a++) {
        printf("## ");
        put((*a)->id);
        printf("\n\n");
        put((*a)->summary);
        printf(". Version %u.\n\n", (unsigned)(*a)->version);
        for (const struct nof1_option *o = (*a)->option; o != NULL && o->key != NULL; o++) {
            put_option(o);
        }
    }
}

int main(void)
{
    static const struct {
        const char *line;
        void (*put)(void);
    } table[] = {
        {"@ANALYSES@\n", put_analyses}, {"@LIMITS@\n", put_limits}, {"@CODES@\n", put_codes}};
    char line[4096];
    while (fgets(line, sizeof line, stdin) != NULL) {
        size_t i = 0;
        while (i < COUNT(table) && strcmp(line, table[i].line) != 0) {
            i++;
        }
        if (i < COUNT(table)) {
            table[i].put();
        } else {
            fputs(line, stdout);
        }
    }
    return ferror(stdin) != 0 || fflush(stdout) != 0;
}
