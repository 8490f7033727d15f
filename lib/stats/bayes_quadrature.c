/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Nested trapezoidal rules over at most four numbers. A standard deviation is substituted by
 * scale * exp(sinh x), an interval by a logistic of 2 sinh x: integrands then decay double
 * exponentially on both sides, whatever mass they have at 0 or in a tail, and the trapezoidal rule
 * converges geometrically. Each row's rule covers where the integrand exceeds e^-40 of its largest;
 * rules are refined until the rule of every second point tells that the error is below 1e-10.
 */
#include "bayes.h"

#include <math.h>
#include <string.h>

#include <gsl/gsl_sf_expint.h>

#include <stats/distributions.h>

#define REACH 4.0            /* x from -REACH to REACH: e^-27 to e^27 of the scale */
#define SCAN 33
#define INTERVAL_REACH 3.3 /* of the last axis when bounded: e^-27 from its ends */
#define IMPROPER 12.0 /* the slowest proper integrand falls by e^-27 to the ends */
#define MOST_NODES ((size_t)6 << 20)

/* ---- substitutions ---- */

static bool unbounded(const struct nof1_bayes_axis *axis)
{
    return isinf(axis->upper);
}

/* The number at x, and log of its derivative. */
static double value_at(const struct nof1_bayes_axis *axis, double x, double *log_derivative)
{
    if (unbounded(axis)) {
        double e = exp(x), power = 0.5 * (e - 1.0 / e);
        *log_derivative = power + log(0.5 * axis->scale * (e + 1.0 / e));
        return axis->lower + axis->scale * exp(power);
    }
    double e = exp(x), grown = exp(e - 1.0 / e); /* of 2 sinh x */
    double below = grown / (1.0 + grown);
    double above = 1.0 / (1.0 + grown);
    double width = axis->upper - axis->lower;
    *log_derivative = log(width * below * above * (e + 1.0 / e));
    return below < 0.5 ? axis->lower + width * below : axis->upper - width * above;
}

/* ---- where the integrand is ---- */

/* How far down a rule goes, which nodes are kept, and the error of half the points at which it is
 * fine enough (the rule itself has the square of it; quantiles, from its sinc interpolant, have that
 * error itself: `first` is for tau). Four numbers are dear: 1e-8 instead of 1e-11. */
struct rules { double cut, drop, first, coarse; };
static const struct rules few = {40.0, 32.0, 1e-9, 3e-6}, many = {30.0, 26.0, 1e-7, 1e-4},
                          quick = {20.0, 18.0, 3e-2, 3e-2};

struct range { double low, high, top, at_ends; };

struct walk {
    const struct nof1_bayes_problem *problem;
    const struct rules *rules;
    struct nof1_arena *arena;
    double at[NOF1_BAYES_AXES], x[NOF1_BAYES_AXES];
    double last[NOF1_BAYES_AXES]; /* where the last search along an axis ended */
    size_t points[NOF1_BAYES_AXES];
    struct nof1_bayes_node *node;
    size_t nodes, room;
    double top; /* largest log density so far */
    struct range range[NOF1_BAYES_AXES]; /* the last of each axis */
    bool placed[NOF1_BAYES_AXES];
};

#define CLIMBS 16 /* at most to either side */

static void place(struct walk *walk, size_t level, bool whole, struct range *out);

/* log of the integrand of x at `level`, the deeper numbers at their best. Recursion: at most
 * NOF1_BAYES_AXES levels. */
static double profile(struct walk *walk, size_t level, double x)
{
    double derivative;
    walk->at[level] = value_at(&walk->problem->axis[level], x, &derivative);
    struct range deeper;
    place(walk, level + 1, false, &deeper);
    return deeper.top + derivative;
}

