/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Plans: keys, defaults, options of every kind against a registry made for this suite, completion,
 * the canonical round trip, every refusal with its place.
 */
#include <criterion/criterion.h>
#include <string.h>

#include <core/plan.h>
#include <crypto/hash.h>
#include <nof1/analysis.h>

#include "document.h"
#include "support.h"

/* The suite's registry takes the place of lib/stats/registry.c: one analysis with an option of
 * every kind, one without options, one that the fixture charter does not allow. */
static const struct nof1_option options[] = {
    {"method", NOF1_OPT_CHOICE, "ML|REML", "REML", 0, 0, "criterion"},
    {"level", NOF1_OPT_NUMBER, "confidence level", "0.95", 0.5, 0.9999, "level"},
    {"fixed", NOF1_OPT_NAMES, "terms", "[treatment]", 0, 0, "fixed effects"},
    {"random", NOF1_OPT_MAP, "terms by group", "{trial: [intercept, treatment]}", 0, 0, "random"},
    {"exact", NOF1_OPT_FLAG, "true or false", "false", 0, 0, "exactness"},
    {"mcid", NOF1_OPT_NUMBER, "smallest difference that matters", "", 0, 0, "no default"},
    {"incomplete", NOF1_OPT_CHOICE, "auto|score|pool|cycles|exclude", "auto", 0, 0, "form"},
    {NULL, NOF1_OPT_FLAG, NULL, NULL, 0, 0, NULL}};
static const struct nof1_analysis mixed = {.id = "mixed_model", .version = 3, .option = options};
static const struct nof1_analysis plain = {.id = "random_effects", .version = 1};
static const struct nof1_analysis glmm = {.id = "glmm", .version = 1};

const struct nof1_analysis *nof1_analysis_find(const char *id)
{
    for (const struct nof1_analysis *const *a = nof1_analysis_all(); *a != NULL; a++) {
        if (strcmp((*a)->id, id) == 0) {
            return *a;
        }
    }
    return NULL;
}

const struct nof1_analysis *const *nof1_analysis_all(void)
{
    static const struct nof1_analysis *const all[] = {&mixed, &plain, &glmm, NULL};
    return all;
}

static struct nof1_arena *arena;
static struct nof1_error error;
static const struct nof1_charter *charter;

static void setup(void)
{
    arena = nof1_arena_new();
    error = (struct nof1_error){0};
    charter = test_charter(arena);
}

static void teardown(void)
{
    nof1_arena_free(arena);
}

TestSuite(plan, .init = setup, .fini = teardown);

static const char full[] = "plan: 1\n"
                           "title: Is B better than A for weekly pain?\n"
                           "outcome: y\n"
                           "treatment: {reference: \"0\", active: [\"1\"]}\n"
                           "analysis: mixed_model\n"
                           "fixed: [treatment, period, \"1\"]\n"
                           "random: {trial: [intercept], \"trial:cycle\": [intercept]}\n"
                           "level: 0.90\n"
                           "mcid: 1\n"
                           "incomplete: pool\n"
                           "strata: [M, F]\n"
                           "gather_by: 7d\n"
                           "deadline: 90s\n";

static nof1_rc_value read(const struct nof1_plan **out, const char *text)
{
    *out = NULL;
    error = (struct nof1_error){0};
    return nof1_plan_from_yaml(out, arena, test_yaml(arena, "plan.yaml", text), charter, &error);
}

static const struct nof1_plan *good(const char *text)
{
    const struct nof1_plan *plan = NULL;
    cr_assert_eq(read(&plan, text), NOF1_OK, "%s: %s", text, error.message);
    return plan;
}

