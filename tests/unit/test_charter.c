/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Charters: what the YAML means, the canonical round trip and hash, every refusal with its place.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <core/census.h>
#include <core/opening.h>
#include <core/policy.h>
#include <crypto/hash.h>

#include "document.h"
#include "support.h"

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

TestSuite(charter, .init = setup, .fini = teardown);

Test(charter, the_fixture_means_what_it_says)
{
    const struct nof1_charter *c = test_charter(arena);
    cr_expect_str_eq(c->study, "pain-bt");
    cr_expect_eq(c->version, 2u);
    cr_expect(c->lab);
    cr_expect_eq(c->effective_at, 1777593600);
    cr_expect_eq(c->limits.min_sites, 6u);
    cr_expect_eq(c->limits.max_release_ratio, 0.25);
    cr_expect_eq(c->limits.min_block_sites, 4u);
    cr_expect_eq(c->treatments, 2u);
    cr_expect_eq(nof1_charter_treatment(c, "1"), 1u);
    cr_assert_eq(c->outcomes, 3u);
    const struct nof1_outcome *y = &c->outcome[0];
    cr_expect(y->lower == 0 && y->upper == 10 && y->quantum == 1 && y->centre == 5);
    cr_expect(y->sd_within == 1.5 && y->sd_between == 1 && y->benefit == -1);
    cr_expect_str_eq(y->unit, "points");
    cr_expect_str_eq(y->family, "y");
    const struct nof1_outcome *relief = &c->outcome[nof1_charter_outcome(c, "relief")];
    cr_expect_eq(relief->kind, NOF1_BINARY);
    cr_expect(relief->lower == 0 && relief->upper == 1 && relief->quantum == 1);
    cr_expect(relief->centre == 0 && relief->benefit == 1);
    cr_expect_str_eq(relief->family, "y");
    cr_expect_str_eq(c->outcome[2].family, "falls");
    cr_assert_eq(c->covariates, 3u);
    cr_expect_eq(c->covariate[1].kind, NOF1_FACTOR);
    cr_expect_eq(nof1_covariate_level(&c->covariate[1], "not stated"), 2u);
    cr_expect(c->covariate[2].varies_within && c->covariate[2].centre == 0);
    cr_expect_str_eq(c->stratum_covariate, "sex");
    cr_expect_eq(c->strata, 3u);
    cr_assert_eq(c->classes, 2u);
    cr_expect(c->class_[0].n[0] == 3 && c->class_[0].schedule_rows == 6);
    cr_expect_eq(c->class_[0].schedule_period[5], 6);
    cr_expect_eq(c->class_[1].schedule_rows, 0u);
    cr_expect(c->lambdas == 2 && c->lambda[1] == 2);
    cr_expect(c->beta_box == 1 && c->variance_ratio_box == 1e6);
    cr_expect(!c->any_arm && c->missing == NOF1_MISSING_CENTRE);
    cr_expect(nof1_charter_allows(c, "mixed_model") && !nof1_charter_allows(c, "glmm"));
}

Test(charter, sites_are_sorted_and_each_in_its_block)
{
    const struct nof1_charter *c = test_charter(arena);
    cr_assert_eq(c->sites, 8u);
    for (size_t s = 0; s < c->sites; s++) {
        cr_expect(s == 0 || strcmp(c->site[s - 1].id, c->site[s].id) < 0);
        cr_expect_eq(nof1_charter_site(c, c->site[s].id), s);
        cr_expect_neq(nof1_charter_block_of(c, s), NOF1_NONE);
    }
    cr_expect_eq(nof1_charter_site(c, "nowhere"), NOF1_NONE);
    cr_assert_eq(c->blocks, 2u);
    for (size_t b = 0; b < 2; b++) {
        cr_assert_eq(c->block[b].sites, 4u);
        for (size_t i = 1; i < 4; i++) {
            cr_expect_lt(c->block[b].site[i - 1], c->block[b].site[i]);
        }
    }
    cr_expect_eq(nof1_charter_block_of(c, nof1_charter_site(c, "up")), 1u);
    cr_expect_eq(nof1_charter_block(c, "b2"), 1u);
    cr_expect_eq(nof1_charter_block(c, "b3"), NOF1_NONE);
    const struct nof1_member *north = &c->site[nof1_charter_site(c, "north")];
    cr_expect_eq(north->patient_cap, 20u);
    cr_expect(nof1_slice_equal(north->vault_spki, nof1_slice_of("\x30\x01", 2)));
    cr_expect_str_eq(c->site[nof1_charter_site(c, "south")].edge_spiffe, "");
    cr_expect_eq(nof1_charter_statistician(c, "ada"), 0u);
    cr_expect_eq(nof1_charter_statistician(c, "bob"), NOF1_NONE);
    cr_expect_str_eq(c->coordinator.id, "hub");
}

