/* The life of a PPO run: see ppo.h. */
#include "stages/ppo/ppo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "run/defaults.h"
#include "run/memory_report.h"
#include "stages/policy/drawing.h"
#include "stages/policy/loop.h"
#include "stages/policy/memory.h"
#include "stages/policy/opening.h"
#include "stages/policy/sources.h"
#include "stages/ppo/iteration.h"
#include "stages/sampling.h"

typedef struct ppo_stage {
    const tv_policy_options *options;
    tv_ppo ppo;
    tv_policy_sources sources;
    char *value_checkpoint; /* value/ of the checkpoint that is resumed; NULL: none */
    uint64_t rows;          /* of the rollout's decoder */
    tv_policy_memory memory;
} ppo_stage;

/* ---- what a checkpoint knows beside the models ---- */

static const char state_name[] = "ppo_state.json";

static tv_status write_state(const ppo_stage *s, const char *directory) {
    const tv_ppo *p = &s->ppo;
    char *path = tv_format("%s/%s", directory, state_name);
    cJSON *root = cJSON_CreateObject();
    bool built = path && root && tv_json_set_number(root, "kl_coef", p->kl_coef) &&
                 tv_json_set_number(root, "negative_kl", (double)p->negative_kl) &&
                 tv_json_set_number(root, "ptx_examples", (double)p->ptx_examples) &&
                 tv_policy_sources_add(&s->sources, root) &&
                 tv_json_set_number(root, "value_updates_applied", p->value_state.applied) &&
                 tv_json_set_number(root, "value_updates_skipped", p->value_state.skipped) &&
                 tv_json_set_number(root, "value_updates_skipped_in_row", p->value_state.skipped_in_row) &&
                 tv_loss_scale_set(root, "value_", &p->value_state);
    tv_status status = built ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the state of PPO");
    if (status == TV_OK && p->run->within)
        status = tv_policy_within_write(&p->within, root, directory);
    if (status == TV_OK)
        status = tv_json_write_file(path, root);
    cJSON_Delete(root);
    free(path);
    return status;
}

static tv_status read_state(ppo_stage *s, const cJSON *root, const char *where) {
    int64_t negative, examples, applied, skipped, in_row;
    TV_RETURN_IF_FAILED(tv_json_number(root, "kl_coef", where, s->ppo.kl_coef, &s->ppo.kl_coef));
    if (!(s->ppo.kl_coef >= 0))
        return tv_fail(
            TV_E_DATA,
            "%s: expected a kl_coef of at least 0, found %g, which would pay for drift; start again "
            "from this checkpoint with --model",
            where, s->ppo.kl_coef);
    TV_RETURN_IF_FAILED(tv_json_integer(root, "negative_kl", where, 0, INT32_MAX, 0, &negative));
    TV_RETURN_IF_FAILED(tv_json_integer(root, "value_updates_applied", where, 0, UINT32_MAX, 0, &applied));
    TV_RETURN_IF_FAILED(tv_json_integer(root, "value_updates_skipped", where, 0, UINT32_MAX, 0, &skipped));
    TV_RETURN_IF_FAILED(
        tv_json_integer(root, "value_updates_skipped_in_row", where, 0, UINT32_MAX, 0, &in_row));
    TV_RETURN_IF_FAILED(tv_json_integer(root, "ptx_examples", where, 0, INT64_C(1) << 53, 0, &examples));
    s->ppo.ptx_examples = (uint64_t)examples;
    s->ppo.negative_kl = (uint64_t)negative;
    s->ppo.value_state.applied = (uint32_t)applied;
    s->ppo.value_state.skipped = (uint32_t)skipped;
    s->ppo.value_state.skipped_in_row = (uint32_t)in_row;
    return tv_loss_scale_read(root, "value_", where, &s->ppo.value_state);
}

