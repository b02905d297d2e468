/* Prompt sets: see prompts.h. */
#include "text/prompts.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "text/chat_tokens.h"
#include "text/json_text.h"
#include "text/line_shape.h"
#include "text/unused_keys.h"

/* ---- tokens of prompts and answers ---- */

static tv_status end_of_text(const tv_prompt_encoder *encoder, uint32_t *id) {
    *id = tv_tokenizer_info_of(encoder->tokenizer)->end_of_text;
    if (*id == TV_NO_TOKEN)
        return tv_fail(TV_E_DATA, "expected a tokenizer with an end-of-text token, which ends answers, found "
                                  "none; set \"eos_token\" in its tokenizer_config.json");
    return TV_OK;
}

tv_status tv_prompt_template(tv_prompt_encoder *encoder) {
    if (!encoder->chat_known)
        TV_RETURN_IF_FAILED(tv_chat_template_of(encoder->tokenizer, &encoder->chat));
    encoder->chat_known = true;
    return TV_OK;
}

/* A text without a template: it spells no special token, and nothing that begins or ends texts or turns. */
static tv_status encode_plain(const tv_prompt_encoder *encoder, const void *text, uint64_t length,
                              tv_ids *ids) {
    const tv_tokenizer_info *info = tv_tokenizer_info_of(encoder->tokenizer);
    const uint32_t ends[] = {
        info->end_of_text, info->eos,
        tv_tokenizer_find(encoder->tokenizer, TV_TOKEN_IM_START, strlen(TV_TOKEN_IM_START)),
        tv_tokenizer_find(encoder->tokenizer, TV_TOKEN_IM_END, strlen(TV_TOKEN_IM_END))};
    tv_ids open = {0};
    tv_status status;
    TV_TRY(tv_ids_append(&open, info->begin, info->begin_count));
    for (size_t i = 0; i < TV_COUNT(ends); i++)
        if (ends[i] != TV_NO_TOKEN)
            TV_TRY(tv_ids_append(&open, &ends[i], 1));
    TV_TRY(tv_encode_spelled(encoder->tokenizer, &open, text, length, ids));
done:
    tv_ids_free(&open);
    return status;
}

tv_status tv_prompt_encode_text(tv_prompt_encoder *encoder, const void *text, uint64_t length, tv_ids *ids) {
    uint64_t before = ids->size;
    encoder->texts = true;
    TV_RETURN_IF_FAILED(tv_tokenizer_begin_text(encoder->tokenizer, ids));
    if (length > 0)
        return encode_plain(encoder, text, length, ids);
    if (ids->size > before)
        return TV_OK;
    uint32_t id;
    TV_RETURN_IF_FAILED(end_of_text(encoder, &id));
    return tv_ids_append(ids, &id, 1);
}

tv_status tv_prompt_encode_messages(tv_prompt_encoder *encoder, const tv_json_line *line,
                                    const tv_messages *messages, tv_ids *ids) {
    if (messages->count == 0 || messages->items[messages->count - 1].role == TV_ASSISTANT)
        return tv_fail(TV_E_DATA,
                       "%s: expected the prompt to end with a message of the user, found %s; what the "
                       "assistant says is the answer",
                       line->where, messages->count ? "one of the assistant" : "no message");
    TV_RETURN_IF_FAILED(tv_prompt_template(encoder));
    if (tv_line_get(line, "system")) {
        tv_messages *whole = &encoder->whole;
        whole->count = whole->contents.size = 0;
        for (uint64_t i = 0; i < messages->count; i++)
            TV_RETURN_IF_FAILED(tv_messages_add(whole, messages->items[i].role, messages->items[i].content,
                                                messages->items[i].length));
        TV_RETURN_IF_FAILED(tv_messages_add_system(line, whole));
        messages = whole;
    }
    return tv_chat_encode(encoder->tokenizer, &encoder->chat, messages->items, messages->count, true, ids,
                          NULL);
}

