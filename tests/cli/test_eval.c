/* trivium eval as a person runs it. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/command_result.h"
#include "support/subprocess.h"

static const char model[] = TRIVIUM_SOURCE_DIR "/tests/golden/llama_100k";
static const char shard[] = TRIVIUM_SOURCE_DIR "/tests/golden/tokens.bin";

static uint64_t count_lines(const char *path) {
    char *text = NULL;
    uint64_t lines = 0;
    assert_ok(tv_read_file(path, &text, NULL));
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    free(text);
    return lines;
}

static void help_explains_the_windows(void **state) {
    (void)state;
    tv_child_result run = tv_run_trivium("eval", "--help");
    assert_int_equal(run.exit_code, 0);
    const char *const words[] = {"--model DIR", "--data F", "--stride S", "--logprobs F", "end-of-text"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(run.out, words[i]))
            fail_msg("\"%s\" is not in the help:\n%s", words[i], run.out);
    tv_child_result_free(&run);
}

/* 10,241 tokens; the values are test_evaluate.c's business. */
static void a_shard_gives_the_three_keys(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *logprobs = tv_format("%s/logprobs.txt", dir);
    tv_child_result run = tv_run_trivium("eval", "--model", model, "--data", shard, "--seq-len", "64",
                                         "--logprobs", logprobs, "--json");
    cJSON *result = tv_result_of(&run);
    double loss = tv_result_number(result, "loss");
    assert_int_equal(cJSON_GetArraySize(result), 3);
    assert_true(loss > 1 && loss < 10);
    assert_near(tv_result_number(result, "perplexity"), exp(loss), 1e-6 * exp(loss));
    assert_int_equal(tv_result_number(result, "tokens"), 10240);
    assert_int_equal(count_lines(logprobs), 10240);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    run = tv_child_run((const char *const[]){TRIVIUM_COMMAND, "eval", "--model", model, "--data", shard,
                                             "--batch-size", "5", NULL});
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "perplexity"));
    tv_child_result_free(&run);
    free(logprobs);
    tv_test_dir_remove(&dir);
}

static void mistakes_give_exit_code_2(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *empty = tv_format("%s/empty.txt", dir), *cut = tv_format("%s/cut.bin", dir);
    assert_ok(tv_write_file(empty, "", 0));
    assert_ok(tv_write_file(cut, "\xd8\xf9\x34\x01\x01", 5));
    const struct {
        const char *model, *data, *sentence;
    } cases[] = {
        {"/nonexistent", shard, "/nonexistent"},
        {model, "/nonexistent/file.txt", "/nonexistent/file.txt"},
        {dir, shard, "model directory"},
        {model, empty, "tokenizer.json"},
        {model, cut, "cut.bin"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_child_result run = tv_run_trivium("eval", "--model", cases[i].model, "--data", cases[i].data);
        if (run.exit_code != 2 || !strstr(run.err, cases[i].sentence))
            fail_msg("case %zu: exit code %d, \"%s\"", i, run.exit_code, run.err);
        assert_memory_equal(run.err, "trivium eval: ", 14);
        assert_string_equal(run.out, "");
        tv_child_result_free(&run);
    }
    free(empty);
    free(cut);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_explains_the_windows),
        cmocka_unit_test(a_shard_gives_the_three_keys),
        cmocka_unit_test(mistakes_give_exit_code_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
