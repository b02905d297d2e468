/* Conversations as tokens: see chat_template.h. Recognising templates is in chat_recognise.c. */
#include "text/chat_template.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "text/chat_recognise.h"

#define START_HEADER  "<|start_header_id|>"
#define END_HEADER    "<|end_header_id|>"
#define END_OF_TURN   "<|eot_id|>"
#define BEGIN_OF_TEXT "<|begin_of_text|>"

static uint32_t find(const tv_tokenizer *tokenizer, const char *token) {
    return tv_tokenizer_find(tokenizer, token, strlen(token));
}

static bool has(const tv_tokenizer *tokenizer, const char *token) {
    return find(tokenizer, token) != TV_NO_TOKEN;
}

const char *tv_chat_kind_name(tv_chat_kind kind) {
    static const char *const names[] = {"ChatML", "Llama 3", "plain text"};
    return names[kind];
}

/* What the kind needs of the tokenizer: NULL, or the token that it lacks. */
static const char *missing_token(const tv_tokenizer *tokenizer, const tv_chat_template *chat) {
    static const char *const chatml[] = {TV_TOKEN_IM_START, TV_TOKEN_IM_END, NULL};
    static const char *const llama3[] = {START_HEADER, END_HEADER, END_OF_TURN, BEGIN_OF_TEXT, NULL};
    if (chat->kind == TV_CHAT_PLAIN)
        return NULL;
    const char *const *token = chat->kind == TV_CHAT_CHATML ? chatml : llama3;
    while (*token && (has(tokenizer, *token) || (!chat->begins && strcmp(*token, BEGIN_OF_TEXT) == 0)))
        token++;
    return *token;
}

tv_status tv_chat_template_of(const tv_tokenizer *tokenizer, tv_chat_template *chat) {
    const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
    *chat = (tv_chat_template){.own = info->chat_template != NULL};
    const char *why = "it has none", *missing = NULL;
    if (chat->own)
        TV_RETURN_IF_FAILED(tv_chat_recognise(info->chat_template, chat, &why));
    if (chat->own && !why)
        missing = missing_token(tokenizer, chat);
    if (why || missing) {
        bool chatml = has(tokenizer, TV_TOKEN_IM_START) && has(tokenizer, TV_TOKEN_IM_END);
        *chat = (tv_chat_template){.kind = chatml ? TV_CHAT_CHATML : TV_CHAT_PLAIN,
                                   .begins = info->begin_count > 0};
    }
    chat->end = chat->kind == TV_CHAT_CHATML   ? find(tokenizer, TV_TOKEN_IM_END)
                : chat->kind == TV_CHAT_LLAMA3 ? find(tokenizer, END_OF_TURN)
                                               : info->end_of_text;
    if (chat->end == TV_NO_TOKEN)
        return tv_fail(TV_E_DATA, "expected a tokenizer with an end-of-text token, which ends answers, found "
                                  "none; set \"eos_token\" in its tokenizer_config.json");
    const char *name = tv_chat_kind_name(chat->kind);
    if (chat->own)
        tv_info("chat template: %s, the tokenizer's own%s", name,
                chat->preamble ? ", with its system message" : "");
    else if (missing)
        tv_warn("chat template: built-in %s; the tokenizer's own needs the token %s, which it lacks", name,
                missing);
    else if (info->chat_template)
        tv_warn("chat template: built-in %s; the tokenizer's own is not known: %s", name, why);
    else
        tv_info("chat template: built-in %s; the tokenizer has none", name);
    return TV_OK;
}

/* Text is gathered between tokens of the markup and encoded at once, so that the pre-tokenizer sees what a
 * template renders: in "user\n" and a content that begins with "\n" it may join the two. */
typedef struct writing {
    tv_tokenizer *tokenizer;
    const tv_chat_template *chat;
    tv_ids *ids;
    tv_text *trained; /* or NULL */
    tv_text gathered;
    bool strips;     /* the token before `gathered` takes its first blanks along */
    bool learns;     /* `gathered` ends with a content that is trained, ... */
    uint64_t answer; /* ... which begins here */
} writing;

