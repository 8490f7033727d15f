/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One trial's table of events and its terms of each round. Formulas: Mantel & Haenszel 1959 with
 * the variances of Robins, Breslow & Greenland 1986 (OR), Greenland & Robins 1985 (RR, IRR), Sato,
 * Greenland & Robins 1989 (RD); Yusuf et al. 1985 (Peto); Breslow & Day 1980 and Tarone 1985;
 * score and information of the conditional likelihoods (noncentral hypergeometric, binomial).
 * Ratios are rounded to 2^-44, so that no digit names a trial's own denominator.
 */
#include <math.h>

#include <stats/series.h>

#include "stratified.h"
#include "summary.h"

#define TERM_QUANTUM 0x1p-44

/* ---- the table ---- */

bool strat_table_of(struct strat_table *out, const struct strat_model *model,
                    const struct nof1_trial *trial, void *scratch)
{
    struct nof1_series series;
    nof1_series_of(&series, model->base.study, trial, scratch);
    const double *y = trial->outcome[model->base.study->plan->outcome];
    double events[2] = {0.0, 0.0}, exposure[2] = {0.0, 0.0};
    *out = (struct strat_table){0};
    for (size_t i = 0; i < series.rows; i++) {
        size_t row = series.row[i];
        double here = model->exposure < 0 ? 1.0 : trial->covariate[model->exposure][row];
        if (!(here > 0.0)) { /* no exposure, or not known */
            continue;
        }
        out->rows++;
        events[series.arm[i]] += model->measure == STRAT_IRR ? y[row] : y[row] > 0.5;
        exposure[series.arm[i]] += here;
    }
    for (size_t arm = 0; model->any && arm < 2; arm++) {
        events[arm] = events[arm] > 0.0;
        exposure[arm] = exposure[arm] > 0.0;
    }
    out->a = events[1];
    out->c = events[0];
    out->n1 = exposure[1];
    out->n0 = exposure[0];
    return out->n1 > 0.0 && out->n0 > 0.0;
}

/* ---- terms ---- */

/* Variance of a in a table with fixed margins, and its mean, without effect. */
static void central(double *mean, double *variance, const struct strat_table *t)
{
    double n = t->n1 + t->n0, m = t->a + t->c;
    *mean = t->n1 * m / n;
    *variance = t->n1 / n * (t->n0 / n) * m * ((n - m) / (n - 1.0));
}

/* Mean and variance of a given a + c at odds ratio exp(theta): the noncentral hypergeometric
 * distribution, summed outwards from its mode with weights relative to the mode. */
static void noncentral(double *mean, double *variance, const struct strat_table *t, double theta)
{
    double m = t->a + t->c, odds = exp(theta);
    double low = fmax(0.0, m - t->n0), high = fmin(m, t->n1);
    double b = odds * (t->n1 + m + 2.0) + (t->n0 - m), c = odds * (t->n1 + 1.0) * (m + 1.0);
    double mode = floor(2.0 * c / (b + sqrt(fmax(0.0, b * b - 4.0 * (odds - 1.0) * c))));
    mode = fmin(fmax(mode, low), high);
    double sum = 1.0, first = 0.0, second = 0.0, w = 1.0;
    for (double a = mode; a < high && w > 1e-40; a += 1.0) {
        w *= odds * (t->n1 - a) * (m - a) / ((a + 1.0) * (t->n0 - m + a + 1.0));
        sum += w;
        first += w * (a + 1.0 - mode);
        second += w * (a + 1.0 - mode) * (a + 1.0 - mode);
    }
    w = 1.0;
    for (double a = mode; a > low && w > 1e-40; a -= 1.0) {
        w *= a * (t->n0 - m + a) / (odds * (t->n1 - a + 1.0) * (m - a + 1.0));
        sum += w;
        first += w * (a - 1.0 - mode);
        second += w * (a - 1.0 - mode) * (a - 1.0 - mode);
    }
    *mean = mode + first / sum;
    *variance = fmax(second / sum - first / sum * (first / sum), 0.0);
}

