/* The life of a GRPO run: see grpo.h. */
#include "stages/grpo/grpo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/files.h"
#include "base/log.h"
#include "run/memory_report.h"
#include "run/schedule.h"
#include "stages/grpo/dynamic.h"
#include "stages/grpo/iteration.h"
#include "stages/grpo/losses.h"
#include "stages/policy/drawing.h"
#include "stages/policy/loop.h"
#include "stages/policy/memory.h"
#include "stages/policy/opening.h"
#include "stages/policy/sources.h"
#include "stages/sampling.h"

typedef struct grpo_stage {
    const tv_policy_options *options;
    tv_grpo grpo;
    tv_policy_sources sources;
    tv_policy_memory memory;
} grpo_stage;

static const char state_name[] = "grpo_state.json"; /* what a checkpoint knows beside the model */

/* ---- what it is made of ---- */

static tv_status add_inputs(void *self, tv_run *run) {
    grpo_stage *s = self;
    tv_status status;
    cJSON *root = NULL;
    char *path = NULL;
    if (run->resumed) {
        path = tv_format("%s/%s", run->source_path, state_name);
        if (!path)
            return tv_fail(TV_E_MEMORY, "out of host memory for a path");
        TV_TRY(tv_json_read_file(path, &root));
    }
    TV_TRY(tv_policy_sources_find(s->options, run, root, path, &s->sources));
    if (!(run->settings.grpo.kl_coef > 0)) {
        if (s->options->reference) {
            status =
                tv_fail(TV_E_CONFIG, "a reference is given, and grpo.kl_coef is 0, so that none is read; set "
                                     "grpo.kl_coef, or leave the reference out");
            goto done;
        }
        free(s->sources.reference);
        s->sources.reference = NULL;
    }
    TV_TRY(tv_policy_sources_add_inputs(&s->sources, run));
done:
    cJSON_Delete(root);
    free(path);
    return status;
}

static tv_status check_settings(const tv_run *run) {
    const tv_grpo_settings *grpo = &run->settings.grpo;
    uint64_t answers = grpo->prompts * grpo->answers;
    if (!(grpo->temperature > 0))
        return tv_fail(
            TV_E_CONFIG,
            "grpo.temperature: expected a temperature above 0, found %g; a policy that always answers "
            "the same has nothing to compare",
            grpo->temperature);
    if (!(grpo->top_p > 0))
        return tv_fail(TV_E_CONFIG, "grpo.top_p: expected a share in (0, 1], found %g", grpo->top_p);
    if (grpo->answers < 2 && grpo->advantages != TV_ADVANTAGES_REINFORCE)
        return tv_fail(TV_E_CONFIG,
                       "grpo.answers: expected at least 2, found %" PRIu64
                       ": an answer is compared with the others to its prompt; only "
                       "grpo.advantages=reinforce++ takes one",
                       grpo->answers);
    if (run->state.examples % grpo->answers)
        return tv_fail(TV_E_CONFIG,
                       "the run stands behind answer %" PRIu64
                       ", which ends no group of grpo.answers=%" PRIu64 "; keep what it began with",
                       run->state.examples, grpo->answers);
    if (grpo->dynamic_sampling && grpo->advantages == TV_ADVANTAGES_REINFORCE)
        return tv_fail(TV_E_CONFIG,
                       "grpo.dynamic_sampling: expected 0, found %" PRIu64
                       ": grpo.advantages=reinforce++ compares no groups, so that none is without variance",
                       grpo->dynamic_sampling);
    if (run->state.examples + grpo->iterations * answers * (1 + grpo->dynamic_sampling) > UINT32_MAX / 2)
        return tv_fail(TV_E_CONFIG,
                       "grpo.iterations x prompts x answers x (1 + dynamic_sampling) = %" PRIu64 " x %" PRIu64
                       " x %" PRIu64 " x %" PRIu64 " is more answers than can be addressed (2^31)",
                       grpo->iterations, grpo->prompts, grpo->answers, 1 + grpo->dynamic_sampling);
    return TV_OK;
}

/* The policy's trainer, and with its shapes the reference's. */
static void choose_shapes(tv_grpo *g, tv_run *run) {
    const tv_grpo_settings *grpo = &run->settings.grpo;
    uint64_t minibatch = tv_min_u64(grpo->minibatch, grpo->prompts * grpo->answers),
             batch = tv_min_u64(run->settings.train.batch_size, minibatch);
    run->trainer_options = (tv_trainer_options){
        .batch = batch,
        .tokens = run->settings.data.seq_len - 1,
        .grad_accum = tv_align_up(tv_div_up(minibatch, batch), run->settings.train.grad_groups),
        .groups = run->settings.train.grad_groups,
        .ranks = run->options->ranks,
        .narrow = true,
        .head = tv_group_head,
        .head_settings = &g->head,
        .shared = g->activations};
    g->reference.options = run->trainer_options;
    g->reference.options.stage = "grpo reference";
    run->trainer_options.context =
        tv_max_u64(run->settings.data.seq_len, tv_policy_rewards_context(g->scorers, run->list));
}

