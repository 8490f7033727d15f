/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A frozen epoch of one site, in memory: its trials and, per patient, the digest of the series.
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
    const uint8_t (*digest)[32];      /* [patients] SHA-256 of the patient's frozen series */
    const char *const *patient_key;   /* [patients] stable local identifier, for the site store */
};

#endif
