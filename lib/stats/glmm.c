/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One trial of a generalised linear mixed model: see glmm.h. A jet is a value, its gradient and the
 * lower triangle of its Hessian by all parameters. The mode u of the integrand is found in plain
 * numbers; two simplified Newton steps in jets then make its first and second derivatives exact.
 */
#include <stats/glmm.h>

#include <gsl/gsl_integration.h>
#include <math.h>
#include <string.h>

size_t nof1_glmm_parameters(const struct nof1_glmm_shape *shape)
{
    return shape->columns + (shape->effects == 2 ? 3 : 1);
}

size_t nof1_glmm_jet(size_t parameters)
{
    return 1 + parameters + parameters * (parameters + 1) / 2;
}

#define JETS 20
#define CELL_SUMS 3 /* of one cell over the nodes of the quadrature */

size_t nof1_glmm_memory(const struct nof1_glmm_shape *shape, size_t cells)
{
    size_t p = nof1_glmm_parameters(shape);
    return JETS * nof1_glmm_jet(p) + p + (3 + CELL_SUMS) * cells;
}

/* ---- quadrature ---------------------------------------------------------------------------- */

/* Orthonormal Hermite polynomials at z: *last = p_K, *before = p_(K-1); the sum of p_j^2, j < K. */
static double polynomials(double z, size_t nodes, double *last, double *before)
{
    double sum = 0, old = 0, now = 1;
    for (size_t j = 0; j < nodes; j++) {
        double next = (z * now - sqrt((double)j) * old) / sqrt((double)j + 1);
        sum += now * now;
        old = now;
        now = next;
    }
    *last = now;
    *before = old;
    return sum;
}

nof1_rc_value nof1_glmm_quadrature(double *node, double *log_weight, size_t nodes)
{
    gsl_integration_fixed_workspace *w =
        gsl_integration_fixed_alloc(gsl_integration_fixed_hermite, nodes, 0, 0.5, 0, 0);
    ENSURE(w != NULL, NOF1_E_NO_MEMORY);
    memcpy(node, gsl_integration_fixed_nodes(w), nodes * sizeof *node);
    gsl_integration_fixed_free(w);
    for (size_t k = 0; k < nodes; k++) {
        double last, before, z = 2 * k + 1 == nodes ? 0 : node[k];
        for (int i = 0; i < 3 && z != 0; i++) {
            (void)polynomials(z, nodes, &last, &before);
            z -= last / (sqrt((double)nodes) * before);
        }
        node[k] = z;
        log_weight[k] = z * z / 2 - log(polynomials(z, nodes, &last, &before));
    }
    return NOF1_OK;
}

/* ---- jets ---------------------------------------------------------------------------------- */

/* out += theta * a, theta being parameter number t. */
static void add_parameter_times(double *out, size_t t, double theta, const double *a, size_t p)
{
    size_t size = nof1_glmm_jet(p);
    for (size_t i = 0; i < size; i++) {
        out[i] += theta * a[i];
    }
    out[1 + t] += a[0];
    double *hessian = out + 1 + p;
    for (size_t i = 0; i < p; i++) {
        size_t high = i > t ? i : t, low = i > t ? t : i;
        hessian[high * (high + 1) / 2 + low] += (i == t ? 2 : 1) * a[1 + i];
    }
}

/* out += scale * a * b */
static void add_product(double *out, double scale, const double *a, const double *b, size_t p)
{
    size_t size = nof1_glmm_jet(p);
    out[0] += scale * a[0] * b[0];
    for (size_t i = 1; i < size; i++) {
        out[i] += scale * (a[0] * b[i] + b[0] * a[i]);
    }
    double *hessian = out + 1 + p;
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j <= i; j++) {
            *hessian++ += scale * (a[1 + i] * b[1 + j] + b[1 + i] * a[1 + j]);
        }
    }
}

