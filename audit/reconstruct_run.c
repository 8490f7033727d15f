/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * All attacks on a number of made-up studies, and what they come to.
 */
#include "reconstruct.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

#define LOG2_SQRT_2PIE 2.0470955851213497

struct tally {
    double free, least_free, right, chance, spread, sd;
    size_t solutions, starts, counted, reduced, classes, singles, linear, squares, exposed;
    double certain;
    double *multisets; /* [runs] */
};

static void add(struct tally *t, const struct reconstruct_case *c, gsl_rng *rng)
{
    struct reconstruct_solved solved;
    struct reconstruct_counted counted;
    struct reconstruct_lattice lattice;
    double open = (double)reconstruct_free(c);
    t->free += open;
    t->least_free = fmin(t->least_free, open);
    t->sd += c->sd;
    reconstruct_solve(&solved, c, rng);
    t->solutions += solved.solutions;
    t->starts += solved.starts;
    t->right += solved.right;
    t->chance += solved.chance;
    t->spread += solved.spread;
    reconstruct_count(&counted, c);
    if (counted.done) {
        t->multisets[t->counted++] = counted.multisets;
        t->certain += counted.certain;
    }
    reconstruct_reduce(&lattice, c);
    t->reduced += lattice.done ? 1 : 0;
    t->classes += lattice.classes;
    t->singles += lattice.singles;
    t->linear += lattice.linear;
    t->squares += lattice.squares;
    t->exposed += lattice.exposed;
}

static double step_bits(double sd)
{
    return log2(sd) + LOG2_SQRT_2PIE;
}

/* The policy's estimate (E2311) with these studies' sd: the most over m <= n of m H - log2 m! -
 * what the sums tell. */
static double entropy_bits(const struct reconstruct *asked, double sd)
{
    bool pair = asked->form == RECONSTRUCT_SLOPE;
    double one = pair ? 2 * step_bits(sd / sqrt(2)) : step_bits(sd), best = 0, factorial = 0;
    sd = pair ? sd / sqrt(2) : sd;
    for (size_t m = 1; m <= asked->n; m++) {
        double root = sqrt((double)m), linear = step_bits(root * sd);
        double square = step_bits(M_SQRT2 * root * sd * sd);
        factorial += log2((double)m);
        double bits = (double)m * one - factorial -
                      (pair ? 2 * linear + 2 * square + step_bits(root * sd * sd)
                            : linear + square);
        best = fmax(best, bits);
    }
    return best;
}

static json_t *counted_of(const struct reconstruct *asked, struct tally *t)
{
    if (t->counted == 0) {
        return json_null();
    }
    gsl_sort(t->multisets, 1, t->counted);
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "studies", (json_int_t)t->counted,
                     "least_multisets", t->multisets[0], "median_multisets",
                     gsl_stats_median_from_sorted_data(t->multisets, 1, t->counted),
                     "most_multisets", t->multisets[t->counted - 1], "certain",
                     t->certain / (double)t->counted, "policy_entropy_bits",
                     entropy_bits(asked, t->sd / (double)asked->runs));
}

static double share(size_t part, size_t of)
{
    return of == 0 ? 0 : (double)part / (double)of;
}

static json_t *lattice_of(const struct tally *t)
{
    if (t->reduced == 0) {
        return json_null();
    }
    return json_pack("{s:I, s:f, s:f, s:f, s:I, s:f}", "studies", (json_int_t)t->reduced,
                     "patterns", share(t->classes, t->reduced), "pattern_sums_found",
                     share(t->linear, t->classes), "pattern_squares_found",
                     share(t->squares, t->classes), "single_patients", (json_int_t)t->singles,
                     "single_patients_found", share(t->exposed, t->singles));
}

static json_t *result_of(const struct reconstruct *asked, struct tally *t)
{
    double runs = (double)asked->runs;
    size_t numbers = asked->form == RECONSTRUCT_SLOPE ? 2 * asked->n : asked->n;
    json_t *least = json_pack("{s:I, s:I, s:f, s:f, s:f}", "starts", (json_int_t)t->starts,
                              "solutions", (json_int_t)t->solutions, "right", t->right / runs,
                              "right_by_chance", t->chance / runs, "spread", t->spread / runs);
    return json_pack(
        "{s:i, s:s, s:I, s:I, s:I, s:f, s:I, s:f, s:f, s:I, s:I, s:{s:f, s:f}, s:o, s:o, s:o}",
        "schema_version", 1, "form", reconstruct_name(asked->form), "patients",
        (json_int_t)asked->n, "numbers", (json_int_t)numbers, "scalars", (json_int_t)asked->scalars,
        "ratio", (double)asked->scalars / (double)numbers, "levels", (json_int_t)asked->levels,
        "quantum", asked->quantum, "missing", asked->missing, "seed", (json_int_t)asked->seed,
        "studies", (json_int_t)asked->runs, "free_dimensions", "mean", t->free / runs, "least",
        t->least_free, "least_squares", least, "enumeration", counted_of(asked, t), "lattice",
        lattice_of(t));
}

static nof1_rc check(const struct reconstruct *asked, struct nof1_error *error)
{
    bool basis = asked->form == RECONSTRUCT_BASIS,
         regression = asked->form == RECONSTRUCT_REGRESSION;
    size_t wanted = asked->form == RECONSTRUCT_SLOPE ? 5 : 2;
    if (!basis && !regression && asked->scalars != wanted) {
        return nof1_fail(error, NOF1_E_USAGE, "--scalars: this form releases %zu numbers", wanted);
    }
    if (basis && (asked->scalars % 2 != 0 || asked->scalars > 2 * RECONSTRUCT_WEIGHTS)) {
        return nof1_fail(error, NOF1_E_USAGE, "--scalars: two a weight, 2 to %d",
                         2 * RECONSTRUCT_WEIGHTS);
    }
    return NOF1_OK;
}

nof1_rc reconstruct_run(json_t **out, const struct reconstruct *asked, struct nof1_error *error)
{
    TRY(check(asked, error));
    gsl_set_error_handler_off();
    struct tally t = {.least_free = INFINITY, .multisets = calloc(asked->runs, sizeof(double))};
    struct reconstruct_case *c = malloc(sizeof *c);
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    *out = NULL;
    if (t.multisets != NULL && c != NULL && rng != NULL) {
        gsl_rng_set(rng, (unsigned long)asked->seed);
        for (size_t run = 0; run < asked->runs; run++) {
            reconstruct_make(c, asked, rng);
            add(&t, c, rng);
        }
        *out = result_of(asked, &t);
    }
    gsl_rng_free(rng);
    free(c);
    free(t.multisets);
    return *out == NULL ? NOF1_E_NO_MEMORY : NOF1_OK;
}
