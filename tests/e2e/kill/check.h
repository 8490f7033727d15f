/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What must hold when a case of the kill test is over. Every check answers NULL or what is wrong.
 */
#ifndef NOF1_KILL_CHECK_H
#define NOF1_KILL_CHECK_H

#include <jansson.h>

#include "programs.h"

/* The client's answer without what may differ between two runs; new reference, NULL: unreadable. */
json_t *read_result(const struct consortium *c);
/* Is it the expected one? If not, both are written into `folder`. */
const char *check_result(const struct consortium *c, const json_t *expected, const char *folder);
/* Every running vault has charged one query. */
const char *check_budgets(const struct consortium *c);
/* Stores undamaged, ledgers without gap; with `released`: census and query released once by the
 * coordinator and charged once at every site. */
const char *check_stores(const struct consortium *c, bool released);

#endif
