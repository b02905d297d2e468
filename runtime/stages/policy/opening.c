/* What PPO and GRPO open alike: see opening.h. */
#include "stages/policy/opening.h"

#include "run/answer_ends.h"
#include "run/defaults.h"
#include "stages/policy/drawing.h"

tv_status tv_policy_open_prompts(tv_run *run, uint64_t max_new_tokens, const tv_policy_sources *sources,
                                 tv_prompts **prompts, tv_prompts **val, uint64_t *longest) {
    const tv_model_config *config = &run->list->config;
    const tv_data_settings *data = &run->settings.data;
    TV_RETURN_IF_FAILED(tv_model_config_expect_head(config, TV_MODEL_HEAD_LANGUAGE, run->source_path));
    TV_RETURN_IF_FAILED(
        tv_policy_prompts_read(run, max_new_tokens, sources, data->train, data->train_count, prompts));
    if (data->val_count)
        TV_RETURN_IF_FAILED(
            tv_policy_prompts_read(run, max_new_tokens, sources, data->val, data->val_count, val));
    *longest = tv_max_u64(tv_policy_prompts_longest(*prompts), tv_policy_prompts_longest(*val));
    tv_defaults_of_prompts(&run->settings, (*prompts)->count, *longest, config->max_positions);
    return TV_OK;
}

tv_status tv_policy_open_rewards(const tv_run *run, const tv_policy_sources *sources, uint64_t sequences,
                                 tv_weights weights, tv_activation_arena *shared,
                                 tv_policy_rewards **rewards) {
    const tv_policy_rewards_options options = {.ranks = run->options->ranks,
                                               .sources = sources,
                                               .tokenizer = run->tokenizer,
                                               .max_tokens = run->settings.data.seq_len,
                                               .sequences = sequences,
                                               .weights = weights,
                                               .batch = run->settings.rewards.batch,
                                               .timeout = run->settings.rewards.timeout,
                                               .shared = shared};
    return tv_policy_rewards_open(&options, rewards);
}

tv_status tv_policy_open_drawing(tv_run *run, const tv_prompts *prompts, const tv_sampling *sampling,
                                 tv_decoder_settings *drawing) {
    TV_RETURN_IF_FAILED(tv_run_save_ends(run, &prompts->ends));
    *drawing =
        tv_sampling_settings(sampling, &run->list->config, run->tokenizer, tv_policy_prompts_chat(prompts));
    return TV_OK;
}

tv_status tv_policy_plan_role(tv_run *run, const tv_policy_role *role, const char *name,
                              const char *name_shared) {
    uint64_t bytes;
    TV_RETURN_IF_FAILED(tv_policy_role_measure(role, run->list, tv_device_caps(run->device), &bytes));
    tv_trainer_bytes_add(&run->bytes, role->shared ? name_shared : name, bytes);
    return TV_OK;
}

tv_status tv_policy_plan_drawing(tv_run *run, const tv_rollout_options *options) {
    tv_decoder_bytes bytes;
    TV_RETURN_IF_FAILED(tv_rollout_measure(run->list, tv_device_caps(run->device), options, &bytes));
    tv_trainer_bytes_add(&run->bytes, bytes.shared ? "drawing (prompts shared)" : "drawing (key-value cache)",
                         bytes.cache + bytes.activations + bytes.state);
    return TV_OK;
}
