/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Entropy left by exact sums of discrete outcomes, by the local limit theorem (docs/protocol.md,
 * "Entropy"). Values of t and of each sum are taken as normal with the charter's planning standard
 * deviations. For binary, count and ordinal outcomes the normal says nothing: there every form needs
 * the number of patients that the difference form needs, and its bits are not computed.
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

double nof1_entropy_bits(uint64_t n, uint64_t scalars, uint16_t size, double sd, double quantum)
{
    if (!(sd > 0) || !(quantum > 0)) {
        return sd > 0 ? INFINITY : 0;
    }
    double one = (double)size * step_bits(sd, quantum);
    double best = 0, log_factorial = 0;
    /* m H - log2 m! falls once m passes 2^H: later m cannot be better */
    for (uint64_t m = 1; m <= n && log((double)m) * INVERSE_LOG_2 <= one + 1; m++) {
        log_factorial += log((double)m) * INVERSE_LOG_2;
        double bits =
            (double)m * one - log_factorial - sums_bits((double)m, scalars, size, sd, quantum);
        best = bits > best ? bits : best;
        if (m > 1000000) {
            break;
        }
    }
    return best;
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

/* Forms with two or more numbers a patient sum arm totals (lattice: the scale's step); forms with
 * one number sum differences of arm means, in which the level between patients cancels. */
static double load_bits(const struct nof1_model *model, const struct nof1_load *load, uint64_t n)
{
    const struct nof1_outcome *outcome =
        &model->study->charter->outcome[model->study->plan->outcome];
    double rows[2];
    planned_rows(rows, model, load->group);
    double within = outcome->sd_within * outcome->sd_within;
    double between = outcome->sd_between * outcome->sd_between;
    double k = fmin(rows[0], rows[1]);
    if (load->block_size >= 2) {
        return nof1_entropy_bits(n, load->scalars, load->block_size,
                                 sqrt(k * k * between + k * within), outcome->quantum);
    }
    return nof1_entropy_bits(n, load->scalars, 1, sqrt(within * (1 / rows[0] + 1 / rows[1])),
                             outcome->quantum / fmax(rows[0], rows[1]));
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

bool nof1_entropy_allows(double *bits, const struct nof1_model *model,
                         const struct nof1_loads *loads, uint32_t least_bits, uint64_t all,
                         const uint64_t *patients, uint64_t own_all, const uint64_t *own)
{
    const struct nof1_outcome *outcome =
        &model->study->charter->outcome[model->study->plan->outcome];
    bool allowed = true;
    *bits = INFINITY;
    for (size_t i = 0; discrete(outcome) && i < loads->count; i++) {
        const struct nof1_load *load = &loads->load[i];
        size_t g = load->group < 0 ? 0 : (size_t)load->group;
        uint64_t total = load->group < 0 ? all : patients[g];
        uint64_t mine = load->group < 0 ? own_all : own == NULL ? 0 : own[g];
        if (total == 0) {
            continue;
        }
        if (difference_form(load) || outcome->kind != NOF1_CONTINUOUS) {
            allowed = allowed && total - mine >= NOF1_DIFFERENCE_PATIENTS;
            continue;
        }
        *bits = fmin(*bits, load_bits(model, load, total - mine));
    }
    return allowed && *bits >= (double)least_bits;
}
