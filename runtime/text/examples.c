/* Demonstrations: see examples.h. */
#include "text/examples.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "text/line_shape.h"
#include "text/prompts.h"
#include "text/unused_keys.h"

typedef enum shape { MESSAGES, CONVERSATIONS, PROMPT_COMPLETION, INSTRUCTION } shape;

static const tv_line_shape SHAPES[] = {
    [MESSAGES] = {"{\"messages\"}", {"messages"}},
    [CONVERSATIONS] = {"{\"conversations\"}", {"conversations"}},
    [PROMPT_COMPLETION] = {"{\"prompt\", \"completion\"}", {"prompt", "completion"}},
    [INSTRUCTION] = {"{\"instruction\", \"input\", \"output\"}", {"instruction", "output"}},
};

typedef struct reading {
    const tv_examples_options *options;
    tv_examples *examples;
    uint64_t capacity, lines;
    tv_shape_reader shape;
    tv_prompt_encoder encoder;
    tv_messages messages, completion;
    tv_text text;
    tv_ids ids;
    tv_text trained;
    tv_unused_keys unused;
} reading;

/* What is read of each line; an id is nobody's loss, nor is the score of what was kept of several answers. */
static const char *const LINE_KEYS[][8] = {
    [MESSAGES] = {"id", "messages", "system"},
    [CONVERSATIONS] = {"id", "conversations", "system"},
    [PROMPT_COMPLETION] = {"id", "prompt", "completion", "system", "score"},
    [INSTRUCTION] = {"id", "instruction", "input", "output", "system", "history"},
};
static const char *const TEXT_KEYS[] = {"id", "prompt", "completion", "score", NULL};
static const char *const MESSAGE_KEYS[] = {"role", "content", "weight", NULL};
static const char *const FOREIGN_MESSAGE_KEYS[] = {"from", "value", "weight", NULL};

static void count_unused(reading *r, const tv_json_line *line) {
    const cJSON *prompt = tv_line_get(line, "prompt");
    bool texts = r->shape.shape == PROMPT_COMPLETION && cJSON_IsString(prompt);
    tv_unused_keys_add(&r->unused, r->shape.file, line->root, texts ? TEXT_KEYS : LINE_KEYS[r->shape.shape]);
    if (r->shape.shape == MESSAGES)
        tv_unused_keys_add_items(&r->unused, tv_line_get(line, "messages"), MESSAGE_KEYS);
    if (r->shape.shape == CONVERSATIONS)
        tv_unused_keys_add_items(&r->unused, tv_line_get(line, "conversations"), FOREIGN_MESSAGE_KEYS);
    if (r->shape.shape == PROMPT_COMPLETION) {
        tv_unused_keys_add_items(&r->unused, prompt, MESSAGE_KEYS);
        tv_unused_keys_add_items(&r->unused, tv_line_get(line, "completion"), MESSAGE_KEYS);
    }
}

static tv_status get_text(const tv_json_line *line, const char *key, tv_text *out) {
    const cJSON *item = tv_line_get(line, key);
    if (!cJSON_IsString(item))
        return tv_fail(TV_E_DATA, "%s: expected a text for \"%s\", found %s", line->where, key,
                       tv_json_kind(tv_json_get(line->root, key)));
    return tv_json_line_text(line, item, out);
}

static tv_status empty_answer(const tv_json_line *line, const char *key) {
    return tv_fail(TV_E_DATA,
                   "%s: expected an answer to learn from in \"%s\", found an empty one; remove the line",
                   line->where, key);
}

/* The tokens since the last call. */
static tv_status mark(reading *r, uint8_t value) {
    while (r->trained.size < r->ids.size)
        TV_RETURN_IF_FAILED(tv_text_append(&r->trained, &value, 1));
    return TV_OK;
}

/* The first `context` messages are a prompt: what the assistant says in them is not trained. */
static tv_status encode_messages(reading *r, const tv_json_line *line, const char *key, uint64_t context) {
    const tv_messages *messages = &r->messages;
    uint64_t answers = 0;
    for (uint64_t i = context; i < messages->count; i++) {
        if (messages->items[i].role != TV_ASSISTANT)
            continue;
        if (messages->items[i].length == 0 && !messages->items[i].untrained)
            return empty_answer(line, key);
        answers++;
    }
    if (answers == 0)
        return tv_fail(TV_E_DATA, "%s: expected a message of the assistant in \"%s\", found none",
                       line->where, key);
    TV_RETURN_IF_FAILED(tv_prompt_template(&r->encoder));
    for (uint64_t i = 0; i < context; i++)
        messages->items[i].untrained = true;
    return tv_chat_encode(r->options->tokenizer, &r->encoder.chat, messages->items, messages->count, false,
                          &r->ids, &r->trained);
}

