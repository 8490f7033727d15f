/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The table of limits: presets as documented, floors, overriding, the stricter of two, round trips.
 */
#include <criterion/criterion.h>
#include <string.h>

#include <core/policy.h>

static struct nof1_arena *arena;
static struct nof1_error error;

static void setup(void)
{
    arena = nof1_arena_new();
    error = (struct nof1_error){0};
}

static void teardown(void)
{
    nof1_arena_free(arena);
}

TestSuite(policy, .init = setup, .fini = teardown);

static nof1_rc_value read(struct nof1_limits *out, const char *text)
{
    const struct nof1_node *node = NULL;
    cr_assert_eq(nof1_yaml_read(&node, arena, "policy.yaml", nof1_slice_text(text), &error),
                 NOF1_OK, "%s", error.message);
    return nof1_policy_read(out, node, &error);
}

/* The table of the protocol page, typed a second time on purpose. */
static const struct {
    const char *key;
    double standard, ultra_rare, floor;
    const char *code;
} page[] = {{"min_sites", 5, 4, 3, "E2201"},
            {"assumed_colluders", 1, 1, 1, "E2202"},
            {"min_block_sites", 4, 3, 3, "E2203"},
            {"min_patients_honest", 15, 6, 6, "E2205"},
            {"min_patients_block", 5, 3, 3, "E2206"},
            {"max_site_share", 0.50, 0.60, 0.80, "E2207"},
            {"max_trial_share", 0.33, 0.50, 0.50, "E2208"},
            {"min_element_sites", 3, 3, 2, "E2209"},
            {"min_atom_patients", 8, 6, 6, "E2210"},
            {"min_others", 5, 5, 4, "E2212"},
            {"max_net_ratio", 0.50, 0.50, 0.50, "E2212"},
            {"min_class_patients", 8, 6, 6, "E2206"},
            {"max_release_ratio", 0.33, 0.50, 0.50, "E2301"},
            {"max_rounds_query", 30, 10, 100, "E2302"},
            {"max_queries_epoch", 50, 15, 0, "E2303"},
            {"max_queries_day", 5, 3, 0, "E2304"},
            {"max_params_ratio", 0.20, 0.33, 0.33, "E2307"},
            {"min_residual_df", 10, 5, 3, "E2308"},
            {"min_entropy_bits", 16, 16, 8, "E2311"},
            {"min_cell", 8, 5, 3, "E2401"},
            {"rounding", 5, 5, 3, "E2401"},
            {"dp_epsilon_year", 4, 4, 8, "E2312"},
            {"dp_delta", 1e-6, 1e-6, 1e-5, "E2312"}};

Test(policy, the_table_is_that_of_the_protocol)
{
    struct nof1_limits standard, rare;
    cr_assert_eq(nof1_policy_preset(&standard, "standard"), NOF1_OK);
    cr_assert_eq(nof1_policy_preset(&rare, "ultra-rare"), NOF1_OK);
    const struct nof1_limit *row = nof1_limit_rows();
    for (size_t i = 0; i < sizeof page / sizeof page[0]; i++, row++) {
        cr_assert_not_null(row->key);
        cr_expect_str_eq(row->key, page[i].key);
        cr_expect_eq(nof1_limit_get(&standard, row), page[i].standard, "%s", row->key);
        cr_expect_eq(nof1_limit_get(&rare, row), page[i].ultra_rare, "%s", row->key);
        cr_expect(page[i].floor == 0 || row->floor == page[i].floor, "%s", row->key);
        cr_expect_str_eq(nof1_rc_code(row->code), page[i].code);
        bool most = strncmp(row->key, "max_", 4) == 0 || strncmp(row->key, "dp_", 3) == 0;
        cr_expect_eq(row->larger_is_stricter, !most, "%s", row->key);
        cr_expect(row->help[0] != '\0');
    }
    cr_expect_null(row->key);
    cr_expect_eq(standard.min_sites, 5u);
    cr_expect_eq(standard.rounding, 5u);
    cr_expect_eq(standard.max_params_ratio, 0.20);
    cr_expect(!standard.open && !rare.open);
    cr_expect_eq(nof1_policy_preset(&rare, "loose"), NOF1_E_NOT_FOUND);
}

