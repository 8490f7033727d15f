/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pump and engine (docs/architecture.md, threads): the pump thread blocks in the completion queue
 * and posts finished operations here; the engine, the only thread that starts batches, polls the
 * descriptor and runs them. A tag is a struct nof1_op inside the call it belongs to.
 */
#ifndef NOF1_RPC_MAILBOX_H
#define NOF1_RPC_MAILBOX_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <nof1/error.h>

struct nof1_op {
    void (*done)(struct nof1_op *op, bool ok); /* runs in the engine */
    void *owner;
    struct nof1_op *next;
    bool ok;
    atomic_bool armed; /* orders the engine's writes before the pump's, whatever gRPC does inside */
};
/* Call right before the operation is handed to gRPC. */
static inline void nof1_op_arm(struct nof1_op *op)
{
    atomic_store_explicit(&op->armed, true, memory_order_release);
}

struct nof1_mailbox {
    grpc_completion_queue *queue;
    int fd;                /* eventfd: readable while something waits */
    pthread_t pump;
    pthread_mutex_t lock;  /* guards first, last, closed */
    struct nof1_op *first, *last;
    bool closed;           /* the queue is shut down and empty */
};

/* Make the queue and start the pump. Errors: NOF1_E_IO. */
nof1_rc nof1_mailbox_start(struct nof1_mailbox *mailbox);
/* Run everything that is finished; never blocks. */
void nof1_mailbox_run(struct nof1_mailbox *mailbox);
/* Block up to `milliseconds` until something is finished, then run it. */
void nof1_mailbox_wait(struct nof1_mailbox *mailbox, int milliseconds);
/* Shut the queue down, run what is left, join the pump. No batch may be started any more. */
void nof1_mailbox_stop(struct nof1_mailbox *mailbox);

#endif
