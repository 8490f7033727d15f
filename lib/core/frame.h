/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Encode and decode Frames: capped allocator, size limits, unknown fields and invalid UTF-8
 * refused, fixed-size fields checked. With rpc/unary.c the only code that calls protobuf-c.
 */
#ifndef NOF1_CORE_FRAME_H
#define NOF1_CORE_FRAME_H

#include <nof1/slice.h>
#include <proto/nof1.pb-c.h>

#define NOF1_FRAME_MAX (64u << 20)
#define NOF1_EPOCHS_MAX                                                                            \
    80 /* that a site says it keeps: one for each outcome family, and the last */

/* Decode into `arena`. Errors: NOF1_E_DECODE. */
nof1_rc nof1_frame_read(const Nof1__V1__Frame **out, struct nof1_arena *arena,
                        struct nof1_slice bytes, struct nof1_error *error);
nof1_rc nof1_frame_write(struct nof1_slice *out, struct nof1_arena *arena,
                         const Nof1__V1__Frame *frame);

#endif
