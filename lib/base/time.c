/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Civil calendar to day number and back, after H. Hinnant, "chrono-compatible low-level date
 * algorithms" (eras of 400 years that start in March, so that the leap day ends the year).
 */
#include "time.h"

#include <stdio.h>
#include <string.h>

#define DAY 86400
#define FIRST_SECOND (-62135596800LL) /* 0001-01-01T00:00:00Z */
#define LAST_SECOND 253402300799LL    /* 9999-12-31T23:59:59Z */

static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static int days_in_month(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Two or four digits at text; -1 when they are not digits. */
static int digits(const char *text, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

/* The first ten characters as a date. */
static bool read_date(int64_t *days, const char *text)
{
    int year = digits(text, 4);
    if (year < 1 || text[4] != '-' || text[7] != '-') {
        return false;
    }
    int month = digits(text + 5, 2);
    int day = digits(text + 8, 2);
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) {
        return false;
    }
    *days = days_of(year, month, day);
    return true;
}

bool nof1_date_read(int64_t *days, const char *text)
{
    return strlen(text) == 10 && read_date(days, text);
}

bool nof1_time_read(int64_t *seconds, const char *text)
{
    size_t length = strlen(text);
    int64_t days;
    if ((length != 10 && length != 20) || !read_date(&days, text)) {
        return false;
    }
    *seconds = days * DAY;
    if (length == 10) {
        return true;
    }
    int hour = digits(text + 11, 2);
    int minute = digits(text + 14, 2);
    int second = digits(text + 17, 2);
    if (text[10] != 'T' || text[13] != ':' || text[16] != ':' || text[19] != 'Z' || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) {
        return false;
    }
    *seconds += hour * 3600 + minute * 60 + second;
    return true;
}

void nof1_time_text(char out[NOF1_TIME_TEXT], int64_t seconds)
{
    seconds = seconds < FIRST_SECOND ? FIRST_SECOND : seconds;
    seconds = seconds > LAST_SECOND ? LAST_SECOND : seconds;
    int64_t second_of_day = ((seconds % DAY) + DAY) % DAY;
    int64_t shifted = (seconds - second_of_day) / DAY + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    int64_t month = shifted_month + (shifted_month < 10 ? 3 : -9);
    int64_t year = year_of_era + era * 400 + (month <= 2);
    char text[64]; /* wide enough for what the compiler thinks the ranges are */
    snprintf(text, sizeof text, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)year % 10000u,
             (unsigned)month % 100u, (unsigned)day % 100u, (unsigned)(second_of_day / 3600),
             (unsigned)(second_of_day / 60 % 60), (unsigned)(second_of_day % 60));
    memcpy(out, text, NOF1_TIME_TEXT - 1);
    out[NOF1_TIME_TEXT - 1] = '\0';
}
