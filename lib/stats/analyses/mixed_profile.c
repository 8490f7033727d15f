/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Refits of the class form's sums under a restriction, which cost no round: likelihood-ratio tests,
 * and intervals from the profile of the maximum-likelihood deviance, as lme4's confint does (Bates
 * et al., J Stat Softw 67 (2015), section 5.1). A variance on its boundary: the mixtures of
 * chi-squares of Self & Liang, JASA 82 (1987) 605-610 and Stram & Lee, Biometrics 50 (1994)
 * 1171-1177.
 */
#include <base/json.h>
#include <math.h>
#include <stats/distributions.h>
#include <stats/optimise.h>
#include <string.h>

#include "mixed.h"

#define FREE (NOF1_TERMS_MAX + 1) /* log sigma, then what spans Gamma and the other variances */
#define STEP 1e-4                 /* of the differenced Hessian */
#define NONE SIZE_MAX
#define TWO_PI 6.283185307179586476925

/* What is asked of the likelihood. Standard deviations are counted: the effects of a trial, cycles,
 * arms, residuals. */
struct restricted {
    const struct mixed_model *model;
    const struct mixed_fit *fit;
    const double *uncentre;
    bool reml;
    size_t held;              /* standard deviation held at `sd`; NONE */
    double sd;
    bool equal;               /* residual variances are equal */
    size_t drops, drop[MIXED_COLUMNS_MAX]; /* coefficients held at `value` */
    double value;
    /* working memory */
    struct nof1_arena *arena;
    double *memory, *small;   /* sums of all used columns; of those that are left */
    double best[FREE];        /* where the last minimum was */
    bool warm;
};

/* gamma and sigma of the free parameters, and their derivatives. */
struct place {
    double gamma[NOF1_TERMS_MAX], sigma;
    double by[NOF1_TERMS_MAX][FREE]; /* d gamma / d free */
    size_t sigma_at, free;           /* index of log sigma; NONE: held */
};

static size_t residual_sd(const struct mixed_model *m)
{
    return m->shape.effects + m->shape.by_cycle + m->shape.by_arm;
}

static size_t entry(size_t i, size_t k)
{
    return i >= k ? i * (i + 1) / 2 + k : k * (k + 1) / 2 + i;
}

/* Gamma = L L' with the held effect first, so that its variance is the square of one entry. */
static void place_block(struct place *p, const struct restricted *r, const double *u)
{
    size_t q = r->model->shape.effects, order[NOF1_EFFECTS_MAX],
           at[NOF1_EFFECTS_MAX][NOF1_EFFECTS_MAX];
    double l[NOF1_EFFECTS_MAX][NOF1_EFFECTS_MAX] = {{0}};
    bool held = r->held < q;
    for (size_t i = 0, next = held; i < q; i++) {
        if (i == r->held) {
            order[0] = i;
        } else {
            order[next++] = i;
        }
    }
    for (size_t i = 0; i < q; i++) {
        for (size_t k = 0; k <= i; k++) {
            bool fixed = held && k == 0 && (i == 0 || r->sd == 0);
            at[i][k] = fixed ? NONE : p->free++;
            l[i][k] = !fixed ? u[at[i][k]] : i == 0 ? r->sd / p->sigma : 0;
        }
    }
    for (size_t i = 0; i < q; i++) {
        for (size_t j = 0; j <= i; j++) {
            size_t g = entry(order[i], order[j]);
            for (size_t k = 0; k <= j; k++) {
                p->gamma[g] += l[i][k] * l[j][k];
                if (at[i][k] != NONE) {
                    p->by[g][at[i][k]] += l[j][k];
                }
                if (at[j][k] != NONE) {
                    p->by[g][at[j][k]] += l[i][k];
                }
            }
            if (held && p->sigma_at != NONE) { /* the first entry falls with sigma */
                p->by[g][p->sigma_at] -= l[0][0] * ((i == 0) * l[j][0] + (j == 0) * l[i][0]);
            }
        }
    }
}

