/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The random-effects model from power sums: see two_stage.h. With W = diag(w), P = W -
 * WX(X'WX)^-1X'W and e = y - X beta: y'Py = sum w e^2, y'PPy = sum w^2 e^2, and y'PPPy follows from
 * w^3 sums, so that ML and REML have exact first and second derivatives (Viechtbauer 2005, J Educ
 * Behav Stat 30:261; DerSimonian & Kacker 2007 for the moment estimators).
 */
#include "two_stage.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "distributions.h"

#define P_MAX NOF1_TWO_STAGE_COLUMNS
#define MOST_ITERATIONS 200
#define MOST_POINTS 64

/* ---- small symmetric matrices ---- */

/* Inverse and log determinant of a symmetric positive definite matrix by Cholesky; false when a
 * pivot loses all but 1e-11 of its diagonal (columns that determine each other). */
static bool inverse(double *out, double *log_determinant, const double *in, size_t p)
{
    double l[NOF1_TWO_STAGE_SQUARE] = {0};
    *log_determinant = 0.0;
    for (size_t j = 0; j < p; j++) {
        for (size_t i = j; i < p; i++) {
            double sum = in[i * p + j];
            for (size_t m = 0; m < j; m++) {
                sum -= l[i * p + m] * l[j * p + m];
            }
            if (i == j) {
                if (!(sum > 1e-11 * in[j * p + j])) {
                    return false;
                }
                l[j * p + j] = sqrt(sum);
                *log_determinant += log(sum);
            } else {
                l[i * p + j] = sum / l[j * p + j];
            }
        }
    }
    for (size_t column = 0; column < p; column++) {
        double x[P_MAX] = {0};
        for (size_t i = 0; i < p; i++) {
            double sum = i == column ? 1.0 : 0.0;
            for (size_t m = 0; m < i; m++) {
                sum -= l[i * p + m] * x[m];
            }
            x[i] = sum / l[i * p + i];
        }
        for (size_t i = p; i-- > 0;) {
            double sum = x[i];
            for (size_t m = i + 1; m < p; m++) {
                sum -= l[m * p + i] * x[m];
            }
            x[i] = sum / l[i * p + i];
            out[i * p + column] = x[i];
        }
    }
    return true;
}

static void multiply(double *out, const double *a, const double *b, size_t p)
{
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j < p; j++) {
            double sum = 0.0;
            for (size_t m = 0; m < p; m++) {
                sum += a[i * p + m] * b[m * p + j];
            }
            out[i * p + j] = sum;
        }
    }
}

static double trace(const double *a, size_t p)
{
    double sum = 0.0;
    for (size_t i = 0; i < p; i++) {
        sum += a[i * p + i];
    }
    return sum;
}

/* trace(A B) of symmetric matrices. */
static double trace_product(const double *a, const double *b, size_t p)
{
    double sum = 0.0;
    for (size_t i = 0; i < p * p; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* ---- one point ---- */

struct point {
    struct nof1_two_stage_sums sums;
    double inverse[NOF1_TWO_STAGE_SQUARE];  /* (X'WX)^-1 */
    double log_determinant;
    double beta[P_MAX];
    double ypy, yppy, ypppy;                /* y'Py, y'PPy, y'PPPy */
    double trp, trpp;                       /* tr P, tr PP */
};

/* sum of w^a e^2. */
static double residual_square(const struct nof1_two_stage_power *power, const double *beta,
                              size_t p)
{
    double sum = power->yy;
    for (size_t i = 0; i < p; i++) {
        double row = 0.0;
        for (size_t j = 0; j < p; j++) {
            row += power->xx[i * p + j] * beta[j];
        }
        sum += beta[i] * (row - 2.0 * power->xy[i]);
    }
    return fmax(sum, 0.0);
}

static nof1_rc_value point_solve(struct point *point, const struct nof1_two_stage_power *power,
                                 size_t p)
{
    ENSURE(inverse(point->inverse, &point->log_determinant, power->xx, p), NOF1_E_MODEL);
    for (size_t i = 0; i < p; i++) {
        point->beta[i] = 0.0;
        for (size_t j = 0; j < p; j++) {
            point->beta[i] += point->inverse[i * p + j] * power->xy[j];
        }
    }
    return NOF1_OK;
}

static nof1_rc_value point_at(struct point *point, const struct nof1_two_stage_oracle *oracle,
                              double tau2, size_t p)
{
    TRY(oracle->weighted(oracle->self, tau2, &point->sums));
    const struct nof1_two_stage_power *w = point->sums.w;
    TRY(point_solve(point, &w[1], p));
    point->ypy = residual_square(&w[1], point->beta, p);
    point->yppy = residual_square(&w[2], point->beta, p);
    double x2e[P_MAX]; /* X'W^2 e */
    for (size_t i = 0; i < p; i++) {
        x2e[i] = w[2].xy[i];
        for (size_t j = 0; j < p; j++) {
            x2e[i] -= w[2].xx[i * p + j] * point->beta[j];
        }
    }
    point->ypppy = residual_square(&w[3], point->beta, p);
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j < p; j++) {
            point->ypppy -= x2e[i] * point->inverse[i * p + j] * x2e[j];
        }
    }
    double m[NOF1_TWO_STAGE_SQUARE];
    double mm[NOF1_TWO_STAGE_SQUARE];
    multiply(m, point->inverse, w[2].xx, p);
    multiply(mm, m, m, p);
    point->trp = w[1].xx[0] - trace(m, p);
    point->trpp = w[2].xx[0] - 2.0 * trace_product(point->inverse, w[3].xx, p) + trace(mm, p);
    return NOF1_OK;
}

