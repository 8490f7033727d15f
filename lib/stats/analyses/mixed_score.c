/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The score form: the model as written, any missingness. Parameters of a round: beta (in two parts,
 * so that 40 significant bits each give all of a double) and S, Gamma = S^2. Released: the p + m
 * outcome sums X'H^-1 r, r'H^-1 V_j H^-1 r, r'H^-1 r, and the design sums from which criterion,
 * expected information and Kenward-Roger follow. sigma^2 is no parameter: its optimum is known.
 * The last step is taken at the coordinator and never released.
 */
#include <math.h>
#include <stats/matrix.h>
#include <string.h>

#include "mixed.h"

#define FAR 0.05 /* decrement above which the model of second order is not trusted */
#define RHO_LIMIT 14 /* of car1: rho is within 1e-6 of 0 or 1, where its scale has no end */

static size_t pairs_of(size_t n)
{
    return n * (n + 1) / 2;
}

/* Offsets into the elements of a round. */
struct map {
    size_t trace, trace2, cross, first, second, score, square, residual, elements;
};

static struct map map_of(const struct mixed_model *m)
{
    size_t p = pairs_of(m->columns), terms = m->terms;
    struct map map;
    map.trace = 3;
    map.trace2 = map.trace + terms;
    map.cross = map.trace2 + pairs_of(terms);
    map.first = map.cross + p;
    map.second = map.first + terms * p;
    map.score = map.second + pairs_of(terms) * p;
    map.square = map.score + m->columns;
    map.residual = map.square + terms;
    map.elements = map.residual + 1;
    return map;
}

/* ---- layout -------------------------------------------------------------------------------- */

#define ROWS_MAX 4096.0 /* rows of one trial that the bounds allow for */

struct element_list {
    const struct mixed_model *model;
    struct nof1_arena *arena;
    struct nof1_element *element;
    size_t count;
    bool failed;
};

static double power_below(double x)
{
    int exponent;
    (void)frexp(x, &exponent);
    return ldexp(1, exponent - 1);
}

static void add(struct element_list *list, const char *name, enum nof1_role role, double bound,
                double unit, uint16_t sparse)
{
    const struct nof1_gaussian_shape *shape = &list->model->shape;
    /* H^-1 is at most 1, or the inverse ratio of variances, or that of a correlation near 1 */
    double wide = shape->ratios > 0    ? pow(MIXED_RATIO_LEAST, -6)
                  : shape->correlated ? 0x1p60
                                      : 1;
    list->failed = list->failed || name == NULL;
    list->element[list->count++] = (struct nof1_element){
        .name = name,
        .role = role,
        .group = -1,
        .block = 0,
        .block_size = list->model->form == MIXED_POOL ? 1 : 2,
        .sparse = sparse > 0,
        .factor = (uint16_t)(sparse > 1 ? sparse - 1 : 0),
        .bound = fmin(0x1p96, bound * wide),
        .quantum = role == NOF1_OUTCOME ? ldexp(power_below(unit), -60) : 0};
}

/* "11", "21", "22", ...; "cycle", "arm"; "residual1", ... */
static const char *term_name(const struct element_list *list, size_t term)
{
    const struct nof1_gaussian_shape *shape = &list->model->shape;
    size_t i = 0, j = term, block = nof1_gaussian_block(shape);
    const char *name = "cycle";
    if (term < block) {
        for (; j > i; i++) {
            j -= i + 1;
        }
        name = nof1_arena_printf(list->arena, "%zu%zu", i + 1, j + 1);
    } else if (shape->correlated) {
        name = "correlation";
    } else if (term >= block + shape->by_cycle) {
        size_t ratio = term - block - shape->by_cycle - shape->by_arm;
        bool arm = shape->by_arm && term == block + shape->by_cycle;
        name = arm ? "arm" : nof1_arena_printf(list->arena, "residual%zu", ratio + 1);
    }
    return name == NULL ? "" : name;
}

static void add_matrix(struct element_list *list, const char *what, double power)
{
    const struct mixed_model *m = list->model;
    for (size_t i = 0; i < m->columns; i++) {
        for (size_t j = 0; j <= i; j++) {
            double bound = mixed_column_bound(m, &m->column[i]) *
                           mixed_column_bound(m, &m->column[j]) * pow(ROWS_MAX, power);
            add(list,
                nof1_arena_printf(list->arena, "%s %s*%s", what, m->column[i].name,
                                  m->column[j].name),
                NOF1_DESIGN, bound, 1, mixed_sparse(&m->column[i]) || mixed_sparse(&m->column[j]));
        }
    }
}