Test(policy, presets_keep_their_own_rules_and_open_is_the_loosest)
{
    static const char *const names[] = {"standard", "ultra-rare"};
    struct nof1_limits limits, open;
    cr_assert_eq(nof1_policy_preset(&open, "open"), NOF1_OK);
    cr_expect(open.open);
    for (size_t p = 0; p < 2; p++) {
        cr_assert_eq(nof1_policy_preset(&limits, names[p]), NOF1_OK);
        cr_expect_geq(limits.min_sites, limits.assumed_colluders + 3);
        for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; row++) {
            double sign = row->larger_is_stricter ? 1 : -1;
            double value = nof1_limit_get(&limits, row);
            cr_expect_geq(sign * value, sign * row->floor, "%s", row->key);
            cr_expect_geq(sign * value, sign * nof1_limit_get(&open, row), "%s", row->key);
        }
    }
}

Test(policy, yaml_overrides_a_preset)
{
    struct nof1_limits limits, standard;
    cr_assert_eq(nof1_policy_preset(&standard, "standard"), NOF1_OK);
    cr_assert_eq(nof1_policy_read(&limits, NULL, &error), NOF1_OK);
    cr_expect_eq(memcmp(&limits, &standard, sizeof limits), 0);
    cr_assert_eq(read(&limits, "{}"), NOF1_OK);
    cr_expect_eq(memcmp(&limits, &standard, sizeof limits), 0);
    cr_assert_eq(read(&limits, "preset: ultra-rare\nmin_sites: 7\nmax_site_share: 0.4\n"), NOF1_OK);
    cr_expect_eq(limits.min_sites, 7u);
    cr_expect_eq(limits.max_site_share, 0.4);
    cr_expect_eq(limits.min_block_sites, 3u);
    cr_assert_eq(read(&limits, "preset: open\nmin_sites: 2\n"), NOF1_OK);
    cr_expect(limits.open && limits.min_sites == 2);
}

Test(policy, every_floor_holds_and_is_named)
{
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; row++) {
        struct nof1_limits limits;
        bool share = row->type == NOF1_LIMIT_SHARE;
        double step = (share ? 0.01 : 1) * (row->larger_is_stricter ? -1 : 1);
        /* with min_sites high enough that only the row's own rule is at stake */
        const char *form =
            strcmp(row->key, "min_sites") == 0 ? "%s: %.17g\n" : "min_sites: 9\n%s: %.17g\n";
        char text[200];
        snprintf(text, sizeof text, form, row->key, row->floor);
        cr_expect_eq(read(&limits, text), NOF1_OK, "%s%s", text, error.message);
        snprintf(text, sizeof text, form, row->key, row->floor + step);
        cr_expect_eq(read(&limits, text), NOF1_E_INPUT, "%s", text);
        cr_expect_not_null(strstr(error.message, row->key), "%s", error.message);
        cr_expect_str_eq(error.file, "policy.yaml");
        cr_expect_gt(error.line, 0u);
        cr_expect_eq(error.column, 1u);
    }
}

