/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A plan that an earlier release answers (docs/protocol.md, "Why a malicious coordinator learns
 * nothing more"): the same trials add the same numbers, only what is made of the totals differs
 * (estimator, prior, test, level). Its totals are copied, so nothing new is released and no budget
 * is spent. Pure functions, the auditor's too.
 */
#ifndef NOF1_CORE_DERIVE_H
#define NOF1_CORE_DERIVE_H

#include <core/opening.h>

/* Do two plans ask about the same frozen series: epoch, outcome, treatments, strata, blocks? */
bool nof1_derive_same_series(const struct nof1_plan *a, const struct nof1_plan *b);
/* The history of `model` out of that of `earlier`, both of one study: every element is there under
 * its name, and every round was asked at the parameters that `model` asks for. Memory: arena.
 * Errors: NOF1_E_NOT_FOUND when it does not follow. */
nof1_rc nof1_derive(struct nof1_history *out, const struct nof1_model *model,
                    const struct nof1_model *earlier, const struct nof1_history *history,
                    struct nof1_arena *arena);
/* The history that stored evidence (coordinator.h) holds of a query. Errors: NOF1_E_STORE. */
nof1_rc nof1_derive_read(struct nof1_history *out, const struct nof1_query *query,
                         struct nof1_slice evidence, struct nof1_arena *arena);

#endif
