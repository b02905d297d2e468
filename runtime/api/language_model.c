/* The public API's language model over model, trainer and decoder: see trivium/language_model.h. */
#include "trivium/language_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "formats/load.h"
#include "kernels/classifier.h"
#include "model/decoder.h"
#include "train/step.h"
#include "train/trainer.h"

_Static_assert(TV_NO_TARGET == TV_IGNORED_TARGET, "the public constant is the kernels'");

struct tv_language_model {
    tv_device *device;
    tv_parameter_list *own_list;   /* of a created model */
    tv_model_directory *directory; /* of a loaded one; owns its list */
    tv_model *model;
    tv_trainer *trainer; /* from the first step or loss on */
    uint64_t batch, length;
    tv_decoder *decoder; /* from the first generation on */
    uint64_t decoder_tokens;
};

static tv_status make_model(tv_language_model *lm, const tv_parameter_list *list) {
    return tv_model_create(lm->device, list, true, &lm->model);
}

static tv_status allocate(tv_device *device, tv_language_model **out) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    (*out)->device = device;
    return TV_OK;
}

tv_status tv_language_model_create(tv_device *device, const char *config_json, uint64_t seed,
                                   tv_language_model **out) {
    tv_status status;
    tv_language_model *lm = NULL;
    cJSON *tree = NULL;
    tv_model_config config;
    *out = NULL;
    TV_TRY(allocate(device, &lm));
    TV_TRY(tv_json_parse(config_json, strlen(config_json), "config_json", &tree));
    TV_TRY(tv_model_config_read(tree, "config_json", false, &config));
    TV_TRY(tv_model_config_expect_head(&config, TV_MODEL_HEAD_LANGUAGE, "config_json"));
    TV_TRY(tv_parameter_list_create(&config, &lm->own_list));
    TV_TRY(make_model(lm, lm->own_list));
    TV_TRY(tv_model_initialise(lm->model, seed));
    cJSON_Delete(tree);
    *out = lm;
    return TV_OK;
fail:
    cJSON_Delete(tree);
    tv_language_model_destroy(&lm);
    return status;
}

tv_status tv_language_model_load(tv_device *device, const char *directory, tv_language_model **out) {
    tv_status status;
    tv_language_model *lm = NULL;
    *out = NULL;
    TV_TRY(allocate(device, &lm));
    TV_TRY(tv_model_directory_open(directory, &lm->directory));
    TV_TRY(tv_model_config_expect_head(&tv_model_directory_parameters(lm->directory)->config,
                                       TV_MODEL_HEAD_LANGUAGE, directory));
    TV_TRY(make_model(lm, tv_model_directory_parameters(lm->directory)));
    TV_TRY(tv_model_load(lm->model, lm->directory));
    *out = lm;
    return TV_OK;
fail:
    tv_language_model_destroy(&lm);
    return status;
}

tv_status tv_language_model_save(tv_language_model *lm, const char *directory) {
    TV_RETURN_IF_FAILED(tv_make_dirs(directory));
    return tv_model_directory_write(directory, tv_model_list(lm->model), tv_model_source, lm->model);
}

void tv_language_model_destroy(tv_language_model **handle) {
    if (!handle || !*handle)
        return;
    tv_language_model *lm = *handle;
    tv_decoder_destroy(&lm->decoder);
    tv_trainer_destroy(&lm->trainer);
    tv_model_destroy(&lm->model);
    tv_model_directory_close(&lm->directory);
    tv_parameter_list_destroy(&lm->own_list);
    free(lm);
    *handle = NULL;
}

uint64_t tv_language_model_parameters(const tv_language_model *lm) {
    return tv_model_list(lm->model)->elements;
}

uint64_t tv_language_model_vocab(const tv_language_model *lm) {
    return tv_model_list(lm->model)->config.vocab_size;
}

/* ---- training ---- */

