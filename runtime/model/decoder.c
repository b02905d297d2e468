/* Generation with a key-value cache: see decoder.h. */
#include "model/decoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/attention.h"
#include "kernels/logprobs.h"
#include "kernels/matrices.h"
#include "kernels/sample.h"
#include "model/decoder_state.h"
#include "model/forward.h"
#include "model/heads.h"
#include "vk/capture.h"
#include "vk/submit.h"
#include "vk/transfer.h"

enum { STEPS_PER_SUBMIT = 32 /* steps per call of the queue; the host waits once for all of them */ };

tv_status tv_decoder_measure(const tv_parameter_list *list, const tv_caps *caps,
                             const tv_decoder_options *options, tv_decoder_bytes *bytes) {
    *bytes = (tv_decoder_bytes){0};
    tv_status status;
    decoder_plan plan, whole = {0};
    tv_activations *activations = NULL;
    TV_TRY(tv_decoder_plan_make(&list->config, caps, options, &plan));
    const tv_activations_options step = tv_decoder_activations(caps, options);
    TV_TRY(tv_activations_create(NULL, caps, list, &step, &activations));
    bytes->cache = plan.cache_plan.total_bytes;
    if (plan.own_tokens > 0) {
        const tv_decoder_options alone = {.rows = options->rows, .max_tokens = options->max_tokens};
        TV_TRY(tv_decoder_plan_make(&list->config, caps, &alone, &whole));
        bytes->shared = whole.cache_plan.total_bytes - bytes->cache;
    }
    bytes->activations = options->shared ? 0 : activations->bytes;
    bytes->state = plan.state_plan.total_bytes + plan.back_plan.total_bytes + plan.up_plan.total_bytes;
done:
    tv_activations_destroy(&activations);
    tv_decoder_plan_free(&plan);
    tv_decoder_plan_free(&whole);
    return status;
}

bool tv_decoder_has_training_bits(const tv_model *model) {
    tv_device *device = tv_model_device(model);
    return tv_attention_has_one_order(tv_device_caps(device), tv_model_list(model)->config.head_size) &&
           tv_rows_have_one_order(device);
}

/* ---- the recorded step ---- */

/* Of rows that were drawn from logits, which still stand: what training's heads would say of the tokens. */
static tv_status rate(tv_recorder *recorder, const tv_decoder *decoder, tv_tensor logits, tv_part rows) {
    const tv_tensor drawn = tv_decoder_state(decoder, STATE_DRAWN);
    const uint64_t entropies = tv_decoder_entropies_at(decoder->options.rows);
    return tv_token_logprobs_record(
        recorder,
        &(tv_token_logprobs){
            .rows = rows.count,
            .vocab = tv_model_list(decoder->model)->config.vocab_size,
            .inverse_temperature = decoder->options.inverse_temperature,
            .logits = logits,
            .targets = tv_tensor_rows(tv_decoder_state(decoder, STATE_TOKENS), 1, rows.first, rows.count),
            .logprobs = tv_tensor_rows(drawn, 1, rows.first, rows.count),
            .lse = tv_tensor_rows(tv_decoder_state(decoder, STATE_DRAWN_LSE), 2, rows.first, rows.count),
            .entropies = tv_tensor_rows(drawn, 1, entropies + rows.first, rows.count)});
}

/* Per chunk of rows: logits, the drawn tokens and their log-probabilities. */
static tv_status draw(tv_recorder *recorder, const tv_decoder *decoder, const tv_activations *a) {
    const uint64_t vocab = tv_model_list(decoder->model)->config.vocab_size;
    const bool rated = decoder->options.inverse_temperature > 0;
    tv_record_push_label(recorder, "draw");
    for (uint64_t first = 0; first < a->rows; first += a->head_rows) {
        uint64_t rows = tv_min_u64(a->head_rows, a->rows - first);
        tv_tensor logits;
        TV_RETURN_IF_FAILED(tv_language_logits(recorder, decoder->model, a, first, rows, &logits));
        TV_RETURN_IF_FAILED(tv_sample_record(
            recorder,
            &(tv_sample){
                .rows = rows,
                .vocab = vocab,
                .logits = logits,
                .settings = tv_decoder_state(decoder, STATE_SETTINGS),
                .sequences = tv_tensor_rows(tv_decoder_state(decoder, STATE_NUMBERS), 1, first, rows),
                .positions = tv_tensor_rows(tv_decoder_state(decoder, STATE_POSITIONS), 1, first, rows),
                .tokens = tv_tensor_rows(tv_decoder_state(decoder, STATE_TOKENS), 1, first, rows),
                .logprobs = rated ? TV_ABSENT
                                  : tv_tensor_rows(tv_decoder_state(decoder, STATE_DRAWN), 1, first, rows)}));
        if (rated)
            TV_RETURN_IF_FAILED(rate(recorder, decoder, logits, (tv_part){first, rows}));
    }
    tv_record_pop_label(recorder);
    return TV_OK;
}

