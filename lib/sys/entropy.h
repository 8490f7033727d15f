/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The entropy port over the kernel's generator.
 */
#ifndef NOF1_SYS_ENTROPY_H
#define NOF1_SYS_ENTROPY_H

#include <core/session.h>

/* Fill out with random bytes from getrandom(2). Errors: NOF1_E_CRYPTO. */
nof1_rc nof1_random_fill(uint8_t *out, size_t length);
/* The same as a port; owns nothing. */
struct nof1_entropy nof1_random_entropy(void);

#endif
