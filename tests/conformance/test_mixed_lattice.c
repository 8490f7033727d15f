/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What score rounds of mixed_model tell of the patients who are alone in their pattern of observed
 * periods (docs/disclosure.md, "Score rounds of the mixed model"). The attacker holds the totals of
 * every round and the census by pattern; outcomes and coded covariates are whole numbers of steps,
 * which a lattice reduction finds in exact sums under real weights.
 */
#include <audit/reconstruct.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stats/analyses/mixed.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pooled.h"
#include "support.h"

#define STUDIES 5 /* 20 where the numbers are printed */
#define PATTERNS 32
#define SUMS_MAX 4096

struct design {
    int patients, periods;  /* periods of each arm, one row each */
    int scale;              /* outcomes 0 .. scale */
    const char *fixed, *random;
    double steps;           /* of the covariate x, 0 .. steps */
};

struct pattern {
    size_t n[2], patients;
    double sum[2], x, xx;   /* the truth: outcomes by arm, covariate, its square */
};

struct study {
    struct nof1_arena *arena;
    struct test_study *s;
    struct nof1_model *model;
    struct nof1_history history;
    size_t patterns;
    struct pattern pattern[PATTERNS];
    double *covariate_step; /* of the charter */
    struct nof1_error error;
};

static double whole(double x, double most)
{
    return fmin(most, fmax(0, floor(x + 0.5)));
}

static char *make_rows(struct nof1_arena *arena, const struct design *d, struct test_random *random)
{
    struct nof1_buffer text = {0};
    cr_assert(nof1_buffer_printf(&text, "trial,cycle,period,treatment,y,x\n") == NOF1_OK);
    double sd = d->scale / 6.0;
    for (int i = 0; i < d->patients; i++) {
        double level = d->scale / 2.0 + 0.7 * sd * test_random_normal(random);
        double effect = -0.5 * sd + 0.6 * sd * test_random_normal(random);
        double x = floor(test_random_uniform(random) * (d->steps + 1));
        for (int r = 0; r < 2 * d->periods; r++) {
            if (r >= 2 && test_random_uniform(random) < 0.3) {
                continue;
            }
            double y = level + (r % 2) * effect + 0.7 * sd * test_random_normal(random);
            cr_assert(nof1_buffer_printf(&text, "%d,%d,%d,%d,%.0f,%.0f\n", i + 1, r / 2 + 1, r + 1,
                                         r % 2, whole(y, d->scale), x) == NOF1_OK);
        }
    }
    char *csv = nof1_arena_printf(arena, "%.*s", (int)text.length, (const char *)text.data);
    nof1_buffer_free(&text);
    return csv;
}

static void count_patterns(struct study *st)
{
    for (size_t i = 0; i < st->s->trials; i++) {
        const struct nof1_trial *trial = &st->s->trial[i];
        size_t n[2] = {0}, g = 0;
        double sum[2] = {0}, x = trial->covariate[0][0];
        for (size_t r = 0; r < trial->rows; r++) {
            n[trial->treatment[r]]++;
            sum[trial->treatment[r]] += trial->outcome[0][r];
        }
        while (g < st->patterns && memcmp(st->pattern[g].n, n, sizeof n) != 0) {
            g++;
        }
        cr_assert_lt(g, (size_t)PATTERNS);
        st->patterns += g == st->patterns;
        struct pattern *p = &st->pattern[g];
        memcpy(p->n, n, sizeof n);
        p->patients += 1;
        p->x += x;
        p->xx += x * x;
        for (size_t k = 0; k < 2; k++) {
            p->sum[k] += sum[k];
        }
    }
}

