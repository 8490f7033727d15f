/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pool form: any missingness without classes. A trial's difference d of period means has
 * variance sigma^2 (Gamma + u), u = 1/k_A + 1/k_B; with the squares within arms it carries the
 * restricted likelihood of `y ~ 0 + trial + treatment + (0 + treatment | trial)` on period means.
 * One round releases sum w d and sum w d^2 for R public weights w = 1/(lambda_r + u); how many
 * trials have which u is known from the census. The sums by u are completed by least squares about
 * their expectation, which is exact when there are no more patterns than weights. Then score rounds
 * (3 numbers each) correct the rest, with the completed likelihood as their Hessian.
 */
#include <float.h>
#include <math.h>
#include <stats/matrix.h>
#include <stdio.h>
#include <string.h>

#include "mixed.h"

#define POOL_ROUNDS 12  /* after a basis round */
#define PLAIN_ROUNDS 24 /* without one */
#define POOL_LARGE 19 /* patients from which a third weight pays */
#define WEIGHTS_MAX 3

static const char *const all_groups[] = {"all"};
static const struct mixed_column treatment_only[] = {
    {.kind = MIXED_TREATMENT, .name = "treatment"}};

static double unit_of(const size_t k[2])
{
    return 1 / (double)k[0] + 1 / (double)k[1];
}

/* ---- what is public ------------------------------------------------------------------------ */

/* Patterns of the census; 0 when they do not describe this plan's trials. */
static size_t find_patterns(struct mixed_cell *pattern, const struct nof1_study *study)
{
    const struct nof1_charter *charter = study->charter;
    size_t count = 0;
    if (charter->treatments != 2 || study->plan->strata > 0) {
        return 0;
    }
    for (uint32_t a = 1; a <= charter->max_periods; a++) {
        for (uint32_t b = 1; b <= charter->max_periods; b++) {
            char name[64];
            snprintf(name, sizeof name, "pattern:%u:%u", a, b);
            uint64_t trials = mixed_census(study, name);
            if (trials > 0) {
                pattern[count++] = (struct mixed_cell){NULL, {a, b}, NULL, NULL, trials};
            }
        }
    }
    return count;
}

/* Trials of equal weight at every lambda: the sums can be solved for them, as if they were released
 * class by class, once there are as many sums as classes. Returns their number; *knowable: sum d
 * and sum d^2 of each, one number when the class is one trial. */
static size_t weight_classes(const struct mixed_model *m, double *knowable)
{
    size_t classes = 0;
    *knowable = 0;
    for (size_t g = 0; g < m->patterns; g++) {
        const size_t *n = m->pattern[g].n;
        uint64_t trials = 0;
        bool first = true;
        for (size_t h = 0; h < m->patterns; h++) {
            const size_t *k = m->pattern[h].n;
            bool same = (n[0] + n[1]) * k[0] * k[1] == (k[0] + k[1]) * n[0] * n[1];
            first = first && !(same && h < g);
            trials += same ? m->pattern[h].trials : 0;
        }
        if (first) {
            classes += 1;
            *knowable += trials == 1 ? 1 : 2;
        }
    }
    return classes;
}

double mixed_knowable(const struct nof1_study *study, struct nof1_arena *arena, size_t effects)
{
    size_t periods = study->charter->max_periods;
    struct mixed_cell *pattern = nof1_arena_alloc(arena, periods * periods + 1, sizeof *pattern);
    size_t patterns = pattern == NULL ? 0 : find_patterns(pattern, study);
    double all = (double)(effects + effects * (effects + 1) / 2), knowable = 0;
    for (size_t g = 0; g < patterns; g++) {
        knowable += fmin(all, (double)effects * (double)pattern[g].trials);
    }
    return knowable;
}

/* Outside an open lab: fewer sums than would solve for the weight classes, because a class may be
 * one patient: fewer linear and fewer quadratic sums than classes, together at most two thirds of
 * what can be known. A round has one linear and two quadratic sums. */
