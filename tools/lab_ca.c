/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A throw-away authority: see lab_ca.h. Profiles: certs/profiles; RFC 5280, SPIFFE X509-SVID.
 */
#include <tools/lab_ca.h>

#include <stdio.h>
#include <stdlib.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <sys/files.h>

#define DAY 86400
#define BACKDATED 300 /* seconds, for clocks that differ a little */

struct nof1_lab_ca {
    char study[128];
    EVP_PKEY *key;
    X509 *cert;
};

static void free_cert(X509 **cert)
{
    X509_free(*cert);
}

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_bio(BIO **bio)
{
    BIO_free_all(*bio);
}

static bool add_name(X509_NAME *name, const char *field, const char *text)
{
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text, -1,
                                      -1, 0) == 1;
}

static bool add_extension(X509 *cert, const X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, (X509 *)(uintptr_t)issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool added = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

/* Version, serial, times, key: the same for every certificate. */
static bool start_cert(X509 *cert, EVP_PKEY *key)
{
    unsigned char serial[16];
    ASN1_INTEGER *number = X509_get_serialNumber(cert);
    bool good = RAND_bytes(serial, sizeof serial) == 1;
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive, always 16 bytes */
    BIGNUM *big = good ? BN_bin2bn(serial, sizeof serial, NULL) : NULL;
    good = big != NULL && BN_to_ASN1_INTEGER(big, number) != NULL;
    BN_free(big);
    return good && X509_set_version(cert, X509_VERSION_3) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATED) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(cert), DAY) != NULL &&
           X509_set_pubkey(cert, key) == 1;
}

static bool make_root(struct nof1_lab_ca *ca)
{
    char names[256];
    char common[256];
    snprintf(names, sizeof names, "URI:spiffe://%s", ca->study);
    snprintf(common, sizeof common, "%s lab authority", ca->study);
    ca->key = EVP_EC_gen("P-256");
    ca->cert = X509_new();
    X509_NAME *name = ca->cert == NULL ? NULL : X509_get_subject_name(ca->cert);
    return ca->key != NULL && ca->cert != NULL && start_cert(ca->cert, ca->key) &&
           add_name(name, "O", ca->study) && add_name(name, "CN", common) &&
           X509_set_issuer_name(ca->cert, name) == 1 &&
           add_extension(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(ca->cert, ca->cert, NID_subject_key_identifier, "hash") &&
           add_extension(ca->cert, ca->cert, NID_authority_key_identifier, "keyid:always") &&
           X509_sign(ca->cert, ca->key, EVP_sha256()) > 0;
}

nof1_rc_value nof1_lab_ca_new(struct nof1_lab_ca **out, const char *study)
{
    struct nof1_lab_ca *ca = calloc(1, sizeof *ca);
    ENSURE(ca != NULL, NOF1_E_NO_MEMORY);
    snprintf(ca->study, sizeof ca->study, "%s", study);
    if (!make_root(ca)) {
        nof1_lab_ca_free(ca);
        ERR_clear_error();
        return NOF1_E_CRYPTO;
    }
    *out = ca;
    return NOF1_OK;
}

static nof1_rc write_bio(BIO *bio, const char *path, mode_t mode, struct nof1_error *error)
{
    char *data = NULL;
    long length = BIO_get_mem_data(bio, &data);
    ENSURE(length > 0, NOF1_E_CRYPTO);
    return nof1_file_write(path, nof1_slice_of(data, (size_t)length), mode, error);
}

static nof1_rc write_cert(X509 *cert, const char *path, struct nof1_error *error)
{
    BIO *bio NOF1_CLEANUP(free_bio) = BIO_new(BIO_s_mem());
    ENSURE(bio != NULL && PEM_write_bio_X509(bio, cert) == 1, NOF1_E_CRYPTO);
    return write_bio(bio, path, 0644, error);
}

static nof1_rc write_key(EVP_PKEY *key, const char *path, struct nof1_error *error)
{
    BIO *bio NOF1_CLEANUP(free_bio) = BIO_new(BIO_s_secmem());
    ENSURE(bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1,
           NOF1_E_CRYPTO);
    return write_bio(bio, path, 0600, error);
}

nof1_rc_value nof1_lab_ca_write(const struct nof1_lab_ca *ca, const char *path,
                                struct nof1_error *error)
{
    return write_cert(ca->cert, path, error);
}

static bool fill_member(X509 *cert, EVP_PKEY *key, const struct nof1_lab_ca *ca, const char *role,
                        const char *id, const char *ip)
{
    char names[512];
    snprintf(names, sizeof names, "URI:spiffe://%s/%s/%s%s%s", ca->study, role, id,
             ip == NULL ? "" : ",IP:", ip == NULL ? "" : ip);
    X509_NAME *name = X509_get_subject_name(cert);
    return start_cert(cert, key) && add_name(name, "O", ca->study) && add_name(name, "OU", role) &&
           add_name(name, "CN", id) &&
           X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) == 1 &&
           add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, ca->cert, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, ca->cert, NID_ext_key_usage,
                         ip == NULL ? "clientAuth" : "serverAuth") &&
           add_extension(cert, ca->cert, NID_subject_key_identifier, "hash") &&
           add_extension(cert, ca->cert, NID_authority_key_identifier, "keyid:always") &&
           add_extension(cert, ca->cert, NID_subject_alt_name, names) &&
           X509_sign(cert, ca->key, EVP_sha256()) > 0;
}

nof1_rc_value nof1_lab_ca_issue(struct nof1_lab_ca *ca, const char *role, const char *id,
                                const char *ip, const char *cert_path, const char *key_path,
                                struct nof1_error *error)
{
    EVP_PKEY *key NOF1_CLEANUP(free_key) = EVP_EC_gen("P-256");
    X509 *cert NOF1_CLEANUP(free_cert) = X509_new();
    if (key == NULL || cert == NULL || !fill_member(cert, key, ca, role, id, ip)) {
        ERR_clear_error();
        return nof1_fail(error, NOF1_E_CRYPTO, "the lab's certificate for %s cannot be made", id);
    }
    TRY(write_cert(cert, cert_path, error));
    return write_key(key, key_path, error);
}

void nof1_lab_ca_free(struct nof1_lab_ca *ca)
{
    if (ca != NULL) {
        EVP_PKEY_free(ca->key);
        X509_free(ca->cert);
        free(ca);
    }
}
