/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The clock port over clock_gettime(2). A clock that is set back must not make ledger times
 * decrease (docs/threat-model.md, "Limits, plainly").
 */
#include "clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec now = {0};
    (void)clock_gettime(id, &now); /* cannot fail for these two clocks */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t nof1_clock_now(struct nof1_clock *clock)
{
    int64_t now = read_clock(CLOCK_REALTIME), monotonic = read_clock(CLOCK_MONOTONIC);
    if (now >= clock->last) {
        clock->last = now;
        clock->since = 0;
        return now;
    }
    if (clock->since == 0) {
        clock->since = monotonic;
        clock->from = clock->last;
    }
    int64_t slow = clock->from + (monotonic - clock->since) / 2;
    clock->last = slow > clock->last ? slow : clock->last;
    return clock->last;
}

struct timespec nof1_clock_until(const struct nof1_clock *clock, int64_t at, int64_t longest)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int64_t real = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    int64_t left = at - (real < clock->last ? clock->last : real);
    if (left <= 0 || longest <= 0) {
        return (struct timespec){0};
    }
    if (left > longest) {
        return (struct timespec){.tv_sec = longest / 1000, .tv_nsec = longest % 1000 * 1000000};
    }
    int64_t nanoseconds = left * 1000000 - (real < clock->last ? 0 : now.tv_nsec % 1000000);
    return (struct timespec){.tv_sec = nanoseconds / 1000000000,
                             .tv_nsec = nanoseconds % 1000000000};
}

int64_t nof1_clock_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t nof1_clock_microseconds(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
