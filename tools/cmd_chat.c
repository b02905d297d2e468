/* trivium chat: a conversation with a model in its chat template. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/os.h"
#include "tools/commands.h"
#include "tools/open_model.h"
#include "tools/sampling_options.h"
#include "tools/text_stream.h"

typedef struct chat_options {
    const char *model, *system;
    uint64_t max_tokens, context, top_k;
    double temperature, top_p;
    tv_common_options common;
} chat_options;

typedef struct conversation {
    const chat_options *given;
    const tv_open_model *open;
    tv_chat_template chat;
    tv_decoder_settings settings;
    tv_decoder *decoder;
    uint64_t context;
    tv_messages messages; /* the system's, then user and assistant in turn */
    uint32_t turn;        /* since the start or /reset: the address of the answer's draws */
} conversation;

/* ---- messages ---- */

static uint64_t system_messages(const conversation *c) {
    return c->given->system ? 1 : 0;
}

static tv_status reset(conversation *c) {
    tv_messages_free(&c->messages);
    c->turn = 0;
    return c->given->system
               ? tv_messages_add(&c->messages, TV_SYSTEM, c->given->system, strlen(c->given->system))
               : TV_OK;
}

/* Takes `count` messages out from `first` on. */
static tv_status take_out(conversation *c, uint64_t first, uint64_t count) {
    tv_messages kept = {0};
    for (uint64_t i = 0; i < c->messages.count; i++) {
        const tv_message *message = &c->messages.items[i];
        tv_status status = i < first || i >= first + count
                               ? tv_messages_add(&kept, message->role, message->content, message->length)
                               : TV_OK;
        if (status != TV_OK) {
            tv_messages_free(&kept);
            return status;
        }
    }
    tv_messages_free(&c->messages);
    c->messages = kept;
    return TV_OK;
}

/* The conversation as a prompt; the oldest turns leave where they and an answer would not fit. *fits: false
 * when not even the last message does. */
static tv_status encode(conversation *c, tv_ids *ids, bool *fits) {
    uint64_t answer = tv_min_u64(c->given->max_tokens, c->context / 2), dropped = 0;
    for (;;) {
        ids->size = 0;
        TV_RETURN_IF_FAILED(tv_chat_encode(c->open->tokenizer, &c->chat, c->messages.items, c->messages.count,
                                           true, ids, NULL));
        *fits = ids->size < c->context;
        if (ids->size + answer <= c->context || c->messages.count <= system_messages(c) + 1)
            break;
        TV_RETURN_IF_FAILED(take_out(c, system_messages(c), 2));
        dropped++;
    }
    if (dropped)
        tv_info("the context of %" PRIu64 " tokens is full: the oldest %" PRIu64 " turns are forgotten",
                c->context, dropped);
    if (!*fits)
        tv_warn("the message has %" PRIu64 " tokens with its template and the context is %" PRIu64
                "; it was left out: shorten it",
                ids->size, c->context);
    return TV_OK;
}

/* ---- turns ---- */

static tv_status answer(conversation *c, const tv_ids *ids) {
    tv_text_stream stream = {.tokenizer = c->open->tokenizer, .print = true, .visible = true};
    const tv_decoder_prompt prompt = {
        .tokens = ids->data, .length = ids->size, .max_new = c->given->max_tokens, .sequence = c->turn++};
    tv_status status;
    double seconds = 0;
    TV_TRY(tv_decoder_continue(c->decoder, &prompt));
    TV_TRY(tv_text_stream_run(c->decoder, &stream, &seconds));
    if (putchar('\n') == EOF || fflush(stdout) != 0) {
        status = tv_fail_errno(TV_E_IO, "cannot write to standard output");
        goto fail;
    }
    TV_TRY(tv_messages_add(&c->messages, TV_ASSISTANT, stream.text.data ? (char *)stream.text.data : "",
                           stream.text.size));
fail:
    tv_text_stream_free(&stream);
    return status;
}

static tv_status say(conversation *c, const tv_text *line) {
    tv_status status;
    tv_ids ids = {0};
    bool fits;
    TV_TRY(tv_messages_add(&c->messages, TV_USER, (const char *)line->data, line->size));
    TV_TRY(encode(c, &ids, &fits));
    if (fits)
        TV_TRY(answer(c, &ids));
    else
        TV_TRY(take_out(c, c->messages.count - 1, 1));
fail:
    tv_ids_free(&ids);
    return status;
}

