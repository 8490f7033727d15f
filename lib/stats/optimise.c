/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Safeguarded Newton and structured SR1: see optimise.h.
 */
#include <stats/optimise.h>

#include <math.h>
#include <stats/matrix.h>
#include <string.h>

/* Differences of f below this are rounding. */
static double noise_of(double f)
{
    return 1e-12 * fmax(1, fabs(f));
}

double nof1_newton_step(double *step, const double *gradient, const double *hessian, size_t n,
                        double floor, bool *curved, double *work)
{
    double *scaled = work, *vector = work + n * n, *value = vector + n * n, *scale = value + n;
    double decrement = 0;
    for (size_t i = 0; i < n; i++) {
        double diagonal = fabs(hessian[i * n + i]);
        scale[i] = diagonal > 0 ? 1 / sqrt(diagonal) : 1;
        step[i] = 0;
    }
    for (size_t i = 0; i < n * n; i++) {
        scaled[i] = hessian[i] * scale[i / n] * scale[i % n];
    }
    nof1_symmetric_eigen(scaled, value, vector, n);
    if (curved != NULL) {
        *curved = n == 0 || value[0] > 0;
    }
    for (size_t k = 0; k < n; k++) {
        double along = 0;
        for (size_t i = 0; i < n; i++) {
            along += vector[i * n + k] * scale[i] * gradient[i];
        }
        double curvature = fmax(fabs(value[k]), floor);
        decrement += along * along / curvature;
        for (size_t i = 0; i < n; i++) {
            step[i] -= vector[i * n + k] * scale[i] * along / curvature;
        }
    }
    return decrement;
}

/* Fraction of a step that keeps its largest entry within the rule. */
static double capped(const double *step, const double *x, size_t n, double longest)
{
    double size = 0, reach = 1;
    for (size_t i = 0; i < n; i++) {
        size = fmax(size, fabs(step[i]));
        reach = fmax(reach, fabs(x[i]));
    }
    return size > longest * reach ? longest * reach / size : 1;
}

/* Buffers of one minimisation. */
struct descent {
    double *x, *gradient, *hessian;
    double *trial_x, *trial_gradient, *trial_hessian;
    double *step, *work;
    double f, trial_f;
};

static nof1_rc_value descent_new(struct descent *d, struct nof1_arena *arena, size_t n)
{
    double *memory = nof1_arena_alloc(arena, 4 * n * n + 8 * n + 1, sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    d->x = memory;
    d->gradient = d->x + n;
    d->trial_x = d->gradient + n;
    d->trial_gradient = d->trial_x + n;
    d->step = d->trial_gradient + n;
    d->hessian = d->step + n;
    d->trial_hessian = d->hessian + n * n;
    d->work = d->trial_hessian + n * n;
    return NOF1_OK;
}

static void accept(struct descent *d, size_t n)
{
    memcpy(d->x, d->trial_x, n * sizeof *d->x);
    memcpy(d->gradient, d->trial_gradient, n * sizeof *d->gradient);
    memcpy(d->hessian, d->trial_hessian, n * n * sizeof *d->hessian);
    d->f = d->trial_f;
}

/* Halve until f falls. False when rounding leaves nothing to gain. */
static bool line_search(const struct nof1_objective *objective, struct descent *d, double decrement)
{
    size_t n = objective->n;
    double fraction = capped(d->step, d->x, n, objective->longest);
    for (int halving = 0; halving < 60; halving++, fraction /= 2) {
        for (size_t i = 0; i < n; i++) {
            d->trial_x[i] = d->x[i] + fraction * d->step[i];
        }
        if (!objective->evaluate(objective->context, d->trial_x, &d->trial_f, d->trial_gradient,
                                 d->trial_hessian)) {
            continue;
        }
        if (d->trial_f <= d->f - 1e-4 * fraction * decrement) {
            return true;
        }
        if (decrement < 1e4 * noise_of(d->f) && d->trial_f <= d->f + noise_of(d->f)) {
            return true;
        }
    }
    return false;
}

nof1_rc_value nof1_minimise(const struct nof1_objective *objective, struct nof1_arena *arena,
                            double *x, double *f, double *decrement, double tolerance)
{
    size_t n = objective->n;
    struct descent d;
    TRY(descent_new(&d, arena, n));
    memcpy(d.x, x, n * sizeof *x);
    ENSURE(objective->evaluate(objective->context, d.x, &d.f, d.gradient, d.hessian), NOF1_E_MODEL);
    double last = INFINITY;
    int idle = 0; /* steps that did not bring the decrement down, near the end: rounding */
    for (int i = 0; i < 500; i++) {
        *decrement = nof1_newton_step(d.step, d.gradient, d.hessian, n, 1e-9, NULL, d.work);
        idle = *decrement < 1e-6 && *decrement > 0.25 * last ? idle + 1 : 0;
        bool stalled = idle > (*decrement < 1e-16 ? 0 : 8);
        if (*decrement < tolerance || stalled || !line_search(objective, &d, *decrement)) {
            memcpy(x, d.x, n * sizeof *x);
            *f = d.f;
            return NOF1_OK;
        }
        last = *decrement;
        accept(&d, n);
    }
    return NOF1_E_MODEL;
}

/* ---- ask/tell ------------------------------------------------------------------------------ */

struct secant {
    size_t n;
    double *learnt; /* E */
    double *factor; /* Cholesky factor of |B| */
    double *work;   /* 4 n*n + 4 n */
};

/* Cholesky factor of |B(x)|: a metric in which information matrices compare. */
static void metric(struct secant *s, const double *hessian)
{
    size_t n = s->n;
    double *vector = s->work, *scaled = vector + n * n, *value = scaled + n * n, *scale = value + n;
    for (size_t i = 0; i < n; i++) {
        double diagonal = fabs(hessian[i * n + i]);
        scale[i] = diagonal > 0 ? sqrt(diagonal) : 1;
    }
    for (size_t i = 0; i < n * n; i++) {
        scaled[i] = hessian[i] / (scale[i / n] * scale[i % n]);
    }
    nof1_symmetric_eigen(scaled, value, vector, n);
    for (size_t i = 0; i < n * n; i++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++) {
            sum += vector[(i / n) * n + k] * fmax(fabs(value[k]), 1e-7) * vector[(i % n) * n + k];
        }
        s->factor[i] = sum * scale[i / n] * scale[i % n];
    }
    (void)nof1_cholesky(s->factor, n);
}

