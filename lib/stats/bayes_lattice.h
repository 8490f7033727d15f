/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to lib/stats/bayes_*.c: the lattice of the trapezoidal rule over at most four numbers,
 * in the substituted variables of bayes_axis.c. Never sees a trial.
 */
#ifndef NOF1_STATS_BAYES_LATTICE_H
#define NOF1_STATS_BAYES_LATTICE_H

#include "bayes.h"

#define AXES NOF1_BAYES_AXES
#define HALF_WINDOW (NOF1_BAYES_WINDOW / 2 - 1)
#define MOST_NODES ((size_t)3 << 20)
#define SEEDS 8

/* How far down the lattice is flooded, the relative error of half the points at which it is fine
 * enough, and that of the nodes handed over. The rule has the square of the second; quantiles of
 * a number, from its sinc interpolant, have that error itself: `own`, of each axis. Four numbers
 * are dear. */
struct rules { double cut, own[AXES], coarse, thin; };

/* A point of an axis. tail: what its moments add to the log of the integrand; test: a function
 * whose mean must be exact; fold: see nof1_bayes_fold. */
struct entry { double value, log_weight, tail, test, fold; bool made; };

/* Points of one line along the inner axis, next to each other from index `first`. */
struct line {
    int16_t index[AXES]; /* of its outer axes, about base; of the inner one where it is largest */
    int16_t first, points;
    size_t start;
};

/* log of the integrand, and what of it or of its moments is largest. */
struct point { double f, top; };

struct lattice {
    const struct nof1_bayes_problem *problem;
    const struct rules *rules;
    struct nof1_arena *arena;
    size_t inner; /* the last axis that is not fixed */
    double step[AXES], step_before[AXES], error_before[AXES];
    long base[AXES];
    struct entry *table[AXES];
    struct line *line;
    struct point *window;
    double *f; /* log of the integrand at each point */
    size_t lines, line_room, points, room, slots, used;
    struct slot { uint64_t key; bool used; } *slot;
    double top;
    bool open; /* the integrand is large at an end */
};

static inline bool nof1_bayes_fixed(const struct nof1_bayes_axis *axis)
{
    return axis->prior.family == NOF1_BAYES_FIXED;
}

static inline bool nof1_bayes_inside(const struct nof1_bayes_axis *axis, double x)
{
    double reach = nof1_bayes_axis_reach(axis);
    return x <= reach && x >= (axis->even ? 0.0 : -reach);
}

struct mode { double x[AXES], f; };

/* bayes_modes.c: the modes that a coarse scan leads to, the highest first; and how far from one the
 * integrand falls to e^-1/2 along an axis, on the wider side. */
nof1_rc nof1_bayes_modes(struct mode mode[SEEDS + 1], size_t *modes,
                         const struct nof1_bayes_problem *problem, struct nof1_arena *arena);
double nof1_bayes_width(const struct nof1_bayes_problem *problem, const struct mode *mode,
                        size_t axis);

/* bayes_lattice.c: all points above the cut that a path of such points joins to a mode. */
nof1_rc nof1_bayes_fill(struct lattice *lattice, const struct mode *mode, size_t modes);

#endif
