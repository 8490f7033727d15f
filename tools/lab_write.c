/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What `nof1 lab run --out` leaves behind: the kept rows, so that R runs on the same set, the
 * result and the charter. Lab data only: a deployed node never writes rows.
 */
#include <tools/lab.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <base/json.h>
#include <core/census_analysis.h>
#include <core/plan.h>
#include <stats/series.h>
#include <sys/files.h>

/* A number, or nothing when it is missing. */
static nof1_rc write_number(struct nof1_buffer *out, double value)
{
    char text[NOF1_DOUBLE_TEXT];
    if (isnan(value)) {
        return nof1_buffer_printf(out, ",");
    }
    nof1_double_short(text, value);
    if (value == floor(value) && fabs(value) < 1e15) {
        snprintf(text, sizeof text, "%.0f", value); /* 60, not 6e+01 */
    }
    return nof1_buffer_printf(out, ",%s", text);
}

/* A text cell, quoted when it must be. */
static nof1_rc write_text(struct nof1_buffer *out, const char *separator, const char *text)
{
    TRY(nof1_buffer_printf(out, "%s", separator));
    if (strpbrk(text, ",\"\r\n") == NULL) {
        return nof1_buffer_printf(out, "%s", text);
    }
    TRY(nof1_buffer_printf(out, "\""));
    for (const char *c = text; *c != '\0'; ++c) {
        TRY(nof1_buffer_printf(out, *c == '"' ? "\"\"" : "%c", *c));
    }
    return nof1_buffer_printf(out, "\"");
}

static nof1_rc write_whole(struct nof1_buffer *out, int32_t value)
{
    return value == 0 ? nof1_buffer_printf(out, ",") : nof1_buffer_printf(out, ",%d", (int)value);
}

static nof1_rc write_header(struct nof1_buffer *out, const struct nof1_charter *charter)
{
    TRY(nof1_buffer_printf(out, "site,patient,trial,cycle,period,time,treatment"));
    for (size_t o = 0; o < charter->outcomes; ++o) {
        TRY(write_text(out, ",", charter->outcome[o].name));
        if (charter->outcome[o].kind == NOF1_EFFECT) {
            TRY(nof1_buffer_printf(out, ",%s.variance", charter->outcome[o].name));
        }
    }
    for (size_t c = 0; c < charter->covariates; ++c) {
        TRY(write_text(out, ",", charter->covariate[c].name));
    }
    return nof1_buffer_printf(out, "\n");
}

static nof1_rc write_row(struct nof1_buffer *out, const struct nof1_lab *lab,
                         const struct nof1_lab_site *site, size_t trial, size_t row)
{
    const struct nof1_charter *charter = lab->charter;
    const struct nof1_trial *t = &site->epoch.trial[trial];
    TRY(write_text(out, "", site->id));
    TRY(write_text(out, ",", site->table->patient[trial]));
    TRY(write_text(out, ",", site->table->trial[trial]));
    TRY(write_whole(out, t->cycle[row]));
    TRY(write_whole(out, t->period[row]));
    TRY(write_number(out, t->time[row]));
    TRY(write_text(out, ",",
                   t->treatment[row] < charter->treatments ? charter->treatment[t->treatment[row]]
                                                           : ""));
    for (size_t o = 0; o < charter->outcomes; ++o) {
        TRY(write_number(out, t->outcome[o][row]));
        if (charter->outcome[o].kind == NOF1_EFFECT) {
            TRY(write_number(out, t->variance[o] == NULL ? (double)NAN : t->variance[o][row]));
        }
    }
    for (size_t c = 0; c < charter->covariates; ++c) {
        const struct nof1_covariate *covariate = &charter->covariate[c];
        double value = t->covariate[c][row];
        if (covariate->kind == NOF1_FACTOR && !isnan(value)) {
            TRY(write_text(out, ",", covariate->level[(size_t)value]));
        } else {
            TRY(write_number(out, value));
        }
    }
    return nof1_buffer_printf(out, "\n");
}

/* Is the row one that the plan may use: its patient in the analysis set, its outcome observed, on
 * one of the plan's arms? */
static bool kept(const struct nof1_charter *charter, const struct nof1_plan *plan,
                 const struct nof1_trial *trial, size_t row)
{
    uint8_t arm = trial->treatment[row];
    bool effect = charter->outcome[plan->outcome].kind == NOF1_EFFECT;
    return !isnan(trial->outcome[plan->outcome][row]) &&
           (effect || nof1_plan_arm(plan, arm) >= 0);
}

static nof1_rc write_kept(struct nof1_buffer *out, const struct nof1_lab *lab,
                          const struct nof1_plan *plan)
{
    TRY(write_header(out, lab->charter));
    for (size_t s = 0; s < lab->sites; ++s) {
        const struct nof1_lab_site *site = &lab->site[s];
        for (size_t t = 0; t < site->epoch.trials; ++t) {
            const struct nof1_trial *trial = &site->epoch.trial[t];
            if (!nof1_in_analysis_set(lab->charter, plan->outcome, trial)) {
                continue;
            }
            for (size_t r = 0; r < trial->rows; ++r) {
                if (kept(lab->charter, plan, trial, r)) {
                    TRY(write_row(out, lab, site, t, r));
                }
            }
        }
    }
    return NOF1_OK;
}

static nof1_rc write_file(const struct nof1_lab *lab, const char *folder, const char *name,
                          struct nof1_slice bytes, struct nof1_error *error)
{
    const char *path = nof1_arena_printf(lab->arena, "%s/%s", folder, name);
    ENSURE(path != NULL, NOF1_E_NO_MEMORY);
    return nof1_file_write(path, bytes, 0644, error);
}

static nof1_rc make_folder(const char *path, struct nof1_error *error)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        return nof1_fail_at(error, NOF1_E_IO, path, 0, 0, "the folder cannot be made");
    }
    return NOF1_OK;
}

static nof1_rc write_plan(const struct nof1_lab *lab, const char *folder,
                          const struct nof1_node *node, const json_t *result,
                          struct nof1_error *error)
{
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer rows = {0};
    NOF1_CLEANUP(nof1_buffer_free) struct nof1_buffer text = {0};
    const struct nof1_plan *plan = NULL;
    TRY(make_folder(folder, error));
    TRY(nof1_plan_from_yaml(&plan, lab->arena, node, lab->charter, error));
    TRY(write_kept(&rows, lab, plan));
    TRY(write_file(lab, folder, "kept.csv", nof1_buffer_slice(&rows), error));
    TRY(nof1_json_write(&text, result, true));
    TRY(nof1_buffer_append(&text, "\n", 1));
    TRY(write_file(lab, folder, "result.json", nof1_buffer_slice(&text), error));
    if (lab->census.length > 0) {
        TRY(write_file(lab, folder, "census.json", nof1_buffer_slice(&lab->census), error));
    }
    return write_file(lab, folder, "charter.json", nof1_buffer_slice(&lab->charter_bytes), error);
}

nof1_rc_value nof1_lab_write(const struct nof1_lab *lab, const json_t *results,
                             struct nof1_error *error)
{
    TRY(make_folder(lab->options->out, error));
    for (size_t p = 0; p < lab->plans; ++p) {
        const char *folder =
            lab->plans == 1 ? lab->options->out
                            : nof1_arena_printf(lab->arena, "%s/%zu", lab->options->out, p + 1);
        ENSURE(folder != NULL, NOF1_E_NO_MEMORY);
        TRY(write_plan(lab, folder, lab->plan[p], json_array_get(results, p), error));
    }
    return NOF1_OK;
}
