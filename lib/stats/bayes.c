/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Priors, summaries of a posterior, and the log densities of the two-stage and the one-stage model
 * (docs/statistics.md, `bayes`). Priors for standard deviations: Gelman, Bayesian Analysis 1 (2006)
 * 515-534. Never sees a trial: classes and cells are sums.
 */
#include "bayes.h"

#include <math.h>
#include <string.h>

#include <stats/distributions.h>

#define LOG_2PI 1.8378770664093454836

/* ---- priors ---- */

double nof1_bayes_log_prior(const struct nof1_bayes_prior *prior, double x)
{
    double z = x / prior->scale, df = prior->df;
    switch (prior->family) {
    case NOF1_BAYES_FIXED:
        return 0.0;
    case NOF1_BAYES_HALF_NORMAL:
        return M_LN2 - 0.5 * LOG_2PI - log(prior->scale) - 0.5 * z * z;
    case NOF1_BAYES_HALF_CAUCHY:
        return log(M_2_PI / prior->scale) - log1p(z * z);
    case NOF1_BAYES_HALF_T:
        return M_LN2 + lgamma(0.5 * (df + 1.0)) - lgamma(0.5 * df) - 0.5 * log(df * M_PI) -
               log(prior->scale) - 0.5 * (df + 1.0) * log1p(z * z / df);
    case NOF1_BAYES_UNIFORM:
        return x <= prior->scale ? -log(prior->scale) : -INFINITY;
    case NOF1_BAYES_JEFFREYS:
        return -log(x);
    case NOF1_BAYES_LKJ: { /* (1 + r) / 2 is beta(a, a); 1 - r^2 = 1 / cosh(x)^2 */
        double a = prior->scale, log_cosh = fabs(x) + log1p(exp(-2.0 * fabs(x))) - M_LN2;
        double constant = lgamma(2.0 * a) - 2.0 * lgamma(a) - (2.0 * a - 1.0) * M_LN2;
        return constant - 2.0 * a * log_cosh;
    }
    }
    return -INFINITY;
}

double nof1_bayes_prior_quantile(const struct nof1_bayes_prior *prior, double p)
{
    double upper = 0.5 * (1.0 - p);
    switch (prior->family) {
    case NOF1_BAYES_HALF_NORMAL:
        return prior->scale * nof1_normal_quantile(upper);
    case NOF1_BAYES_HALF_CAUCHY:
        return prior->scale * tan(M_PI_2 * p);
    case NOF1_BAYES_HALF_T:
        return prior->scale * nof1_t_quantile(upper, prior->df);
    case NOF1_BAYES_UNIFORM:
        return prior->scale * p;
    case NOF1_BAYES_FIXED:
        return prior->scale;
    case NOF1_BAYES_JEFFREYS:
    case NOF1_BAYES_LKJ:
        break;
    }
    return NAN;
}

/* ---- mixtures ---- */

nof1_rc_value nof1_bayes_mixture(struct nof1_bayes_mixture *out, struct nof1_arena *arena,
                                 const struct nof1_bayes_posterior *p, const double wide[2])
{
    *out = (struct nof1_bayes_mixture){.parts = p->nodes, .even = p->even,
                                       .even_weight = p->even_weight};
    out->weight = nof1_arena_alloc(arena, out->parts, sizeof *out->weight);
    out->mean = nof1_arena_alloc(arena, out->parts, sizeof *out->mean);
    out->sd = nof1_arena_alloc(arena, out->parts, sizeof *out->sd);
    ENSURE(out->weight != NULL && out->mean != NULL && out->sd != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < p->nodes; i++) {
        const struct nof1_bayes_node *node = &p->node[i];
        out->weight[i] = node->weight;
        out->mean[i] = node->mean.mean;
        out->sd[i] = sqrt(node->mean.variance + wide[0] * node->at[0] * node->at[0] +
                          wide[1] * node->at[2] * node->at[2]);
    }
    return NOF1_OK;
}

double nof1_bayes_mixture_upper(const struct nof1_bayes_mixture *m, double t)
{
    double sum = 0.0;
    for (size_t i = 0; i < m->parts; i++) {
        sum += m->weight[i] * nof1_normal_upper((t - m->mean[i]) / m->sd[i]);
    }
    return fmin(1.0, sum);
}

double nof1_bayes_mixture_lower(const struct nof1_bayes_mixture *m, double t)
{
    double sum = 0.0;
    for (size_t i = 0; i < m->parts; i++) {
        sum += m->weight[i] * nof1_normal_lower((t - m->mean[i]) / m->sd[i]);
    }
    return fmin(1.0, sum);
}

/* P(effect <= t) and its density, over the first `parts`. */
static double lower(const struct nof1_bayes_mixture *m, size_t parts, double t, double *density)
{
    double sum = 0.0, slope = 0.0;
    for (size_t i = 0; i < parts; i++) {
        double z = (t - m->mean[i]) / m->sd[i];
        sum += m->weight[i] * nof1_normal_lower(z);
        slope += m->sd[i] > 0.0 ? m->weight[i] / m->sd[i] * exp(-0.5 * z * z - 0.5 * LOG_2PI) : 0.0;
    }
    double total = parts < m->parts ? m->even_weight : 1.0;
    *density = slope / total;
    return sum / total;
}

