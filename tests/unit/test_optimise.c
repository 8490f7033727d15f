/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The minimisers on functions with known minima: they must arrive from bad starts, cross saddles,
 * and the ask/tell form must propose the same points from the same evaluations.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stats/optimise.h>
#include <string.h>

#include "support.h"

static bool rosenbrock(void *context, const double *x, double *f, double *g, double *h)
{
    (void)context;
    double a = 1 - x[0], b = x[1] - x[0] * x[0];
    *f = a * a + 100 * b * b;
    g[0] = -2 * a - 400 * x[0] * b;
    g[1] = 200 * b;
    h[0] = 2 - 400 * (b - 2 * x[0] * x[0]);
    h[1] = h[2] = -400 * x[0];
    h[3] = 200;
    return true;
}

/* Two minima at (+-1, 0), a saddle at the origin; defined for |x| < 1e3 only. */
static bool double_well(void *context, const double *x, double *f, double *g, double *h)
{
    (void)context;
    double w = x[0] * x[0] - 1;
    *f = w * w + x[1] * x[1];
    g[0] = 4 * w * x[0];
    g[1] = 2 * x[1];
    h[0] = 12 * x[0] * x[0] - 4;
    h[1] = h[2] = 0;
    h[3] = 2;
    return fabs(x[0]) < 1e3;
}

Test(optimise, reaches_known_minima)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_objective objective = {2, 1, NULL, rosenbrock};
    double starts[][2] = {{-1.2, 1}, {5, -7}, {0, 0}, {-30, 40}};
    for (size_t i = 0; i < 4; i++) {
        double *x = starts[i], f, decrement;
        cr_expect(nof1_minimise(&objective, arena, x, &f, &decrement, 1e-26) == NOF1_OK);
        cr_expect(test_close(x[0], 1, 1e-10, 1) && test_close(x[1], 1, 1e-10, 1), "%g %g", x[0],
                  x[1]);
    }
    objective.evaluate = double_well;
    double near_saddle[2] = {1e-5, 3}, f, decrement;
    cr_expect(nof1_minimise(&objective, arena, near_saddle, &f, &decrement, 1e-26) == NOF1_OK);
    cr_expect(test_close(fabs(near_saddle[0]), 1, 1e-12, 1), "%g", near_saddle[0]);
    double outside[2] = {2e3, 0};
    cr_expect(nof1_minimise(&objective, arena, outside, &f, &decrement, 1e-26) == NOF1_E_MODEL);
    nof1_arena_free(arena);
}

/* f = sum log(1 + c_i^2 ...): gradient exact, Hessian known only in part. */
static void partial(const double *x, double *f, double *g, double *h)
{
    *f = 0;
    memset(h, 0, 9 * sizeof *h);
    for (size_t i = 0; i < 3; i++) {
        double c = (double)(i + 1), z = x[i] - c;
        g[i] = c * z + 0.4 * z * z * z + 0.3 * (x[(i + 1) % 3] - (double)((i + 1) % 3 + 1)) +
               0.3 * (x[(i + 2) % 3] - (double)((i + 2) % 3 + 1));
        *f += c * z * z / 2 + 0.1 * z * z * z * z;
        *f += 0.3 * z * (x[(i + 1) % 3] - (double)((i + 1) % 3 + 1));
        h[i * 3 + i] = 1.4 * c;
    }
}

Test(optimise, asks_the_same_and_converges_superlinearly)
{
    struct nof1_arena *arena = nof1_arena_new();
    double x[20][3], f, g[20][3], h[20][9];
    struct nof1_evaluation evaluation[20];
    double decrement = 1, again[3];
    size_t count = 0;
    memset(x, 0, sizeof x);
    while (count < 20) {
        partial(x[count], &f, g[count], h[count]);
        evaluation[count] = (struct nof1_evaluation){x[count], f, g[count], h[count]};
        count++;
        struct nof1_ask ask;
        for (int repeat = 0; repeat < 2; repeat++) {
            cr_assert(nof1_ask(&ask, arena, evaluation, count, 3, 1, 0, 1) == NOF1_OK);
            for (size_t i = 0; i < 3; i++) {
                double next = x[ask.best][i] + ask.fraction * ask.step[i];
                cr_expect(repeat == 0 || next == again[i], "replay differs");
                again[i] = next;
            }
        }
        decrement = ask.decrement;
        if (decrement < 1e-20 || count == 20) {
            break;
        }
        memcpy(x[count], again, sizeof again);
    }
    cr_expect(decrement < 1e-20 && count <= 14, "%g after %zu", decrement, count);
    for (size_t i = 0; i < 3; i++) {
        cr_expect(test_close(again[i], (double)(i + 1), 1e-9, 1));
    }
    nof1_arena_free(arena);
}

Test(optimise, a_flat_direction_gives_no_infinite_step)
{
    double gradient[2] = {1, 0}, hessian[4] = {1, 0, 0, 0}, step[2], work[14];
    bool curved = true;
    double decrement = nof1_newton_step(step, gradient, hessian, 2, 1e-9, &curved, work);
    cr_expect(decrement == 1 && step[0] == -1 && step[1] == 0 && !curved);
}
