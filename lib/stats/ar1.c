/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sums of a trial with serially correlated residuals: see ar1.h. With D = dP/drho, K =
 * (I + Gamma Z'PZ)^-1 Gamma and U = (I - Z K Z'P) M: H^-1 M = P U, H^-1 R' H^-1 = -(.)'D(.) on U,
 * and (I - Z K Z'P) H (I - P Z K Z') = R - Z K Z'. Nothing of size rows^2 is ever formed.
 */
#include <stats/ar1.h>
#include <stats/matrix.h>

#include <math.h>
#include <string.h>

#define EFFECTS NOF1_EFFECTS_MAX

bool nof1_ar1_gap(struct nof1_ar1_gap *out, double rho, double gap)
{
    bool whole = gap == floor(gap);
    if (!(gap > 0) || !(fabs(rho) < 1) || (rho <= 0 && !whole)) {
        return false;
    }
    double phi = pow(rho, gap), d = gap * pow(rho, gap - 1);
    double left = gap * log(fabs(rho)); /* 1 - phi^2 without cancellation */
    double rest = rho == 0 ? 1 : -expm1(2 * left);
    out->phi = phi;
    out->even = phi * phi / rest;
    out->odd = phi / rest;
    out->d_phi = d;
    out->d_even = 2 * phi * d / (rest * rest);
    out->d_odd = d * (1 + phi * phi) / (rest * rest);
    return rest > 0 && isfinite(out->d_odd) && isfinite(out->d_even);
}

/* Everything of one trial while its sums are made. */
struct ar1 {
    const struct nof1_gaussian_shape *shape;
    size_t n, w, q, f; /* rows, columns of M, of Z, of both */
    const double *m;   /* [f][n] M, then Z */
    double *diagonal, *off;     /* P */
    double *d_diagonal, *d_off; /* D */
    double *phi, *rest;         /* innovations: y_i+1 = phi y_i + N(0, rest) */
    double *u;                  /* [f][n] */
    double *du;                 /* [f][n] D u */
    double *rdu;                /* [f][n] R D u */
    double *dz, *rdz;           /* [q][n] of Z itself */
    double *a;                  /* [q][w] Z'H^-1 M */
    double *cross_d;            /* [q][w] Uz'D Um */
    double *zdu;                /* [q][w] Z'D Um */
    double gamma[EFFECTS * EFFECTS], k[EFFECTS * EFFECTS];
    double g[EFFECTS * EFFECTS];      /* Z'PZ */
    double s[EFFECTS * EFFECTS];      /* Z'H^-1 Z */
    double d_zz[EFFECTS * EFFECTS];   /* Uz'D Uz */
    double trace, trace2;             /* of rho */
    double log_det;
};

size_t nof1_ar1_work(const struct nof1_gaussian_shape *shape)
{
    return 3 * shape->effects * shape->columns + 1;
}

size_t nof1_ar1_work_row(const struct nof1_gaussian_shape *shape)
{
    return 6 + 3 * (shape->columns + shape->effects) + 2 * shape->effects;
}

static void place(struct ar1 *t, double *work)
{
    double *const row[] = {work, work + t->n, work + 2 * t->n, work + 3 * t->n, work + 4 * t->n,
                           work + 5 * t->n};
    t->diagonal = row[0];
    t->off = row[1];
    t->d_diagonal = row[2];
    t->d_off = row[3];
    t->phi = row[4];
    t->rest = row[5];
    t->u = work + 6 * t->n;
    t->du = t->u + t->f * t->n;
    t->rdu = t->du + t->f * t->n;
    t->dz = t->rdu + t->f * t->n;
    t->rdz = t->dz + t->q * t->n;
    t->a = t->rdz + t->q * t->n;
    t->cross_d = t->a + t->q * t->w;
    t->zdu = t->cross_d + t->q * t->w;
}

/* P, D, the innovations, log|R| and the traces of rho for R alone. */
static bool chain_of(struct ar1 *t, const double *time, double rho)
{
    for (size_t i = 0; i < t->n; i++) {
        t->diagonal[i] = 1;
        t->rest[i] = 1;
        t->off[i] = t->d_diagonal[i] = t->d_off[i] = t->phi[i] = 0;
    }
    for (size_t i = 0; t->shape->correlated && i + 1 < t->n; i++) {
        struct nof1_ar1_gap gap;
        if (!nof1_ar1_gap(&gap, rho, time[i + 1] - time[i])) {
            return false;
        }
        double rest = 1 / (1 + gap.even); /* 1 - phi^2 */
        t->phi[i] = gap.phi;
        t->rest[i + 1] = rest;
        t->diagonal[i] += gap.even;
        t->diagonal[i + 1] += gap.even;
        t->off[i] = -gap.odd;
        t->d_diagonal[i] += gap.d_even;
        t->d_diagonal[i + 1] += gap.d_even;
        t->d_off[i] = -gap.d_odd;
        t->log_det += log(rest);
        t->trace -= 2 * gap.phi * gap.d_phi / rest;
        t->trace2 += 2 * gap.d_phi * gap.d_phi * (1 + gap.phi * gap.phi) / (rest * rest);
    }
    return true;
}

