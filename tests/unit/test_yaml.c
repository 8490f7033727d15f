/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading YAML: trees, positions, typed reads, and everything that is refused.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <base/document.h>

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

TestSuite(yaml, .init = setup, .fini = teardown);

static const struct nof1_node *read(const char *text)
{
    const struct nof1_node *node = NULL;
    nof1_rc_value rc = nof1_yaml_read(&node, arena, "f.yaml", nof1_slice_text(text), &error);
    cr_assert_eq(rc, NOF1_OK, "%s: %s", text, error.message);
    return node;
}

Test(yaml, trees_keep_order_kinds_and_positions)
{
    const struct nof1_node *root = read("b: 1\na:\n  c: [x, \"2\", ~, ]\n  d: {e: null}\n");
    cr_expect_eq(root->kind, NOF1_MAP);
    cr_expect_eq(root->items, 2u);
    cr_expect_str_eq(root->item[0].key, "b");
    const struct nof1_node *c = nof1_node_get(nof1_node_get(root, "a"), "c");
    cr_assert_not_null(c);
    cr_expect_eq(c->kind, NOF1_LIST);
    cr_expect_eq(c->items, 3u);
    cr_expect_eq(c->line, 3u);
    cr_expect_eq(c->column, 3u);
    cr_expect_str_eq(c->file, "f.yaml");
    cr_expect_str_eq(c->item[1].text, "2");
    cr_expect(c->item[1].quoted && !c->item[0].quoted);
    cr_expect_eq(c->item[1].line, 3u);
    cr_expect_eq(c->item[1].column, 10u);
    cr_expect_str_eq(c->item[2].text, "");
    cr_expect_null(c->item[2].key);
    cr_expect_null(nof1_node_get(root, "c"));
    cr_expect_null(nof1_node_get(NULL, "c"));
    cr_expect_null(nof1_node_get(c, "c"));
}

Test(yaml, a_byte_order_mark_and_windows_lines_are_fine)
{
    const struct nof1_node *root = read("\xef\xbb\xbf"
                                        "a: 1\r\nb: \"caf\xc3\xa9\"\r\n");
    cr_expect_eq(root->items, 2u);
    cr_expect_str_eq(root->item[0].key, "a");
    cr_expect_str_eq(root->item[1].text, "caf\xc3\xa9");
}

Test(yaml, what_surprises_people_is_refused_at_its_place)
{
    static const struct {
        const char *text, *message;
        unsigned line, column;
    } bad[] = {{"a: &x 1\nb: *x\n", "anchors", 1, 4},
               {"a: *x\n", "anchors", 1, 4},
               {"a: !!str 1\n", "tags", 1, 4},
               {"a: !foo {b: 1}\n", "tags", 1, 4},
               {"a: &q [1]\n", "anchors", 1, 4},
               {"a: 1\n---\nb: 2\n", "only one document", 2, 1},
               {"%YAML 1.1\n---\na: 1\n", "directives", 1, 1},
               {"a: 1\nb: 2\na: 3\n", "key a is given twice (first in line 1)", 3, 1},
               {"x:\n  - {k: 1, j: 2, k: 3}\n", "key k is given twice", 2, 18},
               {"a: 1\n\tb: 2\n", "a tab", 2, 1},
               {"a:\n  \tb: 2\n", "a tab", 2, 3},
               {"[a, b]: 1\n", "a key must be a text", 1, 1},
               {"{a: 1}: 1\n", "a key must be a text", 1, 1},
               {"\"\": 1\n", "a key must not be empty", 1, 1},
               {"a: [1, 2\n", "did not find expected", 2, 1},
               {"a: \"x\\0y\"\n", "NUL", 1, 4},
               {"a: 'x\n", "found unexpected end of stream", 2, 1},
               {"a: b: c\n", "mapping values are not allowed", 1, 5},
               {"", "the document is empty", 1, 1},
               {"# only a comment\n", "the document is empty", 1, 1}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct nof1_node *node = NULL;
        error = (struct nof1_error){0};
        cr_expect_eq(nof1_yaml_read(&node, arena, "f.yaml", nof1_slice_text(bad[i].text), &error),
                     NOF1_E_INPUT, "%s", bad[i].text);
        cr_expect_not_null(strstr(error.message, bad[i].message), "%s: %s", bad[i].text,
                           error.message);
        cr_expect_eq(error.line, bad[i].line, "%s: line %u", bad[i].text, error.line);
        cr_expect_eq(error.column, bad[i].column, "%s: column %u", bad[i].text, error.column);
        cr_expect_str_eq(error.file, "f.yaml");
        cr_expect_null(node);
    }
}

