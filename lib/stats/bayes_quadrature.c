/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The trapezoidal rule over at most four numbers. The sums of the 16 classes of nodes by odd and
 * even indices give the error of every coarser lattice; steps shrink until the rule itself, whose
 * error is at most the square of that, is fine enough. They also tell which sublattice would do:
 * only its nodes are handed over, beside the distributions of the numbers from all points.
 */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "bayes_lattice.h"

#define PARITIES 16
#define PASSES 8

static const struct rules few = {38.0, {1e-11, 1e-11, 1e-11, 1.0}, 1e-7, 1e-13},
                          many = {26.0, {2e-8, 1e-6, 2e-8, 3e-5}, 3e-5, 1e-9},
                          quick = {16.0, {2e-3, 1e-2, 1e-2, 1e-2}, 1e-2, 1e-5};

/* ---- errors ---- */

/* Sums of 1 and of squares of the first three numbers over nodes of each parity, then over nodes
 * by sign: the entry s says how much the lattice of every second point along the axes in s is
 * off. */
static void errors(double out[PARITIES], const struct lattice *lattice)
{
    const struct nof1_bayes_problem *problem = lattice->problem;
    double sum[PARITIES][4] = {{0}};
    for (size_t l = 0; l < lattice->lines; l++) {
        const struct line *line = &lattice->line[l];
        int16_t index[AXES];
        memcpy(index, line->index, sizeof index);
        for (int16_t i = 0; i < line->points; i++) {
            double w = exp(lattice->f[line->start + (size_t)i] - lattice->top);
            size_t parity = 0;
            index[lattice->inner] = (int16_t)(line->first + i);
            for (size_t a = 0; a < AXES; a++) {
                parity |= ((size_t)(lattice->base[a] + index[a]) & 1u) << a;
            }
            sum[parity][0] += w;
            for (size_t a = 0; a < 3; a++) {
                sum[parity][a + 1] += w * lattice->table[a][index[a] + HALF_WINDOW].test;
            }
        }
    }
    for (size_t bit = 1; bit < PARITIES; bit *= 2) {
        for (size_t s = 0; s < PARITIES; s++) {
            for (size_t k = 0; k < 4 && (s & bit) == 0; k++) {
                double even = sum[s][k], odd = sum[s | bit][k];
                sum[s][k] = even + odd;
                sum[s | bit][k] = even - odd;
            }
        }
    }
    for (size_t s = 0; s < PARITIES; s++) {
        bool moves = true;
        for (size_t a = 0; a < AXES; a++) {
            bool still = a >= problem->axes || nof1_bayes_fixed(&problem->axis[a]);
            moves = moves && ((s >> a & 1) == 0 || !still);
        }
        out[s] = 0.0;
        for (size_t k = 0; k < 4 && moves; k++) {
            out[s] = sum[0][k] > 0.0 ? fmax(out[s], fabs(sum[s][k]) / sum[0][k]) : out[s];
        }
    }
}

/* By how much a step must shrink: log(error) falls as a power of it between -1 (analytic) and -2
 * (as a normal density), which two lattices tell. */
static double factor(const struct lattice *lattice, size_t a, double error, double target)
{
    double power = 1.7;
    if (lattice->step_before[a] > 1.05 * lattice->step[a] && lattice->error_before[a] < 0.5) {
        power = log(log(error) / log(lattice->error_before[a])) /
                log(lattice->step_before[a] / lattice->step[a]);
        power = fmin(2.0, fmax(1.0, power));
    }
    if (!(error < 0.7)) {
        return 2.0;
    }
    return fmin(2.2, fmax(1.05, pow(1.12 * log(target) / log(error), 1.0 / power)));
}

/* Shrinks steps by what should reach the targets. True: fine already. */
static bool refine(struct lattice *lattice, const double error[PARITIES])
{
    double shrink[AXES] = {1.0, 1.0, 1.0, 1.0};
    bool fine = true;
    for (size_t s = 1; s < PARITIES; s++) {
        double target = (s & (s - 1)) != 0 ? lattice->rules->coarse
                                           : lattice->rules->own[s / 2 - s / 8];
        for (size_t a = 0; a < AXES && error[s] > target; a++) {
            double by = (s >> a & 1) == 0 ? 1.0 : factor(lattice, a, error[s], target);
            shrink[a] = fmax(shrink[a], (s & (s - 1)) != 0 ? sqrt(by) : by);
            fine = false;
        }
    }
    for (size_t a = 0; a < AXES; a++) {
        if (shrink[a] > 1.0) {
            lattice->step_before[a] = lattice->step[a];
            lattice->error_before[a] = error[(size_t)1 << a];
            lattice->step[a] /= shrink[a];
        }
    }
    return fine;
}

/* The largest error of the sublattice of even index sums over the sets in m: of all their sums. */
static double sublattice(const double error[PARITIES], const size_t m[3])
{
    double worst = 0.0;
    for (size_t k = 1; k < 8; k++) {
        size_t s = (k & 1 ? m[0] : 0) ^ (k & 2 ? m[1] : 0) ^ (k & 4 ? m[2] : 0);
        worst = s > 0 ? fmax(worst, error[s]) : worst;
    }
    return worst;
}

