/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From a source's table to a frozen epoch (docs/protocol.md, "Epochs"): names become the charter's
 * indices and values are checked against its bounds. Values outside the bounds are errors for the
 * steward here and can never be errors on the wire. Missing covariates stay missing (NAN); the
 * charter's rule is applied where they are used.
 */
#ifndef NOF1_NODE_FREEZE_H
#define NOF1_NODE_FREEZE_H

#include <core/charter.h>
#include <core/epoch.h>
#include <node/sources/table.h>

/* What a steward wants to know about a freeze; counts of the own site, never sent. */
struct nof1_freeze_report {
    size_t rows, trials, patients, left_out_phase;
    size_t missing_outcomes; /* charter outcomes that the source does not have */
    size_t missing_covariates;
    const char *first_missing; /* name of one of them, NULL when none */
};

/* Make the epoch in `arena`; the table may be freed afterwards. `site` is the charter index whose
 * patient cap holds (NOF1_NONE: no cap). report may be NULL.
 * Errors: NOF1_E2403 with file and line for a value outside the bounds; NOF1_E_INPUT for an unknown
 * treatment or level, a covariate that changes within a trial though the charter says it does not,
 * an outcome of another kind, more patients than the cap. */
nof1_rc nof1_table_freeze(struct nof1_epoch *out, struct nof1_arena *arena,
                          const struct nof1_table *table, const struct nof1_charter *charter,
                          size_t site, uint32_t id, struct nof1_freeze_report *report,
                          struct nof1_error *error);

#endif
