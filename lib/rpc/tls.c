/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Mutual TLS 1.3 over gRPC core 1.51: see tls.h. What was measured and must stay:
 * - TLS 1.2 is off only by `Protocol = -TLSv1.2` in a configuration loaded before grpc_init;
 * - gRPC's own revocation folder lets everybody in when a list is missing, never re-reads a list
 * that   was replaced, and is skipped on resumption: so the gate checks lists itself, for every
 *   handshake and every call, and tickets are off;
 * - a verifier on the client would replace the check of the server's name: there is none.
 */
#include "tls.h"

#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/log.h>
#include <sys/files.h>

#define REFRESH_SECONDS 10
#define PEM_LIMIT ((size_t)4 << 20)

/* ---- the gate -------------------------------------------------------------------------------- */

struct nof1_gate {
    pthread_mutex_t lock; /* guards everything below */
    size_t references;
    char *ca, *crl_folder;
    struct nof1_trust *trust;
    struct nof1_arena *arena; /* owns the list */
    size_t count;
    struct nof1_allowed *allowed;
};

nof1_rc nof1_gate_new(struct nof1_gate **out, const struct nof1_tls_files *files,
                      struct nof1_error *error)
{
    *out = NULL;
    struct nof1_gate *gate = calloc(1, sizeof *gate);
    ENSURE(gate != NULL, NOF1_E_NO_MEMORY);
    pthread_mutex_init(&gate->lock, NULL);
    gate->references = 1;
    gate->ca = strdup(files->ca);
    gate->crl_folder = files->crl_folder == NULL ? NULL : strdup(files->crl_folder);
    bool copied = gate->ca != NULL && (files->crl_folder == NULL || gate->crl_folder != NULL);
    nof1_rc_value rc = copied ? nof1_gate_set(gate, 0, NULL, error) : NOF1_E_NO_MEMORY;
    if (rc != NOF1_OK) {
        nof1_gate_release(gate);
        return rc;
    }
    *out = gate;
    return NOF1_OK;
}

void nof1_gate_release(struct nof1_gate *gate)
{
    if (gate == NULL) {
        return;
    }
    pthread_mutex_lock(&gate->lock);
    size_t left = --gate->references;
    pthread_mutex_unlock(&gate->lock);
    if (left > 0) {
        return;
    }
    pthread_mutex_destroy(&gate->lock);
    nof1_trust_free(gate->trust);
    nof1_arena_free(gate->arena);
    free(gate->ca);
    free(gate->crl_folder);
    free(gate);
}

static struct nof1_allowed *copy_list(struct nof1_arena *arena, size_t count,
                                      const struct nof1_allowed *allowed)
{
    struct nof1_allowed *copy = nof1_arena_alloc(arena, count + 1, sizeof *copy);
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = (struct nof1_allowed){
            .spiffe = nof1_arena_text(arena, allowed[i].spiffe),
            .id = nof1_arena_text(arena, allowed[i].id),
            .role = allowed[i].role,
        };
        if (allowed[i].spki != NULL) {
            copy[i].spki = nof1_arena_copy(arena, nof1_slice_of(allowed[i].spki, 32)).data;
        }
        bool whole = copy[i].spiffe != NULL && copy[i].id != NULL &&
                     (allowed[i].spki == NULL || copy[i].spki != NULL);
        copy = whole ? copy : NULL;
    }
    return copy;
}

nof1_rc nof1_gate_set(struct nof1_gate *gate, size_t count, const struct nof1_allowed *allowed,
                      struct nof1_error *error)
{
    struct nof1_trust *trust = NULL;
    TRY(nof1_trust_load(&trust, gate->ca, gate->crl_folder, error));
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_allowed *copy = arena == NULL ? NULL : copy_list(arena, count, allowed);
    if (copy == NULL) {
        nof1_arena_free(arena);
        nof1_trust_free(trust);
        return NOF1_E_NO_MEMORY;
    }
    pthread_mutex_lock(&gate->lock);
    struct nof1_trust *old_trust = gate->trust;
    struct nof1_arena *old_arena = gate->arena;
    gate->trust = trust;
    gate->arena = arena;
    gate->allowed = copy;
    gate->count = count;
    pthread_mutex_unlock(&gate->lock);
    nof1_trust_free(old_trust);
    nof1_arena_free(old_arena);
    return NOF1_OK;
}

