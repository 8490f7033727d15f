/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where the integrand of a Bayesian problem is: its modes, from a coarse scan of all numbers, and
 * its width there. Everything in the substituted variables of bayes_axis.c, so that units do not
 * matter.
 */
#include <math.h>
#include <string.h>

#include "bayes_lattice.h"

#define SCAN 9

/* log of the integrand at x, in the substituted variables. */
static double integrand(const struct nof1_bayes_problem *problem, const double *x)
{
    double at[AXES] = {0}, f = 0.0, derivative;
    struct nof1_bayes_normal unused;
    for (size_t a = 0; a < problem->axes; a++) {
        const struct nof1_bayes_axis *axis = &problem->axis[a];
        if (nof1_bayes_fixed(axis)) {
            at[a] = axis->prior.scale;
        } else {
            at[a] = nof1_bayes_axis_value(axis, x[a], &derivative);
            f += derivative + nof1_bayes_log_prior(&axis->prior, at[a]);
        }
    }
    f += problem->density(problem->self, at, &unused);
    return isnan(f) ? -INFINITY : f;
}

static double scan_at(const struct nof1_bayes_axis *axis, size_t i)
{
    double reach = fmin(nof1_bayes_axis_reach(axis), axis->even ? 16.0 : 3.0);
    reach = axis->even && reach < 16.0 ? 3.2 : reach;
    double part = (double)i / (SCAN - 1);
    return axis->even ? reach * part : reach * (2.0 * part - 1.0);
}

/* Uphill along the axes, by steps that grow where they succeed and shrink where they do not, until
 * steps to both sides cost little. */
static void climb(const struct nof1_bayes_problem *problem, struct mode *mode)
{
    double step[AXES] = {0.3, 0.3, 0.3, 0.3};
    bool busy = true;
    for (int sweep = 0; sweep < 200 && busy; sweep++) {
        busy = false;
        for (size_t a = 0; a < problem->axes; a++) {
            double x = mode->x[a], best = mode->f, least = mode->f, to = x;
            if (nof1_bayes_fixed(&problem->axis[a])) {
                continue;
            }
            for (int side = -1; side <= 1; side += 2) {
                mode->x[a] = x + side * step[a];
                bool there = nof1_bayes_inside(&problem->axis[a], mode->x[a]);
                double f = there ? integrand(problem, mode->x) : mode->f;
                to = f > best ? mode->x[a] : to;
                best = fmax(best, f);
                least = fmin(least, f);
            }
            busy = busy || (to != x ? best - mode->f > 0.01 : mode->f - least > 0.05);
            step[a] *= to != x ? 1.6 : least < mode->f - 0.05 ? 0.4 : 1.0;
            mode->x[a] = to;
            mode->f = best;
        }
    }
}

/* Is the scan's point i no lower than its neighbours along the axes? */
static bool summit(const double *f, const size_t *size, size_t i)
{
    size_t stride = 1;
    for (size_t a = 0; a < AXES; a++) {
        size_t at = i / stride % size[a];
        if ((at > 0 && f[i - stride] > f[i]) || (at + 1 < size[a] && f[i + stride] >= f[i])) {
            return false;
        }
        stride *= size[a];
    }
    return isfinite(f[i]);
}

/* From the highest summits of a scan. */
nof1_rc_value nof1_bayes_modes(struct mode mode[SEEDS + 1], size_t *modes,
                               const struct nof1_bayes_problem *problem, struct nof1_arena *arena)
{
    size_t size[AXES] = {1, 1, 1, 1}, all = 1;
    for (size_t a = 0; a < problem->axes; a++) {
        size[a] = nof1_bayes_fixed(&problem->axis[a]) ? 1 : SCAN;
        all *= size[a];
    }
    double *f = nof1_arena_alloc(arena, all, sizeof *f);
    ENSURE(f != NULL, NOF1_E_NO_MEMORY);
    *modes = 0;
    for (int look = 0; look < 2; look++) { /* first the values, then their summits */
        for (size_t i = 0; i < all; i++) {
            struct mode one = {.f = f[i]};
            size_t rest = i, place = *modes;
            for (size_t a = 0; a < problem->axes; a++) {
                one.x[a] = size[a] > 1 ? scan_at(&problem->axis[a], rest % size[a]) : 0.0;
                rest /= size[a];
            }
            if (look == 0) {
                f[i] = integrand(problem, one.x);
                continue;
            }
            while (summit(f, size, i) && place > 0 && mode[place - 1].f < one.f) {
                place--;
            }
            if (!summit(f, size, i) || place == SEEDS) {
                continue;
            }
            *modes += *modes < SEEDS ? 1 : 0;
            memmove(&mode[place + 1], &mode[place], (*modes - 1 - place) * sizeof *mode);
            mode[place] = one;
        }
    }
    for (size_t m = 0; m < *modes; m++) {
        climb(problem, &mode[m]);
        if (mode[m].f > mode[0].f) {
            struct mode best = mode[m];
            mode[m] = mode[0];
            mode[0] = best;
        }
    }
    return NOF1_OK;
}

double nof1_bayes_width(const struct nof1_bayes_problem *problem, const struct mode *mode,
                        size_t a)
{
    double widest = 0.0;
    for (int side = -1; side <= 1; side += 2) {
        struct mode at = *mode;
        double near = 0.0, far = 1e-6;
        for (int i = 0; i < 60; i++) {
            double d = i < 30 && near * 2.0 >= far ? far : 0.5 * (near + far);
            at.x[a] = mode->x[a] + side * d;
            if (!nof1_bayes_inside(&problem->axis[a], at.x[a])) {
                near = 0.0;
                break;
            }
            bool within = integrand(problem, at.x) > mode->f - 0.5;
            near = within ? d : near;
            far = within ? (d == far ? 2.0 * far : far) : d;
            if (far < 1.1 * near) {
                break;
            }
        }
        widest = fmax(widest, near);
    }
    return widest > 0.0 ? widest : 0.1;
}
