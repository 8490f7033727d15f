/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sums at any tau^2 from what was released, for the forms that are not classes: the weight basis
 * with its correction rounds, and the rounds of own variances. Post-processing of totals; the order
 * of numbers is that of random_effects_layout.c.
 */
#include "random_effects.h"

#include <math.h>
#include <string.h>

/* ---- the weight basis: w(u; lambda)^a as a combination of 1 / (lambda_r + u) ---- */

/* First element of the basis blocks, after within-trial squares, df, rows and trials. */
#define BASIS_FIRST 4

static double basis_function(const struct re_model *model, size_t r, double u)
{
    return 1.0 / (model->lambda[r] + u);
}

/* Least squares over the census' classes, in relative error; f[c] > 0 are the values to fit. Writes
 * the coefficients, and what the fit lacks: miss[c] = f[c] - fitted. */
static void project(double *coefficient, double *miss, const struct re_model *model,
                    const double *f)
{
    size_t n = model->weights < RE_BASIS_MOST ? model->weights : RE_BASIS_MOST; /* gcc -O3 asks */
    double gram[RE_BASIS_MOST][RE_BASIS_MOST + 1] = {{0}};
    for (size_t c = 0; c < model->classes; c++) {
        double weight = fmax((double)model->class_[c].trials, 1.0);
        double g[RE_BASIS_MOST];
        for (size_t r = 0; r < n; r++) {
            g[r] = basis_function(model, r, model->class_[c].u) / f[c];
        }
        for (size_t r = 0; r < n; r++) {
            for (size_t q = 0; q < n; q++) {
                gram[r][q] += weight * g[r] * g[q];
            }
            gram[r][n] += weight * g[r];
        }
    }
    for (size_t r = 0; r < n; r++) {
        for (size_t q = r + 1; q < n; q++) {
            double factor = gram[q][r] / gram[r][r];
            for (size_t m = r; m <= n; m++) {
                gram[q][m] -= factor * gram[r][m];
            }
        }
    }
    for (size_t r = n; r-- > 0;) {
        double sum = gram[r][n];
        for (size_t q = r + 1; q < n; q++) {
            sum -= gram[r][q] * coefficient[q];
        }
        coefficient[r] = sum / gram[r][r];
    }
    for (size_t c = 0; c < model->classes; c++) {
        miss[c] = f[c];
        for (size_t r = 0; r < n; r++) {
            miss[c] -= coefficient[r] * basis_function(model, r, model->class_[c].u);
        }
    }
}

/* The projected sums for weights f over classes. */
static void projected_power(struct nof1_two_stage_power *out, double *miss,
                            const struct re_basis *basis, const double *f)
{
    const struct re_model *model = basis->model;
    double coefficient[RE_BASIS_MOST];
    project(coefficient, miss, model, f);
    memset(out, 0, sizeof *out);
    for (size_t r = 0; r < model->weights; r++) {
        nof1_two_stage_add(out, &basis->sum[r], coefficient[r], model->columns);
    }
    /* Only alone: beside projected sums of moderators an exact one would not fit. */
    if (model->census_exact && model->columns == 1) {
        out->xx[0] = 0.0;
        for (size_t c = 0; c < model->classes; c++) {
            out->xx[0] += (double)model->class_[c].trials * f[c];
        }
    }
}

#define CLASSES_MOST 1024

/* Values of (lambda + u)^-a over classes. */
static void weights_of(double *f, const struct re_model *model, double lambda, int a)
{
    for (size_t c = 0; c < model->classes; c++) {
        f[c] = pow(lambda + model->class_[c].u, -(double)a);
    }
}

/* Powers 1 to 3 at lambda; miss[a - 1] for a = 1, 2. */
struct miss {
    double of[2][CLASSES_MOST];
};

static void project_all(struct nof1_two_stage_power w[4], struct miss *miss,
                        const struct re_basis *basis, double lambda)
{
    double f[CLASSES_MOST];
    double unused[CLASSES_MOST];
    for (int a = 1; a <= 3; a++) {
        weights_of(f, basis->model, lambda, a);
        projected_power(&w[a], a < 3 ? miss->of[a - 1] : unused, basis, f);
    }
}

double re_basis_rounding(const struct re_basis *basis, double lambda)
{
    const struct re_model *model = basis->model;
    double f[CLASSES_MOST], unused[CLASSES_MOST], coefficient[RE_BASIS_MOST];
    double squares = 0.0, weight = 0.0;
    weights_of(f, model, lambda, 1);
    project(coefficient, unused, model, f);
    for (size_t r = 0; r < model->weights; r++) {
        squares += coefficient[r] * coefficient[r];
        weight += coefficient[r] * basis->sum[r].xx[0];
    }
    double step = re_term_step(model) / basis->sigma;
    return weight > 0.0 ? step * sqrt(squares * basis->trials / (12.0 * weight)) : 0.0;
}