static void place_of(struct place *p, const struct restricted *r, const double *u)
{
    const struct mixed_model *m = r->model;
    size_t block = nof1_gaussian_block(&m->shape), residual = residual_sd(m);
    memset(p, 0, sizeof *p);
    p->sigma_at = r->held == residual ? NONE : p->free++;
    p->sigma = p->sigma_at == NONE ? r->sd : exp(u[0]);
    place_block(p, r, u);
    for (size_t j = block; j < m->terms; j++) {
        size_t own = m->shape.effects + j - block; /* residuals count from that of arm 0 */
        bool ratio = j >= m->terms - m->shape.ratios;
        own += ratio;
        double root = r->sd / p->sigma;
        if (own == r->held || (ratio && r->equal)) {
            root = r->equal && ratio ? 1 : root;
            if (own == r->held && p->sigma_at != NONE) {
                p->by[j][p->sigma_at] = -2 * root * root;
            }
        } else {
            root = u[p->free];
            p->by[j][p->free++] = 2 * root;
        }
        p->gamma[j] = root * root - ratio;
    }
}

/* ---- sums without the columns held ----------------------------------------------------------- */

static bool dropped(const struct restricted *r, size_t column)
{
    for (size_t k = 0; k < r->drops; k++) {
        if (r->drop[k] == column) {
            return true;
        }
    }
    return false;
}

/* With sum_j u_cj beta_j = value for a column c: every other column x_j loses u_cj x_c, y value
 * x_c. */
static void congruence(double *out, const double *from, const struct restricted *r)
{
    size_t p = r->fit->used, width = p + 1, kept = width - r->drops;
    double t[MIXED_COLUMNS_MAX + 1][MIXED_COLUMNS_MAX + 1] = {{0}};
    for (size_t j = 0, to = 0; j < width; j++) {
        if (j < p && dropped(r, j)) {
            continue;
        }
        t[to][j] = 1;
        for (size_t k = 0; k < r->drops; k++) {
            size_t c = r->drop[k];
            t[to][c] = j == p ? -r->value : -r->uncentre[c * p + j];
        }
        to++;
    }
    for (size_t a = 0; a < kept; a++) {
        double row[MIXED_COLUMNS_MAX + 1] = {0};
        for (size_t i = 0; i < width; i++) {
            for (size_t j = 0; j < width && t[a][i] != 0; j++) {
                row[j] += t[a][i] * from[i * width + j];
            }
        }
        for (size_t b = 0; b < kept; b++) {
            double sum = 0;
            for (size_t j = 0; j < width; j++) {
                sum += row[j] * t[b][j];
            }
            out[a * kept + b] = sum;
        }
    }
}

static void reduce(struct nof1_gaussian_sums *out, struct nof1_gaussian_shape *shape,
                   const struct nof1_gaussian_sums *sums, const struct restricted *r)
{
    size_t terms = r->model->terms;
    *shape = r->fit->shape;
    shape->columns -= r->drops;
    nof1_gaussian_sums_place(out, shape, r->small);
    out->rows = sums->rows;
    out->within = sums->within;
    out->log_det = sums->log_det;
    memcpy(out->trace, sums->trace, sizeof out->trace);
    memcpy(out->trace2, sums->trace2, sizeof out->trace2);
    congruence(out->cross, sums->cross, r);
    for (size_t j = 0; j < terms; j++) {
        congruence(out->first[j], sums->first[j], r);
        for (size_t k = 0; k <= j; k++) {
            size_t jk = j * NOF1_TERMS_MAX + k;
            congruence(out->second[jk], sums->second[jk], r);
        }
    }
}

/* ---- the restricted minimum ------------------------------------------------------------------ */

