/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was withdrawn, as the site's store has it: see withdraw.h.
 */
#include <node/withdraw.h>

#include <string.h>

#include <base/document.h>
#include <core/site.h>

const char *nof1_withdrawn_key(struct nof1_arena *arena, const char *patient, const char *trial)
{
    const char *id = nof1_site_trial_id(arena, patient, trial);
    return id == NULL ? NULL : nof1_arena_printf(arena, "withdrawn/%s", id);
}

static nof1_rc is_withdrawn(bool *out, struct nof1_arena *arena, struct nof1_store *store,
                            const char *patient, const char *trial)
{
    const char *whole = nof1_withdrawn_key(arena, patient, "");
    const char *one = nof1_withdrawn_key(arena, patient, trial);
    struct nof1_slice value;
    ENSURE(whole != NULL && one != NULL, NOF1_E_NO_MEMORY);
    nof1_rc_value rc = nof1_store_get(&value, arena, store, whole);
    rc = rc == NOF1_E_NOT_FOUND ? nof1_store_get(&value, arena, store, one) : rc;
    *out = rc == NOF1_OK;
    return rc == NOF1_E_NOT_FOUND ? NOF1_OK : rc;
}

nof1_rc_value nof1_withdrawn_leave_out(size_t *out, struct nof1_epoch *epoch,
                                       struct nof1_arena *arena, struct nof1_store *store)
{
    struct nof1_trial *trial = nof1_arena_alloc(arena, epoch->trials + 1, sizeof *trial);
    uint32_t *patient = nof1_arena_alloc(arena, epoch->trials + 1, sizeof *patient);
    const char **name = nof1_arena_alloc(arena, epoch->trials + 1, sizeof *name);
    const char **key = nof1_arena_alloc(arena, epoch->patients + 1, sizeof *key);
    uint32_t *number = nof1_arena_alloc(arena, epoch->patients + 1, sizeof *number);
    size_t trials = 0, patients = 0;
    ENSURE(trial != NULL && patient != NULL && name != NULL && key != NULL && number != NULL,
           NOF1_E_NO_MEMORY);
    bool *left = nof1_arena_alloc(arena, epoch->patients + 1, sizeof *left);
    bool *gone = nof1_arena_alloc(arena, epoch->trials + 1, sizeof *gone);
    ENSURE(left != NULL && gone != NULL, NOF1_E_NO_MEMORY);
    for (size_t t = 0; t < epoch->trials; ++t) {
        TRY(is_withdrawn(&gone[t], arena, store, epoch->patient_key[epoch->patient[t]],
                         epoch->trial_key[t]));
        left[epoch->patient[t]] = left[epoch->patient[t]] || !gone[t];
    }
    for (size_t p = 0; p < epoch->patients; ++p) { /* their order stays */
        if (left[p]) {
            number[p] = (uint32_t)patients;
            key[patients++] = epoch->patient_key[p];
        }
    }
    for (size_t t = 0; t < epoch->trials; ++t) {
        if (!gone[t]) {
            trial[trials] = epoch->trial[t];
            name[trials] = epoch->trial_key[t];
            patient[trials++] = number[epoch->patient[t]];
        }
    }
    *out = epoch->trials - trials;
    epoch->trial = trial;
    epoch->patient = patient;
    epoch->trial_key = name;
    epoch->patient_key = key;
    epoch->trials = trials;
    epoch->patients = patients;
    return NOF1_OK;
}
