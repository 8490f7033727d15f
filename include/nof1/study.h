/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What every member of a study knows: charter, census, plan, as plain structs. All pointers are
 * borrowed from the arena of the document. Parsing, checking and signing live in lib/core; the
 * structs live here because analyses read them.
 */
#ifndef NOF1_STUDY_H
#define NOF1_STUDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nof1/slice.h>

struct nof1_node; /* a value of a document: base/document.h */

enum nof1_outcome_kind {
    NOF1_CONTINUOUS, NOF1_BINARY, NOF1_COUNT, NOF1_ORDINAL,
    NOF1_EFFECT /* an imported table: one row a trial, effect and its variance */
};

struct nof1_outcome {
    const char *name;
    enum nof1_outcome_kind kind;
    const char *unit;
    const char *family;    /* outcomes of one family share atoms and budget; default: the name */
    double lower, upper;   /* bounds; a value outside is an import error */
    double quantum;        /* smallest step of the scale; 0: continuous */
    double centre;         /* public constant subtracted before any sum */
    double sd_within;      /* planning values, for the entropy rule */
    double sd_between;
    int benefit;           /* +1 higher is better, -1 lower is better, 0 not stated */
};

enum nof1_covariate_kind { NOF1_NUMERIC, NOF1_FACTOR };

struct nof1_covariate {
    const char *name;
    enum nof1_covariate_kind kind;
    bool varies_within;        /* may change within a trial */
    double lower, upper, centre;
    double quantum;            /* numeric: values are coded in these steps; 0: as they are */
    size_t levels;             /* factors; level 0 is the reference */
    const char *const *level;
};

/* A planned design class: trials with n[t] observed rows on charter treatment t, and exactly the
 * multiset of periods given (schedule_rows > 0). Its Z'Z is a public constant. */
struct nof1_class {
    const char *name;
    size_t n[8];
    size_t schedule_rows;
    const int32_t *schedule_period; /* [schedule_rows], ascending */
};

struct nof1_member {
    const char *id;
    const char *edge_spiffe;
    struct nof1_slice vault_spki;   /* DER SubjectPublicKeyInfo, P-256 */
    uint32_t patient_cap;           /* per epoch */
    bool left;                      /* takes part no more; its block is in no roster */
};

struct nof1_block {
    const char *id;
    size_t sites;
    const size_t *site;             /* indices into charter->site, ascending */
};

struct nof1_principal {             /* statistician, auditor, coordinator */
    const char *id;
    const char *spiffe;
    struct nof1_slice spki;
};

/* The table of limits. One row each in lib/core/policy.def; presets standard, ultra-rare, open. */
struct nof1_limits {
    uint32_t min_sites, assumed_colluders, min_block_sites, min_patients_honest,
        min_patients_block, min_element_sites, min_atom_patients, min_others, min_class_patients,
        max_rounds_query, max_queries_epoch, max_queries_day, min_residual_df, min_entropy_bits,
        min_cell, rounding;
    double max_site_share, max_trial_share, max_net_ratio, max_release_ratio, max_params_ratio,
        dp_epsilon_year, dp_delta;
    bool open;   /* lab only: no thresholds, ratio, entropy or difference rule */
};

enum nof1_missing { NOF1_MISSING_CENTRE, NOF1_MISSING_EXCLUDE, NOF1_MISSING_ROWS /* lab */ };

