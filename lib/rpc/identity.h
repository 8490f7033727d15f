/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who somebody is: the SPIFFE id spiffe://STUDY/ROLE/ID in a certificate's only URI name
 * (https://github.com/spiffe/spiffe, X509-SVID), the key it carries, and whether a consortium CA
 * and its revocation lists vouch for it. Plain OpenSSL, no gRPC. Never decides by the common name.
 */
#ifndef NOF1_RPC_IDENTITY_H
#define NOF1_RPC_IDENTITY_H

#include <nof1/slice.h>

enum nof1_identity_role {
    NOF1_ROLE_NONE = 0,
    NOF1_ROLE_SITE = 1,
    NOF1_ROLE_STATISTICIAN = 2,
    NOF1_ROLE_AUDITOR = 4,
    NOF1_ROLE_COORDINATOR = 8
};

#define NOF1_SPIFFE_MAX 256

struct nof1_identity {
    char spiffe[NOF1_SPIFFE_MAX];
    char study[NOF1_SPIFFE_MAX];
    char id[NOF1_SPIFFE_MAX];
    enum nof1_identity_role role;
    uint8_t spki[32];     /* SHA-256 of the DER SubjectPublicKeyInfo */
    int64_t not_before;   /* UTC seconds */
    int64_t not_after;
};

/* Split spiffe://STUDY/ROLE/ID. Letters, digits, '.', '-', '_' only. Errors: NOF1_E_TLS. */
nof1_rc nof1_spiffe_read(struct nof1_identity *out, const char *text, struct nof1_error *error);
/* Read the first certificate of a PEM text. Errors: NOF1_E_TLS. */
nof1_rc nof1_identity_read(struct nof1_identity *out, struct nof1_slice pem,
                           struct nof1_error *error);

/* What to trust: the certificates of a CA file and the revocation lists of a folder, as they are at
 * the moment of loading; immutable, so that threads may share it. */
struct nof1_trust;
/* crl_folder NULL: no revocation lists. Otherwise every regular file in it is read as PEM lists,
 * and a CA without a valid list makes nof1_trust_check refuse its certificates: missing or late
 * lists must not let revoked ones in. Errors: NOF1_E_INPUT, NOF1_E_CONFIG. */
nof1_rc nof1_trust_load(struct nof1_trust **out, const char *ca_file, const char *crl_folder,
                        struct nof1_error *error);
void nof1_trust_free(struct nof1_trust *trust);
/* Earliest nextUpdate of the lists, UTC seconds; 0 when there are none. */
int64_t nof1_trust_next_update(const struct nof1_trust *trust);
/* Is the first certificate of `pem` (issued through the others in it) valid now as a TLS client
 * (server: as a TLS server)? Errors: NOF1_E_TLS, the message is OpenSSL's reason. */
nof1_rc nof1_trust_check(const struct nof1_trust *trust, struct nof1_slice pem, bool server,
                         struct nof1_error *error);

/* The files of one's own TLS identity. */
struct nof1_tls_files {
    const char *ca;
    const char *cert;       /* own certificate, then intermediate ones */
    const char *key;        /* its private key, unencrypted PEM, mode 0600 */
    const char *crl_folder; /* NULL: none */
};
/* A refused client is told nothing (TLS 1.3 ends its handshake first), so everybody checks the own
 * files: the key is private and matches, the certificate is within its time, issued by this CA, for
 * this use, with a SPIFFE id of `roles` (bits of nof1_role). The message says what to do.
 * Errors: NOF1_E_INPUT, NOF1_E_CONFIG, NOF1_E_TLS. */
nof1_rc nof1_identity_check(struct nof1_identity *out, const struct nof1_tls_files *files,
                            bool server, unsigned roles, struct nof1_error *error);

#endif
