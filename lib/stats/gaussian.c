/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sums of the Gaussian mixed model by group: see gaussian.h. In the coordinates of Q,
 * H = I + sum gamma_j V_j (rank x rank), for random effects V_j = R E_j R' with E_j the symmetric
 * unit matrix of entry j; everything else is I. Every term is a sum of positive parts: no
 * difference of large numbers.
 */
#include <stats/gaussian.h>

#include <math.h>
#include <stats/matrix.h>
#include <string.h>

size_t nof1_gaussian_block(const struct nof1_gaussian_shape *shape)
{
    return shape->effects * (shape->effects + 1) / 2;
}

size_t nof1_gaussian_terms(const struct nof1_gaussian_shape *shape)
{
    return nof1_gaussian_block(shape) + shape->by_cycle + shape->by_arm + shape->ratios +
           shape->correlated;
}

size_t nof1_gaussian_sums_size(const struct nof1_gaussian_shape *shape)
{
    size_t terms = nof1_gaussian_terms(shape);
    return shape->columns * shape->columns * (1 + terms + terms * (terms + 1) / 2);
}

void nof1_gaussian_sums_place(struct nof1_gaussian_sums *sums,
                              const struct nof1_gaussian_shape *shape, double *memory)
{
    size_t terms = nof1_gaussian_terms(shape), size = shape->columns * shape->columns;
    memset(memory, 0, nof1_gaussian_sums_size(shape) * sizeof *memory);
    memset(sums, 0, sizeof *sums);
    sums->cross = memory;
    memory += size;
    for (size_t j = 0; j < terms; j++, memory += size) {
        sums->first[j] = memory;
    }
    for (size_t j = 0; j < terms; j++) {
        for (size_t k = 0; k <= j; k++, memory += size) {
            sums->second[j * NOF1_TERMS_MAX + k] = memory;
            sums->second[k * NOF1_TERMS_MAX + j] = memory;
        }
    }
}

/* The matrices of one group in the coordinates of Q, all rank x rank. */
struct frame {
    size_t rank, terms;
    double log_det;
    const double *f; /* [terms] V_j */
    double *inverse; /* H^-1 */
    double *hf;      /* [terms] H^-1 V_j */
    double *hfh;     /* [terms] H^-1 V_j H^-1 */
    double *spare;   /* 4 matrices */
};

size_t nof1_gaussian_work_size(const struct nof1_gaussian_shape *shape, size_t rank)
{
    return (3 * nof1_gaussian_terms(shape) + 5) * rank * rank;
}

static double trace_of(const double *a, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i * n + i];
    }
    return sum;
}

/* V_j[k,l] = sum of the entries of R E_j R', j in the order 11, 21, 22. */
static void make_terms(double *f, size_t rank, size_t effects, const double *root)
{
    size_t j = 0;
    for (size_t a = 0; a < effects; a++) {
        for (size_t b = 0; b <= a; b++, j++) {
            for (size_t k = 0; k < rank; k++) {
                for (size_t l = 0; l < rank; l++) {
                    double ab = root[k * effects + a] * root[l * effects + b];
                    double ba = root[k * effects + b] * root[l * effects + a];
                    f[j * rank * rank + k * rank + l] = a == b ? ab : ab + ba;
                }
            }
        }
    }
}

/* P = sum gamma_j V_j. For rank 2 |I + P| = 1 + tr P + |P|, with |P| >= 0 for a semidefinite P. */
static void invert_frame(struct frame *frame, const double *gamma, bool semidefinite)
{
    size_t n = frame->rank, size = n * n;
    double *h = frame->spare, *out = frame->inverse;
    memset(h, 0, size * sizeof *h);
    for (size_t j = 0; j < frame->terms; j++) {
        for (size_t i = 0; i < size; i++) {
            h[i] += gamma[j] * frame->f[j * size + i];
        }
    }
    if (n == 1) {
        double det = 1 + h[0];
        out[0] = det != 0 ? 1 / det : INFINITY;
        frame->log_det = log(det);
    } else if (n == 2) {
        double minor = h[0] * h[3] - h[1] * h[1];
        minor = semidefinite ? fmax(0, minor) : minor;
        double det = 1 + h[0] + h[3] + minor;
        out[0] = (1 + h[3]) / det;
        out[1] = out[2] = -h[1] / det;
        out[3] = (1 + h[0]) / det;
        frame->log_det = log1p(h[0] + h[3] + minor);
    } else {
        for (size_t i = 0; i < n; i++) {
            h[i * n + i] += 1;
        }
        frame->log_det = INFINITY; /* not positive definite: the criterion says so */
        if (nof1_cholesky(h, n)) {
            nof1_cholesky_inverse(out, h, n);
            frame->log_det = nof1_cholesky_log_det(h, n);
        }
    }
}

