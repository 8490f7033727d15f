/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A throw-away certificate authority for the suites of lib/rpc: P-256, X.509 v3, SPIFFE names,
 * revocation lists. Everything is written as PEM into one folder. Aborts on any failure.
 */
#ifndef NOF1_TEST_PKI_H
#define NOF1_TEST_PKI_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct test_ca {
    EVP_PKEY *key;
    X509 *certificate;
    long serial;
    char folder[64];
};

static inline void pki_must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "test pki: %s\n", what);
        abort();
    }
}

static inline const char *pki_path(char out[128], const struct test_ca *ca, const char *name)
{
    snprintf(out, 128, "%s/%s", ca->folder, name);
    return out;
}

static inline void pki_extension(X509 *certificate, const X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, (X509 *)(uintptr_t)issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    pki_must(extension != NULL && X509_add_ext(certificate, extension, -1) == 1, value);
    X509_EXTENSION_free(extension);
}

static inline X509 *pki_certificate(struct test_ca *ca, EVP_PKEY *key, const char *common_name,
                                    long from, long days)
{
    X509 *certificate = X509_new();
    pki_must(certificate != NULL, "no memory");
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++ca->serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), from);
    X509_gmtime_adj(X509_getm_notAfter(certificate), from + days * 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)common_name, -1, -1, 0);
    X509_set_pubkey(certificate, key);
    return certificate;
}

static inline void pki_write_key(const char *path, EVP_PKEY *key)
{
    FILE *file = fopen(path, "w");
    pki_must(file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1, path);
    fclose(file);
    chmod(path, 0600);
}

static inline void pki_write_certificate(const char *path, X509 *certificate)
{
    FILE *file = fopen(path, "w");
    pki_must(file != NULL && PEM_write_X509(file, certificate) == 1, path);
    fclose(file);
}

/* Make FOLDER/ca.pem. */
static inline void test_ca_new(struct test_ca *ca, const char *folder)
{
    char path[128];
    memset(ca, 0, sizeof *ca);
    snprintf(ca->folder, sizeof ca->folder, "%s", folder);
    mkdir(folder, 0700);
    ca->key = EVP_EC_gen("P-256");
    pki_must(ca->key != NULL, "no key");
    ca->certificate = pki_certificate(ca, ca->key, folder, -3600, 10);
    X509_set_issuer_name(ca->certificate, X509_get_subject_name(ca->certificate));
    pki_extension(ca->certificate, ca->certificate, NID_basic_constraints, "critical,CA:TRUE");
    pki_extension(ca->certificate, ca->certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
    pki_extension(ca->certificate, ca->certificate, NID_subject_key_identifier, "hash");
    pki_must(X509_sign(ca->certificate, ca->key, EVP_sha256()) > 0, "sign");
    pki_write_certificate(pki_path(path, ca, "ca.pem"), ca->certificate);
}

/* Write FOLDER/NAME.pem and NAME.key; returns the serial number. names: a subjectAltName value. */
static inline long test_ca_issue(struct test_ca *ca, const char *name, const char *names,
                                 const char *usage, long from, long days)
{
    char path[128], file[64];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = pki_certificate(ca, key, "the same name for everybody", from, days);
    X509_set_issuer_name(certificate, X509_get_subject_name(ca->certificate));
    pki_extension(certificate, ca->certificate, NID_basic_constraints, "critical,CA:FALSE");
    pki_extension(certificate, ca->certificate, NID_key_usage, "critical,digitalSignature");
    pki_extension(certificate, ca->certificate, NID_ext_key_usage, usage);
    pki_extension(certificate, ca->certificate, NID_subject_alt_name, names);
    pki_must(X509_sign(certificate, ca->key, EVP_sha256()) > 0, "sign");
    snprintf(file, sizeof file, "%s.pem", name);
    pki_write_certificate(pki_path(path, ca, file), certificate);
    snprintf(file, sizeof file, "%s.key", name);
    pki_write_key(pki_path(path, ca, file), key);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return ca->serial;
}

/* Write FOLDER/crl/list.pem (replacing it) that revokes one serial number, 0: none. */
static inline void test_ca_revoke(struct test_ca *ca, long serial, long days)
{
    char path[128];
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *at = ASN1_TIME_new();
    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(ca->certificate));
    X509_gmtime_adj(at, -7200);
    X509_CRL_set1_lastUpdate(list, at);
    X509_gmtime_adj(at, days * 86400 - 3600);
    X509_CRL_set1_nextUpdate(list, at);
    if (serial != 0) {
        X509_REVOKED *entry = X509_REVOKED_new();
        ASN1_INTEGER *number = ASN1_INTEGER_new();
        ASN1_INTEGER_set(number, serial);
        X509_REVOKED_set_serialNumber(entry, number);
        X509_gmtime_adj(at, -60);
        X509_REVOKED_set_revocationDate(entry, at);
        X509_CRL_add0_revoked(list, entry);
        ASN1_INTEGER_free(number);
    }
    X509_CRL_sort(list);
    pki_must(X509_CRL_sign(list, ca->key, EVP_sha256()) > 0, "sign list");
    mkdir(pki_path(path, ca, "crl"), 0700);
    FILE *file = fopen(pki_path(path, ca, "crl/list.pem"), "w");
    pki_must(file != NULL && PEM_write_X509_CRL(file, list) == 1, path);
    fclose(file);
    ASN1_TIME_free(at);
    X509_CRL_free(list);
}

static inline void test_ca_free(struct test_ca *ca)
{
    EVP_PKEY_free(ca->key);
    X509_free(ca->certificate);
}

#endif
