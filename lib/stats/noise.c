/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Exact discrete Gaussian noise and its accountant: see noise.h. Every probability below is a ratio
 * of 64-bit integers decided by fair bits.
 */
#include <stats/noise.h>

#include <math.h>
#include <stdbool.h>

#define BISECTIONS 200

/* ---- the sampler ---- */

/* Uniform on 0 .. n - 1, by rejection. */
static uint64_t below(struct nof1_stream *stream, uint64_t n)
{
    int bits = 0;
    while (bits < 64 && (n - 1) >> bits != 0) {
        bits++;
    }
    for (;;) {
        uint64_t x = 0;
        for (int i = 0; i < bits; i++) {
            x = 2 * x + nof1_stream_bit(stream);
        }
        if (x < n) {
            return x;
        }
    }
}

/* True with probability exp(-a/b), 0 <= a <= b: von Neumann's alternating series. */
static bool exp_fraction(struct nof1_stream *stream, uint64_t a, uint64_t b)
{
    uint64_t k = 1;
    while (below(stream, b) < a && below(stream, k) == 0) { /* with probability (a/b)/k */
        k++;
    }
    return k % 2 == 1;
}

/* True with probability exp(-a/b). */
static bool exp_minus(struct nof1_stream *stream, uint64_t a, uint64_t b)
{
    while (a > b) {
        if (!exp_fraction(stream, 1, 1)) {
            return false;
        }
        a -= b;
    }
    return exp_fraction(stream, a, b);
}

/* P(x) proportional to exp(-|x|/t). */
static int64_t laplace(struct nof1_stream *stream, uint64_t t)
{
    for (;;) {
        uint64_t u = below(stream, t);
        if (!exp_fraction(stream, u, t)) {
            continue;
        }
        uint64_t v = 0;
        while (exp_fraction(stream, 1, 1)) {
            v++;
        }
        int64_t x = (int64_t)(u + t * v);
        bool negative = nof1_stream_bit(stream) == 1;
        if (!negative || x != 0) { /* zero must not be counted twice */
            return negative ? -x : x;
        }
    }
}

int64_t nof1_noise_gaussian(struct nof1_stream *stream, uint32_t variance)
{
    uint64_t t = 1; /* floor(sd) + 1 */
    while (t * t <= variance) {
        t++;
    }
    for (;;) {
        int64_t x = laplace(stream, t);
        uint64_t size = (uint64_t)(x < 0 ? -x : x);
        uint64_t a = size * t, distance = a > variance ? a - variance : variance - a;
        if (distance >> 31 != 0) {
            continue; /* kept with probability below exp(-8000): the squares would overflow */
        }
        if (exp_minus(stream, distance * distance, 2 * t * t * variance)) {
            return x;
        }
    }
}

/* ---- the accountant ---- */

static double log_delta(double rho, double epsilon, double alpha)
{
    return (alpha - 1.0) * (alpha * rho - epsilon) + alpha * log1p(-1.0 / alpha) -
           log(alpha - 1.0);
}

double nof1_zcdp_delta(double rho, double epsilon)
{
    if (rho == 0.0) {
        return 0.0;
    }
    /* the logarithm is convex in alpha; its derivative, the slope below, is
     * below 0 near 1 and above 0 at the upper end */
    double low = 1.0 + 1e-9, high = (epsilon + 1.0) / (2.0 * rho) + 2.0;
    for (int i = 0; i < BISECTIONS; i++) {
        double alpha = 0.5 * (low + high);
        double slope = (2.0 * alpha - 1.0) * rho - epsilon + log1p(-1.0 / alpha);
        low = slope < 0.0 ? alpha : low;
        high = slope < 0.0 ? high : alpha;
    }
    return fmin(1.0, exp(log_delta(rho, epsilon, high)));
}

double nof1_zcdp_epsilon(double rho, double delta)
{
    if (rho == 0.0) {
        return 0.0;
    }
    double low = 0.0, high = rho + 2.0 * sqrt(rho * -log(delta)); /* Bun and Steinke's bound */
    for (int i = 0; i < BISECTIONS; i++) {
        double epsilon = 0.5 * (low + high);
        bool enough = nof1_zcdp_delta(rho, epsilon) <= delta;
        low = enough ? low : epsilon;
        high = enough ? epsilon : high;
    }
    return high;
}

double nof1_zcdp_rho(double epsilon, double delta)
{
    double low = 0.0, high = epsilon + 1.0; /* there delta is above what any plan may ask */
    for (int i = 0; i < BISECTIONS; i++) {
        double rho = 0.5 * (low + high);
        bool enough = nof1_zcdp_delta(rho, epsilon) <= delta;
        low = enough ? rho : low;
        high = enough ? high : rho;
    }
    return low;
}