static tv_status advance(tv_recorder *recorder, const tv_decoder *decoder, uint64_t rows) {
    return tv_decode_advance_record(
        recorder, &(tv_decode_advance){.rows = rows,
                                       .max_tokens = decoder->options.max_tokens,
                                       .tokens = tv_decoder_state(decoder, STATE_TOKENS),
                                       .drawn = tv_decoder_state(decoder, STATE_DRAWN),
                                       .entropies_at = decoder->options.inverse_temperature > 0
                                                           ? tv_decoder_entropies_at(decoder->options.rows)
                                                           : 0,
                                       .bounds = tv_decoder_state(decoder, STATE_BOUNDS),
                                       .ends = tv_decoder_state(decoder, STATE_ENDS),
                                       .positions = tv_decoder_state(decoder, STATE_POSITIONS),
                                       .finished = tv_decoder_state(decoder, STATE_FINISHED),
                                       .prompts = tv_decoder_state(decoder, STATE_PROMPTS),
                                       .recent = tv_decoder_state(decoder, STATE_RECENT)});
}

/* The first `rows` slots. */
static tv_status record_step(const tv_decoder *decoder, uint64_t rows, bool profile, tv_recording **step) {
    tv_status status;
    tv_recorder *recorder = NULL;
    const tv_model_inputs inputs = {.tokens = tv_decoder_state(decoder, STATE_TOKENS),
                                    .positions = tv_decoder_state(decoder, STATE_POSITIONS)};
    tv_kv_cache cache = {.max_tokens = decoder->options.max_tokens,
                         .k = decoder->k,
                         .v = decoder->v,
                         .arrived = tv_decoder_arrived(decoder)};
    if (tv_decoder_shares(decoder)) {
        cache.prefixes = tv_decoder_state(decoder, STATE_PREFIXES);
        cache.prefix_count = decoder->plan.prefix_count;
        cache.prefix_tokens = decoder->plan.prefix_tokens;
        cache.own_tokens = decoder->plan.own_tokens;
    }
    const tv_activations activations = tv_activations_of_fewer(decoder->activations, rows, 1);
    TV_TRY_OR_FAIL(tv_recorder_begin(
        tv_model_device(decoder->model),
        &(tv_recorder_options){.name = "decode/step", .simultaneous = !profile, .profile = profile},
        &recorder));
    TV_TRY_OR_FAIL(tv_forward_cached(recorder, decoder->model, &activations, &inputs, &cache));
    TV_TRY_OR_FAIL(draw(recorder, decoder, &activations));
    TV_TRY_OR_FAIL(advance(recorder, decoder, rows));
    return tv_recorder_end(&recorder, step);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

static tv_status record_read_back(tv_decoder *decoder) {
    tv_status status;
    tv_recorder *recorder = NULL;
    TV_TRY_OR_FAIL(tv_recorder_begin(tv_model_device(decoder->model),
                                     &(tv_recorder_options){.name = "decode/read back"}, &recorder));
    for (int i = 0; i < STATE_READ_BACK; i++)
        TV_TRY_OR_FAIL(tv_record_copy(recorder, tv_device_arena_span(decoder->state, &decoder->plan.state[i]),
                                      tv_device_arena_span(decoder->back, &decoder->plan.back[i])));
    return tv_recorder_end(&recorder, &decoder->read_back);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

static void empty_rows(tv_decoder *decoder) {
    for (uint64_t r = 0; r < decoder->options.rows; r++) {
        decoder->books[r] = (row_book){.slot = NO_SLOT, .prefix = NO_SLOT, .finished = TV_DECODE_LENGTH};
        decoder->slots[r] = NO_SLOT;
    }
    for (uint64_t i = 0; i < decoder->plan.prefix_count; i++)
        decoder->prefixes[i].rows = 0;
    decoder->changed = true;
}

static tv_status create(const tv_model *model, const tv_decoder_options *options, tv_decoder **out) {
    *out = NULL;
    tv_status status;
    tv_device *device = tv_model_device(model);
    const tv_model_config *config = &tv_model_list(model)->config;
    const tv_activations_options step = tv_decoder_activations(tv_device_caps(device), options);
    tv_decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder)
        return tv_fail(TV_E_MEMORY, "out of host memory for a decoder");
    decoder->model = model;
    decoder->options = *options;
    decoder->reading_rows = tv_decoder_reading_rows(options);
    TV_TRY_OR_FAIL(tv_decoder_plan_make(config, tv_device_caps(device), options, &decoder->plan));
    TV_TRY_OR_FAIL(tv_model_need_context(model, options->max_tokens));
    decoder->k = calloc(config->n_layer, sizeof *decoder->k);
    decoder->v = calloc(config->n_layer, sizeof *decoder->v);
    decoder->books = calloc(options->rows, sizeof *decoder->books);
    decoder->slots = calloc(options->rows, sizeof *decoder->slots);
    decoder->prefixes = calloc(decoder->plan.prefix_count, sizeof *decoder->prefixes);
    decoder->held = calloc(decoder->plan.prefix_count * decoder->plan.prefix_tokens, sizeof *decoder->held);
    decoder->tokens = calloc(options->rows * options->max_tokens, sizeof *decoder->tokens);
    decoder->logprobs = calloc(options->rows * options->max_tokens, sizeof *decoder->logprobs);
    decoder->entropies = calloc(options->rows * options->max_tokens, sizeof *decoder->entropies);
    if (!decoder->k || !decoder->v || !decoder->books || !decoder->slots || !decoder->prefixes ||
        !decoder->tokens || !decoder->held || !decoder->logprobs || !decoder->entropies) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a decoder");
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_device_arena_create(device, &decoder->plan.state_plan, TV_MEMORY_DEVICE,
                                          "decoder state", &decoder->state));
    TV_TRY_OR_FAIL(tv_device_arena_create(device, &decoder->plan.back_plan, TV_MEMORY_READBACK,
                                          "decoder read back", &decoder->back));
    TV_TRY_OR_FAIL(tv_device_arena_create(device, &decoder->plan.up_plan, TV_MEMORY_UPLOAD, "decoder upload",
                                          &decoder->up));
    TV_TRY_OR_FAIL(tv_device_arena_create(device, &decoder->plan.cache_plan, TV_MEMORY_DEVICE,
                                          "key-value cache", &decoder->cache));
    const tv_dtype type = tv_attention_cache_type(tv_device_caps(device), config->head_size);
    for (uint64_t l = 0; l < config->n_layer; l++) {
        decoder->k[l] = (tv_tensor){tv_device_arena_span(decoder->cache, &decoder->plan.cache[2 * l]), type};
        decoder->v[l] =
            (tv_tensor){tv_device_arena_span(decoder->cache, &decoder->plan.cache[2 * l + 1]), type};
    }
    TV_TRY_OR_FAIL(tv_activations_create(device, tv_device_caps(device), tv_model_list(model), &step,
                                         &decoder->activations));
    TV_TRY_OR_FAIL(record_step(decoder, options->rows, false, &decoder->steps[0]));
    TV_TRY_OR_FAIL(record_read_back(decoder));
    TV_TRY_OR_FAIL(tv_decoder_record_columns(decoder));
    empty_rows(decoder);
    *out = decoder;
    return TV_OK;
fail:
    tv_decoder_destroy(&decoder);
    return status;
}

