/* Generation with a key-value cache: see decoder.h. */
#include "model/decoder.h"

#include <stdlib.h>

#include "kernels/sample.h"
#include "model/forward.h"
#include "model/heads.h"
#include "vk/submit.h"

/* Steps per call of the queue; the host waits once for all of them. */
enum { STEPS_PER_SUBMIT = 32 };

/* The state that the host reads back comes first. */
typedef enum state_tensor {
    STATE_POSITIONS,                /* (rows) */
    STATE_FINISHED,                 /* (rows) */
    STATE_SEQUENCES,                /* (rows, max_tokens) */
    STATE_LOGPROBS,                 /* (rows, max_tokens) */
    STATE_READ_BACK,                /* so many are read back */
    STATE_TOKENS = STATE_READ_BACK, /* (rows) */
    STATE_DRAWN_LOGPROBS,           /* (rows) */
    STATE_NUMBERS,                  /* (rows) sequence numbers */
    STATE_BOUNDS,                   /* (rows, 2) */
    STATE_ENDS,                     /* (TV_DECODE_ENDS_WORDS) */
    STATE_SETTINGS,                 /* struct tv_sample_settings */
    STATE_COUNT
} state_tensor;

typedef struct decoder_plan {
    tv_plan_item state[STATE_COUNT];
    tv_plan_item back[STATE_READ_BACK];
    tv_plan_item *cache; /* k, v of layer 0, of layer 1, ... */
    uint64_t cache_count;
    tv_memory_plan state_plan, back_plan, cache_plan;
} decoder_plan;

struct tv_decoder {
    const tv_model *model;
    tv_decoder_options options;
    tv_activations *activations;
    decoder_plan plan;
    tv_device_arena *state, *back, *cache;
    tv_tensor *k, *v; /* of each layer: (rows, Hkv, max_tokens, D) */
    tv_recording *step, *read_back;
    uint64_t *prompt_lengths; /* (rows), 0 for a row without a prompt */
};

/* ---- memory ---- */

static void free_plan(decoder_plan *plan) {
    tv_memory_plan_free(&plan->state_plan);
    tv_memory_plan_free(&plan->back_plan);
    tv_memory_plan_free(&plan->cache_plan);
    free(plan->cache);
    *plan = (decoder_plan){0};
}

static tv_status check_options(const tv_model_config *config, const tv_decoder_options *options) {
    if (options->rows == 0)
        return tv_fail(TV_E_USAGE, "a decoder needs at least one row");
    if (options->max_tokens < 2 || options->max_tokens > config->max_positions)
        return tv_fail(TV_E_CONFIG,
                       "sequences of %llu tokens were asked for and the model has positions for 2 to %llu",
                       (unsigned long long)options->max_tokens, (unsigned long long)config->max_positions);
    uint64_t row = config->n_kv_head * config->head_size, elements;
    if (!tv_mul_u64(options->rows, options->max_tokens, &elements) || !tv_mul_u64(elements, row, &elements) ||
        !tv_mul_u64(elements, 8 * config->n_layer, &elements) || options->rows > UINT32_MAX)
        return tv_fail(TV_E_FIT, "%llu rows of %llu tokens are over every device; use fewer rows",
                       (unsigned long long)options->rows, (unsigned long long)options->max_tokens);
    return TV_OK;
}

