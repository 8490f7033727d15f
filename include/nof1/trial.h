/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One patient's trial, as frozen in an epoch. Exists only in the vault process (and in the lab).
 * An analysis sees one trial at a time and no identifier.
 */
#ifndef NOF1_TRIAL_H
#define NOF1_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOF1_NO_ARM 255u

/* Column arrays of one trial, all of length `rows`, in order of (period, time, file order). All
 * memory is borrowed from the epoch. Outcome and covariate indices are those of the charter's
 * dictionary. Missing numbers are NAN; missing cycle, period are 0; missing time is NAN. Factor
 * covariates hold the level's index (0-based) as a double. Outcomes are as read (not centred). */
struct nof1_trial {
    size_t rows;
    const int32_t *cycle;
    const int32_t *period;
    const double *time;
    const uint8_t *treatment;        /* index into the charter's treatments, NOF1_NO_ARM: none */
    const double *const *outcome;    /* [outcome][row] */
    const double *const *variance;   /* [outcome][row]; [outcome] NULL unless of kind effect */
    const double *const *covariate;  /* [covariate][row] */
    bool counted;                    /* the first of its patient's trials that the plan uses */
    size_t site;                     /* the charter's index of the trial's site */
    size_t site_trials; /* this site's trials in the trial's group, and the mean over */
    const double *site_mean;         /*   them of site_value; NULL unless model->site_means */
    const uint8_t *seed;             /* 32 private bytes of the trial in this epoch and analysis,
                                        the same for every plan; NULL unless model->random */
};

#endif
