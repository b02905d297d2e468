/* trivium ppo and grpo stopped in every part of an iteration, by a signal, and by a reward program that dies:
 * what comes out in the end are the bits of a run that went through. No stop is a matter of time: the program
 * sends the signal itself and does not answer, or a look for interrupts is told to find one.
 *
 * Tried on 2026-11-29, each fails: an iteration counted before its held-out prompts are measured; one whose
 * program died there saved as the step before; the epoch, the place in it, or that there is no further update
 * lost; the sums of the line lost; held-out scores among those of the line, held-out answers in the rollout's
 * place; the KL's controller moved before the measurement, its limit without the epoch's beginning; old
 * log-probabilities made anew; old values, the value model's state or the place in the pretraining mix lost;
 * further answers of dynamic sampling counted before the iteration is.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/small_run.h"
#include "support/stage_run.h"

static tv_answering place;

static int set_up(void **state) {
    (void)state;
    tv_test_need_device();
    tv_log_set_level(TV_LOG_WARNING);
    place = tv_answering_create(TV_ARCH_GPT2, 40);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tv_answering_destroy(&place);
    return 0;
}

typedef enum part_end { SIGNAL, DEATH, LOOK, THROUGH } part_end;

/* One process of a run, how it ends and what it leaves. */
typedef struct part {
    part_end end;
    int at;            /* SIGNAL, DEATH: question of this process to the program; LOOK: number of the look */
    const char *words; /* of the sentence */
    uint64_t whole;    /* step of the newest whole checkpoint; 0: none */
    int updates;       /* that the checkpoint within an iteration has behind it; NONE: there is none; SOME */
} part;

enum { MOST_ARGUMENTS = 64, MOST_PARTS = 16, NONE = -1, SOME = -2 };

typedef struct stage {
    const char *name, *state;
    bool value; /* there is a value model */
    const char *sets[20];
    part parts[MOST_PARTS]; /* up to the one that goes through */
} stage;

/* Held-out prompts are measured before and behind the two iterations: 32 questions. The first look is that of
 * the beginning, then comes one before each held-out rollout and each update. */
static const stage grpo = {
    .name = "grpo",
    .state = "grpo_state.json",
    /* 16 answers, up to 4 updates an epoch. */
    .sets = {"grpo.iterations=2", "grpo.prompts=4", "grpo.answers=4", "grpo.minibatch=4", "grpo.epochs=6",
             "grpo.max_new_tokens=6", "grpo.kl_coef=0.02", "grpo.mask_truncated=true",
             "grpo.dynamic_sampling=1", "train.lr=3e-3", "train.eval_every=1"},
    .parts = {
        {SIGNAL, 5, "before the first step", 0, NONE},      /* in the baseline */
        {SIGNAL, 32 + 7, "before the first step", 0, NONE}, /* in the scores of the first drawing */
        {LOOK, 1 + 2 + 6, "interrupted in step 1 of 2", 0, 5},
        {LOOK, 1, "interrupted in step 1 of 2", 0, 5}, /* before anything is done */
        {LOOK, 2, "interrupted in step 1 of 2", 0, 5},
        {SIGNAL, 20, "interrupted in step 1 of 2", 0, SOME},          /* in the measurement */
        {LOOK, 3, "interrupted in step 1 of 2", 0, SOME},             /* between its rollouts */
        {DEATH, 9, "the updates of the next one are saved", 0, SOME}, /* in it */
        {SIGNAL, 32 + 3, "interrupted after step 1 of 2", 1, NONE}, /* in the scores of the second drawing */
        {DEATH, 4, "ended with exit code 3", 1, NONE},              /* in them */
        {LOOK, 1 + 3, "interrupted in step 2 of 2", 1, 2},
        {SIGNAL, 9, "interrupted in step 2 of 2", 1, SOME},
        {THROUGH, 0, NULL, 2, NONE},
    }};

/* 12 answers, 2 updates an epoch, and held-out prompts in three rollouts: 36 questions. The KL ends the
 * updates behind the third epoch or nearby. */
