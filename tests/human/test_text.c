/* What a terminal gets to see of hostile texts, and where lines break.
 *
 * Tried: passing Cf characters, cutting at bytes instead of characters, counting characters instead of
 * columns. Each fails.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "human/visible_text.h"

#define SPAN(text)                                                                                           \
    (tv_slice) {                                                                                             \
        text, sizeof(text) - 1                                                                               \
    }

static void expect_visible(tv_slice text, const char *expected) {
    tv_text out = {0};
    assert_ok(tv_visible_text(text, &out));
    assert_ok(tv_text_append(&out, "", 1));
    assert_string_equal((const char *)out.data, expected);
    tv_text_free(&out);
}

static void hostile_texts_become_visible(void **state) {
    (void)state;
    expect_visible(SPAN("plain caf\xc3\xa9 \xe6\xbc\xa2\n"), "plain caf\xc3\xa9 \xe6\xbc\xa2\n");
    expect_visible(SPAN("\x1b[2J\x1b]0;title\x07"), "\\x1b[2J\\x1b]0;title\\x07");
    expect_visible(SPAN("a\0b\x7f\x08"), "a\\x00b\\x7f\\x08");
    expect_visible(SPAN("\xc2\x9b"
                        "31m"),
                   "\\u009b31m");
    expect_visible(SPAN("\x9b"
                        "31m \xc3 \xe2\x82 \xff"),
                   "\\x9b31m \\xc3 \\xe2\\x82 \\xff");
    expect_visible(SPAN("\xed\xa0\x80 \xc0\x80"), "\\xed\\xa0\\x80 \\xc0\\x80");
    expect_visible(SPAN("\xe2\x80\xae\xe2\x81\xa6\xd8\x9c"), "\\u202e\\u2066\\u061c");
    expect_visible(SPAN("\xef\xbb\xbf\xe2\x80\x8b\xc2\xad"), "\\ufeff\\u200b\\u00ad");
    expect_visible(SPAN("\xe2\x80\xa8\xe2\x80\xa9"), "\\u2028\\u2029");
    expect_visible(SPAN("\xf3\xa0\x81\x81\xef\xbf\xbf"), "\\U000e0041\\uffff");
    expect_visible(SPAN("one\r\ntwo\rthree\tfour"), "one\ntwo\\x0dthree    four");
    /* An emoji of three that joiners tie together stays one; more marks than a script needs do not. */
    expect_visible(SPAN("\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7"),
                   "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7");
    expect_visible(SPAN("e\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81"),
                   "e\xcc\x81\xcc\x81\xcc\x81\xcc\x81\\u0301");
}

/* Every byte, in every place of a short text: nothing below a space but newlines, no byte that is no UTF-8.
 */
static void no_byte_gets_through(void **state) {
    (void)state;
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++) {
            const char bytes[3] = {(char)first, (char)second, 'x'};
            tv_text out = {0};
            assert_ok(tv_visible_text((tv_slice){bytes, 3}, &out));
            for (uint64_t i = 0; i < out.size; i++)
                assert_true(out.data[i] >= 0x20 || out.data[i] == '\n');
            /* C1 controls are C2 80 to C2 9F. */
            for (uint64_t i = 0; i + 1 < out.size; i++)
                assert_false(out.data[i] == 0xc2 && out.data[i + 1] < 0xa0);
            tv_text_free(&out);
        }
}

static void expect_lines(tv_slice text, uint32_t columns, const char *expected) {
    tv_text out = {0};
    assert_ok(tv_wrap_text(text, columns, "- ", "  ", &out));
    assert_ok(tv_text_append(&out, "", 1));
    assert_string_equal((const char *)out.data, expected);
    tv_text_free(&out);
}

static void lines_break_at_spaces(void **state) {
    (void)state;
    expect_lines(SPAN("one two three"), 7, "- one two\n  three\n");
    expect_lines(SPAN("one two three"), 8, "- one two\n  three\n");
    expect_lines(SPAN("one two   three"), 7, "- one two\n  three\n");
    expect_lines(SPAN("one two   "), 7, "- one two\n");
    expect_lines(SPAN("abcdefghij"), 4, "- abcd\n  efgh\n  ij\n");
    expect_lines(SPAN("ab\n\n  cd ef gh"), 7, "- ab\n  \n    cd ef\n  gh\n");
    /* Two columns each. */
    expect_lines(SPAN("\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2"), 5,
                 "- \xe6\xbc\xa2\xe6\xbc\xa2\n  \xe6\xbc\xa2\n");
    /* A mark stays with its letter. */
    expect_lines(SPAN("abe\xcc\x81"
                      "d"),
                 3, "- abe\xcc\x81\n  d\n");
    expect_lines(SPAN(""), 5, "- \n");
}

/* Strings come apart and keep their bytes. */
static void raw_json_keeps_bytes(void **state) {
    (void)state;
    const tv_slice object =
        SPAN(" {\"a\" : [1, {\"b\":\"]}\\\"\"} ,2.50] "
             ",\"seed\":12345678901234567890,\"t\":\"x\\u0000\\ud83d\\ude00\\n\\\\\\ud800\\u00e9\xff\"}");
    assert_true(tv_slice_is(tv_raw_get(object, "seed"), "12345678901234567890"));
    assert_true(tv_slice_is(tv_raw_get(object, "a"), "[1, {\"b\":\"]}\\\"\"} ,2.50]"));
    assert_int_equal(tv_raw_get(object, "b").size, 0);
    tv_text text = {0};
    assert_ok(tv_raw_string(tv_raw_get(object, "t"), &text));
    static const char expected[] = "x\0\xf0\x9f\x98\x80\n\\\xef\xbf\xbd\xc3\xa9\xff";
    assert_int_equal(text.size, sizeof expected - 1);
    assert_memory_equal(text.data, expected, text.size);
    tv_text_free(&text);
    tv_raw_walk walk = tv_raw_begin(tv_raw_get(object, "a"));
    const char *elements[] = {"1", "{\"b\":\"]}\\\"\"}", "2.50"};
    uint64_t count = 0;
    for (tv_slice key, value; tv_raw_next(&walk, &key, &value); count++)
        assert_true(count < 3 && tv_slice_is(value, elements[count]) && key.size == 0);
    assert_int_equal(count, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_texts_become_visible),
        cmocka_unit_test(no_byte_gets_through),
        cmocka_unit_test(lines_break_at_spaces),
        cmocka_unit_test(raw_json_keeps_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
