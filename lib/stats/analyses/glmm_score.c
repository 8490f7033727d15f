/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rounds of the score form of `glmm` and a trial's terms. Round 1: outcome sums by arm. Full
 * rounds: value, gradient and Hessian of the log-likelihood. Score rounds: gradient, with an
 * information matrix of the schedule beside it, which no outcome enters: that of the model
 * linearised about the fixed effects, weights averaged over the random one.
 */
#include <math.h>
#include <string.h>

#include "glmm_model.h"

static size_t pairs_of(size_t n)
{
    return n * (n + 1) / 2;
}

struct glmm_start_map glmm_start_map(const struct glmm_model *m)
{
    struct glmm_start_map map;
    map.rows = pairs_of(m->design.columns);
    map.exposure = map.rows + 2;
    map.outcome = map.exposure + (m->exposed ? 2 : 0);
    map.elements = map.outcome + 2 * (m->cuts > 0 ? m->cuts : 1);
    return map;
}

bool glmm_round_is_full(const struct glmm_model *m, uint32_t round)
{
    return round > 1 && (m->form == GLMM_NEWTON || round == m->base.max_rounds);
}

size_t glmm_round_elements(const struct glmm_model *m, uint32_t round)
{
    return round == 1                      ? glmm_start_map(m).elements
           : glmm_round_is_full(m, round) ? nof1_glmm_jet(m->parameters)
                                           : m->parameters + pairs_of(m->parameters);
}

/* ---- layout -------------------------------------------------------------------------------- */

struct element_list {
    const struct glmm_model *model;
    struct nof1_arena *arena;
    struct nof1_element *element;
    size_t count;
    bool failed;
};

/* step: 0 where terms are whole numbers */
static void add(struct element_list *list, const char *name, enum nof1_role role, double bound,
                double step, uint16_t sparse)
{
    size_t cuts = list->model->cuts;
    list->failed = list->failed || name == NULL;
    list->element[list->count++] = (struct nof1_element){
        .name = name,
        .role = role,
        .group = -1,
        .block = 0,
        .block_size = (uint16_t)(cuts > 0 ? 2 * cuts : 2),
        .sparse = sparse > 0,
        .factor = (uint16_t)(sparse > 1 ? sparse - 1 : 0),
        .bound = fmin(0x1p96, bound),
        .quantum = role == NOF1_OUTCOME ? step : 0};
}

/* Largest value of a column's parameter score factor, and whether few trials feed it. */
static double reach_of(const struct glmm_model *m, size_t parameter, uint16_t *sparse)
{
    *sparse = 0;
    if (parameter < m->cuts || parameter >= m->fixed) {
        return parameter < m->cuts ? 1 : 0x1p10; /* |u| + shifts of the mode */
    }
    const struct mixed_column *column =
        &m->design.column[parameter - m->cuts + (m->cuts > 0 ? 1 : 0)];
    *sparse = mixed_sparse(column);
    return mixed_column_bound(&m->design, column);
}

double glmm_column_reach(const struct glmm_model *m, size_t parameter)
{
    uint16_t sparse;
    if (parameter < m->cuts || parameter >= m->fixed) {
        return 1;
    }
    size_t column = parameter - m->cuts + (m->cuts > 0 ? 1 : 0);
    double reach = reach_of(m, parameter, &sparse); /* of a time it says nothing */
    return m->design.column[column].kind == MIXED_TIME ? fmin(reach, 8) : reach;
}

static double outcome_reach(const struct glmm_model *m)
{
    const struct nof1_study *study = m->base.study;
    return m->family == GLMM_POISSON ? fmax(1, study->charter->outcome[study->plan->outcome].upper)
                                     : 1;
}

static const char *parameter_name(const struct glmm_model *m, size_t parameter)
{
    static const char *const root[] = {"11", "21", "22"};
    return parameter < m->fixed ? m->name[parameter] : root[parameter - m->fixed];
}