/* A plan as `nof1` completes it. */
static const struct nof1_plan *completed(const struct nof1_plan *plan)
{
    static const size_t block[] = {0, 1};
    static const char *const element[] = {"class:3x3/sum b1", "!class:3x3/trials"};
    static const char *const atom[] = {"00ff", "01ee"};
    const struct nof1_plan_completion completion = {.blocks = 2,
                                                    .block = block,
                                                    .epoch = 3,
                                                    .max_rounds = 4,
                                                    .verify_full = true,
                                                    .not_after = 1800000000,
                                                    .elements = 2,
                                                    .element = element,
                                                    .atoms = 2,
                                                    .atom = atom};
    const struct nof1_plan *out = NULL;
    cr_assert_eq(nof1_plan_complete(&out, arena, plan, &completion), NOF1_OK);
    return out;
}

static const char *canonical(const struct nof1_plan *plan)
{
    struct nof1_buffer bytes = {0};
    cr_assert_eq(nof1_plan_canonical(&bytes, plan, charter), NOF1_OK);
    cr_assert_eq(nof1_buffer_append(&bytes, "", 1), NOF1_OK);
    const char *text = nof1_arena_text(arena, (const char *)bytes.data);
    nof1_buffer_free(&bytes);
    return text;
}

Test(plan, every_key_is_read)
{
    const struct nof1_plan *plan = good(full);
    cr_expect_str_eq(plan->title, "Is B better than A for weekly pain?");
    cr_expect_str_eq(plan->analysis, "mixed_model");
    cr_expect_eq(plan->analysis_version, 3u);
    cr_expect_str_eq(plan->outcome_name, "y");
    cr_expect(plan->outcome == 0 && plan->reference == 0 && plan->active == 1);
    cr_assert_eq(plan->strata, 2u);
    cr_expect(plan->stratum[0] == 0 && plan->stratum[1] == 1, "charter order");
    cr_expect(plan->gather_by == 7 * 86400 && plan->deadline == 90);
    double level = 0;
    cr_expect(nof1_node_double(&level, plan->options, "level", &error) == NOF1_OK && level == 0.9);
    cr_expect_eq(nof1_node_get(plan->options, "fixed")->items, 3u);
    cr_expect_eq(plan->blocks, 0u);
}

Test(plan, defaults_are_filled_in_table_order)
{
    const struct nof1_plan *plan = good("outcome: falls\nanalysis: mixed_model\n");
    static const char *const keys[] = {"method", "level", "fixed", "random", "exact", "incomplete"};
    cr_assert_eq(plan->options->items, 6u,
                 "an option without default that was not given is absent");
    for (size_t i = 0; i < 6; i++) {
        cr_expect_str_eq(plan->options->item[i].key, keys[i]);
    }
    cr_expect_str_eq(plan->options->item[0].text, "REML");
    cr_expect_str_eq(plan->options->item[2].item[0].text, "treatment");
    cr_expect_str_eq(plan->title, "");
    cr_expect(plan->gather_by == 14 * 86400 && plan->deadline == 600);
    cr_expect(plan->reference == 0 && plan->active == 1 && plan->strata == 0);
    plan = good("outcome: y\nanalysis: random_effects\n");
    cr_expect_eq(plan->options->items, 0u);
    plan = good("outcome: y\nanalysis: mixed_model\ntreatment: {reference: 1}\nmethod: ~\n");
    cr_expect(plan->reference == 1 && plan->active == 0);
    cr_expect_str_eq(nof1_node_get(plan->options, "method")->text, "REML");
    plan = good("outcome: y\nanalysis: mixed_model\nfixed: treatment\n");
    cr_expect_eq(nof1_node_get(plan->options, "fixed")->kind, NOF1_LIST, "one name is a list");
}

Test(plan, three_treatments_need_an_active_one)
{
    const char *text =
        test_replace(arena, test_charter_text(arena), "[\"0\", \"1\"]", "[A, B, C]", NULL);
    text =
        test_replace(arena, text, "n: [3, 3], periods: [1, 2, 3, 4, 5, 6]", "n: [2, 2, 2]", NULL);
    text = test_replace(arena, text, "n: [2, 2]}", "n: [2, 2, 0]}", NULL);
    charter = test_charter_from(arena, text);
    const struct nof1_plan *plan = NULL;
    cr_expect_eq(read(&plan, "outcome: y\nanalysis: mixed_model\n"), NOF1_E_PLAN);
    cr_expect_not_null(strstr(error.message, "3 treatments: name the active one"));
    plan = good("outcome: y\nanalysis: mixed_model\ntreatment: {active: C}\n");
    cr_expect(plan->reference == 0 && plan->active == 2);
}