/* out += f(a) with value f0 and derivatives f1, f2. */
static void add_function(double *out, const double *a, double f0, double f1, double f2, size_t p)
{
    size_t size = nof1_glmm_jet(p);
    out[0] += f0;
    for (size_t i = 1; i < size; i++) {
        out[i] += f1 * a[i];
    }
    double *hessian = out + 1 + p;
    for (size_t i = 0; i < p; i++) {
        double left = f2 * a[1 + i];
        for (size_t j = 0; j <= i; j++) {
            *hessian++ += left * a[1 + j];
        }
    }
}

/* ---- the linear predictor and its families ------------------------------------------------- */

struct trial {
    const struct nof1_glmm_shape *shape;
    const struct nof1_glmm_cells *cells;
    const double *theta;
    size_t p, size;
    double *base;     /* [cells] offset + x'beta */
    double *gradient; /* [p] of one predictor */
    double *sums;     /* [cells * (CELL_SUMS + 2)]: and two derivatives of each */
    double *jets;     /* free ones */
};

/* Log-likelihood of a cell (when order is 0) and its derivatives by the predictor: d[0..4]. */
static void derivatives(double *d, enum nof1_glmm_family family, size_t order, double eta, double n,
                        double y)
{
    if (family == NOF1_GLMM_POISSON) {
        double mean = n * exp(eta);
        d[0] = y * eta - mean;
        d[1] = y - mean;
        d[2] = d[3] = d[4] = -mean;
        return;
    }
    double e = exp(-fabs(eta)), r = 1 / (1 + e), p = eta >= 0 ? r : e * r, v = e * r * r;
    d[0] = order == 0 ? y * eta - n * (fmax(eta, 0) + log1p(e)) : 0;
    d[1] = y - n * p;
    d[2] = -n * v;
    d[3] = -n * v * (1 - 2 * p);
    d[4] = -n * v * (1 - 6 * v);
}

/* log(1 + e) of one of n rows, as a factor that waits for the logarithm of many. */
static double log_factor(double *product, double e, double n)
{
    if (n > 4 || *product > 1e200) {
        return n * log1p(e);
    }
    for (double k = 0; k < n; k++) {
        *product *= 1 + e;
    }
    return 0;
}

/* Value of the cells at random effect b; first and second derivatives by the predictor in d[2 c].
 */
static double cells_at(const struct trial *t, double b, double *d)
{
    const struct nof1_glmm_cells *cells = t->cells;
    double value = 0, product = 1;
    for (size_t c = 0; c < cells->cells; c++, d += 2) {
        double eta = t->base[c] + b, n = cells->n[c], y = cells->y[c];
        if (t->shape->family == NOF1_GLMM_POISSON) {
            double mean = n * exp(eta);
            value += y * eta - mean;
            d[0] = y - mean;
            d[1] = -mean;
        } else {
            double e = exp(-fabs(eta)), r = 1 / (1 + e);
            value += y * eta - n * fmax(eta, 0) - log_factor(&product, e, n);
            d[0] = y - n * (eta >= 0 ? r : e * r);
            d[1] = -n * (e * r * r);
        }
    }
    return value - log(product);
}

static size_t root_index(size_t a, size_t b)
{
    return a + b; /* 11, 21, 22 */
}

static double effect_of(const struct trial *t, size_t cell, size_t a)
{
    return a == 0 || t->cells->arm[cell] != 0 ? 1 : 0;
}

/* b = S u, in jets */
static void effects_of(double *b, const struct trial *t, const double *u)
{
    size_t q = t->shape->effects;
    memset(b, 0, q * t->size * sizeof *b);
    for (size_t a = 0; a < q; a++) {
        for (size_t c = 0; c < q; c++) {
            size_t k = t->shape->columns + root_index(a, c);
            add_parameter_times(b + a * t->size, k, t->theta[k], u + c * t->size, t->p);
        }
    }
}

/* The predictor of a cell; its gradient in t->gradient. Its Hessian is that of b. */
static double predictor(const struct trial *t, const double *b, size_t cell)
{
    const double *x = t->cells->x + cell * t->shape->columns;
    double eta = t->base[cell] + b[0];
    memcpy(t->gradient, b + 1, t->p * sizeof *b);
    for (size_t a = 1; a < t->shape->effects && t->cells->arm[cell] != 0; a++) {
        eta += b[a * t->size];
        for (size_t i = 0; i < t->p; i++) {
            t->gradient[i] += b[a * t->size + 1 + i];
        }
    }
    for (size_t i = 0; i < t->shape->columns; i++) {
        t->gradient[i] += x[i];
    }
    return eta;
}

