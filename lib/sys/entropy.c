/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Random bytes come from the kernel only: there is no state in this process that could be copied by
 * a fork, a snapshot or a core dump.
 */
#include "entropy.h"

#include <errno.h>
#include <sys/random.h>

nof1_rc nof1_random_fill(uint8_t *out, size_t length)
{
    while (length > 0) {
        ssize_t got = getrandom(out, length, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        ENSURE(got > 0, NOF1_E_CRYPTO);
        out += got;
        length -= (size_t)got;
    }
    return NOF1_OK;
}

static nof1_rc_value fill(void *self, uint8_t *out, size_t length)
{
    (void)self;
    return nof1_random_fill(out, length);
}

struct nof1_entropy nof1_random_entropy(void)
{
    return (struct nof1_entropy){.fill = fill, .self = NULL};
}