/* Where reward and reference come from: the command line, else the checkpoint. */
static tv_status find_sources(ppo_stage *s, tv_run *run) {
    tv_status status;
    cJSON *root = NULL;
    char *path = NULL;
    s->ppo.kl_coef = run->settings.ppo.kl_coef;
    if (run->resumed) {
        path = tv_format("%s/%s", run->source_path, state_name);
        s->value_checkpoint = tv_format("%s/value", run->source_path);
        if (!path || !s->value_checkpoint) {
            status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
            goto done;
        }
        TV_TRY(tv_json_read_file(path, &root));
        TV_TRY(read_state(s, root, path));
        /* The controller's coefficient goes on, unless another one is asked for. */
        if (tv_made_with_setting_changed(&run->before, &run->now, "ppo", "kl_coef"))
            s->ppo.kl_coef = run->settings.ppo.kl_coef;
    }
    TV_TRY(tv_policy_sources_find(s->options, run, root, path, &s->sources));
done:
    cJSON_Delete(root);
    free(path);
    return status;
}

static tv_status add_inputs(void *self, tv_run *run) {
    ppo_stage *s = self;
    TV_RETURN_IF_FAILED(find_sources(s, run));
    return tv_policy_sources_add_inputs(&s->sources, run);
}

/* ---- settings, prompts, models ---- */

/* The controller's factor is 1 +- 0.2 prompts / horizon: from 5 horizons on it is 0 or less; here it is at
 * least a half. */
static const double MOST_HORIZONS = 2.5;

static tv_status check_settings(const tv_run *run) {
    const tv_ppo_settings *ppo = &run->settings.ppo;
    if (!(ppo->temperature > 0))
        return tv_fail(TV_E_CONFIG,
                       "ppo.temperature: expected a temperature above 0, found %g; a policy that "
                       "always answers the same has nothing to compare",
                       ppo->temperature);
    if (!(ppo->top_p > 0))
        return tv_fail(TV_E_CONFIG, "ppo.top_p: expected a share in (0, 1], found %g", ppo->top_p);
    if (ppo->kl_controller == TV_KL_ADAPTIVE && !((double)ppo->prompts <= MOST_HORIZONS * ppo->kl_horizon))
        return tv_fail(TV_E_CONFIG,
                       "ppo.kl_horizon: expected at least %g with ppo.prompts=%" PRIu64
                       ", found %g; the adaptive controller changes kl_coef by up to 0.2 x prompts / horizon "
                       "an iteration, and a change of more than half of it may end in paying for drift",
                       (double)ppo->prompts / MOST_HORIZONS, ppo->prompts, ppo->kl_horizon);
    if (ppo->ptx_coef > 0 && run->settings.data.ptx_count == 0)
        return tv_fail(TV_E_CONFIG,
                       "ppo.ptx_coef is %g, and data.ptx names no token shard to learn from; make one with "
                       "trivium data pack",
                       ppo->ptx_coef);
    if (run->state.examples + ppo->iterations * ppo->prompts > UINT32_MAX / 2)
        return tv_fail(TV_E_CONFIG,
                       "ppo.iterations x ppo.prompts = %" PRIu64 " x %" PRIu64
                       " is more responses than can be addressed (2^31)",
                       ppo->iterations, ppo->prompts);
    return TV_OK;
}

/* The value's body comes from the reward model or from the policy. */
static tv_status open_value(ppo_stage *s, const tv_run *run) {
    const tv_policy_reward *scorer = tv_policy_rewards_model(s->ppo.scorers);
    const tv_reward_model *reward = scorer ? tv_policy_reward_model(scorer) : NULL;
    bool from_reward = run->settings.ppo.value_init == TV_VALUE_FROM_REWARD && reward;
    if (run->settings.ppo.value_init == TV_VALUE_FROM_REWARD && !reward)
        tv_info("the value model starts from the policy: a reward program has no body");
    if (from_reward && !tv_policy_reward_same_tokenizer(scorer))
        return tv_fail(TV_E_CONFIG,
                       "the reward model %s has another tokenizer than the policy, so the value model cannot "
                       "start from it; set ppo.value_init=policy",
                       reward->path);
    return tv_policy_value_open(&run->settings, run->list, from_reward ? reward->path : run->source_path,
                                s->value_checkpoint, &s->ppo.value);
}