/* out += the order-th derivative, with `d` the derivatives from that order on, without the part of
 * the predictor's own Hessian. */
static void add_cell(double *out, const struct trial *t, const double *d)
{
    size_t p = t->p;
    double *hessian = out + 1 + p;
    out[0] += d[0];
    for (size_t i = 0; i < p; i++) {
        double left = d[2] * t->gradient[i];
        out[1 + i] += d[1] * t->gradient[i];
        for (size_t j = 0; j <= i; j++) {
            *hessian++ += left * t->gradient[j];
        }
    }
}

static void add_hessian(double *out, double scale, const double *b, size_t p, size_t size)
{
    for (size_t i = 1 + p; i < size; i++) {
        out[i] += scale * b[i];
    }
}

/* Sum over cells of the order-th derivative (0, 1, 2) of the log-likelihood times z. `which`: 0 all
 * cells, 1 those of the active arm. */
static void sum_cells(double *out, const struct trial *t, const double *b, size_t order,
                      size_t which)
{
    double slope[2] = {0, 0}, d[5];
    for (size_t cell = 0; cell < t->cells->cells; cell++) {
        if (effect_of(t, cell, which) == 0) {
            continue;
        }
        double eta = predictor(t, b, cell);
        derivatives(d, t->shape->family, order, eta, t->cells->n[cell], t->cells->y[cell]);
        add_cell(out, t, d + order);
        slope[0] += d[order + 1];
        slope[1] += t->shape->effects == 2 ? effect_of(t, cell, 1) * d[order + 1] : 0;
    }
    for (size_t a = 0; a < t->shape->effects; a++) {
        add_hessian(out, slope[a], b + a * t->size, t->p, t->size);
    }
}

/* ---- the mode ------------------------------------------------------------------------------ */

struct mode {
    double u[2], value, slope[2], curvature[3]; /* curvature of -h: 11, 21, 22 */
};

static void evaluate_mode(struct mode *m, const struct trial *t)
{
    const double *s = t->theta + t->shape->columns;
    size_t q = t->shape->effects;
    double s21 = q == 2 ? s[1] : 0, s22 = q == 2 ? s[2] : 0, d[5];
    double b[2] = {s[0] * m->u[0] + s21 * m->u[1], s21 * m->u[0] + s22 * m->u[1]};
    m->value = -(m->u[0] * m->u[0] + m->u[1] * m->u[1]) / 2;
    m->slope[0] = -m->u[0];
    m->slope[1] = -m->u[1];
    m->curvature[0] = m->curvature[2] = 1;
    m->curvature[1] = 0;
    if (q == 1) {
        const double *at = t->sums;
        m->value += cells_at(t, b[0], t->sums);
        for (size_t cell = 0; cell < t->cells->cells; cell++, at += 2) {
            m->slope[0] += s[0] * at[0];
            m->curvature[0] -= s[0] * s[0] * at[1];
        }
        return;
    }
    for (size_t cell = 0; cell < t->cells->cells; cell++) {
        bool active = t->cells->arm[cell] != 0;
        double z0 = s[0] + (active ? s21 : 0), z1 = s21 + (active ? s22 : 0);
        derivatives(d, t->shape->family, 0, t->base[cell] + b[0] + (active ? b[1] : 0),
                    t->cells->n[cell], t->cells->y[cell]);
        m->value += d[0];
        m->slope[0] += z0 * d[1];
        m->slope[1] += z1 * d[1];
        m->curvature[0] -= z0 * z0 * d[2];
        m->curvature[1] -= z0 * z1 * d[2];
        m->curvature[2] -= z1 * z1 * d[2];
    }
}

/* x = curvature^-1 slope; returns slope'x. */
static double solve_mode(double *x, const struct mode *m, const double *slope)
{
    const double *c = m->curvature;
    double schur = c[2] - c[1] / c[0] * c[1];
    x[1] = (slope[1] - c[1] / c[0] * slope[0]) / schur;
    x[0] = (slope[0] - c[1] * x[1]) / c[0];
    return x[0] * slope[0] + x[1] * slope[1];
}

