/* Where lines break, and pieces of JSON.
 *
 * Tried: cutting at bytes instead of characters, counting characters instead of columns. Each fails.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "human/wrap_text.h"

#define SPAN(text)                                                                                           \
    (tv_slice) {                                                                                             \
        text, sizeof(text) - 1                                                                               \
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
        cmocka_unit_test(lines_break_at_spaces),
        cmocka_unit_test(raw_json_keeps_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
