/* kill -9 of a running pretraining, and of a running PPO, again and again: half of the kills inside the
 * writing of a checkpoint, proved by the temporary folder that they leave, half at times drawn by seed,
 * start-up included. After each one every checkpoint is whole; the run goes on from it; what comes out in the
 * end are the bits of a run that nobody disturbed.
 *
 * TRIVIUM_KILLS sets how many (default 12; tests/rungs/kills.sh: 100); of PPO a third of them.
 *
 * Tried: checkpoints written under their final name; links and temporary names not repaired on resuming; a
 * run with metrics but no checkpoint refused; moments of PPO's value model not restored. Each fails.
 */
#include "support/support.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/os.h"
#include "base/rng.h"
#include "support/answering.h"
#include "support/small_run.h"

enum { DEFAULT_KILLS = 12, STEPS_PER_KILL = 4, SEED = 7, MOST_ARGUMENTS = 32 };

/* What is killed: how it is started, without "--out" and what follows the program's name. */
typedef struct victim {
    const char *arguments[MOST_ARGUMENTS]; /* the command first; ends with NULL */
    const char *again[3];                  /* what it needs once more beside --resume; ends with NULL */
    const char *steps;                     /* the setting that says how long it goes on */
    uint64_t kills;
} victim;

typedef struct killing {
    const victim *victim;
    char *out, *checkpoints, *steps;
    uint64_t kills, inside;
    double life;    /* seconds from the start to the first checkpoint of this invocation, as last seen */
    double writing; /* seconds that a checkpoint's writing takes, as last seen */
    uint64_t draws;
} killing;

static double draw(killing *k) {
    tv_rng rng = {.seed = SEED};
    return (double)tv_uniform(&rng, k->draws++);
}

/* The temporary folder of a checkpoint that is being written. */
static bool is_writing(const killing *k) {
    char **names = NULL;
    uint64_t count = 0;
    bool found = false;
    if (tv_path_is_directory(k->checkpoints))
        assert_ok(tv_list_dir(k->checkpoints, &names, &count));
    for (uint64_t i = 0; i < count; i++)
        found = found || (strncmp(names[i], ".writing-", 9) == 0 && !strstr(names[i], "removed"));
    tv_free_names(&names, count);
    return found;
}

/* The whole command into `out`, with one more setting unless NULL. */
static tv_child start_anew(const killing *k, const char *out, const char *setting) {
    const char *argv[MOST_ARGUMENTS + 9] = {TRIVIUM_COMMAND};
    size_t count = 1;
    for (const char *const *more = k->victim->arguments; *more; more++)
        argv[count++] = *more;
    const char *const rest[] = {"--out", out, "--quiet", "--set", k->steps, "--set", setting};
    memcpy(argv + count, rest, (setting ? 7 : 5) * sizeof *rest);
    return tv_child_start(argv);
}

static tv_child start(const killing *k) {
    if (tv_expect_whole_checkpoints(k->out))
        return tv_start_trivium(k->victim->arguments[0], "--out", k->out, "--quiet", "--resume",
                                k->victim->again[0], k->victim->again[1]);
    return start_anew(k, k->out, NULL);
}

static bool wait_for_writing(const killing *k, const tv_child *child, bool wanted) {
    while (tv_child_runs(child)) {
        if (is_writing(k) == wanted)
            return true;
        tv_sleep(1e-4);
    }
    return false;
}

static void end_by_kill(killing *k, tv_child *child) {
    kill(child->pid, SIGKILL);
    tv_child_result run = tv_child_wait(child);
    tv_expect_exit(&run, 128 + SIGKILL);
    tv_child_result_free(&run);
    (void)tv_expect_whole_checkpoints(k->out);
    (void)tv_expect_metrics_in_order(k->out, true);
}

/* The invocation gets to its `nth` checkpoint (that it trains on proves that it resumed) and dies within it.
 */