tv_status tv_prompt_encode(tv_prompt_encoder *encoder, const tv_json_line *line, const cJSON *prompt,
                           tv_ids *ids, bool *is_chat) {
    *is_chat = cJSON_IsArray(prompt);
    if (*is_chat) {
        TV_RETURN_IF_FAILED(
            tv_messages_from_json(line, prompt, "prompt", TV_ROLE_CONTENT, &encoder->messages));
        return tv_prompt_encode_messages(encoder, line, &encoder->messages, ids);
    }
    if (!cJSON_IsString(prompt))
        return tv_fail(TV_E_DATA, "%s: expected a text or a list of messages for \"prompt\", found %s",
                       line->where, prompt ? tv_json_kind(prompt) : "no such key");
    encoder->text.size = 0;
    TV_RETURN_IF_FAILED(tv_json_line_text(line, prompt, &encoder->text));
    return tv_prompt_encode_text(encoder, encoder->text.data, encoder->text.size, ids);
}

tv_status tv_answer_encode(tv_prompt_encoder *encoder, bool is_chat, const void *content, uint64_t length,
                           tv_ids *ids) {
    if (is_chat) {
        TV_RETURN_IF_FAILED(tv_prompt_template(encoder));
        return tv_chat_encode_answer(encoder->tokenizer, &encoder->chat, content, length, ids);
    }
    uint32_t id;
    encoder->texts = true;
    TV_RETURN_IF_FAILED(end_of_text(encoder, &id));
    TV_RETURN_IF_FAILED(encode_plain(encoder, content, length, ids));
    return tv_ids_append(ids, &id, 1);
}

tv_answer_ends tv_prompt_ends(const tv_prompt_encoder *encoder) {
    return (tv_answer_ends){.turn = encoder->chat_known ? encoder->chat.end : TV_NO_TOKEN,
                            .document = encoder->texts ? tv_tokenizer_info_of(encoder->tokenizer)->end_of_text
                                                       : TV_NO_TOKEN};
}

void tv_prompt_encoder_free(tv_prompt_encoder *encoder) {
    tv_messages_free(&encoder->messages);
    tv_messages_free(&encoder->whole);
    tv_chat_template_free(&encoder->chat);
    tv_text_free(&encoder->text);
}

/* ---- prompt sets ---- */

static const tv_line_shape SHAPES[] = {{"{\"prompt\": text or messages}", {"prompt"}}};

typedef struct reading {
    const tv_prompts_options *options;
    tv_prompts *prompts;
    uint64_t capacity;
    tv_shape_reader shape;
    tv_prompt_encoder encoder;
    tv_ids ids;
    tv_text text;
    tv_unused_keys unused;
} reading;

static tv_status copy_text(reading *r, const char **out) {
    *out = tv_arena_copy(r->prompts->arena, (const char *)r->text.data, r->text.size);
    return *out ? TV_OK : TV_E_MEMORY;
}

static tv_status read_id(reading *r, const tv_json_line *line, const char **id) {
    const cJSON *item = tv_line_get(line, "id");
    r->text.size = 0;
    if (!item) {
        *id = tv_arena_format(r->prompts->arena, "p%llu", (unsigned long long)r->prompts->count);
        return *id ? TV_OK : TV_E_MEMORY;
    }
    if (cJSON_IsString(item))
        TV_RETURN_IF_FAILED(tv_json_line_text(line, item, &r->text));
    else if (cJSON_IsNumber(item))
        TV_RETURN_IF_FAILED(tv_json_line_print(line, item, &r->text));
    if (r->text.size == 0 || memchr(r->text.data, '\0', r->text.size))
        return tv_fail(TV_E_DATA, "%s: expected a text or a number for \"id\", found %s", line->where,
                       r->text.size           ? "one with a byte 0"
                       : cJSON_IsString(item) ? "an empty one"
                                              : "something else");
    return copy_text(r, id);
}

/* As it travels on to candidates and rankings, which have no "system" beside it. */
static tv_status print_prompt(reading *r, const tv_json_line *line, const cJSON *value, const char **json) {
    const cJSON *system = tv_line_get(line, "system");
    cJSON *whole = NULL;
    tv_status status;
    if (cJSON_IsArray(value) && cJSON_IsString(system) && system->valuestring[0]) {
        cJSON *first = cJSON_CreateObject();
        whole = cJSON_Duplicate(value, true);
        if (!whole || !first || !tv_json_set_string(first, "role", "system") ||
            !tv_json_set_string(first, "content", system->valuestring) ||
            !cJSON_InsertItemInArray(whole, 0, first)) {
            cJSON_Delete(first);
            status = tv_fail(TV_E_MEMORY, "out of host memory for a prompt");
            goto done;
        }
    }
    TV_TRY(tv_json_line_print(line, whole ? whole : value, &r->text));
    TV_TRY(copy_text(r, json));
done:
    cJSON_Delete(whole);
    return status;
}

