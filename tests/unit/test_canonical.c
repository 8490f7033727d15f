/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Canonical JSON: RFC 8785 order and escapes, round trips, refusal of every other spelling.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <base/document.h>
#include <base/json.h>

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

TestSuite(canonical, .init = setup, .fini = teardown);

static nof1_rc_value read_text(const struct nof1_node **node, const char *text)
{
    return nof1_canonical_read(node, arena, nof1_slice_text(text), &error);
}

Test(canonical, values_are_written_as_rfc_8785_says)
{
    static const struct {
        const char *json, *canonical;
    } known[] = {
        {"{ \"b\" : 1 , \"a\" : [ true , false , null ] }", "{\"a\":[true,false,null],\"b\":1}"},
        {"{\"aa\":1,\"a\":2,\"B\":3,\"_\":4,\"1\":5,\"\":6}",
         "{\"\":6,\"1\":5,\"B\":3,\"_\":4,\"a\":2,\"aa\":1}"},
        {"[\"\\u0041\\/\\u000a\\u001F\\\"\\\\\\u0008\\f\\r\\t\\u007f\"]",
         "[\"A/\\n\\u001f\\\"\\\\\\b\\f\\r\\t\x7f\"]"},
        {"[9007199254740991,-9007199254740991,0,-0]", "[9007199254740991,-9007199254740991,0,0]"},
        {"[[],{},[{}],{\"a\":[]}]", "[[],{},[{}],{\"a\":[]}]"}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        json_error_t why;
        json_t *value = json_loads(known[i].json, 0, &why);
        struct nof1_buffer out = {0};
        const struct nof1_node *node = NULL;
        cr_assert_not_null(value, "%s", why.text);
        cr_expect_eq(nof1_canonical_write(&out, value), NOF1_OK);
        cr_expect(nof1_slice_equal(nof1_buffer_slice(&out), nof1_slice_text(known[i].canonical)),
                  "%.*s", (int)out.length, (char *)out.data);
        cr_expect_eq(nof1_canonical_read(&node, arena, nof1_buffer_slice(&out), &error), NOF1_OK,
                     "%s", error.message);
        json_t *back = nof1_node_json(node);
        cr_expect(json_equal(back, value), "%s", known[i].json);
        json_decref(back);
        json_decref(value);
        nof1_buffer_free(&out);
    }
}

Test(canonical, every_other_spelling_is_refused)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "[1,]",
                                      "[1] ",
                                      " [1]",
                                      "[ 1]",
                                      "[1]\n",
                                      "[1][2]",
                                      "1",
                                      "\"a\"",
                                      "null",
                                      "{\"b\":1,\"a\":2}",
                                      "{\"a\":1,\"a\":1}",
                                      "{\"a\" :1}",
                                      "{\"a\": 1}",
                                      "[-0]",
                                      "[01]",
                                      "[1.0]",
                                      "[1e2]",
                                      "[0.5]",
                                      "[9007199254740992]",
                                      "[-9007199254740992]",
                                      "[99999999999999999999]",
                                      "[\"\\u0041\"]",
                                      "[\"\\/\"]",
                                      "[\"\\u001F\"]",
                                      "[\"\\u000a\"]",
                                      "[\"\\u0000\"]",
                                      "{\"\\u0000\":1}",
                                      "[\"\xc3\xa9\"]",
                                      "[\"\\u00e9\"]",
                                      "[\"\xff\"]",
                                      "{\"\xc3\xa9\":1}",
                                      "[NaN]",
                                      "[Infinity]",
                                      "['a']",
                                      "[true,]",
                                      "{a:1}",
                                      "//x\n[1]",
                                      "\xef\xbb\xbf[1]",
                                      "[\"\\u007f\"]",
                                      "[+1]",
                                      "[\"\t\"]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct nof1_node *node = NULL;
        error = (struct nof1_error){0};
        cr_expect_eq(read_text(&node, bad[i]), NOF1_E_DECODE, "%s", bad[i]);
        cr_expect(error.message[0] != '\0', "%s", bad[i]);
        cr_expect_null(node);
    }
    const struct nof1_node *node = NULL;
    cr_expect_eq(nof1_canonical_read(&node, arena, nof1_slice_of("[1]\0", 4), &error),
                 NOF1_E_DECODE);
}

Test(canonical, any_single_changed_byte_gives_another_value_or_a_refusal)
{
    static const char text[] =
        "{\"a\":[1,2,{\"b\":\"x\\ny\"}],\"c\":true,\"d\":\"3ff0000000000000\"}";
    const struct nof1_node *original = NULL;
    cr_assert_eq(read_text(&original, text), NOF1_OK);
    json_t *value = nof1_node_json(original);
    for (size_t at = 0; at < sizeof text - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char changed[sizeof text];
            const struct nof1_node *node = NULL;
            memcpy(changed, text, sizeof text);
            changed[at] = (char)byte;
            if (changed[at] == text[at] ||
                nof1_canonical_read(&node, arena, nof1_slice_of(changed, sizeof text - 1), NULL) !=
                    NOF1_OK) {
                continue;
            }
            json_t *other = nof1_node_json(node);
            cr_expect(!json_equal(other, value), "byte %zu = %d", at, byte);
            json_decref(other);
        }
    }
    json_decref(value);
}

