/* How texts are drawn: see sampling.h. */
#include "stages/sampling.h"

#include "base/os.h"

/* Between two looks at a text the device works on its own for about this long. */
static const double seconds_per_look = 0.1;
enum { MAX_STEPS_PER_LOOK = 64 };

static void add_end(tv_decoder_settings *settings, int64_t id, uint64_t vocab) {
    if (id < 0 || (uint64_t)id >= vocab || settings->end_count == TV_DECODE_MAX_ENDS)
        return;
    for (uint32_t i = 0; i < settings->end_count; i++)
        if (settings->ends[i] == (uint32_t)id)
            return;
    settings->ends[settings->end_count++] = (uint32_t)id;
}

static void add_token(tv_decoder_settings *settings, uint32_t token, uint64_t vocab) {
    add_end(settings, token == TV_NO_TOKEN ? -1 : (int64_t)token, vocab);
}

tv_decoder_settings tv_sampling_settings(const tv_sampling *sampling, const tv_model_config *config,
                                         const tv_tokenizer *tokenizer, const tv_chat_template *chat) {
    tv_decoder_settings settings = {
        .seed = sampling->seed,
        .temperature = (float)sampling->temperature,
        .top_k = (uint32_t)tv_min_u64(sampling->top_k, UINT32_MAX),
        .top_p = (float)sampling->top_p,
    };
    if (chat)
        add_token(&settings, chat->end, config->vocab_size);
    add_end(&settings, config->eos_token_id, config->vocab_size);
    for (int i = 0; i < TV_MAX_MORE_EOS; i++)
        add_end(&settings, config->more_eos_token_ids[i], config->vocab_size);
    if (tokenizer) {
        const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
        add_token(&settings, info->end_of_text, config->vocab_size);
        add_token(&settings, info->eos, config->vocab_size);
    }
    return settings;
}

tv_status tv_sampling_run(tv_decoder *decoder, tv_sampling_look look, void *context, double *seconds) {
    tv_decoder_row row;
    uint64_t steps = 1, running = 1; /* one step tells how much of the prompt was read before it */
    bool go_on = true;
    for (double start = 0; running && go_on;) {
        double before = tv_seconds();
        TV_RETURN_IF_FAILED(tv_decoder_run(decoder, steps, &running));
        double now = tv_seconds();
        row = tv_decoder_read(decoder, 0);
        if (row.length <= row.prompt_length && running) { /* the rest up to the first draw */
            steps = row.prompt_length - row.length + 1;
            continue;
        }
        TV_RETURN_IF_FAILED(look(context, &row, &go_on));
        double fitting = seconds_per_look * (double)steps / (now - before);
        steps = fitting < 1 ? 1 : fitting > MAX_STEPS_PER_LOOK ? MAX_STEPS_PER_LOOK : (uint64_t)fitting;
        start = start > 0 ? start : now;
        if (seconds)
            *seconds = now - start;
    }
    return TV_OK;
}

tv_status tv_sampling_decode(const tv_tokenizer *tokenizer, uint32_t token, bool begins, tv_text *text) {
    if (!tv_tokenizer_token(tokenizer, token))
        return TV_OK;
    return begins ? tv_tokenizer_decode(tokenizer, &token, 1, true, text)
                  : tv_tokenizer_decode_next(tokenizer, &token, 1, true, text);
}

tv_status tv_sampling_text(const tv_tokenizer *tokenizer, const tv_decoder_row *row, bool answer,
                           tv_text *text) {
    uint64_t end = row->length - (row->finished == TV_DECODE_END_OF_TEXT);
    for (uint64_t i = row->prompt_length; i < end; i++)
        TV_RETURN_IF_FAILED(
            tv_sampling_decode(tokenizer, row->tokens[i], answer && i == row->prompt_length, text));
    return TV_OK;
}

const char *tv_sampling_finish(const tv_decoder_row *row) {
    return row->finished == TV_DECODE_END_OF_TEXT ? "eos" : "length";
}