static nof1_rc keep_unsolvable(struct mixed_model *m, struct nof1_error *error)
{
    double knowable;
    size_t classes = weight_classes(m, &knowable);
    m->basis = classes > 0 && m->basis > classes - 1 ? classes - 1 : m->basis;
    double room = 2.0 / 3.0 * knowable - 2 * (double)m->basis;
    if (m->basis < 2 || room < 0) {
        return nof1_fail(
            error, NOF1_E_PLAN,
            "incomplete: pool: with so few patterns of missing periods its sums could "
            "be solved for single patterns; write cycles, or analysis: random_effects");
    }
    double rounds = 1 + fmin(floor(room / 3), floor((double)(classes - 1 - m->basis) / 2));
    /* Rounded terms leave nothing to correct. */
    rounds = mixed_term_step(m->base.study) > 0 ? 1 : rounds;
    m->base.max_rounds = (uint32_t)fmin((double)m->base.max_rounds, rounds);
    return NOF1_OK;
}

static nof1_rc afford(struct mixed_model *m, struct nof1_error *error)
{
    const struct nof1_study *study = m->base.study;
    const struct nof1_charter *charter = study->charter;
    double patients = (double)mixed_census(study, "patients");
    m->basis = m->patterns == 0 ? 0 : patients >= POOL_LARGE ? 3 : 2;
    m->basis = m->basis > charter->lambdas ? charter->lambdas : m->basis;
    uint32_t limit = m->basis > 0 ? POOL_ROUNDS : PLAIN_ROUNDS;
    m->base.max_rounds = limit;
    if (charter->limits.open || study->census == NULL) {
        return NOF1_OK;
    }
    double room = nof1_study_room(study, patients);
    if (room < 2 * (double)m->basis) {
        m->basis = 2 < charter->lambdas ? 2 : charter->lambdas;
    }
    double rounds = floor((room - 2 * (double)m->basis) / 3) + (m->basis > 0 ? 1 : 0);
    if (rounds < 1 || (m->basis == 0 && rounds < 5)) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "incomplete: pool needs more patients for this release ratio; "
                         "random_effects has a form with fewer numbers");
    }
    double most = charter->limits.max_rounds_query > 0 ? charter->limits.max_rounds_query : rounds;
    m->base.max_rounds = (uint32_t)fmin(limit, fmin(rounds, most));
    return keep_unsolvable(m, error);
}

nof1_rc_value mixed_pool_prepare(struct mixed_model *m, struct nof1_arena *arena,
                                 struct nof1_error *error)
{
    const struct nof1_study *study = m->base.study;
    size_t periods = study->charter->max_periods;
    struct mixed_cell *pattern = nof1_arena_alloc(arena, periods * periods + 1, sizeof *pattern);
    ENSURE(pattern != NULL, NOF1_E_NO_MEMORY);
    m->form = MIXED_POOL;
    m->columns = 1;
    m->column = treatment_only;
    m->effects = m->terms = 1;
    m->shape = (struct nof1_gaussian_shape){.columns = 2, .effects = 1};
    m->start[0] = 0.7;
    m->pattern = pattern;
    m->patterns = find_patterns(pattern, study);
    TRY(afford(m, error));
    m->base.form = "pool";
    m->base.groups = 1;
    m->base.group = all_groups;
    m->base.group_is_class = false;
    m->base.fixed_parameters = 1;
    m->base.max_elements = mixed_score_elements(m) + 1;
    if (m->base.max_elements < 2 * m->basis + 2) {
        m->base.max_elements = 2 * m->basis + 2;
    }
    m->formula = nof1_arena_printf(
        arena, "%s ~ 0 + trial + treatment + (0 + treatment | trial), period means",
        study->plan->outcome_name);
    ENSURE(m->formula != NULL, NOF1_E_NO_MEMORY);
    return NOF1_OK;
}

static bool is_basis_round(const struct mixed_model *m, uint32_t round)
{
    return m->basis > 0 && round == 1;
}

/* ---- one trial ----------------------------------------------------------------------------- */

static void difference_of(struct nof1_period_difference *d, const struct mixed_model *m,
                          const struct nof1_trial *trial, void *scratch)
{
    struct nof1_series series;
    nof1_series_of(&series, m->base.study, trial, scratch);
    nof1_period_difference(d, &series);
}

static int pool_group_of(const struct mixed_model *m, const struct nof1_trial *trial,
                         void *scratch)
{
    struct nof1_period_difference d;
    difference_of(&d, m, trial, scratch);
    return d.k[0] > 0 && d.k[1] > 0 ? 0 : NOF1_LEFT_OUT;
}

