/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The messages of the statistician's unary calls (proto/nof1.proto), read as strictly as frames:
 * capped memory, no unknown fields.
 */
#ifndef NOF1_RPC_UNARY_H
#define NOF1_RPC_UNARY_H

#include <nof1/slice.h>

struct nof1_submit_request {
    struct nof1_slice plan, signature;
    const char *statistician;
};
struct nof1_charter_reply {
    struct nof1_slice charter, signature, census, atoms;
};

/* All reads copy into arena. Errors: NOF1_E_DECODE, NOF1_E_NO_MEMORY. */
nof1_rc nof1_submit_write(struct nof1_buffer *out, const struct nof1_submit_request *request);
nof1_rc nof1_submit_read(struct nof1_submit_request *out, struct nof1_arena *arena,
                         struct nof1_slice bytes, struct nof1_error *error);
nof1_rc nof1_charter_reply_write(struct nof1_buffer *out, const struct nof1_charter_reply *reply);
nof1_rc nof1_charter_reply_read(struct nof1_charter_reply *out, struct nof1_arena *arena,
                                struct nof1_slice bytes, struct nof1_error *error);
/* SubmitReply, StatusRequest, ResultRequest (a query's hash, may be empty in StatusRequest),
 * StatusReply, ResultReply (JSON): all have one field of bytes and one encoding. */
nof1_rc nof1_bytes_write(struct nof1_buffer *out, struct nof1_slice value);
nof1_rc nof1_bytes_read(struct nof1_slice *out, struct nof1_arena *arena, struct nof1_slice bytes,
                        struct nof1_error *error);

#endif
