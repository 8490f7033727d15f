/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What exact sums tell of the histogram of a class's totals (docs/disclosure.md, "Generalised mixed
 * models"): histograms with the sums released are listed. In an open lab there is one; elsewhere
 * the functions are so coarse, or so few, that there are many, or the form is refused.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stats/analyses/glmm_model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counting.h"
#include "pooled.h"
#include "support.h"

#define SETS 40

static struct test_study *study_of(struct nof1_arena *arena, int rows, int patients, bool open)
{
    struct nof1_buffer text = {0};
    cr_assert(nof1_buffer_printf(&text, "trial,cycle,period,treatment,y\n") == NOF1_OK);
    for (int i = 0; i < patients * 2 * rows; i++) {
        cr_assert(nof1_buffer_printf(&text, "%d,%d,%d,%d,%d\n", i / (2 * rows) + 1,
                                     i % (2 * rows) / 2 + 1, i % (2 * rows) + 1, i % 2,
                                     i % 3 == 0) == NOF1_OK);
    }
    char *csv = nof1_arena_printf(arena, "%.*s", (int)text.length, (const char *)text.data);
    nof1_buffer_free(&text);
    const char *plan = nof1_arena_printf(arena,
                                         "analysis: glmm\nincomplete: class\ncharter: {kind: "
                                         "binary, open: %s, max_release_ratio: 0.33, "
                                         "min_class_patients: 8}\n",
                                         open ? "true" : "false");
    return test_trials_from_text(arena, csv, plan, NULL);
}

/* Histograms that give the sums of one made data set; *known: patients that they all place alike.
 */
static double count_set(double *known, const struct glmm_model *m, int patients,
                        struct test_random *random)
{
    struct counting *c = calloc(1, sizeof *c);
    const struct glmm_class *class_ = &m->class_[0];
    double level = 0.7 * test_random_normal(random),
           effect = 0.5 + 0.5 * test_random_normal(random);
    c->totals = class_->totals;
    c->functions = m->functions;
    for (size_t t = 0; t < c->totals; t++) {
        for (size_t j = 0; j < m->functions; j++) {
            c->value[t][j] = j == 0 ? (double)t : class_->basis[t * (m->functions - 1) + j - 1];
        }
    }
    for (int i = 0; i < patients; i++) {
        double own = level + test_random_normal(random);
        size_t total = 0;
        for (size_t r = 0; r < class_->n[0] + class_->n[1]; r++) {
            double eta = own + (r % 2 == 1 ? effect : 0);
            total += test_random_uniform(random) < 1 / (1 + exp(-eta));
        }
        for (size_t j = 0; j < m->functions; j++) {
            c->sum[j] += c->value[total][j];
        }
    }
    test_counting(c, patients);
    double found = (double)c->found;
    for (size_t t = 0; t < c->totals; t++) {
        *known += c->least[t] / (double)patients / SETS;
    }
    free(c);
    return found;
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Median of the histograms found; 0: the form is refused. */
static double count_out(double *known, int rows, int patients, bool open)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error = {0};
    struct nof1_model *model;
    struct test_random random = {2026};
    double found[SETS];
    struct test_study *s = study_of(arena, rows, patients, open);
    nof1_rc_value rc = s->analysis->prepare(&model, arena, &s->study, &error);
    *known = found[SETS / 2] = 0;
    for (int i = 0; i < SETS && rc == NOF1_OK; i++) {
        found[i] = count_set(known, glmm_of(model), patients, &random);
    }
    if (rc == NOF1_OK) {
        qsort(found, SETS, sizeof *found, ascending);
        if (getenv("NOF1_TEST_VERBOSE") != NULL) {
            printf("%d and %d rows, %d patients, %s: %zu functions, step %g: %g histograms (%g to "
                   "%g), %.0f %% of patients in all\n", rows, rows, patients,
                   open ? "open" : "closed", glmm_of(model)->functions, glmm_of(model)->step,
                   found[SETS / 2], found[0], found[SETS - 1], 100 * *known);
        }
    }
    double median = found[SETS / 2];
    nof1_arena_free(arena);
    return median;
}

Test(glmm_counting, sums_of_classes_leave_many_histograms)
{
    static const struct {
        int rows, patients;
        bool refused;
    } cases[] = {{3, 10, true}, {3, 14, true}, {3, 18, false}, {3, 22, false},
                 {4, 10, false}, {4, 12, false}, {5, 10, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double known;
        double median = count_out(&known, cases[i].rows, cases[i].patients, false);
        if (cases[i].refused) {
            cr_expect(median == 0, "%d rows, %d patients: %g", cases[i].rows, cases[i].patients,
                      median);
        } else {
            cr_expect(median >= 8 && known < 0.35, "%d rows, %d patients: %g, %g", cases[i].rows,
                      cases[i].patients, median, known);
        }
        if (cases[i].patients < 14 || cases[i].rows < 4) {
            median = count_out(&known, cases[i].rows, cases[i].patients, true);
            cr_expect(median == 1 && known > 0.99, "open: %g, %g", median, known);
        }
    }
}