/* -2 log-likelihood with sigma a parameter, and its gradient. */
static bool gradient_at(const struct restricted *r, const double *u, double *f, double *gradient)
{
    struct place p;
    struct nof1_gaussian_sums all, sums;
    struct nof1_gaussian_shape shape;
    struct nof1_gaussian_point point;
    place_of(&p, r, u);
    for (size_t j = 0; j < p.free; j++) {
        bool sigma = j == p.sigma_at;
        if (!(fabs(u[j]) <= (sigma ? 300 : r->model->root_limit))) {
            return false;
        }
    }
    mixed_totals_sum(&all, r->memory, r->fit->totals, p.gamma);
    reduce(&sums, &shape, &all, r);
    struct nof1_arena *arena = nof1_arena_new();
    bool fine = arena != NULL && nof1_gaussian_point(&point, arena, &sums, &shape, p.gamma, r->reml,
                                                     true) == NOF1_OK;
    nof1_arena_free(arena);
    if (!fine) {
        return false;
    }
    double s2 = p.sigma * p.sigma;
    *f = point.log_det + (r->reml ? point.log_det_c : 0) + point.n * log(TWO_PI * s2) +
         point.q / s2;
    memset(gradient, 0, p.free * sizeof *gradient);
    for (size_t j = 0; j < r->model->terms; j++) {
        for (size_t i = 0; i < p.free; i++) {
            gradient[i] += (point.trace[j] - point.square[j] / s2) * p.by[j][i];
        }
    }
    if (p.sigma_at != NONE) {
        gradient[p.sigma_at] += 2 * (point.n - point.q / s2);
    }
    return isfinite(*f);
}

static bool evaluate(void *context, const double *u, double *f, double *gradient, double *hessian)
{
    const struct restricted *r = context;
    struct place p;
    double side[2][FREE], at[FREE], unused;
    place_of(&p, r, u);
    if (!gradient_at(r, u, f, gradient)) {
        return false;
    }
    for (size_t i = 0; i < p.free; i++) {
        for (size_t k = 0; k < 2; k++) {
            memcpy(at, u, p.free * sizeof *at);
            at[i] += (k == 0 ? -STEP : STEP) * fmax(1, fabs(u[i]));
            if (!gradient_at(r, at, &unused, side[k])) {
                return false;
            }
        }
        for (size_t j = 0; j < p.free; j++) {
            hessian[i * p.free + j] = (side[1][j] - side[0][j]) / (2 * STEP * fmax(1, fabs(u[i])));
        }
    }
    for (size_t i = 0; i < p.free; i++) {
        for (size_t j = 0; j < i; j++) {
            double mean = 0.5 * (hessian[i * p.free + j] + hessian[j * p.free + i]);
            hessian[i * p.free + j] = hessian[j * p.free + i] = mean;
        }
    }
    return true;
}

/* Free parameters at the fitted model, variances off zero (where the derivative vanishes). */
static size_t start_of(double *u, const struct restricted *r, double least)
{
    const struct mixed_model *m = r->model;
    size_t at = 0, q = m->shape.effects, block = nof1_gaussian_block(&m->shape);
    if (r->held != residual_sd(m)) {
        u[at++] = 0.5 * log(r->fit->sigma2);
    }
    for (size_t i = 0, other = 0; i < q; i++) { /* the diagonal alone */
        other = r->held < q ? (i == 0 ? r->held : i - (i <= r->held)) : i;
        for (size_t k = 0; k <= i; k++) {
            bool held = r->held < q && k == 0 && (i == 0 || r->sd == 0);
            if (!held) {
                u[at++] = k == i ? fmax(least, sqrt(fmax(0, r->fit->gamma[entry(other, other)])))
                                 : 0;
            }
        }
    }
    for (size_t j = block; j < m->terms; j++) {
        bool ratio = j >= m->terms - m->shape.ratios;
        if (q + j - block + ratio != r->held && !(ratio && r->equal)) {
            u[at++] = fmax(least, sqrt(fmax(0, r->fit->gamma[j] + ratio)));
        }
    }
    return at;
}

static nof1_rc minimum(double *out, struct restricted *r)
{
    double u[3][FREE], f, decrement;
    size_t n = start_of(u[0], r, 0.05), starts = 2;
    (void)start_of(u[1], r, 0.7);
    if (r->warm) {
        memcpy(u[starts++], r->best, sizeof r->best);
    }
    *out = INFINITY;
    if (n == 0) {
        double unused[1];
        return gradient_at(r, u[0], out, unused) ? NOF1_OK : NOF1_E_MODEL;
    }
    struct nof1_objective objective = {n, 1, r, evaluate};
    for (size_t k = starts; k-- > 0;) {
        if (nof1_minimise(&objective, r->arena, u[k], &f, &decrement, 1e-20) == NOF1_OK &&
            f < *out - 1e-10) {
            *out = f;
            memcpy(r->best, u[k], sizeof r->best);
        }
    }
    r->warm = isfinite(*out);
    return r->warm ? NOF1_OK : NOF1_E_MODEL;
}