static void add_design(struct element_list *list)
{
    const struct mixed_model *m = list->model;
    add(list, "rows", NOF1_DESIGN, ROWS_MAX, 1, false);
    add(list, "rows within", NOF1_DESIGN, ROWS_MAX, 1, false);
    add(list, "log det H", NOF1_DESIGN, ROWS_MAX, 1, false);
    for (size_t j = 0; j < m->terms; j++) {
        add(list, nof1_arena_printf(list->arena, "trace %s", term_name(list, j)), NOF1_DESIGN,
            2 * ROWS_MAX, 1, false);
    }
    for (size_t j = 0; j < m->terms; j++) {
        for (size_t k = 0; k <= j; k++) {
            add(list,
                nof1_arena_printf(list->arena, "trace %s*%s", term_name(list, j),
                                  term_name(list, k)),
                NOF1_DESIGN, 4 * ROWS_MAX * ROWS_MAX, 1, false);
        }
    }
    add_matrix(list, "H", 1);
    for (size_t j = 0; j < m->terms; j++) {
        add_matrix(list, nof1_arena_printf(list->arena, "H %s", term_name(list, j)), 2);
    }
    for (size_t j = 0; j < m->terms; j++) {
        for (size_t k = 0; k <= j; k++) {
            add_matrix(
                list,
                nof1_arena_printf(list->arena, "H %s*%s", term_name(list, j), term_name(list, k)),
                3);
        }
    }
}

/* The last element's terms are at least rounded to `step` (mixed_term_step). */
static void round_last(struct element_list *list, double step)
{
    struct nof1_element *last = &list->element[list->count - 1];
    last->quantum = fmax(last->quantum, step);
}

static void add_outcome(struct element_list *list)
{
    const struct mixed_model *m = list->model;
    double step = mixed_term_step(m->base.study);
    double reach = 2 * m->reach;
    for (size_t i = 0; i < m->columns; i++) {
        reach += m->beta_limit * mixed_column_bound(m, &m->column[i]);
    }
    for (size_t i = 0; i < m->columns; i++) {
        double x = mixed_column_bound(m, &m->column[i]);
        add(list, nof1_arena_printf(list->arena, "score %s", m->column[i].name), NOF1_OUTCOME,
            ROWS_MAX * x * reach, m->scale * fmin(1, x), mixed_sparse(&m->column[i]));
        round_last(list, mixed_score_step(m, i));
    }
    for (size_t j = 0; j < m->terms; j++) {
        add(list, nof1_arena_printf(list->arena, "square %s", term_name(list, j)), NOF1_OUTCOME,
            4 * ROWS_MAX * ROWS_MAX * reach * reach, m->scale * m->scale, false);
        round_last(list, step * step);
    }
    add(list, "square residual", NOF1_OUTCOME, ROWS_MAX * reach * reach, m->scale * m->scale,
        false);
    round_last(list, step * step);
}

size_t mixed_score_elements(const struct mixed_model *m)
{
    return map_of(m).elements;
}

size_t mixed_score_diagonal(const struct mixed_model *m, size_t column)
{
    return map_of(m).cross + pairs_of(column) + column;
}

nof1_rc_value mixed_score_layout(const struct mixed_model *m, struct nof1_arena *arena,
                                 struct nof1_layout *out)
{
    struct map map = map_of(m);
    struct element_list list = {m, arena, NULL, 0, false};
    list.element = nof1_arena_alloc(arena, map.elements, sizeof *list.element);
    ENSURE(list.element != NULL, NOF1_E_NO_MEMORY);
    add_design(&list);
    add_outcome(&list);
    ENSURE(!list.failed, NOF1_E_NO_MEMORY);
    ENSURE(list.count == map.elements, NOF1_E_BUG);
    *out = (struct nof1_layout){list.count, list.element};
    return NOF1_OK;
}

static nof1_rc_value score_layout(const struct mixed_model *m, uint32_t round,
                                  struct nof1_arena *arena, struct nof1_layout *out)
{
    (void)round; /* every round is alike */
    return mixed_score_layout(m, arena, out);
}

/* ---- one trial ----------------------------------------------------------------------------- */