/* Breslow-Day: a's fitted value and variance at the common odds ratio. */
static void fitted(struct strat_sums *out, const struct strat_table *t, double theta)
{
    double m = t->a + t->c, n = t->n1 + t->n0;
    if (!(m > 0.0) || !(m < n)) {
        return;
    }
    double odds = exp(theta);
    double linear = odds * (t->n1 + m) + (t->n0 - m);
    double a = 2.0 * odds * t->n1 * m /
               (linear + sqrt(linear * linear - 4.0 * t->n1 * m * odds * (odds - 1.0)));
    double v = 1.0 / (1.0 / a + 1.0 / (t->n1 - a) + 1.0 / (m - a) + 1.0 / (t->n0 - m + a));
    if (!(v > 0.0)) {
        return;
    }
    out->u = t->a - a;
    out->v = v;
    out->square = out->u * out->u / v;
    out->informative = 1.0;
}

static void ratio_terms(struct strat_sums *out, const struct strat_table *t, bool rows)
{
    double n = t->n1 + t->n0;
    out->r = t->a * (t->n0 / n);
    out->s = t->c * (t->n1 / n);
    out->v = t->n1 / n * (t->n0 / n) * (t->a + t->c) - (rows ? t->a * (t->c / n) : 0.0);
}

static void odds_terms(struct strat_sums *out, const struct strat_table *t)
{
    double n = t->n1 + t->n0, b = t->n1 - t->a, d = t->n0 - t->c, mean;
    out->r = t->a * d / n;
    out->s = b * t->c / n;
    out->pr = (t->a + d) / n * out->r;
    out->qs = (b + t->c) / n * out->s;
    central(&mean, &out->v, t);
}

static void difference_terms(struct strat_sums *out, const struct strat_table *t)
{
    double n = t->n1 + t->n0, f1 = t->n1 / n, f0 = t->n0 / n;
    out->weight = t->n1 * f0;
    out->u = t->a * f0 - t->c * f1;
    out->p = t->c * f1 * f1 - t->a * f0 * f0 + f1 * f0 * (t->n0 - t->n1) / 2.0;
    out->q = (t->a * (t->n0 - t->c) + t->c * (t->n1 - t->a)) / (2.0 * n);
}

static void peto_terms(struct strat_sums *out, const struct strat_table *t)
{
    double mean;
    central(&mean, &out->v, t);
    out->u = t->a - mean;
    out->informative = out->v > 0.0;
    out->square = out->v > 0.0 ? out->u * out->u / out->v : 0.0;
}

static void score_terms(struct strat_sums *out, const struct strat_model *model,
                        const struct strat_table *t, double theta)
{
    double mean;
    if (model->measure == STRAT_OR) {
        noncentral(&mean, &out->v, t, theta);
    } else {
        double m = t->a + t->c;
        double odds = exp(theta) * (t->n1 / t->n0);
        mean = m * odds / (1.0 + odds);
        out->v = mean / (1.0 + odds);
    }
    out->u = t->a - mean;
}

static void first_terms(struct strat_sums *out, const struct strat_model *model,
                        const struct strat_table *t)
{
    if (model->method == STRAT_PETO) {
        peto_terms(out, t);
    } else if (model->measure == STRAT_OR) {
        odds_terms(out, t);
    } else if (model->measure == STRAT_RD) {
        difference_terms(out, t);
    } else {
        ratio_terms(out, t, model->measure == STRAT_RR);
        out->log_ratio = log(t->n1) - log(t->n0);
        out->log_ratio2 = out->log_ratio * out->log_ratio;
    }
}

void strat_terms(struct strat_sums *out, const struct strat_model *model,
                 const struct strat_table *table, uint32_t round, double theta)
{
    *out = (struct strat_sums){.rows = (double)table->rows};
    if (round == 1) {
        first_terms(out, model, table);
    } else if (model->method == STRAT_CONDITIONAL) {
        score_terms(out, model, table, theta);
    } else {
        fitted(out, table, theta);
    }
}

/* ---- the order of the numbers ---- */

struct order {
    struct summary_walk *walk;
    struct nof1_element element;
};

static void put(struct order *order, const char *name, double *value)
{
    summary_visit(order->walk, name, order->element, value);
}

