/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sums for the random-effects model: names of the estimators, adding of power sums, and the oracle
 * over cells of equal within-trial variance (docs/statistics.md, "the least that suffices"): after
 * one release of class sums every tau^2 can be asked for without a further round.
 */
#include "two_stage.h"

#include <math.h>
#include <string.h>

static const char *const method_name[] = {"FE", "DL", "HE", "HS", "SJ", "ML", "REML", "EB", "PM"};

bool nof1_two_stage_method_of(const char *text, enum nof1_two_stage_method *out)
{
    for (size_t i = 0; i < sizeof method_name / sizeof *method_name; i++) {
        if (strcmp(text, method_name[i]) == 0) {
            *out = (enum nof1_two_stage_method)i;
            return true;
        }
    }
    return false;
}

const char *nof1_two_stage_method_text(enum nof1_two_stage_method method)
{
    return method_name[method];
}

void nof1_two_stage_add(struct nof1_two_stage_power *out, const struct nof1_two_stage_power *in,
                        double factor, size_t columns)
{
    for (size_t i = 0; i < columns * columns; i++) {
        out->xx[i] += factor * in->xx[i];
    }
    for (size_t i = 0; i < columns; i++) {
        out->xy[i] += factor * in->xy[i];
    }
    out->yy += factor * in->yy;
}

/* ---- the oracle of cells ---- */

static nof1_rc_value cells_weighted(void *self, double tau2, struct nof1_two_stage_sums *out)
{
    const struct nof1_two_stage_cells *cells = self;
    memset(out, 0, sizeof *out);
    out->tau_squared = tau2;
    for (size_t c = 0; c < cells->cells; c++) {
        ENSURE(cells->v[c] + tau2 > 0.0, NOF1_E_MODEL);
        double w = 1.0 / (cells->v[c] + tau2);
        double power = 1.0;
        for (size_t a = 1; a <= 3; a++) {
            power *= w;
            nof1_two_stage_add(&out->w[a], &cells->sum[c], power, cells->columns);
        }
        out->log_sum += cells->sum[c].xx[0] * log(cells->v[c] + tau2);
    }
    return NOF1_OK;
}

static nof1_rc_value cells_unweighted(void *self, struct nof1_two_stage_sums *out)
{
    const struct nof1_two_stage_cells *cells = self;
    memset(out, 0, sizeof *out);
    size_t square = cells->columns * cells->columns;
    for (size_t c = 0; c < cells->cells; c++) {
        nof1_two_stage_add(&out->w[0], &cells->sum[c], 1.0, cells->columns);
        for (size_t i = 0; i < square; i++) {
            out->v1[i] += cells->v[c] * cells->sum[c].xx[i];
            out->v2[i] += cells->v[c] * cells->v[c] * cells->sum[c].xx[i];
        }
    }
    return NOF1_OK;
}

struct nof1_two_stage_oracle nof1_two_stage_cells_oracle(struct nof1_two_stage_cells *cells)
{
    return (struct nof1_two_stage_oracle){.self = cells, .weighted = cells_weighted,
                                          .unweighted = cells_unweighted, .cheap = true};
}
