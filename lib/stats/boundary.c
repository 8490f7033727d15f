/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Group-sequential boundaries: see boundary.h. The density of paths that have not stopped is kept
 * at Gauss-Legendre nodes of panels no wider than the next step's standard deviation, where the
 * integrand is smooth enough for 20 nodes a panel to be exact to rounding.
 */
#include <stats/boundary.h>

#include <math.h>
#include <stdlib.h>

#include <gsl/gsl_integration.h>

#include <stats/distributions.h>

#define PANEL 20
#define FAR 9.0 /* standard deviations beyond which no path matters: 1e-19 */
#define NOTHING 1e-12

struct path {
    size_t nodes;
    double *x, *density; /* the density times the node's weight */
    double step;         /* sd of the next increment; the start: nodes = 0 */
};

double nof1_spent(enum nof1_spending type, double alpha, double t)
{
    if (type == NOF1_SPEND_POCOCK) {
        return alpha * log1p((exp(1.0) - 1.0) * t);
    }
    return 4.0 * nof1_normal_upper(nof1_normal_quantile(alpha / 4.0) / sqrt(t));
}

static double normal_density(double x)
{
    return exp(-0.5 * x * x) * 0.39894228040143267794;
}

/* Probability that the path is above c after the next step, having stayed inside before. */
static double exit_above(double c, const struct path *path)
{
    if (path->nodes == 0) {
        return nof1_normal_upper(c / path->step);
    }
    double sum = 0.0;
    for (size_t i = 0; i < path->nodes; i++) {
        sum += path->density[i] * nof1_normal_upper((c - path->x[i]) / path->step);
    }
    return sum;
}

static double density_at(double x, const struct path *path)
{
    if (path->nodes == 0) {
        return normal_density(x / path->step) / path->step;
    }
    double sum = 0.0;
    for (size_t i = 0; i < path->nodes; i++) {
        sum += path->density[i] * normal_density((x - path->x[i]) / path->step);
    }
    return sum / path->step;
}

struct target {
    const struct path *path;
    double log_spend;
};

static double excess(double c, void *context)
{
    const struct target *target = context;
    return log(fmax(exit_above(c, target->path), 1e-300)) - target->log_spend;
}

/* The path's density on (-c, c) after the next step; `after` is the sd of the step that follows. */
static nof1_rc advance_path(struct path *path, double c, double after)
{
    size_t panels = (size_t)ceil(2.0 * c / fmin(after, path->step)) + 1;
    size_t nodes = panels * PANEL;
    double *x = malloc(2 * nodes * sizeof *x);
    gsl_integration_glfixed_table *table = gsl_integration_glfixed_table_alloc(PANEL);
    if (x == NULL || table == NULL) {
        free(x);
        if (table != NULL) {
            gsl_integration_glfixed_table_free(table);
        }
        return NOF1_E_NO_MEMORY;
    }
    double width = 2.0 * c / (double)panels;
    for (size_t i = 0; i < nodes; i++) {
        double left = -c + width * (double)(i / PANEL), weight;
        gsl_integration_glfixed_point(left, left + width, i % PANEL, &x[i], &weight, table);
        x[nodes + i] = weight * density_at(x[i], path);
    }
    gsl_integration_glfixed_table_free(table);
    free(path->x);
    *path = (struct path){nodes, x, x + nodes, after};
    return NOF1_OK;
}

static nof1_rc look(double *bound, struct path *path, double spend, double t, double after)
{
    double far = FAR * sqrt(t), c = far;
    if (spend >= NOTHING) {
        struct target target = {path, log(0.5 * spend)};
        TRY(nof1_root(&c, excess, &target, 0.0, far, 1e-15));
    }
    *bound = spend >= NOTHING ? c / sqrt(t) : INFINITY;
    return after > 0.0 ? advance_path(path, c, after) : NOF1_OK;
}

nof1_rc nof1_boundaries(double *bound, enum nof1_spending type, double alpha, size_t looks,
                        const double *t)
{
    ENSURE(looks > 0 && looks <= NOF1_MOST_LOOKS && alpha > 0.0 && alpha < 1.0, NOF1_E_PLAN);
    for (size_t k = 0; k < looks; k++) {
        ENSURE(t[k] - (k == 0 ? 0.0 : t[k - 1]) >= NOF1_LEAST_FRACTION * (1.0 - 1e-9) &&
                   t[k] <= 1.0,
               NOF1_E_PLAN);
    }
    struct path path = {.step = sqrt(t[0])};
    double spent = 0.0;
    nof1_rc_value rc = NOF1_OK;
    for (size_t k = 0; rc == NOF1_OK && k < looks; k++) {
        double now = nof1_spent(type, alpha, t[k]);
        double after = k + 1 < looks ? sqrt(t[k + 1] - t[k]) : 0.0;
        rc = look(&bound[k], &path, now - spent, t[k], after);
        spent = now - spent >= NOTHING ? now : spent; /* else it is left for the next look */
    }
    free(path.x);
    return rc;
}