/* ---- the engine ---- */

struct engine {
    const struct nof1_two_stage_options *options;
    const struct nof1_two_stage_oracle *oracle;
    size_t p;
    double k, df;
    size_t points;                  /* Q known at these tau^2, to start later searches */
    double at[MOST_POINTS], q[MOST_POINTS];
    struct point zero;              /* at tau^2 = 0 */
    struct point now;
};

static nof1_rc_value move(struct engine *engine, double tau2)
{
    TRY(point_at(&engine->now, engine->oracle, tau2, engine->p));
    if (engine->points < MOST_POINTS) {
        engine->at[engine->points] = engine->now.sums.tau_squared;
        engine->q[engine->points++] = engine->now.ypy;
    }
    return NOF1_OK;
}

static bool arrived(const struct engine *engine, double from, double to)
{
    double close = fmax(4.0 * DBL_EPSILON, engine->oracle->resolution);
    return fabs(to - from) <= close * fmax(fabs(to), fabs(from));
}

/* The largest known point with Q > target and the smallest with Q < target; high is INFINITY when
 * none is known. Returns the index of the nearer end in Q, to start from. */
static void known_bracket(const struct engine *engine, double target, double *low, double *high,
                          double *q_low, double *q_high)
{
    *low = 0.0;
    *high = INFINITY;
    *q_low = engine->zero.ypy;
    *q_high = NAN;
    for (size_t i = 0; i < engine->points; i++) {
        if (engine->q[i] >= target && engine->at[i] >= *low) {
            *low = engine->at[i];
            *q_low = engine->q[i];
        }
        if (engine->q[i] < target && engine->at[i] < *high) {
            *high = engine->at[i];
            *q_high = engine->q[i];
        }
    }
}

/* The tau^2 with Q(tau^2) = target <= Q(0). Newton on 1/Q, which is linear when all v are equal;
 * Q falls strictly, so a bracket always holds. Leaves engine->now at the root. */
static nof1_rc_value solve_q(struct engine *engine, double target, double *root, bool *converged)
{
    double low, high, q_low, q_high;
    known_bracket(engine, target, &low, &high, &q_low, &q_high);
    double t = low;
    if (isfinite(high)) {
        double share = (1.0 / target - 1.0 / q_low) / (1.0 / q_high - 1.0 / q_low);
        t = low + share * (high - low);
    }
    *converged = false;
    for (int i = 0; i < MOST_ITERATIONS; i++) {
        TRY(move(engine, t));
        t = engine->now.sums.tau_squared;
        double q = engine->now.ypy;
        *(q >= target ? &low : &high) = t;
        double next = t + q * (q - target) / (target * engine->now.yppy);
        if (!isfinite(next)) {
            break;
        }
        if (arrived(engine, t, next)) {
            *converged = true;
            break;
        }
        if (next <= low || next >= high) {
            next = isfinite(high) ? 0.5 * (low + high) : 2.0 * t + 1.0 / engine->zero.trp;
            if (next <= low || next >= high || arrived(engine, low, high)) {
                *converged = true;
                break;
            }
        }
        t = next;
    }
    *root = t;
    return NOF1_OK;
}

static bool restricted(const struct engine *engine)
{
    return engine->options->method == NOF1_TS_REML;
}

/* Twice the derivative of the (restricted) log likelihood by tau^2. */
static double score(const struct engine *engine, const struct point *point)
{
    return point->yppy - (restricted(engine) ? point->trp : point->sums.w[1].xx[0]);
}