static void kill_inside(killing *k, uint64_t nth) {
    double begin = tv_seconds();
    tv_child child = start(k);
    /* What the kill before left is removed by the first write at the latest. */
    bool alive = wait_for_writing(k, &child, false);
    for (uint64_t i = 0; alive && i < nth; i++) {
        alive = wait_for_writing(k, &child, true);
        if (i == 0)
            k->life = tv_seconds() - begin;
        if (i + 1 < nth) {
            double seen = tv_seconds();
            alive = alive && wait_for_writing(k, &child, false);
            k->writing = tv_seconds() - seen;
        }
    }
    if (alive)
        tv_sleep(draw(k) * 0.9 * k->writing);
    end_by_kill(k, &child);
    k->inside += is_writing(k);
}

static void kill_anywhere(killing *k) {
    tv_child child = start(k);
    tv_sleep(draw(k) * 1.3 * k->life);
    end_by_kill(k, &child);
}

/* Returns the folders of the whole run and of the killed one; the caller frees them. */
static void kill_again_and_again(const char *dir, const victim *v, char **whole, char **killed) {
    killing k = {.victim = v, .kills = v->kills, .life = 0.5, .writing = 0.01};
    assert_true(k.kills > 0);
    uint64_t steps = 10 + STEPS_PER_KILL * k.kills;
    k.out = tv_format("%s/run", dir);
    k.checkpoints = tv_format("%s/checkpoints", k.out);
    k.steps = tv_format("%s=%" PRIu64, v->steps, steps);
    *whole = tv_format("%s/whole", dir);
    *killed = k.out;
    tv_child child = start_anew(&k, *whole, "train.checkpoint_every=1");
    tv_child_result run = tv_child_wait(&child);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);

    uint64_t done = 0;
    while (done < k.kills || 2 * k.inside < done) {
        if (2 * k.inside <= done)
            kill_inside(&k, 1 + (uint64_t)(draw(&k) * 3));
        else
            kill_anywhere(&k);
        done++;
        assert_true(done < 4 * k.kills);
    }
    print_message("%s: %" PRIu64 " kills, %" PRIu64 " inside the writing of a checkpoint\n", v->arguments[0],
                  done, k.inside);

    tv_child last = start(&k);
    run = tv_child_wait(&last);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    tv_expect_same_run(*whole, k.out);
    assert_int_equal(tv_expect_metrics_in_order(k.out, false), steps);
    assert_int_equal(tv_expect_whole_checkpoints(k.out), steps);
    tv_expect_no_litter(k.out);
    free(k.checkpoints);
    free(k.steps);
}

static uint64_t wanted_kills(void) {
    const char *wanted = getenv("TRIVIUM_KILLS");
    return wanted ? strtoull(wanted, NULL, 10) : DEFAULT_KILLS;
}

static void every_kill_leaves_whole_checkpoints(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create("\"batch_size\": 2, \"lr\": 1e-2, \"warmup_steps\": 2,"
                                             " \"eval_every\": 3, \"eval_tokens\": 32,"
                                             " \"checkpoint_every\": 1");
    const victim v = {{"pretrain", "--config", place.config}, {NULL}, "train.steps", wanted_kills()};
    char *whole, *killed;
    kill_again_and_again(place.dir, &v, &whole, &killed);
    free(whole);
    free(killed);
    tv_small_run_destroy(&place);
}

/* Two models, their optimizers and the controller go on together; a reward program dies with the run. */
static void every_kill_of_ppo_leaves_whole_checkpoints(void **state) {
    (void)state;
    tv_answering place = tv_answering_create(TV_ARCH_GPT2, 40);
    static const char reward[] = "while read -r line; do echo $((${#line} * 37 % 11))e-1; done";
    const victim v = {{"ppo",
                       "--model",
                       place.model,
                       "--prompts",
                       place.prompts,
                       "--reward-cmd",
                       reward,
                       "--set",
                       "ppo.prompts=4",
                       "--set",
                       "ppo.minibatch=2",
                       "--set",
                       "ppo.max_new_tokens=4",
                       "--set",
                       "ppo.epochs=1",
                       "--set",
                       "ppo.kl_controller=adaptive",
                       "--set",
                       "ppo.kl_horizon=60",
                       "--set",
                       "train.lr=1e-3",
                       "--set",
                       "train.checkpoint_every=1"},
                      {"--reward-cmd", reward},
                      "ppo.iterations",
                      (wanted_kills() + 2) / 3};
    static const char *const files[] = {"checkpoints/last/ppo_state.json",
                                        "checkpoints/last/value/model.safetensors",
                                        "checkpoints/last/value/training_state/optimizer.safetensors"};
    char *whole, *killed;
    kill_again_and_again(place.planted.dir, &v, &whole, &killed);
    for (size_t i = 0; i < TV_COUNT(files); i++)
        tv_expect_same_file(whole, killed, files[i]);
    free(whole);
    free(killed);
    tv_answering_destroy(&place);
}

