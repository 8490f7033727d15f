/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The entropy rule (docs/protocol.md, E2311): exact sums of few integers have few solutions. How
 * many bits of the multiset of per-patient statistics remain once its sums are known, from the
 * charter's planning values and never from data.
 */
#ifndef NOF1_CORE_ENTROPY_H
#define NOF1_CORE_ENTROPY_H

#include <core/ratio.h>

/* Patients from which the difference form tells no more than the fitted normal (measured). */
#define NOF1_DIFFERENCE_PATIENTS 8
#define NOF1_ENTROPY_NEVER UINT32_MAX

/* The same where an arm's total has so many points: as many patients as leave about as many
 * multisets as 8 do on seven points (docs/disclosure.md, "Narrow scales"); NOF1_ENTROPY_NEVER for
 * two. */
uint32_t nof1_entropy_patients(double points);
/* The most that a group of the plan needs outside every site by this rule. */
uint32_t nof1_entropy_difference(const struct nof1_model *model, const struct nof1_loads *loads);

/* Are the sums of the plan allowed for groups of patients[] minus own[]?
 *   bits(n) = max over m <= n of m H(t) - log2 m! - sum over sums of log2(sd_j sqrt(2 pi
 * e)/quantum_j) with t all numbers that one patient contributes, for every group on its own sums
 * and for everybody on all sums. At least least_bits must remain; difference forms (linear sums, or
 * the sum and the sum of squares of one number) pass too from NOF1_DIFFERENCE_PATIENTS patients on,
 * more on narrow scales. Sets *bits to the least found, INFINITY when the rule does not apply. */
bool nof1_entropy_allows(double *bits, const struct nof1_model *model,
                         const struct nof1_loads *loads, uint32_t least_bits, uint64_t all,
                         const uint64_t *patients, uint64_t own_all, const uint64_t *own);

#endif
