/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The charter: the consortium's signed agreement (docs/protocol.md, "Documents"). One reader takes
 * the YAML that people write and the canonical JSON that is hashed and signed; a charter that
 * passes here obeys every rule that can be checked without data.
 *
 *   study: pain-bt                    # letters, digits, _ . -
 *   version: 1
 *   follows: 5f1e...                  # hash of the version that this one replaces
 *   lab: false                        # true: deployed vaults refuse it
 *   effective: 2026-05-01T00:00:00Z
 *   preset: standard                  # standard | ultra-rare | open (lab)
 *   limits: {min_sites: 6}            # keys of the policy table that differ from the preset
 *   treatments: ["0", "1"]
 *   outcomes:
 *     y: {kind: continuous, unit: points, bounds: [0, 10], quantum: 1, centre: 5,
 *         sd_within: 1.5, sd_between: 1, benefit: lower, family: y}
 *   covariates:
 *     age: {kind: numeric, bounds: [0, 110], centre: 50, quantum: 5}
 *     sex: {kind: factor, levels: [F, M], within: false}
 *   strata: sex
 *   classes: {"3x3": {n: [3, 3], periods: [1, 2, 3, 4, 5, 6]}}
 *   max_periods: 3                    # of one arm in one trial
 *   max_cycles: 3
 *   lambdas: [0.25, 2]
 *   time_centre: 0                    # where times are far from zero (Julian days)
 *   beta_box: 1
 *   variance_ratio_box: 1000000
 *   analysis_set: both_arms           # both_arms | any (lab)
 *   missing: centre                   # centre | exclude | rows (lab)
 *   analyses: [random_effects, mixed_model]
 *   sites: {north: {patient_cap: 20, edge: "spiffe://...", vault_key: 3059...}, ...}
 *   blocks: {b1: [north, ...]}        # a site that has left (left: true) stays in its block
 *   statisticians: {ada: {spiffe: "spiffe://...", key: 3059...}}
 *   coordinator: {id: coordinator, spiffe: "spiffe://...", key: 3059...}
 */
#ifndef NOF1_CORE_CHARTER_H
#define NOF1_CORE_CHARTER_H

#include <jansson.h>

#include <base/document.h>
#include <nof1/study.h>

#define NOF1_NONE SIZE_MAX /* "there is no such index" */
#define NOF1_TREATMENTS_MAX 8u
#define NOF1_NAME_MAX 64u /* [A-Za-z0-9][A-Za-z0-9_.-]{0,63} */
#define NOF1_TITLE_MAX 200u

/* Read either form; hash stays zero. Keys of sites, statisticians and coordinator may be absent
 * (length 0, ""): whoever publishes fills them in before hashing. Everything lives in `arena` or in
 * the node tree. Errors: NOF1_E_INPUT, NOF1_E2203, NOF1_E2405 with file, line, column, key. */
nof1_rc nof1_charter_from_node(const struct nof1_charter **out, struct nof1_arena *arena,
                               const struct nof1_node *node, struct nof1_error *error);
/* Append the canonical bytes. The hash is not part of them. */
nof1_rc nof1_charter_canonical(struct nof1_buffer *out, const struct nof1_charter *charter);
/* Read canonical bytes (copied into `arena`), check them, compute H_c. A charter that is not of the
 * lab must hold every key. Errors: NOF1_E_DECODE when the bytes are not exactly what
 * nof1_charter_canonical writes; otherwise as nof1_charter_from_node. */
nof1_rc nof1_charter_read(const struct nof1_charter **out, struct nof1_arena *arena,
                          struct nof1_slice bytes, struct nof1_error *error);

/* Indices by name; NOF1_NONE when there is none. */
size_t nof1_charter_site(const struct nof1_charter *charter, const char *id);
size_t nof1_charter_block(const struct nof1_charter *charter, const char *id);
size_t nof1_charter_statistician(const struct nof1_charter *charter, const char *id);
size_t nof1_charter_treatment(const struct nof1_charter *charter, const char *name);
size_t nof1_charter_outcome(const struct nof1_charter *charter, const char *name);
size_t nof1_charter_covariate(const struct nof1_charter *charter, const char *name);
bool nof1_charter_allows(const struct nof1_charter *charter, const char *analysis);
/* Who knows a covariate of many digits solves sums that it weighs for whole-number outcomes
 * (docs/disclosure.md, "Known covariates on a grid"): outside an open lab its values are coded in
 * at most this many steps between its bounds. */
#define NOF1_COVARIATE_STEPS 32u
/* A value as frozen: the nearest multiple of the quantum (halves up), within the bounds. Factors
 * and missing values are returned as they are. */
double nof1_covariate_coded(const struct nof1_covariate *covariate, double value);
/* The least of 1, 2, 5, 10, ... (times any power of ten) that gives at most that many steps. */
double nof1_covariate_step(double lower, double upper);
size_t nof1_covariate_level(const struct nof1_covariate *covariate, const char *level);
/* The covariate whose levels are the strata; NULL when the charter has none. */
const struct nof1_covariate *nof1_charter_strata(const struct nof1_charter *charter);
/* The block that holds a site (index); NOF1_NONE when the site is in none. */
size_t nof1_charter_block_of(const struct nof1_charter *charter, size_t site);

/* May the block be asked? Not when a site of it has left: the rest of it alone would show that
 * site's share of earlier totals. */
bool nof1_charter_block_open(const struct nof1_charter *charter, size_t block);

/* What changes from one charter to a later one: [{what, old, new}], "old" or "new" absent for what
 * is added or taken away. New reference. */
nof1_rc nof1_charter_changes(json_t **out, const struct nof1_charter *before,
                             const struct nof1_charter *after);

/* Text of an outcome kind: continuous, binary, count, ordinal, effect; and back. */
const char *nof1_outcome_kind_text(enum nof1_outcome_kind kind);
bool nof1_outcome_kind_read(enum nof1_outcome_kind *out, const char *text);
/* [A-Za-z0-9][A-Za-z0-9_.-]{0,63} */
bool nof1_is_name(const char *text);

#endif
