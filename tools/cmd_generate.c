/* trivium generate: text that goes on from a prompt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/os.h"
#include "model/decoder.h"
#include "text/utf8.h"
#include "tools/commands.h"
#include "tools/json_text.h"
#include "tools/open_model.h"

/* Between two looks at the text the device works on its own for about this long. */
static const double seconds_per_look = 0.1;
enum { MAX_STEPS_PER_LOOK = 64 };

typedef struct generate_options {
    const char *model, *prompt;
    uint64_t max_tokens, top_k;
    double temperature, top_p;
    tv_common_options common;
} generate_options;

/* ---- text as it comes ---- */

typedef struct text_stream {
    const tv_tokenizer *tokenizer;
    bool print;
    tv_text text;     /* all that was drawn */
    uint64_t printed; /* bytes of it */
    uint64_t tokens;  /* decoded so far */
} text_stream;

/* Takes the drawn tokens up to `count`; prints whole characters only, and at the end what is left. */
static tv_status stream_tokens(text_stream *stream, const uint32_t *tokens, uint64_t count, bool last) {
    for (; stream->tokens < count; stream->tokens++) {
        /* A model's vocabulary may be padded beyond its tokenizer's. */
        if (tv_tokenizer_token(stream->tokenizer, tokens[stream->tokens]))
            TV_RETURN_IF_FAILED(
                tv_tokenizer_decode(stream->tokenizer, &tokens[stream->tokens], 1, true, &stream->text));
    }
    if (!stream->print)
        return TV_OK;
    uint64_t end = stream->text.size - (last ? 0 : tv_utf8_unfinished(stream->text.data, stream->text.size));
    uint64_t size = end > stream->printed ? end - stream->printed : 0;
    if (size == 0)
        return TV_OK;
    if (fwrite(stream->text.data + stream->printed, 1, size, stdout) != size || fflush(stdout) != 0)
        return tv_fail_errno(TV_E_IO, "cannot write to standard output");
    stream->printed = end;
    return TV_OK;
}

/* ---- the prompt and the settings ---- */

static void add_end(tv_decoder_settings *settings, int64_t id, uint64_t vocab) {
    if (id < 0 || (uint64_t)id >= vocab || settings->end_count == TV_DECODE_MAX_ENDS)
        return;
    for (uint32_t i = 0; i < settings->end_count; i++)
        if (settings->ends[i] == (uint32_t)id)
            return;
    settings->ends[settings->end_count++] = (uint32_t)id;
}

/* A text ends with what the config or the tokenizer calls its end. */
static tv_decoder_settings make_settings(const generate_options *given, const tv_open_model *open) {
    const tv_model_config *config = &tv_model_list(open->model)->config;
    const tv_tokenizer_info *info = tv_tokenizer_info_of(open->tokenizer);
    tv_decoder_settings settings = {
        .seed = given->common.seed,
        .temperature = (float)given->temperature,
        .top_k = (uint32_t)given->top_k,
        .top_p = (float)given->top_p,
    };
    add_end(&settings, config->eos_token_id, config->vocab_size);
    for (int i = 0; i < TV_MAX_MORE_EOS; i++)
        add_end(&settings, config->more_eos_token_ids[i], config->vocab_size);
    add_end(&settings, info->end_of_text == TV_NO_TOKEN ? -1 : (int64_t)info->end_of_text,
            config->vocab_size);
    add_end(&settings, info->eos == TV_NO_TOKEN ? -1 : (int64_t)info->eos, config->vocab_size);
    return settings;
}

/* Documents follow one another behind the end-of-text token, so an empty prompt is that token. */
static tv_status encode_prompt(const generate_options *given, const tv_open_model *open, tv_ids *ids) {
    const tv_model_config *config = &tv_model_list(open->model)->config;
    TV_RETURN_IF_FAILED(
        tv_tokenizer_encode(open->tokenizer, given->prompt, strlen(given->prompt), true, ids));
    uint32_t start = tv_tokenizer_info_of(open->tokenizer)->end_of_text;
    if (ids->size == 0 && start == TV_NO_TOKEN && config->bos_token_id >= 0)
        start = (uint32_t)config->bos_token_id;
    if (ids->size == 0 && start == TV_NO_TOKEN)
        return tv_fail(TV_E_USAGE,
                       "the prompt is empty and %s has no token to start a text with; give a "
                       "--prompt",
                       open->path);
    if (ids->size == 0)
        TV_RETURN_IF_FAILED(tv_ids_append(ids, &start, 1));
    if (ids->size >= config->max_positions)
        return tv_fail(TV_E_USAGE,
                       "the prompt has %llu tokens and the model's context is %llu, which must hold at least "
                       "one more; shorten the prompt",
                       (unsigned long long)ids->size, (unsigned long long)config->max_positions);
    return TV_OK;
}

/* ---- generation ---- */

