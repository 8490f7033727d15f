/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The clock port over clock_gettime(2). A clock that is set back must not make ledger times
 * decrease: docs/protocol.md, time and faults.
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
    int64_t now = read_clock(CLOCK_REALTIME);
    if (now > clock->last) {
        clock->last = now;
    }
    return clock->last;
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