Test(charter, canonical_bytes_survive_and_are_hashed)
{
    const struct nof1_charter *c = test_charter(arena);
    struct nof1_buffer first = {0};
    struct nof1_buffer second = {0};
    const struct nof1_charter *again = NULL;
    uint8_t hash[32];
    cr_assert_eq(nof1_charter_canonical(&first, c), NOF1_OK);
    struct nof1_slice bytes = nof1_buffer_slice(&first);
    cr_assert_eq(nof1_charter_read(&again, arena, bytes, &error), NOF1_OK, "%s", error.message);
    cr_assert_eq(nof1_charter_canonical(&second, again), NOF1_OK);
    cr_expect(nof1_slice_equal(bytes, nof1_buffer_slice(&second)));
    cr_assert_eq(nof1_hash(hash, NOF1_DOMAIN_CHARTER, 1, &bytes), NOF1_OK);
    cr_expect_arr_eq(hash, again->hash, 32);
    cr_expect_arr_eq(hash, c->hash, 32);
    nof1_buffer_free(&first);
    nof1_buffer_free(&second);
}

Test(charter, the_order_of_maps_in_yaml_does_not_matter_where_it_means_nothing)
{
    const char *text = test_charter_text(arena);
    const char *other = test_replace(arena, text, "  south: {patient_cap: 20}\n", "", NULL);
    other = test_replace(arena, other, "sites:\n", "sites:\n  south: {patient_cap: 20}\n", NULL);
    other = test_replace(arena, other, "[north, south, east, west]", "[west, east, south, north]",
                         NULL);
    cr_expect_arr_eq(test_charter_from(arena, text)->hash, test_charter_from(arena, other)->hash,
                     32);
    other = test_replace(arena, text, "levels: [F, M,", "levels: [M, F,", NULL);
    cr_expect_neq(
        memcmp(test_charter_from(arena, text)->hash, test_charter_from(arena, other)->hash, 32), 0,
        "the reference level is part of the agreement");
}