/* The caller frees the plan, also on failure. */
static tv_status make_plan(const tv_model_config *config, const tv_caps *caps,
                           const tv_decoder_options *options, decoder_plan *plan) {
    *plan = (decoder_plan){0};
    TV_RETURN_IF_FAILED(check_options(config, options));
    uint64_t rows = options->rows, max_tokens = options->max_tokens;
    const uint64_t words[STATE_COUNT] = {
        [STATE_POSITIONS] = rows,
        [STATE_FINISHED] = rows,
        [STATE_SEQUENCES] = rows * max_tokens,
        [STATE_LOGPROBS] = rows * max_tokens,
        [STATE_TOKENS] = rows,
        [STATE_DRAWN_LOGPROBS] = rows,
        [STATE_NUMBERS] = rows,
        [STATE_BOUNDS] = 2 * rows,
        [STATE_ENDS] = TV_DECODE_ENDS_WORDS,
        [STATE_SETTINGS] = sizeof(tv_sample_settings) / sizeof(uint32_t),
    };
    for (int i = 0; i < STATE_COUNT; i++)
        plan->state[i].bytes = words[i] * sizeof(uint32_t);
    for (int i = 0; i < STATE_READ_BACK; i++)
        plan->back[i].bytes = plan->state[i].bytes;
    plan->cache_count = 2 * config->n_layer;
    plan->cache = calloc(plan->cache_count, sizeof *plan->cache);
    if (!plan->cache)
        return tv_fail(TV_E_MEMORY, "out of host memory for a decoder");
    for (uint64_t i = 0; i < plan->cache_count; i++)
        plan->cache[i].bytes = rows * config->n_kv_head * max_tokens * config->head_size * sizeof(float);
    TV_RETURN_IF_FAILED(
        tv_memory_plan_sequence(plan->state, STATE_COUNT, caps->buffer_bytes, &plan->state_plan));
    TV_RETURN_IF_FAILED(
        tv_memory_plan_sequence(plan->back, STATE_READ_BACK, caps->buffer_bytes, &plan->back_plan));
    return tv_memory_plan_sequence(plan->cache, plan->cache_count, caps->buffer_bytes, &plan->cache_plan);
}

/* One token per row, forward only. */
static tv_activations_options step_activations(const tv_decoder_options *options) {
    return (tv_activations_options){.batch = options->rows, .tokens = 1};
}

tv_status tv_decoder_measure(const tv_model_config *config, const tv_caps *caps,
                             const tv_decoder_options *options, tv_decoder_bytes *bytes) {
    *bytes = (tv_decoder_bytes){0};
    tv_status status;
    decoder_plan plan;
    tv_activations *activations = NULL;
    TV_TRY(make_plan(config, caps, options, &plan));
    const tv_activations_options step = step_activations(options);
    TV_TRY(tv_activations_create(NULL, caps, config, &step, &activations));
    bytes->cache = plan.cache_plan.total_bytes;
    bytes->activations = activations->bytes;
    bytes->state = plan.state_plan.total_bytes + plan.back_plan.total_bytes;
fail:
    tv_activations_destroy(&activations);
    free_plan(&plan);
    return status;
}

static tv_tensor state_of(const tv_decoder *decoder, state_tensor which) {
    bool real = which == STATE_LOGPROBS || which == STATE_DRAWN_LOGPROBS;
    return (tv_tensor){tv_device_arena_span(decoder->state, &decoder->plan.state[which]),
                       real ? TV_F32 : TV_U32};
}

static const void *read_back_of(const tv_decoder *decoder, state_tensor which) {
    return tv_span_map(tv_device_arena_span(decoder->back, &decoder->plan.back[which]));
}

/* ---- the recorded step ---- */

/* Per chunk of rows: logits, the drawn tokens and their log-probabilities. */
static tv_status draw(tv_recorder *recorder, const tv_decoder *decoder) {
    const tv_activations *a = decoder->activations;
    uint64_t vocab = tv_model_list(decoder->model)->config.vocab_size;
    tv_record_push_label(recorder, "draw");
    for (uint64_t first = 0; first < a->rows; first += a->head_rows) {
        uint64_t rows = tv_min_u64(a->head_rows, a->rows - first);
        tv_tensor logits;
        TV_RETURN_IF_FAILED(tv_language_logits(recorder, decoder->model, a, first, rows, &logits));
        TV_RETURN_IF_FAILED(tv_sample_record(
            recorder,
            &(tv_sample){.rows = rows,
                         .vocab = vocab,
                         .logits = logits,
                         .settings = state_of(decoder, STATE_SETTINGS),
                         .sequences = tv_tensor_rows(state_of(decoder, STATE_NUMBERS), 1, first, rows),
                         .positions = tv_tensor_rows(state_of(decoder, STATE_POSITIONS), 1, first, rows),
                         .tokens = tv_tensor_rows(state_of(decoder, STATE_TOKENS), 1, first, rows),
                         .logprobs =
                             tv_tensor_rows(state_of(decoder, STATE_DRAWN_LOGPROBS), 1, first, rows)}));
    }
    tv_record_pop_label(recorder);
    return TV_OK;
}