static nof1_rc_value pool_layout(const struct mixed_model *m, uint32_t round,
                                 struct nof1_arena *arena, struct nof1_layout *out)
{
    struct nof1_layout score = {0, NULL};
    if (!is_basis_round(m, round)) {
        TRY(mixed_score_layout(m, arena, &score));
    }
    struct nof1_element *element =
        nof1_arena_alloc(arena, m->base.max_elements + 1, sizeof *element);
    ENSURE(element != NULL, NOF1_E_NO_MEMORY);
    element[0] = (struct nof1_element){.name = "log periods", .role = NOF1_DESIGN, .group = -1,
                                       .block_size = 1, .bound = 64};
    size_t count = 1;
    for (size_t e = 0; e < score.elements; e++) {
        element[count++] = score.element[e];
    }
    double d = 2 * m->reach, step = mixed_term_step(m->base.study);
    for (size_t r = 0; r < m->basis && is_basis_round(m, round); r++) {
        double lambda = m->base.study->charter->lambda[r], weight = 1 / fmax(lambda, 0x1p-20);
        weight = fmin(weight, m->base.study->charter->max_periods + 1.0);
        for (int power = 1; power <= 2; power++) {
            const char *name = nof1_arena_printf(arena, "lambda:%g/sum w*%s", lambda,
                                                 power == 1 ? "d" : "d*d");
            ENSURE(name != NULL, NOF1_E_NO_MEMORY);
            element[count++] =
                (struct nof1_element){.name = name, .role = NOF1_OUTCOME, .group = -1,
                                      .block_size = 1,
                                      .bound = fmin(0x1p96, weight * (power == 1 ? d : d * d)),
                                      .quantum = power == 1 ? step : step * step};
        }
    }
    if (is_basis_round(m, round)) {
        double rows = 2 * m->base.study->charter->max_periods + 2;
        element[count++] = (struct nof1_element){.name = "within y*y", .role = NOF1_OUTCOME,
                                                 .group = -1, .block = 1, .block_size = 1,
                                                 .sparse = true, /* not by one row an arm */
                                                 .bound = fmin(0x1p96, rows * d * d)};
    }
    *out = (struct nof1_layout){count, element};
    return NOF1_OK;
}

/* The trial as one contrast with root 1/sqrt(u) and the squares within arms. */
static void score_terms(double *out, const struct mixed_model *m, const double *theta,
                        const struct nof1_period_difference *d, double *memory)
{
    struct nof1_gaussian_shape shape = {.columns = 2, .effects = 1};
    struct nof1_gaussian_sums sums;
    double gamma = theta[2] * theta[2], weight = 1 / unit_of(d->k);
    double r = (d->d - theta[0]) - theta[1];
    double between[4] = {weight, weight * r, weight * r, weight * r * r};
    double residual[4] = {0, 0, 0, d->ss};
    struct nof1_gaussian_group group = {
        .trials = 1, .rows = (double)(d->k[0] + d->k[1]) - 1, .rank = 1, .root = {sqrt(weight)},
        .between = between};
    nof1_gaussian_sums_place(&sums, &shape, memory);
    nof1_gaussian_add(&sums, &shape, &gamma, &group, residual, NULL);
    mixed_score_write(out, m, &sums);
}

static nof1_rc_value pool_contribute(const struct mixed_model *m, uint32_t round,
                                     const double *theta, const struct nof1_trial *trial,
                                     void *scratch, double *out)
{
    struct nof1_period_difference d;
    difference_of(&d, m, trial, scratch);
    ENSURE(d.k[0] > 0 && d.k[1] > 0, NOF1_E_BUG);
    ENSURE(isfinite(d.d * d.d) && isfinite(d.ss), NOF1_E2403);
    *out++ = log((double)(d.k[0] + d.k[1]));
    if (!is_basis_round(m, round)) {
        score_terms(out, m, theta, &d, scratch);
        return NOF1_OK;
    }
    for (size_t r = 0; r < m->basis; r++) {
        double weight = 1 / (m->base.study->charter->lambda[r] + unit_of(d.k));
        *out++ = weight * d.d;
        *out++ = weight * d.d * d.d;
    }
    *out = d.ss;
    return NOF1_OK;
}

const struct mixed_slots mixed_pool_slots = {pool_group_of, pool_layout, pool_contribute};

/* ---- completing the sums by pattern -------------------------------------------------------- */

struct completion {
    const struct mixed_model *model;
    const double *total;   /* of the basis round, from the first weighted sum */
    double *d, *dd;        /* [patterns] sum d, sum d^2 */
    struct nof1_gaussian_group *group;
    double *between;       /* [patterns * 4] */
    double residual[4];
    struct mixed_totals totals;
};

