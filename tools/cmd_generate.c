/* trivium generate: text that goes on from a prompt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/os.h"
#include "tools/commands.h"
#include "tools/json_text.h"
#include "tools/open_model.h"
#include "tools/sampling_options.h"
#include "tools/text_stream.h"

typedef struct generate_options {
    const char *model, *adapter, *prompt;
    uint64_t max_tokens, top_k;
    double temperature, top_p;
    bool chat;
    tv_common_options common;
} generate_options;

/* ---- the prompt ---- */

/* As a message of the user, behind which the assistant answers. */
static tv_status encode_chat(const generate_options *given, const tv_open_model *open,
                             const tv_chat_template *chat, tv_ids *ids) {
    const tv_message message = {.role = TV_USER, .content = given->prompt, .length = strlen(given->prompt)};
    return tv_chat_encode(open->tokenizer, chat, &message, 1, true, ids, NULL);
}

/* As tv_prompt_encode_text, but that tokens may be spelled in the prompt: what the tokenizer puts before a
 * text is not put before itself, and a model without an end-of-text token has its config's bos_token_id. */
static tv_status encode_text(const generate_options *given, const tv_open_model *open, tv_ids *ids) {
    const tv_model_config *config = &tv_model_list(open->model)->config;
    const tv_tokenizer_info *info = tv_tokenizer_info_of(open->tokenizer);
    uint32_t start = info->end_of_text;
    if (start == TV_NO_TOKEN && config->bos_token_id >= 0)
        start = (uint32_t)config->bos_token_id;
    TV_RETURN_IF_FAILED(
        tv_tokenizer_encode(open->tokenizer, given->prompt, strlen(given->prompt), true, ids));
    if (ids->size == 0 || info->begin_count == 0 || ids->data[0] != info->begin[0]) {
        ids->size = 0;
        TV_RETURN_IF_FAILED(tv_tokenizer_begin_text(open->tokenizer, ids));
        TV_RETURN_IF_FAILED(
            tv_tokenizer_encode(open->tokenizer, given->prompt, strlen(given->prompt), true, ids));
    }
    if (ids->size == 0 && start == TV_NO_TOKEN)
        return tv_fail(TV_E_USAGE,
                       "the prompt is empty and %s has no token to start a text with; give a "
                       "--prompt",
                       open->path);
    return ids->size == 0 ? tv_ids_append(ids, &start, 1) : TV_OK;
}

static tv_status encode_prompt(const generate_options *given, const tv_open_model *open,
                               const tv_chat_template *chat, tv_ids *ids) {
    const tv_model_config *config = &tv_model_list(open->model)->config;
    TV_RETURN_IF_FAILED(given->chat ? encode_chat(given, open, chat, ids) : encode_text(given, open, ids));
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
        goto done;
    }
    TV_TRY(tv_json_add_text(result, "text", text));
    cJSON *ids = cJSON_AddArrayToObject(result, "ids");
    cJSON *logprobs = cJSON_AddArrayToObject(result, "logprobs");
    bool built = ids && logprobs;
    for (uint64_t i = row->prompt_length; i < row->length && built; i++)
        built = cJSON_AddItemToArray(ids, cJSON_CreateNumber(row->tokens[i])) &&
                cJSON_AddItemToArray(logprobs, cJSON_CreateNumber((double)row->logprobs[i]));
    if (!built || !tv_json_set_string(result, "finish", tv_sampling_finish(row))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the result");
        goto done;
    }
    TV_TRY(tv_print_json(result));
done:
    cJSON_Delete(result);
    return status;
}

static tv_status generate(const generate_options *given, const tv_open_model *open) {
    const tv_model_config *config = &tv_model_list(open->model)->config;
    const tv_sampling sampling = {given->common.seed, given->temperature, given->top_k, given->top_p};
    tv_chat_template chat = {0};
    tv_status status;
    tv_ids ids = {0};
    tv_decoder *decoder = NULL;
    tv_text_stream stream = {.tokenizer = open->tokenizer,
                             .print = !given->common.json,
                             .answer = given->chat,
                             .visible = tv_stdout_is_terminal()};
    if (given->chat)
        TV_TRY(tv_chat_template_of(open->tokenizer, &chat));
    const tv_decoder_settings settings =
        tv_sampling_settings(&sampling, config, open->tokenizer, given->chat ? &chat : NULL);
    TV_TRY(encode_prompt(given, open, &chat, &ids));
    tv_decoder_options options = {
        .rows = 1, .max_tokens = ids.size + tv_min_u64(given->max_tokens, config->max_positions - ids.size)};
    const tv_decoder_prompt prompt = {.tokens = ids.data, .length = ids.size, .max_new = given->max_tokens};
    TV_TRY(tv_decoder_create(open->model, &options, &decoder));
    tv_decoder_capture(decoder, given->common.capture_given ? given->common.capture_step : 0);
    TV_TRY(tv_decoder_start(decoder, &prompt, 1, &settings));
    if (stream.print && !given->chat)
        TV_TRY(tv_text_print(given->prompt, strlen(given->prompt), stream.visible));
    double seconds = 0;
    TV_TRY(tv_text_stream_run(decoder, &stream, &seconds));
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
done:
    tv_decoder_destroy(&decoder);
    tv_text_stream_free(&stream);
    tv_chat_template_free(&chat);
    tv_ids_free(&ids);
    return status;
}

tv_status cmd_generate(int argc, char **argv) {
    generate_options given = {.prompt = "", .max_tokens = 128, .temperature = 0.8, .top_p = 1};
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(
            tv_opt_text("model", "DIR", &given.model,
                        "a model directory, or a run, whose best or last checkpoint is taken"))),
        tv_opt_adapter(&given.adapter),
        tv_opt_text("prompt", "TEXT", &given.prompt, "what the text begins with; empty: a new document"),
        tv_opt_flag(
            "chat", &given.chat,
            "the prompt is a user's message in the model's chat template; only the answer is printed"),
        tv_opt_uint("max-tokens", "N", &given.max_tokens, 1, UINT32_MAX,
                    "tokens to generate at most; the model's context ends it too"),
        tv_opt_temperature(&given.temperature),
        tv_opt_top_k(&given.top_k),
        tv_opt_top_p(&given.top_p),
    };
    const tv_command_line line = {
        .command = "generate",
        .summary =
            "Generates text that goes on from a prompt and prints both as it comes; with --chat, the answer "
            "to a message. --json prints {\"text\", \"ids\", \"logprobs\", \"finish\"} of the generated part "
            "instead, finish being eos or length.",
        .notes =
            "example:\n  trivium generate --model runs/a --prompt 'It was ' --temperature 0.7 --top-k 40",
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask =
            TV_COMMON_DEVICE | TV_COMMON_SEED | TV_COMMON_JSON | TV_COMMON_QUIET | TV_COMMON_CAPTURE,
        .common = &given.common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_open_model open;
    TV_RETURN_IF_FAILED(tv_open_model_open(given.model, given.adapter, &given.common, true, &open));
    tv_status status = tv_open_model_result(&open, generate(&given, &open));
    tv_open_model_close(&open);
    return status;
}
