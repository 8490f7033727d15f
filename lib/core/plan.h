/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The plan: one pre-registered analysis (docs/interfaces.md, "Plan"). People write YAML; `nof1`
 * completes it from charter and census; its canonical JSON is signed. The analysis' own keys are
 * checked against its option table and completed with the documented defaults, so that the signed
 * bytes say everything and no default can change later.
 *
 * Options are kept as text, in the order of the option table: a number stays the decimal text the
 * statistician wrote (read it with nof1_node_double), names are always a list, an option without a
 * default that was not given is absent.
 */
#ifndef NOF1_CORE_PLAN_H
#define NOF1_CORE_PLAN_H

#include <core/charter.h>

/* The analysis built into core that takes the census: no options, no outcome. */
#define NOF1_CENSUS_ANALYSIS "census"

#define NOF1_PLAN_GATHER_BY (14u * 86400u) /* defaults, seconds */
#define NOF1_PLAN_DEADLINE (10u * 60u)

/* Read the people's YAML. Keys: plan (1), title, outcome, treatment {reference, active}, analysis,
 * strata, gather_by, deadline, and the options of the analysis. Roster, epoch, layout stay empty.
 * Errors: NOF1_E_INPUT or NOF1_E_PLAN, NOF1_E2404, NOF1_E2405 with file, line, column, key, remedy.
 */
nof1_rc nof1_plan_from_yaml(const struct nof1_plan **out, struct nof1_arena *arena,
                            const struct nof1_node *node, const struct nof1_charter *charter,
                            struct nof1_error *error);
/* Append the canonical bytes. They hold H_c: a plan is signed for one charter version. */
nof1_rc nof1_plan_canonical(struct nof1_buffer *out, const struct nof1_plan *plan,
                            const struct nof1_charter *charter);
/* Read canonical bytes (copied into `arena`), check them against the charter, compute H_q.
 * Errors: NOF1_E_DECODE when the bytes are not exactly what nof1_plan_canonical writes;
 * NOF1_E_PLAN when the plan belongs to another charter version or names what it lacks;
 * NOF1_E2204 for a block the charter lacks; otherwise as nof1_plan_from_yaml. */
nof1_rc nof1_plan_read(const struct nof1_plan **out, struct nof1_arena *arena,
                       const struct nof1_charter *charter, struct nof1_slice bytes,
                       struct nof1_error *error);

/* What `nof1` fills in before signing. Borrowed; copied into the arena. */
struct nof1_plan_completion {
    size_t blocks;
    const size_t *block; /* ascending charter indices */
    uint32_t epoch;
    const uint32_t *block_epoch; /* [blocks]; NULL: all at `epoch` */
    uint32_t max_rounds;
    bool verify_full;
    int64_t not_after; /* UTC seconds */
    size_t elements;
    const char *const *element; /* '!'-prefixed when design */
    size_t atoms;
    const char *const *atom;
};

/* A new plan with these fields; hash zero. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_plan_complete(const struct nof1_plan **out, struct nof1_arena *arena,
                           const struct nof1_plan *plan,
                           const struct nof1_plan_completion *completion);
/* A new plan whose option `key` is the YAML text `text` (checked like any other); hash zero.
 * Errors: NOF1_E_PLAN when the analysis has no such option or refuses the text. */
nof1_rc nof1_plan_with_option(const struct nof1_plan **out, struct nof1_arena *arena,
                              const struct nof1_plan *plan, const char *key, const char *text,
                              struct nof1_error *error);

#endif
