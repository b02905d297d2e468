/* Words between bars: found whole, printed whole, cut without a byte too many. */
#include "support/support.h"

#include <string.h>

#include "base/choices.h"

static void a_word_is_found_only_whole(void **state) {
    (void)state;
    assert_int_equal(tv_choice_find("cosine|linear|wsd", "cosine"), 0);
    assert_int_equal(tv_choice_find("cosine|linear|wsd", "wsd"), 2);
    assert_int_equal(tv_choice_find("cosine|linear|wsd", "cos"), -1);
    assert_int_equal(tv_choice_find("cosine|linear|wsd", "wsdx"), -1);
    assert_int_equal(tv_choice_find("cosine|linear|wsd", "linear|wsd"), -1);
    assert_int_equal(tv_choice_find("cosine|linear|wsd", ""), -1);
    assert_int_equal(tv_choice_find("one", "one"), 0);
}

static void the_last_word_stands_for_all_that_follow(void **state) {
    (void)state;
    char text[16];
    assert_string_equal(tv_choice_word("a|bc|d", 0, text, sizeof text), "a");
    assert_string_equal(tv_choice_word("a|bc|d", 1, text, sizeof text), "bc");
    assert_string_equal(tv_choice_word("a|bc|d", 2, text, sizeof text), "d");
    assert_string_equal(tv_choice_word("a|bc|d", 7, text, sizeof text), "d");
    assert_string_equal(tv_choice_word("0.1", 4, text, sizeof text), "0.1");
    assert_string_equal(tv_choice_word("abcdef", 0, text, 4), "abc");
}

static void lists_are_cut_inside_their_buffer(void **state) {
    (void)state;
    char text[20];
    assert_string_equal(tv_choices_list("a|bc|d", text, sizeof text), "a, bc, d");
    for (size_t size = 1; size < 9; size++) {
        memset(text, '#', sizeof text);
        tv_choices_list("a|bc|d", text, size);
        assert_int_equal(strlen(text), size - 1);
        assert_int_equal(text[size], '#');
    }
}

/* A slip of the hand is understood, another word is not. Tried: one change more allowed makes "eps" of "ppo";
 * letters that changed places counted twice.
 */
static void the_nearest_word_is_a_slip_away(void **state) {
    (void)state;
    static const char *const keys[] = {"steps", "warmup_steps", "eps", "lr"};
    static const struct {
        const char *word, *nearest;
    } cases[] = {{"step", "steps"}, {"setps", "steps"},      {"warmup", "warmup_steps"},
                 {"lt", "lr"},      {"pes", "eps"},          {"rl", "lr"},
                 {"ppo", NULL},     {"learning_rate", NULL}, {"", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *found = tv_nearest_word(cases[i].word, keys, 4);
        if (found ? !cases[i].nearest || strcmp(found, cases[i].nearest) != 0 : cases[i].nearest != NULL)
            fail_msg("\"%s\" is taken for %s", cases[i].word, found ? found : "nothing");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_is_found_only_whole),
        cmocka_unit_test(the_last_word_stands_for_all_that_follow),
        cmocka_unit_test(lists_are_cut_inside_their_buffer),
        cmocka_unit_test(the_nearest_word_is_a_slip_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
