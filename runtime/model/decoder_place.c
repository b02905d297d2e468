/* Rows take their slots: see decoder_state.h. */
#include <string.h>

#include "model/decoder_state.h"
#include "vk/submit.h"
#include "vk/transfer.h"

/* ---- rows and slots ---- */

static uint64_t free_slot(const tv_decoder *decoder) {
    uint64_t slot = 0;
    while (decoder->slots[slot].row != NO_SLOT)
        slot++;
    return slot;
}

static void stand(tv_decoder *decoder, uint64_t row, uint64_t slot) {
    decoder->books[row].slot = slot;
    decoder->slots[slot].row = row;
}

/* The row's text goes up as far as the device reads it: the rest of the prompt. The caches need no clearing,
 * because a step reads no further than its own position. */
static tv_status upload_prompt(tv_recorder *recorder, const tv_decoder *decoder, uint64_t row) {
    const row_book *book = &decoder->books[row];
    uint64_t width = decoder->options.max_tokens, at = book->slot * width * sizeof(uint32_t),
             bytes = book->prompt_length * sizeof(uint32_t);
    memcpy((char *)tv_decoder_up(decoder, STATE_PROMPTS) + at, decoder->tokens + row * width, bytes);
    return tv_record_copy(
        recorder,
        tv_span_part(tv_device_arena_span(decoder->up, &decoder->plan.up[STATE_PROMPTS]), at, bytes),
        tv_span_part(tv_decoder_state(decoder, STATE_PROMPTS).span, at, bytes));
}

/* From behind the step into it. */
static tv_status move(tv_recorder *recorder, tv_decoder *decoder, uint64_t from) {
    uint64_t row = decoder->slots[from].row, to = free_slot(decoder);
    decoder->slots[to].held = 0;
    TV_RETURN_IF_FAILED(tv_decoder_copy_held(recorder, decoder, from, to, decoder->slots[from].held));
    decoder->slots[from].row = NO_SLOT;
    stand(decoder, row, to);
    return upload_prompt(recorder, decoder, row);
}

/* Where most of its prompt is held, if that slot is free, else with a copy of it. */
static tv_status place(tv_recorder *recorder, tv_decoder *decoder, uint64_t row, uint64_t step) {
    uint64_t held, best = tv_decoder_best_slot(decoder, row, &held), left = decoder->books[row].prompt_length;
    bool there = held > 0 && best < step && decoder->slots[best].row == NO_SLOT;
    uint64_t slot = there ? best : free_slot(decoder);
    decoder->slots[slot].held = tv_decoder_held(decoder, row, slot);
    left -= 1 + decoder->slots[slot].held;
    if (tv_decoder_worth_a_copy(held - decoder->slots[slot].held, left))
        TV_RETURN_IF_FAILED(tv_decoder_copy_held(recorder, decoder, best, slot, held));
    stand(decoder, row, slot);
    decoder->books[row].length += decoder->slots[slot].held;
    decoder->tokens_shared += decoder->slots[slot].held;
    return upload_prompt(recorder, decoder, row);
}

/* What the host knows of the slots, a few words each; `columns` copies it. A free slot of a step is fed
 * something behind what it holds. */
static void write_columns(tv_decoder *decoder) {
    uint32_t *tokens = tv_decoder_up(decoder, STATE_TOKENS), *numbers = tv_decoder_up(decoder, STATE_NUMBERS),
             *positions = tv_decoder_up(decoder, STATE_POSITIONS),
             *finished = tv_decoder_up(decoder, STATE_FINISHED),
             *bounds = tv_decoder_up(decoder, STATE_BOUNDS);
    uint64_t width = decoder->options.max_tokens;
    for (uint64_t slot = 0; slot < decoder->options.rows; slot++) {
        uint64_t row = decoder->slots[slot].row;
        bool used = row != NO_SLOT;
        const row_book book = used ? decoder->books[row] : (row_book){.finished = TV_DECODE_LENGTH};
        finished[slot] = book.finished;
        numbers[slot] = book.sequence;
        positions[slot] = (uint32_t)(used ? book.length - 1 : decoder->slots[slot].held);
        tokens[slot] = used ? decoder->tokens[row * width + book.length - 1] : 0;
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
    uint64_t rows = decoder->options.rows, step = tv_decoder_rows_of_level(rows, decoder->level);
    for (uint64_t slot = step; slot < rows; slot++)
        if (decoder->slots[slot].row != NO_SLOT)
            TV_RETURN_IF_FAILED(move(recorder, decoder, slot));
    for (uint64_t r = 0; r < rows; r++)
        if (decoder->books[r].finished == TV_DECODE_RUNNING && decoder->books[r].slot == NO_SLOT)
            TV_RETURN_IF_FAILED(place(recorder, decoder, r, step));
    return TV_OK;
}

/* ---- before a run ---- */

/* A pass costs as much as a step of its rows. A few tokens are cheaper where rows run anyway: their steps
 * read them along. */
static bool worth_a_pass(const tv_decoder *decoder) {
    uint64_t tokens = 0;
    for (uint64_t r = 0; r < decoder->options.rows; r++)
        tokens += tv_decoder_unread(&decoder->books[r]);
    return tokens > tv_decoder_rows_of_level(decoder->options.rows, decoder->level);
}

tv_status tv_decoder_place_rows(tv_decoder *decoder) {
    uint64_t rows = decoder->options.rows, running = 0, value;
    tv_status status;
    tv_recorder *recorder = NULL;
    for (uint64_t r = 0; r < rows; r++)
        running += decoder->books[r].finished == TV_DECODE_RUNNING;
    decoder->level = tv_decoder_level_for(rows, running);
    for (uint64_t slot = tv_decoder_rows_of_level(rows, decoder->level); slot < rows; slot++)
        decoder->changed = decoder->changed || decoder->slots[slot].row != NO_SLOT;
    if (!decoder->changed)
        return TV_OK;
    tv_device *device = tv_model_device(decoder->model);
    tv_recording_destroy(&decoder->change);
    TV_TRY_OR_FAIL(tv_recorder_begin(device, &(tv_recorder_options){.name = "decode/place"}, &recorder));
    TV_TRY_OR_FAIL(place_all(recorder, decoder));
    TV_TRY_OR_FAIL(tv_recorder_end(&recorder, &decoder->change));
    TV_TRY_OR_FAIL(tv_submit(device, &decoder->change, 1, &value));
    if (worth_a_pass(decoder))
        TV_TRY_OR_FAIL(tv_decoder_read_prompts(decoder));
    write_columns(decoder);
    TV_TRY_OR_FAIL(tv_submit(device, &decoder->columns, 1, &value));
    decoder->changed = false;
    return TV_OK;
fail:
    tv_recorder_abort(&recorder);
    return status;
}