static nof1_rc restricted_new(struct restricted *r, const struct mixed_model *m,
                              const struct mixed_fit *fit, const double *uncentre,
                              struct nof1_arena *arena)
{
    size_t size = nof1_gaussian_sums_size(&fit->shape);
    *r = (struct restricted){.model = m, .fit = fit, .uncentre = uncentre, .held = NONE,
                             .arena = arena};
    r->memory = nof1_arena_alloc(arena, 2 * size, sizeof *r->memory);
    ENSURE(r->memory != NULL, NOF1_E_NO_MEMORY);
    r->small = r->memory + size;
    return NOF1_OK;
}

/* Name of a standard deviation as rows of variance_components have it. */
static void name_sd(const struct mixed_model *m, struct nof1_arena *arena, size_t k,
                    const char **group, const char **term)
{
    size_t q = m->shape.effects, residual = residual_sd(m);
    *group = k < q                                       ? "trial"
             : k >= residual                             ? "Residual"
             : m->shape.by_cycle && k == q               ? "trial:cycle"
                                                         : "trial:treatment";
    *term = k >= residual ? (m->shape.ratios > 0 ? mixed_arm_name(m, k - residual) : NULL)
            : k == 0 || k >= q
                ? "(Intercept)"
                : nof1_arena_printf(arena, "treatment%s", mixed_arm_suffix(m, k));
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Half chi-square(df - 1), half chi-square(df) when on the boundary. */
static double p_value(double statistic, size_t df, bool boundary)
{
    double own = nof1_chi_square_upper(statistic, (double)df);
    double less = df == 1 ? statistic <= 0 : nof1_chi_square_upper(statistic, (double)df - 1);
    return boundary ? 0.5 * (own + less) : own;
}

static nof1_rc add_test(json_t *rows, const char *what, const char *term, const char *method,
                        double statistic, size_t df, bool boundary, struct nof1_arena *arena)
{
    const char *reference =
        boundary ? nof1_arena_printf(arena, "0.5 chi2(%zu) + 0.5 chi2(%zu)", df - 1, df)
                 : nof1_arena_printf(arena, "chi2(%zu)", df);
    ENSURE(reference != NULL && term != NULL, NOF1_E_NO_MEMORY);
    json_t *row = json_pack("{s:s, s:s, s:s, s:o, s:s, s:o}", "tested", what, "term", term,
                            "method", method, "statistic", nof1_json_number(statistic),
                            "reference", reference, "p.value",
                            nof1_json_number(p_value(statistic, df, boundary)));
    ENSURE(row != NULL && json_array_append_new(rows, row) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

/* A variance, with its covariances, against zero; residual variances against one for all. */
static nof1_rc test_variances(json_t *rows, struct restricted *r)
{
    const struct mixed_model *m = r->model;
    const char *method = m->reml ? "REML" : "ML", *group, *term;
    size_t q = m->shape.effects, residual = residual_sd(m);
    double full, f;
    r->reml = m->reml;
    TRY(minimum(&full, r));
    full = fmin(full, r->fit->f);
    for (size_t k = q > 1; k < residual; k++) { /* the intercept stays while slopes vary */
        name_sd(m, r->arena, k, &group, &term);
        r->held = k;
        r->warm = false;
        TRY(minimum(&f, r));
        const char *name = nof1_arena_printf(r->arena, "%s %s", group, term);
        TRY(add_test(rows, "variance", name, method, fmax(0, f - full), k < q ? q : 1, true,
                     r->arena));
    }
    r->held = NONE;
    if (m->shape.ratios > 0) {
        r->equal = true;
        r->warm = false;
        TRY(minimum(&f, r));
        r->equal = false;
        TRY(add_test(rows, "variance", "residual by treatment", method, fmax(0, f - full),
                     m->shape.ratios, false, r->arena));
    }
    r->warm = false;
    return NOF1_OK;
}

/* The columns of one term of `fixed` against none of them, by maximum likelihood. */
static nof1_rc test_terms(json_t *rows, struct restricted *r)
{
    const struct mixed_fit *fit = r->fit;
    double full, f;
    r->reml = false;
    TRY(minimum(&full, r));
    for (size_t c = 0; c < fit->used; c++) {
        const struct mixed_column *own = &r->model->column[fit->use[c]];
        bool first = own->term != NULL;
        r->drops = 0;
        for (size_t d = 0; d < fit->used && own->term != NULL; d++) {
            const char *term = r->model->column[fit->use[d]].term;
            if (term != NULL && strcmp(term, own->term) == 0) {
                first = first && d >= c;
                r->drop[r->drops++] = d;
            }
        }
        if (first) {
            r->warm = false;
            TRY(minimum(&f, r));
            TRY(add_test(rows, "fixed", own->term, "ML", fmax(0, f - full), r->drops, false,
                         r->arena));
        }
    }
    r->drops = 0;
    r->warm = false;
    return NOF1_OK;
}

/* Append a table to `tables` of the result. Takes rows. */
static nof1_rc add_table(json_t *out, const char *title, json_t *columns, json_t *rows)
{
    json_t *tables = json_object_get(out, "tables");
    json_t *table = json_pack("{s:s, s:o, s:o}", "title", title, "columns", columns, "cells", rows);
    if (tables == NULL) {
        tables = json_array();
        ENSURE(json_object_set_new(out, "tables", tables) == 0, NOF1_E_NO_MEMORY);
    }
    ENSURE(table != NULL && json_array_append_new(tables, table) == 0, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

nof1_rc_value mixed_ratio_tests(json_t *out, struct nof1_arena *arena, const struct mixed_model *m,
                                const struct mixed_fit *fit, const double *uncentre)
{
    struct restricted r;
    TRY(restricted_new(&r, m, fit, uncentre, arena));
    json_t *rows = json_array();
    nof1_rc_value rc = m->test_variances ? test_variances(rows, &r) : NOF1_OK;
    rc = rc == NOF1_OK && m->test_terms ? test_terms(rows, &r) : rc;
    if (rc != NOF1_OK) {
        json_decref(rows);
        return rc;
    }
    return add_table(out, "Likelihood-ratio tests",
                     json_pack("[s,s,s,s,s,s]", "tested", "term", "method", "statistic",
                               "reference", "p.value"),
                     rows);
}

/* ---- intervals ------------------------------------------------------------------------------- */

struct search {
    struct restricted *r;
    double target;
    nof1_rc_value rc;
};

/* The profile deviance above its target; held is a coefficient or a standard deviation. */
static double excess(double x, void *context)
{
    struct search *s = context;
    double f = INFINITY;
    *(s->r->held == NONE ? &s->r->value : &s->r->sd) = x;
    nof1_rc_value rc = minimum(&f, s->r);
    s->rc = rc == NOF1_E_NO_MEMORY ? rc : s->rc;
    return isfinite(f) ? f - s->target : 1e6;
}

/* The end of an interval from `inside` by steps of `step`; NAN when there is none. */
static nof1_rc find_end(double *out, struct search *s, double inside, double step, double limit)
{
    double near = inside, far = inside;
    *out = NAN;
    s->r->warm = false;
    for (size_t k = 0; k < 60; k++, step *= 1.5) {
        far = near + step;
        bool last = step < 0 ? far <= limit : far >= limit;
        far = last ? limit : far;
        double f = excess(far, s);
        TRY(s->rc);
        if (f > 0) {
            nof1_rc_value rc = nof1_root(out, excess, s, fmin(near, far), fmax(near, far), 1e-13);
            TRY(s->rc);
            return rc == NOF1_E_NO_MEMORY ? rc : NOF1_OK;
        }
        if (last) {
            *out = limit;
            return NOF1_OK;
        }
        near = far;
    }
    return NOF1_OK;
}

static nof1_rc profile_coefficients(json_t *out, struct restricted *r, struct search *s,
                                    const double *beta, double offset)
{
    const struct mixed_fit *fit = r->fit;
    json_t *rows = json_object_get(out, "estimates");
    for (size_t c = 0; c < fit->used; c++) {
        json_t *row = json_array_get(rows, c);
        double error = json_number_value(json_object_get(row, "std.error")), end[2];
        bool intercept = r->model->column[fit->use[c]].kind == MIXED_INTERCEPT;
        if (!(error > 0)) {
            continue;
        }
        r->drops = 1;
        r->drop[0] = c;
        for (size_t k = 0; k < 2; k++) {
            double step = (k == 0 ? -2 : 2) * error;
            TRY(find_end(&end[k], s, beta[c], step, k == 0 ? -INFINITY : INFINITY));
            end[k] += intercept ? offset : 0;
        }
        ENSURE(json_object_set_new(row, "conf.low", nof1_json_number(end[0])) == 0 &&
                   json_object_set_new(row, "conf.high", nof1_json_number(end[1])) == 0,
               NOF1_E_NO_MEMORY);
    }
    r->drops = 0;
    return NOF1_OK;
}

static double sd_at(const struct place *p, const struct mixed_model *m, size_t k)
{
    size_t q = m->shape.effects, residual = residual_sd(m);
    size_t block = nof1_gaussian_block(&m->shape);
    double ratio = k < q            ? p->gamma[k * (k + 3) / 2]
                   : k == residual  ? 1
                   : k > residual   ? 1 + p->gamma[m->terms - m->shape.ratios + k - residual - 1]
                                    : p->gamma[block + k - q];
    return p->sigma * sqrt(fmax(0, ratio));
}

static nof1_rc profile_deviations(json_t *out, struct restricted *r, struct search *s,
                                  const struct place *best)
{
    const struct mixed_model *m = r->model;
    json_t *rows = json_array();
    nof1_rc_value rc = NOF1_OK;
    for (size_t k = 0; k <= residual_sd(m) + m->shape.ratios && rc == NOF1_OK; k++) {
        double at = sd_at(best, m, k), low = 0, high = NAN;
        double step = fmax(0.2 * at, 0.1 * best->sigma);
        r->held = k;
        if (at > 1e-6 * best->sigma) {
            rc = find_end(&low, s, at, k >= residual_sd(m) ? -0.05 * at : -step,
                          k >= residual_sd(m) ? 1e-6 * at : 0);
        }
        rc = rc == NOF1_OK ? find_end(&high, s, at, step, INFINITY) : rc;
        const char *group, *term;
        name_sd(m, r->arena, k, &group, &term);
        json_t *row = json_pack("{s:s, s:s?, s:o, s:o, s:o}", "group", group, "term", term, "sd",
                                nof1_json_number(at), "conf.low", nof1_json_number(low),
                                "conf.high", nof1_json_number(high));
        rc = json_array_append_new(rows, row) == 0 ? rc : NOF1_E_NO_MEMORY;
    }
    r->held = NONE;
    if (rc != NOF1_OK) {
        json_decref(rows);
        return rc;
    }
    return add_table(out, "Standard deviations by maximum likelihood, profile intervals",
                     json_pack("[s,s,s,s,s]", "group", "term", "sd", "conf.low", "conf.high"),
                     rows);
}

nof1_rc_value mixed_profile(json_t *out, struct nof1_arena *arena, const struct mixed_model *m,
                            const struct mixed_fit *fit, const double *uncentre, double offset)
{
    struct restricted r;
    struct search s = {&r, 0, NOF1_OK};
    struct place best;
    struct nof1_gaussian_sums sums;
    struct nof1_gaussian_point point;
    TRY(restricted_new(&r, m, fit, uncentre, arena));
    TRY(minimum(&s.target, &r));
    place_of(&best, &r, r.best);
    mixed_totals_sum(&sums, r.memory, fit->totals, best.gamma);
    TRY(nof1_gaussian_point(&point, arena, &sums, &fit->shape, best.gamma, false, true));
    double *beta = nof1_arena_alloc(arena, fit->used + 1, sizeof *beta);
    ENSURE(beta != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < fit->used; i++) {
        for (size_t j = 0; j < fit->used; j++) {
            beta[i] += uncentre[i * fit->used + j] * point.beta[j];
        }
    }
    s.target += nof1_chi_square_quantile_lower(m->level, 1);
    TRY(profile_coefficients(out, &r, &s, beta, offset));
    return profile_deviations(out, &r, &s, &best);
}
