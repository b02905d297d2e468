/* Short runs of PPO from two small models, for tests of the stage. */
#ifndef TV_TESTS_PPO_RUNS_H
#define TV_TESTS_PPO_RUNS_H

#include "support/support.h"

#include <stdlib.h>

#include "base/files.h"
#include "base/log.h"
#include "stages/ppo/ppo.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/stage_run.h"

enum { S = 12 };

/* Two models of one tokenizer: `hasty` leaves many answers without an end. */
typedef struct fixture {
    tv_answering hasty, taught, llama;
    tv_device *device;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    void *device;
    assert_non_null(f);
    tv_test_open_device(&device);
    f->device = device;
    tv_log_set_level(TV_LOG_WARNING);
    f->hasty = tv_answering_create(TV_ARCH_GPT2, 40);
    f->taught = tv_answering_create(TV_ARCH_GPT2, 150);
    f->llama = tv_answering_create(TV_ARCH_LLAMA, 40);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tv_answering_destroy(&f->hasty);
    tv_answering_destroy(&f->taught);
    tv_answering_destroy(&f->llama);
    void *device = f->device;
    free(f);
    return tv_test_close_device(&device);
}

/* Twelve responses an iteration, from the prompts in their order; further settings end with NULL. */
typedef struct request {
    const char *run, *reward, *reward_command, *reference;
    bool dry_run;
    const char *const *sets;
} request;

static tv_run_result train(const tv_answering *place, const request *r) {
    tv_stage_settings settings = tv_stage_settings_make(
        TV_TEXTS("ppo.prompts=12", "ppo.max_new_tokens=6", "train.batch_size=2", "ppo.minibatch=6",
                 "data.shuffle=false", "train.warmup_steps=0", "train.schedule=constant"),
        place->prompts, r->sets);
    const bool own = !r->reward && !r->reward_command;
    const tv_policy_options options = {
        .run = {.run = r->run,
                .init = place->model,
                .sets = settings.all,
                .set_count = settings.count,
                .dry_run = r->dry_run},
        .rewards = (const tv_reward_given[]){{TV_REWARD_MODEL, r->reward},
                                             {TV_REWARD_PROGRAM, own ? place->reward : r->reward_command}},
        .reward_count = 2,
        .reference = r->reference};
    tv_run_result result;
    assert_ok(tv_ppo_train(&options, &result));
    tv_stage_settings_free(&settings);
    return result;
}

#endif
