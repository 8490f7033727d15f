/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What every client does around a call: open the channel, check who answers, explain failures.
 */
#include <rpc/link.h>

#include <string.h>

#include <rpc/message.h>
#include <sys/files.h>

static bool is_loopback(const char *target)
{
    return strncmp(target, "127.", 4) == 0 || strncmp(target, "[::1]", 5) == 0 ||
           strncmp(target, "localhost:", 10) == 0;
}

nof1_rc nof1_channel_open(grpc_channel **out, const char *target, const char *server_name,
                          const struct nof1_tls_files *files, struct nof1_error *error)
{
    grpc_channel_credentials *credentials = NULL;
    grpc_arg argument[15] = {
        nof1_arg_integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, NOF1_MESSAGE_MAX),
        nof1_arg_integer(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, NOF1_MESSAGE_MAX),
        /* Above the server's least interval of 10 s: it would end us with "too_many_pings". */
        nof1_arg_integer(GRPC_ARG_KEEPALIVE_TIME_MS, 30000),
        nof1_arg_integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000),
        nof1_arg_integer(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        nof1_arg_integer(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        nof1_arg_integer(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        nof1_arg_integer(GRPC_ARG_ENABLE_HTTP_PROXY, is_loopback(target) ? 0 : 1),
        nof1_arg_integer(GRPC_ARG_ENABLE_RETRIES, 0),
        nof1_arg_integer(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 15000),
        nof1_arg_integer(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200),
        nof1_arg_integer(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000),
        nof1_arg_integer(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        nof1_arg_integer(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, NOF1_STREAM_WINDOW),
    };
    size_t count = 14;
    if (server_name != NULL) {
        argument[count++] = nof1_arg_text(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, server_name);
    }
    TRY(nof1_tls_client(&credentials, files, error));
    grpc_channel_args arguments = {.num_args = count, .args = argument};
    *out = grpc_channel_create(target, credentials, &arguments);
    grpc_channel_credentials_release(credentials);
    return NOF1_OK;
}

static nof1_rc check_server(struct nof1_slice pem, const struct nof1_tls_files *files,
                            struct nof1_error *error)
{
    struct nof1_identity server;
    struct nof1_identity own;
    struct nof1_trust *trust = NULL;
    struct nof1_buffer own_pem = {0};
    TRY(nof1_identity_read(&server, pem, error));
    TRY(nof1_trust_load(&trust, files->ca, files->crl_folder, error));
    nof1_rc_value rc = nof1_trust_check(trust, pem, true, error);
    nof1_trust_free(trust);
    TRY(rc);
    rc = nof1_file_read(&own_pem, files->cert, (size_t)4 << 20, error);
    rc = rc == NOF1_OK ? nof1_identity_read(&own, nof1_buffer_slice(&own_pem), error) : rc;
    nof1_buffer_free(&own_pem);
    TRY(rc);
    if (server.role != NOF1_ROLE_COORDINATOR || strcmp(server.study, own.study) != 0) {
        return nof1_fail(error, NOF1_E_TLS,
                         "the other side is %s, not the coordinator of study %s", server.spiffe,
                         own.study);
    }
    return NOF1_OK;
}

nof1_rc nof1_channel_check(grpc_call *call, const struct nof1_tls_files *files,
                           struct nof1_error *error)
{
    struct nof1_buffer pem = {0};
    nof1_rc_value rc = nof1_tls_peer(&pem, call);
    rc = rc == NOF1_OK ? check_server(nof1_buffer_slice(&pem), files, error) : rc;
    nof1_buffer_free(&pem);
    return rc;
}

/* The rc of "E2205: text", or the one that fits the gRPC status. */
static nof1_rc_value code_of(grpc_status_code status, const char *details)
{
    char code[6] = "";
    if (strlen(details) > 6 && details[5] == ':') {
        memcpy(code, details, 5);
        nof1_rc_value rc = nof1_rc_from_code(code);
        if (rc != NOF1_RC_COUNT && rc != NOF1_OK) {
            return rc;
        }
    }
    switch (status) {
    case GRPC_STATUS_PERMISSION_DENIED:
        return NOF1_E_UNAUTHORISED;
    case GRPC_STATUS_UNAUTHENTICATED:
        return NOF1_E_TLS;
    case GRPC_STATUS_UNIMPLEMENTED:
    case GRPC_STATUS_INVALID_ARGUMENT:
        return NOF1_E_DECODE;
    default:
        return NOF1_E_UNREACHABLE;
    }
}

/* gRPC's words for a connection that was closed during or right after the handshake. */
static bool looks_refused(const char *details)
{
    static const char *const words[] = {"Socket closed", "Connection reset", "Broken pipe",
                                        "GOAWAY", "Handshake", "handshake", "certificate"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strstr(details, words[i]) != NULL) {
            return true;
        }
    }
    return false;
}

void nof1_channel_advice(struct nof1_error *out, const char *target, bool admitted,
                         grpc_status_code status, const char *details,
                         const struct nof1_tls_files *files, unsigned roles)
{
    struct nof1_identity own;
    struct nof1_error why = {0};
    nof1_rc_value rc = code_of(status, details);
    if (rc != NOF1_E_UNREACHABLE) {
        const char *text = strlen(details) > 7 && details[5] == ':' ? details + 7 : details;
        (void)nof1_fail(out, rc, "%s: %s", target, text);
        return;
    }
    if (nof1_identity_check(&own, files, false, roles, &why) != NOF1_OK) {
        (void)nof1_fail(out, why.rc, "%s", why.message);
        return;
    }
    if (strstr(details, "CERTIFICATE_VERIFY_FAILED") != NULL ||
        strstr(details, "certificate verify failed") != NULL ||
        strstr(details, "Hostname Verification") != NULL) {
        (void)nof1_fail(out, NOF1_E_TLS,
                        "%s: its certificate is not the coordinator's under %s: check the address, "
                        "--server-name and the CA file, and whether a proxy opens TLS (%s)",
                        target, files->ca, details);
    } else if (admitted && looks_refused(details)) {
        (void)nof1_fail(out, NOF1_E_UNREACHABLE, "%s: the connection was lost (%s)", target,
                        details);
    } else if (looks_refused(details)) {
        (void)nof1_fail(out, NOF1_E_TLS,
                        "%s closed the connection. Seen from here the certificate of %s is in "
                        "order, so ask the coordinator's operator for the event tls.refused in its "
                        "log: is this name on the charter, and was the certificate revoked? (%s)",
                        target, own.spiffe, details);
    } else {
        (void)nof1_fail(out, NOF1_E_UNREACHABLE,
                        "%s cannot be reached: check address, port, firewall and https_proxy, and "
                        "that the coordinator runs (%s)",
                        target, details);
    }
}
