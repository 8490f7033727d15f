/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Entropy left by exact sums of discrete outcomes, by the local limit theorem (docs/disclosure.md,
 * "Whole numbers"). Values of t and of each sum are taken as normal with the charter's planning
 * standard deviations. For binary, count and ordinal outcomes the normal says nothing: there every
 * form needs the number of patients that the difference form needs, and its bits are not computed.
 * Nor does it on a scale of few points, where that number is larger.
 */
#include <core/entropy.h>

#include <math.h>
#include <string.h>

#define LOG2_SQRT_2PIE 2.0470955851213497 /* log2(sqrt(2 pi e)) */
#define INVERSE_LOG_2 1.4426950408889634

static double step_bits(double sd, double quantum)
{
    return (log(sd) - log(quantum)) * INVERSE_LOG_2 + LOG2_SQRT_2PIE;
}

static double sums_bits(double m, uint64_t scalars, uint16_t size, double sd, double quantum)
{
    uint64_t linear = scalars < size ? scalars : size;
    uint64_t squares = scalars - linear < size ? scalars - linear : size;
    uint64_t products = scalars - linear - squares;
    double square_step = quantum * quantum;
    return (double)linear * step_bits(sqrt(m) * sd, quantum) +
           (double)squares * step_bits(sqrt(2 * m) * sd * sd, square_step) +
           (double)products * step_bits(sqrt(m) * sd * sd, square_step);
}

/* Observations of one arm behind a patient's number: the class's, else the smallest planned. */
static void planned_rows(double rows[2], const struct nof1_model *model, int group)
{
    const struct nof1_charter *charter = model->study->charter;
    const struct nof1_plan *plan = model->study->plan;
    const size_t arm[2] = {plan->reference, plan->active};
    bool named = group >= 0 && strncmp(model->group[group], "class:", 6) == 0;
    rows[0] = rows[1] = 0;
    for (size_t c = 0; c < charter->classes; c++) {
        const struct nof1_class *class_ = &charter->class_[c];
        if (named && strcmp(model->group[group] + 6, class_->name) != 0) {
            continue;
        }
        for (size_t a = 0; a < 2; a++) {
            double n = (double)class_->n[arm[a]];
            rows[a] = rows[a] == 0 || n < rows[a] ? n : rows[a];
        }
    }
    rows[0] = rows[0] < 1 ? 1 : rows[0];
    rows[1] = rows[1] < 1 ? 1 : rows[1];
}

/* Standard deviation and lattice of one number of a block. Blocks of two or more numbers a patient
 * sum arm totals (lattice: the scale's step); blocks of one number sum differences of arm means, in
 * which the level between patients cancels. */
static void number_of(double *sd, double *quantum, const struct nof1_model *model,
                      const struct nof1_load *load)
{
    const struct nof1_outcome *outcome =
        &model->study->charter->outcome[model->study->plan->outcome];
    double rows[2];
    planned_rows(rows, model, load->group);
    double within = outcome->sd_within * outcome->sd_within;
    double between = outcome->sd_between * outcome->sd_between;
    double k = fmin(rows[0], rows[1]);
    if (load->block_size >= 2) {
        *sd = sqrt(k * k * between + k * within);
        *quantum = outcome->quantum;
        return;
    }
    *sd = sqrt(within * (1 / rows[0] + 1 / rows[1]));
    *quantum = outcome->quantum / fmax(rows[0], rows[1]);
}

/* The sums that tell about a group's patients: its own and those over everybody; scope -1 is
 * everybody and every sum. */
static bool in_scope(const struct nof1_load *load, int scope)
{
    return scope < 0 || load->group < 0 || load->group == scope;
}

/* No statistic of a patient holds more than the rows it is made of. */
static double rows_bits(const struct nof1_model *model, int scope)
{
    const struct nof1_outcome *outcome =
        &model->study->charter->outcome[model->study->plan->outcome];
    double rows[2];
    planned_rows(rows, model, scope);
    return (rows[0] + rows[1]) *
           step_bits(hypot(outcome->sd_within, outcome->sd_between), outcome->quantum);
}

/* H of all numbers that one patient has in the scope: each block counted once, whatever groups. */
static double patient_bits(const struct nof1_model *model, const struct nof1_loads *loads,
                           int scope)
{
    double bits = 0;
    for (size_t i = 0; i < loads->count; i++) {
        const struct nof1_load *load = &loads->load[i];
        bool counted = !in_scope(load, scope);
        for (size_t j = 0; j < i && !counted; j++) {
            counted = in_scope(&loads->load[j], scope) && loads->load[j].block == load->block;
        }
        if (!counted) {
            double sd, quantum;
            number_of(&sd, &quantum, model, load);
            bits += (double)load->block_size * step_bits(sd, quantum);
        }
    }
    return fmin(bits, rows_bits(model, scope));
}