Test(plan, every_mistake_is_refused_at_its_line)
{
    static const struct {
        const char *from, *to;
        nof1_rc_value rc;
        const char *message;
    } bad[] = {
        {"plan: 1", "plan: 2", NOF1_E_INPUT, "plan: expected a whole number from 1 to 1"},
        {"title: Is B", "title: Is \xce\xb2", NOF1_E_INPUT, "ASCII"},
        {"title: Is B better than A for weekly pain?", "title: [a]", NOF1_E_INPUT, "a text"},
        {"outcome: y", "outcome: z", NOF1_E_PLAN, "the charter has no outcome z"},
        {"outcome: y", "outcom: y", NOF1_E_INPUT, "did you mean outcome?"},
        {"\"0\"", "\"2\"", NOF1_E_PLAN, "the charter has no treatment 2"},
        {"[\"1\"]", "[\"1\", \"0\"]", NOF1_E_PLAN, "one plan per comparison"},
        {"[\"1\"]", "[\"0\"]", NOF1_E_PLAN, "the same treatment"},
        {"active:", "activ:", NOF1_E_INPUT, "did you mean active?"},
        {"mixed_model", "mixed_modell", NOF1_E_PLAN,
         "no analysis mixed_modell (the charter allows random_effects, mixed_model)"},
        {"mixed_model", "glmm", NOF1_E_PLAN, "the charter does not allow glmm"},
        {"fixed: [treatment,", "fixd: [treatment,", NOF1_E_INPUT, "did you mean fixed?"},
        {"fixed: [treatment, period, \"1\"]", "fixed: {a: b}", NOF1_E_PLAN, "a list of names"},
        {"fixed: [treatment,", "fixed: [[treatment],", NOF1_E_PLAN, "a list of names"},
        {"fixed: [treatment,", "fixed: [~,", NOF1_E_PLAN, "a list of names"},
        {"fixed: [treatment,", "fixed: [\"tr\\xe9tment\",", NOF1_E_INPUT, "ASCII"},
        {"random: {trial: [intercept], \"trial:cycle\": [intercept]}", "random: trial", NOF1_E_PLAN,
         "random: expected a map"},
        {"level: 0.90", "level: 0.3", NOF1_E_PLAN, "level: expected a number from 0.5 to 0.9999"},
        {"level: 0.90", "level: \"0.9\"", NOF1_E_INPUT, "level: expected a number"},
        {"level: 0.90", "level: high", NOF1_E_INPUT, "level: expected a number"},
        {"level: 0.90", "level: [0.9]", NOF1_E_INPUT, "level: expected a number"},
        {"level: 0.90", "exact: yes", NOF1_E_PLAN, "exact: expected true or false"},
        {"level: 0.90", "method: RE", NOF1_E_PLAN, "method: expected one of ML|REML, found RE"},
        {"level: 0.90", "method: [ML]", NOF1_E_PLAN, "method: expected one of"},
        {"incomplete: pool", "incomplete: pol", NOF1_E_PLAN, "found pol"},
        {"strata: [M, F]", "strata: [M, X]", NOF1_E2404, "the charter has no cell X"},
        {"strata: [M, F]", "strata: [M, M]", NOF1_E_INPUT, "M is given twice"},
        {"strata: [M, F]", "strata: M", NOF1_E_INPUT, "a list such as"},
        {"gather_by: 7d", "gather_by: 7 days", NOF1_E_INPUT, "a duration such as"},
        {"deadline: 90s", "deadline: 0s", NOF1_E_INPUT, "a duration such as"}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        unsigned line = 0;
        const struct nof1_plan *plan = NULL;
        const char *text = test_replace(arena, full, bad[i].from, bad[i].to, &line);
        nof1_rc_value rc = read(&plan, text);
        cr_expect_eq(rc, bad[i].rc, "%s: %s", bad[i].to, nof1_rc_code(rc));
        cr_expect_eq(error.rc, bad[i].rc, "%s", bad[i].to);
        cr_expect_not_null(strstr(error.message, bad[i].message), "%s: %s", bad[i].to,
                           error.message);
        cr_expect_str_eq(error.file, "plan.yaml");
        cr_expect_eq(error.line, line, "%s: line %u", bad[i].to, error.line);
        cr_expect_null(plan);
    }
    const struct nof1_plan *plan = NULL;
    cr_expect_eq(read(&plan, "[1]"), NOF1_E_INPUT);
    cr_expect_eq(read(&plan, "outcome: y\n"), NOF1_E_PLAN);
    cr_expect_not_null(strstr(error.message, "key analysis is missing"));
    cr_expect_eq(read(&plan, "analysis: mixed_model\n"), NOF1_E_PLAN);
    cr_expect_not_null(strstr(error.message, "key outcome is missing"));
}

