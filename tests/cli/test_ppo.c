/* trivium ppo as a person runs it: gate 6 of the stages, resuming after every kind of stop, reward programs
 * that fail, and a sentence for every mistake.
 *
 * Tried on 2026-11-26, each fails: no warning of a negative KL; prompts, or the value model's count of
 * updates, from the beginning after a resume; batches of the pretraining mix from the beginning; nothing
 * saved where a program fails; Ctrl-C during the wait for a program taken for the end; negative KLs counted
 * from 0 after a resume; no trial of what a checkpoint would hold; a NaN score clipped to the best.
 */
#include "support/support.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/os.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/small_run.h"
#include "support/stage_run.h"
#include "text/buffers.h"

enum { SHARED = 27, MORE = 24 };

typedef struct fixture {
    tv_answering hasty;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tv_test_need_device();
    tv_log_set_level(TV_LOG_WARNING);
    f->hasty = tv_answering_create(TV_ARCH_GPT2, 40);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tv_answering_destroy(&f->hasty);
    free(f);
    return 0;
}

/* trivium ppo with twelve short responses an iteration; further arguments end with NULL. */
static void make_argv(const fixture *f, const char *out, const char *const *more,
                      const char *argv[SHARED + MORE]) {
    const char *const shared[] = {TRIVIUM_COMMAND,
                                  "ppo",
                                  "--out",
                                  out,
                                  "--quiet",
                                  "--model",
                                  f->hasty.model,
                                  "--prompts",
                                  f->hasty.prompts,
                                  "--set",
                                  "ppo.prompts=12",
                                  "--set",
                                  "ppo.minibatch=6",
                                  "--set",
                                  "ppo.max_new_tokens=6",
                                  "--set",
                                  "ppo.temperature=1",
                                  "--set",
                                  "ppo.epochs=2",
                                  "--set",
                                  "train.lr=3e-3",
                                  "--set",
                                  "train.warmup_steps=0",
                                  "--set",
                                  "train.batch_size=3"};
    size_t count = TV_COUNT(shared);
    memcpy(argv, shared, sizeof shared);
    for (size_t i = 0; more[i]; i++) {
        assert_true(count + 1 < SHARED + MORE);
        argv[count++] = more[i];
    }
    argv[count] = NULL;
}

static tv_child_result train(const fixture *f, const char *out, const char *const *more) {
    const char *argv[SHARED + MORE];
    make_argv(f, out, more, argv);
    return tv_child_run(argv);
}

/* ---- gate 6 ---- */

/* The reference is the policy at another temperature, surer of its words. Drawn from the policy, a mean KL is
 * above 0; cut to the likeliest tokens, of which the reference says more, it is below 0 every time. */
static void gate_6_a_negative_kl_is_said(void **state) {
    const fixture *f = *state;
    char *reference = tv_answering_sharpened(&f->hasty, 1.5F);
    for (int cut = 0; cut < 2; cut++) {
        char *out = tv_answering_path(&f->hasty, cut ? "gate6-cut" : "gate6");
        tv_child_result run = train(f, out,
                                    TV_TEXTS("--ref", reference, "--reward-cmd", f->hasty.reward, "--set",
                                             "ppo.iterations=6", "--set", "train.lr=0", "--set",
                                             "ppo.epochs=1", "--set", cut ? "ppo.top_k=1" : "ppo.top_k=0"));
        tv_expect_exit(&run, 0);
        for (uint64_t i = 1; i <= 6; i++) {
            double kl = tv_expect_metric(out, i, "objective/kl");
            if (cut ? !(kl < -0.1) : !(kl > 0.1))
                fail_msg("%s, iteration %" PRIu64 ": KL %g", cut ? "cut" : "honest", i, kl);
        }
        bool said = strstr(run.err, "the mean KL was negative in the last 5 iterations") &&
                    strstr(run.err, "the last 6 iterations");
        if (said != (cut == 1) || (!cut && run.err[0]))
            fail_msg("%s: \"%s\"", cut ? "cut" : "honest", run.err);
        tv_child_result_free(&run);
        free(out);
    }
    free(reference);
}