static void forward(double *x, const double *l, size_t n) /* L^-1 x */
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            x[i] -= l[i * n + k] * x[k];
        }
        x[i] /= l[i * n + i];
    }
}

static void backward(double *x, const double *l, size_t n) /* L'^-1 x */
{
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++) {
            x[i] -= l[k * n + i] * x[k];
        }
        x[i] /= l[i * n + i];
    }
}

/* Symmetric rank one: E += r r' / r's with r = (g_new - g_old) - (B_new + E) s. */
static void learn(struct secant *s, const struct nof1_evaluation *old,
                  const struct nof1_evaluation *new)
{
    size_t n = s->n;
    metric(s, new->hessian);
    double *move = s->work, *miss = move + n, *white = miss + n;
    for (size_t i = 0; i < n; i++) {
        move[i] = new->x[i] - old->x[i];
    }
    double product = 0, move_size = 0, miss_size = 0;
    for (size_t i = 0; i < n; i++) {
        miss[i] = new->gradient[i] - old->gradient[i];
        double length = 0;
        for (size_t j = 0; j < n; j++) {
            miss[i] -= (new->hessian[i * n + j] + s->learnt[i * n + j]) * move[j];
            length += s->factor[j * n + i] * move[j];
        }
        move_size += length * length;
        product += miss[i] * move[i];
        white[i] = miss[i];
    }
    forward(white, s->factor, n);
    for (size_t i = 0; i < n; i++) {
        miss_size += white[i] * white[i];
    }
    if (!(fabs(product) > 1e-6 * sqrt(move_size * miss_size))) {
        return;
    }
    for (size_t i = 0; i < n * n; i++) {
        s->learnt[i] += miss[i / n] * miss[i % n] / product;
    }
}

/* step = -(B + E)^-1 g with the eigenvalues of B + E, relative to |B|, kept within [0.1, 20]. */
static double quasi_newton(struct secant *s, double *step, const struct nof1_evaluation *at)
{
    size_t n = s->n;
    metric(s, at->hessian);
    double *white = s->work, *vector = white + n * n, *value = vector + n * n, *g = value + n;
    for (size_t i = 0; i < n * n; i++) {
        white[i] = at->hessian[i] + s->learnt[i];
    }
    for (size_t i = 0; i < n; i++) { /* rows, then columns: L^-1 (B + E) L'^-1 */
        forward(&white[i * n], s->factor, n);
    }
    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < n; i++) {
            g[i] = white[i * n + j];
        }
        forward(g, s->factor, n);
        for (size_t i = 0; i < n; i++) {
            white[i * n + j] = g[i];
        }
    }
    nof1_symmetric_eigen(white, value, vector, n);
    memcpy(g, at->gradient, n * sizeof *g);
    forward(g, s->factor, n);
    memset(step, 0, n * sizeof *step);
    double decrement = 0;
    for (size_t k = 0; k < n; k++) {
        double along = 0, curvature = fmin(20, fmax(0.1, fabs(value[k])));
        for (size_t i = 0; i < n; i++) {
            along += vector[i * n + k] * g[i];
        }
        decrement += along * along / curvature;
        for (size_t i = 0; i < n; i++) {
            step[i] -= vector[i * n + k] * along / curvature;
        }
    }
    backward(step, s->factor, n);
    return decrement;
}

nof1_rc_value nof1_ask(struct nof1_ask *out, struct nof1_arena *arena,
                       const struct nof1_evaluation *evaluation, size_t count, size_t n,
                       size_t skip, size_t bounded, double longest)
{
    double *memory = nof1_arena_alloc(arena, 6 * n * n + 6 * n + 1, sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    struct secant s = {n, memory, memory + n * n, memory + 2 * n * n + n};
    out->step = memory + 2 * n * n;
    out->best = 0;
    out->fraction = 1;
    for (size_t k = 1; k < count; k++) {
        const struct nof1_evaluation *best = &evaluation[out->best], *new = &evaluation[k];
        if (k >= skip) {
            learn(&s, best, new);
        }
        /* Equal up to rounding: the later point is the one closer to the minimum. */
        if (k < skip || new->f <= best->f + noise_of(best->f)) {
            out->best = k;
            out->fraction = 1;
        } else {
            out->fraction *= 0.3;
        }
    }
    const struct nof1_evaluation *best = &evaluation[out->best];
    out->decrement = quasi_newton(&s, out->step, best);
    out->fraction *= capped(out->step + bounded, best->x + bounded, n - bounded, longest);
    return NOF1_OK;
}
