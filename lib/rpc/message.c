/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bytes in and out of gRPC's byte buffers: see message.h.
 */
#include "message.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

grpc_byte_buffer *nof1_message_pack(struct nof1_slice bytes)
{
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes.data, bytes.length);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

nof1_rc nof1_message_unpack(struct nof1_buffer *out, grpc_byte_buffer *buffer)
{
    if (buffer == NULL) {
        return NOF1_OK;
    }
    grpc_byte_buffer_reader reader;
    ENSURE(grpc_byte_buffer_reader_init(&reader, buffer) != 0, NOF1_E_DECODE);
    grpc_slice piece;
    nof1_rc_value rc = NOF1_OK;
    while (rc == NOF1_OK && grpc_byte_buffer_reader_next(&reader, &piece) != 0) {
        rc = nof1_buffer_append(out, GRPC_SLICE_START_PTR(piece), GRPC_SLICE_LENGTH(piece));
        grpc_slice_unref(piece);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return rc;
}

void nof1_message_text(char *out, size_t size, grpc_slice slice)
{
    size_t length = GRPC_SLICE_LENGTH(slice);
    length = length < size ? length : size - 1;
    memcpy(out, GRPC_SLICE_START_PTR(slice), length);
    out[length] = '\0';
}

struct nof1_queued {
    struct nof1_queued *next;
    grpc_byte_buffer *buffer;
    size_t length;
};

nof1_rc nof1_outbox_push(struct nof1_outbox *outbox, struct nof1_slice bytes)
{
    ENSURE(outbox->bytes + bytes.length <= NOF1_OUTBOX_MAX, NOF1_E_IO);
    struct nof1_queued *item = calloc(1, sizeof *item);
    ENSURE(item != NULL, NOF1_E_NO_MEMORY);
    item->buffer = nof1_message_pack(bytes);
    item->length = bytes.length;
    outbox->bytes += bytes.length;
    if (outbox->last == NULL) {
        outbox->first = item;
    } else {
        outbox->last->next = item;
    }
    outbox->last = item;
    return NOF1_OK;
}

grpc_byte_buffer *nof1_outbox_first(const struct nof1_outbox *outbox)
{
    return outbox->first == NULL ? NULL : outbox->first->buffer;
}

void nof1_outbox_pop(struct nof1_outbox *outbox)
{
    struct nof1_queued *item = outbox->first;
    outbox->first = item->next;
    outbox->last = outbox->first == NULL ? NULL : outbox->last;
    outbox->bytes -= item->length;
    grpc_byte_buffer_destroy(item->buffer);
    free(item);
}

void nof1_outbox_clear(struct nof1_outbox *outbox)
{
    while (outbox->first != NULL) {
        nof1_outbox_pop(outbox);
    }
}
