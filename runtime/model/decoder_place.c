/* Rows take their slots, and prompts are read: see decoder_state.h.
 *
 * A prompt's tokens but the last can be read side by side, in passes over tokens of any rows that fill the
 * caches and draw nothing. The caches are the same to the bit as when steps read them one by one.
 */
#include <string.h>

#include "model/decoder_state.h"
#include "model/forward.h"
#include "vk/submit.h"
#include "vk/transfer.h"

/* ---- rows and slots ---- */

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
    memcpy((char *)tv_decoder_up(decoder, STATE_PROMPTS) + at, decoder->tokens + row * width, bytes);
    return tv_record_copy(
        recorder,
        tv_span_part(tv_device_arena_span(decoder->up, &decoder->plan.up[STATE_PROMPTS]), at, bytes),
        tv_span_part(tv_decoder_state(decoder, STATE_PROMPTS).span, at, bytes));
}

/* What the host knows of the slots, a few words each; `columns` copies it. */
static void write_columns(tv_decoder *decoder) {
    uint32_t *tokens = tv_decoder_up(decoder, STATE_TOKENS), *numbers = tv_decoder_up(decoder, STATE_NUMBERS),
             *positions = tv_decoder_up(decoder, STATE_POSITIONS),
             *finished = tv_decoder_up(decoder, STATE_FINISHED),
             *bounds = tv_decoder_up(decoder, STATE_BOUNDS);
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
}

