/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Discrete Gaussian noise by the exact sampler of Canonne, Kamath and Steinke (2020, "The discrete
 * Gaussian for differential privacy", algorithms 1 to 3), and the accountant of zero-concentrated
 * differential privacy (Bun and Steinke 2016; conversion to epsilon at delta as in the same paper,
 * proposition 12). The sampler uses integers only: no floating-point rounding
 * can give a count away.
 */
#ifndef NOF1_STATS_NOISE_H
#define NOF1_STATS_NOISE_H

#include <stats/stream.h>

#define NOF1_NOISE_VARIANCE_MAX (UINT32_C(1) << 24)

/* A draw from N_Z(0, variance): P(x) proportional to exp(-x^2 / (2 variance)), x a whole number;
 * 1 <= variance <= NOF1_NOISE_VARIANCE_MAX. Values that have a probability below exp(-8000) are
 * never drawn. The time depends on the draw, not on data. */
int64_t nof1_noise_gaussian(struct nof1_stream *stream, uint32_t variance);

/* The least delta for which rho-zCDP gives (epsilon, delta)-DP:
 * min over alpha > 1 of
 *   exp((alpha - 1)(alpha rho - epsilon) + alpha log(1 - 1/alpha)) / (alpha - 1).
 * rho >= 0, epsilon >= 0. */
double nof1_zcdp_delta(double rho, double epsilon);
/* The least epsilon at delta, 0 < delta < 1, and the largest rho that stays within both. */
double nof1_zcdp_epsilon(double rho, double delta);
double nof1_zcdp_rho(double epsilon, double delta);

#endif