/* A line of standard input without its end; *end when there is none. */
static tv_status read_line(tv_text *line, bool *end) {
    line->size = 0;
    int c;
    while ((c = getchar()) != EOF && c != '\n') {
        uint8_t byte = (uint8_t)c;
        TV_RETURN_IF_FAILED(tv_text_append(line, &byte, 1));
    }
    if (ferror(stdin))
        return tv_fail_errno(TV_E_IO, "cannot read standard input");
    if (line->size > 0 && line->data[line->size - 1] == '\r')
        line->size--;
    *end = c == EOF && line->size == 0;
    return TV_OK;
}

static bool line_is(const tv_text *line, const char *word) {
    return line->size == strlen(word) && memcmp(line->data, word, line->size) == 0;
}

static tv_status talk(conversation *c) {
    tv_status status;
    tv_text line = {0};
    bool terminal = tv_terminal_columns() > 0 && !c->given->common.quiet;
    TV_TRY(reset(c));
    for (bool end;;) {
        if (terminal)
            fputs("> ", stderr);
        TV_TRY(read_line(&line, &end));
        if (end || line_is(&line, "/quit"))
            break;
        if (line_is(&line, "/reset")) {
            TV_TRY(reset(c));
            tv_info("the conversation begins anew");
        } else if (line.size > 0) {
            TV_TRY(say(c, &line));
        }
    }
fail:
    tv_text_free(&line);
    return status;
}

static tv_status chat(const chat_options *given, const tv_open_model *open) {
    const tv_model_config *config = &tv_model_list(open->model)->config;
    const tv_sampling sampling = {given->common.seed, given->temperature, given->top_k, given->top_p};
    conversation c = {
        .given = given, .open = open, .context = tv_min_u64(given->context, config->max_positions)};
    tv_status status;
    TV_TRY(tv_chat_template_of(open->tokenizer, &c.chat));
    c.settings = tv_sampling_settings(&sampling, config, open->tokenizer, &c.chat);
    TV_TRY(tv_decoder_create(open->model, &(tv_decoder_options){.rows = 1, .max_tokens = c.context},
                             &c.decoder));
    TV_TRY(tv_decoder_start(c.decoder, NULL, 0, &c.settings));
    tv_info("a context of %" PRIu64 " tokens; /reset begins anew, /quit or the end of input ends", c.context);
    TV_TRY(talk(&c));
fail:
    tv_decoder_destroy(&c.decoder);
    tv_messages_free(&c.messages);
    return status;
}

tv_status cmd_chat(int argc, char **argv) {
    chat_options given = {.max_tokens = 512, .context = 4096, .temperature = 0.7, .top_p = 1};
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(
            tv_opt_text("model", "DIR", &given.model,
                        "a model directory, or a run, whose best or last checkpoint is taken"))),
        tv_opt_text("system", "TEXT", &given.system, "a system message before the conversation"),
        tv_opt_uint("max-tokens", "N", &given.max_tokens, 1, UINT32_MAX, "tokens of an answer at most"),
        tv_opt_uint("context", "N", &given.context, 16, UINT32_MAX,
                    "tokens that are kept, at most what the model has positions for; when they are full, the "
                    "oldest turns are forgotten"),
        tv_opt_temperature(&given.temperature),
        tv_opt_top_k(&given.top_k),
        tv_opt_top_p(&given.top_p),
    };
    const tv_command_line line = {
        .command = "chat",
        .summary =
            "Talks with a model: each line of standard input is a message, each answer is printed as it "
            "comes. The conversation is the model's context until /reset; /quit or the end of input "
            "ends. Control characters and what would hide or reorder text are shown as \\xNN or \\uNNNN.",
        .notes = "examples:\n  trivium chat --model runs/sft\n  echo 'Who are you?' | trivium chat --model "
                 "runs/sft --quiet",
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_SEED | TV_COMMON_QUIET,
        .common = &given.common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_open_model open;
    TV_RETURN_IF_FAILED(tv_open_model_open(given.model, &given.common, true, &open));
    tv_status status = tv_open_model_result(&open, chat(&given, &open));
    tv_open_model_close(&open);
    return status;
}