static tv_status open_data(void *self, tv_run *run) {
    grpo_stage *s = self;
    tv_grpo *g = &s->grpo;
    tv_grpo_settings *grpo = &run->settings.grpo;
    g->run = run;
    run->settings.train.grad_accum = 1;
    TV_RETURN_IF_FAILED(tv_activation_arena_create(&g->activations));
    uint64_t longest = 0;
    TV_RETURN_IF_FAILED(
        tv_policy_open_prompts(run, grpo->max_new_tokens, &s->sources, &g->prompts, &g->val, &longest));
    TV_RETURN_IF_FAILED(check_settings(run));
    TV_RETURN_IF_FAILED(tv_group_loss_choose(&run->settings, &g->head));
    run->settings.data.seq_len = longest + grpo->max_new_tokens;
    TV_RETURN_IF_FAILED(tv_policy_open_rewards(run, &s->sources, grpo->prompts * grpo->answers,
                                               (tv_weights)grpo->reward_weights, g->activations,
                                               &g->scorers));
    if (tv_grpo_has_reference(g))
        TV_RETURN_IF_FAILED(tv_policy_reference_open(s->sources.reference, run->list, &g->reference));
    choose_shapes(g, run);
    run->total_steps = grpo->iterations;
    g->first_val = tv_grpo_first_val(run);
    const tv_sampling sampling = {run->settings.train.seed, grpo->temperature, grpo->top_k, grpo->top_p};
    return tv_policy_open_drawing(run, g->prompts, &sampling, &g->drawing);
}

/* ---- the device ---- */

static tv_rollout_options rollout_options(const tv_grpo *g) {
    const tv_grpo_settings *grpo = &g->run->settings.grpo;
    const uint64_t all = tv_policy_drawing_rows(g->run->options->ranks, grpo->prompts, grpo->answers);
    return (tv_rollout_options){.rows = grpo->rows ? tv_min_u64(grpo->rows, all) : all,
                                .max_tokens = g->run->settings.data.seq_len,
                                .prompts = all / grpo->answers,
                                .answers = grpo->answers,
                                .prompt_tokens = g->run->settings.data.seq_len - grpo->max_new_tokens,
                                .max_new = grpo->max_new_tokens,
                                .shared = g->activations};
}

static tv_status measure(void *self, tv_run *run) {
    grpo_stage *s = self;
    tv_grpo *g = &s->grpo;
    const tv_caps *caps = tv_device_caps(run->device);
    const tv_rollout_options drawing = rollout_options(g);
    uint64_t bytes;
    if (tv_grpo_has_reference(g))
        TV_RETURN_IF_FAILED(tv_policy_plan_role(run, &g->reference, "reference", "reference, policy's base"));
    TV_RETURN_IF_FAILED(tv_policy_plan_drawing(run, &drawing));
    TV_RETURN_IF_FAILED(tv_policy_rewards_measure(g->scorers, run->list, caps, &bytes));
    if (bytes)
        tv_trainer_bytes_add(&run->bytes, tv_policy_rewards_row(g->scorers, run->list), bytes);
    tv_trainer_bytes_set_shared(&run->bytes, tv_activation_arena_bytes(g->activations));
    tv_policy_memory_begin(
        &(tv_policy_memory_roles){.run = run,
                                  .caps = caps,
                                  .reference = tv_grpo_has_reference(g) ? &g->reference : NULL,
                                  .rewards = g->scorers,
                                  .drawing = drawing,
                                  .narrows = run->settings.grpo.reward_weights == TV_WEIGHTS_AUTO},
        &s->memory);
    run->bytes.roles = &s->memory.roles;
    return TV_OK;
}

static tv_status begin(void *self, tv_run *run) {
    tv_grpo *g = &((grpo_stage *)self)->grpo;
    tv_rollout_options drawing = rollout_options(g);
    drawing.inverse_temperature = tv_policy_drawing_scale(run->model, run->settings.grpo.temperature);
    uint64_t groups = run->settings.grpo.prompts, S = groups * run->settings.grpo.answers;
    if (tv_grpo_has_reference(g))
        TV_RETURN_IF_FAILED(tv_policy_role_start(&g->reference, run->model, NULL));
    TV_RETURN_IF_FAILED(tv_policy_rewards_start(g->scorers, run->model));
    TV_RETURN_IF_FAILED(tv_rollout_create(run->model, &drawing, &g->drawer));
    TV_RETURN_IF_FAILED(tv_policy_rollout_create(S, run->trainer_options.tokens, &g->rollout));
    if (g->val)
        TV_RETURN_IF_FAILED(tv_policy_rollout_create(S, run->trainer_options.tokens, &g->held_out));
    if (run->settings.grpo.dynamic_sampling)
        TV_RETURN_IF_FAILED(tv_policy_rollout_create(S, run->trainer_options.tokens, &g->further));
    g->rewards = calloc(S, sizeof *g->rewards);
    g->equal = calloc(groups, sizeof *g->equal);
    g->kept = calloc(S, sizeof *g->kept);
    g->order = calloc(S, sizeof *g->order);
    if (!g->rewards || !g->equal || !g->kept || !g->order)
        return tv_fail(TV_E_MEMORY, "out of host memory for the rewards of a rollout");
    tv_grpo_within_begin(g);
    return run->within ? tv_policy_within_read(&g->within, run->source_path, state_name) : TV_OK;
}

