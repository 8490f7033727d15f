/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Distributions over GSL: see distributions.h. Arguments are checked before GSL sees them, because
 * GSL's default error handler ends the process and this file never relies on its being off.
 */
#include "distributions.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_errno.h>
#include <gsl/gsl_roots.h>

/* Beyond this a chi-square tail is below the smallest double; GSL would report underflow. */
#define TAIL_MARGIN 1600.0

double nof1_normal_lower(double x)
{
    return isnan(x) ? NAN : 0.5 * erfc(-x * M_SQRT1_2);
}

double nof1_normal_upper(double x)
{
    return isnan(x) ? NAN : 0.5 * erfc(x * M_SQRT1_2);
}

double nof1_normal_quantile(double upper)
{
    if (!(upper > 0.0 && upper < 1.0)) {
        return NAN;
    }
    return gsl_cdf_ugaussian_Qinv(upper);
}

/* Gamma(a + 1/2) / Gamma(a) for a > 100; lgamma would lose digits by cancellation. */
static double gamma_ratio(double a)
{
    double i = 1.0 / a;
    return sqrt(a) * (1.0 - i * (0.125 - i * (1.0 / 128.0 +
                                              i * (5.0 / 1024.0 - i * (21.0 / 32768.0 +
                                                                       i * 399.0 / 262144.0)))));
}

/* The continued fraction of the incomplete beta function by Lentz's method (Press et al., Numerical
 * Recipes, section 6.4); converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    double c = 1.0;
    double d = 1.0 / (1.0 - (a + b) * x / (a + 1.0));
    double h = d;
    for (int i = 1; i < 100000; i++) {
        double m = (double)i;
        double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / (1.0 + even * d);
        c = 1.0 + even / c;
        h *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / (1.0 + odd * d);
        c = 1.0 + odd / c;
        h *= d * c;
        if (fabs(d * c - 1.0) < 2.0 * DBL_EPSILON) {
            break;
        }
    }
    return h;
}

/* The even part of the same fraction (DiDonato & Morris 1992, TOMS 708), in terms of y = 1 - x and
 * lambda = a y - b x > 0, so that x may be close to 1. */
static double beta_fraction_even(double a, double b, double x, double y)
{
    double c = 1.0 + (a * y - b * x);
    double c1 = 1.0 + 1.0 / a;
    double p = 1.0;
    double s = a + 1.0;
    double previous[2] = {0.0, 1.0};   /* numerator, denominator */
    double current[2] = {1.0, c / c1};
    double r = c1 / c;
    for (int i = 1; i < 10000; i++) {
        double n = (double)i;
        double t = n / a;
        double w = n * (b - n) * x;
        double e = a / s;
        double alpha = p * (p + b / a) * e * e * (w * x);
        double beta = n + w / s + (1.0 + t) / (c1 + t + t) * (c + n * (y + 1.0));
        p = 1.0 + t;
        s += 2.0;
        double numerator = alpha * previous[0] + beta * current[0];
        double denominator = alpha * previous[1] + beta * current[1];
        double next = numerator / denominator;
        bool close = fabs(next - r) <= 2.0 * DBL_EPSILON * next;
        previous[0] = current[0] / denominator;
        previous[1] = current[1] / denominator;
        current[0] = r = next;
        current[1] = 1.0;
        if (close) {
            break;
        }
    }
    return r;
}

/* P(T > x) for x > 0 and df > 200, where GSL's beta function loses digits to its constant. */
static double t_tail_many(double x, double df)
{
    double a = 0.5 * df;
    double r = (x / df) * x;
    double y = r / (1.0 + r);
    /* x^a (1 - x)^b / B(a, b) with b = 1/2 */
    double front = exp(-a * log1p(r)) * sqrt(y) * gamma_ratio(a) / sqrt(M_PI);
    if (x * x > 3.0) {
        return 0.5 * front * beta_fraction_even(a, 0.5, 1.0 / (1.0 + r), y);
    }
    return 0.5 - front * beta_fraction(0.5, a, y);
}

double nof1_t_upper(double x, double df)
{
    if (isnan(x) || !(df > 0.0)) {
        return NAN;
    }
    if (isinf(df)) {
        return nof1_normal_upper(x);
    }
    if (isinf(x)) {
        return x > 0.0 ? 0.0 : 1.0;
    }
    /* P(T > x) = I_{df/(df+x^2)}(df/2, 1/2) / 2: the beta tail keeps every digit of small p. */
    double tail;
    if (df > 200.0) {
        tail = x == 0.0 ? 0.5 : t_tail_many(fabs(x), df);
    } else if (x * x < 1.0) {
        tail = 0.5 * gsl_cdf_beta_Q(x * x / (df + x * x), 0.5, 0.5 * df);
    } else {
        tail = 0.5 * gsl_cdf_beta_P(1.0 / (1.0 + (x / df) * x), 0.5 * df, 0.5);
    }
    return x >= 0.0 ? tail : 1.0 - tail;
}

double nof1_t_two_sided(double x, double df)
{
    return 2.0 * nof1_t_upper(fabs(x), df);
}

/* log density of t. */
static double t_log_density(double x, double df)
{
    return lgamma(0.5 * (df + 1.0)) - lgamma(0.5 * df) - 0.5 * log(df * M_PI) -
           0.5 * (df + 1.0) * log1p(x * x / df);
}

