/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1-audit release`: the coordinator's release gate, repeated on a result by who has the file
 * (docs/protocol.md, "Tables"). It judges what the file shows; it never vouches for who made it.
 */
#include "reconstruct.h"

#include <stdio.h>
#include <string.h>

#include <base/document.h>
#include <base/hex.h>
#include <base/json.h>
#include <core/charter.h>
#include <core/policy.h>
#include <stats/cells.h>
#include <sys/arguments.h>
#include <sys/files.h>

#define MOST_TEXT ((size_t)8 << 20)

/* What to go by: a preset's limits or those of a charter, whose hash is "" when it is a draft. */
struct measure {
    const char *charter, *policy;
    struct nof1_limits limits;
    char hash[2 * 32 + 1];
};

static nof1_rc read_charter(struct measure *by, struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *arena = nof1_arena_new();
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer bytes = {0};
    const struct nof1_charter *charter = NULL;
    const struct nof1_node *node = NULL;
    ENSURE(arena != NULL, NOF1_E_NO_MEMORY);
    TRY(nof1_file_read(&bytes, by->charter, MOST_TEXT, error));
    struct nof1_slice text = nof1_buffer_slice(&bytes);
    if (text.length > 0 && text.data[0] == '{') {
        TRY(nof1_charter_read(&charter, arena, text, error));
        nof1_hex_text(by->hash, charter->hash, sizeof charter->hash);
    } else {
        TRY(nof1_yaml_read(&node, arena, by->charter, text, error));
        TRY(nof1_charter_from_node(&charter, arena, node, error));
    }
    by->limits = charter->limits;
    if (by->limits.open) {
        return nof1_fail(error, NOF1_E2401, "%s: a charter without disclosure control",
                         by->charter);
    }
    return NOF1_OK;
}

static nof1_rc read_measure(struct measure *by, struct nof1_error *error)
{
    if (by->charter != NULL && by->policy != NULL) {
        return nof1_fail(error, NOF1_E_USAGE, "--charter and --policy: only one of them");
    }
    if (by->charter != NULL) {
        return read_charter(by, error);
    }
    by->policy = by->policy == NULL ? "standard" : by->policy;
    if (strcmp(by->policy, "open") == 0 ||
        nof1_policy_preset(&by->limits, by->policy) != NOF1_OK) {
        return nof1_fail(error, NOF1_E_USAGE, "--policy: expected standard or ultra-rare");
    }
    return NOF1_OK;
}

static nof1_rc judge(const char *file, struct measure *by, struct nof1_error *error)
{
    json_error_t at;
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    TRY(read_measure(by, error));
    TRY(nof1_file_read(&text, file, MOST_TEXT, error));
    json_t *result NOF1_CLEANUP(nof1_json_freep) =
        json_loadb((const char *)text.data, text.length, JSON_REJECT_DUPLICATES, &at);
    if (!json_is_object(result)) {
        return nof1_fail(error, NOF1_E_INPUT, "%s:%d:%d: not one JSON object", file, at.line,
                         at.column);
    }
    const json_t *privacy = json_object_get(result, "privacy");
    const char *made = json_string_value(json_object_get(privacy, "policy"));
    const char *under = json_string_value(
        json_object_get(json_object_get(result, "provenance"), "charter"));
    if (made == NULL) {
        return nof1_fail(error, NOF1_E_INPUT, "%s: privacy.policy is missing: not a result", file);
    }
    if (strcmp(made, "charter") != 0) {
        return nof1_fail(error, NOF1_E2401, "%s: made without disclosure control", file);
    }
    if (by->hash[0] != '\0' && (under == NULL || strcmp(under, by->hash) != 0)) {
        return nof1_fail(error, NOF1_E_INPUT, "%s: made under charter %.64s, not under %s", file,
                         under == NULL ? "unknown" : under, by->charter);
    }
    return nof1_cells_gate(result, &by->limits, false, error);
}

int audit_command_release(int argc, char **argv)
{
    bool help = false;
    const char *file = NULL;
    struct measure by = {0};
    struct nof1_error error = {.rc = NOF1_OK};
    const struct nof1_argument rows[] = {
        {"charter", "FILE", &by.charter, NULL, "limits of this charter (signed or draft)", false},
        {"policy", "NAME", &by.policy, NULL,
         "limits of a preset: standard or ultra-rare (standard)", false},
        NOF1_ARGUMENTS_END};
    const struct nof1_usage_text usage = {
        "nof1-audit release [--charter FILE | --policy NAME] FILE",
        "Repeat the release gate on a result (JSON): no small or unrounded count in its tables,\n"
        "none that a sum or a quantile tells, no row about one patient or too few patients or\n"
        "sites. A signed charter must be the one that the result names. Signatures are not looked\n"
        "at.\n",
        rows, 0};
    nof1_rc_value rc = nof1_arguments_read(&usage, 1, &file, argc, argv, &help, &error);
    if (help) {
        return 0;
    }
    rc = rc == NOF1_OK ? judge(file, &by, &error) : rc;
    if (rc != NOF1_OK) {
        char text[1024];
        nof1_error_text(&error, text, sizeof text);
        fprintf(stderr, "nof1-audit release: %s\n", error.rc == rc ? text : nof1_rc_sentence(rc));
        return nof1_rc_exit_code(rc);
    }
    printf("%s: passes the release gate of %s %s\n", file,
           by.charter != NULL ? "charter" : "policy",
           by.charter != NULL ? by.charter : by.policy);
    return fflush(stdout) == 0 ? 0 : nof1_rc_exit_code(NOF1_E_IO);
}
