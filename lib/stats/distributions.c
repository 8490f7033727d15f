/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Distributions over GSL: see distributions.h. Arguments are checked before GSL sees them, because
 * GSL's default error handler ends the process and this file never relies on its being off.
 */
#include "distributions.h"

#include <float.h>
#include <math.h>

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
    if (x * x < 1.0) {
        tail = 0.5 * gsl_cdf_beta_Q(x * x / (df + x * x), 0.5, 0.5 * df);
    } else {
        tail = 0.5 * gsl_cdf_beta_P(1.0 / (1.0 + (x / df) * x), 0.5 * df, 0.5);
    }
    return x >= 0.0 ? tail : 1.0 - tail;
}

double nof1_t_lower(double x, double df)
{
    return nof1_t_upper(-x, df);
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

double nof1_f_lower(double x, double df1, double df2)
{
    if (isnan(x) || !(df1 > 0.0) || !(df2 > 0.0) || isinf(df1)) {
        return NAN;
    }
    if (x <= 0.0) {
        return 0.0;
    }
    if (isinf(df2)) {
        return nof1_chi_square_lower(df1 * x, df1);
    }
    double r = df1 * x / df2;
    return r < 1.0 ? gsl_cdf_beta_P(r / (1.0 + r), 0.5 * df1, 0.5 * df2)
                   : gsl_cdf_beta_Q(1.0 / (1.0 + r), 0.5 * df2, 0.5 * df1);
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
