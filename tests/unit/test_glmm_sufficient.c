/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The likelihood of one trial (lib/stats/glmm.h) against differences and against plain integration;
 * sufficiency and minimality of the class form of glmm: with as many functions as a histogram of
 * totals has free cells, the released numbers span the log-likelihood, and one number fewer does
 * not.
 */
#include <criterion/criterion.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stats/analyses/glmm_model.h>
#include <stdio.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

#define CELLS 3
#define P_MAX 5

static const double cell_x[CELLS * 2] = {1, 0, 1, 1, 1, 1};
static const double cell_n[CELLS] = {3, 2, 2}, cell_y[CELLS] = {2, 1, 2};
static const double cell_offset[CELLS] = {0, 0.3, -0.2};
static const uint8_t cell_arm[CELLS] = {0, 1, 1};
static const struct nof1_glmm_cells cells = {CELLS, cell_x, cell_n, cell_y, cell_offset, cell_arm};

static double value_at(double *jet, const struct nof1_glmm_shape *shape, const double *theta)
{
    double memory[2048];
    cr_assert(nof1_glmm_memory(shape, CELLS) <= 2048);
    cr_assert(nof1_glmm_trial(jet, shape, theta, &cells, memory));
    return jet[0];
}

static void check_derivatives(const struct nof1_glmm_shape *shape, const double *theta)
{
    size_t p = nof1_glmm_parameters(shape);
    double jet[32], up[32], down[32], moved[P_MAX];
    (void)value_at(jet, shape, theta);
    for (size_t i = 0; i < p; i++) {
        double h = 1e-4;
        memcpy(moved, theta, sizeof moved);
        moved[i] = theta[i] + h;
        (void)value_at(up, shape, moved);
        moved[i] = theta[i] - h;
        (void)value_at(down, shape, moved);
        cr_expect(fabs((up[0] - down[0]) / (2 * h) - jet[1 + i]) < 1e-7, "gradient %zu", i);
        for (size_t j = 0; j < p; j++) {
            size_t high = i > j ? i : j, low = i > j ? j : i;
            double exact = jet[1 + p + high * (high + 1) / 2 + low];
            cr_expect(fabs((up[1 + j] - down[1 + j]) / (2 * h) - exact) < 1e-6,
                      "Hessian %zu %zu: %g, %g", i, j, (up[1 + j] - down[1 + j]) / (2 * h), exact);
        }
    }
}

Test(glmm_trial, derivatives_are_those_of_the_approximation)
{
    double node[NOF1_GLMM_NODES_MAX], weight[NOF1_GLMM_NODES_MAX];
    static const double theta[P_MAX] = {-0.3, 0.7, 0.9, 0.2, 0.5};
    static const size_t nodes[] = {1, 2, 9, 101};
    for (size_t k = 0; k < 4; k++) {
        cr_assert(nof1_glmm_quadrature(node, weight, nodes[k]) == NOF1_OK);
        for (int family = 0; family < 2; family++) {
            struct nof1_glmm_shape shape = {(enum nof1_glmm_family)family, 2, 1, nodes[k], node,
                                            weight};
            check_derivatives(&shape, theta);
            shape.effects = 2;
            if (nodes[k] == 1) {
                check_derivatives(&shape, theta);
            }
        }
    }
}

/* Integral of the likelihood over u on a fine grid. */
static double integral(const struct nof1_glmm_shape *shape, const double *theta)
{
    double sum = 0, h = 0.002;
    for (int i = -6000; i <= 6000; i++) {
        double u = h * i, l = -u * u / 2;
        for (size_t c = 0; c < CELLS; c++) {
            double eta = theta[0] + theta[1] * cell_x[2 * c + 1] + cell_offset[c] + theta[2] * u;
            l += cell_y[c] * eta -
                 cell_n[c] * (shape->family == NOF1_GLMM_POISSON ? exp(eta) : log1p(exp(eta)));
        }
        sum += exp(l) * h;
    }
    return log(sum / sqrt(2 * M_PI));
}