static void tridiagonal(double *out, const double *diagonal, const double *off, const double *v,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = diagonal[i] * v[i];
    }
    for (size_t i = 0; i + 1 < n; i++) {
        out[i] += off[i] * v[i + 1];
        out[i + 1] += off[i] * v[i];
    }
}

/* out = R v through the innovations. */
static void correlate(double *out, const struct ar1 *t, const double *v)
{
    for (size_t i = t->n; i-- > 0;) {
        out[i] = v[i] + (i + 1 < t->n ? t->phi[i] * out[i + 1] : 0);
    }
    for (size_t i = 0; i < t->n; i++) {
        out[i] = out[i] * t->rest[i] + (i > 0 ? t->phi[i - 1] * out[i - 1] : 0);
    }
}

/* K = (I + Gamma g)^-1 Gamma by elimination with pivots, and log|I + Gamma g|. */
static bool solve_k(struct ar1 *t)
{
    size_t q = t->q;
    double left[EFFECTS * EFFECTS] = {0}, log_det = 0;
    for (size_t i = 0; i < q; i++) {
        for (size_t j = 0; j < q; j++) {
            left[i * q + j] = i == j;
            for (size_t l = 0; l < q; l++) {
                left[i * q + j] += t->gamma[i * q + l] * t->g[l * q + j];
            }
            t->k[i * q + j] = t->gamma[i * q + j];
        }
    }
    double sign = 1;
    for (size_t c = 0; c < q; c++) {
        size_t pivot = c;
        for (size_t i = c + 1; i < q; i++) {
            pivot = fabs(left[i * q + c]) > fabs(left[pivot * q + c]) ? i : pivot;
        }
        for (size_t j = 0; pivot != c && j < q; j++) {
            double l = left[c * q + j], k = t->k[c * q + j];
            left[c * q + j] = left[pivot * q + j];
            left[pivot * q + j] = l;
            t->k[c * q + j] = t->k[pivot * q + j];
            t->k[pivot * q + j] = k;
        }
        double head = left[c * q + c];
        sign *= (pivot == c ? 1 : -1) * (head > 0 ? 1 : -1);
        if (head == 0 || !isfinite(head)) {
            return false;
        }
        log_det += log(fabs(head));
        for (size_t i = 0; i < q; i++) {
            double factor = i == c ? 0 : left[i * q + c] / head;
            for (size_t j = 0; j < q && factor != 0; j++) {
                left[i * q + j] -= factor * left[c * q + j];
                t->k[i * q + j] -= factor * t->k[c * q + j];
            }
        }
    }
    for (size_t i = 0; i < q * q; i++) {
        t->k[i] /= left[(i / q) * q + i / q];
    }
    for (size_t i = 0; i < q; i++) { /* symmetric but for rounding */
        for (size_t j = 0; j < i; j++) {
            t->k[i * q + j] = t->k[j * q + i] = 0.5 * (t->k[i * q + j] + t->k[j * q + i]);
        }
    }
    t->log_det += log_det;
    return sign > 0;
}

/* u = F - Z K Z'P F; then A, S and what D and R make of u. */
static bool project(struct ar1 *t)
{
    size_t n = t->n, q = t->q;
    const double *z = t->m + t->w * n;
    double *pz = t->dz; /* borrowed until D Z is made */
    for (size_t k = 0; k < q; k++) {
        tridiagonal(pz + k * n, t->diagonal, t->off, z + k * n, n);
    }
    for (size_t i = 0; i < q * q; i++) {
        t->g[i] = nof1_dot(pz + (i / q) * n, z + (i % q) * n, n);
    }
    if (!solve_k(t)) {
        return false;
    }
    for (size_t c = 0; c < t->f; c++) {
        const double *from = t->m + c * n;
        double *u = t->u + c * n, zp[EFFECTS];
        memcpy(u, from, n * sizeof *u);
        for (size_t k = 0; k < q; k++) {
            zp[k] = nof1_dot(pz + k * n, from, n);
        }
        for (size_t k = 0; k < q; k++) {
            double b = nof1_dot(t->k + k * q, zp, q);
            for (size_t i = 0; b != 0 && i < n; i++) {
                u[i] -= b * z[k * n + i];
            }
        }
        for (size_t k = 0; k < q; k++) {
            double value = nof1_dot(pz + k * n, u, n);
            if (c < t->w) {
                t->a[k * t->w + c] = value;
            } else {
                t->s[k * q + c - t->w] = value;
            }
        }
    }
    return true;
}