/* Largest relative error of w and w^2 at lambda; a correction takes away what was missing there. */
static double largest_error(const struct re_model *model, const struct miss *here,
                            const struct miss *there, double lambda)
{
    double error = 0.0;
    double f[CLASSES_MOST];
    for (int a = 1; a <= 2; a++) {
        weights_of(f, model, lambda, a);
        for (size_t c = 0; c < model->classes; c++) {
            double corrected = there == NULL ? 0.0 : there->of[a - 1][c];
            error = fmax(error, fabs(here->of[a - 1][c] - corrected) / f[c]);
        }
    }
    return error;
}

/* The exact sums of a correction round in the basis' units; NAN where the round has none. */
static void correction_read(struct nof1_two_stage_power exact[4], double *log_sum,
                            const struct re_basis *basis, const struct nof1_round_total *round)
{
    size_t linear, quadratic;
    re_correction_size(basis->model, &linear, &quadratic);
    const double *t = round->total;
    double s = basis->shift;
    double sigma = basis->sigma;
    memset(exact, 0, 4 * sizeof *exact);
    for (size_t a = 1; a <= 3; a++) {
        exact[a].xx[0] = t[a - 1];
        exact[a].xy[0] = NAN;
        exact[a].yy = NAN;
    }
    *log_sum = t[3];
    double b1 = t[4];
    exact[1].xy[0] = (b1 - s * t[0]) / sigma;
    size_t next = 5;
    if (linear == 2) {
        double b2 = t[next++];
        double q2 = t[next++];
        exact[2].xy[0] = (b2 - s * t[1]) / sigma;
        exact[2].yy = (q2 - 2.0 * s * b2 + s * s * t[1]) / (sigma * sigma);
    }
    if (linear == 1 || quadratic == 2) {
        exact[1].yy = (t[next] - 2.0 * s * b1 + s * s * t[0]) / (sigma * sigma);
    }
}

/* The finished correction round nearest to lambda, or NULL. */
static const struct nof1_round_total *nearest(const struct re_basis *basis, double lambda)
{
    const struct nof1_round_total *best = NULL;
    for (size_t r = 1; r < basis->history->rounds; r++) {
        const struct nof1_round_total *round = &basis->history->round[r];
        if (best == NULL ||
            fabs(round->parameter[0] - lambda) <= fabs(best->parameter[0] - lambda)) {
            best = round;
        }
    }
    return best;
}

static void shift_by(double *value, double exact, double projected)
{
    if (!isnan(exact)) {
        *value += exact - projected;
    }
}

static nof1_rc_value basis_weighted(void *self, double tau2, struct nof1_two_stage_sums *out)
{
    struct re_basis *basis = self;
    memset(out, 0, sizeof *out);
    out->tau_squared = tau2;
    const struct nof1_round_total *round = nearest(basis, tau2);
    double log_shift = 0.0;
    struct nof1_two_stage_power exact[4];
    struct nof1_two_stage_power there[4];
    struct miss miss_here;
    struct miss miss_there;
    ENSURE(basis->model->classes <= CLASSES_MOST, NOF1_E_MODEL);
    if (round != NULL) {
        correction_read(exact, &log_shift, basis, round);
        project_all(there, &miss_there, basis, round->parameter[0]);
    }
    project_all(out->w, &miss_here, basis, tau2);
    /* The unweighted sums of HE and SJ are projected too, and no round corrects those. */
    bool corrected = round != NULL && basis->model->fit.method != NOF1_TS_HE &&
                     basis->model->fit.method != NOF1_TS_SJ;
    basis->error = largest_error(basis->model, &miss_here, corrected ? &miss_there : NULL, tau2);
    for (size_t a = 1; a <= 3 && round != NULL; a++) {
        shift_by(&out->w[a].xx[0], exact[a].xx[0], there[a].xx[0]);
        shift_by(&out->w[a].xy[0], exact[a].xy[0], there[a].xy[0]);
        shift_by(&out->w[a].yy, exact[a].yy, there[a].yy);
    }
    for (size_t c = 0; c < basis->model->classes; c++) {
        double n = (double)basis->model->class_[c].trials;
        out->log_sum += n * log(tau2 + basis->model->class_[c].u);
        log_shift -= round != NULL ? n * log(round->parameter[0] + basis->model->class_[c].u) : 0.0;
    }
    out->log_sum += log_shift;
    return NOF1_OK;
}

static nof1_rc_value basis_unweighted(void *self, struct nof1_two_stage_sums *out)
{
    struct re_basis *basis = self;
    memset(out, 0, sizeof *out);
    ENSURE(basis->model->classes <= CLASSES_MOST, NOF1_E_MODEL);
    double f[CLASSES_MOST];
    double miss[CLASSES_MOST];
    weights_of(f, basis->model, 0.0, 0);
    projected_power(&out->w[0], miss, basis, f);
    if (basis->model->columns == 1) {
        out->w[0].xx[0] = basis->trials;
    }
    struct nof1_two_stage_power power;
    weights_of(f, basis->model, 0.0, -1);
    projected_power(&power, miss, basis, f);
    memcpy(out->v1, power.xx, sizeof out->v1);
    weights_of(f, basis->model, 0.0, -2);
    projected_power(&power, miss, basis, f);
    memcpy(out->v2, power.xx, sizeof out->v2);
    return NOF1_OK;
}

