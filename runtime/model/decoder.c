/* Generation with a key-value cache: see decoder.h. */
#include "model/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/sample.h"
#include "model/forward.h"
#include "model/heads.h"
#include "vk/submit.h"

enum {
    STEPS_PER_SUBMIT = 32, /* steps per call of the queue; the host waits once for all of them */
    MAX_LEVELS = 33        /* rows, half of them, a quarter, ... one: rows are below 2^32 */
};

/* The state that the host reads back comes first, and what it never writes last. "Slot": a row of these
 * tensors and of the caches. */
typedef enum state_tensor {
    STATE_LOGPROBS,                       /* (slots, max_tokens) */
    STATE_POSITIONS,                      /* (slots) */
    STATE_FINISHED,                       /* (slots) */
    STATE_SEQUENCES,                      /* (slots, max_tokens) */
    STATE_READ_BACK,                      /* so many are read back */
    STATE_TOKENS = STATE_READ_BACK,       /* (slots) */
    STATE_NUMBERS,                        /* (slots) sequence numbers */
    STATE_BOUNDS,                         /* (slots, 2) */
    STATE_ENDS,                           /* (TV_DECODE_ENDS_WORDS) */
    STATE_SETTINGS,                       /* struct tv_sample_settings */
    STATE_WRITTEN,                        /* all between LOGPROBS and this are written by the host */
    STATE_DRAWN_LOGPROBS = STATE_WRITTEN, /* (slots) */
    STATE_COUNT
} state_tensor;

typedef struct decoder_plan {
    tv_plan_item state[STATE_COUNT];
    tv_plan_item back[STATE_READ_BACK];
    tv_plan_item up[STATE_WRITTEN]; /* as in `state`, nothing for the log-probabilities */
    tv_plan_item *cache;            /* k, v of layer 0, of layer 1, ... */
    uint64_t cache_count;
    tv_memory_plan state_plan, back_plan, up_plan, cache_plan;
} decoder_plan;

/* The host's book of a row. A running row stands in a slot; an ended one keeps only its text, on the host. */
static const uint64_t NO_SLOT = UINT64_MAX;
typedef struct row_book {
    uint64_t slot;          /* NO_SLOT: the row is empty, has ended or is not placed yet */
    uint64_t length;        /* tokens fed and drawn; 0: empty */
    uint64_t prompt_length; /* all of it lies in the decoder's `tokens` from the start */
    uint32_t limit, sequence, finished;
} row_book;

struct tv_decoder {
    const tv_model *model;
    tv_decoder_options options;
    tv_activations *activations; /* of all rows; smaller steps use the front of them */
    decoder_plan plan;
    tv_device_arena *state, *back, *up, *cache;
    tv_tensor *k, *v;                /* of each layer: (slots, Hkv, max_tokens, D) */
    tv_recording *steps[MAX_LEVELS]; /* of rows >> level, rounded up; recorded when first needed */
    tv_recording *read_back, *change, *profile;
    uint64_t fed;     /* in a decoder of one row: tokens of its text that the cache holds */
    uint32_t level;   /* of the last run */
    bool changed;     /* the host's books are ahead of the device */
    row_book *books;  /* (rows) */
    uint64_t *row_of; /* (slots) the row that stands there; NO_SLOT: free */
    uint32_t *tokens; /* (rows, max_tokens) texts */
    float *logprobs;  /* (rows, max_tokens) */
};

/* ---- memory ---- */

static void free_plan(decoder_plan *plan) {
    tv_memory_plan_free(&plan->state_plan);
    tv_memory_plan_free(&plan->back_plan);
    tv_memory_plan_free(&plan->up_plan);
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
        [STATE_NUMBERS] = rows,
        [STATE_BOUNDS] = 2 * rows,
        [STATE_ENDS] = TV_DECODE_ENDS_WORDS,
        [STATE_SETTINGS] = sizeof(tv_sample_settings) / sizeof(uint32_t),
        [STATE_DRAWN_LOGPROBS] = rows,
    };
    for (int i = 0; i < STATE_COUNT; i++)
        plan->state[i].bytes = words[i] * sizeof(uint32_t);
    for (int i = 0; i < STATE_READ_BACK; i++)
        plan->back[i].bytes = plan->state[i].bytes;
    for (int i = STATE_LOGPROBS + 1; i < STATE_WRITTEN; i++)
        plan->up[i].bytes = plan->state[i].bytes;
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
    TV_RETURN_IF_FAILED(tv_memory_plan_sequence(plan->up, STATE_WRITTEN, caps->buffer_bytes, &plan->up_plan));
    return tv_memory_plan_sequence(plan->cache, plan->cache_count, caps->buffer_bytes, &plan->cache_plan);
}

