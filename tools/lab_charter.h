/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The lab's charter derived from the lab's own CSVs (docs/interfaces.md, `nof1 lab run`): for data
 * that the person at the keyboard may see. Looks at values, which a real charter must never do;
 * hence lab: true, which deployed vaults refuse.
 */
#ifndef NOF1_TOOLS_LAB_CHARTER_H
#define NOF1_TOOLS_LAB_CHARTER_H

#include <core/charter.h>
#include <node/sources/table.h>

struct nof1_lab_source {
    const char *site; /* a name; sources ascend by it */
    const struct nof1_table *table;
};

struct nof1_lab_derive {
    size_t sources;
    const struct nof1_lab_source *source;
    const char *policy;    /* preset: standard, ultra-rare, open */
    const char *outcome;   /* the plan's, NULL: the first */
    const char *reference; /* the plan's reference treatment, NULL: none */
    const char *active;    /* the plan's active treatment, NULL: none */
    const char *stratum;   /* the covariate to make the strata of, NULL: "stratum" if any */
};

/* Derive a charter without keys, in `arena`. Blocks of the preset's min_block_sites in order of
 * name (the remainder joins the last; one block when fewer than twice that, and under open); bounds
 * 4x the range, centre the median to 2 digits, quantum the smallest decimal step, planning sd to 1
 * digit, cap the largest site, every mapped covariate with usable values; classes: the 16 most
 * common sets of observed rows among trials without missing outcomes. Errors: NOF1_E_NOT_FOUND for
 * the preset, NOF1_E_INPUT when fewer than two treatments are there or a name cannot stand in a
 * charter. */
nof1_rc nof1_charter_derive(struct nof1_charter **out, struct nof1_arena *arena,
                            const struct nof1_lab_derive *from, struct nof1_error *error);

#endif
