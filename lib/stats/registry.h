/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The analyses of lib/stats/analyses/registry.def by name. Each is a `const struct nof1_analysis
 * nof1_NAME` in its own file; adding one means adding that file and one line of registry.def.
 */
#ifndef NOF1_STATS_REGISTRY_H
#define NOF1_STATS_REGISTRY_H

#include <nof1/analysis.h>

#define X(name) extern const struct nof1_analysis nof1_##name;
#include <stats/analyses/registry.def>
#undef X

#endif