/* The policy's trainer, and with its shapes those of the other roles. */
static void choose_shapes(ppo_stage *s, tv_run *run) {
    tv_ppo *p = &s->ppo;
    const tv_ppo_settings *ppo = &run->settings.ppo;
    const uint64_t groups = run->settings.train.grad_groups;
    uint64_t batch = tv_min_u64(run->settings.train.batch_size, ppo->minibatch);
    batch = tv_min_u64(batch, ppo->prompts);
    p->policy_settings = (tv_policy_settings){.clip = ppo->clip, .temperature = ppo->temperature};
    p->value_settings = (tv_value_settings){.clip = ppo->value_clip, .coefficient = ppo->vf_coef};
    run->trainer_options = (tv_trainer_options){
        .batch = batch,
        .tokens = run->settings.data.seq_len - 1,
        .grad_accum = tv_align_up(tv_div_up(tv_min_u64(ppo->minibatch, ppo->prompts), batch), groups),
        .groups = groups,
        .ranks = run->options->ranks,
        .narrow = true,
        .head = tv_policy_head,
        .head_settings = &p->policy_settings,
        .shared = p->activations,
    };
    p->reference.options = run->trainer_options;
    run->trainer_options.context =
        tv_max_u64(run->settings.data.seq_len, tv_policy_rewards_context(p->scorers, run->list));
    p->reference.options.stage = "ppo reference";
    p->value.options = p->reference.options;
    p->value.options.stage = "ppo value";
    p->value.options.head = tv_value_head;
    p->value.options.head_settings = &p->value_settings;
    p->value.options.train = true;
    p->value.options.group_type = tv_grad_exchange_type(&run->settings);
    p->value.options.loss_scale = (float)run->settings.train.loss_scale;
    p->value.options.recompute = run->settings.train.recompute == TV_RECOMPUTE_BLOCK;
    const uint64_t all = tv_policy_drawing_rows(run->options->ranks, ppo->prompts, 1);
    s->rows = ppo->rows ? tv_min_u64(ppo->rows, all) : all;
}

/* Shards of pretraining text, in the policy's batch shape. */
static tv_status open_ptx(tv_ppo *p, const tv_run *run) {
    const tv_data_settings *data = &run->settings.data;
    if (!(run->settings.ppo.ptx_coef > 0))
        return TV_OK;
    tv_loader_source *sources = calloc(data->ptx_count + 1, sizeof *sources);
    if (!sources)
        return tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
    for (uint64_t i = 0; i < data->ptx_count; i++)
        sources[i].path = data->ptx[i].path;
    tv_status status =
        tv_loader_create(&(tv_loader_options){.sources = sources,
                                              .source_count = data->ptx_count,
                                              .batch_size = (uint32_t)run->trainer_options.batch,
                                              .seq_len = (uint32_t)run->trainer_options.tokens,
                                              .vocab_size = (uint32_t)run->list->config.vocab_size,
                                              .shuffle = true,
                                              .seed = run->settings.train.seed,
                                              .first_row = p->ptx_examples},
                         &p->ptx);
    free(sources);
    tv_fail_advice(status, TV_E_FIT, "pack more text for data.ptx");
    return tv_fail_advice(status, TV_E_DATA, "`trivium data pack` makes shards");
}

/* A micro-batch of it for each group, so that ranks share it as they share the policy's. */
static tv_trainer_options ptx_options(const tv_run *run) {
    return (tv_trainer_options){.stage = "ppo ptx",
                                .grad_accum = run->trainer_options.groups,
                                .groups = run->trainer_options.groups,
                                .group_type = run->trainer_options.group_type,
                                .ranks = run->trainer_options.ranks,
                                .head_rows = run->state.head_rows,
                                .batch = run->trainer_options.batch,
                                .tokens = run->trainer_options.tokens,
                                .recompute = run->trainer_options.recompute,
                                .train = true,
                                .scaled_as = run->trainer,
                                .shared = run->trainer_options.shared};
}

