/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Cholesky, Jacobi eigenvalues and products of small symmetric matrices: see matrix.h.
 */
#include <stats/matrix.h>

#include <math.h>
#include <string.h>

bool nof1_cholesky(double *a, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        double pivot = a[j * n + j];
        for (size_t k = 0; k < j; k++) {
            pivot -= a[j * n + k] * a[j * n + k];
        }
        if (!(pivot > 0) || !isfinite(pivot)) {
            return false;
        }
        a[j * n + j] = sqrt(pivot);
        for (size_t i = j + 1; i < n; i++) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; k++) {
                sum -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = sum / a[j * n + j];
            a[j * n + i] = 0;
        }
    }
    return true;
}

double nof1_cholesky_log_det(const double *l, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += 2 * log(l[i * n + i]);
    }
    return sum;
}

void nof1_cholesky_solve(double *x, const double *l, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            x[i] -= l[i * n + k] * x[k];
        }
        x[i] /= l[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++) {
            x[i] -= l[k * n + i] * x[k];
        }
        x[i] /= l[i * n + i];
    }
}

/* Column c of the inverse solves L L' x = e_c; only rows >= c are kept and mirrored. */
void nof1_cholesky_inverse(double *out, const double *l, size_t n)
{
    for (size_t c = 0; c < n; c++) {
        double *x = &out[c * n]; /* row c serves as the column, by symmetry */
        memset(x, 0, n * sizeof *x);
        x[c] = 1;
        nof1_cholesky_solve(x, l, n);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            out[i * n + j] = out[j * n + i] = (out[i * n + j] + out[j * n + i]) / 2;
        }
    }
}

static void rotate(double *a, double *vector, size_t n, size_t p, size_t q)
{
    double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
    double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    double step = t * a[p * n + q];
    a[p * n + p] -= step;
    a[q * n + q] += step;
    a[p * n + q] = a[q * n + p] = 0;
    for (size_t k = 0; k < n; k++) {
        if (k != p && k != q) {
            double kp = a[k * n + p], kq = a[k * n + q];
            a[k * n + p] = a[p * n + k] = c * kp - s * kq;
            a[k * n + q] = a[q * n + k] = s * kp + c * kq;
        }
        double vp = vector[k * n + p], vq = vector[k * n + q];
        vector[k * n + p] = c * vp - s * vq;
        vector[k * n + q] = s * vp + c * vq;
    }
}

static void sort_eigen(double *value, double *vector, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t least = i;
        for (size_t j = i + 1; j < n; j++) {
            least = value[j] < value[least] ? j : least;
        }
        double swap = value[i];
        value[i] = value[least];
        value[least] = swap;
        for (size_t k = 0; k < n; k++) {
            swap = vector[k * n + i];
            vector[k * n + i] = vector[k * n + least];
            vector[k * n + least] = swap;
        }
    }
}

void nof1_symmetric_eigen(double *a, double *value, double *vector, size_t n)
{
    memset(vector, 0, n * n * sizeof *vector);
    for (size_t i = 0; i < n; i++) {
        vector[i * n + i] = 1;
    }
    bool moved = true;
    for (int sweep = 0; sweep < 60 && moved; sweep++) {
        moved = false;
        for (size_t p = 0; p < n; p++) {
            for (size_t q = p + 1; q < n; q++) {
                double small = 0x1p-54 * sqrt(fabs(a[p * n + p])) * sqrt(fabs(a[q * n + q]));
                if (fabs(a[p * n + q]) > small) {
                    rotate(a, vector, n, p, q);
                    moved = true;
                }
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        value[i] = a[i * n + i];
    }
    sort_eigen(value, vector, n);
}

size_t nof1_symmetric_pseudo_inverse(double *out, const double *a, size_t n, double tolerance,
                                     double *work)
{
    double *scaled = work, *vector = work + n * n, *value = work + 2 * n * n, *scale = value + n;
    for (size_t i = 0; i < n; i++) {
        scale[i] = a[i * n + i] > 0 ? 1 / sqrt(a[i * n + i]) : 0;
    }
    for (size_t i = 0; i < n * n; i++) {
        scaled[i] = a[i] * scale[i / n] * scale[i % n];
    }
    nof1_symmetric_eigen(scaled, value, vector, n);
    size_t rank = 0;
    memset(out, 0, n * n * sizeof *out);
    for (size_t k = 0; k < n; k++) {
        if (value[k] < tolerance) {
            continue;
        }
        rank++;
        for (size_t i = 0; i < n * n; i++) {
            out[i] += vector[(i / n) * n + k] * vector[(i % n) * n + k] / value[k] * scale[i / n] *
                      scale[i % n];
        }
    }
    return rank;
}

double nof1_dot(const double *x, const double *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

double nof1_bilinear(const double *x, const double *a, const double *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double row = 0;
        for (size_t j = 0; j < n; j++) {
            row += a[i * n + j] * y[j];
        }
        sum += x[i] * row;
    }
    return sum;
}

void nof1_multiply(double *out, const double *a, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) {
                sum += a[i * n + k] * b[k * n + j];
            }
            out[i * n + j] = sum;
        }
    }
}

double nof1_trace_product(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            sum += a[i * n + k] * b[k * n + i];
        }
    }
    return sum;
}

size_t nof1_first_aliased(const double *a, size_t n, double tolerance, double *work)
{
    memcpy(work, a, n * n * sizeof *work);
    for (size_t j = 0; j < n; j++) {
        double pivot = work[j * n + j];
        for (size_t k = 0; k < j; k++) {
            pivot -= work[j * n + k] * work[j * n + k];
        }
        if (!(pivot > tolerance * a[j * n + j])) {
            return j;
        }
        work[j * n + j] = sqrt(pivot);
        for (size_t i = j + 1; i < n; i++) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; k++) {
                sum -= work[i * n + k] * work[j * n + k];
            }
            work[i * n + j] = sum / work[j * n + j];
        }
    }
    return n;
}