/* Newton's method with step halving on the concave h. */
static bool find_mode(struct mode *m, const struct trial *t)
{
    *m = (struct mode){0};
    evaluate_mode(m, t);
    for (int i = 0; i < 200; i++) {
        double step[2];
        double gain = solve_mode(step, m, m->slope);
        if (!(gain > 1e-24 * fmax(1, fabs(m->value)))) {
            return isfinite(gain) && isfinite(m->value);
        }
        double fraction = fmin(1, 4 / sqrt(gain));
        struct mode next;
        bool better = false;
        for (int halving = 0; halving < 40 && !better; halving++, fraction /= 2) {
            next = *m;
            next.u[0] += fraction * step[0];
            next.u[1] += fraction * step[1];
            evaluate_mode(&next, t);
            better = next.value > m->value;
        }
        if (!better) {
            return isfinite(m->value); /* rounding: the jets take the last step */
        }
        *m = next;
    }
    return true;
}

/* u in jets. Each simplified Newton step makes one more order of derivatives exact. */
static void mode_jets(double *u, const struct trial *t, const struct mode *m, double *work)
{
    size_t q = t->shape->effects, size = t->size;
    double *b = work, *sum = b + 2 * size, *residual = sum + 2 * size;
    memset(u, 0, 2 * size * sizeof *u);
    u[0] = m->u[0];
    u[size] = m->u[1];
    for (int pass = 0; pass < 2; pass++) {
        effects_of(b, t, u);
        memset(sum, 0, 4 * size * sizeof *sum);
        for (size_t a = 0; a < q; a++) {
            sum_cells(sum + a * size, t, b, 1, a);
        }
        for (size_t c = 0; c < q; c++) {
            for (size_t a = 0; a < q; a++) {
                size_t k = t->shape->columns + root_index(a, c);
                add_parameter_times(residual + c * size, k, t->theta[k], sum + a * size, t->p);
            }
            for (size_t i = 0; i < size; i++) {
                residual[c * size + i] -= u[c * size + i];
            }
        }
        for (size_t i = 0; i < size; i++) {
            double step[2], right[2] = {residual[i], q == 2 ? residual[size + i] : 0};
            (void)solve_mode(step, m, right);
            u[i] += step[0];
            u[size + i] += q == 2 ? step[1] : 0;
        }
    }
}

