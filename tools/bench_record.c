/* Recording whole steps without running them: see bench_record.h. */
#include "tools/bench_record.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/os.h"
#include "model/decoder.h"
#include "model/policy_head.h"
#include "model/score_head.h"
#include "run/defaults.h"
#include "run/parameter_choice.h"
#include "stages/ppo/advantages.h"
#include "tools/bench.h"
#include "train/step.h"
#include "train/trainer.h"

enum { REPLAYS = 21, WARMUP = 4, PPO_REPLAYS = 3, STEPS_PER_LOOK = 4 /* as stages/rollout.c */ };
enum { PROMPT = 32, LONGEST = 1024, PPO_PROMPTS = 64, PPO_LONGEST = 128 };

/* ---- a step, again and again ---- */

typedef tv_status (*step_function)(void *context);

/* The first call may still record something; what is counted is the last one, of which each is `parts` steps.
 */
static tv_status replay(tv_device *device, step_function step, void *context, uint64_t replays,
                        uint64_t parts, tv_recorded_step *row) {
    double times[REPLAYS];
    tv_submitted before = {0}, after;
    for (uint64_t i = 0; i < WARMUP + replays; i++) {
        before = tv_submitted_so_far(device);
        double begin = tv_seconds();
        TV_RETURN_IF_FAILED(step(context));
        if (i >= WARMUP)
            times[i - WARMUP] = (tv_seconds() - begin) * 1e3 / (double)parts;
    }
    after = tv_submitted_so_far(device);
    row->dispatches = (double)(after.dispatches - before.dispatches) / (double)parts;
    row->barriers = (double)(after.barriers - before.barriers) / (double)parts;
    row->command_buffers = (double)(after.command_buffers - before.command_buffers) / (double)parts;
    row->host_ms = tv_median(times, replays);
    return TV_OK;
}

/* ---- training ---- */

static const struct tv_step_constants *constants(void) {
    static const struct tv_step_constants made = {.lr = 1e-4f};
    return &made;
}

/* Leaves zeros, whose targets all count. */
static tv_status no_batch(void *context, tv_micro_batch *batch) {
    (void)context;
    (void)batch;
    return TV_OK;
}

static tv_status train(void *context) {
    tv_trainer *trainer = context;
    tv_step_result result;
    bool has_result;
    return tv_trainer_step(trainer, constants(), no_batch, NULL, &result, &has_result);
}

static tv_status record_training(tv_model *model, const tv_run_settings *settings, tv_recorded_step *row) {
    const tv_trainer_options options = {
        .stage = "bench",
        .batch = settings->train.batch_size,
        .tokens = settings->data.seq_len,
        .grad_accum = settings->train.grad_accum,
        .document_mask = settings->data.document_mask,
        .recompute = settings->train.recompute == TV_RECOMPUTE_BLOCK,
        .train = true,
    };
    tv_trainer *trainer = NULL;
    tv_status status;
    double begin = tv_seconds();
    TV_TRY(tv_trainer_create(model, &options, &trainer));
    row->record_ms = (tv_seconds() - begin) * 1e3;
    TV_TRY(replay(tv_model_device(model), train, trainer, REPLAYS, 1, row));
done:
    tv_trainer_destroy(&trainer);
    return status;
}

/* ---- decoding ---- */

static tv_status start_rows(tv_decoder *decoder, uint64_t rows, uint64_t prompt, uint64_t max_tokens) {
    static const uint32_t tokens[PROMPT];
    const tv_decoder_settings settings = {.seed = 1, .temperature = 0.8f, .top_k = 40, .top_p = 1};
    tv_decoder_prompt *prompts = calloc(rows, sizeof *prompts);
    if (!prompts)
        return tv_fail(TV_E_MEMORY, "out of host memory for the prompts");
    for (uint64_t r = 0; r < rows; r++)
        prompts[r] = (tv_decoder_prompt){
            .tokens = tokens, .length = prompt, .max_new = max_tokens - prompt, .sequence = (uint32_t)r};
    tv_status status = tv_decoder_start(decoder, prompts, rows, &settings);
    free(prompts);
    return status;
}

static tv_status look(void *context) {
    uint64_t running;
    return tv_decoder_run(context, STEPS_PER_LOOK, &running);
}

