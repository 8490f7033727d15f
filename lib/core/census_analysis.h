/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The census as a query (docs/protocol.md, "Epochs"): one round after round 0, whose elements are
 * the census elements once per block; every site writes its counts into its own block's slice, so
 * that the masked sum is the census of every block. Its plan follows from charter and epoch alone.
 */
#ifndef NOF1_CORE_CENSUS_ANALYSIS_H
#define NOF1_CORE_CENSUS_ANALYSIS_H

#include <core/census.h>
#include <core/epoch.h>
#include <nof1/analysis.h>

/* Not in the registry: found by nof1_query_new. Its contribute is NULL, because patients and sites
 * cannot be counted one trial at a time; nof1_census_site_counts stands in for it. */
const struct nof1_analysis *nof1_census_analysis(void);

/* Is a patient in the analysis set of an outcome's family: some trial has every outcome of the
 * family observed on two treatments (any_arm: observed at all; imported effects: an effect and its
 * variance), and, when the charter excludes missing covariates, misses none? */
bool nof1_in_analysis_set(const struct nof1_charter *charter, size_t outcome,
                          const struct nof1_trial *trial);

/* The counts of one site: out[blocks * census elements], zero outside the site's block. `patients`
 * is the total of round 0, of which the site would object to more than `share`.
 * Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_census_site_counts(double *out, struct nof1_arena *arena,
                                const struct nof1_charter *charter, size_t site,
                                const struct nof1_epoch *epoch, uint64_t patients, double share);

/* The census of `plan`, at its epochs, in the totals of round 1 (without the check elements).
 * Errors: NOF1_E2501 when a total is not a count; NOF1_E_NO_MEMORY. */
nof1_rc nof1_census_from_totals(const struct nof1_census **out, struct nof1_arena *arena,
                                const struct nof1_charter *charter, const struct nof1_plan *plan,
                                const double *total);

#endif