static tv_status read_answer(reading *r, const tv_json_line *line, const char **answer) {
    const cJSON *item = tv_line_get(line, "answer");
    r->text.size = 0;
    if (cJSON_IsString(item))
        TV_RETURN_IF_FAILED(tv_json_line_text(line, item, &r->text));
    else if (cJSON_IsNumber(item))
        TV_RETURN_IF_FAILED(tv_json_line_print(line, item, &r->text));
    else
        return tv_fail(TV_E_DATA, "%s: expected \"answer\", the right one, a text or a number, found %s",
                       line->where, item ? "something else" : "none");
    return copy_text(r, answer);
}

/* Without those that whoever is asked gets in another way. */
static tv_status read_fields(reading *r, const tv_json_line *line, const char **fields) {
    static const char *const own[] = {"id", "prompt", "system", "prompt_id", "response"};
    const cJSON *member;
    r->text.size = 0;
    cJSON_ArrayForEach(member, line->root) {
        bool skipped = false;
        for (size_t i = 0; i < TV_COUNT(own); i++)
            skipped = skipped || strcmp(member->string, own[i]) == 0;
        if (skipped)
            continue;
        TV_RETURN_IF_FAILED(tv_text_append(&r->text, ",", 1));
        TV_RETURN_IF_FAILED(tv_json_append_string(member->string, strlen(member->string), &r->text));
        TV_RETURN_IF_FAILED(tv_text_append(&r->text, ":", 1));
        TV_RETURN_IF_FAILED(tv_json_line_print(line, member, &r->text));
    }
    return copy_text(r, fields);
}

static void count_unused(reading *r, const tv_json_line *line) {
    static const char *const with_messages[] = {"id", "prompt", "system", NULL};
    static const char *const with_text[] = {"id", "prompt", NULL};
    static const char *const answered_messages[] = {"id", "prompt", "system", "answer", NULL};
    static const char *const answered_text[] = {"id", "prompt", "answer", NULL};
    const bool answers = r->options->answers;
    static const char *const message[] = {"role", "content", NULL};
    const cJSON *prompt = tv_line_get(line, "prompt");
    tv_unused_keys_add(&r->unused, r->shape.file, line->root,
                       cJSON_IsArray(prompt) ? (answers ? answered_messages : with_messages)
                                             : (answers ? answered_text : with_text));
    tv_unused_keys_add_items(&r->unused, prompt, message);
}

static tv_status add_prompt(void *context, const tv_json_line *line) {
    reading *r = context;
    tv_prompt prompt = {.line = line->line};
    TV_RETURN_IF_FAILED(tv_shape_read(&r->shape, line));
    prompt.file = r->shape.file;
    if (!r->options->fields)
        count_unused(r, line);
    TV_RETURN_IF_FAILED(read_id(r, line, &prompt.id));
    const cJSON *value = tv_line_get(line, "prompt");
    r->ids.size = r->text.size = 0;
    TV_RETURN_IF_FAILED(tv_prompt_encode(&r->encoder, line, value, &r->ids, &prompt.is_chat));
    if (r->options->max_tokens && r->ids.size > r->options->max_tokens)
        return tv_fail(TV_E_DATA, "%s: expected a prompt of at most %llu tokens, found %llu; shorten it",
                       line->where, (unsigned long long)r->options->max_tokens,
                       (unsigned long long)r->ids.size);
    TV_RETURN_IF_FAILED(print_prompt(r, line, value, &prompt.json));
    if (r->options->answers)
        TV_RETURN_IF_FAILED(read_answer(r, line, &prompt.answer));
    if (r->options->fields)
        TV_RETURN_IF_FAILED(read_fields(r, line, &prompt.fields));
    uint32_t *ids = tv_arena_alloc(r->prompts->arena, r->ids.size + 1, sizeof *ids);
    if (!ids)
        return TV_E_MEMORY;
    if (r->ids.size)
        memcpy(ids, r->ids.data, r->ids.size * sizeof *ids);
    prompt.ids = ids;
    prompt.length = r->ids.size;
    void *items = r->prompts->items;
    TV_RETURN_IF_FAILED(tv_grow(&items, &r->capacity, r->prompts->count + 1, sizeof prompt));
    r->prompts->items = items;
    r->prompts->items[r->prompts->count++] = prompt;
    r->prompts->tokens += prompt.length;
    return TV_OK;
}