static double information(const struct engine *engine, const struct point *point)
{
    return restricted(engine) ? point->trpp : point->sums.w[2].xx[0];
}

static double log_lik(const struct engine *engine, const struct point *point, bool reml)
{
    double n = reml ? engine->df : engine->k;
    return -0.5 * (n * log(2.0 * M_PI) + point->sums.log_sum + point->ypy +
                   (reml ? point->log_determinant : 0.0));
}

/* From `t`, with the score positive at low and negative at high (high may be INFINITY), to the
 * maximum between them. Newton with the observed second derivative where the log likelihood is
 * concave, else with the information; halving the bracket when a step leaves it. */
static nof1_rc_value climb(struct engine *engine, double low, double high, double t, double *root,
                           bool *converged)
{
    *converged = false;
    bool open_at_zero = score(engine, &engine->zero) > 0.0;
    for (int i = 0; i < MOST_ITERATIONS; i++) {
        TRY(move(engine, t));
        t = engine->now.sums.tau_squared;
        double s = score(engine, &engine->now);
        double curvature = information(engine, &engine->now) - 2.0 * engine->now.ypppy;
        *(s >= 0.0 ? &low : &high) = t;
        double next =
            t - (curvature < 0.0 ? s / curvature : -s / information(engine, &engine->now));
        if (!isfinite(next) || arrived(engine, t, next)) {
            *converged = isfinite(next);
            break;
        }
        if (next <= 0.0 && low == 0.0 && !open_at_zero) {
            t = 0.0;
            *converged = true;
            break;
        }
        if (next <= low || next >= high) {
            next = isfinite(high) ? 0.5 * (low + high) : 2.0 * t + 1.0 / engine->zero.trp;
            if (next <= low || next >= high || arrived(engine, low, high)) {
                *converged = true;
                break;
            }
        }
        t = next;
    }
    *root = t;
    return NOF1_OK;
}

/* Keep `t` when its log likelihood beats the best so far. */
static nof1_rc_value consider(struct engine *engine, double t, double *best, double *best_log_lik)
{
    TRY(move(engine, t));
    double value = log_lik(engine, &engine->now, restricted(engine));
    if (value > *best_log_lik) {
        *best_log_lik = value;
        *best = engine->now.sums.tau_squared;
    }
    return NOF1_OK;
}

/* All maxima between the points of a wide grid (the likelihood may have several). */
static nof1_rc_value scan(struct engine *engine, double scale, double *best, double *best_log_lik,
                          bool *converged)
{
    double previous = 0.0;
    double s_previous = score(engine, &engine->zero);
    *converged = true;
    for (int i = -80; i <= 48; i++) {
        double t = scale * exp2(0.25 * (double)i);
        struct point here;
        TRY(point_at(&here, engine->oracle, t, engine->p));
        double s = score(engine, &here);
        if (s_previous > 0.0 && s <= 0.0) {
            double root = 0.0;
            TRY(climb(engine, previous, t, 0.5 * (previous + t), &root, converged));
            TRY(consider(engine, root, best, best_log_lik));
        }
        previous = t;
        s_previous = s;
    }
    return NOF1_OK;
}

static nof1_rc_value likelihood(struct engine *engine, double *tau2, bool *converged)
{
    double best = 0.0;
    double best_log_lik = log_lik(engine, &engine->zero, restricted(engine));
    double moment = (engine->zero.ypy - engine->df) / engine->zero.trp;
    double s0 = score(engine, &engine->zero);
    if (engine->oracle->cheap) {
        double scale = fmax(moment, 0.0) + engine->df / engine->zero.trp;
        TRY(scan(engine, scale, &best, &best_log_lik, converged));
    } else if (s0 > 0.0 || moment > 0.0) {
        double start = moment > 0.0 ? moment : s0 / information(engine, &engine->zero);
        TRY(climb(engine, 0.0, INFINITY, start, &best, converged));
        double here = log_lik(engine, &engine->now, restricted(engine));
        if (best > 0.0 && s0 <= 0.0 && here < best_log_lik) {
            best = 0.0;
        }
    } else {
        *converged = true;
    }
    *tau2 = best;
    return NOF1_OK;
}

/* ---- moment estimators and the standard errors of tau^2, as in rma.uni ---- */

