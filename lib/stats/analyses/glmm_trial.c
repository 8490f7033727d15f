/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One trial of the analysis `glmm`: its rows, grouped where they are alike, and their
 * log-likelihood with derivatives. Must never allocate.
 */
#include <gsl/gsl_sf_gamma.h>
#include <math.h>
#include <string.h>

#include "glmm_model.h"

/* Cells of r rows: an ordinal row may be two. */
static size_t cells_of_rows(const struct glmm_model *m, size_t rows)
{
    return m->cuts > 0 ? 2 * rows : rows;
}

size_t glmm_scratch(const struct glmm_model *m)
{
    return nof1_glmm_memory(&m->shape, 0) * sizeof(double) + 64;
}

size_t glmm_scratch_row(const struct glmm_model *m)
{
    size_t own = nof1_glmm_memory(&m->shape, 1) - nof1_glmm_memory(&m->shape, 0);
    size_t cell = m->fixed + 3 + own; /* x, n, y, offset; and what the likelihood needs */
    size_t doubles = mixed_row_doubles(&m->design) + 2 + cells_of_rows(m, cell) + 1;
    return doubles * sizeof(double) + NOF1_SERIES_SCRATCH_ROW;
}

/* Category 0 .. cuts, or a count; NAN when it is none. */
static double outcome_of(const struct glmm_model *m, double y)
{
    double value = m->family == GLMM_ORDINAL ? (y - m->lower) / m->quantum : y;
    double whole = rint(value);
    double most = m->family == GLMM_ORDINAL    ? (double)m->cuts
                  : m->family == GLMM_BINOMIAL ? 1
                                               : 0x1p31;
    return fabs(value - whole) <= 1e-9 && whole >= 0 && whole <= most ? whole : NAN;
}

/* Drop rows without exposure. Columns and series keep their stride. */
static void keep_exposed(struct glmm_rows *out, const struct glmm_model *m,
                         const struct nof1_trial *trial)
{
    struct nof1_series *s = &out->series;
    size_t kept = 0, stride = s->rows, width = m->design.columns + 1;
    size_t n[2] = {0, 0};
    for (size_t i = 0; i < stride; i++) {
        double e = mixed_covariate(m->base.study->charter, trial, &m->exposure, s->row[i]);
        if (isnan(e)) {
            continue;
        }
        for (size_t c = 0; c < width; c++) {
            out->column[c * stride + kept] = out->column[c * stride + i];
        }
        s->arm[kept] = s->arm[i];
        s->row[kept] = s->row[i];
        out->exposure[kept] = e > 0 ? log(e) : NAN;
        n[s->arm[kept] != 0]++;
        kept++;
    }
    for (size_t c = 1; c < width && kept < stride; c++) {
        memmove(&out->column[c * kept], &out->column[c * stride], kept * sizeof *out->column);
    }
    s->rows = kept;
    s->n[0] = n[0];
    s->n[1] = n[1];
}

bool glmm_rows_of(struct glmm_rows *out, const struct glmm_model *m, const struct nof1_trial *trial,
                  void *scratch)
{
    double *value = scratch;
    out->exposure = value;
    out->outcome = value + trial->rows;
    mixed_rows(&out->series, &out->column, &m->design, trial, value + 2 * trial->rows);
    memset(out->exposure, 0, out->series.rows * sizeof *value);
    if (m->exposed) {
        keep_exposed(out, m, trial);
    }
    const double *y = trial->outcome[m->base.study->plan->outcome];
    bool fine = true;
    for (size_t i = 0; i < out->series.rows; i++) {
        out->outcome[i] = outcome_of(m, y[out->series.row[i]]);
        fine = fine && isfinite(out->outcome[i]) && isfinite(out->exposure[i]);
    }
    return fine;
}

struct cell_list {
    size_t width, count;
    double *x, *n, *y, *offset;
    uint8_t *arm;
};

