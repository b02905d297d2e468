/* base/shell_word: a shell reads a word back as it was. Tried: a quote within quotes as it stands. Fails. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/shell_word.h"
#include "support/subprocess.h"

static void plain_words_stay(void **state) {
    (void)state;
    static const char *const words[] = {"runs/sft", "--set=train.lr=1e-3", "a_b-c.d:e,f+g@h%i"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char *word = tv_shell_word(words[i]);
        assert_string_equal(word, words[i]);
        free(word);
    }
}

static void a_shell_reads_every_word_back(void **state) {
    (void)state;
    static const char *const words[] = {"",     " ", "my run's", "'", "''",       "$HOME `id` \"x\" \\ !",
                                        "a\nb", "~", "*",        "#", "\xc3\xbc", "a;b&c|d"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char *word = tv_shell_word(words[i]), *command = tv_format("printf %%s %s", word);
        tv_child_result run = tv_child_run((const char *const[]){"/bin/sh", "-c", command, NULL});
        if (run.exit_code != 0)
            fail_msg("%s: %s", command, run.err);
        assert_string_equal(run.out, words[i]);
        tv_child_result_free(&run);
        tv_free_all(command, word);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain_words_stay),
                                       cmocka_unit_test(a_shell_reads_every_word_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
