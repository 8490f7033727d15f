/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Finds an analysis by the id a plan names. Every program links the same table, so that vault,
 * coordinator and auditor compute with the same code.
 */
#include <stats/registry.h>

#include <string.h>

const struct nof1_analysis *const *nof1_analysis_all(void)
{
    static const struct nof1_analysis *const all[] = {
#define X(name) &nof1_##name,
#include <stats/analyses/registry.def>
#undef X
        NULL};
    return all;
}

const struct nof1_analysis *nof1_analysis_find(const char *id)
{
    for (const struct nof1_analysis *const *a = nof1_analysis_all(); *a != NULL; a++) {
        if (strcmp((*a)->id, id) == 0) {
            return *a;
        }
    }
    return NULL;
}
