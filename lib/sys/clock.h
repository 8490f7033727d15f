/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The clock port: UTC milliseconds that never run backwards, not even across a restart (start it
 * with the last time the ledger holds), and a monotone clock for waiting.
 */
#ifndef NOF1_SYS_CLOCK_H
#define NOF1_SYS_CLOCK_H

#include <stdint.h>

/* Zero-initialise, or set last to the newest time already written down. */
struct nof1_clock {
    int64_t last; /* milliseconds UTC */
};

/* max(system clock, every earlier answer), milliseconds UTC. */
int64_t nof1_clock_now(struct nof1_clock *clock);
/* Milliseconds since an arbitrary start; unaffected by changes of the date. */
int64_t nof1_clock_monotonic(void);
int64_t nof1_clock_microseconds(void); /* the same, in microseconds */

#endif