static int score_group_of(const struct mixed_model *m, const struct nof1_trial *trial,
                          void *scratch)
{
    struct nof1_series series;
    double *column, *memory = scratch;
    size_t serial = m->shape.correlated ? 2 * trial->rows : 0;
    mixed_rows(&series, &column, m, trial, memory + serial);
    size_t arms = 0;
    for (size_t k = 0; k < NOF1_ARMS_MAX; k++) {
        arms += series.n[k] > 0;
    }
    bool enough = arms > 1 || (arms == 1 && m->base.study->charter->any_arm);
    enough = enough && (serial == 0 || mixed_serial_fits(m, &series, memory));
    return enough ? 0 : NOF1_LEFT_OUT;
}

static void write_matrix(double *out, const double *from, size_t columns, size_t p)
{
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j <= i; j++) {
            *out++ = from[i * columns + j];
        }
    }
}

void mixed_score_write(double *out, const struct mixed_model *m,
                       const struct nof1_gaussian_sums *sums)
{
    size_t p = m->columns, width = p + 1, terms = m->terms;
    struct map map = map_of(m);
    out[0] = sums->rows;
    out[1] = sums->within;
    out[2] = sums->log_det;
    write_matrix(out + map.cross, sums->cross, width, p);
    for (size_t j = 0, jk = 0; j < terms; j++) {
        out[map.trace + j] = sums->trace[j];
        out[map.square + j] = sums->first[j][p * width + p];
        write_matrix(out + map.first + j * pairs_of(p), sums->first[j], width, p);
        for (size_t k = 0; k <= j; k++, jk++) {
            out[map.trace2 + jk] = sums->trace2[j * NOF1_TERMS_MAX + k];
            write_matrix(out + map.second + jk * pairs_of(p), sums->second[j * NOF1_TERMS_MAX + k],
                         width, p);
        }
    }
    for (size_t i = 0; i < p; i++) {
        out[map.score + i] = sums->cross[i * width + p];
    }
    out[map.residual] = sums->cross[p * width + p];
}

/* y becomes y - X beta, the large part of beta first. */
static void subtract_fixed(double *column, size_t rows, size_t p, const double *theta)
{
    double *y = &column[p * rows];
    for (size_t part = 0; part < 2; part++) {
        for (size_t c = 0; c < p; c++) {
            double b = theta[part * p + c];
            for (size_t i = 0; b != 0 && i < rows; i++) {
                y[i] -= b * column[c * rows + i];
            }
        }
    }
}

static nof1_rc_value score_contribute(const struct mixed_model *m, uint32_t round,
                                      const double *theta, const struct nof1_trial *trial,
                                      void *scratch, double *out)
{
    (void)round;
    double gamma[NOF1_TERMS_MAX], *column;
    struct nof1_series series;
    struct nof1_gaussian_sums sums;
    struct mixed_projection projection;
    double *memory = scratch, *rest = memory + nof1_gaussian_sums_size(&m->shape);
    nof1_gaussian_sums_place(&sums, &m->shape, memory);
    double *rows = mixed_project_rows(m, rest), *serial = rows + trial->rows;
    size_t serial_size = mixed_serial_size(m) + trial->rows * mixed_serial_row(m);
    mixed_rows(&series, &column, m, trial, serial + serial_size);
    subtract_fixed(column, series.rows, m->columns, theta);
    nof1_gaussian_square(gamma, theta + 2 * m->columns, &m->shape);
    if (m->shape.correlated) {
        ENSURE(mixed_serial_add(&sums, m, gamma, &series, column, serial), NOF1_E2403);
    } else {
        TRY(mixed_project(&projection, m, &series, column, rest));
        mixed_projection_add(&sums, m, gamma, &projection);
    }
    mixed_score_write(out, m, &sums);
    mixed_round_matrices(out + map_of(m).cross, 1 + m->terms + pairs_of(m->terms), m);
    for (size_t e = 0; e < map_of(m).elements; e++) {
        ENSURE(isfinite(out[e]), NOF1_E2403);
    }
    return NOF1_OK;
}

const struct mixed_slots mixed_score_slots = {score_group_of, score_layout, score_contribute};

/* ---- the coordinator's side ---------------------------------------------------------------- */

static void read_matrix(double *to, const double *from, size_t columns, size_t p)
{
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j <= i; j++) {
            to[i * columns + j] = to[j * columns + i] = *from++;
        }
    }
}

