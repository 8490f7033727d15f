/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A statistician's conversation with a coordinator: charter and census, submit, status, result.
 * Used by `nof1 run` and by the lab's real processes alike.
 */
#ifndef NOF1_TOOLS_REMOTE_H
#define NOF1_TOOLS_REMOTE_H

#include <jansson.h>

#include <base/document.h>
#include <core/charter.h>
#include <crypto/key.h>
#include <rpc/client.h>

struct nof1_remote {
    const char *target; /* HOST:PORT */
    struct nof1_tls_files files;
    const char *statistician;   /* as on charter and certificate */
    const struct nof1_key *key; /* signs plans */
    const uint8_t *pin;         /* hash of the charter that plans are signed for; NULL: any */
    int wait;                   /* seconds to wait for a census and for the result */
    int patience; /* seconds to wait, once the plan is being submitted, for a coordinator
                   * that cannot be reached any more; 0: not at all */
    int stop_fd;                /* readable: stop (nof1_signals_open); -1: none */
    /* Progress: state text and the object of nof1_coordinator_status; may be NULL. */
    void (*progress)(void *self, const char *state, const json_t *status);
    void *self;
};

/* The charter (canonical bytes), latest census and atoms as the coordinator publishes them, in
 * `arena`. pin: the only hash that the charter may have; NULL: any. Errors: NOF1_E_CONFIG, those of
 * nof1_client_call. */
nof1_rc nof1_remote_charter(const struct nof1_charter **charter, struct nof1_slice *census,
                            json_t **atoms, struct nof1_arena *arena, struct nof1_client *client,
                            const uint8_t *pin, struct nof1_error *error);
/* Wait for a census, complete, sign and submit the plan, wait for its end. nof1_rpc_start first.
 * *result: the final object, new reference. Errors: NOF1_E_EXPIRED after `wait` seconds,
 * NOF1_E_UNREACHABLE when stopped or not reached, those of making and submitting the plan. */
nof1_rc nof1_remote_run(json_t **result, const struct nof1_remote *remote,
                        const struct nof1_node *plan, struct nof1_error *error);
/* Status of one query (32 bytes) or all (hash NULL); result of one, NULL while not final. */
nof1_rc nof1_remote_status(json_t **out, struct nof1_client *client, const uint8_t *hash,
                           struct nof1_error *error);
nof1_rc nof1_remote_result(json_t **out, struct nof1_client *client, const uint8_t *hash,
                           struct nof1_error *error);

#endif
