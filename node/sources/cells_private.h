/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The builder that cells.c fills and cells_table.c turns into a table.
 */
#ifndef NOF1_SOURCES_CELLS_PRIVATE_H
#define NOF1_SOURCES_CELLS_PRIVATE_H

#include <node/sources/cells.h>

#define NOF1_NO_WORD UINT32_MAX
#define NOF1_MOST_ROWS ((size_t)1 << 31)

/* The columns of kept rows in file order; all grow together. */
struct nof1_cells {
    struct nof1_arena *arena;
    const char *file;
    bool decimal_comma; /* the source may use it (separator ';') */
    char decimal_sign;  /* '.', ',' or 0 while none was seen */
    bool saw_number_time, saw_date_time;
    size_t rows, capacity;
    struct nof1_words trials, patients, treatments;
    uint32_t *trial; /* [rows] */
    uint32_t *line, *patient;
    int32_t *cycle, *period;
    double *time;
    uint8_t *treatment;
    size_t outcomes, covariates;
    struct nof1_table_outcome *outcome; /* value, variance: [capacity], malloc'd */
    struct nof1_words *level;           /* [covariates] */
    uint32_t **covariate;               /* [covariates][capacity] */
    const char **covariate_name;
    size_t first_dates;
    int64_t *first_date; /* [first_dates] earliest date of each trial */
    size_t left_out_phase;
    bool left_out; /* this row's phase is not treatment */
    bool observed; /* this row has an outcome */
};

#endif
