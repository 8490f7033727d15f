/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Frames of proto/nof1.proto, read strictly (docs/protocol.md, "Messages"): memory is capped in
 * proportion to the bytes received, fields nobody knows are refused, texts are UTF-8 of bounded
 * length, hashes, keys and vectors have their exact sizes, and the bytes are the only encoding of
 * their value. Must never be handed to a hash or a signature: those are over crypto/hash.h fields.
 */
#include <core/frame.h>

#include <string.h>

#include <core/capped.h>
#include <crypto/hash.h>
#include <crypto/key.h>
#include <crypto/mask.h>
#include <crypto/ring.h>

#define TEXT_MAX 128
#define REFUSAL_TEXT_MAX 1024
#define DOCUMENT_MAX (8u << 20)
#define ELEMENTS_MAX 1000000u

/* Decoded messages are larger than their bytes, never by more than this for messages of ours. */
#define AMPLIFICATION 8
#define ALLOWANCE (64u << 10)

/* Length of the UTF-8 sequence at `text` (1..4), 0 when it is not one (RFC 3629: no overlong forms,
 * no surrogates, nothing above U+10FFFF). A NUL ends every sequence. */
static size_t utf8_sequence(const unsigned char *text)
{
    unsigned char first = text[0];
    size_t length = first < 0x80 ? 1 : first >= 0xC2 && first <= 0xDF ? 2
                  : first >= 0xE0 && first <= 0xEF ? 3 : first >= 0xF0 && first <= 0xF4 ? 4 : 0;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (first == 0xE0 && text[1] < 0xA0) || (first == 0xF0 && text[1] < 0x90);
    bool surrogate = first == 0xED && text[1] > 0x9F;
    bool too_large = first == 0xF4 && text[1] > 0x8F;
    return overlong || surrogate || too_large ? 0 : length;
}

static bool text_ok(const char *text, size_t most)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t length = 0;
    while (at[length] != 0) {
        size_t step = utf8_sequence(at + length);
        if (step == 0 || length + step > most) {
            return false;
        }
        length += step;
    }
    return true;
}

static bool name_ok(const char *text)
{
    return text[0] != 0 && text_ok(text, TEXT_MAX);
}

static bool known_only(const ProtobufCMessage *base)
{
    return base->n_unknown_fields == 0;
}

static bool hash_ok(ProtobufCBinaryData bytes)
{
    return bytes.len == NOF1_HASH_BYTES;
}

static bool hash_or_empty(ProtobufCBinaryData bytes)
{
    return bytes.len == 0 || hash_ok(bytes);
}

static bool signature_ok(ProtobufCBinaryData bytes)
{
    return bytes.len > 0 && bytes.len <= NOF1_SIGNATURE_MAX;
}

static bool vector_or_empty(ProtobufCBinaryData bytes)
{
    return bytes.len % NOF1_RING_BYTES == 0 && bytes.len / NOF1_RING_BYTES <= ELEMENTS_MAX;
}

static bool vector_ok(ProtobufCBinaryData bytes)
{
    return bytes.len > 0 && vector_or_empty(bytes);
}

static bool earlier_ok(const Nof1__V1__Hello *hello)
{
    bool valid = hello->n_earlier <= NOF1_EPOCHS_MAX;
    for (size_t i = 0; valid && i < hello->n_earlier; i++) {
        valid = hello->earlier[i] > 0 &&
                hello->earlier[i] < (i == 0 ? hello->epoch : hello->earlier[i - 1]);
    }
    return valid;
}

static bool hello_ok(const Nof1__V1__Hello *hello)
{
    return known_only(&hello->base) && name_ok(hello->site) && hash_ok(hello->charter) &&
           text_ok(hello->software, TEXT_MAX) && hash_or_empty(hello->offered) &&
           text_ok(hello->answer, TEXT_MAX) && earlier_ok(hello);
}

static bool charter_offer_ok(const Nof1__V1__CharterOffer *offer)
{
    return known_only(&offer->base) && offer->charter.len > 0 &&
           offer->charter.len <= DOCUMENT_MAX && signature_ok(offer->signature);
}

static bool offer_ok(const Nof1__V1__QueryOffer *offer)
{
    return known_only(&offer->base) && hash_ok(offer->charter) && offer->plan.len > 0 &&
           offer->plan.len <= DOCUMENT_MAX && offer->signature.len <= NOF1_SIGNATURE_MAX &&
           text_ok(offer->statistician, TEXT_MAX);
}

static bool key_ad_ok(const Nof1__V1__KeyAd *ad)
{
    return known_only(&ad->base) && name_ok(ad->site) && hash_ok(ad->charter) &&
           hash_ok(ad->plan) && hash_ok(ad->attempt) && ad->x25519.len == NOF1_X25519_BYTES &&
           hash_ok(ad->nonce) && signature_ok(ad->signature);
}

static bool roster_ok(const Nof1__V1__Roster *roster)
{
    bool ok = known_only(&roster->base) && roster->n_key_ad > 0;
    for (size_t i = 0; ok && i < roster->n_key_ad; i++) {
        ok = key_ad_ok(roster->key_ad[i]);
    }
    return ok;
}

static bool masked_ok(const Nof1__V1__Masked *masked)
{
    return known_only(&masked->base) && name_ok(masked->site) && hash_ok(masked->transcript) &&
           vector_ok(masked->vector) && signature_ok(masked->signature);
}

static bool all_masked_ok(size_t count, Nof1__V1__Masked *const *masked)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = masked_ok(masked[i]);
    }
    return ok;
}

