/* Rows take their slots: see decoder_state.h. */
#include <string.h>

#include "model/decoder_state.h"
#include "vk/submit.h"
#include "vk/transfer.h"

/* ---- rows and slots ---- */

static uint64_t free_slot(const tv_decoder *decoder) {
    uint64_t slot = 0;
    while (decoder->slots[slot] != NO_SLOT)
        slot++;
    return slot;
}

static void stand(tv_decoder *decoder, uint64_t row, uint64_t slot) {
    decoder->books[row].slot = slot;
    decoder->slots[slot] = row;
}

static void stand_behind(tv_decoder *decoder, row_book *book, uint64_t prefix) {
    book->prefix = prefix;
    decoder->prefixes[prefix].rows = 1;
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
    uint64_t row = decoder->slots[from], to = free_slot(decoder);
    row_book *book = &decoder->books[row];
    decoder->slots[from] = NO_SLOT;
    stand(decoder, row, to);
    if (tv_decoder_shares(decoder))
        TV_RETURN_IF_FAILED(
            tv_decoder_copy_own(recorder, decoder, from, to, book->length - book->prompt_length));
    else {
        decoder->prefixes[to].held = 0;
        TV_RETURN_IF_FAILED(tv_decoder_copy_held(recorder, decoder, from, to, decoder->prefixes[from].held));
        decoder->prefixes[from].rows = 0;
        stand_behind(decoder, book, to);
    }
    return upload_prompt(recorder, decoder, row);
}

/* The slot where most of its prompt is held, if it is free. */
static uint64_t slot_for(tv_decoder *decoder, uint64_t row, uint64_t step) {
    uint64_t held, best = tv_decoder_best_prefix(decoder, row, &held);
    uint64_t slot = held > 0 && best < step && decoder->slots[best] == NO_SLOT ? best : free_slot(decoder);
    prefix_book *prefix = &decoder->prefixes[slot];
    prefix->held = tv_decoder_held(decoder, row, slot);
    decoder->books[row].length += prefix->held;
    decoder->tokens_shared += prefix->held;
    stand_behind(decoder, &decoder->books[row], slot);
    return slot;
}

/* With a copy of what is held elsewhere. */
static tv_status place(tv_recorder *recorder, tv_decoder *decoder, uint64_t row, uint64_t step) {
    stand(decoder, row, tv_decoder_shares(decoder) ? free_slot(decoder) : slot_for(decoder, row, step));
    TV_RETURN_IF_FAILED(tv_decoder_take_held(recorder, decoder, row));
    return upload_prompt(recorder, decoder, row);
}

/* What the host knows of the slots, a few words each; `columns` copies it. A free slot of a step is fed
 * something behind what it holds, which is nothing where prompts are shared. */
static void write_columns(tv_decoder *decoder) {
    uint32_t *tokens = tv_decoder_up(decoder, STATE_TOKENS), *numbers = tv_decoder_up(decoder, STATE_NUMBERS),
             *positions = tv_decoder_up(decoder, STATE_POSITIONS),
             *finished = tv_decoder_up(decoder, STATE_FINISHED),
             *bounds = tv_decoder_up(decoder, STATE_BOUNDS),
             *prefixes = tv_decoder_up(decoder, STATE_PREFIXES);
    const bool shares = tv_decoder_shares(decoder);
    uint64_t width = decoder->options.max_tokens;
    for (uint64_t slot = 0; slot < decoder->options.rows; slot++) {
        uint64_t row = decoder->slots[slot];
        bool used = row != NO_SLOT, behind = used && decoder->books[row].prefix != NO_SLOT;
        const row_book book = used ? decoder->books[row] : (row_book){.finished = TV_DECODE_LENGTH};
        finished[slot] = book.finished;
        numbers[slot] = book.sequence;
        positions[slot] = (uint32_t)(used ? book.length - 1 : shares ? 0 : decoder->prefixes[slot].held);
        tokens[slot] = used ? decoder->tokens[row * width + book.length - 1] : 0;
        bounds[2 * slot] = (uint32_t)book.prompt_length;
        bounds[2 * slot + 1] = book.limit;
        prefixes[2 * slot] = (uint32_t)(behind ? book.prefix : 0);
        prefixes[2 * slot + 1] = (uint32_t)(behind ? book.prompt_length - 1 : 0);
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
    TV_RETURN_IF_FAILED(tv_record_fill(recorder, tv_decoder_state(decoder, STATE_ARRIVED).span, 0));
    for (uint64_t slot = step; slot < rows; slot++)
        if (decoder->slots[slot] != NO_SLOT)
            TV_RETURN_IF_FAILED(move(recorder, decoder, slot));
    for (uint64_t r = 0; r < rows; r++)
        if (decoder->books[r].finished == TV_DECODE_RUNNING && decoder->books[r].slot == NO_SLOT)
            TV_RETURN_IF_FAILED(place(recorder, decoder, r, step));
    return TV_OK;
}

/* ---- before a run ---- */

/* A pass costs as much as a step of its rows. A few tokens are cheaper where rows run anyway: their steps
 * read them along. Not into a prompt that other rows read, too. */
static bool worth_a_pass(const tv_decoder *decoder) {
    uint64_t tokens = 0;
    for (uint64_t r = 0; r < decoder->options.rows; r++)
        tokens += tv_decoder_unread(&decoder->books[r]);
    return tokens >
           (tv_decoder_shares(decoder) ? 0 : tv_decoder_rows_of_level(decoder->options.rows, decoder->level));
}

tv_status tv_decoder_place_rows(tv_decoder *decoder) {
    uint64_t rows = decoder->options.rows, running = 0, value;
    tv_status status;
    tv_recorder *recorder = NULL;
    for (uint64_t r = 0; r < rows; r++)
        running += decoder->books[r].finished == TV_DECODE_RUNNING;
    decoder->level = tv_decoder_level_for(rows, running);
    for (uint64_t slot = tv_decoder_rows_of_level(rows, decoder->level); slot < rows; slot++)
        decoder->changed = decoder->changed || decoder->slots[slot] != NO_SLOT;
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