/* false: the plan is refused. `step`: the charter's quantum; 0: it says none. */
static bool release(struct study *st, const struct design *d, double step, double covariate_step,
                    struct test_random *random)
{
    st->arena = nof1_arena_new();
    const char *plan = nof1_arena_printf(
        st->arena,
        "analysis: mixed_model\nincomplete: score\nfixed: %s\nrandom: %s\ncharter: {open: false, "
        "max_release_ratio: 0.33, min_class_patients: 8, any_arm: false, centre: %d, sd_within: "
        "%g, sd_between: %g}\n", d->fixed, d->random, d->scale / 2, d->scale / 8.0, d->scale / 8.0);
    st->s = test_trials_from_text(st->arena, make_rows(st->arena, d, random), plan, NULL);
    struct nof1_outcome *o = (struct nof1_outcome *)(uintptr_t)st->s->charter.outcome;
    struct nof1_covariate *x = (struct nof1_covariate *)(uintptr_t)st->s->charter.covariate;
    o->quantum = step;
    o->lower = 0;
    o->upper = d->scale;
    *x = (struct nof1_covariate){.name = "x", .kind = NOF1_NUMERIC, .upper = d->steps,
                                 .centre = floor(d->steps / 2), .quantum = covariate_step};
    st->covariate_step = &x->quantum;
    st->s->charter.max_periods = (uint32_t)d->periods;
    count_patterns(st);
    nof1_rc_value rc =
        test_pooled_history(&st->model, &st->history, st->arena, &st->s->study, st->s->trial,
                            st->s->patient, st->s->trials, &st->error);
    if (rc != NOF1_OK && getenv("NOF1_TEST_VERBOSE") != NULL) {
        printf("refused: %s\n", st->error.message);
    }
    return rc == NOF1_OK;
}

/* Unknown 2g and 2g + 1 of pattern g: the sums of outcomes by arm, or of the covariate and its
 * square. INDICATOR: a covariate that is 0 or 1, whose rounded terms are known numbers, too. */
enum target { OUTCOMES, COVARIATE, INDICATOR };

struct tally {
    size_t studies, patterns, rounds, singles, guessed, found[2]; /* by lattice, by regression */
    double approximation;
};

/* What a trial of a pattern adds: at y = 0 and x = 0 (v = 0), and one step further. */
static double *terms_of(const struct study *st, const struct pattern *p, enum target target, int v,
                        uint32_t round)
{
    int32_t cycle[32], period[32];
    double time[32] = {0}, outcome[32], covariate[32], step = *st->covariate_step;
    uint8_t treatment[32];
    const double *outcomes[1] = {outcome}, *variances[1] = {NULL}, *covariates[1] = {covariate};
    size_t rows = p->n[0] + p->n[1];
    for (size_t r = 0; r < rows; r++) {
        size_t arm = r >= p->n[0];
        treatment[r] = (uint8_t)arm;
        cycle[r] = (int32_t)(r - arm * p->n[0]) + 1;
        period[r] = 2 * cycle[r] - 1 + (int32_t)arm;
        outcome[r] = target == OUTCOMES && v == 1 + (int)arm ? 1 / (double)p->n[arm] : 0;
        covariate[r] = target == OUTCOMES ? 0 : v;
    }
    const struct nof1_trial trial = {.rows = rows, .cycle = cycle, .period = period, .time = time,
                                     .treatment = treatment, .outcome = outcomes,
                                     .variance = variances, .covariate = covariates,
                                     .counted = true};
    double *out = nof1_arena_alloc(st->arena, st->model->max_elements, sizeof *out);
    void *scratch = nof1_arena_alloc(
        st->arena, 1, st->model->scratch + rows * st->model->scratch_row + 16);
    *st->covariate_step = target == INDICATOR ? step : 0;
    cr_assert(st->model->analysis->contribute(st->model, round,
                                              st->history.round[round - 1].parameter, &trial,
                                              scratch, out) == NOF1_OK);
    *st->covariate_step = step;
    return out;
}

/* Sums as the attacker writes them: weights of the unknowns, the total last, over their error. */
struct equations {
    size_t unknowns, sums;
    long double (*row)[RECONSTRUCT_WHOLE + 1];
    double expected[RECONSTRUCT_WHOLE], spread[RECONSTRUCT_WHOLE];
};

static void add_equation(struct equations *q, const double *weight, double total, double error)
{
    double size = fabs(total);
    for (size_t u = 0; u < q->unknowns; u++) {
        size = fmax(size, fabs(weight[u]));
    }
    error = fmax(error, size * 0x1p-47);
    cr_assert_lt(q->sums, (size_t)SUMS_MAX);
    for (size_t u = 0; u < q->unknowns; u++) {
        q->row[q->sums][u] = (long double)weight[u] / (long double)error;
    }
    q->row[q->sums++][q->unknowns] = (long double)total / (long double)error;
}