static bool round_open_ok(const Nof1__V1__RoundOpen *open)
{
    return known_only(&open->base) && open->n_parameter <= ELEMENTS_MAX &&
           vector_or_empty(open->previous_total) &&
           all_masked_ok(open->n_previous, open->previous);
}

static bool close_ok(const Nof1__V1__Close *close)
{
    return known_only(&close->base) && vector_ok(close->total) &&
           all_masked_ok(close->n_masked, close->masked);
}

static bool attest_ok(const Nof1__V1__Attest *attest)
{
    return known_only(&attest->base) && name_ok(attest->site) && hash_ok(attest->roster) &&
           hash_ok(attest->transcript) && signature_ok(attest->signature);
}

static bool refusal_ok(const Nof1__V1__Refusal *refusal)
{
    return known_only(&refusal->base) && name_ok(refusal->site) &&
           nof1_rc_from_code(refusal->code) != NOF1_RC_COUNT &&
           text_ok(refusal->text, REFUSAL_TEXT_MAX) && signature_ok(refusal->signature);
}

static bool end_ok(const Nof1__V1__End *end)
{
    return known_only(&end->base) && text_ok(end->code, TEXT_MAX);
}

static bool census_ok(const Nof1__V1__CensusNotice *notice)
{
    return known_only(&notice->base) && notice->epoch > 0 && notice->census.len > 0 &&
           notice->census.len <= DOCUMENT_MAX;
}

/* Every conversation about a query names it and its attempt; link-level frames name neither. */
static bool address_ok(const Nof1__V1__Frame *frame, bool link_level)
{
    return link_level ? frame->query.len == 0 && frame->attempt.len == 0
                      : hash_ok(frame->query) && hash_or_empty(frame->attempt);
}

static bool body_ok(const Nof1__V1__Frame *frame)
{
    switch (frame->body_case) {
    case NOF1__V1__FRAME__BODY_HELLO:
        return address_ok(frame, true) && hello_ok(frame->hello);
    case NOF1__V1__FRAME__BODY_QUERY_OFFER:
        return address_ok(frame, false) && offer_ok(frame->query_offer);
    case NOF1__V1__FRAME__BODY_KEY_AD:
        return address_ok(frame, false) && key_ad_ok(frame->key_ad);
    case NOF1__V1__FRAME__BODY_ROSTER:
        return address_ok(frame, false) && roster_ok(frame->roster);
    case NOF1__V1__FRAME__BODY_ROUND_OPEN:
        return address_ok(frame, false) && round_open_ok(frame->round_open);
    case NOF1__V1__FRAME__BODY_MASKED:
        return address_ok(frame, false) && masked_ok(frame->masked);
    case NOF1__V1__FRAME__BODY_CLOSE:
        return address_ok(frame, false) && close_ok(frame->close);
    case NOF1__V1__FRAME__BODY_ATTEST:
        return address_ok(frame, false) && attest_ok(frame->attest);
    case NOF1__V1__FRAME__BODY_REFUSAL:
        return address_ok(frame, false) && refusal_ok(frame->refusal);
    case NOF1__V1__FRAME__BODY_END:
        return address_ok(frame, false) && end_ok(frame->end);
    case NOF1__V1__FRAME__BODY_CENSUS_NOTICE:
        return address_ok(frame, true) && census_ok(frame->census_notice);
    case NOF1__V1__FRAME__BODY_CHARTER_OFFER:
        return address_ok(frame, true) && charter_offer_ok(frame->charter_offer);
    case NOF1__V1__FRAME__BODY__NOT_SET:
    case _NOF1__V1__FRAME__BODY__CASE_IS_INT_SIZE:
    default:
        return false;
    }
}

nof1_rc nof1_frame_read(const Nof1__V1__Frame **out, struct nof1_arena *arena,
                        struct nof1_slice bytes, struct nof1_error *error)
{
    if (bytes.length == 0 || bytes.length > NOF1_FRAME_MAX) {
        return nof1_fail(error, NOF1_E_DECODE, "a frame of %zu bytes is outside 1..%u",
                         bytes.length, NOF1_FRAME_MAX);
    }
    struct nof1_capped capped;
    nof1_capped_init(&capped, arena, AMPLIFICATION * bytes.length + ALLOWANCE);
    Nof1__V1__Frame *frame = nof1__v1__frame__unpack(&capped.allocator, bytes.length, bytes.data);
    ENSURE(!capped.exhausted, NOF1_E_NO_MEMORY);
    if (frame == NULL) {
        return nof1_fail(error, NOF1_E_DECODE, "not a frame of this protocol");
    }
    if (!known_only(&frame->base) || !body_ok(frame)) {
        return nof1_fail(error, NOF1_E_DECODE, "a field of the frame is unknown, missing, or of "
                                               "the wrong size");
    }
    /* repeated fields, over-long integers and texts with a NUL all change the length */
    if (nof1__v1__frame__get_packed_size(frame) != bytes.length) {
        return nof1_fail(error, NOF1_E_DECODE, "the frame is not encoded in the one allowed way");
    }
    *out = frame;
    return NOF1_OK;
}

nof1_rc nof1_frame_write(struct nof1_slice *out, struct nof1_arena *arena,
                         const Nof1__V1__Frame *frame)
{
    size_t size = nof1__v1__frame__get_packed_size(frame);
    ENSURE(size > 0 && size <= NOF1_FRAME_MAX, NOF1_E_BUG);
    uint8_t *data = nof1_arena_alloc(arena, size, 1);
    ENSURE(data != NULL, NOF1_E_NO_MEMORY);
    ENSURE(nof1__v1__frame__pack(frame, data) == size, NOF1_E_BUG);
    *out = nof1_slice_of(data, size);
    return NOF1_OK;
}
