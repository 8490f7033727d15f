/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Residuals with serial correlation inside a trial: V = sigma^2 H, H = R(rho) + Z Gamma Z',
 * R[s,t] = rho^|time_s - time_t| (nlme's corAR1 without gaps, corCAR1 in general; whole-number gaps
 * also take rho <= 0). P = R^-1 is tridiagonal (Rothman, or any text on Markov chains), so that all
 * sums of the likelihood and its derivatives cost a trial of n rows O(n). Never allocates.
 */
#ifndef NOF1_STATS_AR1_H
#define NOF1_STATS_AR1_H

#include <stats/gaussian.h>

/* One trial. time: strictly ascending (read only when the shape is correlated). column[c * rows +
 * i], c < shape->columns, and then the effects' columns of Z. */
struct nof1_ar1_trial {
    size_t rows;
    const double *time;
    const double *column;
};

/* Doubles of work that nof1_ar1_add needs: fixed part and for each row. */
size_t nof1_ar1_work(const struct nof1_gaussian_shape *shape);
size_t nof1_ar1_work_row(const struct nof1_gaussian_shape *shape);

/* Add `weight` times the sums of a trial at gamma[terms]: Gamma's lower triangle, then rho when the
 * shape is correlated. The shape must have neither by_cycle, by_arm nor ratios. first and second of
 * the last term are those of dH/drho = R'. False (sums unspecified) when R or H is not positive
 * definite: |rho| >= 1, equal times, a fractional gap with rho <= 0. */
bool nof1_ar1_add(struct nof1_gaussian_sums *sums, const struct nof1_gaussian_shape *shape,
                  const double *gamma, const struct nof1_ar1_trial *trial, double weight,
                  double *work);

/* Coefficients of P = I + sum over gaps g of even (e_i e_i' + e_j e_j') - odd (e_i e_j' + e_j
 * e_i'), j = i + 1, and their derivatives in rho. False when undefined. */
struct nof1_ar1_gap {
    double phi;   /* rho^g */
    double even;  /* phi^2 / (1 - phi^2) */
    double odd;   /* phi / (1 - phi^2) */
    double d_phi, d_even, d_odd;
};
bool nof1_ar1_gap(struct nof1_ar1_gap *out, double rho, double gap);

#endif