static const struct nof1_allowed *find_allowed(const struct nof1_gate *gate, const char *spiffe)
{
    for (size_t i = 0; i < gate->count; i++) {
        if (strcmp(gate->allowed[i].spiffe, spiffe) == 0) {
            return &gate->allowed[i];
        }
    }
    return NULL;
}

static nof1_rc check_listed(struct nof1_gate *gate, struct nof1_identity *identity,
                            struct nof1_error *error)
{
    const struct nof1_allowed *entry = find_allowed(gate, identity->spiffe);
    if (entry == NULL) {
        return nof1_fail(error, NOF1_E_TLS, "not on the charter");
    }
    if (entry->role != identity->role) {
        return nof1_fail(error, NOF1_E_TLS, "the charter has this name in another role");
    }
    if (entry->spki != NULL && memcmp(entry->spki, identity->spki, 32) != 0) {
        return nof1_fail(error, NOF1_E_TLS, "the charter pins another key for this name");
    }
    snprintf(identity->id, sizeof identity->id, "%s", entry->id);
    return NOF1_OK;
}

nof1_rc nof1_gate_check(struct nof1_gate *gate, struct nof1_slice pem,
                        struct nof1_identity *identity, struct nof1_error *error)
{
    TRY(nof1_identity_read(identity, pem, error));
    pthread_mutex_lock(&gate->lock);
    nof1_rc_value rc = nof1_trust_check(gate->trust, pem, false, error);
    rc = rc == NOF1_OK ? check_listed(gate, identity, error) : rc;
    pthread_mutex_unlock(&gate->lock);
    return rc;
}

int64_t nof1_gate_next_update(struct nof1_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    int64_t next = nof1_trust_next_update(gate->trust);
    pthread_mutex_unlock(&gate->lock);
    return next;
}

/* ---- the verifier: called by gRPC after every handshake of the server ------------------------ */

struct verifier {
    grpc_tls_certificate_verifier_external external;
    struct nof1_gate *gate;
};

static int verify(void *user_data, grpc_tls_custom_verification_check_request *request,
                  grpc_tls_on_custom_verification_check_done_cb callback, void *callback_arg,
                  grpc_status_code *sync_status, char **sync_error_details)
{
    const struct verifier *verifier = user_data;
    const char *pem = request->peer_info.peer_cert;
    struct nof1_identity identity = {0};
    struct nof1_error error = {0};
    (void)callback;
    (void)callback_arg;
    nof1_rc_value rc = pem == NULL ? nof1_fail(&error, NOF1_E_TLS, "no certificate")
                                   : nof1_gate_check(verifier->gate, nof1_slice_text(pem),
                                                     &identity, &error);
    *sync_status = rc == NOF1_OK ? GRPC_STATUS_OK : GRPC_STATUS_UNAUTHENTICATED;
    if (rc != NOF1_OK) {
        static const char text[] = "refused";
        nof1_log(NOF1_LOG_WARNING, "tls.refused",
                 NOF1_LOG_FIELDS(nof1_log_text("reason", error.message),
                                 nof1_log_text("peer", identity.spiffe)));
        *sync_error_details = gpr_malloc(sizeof text); /* gRPC frees it with gpr_free */
        memcpy(*sync_error_details, text, sizeof text);
    }
    return 1; /* decided here, nothing is pending */
}

static void cancel(void *user_data, grpc_tls_custom_verification_check_request *request)
{
    (void)user_data;
    (void)request;
}

static void destruct(void *user_data)
{
    struct verifier *verifier = user_data;
    nof1_gate_release(verifier->gate);
    free(verifier);
}

