/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Frames: what is written is read back; everything that is not exactly a frame of the protocol is
 * refused; memory stays in proportion to the bytes received.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <core/frame.h>

static uint8_t bytes_of[4096];

static ProtobufCBinaryData some(size_t length)
{
    return (ProtobufCBinaryData){length, bytes_of};
}

static Nof1__V1__Frame addressed(void)
{
    Nof1__V1__Frame frame = NOF1__V1__FRAME__INIT;
    frame.query = some(32);
    frame.attempt = some(32);
    return frame;
}

static Nof1__V1__Masked good_masked(void)
{
    Nof1__V1__Masked masked = NOF1__V1__MASKED__INIT;
    masked.site = (char *)(uintptr_t) "north";
    masked.round = 1;
    masked.transcript = some(32);
    masked.vector = some(96);
    masked.signature = some(70);
    return masked;
}

static nof1_rc_value read_bytes(struct nof1_slice bytes)
{
    struct nof1_arena *arena = nof1_arena_new();
    const Nof1__V1__Frame *frame = NULL;
    nof1_rc_value rc = nof1_frame_read(&frame, arena, bytes, NULL);
    nof1_arena_free(arena);
    return rc;
}

static nof1_rc_value through(const Nof1__V1__Frame *frame)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_slice bytes;
    cr_assert_eq(nof1_frame_write(&bytes, arena, frame), NOF1_OK);
    nof1_rc_value rc = read_bytes(bytes);
    nof1_arena_free(arena);
    return rc;
}

static nof1_rc_value through_masked(Nof1__V1__Masked masked)
{
    Nof1__V1__Frame frame = addressed();
    frame.body_case = NOF1__V1__FRAME__BODY_MASKED;
    frame.masked = &masked;
    return through(&frame);
}

Test(frame, round_trip_keeps_every_field)
{
    struct nof1_arena *arena = nof1_arena_new();
    Nof1__V1__Frame frame = addressed();
    Nof1__V1__Masked one = good_masked();
    Nof1__V1__Masked two = good_masked();
    Nof1__V1__Masked *list[] = {&one, &two};
    Nof1__V1__RoundOpen open = NOF1__V1__ROUND_OPEN__INIT;
    uint64_t bits[] = {0, UINT64_MAX, 1};
    const Nof1__V1__Frame *back = NULL;
    struct nof1_slice bytes;
    two.site = (char *)(uintptr_t) "S\xc3\xbc"
                                   "d";
    open.round = 2;
    open.n_parameter = 3;
    open.parameter = bits;
    open.previous_total = some(96);
    open.n_previous = 2;
    open.previous = list;
    frame.body_case = NOF1__V1__FRAME__BODY_ROUND_OPEN;
    frame.round_open = &open;
    cr_assert_eq(nof1_frame_write(&bytes, arena, &frame), NOF1_OK);
    cr_assert_eq(nof1_frame_read(&back, arena, bytes, NULL), NOF1_OK);
    cr_assert_eq(back->body_case, NOF1__V1__FRAME__BODY_ROUND_OPEN);
    cr_expect_eq(back->round_open->n_parameter, 3u);
    cr_expect_eq(back->round_open->parameter[1], UINT64_MAX);
    cr_expect_eq(back->round_open->previous_total.len, 96u);
    cr_expect_str_eq(back->round_open->previous[1]->site, two.site);
    cr_expect_eq(back->round_open->previous[0]->vector.len, 96u);
    nof1_arena_free(arena);
}

Test(frame, wrong_sizes_are_refused)
{
    cr_expect_eq(through_masked(good_masked()), NOF1_OK);
    static const size_t transcript[] = {0, 31, 33, 64};
    static const size_t vector[] = {0, 1, 31, 33, 95};
    static const size_t signature[] = {0, 81, 200};
    for (size_t i = 0; i < sizeof transcript / sizeof *transcript; i++) {
        Nof1__V1__Masked masked = good_masked();
        masked.transcript = some(transcript[i]);
        cr_expect_eq(through_masked(masked), NOF1_E_DECODE, "transcript %zu", transcript[i]);
    }
    for (size_t i = 0; i < sizeof vector / sizeof *vector; i++) {
        Nof1__V1__Masked masked = good_masked();
        masked.vector = some(vector[i]);
        cr_expect_eq(through_masked(masked), NOF1_E_DECODE, "vector %zu", vector[i]);
    }
    for (size_t i = 0; i < sizeof signature / sizeof *signature; i++) {
        Nof1__V1__Masked masked = good_masked();
        masked.signature = some(signature[i]);
        cr_expect_eq(through_masked(masked), NOF1_E_DECODE, "signature %zu", signature[i]);
    }
    Nof1__V1__Frame frame = addressed();
    Nof1__V1__End end = NOF1__V1__END__INIT;
    frame.body_case = NOF1__V1__FRAME__BODY_END;
    frame.end = &end;
    cr_expect_eq(through(&frame), NOF1_OK);
    frame.query = some(31);
    cr_expect_eq(through(&frame), NOF1_E_DECODE, "a query's name has 32 bytes");
    frame.query = some(0);
    cr_expect_eq(through(&frame), NOF1_E_DECODE, "a query is named");
    frame.body_case = NOF1__V1__FRAME__BODY__NOT_SET;
    frame.query = some(32);
    cr_expect_eq(through(&frame), NOF1_E_DECODE, "a frame has a body");
}