/* Five in a row are five also when the run stopped after the third. */
static void negative_kls_are_counted_across_a_stop(void **state) {
    const fixture *f = *state;
    char *reference = tv_answering_sharpened(&f->hasty, 1.5F),
         *out = tv_answering_path(&f->hasty, "gate6-parts");
    tv_child_result run = train(f, out,
                                TV_TEXTS("--ref", reference, "--reward-cmd", f->hasty.reward, "--set",
                                         "ppo.iterations=5", "--set", "train.lr=0", "--set", "ppo.epochs=1",
                                         "--set", "ppo.top_k=1", "--stop-after", "3"));
    tv_expect_exit(&run, 0);
    assert_null(strstr(run.err, "KL was negative"));
    tv_child_result_free(&run);
    run = tv_run_trivium("ppo", "--out", out, "--quiet", "--resume", "--reward-cmd", f->hasty.reward);
    tv_expect_exit(&run, 0);
    if (!strstr(run.err, "the mean KL was negative in the last 5 iterations"))
        fail_msg("\"%s\"", run.err);
    tv_child_result_free(&run);
    free(out);
    free(reference);
}

/* ---- resuming ---- */

static void expect_same_ppo(const char *a, const char *b) {
    tv_expect_same_run(a, b);
    tv_expect_same_file(a, b, "checkpoints/last/ppo_state.json");
    tv_expect_same_file(a, b, "checkpoints/last/value/model.safetensors");
    tv_expect_same_file(a, b, "checkpoints/last/value/training_state/optimizer.safetensors");
    tv_expect_no_litter(b);
    tv_expect_metrics_in_order(b, false);
}

/* Waits until the file is there and larger than `size`. */
static void wait_for_file(const char *path, uint64_t size, const tv_child *child) {
    uint64_t found = 0;
    while (tv_child_runs(child) &&
           (!tv_path_exists(path) || tv_file_size(path, &found) != TV_OK || found <= size))
        tv_sleep(1e-3);
    if (!tv_child_runs(child))
        fail_msg("the run ended before %s", path);
}

/* Everything that a checkpoint has to know: the controller, two models, the place in the pretraining mix. */
static const char *const resume_sets[] = {"--set", "ppo.iterations=7", "--set", "ppo.kl_controller=adaptive",
                                          "--set", "ppo.kl_target=4",  "--set", "ppo.kl_horizon=60",
                                          "--set", "ppo.ptx_coef=0.5"};

/* Token shards of a text; the caller frees the setting that names them. */
static char *make_mix(const fixture *f) {
    char *policy = tv_format("%s/checkpoints/last", f->hasty.model),
         *out = tv_answering_path(&f->hasty, "mix");
    tv_trivium_exits(0, "data", "pack", "--tokenizer", policy, "--input",
                     TRIVIUM_SOURCE_DIR "/tests/text/data/excerpt.txt", "--out", out);
    char *setting = tv_format("data.ptx=[\"%s.bin\"]", out);
    free(out);
    free(policy);
    return setting;
}

/* Stopped by --stop-after; by Ctrl-C while a program is waited for, in the middle of the third iteration; and
 * by Ctrl-C at any moment of an iteration: what comes out are the bits of a run that went through. */
