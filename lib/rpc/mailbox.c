/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pump and engine: see mailbox.h. The list under the lock is all that the two threads share.
 */
#include "mailbox.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void wake(struct nof1_mailbox *mailbox)
{
    uint64_t one = 1;
    ssize_t put = write(mailbox->fd, &one, sizeof one);
    (void)put; /* a full counter wakes as well */
}

static void post(struct nof1_mailbox *mailbox, struct nof1_op *op)
{
    pthread_mutex_lock(&mailbox->lock);
    op->next = NULL;
    if (mailbox->last == NULL) {
        mailbox->first = op;
    } else {
        mailbox->last->next = op;
    }
    mailbox->last = op;
    pthread_mutex_unlock(&mailbox->lock);
    wake(mailbox);
}

static void *pump(void *argument)
{
    struct nof1_mailbox *mailbox = argument;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(mailbox->queue,
                                                      gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN) {
            break;
        }
        if (event.type == GRPC_OP_COMPLETE) {
            struct nof1_op *op = event.tag;
            (void)atomic_load_explicit(&op->armed, memory_order_acquire);
            op->ok = event.success != 0;
            post(mailbox, op);
        }
    }
    pthread_mutex_lock(&mailbox->lock);
    mailbox->closed = true;
    pthread_mutex_unlock(&mailbox->lock);
    wake(mailbox);
    return NULL;
}

nof1_rc nof1_mailbox_start(struct nof1_mailbox *mailbox)
{
    memset(mailbox, 0, sizeof *mailbox);
    mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ENSURE(mailbox->fd >= 0, NOF1_E_IO);
    mailbox->queue = grpc_completion_queue_create_for_next(NULL);
    pthread_mutex_init(&mailbox->lock, NULL);
    if (pthread_create(&mailbox->pump, NULL, pump, mailbox) != 0) {
        grpc_completion_queue_shutdown(mailbox->queue);
        grpc_completion_queue_destroy(mailbox->queue);
        (void)close(mailbox->fd);
        return NOF1_E_IO;
    }
    return NOF1_OK;
}

void nof1_mailbox_run(struct nof1_mailbox *mailbox)
{
    uint64_t count = 0;
    ssize_t got = read(mailbox->fd, &count, sizeof count);
    (void)got; /* empty: somebody emptied it before */
    pthread_mutex_lock(&mailbox->lock);
    struct nof1_op *op = mailbox->first;
    mailbox->first = mailbox->last = NULL;
    pthread_mutex_unlock(&mailbox->lock);
    while (op != NULL) {
        struct nof1_op *next = op->next; /* done may free op */
        op->done(op, op->ok);
        op = next;
    }
}

void nof1_mailbox_wait(struct nof1_mailbox *mailbox, int milliseconds)
{
    struct pollfd wait = {.fd = mailbox->fd, .events = POLLIN};
    (void)poll(&wait, 1, milliseconds);
    nof1_mailbox_run(mailbox);
}

void nof1_mailbox_stop(struct nof1_mailbox *mailbox)
{
    grpc_completion_queue_shutdown(mailbox->queue);
    for (;;) {
        pthread_mutex_lock(&mailbox->lock);
        bool closed = mailbox->closed;
        pthread_mutex_unlock(&mailbox->lock);
        nof1_mailbox_run(mailbox);
        if (closed) {
            break;
        }
        nof1_mailbox_wait(mailbox, 1000);
    }
    pthread_join(mailbox->pump, NULL);
    grpc_completion_queue_destroy(mailbox->queue);
    pthread_mutex_destroy(&mailbox->lock);
    (void)close(mailbox->fd);
}