/* value_g = expected_g + M_g sum_r alpha_r w_r(u_g) with sum_g w_r(u_g) value_g = released_r: the
 * least change, in the metric M, that agrees with the release. */
static void complete(double *value, const struct completion *c, const double *metric,
                     const double *released, size_t stride)
{
    const struct mixed_model *m = c->model;
    const double *lambda = m->base.study->charter->lambda;
    size_t r = m->basis;
    double gram[WEIGHTS_MAX * WEIGHTS_MAX] = {0}, inverse[WEIGHTS_MAX * WEIGHTS_MAX];
    double work[3 * WEIGHTS_MAX * WEIGHTS_MAX + 2 * WEIGHTS_MAX], gap[WEIGHTS_MAX];
    for (size_t i = 0; i < r; i++) {
        gap[i] = released[i * stride];
        for (size_t g = 0; g < m->patterns; g++) {
            double u = unit_of(m->pattern[g].n), w = 1 / (lambda[i] + u);
            gap[i] -= w * value[g];
            for (size_t j = 0; j < r; j++) {
                gram[i * r + j] += metric[g] * w / (lambda[j] + u);
            }
        }
    }
    (void)nof1_symmetric_pseudo_inverse(inverse, gram, r, 1e-13, work);
    for (size_t g = 0; g < m->patterns; g++) {
        double u = unit_of(m->pattern[g].n);
        for (size_t i = 0; i < r; i++) {
            for (size_t j = 0; j < r; j++) {
                value[g] += metric[g] / (lambda[i] + u) * inverse[i * r + j] * gap[j];
            }
        }
    }
}

/* Expectation at (mu, sigma2, gamma), then completion. */
static void complete_all(struct completion *c, double mu, double sigma2, double gamma,
                         double *metric)
{
    const struct mixed_model *m = c->model;
    for (size_t g = 0; g < m->patterns; g++) {
        double n = (double)m->pattern[g].trials;
        metric[g] = n * (gamma + unit_of(m->pattern[g].n));
        c->d[g] = n * mu;
    }
    complete(c->d, c, metric, c->total, 2);
    for (size_t g = 0; g < m->patterns; g++) {
        double spread = gamma + unit_of(m->pattern[g].n), n = (double)m->pattern[g].trials;
        metric[g] = n * spread * spread;
        c->dd[g] = n * (mu * mu + sigma2 * spread);
    }
    complete(c->dd, c, metric, c->total + 1, 2);
    for (size_t g = 0; g < m->patterns; g++) {
        double weight = 1 / unit_of(m->pattern[g].n), n = (double)m->pattern[g].trials;
        double *between = c->between + 4 * g;
        between[0] = weight * n;
        between[1] = between[2] = weight * c->d[g];
        between[3] = weight * c->dd[g];
    }
}

static nof1_rc completion_new(struct completion *c, const struct mixed_model *m,
                              const struct nof1_round_total *round, struct nof1_arena *arena)
{
    size_t n = m->patterns;
    double *memory = nof1_arena_alloc(arena, 6 * n + 1, sizeof *memory);
    memset(c, 0, sizeof *c);
    c->group = nof1_arena_alloc(arena, n, sizeof *c->group);
    ENSURE(memory != NULL && c->group != NULL, NOF1_E_NO_MEMORY);
    c->model = m;
    c->total = round->total + 1;
    c->d = memory;
    c->dd = memory + n;
    c->between = memory + 2 * n;
    c->residual[3] = round->total[1 + 2 * m->basis];
    for (size_t g = 0; g < n; g++) {
        double weight = 1 / unit_of(m->pattern[g].n);
        double rows = (double)(m->pattern[g].n[0] + m->pattern[g].n[1]) - 1;
        c->group[g] = (struct nof1_gaussian_group){
            .trials = (double)m->pattern[g].trials, .rows = rows, .rank = 1,
            .root = {sqrt(weight)}, .between = c->between + 4 * g};
    }
    c->totals =
        (struct mixed_totals){{.columns = 2, .effects = 1}, n, c->group, c->residual, NULL};
    return NOF1_OK;
}

