/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Source mappings: reading, defaults from a header, binding to a header, refusals with their place.
 */
#include <criterion/criterion.h>
#include <string.h>

#include <core/map.h>

#include "document.h"

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

TestSuite(map, .init = setup, .fini = teardown);

static const char full[] =
    "source: {driver: csv, path: /srv/nof1/pain.csv}\n"
    "columns: {trial: id, cycle: cycle, time: day of trial, treatment: trt}\n"
    "outcomes: {y: {column: pain (0-10), kind: ordinal}, z: {}, w: www}\n"
    "covariates: [age, stratum]\n";

static const struct nof1_map *good(const char *text)
{
    const struct nof1_map *map = NULL;
    cr_assert_eq(nof1_map_read(&map, arena, test_yaml(arena, "map.yaml", text), &error), NOF1_OK,
                 "%s: %s", text, error.message);
    return map;
}

Test(map, every_key_is_read)
{
    const struct nof1_map *map = good(full);
    cr_expect_str_eq(map->driver, "csv");
    cr_expect_str_eq(map->path, "/srv/nof1/pain.csv");
    cr_expect_str_eq(map->trial, "id");
    cr_expect_str_eq(map->time, "day of trial");
    cr_expect_str_eq(map->period, "period");
    cr_expect_str_eq(map->patient, "patient");
    cr_assert_eq(map->outcomes, 3u);
    cr_expect_str_eq(map->outcome[0].column, "pain (0-10)");
    cr_expect_eq(map->outcome[0].kind, NOF1_ORDINAL);
    cr_expect_str_eq(map->outcome[1].column, "z");
    cr_expect_eq(map->outcome[1].kind, NOF1_CONTINUOUS);
    cr_expect_str_eq(map->outcome[2].column, "www");
    cr_assert_eq(map->covariates, 2u);
    cr_expect_str_eq(map->covariate[1].column, "stratum");
    map = good("outcomes: {e: {effect: yi, variance: vi}}\ncovariates: {age: age in years}\n");
    cr_expect_eq(map->outcome[0].kind, NOF1_EFFECT);
    cr_expect_str_eq(map->outcome[0].column, "yi");
    cr_expect_str_eq(map->outcome[0].variance, "vi");
    cr_expect_str_eq(map->covariate[0].name, "age");
    cr_expect_str_eq(map->covariate[0].column, "age in years");
    cr_expect_str_eq(map->driver, "csv");
    cr_expect_null(map->path);
}

Test(map, every_mistake_is_refused_at_its_line)
{
    static const struct {
        const char *from, *to;
        nof1_rc_value rc;
        const char *message;
    } bad[] = {
        {"source:", "sources:", NOF1_E_INPUT, "did you mean source?"},
        {"driver: csv", "driver: [csv]", NOF1_E_INPUT, "driver: expected a name"},
        {"path: /srv/nof1/pain.csv", "file: x", NOF1_E_INPUT, "unknown key file"},
        {"trial: id", "trail: id", NOF1_E_INPUT, "did you mean trial?"},
        {"trial: id", "trial: ~", NOF1_E_INPUT, "trial: expected the name of a column"},
        {"trial: id", "trial: [id]", NOF1_E_INPUT, "trial: expected the name of a column"},
        {"kind: ordinal", "kind: number", NOF1_E_INPUT, "kind: expected one of continuous"},
        {"kind: ordinal", "kind: effect", NOF1_E_INPUT, "needs the keys effect and variance"},
        {"column: pain (0-10), kind: ordinal", "effect: yi", NOF1_E_INPUT, "variance is missing"},
        {"column: pain (0-10)", "colum: pain", NOF1_E_INPUT, "did you mean column?"},
        {"{y: {", "{y y: {", NOF1_E_INPUT, "is not a name"},
        {"outcomes: {y: {column: pain (0-10), kind: ordinal}, z: {}, w: www}", "outcomes: {}",
         NOF1_E_INPUT, "at least one outcome"},
        {"outcomes: {y: {column: pain (0-10), kind: ordinal}, z: {}, w: www}", "outcomes: y",
         NOF1_E_INPUT, "a map of names"},
        {"[age, stratum]", "[age, age]", NOF1_E_INPUT, "age is given twice"},
        {"[age, stratum]", "[age, y]", NOF1_E_INPUT, "y is an outcome already"},
        {"[age, stratum]", "[age, [b]]", NOF1_E_INPUT, "expected a name"},
        {"[age, stratum]", "age", NOF1_E_INPUT, "a list of names or a map"},
        {"[age, stratum]", "{age: ~}", NOF1_E_INPUT, "age: expected the name of a column"},
        {"[age, stratum]", "{a ge: age}", NOF1_E_INPUT, "is not a name"}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        unsigned line = 0;
        const struct nof1_map *map = NULL;
        const char *text = test_replace(arena, full, bad[i].from, bad[i].to, &line);
        error = (struct nof1_error){0};
        cr_expect_eq(nof1_map_read(&map, arena, test_yaml(arena, "map.yaml", text), &error),
                     bad[i].rc, "%s", bad[i].to);
        cr_expect_not_null(strstr(error.message, bad[i].message), "%s: %s", bad[i].to,
                           error.message);
        cr_expect_str_eq(error.file, "map.yaml");
        /* an absent list is reported where the document starts */
        cr_expect(error.line == line || error.line == 1, "%s: line %u", bad[i].to, error.line);
        cr_expect_null(map);
    }
}