static void add_start(struct element_list *list)
{
    const struct glmm_model *m = list->model;
    static const char *const arm[] = {"reference", "active"};
    double rows = GLMM_ROWS_MAX, y = outcome_reach(m);
    for (size_t i = 0; i < m->design.columns; i++) {
        for (size_t j = 0; j <= i; j++) {
            const struct mixed_column *a = &m->design.column[i], *b = &m->design.column[j];
            double bound = mixed_column_bound(&m->design, a) * mixed_column_bound(&m->design, b);
            add(list, nof1_arena_printf(list->arena, "design %s*%s", a->name, b->name),
                NOF1_DESIGN, rows * bound, 0, mixed_sparse(a) || mixed_sparse(b));
        }
    }
    for (size_t a = 0; a < 2; a++) {
        add(list, nof1_arena_printf(list->arena, "rows %s", arm[a]), NOF1_DESIGN, rows, 0, false);
    }
    for (size_t a = 0; a < 2 && m->exposed; a++) {
        double most = m->base.study->charter->covariate[m->exposure.covariate].upper;
        add(list, nof1_arena_printf(list->arena, "exposure %s", arm[a]), NOF1_DESIGN, rows * most,
            0, false);
    }
    for (size_t a = 0; a < 2; a++) {
        for (size_t k = 1; k <= m->cuts; k++) {
            add(list, nof1_arena_printf(list->arena, "count %s %g", arm[a],
                                        m->lower + m->quantum * (double)k),
                NOF1_OUTCOME, rows, 0, false);
        }
        if (m->cuts == 0) {
            add(list, nof1_arena_printf(list->arena, "sum %s", arm[a]), NOF1_OUTCOME, rows * y,
                0, false);
        }
    }
}

static void add_matrix(struct element_list *list, const char *what, enum nof1_role role,
                       double unit)
{
    const struct glmm_model *m = list->model;
    for (size_t i = 0; i < m->parameters; i++) {
        for (size_t j = 0; j <= i; j++) {
            uint16_t a, b;
            double bound = reach_of(m, i, &a) * reach_of(m, j, &b) * unit * unit;
            add(list, nof1_arena_printf(list->arena, "%s %s*%s", what, parameter_name(m, i),
                                        parameter_name(m, j)),
                role, bound,
                glmm_quantum(m, glmm_column_reach(m, i) * glmm_column_reach(m, j)), a || b);
        }
    }
}

nof1_rc_value glmm_score_layout(const struct glmm_model *m, uint32_t round,
                                struct nof1_arena *arena, struct nof1_layout *out)
{
    struct element_list list = {m, arena, NULL, 0, false};
    size_t elements = glmm_round_elements(m, round);
    double unit = GLMM_ROWS_MAX * outcome_reach(m) * 0x1p10;
    bool full = glmm_round_is_full(m, round);
    uint16_t sparse;
    list.element = nof1_arena_alloc(arena, elements, sizeof *list.element);
    ENSURE(list.element != NULL, NOF1_E_NO_MEMORY);
    if (round == 1) {
        add_start(&list);
    } else {
        if (full) {
            add(&list, "log likelihood", NOF1_OUTCOME, unit * 0x1p20, glmm_quantum(m, 1),
                false);
        }
        for (size_t i = 0; i < m->parameters; i++) {
            double reach = reach_of(m, i, &sparse);
            add(&list, nof1_arena_printf(arena, "score %s", parameter_name(m, i)), NOF1_OUTCOME,
                unit * reach, glmm_quantum(m, glmm_column_reach(m, i)), sparse);
        }
        add_matrix(&list, full ? "hessian" : "information", full ? NOF1_OUTCOME : NOF1_DESIGN,
                   unit);
    }
    ENSURE(!list.failed, NOF1_E_NO_MEMORY);
    ENSURE(list.count == elements, NOF1_E_BUG);
    *out = (struct nof1_layout){list.count, list.element};
    return NOF1_OK;
}

/* ---- one trial ----------------------------------------------------------------------------- */

int glmm_score_group_of(const struct glmm_model *m, const struct nof1_trial *trial, void *scratch)
{
    struct glmm_rows rows;
    (void)glmm_rows_of(&rows, m, trial, scratch); /* no outcome: refused on contributing */
    bool both = rows.series.n[0] > 0 && rows.series.n[1] > 0;
    return rows.series.rows > 0 && (both || m->base.study->charter->any_arm) ? 0 : NOF1_LEFT_OUT;
}

static void write_start(double *out, const struct glmm_model *m, const struct glmm_rows *rows)
{
    struct glmm_start_map map = glmm_start_map(m);
    size_t n = rows->series.rows, width = m->design.columns, step = m->cuts > 0 ? m->cuts : 1;
    memset(out, 0, map.elements * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        size_t arm = rows->series.arm[i] != 0 ? 1 : 0, at = 0;
        for (size_t c = 0; c < width; c++) {
            for (size_t d = 0; d <= c; d++) {
                out[at++] += rows->column[c * n + i] * rows->column[d * n + i];
            }
        }
        out[map.rows + arm] += 1;
        if (m->exposed) {
            out[map.exposure + arm] += exp(rows->exposure[i]);
        }
        if (m->cuts == 0) {
            out[map.outcome + arm] += rows->outcome[i];
        } else if (rows->outcome[i] > 0) {
            out[map.outcome + arm * step + (size_t)rows->outcome[i] - 1] += 1;
        }
    }
}

