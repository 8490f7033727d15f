/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The edge's stream: see link.h. Every attempt has a channel and a call of its own, so that renewed
 * certificates are picked up and nothing of a failed attempt survives. Between attempts: full
 * jitter (M. Brooker, "Exponential Backoff and Jitter"), 0.2 s to 30 s.
 */
#include <rpc/link.h>

#include <grpc/support/alloc.h>
#include <stdlib.h>
#include <string.h>

#include <base/log.h>
#include <rpc/mailbox.h>
#include <rpc/message.h>
#include <rpc/methods.h>
#include <sys/clock.h>
#include <sys/entropy.h>

#define BACKOFF_LEAST 200
#define BACKOFF_MOST 30000
#define LIVED_LONG 5000 /* a stream that held this long starts the waiting over */

struct attempt {
    grpc_channel *channel;
    grpc_call *call;
    size_t pending;
    bool up, dropped;
    struct nof1_op start, status, read, write;
    grpc_metadata_array first, last;
    grpc_status_code code;
    grpc_slice details;
    grpc_byte_buffer *incoming;
    struct nof1_outbox outbox;
    int64_t since;
};

struct nof1_link {
    struct nof1_link_config config;
    struct nof1_mailbox mailbox;
    struct attempt *attempt; /* NULL between attempts */
    unsigned failures;
    int64_t next;            /* monotone time of the next attempt */
    bool stopping;
    nof1_rc_value rc;
};

/* ---- waiting --------------------------------------------------------------------------------- */

static int64_t jitter(unsigned failures)
{
    uint32_t random = 0;
    int64_t most = failures >= 7 ? BACKOFF_MOST : (int64_t)(2 * BACKOFF_LEAST) << failures;
    most = most > BACKOFF_MOST ? BACKOFF_MOST : most;
    nof1_rc_value rc = nof1_random_fill((uint8_t *)&random, sizeof random);
    (void)rc; /* without randomness the shortest wait is as good as any */
    return BACKOFF_LEAST + (int64_t)(random % (uint32_t)(most - BACKOFF_LEAST + 1));
}

static void schedule(struct nof1_link *link)
{
    link->next = nof1_clock_monotonic() + jitter(link->failures);
    link->failures++;
}

/* ---- one attempt ----------------------------------------------------------------------------- */

static void start_batch(struct nof1_link *link, const grpc_op *ops, size_t count,
                        struct nof1_op *op)
{
    struct attempt *attempt = link->attempt;
    nof1_op_arm(op);
    if (grpc_call_start_batch(attempt->call, ops, count, op, NULL) == GRPC_CALL_OK) {
        attempt->pending++;
    } else {
        link->rc = NOF1_E_BUG;
    }
}

static void report(struct nof1_link *link)
{
    char details[400];
    struct nof1_error advice = {0};
    const struct attempt *attempt = link->attempt;
    if (link->stopping || attempt->dropped) {
        return;
    }
    nof1_message_text(details, sizeof details, attempt->details);
    nof1_channel_advice(&advice, link->config.target, attempt->up, attempt->code, details,
                        &link->config.files, NOF1_ROLE_SITE);
    nof1_log_error(NOF1_LOG_WARNING, attempt->up ? "link.lost" : "link.failed", &advice);
}

static void finish_attempt(struct nof1_link *link)
{
    struct attempt *attempt = link->attempt;
    report(link);
    if (attempt->up) {
        link->config.handlers.down(link->config.handlers.self);
        if (nof1_clock_monotonic() - attempt->since >= LIVED_LONG) {
            link->failures = 0;
        }
    }
    grpc_call_unref(attempt->call);
    grpc_channel_destroy(attempt->channel);
    grpc_metadata_array_destroy(&attempt->first);
    grpc_metadata_array_destroy(&attempt->last);
    grpc_slice_unref(attempt->details);
    grpc_byte_buffer_destroy(attempt->incoming);
    nof1_outbox_clear(&attempt->outbox);
    free(attempt);
    link->attempt = NULL;
    schedule(link);
}