Test(glmm_trial, many_nodes_are_the_integral)
{
    double node[NOF1_GLMM_NODES_MAX], weight[NOF1_GLMM_NODES_MAX], jet[32];
    static const double theta[P_MAX] = {-0.3, 0.7, 1.4};
    static const size_t nodes[] = {25, 60, 101};
    for (size_t k = 0; k < 3; k++) {
        cr_assert(nof1_glmm_quadrature(node, weight, nodes[k]) == NOF1_OK);
        double total = 0, fourth = 0;
        for (size_t i = 0; i < nodes[k]; i++) {
            double w = exp(weight[i] - node[i] * node[i] / 2);
            total += w;
            fourth += w * pow(node[i], 4);
        }
        cr_expect(fabs(total - 1) < 1e-13 && fabs(fourth - 3) < 1e-12);
        for (int family = 0; family < 2; family++) {
            struct nof1_glmm_shape shape = {(enum nof1_glmm_family)family, 2, 1, nodes[k], node,
                                            weight};
            double off = value_at(jet, &shape, theta) - integral(&shape, theta);
            cr_expect(fabs(off) < (nodes[k] < 60 ? 1e-8 : 1e-11), "%zu nodes: %.1e", nodes[k], off);
        }
    }
}

/* ---- sufficiency --------------------------------------------------------------------------- */

#define SETS 40
#define POINTS 30
#define RELEASED 7 /* sum y_B, sum s and five functions: a histogram of 0 .. 6 has six free cells */

static size_t rank_of(const double *value, size_t columns)
{
    gsl_matrix *m = gsl_matrix_alloc(SETS, columns), *v = gsl_matrix_alloc(columns, columns);
    gsl_vector *s = gsl_vector_alloc(columns);
    for (size_t c = 0; c < columns; c++) {
        double mean = 0, square = 0;
        for (size_t r = 0; r < SETS; r++) {
            mean += value[r * (POINTS + RELEASED) + c] / SETS;
        }
        for (size_t r = 0; r < SETS; r++) {
            double d = value[r * (POINTS + RELEASED) + c] - mean;
            gsl_matrix_set(m, r, c, d);
            square += d * d;
        }
        for (size_t r = 0; r < SETS; r++) {
            *gsl_matrix_ptr(m, r, c) /= sqrt(square);
        }
    }
    gsl_linalg_SV_decomp_jacobi(m, v, s);
    size_t rank = 0;
    while (rank < columns && gsl_vector_get(s, rank) > 1e-11 * gsl_vector_get(s, 0)) {
        rank++;
    }
    gsl_matrix_free(m);
    gsl_matrix_free(v);
    gsl_vector_free(s);
    return rank;
}

static void draw_outcomes(struct test_study *s, struct test_random *random)
{
    for (size_t i = 0; i < s->trials; i++) {
        double *y = (double *)(uintptr_t)s->trial[i].outcome[0];
        double level = test_random_uniform(random);
        for (size_t r = 0; r < s->trial[i].rows; r++) {
            y[r] = test_random_uniform(random) < level;
        }
    }
}