static tv_status check_ids(const tv_language_model *lm, const char *what, const uint32_t *ids, uint64_t count,
                           bool may_ignore) {
    uint64_t vocab = tv_language_model_vocab(lm);
    for (uint64_t i = 0; i < count; i++)
        if (ids[i] >= vocab && !(may_ignore && ids[i] == TV_NO_TARGET))
            return tv_fail(TV_E_DATA, "%s[%llu]: expected an id below %llu, found %u", what,
                           (unsigned long long)i, (unsigned long long)vocab, ids[i]);
    return TV_OK;
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

static tv_status prepare_batch(tv_language_model *lm, uint64_t batch, uint64_t length, const uint32_t *tokens,
                               const uint32_t *targets, caller_batch *out) {
    if (batch == 0 || length == 0 || length > tv_model_list(lm->model)->config.max_positions ||
        batch > UINT32_MAX / length)
        return tv_fail(
            TV_E_USAGE,
            "a batch of %llu x %llu tokens: expected at least one of each and a length of at most %llu",
            (unsigned long long)batch, (unsigned long long)length,
            (unsigned long long)tv_model_list(lm->model)->config.max_positions);
    if (lm->trainer && (batch != lm->batch || length != lm->length))
        return tv_fail(TV_E_USAGE,
                       "expected batches of %llu x %llu tokens as in the first call, found %llu x %llu",
                       (unsigned long long)lm->batch, (unsigned long long)lm->length,
                       (unsigned long long)batch, (unsigned long long)length);
    *out = (caller_batch){tokens, targets, batch * length};
    TV_RETURN_IF_FAILED(check_ids(lm, "tokens", tokens, out->count, false));
    TV_RETURN_IF_FAILED(check_ids(lm, "targets", targets, out->count, true));
    if (lm->trainer)
        return TV_OK;
    lm->batch = batch;
    lm->length = length;
    return tv_trainer_create(
        lm->model,
        &(tv_trainer_options){
            .stage = "language model", .batch = batch, .tokens = length, .grad_accum = 1, .train = true},
        &lm->trainer);
}

tv_status tv_language_model_step(tv_language_model *lm, uint64_t batch, uint64_t length,
                                 const uint32_t *tokens, const uint32_t *targets,
                                 const tv_adamw_settings *settings, double *loss, double *grad_norm) {
    caller_batch from;
    tv_step_result result;
    bool has_result;
    TV_RETURN_IF_FAILED(prepare_batch(lm, batch, length, tokens, targets, &from));
    const struct tv_step_constants constants =
        tv_step_constants_make(settings->lr, settings->weight_decay, settings->beta1, settings->beta2,
                               settings->eps, settings->grad_clip);
    TV_RETURN_IF_FAILED(tv_trainer_step(lm->trainer, &constants, copy_batch, &from, &result, &has_result));
    TV_RETURN_IF_FAILED(tv_trainer_drain(lm->trainer, &result, &has_result));
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

/* ---- generation ---- */

/* A decoder of the needed length, kept for the next call. */
static tv_status prepare_decoder(tv_language_model *lm, uint64_t tokens) {
    if (lm->decoder && lm->decoder_tokens >= tokens)
        return TV_OK;
    tv_decoder_destroy(&lm->decoder);
    lm->decoder_tokens = tokens;
    return tv_decoder_create(lm->model, &(tv_decoder_options){.rows = 1, .max_tokens = tokens}, &lm->decoder);
}

tv_status tv_language_model_generate(tv_language_model *lm, const uint32_t *prompt, uint64_t prompt_length,
                                     const tv_generate_settings *settings, uint32_t *tokens,
                                     uint64_t *count) {
    const tv_model_config *config = &tv_model_list(lm->model)->config;
    *count = 0;
    if (prompt_length == 0 || prompt_length >= config->max_positions || settings->max_new == 0)
        return tv_fail(
            TV_E_USAGE,
            "a prompt of %llu ids and %llu new ones: expected at least one of each, and a prompt below %llu",
            (unsigned long long)prompt_length, (unsigned long long)settings->max_new,
            (unsigned long long)config->max_positions);
    TV_RETURN_IF_FAILED(check_ids(lm, "prompt", prompt, prompt_length, false));
    uint64_t room = config->max_positions - prompt_length;
    uint64_t max_new = tv_min_u64(settings->max_new, room);
    TV_RETURN_IF_FAILED(prepare_decoder(lm, prompt_length + max_new));
    const tv_decoder_prompt start = {.tokens = prompt, .length = prompt_length, .max_new = max_new};
    const tv_decoder_settings drawing = {
        .seed = settings->seed,
        .temperature = (float)settings->temperature,
        .top_k = (uint32_t)tv_min_u64(settings->top_k, UINT32_MAX),
        .top_p = (float)settings->top_p,
        .end_count = config->eos_token_id >= 0,
        .ends = {config->eos_token_id >= 0 ? (uint32_t)config->eos_token_id : 0},
    };
    TV_RETURN_IF_FAILED(tv_decoder_start(lm->decoder, &start, 1, &drawing));
    uint64_t running = 1;
    /* Enough steps between two looks that the host is not in the way, few enough that little runs in vain. */
    while (running)
        TV_RETURN_IF_FAILED(tv_decoder_run(lm->decoder, 16, &running));
    tv_decoder_row row = tv_decoder_read(lm->decoder, 0);
    *count = tv_min_u64(row.length - row.prompt_length, settings->max_new);
    memcpy(tokens, row.tokens + row.prompt_length, *count * sizeof *tokens);
    return TV_OK;
}