/* One token per row, forward only. */
static tv_activations_options step_activations(const tv_decoder_options *options) {
    return (tv_activations_options){.batch = options->rows, .tokens = 1, .rows_alone = true};
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
    bytes->state = plan.state_plan.total_bytes + plan.back_plan.total_bytes + plan.up_plan.total_bytes;
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

static void *up_of(const tv_decoder *decoder, state_tensor which) {
    return tv_span_map(tv_device_arena_span(decoder->up, &decoder->plan.up[which]));
}

static const void *read_back_of(const tv_decoder *decoder, state_tensor which) {
    return tv_span_map(tv_device_arena_span(decoder->back, &decoder->plan.back[which]));
}

/* ---- the recorded step ---- */

static uint64_t rows_of_level(const tv_decoder *decoder, uint32_t level) {
    return tv_div_up(decoder->options.rows, UINT64_C(1) << level);
}

/* Per chunk of rows: logits, the drawn tokens and their log-probabilities. */
static tv_status draw(tv_recorder *recorder, const tv_decoder *decoder, const tv_activations *a) {
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

static tv_status advance(tv_recorder *recorder, const tv_decoder *decoder, uint64_t rows) {
    return tv_decode_advance_record(
        recorder, &(tv_decode_advance){.rows = rows,
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

/* The first `rows` slots. */
static tv_status record_step(const tv_decoder *decoder, uint64_t rows, bool profile, tv_recording **step) {
    tv_status status;
    tv_recorder *recorder = NULL;
    const tv_model_inputs inputs = {.tokens = state_of(decoder, STATE_TOKENS),
                                    .positions = state_of(decoder, STATE_POSITIONS)};
    const tv_kv_cache cache = {decoder->options.max_tokens, decoder->k, decoder->v};
    const tv_activations activations = tv_activations_of_fewer(decoder->activations, rows, 1);
    TV_TRY(tv_recorder_begin(
        tv_model_device(decoder->model),
        &(tv_recorder_options){.name = "decode/step", .simultaneous = !profile, .profile = profile},
        &recorder));
    TV_TRY(tv_forward_cached(recorder, decoder->model, &activations, &inputs, &cache));
    TV_TRY(draw(recorder, decoder, &activations));
    TV_TRY(advance(recorder, decoder, rows));
    return tv_recorder_end(&recorder, step);
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

static void empty_rows(tv_decoder *decoder) {
    for (uint64_t r = 0; r < decoder->options.rows; r++) {
        decoder->books[r] = (row_book){.slot = NO_SLOT, .finished = TV_DECODE_LENGTH};
        decoder->row_of[r] = NO_SLOT;
    }
    decoder->changed = true;
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
    decoder->books = calloc(options->rows, sizeof *decoder->books);
    decoder->row_of = calloc(options->rows, sizeof *decoder->row_of);
    decoder->tokens = calloc(options->rows * options->max_tokens, sizeof *decoder->tokens);
    decoder->logprobs = calloc(options->rows * options->max_tokens, sizeof *decoder->logprobs);
    if (!decoder->k || !decoder->v || !decoder->books || !decoder->row_of || !decoder->tokens ||
        !decoder->logprobs) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a decoder");
        goto fail;
    }
    TV_TRY(tv_device_arena_create(device, &decoder->plan.state_plan, TV_MEMORY_DEVICE, "decoder state",
                                  &decoder->state));
    TV_TRY(tv_device_arena_create(device, &decoder->plan.back_plan, TV_MEMORY_READBACK, "decoder read back",
                                  &decoder->back));
    TV_TRY(tv_device_arena_create(device, &decoder->plan.up_plan, TV_MEMORY_UPLOAD, "decoder upload",
                                  &decoder->up));
    TV_TRY(tv_device_arena_create(device, &decoder->plan.cache_plan, TV_MEMORY_DEVICE, "key-value cache",
                                  &decoder->cache));
    for (uint64_t l = 0; l < config->n_layer; l++) {
        decoder->k[l] =
            (tv_tensor){tv_device_arena_span(decoder->cache, &decoder->plan.cache[2 * l]), TV_F32};
        decoder->v[l] =
            (tv_tensor){tv_device_arena_span(decoder->cache, &decoder->plan.cache[2 * l + 1]), TV_F32};
    }
    TV_TRY(tv_activations_create(device, tv_device_caps(device), config, &step, &decoder->activations));
    TV_TRY(record_step(decoder, options->rows, false, &decoder->steps[0]));
    TV_TRY(record_read_back(decoder));
    empty_rows(decoder);
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
    for (int i = 0; i < MAX_LEVELS; i++)
        tv_recording_destroy(&decoder->steps[i]);
    tv_recording_destroy(&decoder->read_back);
    tv_recording_destroy(&decoder->change);
    tv_recording_destroy(&decoder->profile);
    tv_activations_destroy(&decoder->activations);
    tv_device_arena_destroy(&decoder->state);
    tv_device_arena_destroy(&decoder->back);
    tv_device_arena_destroy(&decoder->up);
    tv_device_arena_destroy(&decoder->cache);
    free_plan(&decoder->plan);
    free(decoder->k);
    free(decoder->v);
    free(decoder->books);
    free(decoder->row_of);
    free(decoder->tokens);
    free(decoder->logprobs);
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
    memcpy(up_of(decoder, STATE_SETTINGS), &sample, sizeof sample);
    uint32_t *ends = up_of(decoder, STATE_ENDS);
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
    set_settings(decoder, settings);
    for (uint64_t i = 0; i < count; i++)
        TV_RETURN_IF_FAILED(tv_decoder_fill(decoder, i, &prompts[i]));
    return TV_OK;
}

/* The row is placed by the next run. Its cache holds the first `held` tokens already. */
static tv_status fill(tv_decoder *decoder, uint64_t row, const tv_decoder_prompt *prompt, uint64_t held) {
    uint64_t width = decoder->options.max_tokens;
    if (row >= decoder->options.rows || decoder->books[row].finished == TV_DECODE_RUNNING)
        return tv_fail(TV_E_USAGE, "row %llu of a decoder of %llu was to be filled, which %s",
                       (unsigned long long)row, (unsigned long long)decoder->options.rows,
                       row < decoder->options.rows ? "still runs" : "does not exist");
    TV_RETURN_IF_FAILED(tv_decoder_check(decoder, row, prompt));
    decoder->fed = held;
    decoder->books[row] = (row_book){
        .slot = NO_SLOT,
        .length = 1 + held,
        .prompt_length = prompt->length,
        .limit = (uint32_t)(prompt->length + tv_min_u64(prompt->max_new, width - prompt->length)),
        .sequence = prompt->sequence,
        .finished = TV_DECODE_RUNNING,
    };
    memcpy(decoder->tokens + row * width, prompt->tokens, prompt->length * sizeof *prompt->tokens);
    memset(decoder->logprobs + row * width, 0, prompt->length * sizeof *decoder->logprobs);
    decoder->changed = true;
    return TV_OK;
}

tv_status tv_decoder_fill(tv_decoder *decoder, uint64_t row, const tv_decoder_prompt *prompt) {
    return fill(decoder, row, prompt, 0);
}

/* The last token is fed again in any case, because its logits are wanted. */
tv_status tv_decoder_continue(tv_decoder *decoder, const tv_decoder_prompt *prompt) {
    if (decoder->options.rows != 1)
        return tv_fail(TV_E_USAGE, "only a decoder of one row continues a text, and this one has %llu",
                       (unsigned long long)decoder->options.rows);
    uint64_t held = 0;
    while (held < decoder->fed && held + 1 < prompt->length && decoder->tokens[held] == prompt->tokens[held])
        held++;
    return fill(decoder, 0, prompt, held);
}

/* ---- placing rows in slots ---- */

/* The smallest step that holds the running rows. */
static uint32_t level_for(const tv_decoder *decoder, uint64_t running) {
    uint32_t level = 0;
    while (rows_of_level(decoder, level) > 1 && rows_of_level(decoder, level + 1) >= running)
        level++;
    return level;
}

static uint64_t free_slot(const tv_decoder *decoder) {
    uint64_t slot = 0;
    while (decoder->row_of[slot] != NO_SLOT)
        slot++;
    return slot;
}

/* What the caches of a row hold of use: its whole slot, in every layer. */
static tv_status copy_cache(tv_recorder *recorder, const tv_decoder *decoder, uint64_t from, uint64_t to) {
    const tv_model_config *config = &tv_model_list(decoder->model)->config;
    uint64_t bytes = config->n_kv_head * decoder->options.max_tokens * config->head_size * sizeof(float);
    for (uint64_t l = 0; l < config->n_layer; l++) {
        const tv_tensor *caches[] = {&decoder->k[l], &decoder->v[l]};
        for (int i = 0; i < 2; i++)
            TV_RETURN_IF_FAILED(tv_record_copy(recorder, tv_span_part(caches[i]->span, from * bytes, bytes),
                                               tv_span_part(caches[i]->span, to * bytes, bytes)));
    }
    return TV_OK;
}

/* The row's text goes up as far as the device reads it: the rest of the prompt. The caches need no clearing,
 * because a step reads no further than its own position. */
static tv_status place(tv_recorder *recorder, tv_decoder *decoder, uint64_t row, uint64_t slot) {
    uint64_t width = decoder->options.max_tokens;
    row_book *book = &decoder->books[row];
    if (book->slot != NO_SLOT) {
        TV_RETURN_IF_FAILED(copy_cache(recorder, decoder, book->slot, slot));
        decoder->row_of[book->slot] = NO_SLOT;
    }
    book->slot = slot;
    decoder->row_of[slot] = row;
    uint64_t at = slot * width * sizeof(uint32_t), bytes = book->prompt_length * sizeof(uint32_t);
    memcpy((char *)up_of(decoder, STATE_SEQUENCES) + at, decoder->tokens + row * width, bytes);
    return tv_record_copy(
        recorder,
        tv_span_part(tv_device_arena_span(decoder->up, &decoder->plan.up[STATE_SEQUENCES]), at, bytes),
        tv_span_part(state_of(decoder, STATE_SEQUENCES).span, at, bytes));
}

/* The columns whole: a few words per slot. */
static tv_status copy_columns(tv_recorder *recorder, tv_decoder *decoder) {
    uint32_t *tokens = up_of(decoder, STATE_TOKENS), *numbers = up_of(decoder, STATE_NUMBERS),
             *positions = up_of(decoder, STATE_POSITIONS), *finished = up_of(decoder, STATE_FINISHED),
             *bounds = up_of(decoder, STATE_BOUNDS);
    for (uint64_t slot = 0; slot < decoder->options.rows; slot++) {
        uint64_t row = decoder->row_of[slot];
        bool used = row != NO_SLOT;
        const row_book book = used ? decoder->books[row] : (row_book){.finished = TV_DECODE_LENGTH};
        finished[slot] = book.finished;
        numbers[slot] = book.sequence;
        positions[slot] = used ? (uint32_t)book.length - 1 : 0;
        tokens[slot] = used ? decoder->tokens[row * decoder->options.max_tokens + book.length - 1] : 0;
        bounds[2 * slot] = (uint32_t)book.prompt_length;
        bounds[2 * slot + 1] = book.limit;
    }
    for (int i = STATE_LOGPROBS + 1; i < STATE_WRITTEN; i++)
        if (i != STATE_SEQUENCES)
            TV_RETURN_IF_FAILED(tv_record_copy(recorder,
                                               tv_device_arena_span(decoder->up, &decoder->plan.up[i]),
                                               state_of(decoder, (state_tensor)i).span));
    return TV_OK;
}

/* Chooses the step and brings the device's slots up to the host's books: rows behind the step move into it,
 * new rows take what is free. Nothing of the decoder runs meanwhile. */
static tv_status place_rows(tv_decoder *decoder) {
    uint64_t rows = decoder->options.rows, running = 0;
    tv_status status;
    tv_recorder *recorder = NULL;
    for (uint64_t r = 0; r < rows; r++)
        running += decoder->books[r].finished == TV_DECODE_RUNNING;
    decoder->level = level_for(decoder, running);
    uint64_t step_rows = rows_of_level(decoder, decoder->level);
    for (uint64_t slot = step_rows; slot < rows; slot++)
        decoder->changed = decoder->changed || decoder->row_of[slot] != NO_SLOT;
    if (!decoder->changed)
        return TV_OK;
    tv_device *device = tv_model_device(decoder->model);
    tv_recording_destroy(&decoder->change);
    TV_TRY(tv_recorder_begin(device, &(tv_recorder_options){.name = "decode/place"}, &recorder));
    for (uint64_t slot = step_rows; slot < rows; slot++)
        if (decoder->row_of[slot] != NO_SLOT)
            TV_TRY(place(recorder, decoder, decoder->row_of[slot], free_slot(decoder)));
    for (uint64_t r = 0; r < rows; r++)
        if (decoder->books[r].finished == TV_DECODE_RUNNING && decoder->books[r].slot == NO_SLOT)
            TV_TRY(place(recorder, decoder, r, free_slot(decoder)));
    TV_TRY(copy_columns(recorder, decoder));
    TV_TRY(tv_recorder_end(&recorder, &decoder->change));
    uint64_t value;
    TV_TRY(tv_submit(device, &decoder->change, 1, &value));
    decoder->changed = false;
    return TV_OK;
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* ---- running ---- */

/* Takes the new tokens into the host's texts; ended rows leave their slots. */
static uint64_t take_back(tv_decoder *decoder) {
    uint64_t width = decoder->options.max_tokens, running = 0;
    const uint32_t *positions = read_back_of(decoder, STATE_POSITIONS);
    const uint32_t *finished = read_back_of(decoder, STATE_FINISHED);
    const uint32_t *sequences = read_back_of(decoder, STATE_SEQUENCES);
    const float *logprobs = read_back_of(decoder, STATE_LOGPROBS);
    for (uint64_t slot = 0; slot < decoder->options.rows; slot++) {
        uint64_t row = decoder->row_of[slot];
        if (row == NO_SLOT)
            continue;
        row_book *book = &decoder->books[row];
        uint64_t first = tv_max_u64(book->length, book->prompt_length);
        book->length = (uint64_t)positions[slot] + 1;
        book->finished = finished[slot];
        for (uint64_t i = first; i < book->length; i++) {
            decoder->tokens[row * width + i] = sequences[slot * width + i];
            decoder->logprobs[row * width + i] = logprobs[slot * width + i];
        }
        decoder->fed = book->length - 1;
        running += book->finished == TV_DECODE_RUNNING;
        if (book->finished != TV_DECODE_RUNNING) {
            book->slot = NO_SLOT;
            decoder->row_of[slot] = NO_SLOT;
        }
    }
    return running;
}

static tv_status finish(tv_decoder *decoder, uint64_t *running) {
    tv_device *device = tv_model_device(decoder->model);
    uint64_t value;
    TV_RETURN_IF_FAILED(tv_submit(device, &decoder->read_back, 1, &value));
    TV_RETURN_IF_FAILED(tv_wait(device, value));
    *running = take_back(decoder);
    return TV_OK;
}

tv_status tv_decoder_run(tv_decoder *decoder, uint64_t steps, uint64_t *running) {
    tv_device *device = tv_model_device(decoder->model);
    TV_RETURN_IF_FAILED(place_rows(decoder));
    tv_recording **step = &decoder->steps[decoder->level];
    if (!*step)
        TV_RETURN_IF_FAILED(record_step(decoder, rows_of_level(decoder, decoder->level), false, step));
    tv_recording *batch[STEPS_PER_SUBMIT];
    for (int i = 0; i < STEPS_PER_SUBMIT; i++)
        batch[i] = *step;
    uint64_t value;
    for (uint64_t done = 0; done < steps; done += STEPS_PER_SUBMIT)
        TV_RETURN_IF_FAILED(
            tv_submit(device, batch, (uint32_t)tv_min_u64(STEPS_PER_SUBMIT, steps - done), &value));
    return finish(decoder, running);
}

uint64_t tv_decoder_step_rows(const tv_decoder *decoder) {
    return rows_of_level(decoder, decoder->level);
}

tv_decoder_row tv_decoder_read(const tv_decoder *decoder, uint64_t row) {
    const row_book *book = &decoder->books[row];
    return (tv_decoder_row){.tokens = decoder->tokens + row * decoder->options.max_tokens,
                            .logprobs = decoder->logprobs + row * decoder->options.max_tokens,
                            .length = book->length,
                            .prompt_length = book->prompt_length,
                            .finished = book->finished};
}

tv_status tv_decoder_profile(tv_decoder *decoder, tv_dispatch_time **times, uint32_t *count) {
    uint64_t value, running;
    TV_RETURN_IF_FAILED(place_rows(decoder));
    tv_recording_destroy(&decoder->profile);
    TV_RETURN_IF_FAILED(
        record_step(decoder, rows_of_level(decoder, decoder->level), true, &decoder->profile));
    TV_RETURN_IF_FAILED(tv_submit(tv_model_device(decoder->model), &decoder->profile, 1, &value));
    TV_RETURN_IF_FAILED(finish(decoder, &running));
    return tv_recording_profile(decoder->profile, times, count);
}