/* The variance of what rounding adds to an element. */
static double variance_of(const struct study *st, const struct nof1_element *element,
                          const double *weight, enum target target)
{
    double step = *st->covariate_step, quantum = element->quantum > 0x1p-30 ? element->quantum : 0;
    double variance = quantum * quantum * (double)st->s->trials / 12;
    for (size_t g = 0; g < st->patterns && target == COVARIATE && step > 0; g++) {
        double x = weight[2 * g], xx = weight[2 * g + 1];
        bool square = fabs(xx) > 1e-9 * fabs(x);
        double unit = square ? ldexp(step * step, ilogb(xx)) : x != 0 ? ldexp(step, ilogb(x)) : 0;
        variance += (double)st->pattern[g].patients * unit * unit / 12;
    }
    return variance;
}

static bool tells(const struct nof1_element *element, enum target target)
{
    return target == OUTCOMES ? strncmp(element->name, "score ", 6) == 0
                              : element->role == NOF1_DESIGN && strchr(element->name, 'x') != NULL;
}

static void write_round(struct equations *q, const struct study *st, enum target target,
                        uint32_t round)
{
    struct nof1_layout layout;
    double *term[PATTERNS][3], weight[RECONSTRUCT_WHOLE];
    cr_assert(st->model->analysis->layout(st->model, round, st->arena, &layout) == NOF1_OK);
    for (size_t g = 0; g < st->patterns; g++) {
        for (int v = 0; v < 3; v++) {
            term[g][v] = terms_of(st, &st->pattern[g], target, v, round);
        }
    }
    for (size_t e = 0; e < layout.elements; e++) {
        double total = st->history.round[round - 1].total[e];
        for (size_t g = 0; g < st->patterns; g++) {
            double none = term[g][0][e], first = term[g][1][e] - none,
                   second = term[g][2][e] - none, square = second / 2 - first;
            weight[2 * g] = target == COVARIATE ? first - square : first;
            weight[2 * g + 1] = target == OUTCOMES ? second : target == COVARIATE ? square : 0;
            total -= (double)st->pattern[g].patients * none;
        }
        if (tells(&layout.element[e], target)) {
            add_equation(q, weight, total,
                         sqrt(variance_of(st, &layout.element[e], weight, target)));
        }
    }
}

/* Householder: as many equations as unknowns that say the same. */
static void compress(struct equations *q)
{
    size_t n = q->unknowns;
    for (size_t c = 0; c < n && q->sums > n; c++) {
        long double norm = 0;
        for (size_t r = c; r < q->sums; r++) {
            norm += q->row[r][c] * q->row[r][c];
        }
        norm = sqrtl(norm) * (q->row[c][c] > 0 ? -1 : 1);
        if (norm == 0) {
            continue;
        }
        long double pivot = q->row[c][c] - norm, square = norm * norm - norm * q->row[c][c];
        for (size_t k = c + 1; k <= n; k++) {
            long double dot = pivot * q->row[c][k];
            for (size_t r = c + 1; r < q->sums; r++) {
                dot += q->row[r][c] * q->row[r][k];
            }
            dot /= square;
            q->row[c][k] -= dot * pivot;
            for (size_t r = c + 1; r < q->sums; r++) {
                q->row[r][k] -= dot * q->row[r][c];
            }
        }
        q->row[c][c] = norm;
        for (size_t r = c + 1; r < q->sums; r++) {
            q->row[r][c] = 0;
        }
    }
    q->sums = q->sums > n ? n : q->sums;
}

static bool by_lattice(double *found, const struct equations *q)
{
    struct reconstruct_whole *w = calloc(1, sizeof *w);
    w->unknowns = q->unknowns;
    w->sums = q->sums;
    for (size_t r = 0; r < q->sums; r++) {
        for (size_t u = 0; u < q->unknowns; u++) {
            w->weight[r][u] = (double)q->row[r][u];
        }
        w->total[r] = (double)q->row[r][q->unknowns];
        w->error[r] = 1;
    }
    memcpy(w->expected, q->expected, sizeof w->expected);
    memcpy(w->spread, q->spread, sizeof w->spread);
    bool ok = reconstruct_whole(found, w);
    free(w);
    return ok;
}

/* Least squares about what is expected: the mean of real numbers so distributed. */
static void by_regression(double *found, struct equations *q)
{
    size_t n = q->unknowns;
    for (size_t u = 0; u < n; u++) {
        double weight[RECONSTRUCT_WHOLE] = {0};
        weight[u] = 1;
        add_equation(q, weight, q->expected[u], q->spread[u]);
    }
    compress(q);
    for (size_t i = n; i-- > 0;) {
        long double rest = q->row[i][n];
        for (size_t k = i + 1; k < n; k++) {
            rest -= q->row[i][k] * (long double)found[k];
        }
        found[i] = floor((double)(rest / q->row[i][i]) + 0.5);
    }
}