static tv_status encode_texts(reading *r, const tv_json_line *line) {
    r->text.size = 0;
    TV_RETURN_IF_FAILED(get_text(line, "prompt", &r->text));
    TV_RETURN_IF_FAILED(tv_prompt_encode_text(&r->encoder, r->text.data, r->text.size, &r->ids));
    TV_RETURN_IF_FAILED(mark(r, 0));
    r->text.size = 0;
    TV_RETURN_IF_FAILED(get_text(line, "completion", &r->text));
    if (r->text.size == 0)
        return empty_answer(line, "completion");
    TV_RETURN_IF_FAILED(tv_answer_encode(&r->encoder, false, r->text.data, r->text.size, &r->ids));
    return mark(r, 1);
}

static tv_status encode_prompt_completion(reading *r, const tv_json_line *line) {
    const cJSON *prompt = tv_line_get(line, "prompt"), *completion = tv_line_get(line, "completion");
    if (cJSON_IsString(prompt) && cJSON_IsString(completion))
        return encode_texts(r, line);
    if (!cJSON_IsArray(prompt) || !cJSON_IsArray(completion))
        return tv_fail(TV_E_DATA,
                       "%s: expected \"prompt\" and \"completion\" to be both texts or both lists of "
                       "messages, found %s for \"prompt\" and %s for \"completion\"",
                       line->where, tv_json_kind(prompt), tv_json_kind(completion));
    TV_RETURN_IF_FAILED(tv_messages_from_json(line, prompt, "prompt", TV_ROLE_CONTENT, &r->messages));
    TV_RETURN_IF_FAILED(
        tv_messages_from_json(line, completion, "completion", TV_ROLE_CONTENT, &r->completion));
    TV_RETURN_IF_FAILED(tv_messages_add_system(line, &r->messages));
    uint64_t context = r->messages.count;
    for (uint64_t i = 0; i < r->completion.count; i++) {
        const tv_message *message = &r->completion.items[i];
        TV_RETURN_IF_FAILED(tv_messages_add(&r->messages, message->role, message->content, message->length));
        r->messages.items[r->messages.count - 1].untrained = message->untrained;
    }
    return encode_messages(r, line, "completion", context);
}

/* [["question", "answer"], ...]: the turns before; their answers are learned too, as LLaMA-Factory does,
 * whose form this is. */
static tv_status add_history(reading *r, const tv_json_line *line) {
    const cJSON *list = tv_line_get(line, "history"), *pair, *item;
    if (list && !cJSON_IsArray(list))
        return tv_fail(TV_E_DATA, "%s: expected a list of turns for \"history\", found something else",
                       line->where);
    cJSON_ArrayForEach(pair, list) {
        bool two = cJSON_IsArray(pair) && cJSON_GetArraySize(pair) == 2;
        if (!two || !cJSON_IsString(pair->child) || !cJSON_IsString(pair->child->next))
            return tv_fail(
                TV_E_DATA,
                "%s: expected [\"question\", \"answer\"] as each turn of \"history\", found something else",
                line->where);
        cJSON_ArrayForEach(item, pair) {
            r->text.size = 0;
            TV_RETURN_IF_FAILED(tv_json_line_text(line, item, &r->text));
            TV_RETURN_IF_FAILED(tv_messages_add(&r->messages, item == pair->child ? TV_USER : TV_ASSISTANT,
                                                r->text.data, r->text.size));
        }
    }
    return TV_OK;
}

/* The input, where there is one, stands below the instruction. */
static tv_status encode_instruction(reading *r, const tv_json_line *line) {
    r->messages.count = r->messages.contents.size = 0;
    TV_RETURN_IF_FAILED(add_history(r, line));
    r->text.size = 0;
    TV_RETURN_IF_FAILED(get_text(line, "instruction", &r->text));
    uint64_t instruction = r->text.size;
    if (tv_line_get(line, "input")) {
        TV_RETURN_IF_FAILED(tv_text_append(&r->text, "\n\n", 2));
        TV_RETURN_IF_FAILED(get_text(line, "input", &r->text));
        if (r->text.size == instruction + 2)
            r->text.size = instruction;
    }
    TV_RETURN_IF_FAILED(tv_messages_add(&r->messages, TV_USER, r->text.data, r->text.size));
    r->text.size = 0;
    TV_RETURN_IF_FAILED(get_text(line, "output", &r->text));
    TV_RETURN_IF_FAILED(tv_messages_add(&r->messages, TV_ASSISTANT, r->text.data, r->text.size));
    TV_RETURN_IF_FAILED(tv_messages_add_system(line, &r->messages));
    return encode_messages(r, line, "output", 0);
}

static tv_status encode_conversation(reading *r, const tv_json_line *line, const char *key,
                                     tv_message_keys keys) {
    TV_RETURN_IF_FAILED(tv_messages_from_json(line, tv_line_get(line, key), key, keys, &r->messages));
    TV_RETURN_IF_FAILED(tv_messages_add_system(line, &r->messages));
    return encode_messages(r, line, key, 0);
}

