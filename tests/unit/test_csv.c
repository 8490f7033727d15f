/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * CSV files of hospitals: what is read, and every refusal with its exact text and place.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <node/sources/csv.h>
#include <node/sources/number.h>
#include <support.h>

static const struct nof1_map *map_of(struct nof1_arena *arena, const char *yaml)
{
    struct nof1_error error = {0};
    const struct nof1_node *node = NULL;
    const struct nof1_map *map = NULL;
    nof1_rc_value rc = nof1_yaml_read(&node, arena, "map.yaml", nof1_slice_text(yaml), &error);
    cr_assert_eq(rc, NOF1_OK, "%s", error.message);
    rc = nof1_map_read(&map, arena, node, &error);
    cr_assert_eq(rc, NOF1_OK, "%s", error.message);
    return map;
}

static const char plain[] = "outcomes: {y: {column: y, kind: continuous}}\ncovariates: [age]\n";
static const char bare[] = "outcomes: {y: {column: y, kind: continuous}}\n";

static nof1_rc_value read_text(struct nof1_table **table, const char *yaml, const char *csv,
                               size_t length, struct nof1_error *error)
{
    struct nof1_arena *arena = nof1_arena_new();
    const struct nof1_map *map = map_of(arena, yaml);
    nof1_rc_value rc = nof1_csv_read(table, map, "pain.csv", nof1_slice_of(csv, length), error);
    nof1_arena_free(arena);
    return rc;
}

static struct nof1_table *must_read(const char *yaml, const char *csv)
{
    struct nof1_table *table = NULL;
    struct nof1_error error = {0};
    nof1_rc_value rc = read_text(&table, yaml, csv, strlen(csv), &error);
    cr_assert_eq(rc, NOF1_OK, "%u:%u %s\n%s", error.line, error.column, error.message, csv);
    return table;
}

Test(csv, rows_are_grouped_and_ordered)
{
    struct nof1_table *t = must_read(plain,
                                     "trial,cycle,period,time,treatment,y,age\n"
                                     "b,1,2,8,A,4.5,31\n"
                                     "a,1,1,1,B,NA,40\n"
                                     "b,1,1,1,B,3,31\n"
                                     "a,1,2,8,A,,\n");
    cr_expect_eq(t->trials, 2u);
    cr_expect_eq(t->rows, 4u);
    cr_expect_str_eq(t->trial[0], "b");
    cr_expect_str_eq(t->trial[1], "a");
    cr_expect_str_eq(t->patient[1], "a");
    cr_expect_eq(t->first[1], 2u);
    cr_expect_eq(t->period[0], 1);
    cr_expect_eq(t->line[0], 4u);
    cr_expect_eq(t->line[1], 2u);
    cr_expect_eq(t->outcome[0].value[0], 3.0);
    cr_expect_eq(t->outcome[0].value[1], 4.5);
    cr_expect(isnan(t->outcome[0].value[2]) && isnan(t->outcome[0].value[3]));
    cr_expect_eq(t->outcome[0].missing, 2u);
    cr_expect_eq(t->outcome[0].decimals, 1);
    cr_expect_eq(t->treatments, 2u);
    cr_expect_str_eq(t->treatment_name[t->treatment[0]], "B");
    cr_expect_str_eq(t->covariate[0].text[t->covariate[0].word[0]], "31");
    cr_expect_eq(t->covariate[0].word[3], 0u);
    nof1_table_free(t);
}

/* Ways of writing the same table. */
Test(csv, dialects_are_equal)
{
    static const char *const same[] = {
        "trial,treatment,y\na,A,1.5\na,B,-2\n",
        "\xef\xbb\xbftrial,treatment,y\na,A,1.5\na,B,-2\n",
        "trial,treatment,y\r\na,A,1.5\r\na,B,-2\r\n",
        "trial,treatment,y\ra,A,1.5\ra,B,-2\r",
        "trial,treatment,y\na,A,1.5\na,B,-2",
        "trial;treatment;y\na;A;1,5\na;B;-2\n",
        "trial;treatment;y\na;A;1.5\na;B;-2\n",
        "\"trial\",\"treatment\",\"y\"\n\"a\",\"A\",\"1.5\"\n\"a\",\"B\",\"-2\"\n",
        "\n\ntrial , treatment,y\n\n a,A, 1.5 \n  \na,B,-2\n\n",
        "y,note,treatment,trial\n1.5,\"a, \"\"quoted\"\"\nnote\",A,a\n-2,,B,a\n",
        "trial,treatment,y,phase\na,A,9,run-in\na,A,1.5,treatment\na,B,8,Washout\na,B,-2,\n",
        "trial,treatment,y\na,A,+1.50\na,B,-2e0\n",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct nof1_table *t = must_read(bare, same[i]);
        cr_expect_eq(t->rows, 2u, "case %zu", i);
        cr_expect_eq(t->trials, 1u, "case %zu", i);
        cr_expect_eq(t->outcome[0].value[0], 1.5, "case %zu", i);
        cr_expect_eq(t->outcome[0].value[1], -2.0, "case %zu", i);
        cr_expect_str_eq(t->treatment_name[t->treatment[1]], "B", "case %zu", i);
        nof1_table_free(t);
    }
}

