/* What a terminal gets to see of hostile texts: base/visible and text/visible_text.
 *
 * Tried: passing Cf characters, marks that are not counted, newlines kept in a line. Each fails.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/visible.h"
#include "text/visible_text.h"

#define EXPECT_VISIBLE(text, expected) expect_bytes(text, sizeof text - 1, expected)

static void expect_bytes(const char *text, uint64_t size, const char *expected) {
    tv_text out = {0};
    assert_ok(tv_visible_text(text, size, &out));
    assert_ok(tv_text_append(&out, "", 1));
    assert_string_equal((const char *)out.data, expected);
    tv_text_free(&out);
}

static void hostile_texts_become_visible(void **state) {
    (void)state;
    EXPECT_VISIBLE(("plain caf\xc3\xa9 \xe6\xbc\xa2\n"), "plain caf\xc3\xa9 \xe6\xbc\xa2\n");
    EXPECT_VISIBLE(("\x1b[2J\x1b]0;title\x07"), "\\x1b[2J\\x1b]0;title\\x07");
    EXPECT_VISIBLE(("a\0b\x7f\x08"), "a\\x00b\\x7f\\x08");
    EXPECT_VISIBLE(("\xc2\x9b"
                    "31m"),
                   "\\u009b31m");
    EXPECT_VISIBLE(("\x9b"
                    "31m \xc3 \xe2\x82 \xff"),
                   "\\x9b31m \\xc3 \\xe2\\x82 \\xff");
    EXPECT_VISIBLE(("\xed\xa0\x80 \xc0\x80"), "\\xed\\xa0\\x80 \\xc0\\x80");
    EXPECT_VISIBLE(("\xe2\x80\xae\xe2\x81\xa6\xd8\x9c"), "\\u202e\\u2066\\u061c");
    EXPECT_VISIBLE(("\xef\xbb\xbf\xe2\x80\x8b\xc2\xad"), "\\ufeff\\u200b\\u00ad");
    EXPECT_VISIBLE(("\xe2\x80\xa8\xe2\x80\xa9"), "\\u2028\\u2029");
    EXPECT_VISIBLE(("\xf3\xa0\x81\x81\xef\xbf\xbf"), "\\U000e0041\\uffff");
    EXPECT_VISIBLE(("one\r\ntwo\rthree\tfour"), "one\ntwo\\x0dthree    four");
    /* An emoji of three that joiners tie together stays one; more marks than a script needs do not. */
    EXPECT_VISIBLE(("\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7"),
                   "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7");
    EXPECT_VISIBLE(("e\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81"), "e\xcc\x81\xcc\x81\xcc\x81\xcc\x81\\u0301");
}

/* Every byte, in every place of a short text: nothing below a space but newlines, no byte that is no UTF-8.
 */
static void no_byte_gets_through(void **state) {
    (void)state;
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++) {
            const char bytes[3] = {(char)first, (char)second, 'x'};
            tv_text out = {0};
            assert_ok(tv_visible_text(bytes, 3, &out));
            for (uint64_t i = 0; i < out.size; i++)
                assert_true(out.data[i] >= 0x20 || out.data[i] == '\n');
            /* C1 controls are C2 80 to C2 9F. */
            for (uint64_t i = 0; i + 1 < out.size; i++)
                assert_false(out.data[i] == 0xc2 && out.data[i + 1] < 0xa0);
            tv_text_free(&out);
        }
}

static void a_line_stays_one_and_is_cut_between_characters(void **state) {
    (void)state;
    char shown[12];
    assert_string_equal(tv_visible_line("a\nb\x07", shown, sizeof shown), "a\\x0ab\\x07");
    assert_string_equal(tv_visible_line("a\nb\x07", shown, 10), "a\\x0ab");
    assert_string_equal(tv_visible_line("\xc3\xa9\xc3\xa9", shown, 4), "\xc3\xa9");
    assert_string_equal(tv_visible_line("abc", shown, 1), "");
    assert_string_equal(tv_visible_line("", shown, 1), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_texts_become_visible),
        cmocka_unit_test(no_byte_gets_through),
        cmocka_unit_test(a_line_stays_one_and_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