/* Largest relative distance of the weight at gamma from the span of the released ones. */
static double span_gap(const struct mixed_model *m, double gamma)
{
    const double *lambda = m->base.study->charter->lambda;
    size_t r = m->basis;
    double gram[WEIGHTS_MAX * WEIGHTS_MAX] = {0}, inverse[WEIGHTS_MAX * WEIGHTS_MAX];
    double work[3 * WEIGHTS_MAX * WEIGHTS_MAX + 2 * WEIGHTS_MAX], right[WEIGHTS_MAX] = {0};
    for (size_t g = 0; g < m->patterns; g++) {
        double u = unit_of(m->pattern[g].n), n = (double)m->pattern[g].trials;
        for (size_t i = 0; i < r; i++) {
            right[i] += n / ((lambda[i] + u) * (gamma + u));
            for (size_t j = 0; j < r; j++) {
                gram[i * r + j] += n / ((lambda[i] + u) * (lambda[j] + u));
            }
        }
    }
    (void)nof1_symmetric_pseudo_inverse(inverse, gram, r, 1e-13, work);
    double worst = 0;
    for (size_t g = 0; g < m->patterns; g++) {
        double u = unit_of(m->pattern[g].n), value = 0;
        for (size_t i = 0; i < r; i++) {
            for (size_t j = 0; j < r; j++) {
                value += inverse[i * r + j] * right[j] / (lambda[i] + u);
            }
        }
        worst = fmax(worst, fabs(1 - value * (gamma + u)));
    }
    return worst;
}

static nof1_rc fit_basis(struct mixed_fit *fit, struct completion *c, const struct mixed_model *m,
                         const struct nof1_history *history, struct nof1_arena *arena,
                         struct nof1_error *error)
{
    double trials = (double)history->counts.trials, known = 0, base = 0, within = 0;
    double *metric = nof1_arena_alloc(arena, m->patterns, sizeof *metric);
    ENSURE(metric != NULL, NOF1_E_NO_MEMORY);
    TRY(completion_new(c, m, &history->round[0], arena));
    for (size_t g = 0; g < m->patterns; g++) {
        double n = (double)m->pattern[g].trials;
        known += n;
        base += n / (m->base.study->charter->lambda[0] + unit_of(m->pattern[g].n));
        within += n * ((double)(m->pattern[g].n[0] + m->pattern[g].n[1]) - 2);
    }
    if (known != trials) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "the census does not count these trials; freeze again");
    }
    double mu = c->total[0] / base, gamma = 0.5;
    double sigma2 = within > 0 ? c->residual[3] / within : 1;
    for (int i = 0; i < 30; i++) {
        complete_all(c, mu, sigma2, gamma, metric);
        TRY(mixed_totals_fit(m, &c->totals, trials, arena, fit, error));
        double change = fabs(fit->gamma[0] - gamma) / (1 + gamma);
        mu = fit->beta[0];
        sigma2 = fit->sigma2;
        gamma = fit->gamma[0];
        if (change < 1e-12) {
            break;
        }
    }
    double gap = span_gap(m, gamma);
    /* Rounding errs by step / sqrt(12) a trial, and an average trial weighs as the others do. */
    double step = mixed_term_step(m->base.study) / sqrt(12 * fmax(sigma2, DBL_MIN));
    fit->approximation = (gap < 1e-10 ? 0 : gap * sqrt(fit->point.n)) + step * sqrt(fit->point.n);
    return NOF1_OK;
}

/* ---- rounds -------------------------------------------------------------------------------- */