Test(yaml, bytes_that_are_not_utf8_text_are_refused)
{
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {{"a: \xff\n", 5},
               {"a: \xc3\n", 5},
               {"a: \xed\xa0\x80\n", 7},
               {"a: \x01\n", 5},
               {"a: \0b\n", 6},
               {"\xff\xfe"
                "a\0:\0",
                6},
               {"a: \xc0\xaf\n", 6},
               {"\0", 1}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct nof1_node *node = NULL;
        cr_expect_eq(
            nof1_yaml_read(&node, arena, "f", nof1_slice_of(bad[i].bytes, bad[i].length), &error),
            NOF1_E_INPUT, "case %zu", i);
    }
}

Test(yaml, depth_size_and_number_of_values_are_limited)
{
    const struct nof1_node *node = NULL;
    struct nof1_buffer text = {0};
    for (int depth = 16; depth <= 17; depth++) {
        text.length = 0;
        for (int i = 0; i < depth; i++) {
            cr_assert_eq(nof1_buffer_append(&text, "[", 1), NOF1_OK);
        }
        for (int i = 0; i < depth; i++) {
            cr_assert_eq(nof1_buffer_append(&text, "]", 1), NOF1_OK);
        }
        cr_expect_eq(nof1_yaml_read(&node, arena, "f", nof1_buffer_slice(&text), &error),
                     depth == 16 ? NOF1_OK : NOF1_E_INPUT);
    }
    cr_expect_not_null(strstr(error.message, "deeper than 16"));
    for (size_t values = 65535; values <= 65536; values++) { /* and the list itself */
        text.length = 0;
        for (size_t i = 0; i < values; i++) {
            cr_assert_eq(nof1_buffer_append(&text, "- a\n", 4), NOF1_OK);
        }
        cr_expect_eq(nof1_yaml_read(&node, arena, "f", nof1_buffer_slice(&text), &error),
                     values == 65535 ? NOF1_OK : NOF1_E_INPUT);
    }
    cr_expect_not_null(strstr(error.message, "65536"));
    text.length = 0;
    while (text.length <= NOF1_DOCUMENT_BYTES) {
        cr_assert_eq(nof1_buffer_append(&text, "# comment\n", 10), NOF1_OK);
    }
    cr_expect_eq(nof1_yaml_read(&node, arena, "f", nof1_buffer_slice(&text), &error), NOF1_E_INPUT);
    cr_expect_not_null(strstr(error.message, "1 MiB"));
    nof1_buffer_free(&text);
}

Test(yaml, typed_reads_give_values)
{
    const struct nof1_node *root =
        read("n: -7\nx: 1.5e3\ni: 4\nyes: true\nno: false\nt: some text\nq: \"\"\nh: 00ff\n"
             "s: 90s\nm: 10m\nhours: 12h\nd: 14d\n");
    int64_t integer = 0;
    double value = 0;
    bool flag = false;
    const char *text = NULL;
    struct nof1_slice hex;
    uint32_t seconds = 0;
    cr_expect(nof1_node_integer(&integer, root, "n", -10, 10, &error) == NOF1_OK && integer == -7);
    cr_expect(nof1_node_double(&value, root, "x", &error) == NOF1_OK && value == 1500);
    cr_expect(nof1_node_double(&value, root, "i", &error) == NOF1_OK && value == 4);
    cr_expect(nof1_node_flag(&flag, root, "yes", &error) == NOF1_OK && flag);
    cr_expect(nof1_node_flag(&flag, root, "no", &error) == NOF1_OK && !flag);
    cr_expect_eq(nof1_node_text(&text, root, "t", &error), NOF1_OK);
    cr_expect_str_eq(text, "some text");
    cr_expect_eq(nof1_node_text(&text, root, "q", &error), NOF1_OK);
    cr_expect_str_eq(text, "");
    cr_expect_eq(nof1_node_hex(&hex, arena, root, "h", &error), NOF1_OK);
    cr_expect(nof1_slice_equal(hex, nof1_slice_of("\0\xff", 2)));

    static const struct {
        const char *key;
        uint32_t seconds;
    } durations[] = {{"s", 90}, {"m", 600}, {"hours", 43200}, {"d", 1209600}};

    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(nof1_node_duration(&seconds, root, durations[i].key, &error), NOF1_OK);
        cr_expect_eq(seconds, durations[i].seconds);
    }
}