Test(charter, every_mistake_is_refused_at_its_line)
{
    static const struct {
        const char *from, *to;
        nof1_rc_value rc;
        const char *message;
    } bad[] = {
        {"study: pain-bt", "study: pain bt", NOF1_E_INPUT, "\"pain bt\" is not a name"},
        {"study: pain-bt", "study: _x", NOF1_E_INPUT, "is not a name"},
        {"study: pain-bt",
         "study: a1234567890123456789012345678901234567890123456789012345678901234", NOF1_E2405,
         "at most 64"},
        {"version: 2", "version: 0", NOF1_E_INPUT, "version: expected a whole number from 1"},
        {"lab: true", "lab: yes", NOF1_E_INPUT, "lab: expected true or false"},
        {"2026-05-01T00:00:00Z", "1 May 2026", NOF1_E_INPUT, "effective: expected a UTC time"},
        {"preset: standard", "preset: relaxed", NOF1_E_INPUT, "expected standard, ultra-rare"},
        {"min_sites: 6", "min_sites: 2", NOF1_E_INPUT, "min_sites: no policy may go below 3"},
        {"min_sites: 6", "mini_sites: 6", NOF1_E_INPUT, "did you mean min_sites?"},
        {"limits: {", "limits: {preset: standard, ", NOF1_E_INPUT, "preset is given twice"},
        {"covariates:", "covariats:", NOF1_E_INPUT, "did you mean covariates?"},
        {"kind: continuous,", "kind: smooth,", NOF1_E_INPUT, "kind: expected one of continuous"},
        {"unit: points",
         "unit: \"\xc2\xb0"
         "C\"",
         NOF1_E_INPUT, "ASCII"},
        {"unit: points", "unit: \" points\"", NOF1_E_INPUT, "no blank"},
        {"unit: points", "unit: [points]", NOF1_E_INPUT, "expected a text"},
        {"unit: points", "unit: 123456789012345678901234567890123", NOF1_E2405, "at most 32"},
        {"bounds: [0, 10]", "bounds: [10, 0]", NOF1_E_INPUT, "lower bound must be below"},
        {"bounds: [0, 10]", "bounds: [0, 0]", NOF1_E_INPUT, "lower bound must be below"},
        {"bounds: [0, 10]", "bounds: [0]", NOF1_E_INPUT, "expected [lower, upper]"},
        {"bounds: [0, 10]", "bounds: [0, ten]", NOF1_E_INPUT, "expected a number"},
        {"bounds: [0, 10]", "bounds: 10", NOF1_E_INPUT, "expected a list"},
        {"quantum: 1,", "quantum: 11,", NOF1_E_INPUT, "quantum: expected the smallest step"},
        {"quantum: 1,", "quantum: -1,", NOF1_E_INPUT, "quantum: expected the smallest step"},
        {"quantum: 1,", "quantom: 1,", NOF1_E_INPUT, "did you mean quantum?"},
        {"centre: 5,", "centre: 11,", NOF1_E_INPUT, "centre: expected a number within"},
        {"benefit: lower", "benefit: less", NOF1_E_INPUT, "benefit: expected one of lower"},
        {"  relief: {", "  relief: {bounds: [0, 2], ", NOF1_E_INPUT, "bounds [0, 1]"},
        {"falls: {kind: count, bounds: [0, 50]", "falls: {kind: count, bounds: [0, 0.5]",
         NOF1_E_INPUT, "quantum"},
        {"  age: {", "  y: {", NOF1_E_INPUT, "y is an outcome already"},
        {"[F, M, not stated]", "[F, M, F]", NOF1_E_INPUT, "F is given twice"},
        {"[F, M, not stated]", "[]", NOF1_E_INPUT, "1 to 256 levels"},
        {"strata: sex", "strata: age", NOF1_E_INPUT, "name of a factor covariate"},
        {"strata: sex", "strata: race", NOF1_E_INPUT, "found race"},
        {"n: [3, 3],", "n: [3, 3, 3],", NOF1_E_INPUT, "one number of rows per treatment (2)"},
        {"n: [2, 2]", "n: [0, 0]", NOF1_E_INPUT, "at least one row"},
        {"[1, 2, 3, 4, 5, 6]", "[1, 2, 3, 4, 5]", NOF1_E_INPUT, "each of the 6 rows"},
        {"[1, 2, 3, 4, 5, 6]", "[1, 2, 3, 4, 6, 5]", NOF1_E_INPUT, "ascending"},
        {"[1, 2, 3, 4, 5, 6]", "[0, 2, 3, 4, 5, 6]", NOF1_E_INPUT, "periods"},
        {"max_periods: 3", "max_periods: 65", NOF1_E_INPUT, "from 1 to 64"},
        {"lambdas: [0.25, 2]", "lambdas: [2, 0.25]", NOF1_E_INPUT, "ascending"},
        {"lambdas: [0.25, 2]", "lambdas: []", NOF1_E_INPUT, "1 to 8"},
        {"analyses: [random_effects, mixed_model]", "analyses: [a, a]", NOF1_E_INPUT,
         "given twice"},
        {"south: {patient_cap: 20}", "south: {}", NOF1_E_INPUT, "patient_cap is missing"},
        {"south: {patient_cap: 20}", "south: {patient_cap: 0}", NOF1_E_INPUT, "patient_cap"},
        {"south: {patient_cap: 20}", "south: {patient_cap: 20, vault_key: 3001}", NOF1_E_INPUT,
         "have the same"},
        {"south: {patient_cap: 20}",
         "south: {patient_cap: 20, edge: \"spiffe://pain.example/edge/north\"}", NOF1_E_INPUT,
         "have the same"},
        {"south: {patient_cap: 20}", "south: {patient_cap: 20, edge: \"https://x\"}", NOF1_E_INPUT,
         "SPIFFE id"},
        {"south: {patient_cap: 20}", "south: {patient_cap: 20, vault_key: xyz}", NOF1_E_INPUT,
         "hex digits"},
        {"  west: {patient_cap: 30}", "  extra: {patient_cap: 1}\n  west: {patient_cap: 30}",
         NOF1_E_INPUT, "site extra is in no block"},
        {"[north, south, east, west]", "[north, south, east, west, up]", NOF1_E_INPUT, NULL},
        {"[north, south, east, west]", "[north, south, east, west, moon]", NOF1_E_INPUT,
         "there is no site moon"},
        {"[north, south, east, west]", "[north, south, east, east]", NOF1_E_INPUT,
         "site east is named twice"},
        {"[north, south, east, west]", "[north, south, east]", NOF1_E2203,
         "block b1 has 3 sites: at least 4 are needed (min_block_sites)"},
        {"spiffe://pain.example/statistician/ada", "ada@example", NOF1_E_INPUT, "SPIFFE id"},
        {"coordinator: {id: hub", "coordinator: {id: the hub", NOF1_E_INPUT, "not a name"}};

    const char *text = test_charter_text(arena);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        unsigned line = 0;
        const struct nof1_charter *charter = NULL;
        const char *changed = test_replace(arena, text, bad[i].from, bad[i].to, &line);
        const struct nof1_node *node = test_yaml(arena, "charter.yaml", changed);
        error = (struct nof1_error){0};
        nof1_rc_value rc = nof1_charter_from_node(&charter, arena, node, &error);
        cr_expect_eq(rc, bad[i].rc, "%s: %s", bad[i].to, nof1_rc_code(rc));
        cr_expect_eq(error.rc, bad[i].rc, "%s", bad[i].to);
        cr_expect(bad[i].message == NULL || strstr(error.message, bad[i].message) != NULL, "%s: %s",
                  bad[i].to, error.message);
        cr_expect_str_eq(error.file, "charter.yaml");
        cr_expect(error.line >= line - 1 && error.line <= line + 1 + (bad[i].message == NULL),
                  "%s: line %u, not %u", bad[i].to, error.line, line);
        cr_expect_gt(error.column, 0u);
        cr_expect_null(charter);
    }
}