static void expect(struct equations *q, const struct study *st, const struct design *d,
                   enum target target)
{
    double square = d->steps * (2 * d->steps + 1) / 6;
    for (size_t u = 0; u < q->unknowns; u++) {
        const struct pattern *p = &st->pattern[u / 2];
        double patients = (double)p->patients, rows = (double)p->n[u % 2], mean, sd;
        if (target == OUTCOMES) {
            mean = rows * d->scale / 2.0 * (u % 2 == 1 ? 0.83 : 1);
            sd = rows * d->scale / 8.0;
        } else {
            mean = u % 2 == 1 ? square : d->steps / 2;
            sd = u % 2 == 1 ? 0.3 * d->steps * d->steps : d->steps / sqrt(12);
        }
        q->expected[u] = floor(patients * mean + 0.5);
        q->spread[u] = fmax(target == INDICATOR ? 0.5 : 1, sqrt(patients) * sd);
    }
}

static size_t count_found(const double *found, const struct study *st, enum target target)
{
    size_t count = 0;
    for (size_t g = 0; g < st->patterns; g++) {
        const struct pattern *p = &st->pattern[g];
        bool right = target == OUTCOMES ? fabs(found[2 * g] - p->sum[0]) < 0.25 &&
                                              fabs(found[2 * g + 1] - p->sum[1]) < 0.25
                                        : fabs(found[2 * g] - p->x) < 0.25;
        count += p->patients == 1 && right;
    }
    return count;
}

static void attack(struct tally *t, const struct study *st, const struct design *d,
                   enum target target)
{
    double found[RECONSTRUCT_WHOLE];
    struct equations *q = calloc(1, sizeof *q);
    q->unknowns = 2 * st->patterns;
    q->row = calloc(SUMS_MAX, sizeof *q->row);
    for (uint32_t round = 1; round <= st->history.rounds; round++) {
        write_round(q, st, target, round);
    }
    compress(q);
    expect(q, st, d, target);
    t->guessed += count_found(q->expected, st, target);
    t->found[0] += by_lattice(found, q) ? count_found(found, st, target) : 0;
    by_regression(found, q);
    t->found[1] += count_found(found, st, target);
    free(q->row);
    free(q);
}

/* `step`, `covariate_step`: of the charter; 0: it says none, so that nothing is rounded. */
static struct tally play(const struct design *d, enum target target, double step,
                         double covariate_step)
{
    struct tally t = {0};
    struct test_random random = {2026};
    bool verbose = getenv("NOF1_TEST_VERBOSE") != NULL;
    for (int i = 0; i < (verbose ? 4 : 1) * STUDIES; i++) {
        struct study *st = calloc(1, sizeof *st);
        struct nof1_error error = {0};
        json_t *result = NULL;
        if (release(st, d, step, covariate_step, &random) &&
            2 * st->patterns <= RECONSTRUCT_WHOLE) {
            t.studies++;
            t.patterns += st->patterns;
            t.rounds += st->history.rounds;
            for (size_t g = 0; g < st->patterns; g++) {
                t.singles += st->pattern[g].patients == 1;
            }
            attack(&t, st, d, target);
            cr_assert(st->model->analysis->report(st->model, &st->history, st->arena, &result,
                                                  &error) == NOF1_OK, "%s", error.message);
            t.approximation = fmax(t.approximation, test_number(result, "fit/approximation_se"));
            cr_expect(!json_is_true(json_object_get(json_object_get(result, "fit"), "exact")) ||
                      step == 0);
            json_decref(result);
        }
        nof1_arena_free(st->arena);
        free(st);
    }
    if (verbose) {
        printf("%d patients, 0-%d, x 0-%g, %s, steps %g and %g: %zu studies, %zu patterns, %zu "
               "rounds, %zu alone; lattice %zu, regression %zu, guess %zu; approximation %.2g\n",
               d->patients, d->scale, d->steps, d->fixed, step, covariate_step, t.studies,
               t.patterns, t.rounds, t.singles, t.found[0], t.found[1], t.guessed,
               t.approximation);
        fflush(stdout);
    }
    cr_assert_gt(t.singles, 10u);
    return t;
}

