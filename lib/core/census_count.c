/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One site's counts of the census elements (core/census.h) and the analysis set of an outcome
 * family (docs/protocol.md, "Epochs"). Counts of its own data: they leave the site only inside
 * masked sums.
 */
#include <core/census_analysis.h>

#include <math.h>
#include <string.h>

#define ARMS_MAX NOF1_TREATMENTS_MAX

static bool observed(const struct nof1_charter *charter, size_t outcome,
                     const struct nof1_trial *trial, size_t row)
{
    bool effect = charter->outcome[outcome].kind == NOF1_EFFECT;
    bool variance = !effect || (trial->variance != NULL && trial->variance[outcome] != NULL &&
                                !isnan(trial->variance[outcome][row]));
    return variance && !isnan(trial->outcome[outcome][row]);
}

static bool outcome_in_set(const struct nof1_charter *charter, size_t outcome,
                           const struct nof1_trial *trial)
{
    bool any = charter->any_arm || charter->outcome[outcome].kind == NOF1_EFFECT;
    unsigned first = NOF1_NO_ARM;
    for (size_t r = 0; r < trial->rows; r++) {
        if (!observed(charter, outcome, trial, r)) {
            continue;
        }
        if (any) {
            return true;
        }
        unsigned arm = trial->treatment[r];
        if (arm != NOF1_NO_ARM && first == NOF1_NO_ARM) {
            first = arm;
        } else if (arm != NOF1_NO_ARM && arm != first) {
            return true;
        }
    }
    return false;
}

static bool covariate_missing(const struct nof1_trial *trial, size_t covariate)
{
    for (size_t r = 0; r < trial->rows; r++) {
        if (isnan(trial->covariate[covariate][r])) {
            return true;
        }
    }
    return false;
}

bool nof1_in_analysis_set(const struct nof1_charter *charter, size_t outcome,
                          const struct nof1_trial *trial)
{
    for (size_t c = 0; charter->missing == NOF1_MISSING_EXCLUDE && c < charter->covariates; c++) {
        if (covariate_missing(trial, c)) {
            return false;
        }
    }
    const char *family = charter->outcome[outcome].family;
    for (size_t o = 0; o < charter->outcomes; o++) {
        if (strcmp(charter->outcome[o].family, family) == 0 &&
            !outcome_in_set(charter, o, trial)) {
            return false;
        }
    }
    return true;
}

/* What the census looks at in one trial, for one outcome. */
struct trial_shape {
    bool in_set;
    size_t rows[ARMS_MAX];    /* observed rows per treatment */
    size_t periods[ARMS_MAX]; /* observed periods per treatment; rows without one count each */
    size_t complete_cycles;   /* cycles with two treatments observed */
};

static bool earlier_period(const struct nof1_charter *charter, size_t outcome,
                           const struct nof1_trial *trial, size_t row)
{
    /* rows are in order of period: the period's other rows are next to this one */
    for (size_t r = row; trial->period[row] != 0 && r-- > 0;) {
        if (trial->period[r] != trial->period[row]) {
            return false;
        }
        if (trial->treatment[r] == trial->treatment[row] && observed(charter, outcome, trial, r)) {
            return true;
        }
    }
    return false;
}

/* Is `row` the first observed row that completes its cycle, that is: another treatment was observed
 * in the cycle before, and only one? */
static bool completes_cycle(const struct nof1_charter *charter, size_t outcome,
                            const struct nof1_trial *trial, size_t row)
{
    unsigned first = NOF1_NO_ARM;
    for (size_t r = row; trial->cycle[row] != 0 && r-- > 0;) {
        if (trial->cycle[r] != trial->cycle[row]) {
            break;
        }
        if (trial->treatment[r] == NOF1_NO_ARM || !observed(charter, outcome, trial, r)) {
            continue;
        }
        if (first == NOF1_NO_ARM) {
            first = trial->treatment[r];
        } else if (trial->treatment[r] != first) {
            return false;
        }
    }
    return first != NOF1_NO_ARM && trial->treatment[row] != first;
}

static void shape_of(struct trial_shape *shape, const struct nof1_charter *charter, size_t outcome,
                     const struct nof1_trial *trial)
{
    *shape = (struct trial_shape){.in_set = nof1_in_analysis_set(charter, outcome, trial)};
    for (size_t r = 0; r < trial->rows; r++) {
        unsigned arm = trial->treatment[r];
        if (arm >= ARMS_MAX || !observed(charter, outcome, trial, r)) {
            continue;
        }
        shape->rows[arm] += 1;
        shape->periods[arm] += earlier_period(charter, outcome, trial, r) ? 0 : 1;
        shape->complete_cycles += completes_cycle(charter, outcome, trial, r) ? 1 : 0;
    }
}

/* Exactly the class' rows per treatment and, when it has a schedule, its multiset of periods. */
static bool in_class(const struct nof1_charter *charter, size_t outcome,
                     const struct nof1_class *class_, const struct nof1_trial *trial,
                     const struct trial_shape *shape)
{
    for (size_t t = 0; t < charter->treatments; t++) {
        if (shape->rows[t] != class_->n[t]) {
            return false;
        }
    }
    size_t at = 0;
    for (size_t r = 0; class_->schedule_rows > 0 && r < trial->rows; r++) {
        if (trial->treatment[r] == NOF1_NO_ARM || !observed(charter, outcome, trial, r)) {
            continue;
        }
        if (at >= class_->schedule_rows || trial->period[r] != class_->schedule_period[at]) {
            return false;
        }
        at++;
    }
    return at == class_->schedule_rows;
}