/* A charter without it keeps its hash: 0 is not written. */
Test(charter, a_time_centre_survives_and_is_hashed)
{
    const struct nof1_charter *plain = test_charter(arena), *c = NULL, *again = NULL;
    struct nof1_buffer bytes = {0};
    const char *text = test_replace(arena, test_charter_text(arena), "max_cycles: 3",
                                    "max_cycles: 3\ntime_centre: 2456000", NULL);
    cr_expect_eq(plain->time_centre, 0);
    cr_assert_eq(nof1_charter_from_node(&c, arena, test_yaml(arena, "f", text), &error), NOF1_OK);
    cr_assert_eq(nof1_charter_canonical(&bytes, c), NOF1_OK);
    cr_assert_eq(nof1_charter_read(&again, arena, nof1_buffer_slice(&bytes), &error), NOF1_OK);
    cr_expect_eq(again->time_centre, 2456000);
    cr_expect(memcmp(again->hash, plain->hash, 32) != 0);
    nof1_buffer_free(&bytes);
}

Test(charter, missing_parts_are_named)
{
    static const struct {
        const char *line, *message;
    } parts[] = {{"study: pain-bt\n", "key study is missing"},
                 {"treatments: [\"0\", \"1\"]\n", "treatments: expected a list of 2 to 8"},
                 {"max_periods: 3\n", "key max_periods is missing"},
                 {"max_cycles: 3\n", "key max_cycles is missing"},
                 {"analyses: [random_effects, mixed_model]\n", "at least one allowed analysis"}};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const struct nof1_charter *charter = NULL;
        const char *text = test_replace(arena, test_charter_text(arena), parts[i].line, "", NULL);
        cr_expect_eq(nof1_charter_from_node(&charter, arena, test_yaml(arena, "f", text), &error),
                     NOF1_E_INPUT);
        cr_expect_not_null(strstr(error.message, parts[i].message), "%s", error.message);
    }
    const struct nof1_charter *charter = NULL;
    const struct nof1_node *list = test_yaml(arena, "f", "[1]");
    cr_expect_eq(nof1_charter_from_node(&charter, arena, list, &error), NOF1_E_INPUT);
}

Test(charter, what_switches_a_rule_off_is_for_the_lab_only)
{
    static const struct {
        const char *from, *to;
    } loose[] = {{"preset: standard", "preset: open"},
                 {"max_cycles: 3", "max_cycles: 3\nanalysis_set: any"},
                 {"max_cycles: 3", "max_cycles: 3\nmissing: rows"}};

    for (size_t i = 0; i < 3; i++) {
        const struct nof1_charter *charter = NULL;
        const char *text =
            test_replace(arena, test_charter_text(arena), loose[i].from, loose[i].to, NULL);
        cr_expect_eq(nof1_charter_from_node(&charter, arena, test_yaml(arena, "f", text), &error),
                     NOF1_OK, "%s", error.message);
        text = test_replace(arena, text, "lab: true", "lab: false", NULL);
        cr_expect_eq(nof1_charter_from_node(&charter, arena, test_yaml(arena, "f", text), &error),
                     NOF1_E_INPUT);
        cr_expect_not_null(strstr(error.message, "for the lab only"), "%s", error.message);
    }
}

