/* Messages, and a decoder of one row that goes on from turn to turn: see conversation.h. */
#include "tools/conversation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/os.h"
#include "base/output.h"
#include "text/json_text.h"
#include "tools/text_stream.h"

struct tv_conversation {
    const tv_open_model *open;
    tv_conversation_options options;
    tv_chat_template chat;
    tv_decoder *decoder;
    char *system;
    char *saved;              /* the path of the last save */
    tv_messages messages;     /* the system's, then user and assistant in turn */
    uint64_t system_messages; /* 0 or 1 of them */
    uint32_t turn;            /* since the beginning: the address of the answer's draws */
};

tv_status tv_conversation_create(const tv_open_model *open, const tv_conversation_options *options,
                                 tv_conversation **out) {
    tv_status status;
    tv_conversation *c = *out = calloc(1, sizeof *c);
    if (!c)
        return tv_fail(TV_E_MEMORY, "out of host memory for a conversation");
    c->open = open;
    c->options = *options;
    c->options.context = tv_min_u64(options->context, tv_model_list(open->model)->config.max_positions);
    TV_TRY_OR_FAIL(tv_chat_template_of(open->tokenizer, &c->chat));
    TV_TRY_OR_FAIL(tv_decoder_create(
        open->model, &(tv_decoder_options){.rows = 1, .max_tokens = c->options.context}, &c->decoder));
    return TV_OK;
fail:
    tv_conversation_destroy(out);
    return status;
}

void tv_conversation_destroy(tv_conversation **handle) {
    if (!handle || !*handle)
        return;
    tv_conversation *c = *handle;
    tv_decoder_destroy(&c->decoder);
    tv_messages_free(&c->messages);
    tv_chat_template_free(&c->chat);
    free(c->system);
    free(c->saved);
    free(c);
    *handle = NULL;
}

/* ---- messages ---- */

tv_status tv_conversation_set_system(tv_conversation *c, const char *text) {
    char *copy = text ? tv_format("%s", text) : NULL;
    if (text && !copy)
        return tv_fail(TV_E_MEMORY, "out of host memory for a system message");
    free(c->system);
    c->system = copy;
    return TV_OK;
}

const char *tv_conversation_system(const tv_conversation *c) {
    return c->system;
}

uint64_t tv_conversation_context(const tv_conversation *c) {
    return c->options.context;
}

/* Empties the decoder's row too, also one that was stopped. */
static tv_status start_decoder(tv_conversation *c) {
    const tv_decoder_settings settings = tv_sampling_settings(
        &c->options.sampling, &tv_model_list(c->open->model)->config, c->open->tokenizer, &c->chat);
    return tv_decoder_start(c->decoder, NULL, 0, &settings);
}

tv_status tv_conversation_begin(tv_conversation *c) {
    tv_messages_free(&c->messages);
    c->turn = 0;
    c->system_messages = c->system ? 1 : 0;
    if (c->system)
        TV_RETURN_IF_FAILED(tv_messages_add(&c->messages, TV_SYSTEM, c->system, strlen(c->system)));
    if (!c->options.seed_given) {
        TV_RETURN_IF_FAILED(tv_random_bytes(&c->options.sampling.seed, sizeof c->options.sampling.seed));
        tv_info("drawn with --seed %" PRIu64, c->options.sampling.seed);
    }
    return start_decoder(c);
}

