/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How every command of `nof1` ends: errors on stderr, results on stdout, exit codes of the one
 * table.
 */
#include <tools/commands.h>

#include <stdio.h>

#include <base/json.h>
#include <tools/print.h>

int nof1_command_failed(const char *command, nof1_rc_value rc, const struct nof1_error *error)
{
    char text[1024];
    if (error->rc == rc) {
        nof1_error_text(error, text, sizeof text);
        fprintf(stderr, "%s: %s\n", command, text);
    } else {
        fprintf(stderr, "%s: %s (%s: %s)\n", command, nof1_rc_sentence(rc), nof1_rc_code(rc),
                nof1_rc_remedy(rc));
    }
    return nof1_rc_exit_code(rc);
}

static int exit_code_of(const json_t *result)
{
    const json_t *refusal = json_object_get(result, "refusal");
    const char *code = json_string_value(json_object_get(refusal, "code"));
    if (refusal == NULL) {
        return 0;
    }
    nof1_rc_value rc = code == NULL ? NOF1_RC_COUNT : nof1_rc_from_code(code);
    return rc == NOF1_RC_COUNT ? 3 : nof1_rc_exit_code(rc);
}

int nof1_command_result(const json_t *result, bool json, const char *next)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer out = {0};
    nof1_rc_value rc =
        json ? nof1_json_write(&out, result, true) : nof1_print_result(&out, result, next);
    if (rc == NOF1_OK && json) {
        rc = nof1_buffer_append(&out, "\n", 1);
    }
    if (rc != NOF1_OK || fwrite(out.data, 1, out.length, stdout) != out.length ||
        fflush(stdout) != 0) {
        return nof1_rc_exit_code(NOF1_E_IO);
    }
    return exit_code_of(result);
}

int nof1_command_refused(const char *command, nof1_rc_value rc, const struct nof1_error *error,
                         bool json)
{
    int code = nof1_rc_exit_code(rc);
    if (code != 3 && code != 5) {
        return nof1_command_failed(command, rc, error);
    }
    NOF1_CLEANUP(nof1_json_freep)
    json_t *result = json_pack("{s:{s:s, s:s, s:s, s:s, s:n}}", "refusal", "code", nof1_rc_code(rc),
                               "rule", nof1_rc_sentence(rc), "text",
                               error->rc == rc && error->message[0] != '\0' ? error->message
                                                                            : nof1_rc_sentence(rc),
                               "remedy", nof1_rc_remedy(rc), "retry_after");
    return result == NULL ? nof1_command_failed(command, rc, error)
                          : nof1_command_result(result, json, NULL);
}
