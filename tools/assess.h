/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a plan would release and which rules of the charter would refuse it, from charter and census
 * alone: no round, no budget. Limits of single sites and their own data are not known here.
 */
#ifndef NOF1_TOOLS_ASSESS_H
#define NOF1_TOOLS_ASSESS_H

#include <jansson.h>

#include <base/document.h>
#include <core/charter.h>

/* The assessment as an object: form, groups, scalars, design_scalars, rounds, ratio, ratio_limit,
 * patients, patients_needed, verdict ("accepted" or the first code), refusals [{code, rule, text,
 * remedy}], alternatives [{incomplete, form, scalars, rounds, ratio, verdict}]. census: canonical
 * bytes, empty when none. New reference. Errors: those of nof1_plan_from_yaml; a model that cannot
 * be prepared is a refusal in the object, not an error. */
nof1_rc nof1_assess(json_t **out, const struct nof1_charter *charter, struct nof1_slice census,
                    const struct nof1_node *plan, int64_t now, struct nof1_error *error);

#endif