Test(yaml, typed_reads_refuse_with_place_and_expectation)
{
    const struct nof1_node *root =
        read("q: \"5\"\nf: 1.5\nz: 007\nbig: 9007199254740992\nword: abc\nlist: [1]\nnil: ~\n"
             "odd: abc\nup: FF\nd: 14 d\nd0: 0s\nd9: 999999999d\nyes: yes\ninf: .inf\nneg: -0\n");
    int64_t integer;
    double value;
    bool flag;
    const char *text;
    struct nof1_slice hex;
    uint32_t seconds;
    static const char *const integers[] = {"q", "f", "z", "big", "word", "list", "nil", "neg"};
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        error = (struct nof1_error){0};
        cr_expect_eq(nof1_node_integer(&integer, root, integers[i], -5, INT64_MAX, &error),
                     NOF1_E_INPUT, "%s", integers[i]);
        cr_expect_eq(strncmp(error.message, integers[i], strlen(integers[i])), 0);
        cr_expect_not_null(strstr(error.message, "whole number"), "%s", error.message);
        cr_expect_gt(error.line, 0u);
    }
    static const char *const doubles[] = {"q", "word", "list", "nil", "inf"};
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++) {
        cr_expect_eq(nof1_node_double(&value, root, doubles[i], &error), NOF1_E_INPUT);
    }
    static const char *const durations[] = {"q", "word", "d", "d0", "d9", "list", "z"};
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        cr_expect_eq(nof1_node_duration(&seconds, root, durations[i], &error), NOF1_E_INPUT);
    }
    cr_expect_eq(nof1_node_flag(&flag, root, "yes", &error), NOF1_E_INPUT);
    cr_expect_not_null(strstr(error.message, "expected true or false, found yes"));
    cr_expect_eq(nof1_node_text(&text, root, "nil", &error), NOF1_E_INPUT);
    cr_expect_eq(nof1_node_text(&text, root, "list", &error), NOF1_E_INPUT);
    cr_expect_not_null(strstr(error.message, "found a list"));
    cr_expect_eq(nof1_node_hex(&hex, arena, root, "odd", &error), NOF1_E_INPUT);
    cr_expect_eq(nof1_node_hex(&hex, arena, root, "up", &error), NOF1_E_INPUT);
    cr_expect_eq(nof1_node_text(&text, root, "absent", &error), NOF1_E_INPUT);
    cr_expect_not_null(strstr(error.message, "key absent is missing: expected a text"));
    cr_expect_eq(nof1_node_text(&text, nof1_node_get(root, "word"), "k", &error), NOF1_E_INPUT);
    cr_expect_not_null(strstr(error.message, "expected a map with the key k"));
}

Test(yaml, unknown_keys_name_the_nearest_known_one)
{
    static const char *const known[] = {"outcome", "treatment", "analysis", NULL};
    const struct nof1_node *root = read("outcome: y\ntreatmnt: 1\n");
    cr_expect_eq(nof1_node_only(root, known, &error), NOF1_E_INPUT);
    cr_expect_str_eq(error.message, "unknown key treatmnt (did you mean treatment?)");
    cr_expect_eq(error.line, 2u);
    cr_expect_eq(error.column, 1u);
    root = read("zzzzzzzz: 1\n");
    cr_expect_eq(nof1_node_only(root, known, &error), NOF1_E_INPUT);
    cr_expect_str_eq(error.message, "unknown key zzzzzzzz");
    cr_expect_eq(nof1_node_only(read("[1]"), known, &error), NOF1_E_INPUT);
    cr_expect_eq(nof1_node_only(read("{analysis: 1}"), known, &error), NOF1_OK);
}

Test(yaml, one_huge_map_is_read_in_time)
{
    struct nof1_buffer text = {0};
    for (int i = 0; i < 30000; i++) {
        cr_assert_eq(nof1_buffer_printf(&text, "key%d: %d\n", i, i), NOF1_OK);
    }
    const struct nof1_node *node = NULL;
    cr_expect_eq(nof1_yaml_read(&node, arena, "f", nof1_buffer_slice(&text), &error), NOF1_OK);
    cr_expect_eq(node->items, 30000u);
    nof1_buffer_free(&text);
}