static void derive(struct ar1 *t)
{
    size_t n = t->n, q = t->q, w = t->w;
    const double *z = t->m + w * n, *uz = t->u + w * n;
    for (size_t c = 0; c < t->f; c++) {
        tridiagonal(t->du + c * n, t->d_diagonal, t->d_off, t->u + c * n, n);
        correlate(t->rdu + c * n, t, t->du + c * n);
    }
    for (size_t k = 0; k < q; k++) {
        tridiagonal(t->dz + k * n, t->d_diagonal, t->d_off, z + k * n, n);
        correlate(t->rdz + k * n, t, t->dz + k * n);
        for (size_t c = 0; c < w; c++) {
            t->cross_d[k * w + c] = nof1_dot(uz + k * n, t->du + c * n, n);
            t->zdu[k * w + c] = nof1_dot(z + k * n, t->du + c * n, n);
        }
        for (size_t l = 0; l < q; l++) {
            t->d_zz[k * q + l] = nof1_dot(uz + k * n, t->du + (w + l) * n, n);
        }
    }
    /* tr(D (R - Z K Z')) and tr of its square */
    double zdz[EFFECTS * EFFECTS], zdrdz[EFFECTS * EFFECTS], kd[EFFECTS * EFFECTS] = {0};
    for (size_t i = 0; i < q * q; i++) {
        zdz[i] = nof1_dot(z + (i / q) * n, t->dz + (i % q) * n, n);
        zdrdz[i] = nof1_dot(t->dz + (i / q) * n, t->rdz + (i % q) * n, n);
    }
    for (size_t i = 0; i < q; i++) {
        for (size_t j = 0; j < q; j++) {
            for (size_t l = 0; l < q; l++) {
                kd[i * q + j] += t->k[i * q + l] * zdz[l * q + j];
            }
            t->trace += t->k[i * q + j] * zdz[j * q + i];
            t->trace2 -= 2 * t->k[i * q + j] * zdrdz[j * q + i];
        }
    }
    for (size_t i = 0; i < q * q; i++) {
        t->trace2 += kd[i] * kd[(i % q) * q + i / q];
    }
}

/* E of the lower triangle's entry j: (row, column). */
static void entry_of(size_t *row, size_t *column, size_t j)
{
    *row = 0;
    while ((*row + 1) * (*row + 2) / 2 <= j) {
        (*row)++;
    }
    *column = j - *row * (*row + 1) / 2;
}

/* x'E y for vectors with strides. */
static double pair(const double *x, const double *y, size_t stride, size_t row, size_t column)
{
    double value = x[row * stride] * y[column * stride];
    return row == column ? value : value + x[column * stride] * y[row * stride];
}

/* U'P M */
static void add_cross(struct nof1_gaussian_sums *sums, const struct ar1 *t, double weight)
{
    size_t n = t->n, w = t->w;
    for (size_t c = 0; c < w; c++) {
        const double *x = t->u + c * n;
        for (size_t d = 0; d < w; d++) {
            const double *y = t->m + d * n;
            double sum = 0;
            for (size_t i = 0; i < n; i++) {
                double next = i + 1 < n ? x[i] * y[i + 1] + x[i + 1] * y[i] : 0;
                sum += t->diagonal[i] * x[i] * y[i] + t->off[i] * next;
            }
            sums->cross[c * w + d] += weight * sum;
        }
    }
}

static void add_first(struct nof1_gaussian_sums *sums, const struct ar1 *t, double weight)
{
    size_t n = t->n, w = t->w, block = t->q * (t->q + 1) / 2;
    for (size_t c = 0; c < w; c++) {
        for (size_t d = 0; d < w; d++) {
            for (size_t j = 0; j < block; j++) {
                size_t row, column;
                entry_of(&row, &column, j);
                sums->first[j][c * w + d] += weight * pair(t->a + c, t->a + d, w, row, column);
            }
            if (t->shape->correlated) {
                sums->first[block][c * w + d] -=
                    weight * nof1_dot(t->u + c * n, t->du + d * n, n);
            }
        }
    }
}