/* out = log det(I + S W S), W the negative second derivatives at the mode. */
static void log_det(double *out, const struct trial *t, const double *b, double *work)
{
    size_t q = t->shape->effects, size = t->size, p = t->p;
    double *w = work, *left = w + 2 * size, *h = left + 4 * size, *det = h + 4 * size;
    memset(work, 0, 11 * size * sizeof *work);
    for (size_t a = 0; a < q; a++) { /* W11; W21 = W22, arms being 0 or 1 */
        sum_cells(w + a * size, t, b, 2, a);
    }
    for (size_t i = 0; i < 4; i++) {
        size_t a = i / 2, c = i % 2;
        for (size_t k = 0; a < q && c < q && k < q; k++) { /* left = S W */
            size_t root = t->shape->columns + root_index(a, k);
            add_parameter_times(left + i * size, root, t->theta[root],
                                w + (k > 0 || c > 0 ? 1 : 0) * size, p);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        size_t a = i / 2, c = i % 2;
        for (size_t k = 0; a < q && c < q && k < q; k++) { /* h = -left S */
            size_t root = t->shape->columns + root_index(k, c);
            add_parameter_times(h + i * size, root, t->theta[root], left + (2 * a + k) * size, p);
        }
        for (size_t k = 0; k < size; k++) {
            h[i * size + k] = (k == 0 && a == c ? 1 : 0) - h[i * size + k];
        }
    }
    add_product(det, 1, h, h + 3 * size, p);
    add_product(det, -1, h + size, h + 2 * size, p);
    memset(out, 0, size * sizeof *out);
    add_function(out, det, log(det[0]), 1 / det[0], -1 / (det[0] * det[0]), p);
}

/* out = h(u): log-likelihood given u plus log prior without its constant. */
static void integrand(double *out, const struct trial *t, const double *u, double *b)
{
    memset(out, 0, t->size * sizeof *out);
    effects_of(b, t, u);
    sum_cells(out, t, b, 0, 0);
    for (size_t a = 0; a < t->shape->effects; a++) {
        add_product(out, -0.5, u + a * t->size, u + a * t->size, t->p);
    }
}

/* ---- quadrature over one random effect ------------------------------------------------------
 *
 * The effect u + s z_k and b, its product with the root, are linear in the node z_k, with jets that
 * are known before. What a node adds to the Hessian is thus a few sums over the nodes of scalars of
 * the node or of one cell at it, and the outer product of its gradient; jets are formed once. */

struct nodes {
    const double *u, *s, *bu, *bs; /* jets: u, scale, and their products with the root */
    double e[3];                   /* sums over nodes of weight w, times z^j */
    double slope[2], curve[3];     /* of w z^j times the cells' first and second derivatives */
    double *gradient, *outer;      /* [p] of a node; lower triangle: sum of w gradient gradient' */
};

/* The node with weight w: derivatives d of the cells at it. */
static void add_node(struct nodes *sum, const struct trial *t, const double *d, double z, double w)
{
    size_t p = t->p, columns = t->shape->columns;
    double at = sum->u[0] + z * sum->s[0], slope = 0, curve = 0;
    const double *x = t->cells->x;
    double *gradient = sum->gradient, *cell = t->sums, *outer = sum->outer;
    memset(gradient, 0, p * sizeof *gradient);
    for (size_t c = 0; c < t->cells->cells; c++, d += 2, x += columns, cell += CELL_SUMS) {
        slope += d[0];
        curve += d[1];
        cell[0] += w * d[0];
        cell[1] += w * d[1];
        cell[2] += w * z * d[1];
        for (size_t i = 0; i < columns; i++) {
            gradient[i] += d[0] * x[i];
        }
    }
    for (size_t i = 0; i < p; i++) {
        gradient[i] += slope * (sum->bu[1 + i] + z * sum->bs[1 + i]) -
                       at * (sum->u[1 + i] + z * sum->s[1 + i]);
        double left = w * gradient[i];
        for (size_t j = 0; j <= i; j++) {
            *outer++ += left * gradient[j];
        }
    }
    for (size_t k = 0; k < 3; k++, w *= z) {
        sum->e[k] += w;
        sum->curve[k] += w * curve;
        sum->slope[k < 2 ? k : 0] += k < 2 ? w * slope : 0;
    }
}

/* hessian += scale (a b' + b a') / 2, packed */
static void add_symmetric(double *hessian, double scale, const double *a, const double *b, size_t p)
{
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j <= i; j++) {
            *hessian++ += scale * (a[i] * b[j] + b[i] * a[j]) / 2;
        }
    }
}

/* The jet of the weighted sum out of the sums over nodes; along: [2 p] for products with columns.
 */