static tv_status record_decoding(const tv_model *model, uint64_t rows, tv_recorded_step *row) {
    uint64_t max_tokens = tv_min_u64(tv_model_list(model)->config.max_positions, LONGEST);
    tv_decoder *decoder = NULL;
    tv_status status;
    double begin = tv_seconds();
    TV_TRY(tv_decoder_create(model, &(tv_decoder_options){.rows = rows, .max_tokens = max_tokens}, &decoder));
    TV_TRY(start_rows(decoder, rows, tv_min_u64(PROMPT, tv_max_u64(1, max_tokens / 2)), max_tokens));
    TV_TRY(look(decoder));
    row->record_ms = (tv_seconds() - begin) * 1e3;
    TV_TRY(replay(tv_model_device(model), look, decoder, REPLAYS, STEPS_PER_LOOK, row));
done:
    tv_decoder_destroy(&decoder);
    return status;
}

/* ---- PPO ---- */

/* The policy is the model that is pretrained; reference and reward compute only. */
typedef enum role { POLICY, REFERENCE, VALUE, REWARD, ROLES } role;

typedef struct ppo_bench {
    tv_run_settings settings; /* of PPO, its defaults */
    tv_policy_settings policy_settings;
    tv_value_settings value_settings;
    uint64_t sequences, max_tokens, prompt, batch;
    tv_parameter_list *scored; /* the model with a score head */
    tv_model *models[ROLES];   /* the policy's is the caller's */
    tv_trainer *trainers[ROLES];
    tv_decoder *decoder;
    tv_ppo_advantages *advantages;
    tv_policy_rollout rollout;
    float *rewards;
} ppo_bench;

static tv_status ignore_outputs(void *context, const tv_micro_batch *batch,
                                const float *const outputs[TV_HEAD_TENSORS]) {
    (void)context;
    (void)batch;
    (void)outputs;
    return TV_OK;
}

/* An iteration as stages/ppo/iteration.c goes through it: draw, score, evaluate, advantages, update. */
static tv_status iterate(void *context) {
    ppo_bench *p = context;
    const tv_ppo_settings *settings = &p->settings.ppo;
    double totals[TV_GAE_SUMS];
    TV_RETURN_IF_FAILED(start_rows(p->decoder, p->sequences, p->prompt, p->max_tokens));
    for (uint64_t drawn = 0; drawn < p->max_tokens - p->prompt; drawn += STEPS_PER_LOOK)
        TV_RETURN_IF_FAILED(look(p->decoder));
    for (int r = 0; r < ROLES; r++)
        TV_RETURN_IF_FAILED(tv_trainer_forward(p->trainers[r], tv_div_up(p->sequences, p->batch), no_batch,
                                               NULL, ignore_outputs, NULL));
    TV_RETURN_IF_FAILED(
        tv_ppo_advantages_run(p->advantages, &p->rollout, p->rewards, settings->kl_coef, totals));
    for (uint64_t epoch = 0; epoch < settings->epochs; epoch++)
        for (uint64_t first = 0; first < p->sequences; first += settings->minibatch) {
            TV_RETURN_IF_FAILED(train(p->trainers[POLICY]));
            TV_RETURN_IF_FAILED(train(p->trainers[VALUE]));
        }
    return TV_OK;
}

static tv_status make_roles(ppo_bench *p, tv_model *policy) {
    static const char *const stages[ROLES] = {"ppo", "ppo reference", "ppo value", "ppo reward"};
    const tv_parameter_list *list = tv_model_list(policy);
    tv_model_config scored = list->config;
    scored.head = TV_MODEL_HEAD_SCORE;
    TV_RETURN_IF_FAILED(tv_parameter_list_create(&scored, &p->scored));
    p->models[POLICY] = policy;
    for (int r = 0; r < ROLES; r++) {
        bool trains = r == POLICY || r == VALUE, has_logits = r == POLICY || r == REFERENCE;
        if (r != POLICY)
            TV_RETURN_IF_FAILED(tv_model_create(tv_model_device(policy), has_logits ? list : p->scored,
                                                trains, &p->models[r]));
        const tv_trainer_options options = {
            .stage = stages[r],
            .batch = p->batch,
            .tokens = p->max_tokens - 1,
            .grad_accum = tv_div_up(p->settings.ppo.minibatch, p->batch),
            .narrow = true,
            .head = has_logits ? tv_policy_head : tv_value_head,
            .head_settings =
                has_logits ? (const void *)&p->policy_settings : (const void *)&p->value_settings,
            .train = trains,
        };
        TV_RETURN_IF_FAILED(tv_trainer_create(p->models[r], &options, &p->trainers[r]));
    }
    return TV_OK;
}

