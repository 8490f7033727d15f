/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Talking to a coordinator: see remote.h.
 */
#include <tools/remote.h>

#include <errno.h>
#include <poll.h>
#include <string.h>

#include <base/hex.h>
#include <base/json.h>
#include <core/charter.h>
#include <rpc/unary.h>
#include <sys/clock.h>
#include <tools/submission.h>

#define CALL_TIMEOUT 120000 /* milliseconds: a coordinator of hundreds of sites is busy */
#define EPOCH_TRIES 3 /* of going back to earlier epochs: every verdict holds more blocks */

static nof1_rc read_json(json_t **out, struct nof1_slice text, struct nof1_error *error)
{
    json_error_t why;
    *out = json_loadb((const char *)text.data, text.length, 0, &why);
    if (*out == NULL) {
        return nof1_fail(error, NOF1_E_DECODE, "the coordinator's answer is no JSON: %s", why.text);
    }
    return NOF1_OK;
}

/* A plan binds the charter it was made for, and the coordinator says which that is. */
static nof1_rc check_pin(const struct nof1_charter *charter, const uint8_t *pin,
                         struct nof1_error *error)
{
    char theirs[2 * NOF1_HASH_BYTES + 1];
    if (pin == NULL || memcmp(pin, charter->hash, NOF1_HASH_BYTES) == 0) {
        return NOF1_OK;
    }
    nof1_hex_text(theirs, charter->hash, NOF1_HASH_BYTES);
    return nof1_fail(error, NOF1_E_CONFIG,
                     "the coordinator has another charter than the one given: version %u of study "
                     "%s, hash %s; if the consortium has told you this hash, give --charter %s, "
                     "otherwise send nothing and ask the consortium",
                     charter->version, charter->study, theirs, theirs);
}

nof1_rc_value nof1_remote_charter(const struct nof1_charter **charter, struct nof1_slice *census,
                                  json_t **atoms, struct nof1_arena *arena,
                                  struct nof1_client *client, const uint8_t *pin,
                                  struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer reply = {0};
    struct nof1_charter_reply read = {0};
    TRY(nof1_client_call(client, NOF1_METHOD_CHARTER, nof1_slice_of(NULL, 0), &reply, CALL_TIMEOUT,
                         error));
    TRY(nof1_charter_reply_read(&read, arena, nof1_buffer_slice(&reply), error));
    TRY(nof1_charter_read(charter, arena, read.charter, error));
    bool is_signed = read.signature.length > 0;
    if ((is_signed || !(*charter)->lab) &&
        nof1_verify((*charter)->coordinator.spki, (*charter)->hash, read.signature) != NOF1_OK) {
        return nof1_fail(error, NOF1_E2105, "the charter's signature is not its coordinator's");
    }
    TRY(check_pin(*charter, pin, error));
    *census = read.census;
    *atoms = NULL;
    return read.atoms.length == 0 ? NOF1_OK : read_json(atoms, read.atoms, error);
}

/* A call whose request is a query's hash and whose reply is JSON, or nothing. */
static nof1_rc ask(json_t **out, struct nof1_client *client, enum nof1_method method,
                   const uint8_t *hash, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer request = {0};
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer reply = {0};
    struct nof1_slice text = {0};
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    *out = NULL;
    TRY(nof1_bytes_write(&request, nof1_slice_of(hash, hash == NULL ? 0 : NOF1_HASH_BYTES)));
    TRY(nof1_client_call(client, method, nof1_buffer_slice(&request), &reply, CALL_TIMEOUT, error));
    TRY(nof1_bytes_read(&text, arena, nof1_buffer_slice(&reply), error));
    return text.length == 0 ? NOF1_OK : read_json(out, text, error);
}

nof1_rc_value nof1_remote_status(json_t **out, struct nof1_client *client, const uint8_t *hash,
                                 struct nof1_error *error)
{
    return ask(out, client, NOF1_METHOD_STATUS, hash, error);
}

nof1_rc_value nof1_remote_result(json_t **out, struct nof1_client *client, const uint8_t *hash,
                                 struct nof1_error *error)
{
    return ask(out, client, NOF1_METHOD_RESULT, hash, error);
}

/* Wait 10 ms or a tenth of the time so far, at most 1 s. False: told to stop. */
static bool pause_for(const struct nof1_remote *remote, int64_t since)
{
    struct pollfd slot = {.fd = remote->stop_fd, .events = POLLIN};
    int64_t waited = nof1_clock_monotonic() - since;
    /* a question costs the coordinator more than a site's answer does: asking at a steady pace
     * would slow down what is waited for, so the answer may come a tenth late instead */
    int64_t tenth = waited / 10;
    int wait = tenth < 10 ? 10 : tenth > 1000 ? 1000 : (int)tenth;
    return poll(&slot, 1, wait) <= 0 || slot.revents == 0;
}