static nof1_rc read_sums(struct nof1_gaussian_sums *sums, struct nof1_gaussian_shape *shape,
                         const struct mixed_model *m, const double *total, struct nof1_arena *arena)
{
    *shape = m->shape;
    double *memory = nof1_arena_alloc(arena, nof1_gaussian_sums_size(shape), sizeof *memory);
    ENSURE(memory != NULL, NOF1_E_NO_MEMORY);
    nof1_gaussian_sums_place(sums, shape, memory);
    size_t p = m->columns, width = p + 1;
    struct map map = map_of(m);
    sums->rows = total[0];
    sums->within = total[1];
    sums->log_det = total[2];
    read_matrix(sums->cross, total + map.cross, width, p);
    for (size_t j = 0, jk = 0; j < m->terms; j++) {
        sums->trace[j] = total[map.trace + j];
        sums->first[j][p * width + p] = total[map.square + j];
        read_matrix(sums->first[j], total + map.first + j * pairs_of(p), width, p);
        for (size_t k = 0; k <= j; k++, jk++) {
            double trace = total[map.trace2 + jk];
            sums->trace2[j * NOF1_TERMS_MAX + k] = sums->trace2[k * NOF1_TERMS_MAX + j] = trace;
            read_matrix(sums->second[j * NOF1_TERMS_MAX + k],
                        total + map.second + jk * pairs_of(p), width, p);
        }
    }
    for (size_t i = 0; i < p; i++) {
        sums->cross[i * width + p] = sums->cross[p * width + i] = total[map.score + i];
    }
    sums->cross[p * width + p] = total[map.residual];
    return NOF1_OK;
}

/* f(beta, S) over the used columns. */
static void assemble(struct nof1_evaluation *e, double *memory, const struct mixed_visit *v,
                     const struct mixed_model *m)
{
    size_t p = v->fit.used, n = p + m->terms;
    const struct nof1_gaussian_point *point = &v->fit.point;
    double *gradient = memory, *hessian = memory + n;
    double inner_gradient[NOF1_TERMS_MAX], inner[NOF1_TERMS_MAX * NOF1_TERMS_MAX];
    nof1_gaussian_chain(inner_gradient, inner, v->x + p, &m->shape, point->slope,
                        point->expected);
    for (size_t i = 0; i < p; i++) {
        gradient[i] = -2 * point->score[i] / point->sigma2;
        for (size_t j = 0; j < p; j++) {
            hessian[i * n + j] = 2 * point->c[i * p + j] / point->sigma2;
        }
    }
    for (size_t i = 0; i < m->terms; i++) {
        gradient[p + i] = inner_gradient[i];
        for (size_t j = 0; j < m->terms; j++) {
            hessian[(p + i) * n + p + j] = inner[i * m->terms + j];
        }
    }
    *e = (struct nof1_evaluation){v->x, point->f, gradient, hessian};
}

nof1_rc_value mixed_score_visit(struct mixed_visit *v, struct nof1_evaluation *e,
                                const struct mixed_model *m, const struct nof1_round_total *total,
                                double trials, struct nof1_arena *arena, struct nof1_error *error)
{
    struct nof1_gaussian_sums sums;
    struct nof1_gaussian_shape shape;
    TRY(read_sums(&sums, &shape, m, total->total, arena));
    TRY(mixed_reduce(&v->fit, m, arena, &sums, &shape, trials, error));
    size_t p = v->fit.used, n = p + m->terms;
    v->x = nof1_arena_alloc(arena, n + n + n * n, sizeof *v->x);
    ENSURE(v->x != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < p; i++) {
        size_t column = v->fit.use[i];
        v->x[i] = total->parameter[column] + total->parameter[m->columns + column];
    }
    memcpy(v->x + p, total->parameter + 2 * m->columns, m->terms * sizeof *v->x);
    double gamma[NOF1_TERMS_MAX];
    nof1_gaussian_square(gamma, v->x + p, &m->shape);
    if (nof1_gaussian_point(&v->fit.point, arena, &v->fit.sums, &v->fit.shape, gamma, m->reml,
                            false) != NOF1_OK) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "no residual variation is left: all outcomes are equal, or an exact "
                         "function of fixed terms and random effects");
    }
    assemble(e, v->x + n, v, m);
    return NOF1_OK;
}