/* Takes `count` messages out from `first` on. */
static tv_status take_out(tv_conversation *c, uint64_t first, uint64_t count) {
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
static tv_status encode(tv_conversation *c, tv_ids *ids, bool *fits) {
    uint64_t context = c->options.context;
    uint64_t answer = tv_min_u64(c->options.max_tokens, context / 2), dropped = 0;
    for (;;) {
        ids->size = 0;
        TV_RETURN_IF_FAILED(tv_chat_encode(c->open->tokenizer, &c->chat, c->messages.items, c->messages.count,
                                           true, ids, NULL));
        *fits = ids->size < context;
        if (ids->size + answer <= context || c->messages.count <= c->system_messages + 1)
            break;
        TV_RETURN_IF_FAILED(take_out(c, c->system_messages, 2));
        dropped++;
    }
    if (dropped)
        tv_info("the context of %" PRIu64 " tokens is full: the oldest %" PRIu64 " turns are forgotten",
                context, dropped);
    if (!*fits)
        tv_warn("the message has %" PRIu64 " tokens with its template and the context is %" PRIu64
                "; it was left out: shorten it",
                ids->size, context);
    return TV_OK;
}

/* ---- turns ---- */

static void say_speed(const tv_conversation *c, bool stopped, double seconds) {
    tv_decoder_row row = tv_decoder_read(c->decoder, 0);
    uint64_t drawn = row.length - row.prompt_length;
    char speed[64] = "";
    if (seconds > 0 && drawn > 1)
        snprintf(speed, sizeof speed, ", %.1f tokens/s", (double)(drawn - 1) / seconds);
    tv_info("%s%" PRIu64 " token%s%s%s", stopped ? "stopped after " : "", drawn, drawn == 1 ? "" : "s", speed,
            stopped ? "; what was said of the answer stays in the conversation" : "");
}

static tv_status answer(tv_conversation *c, const tv_ids *ids) {
    tv_text_stream stream = {.tokenizer = c->open->tokenizer,
                             .print = true,
                             .answer = true,
                             .visible = true,
                             .interruptible = c->options.interruptible};
    const tv_decoder_prompt prompt = {
        .tokens = ids->data, .length = ids->size, .max_new = c->options.max_tokens, .sequence = c->turn++};
    tv_status status;
    double seconds = 0;
    TV_TRY(tv_decoder_continue(c->decoder, &prompt));
    TV_TRY(tv_text_stream_run(c->decoder, &stream, &seconds));
    TV_TRY(tv_text_print("\n", 1, false));
    TV_TRY(tv_messages_add(&c->messages, TV_ASSISTANT, stream.text.data ? (char *)stream.text.data : "",
                           stream.text.size));
    say_speed(c, stream.stopped, seconds);
    if (stream.stopped)
        TV_TRY(start_decoder(c));
done:
    tv_text_stream_free(&stream);
    return status;
}

tv_status tv_conversation_say(tv_conversation *c, const void *text, uint64_t size) {
    tv_status status;
    tv_ids ids = {0};
    bool fits;
    TV_TRY(tv_messages_add(&c->messages, TV_USER, text, size));
    TV_TRY(encode(c, &ids, &fits));
    if (fits)
        TV_TRY(answer(c, &ids));
    else
        TV_TRY(take_out(c, c->messages.count - 1, 1));
done:
    tv_ids_free(&ids);
    return status;
}

/* ---- saving ---- */

static tv_status append(tv_text *line, const char *text) {
    return tv_text_append(line, text, strlen(text));
}

static tv_status write_line(const tv_conversation *c, tv_text *line) {
    static const char *const roles[] = {
        [TV_SYSTEM] = "system", [TV_USER] = "user", [TV_ASSISTANT] = "assistant"};
    TV_RETURN_IF_FAILED(append(line, "{\"messages\": ["));
    for (uint64_t i = 0; i < c->messages.count; i++) {
        const tv_message *message = &c->messages.items[i];
        TV_RETURN_IF_FAILED(append(line, i ? ", {\"role\": \"" : "{\"role\": \""));
        TV_RETURN_IF_FAILED(append(line, roles[message->role]));
        TV_RETURN_IF_FAILED(append(line, "\", \"content\": "));
        TV_RETURN_IF_FAILED(tv_json_append_string(message->content, message->length, line));
        TV_RETURN_IF_FAILED(append(line, "}"));
    }
    return append(line, "]}\n");
}

tv_status tv_conversation_save(tv_conversation *c, const char *path, uint64_t *messages) {
    tv_status status;
    tv_text line = {0};
    bool again = c->saved && strcmp(c->saved, path) == 0;
    char *kept = tv_format("%s", path);
    *messages = 0;
    if (!kept) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto done;
    }
    if (tv_path_exists(path) && !again) {
        status = tv_fail(TV_E_USAGE, "%s: expected the name of a new file, found one; name another", path);
        goto done;
    }
    status = TV_OK;
    if (c->messages.count > c->system_messages) {
        TV_TRY(write_line(c, &line));
        TV_TRY(tv_write_named_file(path, line.data, line.size));
        *messages = c->messages.count;
        char *before = c->saved;
        c->saved = kept;
        kept = before;
    }
done:
    free(kept);
    tv_text_free(&line);
    return status;
}
