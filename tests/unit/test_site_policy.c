/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every limit of policy.def, made stricter at one site than the charter has it: that site alone
 * refuses, with the row's code, openly or (silent rules) by an objection in its own ledger only.
 * And how a site's policy is read beside a charter.
 */
#include "hand_query.h"

static struct hand *hand_of(const struct hand_options *options, const struct nof1_limit *row,
                            double value)
{
    struct hand *h = hand_new(options);
    uint8_t *field = (uint8_t *)&h->policy[0] + row->offset;
    if (row->type == NOF1_LIMIT_SHARE) {
        memcpy(field, &value, sizeof value);
    } else {
        uint32_t count = (uint32_t)value;
        memcpy(field, &count, sizeof count);
    }
    h->policy[0].open = false; /* the lab's charter of many rounds, at a site that has limits */
    hand_start(h, 0); /* from its store, with the other policy */
    return h;
}

/* Where the site says no: the code of its refusal, or of its silent objection. "": it never does.
 */
static const char *outcome_of(struct hand *h, char code[8])
{
    const Nof1__V1__Frame *reply = hand_offer(h, 0);
    code[0] = 0;
    if (reply->body_case == NOF1__V1__FRAME__BODY_REFUSAL) {
        return reply->refusal->code;
    }
    hand_attempt(h);
    hand_gather(h);
    hand_round(h, 0);
    for (uint32_t round = 0; hand_advance(h, round); round++) {
        reply = hand_open(h, 0, round + 1);
        if (reply->body_case == NOF1__V1__FRAME__BODY_REFUSAL) {
            return reply->refusal->code;
        }
        const char *silent = strstr(h->last_entry[0], "query.objected {\"code\":\"");
        if (silent != NULL) {
            snprintf(code, 8, "%.5s", silent + strlen("query.objected {\"code\":\""));
            return code;
        }
        hand_round(h, round + 1);
    }
    return "";
}

static const struct hand_options base = {.patients = {4, 4, 4, 4, 4}};
static const struct hand_options tables = {
    .patients = {4, 4, 4, 4, 4},
    .analyses = "[descriptive]",
    .plan =
        "plan: 1\ntitle: B against A\noutcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"
        "analysis: descriptive\ngather_by: 2h\ndeadline: 10m\n"};
/* a form with cross products of a measure in whole points */
static const struct hand_options discrete = {
    .patients = {12, 12, 12, 12, 12},
    .patient_cap = 12,
    .analyses = "[mixed_model]",
    .outcome = "{kind: continuous, unit: points, bounds: [-1000, 1000], quantum: 1, centre: 50, "
               "sd_within: 5, sd_between: 5, benefit: lower}",
    .plan =
        "plan: 1\ntitle: B against A\noutcome: y\ntreatment: {reference: \"A\", active: [\"B\"]}\n"
        "analysis: mixed_model\nfixed: [treatment]\n"
        "random: {trial: [intercept, treatment]}\ngather_by: 2h\ndeadline: 10m\n"};

/* One row a limit: a value that nothing satisfies. */
static const struct {
    const char *key;
    double value;
    const struct hand_options *options;
} stricter[] = {{"min_sites", 100, &base},
                {"assumed_colluders", 50, &base},
                {"min_block_sites", 100, &base},
                {"min_patients_honest", 100000, &base},
                {"min_patients_block", 100000, &base},
                {"max_site_share", 1e-6, &base},
                {"max_trial_share", 1e-9, &rounds},
                {"min_element_sites", 100, &base},
                {"min_atom_patients", 100000, &base},
                {"min_others", 100000, &base},
                {"max_net_ratio", 1e-9, &base},
                {"min_class_patients", 100000, &base},
                {"max_release_ratio", 1e-9, &base},
                {"max_rounds_query", 0, &base},
                {"max_queries_epoch", 0, &base},
                {"max_queries_day", 0, &base},
                {"max_params_ratio", 1e-9, &base},
                {"min_residual_df", 100000, &base},
                {"min_entropy_bits", 100000, &discrete},
                {"min_cell", 100000, &tables},
                {"rounding", 100000, &tables}};