Test(csv, dates_become_days_of_the_trial)
{
    struct nof1_table *t = must_read(bare,
                                     "trial,period,time,treatment,y,phase\n"
                                     "a,,2024-02-27,,,baseline\n"
                                     "a,1,2024-02-28,A,1,\n"
                                     "a,2,2024-03-01,B,2,\n"
                                     "b,1,1999-12-31,A,1,\nb,2,2000-01-01,B,1,\n");
    static const double day[] = {1, 3, 0, 1};
    cr_assert_eq(t->rows, 4u);
    cr_expect(t->dates);
    cr_expect_eq(t->left_out_phase, 1u);
    for (size_t r = 0; r < 4; r++) {
        cr_expect_eq(t->time[r], day[r], "row %zu", r);
    }
    nof1_table_free(t);
}

Test(csv, patients_and_effects)
{
    struct nof1_table *t = must_read("columns: {trial: id, patient: who}\n"
                                     "outcomes: {d: {effect: yi, variance: vi}}\n",
                                     "id,who,yi,vi\nt1,p,0.25,0.01\nt2,p,-1e-3,2\nt3,q,,\n");
    cr_assert_eq(t->trials, 3u);
    cr_expect_str_eq(t->patient[1], "p");
    cr_expect_str_eq(t->patient[2], "q");
    cr_expect_eq(t->outcome[0].value[1], -0.001);
    cr_expect_eq(t->outcome[0].variance[1], 2.0);
    cr_expect_eq(t->treatment[0], 255);
    nof1_table_free(t);
}

struct refusal {
    const char *csv;
    uint32_t line, column;
    const char *message;
};

static void expect_refused(const char *yaml, const struct refusal *refusal, size_t number)
{
    struct nof1_table *table = NULL;
    struct nof1_error error = {0};
    nof1_rc_value rc = read_text(&table, yaml, refusal->csv, strlen(refusal->csv), &error);
    cr_expect_eq(rc, NOF1_E_INPUT, "case %zu: rc %d", number, (int)rc);
    cr_expect_null(table, "case %zu", number);
    cr_expect_eq(error.line, refusal->line, "case %zu: line %u", number, error.line);
    cr_expect_eq(error.column, refusal->column, "case %zu: column %u", number, error.column);
    cr_expect_str_eq(error.file, "pain.csv", "case %zu", number);
    cr_expect(strstr(error.message, refusal->message) != NULL, "case %zu: '%s'", number,
              error.message);
}

#define HEAD "trial,cycle,period,time,treatment,y\n"

