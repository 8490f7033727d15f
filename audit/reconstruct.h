/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attacks on released sums, as a tool for who has to judge the limits (docs/disclosure.md): made-up
 * patients, the sums that a plan would release about them, and an attacker who knows those sums,
 * the design and some of the patients. Never reads data of a study.
 *
 * Forms of release. DIFFERENCE: a number d a patient, sum d and sum d^2. SLOPE: two numbers (a, b)
 * a patient, sums of a, b, a^2, ab, b^2. BASIS: d a patient with u = 1/k_A + 1/k_B known from the
 * schedule, R sums of w d and R of w d^2 with public weights w_r = 1 / (lambda_r + u). REGRESSION:
 * y a patient with p known numbers x_1 = 1, x_2, ..., real or on a grid, the p sums of x_j y and
 * sum y^2. SHARE: d a patient, sums of w d and w d^2 in which one patient has a given share of the
 * weights.
 */
#ifndef NOF1_AUDIT_RECONSTRUCT_H
#define NOF1_AUDIT_RECONSTRUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gsl/gsl_rng.h>
#include <jansson.h>
#include <nof1/error.h>

#define RECONSTRUCT_PATIENTS 200
#define RECONSTRUCT_WEIGHTS 8
#define RECONSTRUCT_SUMS 64
#define RECONSTRUCT_WHOLE 64 /* whole numbers, or sums of them, that a lattice may have */

enum reconstruct_form {
    RECONSTRUCT_DIFFERENCE,
    RECONSTRUCT_SLOPE,
    RECONSTRUCT_BASIS,
    RECONSTRUCT_REGRESSION,
    RECONSTRUCT_SHARE,
    RECONSTRUCT_FORMS
};

struct reconstruct {
    enum reconstruct_form form;
    size_t n;        /* patients whom the attacker does not hold, or by whom two releases differ */
    size_t scalars;  /* outcome numbers released: 2, 5, 2R, or p + 1 */
    size_t levels;   /* points of the scale; 0: continuous */
    size_t periods;  /* BASIS: most periods of an arm; about `missing` of them are missing */
    double missing;
    size_t points;   /* REGRESSION: points of a covariate's grid; 0: a real number */
    double share;    /* SHARE: of the first patient in the weights */
    double quantum;  /* linear sums are rounded to it, sums of squares to twice; 0: exact */
    uint64_t seed;
    size_t runs;     /* made-up studies */
    size_t starts;   /* of the least squares, each study */
};

/* One made-up study and what was released about it. */
struct reconstruct_case {
    const struct reconstruct *asked;
    size_t numbers;                        /* unknowns: n, or 2n in form SLOPE */
    double x[2 * RECONSTRUCT_PATIENTS];    /* the truth: d, or a then b of each patient */
    size_t k[RECONSTRUCT_PATIENTS][2];     /* BASIS: periods by arm */
    double u[RECONSTRUCT_PATIENTS];        /* patients of equal u are alike to the attacker */
    size_t judged;                         /* the first patients, those whom the limit is for */
    /* sum k is that of weight[k][i] d_i, or of weight[k][i] d_i^2; not in form SLOPE */
    double weight[RECONSTRUCT_SUMS][RECONSTRUCT_PATIENTS];
    bool square[RECONSTRUCT_SUMS];
    double lambda[RECONSTRUCT_WEIGHTS];
    double sd;                             /* of d */
    double sum[RECONSTRUCT_SUMS];
};

struct reconstruct_solved {
    size_t starts, solutions;
    double right;   /* share of patients within sd / 20, in a random solution */
    double chance;  /* the same for numbers drawn from the population */
    double spread;  /* sd over solutions of a patient's number, in population sd; 0: unique */
};

struct reconstruct_counted {
    bool done;        /* false: too many to count, or a continuous scale */
    double multisets; /* that give these sums */
    double certain;   /* share of true values of d that occur in every one of them */
};

struct reconstruct_lattice {
    bool done;
    size_t classes, singles;           /* patterns of equal u; those of one patient */
    size_t linear, squares;            /* classes whose sum of d, of d^2, was found exactly */
    size_t exposed;                    /* single patients whose d was found exactly */
};

/* Name of a form on the command line. */
const char *reconstruct_name(enum reconstruct_form form);
void reconstruct_make(struct reconstruct_case *c, const struct reconstruct *asked, gsl_rng *rng);
/* The sums of `x`, unrounded. */
void reconstruct_sums(double *sum, const struct reconstruct_case *c, const double *x);
/* d of a patient. */
double reconstruct_effect(const struct reconstruct_case *c, const double *x, size_t patient);
/* Unknowns less the rank of the sums' derivatives at the truth: 0, and the sums are solved. */
size_t reconstruct_free(const struct reconstruct_case *c);
void reconstruct_solve(struct reconstruct_solved *out, const struct reconstruct_case *c,
                       gsl_rng *rng);
void reconstruct_count(struct reconstruct_counted *out, const struct reconstruct_case *c);
/* Integer outcomes under real weights or covariates: every class's sum (REGRESSION: every patient's
 * y) is a whole number, so one weighted sum of 50 bits may tell many of them (lattice reduction).
 */
void reconstruct_reduce(struct reconstruct_lattice *out, const struct reconstruct_case *c);

/* Sums of whole numbers N_g under real weights: total_r = sum_g weight[r][g] N_g, known to error[r]
 * (0: as a double has it). */
struct reconstruct_whole {
    size_t unknowns, sums;
    double weight[RECONSTRUCT_WHOLE][RECONSTRUCT_WHOLE];
    double total[RECONSTRUCT_WHOLE], error[RECONSTRUCT_WHOLE];
    /* of N_g, as the design has it */
    double expected[RECONSTRUCT_WHOLE], spread[RECONSTRUCT_WHOLE];
};
/* The N_g nearest to what is expected that give the totals, by lattice reduction; false: none. */
bool reconstruct_whole(double *found, const struct reconstruct_whole *whole);

/* All attacks on `asked->runs` studies, summed up. New reference. Errors: NOF1_E_USAGE. */
nof1_rc reconstruct_run(json_t **out, const struct reconstruct *asked, struct nof1_error *error);

int audit_command_reconstruct(int argc, char **argv);
int audit_command_release(int argc, char **argv);

#endif