static tv_status advance(tv_recorder *recorder, const tv_decoder *decoder) {
    return tv_decode_advance_record(
        recorder, &(tv_decode_advance){.rows = decoder->options.rows,
                                       .max_tokens = decoder->options.max_tokens,
                                       .tokens = state_of(decoder, STATE_TOKENS),
                                       .drawn_logprobs = state_of(decoder, STATE_DRAWN_LOGPROBS),
                                       .bounds = state_of(decoder, STATE_BOUNDS),
                                       .ends = state_of(decoder, STATE_ENDS),
                                       .positions = state_of(decoder, STATE_POSITIONS),
                                       .finished = state_of(decoder, STATE_FINISHED),
                                       .sequences = state_of(decoder, STATE_SEQUENCES),
                                       .logprobs = state_of(decoder, STATE_LOGPROBS)});
}

static tv_status record_step(tv_decoder *decoder) {
    tv_status status;
    tv_recorder *recorder = NULL;
    const tv_model_inputs inputs = {.tokens = state_of(decoder, STATE_TOKENS),
                                    .positions = state_of(decoder, STATE_POSITIONS)};
    const tv_kv_cache cache = {decoder->options.max_tokens, decoder->k, decoder->v};
    TV_TRY(tv_recorder_begin(tv_model_device(decoder->model),
                             &(tv_recorder_options){.name = "decode/step", .simultaneous = true}, &recorder));
    TV_TRY(tv_forward_cached(recorder, decoder->model, decoder->activations, &inputs, &cache));
    TV_TRY(draw(recorder, decoder));
    TV_TRY(advance(recorder, decoder));
    return tv_recorder_end(&recorder, &decoder->step);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

static tv_status record_read_back(tv_decoder *decoder) {
    tv_status status;
    tv_recorder *recorder = NULL;
    TV_TRY(tv_recorder_begin(tv_model_device(decoder->model),
                             &(tv_recorder_options){.name = "decode/read back"}, &recorder));
    for (int i = 0; i < STATE_READ_BACK; i++)
        TV_TRY(tv_record_copy(recorder, tv_device_arena_span(decoder->state, &decoder->plan.state[i]),
                              tv_device_arena_span(decoder->back, &decoder->plan.back[i])));
    return tv_recorder_end(&recorder, &decoder->read_back);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

tv_status tv_decoder_create(const tv_model *model, const tv_decoder_options *options, tv_decoder **out) {
    *out = NULL;
    tv_status status;
    tv_device *device = tv_model_device(model);
    const tv_model_config *config = &tv_model_list(model)->config;
    const tv_activations_options step = step_activations(options);
    tv_decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder)
        return tv_fail(TV_E_MEMORY, "out of host memory for a decoder");
    decoder->model = model;
    decoder->options = *options;
    TV_TRY(make_plan(config, tv_device_caps(device), options, &decoder->plan));
    decoder->k = calloc(config->n_layer, sizeof *decoder->k);
    decoder->v = calloc(config->n_layer, sizeof *decoder->v);
    decoder->prompt_lengths = calloc(options->rows, sizeof *decoder->prompt_lengths);
    if (!decoder->k || !decoder->v || !decoder->prompt_lengths) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a decoder");
        goto fail;
    }
    TV_TRY(tv_device_arena_create(device, &decoder->plan.state_plan, TV_MEMORY_DEVICE, "decoder state",
                                  &decoder->state));
    TV_TRY(tv_device_arena_create(device, &decoder->plan.back_plan, TV_MEMORY_READBACK, "decoder read back",
                                  &decoder->back));
    TV_TRY(tv_device_arena_create(device, &decoder->plan.cache_plan, TV_MEMORY_DEVICE, "key-value cache",
                                  &decoder->cache));
    for (uint64_t l = 0; l < config->n_layer; l++) {
        decoder->k[l] =
            (tv_tensor){tv_device_arena_span(decoder->cache, &decoder->plan.cache[2 * l]), TV_F32};
        decoder->v[l] =
            (tv_tensor){tv_device_arena_span(decoder->cache, &decoder->plan.cache[2 * l + 1]), TV_F32};
    }
    TV_TRY(tv_activations_create(device, tv_device_caps(device), config, &step, &decoder->activations));
    TV_TRY(record_step(decoder));
    TV_TRY(record_read_back(decoder));
    *out = decoder;
    return TV_OK;
fail:
    tv_decoder_destroy(&decoder);
    return status;
}