/* Sums that only trials with events of the right kind feed: sites feeding them are counted. */
static void put_sparse(struct order *order, const char *name, double *value)
{
    struct nof1_element element = order->element;
    element.sparse = true;
    summary_visit(order->walk, name, element, value);
}

/* Ratios of exposures are a function of the schedule, unless a covariate says them. */
static void put_ratios(struct order *order, const struct strat_model *model,
                       struct strat_sums *sums)
{
    struct nof1_element element = {.role = model->exposure < 0 ? NOF1_DESIGN : NOF1_OUTCOME,
                                   .group = -1, .bound = 0x1p30, .block = 2, .block_size = 2,
                                   .quantum = TERM_QUANTUM};
    summary_visit(order->walk, "sum log(t1/t0)", element, &sums->log_ratio);
    summary_visit(order->walk, "sum log(t1/t0)^2", element, &sums->log_ratio2);
}

static void walk_mantel_haenszel(struct order *order, const struct strat_model *model,
                                 struct strat_sums *sums)
{
    if (model->measure == STRAT_RD) {
        struct nof1_element design = {.role = NOF1_DESIGN, .group = -1, .quantum = TERM_QUANTUM,
                                      .bound = SUMMARY_MOST_ROWS};
        summary_visit(order->walk, "sum n1*n0/N", design, &sums->weight);
        put_sparse(order, "sum (a*n0-c*n1)/N", &sums->u);
        put(order, "sum P", &sums->p);
        put(order, "sum Q", &sums->q);
        return;
    }
    put_sparse(order, "sum R", &sums->r);
    put_sparse(order, "sum S", &sums->s);
    if (model->measure == STRAT_OR) {
        put(order, "sum P*R", &sums->pr);
        put(order, "sum Q*S", &sums->qs);
    }
    put(order, "sum V", &sums->v);
}

static void walk_first(struct order *order, const struct strat_model *model,
                       struct strat_sums *sums)
{
    struct nof1_element design = {.role = NOF1_DESIGN, .group = -1, .bound = SUMMARY_MOST_ROWS};
    summary_visit(order->walk, "rows", design, &sums->rows);
    if (model->method == STRAT_MH) {
        walk_mantel_haenszel(order, model, sums);
    } else if (model->method == STRAT_PETO) {
        put(order, "sum O-E", &sums->u);
        put_sparse(order, "sum V", &sums->v);
        if (model->homogeneity) {
            put(order, "sum (O-E)^2/V", &sums->square);
            put(order, "trials with V", &sums->informative);
        }
    } else {
        put_sparse(order, "sum R", &sums->r);
        put_sparse(order, "sum S", &sums->s);
        if (model->measure == STRAT_IRR) {
            put_ratios(order, model, sums);
        }
    }
}

void strat_walk(struct summary_walk *walk, const struct strat_model *model, uint32_t round,
                struct strat_sums *sums)
{
    struct order order = {walk, {.role = NOF1_OUTCOME, .group = -1, .block = 1, .block_size = 2,
                                 .bound = model->most, .quantum = TERM_QUANTUM}};
    if (round == 1) {
        walk_first(&order, model, sums);
    } else if (model->method == STRAT_CONDITIONAL) {
        put(&order, "score", &sums->u);
        put(&order, "information", &sums->v);
    } else {
        order.element.bound *= model->most; /* squared deviations over small variances */
        put(&order, "sum a-A", &sums->u);
        put(&order, "sum 1/(1/A+1/B+1/C+1/D)", &sums->v);
        put(&order, "sum (a-A)^2*(1/A+1/B+1/C+1/D)", &sums->square);
        put(&order, "trials with A", &sums->informative);
    }
}

size_t strat_size(const struct strat_model *model, uint32_t round)
{
    struct summary_walk walk = {0};
    struct strat_sums sums = {0};
    strat_walk(&walk, model, round, &sums);
    return walk.count;
}

void strat_totals(struct strat_sums *out, const struct strat_model *model,
                  const struct nof1_history *history, uint32_t round)
{
    *out = (struct strat_sums){0};
    struct summary_walk walk = {.total = history->round[round - 1].total};
    strat_walk(&walk, model, round, out);
}
