/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Noncentral t: see power.h. P(T > c) = E Phi(ncp - c S), S^2 = chi^2_df / df, whose density
 * exp(k + (df - 1) log s - df (s^2 - 1) / 2) is written with the regulated gamma function, so that
 * large df cost no digits.
 */
#include <stats/power.h>

#include <math.h>

#include <gsl/gsl_integration.h>
#include <gsl/gsl_sf_gamma.h>

#include <stats/distributions.h>

#define FAR 9.0  /* standard deviations of S, which are at most 1/sqrt(2 df), kept on either side */
#define TURN 9.0 /* Phi is 0 or 1 this far from where it turns, s = ncp / c */
#define PANELS 16
#define NODES 20

struct integrand {
    double c, df, ncp, constant;
};

static double at(double s, void *context)
{
    const struct integrand *f = context;
    double power = f->df == 1.0 ? 0.0 : (f->df - 1.0) * log(s);
    return exp(f->constant + power - 0.5 * f->df * (s * s - 1.0)) *
           nof1_normal_lower(f->ncp - f->c * s);
}

nof1_rc nof1_noncentral_t_upper(double *out, double c, double df, double ncp)
{
    ENSURE(df >= 1.0 && df < 1e9 && c >= 0.0 && isfinite(c) && isfinite(ncp), NOF1_E_MODEL);
    struct integrand integrand = {c, df, ncp,
                                  log(2.0) + 0.5 * log(df / 2.0) - 0.5 * log(2.0 * M_PI) -
                                      log(gsl_sf_gammastar(df / 2.0))};
    gsl_function f = {.function = at, .params = &integrand};
    double wide = FAR / sqrt(2.0 * df), low = fmax(0.0, 1.0 - wide), high = 1.0 + 1.5 * wide;
    double turn = c > 0.0 ? ncp / c : low, width = c > 0.0 ? TURN / c : 0.0;
    const double end[4] = {low, fmin(fmax(turn - width, low), high),
                           fmin(fmax(turn + width, low), high), high};
    gsl_integration_glfixed_table *table = gsl_integration_glfixed_table_alloc(NODES);
    ENSURE(table != NULL, NOF1_E_NO_MEMORY);
    double sum = 0.0;
    for (size_t i = 0; i < 3 * PANELS; i++) {
        double left = end[i / PANELS], step = (end[i / PANELS + 1] - left) / PANELS;
        double from = left + step * (double)(i % PANELS);
        sum += step > 0.0 ? gsl_integration_glfixed(&f, from, from + step, table) : 0.0;
    }
    gsl_integration_glfixed_table_free(table);
    *out = fmin(1.0, sum);
    return NOF1_OK;
}

nof1_rc nof1_t_power(double *out, double effect, double se, double df, double alpha, bool two_sided)
{
    double other = 0.0;
    double c = nof1_t_quantile(two_sided ? 0.5 * alpha : alpha, df);
    ENSURE(se > 0.0 && isfinite(c), NOF1_E_MODEL);
    TRY(nof1_noncentral_t_upper(out, c, df, fabs(effect) / se));
    if (two_sided) {
        TRY(nof1_noncentral_t_upper(&other, c, df, -fabs(effect) / se));
    }
    *out += other;
    return NOF1_OK;
}