typedef struct creation {
    const tv_model *model;
    const tv_decoder_options *options;
    tv_decoder *decoder;
} creation;

static tv_status create_of(void *context) {
    creation *c = context;
    return create(c->model, c->options, &c->decoder);
}

tv_status tv_decoder_create(const tv_model *model, const tv_decoder_options *options, tv_decoder **out) {
    creation c = {model, options, NULL};
    tv_status status = tv_make_in_smaller_buffers(tv_model_device(model), create_of, &c);
    *out = c.decoder;
    return status;
}

void tv_decoder_destroy(tv_decoder **handle) {
    if (!handle || !*handle)
        return;
    tv_decoder *decoder = *handle;
    for (int i = 0; i < MAX_LEVELS; i++) {
        tv_recording_destroy(&decoder->steps[i]);
        tv_recording_destroy(&decoder->reads[i]);
    }
    tv_recording_destroy(&decoder->read_back);
    tv_recording_destroy(&decoder->columns);
    tv_recording_destroy(&decoder->change);
    tv_recording_destroy(&decoder->profile);
    tv_activations_destroy(&decoder->activations);
    tv_device_arena_destroy(&decoder->state);
    tv_device_arena_destroy(&decoder->back);
    tv_device_arena_destroy(&decoder->up);
    tv_device_arena_destroy(&decoder->cache);
    tv_decoder_plan_free(&decoder->plan);
    free(decoder->k);
    free(decoder->v);
    free(decoder->books);
    free(decoder->slots);
    free(decoder->prefixes);
    free(decoder->tokens);
    free(decoder->held);
    free(decoder->logprobs);
    free(decoder->entropies);
    free(decoder);
    *handle = NULL;
}