/* Golden section about the best of the scan. */
static double peak(struct walk *walk, size_t level, double low, double high, double best,
                   double *where, int steps)
{
    const double ratio = 0.6180339887498949;
    double x1 = high - ratio * (high - low), x2 = low + ratio * (high - low);
    double f1 = profile(walk, level, x1), f2 = profile(walk, level, x2);
    for (int i = 0; i < steps; i++) {
        if (f1 > best) {
            best = f1;
            *where = x1;
        }
        if (f2 > best) {
            best = f2;
            *where = x2;
        }
        if (f1 > f2) {
            high = x2;
            x2 = x1;
            f2 = f1;
            x1 = high - ratio * (high - low);
            f1 = profile(walk, level, x1);
        } else {
            low = x1;
            x1 = x2;
            f1 = f2;
            x2 = low + ratio * (high - low);
            f2 = profile(walk, level, x2);
        }
    }
    return best;
}

/* The best near the last search's end: uphill by `step`, then the vertex of the parabola through the
 * last three. Four numbers only: a scan at every point of a scan of a scan would be dear. */
static double climb(struct walk *walk, size_t level, double step)
{
    double x = walk->last[level], f = profile(walk, level, x);
    double left = profile(walk, level, x - step), right = profile(walk, level, x + step);
    for (int i = 0; i < CLIMBS && (left > f || right > f) && fabs(x) < REACH; i++) {
        bool up = right > left;
        x += up ? step : -step;
        double next = profile(walk, level, up ? x + step : x - step);
        double before = f;
        f = up ? right : left;
        left = up ? before : next;
        right = up ? next : before;
    }
    double bend = left - 2.0 * f + right;
    double vertex = bend < 0.0 ? x + 0.5 * step * (left - right) / bend : x;
    double at_vertex = fabs(vertex - x) < step ? profile(walk, level, vertex) : f;
    walk->last[level] = at_vertex > f ? vertex : x;
    return fmax(f, at_vertex);
}

/* The x between `outside` (below the cut) and `inside` where the integrand passes the cut. */
static double edge(struct walk *walk, size_t level, double outside, double inside, double cut)
{
    for (int i = 0; i < 8; i++) {
        double x = 0.5 * (outside + inside);
        if (profile(walk, level, x) > cut) {
            inside = x;
        } else {
            outside = x;
        }
    }
    return outside;
}

/* The best of an interval's integrand, which is wide: a coarse look. */
static void place_interval(struct walk *walk, size_t level, struct range *out)
{
    *out = (struct range){-INTERVAL_REACH, INTERVAL_REACH, climb(walk, level, 0.6), -INFINITY};
}

/* Where the integrand is; only how large it gets when not `whole`. */
static void place(struct walk *walk, size_t level, bool whole, struct range *out)
{
    const struct nof1_bayes_problem *problem = walk->problem;
    if (level == problem->axes) {
        *out = (struct range){0, 0, problem->density(problem->self, walk->at, NULL), -INFINITY};
        return;
    }
    if (problem->axis[level].fixed) {
        walk->at[level] = problem->axis[level].lower;
        place(walk, level + 1, whole, out);
        return;
    }
    if (level == NOF1_BAYES_AXES - 1 && !unbounded(&problem->axis[level])) {
        place_interval(walk, level, out);
        return;
    }
    if (!whole && problem->axes == NOF1_BAYES_AXES) {
        double top = climb(walk, level, 0.3);
        top = isfinite(top) ? fmax(top, climb(walk, level, 0.05)) : top;
        if (isfinite(top)) {
            *out = (struct range){0, 0, top, -INFINITY};
            return;
        }
    }
    double f[SCAN];
    size_t points = whole ? SCAN : SCAN / 2 + 1;
    const double gap = 2.0 * REACH / (double)(points - 1);
    size_t best = 0;
    for (size_t i = 0; i < points; i++) {
        f[i] = profile(walk, level, -REACH + gap * (double)i);
        best = f[i] > f[best] ? i : best;
    }
    double where = -REACH + gap * (double)best;
    double low = best == 0 ? where : where - gap, high = best == points - 1 ? where : where + gap;
    double top = peak(walk, level, low, high, f[best], &where, whole ? 16 : 8);
    walk->last[level] = where;
    if (!whole) {
        *out = (struct range){0, 0, top, -INFINITY};
        return;
    }
    size_t first = 0, last = SCAN - 1;
    while (first < best && !(f[first] > top - walk->rules->cut)) {
        first++;
    }
    while (last > best && !(f[last] > top - walk->rules->cut)) {
        last--;
    }
    out->top = top;
    out->at_ends = fmax(f[0], f[SCAN - 1]);
    double left = -REACH + gap * (double)first, right = -REACH + gap * (double)last;
    out->low = first == 0 ? left
               : first == best && !(f[best] > top - walk->rules->cut)
                   ? edge(walk, level, left - gap, where, top - walk->rules->cut)
                   : edge(walk, level, left - gap, fmin(left, where),
                          top - walk->rules->cut);
    out->high = last == SCAN - 1 ? right
                                 : edge(walk, level, right + gap, fmax(right, where),
                                        top - walk->rules->cut);
}

