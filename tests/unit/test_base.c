/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Numbers as text, UTC time, log lines.
 */
#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include <base/json.h>
#include <base/log.h>
#include <base/time.h>

#include "support.h"

Test(base, doubles_survive_text_and_hex)
{
    struct test_random random = {7};
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = test_random_next(&random);
        double value;
        double back = 0;
        char text[NOF1_DOUBLE_TEXT];
        char hex[17];
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        nof1_double_short(text, value);
        cr_assert(nof1_double_read(&back, text) && back == value, "%s", text);
        nof1_double_hex(hex, value);
        cr_assert(nof1_double_unhex(&back, hex) && memcmp(&back, &value, 8) == 0, "%s", hex);
    }

    static const struct {
        double value;
        const char *text, *hex;
    } known[] = {{0.1, "0.1", "3fb999999999999a"},
                 {1, "1", "3ff0000000000000"},
                 {-0.0, "-0", "8000000000000000"},
                 {1e300, "1e+300", "7e37e43c8800759c"},
                 {1.0 / 3, "0.3333333333333333", "3fd5555555555555"}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char text[NOF1_DOUBLE_TEXT];
        char hex[17];
        nof1_double_short(text, known[i].value);
        nof1_double_hex(hex, known[i].value);
        cr_expect_str_eq(text, known[i].text);
        cr_expect_str_eq(hex, known[i].hex);
    }
    char text[NOF1_DOUBLE_TEXT];
    nof1_double_short(text, NAN);
    cr_expect_str_eq(text, "null");
    nof1_double_short(text, INFINITY);
    cr_expect_str_eq(text, "null");
}

Test(base, only_plain_decimals_are_numbers)
{
    static const char *const good[] = {"0", "-1", "+1.5", ".5", "5.", "1e3", "1E-3", "-1.25e+2"};
    static const char *const bad[] = {"",      " 1",  "1 ",  "0x10",     "inf", "nan",
                                      "-",     ".",   "1e",  "e1",       "1,5", "1e999",
                                      "1.2.3", "--1", "1e+", "infinity", "1_0"};
    double value;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_expect(nof1_double_read(&value, good[i]), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect(!nof1_double_read(&value, bad[i]), "%s", bad[i]);
    }
    static const char *const bad_hex[] = {"", "3ff", "3FF0000000000000", "3ff00000000000000",
                                          "3ff000000000000g"};
    for (size_t i = 0; i < sizeof bad_hex / sizeof bad_hex[0]; i++) {
        cr_expect(!nof1_double_unhex(&value, bad_hex[i]), "%s", bad_hex[i]);
    }
}

Test(base, numbers_ignore_a_locale_with_a_decimal_comma)
{
    /* Where the locale is not installed, the C locale stays and the test still holds. */
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"};
    for (size_t i = 0; i < 3 && setlocale(LC_ALL, names[i]) == NULL; i++) {
    }
    char text[NOF1_DOUBLE_TEXT];
    double value = 0;
    nof1_double_short(text, 1.5);
    cr_expect_str_eq(text, "1.5");
    cr_expect(nof1_double_read(&value, "2.5") && value == 2.5);
}

Test(base, json_for_people_has_17_digits_and_no_nan)
{
    struct nof1_buffer out = {0};
    json_t *object = json_pack("{s:o,s:o}", "b", nof1_json_number(0.1), "a", nof1_json_number(NAN));
    cr_assert_eq(nof1_json_write(&out, object, false), NOF1_OK);
    cr_expect(nof1_slice_equal(nof1_buffer_slice(&out),
                               nof1_slice_text("{\"b\":0.10000000000000001,\"a\":null}")));
    nof1_json_freep(&object);
    cr_expect_null(object);
    nof1_buffer_free(&out);
}

