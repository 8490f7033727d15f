/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The admin's side of the vault: one JSON object in, one out (vault.h). Only this user and root
 * reach the socket.
 */
#include "vault_parts.h"

#include <stdlib.h>
#include <string.h>

#include <base/hex.h>
#include <base/log.h>
#include <core/policy.h>

static bool read_hash(uint8_t out[32], const char *text)
{
    return text != NULL && nof1_hex_read(out, 32, text);
}

static nof1_rc write_json(struct nof1_buffer *reply, json_t *value)
{
    char *text = value == NULL ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(value);
    ENSURE(text != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = nof1_buffer_append(reply, text, strlen(text));
    free(text);
    return rc;
}

static nof1_rc complain(struct nof1_buffer *reply, nof1_rc_value rc, const char *message)
{
    return write_json(reply, json_pack("{s:b, s:s, s:s}", "ok", 0, "code", nof1_rc_code(rc),
                                       "message", message));
}

static nof1_rc agree(struct nof1_buffer *reply)
{
    return write_json(reply, json_pack("{s:b}", "ok", 1));
}

static nof1_rc status(struct nof1_vault *vault, struct nof1_buffer *reply)
{
    json_t *site = nof1_site_status(vault->site);
    ENSURE(site != NULL, NOF1_E_NO_MEMORY);
    return write_json(reply, json_pack("{s:b, s:b, s:i, s:o, s:o}", "ok", 1, "edge",
                                       vault->edge != NULL ? 1 : 0, "epoch", (int)vault->epoch.id,
                                       "status", site, "limits",
                                       nof1_policy_json(&vault->site_config.policy)));
}

/* Who decides: printable ASCII, as the ledger's documents are. */
static const char *read_by(const json_t *request)
{
    const char *by = json_string_value(json_object_get(request, "by"));
    by = by == NULL ? "" : by;
    for (const char *c = by; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~') {
            return "";
        }
    }
    return strlen(by) <= 128 ? by : "";
}

static nof1_rc decide(struct nof1_vault *vault, const json_t *request, bool approve,
                      struct nof1_buffer *reply)
{
    uint8_t hash[32];
    if (!read_hash(hash, json_string_value(json_object_get(request, "query")))) {
        return complain(reply, NOF1_E_USAGE, "query must be the plan's hash, 64 hex digits");
    }
    if (nof1_site_declined(vault->site, hash)) {
        return complain(reply, NOF1_E_USAGE,
                        "this site has refused the plan, and a refusal is final: the statistician "
                        "may submit another plan");
    }
    TRY(nof1_vault_step(vault, (struct nof1_event){.kind = NOF1_EVENT_APPROVE,
                                                   .peer = read_by(request),
                                                   .bytes = nof1_slice_of(hash, sizeof hash),
                                                   .flag = approve}));
    TRY(approve ? NOF1_OK : nof1_vault_hold(vault));
    return agree(reply);
}

/* Nothing more leaves after the answer: attempts are over, and what still waited to be written is
 * thrown away with the connection. */
static nof1_rc pause(struct nof1_vault *vault, const json_t *request, bool paused,
                     struct nof1_buffer *reply)
{
    TRY(nof1_vault_step(vault, (struct nof1_event){.kind = NOF1_EVENT_PAUSE,
                                                   .peer = read_by(request), .flag = paused}));
    TRY(paused ? nof1_vault_hold(vault) : NOF1_OK);
    return agree(reply);
}

static nof1_rc preview(struct nof1_vault *vault, const json_t *request, struct nof1_buffer *reply)
{
    uint8_t hash[32];
    json_t *shown = NULL;
    struct nof1_error error = {0};
    if (!read_hash(hash, json_string_value(json_object_get(request, "query")))) {
        return complain(reply, NOF1_E_USAGE, "query must be the plan's hash, 64 hex digits");
    }
    nof1_rc_value rc = nof1_site_preview(&shown, vault->site, hash, &error);
    if (rc != NOF1_OK) {
        return complain(reply, rc, error.message);
    }
    return write_json(reply, json_pack("{s:b, s:o}", "ok", 1, "preview", shown));
}

nof1_rc nof1_vault_admin(struct nof1_vault *vault, struct nof1_slice line,
                         struct nof1_buffer *reply)
{
    json_t *request =
        json_loadb((const char *)line.data, line.length, JSON_REJECT_DUPLICATES, NULL);
    const char *command = json_string_value(json_object_get(request, "command"));
    nof1_rc_value rc = NOF1_OK;
    if (command == NULL) {
        rc = complain(reply, NOF1_E_DECODE, "not a JSON object with a command");
        json_decref(request);
        return rc;
    }
    nof1_log(NOF1_LOG_NOTICE, "admin.command", NOF1_LOG_FIELDS(nof1_log_text("command", command)));
    if (strcmp(command, "status") == 0) {
        rc = status(vault, reply);
    } else if (strcmp(command, "pause") == 0 || strcmp(command, "resume") == 0) {
        rc = pause(vault, request, command[0] == 'p', reply);
    } else if (strcmp(command, "preview") == 0) {
        rc = preview(vault, request, reply);
    } else if (strcmp(command, "approve") == 0 || strcmp(command, "refuse") == 0) {
        rc = decide(vault, request, command[0] == 'a', reply);
    } else if (strcmp(command, "reload") == 0) {
        rc = nof1_vault_reload(vault); /* before the answer: what was changed holds from then on */
        rc = rc == NOF1_OK ? agree(reply) : rc;
    } else if (strcmp(command, "shutdown") == 0) {
        vault->stop = true;
        rc = agree(reply);
    } else {
        rc = complain(reply, NOF1_E_USAGE, "no such command");
    }
    json_decref(request);
    return rc;
}