static grpc_tls_certificate_verifier *new_verifier(struct nof1_gate *gate)
{
    struct verifier *verifier = calloc(1, sizeof *verifier);
    if (verifier == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&gate->lock);
    gate->references++;
    pthread_mutex_unlock(&gate->lock);
    verifier->gate = gate;
    verifier->external = (grpc_tls_certificate_verifier_external){
        .user_data = verifier, .verify = verify, .cancel = cancel, .destruct = destruct};
    return grpc_tls_certificate_verifier_external_create(&verifier->external);
}

/* ---- credentials ----------------------------------------------------------------------------- */

grpc_server_credentials *nof1_tls_server(const struct nof1_tls_files *files,
                                         struct nof1_gate *gate)
{
    grpc_tls_certificate_verifier *verifier = new_verifier(gate);
    if (verifier == NULL) {
        return NULL;
    }
    grpc_tls_certificate_provider *provider = grpc_tls_certificate_provider_file_watcher_create(
        files->key, files->cert, files->ca, REFRESH_SECONDS);
    grpc_tls_credentials_options *options = grpc_tls_credentials_options_create();
    grpc_tls_credentials_options_set_certificate_provider(options, provider);
    grpc_tls_credentials_options_watch_root_certs(options);
    grpc_tls_credentials_options_watch_identity_key_cert_pairs(options);
    grpc_tls_credentials_options_set_cert_request_type(
        options, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    /* An empty folder: gRPC then logs the number of OpenSSL's verdict, which names the reason of a
     * refusal; the lists themselves are the gate's business. */
    grpc_tls_credentials_options_set_crl_directory(options, "/nonexistent");
    grpc_tls_credentials_options_set_certificate_verifier(options, verifier);
    grpc_tls_certificate_verifier_release(verifier);
    grpc_server_credentials *credentials = grpc_tls_server_credentials_create(options);
    grpc_tls_certificate_provider_release(provider);
    return credentials;
}

static nof1_rc read_text(struct nof1_buffer *out, const char *path, struct nof1_error *error)
{
    TRY(nof1_file_read(out, path, PEM_LIMIT, error));
    return nof1_buffer_append(out, "", 1);
}

/* gRPC checks chain and name; who uses the channel checks revocation and role with
 * nof1_tls_peer. */
nof1_rc nof1_tls_client(grpc_channel_credentials **out, const struct nof1_tls_files *files,
                        struct nof1_error *error)
{
    struct nof1_buffer ca = {0};
    struct nof1_buffer cert = {0};
    struct nof1_buffer key = {0};
    *out = NULL;
    nof1_rc_value rc = read_text(&ca, files->ca, error);
    rc = rc == NOF1_OK ? read_text(&cert, files->cert, error) : rc;
    rc = rc == NOF1_OK ? read_text(&key, files->key, error) : rc;
    if (rc == NOF1_OK) {
        grpc_tls_identity_pairs *pairs = grpc_tls_identity_pairs_create();
        grpc_tls_identity_pairs_add_pair(pairs, (const char *)key.data, (const char *)cert.data);
        grpc_tls_certificate_provider *provider =
            grpc_tls_certificate_provider_static_data_create((const char *)ca.data, pairs);
        grpc_tls_credentials_options *options = grpc_tls_credentials_options_create();
        grpc_tls_credentials_options_set_certificate_provider(options, provider);
        grpc_tls_credentials_options_watch_root_certs(options);
        grpc_tls_credentials_options_watch_identity_key_cert_pairs(options);
        grpc_tls_credentials_options_set_verify_server_cert(options, 1);
        *out = grpc_tls_credentials_create(options);
        grpc_tls_certificate_provider_release(provider);
    }
    if (key.data != NULL) {
        OPENSSL_cleanse(key.data, key.length);
    }
    nof1_buffer_free(&key);
    nof1_buffer_free(&cert);
    nof1_buffer_free(&ca);
    if (rc == NOF1_OK && *out == NULL) {
        rc = nof1_fail(error, NOF1_E_CONFIG, "%s: cannot be used for TLS", files->cert);
    }
    return rc;
}

nof1_rc nof1_tls_peer(struct nof1_buffer *pem, grpc_call *call)
{
    grpc_auth_context *context = grpc_call_auth_context(call);
    ENSURE(context != NULL, NOF1_E_TLS);
    nof1_rc_value rc = NOF1_E_TLS;
    if (grpc_auth_context_peer_is_authenticated(context) != 0) {
        grpc_auth_property_iterator iterator =
            grpc_auth_context_find_properties_by_name(context, GRPC_X509_PEM_CERT_PROPERTY_NAME);
        const grpc_auth_property *property = grpc_auth_property_iterator_next(&iterator);
        if (property != NULL) {
            rc = nof1_buffer_append(pem, property->value, property->value_length);
        }
    }
    grpc_auth_context_release(context);
    return rc;
}

/* ---- the process ----------------------------------------------------------------------------- */

static const char openssl_configuration[] = "openssl_conf = nof1\n"
                                            "[nof1]\n"
                                            "ssl_conf = ssl\n"
                                            "[ssl]\n"
                                            "system_default = tls\n"
                                            "[tls]\n"
                                            "Protocol = -TLSv1.2\n"
                                            "Options = -SessionTicket\n";

/* The machine's own configuration is loaded first, so that it cannot come later and undo ours. */
static nof1_rc configure_openssl(struct nof1_error *error)
{
    OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL);
    CONF *configuration = NCONF_new(NULL);
    BIO *bio = BIO_new_mem_buf(openssl_configuration, -1);
    long line = 0;
    bool good = configuration != NULL && bio != NULL &&
                NCONF_load_bio(configuration, bio, &line) > 0 &&
                CONF_modules_load(configuration, NULL, 0) > 0;
    BIO_free(bio);
    NCONF_free(configuration);
    ERR_clear_error();
    if (!good) {
        return nof1_fail(error, NOF1_E_TLS, "OpenSSL refused the setting that leaves TLS 1.3 only");
    }
    return NOF1_OK;
}

