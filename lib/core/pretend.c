/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Made-up outcomes, see pretend.h. Must never read an observed value but to see that it is there.
 */
#include <core/pretend.h>

#include <math.h>

/* Made-up value of a row: reference low and others high, the reverse, all high, and values of all
 * sizes. No term that outcomes can feed vanishes in all of them. */
static double made_up(const struct nof1_outcome *outcome, size_t pretence, bool reference,
                      size_t row)
{
    double golden = 0.6180339887498949 * (double)(row + 1), share = golden - floor(golden);
    share = pretence == 0 ? !reference : pretence == 1 ? reference : pretence == 2 ? 1.0 : share;
    double value = outcome->lower + share * (outcome->upper - outcome->lower);
    bool whole = outcome->kind != NOF1_CONTINUOUS && outcome->kind != NOF1_EFFECT;
    return whole ? nearbyint(value) : value;
}

nof1_rc_value nof1_pretend(struct nof1_trial *trial, struct nof1_arena *arena,
                           const struct nof1_study *study, size_t pretence)
{
    const struct nof1_charter *charter = study->charter;
    const double **outcome = nof1_arena_alloc(arena, charter->outcomes + 1, sizeof *outcome);
    double *value = nof1_arena_alloc(arena, charter->outcomes * trial->rows + 1, sizeof *value);
    ENSURE(outcome != NULL && value != NULL, NOF1_E_NO_MEMORY);
    for (size_t o = 0; o < charter->outcomes; o++) {
        double *column = value + o * trial->rows;
        for (size_t r = 0; r < trial->rows; r++) {
            bool reference = trial->treatment[r] == study->plan->reference;
            column[r] = isnan(trial->outcome[o][r])
                            ? trial->outcome[o][r]
                            : made_up(&charter->outcome[o], pretence, reference, r);
        }
        outcome[o] = column;
    }
    trial->outcome = outcome;
    return NOF1_OK;
}