static void release(struct nof1_link *link)
{
    if (--link->attempt->pending == 0) {
        finish_attempt(link);
    }
}

void nof1_link_drop(struct nof1_link *link)
{
    if (link->attempt != NULL && !link->attempt->dropped) {
        link->attempt->dropped = true;
        (void)grpc_call_cancel(link->attempt->call, NULL);
    }
}

/* ---- operations ------------------------------------------------------------------------------ */

static void status_done(struct nof1_op *op, bool ok)
{
    (void)ok;
    release(op->owner);
}

static void read_next(struct nof1_link *link)
{
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &link->attempt->incoming;
    start_batch(link, &op, 1, &link->attempt->read);
}

static void read_done(struct nof1_op *op, bool ok)
{
    struct nof1_link *link = op->owner;
    struct attempt *attempt = link->attempt;
    struct nof1_buffer bytes = {0};
    grpc_byte_buffer *incoming = attempt->incoming;
    attempt->incoming = NULL;
    if (ok && incoming != NULL && !attempt->dropped) {
        nof1_rc_value rc = nof1_message_unpack(&bytes, incoming);
        if (rc == NOF1_OK) {
            rc = link->config.handlers.frame(link->config.handlers.self, nof1_buffer_slice(&bytes));
        }
        if (rc != NOF1_OK) {
            nof1_link_drop(link);
        } else {
            read_next(link);
        }
    }
    grpc_byte_buffer_destroy(incoming);
    nof1_buffer_free(&bytes);
    release(link);
}

static void write_next(struct nof1_link *link)
{
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_SEND_MESSAGE;
    op.data.send_message.send_message = nof1_outbox_first(&link->attempt->outbox);
    start_batch(link, &op, 1, &link->attempt->write);
}

static void written(struct nof1_op *op, bool ok)
{
    struct nof1_link *link = op->owner;
    struct attempt *attempt = link->attempt;
    nof1_outbox_pop(&attempt->outbox);
    if (!ok || attempt->dropped) {
        nof1_outbox_clear(&attempt->outbox);
    } else if (nof1_outbox_first(&attempt->outbox) != NULL) {
        write_next(link);
    }
    release(link);
}

nof1_rc nof1_link_send(struct nof1_link *link, struct nof1_slice frame)
{
    struct attempt *attempt = link->attempt;
    if (attempt == NULL || !attempt->up || attempt->dropped) {
        return NOF1_OK;
    }
    bool idle = nof1_outbox_first(&attempt->outbox) == NULL;
    nof1_rc_value rc = nof1_outbox_push(&attempt->outbox, frame);
    if (rc == NOF1_E_IO) {
        nof1_log(NOF1_LOG_WARNING, "link.slow", NOF1_LOG_NO_FIELDS);
        nof1_link_drop(link);
        return NOF1_OK;
    }
    TRY(rc);
    if (idle) {
        write_next(link);
    }
    return NOF1_OK;
}

static bool was_let_in(const struct attempt *attempt)
{
    for (size_t i = 0; i < attempt->first.count; i++) {
        if (grpc_slice_str_cmp(attempt->first.metadata[i].key, NOF1_LINK_METADATA) == 0) {
            return true;
        }
    }
    return false;
}

static void started(struct nof1_op *op, bool ok)
{
    struct nof1_link *link = op->owner;
    struct attempt *attempt = link->attempt;
    struct nof1_error error = {0};
    if (ok && was_let_in(attempt) && !attempt->dropped) {
        if (nof1_channel_check(attempt->call, &link->config.files, &error) != NOF1_OK) {
            nof1_log_error(NOF1_LOG_ERROR, "link.wrong_server", &error);
            nof1_link_drop(link);
        } else {
            attempt->up = true;
            attempt->since = nof1_clock_monotonic();
            nof1_log(NOF1_LOG_INFO, "link.up",
                     NOF1_LOG_FIELDS(nof1_log_text("target", link->config.target)));
            if (link->config.handlers.up(link->config.handlers.self)) {
                read_next(link);
            } else {
                nof1_link_drop(link);
            }
        }
    }
    release(link);
}