/* Bits that all sums of the scope leave about n patients: m patients' numbers, in any order, less
 * what the sums tell; the attacker may know the others, so the largest over m <= n. */
static double scope_bits(const struct nof1_model *model, const struct nof1_loads *loads, int scope,
                         uint64_t n)
{
    double one = patient_bits(model, loads, scope), best = 0, log_factorial = 0;
    for (uint64_t m = 1; m <= n && log((double)m) * INVERSE_LOG_2 <= one + 1 && m <= 1000000; m++) {
        log_factorial += log((double)m) * INVERSE_LOG_2;
        double bits = (double)m * one - log_factorial;
        for (size_t i = 0; i < loads->count; i++) {
            if (in_scope(&loads->load[i], scope)) {
                double sd, quantum;
                number_of(&sd, &quantum, model, &loads->load[i]);
                bits -= sums_bits((double)m, loads->load[i].scalars, loads->load[i].block_size, sd,
                                  quantum);
            }
        }
        best = bits > best ? bits : best;
    }
    return best;
}

static bool discrete(const struct nof1_outcome *outcome)
{
    return outcome->kind != NOF1_EFFECT &&
           (outcome->kind != NOF1_CONTINUOUS || outcome->quantum > 0);
}

/* Linear sums, or the sum and the sum of squares of one number. */
static bool difference_form(const struct nof1_load *load)
{
    return load->scalars <= load->block_size || (load->block_size == 1 && load->scalars <= 2);
}

/* Only difference forms in the scope? */
static bool difference_scope(const struct nof1_loads *loads, int scope)
{
    bool difference = true;
    for (size_t i = 0; i < loads->count; i++) {
        difference = difference &&
                     (!in_scope(&loads->load[i], scope) || difference_form(&loads->load[i]));
    }
    return difference;
}

uint32_t nof1_entropy_patients(double points)
{
    static const uint32_t least[] = {[3] = 40, [4] = 25, [5] = 16, [6] = 10};
    return points < 2.5   ? NOF1_ENTROPY_NEVER
           : points > 6.5 ? NOF1_DIFFERENCE_PATIENTS
                          : least[(size_t)round(points)];
}

/* Patients that the scope's sums and sums of squares of one number need: their arm totals have so
 * many points. */
static uint32_t difference_patients(const struct nof1_model *model, const struct nof1_loads *loads,
                                    int scope)
{
    const struct nof1_outcome *outcome =
        &model->study->charter->outcome[model->study->plan->outcome];
    uint32_t most = NOF1_DIFFERENCE_PATIENTS;
    for (size_t i = 0; i < loads->count; i++) {
        const struct nof1_load *load = &loads->load[i];
        double rows[2], quantum = outcome->quantum > 0 ? outcome->quantum : 1;
        planned_rows(rows, model, load->group);
        uint32_t least = nof1_entropy_patients(1 + (outcome->upper - outcome->lower) / quantum *
                                                       fmin(rows[0], rows[1]));
        bool counts = in_scope(load, scope) && load->block_size == 1 && load->scalars == 2;
        most = counts && least > most ? least : most;
    }
    return most;
}

uint32_t nof1_entropy_difference(const struct nof1_model *model, const struct nof1_loads *loads)
{
    uint32_t most = 0;
    for (int scope = -1; scope < (int)model->groups; scope++) {
        uint32_t least = difference_patients(model, loads, scope);
        most = least > most ? least : most;
    }
    return most;
}

bool nof1_entropy_allows(double *bits, const struct nof1_model *model,
                         const struct nof1_loads *loads, uint32_t least_bits, uint64_t all,
                         const uint64_t *patients, uint64_t own_all, const uint64_t *own)
{
    const struct nof1_outcome *outcome =
        &model->study->charter->outcome[model->study->plan->outcome];
    bool allowed = true;
    *bits = INFINITY;
    for (int scope = -1; discrete(outcome) && scope < (int)model->groups; scope++) {
        uint64_t total = scope < 0 ? all : patients[scope];
        uint64_t mine = scope < 0 ? own_all : own == NULL ? 0 : own[scope];
        if (total == 0 || loads->count == 0) {
            continue;
        }
        bool many = total - mine >= difference_patients(model, loads, scope);
        if (outcome->kind != NOF1_CONTINUOUS) {
            allowed = allowed && many;
            continue;
        }
        double left = scope_bits(model, loads, scope, total - mine);
        if (!many || !difference_scope(loads, scope)) {
            *bits = fmin(*bits, left);
        }
    }
    return allowed && *bits >= (double)least_bits;
}