static nof1_rc_value hedges(struct engine *engine, double *tau2, double *part)
{
    struct nof1_two_stage_sums sums;
    TRY(engine->oracle->unweighted(engine->oracle->self, &sums));
    struct point point;
    TRY(point_solve(&point, &sums.w[0], engine->p));
    size_t p = engine->p;
    double m[NOF1_TWO_STAGE_SQUARE];
    double mm[NOF1_TWO_STAGE_SQUARE];
    multiply(m, point.inverse, sums.v1, p);
    multiply(mm, m, m, p);
    double trpv = sums.v1[0] - trace(m, p);
    double trpvpv = sums.v2[0] - 2.0 * trace_product(point.inverse, sums.v2, p) + trace(mm, p);
    *tau2 = (residual_square(&sums.w[0], point.beta, p) - trpv) / engine->df;
    double t = fmax(*tau2, 0.0);
    *part = sqrt(2.0 * trpvpv + 4.0 * t * trpv + 2.0 * t * t * engine->df) / engine->df;
    return NOF1_OK;
}

static nof1_rc_value sidik_jonkman(struct engine *engine, double *tau2, double *se)
{
    struct nof1_two_stage_sums sums;
    TRY(engine->oracle->unweighted(engine->oracle->self, &sums));
    double mean = sums.w[0].xy[0] / engine->k;
    double start = sums.w[0].yy / engine->k - mean * mean;
    if (!(start > 0.0)) {
        *tau2 = 0.0;
        *se = 0.0;
        return NOF1_OK;
    }
    TRY(move(engine, start));
    start = engine->now.sums.tau_squared;
    const struct point *point = &engine->now;
    *tau2 = start * point->ypy / engine->df;
    /* With V = W^-1 - start: tr(PVPV) and tr(PVP) reduce to traces of P and PP. */
    double trpvpv = engine->df - 2.0 * start * point->trp + start * start * point->trpp;
    double trpvp = point->trp - start * point->trpp;
    *se = start / engine->df *
          sqrt(2.0 * trpvpv + 4.0 * *tau2 * trpvp + 2.0 * *tau2 * *tau2 * point->trpp);
    return NOF1_OK;
}

/* Moments at tau^2 = 0: DerSimonian-Laird divides by tr P, Hunter-Schmidt by sum w. */
static void moments(struct engine *engine, double *tau2, double *se)
{
    const struct point *zero = &engine->zero;
    bool hs = engine->options->method == NOF1_TS_HS;
    double divisor = hs ? zero->sums.w[1].xx[0] : zero->trp;
    *tau2 = (zero->ypy - (hs ? engine->k : engine->df)) / divisor;
    double t = fmax(*tau2, 0.0);
    *se = sqrt(2.0 * engine->df + 4.0 * t * zero->trp + 2.0 * t * t * zero->trpp) / divisor;
}

static nof1_rc_value estimate(struct engine *engine, double *tau2, double *se, bool *converged)
{
    *se = NAN;
    *converged = true;
    switch (engine->options->method) {
    case NOF1_TS_FE:
        *tau2 = 0.0;
        return NOF1_OK;
    case NOF1_TS_DL:
    case NOF1_TS_HS:
        moments(engine, tau2, se);
        return NOF1_OK;
    case NOF1_TS_HE:
        return hedges(engine, tau2, se);
    case NOF1_TS_SJ:
        return sidik_jonkman(engine, tau2, se);
    case NOF1_TS_ML:
    case NOF1_TS_REML:
        return likelihood(engine, tau2, converged);
    case NOF1_TS_EB:
    case NOF1_TS_PM:
        if (engine->zero.ypy <= engine->df) {
            *tau2 = -1.0; /* cut off at 0 by the caller */
            return NOF1_OK;
        }
        return solve_q(engine, engine->df, tau2, converged);
    }
    return NOF1_E_BUG;
}

/* Standard errors that depend on the final weights only. */
static double final_se(const struct engine *engine, const struct point *point)
{
    double sum = point->sums.w[1].xx[0];
    switch (engine->options->method) {
    case NOF1_TS_ML:
        return sqrt(2.0 / point->sums.w[2].xx[0]);
    case NOF1_TS_REML:
        return sqrt(2.0 / point->trpp);
    case NOF1_TS_EB:
    case NOF1_TS_PM:
        return sqrt(2.0 * engine->k * engine->k / engine->df) / sum;
    default:
        return NAN;
    }
}

static nof1_rc_value interval(struct engine *engine, struct nof1_two_stage_fit *out)
{
    double half = 0.5 * (1.0 - engine->options->level);
    double q0 = engine->zero.ypy;
    double upper = nof1_chi_square_quantile_upper(half, engine->df);
    double lower = nof1_chi_square_quantile_lower(half, engine->df);
    bool converged;
    out->tau_squared_low = 0.0;
    out->tau_squared_high = 0.0;
    out->interval_empty = q0 < lower;
    if (q0 > upper) {
        TRY(solve_q(engine, upper, &out->tau_squared_low, &converged));
    }
    if (!out->interval_empty) {
        TRY(solve_q(engine, lower, &out->tau_squared_high, &converged));
    }
    return NOF1_OK;
}

