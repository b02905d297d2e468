/* Prompts are read: see decoder_state.h.
 *
 * A prompt's tokens but the last can be read side by side, in passes over tokens of any rows that fill the
 * caches and draw nothing. The caches are the same to the bit as when steps read them one by one. Rows whose
 * prompts begin alike wait for the first of them and copy what it has read, so that k answers to a prompt
 * cost one reading.
 */
#include <string.h>

#include "model/decoder_state.h"
#include "model/forward.h"
#include "vk/submit.h"

static tv_status record_read(const tv_decoder *decoder, uint64_t rows, tv_recording **read) {
    tv_status status;
    tv_recorder *recorder = NULL;
    const tv_model_inputs inputs = {.tokens = tv_decoder_state(decoder, STATE_READ_TOKENS),
                                    .positions = tv_decoder_state(decoder, STATE_READ_POSITIONS)};
    const tv_kv_cache cache = {.max_tokens = decoder->plan.prefix_tokens,
                               .k = decoder->k,
                               .v = decoder->v,
                               .slots = tv_decoder_state(decoder, STATE_READ_SLOTS),
                               .slot_count = decoder->plan.prefix_count,
                               .arrived = tv_decoder_arrived(decoder)};
    const tv_activations activations = tv_activations_of_fewer(decoder->activations, rows, 1);
    TV_TRY_OR_FAIL(tv_recorder_begin(tv_model_device(decoder->model),
                                     &(tv_recorder_options){.name = "decode/read"}, &recorder));
    for (int i = STATE_READ_TOKENS; i <= STATE_READ_SLOTS; i++)
        TV_TRY_OR_FAIL(tv_record_copy(recorder, tv_device_arena_span(decoder->up, &decoder->plan.up[i]),
                                      tv_decoder_state(decoder, (state_tensor)i).span));
    TV_TRY_OR_FAIL(tv_forward_read(recorder, decoder->model, &activations, &inputs, &cache));
    return tv_recorder_end(&recorder, read);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* Token `i` of the next pass. */
static void write_token(tv_decoder *decoder, uint64_t i, uint32_t token, uint64_t position, uint64_t prefix) {
    ((uint32_t *)tv_decoder_up(decoder, STATE_READ_TOKENS))[i] = token;
    ((uint32_t *)tv_decoder_up(decoder, STATE_READ_POSITIONS))[i] = (uint32_t)position;
    ((uint32_t *)tv_decoder_up(decoder, STATE_READ_SLOTS))[i] = (uint32_t)prefix;
}

/* The `count` tokens that were written; waits, so that the next ones can be. */
static tv_status read_tokens(tv_decoder *decoder, uint64_t count) {
    tv_device *device = tv_model_device(decoder->model);
    uint32_t level = tv_decoder_level_for(decoder->reading_rows, count);
    uint64_t rows = tv_decoder_rows_of_level(decoder->reading_rows, level), none = decoder->plan.prefix_count,
             value;
    for (uint64_t i = count; i < rows; i++)
        write_token(decoder, i, 0, 0, none);
    if (!decoder->reads[level])
        TV_RETURN_IF_FAILED(record_read(decoder, rows, &decoder->reads[level]));
    decoder->tokens_read += count;
    TV_RETURN_IF_FAILED(tv_submit(device, &decoder->reads[level], 1, &value));
    return tv_wait(device, value);
}

/* Whether a row in front reads what this one needs. */
static bool waits(const tv_decoder *decoder, uint64_t row) {
    const row_book *book = &decoder->books[row];
    uint64_t width = decoder->options.max_tokens, held = book->length - 1, most = 0;
    for (uint64_t r = 0; r < row; r++) {
        if (!decoder->books[r].reads)
            continue;
        uint64_t both = tv_min_u64(book->prompt_length, decoder->books[r].prompt_length) - 1;
        most = tv_max_u64(
            most, tv_decoder_common(decoder->tokens + row * width, decoder->tokens + r * width, both));
    }
    return most > held && tv_decoder_worth_a_copy(most - held, tv_decoder_unread(book));
}

/* Reads the prompts that wait for no other. */
static tv_status read_first(tv_decoder *decoder, bool *waiting) {
    uint64_t written = 0, width = decoder->options.max_tokens;
    *waiting = false;
    for (uint64_t r = 0; r < decoder->options.rows; r++) {
        row_book *book = &decoder->books[r];
        const uint32_t *text = decoder->tokens + r * width;
        book->reads = tv_decoder_unread(book) > 0 && !waits(decoder, r);
        *waiting = *waiting || (tv_decoder_unread(book) > 0 && !book->reads);
        for (; book->reads && tv_decoder_unread(book) > 0; book->length++) {
            write_token(decoder, written++, text[book->length - 1], book->length - 1, book->prefix);
            if (written == decoder->reading_rows) {
                TV_RETURN_IF_FAILED(read_tokens(decoder, written));
                written = 0;
            }
        }
    }
    if (written > 0)
        TV_RETURN_IF_FAILED(read_tokens(decoder, written));
    for (uint64_t r = 0; r < decoder->options.rows; r++) {
        row_book *book = &decoder->books[r];
        if (!book->reads)
            continue;
        book->reads = false;
        decoder->prefixes[book->prefix].held = book->length - 1;
        memcpy(decoder->held + book->prefix * decoder->plan.prefix_tokens, decoder->tokens + r * width,
               (book->length - 1) * sizeof *decoder->held);
    }
    return TV_OK;
}

/* Those that waited take what is there now. */
static tv_status copy_to_waiting(tv_decoder *decoder) {
    tv_status status;
    tv_recorder *recorder = NULL;
    uint64_t value;
    tv_recording_destroy(&decoder->change);
    TV_TRY_OR_FAIL(tv_recorder_begin(tv_model_device(decoder->model),
                                     &(tv_recorder_options){.name = "decode/share"}, &recorder));
    for (uint64_t r = 0; r < decoder->options.rows; r++)
        TV_TRY_OR_FAIL(tv_decoder_take_held(recorder, decoder, r));
    TV_TRY_OR_FAIL(tv_recorder_end(&recorder, &decoder->change));
    return tv_submit(tv_model_device(decoder->model), &decoder->change, 1, &value);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* In each round at least the first row that has not read its prompt does, and waiting for the passes keeps
 * the recording of one round's copies from running when the next one's takes its place. */
tv_status tv_decoder_read_prompts(tv_decoder *decoder) {
    for (bool waiting = true; waiting;) {
        TV_RETURN_IF_FAILED(read_first(decoder, &waiting));
        if (waiting)
            TV_RETURN_IF_FAILED(copy_to_waiting(decoder));
    }
    return TV_OK;
}