static void collect_nodes(double *out, const struct nodes *sum, const struct trial *t,
                          double *along)
{
    size_t p = t->p, size = t->size, columns = t->shape->columns;
    const double *x = t->cells->x, *cell = t->sums;
    double *gradient = out + 1, *hessian = out + 1 + p;
    double at[2] = {sum->u[0] * sum->e[0] + sum->s[0] * sum->e[1],
                    sum->u[0] * sum->e[1] + sum->s[0] * sum->e[2]};
    memset(along, 0, 2 * p * sizeof *along);
    out[0] = sum->e[0];
    for (size_t i = 1; i < size; i++) {
        out[i] = sum->slope[0] * sum->bu[i] + sum->slope[1] * sum->bs[i] - at[0] * sum->u[i] -
                 at[1] * sum->s[i];
    }
    for (size_t i = 0; i < size - 1 - p; i++) {
        hessian[i] += sum->outer[i];
    }
    for (size_t c = 0; c < t->cells->cells; c++, x += columns, cell += CELL_SUMS) {
        for (size_t i = 0; i < columns; i++) {
            gradient[i] += cell[0] * x[i];
            along[i] += cell[1] * x[i];
            along[p + i] += cell[2] * x[i];
            for (size_t j = 0; j <= i; j++) {
                hessian[i * (i + 1) / 2 + j] += cell[1] * x[i] * x[j];
            }
        }
    }
    const double *u = sum->u + 1, *s = sum->s + 1, *bu = sum->bu + 1, *bs = sum->bs + 1;
    add_symmetric(hessian, 2, along, bu, p);
    add_symmetric(hessian, 2, along + p, bs, p);
    add_symmetric(hessian, sum->curve[0], bu, bu, p);
    add_symmetric(hessian, 2 * sum->curve[1], bu, bs, p);
    add_symmetric(hessian, sum->curve[2], bs, bs, p);
    add_symmetric(hessian, -sum->e[0], u, u, p);
    add_symmetric(hessian, -2 * sum->e[1], u, s, p);
    add_symmetric(hessian, -sum->e[2], s, s, p);
}

/* log sum_k w_k exp(z_k^2 / 2 + h(u + s z_k)), relative to the value at the mode. bu: root times u.
 */
static void quadrature(double *out, const struct trial *t, const double *u, const double *bu,
                       const double *scale, double reference, double *work)
{
    size_t size = t->size, p = t->p;
    double *sum = work, *bs = sum + size, *d = t->sums + CELL_SUMS * t->cells->cells;
    struct nodes nodes = {.u = u, .s = scale, .bu = bu, .bs = bs, .gradient = bs + size,
                          .outer = bs + size + p};
    effects_of(bs, t, scale);
    memset(nodes.outer, 0, (size - 1 - p) * sizeof *nodes.outer);
    memset(t->sums, 0, CELL_SUMS * t->cells->cells * sizeof *t->sums);
    for (size_t k = 0; k < t->shape->nodes; k++) {
        double z = t->shape->node[k], at = u[0] + z * scale[0];
        double h = cells_at(t, bu[0] + z * bs[0], d) - at * at / 2;
        add_node(&nodes, t, d, z, exp(h - reference + t->shape->log_weight[k]));
    }
    collect_nodes(sum, &nodes, t, bs + 2 * size);
    memset(out, 0, size * sizeof *out);
    add_function(out, sum, reference + log(sum[0]), 1 / sum[0], -1 / (sum[0] * sum[0]), p);
}

bool nof1_glmm_trial(double *out, const struct nof1_glmm_shape *shape, const double *theta,
                     const struct nof1_glmm_cells *cells, double *memory)
{
    size_t p = nof1_glmm_parameters(shape), size = nof1_glmm_jet(p);
    double *gradient = memory + cells->cells, *sums = gradient + p;
    struct trial t = {shape, cells,    theta, p, size, memory,
                      gradient, sums, sums + (2 + CELL_SUMS) * cells->cells};
    for (size_t cell = 0; cell < cells->cells; cell++) {
        t.base[cell] = cells->offset[cell];
        for (size_t i = 0; i < shape->columns; i++) {
            t.base[cell] += cells->x[cell * shape->columns + i] * theta[i];
        }
    }
    struct mode mode;
    if (!find_mode(&mode, &t)) {
        return false;
    }
    double *u = t.jets, *b = u + 2 * size, *det = b + 2 * size, *scale = det + size;
    double *work = scale + size;
    mode_jets(u, &t, &mode, work);
    effects_of(b, &t, u);
    log_det(det, &t, b, work);
    if (shape->nodes == 1) {
        integrand(out, &t, u, b);
    } else {
        double s = exp(-det[0] / 2);
        memset(scale, 0, size * sizeof *scale);
        add_function(scale, det, s, -s / 2, s / 4, p);
        quadrature(out, &t, u, b, scale, mode.value, work);
    }
    bool finite = true;
    for (size_t i = 0; i < size; i++) {
        out[i] -= det[i] / 2;
        finite = finite && isfinite(out[i]);
    }
    return finite;
}
