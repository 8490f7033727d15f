/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A trial as it might have been: where outcomes were observed, made-up ones stand. What is computed
 * from it follows from schedules, arms and covariates alone.
 */
#ifndef NOF1_CORE_PRETEND_H
#define NOF1_CORE_PRETEND_H

#include <nof1/slice.h>
#include <nof1/study.h>
#include <nof1/trial.h>

/* Different made-up outcomes there are: no term that outcomes can feed is zero in all of them. */
#define NOF1_PRETENCES 4

/* Replace the observed outcomes of the trial, all of them, by those of `pretence` < NOF1_PRETENCES,
 * within the charter's bounds. The new columns live in `arena`. Errors: NOF1_E_NO_MEMORY. */
nof1_rc_value nof1_pretend(struct nof1_trial *trial, struct nof1_arena *arena,
                           const struct nof1_study *study, size_t pretence);

#endif
