/* What each stage's progress line shows, as plain lines: the numbers by which a person sees whether it
 * learns.
 *
 * Seen to fail: with the line that said "loss" whatever the stage.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "support/answering.h"
#include "support/small_run.h"

/* The first line on standard error that begins with "step 2/"; the caller frees. */
static char *line_of(const tv_child_result *run) {
    const char *at = strstr(run->err, "\nstep 2/");
    if (!at) {
        fail_msg("no line of step 2:\n%s", run->err);
        return NULL;
    }
    at++;
    return tv_format("%.*s", (int)strcspn(at, "\n"), at);
}

static void expect_words(const tv_child_result *run, const char *const *words, const char *absent) {
    tv_expect_exit(run, 0);
    char *line = line_of(run);
    const char *at = line;
    for (; *words && at; words++) {
        at = strstr(at, *words);
        if (!at)
            fail_msg("\"%s\" is not where it belongs in: %s", *words, line);
    }
    if (absent && line && strstr(line, absent))
        fail_msg("\"%s\" is in: %s", absent, line);
    free(line);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void every_stage_says_what_matters(void **state) {
    (void)state;
    tv_log_set_level(TV_LOG_WARNING);
    tv_answering place = tv_answering_create(TV_ARCH_GPT2, 40);
    char *pairs = tv_planted_preferences(&place.planted, "pairs.jsonl", 0, 40, 2, false);
    char *examples = tv_answering_path(&place, "examples.jsonl"), *out[4];
    const char *names[] = {"out-sft", "out-reward", "out-dpo", "out-ppo"};
    for (int i = 0; i < 4; i++)
        out[i] = tv_answering_path(&place, names[i]);
    tv_write_text(examples, "{\"prompt\":\"golden\",\"completion\":\" silver\"}\n"
                            "{\"prompt\":\"silver\",\"completion\":\" golden\"}\n"
                            "{\"prompt\":\"copper\",\"completion\":\" golden\"}\n");
    tv_child_result run = tv_run_trivium(
        "sft", "--model", place.model, "--data", examples, "--val", examples, "--out", out[0], "--set",
        "train.epochs=2", "--set", "train.batch_size=1", "--set", "train.eval_every=2", "--set",
        "data.seq_len=32", "--set", "sft.packing=false", "--stop-after", "2");
    expect_words(&run, WORDS("loss ", "val ", "tokens/s"), "accuracy");
    tv_child_result_free(&run);
    run = tv_run_trivium("reward", "--model", place.model, "--data", pairs, "--val", pairs, "--out", out[1],
                         "--set", "train.batch_size=4", "--set", "train.eval_every=2", "--set",
                         "data.seq_len=48", "--stop-after", "2");
    expect_words(&run, WORDS("loss ", "accuracy ", " %  val ", "val accuracy ", "tokens/s"), NULL);
    tv_child_result_free(&run);
    run = tv_run_trivium("dpo", "--model", place.model, "--data", pairs, "--val", pairs, "--out", out[2],
                         "--set", "train.batch_size=4", "--set", "train.eval_every=2", "--set",
                         "data.seq_len=48", "--stop-after", "2");
    expect_words(&run, WORDS("loss ", "margin ", "accuracy ", "val ", "tokens/s"), NULL);
    tv_child_result_free(&run);
    run = tv_run_trivium("ppo", "--model", place.model, "--prompts", place.prompts, "--reward-cmd",
                         place.reward, "--out", out[3], "--set", "ppo.prompts=6", "--set", "ppo.minibatch=6",
                         "--set", "ppo.max_new_tokens=6", "--set", "ppo.epochs=1", "--set",
                         "train.batch_size=3", "--set", "train.eval_every=2", "--val", place.prompts,
                         "--stop-after", "2");
    expect_words(&run, WORDS("reward ", "KL ", "length ", "held-out reward ", "tokens/s"), "loss");
    tv_child_result_free(&run);
    for (int i = 0; i < 4; i++)
        free(out[i]);
    free(pairs);
    free(examples);
    tv_answering_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_stage_says_what_matters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