/* Fill beta and root of the fit: the last evaluation plus the last step. */
nof1_rc_value mixed_score_conclude(struct mixed_fit *fit, const struct mixed_model *m,
                                   const struct mixed_visit *best, const struct nof1_ask *ask,
                                   struct nof1_arena *arena)
{
    *fit = best->fit;
    size_t p = fit->used;
    fit->beta = nof1_arena_alloc(arena, p, sizeof *fit->beta);
    ENSURE(fit->beta != NULL, NOF1_E_NO_MEMORY);
    fit->decrement = ask->decrement;
    fit->converged = ask->decrement < 1e-13;
    /* A small step not verified by a round is still worth taking: it errs by a part of itself. */
    double take = ask->decrement < 0.01 ? ask->fraction : 0;
    fit->approximation = fit->converged ? 0 : sqrt(ask->decrement);
    double change = 0, gamma[NOF1_TERMS_MAX];
    for (size_t i = 0; i < p; i++) {
        fit->beta[i] = best->x[i] + take * ask->step[i];
        change -= 2 * take * ask->step[i] * fit->point.score[i];
    }
    for (size_t j = 0; j < m->terms; j++) {
        fit->root[j] = best->x[p + j] + take * ask->step[p + j];
    }
    nof1_gaussian_square(gamma, fit->root, &m->shape);
    if (m->shape.correlated) {
        double rho = gamma[m->terms - 1];
        fit->edge = fabs(rho) > 1 - 1e-6 || (m->shape.positive && rho < 1e-6);
        fit->converged = fit->converged || (fit->edge && ask->decrement < 1e-6);
        fit->approximation = fit->converged ? 0 : fit->approximation;
    }
    fit->approximation += m->form == MIXED_SCORE ? mixed_rounding(m, fit) : 0;
    for (size_t j = 0; j < m->terms; j++) {
        change -= fit->point.square[j] * (gamma[j] - fit->point.gamma[j]);
    }
    fit->sigma2 = (fit->point.q + change) / fit->point.n;
    fit->f = fit->point.f - (take > 0 ? ask->decrement / 2 : 0);
    mixed_finish(fit);
    return NOF1_OK;
}

nof1_rc_value mixed_score_propose(struct nof1_next *next, const struct mixed_model *m,
                                  const size_t *use, size_t used, const double *x,
                                  struct nof1_arena *arena)
{
    double *theta = nof1_arena_alloc(arena, 2 * m->columns + m->terms, sizeof *theta);
    ENSURE(theta != NULL, NOF1_E_NO_MEMORY);
    for (size_t i = 0; i < used; i++) {
        size_t column = use[i];
        int exponent;
        double fraction = frexp(x[i], &exponent);
        theta[column] = ldexp(rint(ldexp(fraction, 30)), exponent - 30);
        theta[m->columns + column] = x[i] - theta[column];
    }
    memcpy(theta + 2 * m->columns, x + used, m->terms * sizeof *theta);
    next->parameter = theta;
    next->parameters = 2 * m->columns + m->terms;
    return NOF1_OK;
}

/* S and |S| have the same square; the map from S to Gamma degenerates where eigenvalues of opposite
 * sign cancel, so that only semidefinite S are visited, and only positive residual variances. */
static void fold(double *root, const struct nof1_gaussian_shape *shape)
{
    static const double none[NOF1_TERMS_MAX] = {0};
    size_t terms = nof1_gaussian_terms(shape);
    double unused;
    bool inside = shape->effects <= 1 ? root[0] >= 0
                                      : root[0] >= 0 && root[0] * root[2] >= root[1] * root[1];
    if (!inside || terms > 3 || terms > nof1_gaussian_block(shape)) {
        (void)nof1_gaussian_snap(root, shape, 0, none, &unused);
    }
    if (shape->correlated) {
        double limit = shape->positive ? 18 : 9;
        root[terms - 1] = fmax(-limit, fmin(limit, root[terms - 1]));
    }
    for (size_t j = terms - shape->ratios; j < terms; j++) {
        root[j] = fmax(root[j], MIXED_RATIO_LEAST);
    }
}

static nof1_rc first_round(struct nof1_next *next, const struct mixed_model *m,
                           struct nof1_arena *arena)
{
    double *theta = nof1_arena_alloc(arena, 2 * m->columns + m->terms, sizeof *theta);
    ENSURE(theta != NULL, NOF1_E_NO_MEMORY);
    memcpy(theta + 2 * m->columns, m->start, m->terms * sizeof *theta);
    next->parameter = theta;
    next->parameters = 2 * m->columns + m->terms;
    return NOF1_OK;
}

/* Far from the optimum: the least-squares beta for the visited S, which is exact, and S from the
 * squares at that beta, which are known up to a term of expectation 0: with b the distance to it,
 * r'H^-1 V_j H^-1 r falls by b'P_j b. After the first round x is left alone where this would lead
 * to the boundary. */