Test(frame, texts_are_utf8_of_bounded_length)
{
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "a\xc3",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xe0\x80\xaf",
                                      "\xf0\x80\x80\xaf",
                                      "\xff",
                                      ""};
    static const char *const good[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                       "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"};
    char longest[200];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Nof1__V1__Masked masked = good_masked();
        masked.site = (char *)(uintptr_t)bad[i];
        cr_expect_eq(through_masked(masked), NOF1_E_DECODE, "bad text %zu", i);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        Nof1__V1__Masked masked = good_masked();
        masked.site = (char *)(uintptr_t)good[i];
        cr_expect_eq(through_masked(masked), NOF1_OK, "good text %zu", i);
    }
    memset(longest, 'x', sizeof longest);
    Nof1__V1__Masked masked = good_masked();
    masked.site = longest;
    longest[128] = 0;
    cr_expect_eq(through_masked(masked), NOF1_OK);
    longest[128] = 'x';
    longest[129] = 0;
    cr_expect_eq(through_masked(masked), NOF1_E_DECODE);
}

/* Bytes by hand: End {released} of a query, then what a careless reader would let pass. */
Test(frame, one_value_has_one_encoding)
{
    uint8_t frame[128] = {0x0a, 32};
    size_t end = 34;
    const uint8_t body[] = {0x9a, 0x01, 0x02, 0x08, 0x01};
    memcpy(frame + end, body, sizeof body);
    size_t length = end + sizeof body;
    cr_expect_eq(read_bytes(nof1_slice_of(frame, length)), NOF1_OK);
    /* an unknown field, in the frame and in the body */
    static const uint8_t unknown[] = {0x98, 0x06, 0x01};
    memcpy(frame + length, unknown, sizeof unknown);
    cr_expect_eq(read_bytes(nof1_slice_of(frame, length + sizeof unknown)), NOF1_E_DECODE);
    const uint8_t inner[] = {0x9a, 0x01, 0x04, 0x08, 0x01, 0x38, 0x01};
    memcpy(frame + end, inner, sizeof inner);
    cr_expect_eq(read_bytes(nof1_slice_of(frame, end + sizeof inner)), NOF1_E_DECODE);
    /* the body twice, a default written out, a long integer, a text that hides bytes behind a NUL
     */
    memcpy(frame + end, body, sizeof body);
    memcpy(frame + length, body, sizeof body);
    cr_expect_eq(read_bytes(nof1_slice_of(frame, length + sizeof body)), NOF1_E_DECODE);
    const uint8_t zero[] = {0x9a, 0x01, 0x02, 0x08, 0x00};
    memcpy(frame + end, zero, sizeof zero);
    cr_expect_eq(read_bytes(nof1_slice_of(frame, length)), NOF1_E_DECODE);
    const uint8_t padded[] = {0x9a, 0x01, 0x03, 0x08, 0x81, 0x00};
    memcpy(frame + end, padded, sizeof padded);
    cr_expect_eq(read_bytes(nof1_slice_of(frame, end + sizeof padded)), NOF1_E_DECODE);
    const uint8_t hidden[] = {0x9a, 0x01, 0x05, 0x12, 0x03, 'E', 0x00, 'x'};
    memcpy(frame + end, hidden, sizeof hidden);
    cr_expect_eq(read_bytes(nof1_slice_of(frame, end + sizeof hidden)), NOF1_E_DECODE);
    cr_expect_eq(read_bytes((struct nof1_slice){0}), NOF1_E_DECODE);
}

Test(frame, memory_stays_in_proportion)
{
    /* a million empty vectors in two bytes each: 56 times their bytes if it were decoded */
    size_t many = 1u << 20;
    uint8_t *frame = calloc(1, 2 * many + 64);
    cr_assert_not_null(frame);
    size_t at = 0;
    frame[at++] = 0x0a;
    frame[at++] = 32;
    at += 32;
    const uint8_t head[] = {0x82, 0x01, 0x80, 0x80, 0x80, 0x01}; /* Close of 2^21 bytes */
    memcpy(frame + at, head, sizeof head);
    at += sizeof head;
    for (size_t i = 0; i < many; i++) {
        frame[at++] = 0x1a;
        frame[at++] = 0;
    }
    cr_expect_eq(read_bytes(nof1_slice_of(frame, at)), NOF1_E_DECODE);
    free(frame);
    cr_expect_eq(read_bytes(nof1_slice_of(bytes_of, (size_t)NOF1_FRAME_MAX + 1)), NOF1_E_DECODE);
}
