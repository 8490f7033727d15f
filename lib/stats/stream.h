/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Random bits from a trial's private seed (include/nof1/trial.h): the ChaCha20 key stream of RFC
 * 8439 with a zero nonce. The same seed always gives the same bits, so asking again averages
 * nothing away; who does not know the seed cannot tell the bits from noise.
 */
#ifndef NOF1_STATS_STREAM_H
#define NOF1_STATS_STREAM_H

#include <stddef.h>
#include <stdint.h>

#define NOF1_SEED_BYTES 32

struct nof1_stream {
    uint32_t key[8], block[16];
    uint32_t counter;
    size_t used; /* bits of the block */
};

void nof1_stream_start(struct nof1_stream *stream, const uint8_t seed[NOF1_SEED_BYTES]);
/* The next bit, 0 or 1. After 2^32 blocks the stream repeats: no analysis draws as many. */
unsigned nof1_stream_bit(struct nof1_stream *stream);

#endif