static const stage ppo = {.name = "ppo",
                          .state = "ppo_state.json",
                          .value = true,
                          .sets = {"ppo.iterations=2", "ppo.prompts=12", "ppo.minibatch=6", "ppo.epochs=4",
                                   "ppo.max_new_tokens=6", "ppo.temperature=1", "ppo.kl_controller=adaptive",
                                   "ppo.kl_target=4", "ppo.kl_horizon=60", "ppo.ptx_coef=0.5",
                                   "ppo.early_stop_kl=0.015", "train.lr=3e-4", "train.eval_every=1"},
                          .parts = {
                              {SIGNAL, 5, "before the first step", 0, NONE},
                              {SIGNAL, 36 + 7, "before the first step", 0, NONE},
                              {LOOK, 1 + 3 + 6, "interrupted in step 1 of 2", 0, 5},
                              {LOOK, 1, "interrupted in step 1 of 2", 0, 5},
                              {LOOK, 2, "interrupted in step 1 of 2", 0, 5},
                              {SIGNAL, 20, "interrupted in step 1 of 2", 0, SOME},
                              {LOOK, 3, "interrupted in step 1 of 2", 0, SOME},
                              {DEATH, 9, "the updates of the next one are saved", 0, SOME},
                              {SIGNAL, 36 + 3, "interrupted after step 1 of 2", 1, NONE},
                              {DEATH, 4, "ended with exit code 3", 1, NONE},
                              {LOOK, 1 + 3, "interrupted in step 2 of 2", 1, 2},
                              {SIGNAL, 9, "interrupted in step 2 of 2", 1, SOME},
                              {THROUGH, 0, NULL, 2, NONE},
                          }};

/* The program answers, as it is told when it begins, up to question `at`. */
static void tell(const char *path, const part *p) {
    char *text =
        tv_format("%d %s\n", p->end == SIGNAL || p->end == DEATH ? p->at : 0,
                  p->end == DEATH ? "exit 3" : "kill -USR1 $PPID; while read -r l; do :; done; exit");
    tv_write_text(path, text);
    free(text);
}

/* From the command that the run began with, or going on. */
static tv_child_result run_part(const stage *s, const part *p, const char *out, bool resume,
                                const char *program, const char *const *more) {
    const char *argv[MOST_ARGUMENTS] = {TRIVIUM_COMMAND, s->name,        "--out", out,
                                        "--quiet",       "--reward-cmd", program, "--check",
                                        "regex:[aeiou]o"};
    size_t count = 9;
    if (resume) {
        argv[count++] = "--resume";
    } else {
        for (size_t i = 0; more[i]; i++)
            argv[count++] = more[i];
        for (size_t i = 0; s->sets[i]; i++) {
            argv[count++] = "--set";
            argv[count++] = s->sets[i];
        }
    }
    assert_true(count < MOST_ARGUMENTS);
    char *look = tv_format("%d", p->end == LOOK ? p->at : 0);
    assert_int_equal(setenv("TRIVIUM_INJECT_INTERRUPT", look, 1), 0);
    tv_child_result run = tv_child_run(argv);
    unsetenv("TRIVIUM_INJECT_INTERRUPT");
    free(look);
    return run;
}

/* Updates that the checkpoint within an iteration has behind it; NONE where there is none. */
static int updates_within(const stage *s, const char *out) {
    cJSON *root = NULL;
    int64_t updates = NONE;
    char *path = tv_format("%s/checkpoints/within/%s", out, s->state);
    if (tv_path_exists(path)) {
        assert_ok(tv_json_read_file(path, &root));
        assert_ok(tv_json_integer(tv_json_get(root, "within"), "updates", path, 0, 1000, -1, &updates));
    }
    cJSON_Delete(root);
    free(path);
    return (int)updates;
}

static uint64_t newest_whole(const char *out) {
    uint64_t newest = 0;
    for (uint64_t step = 1; step <= 2; step++) {
        char *path = tv_format("%s/checkpoints/step-%d", out, (int)step);
        newest = tv_path_exists(path) ? step : newest;
        free(path);
    }
    return newest;
}