#define SLOPE "{trial: [intercept, treatment]}"

static void expect_hidden(const struct tally *t)
{
    for (int k = 0; k < 2; k++) {
        cr_expect_leq(t->found[k], t->guessed + t->singles / 10);
    }
}

Test(mixed_lattice, rounded_scores_hide_outcomes)
{
    static const struct design designs[] = {{60, 5, 10, "[treatment]", SLOPE, 1},
                                            {60, 5, 100, "[treatment]", SLOPE, 1}};
    for (size_t i = 0; i < 2; i++) {
        struct tally exact = play(&designs[i], OUTCOMES, 0, 1);
        cr_expect_gt(exact.found[0], exact.singles * 3 / 4);
        struct tally rounded = play(&designs[i], OUTCOMES, 1, 1);
        expect_hidden(&rounded);
    }
}

Test(mixed_lattice, rounded_matrices_hide_numeric_covariates)
{
    static const struct design designs[] = {{60, 5, 10, "[treatment, x]", SLOPE, 32},
                                            {60, 5, 10, "[treatment, x]", SLOPE, 8},
                                            {60, 5, 10, "[treatment, treatment:x]", SLOPE, 32}};
    for (size_t i = 0; i < 3; i++) {
        struct tally exact = play(&designs[i], COVARIATE, 1, 0);
        cr_expect_eq(exact.found[0], exact.singles);
        struct tally rounded = play(&designs[i], COVARIATE, 1, 1);
        expect_hidden(&rounded);
    }
}

/* Rounded or not, a term with an indicator is one of two numbers: found where a charter says
 * nothing of the covariate's steps, so refused where it says that they are few. */
Test(mixed_lattice, indicators_would_be_found)
{
    static const struct design design = {60, 5, 10, "[treatment, x]", SLOPE, 1};
    struct tally t = play(&design, INDICATOR, 1, 0);
    cr_expect_eq(t.found[0], t.singles);
    struct test_random random = {2026};
    struct study *st = calloc(1, sizeof *st);
    cr_expect_not(release(st, &design, 1, 1, &random));
    cr_expect_not_null(strstr(st->error.message, "score would tell x"), "%s", st->error.message);
    nof1_arena_free(st->arena);
    free(st);
}

/* What rounding costs: against the fit of an open lab, which equals lmer's (test_mixed_model.c). */
Test(mixed_lattice, rounding_moves_estimates_little)
{
    static const struct design design = {60, 5, 10, "[treatment, x]", SLOPE, 32};
    static const char *const term[] = {"treatment", "x"};
    struct test_random random = {77};
    bool verbose = getenv("NOF1_TEST_VERBOSE") != NULL;
    double square[2] = {0}, most = 0, ratio = 0, compared = 0;
    for (int i = 0; i < (verbose ? 8 : 2) * STUDIES; i++) {
        struct study *st = calloc(1, sizeof *st);
        struct nof1_error error = {0};
        json_t *closed = NULL, *open = NULL;
        if (release(st, &design, 1, 1, &random)) {
            cr_assert(st->model->analysis->report(st->model, &st->history, st->arena, &closed,
                                                  &error) == NOF1_OK);
            st->s->charter.limits.open = true;
            cr_assert(test_study_run(&open, st->arena, st->s, &error) == NOF1_OK);
            double approximation = test_number(closed, "fit/approximation_se");
            for (size_t k = 0; k < 2; k++) {
                double se = test_estimate(open, term[k], "std.error");
                double moved = (test_estimate(closed, term[k], "estimate") -
                                test_estimate(open, term[k], "estimate")) / se;
                square[k] += moved * moved;
                most = fmax(most, fabs(moved) / approximation);
                double wide = test_estimate(closed, term[k], "std.error") / se;
                ratio = fmax(ratio, fabs(wide - 1));
            }
            compared++;
        }
        json_decref(closed);
        json_decref(open);
        nof1_arena_free(st->arena);
        free(st);
    }
    cr_assert_gt(compared, 5);
    cr_expect_lt(most, 1.5);
    cr_expect_lt(ratio, 0.03);
    if (verbose) {
        printf("%g studies: treatment moves by %.3f standard errors, x by %.3f (root mean square); "
               "at most %.2f of approximation_se, standard errors by %.1f %%\n", compared,
               sqrt(square[0] / compared), sqrt(square[1] / compared), most, 100 * ratio);
    }
}