/* The completed likelihood's exact Hessian in (mu, S) at a visited point. */
static nof1_rc borrow_hessian(struct nof1_evaluation *e, const struct mixed_visit *v,
                              const struct completion *c, struct nof1_arena *arena)
{
    struct nof1_gaussian_shape shape = {.columns = 2, .effects = 1};
    struct nof1_gaussian_sums sums;
    struct nof1_gaussian_point point;
    double *memory = nof1_arena_alloc(arena, nof1_gaussian_sums_size(&shape) + 4, sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    const struct nof1_gaussian_point *exact = &v->fit.point;
    nof1_gaussian_sums_place(&sums, &shape, memory + 4);
    for (size_t g = 0; g < c->totals.groups; g++) {
        nof1_gaussian_add(&sums, &shape, exact->gamma, &c->totals.group[g],
                          g == 0 ? c->residual : NULL, NULL);
    }
    if (nof1_gaussian_point(&point, arena, &sums, &shape, exact->gamma, true, true) != NOF1_OK) {
        return NOF1_OK; /* keep the expected Hessian */
    }
    double a[2] = {-v->x[0], 1}, s2 = exact->sigma2, n = exact->n, root = v->x[1];
    double information = point.expected[0] + point.trace[0] * point.trace[0] / point.n;
    double cubic = nof1_bilinear(a, sums.second[0], a, 2);
    double across = sums.first[0][0] * a[0] + sums.first[0][1] * a[1];
    double score = exact->score[0], square = exact->square[0];
    double mm = 2 * exact->c[0] / s2 - 4 * score * score / (s2 * s2 * n);
    double mg = 2 * across / s2 - 2 * score * square / (s2 * s2 * n);
    double gg = 2 * cubic / s2 - information - square * square / (s2 * s2 * n);
    memory[0] = mm;
    memory[1] = memory[2] = 2 * root * mg;
    memory[3] = 4 * root * root * gg + 2 * exact->slope[0];
    e->hessian = memory;
    return NOF1_OK;
}

static nof1_rc visit_all(struct mixed_visit *visit, struct nof1_evaluation *evaluation,
                         const struct mixed_model *m, const struct nof1_history *history,
                         size_t first, const struct completion *c, struct nof1_arena *arena,
                         struct nof1_error *error)
{
    for (size_t r = first; r < history->rounds; r++) {
        struct nof1_round_total total = history->round[r];
        total.total++; /* after "log periods" */
        TRY(mixed_score_visit(&visit[r - first], &evaluation[r - first], m, &total,
                              (double)history->counts.trials, arena, error));
        if (c != NULL) {
            TRY(borrow_hessian(&evaluation[r - first], &visit[r - first], c, arena));
        }
    }
    return NOF1_OK;
}

static const size_t only_column[] = {0};

static nof1_rc next_round(const struct mixed_model *m, const struct nof1_history *history,
                          size_t first, const struct completion *c, struct nof1_arena *arena,
                          struct nof1_next *next, struct mixed_fit *fit, struct nof1_error *error)
{
    size_t rounds = history->rounds - first;
    struct mixed_visit *visit = nof1_arena_alloc(arena, rounds, sizeof *visit);
    struct nof1_evaluation *evaluation = nof1_arena_alloc(arena, rounds, sizeof *evaluation);
    ENSURE(visit != NULL && evaluation != NULL, NOF1_E_NO_MEMORY);
    TRY(visit_all(visit, evaluation, m, history, first, c, arena, error));
    struct nof1_ask ask;
    TRY(nof1_ask(&ask, arena, evaluation, rounds, 2, 1, 1, 1));
    const struct mixed_visit *best = &visit[ask.best];
    next->done = ask.decrement < 1e-18 || history->rounds >= m->base.max_rounds;
    if (next->done) {
        double approximation = fit->approximation;
        TRY(mixed_score_conclude(fit, m, best, &ask, arena));
        if (c != NULL) { /* what the weights guarantee may be the better bound */
            fit->approximation = fmin(approximation, fit->approximation);
        }
        return NOF1_OK;
    }
    double x[2] = {0, 0};
    for (size_t i = 0; i < 2; i++) {
        x[i] = best->x[i] + ask.fraction * ask.step[i];
    }
    x[1] = fabs(x[1]);
    TRY(mixed_refuse_root(x + 1, m, m->root_limit, error));
    return mixed_score_propose(next, m, only_column, 1, x, arena);
}

static nof1_rc start_round(struct nof1_next *next, const struct mixed_model *m, double mu,
                           double root, struct nof1_arena *arena)
{
    double x[2] = {mu, fmax(fabs(root), 1e-3)}; /* off the boundary, where the slope is 0 */
    return mixed_score_propose(next, m, only_column, 1, x, arena);
}

nof1_rc_value mixed_pool_advance(const struct mixed_model *m, const struct nof1_history *history,
                                 struct nof1_arena *arena, struct nof1_next *next,
                                 struct mixed_fit *fit, struct nof1_error *error)
{
    size_t first = m->basis > 0 ? 1 : 0;
    struct completion c;
    next->done = false;
    if (history->rounds == 0) {
        return first == 1 ? NOF1_OK : start_round(next, m, 0, m->start[0], arena);
    }
    if (first == 1) {
        TRY(fit_basis(fit, &c, m, history, arena, error));
        next->done = fit->approximation == 0 || m->base.max_rounds == 1;
        if (!next->done && history->rounds == 1) {
            return start_round(next, m, fit->beta[0], fit->root[0], arena);
        }
    }
    if (!next->done) {
        TRY(next_round(m, history, first, first == 1 ? &c : NULL, arena, next, fit, error));
    }
    fit->absorbed = (double)history->counts.trials;
    fit->constant = history->round[0].total[0];
    return NOF1_OK;
}
