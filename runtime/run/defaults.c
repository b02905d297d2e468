/* Defaults from model and data: see defaults.h. */
#include "run/defaults.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"

/* Learning rates fall with the square root of the size, between the largest that a tiny model takes and the
 * rate that is usual at the reference size and above. Pretraining: GPT-3's table (Brown et al. 2020,
 * table 2.1). The others: what is published for models of 7 B (Llama 2, Touvron et al. 2023; DPO, Rafailov et
 * al. 2023), and what our samples of 1 M took well. */
typedef struct rate {
    double usual, at, most;
} rate;
static const rate rates[TV_STAGE_KINDS] = {
    [TV_STAGE_PRETRAIN] = {6e-4, 124e6, 2e-3}, [TV_STAGE_SFT] = {2e-5, 7e9, 5e-4},
    [TV_STAGE_REWARD] = {1e-5, 7e9, 3e-4},     [TV_STAGE_DPO] = {1e-6, 7e9, 5e-5},
    [TV_STAGE_PPO] = {3e-6, 7e9, 5e-5},        [TV_STAGE_GRPO] = {1e-6, 7e9, 5e-5},
};
/* An adapter takes ten times the rate of all weights (Schulman et al., "LoRA Without Regret", 2025); where
 * the size is what limits it, four times: at 2e-3 a model of 260 K came within 1 % of the loss that 5e-3 gave
 * it. */
static const double adapter_rate = 10, adapter_most = 4;
/* Where a rate is this many times the default's, it was meant for another size. */
static const double far_above = 30, far_below = 50;
static const double warmup_share = 0.05;
enum { FEW_STEPS = 20, EVALUATIONS = 10, MOST_BATCH = 16, LENGTH_STEP = 64 };
enum { FEW_PROMPTS = 16, MOST_PROMPTS = 64, FEW_GROUPS = 4, MOST_GROUPS = 16, MOST_ITERATIONS = 100 };

/* A number that people would have typed, and that JSON's 15 digits keep to the last bit. */
static double round_to(double value, int digits) {
    char text[32];
    snprintf(text, sizeof text, "%.*g", digits, value);
    return strtod(text, NULL);
}

tv_status tv_defaults_of_ranks(tv_run_settings *settings, uint32_t ranks, bool resumed) {
    tv_train_settings *train = &settings->train;
    if (!resumed && !tv_setting_given(settings, "train", "grad_groups"))
        train->grad_groups = ranks;
    if (!tv_setting_given(settings, "train", "grad_accum"))
        train->grad_accum = tv_max_u64(train->grad_accum, train->grad_groups);
    if (train->grad_groups % ranks)
        return tv_fail(TV_E_CONFIG,
                       "train.grad_groups: expected a multiple of the %u ranks, found %" PRIu64
                       "; start as many ranks as divide it, or set it to another number",
                       ranks, train->grad_groups);
    if (settings->stage < TV_STAGE_PPO && train->grad_accum % train->grad_groups)
        return tv_fail(TV_E_CONFIG,
                       "train.grad_accum: expected a multiple of grad_groups (%" PRIu64 "), found %" PRIu64,
                       train->grad_groups, train->grad_accum);
    if (train->grad_exchange == TV_GRAD_EXCHANGE_BF16 && train->grad_groups < 2)
        return tv_fail(
            TV_E_CONFIG,
            "train.grad_exchange: expected f32 with one group of gradients, which nothing is added "
            "to, found bf16; set train.grad_groups to 2 or more, or start several ranks");
    return TV_OK;
}

tv_dtype tv_grad_exchange_type(const tv_run_settings *settings) {
    return settings->train.grad_exchange == TV_GRAD_EXCHANGE_BF16 ? TV_BF16 : TV_F32;
}

void tv_defaults_of_model(tv_run_settings *settings, uint64_t parameters, uint64_t positions) {
    tv_train_settings *train = &settings->train;
    rate own = rates[settings->stage], *r = &own;
    if (strcmp(train->trainable, "lora") == 0) {
        own.usual *= adapter_rate;
        own.most *= adapter_most;
    }
    double lr = r->usual * sqrt(r->at / (double)tv_max_u64(parameters, 1));
    /* Fine-tuning never needs less than what is usual; a larger model's pretraining does. */
    lr = settings->stage == TV_STAGE_PRETRAIN ? lr : fmax(lr, r->usual);
    double scaled = lr;
    lr = round_to(fmin(lr, r->most), 2);
    if (!tv_setting_given(settings, "train", "lr"))
        train->lr = tv_setting_given(settings, "train", "min_lr") ? fmax(lr, train->min_lr) : lr;
    else if (train->lr > scaled * far_above || (train->lr > 0 && train->lr < lr / far_below))
        tv_warn("train.lr is %g; a model of %" PRIu64 " parameters usually takes about %g here", train->lr,
                parameters, lr);
    if (!tv_setting_given(settings, "train", "min_lr"))
        train->min_lr = train->schedule == TV_SCHEDULE_CONSTANT ? train->lr : round_to(train->lr / 10, 15);
    if (!tv_setting_given(settings, "data", "seq_len"))
        settings->data.seq_len = tv_min_u64(positions, TV_DEFAULT_LENGTH);
}