/* From the range at the neighbouring point of the outer axis, by steps of a twentieth of it; a gap
 * inside it is kept, and each first neighbour is placed by a scan. Only of four numbers. */
static bool track(struct walk *walk, size_t level, struct range *range)
{
    const double step = fmax(1e-6, (range->high - range->low) / 20.0);
    if (!walk->placed[level] || walk->problem->axes < NOF1_BAYES_AXES) {
        return false;
    }
    double top = climb(walk, level, 3.0 * step), cut;
    if (!isfinite(top)) {
        return false;
    }
    if (level < NOF1_BAYES_AXES - 1) {
        top = fmax(top, climb(walk, level, 0.5 * step));
    }
    const double reach = level < NOF1_BAYES_AXES - 1 ? REACH : INTERVAL_REACH;
    cut = top - walk->rules->cut;
    double low = fmin(range->low, walk->last[level] - step);
    double high = fmax(range->high, walk->last[level] + step);
    if (profile(walk, level, low) > cut) {
        do {
            low -= step;
        } while (low > -reach && profile(walk, level, low) > cut);
    } else {
        while (low + step < walk->last[level] && !(profile(walk, level, low + step) > cut)) {
            low += step;
        }
    }
    if (profile(walk, level, high) > cut) {
        do {
            high += step;
        } while (high < reach && profile(walk, level, high) > cut);
    } else {
        while (high - step > walk->last[level] && !(profile(walk, level, high - step) > cut)) {
            high -= step;
        }
    }
    *range = (struct range){fmax(low, -reach), fmin(high, reach), top, -INFINITY};
    return true;
}

/* ---- the rules ---- */

static nof1_rc add_node(struct walk *walk, double log_weight, const double *step, unsigned odd)
{
    const struct nof1_bayes_problem *problem = walk->problem;
    struct nof1_bayes_normal mean;
    double f = problem->density(problem->self, walk->at, &mean) + log_weight;
    walk->top = fmax(walk->top, f);
    if (!(f > walk->top - walk->rules->drop)) {
        return NOF1_OK;
    }
    if (walk->nodes == walk->room) {
        size_t room = walk->room == 0 ? 4096 : 2 * walk->room;
        ENSURE(room <= MOST_NODES, NOF1_E_NO_MEMORY);
        struct nof1_bayes_node *node = nof1_arena_alloc(walk->arena, room, sizeof *node);
        ENSURE(node != NULL, NOF1_E_NO_MEMORY);
        if (walk->nodes > 0) {
            memcpy(node, walk->node, walk->nodes * sizeof *node);
        }
        walk->node = node;
        walk->room = room;
    }
    struct nof1_bayes_node *node = &walk->node[walk->nodes++];
    *node = (struct nof1_bayes_node){
        .weight = f, .mean = mean, .odd = odd, .step = {step[0], step[1], step[2]}};
    memcpy(node->x, walk->x, sizeof node->x);
    memcpy(node->at, walk->at, sizeof node->at);
    return NOF1_OK;
}

