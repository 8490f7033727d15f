/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `nof1-node report`: one patient's own result for the treating clinician, from a published result
 * and the patient's frozen rows (docs/statistics.md, "One patient's result"). Made from the vault's
 * store by a program without network; never an action, frame or ledger entry.
 */
#ifndef NOF1_NODE_REPORT_H
#define NOF1_NODE_REPORT_H

#include <nof1/slice.h>
#include <nof1/study.h>

struct nof1_report_options {
    const char *folder;     /* the vault's */
    const char *patient;    /* as in the data */
    const char *result;     /* file: a result of bayes, random_effects or mixed_model */
    const char *outcome;    /* names, when the result does not carry them; NULL otherwise */
    const char *reference, *active;
    const char *mcid;       /* number; NULL: the result's, else 0 */
    bool json;
};
/* Append the page, or JSON. Errors: NOF1_E_INPUT, NOF1_E_USAGE, NOF1_E_NOT_FOUND with what is
 * missing. */
nof1_rc nof1_node_report(struct nof1_buffer *out, const struct nof1_report_options *options,
                         struct nof1_error *error);

/* ---- shared by report.c and report_page.c ---- */

struct nof1_report_period { int32_t cycle, period; int arm; double mean; size_t rows; };
struct nof1_report {
    const char *patient, *outcome, *unit, *reference, *active;
    int benefit;            /* +1, -1, 0 */
    double mcid, level;
    size_t periods;
    const struct nof1_report_period *period;
    double own, own_low, own_high;       /* the patient's difference alone */
    double mean, sd, low, high;          /* with what other patients tell */
    double others, others_low, others_high; /* the average effect */
    double borrowed;                     /* weight of the other patients, 0 to 1 */
    double benefit_chance, mcid_chance;  /* NAN when the direction is not known */
};
nof1_rc nof1_report_page(struct nof1_buffer *out, const struct nof1_report *report);
nof1_rc nof1_report_json(struct nof1_buffer *out, const struct nof1_report *report);

#endif
