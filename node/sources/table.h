/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a data source gives: its rows grouped by trial, in columns, by the names of the mapping and
 * independent of any charter. nof1_table_freeze (node/freeze.h) turns it into an epoch.
 */
#ifndef NOF1_SOURCES_TABLE_H
#define NOF1_SOURCES_TABLE_H

#include <nof1/study.h>

/* One outcome; for NOF1_EFFECT value is the effect and variance its variance, else variance is
 * NULL. Missing values are NAN. */
struct nof1_table_outcome {
    const char *name;
    enum nof1_outcome_kind kind;
    double *value;    /* [rows] */
    double *variance; /* [rows] or NULL */
    uint8_t decimals; /* most digits after the decimal sign seen; 255: an exponent was seen */
    size_t missing;
};

/* One covariate as text: word 0 is the empty text, which means missing. */
struct nof1_table_covariate {
    const char *name;
    uint32_t *word; /* [rows] index into text */
    size_t words;
    const char **text; /* [words] */
};

/* Rows of trial t are first[t] .. first[t + 1] - 1, in order of (period, time, file order). */
struct nof1_cells;

struct nof1_table {
    struct nof1_cells *cells; /* owns the columns */
    struct nof1_arena *arena; /* of cells: owns the rest, this struct too */
    const char *file;
    size_t rows, trials;
    size_t *first;        /* [trials + 1] */
    const char **trial;   /* [trials] identifiers, in order of first appearance */
    const char **patient; /* [trials] */
    uint32_t *line;       /* [rows] line of the source, for messages; 0 when it has none */
    int32_t *cycle;       /* [rows] 0: missing */
    int32_t *period;      /* [rows] 0: missing */
    double *time;         /* [rows] NAN: missing; dates are days since the trial's first row */
    uint8_t *treatment;   /* [rows] index into treatment_name, 255: none */
    size_t treatments;
    const char **treatment_name;
    size_t outcomes;
    struct nof1_table_outcome *outcome;
    size_t covariates;
    struct nof1_table_covariate *covariate;
    size_t left_out_phase; /* rows of run-in, washout and baseline, not kept */
    bool dates;            /* time came as calendar dates */
};

/* Frees the table and all it shows. */
void nof1_table_free(struct nof1_table *table);
void nof1_table_freep(struct nof1_table **table); /* for NOF1_CLEANUP */

#endif
