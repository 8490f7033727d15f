/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The lab's throw-away certificate authority: the same profile as certs/ (P-256, SHA-256, SPIFFE
 * names, one purpose each), made in memory with OpenSSL; the authority's own key never touches a
 * file and dies with the process.
 */
#ifndef NOF1_TOOLS_LAB_CA_H
#define NOF1_TOOLS_LAB_CA_H

#include <nof1/slice.h>

struct nof1_lab_ca;

/* A new authority of the study, valid for a day. Errors: NOF1_E_CRYPTO, NOF1_E_NO_MEMORY. */
nof1_rc nof1_lab_ca_new(struct nof1_lab_ca **out, const char *study);
/* Write the authority's certificate (PEM). Errors: NOF1_E_CRYPTO, NOF1_E_IO. */
nof1_rc nof1_lab_ca_write(const struct nof1_lab_ca *ca, const char *path, struct nof1_error *error);
/* Issue spiffe://STUDY/ROLE/ID with a fresh key, for TLS servers at `ip` when ip is not NULL, else
 * for TLS clients; write the certificate (mode 0644) and its private key (mode 0600). */
nof1_rc nof1_lab_ca_issue(struct nof1_lab_ca *ca, const char *role, const char *id, const char *ip,
                          const char *cert_path, const char *key_path, struct nof1_error *error);
void nof1_lab_ca_free(struct nof1_lab_ca *ca);

#endif
