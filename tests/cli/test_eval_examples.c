/* `trivium eval` of demonstrations: the loss of the answers is what sft validates with, whose rows are packed
 * by another code, and each answer's log-probabilities add up to it.
 *
 * Tried on 2026-11-29: the prompt's tokens as targets; targets a token late; the last batch left out: each
 * fails.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "support/answering.h"
#include "support/command_result.h"
#include "support/device.h"
#include "support/stage_run.h"
#include "support/subprocess.h"

static const char lines[] = "{\"prompt\": \"a stone and a river: \", \"completion\": \"golden\"}\n"
                            "{\"prompt\": \"one\", \"completion\": \" golden bread and more of it\"}\n"
                            "{\"prompt\": \"what of two\", \"completion\": \" a river\"}\n"
                            "{\"prompt\": \"\", \"completion\": \"bread\"}\n"
                            "{\"prompt\": \"and three or four?\", \"completion\": \" stone\"}\n";

static tv_child_result evaluate(const char *model, const char *data, const char *more, const char *value) {
    return tv_child_run((const char *const[]){TRIVIUM_COMMAND, "eval", "--model", model, "--data", data,
                                              "--json", "--quiet", more, value, NULL});
}

static void it_is_the_loss_that_sft_validates(void **state) {
    (void)state;
    tv_test_need_device();
    tv_log_set_level(TV_LOG_ERROR);
    tv_planted place = tv_planted_create(TV_ARCH_LLAMA);
    char *data = tv_format("%s/held-out.jsonl", place.dir), *run_dir = tv_format("%s/run", place.dir),
         *logprobs = tv_format("%s/logprobs", place.dir), *written = NULL;
    assert_ok(tv_write_file(data, lines, sizeof lines - 1));
    tv_child_result sft = tv_child_run((const char *const[]){
        TRIVIUM_COMMAND, "sft", "--model", place.base, "--data", data, "--val", data, "--out", run_dir,
        "--quiet", "--set", "train.lr=0", "--set", "train.steps=1", "--set", "train.eval_every=1", NULL});
    if (sft.exit_code != 0)
        fail_msg("%s", sft.err);
    double expected = tv_expect_metric(run_dir, 1, "val_loss");
    assert_true(expected > 1);
    static const char *const batches[] = {"1", "2", "5"};
    for (int i = 0; i < 3; i++) {
        tv_child_result run = evaluate(place.base, data, "--batch-size", batches[i]);
        if (run.exit_code != 0)
            fail_msg("%s", run.err);
        cJSON *result = tv_result_of(&run);
        assert_near(tv_result_number(result, "loss"), expected, 3e-6 * expected);
        cJSON_Delete(result);
        tv_child_result_free(&run);
    }
    tv_child_result run = evaluate(place.base, data, "--logprobs", logprobs);
    cJSON *result = tv_result_of(&run);
    assert_ok(tv_read_file(logprobs, &written, NULL));
    double sum = 0, tokens = 0;
    for (char *line = written; *line; line = strchr(line, '\n') + 1, tokens++)
        sum -= strtod(line, NULL);
    assert_near(tokens, tv_result_number(result, "tokens"), 0);
    assert_near(sum / tokens, expected, 3e-6 * expected);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    run = evaluate(place.base, data, "--stride", "4");
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "expected no --seq-len and no --stride for prompts with completions"));
    tv_child_result_free(&run);
    tv_child_result_free(&sft);
    free(written);
    free(logprobs);
    free(run_dir);
    free(data);
    tv_planted_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_loss_that_sft_validates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
