/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The least-squares attack: from many starts drawn from the population, numbers that give the
 * released sums. A vanishing pull towards the start keeps the problem regular where the sums leave
 * directions open. What a solution is worth is judged patient by patient, among those whom nothing
 * tells apart.
 */
#include "reconstruct.h"

#include <gsl/gsl_blas.h>
#include <gsl/gsl_multifit_nlinear.h>
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 60
#define NEAR 0.05 /* of the population's sd */

struct pull {
    const struct reconstruct_case *c;
    const double *start;
    double weight;
    double scale[RECONSTRUCT_SUMS];
};

static int residuals(const gsl_vector *x, void *context, gsl_vector *f)
{
    const struct pull *pull = context;
    const struct reconstruct_case *c = pull->c;
    double sum[RECONSTRUCT_SUMS];
    reconstruct_sums(sum, c, x->data);
    for (size_t k = 0; k < c->asked->scalars; k++) {
        gsl_vector_set(f, k, (sum[k] - c->sum[k]) / pull->scale[k]);
    }
    for (size_t i = 0; i < c->numbers; i++) {
        gsl_vector_set(f, c->asked->scalars + i,
                       pull->weight * (gsl_vector_get(x, i) - pull->start[i]));
    }
    return GSL_SUCCESS;
}

static int derivatives(const gsl_vector *x, void *context, gsl_matrix *j)
{
    const struct pull *pull = context;
    const struct reconstruct_case *c = pull->c;
    size_t sums = c->asked->scalars;
    gsl_matrix_set_zero(j);
    for (size_t i = 0; i < c->numbers; i++) {
        double value = gsl_vector_get(x, i);
        gsl_matrix_set(j, sums + i, i, pull->weight);
        if (c->asked->form != RECONSTRUCT_SLOPE) {
            for (size_t k = 0; k < sums; k++) {
                double slope = c->weight[k][i] * (c->square[k] ? 2 * value : 1);
                gsl_matrix_set(j, k, i, slope / pull->scale[k]);
            }
            continue;
        }
        size_t own = i % 2 == 1 ? 2 : 0;
        gsl_matrix_set(j, own, i, 1 / pull->scale[own]);
        gsl_matrix_set(j, own + 1, i, 2 * value / pull->scale[own + 1]);
        gsl_matrix_set(j, 4, i, gsl_vector_get(x, i ^ 1) / pull->scale[4]);
    }
    return GSL_SUCCESS;
}

/* Newton from one start, the pull weakened step by step. True: the sums are met. */
static bool descend(double *x, const struct reconstruct_case *c, const double *start)
{
    struct pull pull = {.c = c, .start = start};
    gsl_multifit_nlinear_parameters parameters = gsl_multifit_nlinear_default_parameters();
    size_t rows = c->asked->scalars + c->numbers;
    gsl_multifit_nlinear_fdf fdf = {.f = residuals, .df = derivatives, .n = rows,
                                    .p = c->numbers, .params = &pull};
    gsl_multifit_nlinear_workspace *work = gsl_multifit_nlinear_alloc(
        gsl_multifit_nlinear_trust, &parameters, rows, c->numbers);
    double worst = 0, reached[RECONSTRUCT_SUMS];
    for (size_t k = 0; k < c->asked->scalars; k++) {
        pull.scale[k] = fmax(fabs(c->sum[k]), c->sd);
    }
    memcpy(x, start, c->numbers * sizeof *x);
    for (pull.weight = 1e-2; pull.weight > 1e-9; pull.weight *= 1e-3) {
        gsl_vector_const_view from = gsl_vector_const_view_array(x, c->numbers);
        int info;
        gsl_multifit_nlinear_init(&from.vector, &fdf, work);
        gsl_multifit_nlinear_driver(STEPS, 1e-14, 1e-16, 0, NULL, NULL, &info, work);
        for (size_t i = 0; i < c->numbers; i++) {
            x[i] = gsl_vector_get(work->x, i);
        }
    }
    gsl_multifit_nlinear_free(work);
    reconstruct_sums(reached, c, x);
    for (size_t k = 0; k < c->asked->scalars; k++) {
        double slack = c->asked->quantum > 0 ? c->asked->quantum : 0;
        worst = fmax(worst, (fabs(reached[k] - c->sum[k]) - slack) / pull.scale[k]);
    }
    return worst < 1e-7;
}

/* The numbers that the attacker may name: effects in order among patients of the same pattern. */
static void in_order(double *out, const struct reconstruct_case *c, const double *x)
{
    double value[RECONSTRUCT_PATIENTS];
    bool done[RECONSTRUCT_PATIENTS] = {false};
    size_t placed = 0;
    for (size_t i = 0; i < c->asked->n; i++) {
        size_t count = 0;
        for (size_t j = i; !done[i] && j < c->asked->n; j++) {
            if (fabs(c->u[j] - c->u[i]) < 1e-12) {
                value[count++] = reconstruct_effect(c, x, j);
                done[j] = j != i;
            }
        }
        gsl_sort(value, 1, count);
        memcpy(out + placed, value, count * sizeof *out);
        placed += count;
        done[i] = true;
    }
}

static double share_right(const double *guess, const double *truth, size_t n, double sd)
{
    size_t right = 0;
    for (size_t i = 0; i < n; i++) {
        right += fabs(guess[i] - truth[i]) <= NEAR * sd ? 1 : 0;
    }
    return (double)right / (double)n;
}

static void draw(struct reconstruct_case *other, double *start, const struct reconstruct_case *c,
                 gsl_rng *rng)
{
    reconstruct_make(other, c->asked, rng);
    memcpy(start, other->x, c->numbers * sizeof *start);
    if (c->asked->levels > 0) { /* starts between the points of the scale */
        for (size_t i = 0; i < c->numbers; i++) {
            start[i] += gsl_rng_uniform(rng) - 0.5;
        }
    }
}

void reconstruct_solve(struct reconstruct_solved *out, const struct reconstruct_case *c,
                       gsl_rng *rng)
{
    struct reconstruct_case *other = malloc(sizeof *other);
    double start[2 * RECONSTRUCT_PATIENTS], x[2 * RECONSTRUCT_PATIENTS];
    double truth[RECONSTRUCT_PATIENTS], guess[RECONSTRUCT_PATIENTS];
    double sum[RECONSTRUCT_PATIENTS] = {0}, squares[RECONSTRUCT_PATIENTS] = {0};
    *out = (struct reconstruct_solved){.starts = c->asked->starts};
    in_order(truth, c, c->x);
    for (size_t s = 0; other != NULL && s < c->asked->starts; s++) {
        draw(other, start, c, rng);
        in_order(guess, c, start);
        out->chance += share_right(guess, truth, c->judged, c->sd) / (double)c->asked->starts;
        if (!descend(x, c, start)) {
            continue;
        }
        in_order(guess, c, x);
        out->solutions += 1;
        out->right += share_right(guess, truth, c->judged, c->sd);
        for (size_t i = 0; i < c->judged; i++) {
            sum[i] += guess[i];
            squares[i] += guess[i] * guess[i];
        }
    }
    free(other);
    double solutions = (double)out->solutions;
    out->right = out->solutions == 0 ? 0 : out->right / solutions;
    for (size_t i = 0; i < c->judged && out->solutions > 0; i++) {
        double mean = sum[i] / solutions;
        out->spread +=
            sqrt(fmax(0, squares[i] / solutions - mean * mean)) / c->sd / (double)c->judged;
    }
}