static tv_status open_data(void *self, tv_run *run) {
    ppo_stage *s = self;
    tv_ppo *p = &s->ppo;
    const tv_ppo_settings *ppo = &run->settings.ppo;
    p->run = run;
    run->settings.train.grad_accum = 1;
    TV_RETURN_IF_FAILED(tv_activation_arena_create(&p->activations));
    uint64_t longest = 0;
    TV_RETURN_IF_FAILED(
        tv_policy_open_prompts(run, ppo->max_new_tokens, &s->sources, &p->prompts, &p->val, &longest));
    TV_RETURN_IF_FAILED(check_settings(run));
    run->settings.data.seq_len = longest + ppo->max_new_tokens;
    TV_RETURN_IF_FAILED(tv_policy_open_rewards(run, &s->sources, ppo->prompts,
                                               (tv_weights)ppo->reward_weights, p->activations, &p->scorers));
    TV_RETURN_IF_FAILED(tv_policy_reference_open(s->sources.reference, run->list, &p->reference));
    TV_RETURN_IF_FAILED(open_value(s, run));
    if (p->value.list->config.max_positions < run->settings.data.seq_len)
        return tv_fail(TV_E_CONFIG,
                       "the value model has positions for %" PRIu64 " tokens and sequences are up to %" PRIu64
                       "; set ppo.value_init=policy",
                       p->value.list->config.max_positions, run->settings.data.seq_len);
    choose_shapes(s, run);
    TV_RETURN_IF_FAILED(open_ptx(p, run));
    run->total_steps = ppo->iterations;
    p->first_val = run->state.examples;
    if (run->total_steps > run->state.step)
        p->first_val += (run->total_steps - run->state.step) * ppo->prompts;
    const tv_sampling sampling = {run->settings.train.seed, ppo->temperature, ppo->top_k, ppo->top_p};
    return tv_policy_open_drawing(run, p->prompts, &sampling, &p->drawing);
}

/* ---- the device ---- */

static tv_rollout_options rollout_options(const ppo_stage *s) {
    return (tv_rollout_options){
        .rows = s->rows, .max_tokens = s->ppo.run->settings.data.seq_len, .shared = s->ppo.activations};
}

static tv_status measure(void *self, tv_run *run) {
    ppo_stage *s = self;
    tv_ppo *p = &s->ppo;
    const tv_caps *caps = tv_device_caps(run->device);
    const tv_rollout_options drawing = rollout_options(s);
    uint64_t bytes;
    TV_RETURN_IF_FAILED(tv_policy_plan_role(run, &p->reference, "reference", "reference, policy's base"));
    TV_RETURN_IF_FAILED(tv_policy_plan_role(run, &p->value, "value model", "value model, policy's base"));
    TV_RETURN_IF_FAILED(tv_policy_plan_drawing(run, &drawing));
    if (p->ptx) {
        const tv_trainer_options options = ptx_options(run);
        tv_trainer_bytes ptx;
        TV_RETURN_IF_FAILED(tv_trainer_measure(run->list, caps, &options, &ptx));
        tv_trainer_bytes_add(&run->bytes, "pretraining mix", ptx.activations + ptx.buffers + ptx.exchange);
    }
    TV_RETURN_IF_FAILED(tv_policy_rewards_measure(p->scorers, run->list, caps, &bytes));
    tv_trainer_bytes_add(&run->bytes, tv_policy_rewards_row(p->scorers, run->list), bytes);
    tv_trainer_bytes_add(&run->bytes, "advantages",
                         tv_ppo_advantages_bytes(run->settings.ppo.prompts, run->trainer_options.tokens));
    tv_trainer_bytes_set_shared(&run->bytes, tv_activation_arena_bytes(p->activations));
    tv_policy_memory_begin(
        &(tv_policy_memory_roles){.run = run,
                                  .caps = caps,
                                  .reference = &p->reference,
                                  .value = &p->value,
                                  .rewards = p->scorers,
                                  .drawing = drawing,
                                  .mix = p->ptx != NULL,
                                  .narrows = run->settings.ppo.reward_weights == TV_WEIGHTS_AUTO,
                                  .moves =
                                      !run->resumed && run->settings.ppo.value_init == TV_VALUE_FROM_REWARD,
                                  .sequences = run->settings.ppo.prompts,
                                  .further = tv_ppo_advantages_bytes},
        &s->memory);
    run->bytes.roles = &s->memory.roles;
    return TV_OK;
}

