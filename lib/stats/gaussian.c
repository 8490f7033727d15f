/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sums of the Gaussian mixed model by group: see gaussian.h. In the coordinates of Q,
 * H = I + R Gamma R' (rank x rank), V_j = F_j = R E_j R' with E_j the symmetric unit matrix of entry
 * j; everything else is I. Every term is a sum of positive parts: no difference of large numbers.
 */
#include <stats/gaussian.h>

#include <math.h>
#include <string.h>

size_t nof1_gaussian_terms(size_t effects)
{
    return effects * (effects + 1) / 2;
}

size_t nof1_gaussian_sums_size(const struct nof1_gaussian_shape *shape)
{
    size_t terms = nof1_gaussian_terms(shape->effects);
    return shape->columns * shape->columns * (1 + terms + terms * (terms + 1) / 2);
}

void nof1_gaussian_sums_place(struct nof1_gaussian_sums *sums,
                              const struct nof1_gaussian_shape *shape, double *memory)
{
    size_t terms = nof1_gaussian_terms(shape->effects), size = shape->columns * shape->columns;
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

/* The matrices of one group in the coordinates of Q; all rank x rank with stride 2. */
struct frame {
    size_t rank;
    double inverse[4];                /* H^-1 */
    double log_det;
    double f[NOF1_TERMS_MAX][4];      /* F_j */
    double hf[NOF1_TERMS_MAX][4];     /* H^-1 F_j */
    double hfh[NOF1_TERMS_MAX][4];    /* H^-1 F_j H^-1 */
};

static void product(double out[4], const double a[4], const double b[4], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) {
                sum += a[i * 2 + k] * b[k * 2 + j];
            }
            out[i * 2 + j] = sum;
        }
    }
}

static double trace_of(const double a[4], size_t n)
{
    return n == 2 ? a[0] + a[3] : n == 1 ? a[0] : 0;
}

/* F_j[k,l] = sum of the entries of R E_j R', j in the order 11, 21, 22. */
static void make_terms(struct frame *frame, size_t effects, const double *root)
{
    size_t j = 0;
    for (size_t a = 0; a < effects; a++) {
        for (size_t b = 0; b <= a; b++, j++) {
            for (size_t k = 0; k < frame->rank; k++) {
                for (size_t l = 0; l < frame->rank; l++) {
                    double ab = root[k * effects + a] * root[l * effects + b];
                    double ba = root[k * effects + b] * root[l * effects + a];
                    frame->f[j][k * 2 + l] = a == b ? ab : ab + ba;
                }
            }
        }
    }
}

static void invert_frame(struct frame *frame, size_t terms, const double *gamma)
{
    double h[4] = {1, 0, 0, 1};
    for (size_t j = 0; j < terms; j++) {
        for (size_t i = 0; i < 4; i++) {
            h[i] += gamma[j] * frame->f[j][i];
        }
    }
    if (frame->rank == 2) {
        /* |I + P| = 1 + tr P + |P|; |P| >= 0 for a semidefinite P */
        double p11 = h[0] - 1, p22 = h[3] - 1, p21 = h[1];
        double minor = fmax(0, p11 * p22 - p21 * p21);
        double det = 1 + p11 + p22 + minor;
        frame->inverse[0] = h[3] / det;
        frame->inverse[1] = frame->inverse[2] = -h[1] / det;
        frame->inverse[3] = h[0] / det;
        frame->log_det = log1p(p11 + p22 + minor);
    } else {
        frame->inverse[0] = frame->rank == 1 ? 1 / h[0] : 0;
        frame->log_det = frame->rank == 1 ? log(h[0]) : 0;
    }
}

static void make_frame(struct frame *frame, size_t effects, const double *gamma,
                       const struct nof1_gaussian_group *group)
{
    memset(frame, 0, sizeof *frame);
    frame->rank = group->rank;
    size_t terms = nof1_gaussian_terms(effects);
    make_terms(frame, effects, group->root);
    invert_frame(frame, terms, gamma);
    for (size_t j = 0; j < terms; j++) {
        product(frame->hf[j], frame->inverse, frame->f[j], frame->rank);
        product(frame->hfh[j], frame->hf[j], frame->inverse, frame->rank);
    }
}

