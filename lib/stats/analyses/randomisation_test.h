/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by randomisation_test.c (the plan), randomisation_terms.c (one trial) and
 * randomisation_report.c (the result). Private to lib/stats/analyses.
 */
#ifndef NOF1_STATS_ANALYSES_RANDOMISATION_TEST_H
#define NOF1_STATS_ANALYSES_RANDOMISATION_TEST_H

#include <stats/registry.h>
#include <stats/series.h>

enum rt_design { RT_CYCLES, RT_PHASES, RT_START };
enum rt_side { RT_TWO_SIDED, RT_GREATER, RT_LESS };

#define RT_MOST_CYCLES 0x1p20

struct rt_model {
    struct nof1_model base; /* first */
    enum rt_design design;
    enum rt_side side;
    size_t draws; /* 0: moments */
    size_t least; /* start: rows before and after the start of treatment */
    double level, range;
    double step;  /* smallest step of a cycle difference; 0: continuous */
    double fourth_unit; /* of sum d^4: 1 but where the ring holds no fourth powers of the range */
    double fourth_quantum;
};

/* randomisation_terms.c */
int nof1_rt_group_of(const struct nof1_model *base, const struct nof1_trial *trial, void *scratch);
nof1_rc_value nof1_rt_contribute(const struct nof1_model *base, uint32_t round, const double *theta,
                                 const struct nof1_trial *trial, void *scratch, double *out);

/* randomisation_report.c */
nof1_rc_value nof1_rt_report(const struct nof1_model *base, const struct nof1_history *history,
                             struct nof1_arena *arena, json_t **out, struct nof1_error *error);

#endif
