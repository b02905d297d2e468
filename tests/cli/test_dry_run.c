/* --dry-run of the commands that train: the steps and tokens that it names are those that the run then takes.
 *
 * Tried on 2026-11-28, each fails: passes of the settings instead of those that the steps make; examples
 * counted with their last token; padding of the widest micro-batch for all.
 */
#include "support/support.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/small_run.h"

enum { ARGUMENTS = 32 };

static int set_up(void **state) {
    tv_answering *place = calloc(1, sizeof *place);
    assert_non_null(place);
    tv_test_need_device();
    tv_log_set_level(TV_LOG_WARNING);
    *place = tv_answering_create(TV_ARCH_LLAMA, 8);
    *state = place;
    return 0;
}

static int tear_down(void **state) {
    tv_answering *place = *state;
    tv_answering_destroy(place);
    free(place);
    return 0;
}

/* A command line, ended by NULL, and one more argument. */
static tv_child_result run_with(const char *const *argv, const char *more) {
    const char *all[ARGUMENTS];
    int count = 0;
    for (; argv[count]; count++)
        all[count] = argv[count];
    all[count++] = more;
    all[count] = NULL;
    return tv_child_run(all);
}

/* The number behind `before` on the plan's line that begins with `line`. */
static double planned(const char *plan, const char *line, const char *before) {
    const char *at = strstr(plan, line), *number = at ? strstr(at, before) : NULL;
    const char *end = at ? strchr(at, '\n') : NULL;
    if (!number || number > end)
        fail_msg("no \"%s\" on a line \"%s\" of: %s", before, line, plan);
    return strtod(number + strlen(before), NULL);
}

static double result(const char *json, const char *key) {
    const char *last = strrchr(json, '{');
    cJSON *root = NULL;
    assert_non_null(last);
    assert_ok(tv_json_parse(last, strlen(last), "result", &root));
    const cJSON *item = tv_json_get(root, key);
    assert_non_null(item);
    double value = item->valuedouble;
    cJSON_Delete(root);
    return value;
}

/* Plans, checks that nothing was written, runs; the caller frees what the plan said. */
static char *expect_as_planned(const char *const *argv, const char *out) {
    tv_child_result plan = run_with(argv, "--dry-run");
    tv_expect_exit(&plan, 0);
    assert_false(tv_path_exists(out));
    assert_non_null(strstr(plan.out, "it fits"));
    tv_child_result done = run_with(argv, "--json");
    tv_expect_exit(&done, 0);
    assert_near(planned(plan.out, "run  ", "     "), result(done.out, "step"), 0);
    assert_near(planned(plan.out, "run  ", "the data, "), result(done.out, "tokens"), 0.5);
    char *said = tv_format("%s", plan.out);
    tv_child_result_free(&plan);
    tv_child_result_free(&done);
    return said;
}

static void pretraining_takes_what_was_planned(void **state) {
    (void)state;
    tv_small_run p = tv_small_run_create("\"steps\": 9, \"batch_size\": 3, \"grad_accum\": 2");
    char *out = tv_small_run_path(&p, "run");
    const char *const argv[] = {TRIVIUM_COMMAND, "pretrain", "--quiet", "--config",
                                p.config,        "--out",    out,       NULL};
    free(expect_as_planned(argv, out));
    free(out);
    tv_small_run_destroy(&p);
}

