/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by gaussian_kr.c and gaussian_test.c: the design matrices of small-sample inference.
 */
#ifndef NOF1_STATS_GAUSSIAN_PARTS_H
#define NOF1_STATS_GAUSSIAN_PARTS_H

#include <stats/gaussian_fit.h>

#define PARAMETERS (NOF1_TERMS_MAX + 1) /* sigma^2, then the covariance terms */

struct kr {
    size_t p, parameters;
    double *first[PARAMETERS];               /* P_j = X'H^-1 V_j H^-1 X */
    double *second[PARAMETERS * PARAMETERS]; /* Q_jk, symmetrised */
    double trace2[PARAMETERS * PARAMETERS];
    double weight[PARAMETERS * PARAMETERS];  /* twice the inverse expected information */
    double *middle[PARAMETERS];              /* C^-1 P_j C^-1 */
};

/* Everything of the expected information (observed: of the Hessian of -2 log-likelihood, which
 * needs whole sums) at the point. `work` receives 3 p*p doubles. Errors: NOF1_E_NO_MEMORY. */
nof1_rc nof1_gaussian_parts(struct kr *out, double **work, struct nof1_arena *arena,
                            const struct nof1_gaussian_sums *sums,
                            const struct nof1_gaussian_point *point, bool observed);
/* Kenward & Roger's adjusted covariance for sigma = 1. work as above. */
void nof1_gaussian_adjusted(double *out, const struct kr *kr,
                            const struct nof1_gaussian_point *point, double *work);

#endif