/* All nodes below `level`; recursion as in profile. */
static nof1_rc descend(struct walk *walk, size_t level, double log_weight, double *step,
                       unsigned odd)
{
    const struct nof1_bayes_problem *problem = walk->problem;
    if (level == problem->axes) {
        return add_node(walk, log_weight, step, odd);
    }
    if (problem->axis[level].fixed) {
        walk->at[level] = problem->axis[level].lower;
        return descend(walk, level + 1, log_weight, step, odd);
    }
    struct range range = walk->range[level];
    if (level > 0 || !walk->placed[level]) { /* the outermost is the same in every pass */
        if (!track(walk, level, &range)) {
            place(walk, level, true, &range);
        }
        walk->range[level] = range;
        walk->placed[level] = isfinite(range.top);
    }
    if (level + 2 < problem->axes) { /* the last axis' first range is all there is */
        walk->placed[level + 1] = false;
    }
    if (!isfinite(range.top)) {
        return NOF1_OK;
    }
    ENSURE(level > 0 || range.at_ends < range.top - IMPROPER, NOF1_E_MODEL);
    size_t points = walk->points[level];
    double h = (range.high - range.low) / (double)(points - 1);
    for (size_t i = 0; i < points; i++) {
        double derivative;
        walk->x[level] = range.low + h * (double)i;
        walk->at[level] = value_at(&problem->axis[level], walk->x[level], &derivative);
        if (level < 3) {
            step[level] = h;
        }
        TRY(descend(walk, level + 1, log_weight + derivative + log(h), step,
                    odd | (i % 2 == 1 ? 1u << level : 0)));
    }
    return NOF1_OK;
}

/* The relative error of the rule of half the points along an axis, in total and first moment. */
static double coarse_error(const struct walk *walk, size_t axis)
{
    double even = 0.0, moment = 0.0, all = 0.0, scale = 0.0;
    for (size_t i = 0; i < walk->nodes; i++) {
        const struct nof1_bayes_node *node = &walk->node[i];
        double sign = node->odd >> axis & 1 ? -1.0 : 1.0; /* 2 even - all = even - odd */
        even += sign * node->weight;
        moment += sign * node->weight * node->at[axis];
        all += node->weight;
        scale += node->weight * fabs(node->at[axis]);
    }
    return fmax(fabs(even) / all, scale > 0.0 ? fabs(moment) / scale : 0.0);
}

static nof1_rc run(struct walk *walk)
{
    double step[3] = {0};
    walk->nodes = 0;
    walk->top = -INFINITY;
    TRY(descend(walk, 0, 0.0, step, 0));
    ENSURE(isfinite(walk->top), NOF1_E_MODEL);
    size_t kept = 0;
    for (size_t i = 0; i < walk->nodes; i++) {
        if (walk->node[i].weight > walk->top - walk->rules->drop) {
            walk->node[kept] = walk->node[i];
            walk->node[kept++].weight = exp(walk->node[i].weight - walk->top);
        }
    }
    walk->nodes = kept;
    return NOF1_OK;
}

/* The error of the coarse rule falls geometrically: as many points as should reach the target, and an
 * even number of intervals. */
static size_t more_points(size_t points, double error, double target)
{
    double factor = error < 0.5 ? 1.25 * log(target) / log(error) : 2.0;
    size_t halves = (size_t)(0.5 * (double)(points - 1) * fmin(2.0, fmax(1.2, factor))) + 1;
    return 2 * halves + 1;
}

