/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reads certificates and judges them: see identity.h. RFC 5280 path checks are OpenSSL's.
 */
#include "identity.h"

#include <ctype.h>
#include <dirent.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <base/time.h>
#include <crypto/hash.h>
#include <sys/files.h>

#define PEM_LIMIT ((size_t)4 << 20)

/* ---- names ----------------------------------------------------------------------------------- */

static const struct {
    enum nof1_identity_role role;
    const char *name;
} role_names[] = {{NOF1_ROLE_SITE, "site"},
                  {NOF1_ROLE_STATISTICIAN, "statistician"},
                  {NOF1_ROLE_AUDITOR, "auditor"},
                  {NOF1_ROLE_COORDINATOR, "coordinator"}};

#define ROLE_NAMES (sizeof role_names / sizeof role_names[0])

static const char *role_name(enum nof1_identity_role role)
{
    for (size_t i = 0; i < ROLE_NAMES; i++) {
        if (role_names[i].role == role) {
            return role_names[i].name;
        }
    }
    return "none";
}

/* Copy one path segment; *text moves behind it. */
static bool take_segment(char out[NOF1_SPIFFE_MAX], const char **text)
{
    size_t length = 0;
    while (length + 1 < NOF1_SPIFFE_MAX && (isalnum((unsigned char)(*text)[length]) != 0 ||
                                            strchr(".-_", (*text)[length]) != NULL)) {
        if ((*text)[length] == '\0') {
            break;
        }
        out[length] = (*text)[length];
        length++;
    }
    out[length] = '\0';
    *text += length;
    return length > 0;
}

nof1_rc nof1_spiffe_read(struct nof1_identity *out, const char *text, struct nof1_error *error)
{
    static const char scheme[] = "spiffe://";
    char role[NOF1_SPIFFE_MAX];
    const char *rest = text + (sizeof scheme - 1);
    bool good = strlen(text) < NOF1_SPIFFE_MAX && strncmp(text, scheme, sizeof scheme - 1) == 0 &&
                take_segment(out->study, &rest) && *rest++ == '/' && take_segment(role, &rest) &&
                *rest++ == '/' && take_segment(out->id, &rest) && *rest == '\0';
    out->role = NOF1_ROLE_NONE;
    for (size_t i = 0; good && i < ROLE_NAMES; i++) {
        if (strcmp(role, role_names[i].name) == 0) {
            out->role = role_names[i].role;
        }
    }
    if (!good || out->role == NOF1_ROLE_NONE) {
        return nof1_fail(error, NOF1_E_TLS,
                         "the name is not spiffe://STUDY/ROLE/ID with ROLE site, statistician, "
                         "auditor or coordinator");
    }
    memcpy(out->spiffe, text, strlen(text) + 1);
    return NOF1_OK;
}

/* ---- one certificate ------------------------------------------------------------------------- */

static void free_certificate(X509 **certificate)
{
    X509_free(*certificate);
}

static void free_bio(BIO **bio)
{
    BIO_free(*bio);
}

static int64_t seconds_of(const ASN1_TIME *at)
{
    struct tm broken = {0};
    return ASN1_TIME_to_tm(at, &broken) == 1 ? (int64_t)timegm(&broken) : 0;
}

/* X509-SVID: exactly one URI name, and it is the SPIFFE id. */
static nof1_rc read_uri(struct nof1_identity *out, const X509 *certificate,
                        struct nof1_error *error)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    char text[NOF1_SPIFFE_MAX] = "";
    int uris = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI) {
            continue;
        }
        uris++;
        int length = ASN1_STRING_length(name->d.uniformResourceIdentifier);
        const unsigned char *data = ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
        if (length > 0 && (size_t)length < sizeof text &&
            memchr(data, '\0', (size_t)length) == NULL) {
            memcpy(text, data, (size_t)length);
            text[length] = '\0';
        }
    }
    GENERAL_NAMES_free(names);
    if (uris != 1) {
        return nof1_fail(error, NOF1_E_TLS,
                         "the certificate has %d URI names; it needs one, its SPIFFE id", uris);
    }
    return nof1_spiffe_read(out, text, error);
}

static nof1_rc read_spki(struct nof1_identity *out, const X509 *certificate)
{
    unsigned char *der = NULL;
    int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    ENSURE(length > 0, NOF1_E_TLS);
    nof1_rc_value rc = nof1_sha256(out->spki, nof1_slice_of(der, (size_t)length));
    OPENSSL_free(der);
    return rc;
}

static nof1_rc describe(struct nof1_identity *out, const X509 *certificate,
                        struct nof1_error *error)
{
    out->not_before = seconds_of(X509_get0_notBefore(certificate));
    out->not_after = seconds_of(X509_get0_notAfter(certificate));
    TRY(read_spki(out, certificate));
    return read_uri(out, certificate, error);
}