/* The thinnest sublattice below the limit. */
static void choose_thin(unsigned thin[3], const struct lattice *lattice,
                        const double error[PARITIES], double limit)
{
    const struct nof1_bayes_problem *problem = lattice->problem;
    double best = INFINITY;
    size_t most = 0, m[3], still = PARITIES - 1; /* axes that do not move */
    for (size_t a = 0; a < problem->axes; a++) {
        still &= nof1_bayes_fixed(&problem->axis[a]) ? still : ~((size_t)1 << a);
    }
    for (m[0] = 0; m[0] < PARITIES; m[0]++) {
        for (m[1] = 0; m[1] <= m[0]; m[1]++) {
            for (m[2] = 0; m[2] <= m[1]; m[2]++) {
                size_t sets = (m[0] > 0 ? 1u : 0u) + (m[1] > 0 ? 1u : 0u) + (m[2] > 0 ? 1u : 0u);
                bool free = sets < 2 || (m[0] != m[1] && m[0] != (m[1] ^ m[2]) &&
                                         (sets == 2 || m[1] != m[2]));
                free = free && ((m[0] | m[1] | m[2]) & still) == 0;
                double worst = sublattice(error, m);
                if (free && worst < limit && (sets > most || (sets == most && worst < best))) {
                    most = sets;
                    best = worst;
                    for (size_t k = 0; k < 3; k++) {
                        thin[k] = (unsigned)m[k];
                    }
                }
            }
        }
    }
}

/* ---- the result ---- */

static nof1_rc make_marginal(struct nof1_bayes_marginal *out, struct nof1_arena *arena,
                             const struct lattice *lattice, size_t a)
{
    long first = LONG_MAX, last = LONG_MIN;
    for (size_t l = 0; l < lattice->lines; l++) {
        const struct line *line = &lattice->line[l];
        long low = a == lattice->inner ? line->first : line->index[a];
        long high = a == lattice->inner ? line->first + line->points - 1 : line->index[a];
        first = low < first ? low : first;
        last = high > last ? high : last;
    }
    size_t points = (size_t)(last - first + 1);
    *out = (struct nof1_bayes_marginal){.first = lattice->base[a] + first, .points = points};
    out->value = nof1_arena_alloc(arena, points, sizeof *out->value);
    out->weight = nof1_arena_alloc(arena, points, sizeof *out->weight);
    out->folded = nof1_arena_alloc(arena, points, sizeof *out->folded);
    ENSURE(out->value != NULL && out->weight != NULL && out->folded != NULL, NOF1_E_NO_MEMORY);
    bool correlation = lattice->problem->axis[a].prior.family == NOF1_BAYES_LKJ;
    for (size_t i = 0; i < points; i++) {
        double value = lattice->table[a][first + (long)i + HALF_WINDOW].value;
        out->value[i] = correlation ? tanh(value) : value;
    }
    return NOF1_OK;
}

/* The likelihood does not change with the signs of two of (tau, intercept_sd, correlation): a
 * mean of the correlation folds both axes. */
static void fill_marginals(struct nof1_bayes_posterior *out, const struct lattice *lattice)
{
    const size_t axes = lattice->problem->axes, inner = lattice->inner;
    for (size_t l = 0; l < lattice->lines; l++) {
        const struct line *line = &lattice->line[l];
        double fold[AXES] = {1.0, 1.0, 1.0, 1.0}, sum = 0.0, both = 1.0;
        for (size_t a = 0; a < axes; a++) {
            fold[a] = a == inner ? 1.0 : lattice->table[a][line->index[a] + HALF_WINDOW].fold;
            both *= fold[a];
        }
        struct nof1_bayes_marginal *m = &out->marginal[inner];
        size_t at = (size_t)(lattice->base[inner] + line->first - m->first);
        bool correlation = inner == AXES - 1;
        for (int16_t i = 0; i < line->points; i++, at++) {
            double w = exp(lattice->f[line->start + (size_t)i] - out->log_evidence);
            m->weight[at] += w;
            long index = line->first + i + HALF_WINDOW;
            m->folded[at] += w * (correlation ? both : lattice->table[inner][index].fold);
            sum += w;
        }
        for (size_t a = 0; a < axes; a++) {
            m = &out->marginal[a];
            at = (size_t)(lattice->base[a] + line->index[a] - m->first);
            m->weight[at] += a == inner ? 0.0 : sum;
            m->folded[at] += a == inner ? 0.0 : sum * fold[a];
        }
    }
}

/* Is the point part of the chosen sublattice? */
static bool thinned(const unsigned thin[3], unsigned odd)
{
    for (size_t k = 0; k < 3; k++) {
        unsigned both = odd & thin[k];
        both ^= both >> 2;
        if (((both ^ both >> 1) & 1u) != 0) {
            return true;
        }
    }
    return false;
}