static void add_row(struct cell_list *list, const double *x, double y, double offset, uint8_t arm)
{
    for (size_t c = 0; c < list->count; c++) {
        if (list->arm[c] == arm && list->offset[c] == offset &&
            memcmp(&list->x[c * list->width], x, list->width * sizeof *x) == 0) {
            list->n[c] += 1;
            list->y[c] += y;
            return;
        }
    }
    memcpy(&list->x[list->count * list->width], x, list->width * sizeof *x);
    list->n[list->count] = 1;
    list->y[list->count] = y;
    list->offset[list->count] = offset;
    list->arm[list->count++] = arm;
}

/* Category k as two binary rows: y <= k succeeds, y <= k - 1 fails. */
static void add_category(struct cell_list *list, double *x, size_t cuts, size_t k, uint8_t arm)
{
    for (size_t side = 0; side < 2; side++) {
        if ((side == 0 && k == cuts) || (side == 1 && k == 0)) {
            continue;
        }
        memset(x, 0, cuts * sizeof *x);
        x[k - side] = 1;
        add_row(list, x, side == 0 ? 1 : 0, 0, arm);
    }
}

void glmm_cells_of(struct glmm_rows *out, const struct glmm_model *m, void *scratch, size_t rows)
{
    size_t most = cells_of_rows(m, rows), p = m->fixed;
    char *after = (char *)scratch + rows * ((mixed_row_doubles(&m->design) + 2) * sizeof(double) +
                                            NOF1_SERIES_SCRATCH_ROW);
    struct cell_list list = {.width = p};
    list.x = (double *)(void *)(after + (16 - (uintptr_t)after % 16) % 16);
    list.n = list.x + most * p;
    list.y = list.n + most;
    list.offset = list.y + most;
    out->memory = list.offset + most;
    list.arm = (uint8_t *)(out->memory + nof1_glmm_memory(&m->shape, most));
    double x[GLMM_PARAMETERS_MAX];
    size_t first = m->cuts > 0 ? 1 : 0; /* thresholds stand for the intercept */
    for (size_t i = 0; i < out->series.rows; i++) {
        uint8_t arm = out->series.arm[i] != 0 ? 1 : 0;
        for (size_t c = first; c < m->design.columns; c++) {
            double value = out->column[c * out->series.rows + i];
            x[m->cuts + c - first] = (m->cuts > 0 && value != 0 ? -1 : 1) * value;
        }
        if (m->cuts > 0) {
            add_category(&list, x, m->cuts, (size_t)out->outcome[i], arm);
        } else {
            add_row(&list, x, out->outcome[i], out->exposure[i], arm);
        }
    }
    out->cells = (struct nof1_glmm_cells){list.count, list.x,      list.n,
                                          list.y,     list.offset, list.arm};
}

/* log(1 - exp(-d)) of the thresholds around a middle category. */
static bool add_middle(double *jet, const double *theta, size_t k, size_t parameters)
{
    double d = theta[k] - theta[k - 1];
    if (!(d > 0)) {
        return false;
    }
    double slope = 1 / expm1(d), curvature = -slope * (1 + slope);
    double *hessian = jet + 1 + parameters;
    jet[0] += log(-expm1(-d));
    jet[1 + k] += slope;
    jet[k] -= slope;
    hessian[k * (k + 1) / 2 + k] += curvature;
    hessian[k * (k + 1) / 2 + k - 1] -= curvature;
    hessian[(k - 1) * k / 2 + k - 1] += curvature;
    return true;
}

bool glmm_jet_of(double *jet, const struct glmm_model *m, const struct glmm_rows *rows,
                 const double *theta)
{
    if (!nof1_glmm_trial(jet, &m->shape, theta, &rows->cells, rows->memory)) {
        return false;
    }
    for (size_t i = 0; i < rows->series.rows; i++) {
        size_t k = (size_t)rows->outcome[i];
        if (m->family == GLMM_POISSON) {
            jet[0] -= gsl_sf_lnfact((unsigned)k);
        } else if (m->cuts > 0 && k > 0 && k < m->cuts &&
                   !add_middle(jet, theta, k, m->parameters)) {
            return false;
        }
    }
    return true;
}