static void stopped_runs_go_on_with_the_same_bits(void **state) {
    const fixture *f = *state;
    char *whole = tv_answering_path(&f->hasty, "whole"), *parts = tv_answering_path(&f->hasty, "parts");
    char *slow = tv_answering_path(&f->hasty, "slow"), *waiting = tv_answering_path(&f->hasty, "waiting");
    char *metrics = tv_format("%s/metrics.jsonl", parts);
    /* Scores that look random and depend on the response alone; a pause at line 30. */
    char *program =
        tv_format("n=0; while IFS= read -r line; do n=$((n+1)); if [ $n = 30 ] && [ -e %s ]; then "
                  "touch %s; echo >>%s; sleep 20; fi; echo $((${#line} * 37 %% 11))e-1; done",
                  slow, waiting, waiting);
    enum { SETS = TV_COUNT(resume_sets) };
    char *mix = make_mix(f);
    const char *more[SETS + 7] = {0};
    memcpy(more, resume_sets, sizeof resume_sets);
    more[SETS] = "--set";
    more[SETS + 1] = mix;
    more[SETS + 2] = "--reward-cmd";
    more[SETS + 3] = program;
    tv_child_result run = train(f, whole, more);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);

    more[SETS + 4] = "--stop-after";
    more[SETS + 5] = "1";
    run = train(f, parts, more);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_int_equal(tv_expect_whole_checkpoints(parts), 1);

    char *command = tv_format("trivium ppo --out %s --resume", parts);
    tv_write_text(slow, "");
    tv_child child = tv_start_trivium("ppo", "--out", parts, "--quiet", "--resume", "--reward-cmd", program);
    wait_for_file(waiting, 0, &child);
    kill(child.pid, SIGINT);
    run = tv_child_wait(&child);
    tv_expect_sentence(&run, 130, command, "Ctrl-C in the middle of an iteration");
    tv_child_result_free(&run);
    assert_int_equal(tv_expect_whole_checkpoints(parts), 3);
    assert_ok(tv_remove_tree(slow));

    uint64_t size = 0;
    assert_ok(tv_file_size(metrics, &size));
    child = tv_start_trivium("ppo", "--out", parts, "--quiet", "--resume", "--reward-cmd", program);
    wait_for_file(metrics, size, &child);
    kill(child.pid, SIGINT);
    run = tv_child_wait(&child);
    if (run.exit_code != 0) /* it may have been through already */
        tv_expect_sentence(&run, 130, command, "Ctrl-C");
    tv_child_result_free(&run);
    assert_in_range(tv_expect_whole_checkpoints(parts), 3, 7);

    tv_trivium_exits(0, "ppo", "--out", parts, "--quiet", "--resume", "--reward-cmd", program);
    expect_same_ppo(whole, parts);
    tv_free_all(command, mix, program, metrics, waiting, slow, parts, whole);
}

/* ---- reward programs ---- */

/* What a program does wrong, and what must be said; `finished` iterations of two are saved. */
static void programs_that_fail_lose_nothing(void **state) {
    const fixture *f = *state;
    static const struct {
        const char *program, *words;
        uint64_t finished;
    } cases[] = {
        {"exit 3", "ended with exit code 3", 0},
        {"no-such-program-here", "ended with exit code 127", 0},
        {"read -r line; echo 1; read -r line; echo good", "answered \"good\"", 0},
        {"while read -r line; do echo nan; done", "expected one finite number", 0},
        {"while read -r line; do echo 1e999; done", "expected one finite number", 0},
        {"while read -r line; do echo 1 2; done", "answered \"1 2\"", 0},
        {"while read -r line; do echo; done", "expected one finite number", 0},
        {"n=0; while [ $n -lt 17 ] && read -r line; do n=$((n + 1)); echo $n; done; exit 5",
         "ended with exit code 5", 1},
        {"n=0; while read -r line; do n=$((n + 1)); [ $n -lt 20 ] && echo $n || echo well; done",
         "answered \"well\"", 1},
    };
    static const char good[] = "n=0; while read -r line; do n=$((n + 1)); echo $n; done";
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *out = tv_format("%s/program-%zu", f->hasty.planted.dir, i);
        tv_child_result run =
            train(f, out, TV_TEXTS("--reward-cmd", cases[i].program, "--set", "ppo.iterations=2"));
        if (run.exit_code != 2 || !strstr(run.err, cases[i].words) || !strstr(run.err, "--reward-cmd"))
            fail_msg("%s: exit code %d, \"%s\"", cases[i].program, run.exit_code, run.err);
        if (cases[i].finished && !strstr(run.err, "1 iterations are saved"))
            fail_msg("%s: \"%s\"", cases[i].program, run.err);
        tv_child_result_free(&run);
        assert_int_equal(tv_expect_whole_checkpoints(out), cases[i].finished);
        if (cases[i].finished) {
            tv_trivium_exits(0, "ppo", "--out", out, "--quiet", "--resume", "--reward-cmd", good);
            assert_int_equal(tv_expect_whole_checkpoints(out), 2);
            tv_expect_metrics_in_order(out, false);
        }
        free(out);
    }
}