/* Expected information of one row about fixed effects (out, packed), its products with the random
 * effect's own (along) and that (returned), at the predictor eta without thresholds. */
static double binary_information(double *out, double *along, const struct glmm_model *m,
                                 const double *x, double eta, double weight)
{
    double e = exp(-fabs(eta));
    double w = weight * (m->family == GLMM_POISSON ? exp(eta) : e / ((1 + e) * (1 + e)));
    for (size_t i = 0, at = 0; i < m->fixed; i++) {
        along[i] += w * x[i];
        for (size_t j = 0; j <= i; j++) {
            out[at++] += w * x[i] * x[j];
        }
    }
    return w;
}

static double logistic(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

/* The same for an ordinal row: sum over categories of d d' / probability, d its derivatives. */
static double ordinal_information(double *out, double *along, const struct glmm_model *m,
                                  const double *x, const double *theta, double eta, double weight)
{
    double below = 0, slope = 0, total = 0, d[GLMM_PARAMETERS_MAX];
    for (size_t k = 0; k <= m->cuts; k++) {
        double g = k < m->cuts ? logistic(theta[k] + eta) : 1, steep = g * (1 - g);
        double chance = g - below, change = steep - slope;
        memset(d, 0, m->cuts * sizeof *d);
        if (k < m->cuts) {
            d[k] = steep;
        }
        if (k > 0) {
            d[k - 1] = -slope;
        }
        for (size_t i = m->cuts; i < m->fixed; i++) {
            d[i] = change * x[i];
        }
        double w = chance > 1e-12 ? weight / chance : 0;
        for (size_t i = 0, at = 0; i < m->fixed; i++) {
            along[i] += w * change * d[i];
            for (size_t j = 0; j <= i; j++) {
                out[at++] += w * d[i] * d[j];
            }
        }
        total += w * change * change;
        below = g;
        slope = steep;
    }
    return total;
}

/* The row's columns and predictor; thresholds are left to the categories. */
static double row_predictor(double *x, const struct glmm_model *m, const struct glmm_rows *rows,
                            const double *theta, size_t row)
{
    size_t first = m->cuts > 0 ? 1 : 0;
    double eta = rows->exposure[row];
    for (size_t c = first; c < m->design.columns; c++) {
        size_t i = m->cuts + c - first;
        x[i] = (m->cuts > 0 ? -1 : 1) * rows->column[c * rows->series.rows + row];
        eta += x[i] * theta[i];
    }
    return eta;
}

struct square { /* 2 x 2, symmetric */
    double a, b, c; /* 11, 21, 22 */
};

/* m k m */
static struct square sandwich(struct square m, struct square k)
{
    double p = m.a * k.a + m.b * k.b, q = m.a * k.b + m.b * k.c; /* first row of m k */
    double r = m.b * k.a + m.c * k.b, s = m.b * k.b + m.c * k.c;
    return (struct square){p * m.a + q * m.b, r * m.a + s * m.b, r * m.b + s * m.c};
}

/* tr(m x m y) */
static double trace_of(struct square m, struct square x, struct square y)
{
    struct square z = sandwich(m, x);
    return z.a * y.a + 2 * z.b * y.b + z.c * y.c;
}

/* (G^-1 + w)^-1 = S (1 + S w S)^-1 S for covariances G = S S of any rank. */
static struct square condition(struct square root, struct square w)
{
    struct square t = sandwich(root, w);
    double a = 1 + t.a, c = 1 + t.c, det = a * c - t.b * t.b;
    return sandwich(root, (struct square){c / det, -t.b / det, a / det});
}

/* 1/2 tr(M dG_i M dG_j) for the entries of the root of G, M = Z' V^-1 Z. */
static void root_information(double *out, const struct glmm_model *m, struct square root,
                             struct square m_z)
{
    const struct square change[3] = {{2 * root.a, root.b, 0},
                                     {2 * root.b, root.a + root.c, 2 * root.b},
                                     {0, root.b, 2 * root.c}};
    size_t p = m->fixed;
    for (size_t i = 0; i < m->parameters - p; i++) {
        for (size_t j = 0; j <= i; j++) {
            out[pairs_of(p + i) + p + j] = trace_of(m_z, change[i], change[j]) / 2;
        }
    }
}

/* Of the model linearised about the fixed effects, with weights averaged over the random ones at
 * -sqrt(3), 0, sqrt(3) sd of their sum in the row's arm. Reads no outcome. */
static void write_information(double *out, const struct glmm_model *m, const struct glmm_rows *rows,
                              const double *theta)
{
    size_t p = m->fixed;
    bool slope = m->shape.effects == 2;
    struct square root = {theta[p], slope ? theta[p + 1] : 0, slope ? theta[p + 2] : 0};
    double sd[2] = {hypot(root.a, root.b), hypot(root.a + root.b, root.b + root.c)};
    double total[2] = {0}, along[2][GLMM_PARAMETERS_MAX] = {{0}}, x[GLMM_PARAMETERS_MAX];
    memset(out, 0, pairs_of(m->parameters) * sizeof *out);
    for (size_t row = 0; row < rows->series.rows; row++) {
        double eta = row_predictor(x, m, rows, theta, row);
        size_t arm = slope && rows->series.arm[row] != 0 ? 1 : 0;
        for (int k = -1; k <= 1; k++) {
            double at = eta + sqrt(3) * sd[arm] * k, weight = (k == 0 ? 4.0 : 1.0) / 6;
            total[arm] += m->cuts > 0
                              ? ordinal_information(out, along[arm], m, x, theta, at, weight)
                              : binary_information(out, along[arm], m, x, at, weight);
        }
    }
    struct square w = {total[0] + total[1], total[1], total[1]}, k = condition(root, w);
    for (size_t i = 0, at = 0; i < p; i++) {
        double all = along[0][i] + along[1][i], active = along[1][i];
        double left = k.a * all + k.b * active, right = k.b * all + k.c * active;
        for (size_t j = 0; j <= i; j++) {
            out[at++] -= left * (along[0][j] + along[1][j]) + right * along[1][j];
        }
    }
    struct square less = sandwich(w, k);
    root_information(out, m, root, (struct square){w.a - less.a, w.b - less.b, w.c - less.c});
}

nof1_rc_value glmm_score_contribute(const struct glmm_model *m, uint32_t round, const double *theta,
                                    const struct nof1_trial *trial, void *scratch, double *out)
{
    struct glmm_rows rows;
    ENSURE(glmm_rows_of(&rows, m, trial, scratch), NOF1_E2403);
    if (round == 1) {
        write_start(out, m, &rows);
        return NOF1_OK;
    }
    glmm_cells_of(&rows, m, scratch, trial->rows);
    if (glmm_round_is_full(m, round)) {
        ENSURE(glmm_jet_of(out, m, &rows, theta), NOF1_E2403);
        return NOF1_OK;
    }
    /* the last of the jets that the likelihood itself leaves alone */
    double *jet = rows.memory + nof1_glmm_memory(&m->shape, rows.cells.cells) -
                  nof1_glmm_jet(m->parameters);
    ENSURE(glmm_jet_of(jet, m, &rows, theta), NOF1_E2403);
    memcpy(out, jet + 1, m->parameters * sizeof *out);
    write_information(out + m->parameters, m, &rows, theta);
    return NOF1_OK;
}

/* ---- weights ------------------------------------------------------------------------------- */

/* Of the treatment's diagonal in the packed information. */
static size_t weight_place(const struct glmm_model *m)
{
    for (size_t i = m->cuts; i < m->fixed; i++) {
        const struct mixed_column *column = &m->design.column[i - m->cuts + (m->cuts > 0 ? 1 : 0)];
        if (column->kind == MIXED_TREATMENT && !column->by_treatment) {
            return pairs_of(i) + i;
        }
    }
    return 0;
}

double glmm_weight(const struct glmm_model *m, const double *theta, const struct nof1_trial *trial,
                   void *scratch)
{
    struct glmm_rows rows;
    if (m->form != GLMM_SCORE) {
        return 1; /* other forms ask about a parameter in an open lab only, which has no such rule
                   */
    }
    if (!glmm_rows_of(&rows, m, trial, scratch)) {
        return 0; /* refused on contributing */
    }
    glmm_cells_of(&rows, m, scratch, trial->rows);
    write_information(rows.memory, m, &rows, theta);
    return fmax(0, rows.memory[weight_place(m)]);
}

size_t glmm_weight_element(const struct glmm_model *m)
{
    return m->form == GLMM_SCORE ? m->parameters + weight_place(m) : NOF1_NO_ELEMENT;
}