static void heterogeneity(const struct engine *engine, struct nof1_two_stage_fit *out)
{
    const struct point *zero = &engine->zero;
    if (!(engine->df > 0.0)) {
        out->q = 0.0;
        out->q_p = 1.0;
        out->typical_variance = 0.0;
        out->i_squared = 0.0;
        out->h_squared = 1.0;
        return;
    }
    out->q = zero->ypy;
    out->q_p = nof1_chi_square_upper(out->q, engine->df);
    out->typical_variance = engine->df / zero->trp;
    if (engine->options->method == NOF1_TS_FE) {
        out->i_squared = out->q > 0.0 ? fmax(0.0, 100.0 * (out->q - engine->df) / out->q) : 0.0;
        out->h_squared = out->q / engine->df;
    } else {
        out->i_squared = 100.0 * out->tau_squared / (out->typical_variance + out->tau_squared);
        out->h_squared = out->tau_squared / out->typical_variance + 1.0;
    }
}

/* log |X'X|, which metafor adds to the restricted log likelihood. */
static nof1_rc_value design_determinant(const struct engine *engine, double *out)
{
    if (engine->p == 1) {
        *out = log(engine->k);
        return NOF1_OK;
    }
    struct nof1_two_stage_sums sums;
    TRY(engine->oracle->unweighted(engine->oracle->self, &sums));
    double unused[NOF1_TWO_STAGE_SQUARE];
    ENSURE(inverse(unused, out, sums.w[0].xx, engine->p), NOF1_E_MODEL);
    return NOF1_OK;
}

static nof1_rc_value finish(const struct engine *engine, const struct point *point,
                            struct nof1_two_stage_fit *out)
{
    size_t p = engine->p;
    out->knapp_hartung = engine->options->knapp_hartung && engine->df > 0.0;
    out->knapp_hartung_factor = out->knapp_hartung ? point->ypy / engine->df : 1.0;
    memcpy(out->beta, point->beta, sizeof out->beta);
    for (size_t i = 0; i < p * p; i++) {
        out->covariance[i] = out->knapp_hartung_factor * point->inverse[i];
    }
    out->score_at_zero = 0.5 * score(engine, &engine->zero);
    out->log_lik_ml = log_lik(engine, point, false);
    out->log_lik_reml = NAN;
    if (restricted(engine)) {
        double design;
        TRY(design_determinant(engine, &design));
        out->log_lik_reml = log_lik(engine, point, true) + 0.5 * design;
    }
    return NOF1_OK;
}

nof1_rc nof1_two_stage_fit(struct nof1_two_stage_fit *out,
                           const struct nof1_two_stage_options *options,
                           const struct nof1_two_stage_oracle *oracle)
{
    size_t p = options->columns;
    double df = options->trials - (double)p;
    ENSURE(p >= 1 && p <= P_MAX && (df > 0.0 || (df == 0.0 && p == 1)), NOF1_E_MODEL);
    struct engine engine = {.options = options, .oracle = oracle, .p = p, .k = options->trials,
                            .df = df};
    *out = (struct nof1_two_stage_fit){.columns = p, .trials = options->trials, .df = df,
                                       .tau_squared_se = NAN, .tau_squared_low = NAN,
                                       .tau_squared_high = NAN, .converged = true};
    TRY(move(&engine, 0.0));
    engine.zero = engine.now;
    if (df > 0.0 && isnan(options->fixed)) {
        TRY(estimate(&engine, &out->tau_squared, &out->tau_squared_se, &out->converged));
    } else if (df > 0.0) {
        out->tau_squared = options->fixed;
        out->converged = false;
    }
    out->boundary = df > 0.0 && options->method != NOF1_TS_FE && out->tau_squared <= 0.0;
    out->tau_squared = fmax(out->tau_squared, 0.0);
    TRY(move(&engine, out->tau_squared));
    out->tau_squared = engine.now.sums.tau_squared;
    if (df > 0.0 && isnan(out->tau_squared_se)) {
        out->tau_squared_se = final_se(&engine, &engine.now);
    }
    TRY(finish(&engine, &engine.now, out));
    heterogeneity(&engine, out);
    if (df > 0.0 && options->interval && options->method != NOF1_TS_FE) {
        TRY(interval(&engine, out));
    }
    return NOF1_OK;
}
