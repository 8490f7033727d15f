/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The one-round form of the mixed model with correlated residuals, whose occasions are periods:
 * what mixed_serial_class.c (sums of trials) and mixed_serial_fit.c (their use) share. Private to
 * them.
 */
#ifndef NOF1_STATS_MIXED_SERIAL_H
#define NOF1_STATS_MIXED_SERIAL_H

#include <stats/ar1_form.h>

#include "mixed.h"

#define SERIAL_INNER_MOST 64 /* functionals of a pattern */

enum serial_kind { SERIAL_CONSTANT, SERIAL_VARYING, SERIAL_LEVEL };

/* The trials with the same periods, of one charter class or of several: one group. */
struct serial_pattern {
    const struct nof1_class *plan; /* the first */
    uint64_t trials;               /* of the census */
    bool same;                     /* equal rows by arm in all its classes */
    size_t inner;                  /* functionals: 1, and rows' neighbours at each step */
    const double *functional;      /* [inner * rows] raw */
    const double *neighbours;      /* [gaps * inner]: those of step g, even_g 1, from functionals */
};

/* One number: of a group, or (OUTER, SQUARE) of all. w: 0 .. varying - 1, then the outcome. */
enum serial_sum {
    SERIAL_SUM_LEVEL,   /* level a */
    SERIAL_SUM_LEVELS,  /* level a times level b */
    SERIAL_SUM_F,       /* f_k'w_a */
    SERIAL_SUM_LEVEL_F, /* level b times f_k'w_a */
    SERIAL_SUM_PRODUCT, /* (f_k'w_a)(f_l'w_b) + (f_l'w_a)(f_k'w_b), or the square */
    SERIAL_SUM_OUTER,   /* outer_k'w_a */
    SERIAL_SUM_SQUARE   /* w_a'A_k w_b */
};
struct serial_item {
    enum serial_sum sum;
    int group;
    size_t a, b, k, l;
};

struct mixed_serial {
    struct nof1_ar1_form form;       /* a cell for each pattern */
    const struct serial_pattern *pattern;
    const int *pattern_of;           /* [classes of the charter] or -1 */
    const enum serial_kind *kind;    /* [columns] */
    size_t varying, levels;
    const size_t *varying_column, *level_column;
    const double *constant;          /* [columns * form.rows]: values of constant columns */
    size_t outer;                    /* functionals of constant columns besides the patterns' */
    const double *functional;        /* [outer * form.rows] */
    size_t inner_most;
    size_t items;
    const struct serial_item *item;
};

/* The constant f_0'w of the trials of a pattern, 0 when it is not: rows of the arm. */
double mixed_serial_known(const struct mixed_model *model, size_t pattern, size_t w, size_t k);
nof1_rc_value mixed_serial_layout(const struct mixed_model *model, uint32_t round,
                                  struct nof1_arena *arena, struct nof1_layout *out);

#endif