Test(glmm_class, releases_what_suffices_and_no_more)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    struct nof1_buffer text = {0};
    struct nof1_model *model;
    struct test_random random = {9};
    struct nof1_layout layout;
    double *value = nof1_arena_alloc(arena, SETS * (POINTS + RELEASED), sizeof *value);
    double term[16], jet[10], memory[GLMM_CLASS_MEMORY];
    cr_assert(nof1_buffer_printf(&text, "trial,cycle,period,treatment,y\n") == NOF1_OK);
    for (int i = 0; i < 25 * 6; i++) {
        cr_assert(nof1_buffer_printf(&text, "%d,%d,%d,%d,%d\n", i / 6 + 1, i % 6 / 2 + 1,
                                     i % 6 + 1, i % 2, i % 3 == 0) == NOF1_OK);
    }
    char *csv = nof1_arena_printf(arena, "%.*s", (int)text.length, (const char *)text.data);
    nof1_buffer_free(&text);
    struct test_study *s = test_trials_from_text(
        arena, csv, "analysis: glmm\nincomplete: class\ncharter: {kind: binary}\n", NULL);
    cr_assert(s->analysis->prepare(&model, arena, &s->study, &error) == NOF1_OK);
    const struct glmm_model *m = glmm_of(model);
    cr_assert(s->analysis->layout(model, 1, arena, &layout) == NOF1_OK);
    cr_assert(layout.elements == RELEASED && m->classes == 1);
    char *scratch = nof1_arena_alloc(arena, model->scratch + 8 * model->scratch_row, 1);
    for (size_t set = 0; set < SETS; set++) {
        double *row = value + set * (POINTS + RELEASED);
        struct test_random points = {77};
        draw_outcomes(s, &random);
        for (size_t i = 0; i < s->trials; i++) {
            cr_assert(s->analysis->contribute(model, 1, NULL, &s->trial[i], scratch, term) ==
                      NOF1_OK);
            for (size_t e = 0; e < RELEASED; e++) {
                row[POINTS + e] += term[e];
            }
        }
        for (size_t k = 0; k < POINTS; k++) {
            double theta[3] = {2 * test_random_normal(&points), test_random_normal(&points),
                               0.2 + 3 * test_random_uniform(&points)};
            for (size_t i = 0; i < s->trials; i++) {
                double total = 0, active = 0;
                for (size_t r = 0; r < 6; r++) {
                    total += s->trial[i].outcome[0][r];
                    active += s->trial[i].treatment[r] == 1 ? s->trial[i].outcome[0][r] : 0;
                }
                cr_assert(glmm_total_jet(jet, m, &m->class_[0], theta, (size_t)total, memory) ==
                          NOF1_OK);
                row[k] += jet[0] + theta[1] * active;
            }
        }
    }
    cr_expect(rank_of(value, POINTS) == RELEASED, "likelihood %zu", rank_of(value, POINTS));
    cr_expect(rank_of(value, POINTS + RELEASED) == RELEASED, "together %zu",
              rank_of(value, POINTS + RELEASED));
    nof1_arena_free(arena);
}

/* max_trial_share: a trial's weight is its term in the element that tells of weights. */
Test(glmm_score, weights_are_the_terms_of_their_element)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    struct nof1_model *model;
    struct nof1_history history;
    struct nof1_layout layout;
    char csv[65536] = "trial,period,treatment,y\n";
    size_t length = strlen(csv);
    for (int t = 0; t < 80; t++) {
        for (int r = 0; r < (t == 0 ? 120 : 4 + t % 3); r++) {
            length += (size_t)snprintf(csv + length, sizeof csv - length, "%d,%d,%d,%d\n", t, r + 1,
                                       r % 2, 1 + (t * 5 + r * 3) % 7 % 3);
        }
    }
    static const char *const kinds[] = {"binary", "count", "ordinal"};
    for (size_t k = 0; k < 3; k++) {
        const char *text = nof1_arena_printf(arena,
                                             "analysis: glmm\nincomplete: score\nfixed: "
                                             "[period, treatment]\ncharter: {kind: %s, open: "
                                             "false, max_release_ratio: 0.5}\n",
                                             kinds[k]);
        const char *data = csv;
        if (k == 0) { /* 1, 2, 3 to 0, 1, 1 */
            char *copy = nof1_arena_printf(arena, "%s", csv);
            for (char *c = strchr(copy, '\n') + 1; *c != '\0'; c++) {
                *c = c[1] != '\n' ? *c : *c == '1' ? '0' : '1';
            }
            data = copy;
        }
        struct test_study *s = test_trials_from_text(arena, data, text, NULL);
        cr_assert(test_pooled_history(&model, &history, arena, &s->study, s->trial, s->patient,
                                      s->trials, &error) == NOF1_OK, "%s", error.message);
        size_t element = s->analysis->weight_element(model);
        cr_assert(s->analysis->layout(model, 2, arena, &layout) == NOF1_OK);
        cr_assert(element < layout.elements);
        cr_expect_str_eq(layout.element[element].name, "information treatment*treatment");
        char *scratch = nof1_arena_alloc(arena, model->scratch + 120 * model->scratch_row, 1);
        double sum = 0, most = 0, first = 0;
        for (size_t i = 0; i < s->trials; i++) {
            double w =
                s->analysis->weight(model, history.round[1].parameter, &s->trial[i], scratch);
            cr_expect(w > 0);
            first = i == 0 ? w : first;
            most = fmax(most, w);
            sum += w;
        }
        double total = history.round[1].total[element];
        cr_expect(fabs(sum - total) < 1e-9 * total, "%s: %g, %g", kinds[k], sum, total);
        cr_expect(first == most && first > 5 * sum / (double)s->trials, "%s", kinds[k]);
    }
    nof1_arena_free(arena);
}