static bool in_stratum(const struct nof1_charter *charter, const struct nof1_trial *trial,
                       size_t level)
{
    for (size_t c = 0; c < charter->covariates; c++) {
        if (strcmp(charter->covariate[c].name, charter->stratum_covariate) == 0) {
            return trial->rows > 0 && trial->covariate[c][0] == (double)level;
        }
    }
    return false;
}

/* Does one trial count towards an element that counts trials or patients? */
static bool counts(const struct nof1_charter *charter, const struct nof1_census_element *element,
                   const struct nof1_trial *trial, const struct trial_shape *shape)
{
    switch (element->kind) {
    case NOF1_CENSUS_PATIENTS:
    case NOF1_CENSUS_TRIALS:
    case NOF1_CENSUS_SITES:
        return true;
    case NOF1_CENSUS_STRATUM:
        return in_stratum(charter, trial, element->index);
    case NOF1_CENSUS_COVARIATE_MISSING:
        return covariate_missing(trial, element->index);
    case NOF1_CENSUS_OUTCOME_PATIENTS:
    case NOF1_CENSUS_OUTCOME_TRIALS:
    case NOF1_CENSUS_OUTCOME_SITES:
    case NOF1_CENSUS_OUTCOME_DOMINATED:
        return shape->in_set;
    case NOF1_CENSUS_OUTCOME_INCOMPLETE:
        return shape->in_set && shape->complete_cycles == 0;
    case NOF1_CENSUS_OUTCOME_CLASS:
        return shape->in_set && in_class(charter, element->outcome,
                                         &charter->class_[element->index], trial, shape);
    case NOF1_CENSUS_OUTCOME_CYCLES:
        return shape->in_set && shape->complete_cycles == element->index;
    case NOF1_CENSUS_OUTCOME_PATTERN:
        return shape->in_set && shape->periods[0] == element->index &&
               shape->periods[1] == element->second;
    case NOF1_CENSUS_OUTCOME_STRATUM:
        return shape->in_set && in_stratum(charter, trial, element->index);
    default:
        return false;
    }
}

static bool counts_patients(enum nof1_census_kind kind)
{
    return kind == NOF1_CENSUS_PATIENTS || kind == NOF1_CENSUS_STRATUM ||
           kind == NOF1_CENSUS_COVARIATE_MISSING || kind == NOF1_CENSUS_OUTCOME_PATIENTS ||
           kind == NOF1_CENSUS_OUTCOME_DOMINATED || kind == NOF1_CENSUS_OUTCOME_STRATUM;
}

/* Trials, or patients with such a trial, that count; `seen` has a byte per patient. */
static uint64_t count_element(const struct nof1_charter *charter,
                              const struct nof1_census_element *element,
                              const struct nof1_epoch *epoch, const struct trial_shape *shape,
                              uint8_t *seen)
{
    uint64_t count = 0;
    bool patients = counts_patients(element->kind);
    memset(seen, 0, epoch->patients);
    for (size_t t = 0; t < epoch->trials; t++) {
        if (!counts(charter, element, &epoch->trial[t], &shape[t])) {
            continue;
        }
        count += patients && seen[epoch->patient[t]] ? 0 : 1;
        seen[epoch->patient[t]] = 1;
    }
    return count;
}

static double site_value(const struct nof1_census_element *element, uint64_t count,
                         uint64_t own_patients, uint64_t patients, double share)
{
    if (element->kind == NOF1_CENSUS_SITES || element->kind == NOF1_CENSUS_OUTCOME_SITES) {
        return count > 0 ? 1 : 0;
    }
    if (element->kind == NOF1_CENSUS_OUTCOME_DOMINATED) {
        uint64_t others = patients > own_patients ? patients - own_patients : 0;
        return (double)count > share * (double)(others + count) ? 1 : 0;
    }
    return (double)count;
}

nof1_rc nof1_census_site_counts(double *out, struct nof1_arena *arena,
                                const struct nof1_charter *charter, size_t site,
                                const struct nof1_epoch *epoch, uint64_t patients, double share)
{
    const struct nof1_census_element *element = NULL;
    size_t elements = 0;
    TRY(nof1_census_elements(&element, &elements, arena, charter));
    struct trial_shape *shape = nof1_arena_alloc(arena, epoch->trials + 1, sizeof *shape);
    uint8_t *seen = nof1_arena_alloc(arena, epoch->patients + 1, 1);
    ENSURE(shape != NULL && seen != NULL, NOF1_E_NO_MEMORY);
    size_t block = nof1_charter_block_of(charter, site);
    ENSURE(block != NOF1_NONE, NOF1_E_BUG);
    memset(out, 0, charter->blocks * elements * sizeof *out);
    size_t shaped = NOF1_NONE;
    for (size_t e = 0; e < elements; e++) {
        if (element[e].outcome != shaped) {
            shaped = element[e].outcome;
            for (size_t t = 0; t < epoch->trials; t++) {
                shape_of(&shape[t], charter, shaped, &epoch->trial[t]);
            }
        }
        out[block * elements + e] =
            site_value(&element[e], count_element(charter, &element[e], epoch, shape, seen),
                       epoch->patients, patients, share);
    }
    return NOF1_OK;
}