nof1_rc nof1_identity_read(struct nof1_identity *out, struct nof1_slice pem,
                           struct nof1_error *error)
{
    memset(out, 0, sizeof *out);
    ENSURE(pem.length <= PEM_LIMIT, NOF1_E_TLS);
    NOF1_CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.length);
    ENSURE(bio != NULL, NOF1_E_NO_MEMORY);
    NOF1_CLEANUP(free_certificate) X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    ERR_clear_error();
    if (certificate == NULL) {
        return nof1_fail(error, NOF1_E_TLS, "not a PEM certificate");
    }
    return describe(out, certificate, error);
}

/* ---- trust ----------------------------------------------------------------------------------- */

struct nof1_trust {
    X509_STORE *store;
    bool lists;
    int64_t next_update;
};

void nof1_trust_free(struct nof1_trust *trust)
{
    if (trust != NULL) {
        X509_STORE_free(trust->store);
        free(trust);
    }
}

int64_t nof1_trust_next_update(const struct nof1_trust *trust)
{
    return trust->next_update;
}

static nof1_rc add_lists(struct nof1_trust *trust, const char *path, struct nof1_error *error)
{
    struct nof1_buffer pem = {0};
    nof1_rc_value rc = nof1_file_read(&pem, path, PEM_LIMIT, error);
    BIO *bio = rc == NOF1_OK ? BIO_new_mem_buf(pem.data, (int)pem.length) : NULL;
    X509_CRL *list = NULL;
    while (bio != NULL && (list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
        int64_t next = seconds_of(X509_CRL_get0_nextUpdate(list));
        if (trust->next_update == 0 || next < trust->next_update) {
            trust->next_update = next;
        }
        /* The same list under two names is refused as a duplicate, which is fine. */
        (void)X509_STORE_add_crl(trust->store, list);
        X509_CRL_free(list);
    }
    ERR_clear_error();
    BIO_free(bio);
    nof1_buffer_free(&pem);
    return rc;
}

static nof1_rc add_folder(struct nof1_trust *trust, const char *folder, struct nof1_error *error)
{
    DIR *stream = opendir(folder);
    if (stream == NULL) {
        return nof1_fail(error, NOF1_E_CONFIG, "%s: the folder of revocation lists cannot be read",
                         folder);
    }
    nof1_rc_value rc = NOF1_OK;
    const struct dirent *item = NULL;
    while (rc == NOF1_OK && (item = readdir(stream)) != NULL) {
        char path[1024];
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", folder, item->d_name);
        if (item->d_name[0] != '.' && stat(path, &info) == 0 && S_ISREG(info.st_mode)) {
            rc = add_lists(trust, path, error);
        }
    }
    closedir(stream);
    if (rc == NOF1_OK && trust->next_update == 0) {
        rc = nof1_fail(error, NOF1_E_CONFIG,
                       "%s: no revocation list in it; put the CA's list there (PEM)", folder);
    }
    return rc;
}

nof1_rc nof1_trust_load(struct nof1_trust **out, const char *ca_file, const char *crl_folder,
                        struct nof1_error *error)
{
    *out = NULL;
    struct nof1_trust *trust = calloc(1, sizeof *trust);
    ENSURE(trust != NULL, NOF1_E_NO_MEMORY);
    trust->store = X509_STORE_new();
    nof1_rc_value rc = trust->store == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
    if (rc == NOF1_OK && X509_STORE_load_file(trust->store, ca_file) != 1) {
        rc = nof1_fail(error, NOF1_E_INPUT, "%s: not a PEM file of CA certificates", ca_file);
    }
    ERR_clear_error();
    if (rc == NOF1_OK && crl_folder != NULL) {
        trust->lists = true;
        rc = add_folder(trust, crl_folder, error);
    }
    if (rc != NOF1_OK) {
        nof1_trust_free(trust);
        return rc;
    }
    *out = trust;
    return NOF1_OK;
}

static void free_chain(STACK_OF(X509) * *chain)
{
    sk_X509_pop_free(*chain, X509_free);
}

static STACK_OF(X509) * read_chain(struct nof1_slice pem)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.length);
    X509 *certificate = NULL;
    while (chain != NULL && bio != NULL && sk_X509_num(chain) < 10 &&
           (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_push(chain, certificate) == 0) {
            X509_free(certificate);
            break;
        }
    }
    ERR_clear_error();
    BIO_free(bio);
    return chain;
}

