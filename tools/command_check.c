/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1 check`: what a plan would release, what it would need, who would refuse and why, before any
 * budget is spent. Charter and census come from a coordinator or from files.
 */
#include <tools/commands.h>

#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <sys/arguments.h>
#include <sys/clock.h>
#include <sys/files.h>
#include <tools/assess.h>
#include <tools/connection.h>
#include <tools/remote.h>

#define MOST_TEXT ((size_t)8 << 20)

struct check {
    struct nof1_connection connection;
    struct nof1_arena *arena;
    const char *plan, *census_file;
    bool json;
    const struct nof1_charter *charter;
    struct nof1_slice census;
};

static nof1_rc read_text(struct nof1_slice *out, struct nof1_arena *arena, const char *path,
                         struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    TRY(nof1_file_read(&bytes, path, MOST_TEXT, error));
    *out = nof1_arena_copy(arena, nof1_buffer_slice(&bytes));
    ENSURE(out->data != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static nof1_rc ask_coordinator(struct check *check, struct nof1_error *error)
{
    struct nof1_client *client = NULL;
    json_t *atoms = NULL;
    TRY(nof1_connection_open(&check->connection, error));
    nof1_rc_value rc =
        nof1_client_new(&client, check->connection.target, NULL, &check->connection.files, error);
    if (rc == NOF1_OK) {
        rc = nof1_remote_charter(&check->charter, &check->census, &atoms, check->arena, client,
                                 check->connection.pin, error);
        json_decref(atoms);
        nof1_client_free(client);
    }
    nof1_connection_close(&check->connection);
    return rc;
}

/* The census names the hash of its charter. */
static nof1_rc read_files(struct check *check, struct nof1_error *error)
{
    if (check->census_file != NULL) {
        TRY(read_text(&check->census, check->arena, check->census_file, error));
    }
    return nof1_connection_charter(&check->charter, check->arena, check->connection.charter, error);
}

static nof1_rc run(json_t **out, struct check *check, struct nof1_error *error)
{
    struct nof1_slice text;
    const struct nof1_node *node = NULL;
    struct nof1_clock clock = {0};
    check->arena = nof1_arena_new();
    ENSURE(check->arena != NULL, NOF1_E_NO_MEMORY);
    TRY(read_text(&text, check->arena, check->plan, error));
    TRY(nof1_yaml_read(&node, check->arena, check->plan, text, error));
    bool files = check->connection.target == NULL && check->connection.charter != NULL;
    TRY(files ? read_files(check, error) : ask_coordinator(check, error));
    return nof1_assess(out, check->charter, check->census, node, nof1_clock_now(&clock) / 1000,
                       error);
}

static void print_line(const char *name, const json_t *one)
{
    const char *verdict = json_string_value(json_object_get(one, "verdict"));
    if (json_object_get(one, "form") == NULL) {
        printf("  %-10s %s\n", name, verdict);
        return;
    }
    printf("  %-10s %-8s %8lld %8lld %7lld %8.4f  %9lld  %s\n", name,
           json_string_value(json_object_get(one, "form")),
           (long long)json_integer_value(json_object_get(one, "scalars")),
           (long long)json_integer_value(json_object_get(one, "design_scalars")),
           (long long)json_integer_value(json_object_get(one, "rounds")),
           json_number_value(json_object_get(one, "ratio")),
           (long long)json_integer_value(json_object_get(one, "patients_needed")), verdict);
}

static void print_check(const json_t *result)
{
    size_t index;
    const json_t *one;
    printf(
        "%s: charter, policy and census only; a site's own limits and data are not known here\n\n",
        json_string_value(json_object_get(result, "analysis")));
    printf("  %-10s %-8s %8s %8s %7s %8s  %9s  %s\n", "incomplete", "form", "scalars", "design",
           "rounds", "ratio", "patients>=", "verdict");
    print_line("this plan", result);
    json_array_foreach(json_object_get(result, "alternatives"), index, one)
    {
        print_line(json_string_value(json_object_get(one, "incomplete")), one);
    }
    json_array_foreach(json_object_get(result, "refusals"), index, one)
    {
        printf("\nwould be refused: %s %s\n  %s\n  remedy: %s\n",
               json_string_value(json_object_get(one, "code")),
               json_string_value(json_object_get(one, "rule")),
               json_string_value(json_object_get(one, "text")),
               json_string_value(json_object_get(one, "remedy")));
    }
    if (json_array_size(json_object_get(result, "refusals")) == 0) {
        printf("\nnext: nof1 run PLAN --target HOST:PORT --ca FILE --cert FILE --key FILE\n");
    }
}

int nof1_command_check(int argc, char **argv)
{
    struct check check = {0};
    struct nof1_error error = {.rc = NOF1_OK};
    NOF1_CLEANUP(nof1_json_freep) json_t *result = NULL;
    bool help = false;
    const struct nof1_argument rows[] = {
        NOF1_CONNECTION_ARGUMENTS(check.connection),
        {"census", "FILE", &check.census_file, NULL,
         "without --target: the census, canonical JSON, of --charter FILE", false},
        {"json", NULL, NULL, &check.json, "print one JSON object", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1 check PLAN (--target HOST:PORT --ca FILE --cert FILE --key FILE [--charter "
        "FILE|HASH] | "
        "--charter FILE [--census FILE]) [--json]",
        "Say what the plan would release, how many patients it needs, and which rule would refuse\n"
        "it, before any budget is spent; propose the other forms of the same question.\n",
        rows, 0};
    nof1_rc_value rc = nof1_arguments_read(&usage, 1, &check.plan, argc, argv, &help, &error);
    if (help) {
        return 0;
    }
    rc = rc == NOF1_OK ? run(&result, &check, &error) : rc;
    int code = 0;
    if (rc != NOF1_OK) {
        code = nof1_command_failed("nof1 check", rc, &error);
    } else {
        const json_t *first = json_array_get(json_object_get(result, "refusals"), 0);
        code = first == NULL ? 0 : 3;
        if (check.json) {
            (void)nof1_command_result(result, true, NULL);
        } else {
            print_check(result);
        }
    }
    if (check.arena != NULL) {
        nof1_arena_free(check.arena);
    }
    return code;
}