static void expect_part(const stage *s, const part *p, const tv_child_result *run, const char *out) {
    const int codes[] = {[SIGNAL] = 130, [DEATH] = 2, [LOOK] = 130, [THROUGH] = 0};
    const int updates = updates_within(s, out);
    const uint64_t whole = newest_whole(out);
    if (run->exit_code != codes[p->end] || (p->words && !strstr(run->err, p->words)) ||
        !(updates == p->updates || (p->updates == SOME && updates > 0)) || whole != p->whole)
        fail_msg("part %d: expected exit code %d, \"%s\", step %d, %d updates within the next; found %d, "
                 "\"%s\", %d, %d",
                 (int)(p - s->parts), codes[p->end], p->words ? p->words : "", (int)p->whole, p->updates,
                 run->exit_code, run->err, (int)whole, updates);
    tv_expect_no_litter(out);
}

static void expect_same_value(const char *whole, const char *parts) {
    tv_expect_same_file(whole, parts, "checkpoints/last/value/model.safetensors");
    tv_expect_same_file(whole, parts, "checkpoints/last/value/training_state/optimizer.safetensors");
}

static void expect_same_bits(const stage *s, const char *const *more) {
    char *whole = tv_format("%s/%s-whole", place.planted.dir, s->name),
         *parts = tv_format("%s/%s-parts", place.planted.dir, s->name),
         *told = tv_answering_path(&place, "told"), *state = tv_format("checkpoints/last/%s", s->state);
    /* Scores that look random and depend on the response alone; some groups of them are equal. */
    char *program = tv_format("read -r at what <%s; n=0; while IFS= read -r line; do n=$((n+1)); "
                              "[ $n != $at ] || eval \"$what\"; l=${line#*,}; "
                              "echo $((${#l} * 37 %% 11 / 9)); done",
                              told);
    const part through = {THROUGH, 0, NULL, 2, NONE};
    tell(told, &through);
    tv_child_result run = run_part(s, &through, whole, false, program, more);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    for (const part *p = s->parts;; p++) {
        tell(told, p);
        run =
            run_part(s, p, parts, newest_whole(parts) > 0 || updates_within(s, parts) != NONE, program, more);
        expect_part(s, p, &run, parts);
        tv_child_result_free(&run);
        if (p->end == THROUGH)
            break;
    }
    tv_expect_same_run(whole, parts);
    tv_expect_same_file(whole, parts, state);
    if (s->value)
        expect_same_value(whole, parts);
    tv_free_all(program, state, told, parts, whole);
}

static void grpo_stopped_anywhere_gives_the_same_bits(void **state) {
    (void)state;
    char *val = tv_format("data.val=[\"%s\"]", place.prompts);
    const char *const more[] = {
        "--model", place.model, "--prompts",          place.prompts, "--reward-weights",     "1,0", "--set",
        val,       "--set",     "train.batch_size=4", "--set",       "train.warmup_steps=0", NULL};
    expect_same_bits(&grpo, more);
    /* Further answers were drawn, which are counted with the iteration. */
    char *whole = tv_format("%s/grpo-whole", place.planted.dir);
    assert_true(tv_expect_metric(whole, 1, "groups/drawn") > 4);
    free(whole);
    free(val);
}

/* With the pretraining mix, the controller and a limit of the KL. */
static void ppo_stopped_anywhere_gives_the_same_bits(void **state) {
    (void)state;
    char *policy = tv_format("%s/checkpoints/last", place.model), *mix = tv_answering_path(&place, "mix"),
         *val = tv_format("data.val=[\"%s\"]", place.prompts), *ptx = tv_format("data.ptx=[\"%s.bin\"]", mix);
    tv_trivium_exits(0, "data", "pack", "--tokenizer", policy, "--input",
                     TRIVIUM_SOURCE_DIR "/tests/text/data/excerpt.txt", "--out", mix);
    const char *const more[] = {"--model",
                                place.model,
                                "--prompts",
                                place.prompts,
                                "--reward-weights",
                                "1,0.1",
                                "--set",
                                val,
                                "--set",
                                ptx,
                                "--set",
                                "train.batch_size=3",
                                "--set",
                                "train.warmup_steps=0",
                                NULL};
    expect_same_bits(&ppo, more);
    tv_free_all(ptx, val, mix, policy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grpo_stopped_anywhere_gives_the_same_bits),
        cmocka_unit_test(ppo_stopped_anywhere_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