tv_status tv_decoder_record_columns(tv_decoder *decoder) {
    tv_status status;
    tv_recorder *recorder = NULL;
    TV_TRY_OR_FAIL(tv_recorder_begin(tv_model_device(decoder->model),
                                     &(tv_recorder_options){.name = "decode/columns"}, &recorder));
    for (int i = STATE_POSITIONS; i < STATE_READ_TOKENS; i++)
        if (i != STATE_PROMPTS)
            TV_TRY_OR_FAIL(tv_record_copy(recorder, tv_device_arena_span(decoder->up, &decoder->plan.up[i]),
                                          tv_decoder_state(decoder, (state_tensor)i).span));
    return tv_recorder_end(&recorder, &decoder->columns);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* Every running row stands in a slot of the step. */
static tv_status place_all(tv_recorder *recorder, tv_decoder *decoder) {
    uint64_t rows = decoder->options.rows;
    for (uint64_t slot = tv_decoder_rows_of_level(rows, decoder->level); slot < rows; slot++)
        if (decoder->row_of[slot] != NO_SLOT)
            TV_RETURN_IF_FAILED(place(recorder, decoder, decoder->row_of[slot], free_slot(decoder)));
    for (uint64_t r = 0; r < rows; r++)
        if (decoder->books[r].finished == TV_DECODE_RUNNING && decoder->books[r].slot == NO_SLOT)
            TV_RETURN_IF_FAILED(place(recorder, decoder, r, free_slot(decoder)));
    return TV_OK;
}

/* ---- reading prompts ---- */

/* Tokens of a row's prompt that neither the cache holds nor the next step feeds. */
static uint64_t unread(const row_book *book) {
    bool reads = book->finished == TV_DECODE_RUNNING && book->length < book->prompt_length;
    return reads ? book->prompt_length - book->length : 0;
}

static tv_status record_read(const tv_decoder *decoder, uint64_t rows, tv_recording **read) {
    tv_status status;
    tv_recorder *recorder = NULL;
    const tv_model_inputs inputs = {.tokens = tv_decoder_state(decoder, STATE_READ_TOKENS),
                                    .positions = tv_decoder_state(decoder, STATE_READ_POSITIONS)};
    const tv_kv_cache cache = {.max_tokens = decoder->options.max_tokens,
                               .k = decoder->k,
                               .v = decoder->v,
                               .slots = tv_decoder_state(decoder, STATE_READ_SLOTS),
                               .slot_count = decoder->options.rows};
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
static void write_token(tv_decoder *decoder, uint64_t i, uint32_t token, uint64_t position, uint64_t slot) {
    ((uint32_t *)tv_decoder_up(decoder, STATE_READ_TOKENS))[i] = token;
    ((uint32_t *)tv_decoder_up(decoder, STATE_READ_POSITIONS))[i] = (uint32_t)position;
    ((uint32_t *)tv_decoder_up(decoder, STATE_READ_SLOTS))[i] = (uint32_t)slot;
}

/* The `count` tokens that were written; waits, so that the next ones can be. */
static tv_status read_tokens(tv_decoder *decoder, uint64_t count) {
    tv_device *device = tv_model_device(decoder->model);
    uint32_t level = tv_decoder_level_for(decoder->reading_rows, count);
    uint64_t rows = tv_decoder_rows_of_level(decoder->reading_rows, level), none = decoder->options.rows,
             value;
    for (uint64_t i = count; i < rows; i++)
        write_token(decoder, i, 0, 0, none);
    if (!decoder->reads[level])
        TV_RETURN_IF_FAILED(record_read(decoder, rows, &decoder->reads[level]));
    decoder->tokens_read += count;
    TV_RETURN_IF_FAILED(tv_submit(device, &decoder->reads[level], 1, &value));
    return tv_wait(device, value);
}

/* Ends with all rows at their prompts' last tokens. */
static tv_status read_prompts(tv_decoder *decoder) {
    uint64_t written = 0;
    for (uint64_t r = 0; r < decoder->options.rows; r++) {
        row_book *book = &decoder->books[r];
        const uint32_t *text = decoder->tokens + r * decoder->options.max_tokens;
        for (; unread(book) > 0; book->length++) {
            write_token(decoder, written++, text[book->length - 1], book->length - 1, book->slot);
            if (written == decoder->reading_rows) {
                TV_RETURN_IF_FAILED(read_tokens(decoder, written));
                written = 0;
            }
        }
    }
    return written > 0 ? read_tokens(decoder, written) : TV_OK;
}

/* A pass costs as much as a step of its rows. A few tokens are cheaper where rows run anyway: their steps
 * read them along. */
static bool worth_a_pass(const tv_decoder *decoder) {
    uint64_t tokens = 0;
    for (uint64_t r = 0; r < decoder->options.rows; r++)
        tokens += unread(&decoder->books[r]);
    return tokens > tv_decoder_rows_of_level(decoder->options.rows, decoder->level);
}

/* ---- before a run ---- */

tv_status tv_decoder_place_rows(tv_decoder *decoder) {
    uint64_t rows = decoder->options.rows, running = 0, value;
    tv_status status;
    tv_recorder *recorder = NULL;
    for (uint64_t r = 0; r < rows; r++)
        running += decoder->books[r].finished == TV_DECODE_RUNNING;
    decoder->level = tv_decoder_level_for(rows, running);
    for (uint64_t slot = tv_decoder_rows_of_level(rows, decoder->level); slot < rows; slot++)
        decoder->changed = decoder->changed || decoder->row_of[slot] != NO_SLOT;
    if (!decoder->changed)
        return TV_OK;
    tv_device *device = tv_model_device(decoder->model);
    tv_recording_destroy(&decoder->change);
    TV_TRY_OR_FAIL(tv_recorder_begin(device, &(tv_recorder_options){.name = "decode/place"}, &recorder));
    TV_TRY_OR_FAIL(place_all(recorder, decoder));
    TV_TRY_OR_FAIL(tv_recorder_end(&recorder, &decoder->change));
    TV_TRY_OR_FAIL(tv_submit(device, &decoder->change, 1, &value));
    if (worth_a_pass(decoder))
        TV_TRY_OR_FAIL(read_prompts(decoder));
    write_columns(decoder);
    TV_TRY_OR_FAIL(tv_submit(device, &decoder->columns, 1, &value));
    decoder->changed = false;
    return TV_OK;
fail:
    tv_recorder_abort(&recorder);
    return status;
}