/* From d to (d - shift) / sigma. */
static void shift_power(struct nof1_two_stage_power *sum, double shift, double sigma, size_t p)
{
    sum->yy = (sum->yy - 2.0 * shift * sum->xy[0] + shift * shift * sum->xx[0]) / (sigma * sigma);
    for (size_t i = 0; i < p; i++) {
        sum->xy[i] = (sum->xy[i] - shift * sum->xx[i]) / sigma;
    }
}

struct nof1_two_stage_oracle re_basis_oracle(struct re_basis *basis, const struct re_model *model,
                                             const struct nof1_history *history)
{
    const double *t = history->round[0].total;
    *basis = (struct re_basis){.model = model, .history = history, .trials = t[3],
                               .sigma = sqrt(t[0] / t[1])};
    double weight = 0.0;
    t += BASIS_FIRST;
    for (size_t r = 0; r < model->weights; r++) {
        struct nof1_two_stage_power *sum = &basis->sum[r];
        sum->xx[0] = *t++;
        for (size_t i = 0; i < model->products; i++) {
            re_product_store(sum, &model->product[i], *t++, model->columns);
        }
        re_power_complete(sum, model);
        weight += sum->xx[0];
        basis->shift += sum->xy[0];
    }
    basis->shift /= weight;
    for (size_t r = 0; r < model->weights; r++) {
        shift_power(&basis->sum[r], basis->shift, basis->sigma, model->columns);
    }
    return (struct nof1_two_stage_oracle){.self = basis, .weighted = basis_weighted,
                                          .unweighted = basis_unweighted, .cheap = true};
}

/* ---- own variances: each round holds the power sums at its own tau^2 ---- */

/* A parameter as it will be used: 40 significant bits, half to even. */
static double as_parameter(double value)
{
    int exponent;
    double fraction = frexp(value, &exponent);
    return ldexp(nearbyint(ldexp(fraction, 40)), exponent - 40);
}

/* Read one power's block: the weight itself, then the products. Returns the numbers read. */
static size_t power_read(struct nof1_two_stage_power *out, const struct re_model *model,
                         const double *t, bool squares_only)
{
    size_t p = model->columns;
    memset(out, 0, sizeof *out);
    out->xx[0] = t[0];
    size_t next = 1;
    for (size_t i = 0; i < model->products; i++) {
        const struct re_product *product = &model->product[i];
        if (squares_only && product->kind != RE_XX) {
            continue;
        }
        re_product_store(out, product, t[next++], p);
    }
    re_power_complete(out, model);
    return next;
}

static nof1_rc_value own_weighted(void *self, double tau2, struct nof1_two_stage_sums *out)
{
    struct re_own *own = self;
    const struct nof1_round_total *round = NULL;
    double point = as_parameter(tau2);
    for (size_t r = 0; r < own->history->rounds && round == NULL; r++) {
        const struct nof1_round_total *candidate = &own->history->round[r];
        double at = r == 0 ? 0.0 : candidate->parameter[0];
        round = at == point ? candidate : NULL;
    }
    own->wanted = point;
    ENSURE(round != NULL, NOF1_E_NOT_FOUND);
    enum nof1_two_stage_method method = own->model->fit.method;
    bool likelihood = method == NOF1_TS_ML || method == NOF1_TS_REML;
    memset(out, 0, sizeof *out);
    out->tau_squared = point;
    const double *t = round->total;
    t += power_read(&out->w[1], own->model, t, false);
    t += power_read(&out->w[2], own->model, t, false);
    t += power_read(&out->w[3], own->model, t, !likelihood);
    out->log_sum = likelihood ? t[0] : NAN;
    return NOF1_OK;
}

static nof1_rc_value own_unweighted(void *self, struct nof1_two_stage_sums *out)
{
    struct re_own *own = self;
    memset(out, 0, sizeof *out);
    own->wanted = 0.0;
    ENSURE(own->history->rounds > 0, NOF1_E_NOT_FOUND);
    const double *t = own->history->round[0].total;
    struct nof1_two_stage_power power;
    t += power_read(&power, own->model, t, false);
    t += power_read(&power, own->model, t, false);
    bool reml = own->model->fit.method == NOF1_TS_REML;
    t += power_read(&power, own->model, t, !reml);
    t += reml ? 2 : 1; /* log, rows */
    t += power_read(&out->w[0], own->model, t, reml);
    if (own->model->fit.method == NOF1_TS_HE) {
        size_t square = own->model->columns * own->model->columns;
        t += power_read(&power, own->model, t, true);
        memcpy(out->v1, power.xx, square * sizeof *out->v1);
        (void)power_read(&power, own->model, t, true);
        memcpy(out->v2, power.xx, square * sizeof *out->v2);
    }
    return NOF1_OK;
}

struct nof1_two_stage_oracle re_own_oracle(struct re_own *own, const struct re_model *model,
                                           const struct nof1_history *history)
{
    *own = (struct re_own){.model = model, .history = history};
    return (struct nof1_two_stage_oracle){.self = own, .weighted = own_weighted,
                                          .unweighted = own_unweighted, .resolution = 0x1p-36};
}