/* Gives the tokens since the last call their mask, up to `end`. */
static tv_status mark(writing *w, uint64_t end, uint8_t value) {
    while (w->trained && w->trained->size < end)
        TV_RETURN_IF_FAILED(tv_text_append(w->trained, &value, 1));
    return TV_OK;
}

/* Tokens of the markup that are found in any text, because they are not marked as special. Up to `MARKUP`. */
enum { MARKUP = 7 };
static int find_open_markup(const writing *w, const tv_token *open[MARKUP]) {
    static const char *const markup[MARKUP - 1] = {TV_TOKEN_IM_START, TV_TOKEN_IM_END, START_HEADER,
                                                   END_HEADER,        END_OF_TURN,     BEGIN_OF_TEXT};
    int count = 0;
    for (int m = 0; m < MARKUP; m++) {
        uint32_t id = m < MARKUP - 1 ? find(w->tokenizer, markup[m]) : w->chat->end;
        const tv_token *token = id == TV_NO_TOKEN ? NULL : tv_tokenizer_token(w->tokenizer, id);
        if (token && token->added && !token->special)
            open[count++] = token;
    }
    return count;
}

/* Where the first of them is spelled, or the length. */
static uint64_t find_spelled(const tv_token *const *open, int count, const char *text, uint64_t length) {
    for (uint64_t i = 0; count > 0 && i < length; i++)
        for (int m = 0; m < count; m++)
            if (open[m]->length <= length - i && memcmp(text + i, open[m]->bytes, open[m]->length) == 0)
                return i;
    return length;
}

static uint64_t blanks_before(const uint8_t *text, uint64_t end) {
    for (uint64_t begin = end; end > 0; end = begin) {
        do
            begin--;
        while (begin > 0 && (text[begin] & 0xc0) == 0x80 && end - begin < 4);
        uint32_t used, c = tv_utf8_decode(text + begin, end - begin, &used);
        if (used != end - begin || !tv_utf8_is_space(c))
            break;
    }
    return end;
}

static void trim_begin(const char **text, uint64_t *length) {
    while (*length > 0) {
        uint32_t used, c = tv_utf8_decode((const uint8_t *)*text, *length, &used);
        if (!tv_utf8_is_space(c))
            break;
        *text += used;
        *length -= used;
    }
}

/* As Jinja's trim. */
static void trim(const char **text, uint64_t *length) {
    *length = blanks_before((const uint8_t *)*text, *length);
    trim_begin(text, length);
}

/* As in a rendered text: added tokens may take the blanks before and behind them along. */
static void strip_gathered(writing *w, const tv_token *next) {
    const char *text = (const char *)w->gathered.data;
    uint64_t length = w->gathered.size;
    if (length == 0)
        return;
    if (next && next->lstrip)
        w->gathered.size = length = blanks_before(w->gathered.data, length);
    if (w->strips)
        trim_begin(&text, &length);
    uint64_t taken = w->gathered.size - length;
    memmove(w->gathered.data, text, length);
    w->gathered.size = length;
    w->answer -= tv_min_u64(w->answer, taken);
}

static tv_status encode_gathered(writing *w) {
    const tv_token *open[MARKUP];
    int count = find_open_markup(w, open);
    const char *text = (const char *)w->gathered.data;
    uint64_t length = w->gathered.size;
    while (length > 0) {
        uint64_t part = find_spelled(open, count, text, length);
        part += part < length; /* its first sign goes with what is before, which takes it apart */
        TV_RETURN_IF_FAILED(tv_tokenizer_encode(w->tokenizer, text, part, false, w->ids));
        text += part;
        length -= part;
    }
    return TV_OK;
}

/* Behind the tokens, from `first`, that hold anything of what stands before the answer. That is markup, which
 * no normalizer changes; a space may be put before it, and an added token may take its blanks along. */