nof1_rc_value nof1_bayes_integrate(struct nof1_bayes_posterior *out, struct nof1_arena *arena,
                                   const struct nof1_bayes_problem *problem)
{
    struct walk walk = {.problem = problem, .arena = arena};
    walk.rules = problem->axes < NOF1_BAYES_AXES ? &few : problem->quick ? &quick : &many;
    for (size_t a = 0; a < problem->axes; a++) {
        walk.points[a] = problem->axes < NOF1_BAYES_AXES ? (a == 0 ? 49 : 25) : (a == 0 ? 25 : a == 3 ? 21 : 15);
    }
    double error = 0.0;
    for (int pass = 0; pass < 7; pass++) {
        TRY(run(&walk));
        bool enough = true;
        error = 0.0;
        for (size_t a = 0; a < problem->axes; a++) {
            double coarse = problem->axis[a].fixed ? 0.0 : coarse_error(&walk, a);
            error = fmax(error, coarse * coarse);
            double target = a == 0 ? walk.rules->first : walk.rules->coarse;
            if (coarse > target) {
                enough = false;
                walk.points[a] = more_points(walk.points[a], coarse, target);
            }
        }
        if (enough) {
            break;
        }
    }
    double total = 0.0;
    for (size_t i = 0; i < walk.nodes; i++) {
        total += walk.node[i].weight;
    }
    for (size_t i = 0; i < walk.nodes; i++) {
        walk.node[i].weight /= total;
    }
    *out = (struct nof1_bayes_posterior){.axes = problem->axes, .nodes = walk.nodes,
                                         .node = walk.node, .error = error,
                                         .log_evidence = walk.top + log(total)};
    memcpy(out->axis, problem->axis, sizeof out->axis);
    return NOF1_OK;
}

/* ---- distribution of a number that was integrated over ---- */

/* Integral of sinc from -infinity to z: 1/2 + Si(pi z) / pi; far out by its asymptotic series. */
static double sinc_integral(double z)
{
    double x = M_PI * fabs(z);
    double part = 1.0;
    if (isinf(z)) {
        return z > 0.0 ? 1.0 : 0.0;
    }
    if (x < 1e6) {
        part = 0.5 + gsl_sf_Si(x) / M_PI;
    } else {
        part = 1.0 - cos(x) / x / M_PI;
    }
    return z >= 0.0 ? part : 1.0 - part;
}

static double axis_lower(const struct nof1_bayes_target *target, double x, double *density)
{
    const struct nof1_bayes_posterior *p = target->posterior;
    size_t axis = target->axis;
    double sum = 0.0, weight = 0.0;
    *density = 0.0;
    for (size_t i = 0; i < p->nodes; i++) {
        const struct nof1_bayes_node *node = &p->node[i];
        weight += node->weight; /* of neighbours at one place */
        if (i + 1 < p->nodes && node[1].x[axis] == node->x[axis] &&
            node[1].step[axis] == node->step[axis]) {
            continue;
        }
        double z = (x - node->x[axis]) / node->step[axis], a = M_PI * z;
        sum += weight * sinc_integral(z);
        *density += weight / node->step[axis] * (fabs(a) < 1e-4 ? 1.0 : sin(a) / a);
        weight = 0.0;
    }
    return sum;
}

nof1_rc_value nof1_bayes_axis_quantile(double *out, const struct nof1_bayes_posterior *p,
                                       size_t axis, double probability)
{
    struct nof1_bayes_target target = {p, axis, 0.0};
    double mean = 0.0, scale = 0.0, x, unused;
    if (p->axis[axis].fixed) {
        *out = p->axis[axis].lower;
        return NOF1_OK;
    }
    for (size_t i = 0; i < p->nodes; i++) {
        mean += p->node[i].weight * p->node[i].x[axis];
    }
    for (size_t i = 0; i < p->nodes; i++) {
        scale += p->node[i].weight * fabs(p->node[i].x[axis] - mean);
    }
    TRY(nof1_bayes_solve(&x, axis_lower, &target, probability,
                         mean + scale * nof1_normal_quantile(1.0 - probability),
                         fmax(scale, 1e-6)));
    *out = value_at(&p->axis[axis], fmin(REACH, fmax(-REACH, x)), &unused);
    return NOF1_OK;
}
