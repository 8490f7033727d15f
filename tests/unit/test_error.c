/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The table of codes: complete, unique, reachable by its text, with the documented exit codes;
 * error objects and their one-line text.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <nof1/error.h>

Test(error, every_row_is_complete_and_reachable_by_its_code)
{
    for (int i = 0; i < (int)NOF1_RC_COUNT; i++) {
        nof1_rc_value rc = (nof1_rc_value)i;
        const char *code = nof1_rc_code(rc);
        unsigned number = 0;
        char rest = 0;
        cr_expect_eq(strlen(code), 5, "%s", code);
        cr_expect_eq(sscanf(code, "E%4u%c", &number, &rest), 1, "%s", code);
        cr_expect_eq(nof1_rc_from_code(code), rc, "%s is not unique", code);
        cr_expect(nof1_rc_sentence(rc)[0] != '\0', "%s has no sentence", code);
        cr_expect(rc == NOF1_OK || nof1_rc_remedy(rc)[0] != '\0', "%s has no remedy", code);
        cr_expect(strpbrk(nof1_rc_sentence(rc), "%\n") == NULL, "%s", code);
        cr_expect(strpbrk(nof1_rc_remedy(rc), "%\n") == NULL, "%s", code);
    }
    cr_expect_eq(nof1_rc_from_code("E9999"), NOF1_RC_COUNT);
    cr_expect_eq(nof1_rc_from_code(""), NOF1_RC_COUNT);
    cr_expect_eq(nof1_rc_from_code(NULL), NOF1_RC_COUNT);
}

Test(error, exit_codes_and_statuses_are_the_documented_ones)
{
    static const int exits[] = {0, 1, 2, 3, 4, 5, 6, 66, 69, 70, 75, 77, 78, 130};
    static const int statuses[] = {0, 1, 3, 4, 7, 8, 9, 10, 13, 14, 16};
    for (int i = 0; i < (int)NOF1_RC_COUNT; i++) {
        nof1_rc_value rc = (nof1_rc_value)i;
        bool exit_known = false;
        bool status_known = false;
        for (size_t e = 0; e < sizeof exits / sizeof exits[0]; e++) {
            exit_known = exit_known || exits[e] == nof1_rc_exit_code(rc);
        }
        for (size_t s = 0; s < sizeof statuses / sizeof statuses[0]; s++) {
            status_known = status_known || statuses[s] == nof1_rc_grpc_status(rc);
        }
        cr_expect(exit_known, "%s: exit %d", nof1_rc_code(rc), nof1_rc_exit_code(rc));
        cr_expect(status_known, "%s: status %d", nof1_rc_code(rc), nof1_rc_grpc_status(rc));
        cr_expect_eq(rc == NOF1_OK, nof1_rc_exit_code(rc) == 0, "%s", nof1_rc_code(rc));
        cr_expect_eq(rc == NOF1_OK, nof1_rc_grpc_status(rc) == 0, "%s", nof1_rc_code(rc));
    }

    static const struct {
        nof1_rc_value rc;
        int code;
    } named[] = {{NOF1_E_USAGE, 2},  {NOF1_E2201, 3},     {NOF1_E2210, 3},
                 {NOF1_E2301, 3},    {NOF1_E_EXPIRED, 4}, {NOF1_E2505, 5},
                 {NOF1_E_INPUT, 66}, {NOF1_E2403, 66},    {NOF1_E_UNREACHABLE, 69},
                 {NOF1_E_BUG, 70},   {NOF1_E2501, 75},    {NOF1_E_UNAUTHORISED, 77},
                 {NOF1_E_CONFIG, 78}};

    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        cr_expect_eq(nof1_rc_exit_code(named[i].rc), named[i].code, "%s",
                     nof1_rc_code(named[i].rc));
    }
}

Test(error, an_rc_outside_the_table_reads_as_a_bug)
{
    cr_expect_str_eq(nof1_rc_code((nof1_rc_value)1000), nof1_rc_code(NOF1_E_BUG));
    cr_expect_eq(nof1_rc_exit_code((nof1_rc_value)-1), 70);
}

Test(error, objects_hold_place_and_message_and_print_on_one_line)
{
    struct nof1_error error = {0};
    char text[1200];
    cr_expect_eq(nof1_fail_at(&error, NOF1_E_INPUT, "a.csv", 3, 7, "value %d", 12), NOF1_E_INPUT);
    cr_expect_eq(error.rc, NOF1_E_INPUT);
    cr_expect_eq(error.line, 3u);
    cr_expect_eq(error.column, 7u);
    nof1_error_text(&error, text, sizeof text);
    cr_expect_str_eq(text, "a.csv:3:7: value 12 (E1002: correct the named file, line and field)");
    /* the arguments may come from the object that is overwritten */
    cr_expect_eq(nof1_fail(&error, NOF1_E2205, "again: %s", error.message), NOF1_E2205);
    cr_expect_str_eq(error.message, "again: value 12");
    cr_expect_str_eq(error.file, "");
    cr_expect_eq(error.line, 0u);
    nof1_error_text(&error, text, sizeof text);
    cr_expect(strncmp(text, "again: value 12 (E2205: ", 24) == 0, "%s", text);
    cr_expect_eq(nof1_fail(NULL, NOF1_E_IO, "nobody reads this"), NOF1_E_IO);
    error = (struct nof1_error){.rc = NOF1_E2313};
    nof1_error_text(&error, text, sizeof text);
    cr_expect_str_eq(text, "the site is paused (E2313: ask the site)");
}

Test(error, texts_that_do_not_fit_are_cut_and_terminated)
{
    struct nof1_error error = {0};
    char file[1000];
    char text[40];
    memset(file, 'f', sizeof file);
    file[sizeof file - 1] = '\0';
    (void)nof1_fail_at(&error, NOF1_E_INPUT, file, 1, 0, "%s", file);
    cr_expect_eq(strlen(error.file), sizeof error.file - 1);
    cr_expect_eq(strlen(error.message), sizeof error.message - 1);
    for (size_t size = 1; size <= sizeof text; size++) {
        memset(text, '#', sizeof text);
        nof1_error_text(&error, text, size);
        cr_expect_eq(strlen(text), size - 1);
    }
    nof1_error_text(&error, text, 0);
}