static uint64_t find_answer(const writing *w, uint64_t first) {
    const uint8_t *before = w->gathered.data;
    uint64_t at = 0, i = first;
    for (; i < w->ids->size && at < w->answer; i++) {
        const tv_token *token = tv_tokenizer_token(w->tokenizer, w->ids->data[i]);
        uint64_t added = i == first && token->bytes[0] == ' ' && before[0] != ' ';
        uint64_t length = token->length - added;
        if (memcmp(token->bytes + added, before + at, tv_min_u64(length, w->answer - at)) != 0)
            break;
        at += length;
    }
    return i;
}

/* Encodes what was gathered; `next` is the token behind it, or NULL. */
static tv_status flush(writing *w, const tv_token *next) {
    uint64_t first = w->ids->size;
    strip_gathered(w, next);
    TV_RETURN_IF_FAILED(encode_gathered(w));
    TV_RETURN_IF_FAILED(mark(w, w->learns ? find_answer(w, first) : w->ids->size, 0));
    TV_RETURN_IF_FAILED(mark(w, w->ids->size, 1));
    w->gathered.size = w->answer = 0;
    w->learns = w->strips = false;
    return TV_OK;
}

static tv_status put_text(writing *w, const char *text) {
    return tv_text_append(&w->gathered, text, strlen(text));
}

static tv_status put_token(writing *w, uint32_t id, bool learns) {
    const tv_token *token = tv_tokenizer_token(w->tokenizer, id);
    TV_RETURN_IF_FAILED(flush(w, token));
    TV_RETURN_IF_FAILED(tv_ids_append(w->ids, &id, 1));
    w->strips = token->rstrip;
    return mark(w, w->ids->size, learns);
}

static tv_status put_special(writing *w, const char *token) {
    return put_token(w, find(w->tokenizer, token), false);
}

static tv_status put_content(writing *w, const char *text, uint64_t length) {
    if (w->chat->kind == TV_CHAT_LLAMA3 && length)
        trim(&text, &length);
    return tv_text_append(&w->gathered, text, length);
}

static tv_status put_header(writing *w, tv_role role) {
    static const char *const lower[] = {"system", "user", "assistant"};
    static const char *const lines[] = {"system\n", "user\n", "assistant\n"};
    static const char *const names[] = {"System:\n", "User:\n", "Assistant:\n"};
    switch (w->chat->kind) {
    case TV_CHAT_CHATML:
        TV_RETURN_IF_FAILED(put_special(w, TV_TOKEN_IM_START));
        return put_text(w, lines[role]);
    case TV_CHAT_LLAMA3:
        TV_RETURN_IF_FAILED(put_special(w, START_HEADER));
        TV_RETURN_IF_FAILED(put_text(w, lower[role]));
        TV_RETURN_IF_FAILED(put_special(w, END_HEADER));
        return put_text(w, "\n\n");
    case TV_CHAT_PLAIN:
        break;
    }
    /* Here no token parts the turns; an answer is found from its header on. */
    if (role == TV_ASSISTANT)
        TV_RETURN_IF_FAILED(flush(w, NULL));
    return put_text(w, names[role]);
}

static tv_status put_message(writing *w, const tv_message *message, const char *before) {
    bool assistant = message->role == TV_ASSISTANT;
    bool learns = assistant && !message->untrained;
    TV_RETURN_IF_FAILED(put_header(w, message->role));
    TV_RETURN_IF_FAILED(put_text(w, before));
    w->learns = learns;
    w->answer = w->gathered.size;
    TV_RETURN_IF_FAILED(put_content(w, message->content, message->length));
    if (assistant || w->chat->kind != TV_CHAT_PLAIN)
        TV_RETURN_IF_FAILED(put_token(w, w->chat->end, learns));
    return w->chat->kind == TV_CHAT_LLAMA3 ? TV_OK : put_text(w, "\n");
}