/* ---- starting ---- */

tv_status tv_decoder_check(const tv_decoder *decoder, uint64_t number, const tv_decoder_prompt *prompt) {
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
    if (tv_decoder_shares(decoder) &&
        (prompt->length > decoder->options.prompt_tokens || prompt->max_new > decoder->options.max_new))
        return tv_fail(
            TV_E_USAGE,
            "prompt %llu has %llu tokens and asks for %llu, and the decoder shares prompts of up to "
            "%llu with answers of up to %llu",
            (unsigned long long)number, (unsigned long long)prompt->length,
            (unsigned long long)prompt->max_new, (unsigned long long)decoder->options.prompt_tokens,
            (unsigned long long)decoder->options.max_new);
    for (uint64_t i = 0; i < prompt->length; i++)
        if (prompt->tokens[i] >= vocab)
            return tv_fail(TV_E_DATA, "prompt %llu: token %llu is %u and the vocabulary ends at %llu",
                           (unsigned long long)number, (unsigned long long)i, prompt->tokens[i],
                           (unsigned long long)vocab);
    return TV_OK;
}

static void set_settings(tv_decoder *decoder, const tv_decoder_settings *settings) {
    const tv_sample_settings sample = {
        .seed_low = (uint32_t)settings->seed,
        .seed_high = (uint32_t)(settings->seed >> 32),
        .temperature = settings->temperature,
        .top_k = settings->top_k,
        .top_p = settings->top_p,
    };
    memcpy(tv_decoder_up(decoder, STATE_SETTINGS), &sample, sizeof sample);
    uint32_t *ends = tv_decoder_up(decoder, STATE_ENDS);
    ends[0] = settings->end_count;
    for (uint32_t i = 0; i < settings->end_count; i++)
        ends[1 + i] = settings->ends[i];
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
        TV_RETURN_IF_FAILED(tv_decoder_check(decoder, i, &prompts[i]));
    empty_rows(decoder);
    decoder->stale = true;
    set_settings(decoder, settings);
    for (uint64_t i = 0; i < count; i++)
        TV_RETURN_IF_FAILED(tv_decoder_fill(decoder, i, &prompts[i]));
    return TV_OK;
}

bool tv_decoder_has_room(const tv_decoder *decoder, const tv_decoder_prompt *prompt) {
    uint64_t held;
    return !tv_decoder_shares(decoder) || prompt->length == 1 ||
           tv_decoder_prefix_for(decoder, prompt, &held) != NO_SLOT;
}

/* The row is placed by the next run. */
static tv_status fill(tv_decoder *decoder, uint64_t row, const tv_decoder_prompt *prompt) {
    uint64_t width = decoder->options.max_tokens, prefix = NO_SLOT, held = 0;
    if (row >= decoder->options.rows || decoder->books[row].finished == TV_DECODE_RUNNING)
        return tv_fail(TV_E_USAGE, "row %llu of a decoder of %llu was to be filled, which %s",
                       (unsigned long long)row, (unsigned long long)decoder->options.rows,
                       row < decoder->options.rows ? "still runs" : "does not exist");
    TV_RETURN_IF_FAILED(tv_decoder_check(decoder, row, prompt));
    if (tv_decoder_shares(decoder) && prompt->length > 1) {
        prefix = tv_decoder_prefix_for(decoder, prompt, &held);
        if (prefix == NO_SLOT)
            return tv_fail(TV_E_USAGE, "a decoder for %llu prompts at once was given one more",
                           (unsigned long long)decoder->plan.prefix_count);
    }
    decoder->books[row] = (row_book){
        .slot = NO_SLOT,
        .prefix = NO_SLOT,
        .length = 1,
        .prompt_length = prompt->length,
        .limit = (uint32_t)(prompt->length + tv_min_u64(prompt->max_new, width - prompt->length)),
        .sequence = prompt->sequence,
        .finished = TV_DECODE_RUNNING,
    };
    memcpy(decoder->tokens + row * width, prompt->tokens, prompt->length * sizeof *prompt->tokens);
    memset(decoder->logprobs + row * width, 0, prompt->length * sizeof *decoder->logprobs);
    memset(decoder->entropies + row * width, 0, prompt->length * sizeof *decoder->entropies);
    if (prefix != NO_SLOT)
        tv_decoder_claim(decoder, row, prefix, held);
    decoder->changed = true;
    return TV_OK;
}