Test(charter, sums_must_fit_the_ring)
{
    const struct nof1_charter *charter = NULL;
    const char *text =
        test_replace(arena, test_charter_text(arena), "bounds: [0, 50]", "bounds: [0, 1e15]", NULL);
    cr_expect_eq(nof1_charter_from_node(&charter, arena, test_yaml(arena, "f", text), &error),
                 NOF1_E_INPUT);
    cr_expect_not_null(strstr(error.message, "too large for exact sums"), "%s", error.message);
}

Test(charter, a_deployed_charter_pins_every_key)
{
    const struct nof1_charter *charter = NULL;
    const char *text =
        test_replace(arena, test_charter_text(arena), "lab: true", "lab: false", NULL);
    struct nof1_buffer bytes = {0};
    cr_assert_eq(nof1_charter_from_node(&charter, arena, test_yaml(arena, "f", text), &error),
                 NOF1_OK);
    cr_assert_eq(nof1_charter_canonical(&bytes, charter), NOF1_OK);
    cr_expect_eq(nof1_charter_read(&charter, arena, nof1_buffer_slice(&bytes), &error),
                 NOF1_E_INPUT);
    cr_expect_not_null(strstr(error.message, "needs both the SPIFFE id and the key"), "%s",
                       error.message);
    nof1_buffer_free(&bytes);
}

Test(charter, bytes_that_mean_the_same_but_differ_are_refused)
{
    struct nof1_buffer bytes = {0};
    const struct nof1_charter *charter = test_charter(arena);
    cr_assert_eq(nof1_charter_canonical(&bytes, charter), NOF1_OK);
    cr_assert_eq(nof1_buffer_append(&bytes, "", 1), NOF1_OK);
    const char *text = (const char *)bytes.data;

    static const struct {
        const char *from, *to;
    } variants[] = {{"{\"analyses\"", " {\"analyses\""},
                    {",\"charter\":1", ""},
                    {"\"effective\":\"2026-05-01T00:00:00Z\"", "\"effective\":\"2026-05-01\""},
                    {"\"id\":\"b1\",\"sites\":[\"east\",\"north\"",
                     "\"id\":\"b1\",\"sites\":[\"north\",\"east\""},
                    {",\"family\":\"falls\"", ""},
                    {"\"max_cycles\":3", "\"max_cycles\":3,\"preset\":\"standard\""},
                    {"\"min_sites\":6", "\"min_sites\":6,\"minn\":1"},
                    {"\"study\":\"pain-bt\"", "\"study\":1"}};

    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        const struct nof1_charter *out = NULL;
        const char *changed = test_replace(arena, text, variants[i].from, variants[i].to, NULL);
        nof1_rc_value rc = nof1_charter_read(&out, arena, nof1_slice_text(changed), &error);
        cr_expect(rc == NOF1_E_DECODE || rc == NOF1_E_INPUT, "%s: %s", variants[i].to,
                  nof1_rc_code(rc));
        cr_expect_null(out);
    }
    nof1_buffer_free(&bytes);
}

Test(charter, no_single_byte_of_the_signed_form_can_be_changed_without_changing_the_hash)
{
    struct nof1_buffer bytes = {0};
    const struct nof1_charter *charter = test_charter(arena);
    cr_assert_eq(nof1_charter_canonical(&bytes, charter), NOF1_OK);
    struct test_random random = {5};
    for (int i = 0; i < 3000; i++) {
        struct nof1_arena *scratch = nof1_arena_new();
        const struct nof1_charter *out = NULL;
        size_t at = (size_t)(test_random_next(&random) % bytes.length);
        uint8_t old = bytes.data[at];
        bytes.data[at] = (uint8_t)test_random_next(&random);
        if (bytes.data[at] != old &&
            nof1_charter_read(&out, scratch, nof1_buffer_slice(&bytes), NULL) == NOF1_OK) {
            cr_expect_neq(memcmp(out->hash, charter->hash, 32), 0);
        }
        bytes.data[at] = old;
        nof1_arena_free(scratch);
    }
    nof1_buffer_free(&bytes);
}

