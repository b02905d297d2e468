/* Training of the public API's language model: see trivium/language_model.h. */
#include <math.h>
#include <string.h>

#include "api/language_model.h"
#include "run/checkpoint.h"
#include "train/step.h"

tv_adamw_settings tv_adamw_default_settings(void) {
    return (tv_adamw_settings){
        .lr = 6e-4, .weight_decay = 0.1, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .grad_clip = 1};
}

typedef struct caller_batch {
    const uint32_t *tokens, *targets;
    uint64_t count;
} caller_batch;

static tv_status copy_batch(void *context, tv_micro_batch *batch) {
    const caller_batch *from = context;
    memcpy(batch->tokens, from->tokens, from->count * sizeof *from->tokens);
    memcpy(batch->targets, from->targets, from->count * sizeof *from->targets);
    return TV_OK;
}

/* A trainer for (batch, length), which goes on where the one before stopped counting. */
static tv_status prepare_trainer(tv_language_model *lm, uint64_t batch, uint64_t length) {
    if (lm->trainer && batch == lm->batch && length == lm->length)
        return TV_OK;
    tv_trainer_destroy(&lm->trainer);
    TV_RETURN_IF_FAILED(tv_trainer_create(
        lm->model,
        &(tv_trainer_options){
            .stage = "language model", .batch = batch, .tokens = length, .grad_accum = 1, .train = lm->train},
        &lm->trainer));
    lm->batch = batch;
    lm->length = length;
    return lm->train ? tv_trainer_set_state(lm->trainer, &lm->update) : TV_OK;
}

static tv_status prepare_batch(tv_language_model *lm, uint64_t batch, uint64_t length, const uint32_t *tokens,
                               const uint32_t *targets, caller_batch *out) {
    uint64_t positions = tv_language_model_positions(lm);
    if (batch == 0 || length == 0 || length > positions || batch > UINT32_MAX / length)
        return tv_fail(
            TV_E_USAGE,
            "a batch of %llu x %llu tokens: expected at least one of each and a length of at most %llu",
            (unsigned long long)batch, (unsigned long long)length, (unsigned long long)positions);
    *out = (caller_batch){tokens, targets, batch * length};
    TV_RETURN_IF_FAILED(tv_language_model_check_ids(lm, "tokens", tokens, out->count, false));
    TV_RETURN_IF_FAILED(tv_language_model_check_ids(lm, "targets", targets, out->count, true));
    return prepare_trainer(lm, batch, length);
}

static tv_status expect_training(const tv_language_model *lm) {
    if (lm->train)
        return TV_OK;
    return tv_fail(TV_E_USAGE, "the model was made without training; set `train` in its options");
}

tv_status tv_language_model_step(tv_language_model *lm, uint64_t batch, uint64_t length,
                                 const uint32_t *tokens, const uint32_t *targets,
                                 const tv_adamw_settings *settings, double *loss, double *grad_norm) {
    const tv_adamw_settings s = settings ? *settings : tv_adamw_default_settings();
    caller_batch from;
    tv_step_result result;
    bool has_result;
    TV_RETURN_IF_FAILED(expect_training(lm));
    TV_RETURN_IF_FAILED(prepare_batch(lm, batch, length, tokens, targets, &from));
    const struct tv_step_constants constants =
        tv_step_constants_make(s.lr, s.weight_decay, s.beta1, s.beta2, s.eps, s.grad_clip);
    lm->decoder_stale = true;
    TV_RETURN_IF_FAILED(tv_trainer_step(lm->trainer, &constants, copy_batch, &from, &result, &has_result));
    TV_RETURN_IF_FAILED(tv_trainer_drain(lm->trainer, &result, &has_result));
    lm->update = result.state;
    lm->steps++;
    lm->examples += batch;
    lm->tokens += from.count;
    if (loss)
        *loss = result.loss;
    if (grad_norm)
        *grad_norm = result.grad_norm;
    return TV_OK;
}

tv_status tv_language_model_loss(tv_language_model *lm, uint64_t batch, uint64_t length,
                                 const uint32_t *tokens, const uint32_t *targets, double *loss) {
    caller_batch from;
    double loss_sum;
    uint64_t valid;
    TV_RETURN_IF_FAILED(prepare_batch(lm, batch, length, tokens, targets, &from));
    TV_RETURN_IF_FAILED(
        tv_trainer_evaluate(lm->trainer, 1, copy_batch, &from, NULL, NULL, &loss_sum, &valid));
    *loss = valid ? loss_sum / (double)valid : 0;
    return TV_OK;
}

/* ---- checkpoints ---- */

tv_status tv_language_model_save_training(tv_language_model *lm, const char *directory) {
    TV_RETURN_IF_FAILED(expect_training(lm));
    const tv_checkpoint_state state = {.step = lm->steps,
                                       .examples = lm->examples,
                                       .tokens = lm->tokens,
                                       .best_val_loss = INFINITY,
                                       .update = lm->update};
    return tv_checkpoint_write_alone(directory, lm->model, NULL, &state);
}

static tv_status check_same_model(const tv_language_model *lm, const tv_model_directory *directory) {
    const tv_parameter_list *own = tv_model_list(lm->model);
    const tv_parameter_list *found = tv_model_directory_parameters(directory);
    if (tv_model_config_same_body(&own->config, &found->config) && own->count == found->count &&
        own->elements == found->elements)
        return TV_OK;
    return tv_fail(TV_E_CONFIG, "%s: expected a checkpoint of the model's own config, found that of another",
                   tv_model_directory_path(directory));
}

tv_status tv_language_model_load_training(tv_language_model *lm, const char *path) {
    tv_status status;
    tv_model_directory *directory = NULL;
    tv_checkpoint_state state;
    bool sealed;
    TV_TRY(expect_training(lm));
    TV_TRY(tv_model_directory_open(path, &directory));
    TV_TRY(check_same_model(lm, directory));
    TV_TRY(tv_checkpoint_check(path, &sealed));
    TV_TRY(tv_checkpoint_read_state(path, &state));
    lm->decoder_stale = true;
    TV_TRY(tv_checkpoint_read_model(path, directory, lm->model));
    lm->update = state.update;
    lm->steps = state.step;
    lm->examples = state.examples;
    lm->tokens = state.tokens;
    if (lm->trainer)
        TV_TRY(tv_trainer_set_state(lm->trainer, &lm->update));
done:
    tv_model_directory_close(&directory);
    return status;
}