/* A score for another response is no score: a line too many ends the run, in whichever iteration it shows. */
static void scores_that_shift_are_found(void **state) {
    const fixture *f = *state;
    static const char *const programs[] = {
        "echo 0.5; while read -r line; do echo 1; done",
        "n=0; while read -r line; do n=$((n + 1)); echo 1; [ $n = 5 ] && echo 2; done",
        "n=0; while read -r line; do n=$((n + 1)); echo 1; [ $n = 24 ] && echo 2; done",
        "n=0; while read -r line; do n=$((n + 1)); echo 1; done; echo bye",
    };
    for (size_t i = 0; i < TV_COUNT(programs); i++) {
        char *out = tv_format("%s/shift-%zu", f->hasty.planted.dir, i);
        tv_child_result run =
            train(f, out, TV_TEXTS("--reward-cmd", programs[i], "--set", "ppo.iterations=2"));
        if (run.exit_code != 2 || !strstr(run.err, "--reward-cmd") ||
            !strstr(run.err, "expected one line for each question"))
            fail_msg("%s: exit code %d, \"%s\"", programs[i], run.exit_code, run.err);
        tv_child_result_free(&run);
        free(out);
    }
}

/* The same scores, two questions at a time and the later one first. */
static void scores_with_ids_come_in_any_order(void **state) {
    const fixture *f = *state;
    static const char in_order[] =
        "while IFS= read -r line; do l=${line#*,}; echo $((${#l} * 37 % 11))e-1; done";
    static const char turned[] =
        "n=0; held=; while IFS= read -r line; do n=$((n + 1)); l=${line#*,}; id=${line%%,*}; id=${id#*:}; "
        "a=\"{\\\"id\\\":$id,\\\"score\\\":$((${#l} * 37 % 11))e-1}\"; "
        "if [ $((n % 12)) = 1 ]; then echo \"$a\"; elif [ -z \"$held\" ] && [ $((n % 12)) != 0 ]; then "
        "held=$a; "
        "else echo \"$a\"; [ -n \"$held\" ] && echo \"$held\"; held=; fi; done";
    const char *const programs[] = {in_order, turned};
    char *outs[2];
    for (int i = 0; i < 2; i++) {
        outs[i] = tv_format("%s/ids-%d", f->hasty.planted.dir, i);
        tv_child_result run =
            train(f, outs[i], TV_TEXTS("--reward-cmd", programs[i], "--set", "ppo.iterations=2"));
        if (run.exit_code != 0)
            fail_msg("%s: exit code %d, \"%s\"", programs[i], run.exit_code, run.err);
        tv_child_result_free(&run);
    }
    for (uint64_t step = 1; step <= 2; step++)
        assert_near(tv_expect_metric(outs[0], step, "objective/score"),
                    tv_expect_metric(outs[1], step, "objective/score"), 0);
    tv_expect_same_file(outs[0], outs[1], "checkpoints/last/model.safetensors");
    free(outs[0]);
    free(outs[1]);
}

/* ---- policies that are beyond use ---- */

static char *report_of(const char *run) {
    char *page = tv_format("%s-report.html", run), *text = NULL;
    tv_trivium_exits(0, "report", run, "--out", page);
    assert_ok(tv_read_file(page, &text, NULL));
    free(page);
    return text;
}

static void expect_words(const char *text, const char *words) {
    if (!strstr(text, words))
        fail_msg("expected \"%s\", found \"%.2000s\"", words, text);
}

