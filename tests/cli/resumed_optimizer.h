/* Small runs of one optimizer, whole and resumed, for the tests of optimizers. */
#ifndef TV_TESTS_CLI_RESUMED_OPTIMIZER_H
#define TV_TESTS_CLI_RESUMED_OPTIMIZER_H

#include <stdlib.h>

#include "base/bytes.h"
#include "formats/safetensors.h"
#include "support/small_run.h"
#include "support/support.h"

/* `first` and `more`: arguments, NULL behind the last. */
static inline void pretrain(const char *out, const char *const *first, const char *const *more) {
    enum { MOST = 32 };
    const char *argv[MOST] = {TRIVIUM_COMMAND, "pretrain", "--quiet", "--out", out};
    size_t count = 5;
    const char *const *lists[] = {first, more};
    for (int l = 0; l < 2; l++)
        for (size_t i = 0; lists[l][i]; i++) {
            assert_true(count + 1 < MOST);
            argv[count++] = lists[l][i];
        }
    tv_expect_program(0, NULL, argv);
}

/* Pretrains with the place's configuration and `settings` (arguments, NULL behind the last), once to the end
 * and once stopped after three steps, refused with another optimizer, and resumed: the same in every byte.
 * Returns the moments of the last checkpoint, for the caller to close. */
static inline tv_safetensors *expect_optimizer_resumes(const tv_small_run *place, const char *optimizer,
                                                       const char *const *settings) {
    char *whole = tv_small_run_path(place, "whole"), *stopped = tv_small_run_path(place, "stopped");
    pretrain(whole, settings, (const char *const[]){"--config", place->config, NULL});
    pretrain(stopped, settings, (const char *const[]){"--config", place->config, "--stop-after", "3", NULL});
    char *word = tv_format("train.optimizer was \"%s\" and is \"adamw\"", optimizer);
    tv_trivium_says(2, word, "pretrain", "--quiet", "--out", stopped, "--resume", "--set",
                    "train.optimizer=adamw");
    tv_trivium_exits(0, "pretrain", "--quiet", "--out", stopped, "--resume");
    tv_expect_same_run(whole, stopped);
    char *path = tv_format("%s/checkpoints/last/training_state/optimizer.safetensors", whole);
    tv_safetensors *moments = NULL;
    assert_ok(tv_safetensors_open(path, &moments));
    tv_free_all(path, word, whole, stopped);
    return moments;
}

#endif
