/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The census of an epoch (docs/protocol.md, "Documents"): fixed counts per block, the same for
 * every plan, known to all members. The elements follow from the charter alone.
 */
#ifndef NOF1_CORE_CENSUS_H
#define NOF1_CORE_CENSUS_H

#include <core/charter.h>

/* What an element counts, per block. Outcome-dependent ones look at the trials of the outcome's
 * analysis set (both arms observed, unless the charter says any) and are named "OUTCOME/...". */
enum nof1_census_kind {
    NOF1_CENSUS_PATIENTS,           /* "patients" */
    NOF1_CENSUS_TRIALS,             /* "trials" */
    NOF1_CENSUS_SITES,              /* "sites": with at least one trial */
    NOF1_CENSUS_STRATUM,            /* "stratum:LEVEL": patients */
    NOF1_CENSUS_COVARIATE_MISSING,  /* "missing:COVARIATE": patients without it */
    NOF1_CENSUS_OUTCOME_PATIENTS,   /* "y/patients" */
    NOF1_CENSUS_OUTCOME_TRIALS,     /* "y/trials" */
    NOF1_CENSUS_OUTCOME_SITES,      /* "y/sites" */
    NOF1_CENSUS_OUTCOME_INCOMPLETE, /* "y/incomplete": trials without a complete cycle */
    NOF1_CENSUS_OUTCOME_DOMINATED,  /* "y/dominated": sites that would object on their own share */
    NOF1_CENSUS_OUTCOME_CLASS,      /* "y/class:NAME": trials with exactly its rows and periods */
    NOF1_CENSUS_OUTCOME_CYCLES,     /* "y/cycles:K": trials with K complete cycles, 0..max_cycles */
    NOF1_CENSUS_OUTCOME_PATTERN, /* "y/pattern:KA:KB": trials with KA periods observed on the first
                                    treatment and KB on the second, 1..max_periods each */
    NOF1_CENSUS_OUTCOME_STRATUM  /* "y/stratum:LEVEL": patients */
};

struct nof1_census_element {
    const char *name;
    enum nof1_census_kind kind;
    size_t outcome; /* charter index; 0 when it does not depend on an outcome */
    size_t index;   /* level, covariate, class, K, or KA */
    size_t second;  /* KB */
};

/* The elements of a charter, in their fixed order. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_census_elements(const struct nof1_census_element **out, size_t *elements,
                             struct nof1_arena *arena, const struct nof1_charter *charter);
/* A census whose counts [block * elements + element] are copied. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_census_new(const struct nof1_census **out, struct nof1_arena *arena,
                        const struct nof1_charter *charter, uint32_t epoch, const uint64_t *count);
/* Append the canonical bytes, which hold H_c. */
nof1_rc nof1_census_canonical(struct nof1_buffer *out, const struct nof1_census *census,
                              const struct nof1_charter *charter);
/* Read canonical bytes. hash may be NULL. Errors: NOF1_E_DECODE when the bytes are not exactly what
 * nof1_census_canonical writes, belong to another charter or name other elements. */
nof1_rc nof1_census_read(const struct nof1_census **out, struct nof1_arena *arena,
                         const struct nof1_charter *charter, struct nof1_slice bytes,
                         uint8_t hash[32], struct nof1_error *error);
/* Several, one a line, the first at *out and the others linked behind it; none: NULL. */
nof1_rc nof1_census_read_all(const struct nof1_census **out, struct nof1_arena *arena,
                             const struct nof1_charter *charter, struct nof1_slice bytes,
                             struct nof1_error *error);

#endif