/* The policy always says its likeliest words, which its reference thinks little of; and one that is only far
 * away. The line, the end and the report say so; a sound one is not spoken of. */
static void a_collapsed_policy_is_said(void **state) {
    const fixture *f = *state;
    static const struct {
        float factor;
        const char *target, *words;
    } cases[] = {{1e4F, "ppo.kl_target=6", "collapsed: entropy "},
                 {4, "ppo.kl_target=0.1", "far from its reference: KL "},
                 {1.01F, "ppo.kl_target=6", NULL}};
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *out = tv_format("%s/collapsed-%zu", f->hasty.planted.dir, i);
        char *policy = tv_answering_sharpened(&f->hasty, cases[i].factor);
        tv_child_result run =
            tv_run_trivium("ppo", "--model", policy, "--ref", f->hasty.model, "--reward-cmd", f->hasty.reward,
                           "--prompts", f->hasty.prompts, "--out", out, "--set", "ppo.iterations=3", "--set",
                           "ppo.prompts=12", "--set", "ppo.max_new_tokens=6", "--set", "ppo.temperature=1",
                           "--set", "train.lr=0", "--set", "train.batch_size=3", "--set", cases[i].target);
        tv_expect_exit(&run, 0);
        char *page = report_of(out);
        if (cases[i].words) {
            char *line = tv_format("  ! %s", cases[i].words),
                 *start = tv_format("iteration 1: the policy is %s", cases[i].words),
                 *end = tv_format("since iteration 1 the policy is %s", cases[i].words);
            expect_words(run.err, line);
            expect_words(run.err, start);
            expect_words(run.err, end);
            expect_words(page, "warns at 3 steps, the last time at step 3");
            expect_words(page, cases[i].words);
            tv_free_all(end, start, line);
        } else {
            assert_null(strstr(run.err, "the policy is"));
            assert_null(strstr(page, "warns at"));
        }
        tv_child_result_free(&run);
        free(page);
        free(policy);
        assert_ok(tv_remove_tree(out));
        free(out);
    }
}

/* Prompts of the first iteration are short; those of the second reach positions where the forward pass
 * overflows: the run ends there, with what the first one saved. */
static void a_policy_without_numbers_ends_the_run(void **state) {
    const fixture *f = *state;
    static const char word[] = "{\"prompt\": \"Of ba.\"}\n",
                      words[] =
                          "{\"prompt\": \"Tell me of ba and koko and mibami and nu and pera and ramiko and "
                          "so and tutu and ba and koko and mibami and nu.\"}\n";
    char *out = tv_answering_path(&f->hasty, "nan"), *file = tv_answering_path(&f->hasty, "two.jsonl");
    char *policy = tv_answering_overflowing(&f->hasty, 20);
    tv_text prompts = {0};
    for (int i = 0; i < 12; i++)
        assert_ok(tv_text_append(&prompts, word, sizeof word - 1));
    for (int i = 0; i < 12; i++)
        assert_ok(tv_text_append(&prompts, words, sizeof words - 1));
    assert_ok(tv_write_file(file, prompts.data, prompts.size));
    tv_text_free(&prompts);
    for (int saved = 1; saved >= 0; saved--) {
        tv_child_result run = tv_run_trivium(
            "ppo", "--model", policy, "--ref", f->hasty.model, "--reward-cmd", f->hasty.reward, "--prompts",
            file, "--out", out, "--set", "ppo.iterations=3", "--set", "ppo.prompts=12", "--set",
            "ppo.max_new_tokens=6", "--set", "train.lr=0", "--set", "train.batch_size=3", "--set",
            "data.shuffle=false", "--set", saved ? "train.checkpoint_every=1" : "train.checkpoint_every=0");
        tv_expect_exit(&run, 1);
        expect_words(run.err, "iteration 2: ");
        expect_words(run.err, "not finite");
        expect_words(run.err, saved ? "checkpoints/step-1 is the last checkpoint whose numbers are finite"
                                    : "no checkpoint stands before it");
        expect_words(run.err, "step 2/3  reward +nan");
        tv_child_result_free(&run);
        assert_int_equal(tv_expect_whole_checkpoints(out), saved);
        char *page = report_of(out);
        expect_words(page, "warns at 1 step, the last time at step 2: ");
        expect_words(page, "not finite");
        free(page);
        assert_ok(tv_remove_tree(out));
    }
    tv_free_all(policy, file, out);
}

