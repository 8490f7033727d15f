/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as a frame: refused, or read into fields of the promised sizes whose only encoding
 * these bytes are. Memory stays in proportion to the input.
 */
#include <core/frame.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_sizes(const Nof1__V1__Frame *frame)
{
    bool link_level = frame->body_case == NOF1__V1__FRAME__BODY_HELLO ||
                      frame->body_case == NOF1__V1__FRAME__BODY_CENSUS_NOTICE ||
                      frame->body_case == NOF1__V1__FRAME__BODY_CHARTER_OFFER;
    must(frame->query.len == (link_level ? 0u : 32u));
    if (frame->body_case == NOF1__V1__FRAME__BODY_MASKED) {
        must(frame->masked->vector.len % 32 == 0 && frame->masked->transcript.len == 32);
        must(frame->masked->signature.len <= 80);
    }
    if (frame->body_case == NOF1__V1__FRAME__BODY_ROSTER) {
        for (size_t i = 0; i < frame->roster->n_key_ad; i++) {
            must(frame->roster->key_ad[i]->x25519.len == 32);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nof1_arena *arena = nof1_arena_new();
    const Nof1__V1__Frame *frame = NULL;
    struct nof1_slice again;
    must(arena != NULL);
    if (nof1_frame_read(&frame, arena, nof1_slice_of(data, size), NULL) == NOF1_OK) {
        check_sizes(frame);
        must(nof1_frame_write(&again, arena, frame) == NOF1_OK);
        must(again.length == size);
        const Nof1__V1__Frame *twice = NULL;
        must(nof1_frame_read(&twice, arena, again, NULL) == NOF1_OK);
        must(twice->body_case == frame->body_case);
    }
    nof1_arena_free(arena);
    return 0;
}