static void make_frame(struct frame *frame, const struct nof1_gaussian_shape *shape,
                       const double *gamma, const struct nof1_gaussian_group *group, double *work)
{
    size_t n = group->rank, terms = nof1_gaussian_terms(shape), size = n * n;
    memset(work, 0, nof1_gaussian_work_size(shape, n) * sizeof *work);
    *frame = (struct frame){n, terms, 0, group->term, work, work + size, work + size * (1 + terms),
                            work + size * (1 + 2 * terms)};
    if (group->term == NULL) {
        double *f = work + size * (5 + 2 * terms);
        make_terms(f, n, shape->effects, group->root);
        frame->f = f;
    }
    if (n > 0) {
        invert_frame(frame, gamma, shape->ratios == 0);
    }
    for (size_t j = 0; j < terms; j++) {
        nof1_multiply(frame->hf + j * size, frame->inverse, frame->f + j * size, n);
        nof1_multiply(frame->hfh + j * size, frame->hf + j * size, frame->inverse, n);
    }
}

/* a_c' middle a_d for all columns c, d; one trial. */
static void sandwich_one(double *out, size_t columns, size_t n, const double *middle,
                         const double *a, double *row)
{
    for (size_t c = 0; c < columns; c++) {
        for (size_t l = 0; l < n; l++) {
            row[l] = 0;
            for (size_t k = 0; k < n; k++) {
                row[l] += a[c * n + k] * middle[k * n + l];
            }
        }
        for (size_t d = 0; d <= c; d++) {
            double sum = 0;
            for (size_t l = 0; l < n; l++) {
                sum += row[l] * a[d * n + l];
            }
            out[c * columns + d] += sum;
            out[d * columns + c] += d == c ? 0 : sum;
        }
    }
}

/* out[c, d] += sum over k, l of middle[k, l] between[(c, k), (d, l)]; both are symmetric. */
static void sandwich(double *out, size_t columns, const struct frame *frame, const double *middle,
                     const struct nof1_gaussian_group *group)
{
    size_t rank = frame->rank, stride = columns * rank;
    if (group->between == NULL) {
        sandwich_one(out, columns, rank, middle, group->a, frame->spare);
        return;
    }
    for (size_t c = 0; c < columns; c++) {
        for (size_t d = 0; d <= c; d++) {
            double sum = 0;
            for (size_t k = 0; k < rank; k++) {
                for (size_t l = 0; l < rank; l++) {
                    sum += middle[k * rank + l] *
                           group->between[(c * rank + k) * stride + d * rank + l];
                }
            }
            out[c * columns + d] += sum;
            out[d * columns + c] += d == c ? 0 : sum;
        }
    }
}

static void add_second(struct nof1_gaussian_sums *sums, const struct nof1_gaussian_shape *shape,
                       const struct frame *frame, const struct nof1_gaussian_group *group)
{
    size_t n = frame->rank, size = n * n;
    double *jk = frame->spare + size, *kj = jk + size, *square = kj + size;
    for (size_t j = 0; j < frame->terms; j++) {
        for (size_t k = 0; k <= j; k++) {
            nof1_multiply(jk, frame->hf + j * size, frame->hfh + k * size, n);
            nof1_multiply(kj, frame->hf + k * size, frame->hfh + j * size, n);
            for (size_t i = 0; i < size; i++) {
                jk[i] = (jk[i] + kj[i]) / 2;
            }
            nof1_multiply(square, frame->hf + j * size, frame->hf + k * size, n);
            double trace = group->trials * trace_of(square, n);
            sums->trace2[j * NOF1_TERMS_MAX + k] += trace;
            if (k != j) {
                sums->trace2[k * NOF1_TERMS_MAX + j] += trace;
            }
            sandwich(sums->second[j * NOF1_TERMS_MAX + k], shape->columns, frame, jk, group);
        }
    }
}

void nof1_gaussian_add(struct nof1_gaussian_sums *sums, const struct nof1_gaussian_shape *shape,
                       const double *gamma, const struct nof1_gaussian_group *group,
                       const double *residual, double *work)
{
    struct frame frame;
    double small[(3 * NOF1_TERMS_MAX + 5) * 4];
    size_t size = group->rank * group->rank;
    make_frame(&frame, shape, gamma, group, group->rank <= 2 ? small : work);
    sums->rows += group->trials * group->rows;
    sums->within += group->trials * (group->rows - (double)group->rank);
    sums->log_det += group->trials * frame.log_det;
    sandwich(sums->cross, shape->columns, &frame, frame.inverse, group);
    for (size_t j = 0; j < frame.terms; j++) {
        sums->trace[j] += group->trials * trace_of(frame.hf + j * size, frame.rank);
        sandwich(sums->first[j], shape->columns, &frame, frame.hfh + j * size, group);
    }
    add_second(sums, shape, &frame, group);
    for (size_t i = 0; residual != NULL && i < shape->columns * shape->columns; i++) {
        sums->cross[i] += residual[i];
    }
}