static tv_status save(void *self, tv_run *run, const char *directory, bool last) {
    const grpo_stage *s = self;
    (void)last;
    char *path = tv_format("%s/%s", directory, state_name);
    cJSON *root = cJSON_CreateObject();
    bool built = path && root && tv_policy_sources_add(&s->sources, root);
    tv_status status = built ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the state of GRPO");
    if (status == TV_OK && run->within)
        status = tv_policy_within_write(&s->grpo.within, root, directory);
    if (status == TV_OK)
        status = tv_json_write_file(path, root);
    cJSON_Delete(root);
    free(path);
    return status;
}

static const tv_progress_number progress_numbers[] = {
    {"reward/mean", "reward", TV_PROGRESS_SIGNED, false},
    {"groups/equal", "equal groups", TV_PROGRESS_PERCENT, false},
    {"response_tokens", "length", TV_PROGRESS_SHORT, false},
    {"eval/reward", "held-out reward", TV_PROGRESS_SIGNED, true},
    {0}};

static const tv_stage stage = {
    .kind = TV_STAGE_GRPO,
    .name = "grpo",
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

/* ---- a run ---- */

static tv_status iterate(void *context) {
    return tv_grpo_iterate(context);
}

static tv_status check(void *context) {
    return tv_grpo_check(context);
}

static tv_status measure_held_out(void *context, tv_metrics_line *line) {
    return tv_grpo_measure(context, line);
}

static tv_status all_iterations(grpo_stage *s, tv_run *run) {
    tv_policy_loop loop = {.run = run,
                           .within = &s->grpo.within,
                           .what = "an iteration of GRPO",
                           .advice = "a lower train.lr",
                           .iterate = iterate,
                           .check = check,
                           .measure = s->grpo.val ? measure_held_out : NULL,
                           .context = &s->grpo};
    TV_RETURN_IF_FAILED(tv_policy_loop_run(&loop));
    if (s->grpo.nothing_since && s->grpo.nothing_since < run->state.step)
        tv_warn("since iteration %" PRIu64 ": %s", s->grpo.nothing_since, s->grpo.warning);
    TV_RETURN_IF_FAILED(tv_run_end(run));
    return tv_policy_rewards_finish(s->grpo.scorers);
}

static void release(grpo_stage *s) {
    tv_grpo *g = &s->grpo;
    tv_rollout_destroy(&g->drawer);
    tv_policy_rewards_close(&g->scorers);
    tv_policy_role_close(&g->reference);
    tv_policy_rollout_free(&g->rollout);
    tv_policy_rollout_free(&g->held_out);
    tv_policy_rollout_free(&g->further);
    tv_activation_arena_release(&g->activations);
    tv_prompts_destroy(&g->val);
    tv_prompts_destroy(&g->prompts);
    free(g->rewards);
    free(g->equal);
    free(g->kept);
    free(g->order);
    tv_policy_sources_free(&s->sources);
}

static void print_plan(const tv_grpo *g, const tv_run *run) {
    const tv_grpo_settings *grpo = &run->settings.grpo;
    uint64_t answers = grpo->prompts * grpo->answers, minibatch = tv_min_u64(grpo->minibatch, answers);
    printf("data       %" PRIu64 " prompts of up to %" PRIu64 " tokens; %" PRIu64 " held out\n",
           g->prompts->count, tv_policy_prompts_longest(g->prompts), g->val ? g->val->count : 0);
    printf("run        %" PRIu64 " iterations of %" PRIu64 " prompts, %" PRIu64
           " answers each, of up to %" PRIu64 " tokens; each prompt comes up %.3g times\n",
           grpo->iterations, grpo->prompts, grpo->answers, grpo->max_new_tokens,
           (double)grpo->iterations * (double)grpo->prompts / (double)g->prompts->count);
    printf("updates    up to %" PRIu64 " an iteration: %" PRIu64 " times through its answers, %" PRIu64
           " at a time\n",
           grpo->epochs * tv_div_up(answers, minibatch), grpo->epochs, minibatch);
    if (grpo->dynamic_sampling)
        printf("           groups whose rewards are all the same give way to further prompts', up to %" PRIu64
               " times an iteration\n",
               grpo->dynamic_sampling);
    tv_schedule_print(&run->settings, g->val != NULL);
}

tv_status tv_grpo_train(const tv_policy_options *options, tv_run_result *result) {
    grpo_stage s = {.options = options};
    tv_run run = {0};
    tv_status status;
    TV_TRY(tv_run_open(&run, &stage, &s, &options->run));
    if (options->run.dry_run) {
        print_plan(&s.grpo, &run);
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
