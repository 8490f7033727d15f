/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The numbers of one trial that belong to a plan: rows with an observed outcome on one of the two
 * arms, centred at the charter's constant, and their reductions to period means and cycle
 * differences. Allocates nothing: the caller gives scratch.
 */
#ifndef NOF1_STATS_SERIES_H
#define NOF1_STATS_SERIES_H

#include <nof1/analysis.h>

/* Rows kept: outcome observed, treatment = plan's reference (arm 0), active (arm 1) or one of its
 * further treatments (arm 2, 3, ...), trial in the plan's strata. */
struct nof1_series {
    size_t rows;
    size_t n[8];          /* rows per arm */
    uint8_t *arm;         /* [rows] 0 reference, 1 active, 2 .. further */
    double *y;            /* [rows] outcome minus charter centre */
    double *variance;     /* [rows] for imported effects, else NULL */
    double *time;         /* [rows] NAN when missing */
    int32_t *cycle;       /* [rows] 0 when missing */
    int32_t *period;      /* [rows] 0 when missing */
    size_t *row;          /* [rows] index in the trial */
};

#define NOF1_SERIES_SCRATCH_ROW (5 * sizeof(double) + 2 * sizeof(int32_t) + 2 * sizeof(size_t))

/* Fill `out` from `trial` using `scratch` of at least rows * NOF1_SERIES_SCRATCH_ROW bytes, 16-byte
 * aligned. out->rows may be 0. Does not look at covariates. */
void nof1_series_of(struct nof1_series *out, const struct nof1_study *study,
                    const struct nof1_trial *trial, void *scratch);
/* The arm of a charter treatment in the plan; -1 when it is none of them. */
int nof1_plan_arm(const struct nof1_plan *plan, size_t treatment);
/* True when the trial belongs to the plan's strata (always, when the plan names none). */
bool nof1_series_in_strata(const struct nof1_study *study, const struct nof1_trial *trial);

/* Arm difference of period means: d = mean over active periods - mean over reference periods, of
 * the means of the rows of each period; k[a] = periods of arm a; ss = sum over arms of squared
 * deviations of period means about the arm's mean; var(d) = sigma^2 (1/k[0] + 1/k[1]), df = k[0] +
 * k[1] - 2. Rows without a period number are one period each. k[0] or k[1] may be 0: then d is 0.
 */
struct nof1_period_difference { double d, ss; size_t k[2]; };
void nof1_period_difference(struct nof1_period_difference *out, const struct nof1_series *series);

/* Cycle differences: for every cycle with both arms observed, mean active - mean reference (of the
 * period means); d = their mean, ss = squared deviations about d, k = complete cycles. */
struct nof1_cycle_difference { double d, ss; size_t k; };
void nof1_cycle_difference(struct nof1_cycle_difference *out, const struct nof1_series *series);
/* The differences themselves, in the order in which the cycles begin; at most series->rows of them
 * are written to `out`. Returns how many. */
size_t nof1_cycle_differences(double *out, const struct nof1_series *series);

#endif
