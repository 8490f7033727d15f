/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1-audit release`: the coordinator's release gate, repeated on a result by who has the file
 * (docs/protocol.md, "Tables"). It judges what the file shows; it never vouches for who made it.
 */
#include "reconstruct.h"

#include <stdio.h>
#include <string.h>

#include <base/json.h>
#include <core/policy.h>
#include <stats/cells.h>
#include <tools/arguments.h>

static nof1_rc judge(const char *file, const char *policy, struct nof1_error *error)
{
    struct nof1_limits limits;
    json_error_t at;
    if (strcmp(policy, "open") == 0 || nof1_policy_preset(&limits, policy) != NOF1_OK) {
        return nof1_fail(error, NOF1_E_USAGE, "--policy: expected standard or ultra-rare");
    }
    json_t *result NOF1_CLEANUP(nof1_json_freep) =
        json_load_file(file, JSON_REJECT_DUPLICATES, &at);
    if (!json_is_object(result)) {
        return nof1_fail(error, NOF1_E_INPUT, "%s: not one JSON object (line %d)", file, at.line);
    }
    const json_t *privacy = json_object_get(result, "privacy");
    const char *made = json_string_value(json_object_get(privacy, "policy"));
    if (made == NULL) {
        return nof1_fail(error, NOF1_E_INPUT, "%s: privacy.policy is missing: not a result", file);
    }
    if (strcmp(made, "charter") != 0) {
        return nof1_fail(error, NOF1_E2401, "%s: made without disclosure control", file);
    }
    return nof1_cells_gate(result, &limits, false, error);
}

int audit_command_release(int argc, char **argv)
{
    bool help = false;
    const char *file = NULL, *policy = "standard";
    struct nof1_error error = {.rc = NOF1_OK};
    const struct nof1_argument rows[] = {
        {"policy", "NAME", &policy, NULL, "limits: standard or ultra-rare (standard)"},
        {NULL, NULL, NULL, NULL, NULL}};
    const struct nof1_usage_text usage = {
        "nof1-audit release [--policy NAME] FILE",
        "Repeat the release gate on a result (JSON): no small or unrounded count in its tables,\n"
        "none that a sum tells, no row about one patient or too few sites. Signatures are not\n"
        "looked at.\n",
        rows};
    nof1_rc_value rc = nof1_arguments_read(&usage, 1, &file, argc, argv, &help, &error);
    if (help) {
        return 0;
    }
    rc = rc == NOF1_OK ? judge(file, policy, &error) : rc;
    if (rc != NOF1_OK) {
        char text[1024];
        nof1_error_text(&error, text, sizeof text);
        fprintf(stderr, "nof1-audit release: %s\n", error.rc == rc ? text : nof1_rc_sentence(rc));
        return nof1_rc_exit_code(rc);
    }
    printf("%s: passes the release gate of policy %s\n", file, policy);
    return fflush(stdout) == 0 ? 0 : nof1_rc_exit_code(NOF1_E_IO);
}
