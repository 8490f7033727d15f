/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Unary messages over protobuf-c: see unary.h. protobuf-c has no limit of its own on what a message
 * may grow to, hence the allocator.
 */
#include "unary.h"

#include <string.h>

#include <core/capped.h>
#include <proto/nof1.pb-c.h>

#define MESSAGE_MAX ((size_t)64 << 20)
#define ALLOWANCE ((size_t)4096) /* fixed parts of a decoded message */

static nof1_rc decode(const ProtobufCMessage **out, const ProtobufCMessageDescriptor *descriptor,
                      struct nof1_arena *arena, struct nof1_slice bytes, struct nof1_error *error)
{
    static const uint8_t nothing = 0;
    struct nof1_capped capped;
    nof1_capped_init(&capped, arena, 2 * bytes.length + ALLOWANCE);
    *out = bytes.length > MESSAGE_MAX
               ? NULL
               : protobuf_c_message_unpack(descriptor, &capped.allocator, bytes.length,
                                           bytes.data == NULL ? &nothing : bytes.data);
    ENSURE(!capped.exhausted, NOF1_E_NO_MEMORY);
    if (*out == NULL || (*out)->n_unknown_fields > 0) {
        return nof1_fail(error, NOF1_E_DECODE, "not a %s", descriptor->name);
    }
    return NOF1_OK;
}

static nof1_rc encode(struct nof1_buffer *out, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    size_t before = out->length;
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    uint8_t *bytes = arena == NULL ? NULL : nof1_arena_alloc(arena, size + 1, 1);
    ENSURE(bytes != NULL, NOF1_E_NO_MEMORY);
    ENSURE(protobuf_c_message_pack(message, bytes) == size, NOF1_E_BUG);
    TRY(nof1_buffer_append(out, bytes, size));
    ENSURE(out->length == before + size, NOF1_E_BUG);
    return NOF1_OK;
}

static ProtobufCBinaryData binary(struct nof1_slice bytes)
{
    return (ProtobufCBinaryData){bytes.length, (uint8_t *)(uintptr_t)bytes.data};
}

static struct nof1_slice slice(ProtobufCBinaryData bytes)
{
    return nof1_slice_of(bytes.data, bytes.len);
}

nof1_rc nof1_submit_write(struct nof1_buffer *out, const struct nof1_submit_request *request)
{
    Nof1__V1__SubmitRequest message = NOF1__V1__SUBMIT_REQUEST__INIT;
    message.plan = binary(request->plan);
    message.signature = binary(request->signature);
    message.statistician = (char *)(uintptr_t)request->statistician;
    return encode(out, &message.base);
}

nof1_rc nof1_submit_read(struct nof1_submit_request *out, struct nof1_arena *arena,
                         struct nof1_slice bytes, struct nof1_error *error)
{
    const ProtobufCMessage *base = NULL;
    TRY(decode(&base, &nof1__v1__submit_request__descriptor, arena, bytes, error));
    const Nof1__V1__SubmitRequest *message = (const Nof1__V1__SubmitRequest *)base;
    *out = (struct nof1_submit_request){.plan = slice(message->plan),
                                        .signature = slice(message->signature),
                                        .statistician = message->statistician};
    return NOF1_OK;
}

nof1_rc nof1_charter_reply_write(struct nof1_buffer *out, const struct nof1_charter_reply *reply)
{
    Nof1__V1__CharterReply message = NOF1__V1__CHARTER_REPLY__INIT;
    message.charter = binary(reply->charter);
    message.signature = binary(reply->signature);
    message.census = binary(reply->census);
    message.atoms = binary(reply->atoms);
    return encode(out, &message.base);
}

nof1_rc nof1_charter_reply_read(struct nof1_charter_reply *out, struct nof1_arena *arena,
                                struct nof1_slice bytes, struct nof1_error *error)
{
    const ProtobufCMessage *base = NULL;
    TRY(decode(&base, &nof1__v1__charter_reply__descriptor, arena, bytes, error));
    const Nof1__V1__CharterReply *message = (const Nof1__V1__CharterReply *)base;
    *out = (struct nof1_charter_reply){.charter = slice(message->charter),
                                       .signature = slice(message->signature),
                                       .census = slice(message->census),
                                       .atoms = slice(message->atoms)};
    return NOF1_OK;
}

nof1_rc nof1_bytes_write(struct nof1_buffer *out, struct nof1_slice value)
{
    Nof1__V1__StatusReply message = NOF1__V1__STATUS_REPLY__INIT;
    message.json = binary(value);
    return encode(out, &message.base);
}

nof1_rc nof1_bytes_read(struct nof1_slice *out, struct nof1_arena *arena, struct nof1_slice bytes,
                        struct nof1_error *error)
{
    const ProtobufCMessage *base = NULL;
    TRY(decode(&base, &nof1__v1__status_reply__descriptor, arena, bytes, error));
    *out = slice(((const Nof1__V1__StatusReply *)base)->json);
    return NOF1_OK;
}
