/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The source mapping (docs/interfaces.md, "Input"): which column of a hospital's table is what.
 *
 *   source: {driver: csv, path: /srv/nof1/pain.csv}
 *   columns: {trial: id, cycle: cycle, period: period, time: day, treatment: trt}
 *   outcomes: {y: {column: y, kind: continuous}}   # or {effect: yi, variance: vi}, one row a trial
 *   covariates: [age, stratum]                     # or {age: age_years}
 */
#ifndef NOF1_CORE_MAP_H
#define NOF1_CORE_MAP_H

#include <base/document.h>
#include <nof1/study.h>

#define NOF1_MAP_COVARIATES 1000u

struct nof1_map_outcome {
    const char *name;
    const char *column;   /* the value; for an imported effect the effect's column */
    const char *variance; /* imported effects; else NULL */
    enum nof1_outcome_kind kind;
};

struct nof1_map_covariate {
    const char *name;
    const char *column;
};

/* Column names; NULL: the table has no such column. `trial` is always set, `treatment` unless every
 * outcome is an imported effect. patient NULL: the trial is the patient. */
struct nof1_map {
    const char *driver; /* "csv" when not given */
    const char *path;   /* NULL when not given */
    const char *trial, *patient, *cycle, *period, *time, *treatment, *phase;
    bool named[7]; /* trial ... phase: named by the map, so the column must exist */
    size_t outcomes, covariates;
    const struct nof1_map_outcome *outcome;
    const struct nof1_map_covariate *covariate;
};

/* Read the mapping. Columns not named keep their default names, and count only when the table has
 * them. Errors: NOF1_E_INPUT with file, line, column, key. */
nof1_rc nof1_map_read(const struct nof1_map **out, struct nof1_arena *arena,
                      const struct nof1_node *node, struct nof1_error *error);
/* The mapping of a table without one: default names; columns among `outcome` are outcomes (of kind
 * continuous), all other unknown columns covariates. A name that is no identifier cannot be one.
 * Errors: NOF1_E_INPUT when trial or treatment or an outcome is missing. */
nof1_rc nof1_map_default(const struct nof1_map **out, struct nof1_arena *arena, const char *file,
                         size_t columns, const char *const *header, size_t outcomes,
                         const char *const *outcome, struct nof1_error *error);
/* A copy of `map` in which every column exists in the header: default-named columns that it lacks
 * are NULL. Errors: NOF1_E_INPUT naming `file`, line 1, the missing column and the nearest one. */
nof1_rc nof1_map_bind(const struct nof1_map **out, struct nof1_arena *arena,
                      const struct nof1_map *map, const char *file, size_t columns,
                      const char *const *header, struct nof1_error *error);
/* Index of a column, or SIZE_MAX (also for name NULL). */
size_t nof1_map_column(const char *name, size_t columns, const char *const *header);

#endif
