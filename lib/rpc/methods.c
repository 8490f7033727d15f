/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The table of methods and roles: see methods.h.
 */
#include "methods.h"

static const struct nof1_method_row table[NOF1_METHODS] = {
    [NOF1_METHOD_ATTACH] = {"/nof1.v1.Link/Attach", true, NOF1_ROLE_SITE},
    [NOF1_METHOD_SUBMIT] = {"/nof1.v1.Statistician/Submit", false, NOF1_ROLE_STATISTICIAN},
    [NOF1_METHOD_STATUS] = {"/nof1.v1.Statistician/Status", false,
                            NOF1_ROLE_STATISTICIAN | NOF1_ROLE_AUDITOR},
    [NOF1_METHOD_RESULT] = {"/nof1.v1.Statistician/Result", false, NOF1_ROLE_STATISTICIAN},
    [NOF1_METHOD_CHARTER] = {"/nof1.v1.Statistician/Charter", false, NOF1_ROLE_STATISTICIAN},
};

const struct nof1_method_row *nof1_method_row(enum nof1_method method)
{
    return &table[method];
}

enum nof1_method nof1_method_find(struct nof1_slice name)
{
    for (int i = 0; i < NOF1_METHODS; i++) {
        if (nof1_slice_equal(name, nof1_slice_text(table[i].name))) {
            return (enum nof1_method)i;
        }
    }
    return NOF1_METHODS;
}