static tv_status encode_line(reading *r, const tv_json_line *line) {
    switch ((shape)r->shape.shape) {
    case MESSAGES:
        return encode_conversation(r, line, "messages", TV_ROLE_CONTENT);
    case CONVERSATIONS:
        return encode_conversation(r, line, "conversations", TV_FROM_VALUE);
    case PROMPT_COMPLETION:
        return encode_prompt_completion(r, line);
    case INSTRUCTION:
        break;
    }
    return encode_instruction(r, line);
}

/* Tokens up to the last that is trained, within the first `length`. */
static uint64_t last_trained(const reading *r, uint64_t length) {
    while (length > 0 && !r->trained.data[length - 1])
        length--;
    return length;
}

/* The tokens as an item, or dropped. */
static tv_status keep(reading *r, const tv_json_line *line) {
    tv_examples *examples = r->examples;
    if (r->trained.size)
        r->trained.data[0] = 0;
    uint64_t whole = last_trained(r, r->ids.size), length = whole;
    if (r->options->max_tokens)
        length = last_trained(r, tv_min_u64(whole, r->options->max_tokens));
    if (length == 0) {
        examples->dropped++;
        return TV_OK;
    }
    uint32_t *ids = tv_arena_alloc(examples->arena, length, sizeof *ids);
    uint8_t *trained = tv_arena_alloc(examples->arena, length, sizeof *trained);
    void *items = examples->items;
    if (!ids || !trained)
        return TV_E_MEMORY;
    TV_RETURN_IF_FAILED(tv_grow(&items, &r->capacity, examples->count + 1, sizeof *examples->items));
    examples->items = items;
    memcpy(ids, r->ids.data, length * sizeof *ids);
    memcpy(trained, r->trained.data, length);
    examples->items[examples->count++] = (tv_example){ids, trained, length, r->shape.file, line->line};
    examples->truncated += length < whole;
    examples->tokens += length;
    for (uint64_t i = 0; i < length; i++)
        examples->trained_tokens += trained[i];
    return TV_OK;
}

static tv_status add_example(void *context, const tv_json_line *line) {
    reading *r = context;
    r->ids.size = r->trained.size = 0;
    r->lines++;
    TV_RETURN_IF_FAILED(tv_shape_read(&r->shape, line));
    count_unused(r, line);
    TV_RETURN_IF_FAILED(encode_line(r, line));
    return keep(r, line);
}

static tv_status report(const reading *r) {
    const tv_examples *examples = r->examples;
    unsigned long long limit = r->options->max_tokens;
    if (examples->count == 0)
        return tv_fail(TV_E_FIT,
                       "%s: expected examples with an answer within %llu tokens, found none among %llu",
                       r->shape.file ? r->shape.file : "no input", limit, (unsigned long long)r->lines);
    tv_info("%llu examples, %llu tokens, %llu of them trained", (unsigned long long)examples->count,
            (unsigned long long)examples->tokens, (unsigned long long)examples->trained_tokens);
    if (examples->truncated || examples->dropped)
        tv_warn("%llu examples were cut at %llu tokens; %llu were dropped, because nothing to learn was left",
                (unsigned long long)examples->truncated, limit, (unsigned long long)examples->dropped);
    return TV_OK;
}

static tv_status read_examples(const tv_examples_options *options, const uint8_t *bytes, uint64_t size,
                               const char *name, tv_examples **out) {
    tv_status status;
    reading r = {.options = options, .encoder.tokenizer = options->tokenizer};
    *out = r.examples = calloc(1, sizeof *r.examples);
    if (!r.examples)
        return tv_fail(TV_E_MEMORY, "out of host memory for examples");
    TV_TRY(tv_arena_create(&r.examples->arena));
    r.shape =
        (tv_shape_reader){.shapes = SHAPES, .shape_count = TV_COUNT(SHAPES), .arena = r.examples->arena};
    if (name)
        TV_TRY(tv_source_read_json_bytes(bytes, size, name, add_example, &r));
    else
        TV_TRY(tv_source_read_json(options->paths, options->path_count, add_example, &r, NULL));
    tv_unused_keys_report(&r.unused);
    r.examples->ends = tv_prompt_ends(&r.encoder);
    TV_TRY(report(&r));
done:
    tv_prompt_encoder_free(&r.encoder);
    tv_messages_free(&r.messages);
    tv_messages_free(&r.completion);
    tv_text_free(&r.text);
    tv_ids_free(&r.ids);
    tv_text_free(&r.trained);
    if (status != TV_OK)
        tv_examples_destroy(out);
    return status;
}

tv_status tv_examples_read(const tv_examples_options *options, tv_examples **examples) {
    return read_examples(options, NULL, 0, NULL, examples);
}

tv_status tv_examples_read_bytes(const tv_examples_options *options, const uint8_t *bytes, uint64_t size,
                                 const char *name, tv_examples **examples) {
    return read_examples(options, bytes, size, name, examples);
}

void tv_examples_destroy(tv_examples **examples) {
    if (!examples || !*examples)
        return;
    tv_arena_destroy(&(*examples)->arena);
    free((*examples)->items);
    free(*examples);
    *examples = NULL;
}