static nof1_rc still_waiting(const struct nof1_remote *remote, int64_t since, const char *what,
                             struct nof1_error *error)
{
    if (!pause_for(remote, since)) {
        return nof1_fail(error, NOF1_E_STOPPED, "stopped while waiting for %s", what);
    }
    if (nof1_clock_monotonic() - since > (int64_t)remote->wait * 1000) {
        return nof1_fail(error, NOF1_E_EXPIRED, "%s did not come within %d seconds", what,
                         remote->wait);
    }
    return NOF1_OK;
}

static void tell(const struct nof1_remote *remote, const char *state, const json_t *status)
{
    if (remote->progress != NULL) {
        remote->progress(remote->self, state, status);
    }
}

static nof1_rc make_submission(struct nof1_submission *submission, const struct nof1_remote *remote,
                               struct nof1_client *client, const struct nof1_node *plan,
                               struct nof1_error *error)
{
    int64_t since = nof1_clock_monotonic();
    struct nof1_clock clock = {0};
    tell(remote, "census", NULL);
    for (;;) {
        NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
        NOF1_CLEANUP(nof1_json_freep) json_t *atoms = NULL;
        const struct nof1_charter *charter = NULL;
        struct nof1_slice census = {0};
        ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
        TRY(nof1_remote_charter(&charter, &census, &atoms, arena, client, remote->pin,
                                error));
        if (census.length > 0) {
            return nof1_submission_make(submission, charter, census, atoms, plan, remote->key,
                                        nof1_clock_now(&clock) / 1000, error);
        }
        TRY(still_waiting(remote, since, "the census of the first epoch", error));
    }
}

/* A coordinator that restarts takes its queries up again, and the same plan is the same query:
 * asking once more is always right. NOF1_OK: ask again. */
static nof1_rc bear(const struct nof1_remote *remote, int64_t *lost, nof1_rc_value rc,
                    struct nof1_error *error)
{
    if (rc != NOF1_E_UNREACHABLE || remote->patience == 0) {
        return rc;
    }
    *lost = *lost == 0 ? nof1_clock_monotonic() : *lost;
    if (nof1_clock_monotonic() - *lost > (int64_t)remote->patience * 1000) {
        return rc;
    }
    tell(remote, "unreachable, trying again", NULL);
    return pause_for(remote, *lost) ? NOF1_OK
                                    : nof1_fail(error, NOF1_E_UNREACHABLE,
                                                "stopped while the coordinator was unreachable");
}

/* The coordinator names the query: an earlier one when that asked the same. */
static nof1_rc submit_once(struct nof1_submission *submission, const struct nof1_remote *remote,
                           struct nof1_client *client, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer request = {0};
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer reply = {0};
    struct nof1_slice query = {0};
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    const struct nof1_submit_request message = {
        .plan = nof1_buffer_slice(&submission->plan),
        .signature = nof1_slice_of(submission->signature, submission->signature_length),
        .statistician = remote->statistician};
    TRY(nof1_submit_write(&request, &message));
    TRY(nof1_client_call(client, NOF1_METHOD_SUBMIT, nof1_buffer_slice(&request), &reply,
                         CALL_TIMEOUT, error));
    TRY(nof1_bytes_read(&query, arena, nof1_buffer_slice(&reply), error));
    if (query.length != sizeof submission->hash) {
        return nof1_fail(error, NOF1_E_DECODE, "the coordinator's answer names no query");
    }
    memcpy(submission->hash, query.data, sizeof submission->hash);
    return NOF1_OK;
}

static nof1_rc submit(struct nof1_submission *submission, const struct nof1_remote *remote,
                      struct nof1_client *client, struct nof1_error *error)
{
    int64_t lost = 0;
    for (;;) {
        nof1_rc_value rc = submit_once(submission, remote, client, error);
        if (rc == NOF1_OK) {
            return NOF1_OK;
        }
        TRY(bear(remote, &lost, rc, error));
    }
}

/* The result, or what the query is doing. */
static nof1_rc look(json_t **result, const struct nof1_remote *remote, struct nof1_client *client,
                    const uint8_t *hash, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_json_freep) json_t *status = NULL;
    TRY(nof1_remote_result(result, client, hash, error));
    if (*result != NULL || remote->progress == NULL) {
        return NOF1_OK;
    }
    TRY(nof1_remote_status(&status, client, hash, error));
    const json_t *query = json_is_array(status) ? json_array_get(status, 0) : status;
    const char *state = json_string_value(json_object_get(query, "state"));
    tell(remote, state == NULL ? "waiting" : state, query);
    return NOF1_OK;
}