void tv_decoder_destroy(tv_decoder **handle) {
    if (!handle || !*handle)
        return;
    tv_decoder *decoder = *handle;
    tv_recording_destroy(&decoder->step);
    tv_recording_destroy(&decoder->read_back);
    tv_activations_destroy(&decoder->activations);
    tv_device_arena_destroy(&decoder->state);
    tv_device_arena_destroy(&decoder->back);
    tv_device_arena_destroy(&decoder->cache);
    free_plan(&decoder->plan);
    free(decoder->k);
    free(decoder->v);
    free(decoder->prompt_lengths);
    free(decoder);
    *handle = NULL;
}

/* ---- starting ---- */

static tv_status check_prompt(const tv_decoder *decoder, uint64_t number, const tv_decoder_prompt *prompt) {
    uint64_t vocab = tv_model_list(decoder->model)->config.vocab_size;
    if (prompt->length == 0 || prompt->max_new == 0)
        return tv_fail(TV_E_USAGE, "prompt %llu is empty or asks for no token; both must be at least 1",
                       (unsigned long long)number);
    if (prompt->length >= decoder->options.max_tokens)
        return tv_fail(
            TV_E_USAGE,
            "prompt %llu has %llu tokens, which leaves nothing of the %llu of a sequence; shorten it",
            (unsigned long long)number, (unsigned long long)prompt->length,
            (unsigned long long)decoder->options.max_tokens);
    for (uint64_t i = 0; i < prompt->length; i++)
        if (prompt->tokens[i] >= vocab)
            return tv_fail(TV_E_DATA, "prompt %llu: token %llu is %u and the vocabulary ends at %llu",
                           (unsigned long long)number, (unsigned long long)i, prompt->tokens[i],
                           (unsigned long long)vocab);
    return TV_OK;
}

static tv_status upload(tv_decoder *decoder, state_tensor which, const void *values) {
    tv_span span = state_of(decoder, which).span;
    return tv_upload(tv_model_device(decoder->model), span, values, span.bytes);
}

static tv_status upload_settings(tv_decoder *decoder, const tv_decoder_settings *settings) {
    const tv_sample_settings sample = {
        .seed_low = (uint32_t)settings->seed,
        .seed_high = (uint32_t)(settings->seed >> 32),
        .temperature = settings->temperature,
        .top_k = settings->top_k,
        .top_p = settings->top_p,
    };
    uint32_t ends[TV_DECODE_ENDS_WORDS] = {settings->end_count};
    for (uint32_t i = 0; i < settings->end_count; i++)
        ends[1 + i] = settings->ends[i];
    TV_RETURN_IF_FAILED(upload(decoder, STATE_SETTINGS, &sample));
    return upload(decoder, STATE_ENDS, ends);
}

/* A row starts at position 0 with its prompt's first token; the cache needs no clearing, because a step reads
 * no further than its own position. */