/* Forty examples, one of them cut and one with nothing left to learn. */
static void fine_tuning_takes_what_was_planned(void **state) {
    const tv_answering *place = *state;
    static const char *const packings[] = {"sft.packing=true", "sft.packing=false"};
    char *data = tv_answering_path(place, "forty.jsonl"), *text = tv_format("%s", "");
    for (int i = 0; i < 40; i++) {
        char *more = tv_format("%s{\"prompt\": \"%s\", \"completion\": \" %s\"}\n", text,
                               i == 7 ? "a prompt that alone is longer than a row may be" : "red",
                               i == 9 ? "an answer that is so much longer than a row may be" : "is a word");
        free(text);
        text = more;
    }
    tv_write_text(data, text);
    for (int i = 0; i < 2; i++) {
        char *out = tv_format("%s/sft-%d", place->planted.dir, i);
        const char *const argv[] = {TRIVIUM_COMMAND,
                                    "sft",
                                    "--quiet",
                                    "--model",
                                    place->planted.base,
                                    "--data",
                                    data,
                                    "--out",
                                    out,
                                    "--set",
                                    "data.seq_len=16",
                                    "--set",
                                    packings[i],
                                    "--set",
                                    "train.epochs=2",
                                    NULL};
        char *plan = expect_as_planned(argv, out);
        assert_near(planned(plan, "data ", "held out; "), 1, 0);
        assert_near(planned(plan, "data ", "cut, "), 1, 0);
        assert_near(planned(plan, "data ", "     "), 39, 0);
        double tokens = planned(plan, "data ", "examples, "), positions = planned(plan, "padding", "% of ");
        if (i == 1)
            assert_near(positions, 39 * 16, 0);
        assert_near(planned(plan, "padding", "    "), 100 * (1 - tokens / positions), 0.05);
        free(plan);
        free(out);
    }
    free(text);
    free(data);
}

/* One pair at a time is padded least. */
static void preferences_take_what_was_planned(void **state) {
    const tv_answering *place = *state;
    char *data = tv_planted_uneven(&place->planted, "uneven.jsonl");
    static const char *const stages[] = {"reward", "dpo"}, *const batches[] = {"1", "8"};
    for (int s = 0; s < 2; s++) {
        double padding[2];
        for (int b = 0; b < 2; b++) {
            char *out = tv_format("%s/%s-%d", place->planted.dir, stages[s], b);
            char *batch = tv_format("train.batch_size=%s", batches[b]);
            const char *const argv[] = {
                TRIVIUM_COMMAND, stages[s], "--quiet",        "--model", place->planted.base,
                "--data",        data,      "--out",          out,       "--set",
                batch,           "--set",   "train.epochs=2", NULL};
            char *plan = expect_as_planned(argv, out);
            padding[b] = planned(plan, "padding", "    ");
            tv_free_all(plan, batch, out);
        }
        if (!(padding[0] >= 0 && padding[0] < padding[1] && padding[1] < 100))
            fail_msg("%s: %.1f %% and %.1f %% of padding", stages[s], padding[0], padding[1]);
    }
    free(data);
}

static void ppo_says_how_often_it_asks(void **state) {
    const tv_answering *place = *state;
    char *out = tv_answering_path(place, "ppo"), *prompts = tv_answering_path(place, "five.jsonl");
    tv_write_text(prompts, "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n{\"prompt\": \"c\"}\n"
                           "{\"prompt\": \"d\"}\n{\"prompt\": \"e\"}\n");
    tv_child_result run = tv_run_trivium(
        "ppo", "--quiet", "--model", place->planted.base, "--reward-cmd", "false", "--prompts", prompts,
        "--out", out, "--dry-run", "--set", "ppo.iterations=10", "--set", "ppo.prompts=12", "--set",
        "ppo.minibatch=5", "--set", "ppo.epochs=2", "--set", "ppo.max_new_tokens=9");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "5 prompts of up to 1 tokens; 0 held out"));
    assert_non_null(
        strstr(run.out, "10 iterations of 12 answers of up to 9 tokens; each prompt is answered 24 times"));
    assert_non_null(strstr(run.out, "6 an iteration: 2 times through its answers, 5 at a time"));
    assert_false(tv_path_exists(out));
    tv_child_result_free(&run);
    free(prompts);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pretraining_takes_what_was_planned),
        cmocka_unit_test(fine_tuning_takes_what_was_planned),
        cmocka_unit_test(preferences_take_what_was_planned),
        cmocka_unit_test(ppo_says_how_often_it_asks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