static tv_status make_rollout(ppo_bench *p) {
    TV_RETURN_IF_FAILED(tv_policy_rollout_create(p->sequences, p->max_tokens - 1, &p->rollout));
    p->rewards = calloc(p->sequences, sizeof *p->rewards);
    if (!p->rewards)
        return tv_fail(TV_E_MEMORY, "out of host memory for rewards");
    for (uint64_t s = 0; s < p->sequences; s++)
        p->rollout.items[s] = (tv_policy_sequence){.length = p->max_tokens, .prompt_length = p->prompt};
    return TV_OK;
}

static void free_ppo(ppo_bench *p) {
    tv_ppo_advantages_destroy(&p->advantages);
    tv_decoder_destroy(&p->decoder);
    for (int r = 0; r < ROLES; r++) {
        tv_trainer_destroy(&p->trainers[r]);
        if (r != POLICY)
            tv_model_destroy(&p->models[r]);
    }
    tv_parameter_list_destroy(&p->scored);
    tv_policy_rollout_free(&p->rollout);
    tv_run_settings_free(&p->settings);
    free(p->rewards);
}

static tv_status record_ppo(tv_model *model, tv_recorded_step *row) {
    tv_device *device = tv_model_device(model);
    ppo_bench p = {.sequences = PPO_PROMPTS};
    tv_status status;
    TV_TRY(tv_run_settings_read(NULL, NULL, 0, TV_STAGE_PPO, &p.settings));
    p.policy_settings =
        (tv_policy_settings){.clip = p.settings.ppo.clip, .temperature = p.settings.ppo.temperature};
    p.value_settings =
        (tv_value_settings){.clip = p.settings.ppo.value_clip, .coefficient = p.settings.ppo.vf_coef};
    p.batch = tv_min_u64(p.settings.train.batch_size, p.settings.ppo.minibatch);
    p.prompt = tv_min_u64(PROMPT, tv_max_u64(1, tv_model_list(model)->config.max_positions / 4));
    p.max_tokens = tv_min_u64(p.prompt + PPO_LONGEST, tv_model_list(model)->config.max_positions);
    double begin = tv_seconds();
    TV_TRY(make_roles(&p, model));
    TV_TRY(make_rollout(&p));
    TV_TRY(tv_decoder_create(model, &(tv_decoder_options){.rows = p.sequences, .max_tokens = p.max_tokens},
                             &p.decoder));
    TV_TRY(tv_ppo_advantages_create(device, &p.settings.ppo, p.sequences, p.max_tokens - 1, &p.advantages));
    row->record_ms = (tv_seconds() - begin) * 1e3;
    TV_TRY(replay(device, iterate, &p, PPO_REPLAYS, 1, row));
done:
    free_ppo(&p);
    return status;
}

/* ---- a configuration ---- */

static tv_recorded_step *next_row(tv_recorded_steps *steps, const char *name) {
    tv_recorded_step *row = &steps->rows[steps->count++];
    *row = (tv_recorded_step){.name = name};
    return row;
}

tv_status tv_bench_record(tv_device *device, tv_run_settings *settings, const char *where, uint64_t rows,
                          tv_recorded_steps *steps) {
    tv_bench_model found = {0};
    tv_parameter_list *list = NULL;
    tv_status status;
    *steps = (tv_recorded_steps){0};
    TV_TRY(tv_bench_model_find(NULL, settings, where, &found));
    TV_TRY(tv_parameter_list_choose(settings, found.list, NULL, NULL, &list));
    tv_defaults_of_model(settings, list->elements, list->config.max_positions);
    TV_TRY(tv_bench_check_length(settings, &list->config));
    TV_TRY(tv_model_create(device, list, true, &found.model));
    TV_TRY(record_training(found.model, settings, next_row(steps, "pretraining")));
    TV_TRY(record_decoding(found.model, rows, next_row(steps, "decoding")));
    TV_TRY(record_ppo(found.model, next_row(steps, "PPO iteration")));
done:
    tv_bench_model_free(&found);
    tv_parameter_list_destroy(&list);
    return status;
}
