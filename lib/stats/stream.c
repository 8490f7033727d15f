/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ChaCha20 (RFC 8439, section 2.3) as a stream of bits: see stream.h.
 */
#include <stats/stream.h>

#include <string.h>

static uint32_t rotate(uint32_t x, int n)
{
    return (x << n) | (x >> (32 - n));
}

static void quarter(uint32_t *x, size_t a, size_t b, size_t c, size_t d)
{
    x[a] += x[b];
    x[d] = rotate(x[d] ^ x[a], 16);
    x[c] += x[d];
    x[b] = rotate(x[b] ^ x[c], 12);
    x[a] += x[b];
    x[d] = rotate(x[d] ^ x[a], 8);
    x[c] += x[d];
    x[b] = rotate(x[b] ^ x[c], 7);
}

static void next_block(struct nof1_stream *stream)
{
    uint32_t start[16] = {0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u};
    memcpy(start + 4, stream->key, sizeof stream->key);
    start[12] = stream->counter++;
    memcpy(stream->block, start, sizeof start);
    for (int i = 0; i < 10; i++) {
        for (size_t c = 0; c < 4; c++) {
            quarter(stream->block, c, c + 4, c + 8, c + 12);
        }
        for (size_t c = 0; c < 4; c++) {
            quarter(stream->block, c, 4 + (c + 1) % 4, 8 + (c + 2) % 4, 12 + (c + 3) % 4);
        }
    }
    for (size_t i = 0; i < 16; i++) {
        stream->block[i] += start[i];
    }
    stream->used = 0;
}

void nof1_stream_start(struct nof1_stream *stream, const uint8_t seed[NOF1_SEED_BYTES])
{
    *stream = (struct nof1_stream){.used = 8 * sizeof stream->block};
    for (size_t i = 0; i < NOF1_SEED_BYTES; i++) {
        stream->key[i / 4] |= (uint32_t)seed[i] << (8 * (i % 4));
    }
}

unsigned nof1_stream_bit(struct nof1_stream *stream)
{
    if (stream->used == 8 * sizeof stream->block) {
        next_block(stream);
    }
    size_t at = stream->used++;
    return (stream->block[at / 32] >> (at % 32)) & 1u;
}
