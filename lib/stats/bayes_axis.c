/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The substitutions of numbers that are integrated over, and the distribution of such a number
 * from a lattice of nodes. A likelihood that is even in a standard deviation keeps that symmetry:
 * the trapezoidal rule then runs over the whole line, there is no end at 0, and few points do.
 * Others, and correlations, decay double exponentially towards their ends (Takahasi & Mori 1974).
 */
#include "bayes.h"

#include <math.h>

#include <gsl/gsl_sf_expint.h>

#include <stats/distributions.h>

/* ---- substitutions ---- */

static double log_cosh(double x)
{
    return fabs(x) + log1p(exp(-2.0 * fabs(x))) - M_LN2;
}

/* Odd functions of x: scale * sinh(x), of sinh(sinh(x)) where the tail is heavy, and of a sinh that
 * ends at the prior's bound. */
static double even_value(const struct nof1_bayes_axis *axis, double x, double *log_derivative)
{
    double y = sinh(x), size = log(axis->scale);
    if (axis->prior.family == NOF1_BAYES_UNIFORM) {
        double end = asinh(axis->prior.scale / axis->scale), z = end * tanh(y);
        *log_derivative = size + log_cosh(z) + log(end) - 2.0 * log_cosh(y) + log_cosh(x);
        return fmin(axis->prior.scale, axis->scale * sinh(z));
    }
    if (axis->heavy) {
        *log_derivative = size + log_cosh(y) + log_cosh(x);
        return axis->scale * sinh(y);
    }
    *log_derivative = size + log_cosh(x);
    return axis->scale * y;
}

double nof1_bayes_axis_value(const struct nof1_bayes_axis *axis, double x, double *log_derivative)
{
    double y = sinh(x);
    if (axis->prior.family == NOF1_BAYES_LKJ) {
        *log_derivative = log_cosh(x);
        return y;
    }
    if (axis->even) {
        return even_value(axis, x, log_derivative);
    }
    if (axis->prior.family == NOF1_BAYES_UNIFORM) { /* a logistic of 2 y */
        double far = exp(-2.0 * fabs(y)), least = axis->prior.scale * far / (1.0 + far);
        *log_derivative =
            log(2.0 * axis->prior.scale) - 2.0 * fabs(y) - 2.0 * log1p(far) + log_cosh(x);
        return y < 0.0 ? least : axis->prior.scale - least;
    }
    *log_derivative = log(axis->scale) + y + log_cosh(x);
    return axis->scale * exp(y);
}

double nof1_bayes_axis_reach(const struct nof1_bayes_axis *axis)
{
    if (axis->prior.family == NOF1_BAYES_LKJ) {
        return 4.1; /* e^-60 from an end */
    }
    if (axis->prior.family == NOF1_BAYES_UNIFORM) {
        return 3.7; /* e^-40 */
    }
    return !axis->even ? 5.0 : axis->heavy ? 4.8 : 60.0; /* e^60 scales and more */
}

/* ---- distribution of a number that was integrated over ---- */

/* Integral of sinc from -infinity to z: 1/2 + Si(pi z) / pi; far out by its asymptotic series. */
static double sinc_integral(double z)
{
    double x = M_PI * fabs(z);
    double part = 1.0;
    if (isinf(z)) {
        return z > 0.0 ? 1.0 : 0.0;
    }
    if (x < 1e6) {
        part = 0.5 + gsl_sf_Si(x) / M_PI;
    } else {
        part = 1.0 - cos(x) / x / M_PI;
    }
    return z >= 0.0 ? part : 1.0 - part;
}

static double sinc(double z)
{
    double a = M_PI * z;
    return fabs(a) < 1e-4 ? 1.0 : sin(a) / a;
}

static bool folds(const struct nof1_bayes_axis *axis)
{
    return axis->even && axis->prior.family != NOF1_BAYES_FIXED;
}

double nof1_bayes_fold(const struct nof1_bayes_axis *axis, long index)
{
    return folds(axis) ? 2.0 * sinc_integral((double)index) - 1.0 : 1.0;
}

void nof1_bayes_marginal_moments(const struct nof1_bayes_marginal *m, double *mean, double *sd)
{
    double first = 0.0, second = 0.0;
    if (m->axis.prior.family == NOF1_BAYES_FIXED) {
        *mean = m->value[0];
        if (sd != NULL) {
            *sd = 0.0;
        }
        return;
    }
    for (size_t i = 0; i < m->points; i++) {
        first += m->folded[i] * m->value[i];
    }
    for (size_t i = 0; i < m->points; i++) { /* of squares: an even function */
        second += m->weight[i] * (m->value[i] - first) * (m->value[i] + first);
    }
    *mean = first;
    if (sd != NULL) {
        *sd = sqrt(fmax(0.0, second));
    }
}

/* P(X <= x), of |X| when even: every point then has a mirror image of its weight. */
static double lower(const struct nof1_bayes_marginal *m, double x, double *density)
{
    double sum = 0.0;
    *density = 0.0;
    for (size_t i = 0; i < m->points; i++) {
        double at = (double)(m->first + (long)i), z = x / m->step;
        sum += m->weight[i] * sinc_integral(z - at);
        *density += m->weight[i] / m->step * sinc(z - at);
        if (folds(&m->axis)) {
            sum += m->weight[i] * (sinc_integral(z + at) - 1.0);
            *density += m->weight[i] / m->step * sinc(z + at);
        }
    }
    return sum;
}

/* Newton's steps inside a bracket that only shrinks. */
double nof1_bayes_marginal_quantile(const struct nof1_bayes_marginal *m, double probability)
{
    double low = m->step * (double)(m->first - 1), high = low + m->step * (double)(m->points + 1);
    double unused;
    if (m->axis.prior.family == NOF1_BAYES_FIXED) {
        return m->value[0];
    }
    low = folds(&m->axis) ? fmax(0.0, low) : low;
    double x = 0.5 * (low + high);
    for (int i = 0; i < 200; i++) {
        double density, gap = lower(m, x, &density) - probability;
        low = gap <= 0.0 ? x : low;
        high = gap >= 0.0 ? x : high;
        double next = x - gap / density;
        if (!(next > low && next < high)) {
            next = 0.5 * (low + high);
        }
        double moved = fabs(next - x);
        x = next;
        if (moved <= 1e-13 * fmax(fabs(x), m->step)) {
            break;
        }
    }
    double value = nof1_bayes_axis_value(&m->axis, x, &unused);
    return m->axis.prior.family == NOF1_BAYES_LKJ ? tanh(value) : value;
}
