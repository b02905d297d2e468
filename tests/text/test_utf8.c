/* text/utf8: where a text that still comes in may be cut. */
#include "support/support.h"

#include <string.h>

#include "text/utf8.h"

/* Every prefix of a text of 1 to 4 byte characters: what is left of it is whole characters. */
static void prefixes_are_cut_at_characters(void **state) {
    (void)state;
    const char *text = "a\u00e9\u20ac\U0001f600z\u00df";
    uint64_t expected = 0;
    for (uint64_t length = 0; length <= strlen(text); length++) {
        uint64_t rest = tv_utf8_unfinished((const uint8_t *)text, length);
        if (tv_utf8_valid_run((const uint8_t *)text, length) == length)
            expected = length;
        assert_int_equal(length - rest, expected);
    }
}

/* Bytes that no rest can complete are not waited for. */
static void broken_bytes_are_not_waited_for(void **state) {
    (void)state;
    const char *const whole[] = {
        "", "a", "\x80", "\xbf\xbf\xbf\xbf", "\xc3(", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        assert_int_equal(tv_utf8_unfinished((const uint8_t *)whole[i], strlen(whole[i])), 0);
    assert_int_equal(tv_utf8_unfinished((const uint8_t *)"a\xf0\x9f\x98", 4), 3);
    assert_int_equal(tv_utf8_unfinished((const uint8_t *)"\xc3", 1), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_are_cut_at_characters),
        cmocka_unit_test(broken_bytes_are_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
