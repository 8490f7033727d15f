/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Unary calls of the command line tools: one thread, blocking, with a deadline.
 */
#ifndef NOF1_RPC_CLIENT_H
#define NOF1_RPC_CLIENT_H

#include <rpc/methods.h>
#include <rpc/tls.h>

struct nof1_client;
/* Check the own files (role statistician or auditor) and open a channel; connects at the first
 * call. nof1_rpc_start first. server_name NULL: the host of target.
 * Errors: as nof1_identity_check. */
nof1_rc nof1_client_new(struct nof1_client **out, const char *target, const char *server_name,
                        const struct nof1_tls_files *files, struct nof1_error *error);
/* Call and append the reply. Every method may be repeated (the same plan is the same query), so
 * once the coordinator has answered, a lost connection is tried again until the time is over: it
 * may just be restarting. Errors: the coordinator's own code with its text (NOF1_E2205, ...);
 * NOF1_E_UNREACHABLE, NOF1_E_TLS, NOF1_E_UNAUTHORISED with what to do; NOF1_E_EXPIRED after
 * `milliseconds`. */
nof1_rc nof1_client_call(struct nof1_client *client, enum nof1_method method,
                         struct nof1_slice request, struct nof1_buffer *reply, int milliseconds,
                         struct nof1_error *error);
/* Calls end at once, with NOF1_E_UNREACHABLE, when `fd` becomes readable; -1: never. It is not
 * read. */
void nof1_client_stop_on(struct nof1_client *client, int fd);
void nof1_client_free(struct nof1_client *client);

#endif
