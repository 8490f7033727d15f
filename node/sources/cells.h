/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From cells of text to a table: what every source of rows shares. A source names what each of its
 * columns means, then gives cells and ends of rows in order; the checks of docs/data.md are here.
 * Nothing is half-loaded: any error ends the reading.
 */
#ifndef NOF1_SOURCES_CELLS_H
#define NOF1_SOURCES_CELLS_H

#include <node/sources/table.h>
#include <node/sources/words.h>

enum nof1_meaning {
    NOF1_MEANS_TRIAL,
    NOF1_MEANS_PATIENT,
    NOF1_MEANS_CYCLE,
    NOF1_MEANS_PERIOD,
    NOF1_MEANS_TIME,
    NOF1_MEANS_TREATMENT,
    NOF1_MEANS_PHASE,
    NOF1_MEANS_OUTCOME,
    NOF1_MEANS_VARIANCE,
    NOF1_MEANS_COVARIATE
};

/* One use of a column; a column may be used more than once. */
struct nof1_use {
    const char *column; /* its name in the source, for messages */
    enum nof1_meaning meaning;
    size_t index; /* of the outcome or covariate */
};

struct nof1_cells; /* private to cells.c and cells_table.c */

/* Make a builder. outcome: name and kind are read; names are copied. */
nof1_rc nof1_cells_new(struct nof1_cells **out, const char *file, size_t outcomes,
                       const struct nof1_table_outcome *outcome, size_t covariates,
                       const char *const *covariate, bool decimal_comma);
/* One cell of the row being read. Errors: NOF1_E_INPUT; error->line is left 0 for the source. */
nof1_rc nof1_cells_put(struct nof1_cells *cells, const struct nof1_use *use, const char *text,
                       size_t length, struct nof1_error *error);
/* The row is complete; line is its place in the source, 0 if it has none. */
nof1_rc nof1_cells_row(struct nof1_cells *cells, uint32_t line, struct nof1_error *error);
/* Group, sort, check, and hand over the table, which owns the builder then (*cells becomes NULL).
 */
nof1_rc nof1_cells_table(struct nof1_table **out, struct nof1_cells **cells,
                         struct nof1_error *error);
void nof1_cells_free(struct nof1_cells *cells);
void nof1_cells_freep(struct nof1_cells **cells); /* for NOF1_CLEANUP */

#endif