static tv_status begin(void *self, tv_run *run) {
    ppo_stage *s = self;
    tv_ppo *p = &s->ppo;
    tv_rollout_options drawing = rollout_options(s);
    drawing.inverse_temperature = tv_policy_drawing_scale(run->model, run->settings.ppo.temperature);
    uint64_t sequences = run->settings.ppo.prompts, tokens = run->trainer_options.tokens;
    TV_RETURN_IF_FAILED(tv_policy_role_start(&p->reference, run->model, NULL));
    TV_RETURN_IF_FAILED(tv_policy_role_start(&p->value, run->model, s->value_checkpoint));
    TV_RETURN_IF_FAILED(tv_trainer_set_state(p->value.trainer, &p->value_state));
    TV_RETURN_IF_FAILED(tv_policy_rewards_start(p->scorers, run->model));
    if (p->ptx) {
        const tv_trainer_options options = ptx_options(run);
        TV_RETURN_IF_FAILED(tv_trainer_create(run->model, &options, &p->ptx_trainer));
    }
    TV_RETURN_IF_FAILED(tv_rollout_create(run->model, &drawing, &p->drawer));
    TV_RETURN_IF_FAILED(
        tv_ppo_advantages_create(run->device, &run->settings.ppo, sequences, tokens, &p->advantages));
    TV_RETURN_IF_FAILED(tv_policy_rollout_create(sequences, tokens, &p->rollout));
    if (p->val)
        TV_RETURN_IF_FAILED(tv_policy_rollout_create(sequences, tokens, &p->held_out));
    p->rewards = calloc(sequences, sizeof *p->rewards);
    p->order = calloc(sequences, sizeof *p->order);
    if (!p->rewards || !p->order)
        return tv_fail(TV_E_MEMORY, "out of host memory for rewards");
    tv_ppo_within_begin(p);
    return run->within ? tv_policy_within_read(&p->within, run->source_path, state_name) : TV_OK;
}

static tv_status save(void *self, tv_run *run, const char *directory, bool last) {
    ppo_stage *s = self;
    (void)run;
    (void)last;
    char *value = tv_format("%s/value", directory);
    if (!value)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = tv_checkpoint_write_model(value, s->ppo.value.model, &s->ppo.value_state);
    free(value);
    return status == TV_OK ? write_state(s, directory) : status;
}

static const tv_progress_number progress_numbers[] = {
    {"objective/score", "reward", TV_PROGRESS_SIGNED, false},
    {"objective/kl", "KL", TV_PROGRESS_SIGNED, false},
    {"response_tokens", "length", TV_PROGRESS_SHORT, false},
    {"eval/score", "held-out reward", TV_PROGRESS_SIGNED, true},
    {"eval/kl", "held-out KL", TV_PROGRESS_SIGNED, true},
    {0}};

static const tv_stage stage = {
    .kind = TV_STAGE_PPO,
    .name = "ppo",
    .doing = "reinforcement learning",
    .shown = progress_numbers,
    .needs_text = true,
    .needs_model = true,
    .own_length = true,
    .no_data = "expected prompts, --prompts F or data.train, found none; each line is {\"prompt\": TEXT}",
    .add_inputs = add_inputs,
    .open_data = open_data,
    .measure = measure,
    .begin = begin,
    .save = save,
};