static nof1_rc await(json_t **result, const struct nof1_remote *remote, struct nof1_client *client,
                     const uint8_t *hash, struct nof1_error *error)
{
    int64_t since = nof1_clock_monotonic();
    int64_t lost = 0;
    for (;;) {
        nof1_rc_value rc = look(result, remote, client, hash, error);
        rc = rc == NOF1_E_EXPIRED ? NOF1_E_UNREACHABLE : rc; /* a call without an answer in time */
        if (rc != NOF1_OK) {
            TRY(bear(remote, &lost, rc, error));
            continue;
        }
        if (*result != NULL) {
            return NOF1_OK;
        }
        lost = 0;
        TRY(still_waiting(remote, since, "the end of the query", error));
    }
}

/* Were the blocks of two plans to be asked about other epochs? */
static bool other_epochs(struct nof1_slice plan, struct nof1_slice next)
{
    NOF1_CLEANUP(nof1_json_freep)
    json_t *a = json_loadb((const char *)plan.data, plan.length, 0, NULL);
    NOF1_CLEANUP(nof1_json_freep)
    json_t *b = json_loadb((const char *)next.data, next.length, 0, NULL);
    return !json_equal(json_object_get(a, "epoch"), json_object_get(b, "epoch"));
}

/* A plan that was to use a later epoch of some blocks is refused while too few of their patients
 * changed (E2210). Then the coordinator knows which blocks stay, and the same plan about their
 * epoch before is another one. *again: it was made and is submitted next. */
static nof1_rc go_back(bool *again, struct nof1_submission *submission,
                       const struct nof1_remote *remote, struct nof1_client *client,
                       const struct nof1_node *plan, const json_t *result, struct nof1_error *error)
{
    const char *code =
        json_string_value(json_object_get(json_object_get(result, "refusal"), "code"));
    struct nof1_submission next = {0};
    *again = false;
    if (code == NULL || strcmp(code, nof1_rc_code(NOF1_E2210)) != 0) {
        return NOF1_OK;
    }
    nof1_rc_value rc = make_submission(&next, remote, client, plan, error);
    *again = rc == NOF1_OK && other_epochs(nof1_buffer_slice(&submission->plan),
                                           nof1_buffer_slice(&next.plan));
    if (*again) {
        tell(remote, "not yet: asking about the epoch before", NULL);
        nof1_submission_free(submission);
        *submission = next;
    } else {
        nof1_submission_free(&next);
    }
    return rc;
}

static nof1_rc submit_and_wait(json_t **result, struct nof1_submission *submission,
                               const struct nof1_remote *remote, struct nof1_client *client,
                               const struct nof1_node *plan, struct nof1_error *error)
{
    for (size_t tries = 0;; tries++) {
        bool again = false;
        TRY(submit(submission, remote, client, error));
        TRY(await(result, remote, client, submission->hash, error));
        if (tries < EPOCH_TRIES) {
            TRY(go_back(&again, submission, remote, client, plan, *result, error));
        }
        if (!again) {
            return NOF1_OK;
        }
        json_decref(*result);
        *result = NULL;
    }
}

static bool told_to_stop(const struct nof1_remote *remote)
{
    struct pollfd slot = {.fd = remote->stop_fd, .events = POLLIN};
    return poll(&slot, 1, 0) > 0 && slot.revents != 0;
}

static nof1_rc_value say_stopped(bool made, const uint8_t *hash, struct nof1_error *error)
{
    char query[2 * NOF1_HASH_BYTES + 1];
    nof1_hex_text(query, hash, NOF1_HASH_BYTES);
    *error = (struct nof1_error){0};
    return made
               ? nof1_fail(error, NOF1_E_STOPPED,
                           "stopped waiting; a query that was submitted goes on: nof1 status shows "
                           "it, nof1 result %s prints its result",
                           query)
               : nof1_fail(error, NOF1_E_STOPPED, "stopped before the plan was submitted");
}

nof1_rc_value nof1_remote_run(json_t **result, const struct nof1_remote *remote,
                              const struct nof1_node *plan, struct nof1_error *error)
{
    struct nof1_client *client = NULL;
    struct nof1_submission submission = {0};
    TRY(nof1_client_new(&client, remote->target, NULL, &remote->files, error));
    nof1_client_stop_on(client, remote->stop_fd);
    nof1_rc_value rc = make_submission(&submission, remote, client, plan, error);
    bool made = rc == NOF1_OK;
    rc = made ? submit_and_wait(result, &submission, remote, client, plan, error) : rc;
    rc = rc != NOF1_OK && told_to_stop(remote) ? say_stopped(made, submission.hash, error) : rc;
    nof1_submission_free(&submission);
    nof1_client_free(client);
    return rc;
}