nof1_rc nof1_trust_check(const struct nof1_trust *trust, struct nof1_slice pem, bool server,
                         struct nof1_error *error)
{
    ENSURE(pem.length <= PEM_LIMIT, NOF1_E_TLS);
    NOF1_CLEANUP(free_chain) STACK_OF(X509) *chain = read_chain(pem);
    if (chain == NULL || sk_X509_num(chain) == 0) {
        return nof1_fail(error, NOF1_E_TLS, "not a PEM certificate");
    }
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    ENSURE(context != NULL, NOF1_E_NO_MEMORY);
    int code = X509_V_ERR_UNSPECIFIED;
    if (X509_STORE_CTX_init(context, trust->store, sk_X509_value(chain, 0), chain) == 1 &&
        X509_STORE_CTX_set_default(context, server ? "ssl_server" : "ssl_client") == 1) {
        if (trust->lists) {
            X509_STORE_CTX_set_flags(context, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
        }
        int good = X509_verify_cert(context);
        code = good == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
        code = good != 1 && code == X509_V_OK ? X509_V_ERR_UNSPECIFIED : code;
    }
    X509_STORE_CTX_free(context);
    ERR_clear_error();
    if (code != X509_V_OK) {
        return nof1_fail(error, NOF1_E_TLS, "%s", X509_verify_cert_error_string(code));
    }
    return NOF1_OK;
}

/* ---- one's own identity ---------------------------------------------------------------------- */

static nof1_rc check_key(const struct nof1_tls_files *files, struct nof1_slice pem,
                         struct nof1_error *error)
{
    TRY(nof1_file_private(files->key, error));
    struct nof1_buffer text = {0};
    TRY(nof1_file_read(&text, files->key, PEM_LIMIT, error));
    BIO *key_bio = BIO_new_mem_buf(text.data, (int)text.length);
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.length);
    EVP_PKEY *key = key_bio == NULL ? NULL : PEM_read_bio_PrivateKey(key_bio, NULL, NULL, "");
    X509 *certificate = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
    bool readable = key != NULL;
    bool match = readable && certificate != NULL && X509_check_private_key(certificate, key) == 1;
    EVP_PKEY_free(key);
    X509_free(certificate);
    BIO_free(bio);
    BIO_free(key_bio);
    OPENSSL_cleanse(text.data, text.length);
    nof1_buffer_free(&text);
    ERR_clear_error();
    if (!readable) {
        return nof1_fail(error, NOF1_E_CONFIG, "%s: not an unencrypted PEM private key",
                         files->key);
    }
    if (!match) {
        return nof1_fail(error, NOF1_E_CONFIG,
                         "%s is not the key of %s: put both files of one request in place",
                         files->key, files->cert);
    }
    return NOF1_OK;
}

static nof1_rc check_time(const struct nof1_identity *identity, const char *path,
                          struct nof1_error *error)
{
    char at[NOF1_TIME_TEXT];
    int64_t now = (int64_t)time(NULL);
    if (now > identity->not_after) {
        nof1_time_text(at, identity->not_after);
        return nof1_fail(error, NOF1_E_TLS,
                         "%s expired at %s: ask the consortium's authority for a new certificate",
                         path, at);
    }
    if (now < identity->not_before) {
        nof1_time_text(at, identity->not_before);
        return nof1_fail(error, NOF1_E_TLS, "%s is valid from %s only: check this machine's clock",
                         path, at);
    }
    return NOF1_OK;
}

static nof1_rc check_issuer(const struct nof1_tls_files *files, struct nof1_slice pem, bool server,
                            struct nof1_error *error)
{
    struct nof1_trust *trust = NULL;
    struct nof1_error why = {0};
    TRY(nof1_trust_load(&trust, files->ca, files->crl_folder, error));
    nof1_rc_value rc = nof1_trust_check(trust, pem, server, &why);
    nof1_trust_free(trust);
    if (rc != NOF1_OK) {
        return nof1_fail(error, rc,
                         "%s is not accepted under %s (%s): ask the consortium's authority for a "
                         "%s certificate, and check that the CA file is the consortium's",
                         files->cert, files->ca, why.message, server ? "server" : "client");
    }
    return NOF1_OK;
}

nof1_rc nof1_identity_check(struct nof1_identity *out, const struct nof1_tls_files *files,
                            bool server, unsigned roles, struct nof1_error *error)
{
    struct nof1_buffer pem = {0};
    struct nof1_error why = {0};
    memset(out, 0, sizeof *out);
    nof1_rc_value rc = nof1_file_read(&pem, files->cert, PEM_LIMIT, error);
    struct nof1_slice bytes = nof1_buffer_slice(&pem);
    if (rc == NOF1_OK && (rc = nof1_identity_read(out, bytes, &why)) != NOF1_OK) {
        (void)nof1_fail(error, rc, "%s: %s", files->cert, why.message);
    }
    rc = rc == NOF1_OK ? check_key(files, bytes, error) : rc;
    rc = rc == NOF1_OK ? check_time(out, files->cert, error) : rc;
    rc = rc == NOF1_OK ? check_issuer(files, bytes, server, error) : rc;
    nof1_buffer_free(&pem);
    if (rc == NOF1_OK && ((unsigned)out->role & roles) == 0) {
        rc = nof1_fail(error, NOF1_E_TLS,
                       "%s is a certificate for the role %s (%s), which may not do this: use the "
                       "certificate made for this program",
                       files->cert, role_name(out->role), out->spiffe);
    }
    return rc;
}