Test(map, a_header_without_a_map)
{
    static const char *const header[] = {"trial", "period",       "treatment", "y",
                                         "age",   "stress level", "sex"};
    static const char *const outcome[] = {"y"};
    const struct nof1_map *map = NULL;
    cr_assert_eq(nof1_map_default(&map, arena, "a.csv", 7, header, 1, outcome, &error), NOF1_OK,
                 "%s", error.message);
    cr_expect_str_eq(map->trial, "trial");
    cr_expect_str_eq(map->period, "period");
    cr_expect_null(map->cycle);
    cr_expect_null(map->patient);
    cr_expect_eq(map->outcomes, 1u);
    cr_assert_eq(map->covariates, 2u, "a column whose header is no name is left alone");
    cr_expect_str_eq(map->covariate[0].name, "age");
    cr_expect_str_eq(map->covariate[1].name, "sex");
    static const char *const other[] = {"pain"};
    cr_expect_eq(nof1_map_default(&map, arena, "a.csv", 7, header, 1, other, &error), NOF1_E_INPUT);
    cr_expect_not_null(strstr(error.message, "no column pain"), "%s", error.message);
    cr_expect_eq(nof1_map_default(&map, arena, "a.csv", 2, header, 1, outcome, &error),
                 NOF1_E_INPUT);
    cr_expect_not_null(strstr(error.message, "no column treatment for treatment"), "%s",
                       error.message);
    cr_expect_eq(nof1_map_default(&map, arena, "a.csv", 0, header, 0, NULL, &error), NOF1_E_INPUT);
}

Test(map, binding_names_the_missing_column_and_the_nearest)
{
    static const char *const header[] = {"id", "cycle", "day of trial", "trt",    "pain (0-10)",
                                         "z",  "www",   "age",          "stratum"};
    const struct nof1_map *map = good(full);
    const struct nof1_map *bound = NULL;
    cr_assert_eq(nof1_map_bind(&bound, arena, map, "a.csv", 9, header, &error), NOF1_OK, "%s",
                 error.message);
    cr_expect_null(bound->period, "a default name that the header lacks");
    cr_expect_null(bound->phase);
    cr_expect_eq(nof1_map_column(bound->time, 9, header), 2u);
    cr_expect_eq(nof1_map_column(bound->phase, 9, header), SIZE_MAX);

    static const struct {
        size_t column;
        const char *instead, *message;
    } lacking[] = {{0, "idd", "no column id for trial (did you mean idd?)"},
                   {1, "cylce", "no column cycle for cycle (did you mean cylce?)"},
                   {3, "x", "no column trt for treatment"},
                   {4, "pain (0-100)", "no column pain (0-10) for y (did you mean pain (0-100)?)"},
                   {8, "x", "no column stratum for stratum"}};

    for (size_t i = 0; i < sizeof lacking / sizeof lacking[0]; i++) {
        const char *changed[9];
        memcpy(changed, header, sizeof changed);
        changed[lacking[i].column] = lacking[i].instead;
        cr_expect_eq(nof1_map_bind(&bound, arena, map, "a.csv", 9, changed, &error), NOF1_E_INPUT);
        cr_expect_not_null(strstr(error.message, lacking[i].message), "%s", error.message);
        cr_expect_str_eq(error.file, "a.csv");
        cr_expect_eq(error.line, 1u);
    }
}

Test(map, imported_effects_need_no_treatment)
{
    static const char *const header[] = {"trial", "yi", "vi"};
    const struct nof1_map *map = good("outcomes: {e: {effect: yi, variance: vi}}\n");
    const struct nof1_map *bound = NULL;
    cr_assert_eq(nof1_map_bind(&bound, arena, map, "a.csv", 3, header, &error), NOF1_OK, "%s",
                 error.message);
    cr_expect_null(bound->treatment);
    cr_expect_eq(nof1_map_bind(&bound, arena, map, "a.csv", 2, header, &error), NOF1_E_INPUT);
    cr_expect_not_null(strstr(error.message, "no column vi for e"), "%s", error.message);
}