static int by_id(const void *a, const void *b) {
    const tv_prompt *left = *(const tv_prompt *const *)a, *right = *(const tv_prompt *const *)b;
    int order = strcmp(left->id, right->id);
    return order ? order : (left > right) - (left < right);
}

static tv_status check_ids(const tv_prompts *prompts) {
    const tv_prompt **sorted = calloc(prompts->count + 1, sizeof *sorted);
    if (!sorted)
        return tv_fail(TV_E_MEMORY, "out of host memory for the ids of prompts");
    for (uint64_t i = 0; i < prompts->count; i++)
        sorted[i] = &prompts->items[i];
    qsort(sorted, prompts->count, sizeof(const tv_prompt *), by_id);
    tv_status status = TV_OK;
    for (uint64_t i = 1; i < prompts->count && status == TV_OK; i++)
        if (strcmp(sorted[i]->id, sorted[i - 1]->id) == 0)
            status = tv_fail(TV_E_DATA,
                             "%s line %llu: expected each \"id\" once, found \"%.80s\" as in %s line %llu; a "
                             "line without \"id\" gets p and its number",
                             sorted[i]->file, (unsigned long long)sorted[i]->line, sorted[i]->id,
                             sorted[i - 1]->file, (unsigned long long)sorted[i - 1]->line);
    free(sorted);
    return status;
}

static tv_status read_prompts(const tv_prompts_options *options, const uint8_t *bytes, uint64_t size,
                              const char *name, tv_prompts **out) {
    tv_status status;
    reading r = {.options = options, .encoder.tokenizer = options->tokenizer};
    *out = r.prompts = calloc(1, sizeof *r.prompts);
    if (!r.prompts)
        return tv_fail(TV_E_MEMORY, "out of host memory for prompts");
    TV_TRY(tv_arena_create(&r.prompts->arena));
    r.shape = (tv_shape_reader){.shapes = SHAPES, .shape_count = TV_COUNT(SHAPES), .arena = r.prompts->arena};
    if (name)
        TV_TRY(tv_source_read_json_bytes(bytes, size, name, add_prompt, &r));
    else
        TV_TRY(tv_source_read_json(options->paths, options->path_count, add_prompt, &r, NULL));
    TV_TRY(check_ids(r.prompts));
    tv_unused_keys_report(&r.unused);
    r.prompts->ends = tv_prompt_ends(&r.encoder);
    r.prompts->chat = r.encoder.chat;
    r.encoder.chat = (tv_chat_template){0};
    tv_info("%llu prompts, %llu tokens", (unsigned long long)r.prompts->count,
            (unsigned long long)r.prompts->tokens);
done:
    tv_prompt_encoder_free(&r.encoder);
    tv_ids_free(&r.ids);
    tv_text_free(&r.text);
    if (status != TV_OK)
        tv_prompts_destroy(out);
    return status;
}

tv_status tv_prompts_read(const tv_prompts_options *options, tv_prompts **prompts) {
    return read_prompts(options, NULL, 0, NULL, prompts);
}

tv_status tv_prompts_read_bytes(const tv_prompts_options *options, const uint8_t *bytes, uint64_t size,
                                const char *name, tv_prompts **prompts) {
    return read_prompts(options, bytes, size, name, prompts);
}

void tv_prompts_destroy(tv_prompts **prompts) {
    if (!prompts || !*prompts)
        return;
    tv_arena_destroy(&(*prompts)->arena);
    tv_chat_template_free(&(*prompts)->chat);
    free((*prompts)->items);
    free(*prompts);
    *prompts = NULL;
}