static tv_status iterate(void *context) {
    return tv_ppo_iterate(&((ppo_stage *)context)->ppo);
}

static tv_status check(void *context) {
    return tv_ppo_check(&((ppo_stage *)context)->ppo);
}

static tv_status measure_held_out(void *context, tv_metrics_line *line) {
    return tv_ppo_measure(&((ppo_stage *)context)->ppo, line);
}

static tv_status all_iterations(ppo_stage *s, tv_run *run) {
    tv_policy_loop loop = {.run = run,
                           .within = &s->ppo.within,
                           .what = "an iteration of PPO",
                           .advice = "a lower train.lr or a higher ppo.kl_coef",
                           .iterate = iterate,
                           .check = check,
                           .measure = s->ppo.val ? measure_held_out : NULL,
                           .context = s};
    TV_RETURN_IF_FAILED(tv_policy_loop_run(&loop));
    if (s->ppo.collapsed_since && s->ppo.collapsed_since < run->state.step)
        tv_warn("since iteration %" PRIu64 " the policy is %s", s->ppo.collapsed_since, s->ppo.warning);
    TV_RETURN_IF_FAILED(tv_run_end(run));
    return tv_policy_rewards_finish(s->ppo.scorers);
}

static void release(ppo_stage *s) {
    tv_ppo *p = &s->ppo;
    tv_rollout_destroy(&p->drawer);
    tv_ppo_advantages_destroy(&p->advantages);
    tv_policy_rewards_close(&p->scorers);
    tv_policy_role_close(&p->value);
    tv_policy_role_close(&p->reference);
    tv_policy_rollout_free(&p->rollout);
    tv_policy_rollout_free(&p->held_out);
    tv_trainer_destroy(&p->ptx_trainer);
    tv_loader_destroy(&p->ptx);
    tv_activation_arena_release(&p->activations);
    tv_prompts_destroy(&p->val);
    tv_prompts_destroy(&p->prompts);
    free(p->rewards);
    free(p->order);
    tv_policy_sources_free(&s->sources);
    free(s->value_checkpoint);
}

static void print_plan(const ppo_stage *s, const tv_run *run) {
    const tv_ppo_settings *ppo = &run->settings.ppo;
    const tv_prompts *prompts = s->ppo.prompts, *val = s->ppo.val;
    double answers = (double)ppo->iterations * (double)ppo->prompts;
    printf("data       %" PRIu64 " prompts of up to %" PRIu64 " tokens; %" PRIu64 " held out\n",
           prompts->count, tv_policy_prompts_longest(prompts), val ? val->count : 0);
    printf("run        %" PRIu64 " iterations of %" PRIu64 " answers of up to %" PRIu64
           " tokens; each prompt is answered %.3g times\n",
           ppo->iterations, ppo->prompts, ppo->max_new_tokens, answers / (double)prompts->count);
    printf("updates    %" PRIu64 " an iteration: %" PRIu64 " times through its answers, %" PRIu64
           " at a time\n",
           ppo->epochs * tv_div_up(ppo->prompts, ppo->minibatch), ppo->epochs,
           tv_min_u64(ppo->minibatch, ppo->prompts));
    tv_schedule_print(&run->settings, val != NULL);
}

tv_status tv_ppo_train(const tv_policy_options *options, tv_run_result *result) {
    ppo_stage s = {.options = options};
    tv_run run = {0};
    tv_status status;
    TV_TRY(tv_run_open(&run, &stage, &s, &options->run));
    if (options->run.dry_run && !tv_ranks_leads(options->run.ranks))
        goto done;
    if (options->run.dry_run) {
        print_plan(&s, &run);
        tv_policy_sources_print(&s.sources, options);
        TV_TRY(tv_memory_report(run.list, run.device, &run.trainer_options, &run.bytes));
        goto done;
    }
    TV_TRY(tv_run_start(&run));
    TV_TRY(all_iterations(&s, &run));
done:
    tv_run_describe(&run, result);
    release(&s);
    tv_run_close(&run);
    return status;
}