Test(site_policy, every_limit_of_a_site_refuses_what_the_charter_allows)
{
    for (size_t i = 0; i < sizeof stricter / sizeof *stricter; i++) {
        const struct nof1_limit *row = nof1_limit_rows();
        while (row->key != NULL && strcmp(row->key, stricter[i].key) != 0) {
            row++;
        }
        cr_assert_not_null(row->key, "%s", stricter[i].key);
        char code[8];
        struct hand *h = hand_of(stricter[i].options, row, stricter[i].value);
        const char *found = outcome_of(h, code);
        cr_expect_str_eq(found, nof1_rc_code(row->code), "%s: %s", row->key, found);
        hand_free(h);
    }
}

Test(site_policy, no_limit_is_left_out)
{
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; row++) {
        bool named = strncmp(row->key, "dp_", 3) == 0; /* noisy counts have tests of their own */
        for (size_t i = 0; i < sizeof stricter / sizeof *stricter; i++) {
            named = named || strcmp(row->key, stricter[i].key) == 0;
        }
        cr_expect(named, "%s", row->key);
    }
}

Test(site_policy, the_charters_own_limits_allow_those_plans)
{
    static const struct hand_options *const all[] = {&base, &tables, &rounds, &discrete};
    const struct nof1_limit *row = nof1_limit_rows();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char code[8];
        struct hand *h = hand_new(all[i]);
        double same = nof1_limit_get(&h->charter->limits, row);
        hand_free(h);
        h = hand_of(all[i], row, same);
        cr_expect_str_eq(outcome_of(h, code), "", "%zu", i);
        hand_free(h);
    }
}

/* ---- reading ------------------------------------------------------------ */

static nof1_rc_value read(struct nof1_limits *out, struct nof1_arena *arena, const char *text,
                          bool strict, struct nof1_error *error)
{
    const struct nof1_node *node = NULL;
    struct nof1_limits charter;
    *error = (struct nof1_error){0};
    MUST(nof1_policy_preset(&charter, "ultra-rare"));
    MUST(nof1_yaml_read(&node, arena, "p.yaml", nof1_slice_text(text), error));
    return nof1_policy_site(out, &charter, node, strict, error);
}

Test(site_policy, keys_are_the_charters_unless_the_site_is_stricter)
{
    struct nof1_arena *arena = nof1_arena_new();
    struct nof1_error error;
    struct nof1_limits rare, out;
    MUST(nof1_policy_preset(&rare, "ultra-rare"));
    cr_assert_eq(read(&out, arena, "min_sites: 9", true, &error), NOF1_OK, "%s", error.message);
    cr_expect_eq(out.min_sites, 9u);
    cr_expect_eq(out.min_class_patients, rare.min_class_patients, "no preset was named");
    cr_assert_eq(read(&out, arena, "preset: standard\nmin_sites: 9", true, &error), NOF1_OK);
    cr_expect_eq(out.min_class_patients, 8u);
    cr_expect_eq(out.max_site_share, 0.5);
    cr_expect_eq(out.max_rounds_query, 10u, "the charter is the stricter one here");
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; row++) {
        double limit = nof1_limit_get(&rare, row),
               value = limit + (row->larger_is_stricter ? -1 : 1);
        char text[80];
        snprintf(text, sizeof text, "# why\n%s: %.17g\n", row->key, value);
        if (value < 0 || (row->type == NOF1_LIMIT_SHARE && value <= 0)) {
            continue;
        }
        cr_expect_eq(read(&out, arena, text, true, &error), NOF1_E_INPUT, "%s", row->key);
        cr_expect_not_null(strstr(error.message, row->key));
        cr_expect_not_null(strstr(error.message, "looser than the charter's"));
        cr_expect(error.line == 2 && error.column > 0 && strcmp(error.file, "p.yaml") == 0);
        cr_expect_eq(read(&out, arena, text, false, &error), NOF1_OK, "%s: %s", row->key,
                     error.message);
        cr_expect_eq(nof1_limit_get(&out, row), limit, "%s: never looser", row->key);
    }
    cr_expect_eq(read(&out, arena, "preset: open", false, &error), NOF1_E_INPUT);
    cr_expect_eq(read(&out, arena, "assumed_colluders: 2", true, &error), NOF1_E_CONFIG);
    cr_expect_not_null(strstr(error.message, "raise min_sites"));
    nof1_arena_free(arena);
}