/* out[c, d] += sum over k, l of middle[k, l] between[(c, k), (d, l)]; both are symmetric. */
static void sandwich(double *out, size_t columns, size_t rank, const double middle[4],
                     const double *between)
{
    size_t stride = columns * rank;
    for (size_t c = 0; c < columns; c++) {
        for (size_t d = 0; d <= c; d++) {
            double sum = 0;
            for (size_t k = 0; k < rank; k++) {
                for (size_t l = 0; l < rank; l++) {
                    sum += middle[k * 2 + l] * between[(c * rank + k) * stride + d * rank + l];
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
    size_t terms = nof1_gaussian_terms(shape->effects);
    for (size_t j = 0; j < terms; j++) {
        for (size_t k = 0; k <= j; k++) {
            double jk[4] = {0}, kj[4] = {0}, half[4] = {0}, square[4] = {0};
            product(jk, frame->hf[j], frame->hfh[k], frame->rank);
            product(kj, frame->hf[k], frame->hfh[j], frame->rank);
            for (size_t i = 0; i < 4; i++) {
                half[i] = (jk[i] + kj[i]) / 2;
            }
            product(square, frame->hf[j], frame->hf[k], frame->rank);
            double trace = group->trials * trace_of(square, frame->rank);
            sums->trace2[j * NOF1_TERMS_MAX + k] += trace;
            if (k != j) {
                sums->trace2[k * NOF1_TERMS_MAX + j] += trace;
            }
            sandwich(sums->second[j * NOF1_TERMS_MAX + k], shape->columns, frame->rank, half,
                     group->between);
        }
    }
}

void nof1_gaussian_add(struct nof1_gaussian_sums *sums, const struct nof1_gaussian_shape *shape,
                       const double *gamma, const struct nof1_gaussian_group *group,
                       const double *residual)
{
    struct frame frame;
    make_frame(&frame, shape->effects, gamma, group);
    sums->rows += group->trials * group->rows;
    sums->within += group->trials * (group->rows - (double)group->rank);
    sums->log_det += group->trials * frame.log_det;
    sandwich(sums->cross, shape->columns, frame.rank, frame.inverse, group->between);
    for (size_t j = 0; j < nof1_gaussian_terms(shape->effects); j++) {
        sums->trace[j] += group->trials * trace_of(frame.hf[j], frame.rank);
        sandwich(sums->first[j], shape->columns, frame.rank, frame.hfh[j], group->between);
    }
    add_second(sums, shape, &frame, group);
    for (size_t i = 0; residual != NULL && i < shape->columns * shape->columns; i++) {
        sums->cross[i] += residual[i];
    }
}

struct nof1_gaussian_group nof1_gaussian_design(size_t effects, const size_t n[2])
{
    struct nof1_gaussian_group group = {.trials = 1, .rows = (double)(n[0] + n[1])};
    double rows = group.rows, active = (double)n[1];
    group.rank = effects == 2 && n[0] > 0 && n[1] > 0 ? 2 : 1;
    group.root[0] = sqrt(rows);
    if (effects == 2) {
        group.root[1] = active / sqrt(rows);
        group.root[3] = group.rank == 2 ? sqrt((double)n[0] * active / rows) : 0;
    }
    return group;
}

/* Mean about the first value; u becomes its deviations. */
static double centre_column(double *u, size_t rows)
{
    double sum = 0;
    for (size_t i = 1; i < rows; i++) {
        sum += u[i] - u[0];
    }
    double mean = u[0] + sum / (double)rows;
    for (size_t i = 0; i < rows; i++) {
        u[i] -= mean;
    }
    return mean;
}

struct nof1_gaussian_group nof1_gaussian_project(const struct nof1_gaussian_shape *shape,
                                                 size_t rows, const unsigned char *arm,
                                                 double *column, double *a)
{
    size_t n[2] = {0, 0};
    for (size_t i = 0; i < rows; i++) {
        n[arm[i]]++;
    }
    struct nof1_gaussian_group group = nof1_gaussian_design(shape->effects, n);
    for (size_t c = 0; c < shape->columns; c++) {
        double *u = &column[c * rows];
        a[c * group.rank] = group.root[0] * centre_column(u, rows);
        if (group.rank < 2) {
            continue;
        }
        double total[2] = {0, 0};
        for (size_t i = 0; i < rows; i++) {
            total[arm[i]] += u[i];
        }
        double mean[2] = {total[0] / (double)n[0], total[1] / (double)n[1]};
        a[c * 2 + 1] = group.root[3] * (mean[1] - mean[0]);
        for (size_t i = 0; i < rows; i++) {
            u[i] -= mean[arm[i]];
        }
    }
    return group;
}