/* Newton's steps inside a bracket that only shrinks. */
static double solve(const struct nof1_bayes_mixture *m, size_t parts, double probability,
                    double start, double scale)
{
    double low = -INFINITY, high = INFINITY, x = start, reach = scale;
    for (int i = 0; i < 200; i++) {
        double density, gap = lower(m, parts, x, &density) - probability;
        low = gap <= 0.0 ? x : low;
        high = gap >= 0.0 ? x : high;
        double next = x - gap / density;
        if (fabs(next - x) <= (parts == m->parts ? 1e-8 : 1e-4) * scale || low == high) {
            return isfinite(next) ? next : x; /* the next step would be the square of this one */
        }
        if (!(next > low && next < high) || fabs(next - x) > reach) {
            next = isinf(low) ? x - reach : isinf(high) ? x + reach : 0.5 * (low + high);
            reach *= 2.0;
        }
        if (next == x) {
            break;
        }
        x = next;
    }
    return x;
}

nof1_rc_value nof1_bayes_mixture_quantile(double *out, const struct nof1_bayes_mixture *m,
                                          double probability)
{
    double mean = 0.0, scale = 0.0; /* not the sd: a heavy tail has none */
    for (size_t i = 0; i < m->parts; i++) {
        mean += m->weight[i] * m->mean[i];
    }
    for (size_t i = 0; i < m->parts; i++) {
        scale += m->weight[i] * (m->sd[i] + fabs(m->mean[i] - mean));
    }
    ENSURE(isfinite(mean) && isfinite(scale) && scale > 0.0, NOF1_E_MODEL);
    double x = mean + scale * nof1_normal_quantile(1.0 - probability);
    if (m->even_weight > 0.0) {
        x = solve(m, m->even, probability, x, scale);
    }
    *out = solve(m, m->parts, probability, x, scale);
    return NOF1_OK;
}

/* ---- two-stage ---- */

/* Sums of the strata at (tau, sigma) and what omega and the effects do not enter: `kernel`. */
static bool cells_at(struct nof1_bayes_two *two, double tau2, double sigma2)
{
    double square = 0.0, log_sum = 0.0;
    memset(two->weight, 0, sizeof two->weight);
    memset(two->effect, 0, sizeof two->effect);
    for (size_t c = 0; c < two->cells; c++) {
        const struct nof1_bayes_cell *cell = &two->cell[c];
        double variance = tau2 + sigma2 * cell->u, trials = 0.0;
        if (!(variance > 0.0)) {
            return false;
        }
        for (size_t s = 0; s < two->strata; s++) {
            two->weight[s] += cell->trials[s] / variance;
            two->effect[s] += cell->trials[s] / variance * cell->mean[s];
            trials += cell->trials[s];
        }
        square += cell->scatter / variance;
        log_sum += trials * log(variance);
    }
    for (size_t s = 0; s < two->strata; s++) {
        two->effect[s] /= two->weight[s] > 0.0 ? two->weight[s] : 1.0;
    }
    for (size_t c = 0; c < two->cells; c++) { /* never a difference of large numbers */
        const struct nof1_bayes_cell *cell = &two->cell[c];
        for (size_t s = 0; s < two->strata; s++) {
            double e = cell->mean[s] - two->effect[s];
            square += cell->trials[s] / (tau2 + sigma2 * cell->u) * e * e;
        }
    }
    two->kernel = -0.5 * (square + log_sum);
    return true;
}

static bool sums_at(struct nof1_bayes_two *two, double tau2, double sigma2)
{
    struct nof1_bayes_weighted sums;
    if (!(sigma2 > 0.0) || two->sums(two->sums_self, tau2 / sigma2, &sums) != NOF1_OK) {
        return false;
    }
    double square = sums.wyy;
    for (size_t s = 0; s < two->strata; s++) {
        two->weight[s] = sums.w[s] / sigma2;
        two->effect[s] = sums.w[s] > 0.0 ? sums.wy[s] / sums.w[s] : 0.0;
        square -= sums.wy[s] * two->effect[s];
    }
    two->kernel =
        -0.5 * (fmax(0.0, square) / sigma2 + sums.log_sum + two->trials * log(sigma2));
    return true;
}

static bool two_at(struct nof1_bayes_two *two, double tau, double sigma)
{
    if (tau == two->last_tau && sigma == two->last_sigma) {
        return true;
    }
    two->last_tau = NAN;
    bool found = two->cells > 0 ? cells_at(two, tau * tau, sigma * sigma)
                                : sums_at(two, tau * tau, sigma * sigma);
    if (!found) {
        return false;
    }
    two->kernel -= 0.5 * two->trials * LOG_2PI;
    if (!two->sigma_known && two->df > 0.0) {
        two->kernel -= two->df * (0.5 * LOG_2PI + log(sigma)) + 0.5 * two->ss / (sigma * sigma);
    }
    two->last_tau = tau;
    two->last_sigma = sigma;
    return true;
}

