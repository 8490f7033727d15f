/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Borrowed bytes. Comparison is not constant-time: never for secrets (OpenSSL's CRYPTO_memcmp is).
 */
#include <nof1/slice.h>

#include <string.h>

struct nof1_slice nof1_slice_text(const char *text)
{
    return nof1_slice_of(text, text == NULL ? 0 : strlen(text));
}

bool nof1_slice_equal(struct nof1_slice a, struct nof1_slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}
