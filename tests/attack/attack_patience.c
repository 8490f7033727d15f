/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A statistician with patience: plans that each ask for one number, the next of which depends on
 * the last answer. Bisection finds one patient's value to as many bits as there are plans.
 */
#include "attack_crowd.h"

#include <core/atoms.h>

#define EACH 16
#define PATIENTS (SITES * EACH)
#define RANK 20 /* well inside of what min_cell shows */
#define HIGHEST 64.0

struct patience {
    struct hand *h;
    const char *atom; /* of everybody, since the first release */
    char code[8];
};

/* How many patients' difference exceeds mcid? The answer of the result, or -1: refused. */
static int responders(struct attack_result *r, struct patience *p, double mcid)
{
    struct hand *h = p->h;
    static const char *const fresh[] = {"0"};
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_plan *plan = NULL;
    struct nof1_buffer bytes = {0};
    char atom[NOF1_ATOM_TEXT];
    json_t *result = NULL;
    const char *text =
        nof1_arena_printf(h->arena,
                          "plan: 1\ntitle: share\noutcome: y\ntreatment: {reference: "
                          "\"A\", active: [\"B\"]}\nanalysis: summary_test\nform: "
                          "responder\nbenefit: higher\nmcid: %.17g\ngather_by: 2h\n"
                          "deadline: 10m\n",
                          mcid);
    h->now += INT64_C(86400) * 1000;
    MUST(nof1_yaml_read(&node, h->arena, "plan", nof1_slice_text(text), &error));
    MUST(nof1_plan_from_yaml(&plan, h->arena, node, h->charter, &error));
    struct nof1_plan filled = *plan;
    filled.atoms = 1;
    filled.atom = p->atom == NULL ? fresh : &p->atom;
    filled.epoch = h->epoch[0].id;
    nof1_rc_value rc =
        nof1_query_complete(&bytes, h->charter, h->census, &filled, h->now / 1000, &error);
    if (rc != NOF1_OK) {
        snprintf(r->code, sizeof r->code, "%s", nof1_rc_code(rc));
        return -1;
    }
    hand_query(h, nof1_arena_copy(h->arena, nof1_buffer_slice(&bytes)));
    nof1_buffer_free(&bytes);
    if (!crowd_until(r, h, &everybody, 1)) {
        return -1;
    }
    (void)hand_advance(h, 1);
    MUST(h->query->analysis->report(h->query->model, &h->history, h->arena, &result, &error));
    double count =
        json_number_value(json_object_get(json_object_get(result, "responders"), "count"));
    json_decref(result);
    hand_end(h, true);
    MUST(nof1_atom_used(atom, p->atom == NULL ? "0" : p->atom, h->h_q, 0));
    p->atom = nof1_arena_text(h->arena, atom);
    return (int)count;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Outcomes with all their digits; the differences in descending order. */
static void blur(struct hand *h, double *d)
{
    size_t n = 0;
    for (size_t s = 0; s < SITES; s++) {
        for (size_t p = 0; p < EACH; p++) {
            const struct nof1_trial *trial = &h->epoch[s].trial[p];
            double *y = (double *)(uintptr_t)trial->outcome[0], sum[2] = {0};
            for (size_t row = 0; row < ROWS; row++) {
                y[row] += test_random_uniform(&h->random);
                sum[trial->treatment[row]] += y[row] / 3;
            }
            d[n++] = sum[1] - sum[0];
        }
        hand_start(h, s);
    }
    qsort(d, n, sizeof *d, by_size);
}

/* The threshold at which the RANK-th patient stops to respond. */
static void bisected_threshold(struct attack_result *r)
{
    struct hand_options options = {.analyses = "[summary_test]", .patient_cap = EACH,
                                   .patients = {EACH, EACH, EACH, EACH, EACH},
                                   .plan = "plan: 1\ntitle: share\noutcome: y\ntreatment: "
                                           "{reference: \"A\", active: [\"B\"]}\nanalysis: "
                                           "summary_test\ngather_by: 2h\ndeadline: 10m\n"};
    double d[PATIENTS], low = 0, high = HIGHEST;
    if (attack_is_control()) {
        options.preset = "open";
        options.lab = true;
    }
    struct patience p = {.h = hand_new(&options)};
    blur(p.h, d);
    cr_assert_gt(d[RANK - 1], 0);
    for (int plans = 0; plans < 24; plans++) {
        double middle = (low + high) / 2;
        int count = responders(r, &p, middle);
        if (count < 0) {
            break;
        }
        low = count >= RANK ? middle : low;
        high = count >= RANK ? high : middle;
    }
    r->won = high - low < 1e-4 && fabs(d[RANK - 1] - low) < 1e-4;
    hand_free(p.h);
}

const struct attack attacks_by_patience[] = {
    {"B38", "bisection of a threshold", "E1016", "", bisected_threshold},
    {0},
};