tv_status tv_decoder_fill(tv_decoder *decoder, uint64_t row, const tv_decoder_prompt *prompt) {
    const uint64_t prefixes = decoder->plan.prefix_count;
    for (uint64_t i = 0; decoder->stale && i < prefixes; i++)
        decoder->prefixes[i].held = decoder->prefixes[i].claimed = 0;
    decoder->stale = false;
    return fill(decoder, row, prompt);
}

tv_status tv_decoder_continue(tv_decoder *decoder, const tv_decoder_prompt *prompt) {
    if (decoder->options.rows != 1)
        return tv_fail(TV_E_USAGE, "only a decoder of one row continues a text, and this one has %llu",
                       (unsigned long long)decoder->options.rows);
    decoder->stale = false;
    return fill(decoder, 0, prompt);
}

/* ---- running ---- */

/* Takes the new tokens into the host's texts; ended rows leave their slots. Of logits that are not numbers a
 * token is drawn all the same, whose log-probability is none. */
static tv_status take_back(tv_decoder *decoder, uint64_t *running) {
    uint64_t width = decoder->options.max_tokens;
    tv_status status = TV_OK;
    *running = 0;
    const uint32_t *positions = tv_decoder_back(decoder, STATE_POSITIONS);
    const uint32_t *finished = tv_decoder_back(decoder, STATE_FINISHED);
    const tv_decode_drawn *recent = tv_decoder_back(decoder, STATE_RECENT);
    for (uint64_t slot = 0; slot < decoder->options.rows; slot++) {
        uint64_t row = decoder->slots[slot];
        if (row == NO_SLOT)
            continue;
        row_book *book = &decoder->books[row];
        prefix_book *prefix = &decoder->prefixes[book->prefix == NO_SLOT ? 0 : book->prefix];
        uint64_t first = tv_max_u64(book->length, book->prompt_length);
        book->length = (uint64_t)positions[slot] + 1;
        book->finished = finished[slot];
        for (uint64_t i = first; i < book->length; i++) {
            const tv_decode_drawn *drawn = &recent[slot * TV_DECODE_RECENT + i % TV_DECODE_RECENT];
            decoder->tokens[row * width + i] = drawn->token;
            decoder->logprobs[row * width + i] = drawn->logprob;
            decoder->entropies[row * width + i] = drawn->entropy;
            if (status == TV_OK && !isfinite(drawn->logprob))
                status =
                    tv_fail(TV_E_NUMERIC,
                            "token %llu of a text was drawn from logits that are not finite; the weights are "
                            "damaged, or too large for fp32",
                            (unsigned long long)(i + 1));
        }
        for (; !tv_decoder_shares(decoder) && prefix->held < book->length - 1; prefix->held++)
            decoder->held[slot * width + prefix->held] = decoder->tokens[row * width + prefix->held];
        *running += book->finished == TV_DECODE_RUNNING;
        if (book->finished != TV_DECODE_RUNNING) {
            prefix->rows -= book->prefix != NO_SLOT;
            book->slot = book->prefix = NO_SLOT;
            decoder->slots[slot] = NO_SLOT;
        }
    }
    return status;
}

/* The last of the steps are submitted with what reads their outcome back. */
static tv_status finish(tv_decoder *decoder, tv_recording *step, uint64_t steps, uint64_t *running) {
    tv_device *device = tv_model_device(decoder->model);
    tv_recording *batch[STEPS_PER_SUBMIT + 1];
    uint64_t value;
    for (uint64_t i = 0; i < steps; i++)
        batch[i] = step;
    batch[steps] = decoder->read_back;
    TV_RETURN_IF_FAILED(tv_submit(device, batch, (uint32_t)steps + 1, &value));
    TV_RETURN_IF_FAILED(tv_wait(device, value));
    return take_back(decoder, running);
}