static tv_status upload_rows(tv_decoder *decoder, const tv_decoder_prompt *prompts, uint64_t count) {
    uint64_t rows = decoder->options.rows, width = decoder->options.max_tokens;
    tv_status status;
    uint32_t *sequences = calloc(rows * width, sizeof *sequences);
    uint32_t *columns = calloc(5 * rows, sizeof *columns);
    if (!sequences || !columns) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for %llu prompts", (unsigned long long)count);
        goto fail;
    }
    uint32_t *tokens = columns, *numbers = columns + rows, *finished = columns + 2 * rows,
             *bounds = columns + 3 * rows;
    for (uint64_t r = 0; r < rows; r++) {
        decoder->prompt_lengths[r] = r < count ? prompts[r].length : 0;
        if (r >= count) {
            finished[r] = TV_DECODE_LENGTH;
            continue;
        }
        const tv_decoder_prompt *prompt = &prompts[r];
        for (uint64_t i = 0; i < prompt->length; i++)
            sequences[r * width + i] = prompt->tokens[i];
        tokens[r] = prompt->tokens[0];
        numbers[r] = prompt->sequence;
        bounds[2 * r] = (uint32_t)prompt->length;
        bounds[2 * r + 1] = (uint32_t)(prompt->length + tv_min_u64(prompt->max_new, width - prompt->length));
    }
    TV_TRY(upload(decoder, STATE_TOKENS, tokens));
    TV_TRY(upload(decoder, STATE_NUMBERS, numbers));
    TV_TRY(upload(decoder, STATE_FINISHED, finished));
    TV_TRY(upload(decoder, STATE_BOUNDS, bounds));
    TV_TRY(upload(decoder, STATE_SEQUENCES, sequences));
    TV_TRY(tv_clear(tv_model_device(decoder->model), state_of(decoder, STATE_POSITIONS).span));
    TV_TRY(tv_clear(tv_model_device(decoder->model), state_of(decoder, STATE_LOGPROBS).span));
fail:
    free(sequences);
    free(columns);
    return status;
}

tv_status tv_decoder_start(tv_decoder *decoder, const tv_decoder_prompt *prompts, uint64_t count,
                           const tv_decoder_settings *settings) {
    if (count > decoder->options.rows || settings->end_count > TV_DECODE_MAX_ENDS)
        return tv_fail(TV_E_USAGE,
                       "%llu prompts and %u end tokens were given to a decoder for %llu and %d at most",
                       (unsigned long long)count, settings->end_count,
                       (unsigned long long)decoder->options.rows, TV_DECODE_MAX_ENDS);
    if (!(settings->temperature >= 0) || !(settings->top_p > 0 && settings->top_p <= 1))
        return tv_fail(TV_E_USAGE, "temperature is %g and top-p %g; they must be at least 0 and in (0, 1]",
                       (double)settings->temperature, (double)settings->top_p);
    for (uint64_t i = 0; i < count; i++)
        TV_RETURN_IF_FAILED(check_prompt(decoder, i, &prompts[i]));
    TV_RETURN_IF_FAILED(upload_settings(decoder, settings));
    return upload_rows(decoder, prompts, count);
}

/* ---- running ---- */

tv_status tv_decoder_run(tv_decoder *decoder, uint64_t steps, uint64_t *running) {
    tv_device *device = tv_model_device(decoder->model);
    tv_recording *batch[STEPS_PER_SUBMIT];
    for (int i = 0; i < STEPS_PER_SUBMIT; i++)
        batch[i] = decoder->step;
    uint64_t value;
    for (uint64_t done = 0; done < steps; done += STEPS_PER_SUBMIT)
        TV_RETURN_IF_FAILED(
            tv_submit(device, batch, (uint32_t)tv_min_u64(STEPS_PER_SUBMIT, steps - done), &value));
    TV_RETURN_IF_FAILED(tv_submit(device, &decoder->read_back, 1, &value));
    TV_RETURN_IF_FAILED(tv_wait(device, value));
    const uint32_t *finished = read_back_of(decoder, STATE_FINISHED);
    *running = 0;
    for (uint64_t r = 0; r < decoder->options.rows; r++)
        *running += finished[r] == TV_DECODE_RUNNING;
    return TV_OK;
}

tv_decoder_row tv_decoder_read(const tv_decoder *decoder, uint64_t row) {
    uint64_t width = decoder->options.max_tokens;
    const uint32_t *positions = read_back_of(decoder, STATE_POSITIONS);
    const uint32_t *finished = read_back_of(decoder, STATE_FINISHED);
    const uint32_t *sequences = read_back_of(decoder, STATE_SEQUENCES);
    const float *logprobs = read_back_of(decoder, STATE_LOGPROBS);
    uint64_t prompt = decoder->prompt_lengths[row];
    return (tv_decoder_row){.tokens = sequences + row * width,
                            .logprobs = logprobs + row * width,
                            .length = prompt ? (uint64_t)positions[row] + 1 : 0,
                            .prompt_length = prompt,
                            .finished = finished[row]};
}
