/* Plans and tensors of a decoder: see decoder_state.h. */
#include "model/decoder_state.h"

#include "kernels/attention.h"
#include "kernels/matmul.h"
#include "vk/transfer.h"

#include <stdlib.h>

/* Enough tokens for a GPU to be busy with, and for a CPU not to spend its time waking threads for each
 * kernel; few beside the rows of a batch. */
enum { LEAST_READING_ROWS = 512 };

/* Prefixes beside the slots, where caches take at most half with them, because so many prompts and no more
 * have room side by side; and where a layer's caches can be bound at once, as attention needs it. A slot then
 * holds a prompt's last token, which a step feeds, and what is drawn; a row that has ended goes on writing
 * behind its end. */
static void plan_prefixes(const tv_model_config *config, const tv_caps *caps,
                          const tv_decoder_options *options, decoder_plan *plan) {
    const uint64_t count = tv_min_u64(options->prompts, options->rows),
                   row = config->n_kv_head * config->head_size *
                         tv_dtype_bytes(tv_attention_cache_type(caps, config->head_size));
    plan->prefix_count = options->rows;
    plan->prefix_tokens = options->max_tokens;
    if (count == 0 || options->prompt_tokens < 2 || options->max_new == 0)
        return;
    const uint64_t prefix = options->prompt_tokens - 1,
                   own = 1 + tv_min_u64(options->max_new, options->max_tokens - 1),
                   tokens = count * prefix + options->rows * own;
    if (2 * tokens > options->rows * options->max_tokens || tokens * row > caps->storage_range)
        return;
    plan->prefix_count = count;
    plan->prefix_tokens = prefix;
    plan->own_tokens = own;
}

uint64_t tv_decoder_reading_rows(const tv_decoder_options *options) {
    /* A prompt's last token is fed by a step. */
    uint64_t prompts = options->rows * (options->max_tokens - 2);
    return tv_max_u64(1, tv_min_u64(prompts, tv_max_u64(options->rows, LEAST_READING_ROWS)));
}

void tv_decoder_plan_free(decoder_plan *plan) {
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

tv_status tv_decoder_plan_make(const tv_model_config *config, const tv_caps *caps,
                               const tv_decoder_options *options, decoder_plan *plan) {
    *plan = (decoder_plan){0};
    TV_RETURN_IF_FAILED(check_options(config, options));
    plan_prefixes(config, caps, options, plan);
    uint64_t rows = options->rows, max_tokens = options->max_tokens,
             reading = tv_decoder_reading_rows(options);
    const uint64_t words[STATE_COUNT] = {
        [STATE_POSITIONS] = rows,
        [STATE_FINISHED] = rows,
        [STATE_PROMPTS] = rows * max_tokens,
        [STATE_RECENT] = rows * TV_DECODE_RECENT * TV_DECODE_DRAWN_WORDS,
        [STATE_TOKENS] = rows,
        [STATE_NUMBERS] = rows,
        [STATE_BOUNDS] = 2 * rows,
        [STATE_PREFIXES] = 2 * rows,
        [STATE_ENDS] = TV_DECODE_ENDS_WORDS,
        [STATE_SETTINGS] = sizeof(tv_sample_settings) / sizeof(uint32_t),
        [STATE_READ_TOKENS] = reading,
        [STATE_READ_POSITIONS] = reading,
        [STATE_READ_SLOTS] = reading,
        [STATE_DRAWN] = tv_decoder_entropies_at(rows) + rows,
        [STATE_DRAWN_LSE] = 2 * rows,
        [STATE_ARRIVED] = tv_matmul_arrived(tv_max_u64(rows, reading)),
    };
    for (int i = 0; i < STATE_COUNT; i++)
        plan->state[i].bytes = words[i] * sizeof(uint32_t);
    for (int i = 0; i < STATE_READ_BACK; i++)
        plan->back[i].bytes = plan->state[i].bytes;
    for (int i = STATE_POSITIONS; i < STATE_WRITTEN; i++)
        plan->up[i].bytes = plan->state[i].bytes;
    plan->cache_count = 2 * config->n_layer;
    plan->cache = calloc(plan->cache_count, sizeof *plan->cache);
    if (!plan->cache)
        return tv_fail(TV_E_MEMORY, "out of host memory for a decoder");
    for (uint64_t i = 0; i < plan->cache_count; i++)
        plan->cache[i].bytes = (plan->prefix_count * plan->prefix_tokens + rows * plan->own_tokens) *
                               config->n_kv_head * config->head_size *
                               tv_dtype_bytes(tv_attention_cache_type(caps, config->head_size));
    TV_RETURN_IF_FAILED(
        tv_memory_plan_sequence(plan->state, STATE_COUNT, caps->buffer_bytes, &plan->state_plan));
    TV_RETURN_IF_FAILED(
        tv_memory_plan_sequence(plan->back, STATE_READ_BACK, caps->buffer_bytes, &plan->back_plan));
    TV_RETURN_IF_FAILED(tv_memory_plan_sequence(plan->up, STATE_WRITTEN, caps->buffer_bytes, &plan->up_plan));
    return tv_memory_plan_sequence(plan->cache, plan->cache_count, caps->buffer_bytes, &plan->cache_plan);
}

tv_activations_options tv_decoder_activations(const tv_caps *caps, const tv_decoder_options *options) {
    return (tv_activations_options){
        .batch = tv_max_u64(options->rows, tv_decoder_reading_rows(options)),
        .tokens = 1,
        .cached_tokens = options->max_tokens,
        .dtype = tv_tier_dtype(caps->tier),
        .logits_rows = options->rows,
        .shared = options->shared,
    };
}

tv_tensor tv_decoder_state(const tv_decoder *decoder, state_tensor which) {
    return (tv_tensor){tv_device_arena_span(decoder->state, &decoder->plan.state[which]),
                       which == STATE_DRAWN || which == STATE_DRAWN_LSE ? TV_F32 : TV_U32};
}

tv_tensor tv_decoder_arrived(const tv_decoder *decoder) {
    const tv_caps *caps = tv_device_caps(tv_model_device(decoder->model));
    return tv_cpu_lanes(caps) > 0 ? tv_decoder_state(decoder, STATE_ARRIVED) : TV_ABSENT;
}

void *tv_decoder_up(const tv_decoder *decoder, state_tensor which) {
    return tv_span_map(tv_device_arena_span(decoder->up, &decoder->plan.up[which]));
}

const void *tv_decoder_back(const tv_decoder *decoder, state_tensor which) {
    return tv_span_map(tv_device_arena_span(decoder->back, &decoder->plan.back[which]));
}

uint32_t tv_decoder_level_for(uint64_t rows, uint64_t wanted) {
    uint32_t level = 0;
    while (tv_decoder_rows_of_level(rows, level) > 1 && tv_decoder_rows_of_level(rows, level + 1) >= wanted)
        level++;
    return level;
}