/* Logits of 1e35 are floats; one update multiplies them by a million. What it leaves is not saved. */
static void a_ruined_policy_is_not_saved(void **state) {
    const fixture *f = *state;
    char *out = tv_answering_path(&f->hasty, "ruined"), *policy = tv_answering_sharpened(&f->hasty, 1e34F);
    tv_child_result run =
        train(f, out,
              TV_TEXTS("--model", policy, "--ref", f->hasty.model, "--reward-cmd", f->hasty.reward, "--set",
                       "ppo.iterations=1", "--set", "ppo.minibatch=12", "--set", "ppo.epochs=1", "--set",
                       "train.lr=1000", "--set", "train.weight_decay=1000"));
    tv_expect_exit(&run, 1);
    expect_words(run.err, "not finite");
    expect_words(run.err, "nothing is saved");
    tv_child_result_free(&run);
    assert_int_equal(tv_expect_whole_checkpoints(out), 0);
    free(policy);
    free(out);
}

/* The limit of scores would make the best answer of one that has no score. */
static void a_reward_model_without_numbers_is_said(void **state) {
    const fixture *f = *state;
    char *out = tv_answering_path(&f->hasty, "no-score"),
         *reward = tv_planted_reward(&f->hasty.planted, "scoreless", 1);
    char *scale = tv_format("%s/reward.json", reward);
    tv_write_text(scale, "{\"mean\": 0.1, \"deviation\": 1e-320, \"samples\": 9}");
    tv_child_result run = train(f, out, TV_TEXTS("--reward", reward, "--set", "ppo.iterations=1"));
    tv_expect_exit(&run, 2);
    expect_words(run.err, "expected a finite number");
    expect_words(run.err, reward);
    tv_child_result_free(&run);
    tv_free_all(scale, reward, out);
}

/* ---- mistakes ---- */

