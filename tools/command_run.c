/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1 run`, `nof1 status`, `nof1 result`: a statistician's commands against a coordinator.
 */
#include <tools/commands.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/json.h>
#include <sys/arguments.h>
#include <sys/daemon.h>
#include <sys/files.h>
#include <tools/connection.h>
#include <tools/remote.h>

#define NEVER (400 * 86400) /* seconds: plans end by themselves */

static void say_state(void *self, const char *state, const json_t *status)
{
    char *before = self; /* char[32] */
    if (strcmp(before, state) == 0) {
        return;
    }
    snprintf(before, 32, "%s", state);
    const json_t *awaited = json_object_get(status, "awaited");
    fprintf(stderr, "%s", state);
    for (size_t s = 0; s < json_array_size(awaited); ++s) {
        fprintf(stderr, "%s%s", s == 0 ? ", waiting for " : ", ",
                json_string_value(json_array_get(awaited, s)));
    }
    fprintf(stderr, "\n");
}

static nof1_rc run_plan(json_t **result, struct nof1_connection *connection, const char *plan,
                        const char *signing_key, bool quiet, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer pem = {0};
    const struct nof1_node *node = NULL;
    struct nof1_key *key = NULL;
    char state[32] = "";
    int signals = -1;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_connection_given(connection, error));
    TRY(nof1_file_read(&text, plan, (size_t)1 << 20, error));
    TRY(nof1_yaml_read(&node, arena, plan, nof1_buffer_slice(&text), error));
    const char *path = signing_key == NULL ? connection->files.key : signing_key;
    TRY(nof1_file_private(path, error));
    TRY(nof1_file_read(&pem, path, 65536, error));
    TRY(nof1_key_read_pem(&key, nof1_buffer_slice(&pem), error));
    nof1_rc_value rc = nof1_signals_open(&signals);
    rc = rc == NOF1_OK ? nof1_connection_open(connection, error) : rc;
    if (rc == NOF1_OK) {
        const struct nof1_remote remote = {.target = connection->target,
                                           .files = connection->files,
                                           .statistician = connection->identity.id,
                                           .key = key,
                                           .pin = connection->pin,
                                           .wait = NEVER,
                                           .patience = NEVER,
                                           .stop_fd = signals,
                                           .progress = quiet ? NULL : say_state,
                                           .self = state};
        rc = nof1_remote_run(result, &remote, node, error);
    }
    nof1_connection_close(connection);
    nof1_key_free(key);
    if (signals >= 0) {
        (void)close(signals);
    }
    return rc;
}

int nof1_command_run(int argc, char **argv)
{
    struct nof1_connection connection = {0};
    struct nof1_error error = {.rc = NOF1_OK};
    NOF1_CLEANUP(nof1_json_freep) json_t *result = NULL;
    const char *plan = NULL;
    const char *signing_key = NULL;
    bool json = false;
    bool quiet = false;
    bool watch = false;
    bool help = false;
    const struct nof1_argument rows[] = {
        NOF1_CONNECTION_ARGUMENTS(connection),
        {"signing-key", "FILE", &signing_key, NULL,
         "key on the charter that signs plans (the TLS key)", false},
        {"json", NULL, NULL, &json, "print one JSON object", false},
        {"watch", NULL, NULL, &watch, "tell every change of state (always, unless --quiet)", false},
        {"quiet", NULL, NULL, &quiet, "no progress on stderr", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1 run PLAN --target HOST:PORT --ca FILE --cert FILE --key FILE "
        "[--charter FILE|HASH] [--json]",
        "Complete the plan from charter and census, sign it, submit it, wait for the result.\n"
        "Running the same plan again costs no budget. Try `nof1 check PLAN` first.\n",
        rows, 0};
    nof1_rc_value rc = nof1_arguments_read(&usage, 1, &plan, argc, argv, &help, &error);
    if (help) {
        return 0;
    }
    rc = rc == NOF1_OK ? run_plan(&result, &connection, plan, signing_key, quiet, &error) : rc;
    const char *query =
        json_string_value(json_object_get(json_object_get(result, "provenance"), "plan"));
    char next[96];
    snprintf(next, sizeof next, "nof1 result %s prints it again", query == NULL ? "" : query);
    return rc != NOF1_OK ? nof1_command_refused("nof1 run", rc, &error, json)
                         : nof1_command_result(result, json, query == NULL ? NULL : next);
}

static bool read_hash(uint8_t out[NOF1_HASH_BYTES], const char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 2 * NOF1_HASH_BYTES; ++i) {
        const char *digit = text[i] == '\0' ? NULL : strchr(digits, text[i]);
        if (digit == NULL) {
            return false;
        }
        unsigned value = (unsigned)(digit - digits);
        out[i / 2] = (uint8_t)(i % 2 == 0 ? value << 4 : out[i / 2] | value);
    }
    return text[2 * NOF1_HASH_BYTES] == '\0';
}

static nof1_rc check_charter(struct nof1_client *client, const uint8_t *pin,
                             struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_json_freep) json_t *atoms = NULL;
    const struct nof1_charter *charter = NULL;
    struct nof1_slice census = {0};
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    return nof1_remote_charter(&charter, &census, &atoms, arena, client, pin, error);
}

static nof1_rc ask(json_t **out, struct nof1_connection *connection, bool result,
                   const uint8_t *hash, struct nof1_error *error)
{
    TRY(nof1_connection_open(connection, error));
    struct nof1_client *client = NULL;
    nof1_rc_value rc =
        nof1_client_new(&client, connection->target, NULL, &connection->files, error);
    if (rc == NOF1_OK && connection->pin != NULL) {
        rc = check_charter(client, connection->pin, error);
    }
    if (rc == NOF1_OK) {
        rc = result ? nof1_remote_result(out, client, hash, error)
                    : nof1_remote_status(out, client, hash, error);
    }
    nof1_client_free(client);
    nof1_connection_close(connection);
    return rc;
}

int nof1_command_status(int argc, char **argv)
{
    struct nof1_connection connection = {0};
    struct nof1_error error = {.rc = NOF1_OK};
    NOF1_CLEANUP(nof1_json_freep) json_t *status = NULL;
    bool help = false;
    const struct nof1_argument rows[] = {NOF1_CONNECTION_ARGUMENTS(connection), NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1 status --target HOST:PORT --ca FILE --cert FILE --key FILE [--charter FILE|HASH]",
        "Print the state of every query as JSON: who is awaited, since when.\n", rows, 0};
    nof1_rc_value rc = nof1_arguments_read(&usage, 0, NULL, argc, argv, &help, &error);
    if (help) {
        return 0;
    }
    rc = rc == NOF1_OK ? ask(&status, &connection, false, NULL, &error) : rc;
    return rc != NOF1_OK ? nof1_command_failed("nof1 status", rc, &error)
                         : nof1_command_result(status, true, NULL);
}

int nof1_command_result_of(int argc, char **argv)
{
    struct nof1_connection connection = {0};
    struct nof1_error error = {.rc = NOF1_OK};
    NOF1_CLEANUP(nof1_json_freep) json_t *result = NULL;
    uint8_t hash[NOF1_HASH_BYTES];
    const char *query = NULL;
    bool json = false;
    bool help = false;
    const struct nof1_argument rows[] = {
        NOF1_CONNECTION_ARGUMENTS(connection),
        {"json", NULL, NULL, &json, "print one JSON object", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1 result QUERY --target HOST:PORT --ca FILE --cert FILE --key FILE "
        "[--charter FILE|HASH] [--json]",
        "Print the result of a query, named by its 64 hex digits.\n", rows, 0};
    nof1_rc_value rc = nof1_arguments_read(&usage, 1, &query, argc, argv, &help, &error);
    if (help) {
        return 0;
    }
    if (rc == NOF1_OK && !read_hash(hash, query)) {
        rc = nof1_fail(&error, NOF1_E_USAGE, "QUERY: 64 hex digits expected");
    }
    rc = rc == NOF1_OK ? ask(&result, &connection, true, hash, &error) : rc;
    if (rc == NOF1_OK && result == NULL) {
        rc = nof1_fail(&error, NOF1_E2501, "the query has no result yet; see nof1 status");
    }
    return rc != NOF1_OK ? nof1_command_failed("nof1 result", rc, &error)
                         : nof1_command_result(result, json, NULL);
}
