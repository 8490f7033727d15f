/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Criterion, gradient and Hessians of the Gaussian mixed model: see gaussian_fit.h. For V linear in
 * its parameters the second derivative of -2 log-likelihood is 2 AI - EI (Gilmour, Thompson &
 * Cullis, Biometrics 51 (1995) 1440-1450).
 */
#include <stats/gaussian_fit.h>

#include <math.h>
#include <stats/matrix.h>
#include <string.h>

static void copy_block(double *out, const double *from, size_t from_columns, const size_t *column,
                       size_t columns)
{
    for (size_t i = 0; i < columns; i++) {
        for (size_t j = 0; j < columns; j++) {
            out[i * columns + j] = from[column[i] * from_columns + column[j]];
        }
    }
}

nof1_rc_value nof1_gaussian_select(struct nof1_gaussian_sums *out,
                                   struct nof1_gaussian_shape *out_shape,
                                   const struct nof1_gaussian_sums *sums,
                                   const struct nof1_gaussian_shape *shape, const size_t *column,
                                   size_t columns, struct nof1_arena *arena)
{
    *out_shape = *shape;
    out_shape->columns = columns;
    double *memory = nof1_arena_alloc(arena, nof1_gaussian_sums_size(out_shape), sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    nof1_gaussian_sums_place(out, out_shape, memory);
    out->rows = sums->rows;
    out->within = sums->within;
    out->log_det = sums->log_det;
    memcpy(out->trace, sums->trace, sizeof out->trace);
    memcpy(out->trace2, sums->trace2, sizeof out->trace2);
    copy_block(out->cross, sums->cross, shape->columns, column, columns);
    for (size_t j = 0; j < nof1_gaussian_terms(shape); j++) {
        copy_block(out->first[j], sums->first[j], shape->columns, column, columns);
        for (size_t k = 0; k <= j; k++) {
            size_t jk = j * NOF1_TERMS_MAX + k;
            copy_block(out->second[jk], sums->second[jk], shape->columns, column, columns);
        }
    }
    return NOF1_OK;
}

/* The part of the point that no outcome enters: C, traces, expected information. `work` holds
 * (terms + 3) p*p doubles: C^-1 P_j for each j, then scratch. */
static bool design_part(struct nof1_gaussian_point *out, const struct nof1_gaussian_sums *sums,
                        size_t columns, double *work)
{
    size_t p = out->p, terms = out->terms, size = p * p;
    double *block = work + terms * size, *factor = block + size;
    for (size_t i = 0; i < size; i++) {
        out->c[i] = sums->cross[(i / p) * columns + i % p];
    }
    memcpy(factor, out->c, size * sizeof *factor);
    if (!nof1_cholesky(factor, p)) {
        return false;
    }
    out->log_det_c = nof1_cholesky_log_det(factor, p);
    nof1_cholesky_inverse(out->c_inverse, factor, p);
    for (size_t j = 0; j < terms; j++) {
        for (size_t i = 0; i < size; i++) {
            block[i] = sums->first[j][(i / p) * columns + i % p];
        }
        out->trace[j] = sums->trace[j];
        if (out->reml) {
            out->trace[j] -= nof1_trace_product(out->c_inverse, block, p);
        }
        nof1_multiply(work + j * size, out->c_inverse, block, p);
    }
    for (size_t j = 0; j < terms; j++) {
        for (size_t k = 0; k < terms; k++) {
            size_t jk = j * NOF1_TERMS_MAX + k;
            for (size_t i = 0; i < size; i++) {
                block[i] = sums->second[jk][(i / p) * columns + i % p];
            }
            out->expected[jk] = sums->trace2[jk];
            if (out->reml) {
                out->expected[jk] += nof1_trace_product(work + j * size, work + k * size, p) -
                                     2 * nof1_trace_product(out->c_inverse, block, p);
            }
        }
    }
    return true;
}

/* r = y - X beta-hat: with a = (-beta-hat, 1), every sum over r is a'(sum over M)a. Fills the exact
 * curvature before sigma^2 is profiled: 2 r'H^-1 V_j P V_k H^-1 r. */
static void whole_outcome(struct nof1_gaussian_point *out, const struct nof1_gaussian_sums *sums,
                          size_t columns, double *a, double *row)
{
    size_t p = out->p;
    for (size_t i = 0; i < p; i++) {
        out->beta[i] = 0;
        for (size_t k = 0; k < p; k++) {
            out->beta[i] += out->c_inverse[i * p + k] * sums->cross[k * columns + p];
        }
        out->score[i] = 0;
        a[i] = -out->beta[i];
    }
    a[p] = 1;
    out->q = nof1_bilinear(a, sums->cross, a, columns);
    for (size_t j = 0; j < out->terms; j++) {
        out->square[j] = nof1_bilinear(a, sums->first[j], a, columns);
        for (size_t i = 0; i < p; i++) {
            row[j * p + i] = 0;
            for (size_t k = 0; k < columns; k++) {
                row[j * p + i] += sums->first[j][i * columns + k] * a[k];
            }
        }
    }
    for (size_t j = 0; j < out->terms; j++) {
        for (size_t k = 0; k < out->terms; k++) {
            size_t jk = j * NOF1_TERMS_MAX + k;
            out->observed[jk] =
                2 * (nof1_bilinear(a, sums->second[jk], a, columns) -
                     nof1_bilinear(row + j * p, out->c_inverse, row + k * p, p));
        }
    }
}

static void part_outcome(struct nof1_gaussian_point *out, const struct nof1_gaussian_sums *sums,
                         size_t columns)
{
    size_t p = out->p;
    for (size_t i = 0; i < p; i++) {
        out->score[i] = sums->cross[i * columns + p];
    }
    for (size_t i = 0; i < p; i++) {
        out->beta[i] = 0;
        for (size_t k = 0; k < p; k++) {
            out->beta[i] += out->c_inverse[i * p + k] * out->score[k];
        }
    }
    out->q = sums->cross[p * columns + p];
    for (size_t j = 0; j < out->terms; j++) {
        out->square[j] = sums->first[j][p * columns + p];
    }
}

nof1_rc_value nof1_gaussian_point(struct nof1_gaussian_point *out, struct nof1_arena *arena,
                                  const struct nof1_gaussian_sums *sums,
                                  const struct nof1_gaussian_shape *shape, const double *gamma,
                                  bool reml, bool whole)
{
    size_t columns = shape->columns, p = columns - 1, terms = nof1_gaussian_terms(shape);
    memset(out, 0, sizeof *out);
    out->p = p;
    out->shape = *shape;
    out->terms = terms;
    out->reml = reml;
    out->rows = sums->rows;
    out->n = sums->rows - (reml ? (double)p : 0);
    out->log_det = sums->log_det;
    memcpy(out->gamma, gamma, terms * sizeof *gamma);
    double *memory =
        nof1_arena_alloc(arena, (terms + 5) * p * p + (terms + 3) * p + 1, sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    out->c = memory;
    out->c_inverse = memory + p * p;
    out->beta = out->c_inverse + p * p;
    out->score = out->beta + p;
    double *vector = out->score + p, *work = vector + p + 1 + terms * p;
    ENSURE(sums->rows > (double)p && design_part(out, sums, columns, work), NOF1_E_MODEL);
    if (whole) {
        whole_outcome(out, sums, columns, vector, vector + p + 1);
    } else {
        part_outcome(out, sums, columns);
    }
    ENSURE(isfinite(out->q) && out->q > 0, NOF1_E_MODEL);
    out->sigma2 = out->q / out->n;
    out->f = out->log_det + (reml ? out->log_det_c : 0) +
             out->n * (1 + log(6.283185307179586476925 * out->sigma2));
    for (size_t j = 0; j < terms; j++) {
        out->slope[j] = out->trace[j] - out->square[j] / out->sigma2;
    }
    for (size_t j = 0; j < terms; j++) {
        for (size_t k = 0; k < terms; k++) {
            size_t jk = j * NOF1_TERMS_MAX + k;
            double squares = out->square[j] * out->square[k] / (out->sigma2 * out->sigma2 * out->n);
            out->observed[jk] = out->observed[jk] / out->sigma2 - out->expected[jk] - squares;
            out->expected[jk] -= out->trace[j] * out->trace[k] / out->n;
        }
    }
    return NOF1_OK;
}