static nof1_rc far_step(double *x, const struct mixed_model *m, const struct mixed_visit *visit,
                        bool first, struct nof1_arena *arena)
{
    const struct nof1_gaussian_point *point = &visit->fit.point;
    size_t p = visit->fit.used;
    double b[MIXED_COLUMNS_MAX + 1] = {0}, square[NOF1_TERMS_MAX], q = point->q;
    bool usable = true, inside = false;
    for (size_t i = 0; i < p; i++) {
        b[i] = point->beta[i];
        q -= b[i] * point->score[i];
    }
    for (size_t j = 0; j < m->terms; j++) {
        double part = nof1_bilinear(b, visit->fit.sums.first[j], b, p + 1);
        square[j] = point->square[j] - part;
        usable = usable && part < 0.5 * point->square[j];
    }
    double root[NOF1_TERMS_MAX] = {0};
    if (usable && q > 0) {
        TRY(nof1_gaussian_igls(root, &usable, &inside, arena, &visit->fit.sums, point, square, q,
                               0.01));
    }
    if (!first && !inside) {
        return NOF1_OK;
    }
    for (size_t i = 0; i < p; i++) {
        x[i] = visit->x[i] + b[i];
    }
    memcpy(x + p, usable && q > 0 ? root : visit->x + p, m->terms * sizeof *x);
    return NOF1_OK;
}

nof1_rc_value mixed_score_advance(const struct mixed_model *m, const struct nof1_history *history,
                                  struct nof1_arena *arena, struct nof1_next *next,
                                  struct mixed_fit *fit, struct nof1_error *error)
{
    size_t rounds = history->rounds;
    next->done = false;
    if (rounds == 0) {
        return first_round(next, m, arena);
    }
    struct mixed_visit *visited = nof1_arena_alloc(arena, rounds, sizeof *visited);
    struct nof1_evaluation *evaluation = nof1_arena_alloc(arena, rounds, sizeof *evaluation);
    ENSURE(visited != NULL && evaluation != NULL, NOF1_E_NO_MEMORY);
    for (size_t r = 0; r < rounds; r++) {
        TRY(mixed_score_visit(&visited[r], &evaluation[r], m, &history->round[r],
                              (double)history->counts.trials, arena, error));
    }
    size_t p = visited[0].fit.used, n = p + m->terms;
    double *x = nof1_arena_alloc(arena, n, sizeof *x);
    ENSURE(x != NULL, NOF1_E_NO_MEMORY);
    if (rounds == 1) {
        const struct mixed_fit *fitted = &visited[0].fit;
        TRY(mixed_refuse_structure(fitted, m, fitted->point.gamma, arena, error));
        TRY(far_step(x, m, &visited[0], true, arena));
        return mixed_score_propose(next, m, visited[0].fit.use, p, x, arena);
    }
    /* Curvature in rho is learnt near the optimum only: far from it secants mislead. */
    size_t skip = m->shape.correlated ? 5 : 2;
    struct nof1_ask ask;
    TRY(nof1_ask(&ask, arena, evaluation, rounds, n, skip, p, 1));
    const struct mixed_visit *best = &visited[ask.best];
    bool stalled = false; /* rounding of the parameters allows no further descent */
    if (rounds > 2 && ask.decrement < 1e-13) {
        struct nof1_ask before;
        TRY(nof1_ask(&before, arena, evaluation, rounds - 1, n, skip, p, 1));
        stalled = ask.decrement > 0.25 * before.decrement;
    }
    TRY(mixed_refuse_root(best->x + p, m, INFINITY, error));
    bool limit = m->shape.positive && fabs(best->x[n - 1]) > RHO_LIMIT && ask.decrement < 1e-6;
    next->done = ask.decrement < 1e-18 || stalled || limit || rounds >= m->base.max_rounds;
    if (next->done) {
        return mixed_score_conclude(fit, m, best, &ask, arena);
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = best->x[i] + ask.fraction * ask.step[i];
    }
    if (ask.decrement > FAR && ask.best == rounds - 1 && rounds <= 4) {
        TRY(far_step(x, m, best, false, arena));
    }
    fold(x + p, &m->shape);
    TRY(mixed_refuse_large(x + p, m, m->root_limit, error));
    return mixed_score_propose(next, m, best->fit.use, p, x, arena);
}
