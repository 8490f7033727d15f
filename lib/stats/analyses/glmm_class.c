/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "glmm_model.h"
nof1_rc_value glmm_class_prepare(struct glmm_model *m, struct nof1_arena *arena, bool exclude, bool *possible)
{ (void)m; (void)arena; (void)exclude; *possible = false; return NOF1_OK; }
nof1_rc_value glmm_class_layout(const struct glmm_model *m, uint32_t round, struct nof1_arena *arena, struct nof1_layout *out)
{ (void)m; (void)round; (void)arena; (void)out; return NOF1_E_BUG; }
int glmm_class_group_of(const struct glmm_model *m, const struct nof1_trial *trial, void *scratch)
{ (void)m; (void)trial; (void)scratch; return -1; }
nof1_rc_value glmm_class_contribute(const struct glmm_model *m, uint32_t round, const double *theta, const struct nof1_trial *trial, void *scratch, double *out)
{ (void)m; (void)round; (void)theta; (void)trial; (void)scratch; (void)out; return NOF1_E_BUG; }
nof1_rc_value glmm_class_advance(struct glmm_fit *fit, struct nof1_next *next, const struct glmm_model *m, const struct nof1_history *history, struct nof1_arena *arena, struct nof1_error *error)
{ (void)fit; (void)next; (void)m; (void)history; (void)arena; (void)error; return NOF1_E_BUG; }
