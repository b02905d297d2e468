/* trivium sft as a person runs it: exact resume, packed and unpacked giving one loss (gate 7 of the stages),
 * a last step that is not full, and a sentence for every mistake. The shapes of data: test_sft_data.c.
 *
 * Tried on 2026-11-26: rows counted from 0 after a resume; no document mask in the trainer of packed rows.
 * Each fails.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/small_run.h"
#include "support/stage_run.h"

enum { ARGUMENTS = 48 };

typedef struct fixture {
    tv_answering place;
    char *data;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tv_test_need_device();
    tv_log_set_level(TV_LOG_WARNING);
    f->place = tv_answering_create(TV_ARCH_LLAMA, 20);
    f->data = tv_answering_path(&f->place, "demonstrations.jsonl");
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tv_answering_destroy(&f->place);
    free(f->data);
    free(f);
    return 0;
}

/* Further arguments end with NULL. */
static tv_child_result tune(const fixture *f, const char *out, const char *const *more) {
    const char *argv[ARGUMENTS] = {TRIVIUM_COMMAND,
                                   "sft",
                                   "--quiet",
                                   "--out",
                                   out,
                                   "--model",
                                   f->place.planted.base,
                                   "--set",
                                   "data.seq_len=40",
                                   "--set",
                                   "train.warmup_steps=2",
                                   "--set",
                                   "train.lr=1e-2",
                                   "--set",
                                   "train.batch_size=3"};
    size_t count = 15;
    for (size_t i = 0; more[i]; i++) {
        assert_true(count + 1 < ARGUMENTS);
        argv[count++] = more[i];
    }
    return tv_child_run(argv);
}

/* 10 steps against 5 and 5, packed and not, with accumulation and validation. */
static void resume_continues_exactly(void **state) {
    const fixture *f = *state;
    static const char *const packings[] = {"sft.packing=true", "sft.packing=false"};
    for (int i = 0; i < 2; i++) {
        char *whole = tv_format("%s/whole%d", f->place.planted.dir, i);
        char *parts = tv_format("%s/parts%d", f->place.planted.dir, i);
        for (int part = 0; part < 2; part++) {
            tv_child_result run =
                tune(f, part ? parts : whole,
                     TV_TEXTS("--data", f->data, "--val", f->data, "--set", packings[i], "--set",
                              "train.steps=10", "--set", "train.grad_accum=2", "--set", "train.eval_every=4",
                              "--set", "train.eval_tokens=200", "--set", "train.checkpoint_every=3",
                              "--stop-after", part ? "5" : "0"));
            tv_expect_exit(&run, 0);
            tv_child_result_free(&run);
        }
        assert_int_equal(tv_expect_whole_checkpoints(parts), 5);
        tv_child_result run = tv_run_trivium("sft", "--out", parts, "--quiet", "--resume");
        tv_expect_exit(&run, 0);
        tv_child_result_free(&run);
        tv_expect_same_run(whole, parts);
        assert_int_equal(tv_expect_metrics_in_order(parts, false), 10);
        free(whole);
        free(parts);
    }
}

/* Twenty demonstrations at a rate of 0: an epoch of one example a row, in steps of 3 x 2 of which the last
 * has two, leaves the loss over all tokens that one packed step leaves. fp32 holds a loss of 6 to 1e-6. */
static void packed_and_unpacked_are_one_loss(void **state) {
    const fixture *f = *state;
    char *data = tv_answering_path(&f->place, "twenty.jsonl"), *text = NULL;
    assert_ok(tv_read_file(f->data, &text, NULL));
    char *end = text;
    for (int i = 0; i < 20; i++)
        end = strchr(end, '\n') + 1;
    *end = '\0';
    tv_write_text(data, text);
    char *packed = tv_answering_path(&f->place, "packed"), *single = tv_answering_path(&f->place, "single");
    tv_child_result run = tune(f, packed,
                               TV_TEXTS("--data", data, "--val", data, "--set", "train.lr=0", "--set",
                                        "train.steps=1", "--set", "train.batch_size=20"));
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    run = tune(f, single,
               TV_TEXTS("--data", data, "--val", data, "--set", "train.lr=0", "--set", "train.epochs=1",
                        "--set", "train.grad_accum=2", "--set", "sft.packing=false"));
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_int_equal(tv_expect_metrics_in_order(single, false), 4);
    double loss = tv_expect_metric(packed, 1, "val_loss");
    assert_near(tv_expect_metric(single, 4, "val_loss"), loss, 3e-6 * loss);
    assert_near(tv_expect_metric(single, 4, "val_mean_token_accuracy"),
                tv_expect_metric(packed, 1, "val_mean_token_accuracy"), 1e-9);
    tv_free_all(single, packed, text, data);
}

static void mistakes_are_said(void **state) {
    const fixture *f = *state;
    char *out = tv_answering_path(&f->place, "mistake");
    char *reward = tv_planted_reward(&f->place.planted, "reward", 1);
    const struct {
        const char *argv[8], *words;
    } cases[] = {
        {{"--set", "train.steps=1"}, "--data"},
        {{"--data", "no/such/file"}, "no/such/file"},
        {{"--data", f->data, "--val", "no/such/file"}, "no/such/file"},
        {{"--data", f->data, "--model", "no/such/model"}, "no/such/model"},
        {{"--data", f->data, "--model", reward}, "expected a language model, found a reward model"},
        {{"--data", f->data, "--set", "data.seq_len=129"}, "positions for 128"},
        {{"--data", f->data, "--set", "data.seq_len=2"}, "demonstrations.jsonl: expected examples"},
        {{"--data", f->data, "--set", "data.seq_len=2"}, "; raise data.seq_len\n"},
        {{"--data", f->data, "--set", "sft.packing=7"}, "sft.packing"},
        {{"--data", f->data, "--set", "sft.pack=true"}, "packing"},
        {{"--data", f->data, "--set", "lora.rank=-1"}, "lora.rank"},
        {{"--data", f->data, "--set", "train.steps=2", "--set", "train.epochs=2"},
         "expected steps or epochs, found both"},
        {{"--data", f->data, "--resume"}, "start without --resume"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_child_result run = tune(f, out, cases[i].argv);
        if (run.exit_code != 2 || !strstr(run.err, cases[i].words))
            fail_msg("case %zu: exit code %d, expected 2 and \"%s\": \"%s\"", i, run.exit_code,
                     cases[i].words, run.err);
        tv_child_result_free(&run);
        assert_false(tv_path_exists(out));
    }
    tv_child_result run = tune(f, out, TV_TEXTS("--data", f->data, "--dry-run"));
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "parameters"));
    assert_false(tv_path_exists(out));
    tv_child_result_free(&run);
    run = tv_run_trivium("sft", "--help");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "--data"));
    assert_non_null(strstr(run.out, "--resume"));
    tv_child_result_free(&run);
    free(reward);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resume_continues_exactly),
        cmocka_unit_test(packed_and_unpacked_are_one_loss),
        cmocka_unit_test(mistakes_are_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