Test(policy, wrong_documents_are_refused_at_their_place)
{
    static const struct {
        const char *text, *message;
        unsigned line;
        nof1_rc_value rc;
    } bad[] = {
        {"preset: standard\nmin_site: 6\n", "did you mean min_sites?", 2, NOF1_E_INPUT},
        {"preset: loose\n", "expected standard, ultra-rare or open, found loose", 1, NOF1_E_INPUT},
        {"preset: [standard]\n", "preset: expected a text", 1, NOF1_E_INPUT},
        {"preset: standard\nopen: true\n", "preset", 1, NOF1_E_INPUT},
        {"open: maybe\n", "open: expected true or false", 1, NOF1_E_INPUT},
        {"min_sites: 5.5\n", "whole number", 1, NOF1_E_INPUT},
        {"min_sites: many\n", "whole number", 1, NOF1_E_INPUT},
        {"min_sites: -5\n", "whole number", 1, NOF1_E_INPUT},
        {"\nmax_site_share: 0\n", "above 0", 2, NOF1_E_INPUT},
        {"max_site_share: -0.1\n", "above 0", 1, NOF1_E_INPUT},
        {"max_site_share: .nan\n", "a number", 1, NOF1_E_INPUT},
        {"assumed_colluders: 3\n", "min_sites must be at least assumed_colluders + 3", 1,
         NOF1_E_CONFIG},
        {"min_sites: 3\nassumed_colluders: 2\n", "assumed_colluders + 2", 1, NOF1_E_CONFIG},
        {"- min_sites\n", "expected a map", 1, NOF1_E_INPUT}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct nof1_limits limits = {.min_sites = 77};
        cr_expect_eq(read(&limits, bad[i].text), bad[i].rc, "%s", bad[i].text);
        cr_expect_not_null(strstr(error.message, bad[i].message), "%s%s", bad[i].text,
                           error.message);
        cr_expect_eq(error.line, bad[i].line, "%s", bad[i].text);
        cr_expect_eq(limits.min_sites, 77u, "a refused policy changes nothing");
    }
    struct nof1_limits limits;
    cr_expect_eq(read(&limits, "min_sites: 3\n"), NOF1_OK, "two others suffice at the floor");
}

Test(policy, the_stricter_of_two_wins_in_every_key)
{
    struct nof1_limits standard, rare, open, both;
    cr_assert_eq(nof1_policy_preset(&standard, "standard"), NOF1_OK);
    cr_assert_eq(nof1_policy_preset(&rare, "ultra-rare"), NOF1_OK);
    cr_assert_eq(nof1_policy_preset(&open, "open"), NOF1_OK);
    nof1_policy_stricter(&both, &standard, &rare);
    for (const struct nof1_limit *row = nof1_limit_rows(); row->key != NULL; row++) {
        double a = nof1_limit_get(&standard, row);
        double b = nof1_limit_get(&rare, row);
        bool first = row->larger_is_stricter ? a > b : a < b;
        cr_expect_eq(nof1_limit_get(&both, row), first ? a : b, "%s", row->key);
    }
    cr_expect_eq(both.max_rounds_query, 10u);
    nof1_policy_stricter(&both, &open, &standard);
    cr_expect_eq(memcmp(&both, &standard, sizeof both), 0);
    nof1_policy_stricter(&both, &open, &open);
    cr_expect(both.open);
    nof1_policy_stricter(&open, &open, &rare);
    cr_expect_eq(memcmp(&open, &rare, sizeof open), 0, "out may be an argument");
}

Test(policy, canonical_limits_read_back)
{
    static const char *const names[] = {"standard", "ultra-rare", "open"};
    for (size_t i = 0; i < 3; i++) {
        struct nof1_limits limits, back;
        struct nof1_buffer bytes = {0};
        const struct nof1_node *node = NULL;
        cr_assert_eq(nof1_policy_preset(&limits, names[i]), NOF1_OK);
        json_t *json = nof1_policy_canonical(&limits);
        cr_assert_eq(nof1_canonical_write(&bytes, json), NOF1_OK);
        cr_assert_eq(nof1_canonical_read(&node, arena, nof1_buffer_slice(&bytes), &error), NOF1_OK);
        cr_assert_eq(nof1_policy_read(&back, node, &error), NOF1_OK, "%s", error.message);
        cr_expect_eq(memcmp(&limits, &back, sizeof back), 0, "%s", names[i]);
        json_decref(json);
        nof1_buffer_free(&bytes);
    }
    struct nof1_limits limits;
    cr_assert_eq(nof1_policy_preset(&limits, "standard"), NOF1_OK);
    json_t *json = nof1_policy_json(&limits);
    cr_expect_eq(json_object_size(json), sizeof page / sizeof page[0] + 1);
    cr_expect_eq(json_real_value(json_object_get(json, "max_site_share")), 0.5);
    json_decref(json);
}