/* The nodes of a line that the sublattice keeps: those of even indices, or the others. */
static void hand_line(struct nof1_bayes_posterior *out, const struct lattice *lattice,
                      const struct line *line, const unsigned thin[3], bool even)
{
    const struct nof1_bayes_problem *problem = lattice->problem;
    for (int16_t i = 0; i < line->points; i++) {
        struct nof1_bayes_node node = {
            .weight = exp(lattice->f[line->start + (size_t)i] - out->log_evidence)};
        unsigned odd = 0;
        double tail = 0.0;
        for (size_t a = 0; a < problem->axes; a++) {
            int16_t index = a == lattice->inner ? (int16_t)(line->first + i) : line->index[a];
            node.at[a] = lattice->table[a][index + HALF_WINDOW].value;
            tail += lattice->table[a][index + HALF_WINDOW].tail;
            node.index[a] = (int32_t)(lattice->base[a] + index);
            odd |= ((unsigned)node.index[a] & 1u) << a;
        }
        if ((odd == 0) == even && !thinned(thin, odd) && node.weight * exp(tail) > 1e-16) {
            (void)problem->density(problem->self, node.at, &node.mean);
            out->node[out->nodes++] = node;
        }
    }
}

static nof1_rc hand_over(struct nof1_bayes_posterior *out, struct nof1_arena *arena,
                         const struct lattice *lattice, const double *step, const unsigned thin[3])
{
    double total = 0.0;
    for (size_t i = 0; i < lattice->points; i++) {
        total += exp(lattice->f[i] - lattice->top);
    }
    out->log_evidence = lattice->top + log(total);
    out->evaluated = lattice->points;
    for (size_t a = 0; a < lattice->problem->axes; a++) {
        TRY(make_marginal(&out->marginal[a], arena, lattice, a));
        out->marginal[a].step = step[a];
        out->marginal[a].axis = lattice->problem->axis[a];
    }
    fill_marginals(out, lattice);
    out->node = nof1_arena_alloc(arena, lattice->points, sizeof *out->node);
    ENSURE(out->node != NULL, NOF1_E_NO_MEMORY);
    for (int even = 1; even >= 0; even--) {
        for (size_t l = 0; l < lattice->lines; l++) {
            hand_line(out, lattice, &lattice->line[l], thin, even == 1);
        }
        out->even = even == 1 ? out->nodes : out->even;
    }
    total = 0.0;
    for (size_t i = 0; i < out->nodes; i++) {
        total += out->node[i].weight;
    }
    for (size_t i = 0; i < out->nodes; i++) {
        out->node[i].weight /= total;
        out->even_weight += i < out->even ? out->node[i].weight : 0.0;
    }
    return NOF1_OK;
}

/* About a standard deviation; short enough for a flat integrand to fall before the axis ends. */
static double first_step(const struct nof1_bayes_problem *problem, const struct mode *mode,
                         size_t a)
{
    const struct nof1_bayes_axis *axis = &problem->axis[a];
    return nof1_bayes_fixed(axis) ? 1.0
                                  : fmin(0.8 * nof1_bayes_width(problem, mode, a),
                                         0.12 * nof1_bayes_axis_reach(axis));
}

nof1_rc_value nof1_bayes_integrate(struct nof1_bayes_posterior *out, struct nof1_arena *arena,
                                   const struct nof1_bayes_problem *problem)
{
    struct lattice lattice = {.problem = problem, .step = {1.0, 1.0, 1.0, 1.0}};
    struct mode mode[SEEDS + 1];
    double error[PARITIES], step[AXES];
    size_t modes;
    lattice.rules = problem->quick ? &quick : problem->axes < AXES ? &few : &many;
    for (size_t a = 0; a < problem->axes; a++) {
        lattice.inner = nof1_bayes_fixed(&problem->axis[a]) ? lattice.inner : a;
    }
    *out = (struct nof1_bayes_posterior){.axes = problem->axes};
    memcpy(out->axis, problem->axis, sizeof out->axis);
    for (int pass = 0;; pass++) {
        NOF1_CLEANUP(nof1_arena_freep) struct nof1_arena *own = nof1_arena_new();
        ENSURE(own != NULL, NOF1_E_NO_MEMORY);
        lattice.arena = own;
        if (pass == 0) {
            TRY(nof1_bayes_modes(mode, &modes, problem, own));
            ENSURE(modes > 0 && isfinite(mode[0].f), NOF1_E_MODEL);
            for (size_t a = 0; a < problem->axes; a++) {
                lattice.step[a] = first_step(problem, mode, a);
            }
        }
        TRY(nof1_bayes_fill(&lattice, mode, modes));
        ENSURE(isfinite(lattice.top) && !lattice.open, NOF1_E_MODEL);
        errors(error, &lattice);
        memcpy(step, lattice.step, sizeof step);
        if (refine(&lattice, error) || pass == PASSES || lattice.points >= MOST_NODES / 2) {
            for (size_t s = 1; s < PARITIES; s++) {
                out->error = fmax(out->error, error[s] * error[s]);
            }
            unsigned thin[3] = {0, 0, 0};
            choose_thin(thin, &lattice, error, lattice.rules->thin);
            return hand_over(out, arena, &lattice, step, thin);
        }
    }
}