tv_status tv_chat_encode(tv_tokenizer *tokenizer, const tv_chat_template *chat, const tv_message *messages,
                         uint64_t count, bool add_generation_prompt, tv_ids *ids, tv_text *trained) {
    tv_ids own_ids = {0};
    tv_text mask = {0};
    writing w = {.tokenizer = tokenizer, .chat = chat, .ids = &own_ids, .trained = trained ? &mask : NULL};
    bool has_system = count > 0 && messages[0].role == TV_SYSTEM;
    bool dated = chat->kind == TV_CHAT_LLAMA3 && chat->preamble;
    tv_status status;
    if (chat->begins)
        TV_TRY(chat->own ? put_special(&w, BEGIN_OF_TEXT) : tv_tokenizer_begin_text(tokenizer, &own_ids));
    TV_TRY(mark(&w, own_ids.size, 0));
    if (chat->preamble && !has_system) {
        const tv_message system = {
            .role = TV_SYSTEM, .content = dated ? "" : chat->system, .length = dated ? 0 : chat->preamble};
        TV_TRY(put_message(&w, &system, dated ? chat->system : ""));
    }
    for (uint64_t i = 0; i < count; i++)
        TV_TRY(put_message(&w, &messages[i], dated && has_system && i == 0 ? chat->system : ""));
    if (add_generation_prompt)
        TV_TRY(put_header(&w, TV_ASSISTANT));
    TV_TRY(flush(&w, NULL));
    TV_TRY(tv_ids_append(ids, own_ids.data, own_ids.size));
    if (trained)
        TV_TRY(tv_text_append(trained, mask.data, mask.size));
done:
    tv_ids_free(&own_ids);
    tv_text_free(&mask);
    tv_text_free(&w.gathered);
    return status;
}

tv_status tv_chat_encode_content(tv_tokenizer *tokenizer, const tv_chat_template *chat, const void *content,
                                 uint64_t length, tv_ids *ids) {
    writing w = {.tokenizer = tokenizer, .chat = chat, .ids = ids};
    tv_status status = put_content(&w, content, length);
    if (status == TV_OK)
        status = flush(&w, NULL);
    tv_text_free(&w.gathered);
    return status;
}

tv_status tv_chat_encode_answer(tv_tokenizer *tokenizer, const tv_chat_template *chat, const void *content,
                                uint64_t length, tv_ids *ids) {
    TV_RETURN_IF_FAILED(tv_chat_encode_content(tokenizer, chat, content, length, ids));
    return tv_ids_append(ids, &chat->end, 1);
}

tv_status tv_messages_add(tv_messages *messages, tv_role role, const void *content, uint64_t length) {
    void *items = messages->items;
    const uint8_t *before = messages->contents.data;
    TV_RETURN_IF_FAILED(tv_grow(&items, &messages->capacity, messages->count + 1, sizeof *messages->items));
    messages->items = items;
    TV_RETURN_IF_FAILED(tv_text_append(&messages->contents, content, length));
    TV_RETURN_IF_FAILED(tv_text_append(&messages->contents, "", 1)); /* so that no content is NULL */
    messages->contents.size--;
    messages->items[messages->count++] = (tv_message){.role = role, .length = length};
    /* Contents lie one behind the other; when their array moved, all are found again. */
    const char *at = (const char *)messages->contents.data;
    uint64_t from = messages->contents.data == before ? messages->count - 1 : 0;
    if (from > 0)
        at += messages->contents.size - length;
    for (uint64_t i = from; i < messages->count; i++) {
        messages->items[i].content = at;
        at += messages->items[i].length;
    }
    return TV_OK;
}

void tv_messages_free(tv_messages *messages) {
    free(messages->items);
    tv_text_free(&messages->contents);
    *messages = (tv_messages){0};
}

static bool role_of(const char *name, tv_message_keys keys, tv_role *role) {
    static const struct {
        const char *name;
        tv_role role;
        bool foreign;
    } names[] = {{"system", TV_SYSTEM, false},
                 {"user", TV_USER, false},
                 {"assistant", TV_ASSISTANT, false},
                 {"human", TV_USER, true},
                 {"gpt", TV_ASSISTANT, true}};
    for (size_t i = 0; i < TV_COUNT(names); i++) {
        if (strcmp(name, names[i].name) == 0 && (keys == TV_FROM_VALUE || !names[i].foreign)) {
            *role = names[i].role;
            return true;
        }
    }
    return false;
}

