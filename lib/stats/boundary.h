/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two-sided group-sequential boundaries by alpha spending (Lan & DeMets 1983, Biometrika 70:659),
 * computed by recursive integration (Armitage, McPherson & Rowe 1969, JRSS A 132:235) of Brownian
 * motion over the information fractions of the looks.
 */
#ifndef NOF1_STATS_BOUNDARY_H
#define NOF1_STATS_BOUNDARY_H

#include <nof1/error.h>

#define NOF1_MOST_LOOKS 20
#define NOF1_LEAST_FRACTION 0.01 /* between looks */

enum nof1_spending { NOF1_SPEND_OBRIEN_FLEMING, NOF1_SPEND_POCOCK };

/* Two-sided error spent by information fraction t in (0, 1]: half of it to each side,
 * O'Brien-Fleming type 4 (1 - Phi(z_{alpha/4} / sqrt t)), Pocock type alpha log(1 + (e - 1) t). */
double nof1_spent(enum nof1_spending type, double alpha, double t);

/* Boundaries for |Z| at looks with ascending fractions t[0..looks-1] in (0, 1], at least
 * NOF1_LEAST_FRACTION apart. bound[k] is INFINITY when nothing measurable (less than 1e-12) is
 * spent at look k. Errors: NOF1_E_PLAN for other fractions, NOF1_E_NO_MEMORY, NOF1_E_MODEL. */
nof1_rc nof1_boundaries(double *bound, enum nof1_spending type, double alpha, size_t looks,
                        const double *t);

#endif
