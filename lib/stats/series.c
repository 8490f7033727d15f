/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The rows of one trial that a plan uses, and their reductions to period means and cycle
 * differences (docs/statistics.md, section on missing data). Means are taken about the first value,
 * sums of squares by updating (Welford 1962), so that a large common offset costs no digit.
 * Must never allocate and never look beyond the one trial.
 */
#include <stats/series.h>

#include <math.h>
#include <string.h>

bool nof1_series_in_strata(const struct nof1_study *study, const struct nof1_trial *trial)
{
    const struct nof1_charter *charter = study->charter;
    const struct nof1_plan *plan = study->plan;
    if (plan->strata == 0) {
        return true;
    }
    if (charter->stratum_covariate == NULL || trial->rows == 0) {
        return false;
    }
    for (size_t c = 0; c < charter->covariates; c++) {
        if (strcmp(charter->covariate[c].name, charter->stratum_covariate) != 0) {
            continue;
        }
        double level = trial->covariate[c][0];
        for (size_t s = 0; s < plan->strata; s++) {
            if (level == (double)plan->stratum[s]) {
                return true;
            }
        }
    }
    return false;
}

int nof1_plan_arm(const struct nof1_plan *plan, size_t treatment)
{
    if (treatment == plan->reference || treatment == plan->active) {
        return treatment == plan->active;
    }
    for (size_t k = 0; k < plan->others; k++) {
        if (treatment == plan->other[k]) {
            return (int)k + 2;
        }
    }
    return -1;
}

/* Lay the columns out in scratch, widest type first so that each is aligned. */
static void place_columns(struct nof1_series *out, size_t rows, bool variance, void *scratch)
{
    double *number = scratch;
    *out = (struct nof1_series){0};
    out->y = number;
    out->time = number + rows;
    out->variance = variance ? number + 2 * rows : NULL;
    out->row = (size_t *)(void *)(number + 3 * rows);
    out->cycle = (int32_t *)(void *)(out->row + rows);
    out->period = out->cycle + rows;
    out->arm = (uint8_t *)(out->period + rows);
}

void nof1_series_of(struct nof1_series *out, const struct nof1_study *study,
                    const struct nof1_trial *trial, void *scratch)
{
    const struct nof1_plan *plan = study->plan;
    const double *outcome = trial->outcome[plan->outcome];
    const double *variance = trial->variance == NULL ? NULL : trial->variance[plan->outcome];
    double centre = study->charter->outcome[plan->outcome].centre;
    place_columns(out, trial->rows, variance != NULL, scratch);
    if (!nof1_series_in_strata(study, trial)) {
        return;
    }
    for (size_t i = 0; i < trial->rows; i++) {
        int arm = nof1_plan_arm(plan, trial->treatment[i]);
        if (isnan(outcome[i]) || arm < 0) {
            continue;
        }
        size_t k = out->rows++;
        out->arm[k] = (uint8_t)arm;
        out->n[arm]++;
        out->y[k] = outcome[i] - centre;
        out->time[k] = trial->time[i];
        out->cycle[k] = trial->cycle[i];
        out->period[k] = trial->period[i];
        out->row[k] = i;
        if (variance != NULL) {
            out->variance[k] = variance[i];
        }
    }
}

/* Rows i and j were measured in the same period of the same arm. */
static bool same_period(const struct nof1_series *s, size_t i, size_t j)
{
    return s->period[i] != 0 && s->period[i] == s->period[j] && s->cycle[i] == s->cycle[j] &&
           s->arm[i] == s->arm[j];
}

/* The mean of the period that row i opens, or false when an earlier row opened it. Rows are sorted
 * by period, so a period's rows lie in one run. */
static bool period_mean(double *mean, const struct nof1_series *s, size_t i)
{
    for (size_t j = i; j > 0 && s->period[j - 1] == s->period[i] && s->period[i] != 0; j--) {
        if (same_period(s, i, j - 1)) {
            return false;
        }
    }
    double sum = 0;
    size_t n = 1;
    for (size_t j = i + 1; j < s->rows && s->period[j] == s->period[i]; j++) {
        if (same_period(s, i, j)) {
            sum += s->y[j] - s->y[i];
            n++;
        }
    }
    *mean = s->y[i] + sum / (double)n;
    return true;
}

struct running {
    size_t n;
    double mean, ss;
};

static void running_add(struct running *r, double x)
{
    r->n++;
    double step = x - r->mean;
    r->mean += step / (double)r->n;
    r->ss += step * (x - r->mean);
}

void nof1_period_difference(struct nof1_period_difference *out, const struct nof1_series *series)
{
    struct running arm[2] = {{0, 0, 0}, {0, 0, 0}};
    for (size_t i = 0; i < series->rows; i++) {
        double mean;
        if (period_mean(&mean, series, i)) {
            running_add(&arm[series->arm[i]], mean);
        }
    }
    out->k[0] = arm[0].n;
    out->k[1] = arm[1].n;
    out->d = arm[0].n > 0 && arm[1].n > 0 ? arm[1].mean - arm[0].mean : 0;
    out->ss = arm[0].ss + arm[1].ss;
}

/* The difference of the cycle that row i opens; false when another row opened it, when the cycle
 * has no number or lacks an arm. */
static bool cycle_difference(double *difference, const struct nof1_series *s, size_t i)
{
    if (s->cycle[i] == 0) {
        return false;
    }
    for (size_t j = 0; j < i; j++) {
        if (s->cycle[j] == s->cycle[i]) {
            return false;
        }
    }
    struct running arm[2] = {{0, 0, 0}, {0, 0, 0}};
    for (size_t j = i; j < s->rows; j++) {
        double mean;
        if (s->cycle[j] == s->cycle[i] && period_mean(&mean, s, j)) {
            running_add(&arm[s->arm[j]], mean);
        }
    }
    *difference = arm[1].mean - arm[0].mean;
    return arm[0].n > 0 && arm[1].n > 0;
}

size_t nof1_cycle_differences(double *out, const struct nof1_series *series)
{
    size_t n = 0;
    for (size_t i = 0; i < series->rows; i++) {
        n += cycle_difference(&out[n], series, i) ? 1 : 0;
    }
    return n;
}

void nof1_cycle_difference(struct nof1_cycle_difference *out, const struct nof1_series *series)
{
    struct running all = {0, 0, 0};
    for (size_t i = 0; i < series->rows; i++) {
        double difference;
        if (cycle_difference(&difference, series, i)) {
            running_add(&all, difference);
        }
    }
    *out = (struct nof1_cycle_difference){all.mean, all.ss, all.n};
}