struct nof1_charter {
    const char *study;
    uint32_t version;
    struct nof1_slice follows; /* hash of the version that this one replaces; empty: the first */
    bool lab;                       /* deployed vaults refuse a lab charter */
    int64_t effective_at;           /* UTC seconds */
    size_t sites, blocks, statisticians, treatments, outcomes, covariates, classes, analyses,
        lambdas, strata;
    const struct nof1_member *site; /* ascending by id */
    const struct nof1_block *block;
    const struct nof1_principal *statistician;
    struct nof1_principal coordinator;
    const char *const *treatment;   /* names as in the data, at most 8 */
    const struct nof1_outcome *outcome;
    const struct nof1_covariate *covariate;
    const char *stratum_covariate;  /* NULL: no strata. Cells are its levels, in charter order */
    const struct nof1_class *class_;
    uint32_t max_periods;           /* most periods of one arm in one trial */
    uint32_t max_cycles;
    const char *const *analysis;    /* allowed ids */
    const double *lambda;           /* public lambda_r of the weight basis, ascending */
    double time_centre; /* subtracted from times that a model takes as a column; undone */
    double beta_box;                /* |fixed effect| bound in units of outcome upper - lower */
    double variance_ratio_box;      /* bound of relative covariance parameters */
    bool any_arm; /* analysis set: false = both arms observed; true = any row (lab) */
    enum nof1_missing missing;
    struct nof1_limits limits;
    uint8_t hash[32];               /* H_c, SHA-256 of the canonical bytes */
};

/* Fixed counts of an epoch, per block; the same for every plan. Blocks may be counted at epochs of
 * their own; `earlier` are further censuses, for the blocks that have stayed at one. Element names
 * are those of nof1_census_elements (lib/core/census.h): "patients", "trials", "sites",
 * "class:NAME", "pattern:KA:KB", "cycles:K", "stratum:LEVEL", ... prefixed by "OUTCOME/" where they
 * depend on it. */
struct nof1_census {
    uint32_t epoch;                 /* the highest of its blocks */
    const uint32_t *block_epoch; /* [blocks] of the charter; NULL: all at `epoch`; 0: not counted */
    const struct nof1_census *earlier;
    size_t blocks, elements;
    const char *const *element;
    const uint64_t *count;          /* [block * elements + element] */
};

struct nof1_plan {
    const char *title;
    const char *analysis;           /* registry id */
    uint32_t analysis_version;
    const char *outcome_name;
    size_t outcome;                 /* index in the charter */
    size_t reference, active;       /* treatment indices; effect = active minus reference */
    size_t others, other[6]; /* further active treatments, where the analysis compares several */
    size_t strata;           /* 0: all; else charter levels (indices) the plan is limited to */
    const size_t *stratum;
    const struct nof1_node *options;/* the analysis' own keys, defaults filled in */
    size_t blocks;                  /* roster = union of these */
    const size_t *block;
    uint32_t epoch;                 /* the highest of its blocks */
    const uint32_t *block_epoch;    /* [blocks] of each; NULL: all at `epoch` */
    uint32_t max_rounds;
    bool verify_full;
    uint32_t gather_by;             /* seconds */
    uint32_t deadline;              /* seconds */
    int64_t not_after;              /* UTC seconds */
    size_t elements;                /* layout of round 1: names, '!'-prefixed when design */
    const char *const *element;
    size_t atoms; /* difference rule: the atom keys the plan was made against; 0: */
    const char *const *atom;        /*   one atom of everybody, only before the first release */
    uint8_t hash[32];               /* H_q, SHA-256 of the canonical bytes */
};

/* What an analysis may look at besides one trial. census is NULL while none was taken. */
struct nof1_study {
    const struct nof1_charter *charter;
    const struct nof1_census *census;
    const struct nof1_plan *plan;
};

/* The epoch at which a plan asks a block of its roster, by place in the roster. */
uint32_t nof1_plan_block_epoch(const struct nof1_plan *plan, size_t place);
/* Sum of a census element over the plan's blocks; 0 when the census does not have it. */
uint64_t nof1_census_count(const struct nof1_study *study, const char *element);
/* Outcome numbers, of one a patient, that so many patients may release under the charter's limits:
 * by max_release_ratio; and by max_net_ratio on the patients outside the largest site (its
 * patient_cap, or max_site_share of them), so that its silent check passes as well. */
double nof1_study_room(const struct nof1_study *study, double patients);

#endif