static void mistakes_are_said(void **state) {
    const fixture *f = *state;
    char *out = tv_answering_path(&f->hasty, "mistake"), *reward = f->hasty.reward;
    char *bad = tv_answering_path(&f->hasty, "bad.jsonl");
    char *far = tv_answering_path(&f->hasty, "long.jsonl"),
         *model = tv_planted_reward(&f->hasty.planted, "r", 1);
    tv_write_text(bad, "{\"prompt\": \"a\"}\n{\"promt\": \"b\"}\n");
    char *text_path = tv_answering_path(&f->hasty, "text.txt");
    tv_write_text(text_path, "Tell me of gold and old golden goldsmiths, told of gold.");
    char *text = tv_format("{\"prompt\": \"a\"}\n{\"prompt\": \"%0*d\"}\n", 125, 7);
    tv_write_text(far, text);
    /* Another tokenizer, in a reward model and, as a reference, in a language model of another vocabulary. */
    tv_child_result run =
        tv_run_trivium("tokenizer", "train", "--input", text_path, "--vocab-size", "265", "--out", model);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    const struct {
        const char *argv[8], *words;
    } cases[] = {
        {{"--set", "ppo.iterations=1"}, "found none"},
        {{"--reward-cmd", reward, "--reward-weights", "1,2"}, "one for each of the 1 rewards"},
        {{"--reward-cmd", reward, "--reward-weights", "1,much"}, "--reward-weights: expected numbers"},
        {{"--reward-cmd", reward, "--reward-names", "a/b"}, "rewards.names: expected names"},
        {{"--reward-cmd", reward, "--reward-weights", "nan"}, "--reward-weights: expected numbers"},
        {{"--reward-cmd", reward, "--reward-weights", "1,"}, "commas between them, found \"\""},
        {{"--reward-cmd", reward, "--reward-names", ""}, "--reward-names: expected names"},
        {{"--reward-cmd", reward, "--reward-names", "a\"]b,c"}, "one for each of the 1 rewards"},
        {{"--check", "lenght:1:2", "--prompts", "no/such/file"}, "--check: expected a check: number"},
        {{"--reward", "no/such/model"}, "no/such/model"},
        {{"--reward", f->hasty.model}, "expected a reward model"},
        {{"--reward-cmd", reward, "--ref", "no/such/model"}, "no/such/model"},
        {{"--reward-cmd", reward, "--ref", model}, "expected a language model"},
        {{"--reward-cmd", reward, "--ref", "tests/golden/gpt2_100k"}, "vocabulary"},
        {{"--reward", model}, "ppo.value_init=policy"},
        {{"--reward-cmd", reward, "--prompts", bad}, "bad.jsonl line 2"},
        {{"--reward-cmd", reward, "--prompts", "no/such/file"}, "no/such/file"},
        {{"--reward-cmd", reward, "--prompts", far}, "long.jsonl line 2"},
        {{"--reward-cmd", reward, "--set", "ppo.max_new_tokens=128"}, "ppo.max_new_tokens"},
        {{"--reward-cmd", reward, "--set", "ppo.temperature=0"}, "ppo.temperature"},
        {{"--reward-cmd", reward, "--set", "ppo.top_p=0"}, "ppo.top_p"},
        {{"--reward-cmd", reward, "--set", "ppo.kl_estimator=k4"}, "k1|k2|k3"},
        {{"--reward-cmd", reward, "--set", "ppo.ptx_coef=1"}, "data.ptx"},
        {{"--reward-cmd", reward, "--set", "ppo.kl_controller=adaptive", "--set", "ppo.kl_horizon=4.7"},
         "expected at least 4.8"},
        {{"--reward-cmd", reward, "--set", "ppo.kl_controller=adaptive", "--set", "ppo.kl_horizon=1"},
         "ppo.kl_horizon"},
        {{"--reward-cmd", reward, "--set", "lora.rank=-1"}, "lora.rank"},
        {{"--reward-cmd", reward, "--set", "ppo.kl_coeff=1"}, "kl_coef"},
        {{"--reward-cmd", reward, "--model", "no/such/model"}, "no/such/model"},
        {{"--reward-cmd", reward, "--model", model}, "expected a language model"},
        {{"--reward-cmd", reward, "--resume"}, "start without --resume"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        run = train(f, out, cases[i].argv);
        if (run.exit_code != 2 || !strstr(run.err, cases[i].words))
            fail_msg("case %zu: exit code %d, expected 2 and \"%s\": \"%s\"", i, run.exit_code,
                     cases[i].words, run.err);
        tv_child_result_free(&run);
        assert_false(tv_path_exists(out));
    }
    run = tv_run_trivium("ppo", "--help");
    tv_expect_exit(&run, 0);
    static const char *const options[] = {"--reward ", "--reward-cmd", "--ref", "--prompts", "--resume"};
    for (size_t i = 0; i < TV_COUNT(options); i++)
        assert_non_null(strstr(run.out, options[i]));
    tv_child_result_free(&run);
    tv_free_all(text, text_path, model, far, bad, out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gate_6_a_negative_kl_is_said),
        cmocka_unit_test(negative_kls_are_counted_across_a_stop),
        cmocka_unit_test(stopped_runs_go_on_with_the_same_bits),
        cmocka_unit_test(programs_that_fail_lose_nothing),
        cmocka_unit_test(scores_that_shift_are_found),
        cmocka_unit_test(scores_with_ids_come_in_any_order),
        cmocka_unit_test(a_collapsed_policy_is_said),
        cmocka_unit_test(a_policy_without_numbers_ends_the_run),
        cmocka_unit_test(a_ruined_policy_is_not_saved),
        cmocka_unit_test(a_reward_model_without_numbers_is_said),
        cmocka_unit_test(mistakes_are_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