Test(canonical, depth_is_limited_on_both_sides)
{
    for (int depth = 16; depth <= 17; depth++) {
        struct nof1_buffer text = {0};
        const struct nof1_node *node = NULL;
        json_t *value = json_array();
        for (int i = 1; i < depth; i++) {
            value = json_pack("[o]", value);
        }
        for (int i = 0; i < 2 * depth; i++) {
            cr_assert_eq(nof1_buffer_append(&text, i < depth ? "[" : "]", 1), NOF1_OK);
        }
        struct nof1_buffer out = {0};
        cr_expect_eq(nof1_canonical_write(&out, value), depth == 16 ? NOF1_OK : NOF1_E_BUG);
        cr_expect_eq(out.length, depth == 16 ? 32u : 0u);
        cr_expect_eq(nof1_canonical_read(&node, arena, nof1_buffer_slice(&text), &error),
                     depth == 16 ? NOF1_OK : NOF1_E_DECODE);
        json_decref(value);
        nof1_buffer_free(&text);
        nof1_buffer_free(&out);
    }
}

Test(canonical, what_cannot_be_signed_is_not_written)
{
    json_t *bad[] = {json_real(1), json_string("\xc3\xa9"), json_integer(1LL << 53),
                     json_integer(-(1LL << 53)), json_stringn("a\0b", 3)};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct nof1_buffer out = {0};
        cr_assert_eq(nof1_buffer_append(&out, "before", 6), NOF1_OK);
        json_t *list = json_pack("[i,o]", 1, bad[i]);
        cr_expect_eq(nof1_canonical_write(&out, list), NOF1_E_BUG, "case %zu", i);
        cr_expect_eq(out.length, 6u, "a failed write leaves nothing behind");
        json_decref(list);
        nof1_buffer_free(&out);
    }
    struct nof1_buffer out = {0};
    cr_expect_eq(nof1_canonical_write(&out, NULL), NOF1_E_NO_MEMORY);
}

Test(canonical, doubles_are_hex_digits_and_integers_themselves)
{
    json_t *value =
        json_pack("{s:o,s:o,s:i,s:s,s:o}", "x", nof1_json_double(0.1), "m", nof1_json_double(-0.0),
                  "i", 3, "t", "0.1", "nan", nof1_json_double(NAN));
    struct nof1_buffer out = {0};
    const struct nof1_node *root = NULL;
    double number = 0;
    cr_assert_eq(nof1_canonical_write(&out, value), NOF1_OK);
    cr_assert_eq(nof1_canonical_read(&root, arena, nof1_buffer_slice(&out), &error), NOF1_OK);
    cr_expect(nof1_node_double(&number, root, "x", &error) == NOF1_OK && number == 0.1);
    cr_expect(nof1_node_double(&number, root, "m", &error) == NOF1_OK && signbit(number));
    cr_expect(nof1_node_double(&number, root, "i", &error) == NOF1_OK && number == 3);
    cr_expect_eq(nof1_node_double(&number, root, "t", &error), NOF1_E_INPUT);
    cr_expect_eq(nof1_node_double(&number, root, "nan", &error), NOF1_E_INPUT);
    json_decref(value);
    nof1_buffer_free(&out);
}

/* A random tree of at most `budget` values. */
static json_t *random_value(struct test_random *random, int depth)
{
    uint64_t kind = test_random_next(random) % (depth > 0 ? 7 : 5);
    json_t *value;
    char text[9] = "";
    switch (kind) {
    case 0:
        return json_integer((json_int_t)(test_random_next(random) >> 11) - (1LL << 52));
    case 1:
        return json_boolean(test_random_next(random) % 2 == 0);
    case 2:
        return json_null();
    case 3:
        return nof1_json_double(test_random_normal(random));
    case 4:
        for (int i = 0; i < 8; i++) {
            text[i] = (char)(1 + test_random_next(random) % 127);
        }
        return json_string(text);
    case 5:
        value = json_array();
        for (uint64_t i = test_random_next(random) % 5; i > 0; i--) {
            json_array_append_new(value, random_value(random, depth - 1));
        }
        return value;
    default:
        value = json_object();
        for (uint64_t i = test_random_next(random) % 5; i > 0; i--) {
            text[0] = (char)(1 + test_random_next(random) % 127);
            text[1] = (char)(1 + test_random_next(random) % 127);
            json_object_set_new(value, text, random_value(random, depth - 1));
        }
        return value;
    }
}

Test(canonical, random_trees_survive)
{
    struct test_random random = {99};
    for (int i = 0; i < 2000; i++) {
        json_t *value = json_pack("[o]", random_value(&random, 6));
        struct nof1_buffer out = {0};
        const struct nof1_node *node = NULL;
        cr_assert_eq(nof1_canonical_write(&out, value), NOF1_OK);
        cr_assert_eq(nof1_canonical_read(&node, arena, nof1_buffer_slice(&out), &error), NOF1_OK,
                     "%.*s: %s", (int)out.length, (char *)out.data, error.message);
        json_t *back = nof1_node_json(node);
        cr_assert(json_equal(back, value), "%.*s", (int)out.length, (char *)out.data);
        json_decref(back);
        json_decref(value);
        nof1_buffer_free(&out);
    }
}