double nof1_t_quantile(double upper, double df)
{
    if (!(upper > 0.0 && upper < 1.0) || !(df > 0.0)) {
        return NAN;
    }
    if (isinf(df)) {
        return nof1_normal_quantile(upper);
    }
    double x = gsl_cdf_tdist_Qinv(upper, df);
    for (int i = 0; i < 4 && isfinite(x); i++) {
        double step = (nof1_t_upper(x, df) - upper) * exp(-t_log_density(x, df));
        if (!isfinite(step) || fabs(step) > 0.1 * (fabs(x) + 0.1)) {
            break;
        }
        x += step;
        if (fabs(step) <= 2.0 * DBL_EPSILON * fabs(x)) {
            break;
        }
    }
    return x;
}

double nof1_chi_square_lower(double x, double df)
{
    if (isnan(x) || !(df > 0.0) || isinf(df)) {
        return NAN;
    }
    if (x <= 0.0) {
        return 0.0;
    }
    if (x > 4.0 * df + TAIL_MARGIN) {
        return 1.0;
    }
    /* Deep in the lower tail P is about (x/2)^(df/2) / Gamma(df/2 + 1), which may underflow. */
    if (0.5 * df * log(0.5 * x) - lgamma(0.5 * df + 1.0) < -700.0 && x < df) {
        return 0.0;
    }
    return gsl_cdf_chisq_P(x, df);
}

double nof1_chi_square_upper(double x, double df)
{
    if (isnan(x) || !(df > 0.0) || isinf(df)) {
        return NAN;
    }
    if (x <= 0.0) {
        return 1.0;
    }
    if (x > 4.0 * df + TAIL_MARGIN) {
        return 0.0;
    }
    return 1.0 - nof1_chi_square_lower(x, df) > 0.5 ? 1.0 - nof1_chi_square_lower(x, df)
                                                     : gsl_cdf_chisq_Q(x, df);
}

/* One polishing loop for both tails; tail = +1 when p is P(X > q), -1 when it is P(X <= q). */
static double chi_square_polish(double x, double p, double df, int tail)
{
    for (int i = 0; i < 6 && isfinite(x) && x > 0.0; i++) {
        double value = tail > 0 ? nof1_chi_square_upper(x, df) : nof1_chi_square_lower(x, df);
        double log_density = (0.5 * df - 1.0) * log(0.5 * x) - 0.5 * x - lgamma(0.5 * df) - M_LN2;
        /* Newton on log p, which is nearly linear in x in the tails. */
        double step = (double)tail * log(value / p) * value * exp(-log_density);
        if (!isfinite(step) || fabs(step) > 0.5 * x) {
            break;
        }
        x += step;
        if (fabs(step) <= 2.0 * DBL_EPSILON * x) {
            break;
        }
    }
    return x;
}

double nof1_chi_square_quantile_lower(double p, double df)
{
    if (!(p > 0.0 && p < 1.0) || !(df > 0.0) || isinf(df)) {
        return NAN;
    }
    return chi_square_polish(gsl_cdf_chisq_Pinv(p, df), p, df, -1);
}

double nof1_chi_square_quantile_upper(double p, double df)
{
    if (!(p > 0.0 && p < 1.0) || !(df > 0.0) || isinf(df)) {
        return NAN;
    }
    return chi_square_polish(gsl_cdf_chisq_Qinv(p, df), p, df, +1);
}

double nof1_f_upper(double x, double df1, double df2)
{
    if (isnan(x) || !(df1 > 0.0) || !(df2 > 0.0) || isinf(df1)) {
        return NAN;
    }
    if (x <= 0.0) {
        return 1.0;
    }
    if (isinf(df2)) {
        return nof1_chi_square_upper(df1 * x, df1);
    }
    double r = df1 * x / df2;
    return r < 1.0 ? gsl_cdf_beta_Q(r / (1.0 + r), 0.5 * df1, 0.5 * df2)
                   : gsl_cdf_beta_P(1.0 / (1.0 + r), 0.5 * df2, 0.5 * df1);
}

static void solver_free(gsl_root_fsolver **solver)
{
    if (*solver != NULL) {
        gsl_root_fsolver_free(*solver);
    }
}

nof1_rc nof1_root(double *out, double (*f)(double x, void *context), void *context, double lower,
                  double upper, double relative)
{
    double at_lower = f(lower, context);
    double at_upper = f(upper, context);
    ENSURE(isfinite(at_lower) && isfinite(at_upper) && lower <= upper, NOF1_E_MODEL);
    if (at_lower == 0.0 || at_upper == 0.0) {
        *out = at_lower == 0.0 ? lower : upper;
        return NOF1_OK;
    }
    ENSURE((at_lower < 0.0) != (at_upper < 0.0), NOF1_E_MODEL);
    gsl_root_fsolver *solver NOF1_CLEANUP(solver_free) =
        gsl_root_fsolver_alloc(gsl_root_fsolver_brent);
    ENSURE(solver != NULL, NOF1_E_NO_MEMORY);
    gsl_function function = {.function = f, .params = context};
    ENSURE(gsl_root_fsolver_set(solver, &function, lower, upper) == GSL_SUCCESS, NOF1_E_MODEL);
    double close = fmax(relative, 4.0 * DBL_EPSILON);
    for (int i = 0; i < 400; i++) {
        ENSURE(gsl_root_fsolver_iterate(solver) == GSL_SUCCESS, NOF1_E_MODEL);
        double a = gsl_root_fsolver_x_lower(solver);
        double b = gsl_root_fsolver_x_upper(solver);
        if (b - a <= close * fmax(fabs(a), fabs(b))) {
            break;
        }
    }
    *out = gsl_root_fsolver_root(solver);
    return NOF1_OK;
}
