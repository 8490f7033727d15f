/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bytes in and out of gRPC's byte buffers, and the limits and keepalive both sides share.
 */
#ifndef NOF1_RPC_MESSAGE_H
#define NOF1_RPC_MESSAGE_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>

#include <nof1/slice.h>

#define NOF1_MESSAGE_MAX ((64 << 20) + 4096) /* a frame of 64 MiB and what surrounds it */
/* Bytes on their way before the other side has taken any: a message of this size needs one round
 * trip. Fixed, because measuring the line (BDP probes) costs messages a ping and its answer. */
#define NOF1_STREAM_WINDOW (4 << 20)

/* A new byte buffer with a copy of the bytes. */
grpc_byte_buffer *nof1_message_pack(struct nof1_slice bytes);
/* Copy the content to the end of `out`; the buffer may be NULL (nothing). Errors: NOF1_E_DECODE. */
nof1_rc nof1_message_unpack(struct nof1_buffer *out, grpc_byte_buffer *buffer);
/* Text of a slice, cut to size, always terminated. */
void nof1_message_text(char *out, size_t size, grpc_slice slice);

/* Messages that wait their turn: gRPC takes one send at a time. Zero-initialise. */
struct nof1_queued;
struct nof1_outbox {
    struct nof1_queued *first, *last;
    size_t bytes;
};
#define NOF1_OUTBOX_MAX ((size_t)256 << 20)
/* Add a copy of the bytes. Errors: NOF1_E_NO_MEMORY; NOF1_E_IO: more than NOF1_OUTBOX_MAX wait. */
nof1_rc nof1_outbox_push(struct nof1_outbox *outbox, struct nof1_slice bytes);
/* The message to send now; it stays until popped. NULL: none. */
grpc_byte_buffer *nof1_outbox_first(const struct nof1_outbox *outbox);
void nof1_outbox_pop(struct nof1_outbox *outbox);
void nof1_outbox_clear(struct nof1_outbox *outbox);

/* First metadata of a stream that was let in: a refusal carries none, and gRPC reports the arrival
 * of first metadata in both cases. */
#define NOF1_LINK_METADATA "nof1-link"

static inline grpc_arg nof1_arg_integer(const char *key, int value)
{
    grpc_arg argument = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key};
    argument.value.integer = value;
    return argument;
}
static inline grpc_arg nof1_arg_text(const char *key, const char *value)
{
    grpc_arg argument = {.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key};
    argument.value.string = (char *)(uintptr_t)value;
    return argument;
}

#endif
