/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Command lines: options, words, what is missing, help.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include <sys/arguments.h>

static int read_options(const char *const *words, size_t count, const char **name, bool *flag)
{
    const char *path = NULL;
    char *argv[8] = {NULL};
    for (size_t i = 0; i < count; i++) {
        argv[i] = (char *)(uintptr_t)words[i];
    }
    *name = NULL;
    *flag = false;
    const struct nof1_argument option[] = {{"name", "NAME", name, NULL, "a name", true},
                                           {"path", "PATH", &path, NULL, "a path", false},
                                           {"quiet", NULL, NULL, flag, "a switch", false},
                                           NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {"p --name NAME", "", option, 0};
    return nof1_command_line(&usage, 0, NULL, (int)count, argv, 1);
}

Test(arguments, are_read_strictly)
{
    const char *name = NULL;
    bool flag = false;

    static const struct {
        const char *words[5];
        size_t count;
        int code;
    } cases[] = {
        {{"p", "--name", "x"}, 3, -1},  {{"p", "--name=x", "--quiet"}, 3, -1},
        {{"p", "--quiet"}, 2, 2},       {{"p", "--name"}, 2, 2},
        {{"p", "--name="}, 2, 2},       {{"p", "--insecure", "--name=x"}, 3, 2},
        {{"p", "--name=x", "y"}, 3, 2}, {{"p", "--quiet=1", "--name=x"}, 3, 2},
        {{"p", "--nam", "x"}, 3, 2},    {{"p", "--help"}, 2, 0},
        {{"p", "--version"}, 2, 0},     {{"p", "--", "--name=x"}, 3, 2},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int code = read_options(cases[i].words, cases[i].count, &name, &flag);
        cr_expect_eq(code, cases[i].code, "case %zu: %d", i, code);
        if (code == -1) {
            cr_expect_str_eq(name, "x");
            cr_expect_eq(flag, i == 1);
        }
    }
}

/* The last words may be missing, the first may not; after "--" everything is a word. */
Test(arguments, words_are_taken_in_order)
{
    static const struct {
        const char *argv[5];
        int count, code;
        const char *first, *second;
    } cases[] = {
        {{"p", "a"}, 2, -1, "a", NULL},
        {{"p", "a", "b"}, 3, -1, "a", "b"},
        {{"p"}, 1, 2, NULL, NULL},
        {{"p", "a", "b", "c"}, 4, 2, NULL, NULL},
        {{"p", "a", "--x", "b"}, 4, -1, "a", "b"},
        {{"p", "--", "--x"}, 3, -1, "--x", NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *word[2] = {NULL, NULL};
        bool flag = false;
        char *argv[5];
        const struct nof1_argument option[] = {{"x", NULL, NULL, &flag, "a switch", false},
                                               NOF1_ARGUMENTS_END};
        const struct nof1_usage_text usage = {"p FIRST [SECOND]", "", option, 1};
        for (size_t k = 0; k < 5; k++) {
            argv[k] = (char *)(uintptr_t)cases[i].argv[k];
        }
        int code = nof1_command_line(&usage, 2, word, cases[i].count, argv, 1);
        cr_assert_eq(code, cases[i].code, "case %zu: %d", i, code);
        if (code == -1) {
            cr_expect_str_eq(word[0], cases[i].first);
            cr_expect_eq(word[1] == NULL, cases[i].second == NULL);
            cr_expect(word[1] == NULL || strcmp(word[1], cases[i].second) == 0);
        }
    }
}