static void add_traces(struct nof1_gaussian_sums *sums, const struct ar1 *t, double weight)
{
    size_t q = t->q, block = q * (q + 1) / 2;
    for (size_t j = 0; j < block; j++) {
        size_t a, b, c, d;
        entry_of(&a, &b, j);
        double twice = a == b ? 1 : 2;
        sums->trace[j] += weight * twice * t->s[a * q + b];
        for (size_t k = 0; k < block; k++) {
            entry_of(&c, &d, k);
            double value = t->s[a * q + c] * t->s[b * q + d] + t->s[a * q + d] * t->s[b * q + c];
            sums->trace2[j * NOF1_TERMS_MAX + k] +=
                weight * value * 0.5 * twice * (c == d ? 1 : 2);
        }
        if (t->shape->correlated) {
            double value = -weight * twice * t->d_zz[a * q + b];
            sums->trace2[j * NOF1_TERMS_MAX + block] += value;
            sums->trace2[block * NOF1_TERMS_MAX + j] += value;
        }
    }
    if (t->shape->correlated) {
        sums->trace[block] += weight * t->trace;
        sums->trace2[block * NOF1_TERMS_MAX + block] += weight * t->trace2;
    }
}

/* x' E S F y + x' F S E y, halved. */
static double through(const struct ar1 *t, size_t j, size_t k, size_t c, size_t d)
{
    size_t q = t->q, w = t->w, ja, jb, ka, kb;
    double left[2][EFFECTS] = {{0}}, right[2][EFFECTS] = {{0}};
    entry_of(&ja, &jb, j);
    entry_of(&ka, &kb, k);
    const size_t entry[2][2] = {{ja, jb}, {ka, kb}};
    for (size_t e = 0; e < 2; e++) {
        size_t a = entry[e][0], b = entry[e][1];
        left[e][a] += t->a[b * w + c];
        right[e][a] += t->a[b * w + d];
        if (a != b) {
            left[e][b] += t->a[a * w + c];
            right[e][b] += t->a[a * w + d];
        }
    }
    double sum = 0;
    for (size_t i = 0; i < q; i++) {
        for (size_t l = 0; l < q; l++) {
            sum += t->s[i * q + l] * (left[0][i] * right[1][l] + left[1][i] * right[0][l]);
        }
    }
    return sum / 2;
}

static void add_second(struct nof1_gaussian_sums *sums, const struct ar1 *t, double weight)
{
    size_t n = t->n, w = t->w, q = t->q, block = q * (q + 1) / 2;
    for (size_t i = 0; i < w * w; i++) {
        size_t c = i / w, d = i % w;
        for (size_t j = 0; j < block; j++) {
            size_t a, b;
            entry_of(&a, &b, j);
            for (size_t k = 0; k <= j; k++) {
                sums->second[j * NOF1_TERMS_MAX + k][i] += weight * through(t, j, k, c, d);
            }
            if (t->shape->correlated) {
                sums->second[block * NOF1_TERMS_MAX + j][i] -=
                    weight / 2 *
                    (pair(t->a + c, t->cross_d + d, w, a, b) +
                     pair(t->a + d, t->cross_d + c, w, a, b));
            }
        }
        if (!t->shape->correlated) {
            continue;
        }
        double value = nof1_dot(t->du + c * n, t->rdu + d * n, n);
        for (size_t k = 0; k < q; k++) {
            for (size_t l = 0; l < q; l++) {
                value -= t->zdu[k * w + c] * t->k[k * q + l] * t->zdu[l * w + d];
            }
        }
        sums->second[block * NOF1_TERMS_MAX + block][i] += weight * value;
    }
}

bool nof1_ar1_add(struct nof1_gaussian_sums *sums, const struct nof1_gaussian_shape *shape,
                  const double *gamma, const struct nof1_ar1_trial *trial, double weight,
                  double *work)
{
    size_t q = shape->effects, w = shape->columns, block = q * (q + 1) / 2;
    struct ar1 t = {.shape = shape, .n = trial->rows, .w = w, .q = q, .f = w + q,
                    .m = trial->column};
    place(&t, work);
    for (size_t j = 0; j < block; j++) {
        size_t row, column;
        entry_of(&row, &column, j);
        t.gamma[row * q + column] = t.gamma[column * q + row] = gamma[j];
    }
    if (!chain_of(&t, trial->time, shape->correlated ? gamma[block] : 0) || !project(&t)) {
        return false;
    }
    derive(&t);
    sums->rows += weight * (double)t.n;
    sums->log_det += weight * t.log_det;
    add_cross(sums, &t, weight);
    add_first(sums, &t, weight);
    add_traces(sums, &t, weight);
    add_second(sums, &t, weight);
    return isfinite(sums->log_det);
}
