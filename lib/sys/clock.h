/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The clock port: UTC milliseconds that never run backwards, not even across a restart (start it
 * with the last time the ledger holds), and a monotone clock for waiting.
 */
#ifndef NOF1_SYS_CLOCK_H
#define NOF1_SYS_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Zero-initialise, or set last to the newest time already written down. */
struct nof1_clock {
    int64_t last;        /* milliseconds UTC */
    int64_t from,
        since; /* while the system clock is behind: last and the monotone clock as of then */
};

/* The system clock, milliseconds UTC; while it is behind an earlier answer, that answer going on at
 * half speed, so that a corrected date stops nothing. */
int64_t nof1_clock_now(struct nof1_clock *clock);
/* From now to `at`, at most `longest` milliseconds, for ppoll(2): exact, so that the moment of
 * waking tells nothing about the fraction of a millisecond at which the waiting began. */
struct timespec nof1_clock_until(const struct nof1_clock *clock, int64_t at, int64_t longest);
/* Milliseconds since an arbitrary start; unaffected by changes of the date. */
int64_t nof1_clock_monotonic(void);
int64_t nof1_clock_microseconds(void); /* the same, in microseconds */

#endif
