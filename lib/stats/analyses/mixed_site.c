/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sites as fixed effects of the level, without a sum by site. In one class of complete data a
 * site's level touches the trial mean m alone. Contrasts between trials of one site are free of it;
 * of the mean over a site's trials only the differences d say anything. So products within sites,
 * sum d and sum dd' are sufficient, and a site of one trial adds nothing about m. What REML leaves
 * out, log|S'S| of the sites' columns S, is added to the criterion.
 */
#include <math.h>
#include <string.h>

#include "mixed.h"

nof1_rc_value mixed_site_check(const struct mixed_model *m, struct nof1_error *error)
{
    bool plain = m->cells == 1 && m->features == 1 && m->reml && m->shape.ratios == 0 &&
                 !m->shape.by_cycle && !m->shape.by_arm;
    for (size_t c = 0; c < m->columns; c++) {
        plain = plain && m->column[c].kind == MIXED_TREATMENT;
    }
    if (!plain) {
        return nof1_fail(error, NOF1_E_PLAN,
                         "fixed: site outside an open lab needs complete data of one charter "
                         "class and fits fixed: [treatment, site], random: {trial: [intercept]} or "
                         "{trial: [intercept, treatment]}, residual: iid, method: REML; leave site "
                         "out: effects on the level cancel in differences within patients");
    }
    return NOF1_OK;
}

size_t mixed_site_elements(const struct mixed_model *m)
{
    size_t q = m->coordinates, d = q - 1;
    return d + d * (d + 1) / 2 + q * (q + 1) / 2 + 1;
}

void mixed_site_write(double *out, const struct mixed_model *m, const double *b,
                      const struct nof1_trial *trial)
{
    double trials = (double)trial->site_trials;
    for (size_t k = 1; k < m->coordinates; k++) {
        *out++ = b[k];
    }
    for (size_t k = 1; k < m->coordinates; k++) {
        for (size_t l = 1; l <= k; l++) {
            *out++ = b[k] * b[l];
        }
    }
    for (size_t k = 0; k < m->coordinates; k++) {
        for (size_t l = 0; l <= k; l++) {
            double product = (b[k] - trial->site_mean[k]) * (b[l] - trial->site_mean[l]);
            *out++ = trials > 1 ? product : 0;
        }
    }
    *out = log(trials) / trials;
}

/* V_j of rows and columns from..q-1. */
static double *part_of(const double *term, size_t terms, size_t q, size_t from,
                       struct nof1_arena *arena)
{
    size_t n = q - from;
    double *part = nof1_arena_alloc(arena, terms * n * n + 1, sizeof *part);
    for (size_t i = 0; part != NULL && i < terms * n * n; i++) {
        size_t j = i / (n * n), k = i % (n * n) / n + from, l = i % n + from;
        part[i] = term[j * q * q + k * q + l];
    }
    return part;
}

static nof1_rc fill_means(struct nof1_gaussian_group *group, const struct mixed_model *m,
                          const double *scale, const double *sum, const double *square,
                          const double *within, double trials, struct nof1_arena *arena)
{
    size_t q = m->coordinates, d = q - 1, y = m->columns, stride = (m->columns + 1) * d;
    double *between = nof1_arena_alloc(arena, stride * stride + 1, sizeof *between);
    ENSURE(between != NULL, NOF1_E_NO_MEMORY);
    for (size_t a = 0; a < stride; a++) {
        for (size_t b = 0; b < stride; b++) {
            size_t c = a / d, e = b / d, k = a % d + 1, l = b % d + 1;
            double x = c == y ? 0 : m->cell[0].constant[c * q + k];
            double z = e == y ? 0 : m->cell[0].constant[e * q + l];
            double value = c == y && e == y ? square[(k - 1) * d + l - 1] - within[k * q + l]
                           : c == y         ? z * sum[k - 1]
                           : e == y         ? x * sum[l - 1]
                                            : x * z * trials;
            between[a * stride + b] = scale[k] * scale[l] * value;
        }
    }
    group->between = between;
    return NOF1_OK;
}

nof1_rc_value mixed_site_groups(struct nof1_gaussian_group group[3], struct mixed_fit *fit,
                                const struct mixed_model *m, const double *total,
                                const struct nof1_history *history, struct nof1_arena *arena,
                                struct nof1_error *error)
{
    size_t q = m->coordinates, d = q - 1, y = m->columns, stride = (m->columns + 1) * q;
    double trials = (double)history->counts.trials, sites = (double)history->counts.group_sites[0];
    double rows = (double)mixed_cell_rows(m, &m->cell[0]);
    double scale[NOF1_ARMS_MAX], square[NOF1_ARMS_MAX * NOF1_ARMS_MAX];
    double within[NOF1_ARMS_MAX * NOF1_ARMS_MAX];
    if (trials <= sites) {
        return nof1_fail(error, NOF1_E_MODEL,
                         "fixed: every site has one trial, so that sites and patients cannot be "
                         "told apart; leave site out");
    }
    const double *sum = total, *at = total + d;
    for (size_t k = 0; k < d; k++) {
        for (size_t l = 0; l <= k; l++) {
            square[k * d + l] = square[l * d + k] = *at++;
        }
    }
    for (size_t k = 0; k < q; k++) {
        for (size_t l = 0; l <= k; l++) {
            within[k * q + l] = within[l * q + k] = *at++;
        }
    }
    double *between = nof1_arena_alloc(arena, stride * stride, sizeof *between);
    ENSURE(between != NULL, NOF1_E_NO_MEMORY);
    TRY(mixed_cell_structure(&group[0], scale, m, &m->cell[0], arena));
    for (size_t i = 0; i < q * q; i++) {
        size_t k = i / q, l = i % q;
        between[(y * q + k) * stride + y * q + l] = scale[k] * scale[l] * within[i];
    }
    const double *term = group[0].term;
    group[0] = (struct nof1_gaussian_group){.trials = trials - sites, .rows = (double)q, .rank = q,
                                            .term = term, .between = between};
    group[1] = (struct nof1_gaussian_group){.trials = sites, .rows = (double)d, .rank = d,
                                            .term = part_of(term, m->terms, q, 1, arena)};
    group[2] = (struct nof1_gaussian_group){.trials = 1, .rows = trials * (rows - (double)q)};
    ENSURE(group[1].term != NULL, NOF1_E_NO_MEMORY);
    TRY(fill_means(&group[1], m, scale, sum, square, within, trials, arena));
    group[2].term = group[2].between = group[1].term; /* of no rank: never read */
    fit->absorbed = sites;
    fit->constant = *at + sites * log(rows);
    return NOF1_OK;
}
