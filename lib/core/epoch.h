/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A frozen epoch of one site, in memory: its trials, whose they are, and names that stay.
 * Made by node/ from the site store; read by the site session only.
 */
#ifndef NOF1_CORE_EPOCH_H
#define NOF1_CORE_EPOCH_H

#include <nof1/trial.h>

struct nof1_epoch {
    uint32_t id;                      /* 1, 2, ... ; 0: nothing frozen */
    size_t trials, patients;
    const struct nof1_trial *trial;   /* [trials] */
    const uint32_t *patient;          /* [trials] index of the trial's patient, < patients */
    const char *const *patient_key;   /* [patients] stable local identifier, for the site store */
    const char *const *trial_key;     /* [trials] the same of a trial, within its patient */
    const struct nof1_epoch *earlier; /* still kept, of lower numbers; NULL: none */
};

#endif