/* gRPC says why it refused a handshake in its log only: make those lines events with a reason. */
static void log_refusal(const char *message)
{
    static const char verdict[] = "Certificate verify failed with code ";
    const char *found = strstr(message, verdict);
    if (found != NULL) {
        long code = strtol(found + sizeof verdict - 1, NULL, 10);
        nof1_log(NOF1_LOG_WARNING, "tls.refused",
                 NOF1_LOG_FIELDS(nof1_log_text("reason", X509_verify_cert_error_string(code))));
        return;
    }
    /* error:0A0000C7:SSL routines::peer did not return a certificate */
    const char *reason = strstr(message, "::");
    nof1_log(NOF1_LOG_WARNING, "tls.refused",
             NOF1_LOG_FIELDS(nof1_log_text("reason", reason == NULL ? message : reason + 2)));
}

static void log_line(gpr_log_func_args *arguments)
{
    const char *message = arguments->message;
    if (strstr(message, "CRL") != NULL) {
        return; /* about the empty folder given above */
    }
    if (strstr(message, "Certificate verify failed with code") != NULL ||
        strstr(message, "Handshake failed with fatal error") != NULL) {
        log_refusal(message);
        return;
    }
    enum nof1_log_level level =
        arguments->severity == GPR_LOG_SEVERITY_ERROR ? NOF1_LOG_WARNING : NOF1_LOG_DEBUG;
    nof1_log(level, "grpc", NOF1_LOG_FIELDS(nof1_log_text("text", message)));
}

nof1_rc nof1_rpc_start(struct nof1_error *error)
{
    if (grpc_is_initialized() == 0) {
        TRY(configure_openssl(error));
        gpr_set_log_function(log_line);
        gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
        (void)setenv("GRPC_DNS_RESOLVER", "native", 0);
    }
    grpc_init();
    return NOF1_OK;
}

void nof1_rpc_stop(void)
{
    grpc_shutdown_blocking();
}