Test(charter, a_block_that_a_site_has_left_is_in_no_plan)
{
    const char *text = test_replace(arena, test_charter_text(arena), "south: {patient_cap: 20}",
                                    "south: {patient_cap: 20, left: true}", NULL);
    const struct nof1_charter *c = test_charter_from(arena, text);
    cr_expect(c->site[nof1_charter_site(c, "south")].left);
    cr_expect(!nof1_charter_block_open(c, 0) && nof1_charter_block_open(c, 1));
    struct nof1_buffer plan = {0};
    struct nof1_query *query = NULL;
    cr_assert_eq(nof1_census_plan(&plan, c, 1), NOF1_OK);
    cr_assert_eq(nof1_query_new(&query, c, NULL, nof1_buffer_slice(&plan), &error), NOF1_OK, "%s",
                 error.message);
    cr_expect_eq(query->sites, c->block[1].sites);
    nof1_query_free(query);
    nof1_buffer_free(&plan);
    /* and somebody must be left to ask */
    text = test_replace(arena, text, "up: {patient_cap: 5}", "up: {patient_cap: 5, left: true}",
                        NULL);
    const struct nof1_charter *none = NULL;
    cr_expect_eq(nof1_charter_from_node(&none, arena, test_yaml(arena, "c.yaml", text), &error),
                 NOF1_E_INPUT);
}

Test(charter, a_later_version_names_the_one_it_replaces)
{
    const char *hash = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const char *line = nof1_arena_printf(arena, "version: 3\nfollows: %s\n", hash);
    const char *text =
        test_replace(arena, test_charter_text(arena), "version: 2\n", line, NULL);
    const struct nof1_charter *c = test_charter_from(arena, text);
    cr_assert_eq(c->follows.length, 32u);
    cr_expect_eq(c->follows.data[31], 0xff);
    cr_expect_eq(test_charter(arena)->follows.length, 0u);
}

/* Numeric covariates are coarse outside an open lab: stated, or by the least round step that is. */
Test(charter, numeric_covariates_have_coarse_steps)
{
    static const struct { const char *age; double quantum; } cases[] = {
        {"bounds: [0, 110], centre: 50", 5},     {"bounds: [0, 32], centre: 5", 1},
        {"bounds: [0, 1], centre: 0", 0.05},     {"bounds: [0, 33], centre: 5", 2},
        {"bounds: [0, 6400], centre: 50", 200},  {"bounds: [0, 110], centre: 50, quantum: 4", 4},
        {"bounds: [0, 3.2], centre: 0, quantum: 0.1", 0.1},
        {"bounds: [0, 110], centre: 50, quantum: 3", -1},
        {"bounds: [0, 110], centre: 50, quantum: 0", -1},
        {"bounds: [0, 110], centre: 50, quantum: 111", -1},
        {"bounds: [0, 110], centre: 50, quantum: -5", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct nof1_charter *c = NULL;
        const char *text = test_replace(arena, test_charter_text(arena),
                                        "bounds: [0, 110], centre: 50", cases[i].age, NULL);
        nof1_rc_value rc =
            nof1_charter_from_node(&c, arena, test_yaml(arena, "c.yaml", text), &error);
        cr_expect_eq(rc, cases[i].quantum < 0 ? NOF1_E_INPUT : NOF1_OK, "%s: %s", cases[i].age,
                     error.message);
        if (rc == NOF1_OK) {
            size_t age = nof1_charter_covariate(c, "age");
            cr_expect_float_eq(c->covariate[age].quantum, cases[i].quantum, 1e-12, "%s: %g",
                               cases[i].age, c->covariate[age].quantum);
        } else {
            cr_expect_not_null(strstr(error.message, "quantum"), "%s", error.message);
        }
    }
}

Test(charter, values_are_coded_to_the_nearest_step_within_the_bounds)
{
    static const struct { double value, coded; } cases[] = {
        {52, 50}, {52.5, 55}, {53, 55}, {18, 20}, {17.4, 17}, {87.4, 85}, {88, 89}, {89, 89}};
    struct nof1_covariate age = {.lower = 17, .upper = 89, .quantum = 5};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double coded = nof1_covariate_coded(&age, cases[i].value);
        cr_expect_eq(coded, cases[i].coded, "%g: %g", cases[i].value, coded);
        cr_expect_eq(nof1_covariate_coded(&age, coded), coded, "twice");
    }
    cr_expect(isnan(nof1_covariate_coded(&age, NAN)));
    age.quantum = 0;
    cr_expect_eq(nof1_covariate_coded(&age, 52.123456789), 52.123456789);
}
