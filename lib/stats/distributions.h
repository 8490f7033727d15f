/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Distribution functions and quantiles with accurate tails (thin wrappers over GSL's cdf, quantiles
 * polished by Newton steps), and a bracketed root finder. Degrees of freedom are real numbers. A
 * function returns NAN when an argument is outside its domain, never more: it sets no error state
 * and never reaches GSL's error handler. Reports must turn NAN into null.
 */
#ifndef NOF1_STATS_DISTRIBUTIONS_H
#define NOF1_STATS_DISTRIBUTIONS_H

#include <nof1/error.h>

/* P(Z <= x) and P(Z > x) of the standard normal, and the z with P(Z > z) = upper. */
double nof1_normal_lower(double x);
double nof1_normal_upper(double x);
double nof1_normal_quantile(double upper);

/* Student's t with df > 0 degrees of freedom (infinite df: the normal). */
double nof1_t_upper(double x, double df);
double nof1_t_quantile(double upper, double df); /* t with P(T > t) = upper, 0 < upper < 1 */
/* 2 P(T > |x|); df infinite: 2 P(Z > |x|). */
double nof1_t_two_sided(double x, double df);

/* Chi-square with df > 0; x < 0 counts as 0. */
double nof1_chi_square_lower(double x, double df);
double nof1_chi_square_upper(double x, double df);
double nof1_chi_square_quantile_lower(double p, double df); /* P(X <= q) = p */
double nof1_chi_square_quantile_upper(double p, double df); /* P(X > q) = p */

/* F with numerator and denominator degrees of freedom > 0. */
double nof1_f_upper(double x, double df1, double df2);

/* A root of f in [lower, upper] by Brent's method; f(lower) and f(upper) must differ in sign or one
 * of them be 0. Stops at |interval| <= relative * |root| (at least 4 units in the last place).
 * Errors: NOF1_E_MODEL when there is no sign change or f is not finite; NOF1_E_NO_MEMORY. */
nof1_rc nof1_root(double *out, double (*f)(double x, void *context), void *context, double lower,
                  double upper, double relative);

#endif
