/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The options of a plan against the option table of its analysis. Internal to plan.c.
 */
#ifndef NOF1_CORE_PLAN_OPTIONS_H
#define NOF1_CORE_PLAN_OPTIONS_H

#include <nof1/analysis.h>

#include "reader.h"

/* Every key of the map `root` that is not in `common` must be an option of the analysis. *out: all
 * options in the order of the table, defaults filled in. */
nof1_rc plan_options_from_root(const struct reader *r, const struct nof1_node **out,
                               const struct nof1_analysis *analysis, const struct nof1_node *root,
                               const char *const *common);
/* The same from a map that holds options only; NULL: an empty one. */
nof1_rc plan_options_from_map(const struct reader *r, const struct nof1_node **out,
                              const struct nof1_analysis *analysis, const struct nof1_node *map);
/* `options` with `key` replaced by YAML text. */
nof1_rc plan_options_replace(const struct reader *r, const struct nof1_node **out,
                             const struct nof1_analysis *analysis, const struct nof1_node *options,
                             const char *key, const char *text);
/* An empty map. */
nof1_rc plan_options_none(const struct reader *r, const struct nof1_node **out);

#endif