tv_status tv_messages_from_json(const tv_json_line *line, const cJSON *list, const char *key,
                                tv_message_keys keys, tv_messages *messages) {
    const char *role_key = keys == TV_FROM_VALUE ? "from" : "role";
    const char *content_key = keys == TV_FROM_VALUE ? "value" : "content";
    const char *roles = keys == TV_FROM_VALUE ? "system, human or gpt" : "system, user or assistant";
    tv_text content = {0};
    tv_status status = TV_OK;
    messages->count = messages->contents.size = 0;
    if (!cJSON_IsArray(list) || !list->child)
        return tv_fail(TV_E_DATA, "%s: expected a list of messages for \"%s\", found %s", line->where, key,
                       !list                 ? "no such key"
                       : cJSON_IsArray(list) ? "an empty one"
                                             : "something else");
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const cJSON *name = tv_json_get(item, role_key), *text = tv_json_get(item, content_key);
        unsigned long long number = messages->count + 1;
        tv_role role;
        if (!cJSON_IsString(name) || !role_of(name->valuestring, keys, &role)) {
            status = tv_fail(TV_E_DATA, "%s: expected %s for \"%s\" of message %llu in \"%s\", found %.60s",
                             line->where, roles, role_key, number, key,
                             cJSON_IsString(name) ? name->valuestring : "no text");
            goto done;
        }
        if (!cJSON_IsString(text)) {
            status = tv_fail(TV_E_DATA, "%s: expected a text for \"%s\" of message %llu in \"%s\", found %s",
                             line->where, content_key, number, key, text ? "something else" : "no such key");
            goto done;
        }
        const cJSON *weight = tv_json_get(item, "weight");
        bool none = cJSON_IsNumber(weight) && !(weight->valuedouble < 0 || weight->valuedouble > 0);
        bool whole = cJSON_IsNumber(weight) && !(weight->valuedouble < 1 || weight->valuedouble > 1);
        if (weight && !cJSON_IsNull(weight) && !none && !whole) {
            status =
                tv_fail(TV_E_DATA, "%s: expected 0 or 1 for \"weight\" of message %llu in \"%s\", found %s",
                        line->where, number, key, cJSON_IsNumber(weight) ? "another number" : "no number");
            goto done;
        }
        content.size = 0;
        TV_TRY(tv_json_line_text(line, text, &content));
        TV_TRY(tv_messages_add(messages, role, content.data, content.size));
        messages->items[messages->count - 1].untrained = none;
    }
done:
    tv_text_free(&content);
    return status;
}

tv_status tv_messages_add_system(const tv_json_line *line, tv_messages *messages) {
    const cJSON *item = tv_json_get(line->root, "system");
    tv_messages whole = {0};
    tv_text text = {0};
    tv_status status;
    if (!item || cJSON_IsNull(item))
        return TV_OK;
    if (!cJSON_IsString(item))
        return tv_fail(TV_E_DATA, "%s: expected a text for \"system\", found something else", line->where);
    TV_TRY(tv_json_line_text(line, item, &text));
    if (text.size == 0)
        goto done;
    if (messages->count && messages->items[0].role == TV_SYSTEM) {
        status =
            tv_fail(TV_E_DATA,
                    "%s: expected one message of the system, found \"system\" and another among the messages",
                    line->where);
        goto done;
    }
    TV_TRY(tv_messages_add(&whole, TV_SYSTEM, text.data, text.size));
    for (uint64_t i = 0; i < messages->count; i++) {
        const tv_message *message = &messages->items[i];
        TV_TRY(tv_messages_add(&whole, message->role, message->content, message->length));
        whole.items[whole.count - 1].untrained = message->untrained;
    }
    tv_messages_free(messages);
    *messages = whole;
    whole = (tv_messages){0};
done:
    tv_messages_free(&whole);
    tv_text_free(&text);
    return status;
}