/* What a kill can leave between two system calls, set up by hand: links one write behind, temporary names. */
static void resuming_repairs_what_a_kill_left(void **state) {
    (void)state;
    tv_small_run place =
        tv_small_run_create("\"steps\": 6, \"batch_size\": 2, \"eval_every\": 2,"
                            " \"eval_tokens\": 32, \"checkpoint_every\": 1, \"warmup_steps\": 1");
    char *whole = tv_small_run_path(&place, "whole"), *out = tv_small_run_path(&place, "run");
    char *const runs[] = {whole, out};
    for (int i = 0; i < 2; i++) {
        tv_trivium_exits(0, "pretrain", "--config", place.config, "--out", runs[i], "--quiet");
    }
    const char *const links[] = {"last", "best"};
    for (int i = 0; i < 2; i++) {
        char *link = tv_format("%s/checkpoints/%s", out, links[i]);
        char *temporary = tv_format("%s.tmp-4711", link);
        assert_ok(tv_replace_link("step-5", link));
        assert_ok(tv_replace_link("step-6", temporary));
        free(temporary);
        free(link);
    }
    const char *const litter[] = {"config.json.tmp-4711", "run.json.tmp-4711",
                                  "checkpoints/.writing-7/config.json",
                                  "checkpoints/.writing-removed-3/config.json"};
    for (size_t i = 0; i < sizeof litter / sizeof *litter; i++) {
        char *path = tv_format("%s/%s", out, litter[i]), *folder = tv_format("%s", path);
        *strrchr(folder, '/') = '\0';
        assert_ok(tv_make_dirs(folder));
        tv_write_text(path, "{");
        free(folder);
        free(path);
    }
    tv_trivium_exits(0, "pretrain", "--out", out, "--quiet", "--resume");
    tv_expect_no_litter(out);
    tv_expect_same_run(whole, out);
    free(whole);
    free(out);
    tv_small_run_destroy(&place);
}

/* Killed before its first checkpoint, a run has nothing to resume: the same command starts it anew. */
static void a_run_without_checkpoint_starts_anew(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create("\"steps\": 3, \"batch_size\": 2, \"warmup_steps\": 1");
    char *whole = tv_small_run_path(&place, "whole"), *out = tv_small_run_path(&place, "run");
    char *checkpoints = tv_small_run_path(&place, "run/checkpoints"), *text = NULL;
    char *metrics = tv_small_run_path(&place, "run/metrics.jsonl");
    uint64_t size = 0;
    tv_trivium_exits(0, "pretrain", "--config", place.config, "--out", whole, "--quiet");
    tv_trivium_exits(0, "pretrain", "--config", place.config, "--out", out, "--quiet", "--seed", "5");
    assert_ok(tv_remove_tree(checkpoints));
    assert_ok(tv_read_file(metrics, &text, &size));
    assert_ok(tv_write_file(metrics, text, size - 10));
    tv_trivium_says(2, "start without --resume", "pretrain", "--out", out, "--quiet", "--resume");
    tv_trivium_exits(0, "pretrain", "--config", place.config, "--out", out, "--quiet");
    tv_expect_same_run(whole, out);
    tv_free_all(text, metrics, checkpoints, whole, out);
    tv_small_run_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kill_leaves_whole_checkpoints),
        cmocka_unit_test(every_kill_of_ppo_leaves_whole_checkpoints),
        cmocka_unit_test(resuming_repairs_what_a_kill_left),
        cmocka_unit_test(a_run_without_checkpoint_starts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