/* Effects of strata are N(mu, omega^2 + 1 / weight). */
double nof1_bayes_two_density(void *self, const double *at, struct nof1_bayes_normal *mean)
{
    struct nof1_bayes_two *two = self;
    if (!two_at(two, at[0], at[1])) {
        return -INFINITY;
    }
    double omega2 = at[2] * at[2], prior = 1.0 / (two->sd * two->sd);
    double f = two->kernel + 0.5 * log(prior);
    double precision = prior, centre = two->mean - two->shift, sum = prior * centre;
    for (size_t s = 0; s < two->strata; s++) {
        double w = two->weight[s] / (1.0 + two->weight[s] * omega2);
        precision += w;
        sum += w * two->effect[s];
        f -= 0.5 * log1p(two->weight[s] * omega2);
    }
    double best = sum / precision;
    f -= 0.5 * log(precision) + 0.5 * prior * (centre - best) * (centre - best);
    for (size_t s = 0; s < two->strata; s++) {
        double w = two->weight[s] / (1.0 + two->weight[s] * omega2), e = two->effect[s] - best;
        f -= 0.5 * w * e * e;
    }
    *mean = (struct nof1_bayes_normal){best + two->shift, 1.0 / precision};
    return isnan(f) ? -INFINITY : f;
}

struct nof1_bayes_normal nof1_bayes_two_stratum(struct nof1_bayes_two *two, const double *at,
                                                size_t stratum)
{
    struct nof1_bayes_normal mean = {NAN, NAN};
    (void)nof1_bayes_two_density(two, at, &mean);
    double omega2 = at[2] * at[2], keep = 1.0 / (1.0 + two->weight[stratum] * omega2);
    double effect = two->effect[stratum] + two->shift;
    return (struct nof1_bayes_normal){keep * mean.mean + (1.0 - keep) * effect,
                                      keep * omega2 + keep * keep * mean.variance};
}

/* ---- one-stage ---- */

/* Adds a class at covariance s (11, 21, 22) of (reference mean, difference). */
static bool class_at(double *f, double precision[3], double sum[2], double *square,
                     const struct nof1_bayes_class *class_, const double s[3], double determinant)
{
    if (!(determinant > 0.0)) {
        return false;
    }
    double n = class_->trials;
    double i[3] = {s[2] / determinant, -s[1] / determinant, s[0] / determinant};
    const double *m = class_->mean, *c = class_->scatter;
    *f -= n * (LOG_2PI + 0.5 * log(determinant) + 0.5 * log(class_->n[0] * class_->n[1]));
    *square += i[0] * c[0] + 2.0 * i[1] * c[1] + i[2] * c[2] +
               n * (i[0] * m[0] * m[0] + 2.0 * i[1] * m[0] * m[1] + i[2] * m[1] * m[1]);
    sum[0] += n * (i[0] * m[0] + i[1] * m[1]);
    sum[1] += n * (i[1] * m[0] + i[2] * m[1]);
    for (size_t k = 0; k < 3; k++) {
        precision[k] += n * i[k];
    }
    return true;
}

double nof1_bayes_one_density(void *self, const double *at, struct nof1_bayes_normal *mean)
{
    const struct nof1_bayes_one *one = self;
    double tau = at[0], sigma2 = at[1] * at[1], sd = at[2], e = exp(-2.0 * fabs(at[3])), f = 0.0;
    double rho = copysign((1.0 - e) / (1.0 + e), at[3]), off = 4.0 * e / ((1.0 + e) * (1.0 + e));
    double p0 = 1.0 / (one->sd[0] * one->sd[0]), p1 = 1.0 / (one->sd[1] * one->sd[1]);
    double precision[3] = {p0, 0.0, p1};
    double sum[2] = {p0 * one->mean[0], p1 * one->mean[1]};
    double square = p0 * one->mean[0] * one->mean[0] + p1 * one->mean[1] * one->mean[1];
    for (size_t c = 0; c < one->classes; c++) {
        const struct nof1_bayes_class *class_ = &one->class_[c];
        double a = sigma2 / class_->n[0], b = sigma2 / class_->n[1];
        double s[3] = {sd * sd + a, rho * sd * tau - a, tau * tau + a + b};
        double free = off * sd * sd, both = tau + rho * sd;
        double determinant = free * (tau * tau + a) + b * sd * sd + a * both * both + a * b;
        if (!class_at(&f, precision, sum, &square, class_, s, determinant)) {
            return -INFINITY;
        }
    }
    double determinant = precision[0] * precision[2] - precision[1] * precision[1];
    double alpha = (precision[2] * sum[0] - precision[1] * sum[1]) / determinant;
    double effect = (precision[0] * sum[1] - precision[1] * sum[0]) / determinant;
    f += 0.5 * log(p0 * p1 / determinant) - 0.5 * (square - alpha * sum[0] - effect * sum[1]);
    f -= 0.5 * one->df * (LOG_2PI + log(sigma2)) + 0.5 * one->ss / sigma2;
    *mean = (struct nof1_bayes_normal){effect + one->shift, precision[0] / determinant};
    return isnan(f) ? -INFINITY : f;
}