Test(csv, refusals_name_place_and_remedy)
{
    static const struct refusal refusals[] = {
        {"", 1, 1, "the file is empty; a header line with column names expected"},
        {"\xff\xfet\0", 1, 1, "the file is UTF-16, UTF-8 expected"},
        {HEAD "a,1,1,0,A,\xffz\n", 2, 11, "invalid UTF-8 found"},
        {HEAD "a,1,1,0,A,\xc0\xaf\n", 2, 11, "invalid UTF-8 found"},
        {HEAD "a,1,1,0,A,\xed\xa0\x80\n", 2, 11, "invalid UTF-8 found"},
        {HEAD "a,1,1,0,A,x\n", 2, 11,
         "column 'y': 'x' found, a decimal number, or nothing when missing, expected"},
        {HEAD "a,1,1,0,A,1e999\n", 2, 11, "column 'y': '1e999' found"},
        {HEAD "a,1,1,0,A,nan\n", 2, 11, "column 'y': 'nan' found"},
        {HEAD "a,1,1,0,A,0x1p3\n", 2, 11, "column 'y': '0x1p3' found"},
        {HEAD "a,1,1,0,A,\"1,5\"\n", 2, 11,
         "a number with a decimal point (decimal commas need the separator ';')"},
        {"trial;treatment;y\na;A;1,5\na;A;1.5\n", 3, 5,
         "'1.5' found, a decimal comma, as in the numbers before it, expected"},
        {"trial;treatment;y\na;A;1.5\na;A;1,5\n", 3, 5,
         "'1,5' found, a decimal point, as in the numbers before it, expected"},
        {HEAD "a,1,1,0,A\n", 2, 1, "5 cells found, 6 expected as in the header"},
        {HEAD "a,1,1,0,A,1,2\n", 2, 13, "more cells than the header's 6 columns"},
        {HEAD ",1,1,0,A,1\n", 2, 1, "the trial's identifier is missing"},
        {HEAD "a,1,1,0,,1\n", 2, 1, "the treatment is missing though an outcome is given"},
        {HEAD "a,0,1,0,A,1\n", 2, 3,
         "column 'cycle': '0' found, a whole number of at least 1 expected"},
        {HEAD "a,1,1.5,0,A,1\n", 2, 5, "column 'period': '1.5' found, a whole number"},
        {HEAD "a,1,1,soon,A,1\n", 2, 7,
         "column 'time': 'soon' found, a number or a date YYYY-MM-DD expected"},
        {HEAD "a,1,1,2024-02-30,A,1\n", 2, 7, "a number or a date YYYY-MM-DD expected"},
        {HEAD "a,1,1,2024-02-28,A,1\na,1,2,9,B,1\n", 3, 7,
         "one kind of time, numbers or dates, in all rows expected"},
        {HEAD "a,1,1,0,A,1\na,1,1,0,A,2\n", 3, 0,
         "trial 'a': the same trial, cycle, period and time twice (a duplicate row); remove one "
         "(see also line 2)"},
        {HEAD "a,1,1,0,A,1\na,1,1,3,B,2\n", 3, 0,
         "trial 'a': one period has two treatments (periods overlap)"},
        {HEAD "a,1,1,0,A,1\na,2,1,3,A,2\n", 3, 0, "one period lies in two cycles"},
        {HEAD "a,1,1,5,A,1\na,1,2,3,B,2\n", 3, 0,
         "time runs backwards: a later period has an earlier time"},
        {HEAD "a,1,1,0,A,1\n\"b,1,1,0,A,1\n", 3, 0, "a quote in the wrong place"},
        {HEAD "a,1,1,0,A,1\n\"b\"c,1,1,0,A,1\n", 3, 0, "a quote in the wrong place"},
        {HEAD "a,1,1,0,A,1\nb\"c,1,1,0,A,1\n", 3, 0, "a quote in the wrong place"},
        {"trial,trial,treatment,y\n", 1, 1, "more than once"},
        {"trial,treatment,y,phase\na,A,1,resting\n", 2, 7,
         "'resting' found, run-in, washout, baseline or treatment expected"},
        {"trial,treatment,y,note\na,A,1,\"x\ny\"\na,A,z,\n", 4, 5, "column 'y': 'z' found"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        expect_refused(bare, &refusals[i], i);
    }
}

Test(csv, kinds_and_missing_columns)
{
    static const char binary[] = "outcomes: {y: {column: y, kind: binary}}\n";
    static const char count[] = "outcomes: {y: {column: y, kind: count}}\n";
    static const char ordinal[] = "outcomes: {y: {column: y, kind: ordinal}}\n";
    static const char effect[] = "outcomes: {d: {effect: yi, variance: vi}}\n";
    static const char patient[] =
        "columns: {patient: who}\noutcomes: {y: {column: y, kind: continuous}}\n";
    expect_refused(binary, &(struct refusal){HEAD "a,1,1,0,A,2\n", 2, 11, "0 or 1 (kind: binary)"},
                   0);
    expect_refused(count, &(struct refusal){HEAD "a,1,1,0,A,-1\n", 2, 11, "(kind: count)"}, 1);
    expect_refused(ordinal, &(struct refusal){HEAD "a,1,1,0,A,1.5\n", 2, 11, "(kind: ordinal)"}, 2);
    expect_refused(effect, &(struct refusal){"trial,yi,vi\na,1,0\n", 2, 5, "a variance above 0"},
                   3);
    expect_refused(effect, &(struct refusal){"trial,yi,vi\na,1,\n", 2, 1, "one of them is missing"},
                   4);
    expect_refused(effect, &(struct refusal){"trial,yi,vi\na,1,1\na,1,2\n", 3, 0,
                                             "an imported effect has one row a trial"}, 5);
    expect_refused(patient, &(struct refusal){"trial,who,treatment,y\na,p,A,1\na,q,B,1\n", 3, 0,
                                              "belongs to two patients, 'p' and 'q'"}, 6);
    expect_refused(bare, &(struct refusal){"treatment,y\na,1\n", 1, 1, "trial"}, 7);
    expect_refused(bare, &(struct refusal){"trial,y\na,1\n", 1, 1, "treatment"}, 8);
    expect_refused(bare, &(struct refusal){"trial,treatment\na,A\n", 1, 1, "y"}, 9);
}

Test(csv, limits)
{
    struct nof1_table *table = NULL;
    struct nof1_error error = {0};
    const char nul[] = HEAD "a,1,1,0,A\0,1\n";
    cr_expect_eq(read_text(&table, bare, nul, sizeof nul - 1, &error), NOF1_E_INPUT);
    cr_expect_eq(error.line, 2u);
    cr_expect_eq(error.column, 10u);
    cr_expect(strstr(error.message, "a NUL byte found") != NULL, "%s", error.message);
    size_t length = NOF1_CSV_MOST_FIELD + 200;
    char *wide = malloc(length);
    size_t used = (size_t)snprintf(wide, length, "%sa,1,1,0,A,", HEAD);
    memset(wide + used, '7', length - used - 1);
    wide[length - 1] = '\n';
    cr_expect_eq(read_text(&table, bare, wide, length, &error), NOF1_E_INPUT);
    cr_expect(strstr(error.message, "is a quote not closed?") != NULL, "%s", error.message);
    free(wide);
    struct nof1_buffer many = {0};
    cr_assert_eq(nof1_buffer_printf(&many, HEAD), NOF1_OK);
    for (int k = 0; k < 9; k++) {
        cr_assert_eq(nof1_buffer_printf(&many, "a,1,%d,%d,T%d,1\n", k + 1, k, k), NOF1_OK);
    }
    cr_expect_eq(read_text(&table, bare, (const char *)many.data, many.length, &error),
                 NOF1_E_INPUT);
    cr_expect(strstr(error.message, "at most 8 treatments expected") != NULL, "%s", error.message);
    nof1_buffer_free(&many);
}

/* Lines are counted alike whatever ends them, in quotes, in long records and after blank lines. */
Test(csv, every_row_knows_its_line)
{
    static const char *const ends[] = {"\n", "\r\n", "\r"};
    static const uint32_t expected[] = {2, 3, 5, 7, 8};
    char wide[5001];
    memset(wide, 'x', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    for (size_t k = 0; k < 3; k++) {
        const char *e = ends[k];
        struct nof1_buffer text = {0};
        cr_assert_eq(nof1_buffer_printf(&text,
                                        "trial,cycle,period,treatment,y,note%sa,1,1,A,1,x%s"
                                        "\"a\",1,2,B,2,\"two%slines\"%sa,2,3,A,3,%s%s%s"
                                        "a,2,4,B,4,y%sa,3,5,A,5,",
                                        e, e, e, e, wide, e, e, e),
                     NOF1_OK);
        cr_assert_eq(nof1_buffer_append(&text, "", 1), NOF1_OK);
        struct nof1_table *table = must_read(bare, (const char *)text.data);
        cr_assert_eq(table->rows, 5);
        for (size_t r = 0; r < 5; r++) {
            cr_expect_eq(table->line[r], expected[r], "end %zu row %zu: %u", k, r, table->line[r]);
        }
        nof1_table_free(table);
        nof1_buffer_free(&text);
    }
}

Test(csv, no_rows_is_a_table)
{
    struct nof1_table *t = must_read(bare, HEAD);
    cr_expect_eq(t->rows, 0u);
    cr_expect_eq(t->trials, 0u);
    nof1_table_free(t);
}

/* Correct rounding: the same double as the C library, for every way through the reader. */
Test(csv, numbers_are_rounded_correctly)
{
    struct test_random random = {7};
    char text[64];
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = test_random_next(&random);
        double wanted;
        switch (i % 4) {
        case 0:
            snprintf(text, sizeof text, "%.*f", (int)(bits % 7), (double)(bits >> 40) / 997.0);
            break;
        case 1:
            snprintf(text, sizeof text, "-%llu.%05llu", (unsigned long long)(bits >> 50),
                     (unsigned long long)(bits % 100000));
            break;
        case 2:
            snprintf(text, sizeof text, "%.17g", ldexp((double)bits, (int)(bits % 200) - 100));
            break;
        default:
            snprintf(text, sizeof text, ".%llu", (unsigned long long)(bits >> 12));
            break;
        }
        struct nof1_number number;
        wanted = strtod(text, NULL);
        cr_assert(nof1_number_read(&number, text, strlen(text)), "%s", text);
        cr_assert(memcmp(&number.value, &wanted, sizeof wanted) == 0, "%s", text);
    }
    struct nof1_number number;
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      ".",
                                      "-.",
                                      "1.",
                                      "1..2",
                                      "1,2.3",
                                      "1e",
                                      "e5",
                                      "0x10",
                                      "inf",
                                      "nan",
                                      "1 2",
                                      "--1",
                                      "1e400",
                                      "12345678901234567890x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_not(nof1_number_read(&number, bad[i], strlen(bad[i])), "'%s'", bad[i]);
    }
    int32_t whole;
    cr_expect(nof1_ordinal_read(&whole, "2147483647", 10));
    cr_expect_eq(whole, 2147483647);
    cr_expect_not(nof1_ordinal_read(&whole, "2147483648", 10));
    cr_expect(nof1_ordinal_read(&whole, "3.0", 3));
    cr_expect_eq(whole, 3);
}