Test(plan, texts_have_limits)
{
    char text[400] = "outcome: y\nanalysis: mixed_model\ntitle: ";
    const struct nof1_plan *plan = NULL;
    size_t start = strlen(text);
    memset(text + start, 't', 201);
    cr_expect_eq(read(&plan, text), NOF1_E2405);
    text[start + 200] = '\0';
    cr_expect_eq(read(&plan, text), NOF1_OK);
    memcpy(text + start - 7, "fixed: ", 7);
    text[start + 200] = 't';
    cr_expect_eq(read(&plan, text), NOF1_E2405);
}

Test(plan, signed_bytes_survive_and_are_hashed)
{
    const char *bytes = canonical(completed(good(full)));
    struct nof1_slice slice = nof1_slice_text(bytes);
    const struct nof1_plan *plan = NULL;
    uint8_t hash[32];
    cr_assert_eq(nof1_plan_read(&plan, arena, charter, slice, &error), NOF1_OK, "%s\n%s",
                 error.message, bytes);
    cr_expect_str_eq(canonical(plan), bytes);
    cr_assert_eq(nof1_hash(hash, NOF1_DOMAIN_PLAN, 1, &slice), NOF1_OK);
    cr_expect_arr_eq(hash, plan->hash, 32);
    cr_expect(plan->blocks == 2 && plan->block[1] == 1 && plan->epoch == 3);
    cr_expect(plan->max_rounds == 4 && plan->verify_full && plan->not_after == 1800000000);
    cr_expect(plan->gather_by == 7 * 86400 && plan->deadline == 90);
    cr_expect(plan->strata == 2 && plan->stratum[1] == 1);
    cr_assert_eq(plan->elements, 2u);
    cr_expect_str_eq(plan->element[1], "!class:3x3/trials");
    cr_assert_eq(plan->atoms, 2u);
    cr_expect_str_eq(plan->atom[1], "01ee");
    double level = 0;
    cr_expect(nof1_node_double(&level, plan->options, "level", &error) == NOF1_OK && level == 0.9,
              "numbers stay the decimal text");
}

/* The options tree must not depend on where it was read from: analyses see one form. */
static void expect_same_tree(const struct nof1_node *a, const struct nof1_node *b)
{
    json_t *x = nof1_node_json(a);
    json_t *y = nof1_node_json(b);
    cr_expect(json_equal(x, y));
    json_decref(x);
    json_decref(y);
    cr_assert_eq(a->items, b->items);
    for (size_t i = 0; i < a->items; i++) {
        cr_expect_str_eq(a->item[i].key, b->item[i].key);
        cr_expect_eq(a->item[i].kind, b->item[i].kind);
        cr_expect_eq(a->item[i].quoted, b->item[i].quoted, "%s", a->item[i].key);
        cr_expect(!b->item[i].hex_doubles);
    }
}