static void begin_call(struct nof1_link *link)
{
    struct attempt *attempt = link->attempt;
    grpc_op op[2];
    memset(op, 0, sizeof op);
    op[0].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    op[0].data.recv_status_on_client.trailing_metadata = &attempt->last;
    op[0].data.recv_status_on_client.status = &attempt->code;
    op[0].data.recv_status_on_client.status_details = &attempt->details;
    start_batch(link, op, 1, &attempt->status);
    memset(op, 0, sizeof op);
    op[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    op[1].op = GRPC_OP_RECV_INITIAL_METADATA;
    op[1].data.recv_initial_metadata.recv_initial_metadata = &attempt->first;
    start_batch(link, op, 2, &attempt->start);
}

static struct attempt *new_attempt(struct nof1_link *link)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt != NULL) {
        grpc_metadata_array_init(&attempt->first);
        grpc_metadata_array_init(&attempt->last);
        attempt->details = grpc_empty_slice();
        attempt->start = (struct nof1_op){.done = started, .owner = link};
        attempt->status = (struct nof1_op){.done = status_done, .owner = link};
        attempt->read = (struct nof1_op){.done = read_done, .owner = link};
        attempt->write = (struct nof1_op){.done = written, .owner = link};
    }
    return attempt;
}

static nof1_rc dial(struct nof1_link *link)
{
    struct nof1_error error = {0};
    grpc_channel *channel = NULL;
    if (!link->config.handlers.ready(link->config.handlers.self)) {
        schedule(link);
        return NOF1_OK;
    }
    if (nof1_channel_open(&channel, link->config.target, link->config.server_name,
                          &link->config.files, &error) != NOF1_OK) {
        nof1_log_error(NOF1_LOG_ERROR, "link.failed", &error);
        schedule(link);
        return NOF1_OK;
    }
    struct attempt *attempt = new_attempt(link);
    if (attempt == NULL) {
        grpc_channel_destroy(channel);
        return NOF1_E_NO_MEMORY;
    }
    attempt->channel = channel;
    attempt->call = grpc_channel_create_call(
        channel, NULL, GRPC_PROPAGATE_DEFAULTS, link->mailbox.queue,
        grpc_slice_from_static_string(nof1_method_row(NOF1_METHOD_ATTACH)->name), NULL,
        gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    link->attempt = attempt;
    begin_call(link);
    return link->rc;
}

/* ---- life ------------------------------------------------------------------------------------ */

nof1_rc nof1_link_start(struct nof1_link **out, const struct nof1_link_config *config,
                        struct nof1_error *error)
{
    struct nof1_identity own;
    *out = NULL;
    TRY(nof1_identity_check(&own, &config->files, false, NOF1_ROLE_SITE, error));
    struct nof1_link *link = calloc(1, sizeof *link);
    ENSURE(link != NULL, NOF1_E_NO_MEMORY);
    link->config = *config;
    nof1_rc_value rc = nof1_mailbox_start(&link->mailbox);
    if (rc != NOF1_OK) {
        free(link);
        return rc;
    }
    *out = link;
    return NOF1_OK;
}

int nof1_link_fd(const struct nof1_link *link)
{
    return link->mailbox.fd;
}

int nof1_link_wait(const struct nof1_link *link, int longest)
{
    if (link->attempt != NULL) {
        return longest;
    }
    int64_t left = link->next - nof1_clock_monotonic();
    left = left < 0 ? 0 : left;
    return left < longest ? (int)left : longest;
}

nof1_rc nof1_link_run(struct nof1_link *link)
{
    nof1_mailbox_run(&link->mailbox);
    TRY(link->rc);
    if (link->attempt == NULL && !link->stopping && nof1_clock_monotonic() >= link->next) {
        return dial(link);
    }
    return NOF1_OK;
}

void nof1_link_stop(struct nof1_link *link)
{
    if (link == NULL) {
        return;
    }
    link->stopping = true;
    nof1_link_drop(link);
    while (link->attempt != NULL) {
        nof1_mailbox_wait(&link->mailbox, 1000);
    }
    nof1_mailbox_stop(&link->mailbox);
    free(link);
}