/* What a run of `items` an epoch has in all. */
static double items_of_run(const tv_run_settings *settings, double items) {
    const tv_train_settings *train = &settings->train;
    return train->steps ? (double)(train->steps * MOST_BATCH * train->grad_accum) : train->epochs * items;
}

void tv_defaults_of_length(tv_run_settings *settings, uint64_t longest, uint64_t tokens) {
    tv_data_settings *data = &settings->data;
    if (tv_setting_given(settings, "data", "seq_len"))
        return;
    double rows = items_of_run(settings, (double)tokens / (double)data->seq_len);
    if (rows < TV_DEFAULT_STEPS * MOST_BATCH)
        data->seq_len = tv_min_u64(data->seq_len, tv_align_up(longest, LENGTH_STEP));
}

void tv_defaults_of_data(tv_run_settings *settings, uint64_t items) {
    tv_train_settings *train = &settings->train;
    if (tv_setting_given(settings, "train", "batch_size"))
        return;
    double most = items_of_run(settings, (double)items) / (double)train->grad_accum / TV_DEFAULT_STEPS;
    train->batch_size = MOST_BATCH;
    while (train->batch_size > 1 && ((double)train->batch_size > most || train->batch_size > items))
        train->batch_size /= 2;
}

void tv_defaults_of_prompts(tv_run_settings *settings, uint64_t prompts, uint64_t longest,
                            uint64_t positions) {
    const bool groups = settings->stage == TV_STAGE_GRPO;
    const char *section = tv_stage_kind_name(settings->stage);
    uint64_t *tokens = groups ? &settings->grpo.max_new_tokens : &settings->ppo.max_new_tokens;
    uint64_t *drawn = groups ? &settings->grpo.prompts : &settings->ppo.prompts;
    uint64_t *iterations = groups ? &settings->grpo.iterations : &settings->ppo.iterations;
    const uint64_t most = groups ? MOST_GROUPS : MOST_PROMPTS, few = groups ? FEW_GROUPS : FEW_PROMPTS;
    if (!tv_setting_given(settings, section, "max_new_tokens"))
        *tokens = tv_min_u64(TV_DEFAULT_ANSWER_TOKENS, positions - longest);
    if (!tv_setting_given(settings, section, "prompts")) {
        *drawn = most;
        while (*drawn > prompts && *drawn > few)
            *drawn /= 2;
    }
    if (!tv_setting_given(settings, section, "iterations")) {
        uint64_t wanted = tv_div_up(TV_DEFAULT_ANSWERS * prompts, *drawn);
        *iterations = tv_min_u64(MOST_ITERATIONS, tv_max_u64(FEW_STEPS, wanted));
    }
    if (groups && !tv_setting_given(settings, section, "minibatch"))
        settings->grpo.minibatch = *drawn * settings->grpo.answers;
}

void tv_defaults_of_schedule(tv_run_settings *settings, uint64_t total_steps) {
    tv_train_settings *train = &settings->train;
    if (!tv_setting_given(settings, "train", "warmup_steps") && train->schedule != TV_SCHEDULE_CONSTANT)
        train->warmup_steps = (uint64_t)ceil(warmup_share * (double)total_steps);
    if (!tv_setting_given(settings, "train", "eval_every") && settings->stage != TV_STAGE_PRETRAIN &&
        settings->stage < TV_STAGE_PPO)
        train->eval_every = tv_max_u64(1, total_steps / EVALUATIONS);
    if (total_steps && train->warmup_steps >= tv_max_u64(2, total_steps)) /* of one step the default is 1 */
        tv_warn("train.warmup_steps is %" PRIu64 " and the run has %" PRIu64
                " steps: the learning rate stops rising at %.0f %% of lr; lower it, or train for more epochs",
                train->warmup_steps, total_steps, 100.0 * (double)total_steps / (double)train->warmup_steps);
    else if (total_steps < FEW_STEPS && !train->steps && settings->stage < TV_STAGE_PPO)
        tv_warn("the run has only %" PRIu64
                " steps, which teach little; raise train.epochs, or lower train.batch_size",
                total_steps);
}
