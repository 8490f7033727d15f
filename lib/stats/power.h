/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Power of Student's t test: tails of the noncentral t distribution, which GSL lacks, by
 * integration over the chi distribution of the estimated standard deviation.
 */
#ifndef NOF1_STATS_POWER_H
#define NOF1_STATS_POWER_H

#include <stdbool.h>

#include <nof1/error.h>

/* P(T > c) for T = (Z + ncp) / sqrt(chi^2_df / df), absolute error below 1e-12. df >= 1, c >= 0.
 * Errors: NOF1_E_NO_MEMORY; NOF1_E_MODEL for other arguments. */
nof1_rc nof1_noncentral_t_upper(double *out, double c, double df, double ncp);

/* Power of the test of mean 0 by a mean with standard error `se` on df degrees of freedom when the
 * truth is `effect`; two-sided counts both tails (power.t.test(strict = TRUE)). se > 0. */
nof1_rc nof1_t_power(double *out, double effect, double se, double df, double alpha,
                     bool two_sided);

#endif
