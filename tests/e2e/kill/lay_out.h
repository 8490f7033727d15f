/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Everything the real programs of a consortium need, written into one folder: certificates, keys,
 * charter, frozen epochs, plan. A case of the kill test runs in a copy of it.
 */
#ifndef NOF1_KILL_LAY_OUT_H
#define NOF1_KILL_LAY_OUT_H

#include <nof1/error.h>

#define SITES 4

/* The sites' names, in order of the folders 0 ... SITES-1. */
extern const char *const site_name[SITES];

/* `folder` is made; `sources` holds what `nof1 lab new` wrote. */
nof1_rc lay_out(const char *folder, const char *sources, const char *plan,
                struct nof1_error *error);

#endif