static tv_status print_result(const tv_decoder_row *row, const tv_text *text) {
    tv_status status;
    cJSON *result = cJSON_CreateObject();
    if (!result) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the result");
        goto fail;
    }
    TV_TRY(tv_json_add_text(result, "text", text));
    cJSON *ids = cJSON_AddArrayToObject(result, "ids");
    cJSON *logprobs = cJSON_AddArrayToObject(result, "logprobs");
    bool built = ids && logprobs;
    for (uint64_t i = row->prompt_length; i < row->length && built; i++)
        built = cJSON_AddItemToArray(ids, cJSON_CreateNumber(row->tokens[i])) &&
                cJSON_AddItemToArray(logprobs, cJSON_CreateNumber((double)row->logprobs[i]));
    if (!built ||
        !tv_json_set_string(result, "finish", row->finished == TV_DECODE_END_OF_TEXT ? "eos" : "length")) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the result");
        goto fail;
    }
    TV_TRY(tv_print_json(result));
fail:
    cJSON_Delete(result);
    return status;
}

/* Runs to the end, showing the text on the way. *seconds is the time after the first draw. */
static tv_status run(tv_decoder *decoder, text_stream *stream, double *seconds) {
    uint64_t steps = tv_max_u64(tv_decoder_read(decoder, 0).prompt_length, 1), running = 1;
    for (double start = 0; running;) {
        double before = tv_seconds();
        TV_RETURN_IF_FAILED(tv_decoder_run(decoder, steps, &running));
        double now = tv_seconds();
        tv_decoder_row row = tv_decoder_read(decoder, 0);
        TV_RETURN_IF_FAILED(stream_tokens(stream, row.tokens + row.prompt_length,
                                          row.length - tv_min_u64(row.length, row.prompt_length), !running));
        double fitting = seconds_per_look * (double)steps / (now - before);
        steps = fitting < 1 ? 1 : fitting > MAX_STEPS_PER_LOOK ? MAX_STEPS_PER_LOOK : (uint64_t)fitting;
        start = start > 0 ? start : now;
        *seconds = now - start;
    }
    return TV_OK;
}

static tv_status generate(const generate_options *given, const tv_open_model *open) {
    const tv_model_config *config = &tv_model_list(open->model)->config;
    const tv_decoder_settings settings = make_settings(given, open);
    tv_status status;
    tv_ids ids = {0};
    tv_decoder *decoder = NULL;
    text_stream stream = {.tokenizer = open->tokenizer, .print = !given->common.json};
    TV_TRY(encode_prompt(given, open, &ids));
    tv_decoder_options options = {
        .rows = 1, .max_tokens = ids.size + tv_min_u64(given->max_tokens, config->max_positions - ids.size)};
    const tv_decoder_prompt prompt = {.tokens = ids.data, .length = ids.size, .max_new = given->max_tokens};
    TV_TRY(tv_decoder_create(open->model, &options, &decoder));
    TV_TRY(tv_decoder_start(decoder, &prompt, 1, &settings));
    if (stream.print && (fputs(given->prompt, stdout) < 0 || fflush(stdout) != 0)) {
        status = tv_fail_errno(TV_E_IO, "cannot write to standard output");
        goto fail;
    }
    double seconds = 0;
    TV_TRY(run(decoder, &stream, &seconds));
    tv_decoder_row row = tv_decoder_read(decoder, 0);
    if (given->common.json)
        TV_TRY(print_result(&row, &stream.text));
    else
        putchar('\n');
    uint64_t drawn = row.length - row.prompt_length;
    if (seconds > 0)
        tv_info("%llu tokens at %.1f tokens/s, ended by %s", (unsigned long long)drawn,
                (double)(drawn - 1) / seconds,
                row.finished == TV_DECODE_END_OF_TEXT ? "end of text" : "length");
fail:
    tv_decoder_destroy(&decoder);
    tv_text_free(&stream.text);
    tv_ids_free(&ids);
    return status;
}

tv_status cmd_generate(int argc, char **argv) {
    generate_options given = {.prompt = "", .max_tokens = 128, .temperature = 0.8, .top_p = 1};
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(
            tv_opt_text("model", "DIR", &given.model,
                        "a model directory, or a run, whose best or last checkpoint is taken"))),
        tv_opt_text("prompt", "TEXT", &given.prompt, "what the text begins with; empty: a new document"),
        tv_opt_uint("max-tokens", "N", &given.max_tokens, 1, UINT32_MAX,
                    "tokens to generate at most; the model's context ends it too"),
        tv_opt_number("temperature", "X", &given.temperature, 0, 1e6,
                      "flattens (above 1) or sharpens the choice; 0 always takes the likeliest token"),
        tv_opt_uint("top-k", "K", &given.top_k, 0, UINT32_MAX, "only the K likeliest tokens; 0: all"),
        tv_opt_number("top-p", "P", &given.top_p, 1e-6, 1,
                      "only the likeliest tokens that reach this probability together"),
    };
    const tv_command_line line = {
        .command = "generate",
        .summary =
            "Generates text that goes on from a prompt and prints both as it comes. --json prints "
            "{\"text\", \"ids\", \"logprobs\", \"finish\"} of the generated part instead, finish being eos "
            "or length.",
        .notes =
            "example:\n  trivium generate --model runs/a --prompt 'It was ' --temperature 0.7 --top-k 40",
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_SEED | TV_COMMON_JSON | TV_COMMON_QUIET,
        .common = &given.common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_open_model open;
    TV_RETURN_IF_FAILED(tv_open_model_open(given.model, &given.common, true, &open));
    tv_status status = generate(&given, &open);
    tv_open_model_close(&open);
    return status;
}