Test(plan, options_are_the_same_tree_from_yaml_and_from_signed_bytes)
{
    static const char *const texts[] = {
        full, "outcome: y\nanalysis: mixed_model\n",
        "outcome: y\nanalysis: mixed_model\nfixed: [\"1\", 1, \"true\", 1e3, \"a b\", \"-0\"]\n"
        "random: {a: {b: [0.5, \"0.5\", ~, \"\", 007, 9007199254740993]}, c: []}\n"};
    for (size_t i = 0; i < 3; i++) {
        const struct nof1_plan *yaml = completed(good(texts[i]));
        const struct nof1_plan *plan = NULL;
        const char *bytes = canonical(yaml);
        cr_assert_eq(nof1_plan_read(&plan, arena, charter, nof1_slice_text(bytes), &error), NOF1_OK,
                     "%s\n%s", error.message, bytes);
        expect_same_tree(yaml->options, plan->options);
        expect_same_tree(nof1_node_get(yaml->options, "random"),
                         nof1_node_get(plan->options, "random"));
    }
}

Test(plan, an_option_can_be_replaced)
{
    const struct nof1_plan *plan = completed(good(full));
    const struct nof1_plan *other = NULL;
    cr_assert_eq(nof1_plan_with_option(&other, arena, plan, "incomplete", "score", &error),
                 NOF1_OK);
    cr_expect_str_eq(nof1_node_get(other->options, "incomplete")->text, "score");
    cr_expect_str_eq(nof1_node_get(plan->options, "incomplete")->text, "pool");
    cr_expect_eq(other->options->items, plan->options->items);
    cr_expect_eq(other->epoch, 3u);
    cr_assert_eq(nof1_plan_with_option(&other, arena, plan, "fixed", "[a, b]", &error), NOF1_OK);
    cr_expect_eq(nof1_node_get(other->options, "fixed")->items, 2u);
    cr_expect_eq(nof1_plan_with_option(&other, arena, plan, "incomplete", "some", &error),
                 NOF1_E_PLAN);
    cr_expect_neq(nof1_plan_with_option(&other, arena, plan, "incompleet", "pool", &error),
                  NOF1_OK);
    cr_expect_neq(nof1_plan_with_option(&other, arena, plan, "fixed", "[a", &error), NOF1_OK);
    struct nof1_plan unknown = *plan;
    unknown.analysis = "nothing";
    cr_expect_eq(nof1_plan_with_option(&other, arena, &unknown, "fixed", "[a]", &error),
                 NOF1_E_PLAN);
}

