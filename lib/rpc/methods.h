/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every method that exists and who may call it: the one table of docs/operations.md. A call is
 * authorised by its name here and nowhere else.
 */
#ifndef NOF1_RPC_METHODS_H
#define NOF1_RPC_METHODS_H

#include <rpc/identity.h>

enum nof1_method {
    NOF1_METHOD_ATTACH,  /* stream: frames of one site, both ways */
    NOF1_METHOD_SUBMIT,
    NOF1_METHOD_STATUS,
    NOF1_METHOD_RESULT,
    NOF1_METHOD_CHARTER,
    NOF1_METHODS
};

struct nof1_method_row {
    const char *name;  /* as on the wire */
    bool stream;
    unsigned roles;    /* bits of enum nof1_identity_role */
};
const struct nof1_method_row *nof1_method_row(enum nof1_method method);
/* NOF1_METHODS when there is no such method. */
enum nof1_method nof1_method_find(struct nof1_slice name);

#endif