Test(base, times_survive_and_match_the_calendar)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } known[] = {{0, "1970-01-01T00:00:00Z"},
                 {951782399, "2000-02-28T23:59:59Z"},
                 {951782400, "2000-02-29T00:00:00Z"},
                 {1777593600, "2026-05-01T00:00:00Z"},
                 {-1, "1969-12-31T23:59:59Z"},
                 {4107542400, "2100-03-01T00:00:00Z"},
                 {-62135596800, "0001-01-01T00:00:00Z"},
                 {253402300799, "9999-12-31T23:59:59Z"}};

    char text[NOF1_TIME_TEXT];
    int64_t seconds = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        nof1_time_text(text, known[i].seconds);
        cr_expect_str_eq(text, known[i].text);
        cr_expect(nof1_time_read(&seconds, text) && seconds == known[i].seconds, "%s", text);
    }
    for (int64_t s = -62135596800; s < 253402300799; s += 86400 * 37 + 12345) {
        nof1_time_text(text, s);
        cr_assert(nof1_time_read(&seconds, text) && seconds == s, "%s", text);
    }
    nof1_time_text(text, INT64_MAX);
    cr_expect_str_eq(text, "9999-12-31T23:59:59Z");
    nof1_time_text(text, INT64_MIN);
    cr_expect_str_eq(text, "0001-01-01T00:00:00Z");
    cr_expect(nof1_time_read(&seconds, "2026-05-01") && seconds == 1777593600);
    cr_expect(nof1_date_read(&seconds, "1970-01-02") && seconds == 1);
}

Test(base, other_texts_are_no_times)
{
    static const char *const bad[] = {"",
                                      "2026-05-01T00:00:00",
                                      "2026-05-01 00:00:00Z",
                                      "2026-02-29",
                                      "2100-02-29",
                                      "2026-13-01",
                                      "2026-00-01",
                                      "2026-01-00",
                                      "2026-01-32",
                                      "0000-01-01",
                                      "2026-1-1",
                                      "26-01-01",
                                      "2026-05-01T24:00:00Z",
                                      "2026-05-01T00:60:00Z",
                                      "2026-05-01T00:00:60Z",
                                      "2026-05-01T00:00:00z",
                                      "2026-05-01T00:00:00+00",
                                      "2026-05-01T-1:00:00Z",
                                      "2026-05-0a"};
    int64_t seconds;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect(!nof1_time_read(&seconds, bad[i]), "%s", bad[i]);
    }
    cr_expect(!nof1_date_read(&seconds, "2026-05-01T00:00:00Z"));
}

/* What the logger wrote into a pipe. */
static void read_pipe(int descriptor, char *text, size_t size)
{
    ssize_t length = read(descriptor, text, size - 1);
    text[length < 0 ? 0 : length] = '\0';
}

Test(base, log_lines_are_typed_and_quoted)
{
    int end[2];
    char text[8192];
    cr_assert_eq(pipe(end), 0);
    nof1_log_setup(end[1], NOF1_LOG_INFO, false);
    nof1_log(NOF1_LOG_DEBUG, "not.wanted", NOF1_LOG_NO_FIELDS);
    nof1_log(NOF1_LOG_INFO, "query.accepted",
             NOF1_LOG_FIELDS(nof1_log_hex("query", "\x01\xab", 2), nof1_log_text("id", "north"),
                             nof1_log_text("title", "a \"b\"\n\xc3\xa9"), nof1_log_text("none", ""),
                             nof1_log_integer("round", -3), nof1_log_flag("open", true)));
    read_pipe(end[0], text, sizeof text);
    cr_expect_str_eq(text, "level=info event=query.accepted query=01ab id=north "
                           "title=\"a \\\"b\\\"\\u000a\\u00c3\\u00a9\" none=\"\" round=-3 "
                           "open=true\n");
    nof1_log_setup(end[1], NOF1_LOG_INFO, true);
    struct nof1_error error = {0};
    (void)nof1_fail_at(&error, NOF1_E2205, "f", 2, 3, "why=x");
    nof1_log_error(NOF1_LOG_WARNING, "query.refused", &error);
    read_pipe(end[0], text, sizeof text);
    cr_expect_str_eq(text, "<4>level=warning event=query.refused code=E2205 message=\"why=x\" "
                           "file=f line=2 column=3\n");
    nof1_log_setup(STDERR_FILENO, NOF1_LOG_INFO, false);
}

Test(base, a_long_log_line_is_cut_at_a_field)
{
    int end[2];
    char text[8192];
    char value[5000];
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    cr_assert_eq(pipe(end), 0);
    nof1_log_setup(end[1], NOF1_LOG_INFO, false);
    nof1_log(NOF1_LOG_INFO, "e",
             NOF1_LOG_FIELDS(nof1_log_integer("a", 1), nof1_log_text("long", value),
                             nof1_log_integer("b", 2)));
    read_pipe(end[0], text, sizeof text);
    cr_expect_str_eq(text, "level=info event=e a=1\n");
    nof1_log_setup(STDERR_FILENO, NOF1_LOG_INFO, false);
}