Test(plan, other_bytes_are_refused)
{
    const char *bytes = canonical(completed(good(full)));

    static const struct {
        const char *from, *to;
        nof1_rc_value rc;
    } variants[] = {
        {"{\"analysis\"", "{ \"analysis\"", NOF1_E_DECODE},
        {"\"analysis_version\":3", "\"analysis_version\":2", NOF1_E_PLAN},
        {"\"analysis\":\"mixed_model\"", "\"analysis\":\"glmm\"", NOF1_E_PLAN},
        {"\"analysis\":\"mixed_model\"", "\"analysis\":\"random_effects\"", NOF1_E_PLAN},
        {"\"analysis\":\"mixed_model\"", "\"analysis\":\"census\"", NOF1_E_DECODE},
        {"\"b1\",\"b2\"", "\"b1\",\"b3\"", NOF1_E2204},
        {"\"b1\",\"b2\"", "\"b2\",\"b1\"", NOF1_E_PLAN},
        {"\"b1\",\"b2\"", "\"b1\",\"b1\"", NOF1_E_INPUT},
        {"\"charter\":\"", "\"charter\":\"00", NOF1_E_PLAN},
        {"\"epoch\":3", "\"epoch\":3,\"extra\":1", NOF1_E_INPUT},
        {"\"exact\":false,", "", NOF1_E_DECODE},
        {"\"level\":\"0.90\"", "\"level\":\"0.40\"", NOF1_E_PLAN},
        {"\"level\":\"0.90\"", "\"level\":null", NOF1_E_DECODE},
        {"\"fixed\":[\"treatment\"", "\"fixed\":[[]", NOF1_E_PLAN},
        {"\"strata\":[\"F\",\"M\"]", "\"strata\":[\"M\",\"F\"]", NOF1_E_DECODE},
        {"\"strata\":[\"F\",\"M\"]", "\"strata\":[\"Q\"]", NOF1_E2404},
        {"\"verify\":\"full\"", "\"verify\":\"fast\"", NOF1_E_INPUT},
        {"\"not_after\":\"2027-01-15T08:00:00Z\"", "\"not_after\":\"2027-01-15\"", NOF1_E_DECODE},
        {"\"not_after\":\"2027-01-15T08:00:00Z\"", "\"not_after\":\"soon\"", NOF1_E_INPUT},
        {"\"outcome\":\"y\"", "\"outcome\":\"x\"", NOF1_E_PLAN},
        {"\"plan\":1", "\"plan\":2", NOF1_E_DECODE}};

    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        const struct nof1_plan *plan = NULL;
        const char *changed = test_replace(arena, bytes, variants[i].from, variants[i].to, NULL);
        nof1_rc_value rc = nof1_plan_read(&plan, arena, charter, nof1_slice_text(changed), &error);
        cr_expect_eq(rc, variants[i].rc, "%s: %s %s", variants[i].to, nof1_rc_code(rc),
                     error.message);
        cr_expect_null(plan);
    }
    const char *text =
        test_replace(arena, test_charter_text(arena), "version: 2", "version: 3", NULL);
    const struct nof1_plan *plan = NULL;
    cr_expect_eq(nof1_plan_read(&plan, arena, test_charter_from(arena, text),
                                nof1_slice_text(bytes), &error),
                 NOF1_E_PLAN);
    cr_expect_not_null(strstr(error.message, "another version of the charter"), "%s",
                       error.message);
}

Test(plan, the_census_needs_no_outcome)
{
    const struct nof1_plan census = {.title = "",
                                     .analysis = NOF1_CENSUS_ANALYSIS,
                                     .analysis_version = 1,
                                     .outcome_name = "",
                                     .active = 1,
                                     .gather_by = 1,
                                     .deadline = 1};
    const char *bytes = canonical(completed(&census));
    const struct nof1_plan *plan = NULL;
    cr_assert_eq(nof1_plan_read(&plan, arena, charter, nof1_slice_text(bytes), &error), NOF1_OK,
                 "%s\n%s", error.message, bytes);
    cr_expect_str_eq(plan->analysis, "census");
    cr_expect_str_eq(plan->outcome_name, "");
    cr_expect_eq(plan->options->items, 0u);
    cr_expect_eq(read(&plan, "analysis: census\noutcome: y\n"), NOF1_E_PLAN);
}

Test(plan, no_single_byte_can_be_changed_without_changing_the_hash)
{
    const char *bytes = canonical(completed(good(full)));
    size_t length = strlen(bytes);
    char *changed = nof1_arena_text(arena, bytes);
    const struct nof1_plan *original = NULL;
    cr_assert_eq(nof1_plan_read(&original, arena, charter, nof1_slice_text(bytes), &error),
                 NOF1_OK);
    struct test_random random = {11};
    for (int i = 0; i < 4000; i++) {
        struct nof1_arena *scratch = nof1_arena_new();
        const struct nof1_plan *plan = NULL;
        size_t at = (size_t)(test_random_next(&random) % length);
        changed[at] = (char)(32 + test_random_next(&random) % 95);
        if (changed[at] != bytes[at] &&
            nof1_plan_read(&plan, scratch, charter, nof1_slice_of(changed, length), NULL) ==
                NOF1_OK) {
            cr_expect_neq(memcmp(plan->hash, original->hash, 32), 0);
        }
        changed[at] = bytes[at];
        nof1_arena_free(scratch);
    }
}