/* At most TV_DECODE_RECENT steps, then a look at what they drew. */
static tv_status run_to_look(tv_decoder *decoder, uint64_t steps, uint64_t *running) {
    tv_device *device = tv_model_device(decoder->model);
    TV_RETURN_IF_FAILED(tv_decoder_place_rows(decoder));
    tv_recording **step = &decoder->steps[decoder->level];
    if (!*step)
        TV_RETURN_IF_FAILED(record_step(
            decoder, tv_decoder_rows_of_level(decoder->options.rows, decoder->level), false, step));
    tv_recording *batch[STEPS_PER_SUBMIT];
    for (int i = 0; i < STEPS_PER_SUBMIT; i++)
        batch[i] = *step;
    uint64_t value, done = 0;
    for (; steps - done > STEPS_PER_SUBMIT; done += STEPS_PER_SUBMIT)
        TV_RETURN_IF_FAILED(tv_submit(device, batch, STEPS_PER_SUBMIT, &value));
    return finish(decoder, *step, steps - done, running);
}

static tv_status run(tv_decoder *decoder, uint64_t steps, uint64_t *running) {
    uint64_t done = 0;
    do {
        uint64_t part = tv_min_u64(TV_DECODE_RECENT, steps - done);
        TV_RETURN_IF_FAILED(run_to_look(decoder, part, running));
        done += part;
    } while (done<steps && * running> 0);
    return TV_OK;
}

tv_status tv_decoder_run(tv_decoder *decoder, uint64_t steps, uint64_t *running) {
    tv_device *device = tv_model_device(decoder->model);
    TV_RETURN_IF_FAILED(tv_activations_borrow(decoder->activations, "drawing"));
    uint64_t before = decoder->steps_run;
    bool capture = decoder->capture_step > before && decoder->capture_step <= before + steps;
    tv_status status = capture ? tv_capture_begin(device, "steps of drawing") : TV_OK;
    if (status == TV_OK)
        status = run(decoder, steps, running);
    decoder->steps_run += steps;
    if (capture && status == TV_OK)
        status = tv_capture_end(device);
    tv_activations_return(decoder->activations);
    return status;
}

void tv_decoder_capture(tv_decoder *decoder, uint64_t step) {
    decoder->capture_step = step;
}

uint64_t tv_decoder_step_rows(const tv_decoder *decoder) {
    return tv_decoder_rows_of_level(decoder->options.rows, decoder->level);
}

uint64_t tv_decoder_tokens_read(const tv_decoder *decoder) {
    return decoder->tokens_read;
}

uint64_t tv_decoder_tokens_shared(const tv_decoder *decoder) {
    return decoder->tokens_shared;
}

tv_decoder_row tv_decoder_read(const tv_decoder *decoder, uint64_t row) {
    const row_book *book = &decoder->books[row];
    const uint64_t at = row * decoder->options.max_tokens;
    return (tv_decoder_row){.tokens = decoder->tokens + at,
                            .logprobs = decoder->logprobs + at,
                            .entropies =
                                decoder->options.inverse_temperature > 0 ? decoder->entropies + at : NULL,
                            .length = book->length,
                            .prompt_length = book->prompt_length,
                            .finished = book->finished};
}

/* Nothing of a step writes over them: the head is its last use of the activations. */
tv_status tv_decoder_logits(const tv_decoder *decoder, float *logits) {
    if (decoder->options.rows != 1)
        return tv_fail(TV_E_USAGE, "only a decoder of one row hands out its logits, and this one has %llu",
                       (unsigned long long)decoder->options.rows);
    if (!tv_activations_kept(decoder->activations))
        return tv_fail(TV_E_USAGE, "the logits of the last step are gone: its activations were used since");
    return tv_download(tv_model_device(decoder->model), decoder->activations->logits.span, logits,
                       tv_model_list(decoder->model)->config.vocab_size * sizeof *logits);
}

static tv_status profile(tv_decoder *decoder, tv_dispatch_time **times, uint32_t *count) {
    uint64_t running;
    TV_RETURN_IF_FAILED(tv_decoder_place_rows(decoder));
    tv_recording_destroy(&decoder->profile);
    TV_RETURN_IF_FAILED(record_step(decoder, tv_decoder_rows_of_level(decoder->options.rows, decoder->level),
                                    true, &decoder->profile));
    TV_RETURN_IF_FAILED(finish(decoder, decoder->profile, 1, &running));
    return tv_recording_profile(decoder->profile, times, count);
}

tv_status tv_decoder_profile(tv_decoder *decoder, tv_dispatch_time **times, uint32_t *count) {
    TV_RETURN_IF_FAILED(tv_activations_borrow(decoder->activations, "drawing"));
    tv_status status = profile(decoder, times, count);
    tv_activations_return(decoder->activations);
    return status;
}
